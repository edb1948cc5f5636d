//! A small language for tests of order entry: commands of two accounts and of the house, and the
//! transcript of what the accounts are told.
//!
//! ```text
//! market bid 99 5              a resting order of the house (also `ask`)
//! market buy 2                 the house takes (also `sell`)
//! a on EXCHANGE LIMIT 1 @100 flags=4096      an order: type, amount, price, further fields
//! a ou #1 amount=2 price=99    #1 = the first order of the transcript
//! a oc #1
//! a raw [0,"oc_multi",null,{"all":1}]
//! a state                      wallets that changed, positions, open orders
//! book                         the public book
//! wait 2500                    milliseconds of market time
//! ```

use super::json::Json;
use super::market::{Floor, MarketSource, SourceState};
use super::number::read_number;
use super::*;
use crate::base::units::Side;

pub const START: WallNs = WallNs::from_ms(1_735_689_600_000);

/// A market in which nothing happens by itself.
pub struct Still(pub Vec<String>);

impl MarketSource for Still {
    fn symbols(&self) -> Vec<String> {
        self.0.clone()
    }
    fn history(&self, _symbol: &str) -> Vec<Candle> {
        Vec::new()
    }
    fn next_at(&self) -> Option<WallNs> {
        None
    }
    fn step(&mut self, _floor: &mut dyn Floor) {}
    fn state(&self) -> SourceState {
        SourceState::default()
    }
    fn resume(&mut self, _state: &SourceState, _now: WallNs) {}
}

#[derive(Default)]
pub struct Taken(pub Vec<(u64, String)>);
impl Outgoing for Taken {
    fn text(&mut self, conn: u64, payload: &[u8]) {
        self.0.push((conn, String::from_utf8(payload.to_vec()).unwrap()));
    }
    fn close(&mut self, conn: u64) {
        self.0.push((conn, "(close)".to_owned()));
    }
}
pub fn drain(exchange: &mut Exchange) -> Vec<(u64, String)> {
    let mut taken = Taken::default();
    exchange.drain(&mut taken);
    taken.0
}

pub fn login_text(key: &str, secret: &str, nonce: u64, more: &str) -> String {
    let payload = format!("AUTH{nonce}");
    let signature = sign::sign(secret, &[payload.as_bytes()]);
    format!(
        r#"{{"event":"auth","apiKey":"{key}","authSig":"{signature}","authPayload":"{payload}","authNonce":{nonce}{more}}}"#
    )
}

/// An account of 1,000 USD and 10 BTC in both wallets, whose key is its name.
pub fn account(name: &str) -> AccountSpec {
    let mut spec = AccountSpec::funded(name, &["secret-", name].concat());
    spec.balances.clear();
    for wallet in ["exchange", "margin"] {
        for (currency, whole) in [("USD", 1_000), ("BTC", 10), ("USTF0", 1_000)] {
            spec.balances.push((wallet.to_owned(), currency.to_owned(), whole * 100_000_000));
        }
    }
    spec
}

pub fn config() -> ExchangeConfig {
    ExchangeConfig { accounts: vec![account("a"), account("b")], ..ExchangeConfig::default() }
}

/// The same with one derivative instead of the pairs.
pub fn derivatives() -> ExchangeConfig {
    ExchangeConfig { symbols: vec![SymbolSpec::named("tBTCF0:USTF0")], ..config() }
}

pub struct Script {
    pub exchange: Exchange,
    pub now: WallNs,
    /// Orders in the order of their appearance.
    pub ids: Vec<u64>,
    pub said: Vec<String>,
}

