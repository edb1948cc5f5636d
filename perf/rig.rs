//! The line in one thread without sockets: the stages of a run, made as a run makes them, the real
//! write-ahead log, and the real clock. What differs from a run is that no limit on the number or
//! the pace of orders stands in the way, because the venue answers as fast as it is asked.

use crate::feed::{Feed, client_text, instruments};
use genesis::base::ids::ConnId;
use genesis::base::time::Tsc;
use genesis::base::units::{Qty, Quote};
use genesis::engine::bars::{BarBuilder, BarsConfig};
use genesis::engine::mouth::{Mouth, MouthConfig, MouthOut};
use genesis::engine::orders::OrdersConfig;
use genesis::engine::risk::{Guard, GuardMode, Limits, RiskConfig, RiskStage};
use genesis::engine::send::{Gate, GateConfig};
use genesis::engine::sequencer::{ClockPolicy, Sequencer};
use genesis::engine::signal::{SignalConfig, SignalStage};
use genesis::engine::stage::{Direct, Stage};
use genesis::engine::strategy::{AnyStrategy, Probe, ProbeConfig, ProbeStyle};
use genesis::io::clock::{Clock, TurnClock};
use genesis::io::wal::{Recycle, WalConfig, WalTail, WalWriter};
use genesis::line::Now;
use genesis::line::parse::{NoTap, ParseLine};
use genesis::line::send::{Door, ORDER_FRAME_MAX, SendLine, WAL_RECORD_SIZE, WriteAhead};
use genesis::model::*;
use genesis::venue::private::{PrivateConfig, PrivateSession};
use genesis::venue::public::{
    Frequency, Precision, PublicConfig, PublicSession, Subscription, conf,
};
use genesis::venue::sign::ApiKey;
use genesis::venue::symbols::SymbolTable;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The market-data socket and the trading socket.
pub const MARKET: ConnId = ConnId(0);
pub const TRADING: ConnId = ConnId(1);
/// Kind of the write-ahead records, as a run writes them.
const WAL_KIND: u16 = 1;

/// What a rig is made of.
#[derive(Clone, Copy, Debug)]
pub struct RigConfig {
    pub symbols: usize,
    /// Book changes of a symbol per order.
    pub every_changes: u32,
    /// `conf` flags of the public socket.
    pub flags: u32,
}
impl Default for RigConfig {
    fn default() -> Self {
        let flags = conf::TIMESTAMP | conf::SEQ_ALL | conf::OB_CHECKSUM;
        Self { symbols: 4, every_changes: 1, flags }
    }
}

pub fn public_config(config: &RigConfig) -> PublicConfig {
    PublicConfig { flags: config.flags, ..PublicConfig::default() }
}
/// Book, trades and ticker of every symbol.
pub fn subscriptions(config: &RigConfig) -> Vec<Subscription> {
    let channels = |symbol| {
        [
            Subscription::book(symbol, Precision::P0, Frequency::F0, 25),
            Subscription::trades(symbol),
            Subscription::ticker(symbol),
        ]
    };
    instruments(config.symbols).into_iter().flat_map(|row| channels(row.id)).collect()
}
pub fn public_session(config: &RigConfig) -> PublicSession {
    let table = SymbolTable::new(&instruments(config.symbols));
    PublicSession::new(public_config(config), &subscriptions(config), table)
}

/// The front with its sessions, sockets 0 (market) and 1 (trading).
pub fn parse_line(config: &RigConfig) -> ParseLine {
    let rows = instruments(config.symbols);
    let table = SymbolTable::new(&rows);
    let bars = BarsConfig { symbols: rows.len(), ..BarsConfig::default() };
    let mouth = MouthConfig { symbols: rows.len(), ..MouthConfig::default() };
    let mouth = Mouth::new(Sequencer::new(ClockPolicy::Host, 50), mouth);
    let mut line = ParseLine::new(BarBuilder::new(bars), mouth, 7);
    assert_eq!(line.add_public(public_session(config)), MARKET);
    let key = ApiKey::new("id", b"secret").expect("a plain key");
    let private = PrivateConfig { conn: TRADING, ..PrivateConfig::default() };
    assert_eq!(line.add_private(PrivateSession::new(private, key, table)), TRADING);
    line
}

