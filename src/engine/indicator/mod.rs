//! Purpose:   indicators, one implementation each: committed bar by bar, asked provisionally in
//!            between.
//! Knows:     base, model.           Must not know: venue, line, exchange, io, runtime.
//! Time:      none; bars carry theirs.
//! Memory:    windows are allocated at construction; no indicator allocates later.
//! Errors:    none; a value that cannot be told yet is `None`, never 0 or NaN.
//! Tests:     indicator/tests.rs: each against a slow batch twin over recorded candles and a
//!            made-up series.
//!
//! Every indicator has one rule that makes the next state from the old one and a price. `update`
//! keeps that state, `provisional` only looks at its value: so a bar that closes unchanged commits
//! exactly the value that was shown while it formed. Windows are summed in integers (Bollinger,
//! VWAP) or summed anew at each bar (EMA z, realised volatility), so nothing drifts. Only `+ − × ÷
//! √` are used: the same bits everywhere.

mod bollinger;
mod ema;
mod quote;
mod regime;
mod set;
mod vol;
mod vwap;
mod wilder;

#[cfg(test)]
pub mod testdata;
#[cfg(test)]
mod tests;

pub use bollinger::{Bands, Bollinger};
pub use ema::{Ema, EmaZ};
pub use quote::{imbalance, spread_bps};
pub use regime::{Regime, RegimeLimits, RegimeTracker};
pub use set::{Forming, IndicatorConfig, IndicatorSet, Indicators, PRESET_COUNT};
pub use vol::RealisedVol;
pub use vwap::Vwap;
pub use wilder::{Adx, Atr, Rsi, Wilder};

/// Sum of `f(x)` in four lanes: a single chain of additions would wait for each one before it.
#[inline]
fn sum_lanes(values: &[f64], f: impl Fn(f64) -> f64) -> f64 {
    let mut lanes = [0.0; 4];
    let chunks = values.chunks_exact(4);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += f(*value);
        }
    }
    let tail: f64 = rest.iter().map(|value| f(*value)).sum();
    (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]) + tail
}
