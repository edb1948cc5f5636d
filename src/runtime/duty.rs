//! What a hot thread drives, and the one loop that drives it. A duty does a bounded piece of work
//! and returns; it never loops, sleeps or spawns. The loop books every nanosecond as busy, idle or
//! back-pressured.

use super::wait::Waiter;
use crate::base::limits::SOCKETS_MAX;
use crate::base::time::Tsc;
use crate::io::alloc;
use crate::io::clock::Clock;
use crate::io::syscall::{Faults, SocketSet, thread_faults};
use crate::line::Probe;
use serde::Serialize;
use std::any::Any;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

impl Probe for Clock {
    #[inline(always)]
    fn tsc(&self) -> Tsc {
        Clock::tsc(self)
    }
}

/// A piece of the line on a thread. One dynamic call a turn, not a message. `Any`, so that whoever
/// stops the thread gets back what it started, with all it counted.
pub trait Duty: Any + Send {
    /// For logs and the report: the stage's name, or what else it is.
    fn name(&self) -> &'static str;
    /// Handles at most `BATCH_MAX` inputs; how many. It takes an input only where every output has
    /// room for what that input may cause. 0 lets the wait strategy idle.
    fn turn(&mut self) -> u32;
    /// After a turn of 0: input waits, but an output is full. Books the time as back-pressure.
    fn is_blocked(&mut self) -> bool {
        false
    }
    /// After each round of turns in which something was done: flush sockets, publish counters.
    fn end_batch(&mut self) {}
    /// Before a sleep: adds the sockets whose readiness ends it.
    fn sockets(&self, _set: &mut SocketSet) {}
    /// Once, when the thread is told to stop: take nothing new from outside.
    fn on_stop(&mut self) {}
    /// While stopping: nothing of this duty's is left to hand on. The thread ends when all say so.
    fn is_drained(&self) -> bool {
        true
    }
}

/// Rounds between two publications of the counters.
const PUBLISH_ROUNDS: u64 = 256;
/// Span between two looks at the page faults, a system call of 0.2 µs, ns.
const FAULTS_EVERY_NS: u64 = 100_000_000;
/// Rounds without work after which a stopping thread believes that nothing more comes.
const QUIET_ROUNDS: u32 = 3;

const ORDER_SEAL: u8 = 1;
const ORDER_STOP: u8 = 2;
const ORDER_WEDGE: u8 = 4;
const ORDER_SLOW: u8 = 8;
const ORDER_PANIC: u8 = 16;
const ORDERS_OF_DRILLS: u8 = ORDER_WEDGE | ORDER_SLOW | ORDER_PANIC;
/// What a slowed thread loses each round.
const SLOW_ROUND: Duration = Duration::from_millis(200);

/// What a drill lets a thread do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThreadFault {
    /// Its round never ends, whatever it is told.
    Wedge,
    /// Every round takes a fifth of a second.
    Slow,
    Panic,
}

/// Where a thread stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ThreadState {
    #[default]
    Starting,
    Running,
    /// Running, and any allocation is a fault.
    Sealed,
    /// Told to stop, handing on what is left.
    Stopping,
    Ended,
    Panicked,
}
impl ThreadState {
    const ALL: [ThreadState; 6] = [
        ThreadState::Starting,
        ThreadState::Running,
        ThreadState::Sealed,
        ThreadState::Stopping,
        ThreadState::Ended,
        ThreadState::Panicked,
    ];
}

/// What others may ask of a thread and see of it. Written by the thread, but for `orders`.
#[derive(Debug, Default)]
pub struct ThreadControl {
    orders: AtomicU8,
    state: AtomicU8,
    /// Rounds so far: a watchdog sees by it that the thread lives.
    heartbeat: AtomicU64,
    inputs: AtomicU64,
    busy_ns: AtomicU64,
    idle_ns: AtomicU64,
    blocked_ns: AtomicU64,
    allocs: AtomicU64,
    tls_allocs: AtomicU64,
    minor_faults: AtomicU64,
    major_faults: AtomicU64,
    drained: AtomicBool,
    panic: OnceLock<String>,
}

/// A copy of the counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ThreadStats {
    pub state: ThreadState,
    pub rounds: u64,
    /// Inputs that all duties of the thread have handled.
    pub inputs: u64,
    pub busy_ns: u64,
    pub idle_ns: u64,
    /// Input waited, but an output was full.
    pub blocked_ns: u64,
    /// Allocations of our own code since the seal.
    pub allocs_after_seal: u64,
    /// Allocations of rustls since the seal.
    pub tls_allocs_after_seal: u64,
    /// Page faults since the seal.
    pub minor_faults_after_seal: u64,
    pub major_faults_after_seal: u64,
}

