//! The server over real sockets, against a small exchange of its own: an echo with a ticking
//! market.

#![allow(
    clippy::disallowed_methods,
    reason = "the edge: deadlines and clocks of real sockets and disks"
)]

use super::*;
use crate::base::time::SpanNs;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message, WebSocket};

const PATIENCE: Duration = Duration::from_secs(20);
const TICK_NS: i64 = 1_000_000;

/// Echoes texts, ticks for those who said `sub`, keeps a count that survives restarts.
#[derive(Default)]
struct Echo {
    open: BTreeSet<u64>,
    subscribed: BTreeSet<u64>,
    out: Vec<(u64, Option<Vec<u8>>)>,
    start: Option<WallNs>,
    next: Option<WallNs>,
    /// Ticks left; `None`: without end.
    left: Option<u64>,
    ticks: u64,
    subscribers_needed: usize,
    kept: u64,
    dirty: bool,
    disconnected: u64,
    /// Admits no more websockets.
    is_full: bool,
}

impl Echo {
    fn recording(ticks: u64, subscribers_needed: usize) -> Self {
        let start = WallNs::from_ms(1_542_045_968_922);
        Self {
            start: Some(start),
            next: Some(start),
            left: Some(ticks),
            subscribers_needed,
            ..Self::default()
        }
    }
}

impl ExchangePort for Echo {
    fn connect(&mut self, conn: u64, _: WallNs) {
        assert!(self.open.insert(conn));
        self.out.push((conn, Some(b"hello".to_vec())));
    }
    fn disconnect(&mut self, conn: u64, _: WallNs) {
        assert!(self.open.remove(&conn), "told twice, or never opened");
        self.subscribed.remove(&conn);
        self.disconnected += 1;
    }
    fn on_text(&mut self, conn: u64, text: &[u8], now: WallNs) {
        assert!(self.open.contains(&conn));
        let reply = match text {
            b"sub" => {
                self.subscribed.insert(conn);
                return;
            }
            b"close" => {
                self.open.remove(&conn);
                self.subscribed.remove(&conn);
                self.out.push((conn, Some(b"bye".to_vec())));
                self.out.push((conn, None));
                return;
            }
            b"keep" => {
                self.kept += 1;
                self.dirty = true;
                self.kept.to_string().into_bytes()
            }
            b"now" => now.0.to_string().into_bytes(),
            b"boom" => panic!("asked to"),
            _ => match text.strip_prefix(b"big ") {
                Some(size) => {
                    let size = std::str::from_utf8(size).unwrap().parse().unwrap();
                    vec![b'x'; size]
                }
                None => text.to_vec(),
            },
        };
        self.out.push((conn, Some(reply)));
    }
    fn admit(&mut self, _: WallNs) -> Option<RestReply> {
        self.is_full.then(|| RestReply::new(429, "text/plain", b"full".to_vec()))
    }
    fn rest(&mut self, request: &RestRequest<'_>, _: WallNs) -> RestReply {
        if request.path_and_query == "/v2/slow" {
            return RestReply {
                retry_after_s: Some(3),
                pace: Some(Pace { wait: Duration::from_millis(300), bytes_per_s: 1_000 }),
                ..RestReply::new(503, "application/json", vec![b'z'; 300])
            };
        }
        let body = if request.path_and_query == "/v2/big" {
            vec![b'y'; 3 << 20]
        } else {
            format!(
                "{:?} {} {} {} {} {}",
                request.method,
                request.path_and_query,
                request.api_key.unwrap_or("-"),
                request.nonce.unwrap_or("-"),
                request.signature.unwrap_or("-"),
                String::from_utf8_lossy(request.body)
            )
            .into_bytes()
        };
        RestReply::new(200, "application/json", body)
    }
    fn next_at(&self) -> Option<WallNs> {
        self.next
    }
    fn advance(&mut self, now: WallNs, steps_max: u32) -> u32 {
        let mut steps = 0;
        while let Some(next) = self.next.filter(|next| *next <= now && steps < steps_max) {
            steps += 1;
            self.ticks += 1;
            for conn in &self.subscribed {
                self.out.push((*conn, Some(format!("tick {}", self.ticks).into_bytes())));
            }
            self.left = self.left.map(|left| left - 1);
            self.next = (self.left != Some(0)).then_some(next + SpanNs(TICK_NS));
        }
        steps
    }
    fn drain(&mut self, delivery: &mut impl Delivery) {
        for (conn, payload) in self.out.drain(..) {
            match payload {
                Some(payload) => delivery.text(conn, &payload),
                None => delivery.close(conn),
            }
        }
    }
    fn market_start(&self) -> Option<WallNs> {
        self.start
    }
    fn ready_to_start(&self) -> bool {
        self.subscribed.len() >= self.subscribers_needed
    }
    fn is_finished(&self) -> bool {
        self.left == Some(0)
    }
    fn state_dirty(&self) -> bool {
        self.dirty
    }
    fn snapshot_state(&mut self) -> Vec<u8> {
        self.dirty = false;
        self.kept.to_le_bytes().to_vec()
    }
    fn restore_state(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.kept = u64::from_le_bytes(bytes.try_into().map_err(|_| "not eight bytes".to_owned())?);
        Ok(())
    }
}

