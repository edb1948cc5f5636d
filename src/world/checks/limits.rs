//! Position and open orders together never exceed the limits. Counted at the exchange, with what is
//! under way to it, at the moment an entry is decided.

use crate::base::units::{Px, Qty, Quote, Side};
use crate::exchange::Audit;
use crate::model::{Action, Class, Command, OrderFlags};
use crate::world::setup::{GID, POSITION_MAX};
use std::collections::BTreeMap;

pub const NAME: &str = "limits hold, reserved included";

#[derive(Debug, Default)]
pub struct Limits {
    /// New orders decided and not yet at the exchange: symbol, signed quantity.
    orders: BTreeMap<u64, (u16, i64)>,
    /// Changes decided and not yet at the exchange, by the venue's id: symbol, signed quantity.
    amends: BTreeMap<u64, (u16, i64)>,
    /// Times that the limits are larger than usual; 0 = 1.
    pub scale: i64,
}

impl Limits {
    pub fn started(&mut self) {
        self.amends.clear();
    }
    /// A command was decided; `foreign` = position of the symbol not of our making, since the
    /// beginning and since this run began (a run takes over the position it finds, whoever made
    /// it), `mid` as the engine sees it.
    pub fn decided(
        &mut self,
        command: &Command,
        audit: &Audit,
        foreign: [i64; 2],
        mid: Px,
    ) -> Result<(), String> {
        let symbol = command.symbol.0;
        let qty = match &command.action {
            Action::New(new) | Action::Replace { new, .. } => {
                // What can only close adds to no position.
                if !new.flags.has(OrderFlags::REDUCE_ONLY) {
                    self.orders.insert(new.cid.0, (symbol, new.qty.raw()));
                }
                new.qty
            }
            Action::Amend { id, qty, .. } => {
                self.amends.insert(id.0, (symbol, qty.raw()));
                *qty
            }
            _ => return Ok(()),
        };
        if command.class != Class::Entry {
            return Ok(());
        }
        let side = Side::of(qty);
        let position = audit.positions.iter().find(|row| row.0 == symbol).map_or(0, |row| row.1);
        let own = |foreign: i64| side.sign() * (position - foreign);
        let own = own(foreign[0]).min(own(foreign[1])).min(own(0));
        let resting: i64 = audit
            .orders
            .iter()
            .filter(|order| order.gid == Some(GID) && order.symbol == symbol && order.side == side)
            .filter(|order| !order.is_reduce_only)
            .map(|order| order.left)
            .sum();
        let under_way = |rows: &BTreeMap<u64, (u16, i64)>| -> i64 {
            let mine = rows.values().filter(|row| row.0 == symbol && row.1 * side.sign() > 0);
            mine.map(|row| row.1.abs()).sum()
        };
        let worst = own + resting + under_way(&self.orders);
        let value = mid.notional(Qty::from_raw(worst.max(0)));
        let limit = Quote::from_raw(POSITION_MAX.raw() * self.scale.max(1));
        if value > limit {
            return Err(format!(
                "{side:?} {} of symbol {symbol} could become {} {side:?}, worth {value:?}; the \
                 limit is {limit:?}",
                qty.abs(),
                Qty::from_raw(worst),
            ));
        }
        Ok(())
    }
    /// It did not leave, or its bytes are lost.
    pub fn gone(&mut self, command: &Command) {
        match &command.action {
            Action::New(new) | Action::Replace { new, .. } => drop(self.orders.remove(&new.cid.0)),
            Action::Amend { id, .. } => drop(self.amends.remove(&id.0)),
            _ => {}
        }
    }
    pub fn order_arrived(&mut self, cid: u64) {
        self.orders.remove(&cid);
    }
    pub fn amend_arrived(&mut self, id: u64) {
        self.amends.remove(&id);
    }
    /// A connection broke: what was under way on it never arrives.
    pub fn all_lost(&mut self) {
        self.orders.clear();
        self.amends.clear();
    }
}