/// Indicators of a run, and the probe on every symbol.
pub fn signal_stage(config: &RigConfig) -> SignalStage {
    let rows = instruments(config.symbols);
    let probe = ProbeConfig {
        symbols: rows.iter().map(|row| row.id).collect(),
        every_changes: config.every_changes,
        style: ProbeStyle::Take,
        qty: Qty::parse("0.01").expect("a quantity"),
        orders_per_s_max: u32::MAX,
        ..ProbeConfig::default()
    };
    let config = SignalConfig {
        instruments: rows,
        strategies: vec![AnyStrategy::Probe(Probe::new(probe))],
        ..SignalConfig::default()
    };
    SignalStage::new(config).expect("a run's config")
}

/// Every guard asked, the count of orders in shadow: it says what it would have blocked.
pub fn risk_stage(config: &RigConfig) -> RiskStage {
    let mut guards = [GuardMode::On; Guard::COUNT];
    guards[Guard::OrderRate as usize] = GuardMode::Shadow;
    guards[Guard::Repeat as usize] = GuardMode::Off;
    // Nobody tells a wallet here.
    guards[Guard::UnknownEquity as usize] = GuardMode::Off;
    let limits = Limits {
        order_notional_max: Quote::from_whole(1_000_000),
        position_max: Quote::from_whole(10_000_000),
        open_orders_max: 64,
    };
    let risk = RiskConfig {
        limits,
        exposure_max: Quote::from_whole(100_000_000),
        collar_bps: 200,
        guards,
        ..RiskConfig::default()
    };
    RiskStage::new(
        risk,
        OrdersConfig { gid: 1, ..OrdersConfig::default() },
        &instruments(config.symbols),
    )
}

pub fn send_line(config: &RigConfig) -> SendLine {
    let table = SymbolTable::new(&instruments(config.symbols));
    SendLine::new(Gate::new(GateConfig::default()), table, Some(1), 11)
}

