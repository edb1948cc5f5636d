//! The clocks: time-stamp counter for latency, monotonic and wall for stamps. Nobody below `io`
//! asks a clock.

#![allow(
    clippy::disallowed_methods,
    reason = "the edge: deadlines and clocks of real sockets and disks"
)]

use crate::base::time::{MonoNs, SpanNs, Tsc, WallNs};
use crate::io::syscall;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where `Clock::tsc` comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The counter itself, about 10 ns a reading.
    Tsc,
    /// CLOCK_MONOTONIC, about 25 ns a reading, because of a doubt.
    Monotonic(TscDoubt),
}

/// Why the counter is not trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TscDoubt {
    /// Not x86-64, or /proc/cpuinfo is unreadable.
    Unknown,
    /// `constant_tsc` or `nonstop_tsc` is missing: the rate may change.
    NotInvariant,
    /// The kernel itself keeps time by something else.
    KernelDistrusts,
    /// A later stamp of one core was earlier than another core's by more than `BACKWARDS_MAX_NS`.
    CoresDisagree,
}
impl fmt::Display for TscDoubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TscDoubt::Unknown => "the CPU's flags cannot be read",
            TscDoubt::NotInvariant => "the CPU does not promise an invariant time-stamp counter",
            TscDoubt::KernelDistrusts => "the kernel's clock source is not tsc",
            TscDoubt::CoresDisagree => "the cores' counters disagree",
        })
    }
}

/// A stamp taken after another core's may be earlier by this much before we call it disagreement,
/// ns.
/// `rdtsc` is not ordered with the loads before it, which shows as some tens of nanoseconds.
pub const BACKWARDS_MAX_NS: u64 = 200;
/// Hand-offs between one pair of cores in the start-up check, at most.
const HANDOFFS_MAX: u64 = 20_000;
/// Longest the check may take for one pair, ms: on a busy machine spinning sides wait for each
/// other.
const PAIR_CHECK_MS: u64 = 20;
/// Cores compared with the first one, at most.
const PAIRS_MAX: usize = 15;

/// All clocks of a run. Clones share their zero. Reading allocates nothing and takes no lock.
#[derive(Clone, Debug)]
pub struct Clock {
    counter: quanta::Clock,
    source: Source,
    started: Instant,
    /// What drills have stepped the wall by, ns; 0 but for them.
    stepped_ns: Arc<AtomicI64>,
}

impl Clock {
    /// Calibrates the counter (up to 200 ms once a process) and checks whether it can be trusted on
    /// the CPUs this thread may use. Zero of the monotonic clock is now.
    pub fn start() -> Clock {
        let counter = quanta::Clock::new();
        let source = match host_trusts_tsc() {
            Err(doubt) => Source::Monotonic(doubt),
            Ok(()) => {
                let cpus = syscall::allowed_cpus().unwrap_or_default();
                let check = compare_cores(&counter, &cpus);
                if check.backwards_ns_max > BACKWARDS_MAX_NS {
                    Source::Monotonic(TscDoubt::CoresDisagree)
                } else {
                    Source::Tsc
                }
            }
        };
        Clock { counter, source, started: Instant::now(), stepped_ns: Arc::default() }
    }
    /// Without the comparison of cores: for tests and short commands.
    pub fn start_unchecked() -> Clock {
        let source = match host_trusts_tsc() {
            Ok(()) => Source::Tsc,
            Err(doubt) => Source::Monotonic(doubt),
        };
        let counter = quanta::Clock::new();
        Clock { counter, source, started: Instant::now(), stepped_ns: Arc::default() }
    }
    pub fn source(&self) -> Source {
        self.source
    }
    /// For latency only. Never 0, which means "not stamped".
    #[inline(always)]
    pub fn tsc(&self) -> Tsc {
        match self.source {
            Source::Tsc => Tsc(self.counter.raw()),
            Source::Monotonic(_) => Tsc(self.started.elapsed().as_nanos() as u64 + 1),
        }
    }
    /// Since the start of the run. Never runs backwards.
    #[inline(always)]
    pub fn mono(&self) -> MonoNs {
        MonoNs(self.started.elapsed().as_nanos() as u64)
    }
    /// UTC. May be stepped by the operator or NTP; the sequencer deals with that.
    #[inline(always)]
    pub fn wall(&self) -> WallNs {
        let ns = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => since.as_nanos() as i64,
            Err(before) => -(before.duration().as_nanos() as i64),
        };
        // Relaxed: a step has no moment of its own that others could be ordered by.
        WallNs(ns + self.stepped_ns.load(Ordering::Relaxed))
    }
    /// Steps the wall of this clock and of its clones, as an operator or NTP may step the host's.
    /// For drills: the host's own clock is everybody's.
    pub fn step_wall(&self, by: SpanNs) {
        self.stepped_ns.fetch_add(by.0, Ordering::Relaxed);
    }
    /// Nanoseconds from one stamp to a later one; `None` where one is missing or they run
    /// backwards.
    #[inline]
    pub fn span_ns(&self, from: Tsc, to: Tsc) -> Option<u64> {
        if from.0 == 0 || to.0 < from.0 {
            return None;
        }
        Some(match self.source {
            Source::Tsc => self.counter.delta_as_nanos(from.0, to.0),
            Source::Monotonic(_) => to.0 - from.0,
        })
    }
    /// Counter ticks in `span_ns` nanoseconds, to compare raw stamps with a bound without dividing
    /// each time.
    pub fn ticks_of_ns(&self, span_ns: u64) -> u64 {
        match self.source {
            Source::Monotonic(_) => span_ns,
            Source::Tsc => {
                let probe = 1u64 << 32;
                let probe_ns = self.counter.delta_as_nanos(0, probe).max(1);
                (span_ns as u128 * probe as u128 / probe_ns as u128) as u64
            }
        }
    }
}

