//! The whole program against its own exchange over real sockets: trades, stops, and replays.

#![allow(clippy::disallowed_methods, reason = "deadlines of real processes")]

use crate::run_support::{Dir, count, genesis, output, report_of, signal};
use flate2::read::GzDecoder;
use genesis::base::rng::Rng;
use genesis::io::input_log::InputLogReader;
use genesis::model::{Bar, BarSource, Body, Timeframe};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

fn run_dir(report: &serde_json::Value) -> PathBuf {
    PathBuf::from(report["run_dir"].as_str().unwrap())
}

/// Goal: what is decided depends on the sequenced input alone. Method: a run trades, and its log is
/// fed again by direct calls and over rings of random depth on one, two and four threads.
#[test]
fn one_input_log_gives_one_decision_hash_in_every_layout() {
    let dir = Dir::new("replay");
    let report = report_of(&[
        "run",
        "--json",
        "--market",
        "synthetic:7",
        "--speed",
        "60",
        "--for",
        "4s",
        "--dir",
        dir.text(),
    ]);
    let hash = report["decision_hash"].as_str().unwrap();
    assert!(count(&report, "/orders/sent") > 0, "nothing was decided");
    assert!(count(&report, "/frames") > 10_000);
    let run = run_dir(&report);
    let mut rng = Rng::new(20);
    let mut commands = 0;
    for turn in 0..20 {
        let layout = ["direct", "fused", "split", "pipeline"][turn % 4];
        let depth = (128usize << rng.below(6)).to_string();
        let (code, out, err) = output(&[
            "replay",
            run.to_str().unwrap(),
            "--verify",
            "--json",
            "--layout",
            layout,
            "--depth",
            &depth,
        ]);
        assert_eq!(code, 0, "{layout} {depth}: {err}");
        let found: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(found["decision_hash"].as_str(), Some(hash), "{layout} {depth}");
        assert_eq!(found["is_complete"], true);
        if layout == "direct" {
            // Order by order: every record that the run wrote before its bytes left comes again.
            let same = found["records_same"].as_u64().unwrap();
            assert!(same >= count(&report, "/orders/sent"), "{same} records: {found}");
            assert!(found["record_differs"].is_null(), "{found}");
        }
        let these = found["commands"].as_u64().unwrap();
        assert!(turn == 0 || these == commands);
        commands = these;
    }
    assert!(commands >= count(&report, "/orders/sent"));
}

