//! Every array and event of the recordings beside ours, position by position: lengths and types.
//!
//! A *shape* is learnt from all recorded messages of a kind: the lengths they had, and for every
//! position the types that stood there. Ours must have no length and no type that was not recorded,
//! and every recorded kind must come from us, too. A whole number is fine where the venue printed
//! fractions, since it prints 1.0 as 1; a fraction where it never did is not.

use super::script_tests::{START, Script, Still, config, derivatives, drain};
use super::session_tests::{get, text};
use super::tests::crowded;
use super::*;
use flate2::read::MultiGzDecoder;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Null,
    Whole,
    Fraction,
    Text,
    Bool,
    Array,
    Object,
}

fn kind_of(value: &Value) -> Kind {
    match value {
        Value::Null => Kind::Null,
        Value::Bool(_) => Kind::Bool,
        Value::Number(number) if number.is_f64() => Kind::Fraction,
        Value::Number(_) => Kind::Whole,
        Value::String(_) => Kind::Text,
        Value::Array(_) => Kind::Array,
        Value::Object(_) => Kind::Object,
    }
}

#[derive(Debug, Default)]
struct Shape {
    seen: u64,
    lengths: BTreeSet<usize>,
    kinds: Vec<BTreeSet<Kind>>,
    /// Of an object: the sets of keys it had.
    keys: BTreeSet<Vec<String>>,
}

/// Shapes by the name of what has them.
#[derive(Debug, Default)]
struct Shapes(BTreeMap<String, Shape>);

impl Shapes {
    fn learn(&mut self, name: &str, value: &Value) {
        let shape = self.0.entry(name.to_owned()).or_default();
        shape.seen += 1;
        match value {
            Value::Array(items) => {
                shape.lengths.insert(items.len());
                for (at, item) in items.iter().enumerate() {
                    if shape.kinds.len() == at {
                        shape.kinds.push(BTreeSet::new());
                    }
                    shape.kinds[at].insert(kind_of(item));
                }
            }
            Value::Object(members) => {
                let keys: Vec<String> = members.keys().cloned().collect();
                shape.keys.insert(keys);
                for (key, member) in members {
                    self.learn(&format!("{name}.{key}"), &Value::Array(vec![member.clone()]));
                    if member.is_object() {
                        self.learn(&format!("{name}.{key}{{}}"), member);
                    }
                }
            }
            _ => panic!("{name} is neither array nor object: {value}"),
        }
    }
    fn learn_rows(&mut self, name: &str, rows: &Value) {
        for row in rows.as_array().unwrap() {
            self.learn(name, row);
        }
    }
    /// What of ours was never recorded, and what recorded we do not have.
    fn differences(&self, ours: &Shapes) -> Vec<String> {
        let mut found = Vec::new();
        for (name, recorded) in &self.0 {
            let Some(own) = ours.0.get(name) else {
                found.push(format!("{name}: recorded {} times, never ours", recorded.seen));
                continue;
            };
            if let Some(length) = own.lengths.difference(&recorded.lengths).next() {
                found.push(format!("{name}: length {length}, recorded {:?}", recorded.lengths));
            }
            if let Some(keys) = own.keys.difference(&recorded.keys).next() {
                found.push(format!("{name}: keys {keys:?}, recorded {:?}", recorded.keys));
            }
            for (at, (own, recorded)) in own.kinds.iter().zip(&recorded.kinds).enumerate() {
                let is_new = |kind: &&Kind| {
                    let as_fraction = **kind == Kind::Whole && recorded.contains(&Kind::Fraction);
                    !recorded.contains(*kind) && !as_fraction
                };
                if let Some(kind) = own.iter().find(is_new) {
                    found.push(format!("{name}[{at}]: {kind:?}, recorded {recorded:?}"));
                }
            }
        }
        found
    }
}

/// Sorts the messages of one socket into shapes; funding, which is not traded here, is left out.
#[derive(Default)]
struct Sorter {
    shapes: Shapes,
    /// Channel → what it carries.
    channels: BTreeMap<u64, String>,
    has_data: BTreeSet<u64>,
}