/// Counter ticks are turned into both other clocks for this long before the kernel is asked again,
/// ns. An error of the counter's rate of 100 parts in a million makes 100 ns in it.
const ANCHOR_FOR_NS: u64 = 1_000_000;
/// An anchor whose readings took longer is taken again, ns; and how often at most.
const ANCHOR_READ_NS_MAX: u64 = 2_000;
const ANCHOR_TRIES_MAX: u32 = 4;
/// The wall may stand still for this long rather than go back: what the counter ran ahead, ns.
const WALL_JITTER_NS: i64 = 100_000;

/// The clocks of one thread that asks once a turn: one counter reading of 10 ns instead of two
/// calls of 24 ns each. Monotonic time and wall are the kernel's at the last anchor, plus the
/// counter's ticks since. Where the counter is not trusted the kernel is asked every time.
#[derive(Clone, Debug)]
pub struct TurnClock {
    clock: Clock,
    anchor: Tsc,
    anchor_ticks: u64,
    mono_at_anchor: MonoNs,
    wall_at_anchor: WallNs,
    mono_last: MonoNs,
    wall_last: WallNs,
}

impl TurnClock {
    pub fn new(clock: &Clock) -> TurnClock {
        let mut made = TurnClock {
            anchor: Tsc(0),
            anchor_ticks: clock.ticks_of_ns(ANCHOR_FOR_NS),
            mono_at_anchor: MonoNs(0),
            wall_at_anchor: clock.wall(),
            mono_last: MonoNs(0),
            wall_last: WallNs(i64::MIN / 2),
            clock: clock.clone(),
        };
        made.ask_kernel();
        made
    }
    /// Monotonic time, which never runs backwards, and the wall, which goes back only where
    /// somebody set it back.
    #[inline(always)]
    pub fn now(&mut self) -> (MonoNs, WallNs) {
        let now = self.clock.tsc();
        let ticks = now.0.wrapping_sub(self.anchor.0);
        if ticks >= self.anchor_ticks || self.clock.source != Source::Tsc {
            return self.ask_kernel();
        }
        let since = self.clock.counter.delta_as_nanos(self.anchor.0, now.0);
        self.mono_last = self.mono_last.max(MonoNs(self.mono_at_anchor.0 + since));
        self.wall_last = self.wall_last.max(WallNs(self.wall_at_anchor.0 + since as i64));
        (self.mono_last, self.wall_last)
    }
    #[cold]
    #[inline(never)]
    fn ask_kernel(&mut self) -> (MonoNs, WallNs) {
        // The core may be taken away between the readings: then they are of different moments.
        for _ in 0..ANCHOR_TRIES_MAX {
            let before = self.clock.tsc();
            let (mono, wall) = (self.clock.mono(), self.clock.wall());
            let after = self.clock.tsc();
            // The later counter: an error then makes this clock late, never early.
            (self.anchor, self.mono_at_anchor, self.wall_at_anchor) = (after, mono, wall);
            if self.clock.span_ns(before, after).is_some_and(|ns| ns < ANCHOR_READ_NS_MAX) {
                break;
            }
        }
        let (mono, wall) = (self.mono_at_anchor, self.wall_at_anchor);
        self.mono_last = self.mono_last.max(mono);
        let is_jitter = wall < self.wall_last && (self.wall_last - wall).0 < WALL_JITTER_NS;
        if !is_jitter {
            self.wall_last = wall;
        }
        (self.mono_last, self.wall_last)
    }
}