fn start(config: ServerConfig, exchange: Echo) -> ServerHandle<Echo> {
    Server::start(config, exchange).unwrap()
}
fn start_plain() -> ServerHandle<Echo> {
    start(ServerConfig::default(), Echo::default())
}

fn dial(server: &ServerHandle<Echo>) -> TcpStream {
    let stream = TcpStream::connect(server.addr()).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}
fn open_ws(server: &ServerHandle<Echo>) -> WebSocket<TcpStream> {
    let url = server.ws_url().replace("wss", "ws");
    let (mut ws, response) = tungstenite::client::client(url, dial(server)).unwrap();
    assert_eq!(response.status(), 101);
    assert_eq!(next_text(&mut ws), "hello");
    ws
}
fn next_text<S: Read + Write>(ws: &mut WebSocket<S>) -> String {
    loop {
        match ws.read().unwrap() {
            Message::Text(text) => return text.to_string(),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}
fn ask<S: Read + Write>(ws: &mut WebSocket<S>, text: &str) -> String {
    ws.send(Message::text(text.to_owned())).unwrap();
    next_text(ws)
}
/// Everything the server sends until it closes.
fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset behind the goodbye is fine; a time-out is not.
    if let Err(error) = stream.read_to_end(&mut bytes) {
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
    bytes
}
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        std::thread::yield_now();
    }
}
fn alive(server: &ServerHandle<Echo>) {
    assert_eq!(ask(&mut open_ws(server), "still here"), "still here");
}
/// Code of the close frame at the end of raw websocket bytes.
fn close_code(bytes: &[u8]) -> u16 {
    let at = bytes.iter().rposition(|&byte| byte == 0x88).expect("a close frame");
    u16::from_be_bytes([bytes[at + 2], bytes[at + 3]])
}
fn temp(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("genesis-server-{}-{name}", std::process::id()))
}

const UPGRADE: &str = "GET /ws/2 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 126);
    let mut frame = vec![opcode, 0x80 | payload.len() as u8, 1, 2, 3, 4];
    frame.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ [1, 2, 3, 4][at % 4]));
    frame
}

#[test]
fn websocket_and_rest_share_one_port() {
    let server = start_plain();
    let mut ws = open_ws(&server);
    assert_eq!(ask(&mut ws, "a"), "a");
    let url = format!("{}/v2/conf?x=1", server.rest_url());
    let reply = ureq::get(&url).call().unwrap().body_mut().read_to_string().unwrap();
    assert_eq!(reply, "Get /v2/conf?x=1 - - - ");
    let reply = ureq::post(format!("{}/v2/auth/r/orders", server.rest_url()))
        .header("bfx-apikey", "k")
        .header("bfx-nonce", "5")
        .header("bfx-signature", "s")
        .send("{\"a\":1}")
        .unwrap()
        .body_mut()
        .read_to_string()
        .unwrap();
    assert_eq!(reply, "Post /v2/auth/r/orders k 5 s {\"a\":1}");
    let (report, exchange) = server.stop().unwrap();
    assert_eq!(report.counters.http_request, 2);
    assert_eq!(report.counters.websocket_opened, 1);
    assert_eq!(exchange.disconnected, 1);
}

