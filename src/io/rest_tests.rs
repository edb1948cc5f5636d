//! Goal: every transport keeps the same promises. Method: each against the same local servers.

use super::*;
use crate::base::retry::RetryAfter;
use crate::io::tls::test_server::{TestAuthority, accept, authority};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

trait Conn: Read + Write {}
impl<T: Read + Write> Conn for T {}

/// What a server does with a request.
enum Answer {
    Bytes(Vec<u8>),
    /// These bytes, then the connection ends.
    Last(Vec<u8>),
    /// One byte, then a pause, again and again.
    Drip(Vec<u8>, Duration),
    Silence,
}

/// Answers requests by `answer(request head + body)`, each connection on its own thread.
fn serve(tls: Option<&TestAuthority>, answer: impl FnMut(&str) -> Answer + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = tls.map(|authority| authority.server.clone());
    let answer = Arc::new(Mutex::new(answer));
    std::thread::spawn(move || {
        for tcp in listener.incoming() {
            let (tcp, config, answer) = (tcp.unwrap(), config.clone(), answer.clone());
            std::thread::spawn(move || {
                let conn: Box<dyn Conn> = match &config {
                    Some(config) => Box::new(accept(config, tcp)),
                    None => Box::new(tcp),
                };
                let mut conn = BufReader::new(conn);
                while let Some(request) = read_request(&mut conn) {
                    let answer = (answer.lock().unwrap())(&request);
                    if !give(&mut conn, answer) {
                        break;
                    }
                }
            });
        }
    });
    port
}
fn read_request(conn: &mut BufReader<Box<dyn Conn>>) -> Option<String> {
    let mut request = String::new();
    while !request.ends_with("\r\n\r\n") {
        if conn.read_line(&mut request).unwrap_or(0) == 0 {
            return None;
        }
    }
    let length = request
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    conn.read_exact(&mut body).ok()?;
    request.push_str(std::str::from_utf8(&body).unwrap());
    Some(request)
}
/// False where the connection is to end.
fn give(conn: &mut BufReader<Box<dyn Conn>>, answer: Answer) -> bool {
    let out = conn.get_mut();
    let (bytes, goes_on) = match answer {
        Answer::Silence => {
            std::thread::sleep(Duration::from_secs(3));
            return false;
        }
        Answer::Drip(bytes, pause) => {
            for byte in bytes {
                let written = out.write_all(&[byte]).and_then(|()| out.flush());
                if written.is_err() {
                    return false;
                }
                std::thread::sleep(pause);
            }
            return true;
        }
        Answer::Bytes(bytes) => (bytes, true),
        Answer::Last(bytes) => (bytes, false),
    };
    out.write_all(&bytes).and_then(|()| out.flush()).is_ok() && goes_on
}
fn reply_bytes(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}
fn reply(status: &str, headers: &str, body: &str) -> Answer {
    Answer::Bytes(reply_bytes(status, headers, body))
}
fn config() -> RestConfig {
    RestConfig { loopback_only: true, ..RestConfig::default() }
}
fn get(url: &str) -> RestRequest<'_> {
    RestRequest { method: Method::Get, url, headers: &[], body: b"", total_max: None }
}
fn post(url: &str) -> RestRequest<'_> {
    let headers = &[("content-type", "application/json")];
    RestRequest { method: Method::Post, url, headers, body: b"{\"id\":1}", total_max: None }
}

/// Every transport that this build has.
fn transports(config: &RestConfig) -> Vec<Box<dyn Transport>> {
    let versions = [Some(HttpVersion::V11), cfg!(feature = "http2").then_some(HttpVersion::Auto)];
    let of = |version: HttpVersion| {
        let config = RestConfig { version, ..config.clone() };
        Lanes::new(&config).unwrap().lane().unwrap()
    };
    let list: Vec<_> = versions.into_iter().flatten().map(of).collect();
    assert_eq!(list.len(), 1 + usize::from(cfg!(feature = "http2")));
    list
}

