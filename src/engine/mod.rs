//! Purpose:   decisions, without sockets or clocks: sequencer, mouth, indicators, strategies, risk,
//!            orders, send.
//! Knows:     base, model.           Must not know: venue, line, exchange, io, runtime.
//! Time:      stamps only.
//! Memory:    every table is allocated at start; nothing after `seal`.
//! Errors:    typed reasons, each with a counter. Panics on broken invariants only.
//! Tests:     beside each file; chains and permutations in tests/it.

pub mod bars;
pub mod indicator;
pub mod mouth;
#[cfg(test)]
mod mouth_stress_tests;
pub mod orders;
pub mod positions;
pub mod risk;
pub mod send;
pub mod sequencer;
pub mod signal;
pub mod stage;
pub mod strategy;
