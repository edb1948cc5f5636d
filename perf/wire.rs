//! Wire to wire over loopback, in an open loop: the stub sends a market frame when the schedule
//! says so and waits for the order it causes. Beside it, in the same run, a bare exchange of the
//! same sizes: a thread that does nothing but read the one and write the other. Both sides have a
//! core of their own.

use crate::feed::{Feed, client_order, instruments};
use crate::noise::Noise;
use crate::report::{Report, Spans};
use crate::rig::{RigConfig, public_config, risk_stage, signal_stage, subscriptions};
use crate::stub::{Inbox, Signed, Stub, Wire};
use genesis::base::time::{SpanNs, Tsc};
use genesis::engine::risk::RestFallback;
use genesis::engine::send::{Gate, GateConfig};
use genesis::engine::sequencer::ClockPolicy;
use genesis::io::clock::Clock;
use genesis::io::dial::{DialSpec, WsUrl};
use genesis::io::rest::RestConfig;
use genesis::io::socket::SocketOptions;
use genesis::io::syscall;
use genesis::io::tls::{Trust, client_config};
use genesis::io::tls_server::ServerTls;
use genesis::io::wal::{self, Recycle, WalConfig};
use genesis::line::connect::ConnectConfig;
use genesis::line::nonce::NonceAllocator;
use genesis::line::rest::{KeyPlan, LimitTable, NoRecords, SchedulerConfig};
use genesis::model::{OrderSent, Rank, Timeframe};
use genesis::ring::Latch;
use genesis::runtime::cold::rest::RestPlan;
use genesis::runtime::cpu::CpuMap;
use genesis::runtime::engine::{EnginePlan, Running, Stopped, TradingPlan};
use genesis::runtime::plane::{NonceSource, PlaneConfig, PlaneKey, PlaneThreads, RestPlane};
use genesis::runtime::topology::{
    CorePick, Layout, StageKind, ThreadClass, ThreadSpec, TopologySpec, resolve,
};
use genesis::runtime::wait::WaitKind;
use genesis::venue::private::PrivateConfig;
use genesis::venue::sign::ApiKey;
use serde_json::json;
use std::io::{self, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// One market frame every so often, nanoseconds.
const PACE_NS: u64 = 200_000;
/// An order that takes longer is lost, nanoseconds.
const ORDER_NS_MAX: u64 = 200_000_000;
/// Frames sent until the engine is ready, and how long each is waited for, nanoseconds.
const READY_TRIES_MAX: u32 = 500;
const READY_NS: u64 = 20_000_000;
/// Between two rounds of heartbeats, nanoseconds.
const BEAT_NS: u64 = 5_000_000_000;
/// Wire to wire of the engine over that of the bare exchange, at most.
const RATIO_REACH: f64 = 1.2;
/// Socket readable to write returned over TLS, p50, nanoseconds.
const T2_REACH_NS: f64 = 15_000.0;
/// Book updates a second through sockets.
const THROUGHPUT_REACH: f64 = 2_000_000.0;

/// Cores of the two sides.
#[derive(Clone, Copy)]
pub struct Cores {
    pub stub: usize,
    pub engine: usize,
}

/// A directory of this program, gone afterwards.
struct Scratch(PathBuf);
impl Scratch {
    fn new(name: &str) -> Scratch {
        let base = WalConfig::default().dir;
        let dir = base.with_file_name(format!("genesis-perf-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory beside the write-ahead log");
        Scratch(dir)
    }
}
impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An engine on loopback, with what cold threads would hold.
pub struct Engine {
    running: Running,
    tail: wal::WalTail,
    /// Kept until the engine has ended.
    _lanes: PlaneThreads,
    _stub: Stub,
    _scratch: Scratch,
}

fn tls_of(scratch: &Scratch, made: &ServerTls) -> Result<Trust, String> {
    let path = scratch.0.join("ca.pem");
    std::fs::write(&path, &made.ca_pem).map_err(|error| error.to_string())?;
    Ok(Trust::CaFile(path))
}

/// An engine signed in at a stub.
///
/// # Errors
/// What could not be set up.
pub fn start(
    clock: &Clock,
    cores: Cores,
    config: &RigConfig,
    tls: bool,
) -> Result<(Engine, Signed, Feed), String> {
    let scratch = Scratch::new(if tls { "wss" } else { "ws" });
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let server = if tls { Some(ServerTls::generate().map_err(|e| text(&e))?) } else { None };
    let trust = server.as_ref().map(|made| tls_of(&scratch, made)).transpose()?;
    let stub = Stub::new(server).map_err(|e| text(&e))?;
    let scheme = if tls { "wss" } else { "ws" };
    let url = format!("{scheme}://{}/ws/2", stub.address);
    let client = trust.as_ref().map(client_config).transpose().map_err(|e| text(&e))?;
    let target = DialSpec {
        url: WsUrl::parse(&url).ok_or("an address that is none")?,
        tls: client,
        options: SocketOptions::default(),
        deadline: Duration::from_secs(10),
        loopback_only: true,
        user_agent: "genesis".to_owned(),
    };
    let key = || ApiKey::new("id", b"secret").map_err(|error| format!("{error:?}"));
    let nonces = NonceSource::Memory(NonceAllocator::new(0));
    let rest_key = Some(PlaneKey { key: key()?, nonces: nonces.clone() });
    let rest_url = format!("http://{}", stub.rest_address);
    let plane = PlaneConfig {
        public_url: rest_url.clone(),
        private_url: rest_url,
        keys: [None, rest_key, None],
        http: RestConfig { loopback_only: true, ..RestConfig::default() },
        scheduler: SchedulerConfig::new(LimitTable::default(), KeyPlan::APART, 1),
        lanes: 1,
        keep_warm: None,
    };
    let (plane, lanes) =
        RestPlane::start(plane, Box::new(NoRecords), clock.clone(), &[]).map_err(|e| text(&e))?;
    let trading = TradingPlan {
        target: target.clone(),
        session: PrivateConfig::default(),
        key: key()?,
        nonces,
        rest: RestPlan {
            plane,
            account_apart: SpanNs::from_s(1),
            cancel_only_when_down: true,
            listing: None,
        },
        rest_fallback: RestFallback::default(),
        connect: ConnectConfig::default(),
    };
    let threads = vec![ThreadSpec {
        name: "hot".to_owned(),
        stages: StageKind::ALL.to_vec(),
        core: CorePick::Cpu(cores.engine),
        wait: WaitKind::Spin,
        class: ThreadClass::Normal,
    }];
    let spec = TopologySpec { layout: Layout::Explicit, threads, ..TopologySpec::default() };
    let topology = resolve(&spec, &CpuMap::of_this_machine()).map_err(|p| format!("{p:?}"))?;
    let wal_config = WalConfig {
        dir: scratch.0.join("wal"),
        recycle: Recycle::WhenReleased,
        ..WalConfig::default()
    };
    let (wal, tail, _) = wal::open(&wal_config).map_err(|e| text(&e))?;
    let plan = EnginePlan {
        instruments: instruments(config.symbols),
        sockets: vec![subscriptions(config)],
        market_target: target,
        public: public_config(config),
        connect: ConnectConfig::default(),
        trading,
        policy: ClockPolicy::Host,
        tick_ms: 50,
        timeframes: vec![Timeframe::M1, Timeframe::M5],
        signal: signal_stage(config),
        risk: risk_stage(config),
        gate: Gate::new(GateConfig { order_age_max_ns: 100_000_000 }),
        gid: Some(1),
        warm_up: Vec::new(),
        latch: Latch::new(Rank::EntriesBlocked as u8),
        wal,
        topology,
        input_log: None,
        log_stalls: false,
        is_watched: true,
        clock: clock.clone(),
        seed: 1,
    };
    let mut feed = Feed::new(config.symbols, 1);
    let channels = subscriptions(config).len();
    let (running, signed) = std::thread::scope(|scope| {
        let accepting = scope.spawn(|| stub.accept(&mut feed, channels));
        let running = plan.start()?;
        let signed = accepting.join().map_err(|_| "the stub panicked".to_owned())?;
        Ok::<_, String>((running, signed.map_err(|error| error.to_string())?))
    })?;
    let engine = Engine { running, tail, _lanes: lanes, _stub: stub, _scratch: scratch };
    Ok((engine, signed, feed))
}

/// What one side of the comparison said, stamped by the stub.
struct Side {
    /// Write to read of the order.
    wire: Spans,
    /// Schedule to read of the order: what a late start costs is in it.
    scheduled: Spans,
    /// Stretches of the counter, and whether each was clean.
    windows: Vec<(u64, u64, bool)>,
    noise: Noise,
    sent: u64,
    lost: u64,
    /// Bytes of a market frame and of an order frame, the last ones.
    sizes: (usize, usize),
}
impl Side {
    fn new(name: &str) -> Side {
        Side {
            wire: Spans::new(&format!("wire to wire, {name}")),
            scheduled: Spans::new(&format!("from the schedule, {name}")),
            windows: Vec::new(),
            noise: Noise::new(),
            sent: 0,
            lost: 0,
            sizes: (0, 0),
        }
    }
}

/// Sends market frames by the schedule for `span_ns`, or `frames_max`, and waits for their orders.
fn exchange(
    clock: &Clock,
    signed: &mut Signed,
    feed: &mut Feed,
    side: &mut Side,
    (span_ns, frames_max): (u64, u64),
    beats: bool,
) -> io::Result<()> {
    signed.trading.set_nonblocking(true)?;
    let mut inbox = Inbox::default();
    let (mut frame, mut answer) = (Vec::with_capacity(256), Vec::with_capacity(2_048));
    let every = clock.ticks_of_ns(PACE_NS);
    let until = clock.tsc().0 + clock.ticks_of_ns(span_ns);
    let (lost_after, beat_every) = (clock.ticks_of_ns(ORDER_NS_MAX), clock.ticks_of_ns(BEAT_NS));
    // A bare exchange knows no heartbeats: it would answer them.
    let mut beat_at = if beats { clock.tsc().0 } else { u64::MAX };
    let mut frames = 0;
    // The account may not be reconciled yet: until the first order comes, nothing is counted.
    for _ in 0..READY_TRIES_MAX {
        frame.clear();
        feed.book_frame(&mut frame);
        signed.market.write_all(&frame)?;
        signed.market.flush()?;
        let until = clock.tsc().0 + clock.ticks_of_ns(READY_NS);
        while clock.tsc().0 < until && !inbox.poll(&mut signed.trading)? {}
        if let Some((text, _)) = inbox.take() {
            answer.clear();
            feed.filled_text(&text, &mut answer);
            signed.trading.write_all(&answer)?;
            signed.trading.flush()?;
            break;
        }
    }
    let mut due = clock.tsc().0 + every;
    let mut window_from = clock.tsc().0;
    side.noise.resume();
    while clock.tsc().0 < until && frames < frames_max {
        frames += 1;
        frame.clear();
        if clock.tsc().0 >= beat_at {
            beat_at = clock.tsc().0 + beat_every;
            feed.heartbeats(&mut frame);
            signed.market.write_all(&frame)?;
            frame.clear();
        }
        feed.book_frame(&mut frame);
        let mut window = None;
        side.noise.resume();
        while clock.tsc().0 < due {
            window = window.or(side.noise.turn());
            std::hint::spin_loop();
        }
        let written = clock.tsc();
        signed.market.write_all(&frame)?;
        signed.market.flush()?;
        side.sent += 1;
        let arrived = loop {
            if inbox.poll(&mut signed.trading)? {
                break Some(clock.tsc());
            }
            window = window.or(side.noise.turn());
            if clock.tsc().0 > written.0 + lost_after {
                break None;
            }
        };
        match (arrived, inbox.take()) {
            (Some(arrived), Some((text, size))) => {
                side.wire.note(clock.span_ns(written, arrived).unwrap_or(0));
                side.scheduled.note(clock.span_ns(Tsc(due), arrived).unwrap_or(0));
                side.sizes = (frame.len(), size);
                answer.clear();
                feed.filled_text(&text, &mut answer);
                // Written whole: a small answer into an empty buffer.
                signed.trading.write_all(&answer)?;
                signed.trading.flush()?;
            }
            _ => side.lost += 1,
        }
        if let Some(clean) = window {
            side.wire.end_window(clean);
            side.scheduled.end_window(clean);
            let now = clock.tsc().0;
            side.windows.push((window_from, now, clean));
            window_from = now;
        }
        due += every;
        // A stall of the machine is no backlog of the venue's: the schedule goes on from here.
        let now = clock.tsc().0;
        if now > due + 64 * every {
            due = now;
        }
    }
    side.wire.end_window(false);
    side.scheduled.end_window(false);
    Ok(())
}

/// The bare other end: reads one socket, writes the other, knows nothing.
fn bare(
    mut market: TcpStream,
    mut trading: TcpStream,
    core: usize,
    order: &[u8],
    stop: &AtomicBool,
) {
    use std::io::Read as _;
    let _ = syscall::pin(core);
    let _ = market.set_nonblocking(true);
    let _ = trading.set_nonblocking(true);
    let (mut bytes, mut used) = ([0u8; 4_096], 0);
    let mut waste = [0u8; 4_096];
    while !stop.load(Ordering::Relaxed) {
        match market.read(&mut bytes[used..]) {
            Ok(0) => return,
            Ok(count) => used += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(_) => return,
        }
        // A short server frame says its length in its second byte.
        while used >= 2 && used >= 2 + bytes[1] as usize {
            let size = 2 + bytes[1] as usize;
            // Heartbeats and snapshots ask for no order; here there are none.
            if trading.write_all(order).is_err() {
                return;
            }
            bytes.copy_within(size..used, 0);
            used -= size;
        }
        // The venue's answers to orders: taken from the kernel, not looked at.
        while matches!(trading.read(&mut waste), Ok(count) if count > 0) {}
    }
}

fn bare_pair() -> io::Result<(Signed, TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let pair = || -> io::Result<(TcpStream, TcpStream)> {
        let near = TcpStream::connect(listener.local_addr()?)?;
        let (far, _) = listener.accept()?;
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        Ok((near, far))
    };
    let (market, engine_market) = pair()?;
    let (trading, engine_trading) = pair()?;
    let signed = Signed { market: Wire::Plain(market), trading: Wire::Plain(trading) };
    Ok((signed, engine_market, engine_trading))
}

/// Orders of the engine as its own taps saw them.
#[derive(Default)]
pub struct Seen {
    sent: Vec<OrderSent>,
}
impl Seen {
    /// T1 and T2, each sample judged by the stub's window that it fell into.
    fn spans(&self, clock: &Clock, windows: &[(u64, u64, bool)], name: &str) -> (Spans, Spans) {
        let (mut t1, mut t2) =
            (Spans::new(&format!("T1, {name}")), Spans::new(&format!("T2, {name}")));
        let mut place = 0;
        for sent in &self.sent {
            while place < windows.len() && windows[place].1 < sent.written.0 {
                t1.end_window(windows[place].2);
                t2.end_window(windows[place].2);
                place += 1;
            }
            let Some(window) = windows.get(place) else { break };
            if sent.trace.recv.0 >= window.0 {
                t1.note(clock.span_ns(sent.trace.framed, sent.encoded).unwrap_or(0));
                t2.note(clock.span_ns(sent.trace.recv, sent.written).unwrap_or(0));
            }
        }
        let last = windows.get(place).is_some_and(|window| window.2);
        t1.end_window(last);
        t2.end_window(last);
        (t1, t2)
    }
}

impl Engine {
    /// Empties taps and write-ahead log until told to stop, as cold threads do.
    pub fn watch(&mut self, stop: &AtomicBool, seen: &mut Seen) {
        loop {
            let last = stop.load(Ordering::Acquire);
            let taps = &mut self.running.taps;
            while let Some(sent) = taps.sent.pop() {
                seen.sent.push(sent);
            }
            while taps.seen.pop().is_some() {}
            while taps.parse.pop().is_some() {}
            while taps.signal.pop().is_some() {}
            while taps.risk.pop().is_some() {}
            let _ = self.tail.poll(u32::MAX, |_| {});
            self.tail.release();
            if last {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    pub fn latch(&self) -> Latch {
        self.running.latch.clone()
    }
    /// Ends it.
    ///
    /// # Errors
    /// It had ended by itself, and why.
    pub fn stop(self) -> Result<Stopped, String> {
        if let Some(failure) = self.running.failure() {
            return Err(failure);
        }
        self.running.stop().map(|(stopped, _)| stopped)
    }
}

/// What must hold of an engine after its run.
pub fn check(stopped: &Stopped, name: &str) {
    let line = &stopped.parse.line;
    let public = *line.publics().next().expect("a market socket").counters();
    assert_eq!((public.seq_gaps, public.unknown, public.malformed), (0, 0, 0), "{name}");
    assert_eq!((public.crc_failed, public.book_crossed, public.resyncs), (0, 0, 0), "{name}");
    let private = *line.private().expect("a trading socket").counters();
    assert_eq!((private.seq_gaps, private.unknown, private.malformed), (0, 0, 0), "{name}");
    assert_eq!(line.mouth().counters().book_conflated, 0, "{name}: nothing conflated");
    assert_eq!(stopped.send.tap_dropped, 0, "{name}");
}

/// One stretch of the comparison: the stub on its own core, the other side at work.
fn stretch(
    clock: &Clock,
    cores: Cores,
    (signed, feed, side): (&mut Signed, &mut Feed, &mut Side),
    span: (u64, u64),
    beats: bool,
    mut meanwhile: impl FnMut(&AtomicBool),
) -> Result<(), String> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let pinned = syscall::pin(cores.stub);
            let result = exchange(clock, signed, feed, side, span, beats);
            done.store(true, Ordering::Release);
            pinned.map_err(|error| format!("{error:?}"))?;
            result.map_err(|error| error.to_string())
        });
        meanwhile(&done);
        sending.join().map_err(|_| "the stub panicked".to_owned())?
    })
}