#[test]
fn a_call_carries_headers_and_body_and_every_status_is_an_answer() {
    for tls in [false, true] {
        let authority = authority();
        let mut config = config();
        config.trust = authority.trust.clone();
        for mut transport in transports(&config) {
            let port = serve(tls.then_some(&authority), |request| {
                assert!(request.contains("bfx-nonce: 12\r\n"), "{request}");
                assert!(request.ends_with("{\"id\":1}"), "{request}");
                assert!(request.starts_with("POST /v2/auth/r/orders?x=1 HTTP/1.1\r\n"));
                let headers =
                    "content-type: application/json\r\nETag: \"abc\"\r\nRetry-After: 7\r\n";
                reply("500 Internal Server Error", headers, "[\"error\",10100,\"nonce: small\"]")
            });
            let scheme = if tls { "https" } else { "http" };
            let url = format!("{scheme}://127.0.0.1:{port}/v2/auth/r/orders?x=1");
            let headers = &[("bfx-nonce", "12"), ("content-type", "application/json")];
            let request = RestRequest { headers, ..post(&url) };
            for pooled in [false, true] {
                let found = transport.call(&request).unwrap();
                let name = transport.name();
                assert_eq!(found.status, 500);
                assert_eq!(found.body, b"[\"error\",10100,\"nonce: small\"]");
                assert_eq!(
                    (found.content_type.as_str(), found.etag.as_str()),
                    ("application/json", "\"abc\"")
                );
                assert_eq!(found.retry_after, Some(RetryAfter::Seconds(7)));
                let t = found.timings;
                assert_eq!(t.pooled, pooled, "{name}");
                assert_eq!(t.connect.0 > 0, !pooled, "{name} {t:?}");
                assert!(t.tls.0 > 100_000 || pooled || !tls, "{name} {t:?}");
                assert!(t.tls.0 < 100_000 || tls, "{name} {t:?}");
                // Points and spans agree with each other.
                assert!(t.resolve.0 + t.connect.0 + t.tls.0 <= t.sent.0, "{name} {t:?}");
                assert!(t.sent <= t.first_byte && t.first_byte <= t.total, "{name} {t:?}");
                assert_eq!(t.spoken, Spoken::Http11);
                assert!((100..400).contains(&t.bytes_out), "{name} {t:?}");
                assert!((130..180).contains(&t.bytes_in), "{name} {t:?}");
            }
        }
    }
}

#[test]
fn the_time_to_the_first_byte_is_the_servers_and_the_rest_is_the_bodys() {
    for mut transport in transports(&config()) {
        let mut slow_head = true;
        let port = serve(None, move |_| {
            let bytes = reply_bytes("200 OK", "", &"x".repeat(40));
            if std::mem::replace(&mut slow_head, false) {
                std::thread::sleep(Duration::from_millis(120));
                return Answer::Bytes(bytes);
            }
            Answer::Drip(bytes, Duration::from_millis(2))
        });
        let url = format!("http://127.0.0.1:{port}/");
        let late_head = transport.call(&get(&url)).unwrap().timings;
        assert!((118..1_000).contains(&late_head.first_byte.as_ms()), "{late_head:?}");
        assert!(late_head.total.as_ms() - late_head.first_byte.as_ms() < 60, "{late_head:?}");
        let late_body = transport.call(&get(&url)).unwrap().timings;
        assert!(late_body.first_byte.as_ms() < 60, "{late_body:?}");
        assert!(late_body.total.as_ms() - late_body.first_byte.as_ms() > 100, "{late_body:?}");
    }
}
#[test]
fn redirects_are_answers_and_are_not_followed() {
    for mut transport in transports(&config()) {
        let port = serve(None, |_| reply("302 Found", "location: http://127.0.0.1:1/\r\n", ""));
        let url = format!("http://127.0.0.1:{port}/");
        assert_eq!(transport.call(&get(&url)).unwrap().status, 302);
    }
}

