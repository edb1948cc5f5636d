//! The port under attack, over real sockets on loopback.

#![allow(clippy::disallowed_methods, reason = "deadlines of real sockets")]

use super::*;
use crate::model::OperatorVerb;
use crate::ops::hub::{Ask, Hub, Outcome};
use crate::ops::status::Status;
use crossbeam_channel::Receiver;
use parking_lot::Mutex;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

const READ: &str = "authorization: Bearer reader\r\n";
const OPERATE: &str = "authorization: Bearer operator\r\n";

struct Bench {
    server: ServerHandle,
    hub: Arc<Hub>,
    asked: Receiver<Ask>,
    audit: Arc<Mutex<Vec<String>>>,
}

impl Bench {
    fn new(config: HttpConfig) -> Bench {
        let (hub, asked) = Hub::new();
        let audit = Arc::new(Mutex::new(Vec::new()));
        let lines = audit.clone();
        let tokens = Tokens::of("reader", "operator");
        let server = Server::bind(config, tokens, hub.clone(), move |line: &str| {
            lines.lock().push(line.to_owned());
        });
        let server = server.unwrap().start(|| {}).unwrap();
        Bench { server, hub, asked, audit }
    }
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.server.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }
    /// Sends bytes and reads until the server closes.
    fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        let _ = stream.write_all(bytes);
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    }
    fn get(&self, path: &str, headers: &str) -> String {
        let text =
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n");
        self.raw(text.as_bytes())
    }
    fn post(&self, body: &str, headers: &str) -> String {
        let text = format!(
            "POST /api/v1/command HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n{headers}\r\n{body}",
            body.len()
        );
        self.raw(text.as_bytes())
    }
    fn counts(&self, what: fn(&ServerStats) -> &std::sync::atomic::AtomicU64) -> u64 {
        what(self.server.stats()).load(Ordering::Relaxed)
    }
}

fn status_of(reply: &str) -> u16 {
    reply.get(9..12).and_then(|code| code.parse().ok()).unwrap_or(0)
}

#[test]
fn the_page_is_open_and_carries_its_policy_and_everything_else_needs_a_token() {
    let bench = Bench::new(HttpConfig::default());
    let page = bench.get("/", "");
    assert_eq!(status_of(&page), 200);
    for header in [
        "content-security-policy: default-src 'none'; script-src 'sha256-",
        "x-content-type-options: nosniff",
        "x-frame-options: DENY",
        "cache-control: no-store",
    ] {
        assert!(page.contains(header), "{header} in {}", &page[..900]);
    }
    assert!(!page.to_ascii_lowercase().contains("set-cookie"));
    for path in [
        "/metrics",
        "/api/v1/status",
        "/api/v1/orders",
        "/api/v1/fills",
        "/api/v1/positions",
        "/api/v1/guards",
        "/api/v1/alerts",
        "/api/v1/incidents",
        "/api/v1/latency",
        "/api/v1/history",
    ] {
        assert_eq!(status_of(&bench.get(path, "")), 401, "{path}");
        assert_eq!(status_of(&bench.get(path, READ)), 200, "{path}");
        assert_eq!(status_of(&bench.get(path, OPERATE)), 200, "{path}");
    }
    assert_eq!(status_of(&bench.get("/nothing", READ)), 404);
    assert_eq!(status_of(&bench.get("/../token.operate", READ)), 404);
    let open = Bench::new(HttpConfig { metrics_open: true, ..HttpConfig::default() });
    assert_eq!(status_of(&open.get("/metrics", "")), 200);
    assert_eq!(status_of(&open.get("/api/v1/status", "")), 401);
}

/// The page says which script may run: exactly its own, and it loads nothing from anywhere.
#[test]
fn the_page_is_one_file_and_its_hashes_are_those_of_its_parts() {
    let page = route::PAGE;
    assert_eq!(page.matches("<script").count(), 1);
    assert_eq!(page.matches("<style").count(), 1);
    let scripts = page.split_once("<script>").unwrap().1;
    assert!(scripts.split_once("</script>").unwrap().0.len() > 1_000);
    for outside in ["src=", "href=\"http", "@import", "url(", "style=\"", " onclick="] {
        assert!(!page.contains(outside), "{outside}");
    }
    // Known answer, so that the encoder is not its own judge: of an empty script and style.
    let policy = server::content_policy("<script></script><style></style>");
    let empty = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='";
    assert_eq!(policy.matches(empty).count(), 2, "{policy}");
}

