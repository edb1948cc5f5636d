//! One order as a set of facts. Facts only join (a newer array replaces an older one, an end stays
//! an end), and the state is derived from them; so the order in which messages arrive does not
//! matter.

use crate::base::ids::{Cid, OrderId, StrategyId, SymbolId};
use crate::base::time::{MonoNs, WallNs};
use crate::base::units::{Px, Qty, Side};
use crate::model::{
    Class, OrderFlags, OrderKind, OrderStatus, OrderUpdate, Reason, Refusal, SendOutcome, Source,
};

/// What the facts add up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum OrderState {
    /// Recorded, perhaps on its way; the venue has not answered.
    Sending,
    Working,
    PartlyFilled,
    /// A change is on its way.
    AmendPending,
    /// A cancel is on its way; the order can still fill.
    CancelPending,
    /// The outcome of the last request is not known, or the link was down since. Freezes the
    /// symbol.
    Unknown,
    // Ends.
    Filled,
    Cancelled,
    Rejected,
    /// Refused at our own door; no byte left.
    NotSent,
    /// Found nowhere, after a cancel and two full reconciles.
    Absent,
}
impl OrderState {
    pub const COUNT: usize = 11;
    pub const fn is_end(self) -> bool {
        matches!(
            self,
            OrderState::Filled
                | OrderState::Cancelled
                | OrderState::Rejected
                | OrderState::NotSent
                | OrderState::Absent
        )
    }
    pub const fn name(self) -> &'static str {
        match self {
            OrderState::Sending => "sending",
            OrderState::Working => "working",
            OrderState::PartlyFilled => "partly-filled",
            OrderState::AmendPending => "amend-pending",
            OrderState::CancelPending => "cancel-pending",
            OrderState::Unknown => "unknown",
            OrderState::Filled => "filled",
            OrderState::Cancelled => "cancelled",
            OrderState::Rejected => "rejected",
            OrderState::NotSent => "not-sent",
            OrderState::Absent => "absent",
        }
    }
}

/// Which intent made the order; intents manage only orders of their own lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Lane {
    Once,
    Target,
    Quote,
    Flatten,
    /// Of an earlier run, recognised by the group id.
    Adopted,
    /// A leg of a bracket: reduce-only, as large as the position.
    Protect,
}

/// The newest order array of the venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    pub updated_at: WallNs,
    pub source: Source,
    pub status: OrderStatus,
    /// Unsigned.
    pub remaining: Qty,
    /// Unsigned.
    pub original: Qty,
    pub px: Px,
}

/// A change that is on its way. At most one an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amend {
    pub px: Px,
    /// Unsigned, new remaining.
    pub qty: Qty,
    pub at: MonoNs,
    /// Price and time of the array it changes.
    base_px: Px,
    base_at: WallNs,
    acked: bool,
}

/// One own order. Quantities are unsigned, `side` has the direction.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    pub cid: Cid,
    pub cid_day: WallNs,
    pub id: OrderId,
    pub symbol: SymbolId,
    pub strategy: StrategyId,
    pub lane: Lane,
    pub side: Side,
    pub class: Class,
    pub reason: Reason,
    pub kind: OrderKind,
    pub flags: OrderFlags,
    /// As first asked.
    pub asked_px: Px,
    pub asked_qty: Qty,
    /// The order this one takes the place of.
    pub replaces: Cid,
    pub sent_at: MonoNs,
    /// The same by the wall clock; of adopted orders as the venue says.
    pub made_at: WallNs,
    /// Sum of distinct trades.
    pub traded: Qty,
    /// Σ |qty| × px of them, 1e-16 quote.
    pub traded_value: i128,
    pub view: Option<View>,
    pub end: Option<View>,
    pub refused: Option<Refusal>,
    /// Refused at the door.
    pub door: Option<SendOutcome>,
    pub amend: Option<Amend>,
    pub unknown: bool,
    /// Since when it is in doubt, for `unknown_absent_after_s` and for lists.
    pub unknown_at: MonoNs,
    /// The link was down since the venue last confirmed it.
    pub unconfirmed: bool,
    /// Somebody wants it gone; sticky until its end.
    pub cancel_wanted: bool,
    /// What it opens is to be protected.
    pub bracketed: bool,
    /// Of the cancel that is on its way.
    pub cancel_at: Option<MonoNs>,
    pub cancel_count: u8,
    /// No cancel before this.
    pub cancel_after: MonoNs,
    /// Upper bound of all that it can ever fill, amends that arrived included.
    pub(super) bound: Qty,
    /// The venue has shown that the order exists or existed.
    pub(super) alive_seen: bool,
    pub(super) absent: bool,
    /// Missing fills were given up.
    pub(super) fills_waived: bool,
    pub(super) amended: bool,
    last_amend_px: Px,
    /// First cancel sent while unknown.
    pub(super) probe_at: Option<MonoNs>,
    pub(super) absent_rounds: u8,
    /// Reconcile rounds and snapshots it was last seen in.
    pub(super) seen_round: u32,
    pub(super) seen_snapshot: u32,
    pub(super) unseen_rounds: u8,
    pub(super) acked_at: Option<MonoNs>,
    pub(super) ended_at: MonoNs,
    /// Trades up to this are in the venue's position already (adopted orders only).
    pub(super) adopted_at: WallNs,
    pub(super) listed_at: u16,
    pub(super) in_ended_queue: bool,
}

