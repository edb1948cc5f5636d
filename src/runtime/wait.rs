//! What a thread does when its duties had nothing to do.

#![allow(
    clippy::disallowed_methods,
    reason = "the edge: deadlines and clocks of real sockets and disks"
)]

use crate::ring::Parking;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::OnceLock;
use std::thread::{self, Thread};
use std::time::Duration;

/// The strategies, from fastest and most wasteful to slowest and cheapest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitKind {
    /// Never gives the core up. Needs a core of its own.
    Spin,
    /// Spins, and lets others run now and then. Needs a core most of the time.
    SpinYield,
    /// Spins a little, yields a little, then sleeps for doubling spans up to `BACKOFF_SLEEP_MAX`.
    Backoff,
    /// Sleeps at once until woken, or for `PARK_MAX`.
    Park,
}
impl WaitKind {
    pub const ALL: [WaitKind; 4] =
        [WaitKind::Spin, WaitKind::SpinYield, WaitKind::Backoff, WaitKind::Park];
    /// As in the config.
    pub const fn name(self) -> &'static str {
        match self {
            WaitKind::Spin => "spin",
            WaitKind::SpinYield => "spin_yield",
            WaitKind::Backoff => "backoff",
            WaitKind::Park => "park",
        }
    }
    pub fn from_name(name: &str) -> Option<WaitKind> {
        WaitKind::ALL.into_iter().find(|kind| kind.name() == name)
    }
    /// Keeps a core busy while idle.
    pub const fn is_spinning(self) -> bool {
        matches!(self, WaitKind::Spin | WaitKind::SpinYield)
    }
}

/// Idle rounds of `SpinYield` between two yields.
const SPINS_PER_YIELD: u32 = 64;
/// `Backoff` spins for this many rounds,
const BACKOFF_SPINS: u32 = 64;
/// then yields for this many,
const BACKOFF_YIELDS: u32 = 64;
/// then sleeps, first this long,
const BACKOFF_SLEEP_MIN: Duration = Duration::from_micros(10);
/// at last this long: the delay a small machine adds to the first message after a silence.
pub const BACKOFF_SLEEP_MAX: Duration = Duration::from_micros(200);
/// A parked thread looks by itself this often, whoever forgot to wake it.
pub const PARK_MAX: Duration = Duration::from_millis(1);

/// Wakes one parked thread. Cheap when it is awake: one fence and one load.
#[derive(Clone, Debug, Default)]
pub struct Waker(Arc<WakerState>);
#[derive(Debug, Default)]
struct WakerState {
    parking: Parking,
    thread: OnceLock<Thread>,
}
impl Waker {
    /// Call after the item is in the ring.
    #[inline]
    pub fn wake(&self) {
        if self.0.parking.must_wake() {
            self.unpark();
        }
    }
    #[cold]
    fn unpark(&self) {
        if let Some(thread) = self.0.thread.get() {
            thread.unpark();
        }
    }
}

/// The strategy's state on its own thread.
#[derive(Debug)]
pub struct Waiter {
    kind: WaitKind,
    /// Idle rounds since the last work.
    rounds: u32,
    sleep: Duration,
    waker: Waker,
}

