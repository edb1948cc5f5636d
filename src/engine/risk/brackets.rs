//! Protective orders: what an entry fills is closed by a limit order at its target or by a stop,
//! both reduce-only and each exactly as large as the position.
//!
//! The two are plain orders that know nothing of each other; this file is the link between them.
//! The venue's own pair (flag 16384) is not used: what becomes of it when one leg fills in part, is
//! changed or is cancelled is documented nowhere, and where it is known to us a partial fill takes
//! the other leg away and leaves the rest of the position without a stop. Two reduce-only orders
//! cannot turn a position round, whichever of them fills.
//!
//! Nothing here happens on the way of a quote: a row is looked at after a private event of its
//! symbol, or when its own time has come. One look asks what should rest (`wanted`), compares it
//! with what does, and takes the smallest step: a new order, a change of size or price, a cancel.
//! A change keeps the order at the venue all the while, so a position that grows is never without
//! the protection it had.

use super::check::Draft;
use super::decide::Origin;
use super::guards::{Guard, GuardMode};
use super::memory::BracketMemory;
use super::stage::RiskStage;
use crate::base::ids::{Cid, StrategyId, SymbolId};
use crate::base::time::{MonoNs, SpanNs};
use crate::base::units::{Px, Qty, Side};
use crate::engine::orders::{Lane, Order, STRATEGY_ADOPTED, Slot};
use crate::engine::stage::Outbox;
use crate::model::{
    Body, Bracket, Class, Command, Guarded, Intent, OrderFlags, OrderKind, Reason, SYMBOL_FOREIGN,
    WalletKind,
};

/// Protective orders made or changed in one input; what is left comes with the next.
pub(super) const PROTECTS_PER_INPUT: usize = 4;
/// The same change said so often without effect: the order is cancelled, and made anew.
const CHANGES_MAX: u8 = 2;
const NEVER: MonoNs = MonoNs(u64::MAX);

/// The two protective orders; the number is their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leg {
    Stop,
    Target,
}
impl Leg {
    fn of(order: &Order) -> Leg {
        if order.kind == OrderKind::Stop { Leg::Stop } else { Leg::Target }
    }
    fn of_bracket(self, bracket: &Bracket) -> Guarded {
        match self {
            Leg::Stop => bracket.stop,
            Leg::Target => bracket.target,
        }
    }
}

/// What was last tried for a leg.
#[derive(Clone, Copy, Debug, Default)]
struct Tried {
    qty: Qty,
    px: Px,
    at: MonoNs,
    count: u8,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    /// Something has happened that may change what should rest.
    due: bool,
    next_at: MonoNs,
    strategy: StrategyId,
    tried: [Tried; 2],
    /// Not everything rests that should.
    busy: bool,
    naked_since: Option<MonoNs>,
    /// The same, but only while it is large enough to be closed.
    closable_since: Option<MonoNs>,
    alarmed: bool,
    /// It was closed, or would have been, for this nakedness.
    closing: bool,
}

/// What the file's head says, by symbol. The brackets themselves are remembered with the symbols.
#[derive(Debug)]
pub(super) struct Brackets {
    rows: Box<[Row]>,
    /// A bracket was said or recalled: private events are looked at.
    any: bool,
    next_at: MonoNs,
    busy: usize,
}
impl Brackets {
    pub(super) fn new(symbols: usize) -> Self {
        let row = Row {
            due: false,
            next_at: NEVER,
            strategy: STRATEGY_ADOPTED,
            tried: [Tried::default(); 2],
            busy: false,
            naked_since: None,
            closable_since: None,
            alarmed: false,
            closing: false,
        };
        Self { rows: vec![row; symbols].into_boxed_slice(), any: false, next_at: NEVER, busy: 0 }
    }
    #[inline(always)]
    pub(super) fn any(&self) -> bool {
        self.any
    }
    /// When there is something to look at.
    #[inline(always)]
    pub(super) fn next_at(&self) -> MonoNs {
        self.next_at
    }
    /// Symbols of which not everything rests that should.
    pub(super) fn busy(&self) -> usize {
        self.busy
    }
    pub(super) fn is_closing(&self, row: usize) -> bool {
        self.rows[row].closing
    }
    pub(super) fn mark(&mut self, row: usize) {
        if let Some(row) = self.rows.get_mut(row) {
            row.due = true;
            self.next_at = MonoNs(0);
        }
    }
    fn mark_all(&mut self) {
        self.rows.iter_mut().for_each(|row| row.due = true);
        self.next_at = MonoNs(0);
    }
    fn set_busy(&mut self, row: usize, busy: bool) {
        let was = std::mem::replace(&mut self.rows[row].busy, busy);
        self.busy = self.busy + usize::from(busy) - usize::from(was);
    }
}

