//! What survives a restart: accounts, their orders, ids, and how far the market was.

use super::account::Bank;
use super::config::ExchangeError;
use super::core::{Core, ExchangeStats, Ids};
use super::market::SourceState;
use super::matching::Resting;
use super::order::{Kind, Order};
use crate::base::time::WallNs;
use serde::{Deserialize, Serialize};

/// Version of the saved form.
const VERSION: u32 = 2;

/// Everything that is saved, by reference: it is written with every change. Symbols are stored by
/// name, so that a changed list is noticed. Tokens and samples of public histories are not saved.
#[derive(Serialize)]
struct Saving<'a> {
    version: u32,
    symbols: Vec<&'a str>,
    api_keys: Vec<&'a str>,
    now: WallNs,
    bank: &'a Bank,
    orders: Vec<&'a Order>,
    ids: Ids,
    stats: ExchangeStats,
    source: SourceState,
}

/// The same, read back: field by field what [`Saving`] wrote.
#[derive(Deserialize)]
pub(super) struct Saved {
    version: u32,
    symbols: Vec<String>,
    api_keys: Vec<String>,
    now: WallNs,
    bank: Bank,
    orders: Vec<Order>,
    ids: Ids,
    stats: ExchangeStats,
    pub source: SourceState,
}

impl Core {
    pub(super) fn save(&self, source: SourceState) -> Vec<u8> {
        let saved = Saving {
            version: VERSION,
            symbols: self.listings.iter().map(|listing| listing.spec.name.as_str()).collect(),
            api_keys: self.keys().collect(),
            now: self.now,
            bank: &self.bank,
            orders: self.orders.values().collect(),
            ids: self.ids,
            stats: self.stats,
            source,
        };
        // Plain data in memory always serializes; an empty state would be refused at restore.
        postcard::to_stdvec(&saved).unwrap_or_default()
    }
    /// API keys of all accounts, in the order of the config.
    fn keys(&self) -> impl Iterator<Item = &str> {
        self.config.accounts.iter().flat_map(|spec| spec.keys().map(|(key, ..)| key))
    }
    /// Reads saved bytes and checks that they belong to this set-up.
    pub(super) fn read_saved(&self, bytes: &[u8]) -> Result<Saved, ExchangeError> {
        let refused = ExchangeError::State;
        let saved: Saved =
            postcard::from_bytes(bytes).map_err(|_| refused("unreadable or cut short"))?;
        if saved.version != VERSION {
            return Err(refused("written by another version"));
        }
        if saved.bank.accounts.len() != self.config.accounts.len() + 1 {
            return Err(refused("another number of accounts"));
        }
        if !self.keys().eq(saved.api_keys.iter().map(String::as_str)) {
            return Err(refused("other API keys"));
        }
        let names = self.listings.iter().map(|listing| &listing.spec.name);
        if !names.eq(saved.symbols.iter()) {
            return Err(refused("other symbols"));
        }
        let is_listed = |symbol: u16| (symbol as usize) < self.listings.len();
        let all_listed = saved.bank.accounts.iter().all(|account| {
            account.positions.keys().all(|symbol| is_listed(*symbol))
                && account.trades.iter().all(|trade| is_listed(trade.symbol))
                && account.closed.iter().all(|order| is_listed(order.symbol))
                && account.ledger.iter().all(|entry| is_listed(entry.note.symbol))
                && account.ended.iter().all(|(symbol, _)| is_listed(*symbol))
        });
        if !all_listed {
            return Err(refused("a symbol of it is not listed"));
        }
        let specs = self.config.accounts.iter();
        let nonces = saved.bank.accounts.iter().skip(1).map(|account| account.nonces.len());
        if !nonces.eq(specs.map(|spec| spec.keys().count())) {
            return Err(refused("another number of API keys"));
        }
        let fits = |order: &Order| {
            is_listed(order.symbol)
                && (order.account as usize) < saved.bank.accounts.len()
                && order.account > 0
                && order.left > 0
                && (order.px > 0 || order.kind == Kind::TrailingStop)
                && (order.kind.is_stop() || order.kind == Kind::Limit)
        };
        if !saved.orders.iter().all(fits) {
            return Err(refused("an order of it cannot be"));
        }
        Ok(saved)
    }
    /// Takes the saved accounts and orders; the market has been brought to where it was.
    pub(super) fn load(&mut self, saved: Saved) {
        self.set_now(saved.now);
        self.bank = saved.bank;
        self.ids = saved.ids;
        self.stats = saved.stats;
        for order in saved.orders {
            let listing = &mut self.listings[order.symbol as usize];
            if order.until_ms > 0 {
                self.expiries.insert((order.until_ms, order.id));
            }
            if order.kind.is_stop() {
                listing.stops.push(order.id);
            } else if order.kind == Kind::Limit {
                // Older ids first: the order of the map keeps their priority among themselves.
                listing.depth.rest(Resting {
                    id: order.id,
                    owner: order.account,
                    side: order.side,
                    px: order.px,
                    qty: order.left,
                    hidden: order.is_hidden(),
                });
            }
            self.orders.insert(order.id, order);
        }
        for account in &self.bank.accounts {
            for symbol in account.positions.keys() {
                self.listings[*symbol as usize].holders += 1;
            }
        }
        self.is_dirty = false;
    }
}

impl Saved {
    /// Prices at which a generated market goes on.
    pub(super) fn now(&self) -> WallNs {
        self.now
    }
}
