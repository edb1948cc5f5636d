//! The daily loss through the whole program. Goal: a market that falls through the limit ends
//! entries in the same step, positions are closed, and neither a restart nor midnight opens what is
//! not over. Method: real processes; a second account of the exchange sells until the engine's long
//! position has lost too much.

#![allow(clippy::disallowed_methods, reason = "deadlines of real processes")]

use crate::kill_loop::read;
use crate::run_support::{Attached, Dir, VenueProcess, output};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Limit of a day, USD.
const LIMIT: f64 = 400.0;
/// What the probe buys at once, BTC.
const QTY: f64 = 1.0;

fn guards(dir: &Dir) -> Value {
    let (code, out, err) = output(&["guards", "--json", "--dir", dir.text()]);
    assert_eq!(code, 0, "{err}");
    serde_json::from_str(&out).unwrap()
}
fn row(guards: &Value, name: &str) -> Value {
    let rows = guards["guards"].as_array().unwrap();
    rows.iter().find(|row| row["guard"] == name).unwrap().clone()
}
fn number(value: &Value) -> f64 {
    value.as_str().unwrap().parse().unwrap()
}
fn position(dir: &Dir) -> f64 {
    let (_, out, _) = output(&["status", "--json", "--dir", dir.text()]);
    let status: Value = serde_json::from_str(&out).unwrap_or_default();
    status["symbols"][0]["position"].as_f64().unwrap_or(0.0)
}
fn until(what: &str, within_s: u64, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(within_s);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} did not come about");
        std::thread::sleep(Duration::from_millis(100));
    }
}
/// Rows of a kind out of the history, newest first.
fn history(dir: &Dir, what: &str) -> Vec<Value> {
    let args = [what, "--history", "--limit", "10000", "--json", "--dir", dir.text()];
    let (code, out, err) = output(&args);
    assert_eq!(code, 0, "{err}");
    serde_json::from_str(&out).unwrap()
}

/// A zone in which midnight is less than a minute and a half away, and more than half a minute.
fn zone_near_midnight() -> (String, Duration) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let of_day_s = now.as_secs() % 86_400;
    // Local midnight at a whole minute at least 40 s from now.
    let midnight_s = (of_day_s + 40).div_ceil(60) * 60;
    let east_min = (86_400 - midnight_s as i64).rem_euclid(86_400) / 60;
    let (sign, minutes) = if east_min <= 720 { ('+', east_min) } else { ('-', 1_440 - east_min) };
    let zone = format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60);
    (zone, Duration::from_secs(midnight_s - of_day_s))
}

#[test]
fn a_falling_market_ends_at_the_limit_and_neither_a_restart_nor_midnight_opens_it() {
    let dir = Dir::new("loss");
    let accounts = ["--account", "embedded-key:embedded-secret", "--account", "whale:whale-secret"];
    let state = dir.path().join("venue.state");
    let venue = VenueProcess::start_with("127.0.0.1:0", &state, &accounts);
    let (zone, to_midnight) = zone_near_midnight();
    let begun = Instant::now();
    let set = [
        "symbols=[\"tBTCUSD\"]".to_owned(),
        format!(
            "strategy=[{{kind=\"probe\",symbols=[\"tBTCUSD\"],qty=\"{QTY}\",style=\"take\",\
             every_changes=150}}]"
        ),
        "report.line_interval_s=1".to_owned(),
        format!("risk.account.daily_loss_max={LIMIT}"),
        "risk.account.drawdown_max=1000000".to_owned(),
        "risk.account.drawdown_max_pct=100".to_owned(),
        "risk.account.daily_loss_max_pct=100".to_owned(),
        "risk.order_notional_max=5000000".to_owned(),
        "risk.position_notional_max=5000000".to_owned(),
        "risk.exposure_max=5000000".to_owned(),
        "risk.guards.volatility=\"off\"".to_owned(),
        format!("risk.account.time_zone=\"{zone}\""),
    ];
    let set: Vec<&str> = set.iter().flat_map(|one| ["--set", one.as_str()]).collect();
    let mut engine = Attached::start(&venue.address(), dir.path(), &set);
    engine.wait_for("trading", |sent, line| sent >= 1 && line.contains(" running |"));

    // Somebody sells, whenever the engine is long, until it has had enough.
    let deadline = Instant::now() + Duration::from_secs(60);
    while row(&guards(&dir), "daily_loss")["objects"] != true {
        assert!(Instant::now() < deadline, "{}", row(&guards(&dir), "daily_loss"));
        if position(&dir) > 0.0 {
            let order = json!({"type": "MARKET", "symbol": "tBTCUSD", "amount": "-2"});
            let _ = venue.call_as(("whale", "whale-secret"), "auth/w/order/submit", &order);
        }
    }
    until("the close", 20, || position(&dir) == 0.0 && read(&venue, "auth/r/orders").is_empty());
    let after = guards(&dir);
    let loss = number(&row(&after, "daily_loss")["used"]);
    let price = venue.last_px("tBTCUSD");
    // In flight when it tripped: one order's worth to be closed, inside the collar, with its fee.
    let in_flight = QTY * price * (0.01 + 0.002);
    assert!(loss >= LIMIT, "{loss} is below the limit");
    assert!(loss <= LIMIT + in_flight, "{loss} is more than {LIMIT} and {in_flight}");
    assert_eq!(row(&after, "trade_cooldown_active")["objects"], true, "{after}");
    let trips = history(&dir, "guards");
    assert!(trips.iter().any(|trip| trip["guard"] == "daily_loss"), "{trips:?}");

    // Nothing more leaves: not now, not after a restart, not after midnight.
    let known = || read(&venue, "auth/r/orders/hist").len();
    let before = known();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(known(), before, "an order after the limit");
    engine.kill();
    let mut engine = Attached::start(&venue.address(), dir.path(), &set);
    engine.wait_for("life", |_, line| line.contains(" entries-blocked |"));
    until("readiness", 20, || row(&guards(&dir), "not_ready")["objects"] == false);
    let born = guards(&dir);
    if begun.elapsed() + Duration::from_secs(2) < to_midnight {
        assert_eq!(row(&born, "daily_loss")["objects"], true, "{born}");
    }
    assert_eq!(row(&born, "trade_cooldown_active")["objects"], true, "{born}");
    let left = to_midnight.saturating_sub(begun.elapsed()) + Duration::from_secs(2);
    std::thread::sleep(left);
    let next_day = guards(&dir);
    assert_eq!(row(&next_day, "daily_loss")["objects"], false, "the day is over: {next_day}");
    assert!(number(&row(&next_day, "daily_loss")["used"]) < 1.0, "it begins anew: {next_day}");
    assert_eq!(row(&next_day, "trade_cooldown_active")["objects"], true, "{next_day}");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(known(), before, "an order in the pause");
    let report = engine.stop();
    assert_eq!(report["positions"]["tBTCUSD"]["matches_venue"], true);
    let sent_after = report["orders"]["sent"].as_u64();
    assert_eq!(sent_after, Some(0), "{report}");
    eprintln!("limit {LIMIT}, loss {loss:.2}, bound {:.2}", LIMIT + in_flight);
}
