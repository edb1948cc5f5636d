//! One claim a test about protective orders, most of them at the edge of a number: they stand here
//! because a line could be broken and no other test noticed.

use super::*;
use crate::base::ids::{Cid, ConnId, StrategyId, TradeId};
use crate::engine::orders::Lane;
use crate::engine::risk::check::Draft;
use crate::engine::risk::tests::{WALL, instruments, only};

fn is_active(b: &Bench, side: Side) -> bool {
    b.stage.memory().symbols[0].brackets[side as usize].active
}
fn news(commands: &[Command]) -> usize {
    commands.iter().filter(|command| matches!(command.action, Action::New(_))).count()
}
/// A long of this size that was bought at 100 with this bracket; what left at its fill.
fn bought(config: RiskConfig, size: &str, bracket: Bracket) -> (Bench, Vec<Command>) {
    let mut b = Bench::with(config);
    let out = b.want_protected(S, long(size), Some(bracket));
    let entry = b.works(&only(&out));
    let out = b.fill_part(&entry, size, "0", "100");
    (b, out)
}
impl Bench {
    fn refused(&mut self, of: AckOf, new: &NewOrder) -> Vec<Command> {
        self.out.clear();
        let id = self.stage.ledger().find(new.cid).unwrap().id;
        let (refusal, symbol, cid) = (Refusal::InvalidPrice, S, new.cid);
        self.event(Body::Ack(Ack { of, success: false, refusal, symbol, id, cid }));
        self.out.clone()
    }
    fn venue_holds(&mut self, size: &str) -> Vec<Command> {
        self.out.clear();
        self.event(Body::Position(PositionUpdate {
            source: Source::Update,
            symbol: S,
            qty: qty(size),
            base_px: px("100"),
            pnl: None,
        }));
        self.out.clone()
    }
}
/// The next run, with what this one wrote down: the venue holds `held` of each of `symbols`, and
/// these orders rest there.
fn reborn(
    memory: &RiskMemory,
    symbols: u16,
    held: &str,
    orders: &[(OrderKind, &str, &str)],
) -> Bench {
    let mut b = Bench::cold(wide());
    let config = OrdersConfig { gid: 7, cid_used: Cid(50), ..OrdersConfig::default() };
    b.stage = RiskStage::new(wide(), config, &instruments(symbols));
    b.stage.recall(memory);
    b.link(LinkState::Authenticated);
    let mark = |b: &mut Bench, of, end| {
        b.event(Body::Snapshot(SnapshotMark { of, end, count: 0 }));
    };
    mark(&mut b, SnapshotOf::Positions, false);
    for symbol in (0..symbols).map(SymbolId) {
        let (source, qty, base_px) = (Source::Snapshot, qty(held), px("100"));
        b.event(Body::Position(PositionUpdate { source, symbol, qty, base_px, pnl: None }));
    }
    mark(&mut b, SnapshotOf::Positions, true);
    mark(&mut b, SnapshotOf::Orders, false);
    for (place, (kind, size, at)) in orders.iter().enumerate() {
        b.event(Body::Order(OrderUpdate {
            source: Source::Snapshot,
            kind: *kind,
            status: OrderStatus::Active,
            wallet: WalletKind::Margin,
            symbol: S,
            id: OrderId(500 + place as u64),
            gid: 7,
            cid: Cid(10 + place as u64),
            created_at: WALL,
            updated_at: WALL,
            remaining: qty(size),
            original: qty(size),
            px: px(at),
            px_avg: Px::ZERO,
            flags: OrderFlags::REDUCE_ONLY,
        }));
    }
    mark(&mut b, SnapshotOf::Orders, true);
    b.out.clear();
    b.reconcile();
    b
}

// ---- which legs there are, where, and how large ----

#[test]
fn a_leg_needs_a_price_above_nothing_and_one_leg_is_enough() {
    let b = Bench::with(wide());
    let can = |target, stop| b.stage.can_protect(&Bracket { target, stop });
    let good = Guarded::Away(px("1"));
    assert!(!can(Guarded::Off, Guarded::Off));
    for (raw, is) in [(-1, false), (0, false), (1, true)] {
        for leg in [Guarded::At(Px::from_raw(raw)), Guarded::Away(Px::from_raw(raw))] {
            for (target, stop) in
                [(leg, Guarded::Off), (Guarded::Off, leg), (leg, good), (good, leg)]
            {
                assert_eq!(can(target, stop), is, "{target:?} {stop:?}");
            }
        }
    }
}

