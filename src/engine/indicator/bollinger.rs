//! Bollinger bands on exact integer sums.

use crate::base::units::{Px, UNIT_SCALE};

/// Longest window: keeps every sum inside its integer (see `Bollinger`).
pub const WINDOW_MAX: usize = 64;
/// Furthest a price is counted away from the first one, units of 1e-8: 720 million quote.
const OFFSET_MAX: i64 = 1 << 56;
// n · Σd² and (Σd)² stay below n² · 2^112 = 2^124.
const _: () = assert!(WINDOW_MAX * WINDOW_MAX <= 1 << 12);

/// Middle and population deviation, in price units.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bands {
    pub middle: f64,
    pub deviation: f64,
}
impl Bands {
    /// The band `width` deviations above (or, negative, below) the middle. The usual width is 2.
    pub fn at(&self, width: f64) -> f64 {
        self.middle + width * self.deviation
    }
}

/// Mean and deviation of the last `n` closes. Prices are kept as distances from the first price, in
/// integers: the sums are exact however long it runs, and an update costs the same for every
/// window.
#[derive(Clone, Debug)]
pub struct Bollinger {
    ring: Box<[i64]>,
    at: usize,
    len: usize,
    anchor: i64,
    sum: i64,
    squares: i128,
}

impl Bollinger {
    /// `n` from 2 to `WINDOW_MAX`; others are taken as the nearest.
    pub fn new(n: u16) -> Self {
        let n = usize::from(n).clamp(2, WINDOW_MAX);
        Self { ring: vec![0; n].into_boxed_slice(), at: 0, len: 0, anchor: 0, sum: 0, squares: 0 }
    }
    /// Forgets every value; the window's memory is kept.
    pub fn reset(&mut self) {
        self.ring.fill(0);
        (self.at, self.len, self.sum, self.squares) = (0, 0, 0, 0);
    }
    #[inline(always)]
    fn offset(&self, close: Px) -> i64 {
        close.raw().saturating_sub(self.anchor).clamp(-OFFSET_MAX, OFFSET_MAX)
    }
    /// Sums with `d` in and the oldest out. Empty places hold 0 and so take nothing out.
    #[inline(always)]
    fn sums_with(&self, d: i64) -> (i64, i128) {
        let old = self.ring[self.at];
        let squares =
            self.squares + i128::from(d) * i128::from(d) - i128::from(old) * i128::from(old);
        (self.sum + d - old, squares)
    }
    #[inline(always)]
    pub fn update(&mut self, close: Px) {
        if self.len == 0 {
            self.anchor = close.raw();
        }
        let d = self.offset(close);
        (self.sum, self.squares) = self.sums_with(d);
        self.ring[self.at] = d;
        self.at = if self.at + 1 == self.ring.len() { 0 } else { self.at + 1 };
        self.len = (self.len + 1).min(self.ring.len());
    }
    #[inline(always)]
    fn bands(&self, sum: i64, squares: i128) -> Bands {
        const UNIT: f64 = 1.0 / UNIT_SCALE as f64;
        let n = self.ring.len() as i64;
        let spread = i128::from(n) * squares - i128::from(sum) * i128::from(sum);
        assert!(spread >= 0, "n Σd² ≥ (Σd)² for every d");
        // Two halves: a conversion of 128 bits at once is a slow library call.
        let high = (spread >> 64) as u64 as f64 * 18_446_744_073_709_551_616.0;
        let share = UNIT / n as f64;
        Bands {
            middle: self.anchor as f64 * UNIT + sum as f64 * share,
            deviation: (high + spread as u64 as f64).sqrt() * share,
        }
    }
    /// `None` before `n` closes.
    #[inline(always)]
    pub fn value(&self) -> Option<Bands> {
        (self.len == self.ring.len()).then(|| self.bands(self.sum, self.squares))
    }
    #[inline(always)]
    pub fn provisional(&self, close: Px) -> Option<Bands> {
        if self.len + 1 < self.ring.len() {
            return None;
        }
        let (sum, squares) = self.sums_with(self.offset(close));
        Some(self.bands(sum, squares))
    }
}
