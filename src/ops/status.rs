//! Everything an operator may ask about a run, as one plain value. The dashboard, `/metrics`, the
//! control commands and the alerts all read this and nothing else, so they cannot disagree.
//! Names are stable: never renamed, only added. Money and sizes are decimals for people and
//! machines outside; nothing is computed from them.

use super::metrics::Percentiles;
use serde::{Deserialize, Serialize};

/// Of the whole run, and of the last minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    pub total: Percentiles,
    pub window: Percentiles,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// When this was put together, UTC.
    pub at: String,
    pub at_ms: i64,
    pub elapsed_s: u64,
    pub run: RunFacts,
    pub state: State,
    pub pnl: Pnl,
    /// How much of each limit is used.
    pub limits: Vec<LimitRow>,
    pub symbols: Vec<SymbolStatus>,
    /// Own orders alive.
    pub orders: Vec<OrderStatus>,
    /// Newest first.
    pub fills: Vec<FillStatus>,
    pub order_roundtrip_ms: RoundTripStatus,
    /// Between two data frames of one channel, all channels.
    pub ws_gap_ms: Spread,
    /// First byte of the causing frame → bytes ready, ns.
    pub t1_ns: Spread,
    /// Before the read of that frame → write returned, ns.
    pub t2_ns: Spread,
    /// In the order of the line.
    pub stages: Vec<StageStatus>,
    pub threads: Vec<ThreadStatus>,
    pub rings: Vec<RingStatus>,
    pub links: Vec<LinkStatus>,
    /// Newest first.
    pub reconnects: Vec<ReconnectRow>,
    pub counts: Counts,
    pub rest: RestStatus,
    pub guards: Vec<GuardStatus>,
    pub host: HostStatus,
    pub alerts: AlertsStatus,
    /// What the watchdog found and did, newest first.
    pub incidents: Vec<Incident>,
    /// Newest log lines, oldest first.
    pub log: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFacts {
    pub id: String,
    pub build: String,
    pub config_hash: String,
    pub environment: String,
    pub market: String,
    pub speed: String,
    pub mode: String,
    pub currency: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// `running`, `entries-blocked`, `reduce-only`, `cancel-only`, `halted`.
    pub rank: String,
    /// 0 = running … 4 = halted.
    pub rank_level: u8,
    /// What the latch forbids now, by the same numbers; above `rank_level` where something beside
    /// the risk stage has raised it.
    pub latch_level: u8,
    /// Why it is not running, or what it is doing now.
    pub reason: String,
    /// Account is signed in and reconciled.
    pub ready: bool,
    pub is_stopping: bool,
    /// The front could not deliver in time and has stopped.
    pub is_halted: bool,
    /// Longest since a frame was read, ms.
    pub quiet_ms: u64,
}

