//! Goal: HTTP/2 is what it says: several calls on one connection, and times that an independent
//! client agrees with, with HTTP/1.1 beside it. Method: nghttpx in front of the exchange, on TLS,
//! with replies that are slow by script; `curl -w` asks the same. Needs the cargo feature `http2`,
//! nghttpx, curl and openssl: `scripts/http2-check` runs it, or says what is missing.

#![allow(clippy::disallowed_methods, reason = "deadlines of real processes")]

use crate::run_support::{Dir, Process};
use crate::venue_process::Venue;
use genesis::io::http::{
    HttpVersion, Lanes, Method, RestConfig, RestReply, RestRequest, Spoken, Transport,
};
use genesis::io::tls::Trust;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long the exchange is silent before it answers.
const WAIT_MS: u64 = 300;
const LANES: usize = 4;
/// Measurements of calls side by side.
const TRIES: usize = 4;
/// Cold calls of each client for the comparison.
const CALLS: usize = 7;
/// How long bytes are on their way, one way.
const WAY_MS: u64 = 25;
/// From the start of a call until its connection is let in. The kernel drops the first packet of a
/// connection that finds the queue full; it comes again after a second.
const QUEUE_FULL_MS: u64 = 500;
/// What two clients may differ by.
const MARGIN_PERCENT: f64 = 10.0;

/// An exchange that takes its time for every answer.
fn venue(dir: &Dir) -> Venue {
    let fault = format!("[[fault]]\nkind = \"slow_body\"\nwait_ms = {WAIT_MS}\n");
    let faults = fault + "bytes_per_s = 1000000\n";
    Venue::with_faults(dir.path(), &faults, &["--no-rest-limits", "--symbols", "tBTCUSD"])
}

/// An authority and a certificate of 127.0.0.1 signed by it: `ca.pem`, `key.pem`, `cert.pem`.
fn certificates(dir: &Path) {
    let run = |args: &str| {
        let done = Command::new("openssl").args(args.split(' ')).current_dir(dir).output().unwrap();
        assert!(done.status.success(), "{args}: {}", String::from_utf8_lossy(&done.stderr));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    run(&format!("req -x509 -days 2 {key} -keyout ca-key.pem -out ca.pem -subj /CN=check"));
    run(&format!("req {key} -keyout key.pem -out asked.pem -subj /CN=127.0.0.1"));
    std::fs::write(dir.join("names"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    let signed = "-CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2 -extfile names";
    run(&format!("x509 -req -in asked.pem {signed} -out cert.pem"));
}

/// nghttpx before the exchange; its port.
fn front(dir: &Path, backend: u16) -> (Process, u16) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let child = Command::new("nghttpx")
        .args(["--conf=/dev/null", "-n1", "--accesslog-file=access", "--errorlog-file=errors"])
        .arg("--accesslog-format=$remote_port $alpn $status")
        .arg(format!("--frontend=127.0.0.1,{port}"))
        .arg(format!("--backend=127.0.0.1,{backend}"))
        .args(["key.pem", "cert.pem"])
        .current_dir(dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let child = Process(child);
    let deadline = Instant::now() + Duration::from_secs(20);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "nghttpx does not listen");
        std::thread::sleep(Duration::from_millis(50));
    }
    (child, port)
}

/// A relay before nghttpx on which every phase of a call takes milliseconds, as on a real way:
/// connecting a second (its queue of connections is full when the call begins), and bytes
/// `WAY_MS` in each direction. Nothing of the machine is changed for it.
struct DelayRelay {
    listener: TcpListener,
    port: u16,
    target: u16,
}
impl DelayRelay {
    fn start(target: u16) -> DelayRelay {
        use socket2::{Domain, Socket, Type};
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any: std::net::SocketAddr = ([127, 0, 0, 1], 0).into();
        socket.bind(&any.into()).unwrap();
        socket.listen(0).unwrap();
        let listener: TcpListener = socket.into();
        let port = listener.local_addr().unwrap().port();
        DelayRelay { listener, port, target }
    }
    /// Makes a call whose one connection goes through the relay.
    fn during<T>(&self, call: impl FnOnce() -> T) -> T {
        // It takes the one place in the queue.
        let filler = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(QUEUE_FULL_MS));
                drop(self.listener.accept().unwrap());
                drop(filler);
                let (client, _) = self.listener.accept().unwrap();
                let server = TcpStream::connect(("127.0.0.1", self.target)).unwrap();
                for tcp in [&client, &server] {
                    tcp.set_nodelay(true).unwrap();
                }
                std::thread::scope(|scope| {
                    scope.spawn(|| carry(&client, &server));
                    scope.spawn(|| carry(&server, &client));
                });
            });
            call()
        })
    }
}

