//! Waits between tries: exponential with full jitter, never below what the server asked for, and a
//! budget that keeps repeats from becoming the load.

use crate::base::rng::Rng;
use crate::base::time::SpanNs;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackoffConfig {
    /// Ceiling of the first wait, milliseconds.
    pub base_ms: u64,
    /// Ceiling of every wait, milliseconds.
    pub max_ms: u64,
}

/// A wait before try `attempt` (the first repeat is 1): anything between nothing and the ceiling,
/// so that callers that failed together do not come back together.
pub fn full_jitter(config: &BackoffConfig, attempt: u32, rng: &mut Rng) -> SpanNs {
    let doubled = config.base_ms.saturating_mul(1u64 << attempt.saturating_sub(1).min(30));
    let ceiling = doubled.min(config.max_ms).min(i64::MAX as u64 / 1_000_000);
    SpanNs(rng.below(ceiling * 1_000_000 + 1) as i64)
}

/// Repeats that may be made: each first try earns a share of one, each repeat costs a whole one.
/// In an outage the repeats are then a fixed share of the calls and not a multiple of them.
#[derive(Clone, Copy, Debug)]
pub struct RetryBudget {
    /// Thousandths of a repeat.
    level: u32,
    level_max: u32,
    earn: u32,
}

impl RetryBudget {
    /// Full from the start: `burst` repeats, and `earn_percent` of a repeat for each first try.
    pub fn new(burst: u32, earn_percent: u32) -> Self {
        let level_max = burst.min(1_000_000) * 1_000;
        Self { level: level_max, level_max, earn: earn_percent.min(100) * 10 }
    }
    pub fn earn(&mut self) {
        self.level = (self.level + self.earn).min(self.level_max);
    }
    /// True where a repeat may be made; it is then paid for.
    #[must_use]
    pub fn spend(&mut self) -> bool {
        let may = self.level >= 1_000;
        if may {
            self.level -= 1_000;
        }
        may
    }
    /// Whole repeats left.
    pub fn left(&self) -> u32 {
        self.level / 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_fill_the_span_below_their_ceiling() {
        let config = BackoffConfig { base_ms: 100, max_ms: 1_000 };
        let mut rng = Rng::new(1);
        for (attempt, ceiling_ms) in
            [(1, 100), (2, 200), (3, 400), (4, 800), (5, 1_000), (70, 1_000)]
        {
            let waits: Vec<i64> =
                (0..2_000).map(|_| full_jitter(&config, attempt, &mut rng).as_ms()).collect();
            let (low, high) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
            assert!(*low <= ceiling_ms / 50, "{attempt}: {low}");
            assert!(*high >= ceiling_ms * 98 / 100 && *high <= ceiling_ms, "{attempt}: {high}");
        }
    }

    #[test]
    fn repeats_are_a_share_of_the_calls() {
        let mut budget = RetryBudget::new(10, 10);
        let mut repeats = 0;
        for _ in 0..1_000 {
            budget.earn();
            repeats += u32::from(budget.spend());
        }
        assert!((105..=110).contains(&repeats), "{repeats}");
        assert_eq!(RetryBudget::new(3, 10).left(), 3);
    }
}
