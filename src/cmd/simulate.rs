//! `genesis simulate`: many worlds, one seed each, and what they showed.

use super::{complain, say};
use crate::engine::risk::RestFallback;
use crate::ops::report::exit;
use crate::world::{CLAIMS, Canary, Coverage, Faults, NAMES, Outcome, Plan, run as run_world};
use clap::Args;
use rayon::prelude::*;
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

pub(super) const MANUAL: &str = "Every seed is a market, a network, a disk and a mixture of \
faults; the same seed gives the same run. Faults: swarm = a mixture drawn by the seed, lite = a \
bad network, none, or a TOML file with the fields of world::Faults. A seed that fails is printed \
with the command that repeats it; --trace then shows its last events. Exit code 1 where anything \
failed.";

/// Virtual hours from which on a fault of the table that never happened is a failure.
const NIGHTLY_HOURS: f64 = 500.0;

#[derive(Args, Debug)]
pub(super) struct SimulateArgs {
    /// First and last seed, both included, e.g. 1..200; or one seed.
    #[arg(long, value_name = "A..B", default_value = "1..20")]
    seeds: String,
    /// Virtual hours a seed.
    #[arg(long, value_name = "H", default_value_t = 1.0)]
    hours: f64,
    /// swarm, lite, none, or a file.
    #[arg(long, value_name = "NAME|FILE", default_value = "swarm")]
    faults: String,
    /// Threads; 0 = one a CPU.
    #[arg(long, value_name = "N", default_value_t = 0)]
    jobs: usize,
    /// Run every seed twice and compare the hashes of all events.
    #[arg(long)]
    twice: bool,
    /// Break the engine on purpose and look whether the checkers notice: a name, or `all`.
    #[arg(long, value_name = "NAME")]
    canary: Option<String>,
    /// Pull the kill switch at one random moment for each seed, under every condition; nothing
    /// else is run. --hours, --faults, --twice and --canary do not count then.
    #[arg(long)]
    kills: bool,
    /// Print the last events of each failing seed.
    #[arg(long)]
    trace: bool,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// Seeds, first and last included.
fn seeds_of(text: &str) -> Option<(u64, u64)> {
    match text.split_once("..") {
        None => text.trim().parse().ok().map(|seed| (seed, seed)),
        Some((first, last)) => {
            let last = last.strip_prefix('=').unwrap_or(last);
            let pair = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            (pair.0 <= pair.1).then_some(pair)
        }
    }
}

/// Where a seed's faults come from.
enum Mixture {
    Swarm,
    Fixed(Box<Faults>),
}
impl Mixture {
    fn read(name: &str) -> Result<Mixture, String> {
        Ok(match name {
            "swarm" => Mixture::Swarm,
            "lite" => Mixture::Fixed(Box::new(Faults::lite())),
            "none" => Mixture::Fixed(Box::new(Faults::none())),
            file => {
                let text = std::fs::read_to_string(Path::new(file)).map_err(|error| {
                    format!("--faults `{file}`: {error}; write swarm, lite, none or a file")
                })?;
                let faults = toml::from_str(&text).map_err(|e| format!("`{file}`: {e}"))?;
                Mixture::Fixed(Box::new(faults))
            }
        })
    }
    fn of(&self, seed: u64) -> Faults {
        match self {
            Mixture::Swarm => Faults::swarm(seed),
            Mixture::Fixed(faults) => (**faults).clone(),
        }
    }
}

pub(super) fn run(args: &SimulateArgs) -> u8 {
    let Some((first, last)) = seeds_of(&args.seeds) else {
        complain(format!("--seeds `{}`: write A..B with A ≤ B, or one seed", args.seeds));
        return exit::BAD_INPUT;
    };
    if !(args.hours > 0.0 && args.hours <= 24.0 * 366.0) {
        complain(format!("--hours {}: expected above 0, at most a year", args.hours));
        return exit::BAD_INPUT;
    }
    let mixture = match Mixture::read(&args.faults) {
        Ok(mixture) => mixture,
        Err(words) => {
            complain(words);
            return exit::BAD_INPUT;
        }
    };
    let pool = match rayon::ThreadPoolBuilder::new().num_threads(args.jobs).build() {
        Ok(pool) => pool,
        Err(error) => {
            complain(format!("--jobs {}: {error}", args.jobs));
            return exit::FAILURE;
        }
    };
    let plan = |seed, canary, trace| Plan {
        seed,
        for_s: (args.hours * 3_600.0).max(1.0) as u64,
        faults: mixture.of(seed),
        canary,
        trace,
    };
    let seeds = first..=last;
    if args.kills {
        return pool.install(|| super::moments::run(seeds, args.trace, args.json));
    }
    match &args.canary {
        None => {
            pool.install(|| simulate(args, seeds, &|seed, trace| plan(seed, Canary::None, trace)))
        }
        Some(name) => {
            let wanted = match (name.as_str(), Canary::from_name(name)) {
                ("all", _) => Canary::ALL.to_vec(),
                (_, Some(canary)) => vec![canary],
                (_, None) => {
                    let names = Canary::ALL.map(Canary::name).join(", ");
                    complain(format!("--canary `{name}`: expected all or one of {names}"));
                    return exit::BAD_INPUT;
                }
            };
            pool.install(|| canaries(args, seeds, &wanted, &plan))
        }
    }
}

/// A seed, its run, and whether a second run was another one.
struct Done {
    outcome: Outcome,
    differs: bool,
}

fn simulate(
    args: &SimulateArgs,
    seeds: std::ops::RangeInclusive<u64>,
    plan: &(dyn Fn(u64, bool) -> Plan + Sync),
) -> u8 {
    let count = seeds.end() - seeds.start() + 1;
    let (done, bad) = (AtomicU64::new(0), AtomicU64::new(0));
    let shows = std::io::stderr().is_terminal() && !args.json;
    // The one place where real time matters: how fast the worlds ran.
    #[expect(clippy::disallowed_methods, reason = "measures the speed of the simulation itself")]
    let begun = std::time::Instant::now();
    let runs: Vec<Done> = seeds
        .into_par_iter()
        .map(|seed| {
            let outcome = run_world(plan(seed, args.trace));
            let differs = args.twice && run_world(plan(seed, false)).hash != outcome.hash;
            let now = done.fetch_add(1, Ordering::Relaxed) + 1;
            let is_bad = outcome.violation.is_some() || differs;
            let bad = bad.fetch_add(u64::from(is_bad), Ordering::Relaxed) + u64::from(is_bad);
            if shows {
                eprint!("\r{}", bar((now, count, bad), begun.elapsed().as_secs_f64()));
            }
            if let Some(violation) = &outcome.violation
                && !args.json
            {
                let mut text = format!(
                    "seed {seed} (REST fallback {}): {} at {:.3} s: {}\n  repeat: {}\n",
                    outcome.rest_fallback.name(),
                    violation.checker,
                    violation.at_ns as f64 / 1e9,
                    violation.words,
                    repeat(args, seed)
                );
                for line in &outcome.lines {
                    let _ = writeln!(text, "    {line}");
                }
                say(&text);
            } else if count == 1 && !args.json {
                say(&format!("seed {seed} (REST fallback {})", outcome.rest_fallback.name()));
                outcome.lines.iter().for_each(|line| say(line));
            }
            Done { outcome, differs }
        })
        .collect();
    let elapsed_s = begun.elapsed().as_secs_f64();
    if shows {
        eprintln!();
    }
    report(args, &runs, elapsed_s)
}

/// How far it is: `[####....] 50 of 200 seeds, 1 failed, 30 s left`.
fn bar((done, count, failed): (u64, u64, u64), elapsed_s: f64) -> String {
    const WIDTH: u64 = 30;
    let full = (done * WIDTH / count.max(1)) as usize;
    let left_s = elapsed_s / done.max(1) as f64 * count.saturating_sub(done) as f64;
    let (full, rest) = ("#".repeat(full), ".".repeat(WIDTH as usize - full));
    format!("[{full}{rest}] {done} of {count} seeds, {failed} failed, {left_s:.0} s left   ")
}

fn repeat(args: &SimulateArgs, seed: u64) -> String {
    format!(
        "genesis simulate --seeds {seed}..{seed} --hours {} --faults {} --trace",
        args.hours, args.faults
    )
}

fn report(args: &SimulateArgs, runs: &[Done], elapsed_s: f64) -> u8 {
    let sum = |of: fn(&Outcome) -> u64| runs.iter().map(|run| of(&run.outcome)).sum::<u64>();
    let mut coverage = Coverage::default();
    runs.iter().for_each(|run| coverage.add(&run.outcome.coverage));
    let simulated_s: f64 = runs.iter().map(|run| run.outcome.simulated_s).sum();
    let both = if args.twice { 2.0 } else { 1.0 };
    let threads = rayon::current_num_threads().min(runs.len()).max(1) as f64;
    let speed = both * simulated_s / elapsed_s.max(1e-9) / threads;
    let failed: Vec<u64> =
        runs.iter().filter(|r| r.outcome.violation.is_some()).map(|r| r.outcome.seed).collect();
    let differing: Vec<u64> =
        runs.iter().filter(|run| run.differs).map(|run| run.outcome.seed).collect();
    let is_nightly = args.faults == "swarm" && simulated_s >= NIGHTLY_HOURS * 3_600.0;
    let missing: Vec<&str> = if is_nightly { coverage.missing().collect() } else { Vec::new() };
    let seeds = runs.len().max(1) as f64;
    let settle_ms_max = runs.iter().map(|run| run.outcome.settle_ms_max).max().unwrap_or(0);
    let hash = runs.iter().fold(0u64, |sum, run| sum.rotate_left(7) ^ run.outcome.hash);
    let over = runs.iter().map(|run| run.outcome.over_limit_max).fold(0.0, f64::max);
    let modes = RestFallback::ALL.map(|mode| {
        let seeds = runs.iter().filter(|run| run.outcome.rest_fallback == mode).count();
        (mode.name(), seeds)
    });
    if args.json {
        let table: serde_like::Map = NAMES.iter().zip(coverage.0).collect();
        let [off, cancels, on] = modes.map(|(_, seeds)| seeds);
        say(&format!(
            "{{\"seeds\":{},\"hours\":{},\"violations\":{},\"differing\":{},\"simulated_s\":{:.0},\
             \"elapsed_s\":{elapsed_s:.3},\"speed_per_core\":{speed:.0},\"book_messages\":{},\
             \"orders\":{},\"fills\":{},\"comparisons\":{},\"ambiguous_sends\":{},\
             \"midnights\":{},\"over_limit_max\":{over:.2},\
             \"rest_fallback\":{{\"off\":{off},\"cancels\":{cancels},\"on\":{on}}},\
             \"failed_seeds\":{failed:?},\"differing_seeds\":{differing:?},\
             \"missing\":{missing:?},\"hash\":\"{hash:016x}\",\"coverage\":{table}}}",
            runs.len(),
            args.hours,
            failed.len(),
            differing.len(),
            simulated_s,
            sum(|o| o.book_messages),
            sum(|o| o.orders),
            sum(|o| o.fills),
            sum(|o| o.compared),
            coverage.ambiguous_sends(),
            coverage.midnights()[0],
        ));
    } else {
        let per_s = sum(|o| o.book_messages) as f64 / simulated_s.max(1e-9);
        let mut text = format!(
            "{} seeds, {:.1} virtual hours in {elapsed_s:.1} s: {speed:.0} times real time a core\n\
             per seed: {:.0} book messages ({per_s:.0}/s), {:.0} orders, {:.0} fills, {:.0} \
             cancelled, {:.1} reconciles, {:.1} engine starts, {:.0} comparisons\n\
             least and most a seed: {} book messages, {} orders, {} fills\n\
             longest time to settle {:.1} s; largest loss beyond a limit {over:.2}; hash of all \
             events {hash:016x}\n",
            runs.len(),
            simulated_s / 3_600.0,
            sum(|o| o.book_messages) as f64 / seeds,
            sum(|o| o.orders) as f64 / seeds,
            sum(|o| o.fills) as f64 / seeds,
            sum(|o| o.cancels) as f64 / seeds,
            sum(|o| o.reconciles) as f64 / seeds,
            sum(|o| o.starts) as f64 / seeds,
            sum(|o| o.compared) as f64 / seeds,
            range(runs, |o| o.book_messages),
            range(runs, |o| o.orders),
            range(runs, |o| o.fills),
            settle_ms_max as f64 / 1e3,
        );
        let points: Vec<String> =
            coverage.crash_points().iter().map(|(name, count)| format!("{count} {name}")).collect();
        let [midnights, with_orders, with_breach] = coverage.midnights();
        let _ = writeln!(
            text,
            "exercised: {} ambiguous sends; crash points: {}; {midnights} midnights, {with_orders} \
             with orders open, {with_breach} with a breached limit",
            coverage.ambiguous_sends(),
            points.join(", "),
        );
        let modes = modes.map(|(name, seeds)| format!("{name} {seeds}")).join(", ");
        let _ = writeln!(text, "seeds by what goes by REST without the account's socket: {modes}");
        if args.faults != "none" {
            text.push_str("faults and rare pairs, how often:\n");
            for (name, count) in NAMES.iter().zip(coverage.0) {
                let _ = writeln!(text, "  {count:>9}  {name}");
            }
        }
        for (claim, pending) in CLAIMS {
            let state = match pending {
                Some(why) => format!("pending: {why}"),
                None => {
                    let broken = runs.iter().filter_map(|run| run.outcome.violation.as_ref());
                    match broken.filter(|violation| violation.checker == claim).count() {
                        0 => "held".to_owned(),
                        count => format!("BROKEN in {count} seeds"),
                    }
                }
            };
            let _ = writeln!(text, "  {claim}: {state}");
        }
        if args.twice {
            let _ = writeln!(text, "second runs that differed: {differing:?}");
        }
        if !missing.is_empty() {
            let _ = writeln!(text, "never happened: {}", missing.join(", "));
        }
        let _ = writeln!(text, "violations: {} {failed:?}", failed.len());
        say(&text);
    }
    let is_good = failed.is_empty() && differing.is_empty() && missing.is_empty();
    if is_good { exit::OK } else { exit::FAILURE }
}

fn range(runs: &[Done], of: fn(&Outcome) -> u64) -> String {
    let each = || runs.iter().map(|run| of(&run.outcome));
    format!("{}–{}", each().min().unwrap_or(0), each().max().unwrap_or(0))
}

/// Each canary through the seeds until a checker objects.
fn canaries(
    args: &SimulateArgs,
    seeds: std::ops::RangeInclusive<u64>,
    wanted: &[Canary],
    plan: &(dyn Fn(u64, Canary, bool) -> Plan + Sync),
) -> u8 {
    let rows: Vec<(Canary, Option<Caught>)> = wanted
        .par_iter()
        .map(|canary| {
            let first = *seeds.start();
            for seed in seeds.clone() {
                // A seed that fails without the canary proves nothing about it.
                if run_world(plan(seed, Canary::None, false)).violation.is_some() {
                    continue;
                }
                let outcome = run_world(plan(seed, *canary, args.trace));
                if outcome.violation.is_some() {
                    return (*canary, Some(Caught { seeds: seed - first + 1, outcome }));
                }
            }
            (*canary, None)
        })
        .collect();
    let all = rows.iter().all(|(_, caught)| caught.is_some());
    let line = |(canary, caught): &(Canary, Option<Caught>)| match args.json {
        true => caught_json(*canary, caught.as_ref()),
        false => caught_text(*canary, caught.as_ref(), &args.seeds),
    };
    let lines: Vec<String> = rows.iter().map(line).collect();
    if args.json {
        say(&format!("{{\"canaries\":[{}]}}", lines.join(",")));
    } else {
        say(&lines.join("\n"));
    }
    if all { exit::OK } else { exit::FAILURE }
}

/// A canary that a checker objected to.
struct Caught {
    /// How many seeds it took.
    seeds: u64,
    outcome: Outcome,
}
fn caught_text(canary: Canary, caught: Option<&Caught>, seeds: &str) -> String {
    let name = canary.name();
    let Some((caught, violation)) =
        caught.and_then(|caught| Some((caught, caught.outcome.violation.as_ref()?)))
    else {
        return format!("{name}: NOT CAUGHT in seeds {seeds}");
    };
    let mut text = format!(
        "{name}: caught by \"{}\" after {} seeds, {:.0} s into seed {}: {}",
        violation.checker,
        caught.seeds,
        violation.at_ns as f64 / 1e9,
        caught.outcome.seed,
        violation.words
    );
    for line in &caught.outcome.lines {
        let _ = write!(text, "\n    {line}");
    }
    text
}
fn caught_json(canary: Canary, caught: Option<&Caught>) -> String {
    let name = canary.name();
    match caught.and_then(|caught| Some((caught, caught.outcome.violation.as_ref()?))) {
        None => format!("{{\"canary\":\"{name}\",\"caught\":false}}"),
        Some((caught, violation)) => format!(
            "{{\"canary\":\"{name}\",\"caught\":true,\"by\":\"{}\",\"seeds\":{},\"seed\":{},\
             \"at_s\":{:.3}}}",
            violation.checker,
            caught.seeds,
            caught.outcome.seed,
            violation.at_ns as f64 / 1e9
        ),
    }
}

/// A JSON object of counts, in the order given.
mod serde_like {
    use std::fmt;

