//! The state of the exchange in one place, and the clockwork that has no other home: heartbeats,
//! checksums, tickers, expiries. What orders do is in `desk`, what sockets say in `talk`, what
//! books show in `publish`.

use super::account::{Account, Bank, HOUSE, Wallet};
use super::config::{ExchangeConfig, ExchangeError, SymbolSpec};
use super::depth::Depth;
use super::ghost::GhostStats;
use super::hub::{FeedKey, Hub};
use super::levels::{RowTexts, Window};
use super::market::MarketSource;
use super::matching::{Match, MatchBook};
use super::order::Order;
use super::recorded::Replay;
use super::tape::Tape;
use crate::base::rng::Rng;
use crate::base::time::WallNs;
use crate::base::units::Side;
use crate::model::{Currency, Instrument};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// One instrument and everything about it.
#[derive(Debug)]
pub struct Listing {
    pub spec: SymbolSpec,
    pub base: Currency,
    pub quote: Currency,
    pub depth: Depth,
    pub tape: Tape,
    /// Book feeds, aggregated and raw, of this symbol.
    pub book_feeds: Vec<usize>,
    /// Candle feeds of this symbol.
    pub candle_feeds: Vec<usize>,
    /// Armed stop orders, oldest first.
    pub stops: Vec<u64>,
    /// Stops whose price may have been reached since they were last looked at.
    pub stops_due: bool,
}

impl Listing {
    /// Name without the leading `t`.
    pub fn pair(&self) -> &str {
        &self.spec.name[1..]
    }
    /// Last price, else the middle of the book, else 0.
    pub fn mark(&self) -> i64 {
        let middle = || {
            let (bid, ask) = (self.depth.best(Side::Buy)?, self.depth.best(Side::Sell)?);
            Some(bid / 2 + ask / 2)
        };
        self.tape.last().or_else(middle).unwrap_or(0)
    }
    pub fn is_derivative(&self) -> bool {
        self.spec.name.contains("F0")
    }
}

/// Counters of ids handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ids {
    pub order: u64,
    pub trade: u64,
    pub position: u64,
}

/// What happened so far; for reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExchangeStats {
    /// Orders of accounts accepted.
    pub orders: u64,
    /// Requests of accounts refused.
    pub refused: u64,
    /// Executions of accounts' orders.
    pub fills: u64,
    /// Orders of accounts cancelled by them.
    pub canceled: u64,
    /// Steps of the market taken.
    pub steps: u64,
    /// Public trades made here.
    pub trades: u64,
    /// Checksums computed.
    pub checksums: u64,
    /// Client messages that were no JSON.
    pub garbage: u64,
    /// Array frames of a recording passed on.
    pub recorded: u64,
    /// Lines of a recording that could not be read or belong to no channel served.
    pub recorded_unknown: u64,
    /// Recorded states in which the best bid was not below the best ask.
    pub recorded_crossed: u64,
}

/// Ticks that come round by themselves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticks {
    pub checksum_at: WallNs,
    pub slow_at: WallNs,
    pub ticker_at: WallNs,
    pub status_at: WallNs,
}

/// Tick of slow (F1) books, ms.
const SLOW_MS: i64 = 2_000;
/// Tick of derivative status, ms.
const STATUS_MS: i64 = 1_000;

pub struct Core {
    pub(super) config: ExchangeConfig,
    pub(super) now: WallNs,
    pub(super) hub: Hub,
    pub(super) listings: Vec<Listing>,
    pub(super) by_name: BTreeMap<String, u16>,
    pub(super) bank: Bank,
    /// Orders of accounts that are alive.
    pub(super) orders: BTreeMap<u64, Order>,
    /// `(ms, order)` of orders with an end.
    pub(super) expiries: BTreeSet<(i64, u64)>,
    pub(super) ids: Ids,
    pub(super) replay: Replay,
    pub(super) stats: ExchangeStats,
    pub(super) is_dirty: bool,
    pub(super) in_maintenance: bool,
    /// Nothing but cancels is taken.
    pub(super) is_cancel_only: bool,
    pub(super) server_id: String,
    /// True once the market runs; before, nobody is rate-limited.
    pub(super) has_started: bool,
    /// REST calls by endpoint class: start of the minute (ms) and count.
    pub(super) rest_calls: BTreeMap<&'static str, (i64, u32)>,
    pub(super) ticks: Ticks,
    /// Symbols whose books the house changed in the running step of the market.
    pub(super) unsent_books: Vec<u16>,
    pub(super) scratch: Scratch,
}

