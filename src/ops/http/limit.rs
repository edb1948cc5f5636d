//! How often something may happen: a bucket that fills again.

use std::time::{Duration, Instant};

/// `burst` at once, then one every `every`.
pub(super) struct Bucket {
    left: u32,
    burst: u32,
    every: Duration,
    filled_at: Instant,
}

impl Bucket {
    pub(super) fn new(burst: u32, every: Duration, now: Instant) -> Bucket {
        Bucket { left: burst, burst, every, filled_at: now }
    }
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.filled_at);
        let earned = (passed.as_nanos() / self.every.as_nanos().max(1)).min(u128::from(u32::MAX));
        let earned = earned as u32;
        if earned > 0 {
            self.left = self.left.saturating_add(earned).min(self.burst);
            self.filled_at =
                if self.left == self.burst { now } else { self.filled_at + self.every * earned };
        }
        let has = self.left > 0;
        self.left -= u32::from(has);
        has
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a point to count from; no time passes")]
    fn a_burst_then_one_at_a_time() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut bucket = Bucket::new(3, Duration::from_millis(100), start);
        let taken = |bucket: &mut Bucket, ms: u64| (0..9).filter(|_| bucket.take(at(ms))).count();
        assert_eq!(taken(&mut bucket, 0), 3);
        assert_eq!(taken(&mut bucket, 99), 0);
        assert_eq!(taken(&mut bucket, 150), 1);
        assert_eq!(taken(&mut bucket, 199), 0, "halves are kept, not given");
        assert_eq!(taken(&mut bucket, 200), 1);
        assert_eq!(taken(&mut bucket, 60_000), 3, "no more than the burst");
    }
}
