//! Starts hot threads where the table says, and proves that they are there before anything runs on
//! them.

#![allow(
    clippy::disallowed_methods,
    reason = "the edge: deadlines and clocks of real sockets and disks"
)]

use super::duty::{Duty, ThreadControl, ThreadState, ThreadStats, run};
use super::topology::{ThreadPlan, Topology};
use super::wait::{WaitKind, Waiter, Waker};
use crate::io::clock::Clock;
use crate::io::syscall::{self, PinError};
use crate::ring::Latch;
use std::any::Any;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Stack of a hot thread, bytes; this much of it is touched before the first turn.
const STACK_SIZE: usize = 4 << 20;
const STACK_TOUCHED: usize = 512 << 10;
/// How long a started thread may take to pin itself and build its duties.
const START_MAX: Duration = Duration::from_secs(60);

/// One thread to start.
#[derive(Clone, Debug)]
pub struct SpawnSpec {
    /// At most `THREAD_NAME_MAX` bytes are shown by the kernel.
    pub name: String,
    /// Pinned here, else floating.
    pub cpu: Option<usize>,
    /// Where a floating thread may run; empty = wherever its parent may.
    pub allow: Vec<usize>,
    pub wait: WaitKind,
    /// For producers on other threads: wakes this one when it parks.
    pub waker: Waker,
    /// How long the thread may hand on what is left after `stop`.
    pub drain_max: Duration,
    /// Raised to this rank when a duty panics, so that nothing more is sent.
    pub latch: Option<(Latch, u8)>,
}
impl SpawnSpec {
    /// From a row of the table. A floating hot thread may use every CPU the cold ones may.
    pub fn of(plan: &ThreadPlan, topology: &Topology) -> SpawnSpec {
        let allow = if plan.cpu.is_none() { topology.cold_cpus.clone() } else { Vec::new() };
        SpawnSpec {
            name: plan.name.clone(),
            cpu: plan.cpu,
            allow,
            wait: plan.wait,
            waker: Waker::default(),
            drain_max: Duration::from_secs(2),
            latch: None,
        }
    }
}

/// Why a thread is not running as asked. It has ended then.
#[derive(Debug)]
pub enum PlaceError {
    Spawn {
        thread: String,
        error: io::Error,
    },
    Pin {
        thread: String,
        error: PinError,
    },
    /// The mask of a floating thread was refused.
    Allow {
        thread: String,
        error: io::Error,
    },
    /// Building the duties panicked, or took longer than a minute.
    Build {
        thread: String,
        panic: String,
    },
}
impl fmt::Display for PlaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PlaceError::Spawn { thread, error } => write!(f, "thread \"{thread}\": {error}"),
            PlaceError::Pin { thread, error } => {
                write!(f, "thread \"{thread}\": {error}; choose another core or layout = \"auto\"")
            }
            PlaceError::Allow { thread, error } => {
                write!(f, "thread \"{thread}\": its CPU mask was refused: {error}")
            }
            PlaceError::Build { thread, panic } => {
                write!(f, "thread \"{thread}\" did not start: {panic}")
            }
        }
    }
}

/// How a thread ended, and what it drove: counters are read off the duties themselves.
pub struct ThreadEnd {
    pub name: String,
    pub stats: ThreadStats,
    /// Nothing was left inside.
    pub drained: bool,
    pub panic: Option<String>,
    /// In their order on the thread; after a panic as it left them.
    pub duties: Vec<Box<dyn Duty>>,
}

