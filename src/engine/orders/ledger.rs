//! The table of own orders, and how messages reach them. See `reconcile.rs` for links, lists and
//! time.

use super::cid::CidSource;
use super::index::Index;
use super::order::{Lane, Opening, Order, OrderState, UNLISTED};
use super::trades::{Seen, TradeIds, TradeLeg};
use super::{LedgerCounters, OrdersConfig};
use crate::base::ids::{Cid, OrderId, StrategyId, SymbolId};
use crate::base::limits::{LEDGER_SLOTS, ORDERS_OPEN_MAX};
use crate::base::time::{MonoNs, SpanNs, WallNs};
use crate::base::units::{Px, Qty, Side};
use crate::engine::positions::Positions;
use crate::model::{
    Ack, AckOf, Class, Fill, NewOrder, OrderFlags, OrderKind, OrderUpdate, Reason, Refusal,
    SendOutcome, SendReport, Source,
};
use std::collections::VecDeque;

/// Slot of an order in the ledger's table; valid while the order is listed or was just looked up.
pub type Slot = u16;
/// Fills that wait for their order's id to become known.
const ORPHANS_MAX: usize = 64;
/// Orders listed: alive ones and ended ones whose trades are not all here.
const LISTED_MAX: usize = 2 * ORDERS_OPEN_MAX;
const _: () = assert!(LEDGER_SLOTS > LISTED_MAX && LEDGER_SLOTS < UNLISTED as usize);

/// Why an order could not be opened. Nothing was recorded then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// `ORDERS_OPEN_MAX` orders are alive, or no slot is free.
    Full,
    /// The 45 bits of client ids are used up.
    CidSpace,
}

/// Sums of one symbol that guards read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SymbolOrders {
    /// The most that open buys can still add to the position.
    pub buy_reserve: Qty,
    /// The same of sells, unsigned.
    pub sell_reserve: Qty,
    pub alive: u16,
    /// Orders in doubt; above zero the symbol is frozen.
    pub frozen: u16,
    /// Ended orders whose trades are not all here.
    pub settling: u16,
    /// Of `frozen` those that protect: they can only close.
    pub protect_frozen: u16,
    /// What orders that protect can still close, by selling and by buying; both legs counted.
    pub protect_sell: Qty,
    pub protect_buy: Qty,
}

/// The order ledger.
pub struct Ledger {
    pub(super) config: OrdersConfig,
    pub(super) cids: CidSource,
    pub(super) orders: Box<[Order]>,
    used: usize,
    /// The slot of the next order, made free and brought near before that order comes.
    ready: Option<Slot>,
    by_cid: Index,
    by_id: Index,
    pub(super) trades: TradeIds,
    /// Slots of orders that are not done.
    pub(super) listed: Vec<Slot>,
    ended: VecDeque<Slot>,
    orphans: [Option<Fill>; ORPHANS_MAX],
    orphan_next: usize,
    symbols: Box<[SymbolOrders]>,
    pub(super) alive: usize,
    pub(super) frozen: usize,
    cancels_wanted: usize,
    pub(super) next_deadline: MonoNs,
    pub(super) round: u32,
    pub(super) round_started: MonoNs,
    pub(super) round_marks: u8,
    pub(super) snapshot: u32,
    pub(super) link_up: bool,
    pub(super) counters: LedgerCounters,
}

/// What the sums need to know of an order, before and after a change.
#[derive(Clone, Copy)]
struct Tally {
    reserve: Qty,
    state: OrderState,
    frozen: bool,
    wants_cancel: bool,
    acked: bool,
    done: bool,
}
impl Tally {
    fn of(order: &Order) -> Self {
        Self {
            reserve: order.reserve(),
            state: order.state(),
            frozen: order.is_frozen(),
            wants_cancel: order.wants_cancel(),
            acked: order.alive_seen,
            done: order.is_done(),
        }
    }
}

