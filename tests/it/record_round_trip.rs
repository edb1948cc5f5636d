//! Goal: what `genesis record` writes is the venue's stream, frame by frame, and a market of its
//! own. Method: a synthetic exchange is recorded over its socket with checksums, sequence numbers
//! and timestamps; the file is played by another exchange, whose frames a plain client compares
//! with those in the file.

use crate::venue_process::Venue;
use genesis::io::capture::read_capture;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tungstenite::Message;

const SYMBOLS: [&str; 2] = ["tBTCUSD", "tETHUSD"];
/// The market runs once somebody listens to every book and trade channel: those come last.
const CHANNELS: [&str; 3] = ["ticker", "book", "trades"];

struct TempDir(PathBuf);
impl TempDir {
    fn new(name: &str) -> TempDir {
        let dir = std::env::temp_dir().join(format!("genesis-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        TempDir(dir)
    }
    fn files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.0).unwrap();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }
}
impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn record(venue: &Venue, dir: &Path, more: &[&str]) -> Value {
    let out = Command::new(env!("CARGO_BIN_EXE_genesis"))
        .args(["record", venue.hello["ws"].as_str().unwrap(), "--symbols", &SYMBOLS.join(",")])
        .arg("--out")
        .arg(dir)
        .args(more)
        .env("RECORD_TEST_KEY", "embedded-key")
        .env("RECORD_TEST_SECRET", "embedded-secret")
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(0));
    serde_json::from_slice(&out.stdout).unwrap()
}

/// Payloads by channel, in order, out of a session's messages: `book tBTCUSD` → `[…]` or `"te",[…]`
/// without heartbeats, and without the `trailing` elements that the flags add.
fn payloads<'a>(
    texts: impl Iterator<Item = &'a str>,
    trailing: usize,
) -> BTreeMap<String, Vec<String>> {
    let mut names: BTreeMap<u64, String> = BTreeMap::new();
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for text in texts {
        let value: Value = serde_json::from_str(text).unwrap();
        if value["event"] == "subscribed" {
            let (channel, symbol) = (value["channel"].as_str(), value["symbol"].as_str());
            let name = format!("{} {}", channel.unwrap(), symbol.unwrap());
            names.insert(value["chanId"].as_u64().unwrap(), name);
        }
        let Some(items) = value.as_array() else { continue };
        let Some(name) = names.get(&items[0].as_u64().unwrap()) else { continue };
        if items[1] != "hb" {
            let payload = &items[1..items.len() - trailing];
            let texts: Vec<String> = payload.iter().map(Value::to_string).collect();
            found.entry(name.clone()).or_default().push(texts.join(","));
        }
    }
    found
}

