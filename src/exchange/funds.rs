//! What an account can pay: free balances, holds of open orders, margin.

use super::account::Wallet;
use super::core::Core;
use super::desk::Refusal;
use super::number::{push_number, value_of};
use super::order::{Kind, Order};
use crate::base::units::Side;
use crate::model::Currency;

impl Core {
    /// Balance of an exchange wallet that no open order holds, for the currency `order` pays with.
    pub(super) fn available_units(&self, order: &Order) -> i64 {
        let listing = self.listing(order.symbol);
        let currency = if order.side == Side::Buy { listing.quote } else { listing.base };
        let units = self.available(order.account, Wallet::Exchange, currency, order.id);
        units.clamp(0, i64::MAX as i128) as i64
    }
    /// Balance that is free; `except` = an order whose own hold, and that of its other leg, does
    /// not count.
    pub(super) fn available(
        &self,
        account: u32,
        wallet: Wallet,
        currency: Currency,
        except: u64,
    ) -> i128 {
        let account = self.bank.account(account);
        let mut free = account.balance(wallet, currency);
        if wallet != Wallet::Exchange {
            return free;
        }
        let open = account.open.iter().filter_map(|id| self.orders.get(id));
        let counted = open.filter(|order| {
            let is_excepted = except > 0 && (order.id == except || order.sibling == except);
            order.wallet == Wallet::Exchange && !is_excepted
        });
        for order in counted {
            let held = self.held(order, currency);
            // The two legs of a pair pay with the same money: the dearer one holds it.
            let dearer = match self.orders.get(&order.sibling) {
                None => true,
                Some(other) => (held, order.id) > (self.held(other, currency), other.id),
            };
            if dearer {
                free -= held as i128;
            }
        }
        free
    }
    /// Units of a currency that an open spot order keeps from other use.
    fn held(&self, order: &Order, currency: Currency) -> i64 {
        let listing = self.listing(order.symbol);
        match order.side {
            Side::Buy if listing.quote == currency => {
                let px = if order.kind == Kind::StopLimit { order.px_aux } else { order.px };
                value_of(px, order.left)
            }
            Side::Sell if listing.base == currency => order.left,
            _ => 0,
        }
    }
    /// Refuses what the account cannot pay. `px` `None` = a market order.
    pub(super) fn check_funds(
        &self,
        order: &Order,
        px: Option<i64>,
        qty: i64,
    ) -> Result<(), Refusal> {
        let listing = self.listing(order.symbol);
        let enough = match order.wallet {
            Wallet::Exchange => {
                let free = self.available_units(order);
                let currency = if order.side == Side::Buy { listing.quote } else { listing.base };
                let other = self.orders.get(&order.sibling);
                let least = other.map_or(0, |other| self.held(other, currency));
                match (order.side, px) {
                    (Side::Sell, _) => free >= qty.max(least),
                    (Side::Buy, Some(px)) => free >= value_of(px, qty).max(least),
                    // A market buy is filled as far as the money goes.
                    (Side::Buy, None) => free > 0,
                }
            }
            _ => {
                let px = px.filter(|px| *px > 0).unwrap_or_else(|| listing.mark());
                self.margin_suffices(order, px, qty)
            }
        };
        if enough {
            return Ok(());
        }
        let what = match order.wallet {
            Wallet::Exchange => "exchange",
            _ => "tradable",
        };
        let mut text = format!("Invalid order: not enough {what} balance for ").into_bytes();
        push_number(&mut text, order.side.sign() * qty);
        text.push(b' ');
        text.extend_from_slice(listing.pair().as_bytes());
        text.extend_from_slice(b" at ");
        push_number(&mut text, px.unwrap_or_else(|| listing.mark()));
        Err(String::from_utf8_lossy(&text).into_owned())
    }
}
