//! Purpose:   the vocabulary every room speaks: fixed-point money, ids, times, limits, a seeded
//!            generator.
//! Knows:     nothing above itself.      Must not know: any other room.
//! Time:      none of its own; defines the types of points in time and of spans.
//! Memory:    no heap; fixed-size values only.
//! Errors:    `UnitError` for numbers that do not fit. Panics on broken invariants only.
//! Tests:     beside each file; properties of the units in base/units.rs.

pub mod bounded;
pub mod ids;
pub mod limits;
pub mod nonce;
pub mod retry;
pub mod rng;
pub mod time;
pub mod units;
pub mod words;
pub mod zone;
