//! Purpose:   turns intents into commands: sizes, rounds, asks the guards, keeps ledger and
//!            positions.
//! Knows:     base, model, engine/orders, engine/positions.   Must not know: venue, io, runtime.
//! Time:      stamps only.
//! Memory:    one row a symbol, the ledger, the rate windows; nothing after `RiskStage::new`.
//! Errors:    `Guard`, each with a counter and a mode. Panics on broken invariants only.
//! Tests:     engine/risk/tests.rs (claims), engine/risk/drill.rs (a toy venue that loses and
//!            shuffles).

mod account;
#[cfg(test)]
mod account_tests;
#[cfg(test)]
mod bracket_tests;
mod brackets;
mod check;
mod config;
mod decide;
#[cfg(test)]
mod drill;
#[cfg(test)]
mod edge_tests;
mod fallback;
mod guards;
mod levels;
mod memory;
mod rate;
mod remember;
mod snapshot;
mod stage;
#[cfg(test)]
mod tests;
mod work;

pub use config::{AccountLimits, BracketConfig, Limits, OnLoss, Requote, RestFallback, RiskConfig};
pub use guards::{Guard, GuardCount, GuardMode};
pub use levels::{GuardLevel, LevelUnit};
pub use memory::{
    AccountMemory, BracketMemory, MEMORY_RECORD_MAX, MEMORY_VERSION, MEMORY_VERSION_1, RiskJournal,
    RiskMemory, SymbolMemory, SymbolMemory1,
};
pub use snapshot::{RiskSnapshot, SymbolRisk};
pub use stage::{RiskCounters, RiskStage};
