//! One claim a test: what each message changes and what it must leave alone. They stand here
//! because a line of the ledger could be broken and no other test noticed.

use super::*;
use crate::base::limits::{LEDGER_SLOTS, ORDERS_OPEN_MAX};

mod time_tests;

const RETRY: SpanNs = SpanNs::from_ms(1_000);

/// An order that rests, with its venue.
fn working(b: &mut Bench, qty: i64) -> (Slot, Venue) {
    let slot = b.open(qty, 100);
    let mut v = Venue::of(b, slot);
    let array = v.array(Source::New, OrderStatus::Active);
    b.feed(array);
    assert_eq!(b.state(slot), OrderState::Working);
    (slot, v)
}
/// An order without an answer.
fn doubtful(b: &mut Bench) -> (Slot, Venue) {
    let slot = b.open(1, 100);
    b.pass(5_000);
    assert_eq!(b.state(slot), OrderState::Unknown);
    (slot, Venue::of(b, slot))
}
fn ack(of: AckOf, refusal: Refusal, v: &Venue) -> Message {
    let success = refusal == Refusal::None;
    M::Ack(Ack { of, success, refusal, symbol: SYMBOL, id: v.id, cid: v.cid })
}
fn report(of: AckOf, outcome: SendOutcome, v: &Venue) -> Message {
    M::Report(SendReport { outcome, of, symbol: SYMBOL, cid: v.cid })
}
fn empty_list_at_log_in(b: &mut Bench) {
    b.feed(link(LinkState::Authenticated));
    b.feed(mark(SnapshotOf::Orders, false));
    b.feed(mark(SnapshotOf::Orders, true));
}
/// What an array says, changed.
fn with(message: Message, change: impl FnOnce(&mut OrderUpdate)) -> Message {
    let M::Order(mut update) = message else { panic!("not an array") };
    change(&mut update);
    M::Order(update)
}
fn fill_with(message: Message, change: impl FnOnce(&mut Fill)) -> Message {
    let M::Fill(mut fill) = message else { panic!("not a fill") };
    change(&mut fill);
    M::Fill(fill)
}

// ---- sums and counters ----

#[test]
fn the_numbers_over_all_orders_are_those_of_each() {
    let mut b = Bench::new();
    let slots: Vec<Slot> = (0..3).map(|_| b.open(1, 100)).collect();
    assert_eq!(b.ledger.counters().in_state(OrderState::Sending), 3);
    assert_eq!((b.ledger.alive(), b.ledger.frozen(), b.ledger.cancels_wanted()), (3, 0, 0));
    b.pass(5_000);
    assert_eq!(b.ledger.counters().in_state(OrderState::Sending), 0);
    assert_eq!(b.ledger.counters().in_state(OrderState::Unknown), 3);
    assert_eq!(b.ledger.counters().ack_timeouts, 3);
    assert_eq!((b.ledger.alive(), b.ledger.frozen(), b.ledger.cancels_wanted()), (3, 3, 3));
    assert_eq!(b.ledger.counters().unknown, 3);
    b.ledger.start_cancel(slots[0], b.now);
    assert_eq!((b.ledger.cancels_wanted(), b.ledger.counters().cancels), (2, 1));
    let mut venues: Vec<Venue> = slots.iter().map(|slot| Venue::of(&b, *slot)).collect();
    for v in &mut venues[1..] {
        let array = v.array(Source::New, OrderStatus::Active);
        b.feed(array);
    }
    assert_eq!((b.ledger.frozen(), b.ledger.counters().acked), (1, 2));
    assert_eq!(b.ledger.counters().in_state(OrderState::Working), 2);
    assert_eq!(b.ledger.find_by_id(venues[2].id).map(|o| o.cid), Some(venues[2].cid));
    assert!(b.ledger.find_by_id(OrderId(5)).is_none());
    // Two end executed, their trades still missing.
    for v in &mut venues[1..] {
        v.remaining = 0;
        let end = v.array(Source::Closed, OrderStatus::Executed);
        b.feed(end);
    }
    assert_eq!((b.ledger.alive(), b.ledger.symbol(SYMBOL).settling), (1, 2));
    assert_eq!(b.ledger.counters().in_state(OrderState::Filled), 2);
    let fill = venues[1].fill_message(100_000_000, true);
    b.feed(fill);
    assert_eq!(b.ledger.symbol(SYMBOL).settling, 1);
    b.check_sums();
}

#[test]
fn an_order_that_comes_back_counts_among_the_others_again() {
    let mut b = Bench::new();
    let (_, _) = working(&mut b, 1);
    let (_, _) = working(&mut b, 1);
    let slot = b.open(1, 100);
    let mut v = Venue::of(&b, slot);
    b.feed(ack(AckOf::New, Refusal::InvalidPrice, &v));
    assert_eq!((b.state(slot), b.ledger.alive()), (OrderState::Rejected, 2));
    let array = v.array(Source::New, OrderStatus::Active);
    b.feed(array);
    assert_eq!((b.state(slot), b.ledger.alive()), (OrderState::Working, 3));
    assert_eq!((b.ledger.symbol(SYMBOL).alive, b.ledger.counters().revived), (3, 1));
    b.check_sums();
}

