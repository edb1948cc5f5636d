//! Claims about time-outs and about what a reading by REST ends.

use super::*;

#[test]
fn the_next_time_out_is_that_of_the_next_order() {
    let mut b = Bench::new();
    assert!(!b.ledger.wants_reconcile());
    let first_at = b.now;
    let first = b.open(1, 100);
    assert_eq!(b.ledger.next_time(), first_at + SpanNs::from_ms(5_000));
    b.pass(2_000);
    let second_at = b.now;
    let second = b.open(1, 100);
    b.pass(3_000);
    assert_eq!((b.state(first), b.state(second)), (OrderState::Unknown, OrderState::Sending));
    assert_eq!(b.ledger.next_time(), second_at + SpanNs::from_ms(5_000));
    assert_eq!(b.ledger.counters().ack_timeouts, 1);
    b.pass(2_000);
    assert_eq!(b.state(second), OrderState::Unknown);
    assert_eq!(b.ledger.next_time(), MonoNs(u64::MAX));
    assert_eq!(b.ledger.counters().ack_timeouts, 2);
    // An order that rests has no time-out.
    let (slot, _) = working(&mut b, 1);
    b.pass(60_000);
    assert_eq!(b.state(slot), OrderState::Working);
    assert_eq!(b.ledger.counters().ack_timeouts, 2);
}

/// Ends it executed by word alone: its trades are missing.
fn ends_without_its_trades(b: &mut Bench, v: &mut Venue) {
    v.remaining = 0;
    let end = v.array(Source::Closed, OrderStatus::Executed);
    b.feed(end);
}

#[test]
fn missing_trades_are_given_up_once_they_were_read_for() {
    let mut b = Bench::new();
    let (slot, mut v) = working(&mut b, 1);
    let (_, _) = working(&mut b, 1);
    let all = [SnapshotOf::RestOrders, SnapshotOf::RestHistory, SnapshotOf::RestTrades];
    all.iter().for_each(|of| b.feed(mark(*of, false)));
    ends_without_its_trades(&mut b, &mut v);
    assert_eq!(b.ledger.order(slot).reserve(), Qty::from_whole(1));
    // That reading began no earlier than the end; and time alone does not do.
    all.iter().for_each(|of| b.feed(mark(*of, true)));
    b.feed(link(LinkState::Reconciled));
    b.pass(600_000);
    assert_eq!(b.ledger.order(slot).reserve(), Qty::from_whole(1));
    assert_eq!((b.ledger.counters().fills_waived, b.ledger.symbol(SYMBOL).settling), (0, 1));
    b.round(&[], &[], &[]);
    assert_eq!(b.ledger.order(slot).reserve(), Qty::ZERO);
    assert_eq!((b.ledger.counters().fills_waived, b.ledger.symbol(SYMBOL).settling), (1, 0));
    // The order that rests is not ended by it.
    assert_eq!(b.ledger.alive(), 1);
    b.check_sums();
}

#[test]
fn of_a_changed_order_missing_trades_are_given_up_by_time() {
    let mut b = Bench::new();
    let (slot, mut v) = working(&mut b, 1);
    let px = Px::from_whole(101);
    b.ledger.start_amend(slot, px, Qty::from_whole(1), b.now);
    v.px = px.raw();
    let array = v.array(Source::Update, OrderStatus::Active);
    b.feed(array);
    let (plain, mut other) = working(&mut b, 1);
    // A third keeps the clock going.
    b.pass(1);
    ends_without_its_trades(&mut b, &mut v);
    ends_without_its_trades(&mut b, &mut other);
    let ended_at = b.now;
    b.open(1, 100);
    b.pass(5_000);
    assert_eq!(b.ledger.next_time(), ended_at + SpanNs::from_ms(30_000));
    b.pass(24_999);
    assert_eq!(b.ledger.order(slot).reserve(), Qty::from_whole(1));
    b.pass(1);
    assert_eq!(b.ledger.order(slot).reserve(), Qty::ZERO);
    assert_eq!(b.ledger.order(plain).reserve(), Qty::from_whole(1), "certain to be missing");
    assert_eq!(b.ledger.counters().fills_waived, 1);
    assert_eq!(b.ledger.next_time(), MonoNs(u64::MAX));
}

#[test]
fn with_the_link_down_a_reading_asks_for_no_cancel() {
    let mut b = Bench::new();
    let (slot, _) = working(&mut b, 1);
    b.feed(link(LinkState::Down));
    b.round(&[], &[], &[]);
    assert_eq!(b.state(slot), OrderState::Unknown);
    assert!(!b.ledger.order(slot).cancel_wanted);
    b.feed(link(LinkState::Authenticated));
    b.round(&[], &[], &[]);
    assert!(b.ledger.order(slot).wants_cancel());
}

