//! Where this room's atomics come from. `tests/loom` compiles the same files with loom's in their
//! place, which runs them in every order that the memory model allows.

pub use std::sync::Arc;
pub use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering, fence};
