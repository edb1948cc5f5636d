//! What goes on by itself: cancels that are wanted, positions that must be closed, targets that
//! wait.

use super::brackets::PROTECTS_PER_INPUT;
use super::check::Draft;
use super::decide::Origin;
use super::stage::{Goal, RiskStage};
use crate::base::ids::{Cid, OrderId, SymbolId};
use crate::base::time::{MonoNs, SpanNs};
use crate::base::units::{Qty, Side};
use crate::engine::orders::{Lane, Order, STRATEGY_ADOPTED, Slot};
use crate::engine::stage::Outbox;
use crate::model::{
    Action, Class, Command, OrderFlags, OrderKind, Reason, Stamp, Trace, WalletKind,
};

/// Cancel messages one input may cause; the rest of `BURST_MAX` is for the orders of an intent and
/// of flattens. Cancels that find no place leave with the next input.
const CANCELS_PER_INPUT: usize = 36;
/// Closing orders one input may cause.
const CLOSES_PER_INPUT: usize = 16;
/// Waiting targets looked at again in one input.
const TARGETS_PER_INPUT: usize = 4;
/// From so many orders on, cancels are bundled (`oc_multi`).
const BUNDLE_FROM: usize = 4;
/// An intent makes at most two orders, and the last bundle of cancels may be a message more.
const OTHERS_PER_INPUT: usize = 3;
const _: () = assert!(
    CANCELS_PER_INPUT
        + CLOSES_PER_INPUT
        + TARGETS_PER_INPUT
        + PROTECTS_PER_INPUT
        + OTHERS_PER_INPUT
        <= crate::base::limits::BURST_MAX
);

impl RiskStage {
    /// Marks own orders for cancelling; the next sweep sends the messages.
    pub(super) fn cancel_where(&mut self, chosen: impl Fn(&Order) -> bool) {
        for place in 0..self.ledger.listed_len() {
            if let Some((slot, order)) = self.ledger.listed_at(place)
                && order.is_alive()
                && chosen(order)
            {
                self.ledger.want_cancel(slot, self.now);
            }
        }
        self.sweep_at = MonoNs(0);
    }
    /// The same, but what protects a position stays.
    pub(super) fn cancel_sparing(&mut self, chosen: impl Fn(&Order) -> bool) {
        for place in 0..self.ledger.listed_len() {
            if let Some((slot, order)) = self.ledger.listed_at(place)
                && order.is_alive()
                && chosen(order)
                && !self.is_protecting(order)
            {
                self.ledger.want_cancel(slot, self.now);
            }
        }
        self.sweep_at = MonoNs(0);
    }
    /// Starts closing one symbol or all; own orders of it are cancelled first.
    pub(super) fn flatten(&mut self, symbol: Option<SymbolId>) {
        let rows = match symbol {
            Some(symbol) => symbol.index()..symbol.index() + 1,
            None => 0..self.goals.len(),
        };
        for row in rows {
            let Some(goal) = self.goals.get_mut(row) else { continue };
            self.goals_active += usize::from(!goal.active);
            *goal = Goal { active: true, stuck: false, attempts: 0, next_at: MonoNs(0) };
            self.account.set_flattening(row, true);
        }
    }

    /// A kill is not done with a symbol because it was flat once: an order's end may not have told
    /// of its last fill.
    #[cold]
    fn close_what_came_late(&mut self) {
        for row in 0..self.goals.len() {
            let symbol = SymbolId(row as u16);
            let Goal { active, stuck, .. } = self.goals[row];
            if !active && !stuck && self.is_to_close(self.positions.qty(symbol)) {
                self.flatten(Some(symbol));
            }
        }
    }
    /// Nothing is owed on a spot wallet: what looks short there cannot be closed.
    fn is_to_close(&self, held: Qty) -> bool {
        held > Qty::ZERO || (held < Qty::ZERO && self.config.wallet != WalletKind::Exchange)
    }

