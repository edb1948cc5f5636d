//! `genesis doctor`: is this machine fit to trade on? Says what to do about each thing that is not.

use super::{places, say};
use crate::io::clock::{Clock, Source};
use crate::io::syscall;
use crate::ops::report::exit;
use crate::runtime::cpu::parse_cpu_list;
use crate::runtime::probe;
use clap::Args;
use std::fmt::Write as _;
use std::path::Path;

#[derive(Args, Debug)]
pub(super) struct DoctorArgs {
    /// JSON instead of words.
    #[arg(long)]
    json: bool,
    /// Only look, measure nothing: no pins, no hand-offs, no disk, no loopback.
    #[arg(long)]
    quick: bool,
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
    irqs(&mut all);
    sleeps(&mut all);
    wall_clock(&mut all);
    disk_room(&root, &mut all);
    all.push(finding(
        "build",
        if cfg!(debug_assertions) { "debug" } else { "release" },
        warn_unless(!cfg!(debug_assertions)),
        "figures of a debug build mean nothing: use cargo run --release",
    ));
    all
}

/// What stands in brackets: `always [madvise] never`.
fn chosen(text: &str) -> &str {
    text.split_once('[').and_then(|(_, rest)| rest.split(']').next()).unwrap_or(text)
}

/// Interrupts on isolated CPUs, and who moves them there.
fn irqs(all: &mut Vec<Finding>) {
    let isolated = line_of("/sys/devices/system/cpu/isolated").unwrap_or_default();
    let isolated = parse_cpu_list(&isolated).unwrap_or_default();
    let mut on_isolated = 0;
    let mut total = 0;
    for entry in std::fs::read_dir("/proc/irq").into_iter().flatten().flatten() {
        let path = entry.path().join("effective_affinity_list");
        let Some(cpus) = path.to_str().and_then(line_of).and_then(|text| parse_cpu_list(&text))
        else {
            continue;
        };
        total += 1;
        on_isolated += usize::from(cpus.iter().any(|cpu| isolated.contains(cpu)));
    }
    let found = match (isolated.is_empty(), total) {
        (_, 0) => "not visible here".to_owned(),
        (true, total) => format!("{total}, and no CPU is kept free of them"),
        (false, total) => format!("{on_isolated} of {total} on isolated CPUs"),
    };
    all.push(finding(
        "interrupts",
        found,
        warn_unless(total == 0 || (!isolated.is_empty() && on_isolated == 0)),
        "an interrupt stops a hot core for microseconds: isolcpus=managed_irq,domain,…, and write \
         the other CPUs into /proc/irq/*/smp_affinity_list",
    ));
    let running = std::fs::read_dir("/proc").into_iter().flatten().flatten().any(|entry| {
        let comm = entry.path().join("comm");
        comm.to_str().and_then(line_of).is_some_and(|name| name == "irqbalance")
    });
    all.push(finding(
        "irqbalance",
        if running { "runs" } else { "does not run" },
        warn_unless(!running),
        "it moves interrupts to hot cores: stop it, or ban these cores in its config",
    ));
}

/// What puts a core to sleep or to other work.
fn sleeps(all: &mut Vec<Finding>) {
    let mut deepest_us = 0u64;
    for entry in
        std::fs::read_dir("/sys/devices/system/cpu/cpu0/cpuidle").into_iter().flatten().flatten()
    {
        let read = |name: &str| entry.path().join(name).to_str().and_then(line_of);
        let is_on = read("disable").is_none_or(|word| word == "0");
        let latency_us = read("latency").and_then(|text| text.parse().ok()).unwrap_or(0);
        deepest_us = deepest_us.max(if is_on { latency_us } else { 0 });
    }
    all.push(finding(
        "sleep states, longest waking",
        format!("{deepest_us} µs"),
        warn_unless(deepest_us <= 10),
        "a core that slept deeply wakes late: boot with intel_idle.max_cstate=1 or \
         processor.max_cstate=1, or hold /dev/cpu_dma_latency at 0",
    ));
    let swap = line_of("/proc/sys/vm/swappiness").unwrap_or_else(|| "unknown".to_owned());
    let has_swap = std::fs::read_to_string("/proc/swaps").is_ok_and(|t| t.lines().count() > 1);
    all.push(finding(
        "swap",
        if has_swap { format!("in use, swappiness {swap}") } else { "none".to_owned() },
        warn_unless(!has_swap || swap == "0" || swap == "1"),
        "a page read back from disk takes milliseconds: swapoff -a, or vm.swappiness = 1",
    ));
    let defrag =
        line_of("/sys/kernel/mm/transparent_hugepage/defrag").unwrap_or_else(|| "unknown".into());
    all.push(finding(
        "huge page defrag",
        chosen(&defrag),
        warn_unless(chosen(&defrag) != "always"),
        "an allocation may wait for compaction: set it to never or madvise",
    ));
}

/// Whether somebody keeps the wall clock, and how true it is.
fn wall_clock(all: &mut Vec<Finding>) {
    let found = syscall::clock_sync();
    let words = found.map_or("the kernel does not say".to_owned(), |sync| {
        let kept = if sync.is_synced { "kept by a time service" } else { "kept by nobody" };
        format!(
            "{kept}, offset {} µs, at most {} ms off",
            sync.offset_ns / 1_000,
            sync.error_us_max / 1_000
        )
    });
    all.push(finding(
        "wall clock",
        words,
        warn_unless(found.is_some_and(|sync| sync.is_synced && sync.error_us_max < 500_000)),
        "nonces, days and signatures follow it: run chrony or systemd-timesyncd; \
         `chronyc tracking` tells more",
    ));
}

