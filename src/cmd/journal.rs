//! `genesis journal verify|export`: what a run has written down is looked at as a whole, and made
//! into a history that anyone's SQL can read.

use super::assemble::{Context, ENGINE_GID};
use super::history::{HISTORY_FILE, config_hash_text};
use super::kill::json_text;
use super::{complain, places, say};
use crate::io::history::{History, HistoryRow, RunRow};
use crate::io::input_log::InputLogReader;
use crate::io::wal_copy::{WAL_COPY_FILE, WalCopied, read_copy};
use crate::line::send::read_wal_record;
use crate::model::{Body, Source};
use crate::ops::report::exit;
use crate::ops::rundir::{INPUT_FILE, RunDir};
use crate::runtime::cold::history::{HistoryStats, HistoryTap};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

/// Rows of one transaction.
const BATCH: usize = 4_096;

#[derive(Args, Debug)]
pub(super) struct JournalArgs {
    #[command(subcommand)]
    what: JournalCommand,
}
#[derive(Subcommand, Debug)]
enum JournalCommand {
    /// Check a run's input log and write-ahead records: whole, in order, no client id twice, and
    /// every own order that the venue told was written down before.
    Verify(RunOf),
    /// Make a history (SQLite) out of a run's input log and write-ahead records.
    Export {
        #[command(flatten)]
        run: RunOf,
        /// The file; default: history.db in the run's directory. Rows of this run in it are made
        /// anew, others stay.
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
}
#[derive(Args, Debug)]
struct RunOf {
    /// A run's directory, or the directory of all runs (then the newest).
    dir: Option<PathBuf>,
    /// JSON instead of words.
    #[arg(long)]
    json: bool,
}

/// What was found in a journal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct Found {
    run: String,
    events: u64,
    /// The run ended by itself and lost nothing of its input.
    input_complete: bool,
    records: u64,
    /// Records of orders: each has a client id of its own.
    orders: u64,
    /// Own orders that the venue told.
    orders_told: u64,
    fills: u64,
    /// Everything that is wrong; empty = the journal holds.
    faults: Vec<String>,
    /// Things to know that are no faults.
    remarks: Vec<String>,
}

pub(super) fn run(args: &JournalArgs) -> u8 {
    let (of, result) = match &args.what {
        JournalCommand::Verify(of) => (of, open(of).and_then(|run| verify(&run))),
        JournalCommand::Export { run: of, to } => {
            (of, open(of).and_then(|run| export(&run, to.clone())))
        }
    };
    match result {
        Ok(found) => {
            say(&if of.json { json_text(&found) } else { words(&found) });
            if found.faults.is_empty() { exit::OK } else { exit::FAILURE }
        }
        Err(words) => {
            complain(words);
            exit::BAD_INPUT
        }
    }
}

fn open(of: &RunOf) -> Result<RunDir, String> {
    RunDir::open(&places(of.dir.clone()).root())
        .map_err(|error| format!("{error}; name a run's directory"))
}

fn words(found: &Found) -> String {
    let mut text = format!(
        "run {}: {} events, {} write-ahead records, {} orders ({} told by the venue), {} fills\n",
        found.run, found.events, found.records, found.orders, found.orders_told, found.fills
    );
    for (lines, name) in [(&found.faults, "FAULT"), (&found.remarks, "note")] {
        lines.iter().for_each(|line| text.push_str(&format!("{name}: {line}\n")));
    }
    if found.faults.is_empty() {
        text.push_str("the journal holds\n");
    }
    text
}

/// Records of the run's own write-ahead log, as far as they are on disk.
fn records_of(run: &RunDir, found: &mut Found) -> Result<Option<WalCopied>, String> {
    let path = run.file(WAL_COPY_FILE);
    if !path.exists() {
        found.remarks.push("no copy of the write-ahead log: of an older build".to_owned());
        return Ok(None);
    }
    let copied = read_copy(&path).map_err(|error| format!("`{}`: {error}", path.display()))?;
    if copied.is_damaged {
        found
            .faults
            .push(format!("{WAL_COPY_FILE}: damaged after {} records", copied.records.len()));
    } else if copied.torn > 0 {
        found.remarks.push(format!("{WAL_COPY_FILE}: cut inside its last record"));
    }
    Ok(Some(copied))
}

/// Reads the input log and hands over every event.
fn read_events(
    run: &RunDir,
    found: &mut Found,
    mut take: impl FnMut(&InputLogReader, &crate::model::Event, &mut Found) -> Result<(), String>,
) -> Result<InputLogReader, String> {
    let path = run.file(INPUT_FILE);
    let said = |words: &dyn std::fmt::Display| format!("`{}`: {words}", path.display());
    let mut log = InputLogReader::open(&path).map_err(|error| said(&error))?;
    loop {
        match log.next_event() {
            Ok(Some(event)) => {
                found.events += 1;
                take(&log, &event, found)?;
            }
            Ok(None) => break,
            Err(error) => {
                found.faults.push(said(&error));
                break;
            }
        }
    }
    match log.incomplete() {
        None => found.input_complete = found.faults.is_empty(),
        Some(why) => found.remarks.push(format!("{INPUT_FILE}: {why}")),
    }
    Ok(log)
}

