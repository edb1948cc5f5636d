//! Real beside synthetic.

use super::super::MarketSource;
use super::meter_tests::{Figures, Stretch, quantile, sorted};
use super::plain_floor::PlainFloor;
use super::{Synthetic, SyntheticConfig};
use crate::base::time::WallNs;
use crate::base::units::Side;
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

/// Somebody who listens to the exchange.
trait Listener: Outgoing {
    fn now(&mut self, at_s: f64);
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
impl Listener for Ear {
    fn now(&mut self, at_s: f64) {
        self.at_s = at_s;
    }
}

#[derive(Default)]
struct Counter {
    messages: u64,
}
impl Outgoing for Counter {
    fn text(&mut self, _: u64, _: &[u8]) {
        self.messages += 1;
    }
    fn close(&mut self, _: u64) {
        panic!("the exchange hung up");
    }
}
impl Listener for Counter {
    fn now(&mut self, _: f64) {}
}

/// Runs an exchange on a synthetic market; the listener has P0 books of 100 levels and trades.
fn publish(symbols: &[&str], seed: u64, seconds: i64, listener: &mut impl Listener) {
    let named = symbols.iter().map(|name| (*name).to_owned()).collect();
    let config = SyntheticConfig { symbols: named, seed, ..SyntheticConfig::default() };
    let start = config.start;
    let mut setup = ExchangeConfig { symbols: Vec::new(), ..ExchangeConfig::default() };
    setup.limits.channels_per_socket = 2 * symbols.len() + 1;
    let mut exchange = Exchange::new(setup, Box::new(Synthetic::new(config))).unwrap();
    exchange.advance(start, u32::MAX);
    exchange.connect(1, start);
    for symbol in symbols {
        for channel in ["\"book\",\"prec\":\"P0\",\"len\":\"100\"", "\"trades\""] {
            let text = format!(
                "{{\"event\":\"subscribe\",\"symbol\":\"{symbol}\",\"channel\":{channel}}}"
            );
            exchange.on_text(1, text.as_bytes(), start);
        }
    }
    exchange.drain(listener);
    let end = WallNs(start.0 + seconds * 1_000_000_000);
    while let Some(at) = exchange.next_at().filter(|at| *at <= end) {
        exchange.advance(at, 1);
        listener.now((at.0 - start.0) as f64 / 1e9);
        exchange.drain(listener);
    }
}

fn published(symbols: &[&str], seed: u64, seconds: i64) -> BTreeMap<String, Stretch> {
    let mut ear = Ear { at_s: 0.0, channels: Channels::default(), heard: BTreeMap::new() };
    publish(symbols, seed, seconds, &mut ear);
    ear.heard
}

/// One line of the table: what was recorded, what three seeds made, and what is allowed.
struct Line {
    name: &'static str,
    real: f64,
    made: Vec<f64>,
    low: f64,
    high: f64,
    why: &'static str,
}

struct Table<'a> {
    real: &'a Figures,
    made: &'a [Figures],
    lines: Vec<Line>,
}

impl Table<'_> {
    fn add(
        &mut self,
        name: &'static str,
        f: fn(&Figures) -> f64,
        bound: (f64, f64),
        why: &'static str,
    ) {
        let (low, high) = bound;
        let made = self.made.iter().map(f).collect();
        self.lines.push(Line { name, real: f(self.real), made, low, high, why });
    }
    /// Not farther off than this factor.
    fn near(&mut self, name: &'static str, f: fn(&Figures) -> f64, factor: f64, why: &'static str) {
        let real = f(self.real);
        self.add(name, f, (real / factor, real * factor), why);
    }
    /// Prints all lines, and returns those that are out of bounds.
    fn print(&self, title: &str) -> Vec<&'static str> {
        println!(
            "\n{title}\n{:34} {:>11} | {:>32} | {:>20} | reason of the bound",
            "", "real", "synthetic, one seed a column", "bound"
        );
        let mut out = Vec::new();
        for line in &self.lines {
            let holds = line.made.iter().all(|made| (line.low..=line.high).contains(made));
            let made: Vec<String> =
                line.made.iter().map(|made| format!("{:>10}", short(*made))).collect();
            println!(
                "{:34} {:>11} | {} | {:>9} … {:<8} | {}{}",
                line.name,
                short(line.real),
                made.join(" "),
                short(line.low),
                short(line.high),
                line.why,
                if holds { "" } else { "   <-- OUT" }
            );
            if !holds {
                out.push(line.name);
            }
        }
        out
    }
}

/// Four significant digits.
fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 1e6 => format!("{value:.3e}"),
        v if v >= 1_000.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 0.1 => format!("{value:.3}"),
        _ => format!("{value:.4}"),
    }
}

