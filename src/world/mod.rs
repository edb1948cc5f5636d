//! Purpose:   line and exchange under one seeded scheduler, in bytes: network, disk, clock, faults,
//!            checkers.
//! Knows:     every room below L4.   Must not know: runtime, ops, config, cmd.
//! Time:      virtual; one thread a seed.
//! Memory:    free to allocate; one world at a time a thread.
//! Errors:    a `Violation` ends a run; the seed repeats it.
//! Tests:     beside each file, world/tests.rs (fixed seeds, canaries), tests/data/seeds.txt.

mod canary;
mod chaos;
mod checks;
mod disk;
mod engine;
mod eyes;
mod faults;
mod killing;
mod log;
mod mangle;
mod memory;
mod net;
mod orders;
mod plane;
mod reads;
mod rest_faults;
mod run;
mod send;
mod setup;
#[cfg(test)]
mod tests;
mod wire;

pub use canary::Canary;
pub use checks::{CLAIMS, Violation};
pub use faults::{Coverage, Faults, NAMES};
pub use killing::{Condition, KillOutcome, pull_once};
pub use run::{Outcome, Plan, run};