impl ThreadControl {
    /// From now on an allocation is a fault. Takes effect at the end of the thread's round.
    pub fn seal(&self) {
        self.orders.fetch_or(ORDER_SEAL, Ordering::Release);
    }
    /// Hand on what is left, then end. Ends the seal too.
    pub fn stop(&self) {
        self.orders.fetch_or(ORDER_STOP, Ordering::Release);
    }
    /// For drills: from the end of its round on the thread misbehaves.
    pub fn drill(&self, fault: ThreadFault) {
        let order = match fault {
            ThreadFault::Wedge => ORDER_WEDGE,
            ThreadFault::Slow => ORDER_SLOW,
            ThreadFault::Panic => ORDER_PANIC,
        };
        self.orders.fetch_or(order, Ordering::Release);
    }
    pub fn state(&self) -> ThreadState {
        let index = usize::from(self.state.load(Ordering::Acquire));
        ThreadState::ALL.get(index).copied().unwrap_or_default()
    }
    /// Rounds so far; stands still where a duty hangs.
    pub fn heartbeat(&self) -> u64 {
        self.heartbeat.load(Ordering::Relaxed)
    }
    /// What a duty's panic said.
    pub fn panic_text(&self) -> Option<&str> {
        self.panic.get().map(String::as_str)
    }
    /// The counters as last published, at most `PUBLISH_ROUNDS` rounds old.
    pub fn stats(&self) -> ThreadStats {
        let at = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ThreadStats {
            state: self.state(),
            rounds: at(&self.heartbeat),
            inputs: at(&self.inputs),
            busy_ns: at(&self.busy_ns),
            idle_ns: at(&self.idle_ns),
            blocked_ns: at(&self.blocked_ns),
            allocs_after_seal: at(&self.allocs),
            tls_allocs_after_seal: at(&self.tls_allocs),
            minor_faults_after_seal: at(&self.minor_faults),
            major_faults_after_seal: at(&self.major_faults),
        }
    }
    /// The thread ended with nothing left inside; meaningful once it has ended.
    pub fn is_drained(&self) -> bool {
        self.drained.load(Ordering::Acquire)
    }
    pub(crate) fn set_state(&self, state: ThreadState) {
        self.state.store(state as u8, Ordering::Release);
    }
    pub(crate) fn set_panic(&self, text: String) {
        let _ = self.panic.set(text);
        self.set_state(ThreadState::Panicked);
    }
}

/// The thread's own running counters, published now and then.
struct Books<'a> {
    control: &'a ThreadControl,
    clock: &'a Clock,
    rounds: u64,
    inputs: u64,
    busy_ticks: u64,
    idle_ticks: u64,
    blocked_ticks: u64,
    faults_at: Tsc,
    faults_every: u64,
    /// At the seal: faults, own allocations, rustls's.
    baseline: Option<(Faults, u64, u64)>,
}

impl Books<'_> {
    fn publish(&self) {
        let control = self.control;
        let put = |counter: &AtomicU64, value: u64| counter.store(value, Ordering::Relaxed);
        let ns = |ticks: u64| self.clock.span_ns(Tsc(1), Tsc(1 + ticks)).unwrap_or(0);
        put(&control.inputs, self.inputs);
        put(&control.busy_ns, ns(self.busy_ticks));
        put(&control.idle_ns, ns(self.idle_ticks));
        put(&control.blocked_ns, ns(self.blocked_ticks));
        if let Some((_, allocs, tls_allocs)) = self.baseline {
            let counts = alloc::thread_counts();
            put(&control.allocs, counts.after_seal - allocs);
            put(&control.tls_allocs, counts.tls_after_seal - tls_allocs);
        }
    }
    fn publish_faults(&self) {
        if let Some((before, ..)) = self.baseline {
            let now = thread_faults();
            self.control.minor_faults.store(now.minor - before.minor, Ordering::Relaxed);
            self.control.major_faults.store(now.major - before.major, Ordering::Relaxed);
        }
    }
    fn seal(&mut self) {
        let counts = alloc::thread_counts();
        // Asked once before, so that the call's own first touch is not counted.
        let _ = thread_faults();
        self.baseline = Some((thread_faults(), counts.after_seal, counts.tls_after_seal));
        self.control.set_state(ThreadState::Sealed);
        alloc::seal();
    }
    fn unseal(&mut self) {
        alloc::unseal();
        self.publish();
        self.publish_faults();
        self.baseline = None;
    }
}

