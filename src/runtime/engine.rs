//! Puts an engine together from a plan and runs it: rings, duties, threads, and the cold threads
//! beside them. Which stages exist and the type on each ring is this one function; where they run
//! is data.

use super::cold::dial::{DialRoute, DialStats, Dialler};
use super::cold::orders::RestOrders;
use super::cold::rest::{RestPlan, RestStats, RestThread};
use super::cold::{self, ColdThread};
use super::duties::parse::{Delivery, ParseDuty, SocketSide};
use super::duties::read::ReadDuty;
use super::duties::risk::{RiskDuty, RiskLinks};
use super::duties::send::SendDuty;
use super::duties::signal::{SignalDuty, new_age_board};
use super::duty::{Duty, ThreadState};
use super::link::{Chunk, FromSocket, Halt, RestWant, ToSocket};
use super::observe::{GapBoard, GapSwap, GapTap, Observer, ParseRow};
use super::placement::{self, SpawnSpec, ThreadEnd, ThreadHandle};
use super::plane::NonceSource;
use super::socket::{DialRequest, SocketSlot};
use super::taps::{RiskRow, SignalRow, TapTx};
use super::topology::{LinkKind, OnFull, ThreadPlan, Topology};
use crate::base::ids::{ConnId, SymbolId};
use crate::base::limits::{CHUNK_SIZE, SOCKETS_MAX};
use crate::base::time::MonoNs;
use crate::engine::bars::{BarBuilder, BarsConfig};
use crate::engine::mouth::{Mouth, MouthConfig};
use crate::engine::risk::{RestFallback, RiskStage};
use crate::engine::send::Gate;
use crate::engine::sequencer::{ClockPolicy, Sequencer};
use crate::engine::signal::SignalStage;
use crate::io::clock::{Clock, TurnClock};
use crate::io::dial::{DialSpec, Dialed};
use crate::io::input_log::InputTap;
use crate::io::wal::WalWriter;
use crate::line::connect::ConnectConfig;
use crate::line::parse::ParseLine;
use crate::line::send::{SendLine, WAL_RECORD_SIZE, WriteAhead};
use crate::model::{
    Body, ChannelKind, Command, Event, Instrument, OperatorCommand, OrderSent, PrivateSeen, Rank,
    Signal, Timeframe,
};
use crate::ring::{Latch, Rx, Tx, channel};
use crate::venue::private::{PrivateConfig, PrivateSession};
use crate::venue::public::{PublicConfig, PublicSession, Subscription};
use crate::venue::sign::ApiKey;
use crate::venue::symbols::SymbolTable;
use crossbeam_channel::bounded;
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Buffers of one socket: enough for a burst of half a MiB; the last one used is taken first, so
/// that an idle socket stays in the cache.
const CHUNKS_PER_SOCKET: usize = 16;
const _: () = assert!(CHUNKS_PER_SOCKET * CHUNK_SIZE <= 1 << 20);

/// The account's side of an engine.
pub struct TradingPlan {
    pub target: DialSpec,
    pub session: PrivateConfig,
    pub key: ApiKey,
    /// Shared with every other user of this key.
    pub nonces: NonceSource,
    pub rest: RestPlan,
    /// What may go by REST while the socket is down; the risk stage is told the same.
    pub rest_fallback: RestFallback,
    pub connect: ConnectConfig,
}

