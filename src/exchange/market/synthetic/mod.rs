//! A seeded market shipped in code: the default one. Every symbol has a fair price that walks, a
//! crowd of limit orders around it that come and go, and takers. It acts through `Floor` alone, so
//! accounts' orders meet it in the same queues as everybody's.
//!
//! Same configuration, same market, on every machine: each symbol draws from a stream of its own,
//! seeded by the market's seed and its name, and nothing but whole numbers is drawn.

#[cfg(test)]
mod plain_floor;
#[cfg(test)]
mod tests;

use super::{Floor, MarketSource, SourceState};
use crate::base::rng::Rng;
use crate::base::time::WallNs;
use crate::base::units::Side;
use crate::exchange::levels::side_index;
use crate::exchange::number::digit_step;
use crate::exchange::tape::Candle;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Significant digits of a price here.
const DIGITS: u32 = 5;
/// One-minute candles made up for the time before the start.
const HISTORY: usize = 1_000;
/// Orders of the house a side at the start, and the number it keeps to.
const ORDERS_SIDE: usize = 260;
/// Mean time between two steps of a symbol at rate 1.
const STEP_NS: i64 = 50_000_000;
const MINUTE_NS: i64 = 60_000_000_000;

/// How a synthetic market is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntheticConfig {
    /// Instruments with activity, e.g. `tBTCUSD`.
    pub symbols: Vec<String>,
    pub seed: u64,
    /// Time of the first step.
    pub start: WallNs,
    /// Activity in thousandths of the usual one.
    pub rate_e3: u32,
}

impl Default for SyntheticConfig {
    /// Four pairs on 2025-01-01.
    fn default() -> Self {
        SyntheticConfig {
            symbols: ["tBTCUSD", "tETHUSD", "tADAUSD", "tDOTUSD"].map(str::to_owned).to_vec(),
            seed: 1,
            start: WallNs::from_ms(1_735_689_600_000),
            rate_e3: 1_000,
        }
    }
}

/// An order of the house as it was placed; it may be gone by now.
#[derive(Clone, Copy, Debug)]
struct Placed {
    id: u64,
    px: i64,
}

#[derive(Debug)]
struct Market {
    name: String,
    rng: Rng,
    /// Fair price, 1e-8.
    fair: i64,
    /// Typical order, 1e-8 of base.
    lot: i64,
    orders: [Vec<Placed>; 2],
    is_open: bool,
}

/// The market.
pub struct Synthetic {
    config: SyntheticConfig,
    markets: Vec<Market>,
    history: Vec<Vec<Candle>>,
    /// `(ns, symbol)`: one entry a symbol.
    agenda: BinaryHeap<Reverse<(i64, usize)>>,
    steps: u64,
}

/// Start prices of 2025-01-01, 1e-8, and about what a trade of 1,000 USD is in base.
fn known_price(name: &str) -> Option<i64> {
    Some(match name {
        "tBTCUSD" => 9_354_900_000_000,
        "tETHUSD" => 333_260_000_000,
        "tADAUSD" => 84_530_000,
        "tDOTUSD" => 662_400_000,
        _ => return None,
    })
}

/// FNV-1a of a name.
fn hash_of(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ byte as u64).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn to_step(px: i64, side: Side) -> i64 {
    let step = digit_step(px, DIGITS);
    let floor = px - px % step;
    match side {
        Side::Buy => floor,
        Side::Sell if floor == px => px,
        Side::Sell => floor + step,
    }
}

