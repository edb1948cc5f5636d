//! What a market source does to the exchange: the house's orders, and the frames of a recording.

use super::account::HOUSE;
use super::core::Core;
use super::depth::Depth;
use super::levels::accepts;
use super::market::Floor;
use super::matching::Resting;
use crate::base::units::Side;

impl Core {
    /// Executes for the house up to `limit`; returns what is left.
    fn house_execute(&mut self, symbol: usize, side: Side, limit: Option<i64>, qty: i64) -> i64 {
        let mut left = qty;
        let mut met_accounts = false;
        while left > 0 {
            let Some(front) = self.listings[symbol].depth.front(side.opposite()) else { break };
            if !accepts(side, limit, front.px) {
                break;
            }
            met_accounts |= front.owner != HOUSE;
            if self.retire_maker(front) {
                continue;
            }
            let fill = left.min(front.qty);
            left -= fill;
            self.listings[symbol].depth.hit_front(side.opposite(), fill);
            self.settle_house_taker(symbol as u16, side, front.hit(fill));
        }
        if met_accounts {
            self.check_reduce_only(symbol as u16);
        }
        left
    }
}

impl Floor for Core {
    fn best(&self, symbol: usize, side: Side) -> Option<i64> {
        self.listings[symbol].depth.best(side)
    }
    fn depth(&self, symbol: usize, side: Side) -> usize {
        match &self.listings[symbol].depth {
            Depth::Matched(book) => book.depth(side),
            Depth::Recorded(book) => book.recorded().len(side),
        }
    }
    fn house_limit(&mut self, symbol: usize, side: Side, px: i64, qty: i64) -> Option<u64> {
        if px <= 0 || qty <= 0 {
            return None;
        }
        let left = self.house_execute(symbol, side, Some(px), qty);
        let mut rested = None;
        if left > 0 {
            let id = self.next_order_id();
            let order = Resting { id, owner: HOUSE, side, px, qty: left, hidden: false };
            self.listings[symbol].depth.rest(order);
            rested = Some(id);
        }
        self.book_will_change(symbol as u16);
        self.run_stops(symbol as u16);
        rested
    }
    fn house_take(&mut self, symbol: usize, side: Side, qty: i64) -> i64 {
        let left = self.house_execute(symbol, side, None, qty.max(0));
        self.book_will_change(symbol as u16);
        self.run_stops(symbol as u16);
        qty.max(0) - left
    }
    fn house_cancel(&mut self, symbol: usize, id: u64) -> bool {
        let removed = self.listings[symbol].depth.remove(id).is_some();
        if removed {
            self.book_will_change(symbol as u16);
        }
        removed
    }
    fn recorded(&mut self, channel: usize, body: &[u8]) {
        self.play(channel, body);
    }
    fn recorded_unknown(&mut self) {
        self.stats.recorded_unknown += 1;
    }
}
