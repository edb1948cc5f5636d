//! A running engine as its operator meets it: looked at, commanded, audited, alarmed, supervised.

#![allow(clippy::disallowed_methods, reason = "deadlines of real processes")]

use crate::run_support::{Dir, Process, genesis, output, signal};
use crate::webhook::webhook;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// A process that ends with the test, however that ends.
/// Until `found` has something, or the test fails: a shared machine may be slow, never that slow.
fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within 90 s");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn run_dir(dir: &Dir) -> PathBuf {
    let name = std::fs::read_to_string(dir.path().join("latest")).unwrap();
    dir.path().join(name)
}

/// `genesis WHAT --json` on the run in `dir`; `None` while it does not answer well.
fn asked(dir: &Dir, what: &[&str]) -> Option<Value> {
    let mut args = what.to_vec();
    args.extend(["--json", "--dir", dir.text()]);
    let (code, out, _) = output(&args);
    (code == 0).then(|| serde_json::from_str(&out).unwrap())
}

fn rank(status: &Value) -> &str {
    status["state"]["rank"].as_str().unwrap_or_default()
}

fn start(dir: &Dir, more: &[&str]) -> Process {
    let mut args = vec!["run", "--plain", "--dir", dir.text()];
    args.extend(more);
    Process(genesis(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

#[test]
fn a_running_engine_is_looked_at_commanded_and_audited() {
    let dir = Dir::new("operated");
    let mut run = start(&dir, &["--speed", "5"]);
    wait_for("running, with an order", || {
        asked(&dir, &["status"])
            .filter(|status| rank(status) == "running")
            .filter(|status| status["counts"]["orders_sent"].as_u64() > Some(0))
    });
    let path = run_dir(&dir);
    for name in ["token.read", "token.operate"] {
        let mode = std::fs::metadata(path.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    // Every view has words and JSON.
    for what in ["status", "orders", "fills", "positions", "guards"] {
        let (code, out, err) = output(&[what, "--dir", dir.text()]);
        assert_eq!(code, 0, "{what}: {err}");
        assert!(!out.is_empty());
        assert!(asked(&dir, &[what]).is_some(), "{what} --json");
    }
    let (code, url, _) = output(&["dashboard", "--dir", dir.text()]);
    assert_eq!(code, 0);
    assert!(url.starts_with("http://127.0.0.1:") && url.contains("/#"), "{url}");

    let pause = asked(&dir, &["pause", "--reason", "a look"]).unwrap();
    assert_eq!(pause["rank_after"], "entries-blocked", "{pause}");
    let status = asked(&dir, &["status"]).unwrap();
    assert!(status["state"]["reason"].as_str().unwrap().contains("a look"), "{status}");
    let cancel = asked(&dir, &["cancel"]).unwrap();
    assert_eq!(cancel["accepted"], true);
    wait_for("no orders", || {
        asked(&dir, &["orders"]).filter(|orders| orders.as_array().unwrap().is_empty())
    });
    let resume = asked(&dir, &["resume"]).unwrap();
    assert_eq!(resume["rank_after"], "running", "{resume}");

    // Commands that make no sense end with the code of bad input, and reach nothing.
    let (code, _, err) = output(&["reset", "--dir", dir.text()]);
    assert_eq!(code, 2, "{err}");
    let (code, out, _) = output(&["flatten", "--symbol", "tNOUSD", "--dir", dir.text(), "--json"]);
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("is not traded here"), "{out}");

    let (code, out, err) = output(&["kill", "--reason", "drill", "--dir", dir.text()]);
    assert_eq!(code, 0, "{out} {err}");
    // Halted, flat, no orders; and the alert stands.
    let killed = wait_for("halted and flat", || {
        asked(&dir, &["status"]).filter(|status| {
            let flat = status["symbols"].as_array().unwrap();
            rank(status) == "halted" && flat.iter().all(|row| row["position"] == 0.0)
        })
    });
    assert_eq!(killed["counts"]["orders_alive"], 0);
    wait_for("the alert", || {
        asked(&dir, &["alerts", "list"]).filter(|alerts| {
            let active = alerts["active"].as_array().unwrap();
            active.iter().any(|alert| alert["runbook"] == "RUNBOOK.md#killed")
        })
    });
    let reset = asked(&dir, &["reset", "--reason", "drill is over"]).unwrap();
    assert_eq!(reset["accepted"], true, "{reset}");

    let audit = std::fs::read_to_string(path.join("audit.log")).unwrap();
    for words in ["pause everything reason \"a look\"", "kill everything reason \"drill\"", "reset"]
    {
        assert!(audit.contains(words), "{words} in\n{audit}");
    }
    assert!(audit.contains("operate token, 127.0.0.1:"), "{audit}");
    let log = std::fs::read_to_string(path.join("log.jsonl")).unwrap();
    assert!(log.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));

    signal(&run.0, "-INT");
    assert_eq!(run.0.wait().unwrap().code(), Some(0));
    let (code, _, err) = output(&["status", "--dir", dir.text()]);
    assert_eq!(code, 6, "{err}");
    assert!(err.contains("has ended"), "{err}");
}

#[test]
fn without_a_run_the_commands_say_so() {
    let dir = Dir::new("nothing");
    for what in ["status", "kill", "pause"] {
        let (code, _, err) = output(&[what, "--dir", dir.text()]);
        assert_eq!(code, 2, "{what}");
        assert!(err.contains("no run found"), "{err}");
    }
    let dir = Dir::new("closed");
    let (code, _, _) = output(&[
        "run",
        "--json",
        "--for",
        "1s",
        "--dir",
        dir.text(),
        "--set",
        "dashboard.enabled=false",
    ]);
    assert_eq!(code, 0);
    assert!(!run_dir(&dir).join("token.operate").exists(), "no port, no tokens");
    let (code, _, err) = output(&["status", "--dir", dir.text()]);
    assert_eq!(code, 6, "{err}");
}

/// Bodies that come to a webhook.
fn hook() -> (String, std::sync::mpsc::Receiver<(Instant, Value)>) {
    let (sender, receiver) = std::sync::mpsc::channel();
    // Where nobody listens any more, the test has ended.
    let url = webhook(move |at, body| drop(sender.send((at, body))));
    (url, receiver)
}

/// Goal: a person hears of a lost venue within seconds, and of its end. Method: two processes, the
/// venue is killed; what a webhook gets is timed.
#[test]
fn a_lost_venue_reaches_the_webhook_in_seconds() {
    let dir = Dir::new("alarmed");
    let (url, heard) = hook();
    let file = dir.path().join("hook");
    std::fs::write(&file, &url).unwrap();
    let venue = genesis(&["venue", "--speed", "5"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut venue = Process(venue);
    let mut first = String::new();
    BufReader::new(venue.0.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let first: Value = serde_json::from_str(&first).unwrap();
    let address = first["ws"].as_str().unwrap().trim_start_matches("ws://").split('/').next();
    let key = format!("alerts.webhook_url_file={:?}", file.to_str().unwrap());
    let _run = start(&dir, &["--attach", address.unwrap(), "--set", &key]);
    wait_for("running", || asked(&dir, &["status"]).filter(|status| rank(status) == "running"));
    // What is told in the first ten seconds is another story: books are still being fetched.
    wait_for("ten seconds", || {
        asked(&dir, &["status"]).filter(|status| status["elapsed_s"].as_u64() > Some(12))
    });
    venue.0.kill().unwrap();
    let killed_at = Instant::now();
    let mut names = Vec::new();
    while !(names.contains(&"link_down".to_owned())
        && names.contains(&"book_not_tradable".to_owned()))
    {
        let (at, body) = heard.recv_timeout(Duration::from_secs(60)).unwrap();
        if body["state"] != "raised" || at < killed_at {
            continue;
        }
        let name = body["alert"].as_str().unwrap();
        assert_eq!(body["runbook"], format!("RUNBOOK.md#{name}"));
        eprintln!("{name} after {:?}", at - killed_at);
        names.push(name.to_owned());
    }
    // 3 s by config, and what a shared machine adds.
    assert!(killed_at.elapsed() < Duration::from_secs(30), "{:?}", killed_at.elapsed());
    let status = asked(&dir, &["status"]).unwrap();
    assert_ne!(rank(&status), "running");
    assert!(status["alerts"]["delivered"].as_u64() > Some(0), "{}", status["alerts"]);
}

#[test]
fn a_supervisor_hears_that_it_is_ready_alive_and_stopping() {
    let dir = Dir::new("supervised");
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut command = genesis(&["run", "--json", "--for", "4s", "--dir", dir.text()]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "1000000");
    let run = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut run = Process(run);
    let mut words = String::new();
    let mut buffer = [0; 256];
    while !words.contains("STOPPING=1") {
        let count = socket.recv(&mut buffer).unwrap();
        words.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        words.push('\n');
    }
    assert_eq!(run.0.wait().unwrap().code(), Some(0));
    assert!(words.contains("READY=1"), "{words}");
    assert!(words.matches("WATCHDOG=1").count() >= 3, "{words}");
}

#[test]
fn a_test_of_the_alert_channels_says_what_does_not_work() {
    let dir = Dir::new("channels");
    let file = dir.path().join("hook");
    let test = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let key = format!("alerts.webhook_url_file={:?}", file.to_str().unwrap());
        output(&["alerts", "test", "--set", &key])
    };
    let (url, heard) = hook();
    let (code, out, err) = test(&url);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("delivered"), "{out}");
    let (_, body) = heard.recv_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(body["subject"], "test");
    let (code, _, err) = test("no address");
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("no http address"), "{err}");
    let gone = {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        format!("http://{}/secret", listener.local_addr().unwrap())
    };
    let (code, _, err) = test(&gone);
    assert_eq!(code, 1, "{err}");
    assert!(!err.contains("secret"), "an address is a secret: {err}");
    let (code, out, _) = output(&["alerts", "test"]);
    assert_eq!(code, 0, "{out}");
    assert!(Path::new(&dir.text()).exists());
}

/// Every drill of the runbook, each in its own processes, step by step.
#[test]
fn every_drill_passes() {
    let drills = ["kill", "disconnect", "maintenance", "disk-full", "clock-step"];
    let running = drills.map(|name| std::thread::spawn(move || output(&["drill", name, "--json"])));
    for (name, done) in drills.iter().zip(running) {
        let (code, out, err) = done.join().unwrap();
        let steps: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}{err}"));
        let steps = steps.as_array().unwrap();
        for step in steps {
            eprintln!("{name} {:>6} s  {}", step["after_s"].to_string(), step["claim"]);
        }
        let failed: Vec<&Value> = steps.iter().filter(|step| step["passed"] != true).collect();
        // Bounds are those of a machine that is not shared; what never came about is something
        // else.
        let never = failed.iter().filter(|step| step["seen"] != "").count();
        assert_eq!(never, 0, "{name}: {failed:#?}");
        assert!(steps.len() >= 8, "{name}: it broke off: {steps:#?}");
        assert!(code == 0 || !failed.is_empty(), "{name}: code {code} {err}");
    }
}

#[test]
fn top_shows_one_picture_or_many() {
    let dir = Dir::new("topped");
    let _run = start(&dir, &[]);
    wait_for("running", || asked(&dir, &["status"]).filter(|status| rank(status) == "running"));
    let (code, out, err) = output(&["top", "--once", "--dir", dir.text()]);
    assert_eq!(code, 0, "{err}");
    for words in ["[RUNNING]", "SYMBOLS", "tBTCUSD", "LATENCY", "THREADS", "SOCKETS", "risk."] {
        assert!(out.contains(words), "{words} in\n{out}");
    }
    let (code, out, err) = output(&["top", "--pictures", "3", "--dir", dir.text()]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(out.matches("SYMBOLS").count(), 3, "{out}");
    let (code, _, err) = output(&["top", "--dir", Dir::new("none").text()]);
    assert_eq!(code, 2, "{err}");
}
