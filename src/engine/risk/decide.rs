//! From intent to command: what is there, what is wanted, the smallest step between them.

use super::check::Draft;
use super::guards::Guard;
use super::stage::RiskStage;
use crate::base::ids::{Cid, SymbolId};
use crate::base::time::WallNs;
use crate::base::units::{Px, Qty, Side};
use crate::engine::orders::{Lane, Opening, Order, Slot};
use crate::engine::risk::config::Requote;
use crate::engine::stage::Outbox;
use crate::model::{
    Action, Class, Command, Intent, Level, NewOrder, OrderFlags, OrderKind, Stamp, Trace, Urgency,
    WalletKind, Want,
};

/// Where a command comes from: for its stamp, trace and nothing else.
#[derive(Clone, Copy)]
pub(super) struct Origin {
    pub(super) stamp: Stamp,
    pub(super) trace: Trace,
}

/// The orders of one intent's lane.
#[derive(Clone, Copy, Default)]
struct Mine {
    count: usize,
    first: Option<Slot>,
}

impl RiskStage {
    pub(super) fn on_intent(&mut self, intent: &Intent, out: &mut impl Outbox<Command>) {
        self.counters.intents += 1;
        if intent.symbol.index() >= self.instruments.len() {
            let _ = self.guards.ask(Guard::Instrument, true);
            return;
        }
        if let Some(bracket) = &intent.bracket
            && !self.can_protect(bracket)
        {
            // What is to be protected and cannot be is not opened, whatever the guard's mode.
            self.guards.counts[Guard::NakedPosition as usize].blocked += 1;
            return;
        }
        self.activate(intent.symbol);
        let from = Origin { stamp: intent.cause, trace: intent.trace };
        match intent.want {
            Want::Once { qty, px, urgency, reduce } => {
                self.once(intent, qty, (px, urgency), reduce, from, out);
            }
            Want::Target { .. } => {
                self.forget_target(intent.symbol);
                self.target(intent, from, out);
            }
            Want::Quote { bid, ask } => {
                self.quote(intent, Side::Buy, bid, from, out);
                self.quote(intent, Side::Sell, ask, from, out);
            }
            Want::Cancel => {
                self.forget_target(intent.symbol);
                let (strategy, symbol) = (intent.strategy, intent.symbol);
                self.cancel_sparing(|o| o.symbol == symbol && o.strategy == strategy);
            }
            Want::Flatten => {
                self.forget_target(intent.symbol);
                self.flatten(Some(intent.symbol));
            }
            Want::Protect => self.protect(intent),
        }
    }

