//! Wilder's smoothing and what is built on it: RSI, ATR, ADX.
//! Source: J. Welles Wilder, "New Concepts in Technical Trading Systems", 1978.

/// Wilder's moving average: the plain mean of the first `n` values, then `avg + (x − avg) / n`.
#[derive(Clone, Copy, Debug)]
pub struct Wilder {
    /// Sum until `n` values are in, the average from then on.
    value: f64,
    share: f64,
    seen: u32,
    n: u32,
}

impl Wilder {
    /// `n` from 1 on; 0 is taken as 1.
    pub const fn new(n: u16) -> Self {
        let n = if n == 0 { 1 } else { n as u32 };
        Self { value: 0.0, share: 1.0 / n as f64, seen: 0, n }
    }
    /// The state after `x`.
    #[inline(always)]
    #[must_use]
    pub fn step(mut self, x: f64) -> Self {
        if self.seen < self.n {
            self.seen += 1;
            self.value += x;
            if self.seen == self.n {
                self.value *= self.share;
            }
        } else {
            self.value += (x - self.value) * self.share;
        }
        self
    }
    #[inline(always)]
    pub fn value(&self) -> Option<f64> {
        (self.seen == self.n).then_some(self.value)
    }
}

/// Relative strength index of closes, 0 … 100; 50 where nothing moved.
#[derive(Clone, Copy, Debug)]
pub struct Rsi {
    last: Option<f64>,
    gain: Wilder,
    loss: Wilder,
}
impl Rsi {
    pub const fn new(n: u16) -> Self {
        Self { last: None, gain: Wilder::new(n), loss: Wilder::new(n) }
    }
    #[inline(always)]
    fn step(mut self, close: f64) -> Self {
        if let Some(last) = self.last {
            let change = close - last;
            self.gain = self.gain.step(change.max(0.0));
            self.loss = self.loss.step((-change).max(0.0));
        }
        self.last = Some(close);
        self
    }
    #[inline(always)]
    pub fn update(&mut self, close: f64) {
        *self = self.step(close);
    }
    /// `None` before `n` changes.
    #[inline(always)]
    pub fn value(&self) -> Option<f64> {
        let (gain, loss) = (self.gain.value()?, self.loss.value()?);
        let both = gain + loss;
        Some(if both > 0.0 { 100.0 * gain / both } else { 50.0 })
    }
    #[inline(always)]
    pub fn provisional(&self, close: f64) -> Option<f64> {
        self.step(close).value()
    }
}

/// Average true range, in price units. The first bar's true range is high − low.
#[derive(Clone, Copy, Debug)]
pub struct Atr {
    last: Option<f64>,
    range: Wilder,
}
impl Atr {
    pub const fn new(n: u16) -> Self {
        Self { last: None, range: Wilder::new(n) }
    }
    #[inline(always)]
    fn step(mut self, high: f64, low: f64, close: f64) -> Self {
        let range = match self.last {
            Some(last) => high.max(last) - low.min(last),
            None => high - low,
        };
        self.range = self.range.step(range);
        self.last = Some(close);
        self
    }
    #[inline(always)]
    pub fn update(&mut self, high: f64, low: f64, close: f64) {
        *self = self.step(high, low, close);
    }
    /// `None` before `n` bars.
    #[inline(always)]
    pub fn value(&self) -> Option<f64> {
        self.range.value()
    }
    #[inline(always)]
    pub fn provisional(&self, high: f64, low: f64, close: f64) -> Option<f64> {
        self.step(high, low, close).value()
    }
}

/// Average directional index, 0 … 100. The true range cancels in DX, so it is not kept.
#[derive(Clone, Copy, Debug)]
pub struct Adx {
    last: Option<(f64, f64)>,
    plus: Wilder,
    minus: Wilder,
    adx: Wilder,
}
impl Adx {
    pub const fn new(n: u16) -> Self {
        Self { last: None, plus: Wilder::new(n), minus: Wilder::new(n), adx: Wilder::new(n) }
    }
    #[inline(always)]
    fn step(mut self, high: f64, low: f64) -> Self {
        if let Some((last_high, last_low)) = self.last {
            let (up, down) = (high - last_high, last_low - low);
            self.plus = self.plus.step(if up > down && up > 0.0 { up } else { 0.0 });
            self.minus = self.minus.step(if down > up && down > 0.0 { down } else { 0.0 });
            if let (Some(plus), Some(minus)) = (self.plus.value(), self.minus.value()) {
                let both = plus + minus;
                let dx = if both > 0.0 { 100.0 * (plus - minus).abs() / both } else { 0.0 };
                self.adx = self.adx.step(dx);
            }
        }
        self.last = Some((high, low));
        self
    }
    #[inline(always)]
    pub fn update(&mut self, high: f64, low: f64) {
        *self = self.step(high, low);
    }
    /// `None` before `2 n` bars.
    #[inline(always)]
    pub fn value(&self) -> Option<f64> {
        self.adx.value()
    }
    #[inline(always)]
    pub fn provisional(&self, high: f64, low: f64) -> Option<f64> {
        self.step(high, low).value()
    }
}
