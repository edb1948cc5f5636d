//! Two numbers of a log that one thread writes and another reads: how far it is written, and how
//! far what was written may be written over.

use super::sync::{AtomicU64, Ordering};

/// Sequence numbers that only rise. The writer publishes, the reader releases.
#[derive(Debug, Default)]
pub struct Marks {
    published: AtomicU64,
    released: AtomicU64,
}

impl Marks {
    /// Everything up to `seq` is history.
    pub fn new(seq: u64) -> Self {
        let marks = Self::default();
        marks.publish(seq);
        marks.release(seq);
        marks
    }
    /// The writer: the bytes of every record up to `seq` are in place.
    ///
    /// Release: whoever reads the number finds the bytes.
    #[inline(always)]
    pub fn publish(&self, seq: u64) {
        self.published.store(seq, Ordering::Release);
    }
    /// The reader: how far it may read.
    #[inline]
    pub fn published(&self) -> u64 {
        self.published.load(Ordering::Acquire)
    }
    /// The reader: it needs nothing up to `seq` any more.
    ///
    /// Release: its last look at those bytes comes before they are written over.
    pub fn release(&self, seq: u64) {
        self.released.store(seq, Ordering::Release);
    }
    /// The writer: what it may write over.
    #[inline]
    pub fn released(&self) -> u64 {
        self.released.load(Ordering::Acquire)
    }
}
