//! Public trades of one symbol and what is made of them: candles, last price, the day's figures.

use super::number::{push_i64, push_number, push_u64};
use crate::base::time::WallNs;
use std::collections::VecDeque;

/// A public trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicTrade {
    pub id: u64,
    /// Execution, ms since the epoch.
    pub mts: i64,
    /// 1e-8; + taker bought, − taker sold.
    pub qty: i64,
    /// 1e-8.
    pub px: i64,
}

/// One candle; prices and volume in 1e-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candle {
    /// Start, ms since the epoch.
    pub mts: i64,
    pub open: i64,
    pub close: i64,
    pub high: i64,
    pub low: i64,
    pub volume: i64,
}

/// Trades kept for `hist` and snapshots.
pub const TRADES_MAX: usize = 10_000;
/// Candles kept per time frame.
pub const CANDLES_MAX: usize = 20_000;
/// Rows of a trade snapshot.
pub const TRADE_SNAPSHOT: usize = 30;
/// Rows of a candle snapshot.
pub const CANDLE_SNAPSHOT: usize = 240;

const MINUTE: i64 = 60_000;
const DAY: i64 = 1_440 * MINUTE;

/// Time frames served: name, span and offset from the epoch, ms. (`1W` starts on Mondays; `1M` has
/// no span: it starts with the calendar's month.)
pub const FRAMES: [(&str, i64, i64); 13] = [
    ("1m", MINUTE, 0),
    ("5m", 5 * MINUTE, 0),
    ("15m", 15 * MINUTE, 0),
    ("30m", 30 * MINUTE, 0),
    ("1h", 60 * MINUTE, 0),
    ("3h", 180 * MINUTE, 0),
    ("6h", 360 * MINUTE, 0),
    ("12h", 720 * MINUTE, 0),
    ("1D", DAY, 0),
    ("1W", 7 * DAY, 4 * DAY),
    ("7D", 7 * DAY, 0),
    ("14D", 14 * DAY, 0),
    ("1M", 0, 0),
];

/// Start of the candle of a frame that a moment belongs to.
fn start_of(mts: i64, span: i64, offset: i64) -> i64 {
    if span > 0 {
        return (mts - offset).div_euclid(span) * span + offset;
    }
    let (.., day) = WallNs::from_ms(mts).utc_date();
    (mts.div_euclid(DAY) - i64::from(day) + 1) * DAY
}

/// Name of a time frame by its index.
pub fn frame_name(frame: u16) -> Option<&'static str> {
    FRAMES.get(usize::from(frame)).map(|(name, ..)| *name)
}

/// Index of a time frame by its name.
pub fn frame_of(name: &str) -> Option<usize> {
    FRAMES.iter().position(|(frame, ..)| *frame == name)
}

/// The day's figures for a ticker row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DayFigures {
    /// Price a day ago or the oldest known.
    pub open: i64,
    pub last: i64,
    pub volume: i64,
    pub high: i64,
    pub low: i64,
}

#[derive(Clone, Debug, Default)]
pub struct Tape {
    trades: VecDeque<PublicTrade>,
    candles: [VecDeque<Candle>; FRAMES.len()],
    last: Option<i64>,
}

