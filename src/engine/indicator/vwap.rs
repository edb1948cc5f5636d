//! Volume-weighted average price of the UTC day.

use crate::base::time::WallNs;
use crate::base::units::{Px, Qty, UNIT_SCALE};

/// Sum of typical price (high + low + close) / 3 times volume, over volume, since midnight UTC.
/// Sums are exact integers; a bar belongs to the day of its start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Vwap {
    day: i64,
    /// Σ (high + low + close) × volume, 1e-16.
    value: i128,
    /// Σ volume, 1e-8.
    volume: i128,
}

impl Vwap {
    #[inline]
    fn step(mut self, open_at: WallNs, high: Px, low: Px, close: Px, volume: Qty) -> Self {
        let day = open_at.utc_day();
        if day != self.day {
            self = Self { day, value: 0, volume: 0 };
        }
        let prices = i128::from(high.raw()) + i128::from(low.raw()) + i128::from(close.raw());
        let volume = i128::from(volume.raw());
        self.value = self.value.saturating_add(prices.saturating_mul(volume));
        self.volume = self.volume.saturating_add(volume);
        self
    }
    #[inline]
    pub fn update(&mut self, open_at: WallNs, high: Px, low: Px, close: Px, volume: Qty) {
        *self = self.step(open_at, high, low, close, volume);
    }
    /// `None` before the day's first volume.
    #[inline]
    pub fn value(&self) -> Option<f64> {
        (self.volume > 0)
            .then(|| self.value as f64 / (self.volume as f64 * (3.0 * UNIT_SCALE as f64)))
    }
    #[inline]
    pub fn provisional(
        &self,
        open_at: WallNs,
        high: Px,
        low: Px,
        close: Px,
        volume: Qty,
    ) -> Option<f64> {
        self.step(open_at, high, low, close, volume).value()
    }
}