#[test]
fn a_foreign_page_or_name_gets_nothing() {
    let bench = Bench::new(HttpConfig::default());
    let with_host = |host: &str, extra: &str| {
        bench.raw(
            format!(
                "GET /api/v1/status HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\
                 {READ}{extra}\r\n"
            )
            .as_bytes(),
        )
    };
    assert_eq!(status_of(&with_host("rebound.example:80", "")), 421);
    assert_eq!(status_of(&with_host("127.0.0.1:1", "")), 200);
    assert_eq!(status_of(&with_host("localhost", "origin: http://192.0.2.7\r\n")), 403);
    assert_eq!(status_of(&with_host("localhost", "sec-fetch-site: cross-site\r\n")), 403);
    // The page itself is not served under a foreign name either.
    let page = bench.raw(b"GET / HTTP/1.1\r\nhost: rebound.example\r\n\r\n");
    assert_eq!(status_of(&page), 421);
    // A form of another page: no type of ours, and a foreign origin.
    let reply = bench.post("{}", "origin: http://192.0.2.7\r\n");
    assert_eq!(status_of(&reply), 403);
    assert!(bench.asked.is_empty());
}

#[test]
fn requests_that_two_readers_could_read_differently_are_refused() {
    let bench = Bench::new(HttpConfig::default());
    let body = r#"{"verb":"kill"}"#;
    let start = format!(
        "POST /api/v1/command HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         {OPERATE}"
    );
    for (lines, status) in [
        ("content-length: 15\r\ntransfer-encoding: chunked\r\n", 501),
        ("transfer-encoding: chunked\r\n", 501),
        ("content-length: 15\r\ncontent-length: 3\r\n", 400),
        ("content-length: +15\r\n", 400),
        ("content-length: 15, 15\r\n", 400),
        ("content-length : 15\r\n", 400),
        ("content-length: 15\r\n folded: 1\r\n", 400),
        ("content-length: 15\r\nhost: other\r\n", 400),
        ("content-length: 15\nx: y\r\n", 400),
        ("", 411),
    ] {
        let reply = bench.raw(format!("{start}{lines}\r\n{body}").as_bytes());
        assert_eq!(status_of(&reply), status, "{lines:?}");
        assert_eq!(reply.matches("HTTP/1.1 ").count(), 1, "one answer, then closed: {lines:?}");
    }
    // A second request hidden in the body of the first stays a body.
    let hidden = "GET /api/v1/status HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let text = format!(
        "GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{hidden}",
        hidden.len()
    );
    let reply = bench.raw(text.as_bytes());
    assert_eq!((status_of(&reply), reply.matches("HTTP/1.1 ").count()), (200, 1));
    // Two honest ones behind each other are answered in their order.
    let two = format!(
        "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\nGET /nothing HTTP/1.1\r\n\
         host: localhost\r\nconnection: close\r\n{READ}\r\n"
    );
    let reply = bench.raw(two.as_bytes());
    assert_eq!((status_of(&reply), reply.matches("HTTP/1.1 ").count()), (200, 2), "{reply}");
    assert!(reply.contains("HTTP/1.1 404"));
    assert!(bench.asked.is_empty());
}

#[test]
fn what_is_too_large_is_refused_at_once() {
    let bench = Bench::new(HttpConfig::default());
    let begun = Instant::now();
    let line = format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "a".repeat(9_000));
    assert_eq!(status_of(&bench.raw(line.as_bytes())), 431);
    let header = format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "b".repeat(9_000));
    assert_eq!(status_of(&bench.raw(header.as_bytes())), 431);
    let many = format!("GET / HTTP/1.1\r\nhost: localhost\r\n{}\r\n", "a: b\r\n".repeat(65));
    assert_eq!(status_of(&bench.raw(many.as_bytes())), 431);
    assert_eq!(status_of(&bench.post(&"x".repeat(BODY_MAX + 1), OPERATE)), 413);
    // Announced only: refused before a byte of it has come.
    let huge = format!(
        "POST /api/v1/command HTTP/1.1\r\nhost: localhost\r\n{OPERATE}\
         content-length: 99999999999999\r\n\r\n"
    );
    assert_eq!(status_of(&bench.raw(huge.as_bytes())), 413);
    // No line end at all, a megabyte of it: closed, whatever it hears.
    let mut stream = bench.connect();
    let _ = stream.write_all(&vec![b'A'; 1 << 20]);
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(status_of(&bench.get("/healthz", "")), 200);
}

