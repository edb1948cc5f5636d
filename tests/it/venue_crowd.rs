//! Goal: two hundred sockets, twenty of them bad, and the good ones do not notice. Method: the
//! exchange as a process of its own; 180 clients follow a book with sequence numbers, five never
//! read what they asked for, five send garbage, five flood, five stop in the middle of what they
//! began. Looked at: gaps of the good ones, how long one of them waits for an answer, memory of the
//! exchange, what it counted.

#![allow(clippy::disallowed_methods, reason = "measures real sockets of another process")]

use crate::venue_process::Venue;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tungstenite::{Message, WebSocket};

const GOOD: usize = 180;
const BAD_OF_A_KIND: usize = 5;
const GOOD_THREADS: usize = 3;
/// How long the bad ones go on once everybody is there. Longer than the ten seconds a request may
/// take.
const STORM: Duration = Duration::from_secs(13);
/// How long the long one goes on, and how often those who never read are replaced meanwhile: they
/// are cut after three seconds.
const LONG_STORM: Duration = Duration::from_secs(600);
const RENEWED_EVERY: Duration = Duration::from_secs(20);
/// Memory that the exchange may still take while the storm goes on, KiB.
const GROWTH_MAX_KIB: u64 = 24 * 1024;
/// The longest answer to a ping during the storm; the machine may be busy.
const PONG_MAX: Duration = Duration::from_secs(5);

/// A client that follows one book and counts.
struct Good {
    socket: WebSocket<TcpStream>,
    seq: u64,
    frames: u64,
}

impl Good {
    fn new(venue: &Venue, symbol: &str) -> Good {
        let mut socket = venue.socket();
        for text in [
            "{\"event\":\"conf\",\"flags\":65536}".to_owned(),
            format!("{{\"event\":\"subscribe\",\"channel\":\"book\",\"symbol\":\"{symbol}\"}}"),
            format!("{{\"event\":\"subscribe\",\"channel\":\"trades\",\"symbol\":\"{symbol}\"}}"),
        ] {
            socket.send(Message::text(text)).unwrap();
        }
        socket.get_ref().set_nonblocking(true).unwrap();
        Good { socket, seq: 0, frames: 0 }
    }
    /// Reads what is there; a gap or the end of the socket fails the test.
    fn read(&mut self) {
        loop {
            let text = match self.socket.read() {
                Ok(Message::Text(text)) => text,
                Ok(Message::Ping(_) | Message::Pong(_)) => continue,
                Ok(other) => panic!("a good client was sent away: {other:?}"),
                Err(tungstenite::Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                    return;
                }
                Err(error) => panic!("a good client was cut: {error}"),
            };
            if text.starts_with('[') {
                let number = text.trim_end_matches(']').rsplit(',').next().unwrap();
                let number: u64 = number.parse().unwrap();
                assert_eq!(number, self.seq + 1, "a gap");
                self.seq = number;
                self.frames += 1;
            }
        }
    }
}

/// Runs `act` in a thread until told to stop.
fn until_stopped(stop: &Arc<AtomicBool>, mut act: impl FnMut() + Send + 'static) -> JoinHandle<()> {
    let stop = Arc::clone(stop);
    std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            act();
        }
    })
}

/// Asks for long answers, and never reads them: more than the kernel holds for it.
fn slow(venue: &Venue) -> TcpStream {
    let mut socket = venue.socket();
    socket.get_ref().set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let question = format!("{{\"event\":\"ping\",\"cid\":\"{}\"}}", "x".repeat(50_000));
    for _ in 0..400 {
        // The server does not hear who does not listen: that is what is wanted here.
        if socket.send(Message::text(question.clone())).is_err() {
            break;
        }
    }
    socket.get_ref().try_clone().unwrap()
}