    /// Price, type and flags for an urgency. Prices are rounded to the tick on the cautious side: a
    /// buy never pays more, a sell never takes less than asked.
    fn priced(
        &self,
        symbol: SymbolId,
        side: Side,
        (px, urgency): (Px, Urgency),
    ) -> (Px, OrderKind, OrderFlags) {
        let cautious = |px: Px| match side {
            Side::Buy => px.floor_to_tick(),
            Side::Sell => px.ceil_to_tick(),
        };
        match urgency {
            Urgency::Passive => (cautious(px), OrderKind::Limit, OrderFlags::POST_ONLY),
            Urgency::Limit => (cautious(px), OrderKind::Limit, OrderFlags::NONE),
            Urgency::Take if self.config.take_kind == OrderKind::Market => {
                (Px::ZERO, OrderKind::Market, OrderFlags::NONE)
            }
            Urgency::Take if px > Px::ZERO => {
                (cautious(px), self.config.take_kind, OrderFlags::NONE)
            }
            Urgency::Take => {
                let slippage = i64::from(self.config.take_slippage_bps);
                let px = self.take_px(symbol, side, slippage);
                (px, self.config.take_kind, OrderFlags::NONE)
            }
        }
    }
    /// The best price of the other side, `bps` worse, rounded so that it still takes; inside the
    /// collar.
    pub(super) fn take_px(&self, symbol: SymbolId, side: Side, bps: i64) -> Px {
        let row = self.marks[symbol.index()];
        let (mid, collar) = (row.mid(), i64::from(self.config.collar_bps));
        match side {
            Side::Buy => {
                let most = mid.offset_bps(collar).floor_to_tick();
                row.ask.offset_bps(bps).ceil_to_tick().min(most)
            }
            Side::Sell => {
                let least = mid.offset_bps(-collar).ceil_to_tick();
                row.bid.offset_bps(-bps).floor_to_tick().max(least)
            }
        }
    }
    /// What of the position an order on this side may still close, open orders of that side
    /// deducted.
    pub(super) fn closable(&self, symbol: SymbolId, side: Side) -> Qty {
        let sums = self.ledger.symbol(symbol);
        let (held, open) = match side {
            Side::Sell => (self.positions.qty(symbol), sums.sell_reserve),
            Side::Buy => (-self.positions.qty(symbol), sums.buy_reserve),
        };
        held.saturating_sub(open).max(Qty::ZERO)
    }
    /// Makes a draft and settles what it may close: `reduce` orders and spot sells never exceed
    /// what is held. `own` is the reserve of the order that this one changes.
    fn draft(
        &self,
        intent: &Intent,
        lane: Lane,
        (side, qty): (Side, Qty),
        (px, kind, flags): (Px, OrderKind, OrderFlags),
        reduce: bool,
        own: Qty,
    ) -> Draft {
        let spot = self.config.wallet == WalletKind::Exchange;
        let closes = reduce || (spot && side == Side::Sell);
        let mut draft = Draft {
            symbol: intent.symbol,
            strategy: intent.strategy,
            lane,
            reason: intent.reason,
            side,
            qty,
            px,
            kind,
            flags,
            class: if closes { Class::Close } else { Class::Entry },
            amends: false,
            bracket: if closes { None } else { intent.bracket },
        };
        if closes {
            draft.qty = qty.min(self.closable(intent.symbol, side).saturating_add(own));
            if !spot {
                draft.flags = flags.with(OrderFlags::REDUCE_ONLY);
            }
        }
        draft
    }

    fn once(
        &mut self,
        intent: &Intent,
        qty: Qty,
        price: (Px, Urgency),
        reduce: bool,
        from: Origin,
        out: &mut impl Outbox<Command>,
    ) {
        let side = Side::of(qty);
        let priced = self.priced(intent.symbol, side, price);
        let draft = self.draft(intent, Lane::Once, (side, qty.abs()), priced, reduce, Qty::ZERO);
        let _ = self.send_new(&draft, Cid::NONE, from, out);
    }

    /// One order at a time towards the position wanted. A flip closes first and opens then, so that
    /// the close stays a close.
    pub(super) fn target(&mut self, intent: &Intent, from: Origin, out: &mut impl Outbox<Command>) {
        let Want::Target { qty: wanted, px, urgency } = intent.want else { return };
        let symbol = intent.symbol;
        let mine = self.mine(intent, Lane::Target, None);
        let sums = self.ledger.symbol(symbol);
        if mine.count > 1 || sums.settling > 0 {
            return self.wait_for_target(intent);
        }
        let held = self.positions.qty(symbol);
        let wanted =
            if self.config.wallet == WalletKind::Exchange { wanted.max(Qty::ZERO) } else { wanted };
        let mut need = wanted.saturating_sub(held);
        let shrinks =
            !held.is_zero() && !need.is_zero() && (need > Qty::ZERO) != (held > Qty::ZERO);
        let flips = shrinks && need.abs() > held.abs();
        if flips {
            need = -held;
        }
        let side = Side::of(need);
        let priced = self.priced(symbol, side, (px, urgency));
        if let Some(slot) = mine.first {
            let order = *self.ledger.order(slot);
            if !order.is_settled_working() {
                return self.wait_for_target(intent);
            }
            let fits = order.side == side
                && order.px() == priced.0
                && order.remaining() == need.abs()
                && order.flags.has(OrderFlags::POST_ONLY) == (urgency == Urgency::Passive);
            if fits {
                self.counters.unchanged += 1;
                return;
            }
            // Another price or size is another order; its predecessor must have ended first, for
            // what it fills until then changes the need.
            self.ledger.want_cancel(slot, self.now);
            return self.wait_for_target(intent);
        }
        if need.is_zero() {
            self.counters.unchanged += 1;
            return;
        }
        let reduce = shrinks && self.config.wallet != WalletKind::Exchange;
        let draft = self.draft(intent, Lane::Target, (side, need.abs()), priced, reduce, Qty::ZERO);
        if self.send_new(&draft, Cid::NONE, from, out).is_ok() && flips {
            self.wait_for_target(intent);
        }
    }
    fn wait_for_target(&mut self, intent: &Intent) {
        self.counters.waiting += 1;
        let row = &mut self.targets[intent.symbol.index()];
        self.targets_waiting += usize::from(row.is_none());
        *row = Some(*intent);
    }
    pub(super) fn forget_target(&mut self, symbol: SymbolId) {
        if self.targets[symbol.index()].take().is_some() {
            self.targets_waiting -= 1;
        }
    }

