//! Where a strategy puts what it wants: fixed room, stamped with the cause, checked against what it
//! declared.

use super::refused::{Refused, RefusedCounts};
use super::{Needs, SymbolSet};
use crate::base::ids::{StrategyId, SymbolId};
use crate::base::limits::{BURST_MAX, STRATEGIES_MAX};
use crate::base::time::{MonoNs, SpanNs};
use crate::base::units::{Px, Qty};
use crate::model::{Bracket, Edge, Event, Intent, Level, Reason, Stamp, Trace, Urgency, Want};

/// Intents one call of a strategy may make. More is refused and counted.
pub const INTENTS_PER_CALL_MAX: usize = 3;
/// Intents of one input, all strategies together: what is left of the burst beside the event
/// itself.
pub const INTENTS_MAX: usize = BURST_MAX - 1;
const _: () = assert!(STRATEGIES_MAX * INTENTS_PER_CALL_MAX <= INTENTS_MAX);

/// What one strategy wanted, and did not get to want.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StrategyCounters {
    pub calls: u64,
    pub intents: u64,
    /// Intents beyond `INTENTS_PER_CALL_MAX`.
    pub over_call: u64,
    /// Intents for symbols it did not declare.
    pub foreign_symbol: u64,
    pub refused: RefusedCounts,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    symbols: SymbolSet,
    orders_per_s_max: u32,
    second_from: MonoNs,
    in_second: u32,
    counters: StrategyCounters,
}

/// See the file's head. Filled by strategies, emptied by the stage after each call.
#[derive(Clone, Debug)]
pub struct Intents {
    items: Box<[Intent]>,
    len: usize,
    call_from: usize,
    strategy: usize,
    cause: Stamp,
    trace: Trace,
    wake_at: Option<MonoNs>,
    rows: Box<[Row]>,
}

const EMPTY: Intent = Intent {
    cause: Stamp { seq: 0, recv: MonoNs(0), wall: crate::base::time::WallNs(0) },
    trace: Trace {
        recv: crate::base::time::Tsc(0),
        framed: crate::base::time::Tsc(0),
        decoded: crate::base::time::Tsc(0),
        signalled: crate::base::time::Tsc(0),
        approved: crate::base::time::Tsc(0),
    },
    strategy: StrategyId(0),
    symbol: SymbolId(0),
    reason: Reason::Custom,
    want: Want::Cancel,
    edge: None,
    bracket: None,
};

impl Intents {
    pub(in crate::engine) fn new(needs: &[Needs]) -> Self {
        let row = |needs: &Needs| Row {
            symbols: needs.symbols,
            orders_per_s_max: needs.orders_per_s_max,
            second_from: MonoNs(0),
            in_second: 0,
            counters: StrategyCounters::default(),
        };
        Self {
            items: vec![EMPTY; INTENTS_MAX].into_boxed_slice(),
            len: 0,
            call_from: 0,
            strategy: 0,
            cause: Stamp::default(),
            trace: Trace::default(),
            wake_at: None,
            rows: needs.iter().map(row).collect(),
        }
    }
    /// Before a strategy is called.
    #[inline(always)]
    pub(in crate::engine) fn begin(&mut self, strategy: usize, event: &Event) {
        self.strategy = strategy;
        self.call_from = self.len;
        self.cause = event.stamp;
        self.trace = event.trace;
        self.wake_at = None;
        self.rows[strategy].counters.calls += 1;
    }
    /// When the call just made wants to be woken.
    #[inline(always)]
    pub(in crate::engine) fn take_wake(&mut self) -> Option<MonoNs> {
        self.wake_at.take()
    }
    #[inline(always)]
    pub(in crate::engine) fn is_empty(&self) -> bool {
        self.len == 0
    }
    /// Room for one more call of every strategy.
    pub(in crate::engine) fn has_room(&self) -> bool {
        self.len + self.rows.len() * INTENTS_PER_CALL_MAX <= INTENTS_MAX
    }
    pub(in crate::engine) fn drain(&mut self) -> &[Intent] {
        let len = std::mem::take(&mut self.len);
        &self.items[..len]
    }
    pub(in crate::engine) fn counters(&self, strategy: usize) -> &StrategyCounters {
        &self.rows[strategy].counters
    }

