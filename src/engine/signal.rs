//! The stage between the front and `risk`: keeps each symbol's market state and indicators, asks
//! the strategies, and hands on everything but book views, of which `risk` gets the top
//! (`Signal::Mark`).
//!
//! Cost. A book view is copied, its mark emitted, and those strategies asked that want books of
//! this symbol; no indicator depends on it. Trades and bars move indicators: committed values at
//! each bar, provisional ones at most every `indicator_interval_ms` per symbol, with the last
//! change guaranteed to be seen (leading and trailing edge). Times due (trailing updates,
//! strategies' timers, age of books) stand in one array of deadlines: a tick looks at it only when
//! the nearest has passed, handles `DUE_PER_TICK_MAX` symbols, and leaves the rest to the inputs
//! that follow, one each: so 512 symbols cannot hold up one input.
//!
//! Order of outputs: the event (or mark) first, then the intents it caused, so that `risk` knows
//! the cause.

use crate::base::ids::{Cid, SymbolId};
use crate::base::limits::{BURST_MAX, STRATEGIES_MAX, SYMBOLS_MAX};
use crate::base::time::{MonoNs, SpanNs};
use crate::base::units::{Px, Qty};
use crate::engine::indicator::{
    Forming, IndicatorConfig, IndicatorSet, Indicators, imbalance, spread_bps,
};
use crate::engine::orders::{Seen, TradeIds, TradeLeg};
use crate::engine::positions::Positions;
use crate::engine::stage::{Outbox, Stage};
use crate::engine::strategy::{
    AnyStrategy, Intents, MarketView, News, Refused, RejectCause, Rejection, Strategy,
    StrategyCounters, SymbolState,
};
use crate::model::{
    AckOf, Bar, BarSource, Body, BookView, ChannelKind, Event, Fill, Instrument, Level, LinkEvent,
    LinkState, Mark, OperatorCommand, OperatorVerb, OrderStatus, SendOutcome, Signal, Source,
    Timeframe, TradeAgg, VenueFact, WalletKind,
};

#[cfg(test)]
mod tests;

/// Symbols whose deadlines one tick handles at most.
pub const DUE_PER_TICK_MAX: usize = 16;
/// Rows that one `publish` gives at most; the next call goes on behind them.
pub const PUBLISH_MAX: usize = 64;
/// Bars built here before history came, remembered so that they can be counted after it.
const STASH: usize = 4;
const NEVER: u64 = u64::MAX;

/// What the stage is made of.
pub struct SignalConfig {
    /// The run's instrument table, in order of `SymbolId`.
    pub instruments: Vec<Instrument>,
    pub wallet: WalletKind,
    /// Shortest time between two provisional recomputations of a symbol, ms; 0 = at every trade.
    pub indicator_interval_ms: u32,
    /// A book without a change for this long is stale, ms; 0 = only the venue's silence makes it
    /// stale.
    pub stale_after_ms: u32,
    /// Bars of the run; the first is shown. At least one.
    pub timeframes: Vec<Timeframe>,
    pub indicators: IndicatorConfig,
    /// In order of `StrategyId`.
    pub strategies: Vec<AnyStrategy>,
}
impl Default for SignalConfig {
    fn default() -> Self {
        Self {
            instruments: Vec::new(),
            wallet: WalletKind::Margin,
            indicator_interval_ms: 250,
            stale_after_ms: 60_000,
            timeframes: vec![Timeframe::M1, Timeframe::M5],
            indicators: IndicatorConfig::default(),
            strategies: Vec::new(),
        }
    }
}

/// Why a stage could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalError {
    /// More than `SYMBOLS_MAX`.
    TooManySymbols {
        count: usize,
    },
    /// More than `STRATEGIES_MAX`.
    TooManyStrategies {
        count: usize,
    },
    NoTimeframe,
    /// A strategy names a symbol that is not in the table.
    UnknownSymbol {
        strategy: &'static str,
        symbol: SymbolId,
    },
    /// A strategy needs bars that this run does not build.
    TimeframeNotBuilt {
        strategy: &'static str,
        timeframe: Timeframe,
    },
}
impl std::fmt::Display for SignalError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooManySymbols { count } => {
                write!(f, "{count} symbols, expected at most {SYMBOLS_MAX}")
            }
            Self::TooManyStrategies { count } => {
                write!(f, "{count} strategies, expected at most {STRATEGIES_MAX}")
            }
            Self::NoTimeframe => write!(f, "no timeframe, expected at least one"),
            Self::UnknownSymbol { strategy, symbol } => {
                write!(f, "strategy {strategy} names symbol {}, which is not followed", symbol.0)
            }
            Self::TimeframeNotBuilt { strategy, timeframe } => {
                write!(f, "strategy {strategy} needs {} bars; add them", timeframe.name())
            }
        }
    }
}

