//! Every alert against its fault, in real processes: `genesis run` against `genesis venue`, a
//! webhook as the person who is to hear of it. Goal: told within five seconds, unless the alert's
//! own hold-off is longer. Method: what happened when is taken from where it happened (the script
//! of faults, the process that was ended, the command that was given); what the machine itself
//! stood still is added to the bound, as the run's own hiccup meter measured it.

#![allow(clippy::disallowed_methods, reason = "deadlines of real processes")]

use crate::run_support::{Dir, Process, genesis, output};
use crate::webhook::webhook;
use genesis::io::rest::{Method, RestConfig, RestRequest, RestTransport};
use genesis::venue::sign::ApiKey;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Promised to operators.
const TOLD_MAX_S: f64 = 5.0;
/// Nobody waits longer.
const PATIENCE: Duration = Duration::from_secs(120);
/// Faults of scripts begin after this: by then an engine has started, and alerts of states are
/// told.
const FAULT_AT_S: f64 = 25.0;

/// What begins a span is seen by asking the engine, and may be seen later than the alert is told.
const SEEN_LATE_MAX: Duration = Duration::from_secs(5);

type Heard = Arc<Mutex<Vec<(Instant, Value)>>>;

/// Takes alerts for as long as the test lives.
fn hook() -> (String, Heard) {
    let heard: Heard = Arc::default();
    let kept = heard.clone();
    (webhook(move |at, body| kept.lock().unwrap().push((at, body))), heard)
}

/// An exchange with a script of faults, an engine attached to it, and a webhook.
struct Scene {
    name: &'static str,
    /// Of the exchange.
    address: String,
    dir: Dir,
    venue: Process,
    venue_at: Instant,
    run: Process,
    heard: Heard,
}

