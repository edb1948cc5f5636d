//! After each reconcile, and whenever nothing is under way and nothing was lost in silence: the
//! engine's orders, positions and balances are the exchange's.

use crate::base::ids::{Cid, SymbolId};
use crate::engine::orders::OrderState;
use crate::engine::risk::RiskStage;
use crate::exchange::Audit;
use crate::model::{Body, LinkState, WalletKind};
use crate::world::setup::{GID, SYMBOLS};

pub const NAME: &str = "ledger = exchange";

/// What makes a comparison meaningless.
#[derive(Clone, Copy, Debug, Default)]
pub struct Excuses {
    /// Somebody else has traded on the account since this run began.
    pub foreign: bool,
    /// A balance message may be missing.
    pub wallets: bool,
}

#[derive(Debug, Default)]
pub struct Ledger {
    /// A reconcile is done and not yet compared.
    pub due: bool,
}

impl Ledger {
    pub fn started(&mut self) {
        self.due = false;
    }
    pub fn after(&mut self, body: &Body) {
        if let Body::Link(link) = body {
            match link.state {
                LinkState::Reconciled => self.due = true,
                LinkState::Down if link.trading => self.due = false,
                _ => {}
            }
        }
    }
    /// Compares; everything sent has arrived, everything told has been heard.
    pub fn compare(
        &mut self,
        risk: &RiskStage,
        audit: &Audit,
        excuses: Excuses,
    ) -> Result<(), String> {
        self.due = false;
        let ours = audit.orders.iter().filter(|order| order.gid == Some(GID));
        for order in ours.clone() {
            let cid = Cid(order.cid.unwrap_or(0));
            let Some(known) = risk.ledger().find(cid) else {
                return Err(format!("order {cid:?} rests at the exchange, the ledger has none"));
            };
            if !known.is_alive() {
                let state = known.state().name();
                return Err(format!(
                    "order {cid:?} rests at the exchange, the ledger says {state}"
                ));
            }
            if known.remaining().raw() != order.left || known.px().raw() != order.px {
                return Err(format!(
                    "order {cid:?}: {} at {} at the exchange, {:?} at {:?} in the ledger",
                    order.left,
                    order.px,
                    known.remaining(),
                    known.px()
                ));
            }
        }
        // An order whose answer was lost is no claim yet: doubt is, and has a deadline of its own.
        let claimed = risk.ledger().listed().filter(|(_, order)| order.is_alive());
        for (_, order) in claimed.filter(|(_, order)| order.state() != OrderState::Sending) {
            if !ours.clone().any(|at| at.cid == Some(order.cid.0)) {
                return Err(format!(
                    "the ledger says {:?} is {}, the exchange has none",
                    order.cid,
                    order.state().name()
                ));
            }
        }
        for (index, name) in SYMBOLS.iter().enumerate() {
            let at = audit.positions.iter().find(|row| usize::from(row.0) == index);
            let truth = at.map_or(0, |row| row.1);
            let known = risk.positions().qty(SymbolId(index as u16)).raw();
            if truth != known && !excuses.foreign {
                return Err(format!("position {name}: {truth} at the exchange, {known} here"));
            }
        }
        if excuses.wallets {
            return Ok(());
        }
        for wallet in risk.wallets().filter(|wallet| wallet.kind == Some(WalletKind::Margin)) {
            let same = |row: &&(&str, crate::model::Currency, i128)| {
                row.0 == "margin" && row.1 == wallet.currency
            };
            let truth = audit.wallets.iter().find(same).map_or(0, |row| row.2);
            if truth != i128::from(wallet.balance) {
                return Err(format!(
                    "balance of {:?}: {truth} at the exchange, {} here",
                    wallet.currency, wallet.balance
                ));
            }
        }
        Ok(())
    }
}
