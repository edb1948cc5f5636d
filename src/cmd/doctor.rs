//! `genesis doctor`: is this machine fit to trade on? Says what to do about each thing that is not.

use super::{places, say};
use crate::ops::report::exit;
use clap::Args;
use std::fmt::Write as _;
use std::path::Path;

#[derive(Args, Debug)]
pub(super) struct DoctorArgs {
    /// JSON instead of words.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    /// Works, but slower or less safe than it could be.
    Warn,
    /// Does not work.
    Fail,
}

#[derive(Debug, serde::Serialize)]
struct Finding {
    what: &'static str,
    verdict: Verdict,
    found: String,
    /// Empty where nothing is to be done.
    advice: &'static str,
}

/// The first line of a small file of the system.
fn line_of(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    Some(text.lines().next().unwrap_or_default().trim().to_owned())
}

fn finding(
    what: &'static str,
    found: impl Into<String>,
    verdict: Verdict,
    advice: &'static str,
) -> Finding {
    let advice = if verdict == Verdict::Ok { "" } else { advice };
    Finding { what, verdict, found: found.into(), advice }
}

/// Ok where `good`, else a warning.
fn warn_unless(good: bool) -> Verdict {
    if good { Verdict::Ok } else { Verdict::Warn }
}

fn findings() -> Vec<Finding> {
    const CPU: &str = "/sys/devices/system/cpu";
    let mut all = Vec::new();

    let clock = line_of("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    let clock = clock.unwrap_or_else(|| "unknown".to_owned());
    all.push(finding(
        "clock source",
        &clock,
        warn_unless(clock == "tsc"),
        "latency stamps use CLOCK_MONOTONIC or a slower clock; boot with tsc=reliable if the TSC \
         is sound",
    ));

    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    all.push(finding(
        "allowed CPUs",
        cores.to_string(),
        warn_unless(cores >= 3),
        "fewer than 3: one hot thread runs all stages (layout fused)",
    ));
    let smt = line_of(&format!("{CPU}/smt/active")).unwrap_or_else(|| "unknown".to_owned());
    all.push(finding(
        "SMT",
        if smt == "1" { "on" } else { "off" },
        warn_unless(smt != "1"),
        "a busy sibling slows a hot core: leave siblings of hot cores idle, or switch SMT off",
    ));
    let isolated = line_of(&format!("{CPU}/isolated")).unwrap_or_default();
    all.push(finding(
        "isolated CPUs",
        if isolated.is_empty() { "none" } else { &isolated },
        warn_unless(!isolated.is_empty()),
        "other programs may run on hot cores: boot with isolcpus= and name the cores in [topology]",
    ));
    let governor = line_of(&format!("{CPU}/cpu0/cpufreq/scaling_governor"));
    all.push(finding(
        "CPU governor",
        governor.clone().unwrap_or_else(|| "not adjustable here".to_owned()),
        warn_unless(governor.as_deref().is_none_or(|word| word == "performance")),
        "cores slow down when idle: set the governor to performance",
    ));
    let huge = line_of("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
    all.push(finding(
        "transparent huge pages",
        if huge.is_empty() { "unknown" } else { &huge },
        warn_unless(!huge.contains("[always]")),
        "compaction can stall a thread: set it to madvise",
    ));

    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let limit = |name: &str| -> Option<u64> {
        let line = limits.lines().find(|line| line.starts_with(name))?;
        let word = line[name.len()..].split_whitespace().next()?;
        if word == "unlimited" { Some(u64::MAX) } else { word.parse().ok() }
    };
    let shown = |limit: Option<u64>| match limit {
        None => "unknown".to_owned(),
        Some(u64::MAX) => "unlimited".to_owned(),
        Some(count) => count.to_string(),
    };
    let locked = limit("Max locked memory");
    all.push(finding(
        "locked memory, bytes",
        shown(locked),
        warn_unless(locked.is_some_and(|bytes| bytes >= 1 << 30)),
        "topology.lock_memory needs about 1 GiB: raise it with ulimit -l",
    ));
    let files = limit("Max open files");
    all.push(finding(
        "open files",
        shown(files),
        warn_unless(files.is_some_and(|count| count >= 1024)),
        "raise it with ulimit -n",
    ));

    let root = places(None).root();
    all.push(finding(
        "run directory",
        root.display().to_string(),
        if is_writable(&root) { Verdict::Ok } else { Verdict::Fail },
        "not writable: set journal.dir or $XDG_STATE_HOME",
    ));
    let memory_files = Path::new("/dev/shm");
    all.push(finding(
        "write-ahead in memory files",
        if is_writable(memory_files) { "/dev/shm" } else { "not available" },
        warn_unless(is_writable(memory_files)),
        "orders are recorded on disk before they leave: mount tmpfs there, or set \
         journal.write_ahead_dir",
    ));
    all.push(finding(
        "build",
        if cfg!(debug_assertions) { "debug" } else { "release" },
        warn_unless(!cfg!(debug_assertions)),
        "figures of a debug build mean nothing: use cargo run --release",
    ));
    all
}

/// True where a file can be made there, the directory being made if need be.
fn is_writable(dir: &Path) -> bool {
    let probe = dir.join(format!(".genesis-doctor-{}", std::process::id()));
    let made = std::fs::create_dir_all(dir).and_then(|()| std::fs::write(&probe, b"probe"));
    let _ = std::fs::remove_file(&probe);
    made.is_ok()
}

pub(super) fn run(args: &DoctorArgs) -> u8 {
    let findings = findings();
    if args.json {
        say(&sonic_rs::to_string_pretty(&findings).unwrap_or_default());
    } else {
        let mut out = String::new();
        for each in &findings {
            let mark = match each.verdict {
                Verdict::Ok => "ok  ",
                Verdict::Warn => "warn",
                Verdict::Fail => "FAIL",
            };
            let _ = write!(out, "{mark}  {:<28} {}", each.what, each.found);
            if !each.advice.is_empty() {
                let _ = write!(out, "\n      {:<28} {}", "", each.advice);
            }
            out.push('\n');
        }
        say(&out);
    }
    let failed = findings.iter().any(|each| each.verdict == Verdict::Fail);
    if failed { exit::FAILURE } else { exit::OK }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finding_that_is_not_ok_says_what_to_do() {
        for each in findings() {
            assert_eq!(each.verdict == Verdict::Ok, each.advice.is_empty(), "{}", each.what);
        }
    }
}