fn disk_room(root: &Path, all: &mut Vec<Finding>) {
    let free_mib = syscall::disk_free(root).map(|free| free >> 20);
    all.push(finding(
        "free disk",
        free_mib.map_or("unknown".to_owned(), |mib| format!("{mib} MiB")),
        warn_unless(free_mib.is_some_and(|mib| mib >= 10_240)),
        "a busy day writes some GiB; a full disk leaves cancels only: make room, or another \
         journal.dir",
    ));
}

/// What has to be measured; a tenth of a second each.
fn measured(all: &mut Vec<Finding>) {
    let source = match Clock::start().source() {
        Source::Tsc => Ok("invariant, and the cores agree".to_owned()),
        Source::Monotonic(doubt) => Err(doubt.to_string()),
    };
    let verdict = warn_unless(source.is_ok());
    all.push(finding(
        "time-stamp counter",
        source.unwrap_or_else(|doubt| doubt),
        verdict,
        "stamps cost 25 ns instead of 10: see `clock source`; in a virtual machine ask for \
         invtsc",
    ));
    let cpus = syscall::allowed_cpus().unwrap_or_default();
    let refused = probe::pins_refused(&cpus);
    let words: Vec<String> =
        refused.iter().map(|(cpu, error)| format!("CPU {cpu}: {error}")).collect();
    all.push(finding(
        "pins",
        if words.is_empty() { format!("all {} CPUs", cpus.len()) } else { words.join("; ") },
        if refused.is_empty() { Verdict::Ok } else { Verdict::Fail },
        "threads cannot be placed: a cpuset of the service or the container forbids it",
    ));
    let pairs = cpus.iter().skip(1).take(15).map(|cpu| (*cpu, probe::handoff_ns(cpus[0], *cpu)));
    let pairs: Vec<(usize, Option<u64>)> = pairs.collect();
    let slowest = pairs.iter().filter_map(|(_, ns)| *ns).max();
    let words: Vec<String> = pairs
        .iter()
        .map(|(cpu, ns)| match ns {
            Some(ns) => format!("{}–{cpu} {ns} ns", cpus[0]),
            None => format!("{}–{cpu} busy", cpus[0]),
        })
        .collect();
    all.push(finding(
        "core to core, one way",
        if words.is_empty() { "one CPU only".to_owned() } else { words.join(", ") },
        warn_unless(pairs.is_empty() || slowest.is_some_and(|ns| ns <= 250)),
        "each ring costs this: keep hot threads on one socket and one cache, and their cores \
         free of others",
    ));
    let root = places(None).root();
    let (words, good) = match probe::disk_syncs(&root) {
        Ok(spans) => (
            format!("p50 {:.2} ms, max {:.2} ms", ms(spans.p50_ns), ms(spans.max_ns)),
            spans.p50_ns < 20_000_000,
        ),
        Err(error) => (error.to_string(), false),
    };
    all.push(finding(
        "disk, 4 KiB until it is there",
        words,
        warn_unless(good),
        "the journal falls behind on such a disk: a local SSD for journal.dir",
    ));
    let (words, good) = match probe::loopback_trips() {
        Ok(spans) => (
            format!("p50 {:.1} µs, max {:.1} µs", us(spans.p50_ns), us(spans.max_ns)),
            spans.p50_ns < 100_000,
        ),
        Err(error) => (error.to_string(), false),
    };
    all.push(finding(
        "network, loopback round trip",
        words,
        warn_unless(good),
        "the kernel itself is slow or busy: see the lines above; `net.core.busy_poll = 50` helps \
         sockets that park",
    ));
}

fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}
fn us(ns: u64) -> f64 {
    ns as f64 / 1e3
}

/// True where a file can be made there, the directory being made if need be.
fn is_writable(dir: &Path) -> bool {
    let probe = dir.join(format!(".genesis-doctor-{}", std::process::id()));
    let made = std::fs::create_dir_all(dir).and_then(|()| std::fs::write(&probe, b"probe"));
    let _ = std::fs::remove_file(&probe);
    made.is_ok()
}

pub(super) fn run(args: &DoctorArgs) -> u8 {
    let mut findings = findings();
    if !args.quick {
        measured(&mut findings);
    }
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
            let _ = write!(out, "{mark}  {:<30} {}", each.what, each.found);
            if !each.advice.is_empty() {
                let _ = write!(out, "\n      {:<30} {}", "", each.advice);
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
        let mut all = findings();
        measured(&mut all);
        for name in [
            "time-stamp counter",
            "isolated CPUs",
            "CPU governor",
            "interrupts",
            "transparent huge pages",
            "locked memory, bytes",
            "wall clock",
            "free disk",
            "network, loopback round trip",
            "pins",
            "core to core, one way",
        ] {
            assert!(all.iter().any(|each| each.what == name), "{name}");
        }
        for each in all {
            assert!(!each.found.is_empty(), "{}", each.what);
            assert_eq!(each.verdict == Verdict::Ok, each.advice.is_empty(), "{}", each.what);
        }
    }
}
