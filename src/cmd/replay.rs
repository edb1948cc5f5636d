//! `genesis replay DIR`: the input log of a run, fed through the line by direct calls.

use super::engine::{self, RunError};
use super::{complain, places, say};
use crate::ops::report::exit;
use crate::ops::rundir::RunDir;
use crate::ops::text::grouped;
use clap::Args;
use std::path::PathBuf;

#[derive(Args, Debug)]
pub(super) struct ReplayArgs {
    /// A run's directory, or the directory of all runs (then the newest).
    dir: Option<PathBuf>,
    /// Fail (exit code 1) unless the decisions are those of the run.
    #[arg(long)]
    verify: bool,
    /// JSON instead of words.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &ReplayArgs) -> u8 {
    let run = match RunDir::open(&places(args.dir.clone()).root()) {
        Ok(run) => run,
        Err(error) => {
            complain(format!("{error}; name a run's directory"));
            return exit::BAD_INPUT;
        }
    };
    let outcome = match engine::replay_entry(run.path()) {
        Ok(outcome) => outcome,
        Err(RunError::BadInput(words)) => {
            complain(words);
            return exit::BAD_INPUT;
        }
        Err(RunError::Failed(words)) => {
            complain(words);
            return exit::FAILURE;
        }
    };
    let recorded = outcome.recorded_hash.as_deref();
    let same = recorded == Some(outcome.decision_hash.as_str());
    if args.json {
        say(&sonic_rs::to_string_pretty(&outcome).unwrap_or_default());
    } else {
        say(&format!(
            "{} events, {} commands, decision hash {}; the run had {}{}",
            grouped(outcome.events),
            grouped(outcome.commands),
            outcome.decision_hash,
            recorded.unwrap_or("none"),
            if outcome.is_complete { "" } else { "; its log is incomplete" },
        ));
    }
    match (args.verify, same) {
        (true, false) if recorded.is_some() => {
            complain("the decisions differ from those of the run");
            exit::FAILURE
        }
        (true, false) => {
            complain("the run left no hash to compare with: its log is incomplete");
            exit::FAILURE
        }
        _ => exit::OK,
    }
}
