//! All guards over one order that is about to be made.

use super::guards::Guard;
use super::stage::RiskStage;
use crate::base::ids::{StrategyId, SymbolId};
use crate::base::time::SpanNs;
use crate::base::units::{Px, Qty, Quote, Side};
use crate::engine::orders::Lane;
use crate::model::{Bracket, Class, Instrument, OrderFlags, OrderKind, Reason};

/// An order before it has a client id. `qty` is unsigned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draft {
    pub(super) symbol: SymbolId,
    pub(super) strategy: StrategyId,
    pub(super) lane: Lane,
    pub(super) reason: Reason,
    pub(super) side: Side,
    pub(super) qty: Qty,
    /// Zero for market orders.
    pub(super) px: Px,
    pub(super) kind: OrderKind,
    pub(super) flags: OrderFlags,
    pub(super) class: Class,
    /// Changes an order in place: no more orders than before.
    pub(super) amends: bool,
    /// Of what it opens.
    pub(super) bracket: Option<Bracket>,
}
impl Draft {
    pub(super) fn key(&self) -> u64 {
        let mix = |a: u64, b: u64| (a ^ b).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
        let start = u64::from(self.symbol.0) << 1 | self.side as u64;
        mix(mix(mix(1, start), self.px.raw() as u64), self.qty.raw() as u64) | 1
    }
}

impl RiskStage {
    /// Asks every guard in its fixed order; books the objection of the first.
    pub(super) fn check(&mut self, draft: &Draft) -> Result<(), Guard> {
        let (symbol, now) = (draft.symbol, self.now);
        let index = symbol.index();
        let instrument = self.instruments.get(index).filter(|i| i.qty_min > Qty::ZERO).copied();
        let (ready, rank) = (self.is_ready(), self.rank_set());
        let guards = &mut self.guards;
        let Some(instrument) = instrument else {
            return guards.ask(Guard::Instrument, true);
        };
        let entry = draft.class == Class::Entry;
        let (row, goal) = (self.marks[index], self.goals[index]);
        let sums = self.ledger.symbol(symbol);
        // Not in the venue's table any more.
        guards.ask(Guard::Instrument, entry && self.delisted[index])?;
        if !ready {
            self.check_unready(draft)?;
        }
        let guards = &mut self.guards;
        if !rank.allows(draft.class) {
            return self.refuse_by_rank();
        }
        if !entry && sums.frozen > 0 {
            self.check_frozen(draft)?;
        } else {
            guards.ask(Guard::UnknownOutcome, sums.frozen > 0)?;
        }
        let guards = &mut self.guards;
        guards.ask(Guard::Flattening, goal.active && draft.lane != Lane::Flatten)?;
        if draft.lane == Lane::Protect {
            return self.check_protective(draft, &instrument);
        }
        if entry {
            let grace = SpanNs::from_ms(i64::from(self.config.mismatch_grace_ms));
            let same = self.positions.matches_venue(symbol, now, grace);
            guards.ask(Guard::PositionMismatch, !same)?;
            let gates = self.account.gates(index);
            if gates != 0 {
                guards.ask_set(gates)?;
            }
        }
        let priced = row.bid > Px::ZERO && row.ask > row.bid;
        guards.ask(Guard::Unsynced, !row.synced || !priced)?;
        let stale_after = SpanNs::from_ms(i64::from(self.config.stale_after_ms));
        guards.ask(Guard::Stale, row.quiet || now - row.at > stale_after)?;
        let collar = i64::from(self.config.collar_bps);
        let (mid, px) = (row.mid(), draft.px);
        let missing = px <= Px::ZERO && draft.kind != OrderKind::Market;
        let beyond = match draft.side {
            Side::Buy => px > mid.offset_bps(collar),
            Side::Sell => !px.is_zero() && px < mid.offset_bps(-collar),
        };
        // A price that is missing is no question of limits: it is refused in every mode.
        if missing {
            self.guards.counts[Guard::PriceCollar as usize].blocked += 1;
            return Err(Guard::PriceCollar);
        }
        guards.ask(Guard::PriceCollar, beyond)?;
        guards.ask(Guard::MinSize, draft.qty < instrument.qty_min)?;
        guards.ask(Guard::MaxSize, draft.qty > instrument.qty_max)?;
        // A close must never wait for a limit. Quotes count even where they can only close (spot
        // asks): they come often and would use up the venue's patience.
        if !entry && draft.lane != Lane::Quote {
            return Ok(());
        }
        self.check_limits(draft, mid)
    }

