//! A histogram of everything and of the last minute.

use super::{HISTO_NS_MAX, Histo, Percentiles};
use crate::base::time::{MonoNs, SpanNs};
use hdrhistogram::Histogram;

/// Slices of the window; the oldest is forgotten whole, so the window is 50 to 60 s long.
const SLICES: usize = 6;
const SLICE: SpanNs = SpanNs::from_s(10);

/// A [`Histo`] that also tells about the last minute (two significant digits there). `record`
/// allocates nothing.
#[derive(Clone, Debug)]
pub struct Windowed {
    total: Histo,
    slices: [Histogram<u32>; SLICES],
    at: usize,
    turned_at: MonoNs,
}

impl Default for Windowed {
    fn default() -> Self {
        let slice = || {
            let made = Histogram::new_with_bounds(1, HISTO_NS_MAX, 2);
            made.expect("constant bounds that hdrhistogram accepts")
        };
        Self {
            total: Histo::new(),
            slices: std::array::from_fn(|_| slice()),
            at: 0,
            turned_at: MonoNs(0),
        }
    }
}

impl Windowed {
    #[inline]
    pub fn record(&mut self, ns: u64) {
        self.total.record(ns);
        self.slices[self.at].saturating_record(ns.max(1));
    }
    /// Lets time pass: what is older than the window is forgotten there.
    pub fn tick(&mut self, now: MonoNs) {
        let mut turns = 0;
        while now - self.turned_at >= SLICE {
            self.turned_at = self.turned_at + SLICE;
            turns += 1;
            if turns > SLICES {
                // A long pause: everything is old.
                self.turned_at = now;
            }
            self.at = (self.at + 1) % SLICES;
            self.slices[self.at].reset();
        }
    }
    pub fn count(&self) -> u64 {
        self.total.count()
    }
    /// Of everything.
    pub fn total(&self) -> &Histo {
        &self.total
    }
    /// Of everything, ns.
    pub fn percentiles(&self) -> Percentiles {
        self.total.percentiles()
    }
    /// Of everything, ms.
    pub fn percentiles_ms(&self) -> Percentiles {
        self.total.percentiles_ms()
    }
    /// Of the last minute, in units of `divisor` ns.
    pub fn window(&self, divisor: f64) -> Percentiles {
        let mut sum = self.slices[0].clone();
        for slice in &self.slices[1..] {
            // Same bounds, so it cannot fail.
            let _ = sum.add(slice);
        }
        Percentiles::of(&sum, divisor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_forgets_and_the_total_does_not() {
        let mut histo = Windowed::default();
        histo.tick(MonoNs(0));
        for _ in 0..100 {
            histo.record(1_000_000);
        }
        let at = |s: i64| MonoNs(0) + SpanNs::from_s(s);
        histo.tick(at(49));
        histo.record(5_000_000);
        let window = histo.window(1e6);
        assert_eq!(window.count, 101);
        assert!((window.p50.unwrap() - 1.0).abs() < 0.02, "{window:?}");
        histo.tick(at(61));
        let window = histo.window(1e6);
        assert_eq!(window.count, 1, "the first minute is gone");
        assert!((window.max.unwrap() - 5.0).abs() < 0.1);
        // A day's pause costs no day of turns and leaves nothing.
        histo.tick(at(86_400));
        assert_eq!(histo.window(1.0), Percentiles::default());
        assert_eq!(histo.count(), 101);
    }
}