/// What the stage saw and did, in total.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignalCounters {
    pub books: u64,
    pub trades: u64,
    /// Trades of a bar that is closed already, in at least one timeframe.
    pub trades_late: u64,
    pub bars_committed: u64,
    /// Bars counted before, older than the newest, or of the candle channel.
    pub bars_ignored: u64,
    /// Provisional recomputations.
    pub recomputed: u64,
    /// Those of them that a deadline made, not a trade.
    pub recomputed_trailing: u64,
    pub stale_told: u64,
    pub rejections: u64,
    pub fills: u64,
    pub intents: u64,
    /// Events of symbols that are not in the table.
    pub foreign: u64,
    /// Inputs that began with deadlines left over from the one before.
    pub backlogged: u64,
}

/// One symbol as shown to people and metrics.
#[derive(Clone, Copy, Debug)]
pub struct SymbolSignals {
    pub symbol: SymbolId,
    /// Of the first timeframe.
    pub indicators: Indicators,
    /// Zero where that side is empty.
    pub bid: Level,
    pub ask: Level,
    pub spread_bps: Option<f64>,
    pub imbalance: f64,
    /// Receipt of the newest book view; 0 before the first.
    pub book_at: MonoNs,
    pub is_synced: bool,
    pub is_stale: bool,
    pub position: Qty,
    pub px_avg: Px,
    /// Why no position may be opened, if so.
    pub closed: Option<Refused>,
}

/// Indicators of one symbol in one timeframe, and which bars are in them.
struct Series {
    set: IndicatorSet,
    /// End of the newest bar committed, ns.
    until: i64,
    /// The first bars built here, until history came or they are too many.
    stash: [Option<Bar>; STASH],
    /// Bars built here, counted up to one more than the stash holds.
    live: usize,
    has_history: bool,
}

impl Series {
    /// True where the bar was new and is counted. History may come later than the first bars built
    /// here: then the indicators begin anew with it, and those bars follow behind it.
    fn on_bar(&mut self, bar: &Bar, config: &IndicatorConfig) -> bool {
        let open_at = bar.open_at.0;
        match bar.source {
            BarSource::Candles => false,
            BarSource::History => {
                if open_at < self.until && !self.has_history && self.live <= STASH {
                    self.set.reset(config);
                    self.until = i64::MIN;
                }
                self.has_history = true;
                self.commit(bar)
            }
            BarSource::Trades | BarSource::TradesPartial => {
                for place in 0..STASH {
                    // Those that history did not hold; a no-op where they are counted already.
                    if let Some(earlier) =
                        self.stash[place].filter(|each| each.open_at < bar.open_at)
                    {
                        let _ = self.commit(&earlier);
                    }
                }
                if self.live < STASH && !self.has_history {
                    self.stash[self.live] = Some(*bar);
                } else {
                    self.stash = [None; STASH];
                }
                self.live = (self.live + 1).min(STASH + 1);
                self.commit(bar)
            }
        }
    }
    fn commit(&mut self, bar: &Bar) -> bool {
        if bar.open_at.0 < self.until {
            return false;
        }
        self.until = bar.open_at.0.saturating_add(bar.timeframe.span_ms() * 1_000_000);
        self.set.commit(bar);
        true
    }
}

/// Deadlines of one symbol; `NEVER` = none.
#[derive(Clone, Copy)]
struct Timers {
    refresh_at: u64,
    wake_at: u64,
    age_at: u64,
    /// Before this, trades wait for `refresh_at`.
    calm_until: u64,
}

struct Slot {
    strategy: AnyStrategy,
    /// Place of its timeframe.
    primary: usize,
}