#[test]
fn a_reading_that_saw_the_order_or_began_before_the_doubt_does_not_end_it() {
    let mut b = Bench::new();
    let (slot, mut v) = working(&mut b, 1);
    b.feed(link(LinkState::Down));
    let array = v.array(Source::RestOpen, OrderStatus::Active);
    for _ in 0..3 {
        b.round(&[array], &[], &[]);
        assert_eq!(b.state(slot), OrderState::Unknown, "not confirmed");
        assert!(!b.ledger.order(slot).unknown, "but seen");
    }
    // A doubt that is younger than the reading.
    let mut b = Bench::new();
    let (slot, mut v) = working(&mut b, 1);
    v.trade += 1;
    let all = [SnapshotOf::RestOrders, SnapshotOf::RestHistory, SnapshotOf::RestTrades];
    all.iter().for_each(|of| b.feed(mark(*of, false)));
    b.pass(1);
    b.feed(report(AckOf::Cancel, SendOutcome::Broken, &v));
    assert_eq!(b.state(slot), OrderState::Unknown);
    all.iter().for_each(|of| b.feed(mark(*of, true)));
    b.feed(link(LinkState::Reconciled));
    assert!(!b.ledger.order(slot).cancel_wanted, "nothing was concluded");
    b.round(&[], &[], &[]);
    assert!(b.ledger.order(slot).cancel_wanted);
}

#[test]
fn ended_orders_that_wait_for_trades_have_a_bound_too() {
    let mut b = Bench::new();
    let mut count = 0;
    for _ in 0..2 {
        for _ in 0..ORDERS_OPEN_MAX {
            let (_, mut v) = working(&mut b, 1);
            ends_without_its_trades(&mut b, &mut v);
            count += 1;
        }
    }
    assert_eq!((b.ledger.alive(), b.ledger.listed_len()), (0, count));
    let v = Venue { id: OrderId(7), cid: Cid(5), ..Venue::of(&b, 0) };
    let array = Venue { remaining: 1, ..v }.array(Source::Snapshot, OrderStatus::Active);
    b.feed(array);
    assert_eq!(b.ledger.counters().adopted, 0, "there is no place for it");
    // One gets its trade: there is.
    let mut first = Venue::of(&b, 0);
    let fill = first.fill_message(first.original, true);
    b.feed(fill);
    b.feed(array);
    assert_eq!(b.ledger.counters().adopted, 1);
}

#[test]
fn an_index_knows_whether_it_is_empty() {
    let mut index = Index::new(4);
    assert!(index.is_empty());
    assert!(index.insert(9, 1));
    assert!(!index.is_empty());
    index.remove(9);
    assert!(index.is_empty());
}

#[test]
fn a_reading_that_misses_a_doubtful_order_asks_for_one_more_cancel_however_many_were_refused() {
    let mut b = Bench::new();
    let (slot, v) = working(&mut b, 1);
    let refused = |b: &mut Bench| {
        b.ledger.start_cancel(slot, b.now);
        b.feed(ack(AckOf::Cancel, Refusal::RateLimit, &v));
        b.pass(1_000);
    };
    (0..CANCELS_MAX).for_each(|_| refused(&mut b));
    assert_eq!((b.state(slot), b.ledger.cancels_wanted()), (OrderState::Unknown, 0));
    b.round(&[], &[], &[]);
    assert_eq!(b.ledger.cancels_wanted(), 1);
    refused(&mut b);
    assert_eq!(b.ledger.cancels_wanted(), 0, "one, not as many again");
}

#[test]
fn a_change_of_size_is_known_by_what_is_left_or_by_what_it_was_made_as() {
    let five = Qty::from_whole(5);
    // Filled before the change and since, whole units; whether the array shows the change.
    for (before, since, is) in [(0, 0, true), (0, 1, true), (1, 0, true), (1, 1, false)] {
        let mut b = Bench::new();
        let (slot, mut v) = working(&mut b, 2);
        if before > 0 {
            v.fill(before * 100_000_000);
            v.out.clone().into_iter().for_each(|message| b.feed(message));
        }
        b.ledger.start_amend(slot, Px::from_whole(100), five, b.now);
        v.original = five.raw() + before * 100_000_000;
        v.remaining = five.raw() - since * 100_000_000;
        let array = v.array(Source::Update, OrderStatus::PartiallyFilled);
        b.feed(array);
        assert_eq!(b.state(slot) != OrderState::AmendPending, is, "{before} {since}");
    }
}
