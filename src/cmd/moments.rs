//! `genesis simulate --kills`: the kill switch, pulled at a random moment a seed under each condition,
//! and a table of how it ended.

use super::say;
use crate::ops::report::exit;
use crate::world::{Condition, KillOutcome, pull_once};
use rayon::prelude::*;
use sonic_rs::{Value, json};
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
        let rows: Vec<Value> = rows.iter().map(Row::json).collect();
        let all = json!({"failed": failed.len(), "conditions": rows});
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

/// One condition.
struct Row {
    condition: Condition,
    pulls: usize,
    /// Flat by the first word, flat after something had been written down, never flat.
    flat: usize,
    later: usize,
    left: usize,
    by_line: usize,
    /// Pulls with an own order or a position at the exchange.
    held: usize,
    first_cancel_ns: Vec<u64>,
    flat_ns: Vec<u64>,
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
        Row {
            condition,
            pulls: outcomes.len(),
            flat: count(&|o| o.is_flat && !o.was_written),
            later: count(&|o| o.is_flat && o.was_written),
            left: count(&|o| !o.is_flat && o.was_written),
            by_line: count(&|o| o.by_line),
            held: count(&held),
            first_cancel_ns: sorted(&|o| o.first_cancel_ns),
            flat_ns: sorted(&|o| o.flat_ns.filter(|_| held(o))),
        }
    }
    fn text(&self) -> String {
        let ms = |share: f64| at(&self.first_cancel_ns, share) as f64 / 1e6;
        let s = |share: f64| at(&self.flat_ns, share) as f64 / 1e9;
        format!(
            "{:<22} {:>6} {:>5} {:>11} {:>14} {:>8} {:>5}   {:>12.1} / {:.1} ({} pulls)   {:>8.2} \
             / {:.2} / {:.2}\n",
            self.condition.name(),
            self.pulls,
            self.flat,
            self.later,
            self.left,
            self.by_line,
            self.held,
            ms(0.5),
            ms(0.99),
            self.first_cancel_ns.len(),
            s(0.5),
            s(0.99),
            s(1.0),
        )
    }
    fn json(&self) -> Value {
        let ns = |sorted: &[u64], shares: &[f64]| -> Vec<u64> {
            shares.iter().map(|share| at(sorted, *share)).collect()
        };
        json!({
            "condition": self.condition.name(),
            "pulls": self.pulls,
            "flat": self.flat,
            "later_flat": self.later,
            "left": self.left,
            "by_line": self.by_line,
            "held": self.held,
            "first_cancel_ns": ns(&self.first_cancel_ns, &[0.5, 0.99]),
            "flat_ns": ns(&self.flat_ns, &[0.5, 0.99, 1.0]),
        })
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
