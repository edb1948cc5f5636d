//! `classic`: weighted EMA and RSI votes, ATR for stops, presets by regime.
//!
//! It decides when a bar closes. Stops and targets are watched at every book view, on the price
//! that a close would get (bid of a long, ask of a short), and are never debounced. A position is
//! protected for what is really held, whatever was asked for; one without a known ATR counts as
//! unprotected and is closed after a while. Exits are said again until the position is gone.

use super::{MarketView, Needs, News, Refused, Rejection, Rows, Strategy, SymbolSet};
use crate::base::ids::SymbolId;
use crate::base::time::{MonoNs, SpanNs};
use crate::base::units::{Px, Qty, Side};
use crate::engine::indicator::{IndicatorConfig, Indicators, PRESET_COUNT, Regime};
use crate::engine::strategy::Intents;
use crate::model::{
    Body, Bracket, Event, Guarded, LinkEvent, OperatorVerb, Reason, Timeframe, Urgency,
};

/// How much each indicator's vote counts. ATR has no vote; its weight only lowers the score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weights {
    pub ema: f64,
    pub rsi: f64,
    pub atr: f64,
}
impl Weights {
    pub const MIN: f64 = 0.1;
    pub const MAX: f64 = 0.7;

    /// Sum 1, each within `MIN … MAX`: clipped, and the difference shared out by the room that is
    /// left.
    #[must_use]
    pub fn normalised(self) -> Self {
        let raw =
            [self.ema, self.rsi, self.atr].map(|w| if w.is_finite() { w.max(0.0) } else { 0.0 });
        let sum: f64 = raw.iter().sum();
        let share = |w: f64| if sum > 0.0 { w / sum } else { 1.0 / 3.0 };
        let mut w = raw.map(|w| share(w).clamp(Self::MIN, Self::MAX));
        let missing = 1.0 - w.iter().sum::<f64>();
        let room = w.map(|w| if missing > 0.0 { Self::MAX - w } else { w - Self::MIN });
        let whole: f64 = room.iter().sum();
        if whole > 0.0 {
            for (w, room) in w.iter_mut().zip(room) {
                *w += missing * room / whole;
            }
        }
        Self { ema: w[0], rsi: w[1], atr: w[2] }
    }
}

/// What a regime changes. Its EMA pair is in `IndicatorConfig::preset_ema`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preset {
    pub weights: Weights,
    /// Stop distance, ATR.
    pub stop_atr: f64,
}

#[derive(Clone, Debug)]
pub struct ClassicConfig {
    pub symbols: Vec<SymbolId>,
    pub timeframe: Timeframe,
    /// Base units of a position.
    pub qty: Qty,
    /// Smallest |score| it acts on, 0 … 1.
    pub confidence_min: f64,
    pub weights: Weights,
    /// Distances from the entry, ATR.
    pub stop_atr: f64,
    pub target_atr: f64,
    pub trailing_stop: bool,
    /// Stop and target are protective orders at the venue, which the engine keeps.
    pub bracket: bool,
    /// Whether the regime's preset replaces weights, trend vote and stop.
    pub regime_enabled: bool,
    /// By `Regime::index`.
    pub presets: [Preset; PRESET_COUNT],
    /// Bars without an entry after an exit.
    pub cooldown_bars: u32,
    /// An entry that is not filled by then is given up, ms.
    pub entry_timeout_ms: u32,
    /// An exit is said again after this, ms.
    pub exit_repeat_ms: u32,
    /// A position whose stop is not known is closed after this, ms.
    pub unprotected_close_ms: u32,
    /// False for spot.
    pub allow_short: bool,
    /// RSI at which it votes to buy, and to sell.
    pub rsi_low: f64,
    pub rsi_high: f64,
}
impl Default for ClassicConfig {
    fn default() -> Self {
        let preset =
            |ema, rsi, atr, stop_atr| Preset { weights: Weights { ema, rsi, atr }, stop_atr };
        Self {
            symbols: Vec::new(),
            timeframe: Timeframe::M1,
            qty: Qty::ZERO,
            confidence_min: 0.45,
            weights: Weights { ema: 0.4, rsi: 0.4, atr: 0.2 },
            stop_atr: 1.5,
            target_atr: 3.0,
            trailing_stop: false,
            bracket: false,
            regime_enabled: false,
            presets: [
                preset(0.5, 0.1, 0.4, 2.0),
                preset(0.3, 0.6, 0.1, 1.2),
                preset(0.4, 0.4, 0.2, 1.6),
            ],
            cooldown_bars: 1,
            entry_timeout_ms: 30_000,
            exit_repeat_ms: 2_000,
            unprotected_close_ms: 120_000,
            allow_short: true,
            rsi_low: 30.0,
            rsi_high: 70.0,
        }
    }
}

