//! The kill switch under every condition, with real processes. Goal: it ends flat, or with every
//! order and quantity that is left written down; no entry leaves after it. Method: the switch is
//! pulled at random moments; the record and the exchange are asked afterwards. Short here; the long
//! form is `scripts/kill-matrix`, ten moments a condition.

#![allow(clippy::disallowed_methods, reason = "deadlines of real processes")]

use crate::run_support::{Attached, Dir, VenueProcess, output};
use genesis::base::rng::Rng;
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Normal,
    /// Two of three REST calls are refused with 429.
    Storm,
    /// Orders larger than the best levels: closes are filled piece by piece.
    Partial,
    /// The exchange takes cancels only, for some seconds of each ten.
    CancelOnly,
    /// The exchange is dead.
    Gone,
    /// A strategy hangs; nothing behind it in the line hears anything.
    Stuck,
    /// And where it stands on the one thread that does everything.
    StuckFused,
    Fused,
}
use Condition as C;
const ALL: [Condition; 8] =
    [C::Normal, C::Storm, C::Partial, C::CancelOnly, C::Gone, C::Stuck, C::StuckFused, C::Fused];

impl Condition {
    fn faults(self) -> String {
        let cycle = |from_s: f64| match self {
            C::Storm => format!(
                "[[fault]]\nkind = \"rest_error\"\nstatus = 429\nretry_after_s = 1\nevery = 2\n\
                 from_s = {from_s}\nfor_s = 10\n"
            ),
            C::CancelOnly => {
                format!("[[fault]]\nkind = \"cancel_only\"\nfrom_s = {from_s}\nfor_s = 6\n")
            }
            _ => String::new(),
        };
        (0..100).map(|nth| cycle(4.0 + 10.0 * f64::from(nth))).collect()
    }
    fn engine(self) -> Vec<String> {
        let qty = if self == C::Partial { "\"3\"" } else { "\"0.01\"" };
        let hangs = ",{kind=\"custom\",name=\"drill-hangs\",symbols=[\"tADAUSD\"],qty=\"10\"}";
        let mut set = vec![
            "symbols=[\"tBTCUSD\",\"tETHUSD\",\"tADAUSD\"]".to_owned(),
            format!(
                "strategy=[{{kind=\"probe\",symbols=[\"tBTCUSD\"],qty={qty},style=\"take\",\
                 every_changes=7}},{{kind=\"maker\",symbols=[\"tETHUSD\"],qty=\"0.2\",\
                 inventory_max=\"2\"}}{}]",
                if matches!(self, C::Stuck | C::StuckFused) { hangs } else { "" }
            ),
            "report.line_interval_s=1".to_owned(),
            "watchdog.on_hang=\"tell\"".to_owned(),
        ];
        if self == C::Partial {
            for key in ["order_notional_max", "position_notional_max", "exposure_max"] {
                set.push(format!("risk.{key}=5000000"));
            }
            // Fees of such sizes would end the day before the kill does.
            for key in ["daily_loss_max", "drawdown_max"] {
                set.push(format!("risk.account.{key}=1000000"));
                set.push(format!("risk.account.{key}_pct=100"));
            }
        }
        if matches!(self, C::Fused | C::StuckFused) {
            set.push("topology.layout=\"fused\"".to_owned());
        }
        set.into_iter().flat_map(|one| ["--set".to_owned(), one]).collect()
    }
}