/// Wire to wire and T2: plain ws beside the bare exchange, A B B A, then TLS.
///
/// # Errors
/// What could not be set up, or an engine that ended by itself.
pub fn measure(
    clock: &Clock,
    cores: Cores,
    span_s: f64,
    frames_max: u64,
    report: &mut Report,
) -> Result<(), String> {
    let config = RigConfig::default();
    let span = ((span_s * 1e9) as u64, frames_max);
    let (mut bare_side, mut plain, mut tls) =
        (Side::new("bare"), Side::new("ws"), Side::new("wss"));

    // A short one first: how long an order frame is.
    let (mut engine, mut signed, mut feed) = start(clock, cores, &config, false)?;
    let (mut warm, mut seen) = (Side::new("warm-up"), Seen::default());
    let parts = (&mut signed, &mut feed, &mut warm);
    stretch(clock, cores, parts, (500_000_000, 50), true, |stop| engine.watch(stop, &mut seen))?;
    engine.stop().map(|stopped| check(&stopped, "warm-up"))?;
    seen.sent.clear();
    let order_size = warm.sizes.1;
    let bare_stretch = |span, side: &mut Side| -> Result<(), String> {
        let (mut signed, market, trading) = bare_pair().map_err(|error| error.to_string())?;
        let mut feed = Feed::new(config.symbols, 1);
        let stop = AtomicBool::new(false);
        let order = client_order(order_size);
        std::thread::scope(|scope| {
            scope.spawn(|| bare(market, trading, cores.engine, &order, &stop));
            let parts = (&mut signed, &mut feed, side);
            let result = stretch(clock, cores, parts, span, false, |_| {});
            stop.store(true, Ordering::Release);
            result
        })
    };
    // A hot thread spins on its core all the time, so an engine is made anew for each stretch.
    for is_engine in [false, true, true, false] {
        if is_engine {
            let (mut engine, mut signed, mut feed) = start(clock, cores, &config, false)?;
            let parts = (&mut signed, &mut feed, &mut plain);
            stretch(clock, cores, parts, span, true, |stop| engine.watch(stop, &mut seen))?;
            engine.stop().map(|stopped| check(&stopped, "ws"))?;
        } else {
            bare_stretch(span, &mut bare_side)?;
        }
    }
    let mut seen_tls = Seen::default();
    let (mut engine, mut signed, mut feed) = start(clock, cores, &config, true)?;
    let parts = (&mut signed, &mut feed, &mut tls);
    stretch(clock, cores, parts, span, true, |stop| engine.watch(stop, &mut seen_tls))?;
    engine.stop().map(|stopped| check(&stopped, "wss"))?;

    println!(
        "Wire to wire, one frame per {} us, stub on CPU {}, engine on CPU {}",
        PACE_NS / 1_000,
        cores.stub,
        cores.engine
    );
    for side in [&bare_side, &plain, &tls] {
        side.wire.print();
        side.scheduled.print();
    }
    let (t1, t2) = seen.spans(clock, &plain.windows, "ws");
    let (t1_tls, t2_tls) = seen_tls.spans(clock, &tls.windows, "wss");
    for spans in [&t1, &t2, &t1_tls, &t2_tls] {
        spans.print();
    }
    for (name, side) in [("bare", &bare_side), ("ws", &plain), ("wss", &tls)] {
        println!(
            "  {name}: {} frames of {} bytes, orders of {}, {} lost; {}",
            side.sent,
            side.sizes.0,
            side.sizes.1,
            side.lost,
            side.noise.label()
        );
        report.put(&format!("wire_{name}_ns"), side.wire.json());
        report.put(&format!("wire_{name}_scheduled_ns"), side.scheduled.json());
        report.put(&format!("wire_{name}_noise"), json!(side.noise.label()));
        report.put(&format!("wire_{name}_lost"), json!(side.lost));
    }
    for (name, spans) in [("t1_ws", &t1), ("t2_ws", &t2), ("t1_wss", &t1_tls), ("t2_wss", &t2_tls)]
    {
        report.put(&format!("{name}_ns"), spans.json());
    }
    let noisy = [&bare_side, &plain, &tls].iter().any(|side| side.noise.is_noisy());
    let ratio = plain.wire.best().p50 as f64 / bare_side.wire.best().p50.max(1) as f64;
    report.judge("wire_ratio", (ratio * 1_000.0).round() / 1_000.0, RATIO_REACH, true, noisy);
    report.judge("t2_wss_p50_ns", t2_tls.best().p50 as f64, T2_REACH_NS, true, noisy);
    Ok(())
}