#[test]
fn what_cannot_be_ours_is_counted_each_time() {
    let mut b = Bench::new();
    let (slot, mut v) = working(&mut b, 1);
    let stranger = Venue { id: OrderId(5), cid: Cid(6), ..v.clone() };
    b.feed(ack(AckOf::New, Refusal::None, &stranger));
    assert_eq!(b.ledger.counters().acks_unmatched, 1);
    v.trade += 1;
    let fill = v.fill_message(100, true);
    b.feed(fill_with(fill, |fill| fill.symbol = SYMBOL_FOREIGN));
    assert_eq!(b.ledger.counters().fills_foreign, 1);
    // A trade of an own order that has left the table: its id lies in this run's range.
    let last = b.open(1, 100);
    let between = Cid(b.ledger.order(last).cid.0 - 1);
    let cids = [b.ledger.order(slot).cid, b.ledger.order(last).cid];
    if !cids.contains(&between) {
        let fill = fill_with(fill, |fill| (fill.cid, fill.order) = (between, OrderId(77)));
        b.feed(fill);
        assert_eq!(b.ledger.counters().fills_of_forgotten, 1);
    }
    assert_eq!(b.ledger.order(slot).traded, Qty::ZERO);
}

#[test]
fn trades_of_forgotten_orders_move_the_position_and_are_counted() {
    let mut b = Bench::new();
    let first = b.open(1, 100);
    let mut v = Venue::of(&b, first);
    b.feed(report(AckOf::New, SendOutcome::TooOld, &v));
    for _ in 0..LEDGER_SLOTS {
        let slot = b.open(1, 100);
        let other = Venue::of(&b, slot);
        b.feed(report(AckOf::New, SendOutcome::TooOld, &other));
    }
    assert!(b.ledger.find(v.cid).is_none());
    let forgotten = b.ledger.counters().forgotten;
    assert!((1..=2).contains(&forgotten), "{forgotten}");
    let array = v.array(Source::New, OrderStatus::Active);
    b.feed(array);
    assert_eq!(b.ledger.counters().updates_of_forgotten, 1);
    v.trade += 1;
    let fill = v.fill_message(100_000_000, true);
    b.feed(fill);
    let counters = b.ledger.counters();
    assert_eq!((counters.fills, counters.fills_of_forgotten, counters.orders_traded), (1, 1, 1));
    assert_eq!(b.positions.qty(SYMBOL), Qty::from_whole(1));
}

#[test]
fn each_trade_counts_once_and_more_than_asked_is_an_overfill() {
    let mut b = Bench::new();
    let (slot, mut v) = working(&mut b, 1);
    v.trade += 1;
    let fill = v.fill_message(50_000_000, true);
    b.feed(fill);
    b.feed(fill);
    let counters = *b.ledger.counters();
    assert_eq!((counters.fills, counters.fills_duplicate, counters.orders_traded), (1, 1, 1));
    // At another price: the average is of value over size.
    v.trade += 1;
    let fill = v.fill_message(25_000_000, true);
    b.feed(fill_with(fill, |fill| fill.px = Px::from_whole(103)));
    assert_eq!(b.ledger.order(slot).px_avg(), Px::from_whole(101));
    assert_eq!(b.ledger.counters().orders_traded, 1);
    assert_eq!(b.ledger.counters().overfills, 0);
    v.trade += 1;
    let fill = v.fill_message(50_000_000, true);
    b.feed(fill);
    assert_eq!(b.ledger.counters().overfills, 1);
}

#[test]
fn a_trade_older_than_all_that_are_remembered_is_counted_as_too_old_and_not_as_a_trade() {
    use crate::base::limits::TRADE_IDS_MAX;
    let mut b = Bench::new();
    let (_, v) = working(&mut b, 2);
    let trade = |id: u64| Venue { trade: id, ..v.clone() }.fill_message(1, true);
    for id in 1_000..1_000 + TRADE_IDS_MAX as u64 {
        b.feed(trade(id));
    }
    b.feed(trade(999));
    assert_eq!(b.ledger.counters().fills_too_old, 0, "all are remembered still");
    for id in [500_000, 500_001] {
        b.feed(trade(id));
    }
    let fills = b.ledger.counters().fills;
    // The first three gave way, the highest of them is 1,000.
    for id in [998, 1_000] {
        b.feed(trade(id));
    }
    assert_eq!((b.ledger.counters().fills_too_old, b.ledger.counters().fills), (2, fills));
}

#[test]
fn fills_that_nobody_claims_wait_and_the_oldest_gives_way() {
    let cid_used = Cid(1_000);
    let mut b = Bench::with(OrdersConfig { gid: 7, cid_used, ..OrdersConfig::default() });
    let (_, v) = working(&mut b, 1);
    let foreign = |number: u64, cid: Cid| {
        let mut v = Venue { id: OrderId(50_000 + number), cid, ..v.clone() };
        v.trade = 90_000 + number;
        v.fill_message(100, true)
    };
    b.feed(foreign(1, Cid(999_999)));
    b.feed(foreign(2, Cid::NONE));
    assert_eq!(b.ledger.orphans(), 2);
    // Trades of earlier runs fill the rest of the places.
    for number in 3..=64 {
        b.feed(foreign(number, Cid(number)));
    }
    assert_eq!((b.ledger.orphans(), b.ledger.counters().fills_foreign), (64, 0));
    // The two of others give way, and are told as foreign; those of earlier runs are no news.
    for (number, told) in [(65, 1), (66, 2), (67, 2), (68, 2)] {
        b.feed(foreign(number, Cid(1_000)));
        assert_eq!(b.ledger.counters().fills_foreign, told, "{number}");
    }
    // Of an id at the mark itself, too.
    for number in 69..=200 {
        b.feed(foreign(number, Cid(1_000)));
    }
    assert_eq!((b.ledger.orphans(), b.ledger.counters().fills_foreign), (64, 2));
    assert_eq!(b.positions.qty(SYMBOL), Qty::ZERO);
}

