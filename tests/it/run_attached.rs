//! The engine and the exchange as two processes: one dies and comes back, the other goes on.

#![allow(clippy::disallowed_methods, reason = "deadlines of real processes")]

use crate::run_support::{Dir, VenueProcess, count, genesis, sent_of, signal};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Goal: `kill -9` of the exchange in mid-run, and its return, lose and double nothing, and trading
/// goes on. Method: real processes; afterwards the exchange is asked what it saw.
#[test]
fn the_exchange_is_killed_and_comes_back_and_nothing_is_doubled() {
    let dir = Dir::new("attached");
    let state = dir.path().join("venue.state");
    let venue = VenueProcess::start("127.0.0.1:0", &state);
    let address = venue.address();
    let report = dir.path().join("r.json");
    let args = [
        "run",
        "--plain",
        "--attach",
        &address,
        "--dir",
        dir.text(),
        "--report",
        report.to_str().unwrap(),
        "--set",
        "report.line_interval_s=1",
        "--set",
        "channels.reconnect_min_ms=100",
    ];
    let mut engine = genesis(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(engine.stdout.take().unwrap()).lines().map_while(Result::ok);
    let deadline = Instant::now() + Duration::from_secs(90);
    let mut wait_for = |what: &str, is_there: &dyn Fn(u64, &str) -> bool| -> u64 {
        loop {
            assert!(Instant::now() < deadline, "{what} did not come about");
            let line = lines.next().unwrap_or_else(|| panic!("the engine ended before {what}"));
            if let Some(sent) = sent_of(&line)
                && is_there(sent, &line)
            {
                return sent;
            }
        }
    };
    wait_for("trading", &|sent, _| sent >= 6);
    venue.kill();
    let before = wait_for("the loss of the link", &|_, line| !line.contains(" running |"));
    let venue = VenueProcess::start(&address, &state);
    let running = |sent, line: &str| line.contains(" running |") && sent >= before + 4;
    wait_for("trading again", &running);
    signal(&engine, "-INT");
    let status = engine.wait().unwrap();
    let text = std::fs::read_to_string(&report).unwrap();
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(status.code(), Some(0), "{text}");
    assert!(count(&report, "/reconnects") >= 2, "market data and account");
    for pointer in ["/orders/unknown", "/orders/open", "/book_crc/failed"] {
        assert_eq!(count(&report, pointer), 0, "{pointer}");
    }
    for (symbol, position) in report["positions"].as_object().unwrap() {
        assert_eq!(position["matches_venue"], true, "{symbol}: {position}");
    }
    // What the exchange saw: no client id twice, and nothing left.
    assert!(venue.read("auth/r/orders").is_empty());
    let ended = venue.read("auth/r/orders/hist");
    let cids: BTreeSet<u64> = ended.iter().map(|row| row[2].as_u64().unwrap()).collect();
    assert_eq!(cids.len(), ended.len(), "a client id came twice");
    assert!(cids.len() as u64 >= count(&report, "/orders/acked"));
}