impl Tape {
    /// Takes in a trade that is news: candles and last price follow it.
    pub fn push(&mut self, trade: PublicTrade) {
        self.remember(trade);
        let row = Candle {
            mts: trade.mts,
            open: trade.px,
            close: trade.px,
            high: trade.px,
            low: trade.px,
            volume: trade.qty.saturating_abs(),
        };
        self.merge(row);
    }
    /// Takes in a trade of a snapshot: shown in lists, no part of any candle here.
    pub fn remember(&mut self, trade: PublicTrade) {
        if self.trades.len() == TRADES_MAX {
            self.trades.pop_front();
        }
        self.trades.push_back(trade);
        self.last = Some(trade.px);
    }
    /// Takes in a candle of history (1 minute), oldest first.
    pub fn push_history(&mut self, candle: Candle) {
        self.last = Some(candle.close);
        self.merge(candle);
    }
    fn merge(&mut self, row: Candle) {
        for ((_, span, offset), candles) in FRAMES.iter().zip(&mut self.candles) {
            let mts = start_of(row.mts, *span, *offset);
            match candles.back_mut() {
                // A late trade changes the newest candle: earlier ones are history.
                Some(last) if last.mts >= mts => {
                    last.close = row.close;
                    last.high = last.high.max(row.high);
                    last.low = last.low.min(row.low);
                    last.volume = last.volume.saturating_add(row.volume);
                }
                _ => {
                    if candles.len() == CANDLES_MAX {
                        candles.pop_front();
                    }
                    candles.push_back(Candle { mts, ..row });
                }
            }
        }
    }
    /// Price of the last trade, 1e-8.
    pub fn last(&self) -> Option<i64> {
        self.last
    }
    /// Trades, newest first.
    pub fn trades(&self) -> impl Iterator<Item = &PublicTrade> {
        self.trades.iter().rev()
    }
    /// Candles of a time frame, newest first.
    pub fn candles(&self, frame: usize) -> impl Iterator<Item = &Candle> {
        self.candles[frame].iter().rev()
    }
    /// Figures of the 24 hours before `now_ms`.
    pub fn day(&self, now_ms: i64) -> DayFigures {
        let from = now_ms - DAY;
        let last = self.last.unwrap_or(0);
        let mut day = DayFigures { open: last, last, volume: 0, high: last, low: last };
        for candle in self.candles(0).take_while(|candle| candle.mts >= from) {
            day.open = candle.open;
            day.volume = day.volume.saturating_add(candle.volume);
            day.high = day.high.max(candle.high);
            day.low = day.low.min(candle.low);
        }
        day
    }
}

/// Writes `[ID,MTS,AMOUNT,PRICE]`.
pub fn push_trade(out: &mut Vec<u8>, trade: &PublicTrade) {
    out.push(b'[');
    push_u64(out, trade.id);
    out.push(b',');
    push_i64(out, trade.mts);
    for number in [trade.qty, trade.px] {
        out.push(b',');
        push_number(out, number);
    }
    out.push(b']');
}

/// Writes `[MTS,OPEN,CLOSE,HIGH,LOW,VOLUME]`.
pub fn push_candle(out: &mut Vec<u8>, candle: &Candle) {
    out.push(b'[');
    push_i64(out, candle.mts);
    for number in [candle.open, candle.close, candle.high, candle.low, candle.volume] {
        out.push(b',');
        push_number(out, number);
    }
    out.push(b']');
}

/// Writes `[item,item,…]`.
pub fn push_list<T>(
    out: &mut Vec<u8>,
    items: impl Iterator<Item = T>,
    write: impl Fn(&mut Vec<u8>, T),
) {
    out.push(b'[');
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trade(id: u64, mts: i64, px: i64) -> PublicTrade {
        PublicTrade { id, mts, qty: if id.is_multiple_of(2) { 2 } else { -2 }, px }
    }

    #[test]
    fn candles_open_by_the_trade_and_close_by_the_next_minute() {
        let mut tape = Tape::default();
        for (id, mts, px) in [(1, 60_001, 10), (2, 60_900, 14), (3, 119_999, 8), (4, 180_000, 9)] {
            tape.push(trade(id, mts, px));
        }
        let minutes: Vec<Candle> = tape.candles(0).copied().collect();
        assert_eq!(minutes.len(), 2, "a minute without a trade makes no candle");
        assert_eq!(
            minutes[1],
            Candle { mts: 60_000, open: 10, close: 8, high: 14, low: 8, volume: 6 }
        );
        assert_eq!(tape.candles(1).count(), 1);
        let day = tape.day(200_000);
        assert_eq!((day.open, day.last, day.high, day.low, day.volume), (10, 9, 14, 8, 8));
    }

    #[test]
    fn weeks_start_on_mondays() {
        let mut tape = Tape::default();
        tape.push(trade(1, 1_542_045_968_922, 5)); // Monday 2018-11-12
        let week = frame_of("1W").unwrap();
        assert_eq!(tape.candles(week).next().unwrap().mts, 1_541_980_800_000);
    }

    #[test]
    fn months_start_with_the_calendars() {
        let mut tape = Tape::default();
        let month = frame_of("1M").unwrap();
        for mts in [1_542_045_968_922, 1_543_622_399_999, 1_543_622_400_000] {
            tape.push(trade(1, mts, 5)); // twice November 2018, the last moment of it, December
        }
        let starts: Vec<i64> = tape.candles(month).map(|candle| candle.mts).collect();
        assert_eq!(starts, [1_543_622_400_000, 1_541_030_400_000]);
    }
}