/// A byte now and then holds nothing: the deadline is the request's, and others are served.
#[test]
fn slow_requests_end_at_their_deadline_and_disturb_nobody() {
    let config = HttpConfig {
        request_max: Duration::from_millis(600),
        idle_max: Duration::from_millis(900),
        ..HttpConfig::default()
    };
    let bench = Bench::new(config);
    let begun = Instant::now();
    let mut slow: Vec<TcpStream> = (0..40).map(|_| bench.connect()).collect();
    let idle = bench.connect();
    let text = format!("GET /api/v1/status HTTP/1.1\r\nhost: localhost\r\n{READ}\r\n");
    let mut at = 0;
    let mut longest = Duration::ZERO;
    while begun.elapsed() < Duration::from_millis(1_500) {
        for stream in &mut slow {
            let _ = stream.write_all(&text.as_bytes()[at % text.len()..=at % text.len()]);
        }
        at += 1;
        let asked = Instant::now();
        assert_eq!(status_of(&bench.get("/healthz", "")), 200);
        longest = longest.max(asked.elapsed());
        std::thread::sleep(Duration::from_millis(50));
    }
    for stream in &mut slow {
        let mut reply = Vec::new();
        let _ = stream.read_to_end(&mut reply);
        let reply = String::from_utf8_lossy(&reply);
        assert!(reply.is_empty() || status_of(&reply) == 408, "{reply}");
    }
    let mut idle = idle;
    assert_eq!(idle.read(&mut [0; 1]).unwrap_or(0), 0, "an idle connection is closed, too");
    assert!(bench.counts(|stats| &stats.timed_out) >= 41);
    assert!(longest < Duration::from_secs(2), "{longest:?}");
}

