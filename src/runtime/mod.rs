//! Purpose:   where and how stages run: the machine, the thread table, pins, waits, the one loop.
//! Knows:     base to io, world, research.     Must not know: ops, config, cmd.
//! Time:      probes only: the loop books its turns by TSC; no decision reads it.
//! Memory:    before the seal only; a sealed thread's allocations are counted.
//! Errors:    `Problem`s of a table, all at once; `PlaceError` for pins; panics caught and told.
//! Tests:     beside each file; made-up machines in topology_tests.rs.

pub mod cpu;
pub mod duty;
pub mod placement;
pub mod topology;
pub mod wait;