    /// Keeps at most one resting order on a side.
    fn quote(
        &mut self,
        intent: &Intent,
        side: Side,
        level: Level,
        from: Origin,
        out: &mut impl Outbox<Command>,
    ) {
        let mine = self.mine(intent, Lane::Quote, Some(side));
        if level.qty <= Qty::ZERO {
            if mine.count > 0 {
                let (strategy, symbol) = (intent.strategy, intent.symbol);
                self.cancel_where(|o| {
                    o.lane == Lane::Quote
                        && o.side == side
                        && o.symbol == symbol
                        && o.strategy == strategy
                });
            }
            return;
        }
        let priced = self.priced(intent.symbol, side, (level.px, Urgency::Passive));
        let Some(slot) = mine.first else {
            let draft =
                self.draft(intent, Lane::Quote, (side, level.qty), priced, false, Qty::ZERO);
            let _ = self.send_new(&draft, Cid::NONE, from, out);
            return;
        };
        let order = *self.ledger.order(slot);
        if mine.count > 1 || !order.is_settled_working() {
            self.counters.waiting += 1;
            return;
        }
        // A quote that is partly filled stays until half of it is gone: its place in the queue is
        // worth more than the rest of its size.
        let rest = order.remaining();
        let sized = rest <= level.qty && rest.saturating_add(rest) >= level.qty;
        if order.px() == priced.0 && sized {
            self.counters.unchanged += 1;
            return;
        }
        let own = order.reserve();
        let draft = self.draft(intent, Lane::Quote, (side, level.qty), priced, false, own);
        self.move_order(slot, &order, draft, from, out);
    }

    /// Moves a working order to another price and size, the way the config says. Where a guard
    /// objects, the order is withdrawn: a quote that may not follow the market may not stay behind
    /// either.
    fn move_order(
        &mut self,
        slot: Slot,
        order: &Order,
        mut draft: Draft,
        from: Origin,
        out: &mut impl Outbox<Command>,
    ) {
        let moved = match self.config.requote {
            Requote::CancelNew => {
                self.ledger.want_cancel(slot, self.now);
                return;
            }
            Requote::Amend => {
                draft.amends = true;
                draft.class = order.class.min(draft.class);
                self.check(&draft).map(|()| self.send_amend(slot, order, &draft, from, out))
            }
            Requote::Replace => self.send_replace(slot, order, &draft, from, out),
        };
        if moved.is_err() {
            self.counters.quotes_withdrawn += 1;
            self.ledger.want_cancel(slot, self.now);
        }
    }

    /// Alive orders of the intent's strategy, symbol and lane, on one side or both.
    fn mine(&self, intent: &Intent, lane: Lane, side: Option<Side>) -> Mine {
        let mut mine = Mine::default();
        if self.ledger.symbol(intent.symbol).alive == 0 {
            return mine;
        }
        for (slot, order) in self.ledger.listed() {
            let same = order.symbol == intent.symbol
                && order.strategy == intent.strategy
                && order.lane == lane
                && side.is_none_or(|side| side == order.side);
            if same && order.is_alive() {
                mine.count += 1;
                mine.first = Some(slot);
            }
        }
        mine
    }