#[test]
fn a_thousand_connections_are_turned_away_beyond_the_cap_and_the_port_lives() {
    let bench = Bench::new(HttpConfig { connections_max: 64, ..HttpConfig::default() });
    let mut open = Vec::new();
    for _ in 0..1_000 {
        match TcpStream::connect(bench.server.address()) {
            Ok(stream) => open.push(stream),
            Err(error) => panic!("connection {}: {error}", open.len()),
        }
    }
    // Each of them has been accepted and seen by now, or is in the kernel's queue.
    let deadline = Instant::now() + Duration::from_secs(20);
    while bench.counts(|stats| &stats.turned_away) < 1_000 - 64 {
        assert!(Instant::now() < deadline, "{:?}", bench.server.stats());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(bench.counts(|stats| &stats.turned_away), 1_000 - 64);
    open.clear();
    let deadline = Instant::now() + Duration::from_secs(10);
    while status_of(&bench.get("/healthz", "")) != 200 {
        assert!(Instant::now() < deadline, "the port did not come back");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn guessing_tokens_is_slowed_down_and_good_tokens_pass_meanwhile() {
    let bench = Bench::new(HttpConfig::default());
    let guesses: Vec<u16> = (0..40)
        .map(|guess| {
            let guess = format!("authorization: Bearer {guess}\r\n");
            status_of(&bench.get("/api/v1/status", &guess))
        })
        .collect();
    assert_eq!(guesses[0], 401);
    assert!(guesses.iter().filter(|code| **code == 429).count() >= 15, "{guesses:?}");
    assert_eq!(status_of(&bench.get("/api/v1/status", READ)), 200);
}

#[test]
fn followers_get_each_picture_and_have_a_bound() {
    let bench = Bench::new(HttpConfig { followers_max: 2, ..HttpConfig::default() });
    let follow = |bench: &Bench| {
        let mut stream = bench.connect();
        let text = format!("GET /api/v1/events HTTP/1.1\r\nhost: localhost\r\n{READ}\r\n");
        stream.write_all(text.as_bytes()).unwrap();
        stream
    };
    let read_until = |stream: &mut TcpStream, word: &str| {
        let mut text = String::new();
        let mut buffer = [0; 4096];
        while !text.contains(word) {
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "closed before {word}: {text}");
            text.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
        text
    };
    let mut first = follow(&bench);
    let begun = read_until(&mut first, "event: status");
    assert!(begun.contains("content-type: text/event-stream"));
    let mut second = follow(&bench);
    read_until(&mut second, "event: status");
    let mut third = follow(&bench);
    read_until(&mut third, "too many dashboards");
    bench.hub.publish(Status { at: "now-1".to_owned(), ..Status::default() });
    read_until(&mut first, "now-1");
    read_until(&mut second, "now-1");
    // One that never reads is given up or skipped; the others see the newest.
    for index in 0..300 {
        let log = vec!["x".repeat(10_000)];
        bench.hub.publish(Status { at: format!("late-{index}"), log, ..Status::default() });
        read_until(&mut first, &format!("late-{index}\""));
    }
}

#[test]
fn commands_reach_the_run_are_answered_and_audited() {
    let bench = Bench::new(HttpConfig::default());
    let asked = bench.asked.clone();
    let run = std::thread::spawn(move || {
        let ask = asked.recv_timeout(Duration::from_secs(10)).unwrap();
        let got = (ask.verb, ask.symbol.clone(), ask.reason.clone());
        (ask.reply)(Outcome {
            accepted: true,
            effect: "halted".to_owned(),
            rank_before: "running".to_owned(),
            rank_after: "halted".to_owned(),
            orders_before: 3,
            orders_after: 0,
            took_ms: 12,
        });
        got
    });
    let reply = bench.post(
        r#"{"verb":"kill","reason":"drill"}"#,
        &format!("{OPERATE}x-operator: anna\r\nuser-agent: test\r\n"),
    );
    assert_eq!(status_of(&reply), 200, "{reply}");
    assert!(reply.contains(r#""rank_after":"halted""#), "{reply}");
    assert_eq!(run.join().unwrap(), (OperatorVerb::Kill, None, "drill".to_owned()));
    let audit = bench.audit.lock().join("\n");
    assert!(audit.contains("command 1: kill everything reason \"drill\""), "{audit}");
    assert!(audit.contains("operate token") && audit.contains("\"anna\""), "{audit}");
    assert!(audit.contains("rank running to halted, own orders 3 to 0"), "{audit}");
    // The reading token may not.
    assert_eq!(status_of(&bench.post(r#"{"verb":"pause"}"#, READ)), 403);
    assert!(bench.asked.is_empty());
}

#[test]
fn a_run_that_does_not_answer_is_told_as_such_and_too_many_commands_are_refused() {
    let config = HttpConfig { command_max: Duration::from_millis(300), ..HttpConfig::default() };
    let bench = Bench::new(config);
    assert_eq!(status_of(&bench.post(r#"{"verb":"pause"}"#, OPERATE)), 504);
    let codes: Vec<u16> =
        (0..15).map(|_| status_of(&bench.post(r#"{"verb":"nonsense"}"#, OPERATE))).collect();
    assert!(codes.iter().all(|code| *code == 400), "never a command: {codes:?}");
    // The run takes nothing: the commands wait until their queue is full or their bucket empty.
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut stream = bench.connect();
        let text = format!(
            "POST /api/v1/command HTTP/1.1\r\nhost: localhost\r\ncontent-length: 16\r\n\
             content-type: application/json\r\n{OPERATE}\r\n{{\"verb\":\"pause\"}}"
        );
        stream.write_all(text.as_bytes()).unwrap();
        streams.push(stream);
    }
    let mut refused = 0;
    for stream in &mut streams {
        let mut buffer = [0; 1024];
        let count = stream.read(&mut buffer).unwrap_or(0);
        refused += u32::from(buffer[..count].starts_with(b"HTTP/1.1 429"));
    }
    assert!(refused >= 5, "{refused}");
}