/// What of a leg is alive.
#[derive(Clone, Copy, Default)]
struct Found {
    /// The one that counts.
    first: Option<Slot>,
    alive: usize,
}

impl RiskStage {
    /// True where the bracket can be kept: a leg at least, every price positive, and a wallet in
    /// which reduce-only means something.
    pub(super) fn can_protect(&self, bracket: &Bracket) -> bool {
        let sane = |leg| !matches!(leg, Guarded::At(px) | Guarded::Away(px) if px <= Px::ZERO);
        let some = bracket.stop != Guarded::Off || bracket.target != Guarded::Off;
        let reduces = self.config.wallet != WalletKind::Exchange;
        some && reduces && sane(bracket.stop) && sane(bracket.target)
    }
    /// An order whose fills are to be protected is about to leave: what protects them is written
    /// down first.
    #[cold]
    pub(super) fn arm_bracket(&mut self, slot: Slot, draft: &Draft, bracket: Bracket) {
        self.ledger.set_bracketed(slot);
        let row = draft.symbol.index();
        self.brackets.rows[row].strategy = draft.strategy;
        self.set_bracket(row, draft.side, bracket);
    }
    fn set_bracket(&mut self, row: usize, side: Side, bracket: Bracket) {
        let is = BracketMemory { bracket, active: true, known: true };
        self.brackets.any = true;
        self.brackets.mark(row);
        if self.account.set_bracket(row, side, is) {
            self.keep();
        }
    }
    /// Another bracket for what is held.
    #[cold]
    pub(super) fn protect(&mut self, intent: &Intent) {
        let Some(bracket) = intent.bracket else { return };
        let held = self.positions.qty(intent.symbol);
        if held.is_zero() {
            let _ = self.guards.ask(Guard::NothingHeld, true);
            return;
        }
        let row = intent.symbol.index();
        self.brackets.rows[row].strategy = intent.strategy;
        self.set_bracket(row, Side::of(held), bracket);
    }
    /// After `recall`: brackets of an earlier run go on.
    pub(super) fn recall_brackets(&mut self) {
        let known = |of: &BracketMemory| of.known;
        self.brackets.any = self.account.symbols().iter().any(|s| s.brackets.iter().any(known));
        self.brackets.mark_all();
    }
    /// A leg of a bracket that stands: not cancelled by what only blocks entries.
    pub(super) fn is_protecting(&self, order: &Order) -> bool {
        let side = order.side.opposite();
        order.is_protective() && self.bracket_of(order.symbol.index(), side).is_some()
    }
    fn bracket_of(&self, row: usize, side: Side) -> Option<Bracket> {
        let is = self.account.symbols().get(row)?.brackets[side as usize];
        is.active.then_some(is.bracket)
    }
    /// Only orders that protect are left, and nothing is in doubt.
    pub(super) fn only_protection_rests(&self) -> bool {
        let rests = |order: &Order| order.is_settled_working() && self.is_protecting(order);
        self.brackets.busy == 0 && self.ledger.listed().all(|(_, order)| rests(order))
    }
    /// Orders that rest to protect what is held.
    pub fn protecting(&self) -> usize {
        let rests = |order: &Order| order.is_settled_working() && self.is_protecting(order);
        self.ledger.listed().filter(|(_, order)| rests(order)).count()
    }
    /// For how long the symbol's position has been unprotected.
    pub(super) fn naked_for(&self, row: usize) -> Option<SpanNs> {
        self.brackets.rows[row].naked_since.map(|since| self.now - since)
    }
    pub(super) fn is_naked(&self, row: usize) -> bool {
        self.brackets.rows[row].alarmed
    }
    /// What of the position a stop covers at the venue, or the target where there is no stop;
    /// `None` = nothing is to be covered.
    pub(super) fn covered(&self, symbol: SymbolId) -> Option<Qty> {
        let held = self.positions.qty(symbol);
        let bracket = self.bracket_of(symbol.index(), Side::of(held))?;
        if held.is_zero() {
            return None;
        }
        let leg = if bracket.stop == Guarded::Off { Leg::Target } else { Leg::Stop };
        let mut most = Qty::ZERO;
        for (_, order) in self.ledger.listed() {
            let is_it = order.symbol == symbol
                && order.is_protective()
                && Leg::of(order) == leg
                && order.side != Side::of(held);
            let rests = order.is_alive() && order.acked_by_venue() && !order.is_frozen();
            if is_it && rests && !order.cancel_wanted {
                most = most.max(order.remaining());
            }
        }
        Some(most)
    }