#[test]
fn a_fill_that_only_looks_like_ours_is_not_the_order_s() {
    let mut b = Bench::new();
    let (slot, mut v) = working(&mut b, 1);
    v.trade += 1;
    let fill = v.fill_message(100, true);
    // The other side, no order named.
    let other_side = |fill: &mut Fill| (fill.qty, fill.order) = (-fill.qty, OrderId::NONE);
    b.feed(fill_with(fill, other_side));
    assert_eq!(b.ledger.order(slot).traded, Qty::ZERO);
    // Another order's, by its id.
    v.trade += 1;
    let fill = v.fill_message(100, true);
    b.feed(fill_with(fill, |fill| fill.order = OrderId(77)));
    assert_eq!(b.ledger.order(slot).traded, Qty::ZERO);
    // The order's own, named by the client id alone.
    v.trade += 1;
    let fill = v.fill_message(100, true);
    b.feed(fill_with(fill, |fill| fill.order = OrderId::NONE));
    assert_eq!(b.ledger.order(slot).traded, Qty::from_raw(100));
}

// ---- cancels ----

#[test]
fn a_cancel_from_before_the_doubt_proves_nothing() {
    let mut b = Bench::new();
    let (slot, _) = working(&mut b, 1);
    b.ledger.start_cancel(slot, b.now);
    b.pass(5_000);
    assert_eq!(b.state(slot), OrderState::Unknown);
    b.pass(200_000);
    b.round(&[], &[], &[]);
    b.round(&[], &[], &[]);
    b.round(&[], &[], &[]);
    assert_eq!(b.state(slot), OrderState::Unknown);
    // One from after it does.
    b.ledger.start_cancel(slot, b.now);
    b.round(&[], &[], &[]);
    b.round(&[], &[], &[]);
    assert_eq!(b.state(slot), OrderState::Absent);
}

#[test]
fn the_first_cancel_of_a_doubt_counts_not_the_last() {
    let mut b = Bench::new();
    let (slot, _) = doubtful(&mut b);
    b.pass(200_000);
    b.ledger.start_cancel(slot, b.now);
    b.pass(1);
    let all = [SnapshotOf::RestOrders, SnapshotOf::RestHistory, SnapshotOf::RestTrades];
    all.iter().for_each(|of| b.feed(mark(*of, false)));
    b.pass(1);
    b.ledger.start_cancel(slot, b.now);
    all.iter().for_each(|of| b.feed(mark(*of, true)));
    b.feed(link(LinkState::Reconciled));
    b.round(&[], &[], &[]);
    assert_eq!(b.state(slot), OrderState::Absent);
}

#[test]
fn a_round_that_began_with_the_cancel_is_too_old_for_it() {
    let mut b = Bench::new();
    let (slot, _) = doubtful(&mut b);
    b.pass(200_000);
    b.ledger.start_cancel(slot, b.now);
    let all = [SnapshotOf::RestOrders, SnapshotOf::RestHistory, SnapshotOf::RestTrades];
    for end in [false, true] {
        all.iter().for_each(|of| b.feed(mark(*of, end)));
    }
    b.feed(link(LinkState::Reconciled));
    b.round(&[], &[], &[]);
    assert_eq!(b.state(slot), OrderState::Unknown, "one full round since the cancel");
    b.round(&[], &[], &[]);
    assert_eq!(b.state(slot), OrderState::Absent);
}

#[test]
fn a_refused_cancel_is_tried_again_later_and_not_for_ever() {
    let mut b = Bench::new();
    let (slot, v) = working(&mut b, 1);
    for count in 1..=CANCELS_MAX {
        b.ledger.start_cancel(slot, b.now);
        assert_eq!(b.state(slot), OrderState::CancelPending);
        b.feed(ack(AckOf::Cancel, Refusal::RateLimit, &v));
        assert_eq!(b.ledger.counters().cancels_refused, u64::from(count));
        assert_eq!(b.ledger.order(slot).cancel_after, b.now + RETRY);
        let (state, wants) = (b.state(slot), b.ledger.order(slot).wants_cancel());
        if count < CANCELS_MAX {
            assert_eq!((state, wants), (OrderState::Working, true), "{count}");
        } else {
            assert_eq!((state, wants), (OrderState::Unknown, false), "{count}");
        }
        b.pass(1_000);
    }
}

#[test]
fn an_acknowledged_cancel_waits_for_the_end() {
    let mut b = Bench::new();
    let (slot, v) = working(&mut b, 1);
    b.ledger.start_cancel(slot, b.now);
    for of in [AckOf::Cancel, AckOf::CancelMulti] {
        b.feed(ack(of, Refusal::None, &v));
        assert_eq!(b.state(slot), OrderState::CancelPending);
    }
    assert_eq!(b.ledger.counters().cancels_refused, 0);
}

#[test]
fn an_order_that_the_venue_does_not_find_is_looked_up_and_not_cancelled_again() {
    for of in [AckOf::Cancel, AckOf::Update] {
        let mut b = Bench::new();
        let (slot, v) = working(&mut b, 1);
        match of {
            AckOf::Cancel => b.ledger.start_cancel(slot, b.now),
            _ => b.ledger.start_amend(slot, Px::from_whole(101), Qty::from_whole(1), b.now),
        }
        b.pass(1);
        b.feed(ack(of, Refusal::NotFound, &v));
        assert_eq!(b.state(slot), OrderState::CancelPending, "{of:?}");
        b.ledger.want_cancel(slot, b.now);
        assert!(!b.ledger.order(slot).wants_cancel());
        b.pass(5_000);
        assert_eq!(b.state(slot), OrderState::Unknown);
        assert!(b.ledger.wants_reconcile());
    }
}

