//! The state of the exchange in one place, and the clockwork that has no other home: heartbeats,
//! checksums, tickers, expiries. What orders do is in `desk`, what sockets say in `talk`, what
//! books show in `publish`.

use super::account::{Account, Bank, HOUSE, Wallet, keep};
use super::config::{ExchangeConfig, ExchangeError, SymbolSpec};
use super::depth::Depth;
use super::ghost::GhostStats;
use super::hub::{FeedKey, Hub};
use super::json::push_text;
use super::levels::{RowTexts, Window};
use super::login::Token;
use super::market::MarketSource;
use super::matching::{Match, MatchBook};
use super::number::{push_i64, push_number, push_u64};
use super::order::Order;
use super::recorded::Replay;
use super::talk::Due;
use super::tape::Tape;
use crate::base::rng::Rng;
use crate::base::time::WallNs;
use crate::base::units::Side;
use crate::model::{Currency, Instrument};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

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
    /// Accounts with a position in it.
    pub holders: u32,
    /// Best bid and ask at full hours, oldest first.
    pub touches: VecDeque<TouchSample>,
    /// `(ms, mark)` of a derivative at full minutes, oldest first.
    pub marks: VecDeque<(i64, i64)>,
}

/// Best bid and ask at a moment; 0 = none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TouchSample {
    pub mts: i64,
    pub bid: i64,
    pub ask: i64,
}

/// A position that the venue ended, as `liquidations/hist` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Liquidation {
    pub position: u64,
    pub mts: i64,
    pub symbol: u16,
    /// 1e-8, as the position was.
    pub qty: i64,
    pub base_px: i64,
    /// Average price of its end; 0 = not executed.
    pub px: i64,
}

impl Liquidation {
    /// Writes `["pos",ID,MTS,_,SYMBOL,AMOUNT,BASE_PRICE,_,IS_MATCH,IS_MARKET_SOLD,_,PRICE]`.
    /// Without a match it is the trigger, which has no price yet.
    pub fn push_array(&self, out: &mut Vec<u8>, symbol: &str, is_match: bool) {
        out.extend_from_slice(b"[\"pos\",");
        push_u64(out, self.position);
        out.push(b',');
        push_i64(out, self.mts);
        out.extend_from_slice(b",null,");
        push_text(out, symbol);
        for number in [self.qty, self.base_px] {
            out.push(b',');
            push_number(out, number);
        }
        if is_match {
            out.extend_from_slice(b",null,1,1,null,");
            push_number(out, self.px);
        } else {
            out.extend_from_slice(b",null,0,0,null,null");
        }
        out.push(b']');
    }
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
    /// Positions of accounts ended for want of margin.
    pub forced: u64,
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
    pub sample_at: WallNs,
}

/// Tick of slow (F1) books, ms.
const SLOW_MS: i64 = 2_000;
/// Tick of derivative status, ms.
const STATUS_MS: i64 = 1_000;
/// Tick of the samples that histories are made of, ms; bids and asks are kept at full hours.
const SAMPLE_MS: i64 = 60_000;
const HOUR_MS: i64 = 3_600_000;
/// Samples kept per symbol, of either kind.
const SAMPLES_MAX: usize = 5_000;
/// Ended positions kept for the public list.
pub(super) const LIQUIDATIONS_MAX: usize = 1_000;

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
    pub(super) tokens: Vec<Token>,
    pub(super) token_rng: Rng,
    /// What sockets are told later, by when it is due and a running number.
    pub(super) dues: BTreeMap<(WallNs, u64), Due>,
    pub(super) dues_planned: u64,
    pub(super) ack_rng: Rng,
    /// True once the market runs; before, nobody is rate-limited.
    pub(super) has_started: bool,
    /// REST calls by endpoint class: start of the minute (ms) and count.
    pub(super) rest_calls: BTreeMap<&'static str, (i64, u32)>,
    /// Nobody is served over REST before this moment.
    pub(super) rest_blocked_until_ms: i64,
    /// Minute, and refusals in it; blocks begun so far.
    pub(super) rest_refusals: (i64, u32),
    pub(super) rest_blocks: u64,
    pub(super) liquidations: VecDeque<Liquidation>,
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
                holders: 0,
                touches: VecDeque::new(),
                marks: VecDeque::new(),
            });
        }
        let mut rng = Rng::new(config.seed);
        let mut hub = Hub::new(10_000 + rng.below(400_000), config.heartbeat_ms);
        let server_id = uuid_text(&mut rng);
        let mut bank = Bank { accounts: vec![Account::default()], ..Bank::default() };
        for spec in &config.accounts {
            let nonces = vec![0; spec.keys().count()];
            let mut account = Account { nonces, ..Account::default() };
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
            sample_at: now,
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
            tokens: Vec::new(),
            token_rng: Rng::new(rng.next_u64()),
            dues: BTreeMap::new(),
            dues_planned: 0,
            ack_rng: Rng::new(rng.next_u64()),
            has_started: false,
            rest_calls: BTreeMap::new(),
            rest_blocked_until_ms: 0,
            rest_refusals: (0, 0),
            rest_blocks: 0,
            liquidations: VecDeque::new(),
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
    /// Account that owns an API key, and the key's place among its own; the house has none.
    pub(super) fn find_key(&self, api_key: &str) -> Option<(u32, usize)> {
        self.config.accounts.iter().enumerate().find_map(|(at, account)| {
            let key = account.keys().position(|(key, ..)| key == api_key)?;
            Some((at as u32 + 1, key))
        })
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
        next = next.min(ticks.sample_at);
        if let Some(beat) = self.hub.next_beat() {
            next = next.min(beat);
        }
        if let Some(((at, _), _)) = self.dues.first_key_value() {
            next = next.min(*at);
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
        self.tell_due();
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
        if self.ticks.sample_at <= now {
            let minute = now.as_ms().div_euclid(SAMPLE_MS);
            self.ticks.sample_at = WallNs::from_ms((minute + 1) * SAMPLE_MS);
            self.take_samples(minute * SAMPLE_MS);
        }
    }
    fn take_samples(&mut self, mts: i64) {
        for listing in &mut self.listings {
            if mts % HOUR_MS == 0 || listing.touches.is_empty() {
                let best = |side| listing.depth.public_best(side).unwrap_or(0);
                let (bid, ask) = (best(Side::Buy), best(Side::Sell));
                keep(&mut listing.touches, SAMPLES_MAX, TouchSample { mts, bid, ask });
            }
            if listing.is_derivative() {
                let mark = listing.mark();
                keep(&mut listing.marks, SAMPLES_MAX, (mts, mark));
            }
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
