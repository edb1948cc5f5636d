//! Purpose:   where and how stages run: the machine's CPUs, the thread table, pins, waiting, the
//!            one loop.
//! Knows:     base, ring, model, engine, venue, line, exchange, io. Must not know: ops, config,
//!            cmd.
//! Time:      probes only: the loop books its turns by TSC; no decision reads it.
//! Memory:    before the seal only; a sealed thread's allocations are counted.
//! Errors:    `Problem`s of a table, all at once; `PlaceError` for pins. A duty's panic is caught
//!            and told.
//! Tests:     beside each file; made-up machines in topology_tests.rs.

#[cfg(feature = "net")]
pub mod cold;
pub mod cpu;
#[cfg(feature = "net")]
pub mod duties;
pub mod duty;
#[cfg(feature = "net")]
pub mod engine;
#[cfg(feature = "net")]
pub mod link;
#[cfg(feature = "net")]
pub mod listing;
#[cfg(feature = "net")]
pub mod observe;
#[cfg(feature = "net")]
pub mod paper_feed;
pub mod placement;
#[cfg(feature = "net")]
pub mod plane;
pub mod probe;
#[cfg(feature = "net")]
pub mod recorder;
#[cfg(feature = "net")]
pub mod replay;
#[cfg(feature = "net")]
pub mod server;
#[cfg(feature = "net")]
pub mod socket;
#[cfg(feature = "net")]
pub mod taps;
pub mod topology;
pub mod wait;
#[cfg(feature = "net")]
mod ws_bytes;
#[cfg(feature = "net")]
mod ws_text;