#[test]
fn a_silent_server_meets_the_deadline_and_the_call_may_have_been_sent() {
    for (answer_ms, total_ms) in [(8_000, 80), (80, 8_000)] {
        let config = RestConfig {
            answer_max: Duration::from_millis(answer_ms),
            total_max: Duration::from_millis(total_ms),
            ..config()
        };
        for mut transport in transports(&config) {
            let port = serve(None, |_| Answer::Silence);
            let url = format!("http://127.0.0.1:{port}/");
            let error = transport.call(&post(&url)).unwrap_err();
            let name = transport.name();
            let expected = [RestFault::DeadlineTotal, RestFault::DeadlineAnswer];
            assert!(expected.contains(&error.fault), "{name}: {error}");
            assert_eq!(error.sent, Sent::Maybe);
            let total_ms = error.timings.total.as_ms();
            assert!((79..1_500).contains(&total_ms), "{name}: {error}");
        }
    }
}

#[test]
fn a_call_may_ask_for_less_time_than_the_config_gives() {
    for mut transport in transports(&config()) {
        let port = serve(None, |_| Answer::Silence);
        let url = format!("http://127.0.0.1:{port}/");
        let request = RestRequest { total_max: Some(Duration::from_millis(80)), ..get(&url) };
        let error = transport.call(&request).unwrap_err();
        assert!((79..1_500).contains(&error.timings.total.as_ms()), "{error}");
    }
}

#[test]
fn a_body_that_drips_meets_a_deadline() {
    for read_ms in [100, 60_000] {
        let config = RestConfig {
            read_max: Duration::from_millis(read_ms),
            total_max: Duration::from_millis(300),
            ..config()
        };
        for mut transport in transports(&config) {
            let port = serve(None, |_| {
                let bytes = reply_bytes("200 OK", "", &"x".repeat(2_000));
                Answer::Drip(bytes, Duration::from_millis(1))
            });
            let url = format!("http://127.0.0.1:{port}/");
            let error = transport.call(&get(&url)).unwrap_err();
            let name = transport.name();
            assert_eq!(error.fault, RestFault::DeadlineTotal, "{name}: {error}");
            assert!(error.timings.total.as_ms() < 1_500, "{name}: {error}");
        }
    }
}

#[test]
fn failures_before_the_request_say_that_nothing_was_sent() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let ours = authority();
    let stranger = serve(Some(&authority()), |_| reply("200 OK", "", ""));
    let mut config = config();
    config.trust = ours.trust.clone();
    for mut transport in transports(&config) {
        for (url, fault) in [
            (format!("http://127.0.0.1:{closed}/"), RestFault::Connect),
            (format!("https://127.0.0.1:{stranger}/"), RestFault::Tls),
            ("http://192.0.2.1/".to_owned(), RestFault::NotLoopback),
            ("not a url".to_owned(), RestFault::BadRequest),
        ] {
            let error = transport.call(&get(&url)).unwrap_err();
            let found = (error.fault, error.sent);
            assert_eq!(found, (fault, Sent::No), "{}: {url}: {error}", transport.name());
        }
        let url = format!("http://127.0.0.1:{closed}/");
        let headers = &[("bfx-nonce", "1\r\nx: y")];
        let error = transport.call(&RestRequest { headers, ..get(&url) }).unwrap_err();
        assert_eq!((error.fault, error.sent), (RestFault::BadRequest, Sent::No));
    }
}