#[test]
fn a_cancel_that_did_not_leave_is_tried_again_and_counts_for_nothing() {
    let mut b = Bench::new();
    let (slot, v) = working(&mut b, 1);
    for _ in 0..2 * CANCELS_MAX {
        b.ledger.start_cancel(slot, b.now);
        b.feed(report(AckOf::Cancel, SendOutcome::LinkDown, &v));
        assert_eq!(b.state(slot), OrderState::Working);
        let order = b.ledger.order(slot);
        assert!(order.wants_cancel());
        assert_eq!((order.cancel_after, order.cancel_count), (b.now + RETRY, 0));
    }
    // Nor does it probe a doubt.
    let (slot, v) = doubtful(&mut b);
    b.pass(200_000);
    b.ledger.start_cancel(slot, b.now);
    b.feed(report(AckOf::Cancel, SendOutcome::LinkDown, &v));
    b.round(&[], &[], &[]);
    b.round(&[], &[], &[]);
    assert_eq!(b.state(slot), OrderState::Unknown);
}

#[test]
fn a_replacement_that_did_not_leave_takes_its_cancel_back() {
    let mut b = Bench::new();
    let (old, v) = working(&mut b, 1);
    b.ledger.start_cancel(old, b.now);
    let order = *b.ledger.order(old);
    let new = NewOrder {
        cid: Cid::NONE,
        cid_day: WallNs(0),
        kind: OrderKind::Limit,
        wallet: WalletKind::Margin,
        qty: Qty::from_whole(1),
        px: Px::from_whole(99),
        px_aux: Px::ZERO,
        flags: OrderFlags::NONE,
        leverage: 0,
    };
    let opening = Opening {
        symbol: SYMBOL,
        strategy: StrategyId(0),
        lane: Lane::Once,
        class: Class::Entry,
        reason: Reason::Custom,
        replaces: order.cid,
        at: b.now,
    };
    let (slot, _) = b.ledger.open(new, &opening, WALL).unwrap();
    let replacement = Venue::of(&b, slot);
    b.feed(report(AckOf::New, SendOutcome::LatchForbids, &replacement));
    assert_eq!(b.state(slot), OrderState::NotSent);
    assert_eq!(b.state(old), OrderState::Working, "{v:?}", v = v.id);
    // One that broke on its way leaves both in doubt.
    b.ledger.start_cancel(old, b.now);
    let (slot, _) = b.ledger.open(new, &opening, WALL).unwrap();
    let replacement = Venue::of(&b, slot);
    b.feed(report(AckOf::New, SendOutcome::Broken, &replacement));
    assert_eq!((b.state(slot), b.state(old)), (OrderState::Unknown, OrderState::Unknown));
}

// ---- doubt ----

#[test]
fn an_array_with_the_link_down_confirms_nothing() {
    let mut b = Bench::new();
    let (slot, mut v) = working(&mut b, 1);
    b.feed(link(LinkState::Down));
    let array = v.array(Source::Update, OrderStatus::Active);
    b.feed(array);
    assert_eq!(b.state(slot), OrderState::Unknown);
    b.feed(link(LinkState::Authenticated));
    let array = v.array(Source::Update, OrderStatus::Active);
    b.feed(array);
    assert_eq!(b.state(slot), OrderState::Working);
}

#[test]
fn a_cancel_in_doubt_stays_in_doubt_whatever_else_is_told() {
    let mut b = Bench::new();
    let (slot, mut v) = doubtful(&mut b);
    b.ledger.start_cancel(slot, b.now);
    b.feed(ack(AckOf::New, Refusal::None, &v));
    assert_eq!(b.state(slot), OrderState::Unknown);
    let array = v.array(Source::Update, OrderStatus::Active);
    b.feed(array);
    assert_eq!(b.state(slot), OrderState::Unknown);
    v.trade += 1;
    let fill = v.fill_message(100, true);
    b.feed(fill);
    assert_eq!(b.state(slot), OrderState::Unknown);
    // Nor does the refusal of a change.
    b.feed(ack(AckOf::Update, Refusal::InvalidPrice, &v));
    assert_eq!(b.state(slot), OrderState::Unknown);
}

#[test]
fn an_answer_or_a_trade_settles_an_order_that_had_none() {
    let mut b = Bench::new();
    let (slot, v) = doubtful(&mut b);
    b.feed(ack(AckOf::New, Refusal::None, &v));
    assert_eq!(b.state(slot), OrderState::Working);
    let (slot, mut v) = doubtful(&mut b);
    v.trade += 1;
    let fill = v.fill_message(100, true);
    b.feed(fill);
    assert_eq!(b.state(slot), OrderState::PartlyFilled);
}

#[test]
fn an_id_held_by_somebody_else_is_a_doubt_for_an_order_not_seen_and_none_for_one_that_was() {
    let mut b = Bench::new();
    let (seen, v) = working(&mut b, 1);
    b.feed(ack(AckOf::New, Refusal::DuplicateCid, &v));
    assert_eq!(b.state(seen), OrderState::Working);
    let slot = b.open(1, 100);
    let v = Venue::of(&b, slot);
    b.feed(ack(AckOf::New, Refusal::DuplicateCid, &v));
    assert_eq!(b.state(slot), OrderState::Unknown);
}

