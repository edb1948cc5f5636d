//! One symbol's book by order (R0), with the venue's checksum.
//!
//! Orders stand worst first and best last, as in `book`; at one price the smaller order id is the
//! better. An order is found by its id by going through both sides: 500 ids at most, in one array a
//! side.

use super::book::{
    Applied, BookError, CHECKSUM_TEXT_MAX, SIDE_CAPACITY, checksum_pair, empty_view, imbalance_e4,
};
use super::out::Out;
use crate::base::ids::SymbolId;
use crate::base::limits::{CHECKSUM_LEVELS, RAW_ORDERS_MAX, VIEW_LEVELS};
use crate::base::time::WallNs;
use crate::base::units::{Px, Qty, Side};
use crate::model::{BookView, Level};

const _: () = assert!(SIDE_CAPACITY > RAW_ORDERS_MAX);

/// One row of a raw book: `[ORDER_ID, PRICE, AMOUNT]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawRow {
    pub id: u64,
    /// 1e-8 of quote currency; 0 deletes the order.
    pub px: i64,
    /// 1e-8 of base currency; + bid, − ask.
    pub qty: i64,
}

/// One order as it stands in a book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawOrder {
    pub id: u64,
    pub px: Px,
    /// Positive.
    pub qty: Qty,
}

struct OrderSide {
    len: usize,
    keys: [i64; SIDE_CAPACITY],
    ids: [u64; SIDE_CAPACITY],
    qtys: [i64; SIDE_CAPACITY],
}

impl OrderSide {
    const EMPTY: OrderSide = OrderSide {
        len: 0,
        keys: [0; SIDE_CAPACITY],
        ids: [0; SIDE_CAPACITY],
        qtys: [0; SIDE_CAPACITY],
    };

    fn find(&self, id: u64) -> Option<usize> {
        self.ids[..self.len].iter().rposition(|known| *known == id)
    }
    fn remove_at(&mut self, at: usize) {
        self.keys.copy_within(at + 1..self.len, at);
        self.ids.copy_within(at + 1..self.len, at);
        self.qtys.copy_within(at + 1..self.len, at);
        self.len -= 1;
    }
    fn insert(&mut self, key: i64, id: u64, qty: i64) -> Result<(), BookError> {
        if self.len >= SIDE_CAPACITY {
            return Err(BookError::Full);
        }
        let mut at = self.keys[..self.len].partition_point(|k| *k < key);
        // Equal prices: larger ids first, since the best stands last.
        while at < self.len && self.keys[at] == key && self.ids[at] > id {
            at += 1;
        }
        self.keys.copy_within(at..self.len, at + 1);
        self.ids.copy_within(at..self.len, at + 1);
        self.qtys.copy_within(at..self.len, at + 1);
        self.keys[at] = key;
        self.ids[at] = id;
        self.qtys[at] = qty;
        self.len += 1;
        Ok(())
    }
    fn levels(&self, sign: i64, places: &mut [Level; VIEW_LEVELS]) -> (u8, i64) {
        let (mut count, mut sum) = (0usize, 0i64);
        let mut last = None;
        for at in (0..self.len).rev() {
            let (key, qty) = (self.keys[at], self.qtys[at]);
            if last != Some(key) {
                if count == VIEW_LEVELS {
                    break;
                }
                places[count] = Level { px: Px::from_raw(key * sign), qty: Qty::ZERO };
                count += 1;
                last = Some(key);
            }
            let place = &mut places[count - 1];
            place.qty = place.qty.saturating_add(Qty::from_raw(qty));
            sum = sum.saturating_add(qty);
        }
        (count as u8, sum)
    }
}

/// A book by order.
pub struct RawBook {
    bids: OrderSide,
    asks: OrderSide,
    synced: bool,
}

impl Default for RawBook {
    fn default() -> Self {
        Self::new()
    }
}

impl RawBook {
    pub const fn new() -> Self {
        Self { bids: OrderSide::EMPTY, asks: OrderSide::EMPTY, synced: false }
    }
    /// Forgets all orders; not synced until told so.
    pub fn clear(&mut self) {
        self.bids.len = 0;
        self.asks.len = 0;
        self.synced = false;
    }
    pub const fn is_synced(&self) -> bool {
        self.synced
    }
    pub fn set_synced(&mut self, synced: bool) {
        self.synced = synced;
    }

    /// Applies one row: an order that is known is taken out first, for it may have changed its
    /// price.
    ///
    /// # Errors
    /// `Malformed` or `Full`.
    pub fn apply(&mut self, row: RawRow) -> Result<Applied, BookError> {
        if row.px < 0 || row.id == 0 || row.qty == i64::MIN || (row.qty == 0 && row.px != 0) {
            return Err(BookError::Malformed);
        }
        let mut known = false;
        for side in [&mut self.bids, &mut self.asks] {
            if let Some(at) = side.find(row.id) {
                side.remove_at(at);
                known = true;
                break;
            }
        }
        if row.px == 0 {
            return Ok(if known { Applied::Deleted } else { Applied::Absent });
        }
        if row.qty > 0 {
            self.bids.insert(row.px, row.id, row.qty)?;
        } else {
            self.asks.insert(-row.px, row.id, -row.qty)?;
        }
        Ok(Applied::Set)
    }

