//! Wallets, positions and fees. Every trade moves the same amounts from one party to the other, so
//! that the sum over all accounts, the house and the fees never changes; `Bank::totals` is that
//! sum.

use super::order::{Kind, Order};
use crate::model::Currency;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Own trades and closed orders kept per account.
pub const HISTORY_MAX: usize = 10_000;
/// Index of the house: counterparty of recorded liquidity and owner of the market maker's orders.
/// It may owe.
pub const HOUSE: u32 = 0;

/// The venue's wallet kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Wallet {
    Exchange,
    Margin,
    Funding,
}

impl Wallet {
    pub const fn name(self) -> &'static str {
        match self {
            Wallet::Exchange => "exchange",
            Wallet::Margin => "margin",
            Wallet::Funding => "funding",
        }
    }
    pub fn by_name(name: &str) -> Option<Wallet> {
        [Wallet::Exchange, Wallet::Margin, Wallet::Funding].into_iter().find(|w| w.name() == name)
    }
}

/// A margin position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub id: u64,
    /// 1e-8 of base, signed.
    pub qty: i64,
    /// 1e-8 of quote, paid for it; negative for a short.
    pub cost: i128,
    pub created_ms: i64,
    pub updated_ms: i64,
}

impl Position {
    /// Average price, 1e-8, rounded towards zero.
    pub fn base_px(&self) -> i64 {
        if self.qty == 0 {
            return 0;
        }
        i64::try_from(self.cost * 100_000_000 / self.qty as i128).unwrap_or(i64::MAX)
    }
    /// Profit if it were closed at `px`, 1e-8 of quote.
    pub fn profit(&self, px: i64) -> i128 {
        self.qty as i128 * px as i128 / 100_000_000 - self.cost
    }
}

/// An execution of an account's order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnTrade {
    pub id: u64,
    pub symbol: u16,
    pub mts: i64,
    pub order: u64,
    /// 1e-8, signed.
    pub qty: i64,
    pub px: i64,
    /// The order's type.
    pub kind: Kind,
    pub wallet: Wallet,
    pub is_maker: bool,
    /// 1e-8 of `fee_currency`, positive = charged.
    pub fee: i64,
    pub fee_currency: Currency,
    pub cid: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// 1e-8 of the currency.
    pub wallets: BTreeMap<(Wallet, Currency), i128>,
    /// By symbol index.
    pub positions: BTreeMap<u16, Position>,
    /// Oldest first.
    pub trades: VecDeque<OwnTrade>,
    /// Oldest first.
    pub closed: VecDeque<Order>,
    /// Client ids used, by UTC day; two days are kept.
    pub cids: BTreeMap<i64, BTreeSet<u64>>,
    /// Ids of orders that are alive.
    pub open: BTreeSet<u64>,
    /// Highest nonce accepted.
    pub nonce: u64,
    /// Moments of the newest orders, ms, for the order rate.
    pub recent_orders: VecDeque<i64>,
}

impl Account {
    pub fn balance(&self, wallet: Wallet, currency: Currency) -> i128 {
        self.wallets.get(&(wallet, currency)).copied().unwrap_or(0)
    }
    fn add(&mut self, wallet: Wallet, currency: Currency, units: i128) {
        *self.wallets.entry((wallet, currency)).or_default() += units;
    }
    /// Remembers a closed order.
    pub fn remember_order(&mut self, order: Order) {
        if self.closed.len() == HISTORY_MAX {
            self.closed.pop_front();
        }
        self.closed.push_back(order);
    }
    pub fn remember_trade(&mut self, trade: OwnTrade) {
        if self.trades.len() == HISTORY_MAX {
            self.trades.pop_front();
        }
        self.trades.push_back(trade);
    }
}

/// One side of a trade.
#[derive(Clone, Copy, Debug)]
pub struct Leg {
    pub account: u32,
    pub wallet: Wallet,
    pub symbol: u16,
    pub base: Currency,
    pub quote: Currency,
    /// 1e-8 of base, signed: + bought.
    pub qty: i64,
    /// 1e-8 of quote, positive.
    pub value: i64,
    /// Fee rate, 1e-6.
    pub fee_e6: i64,
    pub now_ms: i64,
    /// Id for a position that this trade opens.
    pub position_id: u64,
}

