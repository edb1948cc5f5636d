//! Puts an engine together from a plan and runs it: rings, duties, threads, and the cold threads beside
//! them. Which stages exist and the type on each ring is this one function; where they run is data.

use crate::base::ids::ConnId;
use crate::base::limits::CHUNK_SIZE;
use crate::base::time::MonoNs;
use crate::engine::bars::{BarBuilder, BarsConfig};
use crate::engine::mouth::{Mouth, MouthConfig};
use crate::engine::risk::RiskStage;
use crate::engine::send::Gate;
use crate::engine::sequencer::{ClockPolicy, Sequencer};
use crate::engine::signal::SignalStage;
use crate::io::clock::Clock;
use crate::io::dial::DialSpec;
use crate::io::input_log::InputTap;
use crate::io::rest::RestTransport;
use crate::io::wal::WalWriter;
use crate::line::connect::ConnectConfig;
use crate::line::nonce::NonceAllocator;
use crate::line::parse::ParseLine;
use crate::line::send::{SendLine, WAL_RECORD_SIZE, WriteAhead};
use crate::model::{Body, Event, Instrument, OperatorCommand, OrderSent, Signal, Timeframe};
use crate::ring::{Latch, Rx, Tx, channel};
use crate::runtime::cold::dial::{DialRoute, DialStats, Dialler};
use crate::runtime::cold::rest::{RestStats, RestThread, RestWant};
use crate::runtime::duties::parse::{Delivery, ParseDuty, SPARE_CHUNKS, SocketSide};
use crate::runtime::duties::read::ReadDuty;
use crate::runtime::duties::risk::RiskDuty;
use crate::runtime::duties::send::SendDuty;
use crate::runtime::duties::signal::SignalDuty;
use crate::runtime::duty::Duty;
use crate::runtime::link::{Chunk, FromSocket, ToSocket};
use crate::runtime::observe::{GapBoard, Observer, ParseRow};
use crate::runtime::placement::{self, ThreadOutcome, ThreadPlan};
use crate::runtime::socket::{DialRequest, Dialed, SocketSlot};
use crate::runtime::taps::{RiskRow, SignalRow, TapTx};
use crate::runtime::topology::Topology;
use crate::venue::private::{PrivateConfig, PrivateSession};
use crate::venue::public::{PublicConfig, PublicSession, Subscription};
use crate::venue::sign::ApiKey;
use crate::venue::symbols::SymbolTable;
use crossbeam_channel::bounded;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Buffers of one socket owner: enough for a burst of 2 MiB, few enough to stay in the cache when idle.
const CHUNKS_PER_SOCKET: usize = 16;
const _: () = assert!(CHUNKS_PER_SOCKET * CHUNK_SIZE <= 1 << 20);

/// The account's side of an engine.
pub struct TradingPlan {
    pub target: DialSpec,
    pub session: PrivateConfig,
    pub key: ApiKey,
    pub rest_key: ApiKey,
    pub nonces: NonceAllocator,
    pub rest: RestTransport,
    pub rest_url: String,
    pub rest_retries_max: u32,
    pub connect: ConnectConfig,
}

/// Everything an engine is made of; built by the command line from the config, by harnesses directly.
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
    pub latch: Latch,
    pub wal: WalWriter,
    pub topology: Topology,
    pub input_log: Option<InputTap>,
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
}

/// An engine at work.
pub struct Running {
    pub taps: Taps,
    pub latch: Latch,
    pub dial_stats: Arc<DialStats>,
    pub rest_stats: Arc<RestStats>,
    operator: Tx<OperatorCommand>,
    hot: Vec<HotThread>,
    hot_stop: Arc<AtomicBool>,
    cold: Vec<JoinHandle<()>>,
    cold_stop: Arc<AtomicBool>,
}

/// What is left of an engine: its stages with all they counted.
pub struct Stopped {
    pub parse: Box<ParseDuty<Observer>>,
    pub signal: Box<SignalDuty>,
    pub risk: Box<RiskDuty>,
    pub send: Box<SendDuty<Wal>>,
    pub read: Box<ReadDuty>,
    pub threads: Vec<ThreadOutcome>,
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
        let depth = |link: &str| self.topology.depth_of(link);
        let symbols = self.instruments.len();
        let table = SymbolTable::new(&self.instruments);
        let clock = self.clock.clone();

