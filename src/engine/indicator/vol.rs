//! Realised volatility.

use super::sum_lanes;

/// Root of the mean squared logarithmic return of the last `n` bars; a ratio per bar, 0.001 = 10
/// bps.
#[derive(Clone, Debug)]
pub struct RealisedVol {
    last: Option<f64>,
    /// Squared returns.
    ring: Box<[f64]>,
    at: usize,
    len: usize,
    /// Sum of the newest `n − 1`.
    rest: f64,
    value: Option<f64>,
}

/// `ln(to / from)` by the series of atanh, with four operations only: `f64::ln` may differ between
/// C libraries, and a decision must not. Exact to a rounding for moves within ± 30 %.
fn log_return(from: f64, to: f64) -> f64 {
    let u = (to - from) / (to + from);
    let square = u * u;
    let mut sum = 0.0;
    let mut k = 23.0;
    while k > 0.0 {
        sum = sum * square + 1.0 / k;
        k -= 2.0;
    }
    2.0 * u * sum
}

impl RealisedVol {
    /// `n` from 1 on; 0 is taken as 1.
    pub fn new(n: u16) -> Self {
        Self {
            last: None,
            ring: vec![0.0; usize::from(n.max(1))].into_boxed_slice(),
            at: 0,
            len: 0,
            rest: 0.0,
            value: None,
        }
    }
    /// Forgets every value; the window's memory is kept.
    pub fn reset(&mut self) {
        self.ring.fill(0.0);
        (self.last, self.at, self.len, self.rest, self.value) = (None, 0, 0, 0.0, None);
    }
    #[inline]
    fn with(&self, close: f64) -> Option<(f64, Option<f64>)> {
        let change = log_return(self.last?, close);
        let square = change * change;
        let warm = self.len + 1 >= self.ring.len();
        let value = ((self.rest + square) / self.ring.len() as f64).sqrt();
        Some((square, warm.then_some(value)))
    }
    pub fn update(&mut self, close: f64) {
        if let Some((square, value)) = self.with(close) {
            self.value = value;
            self.ring[self.at] = square;
            self.at = if self.at + 1 == self.ring.len() { 0 } else { self.at + 1 };
            self.len = (self.len + 1).min(self.ring.len());
            self.rest = sum_lanes(&self.ring[..self.at], |x| x)
                + sum_lanes(&self.ring[self.at + 1..], |x| x);
        }
        self.last = Some(close);
    }
    /// `None` before `n` returns.
    #[inline]
    pub fn value(&self) -> Option<f64> {
        self.value
    }
    #[inline]
    pub fn provisional(&self, close: f64) -> Option<f64> {
        self.with(close).and_then(|(_, value)| value)
    }
}