/// Goal: whatever goes wrong, no transport's words show what was sent. Method: canaries in every
/// header, in the path and in the body, through every kind of fault that can be made.
#[test]
fn no_fault_of_a_transport_shows_what_was_sent() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let stranger = serve(Some(&authority()), |_| reply("200 OK", "", ""));
    let silent = serve(None, |_| Answer::Silence);
    let drip = serve(None, |_| {
        Answer::Drip(reply_bytes("200 OK", "", "0123456789"), Duration::from_millis(100))
    });
    // The server sends back what it was given.
    let short = serve(None, |request| {
        Answer::Last(format!("HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n{request}").into())
    });
    let rubbish = serve(None, |request| Answer::Last(request.as_bytes().to_vec()));
    let long = serve(None, |_| reply("200 OK", "", &"x".repeat(5_000)));
    let config =
        RestConfig { total_max: Duration::from_millis(300), body_size_max: 1_000, ..config() };
    for mut transport in transports(&config) {
        let mut faults = Vec::new();
        for base in [
            format!("http://127.0.0.1:{closed}"),
            format!("https://127.0.0.1:{stranger}"),
            "http://192.0.2.1".to_owned(),
            "no url".to_owned(),
            format!("http://127.0.0.1:{silent}"),
            format!("http://127.0.0.1:{drip}"),
            format!("http://127.0.0.1:{short}"),
            format!("http://127.0.0.1:{rubbish}"),
            format!("http://127.0.0.1:{long}"),
        ] {
            for signature in ["CANARY-signature", "CANARY\r\nx: y"] {
                let headers = &[("bfx-apikey", "CANARY-key"), ("bfx-signature", signature)];
                let (url, body) = (format!("{base}/CANARY-path"), b"{\"a\":\"CANARY-body\"}");
                let request = RestRequest { headers, body, ..post(&url) };
                let error = transport.call(&request).unwrap_err();
                let words = format!("{error} {error:?} {}", error.fault.name());
                assert!(!words.contains("CANARY"), "{}: {words}", transport.name());
                faults.push(error.fault);
            }
        }
        let mut kinds: Vec<_> = faults.iter().map(|fault| fault.name()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        assert!(kinds.len() >= 6, "{}: {kinds:?}", transport.name());
    }
}

#[test]
fn a_connection_that_dies_in_the_answer_may_have_acted() {
    for answer in ["", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort", "rubbish\r\n\r\n"] {
        let config = RestConfig { total_max: Duration::from_millis(500), ..config() };
        for mut transport in transports(&config) {
            let port = serve(None, move |_| Answer::Last(answer.as_bytes().to_vec()));
            let url = format!("http://127.0.0.1:{port}/");
            let error = transport.call(&post(&url)).unwrap_err();
            assert_eq!(error.sent, Sent::Maybe, "{}: {answer:?}: {error}", transport.name());
        }
    }
}

/// The trap: libraries repeat a request by themselves when a kept connection turns out dead, though
/// the server may have acted on it.
#[test]
fn a_post_is_never_repeated_by_a_transport() {
    for mut transport in transports(&config()) {
        let seen = Arc::new(AtomicUsize::new(0));
        let counter = seen.clone();
        let port = serve(None, move |_| match counter.fetch_add(1, Ordering::SeqCst) {
            0 => reply("200 OK", "", "[1]"),
            _ => Answer::Last(Vec::new()),
        });
        let url = format!("http://127.0.0.1:{port}/");
        assert_eq!(transport.call(&post(&url)).unwrap().status, 200);
        // On the kept connection: the server reads the order, acts, and dies without an answer.
        let error = transport.call(&post(&url)).unwrap_err();
        assert!(error.timings.pooled || transport.name() == "libcurl", "{error}");
        assert_eq!(error.sent, Sent::Maybe, "{}: {error}", transport.name());
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(seen.load(Ordering::SeqCst), 2, "{}", transport.name());
    }
}

#[test]
fn an_answer_that_is_too_long_is_cut_off() {
    let config = RestConfig { body_size_max: 10_000, ..config() };
    for mut transport in transports(&config) {
        for answer in [
            reply_bytes("200 OK", "", &"x".repeat(20_000)),
            reply_bytes("200 OK", &format!("x-long: {}\r\n", "y".repeat(40_000)), ""),
        ] {
            let port = serve(None, move |_| Answer::Bytes(answer.clone()));
            let url = format!("http://127.0.0.1:{port}/");
            let error = transport.call(&get(&url)).unwrap_err();
            assert_eq!(error.fault, RestFault::TooLong, "{}", transport.name());
        }
    }
}

