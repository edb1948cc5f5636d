//! Whole deployments of the line, measured: T1 in memory, throughput in memory, wire to wire over
//! loopback beside a bare exchange of the same bytes. Not criterion: what counts here is the
//! distribution under a schedule, not the mean of a loop.
//!
//! `cargo bench --bench perf -- t1 | throughput | all [--seconds S]`. Without `--bench` (so under
//! `cargo test --benches`) everything runs briefly and only its behaviour is checked.

#![expect(clippy::disallowed_methods, reason = "a measuring program is all clock")]

mod feed;
mod noise;
mod report;
mod rig;
mod rings;
mod t1;

use genesis::io::clock::Clock;
use genesis::io::syscall;
use report::Report;

/// What the command line asks for.
struct Options {
    what: Vec<String>,
    seconds: Option<f64>,
    /// Only the paces whose name begins so.
    only: String,
    small: bool,
}

fn options() -> Result<Options, String> {
    let mut options = Options { what: Vec::new(), seconds: None, only: String::new(), small: true };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--bench" => options.small = false,
            "--seconds" => {
                let text = words.next().unwrap_or_default();
                let seconds = text.parse().ok().filter(|s: &f64| *s > 0.0 && *s <= 3_600.0);
                options.seconds = Some(seconds.ok_or_else(|| {
                    format!("--seconds `{text}`: expected a number above 0, at most 3600")
                })?);
            }
            "--only" => options.only = words.next().unwrap_or_default(),
            "t1" | "throughput" | "all" => options.what.push(word),
            // What the test runner hands to every target.
            "--test" | "--quiet" | "-q" | "--nocapture" => {}
            other if other.starts_with("--test-threads") => {}
            other => {
                return Err(format!(
                    "`{other}`: expected t1, throughput, all, --seconds S or --only NAME"
                ));
            }
        }
    }
    if options.what.is_empty() {
        options.what.push("all".to_owned());
    }
    Ok(options)
}

fn main() -> std::process::ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("perf: {problem}");
            return std::process::ExitCode::from(2);
        }
    };
    let clock = Clock::start();
    let cpus = syscall::allowed_cpus().unwrap_or_default();
    if let Some(cpu) = cpus.last() {
        match syscall::pin(*cpu) {
            Ok(()) => println!("pinned to CPU {cpu} of {cpus:?}; counter {:?}", clock.source()),
            Err(error) => println!("not pinned: {error:?}"),
        }
    }
    let wants = |what: &str| options.what.iter().any(|word| word == what || word == "all");
    let mut report = Report::default();
    if wants("t1") {
        let chosen = |pace: &t1::Pace| match options.only.as_str() {
            "" => pace.every_ns > 0,
            only => pace.name.starts_with(only),
        };
        for pace in t1::PACES.into_iter().filter(chosen) {
            let usual_s = if pace.every_ns < 100_000 { 5.0 } else { 20.0 };
            let (span_s, frames_max) = if options.small {
                (60.0, 300)
            } else {
                (options.seconds.unwrap_or(usual_s), u64::MAX)
            };
            t1::measure(&clock, pace, span_s, frames_max, &mut report);
        }
    }
    if !options.small {
        report.append(&options.what.join(" "));
    }
    std::process::ExitCode::SUCCESS
}