/// A running thread. Dropping the handle tells it to stop, without waiting.
#[derive(Debug)]
pub struct ThreadHandle {
    name: String,
    cpu: Option<usize>,
    control: Arc<ThreadControl>,
    join: Option<JoinHandle<Vec<Box<dyn Duty>>>>,
}
impl ThreadHandle {
    pub fn name(&self) -> &str {
        &self.name
    }
    /// The CPU it was proven to run on; `None` = floats.
    pub fn cpu(&self) -> Option<usize> {
        self.cpu
    }
    /// For watchdogs and views, which may outlive the handle.
    pub fn control(&self) -> Arc<ThreadControl> {
        self.control.clone()
    }
    pub fn stats(&self) -> ThreadStats {
        self.control.stats()
    }
    /// See `ThreadControl::seal`.
    pub fn seal(&self) {
        self.control.seal();
    }
    /// See `ThreadControl::stop`.
    pub fn stop(&self) {
        self.control.stop();
    }
    pub fn is_finished(&self) -> bool {
        self.join.as_ref().is_none_or(JoinHandle::is_finished)
    }
    /// Tells it to stop and waits for its end.
    pub fn join(mut self) -> ThreadEnd {
        self.control.stop();
        let mut duties = Vec::new();
        if let Some(join) = self.join.take() {
            // Panics are caught inside; one in a destructor of a duty arrives here.
            match join.join() {
                Ok(driven) => duties = driven,
                Err(panic) => self.control.set_panic(panic_text(&*panic)),
            }
        }
        ThreadEnd {
            name: self.name.clone(),
            stats: self.control.stats(),
            drained: self.control.is_drained(),
            panic: self.control.panic_text().map(str::to_owned),
            duties,
        }
    }
}
impl Drop for ThreadHandle {
    fn drop(&mut self) {
        self.control.stop();
    }
}

/// Starts a thread: name, pin, proof, stack, duties (built there, so that their memory is local),
/// then the loop. Returns when it runs.
///
/// # Errors
/// `PlaceError`; a floating fallback is the caller's decision, not ours.
pub fn spawn<F>(spec: SpawnSpec, clock: &Clock, build: F) -> Result<ThreadHandle, PlaceError>
where
    F: FnOnce() -> Vec<Box<dyn Duty>> + Send + 'static,
{
    let name = spec.name.clone();
    let control = Arc::new(ThreadControl::default());
    let (tx, rx) = mpsc::sync_channel::<Result<Option<usize>, PlaceError>>(1);
    let (clock, own_control) = (clock.clone(), control.clone());
    let builder = std::thread::Builder::new().name(name.clone()).stack_size(STACK_SIZE);
    let spawned = builder.spawn(move || live(spec, &own_control, &clock, build, &tx));
    let join = match spawned {
        Ok(join) => join,
        Err(error) => return Err(PlaceError::Spawn { thread: name, error }),
    };
    match rx.recv_timeout(START_MAX) {
        Ok(Ok(cpu)) => Ok(ThreadHandle { name, cpu, control, join: Some(join) }),
        Ok(Err(error)) => Err(error),
        Err(_) => {
            control.stop();
            let panic = control.panic_text().unwrap_or("no answer").to_owned();
            Err(PlaceError::Build { thread: name, panic })
        }
    }
}

fn live<F>(
    spec: SpawnSpec,
    control: &ThreadControl,
    clock: &Clock,
    build: F,
    started: &mpsc::SyncSender<Result<Option<usize>, PlaceError>>,
) -> Vec<Box<dyn Duty>>
where
    F: FnOnce() -> Vec<Box<dyn Duty>>,
{
    let thread = spec.name.clone();
    if let Err(error) = place(&spec) {
        control.set_state(ThreadState::Ended);
        let _ = started.send(Err(error));
        return Vec::new();
    }
    let mut duties = match catch_unwind(AssertUnwindSafe(build)) {
        Ok(duties) => duties,
        Err(panic) => {
            let panic = panic_text(&*panic);
            control.set_panic(panic.clone());
            let _ = started.send(Err(PlaceError::Build { thread, panic }));
            return Vec::new();
        }
    };
    let _ = started.send(Ok(spec.cpu));
    let mut waiter = Waiter::with_waker(spec.wait, spec.waker.clone());
    let work = || run(&mut duties, &mut waiter, control, clock, spec.drain_max);
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(_) => control.set_state(ThreadState::Ended),
        Err(panic) => {
            // First the latch: from here on nothing may leave that only frees more risk.
            if let Some((latch, rank)) = &spec.latch {
                latch.raise(*rank);
            }
            crate::io::alloc::unseal();
            control.set_panic(panic_text(&*panic));
        }
    }
    duties
}