/// Root mean square of 1-minute returns in each hour of a candle file, bps, sorted.
fn hours_of(name: &str) -> Vec<f64> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(name);
    let reader = BufReader::new(GzDecoder::new(std::fs::File::open(path).unwrap()));
    let mut hours: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
    let mut before: Option<(i64, f64)> = None;
    for line in reader.lines().skip(1) {
        let line = line.unwrap();
        let mut parts = line.split(',');
        let minute: i64 = parts.next().unwrap().parse::<i64>().unwrap() / 60_000;
        let close: f64 = parts.nth(1).unwrap().parse().unwrap();
        if let Some((at, px)) = before
            && at + 1 == minute
        {
            hours.entry(minute / 60).or_default().push(((close / px - 1.0) * 1e4).powi(2));
        }
        before = Some((minute, close));
    }
    let full = hours.into_values().filter(|squares| squares.len() > 30);
    sorted(
        full.map(|squares| (squares.iter().sum::<f64>() / squares.len() as f64).sqrt()).collect(),
    )
}

const SEEDS: [u64; 3] = [1, 2, 3];

/// Figures of symbols by seed.
fn made(symbols: &[&str], seconds: i64, retimed: bool) -> BTreeMap<String, Vec<Figures>> {
    let mut all: BTreeMap<String, Vec<Figures>> = BTreeMap::new();
    for seed in SEEDS {
        for (symbol, stretch) in published(symbols, seed, seconds) {
            let stretch = if retimed { stretch.retimed_by_trades() } else { stretch };
            all.entry(symbol).or_default().push(Figures::of(&stretch));
        }
    }
    all
}

/// Goal: the busy kind of market looks like tBTCUSD on the evening of 2018-11-12. Method: five
/// hours of recording beside two and a half hours of what the exchange publishes, three seeds, by
/// one meter; every seed must stay in bounds.
#[test]
#[cfg_attr(not(shared_data), ignore = "needs ../shared/data")]
fn a_busy_market_looks_like_the_recording_of_2018() {
    let real = Figures::of(&recorded_2018());
    let made = made(&["tBTCUSD"], 9_130, true).remove("tBTCUSD").unwrap();
    let mut t = Table { real: &real, made: &made, lines: Vec::new() };
    let other = "one evening is one sample of evenings";
    let shape = "shape of the flow, hardly depends on the day";
    t.near("book messages a second", |f| f.rows_per_s, 1.35, other);
    t.near("batches a second", |f| f.batches_per_s, 1.15, shape);
    t.near("rows of a batch, p10", |f| f.batch_rows[0], 1.6, "small whole numbers");
    t.near("rows of a batch, p50", |f| f.batch_rows[1], 1.35, shape);
    t.near("rows of a batch, p90", |f| f.batch_rows[2], 1.35, shape);
    t.near("rows of a batch, p99", |f| f.batch_rows[3], 1.5, "a tail of 480 batches");
    t.near("dispersion in 10 s", |f| f.row_dispersion[1], 1.7, "variance of few bursts");
    t.near("dispersion in 60 s", |f| f.row_dispersion[2], 2.2, "variance of few bursts");
    t.near("rate of minutes, p10 by median", |f| f.rate_spread[0], 1.3, "quiet times");
    t.near("rate of minutes, p90 by median", |f| f.rate_spread[1], 1.3, "busy times");
    t.near(
        "rate of minutes, p99 by median",
        |f| f.rate_spread[2],
        1.5,
        "bursts: three minutes of 300",
    );
    t.near("share of quiet minutes (< 0.7)", |f| f.phase_share[0], 2.5, "few phases in an evening");
    t.near("share of busy minutes (> 1.5)", |f| f.phase_share[1], 2.5, "few phases in an evening");
    t.near("share of deletes", |f| f.share_deleted, 1.2, shape);
    t.near("share of changes of a level", |f| f.share_changed, 1.25, shape);
    t.near("share of rows at rank 1", |f| f.share_by_rank[0], 2.2, "touch moves more: see moves");
    t.near(
        "share of rows at ranks 2-5",
        |f| f.share_by_rank[1],
        1.8,
        "touch moves more: see moves",
    );
    t.near("share of rows at ranks 6-25", |f| f.share_by_rank[2], 1.25, shape);
    t.near("share of rows at ranks 26-75", |f| f.share_by_rank[3], 1.25, shape);
    t.near("share of rows beyond rank 75", |f| f.share_by_rank[4], 1.3, shape);
    t.near("spread, p50, bps", |f| f.spread_bps[1], 1.25, "one tick at another price");
    t.near("spread, p90, bps", |f| f.spread_bps[2], 1.25, "one tick at another price");
    t.near("orders at the touch, p50", |f| f.touch_orders, 2.0, other);
    t.near("distance of rank 10, bps", |f| f.distance_bps[2], 1.4, other);
    t.near("distance of rank 50, bps", |f| f.distance_bps[3], 1.3, other);
    t.near("distance of rank 95, bps", |f| f.distance_bps[4], 1.3, other);
    t.near("money at rank 1, USD", |f| f.depth_quote[0], 1.7, other);
    t.near("money to rank 10, USD", |f| f.depth_quote[2], 1.7, other);
    t.near("money to rank 50, USD", |f| f.depth_quote[3], 1.4, other);
    t.near("money to rank 95, USD", |f| f.depth_quote[4], 1.4, other);
    t.near("batches a level lives, p50", |f| f.level_life[0], 2.5, "small whole numbers");
    t.near("batches a level lives, p75", |f| f.level_life[1], 2.0, "small whole numbers");
    t.near("batches a level lives, p90", |f| f.level_life[2], 2.0, other);
    t.near("trades a second", |f| f.trades_per_s, 1.7, "comes in bursts: dispersion 9");
    t.near("orders that take, a second", |f| f.takes_per_s, 1.6, "comes in bursts: dispersion 9");
    t.near("gap between takes, p10, s", |f| f.take_gap_s[0], 1.7, other);
    t.near("gap between takes, p50, s", |f| f.take_gap_s[1], 1.7, other);
    t.near("gap between takes, p90, s", |f| f.take_gap_s[2], 1.5, other);
    t.near("dispersion of takes in 60 s", |f| f.take_dispersion_60s, 2.5, "variance of few bursts");
    t.near("money of a take, p10, USD", |f| f.take_quote[0], 1.5, shape);
    t.near("money of a take, p50, USD", |f| f.take_quote[1], 1.5, shape);
    t.near("money of a take, p90, USD", |f| f.take_quote[2], 1.5, shape);
    t.near("money of a take, p99, USD", |f| f.take_quote[3], 2.5, "a tail of 24 takes");
    t.near("next take on the same side", |f| f.same_side, 1.15, shape);
    t.near("book messages by trade", |f| f.rows_per_trade, 1.7, "as trades a second");
    t.near("deletes by trade", |f| f.deletes_per_trade, 1.9, "as trades a second");
    t.add(
        "batches that move the middle",
        |f| f.middle_moves,
        (0.013, 0.23),
        "this evening was calm; up to tETHJPY's 0.23",
    );
    let hours = hours_of("bitfinex-btcusd-1m-2018.csv.gz");
    let (calm, wild) = (quantile(&hours, 0.25), quantile(&hours, 0.75));
    t.add(
        "minute moves, rms, bps",
        |f| f.minute_rms_bps,
        (calm, wild),
        "middle half of the hours of 2018; that evening: calmest 8 %",
    );
    let out = t.print("tBTCUSD 2018-11-12, book P0 of 100 levels and trades");
    assert!(made.iter().all(|figures| figures.was_crossed == 0 && figures.levels == 100.0));
    assert!(out.is_empty(), "out of bounds: {out:?}");
}