#[test]
fn a_stop_that_would_lie_at_nothing_or_below_is_none() {
    for (far, count) in [("99.999", 1), ("100", 0), ("100.001", 0)] {
        let stop = Guarded::Away(px(far));
        let (_, out) = bought(wide(), "1", Bracket { target: Guarded::Off, stop });
        assert_eq!(legs(&out).len(), count, "{far}");
    }
}

#[test]
fn legs_and_closes_begin_at_the_smallest_size() {
    for (size, left, is) in [
        ("0.00999999", "0.99000001", false),
        ("0.01", "0.99", true),
        ("0.01000001", "0.98999999", true),
    ] {
        let mut b = Bench::with(guarded(GuardMode::On));
        let entry = b.bracketed(long("1"));
        let out = b.fill_part(&entry, size, left, "100");
        assert_eq!(legs(&out).len(), if is { 2 } else { 0 }, "{size}");
        // Nobody answers, so it stays naked: closed at the very moment, where it can be.
        b.pass(29_999);
        assert_eq!((b.stage.counters().naked_alarms, b.stage.counters().naked_closes), (1, 0));
        b.pass(1);
        assert_eq!(b.stage.counters().naked_closes, u64::from(is), "{size}");
        assert_eq!(b.stage.symbol_snapshot(S).flattening, is, "{size}");
    }
}

#[test]
fn a_leg_is_no_larger_than_one_order_may_be() {
    for (most, size) in [("0.99", "-0.99"), ("1", "-1"), ("1.01", "-1")] {
        let mut b = Bench::with(wide());
        let entry = b.bracketed(long("1"));
        let (qty_min, qty_max) = (qty("0.01"), qty(most));
        b.event(Body::Venue(VenueFact::Sizes { symbol: S, qty_min, qty_max }));
        let out = b.fill_part(&entry, "1", "0", "100");
        assert!(legs(&out).iter().all(|leg| leg.1 == qty(size)), "{most}: {out:?}");
        assert_eq!(legs(&out).len(), 2);
    }
}

#[test]
fn a_pair_without_sizes_gets_no_legs_and_asks_no_guard() {
    for most in ["0", "100"] {
        let mut b = Bench::with(wide());
        let entry = b.bracketed(long("1"));
        let (qty_min, qty_max) = (Qty::ZERO, qty(most));
        b.event(Body::Venue(VenueFact::Sizes { symbol: S, qty_min, qty_max }));
        assert!(b.fill_part(&entry, "1", "0", "100").is_empty());
        assert_eq!((b.blocked(Guard::Instrument), b.blocked(Guard::NothingHeld)), (0, 0));
    }
}

#[test]
fn one_leg_alone_protects_as_well() {
    for (bracket, kind) in [
        (Bracket { stop: Guarded::Off, ..bracket() }, OrderKind::Limit),
        (Bracket { target: Guarded::Off, ..bracket() }, OrderKind::Stop),
    ] {
        let (mut b, out) = bought(wide(), "1", bracket);
        let leg = only(&out);
        assert_eq!(new_of(&leg).kind, kind);
        b.works(&leg);
        assert_eq!(b.stage.covered(S), Some(qty("1")), "{kind:?}");
    }
}

#[test]
fn only_what_the_venue_shows_to_rest_covers() {
    let mut b = Bench::with(wide());
    let entry = b.bracketed(long("1"));
    assert_eq!((b.stage.covered(S), b.stage.protecting()), (None, 0), "nothing is held");
    let out = b.fill_part(&entry, "0.4", "0.6", "100");
    assert_eq!(b.stage.covered(S), Some(Qty::ZERO), "sent, and not answered");
    // The target rests: where there is a stop, it covers nothing.
    b.works(&out[1]);
    assert_eq!((b.stage.covered(S), b.stage.protecting()), (Some(Qty::ZERO), 1));
    b.works(&out[0]);
    assert_eq!((b.stage.covered(S), b.stage.protecting()), (Some(qty("0.4")), 2));
    // In doubt, and wanted gone.
    b.link(LinkState::Down);
    assert_eq!((b.stage.covered(S), b.stage.protecting()), (Some(Qty::ZERO), 0));
    let (mut b, ..) = Bench::held(wide(), "1");
    b.operator(OperatorVerb::Kill);
    assert_eq!((b.stage.covered(S), b.stage.protecting()), (Some(Qty::ZERO), 0));
}

