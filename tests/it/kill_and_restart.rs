//! The engine is killed and comes back; the kill switch in its four ways; limits through the whole
//! program. Method: real processes, `genesis venue` as the other side, which is asked afterwards.

#![allow(clippy::disallowed_methods, reason = "deadlines of real processes")]

use crate::kill_loop::read;
use crate::run_support::{Attached, Dir, VenueProcess, count, genesis, output, report_of, signal};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::{Duration, Instant};

/// The kill's record of a run, once it is there.
fn kill_record(dir: &Path, within: Duration) -> serde_json::Value {
    let deadline = Instant::now() + within;
    loop {
        if let Ok(name) = std::fs::read_to_string(dir.join("latest"))
            && let Ok(text) = std::fs::read_to_string(dir.join(name.trim()).join("kill.json"))
        {
            return serde_json::from_str(&text).unwrap();
        }
        assert!(Instant::now() < deadline, "no record of the kill");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Asks the venue: no own order, no position.
fn assert_flat(venue: &VenueProcess) {
    assert!(read(venue, "auth/r/orders").is_empty());
    let positions = read(venue, "auth/r/positions");
    let held: Vec<_> =
        positions.iter().filter(|row| row[2].as_f64().is_some_and(|qty| qty != 0.0)).collect();
    assert!(held.is_empty(), "{held:?}");
}

/// Takes at once, so that a position is there.
pub const TAKER: [&str; 6] = [
    "--set",
    "symbols=[\"tBTCUSD\",\"tETHUSD\"]",
    "--set",
    "strategy=[{kind=\"probe\",symbols=[\"tBTCUSD\"],qty=\"0.01\",style=\"take\",every_changes=7},\
     {kind=\"maker\",symbols=[\"tETHUSD\"],qty=\"0.2\",inventory_max=\"2\"}]",
    "--set",
    "report.line_interval_s=1",
];

#[test]
fn the_switch_is_pulled_by_a_signal_a_file_and_a_word_and_the_venue_says_flat() {
    for way in ["signal", "file", "word"] {
        let dir = Dir::new("kill");
        let venue = VenueProcess::start("127.0.0.1:0", &dir.path().join("venue.state"));
        let mut engine = Attached::start(&venue.address(), dir.path(), &TAKER);
        engine.wait_for("trading", |sent, line| sent >= 4 && line.contains(" running |"));
        match way {
            "signal" => signal(&engine.child, "-USR1"),
            "file" => std::fs::write(dir.path().join("kill-embedded"), "by file").unwrap(),
            _ => {
                let args = ["kill", "--reason", "by word", "--dir", dir.text()];
                let (code, out, err) = output(&args);
                assert_eq!(code, 0, "{out}{err}");
            }
        }
        let record = kill_record(dir.path(), Duration::from_secs(30));
        assert_eq!(record["flat"], true, "{way}: {record}");
        assert_eq!(record["by"], "line", "{way}: {record}");
        assert_flat(&venue);
        // Halted it stays, through resume; guards say so; a reset needs a reason.
        engine.wait_for("the halt", |_, line| line.contains(" halted |"));
        assert_eq!(output(&["resume", "--dir", dir.text()]).0, 0);
        let (code, out, _) = output(&["guards", "--json", "--dir", dir.text()]);
        let guards: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!((code, &guards["words"]), (0, &"halted".into()), "{way}");
        let row = |name: &str| {
            let rows = guards["guards"].as_array().unwrap();
            rows.iter().find(|row| row["guard"] == name).unwrap().clone()
        };
        assert_eq!(row("kill_switch")["objects"], true, "{way}");
        assert!(row("daily_loss")["left"].is_string(), "a distance: {}", row("daily_loss"));
        let (code, _, err) = output(&["reset", "--dir", dir.text()]);
        assert_eq!((code, err.contains("needs a reason")), (2, true), "{err}");
        let (code, out, _) = output(&["reset", "--reason", "seen flat", "--dir", dir.text()]);
        assert_eq!((code, out.contains("are cleared")), (0, true), "{out}");
        engine.wait_for("trading again", |_, line| line.contains(" running |"));
        assert!(!dir.path().join("kill-embedded").exists());
        engine.stop();
    }
}

#[test]
fn a_dead_engine_is_killed_from_a_second_process_and_the_next_one_stays_halted() {
    let dir = Dir::new("direct");
    let venue = VenueProcess::start("127.0.0.1:0", &dir.path().join("venue.state"));
    let mut engine = Attached::start(&venue.address(), dir.path(), &TAKER);
    engine.wait_for("trading", |sent, line| sent >= 5 && line.contains(" running |"));
    engine.kill();
    let args = ["kill", "--direct", "--reason", "engine is dead", "--dir", dir.text()];
    let (code, out, err) = output(&args);
    let record: serde_json::Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{err}"));
    assert_eq!((code, &record["flat"]), (0, &true.into()), "{record}");
    assert_eq!(record["by"], "direct");
    assert_flat(&venue);
    let sent_before = read(&venue, "auth/r/orders/hist").len();
    let mut engine = Attached::start(&venue.address(), dir.path(), &TAKER);
    engine.wait_for("the halt", |_, line| line.contains(" halted |"));
    assert_eq!(read(&venue, "auth/r/orders/hist").len(), sent_before);
    engine.kill();
    // Without the file, too: the risk state remembers.
    std::fs::remove_file(dir.path().join("kill-embedded")).unwrap();
    let mut engine = Attached::start(&venue.address(), dir.path(), &TAKER);
    engine.wait_for("the halt", |_, line| line.contains(" halted |"));
    engine.stop();
}

/// What one limit refuses, through the whole program: config, wiring, stage, report.
fn refusals_with(set: &[&str]) -> serde_json::Value {
    let dir = Dir::new("limits");
    let mut args = vec![
        "run",
        "--market",
        "synthetic:7",
        "--speed",
        "40",
        "--for",
        "5s",
        "--json",
        "--dir",
        dir.text(),
    ];
    args.extend_from_slice(&TAKER[..4]);
    for one in set {
        args.extend(["--set", one]);
    }
    report_of(&args)
}

#[test]
fn every_guard_that_remembers_refuses_through_the_running_program() {
    let cases: [(&str, &[&str]); 8] = [
        ("daily_loss", &["risk.account.daily_loss_max=0.00000001"]),
        ("drawdown", &["risk.account.drawdown_max=0.00000001"]),
        ("loss_streak", &["risk.account.loss_streak_max=1", "risk.guards.loss_streak=\"on\""]),
        ("trade_cooldown_active", &["risk.account.cooldown_symbol_s=3600"]),
        ("daily_trade_limit_reached", &["risk.account.trades_day_max=1"]),
        ("symbol_daily_trade_limit_reached", &["risk.account.symbol_trades_day_max=1"]),
        ("volatility_pause", &["risk.account.volatility_max_bps=0.01"]),
        ("unknown_equity", &["risk.account.equity_currency=\"XYZ\""]),
    ];
    for (reason, set) in cases {
        let report = refusals_with(set);
        let refused = report["refusals"][reason].as_u64().unwrap_or(0);
        assert!(refused > 0, "{reason}: {}", report["refusals"]);
        if reason == "daily_trade_limit_reached" {
            assert!(count(&report, "/orders/sent") <= 2, "{report}");
        }
    }
    let plain = refusals_with(&[]);
    for (reason, _) in cases {
        assert!(plain["refusals"][reason].is_null(), "{reason} without its limit: {plain}");
    }
}

#[test]
fn every_limit_of_an_order_refuses_through_the_running_program() {
    let dir = Dir::new("faulty");
    let faults = dir.path().join("faults.toml");
    std::fs::write(&faults, "[[fault]]\nkind = \"cancel_only\"\nfrom_s = 20\n").unwrap();
    let faults = format!("exchange.faults={faults:?}");
    let small = "risk.order_notional_max=1";
    let no_notional = "risk.guards.order_notional=\"off\"";
    let no_position = "risk.guards.position=\"off\"";
    let cases: [(&str, &[&str]); 10] = [
        ("order_notional", &[small]),
        ("max_position", &[small, no_notional, "risk.position_notional_max=1"]),
        (
            "total_exposure",
            &[
                small,
                no_notional,
                no_position,
                "risk.position_notional_max=1",
                "risk.exposure_max=1",
            ],
        ),
        ("open_orders", &["risk.orders_open_max=1"]),
        ("order_rate", &["risk.order_rate_max=1"]),
        ("repeat", &["risk.account.repeat_max=1", "risk.account.repeat_window_ms=3600000"]),
        ("reject_streak", &[&faults, "risk.account.reject_streak_max=1"]),
        (
            "above_maximum_size",
            &["strategy=[{kind=\"probe\",symbols=[\"tBTCUSD\"],qty=\"100000\",style=\"take\",\
             every_changes=7}]"],
        ),
        (
            "below_minimum_size",
            &["strategy=[{kind=\"probe\",symbols=[\"tBTCUSD\"],qty=\"0.0000001\",style=\"take\",\
             every_changes=7}]"],
        ),
        (
            "nothing_held",
            &[
                "trading.wallet=\"exchange\"",
                "strategy=[{kind=\"probe\",symbols=[\"tBTCUSD\"],qty=\"0.01\",style=\"take\",\
                 every_changes=7}]",
            ],
        ),
    ];
    let plain = refusals_with(&[]);
    for (reason, set) in cases {
        // At forty times the speed, on a busy machine, these are met without it, too; then sooner.
        if !["order_rate", "open_orders"].contains(&reason) {
            assert!(plain["refusals"][reason].is_null(), "{reason} without its limit: {plain}");
        }
        let report = refusals_with(set);
        let refused = report["refusals"][reason].as_u64().unwrap_or(0);
        assert!(refused > 0, "{reason}: {}", report["refusals"]);
        let (before, sent) = (count(&plain, "/orders/sent"), count(&report, "/orders/sent"));
        // Spot buys fill the pace up that sells leave.
        if !["open_orders", "nothing_held"].contains(&reason) {
            assert!(sent < before, "{reason}: {sent} orders of {before} without it");
        }
    }
}

/// Somebody else's order and trade on the account: seen, told, and entries wait.
#[test]
fn somebody_else_on_the_account_is_told_and_entries_wait() {
    let dir = Dir::new("foreign");
    let venue = VenueProcess::start("127.0.0.1:0", &dir.path().join("venue.state"));
    let mut engine = Attached::start(&venue.address(), dir.path(), &TAKER);
    engine.wait_for("trading", |sent, line| sent >= 2 && line.contains(" running |"));
    let order = serde_json::json!({"type": "MARKET", "symbol": "tBTCUSD", "amount": "0.3"});
    let login = ("embedded-key", "embedded-secret");
    venue.call_as(login, "auth/w/order/submit", &order).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut open = ["foreign_activity", "position_mismatch"].to_vec();
    while !open.is_empty() {
        assert!(Instant::now() < deadline, "{open:?} never objected");
        let (_, out, _) = output(&["guards", "--json", "--dir", dir.text()]);
        let guards: serde_json::Value = serde_json::from_str(&out).unwrap();
        let rows = guards["guards"].as_array().unwrap();
        open.retain(|name| {
            !rows.iter().any(|row| row["guard"] == **name && row["objects"] == true)
        });
        std::thread::sleep(Duration::from_millis(100));
    }
    let report = engine.stop();
    let refused = |name: &str| report["refusals"][name].as_u64().unwrap_or(0);
    assert!(refused("foreign_activity") + refused("position_mismatch") > 0, "{report}");
    // What is not ours is not touched.
    let position = read(&venue, "auth/r/positions");
    let btc = position.iter().find(|row| row[0] == "tBTCUSD").unwrap();
    assert!(btc[2].as_f64().unwrap() >= 0.25, "{btc}");
}

/// What only the engine knows is not sold without it, and is written down.
#[test]
fn a_direct_kill_of_a_spot_wallet_says_what_it_leaves() {
    let dir = Dir::new("spot");
    let venue = VenueProcess::start("127.0.0.1:0", &dir.path().join("venue.state"));
    let mut set = TAKER.to_vec();
    set.extend(["--set", "trading.wallet=\"exchange\""]);
    let mut engine = Attached::start(&venue.address(), dir.path(), &set);
    engine.wait_for("trading", |sent, line| sent >= 3 && line.contains(" running |"));
    engine.kill();
    let args = ["kill", "--direct", "--reason", "engine is dead", "--dir", dir.text()];
    let (code, out, err) = output(&args);
    let record: serde_json::Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{err}"));
    assert_eq!((code, &record["flat"]), (4, &false.into()), "{record}");
    let left = record["leftovers"].as_array().unwrap();
    assert!(left.iter().any(|row| row["kind"] == "balance" && row["symbol"] == "tBTCUSD"));
    assert!(left.iter().all(|row| row["kind"] != "order"), "{record}");
    assert!(read(&venue, "auth/r/orders").is_empty());
}

#[test]
fn hours_close_entries_and_off_and_shadow_let_them_pass() {
    // An hour that is not now, whatever the time is.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let hour = (now.as_secs() / 3_600 + 6) % 24;
    let window = format!("risk.account.trading_windows=[\"Mon-Sun {hour:02}:00-{hour:02}:59\"]");
    let closed = refusals_with(&[&window]);
    assert!(closed["refusals"]["outside_trading_window"].as_u64().unwrap() > 0);
    assert_eq!(count(&closed, "/orders/sent"), 0);
    for mode in ["off", "shadow"] {
        let open = refusals_with(&[&window, &format!("risk.guards.trading_window=\"{mode}\"")]);
        assert!(open["refusals"]["outside_trading_window"].is_null());
        assert!(count(&open, "/orders/sent") > 0, "{mode}");
    }
}

/// Lines of a child until one fits.
pub fn wait_in<R: std::io::Read>(
    lines: &mut std::io::Lines<BufReader<R>>,
    what: &str,
    fits: impl Fn(&str) -> bool,
) -> String {
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        assert!(Instant::now() < deadline, "{what} did not come about");
        let line = lines.next().unwrap_or_else(|| panic!("it ended before {what}")).unwrap();
        if fits(&line) {
            return line;
        }
    }
}

#[test]
fn two_runs_of_an_account_do_not_meet() {
    let dir = Dir::new("two");
    let venue = VenueProcess::start("127.0.0.1:0", &dir.path().join("venue.state"));
    let mut engine = Attached::start(&venue.address(), dir.path(), &TAKER);
    engine.wait_for("life", |_, _| true);
    let address = venue.address();
    let args = ["run", "--plain", "--attach", &address, "--dir", dir.text(), "--for", "1s"];
    let mut second = genesis(&args).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(second.stderr.take().unwrap()).lines();
    wait_in(&mut lines, "the refusal", |line| line.contains("another run"));
    assert_eq!(second.wait().unwrap().code(), Some(2));
    engine.stop();
}
