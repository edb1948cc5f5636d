//! How a thread that sleeps is woken by one that has put something into its ring: the sleeper says
//! so and looks once more, the other puts its item in and looks whether somebody sleeps. One of
//! them sees the other.

use super::sync::{AtomicBool, Ordering, fence};

/// One sleeper, any number of those who wake it.
#[derive(Debug, Default)]
pub struct Parking {
    announced: AtomicBool,
}

impl Parking {
    /// The sleeper: from here on it is woken. It must look once more for work before it sleeps.
    ///
    /// Release: who sees it sees whom to wake, too.
    pub fn announce(&self) {
        self.announced.store(true, Ordering::Release);
        // Pairs with the fence in `must_wake`: either the item is seen by the look that follows, or
        // the announcement by whoever has put it there.
        fence(Ordering::SeqCst);
    }
    /// The sleeper: nobody has woken it since it announced.
    #[inline]
    pub fn is_announced(&self) -> bool {
        self.announced.load(Ordering::Acquire)
    }
    /// The sleeper: it is awake.
    #[inline]
    pub fn withdraw(&self) {
        self.announced.store(false, Ordering::Relaxed);
    }
    /// The other side, after its item is in the ring: whether the sleeper must be woken, true for
    /// one of several. Cheap where it is awake: one fence and one load.
    #[inline(always)]
    pub fn must_wake(&self) -> bool {
        fence(Ordering::SeqCst);
        self.announced.load(Ordering::Relaxed) && self.announced.swap(false, Ordering::AcqRel)
    }
}
