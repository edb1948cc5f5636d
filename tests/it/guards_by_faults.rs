//! Guards that no limit trips but an event: a person's word, an answer that is lost, a position
//! that cannot be closed. Goal: each objects in the running program, holds orders, and lets go when
//! its cause is over. Method: an engine attached to an exchange with a script of faults.

#![allow(clippy::disallowed_methods, reason = "deadlines of real processes")]

use crate::run_support::{Attached, Dir, output};
use crate::venue_process::Venue;
use serde_json::Value;
use std::time::{Duration, Instant};

const TAKER: [&str; 4] = [
    "--set",
    "symbols=[\"tBTCUSD\"]",
    "--set",
    "strategy=[{kind=\"probe\",symbols=[\"tBTCUSD\"],qty=\"0.01\",style=\"take\",every_changes=7}]",
];

/// From here on the exchange takes cancels only for a while.
const REFUSED_S: u64 = 75;

fn objects(dir: &Dir, guard: &str) -> bool {
    let (code, out, err) = output(&["guards", "--json", "--dir", dir.text()]);
    assert_eq!(code, 0, "{err}");
    let guards: Value = serde_json::from_str(&out).unwrap();
    let rows = guards["guards"].as_array().unwrap();
    rows.iter().find(|row| row["guard"] == guard).unwrap()["objects"] == true
}
fn status(dir: &Dir) -> Value {
    let (_, out, _) = output(&["status", "--json", "--dir", dir.text()]);
    serde_json::from_str(&out).unwrap_or_default()
}
fn sent(dir: &Dir) -> u64 {
    status(dir)["counts"]["orders_sent"].as_u64().unwrap_or(0)
}
fn holds_something(dir: &Dir) -> bool {
    status(dir)["symbols"][0]["position"].as_f64().is_some_and(|qty| qty != 0.0)
}
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(90);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} did not come about");
        std::thread::sleep(Duration::from_millis(100));
    }
}
/// The guard objects from now on and no order leaves while it does; afterwards they leave again.
fn holds_and_lets_go(dir: &Dir, guard: &str, over: impl FnOnce()) {
    until(guard, || objects(dir, guard));
    let at = sent(dir);
    std::thread::sleep(Duration::from_secs(1));
    // Read before the guard is: an order that left in between came after it let go.
    let later = sent(dir);
    // While a symbol is flattened its closes leave, and nothing else.
    if objects(dir, guard) && guard != "flattening" {
        assert_eq!(later, at, "an order left while {guard} objected");
    }
    over();
    until(&format!("the end of {guard}"), || !objects(dir, guard));
    let at = sent(dir);
    until(&format!("an order after {guard}"), || sent(dir) > at);
}

#[test]
fn a_pause_a_lost_answer_and_a_flatten_hold_orders_while_they_last() {
    let dir = Dir::new("by-faults");
    // Answers are lost more than once: a busy machine may not be trading at the first.
    let lost = [20, 35, 50].map(|from_s| {
        ["answers", "account"].map(|frames| {
            format!(
                "[[fault]]\nkind = \"silence\"\nfrom_s = {from_s}\nfor_s = 6\nframes = \"{frames}\"\n"
            )
        })
    });
    let refused = format!("[[fault]]\nkind = \"cancel_only\"\nfrom_s = {REFUSED_S}\nfor_s = 15\n");
    let faults = lost.concat().concat() + &refused;
    let args = ["--market", "synthetic:7", "--activity", "10", "--no-rest-limits"];
    let venue = Venue::with_faults(dir.path(), &faults, &args);
    let begun = Instant::now();
    let mut set = TAKER.to_vec();
    // What the exchange refuses while it takes cancels only is no streak here.
    set.extend(["--set", "risk.guards.reject_streak=\"off\""]);
    let mut engine = Attached::start(venue.address(), dir.path(), &set);
    engine.wait_for("trading", |sent, line| sent >= 3 && line.contains(" running |"));
    let word = |words: &[&str]| {
        let (code, _, err) = output(&[words, &["--dir", dir.text()]].concat());
        assert_eq!(code, 0, "{words:?}: {err}");
    };
    word(&["pause", "--reason", "a look"]);
    holds_and_lets_go(&dir, "trading_paused", || word(&["resume"]));
    holds_and_lets_go(&dir, "unknown_outcome", || ());
    // Only a position that the exchange does not let us close keeps the goal alive: a pause keeps
    // it as it is until then.
    until("a pause with a position", || {
        word(&["pause", "--reason", "a look"]);
        let is_it = holds_something(&dir);
        if !is_it {
            word(&["resume"]);
        }
        is_it
    });
    assert!(begun.elapsed() < Duration::from_secs(REFUSED_S), "too late for the fault");
    std::thread::sleep(Duration::from_secs(REFUSED_S + 2).saturating_sub(begun.elapsed()));
    let asked = std::thread::scope(|scope| {
        let flatten =
            scope.spawn(|| output(&["flatten", "--reason", "a look", "--dir", dir.text()]));
        holds_and_lets_go(&dir, "flattening", || word(&["resume"]));
        flatten.join().unwrap()
    });
    assert!(matches!(asked.0, 0 | 1), "{asked:?}");
    engine.stop();
}