fn verify(run: &RunDir) -> Result<Found, String> {
    let mut found = Found { run: run.id(), ..Found::default() };
    let mut told: BTreeMap<u64, u64> = BTreeMap::new();
    let mut trades = BTreeSet::new();
    let mut newest_cid = 0;
    read_events(run, &mut found, |log, event, found| {
        if found.events == 1 {
            let context = Context::from_bytes(&log.header().context);
            newest_cid = context.map_or(0, |context| context.cid_used);
        }
        match &event.body {
            // What earlier runs left, the venue lists as well; theirs are their own journal's.
            Body::Order(order)
                if order.gid == ENGINE_GID
                    && !order.cid.is_none()
                    && !matches!(order.source, Source::Snapshot)
                    && order.cid.0 > newest_cid =>
            {
                if let Some(known) = told.insert(order.cid.0, order.id.0)
                    && known != order.id.0
                    && !order.id.is_none()
                {
                    found.faults.push(format!(
                        "client id {} is two orders at the venue, {known} and {}",
                        order.cid.0, order.id.0
                    ));
                }
            }
            Body::Fill(fill) => {
                trades.insert(fill.trade.0);
            }
            _ => {}
        }
        Ok(())
    })?;
    found.orders_told = told.len() as u64;
    found.fills = trades.len() as u64;
    let Some(copied) = records_of(run, &mut found)? else { return Ok(found) };
    let mut written = BTreeSet::new();
    let mut seq_before: Option<u64> = None;
    for record in &copied.records {
        found.records += 1;
        if seq_before.is_some_and(|before| record.seq != before + 1) {
            found.faults.push(format!(
                "write-ahead record {} follows {}",
                record.seq,
                seq_before.unwrap_or(0)
            ));
        }
        seq_before = Some(record.seq);
        match read_wal_record(&record.payload) {
            None => found.faults.push(format!("record {}: of another build", record.seq)),
            Some(command) if command.makes_an_order() => {
                found.orders += 1;
                if !written.insert(command.cid.0) {
                    found.faults.push(format!("client id {} was sent twice", command.cid.0));
                }
            }
            Some(_) => {}
        }
    }
    for cid in told.keys().filter(|cid| !written.contains(cid)) {
        found.faults.push(format!("order {cid} is at the venue and was never written down"));
    }
    Ok(found)
}

fn export(run: &RunDir, to: Option<PathBuf>) -> Result<Found, String> {
    let mut found = Found { run: run.id(), ..Found::default() };
    let path = to.unwrap_or_else(|| run.file(HISTORY_FILE));
    let said = |error: crate::io::history::HistoryError| format!("`{}`: {error}", path.display());
    let mut waiting: Vec<HistoryRow> = Vec::new();
    let mut store: Option<(History, HistoryTap)> = None;
    read_events(run, &mut found, |log, event, found| {
        if store.is_none() {
            let header = log.header();
            let context = Context::from_bytes(&header.context)
                .ok_or("its header is of another build; export it there")?;
            let facts = RunRow {
                started_ms: event.stamp.wall.as_ms(),
                build: header.build.clone(),
                config_hash: config_hash_text(header.config_hash),
                ..RunRow::default()
            };
            let names = context.instruments.iter().map(|row| row.name.as_str().to_owned());
            let (tap, _) =
                HistoryTap::new(names.collect(), ENGINE_GID, Arc::<HistoryStats>::default());
            let mut history = History::open(&path, &run.id(), &facts).map_err(said)?;
            history.forget_run().map_err(said)?;
            store = Some((history, tap));
        }
        let Some((history, tap)) = &mut store else { return Ok(()) };
        if let Some(row) = tap.row_of(event) {
            found.fills += u64::from(matches!(row, HistoryRow::Fill(..)));
            found.orders_told += u64::from(matches!(row, HistoryRow::Order(..)));
            waiting.push(row);
        }
        if waiting.len() >= BATCH {
            history.keep(&waiting).map_err(said)?;
            waiting.clear();
        }
        Ok(())
    })?;
    let Some((mut history, tap)) = store else {
        return Err("the input log has no event: nothing to export".to_owned());
    };
    if let Some(copied) = records_of(run, &mut found)? {
        found.records = copied.records.len() as u64;
        waiting.extend(copied.records.iter().filter_map(|record| tap.row_of_record(record)));
    }
    for rows in waiting.chunks(BATCH) {
        history.keep(rows).map_err(said)?;
    }
    found.remarks.push(format!("written to `{}`", path.display()));
    found.remarks.push("equity and trips are kept while it runs only".to_owned());
    Ok(found)
}
