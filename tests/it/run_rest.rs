//! Goal: REST is a plane beside the line: it never polls for prices, books or orders, its trouble
//! makes the engine careful and visible, and no secret leaves by it. Method: the program as its own
//! process, on its own exchange and on one of another process that misbehaves by script.

#![allow(clippy::disallowed_methods, reason = "deadlines of real processes")]

use crate::run_support::{Dir, Process, genesis, output, report_of, signal};
use crate::venue_process::Venue;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Key and secret of the account that both sides know; they must stand in no file and no output.
const SECRETS: [&[u8]; 4] =
    [b"embedded-secret", b"embedded-key", b"CANARY-webhook", b"CANARY-telegram"];

/// An exchange in another process, with a script of faults.
fn venue(dir: &Dir, faults: &str) -> Venue {
    Venue::with_faults(dir.path(), faults, &["--symbols", "tBTCUSD,tETHUSD,tADAUSD,tDOTUSD"])
}

/// An engine on it; what it says goes into files of its directory.
fn engine(dir: &Dir, address: &str, more: &[&str]) -> Process {
    let args = ["run", "--plain", "--attach", address, "--dir", dir.text()];
    let file = |name: &str| File::create(dir.path().join(name)).unwrap();
    let mut command = genesis(&[&args[..], more].concat());
    Process(command.stdout(file("out.txt")).stderr(file("err.txt")).spawn().unwrap())
}