/// See the file's head.
pub struct SignalStage {
    states: Box<[SymbolState]>,
    /// Per symbol and kind of news: bits of the strategies to call.
    interest: Box<[[u16; News::KINDS]]>,
    /// Per symbol: bits of the strategies that declared it.
    declared: Box<[u16]>,
    timeframes: Box<[Timeframe]>,
    /// These three by symbol, then by timeframe.
    series: Box<[Series]>,
    values: Box<[Indicators]>,
    forming: Box<[Option<Forming>]>,
    timers: Box<[Timers]>,
    /// The nearest deadline of each symbol.
    due: Box<[u64]>,
    due_next: u64,
    due_cursor: usize,
    backlog: bool,
    slots: Box<[Slot]>,
    intents: Intents,
    positions: Positions,
    trade_ids: TradeIds,
    config: IndicatorConfig,
    interval_ns: i64,
    stale_after_ns: i64,
    // Why nobody may open positions.
    killed: bool,
    stopping: bool,
    paused: bool,
    /// Orders by REST do not get through: cancel-only.
    order_entry_down: bool,
    reconciled: bool,
    /// Reconciled at least once.
    based: bool,
    maintenance: bool,
    closed: Option<Refused>,
    publish_cursor: usize,
    counters: SignalCounters,
}

const _: () = assert!(STRATEGIES_MAX <= u16::BITS as usize);

impl SignalStage {
    /// # Errors
    /// What in the config cannot be; see `SignalError`.
    pub fn new(config: SignalConfig) -> Result<Self, SignalError> {
        let symbols = config.instruments.len();
        if symbols > SYMBOLS_MAX {
            return Err(SignalError::TooManySymbols { count: symbols });
        }
        if config.strategies.len() > STRATEGIES_MAX {
            return Err(SignalError::TooManyStrategies { count: config.strategies.len() });
        }
        if config.timeframes.is_empty() {
            return Err(SignalError::NoTimeframe);
        }
        let needs: Vec<_> = config.strategies.iter().map(|s| s.needs()).collect();
        let mut interest = vec![[0u16; News::KINDS]; symbols].into_boxed_slice();
        let mut declared = vec![0u16; symbols].into_boxed_slice();
        let mut slots = Vec::with_capacity(config.strategies.len());
        for (place, (strategy, needs)) in config.strategies.into_iter().zip(&needs).enumerate() {
            let name = strategy.name();
            for symbol in needs.symbols.iter() {
                let Some(row) = interest.get_mut(symbol.index()) else {
                    return Err(SignalError::UnknownSymbol { strategy: name, symbol });
                };
                declared[symbol.index()] |= 1 << place;
                for (kind, bits) in row.iter_mut().enumerate() {
                    *bits |= u16::from(needs.news.bits() >> kind & 1 == 1) << place;
                }
            }
            let primary = match needs.timeframe {
                None => 0,
                Some(timeframe) => config
                    .timeframes
                    .iter()
                    .position(|each| *each == timeframe)
                    .ok_or(SignalError::TimeframeNotBuilt { strategy: name, timeframe })?,
            };
            slots.push(Slot { strategy, primary });
        }
        let cells = symbols * config.timeframes.len();
        let series = || Series {
            set: IndicatorSet::new(&config.indicators),
            until: i64::MIN,
            stash: [None; STASH],
            live: 0,
            has_history: false,
        };
        let timers = Timers { refresh_at: NEVER, wake_at: NEVER, age_at: NEVER, calm_until: 0 };
        let mut stage = Self {
            states: (0..symbols as u16).map(|s| SymbolState::new(SymbolId(s))).collect(),
            interest,
            declared,
            timeframes: config.timeframes.into_boxed_slice(),
            series: (0..cells).map(|_| series()).collect(),
            values: vec![Indicators::default(); cells].into_boxed_slice(),
            forming: vec![None; cells].into_boxed_slice(),
            timers: vec![timers; symbols].into_boxed_slice(),
            due: vec![NEVER; symbols].into_boxed_slice(),
            due_next: NEVER,
            due_cursor: 0,
            backlog: false,
            slots: slots.into_boxed_slice(),
            intents: Intents::new(&needs),
            positions: Positions::new(config.wallet, &config.instruments),
            trade_ids: TradeIds::new(symbols),
            config: config.indicators,
            interval_ns: i64::from(config.indicator_interval_ms) * 1_000_000,
            stale_after_ns: i64::from(config.stale_after_ms) * 1_000_000,
            killed: false,
            stopping: false,
            paused: false,
            order_entry_down: false,
            reconciled: false,
            based: false,
            maintenance: false,
            closed: None,
            publish_cursor: 0,
            counters: SignalCounters::default(),
        };
        stage.judge_closed();
        Ok(stage)
    }