/// Place in no list.
pub(super) const UNLISTED: u16 = u16::MAX;

/// What is needed to open an order, beside the message itself.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    pub symbol: SymbolId,
    pub strategy: StrategyId,
    pub lane: Lane,
    pub class: Class,
    pub reason: Reason,
    pub replaces: Cid,
    pub at: MonoNs,
}

impl Order {
    pub(super) fn new(new: &crate::model::NewOrder, opening: &Opening) -> Self {
        Self {
            cid: new.cid,
            cid_day: new.cid_day,
            id: OrderId::NONE,
            symbol: opening.symbol,
            strategy: opening.strategy,
            lane: opening.lane,
            side: Side::of(new.qty),
            class: opening.class,
            reason: opening.reason,
            kind: new.kind,
            flags: new.flags,
            asked_px: new.px,
            asked_qty: new.qty.abs(),
            replaces: opening.replaces,
            sent_at: opening.at,
            made_at: WallNs(0),
            traded: Qty::ZERO,
            traded_value: 0,
            view: None,
            end: None,
            refused: None,
            door: None,
            amend: None,
            unknown: false,
            unknown_at: MonoNs(0),
            unconfirmed: false,
            cancel_wanted: false,
            bracketed: false,
            cancel_at: None,
            cancel_count: 0,
            cancel_after: MonoNs(0),
            bound: new.qty.abs(),
            alive_seen: false,
            absent: false,
            fills_waived: false,
            amended: false,
            last_amend_px: Px::ZERO,
            probe_at: None,
            absent_rounds: 0,
            seen_round: 0,
            seen_snapshot: 0,
            unseen_rounds: 0,
            acked_at: None,
            ended_at: MonoNs(0),
            adopted_at: WallNs(0),
            listed_at: UNLISTED,
            in_ended_queue: false,
        }
    }

