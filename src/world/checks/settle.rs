//! When the faults end, the world settles: links up, books in step, account reconciled, positions
//! equal, no order in doubt.

use crate::base::ids::{ConnId, SymbolId};
use crate::world::engine::Engine;
use crate::world::setup::{SOCKETS, SYMBOLS};

pub const NAME: &str = "settles when the faults end";

/// What is not settled yet; `None` = all is well.
pub fn unsettled(engine: &Engine, foreign: bool) -> Option<String> {
    let line = &engine.line;
    for index in 0..SOCKETS {
        if !line.is_open(ConnId(index as u8)) {
            return Some(format!("socket {index} is closed"));
        }
    }
    for session in line.publics() {
        for (symbol, state) in session.symbols().iter().enumerate() {
            if !state.synced {
                return Some(format!("book {symbol} is {:?}", state.reason));
            }
        }
    }
    if !engine.is_ready() {
        return Some("the account is not signed in".to_owned());
    }
    let risk = &engine.chain.risk;
    if !risk.is_ready() {
        return Some("the account is not reconciled".to_owned());
    }
    if risk.ledger().frozen() > 0 {
        return Some(format!("{} orders are in doubt", risk.ledger().frozen()));
    }
    for (index, name) in SYMBOLS.iter().enumerate() {
        let row = risk.symbol_snapshot(SymbolId(index as u16));
        if !row.matches_venue && !foreign {
            let row = risk.positions().get(SymbolId(index as u16));
            let (ours, venue) = (row.qty, row.venue_qty);
            return Some(format!("position {name} is {ours:?}, the venue's {venue:?}"));
        }
    }
    if !engine.is_idle() {
        return Some("events wait".to_owned());
    }
    None
}
