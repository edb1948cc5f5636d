//! Entry for a fuzzer: arbitrary bytes as what clients send, with what must hold whatever they are.
//! Compiled always, so that it cannot rot; called by a test with seeded mutations and by the fuzz
//! targets.

use super::json::Json;
use super::sign::sign;
use super::*;
use crate::base::time::SpanNs;
use crate::base::units::Side;

/// Start of the market's clock, and what passes between two lines.
const START: WallNs = WallNs::from_ms(1_735_689_600_000);
const STEP: SpanNs = SpanNs::from_ms(150);
const ONE: i64 = 100_000_000;
const SECRET: &str = "fuzz-secret";

/// A house that puts a book there once and does nothing more.
struct House {
    is_set: bool,
}
impl MarketSource for House {
    fn symbols(&self) -> Vec<String> {
        vec!["tBTCUSD".to_owned()]
    }
    fn history(&self, _symbol: &str) -> Vec<Candle> {
        Vec::new()
    }
    fn next_at(&self) -> Option<WallNs> {
        (!self.is_set).then_some(START)
    }
    fn step(&mut self, floor: &mut dyn Floor) {
        self.is_set = true;
        for level in 0..30 {
            floor.house_limit(0, Side::Buy, (100 - level) * ONE, ONE);
            floor.house_limit(0, Side::Sell, (101 + level) * ONE, ONE);
        }
    }
    fn state(&self) -> SourceState {
        SourceState::default()
    }
    fn resume(&mut self, _state: &SourceState, _now: WallNs) {}
}

/// Looks at what clients would be told instead of keeping it.
#[derive(Default)]
struct Checker {
    told: u64,
}
impl Outgoing for Checker {
    fn text(&mut self, _conn: u64, payload: &[u8]) {
        assert!(Json::parse(payload).is_some(), "a client is told JSON");
        self.told += 1;
    }
    fn close(&mut self, _conn: u64) {}
}

/// Lines of `bytes` as what three clients send, by each line's first byte: `1` a signed-in socket,
/// `2` an anonymous one, `g` a public read, `p` a private call (path, space, body), signed; any
/// other byte: the whole line on the signed-in socket. Money is neither made nor lost, the book is
/// not crossed, and everybody is told JSON.
pub fn fuzz_exchange(bytes: &[u8]) {
    let mut account = AccountSpec::funded("a", SECRET);
    account.balances.retain(|(_, currency, _)| currency == "USD" || currency == "BTC");
    let config = ExchangeConfig { accounts: vec![account], ..ExchangeConfig::default() };
    let made = Exchange::new(config, Box::new(House { is_set: false }));
    let mut exchange = made.expect("a config of our own");
    let (mut now, mut nonce) = (START, 1u64);
    exchange.advance(now, 100);
    let payload = format!("AUTH{nonce}");
    let signature = sign(SECRET, &[payload.as_bytes()]);
    let auth = format!(
        r#"{{"event":"auth","apiKey":"a","authSig":"{signature}","authPayload":"{payload}","authNonce":{nonce}}}"#
    );
    exchange.connect(1, now);
    exchange.on_text(1, auth.as_bytes(), now);
    exchange.connect(2, now);
    let before = exchange.totals();
    let mut checker = Checker::default();
    for line in bytes.split(|byte| *byte == b'\n') {
        now = now + STEP;
        exchange.advance(now, 1_000);
        let call = |method, path, nonce, signature, body| HttpRequest {
            method,
            path_and_query: path,
            api_key: Some("a"),
            nonce,
            signature,
            token: None,
            if_none_match: None,
            body,
        };
        let reply = match line {
            [b'2', text @ ..] => {
                exchange.on_text(2, text, now);
                None
            }
            [b'g', path @ ..] => {
                let path = String::from_utf8_lossy(path);
                Some(exchange.rest(&call("GET", &path, None, None, b""), now))
            }
            [b'p', rest @ ..] => {
                let cut = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
                let path = String::from_utf8_lossy(&rest[..cut]);
                let body = rest.get(cut + 1..).unwrap_or_default();
                nonce += 1;
                let text = nonce.to_string();
                let signed = [path.as_bytes(), text.as_bytes(), body];
                let signature = sign(SECRET, &[&b"/api"[..], signed[0], signed[1], signed[2]]);
                let request = call("POST", &path, Some(&text), Some(&signature), body);
                Some(exchange.rest(&request, now))
            }
            [b'1', text @ ..] | text => {
                exchange.on_text(1, text, now);
                None
            }
        };
        if let Some(reply) = reply {
            assert!((200..=599).contains(&reply.status), "{}", reply.status);
        }
        exchange.drain(&mut checker);
    }
    assert!(checker.told > 0, "the greeting at least");
    assert_eq!(exchange.totals(), before, "money was made or lost");
    let depth = &exchange.core.listings[0].depth;
    let (bid, ask) = (depth.best(Side::Buy), depth.best(Side::Sell));
    assert!(bid.is_none() || ask.is_none() || bid < ask, "{bid:?} {ask:?}");
}

