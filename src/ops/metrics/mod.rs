//! Latency histograms of fixed size, and what is read off them.

pub mod export;
mod window;

pub use window::Windowed;

use hdrhistogram::{Counter, Histogram};
use serde::{Deserialize, Serialize};

/// A bounded histogram of nanoseconds: 1 ns to 100 s, three significant digits (error at most 0.1
/// %). Everything is allocated by `new`; `record` allocates nothing and saturates at the borders.
#[derive(Clone, Debug)]
pub struct Histo {
    inner: Histogram<u64>,
}

/// Largest value kept apart, ns.
pub const HISTO_NS_MAX: u64 = 100_000_000_000;

impl Default for Histo {
    fn default() -> Self {
        Self::new()
    }
}

impl Histo {
    pub fn new() -> Self {
        let inner = Histogram::new_with_bounds(1, HISTO_NS_MAX, 3);
        Self { inner: inner.expect("constant bounds that hdrhistogram accepts") }
    }
    #[inline]
    pub fn record(&mut self, ns: u64) {
        self.inner.saturating_record(ns.max(1));
    }
    pub fn count(&self) -> u64 {
        self.inner.len()
    }
    /// Adds what another one counted.
    pub fn merge(&mut self, other: &Histo) {
        // Same bounds, so it cannot fail; if it ever did, the other's counts would be missing, not
        // wrong.
        let _ = self.inner.add(&other.inner);
    }
    pub fn clear(&mut self) {
        self.inner.reset();
    }
    /// In ns.
    pub fn percentiles(&self) -> Percentiles {
        Percentiles::of(&self.inner, 1.0)
    }
    /// In ms.
    pub fn percentiles_ms(&self) -> Percentiles {
        Percentiles::of(&self.inner, 1e6)
    }
}

/// What is said about a latency. Without samples the values are absent, never zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    pub count: u64,
    pub p50: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
    pub p999: Option<f64>,
    pub max: Option<f64>,
}
impl Percentiles {
    /// In ms, of a histogram of µs.
    pub fn ms_of_us(histogram: &Histogram<u64>) -> Percentiles {
        Percentiles::of(histogram, 1e3)
    }
    /// Of a histogram, in units of `divisor` of its own.
    pub fn of<C: Counter>(histogram: &Histogram<C>, divisor: f64) -> Percentiles {
        let count = histogram.len();
        let scaled = |value: u64| (count > 0).then(|| value as f64 / divisor);
        let at = |quantile: f64| scaled(histogram.value_at_quantile(quantile));
        Percentiles {
            count,
            p50: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
            max: scaled(histogram.max()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_a_thousandth() {
        let mut histo = Histo::new();
        for ns in 1..=100_000u64 {
            histo.record(ns);
        }
        let got = histo.percentiles();
        assert_eq!(got.count, 100_000);
        for (got, expected) in
            [(got.p50, 50_000.0), (got.p95, 95_000.0), (got.p99, 99_000.0), (got.max, 100_000.0)]
        {
            let got: f64 = got.unwrap();
            assert!((got / expected - 1.0).abs() < 0.002, "{got} {expected}");
        }
        let ms = histo.percentiles_ms().p50.unwrap();
        assert!((ms - 0.05).abs() < 0.001);
    }

    #[test]
    fn nothing_recorded_is_absent_and_extremes_are_kept_at_the_borders() {
        let mut histo = Histo::new();
        assert_eq!(histo.percentiles(), Percentiles::default());
        histo.record(0);
        histo.record(u64::MAX);
        let mut other = Histo::new();
        other.record(5);
        histo.merge(&other);
        assert_eq!(histo.count(), 3);
        assert!(histo.percentiles().max.unwrap() >= HISTO_NS_MAX as f64);
    }
}