#[test]
fn another_link_s_fate_is_not_the_trading_link_s() {
    let mut b = Bench::new();
    let (slot, mut v) = working(&mut b, 1);
    let of_market = |state| {
        M::Link(LinkEvent { conn: crate::base::ids::ConnId(1), trading: false, state, code: 0 })
    };
    b.feed(of_market(LinkState::Down));
    assert_eq!(b.state(slot), OrderState::Working);
    b.feed(link(LinkState::Down));
    b.feed(of_market(LinkState::Authenticated));
    let array = v.array(Source::Update, OrderStatus::Active);
    b.feed(array);
    assert_eq!(b.state(slot), OrderState::Unknown);
}

#[test]
fn a_change_or_a_cancel_in_flight_when_the_link_falls_is_in_doubt_by_itself() {
    let mut b = Bench::new();
    let (slot, mut v) = working(&mut b, 1);
    b.ledger.start_amend(slot, Px::from_whole(101), Qty::from_whole(1), b.now);
    b.feed(link(LinkState::Down));
    b.feed(link(LinkState::Authenticated));
    let array = v.array(Source::Update, OrderStatus::Active);
    b.feed(array);
    assert_eq!(b.state(slot), OrderState::Unknown, "did the change arrive?");
    // A cancel said again counts as the probe of that doubt; of an order that only is not confirmed
    // it does not.
    for (in_flight, end) in [(true, OrderState::Absent), (false, OrderState::Unknown)] {
        let mut b = Bench::new();
        let (slot, _) = working(&mut b, 1);
        if in_flight {
            b.ledger.start_cancel(slot, b.now);
        }
        b.feed(link(LinkState::Down));
        b.feed(link(LinkState::Authenticated));
        b.ledger.start_cancel(slot, b.now);
        b.pass(200_000);
        b.round(&[], &[], &[]);
        b.round(&[], &[], &[]);
        assert_eq!(b.state(slot), end);
    }
}

#[test]
fn the_list_at_log_in_leaves_alone_what_was_confirmed_since() {
    let mut b = Bench::new();
    let (slot, mut v) = working(&mut b, 1);
    b.feed(link(LinkState::Down));
    b.feed(link(LinkState::Authenticated));
    b.feed(mark(SnapshotOf::Orders, false));
    let array = v.array(Source::Update, OrderStatus::Active);
    b.feed(array);
    b.feed(mark(SnapshotOf::Orders, true));
    assert_eq!(b.state(slot), OrderState::Working);
    assert!(!b.ledger.order(slot).cancel_wanted);
}

#[test]
fn each_list_at_log_in_speaks_for_itself() {
    let mut b = Bench::new();
    let (slot, mut v) = working(&mut b, 1);
    b.feed(link(LinkState::Down));
    b.feed(link(LinkState::Authenticated));
    b.feed(mark(SnapshotOf::Orders, false));
    let array = v.array(Source::Snapshot, OrderStatus::Active);
    b.feed(array);
    b.feed(mark(SnapshotOf::Orders, true));
    assert_eq!(b.state(slot), OrderState::Working);
    // Seen in that one, not in the next.
    b.feed(link(LinkState::Down));
    empty_list_at_log_in(&mut b);
    assert_eq!(b.state(slot), OrderState::Unknown);
    assert!(b.ledger.order(slot).wants_cancel());
}

#[test]
fn a_reading_that_failed_or_did_not_begin_speaks_of_nothing() {
    let all = [SnapshotOf::RestOrders, SnapshotOf::RestHistory, SnapshotOf::RestTrades];
    let mut b = Bench::new();
    let (slot, _) = doubtful(&mut b);
    b.ledger.start_cancel(slot, b.now);
    b.pass(200_000);
    all.iter().for_each(|of| b.feed(mark(*of, true)));
    assert!(!b.ledger.is_round_full(), "ends without beginnings");
    for _ in 0..3 {
        b.pass(1);
        for end in [false, true] {
            all.iter().for_each(|of| b.feed(mark(*of, end)));
        }
        assert!(b.ledger.is_round_full());
        b.feed(link(LinkState::ReconcileFailed));
        b.feed(link(LinkState::Reconciled));
    }
    assert_eq!(b.state(slot), OrderState::Unknown);
    b.round(&[], &[], &[]);
    b.round(&[], &[], &[]);
    assert_eq!(b.state(slot), OrderState::Absent);
}

#[test]
fn what_a_failed_reading_showed_is_not_seen_by_the_next() {
    let mut b = Bench::new();
    let (slot, mut v) = working(&mut b, 1);
    b.pass(10);
    b.feed(mark(SnapshotOf::RestOrders, false));
    let array = v.array(Source::RestOpen, OrderStatus::Active);
    b.feed(array);
    b.feed(link(LinkState::ReconcileFailed));
    b.round(&[], &[], &[]);
    assert_eq!(b.state(slot), OrderState::Working, "missing once may be a race");
    b.round(&[], &[], &[]);
    assert_eq!(b.state(slot), OrderState::Unknown);
}

