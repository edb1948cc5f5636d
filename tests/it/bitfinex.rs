//! The environment "bitfinex", with `genesis venue --tls` in another process as the venue. Goal:
//! nothing but live, armed, with keys and all limits written, reaches live order entry; TEST pairs
//! reach it with pretended money only; paper trades on the live stream and leaves no trace there.
//! Method: every combination through the running binary; the venue is asked what it saw.

#![allow(clippy::disallowed_methods, reason = "deadlines of real processes")]

use crate::kill_loop::read;
use crate::run_support::{Dir, VenueProcess, genesis, output};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

/// The venue, and what a config says about it.
struct Remote {
    venue: VenueProcess,
    places: Vec<String>,
    key_file: String,
}
impl Remote {
    fn start(dir: &Path) -> Remote {
        Remote::start_with(dir, &[])
    }
    fn start_with(dir: &Path, more: &[&str]) -> Remote {
        let ca = dir.join("ca.pem");
        let balances = ["USD=1000000", "BTC=50", "TESTUSD=1000000", "TESTBTC=50"];
        let mut options = vec![
            "--no-rest-limits",
            "--tls",
            "--ca-out",
            ca.to_str().unwrap(),
            "--symbols",
            "tTESTBTC:TESTUSD",
        ];
        balances.iter().for_each(|balance| options.extend(["--balance", balance]));
        options.extend_from_slice(more);
        let state = dir.join("venue.state");
        let venue = VenueProcess::start_with("127.0.0.1:0", &state, &options);
        let (ws, rest, _) = venue.places();
        let key_file = key_file(dir, "key", "embedded-key\nembedded-secret\n");
        let places = [
            "environment=\"bitfinex\"".to_owned(),
            format!("venue.public_ws_url=\"{ws}\""),
            format!("venue.private_ws_url=\"{ws}\""),
            format!("venue.public_rest_url=\"{rest}\""),
            format!("venue.private_rest_url=\"{rest}\""),
            format!("venue.ca_file={ca:?}"),
            "report.line_interval_s=1".to_owned(),
        ];
        Remote { venue, places: places.into(), key_file }
    }
    /// Newest id that the venue has given to an order of the account.
    fn newest(&self) -> u64 {
        self.orders().iter().filter_map(|order| order[0].as_u64()).max().unwrap_or(0)
    }
    /// The newest orders that the venue has seen of the account: a page of the ended ones.
    fn orders(&self) -> Vec<Value> {
        let mut all = read(&self.venue, "auth/r/orders/hist");
        all.extend(read(&self.venue, "auth/r/orders"));
        all
    }
}

fn key_file(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Everything that must be written for live trading.
const LIMITS: [&str; 10] = [
    "risk.order_notional_max=2000",
    "risk.position_notional_max=5000",
    "risk.exposure_max=5000",
    "risk.orders_open_max=8",
    "risk.order_rate_max=300",
    "risk.collar_bps=100",
    "risk.account.daily_loss_max=500",
    "risk.account.drawdown_max=500",
    "risk.account.trades_day_max=1000",
    "trading.wallet=\"margin\"",
];

struct Start<'a> {
    mode: &'a str,
    arm: Option<&'a str>,
    has_keys: bool,
    has_limits: bool,
    symbol: &'a str,
    run_for: &'a str,
}

