//! Playing a recording: its frames go to the subscribers one for one, and ghosts feel what it says.

use super::checksum::checksum;
use super::core::{Core, Listing};
use super::depth::Depth;
use super::hub::{FLAG_CHECKSUM, FeedKey, Hub};
use super::levels::{FoldInput, LevelBook, SIDES, Window, fold_levels, side_index};
use super::market::MarketSource;
use super::matching::Match;
use super::number::{read_number, read_u64};
use super::tape::PublicTrade;
use crate::base::units::Side;
use std::collections::BTreeMap;

/// Book updates between two checksums of a recorded channel.
pub const CHECKSUM_EVERY: u64 = 500;
/// Digits that no price reaches: levels stay as recorded.
const AS_RECORDED: u32 = 30;

#[derive(Debug)]
struct ReplayChannel {
    key: FeedKey,
    feed: usize,
    /// Its book is the symbol's book, in which ghosts live.
    is_main: bool,
    /// The channel's book where it is not the main one.
    book: LevelBook,
    has_snapshot: bool,
    updates: u64,
    /// Last row of a ticker, for late subscribers.
    row: Vec<u8>,
}

/// State of the recorded channels; empty where the market lives here.
#[derive(Debug, Default)]
pub struct Replay {
    channels: Vec<ReplayChannel>,
    has_checksums: bool,
}

impl Replay {
    pub(super) fn new(
        source: &dyn MarketSource,
        by_name: &BTreeMap<String, u16>,
        hub: &mut Hub,
    ) -> Replay {
        let mut channels: Vec<ReplayChannel> = Vec::new();
        for recorded in source.channels() {
            let symbol = by_name.get(&recorded.symbol).copied().unwrap_or(0);
            let key = match recorded.key {
                FeedKey::Book { digits, slow, len, .. } => {
                    FeedKey::Book { symbol, digits, slow, len }
                }
                FeedKey::Raw { slow, len, .. } => FeedKey::Raw { symbol, slow, len },
                FeedKey::Trades { .. } => FeedKey::Trades { symbol },
                FeedKey::Ticker { .. } => FeedKey::Ticker { symbol },
                FeedKey::Candles { frame, .. } => FeedKey::Candles { symbol, frame },
                FeedKey::Status { .. } => FeedKey::Status { symbol },
                FeedKey::Liquidations => FeedKey::Liquidations,
            };
            let feed = hub.feed(key);
            hub.feed_mut(feed).is_recorded = true;
            channels.push(ReplayChannel {
                key,
                feed,
                is_main: false,
                book: LevelBook::default(),
                has_snapshot: false,
                updates: 0,
                row: Vec::new(),
            });
        }
        for symbol in by_name.values() {
            // The finest, fastest, longest book is the symbol's own.
            let rank = |key: FeedKey| match key {
                FeedKey::Book { symbol: s, digits, slow, len } if s == *symbol => {
                    Some((digits, !slow, len))
                }
                _ => None,
            };
            let best = channels.iter_mut().filter(|c| rank(c.key).is_some());
            if let Some(main) = best.max_by_key(|channel| rank(channel.key)) {
                main.is_main = true;
            }
        }
        Replay { channels, has_checksums: source.has_checksums() }
    }
    /// True where somebody listens to every recorded book and trade channel (at whatever
    /// precision).
    pub(super) fn all_wanted(&self, hub: &Hub) -> bool {
        let wanted = |key: FeedKey| {
            hub.feeds().iter().any(|feed| {
                let same = match (key, feed.key) {
                    (FeedKey::Book { symbol: a, .. }, FeedKey::Book { symbol: b, .. }) => a == b,
                    (FeedKey::Trades { symbol: a }, FeedKey::Trades { symbol: b }) => a == b,
                    _ => false,
                };
                same && feed.has_subscribers()
            })
        };
        self.channels.iter().map(|channel| channel.key).all(|key| match key {
            FeedKey::Book { .. } | FeedKey::Trades { .. } => wanted(key),
            _ => true,
        })
    }
    /// What a late subscriber of a recorded book is shown; `None` before its snapshot.
    pub(super) fn window(&self, feed: usize, listings: &[Listing]) -> Option<Window> {
        let channel = self.channels.iter().find(|c| c.feed == feed && c.has_snapshot)?;
        let FeedKey::Book { symbol, len, .. } = channel.key else { return None };
        let book = match &listings[symbol as usize].depth {
            Depth::Recorded(ghosts) if channel.is_main => ghosts.recorded(),
            _ => &channel.book,
        };
        Some(window_of(book, len))
    }
    pub(super) fn has_trades(&self, symbol: u16) -> bool {
        let key = FeedKey::Trades { symbol };
        self.channels.iter().any(|channel| channel.key == key && channel.has_snapshot)
    }
    pub(super) fn last_row(&self, feed: usize) -> Option<&[u8]> {
        let channel = self.channels.iter().find(|channel| channel.feed == feed)?;
        (!channel.row.is_empty()).then_some(&channel.row[..])
    }
}