fn status(dir: &Dir) -> Option<Value> {
    let (code, out, _) = output(&["status", "--json", "--dir", dir.text()]);
    (code == 0).then(|| serde_json::from_str(&out).unwrap())
}
fn wait_for(dir: &Dir, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut last = None;
    loop {
        if let Some(status) = status(dir) {
            if fits(&status) {
                return status;
            }
            last = Some(status);
        }
        assert!(Instant::now() < deadline, "{what}: not within 120 s; {last:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
fn rank(status: &Value) -> &str {
    status["state"]["rank"].as_str().unwrap()
}
fn has_alert(status: &Value, name: &str) -> bool {
    status["alerts"]["active"].as_array().unwrap().iter().any(|alert| alert["name"] == name)
}
fn breaker(status: &Value, upstream: &str) -> String {
    let rows = status["rest"]["breakers"].as_array().unwrap();
    let row = rows.iter().find(|row| row["name"] == upstream).unwrap();
    row["state"].as_str().unwrap().to_owned()
}

/// The calls of the newest run below `dir`.
fn calls(dir: &Path) -> Vec<Value> {
    let run = std::fs::read_to_string(dir.join("latest")).unwrap();
    let text = std::fs::read_to_string(dir.join(run).join("rest.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Files below `dir` in which a secret stands.
fn leaked(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(leaked(&path));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap_or_default();
        let has = |secret: &[u8]| bytes.windows(secret.len()).any(|part| part == secret);
        if SECRETS.iter().any(|secret| has(secret)) {
            found.push(path);
        }
    }
    found
}

fn shows_secret(text: &str) -> bool {
    SECRETS.iter().any(|secret| text.contains(std::str::from_utf8(secret).unwrap()))
}

/// What a run may use REST for while nothing is wrong.
const REASONS: [&str; 6] = ["registry", "warm-up", "start", "reconcile", "keep-warm", "probe"];
/// Endpoints that tell prices and books; history before the start is their only use.
const MARKET: [&str; 6] = ["ticker", "tickers", "book", "trades/*/hist", "candles", "status/deriv"];

fn judge_calls(dir: &Dir, report: &Value) -> BTreeMap<String, u64> {
    let calls = calls(dir.path());
    let mut by_reason: BTreeMap<String, u64> = BTreeMap::new();
    for call in &calls {
        let (endpoint, reason) = (call["endpoint"].as_str().unwrap(), &call["reason"]);
        let reason = reason.as_str().unwrap();
        assert!(REASONS.contains(&reason), "{call}");
        assert!(!MARKET.contains(&endpoint) || reason == "warm-up", "{call}");
        *by_reason.entry(reason.to_owned()).or_default() += 1;
    }
    let told: BTreeMap<String, u64> = report["rest_calls"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, count)| (name.clone(), count.as_u64().unwrap()))
        .collect();
    assert_eq!(by_reason, told, "every use is counted by its reason");
    by_reason
}

#[test]
fn rest_is_used_for_named_reasons_and_never_polls() {
    let dir = Dir::new("rest-reasons");
    // Two hours of market time. Orders come and go all the while.
    let args = ["run", "--for", "15s", "--speed", "480", "--json", "--dir", dir.text()];
    let report = report_of(&args);
    assert!(report["orders"]["sent"].as_u64().unwrap() > 20, "{}", report["orders"]);
    let by_reason = judge_calls(&dir, &report);
    // Four symbols' history, one list, one reading of the account. What may come beside is bounded
    // by real time, never by the market's.
    let start = by_reason.get("start").copied().unwrap_or(0);
    assert!((4..=8).contains(&start), "{by_reason:?}");
    assert_eq!(by_reason.get("registry"), Some(&1), "{by_reason:?}");
    assert!(by_reason.get("reconcile").copied().unwrap_or(0) <= 4 * 15, "{by_reason:?}");
}

#[test]
#[ignore = "a day of the market takes a minute and a half"]
fn a_day_of_the_market_brings_no_poll() {
    let dir = Dir::new("rest-day");
    let one = ["--set", "symbols=[\"tBTCUSD\"]", "--set", "strategy=[]"];
    let args = ["run", "--for", "90s", "--speed", "960", "--json", "--dir", dir.text()];
    let report = report_of(&[&args[..], &one].concat());
    let by_reason = judge_calls(&dir, &report);
    println!("24 h of the market, bars {}: {by_reason:?}", report["bars"]);
    assert!(report["bars"].as_u64().unwrap() > 1_300, "a day has 1,440 minutes");
    assert!(by_reason.values().sum::<u64>() < 60, "{by_reason:?}");
}

#[test]
fn a_way_out_that_is_gone_makes_the_engine_cancel_only_until_it_is_back() {
    let dir = Dir::new("rest-down");
    let faults = "[[fault]]\nkind = \"rest_error\"\nfrom_s = 25\nfor_s = 20\nstatus = 503\n";
    let venue = venue(&dir, faults);
    let address = venue.address().to_owned();
    let run = engine(&dir, &address, &["--set", "rest.keep_warm_s=2"]);
    wait_for(&dir, "running", |status| rank(status) == "running");
    let down = wait_for(&dir, "cancel-only", |status| {
        rank(status) == "cancel-only" && has_alert(status, "breaker_open")
    });
    assert_eq!(down["rest"]["order_entry_down"], true, "{}", down["rest"]);
    assert!(down["state"]["reason"].as_str().unwrap().contains("REST"), "{}", down["state"]);
    assert!(down["rest"]["circuit_open_count"].as_u64().unwrap() >= 1);
    // The socket is up all the while.
    assert_eq!(down["counts"]["reconnects"], 0, "{}", down["counts"]);
    let back = wait_for(&dir, "running again", |status| rank(status) == "running");
    assert_eq!(breaker(&back, "orders"), "closed");
    let (code, text, err) = output(&["status", "--rest", "--dir", dir.text()]);
    assert_eq!(code, 0, "{err}");
    for part in ["platform/status", "p99", "tokens", "breakers: ", "keep-warm", "orders closed"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let failed: Vec<Value> =
        calls(dir.path()).into_iter().filter(|call| call["status"] == 503).collect();
    assert!(failed.len() >= 3, "{failed:?}");
    // No stampede: a broken upstream is asked now and then, not by everybody at once.
    assert!(failed.len() < 30, "{} calls failed", failed.len());
    signal(&run.0, "-INT");
    drop(run);
    assert_eq!(leaked(dir.path()), Vec::<PathBuf>::new());
}

#[test]
fn a_refused_nonce_is_stepped_past_counted_and_told() {
    let dir = Dir::new("rest-nonce");
    let faults = "[[fault]]\nkind = \"nonce_refused\"\nfrom_s = 0\ntimes = 3\n";
    let venue = venue(&dir, faults);
    let address = venue.address().to_owned();
    let run = engine(&dir, &address, &["--speed", "1"]);
    let seen = wait_for(&dir, "running", |status| {
        rank(status) == "running" && status["rest"]["nonce_recoveries"].as_u64() >= Some(1)
    });
    assert!(seen["rest"]["nonce_recoveries"].as_u64().unwrap() <= 3);
    signal(&run.0, "-INT");
    drop(run);
    let run = std::fs::read_to_string(dir.path().join("latest")).unwrap();
    let log = std::fs::read_to_string(dir.path().join(run).join("log.jsonl")).unwrap_or_default();
    assert!(log.contains("nonce"), "{log}");
    assert_eq!(leaked(dir.path()), Vec::<PathBuf>::new());
}

#[test]
fn no_secret_leaves_by_any_error_path() {
    let dir = Dir::new("rest-canary");
    // Everything that REST can meet, one after the other, and sign-ins that are refused; each
    // begins with the end of every socket, so that the account is read again.
    let mut faults = String::new();
    for (index, fault) in [
        "kind = \"rest_error\"\nstatus = 500\nfor_s = 6",
        "kind = \"rest_error\"\nstatus = 429\nretry_after_s = 1\nfor_s = 6",
        "kind = \"rest_error\"\nstatus = 502\napplied = true\nfor_s = 6",
        "kind = \"slow_body\"\nwait_ms = 1500\nbytes_per_s = 400\nfor_s = 6",
        "kind = \"broken_body\"\nfor_s = 6",
        "kind = \"nonce_refused\"\ntimes = 4\nfor_s = 6",
        "kind = \"maintenance\"\nfor_s = 4",
    ]
    .iter()
    .enumerate()
    {
        let from_s = 12 + 9 * index;
        faults.push_str(&format!("[[fault]]\nkind = \"hang_up\"\nfrom_s = {from_s}\nfor_s = 1\n"));
        faults.push_str(&format!("[[fault]]\n{fault}\nfrom_s = {from_s}\n"));
    }
    let venue = venue(&dir, &faults);
    let address = venue.address().to_owned();
    // Addresses of alerts hold tokens: one that nobody answers, and one that refuses.
    let places = Dir::new("rest-canary-files");
    let refuses = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let file = |name: &str, url: &str| {
        let path = places.path().join(name);
        std::fs::write(&path, format!("{url}\n")).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let port = refuses.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for tcp in refuses.incoming().flatten() {
            let _ = std::io::Write::write_all(
                &mut &tcp,
                b"HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n",
            );
        }
    });
    let webhook = file("webhook", "http://127.0.0.1:1/hook/CANARY-webhook-token");
    let telegram = file(
        "telegram",
        &format!("http://127.0.0.1:{port}/bot7:CANARY-telegram-token/sendMessage"),
    );
    let (webhook, telegram) = (
        format!("alerts.webhook_url_file={webhook:?}"),
        format!("alerts.telegram_url_file={telegram:?}"),
    );
    let mut level = vec!["--set", "log.level=debug", "--set", "rest.total_timeout_ms=3000"];
    level.extend(["--set", &webhook, "--set", &telegram, "--set", "alerts.telegram_chat=\"42\""]);
    let run = engine(&dir, &address, &level);
    let seen = wait_for(&dir, "the end of the script", |status| {
        status["elapsed_s"].as_u64() > Some(80) && rank(status) == "running"
    });
    assert!(seen["rest"]["failures"].as_u64().unwrap() > 3, "{}", seen["rest"]);
    // The last trouble: nobody answers any more.
    drop(venue);
    std::thread::sleep(Duration::from_secs(2));
    for what in [&["status"][..], &["status", "--rest"], &["status", "--json"], &["orders"]] {
        let (code, out, err) = output(&[what, &["--dir", dir.text()]].concat());
        assert_eq!(code, 0, "{err}");
        assert!(!shows_secret(&out) && !shows_secret(&err), "{what:?}: {out} {err}");
    }
    // Of alerts both ways failed, and that was told.
    let told = std::fs::read_to_string(dir.path().join("err.txt")).unwrap();
    assert!(told.contains("webhook") && told.contains("telegram"), "{told}");
    let (_, out, err) = output(&["kill", "--direct", "--dir", dir.text()]);
    assert!(!shows_secret(&out) && !shows_secret(&err), "{out} {err}");
    signal(&run.0, "-INT");
    drop(run);
    let kinds: Vec<String> =
        calls(dir.path()).iter().map(|call| call["status"].to_string()).collect();
    // Whatever falls into the time of an open breaker is not met; these are.
    for status in ["500", "429", "0"] {
        assert!(kinds.iter().any(|kind| kind == status), "{status} in {kinds:?}");
    }
    assert_eq!(leaked(dir.path()), Vec::<PathBuf>::new());
}

#[test]
fn an_unlisted_symbol_is_skipped_where_the_config_says_so() {
    let dir = Dir::new("rest-unlisted");
    let venue = venue(&dir, "");
    let address = venue.address().to_owned();
    let base = ["run", "--for", "2s", "--json", "--dir", dir.text(), "--attach", &address];
    let symbols = ["--set", "symbols=[\"tBTCUSD\",\"tXRPUSD\"]", "--set", "strategy=[]"];
    let (code, _, err) = output(&[&base[..], &symbols].concat());
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("tXRPUSD") && err.contains("rest.unlisted"), "{err}");
    let skip = ["--set", "rest.unlisted=skip"];
    let report = report_of(&[&base[..], &symbols, &skip].concat());
    assert_eq!(report["symbols"], serde_json::json!(["tBTCUSD"]));
}

#[test]
fn a_list_that_cannot_be_read_at_start_is_the_saved_one() {
    let dir = Dir::new("rest-saved");
    let script = "kind = \"rest_error\"\nstatus = 503\npath = \"conf/\"\n";
    let venue = venue(&dir, &format!("[[fault]]\n{script}from_s = 20\n"));
    let address = venue.address().to_owned();
    let args = ["run", "--json", "--dir", dir.text(), "--attach", &address, "--for"];
    report_of(&[&args[..], &["3s"]].concat());
    // The market's clock of the exchange runs on; the list is refused from then on.
    std::thread::sleep(Duration::from_secs(20));
    let (code, out, err) = output(&[&args[..], &["8s"]].concat());
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("using the saved list"), "{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert!(report["orders"]["sent"].as_u64().unwrap() > 0, "it trades on: {}", report["orders"]);
    let refused = calls(dir.path());
    assert!(refused.iter().any(|call| call["endpoint"] == "conf" && call["status"] == 503));
    // Neither a list nor a copy: one message.
    let other = Dir::new("rest-no-list");
    let args = ["run", "--for", "2s", "--dir", other.text(), "--attach", &address];
    let (code, _, err) = output(&args);
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("is the venue there?"), "{err}");
}