#[test]
fn a_price_that_the_average_moved_by_a_tick_stays_and_one_that_was_named_does_not() {
    // Bought at 100 and at this price: the average, and with it the stop, moves by half of it.
    for (price, stop) in [("100.002", "98"), ("100.004", "98.002")] {
        let mut b = Bench::with(wide());
        let stop_only = Bracket { target: Guarded::Off, ..bracket() };
        let out = b.want_protected(S, long("1"), Some(stop_only));
        let entry = b.works(&only(&out));
        let out = b.fill_part(&entry, "0.5", "0.5", "100");
        b.works(&only(&out));
        let out = b.fill_part(&entry, "0.5", "0", price);
        let Action::Amend { px: at, qty: size, .. } = only(&out).action else { panic!("{out:?}") };
        assert_eq!((at, size), (px(stop), qty("-1")), "{price}");
    }
    let (mut b, stop, _) = Bench::held(wide(), "1");
    let at = |price| Some(Bracket { stop: Guarded::At(px(price)), ..bracket() });
    assert!(b.want_protected(S, Want::Protect, at("98")).is_empty());
    let out = b.want_protected(S, Want::Protect, at("98.001"));
    let Action::Amend { cid, px: to, .. } = only(&out).action else { panic!("{out:?}") };
    assert_eq!((cid, to), (stop.cid, px("98.001")));
}

#[test]
fn where_the_venue_holds_less_for_longer_than_messages_take_the_legs_are_smaller() {
    for (ms, count) in [(5_000, 0), (5_001, 2)] {
        let (mut b, ..) = Bench::held(wide(), "1");
        assert!(b.venue_holds("0.5").is_empty());
        assert!(b.pass(ms).is_empty());
        let out = b.venue_holds("0.5");
        assert_eq!(amends(&out).len(), count, "{ms}");
        assert!(amends(&out).iter().all(|size| *size == qty("-0.5")));
    }
}

// ---- trying ----

#[test]
fn a_refused_leg_is_tried_again_at_its_time() {
    let (mut b, stop, _) = Bench::held(wide(), "1");
    b.pass(2_000);
    let again = new_of(&only(&b.ended(&stop, OrderStatus::Refused)));
    b.refused(AckOf::New, &again);
    assert!(b.pass(999).is_empty());
    assert_eq!(legs(&b.pass(1)).len(), 1);
}

/// A leg that could not be placed is asked about once a second; what tells that it could not is
/// answered at once when its time has come.
#[test]
fn every_word_about_a_leg_is_answered_at_once() {
    let word = |b: &mut Bench, place: usize, stop: &NewOrder| match place {
        0 => drop(b.refused(AckOf::New, stop)),
        1 => drop(b.ended(stop, OrderStatus::Refused)),
        _ => {
            let (outcome, of) = (SendOutcome::LatchForbids, AckOf::New);
            b.event(Body::Report(SendReport { outcome, of, symbol: S, cid: stop.cid }));
        }
    };
    for place in 0..3 {
        let (mut b, out) = bought(wide(), "1", bracket());
        let stop = new_of(&out[0]);
        b.works(&out[1]);
        assert!(b.pass(1_000).is_empty(), "no answer yet");
        assert!(b.pass(200).is_empty());
        b.out.clear();
        word(&mut b, place, &stop);
        assert_eq!(legs(&b.out), [(OrderKind::Stop, qty("-1"), px("98"))], "{place}");
    }
}

