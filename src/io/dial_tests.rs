//! Dialling and the hot stream against small local listeners, plain and TLS.

#![allow(
    clippy::disallowed_methods,
    reason = "the edge: deadlines and clocks of real sockets and disks"
)]

use super::*;
use crate::io::alloc::{count_allocs, seal, thread_counts, unseal};
use crate::io::socket::WRITE_QUEUE_SIZE;
use crate::io::tls::test_server::{TestAuthority, accept, authority};
use crate::io::tls::{Trust, client_config};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread::JoinHandle;

trait Conn: Read + Write {}
impl<T: Read + Write> Conn for T {}

/// Answers one request by `answer(accept key)`, then hands the connection to `then`.
fn serve<R: Send + 'static>(
    tls: Option<&TestAuthority>,
    answer: impl FnOnce(&str) -> Vec<u8> + Send + 'static,
    then: impl FnOnce(&mut dyn Conn) -> R + Send + 'static,
) -> (u16, JoinHandle<R>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = tls.map(|authority| authority.server.clone());
    let thread = std::thread::spawn(move || {
        let (tcp, _) = listener.accept().unwrap();
        let mut conn: Box<dyn Conn> = match &config {
            Some(config) => Box::new(accept(config, tcp)),
            None => Box::new(tcp),
        };
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") {
            if conn.read(&mut byte).unwrap_or(0) == 0 {
                break;
            }
            request.push(byte[0]);
        }
        let text = String::from_utf8(request).unwrap();
        let key = text
            .lines()
            .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))
            .map(|key| derive_accept_key(key.as_bytes()))
            .unwrap_or_default();
        conn.write_all(&answer(&key)).unwrap();
        conn.flush().unwrap();
        then(&mut *conn)
    });
    (port, thread)
}
fn good(key: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\n\
         CONNECTION: keep-alive, Upgrade\r\nSec-WebSocket-Accept: {key}\r\n\r\n"
    )
    .into_bytes()
}
fn spec(port: u16, authority: Option<&TestAuthority>) -> DialSpec {
    let scheme = if authority.is_some() { "wss" } else { "ws" };
    DialSpec {
        url: WsUrl::parse(&format!("{scheme}://127.0.0.1:{port}/ws/2")).unwrap(),
        tls: authority.map(|authority| client_config(&authority.trust).unwrap()),
        options: SocketOptions::default(),
        deadline: Duration::from_secs(10),
        loopback_only: true,
        user_agent: "genesis".into(),
    }
}
/// Reads until `size` bytes are there, spinning on `WouldBlock` for up to ten seconds.
fn read_size(stream: &mut HotStream, size: usize) -> Vec<u8> {
    let until = Instant::now() + Duration::from_secs(10);
    let mut found = Vec::new();
    let mut buffer = vec![0; 32 * 1024];
    while found.len() < size && Instant::now() < until {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => found.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
    found
}
fn err(spec: &DialSpec) -> DialError {
    match dial(spec) {
        Ok(_) => panic!("the dial succeeded"),
        Err(error) => error,
    }
}

#[test]
fn addresses_are_taken_apart_or_refused() {
    let check = |text: &str, expected: Option<(bool, &str, u16, &str)>| {
        let found = WsUrl::parse(text);
        let found = found.as_ref().map(|u| (u.tls, u.host.as_str(), u.port, u.path.as_str()));
        assert_eq!(found, expected, "{text}");
    };
    check("wss://api-pub.bitfinex.com/ws/2", Some((true, "api-pub.bitfinex.com", 443, "/ws/2")));
    check("ws://127.0.0.1:8080", Some((false, "127.0.0.1", 8080, "/")));
    check("WS://[::1]:81/a?b=c#d", Some((false, "::1", 81, "/a?b=c")));
    check("ws://[::1]", Some((false, "::1", 80, "/")));
    check("ws://host?q", Some((false, "host", 80, "/?q")));
    for bad in [
        "http://host/",
        "host",
        "ws://",
        "ws://:80/",
        "ws://h:0/",
        "ws://h:99999/",
        "ws://u@h/",
        "ws://h/a b",
        "ws://h/\r\nX: y",
        "ws://[::1]x/",
        "ws://[::1/",
    ] {
        check(bad, None);
    }
}

#[test]
fn bytes_behind_the_answer_are_kept_and_come_first() {
    for tls in [false, true] {
        let authority = authority();
        let authority = tls.then_some(&authority);
        let answer = |key: &str| [good(key), b"\x81\x05hello".to_vec()].concat();
        let (port, thread) = serve(authority, answer, |conn| {
            conn.write_all(b"more").unwrap();
            conn.flush().unwrap();
            let mut got = [0; 4];
            conn.read_exact(&mut got).unwrap();
            got
        });
        let mut dialed = dial(&spec(port, authority)).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(dialed.peer.port(), port);
        assert_eq!(dialed.options_refused, [""; 0]);
        assert!(dialed.leftover_size >= if tls { 0 } else { 7 });
        assert_eq!(dialed.stream.is_tls(), tls);
        assert_eq!(read_size(&mut dialed.stream, 11), b"\x81\x05hellomore");
        let empty = dialed.stream.read(&mut [0; 16]).unwrap_err();
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
        assert!(matches!(dialed.stream.write_all_or_queue(b"ping"), Ok(Written::Whole)));
        assert_eq!(thread.join().unwrap(), *b"ping");
        assert_eq!(read_size(&mut dialed.stream, 1), b"", "the peer's end is an end here");
    }
}

#[test]
fn answers_that_are_no_upgrade_are_told_apart() {
    use UpgradeFault::{Cut, NoConnectionHeader, NoUpgradeHeader, NotHttp, Uninvited};
    let check = |answer: &'static str, expected: UpgradeFault| {
        let (port, thread) =
            serve(None, move |key| answer.replace("KEY", key).into_bytes(), |_| ());
        let error = err(&spec(port, None));
        thread.join().unwrap();
        assert!(
            matches!(error, DialError::BadUpgrade(fault) if fault == expected),
            "{answer:?}: {error}"
        );
    };
    let wrong = UpgradeFault::WrongAcceptKey;
    check("HTTP/1.1 101 x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n", wrong);
    check(
        "HTTP/1.1 101 x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        wrong,
    );
    check(
        "HTTP/1.1 101 x\r\nconnection: upgrade\r\nsec-websocket-accept: KEY\r\n\r\n",
        NoUpgradeHeader,
    );
    check(
        "HTTP/1.1 101 x\r\nupgrade: websocket\r\nsec-websocket-accept: KEY\r\n\r\n",
        NoConnectionHeader,
    );
    check(
        "HTTP/1.1 101 x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-accept: KEY\r\nsec-websocket-extensions: permessage-deflate\r\n\r\n",
        Uninvited,
    );
    check("HTTP/1.1 101 x\r\nupgrade: webso", Cut);
    check("SSH-2.0-OpenSSH\r\n\r\n", NotHttp);
    check("\r\n\r\n", NotHttp);
}

