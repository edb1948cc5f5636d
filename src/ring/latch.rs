//! The one thing outside the line: the risk state's rank as an atomic, read just before bytes leave.
//! It can only forbid.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// A shared rank. Raising is free for anyone; lowering is for the risk stage alone, by `set`.
#[derive(Clone, Debug, Default)]
pub struct Latch(Arc<AtomicU8>);

impl Latch {
    /// A latch at `rank`, the strict end being 255.
    pub fn new(rank: u8) -> Self {
        Self(Arc::new(AtomicU8::new(rank)))
    }
    /// Acquire: whoever raised it has made the reason visible.
    #[inline(always)]
    pub fn rank(&self) -> u8 {
        self.0.load(Ordering::Acquire)
    }
    /// Never lowers. For signal handlers, watchdog and control API.
    pub fn raise(&self, rank: u8) {
        self.0.fetch_max(rank, Ordering::AcqRel);
    }
    /// For the risk stage, which alone may lower.
    pub fn set(&self, rank: u8) {
        self.0.store(rank, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raising_never_lowers() {
        let latch = Latch::new(3);
        latch.raise(1);
        assert_eq!(latch.rank(), 3);
        latch.raise(4);
        assert_eq!(latch.rank(), 4);
        latch.set(0);
        assert_eq!(latch.rank(), 0);
    }
}