    pub fn counters(&self) -> &SignalCounters {
        &self.counters
    }
    pub fn positions(&self) -> &Positions {
        &self.positions
    }
    /// Name and counters of each strategy, in order of `StrategyId`.
    pub fn strategies(&self) -> impl Iterator<Item = (&'static str, &StrategyCounters)> {
        self.slots
            .iter()
            .enumerate()
            .map(|(place, slot)| (slot.strategy.name(), self.intents.counters(place)))
    }
    /// Bars of history that make every strategy and every shown value warm.
    pub fn warmup_bars(&self) -> u32 {
        let asked = self.slots.iter().map(|slot| slot.strategy.needs().warmup_bars).max();
        asked.unwrap_or(0).max(self.config.warmup_bars())
    }
    /// `None` for a symbol out of the table.
    pub fn signals(&self, symbol: SymbolId) -> Option<SymbolSignals> {
        let state = self.states.get(symbol.index())?;
        let position = self.positions.get(symbol);
        let view = self.view(symbol, &Event::tick(Default::default()), News::NONE, 0);
        Some(SymbolSignals {
            symbol,
            indicators: self.values[symbol.index() * self.timeframes.len()],
            bid: state.book.bid().unwrap_or_default(),
            ask: state.book.ask().unwrap_or_default(),
            spread_bps: spread_bps(&state.book),
            imbalance: imbalance(&state.book),
            book_at: state.book_at,
            is_synced: state.is_synced(),
            is_stale: state.stale,
            position: position.qty,
            px_avg: position.px_avg(),
            closed: view.entries().err(),
        })
    }
    /// Rows for the cold side, at most `PUBLISH_MAX` per call, round and round. Feeds nothing back.
    pub fn publish(&mut self, mut push: impl FnMut(SymbolSignals)) {
        for _ in 0..self.states.len().min(PUBLISH_MAX) {
            self.publish_cursor = (self.publish_cursor + 1) % self.states.len();
            if let Some(row) = self.signals(SymbolId(self.publish_cursor as u16)) {
                push(row);
            }
        }
    }

    // ---- asking strategies ----