#[test]
fn an_endless_head_is_cut_off() {
    let answer = |_: &str| [b"HTTP/1.1 101 x\r\nx: ".to_vec(), vec![b'a'; 40_000]].concat();
    let (port, thread) = serve(None, answer, |_| ());
    let error = err(&spec(port, None));
    assert!(matches!(error, DialError::BadUpgrade(UpgradeFault::NotHttp)), "{error}");
    let _ = thread.join();
}

#[test]
fn a_refusal_carries_its_status_and_the_wait_it_asks_for() {
    let answer = |_: &str| b"HTTP/1.1 429 Too Many\r\nRetry-After: 60\r\n\r\n".to_vec();
    let (port, thread) = serve(None, answer, |_| ());
    let error = err(&spec(port, None));
    thread.join().unwrap();
    assert!(matches!(error, DialError::Refused { status: 429, retry_after_s: Some(60) }));
}

#[test]
fn a_silent_server_meets_the_deadline_in_every_phase() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let authority = authority();
    for (tls, phase) in [(None, DialPhase::Upgrade), (Some(&authority), DialPhase::Tls)] {
        let mut spec = spec(port, tls);
        spec.deadline = Duration::from_millis(60);
        let from = Instant::now();
        let error = err(&spec);
        assert!(matches!(error, DialError::Deadline(found) if found == phase), "{error}");
        assert!(from.elapsed() >= spec.deadline);
        assert!(from.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn nobody_listening_strangers_and_unknown_names_are_errors_of_their_phase() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    assert!(matches!(err(&spec(port, None)), DialError::Io(DialPhase::Connect, _)));
    let mut far = spec(port, None);
    far.url.host = "192.0.2.1".into();
    assert!(matches!(err(&far), DialError::NotLoopback(_)));
    let mut untrusted = spec(port, None);
    untrusted.url.tls = true;
    assert!(matches!(err(&untrusted), DialError::NoTlsConfig));
}

#[test]
fn a_certificate_of_a_stranger_is_refused() {
    let (ours, theirs) = (authority(), authority());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = theirs.server.clone();
    let thread = std::thread::spawn(move || {
        let (tcp, _) = listener.accept().unwrap();
        accept(&config, tcp).read(&mut [0; 16]).is_err()
    });
    let error = err(&spec(port, Some(&ours)));
    assert!(matches!(error, DialError::Io(DialPhase::Tls, _)), "{error}");
    assert!(thread.join().unwrap());
    assert!(matches!(ours.trust, Trust::CaFile(_)));
}

/// A peer that does not read: the kernel fills up, then our queue, then `Full`, and in the end
/// every byte that was taken arrives in order.
#[test]
fn a_slow_peer_gets_every_byte_that_was_taken_and_none_that_was_not() {
    for tls in [false, true] {
        let authority = authority();
        let authority = tls.then_some(&authority);
        let (go, wait) = mpsc::sync_channel::<usize>(1);
        let (port, thread) = serve(authority, good, move |conn| {
            let size = wait.recv().unwrap();
            let mut got = vec![0; size];
            conn.read_exact(&mut got).unwrap();
            got
        });
        let mut spec = spec(port, authority);
        spec.options.send_buffer_size = 16 * 1024;
        let mut stream = dial(&spec).unwrap_or_else(|error| panic!("{error}")).stream;
        let mut sent = Vec::new();
        let mut queued = false;
        for round in 0u32.. {
            let message: Vec<u8> =
                (0..1_000 + round % 3_000).map(|at| (at ^ round) as u8).collect();
            match stream.write_all_or_queue(&message) {
                Ok(written) => {
                    queued |= written == Written::Queued;
                    assert_eq!(written == Written::Queued, stream.has_pending());
                    sent.extend_from_slice(&message);
                }
                Err(WriteError::Full) => break,
                Err(WriteError::Broken(error)) => panic!("{error}"),
            }
        }
        assert!(queued && stream.has_pending() && !stream.flush().unwrap());
        assert!(stream.pending_size() <= WRITE_QUEUE_SIZE);
        go.send(sent.len()).unwrap();
        let until = Instant::now() + Duration::from_secs(10);
        while !stream.flush().unwrap() && Instant::now() < until {
            std::thread::yield_now();
        }
        assert!(!stream.has_pending());
        assert!(thread.join().unwrap() == sent, "tls {tls}");
    }
}

/// Long answers through small and large buffers: nothing is lost or doubled at record borders, and
/// input that arrives before a write is still there after it.
#[test]
fn a_flood_over_tls_arrives_whole_through_any_buffer() {
    let authority = authority();
    let data: Vec<u8> = (0..700_000u32).map(|at| ((at * 31) >> 3) as u8).collect();
    for size in [1usize, 100, 5_000, 20_000, 32 * 1024] {
        let expected = if size == 1 { &data[..40_000] } else { &data[..] };
        let sent = expected.to_vec();
        let (port, thread) = serve(Some(&authority), good, move |conn| {
            conn.write_all(&sent).unwrap();
            conn.flush().unwrap();
            let mut got = [0; 8];
            conn.read_exact(&mut got).unwrap();
        });
        let mut stream =
            dial(&spec(port, Some(&authority))).unwrap_or_else(|error| panic!("{error}")).stream;
        let mut found = Vec::new();
        let mut buffer = vec![0; size];
        let mut writes = 0;
        while found.len() < expected.len() {
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => found.extend_from_slice(&buffer[..count]),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
            if writes < 4 && found.len() > writes * 5_000 {
                stream.write_all_or_queue(b"ok").unwrap();
                writes += 1;
            }
        }
        assert!(found == expected, "buffer of {size}");
        while writes < 4 {
            stream.write_all_or_queue(b"ok").unwrap();
            writes += 1;
        }
        thread.join().unwrap();
    }
}

#[test]
fn a_hot_stream_allocates_nothing_of_its_own_and_tls_is_counted_apart() {
    for tls in [false, true] {
        let authority = authority();
        let authority = tls.then_some(&authority);
        let (port, thread) = serve(authority, good, |conn| {
            let mut got = [0; 64];
            for _ in 0..20 {
                conn.read_exact(&mut got).unwrap();
                conn.write_all(&got).unwrap();
                conn.flush().unwrap();
            }
        });
        let mut stream =
            dial(&spec(port, authority)).unwrap_or_else(|error| panic!("{error}")).stream;
        let mut buffer = vec![0; 32 * 1024];
        let mut turn = || {
            stream.write_all_or_queue(&[7; 64]).unwrap();
            let mut got = 0;
            while got < 64 {
                match stream.read(&mut buffer) {
                    Ok(count) => got += count,
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
                }
            }
        };
        turn();
        let before = thread_counts();
        seal();
        let (allocs, ()) = count_allocs(|| (1..20).for_each(|_| turn()));
        unseal();
        let after = thread_counts();
        assert_eq!(after.after_seal, before.after_seal);
        assert_eq!(after.tls_after_seal - before.tls_after_seal, allocs);
        assert_eq!(allocs > 0, tls);
        thread.join().unwrap();
    }
}