/// What became of a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PositionChange {
    None,
    Opened,
    Updated,
    /// Carries the position as it was before it ended.
    Closed(Position),
}

/// Result of one leg.
#[derive(Clone, Copy, Debug)]
pub struct Settled {
    /// 1e-8 of `fee_currency`.
    pub fee: i64,
    pub fee_currency: Currency,
    pub position: PositionChange,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bank {
    /// Index 0 is the house.
    pub accounts: Vec<Account>,
    /// Fees taken, 1e-8 by currency.
    pub fees: BTreeMap<Currency, i128>,
}

fn fee_of(amount: i64, fee_e6: i64) -> i64 {
    let wide = amount as i128 * fee_e6 as i128;
    ((wide + 500_000) / 1_000_000) as i64
}

impl Bank {
    pub fn account(&self, index: u32) -> &Account {
        &self.accounts[index as usize]
    }
    pub fn account_mut(&mut self, index: u32) -> &mut Account {
        &mut self.accounts[index as usize]
    }
    /// Books one side of a trade. Spot: both currencies move, the fee is taken from what is
    /// received. Margin: the position moves, profit and fee go to the margin wallet in quote
    /// currency.
    pub fn settle(&mut self, leg: Leg) -> Settled {
        let account = &mut self.accounts[leg.account as usize];
        let bought = leg.qty > 0;
        let signed_value = if bought { leg.value as i128 } else { -(leg.value as i128) };
        let (fee, fee_currency, position) = match leg.wallet {
            Wallet::Margin => {
                let change = Self::move_position(account, &leg, signed_value);
                let fee = fee_of(leg.value, leg.fee_e6);
                account.add(Wallet::Margin, leg.quote, -(fee as i128));
                (fee, leg.quote, change)
            }
            wallet => {
                account.add(wallet, leg.base, leg.qty as i128);
                account.add(wallet, leg.quote, -signed_value);
                let (currency, received) = match bought {
                    true => (leg.base, leg.qty),
                    false => (leg.quote, leg.value),
                };
                let fee = fee_of(received, leg.fee_e6);
                account.add(wallet, currency, -(fee as i128));
                (fee, currency, PositionChange::None)
            }
        };
        *self.fees.entry(fee_currency).or_default() += fee as i128;
        Settled { fee, fee_currency, position }
    }
    fn move_position(account: &mut Account, leg: &Leg, value: i128) -> PositionChange {
        let fresh = Position {
            id: leg.position_id,
            qty: leg.qty,
            cost: value,
            created_ms: leg.now_ms,
            updated_ms: leg.now_ms,
        };
        let Some(position) = account.positions.get_mut(&leg.symbol) else {
            account.positions.insert(leg.symbol, fresh);
            return PositionChange::Opened;
        };
        position.updated_ms = leg.now_ms;
        let before = *position;
        if (position.qty > 0) == (leg.qty > 0) {
            position.qty += leg.qty;
            position.cost += value;
            return PositionChange::Updated;
        }
        let closing = leg.qty.abs().min(position.qty.abs());
        let value_closed = value * closing as i128 / leg.qty.abs() as i128;
        let cost_closed = match closing == position.qty.abs() {
            true => position.cost,
            false => position.cost * closing as i128 / position.qty.abs() as i128,
        };
        let direction = if leg.qty > 0 { 1 } else { -1 };
        position.qty += direction * closing;
        position.cost -= cost_closed;
        let was = *position;
        let profit = -value_closed - cost_closed;
        account.add(Wallet::Margin, leg.quote, profit);
        if was.qty != 0 {
            return PositionChange::Updated;
        }
        assert!(was.cost == 0, "a closed position owes nothing");
        account.positions.remove(&leg.symbol);
        let rest = leg.qty - direction * closing;
        if rest != 0 {
            let cost = value - value_closed;
            account.positions.insert(leg.symbol, Position { qty: rest, cost, ..fresh });
        }
        PositionChange::Closed(before)
    }
    /// Sum over all wallets, positions, the house and the fees, by currency: constant for ever.
    /// `pair` tells base and quote of a symbol.
    pub fn totals(&self, pair: impl Fn(u16) -> (Currency, Currency)) -> BTreeMap<Currency, i128> {
        let mut totals = self.fees.clone();
        for account in &self.accounts {
            for ((_, currency), units) in &account.wallets {
                *totals.entry(*currency).or_default() += units;
            }
            for (symbol, position) in &account.positions {
                let (base, quote) = pair(*symbol);
                *totals.entry(base).or_default() += position.qty as i128;
                *totals.entry(quote).or_default() -= position.cost;
            }
        }
        totals.retain(|_, units| *units != 0);
        totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;
    use crate::exchange::number::value_of;

    fn currency(name: &str) -> Currency {
        Currency::new(name).unwrap()
    }
    fn leg(account: u32, wallet: Wallet, qty: i64, px: i64, fee_e6: i64) -> Leg {
        Leg {
            account,
            wallet,
            symbol: 0,
            base: currency("BTC"),
            quote: currency("USD"),
            qty,
            value: value_of(px, qty).abs(),
            fee_e6,
            now_ms: 0,
            position_id: 1,
        }
    }
    const ONE: i64 = 100_000_000;

    #[test]
    fn spot_fees_are_taken_from_what_is_received() {
        let mut bank = Bank { accounts: vec![Account::default(); 2], ..Bank::default() };
        let buy = bank.settle(leg(1, Wallet::Exchange, ONE, 100 * ONE, 2_000));
        assert_eq!((buy.fee, buy.fee_currency), (200_000, currency("BTC")));
        let sell = bank.settle(leg(1, Wallet::Exchange, -ONE, 100 * ONE, 1_000));
        assert_eq!((sell.fee, sell.fee_currency), (10_000_000, currency("USD")));
        assert_eq!(bank.account(1).balance(Wallet::Exchange, currency("BTC")), -200_000);
        assert_eq!(bank.account(1).balance(Wallet::Exchange, currency("USD")), -10_000_000);
    }

    #[test]
    fn a_position_averages_realises_and_flips() {
        let mut bank = Bank { accounts: vec![Account::default(); 2], ..Bank::default() };
        let mut trade = |qty: i64, px: i64| {
            let settled = bank.settle(leg(1, Wallet::Margin, qty * ONE, px * ONE, 0));
            let account = bank.account(1);
            let position = account.positions.get(&0).map(|p| (p.qty / ONE, p.base_px() / ONE));
            (settled.position, position, account.balance(Wallet::Margin, currency("USD")))
        };
        assert_eq!(trade(2, 100), (PositionChange::Opened, Some((2, 100)), 0));
        assert_eq!(trade(2, 200), (PositionChange::Updated, Some((4, 150)), 0));
        assert_eq!(trade(-1, 250).2, 100 * ONE as i128);
        let (change, position, balance) = trade(-5, 140);
        assert!(matches!(change, PositionChange::Closed(_)));
        assert_eq!((position, balance), (Some((-2, 140)), 70 * ONE as i128));
        let was = Position {
            id: 1,
            qty: -2 * ONE,
            cost: -280 * ONE as i128,
            created_ms: 0,
            updated_ms: 0,
        };
        assert_eq!(trade(2, 150), (PositionChange::Closed(was), None, 50 * ONE as i128));
    }

    /// Goal: nothing is made or lost, whatever is traded, between spot and margin parties, with
    /// fees.
    #[test]
    fn totals_never_change() {
        let mut rng = Rng::new(9);
        let mut bank = Bank { accounts: vec![Account::default(); 4], ..Bank::default() };
        for account in &mut bank.accounts {
            account.add(Wallet::Exchange, currency("USD"), 1_000 * ONE as i128);
            account.add(Wallet::Margin, currency("BTC"), 3 * ONE as i128);
        }
        let pair = |_| (currency("BTC"), currency("USD"));
        let before = bank.totals(pair);
        for _ in 0..20_000 {
            let wallet = |rng: &mut Rng| {
                if rng.chance(1, 2) { Wallet::Margin } else { Wallet::Exchange }
            };
            let (qty, px) = (rng.between(1, 3 * ONE), rng.between(1, 90_000 * ONE));
            let buyer = rng.below(4) as u32;
            let seller = rng.below(4) as u32;
            let (a, b) = (wallet(&mut rng), wallet(&mut rng));
            bank.settle(leg(buyer, a, qty, px, 2_000));
            bank.settle(leg(seller, b, -qty, px, 1_000));
        }
        assert_eq!(bank.totals(pair), before);
        assert!(bank.fees.values().all(|fee| *fee > 0));
    }
}
