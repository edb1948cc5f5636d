//! Bars from public trades, closed by the clock of the stamps.
//!
//! A trade belongs to the bar that holds its venue time; open and close follow the order of
//! arrival. A bar ends when the clock passes its end and the grace, or when a trade of a later bar
//! arrives, whichever comes first. A span without a trade makes no bar. Quantities and prices stay
//! exact integers.
//!
//! One builder holds every symbol and timeframe of the run. Its cost without a bar end is one
//! compare per tick, and per trade a few compares for each timeframe.

use crate::base::ids::SymbolId;
use crate::base::time::{SpanNs, WallNs};
use crate::base::units::{Px, Qty};
use crate::model::{Bar, BarSource, Timeframe};

/// A trade further than this ahead of the clock is nonsense: counted, and kept out of every bar,
/// because it would end the running bar and make all true trades after it late.
pub const TRADE_AHEAD_MAX: SpanNs = SpanNs::from_s(3_600);

/// What is built.
#[derive(Clone, Debug)]
pub struct BarsConfig {
    /// Rows of the run's instrument table.
    pub symbols: usize,
    /// Each at most once; any order. Empty = no bars.
    pub timeframes: Vec<Timeframe>,
    /// How long after its end a bar still takes trades, ms. Trades reach us some milliseconds after
    /// the time they carry; without a grace the clock would end the bar before its last trades are
    /// here.
    pub grace_ms: u32,
}
impl Default for BarsConfig {
    fn default() -> Self {
        Self { symbols: 0, timeframes: vec![Timeframe::M1, Timeframe::M5], grace_ms: 200 }
    }
}

/// What the builder saw, in total.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BarCounters {
    pub trade: u64,
    /// Closed because the clock passed the end.
    pub closed_by_time: u64,
    /// Closed because a trade of a later bar arrived.
    pub closed_by_trade: u64,
    /// Closed bars of which a part was not heard (`BarSource::TradesPartial`).
    pub closed_partial: u64,
    /// Trades of a bar that was closed already, in at least one timeframe.
    pub trade_late: u64,
    /// Trades more than `TRADE_AHEAD_MAX` ahead of the clock.
    pub trade_ahead: u64,
    /// Trades without a time, a price or a quantity.
    pub trade_void: u64,
}

/// One symbol in one timeframe.
#[derive(Clone, Copy, Debug)]
struct Cell {
    /// Start of the forming bar, ns since the epoch.
    open_at: i64,
    /// Its end; `i64::MAX` while nothing forms.
    end: i64,
    /// Trades before this belong to closed bars.
    closed_until: i64,
    open: Px,
    high: Px,
    low: Px,
    close: Px,
    volume: Qty,
    trades: u32,
    partial: bool,
}
const IDLE: Cell = Cell {
    open_at: 0,
    end: i64::MAX,
    closed_until: i64::MIN,
    open: Px::ZERO,
    high: Px::ZERO,
    low: Px::ZERO,
    close: Px::ZERO,
    volume: Qty::ZERO,
    trades: 0,
    partial: false,
};

/// See the file's head.
#[derive(Clone, Debug)]
pub struct BarBuilder {
    timeframes: Box<[Timeframe]>,
    /// By symbol, then by timeframe.
    cells: Box<[Cell]>,
    /// From when on each symbol's trades are heard without a hole; `i64::MAX` = not heard.
    whole_from: Box<[i64]>,
    grace: i64,
    /// No forming bar is due before this.
    next_close: i64,
    clock: i64,
    counters: BarCounters,
}

impl BarBuilder {
    pub fn new(config: BarsConfig) -> Self {
        let mut timeframes = config.timeframes;
        timeframes.sort_unstable();
        timeframes.dedup();
        Self {
            cells: vec![IDLE; config.symbols * timeframes.len()].into_boxed_slice(),
            timeframes: timeframes.into_boxed_slice(),
            whole_from: vec![i64::MAX; config.symbols].into_boxed_slice(),
            grace: i64::from(config.grace_ms) * 1_000_000,
            next_close: i64::MAX,
            clock: i64::MIN,
            counters: BarCounters::default(),
        }
    }
    pub fn counters(&self) -> &BarCounters {
        &self.counters
    }
    pub fn timeframes(&self) -> &[Timeframe] {
        &self.timeframes
    }

