//! What tests of the exchange share: a small seeded market, and our own client on a direct wire.

use genesis::base::ids::SymbolId;
use genesis::base::rng::Rng;
use genesis::base::time::{MonoNs, SpanNs, WallNs};
use genesis::base::units::{Qty, Side};
use genesis::exchange::{
    Candle, Exchange, ExchangeConfig, Floor, HttpReply, HttpRequest, MarketSource, Outgoing,
    SourceState,
};
use genesis::model::{
    Bar, Body, ChannelKind, ChannelQuiet, DerivStatus, Instrument, LinkState, SymbolName,
    SymbolSync, Ticker,
};
use genesis::venue::private::{BodySink, PrivateConfig, PrivateSession};
use genesis::venue::public::{
    BookRef, FeedSink, PublicConfig, PublicSession, PublicTrade, Subscription,
};
use genesis::venue::rest::{Method, RestCall};
use genesis::venue::sign::ApiKey;
use genesis::venue::symbols::SymbolTable;
use std::collections::BTreeMap;

pub const ONE: i64 = 100_000_000;
/// 2025-01-01 00:00 UTC.
pub const START: WallNs = WallNs::from_ms(1_735_689_600_000);

/// A ladder of orders round 100 that is added to, cancelled and taken from, in the order of a seed.
pub struct Ladder {
    symbols: Vec<String>,
    rng: Rng,
    now: WallNs,
    step_ns: i64,
    resting: Vec<(usize, u64)>,
    steps: u64,
    /// Nothing but the first ladder.
    is_still: bool,
}

impl Ladder {
    pub fn new(symbols: &[&str], seed: u64) -> Ladder {
        let symbols = symbols.iter().map(|name| (*name).to_owned()).collect();
        let (rng, step_ns) = (Rng::new(seed), 50_000_000);
        Ladder { symbols, rng, now: START, step_ns, resting: Vec::new(), steps: 0, is_still: false }
    }
    pub fn still(symbols: &[&str]) -> Ladder {
        Ladder { is_still: true, ..Ladder::new(symbols, 1) }
    }
}

impl MarketSource for Ladder {
    fn symbols(&self) -> Vec<String> {
        self.symbols.clone()
    }
    fn history(&self, _symbol: &str) -> Vec<Candle> {
        let minute = |at: i64| Candle {
            mts: START.as_ms() - at * 60_000,
            open: 100 * ONE,
            close: 101 * ONE,
            high: 102 * ONE,
            low: 99 * ONE,
            volume: ONE,
        };
        (1..=300).rev().map(minute).collect()
    }
    fn next_at(&self) -> Option<WallNs> {
        (!self.is_still || self.steps == 0).then_some(self.now)
    }
    fn step(&mut self, floor: &mut dyn Floor) {
        self.now.0 += self.step_ns;
        self.steps += 1;
        if self.steps == 1 {
            for symbol in 0..self.symbols.len() {
                for level in 1..=40 {
                    for side in [Side::Buy, Side::Sell] {
                        let px = 100 * ONE - side.sign() * level * ONE / 100;
                        let id = floor.house_limit(symbol, side, px, ONE);
                        self.resting.extend(id.map(|id| (symbol, id)));
                    }
                }
            }
            return;
        }
        let symbol = self.rng.below(self.symbols.len() as u64) as usize;
        let side = if self.rng.chance(1, 2) { Side::Buy } else { Side::Sell };
        match self.rng.below(10) {
            0 => drop(floor.house_take(symbol, side, self.rng.between(1, 3 * ONE))),
            1..=4 if self.resting.len() > 60 * self.symbols.len() => {
                let at = self.rng.below(self.resting.len() as u64) as usize;
                let (symbol, id) = self.resting.swap_remove(at);
                floor.house_cancel(symbol, id);
            }
            _ => {
                let middle = match (floor.best(symbol, Side::Buy), floor.best(symbol, Side::Sell)) {
                    (Some(bid), Some(ask)) => (bid + ask) / 2,
                    _ => 100 * ONE,
                };
                let away = self.rng.between(-3, 40) * ONE / 100;
                let px = middle / (ONE / 100) * (ONE / 100) - side.sign() * away;
                let id = floor.house_limit(symbol, side, px, self.rng.between(1, 2 * ONE));
                self.resting.extend(id.map(|id| (symbol, id)));
            }
        }
    }
    fn state(&self) -> SourceState {
        SourceState { position: self.steps, numbers: Vec::new() }
    }
    fn resume(&mut self, _state: &SourceState, now: WallNs) {
        self.now = now;
    }
}