/// Buffers reused so that the public stream does not allocate.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub body: Vec<u8>,
    pub rows: RowTexts,
    pub window: Window,
    pub matches: Vec<Match>,
}

impl Core {
    pub(super) fn new(
        config: ExchangeConfig,
        source: &dyn MarketSource,
    ) -> Result<Core, ExchangeError> {
        let mut config = config;
        // The source knows its symbols by their place, so its own come first and in its order.
        let named = source.symbols();
        let mut specs: Vec<SymbolSpec> = named.iter().map(|name| SymbolSpec::named(name)).collect();
        for spec in config.symbols.drain(..) {
            match specs.iter_mut().find(|own| own.name == spec.name) {
                Some(own) => *own = spec,
                // A recording lists what it recorded, nothing else: other books would be empty for
                // ever.
                None if source.is_recording() => {}
                None => specs.push(spec),
            }
        }
        config.symbols = specs;
        config.check()?;
        let mut listings = Vec::with_capacity(config.symbols.len());
        let mut by_name = BTreeMap::new();
        for (index, spec) in config.symbols.iter().enumerate() {
            let split = Instrument::split_name(&spec.name);
            let (base, quote) =
                split.ok_or_else(|| ExchangeError::SymbolName(spec.name.clone()))?;
            let depth = match source.is_recording() {
                true => Depth::Recorded(Box::default()),
                false => Depth::Matched(MatchBook::default()),
            };
            let mut tape = Tape::default();
            for candle in source.history(&spec.name) {
                tape.push_history(candle);
            }
            by_name.insert(spec.name.clone(), index as u16);
            listings.push(Listing {
                spec: spec.clone(),
                base,
                quote,
                depth,
                tape,
                book_feeds: Vec::new(),
                candle_feeds: Vec::new(),
                stops: Vec::new(),
                stops_due: false,
            });
        }
        let mut rng = Rng::new(config.seed);
        let mut hub = Hub::new(10_000 + rng.below(400_000), config.heartbeat_ms);
        let server_id = uuid_text(&mut rng);
        let mut bank = Bank { accounts: vec![Account::default()], ..Bank::default() };
        for spec in &config.accounts {
            let mut account = Account::default();
            for (wallet, currency, units) in &spec.balances {
                let bad = || ExchangeError::Balance(format!("{wallet} {currency}"));
                let wallet = Wallet::by_name(wallet).ok_or_else(bad)?;
                let currency = Currency::new(currency).ok_or_else(bad)?;
                account.wallets.insert((wallet, currency), *units as i128);
            }
            bank.accounts.push(account);
        }
        let now = source.next_at().unwrap_or(config.start_at);
        let replay = Replay::new(source, &by_name, &mut hub);
        let config_ticks = Ticks {
            checksum_at: WallNs(now.0 + config.checksum_ms * 1_000_000),
            slow_at: WallNs(now.0 + SLOW_MS * 1_000_000),
            ticker_at: WallNs(now.0 + config.ticker_ms * 1_000_000),
            status_at: WallNs(now.0 + STATUS_MS * 1_000_000),
        };
        let ids = Ids {
            order: 40_000_000_000 + rng.below(1_000_000),
            trade: 1_800_000_000 + rng.below(1_000_000),
            position: 150_000_000 + rng.below(1_000_000),
        };
        let mut core = Core {
            config,
            now,
            hub,
            listings,
            by_name,
            bank,
            orders: BTreeMap::new(),
            expiries: BTreeSet::new(),
            ids,
            replay,
            stats: ExchangeStats::default(),
            is_dirty: false,
            in_maintenance: false,
            is_cancel_only: false,
            server_id,
            has_started: false,
            rest_calls: BTreeMap::new(),
            ticks: config_ticks,
            unsent_books: Vec::new(),
            scratch: Scratch::default(),
        };
        core.list_recorded_feeds();
        Ok(core)
    }
    /// Why no order is taken at the moment; cancels always are.
    pub(super) fn closed_because(&self) -> Option<&'static str> {
        match (self.in_maintenance, self.is_cancel_only) {
            (true, _) => Some("maintenance"),
            (false, true) => Some("Invalid order: cancel only mode"),
            (false, false) => None,
        }
    }
    pub(super) fn listing(&self, symbol: u16) -> &Listing {
        &self.listings[symbol as usize]
    }
    pub(super) fn symbol_name(&self, symbol: u16) -> &str {
        &self.listings[symbol as usize].spec.name
    }
    /// Symbol by name, with or without the leading `t`.
    pub(super) fn find_symbol(&self, name: &str) -> Option<u16> {
        if let Some(symbol) = self.by_name.get(name) {
            return Some(*symbol);
        }
        self.by_name.get(&["t", name].concat()).copied()
    }
    /// Index of the account that owns an API key; the house has none.
    pub(super) fn find_account(&self, api_key: &str) -> Option<u32> {
        let at = self.config.accounts.iter().position(|account| account.api_key == api_key)?;
        Some(at as u32 + 1)
    }
    /// The clock never runs backwards, whatever the caller says.
    pub(super) fn set_now(&mut self, now: WallNs) {
        self.now = self.now.max(now);
    }
    pub(super) fn now_ms(&self) -> i64 {
        self.now.as_ms()
    }
    /// Next tick of the clockwork.
    pub(super) fn next_tick(&self) -> WallNs {
        let ticks = &self.ticks;
        let mut next =
            ticks.checksum_at.min(ticks.slow_at).min(ticks.ticker_at).min(ticks.status_at);
        if let Some(beat) = self.hub.next_beat() {
            next = next.min(beat);
        }
        if let Some((ms, _)) = self.expiries.first() {
            next = next.min(WallNs::from_ms(*ms));
        }
        next
    }
    /// Does what the clock asks for at `now`.
    pub(super) fn tick(&mut self, recording_runs: bool) {
        let now = self.now;
        if self.hub.next_beat().is_some_and(|at| at <= now) {
            self.hub.beat(now, recording_runs);
        }
        while let Some((ms, id)) = self.expiries.first().copied() {
            if WallNs::from_ms(ms) > now {
                break;
            }
            self.expiries.remove(&(ms, id));
            self.cancel_order(id);
        }
        let after = |ms: i64| WallNs(now.0 + ms * 1_000_000);
        if self.ticks.slow_at <= now {
            self.ticks.slow_at = after(SLOW_MS);
            self.publish_slow_books();
        }
        if self.ticks.checksum_at <= now {
            self.ticks.checksum_at = after(self.config.checksum_ms);
            self.publish_checksums();
        }
        if self.ticks.ticker_at <= now {
            self.ticks.ticker_at = after(self.config.ticker_ms);
            self.publish_tickers();
        }
        if self.ticks.status_at <= now {
            self.ticks.status_at = after(STATUS_MS);
            self.publish_statuses();
        }
    }
    /// Feeds of a key, registered with their symbol.
    pub(super) fn open_feed(&mut self, key: FeedKey) -> usize {
        let is_new = self.hub.find_feed(key).is_none();
        let feed = self.hub.feed(key);
        if is_new {
            self.register_feed(key, feed);
        }
        feed
    }
    pub(super) fn register_feed(&mut self, key: FeedKey, feed: usize) {
        let listing = &mut self.listings[key.symbol() as usize];
        match key {
            FeedKey::Book { .. } | FeedKey::Raw { .. } => listing.book_feeds.push(feed),
            FeedKey::Candles { .. } => listing.candle_feeds.push(feed),
            _ => {}
        }
    }
    /// Sum of all money by currency; constant over the life of the exchange.
    pub(super) fn totals(&self) -> BTreeMap<Currency, i128> {
        self.bank.totals(|symbol| {
            let listing = self.listing(symbol);
            (listing.base, listing.quote)
        })
    }
    pub(super) fn ghost_stats(&self) -> GhostStats {
        let mut sum = GhostStats::default();
        for listing in &self.listings {
            if let Depth::Recorded(book) = &listing.depth {
                sum.rested += book.stats.rested;
                sum.filled_by_queue += book.stats.filled_by_queue;
                sum.filled_through += book.stats.filled_through;
                sum.filled_by_level += book.stats.filled_by_level;
                sum.taken += book.stats.taken;
            }
        }
        sum
    }
    pub(super) fn next_order_id(&mut self) -> u64 {
        self.ids.order += 1;
        self.ids.order
    }
    pub(super) fn next_trade_id(&mut self) -> u64 {
        self.ids.trade += 1;
        self.ids.trade
    }
}

/// Index check used where an account index comes from outside.
pub(super) const fn is_house(account: u32) -> bool {
    account == HOUSE
}

/// Text in the form of a UUID, from the seed.
pub(super) fn uuid_text(rng: &mut Rng) -> String {
    let (a, b) = (rng.next_u64(), rng.next_u64());
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        a >> 32,
        (a >> 16) & 0xffff,
        a & 0xfff,
        b >> 52,
        b & 0xffff_ffff_ffff
    )
}