impl Scene {
    fn new(name: &'static str, faults: &str, venue_more: &[&str], sets: &[&str]) -> Scene {
        let dir = Dir::new(name);
        let script = dir.path().join("faults.toml");
        std::fs::write(&script, faults).unwrap();
        let mut args = vec!["venue", "--market", "synthetic:7", "--no-rest-limits", "--faults"];
        args.push(script.to_str().unwrap());
        args.extend(venue_more);
        let venue = genesis(&args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut venue = Process(venue);
        let mut line = String::new();
        BufReader::new(venue.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        // The market's clock has begun a moment before: an alert looks sooner by that, not later.
        let venue_at = Instant::now();
        let hello: Value = serde_json::from_str(&line).unwrap();
        let address = hello["rest"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
        let (url, heard) = hook();
        let hook = dir.path().join("hook");
        std::fs::write(&hook, &url).unwrap();
        let hook = format!("alerts.webhook_url_file={:?}", hook.to_str().unwrap());
        let mut args = vec!["run", "--plain", "--dir", dir.text(), "--attach", &address];
        for set in [&hook[..]].iter().chain(sets) {
            args.extend(["--set", *set]);
        }
        let run = genesis(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let run = Process(run);
        let scene = Scene { name, address, dir, venue, venue_at, run, heard };
        scene.wait("running", |status| status["state"]["rank"] == "running");
        scene
    }
    /// An engine with an exchange of its own.
    fn alone(name: &'static str, args: &[&str], sets: &[&str]) -> Scene {
        let dir = Dir::new(name);
        let (url, heard) = hook();
        let hook = dir.path().join("hook");
        std::fs::write(&hook, &url).unwrap();
        let hook = format!("alerts.webhook_url_file={:?}", hook.to_str().unwrap());
        let mut all = vec!["run", "--plain", "--dir", dir.text()];
        all.extend(args);
        for set in [&hook[..]].iter().chain(sets) {
            all.extend(["--set", *set]);
        }
        let run = genesis(&all).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let venue = Process(std::process::Command::new("true").spawn().unwrap());
        let (address, venue_at) = (String::new(), Instant::now());
        Scene { name, address, dir, venue, venue_at, run: Process(run), heard }
    }
    fn status(&self) -> Option<Value> {
        let (code, out, _) = output(&["status", "--json", "--dir", self.dir.text()]);
        (code == 0).then(|| serde_json::from_str(&out).unwrap())
    }
    fn wait(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let mut last = Value::Null;
        while Instant::now() < deadline {
            if let Some(status) = self.status() {
                if holds(&status) {
                    return status;
                }
                last = status["state"].clone();
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{}: {what} did not come about; {last}", self.name);
    }
    fn fault_at(&self) -> Instant {
        self.venue_at + Duration::from_secs_f64(FAULT_AT_S)
    }
    fn word(&self, words: &[&str]) -> (i32, String) {
        let mut args = words.to_vec();
        args.extend(["--dir", self.dir.text()]);
        let (code, out, err) = output(&args);
        (code, out + &err)
    }
    /// When the webhook heard of it, after `from`; what else it heard is in the panic.
    fn told(&self, alert: &str, subject: &str, from: Instant) -> (Instant, String) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let heard = self.heard.lock().unwrap().clone();
            let found = heard.iter().find(|(at, body)| {
                let about = body["subject"].as_str().unwrap_or_default();
                *at + SEEN_LATE_MAX >= from
                    && body["state"] == "raised"
                    && body["alert"] == alert
                    && about.contains(subject)
            });
            if let Some((at, body)) = found {
                assert_eq!(body["runbook"], format!("RUNBOOK.md#{alert}"));
                return (*at, body["text"].as_str().unwrap_or_default().to_owned());
            }
            let names: Vec<String> = heard
                .iter()
                .map(|(_, body)| format!("{} {}", body["alert"], body["text"]))
                .collect();
            assert!(Instant::now() < deadline, "{}: no {alert}; heard {names:?}", self.name);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    fn row(&self, alert: &str, fault: &str, from: Instant, hold_off_s: f64) -> Row {
        self.row_about(alert, "", fault, from, hold_off_s)
    }
    fn row_about(&self, alert: &str, about: &str, fault: &str, from: Instant, hold: f64) -> Row {
        let told = self.told(alert, about, from).0;
        let after_s = told.saturating_duration_since(from).as_secs_f64();
        // Scripts and commands are a moment late themselves; so is a machine that stands still.
        let still_ms = self.status().and_then(|s| s["host"]["hiccup_ms"]["total"]["max"].as_f64());
        Row {
            alert: alert.to_owned(),
            fault: fault.to_owned(),
            after_s,
            hold_off_s: hold,
            still_s: still_ms.unwrap_or(0.0) / 1e3,
        }
    }
}

#[derive(Debug)]
struct Row {
    alert: String,
    fault: String,
    after_s: f64,
    /// By its own config or nature, beside the five seconds.
    hold_off_s: f64,
    /// Longest that the machine did not run the watchdog.
    still_s: f64,
}

fn fault(kind: &str, more: &str) -> String {
    format!("[[fault]]\nkind = \"{kind}\"\nfrom_s = {FAULT_AT_S}\n{more}\n")
}

fn person_and_venue() -> Vec<Row> {
    let scene = Scene::new("killed", "", &[], &[]);
    std::thread::sleep(Duration::from_secs(12));
    let from = Instant::now();
    let (code, words) = scene.word(&["kill", "--reason", "table"]);
    assert_eq!(code, 0, "{words}");
    let killed = scene.row("killed", "genesis kill", from, 0.0);
    let mut scene = scene;
    scene.venue.0.kill().unwrap();
    let from = Instant::now();
    vec![
        killed,
        scene.row("link_down", "the exchange is killed", from, 0.0),
        scene.row("book_not_tradable", "the exchange is killed", from, 0.0),
    ]
}

fn silence() -> Vec<Row> {
    let faults = fault("silence", "for_s = 40\nframes = \"any\"");
    let scene = Scene::new("silence", &faults, &["--activity", "20"], &[]);
    let from = scene.fault_at();
    let mut rows = vec![
        scene.row_about("watchdog", "book", "every channel falls silent", from, 0.0),
        scene.row("book_not_tradable", "every channel falls silent", from, 3.0),
    ];
    // Four times the longest usual gap is a hush: a machine that stands still makes long ones.
    for row in &mut rows {
        row.hold_off_s += 4.0 * row.still_s;
    }
    rows
}

fn unknown_and_slow() -> Vec<Row> {
    // REST takes its time to say what became of them.
    let faults = fault("silence", "for_s = 30\nframes = \"answers\"")
        + &fault("silence", "for_s = 30\nframes = \"account\"")
        + &fault("slow_body", "for_s = 30\nwait_ms = 3000\npath = \"/auth/\"");
    let sets = ["orders.ack_timeout_ms=1000"];
    let scene = Scene::new("unknown", &faults, &["--speed", "1", "--activity", "8"], &sets);
    // An order has to leave first, and its time-out to pass.
    let from = scene.fault_at();
    vec![scene.row("unknown_order", "answers to orders are lost", from, 4.0)]
}

fn slow_answers() -> Vec<Row> {
    let faults = fault("delay", "for_s = 60\nframes = \"answers\"\ndelay_ms = 400");
    let sets = ["alerts.order_roundtrip_p99_ms=200", "orders.ack_timeout_ms=5000"];
    let scene = Scene::new("slow", &faults, &["--activity", "20"], &sets);
    let from = scene.fault_at();
    // One late answer in a hundred is enough, but one has to be asked for, and to come.
    vec![scene.row("slow_orders", "answers come 400 ms late", from, 5.0)]
}

fn hang_ups() -> Vec<Row> {
    let faults = fault("hang_up", "for_s = 0.5")
        + &fault("rest_error", "for_s = 20\nstatus = 429\nretry_after_s = 1");
    let sets = ["alerts.reconnects_max=2"];
    let scene = Scene::new("hangups", &faults, &[], &sets);
    let from = scene.fault_at();
    vec![
        scene.row("reconnect_loop", "every socket is closed", from, 0.0),
        scene.row("rate_limited", "REST says 429 while the account is matched", from, 0.0),
    ]
}

fn nonces() -> Vec<Row> {
    let faults = fault("hang_up", "for_s = 0.5") + &fault("nonce_refused", "for_s = 30\ntimes = 6");
    let scene = Scene::new("nonces", &faults, &[], &[]);
    let from = scene.fault_at();
    // A call has to be made first: that is when the sockets are back.
    vec![scene.row("nonce_recovery", "signed calls are refused, nonce: small", from, 5.0)]
}

fn breaker() -> Vec<Row> {
    let faults = fault("hang_up", "for_s = 0.5") + &fault("rest_error", "for_s = 90\nstatus = 500");
    let scene = Scene::new("breaker", &faults, &[], &[]);
    scene.wait("the breaker opens", |status| status["rest"]["circuit_open"] == true);
    let from = Instant::now() - Duration::from_millis(700);
    vec![scene.row("breaker_open", "every REST call fails with 500", from, 0.0)]
}

/// Somebody trades by hand on the engine's account.
fn foreign() -> Vec<Row> {
    let scene = Scene::new("foreign", "", &[], &[]);
    std::thread::sleep(Duration::from_secs(12));
    let key = ApiKey::new("embedded-key", b"embedded-secret").unwrap();
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let nonce = since.as_micros() as u64 + 60_000_000;
    let path = "auth/w/order/submit";
    let body = br#"{"type":"MARKET","symbol":"tADAUSD","amount":"300","cid":1}"#;
    let signature = key.sign_rest(path, nonce, body);
    let (url, nonce) = (format!("http://{}/v2/{path}", scene.address), nonce.to_string());
    let headers = [
        ("content-type", "application/json"),
        ("bfx-nonce", nonce.as_str()),
        ("bfx-apikey", key.id()),
        ("bfx-signature", signature.as_str()),
    ];
    let config = RestConfig { loopback_only: true, ..RestConfig::default() };
    let request =
        RestRequest { method: Method::Post, url: &url, headers: &headers, body, total_max: None };
    let reply = RestTransport::new(&config).unwrap().call(&request).unwrap();
    let from = Instant::now();
    assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
    // Its grace is five seconds: fills and positions come by different messages.
    vec![scene.row("position_mismatch", "somebody trades by hand on the account", from, 5.0)]
}

fn refused_and_full() -> Vec<Row> {
    let sets = ["risk.order_rate_max=5", "alerts.no_trades_ms=2000"];
    let scene = Scene::new("refused", "", &[], &sets);
    // From the first refusal that the status shows: it is at most half a second old then.
    scene.wait("a refusal", |status| {
        let guards = status["guards"].as_array().unwrap();
        guards.iter().any(|row| row["name"] == "order_rate" && row["blocked"].as_u64() > Some(0))
    });
    let seen = Instant::now();
    let from = seen - Duration::from_millis(600);
    let trip = scene.row_about("guard_trip", "order_rate", "the order rate is used up", from, 0.0);
    // Nothing more can be sent, so nothing is filled; it says itself how long ago the last one was.
    let (_, words) = scene.told("no_trades", "", scene.venue_at);
    let seconds = words.strip_prefix("no fill for ").and_then(|rest| rest.split(' ').next());
    let told = Row {
        alert: "no_trades".to_owned(),
        fault: "no fill for longer than no_trades_ms = 2 s".to_owned(),
        after_s: seconds.and_then(|text| text.parse().ok()).unwrap_or(f64::MAX),
        // And none is told in the first ten seconds of a run.
        hold_off_s: 10.0,
        still_s: trip.still_s,
    };
    vec![trip, told]
}

fn clock() -> Vec<Row> {
    let scene = Scene::alone("clock", &["--speed", "5", "--drill-clock-step", "-5000@20s"], &[]);
    let log = |words: &str| {
        let run = std::fs::read_to_string(scene.dir.path().join("latest")).unwrap_or_default();
        let path = scene.dir.path().join(run).join("log.jsonl");
        std::fs::read_to_string(path).unwrap_or_default().contains(words)
    };
    let deadline = Instant::now() + PATIENCE;
    while !log("drill: the wall clock is stepped") {
        assert!(Instant::now() < deadline, "no step");
        std::thread::sleep(Duration::from_millis(20));
    }
    let from = Instant::now() - Duration::from_millis(50);
    vec![
        scene.row("clock_step", "the wall clock is set back by 5 s", from, 0.0),
        scene.row_about("watchdog", "clock", "the wall clock is set back by 5 s", from, 0.0),
    ]
}

fn journal() -> Vec<Row> {
    // The input log reaches its largest size: events are missing from there on.
    let sets = ["journal.input_log_mib_max=1", "alerts.disk_free_mib_min=1048576"];
    let begun = Instant::now();
    let scene = Scene::alone("journal", &["--speed", "50"], &sets);
    scene.wait("the first status", |status| status["elapsed_s"].as_u64() > Some(0));
    let start_s = begun.elapsed().as_secs_f64();
    let disk = scene.row("disk_low", "less is free than disk_free_mib_min", begun, start_s);
    scene.wait("missed events", |status| status["counts"]["log_missed"].as_u64() > Some(0));
    let from = Instant::now() - Duration::from_millis(600);
    vec![disk, scene.row("ring_drops", "the input log is full", from, 0.0)]
}

fn channel_down() -> Vec<Row> {
    let scene = Scene::alone("channel", &["--speed", "5"], &["dashboard.push_ms=250"]);
    scene.wait("running", |status| status["state"]["rank"] == "running");
    // Nobody listens at an address that was free a moment ago.
    let gone = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let second = Dir::new("channel2");
    let hook = second.path().join("hook");
    std::fs::write(&hook, format!("http://{gone}/hook")).unwrap();
    let set = format!("alerts.webhook_url_file={:?}", hook.to_str().unwrap());
    let args = ["run", "--plain", "--dir", second.text(), "--speed", "5", "--set", &set];
    let run = genesis(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let _run = Process(run);
    let ask = |words: &[&str]| {
        let mut args = words.to_vec();
        args.extend(["--json", "--dir", second.text()]);
        let (code, out, _) = output(&args);
        (code == 0).then(|| serde_json::from_str::<Value>(&out).unwrap())
    };
    let deadline = Instant::now() + PATIENCE;
    let until = |what: &str, holds: &dyn Fn() -> bool| {
        while !holds() {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    until("running", &|| ask(&["status"]).is_some_and(|s| s["state"]["rank"] == "running"));
    let from = Instant::now();
    assert!(ask(&["kill", "--reason", "table"]).is_some());
    until("alert_channel_down", &|| {
        ask(&["alerts", "list"]).is_some_and(|alerts| {
            let active = alerts["active"].as_array().unwrap();
            active.iter().any(|alert| alert["name"] == "alert_channel_down")
        })
    });
    vec![Row {
        alert: "alert_channel_down".to_owned(),
        fault: "the webhook is gone; three tries fail".to_owned(),
        after_s: from.elapsed().as_secs_f64(),
        // The pauses between its tries.
        hold_off_s: 1.5,
        still_s: 0.0,
    }]
}

fn stuck() -> Vec<Row> {
    let faults = fault("cancel_only", "for_s = 90");
    let scene = Scene::new("stuck", &faults, &["--speed", "1", "--activity", "8"], &[]);
    scene.wait("a position", |status| {
        status["symbols"].as_array().unwrap().iter().any(|row| row["position"] != 0.0)
    });
    while Instant::now() < scene.fault_at() + Duration::from_secs(1) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let from = Instant::now();
    // A machine that is too busy to answer in time is asked again.
    let is_taken = (0..5).any(|_| scene.word(&["flatten", "--reason", "table"]).0 == 0);
    assert!(is_taken, "no flatten was taken");
    // It tries with an escalating price first.
    vec![scene.row("flatten_stuck", "the exchange takes cancels only while flattening", from, 60.0)]
}

fn thread_gone() -> Vec<Row> {
    let scene = Scene::alone(
        "gone",
        &["--speed", "5", "--drill-thread", "line:panic@18s"],
        &["topology.layout=\"fused\""],
    );
    scene.wait("close to it", |status| status["elapsed_s"].as_u64() >= Some(16));
    let begun = Instant::now();
    let mut scene = scene;
    let (told, _) = scene.told("watchdog", "thread", begun);
    // 5: halted by itself; 3, which is more urgent: and own orders are left at the venue.
    let code = scene.run.0.wait().unwrap().code();
    assert!(matches!(code, Some(3 | 5)), "it ends for its supervisor: {code:?}");
    // At 18 s of its own clock, between one and two seconds after the look.
    vec![Row {
        alert: "watchdog".to_owned(),
        fault: "a hot thread panics".to_owned(),
        after_s: (told - begun).as_secs_f64(),
        hold_off_s: 2.0,
        still_s: 0.0,
    }]
}

#[test]
fn every_alert_is_told_in_time_for_its_fault() {
    let acts: [fn() -> Vec<Row>; 14] = [
        person_and_venue,
        silence,
        unknown_and_slow,
        slow_answers,
        hang_ups,
        nonces,
        breaker,
        foreign,
        refused_and_full,
        clock,
        journal,
        channel_down,
        stuck,
        thread_gone,
    ];
    let mut rows = Vec::new();
    let mut failed = Vec::new();
    // Four at once: a whole machine is not to be asked for.
    for some in acts.chunks(4) {
        let running: Vec<_> = some.iter().map(|act| std::thread::spawn(*act)).collect();
        for act in running {
            match act.join() {
                Ok(told) => rows.extend(told),
                Err(panic) => failed.push(
                    panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "?".to_owned()),
                ),
            }
        }
    }
    eprintln!("| alert | injected fault | told after, s | hold-off, s |\n|---|---|---|---|");
    for row in &rows {
        let Row { alert, fault, after_s, hold_off_s, .. } = row;
        eprintln!("| {alert} | {fault} | {after_s:.1} | {hold_off_s:.1} |");
    }
    assert!(failed.is_empty(), "{failed:#?}");
    for row in &rows {
        let bound = TOLD_MAX_S + row.hold_off_s + row.still_s;
        assert!(row.after_s <= bound, "{row:?}: over {bound:.1} s");
    }
}