/// Goal: the quieter kinds look like three pairs recorded with receive times. Method: as above; the
/// recording is two minutes of one afternoon, so bounds are wide where counts are small.
#[test]
#[cfg_attr(not(shared_data), ignore = "needs ../shared/data")]
fn quieter_markets_look_like_the_recording_of_2021() {
    let recorded = recorded_2021();
    let made = made(&["tETHJPY", "tCHZUST", "tKNCBTC"], 1_200, false);
    let minutes = "two minutes recorded";
    let mut out = Vec::new();
    for (symbol, many) in [("tETHJPY", 1.0), ("tCHZUST", 1.5), ("tKNCBTC", 2.0)] {
        let real = Figures::of(&recorded[symbol]);
        let mut t = Table { real: &real, made: &made[symbol], lines: Vec::new() };
        t.near("book messages a second", |f| f.rows_per_s, 1.5 + 0.3 * many, minutes);
        t.near("gap between batches, p50, ms", |f| f.batch_gap_ms[0], 1.05 + many, "100 ms clock");
        t.near("gap between batches, p90, ms", |f| f.batch_gap_ms[1], 1.1 + many, minutes);
        t.near("gap between batches, p99, ms", |f| f.batch_gap_ms[2], 1.2 + many, minutes);
        t.near("dispersion in 1 s", |f| f.row_dispersion[0], 1.5 + 0.5 * many, minutes);
        t.near("share of deletes", |f| f.share_deleted, 1.6, minutes);
        t.near("spread, p50, bps", |f| f.spread_bps[1], 1.4, minutes);
        t.near("spread, p90, bps", |f| f.spread_bps[2], 2.0, minutes);
        t.near("share of rows at rank 1", |f| f.share_by_rank[0], 1.6, minutes);
        t.near("share of rows at ranks 2-5", |f| f.share_by_rank[1], 1.4, minutes);
        t.near("distance of rank 2, bps", |f| f.distance_bps[1], 1.5, minutes);
        t.near("money at rank 1, quote", |f| f.depth_quote[0], 3.0, "one or two orders");
        t.near("money to rank 10, quote", |f| f.depth_quote[2], 3.0, "a dozen orders");
        t.near("batches a level lives, p50", |f| f.level_life[0], 2.0, "small whole numbers");
        t.near("batches a level lives, p90", |f| f.level_life[2], 2.0, minutes);
        if symbol == "tETHJPY" {
            t.near("rows of a batch, p50", |f| f.batch_rows[1], 1.8, minutes);
            t.near("rows of a batch, p99", |f| f.batch_rows[3], 1.5, minutes);
            t.near("gap between messages, p99, ms", |f| f.gap_ms[2], 1.1, "the clock's tick");
            t.near("share of changes of a level", |f| f.share_changed, 1.4, minutes);
            t.near("share of rows beyond rank 75", |f| f.share_by_rank[4], 1.5, minutes);
            t.near("distance of rank 50, bps", |f| f.distance_bps[3], 1.3, minutes);
            t.near("distance of rank 95, bps", |f| f.distance_bps[4], 1.4, minutes);
            t.near("money to rank 50, quote", |f| f.depth_quote[3], 2.0, minutes);
            t.near("batches that move the middle", |f| f.middle_moves, 2.5, minutes);
        }
        out.extend(t.print(&format!("{symbol} 2021-04-05, book P0 of 100 levels")));
        assert!(made[symbol].iter().all(|figures| figures.was_crossed == 0));
    }
    assert!(out.is_empty(), "out of bounds: {out:?}");
}