impl Sorter {
    /// `tail` = elements that the socket's flags append.
    fn hear(&mut self, message: &Value, tail: usize) {
        let Value::Array(items) = message else {
            return self.hear_event(message);
        };
        let chan = items[0].as_u64().unwrap();
        let body = &items[1..items.len() - tail];
        if chan == 0 {
            return self.hear_private(items, body);
        }
        let Some(kind) = self.channels.get(&chan).cloned() else { return };
        let (name, payload) = match body {
            [Value::String(word)] => (word.clone(), None),
            [Value::String(word), payload] => (word.clone(), Some(payload)),
            [payload] => (String::new(), Some(payload)),
            _ => panic!("a frame of {} elements: {message}", items.len()),
        };
        let is_snapshot = name.is_empty() && kind != "ticker" && self.has_data.insert(chan);
        let shapes = &mut self.shapes;
        if is_snapshot {
            shapes.learn(&format!("{kind} snapshot frame"), message);
            shapes.learn_rows(&format!("{kind} row"), payload.unwrap());
            return;
        }
        shapes.learn(&format!("{kind} {name} frame"), message);
        match payload {
            Some(payload @ Value::Array(_)) => shapes.learn(&format!("{kind} row"), payload),
            Some(payload) => {
                shapes.learn(&format!("{kind} {name}"), &Value::Array(vec![payload.clone()]));
            }
            None => {}
        }
    }
    fn hear_event(&mut self, event: &Value) {
        let of = |key: &str| event[key].as_str().unwrap_or("");
        let is_funding = of("symbol").starts_with('f');
        if of("event") == "subscribed" && !is_funding {
            self.channels.insert(event["chanId"].as_u64().unwrap(), of("channel").to_owned());
        }
        if !is_funding {
            let name = format!("event {} {}", of("event"), of("channel"));
            self.shapes.learn(name.trim(), event);
        }
    }
    fn hear_private(&mut self, items: &[Value], body: &[Value]) {
        let kind = body[0].as_str().unwrap();
        self.shapes.learn(&format!("private {kind} frame"), &Value::Array(items.to_vec()));
        let Some(payload) = body.get(1) else { return };
        let row = match kind {
            "os" | "on" | "oc" | "ou" => "order",
            "te" | "tu" => kind,
            _ => return self.shapes.learn(&format!("private {kind}"), payload),
        };
        let rows: Vec<&Value> = match payload[0].is_array() {
            true => payload.as_array().unwrap().iter().collect(),
            false => vec![payload],
        };
        for row_value in rows {
            self.shapes.learn(&format!("own {row}"), row_value);
            if row == "order" {
                self.shapes.learn("order meta", &row_value[31]);
            }
        }
    }
}

fn lines_of(name: &str) -> impl Iterator<Item = Value> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(name);
    let file = std::fs::File::open(&path).unwrap();
    let bytes: Box<dyn Read> = match name.ends_with(".gz") {
        true => Box::new(MultiGzDecoder::new(file)),
        false => Box::new(file),
    };
    BufReader::new(bytes).lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap())
}