/// Everything an engine is made of; built by the command line from the config, by harnesses
/// directly.
pub struct EnginePlan {
    pub instruments: Vec<Instrument>,
    pub sockets: Vec<Vec<Subscription>>,
    pub market_target: DialSpec,
    pub public: PublicConfig,
    pub connect: ConnectConfig,
    pub trading: TradingPlan,
    pub policy: ClockPolicy,
    pub tick_ms: u32,
    pub timeframes: Vec<Timeframe>,
    pub signal: SignalStage,
    pub risk: RiskStage,
    pub gate: Gate,
    /// Group id of this engine's orders.
    pub gid: Option<u64>,
    /// Closed bars of the past, told before anything else.
    pub warm_up: Vec<Body>,
    pub latch: Latch,
    pub wal: WalWriter,
    pub topology: Topology,
    pub input_log: Option<InputTap>,
    /// A full input log holds the front up instead of losing events: where the market waits for its
    /// readers anyway (speed `max`).
    pub log_stalls: bool,
    /// Nobody looks: no rows are published (harnesses).
    pub is_watched: bool,
    pub clock: Clock,
    pub seed: u64,
}

/// The write-ahead log as the line sees it.
pub struct Wal(pub WalWriter);
/// Kind of an order's record in the write-ahead log.
pub const WAL_KIND_COMMAND: u16 = 1;
impl WriteAhead for Wal {
    #[inline(always)]
    fn keep(&mut self, record: &[u8; WAL_RECORD_SIZE]) -> bool {
        self.0.append(WAL_KIND_COMMAND, record).is_ok()
    }
}

/// Ends of the taps, for whoever watches.
pub struct Taps {
    pub sent: Rx<OrderSent>,
    pub seen: Rx<PrivateSeen>,
    pub parse: Rx<ParseRow>,
    pub signal: Rx<SignalRow>,
    pub risk: Rx<RiskRow>,
    /// Boards of the gaps between frames; `None` where nobody watches.
    pub gaps: Option<GapTap>,
}

/// An engine at work.
pub struct Running {
    pub taps: Taps,
    pub latch: Latch,
    pub dial_stats: Arc<DialStats>,
    pub rest_stats: Arc<RestStats>,
    operator: Tx<OperatorCommand>,
    /// In the order of the line.
    hot: Vec<ThreadHandle>,
    cold: Vec<ColdThread>,
    cold_stop: Arc<AtomicBool>,
}

/// What is left of an engine: its stages with all they counted.
pub struct Stopped {
    pub read: Box<ReadDuty>,
    pub parse: Box<ParseDuty<Observer>>,
    pub signal: Box<SignalDuty>,
    pub risk: Box<RiskDuty>,
    pub send: Box<SendDuty<Wal>>,
    /// In the order of the line; their duties are the fields above.
    pub threads: Vec<ThreadEnd>,
}

/// Places of the small rings that carry rows and control.
const TAP_DEPTH: usize = 16_384;
const CONTROL_DEPTH: usize = 1_024;

