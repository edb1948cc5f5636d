//! `genesis replay DIR`: the input log of a run, fed through the line by direct calls.

use super::engine::{self, ReplayBy};
use super::request::RunError;
use super::{complain, places, say};
use crate::base::limits::{BATCH_MAX, BURST_MAX, RING_DEPTH_MAX};
use crate::ops::report::exit;
use crate::ops::rundir::RunDir;
use crate::ops::text::grouped;
use crate::runtime::topology::Layout;
use clap::Args;
use std::path::PathBuf;

#[derive(Args, Debug)]
pub(super) struct ReplayArgs {
    /// A run's directory, or the directory of all runs (then the newest).
    dir: Option<PathBuf>,
    /// Fail (exit code 1) unless the decisions are those of the run.
    #[arg(long)]
    verify: bool,
    /// How the stages are driven: direct (calls, no rings), fused, split or pipeline.
    #[arg(long, value_name = "LAYOUT", default_value = "direct", value_parser = layout)]
    layout: ReplayLayout,
    /// Slots of every ring instead of the config's; a power of two, at least 128.
    #[arg(long, value_name = "SLOTS", value_parser = depth)]
    depth: Option<usize>,
    /// JSON instead of words.
    #[arg(long)]
    json: bool,
}

/// `None` = direct calls.
#[derive(Clone, Copy, Debug)]
struct ReplayLayout(Option<Layout>);

fn layout(text: &str) -> Result<ReplayLayout, String> {
    match Layout::from_name(text) {
        _ if text == "direct" => Ok(ReplayLayout(None)),
        Some(layout @ (Layout::Fused | Layout::Split | Layout::Pipeline)) => {
            Ok(ReplayLayout(Some(layout)))
        }
        _ => Err("write direct, fused, split or pipeline".to_owned()),
    }
}

fn depth(text: &str) -> Result<usize, String> {
    let depth = text.parse::<usize>().ok();
    depth
        .filter(|d| d.is_power_of_two() && (REPLAY_DEPTH_MIN..=RING_DEPTH_MAX).contains(d))
        .ok_or_else(|| format!("write a power of two from {REPLAY_DEPTH_MIN} to {RING_DEPTH_MAX}"))
}

/// The smallest ring that holds a batch and a burst.
const REPLAY_DEPTH_MIN: usize = (BATCH_MAX + BURST_MAX).next_power_of_two();

pub(super) fn run(args: &ReplayArgs) -> u8 {
    let run = match RunDir::open(&places(args.dir.clone()).root()) {
        Ok(run) => run,
        Err(error) => {
            complain(format!("{error}; name a run's directory"));
            return exit::BAD_INPUT;
        }
    };
    let by = match args.layout.0 {
        None => ReplayBy::DirectCalls,
        Some(layout) => ReplayBy::Layout { layout, depth: args.depth },
    };
    let outcome = match engine::replay_entry(run.path(), by) {
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
            "{} events, {} commands, decision hash {}; the run had {}{}{}",
            grouped(outcome.events),
            grouped(outcome.commands),
            outcome.decision_hash,
            recorded.unwrap_or("none"),
            if outcome.is_complete { "" } else { "; its log is incomplete" },
            outcome.records_same.map_or(String::new(), |count| format!(
                "; {} of its write-ahead records decided again, byte by byte",
                grouped(count)
            )),
        ));
    }
    if let (true, Some(place)) = (args.verify, outcome.record_differs) {
        complain(format!("write-ahead record {place} of the run was not decided again"));
        return exit::FAILURE;
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
