//! Wallets, positions and fees. Every trade moves the same amounts from one party to the other, so
//! that the sum over all accounts, the house and the fees never changes; `Bank::totals` is that
//! sum.

use super::cids::CidSet;
use super::ledger::{Cause, Entry, LEDGER_MAX, Note};
use super::order::{Kind, Order};
use crate::model::Currency;
use serde::{Deserialize, Serialize, Serializer};
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
    /// With a capital, as texts name it.
    pub const fn title(self) -> &'static str {
        match self {
            Wallet::Exchange => "Exchange",
            Wallet::Margin => "Margin",
            Wallet::Funding => "Funding",
        }
    }
    pub fn by_name(name: &str) -> Option<Wallet> {
        [Wallet::Exchange, Wallet::Margin, Wallet::Funding].into_iter().find(|w| w.name() == name)
    }
}

/// Days that count for the fee tier.
const VOLUME_DAYS: i64 = 30;
/// Positions that ended, kept per account.
const ENDED_MAX: usize = 1_000;

/// A margin or derivative position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub id: u64,
    /// 1e-8 of base, signed.
    pub qty: i64,
    /// 1e-8 of quote, paid for it; negative for a short.
    pub cost: i128,
    /// 1e-8 of quote, taken out of the margin wallet; 0 for a margin position.
    pub collateral: i128,
    /// Of a derivative position; 0 for a margin position.
    pub leverage: u32,
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
    /// Oldest first; the newest are saved.
    #[serde(serialize_with = "newest")]
    pub trades: VecDeque<OwnTrade>,
    /// Oldest first; the newest are saved.
    #[serde(serialize_with = "newest")]
    pub closed: VecDeque<Order>,
    /// Oldest first; the newest are saved.
    #[serde(serialize_with = "newest")]
    pub ledger: VecDeque<Entry>,
    /// Rows the ledger ever had.
    pub ledger_rows: u64,
    /// Positions that ended, with their symbol and as they were before; oldest first.
    #[serde(serialize_with = "newest")]
    pub ended: VecDeque<(u16, Position)>,
    /// Client ids used, by UTC day; two days are kept.
    pub cids: BTreeMap<i64, CidSet>,
    /// Ids of orders that are alive.
    pub open: BTreeSet<u64>,
    /// Highest nonce accepted, by key.
    pub nonces: Vec<u64>,
    /// Moments of the newest orders, ms, for the order rate.
    pub recent_orders: VecDeque<i64>,
    /// `(UTC day, 1e-8 of dollars traded)` of the days that count for the fee tier.
    pub volume: VecDeque<(i64, i128)>,
}

impl Account {
    pub fn balance(&self, wallet: Wallet, currency: Currency) -> i128 {
        self.wallets.get(&(wallet, currency)).copied().unwrap_or(0)
    }
    /// The only way a wallet changes.
    fn add(
        &mut self,
        wallet: Wallet,
        currency: Currency,
        amount: i128,
        why: Option<(Cause, Note)>,
    ) {
        let balance = self.wallets.entry((wallet, currency)).or_default();
        *balance += amount;
        let Some((cause, note)) = why.filter(|_| amount != 0) else { return };
        self.ledger_rows += 1;
        let (id, balance) = (self.ledger_rows, *balance);
        keep(
            &mut self.ledger,
            LEDGER_MAX,
            Entry { id, wallet, currency, amount, balance, cause, note },
        );
    }
    /// Dollars traded in the days that count, 1e-8.
    pub fn volume(&self, today: i64) -> i128 {
        let counts = |(day, _): &&(i64, i128)| *day > today - VOLUME_DAYS;
        self.volume.iter().filter(counts).map(|(_, dollars)| *dollars).sum()
    }
    pub fn add_volume(&mut self, today: i64, dollars: i128) {
        match self.volume.back_mut() {
            Some((day, sum)) if *day == today => *sum += dollars,
            _ => self.volume.push_back((today, dollars)),
        }
        while self.volume.front().is_some_and(|(day, _)| *day <= today - VOLUME_DAYS) {
            self.volume.pop_front();
        }
    }
    /// Remembers a closed order.
    pub fn remember_order(&mut self, order: Order) {
        keep(&mut self.closed, HISTORY_MAX, order);
    }
    pub fn remember_trade(&mut self, trade: OwnTrade) {
        keep(&mut self.trades, HISTORY_MAX, trade);
    }
    pub fn remember_ended(&mut self, symbol: u16, position: Position) {
        keep(&mut self.ended, ENDED_MAX, (symbol, position));
    }
}

