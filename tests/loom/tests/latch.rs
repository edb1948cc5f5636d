//! The latch: whatever the threads do at the same time, it forbids what somebody has forbidden.

use genesis_loom::Latch;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

/// Ranks as in `model::Rank`; what counts is their order.
const RUNNING: u8 = 0;
const BLOCKED: u8 = 1;
const REDUCE_ONLY: u8 = 2;
const HALTED: u8 = 4;

/// Goal: what forbids is handed over from outside to inside without a gap. Method: a switch was
/// pulled, and the risk stage takes it over while the gate looks.
#[test]
fn no_gap_where_the_stage_takes_over_what_was_raised() {
    loom::model(|| {
        let latch = Latch::new(RUNNING);
        latch.raise(REDUCE_ONLY);
        latch.order_reset();
        let gate = latch.clone();
        let gate = thread::spawn(move || gate.rank());
        // The reset was for something else: the stage itself says halted.
        assert!(latch.reset(HALTED));
        assert!(gate.join().unwrap() >= REDUCE_ONLY);
        assert_eq!(latch.rank(), HALTED);
    });
}

/// Goal: and from inside to outside. Method: the stage lets go once it knows that somebody else
/// holds.
#[test]
fn no_gap_where_somebody_else_holds_before_the_stage_lets_go() {
    loom::model(|| {
        let latch = Latch::new(REDUCE_ONLY);
        let gate = latch.clone();
        let gate = thread::spawn(move || gate.rank());
        latch.raise(BLOCKED);
        latch.set(RUNNING);
        assert!(gate.join().unwrap() >= BLOCKED);
    });
}

/// Goal: a kill is not lifted by a reset that did not know of it. Method: the line takes the reset
/// in while somebody pulls the switch; whatever the order, the switch holds or is still to be told,
/// behind the reset.
#[test]
fn a_kill_beside_a_reset_holds_or_was_known_to_it() {
    loom::model(|| {
        let latch = Latch::new(RUNNING);
        latch.raise(BLOCKED);
        let killer = latch.clone();
        let killer = thread::spawn(move || killer.kill_at(REDUCE_ONLY, 17));
        // The line, as `parse` does it: the switch first, then the operator's words.
        let told_before = latch.take_kill();
        if told_before {
            latch.raise(REDUCE_ONLY);
        }
        latch.order_reset();
        let is_lifted = latch.reset(RUNNING);
        killer.join().unwrap();
        // Only a reset behind the kill may lift it.
        assert_eq!(latch.take_kill(), !told_before, "told once");
        assert!(latch.rank() == REDUCE_ONLY || told_before && is_lifted);
        assert!(latch.killed_at() == 17 || latch.rank() == RUNNING);
        // The next one lifts it in any case.
        latch.order_reset();
        assert!(latch.reset(RUNNING));
        assert_eq!((latch.rank(), latch.killed_at()), (RUNNING, 0));
    });
}

/// Goal: nothing that is raised after a reset was ordered is lifted by it.
#[test]
fn what_is_raised_after_the_reset_was_ordered_stays() {
    loom::model(|| {
        let latch = Latch::new(RUNNING);
        latch.raise(BLOCKED);
        latch.order_reset();
        let watchdog = latch.clone();
        let watchdog = thread::spawn(move || watchdog.raise(BLOCKED));
        let killer = latch.clone();
        let killer = thread::spawn(move || killer.kill_at(REDUCE_ONLY, 17));
        latch.reset(RUNNING);
        watchdog.join().unwrap();
        killer.join().unwrap();
        assert_eq!(latch.rank(), REDUCE_ONLY);
        assert_eq!(latch.killed_at(), 17);
        assert!(latch.take_kill());
    });
}

/// Goal: two who raise at once both count.
#[test]
fn the_strictest_of_several_stays() {
    loom::model(|| {
        let latch = Latch::new(RUNNING);
        let other = latch.clone();
        let other = thread::spawn(move || other.raise(HALTED));
        latch.raise(REDUCE_ONLY);
        assert!(latch.rank() >= REDUCE_ONLY);
        other.join().unwrap();
        assert_eq!(latch.rank(), HALTED);
    });
}

/// Goal: who sees the rank sees why, and so does the line that is told; a kill is told once.
/// Method: the reason is written before; the gate and the line look at any moment.
#[test]
fn who_sees_the_rank_or_the_switch_sees_the_reason() {
    loom::model(|| {
        let latch = Latch::new(RUNNING);
        let reason = Arc::new(AtomicBool::new(false));
        let (line, why) = (latch.clone(), Arc::clone(&reason));
        let killer = thread::spawn({
            let (latch, reason) = (latch.clone(), Arc::clone(&reason));
            move || {
                reason.store(true, Ordering::Relaxed);
                latch.kill(REDUCE_ONLY);
            }
        });
        let line = thread::spawn(move || {
            if line.take_kill() {
                assert!(why.load(Ordering::Relaxed));
                return true;
            }
            false
        });
        if latch.rank() == REDUCE_ONLY {
            assert!(reason.load(Ordering::Relaxed));
        }
        let told = line.join().unwrap();
        killer.join().unwrap();
        assert!(told != latch.take_kill(), "told once, and never lost");
    });
}

/// Goal: the stage's own rank tells why, too.
#[test]
fn the_stage_s_rank_makes_visible_what_came_before_it() {
    loom::model(|| {
        let latch = Latch::new(RUNNING);
        let reason = Arc::new(AtomicBool::new(false));
        let stage = thread::spawn({
            let (latch, reason) = (latch.clone(), Arc::clone(&reason));
            move || {
                reason.store(true, Ordering::Relaxed);
                latch.set(HALTED);
            }
        });
        if latch.rank() == HALTED {
            assert!(reason.load(Ordering::Relaxed));
        }
        stage.join().unwrap();
    });
}

/// Goal: the time of a kill is the first one's, and no reset takes it without taking the kill.
#[test]
fn a_kill_that_stands_has_a_time() {
    loom::model(|| {
        let latch = Latch::new(RUNNING);
        latch.kill_at(REDUCE_ONLY, 17);
        assert!(latch.take_kill());
        latch.order_reset();
        let second = latch.clone();
        let second = thread::spawn(move || second.kill_at(REDUCE_ONLY, 19));
        let is_lifted = latch.reset(RUNNING);
        second.join().unwrap();
        assert_eq!(latch.rank(), REDUCE_ONLY, "the second was not known to it");
        assert_ne!(latch.killed_at(), 0);
        assert!(!is_lifted || latch.killed_at() == 19);
    });
}