    /// One public trade, in order of arrival; the sign of `qty` does not matter. Bars that it ends
    /// are given to `closed` before it is counted itself, shortest timeframe first.
    #[inline]
    pub fn on_trade(
        &mut self,
        symbol: SymbolId,
        at: WallNs,
        px: Px,
        qty: Qty,
        closed: &mut impl FnMut(Bar),
    ) {
        let index = symbol.index();
        if index >= self.whole_from.len() {
            return;
        }
        if at.0 <= 0 || px.raw() <= 0 || qty.is_zero() {
            self.counters.trade_void += 1;
            return;
        }
        if self.clock != i64::MIN && at.0.saturating_sub(self.clock) > TRADE_AHEAD_MAX.0 {
            self.counters.trade_ahead += 1;
            return;
        }
        self.counters.trade += 1;
        if self.whole_from[index] == i64::MAX {
            self.whole_from[index] = at.0;
        }
        let whole_from = self.whole_from[index];
        let (count, mut late) = (self.timeframes.len(), false);
        for (place, timeframe) in self.timeframes.iter().enumerate() {
            let cell = &mut self.cells[index * count + place];
            if at.0 >= cell.end {
                self.counters.closed_by_trade += 1;
                self.counters.closed_partial += u64::from(cell.partial);
                closed(cell.close_bar(symbol, *timeframe));
            }
            if at.0 < cell.closed_until {
                late = true;
                continue;
            }
            if cell.end == i64::MAX {
                let span = timeframe.span_ms() * 1_000_000;
                let open_at = at.0.div_euclid(span) * span;
                *cell = Cell {
                    open_at,
                    end: open_at + span,
                    closed_until: cell.closed_until,
                    open: px,
                    high: px,
                    low: px,
                    close: px,
                    volume: qty.abs(),
                    trades: 1,
                    partial: open_at < whole_from,
                };
                self.next_close = self.next_close.min(cell.end.saturating_add(self.grace));
            } else if at.0 < cell.open_at {
                // Before the forming bar, but no bar was closed there: a span thought empty.
                late = true;
            } else {
                cell.high = cell.high.max(px);
                cell.low = cell.low.min(px);
                cell.close = px;
                cell.volume = cell.volume.saturating_add(qty.abs());
                cell.trades = cell.trades.saturating_add(1);
            }
        }
        self.counters.trade_late += u64::from(late);
    }

    /// The clock of the stamps; never goes back. Gives every bar whose end and grace have passed.
    #[inline]
    pub fn on_time(&mut self, now: WallNs, closed: &mut impl FnMut(Bar)) {
        self.clock = self.clock.max(now.0);
        if now.0 >= self.next_close {
            self.close_due(now.0, closed);
        }
    }

    #[cold]
    fn close_due(&mut self, now: i64, closed: &mut impl FnMut(Bar)) {
        let count = self.timeframes.len();
        let mut next = i64::MAX;
        for (place, cell) in self.cells.iter_mut().enumerate() {
            let due = cell.end.saturating_add(self.grace);
            if now >= due {
                self.counters.closed_by_time += 1;
                self.counters.closed_partial += u64::from(cell.partial);
                // The table is no longer than SYMBOLS_MAX, so the index fits.
                let symbol = SymbolId((place / count) as u16);
                closed(cell.close_bar(symbol, self.timeframes[place % count]));
            } else {
                next = next.min(due);
            }
        }
        self.next_close = next;
    }

    /// A closed bar that another source knows (history at start): trades inside it are late from
    /// now on. A bar that is not over yet, and one that forms here, are left alone.
    pub fn seed(&mut self, bar: &Bar) {
        let Some(place) = self.timeframes.iter().position(|tf| *tf == bar.timeframe) else {
            return;
        };
        let index = bar.symbol.index();
        if index >= self.whole_from.len() {
            return;
        }
        let end = bar.open_at.0.saturating_add(bar.timeframe.span_ms() * 1_000_000);
        let cell = &mut self.cells[index * self.timeframes.len() + place];
        if end <= self.clock && (cell.end == i64::MAX || cell.open_at >= end) {
            cell.closed_until = cell.closed_until.max(end);
        }
    }

    /// The symbol's trades are heard no longer: its forming bars, and those begun before `resumed`,
    /// are partial.
    pub fn interrupted(&mut self, symbol: SymbolId) {
        let count = self.timeframes.len();
        let Some(whole_from) = self.whole_from.get_mut(symbol.index()) else { return };
        *whole_from = i64::MAX;
        for cell in &mut self.cells[symbol.index() * count..(symbol.index() + 1) * count] {
            cell.partial |= cell.end != i64::MAX;
        }
    }