    pub(super) struct Map(Vec<(&'static str, u64)>);
    impl<'a> FromIterator<(&'a &'static str, u64)> for Map {
        fn from_iter<I: IntoIterator<Item = (&'a &'static str, u64)>>(items: I) -> Map {
            Map(items.into_iter().map(|(name, count)| (*name, count)).collect())
        }
    }
    impl fmt::Display for Map {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{{")?;
            for (index, (name, count)) in self.0.iter().enumerate() {
                let comma = if index == 0 { "" } else { "," };
                write!(f, "{comma}\"{name}\":{count}")?;
            }
            write!(f, "}}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_a_range_with_both_ends_or_one_seed() {
        assert_eq!(seeds_of("1..200"), Some((1, 200)));
        assert_eq!(seeds_of("1..=200"), Some((1, 200)));
        assert_eq!(seeds_of("7"), Some((7, 7)));
        assert_eq!(seeds_of("9..3"), None);
        assert_eq!(seeds_of("x"), None);
    }

    #[test]
    fn the_bar_says_how_far_it_is() {
        assert_eq!(
            bar((50, 200, 1), 10.0),
            "[#######.......................] 50 of 200 seeds, 1 failed, 30 s left   "
        );
        assert!(bar((200, 200, 0), 40.0).starts_with(&format!("[{}]", "#".repeat(30))));
    }
}
