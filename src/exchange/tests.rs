//! The room as a whole, under clients that send anything.

use super::*;
use crate::base::rng::Rng;
use crate::base::units::Side;

const START: WallNs = WallNs::from_ms(1_735_689_600_000);
const ONE: i64 = 100_000_000;

/// A house that keeps some orders round 100 and takes now and then.
struct Crowd {
    rng: Rng,
    now: WallNs,
    resting: Vec<u64>,
}

impl MarketSource for Crowd {
    fn symbols(&self) -> Vec<String> {
        vec!["tBTCUSD".to_owned()]
    }
    fn history(&self, _symbol: &str) -> Vec<Candle> {
        Vec::new()
    }
    fn next_at(&self) -> Option<WallNs> {
        Some(self.now)
    }
    fn step(&mut self, floor: &mut dyn Floor) {
        self.now.0 += 100_000_000;
        let side = if self.rng.chance(1, 2) { Side::Buy } else { Side::Sell };
        let qty = self.rng.between(1, 2 * ONE);
        match self.rng.below(4) {
            0 => drop(floor.house_take(0, side, qty)),
            1 if self.resting.len() > 40 => {
                let at = self.rng.below(self.resting.len() as u64) as usize;
                floor.house_cancel(0, self.resting.swap_remove(at));
            }
            _ => {
                let px = 100 * ONE - side.sign() * self.rng.between(-20, 200) * ONE / 100;
                self.resting.extend(floor.house_limit(0, side, px, qty));
            }
        }
    }
    fn state(&self) -> SourceState {
        SourceState::default()
    }
    fn resume(&mut self, _state: &SourceState, now: WallNs) {
        self.now = now;
    }
}

pub fn crowded(seed: u64) -> Exchange {
    let crowd = Crowd { rng: Rng::new(seed), now: START, resting: Vec::new() };
    let config = ExchangeConfig {
        accounts: vec![AccountSpec::funded("a", "sa"), AccountSpec::funded("b", "sb")],
        ..ExchangeConfig::default()
    };
    Exchange::new(config, Box::new(crowd)).unwrap()
}

#[derive(Default)]
struct Taken(Vec<(u64, String)>);
impl Outgoing for Taken {
    fn text(&mut self, conn: u64, payload: &[u8]) {
        self.0.push((conn, String::from_utf8(payload.to_vec()).unwrap()));
    }
    fn close(&mut self, conn: u64) {
        self.0.push((conn, "(close)".to_owned()));
    }
}
fn drain(exchange: &mut Exchange) -> Vec<(u64, String)> {
    let mut taken = Taken::default();
    exchange.drain(&mut taken);
    taken.0
}

fn login(exchange: &mut Exchange, conn: u64, key: &str, secret: &str, nonce: u64) {
    let payload = format!("AUTH{nonce}");
    let signature = sign::sign(secret, &[payload.as_bytes()]);
    let text = format!(
        r#"{{"event":"auth","apiKey":"{key}","authSig":"{signature}","authPayload":"{payload}","authNonce":{nonce}}}"#
    );
    exchange.connect(conn, START);
    exchange.on_text(conn, text.as_bytes(), START);
    let said = drain(exchange);
    assert!(said.iter().any(|(_, text)| text.contains("\"status\":\"OK\"")), "{said:?}");
}

/// A number that a client might send: sensible, at a border, or absurd.
fn number(rng: &mut Rng) -> String {
    match rng.below(12) {
        0 => "0".into(),
        1 => "-1e-8".into(),
        2 => "92233720368.54775807".into(),
        3 => "-92233720368.54775807".into(),
        4 => "1e99".into(),
        5 => "\"NaN\"".into(),
        6 => "null".into(),
        7 => format!("\"{}\"", rng.between(-300, 300)),
        8 => format!("{}e-2", rng.between(9_000, 11_000)),
        _ => format!("\"{}.{}\"", rng.between(95, 105), rng.below(100)),
    }
}

pub fn message(rng: &mut Rng, ids: &[u64]) -> String {
    let kinds = ["LIMIT", "MARKET", "STOP", "STOP LIMIT", "TRAILING STOP", "FOK", "IOC", "ODD"];
    let prefix = if rng.chance(1, 2) { "EXCHANGE " } else { "" };
    let kind = kinds[rng.below(8) as usize];
    let id = if ids.is_empty() { 1 } else { ids[rng.below(ids.len() as u64) as usize] };
    let amount = match rng.below(4) {
        0 => number(rng),
        _ => format!("\"{}\"", rng.between(-200, 200) as f64 / 100.0),
    };
    let flags = [0, 0, 64, 512, 1024, 4096, 16_384, 5_120][rng.below(8) as usize];
    match rng.below(10) {
        0 => format!(r#"[0,"oc",null,{{"id":{id}}}]"#),
        1 => {
            let (amount, px) = (number(rng), number(rng));
            format!(r#"[0,"ou",null,{{"id":{id},"amount":{amount},"price":{px}}}]"#)
        }
        2 => format!(r#"[0,"ou",null,{{"id":{id},"delta":{}}}]"#, number(rng)),
        3 => r#"[0,"oc_multi",null,{"all":1}]"#.to_owned(),
        4 => format!(r#"[0,"calc",null,[["balance"],["position_tBTCUSD"],["{kind}"]]]"#),
        _ => {
            let (px, aux, trail) = (number(rng), number(rng), number(rng));
            format!(
                r#"[0,"on",null,{{"type":"{prefix}{kind}","symbol":"tBTCUSD","amount":{amount},"price":{px},"price_aux_limit":{aux},"price_trailing":{trail},"flags":{flags}}}]"#
            )
        }
    }
}

/// Goal: whatever two accounts send, money is neither made nor lost, the public book is never
/// crossed, and nothing panics. Method: random messages, most of them meaningful, many absurd.
#[test]
fn money_is_conserved_whatever_is_sent() {
    for seed in 1..=4 {
        let mut rng = Rng::new(seed);
        let mut exchange = crowded(seed);
        login(&mut exchange, 1, "a", "sa", 1);
        login(&mut exchange, 2, "b", "sb", 1);
        let before = exchange.totals();
        let (mut now, mut ids) = (START, Vec::new());
        for turn in 0..5_000u32 {
            now.0 += rng.between(0, 200_000_000);
            exchange.advance(now, 1_000);
            let text = message(&mut rng, &ids);
            exchange.on_text(1 + rng.below(2), text.as_bytes(), now);
            for (_, told) in drain(&mut exchange) {
                if let Some(rest) = told.strip_prefix("[0,\"on\",[") {
                    ids.push(rest.split(',').next().unwrap().parse().unwrap());
                }
            }
            if ids.len() > 50 {
                ids.remove(0);
            }
            if turn % 64 == 0 {
                assert_eq!(exchange.totals(), before, "seed {seed} turn {turn}: {text}");
                let depth = &exchange.core.listings[0].depth;
                let (bid, ask) = (depth.best(Side::Buy), depth.best(Side::Sell));
                assert!(bid.is_none() || ask.is_none() || bid < ask, "{bid:?} {ask:?}");
            }
        }
        assert_eq!(exchange.totals(), before);
        let stats = exchange.stats();
        assert!(stats.fills > 500 && stats.refused > 500 && stats.orders > 500, "{stats:?}");
    }
}
