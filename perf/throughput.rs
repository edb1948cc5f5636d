//! Throughput in memory: how many book updates a second one core takes through decoding, books,
//! mouth, indicators and risk, one update a frame, nothing conflated; and where the time goes, by
//! leaving the line off behind each of its parts.

use crate::feed::Feed;
use crate::noise::Noise;
use crate::report::Report;
use crate::rig::{Line, MARKET, Reach, Rig, RigConfig, Venue, public_session};
use crate::rings::Rings;
use genesis::base::ids::SymbolId;
use genesis::base::limits::CHUNK_SIZE;
use genesis::base::time::{MonoNs, WallNs};
use genesis::io::clock::Clock;
use genesis::model::*;
use genesis::venue::public::{BookRef, FeedSink, PublicSession, PublicTrade};
use genesis::venue::ws::{WsDecoder, WsMessage};
use serde_json::json;
use std::hint::black_box;

/// Frames made at a time; making them is not timed.
const FRAMES_A_PASS: usize = 100_000;
/// One of so many frames is a trade, so that indicators have something to do.
const TRADE_EVERY: usize = 32;
/// Updates a second to reach in memory, so that sockets leave room for two million.
const REACH: f64 = 3_000_000.0;

/// Buffers as reads would fill them, whole frames, and how many of them are book updates.
fn fill(feed: &mut Feed, frames: usize, chunks: &mut Vec<Vec<u8>>) -> u64 {
    let mut updates = 0;
    let mut used = 0;
    for number in 0..frames {
        if chunks.get(used).is_none_or(|chunk| chunk.len() + 128 > CHUNK_SIZE) {
            used += usize::from(chunks.get(used).is_some());
            if chunks.len() == used {
                chunks.push(Vec::with_capacity(CHUNK_SIZE));
            }
            chunks[used].clear();
        }
        if number % TRADE_EVERY == 0 {
            feed.trade_frame(&mut chunks[used]);
        } else {
            feed.book_frame(&mut chunks[used]);
            updates += 1;
        }
    }
    chunks.truncate(used + 1);
    updates
}

/// What is timed: takes one buffer.
trait Take {
    fn take(&mut self, bytes: &[u8]);
}

/// Frames taken apart, their texts looked at by nobody.
struct Deframe(WsDecoder);
impl Take for Deframe {
    fn take(&mut self, bytes: &[u8]) {
        let mut pos = 0;
        while let Ok(Some(message)) = self.0.next(bytes, &mut pos) {
            black_box(&message);
        }
    }
}

/// Texts decoded and books changed; their views are made, and dropped.
struct Session {
    decoder: WsDecoder,
    session: PublicSession,
    sink: Dropped,
    now: u64,
}
#[derive(Default)]
struct Dropped;
impl FeedSink for Dropped {
    fn book(&mut self, symbol: SymbolId, book: BookRef<'_>, venue_at: WallNs, updates: u16) {
        black_box(book.view(symbol, venue_at, updates));
    }
    fn trade(&mut self, _: SymbolId, trade: PublicTrade, _: bool) {
        black_box(trade);
    }
    fn ticker(&mut self, _: Ticker) {}
    fn status(&mut self, _: DerivStatus) {}
    fn candle(&mut self, _: Bar, _: bool) {}
    fn sync(&mut self, _: SymbolSync) {}
    fn quiet(&mut self, _: ChannelQuiet) {}
    fn link(&mut self, _: LinkState, _: i32) {}
    fn market_time(&mut self, at: WallNs) {
        black_box(at);
    }
    fn ws_gap(&mut self, _: SymbolId, _: ChannelKind, gap_ns: u64) {
        black_box(gap_ns);
    }
}
impl Session {
    fn new(config: &RigConfig, feed: &mut Feed) -> Session {
        let mut made = Session {
            decoder: WsDecoder::new(),
            session: public_session(config),
            sink: Dropped,
            now: 1,
        };
        made.session.on_open(MonoNs(1), &mut made.sink);
        let (mut bytes, mut out) = (Vec::new(), [0; 4_096]);
        feed.hello(&mut bytes);
        made.take(&bytes);
        while let Some(len) = made.session.poll_transmit(MonoNs(2), &mut out) {
            bytes.clear();
            feed.answer(&String::from_utf8_lossy(&out[..len]), &mut bytes);
            made.take(&bytes);
        }
        made
    }
}
impl Take for Session {
    fn take(&mut self, bytes: &[u8]) {
        let mut pos = 0;
        while let Ok(Some(message)) = self.decoder.next(bytes, &mut pos) {
            if let WsMessage::Text(text) = message {
                self.now += 100;
                self.session.on_message(text, MonoNs(self.now), &mut self.sink);
            }
        }
    }
}