    /// What an event means for brackets: whose rows are to be looked at.
    #[cold]
    pub(super) fn note_for_brackets(&mut self, body: &Body) {
        let symbol = match body {
            Body::Order(update) => update.symbol,
            Body::Ack(ack) => ack.symbol,
            Body::Fill(fill) => {
                self.revive_bracket(fill.symbol, Side::of(fill.qty), fill.order, fill.cid);
                fill.symbol
            }
            Body::Position(update) => update.symbol,
            Body::Report(report) => report.symbol,
            Body::Snapshot(_) | Body::Link(_) | Body::Operator(_) | Body::Venue(_) => {
                SYMBOL_FOREIGN
            }
            _ => return,
        };
        if symbol == SYMBOL_FOREIGN {
            self.brackets.mark_all();
        } else {
            self.brackets.mark(symbol.index());
        }
    }
    /// A fill that comes after its order was given up, or of an order of an earlier run.
    fn revive_bracket(
        &mut self,
        symbol: SymbolId,
        side: Side,
        id: crate::base::ids::OrderId,
        cid: Cid,
    ) {
        let row = symbol.index();
        let Some(is) = self.account.symbols().get(row).map(|s| s.brackets[side as usize]) else {
            return;
        };
        if is.active || !is.known {
            return;
        }
        let order = self.ledger.find_by_id(id).or_else(|| self.ledger.find(cid));
        let opens = |o: &Order| {
            o.class == Class::Entry && (o.bracketed || o.lane == Lane::Adopted) && o.side == side
        };
        if order.is_some_and(opens) {
            self.account.set_bracket(row, side, BracketMemory { active: true, ..is });
        }
    }

