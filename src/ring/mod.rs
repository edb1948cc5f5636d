//! Purpose:   bounded lock-free links between threads: one producer, one consumer; and the
//!            latest-value latch.
//! Knows:     base.                  Must not know: any other room.
//! Time:      none.
//! Memory:    slots allocated and touched at start, never again.
//! Errors:    a full ring gives the item back; a closed one is told by `is_closed`.
//! Tests:     beside each file; stress in tests/it/rings.rs; the queue itself is rtrb's, tested by
//!            Miri upstream.

mod latch;
mod spsc;

pub use latch::Latch;
pub use spsc::{Rx, Tx, channel};