fn upgraded(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .write_all(
            b"GET /ws/2 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .unwrap();
    stream
}

/// Begins things in five ways, and ends none of them.
fn half_open(address: &str) -> Vec<TcpStream> {
    let mut half_open: Vec<TcpStream> = Vec::new();
    for kind in 0..BAD_OF_A_KIND {
        let mut stream = TcpStream::connect(address).unwrap();
        match kind {
            0 => {}
            1 => stream.write_all(b"GET /ws/2 HTTP/1.1\r\nHost: x\r\nUpg").unwrap(),
            2 => stream
                .write_all(b"POST /v2/x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
                .unwrap(),
            3 => stream = upgraded(address),
            // The first half of a frame.
            _ => {
                stream = upgraded(address);
                stream.write_all(&[0x81, 0xfe, 0x10, 0x00, 1, 2, 3, 4, b'{']).unwrap();
            }
        }
        half_open.push(stream);
    }
    half_open
}

#[test]
fn twenty_bad_clients_out_of_two_hundred_disturb_nobody() {
    storm(STORM);
}

/// The same for ten minutes: `cargo test --test it -- --ignored --nocapture ten_minutes_of_bad`.
#[test]
#[ignore = "ten minutes; run by name"]
fn ten_minutes_of_bad_clients_leave_memory_as_it_was() {
    storm(LONG_STORM);
}

fn storm(storm_for: Duration) {
    let venue = Venue::start(&[
        "--symbols",
        "tBTCUSD,tETHUSD",
        "--activity",
        "3",
        "--no-rest-limits",
        "--cut-after",
        "3s",
    ]);
    let address = venue.address().to_owned();
    let mut good: Vec<Good> = (0..GOOD)
        .map(|at| Good::new(&venue, if at % 2 == 0 { "tBTCUSD" } else { "tETHUSD" }))
        .collect();
    good.iter_mut().for_each(Good::read);
    let stop = Arc::new(AtomicBool::new(false));
    let frames = Arc::new(AtomicU64::new(0));
    let slowest = Arc::new(AtomicU64::new(0));
    let mut threads = Vec::new();
    let per_thread = GOOD.div_ceil(GOOD_THREADS);
    while !good.is_empty() {
        let mut mine: Vec<Good> = good.drain(..per_thread.min(good.len())).collect();
        let (stop, frames) = (Arc::clone(&stop), Arc::clone(&frames));
        threads.push(std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                mine.iter_mut().for_each(Good::read);
                std::thread::sleep(Duration::from_millis(5));
            }
            let seen: Vec<u64> = mine.iter().map(|client| client.frames).collect();
            assert!(seen.iter().all(|frames| *frames > 20), "somebody starved: {seen:?}");
            frames.fetch_add(seen.iter().sum(), Ordering::Relaxed);
        }));
    }
    let mut asker = venue.socket();
    let slowest_of = Arc::clone(&slowest);
    threads.push(until_stopped(&stop, move || {
        let asked = Instant::now();
        asker.send(Message::text("{\"event\":\"ping\",\"cid\":1}")).unwrap();
        while !matches!(asker.read().unwrap(), Message::Text(text) if text.contains("pong")) {}
        slowest_of.fetch_max(asked.elapsed().as_micros() as u64, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(20));
    }));

    let mut held: Vec<TcpStream> = (0..BAD_OF_A_KIND).map(|_| slow(&venue)).collect();
    let mut stuck = half_open(&address);
    for number in 0..BAD_OF_A_KIND {
        // Garbage: before the upgrade, and behind it.
        let garbage_to = address.clone();
        let mut bits = 0x9e37_79b9_7f4a_7c15u64 ^ number as u64;
        threads.push(until_stopped(&stop, move || {
            let mut random = || {
                bits ^= bits << 13;
                bits ^= bits >> 7;
                bits ^= bits << 17;
                bits as u8
            };
            let Ok(mut stream) = TcpStream::connect(&garbage_to) else { return };
            if number % 2 == 1 {
                stream = upgraded(&garbage_to);
            }
            let bytes: Vec<u8> = (0..2_000).map(|_| random()).collect();
            let _ = stream.write_all(&bytes);
            let _ = stream.set_read_timeout(Some(Duration::from_millis(50)));
            let _ = stream.read(&mut [0; 512]);
            std::thread::sleep(Duration::from_millis(10));
        }));
        // Floods: messages as fast as the socket takes them; answers are read by half of them.
        let mut flood = venue.socket();
        flood.get_ref().set_nonblocking(true).unwrap();
        let reads = number % 2 == 0;
        threads.push(until_stopped(&stop, move || {
            let nonsense = "{\"event\":\"subscribe\",\"channel\":\"nothing\",\"symbol\":\"tNOPE\"}";
            for _ in 0..20 {
                let _ = flood.send(Message::text(nonsense));
            }
            let _ = flood.flush();
            while reads && matches!(flood.read(), Ok(Message::Text(_))) {}
            std::thread::sleep(Duration::from_millis(2));
        }));
    }

    // From here on everybody is there.
    std::thread::sleep(Duration::from_secs(1));
    let before = venue.memory_kib();
    let begun = Instant::now();
    let mut readings = vec![before];
    while let Some(left) = storm_for.checked_sub(begun.elapsed()) {
        std::thread::sleep(left.min(RENEWED_EVERY));
        readings.push(venue.memory_kib());
        if left > RENEWED_EVERY {
            held = (0..BAD_OF_A_KIND).map(|_| slow(&venue)).collect();
            stuck = half_open(&address);
        }
    }
    let after = venue.memory_kib();
    stop.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().unwrap();
    }
    drop((held, stuck));
    let (code, goodbye) = venue.stop();
    let counters = &goodbye["server"]["counters"];
    let slowest = Duration::from_micros(slowest.load(Ordering::Relaxed));
    println!(
        "{} good clients: {} frames, 0 gaps, slowest pong {slowest:?}; memory {before} KiB before \
         the storm, {after} KiB behind it, in between {readings:?}; the exchange counted {counters}",
        GOOD,
        frames.load(Ordering::Relaxed)
    );
    assert_eq!(code, Some(0));
    assert!(slowest < PONG_MAX, "{slowest:?}");
    assert!(after < before + GROWTH_MAX_KIB, "{before} KiB, then {after} KiB");
    let count = |name: &str| counters[name].as_u64().unwrap();
    assert!(count("socket_peak") >= 200, "{counters}");
    assert!(count("stall_cut") + count("slow_cut") >= BAD_OF_A_KIND as u64, "{counters}");
    assert!(count("handshake_failed") > 20, "{counters}");
    assert!(count("message_malformed") > 20, "{counters}");
    assert!(count("handshake_timed_out") >= 2, "{counters}");
}