#[test]
fn a_stopper_ends_a_call_in_flight() {
    for mut transport in transports(&config()) {
        let port = serve(None, |_| Answer::Silence);
        let stopper = transport.stopper();
        let url = format!("http://127.0.0.1:{port}/");
        let from = Instant::now();
        let thread = std::thread::spawn(move || transport.call(&get(&url)).unwrap_err());
        std::thread::sleep(Duration::from_millis(100));
        stopper.stop();
        let error = thread.join().unwrap();
        assert!(from.elapsed() < Duration::from_millis(1_500), "{error}");
        assert_eq!((error.fault, error.sent), (RestFault::Stopped, Sent::Maybe));
    }
}

#[test]
fn a_slow_handshake_meets_the_deadline_of_connecting() {
    // Accepts and says nothing: the client waits for its TLS handshake.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let kept: Vec<TcpStream> = listener.incoming().flatten().collect();
        drop(kept);
    });
    let config = RestConfig {
        connect_max: Duration::from_millis(100),
        resolve_max: Duration::from_millis(50),
        ..config()
    };
    for mut transport in transports(&config) {
        let url = format!("https://127.0.0.1:{port}/");
        let error = transport.call(&get(&url)).unwrap_err();
        let name = transport.name();
        assert_eq!((error.fault, error.sent), (RestFault::DeadlineConnect, Sent::No), "{name}");
        assert!(error.timings.total.as_ms() < 1_500, "{name}: {error}");
    }
}

#[test]
fn http_2_is_refused_where_this_build_has_none() {
    let config = RestConfig { version: HttpVersion::V2, ..config() };
    let lanes = Lanes::new(&config);
    assert_eq!(lanes.is_ok(), cfg!(feature = "http2"));
    if let Err(error) = lanes {
        assert!(error.to_string().contains("--features http2"), "{error}");
    }
}

/// HTTP/2 as a proxy of Debian speaks it, with HTTP/1.1 beside it in the same run, and the figures
/// of an independent client.
#[cfg(feature = "http2")]
mod http2 {
    use super::*;
    use crate::io::files::TestDir;
    use rcgen::{CertificateParams, KeyPair};
    use std::process::{Child, Command, Stdio};

    struct Proxy {
        child: Child,
        port: u16,
        dir: TestDir,
    }
    impl Drop for Proxy {
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
    /// `nghttpx` in front of a server of ours, with TLS or with HTTP/2 in clear.
    fn proxy(backend: u16, tls: bool) -> Proxy {
        let dir = TestDir::new("proxy");
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        let (key_path, ca_path) = (dir.path().join("key.pem"), dir.path().join("ca.pem"));
        std::fs::write(&key_path, key.serialize_pem()).unwrap();
        std::fs::write(&ca_path, certificate.pem()).unwrap();
        let front = if tls { "" } else { ";no-tls" };
        // The port is free when it is asked for; somebody may be quicker.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut child = Command::new("nghttpx")
                .arg(format!("--frontend=127.0.0.1,{port}{front}"))
                .arg(format!("--backend=127.0.0.1,{backend}"))
                .args(["--workers=1", "--log-level=FATAL", "--accesslog-file=/dev/null"])
                .args(["--conf=/dev/null"])
                .args([&key_path, &ca_path])
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            for _ in 0..1_000 {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Proxy { child, port, dir };
                }
                if child.try_wait().unwrap().is_some() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("nghttpx does not start");
    }
    fn slow_backend() -> u16 {
        // About 300 ms: 60 bytes, 5 ms each.
        serve(None, |_| Answer::Drip(reply_bytes("200 OK", "", "[1]"), Duration::from_millis(7)))
    }

