//! The one thing outside the line: the risk state's rank as an atomic, read just before bytes
//! leave. It can only forbid.

use super::sync::{Arc, AtomicBool, AtomicU8, AtomicU64, Ordering};

/// Bits of the rank in `Cells::outside`; the count of raises stands above them.
const RANK_BITS: u32 = 8;
/// `Cells::reset_at` while no reset is on its way.
const NO_RESET: u64 = u64::MAX;

#[derive(Debug)]
struct Cells {
    /// What the risk stage says.
    inside: AtomicU8,
    /// What anyone else says: signal handler, watchdog, control API. The rank only rises, until
    /// cleared; above it the number of raises so far, so that a reset can tell those it knew of
    /// from those that came after it.
    outside: AtomicU64,
    /// Raises that the reset on its way through the line knew of.
    reset_at: AtomicU64,
    /// Somebody pulled the kill switch, and the line has not been told yet.
    kill: Arc<AtomicBool>,
    /// Counter of the clock (TSC) when it was pulled first and not reset since; 0 = not, or by a
    /// signal handler, which has no clock.
    killed_at: AtomicU64,
}
impl Default for Cells {
    fn default() -> Self {
        Self {
            inside: AtomicU8::new(0),
            outside: AtomicU64::new(0),
            reset_at: AtomicU64::new(NO_RESET),
            kill: Arc::new(AtomicBool::new(false)),
            killed_at: AtomicU64::new(0),
        }
    }
}

const fn rank_of(outside: u64) -> u8 {
    (outside & ((1 << RANK_BITS) - 1)) as u8
}
const fn raises_of(outside: u64) -> u64 {
    outside >> RANK_BITS
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
    ///
    /// Inside is read on both sides of outside: what forbids may be handed over from one to the
    /// other at this moment, in either direction, and must be met in one of them.
    #[inline(always)]
    pub fn rank(&self) -> u8 {
        let before = self.0.inside.load(Ordering::Acquire);
        let outside = rank_of(self.0.outside.load(Ordering::Acquire));
        before.max(outside).max(self.0.inside.load(Ordering::Acquire))
    }
    /// Never lowers, and no word of the risk stage lowers it either.
    pub fn raise(&self, rank: u8) {
        let raised = |outside| {
            let rank = u64::from(rank_of(outside).max(rank));
            Some((raises_of(outside) + 1) << RANK_BITS | rank)
        };
        let result = self.0.outside.fetch_update(Ordering::AcqRel, Ordering::Acquire, raised);
        debug_assert!(result.is_ok(), "the closure never refuses");
    }
    /// For the risk stage alone: its own rank, which may fall.
    #[inline(always)]
    pub fn set(&self, rank: u8) {
        self.0.inside.store(rank, Ordering::Release);
    }
    /// Pulls the kill switch: no entry leaves from here on, and the line is told at its next turn,
    /// at which it raises the rank by itself: a signal handler cannot.
    pub fn kill(&self, rank: u8) {
        // The switch first: whoever finds the rank raised can tell whether the line knows why.
        self.0.kill.store(true, Ordering::Release);
        self.raise(rank);
    }
    /// The same, by somebody who knows what time it is: for the record of the kill.
    pub fn kill_at(&self, rank: u8, tsc: u64) {
        // Before the time is written: a reset that clears the time has seen this raise, or comes
        // before both.
        self.kill(rank);
        // Somebody was first: his time stays.
        let _ = self.0.killed_at.compare_exchange(0, tsc, Ordering::AcqRel, Ordering::Acquire);
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
    /// A person's reset enters the line, by the thread that takes kills. What is raised from here
    /// on it does not know of; nor of a kill that the line has not been told yet.
    pub fn order_reset(&self) {
        let raises = raises_of(self.0.outside.load(Ordering::Acquire));
        if self.0.kill.load(Ordering::Acquire) {
            return;
        }
        // One that is on its way already knew of less: it keeps its word.
        let _ =
            self.0.reset_at.compare_exchange(NO_RESET, raises, Ordering::AcqRel, Ordering::Acquire);
    }
    /// That reset has reached the risk stage, whose own rank is `rank` from here on: what was
    /// raised from outside before it was ordered is lifted. True where nothing has been raised
    /// since; else all of it stays, and a person must look again.
    pub fn reset(&self, rank: u8) -> bool {
        // First: what the stage says meanwhile holds before what was raised is lifted.
        self.set(rank);
        let known = self.0.reset_at.swap(NO_RESET, Ordering::AcqRel);
        let outside = self.0.outside.load(Ordering::Acquire);
        if raises_of(outside) != known {
            return false;
        }
        // The time goes first: a kill that comes later finds its place empty, or is seen below.
        let killed_at = self.0.killed_at.swap(0, Ordering::AcqRel);
        let (cells, ok, not) = (&self.0, Ordering::AcqRel, Ordering::Acquire);
        let lifted = known << RANK_BITS;
        let is_lifted = cells.outside.compare_exchange(outside, lifted, ok, not).is_ok();
        if !is_lifted {
            let _ = cells.killed_at.compare_exchange(0, killed_at, ok, not);
        }
        is_lifted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reset(latch: &Latch, rank: u8) -> bool {
        latch.order_reset();
        latch.reset(rank)
    }

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
        assert!(reset(&latch, 0));
        assert_eq!(latch.rank(), 0);
        latch.raise(4);
        assert!(reset(&latch, 1));
        assert_eq!(latch.rank(), 1);
    }

    #[test]
    fn a_reset_lifts_nothing_that_was_raised_after_it_was_ordered() {
        let latch = Latch::new(0);
        latch.raise(1);
        latch.order_reset();
        latch.kill_at(2, 17);
        assert!(!latch.reset(0));
        assert_eq!((latch.rank(), latch.killed_at()), (2, 17));
        // Nor does one lift a kill that the line has not been told.
        assert!(!reset(&latch, 0));
        assert!(latch.take_kill());
        // Nobody has ordered one since.
        assert!(!latch.reset(0));
        assert_eq!(latch.rank(), 2);
        assert!(reset(&latch, 0));
        assert_eq!((latch.rank(), latch.killed_at()), (0, 0));
        // Of two on their way the first one's knowledge counts.
        latch.raise(2);
        latch.order_reset();
        latch.raise(1);
        latch.order_reset();
        assert!(!latch.reset(0));
        assert_eq!(latch.rank(), 2);
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
        assert!(latch.take_kill());
        assert!(reset(&latch, 0));
        assert_eq!(latch.killed_at(), 0);
    }
}
