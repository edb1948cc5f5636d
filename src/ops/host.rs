//! The machine under the run: how late it wakes us, memory, descriptors, disk, steps of the clock.
//! And the word to a supervisor (`sd_notify`), by hand: a datagram is all it is.

use super::metrics::Windowed;
use super::status::{HostStatus, Spread};
use crate::base::time::{MonoNs, SpanNs, WallNs};
use crate::io::syscall;
use std::collections::VecDeque;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

/// Span over which the memory's slope is taken, and between two of its points.
const SLOPE_SPAN: SpanNs = SpanNs::from_s(1_800);
const SLOPE_EVERY: SpanNs = SpanNs::from_s(10);
/// Between two looks at /proc and the disk.
const LOOK_EVERY: SpanNs = SpanNs::from_s(1);
const NS_PER_MS: f64 = 1e6;
/// A thread that stood still for less is not asked about.
const STARVED_ASKED_AFTER: SpanNs = SpanNs::from_ms(300);
/// One tick of the processor time in /proc: 100 a second on every Linux.
const TICK_MS: i64 = 10;
/// Bytes of a thread's name that the kernel keeps.
const COMM_MAX: usize = 15;

/// Watches the machine; asked every few milliseconds by the watchdog's thread.
pub struct Host {
    dir: PathBuf,
    hiccups: Windowed,
    rss: VecDeque<(MonoNs, f64)>,
    looked_at: Option<MonoNs>,
    offset_ns: Option<i64>,
    /// Threads that stand still: name, processor time and age when first asked about.
    still: Vec<(String, u64, SpanNs)>,
    status: HostStatus,
}

impl Host {
    /// `dir` is where the run writes.
    pub fn new(dir: &Path) -> Host {
        Host {
            dir: dir.to_owned(),
            hiccups: Windowed::default(),
            rss: VecDeque::new(),
            looked_at: None,
            offset_ns: None,
            still: Vec::new(),
            status: HostStatus::default(),
        }
    }

    /// A sleep that ended `late` too late.
    pub fn on_sleep(&mut self, late: SpanNs) {
        self.hiccups.record(late.0.max(0).unsigned_abs());
    }

    /// How far the wall clock has gone beside the monotonic one since the last call, ms.
    pub fn on_clocks(&mut self, mono: MonoNs, wall: WallNs) -> f64 {
        let offset = wall.0 - i64::try_from(mono.0).unwrap_or(i64::MAX);
        let before = self.offset_ns.replace(offset).unwrap_or(offset);
        let step_ms = (offset - before) as f64 / NS_PER_MS;
        // A slewed clock goes some µs beside; a step is a step.
        if step_ms.abs() >= 1.0 {
            self.status.clock_step_ms = step_ms;
            if step_ms.abs() > self.status.clock_step_ms_max.abs() {
                self.status.clock_step_ms_max = step_ms;
            }
        }
        step_ms
    }

    /// What there is to say now.
    pub fn status(&mut self, now: MonoNs) -> HostStatus {
        self.hiccups.tick(now);
        if self.looked_at.is_none_or(|at| now - at >= LOOK_EVERY) {
            self.looked_at = Some(now);
            let facts = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
            self.status.rss_mib = field(&facts, "VmRSS:") as f64 / 1024.0;
            self.status.threads = field(&facts, "Threads:");
            // Counting opens a descriptor of its own.
            let fds = std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count());
            self.status.fds = fds.saturating_sub(1) as u64;
            self.status.disk_free_mib = syscall::disk_free(&self.dir).map(|free| free >> 20);
            self.slope(now);
        }
        self.status.hiccup_ms =
            Spread { total: self.hiccups.percentiles_ms(), window: self.hiccups.window(NS_PER_MS) };
        self.status
    }

    /// Whether a thread of this process that has stood still for `age` wants to run and is not let:
    /// runnable, and with hardly any processor time since. Asked of the kernel only once it has
    /// stood still for a while.
    pub fn is_starved(&mut self, thread: &str, age: SpanNs) -> bool {
        if age < STARVED_ASKED_AFTER {
            self.still.retain(|(name, ..)| name != thread);
            return false;
        }
        let Some((is_runnable, ticks)) = thread_run(thread) else { return false };
        let known = self.still.iter().find(|(name, ..)| name == thread).map(|row| (row.1, row.2));
        let Some((ticks_before, age_before)) = known else {
            self.still.push((thread.to_owned(), ticks, age));
            return is_runnable;
        };
        let used = SpanNs::from_ms(ticks.saturating_sub(ticks_before).cast_signed() * TICK_MS);
        is_runnable && used.0 < (age.0 - age_before.0) / 4 + TICK_MS * 1_000_000
    }

    fn slope(&mut self, now: MonoNs) {
        if self.rss.back().is_some_and(|(at, _)| now - *at < SLOPE_EVERY) {
            return;
        }
        self.rss.push_back((now, self.status.rss_mib));
        while self.rss.front().is_some_and(|(at, _)| now - *at > SLOPE_SPAN) {
            self.rss.pop_front();
        }
        let Some((first, _)) = self.rss.front().copied() else { return };
        let is_long = (now - first).0 >= SLOPE_SPAN.0 - SLOPE_EVERY.0;
        self.status.rss_mib_per_h = is_long.then(|| slope_per_h(&self.rss));
    }
}

