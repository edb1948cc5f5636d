//! The two kinds of order book behind one set of verbs: one that lives here, and a recorded one
//! with ghosts.

use super::ghost::GhostBook;
use super::levels::{FoldInput, Row, Window, fold_levels, side_index};
use super::matching::{Front, MatchBook, Resting};
use crate::base::units::Side;

#[derive(Clone, Debug)]
pub enum Depth {
    Matched(MatchBook),
    Recorded(Box<GhostBook>),
}

impl Depth {
    pub fn rest(&mut self, order: Resting) {
        match self {
            Depth::Matched(book) => book.rest(order),
            Depth::Recorded(book) => book.rest(order),
        }
    }
    pub fn remove(&mut self, id: u64) -> Option<Resting> {
        match self {
            Depth::Matched(book) => book.remove(id),
            Depth::Recorded(book) => book.remove(id),
        }
    }
    pub fn reduce(&mut self, id: u64, qty: i64) -> bool {
        match self {
            Depth::Matched(book) => book.reduce(id, qty),
            Depth::Recorded(book) => book.reduce(id, qty),
        }
    }
    /// What a taker would meet first on a side.
    pub fn front(&self, side: Side) -> Option<Front> {
        match self {
            Depth::Matched(book) => book.front(side),
            Depth::Recorded(book) => book.fronts(side).next(),
        }
    }
    /// Everything a taker could meet on a side, in its order.
    pub fn fronts(&self, side: Side) -> Box<dyn Iterator<Item = Front> + '_> {
        match self {
            Depth::Matched(book) => Box::new(book.fronts(side)),
            Depth::Recorded(book) => Box::new(book.fronts(side)),
        }
    }
    /// Takes `qty` of the front of a side.
    pub fn hit_front(&mut self, side: Side, qty: i64) {
        match self {
            Depth::Matched(book) => book.hit_front(side, qty),
            Depth::Recorded(book) => book.hit_front(side, qty),
        }
    }
    /// Shows an order that was hidden. A ghost is never shown.
    pub fn reveal(&mut self, id: u64) {
        if let Depth::Matched(book) = self {
            book.reveal(id);
        }
    }
    pub fn best(&self, side: Side) -> Option<i64> {
        match self {
            Depth::Matched(book) => book.best(side),
            Depth::Recorded(book) => book.best(side),
        }
    }
    pub fn is_recorded(&self) -> bool {
        matches!(self, Depth::Recorded(_))
    }
    /// Best price of the public book: ghosts are not part of it.
    pub fn public_best(&self, side: Side) -> Option<i64> {
        match self {
            Depth::Matched(book) => book.best(side),
            Depth::Recorded(book) => book.recorded().best(side).map(|row| row.px),
        }
    }
    /// Fills a window of aggregated levels.
    pub fn fill_window(&self, digits: u32, len: usize, out: &mut Window) {
        for side in super::levels::SIDES {
            let rows = &mut out.sides[side_index(side)];
            let input = FoldInput { side, digits, len };
            match self {
                Depth::Matched(book) => fold_levels(book.levels(side), input, rows),
                Depth::Recorded(book) => {
                    fold_levels(book.recorded().best_first(side), input, rows);
                }
            }
        }
    }
    /// Fills a window of single orders; false for a recorded book, which knows none.
    pub fn fill_raw_window(&self, len: usize, out: &mut Window) -> bool {
        let Depth::Matched(book) = self else { return false };
        for side in super::levels::SIDES {
            book.orders(side, len, &mut out.sides[side_index(side)]);
        }
        true
    }
    /// Sum of the best 25 levels of a side, for tickers.
    pub fn sum_of_25(&self, side: Side) -> i64 {
        let sum = |rows: &mut dyn Iterator<Item = Row>| {
            rows.take(25).fold(0i64, |sum, row| sum.saturating_add(row.qty))
        };
        match self {
            Depth::Matched(book) => sum(&mut book.levels(side)),
            Depth::Recorded(book) => sum(&mut book.recorded().best_first(side)),
        }
    }
}