fn blank() -> Order {
    let new = NewOrder {
        cid: Cid::NONE,
        cid_day: WallNs(0),
        kind: OrderKind::Limit,
        wallet: crate::model::WalletKind::Margin,
        qty: Qty::ZERO,
        px: Px::ZERO,
        px_aux: Px::ZERO,
        flags: OrderFlags::NONE,
        leverage: 0,
    };
    let opening = Opening {
        symbol: SymbolId(0),
        strategy: StrategyId(0),
        lane: Lane::Once,
        class: Class::Entry,
        reason: Reason::Custom,
        replaces: Cid::NONE,
        at: MonoNs(0),
    };
    Order::new(&new, &opening)
}

impl Ledger {
    /// A ledger for a run of `symbols` instruments; all memory is taken here.
    pub fn new(config: OrdersConfig, symbols: usize) -> Self {
        Self {
            config,
            cids: CidSource::new(config.cid_used),
            orders: vec![blank(); LEDGER_SLOTS].into_boxed_slice(),
            used: 0,
            ready: None,
            by_cid: Index::new(LEDGER_SLOTS),
            by_id: Index::new(LEDGER_SLOTS),
            trades: TradeIds::new(symbols),
            // Room for all: orders that the venue brings back to life are not limited by us.
            listed: Vec::with_capacity(LEDGER_SLOTS),
            ended: VecDeque::with_capacity(LEDGER_SLOTS),
            orphans: [None; ORPHANS_MAX],
            orphan_next: 0,
            symbols: vec![SymbolOrders::default(); symbols].into_boxed_slice(),
            alive: 0,
            frozen: 0,
            cancels_wanted: 0,
            next_deadline: MonoNs(u64::MAX),
            round: 1,
            round_started: MonoNs(0),
            round_marks: 0,
            snapshot: 1,
            link_up: false,
            counters: LedgerCounters::default(),
        }
    }

    // ---- what others read ----

    /// Zeros for a symbol out of the table.
    #[inline]
    pub fn symbol(&self, symbol: SymbolId) -> SymbolOrders {
        self.symbols.get(symbol.index()).copied().unwrap_or_default()
    }
    /// Own orders alive, in every symbol.
    pub fn alive(&self) -> usize {
        self.alive
    }
    /// Orders in doubt, in every symbol.
    pub fn frozen(&self) -> usize {
        self.frozen
    }
    pub fn counters(&self) -> &LedgerCounters {
        &self.counters
    }
    /// Remembered for a long time after its end; `None` for orders never ours or forgotten.
    pub fn find(&self, cid: Cid) -> Option<&Order> {
        self.by_cid.get(cid.0).map(|slot| &self.orders[slot as usize])
    }
    pub fn find_by_id(&self, id: OrderId) -> Option<&Order> {
        self.by_id.get(id.0).map(|slot| &self.orders[slot as usize])
    }
    /// Orders alive and ended ones that wait for trades; order of the list has no meaning.
    pub fn listed(&self) -> impl Iterator<Item = (Slot, &Order)> {
        self.listed.iter().map(|slot| (*slot, &self.orders[*slot as usize]))
    }
    #[inline]
    pub fn listed_len(&self) -> usize {
        self.listed.len()
    }
    /// The order at a place of the list, for loops that change orders as they go.
    #[inline]
    pub fn listed_at(&self, place: usize) -> Option<(Slot, &Order)> {
        self.listed.get(place).map(|slot| (*slot, &self.orders[*slot as usize]))
    }
    #[inline]
    pub fn order(&self, slot: Slot) -> &Order {
        &self.orders[slot as usize]
    }
    /// Cancels that should leave; see `Order::cancel_after`.
    #[inline]
    pub fn cancels_wanted(&self) -> usize {
        self.cancels_wanted
    }
    /// The highest client id given out: to be stored for the next run.
    pub fn cid_last(&self) -> Cid {
        self.cids.last()
    }

    // ---- what risk does ----