impl Waiter {
    pub fn new(kind: WaitKind) -> Waiter {
        Waiter { kind, rounds: 0, sleep: BACKOFF_SLEEP_MIN, waker: Waker::default() }
    }
    /// With a waker that producers already hold.
    pub fn with_waker(kind: WaitKind, waker: Waker) -> Waiter {
        Waiter { waker, ..Waiter::new(kind) }
    }
    pub fn kind(&self) -> WaitKind {
        self.kind
    }
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }
    /// There was work: the next idle round is the first again.
    #[inline(always)]
    pub fn reset(&mut self) {
        if self.rounds > 0 {
            self.reset_slow();
        }
    }
    fn reset_slow(&mut self) {
        self.rounds = 0;
        self.sleep = BACKOFF_SLEEP_MIN;
        self.waker.0.parking.withdraw();
    }
    /// There was none. `poll_wait` is asked before a sleep: a duty that can wait for its sockets
    /// itself (for at most the span given) answers true, and the sleep is left out.
    #[inline]
    pub fn idle(&mut self, poll_wait: impl FnOnce(Duration) -> bool) {
        self.rounds = self.rounds.saturating_add(1);
        match self.kind {
            WaitKind::Spin => std::hint::spin_loop(),
            WaitKind::SpinYield => {
                if self.rounds.is_multiple_of(SPINS_PER_YIELD) {
                    thread::yield_now();
                } else {
                    std::hint::spin_loop();
                }
            }
            WaitKind::Backoff => {
                if self.rounds <= BACKOFF_SPINS {
                    std::hint::spin_loop();
                } else if self.rounds <= BACKOFF_SPINS + BACKOFF_YIELDS {
                    thread::yield_now();
                } else {
                    if !poll_wait(self.sleep) {
                        thread::sleep(self.sleep); // tidy-ok: this is the wait strategy
                    }
                    self.sleep = (self.sleep * 2).min(BACKOFF_SLEEP_MAX);
                }
            }
            WaitKind::Park => self.park(poll_wait),
        }
    }
    /// First says that it will sleep, then lets the duties look once more, and sleeps the round
    /// after.
    fn park(&mut self, poll_wait: impl FnOnce(Duration) -> bool) {
        let WakerState { parking, thread } = &*self.waker.0;
        if !parking.is_announced() && self.rounds == 1 {
            thread.get_or_init(thread::current);
            parking.announce();
            return;
        }
        if parking.is_announced() && !poll_wait(PARK_MAX) {
            thread::park_timeout(PARK_MAX);
        }
        parking.withdraw();
        self.rounds = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring;
    use std::time::Instant;

    #[test]
    fn names_go_there_and_back() {
        for kind in WaitKind::ALL {
            assert_eq!(WaitKind::from_name(kind.name()), Some(kind));
        }
        assert_eq!(WaitKind::from_name("busy"), None);
    }

    #[test]
    fn spinning_strategies_never_sleep_and_the_others_come_to_it() {
        for kind in WaitKind::ALL {
            let mut waiter = Waiter::new(kind);
            let mut waits = Vec::new();
            for _ in 0..400 {
                waiter.idle(|span| {
                    waits.push(span);
                    true
                });
            }
            match kind {
                WaitKind::Spin | WaitKind::SpinYield => assert!(waits.is_empty()),
                WaitKind::Backoff => {
                    assert_eq!(waits.len(), 400 - (BACKOFF_SPINS + BACKOFF_YIELDS) as usize);
                    assert_eq!((waits[0], waits[1]), (BACKOFF_SLEEP_MIN, 2 * BACKOFF_SLEEP_MIN));
                    assert_eq!(waits.last(), Some(&BACKOFF_SLEEP_MAX));
                }
                WaitKind::Park => assert_eq!(waits, [PARK_MAX; 200]),
            }
            waiter.reset();
            let mut slept = false;
            waiter.idle(|_| {
                slept = true;
                true
            });
            assert!(!slept, "work starts the strategy anew");
        }
    }

    #[test]
    fn an_item_pushed_before_the_sleep_is_never_slept_over() {
        let mut waiter = Waiter::new(WaitKind::Park);
        let waker = waiter.waker();
        waiter.idle(|_| panic!("the first round only announces"));
        // The other side pushes now: it must find the announcement, and the sleep must end at once.
        waker.wake();
        let mut waited = false;
        waiter.idle(|_| {
            waited = true;
            true
        });
        assert!(!waited);
    }

    #[test]
    fn a_parked_consumer_gets_every_item_and_is_woken_for_it() {
        let (mut tx, mut rx) = ring::channel::<u64>(64);
        let mut waiter = Waiter::new(WaitKind::Park);
        let waker = waiter.waker();
        let count = 2_000;
        let consumer = std::thread::spawn(move || {
            let mut next = 0;
            let until = Instant::now() + Duration::from_secs(20);
            while next < count && Instant::now() < until {
                match rx.pop() {
                    Some(item) => {
                        assert_eq!(item, next);
                        next += 1;
                        waiter.reset();
                    }
                    None => waiter.idle(|_| false),
                }
            }
            next
        });
        for item in 0..count {
            let mut item = item;
            while let Err(back) = tx.push(item) {
                item = back;
                std::thread::yield_now();
            }
            waker.wake();
            if item % 97 == 0 {
                std::thread::sleep(Duration::from_micros(50));
            }
        }
        assert_eq!(consumer.join().unwrap(), count);
    }
}