impl Script {
    pub fn new(config: ExchangeConfig) -> Script {
        let mut names: Vec<String> = config.symbols.iter().map(|s| s.name.clone()).collect();
        names.dedup();
        let exchange = Exchange::new(config, Box::new(Still(names))).unwrap();
        let mut script = Script { exchange, now: START, ids: Vec::new(), said: Vec::new() };
        for (conn, name) in [(1, "a"), (2, "b")] {
            script.connect(conn, name, 1, "");
        }
        drain(&mut script.exchange);
        script
    }
    pub fn connect(&mut self, conn: u64, name: &str, nonce: u64, more: &str) {
        self.exchange.connect(conn, self.now);
        let text = login_text(name, &["secret-", name].concat(), nonce, more);
        self.exchange.on_text(conn, text.as_bytes(), self.now);
    }
    /// Runs a script and returns its transcript.
    pub fn play(&mut self, script: &str) -> String {
        self.said.clear();
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            self.said.push(format!("> {line}"));
            self.command(line);
            self.hear();
        }
        self.said.join("\n")
    }
    fn command(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["market", what, ..] => {
                let side = if matches!(what, "bid" | "buy") { Side::Buy } else { Side::Sell };
                let number = |at: usize| read_number(words[at].as_bytes()).unwrap().0;
                self.exchange.core.set_now(self.now);
                match what {
                    "bid" | "ask" => {
                        self.exchange.core.house_limit(0, side, number(2), number(3));
                    }
                    _ => {
                        self.exchange.core.house_take(0, side, number(2));
                    }
                }
            }
            ["wait", ms] => {
                self.now.0 += ms.parse::<i64>().unwrap() * 1_000_000;
                while self.exchange.advance(self.now, 1_000) > 0 {}
            }
            ["book"] => self.show_book(),
            [who, "state"] => self.show_state(who),
            [who, "raw", ..] => {
                let text = line.split_once("raw ").unwrap().1;
                self.send(who, text);
            }
            [who, op, ..] => {
                let body = body_of(&words[2..]);
                let text = format!(r#"[0,"{op}",null,{body}]"#);
                self.send(who, &text);
            }
            _ => panic!("no command: {line}"),
        }
    }
    fn send(&mut self, who: &str, text: &str) {
        let mut text = text.to_owned();
        for (at, id) in self.ids.iter().enumerate().rev() {
            text = text.replace(&format!("#{}", at + 1), &id.to_string());
        }
        let conn = if who == "a" { 1 } else { 2 };
        self.exchange.on_text(conn, text.as_bytes(), self.now);
    }
    fn show_book(&mut self) {
        let depth = &self.exchange.core.listings[0].depth;
        let side = |side: Side| -> String {
            let mut rows = super::levels::Window::default();
            depth.fill_window(5, 25, &mut rows);
            let rows = &rows.sides[super::levels::side_index(side)];
            let rows = rows.iter().map(|row| format!("{}x{}", plain(row.px), plain(row.qty)));
            rows.collect::<Vec<_>>().join(" ")
        };
        let text = format!("  bids {} | asks {}", side(Side::Buy), side(Side::Sell));
        self.said.push(text.trim_end().to_owned());
    }
    fn show_state(&mut self, who: &str) {
        let index = if who == "a" { 1 } else { 2 };
        let account = self.exchange.core.bank.account(index);
        let mut words = Vec::new();
        for ((wallet, currency), units) in &account.wallets {
            let start = if currency.as_str() == "BTC" { 10 } else { 1_000 } * 100_000_000;
            if *units != start {
                words.push(format!("{} {} {}", wallet.name(), currency, plain(*units as i64)));
            }
        }
        for (symbol, position) in &account.positions {
            let name = self.exchange.core.symbol_name(*symbol);
            let (qty, px) = (plain(position.qty), plain(position.base_px()));
            words.push(format!("position {name} {qty} @ {px}"));
        }
        for id in account.open.clone() {
            words.push(format!("open {}", self.name_of(id)));
        }
        self.said.push(format!("  {who}: {}", words.join(", ")));
    }
    fn name_of(&mut self, id: u64) -> String {
        let at = self.ids.iter().position(|known| *known == id).unwrap_or_else(|| {
            self.ids.push(id);
            self.ids.len() - 1
        });
        format!("#{}", at + 1)
    }
    /// Adds what the accounts were told to the transcript.
    fn hear(&mut self) {
        for (conn, text) in drain(&mut self.exchange) {
            let who = match conn {
                1 => "a",
                2 => "b",
                _ => "other",
            };
            let Some(Json::Array(frame)) = Json::parse(text.as_bytes())
                .filter(|json| json.items().first() == Some(&Json::Number(b"0")))
            else {
                self.said.push(format!("  {who}: {text}"));
                continue;
            };
            if frame[1].text() == Some("hb") {
                continue;
            }
            let told = self.frame(&frame);
            self.said.push(format!("  {who}: {told}"));
        }
    }
    fn frame(&mut self, frame: &[Json<'_>]) -> String {
        let kind = frame[1].text().unwrap();
        let row = frame[2].items();
        let word = |at: usize| written(&row[at]);
        match kind {
            "n" => {
                if let Some(id) = row[4].items().first().and_then(Json::unsigned) {
                    self.name_of(id);
                }
                let mut text = word(7);
                for (at, id) in self.ids.iter().enumerate() {
                    text = text.replace(&format!("(ID: {id})"), &format!("(ID: #{})", at + 1));
                }
                format!("n {} {} {text}", word(1), word(6))
            }
            "on" | "ou" | "oc" => format!("{kind} {}", self.order(row)),
            "te" | "tu" => {
                let id = self.name_of(row[3].unsigned().unwrap());
                let role = if word(8) == "1" { "maker" } else { "taker" };
                let fee = match kind {
                    "tu" => format!(" fee {} {}", word(9), word(10)),
                    _ => String::new(),
                };
                format!("{kind} {id} {}@{} {role}{fee}", word(4), word(5))
            }
            "pn" | "pu" | "pc" => format!("{kind} {} {} @ {}", word(0), word(2), word(3)),
            "wu" => format!("wu {} {} {}", word(0), word(1), word(2)),
            _ => {
                let mut out = Vec::new();
                frame[2].write(&mut out);
                format!("{kind} {}", String::from_utf8(out).unwrap())
            }
        }
    }
    fn order(&mut self, row: &[Json<'_>]) -> String {
        let word = |at: usize| written(&row[at]);
        let id = self.name_of(row[0].unsigned().unwrap());
        let mut text = format!("{id} {} {}", word(8), word(6));
        if word(6) != word(7) {
            text.push_str(&format!(" of {}", word(7)));
        }
        text.push_str(&format!(" @{}", word(16)));
        let mut extra = |name: &str, value: String, usual: &[&str]| {
            if !usual.contains(&value.as_str()) {
                text.push_str(&format!(" {name}={value}"));
            }
        };
        extra("prev", word(9), &["null"]);
        extra("tif", word(10), &["null"]);
        extra("flags", word(12), &["0"]);
        extra("trailing", word(18), &["0"]);
        extra("aux", word(19), &["0"]);
        extra("hidden", word(24), &["0"]);
        if let Some(other) = row[25].unsigned() {
            let other = self.name_of(other);
            extra("pair", other, &[]);
        }
        let meta = word(31);
        extra("meta", meta, &[r#"{"source":"api"}"#]);
        format!("{text} {}", word(13))
    }
}

fn written(value: &Json<'_>) -> String {
    if let Json::Text(text) = value {
        return text.to_string();
    }
    let mut out = Vec::new();
    value.write(&mut out);
    String::from_utf8(out).unwrap()
}
pub fn plain(raw: i64) -> String {
    let mut out = Vec::new();
    super::number::push_number(&mut out, raw);
    String::from_utf8(out).unwrap()
}

/// `LIMIT 1 @100 flags=64`, `#1 amount=2`, `cid=5` → an object.
fn body_of(words: &[&str]) -> String {
    let mut members = Vec::new();
    let mut kind: Vec<&str> = Vec::new();
    let mut symbol = "tBTCUSD";
    for word in words {
        if let Some((key, value)) = word.split_once('=') {
            if key == "symbol" {
                symbol = value;
            } else {
                members.push(format!(r#""{key}":{value}"#));
            }
        } else if let Some(px) = word.strip_prefix('@') {
            members.push(format!(r#""price":"{px}""#));
        } else if word.starts_with('#') {
            members.push(format!(r#""id":{word}"#));
        } else if word.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
            members.push(format!(r#""amount":"{word}""#));
        } else {
            kind.push(word);
        }
    }
    if !kind.is_empty() {
        members.push(format!(r#""type":"{}","symbol":"{symbol}""#, kind.join(" ")));
    }
    format!("{{{}}}", members.join(","))
}

/// Plays the commands of a transcript (its lines that begin with `>`) on a fresh exchange and
/// compares the whole, line by line; a line that begins with `+` goes on with the one before. Money
/// is counted before and after.
pub fn check(transcript: &str) {
    check_with(config(), transcript);
}
pub fn check_with(config: ExchangeConfig, transcript: &str) {
    let mut expected: Vec<String> = Vec::new();
    for line in transcript.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match (line.strip_prefix("+ "), expected.last_mut()) {
            (Some(rest), Some(last)) => *last = [last, " ", rest].concat(),
            _ => expected.push(line.to_owned()),
        }
    }
    let commands: Vec<&str> = expected.iter().filter_map(|line| line.strip_prefix('>')).collect();
    let mut desk = Script::new(config);
    let before = desk.exchange.totals();
    let told = desk.play(&commands.join("\n"));
    let heard: Vec<&str> = told.lines().map(str::trim).collect();
    assert_eq!(heard, expected, "\n{told}\n");
    assert_eq!(desk.exchange.totals(), before, "money is neither made nor lost");
}
