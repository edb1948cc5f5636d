//! Genesis: a low-latency, thread-pinned trading engine for Bitfinex. Rooms in layer order, low to
//! high; a room uses rooms of lower layers only (`tests/it/tidy.rs` holds us to it). Start with
//! ARCHITECTURE.md.
#![deny(unsafe_code)]
// Prose in module heads is wrapped by hand; markdown's list rules would only pad it.
#![allow(clippy::doc_lazy_continuation)]

pub mod base; // L0
pub mod cmd;
pub mod config; // L6
pub mod engine; // L2
pub mod exchange; // L3
pub mod io; // L3

pub mod line; // L3
pub mod model; // L1
pub mod ops; // L5
pub mod research; // L4
pub mod ring; // L0
pub mod runtime; // L5
pub mod venue; // L2
pub mod world; // L4 // L7