/// The write-ahead log of a run, in a directory of its own.
pub struct Wal {
    writer: WalWriter,
    tail: WalTail,
    dir: PathBuf,
}
impl Wal {
    pub fn open() -> Wal {
        // One after another in one process: each its own directory.
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let base = WalConfig::default().dir;
        let dir = base.with_file_name(format!("genesis-perf-{}-{count}", std::process::id()));
        let config =
            WalConfig { dir: dir.clone(), recycle: Recycle::WhenReleased, ..WalConfig::default() };
        let (writer, tail, _) = genesis::io::wal::open(&config).expect("a write-ahead log");
        Wal { writer, tail, dir }
    }
    /// What the journal thread does: reads what was kept, and lets its place be used again.
    pub fn drain(&mut self) {
        self.tail.poll(u32::MAX, |record| assert_eq!(record.kind, WAL_KIND)).expect("tmpfs reads");
        assert_eq!(self.tail.lost(), 0);
        self.tail.release();
    }
    pub fn dir(&self) -> &Path {
        &self.dir
    }
    pub fn kept(&self) -> u64 {
        self.writer.seq_next() - 1
    }
    /// True where the next few orders could find it full.
    pub fn is_nearly_full(&self) -> bool {
        self.writer.free() < 4_096
    }
}
impl WriteAhead for Wal {
    #[inline(always)]
    fn keep(&mut self, record: &[u8; WAL_RECORD_SIZE]) -> bool {
        self.writer.append(WAL_KIND, record).is_ok()
    }
}
impl Drop for Wal {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// An order that would have left, with the end of its T1.
#[derive(Clone, Copy)]
pub struct Sent {
    pub command: Command,
    pub encoded: Tsc,
}

/// Orders since the driver last looked, and what was refused at the door: a machine that takes the
/// core away for longer than an order may be old makes some.
pub struct Done {
    pub sent: Vec<Sent>,
    pub refused: Vec<(Command, SendOutcome)>,
}
impl Done {
    pub fn new() -> Done {
        Done { sent: Vec::with_capacity(1_024), refused: Vec::with_capacity(1_024) }
    }
}

/// A line that is driven from memory.
pub trait Line {
    /// All messages of `bytes`, as read just now.
    fn give(&mut self, conn: ConnId, bytes: &[u8]);
    /// What `send` says of a command.
    fn report(&mut self, report: SendReport);
    fn done(&mut self) -> &mut Done;
    /// What cold threads do meanwhile.
    fn between(&mut self);
    fn front(&self) -> &ParseLine;
    fn risk(&self) -> &RiskStage;
    fn send_line(&self) -> &SendLine;
    fn wal(&self) -> &Wal;
}

/// The other side of a line: the market, and the venue that fills every order at once.
pub struct Venue {
    pub feed: Feed,
    bytes: Vec<u8>,
    refused: u64,
    /// Over symbol, price and size of every order: equal feeds give equal work.
    pub work: u64,
}
impl Venue {
    pub fn new(symbols: usize) -> Venue {
        let bytes = Vec::with_capacity(1 << 16);
        Venue { feed: Feed::new(symbols, 1), bytes, refused: 0, work: 0 }
    }
    /// Answers the orders that left: what `send` reports, and what the venue says.
    pub fn settle(&mut self, line: &mut impl Line) {
        let report = |command: &Command, outcome| SendReport {
            outcome,
            of: command.ack_of(),
            symbol: command.symbol,
            cid: command.cid(),
        };
        let mut place = 0;
        while let Some(sent) = line.done().sent.get(place).copied() {
            place += 1;
            let command = sent.command;
            if let Action::New(new) = command.action {
                let mix = |all: u64, word: u64| {
                    (all ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29)
                };
                let words =
                    [u64::from(command.symbol.0), new.px.raw() as u64, new.qty.raw() as u64];
                self.work = words.into_iter().fold(self.work, mix);
            }
            line.report(report(&command, SendOutcome::Written));
            self.bytes.clear();
            self.feed.filled(&command, &mut self.bytes);
            line.give(TRADING, &self.bytes);
        }
        line.done().sent.clear();
        while let Some((command, outcome)) = line.done().refused.pop() {
            assert_eq!(outcome, SendOutcome::TooOld, "nothing else is refused at the door");
            self.refused += 1;
            line.report(report(&command, outcome));
        }
        line.between();
    }
    /// What must hold of a line whatever was measured with it.
    pub fn check(&self, line: &impl Line) {
        let session = line.front().publics().next().expect("a market socket");
        let public = session.counters();
        assert_eq!((public.seq_gaps, public.unknown, public.malformed), (0, 0, 0));
        assert_eq!((public.book_crossed, public.resyncs), (0, 0));
        let mouth = line.front().mouth().counters();
        assert_eq!((mouth.book_conflated, mouth.overflowed), (0, 0));
        let private = line.front().private().expect("a trading socket").counters();
        assert_eq!((private.seq_gaps, private.unknown, private.malformed), (0, 0, 0));
        let sent = line.send_line().sent();
        assert_eq!(line.send_line().unspeakable(), 0);
        let ledger = line.risk().ledger();
        assert_eq!(ledger.alive(), 0, "every order has ended");
        assert_eq!(ledger.counters().opened, sent + self.refused);
        assert_eq!(ledger.counters().fills, sent, "each was filled once");
        assert_eq!(line.wal().kept(), sent, "each was written ahead");
    }
}

/// How far an event goes: to find out what each part costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It ends behind the front.
    Front,
    /// It ends behind the signal stage.
    Signal,
    Whole,
}

/// Behind the front by direct calls: signal, risk, send.
pub struct Back {
    pub signal: SignalStage,
    pub risk: RiskStage,
    pub send: SendLine,
    pub wal: Wal,
    pub clock: Clock,
    pub frame: [u8; ORDER_FRAME_MAX],
    pub done: Done,
    pub reach: Reach,
}

impl Back {
    #[inline(always)]
    fn on_event(&mut self, event: &Event) {
        let Back { signal, risk, send, wal, clock, frame, done, reach } = self;
        if *reach == Reach::Front {
            std::hint::black_box(event);
            return;
        }
        signal.on_input(
            event,
            &mut Direct(|mut signal: Signal| {
                if let Signal::Intent(intent) = &mut signal {
                    intent.trace.signalled = clock.tsc();
                }
                if *reach == Reach::Signal {
                    std::hint::black_box(&signal);
                    return;
                }
                risk.on_input(
                    &signal,
                    &mut Direct(|mut command: Command| {
                        let now = clock.tsc();
                        command.trace.approved = now;
                        let age_ns = clock.span_ns(command.trace.recv, now).unwrap_or(0);
                        let door = Door { rank: 0, ready: true, age_ns };
                        match send.on_command(&command, door, wal, frame) {
                            Ok(_) => done.sent.push(Sent { command, encoded: clock.tsc() }),
                            Err(outcome) => done.refused.push((command, outcome)),
                        }
                    }),
                );
            }),
        );
    }
}
impl MouthOut for Back {
    #[inline(always)]
    fn free(&mut self) -> usize {
        64
    }
    #[inline(always)]
    fn deliver(&mut self, event: Event) {
        self.on_event(&event);
    }
}