    #[inline(always)]
    fn view(&self, symbol: SymbolId, event: &Event, news: News, primary: usize) -> MarketView<'_> {
        let (index, count) = (symbol.index(), self.timeframes.len());
        MarketView {
            symbol,
            stamp: event.stamp,
            news,
            state: &self.states[index],
            timeframes: &self.timeframes,
            indicators: &self.values[index * count..(index + 1) * count],
            forming: &self.forming[index * count..(index + 1) * count],
            primary,
            positions: &self.positions,
            closed: self.closed,
        }
    }
    /// Calls the strategies in `mask` for one symbol.
    #[inline(always)]
    fn call(
        &mut self,
        mut mask: u16,
        symbol: SymbolId,
        event: &Event,
        news: News,
        ask: impl Fn(&mut AnyStrategy, &MarketView<'_>, &mut Intents),
    ) {
        if self.killed || self.stopping {
            return;
        }
        let (index, count) = (symbol.index(), self.timeframes.len());
        let mut wake = NEVER;
        while mask != 0 {
            let place = mask.trailing_zeros() as usize;
            mask &= mask - 1;
            let slot = &mut self.slots[place];
            let view = MarketView {
                symbol,
                stamp: event.stamp,
                news,
                state: &self.states[index],
                timeframes: &self.timeframes,
                indicators: &self.values[index * count..(index + 1) * count],
                forming: &self.forming[index * count..(index + 1) * count],
                primary: slot.primary,
                positions: &self.positions,
                closed: self.closed,
            };
            self.intents.begin(place, event);
            ask(&mut slot.strategy, &view, &mut self.intents);
            if let Some(at) = self.intents.take_wake() {
                wake = wake.min(at.0);
            }
        }
        if wake != NEVER {
            let timers = &mut self.timers[index];
            timers.wake_at = timers.wake_at.min(wake);
            self.arm(index);
        }
    }
    #[inline(always)]
    fn tell(&mut self, symbol: SymbolId, event: &Event, news: News) {
        let row = &self.interest[symbol.index()];
        let mut mask = 0;
        for (kind, bits) in row.iter().enumerate() {
            if news.bits() >> kind & 1 == 1 {
                mask |= *bits;
            }
        }
        if mask != 0 {
            self.call(mask, symbol, event, news, |s, view, out| s.on_event(event, view, out));
        }
    }
    #[cold]
    fn tell_stale(&mut self, symbol: SymbolId, event: &Event) {
        self.counters.stale_told += 1;
        let mask = self.declared[symbol.index()];
        self.call(mask, symbol, event, News::NONE, |s, view, out| s.on_stale(event, view, out));
    }
    #[cold]
    fn tell_rejection(&mut self, symbol: SymbolId, cid: Cid, cause: RejectCause, event: &Event) {
        self.counters.rejections += 1;
        let rejection = Rejection { symbol, cid, cause };
        let mask = self.declared[symbol.index()];
        self.call(mask, symbol, event, News::NONE, |s, view, out| {
            s.on_reject(&rejection, view, out);
        });
    }
    /// For what is about no symbol. A wake asked for here has no symbol either and is dropped.
    fn tell_all(&mut self, event: &Event, ask: impl Fn(&mut AnyStrategy, &mut Intents)) {
        for (place, slot) in self.slots.iter_mut().enumerate() {
            self.intents.begin(place, event);
            ask(&mut slot.strategy, &mut self.intents);
            let _ = self.intents.take_wake();
        }
    }

    // ---- deadlines ----

    /// Writes the symbol's nearest deadline where ticks look for it.
    #[inline]
    fn arm(&mut self, index: usize) {
        let timers = &self.timers[index];
        let due = timers.refresh_at.min(timers.wake_at).min(timers.age_at);
        self.due[index] = due;
        self.due_next = self.due_next.min(due);
    }
    /// Handles symbols whose deadline has passed, at most `budget`, beginning where it stopped
    /// last.
    #[cold]
    fn run_due(&mut self, event: &Event, budget: usize) {
        // What strategies are told is that time passed, whichever input showed it.
        let tick = Event::tick(event.stamp);
        let now = event.stamp.recv.0;
        let (count, mut handled) = (self.due.len(), 0);
        let mut index = self.due_cursor;
        for _ in 0..count {
            if index >= count {
                index = 0;
            }
            if self.due[index] <= now {
                if handled == budget || !self.intents.has_room() {
                    self.due_cursor = index;
                    self.backlog = true;
                    return;
                }
                handled += 1;
                self.run_symbol(SymbolId(index as u16), &tick);
            }
            index += 1;
        }
        self.backlog = false;
        self.due_cursor = 0;
        self.due_next = self.due.iter().copied().min().unwrap_or(NEVER);
    }
    fn run_symbol(&mut self, symbol: SymbolId, tick: &Event) {
        let (index, now) = (symbol.index(), tick.stamp.recv);
        let mut news = News::NONE;
        let timers = &mut self.timers[index];
        if timers.wake_at <= now.0 {
            timers.wake_at = NEVER;
            news = news.with(News::TIMER);
        }
        let age_due = timers.age_at <= now.0;
        if timers.refresh_at <= now.0 {
            self.counters.recomputed_trailing += 1;
            self.recompute(index, now);
            news = news.with(News::INDICATORS);
        }
        let mut became_stale = false;
        if age_due {
            let state = &mut self.states[index];
            let timers = &mut self.timers[index];
            let limit = state.book_at + SpanNs(self.stale_after_ns);
            if now < limit {
                timers.age_at = limit.0;
            } else {
                timers.age_at = NEVER;
                state.age_armed = false;
                became_stale = !std::mem::replace(&mut state.stale, true) && state.is_synced();
            }
        }
        self.arm(index);
        if became_stale {
            self.tell_stale(symbol, tick);
        } else if news != News::NONE {
            self.tell(symbol, tick, news);
        }
        if became_stale && news.has(News::TIMER) {
            // Only one call a symbol keeps the burst bounded; the timer comes with the next tick.
            self.timers[index].wake_at = now.0;
            self.arm(index);
        }
    }

    // ---- indicators ----

    fn recompute(&mut self, index: usize, now: MonoNs) {
        let count = self.timeframes.len();
        for place in index * count..(index + 1) * count {
            self.values[place] = match &self.forming[place] {
                Some(forming) => self.series[place].set.provisional(forming),
                None => self.series[place].set.committed(),
            };
        }
        let timers = &mut self.timers[index];
        timers.refresh_at = NEVER;
        timers.calm_until = (now + SpanNs(self.interval_ns)).0;
        self.counters.recomputed += 1;
    }

    fn on_trades(&mut self, event: &Event, trades: &TradeAgg) {
        self.counters.trades += 1;
        let (index, count) = (trades.symbol.index(), self.timeframes.len());
        self.states[index].trades = *trades;
        let mut late = false;
        for place in index * count..(index + 1) * count {
            if trades.last_at.0 < self.series[place].until {
                late = true;
                continue;
            }
            let volume = trades.buy_qty.saturating_add(trades.sell_qty);
            let forming = self.forming[place].get_or_insert(Forming {
                at: trades.last_at,
                high: trades.high,
                low: trades.low,
                last: trades.last,
                volume: Qty::ZERO,
                trades: 0,
            });
            forming.at = trades.last_at;
            forming.high = forming.high.max(trades.high);
            forming.low = forming.low.min(trades.low);
            forming.last = trades.last;
            forming.volume = forming.volume.saturating_add(volume);
            forming.trades = forming.trades.saturating_add(trades.count);
        }
        self.counters.trades_late += u64::from(late);
        let now = event.stamp.recv;
        let timers = &mut self.timers[index];
        let mut news = News::TRADES;
        if now.0 >= timers.calm_until {
            self.recompute(index, now);
            news = news.with(News::INDICATORS);
        } else if timers.refresh_at == NEVER {
            timers.refresh_at = timers.calm_until;
            self.arm(index);
        }
        self.tell(trades.symbol, event, news);
    }

    fn on_bar(&mut self, event: &Event, bar: &Bar) {
        let Some(place) = self.timeframes.iter().position(|each| *each == bar.timeframe) else {
            return;
        };
        let place = bar.symbol.index() * self.timeframes.len() + place;
        let series = &mut self.series[place];
        if !series.on_bar(bar, &self.config) {
            self.counters.bars_ignored += 1;
            return;
        }
        self.counters.bars_committed += 1;
        let forming = &mut self.forming[place];
        if forming.is_some_and(|forming| forming.at.0 < series.until) {
            *forming = None;
        }
        self.values[place] = match forming {
            Some(forming) if bar.source == BarSource::History => series.set.provisional(forming),
            _ => series.set.committed(),
        };
        if bar.source != BarSource::History {
            self.tell(bar.symbol, event, News::BAR.with(News::INDICATORS));
        }
    }

    // ---- everything else ----

    fn judge_closed(&mut self) {
        self.closed = if self.killed {
            Some(Refused::KillSwitch)
        } else if self.paused || self.stopping {
            Some(Refused::TradingPaused)
        } else if !self.reconciled || self.maintenance || self.order_entry_down {
            Some(Refused::TradingLinkDown)
        } else {
            None
        };
    }
    fn on_link(&mut self, event: &Event, link: &LinkEvent) {
        match link.state {
            LinkState::Down | LinkState::AuthFailed | LinkState::ReconcileFailed
                if link.trading =>
            {
                self.reconciled = false;
                self.judge_closed();
                self.tell_all(event, |s, out| s.on_disconnect(link, out));
            }
            LinkState::Reconciled => (self.reconciled, self.based) = (true, true),
            LinkState::MaintenanceStarted => self.maintenance = true,
            LinkState::MaintenanceEnded => self.maintenance = false,
            _ => {}
        }
        self.judge_closed();
    }
    fn on_operator(&mut self, event: &Event, command: &OperatorCommand) {
        let verb = command.verb;
        match (verb, command.symbol) {
            (OperatorVerb::Pause | OperatorVerb::Flatten, Some(symbol)) => {
                self.pause_symbol(symbol, true);
            }
            (OperatorVerb::Resume, Some(symbol)) => self.pause_symbol(symbol, false),
            (OperatorVerb::Pause | OperatorVerb::Flatten, None) => self.paused = true,
            (OperatorVerb::Resume, None) => self.paused = false,
            (OperatorVerb::Kill, _) => self.killed = true,
            (OperatorVerb::Stop | OperatorVerb::StopFlatten, _) => self.stopping = true,
            (OperatorVerb::Reset, _) => self.killed = false,
            (OperatorVerb::CancelAll, _) => {}
        }
        self.judge_closed();
        if matches!(verb, OperatorVerb::Kill | OperatorVerb::Stop | OperatorVerb::StopFlatten) {
            self.tell_all(event, |s, out| s.on_kill(verb, out));
        }
    }
    fn on_venue(&mut self, fact: VenueFact) {
        match fact {
            VenueFact::OrderEntryDown => self.order_entry_down = true,
            VenueFact::OrderEntryUp => self.order_entry_down = false,
            VenueFact::Delisted(symbol) | VenueFact::Listed(symbol) => {
                if let Some(state) = self.states.get_mut(symbol.index()) {
                    state.delisted = matches!(fact, VenueFact::Delisted(_));
                }
            }
            // Sizing is the risk stage's.
            VenueFact::Sizes { .. } => {}
        }
        self.judge_closed();
    }
    fn pause_symbol(&mut self, symbol: SymbolId, paused: bool) {
        if let Some(state) = self.states.get_mut(symbol.index()) {
            state.paused = paused;
        }
    }
    /// True where the fill brings something new. Trades read before the first reconcile is done are
    /// in the venue's position already, which is the start: their ids are kept, their quantities
    /// are not.
    fn on_fill(&mut self, fill: &Fill, now: MonoNs) -> bool {
        if !self.based {
            let _ = self.trade_ids.note(TradeLeg::of(fill), true);
            return false;
        }
        match self.trade_ids.note(TradeLeg::of(fill), fill.fee.is_some()) {
            Seen::New => self.positions.on_fill(fill, now),
            Seen::FeeOnly => self.positions.on_fee(fill, now),
            Seen::Duplicate | Seen::TooOld => return false,
        }
        self.counters.fills += 1;
        true
    }
    /// Applies a change of state and tells strategies where the symbol's market was good and is no
    /// longer.
    fn change(&mut self, symbol: SymbolId, event: &Event, change: impl Fn(&mut SymbolState)) {
        let state = &mut self.states[symbol.index()];
        let good = |state: &SymbolState| state.is_synced() && !state.stale;
        let before = good(state);
        change(state);
        if before && !good(state) {
            self.tell_stale(symbol, event);
        }
    }
    fn knows(&mut self, symbol: SymbolId) -> bool {
        let known = symbol.index() < self.states.len();
        self.counters.foreign += u64::from(!known);
        known
    }

    /// Everything but books and ticks.
    fn on_body(&mut self, event: &Event) {
        let now = event.stamp.recv;
        match &event.body {
            Body::Book(_) | Body::Tick => {}
            Body::Trades(trades) => {
                if self.knows(trades.symbol) {
                    self.on_trades(event, trades);
                }
            }
            Body::Bar(bar) => {
                if self.knows(bar.symbol) {
                    self.on_bar(event, bar);
                }
            }
            Body::Ticker(ticker) => {
                if self.knows(ticker.symbol) {
                    self.tell(ticker.symbol, event, News::OTHER);
                }
            }
            Body::Status(status) => {
                if self.knows(status.symbol) {
                    self.tell(status.symbol, event, News::OTHER);
                }
            }
            Body::Sync(sync) => {
                if self.knows(sync.symbol) {
                    self.change(sync.symbol, event, |state| state.sync = sync.state);
                }
            }
            Body::Quiet(quiet) => {
                let is_book = matches!(quiet.kind, ChannelKind::Book | ChannelKind::RawBook);
                if is_book && self.knows(quiet.symbol) {
                    self.change(quiet.symbol, event, |state| state.stale = quiet.quiet);
                }
            }
            Body::Link(link) => self.on_link(event, link),
            Body::Operator(command) => self.on_operator(event, command),
            Body::Venue(fact) => self.on_venue(*fact),
            Body::Fill(fill) => {
                if self.knows(fill.symbol) && self.on_fill(fill, now) {
                    self.tell(fill.symbol, event, News::PRIVATE);
                }
            }
            Body::Position(update) => {
                self.positions.on_update(update, now);
                if self.knows(update.symbol) {
                    self.tell(update.symbol, event, News::PRIVATE);
                }
            }
            Body::Snapshot(mark) => self.positions.on_snapshot(mark, now),
            Body::Order(order) => {
                if self.knows(order.symbol) {
                    let refused = matches!(
                        order.status,
                        OrderStatus::PostOnlyCanceled
                            | OrderStatus::Insufficient
                            | OrderStatus::Forced
                            | OrderStatus::Refused
                    );
                    if refused && order.source == Source::Closed {
                        let cause = RejectCause::Ended(order.status);
                        self.tell_rejection(order.symbol, order.cid, cause, event);
                    }
                    self.tell(order.symbol, event, News::PRIVATE);
                }
            }
            Body::Ack(ack) => {
                if self.knows(ack.symbol) {
                    if !ack.success && matches!(ack.of, AckOf::New | AckOf::Update) {
                        let cause = RejectCause::Venue(ack.refusal);
                        self.tell_rejection(ack.symbol, ack.cid, cause, event);
                    }
                    self.tell(ack.symbol, event, News::PRIVATE);
                }
            }
            Body::Report(report) => {
                if self.knows(report.symbol) {
                    let makes_orders = matches!(report.of, AckOf::New | AckOf::Update);
                    if report.outcome != SendOutcome::Written && makes_orders {
                        let cause = RejectCause::Send(report.outcome);
                        self.tell_rejection(report.symbol, report.cid, cause, event);
                    }
                    self.tell(report.symbol, event, News::PRIVATE);
                }
            }
            Body::Wallet(_) => {}
        }
    }

    #[inline(always)]
    fn on_book(&mut self, event: &Event, book: &BookView) {
        let index = book.symbol.index();
        self.counters.books += 1;
        let now = event.stamp.recv;
        let state = &mut self.states[index];
        let lost = state.is_synced() && !book.synced && !state.stale;
        state.book = *book;
        state.book_at = now;
        state.stale = false;
        state.seen = true;
        if !state.age_armed && self.stale_after_ns > 0 {
            state.age_armed = true;
            self.timers[index].age_at = (now + SpanNs(self.stale_after_ns)).0;
            self.arm(index);
        }
        if lost {
            self.tell_stale(book.symbol, event);
        }
        let mask = self.interest[index][0];
        const { assert!(News::BOOK.bits() == 1) };
        if mask != 0 {
            let news = News::BOOK;
            self.call(mask, book.symbol, event, news, |s, view, out| s.on_event(event, view, out));
        }
    }
}

