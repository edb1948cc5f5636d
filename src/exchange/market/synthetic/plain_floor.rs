//! A floor for tests: matching books and a list of what was executed, nothing else of the exchange.

use super::super::Floor;
use crate::base::units::Side;
use crate::exchange::matching::{Match, MatchBook, Resting};

/// An execution: symbol, side of the taker, what was hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    pub symbol: usize,
    pub taker: Side,
    pub hit: Match,
}

#[derive(Default)]
pub struct PlainFloor {
    pub books: Vec<MatchBook>,
    pub done: Vec<Done>,
    pub next_id: u64,
    /// Orders that came to rest, by symbol.
    pub placed: Vec<u64>,
}

impl PlainFloor {
    pub fn new(symbols: usize) -> PlainFloor {
        PlainFloor {
            books: vec![MatchBook::default(); symbols],
            placed: vec![0; symbols],
            ..PlainFloor::default()
        }
    }
    /// An order of account 1.
    pub fn account_limit(&mut self, symbol: usize, side: Side, px: i64, qty: i64) -> u64 {
        self.limit(symbol, 1, side, px, qty).expect("it rests")
    }
    /// A market order of account 1.
    pub fn account_take(&mut self, symbol: usize, side: Side, qty: i64) {
        self.execute(symbol, side, None, qty);
    }
    fn limit(&mut self, symbol: usize, owner: u32, side: Side, px: i64, qty: i64) -> Option<u64> {
        let left = self.execute(symbol, side, Some(px), qty);
        if left == 0 {
            return None;
        }
        self.next_id += 1;
        self.placed[symbol] += 1;
        let id = self.next_id;
        self.books[symbol].rest(Resting { id, owner, side, px, qty: left, hidden: false });
        Some(id)
    }
    fn execute(&mut self, symbol: usize, taker: Side, limit: Option<i64>, qty: i64) -> i64 {
        let mut hits = Vec::new();
        let left = self.books[symbol].take(taker, limit, qty, None, &mut hits);
        self.done.extend(hits.into_iter().map(|hit| Done { symbol, taker, hit }));
        left
    }
}

impl Floor for PlainFloor {
    fn best(&self, symbol: usize, side: Side) -> Option<i64> {
        self.books[symbol].best(side)
    }
    fn depth(&self, symbol: usize, side: Side) -> usize {
        self.books[symbol].depth(side)
    }
    fn house_limit(&mut self, symbol: usize, side: Side, px: i64, qty: i64) -> Option<u64> {
        assert!(px > 0 && qty > 0, "the market sends sensible orders");
        self.limit(symbol, 0, side, px, qty)
    }
    fn house_take(&mut self, symbol: usize, side: Side, qty: i64) -> i64 {
        assert!(qty > 0, "the market takes something");
        qty - self.execute(symbol, side, None, qty)
    }
    fn house_cancel(&mut self, symbol: usize, id: u64) -> bool {
        self.books[symbol].remove(id).is_some()
    }
    fn recorded(&mut self, _: usize, _: &[u8]) {
        unreachable!("a synthetic market plays no recording");
    }
    fn recorded_unknown(&mut self) {
        unreachable!("a synthetic market plays no recording");
    }
}