#[test]
fn an_order_missing_from_two_readings_in_a_row_is_in_doubt() {
    let mut b = Bench::new();
    let (slot, mut v) = working(&mut b, 1);
    for _ in 0..3 {
        b.round(&[], &[], &[]);
        let array = v.array(Source::RestOpen, OrderStatus::Active);
        b.round(&[array], &[], &[]);
        b.round(&[array], &[], &[]);
        assert_eq!(b.state(slot), OrderState::Working, "never twice in a row");
    }
    // A reading that began before it was acknowledged cannot know it.
    let all = [SnapshotOf::RestOrders, SnapshotOf::RestHistory, SnapshotOf::RestTrades];
    all.iter().for_each(|of| b.feed(mark(*of, false)));
    let (young, _) = working(&mut b, 1);
    all.iter().for_each(|of| b.feed(mark(*of, true)));
    b.feed(link(LinkState::Reconciled));
    let M::Order(_) = v.array(Source::RestOpen, OrderStatus::Active) else { panic!() };
    b.round(&[], &[], &[]);
    assert_eq!((b.state(slot), b.state(young)), (OrderState::Unknown, OrderState::Working));
}

#[test]
fn a_list_shows_no_more_than_it_says() {
    let mut b = Bench::new();
    let (slot, mut v) = working(&mut b, 1);
    // Nothing is in doubt: the cancel on its way stays on its way.
    b.ledger.start_cancel(slot, b.now);
    let array = v.array(Source::Snapshot, OrderStatus::Active);
    b.feed(array);
    assert_eq!(b.state(slot), OrderState::CancelPending);
    // In doubt and never cancelled: a cancel may leave at once.
    let mut b = Bench::new();
    let (slot, mut v) = working(&mut b, 1);
    b.feed(link(LinkState::Down));
    b.feed(link(LinkState::Authenticated));
    let array = v.array(Source::Snapshot, OrderStatus::Active);
    b.feed(array);
    assert_eq!(b.state(slot), OrderState::Working);
    assert_eq!(b.ledger.order(slot).cancel_after, MonoNs(0));
    // Cancelled in vain as often as allowed: after a while again.
    let mut b = Bench::new();
    let (slot, mut v) = working(&mut b, 1);
    b.ledger.start_cancel(slot, b.now);
    b.feed(ack(AckOf::Cancel, Refusal::NotFound, &v));
    b.pass(5_000);
    assert!(!b.ledger.order(slot).wants_cancel());
    let array = v.array(Source::Snapshot, OrderStatus::Active);
    b.feed(array);
    let order = b.ledger.order(slot);
    assert!(order.wants_cancel());
    assert_eq!((order.cancel_after, order.cancel_count), (b.now + RETRY, 0));
}

#[test]
fn a_change_in_doubt_counts_until_a_list_shows_exactly_it() {
    // Two rest at 100; the price and size of the change, whether the list shows exactly that, and
    // what may still fill.
    for (px, qty, shown, most) in
        [(100, 2, true, 2), (100, 3, false, 5), (101, 2, false, 4), (101, 3, false, 5)]
    {
        let mut b = Bench::new();
        let (slot, mut v) = working(&mut b, 2);
        b.ledger.start_amend(slot, Px::from_whole(px), Qty::from_whole(qty), b.now);
        b.feed(link(LinkState::Down));
        b.feed(link(LinkState::Authenticated));
        assert_eq!(b.state(slot), OrderState::Unknown);
        // As it was when the change left: no news of the change by itself.
        v.at -= 1;
        let array = v.array(Source::Snapshot, OrderStatus::Active);
        b.feed(array);
        assert_eq!(b.state(slot), OrderState::Working, "{px} {qty}");
        let order = b.ledger.order(slot);
        assert_eq!(order.cancel_wanted, !shown, "{px} {qty}");
        assert_eq!(order.reserve(), Qty::from_whole(most), "{px} {qty}");
        b.check_sums();
    }
}

// ---- changes ----

#[test]
fn an_array_from_before_the_change_is_not_its_answer() {
    let mut b = Bench::new();
    let (slot, mut v) = working(&mut b, 2);
    v.at += 10;
    let array = v.array(Source::Update, OrderStatus::Active);
    b.feed(array);
    b.ledger.start_amend(slot, Px::from_whole(101), Qty::from_whole(2), b.now);
    // Newer, at the old price.
    let array = v.array(Source::Update, OrderStatus::Active);
    b.feed(array);
    assert_eq!(b.state(slot), OrderState::AmendPending);
    // At the new price, but older than what was changed: from an earlier change back and forth.
    let at_new_px = with(array, |update| {
        (update.px, update.updated_at) = (Px::from_whole(101), WallNs(WALL.0 + 1_000_000));
    });
    b.feed(at_new_px);
    assert_eq!(b.state(slot), OrderState::AmendPending);
    v.px = Px::from_whole(101).raw();
    let array = v.array(Source::Update, OrderStatus::Active);
    b.feed(array);
    assert_eq!(b.state(slot), OrderState::Working);
    assert_eq!(b.ledger.symbol(SYMBOL).buy_reserve, Qty::from_whole(2));
}

