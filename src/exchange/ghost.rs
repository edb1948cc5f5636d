//! Our orders against a recording. The recorded market cannot react, so an order of ours is a
//! ghost:
//! - it joins at the back of the recorded quantity at its price; that quantity is its queue ahead;
//! - a recorded trade at its price eats the queue ahead first, what remains fills the ghost; a
//! recorded trade through its price fills it outright, never by more than the trade's quantity;
//! - a level that shrinks without a trade is taken to shrink behind the ghost first (the cautious
//! reading: the queue ahead is only cut to what is left of the level);
//! - a recorded level that comes to rest at or through the ghost's price fills it, as a real order
//! would have;
//! - a taking order hits recorded levels, each unit once: what was taken is not there for the next
//! taker until the recording itself takes it away or the level goes;
//! - nothing of this is ever shown in the public stream.

use super::levels::{LevelBook, accepts, is_better, side_index};
use super::matching::{Front, Match, Resting};
use crate::base::units::Side;
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug)]
struct Ghost {
    order: Resting,
    /// Recorded quantity that stands before it.
    ahead: i64,
}

/// How ghosts were filled; shown in reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GhostStats {
    /// Orders that came to rest.
    pub rested: u64,
    /// Fills by a recorded trade at the ghost's price, after its queue.
    pub filled_by_queue: u64,
    /// Fills by a recorded trade through the ghost's price.
    pub filled_through: u64,
    /// Fills by recorded liquidity that came to the ghost's price.
    pub filled_by_level: u64,
    /// Fills of taking orders against recorded levels.
    pub taken: u64,
}

/// The recorded book of one symbol and the ghosts in it.
#[derive(Clone, Debug, Default)]
pub struct GhostBook {
    levels: LevelBook,
    /// Quantity already taken from a recorded level, by `(side index, price)`.
    taken: BTreeMap<(usize, i64), i64>,
    /// Best price first, then oldest first.
    ghosts: [Vec<Ghost>; 2],
    pub stats: GhostStats,
}

fn front_of(ghost: &Ghost) -> Front {
    let Resting { id, owner, px, qty, hidden, .. } = ghost.order;
    Front { px, qty, maker: id, owner, hidden }
}