#[test]
fn a_change_that_is_refused_twice_gives_way_to_a_new_order() {
    let mut b = Bench::with(wide());
    let entry = b.bracketed(long("1"));
    let out = b.fill_part(&entry, "0.4", "0.6", "100");
    let (stop, target) = (b.works(&out[0]), b.works(&out[1]));
    let out = b.fill_part(&entry, "0.6", "0", "100");
    assert_eq!((amends(&out).len(), b.stage.counters().protects_changed), (2, 2));
    assert!(b.amended(&target, "-1").is_empty());
    for _ in 0..2 {
        assert!(b.refused(AckOf::Update, &stop).is_empty());
        assert!(b.pass(998).is_empty());
        let out = b.pass(2);
        if cancels(&out) == 1 {
            break;
        }
        assert_eq!(amends(&out), [qty("-1")]);
    }
    assert_eq!(b.stage.counters().protects_changed, 3, "changed twice, and cancelled");
    assert!(b.pass(900).is_empty(), "two stops at once would be one too many");
    let out = b.ended(&stop, OrderStatus::Canceled);
    assert_eq!(legs(&out), [(OrderKind::Stop, qty("-1"), px("98"))]);
    assert_eq!(b.stage.counters().protects, 3);
}

#[test]
fn a_leg_is_not_changed_before_its_first_array() {
    let mut b = Bench::with(wide());
    let entry = b.bracketed(long("1"));
    let out = b.fill_part(&entry, "0.4", "0.6", "100");
    let stop = new_of(&out[0]);
    let (of, refusal, cid) = (AckOf::New, Refusal::None, stop.cid);
    b.event(Body::Ack(Ack { of, success: true, refusal, symbol: S, id: OrderId(700), cid }));
    let out = b.fill_part(&entry, "0.6", "0", "100");
    assert!(out.is_empty(), "acknowledged alone: {out:?}");
    b.out.clear();
    b.venue(&stop, Source::New, OrderStatus::Active, stop.qty);
    assert_eq!(amends(&b.out), [qty("-1")]);
}

#[test]
fn the_entry_s_own_untold_fills_hold_up_no_leg() {
    let mut b = Bench::with(wide());
    let entry = b.bracketed(long("1"));
    b.out.clear();
    b.venue(&entry, Source::Update, OrderStatus::PartiallyFilled, qty("0.6"));
    assert!(b.out.is_empty());
    // Of the two trades that make it up, the first.
    b.trades(&entry, qty("0.2"), "100");
    assert_eq!(legs(&b.out).len(), 2);
    assert_eq!(legs(&b.out)[0].1, qty("-0.2"));
}

// ---- what belongs to nothing ----

#[test]
fn of_two_orders_for_one_leg_one_stays() {
    let (b, ..) = Bench::held(wide(), "1");
    let memory = b.stage.memory();
    let (stop, target) = ((OrderKind::Stop, "-1", "98"), (OrderKind::Limit, "-1", "105"));
    let b = reborn(&memory, 1, "1", &[stop, target]);
    assert!(b.out.is_empty(), "{:?}", b.out);
    assert_eq!((b.stage.protecting(), b.stage.covered(S)), (2, Some(qty("1"))));
    let b = reborn(&memory, 1, "1", &[stop, stop, target, target, target]);
    assert_eq!((cancels(&b.out), news(&b.out)), (3, 0), "{:?}", b.out);
    // One on the wrong side protects nothing, and goes before another comes.
    let b = reborn(&memory, 1, "1", &[(OrderKind::Stop, "1", "102"), target]);
    assert_eq!((cancels(&b.out), news(&b.out)), (1, 0), "{:?}", b.out);
    // Nothing is held: nothing is protected.
    let b = reborn(&memory, 1, "0", &[stop, target]);
    assert_eq!((cancels(&b.out), news(&b.out)), (2, 0), "{:?}", b.out);
    assert!(!is_active(&b, Side::Buy));
}

#[test]
fn one_input_makes_four_legs_at_most_and_the_next_one_goes_on() {
    let (b, ..) = Bench::held(wide(), "1");
    let memory = b.stage.memory();
    let mut b = reborn(&memory, 3, "1", &[]);
    assert_eq!(news(&b.out), 4, "{:?}", b.out);
    assert_eq!(news(&b.pass(0)), 2);
    assert!(b.pass(0).is_empty());
}

#[test]
fn an_order_that_only_closes_in_part_is_no_protection_to_be_spared() {
    let (mut b, ..) = Bench::held(wide(), "1");
    let out = b.once("-0.5", "104");
    let mine = b.works(&only(&out));
    let out = b.operator(OperatorVerb::CancelAll);
    let Action::Cancel { cid, .. } = only(&out).action else { panic!("{out:?}") };
    assert_eq!(cid, mine.cid);
}

// ---- how long a bracket lasts ----