impl EnginePlan {
    /// Makes the rings, joins the stages, starts the threads.
    ///
    /// # Errors
    /// A thread that could not be started or pinned, in words.
    pub fn start(self) -> Result<Running, String> {
        let depth = |link: LinkKind| self.topology.link(link).depth;
        let halt = |link: LinkKind| {
            let halts = self.topology.link(link).on_full == OnFull::Halt;
            Halt::new(halts.then(|| self.latch.clone()))
        };
        let symbols = self.instruments.len();
        let table = SymbolTable::new(&self.instruments);
        let clock = self.clock.clone();

        // Rings of the line, in its order.
        let (read_parse_tx, read_parse_rx) = channel::<FromSocket>(depth(LinkKind::ReadParse));
        let (parse_read_tx, parse_read_rx) = channel::<ToSocket>(depth(LinkKind::ParseRead));
        let (send_parse_tx, send_parse_rx) = channel::<FromSocket>(depth(LinkKind::SendParse));
        let (parse_send_tx, parse_send_rx) = channel::<ToSocket>(depth(LinkKind::ParseSend));
        let (parse_signal_tx, parse_signal_rx) = channel::<Event>(depth(LinkKind::ParseSignal));
        let (signal_risk_tx, signal_risk_rx) = channel::<Signal>(depth(LinkKind::SignalRisk));
        let (risk_send_tx, risk_send_rx) = channel::<Command>(depth(LinkKind::RiskSend));
        // Side rings.
        let (operator_tx, operator_rx) = channel::<OperatorCommand>(depth(LinkKind::OpsParse));
        let (rest_parse_tx, rest_parse_rx) = channel::<Body>(depth(LinkKind::RestParse));
        let (risk_rest_tx, risk_rest_rx) = channel::<RestWant>(CONTROL_DEPTH);
        let (send_rest_tx, send_rest_rx) = channel::<Command>(CONTROL_DEPTH);
        let (sent_tx, sent_rx) = channel::<OrderSent>(TAP_DEPTH);
        let (seen_tx, seen_rx) = channel::<PrivateSeen>(TAP_DEPTH);
        let (parse_row_tx, parse_row_rx) = channel::<ParseRow>(TAP_DEPTH);
        let (signal_row_tx, signal_row_rx) = channel::<SignalRow>(TAP_DEPTH);
        let (risk_row_tx, risk_row_rx) = channel::<RiskRow>(TAP_DEPTH);

        // The front, with its sockets.
        let bars = BarsConfig { symbols, timeframes: self.timeframes, ..BarsConfig::default() };
        let sequencer = Sequencer::new(self.policy, self.tick_ms);
        let mouth = Mouth::new(sequencer, MouthConfig { symbols, ..MouthConfig::default() });
        let mut line = ParseLine::new(BarBuilder::new(bars), mouth, self.seed);
        let channels: Vec<(SymbolId, ChannelKind)> =
            self.sockets.iter().flatten().map(|each| (each.symbol, each.kind)).collect();
        let (request_tx, request_rx) = bounded::<DialRequest>(SOCKETS_MAX);
        let mut routes = Vec::new();
        let mut slots = Vec::new();
        for subscriptions in self.sockets {
            let session = PublicSession::new(self.public, &subscriptions, table.clone());
            let conn = line.add_public(session);
            let (owner, dialed) = bounded::<Dialed>(1);
            let target = self.market_target.clone();
            routes.push(DialRoute { conn, target, owner, nonces: None });
            slots.push((conn, SocketSlot::new(conn, request_tx.clone(), dialed)));
        }
        let trading = self.trading;
        let session = PrivateConfig { conn: ConnId(line.socket_count() as u8), ..trading.session };
        let session = PrivateSession::new(session, trading.key, table.clone());
        let trading_conn = line.add_private(session);
        let (owner, dialed) = bounded::<Dialed>(1);
        let target = trading.target.clone();
        let nonces = Some(trading.nonces.clone());
        routes.push(DialRoute { conn: trading_conn, target, owner, nonces });
        let trading_slot = SocketSlot::new(trading_conn, request_tx, dialed);

        let rows = |ring: Tx<ParseRow>| TapTx::new(self.is_watched.then_some(ring), clock.clone());
        let gaps = || GapBoard::new(symbols, channels.iter().copied());
        let mut observer =
            Observer::new(gaps(), seen_tx, rows(parse_row_tx), symbols, Some(trading_conn));
        let gap_tap = self.is_watched.then(|| {
            let (swap, tap) = GapSwap::new(gaps());
            observer.gap_swap = Some(swap);
            tap
        });
        let nonces = trading.nonces.clone();
        let nonce_clock = clock.clone();
        let chunks = |sockets: usize| -> Vec<Box<Chunk>> {
            (0..sockets * CHUNKS_PER_SOCKET).map(|_| Chunk::new()).collect()
        };
        let read = ReadDuty {
            free: chunks(slots.len()),
            sockets: slots,
            to_parse: read_parse_tx,
            from_parse: parse_read_rx,
            halt: halt(LinkKind::ReadParse),
            is_stopping: false,
            clock: clock.clone(),
        };
        let parse = ParseDuty {
            line,
            market: SocketSide::new(read_parse_rx, parse_read_tx),
            trading: SocketSide::new(send_parse_rx, parse_send_tx),
            out: Delivery {
                ring: parse_signal_tx,
                log: self.input_log,
                log_stalls: self.log_stalls,
            },
            rest: rest_parse_rx,
            operator: operator_rx,
            tap: observer,
            clock: clock.clone(),
            turns: TurnClock::new(&clock),
            time_at: MonoNs(0),
            nonce: Box::new(move || sign_in_nonce(&nonces, &nonce_clock)),
            trading_conn: Some(trading_conn),
            told_ready: false,
            latch: self.latch.clone(),
        };
        let signal = SignalDuty {
            stage: self.signal,
            input: parse_signal_rx,
            output: signal_risk_tx,
            clock: clock.clone(),
            tap: TapTx::new(self.is_watched.then_some(signal_row_tx), clock.clone()),
            data_age: new_age_board(),
            age_waiting: None,
            halt: halt(LinkKind::SignalRisk),
        };
        let risk = RiskDuty::new(
            self.risk,
            RiskLinks {
                input: signal_risk_rx,
                output: risk_send_tx,
                rest: risk_rest_tx,
                tap: TapTx::new(self.is_watched.then_some(risk_row_tx), clock.clone()),
                halt: halt(LinkKind::RiskSend),
            },
            self.latch.clone(),
            clock.clone(),
            symbols,
        );
        let send = SendDuty {
            line: SendLine::new(self.gate, table.clone(), self.gid, self.seed.wrapping_add(1)),
            wal: Wal(self.wal),
            latch: self.latch.clone(),
            conn: trading_conn,
            socket: trading_slot,
            ready: false,
            input: risk_send_rx,
            to_parse: send_parse_tx,
            from_parse: parse_send_rx,
            free: chunks(1),
            tap: sent_tx,
            tap_dropped: 0,
            rest: send_rest_tx,
            rest_fallback: trading.rest_fallback,
            is_stopping: false,
            clock: clock.clone(),
        };

        // Cold threads first: a hot thread asks the dialler at its first turn.
        let cold_stop = Arc::new(AtomicBool::new(false));
        let dial_stats = Arc::new(DialStats::default());
        let rest_stats = Arc::new(RestStats::default());
        let dialler = Dialler {
            routes,
            requests: request_rx,
            public: self.connect,
            private: trading.connect,
            clock: clock.clone(),
            stop: Arc::clone(&cold_stop),
            stats: Arc::clone(&dial_stats),
            seed: self.seed.wrapping_add(2),
        };
        let rest = RestThread {
            plan: trading.rest,
            table,
            wants: risk_rest_rx,
            orders: RestOrders::new(send_rest_rx, self.gid),
            answers: rest_parse_tx,
            warm_up: self.warm_up,
            clock: clock.clone(),
            stop: Arc::clone(&cold_stop),
            stats: Arc::clone(&rest_stats),
        };
        let cpus = &self.topology.cold_cpus;
        let cold = vec![
            cold::spawn("dial", cpus, move || dialler.run())?,
            cold::spawn("rest", cpus, move || rest.run())?,
        ];

        let mut duties: Vec<Option<Box<dyn Duty>>> = vec![
            Some(Box::new(read)),
            Some(Box::new(parse)),
            Some(Box::new(signal)),
            Some(Box::new(risk)),
            Some(Box::new(send)),
        ];
        let mut hot = Vec::new();
        for plan in &self.topology.threads {
            let mine = duties_of(&mut duties, plan);
            let latch = Some((self.latch.clone(), Rank::Halted as u8));
            let spec = SpawnSpec { latch, ..SpawnSpec::of(plan, &self.topology) };
            hot.push(placement::spawn(spec, &clock, move || mine).map_err(|e| e.to_string())?);
        }
        Ok(Running {
            taps: Taps {
                sent: sent_rx,
                seen: seen_rx,
                parse: parse_row_rx,
                signal: signal_row_rx,
                risk: risk_row_rx,
                gaps: gap_tap,
            },
            latch: self.latch,
            dial_stats,
            rest_stats,
            operator: operator_tx,
            hot,
            cold,
            cold_stop,
        })
    }
}

