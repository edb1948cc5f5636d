//! The line in one thread as a fused run drives it: the same duties over the same rings, with the
//! taps and the input log of a run. Only the sockets are missing: bytes are put into the buffers
//! that a read would have filled, and what `send` would write stays in memory.

use crate::feed::{client_text, instruments};
use crate::rig::{
    Done, Line, MARKET, RigConfig, Sent, TRADING, Venue, Wal, parse_line, reconciled, risk_stage,
    send_line, signal_stage,
};
use genesis::base::ids::ConnId;
use genesis::base::time::MonoNs;
use genesis::engine::risk::RiskStage;
use genesis::io::clock::{Clock, TurnClock};
use genesis::io::input_log::{self, InputLogWriter, LogHeader};
use genesis::line::parse::ParseLine;
use genesis::line::send::{Door, ORDER_FRAME_MAX, SendLine};
use genesis::model::*;
use genesis::ring::{Latch, Rx, Tx, channel};
use genesis::runtime::duties::parse::{Delivery, ParseDuty, SocketSide};
use genesis::runtime::duties::risk::{RiskDuty, RiskLinks};
use genesis::runtime::duties::signal::{SignalDuty, new_age_board};
use genesis::runtime::duty::Duty;
use genesis::runtime::link::{Chunk, FromSocket, Halt, RestWant, ToSocket};
use genesis::runtime::observe::{GapBoard, Observer, ParseRow};
use genesis::runtime::taps::{RiskRow, SignalRow, TapTx};
use std::path::PathBuf;

/// Depth of the rings, as a fused run has them.
const DEPTH: usize = genesis::base::limits::RING_DEPTH_MIN;
const TAP_DEPTH: usize = 16_384;

/// One side of sockets as its owner sees it.
struct Side {
    to_parse: Tx<FromSocket>,
    from_parse: Rx<ToSocket>,
    free: Vec<Box<Chunk>>,
    /// What the session wants to say, not read yet.
    written: Vec<Box<Chunk>>,
}
impl Side {
    fn take_back(&mut self) {
        while let Some(message) = self.from_parse.pop() {
            match message {
                ToSocket::Free(chunk) => self.free.push(chunk),
                ToSocket::Write { chunk, .. } => self.written.push(chunk),
                ToSocket::Reset { .. } => panic!("the session gave up"),
                ToSocket::Ready(_) => {}
            }
        }
    }
}

/// Ends of the taps that nobody reads while it is measured.
struct Taps {
    rows: Rx<ParseRow>,
    signals: Rx<SignalRow>,
    risks: Rx<RiskRow>,
    seen: Rx<PrivateSeen>,
    wants: Rx<RestWant>,
    log: InputLogWriter,
    log_path: PathBuf,
    frames: u64,
}

/// Frames between two emptyings of the log's ring, and events between two of its file.
const LOG_FRAMES: u64 = 2_048;
const LOG_EVENTS: u64 = 1 << 20;

/// See the file's head.
pub struct Rings {
    parse: ParseDuty<Observer>,
    signal: SignalDuty,
    risk: RiskDuty,
    send: SendLine,
    commands: Rx<Command>,
    wal: Wal,
    latch: Latch,
    frame: [u8; ORDER_FRAME_MAX],
    sides: [Side; 2],
    rest: Tx<Body>,
    taps: Taps,
    done: Done,
    clock: Clock,
}