/// Signed score, −1 … 1: sign is the direction, magnitude the confidence. `trend` is any number
/// whose sign is the EMA vote: price − EMA, or fast − slow EMA.
pub fn score(weights: &Weights, trend: f64, rsi: f64, (rsi_low, rsi_high): (f64, f64)) -> f64 {
    let sign = |x: f64| f64::from(i8::from(x > 0.0) - i8::from(x < 0.0));
    let oversold = f64::from(i8::from(rsi < rsi_low) - i8::from(rsi > rsi_high));
    weights.ema * sign(trend) + weights.rsi * oversold
}

/// Where a held position is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Exit {
    side: Side,
    stop: i64,
    target: i64,
    /// Distance of the stop, for trailing.
    distance: i64,
    /// Protective orders rest at the venue: nothing is to be watched but the trailing.
    rests: bool,
}
/// Distances in units of 1e-8, fixed when the entry is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Distances {
    stop: i64,
    target: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Flat,
    Entering {
        side: Side,
        distances: Distances,
        give_up_at: MonoNs,
    },
    Held(Exit),
    /// Held, but no ATR to place a stop.
    Unprotected {
        close_at: MonoNs,
    },
    Leaving {
        repeat_at: MonoNs,
        reason: Reason,
    },
}

#[derive(Clone, Copy, Debug)]
struct Row {
    state: State,
    cooldown: u32,
}

pub struct Classic {
    config: ClassicConfig,
    rows: Rows<Row>,
    unprotected: u64,
}

impl Classic {
    pub fn new(mut config: ClassicConfig) -> Self {
        config.weights = config.weights.normalised();
        for preset in &mut config.presets {
            preset.weights = preset.weights.normalised();
        }
        let row = Row { state: State::Flat, cooldown: 0 };
        Self { rows: Rows::new(&config.symbols, row), config, unprotected: 0 }
    }
    /// How often a position was found without a known stop: an alarm.
    pub fn unprotected(&self) -> u64 {
        self.unprotected
    }

    /// Score and stop distance in ATR for these values; `None` while something is not warm.
    fn judge(&self, indicators: &Indicators) -> Option<(f64, f64)> {
        let config = &self.config;
        let rsi = indicators.rsi?;
        let borders = (config.rsi_low, config.rsi_high);
        if config.regime_enabled {
            let regime: Regime = indicators.regime;
            let preset = &config.presets[regime.index()];
            let [fast, slow] = indicators.preset_ema[regime.index()]?;
            Some((score(&preset.weights, fast - slow, rsi, borders), preset.stop_atr))
        } else {
            let trend = indicators.price - indicators.ema?;
            Some((score(&config.weights, trend, rsi, borders), config.stop_atr))
        }
    }
    fn distances(&self, indicators: &Indicators, stop_atr: f64) -> Option<Distances> {
        let atr = indicators.atr.filter(|atr| *atr > 0.0)?;
        let raw = |multiple: f64| Px::from_f64(atr * multiple).map(Px::raw);
        Some(Distances { stop: raw(stop_atr)?, target: raw(self.config.target_atr)? })
    }

    /// Brings the state in line with what is really held.
    fn settle(&mut self, view: &MarketView<'_>) {
        let held = view.position();
        let Some(row) = self.rows.get_mut(view.symbol()) else { return };
        let state = row.state;
        if held.is_zero() {
            match state {
                State::Flat | State::Entering { .. } => {}
                State::Held(_) | State::Unprotected { .. } | State::Leaving { .. } => {
                    (row.state, row.cooldown) = (State::Flat, self.config.cooldown_bars);
                }
            }
            return;
        }
        let side = Side::of(held);
        let rests = self.config.bracket && matches!(state, State::Entering { .. });
        let distances = match state {
            State::Held(exit) if exit.side == side => return,
            State::Leaving { .. } => return,
            // A flip is on its way: the old side is still being closed.
            State::Entering { side: wanted, .. } if wanted != side => return,
            State::Entering { distances, .. } => Some(distances),
            // Held before this run, or changed by somebody else.
            _ => self.distances(view.indicators(), self.config.stop_atr),
        };
        let px = view.position_row().px_avg().raw();
        let px = if px > 0 { px } else { view.mid().unwrap_or_default().raw() };
        let Some(row) = self.rows.get_mut(view.symbol()) else { return };
        row.state = match distances {
            Some(Distances { stop, target }) if px > 0 => {
                let sign = side.sign();
                State::Held(Exit {
                    side,
                    stop: px.saturating_sub(stop.saturating_mul(sign)),
                    target: px.saturating_add(target.saturating_mul(sign)),
                    distance: stop,
                    rests,
                })
            }
            _ => {
                if matches!(state, State::Unprotected { .. }) {
                    return;
                }
                self.unprotected += 1;
                let wait = SpanNs::from_ms(i64::from(self.config.unprotected_close_ms));
                State::Unprotected { close_at: view.now() + wait }
            }
        };
    }