/// Ctrl-C: own orders are cancelled, the cancels seen, the exit code is 0.
#[test]
fn an_interrupt_cancels_own_orders_and_ends_well() {
    let dir = Dir::new("interrupt");
    let report = dir.path().join("r.json");
    let args = [
        "run",
        "--plain",
        "--speed",
        "20",
        "--dir",
        dir.text(),
        "--report",
        report.to_str().unwrap(),
    ];
    let mut child = genesis(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Until it has orders at the venue.
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while let Some(Ok(line)) = lines.next() {
        assert!(Instant::now() < deadline, "no order within 30 s");
        if line.contains(" sent, ") && !line.contains(" 0 sent, ") {
            break;
        }
    }
    signal(&child, "-INT");
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{rest:?}");
    let text = std::fs::read_to_string(&report).unwrap();
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(count(&report, "/orders/sent") > 0);
    assert_eq!(count(&report, "/orders/open"), 0);
    assert_eq!(count(&report, "/orders/unknown"), 0);
    assert_eq!(count(&report, "/book_crc/failed"), 0);
    assert!(count(&report, "/book_crc/checked") > 0);
    assert_eq!(count(&report, "/seq_gaps"), 0);
    assert_eq!(report["ending"]["reason"], "stopped by the operator");
    // One order's way can be read afterwards.
    let (code, out, err) = output(&["latency", "--dir", dir.text()]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("tBTCUSD") || out.contains("tETHUSD"), "{out}");
}

/// Bars of the log by the minute they began in.
fn bars_of(log: &std::path::Path) -> BTreeMap<i64, Bar> {
    let mut reader = InputLogReader::open(log).unwrap();
    let mut bars = BTreeMap::new();
    while let Some(event) = reader.next_event().unwrap() {
        if let Body::Bar(bar) = event.body
            && bar.timeframe == Timeframe::M1
            // Not those that history knows, nor those whose beginning was not heard.
            && bar.source == BarSource::Trades
        {
            let twice = bars.insert(bar.open_at.as_ms(), bar);
            assert!(twice.is_none(), "a bar counts once");
        }
    }
    assert!(reader.incomplete().is_none());
    bars
}

/// Goal: the recorded day through sockets, books, bars and strategies, at full speed, loses
/// nothing.
#[test]
#[cfg_attr(not(shared_data), ignore = "needs ../shared/data")]
fn the_long_recording_goes_through_the_running_engine_whole() {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let file = data.join("ws-capture-bitfinex-btcusd-p0-len100-20181112.ndjson.gz");
    let dir = Dir::new("recording");
    let market = format!("capture:{}", file.display());
    let report = report_of(&[
        "run",
        "--json",
        "--market",
        &market,
        "--speed",
        "max",
        "--dir",
        dir.text(),
        "--set",
        "signal.timeframes=[\"1m\"]",
    ]);
    for (pointer, expected) in [
        // The snapshot is a frame, too.
        ("/messages/book", 904_853),
        ("/book_updates", 904_852),
        ("/messages/book_snapshot", 1),
        ("/messages/trade_te", 3_807),
        ("/messages/trade_tu", 3_801),
        ("/messages/trade_snapshot", 1),
        ("/messages/unknown", 0),
        ("/messages/malformed", 0),
        ("/messages/foreign", 0),
        ("/messages/stale", 0),
        ("/book_crc/checked", 1_810),
        ("/book_crc/failed", 0),
        ("/seq_gaps", 0),
        ("/crossed", 0),
        ("/orders/unknown", 0),
        ("/orders/open", 0),
    ] {
        assert_eq!(count(&report, pointer), expected, "{pointer}");
    }
    assert_eq!(report["ending"]["reason"], "the recording ended");
    // Bars built from `te` are those of the venue's own candles, in every full minute.
    let bars = bars_of(&run_dir(&report).join("input.log"));
    let candles = BufReader::new(GzDecoder::new(
        File::open(data.join("bitfinex-btcusd-1m-2018.csv.gz")).unwrap(),
    ));
    let (mut equal, mut seen) = (0, 0);
    let (first, last) = (*bars.keys().next().unwrap(), *bars.keys().last().unwrap());
    for line in candles.lines().skip(1) {
        let line = line.unwrap();
        let cells: Vec<&str> = line.split(',').collect();
        let open_at: i64 = cells[0].parse().unwrap();
        // The recording begins within its first minute.
        if open_at <= first || open_at > last {
            continue;
        }
        seen += 1;
        let number = |text: &str| genesis::base::units::parse_decimal(text.as_bytes()).unwrap().0;
        let bar = &bars[&open_at];
        let ours = [bar.open, bar.close, bar.high, bar.low].map(|px| px.raw());
        let theirs = [1, 2, 3, 4].map(|column| number(cells[column]));
        assert_eq!(ours, theirs, "{open_at} {bar:?}");
        assert_eq!(bar.volume.raw(), number(cells[5]), "{open_at}");
        equal += 1;
    }
    assert_eq!((equal, seen), (289, 289));
}

/// A strategy of one's own runs by its name, from a config of four lines.
#[test]
fn a_custom_strategy_runs_by_its_name_and_an_unknown_one_is_refused() {
    let dir = Dir::new("custom");
    let config = dir.path().join("my.toml");
    let text = "[[strategy]]\nkind = \"custom\"\nname = \"mean-reversion\"\n\
                symbols = [\"tBTCUSD\"]\nqty = \"0.001\"\n";
    std::fs::write(&config, text).unwrap();
    let file = config.to_str().unwrap();
    let args =
        ["run", "--json", "--config", file, "--speed", "200", "--for", "3s", "--dir", dir.text()];
    let report = report_of(&args);
    assert!(count(&report, "/bars") > 0);
    let (code, _, err) = output(&["run", "--config", file, "--set", "market.source=synthetic:x"]);
    assert_eq!(code, 2, "{err}");
    std::fs::write(&config, text.replace("mean-reversion", "mean-reversal")).unwrap();
    let (code, _, err) = output(&["run", "--config", file]);
    assert_eq!(code, 2);
    assert!(err.contains("mean-reversal") && err.contains("known are: mean-reversion"), "{err}");
}