    /// The symbol's trades are heard from `at` on. Where nobody says so, the first trade does.
    pub fn resumed(&mut self, symbol: SymbolId, at: WallNs) {
        if let Some(whole_from) = self.whole_from.get_mut(symbol.index()) {
            *whole_from = (*whole_from).min(at.0);
        }
    }

    /// The bar that forms now; `None` where no trade of it has come.
    pub fn forming(&self, symbol: SymbolId, timeframe: Timeframe) -> Option<Bar> {
        let place = self.timeframes.iter().position(|tf| *tf == timeframe)?;
        let cell = self.cells.get(symbol.index() * self.timeframes.len() + place)?;
        (cell.end != i64::MAX).then(|| cell.bar(symbol, timeframe))
    }
}

impl Cell {
    fn bar(&self, symbol: SymbolId, timeframe: Timeframe) -> Bar {
        Bar {
            symbol,
            timeframe,
            source: if self.partial { BarSource::TradesPartial } else { BarSource::Trades },
            open_at: WallNs(self.open_at),
            open: self.open,
            high: self.high,
            low: self.low,
            close: self.close,
            volume: self.volume,
            trades: self.trades,
        }
    }
    fn close_bar(&mut self, symbol: SymbolId, timeframe: Timeframe) -> Bar {
        let bar = self.bar(symbol, timeframe);
        *self = Cell { closed_until: self.end, ..IDLE };
        bar
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: SymbolId = SymbolId(1);

    fn builder() -> BarBuilder {
        BarBuilder::new(BarsConfig { symbols: 2, grace_ms: 200, ..BarsConfig::default() })
    }
    fn trade(b: &mut BarBuilder, at_ms: i64, px: i64, qty: i64) -> Vec<Bar> {
        let mut bars = Vec::new();
        let (px, qty) = (Px::from_whole(px), Qty::from_whole(qty));
        b.on_trade(S, WallNs::from_ms(at_ms), px, qty, &mut |bar| bars.push(bar));
        bars
    }
    fn time(b: &mut BarBuilder, at_ms: i64) -> Vec<Bar> {
        let mut bars = Vec::new();
        b.on_time(WallNs::from_ms(at_ms), &mut |bar| bars.push(bar));
        bars
    }

    #[test]
    fn the_clock_closes_a_bar_once_its_grace_is_over() {
        let mut b = builder();
        b.resumed(S, WallNs::from_ms(1));
        assert!(trade(&mut b, 60_000, 10, 1).is_empty());
        trade(&mut b, 70_000, 12, -2);
        trade(&mut b, 119_999, 11, 3);
        assert!(time(&mut b, 120_000).is_empty(), "its last trades may still be on their way");
        let bars = time(&mut b, 120_200);
        assert_eq!(bars.len(), 1);
        let bar = bars[0];
        assert_eq!((bar.symbol, bar.timeframe, bar.source), (S, Timeframe::M1, BarSource::Trades));
        assert_eq!(bar.open_at, WallNs::from_ms(60_000));
        assert_eq!((bar.open, bar.high), (Px::from_whole(10), Px::from_whole(12)));
        assert_eq!((bar.low, bar.close), (Px::from_whole(10), Px::from_whole(11)));
        assert_eq!((bar.volume, bar.trades), (Qty::from_whole(6), 3));
        assert!(time(&mut b, 240_300).is_empty(), "a minute without a trade has no bar");
        let bars = time(&mut b, 300_200);
        assert_eq!(bars.len(), 1);
        assert_eq!((bars[0].timeframe, bars[0].trades), (Timeframe::M5, 3));
    }

    #[test]
    fn a_trade_of_the_next_bar_closes_before_it_is_counted_and_late_trades_change_nothing() {
        let mut b = builder();
        trade(&mut b, 299_000, 10, 1);
        let bars = trade(&mut b, 300_000, 11, 1);
        assert_eq!(bars.len(), 2, "one minute and five minutes, shortest first");
        assert_eq!((bars[0].timeframe, bars[1].timeframe), (Timeframe::M1, Timeframe::M5));
        assert_eq!(bars[0].close, Px::from_whole(10));
        trade(&mut b, 299_999, 99, 1);
        assert_eq!(b.counters().trade_late, 1);
        assert_eq!(b.forming(S, Timeframe::M1).unwrap().high, Px::from_whole(11));
        assert_eq!(b.forming(S, Timeframe::M1).unwrap().trades, 1);
    }

    #[test]
    fn a_bar_that_was_not_heard_whole_says_so() {
        let mut b = builder();
        trade(&mut b, 65_000, 10, 1);
        assert_eq!(time(&mut b, 120_200)[0].source, BarSource::TradesPartial, "heard from 65 s on");
        trade(&mut b, 125_000, 10, 1);
        assert_eq!(time(&mut b, 180_200)[0].source, BarSource::Trades);
        trade(&mut b, 185_000, 10, 1);
        b.interrupted(S);
        b.resumed(S, WallNs::from_ms(250_000));
        assert_eq!(time(&mut b, 240_200)[0].source, BarSource::TradesPartial);
        trade(&mut b, 251_000, 10, 1);
        let bars = time(&mut b, 300_200);
        assert!(bars.iter().all(|bar| bar.source == BarSource::TradesPartial));
        assert_eq!(b.counters().closed_partial, 4);
    }

    #[test]
    fn nonsense_trades_are_counted_and_kept_out() {
        let mut b = builder();
        time(&mut b, 60_000);
        trade(&mut b, 60_000 + 3_600_001, 10, 1);
        trade(&mut b, 61_000, 0, 1);
        trade(&mut b, 61_000, 10, 0);
        trade(&mut b, 0, 10, 1);
        assert_eq!((b.counters().trade_ahead, b.counters().trade_void), (1, 3));
        assert!(b.forming(S, Timeframe::M1).is_none());
        b.on_trade(SymbolId(9), WallNs::from_ms(61_000), Px::MAX, Qty::MAX, &mut |_| panic!());
        assert_eq!(b.counters().trade, 0);
    }

    #[test]
    fn a_bar_known_from_history_is_not_built_again() {
        let mut b = builder();
        time(&mut b, 130_000);
        let mut bar = BarBuilder::new(BarsConfig { symbols: 2, ..BarsConfig::default() });
        trade(&mut bar, 70_000, 10, 1);
        let mut known = time(&mut bar, 120_200)[0];
        known.source = BarSource::History;
        b.seed(&known);
        trade(&mut b, 119_000, 10, 1);
        assert!(b.forming(S, Timeframe::M1).is_none());
        assert!(b.forming(S, Timeframe::M5).is_some(), "the five minutes are not over");
        assert_eq!(b.counters().trade_late, 1);
    }

    /// Five hours of recorded trades against the venue's own candles: every full minute equal to
    /// the digit.
    #[test]
    #[cfg_attr(not(shared_data), ignore = "needs ../shared/data")]
    fn bars_from_recorded_trades_equal_the_venues_candles_in_289_of_289_minutes() {
        use crate::engine::indicator::testdata::{candles, lines};
        let mut b = BarBuilder::new(BarsConfig { symbols: 2, ..BarsConfig::default() });
        let mut bars = Vec::new();
        let capture = "ws-capture-bitfinex-btcusd-p0-len100-20181112.ndjson.gz";
        for line in lines(capture) {
            let Some(start) = line.find("\"te\",[") else { continue };
            let fields: Vec<&str> = line[start + 6..].trim_end_matches(']').split(',').collect();
            let at = WallNs::from_ms(fields[1].parse().unwrap());
            let (qty, px) = (Qty::parse(fields[2]).unwrap(), Px::parse(fields[3]).unwrap());
            // The market's clock never runs ahead of the trades here; it closes what it can.
            b.on_time(at, &mut |bar| bars.push(bar));
            b.on_trade(S, at, px, qty, &mut |bar| bars.push(bar));
        }
        assert_eq!((b.counters().trade, b.counters().trade_late), (3_807, 0));
        let built: Vec<&Bar> = bars
            .iter()
            .filter(|bar| bar.timeframe == Timeframe::M1 && bar.source == BarSource::Trades)
            .collect();
        let (first, last) = (built[0].open_at, built[built.len() - 1].open_at);
        let candles: Vec<Bar> = candles("bitfinex-btcusd-1m-2018.csv.gz")
            .into_iter()
            .filter(|bar| bar.open_at >= first && bar.open_at <= last)
            .collect();
        assert_eq!((built.len(), candles.len()), (289, 289));
        for (built, candle) in built.iter().zip(&candles) {
            assert_eq!(built.open_at, candle.open_at);
            assert_eq!((built.open, built.close), (candle.open, candle.close));
            assert_eq!((built.high, built.low), (candle.high, candle.low));
            assert_eq!(built.volume, candle.volume, "{:?}", built.open_at);
        }
    }
}
