//! Executions: money, own trades and the messages about them, in the orders the venue was seen to
//! use (protocol notes, 3.7): a limit order executed at once is told `te… oc tu… wu`, a market
//! order `pu oc te… tu… wu`, a partial fill at rest `ou te tu wu`, a full one `te oc tu wu`.

use super::account::{HOUSE, Leg, OwnTrade, Position, PositionChange, Wallet};
use super::config::FeeTier;
use super::core::{Core, is_house};
use super::hub::Class;
use super::json::push_text;
use super::matching::{Front, Match};
use super::number::{push_number, value_of};
use super::order::{FLAG_HIDDEN, Form, Kind, Order, Status};
use super::tape::PublicTrade;
use super::wire::{
    PositionCause, PositionFigures, WalletCause, push_own_trade, push_position, push_wallet,
};
use crate::base::units::Side;
use crate::model::Currency;

/// An order on its way through the book, with what it met.
pub(super) struct Taker {
    pub order: Order,
    trades: Vec<OwnTrade>,
    changes: Vec<PositionChange>,
}

impl Taker {
    pub fn new(order: Order) -> Taker {
        Taker { order, trades: Vec::new(), changes: Vec::new() }
    }
}

/// One execution as both sides see it.
#[derive(Clone, Copy)]
struct Execution {
    trade: u64,
    px: i64,
    qty: i64,
    is_maker: bool,
    pays_maker: bool,
}