    /// Gives a new order its client id and counts it from now on. The command may leave after this.
    ///
    /// # Errors
    /// `Full` or `CidSpace`; nothing is recorded then.
    pub fn open(
        &mut self,
        mut new: NewOrder,
        opening: &Opening,
        wall: WallNs,
    ) -> Result<(Slot, NewOrder), OpenError> {
        assert!(!new.qty.is_zero(), "an order of nothing");
        if self.alive >= ORDERS_OPEN_MAX || self.listed.len() >= LISTED_MAX {
            return Err(OpenError::Full);
        }
        let slot = self.free_slot().ok_or(OpenError::Full)?;
        let Some((cid, day)) = self.cids.next(wall) else {
            self.ready = Some(slot);
            return Err(OpenError::CidSpace);
        };
        (new.cid, new.cid_day) = (cid, day);
        let mut order = Order::new(&new, opening);
        order.made_at = wall;
        self.place(slot, order);
        self.counters.opened += 1;
        self.arm(opening.at + self.ack_timeout());
        Ok((slot, new))
    }
    /// Records that a change leaves now. The order is settled and working.
    pub fn start_amend(&mut self, slot: Slot, px: Px, qty: Qty, at: MonoNs) {
        self.touch(slot, at, |order| order.start_amend(px, qty, at));
        self.counters.amends += 1;
        self.arm(at + self.ack_timeout());
    }
    /// Records that a cancel leaves now.
    pub fn start_cancel(&mut self, slot: Slot, at: MonoNs) {
        self.touch(slot, at, |order| {
            order.cancel_wanted = true;
            order.cancel_at = Some(at);
            order.cancel_count = order.cancel_count.saturating_add(1);
            if order.unknown && order.probe_at.is_none() {
                order.probe_at = Some(at);
            }
        });
        self.counters.cancels += 1;
        self.arm(at + self.ack_timeout());
    }
    /// What the order opens is to be protected. Before its command leaves.
    pub fn set_bracketed(&mut self, slot: Slot) {
        self.orders[slot as usize].bracketed = true;
    }
    /// Marks the order for cancelling; sticky until its end.
    pub fn want_cancel(&mut self, slot: Slot, now: MonoNs) {
        if !self.orders[slot as usize].cancel_wanted {
            self.touch(slot, now, |order| order.cancel_wanted = true);
        }
    }

    // ---- messages ----

