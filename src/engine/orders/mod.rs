//! Purpose:   the order ledger: which own orders exist, in which state, and what they may still do.
//! Knows:     base, model, engine/positions.   Must not know: venue, io, runtime.
//! Time:      stamps only.
//! Memory:    LEDGER_SLOTS orders, two indexes, TRADE_IDS_MAX trade ids, all taken in
//!            `Ledger::new`.
//! Errors:    `OpenError`; nonsense from outside is counted in `LedgerCounters`, never a panic.
//! Tests:     engine/orders/tests.rs (permutations with duplicates), engine/risk/drill.rs (a toy
//!            venue).
//!
//! The rules that keep an order from being doubled:
//! - An order gets its client id and counts against every limit before its bytes leave; the id is
//! never used again, and nothing here ever sends an order a second time.
//! - No answer in time, a broken write, a lost link: the order is `Unknown`. That is a state, it
//! freezes the symbol, and only the venue's word ends it: an order array, a list, a history, a
//! trade.
//! - Absence counts as an answer only after a cancel, in two full reconciles that began after it,
//! and later than `unknown_absent_after_s`.
//! - An acknowledged cancel is not a cancel: an order ends by `oc`, by history, or by an executed
//! status.

mod cid;
mod index;
mod ledger;
mod order;
mod reconcile;
#[cfg(test)]
mod tests;
mod trades;

pub use cid::{BLOCK_IDS, CidBlock, CidSource};
pub use index::Index;
pub use ledger::{Ledger, OpenError, Slot, SymbolOrders};
pub use order::{Amend, Lane, Opening, Order, OrderState, View};
pub use trades::{Seen, TradeIds, TradeLeg};

use crate::base::ids::{Cid, StrategyId};

/// Owner of orders taken over from an earlier run.
pub const STRATEGY_ADOPTED: StrategyId = StrategyId(u8::MAX);
/// Cancels of one order sent in a row without its end; after that only a list starts them again.
pub const CANCELS_MAX: u8 = 4;

/// Time-outs and identities of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrdersConfig {
    /// A request without an answer for this long makes its order `Unknown`, ms.
    pub ack_timeout_ms: u32,
    /// Between two cancels of one order, ms.
    pub cancel_retry_ms: u32,
    /// An unknown order is not declared absent earlier than this, s. Above every late answer seen.
    pub unknown_absent_after_s: u32,
    /// After the end of an amended order its missing trades are waited for this long, ms. (Of
    /// orders that were never amended the missing quantity is certain: it is reserved until trades
    /// were read.)
    pub fill_wait_ms: u32,
    /// Group id that marks this engine's orders; 0 = none, then nothing of an earlier run is taken
    /// over.
    pub gid: u64,
    /// Highest client id that any earlier run may have used, 0 if none.
    pub cid_used: Cid,
}
impl Default for OrdersConfig {
    fn default() -> Self {
        Self {
            ack_timeout_ms: 5_000,
            cancel_retry_ms: 1_000,
            unknown_absent_after_s: 180,
            fill_wait_ms: 30_000,
            gid: 0,
            cid_used: Cid::NONE,
        }
    }
}

/// What happened to orders, in total since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LedgerCounters {
    /// New orders recorded (sent, unless the door refused them: `NotSent`).
    pub opened: u64,
    /// Orders that the venue has shown to exist.
    pub acked: u64,
    pub amends: u64,
    pub amends_refused: u64,
    pub cancels: u64,
    pub cancels_refused: u64,
    /// Distinct trades counted.
    pub fills: u64,
    /// Orders that got their first fill, and fills of orders no longer known.
    pub orders_traded: u64,
    pub fills_duplicate: u64,
    pub fills_too_old: u64,
    /// Trades of orders that are not ours.
    pub fills_foreign: u64,
    /// Trades of own orders that have left the table.
    pub fills_of_forgotten: u64,
    /// Orders whose missing trades were given up.
    pub fills_waived: u64,
    /// An order filled more than it can: a fault of ours or of the venue.
    pub overfills: u64,
    /// Times an order came into doubt.
    pub unknown: u64,
    pub ack_timeouts: u64,
    /// Orders found by the end of a list to be gone or declared so.
    pub absent: u64,
    /// Ends concluded from trades alone.
    pub filled_by_trades: u64,
    /// Orders that lived on after they had been given up.
    pub revived: u64,
    pub adopted: u64,
    pub updates_foreign: u64,
    pub updates_of_forgotten: u64,
    /// Our client id on something that cannot be our order.
    pub cid_conflicts: u64,
    pub acks_unmatched: u64,
    /// Ended orders that made room for newer ones.
    pub forgotten: u64,
    /// Orders by the state they are in; ended ones stay counted.
    by_state: [u64; OrderState::COUNT],
}
impl LedgerCounters {
    /// Orders now in this state; for ends: all that ended so.
    pub const fn in_state(&self, state: OrderState) -> u64 {
        self.by_state[state as usize]
    }
    fn entered(&mut self, state: OrderState) {
        self.by_state[state as usize] += 1;
    }
    fn state_changed(&mut self, from: OrderState, to: OrderState) {
        self.by_state[from as usize] -= 1;
        self.by_state[to as usize] += 1;
        if from.is_end() && !to.is_end() {
            self.revived += 1;
        }
    }
}
