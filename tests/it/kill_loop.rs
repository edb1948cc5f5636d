//! Goal: `kill -9` at any moment doubles no order, loses no position and loosens nothing. Method:
//! real processes; the engine is killed again and again, at start-up, while it trades, while it is
//! paused and in the middle of a kill, against an exchange with faults of every kind; after each
//! death the exchange is asked what it saw. `scripts/kill-loop` does it 200 times.

#![allow(clippy::disallowed_methods, reason = "deadlines of real processes")]

use crate::kill_and_restart::TAKER;
use crate::run_support::{Attached, Dir, VenueProcess, count, output};
use genesis::base::rng::Rng;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Every fault of the exchange that an engine must live through, again and again: each cycle of
/// 40 s has them all, with seconds of rest in between.
pub fn storms(cycles: u32) -> String {
    let rows = [
        (2.0, 3.0, "delay", "frames = \"answers\"\ndelay_ms = 300\nevery = 3"),
        (6.0, 1.0, "drop", "frames = \"account\"\nevery = 3\ntimes = 1"),
        (9.0, 0.2, "hang_up", ""),
        (9.0, 1.5, "rest_error", "status = 502\npath = \"/auth/\"\napplied = true\nevery = 2"),
        (13.0, 2.0, "cancel_only", ""),
        (17.0, 2.0, "restart", "applied = true\ntimes = 1"),
        (21.0, 2.0, "restart", "applied = false\ntimes = 1"),
        (25.0, 1.5, "maintenance", ""),
        (29.0, 2.0, "nonce_refused", "times = 2"),
        (29.0, 0.2, "hang_up", ""),
        // No 429: after one the venue is left alone for a minute, which is right, and no test.
        (33.0, 1.5, "rest_error", "status = 503\npath = \"/auth/r/\""),
        (36.0, 1.5, "silence", "frames = \"account\"\ndeaf = true"),
        (38.0, 0.5, "duplicate", "frames = \"account\""),
        (39.0, 0.5, "duplicate", "frames = \"trades\""),
    ];
    let mut text = String::new();
    for cycle in 0..cycles {
        for (from_s, for_s, kind, more) in rows {
            let from_s = from_s + 40.0 * f64::from(cycle);
            text.push_str(&format!(
                "[[fault]]\nkind = \"{kind}\"\nfrom_s = {from_s}\nfor_s = {for_s}\n{more}\n"
            ));
        }
    }
    text
}