/// Lines that make sense, for whoever mutates them.
pub const SAMPLES: &[&str] = &[
    r#"1[0,"on",null,{"type":"EXCHANGE LIMIT","symbol":"tBTCUSD","amount":"0.5","price":"100","cid":5,"flags":4096}]"#,
    r#"1[0,"on",null,{"type":"MARKET","symbol":"tBTCUSD","amount":"-0.5","cid":6}]"#,
    r#"1[0,"on",null,{"type":"STOP LIMIT","symbol":"tBTCUSD","amount":"0.5","price":"102","price_aux_limit":"103"}]"#,
    r#"1[0,"on",null,{"type":"TRAILING STOP","symbol":"tBTCUSD","amount":"-0.5","price_trailing":"2"}]"#,
    r#"1[0,"ou",null,{"id":1,"delta":"0.1","price":"99.5"}]"#,
    r#"1[0,"oc",null,{"cid":5,"cid_date":"2025-01-01"}]"#,
    r#"1[0,"oc_multi",null,{"all":1}]"#,
    r#"1[0,"ox_multi",null,[["oc",{"id":1}],["on",{"type":"LIMIT","symbol":"tBTCUSD","amount":"1","price":"90"}]]]"#,
    r#"1[0,"calc",null,[["balance"],["position_tBTCUSD"],["wallet_margin_USD"]]]"#,
    r#"2{"event":"conf","flags":229376}"#,
    r#"2{"event":"subscribe","channel":"book","symbol":"tBTCUSD","prec":"P0","freq":"F0","len":"25","subId":7}"#,
    r#"2{"event":"subscribe","channel":"book","symbol":"tBTCUSD","prec":"R0"}"#,
    r#"2{"event":"subscribe","channel":"trades","symbol":"tBTCUSD"}"#,
    r#"2{"event":"subscribe","channel":"candles","key":"trade:1m:tBTCUSD"}"#,
    r#"2{"event":"unsubscribe","chanId":1}"#,
    r#"2{"event":"ping","cid":3}"#,
    "g/v2/book/tBTCUSD/P0?len=25",
    "g/v2/trades/tBTCUSD/hist?limit=5&sort=1&start=1&end=2",
    "g/v2/candles/trade:1m:tBTCUSD/hist?limit=3",
    "g/v2/tickers?symbols=ALL",
    "g/v2/conf/pub:list:pair:exchange,pub:info:pair",
    r#"p/v2/auth/w/order/submit {"type":"LIMIT","symbol":"tBTCUSD","amount":"-0.2","price":"103"}"#,
    r#"p/v2/auth/w/order/cancel {"id":1}"#,
    r#"p/v2/auth/r/orders/hist {"limit":10,"start":1}"#,
    "p/v2/auth/r/wallets {}",
    "p/v2/auth/r/trades/tBTCUSD/hist {}",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    #[test]
    fn samples_make_sense_and_mutated_ones_break_nothing() {
        fuzz_exchange(SAMPLES.join("\n").as_bytes());
        const SPICE: &[u8] = b"[]{},:\"\\e.-+0123456789nul \n\xff";
        let mut rng = Rng::new(43);
        for _ in 0..150 {
            let mut bytes = Vec::new();
            for _ in 0..1 + rng.below(8) {
                bytes.extend(SAMPLES[rng.below(SAMPLES.len() as u64) as usize].as_bytes());
                bytes.push(b'\n');
            }
            for _ in 0..rng.below(6) {
                let at = rng.below(bytes.len() as u64) as usize;
                match rng.below(3) {
                    0 => bytes[at] = SPICE[rng.below(SPICE.len() as u64) as usize],
                    1 => drop(bytes.remove(at)),
                    _ => bytes.insert(at, SPICE[rng.below(SPICE.len() as u64) as usize]),
                }
                if bytes.is_empty() {
                    break;
                }
            }
            fuzz_exchange(&bytes);
        }
    }
}