fn host_trusts_tsc() -> Result<(), TscDoubt> {
    let info = std::fs::read_to_string("/proc/cpuinfo").map_err(|_| TscDoubt::Unknown)?;
    let source = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    let source = std::fs::read_to_string(source).unwrap_or_default();
    trusts_tsc(&info, &source)
}

/// Judges the text of /proc/cpuinfo and of the kernel's current clock source.
///
/// # Errors
/// The first doubt.
pub fn trusts_tsc(cpuinfo: &str, clock_source: &str) -> Result<(), TscDoubt> {
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags")).ok_or(TscDoubt::Unknown)?;
    let has = |flag: &str| flags.split_ascii_whitespace().any(|word| word == flag);
    if !has("constant_tsc") || !has("nonstop_tsc") {
        return Err(TscDoubt::NotInvariant);
    }
    if clock_source.trim() != "tsc" {
        return Err(TscDoubt::KernelDistrusts);
    }
    Ok(())
}

/// What the comparison of cores found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoreComparison {
    /// Pairs of cores that exchanged stamps.
    pub pairs: u32,
    pub handoffs: u64,
    /// Stamps that were earlier than the other core's they followed.
    pub backwards: u64,
    /// By how much at most, ns.
    pub backwards_ns_max: u64,
}

/// Two pinned threads hand stamps to and fro, for the first CPU with each other one: a stamp taken
/// after another core's must not be earlier. Cores that cannot be pinned are left out.
pub fn compare_cores(counter: &quanta::Clock, cpus: &[usize]) -> CoreComparison {
    let mut total = CoreComparison::default();
    let Some((&first, others)) = cpus.split_first() else { return total };
    for &other in others.iter().take(PAIRS_MAX) {
        let (handoffs, backwards, ticks_max) = compare_pair(counter, first, other);
        total.pairs += 1;
        total.handoffs += handoffs;
        total.backwards += backwards;
        total.backwards_ns_max = total.backwards_ns_max.max(counter.delta_as_nanos(0, ticks_max));
    }
    total
}