    /// No account stream: a flatten may have another way.
    #[cold]
    fn check_unready(&mut self, draft: &Draft) -> Result<(), Guard> {
        let may = draft.lane == Lane::Flatten && self.closes_by_rest();
        self.guards.ask(Guard::NotReady, !may)
    }
    /// A close while an order of the symbol is in doubt. What protects can only close, as this
    /// does: the doubt about it holds up no flatten, and no doubt about an entry holds up
    /// protection.
    #[cold]
    fn check_frozen(&mut self, draft: &Draft) -> Result<(), Guard> {
        let sums = self.ledger.symbol(draft.symbol);
        let held_up = match draft.lane {
            Lane::Protect => false,
            Lane::Flatten => sums.frozen > sums.protect_frozen,
            _ => true,
        };
        self.guards.ask(Guard::UnknownOutcome, held_up)
    }
    /// A protective order asks no book: it is wanted most where the market cannot be seen. Nor has
    /// it anything to do with the collar, which its stop is meant to lie beyond.
    #[cold]
    fn check_protective(&mut self, draft: &Draft, of: &Instrument) -> Result<(), Guard> {
        self.guards.ask(Guard::MinSize, draft.qty < of.qty_min)?;
        self.guards.ask(Guard::MaxSize, draft.qty > of.qty_max)
    }
    /// Why the rank is what it is, as a person would say it.
    #[cold]
    fn refuse_by_rank(&mut self) -> Result<(), Guard> {
        let tripped = self.account.memory().tripped;
        let reason = if self.killed || self.halted {
            Guard::KillSwitch
        } else if self.account.is_tripped() && tripped & Guard::DailyLoss.bit() != 0 {
            Guard::DailyLoss
        } else if self.account.is_tripped() {
            Guard::Drawdown
        } else if self.paused {
            Guard::Paused
        } else {
            Guard::Rank
        };
        // In whatever mode: the rank has forbidden it.
        self.guards.counts[reason as usize].blocked += 1;
        Err(reason)
    }

    /// The limits that entries and quotes are held to.
    fn check_limits(&mut self, draft: &Draft, mid: Px) -> Result<(), Guard> {
        let (symbol, now) = (draft.symbol, self.now);
        let limits = self.limits[symbol.index()];
        let sums = self.ledger.symbol(symbol);
        let repeats_itself = self.repeats.are_too_many(draft.key(), now);
        let (mut long, mut short) = self.worst(symbol);
        let before = long.max(short);
        let side_after = match draft.side {
            Side::Buy => {
                long = long.saturating_add(draft.qty);
                long
            }
            Side::Sell => {
                short = short.saturating_add(draft.qty);
                short
            }
        };
        let grows = long.max(short) > before;
        // All other symbols are summed up for it: only where it could object.
        let exposed = grows
            && self.exposure_with(symbol, mid.notional(long.max(short))) > self.config.exposure_max;
        let px = if draft.px.is_zero() { mid } else { draft.px };
        let new_orders = u16::from(!draft.amends);
        let alive = self.ledger.alive() + usize::from(new_orders);
        let full = sums.alive + new_orders > limits.open_orders_max
            || alive > usize::from(self.config.open_orders_max);
        let rate = self.rate.allows(now) && self.burst.allows(now);
        // What is alive may still become a trade of today.
        let trades = (alive as u64) + u64::from(self.account.trades_day());
        let of_symbol = u64::from(sums.alive + new_orders)
            + u64::from(self.account.symbol_trades_day(symbol.index()));
        let guards = &mut self.guards;
        if repeats_itself {
            self.account.on_repeat(symbol.index());
            guards.ask(Guard::Repeat, true)?;
        }
        let most = self.account.limits();
        guards.ask(Guard::DailyTrades, trades > u64::from(most.trades_day_max))?;
        guards.ask(Guard::SymbolDailyTrades, of_symbol > u64::from(most.symbol_trades_day_max))?;
        let notional = px.max(mid).notional(draft.qty);
        guards.ask(Guard::OrderNotional, notional > limits.order_notional_max)?;
        let above = side_after > Qty::ZERO && mid.notional(side_after) > limits.position_max;
        guards.ask(Guard::MaxPosition, above)?;
        guards.ask(Guard::TotalExposure, exposed)?;
        guards.ask(Guard::OpenOrders, full)?;
        guards.ask(Guard::OrderRate, !rate)
    }

    /// Sum over symbols of the worst position's value, with `symbol` counted as `value`.
    fn exposure_with(&self, symbol: SymbolId, value: Quote) -> Quote {
        let others = self.active.iter().filter(|other| **other != symbol);
        others.fold(value, |sum, other| sum.saturating_add(self.exposure_of(*other)))
    }
    /// Value of the worst position of a symbol at its last middle.
    pub(super) fn exposure_of(&self, symbol: SymbolId) -> Quote {
        let (long, short) = self.worst(symbol);
        self.marks[symbol.index()].mid().notional(long.max(short).max(Qty::ZERO))
    }
}
