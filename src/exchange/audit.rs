//! What an auditor sees: the books of the house, read without a message and without a trace.

use super::Exchange;
use crate::base::units::{Side, UNIT_SCALE};
use crate::model::Currency;

/// An order that is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditOrder {
    pub id: u64,
    pub cid: Option<u64>,
    pub gid: Option<u64>,
    /// Place in the exchange's list of symbols.
    pub symbol: u16,
    pub side: Side,
    /// 1e-8 of base, unsigned.
    pub left: i64,
    pub px: i64,
    pub is_reduce_only: bool,
    /// Waits for its price.
    pub is_stop: bool,
}

/// An execution of an order of the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditTrade {
    pub id: u64,
    pub symbol: u16,
    pub order: u64,
    pub cid: Option<u64>,
    /// 1e-8 of base, signed.
    pub qty: i64,
    pub px: i64,
}

/// What belongs to one account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// In order of their ids.
    pub orders: Vec<AuditOrder>,
    /// Margin positions that are not flat: symbol and 1e-8 of base, signed.
    pub positions: Vec<(u16, i64)>,
    /// Balance by wallet and currency, 1e-8.
    pub wallets: Vec<(&'static str, Currency, i128)>,
}

impl Exchange {
    /// The account of an API key; `None` for a key that opens nothing.
    pub fn audit(&self, api_key: &str) -> Option<Audit> {
        let (index, _) = self.core.find_key(api_key)?;
        let account = self.core.bank.account(index);
        let alive = account.open.iter().filter_map(|id| self.core.orders.get(id));
        Some(Audit {
            orders: alive
                .map(|order| AuditOrder {
                    id: order.id,
                    cid: order.cid,
                    gid: order.gid,
                    symbol: order.symbol,
                    side: order.side,
                    left: order.left,
                    px: order.px,
                    is_reduce_only: order.is_reduce_only(),
                    is_stop: order.kind.is_stop(),
                })
                .collect(),
            positions: account
                .positions
                .iter()
                .filter(|(_, position)| position.qty != 0)
                .map(|(symbol, position)| (*symbol, position.qty))
                .collect(),
            wallets: account
                .wallets
                .iter()
                .map(|((wallet, currency), units)| (wallet.name(), *currency, *units))
                .collect(),
        })
    }
    /// Executions of the account newer than trade `after`, oldest first; at most the
    /// `HISTORY_MAX` newest are kept.
    pub fn audit_trades(&self, api_key: &str, after: u64, mut tell: impl FnMut(AuditTrade)) {
        let Some((index, _)) = self.core.find_key(api_key) else { return };
        let trades = &self.core.bank.account(index).trades;
        let newer = trades.iter().rev().take_while(|trade| trade.id > after).count();
        for trade in trades.iter().skip(trades.len() - newer) {
            tell(AuditTrade {
                id: trade.id,
                symbol: trade.symbol,
                order: trade.order,
                cid: trade.cid,
                qty: trade.qty,
                px: trade.px,
            });
        }
    }
    /// Money of the account in its margin wallet, open P&L of margin positions at the middle of
    /// the books included, 1e-8 of `currency`; `None` where something held has no price.
    pub fn audit_equity(&self, api_key: &str, currency: Currency) -> Option<i128> {
        let (index, _) = self.core.find_key(api_key)?;
        let account = self.core.bank.account(index);
        let own = |wallet: &str, each: Currency| wallet == "margin" && each == currency;
        let wallets = account.wallets.iter();
        let mut sum: i128 = wallets.filter(|row| own(row.0.0.name(), row.0.1)).map(|r| r.1).sum();
        for (symbol, position) in account.positions.iter().filter(|(_, at)| at.qty != 0) {
            let (Some(bid), Some(ask)) = self.touch(*symbol) else { return None };
            let value = i128::from(position.qty) * i128::from(i64::midpoint(bid, ask));
            sum += value / i128::from(UNIT_SCALE) - position.cost;
        }
        Some(sum)
    }
    /// Quantity of the 25 best levels of a side, 1e-8.
    pub fn depth_of_25(&self, symbol: u16, side: Side) -> i64 {
        let listing = self.core.listings.get(usize::from(symbol));
        listing.map_or(0, |listing| listing.depth.sum_of_25(side))
    }
    /// Best bid and ask of a symbol, 1e-8; `None` where a side is empty.
    pub fn touch(&self, symbol: u16) -> (Option<i64>, Option<i64>) {
        match self.core.listings.get(usize::from(symbol)) {
            Some(listing) => (listing.depth.best(Side::Buy), listing.depth.best(Side::Sell)),
            None => (None, None),
        }
    }
}
