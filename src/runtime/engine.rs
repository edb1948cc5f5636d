//! Puts an engine together from a plan and runs it: rings, duties, threads, and the cold threads beside
//! them. Which stages exist and the type on each ring is this one function; where they run is data.

use crate::base::ids::ConnId;
use crate::base::limits::CHUNK_SIZE;
use crate::base::time::MonoNs;
use crate::engine::bars::BarBuilder;
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