#[test]
fn protection_of_nothing_is_refused() {
    let mut b = Bench::with(wide());
    assert!(b.want_protected(S, Want::Protect, Some(bracket())).is_empty());
    assert_eq!(b.blocked(Guard::NothingHeld), 1);
    assert!(!is_active(&b, Side::Buy) && !is_active(&b, Side::Sell));
}

#[test]
fn a_bracket_lasts_as_long_as_something_can_open_what_it_protects() {
    // While the entry is alive; with its end, if nothing was filled.
    let mut b = Bench::with(wide());
    let entry = b.bracketed(long("1"));
    assert!(is_active(&b, Side::Buy) && !is_active(&b, Side::Sell));
    b.pass(1_000);
    assert!(is_active(&b, Side::Buy));
    b.ended(&entry, OrderStatus::Canceled);
    assert!(!is_active(&b, Side::Buy));
    // While something is held, and no longer.
    let (mut b, _, target) = Bench::held(wide(), "1");
    b.pass(1_000);
    assert!(is_active(&b, Side::Buy));
    b.fill_part(&target, "-1", "0", "105");
    assert!(!is_active(&b, Side::Buy));
    // The same on the other side.
    let mut b = Bench::with(wide());
    let entry = b.bracketed(long("-1"));
    assert!(!is_active(&b, Side::Buy) && is_active(&b, Side::Sell));
    b.pass(1_000);
    assert!(is_active(&b, Side::Sell));
    let out = b.fill_part(&entry, "-1", "0", "100");
    assert_eq!(legs(&out).len(), 2);
    assert!(is_active(&b, Side::Sell));
}

#[test]
fn a_fill_that_comes_after_its_order_was_given_up_is_protected() {
    let mut b = Bench::with(wide());
    let entry = b.bracketed(long("1"));
    b.ended(&entry, OrderStatus::Canceled);
    assert!(!is_active(&b, Side::Buy));
    // One that has no bracket of its own brings none back.
    let out = b.once("1", "100");
    let plain = b.works(&only(&out));
    let out = b.fill_part(&plain, "0.2", "0.8", "100");
    assert!(out.is_empty() && !is_active(&b, Side::Buy), "{out:?}");
    b.out.clear();
    b.trades(&entry, qty("0.5"), "100");
    assert!(is_active(&b, Side::Buy));
    assert_eq!(legs(&b.out).len(), 2);
    assert_eq!(legs(&b.out)[0].1, qty("-0.7"), "all that is held");
}

// ---- who owns the symbol ----

#[test]
fn a_reset_after_a_kill_that_left_something_protects_it_again() {
    let config = RiskConfig { flatten_attempts_max: 1, ..wide() };
    let (mut b, stop, target) = Bench::held(config, "1");
    b.operator(OperatorVerb::Kill);
    b.ended(&stop, OrderStatus::Canceled);
    let close = new_of(&only(&b.ended(&target, OrderStatus::Canceled)));
    assert!(b.ended(&close, OrderStatus::IocCanceled).is_empty());
    assert_eq!(b.stage.rank(), Rank::Halted);
    b.mark("99", "101");
    assert!(b.pass(60_000).is_empty(), "halted: nothing is made");
    assert!(b.venue_holds("1").is_empty());
    let out = b.operator(OperatorVerb::Reset);
    assert_eq!(legs(&out).len(), 2, "{out:?}");
}

#[test]
fn a_stop_lets_protection_grow_until_it_rests_and_nothing_else_after() {
    let (mut b, out) = bought(wide(), "1", bracket());
    let more = b.operator(OperatorVerb::Stop);
    assert!(more.is_empty(), "{more:?}");
    assert_eq!((b.stage.rank(), b.stage.is_quiesced()), (Rank::ReduceOnly, false));
    b.works(&out[0]);
    assert_eq!((b.stage.rank(), b.stage.is_quiesced()), (Rank::ReduceOnly, false));
    b.works(&out[1]);
    assert_eq!((b.stage.rank(), b.stage.is_quiesced()), (Rank::CancelOnly, true));
}