#[test]
fn what_was_recorded_is_played_frame_by_frame() {
    let temp = TempDir::new("record");
    let venue = Venue::start(&["--symbols", &SYMBOLS.join(","), "--activity", "10"]);
    let more = ["--for", "4s", "--auth-env", "RECORD_TEST_KEY,RECORD_TEST_SECRET"];
    let report = record(&venue, &temp.0, &more);
    assert_eq!(venue.stop().0, Some(0));
    let files = temp.files();
    assert_eq!(files.len(), 1);
    let recorded = read_capture(&files[0]).unwrap();
    let socket = &report["sockets"][0];
    assert_eq!(socket["received"].as_u64(), Some(recorded.messages.len() as u64));
    assert_eq!((socket["connects"].as_u64(), socket["lost"].as_u64()), (Some(1), Some(0)));
    // conf, six subscriptions, auth, and the line that names the address.
    assert_eq!(recorded.line_count, recorded.messages.len() as u64 + 1 + 6 + 1 + 1);
    let plain = Command::new("gzip").arg("-dc").arg(&files[0]).output().unwrap().stdout;
    let plain = String::from_utf8(plain).unwrap();
    assert!(
        plain.contains("\"dir\":\"send\",\"msg\":{\"event\":\"auth\",\"apiKey\":\"(redacted)\"")
    );
    assert!(plain.contains("\"event\":\"auth\",\"status\":\"OK\""), "the account is recorded, too");
    assert!(!plain.contains("embedded-key") && !plain.contains("AUTH1"));

    // Sequence numbers of the recorded socket: nothing was lost on the way to the file.
    let texts: Vec<&str> =
        recorded.messages.iter().map(|m| std::str::from_utf8(&m.text).unwrap()).collect();
    let numbers: Vec<u64> = texts
        .iter()
        .filter_map(|text| serde_json::from_str::<Value>(text).ok()?.as_array().cloned())
        .map(|items| {
            let back = if items[0] == 0 && items[1] != "hb" { 3 } else { 2 };
            items[items.len() - back].as_u64().unwrap()
        })
        .collect();
    assert!(numbers.len() > 500, "{} frames", numbers.len());
    assert!(numbers.iter().enumerate().all(|(at, number)| *number == at as u64 + 1));
    let expected = payloads(texts.into_iter(), 2);
    assert_eq!(expected.len(), SYMBOLS.len() * CHANNELS.len());

    let market = format!("capture:{}", files[0].display());
    let venue = Venue::start(&["--market", &market, "--speed", "max"]);
    let mut socket = venue.socket();
    let mut played: Vec<String> = Vec::new();
    socket.send(Message::text(r#"{"event":"conf","flags":131072}"#)).unwrap();
    for symbol in SYMBOLS {
        for channel in CHANNELS {
            let text = format!(
                "{{\"event\":\"subscribe\",\"channel\":\"{channel}\",\"symbol\":\"{symbol}\"}}"
            );
            socket.send(Message::text(text)).unwrap();
        }
    }
    let wanted: usize = expected.values().map(Vec::len).sum();
    let mut frames = 0;
    while frames < wanted {
        let text = match socket.read().unwrap() {
            Message::Text(text) => text.to_string(),
            other => panic!("{other:?} after {frames} of {wanted} frames"),
        };
        frames += usize::from(text.starts_with('[') && !text.contains("\"hb\""));
        played.push(text);
    }
    let played = payloads(played.iter().map(String::as_str), 0);
    for (channel, frames) in &expected {
        assert_eq!(&played[channel], frames, "{channel}");
    }
    assert_eq!(venue.stop().0, Some(0));
}

#[test]
fn each_part_of_a_rotated_recording_is_a_market() {
    let temp = TempDir::new("rotate");
    let venue = Venue::start(&["--symbols", &SYMBOLS.join(","), "--activity", "5"]);
    let report = record(&venue, &temp.0, &["--for", "5s", "--rotate-after", "2s"]);
    venue.stop();
    let files = temp.files();
    assert!((2..=3).contains(&files.len()), "{files:?}");
    assert_eq!(report["sockets"][0]["lost"].as_u64(), Some(0));
    for file in &files {
        let capture = read_capture(file).unwrap();
        let texts = capture.messages.iter().map(|m| std::str::from_utf8(&m.text).unwrap());
        let found = payloads(texts, 2);
        assert_eq!(found.len(), SYMBOLS.len() * CHANNELS.len(), "{}", file.display());
        assert!(found["book tBTCUSD"][0].starts_with("[["), "begins with a snapshot");
    }
    // The parts overlap: none begins after the one before has ended.
    let times: Vec<(i64, i64)> = files
        .iter()
        .map(|file| {
            let messages = read_capture(file).unwrap().messages;
            let at = |message: &genesis::io::capture::RecordedMessage| message.at.unwrap().0;
            (at(&messages[0]), at(messages.last().unwrap()))
        })
        .collect();
    assert!(times.windows(2).all(|pair| pair[1].0 < pair[0].1), "{times:?}");
}

#[test]
fn an_address_that_cannot_be_recorded_is_told_in_one_line() {
    let dir = std::env::temp_dir();
    for (url, words) in [
        ("ws://192.0.2.1/ws/2", "is not a loopback address"),
        ("http://127.0.0.1", "write ws://"),
        ("ws://127.0.0.1:1/ws/2", "cannot connect"),
    ] {
        let out = Command::new(env!("CARGO_BIN_EXE_genesis"))
            .args(["record", url, "--symbols", "tBTCUSD", "--for", "5s", "--out"])
            .arg(&dir)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(2), "{told}");
        assert!(told.contains(words) && told.lines().count() == 1, "{told}");
    }
}
