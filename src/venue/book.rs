//! One symbol's book by price (P0 … P4), with the venue's checksum.
//!
//! Each side is two arrays in step, worst level first and best level last, so that a change near
//! the touch, the common case, moves few elements. Keys are prices for bids and negated prices for
//! asks: both sides then ascend towards the touch and share one code.

use super::out::Out;
use crate::base::ids::SymbolId;
use crate::base::limits::{BOOK_LEVELS_MAX, CHECKSUM_LEVELS, VIEW_LEVELS};
use crate::base::time::WallNs;
use crate::base::units::{Px, Qty, Side};
use crate::model::{BookView, Level};

/// Places a side: the longest book plus a few, since the venue may insert a level before it deletes
/// the one that is pushed out.
pub const SIDE_CAPACITY: usize = 256;
const _: () = assert!(SIDE_CAPACITY > BOOK_LEVELS_MAX);

/// Longest text a checksum covers, bytes: 25 levels of two sides, two numbers of at most 24 and a
/// colon each.
pub const CHECKSUM_TEXT_MAX: usize = CHECKSUM_LEVELS * 2 * 2 * 25;

/// What a change could not be applied for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BookError {
    /// Price not positive, or a level without a quantity.
    Malformed,
    /// More levels than the longest book the venue sells.
    Full,
}

/// What a change did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    Set,
    Deleted,
    /// A delete of a level that was not there.
    Absent,
}

/// One row of a `book` channel: `[PRICE, COUNT, AMOUNT]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BookRow {
    /// 1e-8 of quote currency.
    pub px: i64,
    /// Orders at the level; 0 deletes it.
    pub count: u32,
    /// 1e-8 of base currency; + bid, − ask.
    pub qty: i64,
}

struct LevelSide {
    len: usize,
    /// Ascending; the best is the last.
    keys: [i64; SIDE_CAPACITY],
    /// Positive quantities, in step with `keys`.
    qtys: [i64; SIDE_CAPACITY],
}

impl LevelSide {
    const EMPTY: LevelSide =
        LevelSide { len: 0, keys: [0; SIDE_CAPACITY], qtys: [0; SIDE_CAPACITY] };

    /// Index of the first key not below `key`. By halves without branches: changes come from all
    /// depths of a book (median rank 20 of 100 in the recording of 2018), so a walk from the touch
    /// guesses wrong too often.
    #[inline(always)]
    fn position(&self, key: i64) -> usize {
        self.keys[..self.len].partition_point(|k| *k < key)
    }
    #[inline(always)]
    fn set(&mut self, key: i64, qty: i64) -> Result<Applied, BookError> {
        let at = self.position(key);
        let len = self.len;
        if at < len && self.keys[at] == key {
            self.qtys[at] = qty;
            return Ok(Applied::Set);
        }
        if len >= SIDE_CAPACITY {
            return Err(BookError::Full);
        }
        self.keys.copy_within(at..len, at + 1);
        self.qtys.copy_within(at..len, at + 1);
        self.keys[at] = key;
        self.qtys[at] = qty;
        self.len = len + 1;
        Ok(Applied::Set)
    }
    #[inline(always)]
    fn delete(&mut self, key: i64) -> Applied {
        let at = self.position(key);
        let len = self.len;
        if at >= len || self.keys[at] != key {
            return Applied::Absent;
        }
        self.keys.copy_within(at + 1..len, at);
        self.qtys.copy_within(at + 1..len, at);
        self.len = len - 1;
        Applied::Deleted
    }
    /// Key and quantity of the `rank`th best level, from 0.
    #[inline(always)]
    fn nth(&self, rank: usize) -> Option<(i64, i64)> {
        if rank >= self.len {
            return None;
        }
        let at = self.len - 1 - rank;
        Some((self.keys[at], self.qtys[at]))
    }
}

/// A book by price.
pub struct Book {
    bids: LevelSide,
    asks: LevelSide,
    /// Set by the session; copied into every view.
    synced: bool,
}

