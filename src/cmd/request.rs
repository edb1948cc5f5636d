//! What a run is asked for, how it can fail, and the words for both.

use super::assemble;
use crate::config::Config;
use crate::ops::rundir::Places;
use crate::ops::view::ViewMode;
use crate::runtime::cpu::CpuMap;
use crate::runtime::topology::{self, Topology, TopologySpec};
use std::time::Duration;

/// What a supervisor tells a service; read from the environment by `cmd` alone.
#[derive(Clone, Debug, Default)]
pub struct Service {
    /// `$NOTIFY_SOCKET`.
    pub notify_socket: Option<String>,
    /// `$WATCHDOG_USEC`.
    pub watchdog_usec: Option<String>,
}

/// What the command line adds to a config.
#[derive(Clone, Debug)]
pub struct RunRequest {
    /// Stop by itself after this long.
    pub run_for: Option<Duration>,
    pub view: ViewMode,
    /// The name behind `--arm`: the second switch of live trading.
    pub armed: Option<String>,
    /// Where run directories go.
    pub places: Places,
    /// An exchange of ours in another process (`genesis venue`), instead of an embedded one.
    pub attach: Option<String>,
    /// What the environment says to a service.
    pub service: Service,
    /// A drill: the wall clock of the run is stepped once, by so many ms, after so long.
    pub clock_step: Option<(i64, Duration)>,
    /// A drill: a thread by name, what it does wrong (`wedge`, `slow`, `panic`), and when.
    pub thread_fault: Option<(String, String, Duration)>,
}

/// Why a run did not come to a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunError {
    /// A file that is broken, a port in use: exit code 2.
    BadInput(String),
    /// Exit code 1.
    Failed(String),
}

pub(super) fn failed(error: impl std::fmt::Display) -> RunError {
    RunError::Failed(error.to_string())
}
pub(super) fn bad_input(error: impl std::fmt::Display) -> RunError {
    RunError::BadInput(error.to_string())
}

/// Why a run ends.
#[cfg(feature = "net")]
pub(super) struct Ending {
    pub(super) reason: String,
    pub(super) halted: bool,
}

/// A decision hash as reports print it.
pub(super) fn hash_text(hash: u64) -> String {
    format!("{hash:016x}")
}

/// The thread table of this config on this machine.
///
/// # Errors
/// Every problem of the table.
pub(super) fn resolve_topology(config: &Config) -> Result<Topology, RunError> {
    resolve(&assemble::topology(config))
}

/// A thread table on this machine.
///
/// # Errors
/// Every problem of the table.
pub(super) fn resolve(spec: &TopologySpec) -> Result<Topology, RunError> {
    topology::resolve(spec, &CpuMap::of_this_machine()).map_err(|problems| {
        let words: Vec<String> = problems.iter().map(ToString::to_string).collect();
        bad_input(words.join("\n"))
    })
}