/// A nonce for signing in. Without one the venue refuses, and the socket is dialled again.
fn sign_in_nonce(nonces: &NonceSource, clock: &Clock) -> u64 {
    nonces.next((clock.wall().0 / 1_000).max(0) as u64).unwrap_or_else(|error| {
        log::error!("signing in: {error}");
        0
    })
}

/// Takes a thread's duties out of the table, in the order of the line.
pub(super) fn duties_of(
    duties: &mut [Option<Box<dyn Duty>>],
    plan: &ThreadPlan,
) -> Vec<Box<dyn Duty>> {
    let mine = duties.iter_mut().filter_map(|place| {
        let wanted = place
            .as_ref()
            .is_some_and(|duty| plan.stages.iter().any(|stage| stage.name() == duty.name()));
        if wanted { place.take() } else { None }
    });
    mine.collect()
}

impl Running {
    /// A word of the operator, through the front like everything else.
    ///
    /// # Errors
    /// The command, where the front has not taken earlier ones yet.
    pub fn command(&mut self, command: OperatorCommand) -> Result<(), OperatorCommand> {
        self.operator.push(command)
    }

    /// What a hot thread's panic said, once one has ended by itself: a broken invariant.
    pub fn failure(&self) -> Option<String> {
        let broken = self.hot.iter().find(|thread| {
            thread.is_finished() || thread.control().state() == ThreadState::Panicked
        })?;
        let control = broken.control();
        let text = control.panic_text().unwrap_or("ended by itself");
        Some(format!("thread \"{}\": {text}", broken.name()))
    }