impl Default for Book {
    fn default() -> Self {
        Self::new()
    }
}

impl Book {
    pub const fn new() -> Self {
        Self { bids: LevelSide::EMPTY, asks: LevelSide::EMPTY, synced: false }
    }
    /// Forgets all levels; not synced until told so.
    pub fn clear(&mut self) {
        self.bids.len = 0;
        self.asks.len = 0;
        self.synced = false;
    }
    #[inline(always)]
    pub const fn is_synced(&self) -> bool {
        self.synced
    }
    pub fn set_synced(&mut self, synced: bool) {
        self.synced = synced;
    }

    /// Applies one row.
    ///
    /// # Errors
    /// `Malformed` or `Full`; the book is unchanged then.
    #[inline(always)]
    pub fn apply(&mut self, row: BookRow) -> Result<Applied, BookError> {
        if row.px <= 0 || row.qty == 0 || row.qty == i64::MIN {
            return Err(BookError::Malformed);
        }
        let (side, key) =
            if row.qty > 0 { (&mut self.bids, row.px) } else { (&mut self.asks, -row.px) };
        if row.count == 0 {
            return Ok(side.delete(key));
        }
        side.set(key, row.qty.abs())
    }

    /// Levels of a side.
    pub const fn len(&self, side: Side) -> usize {
        match side {
            Side::Buy => self.bids.len,
            Side::Sell => self.asks.len,
        }
    }
    pub const fn is_empty(&self) -> bool {
        self.bids.len == 0 && self.asks.len == 0
    }
    /// The `rank`th best level of a side, from 0.
    #[inline(always)]
    pub fn level(&self, side: Side, rank: usize) -> Option<Level> {
        let (key, qty) = match side {
            Side::Buy => self.bids.nth(rank)?,
            Side::Sell => self.asks.nth(rank)?,
        };
        Some(Level { px: Px::from_raw(key * side.sign()), qty: Qty::from_raw(qty) })
    }
    /// True where the best bid is at or above the best ask.
    #[inline(always)]
    pub fn is_crossed(&self) -> bool {
        let (bids, asks) = (self.bids.len, self.asks.len);
        // An ask's key is its negated price.
        bids != 0 && asks != 0 && self.bids.keys[bids - 1] + self.asks.keys[asks - 1] >= 0
    }

    /// The best levels, for the line.
    #[inline]
    pub fn view(&self, symbol: SymbolId, venue_at: WallNs, updates: u16) -> BookView {
        let mut view = empty_view(symbol, venue_at, updates, self.synced);
        let (mut bid_sum, mut ask_sum) = (0i64, 0i64);
        let bids = self.bids.len.min(VIEW_LEVELS);
        for (rank, place) in view.bids.iter_mut().enumerate().take(bids) {
            let at = self.bids.len - 1 - rank;
            let qty = self.bids.qtys[at];
            *place = Level { px: Px::from_raw(self.bids.keys[at]), qty: Qty::from_raw(qty) };
            bid_sum = bid_sum.saturating_add(qty);
        }
        let asks = self.asks.len.min(VIEW_LEVELS);
        for (rank, place) in view.asks.iter_mut().enumerate().take(asks) {
            let at = self.asks.len - 1 - rank;
            let qty = self.asks.qtys[at];
            *place = Level { px: Px::from_raw(-self.asks.keys[at]), qty: Qty::from_raw(qty) };
            ask_sum = ask_sum.saturating_add(qty);
        }
        view.bid_count = bids as u8;
        view.ask_count = asks as u8;
        view.imbalance_e4 = imbalance_e4(bid_sum, ask_sum);
        view
    }

