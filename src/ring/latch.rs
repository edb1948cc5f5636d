//! The one thing outside the line: the risk state's rank as an atomic, read just before bytes
//! leave. It can only forbid.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

#[derive(Debug, Default)]
struct Cells {
    /// What the risk stage says.
    inside: AtomicU8,
    /// What anyone else says: signal handler, watchdog, control API. Only rises, until cleared.
    outside: AtomicU8,
    /// Somebody pulled the kill switch, and the line has not been told yet.
    kill: Arc<AtomicBool>,
    /// Counter of the clock (TSC) when it was pulled first and not reset since; 0 = not, or by a
    /// signal handler, which has no clock.
    killed_at: AtomicU64,
}

/// A shared rank: the stricter of what the risk stage says and what anybody else says.
#[derive(Clone, Debug, Default)]
pub struct Latch(Arc<Cells>);

impl Latch {
    /// A latch whose inside starts at `rank`, the strict end being 255.
    pub fn new(rank: u8) -> Self {
        let latch = Self::default();
        latch.set(rank);
        latch
    }
    /// Acquire: whoever raised it has made the reason visible.
    #[inline(always)]
    pub fn rank(&self) -> u8 {
        let inside = self.0.inside.load(Ordering::Acquire);
        inside.max(self.0.outside.load(Ordering::Acquire))
    }
    /// Never lowers, and no word of the risk stage lowers it either.
    pub fn raise(&self, rank: u8) {
        self.0.outside.fetch_max(rank, Ordering::AcqRel);
    }
    /// For the risk stage alone: its own rank, which may fall.
    pub fn set(&self, rank: u8) {
        self.0.inside.store(rank, Ordering::Release);
    }
    /// Pulls the kill switch: no entry leaves from here on, and the line is told at its next turn.
    pub fn kill(&self, rank: u8) {
        self.raise(rank);
        self.0.kill.store(true, Ordering::Release);
    }
    /// The same, by somebody who knows what time it is: for the record of the kill.
    pub fn kill_at(&self, rank: u8, tsc: u64) {
        // Somebody was first: his time stays.
        let _ = self.0.killed_at.compare_exchange(0, tsc, Ordering::AcqRel, Ordering::Acquire);
        self.kill(rank);
    }
    /// When `kill_at` was called first since the last reset; 0 = never.
    pub fn killed_at(&self) -> u64 {
        self.0.killed_at.load(Ordering::Acquire)
    }
    /// The switch itself, for a signal handler, which may do no more than store.
    pub fn kill_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0.kill)
    }
    /// True once for each time that it was pulled: whoever asks tells the line.
    #[inline(always)]
    pub fn take_kill(&self) -> bool {
        self.0.kill.load(Ordering::Acquire) && self.0.kill.swap(false, Ordering::AcqRel)
    }
    /// A person has reset what was raised from outside.
    pub fn clear_raised(&self) {
        self.0.outside.store(0, Ordering::Release);
        self.0.killed_at.store(0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_raised_outside_is_lowered_by_a_reset_alone() {
        let latch = Latch::new(3);
        latch.raise(1);
        assert_eq!(latch.rank(), 3);
        latch.raise(4);
        latch.set(0);
        assert_eq!(latch.rank(), 4);
        latch.raise(2);
        assert_eq!(latch.rank(), 4);
        latch.clear_raised();
        assert_eq!(latch.rank(), 0);
    }

    #[test]
    fn a_kill_is_told_once_for_each_pull_and_forbids_at_once() {
        let latch = Latch::new(0);
        assert!(!latch.take_kill());
        latch.kill(2);
        assert_eq!(latch.rank(), 2);
        assert!(latch.take_kill());
        assert!(!latch.take_kill());
        latch.kill_flag().store(true, Ordering::Release);
        assert!(latch.clone().take_kill());
        assert_eq!(latch.killed_at(), 0);
        latch.kill_at(2, 17);
        latch.kill_at(2, 19);
        assert_eq!(latch.killed_at(), 17, "the first pull counts");
        latch.clear_raised();
        assert_eq!(latch.killed_at(), 0);
    }
}