/// A websocket ping, and its answer waited for: all that was sent before it has been handled then.
fn pong(market: &mut Wire) -> io::Result<()> {
    market.write_all(&[0x89, 0])?;
    market.flush()?;
    let mut inbox = Inbox::default();
    loop {
        if inbox.poll(market)? && inbox.take_if(0x8a) {
            return Ok(());
        }
    }
}

/// Updates a second through a socket: the stub writes as fast as the engine reads.
///
/// # Errors
/// As above.
pub fn flood(
    clock: &Clock,
    cores: Cores,
    frames: usize,
    report: &mut Report,
) -> Result<(), String> {
    let config = RigConfig { every_changes: u32::MAX, ..RigConfig::default() };
    let (mut engine, mut signed, mut feed) = start(clock, cores, &config, false)?;
    let mut bytes = Vec::with_capacity(frames * 72);
    for _ in 0..frames {
        feed.book_frame(&mut bytes);
    }
    let done = AtomicBool::new(false);
    let mut seen = Seen::default();
    let span_ns = std::thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let _ = syscall::pin(cores.stub);
            let started = clock.tsc();
            let result = signed.market.write_all(&bytes).and_then(|()| pong(&mut signed.market));
            let span_ns = clock.span_ns(started, clock.tsc()).unwrap_or(1);
            done.store(true, Ordering::Release);
            result.map(|()| span_ns).map_err(|error| error.to_string())
        });
        engine.watch(&done, &mut seen);
        sending.join().map_err(|_| "the stub panicked".to_owned())?
    })?;
    let stopped = engine.stop()?;
    check(&stopped, "flood");
    let updates = stopped.parse.line.counters().book_update - config.symbols as u64;
    assert_eq!(updates, frames as u64, "every update arrived");
    let per_s = (frames as f64 * 1e9 / span_ns as f64).round();
    println!("Flood: {frames} updates of {} bytes through one socket", bytes.len() / frames);
    report.judge("socket_updates_per_s", per_s, THROUGHPUT_REACH, false, false);
    Ok(())
}