/// The newest run's record, newer than `after`.
fn record(dir: &Path, after: &str, within: Duration) -> Value {
    let deadline = Instant::now() + within;
    loop {
        if let Ok(name) = std::fs::read_to_string(dir.join("latest"))
            && let Ok(text) = std::fs::read_to_string(dir.join(name.trim()).join("kill.json"))
        {
            let record: Value = serde_json::from_str(&text).unwrap();
            if record["at"].as_str().unwrap() > after {
                return record;
            }
        }
        assert!(Instant::now() < deadline, "no record of the kill in {}", dir.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What the exchange holds: own open orders, and positions.
fn held(venue: &VenueProcess) -> (usize, Vec<String>) {
    let rows = |path: &str| crate::kill_loop::read(venue, path);
    let positions = rows("auth/r/positions");
    let open: Vec<String> = positions
        .iter()
        .filter(|row| row[2].as_f64().is_some_and(|qty| qty != 0.0))
        .map(|row| row[0].as_str().unwrap().to_owned())
        .collect();
    (rows("auth/r/orders").len(), open)
}

#[derive(Debug, Default)]
struct Tally {
    flat: u32,
    written: u32,
    first_cancel_us: Vec<u64>,
    took_ms: Vec<u64>,
}

/// One pull at a random moment of a run of its own.
fn pull_once(condition: Condition, rng: &mut Rng, tally: &mut Tally) {
    let dir = Dir::new("matrix");
    let faults = dir.path().join("faults.toml");
    std::fs::write(&faults, condition.faults()).unwrap();
    let options = ["--faults", faults.to_str().unwrap(), "--no-rest-limits"];
    let state = dir.path().join("venue.state");
    let mut venue = VenueProcess::start_with("127.0.0.1:0", &state, &options);
    let address = venue.address();
    let set = condition.engine();
    let set: Vec<&str> = set.iter().map(String::as_str).collect();
    let mut engine = Attached::start(&address, dir.path(), &set);
    engine.wait_for("trading", |sent, line| sent >= 3 && line.contains(" running |"));
    std::thread::sleep(Duration::from_millis(rng.below(2_000)));
    if matches!(condition, C::Stuck | C::StuckFused) {
        // Heard by the strategy, which never comes back.
        let _ = output(&["pause", "--dir", dir.text()]);
        std::thread::sleep(Duration::from_millis(rng.below(1_000)));
    }
    if condition == C::Gone {
        venue.kill();
        std::thread::sleep(Duration::from_millis(rng.below(500)));
        let args = ["kill", "--reason", "matrix", "--dir", dir.text()];
        let _ = output(&args);
        let record = record(dir.path(), "", Duration::from_secs(150));
        assert_eq!(record["flat"], false, "nobody was asked: {record}");
        let left = record["leftovers"].as_array().unwrap();
        assert!(!left.is_empty() && left[0]["reason"].as_str().unwrap() != "", "{record}");
        tally.written += 1;
        // It comes back: no entry follows, the kill goes on to its end and says so.
        venue = VenueProcess::start_with(&address, &state, &options);
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            let last = self::record(dir.path(), "", Duration::from_secs(1));
            let now = held(&venue);
            if now == (0, Vec::new()) && last["flat"] == true {
                break;
            }
            assert!(Instant::now() < deadline, "{now:?} is left: {last}");
            std::thread::sleep(Duration::from_millis(300));
        }
        tally.took_ms.push(record["took_ms"].as_u64().unwrap());
        engine.kill();
        return;
    }
    // By word, by file, or past the dead engine.
    match rng.below(3) {
        0 => std::fs::write(dir.path().join("kill-embedded"), "matrix").unwrap(),
        1 if !matches!(condition, C::Stuck | C::StuckFused) => {
            engine.kill();
            let args = ["kill", "--direct", "--reason", "matrix", "--dir", dir.text()];
            let (code, out, err) = output(&args);
            assert!([0, 3, 4].contains(&code), "{condition:?}: {code} {out}{err}");
        }
        _ => {
            let _ = output(&["kill", "--reason", "matrix", "--dir", dir.text()]);
        }
    }
    let record = record(dir.path(), "", Duration::from_secs(90));
    let (orders, positions) = held(&venue);
    let at = format!("{condition:?}: {record}; the venue holds {orders} orders, {positions:?}");
    if record["flat"] == true {
        assert!(orders == 0 && positions.is_empty(), "said flat and is not: {at}");
        tally.flat += 1;
    } else {
        let left = record["leftovers"].as_array().unwrap();
        assert!(!left.is_empty(), "{at}");
        for symbol in &positions {
            let named = left.iter().any(|row| row["symbol"] == **symbol && row["reason"] != "");
            assert!(named, "{symbol} is not written down: {at}");
        }
        tally.written += 1;
    }
    tally.took_ms.push(record["took_ms"].as_u64().unwrap());
    tally.first_cancel_us.extend(record["first_cancel_us"].as_u64());
    // No entry came after it: what the exchange knows does not grow.
    let count = || crate::kill_loop::read(&venue, "auth/r/orders/hist").len();
    let before = count();
    std::thread::sleep(Duration::from_millis(1_000));
    assert_eq!(count(), before, "an order after the end of the kill: {at}");
    engine.kill();
}

fn at(sorted: &[u64], share: f64) -> u64 {
    let place = (sorted.len().saturating_sub(1) as f64 * share).ceil() as usize;
    sorted.get(place).copied().unwrap_or(0)
}

fn matrix(conditions: &[Condition], moments: u32, seed: u64) {
    let mut rng = Rng::new(seed);
    for condition in conditions {
        let mut tally = Tally::default();
        for _ in 0..moments {
            pull_once(*condition, &mut rng, &mut tally);
        }
        tally.first_cancel_us.sort_unstable();
        tally.took_ms.sort_unstable();
        let (first, took) = (&tally.first_cancel_us, &tally.took_ms);
        eprintln!(
            "{condition:?}: {} flat, {} written down; first cancel µs p50 {} p99 {} ({} told); \
             to the end ms p50 {} p99 {}; seed {seed}",
            tally.flat,
            tally.written,
            at(first, 0.5),
            at(first, 0.99),
            first.len(),
            at(took, 0.5),
            at(took, 0.99)
        );
        assert_eq!(tally.flat + tally.written, moments);
    }
}

#[test]
fn a_kill_ends_flat_or_says_what_is_left() {
    let seed = u64::from(std::process::id());
    matrix(&[C::Partial, C::CancelOnly, C::Stuck, C::StuckFused], 1, seed);
}

#[test]
#[ignore = "ten moments of each condition: half an hour; scripts/kill-matrix"]
fn a_kill_under_every_condition() {
    let seed = std::env::var("GENESIS_KILL_SEED").ok().and_then(|seed| seed.parse().ok());
    let moments = std::env::var("GENESIS_KILL_MOMENTS").ok().and_then(|n| n.parse().ok());
    let only = std::env::var("GENESIS_KILL_CONDITION").unwrap_or_default();
    let chosen: Vec<Condition> =
        ALL.into_iter().filter(|each| only.is_empty() || format!("{each:?}") == only).collect();
    assert!(!chosen.is_empty(), "no condition {only}; write one of {ALL:?}");
    matrix(&chosen, moments.unwrap_or(10), seed.unwrap_or(1));
}
