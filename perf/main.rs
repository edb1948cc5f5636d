//! Whole deployments of the line, measured: T1 in memory, throughput in memory, wire to wire over
//! loopback beside a bare exchange of the same bytes. Not criterion: what counts here is the
//! distribution under a schedule, not the mean of a loop.
//!
//! `cargo bench --bench perf -- t1 | throughput | wire | flood | kill | all [--seconds S] [--only PACE]`, and
//! `icount [--update]` for instruction counts by valgrind. Without `--bench` (so under
//! `cargo test --benches`) everything runs briefly and only its behaviour is checked.

#![expect(clippy::disallowed_methods, reason = "a measuring program is all clock")]

mod feed;
mod icount;
mod kill;
mod noise;
mod report;
mod rig;
mod rings;
mod stub;
mod t1;
mod throughput;
mod wire;

use genesis::io::clock::Clock;
use genesis::io::syscall;
use report::Report;

/// What the command line asks for.
struct Options {
    what: Vec<String>,
    seconds: Option<f64>,
    /// Only the paces whose name begins so.
    only: String,
    /// Writes the baseline of instruction counts anew.
    update: bool,
    small: bool,
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        what: Vec::new(),
        seconds: None,
        only: String::new(),
        update: false,
        small: true,
    };
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
            "--update" => options.update = true,
            "--only" => options.only = words.next().unwrap_or_default(),
            "t1" | "throughput" | "wire" | "flood" | "kill" | "icount" | "all" => {
                options.what.push(word)
            }
            // What the test runner hands to every target.
            "--test" | "--quiet" | "-q" | "--nocapture" => {}
            other if other.starts_with("--test-threads") => {}
            other => {
                return Err(format!(
                    "`{other}`: expected t1, throughput, wire, flood, kill, icount, all, --seconds S, --only NAME or --update"
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
    // A child of `icount`, under valgrind.
    let words: Vec<String> = std::env::args().collect();
    if let [_, word, name, calls] = &words[..]
        && word == "count-one"
    {
        let known = calls.parse().is_ok_and(|calls| icount::run(name, calls));
        return if known {
            std::process::ExitCode::SUCCESS
        } else {
            std::process::ExitCode::from(2)
        };
    }
    let options = match options() {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("perf: {problem}");
            return std::process::ExitCode::from(2);
        }
    };
    if options.what.iter().any(|word| word == "icount") {
        let mut report = Report::new(options.small);
        let code = icount::measure(options.update, &mut report);
        if !options.small {
            report.append("icount");
        }
        return code;
    }
    let clock = Clock::start();
    let cpus = syscall::allowed_cpus().unwrap_or_default();
    if let Some(cpu) = cpus.last() {
        match syscall::pin(*cpu) {
            Ok(()) => println!("pinned to CPU {cpu} of {cpus:?}; counter {:?}", clock.source()),
            Err(error) => println!("not pinned: {error:?}"),
        }
    }
    let wants = |what: &str| options.what.iter().any(|word| word == what || word == "all");
    let mut report = Report::new(options.small);
    if options.small {
        println!("a short run: behaviour is checked, figures mean nothing");
    }
    if wants("t1") {
        let chosen = |pace: &t1::Pace| match options.only.as_str() {
            "" => pace.every_ns > 0,
            only => pace.name.starts_with(only),
        };
        for pace in t1::PACES.into_iter().filter(chosen) {
            let usual_s = if pace.every_ns < 100_000 { 5.0 } else { 20.0 };
            let (span_s, frames_max) = if options.small {
                (60.0, if pace.every_ns > 1_000_000 { 8 } else { 300 })
            } else {
                (options.seconds.unwrap_or(usual_s), u64::MAX)
            };
            t1::measure(&clock, pace, span_s, frames_max, &mut report);
        }
    }
    if wants("throughput") {
        let (passes, frames) = if options.small { (2, 500) } else { (20, usize::MAX) };
        throughput::measure(&clock, passes, frames, &mut report);
    }
    // Threads of the deployments below are placed by themselves.
    let _ = syscall::allow_cpus(&cpus);
    match cpus[..] {
        [stub, .., engine] => {
            let cores = wire::Cores { stub, engine };
            let mut result = Ok(());
            if wants("wire") {
                let (span_s, frames_max) = if options.small {
                    (5.0, 40)
                } else {
                    (options.seconds.unwrap_or(4.0), u64::MAX)
                };
                result = wire::measure(&clock, cores, span_s, frames_max, &mut report);
            }
            if wants("flood") && result.is_ok() {
                let frames = if options.small { 2_000 } else { 4_000_000 };
                result = wire::flood(&clock, cores, frames, &mut report);
            }
            if wants("kill") && result.is_ok() {
                let rounds = if options.small { 1 } else { 50 };
                result = kill::measure(&clock, cores, rounds, &mut report);
            }
            if let Err(problem) = result {
                eprintln!("perf: {problem}");
                return std::process::ExitCode::FAILURE;
            }
        }
        _ => eprintln!("SKIPPED: wire, flood and kill need two CPUs, this process has {cpus:?}"),
    }
    if !options.small {
        report.append(&options.what.join(" "));
    }
    std::process::ExitCode::SUCCESS
}
