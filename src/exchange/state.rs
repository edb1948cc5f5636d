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
const VERSION: u32 = 1;

/// Everything that is saved. Symbols are stored by name, so that a changed list is noticed.
#[derive(Serialize, Deserialize)]
pub(super) struct Saved {
    version: u32,
    symbols: Vec<String>,
    api_keys: Vec<String>,
    now: WallNs,
    bank: Bank,
    orders: Vec<Order>,
    ids: Ids,
    stats: ExchangeStats,
    last_px: Vec<i64>,
    pub source: SourceState,
}

impl Core {
    pub(super) fn save(&self, source: SourceState) -> Vec<u8> {
        let saved = Saved {
            version: VERSION,
            symbols: self.listings.iter().map(|listing| listing.spec.name.clone()).collect(),
            api_keys: self.config.accounts.iter().map(|spec| spec.api_key.clone()).collect(),
            now: self.now,
            bank: self.bank.clone(),
            orders: self.orders.values().cloned().collect(),
            ids: self.ids,
            stats: self.stats,
            last_px: self.listings.iter().map(|listing| listing.mark()).collect(),
            source,
        };
        // Plain data in memory always serializes; an empty state would be refused at restore.
        postcard::to_stdvec(&saved).unwrap_or_default()
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
        let keys = self.config.accounts.iter().map(|spec| &spec.api_key);
        if !keys.eq(saved.api_keys.iter()) {
            return Err(refused("other API keys"));
        }
        let names = self.listings.iter().map(|listing| &listing.spec.name);
        if !names.eq(saved.symbols.iter()) {
            return Err(refused("other symbols"));
        }
        let fits = |order: &Order| {
            (order.symbol as usize) < self.listings.len()
                && (order.account as usize) < saved.bank.accounts.len()
                && order.account > 0
                && order.left > 0
                && order.px >= 0
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
        self.is_dirty = false;
    }
}

impl Saved {
    /// Prices at which a generated market goes on.
    pub(super) fn now(&self) -> WallNs {
        self.now
    }
}