    /// Orders of a side.
    pub const fn len(&self, side: Side) -> usize {
        match side {
            Side::Buy => self.bids.len,
            Side::Sell => self.asks.len,
        }
    }
    pub const fn is_empty(&self) -> bool {
        self.bids.len == 0 && self.asks.len == 0
    }
    /// The `rank`th best order of a side, from 0.
    pub fn order(&self, side: Side, rank: usize) -> Option<RawOrder> {
        let from = match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.asks,
        };
        let at = from.len.checked_sub(rank + 1)?;
        Some(RawOrder {
            id: from.ids[at],
            px: Px::from_raw(from.keys[at] * side.sign()),
            qty: Qty::from_raw(from.qtys[at]),
        })
    }
    /// True where the best bid is at or above the best ask.
    pub fn is_crossed(&self) -> bool {
        let (bids, asks) = (self.bids.len, self.asks.len);
        bids != 0 && asks != 0 && self.bids.keys[bids - 1] + self.asks.keys[asks - 1] >= 0
    }
    /// The best prices with the sums of their orders, for the line.
    pub fn view(&self, symbol: SymbolId, venue_at: WallNs, updates: u16) -> BookView {
        let mut view = empty_view(symbol, venue_at, updates, self.synced);
        let (bid_count, bid_sum) = self.bids.levels(1, &mut view.bids);
        let (ask_count, ask_sum) = self.asks.levels(-1, &mut view.asks);
        view.bid_count = bid_count;
        view.ask_count = ask_count;
        view.imbalance_e4 = imbalance_e4(bid_sum, ask_sum);
        view
    }
    /// CRC-32 of the 25 best orders a side, keyed by order id, signed as on the wire.
    pub fn checksum(&self) -> i32 {
        let mut text = [0u8; CHECKSUM_TEXT_MAX];
        let mut out = Out::new(&mut text);
        let mut first = true;
        for rank in 0..CHECKSUM_LEVELS {
            for (side, sign) in [(&self.bids, 1), (&self.asks, -1)] {
                if let Some(at) = side.len.checked_sub(rank + 1) {
                    let qty = side.qtys[at] * sign;
                    checksum_pair(&mut out, &mut first, |o| o.uint(side.ids[at]), qty);
                }
            }
        }
        let len = out.finish().unwrap_or(0);
        crc32fast::hash(&text[..len]) as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    fn row(id: u64, px: i64, qty: i64) -> RawRow {
        RawRow { id, px: px * 100_000_000, qty: qty * 100_000_000 }
    }

    #[test]
    fn the_raw_string_vector_gives_its_checksum() {
        let mut book = RawBook::new();
        for r in [row(100, 6_000, 1), row(102, 6_100, -3), row(101, 5_900, 2), row(103, 6_200, -4)]
        {
            book.apply(r).unwrap();
        }
        assert_eq!(book.checksum(), 1_841_538_801);
    }

    #[test]
    fn ties_stand_by_order_id_on_both_sides() {
        let mut book = RawBook::new();
        for r in [row(7, 10, 1), row(3, 10, 1), row(9, 11, -1), row(8, 11, -1), row(5, 10, 1)] {
            book.apply(r).unwrap();
        }
        let ids = |side| -> Vec<u64> {
            (0..book.len(side)).map(|n| book.order(side, n).unwrap().id).collect()
        };
        assert_eq!(ids(Side::Buy), [3, 5, 7]);
        assert_eq!(ids(Side::Sell), [8, 9]);
        let view = book.view(SymbolId(0), WallNs(0), 1);
        assert_eq!((view.bid_count, view.bids[0].qty), (1, Qty::from_whole(3)));
    }

    #[test]
    fn an_order_may_change_price_size_and_even_side() {
        let mut book = RawBook::new();
        book.apply(row(1, 10, 5)).unwrap();
        book.apply(row(1, 9, 4)).unwrap();
        assert_eq!(book.len(Side::Buy), 1);
        assert_eq!(book.order(Side::Buy, 0).unwrap().px, Px::from_whole(9));
        book.apply(row(1, 12, -4)).unwrap();
        assert_eq!((book.len(Side::Buy), book.len(Side::Sell)), (0, 1));
        assert_eq!(book.apply(row(1, 0, -1)), Ok(Applied::Deleted));
        assert_eq!(book.apply(row(1, 0, -1)), Ok(Applied::Absent));
        assert!(book.is_empty());
    }

    /// Random changes against a plain vector that is sorted each time.
    #[test]
    fn a_random_life_equals_the_slow_twin() {
        let mut rng = Rng::new(5);
        let mut book = RawBook::new();
        let mut twin: Vec<(u64, i64, i64)> = Vec::new();
        for _ in 0..30_000 {
            let id = 1 + rng.below(300);
            let sign = if rng.chance(1, 2) { 1 } else { -1 };
            let px = if rng.chance(1, 3) { 0 } else { 1 + rng.below(40) as i64 };
            let qty = (1 + rng.below(50) as i64) * sign;
            let known = twin.iter().any(|o| o.0 == id);
            twin.retain(|o| o.0 != id);
            let count = twin.iter().filter(|o| (o.2 > 0) == (qty > 0)).count();
            let applied = book.apply(RawRow { id, px, qty });
            if px != 0 && count == SIDE_CAPACITY {
                assert_eq!(applied, Err(BookError::Full));
                continue;
            }
            assert_eq!(applied == Ok(Applied::Deleted), known && px == 0);
            if px != 0 {
                twin.push((id, px, qty));
            }
            for (side, sign) in [(Side::Buy, 1), (Side::Sell, -1)] {
                let mut orders: Vec<_> = twin.iter().filter(|o| o.2.signum() == sign).collect();
                orders.sort_by_key(|o| (-o.1 * sign, o.0));
                assert_eq!(book.len(side), orders.len());
                for rank in [0, orders.len() / 2, orders.len().saturating_sub(1)] {
                    let ours = book.order(side, rank).map(|o| (o.id, o.px.raw(), o.qty.raw()));
                    let theirs = orders.get(rank).map(|o| (o.0, o.1, o.2.abs()));
                    assert_eq!(ours, theirs);
                }
            }
        }
    }
}
