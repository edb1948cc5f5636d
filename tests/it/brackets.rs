//! Protective orders through the running program: what is filled rests under a stop and a target of
//! exactly its size at the exchange, over a pause, a SIGKILL and a restart; a stop that somebody
//! takes away while the exchange refuses new ones is told, and the position is closed for it.

#![allow(clippy::disallowed_methods, reason = "deadlines of real processes")]

use crate::run_support::{Attached, Dir, VenueProcess, output};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Takes now and then, far enough from its stop and target that they seldom fire.
const PROTECTED: [&str; 8] = [
    "--set",
    "symbols=[\"tBTCUSD\"]",
    "--set",
    "strategy=[{kind=\"probe\",symbols=[\"tBTCUSD\"],qty=\"0.01\",style=\"take\",every_changes=7,\
     stop_bps=\"150\",target_bps=\"150\"}]",
    "--set",
    "orders.naked_alarm_after_s=2",
    "--set",
    "orders.naked_close_after_s=4",
];

fn until<T>(what: &str, within_s: u64, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(within_s);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not come about");
        std::thread::sleep(Duration::from_millis(100));
    }
}
fn word(dir: &Dir, words: &[&str]) {
    let (code, _, err) = output(&[words, &["--dir", dir.text()]].concat());
    assert_eq!(code, 0, "{words:?}: {err}");
}
fn status(dir: &Dir) -> Value {
    let (_, out, _) = output(&["status", "--json", "--dir", dir.text()]);
    serde_json::from_str(&out).unwrap_or_default()
}
fn held(dir: &Dir) -> f64 {
    status(dir)["symbols"][0]["position"].as_f64().unwrap_or(0.0)
}
/// Position of the symbol at the exchange.
fn at_venue(venue: &VenueProcess) -> f64 {
    let rows = crate::kill_loop::read(venue, "auth/r/positions");
    rows.iter().filter_map(|row| row[2].as_f64()).sum()
}
/// What rests at the exchange: type → (id, signed amount). No two of one type.
fn resting(venue: &VenueProcess) -> BTreeMap<String, (u64, f64)> {
    let rows = crate::kill_loop::read(venue, "auth/r/orders");
    let row = |row: &Value| {
        let kind = row[8].as_str().unwrap().to_owned();
        (kind, (row[0].as_u64().unwrap(), row[6].as_f64().unwrap()))
    };
    let all: BTreeMap<_, _> = rows.iter().map(row).collect();
    if all.len() == rows.len() { all } else { BTreeMap::new() }
}
/// Both legs rest and are as large as the position, which is not flat.
fn protected(venue: &VenueProcess) -> Option<f64> {
    let position = at_venue(venue);
    let legs = resting(venue);
    let same = |kind: &str| legs.get(kind).is_some_and(|leg| (leg.1 + position).abs() < 1e-9);
    (position != 0.0 && legs.len() == 2 && same("STOP") && same("LIMIT")).then_some(position)
}
/// Trades until something is held, then pauses with it.
fn paused_with_a_position(dir: &Dir) {
    until("a pause with a position", 60, || {
        word(dir, &["pause", "--reason", "a look"]);
        std::thread::sleep(Duration::from_millis(300));
        let is_it = held(dir) != 0.0;
        if !is_it {
            word(dir, &["resume"]);
        }
        is_it.then_some(())
    });
}