#[test]
fn how_long_a_position_is_naked_is_told() {
    let (mut b, stop, _) = Bench::held(guarded(GuardMode::On), "1");
    let level = |b: &Bench| b.stage.levels()[Guard::NakedPosition as usize];
    assert_eq!((level(&b).used, level(&b).limit), (Some(0), 30_000));
    b.ended(&stop, OrderStatus::Refused);
    b.pass(3_000);
    assert_eq!(level(&b).used, Some(3_000));
    assert!(!level(&b).objects && !b.stage.symbol_snapshot(S).naked);
    b.pass(2_000);
    assert!(level(&b).objects && b.stage.symbol_snapshot(S).naked);
    assert_eq!(level(&b).trips, 1);
}

#[test]
fn a_flatten_ends_the_clock_of_a_naked_position_before_its_alarm_and_not_after() {
    for (seconds, naked) in [(4, false), (5, true)] {
        let (mut b, stop, _) = Bench::held(guarded(GuardMode::On), "1");
        b.ended(&stop, OrderStatus::Refused);
        b.pass(seconds * 1_000);
        assert_eq!(b.stage.symbol_snapshot(S).naked, naked);
        b.operator(OperatorVerb::Flatten);
        b.pass(2_000);
        assert_eq!(b.stage.naked_for(0).is_some(), naked, "{seconds}");
        assert_eq!(b.stage.symbol_snapshot(S).naked, naked);
    }
}

#[test]
fn another_link_s_words_are_no_reason_to_change_anything() {
    let (mut b, ..) = Bench::held(wide(), "1");
    let (conn, state) = (ConnId(1), LinkState::Down);
    b.event(Body::Link(LinkEvent { conn, trading: false, state, code: 0 }));
    assert!(b.out.is_empty());
    assert_eq!(b.stage.covered(S), Some(qty("1")));
}

// ---- doubts ----

/// A close of this size in a lane, as the guards are asked about it.
fn close_in(lane: Lane, size: Qty) -> Draft {
    Draft {
        symbol: S,
        strategy: StrategyId(0),
        lane,
        reason: Reason::StopLoss,
        side: Side::Sell,
        qty: size,
        px: px("99"),
        kind: OrderKind::Limit,
        flags: OrderFlags::REDUCE_ONLY,
        class: Class::Close,
        amends: false,
        bracket: None,
    }
}

#[test]
fn a_doubt_about_an_entry_holds_up_closes_but_no_protection() {
    let doubt = Err(Guard::UnknownOutcome);
    let ask = |b: &mut Bench, lane| b.stage.check(&close_in(lane, qty("1")));
    let mut b = Bench::with(wide());
    let entry = b.bracketed(long("1"));
    only(&b.once("0.5", "99"));
    b.pass(5_000);
    assert!(b.stage.symbol_snapshot(S).frozen);
    b.mark("99", "101");
    for (lane, may) in [(Lane::Once, doubt), (Lane::Flatten, doubt), (Lane::Protect, Ok(()))] {
        assert_eq!(ask(&mut b, lane), may, "{lane:?}");
    }
    assert_eq!(legs(&b.fill_part(&entry, "0.4", "0.6", "100")).len(), 2);
    // Of legs that nobody answered for: what can only close holds up no flatten.
    let (mut b, _) = bought(wide(), "1", bracket());
    b.pass(5_000);
    assert!(b.stage.symbol_snapshot(S).frozen);
    b.mark("99", "101");
    for (lane, may) in [(Lane::Once, doubt), (Lane::Flatten, Ok(())), (Lane::Protect, Ok(()))] {
        assert_eq!(ask(&mut b, lane), may, "{lane:?}");
    }
}

#[test]
fn a_flatten_does_not_wait_for_legs_whose_cancels_are_not_answered() {
    let (mut b, ..) = Bench::held(wide(), "1");
    assert_eq!(cancels(&b.operator(OperatorVerb::Flatten)), 2);
    b.pass(4_000);
    b.mark("99", "101");
    assert_eq!(news(&b.pass(999)), 0, "they may still fill");
    let out = b.pass(1);
    assert_eq!(legs(&out).len(), 1, "{out:?}");
    assert_eq!(b.stage.counters().news, 4);
}

#[test]
fn the_venue_s_sizes_hold_for_protection_too() {
    let mut b = Bench::with(wide());
    for (raw, refused) in [
        (999_999, Some(Guard::MinSize)),
        (1_000_000, None),
        (1_000_001, None),
        (9_999_999_999, None),
        (10_000_000_000, None),
        (10_000_000_001, Some(Guard::MaxSize)),
    ] {
        let got = b.stage.check(&close_in(Lane::Protect, Qty::from_raw(raw)));
        assert_eq!(got.err(), refused, "{raw}");
    }
}