        // Rings of the line, in its order.
        let (read_parse_tx, read_parse_rx) = channel::<FromSocket>(depth("read_parse"));
        let (parse_read_tx, parse_read_rx) = channel::<ToSocket>(depth("read_parse"));
        let (send_parse_tx, send_parse_rx) = channel::<FromSocket>(depth("send_parse"));
        let (parse_send_tx, parse_send_rx) = channel::<ToSocket>(depth("send_parse"));
        let (parse_signal_tx, parse_signal_rx) = channel::<Event>(depth("parse_signal"));
        let (signal_risk_tx, signal_risk_rx) = channel::<Signal>(depth("signal_risk"));
        let (risk_send_tx, risk_send_rx) = channel::<Command>(depth("risk_send"));
        // Side rings.
        let (operator_tx, operator_rx) = channel::<OperatorCommand>(CONTROL_DEPTH);
        let (rest_parse_tx, rest_parse_rx) = channel::<Body>(TAP_DEPTH);
        let (risk_rest_tx, risk_rest_rx) = channel::<RestWant>(CONTROL_DEPTH);
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
            routes.push(DialRoute { conn, target, owner, trading: false });
            slots.push((conn, SocketSlot::new(conn, request_tx.clone(), dialed)));
        }
        let trading = self.trading;
        let session = PrivateSession::new(trading.session, trading.key, table.clone());
        let trading_conn = line.add_private(session);
        let (owner, dialed) = bounded::<Dialed>(1);
        let target = trading.target.clone();
        routes.push(DialRoute { conn: trading_conn, target, owner, trading: true });
        let trading_slot = SocketSlot::new(trading_conn, request_tx, dialed);

        let rows = |ring: Tx<ParseRow>| TapTx::new(self.is_watched.then_some(ring), clock.clone());
        let gaps = GapBoard::new(symbols, channels.into_iter());
        let observer =
            Observer::new(gaps, seen_tx, rows(parse_row_tx), symbols, Some(trading_conn));
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
            clock: clock.clone(),
        };
        let parse = ParseDuty {
            line,
            market: SocketSide::new(read_parse_rx, parse_read_tx),
            trading: SocketSide::new(send_parse_rx, parse_send_tx),
            out: Delivery { ring: parse_signal_tx, log: self.input_log },
            rest: rest_parse_rx,
            operator: operator_rx,
            tap: observer,
            clock: clock.clone(),
            time_at: MonoNs(0),
            nonce: Box::new(move || nonces.next((nonce_clock.wall().0 / 1_000) as u64)),
            trading_conn: Some(trading_conn),
            told_ready: false,
        };
        let signal = SignalDuty {
            stage: self.signal,
            input: parse_signal_rx,
            output: signal_risk_tx,
            clock: clock.clone(),
            tap: TapTx::new(self.is_watched.then_some(signal_row_tx), clock.clone()),
            symbols,
            data_age: crate::runtime::duties::signal::new_age_board(),
        };
        let risk = RiskDuty::new(
            self.risk,
            signal_risk_rx,
            risk_send_tx,
            risk_rest_tx,
            self.latch.clone(),
            TapTx::new(self.is_watched.then_some(risk_row_tx), clock.clone()),
            clock.clone(),
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
            transport: trading.rest,
            base_url: trading.rest_url,
            key: trading.rest_key,
            nonces: trading.nonces,
            table,
            wants: risk_rest_rx,
            answers: rest_parse_tx,
            warm_up: self.warm_up,
            clock: clock.clone(),
            stop: Arc::clone(&cold_stop),
            stats: Arc::clone(&rest_stats),
            retries_max: trading.rest_retries_max,
        };
        let cold = vec![
            placement::spawn_cold("dial", move || dialler.run())?,
            placement::spawn_cold("rest", move || rest.run())?,
        ];

        let mut duties: Vec<Option<Box<dyn Duty>>> = vec![
            Some(Box::new(read)),
            Some(Box::new(parse)),
            Some(Box::new(signal)),
            Some(Box::new(risk)),
            Some(Box::new(send)),
        ];
        let hot_stop = Arc::new(AtomicBool::new(false));
        let mut hot = Vec::new();
        for plan in &self.topology.threads {
            let mine = duties_of(&mut duties, plan);
            hot.push(placement::spawn_hot(plan, mine, &clock, Arc::clone(&hot_stop))?);
        }
        Ok(Running {
            taps: Taps {
                sent: sent_rx,
                seen: seen_rx,
                parse: parse_row_rx,
                signal: signal_row_rx,
                risk: risk_row_rx,
            },
            latch: self.latch,
            dial_stats,
            rest_stats,
            operator: operator_tx,
            hot,
            hot_stop,
            cold,
            cold_stop,
        })
    }
}
