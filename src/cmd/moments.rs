//! `genesis simulate --kills`: the kill switch, pulled at a random moment a seed under each condition,
//! and a table of how it ended.

use super::say;
use crate::ops::report::exit;
use crate::world::{Condition, KillOutcome, pull_once};
use rayon::prelude::*;
use serde::Serialize;
use std::fmt::Write as _;

/// Pulls and prints; a kill that ended neither flat nor written down is a failure.
pub(super) fn run(seeds: std::ops::RangeInclusive<u64>, trace: bool, as_json: bool) -> u8 {
    let all: Vec<(Condition, u64)> = Condition::ALL
        .into_iter()
        .flat_map(|condition| seeds.clone().map(move |seed| (condition, seed)))
        .collect();
    let outcomes: Vec<KillOutcome> =
        all.into_par_iter().map(|(condition, seed)| pull_once(condition, seed, trace)).collect();
    let rows: Vec<Row> = Condition::ALL
        .into_iter()
        .map(|condition| Row::of(condition, outcomes.iter().filter(|o| o.condition == condition)))
        .collect();
    let failed: Vec<&KillOutcome> = outcomes.iter().filter(|o| o.violation.is_some()).collect();
    if as_json {
        let all = Table { failed: failed.len(), conditions: rows };
        say(&sonic_rs::to_string(&all).unwrap_or_default());
    } else {
        let mut text = String::from(
            "condition               pulls  flat  later flat  left, written  by line  held      \
             first cancel ms p50 / p99   flat s p50 / p99 / most\n",
        );
        rows.iter().for_each(|row| text.push_str(&row.text()));
        for outcome in &failed {
            if let Some(violation) = &outcome.violation {
                let _ = writeln!(
                    text,
                    "{}, seed {}: {} at {:.3} s: {}\n  repeat: genesis simulate --kills --seeds \
                     {} --trace",
                    outcome.condition.name(),
                    outcome.seed,
                    violation.checker,
                    violation.at_ns as f64 / 1e9,
                    violation.words,
                    outcome.seed,
                );
                for line in &outcome.lines {
                    let _ = writeln!(text, "    {line}");
                }
            }
        }
        let _ = write!(text, "neither flat nor written down, or another claim broken: ");
        let _ = write!(text, "{}", failed.len());
        say(&text);
    }
    if failed.is_empty() { exit::OK } else { exit::FAILURE }
}

#[derive(Serialize)]
struct Table {
    failed: usize,
    conditions: Vec<Row>,
}

/// One condition.
#[derive(Serialize)]
struct Row {
    condition: &'static str,
    pulls: usize,
    /// Flat by the first word, flat after something had been written down, never flat.
    flat: usize,
    later_flat: usize,
    left: usize,
    by_line: usize,
    /// Pulls with an own order or a position at the exchange.
    held: usize,
    /// Pulls with something to cancel, and their p50 and p99.
    first_cancels: usize,
    first_cancel_ns: [u64; 2],
    /// p50, p99 and the longest of the pulls that held something.
    flat_ns: [u64; 3],
}
impl Row {
    fn of<'a>(condition: Condition, outcomes: impl Iterator<Item = &'a KillOutcome>) -> Row {
        let outcomes: Vec<&KillOutcome> = outcomes.collect();
        let count = |is: &dyn Fn(&KillOutcome) -> bool| outcomes.iter().filter(|o| is(o)).count();
        let sorted = |of: &dyn Fn(&KillOutcome) -> Option<u64>| {
            let mut all: Vec<u64> = outcomes.iter().filter_map(|o| of(o)).collect();
            all.sort_unstable();
            all
        };
        let held = |outcome: &KillOutcome| outcome.held != (0, 0);
        let first_cancel_ns = sorted(&|o| o.first_cancel_ns);
        let flat_ns = sorted(&|o| o.flat_ns.filter(|_| held(o)));
        Row {
            condition: condition.name(),
            pulls: outcomes.len(),
            flat: count(&|o| o.is_flat && !o.was_written),
            later_flat: count(&|o| o.is_flat && o.was_written),
            left: count(&|o| !o.is_flat && o.was_written),
            by_line: count(&|o| o.by_line),
            held: count(&held),
            first_cancels: first_cancel_ns.len(),
            first_cancel_ns: [0.5, 0.99].map(|share| at(&first_cancel_ns, share)),
            flat_ns: [0.5, 0.99, 1.0].map(|share| at(&flat_ns, share)),
        }
    }
    fn text(&self) -> String {
        let [cancel_p50, cancel_p99] = self.first_cancel_ns.map(|ns| ns as f64 / 1e6);
        let [flat_p50, flat_p99, flat_max] = self.flat_ns.map(|ns| ns as f64 / 1e9);
        format!(
            "{:<22} {:>6} {:>5} {:>11} {:>14} {:>8} {:>5}   {cancel_p50:>12.1} / {cancel_p99:.1} \
             ({} pulls)   {flat_p50:>8.2} / {flat_p99:.2} / {flat_max:.2}\n",
            self.condition,
            self.pulls,
            self.flat,
            self.later_flat,
            self.left,
            self.by_line,
            self.held,
            self.first_cancels,
        )
    }
}

/// The value below which this share of them lies; 0 where there is none.
fn at(sorted: &[u64], share: f64) -> u64 {
    let place = (sorted.len().saturating_sub(1) as f64 * share).ceil() as usize;
    sorted.get(place).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_few_values() {
        assert_eq!(at(&[], 0.5), 0);
        assert_eq!((at(&[1, 2, 3], 0.5), at(&[1, 2, 3], 0.99), at(&[1, 2, 3], 1.0)), (2, 3, 3));
    }
}