#[test]
fn prices_of_legs_are_rounded_to_the_safe_side() {
    let leg = |side: &str, price: &str| {
        let mut b = Bench::with(wide());
        let out = b.want_protected(S, long(side), Some(bracket()));
        let entry = b.works(&only(&out));
        let out = b.fill_part(&entry, side, "0", price);
        (legs(&out)[0].2, legs(&out)[1].2)
    };
    // The stop a little sooner, the target not below what was asked.
    assert_eq!(leg("1", "100.0005"), (px("98.001"), px("105.01")));
    assert_eq!(leg("-1", "100.0005"), (px("102"), px("95")));
}

#[test]
fn a_flatten_owns_its_symbol_and_its_legs_ask_no_guard() {
    let (mut b, stop, target) = Bench::held(wide(), "1");
    b.operator(OperatorVerb::Flatten);
    b.ended(&stop, OrderStatus::Canceled);
    let close = only(&b.ended(&target, OrderStatus::Canceled));
    b.works(&close);
    b.pass(2_000);
    assert_eq!((b.blocked(Guard::Flattening), b.stage.counters().protects), (0, 2));
}

#[test]
fn while_a_kill_is_at_work_a_late_fill_is_closed_and_not_protected() {
    let mut b = Bench::with(wide());
    let entry = b.bracketed(long("1"));
    b.ended(&entry, OrderStatus::Canceled);
    // An order of the other symbol keeps the kill from being done.
    b.mark_of(SymbolId(1), "99", "101");
    assert_eq!(b.want_of(SymbolId(1), long("1")).len(), 1);
    b.operator(OperatorVerb::Kill);
    assert_eq!(b.stage.rank(), Rank::ReduceOnly);
    assert!(!b.stage.symbol_snapshot(S).flattening, "nothing was held of this one");
    b.out.clear();
    b.trades(&entry, qty("0.5"), "100");
    assert_eq!(b.stage.positions().qty(S), qty("0.5"));
    let close = new_of(&only(&b.out));
    assert_eq!((close.kind, close.qty), (OrderKind::Ioc, qty("-0.5")));
    assert!(close.flags.has(OrderFlags::REDUCE_ONLY));
    assert!(b.stage.symbol_snapshot(S).flattening);
}

#[test]
fn an_order_that_comes_back_to_life_keeps_a_stop_from_being_done() {
    let (mut b, ..) = Bench::held(wide(), "1");
    let other = new_of(&only(&b.once("0.5", "99")));
    b.refused(AckOf::New, &other);
    b.operator(OperatorVerb::Stop);
    assert!(b.stage.is_quiesced());
    b.venue(&other, Source::New, OrderStatus::Active, other.qty);
    assert!(!b.stage.is_quiesced());
}

/// A run before this one may have had orders without a bracket.
#[test]
fn a_fill_of_an_order_taken_over_brings_no_bracket_where_none_was_known() {
    let mut b = Bench::with(wide());
    let entry = b.bracketed(long("-1"));
    b.ended(&entry, OrderStatus::Canceled);
    let mut b = reborn(&b.stage.memory(), 1, "0", &[]);
    let (id, cid) = (OrderId(600), Cid(20));
    b.event(Body::Order(OrderUpdate {
        source: Source::Update,
        kind: OrderKind::Limit,
        status: OrderStatus::Active,
        wallet: WalletKind::Margin,
        symbol: S,
        id,
        gid: 7,
        cid,
        created_at: WALL,
        updated_at: WALL,
        remaining: qty("1"),
        original: qty("1"),
        px: px("100"),
        px_avg: Px::ZERO,
        flags: OrderFlags::NONE,
    }));
    b.event(Body::Fill(Fill {
        trade: TradeId(70),
        symbol: S,
        order: id,
        cid,
        at: crate::base::time::WallNs(WALL.0 + 1),
        qty: qty("1"),
        px: px("100"),
        maker: None,
        fee: None,
        fee_currency: Currency::EMPTY,
    }));
    assert_eq!(b.stage.positions().qty(S), qty("1"));
    assert!(!is_active(&b, Side::Buy));
    assert_eq!((b.stage.covered(S), b.stage.naked_for(0)), (None, None));
}