#[test]
fn what_is_filled_is_protected_through_a_pause_a_kill_9_and_a_restart() {
    let dir = Dir::new("brackets");
    let state = dir.path().join("venue.state");
    let venue = VenueProcess::start_with("127.0.0.1:0", &state, &["--no-rest-limits"]);
    let address = venue.address();
    let mut engine = Attached::start(&address, dir.path(), &PROTECTED);
    engine.wait_for("trading", |sent, line| sent >= 3 && line.contains(" running |"));
    paused_with_a_position(&dir);
    let first = until("both legs of the position's size", 20, || protected(&venue));
    let told = |what: &str| {
        until(what, 30, || {
            (status(&dir)["symbols"][0]["protected"].as_f64() == Some(first.abs())).then_some(())
        });
    };
    told("the status that says so");
    // A cancel of everything takes neither of them.
    let legs = resting(&venue);
    word(&dir, &["cancel", "--reason", "a look"]);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(resting(&venue), legs);
    // The program dies; what protects stays, and the next life takes it over as it is.
    engine.kill();
    assert_eq!(resting(&venue), legs);
    let mut engine = Attached::start(&address, dir.path(), &PROTECTED);
    told("the same protection");
    assert_eq!(resting(&venue), legs, "none was made anew");
    // It trades on, and protects on.
    word(&dir, &["resume"]);
    let sent = status(&dir)["counts"]["orders_sent"].as_u64().unwrap();
    until("more orders", 60, || {
        (status(&dir)["counts"]["orders_sent"].as_u64() > Some(sent + 6)).then_some(())
    });
    paused_with_a_position(&dir);
    until("both legs again", 20, || protected(&venue));
    // No client id came twice.
    let mut seen: BTreeMap<u64, u64> = BTreeMap::new();
    for path in ["auth/r/orders/hist", "auth/r/orders"] {
        for row in crate::kill_loop::read(&venue, path) {
            let (id, cid) = (row[0].as_u64().unwrap(), row[2].as_u64().unwrap());
            assert_eq!(*seen.entry(cid).or_insert(id), id, "client id {cid} came twice");
        }
    }
    // A stop that keeps positions keeps what protects them.
    let report = engine.stop();
    assert_eq!(protected(&venue).map(|qty| qty != 0.0), Some(true), "{report}");
    let orders = &report["orders"];
    assert_eq!((orders["open"].as_u64(), orders["protecting"].as_u64()), (Some(0), Some(2)));
}

#[test]
fn a_position_whose_stop_is_taken_away_is_told_and_closed() {
    let dir = Dir::new("naked");
    let faults = dir.path().join("faults.toml");
    let script = "[[fault]]\nkind = \"cancel_only\"\nfrom_s = 40\nfor_s = 12\n";
    std::fs::write(&faults, script).unwrap();
    let state = dir.path().join("venue.state");
    let options = ["--no-rest-limits", "--faults", faults.to_str().unwrap()];
    let begun = Instant::now();
    let venue = VenueProcess::start_with("127.0.0.1:0", &state, &options);
    let mut set = PROTECTED.to_vec();
    set.extend(["--set", "risk.guards.reject_streak=\"off\""]);
    let mut engine = Attached::start(&venue.address(), dir.path(), &set);
    engine.wait_for("trading", |sent, line| sent >= 3 && line.contains(" running |"));
    paused_with_a_position(&dir);
    until("both legs of the position's size", 20, || protected(&venue));
    assert!(begun.elapsed() < Duration::from_secs(40), "too late for the fault");
    std::thread::sleep(Duration::from_secs(42).saturating_sub(begun.elapsed()));
    // By hand, as a person at the venue's page might.
    let (id, _) = resting(&venue)["STOP"];
    until("the stop cancelled", 5, || venue.cancel_as_owner(&json!({ "id": id })).ok());
    let told = until("the alarm", 10, || {
        let row = status(&dir)["symbols"][0].clone();
        (row["is_naked"] == true).then_some(row)
    });
    assert_eq!(told["protected"].as_f64(), Some(0.0), "{told}");
    let alerts = until("its alert", 10, || {
        let rows = status(&dir)["alerts"]["active"].clone();
        rows.to_string().contains("naked_position").then_some(rows)
    });
    assert!(alerts.to_string().contains("RUNBOOK.md#naked_position"), "{alerts}");
    until("flat", 60, || (at_venue(&venue) == 0.0 && resting(&venue).is_empty()).then_some(()));
    let counts = status(&dir)["counts"].clone();
    assert!(counts["naked_alarms"].as_u64() >= Some(1), "{counts}");
    assert!(counts["naked_closes"].as_u64() >= Some(1), "{counts}");
    until("the end of the alarm", 10, || {
        (status(&dir)["symbols"][0]["is_naked"] == false).then_some(())
    });
    engine.stop();
}