    fn leave(&mut self, view: &MarketView<'_>, reason: Reason, out: &mut Intents) {
        let repeat = SpanNs::from_ms(i64::from(self.config.exit_repeat_ms));
        if let Some(row) = self.rows.get_mut(view.symbol()) {
            let repeat_at = view.now() + repeat;
            row.state = State::Leaving { repeat_at, reason };
            out.flatten(view.symbol(), reason);
            out.wake_at(repeat_at);
        }
    }

    /// Stop, target and time-outs; nothing here waits for a bar.
    #[inline]
    fn watch(&mut self, view: &MarketView<'_>, out: &mut Intents) {
        let Some(row) = self.rows.get_mut(view.symbol()) else { return };
        let now = view.now();
        match &mut row.state {
            // Held before this run, or the rest of an entry that was given up.
            State::Flat if !view.position().is_zero() => self.settle(view),
            State::Flat => {}
            State::Held(exit) => {
                if !view.is_market_good() {
                    return; // no price to judge by; `on_stale` was told
                }
                let book = view.book();
                // As distances in the direction of the position, so that both sides read the same.
                let (px, sign) = match exit.side {
                    Side::Buy => (book.bids[0].px.raw(), 1),
                    Side::Sell => (book.asks[0].px.raw(), -1),
                };
                if exit.rests {
                    // A tenth of the distance is worth a message; less is not.
                    let trailed = px - exit.distance * sign;
                    let by = (trailed - exit.stop) * sign;
                    if self.config.trailing_stop && by > 0 && by >= exit.distance / 10 {
                        let stop = Guarded::At(Px::from_raw(trailed));
                        let target = Guarded::At(Px::from_raw(exit.target));
                        let bracket = Bracket { target, stop };
                        if out.protect(view.symbol(), bracket, Reason::TrailingStop) {
                            exit.stop = trailed;
                        }
                    }
                } else if (px - exit.stop) * sign <= 0 {
                    let reason = if self.config.trailing_stop {
                        Reason::TrailingStop
                    } else {
                        Reason::StopLoss
                    };
                    self.leave(view, reason, out);
                } else if (px - exit.target) * sign >= 0 {
                    self.leave(view, Reason::TakeProfit, out);
                } else if self.config.trailing_stop {
                    let trailed = px - exit.distance * sign;
                    if (trailed - exit.stop) * sign > 0 {
                        exit.stop = trailed;
                    }
                }
            }
            State::Entering { give_up_at, .. } if now >= *give_up_at => {
                row.state = State::Flat;
                out.cancel(view.symbol(), Reason::Signal);
            }
            State::Unprotected { close_at } if now >= *close_at => {
                self.leave(view, Reason::StopLoss, out);
            }
            State::Leaving { repeat_at, reason } if now >= *repeat_at => {
                let reason = *reason;
                self.leave(view, reason, out);
            }
            State::Entering { give_up_at: at, .. }
            | State::Unprotected { close_at: at }
            | State::Leaving { repeat_at: at, .. } => {
                if view.news().has(News::TIMER) {
                    out.wake_at(*at);
                }
            }
        }
    }

    /// A bar closed.
    fn decide(&mut self, view: &MarketView<'_>, out: &mut Intents) {
        let symbol = view.symbol();
        let Some(row) = self.rows.get_mut(symbol) else { return };
        let cooled = row.cooldown == 0;
        row.cooldown = row.cooldown.saturating_sub(1);
        let state = row.state;
        let Some((score, stop_atr)) = self.judge(view.indicators()) else {
            out.refuse(Refused::WarmingUp);
            return;
        };
        if score.abs() < self.config.confidence_min || score == 0.0 {
            out.refuse(Refused::ConfidenceTooLow);
            return;
        }
        let side = if score > 0.0 { Side::Buy } else { Side::Sell };
        let reason = match state {
            State::Flat if !cooled => {
                out.refuse(Refused::TradeCooldownActive);
                return;
            }
            State::Flat => Reason::Signal,
            State::Held(exit) if exit.side != side => Reason::SignalFlip,
            _ => return, // that way already, or on the way out
        };
        if side == Side::Sell && !self.config.allow_short {
            if reason == Reason::SignalFlip {
                self.leave(view, reason, out);
            }
            return;
        }
        let Some(distances) = self.distances(view.indicators(), stop_atr) else {
            out.refuse(Refused::WarmingUp);
            return;
        };
        if let Err(refused) = view.entries() {
            out.refuse(refused);
            if reason == Reason::SignalFlip {
                self.leave(view, reason, out); // closing is not an entry
            }
            return;
        }
        let qty = if side == Side::Buy { self.config.qty } else { -self.config.qty };
        if out.target(symbol, qty, (Px::ZERO, Urgency::Take), reason) {
            if self.config.bracket {
                let away = |far: i64| Guarded::Away(Px::from_raw(far));
                let (target, stop) = (away(distances.target), away(distances.stop));
                out.protected_by(Bracket { target, stop });
            }
            let wait = SpanNs::from_ms(i64::from(self.config.entry_timeout_ms));
            let give_up_at = view.now() + wait;
            out.wake_at(give_up_at);
            if let Some(row) = self.rows.get_mut(symbol) {
                row.state = State::Entering { side, distances, give_up_at };
            }
        }
    }
    fn forget_entries(&mut self) {
        for row in self.rows.iter_mut() {
            if matches!(row.state, State::Entering { .. }) {
                row.state = State::Flat;
            }
        }
    }
}

