//! Each thread of a real run wedged, slowed, panicking, and each channel silenced. Goal: found
//! within a second, acted on within three. Method: a drill option lets one thread misbehave; the
//! times are those of the run's own log, so that starting processes costs nothing.

#![allow(clippy::disallowed_methods, reason = "deadlines of real processes")]

use crate::run_support::{Dir, Process, genesis, output};
use serde_json::Value;
use std::process::Stdio;
use std::time::{Duration, Instant};

const FOUND_MAX_S: f64 = 1.0;
const ACTED_MAX_S: f64 = 3.0;
/// The watchdog looks every 10 ms, the main loop every 20; a shared machine adds its own.
const SLACK_S: f64 = 0.5;
const PATIENCE: Duration = Duration::from_secs(90);

/// Milliseconds of the day of `…T18:06:08.922Z`.
fn ms_of(at: &str) -> f64 {
    let clock = &at[11..23];
    let number = |range: std::ops::Range<usize>| clock[range].parse::<f64>().unwrap();
    (number(0..2) * 3600.0 + number(3..5) * 60.0 + number(6..12)) * 1e3
}

fn log_lines(dir: &Dir) -> Vec<(f64, String)> {
    let run = std::fs::read_to_string(dir.path().join("latest")).unwrap_or_default();
    let text = std::fs::read_to_string(dir.path().join(run).join("log.jsonl")).unwrap_or_default();
    let rows = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    rows.map(|row| {
        (ms_of(row["at"].as_str().unwrap()), row["message"].as_str().unwrap().to_owned())
    })
    .collect()
}

#[derive(Debug)]
struct Row {
    what: String,
    found_s: Option<f64>,
    acted_s: Option<f64>,
    action: String,
    code: Option<i32>,
}