impl Stage for SignalStage {
    type In = Event;
    type Out = Signal;
    const NAME: &'static str = "signal";
    const BURST_MAX: usize = BURST_MAX;

    #[inline]
    fn on_input(&mut self, input: &Event, out: &mut impl Outbox<Signal>) {
        match &input.body {
            Body::Book(book) => {
                if !self.knows(book.symbol) {
                    return;
                }
                out.emit(Signal::Mark(Mark {
                    stamp: input.stamp,
                    symbol: book.symbol,
                    synced: book.synced,
                    bid: book.bid().unwrap_or_default(),
                    ask: book.ask().unwrap_or_default(),
                }));
                self.on_book(input, book);
            }
            Body::Tick => {
                out.emit(Signal::Event(*input));
                if input.stamp.recv.0 >= self.due_next {
                    self.run_due(input, DUE_PER_TICK_MAX);
                }
            }
            _ => {
                out.emit(Signal::Event(*input));
                self.on_body(input);
            }
        }
        if self.backlog && !matches!(input.body, Body::Tick) {
            self.counters.backlogged += 1;
            self.run_due(input, 1);
        }
        if !self.intents.is_empty() {
            let items = self.intents.drain();
            self.counters.intents += items.len() as u64;
            for intent in items {
                out.emit(Signal::Intent(*intent));
            }
        }
    }
}