    /// The derived state.
    pub fn state(&self) -> OrderState {
        if let Some(end) = self.end {
            return match end.status {
                OrderStatus::Executed | OrderStatus::Forced => OrderState::Filled,
                _ if end.remaining.is_zero() && !end.original.is_zero() => OrderState::Filled,
                OrderStatus::Insufficient | OrderStatus::Refused
                    if end.remaining == end.original =>
                {
                    OrderState::Rejected
                }
                _ => OrderState::Cancelled,
            };
        }
        if self.absent {
            return OrderState::Absent;
        }
        if !self.alive_seen {
            if self.refused.is_some() {
                return OrderState::Rejected;
            }
            if self.door.is_some() {
                return OrderState::NotSent;
            }
        }
        if self.unknown || self.unconfirmed {
            OrderState::Unknown
        } else if self.cancel_at.is_some() {
            OrderState::CancelPending
        } else if self.amend.is_some() {
            OrderState::AmendPending
        } else if !self.alive_seen {
            OrderState::Sending
        } else if self.traded.is_zero() {
            OrderState::Working
        } else {
            OrderState::PartlyFilled
        }
    }
    pub fn is_alive(&self) -> bool {
        !self.state().is_end()
    }
    /// A leg of a bracket, of this run or, by its looks, of an earlier one. It can only close, so
    /// it reserves nothing.
    #[inline]
    pub fn is_protective(&self) -> bool {
        match self.lane {
            Lane::Protect => true,
            Lane::Adopted => {
                self.flags.has(OrderFlags::REDUCE_ONLY)
                    && matches!(self.kind, OrderKind::Limit | OrderKind::Stop)
            }
            _ => false,
        }
    }
    /// The venue has shown that it exists or existed.
    pub fn acked_by_venue(&self) -> bool {
        self.alive_seen
    }
    /// Fills that an array has shown and no trade has told yet, unsigned.
    pub fn untold(&self) -> Qty {
        if !self.is_alive() {
            return self.reserve();
        }
        // Of an earlier run's orders the first fills were told then.
        let view = self.view.filter(|_| self.lane != Lane::Adopted);
        view.map_or(Qty::ZERO, |view| less(less(view.original, view.remaining), self.traded))
    }
    /// Alive, and its true state is in doubt.
    pub fn is_frozen(&self) -> bool {
        (self.unknown || self.unconfirmed) && self.is_alive()
    }
    /// Price it rests at, as last told by the venue, else as asked.
    pub fn px(&self) -> Px {
        self.view.map(|v| v.px).filter(|px| !px.is_zero()).unwrap_or(self.asked_px)
    }
    /// Average price of its trades; zero before the first.
    pub fn px_avg(&self) -> Px {
        match self.traded.raw() {
            0 => Px::ZERO,
            qty => Px::from_raw((self.traded_value / i128::from(qty)) as i64),
        }
    }
    /// What is left to fill as far as is known, unsigned; zero after its end.
    pub fn remaining(&self) -> Qty {
        if !self.is_alive() {
            return Qty::ZERO;
        }
        let by_trades = less(self.bound, self.traded);
        self.view.map_or(by_trades, |view| view.remaining.min(by_trades))
    }
    /// The most that this order can still add to the position, unsigned. While a change is on its
    /// way both sizes count: the old one may fill whole before the new one takes its place. After
    /// the end: what the venue has filled but whose trades have not arrived.
    pub fn reserve(&self) -> Qty {
        let rest = less(self.bound, self.traded);
        if let Some(end) = self.end {
            let filled = less(self.bound, end.remaining);
            return if self.fills_waived { Qty::ZERO } else { less(filled, self.traded) };
        }
        if !self.is_alive() {
            return Qty::ZERO;
        }
        let rest = self.view.map_or(rest, |view| rest.max(view.remaining));
        self.amend.map_or(rest, |amend| rest.saturating_add(amend.qty))
    }
    /// Ended, and every fill accounted for.
    pub fn is_done(&self) -> bool {
        !self.is_alive() && self.reserve().is_zero()
    }
    /// True where a cancel should leave as soon as its time has come. After `CANCELS_MAX` in a row
    /// the wish stays, and waits for a word of the venue that shows the order alive.
    pub fn wants_cancel(&self) -> bool {
        self.cancel_wanted
            && self.cancel_at.is_none()
            && self.cancel_count < super::CANCELS_MAX
            && self.is_alive()
    }
    /// True where nothing is on its way and the state is certain: it may be changed.
    pub fn is_settled_working(&self) -> bool {
        !self.cancel_wanted
            && matches!(self.state(), OrderState::Working | OrderState::PartlyFilled)
            && !self.id.is_none()
    }

