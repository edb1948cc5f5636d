//! Margin and derivatives: what positions need, and what happens when it is not there any more.
//!
//! A first form, simpler than the venue's: every mark is the last price of the pair (the venue uses
//! a composite index), collateral of a derivative is fixed by the leverage of its orders, and there
//! is no funding. A margin account whose equity falls below the minimum margin of its positions
//! loses all of them; a derivative position whose collateral does not carry its loss and its
//! minimum margin is ended alone. Both happen at market price; what then lacks is paid by the
//! insurance fund, which is the house.

use super::account::{Position, Wallet, keep};
use super::core::{Core, LIQUIDATIONS_MAX, Liquidation, Listing};
use super::number::value_of;
use super::order::{FLAG_CLOSE, Kind, Meta, Order, Status};
use crate::base::units::Side;
use crate::model::Currency;

/// What a margin account has and needs, 1e-8 of one currency. Derivatives do not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MarginFigures {
    /// Margin wallets.
    pub balance: i128,
    /// Of all positions, at the last prices.
    pub profit: i128,
    /// Initial margin of positions and open orders.
    pub initial: i128,
    /// Margin below which positions are ended.
    pub minimum: i128,
}

impl MarginFigures {
    pub fn net(&self) -> i128 {
        self.balance + self.profit
    }
}

fn part_e4(value: i128, e4: i64) -> i128 {
    value * e4 as i128 / 10_000
}