/// Puts this thread where it belongs and makes its sleeps and stack ready.
fn place(spec: &SpawnSpec) -> Result<(), PlaceError> {
    let thread = || spec.name.clone();
    match spec.cpu {
        Some(cpu) => {
            syscall::pin(cpu).map_err(|error| PlaceError::Pin { thread: thread(), error })?;
        }
        None if !spec.allow.is_empty() => {
            syscall::allow_cpus(&spec.allow)
                .map_err(|error| PlaceError::Allow { thread: thread(), error })?;
        }
        None => {}
    }
    // A finer timer only makes sleeps shorter; without it they are 50 µs longer.
    let _ = syscall::set_timer_slack_ns(1_000);
    touch_stack();
    Ok(())
}

#[inline(never)]
fn touch_stack() {
    let mut pages = [0u8; STACK_TOUCHED];
    for page in pages.chunks_mut(4_096) {
        page[0] = std::hint::black_box(1);
    }
    std::hint::black_box(&pages);
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panic without text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::{self, Rx, Tx};
    use crate::runtime::cpu::CpuMap;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Instant;

    fn clock() -> Clock {
        Clock::start_unchecked()
    }
    fn float(name: &str, wait: WaitKind) -> SpawnSpec {
        SpawnSpec {
            name: name.to_owned(),
            cpu: None,
            allow: Vec::new(),
            wait,
            waker: Waker::default(),
            drain_max: Duration::from_secs(5),
            latch: None,
        }
    }
    fn until(what: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !what() {
            assert!(Instant::now() < end, "did not come about");
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// Counts up into a ring; takes nothing new after `on_stop`.
    struct Source {
        tx: Tx<u64>,
        next: u64,
        last: u64,
        stopped: bool,
    }
    impl Duty for Source {
        fn name(&self) -> &'static str {
            "source"
        }
        fn turn(&mut self) -> u32 {
            let mut count = 0;
            while count < 64 && self.next < self.last && !self.stopped && self.tx.free() > 0 {
                self.tx.push(self.next).unwrap();
                self.next += 1;
                count += 1;
            }
            count
        }
        fn is_blocked(&mut self) -> bool {
            self.next < self.last && !self.stopped
        }
        fn on_stop(&mut self) {
            self.stopped = true;
        }
    }
    /// Adds up what comes, each item once and in order.
    struct Sink {
        rx: Rx<u64>,
        next: u64,
        batches: u64,
        total: Arc<AtomicU64>,
    }
    impl Duty for Sink {
        fn name(&self) -> &'static str {
            "sink"
        }
        fn turn(&mut self) -> u32 {
            let mut count = 0;
            while count < 64
                && let Some(item) = self.rx.pop()
            {
                assert_eq!(item, self.next);
                self.next += 1;
                count += 1;
            }
            count
        }
        fn end_batch(&mut self) {
            self.batches += 1;
            self.total.store(self.next, Ordering::Release);
        }
        fn is_drained(&self) -> bool {
            self.rx.is_empty()
        }
    }
    fn pair(last: u64) -> (Source, Sink, Arc<AtomicU64>) {
        let (tx, rx) = ring::channel(256);
        let total = Arc::new(AtomicU64::new(0));
        let sink = Sink { rx, next: 0, batches: 0, total: total.clone() };
        (Source { tx, next: 0, last, stopped: false }, sink, total)
    }

    #[test]
    fn the_same_duties_give_the_same_result_on_one_thread_and_on_two_with_any_wait() {
        let count = 30_000;
        for wait in WaitKind::ALL {
            let (source, sink, total) = pair(count);
            let one =
                spawn(float("one", wait), &clock(), move || vec![Box::new(source), Box::new(sink)]);
            let one = one.unwrap();
            until(|| total.load(Ordering::Acquire) == count);
            let end = one.join();
            assert_eq!((end.drained, end.panic, end.stats.inputs), (true, None, 2 * count));

            let (source, sink, total) = pair(count);
            let first = spawn(float("source", wait), &clock(), move || vec![Box::new(source)]);
            let second = spawn(float("sink", wait), &clock(), move || vec![Box::new(sink)]);
            let (first, second) = (first.unwrap(), second.unwrap());
            until(|| total.load(Ordering::Acquire) == count);
            assert_eq!(first.join().stats.inputs + second.join().stats.inputs, 2 * count);
        }
    }

    #[test]
    fn a_stopping_thread_hands_on_what_is_left_and_takes_nothing_new() {
        let (source, sink, total) = pair(u64::MAX);
        let handle = spawn(float("drain", WaitKind::Backoff), &clock(), move || {
            vec![Box::new(source), Box::new(sink)]
        });
        let handle = handle.unwrap();
        until(|| total.load(Ordering::Acquire) > 1_000);
        let end = handle.join();
        assert!(end.drained);
        // Each item was counted by the source and by the sink: nothing stayed in the ring.
        assert_eq!(end.stats.inputs, 2 * total.load(Ordering::Acquire));
        assert_eq!(end.stats.state, ThreadState::Ended);
    }

    #[test]
    fn a_duty_that_cannot_drain_ends_at_its_deadline_and_says_so() {
        let (_source, mut sink, _total) = pair(0);
        let (mut tx, rx) = ring::channel(16);
        tx.push(7).unwrap();
        sink.rx = rx;
        struct Stuck(Sink);
        impl Duty for Stuck {
            fn name(&self) -> &'static str {
                "stuck"
            }
            fn turn(&mut self) -> u32 {
                0
            }
            fn is_blocked(&mut self) -> bool {
                true
            }
            fn is_drained(&self) -> bool {
                self.0.is_drained()
            }
        }
        let mut spec = float("stuck", WaitKind::Backoff);
        spec.drain_max = Duration::from_millis(30);
        let handle = spawn(spec, &clock(), move || vec![Box::new(Stuck(sink))]).unwrap();
        until(|| handle.stats().rounds > 600);
        let end = handle.join();
        assert!(!end.drained);
        assert!(end.stats.blocked_ns > 0);
        assert_eq!((end.stats.busy_ns, end.stats.inputs), (0, 0));
    }

    #[test]
    fn a_pinned_thread_is_where_the_table_says_and_a_wrong_cpu_is_refused() {
        for cpu in CpuMap::of_this_machine().usable() {
            let seen = Arc::new(AtomicU64::new(u64::MAX));
            struct Look(Arc<AtomicU64>);
            impl Duty for Look {
                fn name(&self) -> &'static str {
                    "look"
                }
                fn turn(&mut self) -> u32 {
                    let cpu = syscall::current_cpu().unwrap() as u64;
                    self.0.store(cpu, Ordering::Release);
                    0
                }
            }
            let mut spec = float("look", WaitKind::Backoff);
            spec.cpu = Some(cpu);
            let look = Look(seen.clone());
            let handle = spawn(spec, &clock(), move || vec![Box::new(look)]).unwrap();
            assert_eq!(handle.cpu(), Some(cpu));
            until(|| seen.load(Ordering::Acquire) == cpu as u64);
            assert!(handle.join().drained);
        }
        let mut spec = float("nowhere", WaitKind::Backoff);
        spec.cpu = Some(syscall::CPU_NUMBER_MAX);
        let error = spawn(spec, &clock(), Vec::new).unwrap_err();
        assert!(matches!(error, PlaceError::Pin { .. }), "{error}");
    }

    /// Allocates once a turn after it has been told to.
    struct Leaky(Arc<AtomicU64>);
    impl Duty for Leaky {
        fn name(&self) -> &'static str {
            "leaky"
        }
        fn turn(&mut self) -> u32 {
            let left = self.0.load(Ordering::Acquire);
            if left > 0 {
                drop(std::hint::black_box(Box::new(left)));
                self.0.store(left - 1, Ordering::Release);
            }
            0
        }
    }

    #[test]
    fn allocations_before_the_seal_are_free_and_later_ones_are_counted() {
        let leaks = Arc::new(AtomicU64::new(5));
        let own = leaks.clone();
        let handle = spawn(float("leaky", WaitKind::SpinYield), &clock(), move || {
            vec![Box::new(Leaky(own))]
        });
        let handle = handle.unwrap();
        until(|| leaks.load(Ordering::Acquire) == 0);
        handle.seal();
        until(|| handle.stats().state == ThreadState::Sealed);
        let rounds = handle.stats().rounds;
        until(|| handle.stats().rounds > rounds + 1_000);
        assert_eq!(handle.stats().allocs_after_seal, 0);
        leaks.store(3, Ordering::Release);
        until(|| handle.stats().allocs_after_seal == 3);
        let end = handle.join();
        assert_eq!(end.stats.allocs_after_seal, 3, "the end of the thread is not counted");
        assert_eq!(end.stats.tls_allocs_after_seal, 0);
        assert_eq!(end.stats.major_faults_after_seal, 0);
    }

    #[test]
    fn a_panic_is_caught_told_and_raises_the_latch() {
        struct Bad;
        impl Duty for Bad {
            fn name(&self) -> &'static str {
                "bad"
            }
            fn turn(&mut self) -> u32 {
                std::panic::resume_unwind(Box::new("a broken invariant".to_owned()))
            }
        }
        let latch = Latch::default();
        let mut spec = float("bad", WaitKind::Park);
        spec.latch = Some((latch.clone(), 4));
        let handle = spawn(spec, &clock(), || vec![Box::new(Bad)]).unwrap();
        until(|| handle.is_finished());
        assert_eq!(latch.rank(), 4);
        let end = handle.join();
        assert_eq!(end.panic.as_deref(), Some("a broken invariant"));
        assert_eq!((end.stats.state, end.drained), (ThreadState::Panicked, false));

        let error = spawn(float("unbuilt", WaitKind::Park), &clock(), || {
            std::panic::resume_unwind(Box::new("no such file".to_owned()))
        });
        let error = error.unwrap_err();
        assert!(
            matches!(&error, PlaceError::Build { panic, .. } if panic == "no such file"),
            "{error}"
        );
    }

    #[test]
    fn a_sleep_ends_when_a_socket_of_a_duty_is_ready() {
        use crate::io::syscall::SocketSet;
        use std::io::{Read, Write};
        use std::os::unix::net::UnixStream;
        struct Waits(UnixStream, Arc<AtomicU64>);
        impl Duty for Waits {
            fn name(&self) -> &'static str {
                "waits"
            }
            fn turn(&mut self) -> u32 {
                let mut byte = [0];
                match self.0.read(&mut byte) {
                    Ok(1) => {
                        self.1.fetch_add(1, Ordering::AcqRel);
                        1
                    }
                    _ => 0,
                }
            }
            fn sockets(&self, set: &mut SocketSet) {
                set.add(&self.0, false);
            }
        }
        for wait in [WaitKind::Backoff, WaitKind::Park] {
            let (mut near, far) = UnixStream::pair().unwrap();
            far.set_nonblocking(true).unwrap();
            let count = Arc::new(AtomicU64::new(0));
            let waits = Waits(far, count.clone());
            let handle =
                spawn(float("waits", wait), &clock(), move || vec![Box::new(waits)]).unwrap();
            for sent in 1..=50 {
                near.write_all(&[1]).unwrap();
                until(|| count.load(Ordering::Acquire) == sent);
            }
            let end = handle.join();
            assert_eq!(end.stats.inputs, 50);
            assert!(end.stats.idle_ns > 0);
        }
    }
}
