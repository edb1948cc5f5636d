//! What an entry has filled is protected: while the account is known and closes may leave, a
//! position that should have a stop has one at the exchange, exactly as large, or is closed. Asked
//! once a second of the exchange's own books; what is under way has its time.

use crate::base::ids::SymbolId;
use crate::base::units::Side;
use crate::engine::risk::RiskStage;
use crate::exchange::{Audit, SymbolSpec};
use crate::model::{Class, Rank};
use crate::world::faults::Kind;
use crate::world::run::World;
use crate::world::setup::{GID, KEY, NAKED_CLOSE_AFTER_S, SYMBOLS};

pub const NAME: &str = "what is filled is protected";

/// How long a position may stand without a stop of its size: until it is closed for it, and the
/// time that a close with lost answers takes.
const BARE_FOR_S: u64 = NAKED_CLOSE_AFTER_S as u64 + 50;

#[derive(Debug, Default)]
pub struct Protected {
    bare_since: [Option<u64>; SYMBOLS.len()],
}

impl Protected {
    pub fn started(&mut self) {
        self.bare_since = [None; SYMBOLS.len()];
    }
    /// Compares; `foreign` = somebody else has traded on the account, so that its position is not
    /// what our fills say. Returns how many positions were asked about.
    pub fn look(
        &mut self,
        risk: &RiskStage,
        audit: &Audit,
        now_ns: u64,
        foreign: bool,
    ) -> Result<u64, String> {
        let mut asked = 0;
        for (index, name) in SYMBOLS.iter().enumerate() {
            let row = risk.symbol_snapshot(SymbolId(index as u16));
            let at = audit.positions.iter().find(|row| usize::from(row.0) == index);
            let held = at.map_or(0, |row| row.1);
            let closes = if held > 0 { Side::Sell } else { Side::Buy };
            let covered: i64 = audit
                .orders
                .iter()
                .filter(|order| order.gid == Some(GID) && usize::from(order.symbol) == index)
                .filter(|order| order.is_stop && order.is_reduce_only && order.side == closes)
                .map(|order| order.left)
                .sum();
            // What no order can close no order can protect.
            let is_dust = held.abs() < SymbolSpec::named(name).qty_min;
            // A flatten, stuck or not, tells its own story; so does a rank that lets nothing leave.
            let may = risk.is_ready() && risk.rank().allows(Class::Close);
            let excused = foreign
                || is_dust
                || row.flattening
                || row.flatten_stuck
                || !may
                || risk.rank() >= Rank::CancelOnly
                || row.position.raw() != held;
            // Below the smallest order nothing can be protected, nor closed: it is only told.
            let small = held.abs() < SymbolSpec::named(name).qty_min;
            if row.protected.is_none() || held == 0 || small || excused {
                self.bare_since[index] = None;
                continue;
            }
            asked += 1;
            if covered == held.abs() {
                self.bare_since[index] = None;
                continue;
            }
            let since = *self.bare_since[index].get_or_insert(now_ns);
            let bare_s = (now_ns - since) / 1_000_000_000;
            if bare_s > BARE_FOR_S {
                return Err(format!(
                    "{name}: {held} held, {covered} of it under a stop, for {bare_s} s"
                ));
            }
        }
        Ok(asked)
    }
}

impl World {
    /// Asks about every position.
    pub(in crate::world) fn look_at_protection(&mut self) {
        let Some(engine) = &self.engine else { return };
        let Some(audit) = self.exchange.audit(KEY) else { return };
        let (risk, foreign) = (&engine.chain.risk, self.foreign_now);
        match self.checks.protected.look(risk, &audit, self.now_ns, foreign) {
            Ok(asked) => self.coverage.0[Kind::Protected as usize] += asked,
            Err(words) => self.checks.say(self.now_ns, NAME, Err(words)),
        }
    }
}