/// `(handoffs, backwards, most ticks backwards)` of both sides together.
fn compare_pair(counter: &quanta::Clock, left: usize, right: usize) -> (u64, u64, u64) {
    // Turn 0, 2, 4 … is the left side's, 1, 3, 5 … the right side's; `stamp` is the last side's
    // counter.
    let turn = AtomicU64::new(0);
    let stamp = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let side = |cpu: usize, parity: u64| {
        let (mut handoffs, mut backwards, mut ticks_max) = (0, 0, 0);
        if syscall::pin(cpu).is_err() {
            stop.store(true, Ordering::Release);
        }
        let until = Instant::now() + Duration::from_millis(PAIR_CHECK_MS);
        let mut spins = 0u32;
        while handoffs < HANDOFFS_MAX / 2 && !stop.load(Ordering::Acquire) {
            let now_turn = turn.load(Ordering::Acquire);
            if now_turn % 2 != parity {
                spins += 1;
                if spins.is_multiple_of(256) {
                    if Instant::now() > until {
                        stop.store(true, Ordering::Release);
                    }
                    std::thread::yield_now();
                }
                std::hint::spin_loop();
                continue;
            }
            let before = stamp.load(Ordering::Acquire);
            let mine = counter.raw();
            if mine < before {
                backwards += 1;
                ticks_max = ticks_max.max(before - mine);
            }
            stamp.store(mine, Ordering::Release);
            turn.store(now_turn + 1, Ordering::Release);
            handoffs += 1;
        }
        (handoffs, backwards, ticks_max)
    };
    // tidy-ok: two short-lived threads at start, joined here; the check needs two cores at once.
    std::thread::scope(|scope| {
        let other = scope.spawn(|| side(right, 1));
        let own = scope.spawn(|| side(left, 0));
        let a = own.join().unwrap_or((0, 0, 0));
        let b = other.join().unwrap_or((0, 0, 0));
        (a.0 + b.0, a.1 + b.1, a.2.max(b.2))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_clock_runs_backwards_and_both_measure_the_same_span() {
        let clock = Clock::start_unchecked();
        // Each monotonic reading stands between two counter readings, so being descheduled cannot
        // fail it.
        let bracket = || (clock.tsc(), clock.mono(), clock.tsc());
        let first = bracket();
        let mut last = first;
        while (last.1 - first.1).0 < 20_000_000 {
            let next = bracket();
            assert!(next.0 >= last.2);
            assert!(next.1 >= last.1);
            last = next;
        }
        let mono_ns = (last.1 - first.1).0 as u64;
        let inner_ns = clock.span_ns(first.2, last.0).unwrap();
        let outer_ns = clock.span_ns(first.0, last.2).unwrap();
        let slack_ns = mono_ns / 1_000;
        assert!(inner_ns <= mono_ns + slack_ns, "{inner_ns} {mono_ns}");
        assert!(outer_ns + slack_ns >= mono_ns, "{outer_ns} {mono_ns}");
    }

    /// Goal: the clock of turns is the kernel's, to the rate error of one anchor, and never goes
    /// back.
    #[test]
    fn the_clock_of_turns_follows_the_kernel() {
        for clock in [
            Clock::start_unchecked(),
            Clock { source: Source::Monotonic(TscDoubt::Unknown), ..Clock::start_unchecked() },
        ] {
            let mut turns = TurnClock::new(&clock);
            let (mut last_mono, mut last_wall) = turns.now();
            let mut off_ns_max = 0;
            while last_mono.0 < 10_000_000 {
                let before = clock.mono();
                let (mono, wall) = turns.now();
                let after = clock.mono();
                assert!(mono >= last_mono);
                assert!(wall >= last_wall || (last_wall - wall).0 >= WALL_JITTER_NS);
                let off_ns = (before - mono).0.max((mono - after).0).max(0);
                off_ns_max = off_ns_max.max(off_ns);
                (last_mono, last_wall) = (mono, wall);
            }
            assert!(off_ns_max < 20_000, "{off_ns_max} ns off");
        }
    }

    #[test]
    fn a_missing_or_backward_stamp_has_no_span() {
        let clock = Clock::start_unchecked();
        let now = clock.tsc();
        assert_ne!(now, Tsc(0));
        assert_eq!(clock.span_ns(Tsc(0), now), None);
        assert_eq!(clock.span_ns(now, Tsc(0)), None);
        assert_eq!(clock.span_ns(now, Tsc(now.0 - 1)), None);
        assert_eq!(clock.span_ns(now, now), Some(0));
    }

    #[test]
    fn ticks_and_nanoseconds_convert_both_ways() {
        let clock = Clock::start_unchecked();
        for ns in [1_000, 1_000_000, 3_000_000_000] {
            let back = clock.span_ns(Tsc(1), Tsc(1 + clock.ticks_of_ns(ns))).unwrap();
            assert!(back.abs_diff(ns) <= ns / 1_000 + 2, "{ns} {back}");
        }
    }

    #[test]
    fn clones_share_their_zero_and_the_wall_is_in_this_century() {
        let clock = Clock::start_unchecked();
        let clone = clock.clone();
        let first = clock.mono();
        let second = clone.mono();
        assert!((second - first).0 >= 0);
        assert!(clock.wall() > WallNs::from_ms(1_600_000_000_000));
    }

    #[test]
    fn the_counter_is_trusted_only_where_cpu_and_kernel_say_so() {
        let good = "processor: 0\nflags\t\t: fpu tsc constant_tsc nonstop_tsc avx\n";
        assert_eq!(trusts_tsc(good, "tsc\n"), Ok(()));
        assert_eq!(trusts_tsc(good, "kvm-clock\n"), Err(TscDoubt::KernelDistrusts));
        assert_eq!(trusts_tsc("flags : fpu tsc constant_tsc", "tsc"), Err(TscDoubt::NotInvariant));
        assert_eq!(trusts_tsc("Features : fp asimd", "tsc"), Err(TscDoubt::Unknown));
        assert_eq!(trusts_tsc("", ""), Err(TscDoubt::Unknown));
    }

    #[test]
    fn the_cores_of_this_machine_exchange_stamps() {
        let counter = quanta::Clock::new();
        let cpus = syscall::allowed_cpus().unwrap();
        let found = compare_cores(&counter, &cpus);
        assert_eq!(found.pairs as usize, cpus.len().saturating_sub(1).min(PAIRS_MAX));
        assert!(found.pairs == 0 || found.handoffs > 0);
    }
}