    #[test]
    #[ignore = "needs nghttpx, of the Debian package nghttp2-proxy"]
    fn calls_of_several_lanes_share_one_connection() {
        for tls in [true, false] {
            let proxy = proxy(slow_backend(), tls);
            let version = if tls { HttpVersion::Auto } else { HttpVersion::V2 };
            let trust = Trust::CaFile(proxy.dir.path().join("ca.pem"));
            let lanes = Lanes::new(&RestConfig { version, trust, ..config() }).unwrap();
            let scheme = if tls { "https" } else { "http" };
            let url = format!("{scheme}://127.0.0.1:{}/v2/platform/status", proxy.port);
            let first = lanes.lane().unwrap().call(&get(&url)).unwrap().timings;
            assert_eq!((first.spoken, first.pooled), (Spoken::Http2, false), "{first:?}");
            assert_eq!(first.tls.0 > 0, tls, "{first:?}");
            let from = Instant::now();
            let all: Vec<RestTimings> = std::thread::scope(|scope| {
                let callers: Vec<_> = (0..8)
                    .map(|index| {
                        let mut lane = lanes.lane().unwrap();
                        let url = &url;
                        scope.spawn(move || {
                            let request = if index % 2 == 0 { get(url) } else { post(url) };
                            lane.call(&request).unwrap().timings
                        })
                    })
                    .collect();
                callers.into_iter().map(|caller| caller.join().unwrap()).collect()
            });
            let together_ms = from.elapsed().as_millis() as i64;
            let one_after_the_other_ms: i64 = all.iter().map(|t| t.total.as_ms()).sum();
            println!(
                "tls {tls}: 8 calls on one connection in {together_ms} ms, {one_after_the_other_ms} \
                 ms one after the other"
            );
            assert!(all.iter().all(|t| t.spoken == Spoken::Http2 && t.pooled), "{all:?}");
            assert!(together_ms * 3 < one_after_the_other_ms, "{together_ms} ms");
            assert!(all.iter().all(|t| t.bytes_out > 0 && t.bytes_in > 0), "{all:?}");
        }
    }

    #[test]
    #[ignore = "needs nghttpx, of the Debian package nghttp2-proxy, and curl"]
    fn phases_agree_with_an_independent_client() {
        let proxy = proxy(slow_backend(), true);
        let ca = proxy.dir.path().join("ca.pem");
        let url = format!("https://127.0.0.1:{}/v2/platform/status", proxy.port);
        for version in [HttpVersion::V11, HttpVersion::Auto] {
            let config = RestConfig { version, trust: Trust::CaFile(ca.clone()), ..config() };
            // The quickest of several tries of each: what is left is the server's doing.
            let tries = (0..7).map(|_| {
                let mut lane = Lanes::new(&config).unwrap().lane().unwrap();
                lane.call(&get(&url)).unwrap().timings
            });
            let t = tries.min_by_key(|timings| timings.total).unwrap();
            let theirs = (0..7).map(|_| {
                let format = "%{time_starttransfer} %{time_total} %{http_version}";
                let done = Command::new("curl")
                    .args(["--silent", "--output", "/dev/null", "--write-out", format, "--cacert"])
                    .arg(&ca)
                    .arg(if version == HttpVersion::V11 { "--http1.1" } else { "--http2" })
                    .arg(&url)
                    .output()
                    .unwrap();
                let text = String::from_utf8(done.stdout).unwrap();
                let words: Vec<&str> = text.split(' ').collect();
                assert_eq!(words[2], t.spoken.name(), "{text}");
                let seconds = |index: usize| words[index].parse::<f64>().unwrap();
                (seconds(1), seconds(0))
            });
            let (total_s, first_s) = theirs.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
            let s = |span: SpanNs| span.0 as f64 / 1e9;
            println!(
                "{version:?}: first byte {:.1} ms, curl -w {:.1} ms; total {:.1} ms, {:.1} ms; {t:?}",
                s(t.first_byte) * 1e3,
                first_s * 1e3,
                s(t.total) * 1e3,
                total_s * 1e3
            );
            assert!((s(t.total) / total_s - 1.0).abs() < 0.1, "{t:?} {total_s}");
            assert!((s(t.first_byte) / first_s - 1.0).abs() < 0.1, "{t:?} {first_s}");
            assert!(t.connect.0 > 0 && t.tls.0 > 0, "{t:?}");
        }
    }
}