pub fn exchange(config: ExchangeConfig, source: impl MarketSource + 'static) -> Exchange {
    Exchange::new(config, Box::new(source)).unwrap()
}

pub fn table(names: &[&str]) -> SymbolTable {
    let rows = names.iter().enumerate().map(|(index, name)| {
        let (base, quote) = Instrument::split_name(name).unwrap();
        Instrument {
            id: SymbolId(index as u16),
            name: SymbolName::new(name).unwrap(),
            base,
            quote,
            qty_min: Qty::from_raw(1),
            qty_max: Qty::MAX,
        }
    });
    SymbolTable::new(&rows.collect::<Vec<_>>())
}

/// Frames by connection, as they were handed over.
#[derive(Default)]
pub struct Wire(pub BTreeMap<u64, Vec<String>>);

impl Outgoing for Wire {
    fn text(&mut self, conn: u64, payload: &[u8]) {
        self.0.entry(conn).or_default().push(String::from_utf8(payload.to_vec()).unwrap());
    }
    fn close(&mut self, conn: u64) {
        self.0.entry(conn).or_default().push("(close)".to_owned());
    }
}

/// What the sessions told.
#[derive(Default)]
pub struct Heard {
    pub trades: Vec<(PublicTrade, bool)>,
    pub tickers: Vec<Ticker>,
    pub candles: u64,
    pub statuses: u64,
    pub books: u64,
    pub synced: u64,
    pub links: Vec<(LinkState, i32)>,
    pub bodies: Vec<Body>,
    pub refused: Vec<i32>,
    pub last_time: WallNs,
}

impl FeedSink for Heard {
    fn book(&mut self, _: SymbolId, book: BookRef<'_>, _: WallNs, _: u16) {
        self.books += 1;
        self.synced += u64::from(book.is_synced());
    }
    fn trade(&mut self, _: SymbolId, trade: PublicTrade, snapshot: bool) {
        self.trades.push((trade, snapshot));
    }
    fn ticker(&mut self, ticker: Ticker) {
        self.tickers.push(ticker);
    }
    fn status(&mut self, _: DerivStatus) {
        self.statuses += 1;
    }
    fn candle(&mut self, _: Bar, _: bool) {
        self.candles += 1;
    }
    fn sync(&mut self, _: SymbolSync) {}
    fn quiet(&mut self, _: ChannelQuiet) {}
    fn link(&mut self, state: LinkState, code: i32) {
        self.links.push((state, code));
    }
    fn market_time(&mut self, at: WallNs) {
        assert!(at >= self.last_time, "the market's clock never runs backwards");
        self.last_time = at;
    }
    fn ws_gap(&mut self, _: SymbolId, _: ChannelKind, _: u64) {}
    fn refused(&mut self, _: &Subscription, code: i32) {
        self.refused.push(code);
    }
}
impl BodySink for Heard {
    fn body(&mut self, body: Body) {
        self.bodies.push(body);
    }
    fn market_time(&mut self, at: WallNs) {
        FeedSink::market_time(self, at);
    }
}

/// Our client's session of either kind on a wire without sockets.
pub struct Public {
    pub conn: u64,
    pub session: PublicSession,
    pub heard: Heard,
}