/// The whole line by direct calls.
pub struct Rig {
    pub line: ParseLine,
    pub back: Back,
    pub clock: Clock,
    turns: TurnClock,
}

/// What a reconcile by REST tells the front when nothing is open.
pub fn reconciled() -> Vec<Body> {
    let mut bodies = Vec::new();
    for of in [SnapshotOf::RestOrders, SnapshotOf::RestHistory, SnapshotOf::RestTrades] {
        for end in [false, true] {
            bodies.push(Body::Snapshot(SnapshotMark { of, end, count: 0 }));
        }
    }
    bodies.push(Body::Link(LinkEvent {
        conn: TRADING,
        trading: true,
        state: LinkState::Reconciled,
        code: 0,
    }));
    bodies
}

impl Rig {
    /// Signed in and reconciled.
    pub fn new(config: RigConfig, clock: Clock) -> (Rig, Venue) {
        let back = Back {
            signal: signal_stage(&config),
            risk: risk_stage(&config),
            send: send_line(&config),
            wal: Wal::open(),
            clock: clock.clone(),
            frame: [0; ORDER_FRAME_MAX],
            done: Done::new(),
            reach: Reach::Whole,
        };
        let turns = TurnClock::new(&clock);
        let mut rig = Rig { line: parse_line(&config), back, turns, clock };
        let mut venue = Venue::new(config.symbols);
        rig.sign_in(&mut venue.feed);
        venue.settle(&mut rig);
        (rig, venue)
    }
    #[inline(always)]
    fn now(&mut self) -> Now {
        let (mono, wall) = self.turns.now();
        Now { mono, wall }
    }
    fn sign_in(&mut self, feed: &mut Feed) {
        let mut out = vec![0; 4_096];
        for conn in [MARKET, TRADING] {
            let now = self.now();
            self.line.on_open(conn, now, 1_000, &mut self.back, &mut NoTap);
            let mut bytes = Vec::new();
            feed.hello(&mut bytes);
            self.give(conn, &bytes);
            while let Some(len) = self.line.poll_transmit(conn, now.mono, &mut out) {
                let (text, _) = client_text(&out[..len]).expect("a whole frame");
                bytes.clear();
                feed.answer(&text, &mut bytes);
                self.give(conn, &bytes);
            }
        }
        for body in reconciled() {
            let now = self.now();
            self.line.on_rest(body, now, &mut self.back, &mut NoTap);
        }
        assert!(self.line.private().is_some_and(|session| session.is_authenticated()));
        assert!(self.back.risk.is_ready(), "signed in and reconciled");
    }
}

impl Line for Rig {
    #[inline(always)]
    fn give(&mut self, conn: ConnId, bytes: &[u8]) {
        let recv = self.clock.tsc();
        let now = self.now();
        let trace = Trace { recv, framed: recv, ..Trace::default() };
        let mut pos = 0;
        self.line.on_bytes(
            conn,
            bytes,
            &mut pos,
            usize::MAX,
            now,
            trace,
            &self.clock,
            &mut self.back,
            &mut NoTap,
        );
    }
    fn report(&mut self, report: SendReport) {
        let now = self.now();
        self.line.on_report(report, now, &mut self.back, &mut NoTap);
    }
    fn done(&mut self) -> &mut Done {
        &mut self.back.done
    }
    fn between(&mut self) {
        if self.back.wal.is_nearly_full() {
            self.back.wal.drain();
        }
    }
    fn front(&self) -> &ParseLine {
        &self.line
    }
    fn risk(&self) -> &RiskStage {
        &self.back.risk
    }
    fn send_line(&self) -> &SendLine {
        &self.back.send
    }
    fn wal(&self) -> &Wal {
        &self.back.wal
    }
}