impl Rings {
    /// Signed in and reconciled.
    pub fn new(config: RigConfig, clock: Clock) -> (Rings, Venue) {
        let symbols = config.symbols;
        let (market_tx, market_rx) = channel(DEPTH);
        let (market_back_tx, market_back_rx) = channel(DEPTH);
        let (trading_tx, trading_rx) = channel(DEPTH);
        let (trading_back_tx, trading_back_rx) = channel(DEPTH);
        let (event_tx, event_rx) = channel(DEPTH);
        let (signal_tx, signal_rx) = channel(DEPTH);
        let (command_tx, command_rx) = channel(DEPTH);
        let (rest_tx, rest_rx) = channel(DEPTH);
        let (_, operator_rx) = channel(DEPTH);
        let (want_tx, want_rx) = channel(DEPTH);
        let (row_tx, row_rx) = channel(TAP_DEPTH);
        let (signal_row_tx, signal_row_rx) = channel(TAP_DEPTH);
        let (risk_row_tx, risk_row_rx) = channel(TAP_DEPTH);
        let (seen_tx, seen_rx) = channel(TAP_DEPTH);
        let wal = Wal::open();
        let log_path = wal.dir().join("input.log");
        let header = LogHeader { build: String::new(), config_hash: 0, context: Vec::new() };
        let (log_tap, log) =
            input_log::create(&log_path, &header, 1 << 16).expect("a log on tmpfs");
        let channels = instruments(symbols).into_iter().flat_map(|row| {
            [ChannelKind::Book, ChannelKind::Trades, ChannelKind::Ticker].map(|kind| (row.id, kind))
        });
        let rows = TapTx::new(Some(row_tx), clock.clone());
        let gaps = GapBoard::new(symbols, channels);
        let latch = Latch::new(Rank::EntriesBlocked as u8);
        let parse = ParseDuty {
            line: parse_line(&config),
            market: SocketSide::new(market_rx, market_back_tx),
            trading: SocketSide::new(trading_rx, trading_back_tx),
            out: Delivery { ring: event_tx, log: Some(log_tap), log_stalls: false },
            rest: rest_rx,
            operator: operator_rx,
            tap: Observer::new(gaps, seen_tx, rows, symbols, Some(TRADING)),
            clock: clock.clone(),
            turns: TurnClock::new(&clock),
            time_at: MonoNs(0),
            nonce: Box::new(|| 1_000),
            trading_conn: Some(TRADING),
            told_ready: false,
            latch: latch.clone(),
        };
        let signal = SignalDuty {
            stage: signal_stage(&config),
            input: event_rx,
            output: signal_tx,
            clock: clock.clone(),
            tap: TapTx::new(Some(signal_row_tx), clock.clone()),
            data_age: new_age_board(),
            age_waiting: None,
            halt: Halt::new(None),
        };
        let links = RiskLinks {
            input: signal_rx,
            output: command_tx,
            rest: want_tx,
            tap: TapTx::new(Some(risk_row_tx), clock.clone()),
            halt: Halt::new(None),
        };
        let risk = RiskDuty::new(risk_stage(&config), links, latch.clone(), clock.clone(), symbols);
        let chunks = || {
            let mut free = Vec::with_capacity(64);
            free.extend((0..16).map(|_| Chunk::new()));
            free
        };
        let side = |to_parse, from_parse| Side {
            to_parse,
            from_parse,
            free: chunks(),
            written: Vec::with_capacity(16),
        };
        let mut rings = Rings {
            parse,
            signal,
            risk,
            send: send_line(&config),
            commands: command_rx,
            wal,
            latch,
            frame: [0; ORDER_FRAME_MAX],
            sides: [side(market_tx, market_back_rx), side(trading_tx, trading_back_rx)],
            rest: rest_tx,
            taps: Taps {
                rows: row_rx,
                signals: signal_row_rx,
                risks: risk_row_rx,
                seen: seen_rx,
                wants: want_rx,
                log,
                log_path,
                frames: 0,
            },
            done: Done::new(),
            clock,
        };
        let mut venue = Venue::new(symbols);
        rings.sign_in(&mut venue);
        venue.settle(&mut rings);
        (rings, venue)
    }