    /// The text the venue's checksum covers; returns its length.
    pub fn checksum_text(&self, out: &mut [u8; CHECKSUM_TEXT_MAX]) -> usize {
        let mut out = Out::new(out);
        let mut first = true;
        for rank in 0..CHECKSUM_LEVELS {
            if let Some((key, qty)) = self.bids.nth(rank) {
                checksum_pair(&mut out, &mut first, |o| o.js_number(key), qty);
            }
            if let Some((key, qty)) = self.asks.nth(rank) {
                checksum_pair(&mut out, &mut first, |o| o.js_number(-key), -qty);
            }
        }
        out.finish().unwrap_or(0)
    }
    /// CRC-32 of the 25 best levels a side, signed as on the wire.
    pub fn checksum(&self) -> i32 {
        let mut text = [0u8; CHECKSUM_TEXT_MAX];
        let len = self.checksum_text(&mut text);
        crc32fast::hash(&text[..len]) as i32
    }
}

/// Writes `K:A`, after a colon unless it is the first.
pub(super) fn checksum_pair(
    out: &mut Out,
    first: &mut bool,
    key: impl FnOnce(&mut Out),
    signed_qty: i64,
) {
    if !*first {
        out.bytes(b":");
    }
    *first = false;
    key(out);
    out.bytes(b":");
    out.js_number(signed_qty);
}

pub(super) const fn empty_view(
    symbol: SymbolId,
    venue_at: WallNs,
    updates: u16,
    synced: bool,
) -> BookView {
    const NONE: Level = Level { px: Px::ZERO, qty: Qty::ZERO };
    BookView {
        venue_at,
        bids: [NONE; VIEW_LEVELS],
        asks: [NONE; VIEW_LEVELS],
        symbol,
        bid_count: 0,
        ask_count: 0,
        updates,
        imbalance_e4: 0,
        synced,
    }
}

