//! The order book of a market that lives here: price-time priority, partial fills, hidden orders.

use super::levels::{Row, is_better, side_index};
use super::number::value_of;
use crate::base::units::Side;
use std::collections::{BTreeMap, VecDeque};

/// One execution against resting liquidity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// Price of the maker, 1e-8.
    pub px: i64,
    /// 1e-8, positive.
    pub qty: i64,
    /// Order that was hit; 0 = recorded liquidity, which has no order here.
    pub maker: u64,
    /// Account index of the maker; 0 = the house.
    pub owner: u32,
    /// The maker was not shown.
    pub hidden: bool,
}

/// What a taker would meet next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Front {
    pub px: i64,
    /// 1e-8, positive.
    pub qty: i64,
    /// 0 = recorded liquidity.
    pub maker: u64,
    /// Account index; 0 = the house.
    pub owner: u32,
    pub hidden: bool,
}

impl Front {
    /// The execution of `qty` of it.
    pub fn hit(self, qty: i64) -> Match {
        Match { px: self.px, qty, maker: self.maker, owner: self.owner, hidden: self.hidden }
    }
}

/// An order at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resting {
    pub id: u64,
    /// Account index; 0 = the house.
    pub owner: u32,
    pub side: Side,
    pub px: i64,
    pub qty: i64,
    pub hidden: bool,
}

#[derive(Clone, Debug)]
struct PriceLevel {
    px: i64,
    shown_qty: i64,
    shown_count: u32,
    queue: VecDeque<Resting>,
}

/// Bids and asks by order.
#[derive(Clone, Debug, Default)]
pub struct MatchBook {
    /// Worst first, so that the touch is at the end.
    sides: [Vec<PriceLevel>; 2],
    places: BTreeMap<u64, (Side, i64)>,
    /// Queues of vanished levels, kept so that churn at the touch does not allocate.
    spare: Vec<VecDeque<Resting>>,
}

/// Empty queues kept for reuse, at most.
const SPARE_MAX: usize = 256;

/// Quantity that `budget` of quote currency can buy at `px`, rounded down.
pub fn affordable(budget: i64, px: i64) -> i64 {
    if px <= 0 {
        return i64::MAX;
    }
    let qty = budget as i128 * 100_000_000 / px as i128;
    qty.clamp(0, i64::MAX as i128) as i64
}

/// The part of `qty` at `px` that `budget` pays for; takes its value off.
pub fn spend(budget: &mut Option<i64>, px: i64, qty: i64) -> i64 {
    let Some(budget) = budget.as_mut() else { return qty };
    let fill = qty.min(affordable(*budget, px));
    *budget -= value_of(px, fill).min(*budget);
    fill
}

fn front_of(order: &Resting) -> Front {
    Front {
        px: order.px,
        qty: order.qty,
        maker: order.id,
        owner: order.owner,
        hidden: order.hidden,
    }
}

