//! The history thread: takes what the journal thread and the run's loop tell and keeps it in
//! SQLite. A slow disk or a reader that holds the file costs rows of the history, counted, never an
//! order.

use crate::io::history::{CommandRow, History, HistoryRow, WordRow};
use crate::io::wal::WalRecord;
use crate::line::send::read_wal_record;
use crate::model::{Body, Event};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Rows that may wait: a minute of a busy market.
const WAITING_MAX: usize = 32_768;
/// Rows of one transaction.
const BATCH: usize = 1_024;
/// How long rows are gathered before they are written.
const GATHER: Duration = Duration::from_millis(200);

/// What the thread did, for the view.
#[derive(Debug, Default)]
pub struct HistoryStats {
    pub rows: AtomicU64,
    /// Rows that found no place, or that the file did not take.
    pub lost: AtomicU64,
}

/// The telling end; clones share it.
#[derive(Clone)]
pub struct HistoryTap {
    rows: Sender<HistoryRow>,
    names: Arc<[String]>,
    gid: u64,
    stats: Arc<HistoryStats>,
}

impl HistoryTap {
    /// `names` by index of the symbols' ids; orders of other groups than `gid` are not kept.
    pub fn new(
        names: Vec<String>,
        gid: u64,
        stats: Arc<HistoryStats>,
    ) -> (HistoryTap, Receiver<HistoryRow>) {
        let (rows, inbox) = bounded(WAITING_MAX);
        (HistoryTap { rows, names: names.into(), gid, stats }, inbox)
    }
    pub fn tell(&self, row: HistoryRow) {
        if self.rows.try_send(row).is_err() {
            self.stats.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
    fn name(&self, symbol: u16) -> String {
        self.names.get(usize::from(symbol)).cloned().unwrap_or_default()
    }
    /// What of a sequenced event is worth keeping.
    pub fn on_event(&self, event: &Event) {
        if let Some(row) = self.row_of(event) {
            self.tell(row);
        }
    }
    /// The row of an event; most have none.
    pub fn row_of(&self, event: &Event) -> Option<HistoryRow> {
        match &event.body {
            Body::Order(order) if order.gid == self.gid && !order.id.is_none() => {
                Some(HistoryRow::Order(self.name(order.symbol.0), *order))
            }
            Body::Fill(fill) => Some(HistoryRow::Fill(self.name(fill.symbol.0), *fill)),
            Body::Operator(command) => {
                let symbol = command.symbol.map_or(String::new(), |symbol| self.name(symbol.0));
                let row = WordRow {
                    at_ms: event.stamp.wall.as_ms(),
                    verb: format!("{:?}", command.verb),
                    reason: command.reason.as_str().to_owned(),
                };
                Some(HistoryRow::Word(symbol, row))
            }
            _ => None,
        }
    }
    pub fn on_record(&self, record: &WalRecord) {
        if let Some(row) = self.row_of_record(record) {
            self.tell(row);
        }
    }
    /// The row of a write-ahead record; `None` where its layout is not known.
    pub fn row_of_record(&self, record: &WalRecord) -> Option<HistoryRow> {
        let told = read_wal_record(&record.payload)?;
        let asks = !told.qty.is_zero();
        let row = CommandRow {
            at_ms: told.wall.as_ms(),
            what: told.what,
            class: told.class.to_owned(),
            reason: reason_name(told.reason).to_owned(),
            strategy: told.strategy,
            cid: (!told.cid.is_none()).then_some(told.cid.0),
            order_id: (!told.id.is_none()).then_some(told.id.0),
            qty: asks.then_some(told.qty.raw()),
            px: asks.then_some(told.px.raw()),
            seq: told.seq,
        };
        Some(HistoryRow::Command(self.name(told.symbol), row))
    }
}

fn reason_name(reason: u8) -> &'static str {
    const NAMES: [&str; 17] = [
        "probe",
        "signal",
        "signal_flip",
        "quote",
        "requote",
        "inventory_skew",
        "stop_loss",
        "take_profit",
        "trailing_stop",
        "stale_data",
        "unsynced",
        "disconnected",
        "rejected",
        "killed",
        "operator",
        "shutdown",
        "custom",
    ];
    const _: () = assert!(crate::model::Reason::Custom as usize + 1 == NAMES.len());
    NAMES.get(usize::from(reason)).copied().unwrap_or("?")
}

/// Writes until told to stop, then what is left.
pub struct HistoryThread {
    pub store: History,
    pub rows: Receiver<HistoryRow>,
    pub stop: Arc<AtomicBool>,
    pub stats: Arc<HistoryStats>,
}

impl HistoryThread {
    pub fn run(mut self) {
        let mut waiting: Vec<HistoryRow> = Vec::with_capacity(BATCH);
        let mut told = false;
        loop {
            // Asked before: what came until then is still taken.
            let is_last = self.stop.load(Ordering::Acquire);
            let gone = match self.rows.recv_timeout(GATHER) {
                Ok(row) => {
                    waiting.push(row);
                    false
                }
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => true,
            };
            while waiting.len() < BATCH
                && let Ok(row) = self.rows.try_recv()
            {
                waiting.push(row);
            }
            if !waiting.is_empty() {
                let count = waiting.len() as u64;
                match self.store.keep(&waiting) {
                    Ok(()) => self.stats.rows.fetch_add(count, Ordering::Relaxed),
                    Err(error) => {
                        if !std::mem::replace(&mut told, true) {
                            log::error!("history: {error}; rows are lost, trading goes on");
                        }
                        self.stats.lost.fetch_add(count, Ordering::Relaxed)
                    }
                };
                waiting.clear();
            }
            if gone || is_last && self.rows.is_empty() {
                return;
            }
        }
    }
}
