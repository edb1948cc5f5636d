//! The history of an account: kept beside a run, read by `genesis orders|fills|guards --history`.

use super::request::hash_text;
use super::{complain, places, say};
use crate::base::time::WallNs;
use crate::config::Config;
use crate::engine::risk::{Guard, GuardLevel, RiskSnapshot};
use crate::io::history::{Ask, EquityRow, History, HistoryRow, RunRow, Table, TripRow, newest};
use crate::model::Instrument;
use crate::ops::report::{Build, exit};
use crate::ops::rundir::RunDir;
use crate::runtime::cold::history::{HistoryStats, HistoryTap, HistoryThread};
use crate::runtime::cold::{self, ColdThread};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Of a run whose exchange lives in the same process; others share one file an account.
pub(super) const HISTORY_FILE: &str = "history.db";
/// Between two rows of the equity, ms.
const EQUITY_EVERY_MS: i64 = 10_000;
/// Most rows that are shown.
const SHOWN_MAX: u32 = 10_000;

/// Where the history of an account is; `is_embedded`: the account ends with the run.
pub(super) fn history_path(
    root: &Path,
    run_dir: &Path,
    account: &str,
    is_embedded: bool,
) -> PathBuf {
    match is_embedded {
        true => run_dir.join(HISTORY_FILE),
        false => root.join(format!("history-{account}.db")),
    }
}

/// What is told about a run.
pub(super) fn run_row(config: &Config, account: &str, started_at: WallNs) -> RunRow {
    RunRow {
        account: account.to_owned(),
        environment: config.environment.name().to_owned(),
        mode: config.trading.mode.name().to_owned(),
        started_ms: started_at.as_ms(),
        build: Build::current().commit,
        config_hash: config.hash(),
    }
}

/// Keeps the history of a run.
pub(super) struct HistoryKeeper {
    tap: HistoryTap,
    thread: Option<ColdThread>,
    stop: Arc<AtomicBool>,
    stats: Arc<HistoryStats>,
    equity_at_ms: i64,
    trips: [u32; Guard::COUNT],
}

impl HistoryKeeper {
    /// # Errors
    /// The file cannot be opened, in words.
    pub(super) fn start(
        path: &Path,
        run: &str,
        facts: &RunRow,
        instruments: &[Instrument],
        cpus: &[usize],
    ) -> Result<HistoryKeeper, String> {
        let store = History::open(path, run, facts)
            .map_err(|error| format!("history `{}`: {error}", path.display()))?;
        let stats: Arc<HistoryStats> = Arc::default();
        let names = instruments.iter().map(|row| row.name.as_str().to_owned()).collect();
        let gid = super::assemble::ENGINE_GID;
        let (tap, rows) = HistoryTap::new(names, gid, Arc::clone(&stats));
        let stop = Arc::new(AtomicBool::new(false));
        let thread =
            HistoryThread { store, rows, stop: Arc::clone(&stop), stats: Arc::clone(&stats) };
        let thread = cold::spawn("history", cpus, move || thread.run())?;
        let trips = [0; Guard::COUNT];
        Ok(HistoryKeeper { tap, thread: Some(thread), stop, stats, equity_at_ms: 0, trips })
    }
    /// For the journal thread.
    pub(super) fn tap(&self) -> HistoryTap {
        self.tap.clone()
    }
    /// Equity now and then, trips when they come.
    pub(super) fn round(
        &mut self,
        wall: WallNs,
        account: Option<&RiskSnapshot>,
        levels: &[GuardLevel],
    ) {
        let at_ms = wall.as_ms();
        if let Some(account) = account
            && at_ms - self.equity_at_ms >= EQUITY_EVERY_MS
        {
            self.equity_at_ms = at_ms;
            self.tap.tell(HistoryRow::Equity(EquityRow {
                at_ms,
                rank: account.rank.name(),
                realised: account.realised.raw(),
                unrealised: account.unrealised.raw(),
                fees: account.fees.raw(),
                exposure: account.exposure.raw(),
                orders_alive: account.orders_alive as u64,
            }));
        }
        for level in levels {
            let known = &mut self.trips[level.guard as usize];
            if level.trips > *known {
                *known = level.trips;
                self.tap.tell(HistoryRow::Trip(TripRow {
                    at_ms,
                    guard: level.guard.name(),
                    trips: level.trips,
                    used: level.used,
                    most: level.limit,
                    unit: level.unit.name(),
                }));
            }
        }
    }
    /// After the journal thread has ended: everything it told is written.
    pub(super) fn close(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let lost = self.stats.lost.load(Ordering::Relaxed);
        if lost > 0 {
            log::warn!("history: {lost} rows are missing; `genesis journal export` makes it anew");
        }
    }
}

/// `genesis orders|fills|guards --history`.
pub(super) fn show(ask: Ask, dir: Option<PathBuf>, limit: u32, json: bool) -> u8 {
    let root = places(dir).root();
    let table = find(&root).and_then(|path| {
        newest(&path, ask, limit.min(SHOWN_MAX))
            .map_err(|error| format!("history `{}`: {error}", path.display()))
    });
    match table {
        Ok(table) => {
            say(&if json { json_of(&table) } else { text_of(&table) });
            exit::OK
        }
        Err(words) => {
            complain(words);
            exit::BAD_INPUT
        }
    }
}

/// The newest run's own file, else the newest file of an account.
fn find(root: &Path) -> Result<PathBuf, String> {
    let own = root.join(HISTORY_FILE);
    if own.exists() {
        return Ok(own);
    }
    if let Ok(run) = RunDir::open(root)
        && run.file(HISTORY_FILE).exists()
    {
        return Ok(run.file(HISTORY_FILE));
    }
    let mut found: Vec<(std::time::SystemTime, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("history-")
            && name.ends_with(".db")
            && let Ok(at) = entry.metadata().and_then(|facts| facts.modified())
        {
            found.push((at, entry.path()));
        }
    }
    found.sort();
    found.pop().map(|(_, path)| path).ok_or_else(|| {
        format!(
            "no history in `{}`; runs keep one while journal.history is true, `genesis journal \
             export` makes one of a run",
            root.display()
        )
    })
}

fn json_of(table: &Table) -> String {
    let rows: Vec<std::collections::BTreeMap<&str, &str>> = table
        .rows
        .iter()
        .map(|row| {
            table.columns.iter().map(String::as_str).zip(row.iter().map(String::as_str)).collect()
        })
        .collect();
    super::kill::json_text(&rows)
}

fn text_of(table: &Table) -> String {
    let mut widths: Vec<usize> = table.columns.iter().map(String::len).collect();
    for row in &table.rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.len());
        }
    }
    let line = |cells: &[String]| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    let mut text = line(&table.columns);
    table.rows.iter().for_each(|row| text.push_str(&line(row)));
    text
}

/// A config's hash as the input log's header has it.
pub(super) fn config_hash_text(hash: u64) -> String {
    hash_text(hash)
}
