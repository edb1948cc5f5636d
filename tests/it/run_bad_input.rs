//! Nonsense from outside: files, ports, and bytes on the sockets. One clear message or a counted
//! gap, and the run goes on.

use crate::run_support::{Dir, count, genesis, output};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

fn refused(args: &[&str], words: &[&str]) {
    let (code, out, err) = output(args);
    assert_eq!(code, 2, "{args:?}: {out}{err}");
    for word in words {
        assert!(err.contains(word), "{args:?}: {err:?} does not say {word:?}");
    }
    assert!(!err.contains("panicked"), "{err}");
}

#[test]
fn a_missing_a_cut_and_a_foreign_recording_are_refused_by_name() {
    let dir = Dir::new("recordings");
    let at = |name: &str| dir.path().join(name);
    refused(
        &["run", "--market", "capture:no/such.ndjson.gz", "--dir", dir.text()],
        &["no/such.ndjson.gz", "check the path"],
    );
    // A gzip file that stops early.
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for row in 0..10_000 {
        writeln!(gz, "[{row},\"hb\"]").unwrap();
    }
    let whole = gz.finish().unwrap();
    std::fs::write(at("cut.gz"), &whole[..whole.len() / 2]).unwrap();
    let cut = format!("capture:{}", at("cut.gz").display());
    refused(&["run", "--market", &cut, "--dir", dir.text()], &["cut.gz"]);
    // A last line without its end.
    std::fs::write(at("torn"), "{\"event\":\"info\",\"version\":2}\n[17,[[6000,1,1").unwrap();
    let torn = format!("capture:{}", at("torn").display());
    refused(&["run", "--market", &torn, "--dir", dir.text()], &["torn"]);
    // Something else altogether.
    std::fs::write(at("else"), "a,b,c\n1,2,3\n").unwrap();
    let other = format!("capture:{}", at("else").display());
    refused(&["run", "--market", &other, "--dir", dir.text()], &["else"]);
    std::fs::write(at("empty"), "").unwrap();
    let empty = format!("capture:{}", at("empty").display());
    refused(&["run", "--market", &empty, "--dir", dir.text()], &["empty"]);
}

#[test]
fn a_port_in_use_is_refused_by_its_number() {
    let dir = Dir::new("port");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let set = format!("exchange.port={port}");
    refused(&["run", "--set", &set, "--dir", dir.text()], &[&port.to_string()]);
}

#[test]
fn symbols_that_are_not_listed_are_refused_with_those_that_are() {
    let dir = Dir::new("symbols");
    let args = ["run", "--set", "symbols=[\"tBTCUSD\",\"BTC\"]", "--dir", dir.text()];
    refused(&args, &["BTC"]);
}

/// What the proxy says to a client of a websocket instead of the exchange's next frame.
type Nonsense = fn(&mut TcpStream) -> std::io::Result<()>;

fn text_frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81, 126];
    frame.extend((payload.len() as u16).to_be_bytes());
    frame.extend(payload);
    frame
}

/// The kinds of nonsense, each told to one connection after some good frames.
const KINDS: [(&str, Nonsense); 5] = [
    ("bytes that are no frames", |to| to.write_all(&[0xff; 4_096])),
    ("a frame of 100 MB", |to| {
        to.write_all(&[0x81, 127, 0, 0, 0, 0, 6, 0, 0, 0])?;
        let part = [b'1'; 1 << 16];
        (0..1_600).try_for_each(|_| to.write_all(&part))
    }),
    ("text that is no JSON", |to| {
        (0..200).try_for_each(|_| to.write_all(&text_frame(b"[1,[2,{\"\xc3\x28")))
    }),
    ("prices that are no numbers", |to| {
        let frame = text_frame(b"[1,[NaN,1,1],7,1]");
        let other = text_frame(b"[1,[1e999,1,-Infinity],8,1]");
        (0..200).try_for_each(|_| to.write_all(&frame).and_then(|()| to.write_all(&other)))
    }),
    ("a cut connection in the middle of a frame", |to| {
        to.write_all(&[0x81, 100, b'[', b'1'])?;
        to.shutdown(std::net::Shutdown::Both)
    }),
];