/// Rows of each history that are saved with every change; the others are forgotten in a restart.
/// What a client wants after one is what happened last, and all of it would be megabytes a change.
pub const SAVED_ROWS: usize = 500;

fn newest<T: Serialize, S: Serializer>(rows: &VecDeque<T>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(rows.iter().skip(rows.len().saturating_sub(SAVED_ROWS)))
}

/// Adds to a history and forgets the oldest beyond `max`.
pub fn keep<T>(history: &mut VecDeque<T>, max: usize, item: T) {
    if history.len() == max {
        history.pop_front();
    }
    history.push_back(item);
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
    pub px: i64,
    /// 1e-8 of quote, positive.
    pub value: i64,
    /// Fee rate, 1e-6.
    pub fee_e6: i64,
    /// Of a derivative; `None` = spot or margin.
    pub leverage: Option<u32>,
    /// The venue ends the position: a derivative loses no more than its collateral.
    pub is_forced: bool,
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

/// Half units go up: the house never loses by rounding.
fn fee_of(amount: i64, fee_e6: i64) -> i64 {
    let wide = amount as i128 * fee_e6 as i128;
    (wide + 500_000).div_euclid(1_000_000) as i64
}

impl Leg {
    fn why(&self, cause: Cause) -> Option<(Cause, Note)> {
        // The house keeps no ledger: it is party to every trade.
        (self.account != HOUSE).then_some((
            cause,
            Note {
                mts: self.now_ms,
                symbol: self.symbol,
                px: self.px,
                qty: self.qty.saturating_abs(),
                fee_e6: self.fee_e6,
            },
        ))
    }
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
        let fee_why = leg.why(if leg.fee_e6 < 0 { Cause::Rebate } else { Cause::Fee });
        let (fee, fee_currency, position) = match leg.wallet {
            Wallet::Margin => {
                let (change, short) = Self::move_position(account, &leg, signed_value);
                if leg.is_forced && leg.leverage.is_some() && short > 0 {
                    self.insure(&leg, short);
                }
                let account = &mut self.accounts[leg.account as usize];
                let fee = fee_of(leg.value, leg.fee_e6);
                account.add(Wallet::Margin, leg.quote, -(fee as i128), fee_why);
                (fee, leg.quote, change)
            }
            wallet => {
                let why = leg.why(Cause::Exchange);
                account.add(wallet, leg.base, leg.qty as i128, why);
                account.add(wallet, leg.quote, -signed_value, why);
                let (currency, received) = match bought {
                    true => (leg.base, leg.qty),
                    false => (leg.quote, leg.value),
                };
                let fee = fee_of(received, leg.fee_e6);
                account.add(wallet, currency, -(fee as i128), fee_why);
                (fee, currency, PositionChange::None)
            }
        };
        *self.fees.entry(fee_currency).or_default() += fee as i128;
        if let PositionChange::Closed(was) = position {
            self.accounts[leg.account as usize].remember_ended(leg.symbol, was);
            let left = self.account(leg.account).balance(Wallet::Margin, leg.quote);
            if leg.leverage.is_some() && left < 0 {
                self.insure(&leg, -left);
            }
        }
        Settled { fee, fee_currency, position }
    }
    /// What a derivative position lost beyond what is behind it is paid by the insurance fund,
    /// which is the house.
    fn insure(&mut self, leg: &Leg, short: i128) {
        self.accounts[HOUSE as usize].add(Wallet::Margin, leg.quote, -short, None);
        let why = leg.why(Cause::Insurance);
        self.accounts[leg.account as usize].add(Wallet::Margin, leg.quote, short, why);
    }
    /// Moves money between two wallets of an account; false where it is not there.
    pub fn transfer(
        &mut self,
        account: u32,
        wallets: (Wallet, Wallet),
        currency: Currency,
        units: i64,
        mts: i64,
    ) -> bool {
        let account = &mut self.accounts[account as usize];
        if units <= 0 || account.balance(wallets.0, currency) < units as i128 {
            return false;
        }
        let note = Note { mts, symbol: 0, px: 0, qty: units, fee_e6: 0 };
        let why = Some((Cause::Transfer, note));
        account.add(wallets.0, currency, -(units as i128), why);
        account.add(wallets.1, currency, units as i128, why);
        true
    }
    /// Makes a derivative position's collateral this; the difference goes to or comes from the
    /// margin wallet. The caller has checked that it is there.
    pub fn set_collateral(
        &mut self,
        account: u32,
        symbol: u16,
        quote: Currency,
        wanted: i128,
        mts: i64,
    ) {
        let account = &mut self.accounts[account as usize];
        let Some(position) = account.positions.get_mut(&symbol) else { return };
        let more = wanted - position.collateral;
        position.collateral = wanted;
        position.updated_ms = mts;
        let note = Note { mts, symbol, px: 0, qty: 0, fee_e6: 0 };
        account.add(Wallet::Margin, quote, -more, Some((Cause::Collateral, note)));
    }
    /// Takes collateral for `value` of a derivative out of the margin wallet, as far as it goes.
    fn take_collateral(account: &mut Account, leg: &Leg, value: i128) -> i128 {
        let Some(leverage) = leg.leverage else { return 0 };
        let wanted = value.abs() / i128::from(leverage.max(1));
        let there = account.balance(Wallet::Margin, leg.quote).max(0);
        let taken = wanted.min(there);
        account.add(Wallet::Margin, leg.quote, -taken, leg.why(Cause::Collateral));
        taken
    }
    /// What became of the position, and by how much its loss exceeds its collateral.
    fn move_position(account: &mut Account, leg: &Leg, value: i128) -> (PositionChange, i128) {
        let fresh = Position {
            id: leg.position_id,
            qty: leg.qty,
            cost: value,
            collateral: 0,
            leverage: leg.leverage.unwrap_or(0),
            created_ms: leg.now_ms,
            updated_ms: leg.now_ms,
        };
        let Some(before) = account.positions.get(&leg.symbol).copied() else {
            let collateral = Self::take_collateral(account, leg, value);
            account.positions.insert(leg.symbol, Position { collateral, ..fresh });
            return (PositionChange::Opened, 0);
        };
        let mut position = Position { updated_ms: leg.now_ms, ..before };
        if (position.qty > 0) == (leg.qty > 0) {
            position.qty += leg.qty;
            position.cost += value;
            position.collateral += Self::take_collateral(account, leg, value);
            position.leverage = leg.leverage.unwrap_or(0);
            account.positions.insert(leg.symbol, position);
            return (PositionChange::Updated, 0);
        }
        let closing = leg.qty.abs().min(position.qty.abs());
        let ends = closing == position.qty.abs();
        let value_closed = value * closing as i128 / leg.qty.abs() as i128;
        let part = |whole: i128| match ends {
            true => whole,
            false => whole * closing as i128 / position.qty.abs() as i128,
        };
        let (cost_closed, released) = (part(position.cost), part(position.collateral));
        let direction = if leg.qty > 0 { 1 } else { -1 };
        position.qty += direction * closing;
        position.cost -= cost_closed;
        position.collateral -= released;
        let profit = -value_closed - cost_closed;
        account.add(Wallet::Margin, leg.quote, released, leg.why(Cause::Collateral));
        account.add(Wallet::Margin, leg.quote, profit, leg.why(Cause::Settlement));
        let short = -(released + profit);
        if !ends {
            account.positions.insert(leg.symbol, position);
            return (PositionChange::Updated, short);
        }
        assert!(position.cost == 0, "a closed position owes nothing");
        assert!(position.collateral == 0, "a closed position holds nothing");
        account.positions.remove(&leg.symbol);
        let rest = leg.qty - direction * closing;
        if rest != 0 {
            let cost = value - value_closed;
            let collateral = Self::take_collateral(account, leg, cost);
            let opened = Position { qty: rest, cost, collateral, ..fresh };
            account.positions.insert(leg.symbol, opened);
        }
        (PositionChange::Closed(before), short)
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
                *totals.entry(quote).or_default() += position.collateral - position.cost;
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
            px,
            value: value_of(px, qty).abs(),
            fee_e6,
            leverage: None,
            is_forced: false,
            now_ms: 0,
            position_id: 1,
        }
    }
    fn flat() -> Position {
        let (created_ms, updated_ms) = (0, 0);
        Position { id: 1, qty: 0, cost: 0, collateral: 0, leverage: 0, created_ms, updated_ms }
    }
    const ONE: i64 = 100_000_000;

    /// Goal: collateral leaves the wallet with the position and comes back with it, in parts, and
    /// what it does not cover is paid by the insurance fund. 10 times leverage.
    #[test]
    fn a_derivative_position_holds_collateral_and_its_losses_end_with_it() {
        let mut bank = Bank { accounts: vec![Account::default(); 2], ..Bank::default() };
        bank.accounts[1].add(Wallet::Margin, currency("USD"), 100 * ONE as i128, None);
        let before = bank.totals(|_| (currency("BTC"), currency("USD")));
        let mut trade = |qty: i64, px: i64| {
            for (account, qty) in [(1, qty), (0, -qty)] {
                let of_house = leg(account, Wallet::Exchange, qty * ONE, px * ONE, 0);
                let derivative =
                    Leg { wallet: Wallet::Margin, leverage: Some(10), px: px * ONE, ..of_house };
                bank.settle(if account == 1 { derivative } else { of_house });
            }
            let account = bank.account(1);
            let collateral = account.positions.get(&0).map_or(0, |p| p.collateral) / ONE as i128;
            (collateral, account.balance(Wallet::Margin, currency("USD")) / ONE as i128)
        };
        assert_eq!(trade(2, 100), (20, 80));
        assert_eq!(trade(2, 200), (60, 40));
        assert_eq!(trade(-1, 170), (45, 75), "a quarter of the collateral and 20 of profit");
        assert_eq!(trade(-4, 20), (0, 0), "a loss of 390 with 120 behind it");
        let account = bank.account(1);
        let sum: i128 = account.ledger.iter().map(|entry| entry.amount).sum();
        let balance = account.balance(Wallet::Margin, currency("USD"));
        assert_eq!(sum, balance - 100 * ONE as i128, "the ledger tells every change");
        assert_eq!(account.ledger.back().unwrap().balance, balance);
        assert_eq!(account.ended.len(), 1);
        assert_eq!(bank.totals(|_| (currency("BTC"), currency("USD"))), before);
    }

    #[test]
    fn volume_counts_for_thirty_days() {
        let mut account = Account::default();
        account.add_volume(100, 5);
        account.add_volume(100, 6);
        account.add_volume(120, 7);
        assert_eq!((account.volume(129), account.volume(130)), (18, 7));
        account.add_volume(130, 1);
        assert_eq!(account.volume.len(), 2);
    }

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
        let was = Position { qty: -2 * ONE, cost: -280 * ONE as i128, ..flat() };
        assert_eq!(trade(2, 150), (PositionChange::Closed(was), None, 50 * ONE as i128));
    }

    /// Goal: nothing is made or lost, whatever is traded, between spot and margin parties, with
    /// fees.
    #[test]
    fn totals_never_change() {
        let mut rng = Rng::new(9);
        let mut bank = Bank { accounts: vec![Account::default(); 4], ..Bank::default() };
        for account in &mut bank.accounts {
            account.add(Wallet::Exchange, currency("USD"), 1_000 * ONE as i128, None);
            account.add(Wallet::Margin, currency("BTC"), 3 * ONE as i128, None);
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