fn window_of(book: &LevelBook, len: u16) -> Window {
    let mut window = Window::default();
    for side in SIDES {
        let input = FoldInput { side, digits: AS_RECORDED, len: len as usize };
        fold_levels(book.best_first(side), input, &mut window.sides[side_index(side)]);
    }
    window
}

/// `[PRICE,COUNT,AMOUNT]` → side, price, count, quantity.
fn read_level(row: &[u8]) -> Option<(Side, i64, u32, i64)> {
    let row = row.strip_prefix(b"[")?.strip_suffix(b"]")?;
    let mut fields = row.split(|byte| *byte == b',');
    let (px, count) = (read_number(fields.next()?)?.0, read_u64(fields.next()?)?);
    let amount = read_number(fields.next()?)?.0;
    if px <= 0 || amount == 0 || fields.next().is_some() {
        return None;
    }
    let side = if amount > 0 { Side::Buy } else { Side::Sell };
    Some((side, px, u32::try_from(count).ok()?, amount.abs()))
}

/// `[ID,MTS,AMOUNT,PRICE]`.
fn read_trade(row: &[u8]) -> Option<PublicTrade> {
    let row = row.strip_prefix(b"[")?.strip_suffix(b"]")?;
    let mut fields = row.split(|byte| *byte == b',');
    let (id, mts) = (read_u64(fields.next()?)?, read_u64(fields.next()?)? as i64);
    let (qty, px) = (read_number(fields.next()?)?.0, read_number(fields.next()?)?.0);
    (px > 0 && qty != 0).then_some(PublicTrade { id, mts, qty, px })
}

/// Rows of `[[…],[…]]`.
fn rows(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let inner = body.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")).unwrap_or(b"");
    let mut rest = inner;
    std::iter::from_fn(move || {
        let start = rest.iter().position(|byte| *byte == b'[')?;
        let end = start + rest[start..].iter().position(|byte| *byte == b']')? + 1;
        let row = &rest[start..end];
        rest = &rest[end..];
        Some(row)
    })
}

