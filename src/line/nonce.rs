//! Nonces of one API key within one process, for websocket and REST together. Where several
//! processes may use the key, or a restart must not begin lower, `io::nonce` keeps the mark in a
//! file; this one is for the world, for tests and for keys that live as long as the process.

use crate::base::nonce::{nonce_after, nonce_past, step_span_us};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Default)]
struct Shared {
    last: AtomicU64,
    /// Where the last step past somebody else's nonces led, and how long it was, microseconds.
    stepped_to: AtomicU64,
    span_us: AtomicU64,
}

/// One allocator a key. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct NonceAllocator(Arc<Shared>);

impl NonceAllocator {
    /// Continues above `last`, the highest nonce ever used with the key, 0 if none is known.
    pub fn new(last: u64) -> Self {
        Self(Arc::new(Shared { last: AtomicU64::new(last), ..Shared::default() }))
    }
    /// Larger than every one before; `now_us` where the clock is ahead of them.
    ///
    /// Panics where the range is used up: clocks beyond the year 2200 are not believed, so that
    /// takes a made-up `last`.
    pub fn next(&self, now_us: u64) -> u64 {
        let step = |last: u64| nonce_after(last, now_us);
        let previous = self.0.last.fetch_update(Ordering::AcqRel, Ordering::Acquire, step);
        previous.ok().and_then(step).expect("nonces below 2^53 are left")
    }
    /// The venue called one small: the next is ten seconds further, or twice as far as the step
    /// just before, or one further where that would leave what clocks can say.
    pub fn step_past(&self) {
        let Shared { last, stepped_to, span_us } = &*self.0;
        let (to, before_us) = (stepped_to.load(Ordering::Acquire), span_us.load(Ordering::Acquire));
        let span = step_span_us(self.last(), to, before_us);
        let step = |last: u64| nonce_past(last, span);
        let before = last.fetch_update(Ordering::AcqRel, Ordering::Acquire, step);
        if let Some(to) = before.ok().and_then(step) {
            stepped_to.store(to, Ordering::Release);
            span_us.store(span, Ordering::Release);
        }
    }
    pub fn last(&self) -> u64 {
        self.0.last.load(Ordering::Acquire)
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
        assert_eq!(nonces.clone().next(0), 103);
        assert_eq!(nonces.last(), 103);
        nonces.step_past();
        assert_eq!(nonces.next(0), 10_000_104);
        nonces.step_past();
        assert_eq!(nonces.next(0), 30_000_105, "twice as far, the first was too short");
    }

    #[test]
    fn eight_threads_never_meet() {
        const EACH: u64 = 125_000;
        let nonces = NonceAllocator::new(0);
        let lists: Vec<Vec<u64>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8u64)
                .map(|thread| {
                    let nonces = nonces.clone();
                    // Every thread's clock runs differently, half of them backwards.
                    scope.spawn(move || {
                        let clock = |index: u64| match thread % 2 {
                            0 => 1_000 + index * thread,
                            _ => 2_000_000 - index,
                        };
                        (0..EACH).map(|index| nonces.next(clock(index))).collect()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(lists.iter().all(|list| list.windows(2).all(|pair| pair[0] < pair[1])));
        let mut all = lists.concat();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len() as u64, 8 * EACH);
    }
}
