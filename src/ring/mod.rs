//! Purpose:   bounded lock-free links between threads: one producer, one consumer; and the
//!            latest-value latch.
//! Knows:     base.                  Must not know: any other room.
//! Time:      none.
//! Memory:    slots allocated and touched at start, never again.
//! Errors:    a full ring gives the item back; a closed one is told by `is_closed`.
//! Tests:     beside each file; every order of their atomics in tests/loom (`scripts/loom`); Miri by
//!            `scripts/miri`. The queue itself is rtrb's, tested by Miri upstream.

mod latch;
mod marks;
mod parking;
mod spsc;
mod sync;

pub use latch::Latch;
pub use marks::Marks;
pub use parking::Parking;
pub use spsc::{Rx, Tx, channel};
