//! Purpose:   one TOML file → checked → one immutable `Config`; its manual, schema and hash.
//! Knows:     every room below.      Must not know: cmd.
//! Time:      none.
//! Memory:    set-up only; nothing here runs while trading.
//! Errors:    `ConfigError`, all problems of a file at once, each with key, got, expected, advice.
//! Tests:     beside each file, tests/it/config_errors.rs; the manual equals the built-in defaults.

mod account;
mod check;
mod load;
mod machine;
mod manual;
mod market;
mod operate;
mod problem;
mod reader;
mod resolve;
mod trading;

pub use account::{AccountSection, OnLoss};
pub use load::{Config, Override, Sources};
pub use machine::*;
pub use manual::{manual_text, schema_json, values_json, values_text};
pub use market::*;
pub use operate::*;
pub use problem::{ConfigError, Problem, nearest};
pub use reader::{KeyRow, Row};
pub use resolve::{ChannelPlan, RecordedChannel};
pub use trading::*;