#[test]
fn a_change_of_size_alone_is_done_by_its_size_or_by_its_acknowledgement() {
    let five = Qty::from_whole(5);
    let setup = || {
        let mut b = Bench::new();
        let (slot, v) = working(&mut b, 2);
        b.ledger.start_amend(slot, Px::from_whole(100), five, b.now);
        assert_eq!(b.ledger.symbol(SYMBOL).buy_reserve, Qty::from_whole(7));
        (b, slot, v)
    };
    // A newer array with the old size says nothing of it, until the acknowledgement.
    let (mut b, slot, mut v) = setup();
    let array = v.array(Source::Update, OrderStatus::Active);
    b.feed(array);
    assert_eq!(b.state(slot), OrderState::AmendPending);
    b.feed(ack(AckOf::Update, Refusal::None, &v));
    assert_eq!(b.state(slot), OrderState::Working);
    assert_eq!(b.ledger.symbol(SYMBOL).buy_reserve, Qty::from_whole(2));
    // The new size in an array that is no newer than what was changed is no answer.
    let (mut b, slot, mut v) = setup();
    (v.original, v.remaining) = (five.raw(), five.raw());
    v.at -= 1;
    let array = v.array(Source::Update, OrderStatus::Active);
    b.feed(array);
    assert_eq!(b.state(slot), OrderState::AmendPending);
    let array = v.array(Source::Update, OrderStatus::Active);
    b.feed(array);
    assert_eq!(b.state(slot), OrderState::Working);
    assert_eq!(b.ledger.symbol(SYMBOL).buy_reserve, five);
    // The acknowledgement alone shows nothing yet.
    let (mut b, slot, v) = setup();
    b.feed(ack(AckOf::Update, Refusal::None, &v));
    assert_eq!(b.state(slot), OrderState::AmendPending);
    // A change of the price, too, is not done by its size at the old price.
    let mut b = Bench::new();
    let (slot, mut v) = working(&mut b, 2);
    b.ledger.start_amend(slot, Px::from_whole(101), five, b.now);
    (v.original, v.remaining) = (five.raw(), five.raw());
    let array = v.array(Source::Update, OrderStatus::Active);
    b.feed(array);
    b.feed(ack(AckOf::Update, Refusal::None, &v));
    assert_eq!(b.state(slot), OrderState::AmendPending);
}

#[test]
fn an_end_shows_the_new_size_only_where_it_is_later_than_the_change() {
    for (later, missing) in [(1, 5), (0, 2), (-1, 2)] {
        let mut b = Bench::new();
        let (slot, mut v) = working(&mut b, 2);
        b.ledger.start_amend(slot, Px::from_whole(100), Qty::from_whole(5), b.now);
        (v.original, v.remaining) = (Qty::from_whole(5).raw(), 0);
        v.at += later - 1;
        let end = v.array(Source::Closed, OrderStatus::Executed);
        b.feed(end);
        assert_eq!(b.state(slot), OrderState::Filled);
        let reserve = b.ledger.order(slot).reserve();
        assert_eq!(reserve, Qty::from_whole(missing), "{later}");
    }
}

#[test]
fn in_one_millisecond_the_array_at_the_newest_price_has_the_say() {
    let mut b = Bench::new();
    let (slot, mut v) = working(&mut b, 2);
    b.ledger.start_amend(slot, Px::from_whole(101), Qty::from_whole(2), b.now);
    let late = v.array(Source::Update, OrderStatus::PartiallyFilled);
    v.at -= 1;
    v.px = Px::from_whole(101).raw();
    let changed = v.array(Source::Update, OrderStatus::Active);
    b.feed(changed);
    assert_eq!(b.ledger.order(slot).px(), Px::from_whole(101));
    // The old price with less left: older, though it says more.
    b.feed(with(late, |update| update.remaining = Qty::from_whole(1)));
    assert_eq!(b.ledger.order(slot).px(), Px::from_whole(101));
    assert_eq!(b.ledger.order(slot).remaining(), Qty::from_whole(2));
}

#[test]
fn in_one_millisecond_a_change_of_an_order_is_later_than_its_beginning() {
    for swapped in [false, true] {
        let mut b = Bench::new();
        let slot = b.open(2, 100);
        let mut v = Venue::of(&b, slot);
        let first = v.array(Source::New, OrderStatus::Active);
        v.at -= 1;
        let first = with(first, |update| update.remaining = Qty::from_whole(1));
        let second = v.array(Source::Update, OrderStatus::Active);
        let both = if swapped { [second, first] } else { [first, second] };
        both.into_iter().for_each(|message| b.feed(message));
        assert_eq!(b.ledger.order(slot).remaining(), Qty::from_whole(2));
    }
}

#[test]
fn a_refused_change_ends_its_doubt_and_is_counted() {
    let mut b = Bench::new();
    let (slot, v) = working(&mut b, 1);
    b.ledger.start_amend(slot, Px::from_whole(101), Qty::from_whole(1), b.now);
    assert_eq!(b.ledger.counters().amends, 1);
    b.pass(5_000);
    assert_eq!(b.state(slot), OrderState::Unknown);
    b.feed(ack(AckOf::Update, Refusal::InvalidPrice, &v));
    assert_eq!(b.state(slot), OrderState::Working);
    assert_eq!(b.ledger.counters().amends_refused, 1);
    b.ledger.start_amend(slot, Px::from_whole(102), Qty::from_whole(1), b.now);
    b.feed(report(AckOf::Update, SendOutcome::TooOld, &v));
    assert_eq!(b.state(slot), OrderState::Working);
    assert_eq!(b.ledger.counters().amends_refused, 2);
}

#[test]
fn an_empty_refusal_is_for_a_change_and_for_one_alone() {
    let empty = |of, id, cid| {
        let (success, refusal) = (false, Refusal::InvalidPrice);
        M::Ack(Ack { of, success, refusal, symbol: SYMBOL_FOREIGN, id, cid })
    };
    let mut b = Bench::new();
    let (slot, _) = working(&mut b, 1);
    b.ledger.start_amend(slot, Px::from_whole(101), Qty::from_whole(1), b.now);
    b.feed(empty(AckOf::New, OrderId::NONE, Cid::NONE));
    b.feed(empty(AckOf::Update, OrderId(5), Cid::NONE));
    b.feed(empty(AckOf::Update, OrderId::NONE, Cid(5)));
    assert_eq!(b.state(slot), OrderState::AmendPending);
    assert_eq!(b.ledger.counters().acks_unmatched, 3);
    // With two on their way nobody knows whose it is.
    let (other, _) = working(&mut b, 1);
    b.ledger.start_amend(other, Px::from_whole(101), Qty::from_whole(1), b.now);
    b.feed(empty(AckOf::Update, OrderId::NONE, Cid::NONE));
    assert_eq!(b.state(slot), OrderState::AmendPending);
    assert_eq!(b.state(other), OrderState::AmendPending);
}

