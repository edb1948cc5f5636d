//! What the ledger concludes from links, from complete lists, and from the passing of time.
//!
//! A *round* is one complete reading by REST: open orders, history and trades, each between its
//! begin and end mark, closed by `LinkState::Reconciled`. Only a round that began after a fact can
//! speak of it; so a begin mark must enter the line when its request leaves, not when its reply
//! comes.

use super::CANCELS_MAX;
use super::ledger::{Ledger, Slot, set_unknown};
use super::order::{Order, View};
use crate::base::time::{MonoNs, SpanNs, WallNs};
use crate::base::units::Qty;
use crate::model::{
    LinkEvent, LinkState, OrderStatus, OrderUpdate, SnapshotMark, SnapshotOf, Source,
};

/// Full rounds in which an unknown order must be missing.
const ABSENT_ROUNDS: u8 = 2;
/// Full rounds in which a working order must be missing to come into doubt; one may be a race.
const UNSEEN_ROUNDS: u8 = 2;
const MARKS_ENDED: u8 = 0b111_000;

impl Ledger {
    /// Follows the trading link and closes reconcile rounds.
    pub fn on_link(&mut self, link: &LinkEvent, now: MonoNs) {
        match link.state {
            LinkState::Down if link.trading => {
                self.link_up = false;
                self.round_marks = 0;
                self.each_listed(now, |order, _| {
                    let in_flight = !order.alive_seen || order.amend.is_some();
                    if in_flight || order.cancel_at.is_some() {
                        set_unknown(order, now);
                    }
                    if !order.unconfirmed {
                        order.unconfirmed = true;
                        order.unknown_at = now;
                    }
                    // A cancel on its way may be lost; it is safe to say it again later.
                    order.cancel_at = None;
                    order.cancel_count = 0;
                    order.probe_at = None;
                });
            }
            LinkState::Authenticated if link.trading => {
                self.link_up = true;
                self.round_marks = 0;
            }
            LinkState::Reconciled => self.finish_round(now),
            LinkState::ReconcileFailed => {
                self.round_marks = 0;
                self.round += 1;
            }
            _ => {}
        }
    }
    /// Begin and end marks of lists.
    pub fn on_snapshot(&mut self, mark: &SnapshotMark, now: MonoNs) {
        let bit = match mark.of {
            SnapshotOf::Orders if !mark.end => {
                self.snapshot += 1;
                return;
            }
            SnapshotOf::Orders => return self.finish_snapshot(now),
            SnapshotOf::RestOrders => 0b001,
            SnapshotOf::RestHistory => 0b010,
            SnapshotOf::RestTrades => 0b100,
            SnapshotOf::Positions | SnapshotOf::Wallets | SnapshotOf::RestPositions => return,
        };
        if !mark.end {
            if self.round_marks == 0 {
                self.round_started = now;
            }
            self.round_marks |= bit;
        } else if self.round_marks & bit != 0 {
            self.round_marks |= bit << 3;
        }
    }
    /// Orders, history and trades have all been read whole, asked for since the last round and
    /// log-in.
    pub fn is_round_full(&self) -> bool {
        self.round_marks & MARKS_ENDED == MARKS_ENDED
    }
    /// When the open-order list that is arriving now was asked for; `None` outside its marks, and
    /// while the link is down: what happens after the reading of such a list nobody tells us.
    pub(super) fn open_list_read_at(&self) -> Option<MonoNs> {
        let is_arriving = self.round_marks & 0b001_001 == 0b000_001;
        (is_arriving && self.link_up).then_some(self.round_started)
    }
    /// When the oldest order that is not done was made, as the wall clock said: histories are read
    /// by the time an order was made, not by its end.
    pub fn oldest_made_at(&self) -> Option<WallNs> {
        self.listed.iter().map(|slot| self.order(*slot).made_at).min()
    }
    /// The venue's list at log-in is complete: what it does not show is in doubt, for only the
    /// history knows how it ended.
    fn finish_snapshot(&mut self, now: MonoNs) {
        let snapshot = self.snapshot;
        self.each_listed(now, |order, _| {
            // What was confirmed since the link came up is newer than the list.
            if order.seen_snapshot != snapshot && (order.unconfirmed || order.unknown) {
                set_unknown(order, now);
                order.cancel_wanted = true;
            }
        });
    }
    fn finish_round(&mut self, now: MonoNs) {
        if self.is_round_full() {
            let (round, started, link_up) = (self.round, self.round_started, self.link_up);
            let absent_after = SpanNs::from_s(i64::from(self.config.unknown_absent_after_s));
            self.each_listed(now, |order, counters| {
                let seen = order.seen_round == round;
                if order.is_frozen() {
                    if seen || order.unknown_at >= started {
                        return;
                    }
                    set_unknown(order, now);
                    if order.traded >= order.bound && order.amend.is_none() {
                        // Not open, and its trades are all here: it was executed.
                        order.end = Some(order.executed_view());
                        counters.filled_by_trades += 1;
                        return;
                    }
                    if order.probe_at.is_some_and(|at| at < started) {
                        order.absent_rounds = order.absent_rounds.saturating_add(1);
                        if order.absent_rounds >= ABSENT_ROUNDS
                            && now - order.unknown_at >= absent_after
                        {
                            order.absent = true;
                            counters.absent += 1;
                        }
                    } else if link_up && order.probe_at.is_none() {
                        // Cancels from before the doubt do not count: one more, whatever their
                        // number.
                        order.cancel_count = order.cancel_count.min(CANCELS_MAX - 1);
                        order.cancel_wanted = true;
                    }
                } else if !seen && order.acked_at.is_some_and(|at| at < started) {
                    order.unseen_rounds += 1;
                    if order.unseen_rounds >= UNSEEN_ROUNDS {
                        set_unknown(order, now);
                    }
                } else {
                    order.unseen_rounds = 0;
                }
            });
            self.each_settling(now, |order| order.ended_at < started);
        }
        self.round_marks = 0;
        self.round += 1;
    }
    /// Looks at time-outs; one comparison when none is due.
    #[inline]
    pub fn on_time(&mut self, now: MonoNs) {
        if now >= self.next_deadline {
            self.time_outs(now);
        }
    }
    /// Earliest time at which `on_time` may have something to do.
    #[inline]
    pub fn next_time(&self) -> MonoNs {
        self.next_deadline
    }
    #[cold]
    fn time_outs(&mut self, now: MonoNs) {
        let (timeout, retry) = (self.ack_timeout(), self.cancel_retry());
        let link_up = self.link_up;
        let mut next = MonoNs(u64::MAX);
        self.each_listed(now, |order, counters| {
            let mut due = |since: MonoNs| {
                let at = since + timeout;
                if at > now {
                    next = next.min(at);
                }
                at <= now
            };
            // Whether or not a cancel of it is on its way too.
            let unanswered = !order.alive_seen && !order.unknown;
            let new_due = unanswered && due(order.sent_at);
            let amend_due = !order.unknown && order.amend.is_some_and(|amend| due(amend.at));
            let cancel_due = order.cancel_at.is_some_and(due);
            if cancel_due {
                order.cancel_at = None;
                order.cancel_after = now + retry;
            }
            if new_due || amend_due || cancel_due {
                counters.ack_timeouts += 1;
                set_unknown(order, now);
                // In doubt and reachable: better gone than doubtful.
                order.cancel_wanted |= link_up;
            }
        });
        let wait = SpanNs::from_ms(i64::from(self.config.fill_wait_ms));
        for place in 0..self.listed.len() {
            let order = self.order(self.listed[place]);
            if !order.is_alive() && order.amended && order.ended_at + wait > now {
                next = next.min(order.ended_at + wait);
            }
        }
        self.each_settling(now, |order| order.amended && order.ended_at + wait <= now);
        self.next_deadline = next;
    }
    /// Changes every alive order; the list may shrink under the loop, hence backwards.
    fn each_listed(
        &mut self,
        now: MonoNs,
        mut change: impl FnMut(&mut Order, &mut super::LedgerCounters),
    ) {
        for place in (0..self.listed.len()).rev() {
            let slot: Slot = self.listed[place];
            if self.order(slot).is_alive() {
                let mut counters = self.counters;
                self.touch(slot, now, |order| change(order, &mut counters));
                self.add_counted(&counters);
            }
        }
    }
    /// Gives up waiting for trades of ended orders that `is_over` names.
    fn each_settling(&mut self, now: MonoNs, is_over: impl Fn(&Order) -> bool) {
        for place in (0..self.listed.len()).rev() {
            let slot: Slot = self.listed[place];
            let order = self.order(slot);
            if !order.is_alive() && is_over(order) {
                self.touch(slot, now, |order| order.fills_waived = true);
                self.counters.fills_waived += 1;
            }
        }
    }
    /// Takes over what a change counted; `touch` has counted states meanwhile.
    fn add_counted(&mut self, counted: &super::LedgerCounters) {
        self.counters.ack_timeouts = counted.ack_timeouts;
        self.counters.absent = counted.absent;
        self.counters.filled_by_trades = counted.filled_by_trades;
    }
    /// True while somebody should read orders, history and trades by REST.
    pub fn wants_reconcile(&self) -> bool {
        self.frozen > 0
    }
}

impl Order {
    /// The end of an order that nobody reported but whose trades are complete. Its time is the
    /// lowest there is, so that a report that comes after all has the say.
    fn executed_view(&self) -> View {
        View {
            updated_at: WallNs(i64::MIN),
            source: Source::RestHistory,
            status: OrderStatus::Executed,
            remaining: Qty::ZERO,
            original: self.bound,
            px: self.px(),
        }
    }
    /// Starts from what the venue says now: earlier fills are in its position already.
    pub(super) fn adopt(&mut self, update: &OrderUpdate) {
        self.adopted_at = update.updated_at;
        self.made_at = update.created_at;
    }
}