/// In the run's quote currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pnl {
    pub total: f64,
    pub realised: f64,
    pub unrealised: f64,
    /// What was charged; positive.
    pub fees: f64,
    /// Value of all positions, and what open orders can add.
    pub exposure: f64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LimitRow {
    /// Its key in the config, e.g. `risk.exposure_max`.
    pub name: String,
    /// Empty: of the account.
    pub symbol: String,
    pub used: f64,
    pub max: f64,
    /// What both are counted in: `quote`, `count`, `s`, `bps`, `ms`.
    #[serde(default)]
    pub unit: String,
    /// Its guard refuses entries now.
    #[serde(default)]
    pub objects: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SymbolStatus {
    pub name: String,
    pub strategy: String,
    /// `waiting`, `synced`, `stale`, `UNSYNCED`.
    pub book: String,
    pub synced: bool,
    /// Since the newest change of the book.
    pub age_ms: Option<u64>,
    pub bid: Option<f64>,
    pub ask: Option<f64>,
    pub spread_bps: Option<f64>,
    pub regime: String,
    /// By own fills.
    pub position: f64,
    /// What the venue says; absent: it said nothing.
    pub venue_position: Option<f64>,
    pub matches_venue: bool,
    pub px_avg: f64,
    pub realised: f64,
    pub unrealised: f64,
    pub fees: f64,
    pub orders_alive: u64,
    /// An order of unknown fate.
    pub is_frozen: bool,
    /// No longer tradable: nothing new is opened in it.
    #[serde(default)]
    pub delisted: bool,
    pub is_flattening: bool,
    pub flatten_stuck: bool,
    /// A position that should be protected has not been for too long.
    #[serde(default)]
    pub is_naked: bool,
    /// How much of the position a protective order covers; none where it needs none.
    #[serde(default)]
    pub protected: Option<f64>,
    /// Times its book was not tradable after it had been.
    pub unsynced_count: u64,
    /// All its channels; ms.
    pub ws_gap_ms: Spread,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OrderStatus {
    pub cid: u64,
    pub symbol: String,
    pub side: String,
    pub px: f64,
    pub remaining: f64,
    pub original: f64,
    pub state: String,
    pub age_ms: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FillStatus {
    pub at: String,
    pub symbol: String,
    pub side: String,
    pub qty: f64,
    pub px: f64,
    pub cid: u64,
}

/// Since the order was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RoundTripStatus {
    /// To its first answer.
    pub ack: Spread,
    pub first_fill: Spread,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StageStatus {
    pub name: String,
    /// ns.
    pub latency_ns: Spread,
    /// Share of its thread's time that did work, 0 … 1.
    pub busy: f64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ThreadStatus {
    pub name: String,
    pub stages: Vec<String>,
    /// Absent: floats.
    pub core: Option<u64>,
    pub state: String,
    /// Rounds so far: stands still where the thread hangs.
    pub heartbeat: u64,
    /// Since the heartbeat last moved.
    pub heartbeat_age_ms: u64,
    pub inputs: u64,
    pub busy_s: f64,
    pub idle_s: f64,
    pub blocked_s: f64,
    pub allocs_after_seal: u64,
    pub faults_after_seal: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingStatus {
    pub name: String,
    pub depth: u64,
    pub used_max: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkStatus {
    pub name: String,
    pub is_up: bool,
    pub state: String,
    pub reconnects: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReconnectRow {
    pub at: String,
    pub link: String,
    pub what: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub frames: u64,
    pub frames_per_s: u64,
    pub bytes: u64,
    pub book_updates: u64,
    pub trades: u64,
    pub crc_checked: u64,
    pub crc_failed: u64,
    pub seq_gaps: u64,
    pub reconnects: u64,
    /// Views and trades merged at the mouth: nothing is lost by it but intermediate states.
    pub conflated: u64,
    /// Messages that were not understood.
    pub unknown_messages: u64,
    /// Events the input log has missed: the run cannot be replayed from there on.
    pub log_missed: u64,
    /// Rows for histograms and views that found no place; nothing of the line.
    pub tap_dropped: u64,
    pub orders_sent: u64,
    pub orders_acked: u64,
    pub orders_partly_filled: u64,
    pub orders_filled: u64,
    pub orders_cancelled: u64,
    pub orders_rejected: u64,
    /// Of unknown fate now.
    pub orders_unknown: u64,
    pub orders_alive: u64,
    pub ack_timeouts: u64,
    pub fills: u64,
    pub fills_foreign: u64,
    pub overfills: u64,
    /// Refused by the guards.
    pub refused: u64,
    pub intents: u64,
    pub journal_failures: u64,
    /// Log lines that the disk refused.
    #[serde(default)]
    pub log_lines_lost: u64,
    /// Protective orders sent, and changed in size or price.
    #[serde(default)]
    pub protects: u64,
    #[serde(default)]
    pub protects_changed: u64,
    /// Positions unprotected for too long, and those closed for it.
    #[serde(default)]
    pub naked_alarms: u64,
    #[serde(default)]
    pub naked_closes: u64,
}

/// Names that operators know; per endpoint below.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RestStatus {
    pub calls: u64,
    pub failures: u64,
    pub retry_count: u64,
    pub rate_limit_hits: u64,
    pub circuit_open_count: u64,
    /// A breaker is open now.
    pub circuit_open: bool,
    pub nonce_recoveries: u64,
    pub reconciles: u64,
    pub endpoints: Vec<EndpointStatus>,
    /// Orders and cancels by REST do not get through.
    #[serde(default)]
    pub order_entry_down: bool,
    /// `public`, `account`, `orders`.
    #[serde(default)]
    pub breakers: Vec<BreakerStatus>,
    /// By who goes first.
    #[serde(default)]
    pub waits: Vec<WaitStatus>,
    #[serde(default)]
    pub reasons: Vec<ReasonStatus>,
    /// All endpoints of a host together: `public`, `private`.
    #[serde(default)]
    pub hosts: Vec<TokenStatus>,
    #[serde(default)]
    pub in_flight: u64,
    /// Not taken: too old, too many, blocked.
    #[serde(default)]
    pub refused: u64,
    /// Taken, and dropped because they could not start in time.
    #[serde(default)]
    pub dropped_stale: u64,
    /// Repeats that the budget forbade.
    #[serde(default)]
    pub retry_refused: u64,
    /// Cancels that went past an open breaker or a block.
    #[serde(default)]
    pub cancel_probes: u64,
    /// Hosts left alone for a refusal that turned out to be of one endpoint.
    #[serde(default)]
    pub blocks_lifted: u64,
    /// Wishes to read the account that another read answered.
    #[serde(default)]
    pub reconciles_merged: u64,
    #[serde(default)]
    pub registry: RegistryStatus,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerStatus {
    pub name: String,
    /// `closed`, `open`, `half-open`.
    pub state: String,
}

/// Waits of one priority, from the request (or the end of its last try) to the start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WaitStatus {
    pub name: String,
    pub calls: u64,
    pub mean_ms: f64,
    pub max_ms: f64,
    /// Wait now.
    pub waiting: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonStatus {
    pub name: String,
    pub calls: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenStatus {
    pub name: String,
    /// Calls that may start now.
    pub tokens: u64,
    pub tokens_max: u64,
    /// Believed to be allowed in a minute.
    pub window_calls: u64,
    /// Left alone for so long still.
    pub blocked_ms: u64,
}

/// The list of pairs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryStatus {
    pub pairs: u64,
    /// Since the venue last said so.
    pub age_s: u64,
    pub not_modified: u64,
    pub failures: u64,
    /// Pairs of this run that are not tradable any more.
    pub delisted: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EndpointStatus {
    pub name: String,
    pub calls: u64,
    pub failures: u64,
    pub rate_limit_hits: u64,
    pub latency_ms: Percentiles,
    /// HTTP status of the newest answer; 0 = there was none.
    pub last_status: u16,
    /// What the venue last asked us to wait, s.
    pub retry_after_s: Option<u64>,
    #[serde(default)]
    pub retries: u64,
    /// On a kept connection.
    #[serde(default)]
    pub pooled: u64,
    #[serde(default)]
    pub bytes_out: u64,
    #[serde(default)]
    pub bytes_in: u64,
    /// Call to last byte over the latest one to two minutes.
    #[serde(default)]
    pub window_ms: Percentiles,
    /// In the queue.
    #[serde(default)]
    pub wait_ms: Percentiles,
    /// Name and TCP, of calls that opened a connection.
    #[serde(default)]
    pub connect_ms: Percentiles,
    #[serde(default)]
    pub tls_ms: Percentiles,
    /// Call to first byte.
    #[serde(default)]
    pub first_byte_ms: Percentiles,
    #[serde(default)]
    pub limit: TokenStatus,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardStatus {
    pub name: String,
    /// `on`, `shadow`, `off`.
    pub mode: String,
    pub blocked: u64,
    /// Would have blocked.
    pub shadowed: u64,
    /// Times it tripped: its limit was reached, and entries stay closed until it is over.
    #[serde(default)]
    pub trips: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostStatus {
    /// How much later than asked a 10 ms sleep ended: what the host itself adds.
    pub hiccup_ms: Spread,
    /// Largest step of the wall clock against the monotonic one so far, ms.
    pub clock_step_ms_max: f64,
    /// The newest one.
    pub clock_step_ms: f64,
    pub rss_mib: f64,
    /// Slope of the resident memory over the last half hour, MiB an hour; absent before that.
    pub rss_mib_per_h: Option<f64>,
    pub fds: u64,
    pub threads: u64,
    pub disk_free_mib: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertsStatus {
    pub active: Vec<AlertRow>,
    pub raised: u64,
    pub delivered: u64,
    /// Deliveries given up.
    pub failed: u64,
    /// Notices that found the queue full.
    pub dropped: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertRow {
    pub name: String,
    /// `critical`, `warning`, `info`.
    pub severity: String,
    /// What it is about: a symbol, a thread; empty where there is only one.
    pub subject: String,
    pub text: String,
    pub since: String,
    /// Where RUNBOOK.md says what to do.
    pub runbook: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    pub at: String,
    /// `thread parse`, `data`, `clock`, …
    pub what: String,
    pub text: String,
    /// What was done about it.
    pub action: String,
}

/// One point of the charts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    pub at_ms: i64,
    pub ack_p50_ms: Option<f64>,
    pub ack_p99_ms: Option<f64>,
    pub ws_gap_p99_ms: Option<f64>,
    pub ws_gap_max_ms: Option<f64>,
    pub frames_per_s: u64,
    pub pnl: f64,
    pub rank_level: u8,
}

impl Status {
    pub fn to_json(&self) -> String {
        // Numbers, texts and lists only: it cannot fail but for memory.
        sonic_rs::to_string(self).unwrap_or_default()
    }
    pub fn point(&self) -> Point {
        let (ack, gap) = (&self.order_roundtrip_ms.ack.window, &self.ws_gap_ms.window);
        Point {
            at_ms: self.at_ms,
            ack_p50_ms: ack.p50,
            ack_p99_ms: ack.p99,
            ws_gap_p99_ms: gap.p99,
            ws_gap_max_ms: gap.max,
            frames_per_s: self.counts.frames_per_s,
            pnl: self.pnl.total,
            rank_level: self.state.rank_level,
        }
    }
}