    /// Looks at every row that is due.
    #[cold]
    pub(super) fn step_brackets(&mut self, from: Origin, out: &mut impl Outbox<Command>) {
        let mut left = PROTECTS_PER_INPUT;
        let mut next = NEVER;
        for row in 0..self.brackets.rows.len() {
            let it = &self.brackets.rows[row];
            if it.due || it.next_at <= self.now {
                // Two orders at most.
                if left < 2 {
                    next = self.now;
                    break;
                }
                self.brackets.rows[row].due = false;
                self.brackets.rows[row].next_at = NEVER;
                left -= self.step_bracket(SymbolId(row as u16), from, out);
            }
            next = next.min(self.brackets.rows[row].next_at);
        }
        self.brackets.next_at = next;
    }
    /// One look at one symbol; returns how many orders it made or changed.
    fn step_bracket(
        &mut self,
        symbol: SymbolId,
        from: Origin,
        out: &mut impl Outbox<Command>,
    ) -> usize {
        let row = symbol.index();
        if !self.is_ready() {
            // What rests is not known: nothing is done, and no clock runs.
            self.clothe(row);
            self.brackets.set_busy(row, false);
            return 0;
        }
        self.retire_brackets(symbol);
        let held = self.positions.qty(symbol);
        let bracket = self.bracket_of(row, Side::of(held)).filter(|_| !held.is_zero());
        if self.goals[row].active || self.killed || self.halted {
            // The flatten owns every order of the symbol; an alarm stands until it is flat.
            if !self.brackets.rows[row].alarmed || bracket.is_none() {
                self.clothe(row);
            }
            self.brackets.set_busy(row, false);
            return 0;
        }
        // At a stop the rank waits for what is not protected yet.
        if self.stopping && bracket.is_some() {
            self.brackets.set_busy(row, true);
        }
        let may = self.rank_set().allows(Class::Close);
        let naked = bracket.is_some() && self.covered(symbol).is_some_and(|qty| qty < held.abs());
        self.judge_naked(symbol, held, naked, may);
        if self.goals[row].active {
            self.brackets.set_busy(row, false);
            return 0;
        }
        if bracket.is_none() {
            // The next position is another one, however alike: it does not wait for this one's
            // tries.
            self.brackets.rows[row].tried = [Tried::default(); 2];
        }
        let (mut sent, mut fits) = (0, true);
        for leg in [Leg::Stop, Leg::Target] {
            let (count, is) = self.step_leg(symbol, leg, bracket, may, from, out);
            sent += count;
            fits &= is;
        }
        self.brackets.set_busy(row, !fits);
        if !fits {
            let retry = self.now + SpanNs::from_ms(i64::from(self.config.brackets.retry_ms));
            let it = &mut self.brackets.rows[row];
            it.next_at = it.next_at.min(retry);
        }
        sent
    }
    /// A bracket ends with what it belongs to: nothing held on its side, and nothing on its way
    /// that could open it.
    fn retire_brackets(&mut self, symbol: SymbolId) {
        let row = symbol.index();
        let (held, sums) = (self.positions.qty(symbol), self.ledger.symbol(symbol));
        for (side, reserve) in [(Side::Buy, sums.buy_reserve), (Side::Sell, sums.sell_reserve)] {
            let is = self.account.symbols()[row].brackets[side as usize];
            let gone = held.is_zero() || Side::of(held) != side;
            if is.active && gone && reserve.is_zero() && self.targets[row].is_none() {
                self.account.set_bracket(row, side, BracketMemory { active: false, ..is });
            }
        }
    }
    /// Brings one leg nearer to what it should be: how many orders that took, and whether it is
    /// there.
    fn step_leg(
        &mut self,
        symbol: SymbolId,
        leg: Leg,
        bracket: Option<Bracket>,
        may: bool,
        from: Origin,
        out: &mut impl Outbox<Command>,
    ) -> (usize, bool) {
        let held = self.positions.qty(symbol);
        let closing = Side::of(held).opposite();
        let wanted = bracket.and_then(|bracket| self.wanted(symbol, leg, &bracket));
        let found = self.find_leg(symbol, leg, wanted.map(|_| closing));
        let Some((qty, px)) = wanted else {
            return (0, found.alive == 0);
        };
        assert!(qty <= held.abs(), "protection larger than the position");
        if self.has_untold_closes(symbol, closing) {
            return (0, false); // the position is smaller than it looks; how much, a trade will say
        }
        let Some(slot) = found.first else {
            if found.alive > 0 || !may || !self.may_try(symbol, leg, qty, px) {
                return (0, false);
            }
            let draft = self.leg_draft(symbol, leg, closing, (qty, px));
            self.note_try(symbol, leg, qty, px);
            let made = self.send_new(&draft, Cid::NONE, from, out).is_ok();
            self.counters.protects += u64::from(made);
            return (usize::from(made), false);
        };
        let order = *self.ledger.order(slot);
        let near = (order.px().raw() - px.raw()).abs() <= px.tick().raw();
        let exact = matches!(bracket.map(|b| leg.of_bracket(&b)), Some(Guarded::At(_)));
        let same_px = order.px() == px || (near && !exact);
        if order.remaining() == qty && same_px {
            return (0, order.is_settled_working());
        }
        let px = if same_px { order.px() } else { px };
        // Before its first array a change could not be told from what it was made as.
        let known = order.is_settled_working() && order.view.is_some();
        if !known || !may || !self.may_try(symbol, leg, qty, px) {
            return (0, false);
        }
        if self.tries(symbol, leg, qty, px) >= CHANGES_MAX {
            self.ledger.want_cancel(slot, self.now);
            return (0, false);
        }
        let mut draft = self.leg_draft(symbol, leg, closing, (qty, px));
        draft.amends = true;
        self.note_try(symbol, leg, qty, px);
        let agreed = self.check(&draft).is_ok();
        if agreed {
            self.send_amend(slot, &order, &draft, from, out);
            self.counters.protects_changed += 1;
        }
        (usize::from(agreed), false)
    }
    /// Size and price of a leg; `None` = there should or can be none.
    fn wanted(&self, symbol: SymbolId, leg: Leg, bracket: &Bracket) -> Option<(Qty, Px)> {
        let row = self.instruments.get(symbol.index())?;
        let held = self.positions.qty(symbol);
        let side = Side::of(held);
        let grace = SpanNs::from_ms(i64::from(self.config.mismatch_grace_ms));
        // Where the venue holds less it would refuse; for a moment the two always differ.
        let same = self.positions.matches_venue(symbol, self.now, grace);
        let qty = if same { held } else { self.closable_at_venue(symbol, held) };
        let qty = qty.abs().min(row.qty_max);
        let above = (leg == Leg::Target) == (side == Side::Buy);
        let px = match leg.of_bracket(bracket) {
            Guarded::Off => return None,
            Guarded::At(px) => px,
            Guarded::Away(far) => {
                let avg = self.positions.get(symbol).px_avg().raw();
                let far = if above { far.raw() } else { -far.raw() };
                Px::from_raw(avg.saturating_add(far))
            }
        };
        // A long is closed by selling, and a sell never takes less than asked; a stop fires sooner
        // rather than later.
        let px = if side == Side::Buy { px.ceil_to_tick() } else { px.floor_to_tick() };
        (px > Px::ZERO && qty >= row.qty_min && row.qty_min > Qty::ZERO).then_some((qty, px))
    }
    /// Alive orders of a leg. Those that should not be are marked for cancelling: all but one, and
    /// those of the other side.
    fn find_leg(&mut self, symbol: SymbolId, leg: Leg, closing: Option<Side>) -> Found {
        let mut found = Found::default();
        for place in 0..self.ledger.listed_len() {
            let Some((slot, order)) = self.ledger.listed_at(place) else { break };
            let is_it = order.symbol == symbol && order.is_protective() && order.is_alive();
            if !is_it || Leg::of(order) != leg {
                continue;
            }
            found.alive += 1;
            let good = closing == Some(order.side) && !order.cancel_wanted;
            if good && found.first.is_none() {
                found.first = Some(slot);
            } else if !order.cancel_wanted {
                self.ledger.want_cancel(slot, self.now);
            }
        }
        found
    }
    /// Whether an array has shown a fill on the closing side that no trade has told yet.
    fn has_untold_closes(&self, symbol: SymbolId, closing: Side) -> bool {
        let of = |order: &Order| order.symbol == symbol && order.side == closing;
        self.ledger.listed().any(|(_, order)| of(order) && !order.untold().is_zero())
    }
    fn leg_draft(&self, symbol: SymbolId, leg: Leg, side: Side, (qty, px): (Qty, Px)) -> Draft {
        let (kind, reason) = match leg {
            Leg::Stop => (OrderKind::Stop, Reason::StopLoss),
            Leg::Target => (OrderKind::Limit, Reason::TakeProfit),
        };
        Draft {
            symbol,
            strategy: self.brackets.rows[symbol.index()].strategy,
            lane: Lane::Protect,
            reason,
            side,
            qty,
            px,
            kind,
            flags: OrderFlags::REDUCE_ONLY,
            class: Class::Close,
            amends: false,
            bracket: None,
        }
    }
    /// The same thing is not tried again at once; another thing is.
    fn may_try(&self, symbol: SymbolId, leg: Leg, qty: Qty, px: Px) -> bool {
        let retry = SpanNs::from_ms(i64::from(self.config.brackets.retry_ms));
        let tried = self.brackets.rows[symbol.index()].tried[leg as usize];
        (tried.qty, tried.px) != (qty, px) || self.now - tried.at >= retry
    }
    fn tries(&self, symbol: SymbolId, leg: Leg, qty: Qty, px: Px) -> u8 {
        let tried = self.brackets.rows[symbol.index()].tried[leg as usize];
        if (tried.qty, tried.px) == (qty, px) { tried.count } else { 0 }
    }
    fn note_try(&mut self, symbol: SymbolId, leg: Leg, qty: Qty, px: Px) {
        let count = self.tries(symbol, leg, qty, px).saturating_add(1);
        self.brackets.rows[symbol.index()].tried[leg as usize] =
            Tried { qty, px, at: self.now, count };
    }