/// Our public side on the same channels, with the same flags.
fn ours(flags: u32, tail: usize, len: &str) -> Sorter {
    let mut exchange = crowded(3);
    let mut sorter = Sorter::default();
    let mut now = START;
    exchange.advance(now, 400);
    exchange.connect(1, now);
    if flags > 0 {
        let conf = format!(r#"{{"event":"conf","flags":{flags}}}"#);
        exchange.on_text(1, conf.as_bytes(), now);
    }
    for channel in
        [&format!(r#""book","prec":"P0","freq":"F0","len":"{len}""#), r#""trades""#, r#""ticker""#]
    {
        let text = format!(r#"{{"event":"subscribe","channel":{channel},"symbol":"tBTCUSD"}}"#);
        exchange.on_text(1, text.as_bytes(), now);
    }
    for _ in 0..600 {
        for (_, text) in drain(&mut exchange) {
            sorter.hear(&serde_json::from_str(&text).unwrap(), tail);
        }
        now.0 += 100_000_000;
        exchange.advance(now, 1_000);
    }
    sorter
}

/// Array frames of what is traded in the recording of 2025.
const FRAMES_2025: u64 = 3_496;

fn compare_with_recording(name: &str, flags: u32, tail: usize, len: &str, frames: u64) {
    let mut recorded = Sorter::default();
    for line in lines_of(name) {
        match line.get("msg") {
            Some(message) if line["dir"] == "recv" => recorded.hear(message, tail),
            None if line.get("dir").is_none() => recorded.hear(&line, tail),
            _ => {}
        }
    }
    let seen: u64 = recorded
        .shapes
        .0
        .iter()
        .filter(|(name, _)| name.ends_with("frame"))
        .map(|(_, s)| s.seen)
        .sum();
    assert_eq!(seen, frames, "every frame of what is traded was looked at");
    // Where a coin costs more than a hundred thousand dollars its price has no decimals.
    let is_dear = frames == FRAMES_2025;
    let prices =
        [("book row", &[0][..]), ("ticker row", &[0, 2, 4, 6, 8, 9]), ("trades row", &[3])];
    for (name, places) in prices.into_iter().filter(|_| is_dear) {
        for at in places {
            recorded.shapes.0.get_mut(name).unwrap().kinds[*at].insert(Kind::Fraction);
        }
    }
    let own = ours(flags, tail, len);
    let found = recorded.shapes.differences(&own.shapes);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
#[cfg_attr(not(shared_data), ignore = "needs ../shared/data")]
fn public_arrays_of_2018_have_our_shape() {
    let name = "ws-capture-bitfinex-btcusd-p0-len100-20181112.ndjson.gz";
    compare_with_recording(name, 0, 0, "100", 917_360);
}

#[test]
#[cfg_attr(not(shared_data), ignore = "needs ../shared/data")]
fn public_arrays_of_2021_have_our_shape() {
    let name = "ws-capture-bitfinex-8pairs-seq-20210405.ndjson.gz";
    compare_with_recording(name, 65_536, 1, "100", 22_649);
}

#[test]
#[cfg_attr(not(shared_data), ignore = "needs ../shared/data")]
fn public_arrays_of_2025_have_our_shape() {
    let name = "ws-capture-bitfinex-btcusd-p0-len25-20250815.ndjson.gz";
    compare_with_recording(name, 0, 0, "25", FRAMES_2025);
}

/// Goal: the checksum vector's five lines, too.
#[test]
#[cfg_attr(not(shared_data), ignore = "needs ../shared/data")]
fn the_checksum_frame_has_our_shape() {
    let mut recorded = Sorter::default();
    for line in lines_of("ws-checksum-vector-bitfinex-xrpbtc.ndjson") {
        recorded.hear(&line, 0);
    }
    let own = ours(131_072, 0, "25");
    let found = recorded.shapes.differences(&own.shapes);
    assert!(found.is_empty(), "{found:#?}");
}

/// Goal: what the venue told an account on 2025-08-21, told by ours. Method: the fixture's own
/// story: an order at rest when the account comes, one that is executed at once, one that rests.
#[test]
#[cfg_attr(not(shared_data), ignore = "needs ../shared/data")]
fn the_account_stream_of_2025_has_our_shape() {
    let mut recorded = Sorter::default();
    for line in lines_of("ws-auth-fixture-bitfinex-20250821.ndjson") {
        recorded.hear(&line, 0);
    }
    let mut script = Script::new(config());
    script.play("market bid 113.94 50\nmarket ask 113.95 50\na on EXCHANGE LIMIT 1.5 @100");
    let now = script.now;
    script.connect(3, "a", 2, "");
    script.exchange.on_text(3, br#"{"event":"subscribe","channel":"wallet"}"#, now);
    let mut own = Sorter::default();
    let mut hear = |script: &mut Script| {
        let said = drain(&mut script.exchange).into_iter().filter(|(conn, _)| *conn == 3);
        for (_, text) in said.collect::<Vec<_>>() {
            own.hear(&serde_json::from_str(&text).unwrap(), 0);
        }
    };
    hear(&mut script);
    for order in ["-0.00008865 @112.81", "0.00008688 @115.08", "0.001 @100"] {
        let (amount, px) = order.split_once(" @").unwrap();
        let text = format!(
            r#"[0,"on",null,{{"type":"EXCHANGE LIMIT","symbol":"tBTCUSD","amount":"{amount}","price":"{px}"}}]"#
        );
        script.exchange.on_text(3, text.as_bytes(), now);
        hear(&mut script);
    }
    script.now.0 += 15_000_000_000;
    let now = script.now;
    script.exchange.advance(now, 1_000);
    hear(&mut script);
    // Prices of the recorded orders happen to be whole dollars; elsewhere they are not.
    for (name, places) in [("own order", &[16, 17][..]), ("own te", &[5, 7]), ("own tu", &[5, 7])] {
        for at in places {
            recorded.shapes.0.get_mut(name).unwrap().kinds[*at].insert(Kind::Fraction);
        }
    }
    let found = recorded.shapes.differences(&own.shapes);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
#[cfg_attr(not(shared_data), ignore = "needs ../shared/data")]
fn rest_bodies_have_our_shape() {
    let mut spot = crowded(3);
    spot.advance(WallNs(START.0 + 600_000_000_000), u32::MAX);
    let mut futures = Script::new(derivatives()).exchange;
    let names = ["tBTCUSD", "tETHUSD", "tBTCUST"];
    let listed = ExchangeConfig { symbols: names.map(SymbolSpec::named).to_vec(), ..config() };
    let mut maps = Exchange::new(listed, Box::new(Still(Vec::new()))).unwrap();
    let mut compared = 0;
    for file in [
        "rest-responses-bitfinex-20250810.ndjson.gz",
        "rest-conf-bitfinex-futures-and-maps.ndjson.gz",
    ] {
        for line in lines_of(file) {
            let path = line["path"].as_str().unwrap().strip_prefix("/v2/").unwrap();
            let (path, _) = path.split_once('?').unwrap_or((path, ""));
            let (exchange, query) = match path {
                "conf/pub:info:pair:futures" => (&mut futures, ""),
                "status/deriv" => (&mut futures, "?keys=ALL"),
                "tickers" => (&mut spot, "?symbols=ALL"),
                _ if path.starts_with("conf/pub:map") => (&mut maps, ""),
                _ => (&mut spot, ""),
            };
            let now = exchange.core.now;
            let reply = text(&get(exchange, &format!("{path}{query}"), now));
            let own: Value = serde_json::from_str(&reply).unwrap();
            let (mut recorded_shapes, mut own_shapes) = (Shapes::default(), Shapes::default());
            for (shapes, body) in [(&mut recorded_shapes, &line["body"]), (&mut own_shapes, &own)] {
                if path.starts_with("ticker/") {
                    shapes.learn("row", body);
                    continue;
                }
                let rows = if path.starts_with("conf/") { &body[0] } else { body };
                for row in rows.as_array().unwrap() {
                    if row[0].as_str().is_some_and(|name| name.starts_with('f')) {
                        continue; // funding
                    }
                    shapes.learn("row", row);
                    if row[1].is_array() {
                        shapes.learn("info", &row[1]);
                    }
                }
            }
            // A dollar is the step of a bitcoin's price that day: elsewhere it has decimals.
            let whole_dollars = match path.split('/').next() {
                Some("ticker") => &[0, 2, 4, 6, 8, 9][..],
                Some("book") => &[0],
                Some("candles") => &[1, 2, 3, 4],
                _ => &[],
            };
            for at in whole_dollars {
                let kinds = &mut recorded_shapes.0.get_mut("row").unwrap().kinds;
                kinds[*at].insert(Kind::Fraction);
            }
            let found = recorded_shapes.differences(&own_shapes);
            assert!(found.is_empty(), "{path}: {found:#?}\n{reply}");
            compared += 1;
        }
    }
    assert_eq!(compared, 10);
}