    /// Hold this signed position; the engine works out the difference. `px` zero with `Take` = the
    /// engine's own slippage bound. False where it was refused; the reason is counted.
    pub fn target(
        &mut self,
        symbol: SymbolId,
        qty: Qty,
        (px, urgency): (Px, Urgency),
        reason: Reason,
    ) -> bool {
        self.push(symbol, Want::Target { qty, px, urgency }, reason, None)
    }
    /// One order of this signed size. `reduce` = it may only shrink the position.
    pub fn once(
        &mut self,
        symbol: SymbolId,
        qty: Qty,
        (px, urgency): (Px, Urgency),
        reduce: bool,
        reason: Reason,
    ) -> bool {
        self.push(symbol, Want::Once { qty, px, urgency, reduce }, reason, None)
    }
    /// At most one resting order a side, here. A zero quantity means none on that side.
    pub fn quote(&mut self, symbol: SymbolId, bid: Level, ask: Level, reason: Reason) -> bool {
        self.push(symbol, Want::Quote { bid, ask }, reason, None)
    }
    /// Cancel this strategy's orders of the symbol.
    pub fn cancel(&mut self, symbol: SymbolId, reason: Reason) -> bool {
        self.push(symbol, Want::Cancel, reason, None)
    }
    /// Close the symbol's position.
    pub fn flatten(&mut self, symbol: SymbolId, reason: Reason) -> bool {
        self.push(symbol, Want::Flatten, reason, None)
    }
    /// Any want, with an edge for the engine's sizing.
    pub fn push(
        &mut self,
        symbol: SymbolId,
        want: Want,
        reason: Reason,
        edge: Option<Edge>,
    ) -> bool {
        let row = &mut self.rows[self.strategy];
        if !row.symbols.has(symbol) {
            row.counters.foreign_symbol += 1;
            return false;
        }
        if self.len - self.call_from >= INTENTS_PER_CALL_MAX || self.len >= self.items.len() {
            row.counters.over_call += 1;
            return false;
        }
        // Cancels and closes always pass: a rate bound must not keep risk on.
        let makes_orders = !matches!(want, Want::Cancel | Want::Flatten);
        if makes_orders {
            if self.cause.recv - row.second_from >= SpanNs::from_s(1) {
                row.second_from = self.cause.recv;
                row.in_second = 0;
            }
            if row.in_second >= row.orders_per_s_max {
                row.counters.refused.add(Refused::RateDeclared);
                return false;
            }
            row.in_second += 1;
        }
        row.counters.intents += 1;
        self.items[self.len] = Intent {
            cause: self.cause,
            trace: self.trace,
            strategy: StrategyId(self.strategy as u8), // below STRATEGIES_MAX
            symbol,
            reason,
            want,
            edge,
            bracket: None,
        };
        self.len += 1;
        true
    }
    /// The intent made last in this call gets a bracket: what its orders open is protected. Only
    /// where the `target`, `once`, `quote` or `push` before it said true.
    pub fn protected_by(&mut self, bracket: Bracket) {
        if self.len > self.call_from {
            self.items[self.len - 1].bracket = Some(bracket);
        }
    }
    /// Puts another bracket in the place of the one that protects the symbol's position.
    pub fn protect(&mut self, symbol: SymbolId, bracket: Bracket, reason: Reason) -> bool {
        let said = self.push(symbol, Want::Protect, reason, None);
        if said {
            self.protected_by(bracket);
        }
        said
    }
    /// Says why nothing was wanted; counted and shown.
    #[inline]
    pub fn refuse(&mut self, reason: Refused) {
        self.rows[self.strategy].counters.refused.add(reason);
    }
    /// Calls the strategy again for the view's symbol, with `News::TIMER`, once this time is
    /// reached: at the first tick behind it. The earliest of several counts, and it may be called
    /// earlier than it asked.
    #[inline]
    pub fn wake_at(&mut self, at: MonoNs) {
        self.wake_at = Some(self.wake_at.map_or(at, |other| other.min(at)));
    }
}