/// The line, as far as it is told to go.
struct Whole<L: Line> {
    line: L,
    venue: Venue,
}
impl<L: Line> Take for Whole<L> {
    fn take(&mut self, bytes: &[u8]) {
        self.line.give(MARKET, bytes);
        self.venue.settle(&mut self.line);
    }
}

/// Nanoseconds an update of the quickest pass, and of all passes together.
fn drive(
    clock: &Clock,
    take: &mut impl Take,
    mut feed: impl FnMut(&mut Vec<Vec<u8>>) -> u64,
    passes: usize,
    noise: &mut Noise,
) -> (f64, f64, u64) {
    let mut chunks = Vec::new();
    // As a read does it: the kernel's copy is warm when the line sees it.
    let mut buffer = Vec::with_capacity(CHUNK_SIZE);
    let (mut best, mut total_ns, mut total) = (f64::MAX, 0, 0);
    for _ in 0..passes {
        let updates = feed(&mut chunks);
        noise.resume();
        let started = clock.tsc();
        for chunk in &chunks {
            buffer.clear();
            buffer.extend_from_slice(chunk);
            take.take(&buffer);
            let _ = noise.turn();
        }
        let span_ns = clock.span_ns(started, clock.tsc()).unwrap_or(0);
        best = best.min(span_ns as f64 / updates as f64);
        total_ns += span_ns;
        total += updates;
    }
    (best, total_ns as f64 / total as f64, total)
}

/// Each part by the difference between a line that ends behind it and one that ends before it.
pub fn measure(clock: &Clock, passes: usize, frames: usize, report: &mut Report) {
    let frames = frames.min(FRAMES_A_PASS);
    let config = RigConfig { every_changes: u32::MAX, ..RigConfig::default() };
    let mut rows: Vec<(&str, f64, f64)> = Vec::new();
    let mut noise = Noise::new();
    let mut feed = Feed::new(config.symbols, 1);

    let mut deframe = Deframe(WsDecoder::new());
    let (best, mean, _) =
        drive(clock, &mut deframe, |c| fill(&mut feed, frames, c), passes, &mut noise);
    rows.push(("frames", best, mean));

    let mut feed = Feed::new(config.symbols, 1);
    let mut session = Session::new(&config, &mut feed);
    let (best, mean, updates) =
        drive(clock, &mut session, |c| fill(&mut feed, frames, c), passes, &mut noise);
    let counters = session.session.counters();
    assert_eq!((counters.book_updates, counters.seq_gaps, counters.unknown), (updates, 0, 0));
    rows.push(("+ decoding, books, views", best, mean));

    let mut last = (0.0, 0.0);
    for (name, reach) in [
        ("+ front: bars, sequencer, mouth", Reach::Front),
        ("+ signal", Reach::Signal),
        ("+ risk", Reach::Whole),
    ] {
        let (mut line, mut venue) = Rig::new(config, clock.clone());
        line.back.reach = reach;
        let mut feed = std::mem::replace(&mut venue.feed, Feed::new(1, 1));
        let mut whole = Whole { line, venue };
        let (best, mean, updates) =
            drive(clock, &mut whole, |c| fill(&mut feed, frames, c), passes, &mut noise);
        let counters = whole.line.front().counters();
        // The snapshots of the sign-in count as one update each.
        assert_eq!(counters.book_update, updates + config.symbols as u64);
        whole.venue.check(&whole.line);
        rows.push((name, best, mean));
        last = (best, mean);
    }

    let (line, mut venue) = Rings::new(config, clock.clone());
    let mut feed = std::mem::replace(&mut venue.feed, Feed::new(1, 1));
    let mut whole = Whole { line, venue };
    let (rings, rings_mean, _) =
        drive(clock, &mut whole, |c| fill(&mut feed, frames, c), passes, &mut noise);
    whole.venue.check(&whole.line);

    println!("Throughput in memory, one update a frame, {}", noise.label());
    let mut before = 0.0;
    for (name, best, mean) in &rows {
        println!("  {name:<34} {best:6.1} ns an update ({:+.1}), mean {mean:.1}", best - before);
        before = *best;
    }
    println!(
        "  {:<34} {rings:6.1} ns an update, mean {rings_mean:.1}",
        "rings, taps and log of a run"
    );
    let parts: Vec<_> =
        rows.iter().map(|(n, best, mean)| json!({"to": n, "ns": best, "ns_mean": mean})).collect();
    report.put("throughput_parts", json!(parts));
    report.put("throughput_noise", json!(noise.label()));
    let per_s = |ns: f64| (1e9 / ns).round();
    report.put("throughput_mean_per_s", json!(per_s(last.1)));
    report.put("throughput_rings_mean_per_s", json!(per_s(rings_mean)));
    report.judge("throughput_per_s", per_s(last.0), REACH, false, noise.is_noisy());
    report.judge("throughput_rings_per_s", per_s(rings), REACH, false, noise.is_noisy());
}