    // ---- naked positions ----

    /// No position of the symbol stands unprotected, or none is known to.
    fn clothe(&mut self, row: usize) {
        let it = &mut self.brackets.rows[row];
        (it.naked_since, it.closable_since) = (None, None);
        it.closing = false;
        if std::mem::take(&mut it.alarmed) {
            self.account.set_naked(row, false);
        }
    }
    /// The alarm after a while, and then the close.
    fn judge_naked(&mut self, symbol: SymbolId, held: Qty, naked: bool, may: bool) {
        let row = symbol.index();
        let mode = self.guards.mode(Guard::NakedPosition);
        if !naked || mode == GuardMode::Off {
            return self.clothe(row);
        }
        let config = self.config.brackets;
        let alarm = SpanNs::from_s(i64::from(config.naked_alarm_after_s));
        let close = SpanNs::from_s(i64::from(config.naked_close_after_s));
        let now = self.now;
        // What is below the venue's smallest order cannot be closed either.
        let closable = held.abs() >= self.instruments[row].qty_min;
        let it = &mut self.brackets.rows[row];
        let since = *it.naked_since.get_or_insert(now);
        it.closable_since = it.closable_since.or(Some(now)).filter(|_| closable);
        let close_at = it.closable_since.map_or(NEVER, |since| since + close);
        for at in [since + alarm, close_at] {
            if at > now {
                it.next_at = it.next_at.min(at);
            }
        }
        if now - since >= alarm && !it.alarmed {
            it.alarmed = true;
            self.counters.naked_alarms += 1;
            self.account.set_naked(row, mode == GuardMode::On);
        }
        let it = &mut self.brackets.rows[row];
        if now >= close_at && !it.closing && may {
            it.closing = true;
            if mode == GuardMode::On {
                self.counters.naked_closes += 1;
                self.flatten(Some(symbol));
                // Before the close leaves that follows from it, in this same input.
                self.keep();
            } else {
                self.guards.counts[Guard::NakedPosition as usize].shadowed += 1;
            }
        }
    }
}
