//! Purpose:   the five stages put together, without sockets: bytes in, bytes out. The one room that
//!            joins venue and engine.
//! Knows:     base, ring, model, venue, engine.   Must not know: exchange, io, runtime, ops.
//! Time:      told by the caller (`Now`); latency stamps come from a `Probe`.
//! Memory:    sessions, books, tables at construction; nothing afterwards. `rest`, `registry`,
//!            `permissions` and `desk` are cold: bounded, but they may allocate.
//! Errors:    everything from outside becomes an event with a counter.
//! Tests:     beside each file; chains against rings in tests/it.

pub mod chain;
pub mod connect;
pub mod desk;
pub mod kill_rules;
pub mod nonce;
pub mod parse;
pub mod permissions;
pub mod reconcile;
pub mod registry;
pub mod rest;
pub mod send;

use crate::base::time::{MonoNs, Tsc, WallNs};

/// The time at which something is handed to the line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    pub mono: MonoNs,
    pub wall: WallNs,
}

/// Reads the time-stamp counter for the latency trace. Decisions never see it.
pub trait Probe {
    fn tsc(&self) -> Tsc;
}

/// For tests, replay and the world: no latency is measured.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProbe;
impl Probe for NoProbe {
    #[inline(always)]
    fn tsc(&self) -> Tsc {
        Tsc(0)
    }
}