impl Core {
    /// An account's margin in `quote`; `except` = an order that does not count.
    pub(super) fn margin_figures(
        &self,
        account: u32,
        quote: Currency,
        except: u64,
    ) -> MarginFigures {
        let account = self.bank.account(account);
        let mut figures = MarginFigures::default();
        for ((wallet, currency), units) in &account.wallets {
            if *wallet == Wallet::Margin {
                figures.balance += self.convert(*currency, quote, *units);
            }
        }
        for (symbol, position) in &account.positions {
            let listing = self.listing(*symbol);
            if listing.is_derivative() {
                continue;
            }
            figures.profit += self.convert(listing.quote, quote, position.profit(listing.mark()));
            let value = i128::from(value_of(listing.mark(), position.qty)).abs();
            let value = self.convert(listing.quote, quote, value);
            let initial_e4 = listing.spec.margin_initial_e4;
            figures.initial += part_e4(value, initial_e4);
            figures.minimum += part_e4(value, initial_e4 / 2);
        }
        for order in account.open.iter().filter_map(|id| self.orders.get(id)) {
            let listing = self.listing(order.symbol);
            if !listing.is_derivative() && self.needs_margin(order, except) {
                let value = self.convert(listing.quote, quote, order_value(order));
                figures.initial += part_e4(value, listing.spec.margin_initial_e4);
            }
        }
        figures
    }
    /// Whether an open order counts against the margin: of a pair only the dearer leg does.
    fn needs_margin(&self, order: &Order, except: u64) -> bool {
        let is_excepted = except > 0 && (order.id == except || order.sibling == except);
        if order.wallet != Wallet::Margin || order.is_reduce_only() || is_excepted {
            return false;
        }
        self.orders
            .get(&order.sibling)
            .is_none_or(|other| (order_value(order), order.id) > (order_value(other), other.id))
    }
    /// True where the account can carry the order: equity covers the initial margin of everything,
    /// or the wallet the collateral. An order against a position is counted for what it opens
    /// beyond it.
    pub(super) fn margin_suffices(&self, order: &Order, px: i64, qty: i64) -> bool {
        let account = self.bank.account(order.account);
        let listing = self.listing(order.symbol);
        let held = account.positions.get(&order.symbol).map_or(0, |position| position.qty);
        let opposed = (held > 0) != (order.side == Side::Buy);
        let opening = if opposed { (qty - held.abs()).max(0) } else { qty };
        if opening == 0 {
            return true;
        }
        let value = i128::from(value_of(px, opening));
        let Some(leverage) = order.leverage.filter(|_| listing.is_derivative()) else {
            let figures = self.margin_figures(order.account, listing.quote, order.id);
            let more = part_e4(value, listing.spec.margin_initial_e4);
            return figures.net() >= figures.initial + more;
        };
        let free = self.collateral_free(order.account, listing.quote, order.id);
        free >= value / i128::from(leverage.max(1))
    }
    /// Collateral that no open derivative order is going to take, 1e-8 of `quote`.
    pub(super) fn collateral_free(&self, account: u32, quote: Currency, except: u64) -> i128 {
        let account = self.bank.account(account);
        let mut free = account.balance(Wallet::Margin, quote);
        for order in account.open.iter().filter_map(|id| self.orders.get(id)) {
            let listing = self.listing(order.symbol);
            let leverage = order.leverage.filter(|_| listing.quote == quote);
            if let Some(leverage) = leverage.filter(|_| self.needs_margin(order, except)) {
                free -= order_value(order) / i128::from(leverage.max(1));
            }
        }
        free
    }
    /// Units of one currency in another, by the last prices of the pairs listed; 0 where no pair
    /// joins them.
    pub(super) fn convert(&self, from: Currency, to: Currency, units: i128) -> i128 {
        let dollar = |currency: &str| matches!(currency, "USD" | "UST");
        let same = |a: Currency, b: Currency| a == b || (dollar(a.as_str()) && dollar(b.as_str()));
        if units == 0 || same(from, to) {
            return units;
        }
        let joined = |listing: &&Listing| {
            (listing.base == from && same(listing.quote, to))
                || (listing.base == to && same(listing.quote, from))
        };
        let Some(pair) = self.listings.iter().find(joined) else { return 0 };
        match (pair.base == from, i128::from(pair.mark())) {
            (true, mark) => units * mark / 100_000_000,
            (false, 0) => 0,
            (false, mark) => units * 100_000_000 / mark,
        }
    }
    /// Least collateral of a derivative position at the last price, 1e-8 of quote.
    pub(super) fn collateral_min(&self, symbol: u16, position: &Position) -> i128 {
        let listing = self.listing(symbol);
        let value = i128::from(value_of(listing.mark(), position.qty)).abs();
        part_e4(value, listing.spec.margin_initial_e4 / 2)
    }
    /// Price at which a position would be ended, everything else standing still; `None` where there
    /// is no such price.
    pub(super) fn liquidation_px(
        &self,
        account: u32,
        symbol: u16,
        position: &Position,
    ) -> Option<i64> {
        let listing = self.listing(symbol);
        let minimum_e4 = i128::from(listing.spec.margin_initial_e4 / 2);
        // What is there besides the position's value: own collateral, or the account's rest.
        let (behind, others) = match listing.is_derivative() {
            true => (position.collateral - position.cost, 0),
            false => {
                let figures = self.margin_figures(account, listing.quote, 0);
                let mark = listing.mark();
                let value = i128::from(value_of(mark, position.qty));
                let own = part_e4(value.abs(), listing.spec.margin_initial_e4 / 2);
                (figures.net() - value, figures.minimum - own)
            }
        };
        // behind + qty·px = others + minimum·|qty|·px
        let qty = i128::from(position.qty);
        let slope = qty * 10_000 - qty.abs() * minimum_e4;
        if slope == 0 {
            return None;
        }
        let px = (others - behind) * 10_000 * 100_000_000 / slope;
        i64::try_from(px).ok().filter(|px| *px > 0)
    }
    /// Ends positions that a new price of a symbol made too thin; true where anything was executed,
    /// so that the price may have moved again.
    pub(super) fn run_forced(&mut self, symbol: u16) -> bool {
        if self.listing(symbol).holders == 0 || self.listing(symbol).mark() <= 0 {
            return false;
        }
        let fills = self.stats.fills;
        for account in 1..self.bank.accounts.len() as u32 {
            let held = self.bank.account(account).positions.get(&symbol).copied();
            let Some(position) = held else { continue };
            let listing = self.listing(symbol);
            if listing.is_derivative() {
                let equity = position.collateral + position.profit(listing.mark());
                if equity < self.collateral_min(symbol, &position) {
                    self.force_close(account, symbol);
                }
                continue;
            }
            let figures = self.margin_figures(account, listing.quote, 0);
            if figures.net() < figures.minimum {
                let positions = &self.bank.account(account).positions;
                let symbols: Vec<u16> = positions.keys().copied().collect();
                for symbol in symbols {
                    if !self.listing(symbol).is_derivative() {
                        self.force_close(account, symbol);
                    }
                }
            }
        }
        self.stats.fills > fills
    }
    /// Cancels an account's margin orders of a symbol and closes its position at market.
    fn force_close(&mut self, account: u32, symbol: u16) {
        let open = self.bank.account(account).open.iter().filter_map(|id| self.orders.get(id));
        let own = |order: &&Order| order.symbol == symbol && order.wallet == Wallet::Margin;
        let ids: Vec<u64> = open.filter(own).map(|order| order.id).collect();
        for id in ids {
            self.cancel_order(id);
        }
        let Some(position) = self.bank.account(account).positions.get(&symbol).copied() else {
            return;
        };
        let side = if position.qty > 0 { Side::Sell } else { Side::Buy };
        if self.listing(symbol).depth.best(side.opposite()).is_none() {
            return; // nobody to close with: again at the next price
        }
        let now_ms = self.now_ms();
        let leverage = Some(position.leverage).filter(|leverage| *leverage > 0);
        let order = Order {
            id: self.next_order_id(),
            account,
            gid: None,
            cid: None,
            symbol,
            created_ms: now_ms,
            updated_ms: now_ms,
            side,
            qty: position.qty.abs(),
            left: position.qty.abs(),
            kind: Kind::Market,
            kind_before: None,
            wallet: Wallet::Margin,
            flags: FLAG_CLOSE,
            px: 0,
            px_aux: 0,
            px_trailing: 0,
            leverage,
            until_ms: 0,
            status: Status::Active,
            fills: Vec::new(),
            sibling: 0,
            is_forced: true,
            meta: Meta::default(),
        };
        self.stats.forced += 1;
        let mut row = Liquidation {
            position: position.id,
            mts: now_ms,
            symbol,
            qty: position.qty,
            base_px: position.base_px(),
            px: 0,
        };
        self.publish_liquidation(&row, false);
        let id = order.id;
        self.execute(order, true);
        let closed = &self.bank.account(account).closed;
        row.px = closed.iter().rev().find(|order| order.id == id).map_or(0, Order::px_avg);
        self.publish_liquidation(&row, true);
        keep(&mut self.liquidations, LIQUIDATIONS_MAX, row);
        self.book_changed(symbol);
    }
}

/// What an order is worth at its own price, 1e-8 of quote.
fn order_value(order: &Order) -> i128 {
    let px = if order.kind == Kind::StopLimit { order.px_aux } else { order.px };
    i128::from(value_of(px, order.left))
}
