//! What the view shows, as plain data. Built by the run from snapshots; the view asks nothing back.

use crate::base::units::{Px, Qty, Quote, Side};
use crate::model::Rank;
use crate::ops::metrics::Percentiles;

#[derive(Clone, Debug, Default)]
pub struct ViewModel {
    pub environment: String,
    /// e.g. `synthetic:1`.
    pub market: String,
    /// e.g. `×1`.
    pub speed: String,
    /// `paper`, `live`, …
    pub mode: String,
    pub elapsed_s: u64,
    pub rank: Rank,
    /// Why it is not running, or what it is doing now: `stopping: 2 own orders left to cancel`.
    pub notice: String,
    pub is_stopping: bool,
    pub links: Vec<LinkRow>,
    pub symbols: Vec<SymbolRow>,
    /// Own orders alive.
    pub orders: Vec<OrderRow>,
    pub stages: Vec<StageRow>,
    pub t1: Percentiles,
    pub t2: Percentiles,
    pub ack_ms: Percentiles,
    pub counts: Counts,
    /// Quote currency of `pnl` and `fees`.
    pub currency: String,
    pub pnl: Quote,
    pub fees: Quote,
    /// Newest log lines, oldest first.
    pub messages: Vec<String>,
}

#[derive(Clone, Debug, Default)]
pub struct LinkRow {
    pub name: String,
    pub is_up: bool,
    /// `up`, `authenticated`, `reconnecting in 2 s`, …
    pub state: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BookHealth {
    /// No snapshot yet.
    #[default]
    Waiting,
    Synced,
    /// Synced, but no change for longer than the limit.
    Stale,
    /// Gap, failed checksum, crossed: not tradable.
    Unsynced,
}
impl BookHealth {
    pub fn name(self) -> &'static str {
        match self {
            BookHealth::Waiting => "waiting",
            BookHealth::Synced => "synced",
            BookHealth::Stale => "stale",
            BookHealth::Unsynced => "UNSYNCED",
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct SymbolRow {
    pub name: String,
    pub strategy: String,
    pub book: BookHealth,
    /// Since the newest change.
    pub age_ms: Option<u64>,
    pub bid: Option<Px>,
    pub ask: Option<Px>,
    /// `trend`, `range`, `balanced`; empty while unknown.
    pub regime: String,
    pub position: Qty,
    pub px_avg: Px,
    /// Realised and unrealised, before fees, in the symbol's quote currency.
    pub pnl: Quote,
    /// Symbol is frozen by an order of unknown fate.
    pub is_frozen: bool,
}

#[derive(Clone, Debug)]
pub struct OrderRow {
    pub cid: u64,
    pub symbol: String,
    pub side: Side,
    /// Unsigned, what is left.
    pub remaining: Qty,
    /// Unsigned.
    pub original: Qty,
    pub px: Px,
    /// `sending`, `working`, `partly filled`, …
    pub state: String,
    pub age_ms: u64,
}

#[derive(Clone, Debug, Default)]
pub struct StageRow {
    pub name: String,
    /// ns.
    pub latency: Percentiles,
    /// Share of the thread's time that did work, 0 … 1.
    pub busy: f64,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub frames: u64,
    pub frames_per_s: u64,
    pub book_updates: u64,
    pub crc_checked: u64,
    pub crc_failed: u64,
    pub seq_gaps: u64,
    pub reconnects: u64,
    /// Views and trades replaced at the mouth.
    pub conflated: u64,
    /// Things lost that should not be: unknown messages, an incomplete input log.
    pub dropped: u64,
    pub halts: u64,
    pub sent: u64,
    pub acked: u64,
    pub partly_filled: u64,
    pub filled: u64,
    pub cancelled: u64,
    pub rejected: u64,
    pub unknown: u64,
    /// Refused by risk.
    pub refused: u64,
}

impl ViewModel {
    /// What the banner says, if there is something to say.
    pub fn banner(&self) -> Option<String> {
        let rank = self.rank.name();
        match (self.rank, self.notice.is_empty()) {
            (Rank::Running, true) => None,
            (Rank::Running, false) => Some(self.notice.clone()),
            (_, true) => Some(rank.to_owned()),
            (_, false) => Some(format!("{rank}: {}", self.notice)),
        }
    }
    pub fn books_synced(&self) -> usize {
        self.symbols.iter().filter(|row| row.book == BookHealth::Synced).count()
    }
}