/// Asks until the venue answers: it refuses on purpose now and then.
pub fn read(venue: &VenueProcess, path: &str) -> Vec<Value> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match venue.try_read(path) {
            Ok(rows) => return rows,
            Err(words) => assert!(Instant::now() < deadline, "{path}: {words}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Positions by symbol, as the venue has them.
fn venue_positions(venue: &VenueProcess) -> BTreeMap<String, f64> {
    let rows = read(venue, "auth/r/positions");
    let held = rows.iter().filter_map(|row| Some((row[0].as_str()?, row[2].as_f64()?)));
    held.filter(|(_, qty)| *qty != 0.0).map(|(name, qty)| (name.to_owned(), qty)).collect()
}

fn json(args: &[&str]) -> Option<Value> {
    let (code, out, _) = output(args);
    (code == 0).then(|| serde_json::from_str(&out).unwrap())
}

/// Positions by symbol, as the running engine has them.
fn engine_positions(dir: &Dir) -> Option<BTreeMap<String, f64>> {
    let status = json(&["status", "--json", "--dir", dir.text()])?;
    let rows = status["symbols"].as_array()?;
    let held =
        rows.iter().filter_map(|row| Some((row["name"].as_str()?, row["position"].as_f64()?)));
    Some(held.filter(|(_, qty)| *qty != 0.0).map(|(name, qty)| (name.to_owned(), qty)).collect())
}

/// What must hold from one life of the engine to the next.
struct Ledger {
    seed: u64,
    /// By client id: the order's id at the venue.
    orders: BTreeMap<u64, u64>,
    /// Highest client id of all lives before this one.
    floor: u64,
    /// Limit of each guard.
    limits: BTreeMap<String, String>,
    trades_today: u64,
}
impl Ledger {
    /// Every order that the exchange knows: one id a client id, and new client ids above all that
    /// an earlier life has used.
    fn look(&mut self, venue: &VenueProcess, round: u64) {
        let floor = self.floor;
        for path in ["auth/r/orders/hist", "auth/r/orders"] {
            for row in read(venue, path) {
                let (id, cid) = (row[0].as_u64().unwrap(), row[2].as_u64().unwrap());
                let at = format!("seed {}, round {round}: {path} {cid}", self.seed);
                match self.orders.insert(cid, id) {
                    Some(known) => assert_eq!(known, id, "{at}: a client id came twice"),
                    None => assert!(cid > floor, "{at}: not above {floor}"),
                }
            }
        }
    }
    /// A life has ended: what comes now must be above it all.
    fn end_of_life(&mut self, venue: &VenueProcess, round: u64) {
        self.look(venue, round);
        self.floor = self.orders.keys().next_back().copied().unwrap_or(0);
    }
    /// No limit and no count of the day is looser than in the life before.
    fn look_at_guards(&mut self, dir: &Dir, round: u64) {
        let Some(guards) = json(&["guards", "--json", "--dir", dir.text()]) else { return };
        for row in guards["guards"].as_array().unwrap() {
            let name = row["guard"].as_str().unwrap();
            let limit = row["limit"].as_str().unwrap();
            // The loss limits are shares of the equity as well.
            if !["daily_loss", "drawdown"].contains(&name) {
                let known = self.limits.entry(name.to_owned()).or_insert_with(|| limit.to_owned());
                assert_eq!(known, limit, "seed {}, round {round}: {name}", self.seed);
            }
            if name == "daily_trade_limit_reached" {
                let used: u64 = row["used"].as_str().unwrap().parse().unwrap();
                let before = self.trades_today;
                assert!(used >= before, "seed {}, round {round}: {before} -> {used}", self.seed);
                self.trades_today = used;
            }
        }
    }
}

/// Pauses that would outlast the test: its probe loses by its fees each time, and faults refuse a
/// dozen orders in a row.
const PATIENT: [&str; 5] = [
    "risk.account.loss_streak_max=100000",
    "risk.account.reject_streak_max=100000",
    "risk.account.daily_loss_max=1000000",
    "risk.account.drawdown_max=1000000",
    "risk.account.foreign_pause_s=1",
];

/// Rounds until the exchange is killed, too.
const VENUE_LIVES_FOR: u64 = 50;

/// What the last life has left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Free,
    Paused,
    /// It was asked for, and no effect was seen in time.
    PausedPerhaps,
    Killed,
}

#[test]
fn an_engine_killed_at_random_moments_doubles_nothing_and_loosens_nothing() {
    let env = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let rounds = env("GENESIS_KILL_ROUNDS").unwrap_or(4);
    let seed = env("GENESIS_KILL_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let dir = Dir::new("sigkill");
    let faults = dir.path().join("faults.toml");
    // As many as a script may hold: 18 cycles, twelve minutes. The venue begins anew before that.
    std::fs::write(&faults, storms(18)).unwrap();
    let state = dir.path().join("venue.state");
    let options = ["--faults", faults.to_str().unwrap(), "--no-rest-limits"];
    let mut venue = VenueProcess::start_with("127.0.0.1:0", &state, &options);
    let address = venue.address();
    let mut rng = Rng::new(seed);
    let mut ledger = Ledger {
        seed,
        orders: BTreeMap::new(),
        floor: 0,
        limits: BTreeMap::new(),
        trades_today: 0,
    };
    let mut set = TAKER.to_vec();
    PATIENT.iter().for_each(|one| set.extend(["--set", one]));
    let mut left = Left::Free;
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for round in 0..rounds {
        let at = format!("seed {seed}, round {round}");
        if round % VENUE_LIVES_FOR == VENUE_LIVES_FOR - 1 {
            // It dies as well, and comes back with what it had.
            venue.kill();
            venue = VenueProcess::start_with(&address, &state, &options);
            *counts.entry("lives of the venue").or_default() += 1;
        }
        let mut engine = Attached::start(&venue.address(), dir.path(), &set);
        match left {
            Left::Free => {}
            Left::PausedPerhaps => {
                let deadline = Instant::now() + Duration::from_secs(30);
                while output(&["resume", "--dir", dir.text()]).0 != 0 {
                    assert!(Instant::now() < deadline, "{at}: no word is taken");
                    std::thread::sleep(Duration::from_millis(200));
                }
            }
            Left::Paused => {
                engine.wait_for("the pause", |_, line| line.contains(" entries-blocked |"));
                std::thread::sleep(Duration::from_millis(1_000));
                // Nothing moves now: what the engine holds is what the venue holds.
                let deadline = Instant::now() + Duration::from_secs(20);
                loop {
                    let (own, told) = (engine_positions(&dir), venue_positions(&venue));
                    if own.as_ref() == Some(&told) {
                        break;
                    }
                    assert!(Instant::now() < deadline, "{at}: {own:?} is not {told:?}");
                    std::thread::sleep(Duration::from_millis(200));
                }
                ledger.look_at_guards(&dir, round);
                assert_eq!(output(&["resume", "--dir", dir.text()]).0, 0, "{at}");
                *counts.entry("pauses kept").or_default() += 1;
            }
            Left::Killed => {
                let before = ledger.orders.len();
                engine.wait_for("the halt", |_, line| line.contains(" halted |"));
                assert!(venue_positions(&venue).is_empty(), "{at}: killed and not flat");
                ledger.look(&venue, round);
                *counts.entry("closes after a restart").or_default() +=
                    (ledger.orders.len() - before) as u64;
                let reset = ["reset", "--reason", "seen flat", "--dir", dir.text()];
                assert_eq!(output(&reset).0, 0, "{at}");
                *counts.entry("kills kept").or_default() += 1;
            }
        }
        left = Left::Free;
        let trading = |sent, line: &str| sent >= 2 && line.contains(" running |");
        let kind = rng.below(20);
        // The first life makes sure that there is something to lose.
        if kind < 8 && round > 0 {
            *counts.entry("at start-up").or_default() += 1;
            std::thread::sleep(Duration::from_millis(rng.below(4_000)));
        } else {
            engine.wait_for("trading", trading);
            ledger.look_at_guards(&dir, round);
            if kind < 14 {
                *counts.entry("while trading").or_default() += 1;
                std::thread::sleep(Duration::from_millis(rng.below(1_500)));
            } else if kind < 17 {
                *counts.entry("while paused").or_default() += 1;
                let is_seen = output(&["pause", "--dir", dir.text()]).0 == 0;
                left = if is_seen { Left::Paused } else { Left::PausedPerhaps };
                std::thread::sleep(Duration::from_millis(rng.below(300)));
            } else {
                *counts.entry("in a kill").or_default() += 1;
                std::fs::write(dir.path().join("kill-embedded"), "in the loop").unwrap();
                left = Left::Killed;
                std::thread::sleep(Duration::from_millis(rng.below(600)));
            }
        }
        assert!(engine.is_alive(), "{at}: it ended by itself");
        engine.kill();
        ledger.end_of_life(&venue, round);
    }
    // The last life ends in peace.
    let mut engine = Attached::start(&venue.address(), dir.path(), &set);
    if left != Left::Free {
        engine.wait_for("what was left", |_, line| !line.contains(" running |"));
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(output(&["reset", "--reason", "the end", "--dir", dir.text()]).0, 0);
    }
    engine.wait_for("trading", |sent, line| sent >= 2 && line.contains(" running |"));
    ledger.look_at_guards(&dir, rounds);
    let report = engine.stop();
    ledger.look(&venue, rounds);
    let held = venue_positions(&venue);
    for (symbol, position) in report["positions"].as_object().unwrap() {
        assert_eq!(position["matches_venue"], true, "seed {seed}, {symbol}: {position}");
        let own: f64 = position["qty"].to_string().trim_matches('"').parse().unwrap();
        let told = held.get(symbol).copied().unwrap_or(0.0);
        assert!((own - told).abs() < 1e-9, "seed {seed}, {symbol}: {own} is not {told}");
    }
    assert_eq!(count(&report, "/orders/unknown"), 0, "seed {seed}");
    assert!(read(&venue, "auth/r/orders").is_empty(), "seed {seed}: orders are left");
    assert!(ledger.trades_today > 0, "the probe has traded");
    eprintln!(
        "{rounds} kills, seed {seed}: {counts:?}; {} orders, none twice; {} trades counted",
        ledger.orders.len(),
        ledger.trades_today
    );
}