/// Drives the duties until told to stop and all of them are drained, or `drain_max` has passed
/// since then. True when they were drained.
pub fn run(
    duties: &mut [Box<dyn Duty>],
    waiter: &mut Waiter,
    control: &ThreadControl,
    clock: &Clock,
    drain_max: Duration,
) -> bool {
    let sleeps = !waiter.kind().is_spinning();
    let drain_ticks = clock.ticks_of_ns(drain_max.as_nanos().min(u64::MAX.into()) as u64);
    let mut books = Books {
        control,
        clock,
        rounds: 0,
        inputs: 0,
        busy_ticks: 0,
        idle_ticks: 0,
        blocked_ticks: 0,
        faults_at: clock.tsc(),
        faults_every: clock.ticks_of_ns(FAULTS_EVERY_NS),
        baseline: None,
    };
    let mut set = SocketSet::with_capacity(SOCKETS_MAX);
    let mut stopping: Option<Tsc> = None;
    let mut quiet = 0u32;
    control.set_state(ThreadState::Running);
    let mut from = clock.tsc();
    let drained = loop {
        let mut inputs = 0u32;
        let mut blocked = false;
        for duty in duties.iter_mut() {
            let count = duty.turn();
            inputs += count;
            blocked |= count == 0 && duty.is_blocked();
        }
        if inputs > 0 {
            for duty in duties.iter_mut() {
                duty.end_batch();
            }
        }
        let mut now = clock.tsc();
        let span = now.0.saturating_sub(from.0);
        if inputs > 0 {
            books.busy_ticks += span;
            books.inputs += u64::from(inputs);
            waiter.reset();
            quiet = 0;
        } else {
            quiet = quiet.saturating_add(1);
            let mut idle_span = span;
            if stopping.is_none() {
                waiter.idle(|max| {
                    set.clear();
                    duties.iter().for_each(|duty| duty.sockets(&mut set));
                    if !set.is_empty() {
                        set.wait(max);
                    }
                    !set.is_empty()
                });
                if sleeps {
                    let woken = clock.tsc();
                    idle_span += woken.0.saturating_sub(now.0);
                    now = woken;
                }
            } else {
                std::thread::yield_now();
            }
            *(if blocked { &mut books.blocked_ticks } else { &mut books.idle_ticks }) += idle_span;
        }
        from = now;
        books.rounds += 1;
        control.heartbeat.store(books.rounds, Ordering::Relaxed);
        if books.rounds.is_multiple_of(PUBLISH_ROUNDS) {
            books.publish();
            if now.0.saturating_sub(books.faults_at.0) >= books.faults_every {
                books.faults_at = now;
                books.publish_faults();
            }
        }
        let orders = control.orders.load(Ordering::Acquire);
        if orders == 0 {
            continue;
        }
        if orders & ORDERS_OF_DRILLS != 0 {
            misbehave(orders);
        }
        if orders & ORDER_STOP == 0 {
            if orders & ORDER_SEAL != 0 && books.baseline.is_none() {
                books.seal();
            }
            continue;
        }
        match stopping {
            None => {
                books.unseal();
                control.set_state(ThreadState::Stopping);
                duties.iter_mut().for_each(|duty| duty.on_stop());
                stopping = Some(now);
                quiet = 0;
            }
            Some(since) => {
                let is_drained = duties.iter().all(|duty| duty.is_drained());
                if is_drained && quiet >= QUIET_ROUNDS {
                    break true;
                }
                if now.0.saturating_sub(since.0) >= drain_ticks {
                    break is_drained;
                }
            }
        }
    };
    books.publish();
    control.drained.store(drained, Ordering::Release);
    drained
}

/// What a drill has asked for.
#[cold]
#[inline(never)]
fn misbehave(orders: u8) {
    if orders & ORDER_PANIC != 0 {
        alloc::unseal();
        panic!("a drill asked for it");
    }
    loop {
        std::thread::sleep(SLOW_ROUND); // tidy-ok: a drill; being deaf is its point
        if orders & ORDER_WEDGE == 0 {
            return;
        }
    }
}