    fn sign_in(&mut self, venue: &mut Venue) {
        for conn in [MARKET, TRADING] {
            let mut bytes = Vec::new();
            venue.feed.hello(&mut bytes);
            let opened = self.sides[conn.index()].to_parse.push(FromSocket::Opened { conn });
            assert!(opened.is_ok());
            self.turn();
            self.give(conn, &bytes);
            // Each answer may make the session ask for more; it is quiet when all is asked for.
            let mut asked_at = self.clock.mono();
            while (self.clock.mono() - asked_at).as_ms() < 20 {
                let mut answers = Vec::new();
                let side = &mut self.sides[conn.index()];
                side.take_back();
                for chunk in side.written.drain(..) {
                    let (text, _) = client_text(chunk.bytes()).expect("a whole frame");
                    venue.feed.answer(&text, &mut answers);
                    side.free.push(chunk);
                }
                if !answers.is_empty() {
                    asked_at = self.clock.mono();
                    self.give(conn, &answers);
                }
                self.turn();
            }
        }
        for body in reconciled() {
            assert!(self.rest.push(body).is_ok());
        }
        while self.turn() > 0 {}
        assert!(self.risk.stage.is_ready(), "signed in and reconciled");
    }

    /// One round of the thread, as a fused run makes it.
    #[inline(always)]
    fn turn(&mut self) -> u32 {
        let handled = self.parse.turn() + self.signal.turn() + self.risk.turn();
        let mut sent = 0;
        while let Some(command) = self.commands.pop() {
            self.send(&command);
            sent += 1;
        }
        handled + sent
    }
    #[inline(always)]
    fn send(&mut self, command: &Command) {
        let age_ns = self.clock.span_ns(command.trace.recv, self.clock.tsc()).unwrap_or(0);
        let door = Door { rank: self.latch.rank(), ready: true, age_ns };
        match self.send.on_command(command, door, &mut self.wal, &mut self.frame) {
            Ok(_) => {
                let encoded = self.clock.tsc();
                self.done.sent.push(Sent { command: *command, encoded });
            }
            Err(outcome) => self.done.refused.push((*command, outcome)),
        }
    }
}

impl Line for Rings {
    #[inline(always)]
    fn give(&mut self, conn: ConnId, bytes: &[u8]) {
        let side = &mut self.sides[conn.index()];
        let mut chunk = side.free.pop().expect("buffers come back");
        chunk.data[..bytes.len()].copy_from_slice(bytes);
        chunk.len = bytes.len();
        chunk.recv = self.clock.tsc();
        chunk.framed = chunk.recv;
        let pushed = side.to_parse.push(FromSocket::Data { conn, chunk });
        assert!(pushed.is_ok());
        while self.turn() > 0 {}
        self.sides[conn.index()].take_back();
    }
    fn report(&mut self, report: SendReport) {
        let pushed = self.sides[TRADING.index()].to_parse.push(FromSocket::Report(report));
        assert!(pushed.is_ok());
        while self.turn() > 0 {}
    }
    fn done(&mut self) -> &mut Done {
        &mut self.done
    }
    fn between(&mut self) {
        if self.wal.is_nearly_full() {
            self.wal.drain();
        }
        // Rows and the log are another core's work in a run: emptied, not looked at.
        while self.taps.rows.pop().is_some() {}
        while self.taps.signals.pop().is_some() {}
        while self.taps.risks.pop().is_some() {}
        while self.taps.seen.pop().is_some() {}
        while self.taps.wants.pop().is_some() {}
        let frames = self.parse.line.counters().frame_rx;
        if frames - self.taps.frames >= LOG_FRAMES {
            self.taps.frames = frames;
            let before = self.taps.log.events() / LOG_EVENTS;
            self.taps.log.poll(u32::MAX).expect("tmpfs takes the log");
            if self.taps.log.events() / LOG_EVENTS > before {
                let file = std::fs::File::options().write(true).open(&self.taps.log_path);
                file.and_then(|file| file.set_len(0)).expect("our own file");
            }
        }
        assert_eq!(self.parse.out.log_missed(), 0);
    }
    fn front(&self) -> &ParseLine {
        &self.parse.line
    }
    fn risk(&self) -> &RiskStage {
        &self.risk.stage
    }
    fn send_line(&self) -> &SendLine {
        &self.send
    }
    fn wal(&self) -> &Wal {
        &self.wal
    }
}