/// Least squares, in units an hour.
fn slope_per_h(points: &VecDeque<(MonoNs, f64)>) -> f64 {
    let Some((first, _)) = points.front() else { return 0.0 };
    let hours = |at: MonoNs| (at - *first).0 as f64 / 3.6e12;
    let count = points.len() as f64;
    let mean_x = points.iter().map(|(at, _)| hours(*at)).sum::<f64>() / count;
    let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / count;
    let (mut over, mut under) = (0.0, 0.0);
    for (at, y) in points {
        let x = hours(*at) - mean_x;
        over += x * (y - mean_y);
        under += x * x;
    }
    if under > 0.0 { over / under } else { 0.0 }
}

/// Whether a thread is runnable, and its processor time in ticks; by the name it was given.
fn thread_run(thread: &str) -> Option<(bool, u64)> {
    let kept: String = thread.chars().take(COMM_MAX).collect();
    for entry in std::fs::read_dir("/proc/self/task").ok()?.flatten() {
        let comm = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if comm.trim_end() != kept {
            continue;
        }
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name in brackets may hold anything; behind it stand plain words.
        let mut words = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let state = words.next()?;
        let mut ticks = words.skip(10).map(|word| word.parse::<u64>().unwrap_or(0));
        return Some((state == "R", ticks.next()? + ticks.next()?));
    }
    None
}

/// The number behind a name of /proc/self/status.
fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// The supervisor's socket, where there is one.
pub struct Supervisor {
    socket: Option<(UnixDatagram, Address)>,
    /// How often it wants to hear from us.
    pub watchdog: Option<SpanNs>,
}

enum Address {
    Path(PathBuf),
    Abstract(Vec<u8>),
}

