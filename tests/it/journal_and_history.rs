//! What a run wrote down, after its end and after its death. Goal: the history says what the report
//! says, the journal holds, and what is spoilt in it is found. Method: real processes, the files
//! asked by the commands for people.

#![allow(clippy::disallowed_methods, reason = "deadlines of real processes")]

use crate::kill_and_restart::TAKER;
use crate::run_support::{Attached, Dir, VenueProcess, count, output, report_of};
use serde_json::Value;

fn json(args: &[&str]) -> (i32, Value) {
    let (code, out, err) = output(args);
    (code, serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}")))
}
fn rows(what: &str, dir: &Dir) -> Vec<Value> {
    let args = [what, "--history", "--limit", "10000", "--json", "--dir", dir.text()];
    json(&args).1.as_array().unwrap().clone()
}

#[test]
fn the_history_says_what_the_report_says_and_spoilt_journals_are_found() {
    let dir = Dir::new("history");
    let mut args = vec!["run", "--market", "synthetic:7", "--speed", "20", "--for", "5s", "--json"];
    args.extend(["--dir", dir.text()]);
    args.extend_from_slice(&TAKER[..4]);
    let report = report_of(&args);
    let (code, found) = json(&["journal", "verify", "--json", dir.text()]);
    assert_eq!((code, found["faults"].as_array().unwrap().len()), (0, 0), "{found}");
    assert_eq!(found["input_complete"], true, "{found}");
    assert_eq!(count(&found, "/orders"), count(&report, "/orders/sent"), "{found}");
    let (orders, fills) = (rows("orders", &dir), rows("fills", &dir));
    let executed = orders.iter().filter(|row| row["status"] == "Executed").count() as u64;
    assert_eq!(executed, count(&report, "/orders/filled"));
    assert_eq!(fills.len() as u64, count(&found, "/fills"));
    assert!(!fills.is_empty() && fills.iter().all(|fill| fill["fee"] != ""), "each has its fee");
    // A history made out of the journal alone is the same.
    let made = dir.path().join("made.db");
    let args = ["journal", "export", "--to", made.to_str().unwrap(), "--json", dir.text()];
    assert_eq!(json(&args).0, 0);
    let run = dir.path().join(report["run"].as_str().unwrap());
    let known = run.join("history.db");
    std::fs::remove_file(&known).unwrap();
    std::fs::rename(&made, &known).unwrap();
    assert_eq!((rows("orders", &dir), rows("fills", &dir)), (orders, fills));
    // One bit, and it is told.
    let path = run.join("write-ahead.bin");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let (code, found) = json(&["journal", "verify", "--json", dir.text()]);
    assert_eq!(code, 1, "{found}");
    assert!(found["faults"].to_string().contains("damaged"), "{found}");
}

#[test]
fn the_journal_of_a_run_that_was_killed_holds_as_far_as_it_got() {
    let dir = Dir::new("dead-journal");
    let venue = VenueProcess::start("127.0.0.1:0", &dir.path().join("venue.state"));
    let mut engine = Attached::start(&venue.address(), dir.path(), &TAKER);
    engine.wait_for("trading", |sent, line| sent >= 6 && line.contains(" running |"));
    engine.kill();
    let dead = std::fs::read_to_string(dir.path().join("latest")).unwrap();
    // The next run brings what was in memory only to the dead one's directory.
    let mut engine = Attached::start(&venue.address(), dir.path(), &TAKER);
    engine.wait_for("trading", |sent, line| sent >= 1 && line.contains(" running |"));
    let place = dir.path().join(dead.trim());
    let (code, found) = json(&["journal", "verify", "--json", place.to_str().unwrap()]);
    assert_eq!((code, found["faults"].as_array().unwrap().len()), (0, 0), "{found}");
    assert!(count(&found, "/orders") >= 6, "{found}");
    assert!(!rows("fills", &dir).is_empty());
    engine.stop();
}