/// `(bid − ask) / (bid + ask)` in 1e-4, cut towards zero; 0 for an empty book.
#[inline(always)]
pub(super) fn imbalance_e4(bid_sum: i64, ask_sum: i64) -> i16 {
    if bid_sum == 0 && ask_sum == 0 {
        return 0;
    }
    // A ratio may be a float; 2^53 units of 1e-8 are exact, beyond that four digits still are.
    let (bid, ask) = (bid_sum as f64, ask_sum as f64); // tidy-ok: a ratio, for indicators alone
    ((bid - ask) / (bid + ask) * 10_000.0) as i16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;
    use std::collections::BTreeMap;

    pub(crate) fn book_of(rows: &[(&str, u32, &str)]) -> Book {
        let mut book = Book::new();
        for (px, count, qty) in rows {
            let row = BookRow {
                px: Px::parse(px).unwrap().raw(),
                count: *count,
                qty: Qty::parse(qty).unwrap().raw(),
            };
            book.apply(row).unwrap();
        }
        book
    }
    fn check_text(book: &Book, text: &str, crc: i32) {
        let mut out = [0u8; CHECKSUM_TEXT_MAX];
        let len = book.checksum_text(&mut out);
        assert_eq!(std::str::from_utf8(&out[..len]).unwrap(), text);
        assert_eq!(book.checksum(), crc, "{text}");
    }

    #[test]
    fn string_vectors_b_give_their_checksums() {
        let book =
            book_of(&[("6000", 1, "1"), ("5900", 1, "2"), ("6200", 1, "-4"), ("6100", 1, "-3")]);
        check_text(&book, "6000:1:6100:-3:5900:2:6200:-4", 1_756_193_398);
        let book = book_of(&[
            ("0.1", 1, "1"),
            ("0.089", 1, "1"),
            ("0.09", 1, "5"),
            ("0.15", 1, "-1"),
            ("0.3", 1, "-4"),
            ("0.2", 1, "-3"),
        ]);
        check_text(&book, "0.1:1:0.15:-1:0.09:5:0.2:-3:0.089:1:0.3:-4", -1_625_836_611);
        assert_eq!(crc32fast::hash(b"123456789") as i32, -873_187_034);
        assert_eq!(crc32fast::hash(b"6000:1:6100:-3:1.7e-8:2:6200:-4") as i32, 952_615_146);
    }

    #[test]
    fn a_longer_side_simply_goes_on() {
        let book = book_of(&[("2", 1, "-1"), ("3", 1, "-1"), ("1", 1, "1")]);
        let text = "1:1:2:-1:3:-1";
        check_text(&book, text, crc32fast::hash(text.as_bytes()) as i32);
    }

    /// Random changes against a BTreeMap, the slow twin: same levels, same deletes, same crossing.
    #[test]
    fn a_random_life_equals_the_slow_twin() {
        let mut rng = Rng::new(3);
        let mut book = Book::new();
        let mut twin: [BTreeMap<i64, i64>; 2] = Default::default();
        for step in 0..200_000 {
            let px = 1 + rng.below(200) as i64;
            let buy = rng.chance(1, 2);
            let sign = if buy { 1 } else { -1 };
            let qty = 1 + rng.below(1_000) as i64;
            let map = &mut twin[usize::from(!buy)];
            if rng.chance(1, 2) {
                let applied = book.apply(BookRow { px, count: 0, qty: sign }).unwrap();
                let was = map.remove(&px);
                assert_eq!(applied == Applied::Deleted, was.is_some());
            } else {
                book.apply(BookRow { px, count: 1, qty: qty * sign }).unwrap();
                map.insert(px, qty);
            }
            let best = (twin[0].keys().next_back(), twin[1].keys().next());
            let crossed = matches!(best, (Some(b), Some(a)) if b >= a);
            assert_eq!(book.is_crossed(), crossed);
            if step % 64 == 0 {
                let bids: Vec<_> = twin[0].iter().rev().map(|(p, q)| (*p, *q)).collect();
                let asks: Vec<_> = twin[1].iter().map(|(p, q)| (*p, *q)).collect();
                for (side, levels) in [(Side::Buy, bids), (Side::Sell, asks)] {
                    assert_eq!(book.len(side), levels.len());
                    for (rank, (px, qty)) in levels.into_iter().enumerate() {
                        let level = book.level(side, rank).unwrap();
                        assert_eq!((level.px.raw(), level.qty.raw()), (px, qty));
                    }
                }
            }
        }
    }

    #[test]
    fn nonsense_is_refused_and_changes_nothing() {
        let mut book = book_of(&[("1", 1, "1")]);
        for row in [
            BookRow { px: 0, count: 1, qty: 1 },
            BookRow { px: -5, count: 1, qty: 1 },
            BookRow { px: 5, count: 1, qty: 0 },
            BookRow { px: 5, count: 0, qty: i64::MIN },
        ] {
            assert_eq!(book.apply(row), Err(BookError::Malformed));
        }
        for px in 2..=SIDE_CAPACITY as i64 {
            book.apply(BookRow { px, count: 1, qty: 1 }).unwrap();
        }
        let row = BookRow { px: 1_000, count: 1, qty: 1 };
        assert_eq!(book.apply(row), Err(BookError::Full));
        assert_eq!(book.len(Side::Buy), SIDE_CAPACITY);
    }

    #[test]
    fn the_view_shows_the_best_levels_and_their_imbalance() {
        let mut book = book_of(&[("10", 1, "3"), ("9", 1, "1"), ("11", 1, "-1")]);
        book.set_synced(true);
        let view = book.view(SymbolId(2), WallNs(7), 4);
        assert_eq!((view.bid_count, view.ask_count, view.updates), (2, 1, 4));
        assert_eq!(view.bids[0], Level { px: Px::from_whole(10), qty: Qty::from_whole(3) });
        assert_eq!(view.asks[0], Level { px: Px::from_whole(11), qty: Qty::from_whole(1) });
        assert_eq!(view.imbalance_e4, 6_000);
        assert!(view.synced);
        book.clear();
        assert!(!book.view(SymbolId(2), WallNs(7), 4).synced);
        assert_eq!(book.checksum(), crc32fast::hash(b"") as i32);
    }
}
