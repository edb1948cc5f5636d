//! Orders that wait for a price, and pairs of which one cancels the other.
//!
//! A pair (OCO) is a limit order and a stop of the same amount, each naming the other. An execution
//! of one, whole or in part, cancels the other. A cancel by the client ends one leg only: what the
//! venue does then is not known.

use super::core::Core;
use super::order::{Kind, Order, Status};
use crate::base::units::Side;

/// Where a trailing stop stands when the price is `px`.
fn trailed(px: i64, order: &Order) -> i64 {
    px.saturating_add(order.side.sign() * order.px_trailing).max(1)
}

/// A trailing stop follows the price to its better side and never goes back.
fn follow(last: i64, order: &mut Order) {
    let trailed = trailed(last, order);
    order.px = match order.side {
        _ if order.px == 0 => trailed,
        Side::Buy => order.px.min(trailed),
        Side::Sell => order.px.max(trailed),
    };
}

impl Core {
    /// Lets a stop wait for its price.
    pub(super) fn arm(&mut self, mut order: Order) {
        let symbol = order.symbol;
        if order.kind == Kind::TrailingStop {
            let mark = self.listing(symbol).mark();
            if mark > 0 {
                follow(mark, &mut order);
            }
        }
        self.tell_order("on", &order);
        let listing = &mut self.listings[symbol as usize];
        listing.stops.push(order.id);
        listing.stops_due = true;
        self.keep_order(order);
    }
    /// What a new price of a symbol sets off: stops, and the end of positions that it made too
    /// thin. Each happens once, so this ends.
    pub(super) fn run_stops(&mut self, symbol: u16) {
        let fills = self.stats.fills;
        self.fire_stops(symbol);
        while self.run_forced(symbol) {
            self.fire_stops(symbol);
        }
        if self.stats.fills != fills {
            self.check_reduce_only(symbol);
        }
    }
    fn fire_stops(&mut self, symbol: u16) {
        while std::mem::take(&mut self.listings[symbol as usize].stops_due) {
            let listing = self.listing(symbol);
            let Some(last) = listing.tape.last() else { return };
            let mut due = None;
            for id in listing.stops.clone() {
                let Some(order) = self.orders.get_mut(&id) else { continue };
                if order.kind == Kind::TrailingStop {
                    follow(last, order);
                }
                let reached = match order.side {
                    Side::Buy => last >= order.px,
                    Side::Sell => last <= order.px,
                };
                if reached && due.is_none() {
                    due = Some(id);
                }
            }
            let Some(id) = due else { return };
            self.fire(id);
            self.book_changed(symbol);
            // One fired stop may have moved the price for the next.
            self.listings[symbol as usize].stops_due = true;
        }
    }
    /// A stop becomes a market or limit order.
    fn fire(&mut self, id: u64) {
        let Some(mut order) = self.take_out(id) else { return };
        order.kind_before = Some(order.kind);
        if order.kind == Kind::StopLimit {
            order.kind = Kind::Limit;
            order.px = order.px_aux;
        } else {
            order.kind = Kind::Market;
        }
        order.updated_ms = self.now_ms();
        self.tell_order("ou", &order);
        // Its other leg goes first: what that one holds is what this one pays with.
        self.cancel_sibling(&order);
        match self.reduce_only_problem(&order) {
            Some(status) => self.end_order(Order { status, ..order }),
            None => self.execute(order, false),
        }
    }
    /// Cancels the other leg of a pair if it still lives.
    pub(super) fn cancel_sibling(&mut self, order: &Order) {
        if order.sibling == 0 {
            return;
        }
        let Some(sibling) = self.take_out(order.sibling) else { return };
        let symbol = sibling.symbol;
        self.end_order(Order { status: Status::Canceled, ..sibling });
        self.book_changed(symbol);
    }
}