#[test]
fn every_size_of_message_arrives_whole_both_ways() {
    let server = start_plain();
    let mut ws = open_ws(&server);
    for size in [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 20] {
        let text = "z".repeat(size);
        assert_eq!(ask(&mut ws, &text), text, "{size}");
    }
    assert_eq!(ask(&mut ws, "big 3000000").len(), 3_000_000);
}

#[test]
fn bytes_that_arrive_one_by_one_are_put_together() {
    let server = start_plain();
    let mut stream = dial(&server);
    let mut bytes = UPGRADE.as_bytes().to_vec();
    bytes.extend(masked(0x81, b"one"));
    bytes.extend(masked(0x01, b"t"));
    bytes.extend(masked(0x89, b"ping"));
    bytes.extend(masked(0x80, b"wo"));
    bytes.extend(masked(0x81, b"close"));
    for byte in bytes {
        stream.write_all(&[byte]).unwrap();
    }
    let reply = read_to_end(&mut stream);
    let frames = &reply[reply.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4..];
    for (part, what) in [
        (&b"\x81\x05hello"[..], "greeting"),
        (b"\x81\x03one", "first text"),
        (b"\x8a\x04ping", "pong"),
        (b"\x81\x03two", "text in two fragments"),
        (b"\x81\x03bye\x88\x02", "what the exchange said before it closed"),
    ] {
        assert!(frames.windows(part.len()).any(|window| window == part), "{what}: {frames:?}");
    }
}

#[test]
fn frames_right_behind_the_handshake_are_not_lost() {
    let server = start_plain();
    let mut stream = dial(&server);
    let mut bytes = UPGRADE.as_bytes().to_vec();
    bytes.extend(masked(0x81, b"early"));
    stream.write_all(&bytes).unwrap();
    let mut reply = Vec::new();
    while !reply.ends_with(b"\x81\x05early") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        reply.push(byte[0]);
    }
    stream.write_all(&masked(0x88, &1000u16.to_be_bytes())).unwrap();
    let reply = read_to_end(&mut stream);
    assert_eq!(close_code(&reply), 1000);
}

#[test]
fn a_frame_of_100_mb_is_refused_by_its_header() {
    let server = start_plain();
    let mut stream = dial(&server);
    stream.write_all(UPGRADE.as_bytes()).unwrap();
    let mut frame = vec![0x81, 0xff];
    frame.extend_from_slice(&100_000_000u64.to_be_bytes());
    frame.extend_from_slice(&[1, 2, 3, 4]);
    stream.write_all(&frame).unwrap();
    // The rest is read and thrown away, so that the close frame is not lost in a reset.
    let filler = vec![0x55; 1 << 20];
    for _ in 0..8 {
        stream.write_all(&filler).unwrap();
    }
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(close_code(&read_to_end(&mut stream)), 1009);
    alive(&server);
    let (report, exchange) = server.stop().unwrap();
    assert_eq!(report.counters.message_too_long, 1);
    assert!(exchange.open.is_empty());
}

#[test]
fn fragments_that_add_up_to_too_much_are_refused_too() {
    let server = start_plain();
    let mut ws = open_ws(&server);
    let frame = |opcode, fin| {
        let payload = vec![b'a'; 300_000];
        tungstenite::protocol::frame::Frame::message(
            payload,
            tungstenite::protocol::frame::coding::OpCode::Data(opcode),
            fin,
        )
    };
    use tungstenite::protocol::frame::coding::Data;
    ws.write(Message::Frame(frame(Data::Text, false))).unwrap();
    for _ in 0..3 {
        ws.write(Message::Frame(frame(Data::Continue, false))).unwrap();
    }
    ws.flush().unwrap();
    match ws.read().unwrap() {
        Message::Close(Some(close)) => assert_eq!(close.code, CloseCode::Size),
        other => panic!("{other:?}"),
    }
}

