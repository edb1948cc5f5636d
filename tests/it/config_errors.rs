//! Bad input gets one clear message that says what was wrong, what was expected and what to do;
//! exit code 2; nothing on standard output. Method: the real binary, as an operator would run it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory of its own, removed at the end.
struct Scratch(PathBuf);
impl Scratch {
    fn new() -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("genesis-it-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }
    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}
impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn genesis(state: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_genesis"))
        .args(args)
        .env("XDG_STATE_HOME", state)
        .env_remove("NO_COLOR")
        .output()
        .unwrap()
}

/// Runs the program, which must refuse with code 2 and name each of `expected`.
fn refused(args: &[&str], expected: &[&str]) {
    let scratch = Scratch::new();
    let output = genesis(&scratch.0, args);
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {words}");
    assert!(output.stdout.is_empty(), "{args:?}");
    for part in expected {
        assert!(words.contains(part), "{args:?}: `{part}` is missing in: {words}");
    }
    assert!(!words.contains("panicked"), "{words}");
    let left = std::fs::read_dir(&scratch.0).unwrap().count();
    assert_eq!(left, 0, "{args:?}: a refused run leaves nothing behind");
}

/// A config of this text must be refused.
fn config_refused(text: &str, expected: &[&str]) {
    let scratch = Scratch::new();
    let path = scratch.file("bad.toml", text);
    let path = path.to_str().unwrap();
    refused(&["run", "--config", path, "--for", "1s"], expected);
    refused(&["config", "check", path], expected);
}

/// Runs the program, which must succeed; returns its standard output.
fn accepted(args: &[&str]) -> String {
    let scratch = Scratch::new();
    let output = genesis(&scratch.0, args);
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {words}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn an_unknown_key_is_named_with_its_near_match() {
    config_refused(
        "[risk]\norders_opne_max = 5\n",
        &["bad.toml", "risk.orders_opne_max: got 5", "did you mean `orders_open_max`?"],
    );
    config_refused("[rsik]\ncollar_bps = 5\n", &["rsik", "did you mean `risk`?"]);
}

#[test]
fn numbers_that_are_none_are_refused_before_anything_starts() {
    config_refused("[risk]\ncollar_bps = nan\n", &["risk.collar_bps: got nan", "1 … 5000"]);
    config_refused("[risk]\nexposure_max = inf\n", &["risk.exposure_max: got inf"]);
    config_refused("[risk]\norders_open_max = 0\n", &["risk.orders_open_max: got 0", "1 … 256"]);
    config_refused("[risk]\norders_open_max = -3\n", &["got -3"]);
    config_refused("[market]\nspeed = 0\n", &["market.speed: got 0", "above 0"]);
    config_refused("[risk]\nexposure_max = 1e300\n", &["risk.exposure_max"]);
}

#[test]
fn all_problems_of_a_file_are_listed_at_once() {
    config_refused(
        "environment = \"embeded\"\nsymbols = [\"tBTCUSD\", \"tBTCUSD\"]\n[signal]\ntick_ms = 0\n",
        &["3 problems", "did you mean \"embedded\"?", "symbols[1]", "signal.tick_ms"],
    );
}

#[test]
fn a_file_that_is_no_config_says_where_it_breaks() {
    config_refused("symbols = [\n", &["not valid TOML", "line"]);
    config_refused("\u{0}\u{1}", &["not valid TOML"]);
    refused(&["run", "--config", "no/such.toml"], &["no/such.toml", "cannot be read", "--config"]);
    refused(&["run", "--config", "."], &["directory"]);
}

/// Whoever writes a secret into a config finds it refused, and not repeated in a log.
#[test]
fn a_secret_in_a_config_is_refused_and_not_repeated() {
    let scratch = Scratch::new();
    let texts = [
        "[venue]\napi_secret = \"CANARY-1\"\n",
        "[venue]\nkey = \"CANARY-2\"\n",
        "[venue]\nsecret = CANARY-3\n",
        "[venue]\nsecret_env = \"CANARY-4\"\n",
        "[venue]\nkey_env = [\"CANARY-5\"]\n",
        "[alerts]\nwebhook = \"CANARY-6\"\n",
        "[alerts]\nwebhook_url_file = \"https://127.0.0.1/hook/CANARY-7\"\n",
        "api_token = \"CANARY-8\"\n",
        "[venue]\nsecret = \"CANARY-9\n",
    ];
    for text in texts {
        let path = scratch.file("bad.toml", text);
        let path = path.to_str().unwrap();
        for args in [&["run", "--config", path, "--for", "1s"][..], &["config", "check", path]] {
            let output = genesis(&scratch.0.join("state"), args);
            let said = [output.stdout.as_slice(), &output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            assert!(!said.contains("CANARY"), "{args:?}: {said}");
            // A file of alerts is not opened by a look at the config.
            if !text.contains("webhook_url_file") || args[0] == "run" {
                assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
            }
        }
    }
    for set in ["venue.secret=\"CANARY-10\"", "venue.secret_env=\"CANARY-11", "venue.key=CANARY-12"]
    {
        let output = genesis(&scratch.0.join("state"), &["run", "--for", "1s", "--set", set]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{set}: {said}");
        assert!(!said.contains("CANARY"), "{set}: {said}");
    }
}

#[test]
fn a_missing_recording_and_wrong_markets_are_told() {
    refused(
        &["run", "--market", "capture:no/such.gz"],
        &["recording `no/such.gz`", "check the path"],
    );
    refused(&["run", "--market", "capture:."], &["not a file"]);
    refused(&["run", "--market", "synthtic:1"], &["market.source", "synthetic:SEED"]);
    refused(&["run", "--market", "synthetic:-1"], &["the seed `-1`"]);
    refused(&["run", "--speed", "fast"], &["market.speed", "\"max\""]);
    refused(&["run", "--speed", "NaN"], &["market.speed"]);
}

#[test]
fn nothing_is_armed_by_one_switch() {
    refused(&["run", "--arm", "desk"], &["nothing is armed"]);
    let live = "environment = \"bitfinex\"\n[trading]\nmode = \"live\"\naccount = \"desk\"\n\
                wallet = \"margin\"\n[risk]\norder_notional_max = 10\n\
                position_notional_max = 10\nexposure_max = 10\norders_open_max = 1\n\
                order_rate_max = 1\ncollar_bps = 10\n[risk.account]\n\
                daily_loss_max = 10\ndrawdown_max = 10\ntrades_day_max = 10\n";
    let scratch = Scratch::new();
    let path = scratch.file("live.toml", live);
    let path = path.to_str().unwrap();
    accepted(&["config", "check", path]);
    refused(&["run", "--config", path], &["add --arm desk"]);
    refused(&["run", "--config", path, "--arm", "other"], &["not the account"]);
    config_refused(
        "environment = \"bitfinex\"\n[trading]\nmode = \"live\"\n",
        &["trading.account", "risk.exposure_max", "a default is not a decision"],
    );
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    refused(&["rnu"], &["unrecognized subcommand 'rnu'", "--help"]);
    refused(&["run", "--for", "soon"], &["not a span of time", "60s"]);
    refused(&["run", "--for", "0s"], &["above zero"]);
    refused(&["run", "--set", "collar"], &["KEY=VALUE"]);
    refused(&["run", "--set", "risk.colar_bps=3"], &["did you mean `collar_bps`?"]);
    refused(&["run", "--report", "no/such/dir/r.json"], &["no directory `no/such/dir`"]);
    refused(&["latency"], &["no run found", "--dir"]);
    refused(&["latency", "--order", "x"], &["invalid value 'x'"]);
    refused(&["replay", "no-such-dir"], &["no run found"]);
}

#[test]
fn the_config_commands_agree_with_the_manual() {
    let manual = include_str!("../../config/genesis.toml");
    assert_eq!(accepted(&["config", "manual"]), manual);
    let check = accepted(&["config", "check"]);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/genesis.toml");
    assert_eq!(accepted(&["config", "check", path]), check, "same hash as the defaults");

    let schema: serde_json::Value = serde_json::from_str(&accepted(&["config", "schema"])).unwrap();
    let keys = schema.as_array().unwrap();
    assert!(keys.len() > 80);
    for key in keys {
        let name = key["key"].as_str().unwrap().rsplit('.').next().unwrap();
        assert!(manual.contains(&format!("{name} = ")), "{name} is not in the manual");
    }
    let shown: serde_json::Value =
        serde_json::from_str(&accepted(&["config", "show", "--json"])).unwrap();
    assert!(check.contains(shown["config_hash"].as_str().unwrap()));
    assert!(accepted(&["config", "explain"]).contains("paper orders"));
}

#[test]
fn one_order_of_a_run_is_shown_as_a_waterfall() {
    let scratch = Scratch::new();
    scratch.file(
        "orders.jsonl",
        "{\"cid\":1542045968922,\"symbol\":\"tBTCUSD\",\"side\":\"buy\",\"decoded\":300,\
         \"signalled\":400,\"approved\":500,\"encoded\":700,\"written\":9000,\"acked\":400000,\
         \"first_fill\":null,\"last_fill\":null}\n",
    );
    let dir = scratch.0.to_str().unwrap();
    let text = accepted(&["latency", "--order", "1542045968922", "--dir", dir]);
    assert!(text.contains("tBTCUSD") && text.contains("9.00 µs"), "{text}");
    let json = accepted(&["latency", "--order", "1542045968922", "--dir", dir, "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["written"], 9000);
    assert!(accepted(&["latency", "--dir", dir]).contains("1 orders"));
    refused(&["latency", "--order", "7", "--dir", dir], &["no order 7", "it sent 1542045968922"]);
}

#[test]
fn help_lists_commands_and_exit_codes_and_doctor_answers_in_json() {
    let help = accepted(&["--help"]);
    for part in ["run", "latency", "replay", "config", "doctor", "Exit codes", "--market"] {
        assert!(help.contains(part), "{part}");
    }
    let doctor: serde_json::Value = serde_json::from_str(&accepted(&["doctor", "--json"])).unwrap();
    assert!(doctor.as_array().unwrap().iter().any(|row| row["what"] == "clock source"));
}
