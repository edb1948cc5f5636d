//! A kill ends flat or lists what is left: no own order alive, and every position that is not flat
//! is reported as stuck.

use crate::base::ids::SymbolId;
use crate::engine::risk::RiskStage;
use crate::exchange::Audit;
use crate::world::setup::{GID, SYMBOLS};

pub const NAME: &str = "kill ends flat or lists";

/// A kill has had its time.
pub fn ended(risk: &RiskStage, audit: &Audit, foreign: bool) -> Result<(), String> {
    let alive: Vec<u64> =
        audit.orders.iter().filter(|order| order.gid == Some(GID)).map(|order| order.id).collect();
    if !alive.is_empty() {
        return Err(format!("own orders are alive after a kill: {alive:?}"));
    }
    for (index, name) in SYMBOLS.iter().enumerate() {
        let at = audit.positions.iter().find(|row| usize::from(row.0) == index);
        let truth = at.map_or(0, |row| row.1);
        let told = risk.symbol_snapshot(SymbolId(index as u16));
        if truth != 0 && !told.flatten_stuck && !foreign {
            return Err(format!(
                "{truth} of {name} are left after a kill, and nobody says so; the engine holds {}, \
                 agrees with the venue: {}, flattening: {}, frozen: {}, rank {}, ready: {}",
                told.position,
                told.matches_venue,
                told.flattening,
                told.frozen,
                risk.rank().name(),
                risk.snapshot().ready
            ));
        }
    }
    if !risk.is_quiesced() {
        return Err("the engine is not at rest after a kill".to_owned());
    }
    Ok(())
}

/// Own orders were cancelled and nothing new may come.
pub fn cancelled(risk: &RiskStage, audit: &Audit) -> Result<(), String> {
    // What protects a position stays: only a kill or a flatten takes it.
    let ours = audit.orders.iter().filter(|order| order.gid == Some(GID));
    let alive = ours.filter(|order| !order.is_reduce_only).count();
    let known = risk.ledger().listed().filter(|(_, it)| it.is_alive() && !it.is_protective());
    let known = known.count();
    if alive > 0 || known > 0 {
        return Err(format!(
            "after cancelling all, {alive} own orders are alive at the exchange, {known} here"
        ));
    }
    Ok(())
}