/// Carries bytes one way, each `WAY_MS` after it came, until one side ends.
fn carry(mut from: &TcpStream, mut to: &TcpStream) {
    let (sender, receiver) = std::sync::mpsc::channel::<(Instant, Vec<u8>)>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for (due, bytes) in receiver {
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                if to.write_all(&bytes).is_err() {
                    break;
                }
            }
            let _ = to.shutdown(Shutdown::Both);
        });
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(size @ 1..) = from.read(&mut bytes) {
            let due = Instant::now() + Duration::from_millis(WAY_MS);
            if sender.send((due, bytes[..size].to_vec())).is_err() {
                break;
            }
        }
        drop(sender);
    });
}

fn call(lane: &mut Box<dyn Transport>, url: &str) -> RestReply {
    let request =
        RestRequest { method: Method::Get, url, headers: &[], body: &[], total_max: None };
    let reply = lane.call(&request).unwrap();
    assert_eq!(reply.status, 200);
    reply
}

/// Lines of the front's log behind the first `from`: the client's port, what was spoken.
fn accessed(dir: &Path, from: usize, count: usize) -> Vec<(String, String)> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let text = std::fs::read_to_string(dir.join("access")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().skip(from).collect();
        if lines.len() >= count {
            let two = |line: &&str| {
                let mut words = line.split(' ');
                (words.next().unwrap().to_owned(), words.next().unwrap().to_owned())
            };
            return lines.iter().map(two).collect();
        }
        assert!(Instant::now() < deadline, "{text}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// All lanes at once; how long it took, and what was spoken.
fn at_once(lanes: &Lanes, url: &str) -> (Duration, Vec<RestReply>) {
    let mut all: Vec<_> = (0..LANES).map(|_| lanes.lane().unwrap()).collect();
    // A connection is there, so that what is measured is the calls.
    call(&mut all[0], url);
    let begun = Instant::now();
    let replies = std::thread::scope(|scope| {
        let calls: Vec<_> = all.iter_mut().map(|lane| scope.spawn(|| call(lane, url))).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    (begun.elapsed(), replies)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[test]
#[ignore = "needs nghttpx, curl and openssl: scripts/http2-check"]
fn calls_share_a_connection_and_times_are_those_of_an_independent_client() {
    let dir = Dir::new("http2");
    let venue = venue(&dir);
    let backend = venue.address().rsplit(':').next().unwrap().parse().unwrap();
    certificates(dir.path());
    let (_front, port) = front(dir.path(), backend);
    let url = format!("https://127.0.0.1:{port}/v2/conf/pub:list:pair:exchange");
    let config = |version| RestConfig {
        trust: Trust::CaFile(dir.path().join("ca.pem")),
        loopback_only: true,
        version,
        ..RestConfig::default()
    };

    // Several calls at once: on one connection by HTTP/2, on one each by HTTP/1.1.
    let two = Lanes::new(&config(HttpVersion::V2)).unwrap();
    let (took, replies) = at_once(&two, &url);
    assert!(replies.iter().all(|reply| reply.timings.spoken == Spoken::Http2));
    let seen = accessed(dir.path(), 0, LANES + 1);
    let mut ports: Vec<&String> = seen.iter().map(|(port, _)| port).collect();
    ports.sort();
    ports.dedup();
    println!("HTTP/2: {LANES} calls of {WAIT_MS} ms in {took:?} on {} connection", ports.len());
    assert_eq!(ports.len(), 1, "multiplexed: {seen:?}");
    assert!(seen.iter().all(|(_, spoken)| spoken == "h2"), "{seen:?}");
    // Side by side, not one after the other; a busy machine gets more than one try.
    let again = (1..TRIES).map(|_| at_once(&two, &url).0).min();
    let best = again.map_or(took, |again| again.min(took));
    assert!(best < Duration::from_millis(2 * WAIT_MS), "one after the other: {best:?}");
    let one = Lanes::new(&config(HttpVersion::V11)).unwrap();
    let (took, replies) = at_once(&one, &url);
    assert!(replies.iter().all(|reply| reply.timings.spoken == Spoken::Http11));
    let seen = accessed(dir.path(), TRIES * (LANES + 1), LANES + 1);
    let mut ports: Vec<&String> = seen.iter().map(|(port, _)| port).collect();
    ports.sort();
    ports.dedup();
    println!("HTTP/1.1: {LANES} calls of {WAIT_MS} ms in {took:?} on {} connections", ports.len());
    assert_eq!(ports.len(), LANES, "{seen:?}");

    // Cold calls in turns with curl, over a way on which every phase takes its time.
    let relay = DelayRelay::start(port);
    let url = format!("https://127.0.0.1:{}/v2/conf/pub:list:pair:exchange", relay.port);
    for (version, flag) in [(HttpVersion::V2, "--http2"), (HttpVersion::V11, "--http1.1")] {
        let (mut ours, mut theirs): (Vec<[f64; 5]>, Vec<[f64; 5]>) = (Vec::new(), Vec::new());
        for _ in 0..CALLS {
            // The connection ends with the lane, and with it the relay's work.
            let ours_once = || {
                let mut lane = Lanes::new(&config(version)).unwrap().lane().unwrap();
                call(&mut lane, &url)
            };
            let t = relay.during(ours_once).timings;
            let ms = |span: genesis::base::time::SpanNs| span.0 as f64 / 1e6;
            let answer = ms(t.first_byte) - ms(t.connect) - ms(t.tls);
            ours.push([ms(t.connect), ms(t.tls), answer, ms(t.first_byte), ms(t.total)]);
            let format = "%{time_connect} %{time_appconnect} %{time_starttransfer} %{time_total}";
            let done = relay.during(|| {
                Command::new("curl")
                    .args([flag, "--silent", "--output", "/dev/null", "--write-out", format])
                    .args(["--cacert", "ca.pem", "--noproxy", "*", &url])
                    .current_dir(dir.path())
                    .output()
                    .unwrap()
            });
            let text = String::from_utf8(done.stdout).unwrap();
            let ms: Vec<f64> =
                text.split(' ').map(|text| text.parse::<f64>().unwrap() * 1e3).collect();
            theirs.push([ms[0], ms[1] - ms[0], ms[2] - ms[1], ms[2], ms[3]]);
        }
        let names = ["connect", "tls", "answer", "first byte", "total"];
        for (column, name) in names.iter().enumerate() {
            let of = |rows: &[[f64; 5]]| median(rows.iter().map(|row| row[column]).collect());
            let (our, their) = (of(&ours), of(&theirs));
            let differ = (our / their - 1.0) * 100.0;
            println!("{flag} {name}: ours {our:.3} ms, curl {their:.3} ms, {differ:+.1} %");
            assert!(our > WAY_MS as f64, "{flag} {name}: {our} ms is no phase to compare");
            assert!(differ.abs() < MARGIN_PERCENT, "{flag} {name}: {our} and {their}");
        }
    }
}
