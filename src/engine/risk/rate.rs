//! Sliding windows over the times of past orders. Exact: no window of the given length ever holds
//! more than its limit.

use crate::base::time::{MonoNs, SpanNs};

/// At most `max` events in any half-open window of `window`.
#[derive(Clone, Debug)]
pub(super) struct RateWindow {
    times: Box<[MonoNs]>,
    next: usize,
    count: usize,
    window: SpanNs,
}
impl RateWindow {
    /// A limit of 0 allows nothing.
    pub(super) fn new(max: usize, window: SpanNs) -> Self {
        Self { times: vec![MonoNs(0); max].into_boxed_slice(), next: 0, count: 0, window }
    }
    #[inline]
    pub(super) fn allows(&self, now: MonoNs) -> bool {
        if self.count < self.times.len() {
            return true;
        }
        // Full: the slot to be overwritten holds the oldest of the last `max`.
        self.times.get(self.next).is_some_and(|oldest| now - *oldest >= self.window)
    }
    /// Events in the window that ends now.
    pub(super) fn used(&self, now: MonoNs) -> usize {
        let kept = self.times.iter().take(self.count);
        kept.filter(|at| now - **at < self.window).count()
    }
    #[inline]
    pub(super) fn note(&mut self, now: MonoNs) {
        if self.times.is_empty() {
            return;
        }
        self.times[self.next] = now;
        self.next = if self.next + 1 == self.times.len() { 0 } else { self.next + 1 };
        self.count = (self.count + 1).min(self.times.len());
    }
}

/// The last orders, to notice one that repeats itself.
#[derive(Clone, Debug)]
pub(super) struct Repeats {
    last: [(u64, MonoNs); Repeats::REMEMBERED],
    next: usize,
}
impl Repeats {
    const REMEMBERED: usize = 64;
    pub(super) fn new() -> Self {
        Self { last: [(0, MonoNs(0)); Self::REMEMBERED], next: 0 }
    }
    /// How often this order was sent within `window`, as far as remembered.
    pub(super) fn count(&self, key: u64, now: MonoNs, window: SpanNs) -> usize {
        self.last.iter().filter(|(k, at)| *k == key && now - *at < window).count()
    }
    pub(super) fn note(&mut self, key: u64, now: MonoNs) {
        self.last[self.next] = (key, now);
        self.next = (self.next + 1) % Self::REMEMBERED;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    #[test]
    fn no_window_ever_holds_more_than_the_limit() {
        let mut rng = Rng::new(3);
        let mut rate = RateWindow::new(5, SpanNs(100));
        let (mut now, mut sent) = (MonoNs(0), Vec::new());
        for _ in 0..10_000 {
            now = now + SpanNs(rng.below(40) as i64);
            if rate.allows(now) {
                rate.note(now);
                sent.push(now);
            }
        }
        for six in sent.windows(6) {
            assert!(six[5] - six[0] >= SpanNs(100));
        }
        assert!(sent.len() > 5_000, "and it is not stricter than it says");
        assert!(!RateWindow::new(0, SpanNs(1)).allows(now));
    }
}
