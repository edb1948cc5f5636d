//! Exponential moving average, and the z-score of the difference of two.

use super::sum_lanes;

/// EMA with `alpha = 2 / (n + 1)`, seeded by the first value.
#[derive(Clone, Copy, Debug)]
pub struct Ema {
    value: f64,
    alpha: f64,
    seen: u32,
    n: u32,
}

impl Ema {
    /// `n` from 1 on; 0 is taken as 1.
    pub const fn new(n: u16) -> Self {
        let n = if n == 0 { 1 } else { n as u32 };
        Self { value: 0.0, alpha: 2.0 / (n as f64 + 1.0), seen: 0, n }
    }
    #[inline(always)]
    fn step(mut self, x: f64) -> Self {
        self.value = if self.seen == 0 { x } else { self.value + (x - self.value) * self.alpha };
        self.seen = self.seen.saturating_add(1);
        self
    }
    #[inline(always)]
    pub fn update(&mut self, x: f64) {
        *self = self.step(x);
    }
    /// `None` before the first value. See `is_warm`.
    #[inline(always)]
    pub fn value(&self) -> Option<f64> {
        (self.seen > 0).then_some(self.value)
    }
    #[inline(always)]
    pub fn provisional(&self, x: f64) -> f64 {
        self.step(x).value
    }
    /// True once `n` values are in: the seed's weight is then below a seventh.
    #[inline(always)]
    pub fn is_warm(&self) -> bool {
        self.seen >= self.n
    }
}

/// `EMA(fast) − EMA(slow)`, z-scored over a trailing window that includes the newest bar,
/// population deviation. 0 where the deviation is below a billionth of the price: rounding noise
/// has no direction.
#[derive(Clone, Debug)]
pub struct EmaZ {
    fast: Ema,
    slow: Ema,
    ring: Box<[f64]>,
    at: usize,
    len: usize,
    /// Mean and summed squared deviations of the newest `window − 1` differences.
    mean: f64,
    squares: f64,
    value: Option<f64>,
}

impl EmaZ {
    /// `window` from 2 on; less is taken as 2.
    pub fn new(fast: u16, slow: u16, window: u16) -> Self {
        Self {
            fast: Ema::new(fast),
            slow: Ema::new(slow),
            ring: vec![0.0; usize::from(window.max(2))].into_boxed_slice(),
            at: 0,
            len: 0,
            mean: 0.0,
            squares: 0.0,
            value: None,
        }
    }
    /// Forgets every value; the window's memory is kept.
    pub fn reset(&mut self) {
        self.fast = Ema { seen: 0, ..self.fast };
        self.slow = Ema { seen: 0, ..self.slow };
        (self.at, self.len, self.value) = (0, 0, None);
    }
    /// One more difference joins the window: Welford's rule over the rest of it.
    #[inline]
    fn z_of(&self, difference: f64, price: f64) -> Option<f64> {
        let n = self.ring.len() as f64;
        if self.len + 1 < self.ring.len() {
            return None;
        }
        let offset = difference - self.mean;
        let mean = self.mean + offset / n;
        let variance = (self.squares + offset * (difference - mean)) / n;
        let deviation = variance.max(0.0).sqrt();
        Some(if deviation > price.abs() * 1e-9 { (difference - mean) / deviation } else { 0.0 })
    }
    pub fn update(&mut self, close: f64) {
        self.fast.update(close);
        self.slow.update(close);
        let difference = self.fast.value - self.slow.value;
        self.value = self.z_of(difference, close);
        self.ring[self.at] = difference;
        self.at = if self.at + 1 == self.ring.len() { 0 } else { self.at + 1 };
        self.len = (self.len + 1).min(self.ring.len());
        if self.len + 1 >= self.ring.len() {
            // All but the slot written next: the oldest once the ring is full, an empty one before.
            let (older, newer) = (&self.ring[..self.at], &self.ring[self.at + 1..]);
            let n = (self.ring.len() - 1) as f64;
            let mean = (sum_lanes(older, |x| x) + sum_lanes(newer, |x| x)) / n;
            let square = |x: f64| (x - mean) * (x - mean);
            self.squares = sum_lanes(older, square) + sum_lanes(newer, square);
            self.mean = mean;
        }
    }
    /// `None` before `window` bars.
    #[inline]
    pub fn value(&self) -> Option<f64> {
        self.value
    }
    #[inline]
    pub fn provisional(&self, close: f64) -> Option<f64> {
        self.z_of(self.fast.provisional(close) - self.slow.provisional(close), close)
    }
}