impl Public {
    pub fn open(
        exchange: &mut Exchange,
        conn: u64,
        now: WallNs,
        flags: u32,
        names: &[&str],
        subscriptions: &[Subscription],
    ) -> Public {
        let config = PublicConfig { flags, ..PublicConfig::default() };
        let mut session = PublicSession::new(config, subscriptions, table(names));
        let mut heard = Heard::default();
        exchange.connect(conn, now);
        session.on_open(mono(now), &mut heard);
        Public { conn, session, heard }
    }
    /// Sends what the session has to say.
    pub fn speak(&mut self, exchange: &mut Exchange, now: WallNs) {
        let mut out = [0u8; 1024];
        self.session.on_time(mono(now), &mut self.heard);
        while let Some(len) = self.session.poll_transmit(mono(now), &mut out) {
            exchange.on_text(self.conn, &out[..len], now);
        }
    }
    pub fn hear(&mut self, texts: &[String], now: WallNs) {
        for text in texts {
            self.session.on_message(text.as_bytes(), mono(now), &mut self.heard);
        }
    }
}

/// The account's session.
pub struct Private {
    pub conn: u64,
    pub session: PrivateSession,
    pub heard: Heard,
}

impl Private {
    pub fn open(exchange: &mut Exchange, conn: u64, now: WallNs, nonce: u64) -> Private {
        Private::open_as(exchange, conn, now, nonce, ("embedded-key", "embedded-secret"), false)
    }
    pub fn open_as(
        exchange: &mut Exchange,
        conn: u64,
        now: WallNs,
        nonce: u64,
        (id, secret): (&str, &str),
        dms: bool,
    ) -> Private {
        let key = ApiKey::new(id, secret.as_bytes()).unwrap();
        let config = PrivateConfig { dms, ..PrivateConfig::default() };
        let mut session = PrivateSession::new(config, key, table(&["tBTCUSD", "tETHUSD"]));
        let mut heard = Heard::default();
        exchange.connect(conn, now);
        session.on_open(mono(now), nonce, &mut heard);
        let mut private = Private { conn, session, heard };
        private.speak(exchange, now);
        private
    }
    pub fn speak(&mut self, exchange: &mut Exchange, now: WallNs) {
        let mut out = [0u8; 1024];
        while let Some(len) = self.session.poll_transmit(mono(now), &mut out) {
            exchange.on_text(self.conn, &out[..len], now);
        }
    }
    pub fn hear(&mut self, texts: &[String], now: WallNs) {
        for text in texts {
            self.session.on_message(text.as_bytes(), mono(now), &mut self.heard);
        }
    }
    /// What was told since the last call.
    pub fn take(&mut self) -> Vec<Body> {
        std::mem::take(&mut self.heard.bodies)
    }
}

pub fn mono(now: WallNs) -> MonoNs {
    MonoNs(1_000_000_000 + (now.0 - START.0).max(0) as u64)
}

/// Everything waiting, by connection.
pub fn drain(exchange: &mut Exchange) -> BTreeMap<u64, Vec<String>> {
    let mut wire = Wire::default();
    exchange.drain(&mut wire);
    wire.0
}

/// Lets the market run to `until`.
pub fn run_to(exchange: &mut Exchange, until: WallNs) {
    while exchange.advance(until, 1_000) > 0 {}
}

pub fn after(from: WallNs, ms: i64) -> WallNs {
    from + SpanNs::from_ms(ms)
}

/// A REST call as our client writes and signs it.
pub fn rest(
    exchange: &mut Exchange,
    call: &RestCall,
    table: &SymbolTable,
    nonce: u64,
    now: WallNs,
) -> HttpReply {
    let (mut path, mut body) = ([0u8; 256], [0u8; 1024]);
    let path_len = call.write_path(table, &mut path).unwrap();
    let body_len = call.write_body(table, &mut body).unwrap();
    let path = std::str::from_utf8(&path[..path_len]).unwrap();
    let body = &body[..body_len];
    let key = ApiKey::new("embedded-key", b"embedded-secret").unwrap();
    let (nonce_text, signature) = (nonce.to_string(), key.sign_rest(path, nonce, body));
    let full = format!("/v2/{path}");
    let signed = call.is_private();
    let request = HttpRequest {
        method: if call.method() == Method::Get { "GET" } else { "POST" },
        path_and_query: &full,
        api_key: signed.then_some("embedded-key"),
        nonce: signed.then_some(&nonce_text),
        signature: signed.then_some(signature.as_str()),
        token: None,
        if_none_match: None,
        body,
    };
    exchange.rest(&request, now)
}