// ---- ends ----

#[test]
fn an_end_is_named_by_what_the_venue_says_and_by_what_is_left() {
    let end = |status, source, left: i64| {
        let mut b = Bench::new();
        let (slot, mut v) = working(&mut b, 2);
        v.remaining = Qty::from_whole(left).raw();
        let end = v.array(source, status);
        b.feed(end);
        b.check_sums();
        b.state(slot)
    };
    use OrderStatus as S;
    assert_eq!(end(S::Executed, Source::Closed, 0), OrderState::Filled);
    assert_eq!(end(S::Executed, Source::Closed, 1), OrderState::Filled);
    assert_eq!(end(S::Forced, Source::Closed, 1), OrderState::Filled);
    assert_eq!(end(S::Canceled, Source::Closed, 0), OrderState::Filled);
    assert_eq!(end(S::Canceled, Source::Closed, 2), OrderState::Cancelled);
    assert_eq!(end(S::Insufficient, Source::Closed, 2), OrderState::Rejected);
    assert_eq!(end(S::Insufficient, Source::Closed, 1), OrderState::Cancelled);
    assert_eq!(end(S::Refused, Source::Closed, 2), OrderState::Rejected);
    // By the status or by where it was told.
    assert_eq!(end(S::Canceled, Source::Update, 2), OrderState::Cancelled);
    assert_eq!(end(S::Active, Source::Closed, 2), OrderState::Cancelled);
    assert_eq!(end(S::Active, Source::RestHistory, 2), OrderState::Cancelled);
    assert_eq!(end(S::Active, Source::Update, 2), OrderState::Working);
}

#[test]
fn of_two_ends_the_later_one_has_the_say() {
    for swapped in [false, true] {
        let mut b = Bench::new();
        let (slot, mut v) = working(&mut b, 2);
        let cancelled = v.array(Source::Closed, OrderStatus::Canceled);
        v.remaining = 0;
        let executed = v.array(Source::Closed, OrderStatus::Executed);
        let both = if swapped { [executed, cancelled] } else { [cancelled, executed] };
        both.into_iter().for_each(|message| b.feed(message));
        assert_eq!(b.state(slot), OrderState::Filled);
        b.check_sums();
    }
}

#[test]
fn states_have_names_of_their_own() {
    assert_eq!(OrderState::Working.name(), "working");
    assert_eq!(OrderState::Absent.name(), "absent");
    assert_eq!(OrderState::CancelPending.name(), "cancel-pending");
}

// ---- adopted orders ----

#[test]
fn only_an_open_order_of_our_group_in_our_table_is_taken_over() {
    let mut b = Bench::new();
    let (_, v) = working(&mut b, 2);
    let stranger = Venue { id: OrderId(77), cid: Cid(5), ..v };
    let array = stranger.clone().array(Source::Snapshot, OrderStatus::Active);
    let adopted = |b: &mut Bench, change: &dyn Fn(&mut OrderUpdate)| {
        b.feed(with(array, |update| change(update)));
        b.ledger.counters().adopted
    };
    assert_eq!(adopted(&mut b, &|update| update.gid = 8), 0);
    assert_eq!(b.ledger.counters().updates_foreign, 1);
    assert_eq!(adopted(&mut b, &|update| update.status = OrderStatus::Canceled), 0);
    assert_eq!(adopted(&mut b, &|update| update.source = Source::RestHistory), 0);
    assert_eq!(adopted(&mut b, &|update| update.source = Source::Closed), 0);
    assert_eq!(adopted(&mut b, &|update| update.symbol = SymbolId(1)), 0);
    assert_eq!(adopted(&mut b, &|update| update.remaining = Qty::ZERO), 0);
    assert_eq!(adopted(&mut b, &|update| update.id = OrderId::NONE), 0);
    assert_eq!(b.ledger.counters().updates_foreign, 1);
    assert_eq!(adopted(&mut b, &|_| ()), 1);
    let order = *b.ledger.find_by_id(OrderId(77)).unwrap();
    assert_eq!((order.lane, order.asked_qty), (Lane::Adopted, Qty::from_whole(2)));
    assert_eq!(order.cid_day, WallNs(WALL.utc_day() * crate::base::time::DAY_NS));
    assert_eq!(b.ledger.alive(), 2);
    b.check_sums();
    // Without a group of its own a run takes nothing over.
    let mut b = Bench::with(OrdersConfig::default());
    assert_eq!(adopted(&mut b, &|update| update.gid = 0), 0);
}

#[test]
fn a_full_table_takes_nothing_over() {
    let mut b = Bench::new();
    for _ in 0..ORDERS_OPEN_MAX {
        b.open(1, 100);
    }
    let slot = b.ledger.listed().next().unwrap().0;
    let mut v = Venue { id: OrderId(77), cid: Cid(5), ..Venue::of(&b, slot) };
    let array = v.array(Source::Snapshot, OrderStatus::Active);
    b.feed(array);
    assert_eq!((b.ledger.counters().adopted, b.ledger.alive()), (0, ORDERS_OPEN_MAX));
}