impl MatchBook {
    fn find(&self, side: Side, px: i64) -> Option<usize> {
        let levels = &self.sides[side_index(side)];
        let at = levels.partition_point(|level| is_better(side, px, level.px));
        (at < levels.len() && levels[at].px == px).then_some(at)
    }
    /// Puts an order behind everything at its price.
    pub fn rest(&mut self, order: Resting) {
        assert!(order.qty > 0 && order.px > 0, "only a positive order can rest");
        let levels = &mut self.sides[side_index(order.side)];
        let at = levels.partition_point(|level| is_better(order.side, order.px, level.px));
        if at == levels.len() || levels[at].px != order.px {
            let queue = self.spare.pop().unwrap_or_default();
            let level = PriceLevel { px: order.px, shown_qty: 0, shown_count: 0, queue };
            levels.insert(at, level);
        }
        let level = &mut levels[at];
        if !order.hidden {
            level.shown_qty += order.qty;
            level.shown_count += 1;
        }
        level.queue.push_back(order);
        let had = self.places.insert(order.id, (order.side, order.px));
        assert!(had.is_none(), "an order id rests once");
    }
    /// Takes an order out; `None` where it does not rest here.
    pub fn remove(&mut self, id: u64) -> Option<Resting> {
        let (side, px) = self.places.remove(&id)?;
        let at = self.find(side, px)?;
        let level = &mut self.sides[side_index(side)][at];
        let place = level.queue.iter().position(|order| order.id == id)?;
        let order = level.queue.remove(place)?;
        if !order.hidden {
            level.shown_qty -= order.qty;
            level.shown_count -= 1;
        }
        self.drop_if_empty(side, at);
        Some(order)
    }
    /// Makes an order smaller without losing its place. False where it is absent or would grow.
    pub fn reduce(&mut self, id: u64, qty: i64) -> bool {
        let Some(&(side, px)) = self.places.get(&id) else { return false };
        let Some(at) = self.find(side, px) else { return false };
        let level = &mut self.sides[side_index(side)][at];
        let Some(order) = level.queue.iter_mut().find(|order| order.id == id) else { return false };
        if qty <= 0 || qty > order.qty {
            return false;
        }
        if !order.hidden {
            level.shown_qty -= order.qty - qty;
        }
        order.qty = qty;
        true
    }
    fn drop_if_empty(&mut self, side: Side, at: usize) {
        let levels = &mut self.sides[side_index(side)];
        if levels[at].queue.is_empty() {
            let level = levels.remove(at);
            if self.spare.len() < SPARE_MAX {
                self.spare.push(level.queue);
            }
        }
    }
    /// Orders of a side in the order in which takers meet them.
    pub fn fronts(&self, side: Side) -> impl Iterator<Item = Front> + '_ {
        self.sides[side_index(side)].iter().rev().flat_map(|level| level.queue.iter().map(front_of))
    }
    /// The order of a side that a taker meets first.
    pub fn front(&self, side: Side) -> Option<Front> {
        self.sides[side_index(side)].last()?.queue.front().map(front_of)
    }
    /// Takes `qty` off the first order of a side.
    pub fn hit_front(&mut self, side: Side, qty: i64) {
        let Some(at) = self.sides[side_index(side)].len().checked_sub(1) else { return };
        let level = &mut self.sides[side_index(side)][at];
        let Some(order) = level.queue.front_mut() else { return };
        assert!(qty > 0 && qty <= order.qty, "no more is taken than rests");
        order.qty -= qty;
        if !order.hidden {
            level.shown_qty -= qty;
        }
        if order.qty == 0 {
            if !order.hidden {
                level.shown_count -= 1;
            }
            self.places.remove(&order.id);
            level.queue.pop_front();
            self.drop_if_empty(side, at);
        }
    }
    /// Shows an order that was hidden; it keeps its place. False where it does not rest here.
    pub fn reveal(&mut self, id: u64) -> bool {
        let Some(&(side, px)) = self.places.get(&id) else { return false };
        let Some(at) = self.find(side, px) else { return false };
        let level = &mut self.sides[side_index(side)][at];
        let Some(order) = level.queue.iter_mut().find(|order| order.id == id) else { return false };
        if order.hidden {
            order.hidden = false;
            level.shown_qty += order.qty;
            level.shown_count += 1;
        }
        true
    }
    /// Executes against the other side, best price first, oldest order first, up to `qty` and,
    /// where given, up to `budget` of quote currency. Returns what is left of `qty`.
    #[cfg(test)]
    pub fn take(
        &mut self,
        side: Side,
        limit: Option<i64>,
        qty: i64,
        mut budget: Option<i64>,
        out: &mut Vec<Match>,
    ) -> i64 {
        let mut left = qty;
        while left > 0 {
            let Some(front) = self.front(side.opposite()) else { break };
            if !super::levels::accepts(side, limit, front.px) {
                break;
            }
            let fill = spend(&mut budget, front.px, left.min(front.qty));
            if fill == 0 {
                break;
            }
            left -= fill;
            self.hit_front(side.opposite(), fill);
            out.push(front.hit(fill));
        }
        left
    }
    pub fn best(&self, side: Side) -> Option<i64> {
        self.sides[side_index(side)].last().map(|level| level.px)
    }
    /// Levels of a side, best first; hidden orders do not count.
    pub fn levels(&self, side: Side) -> impl Iterator<Item = Row> + '_ {
        self.sides[side_index(side)].iter().rev().map(|level| Row {
            px: level.px,
            id: 0,
            count: level.shown_count,
            qty: level.shown_qty,
        })
    }
    /// Visible orders of a side, best price first, ties by id, at most `len`.
    pub fn orders(&self, side: Side, len: usize, out: &mut Vec<Row>) {
        out.clear();
        for level in self.sides[side_index(side)].iter().rev() {
            let start = out.len();
            out.extend(level.queue.iter().filter(|order| !order.hidden).map(|order| Row {
                px: order.px,
                id: order.id,
                count: 1,
                qty: order.qty,
            }));
            out[start..].sort_by_key(|row| row.id);
            if out.len() >= len {
                out.truncate(len);
                return;
            }
        }
    }
    /// Price levels of a side.
    pub fn depth(&self, side: Side) -> usize {
        self.sides[side_index(side)].len()
    }
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;
    use crate::exchange::levels::SIDES;

    fn order(id: u64, side: Side, px: i64, qty: i64) -> Resting {
        Resting { id, owner: 1, side, px, qty, hidden: false }
    }

    #[test]
    fn better_price_first_then_older_order() {
        let mut book = MatchBook::default();
        book.rest(order(1, Side::Sell, 101, 5));
        book.rest(order(2, Side::Sell, 100, 5));
        book.rest(order(3, Side::Sell, 100, 5));
        let mut out = Vec::new();
        assert_eq!(book.take(Side::Buy, Some(101), 12, None, &mut out), 0);
        let hits: Vec<_> = out.iter().map(|m| (m.maker, m.px, m.qty)).collect();
        assert_eq!(hits, [(2, 100, 5), (3, 100, 5), (1, 101, 2)]);
        assert_eq!(book.levels(Side::Sell).next().unwrap().qty, 3);
    }

    #[test]
    fn a_limit_is_never_passed_and_the_rest_is_told() {
        let mut book = MatchBook::default();
        book.rest(order(1, Side::Buy, 99, 4));
        book.rest(order(2, Side::Buy, 98, 4));
        let mut out = Vec::new();
        assert_eq!(book.take(Side::Sell, Some(99), 10, None, &mut out), 6);
        assert_eq!(out.len(), 1);
        assert_eq!(book.best(Side::Buy), Some(98));
    }

    #[test]
    fn shrinking_keeps_the_place_and_re_resting_loses_it() {
        let mut book = MatchBook::default();
        book.rest(order(1, Side::Sell, 100, 5));
        book.rest(order(2, Side::Sell, 100, 5));
        assert!(book.reduce(1, 2));
        assert!(!book.reduce(1, 3));
        let moved = book.remove(2).unwrap();
        book.rest(order(3, Side::Sell, 100, 1));
        book.rest(moved);
        let mut out = Vec::new();
        book.take(Side::Buy, None, 99, None, &mut out);
        assert_eq!(out.iter().map(|m| m.maker).collect::<Vec<_>>(), [1, 3, 2]);
        assert!(book.is_empty());
    }

    #[test]
    fn a_budget_stops_the_taking() {
        let one = 100_000_000;
        let mut book = MatchBook::default();
        book.rest(order(1, Side::Sell, 10 * one, one));
        book.rest(order(2, Side::Sell, 20 * one, one));
        let mut out = Vec::new();
        let left = book.take(Side::Buy, None, 2 * one, Some(15 * one), &mut out);
        assert_eq!(left, 75_000_000);
        assert_eq!(out[1].qty, 25_000_000);
    }

    #[test]
    fn hidden_orders_trade_but_are_not_shown() {
        let mut book = MatchBook::default();
        book.rest(Resting { hidden: true, ..order(1, Side::Sell, 100, 5) });
        assert_eq!(book.levels(Side::Sell).next().unwrap().count, 0);
        let mut out = Vec::new();
        assert_eq!(book.take(Side::Buy, None, 3, None, &mut out), 0);
        assert!(out[0].hidden);
        assert!(book.reveal(1), "what is left is shown at its place");
        assert_eq!(book.levels(Side::Sell).next().map(|row| (row.count, row.qty)), Some((1, 2)));
        assert!(!book.reveal(2));
    }

    /// Goal: sums shown equal the orders behind them, and quantity is conserved, over random
    /// operations.
    #[test]
    fn shown_levels_equal_the_orders_behind_them() {
        let mut rng = Rng::new(2);
        let mut book = MatchBook::default();
        let (mut rested, mut gone) = (0i64, 0i64);
        let mut out = Vec::new();
        for id in 1..5_000u64 {
            let side = SIDES[rng.below(2) as usize];
            let (px, qty) = (rng.between(90, 110), rng.between(1, 20));
            match rng.below(4) {
                0 => {
                    let victim = rng.below(id);
                    gone += book.remove(victim).map_or(0, |order| order.qty);
                }
                _ => {
                    out.clear();
                    let left = book.take(side, Some(px), qty, None, &mut out);
                    gone += out.iter().map(|m| m.qty).sum::<i64>();
                    assert_eq!(left + out.iter().map(|m| m.qty).sum::<i64>(), qty);
                    if left > 0 {
                        book.rest(Resting {
                            hidden: rng.chance(1, 9),
                            ..order(id, side, px, left)
                        });
                        rested += left;
                    }
                }
            }
            assert!(book.best(Side::Buy) < book.best(Side::Sell) || book.depth(Side::Sell) == 0);
        }
        let mut open = 0;
        for side in SIDES {
            let mut rows = Vec::new();
            book.orders(side, usize::MAX, &mut rows);
            let shown: i64 = book.levels(side).map(|row| row.qty).sum();
            assert_eq!(rows.iter().map(|row| row.qty).sum::<i64>(), shown);
            let count: u32 = book.levels(side).map(|row| row.count).sum();
            assert_eq!(rows.len() as u32, count);
            open += book.fronts(side).map(|front| front.qty).sum::<i64>();
        }
        assert_eq!(rested, gone + open);
    }
}
