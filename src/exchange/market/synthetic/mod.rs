//! A seeded market shipped in code: the default one. Every symbol has a fair price that moves, a
//! crowd of limit orders around it that come and go in batches, and takers. It acts through `Floor`
//! alone, so accounts' orders meet it in the same queues as everybody's. How it compares with
//! recordings: `calibration_tests.rs`.
//!
//! Same configuration, same market, on every machine: each symbol draws from a stream of its own,
//! seeded by the market's seed and its name, and nothing but whole numbers is drawn.

#[cfg(test)]
mod calibration_tests;
mod crowd;
mod draw;
#[cfg(test)]
mod meter_tests;
mod past;
#[cfg(test)]
mod plain_floor;
mod profile;
#[cfg(test)]
mod tests;
mod weather;

use self::crowd::Market;
use self::draw::{hash_of, scale};
use self::weather::Weather;
use super::{Floor, MarketSource, SourceState};
use crate::base::rng::Rng;
use crate::base::time::WallNs;
use crate::exchange::tape::Candle;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// How a synthetic market is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntheticConfig {
    /// Instruments with activity, e.g. `tBTCUSD`; the exchange lists them in this order.
    pub symbols: Vec<String>,
    pub seed: u64,
    /// Time of the first step.
    pub start: WallNs,
    /// Pace in thousandths of a real one: at 2,000 everything happens in half the time. 0 counts as
    /// 1.
    pub rate_e3: u32,
}

impl Default for SyntheticConfig {
    /// Four pairs, from 2025-01-01 on.
    fn default() -> Self {
        SyntheticConfig {
            symbols: ["tBTCUSD", "tETHUSD", "tADAUSD", "tDOTUSD"].map(str::to_owned).to_vec(),
            seed: 1,
            start: WallNs::from_ms(1_735_689_600_000),
            rate_e3: 1_000,
        }
    }
}

/// The market.
#[derive(Debug)]
pub struct Synthetic {
    config: SyntheticConfig,
    /// Where the markets' clock was 0.
    start: WallNs,
    weather: Weather,
    markets: Vec<Market>,
    /// `(ns of the markets' clock, symbol)`: one entry a symbol.
    agenda: BinaryHeap<Reverse<(i64, usize)>>,
    steps: u64,
}

impl Synthetic {
    pub fn new(config: SyntheticConfig) -> Synthetic {
        let named = config.symbols.iter().enumerate();
        let markets: Vec<Market> =
            named.map(|(symbol, name)| Market::new(symbol, name, config.seed)).collect();
        Synthetic {
            start: config.start,
            weather: Weather::new(config.seed),
            agenda: (0..markets.len()).map(|symbol| Reverse((0, symbol))).collect(),
            markets,
            config,
            steps: 0,
        }
    }
    fn wall_of(&self, market_ns: i64) -> WallNs {
        let span_ns = scale(market_ns, 1_000, i64::from(self.config.rate_e3.max(1)));
        WallNs(self.start.0.saturating_add(span_ns))
    }
}

impl MarketSource for Synthetic {
    fn symbols(&self) -> Vec<String> {
        self.config.symbols.clone()
    }
    fn history(&self, symbol: &str) -> Vec<Candle> {
        match self.config.symbols.iter().any(|name| name == symbol) {
            true => past::history_of(symbol, self.config.seed, self.config.start),
            false => Vec::new(),
        }
    }
    fn next_at(&self) -> Option<WallNs> {
        self.agenda.peek().map(|Reverse((at, _))| self.wall_of(*at))
    }
    fn step(&mut self, floor: &mut dyn Floor) {
        let Some(Reverse((at, symbol))) = self.agenda.pop() else { return };
        self.steps += 1;
        self.weather.advance(at);
        let market = &mut self.markets[symbol];
        market.step(&self.weather, floor);
        self.agenda.push(Reverse((market.next_ns(), symbol)));
    }
    fn state(&self) -> SourceState {
        SourceState {
            position: self.steps,
            numbers: self.markets.iter().map(Market::fair).collect(),
        }
    }
    /// Books are filled anew around the prices of the state: it does not say who stood where.
    fn resume(&mut self, state: &SourceState, now: WallNs) {
        self.steps = state.position;
        self.start = now;
        let seed = self.config.seed ^ state.position.rotate_left(32);
        self.weather = Weather::new(seed);
        for (at, market) in self.markets.iter_mut().enumerate() {
            let fair = state.numbers.get(at).copied().unwrap_or_else(|| market.fair());
            market.reopen(fair, Rng::new(seed ^ hash_of(&self.config.symbols[at])));
        }
        self.agenda = (0..self.markets.len()).map(|symbol| Reverse((0, symbol))).collect();
    }
}
