//! The lock-free parts of the engine, its own files; only where their atomics come from differs.
//! The models are in `tests`.

/// In the place of `src/ring/sync.rs`.
mod sync {
    pub use loom::sync::Arc;
    pub use loom::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering, fence};
}

#[path = "../../../src/ring/latch.rs"]
mod latch;
#[path = "../../../src/ring/marks.rs"]
mod marks;
#[path = "../../../src/ring/parking.rs"]
mod parking;

pub use latch::Latch;
pub use marks::Marks;
pub use parking::Parking;
