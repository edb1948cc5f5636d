//! An order's way through the book, and what reduce-only means on it.

use super::account::{HOUSE, Wallet};
use super::core::Core;
use super::levels::accepts;
use super::matching::{Front, Resting, spend};
use super::order::{Kind, Order, Status};
use super::settle::Taker;
use crate::base::units::Side;
use std::collections::BTreeMap;

impl Core {
    pub(super) fn reduce_only_problem(&self, order: &Order) -> Option<Status> {
        if !order.is_reduce_only() {
            return None;
        }
        let Some(position) = self.bank.account(order.account).positions.get(&order.symbol) else {
            return Some(Status::PositionNotFound);
        };
        if (position.qty > 0) == (order.side == Side::Buy) {
            return Some(Status::ReduceWouldIncrease);
        }
        (order.left > position.qty.abs()).then_some(Status::ReduceWouldFlip)
    }
    /// Cancels resting reduce-only orders that their position no longer covers.
    pub(super) fn check_reduce_only(&mut self, symbol: u16) {
        let broken: Vec<(u64, Status)> = self
            .orders
            .values()
            .filter(|order| order.symbol == symbol && order.is_reduce_only())
            .filter_map(|order| self.reduce_only_problem(order).map(|status| (order.id, status)))
            .collect();
        let any = !broken.is_empty();
        for (id, status) in broken {
            if let Some(order) = self.take_out(id) {
                self.end_order(Order { status, ..order });
            }
        }
        if any {
            self.book_changed(symbol);
        }
    }
    /// A resting order that may not be hit after all: it would take its account beyond what
    /// reduce-only allows. It is cancelled; true where it was.
    pub(super) fn retire_maker(&mut self, front: Front) -> bool {
        if front.owner == HOUSE {
            return false;
        }
        let maker = self.orders.get(&front.maker);
        let Some(status) = maker.and_then(|maker| self.reduce_only_problem(maker)) else {
            return false;
        };
        let Some(order) = self.take_out(front.maker) else { return false };
        self.end_order(Order { status, ..order });
        true
    }
    /// Quantity that an order would execute now: what lies within its limit, without makers that
    /// reduce-only forbids by then and without its own account's where it asks for that.
    fn would_fill(&self, order: &Order, limit: Option<i64>) -> i64 {
        let mut left = order.left;
        let mut held: BTreeMap<u32, i64> = BTreeMap::new();
        let position_of = |account: u32| {
            let positions = &self.bank.account(account).positions;
            positions.get(&order.symbol).map_or(0, |position| position.qty)
        };
        for front in self.listing(order.symbol).depth.fronts(order.side.opposite()) {
            let own = front.owner == order.account && order.meta.protect_selfmatch;
            if left == 0 || own || !accepts(order.side, limit, front.px) {
                break;
            }
            let fill = left.min(front.qty);
            let maker = match front.owner {
                HOUSE => None,
                _ => self.orders.get(&front.maker).filter(|maker| maker.wallet == Wallet::Margin),
            };
            if let Some(maker) = maker {
                let qty = held.entry(maker.account).or_insert_with(|| position_of(maker.account));
                let grows = *qty == 0 || (*qty > 0) == (maker.side == Side::Buy);
                if maker.is_reduce_only() && (grows || maker.left > qty.abs()) {
                    continue;
                }
                *qty += maker.side.sign() * fill;
            }
            if order.wallet == Wallet::Margin {
                let qty = held.entry(order.account).or_insert_with(|| position_of(order.account));
                *qty += order.side.sign() * fill;
            }
            left -= fill;
        }
        order.left - left
    }
    /// Executes what can be executed and lets the rest stand or go, by the order's kind. `is_new` =
    /// the account has not been told of it by `on` yet.
    pub(super) fn execute(&mut self, order: Order, is_new: bool) {
        let symbol = order.symbol;
        let other = order.side.opposite();
        let limit = match order.kind {
            Kind::Market => None,
            _ => Some(order.px),
        };
        let best = self.listing(symbol).depth.best(other);
        let crosses = best.is_some_and(|best| accepts(order.side, limit, best));
        if order.is_post_only() && crosses {
            self.end_order(Order { status: Status::PostOnlyCanceled, ..order });
            return;
        }
        if order.kind == Kind::Fok && self.would_fill(&order, limit) < order.left {
            self.end_order(Order { status: Status::FokCanceled, ..order });
            return;
        }
        let is_spot_buy = order.wallet == Wallet::Exchange && order.side == Side::Buy;
        let mut budget = match limit {
            None if is_spot_buy => Some(self.available_units(&order)),
            _ => None,
        };
        let mut taker = Taker::new(order);
        // Why the taking ended although there was something to take.
        let mut stopped = None;
        while taker.order.left > 0 {
            let Some(front) = self.listing(symbol).depth.front(other) else { break };
            if !accepts(taker.order.side, limit, front.px) {
                break;
            }
            if front.owner == taker.order.account && taker.order.meta.protect_selfmatch {
                stopped = Some(Status::Canceled);
                break;
            }
            if self.retire_maker(front) {
                continue;
            }
            let fill = spend(&mut budget, front.px, taker.order.left.min(front.qty));
            if fill == 0 {
                stopped = Some(Status::InsufficientBalance);
                break;
            }
            self.listings[symbol as usize].depth.hit_front(other, fill);
            self.settle_match(symbol, &mut taker, front.hit(fill));
        }
        let order = &mut taker.order;
        if order.left > 0 {
            let ends = match order.kind {
                _ if stopped.is_some() => stopped,
                Kind::Market => Some(Status::BookSlip),
                Kind::Ioc => Some(Status::IocCanceled),
                Kind::Fok => Some(Status::FokCanceled),
                _ => None,
            };
            order.status = ends.unwrap_or(order.status);
        }
        let rests = order.left > 0 && order.kind == Kind::Limit && stopped.is_none();
        if rests {
            let resting = Resting {
                id: order.id,
                owner: order.account,
                side: order.side,
                px: order.px,
                qty: order.left,
                hidden: order.is_hidden(),
            };
            self.listings[symbol as usize].depth.rest(resting);
        }
        self.tell_taker(taker, is_new, rests);
    }
}