    /// The venue shows that the order exists. One that was given up comes back, in doubt.
    pub(super) fn shown_alive(&mut self, now: MonoNs) {
        self.alive_seen = true;
        if self.absent {
            self.absent = false;
            self.unknown = true;
            self.unknown_at = now;
            self.absent_rounds = 0;
            // Nobody counts on it any more.
            self.cancel_wanted = true;
            self.cancel_at = None;
            self.cancel_count = 0;
        }
    }
    /// Joins an order array.
    pub(super) fn join_array(&mut self, update: &OrderUpdate, now: MonoNs) {
        self.shown_alive(now);
        let view = View {
            updated_at: update.updated_at,
            source: update.source,
            status: update.status,
            remaining: update.remaining.abs(),
            original: update.original.abs(),
            px: update.px,
        };
        let ends =
            update.status.is_end() || matches!(update.source, Source::Closed | Source::RestHistory);
        if let Some(amend) = self.amend {
            // Not older than what was changed: a late copy from before must not pass for the
            // answer.
            let moved = amend.px != amend.base_px && view.updated_at >= amend.base_at;
            if view.px == amend.px && (moved || (ends && view.updated_at > amend.base_at)) {
                self.take_amend(&view);
            }
        }
        if ends {
            self.amend = None;
            let newer = |old: &View| key_of_end(&view) > key_of_end(old);
            if self.end.as_ref().is_none_or(newer) {
                self.end = Some(view);
            }
            return;
        }
        let newer = |old: &View| self.key_of(&view) > self.key_of(old);
        if self.view.as_ref().is_none_or(newer) {
            self.view = Some(view);
            // A change of size alone may pass for done before its own array comes: this is it.
            if self.amended && self.amend.is_none() {
                self.bound = self.bound.max(view.original).max(view.remaining);
            }
        }
        self.finish_same_px_amend();
    }
    /// The later one wins; in one millisecond the one at the newest price, then the one that filled
    /// more.
    fn key_of(&self, view: &View) -> (WallNs, bool, bool, std::cmp::Reverse<Qty>) {
        let amended = self.amended || self.amend.is_some();
        let at_new_px = amended && view.px == self.last_amend_px;
        let later = view.source != Source::New;
        (view.updated_at, at_new_px, later, std::cmp::Reverse(view.remaining))
    }
    /// The change has arrived. The venue's original is what was filled before plus the new size;
    /// where it is not, `reserve` still counts what remains. (What was traded by now must not enter
    /// here: the array may be older than the trades.)
    fn take_amend(&mut self, view: &View) {
        self.bound = view.original.max(view.remaining);
        self.amended = true;
        self.amend = None;
    }
    /// A change of size alone shows no new price: it needs the acknowledgement, or exactly the new
    /// size.
    fn finish_same_px_amend(&mut self) {
        if let (Some(amend), Some(view)) = (self.amend, self.view) {
            let newer = view.updated_at > amend.base_at;
            // Asked for before any array was here: the first one may be of the order as it was.
            let acked = amend.acked && amend.base_at != NO_ARRAY;
            let is_new_size = view.remaining == amend.qty || view.original == amend.qty;
            if amend.px == amend.base_px && newer && (acked || is_new_size) {
                self.take_amend(&view);
            }
        }
    }
    pub(super) fn start_amend(&mut self, px: Px, qty: Qty, at: MonoNs) {
        assert!(self.amend.is_none(), "one change at a time");
        self.last_amend_px = px;
        let base_at = self.view.map_or(NO_ARRAY, |view| view.updated_at);
        self.amend =
            Some(Amend { px, qty: qty.abs(), at, base_px: self.px(), base_at, acked: false });
    }
    /// The venue took the change; it counts as done once an array shows it.
    pub(super) fn amend_acked(&mut self) {
        if let Some(amend) = &mut self.amend {
            amend.acked = true;
        }
        self.finish_same_px_amend();
    }
    /// An open-order list shows the order alive: what was in doubt is decided. A change that the
    /// list does not show may still arrive, so its size goes on counting, and the order is better
    /// cancelled. A cancel that did not work may be said again from `retry_at` on.
    pub(super) fn settle_by_list(&mut self, retry_at: MonoNs) {
        if !(self.unknown || self.unconfirmed) || self.end.is_some() {
            return;
        }
        if let (Some(amend), Some(view)) = (self.amend, self.view) {
            let kept = self.bound;
            let shown = view.px == amend.px && view.remaining == amend.qty;
            self.take_amend(&view);
            if !shown {
                self.bound = self.bound.max(kept).saturating_add(amend.qty);
                self.cancel_wanted = true;
            }
        }
        if self.cancel_at.take().is_some() || self.cancel_count > 0 {
            self.cancel_after = retry_at;
            self.cancel_count = 0;
        }
        self.unknown = false;
        self.unconfirmed = false;
        self.probe_at = None;
        self.absent_rounds = 0;
        self.unseen_rounds = 0;
    }
}

/// Time of an array that is not there: before all others.
const NO_ARRAY: WallNs = WallNs(i64::MIN);

/// Ends are absorbing; of two, the later one has the say, so that the order of arrival does not.
fn key_of_end(view: &View) -> (WallNs, u8, std::cmp::Reverse<Qty>) {
    (view.updated_at, view.status as u8, std::cmp::Reverse(view.remaining))
}

/// `a − b`, not below zero.
pub(super) fn less(a: Qty, b: Qty) -> Qty {
    a.saturating_sub(b).max(Qty::ZERO)
}
