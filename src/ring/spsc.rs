//! The hot link. A thin coat over `rtrb`, so that depth, counters and closing are the same
//! everywhere.

use rtrb::{Consumer, Producer, RingBuffer};
use std::mem::MaybeUninit;

/// Producer side.
pub struct Tx<T> {
    inner: Producer<T>,
    depth: usize,
    /// Fewest free slots ever seen by `free`, for the report's high-water mark.
    free_min: usize,
}
/// Consumer side.
pub struct Rx<T> {
    inner: Consumer<T>,
}

/// A ring of `depth` slots (rounded up to a power of two). Every slot is touched here: the first
/// lap takes no page fault.
pub fn channel<T>(depth: usize) -> (Tx<T>, Rx<T>) {
    let depth = depth.next_power_of_two().max(2);
    let (mut producer, consumer) = RingBuffer::new(depth);
    if let Ok(mut slots) = producer.write_chunk_uninit(depth) {
        let (first, second) = slots.as_mut_slices();
        for slot in first.iter_mut().chain(second) {
            // Nothing is committed: to both sides the ring is as empty as before.
            *std::hint::black_box(slot) = MaybeUninit::zeroed();
        }
    }
    (Tx { inner: producer, depth, free_min: depth }, Rx { inner: consumer })
}

impl<T> Tx<T> {
    /// Gives the item back when the ring is full.
    ///
    /// # Errors
    /// The item, when full.
    #[inline(always)]
    pub fn push(&mut self, item: T) -> Result<(), T> {
        self.inner.push(item).map_err(|rtrb::PushError::Full(item)| item)
    }
    /// Slots free now; may grow concurrently, never shrinks.
    #[inline(always)]
    pub fn free(&mut self) -> usize {
        let free = self.inner.slots();
        if free < self.free_min {
            self.free_min = free;
        }
        free
    }
    pub fn depth(&self) -> usize {
        self.depth
    }
    /// Most slots ever seen in use by `free`.
    pub fn used_max(&self) -> usize {
        self.depth - self.free_min
    }
    /// True when the consumer is gone.
    pub fn is_closed(&self) -> bool {
        self.inner.is_abandoned()
    }
}

impl<T> Rx<T> {
    #[inline(always)]
    pub fn pop(&mut self) -> Option<T> {
        self.inner.pop().ok()
    }
    /// Looks at the next item where it lies and takes it out afterwards: no copy of it is made. The
    /// producer cannot have its slot before.
    #[inline(always)]
    pub fn take_with<R>(&mut self, look: impl FnOnce(&T) -> R) -> Option<R>
    where
        T: Copy,
    {
        let result = look(self.inner.peek().ok()?);
        // What is read here is not used, and so not read.
        let _ = self.inner.pop();
        Some(result)
    }
    #[inline(always)]
    pub fn peek(&self) -> Option<&T> {
        self.inner.peek().ok()
    }
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.inner.is_empty()
    }
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.inner.slots()
    }
    /// True when the producer is gone and nothing is left.
    pub fn is_closed(&self) -> bool {
        self.inner.is_abandoned() && self.inner.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_gives_the_item_back_and_order_is_kept() {
        let (mut tx, mut rx) = channel(4);
        for value in 0..4 {
            assert_eq!(tx.push(value), Ok(()));
        }
        assert_eq!(tx.push(4), Err(4));
        assert_eq!(tx.free(), 0);
        assert_eq!(rx.take_with(|first| *first + 10), Some(10));
        assert_eq!((1..4).map(|_| rx.pop().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(rx.take_with(|_| ()), None);
        assert_eq!(tx.used_max(), 4);
        drop(tx);
        assert!(rx.is_closed());
    }

    /// Goal: every item arrives once, whole and in order, by each way of taking it. Method: a short
    /// ring between two threads. Few items where each instruction is interpreted.
    #[test]
    fn two_threads_hand_over_every_item_in_order() {
        const COUNT: u64 = if cfg!(miri) { 300 } else { 200_000 };
        let (mut tx, mut rx) = channel::<[u64; 4]>(8);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for number in 0..COUNT {
                    while tx.free() == 0 {
                        std::thread::yield_now();
                    }
                    assert_eq!(tx.push([number; 4]), Ok(()));
                }
                assert!(tx.used_max() <= 8);
            });
            let mut next = 0;
            loop {
                let is_closed = rx.is_closed();
                let taken = match next % 3 {
                    0 => rx.pop(),
                    1 => rx.take_with(|item| *item),
                    _ => rx.peek().copied().inspect(|_| {
                        rx.pop();
                    }),
                };
                match taken {
                    Some(item) => assert_eq!(item, [next; 4]),
                    None if is_closed => break,
                    None => {
                        std::thread::yield_now();
                        continue;
                    }
                }
                next += 1;
            }
            assert_eq!(next, COUNT);
        });
    }
}
