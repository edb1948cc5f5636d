//! Purpose:   what travels on the line: market events, private events, intents, commands; fixed
//!            size, `Copy`.
//! Knows:     base.                  Must not know: venue, engine, exchange, io, runtime.
//! Time:      carries stamps; asks no clock.
//! Memory:    no heap in any message; `Instrument` is the one set-up type with text.
//! Errors:    none of its own.
//! Tests:     sizes by const asserts; the round trip of the input log in tests/it.

pub mod command;
pub mod event;
pub mod instrument;
pub mod intent;
pub mod order;
pub mod stamp;
pub mod tap;

pub use command::*;
pub use event::*;
pub use instrument::*;
pub use intent::*;
pub use order::*;
pub use stamp::*;
pub use tap::*;
