//! Where the command line ends and the engine begins: what a run is asked for, how it can fail, and
//! the two ways a line is driven, live and from its input log.

use super::assemble::{self, Context};
use super::request::{RunError, RunRequest, bad_input, failed, hash_text, resolve_topology};
use crate::config::{Config, Sources};
use crate::io::input_log::InputLogReader;
use crate::io::wal::WalRecord;
use crate::io::wal_copy::{WAL_COPY_FILE, read_copy};
use crate::line::chain::Chain;
use crate::line::send::{SendLine, WAL_RECORD_SIZE, wal_record};
use crate::model::{Command, Event};
use crate::ops::report::Report;
use crate::ops::rundir::{CONFIG_FILE, INPUT_FILE};
use crate::runtime::topology::Layout;
#[cfg(feature = "net")]
use crate::runtime::topology::TopologySpec;
use crate::venue::symbols::SymbolTable;
use std::path::Path;

/// What a replay found.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ReplayOutcome {
    pub events: u64,
    pub commands: u64,
    pub decision_hash: String,
    /// The hash the run itself had; absent where its log is incomplete.
    pub recorded_hash: Option<String>,
    pub is_complete: bool,
    /// Write-ahead records of the run that were found again, byte by byte and in the same order,
    /// among what the replay decided; absent where the run left no copy of them, or the replay goes
    /// over rings.
    pub records_same: Option<u64>,
    /// The first record of the run that the replay did not decide: its place, from 0.
    pub record_differs: Option<u64>,
}

/// Runs the engine until it is told to stop.
///
/// # Errors
/// The run could not start or broke off.
pub fn runtime_entry(config: Config, request: RunRequest) -> Result<Report, RunError> {
    #[cfg(feature = "net")]
    return super::session::run(config, request);
    #[cfg(not(feature = "net"))]
    {
        let _ = (config, request);
        Err(failed("this build has no sockets: build it with the feature `net`"))
    }
}

/// How a replay drives the stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayBy {
    /// One after the other, without rings.
    DirectCalls,
    /// Over rings, on the threads of this layout. Depth of every ring, if not as the config says.
    Layout { layout: Layout, depth: Option<usize> },
}

/// Feeds the input log of the run in `dir` through the line.
///
/// # Errors
/// The log or the config beside it cannot be read; a thread that could not be placed.
pub fn replay_entry(dir: &Path, by: ReplayBy) -> Result<ReplayOutcome, RunError> {
    let path = dir.join(INPUT_FILE);
    let in_log = |words: &dyn std::fmt::Display| bad_input(format!("{}: {words}", path.display()));
    let mut log = InputLogReader::open(&path).map_err(|e| in_log(&e))?;
    let sources = Sources { file: Some(dir.join(CONFIG_FILE)), overrides: Vec::new() };
    let config = sources.load().map_err(bad_input)?;
    let context = Context::from_bytes(&log.header().context)
        .ok_or_else(|| in_log(&"its header is of another build; replay it there"))?;
    let chain = chain(&config, &context)?;
    let mut same = Same::of(dir);
    let (send, events) = match by {
        ReplayBy::DirectCalls => {
            let mut chain = chain;
            let mut events = 0;
            while let Some(event) = log.next_event().map_err(|e| in_log(&e))? {
                chain.on_event(&event, |command, _, _| same.decided(command));
                events += 1;
            }
            (chain.send, events)
        }
        ReplayBy::Layout { layout, depth } => {
            let mut all = Vec::new();
            while let Some(event) = log.next_event().map_err(|e| in_log(&e))? {
                all.push(event);
            }
            let events = all.len() as u64;
            let symbols = context.instruments.len();
            same = Same::default();
            (over_rings(&config, chain, symbols, layout, depth, all)?, events)
        }
    };
    let is_complete = log.incomplete().is_none();
    Ok(ReplayOutcome {
        events,
        commands: send.commands(),
        decision_hash: hash_text(send.decision_hash()),
        recorded_hash: log.decision_hash().filter(|_| is_complete).map(hash_text),
        is_complete,
        records_same: same.records.as_ref().map(|_| same.found as u64),
        record_differs: same.missing(),
    })
}

/// The run's own write-ahead records beside what a replay decides: each of them must come again, in
/// its order. A decision without a record is one that the door refused then.
#[derive(Default)]
struct Same {
    records: Option<Vec<Vec<u8>>>,
    found: usize,
}
impl Same {
    fn of(dir: &Path) -> Same {
        let copied = read_copy(&dir.join(WAL_COPY_FILE)).ok();
        let own = |record: WalRecord| {
            (record.payload.len() == WAL_RECORD_SIZE).then(|| record.payload.to_vec())
        };
        let records = copied.map(|copied| copied.records.into_iter().filter_map(own).collect());
        Same { records, found: 0 }
    }
    fn decided(&mut self, command: &Command) {
        let Some(next) = self.records.as_ref().and_then(|rows| rows.get(self.found)) else {
            return;
        };
        self.found += usize::from(next.as_slice() == wal_record(command));
    }
    fn missing(&self) -> Option<u64> {
        let count = self.records.as_ref()?.len();
        (self.found < count).then_some(self.found as u64)
    }
}

#[cfg(feature = "net")]
fn over_rings(
    config: &Config,
    chain: Chain,
    symbols: usize,
    layout: Layout,
    depth: Option<usize>,
    events: Vec<Event>,
) -> Result<SendLine, RunError> {
    // Threads may share a core here: a replay asks for the same decisions, not for speed.
    let spec = TopologySpec {
        layout,
        wait: Some(crate::runtime::wait::WaitKind::Backoff),
        threads: Vec::new(),
        links: assemble::topology(config).links,
    };
    let mut topology = super::request::resolve(&spec)?;
    for link in &mut topology.links {
        link.depth = depth.unwrap_or(link.depth);
    }
    let Chain { signal, risk, send } = chain;
    let clock = crate::io::clock::Clock::start_unchecked();
    let plan = crate::runtime::replay::ReplayPlan { signal, risk, send, symbols, topology, clock };
    plan.run(events.into_iter()).map_err(failed)
}

#[cfg(not(feature = "net"))]
fn over_rings(
    _: &Config,
    _: Chain,
    _: usize,
    _: Layout,
    _: Option<usize>,
    _: Vec<Event>,
) -> Result<SendLine, RunError> {
    Err(failed("this build has no threads for stages: build it with the feature `net`"))
}

/// The stages of a run by direct call.
fn chain(config: &Config, context: &Context) -> Result<Chain, RunError> {
    let stages = assemble::stages(config, context).map_err(bad_input)?;
    let table = SymbolTable::new(&context.instruments);
    let gate = assemble::gate(config, true);
    let send = SendLine::new(gate, table, Some(assemble::ENGINE_GID), 0);
    Ok(Chain { signal: stages.signal, risk: stages.risk, send })
}

/// The resolved core map of this machine, as text.
///
/// # Errors
/// The topology does not fit this machine.
pub fn explain_topology(config: &Config) -> Result<String, RunError> {
    Ok(resolve_topology(config)?.to_string())
}
