//! What is told to people before it hurts. Rules look at the status alone; a thread of its own
//! tells the log, a webhook and Telegram, each notice with the place in RUNBOOK.md.

#[cfg(feature = "net")]
mod deliver;
mod rules;
#[cfg(all(test, feature = "net"))]
mod tests;

#[cfg(feature = "net")]
pub use deliver::{Channels, Notifier, test_notice};
pub use rules::{Finding, Rules};

use std::time::Duration;

/// The alerts there are. The name is the key in config and the anchor in RUNBOOK.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlertKind {
    Killed,
    Halted,
    GuardTrip,
    NoTrades,
    ReconnectLoop,
    SlowOrders,
    BookNotTradable,
    UnknownOrder,
    PositionMismatch,
    RateLimited,
    BreakerOpen,
    NonceRecovery,
    ClockStep,
    RingDrops,
    Watchdog,
    DiskLow,
    MemorySlope,
    AlertChannelDown,
    JournalFailed,
    LinkDown,
    FlattenStuck,
    NakedPosition,
    DailySummary,
}

/// All of them, in the order of the manual.
pub const ALERTS: [AlertKind; 23] = [
    AlertKind::Killed,
    AlertKind::Halted,
    AlertKind::GuardTrip,
    AlertKind::NoTrades,
    AlertKind::ReconnectLoop,
    AlertKind::SlowOrders,
    AlertKind::BookNotTradable,
    AlertKind::UnknownOrder,
    AlertKind::PositionMismatch,
    AlertKind::RateLimited,
    AlertKind::BreakerOpen,
    AlertKind::NonceRecovery,
    AlertKind::ClockStep,
    AlertKind::RingDrops,
    AlertKind::Watchdog,
    AlertKind::DiskLow,
    AlertKind::MemorySlope,
    AlertKind::AlertChannelDown,
    AlertKind::JournalFailed,
    AlertKind::LinkDown,
    AlertKind::FlattenStuck,
    AlertKind::NakedPosition,
    AlertKind::DailySummary,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Critical,
    Warning,
    Info,
}
impl Severity {
    pub const fn name(self) -> &'static str {
        match self {
            Severity::Critical => "critical",
            Severity::Warning => "warning",
            Severity::Info => "info",
        }
    }
}

impl AlertKind {
    pub const fn name(self) -> &'static str {
        match self {
            AlertKind::Killed => "killed",
            AlertKind::Halted => "halted",
            AlertKind::GuardTrip => "guard_trip",
            AlertKind::NoTrades => "no_trades",
            AlertKind::ReconnectLoop => "reconnect_loop",
            AlertKind::SlowOrders => "slow_orders",
            AlertKind::BookNotTradable => "book_not_tradable",
            AlertKind::UnknownOrder => "unknown_order",
            AlertKind::PositionMismatch => "position_mismatch",
            AlertKind::RateLimited => "rate_limited",
            AlertKind::BreakerOpen => "breaker_open",
            AlertKind::NonceRecovery => "nonce_recovery",
            AlertKind::ClockStep => "clock_step",
            AlertKind::RingDrops => "ring_drops",
            AlertKind::Watchdog => "watchdog",
            AlertKind::DiskLow => "disk_low",
            AlertKind::MemorySlope => "memory_slope",
            AlertKind::AlertChannelDown => "alert_channel_down",
            AlertKind::JournalFailed => "journal_failed",
            AlertKind::LinkDown => "link_down",
            AlertKind::FlattenStuck => "flatten_stuck",
            AlertKind::NakedPosition => "naked_position",
            AlertKind::DailySummary => "daily_summary",
        }
    }
    /// For the manual.
    pub const fn about(self) -> &'static str {
        match self {
            AlertKind::Killed => "The kill switch was used, by a person or a guard.",
            AlertKind::Halted => "The engine stopped trading by itself.",
            AlertKind::GuardTrip => "A guard began to refuse orders, or the rank became stricter.",
            AlertKind::NoTrades => "No own fill for no_trades_ms, with the top refusal reason.",
            AlertKind::ReconnectLoop => "Sockets close again and again.",
            AlertKind::SlowOrders => "The p99 of order round trips is over its bound.",
            AlertKind::BookNotTradable => "A symbol is stale or out of step.",
            AlertKind::UnknownOrder => "An order's fate is not known; its symbol is frozen.",
            AlertKind::PositionMismatch => "The venue says another position than our fills.",
            AlertKind::RateLimited => "The venue refuses for the rate (429 or ban).",
            AlertKind::BreakerOpen => "A REST breaker is open.",
            AlertKind::NonceRecovery => "The venue refused a nonce and it was stepped past.",
            AlertKind::ClockStep => "The wall clock was stepped.",
            AlertKind::RingDrops => "The input log has missed events; the run has no full replay.",
            AlertKind::Watchdog => "The watchdog found something, and acted or not.",
            AlertKind::DiskLow => "The disk of the run directory is nearly full.",
            AlertKind::MemorySlope => "Memory grows steadily.",
            AlertKind::AlertChannelDown => "A webhook or Telegram could not be reached.",
            AlertKind::JournalFailed => "The disk refuses the journal's writes.",
            AlertKind::LinkDown => "A socket is closed for longer than unsynced_ms.",
            AlertKind::FlattenStuck => "A flatten gave up with something left.",
            AlertKind::NakedPosition => "A position has not the protective orders it should have.",
            AlertKind::DailySummary => "Once a UTC day: orders, fills, profit and loss, refusals.",
        }
    }
    pub const fn severity(self) -> Severity {
        match self {
            AlertKind::Killed
            | AlertKind::Halted
            | AlertKind::UnknownOrder
            | AlertKind::PositionMismatch
            | AlertKind::Watchdog
            | AlertKind::FlattenStuck
            | AlertKind::NakedPosition
            | AlertKind::JournalFailed => Severity::Critical,
            AlertKind::DailySummary => Severity::Info,
            _ => Severity::Warning,
        }
    }
    /// The place in RUNBOOK.md.
    pub fn runbook(self) -> String {
        format!("RUNBOOK.md#{}", self.name())
    }
}

/// What the alerts are told at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertConfig {
    pub enabled: bool,
    pub webhook_url_file: String,
    pub telegram_url_file: String,
    pub telegram_chat: String,
    /// After it cleared, not told again before this has passed.
    pub hold_off: Duration,
    pub order_roundtrip_p99_max: Duration,
    /// Zero = never.
    pub no_trades_after: Duration,
    pub unsynced_after: Duration,
    pub clock_step_max: Duration,
    /// Within five minutes.
    pub reconnects_max: u64,
    pub disk_free_mib_min: u64,
    pub rss_mib_per_h_max: u64,
    pub off: Vec<AlertKind>,
}
impl Default for AlertConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            webhook_url_file: String::new(),
            telegram_url_file: String::new(),
            telegram_chat: String::new(),
            hold_off: Duration::from_secs(60),
            order_roundtrip_p99_max: Duration::from_millis(500),
            no_trades_after: Duration::ZERO,
            unsynced_after: Duration::from_secs(3),
            clock_step_max: Duration::from_millis(250),
            reconnects_max: 5,
            disk_free_mib_min: 512,
            rss_mib_per_h_max: 64,
            off: Vec::new(),
        }
    }
}