#[test]
fn broken_frames_close_with_their_code() {
    let server = start_plain();
    for (frame, code) in [
        (vec![0x81, 0x01, b'a'], 1002),              // not masked
        (masked(0x83, b"a"), 1002),                  // reserved opcode
        (masked(0xc1, b"a"), 1002),                  // reserved bit
        (masked(0x80, b"a"), 1002),                  // continues nothing
        (masked(0x09, b"a"), 1002),                  // fragmented ping
        (masked(0x81, &[0xff, 0xfe]), 1007),         // not UTF-8
        (masked(0x88, &[0x03]), 1002),               // close frame of one byte
        (masked(0x88, &999u16.to_be_bytes()), 1002), // close code out of range
    ] {
        let mut stream = dial(&server);
        stream.write_all(UPGRADE.as_bytes()).unwrap();
        stream.write_all(&frame).unwrap();
        assert_eq!(close_code(&read_to_end(&mut stream)), code, "{frame:?}");
    }
    alive(&server);
}

#[test]
fn garbage_and_bad_handshakes_get_an_answer_and_stop_nothing() {
    let server = start_plain();
    let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(20_000));
    let no_key = UPGRADE.replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "");
    let old = UPGRADE.replace("Version: 13", "Version: 8");
    for (request, status) in [
        ("\x16\x03\x01\x02\x00\x01\x00\x01\x7c", "400"),
        ("nonsense\r\n\r\n", "400"),
        ("PUT / HTTP/1.1\r\nHost: x\r\n\r\n", "405"),
        ("POST /v2/x HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n", "413"),
        ("POST /v2/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n", "501"),
        ("POST /v2/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n\r\n", "400"),
        ("GET /ws/2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "426"),
        ("GET /<b> HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "404"),
        (&long, "431"),
        (&no_key, "400"),
        (&old, "400"),
    ] {
        let mut stream = dial(&server);
        stream.write_all(request.as_bytes()).unwrap();
        let reply = String::from_utf8_lossy(&read_to_end(&mut stream)).to_string();
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {reply}");
    }
    let mut rng = crate::base::rng::Rng::new(3);
    for _ in 0..50 {
        let mut stream = dial(&server);
        let bytes: Vec<u8> = (0..rng.below(2_000)).map(|_| rng.next_u64() as u8).collect();
        let _ = stream.write_all(&bytes);
        if rng.chance(1, 2) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }
    // Opened, and nothing said.
    let silent: Vec<TcpStream> = (0..50).map(|_| dial(&server)).collect();
    alive(&server);
    drop(silent);
    wait_until("all sockets are given back", || server.sockets() == 0);
}

#[test]
fn http_connections_are_kept_and_pipelined_in_order() {
    let server = start_plain();
    let mut stream = dial(&server);
    let mut requests = String::new();
    for at in 0..100 {
        requests.push_str(&format!("GET /v2/{at} HTTP/1.1\r\nHost: x\r\n\r\n"));
    }
    requests.push_str("GET /v2/last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(requests.as_bytes()).unwrap();
    let reply = String::from_utf8(read_to_end(&mut stream)).unwrap();
    assert_eq!(reply.matches("HTTP/1.1 200 OK").count(), 101);
    let mut at = 0;
    for number in 0..100 {
        at += reply[at..].find(&format!("Get /v2/{number} ")).expect("in order");
    }
    assert!(reply[at..].contains("connection: close"));
}

#[test]
fn a_client_that_closes_its_half_still_gets_the_reply() {
    let server = start_plain();
    let mut stream = dial(&server);
    stream.write_all(b"GET /v2/big HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(read_to_end(&mut stream).len() > 3 << 20);
}

#[test]
fn replies_nobody_reads_do_not_pile_up() {
    let server = start_plain();
    let mut stream = dial(&server);
    let requests = "GET /v2/big HTTP/1.1\r\nHost: x\r\n\r\n".repeat(500);
    stream.write_all(requests.as_bytes()).unwrap();
    alive(&server);
    // 1.5 GB are owed; one reply at a time is made.
    let mut got = 0u64;
    let mut buffer = vec![0; 1 << 20];
    while got < 500 * (3 << 20) {
        let size = stream.read(&mut buffer).unwrap();
        assert_ne!(size, 0);
        got += size as u64;
    }
}

#[test]
fn a_paced_reply_comes_bit_by_bit_and_what_was_asked_behind_it_comes_after_it() {
    // Less time for a request than the reply takes: the client is not to blame for it.
    let limits =
        ServerLimits { request_for: Duration::from_millis(200), ..ServerLimits::default() };
    let server = start(ServerConfig { limits, ..ServerConfig::default() }, Echo::default());
    let mut stream = dial(&server);
    stream.write_all(b"GET /v2/slow HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let asked = std::time::Instant::now();
    stream.write_all(b"GET /v2/next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut first = [0];
    stream.read_exact(&mut first).unwrap();
    assert!(asked.elapsed() >= Duration::from_millis(300), "silence first");
    alive(&server);
    let reply = String::from_utf8(read_to_end(&mut stream)).unwrap();
    assert!(asked.elapsed() >= Duration::from_millis(600), "{:?}", asked.elapsed());
    assert!(reply.starts_with("TTP/1.1 503 ") && reply.contains("retry-after: 3\r\n"), "{reply}");
    let slow = reply.find(&"z".repeat(300)).expect("the whole body");
    assert!(reply[slow..].contains("Get /v2/next "), "{reply}");
}

#[test]
fn a_websocket_that_is_not_admitted_gets_its_status() {
    let server = start(ServerConfig::default(), Echo { is_full: true, ..Echo::default() });
    let mut stream = dial(&server);
    stream.write_all(UPGRADE.as_bytes()).unwrap();
    let reply = String::from_utf8(read_to_end(&mut stream)).unwrap();
    assert!(reply.starts_with("HTTP/1.1 429 ") && reply.ends_with("full"), "{reply}");
    server.with(|exchange, _| exchange.is_full = false);
    alive(&server);
    let (report, _) = server.stop().unwrap();
    assert_eq!((report.counters.handshake_refused, report.counters.websocket_opened), (1, 1));
}

#[test]
fn a_body_is_waited_for_and_invited() {
    let server = start_plain();
    let mut stream = dial(&server);
    stream
        .write_all(
            b"POST /v2/x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\
              Connection: close\r\n\r\n",
        )
        .unwrap();
    let mut invitation = [0; 25];
    stream.read_exact(&mut invitation).unwrap();
    assert_eq!(&invitation, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"body").unwrap();
    let reply = String::from_utf8(read_to_end(&mut stream)).unwrap();
    assert!(reply.ends_with("Post /v2/x - - - body"), "{reply}");
}

/// Goal: bodies as the HTTP libraries of others send them: in chunks, or none at all.
#[test]
fn chunked_bodies_and_posts_without_a_body_are_served() {
    let server = start_plain();
    let mut stream = dial(&server);
    stream
        .write_all(
            b"POST /v2/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbod\r\n",
        )
        .unwrap();
    stream.write_all(b"1\r\ny\r\n0\r\n\r\nPOST /v2/y HTTP/1.1\r\nHost: x\r\n").unwrap();
    stream.write_all(b"Connection: close\r\n\r\n").unwrap();
    let replies = String::from_utf8(read_to_end(&mut stream)).unwrap();
    assert!(replies.contains("Post /v2/x - - - bodyHTTP/1.1 200 "), "{replies}");
    assert!(replies.ends_with("Post /v2/y - - - "), "{replies}");
}

#[test]
fn a_hundred_clients_get_the_whole_recording_at_full_speed() {
    const CLIENTS: usize = 100;
    const TICKS: u64 = 5_000;
    let config = ServerConfig { speed: Speed::Max, ..ServerConfig::default() };
    let server = start(config, Echo::recording(TICKS, CLIENTS));
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| open_ws(&server)).collect();
    assert!(!server.is_finished());
    for ws in &mut clients {
        ws.send(Message::text("sub")).unwrap();
    }
    let threads: Vec<_> = clients
        .into_iter()
        .map(|mut ws| {
            std::thread::spawn(move || {
                for tick in 1..=TICKS {
                    assert_eq!(next_text(&mut ws), format!("tick {tick}"));
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    wait_until("finished", || server.is_finished());
    let (report, _) = server.stop().unwrap();
    assert!(report.finished);
    assert_eq!(report.counters.socket_peak, CLIENTS as u64);
    assert_eq!(report.counters.slow_cut, 0);
    assert!(report.market_until_ns >= report.market_from_ns + (TICKS as i64 - 1) * TICK_NS);
}

#[test]
fn at_full_speed_the_market_waits_for_the_slowest_client() {
    let config = ServerConfig { speed: Speed::Max, ..ServerConfig::default() };
    let echo = Echo { next: Some(WallNs(1)), subscribers_needed: 1, ..Echo::default() };
    let server = start(config, echo);
    let mut slow = open_ws(&server);
    slow.send(Message::text("sub")).unwrap();
    wait_until("waits", || server.counters().market_waited > 0);
    let waited_at = server.with(|exchange, _| exchange.ticks).unwrap();
    assert_eq!(server.with(|exchange, _| exchange.ticks).unwrap(), waited_at);
    // The market ran before the subscription; from the first tick seen on, none may be missing.
    let first: u64 = next_text(&mut slow).trim_start_matches("tick ").parse().unwrap();
    let until = waited_at + 1_000;
    for tick in first + 1..=until {
        assert_eq!(next_text(&mut slow), format!("tick {tick}"));
    }
    assert_eq!(server.counters().slow_cut, 0);
}

#[test]
fn at_a_paced_speed_a_slow_reader_is_cut_and_the_others_are_not() {
    let limits = ServerLimits { backlog_cut_size: 1 << 20, ..ServerLimits::default() };
    let server = start(ServerConfig { limits, ..ServerConfig::default() }, Echo::default());
    let mut good = open_ws(&server);
    let mut slow = open_ws(&server);
    // More than the kernel's buffers of both sides, and nobody reads.
    for _ in 0..40 {
        if slow.send(Message::text("big 1000000")).is_err() {
            break;
        }
    }
    wait_until("cut", || server.counters().slow_cut == 1);
    assert_eq!(ask(&mut good, "a"), "a");
    assert_eq!(server.with(|exchange, _| exchange.open.len()), Some(1));
}

#[test]
fn a_socket_that_takes_nothing_is_cut_in_the_end_at_every_speed() {
    let limits = ServerLimits { stall_for: Duration::from_millis(300), ..ServerLimits::default() };
    let config = ServerConfig { speed: Speed::Max, limits, ..ServerConfig::default() };
    let server = start(config, Echo { next: Some(WallNs(1)), ..Echo::default() });
    let mut dead = open_ws(&server);
    dead.send(Message::text("sub")).unwrap();
    wait_until("cut", || server.counters().stall_cut == 1);
    alive(&server);
}

#[test]
fn clients_that_do_not_finish_a_request_are_timed_out() {
    let limits = ServerLimits {
        request_for: Duration::from_millis(200),
        idle_for: Duration::from_millis(400),
        ..ServerLimits::default()
    };
    let server = start(ServerConfig { limits, ..ServerConfig::default() }, Echo::default());
    let mut half = dial(&server);
    half.write_all(b"GET /v2/x HTTP/1.1\r\nHo").unwrap();
    let mut idle = dial(&server);
    idle.write_all(b"GET /v2/x HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut ws = open_ws(&server);
    assert_eq!(read_to_end(&mut half), b"");
    assert!(!read_to_end(&mut idle).is_empty());
    assert_eq!(server.counters().handshake_timed_out, 1);
    assert_eq!(ask(&mut ws, "websockets may be silent"), "websockets may be silent");
}

#[test]
fn beyond_the_most_sockets_new_ones_are_closed_and_room_is_used_again() {
    let limits = ServerLimits { sockets_max: 3, ..ServerLimits::default() };
    let server = start(ServerConfig { limits, ..ServerConfig::default() }, Echo::default());
    let mut held: Vec<_> = (0..3).map(|_| open_ws(&server)).collect();
    assert_eq!(read_to_end(&mut dial(&server)), b"");
    held.pop();
    wait_until("room", || server.with(|exchange, _| exchange.open.len()) == Some(2));
    alive(&server);
    assert_eq!(ask(&mut held[0], "a"), "a");
}

#[test]
fn tls_serves_websocket_and_rest_and_survives_plain_text() {
    let pem = temp("ca.pem");
    let tls = ServerTlsConfig {
        identity: ServerTls::generate().unwrap(),
        ca_pem_path: Some(pem.clone()),
    };
    let server = start(ServerConfig { tls: Some(tls), ..ServerConfig::default() }, Echo::default());
    assert!(server.ws_url().starts_with("wss://127.0.0.1:"));
    assert_eq!(server.ca_pem_path(), Some(&pem));
    let ca = std::fs::read(&pem).unwrap();
    let _ = std::fs::remove_file(&pem);
    let ca =
        <rustls_pki_types::CertificateDer<'_> as rustls_pki_types::pem::PemObject>::from_pem_slice(
            &ca,
        )
        .unwrap();

    let mut roots = rustls::RootCertStore::empty();
    roots.add(ca.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = rustls_pki_types::ServerName::try_from("127.0.0.1").unwrap();
    let session = rustls::ClientConnection::new(Arc::new(client), name).unwrap();
    let stream = rustls::StreamOwned::new(session, dial(&server));
    let (mut ws, _) =
        tungstenite::client::client(server.ws_url().replace("wss", "ws"), stream).unwrap();
    assert_eq!(next_text(&mut ws), "hello");
    for size in [1, 1000, 100_000, 1 << 20] {
        let text = "z".repeat(size);
        assert_eq!(ask(&mut ws, &text), text, "{size}");
    }
    assert_eq!(ask(&mut ws, "big 5000000").len(), 5_000_000);

    let mut plain = dial(&server);
    plain.write_all(b"GET /v2/x HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    read_to_end(&mut plain);

    let certificate = ureq::tls::Certificate::from_der(&ca).to_owned();
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .tls_config(
            ureq::tls::TlsConfig::builder()
                .root_certs(ureq::tls::RootCerts::new_with_certs(&[certificate]))
                .build(),
        )
        .build()
        .into();
    for _ in 0..3 {
        let url = format!("{}/v2/a", server.rest_url());
        let text = agent.get(&url).call().unwrap().body_mut().read_to_string().unwrap();
        assert_eq!(text, "Get /v2/a - - - ");
    }
    assert_eq!(ask(&mut ws, "close"), "bye");
    assert!(matches!(ws.read().unwrap(), Message::Close(_)));
    let (report, _) = server.stop().unwrap();
    assert!(report.counters.handshake_failed >= 1);
}

#[test]
fn killed_connections_break_and_the_server_goes_on() {
    let server = start_plain();
    let mut clients: Vec<_> = (0..20).map(|_| open_ws(&server)).collect();
    server.kill_connections();
    for ws in &mut clients {
        ws.read().unwrap_err();
    }
    assert_eq!(server.with(|exchange, _| exchange.disconnected), Some(20));
    alive(&server);
}

#[test]
fn an_outage_closes_the_port_for_its_time() {
    let server = start_plain();
    let mut ws = open_ws(&server);
    server.outage(Duration::from_millis(300));
    ws.read().unwrap_err();
    let refused = TcpStream::connect(server.addr()).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    wait_until("back", || TcpStream::connect(server.addr()).is_ok());
    alive(&server);
}

#[test]
fn a_frozen_server_answers_once_it_is_thawed() {
    let server = start_plain();
    let mut ws = open_ws(&server);
    server.freeze();
    ws.send(Message::text("late")).unwrap();
    ws.get_ref().set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    ws.read().unwrap_err();
    server.thaw();
    ws.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(next_text(&mut ws), "late");
}

#[test]
fn stopped_and_started_again_on_the_same_port_the_exchange_goes_on() {
    let server = start_plain();
    let addr = server.addr();
    let mut ws = open_ws(&server);
    assert_eq!(ask(&mut ws, "keep"), "1");
    let (_, exchange) = server.stop().unwrap();
    match ws.read().unwrap() {
        Message::Close(Some(close)) => assert_eq!(close.code, CloseCode::Away),
        other => panic!("{other:?}"),
    }
    let server = start(ServerConfig { listen: addr, ..ServerConfig::default() }, exchange);
    assert_eq!(server.addr(), addr);
    assert_eq!(ask(&mut open_ws(&server), "keep"), "2");
}

#[test]
fn what_was_acknowledged_is_on_disk() {
    let path = temp("state");
    let config = ServerConfig { state_file: Some(path.clone()), ..ServerConfig::default() };
    let server = start(config.clone(), Echo::default());
    let mut ws = open_ws(&server);
    for count in 1..=5 {
        assert_eq!(ask(&mut ws, "keep"), count.to_string());
        // As after a `kill -9` at this moment: the file is read while the server still runs.
        let (_, state) = StateFile::open(&path).unwrap();
        assert_eq!(state.unwrap(), u64::to_le_bytes(count));
    }
    drop(server);
    let server = start(config, Echo::default());
    assert_eq!(ask(&mut open_ws(&server), "keep"), "6");
    for suffix in [".a", ".b"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
    }
}

#[test]
fn scaled_recordings_run_on_recorded_time() {
    let config = ServerConfig { speed: Speed::Times(100.0), ..ServerConfig::default() };
    let server = start(config, Echo::recording(3_000, 1));
    let from = WallNs::from_ms(1_542_045_968_922).0;
    let mut ws = open_ws(&server);
    assert_eq!(ask(&mut ws, "now"), from.to_string(), "stands still while nobody listens");
    let started = std::time::Instant::now();
    ws.send(Message::text("sub")).unwrap();
    for tick in 1..=3_000 {
        assert_eq!(next_text(&mut ws), format!("tick {tick}"));
    }
    // 2.999 s at ×100; the upper bound is for a busy machine.
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(29), "{took:?}");
    assert!(took <= Duration::from_secs(5), "{took:?}");
    let now: i64 = ask(&mut ws, "now").parse().unwrap();
    assert!(now >= from + 2_999 * TICK_NS);
    wait_until("finished", || server.is_finished());
}

#[test]
fn real_speed_follows_the_host_clock() {
    let server = start_plain();
    let mut ws = open_ws(&server);
    let before = host_wall().0;
    let told: i64 = ask(&mut ws, "now").parse().unwrap();
    // Anchored once at start; clocks may differ by what the host's was slewed since.
    assert!((told - before).abs() < 2_000_000_000, "{told} {before}");
}

#[test]
fn bad_configuration_is_refused_with_one_sentence() {
    let server = start_plain();
    let in_use = ServerConfig { listen: server.addr(), ..ServerConfig::default() };
    let remote = ServerConfig { listen: ([0, 0, 0, 0], 0).into(), ..ServerConfig::default() };
    let foreign = ServerConfig {
        listen: ([192, 0, 2, 1], 0).into(),
        allow_remote: true,
        ..ServerConfig::default()
    };
    let no_dir = ServerConfig { state_file: Some("/nonexistent/s".into()), ..Default::default() };
    let bad_state = temp("bad-state");
    std::fs::write(format!("{}.a", bad_state.display()), b"rubbish").unwrap();
    let damaged = ServerConfig { state_file: Some(bad_state.clone()), ..Default::default() };
    for (config, sentence) in [
        (in_use, "is in use by another program; expected a free port"),
        (remote, "can be reached from other machines; expected a loopback address"),
        (foreign, "cannot listen on 192.0.2.1:0"),
        (no_dir, "state file /nonexistent/s.a: No such file or directory"),
        (damaged, "neither slot holds a whole state"),
    ] {
        let error = Server::start(config, Echo::default()).err().map(|e| e.to_string());
        let error = error.expect("a second server on one port is refused");
        assert!(error.contains(sentence), "{error}");
    }
    for suffix in [".a", ".b"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", bad_state.display()));
    }
}

#[test]
fn a_panic_of_the_exchange_is_reported_not_hung_on() {
    let server = start_plain();
    let mut ws = open_ws(&server);
    ws.send(Message::text("boom")).unwrap();
    wait_until("ended", || server.has_ended());
    assert_eq!(server.with(|exchange, _| exchange.ticks), None);
    assert!(matches!(server.stop(), Err(ServerError::Panicked)));
}