/// Passes everything on between clients and `target`, but for nonsense in websockets: connection
/// after connection gets the next kind, until all were told.
fn proxy(target: String, told: Arc<AtomicUsize>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect(&target) else { return };
            let told = told.clone();
            std::thread::spawn(move || pass(client, server, &told));
        }
    });
    address
}

fn pass(client: TcpStream, mut server: TcpStream, told: &AtomicUsize) -> Option<()> {
    let (mut up_from, mut up_to) = (client.try_clone().ok()?, server.try_clone().ok()?);
    let mut head = vec![0; 4_096];
    let size = up_from.read(&mut head).ok()?;
    let is_websocket = head[..size].starts_with(b"GET /ws");
    up_to.write_all(&head[..size]).ok()?;
    std::thread::spawn(move || std::io::copy(&mut up_from, &mut up_to));
    let mut down = client;
    if !is_websocket {
        std::io::copy(&mut server, &mut down).ok()?;
        return None;
    }
    let mut server = BufReader::new(server);
    let mut line = Vec::new();
    while line != b"\r\n" {
        line.clear();
        server.read_until(b'\n', &mut line).ok()?;
        down.write_all(&line).ok()?;
    }
    // Frame by frame, so that nonsense stands where a frame would.
    for frame in 0.. {
        if frame == 100 {
            let kind = told.fetch_add(1, Ordering::AcqRel);
            if let Some((_, nonsense)) = KINDS.get(kind) {
                nonsense(&mut down).ok()?;
            }
        }
        let mut header = [0; 2];
        server.read_exact(&mut header).ok()?;
        down.write_all(&header).ok()?;
        let mut size = [0; 8];
        let size = match header[1] {
            short @ 0..126 => u64::from(short),
            126 => {
                server.read_exact(&mut size[6..]).ok()?;
                down.write_all(&size[6..]).ok()?;
                u64::from_be_bytes(size)
            }
            _ => {
                server.read_exact(&mut size).ok()?;
                down.write_all(&size).ok()?;
                u64::from_be_bytes(size)
            }
        };
        std::io::copy(&mut server.by_ref().take(size), &mut down).ok()?;
    }
    None
}

/// Goal: no bytes on a socket panic, mislead or stop the engine. Method: a proxy between engine and
/// exchange that speaks every kind of nonsense once; afterwards the engine trades and ends well.
#[test]
fn nonsense_on_the_sockets_is_a_counted_gap_and_the_run_goes_on() {
    let dir = Dir::new("nonsense");
    let mut venue = genesis(&["venue", "--market", "synthetic:5"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(venue.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let hello: serde_json::Value = serde_json::from_str(&line).unwrap();
    let target = hello["rest"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
    let told = Arc::new(AtomicUsize::new(0));
    let address = proxy(target, told.clone());
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
        "--for",
        "60s",
        "--set",
        "channels.reconnect_min_ms=50",
    ];
    let mut engine = genesis(&args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    for _ in 0..400 {
        if told.load(Ordering::Acquire) > KINDS.len() {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(told.load(Ordering::Acquire) >= KINDS.len(), "not every kind was told in 40 s");
    // Time to come back and trade.
    std::thread::sleep(Duration::from_secs(3));
    crate::run_support::signal(&engine, "-INT");
    let mut err = String::new();
    engine.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    let code = engine.wait().unwrap().code();
    let _ = venue.kill();
    let _ = venue.wait();
    assert_eq!(code, Some(0), "{err}");
    assert!(!err.contains("panicked"), "{err}");
    let report: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&report).unwrap()).unwrap();
    assert!(count(&report, "/reconnects") >= KINDS.len() as u64);
    assert!(count(&report, "/messages/malformed") > 0);
    assert!(count(&report, "/orders/sent") > 0);
    for pointer in ["/orders/open", "/orders/unknown"] {
        assert_eq!(count(&report, pointer), 0, "{pointer}");
    }
    assert_eq!(report["ending"]["halted"], false);
    let synced = report["positions"].as_object().unwrap();
    assert!(synced.values().all(|position| position["matches_venue"] == true));
}
