//! Real beside synthetic.

use super::meter::{Figures, Stretch};
use super::{Synthetic, SyntheticConfig};
use crate::base::time::WallNs;
use crate::exchange::{Exchange, ExchangeConfig, Outgoing};
use flate2::read::GzDecoder;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};

fn lines_of(name: &str) -> impl Iterator<Item = Value> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(name);
    let file = std::fs::File::open(&path).unwrap();
    BufReader::new(GzDecoder::new(file))
        .lines()
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
}

/// Which of a socket's channels are books and trades of which symbol.
#[derive(Default)]
struct Channels(BTreeMap<u64, (bool, String)>);

impl Channels {
    fn hear(&mut self, at_s: f64, message: &Value, heard: &mut BTreeMap<String, Stretch>) {
        if message["event"] == "subscribed" {
            let is_book = message["channel"] == "book";
            if is_book || message["channel"] == "trades" {
                let symbol = message["symbol"].as_str().unwrap().to_owned();
                self.0.insert(message["chanId"].as_u64().unwrap(), (is_book, symbol));
            }
        } else if let Some((is_book, symbol)) = message[0].as_u64().and_then(|id| self.0.get(&id)) {
            heard.entry(symbol.clone()).or_default().hear(at_s, *is_book, message);
        }
    }
}

fn recorded_2018() -> Stretch {
    let (mut channels, mut heard) = (Channels::default(), BTreeMap::new());
    for message in lines_of("ws-capture-bitfinex-btcusd-p0-len100-20181112.ndjson.gz") {
        channels.hear(0.0, &message, &mut heard);
    }
    heard.remove("tBTCUSD").unwrap().retimed_by_trades()
}

fn recorded_2021() -> BTreeMap<String, Stretch> {
    let (mut channels, mut heard) = (Channels::default(), BTreeMap::new());
    for line in lines_of("ws-capture-bitfinex-8pairs-seq-20210405.ndjson.gz") {
        if line["dir"] == "recv" {
            channels.hear(line["ts"].as_f64().unwrap(), &line["msg"], &mut heard);
        }
    }
    heard
}

struct Ear {
    at_s: f64,
    channels: Channels,
    heard: BTreeMap<String, Stretch>,
}
impl Outgoing for Ear {
    fn text(&mut self, _: u64, payload: &[u8]) {
        let message = serde_json::from_slice(payload).unwrap();
        self.channels.hear(self.at_s, &message, &mut self.heard);
    }
    fn close(&mut self, _: u64) {
        panic!("the exchange hung up");
    }
}

/// What the exchange publishes of these symbols.
fn published(symbols: &[&str], seed: u64, seconds: i64) -> BTreeMap<String, Stretch> {
    let symbols: Vec<String> = symbols.iter().map(|name| (*name).to_owned()).collect();
    let config = SyntheticConfig { symbols: symbols.clone(), seed, ..SyntheticConfig::default() };
    let start = config.start;
    let setup = ExchangeConfig { symbols: Vec::new(), ..ExchangeConfig::default() };
    let mut exchange = Exchange::new(setup, Box::new(Synthetic::new(config))).unwrap();
    let mut ear = Ear { at_s: 0.0, channels: Channels::default(), heard: BTreeMap::new() };
    exchange.advance(start, u32::MAX);
    exchange.connect(1, start);
    for symbol in &symbols {
        for channel in ["\"book\",\"prec\":\"P0\",\"len\":\"100\"", "\"trades\""] {
            let text = format!(
                "{{\"event\":\"subscribe\",\"symbol\":\"{symbol}\",\"channel\":{channel}}}"
            );
            exchange.on_text(1, text.as_bytes(), start);
        }
    }
    exchange.drain(&mut ear);
    let end = WallNs(start.0 + seconds * 1_000_000_000);
    while let Some(at) = exchange.next_at().filter(|at| *at <= end) {
        exchange.advance(at, 1);
        ear.at_s = (at.0 - start.0) as f64 / 1e9;
        exchange.drain(&mut ear);
    }
    ear.heard
}

#[test]
#[cfg_attr(not(shared_data), ignore = "needs ../shared/data")]
fn explore() {
    println!("{:#?}", Figures::of(&recorded_2018()));
    let mut made = published(&["tBTCUSD"], 1, 18_260);
    println!("{:#?}", Figures::of(&made.remove("tBTCUSD").unwrap().retimed_by_trades()));
    for (symbol, stretch) in recorded_2021() {
        if stretch.said.len() > 20 {
            println!("{symbol} {:#?}", Figures::of(&stretch));
        }
    }
    for (symbol, stretch) in published(&["tETHJPY", "tCHZUST", "tKNCBTC"], 1, 1_800) {
        println!("{symbol} {:#?}", Figures::of(&stretch));
    }
}