impl Supervisor {
    /// From `$NOTIFY_SOCKET` and `$WATCHDOG_USEC`, which `cmd` reads.
    pub fn new(notify_socket: Option<&str>, watchdog_usec: Option<&str>) -> Supervisor {
        let address = notify_socket.filter(|text| !text.is_empty()).map(|text| {
            match text.strip_prefix('@') {
                Some(name) => Address::Abstract(name.as_bytes().to_vec()),
                None => Address::Path(PathBuf::from(text)),
            }
        });
        let socket = address.and_then(|address| Some((UnixDatagram::unbound().ok()?, address)));
        let usec: Option<i64> = watchdog_usec.and_then(|text| text.parse().ok());
        Supervisor {
            socket,
            // Half of what is allowed, as sd_watchdog_enabled(3) advises.
            watchdog: usec.filter(|usec| *usec > 0).map(|usec| SpanNs(usec * 500)),
        }
    }
    /// `READY=1`, `WATCHDOG=1`, `STOPPING=1`, `STATUS=…`. Without a supervisor nothing happens.
    pub fn tell(&self, text: &str) {
        let Some((socket, address)) = &self.socket else { return };
        // A supervisor that does not listen is none of ours to repair.
        let _ = match address {
            Address::Path(path) => socket.send_to(text.as_bytes(), path),
            Address::Abstract(name) => {
                use std::os::linux::net::SocketAddrExt;
                std::os::unix::net::SocketAddr::from_abstract_name(name)
                    .and_then(|address| socket.send_to_addr(text.as_bytes(), &address))
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::rundir::tests::scratch;

    fn at(s: i64) -> MonoNs {
        MonoNs(0) + SpanNs::from_s(s)
    }

    #[test]
    fn the_machine_is_seen() {
        let mut host = Host::new(&std::env::temp_dir());
        for _ in 0..10 {
            host.on_sleep(SpanNs::from_ms(2));
        }
        let status = host.status(at(1));
        assert!(status.rss_mib > 1.0 && status.fds >= 3 && status.threads >= 1, "{status:?}");
        assert!(status.disk_free_mib.unwrap() > 0);
        assert_eq!(status.hiccup_ms.total.count, 10);
        assert!((status.hiccup_ms.window.p50.unwrap() - 2.0).abs() < 0.1);
        assert_eq!(Host::new(Path::new("no/such/dir")).status(at(1)).disk_free_mib, None);
    }

    /// Goal: a thread that waits for something is not called starved, nor is one that runs.
    #[test]
    fn a_thread_that_sleeps_is_not_starved_and_one_that_is_gone_neither() {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let sleeper = std::thread::Builder::new().name("sleeper".to_owned());
        let sleeper = sleeper.spawn(move || stopped.recv().is_ok()).unwrap();
        let mut host = Host::new(Path::new("."));
        while thread_run("sleeper").is_none_or(|(is_runnable, _)| is_runnable) {
            std::thread::yield_now(); // it has not come to its wait yet
        }
        assert!(!host.is_starved("sleeper", SpanNs::from_ms(200)), "not asked yet");
        for age_ms in [400, 900, 5_000] {
            assert!(!host.is_starved("sleeper", SpanNs::from_ms(age_ms)), "{age_ms}");
        }
        drop(stop);
        sleeper.join().unwrap();
        assert!(!host.is_starved("no such thread", SpanNs::from_s(9)));
    }

    #[test]
    fn a_step_of_the_clock_is_told_once_and_its_largest_kept() {
        let mut host = Host::new(Path::new("."));
        let wall = |ms: i64| WallNs::from_ms(1_000_000 + ms);
        assert_eq!(host.on_clocks(at(1), wall(1_000)), 0.0);
        assert_eq!(host.on_clocks(at(2), wall(1_500)), -500.0);
        assert_eq!(host.on_clocks(at(3), wall(2_500)), 0.0);
        assert_eq!(host.on_clocks(at(4), wall(3_600)), 100.0);
        let status = host.status(at(4));
        assert_eq!((status.clock_step_ms_max, status.clock_step_ms), (-500.0, 100.0));
    }

    #[test]
    fn the_slope_is_that_of_a_line_and_absent_before_half_an_hour() {
        let points = (0..100).map(|s| (at(s * 10), 5.0 + s as f64 / 360.0 * 7.0)).collect();
        assert!((slope_per_h(&points) - 7.0).abs() < 1e-9);
        let mut host = Host::new(Path::new("."));
        assert_eq!(host.status(at(0)).rss_mib_per_h, None);
        for s in 1..=1_790 {
            let _ = host.status(at(s));
        }
        assert!(host.status(at(1_800)).rss_mib_per_h.is_some());
    }

    #[test]
    fn the_supervisor_hears_by_path_and_by_name() {
        let dir = scratch();
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("notify");
        let heard = UnixDatagram::bind(&path).unwrap();
        let supervisor = Supervisor::new(path.to_str(), Some("2000000"));
        assert_eq!(supervisor.watchdog, Some(SpanNs::from_s(1)));
        supervisor.tell("READY=1");
        let mut buffer = [0; 64];
        let count = heard.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"READY=1");
        use std::os::linux::net::SocketAddrExt;
        let name = format!("genesis-test-{}", std::process::id());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let heard = UnixDatagram::bind_addr(&address).unwrap();
        Supervisor::new(Some(&format!("@{name}")), None).tell("WATCHDOG=1");
        let count = heard.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"WATCHDOG=1");
        let none = Supervisor::new(None, Some("x"));
        none.tell("READY=1");
        assert_eq!(none.watchdog, None);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