    /// An order array from any source.
    pub fn on_order(&mut self, update: &OrderUpdate, now: MonoNs, positions: &mut Positions) {
        let slot = match self.slot_of_update(update) {
            Some(slot) => slot,
            None => match self.adopt(update, now) {
                Some(slot) => slot,
                None => return,
            },
        };
        self.bind(slot, update.id, now, positions);
        let (round, snapshot, link_up) = (self.round, self.snapshot, self.link_up);
        let read_at = self.open_list_read_at();
        let retry = now + self.cancel_retry();
        self.touch(slot, now, |order| {
            order.join_array(update, now);
            order.acked_at.get_or_insert(now);
            match update.source {
                Source::Snapshot => {
                    order.seen_snapshot = snapshot;
                    order.settle_by_list(retry);
                }
                Source::RestOpen => {
                    order.seen_round = round;
                    // A list speaks only of doubts that are older than its reading.
                    if read_at.is_some_and(|at| at > order.unknown_at) {
                        order.settle_by_list(retry);
                    }
                }
                Source::RestHistory => order.seen_round = round,
                Source::New | Source::Update | Source::Closed if link_up => {
                    order.unconfirmed = false;
                    // A change or a cancel in doubt stays in doubt until its own answer or a list.
                    if order.amend.is_none() && order.cancel_at.is_none() {
                        order.unknown = false;
                        order.cancel_count = 0;
                    }
                }
                Source::New | Source::Update | Source::Closed => {}
            }
        });
    }
    /// A notification. Never an order's end, except the refusal of a new order.
    pub fn on_ack(&mut self, ack: &Ack, now: MonoNs, positions: &mut Positions) {
        let Some(slot) = self.slot_of_ack(ack) else {
            self.counters.acks_unmatched += 1;
            return;
        };
        match ack.of {
            AckOf::New => {
                if ack.success {
                    self.bind(slot, ack.id, now, positions);
                }
                self.touch(slot, now, |order| match (ack.success, ack.refusal) {
                    (true, _) => {
                        order.shown_alive(now);
                        order.acked_at.get_or_insert(now);
                        order.unknown &= order.amend.is_some() || order.cancel_at.is_some();
                    }
                    // Somebody holds our id: what became of this order is not known.
                    (false, Refusal::DuplicateCid) if order.alive_seen => {}
                    (false, Refusal::DuplicateCid) => set_unknown(order, now),
                    (false, refusal) => order.refused = Some(refusal),
                });
            }
            AckOf::Update if ack.success => self.touch(slot, now, Order::amend_acked),
            AckOf::Update => {
                self.counters.amends_refused += 1;
                self.touch(slot, now, |order| {
                    order.amend = None;
                    order.unknown &= order.cancel_at.is_some() || !order.alive_seen;
                });
                if ack.refusal == Refusal::NotFound {
                    self.expect_end(slot, now);
                }
            }
            AckOf::Cancel | AckOf::CancelMulti if ack.success => {}
            AckOf::Cancel | AckOf::CancelMulti => {
                self.counters.cancels_refused += 1;
                if ack.refusal == Refusal::NotFound {
                    self.expect_end(slot, now);
                } else {
                    let after = now + self.cancel_retry();
                    self.touch(slot, now, |order| {
                        order.cancel_at = None;
                        order.cancel_after = after;
                        // A venue that says no each time is asked by REST.
                        if order.cancel_count >= super::CANCELS_MAX {
                            set_unknown(order, now);
                        }
                    });
                }
            }
            AckOf::Other => {}
        }
    }
    /// An own trade from any source; each trade id counts once.
    pub fn on_fill(&mut self, fill: &Fill, now: MonoNs, positions: &mut Positions) {
        if fill.symbol.index() >= self.symbols.len() {
            self.counters.fills_foreign += 1;
            return;
        }
        let slot = self.slot_of_fill(fill);
        if slot.is_none() && !self.cids.is_ours(fill.cid) {
            self.keep_orphan(fill);
            return;
        }
        self.apply_fill(slot, fill, now, positions);
    }
    /// What `send` did with a command.
    pub fn on_report(&mut self, report: &SendReport, now: MonoNs) {
        let Some(slot) = self.by_cid.get(report.cid.0) else { return };
        let replaces = self.by_cid.get(self.orders[slot as usize].replaces.0);
        self.prepare_slot();
        match (report.outcome, report.of) {
            (SendOutcome::Written, _) => {}
            (SendOutcome::Broken, of) => {
                self.touch(slot, now, |order| set_unknown(order, now));
                if let (AckOf::New, Some(old)) = (of, replaces) {
                    self.touch(old, now, |order| set_unknown(order, now));
                }
            }
            (outcome, AckOf::New) => {
                self.touch(slot, now, |order| order.door = Some(outcome));
                if let Some(old) = replaces {
                    self.take_back_cancel(old, now);
                }
            }
            (_, AckOf::Update) => {
                self.counters.amends_refused += 1;
                self.touch(slot, now, |order| order.amend = None);
            }
            (_, AckOf::Cancel | AckOf::CancelMulti) => self.take_back_cancel(slot, now),
            (_, AckOf::Other) => {}
        }
    }

    // ---- inside ----