    /// From now on an allocation on a hot thread is a fault, and counted.
    pub fn seal(&self) {
        self.hot.iter().for_each(ThreadHandle::seal);
    }

    /// The hot threads, in the order of the line.
    pub fn threads(&self) -> &[ThreadHandle] {
        &self.hot
    }

    /// Ends all threads and hands back the stages. Nothing is cancelled here: that is the risk
    /// stage's work, asked for by an operator's `Stop` before.
    ///
    /// # Errors
    /// A stage that did not come back, after a panic in a destructor.
    pub fn stop(mut self) -> Result<(Stopped, Taps), String> {
        // In the order of the line: each hands on what it holds before the next is told.
        let mut threads: Vec<ThreadEnd> = self.hot.drain(..).map(ThreadHandle::join).collect();
        self.cold_stop.store(true, Ordering::Release);
        for thread in self.cold.drain(..) {
            let _ = thread.join();
        }
        let mut duties: Vec<Box<dyn Duty>> =
            threads.iter_mut().flat_map(|thread| std::mem::take(&mut thread.duties)).collect();
        let missing = || "a stage is missing after the stop".to_owned();
        let stopped = Stopped {
            read: take::<ReadDuty>(&mut duties).ok_or_else(missing)?,
            parse: take::<ParseDuty<Observer>>(&mut duties).ok_or_else(missing)?,
            signal: take::<SignalDuty>(&mut duties).ok_or_else(missing)?,
            risk: take::<RiskDuty>(&mut duties).ok_or_else(missing)?,
            send: take::<SendDuty<Wal>>(&mut duties).ok_or_else(missing)?,
            threads,
        };
        Ok((stopped, self.taps))
    }
}

fn take<T: Duty>(duties: &mut Vec<Box<dyn Duty>>) -> Option<Box<T>> {
    let index = duties.iter().position(|duty| {
        let any: &dyn Any = &**duty;
        any.is::<T>()
    })?;
    let any: Box<dyn Any> = duties.swap_remove(index);
    any.downcast::<T>().ok()
}
