//! How a sleeper is woken: never does one sleep over an item. Loom's `park` has no time-out: a
//! sleeper that nobody wakes is a deadlock, which it reports.

use genesis_loom::Parking;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread::{self, Thread};
use std::sync::OnceLock;

/// A sleeper as `Waiter` and `Waker` have it.
struct Bed {
    parking: Parking,
    thread: OnceLock<Thread>,
    /// Loom does not look into a `OnceLock`: this stands for its content, ordered by the
    /// announcement alone.
    is_named: AtomicBool,
    items: AtomicUsize,
}

impl Bed {
    fn new() -> Arc<Bed> {
        Arc::new(Bed {
            parking: Parking::default(),
            thread: OnceLock::new(),
            is_named: AtomicBool::new(false),
            items: AtomicUsize::new(0),
        })
    }
    /// As a ring does it: the item is published, then the sleeper looked for.
    fn push(&self) {
        self.items.fetch_add(1, Ordering::Release);
        if self.parking.must_wake() {
            assert!(self.is_named.load(Ordering::Relaxed), "woken before it has a name");
            self.thread.get().unwrap().unpark();
        }
    }
    /// Until so many items have come: look, announce, look once more, sleep.
    fn wait_for(&self, count: usize) {
        self.thread.get_or_init(thread::current);
        self.is_named.store(true, Ordering::Relaxed);
        while self.items.load(Ordering::Acquire) < count {
            self.parking.announce();
            if self.items.load(Ordering::Acquire) < count && self.parking.is_announced() {
                thread::park();
            }
            self.parking.withdraw();
        }
    }
}

#[test]
fn one_item_is_never_slept_over() {
    loom::model(|| {
        let bed = Bed::new();
        let other = Arc::clone(&bed);
        let other = thread::spawn(move || other.push());
        bed.wait_for(1);
        other.join().unwrap();
    });
}

#[test]
fn two_items_of_one_producer() {
    loom::model(|| {
        let bed = Bed::new();
        let other = Arc::clone(&bed);
        let other = thread::spawn(move || {
            other.push();
            other.push();
        });
        bed.wait_for(2);
        other.join().unwrap();
    });
}

#[test]
fn two_producers_wake_one_sleeper() {
    let mut model = loom::model::Builder::new();
    // Three threads that meet in fences: three switches without need reach every pair of them.
    model.preemption_bound = Some(3);
    model.check(|| {
        let bed = Bed::new();
        let others = [Arc::clone(&bed), Arc::clone(&bed)];
        let others = others.map(|other| thread::spawn(move || other.push()));
        bed.wait_for(2);
        for other in others {
            other.join().unwrap();
        }
    });
}
