//! Where the command line ends and the engine begins.

use crate::config::Config;
use crate::ops::report::Report;
use crate::ops::rundir::Places;
use crate::ops::view::ViewMode;
use std::path::Path;
use std::time::Duration;

/// What the command line adds to a config.
#[derive(Clone, Debug)]
pub struct RunRequest {
    /// Stop by itself after this long.
    pub run_for: Option<Duration>,
    pub view: ViewMode,
    /// `--arm` named the account of the config.
    pub is_armed: bool,
    /// Where run directories go.
    pub places: Places,
}

/// Why a run did not come to a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunError {
    /// A file that is broken, a port in use: exit code 2.
    BadInput(String),
    /// Exit code 1.
    Failed(String),
}

/// What a replay found.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ReplayOutcome {
    pub events: u64,
    pub commands: u64,
    pub decision_hash: String,
    /// The hash the run itself had; absent where its log is incomplete.
    pub recorded_hash: Option<String>,
    pub is_complete: bool,
}

/// Runs the engine until it is told to stop.
///
/// # Errors
/// The run could not start or broke off.
pub fn runtime_entry(config: Config, request: RunRequest) -> Result<Report, RunError> {
    // INTEGRATOR: the body.
    let _ = (config, request);
    Err(RunError::Failed("the engine is not joined yet".to_owned()))
}

/// Feeds the input log of the run in `dir` through the line by direct calls.
///
/// # Errors
/// The log cannot be read.
pub fn replay_entry(dir: &Path) -> Result<ReplayOutcome, RunError> {
    // INTEGRATOR: the body.
    let _ = dir;
    Err(RunError::Failed("replay is not joined yet".to_owned()))
}

/// The resolved core map of this machine, as text.
///
/// # Errors
/// The topology does not fit this machine.
pub fn explain_topology(config: &Config) -> Result<String, RunError> {
    // INTEGRATOR: `runtime::topology::resolve` over the CPUs of this machine.
    let t = &config.topology;
    Ok(format!("topology {} (wait {})\n", t.layout.name(), t.wait.name()))
}