impl Strategy for Classic {
    fn name(&self) -> &'static str {
        "classic"
    }
    fn needs(&self) -> Needs {
        Needs {
            symbols: SymbolSet::of(&self.config.symbols),
            news: News::BOOK.with(News::BAR).with(News::TIMER).with(News::PRIVATE),
            timeframe: Some(self.config.timeframe),
            warmup_bars: IndicatorConfig::default().warmup_bars(),
            orders_per_s_max: 100,
        }
    }
    #[inline]
    fn on_event(&mut self, event: &Event, view: &MarketView<'_>, out: &mut Intents) {
        match &event.body {
            Body::Book(_) => self.watch(view, out),
            Body::Bar(bar) => {
                self.settle(view);
                if bar.timeframe == self.config.timeframe {
                    self.decide(view, out);
                }
            }
            _ => {
                self.settle(view);
                self.watch(view, out);
            }
        }
    }
    /// Positions stay: a stop cannot be judged by a book that is not known, and closing blindly
    /// into it is worse. An entry on its way is withdrawn.
    fn on_stale(&mut self, _: &Event, view: &MarketView<'_>, out: &mut Intents) {
        if let Some(row) = self.rows.get_mut(view.symbol())
            && matches!(row.state, State::Entering { .. })
        {
            row.state = State::Flat;
            out.cancel(view.symbol(), Reason::StaleData);
        }
    }
    fn on_disconnect(&mut self, _: &LinkEvent, _: &mut Intents) {
        self.forget_entries();
    }
    fn on_reject(&mut self, rejection: &Rejection, _: &MarketView<'_>, out: &mut Intents) {
        if let Some(row) = self.rows.get_mut(rejection.symbol)
            && matches!(row.state, State::Entering { .. })
        {
            out.refuse(Refused::RejectPause);
            (row.state, row.cooldown) = (State::Flat, self.config.cooldown_bars);
        }
    }
    fn on_kill(&mut self, _: OperatorVerb, _: &mut Intents) {
        self.forget_entries();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_sum_to_one_and_stay_inside_their_clip() {
        let check = |ema, rsi, atr, expected: [f64; 3]| {
            let w = Weights { ema, rsi, atr }.normalised();
            for (value, expected) in [w.ema, w.rsi, w.atr].into_iter().zip(expected) {
                assert!((value - expected).abs() < 1e-12, "{w:?}");
            }
        };
        check(0.4, 0.4, 0.2, [0.4, 0.4, 0.2]);
        check(4.0, 4.0, 2.0, [0.4, 0.4, 0.2]);
        check(1.0, 0.0, 0.0, [0.7, 0.15, 0.15]);
        check(0.0, 0.0, 0.0, [1.0 / 3.0; 3]);
        let mut rng = crate::base::rng::Rng::new(5);
        for _ in 0..1_000 {
            let w = Weights { ema: rng.unit_f64(), rsi: rng.unit_f64(), atr: rng.unit_f64() };
            let w = w.normalised();
            assert!((w.ema + w.rsi + w.atr - 1.0).abs() < 1e-12);
            for part in [w.ema, w.rsi, w.atr] {
                assert!((Weights::MIN - 1e-12..=Weights::MAX + 1e-12).contains(&part), "{w:?}");
            }
        }
    }

    #[test]
    fn the_score_is_the_page_s() {
        let w = Weights { ema: 0.4, rsi: 0.4, atr: 0.2 };
        let borders = (30.0, 70.0);
        assert_eq!(score(&w, 1.0, 50.0, borders), 0.4);
        assert_eq!(score(&w, 1.0, 29.9, borders), 0.8);
        assert_eq!(score(&w, 1.0, 70.1, borders), 0.0);
        assert_eq!(score(&w, -1.0, 70.1, borders), -0.8);
        assert_eq!(score(&w, 0.0, 30.0, borders), 0.0);
    }
}