impl GhostBook {
    /// The recorded book.
    pub fn recorded(&self) -> &LevelBook {
        &self.levels
    }
    /// Forgets the recorded levels before a new snapshot.
    pub fn clear_levels(&mut self) {
        self.levels.clear();
        self.taken.clear();
    }
    /// After a snapshot: a queue ahead cannot be longer than the level.
    pub fn settle_snapshot(&mut self, fills: &mut Vec<Match>) {
        for side in [Side::Buy, Side::Sell] {
            for at in 0..self.ghosts[side_index(side)].len() {
                let px = self.ghosts[side_index(side)][at].order.px;
                let qty = self.levels.qty_at(side, px);
                let ghost = &mut self.ghosts[side_index(side)][at];
                ghost.ahead = ghost.ahead.min(qty);
            }
            if let Some(row) = self.levels.best(side) {
                self.fill_crossed(side, row.px, row.qty, fills);
            }
        }
    }
    /// A recorded level changed. Fills of ghosts are pushed with the ghost as `maker`.
    pub fn on_level(&mut self, side: Side, px: i64, count: u32, qty: i64, fills: &mut Vec<Match>) {
        let before = self.levels.set(side, px, count, qty);
        let now = if count == 0 { 0 } else { qty };
        if !self.taken.is_empty() && now < before {
            let key = (side_index(side), px);
            if let Some(taken) = self.taken.get_mut(&key) {
                *taken -= (*taken).min(before - now);
                if *taken == 0 || now == 0 {
                    self.taken.remove(&key);
                }
            }
        }
        if now < before {
            for ghost in &mut self.ghosts[side_index(side)] {
                if ghost.order.px == px {
                    ghost.ahead = ghost.ahead.min(now);
                }
            }
        }
        if now > 0 {
            self.fill_crossed(side, px, now, fills);
        }
    }
    /// Recorded liquidity on `side` at `px` meets ghosts of the other side that accept the price.
    fn fill_crossed(&mut self, side: Side, px: i64, qty: i64, fills: &mut Vec<Match>) {
        let other = side.opposite();
        let crossed = |ghost: &Ghost| accepts(other, Some(ghost.order.px), px);
        if !self.ghosts[side_index(other)].first().is_some_and(crossed) {
            return;
        }
        let key = (side_index(side), px);
        let mut left = qty - self.taken.get(&key).copied().unwrap_or(0);
        for ghost in &mut self.ghosts[side_index(other)] {
            if left <= 0 || !accepts(other, Some(ghost.order.px), px) {
                break;
            }
            let fill = left.min(ghost.order.qty);
            ghost.order.qty -= fill;
            left -= fill;
            *self.taken.entry(key).or_default() += fill;
            fills.push(Self::hit(ghost, fill));
            self.stats.filled_by_level += 1;
        }
        self.ghosts[side_index(other)].retain(|ghost| ghost.order.qty > 0);
    }
    /// A recorded trade of `qty` at `px`, taken by `taker`.
    pub fn on_trade(&mut self, taker: Side, px: i64, qty: i64, fills: &mut Vec<Match>) {
        let side = taker.opposite();
        let ghosts = &mut self.ghosts[side_index(side)];
        let mut left = qty;
        for ghost in ghosts.iter_mut() {
            if is_better(side, px, ghost.order.px) || left <= 0 {
                break;
            }
            let mut reach = left;
            if ghost.order.px == px {
                reach -= reach.min(ghost.ahead);
                ghost.ahead -= ghost.ahead.min(qty);
                if reach > 0 {
                    self.stats.filled_by_queue += 1;
                }
            } else {
                self.stats.filled_through += 1;
            }
            let fill = reach.min(ghost.order.qty);
            if fill > 0 {
                ghost.order.qty -= fill;
                left -= fill;
                fills.push(Self::hit(ghost, fill));
            }
        }
        ghosts.retain(|ghost| ghost.order.qty > 0);
    }
    fn hit(ghost: &Ghost, qty: i64) -> Match {
        front_of(ghost).hit(qty)
    }
    /// Joins the queue at the order's price.
    pub fn rest(&mut self, order: Resting) {
        assert!(order.qty > 0 && order.px > 0, "only a positive order can rest");
        let ahead = self.levels.qty_at(order.side, order.px);
        let ghosts = &mut self.ghosts[side_index(order.side)];
        let at = ghosts.partition_point(|ghost| !is_better(order.side, order.px, ghost.order.px));
        ghosts.insert(at, Ghost { order, ahead });
        self.stats.rested += 1;
    }
    pub fn remove(&mut self, id: u64) -> Option<Resting> {
        for ghosts in &mut self.ghosts {
            if let Some(at) = ghosts.iter().position(|ghost| ghost.order.id == id) {
                return Some(ghosts.remove(at).order);
            }
        }
        None
    }
    /// Makes a ghost smaller without losing its place. False where it is absent or would grow.
    pub fn reduce(&mut self, id: u64, qty: i64) -> bool {
        let mut all = self.ghosts.iter_mut().flatten();
        match all.find(|ghost| ghost.order.id == id) {
            Some(ghost) if qty > 0 && qty <= ghost.order.qty => {
                ghost.order.qty = qty;
                true
            }
            _ => false,
        }
    }
    /// Recorded quantity that nobody took yet and ghosts of a side, in the order in which takers
    /// meet them: best price first, recorded quantity before ghosts.
    pub fn fronts(&self, side: Side) -> impl Iterator<Item = Front> + '_ {
        let mut levels = self.untaken(side).peekable();
        let mut ghosts = self.ghosts[side_index(side)].iter().map(front_of).peekable();
        std::iter::from_fn(move || match (levels.peek(), ghosts.peek()) {
            (Some(level), Some(ghost)) if is_better(side, ghost.px, level.px) => ghosts.next(),
            (None, _) => ghosts.next(),
            _ => levels.next(),
        })
    }
    /// Takes `qty` of what a taker meets first on a side.
    pub fn hit_front(&mut self, side: Side, qty: i64) {
        let Some(front) = self.fronts(side).next() else { return };
        assert!(qty > 0 && qty <= front.qty, "no more is taken than is there");
        if front.maker == 0 {
            *self.taken.entry((side_index(side), front.px)).or_default() += qty;
            self.stats.taken += 1;
            return;
        }
        let ghosts = &mut self.ghosts[side_index(side)];
        ghosts[0].order.qty -= qty;
        if ghosts[0].order.qty == 0 {
            ghosts.remove(0);
        }
    }
    fn untaken(&self, side: Side) -> impl Iterator<Item = Front> + '_ {
        self.levels.best_first(side).filter_map(move |row| {
            let taken = match self.taken.is_empty() {
                true => 0,
                false => self.taken.get(&(side_index(side), row.px)).copied().unwrap_or(0),
            };
            let qty = row.qty - taken;
            (qty > 0).then_some(Front { px: row.px, qty, maker: 0, owner: 0, hidden: false })
        })
    }
    /// Best price of recorded levels and ghosts together.
    pub fn best(&self, side: Side) -> Option<i64> {
        let recorded = self.levels.best(side).map(|row| row.px);
        let ghost = self.ghosts[side_index(side)].first().map(|ghost| ghost.order.px);
        match (recorded, ghost) {
            (Some(a), Some(b)) => Some(if is_better(side, a, b) { a } else { b }),
            (a, b) => a.or(b),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ghost(id: u64, side: Side, px: i64, qty: i64) -> Resting {
        Resting { id, owner: 1, side, px, qty, hidden: false }
    }
    fn book() -> GhostBook {
        let mut book = GhostBook::default();
        let mut fills = Vec::new();
        for (side, px, qty) in
            [(Side::Buy, 99, 10), (Side::Buy, 98, 10), (Side::Sell, 101, 10), (Side::Sell, 102, 10)]
        {
            book.on_level(side, px, 1, qty, &mut fills);
        }
        book
    }
    /// What a taker executes up to its limit, and what it gets.
    fn take(book: &mut GhostBook, side: Side, limit: i64, qty: i64, out: &mut Vec<Match>) -> i64 {
        let mut left = qty;
        while left > 0 {
            let Some(front) = book.fronts(side.opposite()).next() else { break };
            if !accepts(side, Some(limit), front.px) {
                break;
            }
            let fill = left.min(front.qty);
            book.hit_front(side.opposite(), fill);
            out.push(front.hit(fill));
            left -= fill;
        }
        left
    }
    fn there(book: &GhostBook, side: Side, limit: i64) -> i64 {
        let within = book.fronts(side.opposite()).take_while(|f| accepts(side, Some(limit), f.px));
        within.map(|front| front.qty).sum()
    }
    fn hits(fills: &[Match]) -> Vec<(u64, i64, i64)> {
        fills.iter().map(|m| (m.maker, m.px, m.qty)).collect()
    }

    #[test]
    fn trades_eat_the_queue_ahead_before_the_ghost() {
        let mut book = book();
        let mut fills = Vec::new();
        book.rest(ghost(1, Side::Buy, 99, 5));
        book.on_trade(Side::Sell, 99, 7, &mut fills);
        assert!(fills.is_empty());
        book.on_level(Side::Buy, 99, 1, 3, &mut fills); // the same trade, now in the book
        assert!(fills.is_empty());
        book.on_trade(Side::Sell, 99, 5, &mut fills);
        assert_eq!(hits(&fills), [(1, 99, 2)]);
        book.on_trade(Side::Sell, 99, 5, &mut fills);
        assert_eq!(hits(&fills), [(1, 99, 2), (1, 99, 3)]);
    }

    #[test]
    fn cancels_ahead_are_believed_only_when_the_level_is_too_small_for_them() {
        let mut book = book();
        let mut fills = Vec::new();
        book.rest(ghost(1, Side::Buy, 99, 5));
        book.on_level(Side::Buy, 99, 2, 30, &mut fills); // joins behind
        book.on_level(Side::Buy, 99, 1, 12, &mut fills); // leaves behind
        book.on_trade(Side::Sell, 99, 9, &mut fills);
        assert!(fills.is_empty());
        book.on_level(Side::Buy, 99, 0, 0, &mut fills);
        book.on_trade(Side::Sell, 99, 1, &mut fills);
        assert_eq!(hits(&fills), [(1, 99, 1)]);
    }

    #[test]
    fn a_trade_through_the_price_fills_but_not_more_than_was_traded() {
        let mut book = book();
        let mut fills = Vec::new();
        book.rest(ghost(1, Side::Buy, 100, 5));
        book.rest(ghost(2, Side::Buy, 99, 5));
        book.on_trade(Side::Sell, 99, 3, &mut fills);
        assert_eq!(hits(&fills), [(1, 100, 3)]);
        book.on_trade(Side::Buy, 99, 3, &mut fills);
        assert_eq!(fills.len(), 1, "the other side's trades do not touch bids");
    }

    #[test]
    fn liquidity_is_taken_once_until_the_level_changes() {
        let mut book = book();
        let mut out = Vec::new();
        assert_eq!(there(&book, Side::Buy, 102), 20);
        assert_eq!(take(&mut book, Side::Buy, 101, 12, &mut out), 2);
        assert_eq!(hits(&out), [(0, 101, 10)]);
        assert_eq!(take(&mut book, Side::Buy, 101, 2, &mut out), 2);
        assert_eq!(book.recorded().qty_at(Side::Sell, 101), 10, "the recording is not touched");
        let mut fills = Vec::new();
        book.on_level(Side::Sell, 101, 1, 14, &mut fills);
        assert_eq!(there(&book, Side::Buy, 101), 4, "only what was added");
        book.on_level(Side::Sell, 101, 0, 1, &mut fills);
        book.on_level(Side::Sell, 101, 1, 3, &mut fills);
        assert_eq!(there(&book, Side::Buy, 101), 3);
    }

    #[test]
    fn a_level_that_arrives_through_a_ghost_fills_it() {
        let mut book = book();
        let mut fills = Vec::new();
        book.rest(ghost(1, Side::Buy, 100, 5));
        book.on_level(Side::Sell, 100, 1, 2, &mut fills);
        book.on_level(Side::Sell, 100, 1, 2, &mut fills);
        assert_eq!(hits(&fills), [(1, 100, 2)]);
        book.on_level(Side::Sell, 99, 1, 20, &mut fills);
        assert_eq!(hits(&fills)[1], (1, 100, 3));
    }

    #[test]
    fn ghosts_of_two_accounts_meet_at_the_older_ones_price() {
        let mut book = book();
        book.rest(ghost(1, Side::Sell, 100, 5));
        let mut out = Vec::new();
        assert_eq!(book.best(Side::Sell), Some(100));
        assert_eq!(there(&book, Side::Buy, 101), 15);
        assert_eq!(take(&mut book, Side::Buy, 101, 8, &mut out), 0);
        assert_eq!(hits(&out), [(1, 100, 5), (0, 101, 3)]);
        assert!(book.remove(1).is_none());
    }
}