impl Market {
    fn new(name: &str, seed: u64) -> Market {
        let hash = hash_of(name);
        let mut rng = Rng::new(seed ^ hash);
        let fair = known_price(name).unwrap_or_else(|| {
            // 0.01 … 100, spread evenly over the decades.
            let mut own = Rng::new(hash);
            10i64.pow(6 + own.below(4) as u32) * own.between(100, 999) / 100
        });
        let lot = (1_000i128 * 100_000_000 * 100_000_000 / fair as i128)
            .clamp(100_000, i64::MAX as i128 / 1_000) as i64;
        rng.next_u64();
        Market {
            name: name.to_owned(),
            rng,
            fair,
            lot,
            orders: [Vec::new(), Vec::new()],
            is_open: false,
        }
    }
    /// A walk of `steps` small moves of the fair price, each up to `size_e9` of it.
    fn walk(&mut self, steps: u32, size_e9: i64) {
        for _ in 0..steps {
            let move_e9 = self.rng.between(-size_e9, size_e9);
            let change = (self.fair as i128 * move_e9 as i128 / 1_000_000_000) as i64;
            self.fair = (self.fair + change).clamp(2_000, i64::MAX / 4);
        }
    }
    /// Candles before `start` that end at the start price.
    fn history(&mut self, start: WallNs) -> Vec<Candle> {
        let first = start.0.div_euclid(MINUTE_NS) - HISTORY as i64;
        let mut candles = Vec::with_capacity(HISTORY);
        let opening = self.fair;
        for minute in 0..HISTORY as i64 {
            let open = to_step(self.fair, Side::Buy);
            let (mut high, mut low) = (open, open);
            for _ in 0..6 {
                self.walk(1, 250_000);
                let px = to_step(self.fair, Side::Buy);
                (high, low) = (high.max(px), low.min(px));
            }
            candles.push(Candle {
                mts: (first + minute) * 60_000,
                open,
                close: to_step(self.fair, Side::Buy),
                high,
                low,
                volume: self.lot * self.rng.between(1, 40),
            });
        }
        // The walk went on from the start price: shift it back so that it ends there.
        let ratio =
            |px: i64| to_step((px as i128 * opening as i128 / self.fair as i128) as i64, Side::Buy);
        for candle in &mut candles {
            for px in [&mut candle.open, &mut candle.close, &mut candle.high, &mut candle.low] {
                *px = ratio(*px);
            }
        }
        self.fair = opening;
        candles
    }
    /// Steps from the touch at which a new order is placed: near ones are the rule.
    fn distance(&mut self) -> i64 {
        let reach = 10 << self.rng.below(6);
        self.rng.between(0, reach)
    }
    fn size(&mut self) -> i64 {
        let share = 1 << self.rng.below(8);
        (self.lot * self.rng.between(1, 100) / 50 * share / 32).max(1_000)
    }
    fn place(&mut self, symbol: usize, side: Side, distance: i64, floor: &mut dyn Floor) {
        let step = digit_step(self.fair, DIGITS);
        let base = to_step(self.fair, side);
        let mut px = base - side.sign() * step * distance;
        // Makers do not take: behind the other side's best.
        if let Some(best) = floor.best(symbol, side.opposite()) {
            px = match side {
                Side::Buy => px.min(best - step),
                Side::Sell => px.max(best + step),
            };
        }
        let qty = self.size();
        if let Some(id) = floor.house_limit(symbol, side, px, qty) {
            self.orders[side_index(side)].push(Placed { id, px });
        }
    }
    fn open(&mut self, symbol: usize, floor: &mut dyn Floor) {
        for distance in 0..ORDERS_SIDE as i64 {
            for side in [Side::Buy, Side::Sell] {
                self.place(symbol, side, 1 + distance * 2, floor);
            }
        }
        self.is_open = true;
    }
    fn act(&mut self, symbol: usize, floor: &mut dyn Floor) {
        self.walk(1, 20_000);
        // Orders on the wrong side of the fair price are taken by those who know it.
        for side in [Side::Buy, Side::Sell] {
            let stale = floor.best(symbol, side.opposite()).is_some_and(|best| match side {
                Side::Buy => best < self.fair,
                Side::Sell => best > self.fair,
            });
            if stale && self.rng.chance(1, 4) {
                let qty = self.size();
                floor.house_take(symbol, side, qty);
            }
        }
        if self.rng.chance(1, 40) {
            let side = if self.rng.chance(1, 2) { Side::Buy } else { Side::Sell };
            let qty = self.size();
            floor.house_take(symbol, side, qty);
        }
        let side = if self.rng.chance(1, 2) { Side::Buy } else { Side::Sell };
        let orders = &mut self.orders[side_index(side)];
        let grows = orders.len() < ORDERS_SIDE;
        if !grows {
            // The one farthest on the wrong side if there is one, else any.
            let fair = self.fair;
            let wrong = orders.iter().position(|order| match side {
                Side::Buy => order.px > fair,
                Side::Sell => order.px < fair,
            });
            let at = wrong.unwrap_or_else(|| self.rng.below(orders.len() as u64) as usize);
            let order = orders.swap_remove(at);
            floor.house_cancel(symbol, order.id);
        }
        let distance = self.distance();
        self.place(symbol, side, distance, floor);
    }
}

impl Synthetic {
    pub fn new(config: SyntheticConfig) -> Synthetic {
        let mut markets: Vec<Market> =
            config.symbols.iter().map(|name| Market::new(name, config.seed)).collect();
        let history = markets.iter_mut().map(|market| market.history(config.start)).collect();
        let agenda = (0..markets.len()).map(|symbol| Reverse((config.start.0, symbol))).collect();
        Synthetic { config, markets, history, agenda, steps: 0 }
    }
}

impl MarketSource for Synthetic {
    fn symbols(&self) -> Vec<String> {
        self.config.symbols.clone()
    }
    fn history(&self, symbol: &str) -> Vec<Candle> {
        let at = self.config.symbols.iter().position(|name| name == symbol);
        at.map_or_else(Vec::new, |at| self.history[at].clone())
    }
    fn next_at(&self) -> Option<WallNs> {
        self.agenda.peek().map(|Reverse((at, _))| WallNs(*at))
    }
    fn step(&mut self, floor: &mut dyn Floor) {
        let Some(Reverse((at, symbol))) = self.agenda.pop() else { return };
        self.steps += 1;
        let market = &mut self.markets[symbol];
        if market.is_open {
            market.act(symbol, floor);
        } else {
            market.open(symbol, floor);
        }
        let mean_ns = STEP_NS * 1_000 / i64::from(self.config.rate_e3.max(1));
        let gap_ns = market.rng.between(1, 2 * mean_ns.max(1));
        self.agenda.push(Reverse((at + gap_ns, symbol)));
    }
    fn state(&self) -> SourceState {
        SourceState {
            position: self.steps,
            numbers: self.markets.iter().map(|market| market.fair).collect(),
        }
    }
    fn resume(&mut self, state: &SourceState, now: WallNs) {
        self.steps = state.position;
        for (market, fair) in self.markets.iter_mut().zip(&state.numbers) {
            market.fair = (*fair).max(2_000);
            market.rng = Rng::new(self.config.seed ^ hash_of(&market.name) ^ state.position);
            market.orders = [Vec::new(), Vec::new()];
            market.is_open = false;
        }
        let count = self.markets.len();
        self.agenda = (0..count).map(|symbol| Reverse((now.0, symbol))).collect();
    }
}