    // ---- the four messages that make or change orders; cancels are in work.rs ----

    /// A new order, if every guard agrees: recorded and counted first, then sent.
    pub(super) fn send_new(
        &mut self,
        draft: &Draft,
        replaces: Cid,
        from: Origin,
        out: &mut impl Outbox<Command>,
    ) -> Result<Slot, Guard> {
        let (slot, new) = self.make_new(draft, replaces)?;
        self.counters.news += 1;
        self.emit(draft, draft.class, Action::New(new), from, out);
        Ok(slot)
    }
    fn make_new(&mut self, draft: &Draft, replaces: Cid) -> Result<(Slot, NewOrder), Guard> {
        if draft.qty.is_zero() {
            return self.guards.ask(Guard::NothingHeld, true).and(Err(Guard::NothingHeld));
        }
        self.check(draft)?;
        let derivatives = self.config.wallet == WalletKind::Derivatives;
        let new = NewOrder {
            cid: Cid::NONE,
            cid_day: WallNs(0),
            kind: draft.kind,
            wallet: self.config.wallet,
            qty: if draft.side == Side::Sell { -draft.qty } else { draft.qty },
            px: draft.px,
            px_aux: Px::ZERO,
            flags: draft.flags,
            leverage: if derivatives { self.config.leverage } else { 0 },
        };
        let opening = Opening {
            symbol: draft.symbol,
            strategy: draft.strategy,
            lane: draft.lane,
            class: draft.class,
            reason: draft.reason,
            replaces,
            at: self.now,
        };
        let Ok(opened) = self.ledger.open(new, &opening, self.wall) else {
            return self.guards.ask(Guard::LedgerFull, true).and(Err(Guard::LedgerFull));
        };
        self.note_sent(draft);
        if let Some(bracket) = draft.bracket {
            self.arm_bracket(opened.0, draft, bracket);
        }
        Ok(opened)
    }
    pub(super) fn send_amend(
        &mut self,
        slot: Slot,
        order: &Order,
        draft: &Draft,
        from: Origin,
        out: &mut impl Outbox<Command>,
    ) {
        self.ledger.start_amend(slot, draft.px, draft.qty, self.now);
        self.note_sent(draft);
        if let Some(bracket) = draft.bracket {
            self.arm_bracket(slot, draft, bracket);
        }
        self.counters.amends += 1;
        let qty = if draft.side == Side::Sell { -draft.qty } else { draft.qty };
        let action = Action::Amend { id: order.id, cid: order.cid, px: draft.px, qty };
        self.emit(draft, draft.class, action, from, out);
    }
    fn send_replace(
        &mut self,
        slot: Slot,
        order: &Order,
        draft: &Draft,
        from: Origin,
        out: &mut impl Outbox<Command>,
    ) -> Result<(), Guard> {
        let (_, new) = self.make_new(draft, order.cid)?;
        self.ledger.start_cancel(slot, self.now);
        self.counters.replaces += 1;
        let Order { id, cid, cid_day, .. } = *order;
        self.emit(draft, draft.class, Action::Replace { id, cid, cid_day, new }, from, out);
        Ok(())
    }
    fn note_sent(&mut self, draft: &Draft) {
        self.rate.note(self.now);
        self.burst.note(self.now);
        self.repeats.note(draft.key(), self.now);
    }
    fn emit(
        &mut self,
        draft: &Draft,
        class: Class,
        action: Action,
        from: Origin,
        out: &mut impl Outbox<Command>,
    ) {
        self.counters.commands += 1;
        out.emit(Command {
            stamp: from.stamp,
            trace: from.trace,
            strategy: draft.strategy,
            symbol: draft.symbol,
            class,
            reason: draft.reason,
            action,
        });
    }
}