    #[inline]
    pub(super) fn work(&mut self, stamp: Stamp, trace: Trace, out: &mut impl Outbox<Command>) {
        let from = Origin { stamp, trace };
        if self.resuming && (self.is_ready() || self.closes_by_rest()) {
            self.resume_closing();
        }
        if self.brackets.next_at() <= self.now {
            self.step_brackets(from, out);
        }
        if self.killed && !self.halted && !self.resuming {
            self.close_what_came_late();
        }
        if self.goals_active > 0 {
            self.step_goals(from, out);
        }
        if self.targets_waiting > 0 {
            self.retry_targets(from, out);
        }
        self.sweep_at = MonoNs(u64::MAX);
        if self.ledger.cancels_wanted() > 0 {
            self.sweep_cancels(from, out);
        }
        // Time-outs may want cancels: they are looked at when they can come.
        self.sweep_at = self.sweep_at.min(self.ledger.next_time()).min(self.brackets.next_at());
        if self.killed && !self.halted && self.is_quiesced() {
            self.halted = true;
            self.note_rank();
        }
    }

    #[cold]
    fn sweep_cancels(&mut self, from: Origin, out: &mut impl Outbox<Command>) {
        if !self.link_up && !self.cancels_by_rest() {
            return;
        }
        let now = self.now;
        let mut due = 0;
        for (_, order) in self.ledger.listed() {
            if order.wants_cancel() {
                due += usize::from(order.cancel_after <= now && !order.id.is_none());
                self.sweep_at = self.sweep_at.min(order.cancel_after);
            }
        }
        let bundle = due >= BUNDLE_FROM;
        let mut ids = [OrderId::NONE; 16];
        let (mut filled, mut sent, mut first) = (0, 0, None);
        for place in 0..self.ledger.listed_len() {
            let Some((slot, order)) = self.ledger.listed_at(place) else { break };
            let order = *order;
            if !order.wants_cancel() || order.cancel_after > now {
                continue;
            }
            if sent == CANCELS_PER_INPUT {
                self.sweep_at = now;
                break;
            }
            self.ledger.start_cancel(slot, now);
            if bundle && !order.id.is_none() {
                ids[filled] = order.id;
                filled += 1;
                first.get_or_insert(order);
                if filled == ids.len() {
                    self.emit_cancel(&order, Action::CancelMulti { ids }, from, out);
                    (ids, filled, first) = ([OrderId::NONE; 16], 0, None);
                    sent += 1;
                }
            } else {
                let Order { id, cid, cid_day, .. } = order;
                self.emit_cancel(&order, Action::Cancel { id, cid, cid_day }, from, out);
                sent += 1;
            }
        }
        if let Some(order) = first {
            self.emit_cancel(&order, Action::CancelMulti { ids }, from, out);
        }
    }
    fn emit_cancel(
        &mut self,
        order: &Order,
        action: Action,
        from: Origin,
        out: &mut impl Outbox<Command>,
    ) {
        self.counters.cancels += 1;
        self.counters.commands += 1;
        out.emit(Command {
            stamp: from.stamp,
            trace: from.trace,
            strategy: order.strategy,
            symbol: order.symbol,
            class: Class::Cancel,
            reason: order.reason,
            action,
        });
    }