fn run(remote: &Remote, dir: &Dir, start: &Start<'_>) -> (i32, String, String) {
    let mut set = remote.places.clone();
    set.push(format!("symbols=[\"{}\"]", start.symbol));
    set.push(format!(
        "strategy=[{{kind=\"probe\",symbols=[\"{}\"],qty=\"0.01\",style=\"take\",every_changes=5}}]",
        start.symbol
    ));
    set.push(format!("trading.mode=\"{}\"", start.mode));
    set.push("trading.account=\"desk\"".to_owned());
    if start.has_keys {
        set.push(format!("venue.key_file={:?}", remote.key_file));
    }
    if start.has_limits {
        set.extend(LIMITS.iter().map(|&one| one.to_owned()));
    }
    let mut args = vec!["run", "--json", "--for", start.run_for, "--dir", dir.text()];
    set.iter().for_each(|one| args.extend(["--set", one.as_str()]));
    if let Some(name) = start.arm {
        args.extend(["--arm", name]);
    }
    let mut command = genesis(&args);
    for name in ["GENESIS_API_KEY", "GENESIS_API_SECRET", "CREDENTIALS_DIRECTORY"] {
        command.env_remove(name);
    }
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

#[test]
fn nothing_but_live_armed_with_keys_and_limits_reaches_live_order_entry() {
    let dir = Dir::new("matrix-start");
    let mut reached = Vec::new();
    let mut started = 0;
    for mode in ["off", "paper", "test", "live"] {
        // A venue of its own: to a run without their memory the trades of another are somebody
        // else's, and its entries wait.
        let at = dir.path().join(mode);
        std::fs::create_dir(&at).unwrap();
        let remote = Remote::start(&at);
        for arm in [None, Some("desk"), Some("dsek")] {
            for has_keys in [false, true] {
                for has_limits in [false, true] {
                    let symbol = if mode == "test" { "tTESTBTC:TESTUSD" } else { "tBTCUSD" };
                    let may_start = match mode {
                        "off" | "paper" => arm.is_none(),
                        "test" => arm.is_none() && has_keys,
                        _ => arm == Some("desk") && has_keys && has_limits,
                    };
                    let before = remote.newest();
                    // Paper has its own test below: here it is asked without limits alone.
                    let run_for = if may_start && mode != "off" { "8s" } else { "2s" };
                    let start = Start { mode, arm, has_keys, has_limits, symbol, run_for };
                    // A memory of its own: what TEST pairs have lost would pause the live run.
                    let own = Dir::new("start");
                    let (code, out, err) = run(&remote, &own, &start);
                    let at = format!("{mode} {arm:?} keys {has_keys} limits {has_limits}");
                    let is_new = |order: &&Value| order[0].as_u64().unwrap() > before;
                    let seen = remote.orders().iter().filter(is_new).count();
                    if !may_start {
                        assert_eq!(code, 2, "{at}: {out}{err}");
                        assert_eq!(seen, 0, "{at}: the venue saw an order");
                        assert!(!err.trim().is_empty(), "{at}: one message");
                        continue;
                    }
                    started += 1;
                    assert_eq!(code, 0, "{at}: {out}{err}");
                    let report: Value = serde_json::from_str(&out).unwrap();
                    let sent = report["orders"]["sent"].as_u64().unwrap();
                    assert_eq!(sent > 0, mode != "off", "{at}: {sent} orders");
                    let at_venue = matches!(mode, "test" | "live");
                    assert_eq!(seen > 0, at_venue, "{at}: the venue saw {seen} orders");
                    if seen > 0 {
                        assert_eq!(report["orders"]["unknown"], 0, "{at}");
                        reached.push((mode, symbol));
                    }
                }
            }
        }
        // What was sent for TEST pairs named no live pair, nor the reverse.
        let own = if mode == "test" { "tTESTBTC:TESTUSD" } else { "tBTCUSD" };
        for order in remote.orders() {
            assert_eq!(order[3].as_str(), Some(own), "{order}");
        }
    }
    assert_eq!(started, 4 + 4 + 2 + 1);
    assert_eq!(reached.iter().filter(|(mode, _)| *mode == "live").count(), 1);
}

#[test]
fn a_test_pair_never_becomes_a_live_one_nor_the_reverse() {
    let dir = Dir::new("pairs");
    let remote = Remote::start(dir.path());
    for (mode, arm, symbol) in
        [("test", None, "tBTCUSD"), ("live", Some("desk"), "tTESTBTC:TESTUSD")]
    {
        let (has_keys, has_limits) = (true, true);
        let start = Start { mode, arm, has_keys, has_limits, symbol, run_for: "2s" };
        let (code, _, err) = run(&remote, &dir, &start);
        assert_eq!(code, 2, "{err}");
        assert!(err.contains(symbol) && err.contains("never gets"), "{err}");
    }
    assert!(remote.orders().is_empty());
}

/// Fills inside on the venue's stream; the venue has an anonymous listener, no more.
#[test]
fn paper_fills_inside_on_the_live_stream_and_the_venue_sees_no_account() {
    let dir = Dir::new("paper");
    let remote = Remote::start(dir.path());
    let start = Start {
        mode: "paper",
        arm: None,
        has_keys: false,
        has_limits: false,
        symbol: "tBTCUSD",
        run_for: "15s",
    };
    let (code, out, err) = run(&remote, &dir, &start);
    assert_eq!(code, 0, "{out}{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    let count = |pointer: &str| report.pointer(pointer).and_then(Value::as_u64).unwrap();
    assert!(count("/orders/filled") >= 2, "{report}");
    assert_eq!((count("/orders/unknown"), count("/book_crc/failed")), (0, 0), "{report}");
    assert!(count("/book_crc/checked") > 0, "the line's own sockets are the venue's");
    assert_eq!(report["environment"], "bitfinex");
    assert_eq!(report["positions"]["tBTCUSD"]["matches_venue"], true, "{report}");
    assert!(remote.orders().is_empty(), "the venue saw an order");
    // Prices are the venue's: the last fill is near what it says now.
    let args = ["fills", "--history", "--json", "--dir", dir.text()];
    let (code, out, err) = output(&args);
    assert_eq!(code, 0, "{err}");
    let fills: Vec<Value> = serde_json::from_str(&out).unwrap();
    let px: f64 = fills[0]["px"].as_str().unwrap().parse().unwrap();
    let now = remote.venue.last_px("tBTCUSD");
    assert!((px / now - 1.0).abs() < 0.02, "{px} is not near {now}");
}

/// Real processes, keys of a file, TLS: live orders, a death, and a kill without the engine.
#[test]
fn a_live_engine_that_died_is_killed_from_a_second_process() {
    let dir = Dir::new("live-kill");
    let remote = Remote::start(dir.path());
    let mut set = remote.places.clone();
    set.extend([
        "symbols=[\"tBTCUSD\"]".to_owned(),
        "strategy=[{kind=\"probe\",symbols=[\"tBTCUSD\"],qty=\"0.01\",style=\"take\",\
         every_changes=5}]"
            .to_owned(),
        "trading.mode=\"live\"".to_owned(),
        "trading.account=\"desk\"".to_owned(),
        format!("venue.key_file={:?}", remote.key_file),
    ]);
    set.extend(LIMITS.iter().map(|&one| one.to_owned()));
    let mut args = vec!["run", "--plain", "--arm", "desk", "--dir", dir.text()];
    set.iter().for_each(|one| args.extend(["--set", one.as_str()]));
    let mut engine = genesis(&args)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let held = || {
        let rows = read(&remote.venue, "auth/r/positions");
        rows.iter().any(|row| row[2].as_f64().is_some_and(|qty| qty != 0.0))
    };
    while !held() {
        assert!(Instant::now() < deadline, "no position came about");
        std::thread::sleep(Duration::from_millis(30));
    }
    engine.kill().unwrap();
    engine.wait().unwrap();
    let (code, out, err) =
        output(&["kill", "--direct", "--reason", "engine is dead", "--dir", dir.text()]);
    let record: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{err}"));
    assert_eq!((code, &record["flat"]), (0, &true.into()), "{record}");
    assert!(!held() && read(&remote.venue, "auth/r/orders").is_empty(), "{record}");
}

/// The calls of a run or of a kill, by their file.
fn calls(dir: &Dir, file: &str) -> Vec<Value> {
    let run = std::fs::read_to_string(dir.path().join("latest")).unwrap();
    let text = std::fs::read_to_string(dir.path().join(run).join(file)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A key for each role: what each may do is told apart, each signs its own calls from a nonce file
/// of its own, and a kill without the engine needs none but its own.
#[test]
fn each_role_signs_with_its_own_key_and_a_kill_needs_no_other() {
    let dir = Dir::new("roles");
    let further = ["--key", "rest-key:rest-secret:read", "--key", "kill-key:kill-secret"];
    let remote = Remote::start_with(dir.path(), &further);
    let rest_file = key_file(dir.path(), "key-rest", "rest-key\nrest-secret\n");
    let kill_file = key_file(dir.path(), "key-kill", "kill-key\nkill-secret\n");
    let mut set = remote.places.clone();
    set.extend([
        "symbols=[\"tBTCUSD\"]".to_owned(),
        "strategy=[{kind=\"probe\",symbols=[\"tBTCUSD\"],qty=\"0.01\",style=\"take\",\
         every_changes=5}]"
            .to_owned(),
        "trading.mode=\"live\"".to_owned(),
        "trading.account=\"desk\"".to_owned(),
        "rest.keep_warm_s=1".to_owned(),
        format!("venue.key_file={:?}", remote.key_file),
        format!("venue.rest_key_file={rest_file:?}"),
        format!("venue.kill_key_file={kill_file:?}"),
    ]);
    set.extend(LIMITS.iter().map(|&one| one.to_owned()));
    let check = |more: &[&str]| {
        let mut args = vec!["keys", "check", "--dir", dir.text()];
        set.iter().map(String::as_str).chain(more.iter().copied()).for_each(|one| {
            args.extend(["--set", one]);
        });
        output(&args)
    };
    let (code, out, err) = check(&[]);
    assert_eq!(code, 0, "{out}{err}");
    for words in ["trade key, from ", "rest key, from ", "kill key, from ", "key-rest", "key-kill"]
    {
        assert!(out.contains(words), "{words} in {out}");
    }
    assert!(!out.contains("warn:"), "{out}");
    // A key that may only read is none to kill with; and one for two roles is told.
    let (code, out, _) = check(&[&format!("venue.kill_key_file={rest_file:?}")]);
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("give the key the right to write `orders`"), "{out}");
    assert!(out.contains("warn: one API key serves several roles (rest, kill)"), "{out}");

    let mut args = vec!["run", "--plain", "--arm", "desk", "--dir", dir.text()];
    set.iter().for_each(|one| args.extend(["--set", one.as_str()]));
    let said = dir.path().join("said.txt");
    let mut engine = genesis(&args)
        .stdout(std::process::Stdio::null())
        .stderr(std::fs::File::create(&said).unwrap())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let held = || {
        let rows = read(&remote.venue, "auth/r/positions");
        rows.iter().any(|row| row[2].as_f64().is_some_and(|qty| qty != 0.0))
    };
    while !held() {
        assert!(Instant::now() < deadline, "no position came about");
        std::thread::sleep(Duration::from_millis(30));
    }
    // The kill lane's connection is kept beside all that.
    while !calls(&dir, "rest.jsonl").iter().any(|call| call["reason"] == "keep-warm") {
        assert!(Instant::now() < deadline, "the kill lane was not kept warm");
        std::thread::sleep(Duration::from_millis(100));
    }
    engine.kill().unwrap();
    engine.wait().unwrap();
    let words = std::fs::read_to_string(&said).unwrap();
    assert!(!words.contains("serves several roles"), "{words}");
    let of_run = calls(&dir, "rest.jsonl");
    let reads = of_run.iter().filter(|call| call["reason"] == "start");
    assert!(reads.clone().count() > 0 && reads.clone().all(|call| call["role"] == "rest"));
    // One file of nonces for each key.
    let files = std::fs::read_dir(dir.path().join("nonces")).unwrap().flatten();
    assert_eq!(files.filter(|file| file.path().extension().is_none()).count(), 3);

    // The other keys are gone.
    std::fs::remove_file(&remote.key_file).unwrap();
    std::fs::remove_file(&rest_file).unwrap();
    let (code, out, err) =
        output(&["kill", "--direct", "--reason", "engine is dead", "--dir", dir.text()]);
    let record: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{err}"));
    assert_eq!((code, &record["flat"]), (0, &true.into()), "{record}");
    assert!(!held() && read(&remote.venue, "auth/r/orders").is_empty(), "{record}");
    let of_kill = calls(&dir, "kill-rest.jsonl");
    let signed: Vec<&Value> = of_kill.iter().filter(|call| call["side"] == "private").collect();
    assert!(signed.len() >= 2, "{of_kill:?}");
    assert!(signed.iter().all(|call| call["role"] == "kill"), "{of_kill:?}");
    let pooled = signed.iter().filter(|call| call["pooled"] == true).count();
    assert!(pooled > 0, "one connection for all of it: {of_kill:?}");
}