/// All pairs of the recorded `pub:info:pair`, as symbols.
fn all_pairs() -> Vec<String> {
    let mut symbols = Vec::new();
    for line in lines_of("rest-responses-bitfinex-20250810.ndjson.gz") {
        if line["path"].as_str().unwrap().contains("pub:info:pair") {
            let rows = line["body"][0].as_array().unwrap();
            symbols = rows.iter().map(|row| format!("t{}", row[0].as_str().unwrap())).collect();
        }
    }
    symbols
}

/// Goal: every instrument of the venue can be listed at once, and each has a market.
#[test]
#[cfg_attr(not(shared_data), ignore = "needs ../shared/data")]
fn all_pairs_of_the_venue_have_a_market() {
    let symbols = all_pairs();
    assert_eq!(symbols.len(), 294);
    let config = SyntheticConfig { symbols, ..SyntheticConfig::default() };
    let mut market = Synthetic::new(config.clone());
    let mut floor = PlainFloor::new(294);
    while market.next_at().unwrap().0 < config.start.0 + 30_000_000_000 {
        market.step(&mut floor);
    }
    for (name, book) in config.symbols.iter().zip(&floor.books) {
        let (bid, ask) = (book.best(Side::Buy).unwrap(), book.best(Side::Sell).unwrap());
        assert!(0 < bid && bid < ask, "{name}: {bid} {ask}");
        for side in [Side::Buy, Side::Sell] {
            let levels = book.levels(side).count();
            assert!(levels >= 15, "{name}: {levels} levels");
        }
    }
}

/// Prints what the market costs alone and with its publication to one listener of P0 books of 100
/// levels and trades, and checks that it is cheap.
#[test]
#[ignore = "measures; run alone, with --release"]
fn cost() {
    let default = SyntheticConfig::default().symbols;
    for symbols in [default, all_pairs()] {
        let count = symbols.len();
        let config = SyntheticConfig { symbols: symbols.clone(), ..SyntheticConfig::default() };
        let seconds = 3_600.min(400_000 / count as i64);
        let mut market = Synthetic::new(config.clone());
        let mut floor = PlainFloor::new(count);
        let end = config.start.0 + seconds * 1_000_000_000;
        let clock = quanta::Clock::new();
        let begun = clock.now();
        while market.next_at().unwrap().0 < end {
            market.step(&mut floor);
            floor.done.clear();
        }
        let alone_s = (clock.now() - begun).as_secs_f64();
        let steps = market.state().position as f64;
        let names: Vec<&str> = symbols.iter().map(String::as_str).collect();
        let mut counter = Counter::default();
        let begun = clock.now();
        publish(&names, 1, seconds, &mut counter);
        let published_s = (clock.now() - begun).as_secs_f64();
        println!(
            "{count} symbols, {seconds} s of market: {steps} steps; alone {:.0} steps/s; published \
             {:.0} steps/s, {} messages, {:.0} messages/s; {:.0} times real time",
            steps / alone_s,
            steps / published_s,
            counter.messages,
            counter.messages as f64 / published_s,
            seconds as f64 / published_s,
        );
        assert!(steps / published_s > 10_000.0, "slower than ten thousand steps a second");
    }
}