    #[cold]
    fn step_goals(&mut self, from: Origin, out: &mut impl Outbox<Command>) {
        let mut closes = 0;
        for row in 0..self.goals.len() {
            if self.goals[row].active && closes < CLOSES_PER_INPUT {
                let symbol = SymbolId(row as u16);
                closes += usize::from(self.step_goal(symbol, from, out));
            }
        }
    }
    /// One step towards flat; true if an order was sent.
    fn step_goal(
        &mut self,
        symbol: SymbolId,
        from: Origin,
        out: &mut impl Outbox<Command>,
    ) -> bool {
        let row = symbol.index();
        let sums = self.ledger.symbol(symbol);
        if sums.alive > sums.protect_frozen {
            // Its own closing orders run to their end; everything else goes first.
            self.cancel_where(|o| o.symbol == symbol && o.lane != Lane::Flatten);
            return false;
        }
        if sums.settling > 0 {
            return false;
        }
        let held = self.positions.qty(symbol);
        let instrument = self.instruments[row];
        if !self.is_to_close(held) {
            return self.end_goal(row, false);
        }
        let goal = self.goals[row];
        let held = self.closable_at_venue(symbol, held);
        let hopeless = held.abs() < instrument.qty_min || instrument.qty_min.is_zero();
        if hopeless || goal.attempts >= self.config.flatten_attempts_max {
            return self.end_goal(row, true);
        }
        if self.now < goal.next_at {
            return false;
        }
        let side = Side::of(held).opposite();
        // Each attempt may cost a little more, up to the collar.
        let step = i64::from(self.config.take_slippage_bps).max(1);
        let bps = (step * (1 + i64::from(goal.attempts))).min(i64::from(self.config.collar_bps));
        let reduce = self.config.wallet != WalletKind::Exchange;
        let draft = Draft {
            symbol,
            strategy: STRATEGY_ADOPTED,
            lane: Lane::Flatten,
            reason: match () {
                () if self.killed => Reason::Killed,
                () if self.brackets.is_closing(row) => Reason::StopLoss,
                () => Reason::Operator,
            },
            side,
            qty: held.abs().min(instrument.qty_max),
            px: self.take_px(symbol, side, bps),
            kind: OrderKind::Ioc,
            flags: if reduce { OrderFlags::REDUCE_ONLY } else { OrderFlags::NONE },
            class: Class::Close,
            amends: false,
            bracket: None,
        };
        let retry = SpanNs::from_ms(i64::from(self.config.flatten_retry_ms));
        let sent = self.send_new(&draft, Cid::NONE, from, out).is_ok();
        let goal = &mut self.goals[row];
        goal.next_at = self.now + retry;
        goal.attempts += u8::from(sent);
        sent
    }
    /// What of a position of ours the venue would let us close: it refuses a reduce-only order that
    /// is larger than what it holds, as after somebody else's trade on the account. Where it says
    /// that it holds nothing of the kind its word may be old: the whole is tried, and refused.
    pub(super) fn closable_at_venue(&self, symbol: SymbolId, held: Qty) -> Qty {
        let at_venue = self.positions.get(symbol).venue_qty.unwrap_or(held);
        let same_side = !at_venue.is_zero() && Side::of(at_venue) == Side::of(held);
        match self.config.wallet {
            WalletKind::Margin | WalletKind::Derivatives if same_side => {
                if held > Qty::ZERO {
                    held.min(at_venue)
                } else {
                    held.max(at_venue)
                }
            }
            _ => held,
        }
    }
    /// Always false: nothing was sent.
    fn end_goal(&mut self, row: usize, stuck: bool) -> bool {
        self.goals[row] = Goal { stuck, ..Goal::default() };
        self.goals_active -= 1;
        self.account.set_flattening(row, stuck);
        self.counters.flatten_stuck += u64::from(stuck);
        self.brackets.mark(row);
        false
    }

    #[cold]
    fn retry_targets(&mut self, from: Origin, out: &mut impl Outbox<Command>) {
        let wait = SpanNs::from_ms(i64::from(self.config.target_wait_ms));
        let mut tried = 0;
        for row in 0..self.targets.len() {
            let Some(intent) = self.targets[row] else { continue };
            if tried == TARGETS_PER_INPUT {
                break;
            }
            let symbol = intent.symbol;
            if self.now - intent.cause.recv > wait {
                self.forget_target(symbol);
                self.counters.targets_expired += 1;
                continue;
            }
            let sums = self.ledger.symbol(symbol);
            let of_target = |(_, order): (Slot, &Order)| {
                order.symbol == symbol && order.lane == Lane::Target && order.is_alive()
            };
            if sums.settling > 0 || self.ledger.listed().any(of_target) {
                continue;
            }
            tried += 1;
            self.forget_target(symbol);
            self.target(&intent, Origin { trace: intent.trace, ..from }, out);
        }
    }
}