    /// A cancel that never left: it may be tried again after a while.
    fn take_back_cancel(&mut self, slot: Slot, now: MonoNs) {
        let after = now + self.cancel_retry();
        self.touch(slot, now, |order| {
            order.cancel_at = None;
            order.cancel_after = after;
            order.probe_at = None;
            // It was refused here, not by the venue: it does not count as one of `CANCELS_MAX`.
            order.cancel_count = order.cancel_count.saturating_sub(1);
        });
    }
    /// The venue says it does not hold the order. Its end must come by itself; if not, it is looked
    /// up.
    fn expect_end(&mut self, slot: Slot, now: MonoNs) {
        self.touch(slot, now, |order| {
            order.cancel_at.get_or_insert(now);
            order.cancel_count = super::CANCELS_MAX;
        });
        self.arm(now + self.ack_timeout());
    }
    pub(super) fn ack_timeout(&self) -> SpanNs {
        SpanNs::from_ms(i64::from(self.config.ack_timeout_ms))
    }
    pub(super) fn cancel_retry(&self) -> SpanNs {
        SpanNs::from_ms(i64::from(self.config.cancel_retry_ms))
    }
    pub(super) fn arm(&mut self, at: MonoNs) {
        self.next_deadline = self.next_deadline.min(at);
    }
    fn slot_of_update(&mut self, update: &OrderUpdate) -> Option<Slot> {
        if let Some(slot) = self.by_id.get(update.id.0) {
            return Some(slot);
        }
        let slot = self.by_cid.get(update.cid.0)?;
        let order = &self.orders[slot as usize];
        // Other clients of the account also number by milliseconds: the rest must fit too, and one
        // client id stands for one order.
        let fits = order.symbol == update.symbol
            && order.side == Side::of(update.original)
            && (order.id.is_none() || update.id.is_none());
        if !fits {
            self.counters.cid_conflicts += 1;
            return None;
        }
        Some(slot)
    }
    fn slot_of_ack(&self, ack: &Ack) -> Option<Slot> {
        if let Some(slot) = self.by_id.get(ack.id.0).or_else(|| self.by_cid.get(ack.cid.0)) {
            return Some(slot);
        }
        // Errors of `ou` were seen with an empty order: if one change alone is on its way, it is
        // that.
        if ack.of != AckOf::Update || !ack.id.is_none() || !ack.cid.is_none() {
            return None;
        }
        let mut amending =
            self.listed.iter().copied().filter(|slot| self.order(*slot).amend.is_some());
        let first = amending.next();
        if amending.next().is_some() { None } else { first }
    }
    fn slot_of_fill(&self, fill: &Fill) -> Option<Slot> {
        if let Some(slot) = self.by_id.get(fill.order.0) {
            return Some(slot);
        }
        let slot = self.by_cid.get(fill.cid.0)?;
        let order = self.order(slot);
        let fits = order.symbol == fill.symbol
            && order.side == Side::of(fill.qty)
            && (order.id.is_none() || fill.order.is_none() || order.id == fill.order);
        fits.then_some(slot)
    }
    /// Learns the venue's id of an order, and takes in the fills that came before it.
    fn bind(&mut self, slot: Slot, id: OrderId, now: MonoNs, positions: &mut Positions) {
        if id.is_none() || !self.orders[slot as usize].id.is_none() {
            return;
        }
        if !self.by_id.insert(id.0, slot) {
            self.counters.cid_conflicts += 1;
            return;
        }
        self.orders[slot as usize].id = id;
        for place in 0..ORPHANS_MAX {
            if let Some(fill) = self.orphans[place].filter(|fill| fill.order == id) {
                self.orphans[place] = None;
                self.apply_fill(Some(slot), &fill, now, positions);
            }
        }
    }
    /// Keeps a fill whose order is not known: it may become known by a message that comes later.
    fn keep_orphan(&mut self, fill: &Fill) {
        if self.trades.knows(TradeLeg::of(fill)) {
            return;
        }
        let same = |kept: &Fill| TradeLeg::of(kept) == TradeLeg::of(fill);
        if let Some(kept) = self.orphans.iter_mut().flatten().find(|kept| same(kept)) {
            if kept.fee.is_none() && fill.fee.is_some() {
                *kept = *fill;
            }
            return;
        }
        // Trades of this account's earlier runs are read with the history, and are no news: their
        // ids lie below the mark that this run started from.
        let of_earlier_run = |cid: Cid| !cid.is_none() && cid <= self.config.cid_used;
        if self.orphans[self.orphan_next].is_some_and(|out| !of_earlier_run(out.cid)) {
            self.counters.fills_foreign += 1;
        }
        self.orphans[self.orphan_next] = Some(*fill);
        self.orphan_next = (self.orphan_next + 1) % ORPHANS_MAX;
    }
    /// Fills that wait for an order: foreign ones, or ours before any other word of their order.
    pub fn orphans(&self) -> usize {
        self.orphans.iter().flatten().count()
    }
    fn apply_fill(
        &mut self,
        slot: Option<Slot>,
        fill: &Fill,
        now: MonoNs,
        positions: &mut Positions,
    ) {
        if let Some(slot) = slot {
            let order = self.order(slot);
            // Adopted orders: what happened before is in the venue's position already.
            if order.lane == Lane::Adopted && fill.at <= order.adopted_at {
                return;
            }
        }
        match self.trades.note(TradeLeg::of(fill), fill.fee.is_some()) {
            Seen::New => {}
            Seen::FeeOnly => return positions.on_fee(fill, now),
            Seen::Duplicate => {
                self.counters.fills_duplicate += 1;
                return;
            }
            Seen::TooOld => {
                self.counters.fills_too_old += 1;
                return;
            }
        }
        self.counters.fills += 1;
        positions.on_fill(fill, now);
        let Some(slot) = slot else {
            self.counters.fills_of_forgotten += 1;
            self.counters.orders_traded += 1;
            return;
        };
        self.counters.orders_traded += u64::from(self.order(slot).traded.is_zero());
        self.bind(slot, fill.order, now, positions);
        let (round, link_up) = (self.round, self.link_up);
        self.touch(slot, now, |order| {
            let value = i128::from(fill.qty.abs().raw()) * i128::from(fill.px.raw());
            order.traded = order.traded.saturating_add(fill.qty.abs());
            order.traded_value = order.traded_value.saturating_add(value);
            order.shown_alive(now);
            order.seen_round = round;
            if link_up && !order.unconfirmed && order.amend.is_none() && order.cancel_at.is_none() {
                order.unknown = false;
            }
        });
        let order = self.order(slot);
        let most = order.amend.map_or(order.bound, |a| order.bound.saturating_add(a.qty));
        if order.traded > most && !order.amended {
            self.counters.overfills += 1;
        }
    }
    /// Takes over an order of an earlier run, recognised by the run's group id; counts others as
    /// foreign.
    fn adopt(&mut self, update: &OrderUpdate, now: MonoNs) -> Option<Slot> {
        if self.cids.is_ours(update.cid) {
            self.counters.updates_of_forgotten += 1;
            return None;
        }
        let ours = self.config.gid != 0 && update.gid == self.config.gid;
        let ended =
            update.status.is_end() || matches!(update.source, Source::Closed | Source::RestHistory);
        let known_symbol = update.symbol.index() < self.symbols.len();
        let empty = update.remaining.is_zero() || update.id.is_none();
        if !ours || ended || !known_symbol || empty {
            self.counters.updates_foreign += u64::from(!ours);
            return None;
        }
        if self.alive >= ORDERS_OPEN_MAX || self.listed.len() >= LISTED_MAX {
            return None;
        }
        let slot = self.free_slot()?;
        let new = NewOrder {
            cid: update.cid,
            cid_day: WallNs(update.created_at.utc_day() * crate::base::time::DAY_NS),
            kind: update.kind,
            wallet: update.wallet,
            qty: update.remaining,
            px: update.px,
            px_aux: Px::ZERO,
            flags: update.flags,
            leverage: 0,
        };
        let opening = Opening {
            symbol: update.symbol,
            strategy: super::STRATEGY_ADOPTED,
            lane: Lane::Adopted,
            class: if update.flags.has(OrderFlags::REDUCE_ONLY) {
                Class::Close
            } else {
                Class::Entry
            },
            reason: Reason::Custom,
            replaces: Cid::NONE,
            at: now,
        };
        let mut order = Order::new(&new, &opening);
        order.adopt(update);
        self.place(slot, order);
        self.counters.adopted += 1;
        Some(slot)
    }
    /// A slot that nobody needs any more; the order that ended first is forgotten.
    fn free_slot(&mut self) -> Option<Slot> {
        self.ready.take().or_else(|| self.find_free_slot())
    }
    /// Between orders: finds the slot of the next one and reads it, so that its lines are in the
    /// cache when an order waits for them. The table is larger than the second-level cache, and the
    /// slot that is used next is the one that was not touched for longest.
    fn prepare_slot(&mut self) {
        if self.ready.is_none() {
            self.ready = self.find_free_slot();
        }
        if let Some(slot) = self.ready {
            let order = &self.orders[slot as usize];
            std::hint::black_box(*order);
        }
    }
    fn find_free_slot(&mut self) -> Option<Slot> {
        if self.used < LEDGER_SLOTS {
            self.used += 1;
            return Some((self.used - 1) as Slot);
        }
        while let Some(slot) = self.ended.pop_front() {
            let order = &mut self.orders[slot as usize];
            order.in_ended_queue = false;
            if order.listed_at == UNLISTED {
                let (cid, id) = (order.cid, order.id);
                self.by_cid.remove(cid.0);
                self.by_id.remove(id.0);
                self.counters.forgotten += 1;
                return Some(slot);
            }
        }
        None
    }
    fn place(&mut self, slot: Slot, order: Order) {
        self.orders[slot as usize] = order;
        if !order.cid.is_none() && !self.by_cid.insert(order.cid.0, slot) {
            assert!(order.lane == Lane::Adopted, "a client id is given out once");
            self.orders[slot as usize].cid = Cid::NONE;
        }
        self.alive += 1;
        self.counters.entered(order.state());
        let sums = &mut self.symbols[order.symbol.index()];
        sums.alive += 1;
        add_reserve(sums, order.side, order.is_protective(), (Qty::ZERO, order.reserve()));
        self.list(slot);
    }
    fn list(&mut self, slot: Slot) {
        self.orders[slot as usize].listed_at = self.listed.len() as u16;
        self.listed.push(slot);
    }
    fn unlist(&mut self, slot: Slot, now: MonoNs) {
        let place = self.orders[slot as usize].listed_at as usize;
        self.listed.swap_remove(place);
        if let Some(moved) = self.listed.get(place) {
            self.orders[*moved as usize].listed_at = place as u16;
        }
        let order = &mut self.orders[slot as usize];
        order.listed_at = UNLISTED;
        order.ended_at = now;
        if !order.in_ended_queue {
            order.in_ended_queue = true;
            self.ended.push_back(slot);
        }
    }
    /// Every change of an order goes through here, so that the sums are always those of the orders.
    pub(super) fn touch(&mut self, slot: Slot, now: MonoNs, change: impl FnOnce(&mut Order)) {
        let order = &mut self.orders[slot as usize];
        let before = Tally::of(order);
        change(order);
        let after = Tally::of(order);
        let (symbol, side, protects) = (order.symbol, order.side, order.is_protective());
        let (was_alive, alive) = (!before.state.is_end(), !after.state.is_end());
        let sums = &mut self.symbols[symbol.index()];
        add_reserve(sums, side, protects, (before.reserve, after.reserve));
        if was_alive != alive {
            (self.alive, sums.alive) = if alive {
                (self.alive + 1, sums.alive + 1)
            } else {
                (self.alive - 1, sums.alive - 1)
            };
        }
        if before.frozen != after.frozen {
            (self.frozen, sums.frozen) = if after.frozen {
                self.counters.unknown += 1;
                (self.frozen + 1, sums.frozen + 1)
            } else {
                (self.frozen - 1, sums.frozen - 1)
            };
            if protects {
                sums.protect_frozen =
                    if after.frozen { sums.protect_frozen + 1 } else { sums.protect_frozen - 1 };
            }
        }
        if before.wants_cancel != after.wants_cancel {
            self.cancels_wanted =
                if after.wants_cancel { self.cancels_wanted + 1 } else { self.cancels_wanted - 1 };
        }
        let (was_settling, settling) = (!was_alive && !before.done, !alive && !after.done);
        if was_settling != settling {
            sums.settling = if settling { sums.settling + 1 } else { sums.settling - 1 };
        }
        self.counters.acked += u64::from(after.acked && !before.acked);
        if before.state != after.state {
            self.counters.state_changed(before.state, after.state);
            if after.state.is_end() {
                self.orders[slot as usize].ended_at = now;
            }
        }
        if before.done && !after.done {
            self.list(slot);
        } else if !before.done && after.done {
            self.unlist(slot, now);
        }
    }
}

pub(super) fn set_unknown(order: &mut Order, now: MonoNs) {
    if !order.unknown {
        order.unknown = true;
        order.unknown_at = now;
        order.probe_at = None;
        order.absent_rounds = 0;
    }
}

fn add_reserve(sums: &mut SymbolOrders, side: Side, protects: bool, (before, after): (Qty, Qty)) {
    let sum = match (side, protects) {
        (Side::Buy, false) => &mut sums.buy_reserve,
        (Side::Sell, false) => &mut sums.sell_reserve,
        (Side::Buy, true) => &mut sums.protect_buy,
        (Side::Sell, true) => &mut sums.protect_sell,
    };
    *sum = sum.saturating_sub(before).saturating_add(after);
}
