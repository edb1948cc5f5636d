//! Nonces of one API key, for websocket and REST together: strictly growing, in microseconds, below
//! 2^53.

use crate::base::limits::NONCE_MAX;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// One allocator a key. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct NonceAllocator(Arc<AtomicU64>);

impl NonceAllocator {
    /// Continues above `last`, the highest nonce ever used with the key, 0 if none is known.
    pub fn new(last: u64) -> Self {
        Self(Arc::new(AtomicU64::new(last)))
    }
    /// `max(last + 1, now in microseconds)`; a clock that steps back does no harm.
    pub fn next(&self, now_us: u64) -> u64 {
        let step = |last: u64| (last + 1).max(now_us).min(NONCE_MAX);
        let previous =
            self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |last| Some(step(last)));
        match previous {
            Ok(last) | Err(last) => step(last),
        }
    }
    pub fn last(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonces_grow_when_the_clock_does_not() {
        let nonces = NonceAllocator::new(10);
        assert_eq!(nonces.next(5), 11);
        assert_eq!(nonces.next(100), 100);
        assert_eq!(nonces.next(100), 101);
        assert_eq!(nonces.next(0), 102);
        assert!(NonceAllocator::new(NONCE_MAX - 1).next(1) <= NONCE_MAX);
    }
}