impl Core {
    pub(super) fn list_recorded_feeds(&mut self) {
        for at in 0..self.replay.channels.len() {
            let (key, feed) = (self.replay.channels[at].key, self.replay.channels[at].feed);
            self.register_feed(key, feed);
        }
    }
    /// One array frame of the recording.
    pub(super) fn play(&mut self, at: usize, body: &[u8]) {
        self.stats.recorded += 1;
        let (key, feed) = (self.replay.channels[at].key, self.replay.channels[at].feed);
        if body.starts_with(b"\"cs\"") {
            self.hub.publish_where(feed, body, FLAG_CHECKSUM, self.now);
            return;
        }
        let is_book = matches!(key, FeedKey::Book { .. });
        if is_book && body.starts_with(b"[") && !body.starts_with(b"[[") && body != b"[]" {
            self.play_level(at, body);
            return;
        }
        self.hub.publish(feed, body, self.now);
        if body.starts_with(b"[[") || body == b"[]" {
            match key {
                FeedKey::Book { .. } => self.play_book_snapshot(at, body),
                FeedKey::Trades { symbol } => {
                    self.replay.channels[at].has_snapshot = true;
                    let mut trades: Vec<PublicTrade> = rows(body).filter_map(read_trade).collect();
                    trades.sort_by_key(|trade| (trade.mts, trade.id));
                    let tape = &mut self.listings[symbol as usize].tape;
                    trades.into_iter().for_each(|trade| tape.remember(trade));
                }
                _ => {}
            }
        } else if let FeedKey::Trades { symbol } = key {
            let traded = body.strip_prefix(b"\"te\",").map(read_trade);
            match traded {
                Some(Some(trade)) => self.play_trade(symbol, trade),
                Some(None) => self.stats.recorded_unknown += 1,
                None => {}
            }
        } else if matches!(key, FeedKey::Ticker { .. }) && body.starts_with(b"[") {
            self.replay.channels[at].row = body.to_vec();
        }
    }
    fn play_level(&mut self, at: usize, body: &[u8]) {
        let channel = &mut self.replay.channels[at];
        let (feed, key) = (channel.feed, channel.key);
        let Some((side, px, count, qty)) = read_level(body) else {
            self.stats.recorded_unknown += 1;
            self.hub.publish(feed, body, self.now);
            return;
        };
        channel.updates += 1;
        let sum_due = channel.updates.is_multiple_of(CHECKSUM_EVERY);
        let symbol = key.symbol();
        let mut fills = std::mem::take(&mut self.scratch.matches);
        fills.clear();
        let is_main = channel.is_main;
        if is_main {
            if let Depth::Recorded(book) = &mut self.listings[symbol as usize].depth {
                book.on_level(side, px, count, qty, &mut fills);
                self.stats.recorded_crossed += u64::from(book.recorded().is_crossed());
            }
        } else {
            channel.book.set(side, px, count, qty);
        }
        self.scratch.rows.clear();
        self.scratch.rows.bytes.extend_from_slice(body);
        self.scratch.rows.ends.push(body.len());
        self.hub.publish_rows(feed, &self.scratch.rows, self.now);
        if sum_due {
            self.sum_recorded(at);
        }
        if is_main {
            self.ghost_fills(symbol, side, &fills);
            self.book_changed(symbol);
        }
        self.scratch.matches = fills;
    }
    fn play_book_snapshot(&mut self, at: usize, body: &[u8]) {
        let channel = &mut self.replay.channels[at];
        channel.has_snapshot = true;
        let symbol = channel.key.symbol();
        let is_main = channel.is_main;
        let mut fills = Vec::new();
        let unread = match &mut self.listings[symbol as usize].depth {
            Depth::Recorded(book) if is_main => {
                book.clear_levels();
                let mut unread = 0;
                for row in rows(body) {
                    match read_level(row) {
                        Some((side, px, count, qty)) => {
                            book.on_level(side, px, count, qty, &mut fills);
                        }
                        None => unread += 1,
                    }
                }
                book.settle_snapshot(&mut fills);
                unread
            }
            _ => {
                channel.book.clear();
                let mut unread = 0;
                for row in rows(body) {
                    match read_level(row) {
                        Some((side, px, count, qty)) => {
                            channel.book.set(side, px, count, qty);
                        }
                        None => unread += 1,
                    }
                }
                unread
            }
        };
        self.stats.recorded_unknown += unread;
        self.sum_recorded(at);
        if is_main {
            for fill in &fills {
                // A snapshot does not say which side came; the ghost's own side decides.
                let taker = self.orders.get(&fill.maker).map(|order| order.side.opposite());
                self.ghost_fills(symbol, taker.unwrap_or(Side::Buy), &[*fill]);
            }
            self.book_changed(symbol);
        }
    }
    fn sum_recorded(&mut self, at: usize) {
        if self.replay.has_checksums {
            return;
        }
        let feed = self.replay.channels[at].feed;
        let Some(window) = self.replay.window(feed, &self.listings) else { return };
        let mut body = std::mem::take(&mut self.scratch.body);
        let sum = checksum(&mut body, &window.sides[0], &window.sides[1], false);
        self.send_checksum(feed, sum, &mut body);
        self.scratch.body = body;
    }
    fn play_trade(&mut self, symbol: u16, trade: PublicTrade) {
        let taker = if trade.qty > 0 { Side::Buy } else { Side::Sell };
        let mut fills: Vec<Match> = Vec::new();
        if let Depth::Recorded(book) = &mut self.listings[symbol as usize].depth {
            book.on_trade(taker, trade.px, trade.qty.saturating_abs(), &mut fills);
        }
        self.take_trade(symbol, trade);
        self.ghost_fills(symbol, taker, &fills);
        self.run_stops(symbol);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_cut_and_read() {
        let body = b"[[6443,5,5.26056135],[6443.1,6,-13.67099184]]";
        let read: Vec<_> = rows(body).map(|row| read_level(row).unwrap()).collect();
        assert_eq!(read[0], (Side::Buy, 644_300_000_000, 5, 526_056_135));
        assert_eq!(read[1], (Side::Sell, 644_310_000_000, 6, 1_367_099_184));
        assert_eq!(rows(b"[]").count(), 0);
        for bad in [&b"[1,2]"[..], b"[1,2,3,4]", b"[x,1,1]", b"[1,1,0]", b"[-1,1,1]", b"1,1,1"] {
            assert_eq!(read_level(bad), None);
        }
        assert_eq!(read_trade(b"[1,2,NaN,4]"), None);
        assert_eq!(read_trade(b"[1,2,-0.5,4]").map(|trade| trade.qty), Some(-50_000_000));
    }
}