/// One run with one misbehaving thread.
fn thread_row(thread: &str, fault: &str) -> Row {
    let dir = Dir::new("misbehaves");
    let drill = format!("{thread}:{fault}@6s");
    let args = [
        "run",
        "--plain",
        "--dir",
        dir.text(),
        "--drill-thread",
        &drill,
        "--for",
        "13s",
        "--set",
        "topology.layout=\"pipeline\"",
        "--set",
        "topology.wait=\"park\"",
    ];
    let child = genesis(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut run = Process(child);
    let deadline = Instant::now() + PATIENCE;
    let what = format!("{thread} {fault}");
    let mut row = Row { what, found_s: None, acted_s: None, action: String::new(), code: None };
    loop {
        let lines = log_lines(&dir);
        let begun = lines.iter().find(|(_, text)| text.starts_with("drill: thread "));
        if let Some((begun, _)) = begun {
            let about = format!("watchdog: thread {thread}:");
            let told: Vec<_> =
                lines.iter().filter(|(at, text)| at >= begun && text.starts_with(&about)).collect();
            row.found_s = told.first().map(|(at, _)| (at - begun) / 1e3);
            let acted = |text: &str| {
                text.contains("the run ends") || text.contains("the line goes on without")
            };
            if let Some((at, text)) = told.iter().find(|(_, text)| acted(text)) {
                row.acted_s = Some((at - begun) / 1e3);
                let action = text.rsplit_once('(').map_or("", |(_, action)| action);
                row.action = action.trim_end_matches(')').to_owned();
            }
        }
        if row.acted_s.is_some() && fault == "wedge" {
            return row; // it is deaf; whoever supervises it would end it
        }
        if let Some(code) = run.0.try_wait().unwrap() {
            row.code = code.code();
            return row;
        }
        assert!(Instant::now() < deadline, "{row:?}\n{lines:#?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn each_thread_that_hangs_or_panics_is_found_and_acted_on_in_time() {
    let mut rows = Vec::new();
    for fault in ["wedge", "panic", "slow"] {
        let threads = ["read", "parse", "signal", "risk", "send"];
        let running = threads.map(|thread| std::thread::spawn(move || thread_row(thread, fault)));
        rows.extend(running.map(|row| row.join().unwrap()));
    }
    rows.push(thread_row("journal", "wedge"));
    rows.push(thread_row("main", "wedge"));
    eprintln!("| thread, fault | found, s | acted, s | done |\n|---|---|---|---|");
    let seconds = |s: Option<f64>| s.map_or("–".to_owned(), |s| format!("{s:.2}"));
    for row in &rows {
        let Row { what, found_s, acted_s, action, .. } = row;
        eprintln!("| {what} | {} | {} | {action} |", seconds(*found_s), seconds(*acted_s));
    }
    for row in &rows {
        if row.what.ends_with("slow") {
            // A fifth of a second a round is slow, not dead; it ends in its time.
            assert_eq!((row.found_s, row.code), (None, Some(0)), "{row:?}");
            continue;
        }
        let acted_s = row.acted_s.unwrap_or(f64::MAX);
        assert!(acted_s <= ACTED_MAX_S + SLACK_S, "{row:?}");
        // Beside the line a second is no hang: it is told when it is acted on.
        if !row.what.starts_with("journal") && !row.what.starts_with("main") {
            assert!(row.found_s.unwrap_or(f64::MAX) <= FOUND_MAX_S + SLACK_S, "{row:?}");
        }
        if row.what.ends_with("panic") {
            // Halted; or what is worse, orders that a dead stage could not cancel.
            assert!(matches!(row.code, Some(3 | 5)), "{row:?}");
        }
    }
}

/// One run of an exchange whose channels of one kind fall silent while heartbeats go on.
fn channel_row(frames: &str, activity: &str) -> (String, Option<f64>, String, f64) {
    use std::io::{BufRead, BufReader};
    let dir = Dir::new("hushed");
    let script = dir.path().join("faults.toml");
    let fault =
        format!("[[fault]]\nkind = \"silence\"\nfrom_s = 40\nfor_s = 12\nframes = \"{frames}\"\n");
    std::fs::write(&script, fault).unwrap();
    let args = [
        "venue",
        "--market",
        "synthetic:7",
        "--activity",
        activity,
        "--faults",
        script.to_str().unwrap(),
    ];
    let venue = genesis(&args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut venue = Process(venue);
    let mut line = String::new();
    BufReader::new(venue.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let begun = Instant::now();
    let hello: Value = serde_json::from_str(&line).unwrap();
    let address = hello["rest"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
    let args = ["run", "--plain", "--attach", &address, "--dir", dir.text(), "--for", "55s"];
    let child = genesis(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut run = Process(child);
    // The wall clock of the log against this test's own, at one moment.
    let wall_ms = {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        (since.as_millis() % 86_400_000) as f64
    };
    let fault_ms = wall_ms - begun.elapsed().as_secs_f64() * 1e3 + 40_000.0;
    // A machine that stands still for a second makes a second of silence usual.
    std::thread::sleep(Duration::from_secs(38).saturating_sub(begun.elapsed()));
    let (code, out, _) = output(&["status", "--json", "--dir", dir.text()]);
    assert_eq!(code, 0, "{frames}: {out}");
    let status: Value = serde_json::from_str(&out).unwrap();
    let still_s = status["host"]["hiccup_ms"]["total"]["max"].as_f64().unwrap_or(0.0) / 1e3;
    let code = run.0.wait().unwrap().code();
    assert_eq!(code, Some(0), "{frames}");
    let lines = log_lines(&dir);
    let hushed = lines.iter().find(|(at, text)| {
        let found = ["not tradable", "data for", "closed"].iter().any(|word| text.contains(word));
        *at >= fault_ms - 500.0 && *at < fault_ms + 20_000.0 && found
    });
    let after_s = hushed.map(|(at, _)| (at - fault_ms) / 1e3);
    let words = hushed.map_or(String::new(), |(_, text)| text.clone());
    (frames.to_owned(), after_s, words, still_s)
}

/// Goal: channels that go silent are found within a second and asked for again at once. Method: a
/// busy market. Where one kind alone is silenced, the numbers of what is missing show it with the
/// next frame of another; where all are, only their silence does.
#[test]
fn each_channel_that_falls_silent_is_found_and_asked_for_again() {
    let cases = [("book", "20"), ("trades", "20"), ("any", "20")];
    let rows =
        cases.map(|(frames, activity)| std::thread::spawn(move || channel_row(frames, activity)));
    let rows = rows.map(|row| row.join().unwrap());
    eprintln!("| silenced | found and acted on after, s | words |\n|---|---|---|");
    for (frames, after_s, words, _) in &rows {
        let after = after_s.map_or("not within 12 s".to_owned(), |s| format!("{s:.2}"));
        eprintln!("| {frames} | {after} | {words} |");
    }
    for (frames, after_s, _, still_s) in &rows {
        // Trades are told when the next one is missing.
        let bound = if frames == "trades" { 12.0 } else { ACTED_MAX_S + 4.0 * still_s };
        assert!(after_s.is_some_and(|s| s <= bound), "{frames} {after_s:?}, still {still_s}");
    }
}
