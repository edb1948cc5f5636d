//! What the stage shows to people and to the report: copies, taken when asked for.

use super::guards::{Guard, GuardCount, GuardMode};
use super::stage::{RiskCounters, RiskStage};
use crate::base::bounded::Text;
use crate::base::ids::{Cid, SymbolId};
use crate::base::time::SpanNs;
use crate::base::units::{Px, Qty, Quote};
use crate::engine::orders::LedgerCounters;
use crate::model::{Rank, WalletUpdate};

/// The account as a whole.
#[derive(Clone, Copy, Debug)]
pub struct RiskSnapshot {
    pub rank: Rank,
    /// Of the last kill, pause, flatten or reset.
    pub reason: Text<48>,
    pub ready: bool,
    pub quiesced: bool,
    pub wants_reconcile: bool,
    /// Orders by REST do not get through: cancel-only until they do.
    pub order_entry_down: bool,
    pub counters: RiskCounters,
    pub orders: LedgerCounters,
    pub orders_alive: usize,
    pub orders_unknown: usize,
    /// The last client id given out, or the one the run started from.
    pub cid_last: Cid,
    /// By `Guard as usize`.
    pub guards: [GuardCount; Guard::COUNT],
    pub guard_modes: [GuardMode; Guard::COUNT],
    /// Sums over all symbols, as if all quote currencies were one.
    pub realised: Quote,
    pub unrealised: Quote,
    pub fees: Quote,
    pub exposure: Quote,
}

/// One symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SymbolRisk {
    pub symbol: SymbolId,
    pub position: Qty,
    pub px_avg: Px,
    pub mark: Px,
    /// After fees in quote currency.
    pub realised: Quote,
    pub unrealised: Quote,
    /// Negative = paid; for information, contained in the two above.
    pub fees: Quote,
    pub orders_alive: u16,
    /// What open orders can still add either way.
    pub buy_reserve: Qty,
    pub sell_reserve: Qty,
    pub frozen: bool,
    pub flattening: bool,
    /// A flatten gave up with this position left.
    pub flatten_stuck: bool,
    pub matches_venue: bool,
    /// A position that should be protected has not been for too long.
    pub naked: bool,
    /// How much of the position a protective order covers; `None` = it needs none.
    pub protected: Option<Qty>,
    /// No longer tradable: nothing new is opened in it.
    pub delisted: bool,
    /// What the venue says is held, where it says it.
    pub venue_position: Option<Qty>,
}

impl RiskStage {
    /// The account as it is now. Cost grows with the symbols; for once per view, not per input.
    pub fn snapshot(&self) -> RiskSnapshot {
        let mut all = RiskSnapshot {
            rank: self.rank(),
            reason: self.account.memory().reason,
            ready: self.is_ready(),
            quiesced: self.is_quiesced(),
            wants_reconcile: self.wants_reconcile(),
            order_entry_down: self.is_order_entry_down(),
            counters: self.counters,
            orders: *self.ledger.counters(),
            orders_alive: self.ledger.alive(),
            orders_unknown: self.ledger.frozen(),
            cid_last: self.ledger.cid_last(),
            guards: self.guards.counts,
            guard_modes: self.guards.modes,
            realised: Quote::ZERO,
            unrealised: Quote::ZERO,
            fees: Quote::ZERO,
            exposure: Quote::ZERO,
        };
        for row in 0..self.instruments.len() {
            let symbol = SymbolId(row as u16);
            let one = self.symbol_snapshot(symbol);
            all.realised = all.realised.saturating_add(one.realised);
            all.unrealised = all.unrealised.saturating_add(one.unrealised);
            all.fees = all.fees.saturating_add(one.fees);
            all.exposure = all.exposure.saturating_add(self.exposure_of(symbol));
        }
        all
    }
    /// One symbol of the run's table.
    ///
    /// # Panics
    /// For a symbol out of the table.
    pub fn symbol_snapshot(&self, symbol: SymbolId) -> SymbolRisk {
        let position = self.positions.get(symbol);
        let sums = self.ledger.symbol(symbol);
        let (mark, goal) = (self.marks[symbol.index()].mid(), self.goals[symbol.index()]);
        let grace = SpanNs::from_ms(i64::from(self.config.mismatch_grace_ms));
        SymbolRisk {
            symbol,
            position: position.qty,
            px_avg: position.px_avg(),
            mark,
            realised: position.realised(),
            // Before the first book there is no mark, and no opinion.
            unrealised: if mark.is_zero() { Quote::ZERO } else { position.unrealised(mark) },
            fees: position.fees,
            orders_alive: sums.alive,
            buy_reserve: sums.buy_reserve,
            sell_reserve: sums.sell_reserve,
            frozen: sums.frozen > 0,
            flattening: goal.active,
            flatten_stuck: goal.stuck,
            matches_venue: self.positions.matches_venue(symbol, self.now, grace),
            naked: self.is_naked(symbol.index()),
            protected: self.covered(symbol),
            delisted: self.delisted.get(symbol.index()).copied().unwrap_or(false),
            venue_position: position.venue_qty,
        }
    }
    /// Balances as last told by the venue.
    pub fn wallets(&self) -> impl Iterator<Item = &WalletUpdate> {
        self.wallets.iter().flatten()
    }
}