impl Core {
    /// Books one match of an account's taking order.
    pub(super) fn settle_match(&mut self, symbol: u16, taker: &mut Taker, hit: Match) {
        let trade = self.next_trade_id();
        // A limit order that hits a hidden one pays as a maker (the venue's fee page).
        let pays_maker = hit.hidden && taker.order.kind != Kind::Market;
        let execution = Execution { trade, px: hit.px, qty: hit.qty, is_maker: false, pays_maker };
        let (own, change) = self.book_fill(&mut taker.order, execution);
        taker.trades.push(own);
        taker.changes.push(change);
        self.settle_other_side(symbol, taker.order.side, trade, hit);
    }
    /// The maker's half of a match, and the public trade where the market lives here.
    fn settle_other_side(&mut self, symbol: u16, taker: Side, trade: u64, hit: Match) {
        if !self.listing(symbol).depth.is_recorded() {
            let qty = taker.sign() * hit.qty;
            let mts = self.now_ms();
            self.public_trade(symbol, PublicTrade { id: trade, mts, qty, px: hit.px });
        }
        if is_house(hit.owner) {
            self.settle_house(symbol, taker.opposite(), hit.px, hit.qty);
        } else {
            self.fill_maker(trade, hit);
        }
    }
    /// The house's half of an execution: spot, without fee.
    fn settle_house(&mut self, symbol: u16, side: Side, px: i64, qty: i64) {
        let leg = self.leg(symbol, HOUSE, Wallet::Exchange, side, px, qty, 0);
        self.bank.settle(leg);
    }
    /// A match between two orders of the house: only the public hears of it.
    pub(super) fn settle_house_taker(&mut self, symbol: u16, taker: Side, hit: Match) {
        let trade = self.next_trade_id();
        self.settle_house(symbol, taker, hit.px, hit.qty);
        self.settle_other_side(symbol, taker, trade, hit);
    }
    /// Fills of ghosts by the recorded market, which is the house as the taking side.
    pub(super) fn ghost_fills(&mut self, symbol: u16, taker: Side, fills: &[Match]) {
        if fills.is_empty() {
            return;
        }
        for fill in fills {
            // Several ghosts of one account may have been passed at once: the later ones are asked
            // again whether they still may.
            let front = Front {
                px: fill.px,
                qty: fill.qty,
                maker: fill.maker,
                owner: fill.owner,
                hidden: fill.hidden,
            };
            if !self.orders.contains_key(&fill.maker) || self.retire_maker(front) {
                continue;
            }
            let trade = self.next_trade_id();
            self.settle_house(symbol, taker, fill.px, fill.qty);
            self.fill_maker(trade, *fill);
        }
        self.check_reduce_only(symbol);
    }
    #[allow(clippy::too_many_arguments)] // one trade leg has that many facts
    fn leg(
        &mut self,
        symbol: u16,
        account: u32,
        wallet: Wallet,
        side: Side,
        px: i64,
        qty: i64,
        fee_e6: i64,
    ) -> Leg {
        let now_ms = self.now_ms();
        let listing = &self.listings[symbol as usize];
        Leg {
            account,
            wallet,
            symbol,
            base: listing.base,
            quote: listing.quote,
            qty: side.sign() * qty,
            px,
            value: value_of(px, qty),
            fee_e6,
            leverage: None,
            is_forced: false,
            now_ms,
            position_id: self.ids.position + 1,
        }
    }
    /// Money and order state of one account's execution.
    fn book_fill(&mut self, order: &mut Order, execution: Execution) -> (OwnTrade, PositionChange) {
        let Execution { trade, px, qty, is_maker, pays_maker } = execution;
        let fee_e6 = self.fee_e6(order, pays_maker);
        let leg = self.leg(order.symbol, order.account, order.wallet, order.side, px, qty, fee_e6);
        let leg = Leg { leverage: order.leverage, is_forced: order.is_forced, ..leg };
        self.count_volume(order, leg.value);
        let had = self.bank.account(order.account).positions.get(&order.symbol).map(|p| p.id);
        let settled = self.bank.settle(leg);
        let has = self.bank.account(order.account).positions.get(&order.symbol).map(|p| p.id);
        if has.is_some() && has != had {
            self.ids.position += 1;
        }
        let holders = &mut self.listings[order.symbol as usize].holders;
        *holders += u32::from(has.is_some() && had.is_none());
        *holders -= u32::from(has.is_none() && had.is_some());
        let now_ms = self.now_ms();
        let own = OwnTrade {
            id: trade,
            symbol: order.symbol,
            mts: now_ms,
            order: order.id,
            qty: order.side.sign() * qty,
            px,
            kind: order.kind,
            wallet: order.wallet,
            is_maker,
            fee: settled.fee,
            fee_currency: settled.fee_currency,
            cid: order.cid,
        };
        order.fill(px, qty, now_ms);
        self.bank.account_mut(order.account).remember_trade(own.clone());
        self.stats.fills += 1;
        self.is_dirty = true;
        (own, settled.position)
    }
    /// The account's row of the fee table today.
    pub(super) fn fee_tier(&self, account: u32) -> FeeTier {
        let volume = self.bank.account(account).volume(self.now.utc_day());
        let reached = |tier: &&FeeTier| i128::from(tier.volume_usd) * 100_000_000 <= volume;
        let tier = self.config.fee_tiers.iter().rev().find(reached).copied();
        tier.unwrap_or(FeeTier::flat(self.config.fees))
    }
    fn fee_e6(&self, order: &Order, as_maker: bool) -> i64 {
        let listing = self.listing(order.symbol);
        let tier = self.fee_tier(order.account);
        tier.rate_e6(listing.quote.as_str(), listing.is_derivative(), as_maker)
    }
    fn count_volume(&mut self, order: &Order, value: i64) {
        let (quote, today) = (self.listing(order.symbol).quote, self.now.utc_day());
        let dollar = Currency::new("USD").unwrap_or_default();
        let dollars = self.convert(quote, dollar, i128::from(value));
        self.bank.account_mut(order.account).add_volume(today, dollars);
    }
    /// An order at rest was hit.
    fn fill_maker(&mut self, trade: u64, hit: Match) {
        let Some(mut order) = self.orders.get(&hit.maker).cloned() else { return };
        // An order that is not shown adds nothing to the book: it pays as a taker.
        let pays_maker = !hit.hidden;
        let execution = Execution { trade, px: hit.px, qty: hit.qty, is_maker: true, pays_maker };
        let (own, change) = self.book_fill(&mut order, execution);
        if order.left > 0 && order.is_hidden() && order.meta.make_visible {
            order.flags &= !FLAG_HIDDEN;
            self.listings[order.symbol as usize].depth.reveal(order.id);
        }
        if order.left == 0 {
            self.tell_trade(hit.owner, "te", &own);
            self.end_order(order.clone());
        } else {
            self.tell_order("ou", &order);
            self.tell_trade(hit.owner, "te", &own);
            self.keep_order(order.clone());
        }
        self.tell_trade(hit.owner, "tu", &own);
        self.tell_positions(&order, &[change]);
        self.tell_wallets(&order, &own);
        self.cancel_sibling(&order);
    }
    /// Tells everything about an order that has just been through the book, and keeps or ends it.
    pub(super) fn tell_taker(&mut self, taker: Taker, is_new: bool, rests: bool) {
        let Taker { order, trades, changes } = taker;
        let is_market = order.kind == Kind::Market;
        if rests {
            if is_new {
                let fresh = Order {
                    left: order.qty,
                    status: Status::Active,
                    fills: Vec::new(),
                    ..order.clone()
                };
                self.tell_order("on", &fresh);
            }
            if !is_new || !trades.is_empty() {
                self.tell_order("ou", &order);
            }
            self.keep_order(order.clone());
        }
        if is_market {
            self.tell_positions(&order, &changes);
            self.end_order(order.clone());
        }
        for trade in &trades {
            self.tell_trade(order.account, "te", trade);
        }
        if !rests && !is_market {
            self.end_order(order.clone());
        }
        for trade in &trades {
            self.tell_trade(order.account, "tu", trade);
        }
        if !is_market {
            self.tell_positions(&order, &changes);
        }
        if let Some(last) = trades.last() {
            self.tell_wallets(&order, last);
            self.cancel_sibling(&order);
        }
    }
    fn is_heard(&self, account: u32) -> bool {
        self.hub.has_listener(account)
    }
    /// `on`, `ou` or `oc`.
    pub(super) fn tell_order(&mut self, kind: &str, order: &Order) {
        if !self.is_heard(order.account) {
            return;
        }
        let mut body = Vec::with_capacity(320);
        push_text(&mut body, kind);
        body.push(b',');
        let symbol = &self.listings[order.symbol as usize].spec.name;
        order.push_array(&mut body, symbol, Form::Known);
        self.hub.send_private(order.account, Class::Trading(symbol), &body, self.now);
    }
    fn tell_trade(&mut self, account: u32, kind: &str, trade: &OwnTrade) {
        if !self.is_heard(account) {
            return;
        }
        let mut body = Vec::with_capacity(192);
        push_text(&mut body, kind);
        body.push(b',');
        let symbol = &self.listings[trade.symbol as usize].spec.name;
        push_own_trade(&mut body, trade, symbol, kind == "tu");
        self.hub.send_private(account, Class::Trading(symbol), &body, self.now);
    }
    /// `pn`, `pu` and `pc` for what an execution did to a position. A new one is told without the
    /// computed figures, as the venue tells it.
    fn tell_positions(&mut self, order: &Order, changes: &[PositionChange]) {
        if order.wallet != Wallet::Margin || !self.is_heard(order.account) {
            return;
        }
        let mut opened = false;
        let mut updated = false;
        for change in changes {
            match change {
                PositionChange::None => {}
                PositionChange::Opened => opened = true,
                PositionChange::Updated => updated = true,
                PositionChange::Closed(was) => {
                    self.tell_position(order, "pc", was, false);
                    opened = true; // what stands now, if anything, is a new one
                    updated = false;
                }
            }
        }
        let now = self.bank.account(order.account).positions.get(&order.symbol).copied();
        if let Some(position) = now.filter(|_| opened || updated) {
            self.tell_position(order, if opened { "pn" } else { "pu" }, &position, true);
        }
    }
    fn tell_position(&mut self, order: &Order, kind: &str, position: &Position, is_open: bool) {
        let mut body = Vec::with_capacity(256);
        push_text(&mut body, kind);
        body.push(b',');
        let last = order.fills.last();
        let cause = last.map(|(px, qty)| PositionCause {
            order: order.id,
            px: *px,
            qty: order.side.sign() * qty,
        });
        if kind == "pu" {
            let (account, symbol) = (order.account, order.symbol);
            self.push_position_row(account, symbol, position, is_open, cause, &mut body);
        } else {
            let name = self.symbol_name(order.symbol);
            push_position(&mut body, position, name, is_open, None, cause);
        }
        let class = Class::Trading(&self.listings[order.symbol as usize].spec.name);
        self.hub.send_private(order.account, class, &body, self.now);
    }
    /// Writes a position with everything that can be computed of it.
    pub(super) fn push_position_row(
        &self,
        account: u32,
        symbol: u16,
        position: &Position,
        is_open: bool,
        cause: Option<PositionCause>,
        out: &mut Vec<u8>,
    ) {
        let listing = self.listing(symbol);
        let mark = listing.mark();
        let leverage = match position.leverage {
            // What the account's equity carries, as the venue shows it for margin.
            0 => {
                let net = self.margin_figures(account, listing.quote, 0).net();
                let value = i128::from(value_of(mark, position.qty)).abs();
                if net > 0 { value * 100_000_000 / net } else { 0 }
            }
            leverage => i128::from(leverage) * 100_000_000,
        };
        let figures = PositionFigures {
            mark,
            liquidation_px: self.liquidation_px(account, symbol, position),
            leverage,
            collateral_min: match position.leverage {
                0 => 0,
                _ => self.collateral_min(symbol, position),
            },
        };
        push_position(out, position, &listing.spec.name, is_open, Some(figures), cause);
    }
    /// `wu` for the wallets an execution touched.
    fn tell_wallets(&mut self, order: &Order, trade: &OwnTrade) {
        if !self.is_heard(order.account) {
            return;
        }
        let listing = &self.listings[order.symbol as usize];
        let (base, quote) = (listing.base, listing.quote);
        let touched: &[Currency] = match order.wallet {
            Wallet::Exchange => &[base, quote],
            _ => &[quote],
        };
        let mut text = Vec::new();
        text.extend_from_slice(if order.wallet == Wallet::Exchange {
            b"Exchange "
        } else {
            b"Trade "
        });
        push_number(&mut text, trade.qty.saturating_abs());
        text.extend_from_slice(b" ");
        text.extend_from_slice(base.as_bytes());
        text.extend_from_slice(b" for ");
        text.extend_from_slice(quote.as_bytes());
        text.extend_from_slice(b" @ ");
        push_number(&mut text, trade.px);
        let text = String::from_utf8_lossy(&text).into_owned();
        for currency in touched {
            let balance = self.bank.account(order.account).balance(order.wallet, *currency);
            let cause = WalletCause { text: &text, order: order.id, px: trade.px, qty: trade.qty };
            let mut body = b"\"wu\",".to_vec();
            push_wallet(&mut body, order.wallet, currency.as_str(), balance, None, Some(cause));
            let class = Class::Wallet(order.wallet.name(), currency.as_str());
            self.hub.send_private(order.account, class, &body, self.now);
        }
    }
}
