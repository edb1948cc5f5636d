//! Claims about protective orders: what they cover, what takes them away, and what happens where
//! there are none. Under shuffled and lost messages: `drill.rs`.

use super::tests::{Bench, new_of, px, qty, wide};
use super::*;
use crate::base::ids::{OrderId, SymbolId};
use crate::base::time::SpanNs;
use crate::base::units::{Px, Qty, Quote, Side};
use crate::engine::orders::OrdersConfig;
use crate::model::*;
use std::sync::{Arc, Mutex};

mod claim_tests;

const S: SymbolId = SymbolId(0);

fn bracket() -> Bracket {
    Bracket { target: Guarded::Away(px("5")), stop: Guarded::Away(px("2")) }
}
fn long(size: &str) -> Want {
    Want::Once { qty: qty(size), px: px("100"), urgency: Urgency::Limit, reduce: false }
}

/// The legs among commands: (kind, signed size, price), stop first.
fn legs(commands: &[Command]) -> Vec<(OrderKind, Qty, Px)> {
    let mut all: Vec<(OrderKind, Qty, Px)> = Vec::new();
    for command in commands {
        if let Action::New(new) = command.action {
            assert!(new.flags.has(OrderFlags::REDUCE_ONLY), "{command:?}");
            assert_eq!(command.class, Class::Close);
            all.push((new.kind, new.qty, new.px));
        }
    }
    all
}
fn amends(commands: &[Command]) -> Vec<Qty> {
    let amend = |command: &Command| match command.action {
        Action::Amend { qty, .. } => Some(qty),
        _ => None,
    };
    commands.iter().filter_map(amend).collect()
}
fn cancels(commands: &[Command]) -> usize {
    commands.iter().filter(|command| command.class == Class::Cancel).count()
}

impl Bench {
    fn bracketed(&mut self, want: Want) -> NewOrder {
        let out = self.want_protected(S, want, Some(bracket()));
        self.works(&super::tests::only(&out))
    }
    /// A part of an order fills at this price: its array, then its trade. What leaves then.
    fn fill_part(&mut self, new: &NewOrder, size: &str, left: &str, price: &str) -> Vec<Command> {
        self.out.clear();
        self.now = self.now + SpanNs::from_ms(1);
        let (left, size) = (qty(left), qty(size));
        if left.is_zero() {
            self.venue(new, Source::Closed, OrderStatus::Executed, left);
        } else {
            self.venue(new, Source::Update, OrderStatus::PartiallyFilled, left);
        }
        self.trades(new, size, price);
        let qty = self.stage.positions().qty(S);
        let (source, symbol, base_px, pnl) = (Source::Update, S, px(price), None);
        self.event(Body::Position(PositionUpdate { source, symbol, qty, base_px, pnl }));
        self.out.clone()
    }
    /// The venue takes a change, as it was asked.
    fn amended(&mut self, new: &NewOrder, to: &str) -> Vec<Command> {
        self.out.clear();
        self.now = self.now + SpanNs::from_ms(1);
        let id = self.stage.ledger().find(new.cid).unwrap().id;
        let (of, refusal, symbol, cid) = (AckOf::Update, Refusal::None, S, new.cid);
        self.event(Body::Ack(Ack { of, success: true, refusal, symbol, id, cid }));
        self.venue(new, Source::Update, OrderStatus::Active, qty(to));
        self.out.clone()
    }
    /// A long of this size, filled at 100, with both legs resting.
    fn held(config: RiskConfig, size: &str) -> (Bench, NewOrder, NewOrder) {
        let mut b = Bench::with(config);
        let entry = b.bracketed(long(size));
        let out = b.fill_part(&entry, size, "0", "100");
        assert_eq!(legs(&out).len(), 2, "{out:?}");
        let (stop, target) = (b.works(&out[0]), b.works(&out[1]));
        b.out.clear();
        assert_eq!(b.stage.covered(S), Some(qty(size)));
        (b, stop, target)
    }
    fn ended(&mut self, new: &NewOrder, status: OrderStatus) -> Vec<Command> {
        self.out.clear();
        self.ends(new, status);
        self.out.clone()
    }
}
#[test]
fn what_is_filled_is_protected_and_nothing_else() {
    let mut b = Bench::with(wide());
    let entry = b.bracketed(long("1"));
    assert!(b.pass(10_000).is_empty(), "nothing is filled, so nothing is protected");
    b.mark("99", "101");
    let out = b.fill_part(&entry, "0.4", "0.6", "100");
    let size = qty("-0.4");
    assert_eq!(
        legs(&out),
        [(OrderKind::Stop, size, px("98")), (OrderKind::Limit, size, px("105"))]
    );
    let (stop, target) = (b.works(&out[0]), b.works(&out[1]));
    // The next part: both grow, by a change in place.
    let out = b.fill_part(&entry, "0.6", "0", "100");
    assert_eq!(amends(&out), [qty("-1"), qty("-1")]);
    assert_eq!(cancels(&out), 0);
    assert!(b.amended(&stop, "-1").is_empty());
    assert!(b.amended(&target, "-1").is_empty());
    assert_eq!(b.stage.covered(S), Some(qty("1")));
    assert!(b.pass(60_000).is_empty(), "at rest");
    assert_eq!(b.stage.counters().naked_alarms, 0);
}

#[test]
fn a_leg_that_fills_takes_the_other_along() {
    let (mut b, stop, target) = Bench::held(wide(), "1");
    // In part: the other shrinks.
    let out = b.fill_part(&target, "-0.3", "-0.7", "105");
    assert_eq!(amends(&out), [qty("-0.7")]);
    assert!(matches!(out[0].action, Action::Amend { cid, .. } if cid == stop.cid));
    assert!(b.amended(&stop, "-0.7").is_empty());
    assert_eq!(b.stage.covered(S), Some(qty("0.7")));
    // Whole: the other goes.
    let out = b.fill_part(&target, "-0.7", "0", "105");
    assert_eq!((legs(&out).len(), cancels(&out)), (0, 1), "{out:?}");
    assert!(b.ended(&stop, OrderStatus::Canceled).is_empty());
    assert!(b.pass(60_000).is_empty());
    assert_eq!(b.stage.ledger().alive(), 0);
    // And the other way round.
    let (mut b, stop, target) = Bench::held(wide(), "1");
    let out = b.fill_part(&stop, "-1", "0", "98");
    assert_eq!((legs(&out).len(), cancels(&out)), (0, 1), "{out:?}");
    assert!(b.ended(&target, OrderStatus::Canceled).is_empty());
    assert_eq!(b.stage.positions().qty(S), Qty::ZERO);
}

#[test]
fn an_array_before_its_trade_makes_no_order_larger_than_the_position() {
    let (mut b, _, target) = Bench::held(wide(), "1");
    // Long enough ago that the target could be tried again.
    assert!(b.pass(2_000).is_empty());
    // The venue ended the stop for it first, as it may with a reduce-only order.
    b.venue(&target, Source::Update, OrderStatus::PartiallyFilled, qty("-0.7"));
    assert!(b.out.is_empty(), "how much is held will be said by the trade: {:?}", b.out);
    b.trades(&target, qty("-0.3"), "105");
    assert_eq!(amends(&b.out), [qty("-0.7")]);
}

#[test]
fn a_leg_that_the_venue_ends_is_made_anew() {
    let (mut b, stop, _) = Bench::held(wide(), "1");
    b.pass(2_000);
    let out = b.ended(&stop, OrderStatus::Canceled);
    assert_eq!(legs(&out), [(OrderKind::Stop, qty("-1"), px("98"))]);
    let again = new_of(&out[0]);
    assert!(again.cid > stop.cid);
    // Refused each time: once a second, not more.
    assert!(b.ended(&again, OrderStatus::Refused).is_empty());
    assert!(b.pass(500).is_empty());
    assert_eq!(legs(&b.pass(600)).len(), 1);
}

#[test]
fn a_short_is_protected_on_its_own_side() {
    let mut b = Bench::with(wide());
    let entry =
        b.bracketed(Want::Target { qty: qty("-1"), px: px("99.9"), urgency: Urgency::Limit });
    let out = b.fill_part(&entry, "-1", "0", "99.97");
    let size = qty("1");
    assert_eq!(
        legs(&out),
        [(OrderKind::Stop, size, px("101.97")), (OrderKind::Limit, size, px("94.97"))]
    );
}

#[test]
fn what_blocks_entries_lets_protection_stand_and_grow() {
    for verb in [OperatorVerb::Pause, OperatorVerb::CancelAll, OperatorVerb::Stop] {
        let mut b = Bench::with(wide());
        let entry = b.bracketed(long("1"));
        let out = b.fill_part(&entry, "0.4", "0.6", "100");
        let (stop, target) = (b.works(&out[0]), b.works(&out[1]));
        let out = b.operator(verb);
        assert_eq!(cancels(&out), 1, "{verb:?}: the rest of the entry alone: {out:?}");
        assert!(matches!(out[0].action, Action::Cancel { cid, .. } if cid == entry.cid));
        // What fills meanwhile is protected, too.
        let out = b.fill_part(&entry, "0.2", "0.4", "100");
        assert_eq!(amends(&out), [qty("-0.6"), qty("-0.6")], "{verb:?}: {out:?}");
        assert!(out.iter().all(|command| b.stage.rank().allows(command.class)));
        b.amended(&stop, "-0.6");
        b.amended(&target, "-0.6");
        b.ended(&entry, OrderStatus::Canceled);
        let quiet = verb == OperatorVerb::Stop;
        assert_eq!(b.stage.is_quiesced(), quiet, "{verb:?}: what protects what is kept may stay");
        assert_eq!(b.stage.covered(S), Some(qty("0.6")));
    }
}

#[test]
fn a_strategy_cancels_its_orders_and_not_its_protection() {
    let (mut b, ..) = Bench::held(wide(), "1");
    assert!(b.want(Want::Cancel).is_empty());
    // Its own close is no larger than the position, whatever rests.
    let out = b.take("-3", true);
    assert_eq!(new_of(&out[0]).qty, qty("-1"));
    let out = b.want(Want::Flatten);
    assert_eq!(cancels(&out), 3, "a flatten owns everything");
}

#[test]
fn in_cancel_only_nothing_goes() {
    let mut b = Bench::with(wide());
    let entry = b.bracketed(long("1"));
    b.event(Body::Venue(VenueFact::OrderEntryDown));
    assert_eq!(b.stage.rank(), Rank::CancelOnly);
    assert!(b.fill_part(&entry, "1", "0", "100").is_empty());
    assert!(b.pass(4_999).is_empty());
    assert!(!b.stage.symbol_snapshot(S).naked);
    assert!(b.pass(1).is_empty());
    assert!(b.stage.symbol_snapshot(S).naked, "but it is told");
    assert!(b.pass(60_000).is_empty(), "not even the close");
    b.out.clear();
    b.event(Body::Venue(VenueFact::OrderEntryUp));
    assert_eq!(b.stage.counters().naked_closes, 1);
}

#[test]
fn a_kill_takes_protection_away_and_closes() {
    let (mut b, stop, target) = Bench::held(wide(), "1");
    assert_eq!(cancels(&b.operator(OperatorVerb::Kill)), 2);
    b.ended(&stop, OrderStatus::Canceled);
    let out = b.ended(&target, OrderStatus::Canceled);
    let close = new_of(&out[0]);
    assert_eq!((close.kind, close.qty), (OrderKind::Ioc, qty("-1")));
    b.works(&out[0]);
    b.fill_part(&close, "-1", "0", "99");
    assert!(b.stage.is_quiesced());
    assert_eq!(b.stage.rank(), Rank::Halted);
}

fn guarded(mode: GuardMode) -> RiskConfig {
    let mut config = wide();
    config.guards[Guard::NakedPosition as usize] = mode;
    config
}

#[test]
fn a_naked_position_is_told_and_then_closed() {
    let (mut b, stop, target) = Bench::held(guarded(GuardMode::On), "1");
    b.mark("99", "101");
    let mut next = b.ended(&stop, OrderStatus::Refused);
    // The venue refuses every new stop.
    let (mut told, mut closed) = (None, None);
    for second in 1..=40 {
        for command in next.iter().filter(|command| matches!(command.action, Action::New(_))) {
            let new = new_of(command);
            if new.kind == OrderKind::Stop {
                b.ended(&new, OrderStatus::Refused);
            }
        }
        b.mark("99", "101");
        next = b.pass(1_000);
        let row = b.stage.symbol_snapshot(S);
        told = told.or(row.naked.then_some(second));
        closed = closed.or(row.flattening.then_some(second));
        if closed.is_some() {
            break;
        }
    }
    assert_eq!((told, closed), (Some(5), Some(30)));
    let counters = b.stage.counters();
    assert_eq!((counters.naked_alarms, counters.naked_closes), (1, 1));
    assert!(b.blocked(Guard::NakedPosition) == 0);
    let more = Want::Once { qty: qty("1"), px: px("99"), urgency: Urgency::Limit, reduce: false };
    let opened = b.want(more).iter().filter(|command| command.class == Class::Entry).count();
    assert_eq!(opened, 0, "nothing is opened meanwhile");
    let out = b.ended(&target, OrderStatus::Canceled);
    let close = *out.iter().find(|command| command.class == Class::Close).unwrap();
    assert_eq!((new_of(&close).qty, close.reason), (qty("-1"), Reason::StopLoss));
    let close = b.works(&close);
    b.fill_part(&close, "-1", "0", "99");
    let row = b.stage.symbol_snapshot(S);
    assert!(!row.naked && !row.flattening && row.position.is_zero());
    assert_eq!(b.want(more).len(), 1, "and free again");
}

#[test]
fn the_naked_alarm_closes_entries_of_its_symbol_and_shadow_only_counts() {
    for (mode, enters, shadowed) in
        [(GuardMode::On, false, 0), (GuardMode::Shadow, true, 1), (GuardMode::Off, true, 0)]
    {
        let (mut b, stop, _) = Bench::held(guarded(mode), "1");
        b.ended(&stop, OrderStatus::Refused);
        let mut news = 0;
        for second in 0..40 {
            let out = b.pass(1_000);
            if second == 10 {
                b.mark("99", "101");
                let out = b.once("1", "99");
                news = out.iter().filter(|command| command.class == Class::Entry).count();
            }
            for command in out.iter().filter(|c| matches!(c.action, Action::New(_))) {
                b.ended(&new_of(command), OrderStatus::Refused);
            }
        }
        assert_eq!(news == 1, enters, "{mode:?}");
        let got = b.stage.snapshot().guards[Guard::NakedPosition as usize];
        assert_eq!((got.shadowed > 0, got.blocked), (shadowed > 0, u64::from(!enters)), "{mode:?}");
        let closes = b.stage.counters().naked_closes;
        assert_eq!(closes, u64::from(mode == GuardMode::On), "{mode:?}");
    }
}

#[test]
fn what_is_too_small_to_protect_is_told_but_not_flattened() {
    let mut b = Bench::with(guarded(GuardMode::On));
    let entry = b.bracketed(long("1"));
    assert!(b.fill_part(&entry, "0.005", "0.995", "100").is_empty());
    b.pass(5_000);
    assert!(b.stage.symbol_snapshot(S).naked);
    b.pass(60_000);
    assert!(!b.stage.symbol_snapshot(S).flattening);
    b.mark("99", "101");
    let out = b.fill_part(&entry, "0.995", "0", "100");
    assert_eq!(legs(&out).len(), 2);
    b.works(&out[0]);
    assert!(!b.stage.symbol_snapshot(S).naked, "what is covered is not naked");
}

#[test]
fn a_flip_is_protected_by_the_new_bracket_on_the_other_side() {
    let (mut b, stop, target) = Bench::held(wide(), "1");
    let want = Want::Target { qty: qty("-1"), px: Px::ZERO, urgency: Urgency::Take };
    let other = Bracket { target: Guarded::Off, stop: Guarded::At(px("103")) };
    let out = b.want_protected(S, want, Some(other));
    let close = new_of(&out[0]);
    assert_eq!(close.qty, qty("-1"), "the close comes first");
    b.works(&out[0]);
    let out = b.fill_part(&close, "-1", "0", "100");
    assert_eq!(cancels(&out), 2, "{out:?}");
    let open = out.iter().find(|command| command.class == Class::Entry).copied();
    let mut more = b.ended(&stop, OrderStatus::Canceled);
    more.extend(b.ended(&target, OrderStatus::Canceled));
    let open = open.or(more.iter().find(|command| command.class == Class::Entry).copied());
    let open = b.works(&open.expect("then it opens"));
    let out = b.fill_part(&open, "-1", "0", "100");
    assert_eq!(legs(&out), [(OrderKind::Stop, qty("1"), px("103"))]);
}

#[test]
fn protect_moves_the_stop() {
    let (mut b, stop, _) = Bench::held(wide(), "1");
    let other = Bracket { stop: Guarded::At(px("99")), ..bracket() };
    let out = b.want_protected(S, Want::Protect, Some(other));
    let Action::Amend { cid, px: at, qty: size, .. } = out[0].action else { panic!("{out:?}") };
    assert_eq!((out.len(), cid, at, size), (1, stop.cid, px("99"), qty("-1")));
    let nonsense = Bracket { stop: Guarded::At(Px::ZERO), ..bracket() };
    assert!(b.want_protected(S, Want::Protect, Some(nonsense)).is_empty());
    assert_eq!(b.blocked(Guard::NakedPosition), 1);
}

#[test]
fn what_cannot_be_protected_is_not_opened() {
    let config = RiskConfig { wallet: WalletKind::Exchange, ..wide() };
    let mut b = Bench::with(config);
    assert!(b.want_protected(S, long("1"), Some(bracket())).is_empty());
    let mut b = Bench::with(wide());
    let none = Bracket::default();
    assert!(b.want_protected(S, long("1"), Some(none)).is_empty());
    assert_eq!(b.blocked(Guard::NakedPosition), 1);
}

/// What was written down, in order.
#[derive(Default)]
struct Kept(Vec<SymbolMemory>);
struct Pen(Arc<Mutex<Kept>>);
impl RiskJournal for Pen {
    fn keep_account(&mut self, _: &AccountMemory) {}
    fn keep_symbol(&mut self, row: usize, symbol: &SymbolMemory) {
        if row == 0 {
            self.0.lock().unwrap().0.push(*symbol);
        }
    }
}

#[test]
fn a_bracket_is_written_down_before_its_order_and_lives_through_a_kill() {
    let kept = Arc::new(Mutex::new(Kept::default()));
    let mut b = Bench::with(wide());
    b.stage.keep_in(Box::new(Pen(kept.clone())));
    struct Looks(Arc<Mutex<Kept>>, Vec<bool>);
    impl crate::engine::stage::Outbox<Command> for Looks {
        fn emit(&mut self, _: Command) {
            let kept = self.0.lock().unwrap();
            self.1.push(kept.0.last().is_some_and(|row| row.brackets[0].active));
        }
    }
    let mut looks = Looks(kept, Vec::new());
    let cause = b.stamp();
    let intent = Intent {
        cause,
        trace: Trace::default(),
        strategy: crate::base::ids::StrategyId(0),
        symbol: S,
        reason: Reason::Signal,
        want: long("1"),
        edge: None,
        bracket: Some(bracket()),
    };
    crate::engine::stage::Stage::on_input(&mut b.stage, &Signal::Intent(intent), &mut looks);
    assert_eq!(looks.1, [true], "on paper before it leaves");

    // Killed with both legs at the venue, or with one of them, or with none.
    for resting in 0..=2 {
        let (b, stop, target) = Bench::held(wide(), "1");
        let memory = b.stage.memory();
        let mut next = Bench::cold(wide());
        next.restart(OrdersConfig { gid: 7, cid_used: target.cid, ..OrdersConfig::default() });
        next.now = b.now;
        next.stage.recall(&memory);
        next.link(LinkState::Authenticated);
        let mark = |next: &mut Bench, of, end| {
            next.event(Body::Snapshot(SnapshotMark { of, end, count: 0 }));
        };
        mark(&mut next, SnapshotOf::Positions, false);
        next.event(Body::Position(PositionUpdate {
            source: Source::Snapshot,
            symbol: S,
            qty: qty("1"),
            base_px: px("100"),
            pnl: None,
        }));
        mark(&mut next, SnapshotOf::Positions, true);
        mark(&mut next, SnapshotOf::Orders, false);
        for (place, new) in [stop, target].iter().enumerate().take(resting) {
            next.event(Body::Order(OrderUpdate {
                source: Source::Snapshot,
                kind: new.kind,
                status: OrderStatus::Active,
                wallet: new.wallet,
                symbol: S,
                id: OrderId(500 + place as u64),
                gid: 7,
                cid: new.cid,
                created_at: super::tests::WALL,
                updated_at: super::tests::WALL,
                remaining: new.qty,
                original: new.qty,
                px: new.px,
                px_avg: Px::ZERO,
                flags: new.flags,
            }));
        }
        mark(&mut next, SnapshotOf::Orders, true);
        assert!(next.out.is_empty(), "not before the account is known");
        next.reconcile();
        let kinds: Vec<OrderKind> = legs(&next.out).iter().map(|leg| leg.0).collect();
        let missing = [OrderKind::Stop, OrderKind::Limit];
        assert_eq!(kinds, missing[resting..], "{resting} rested");
        assert_eq!(cancels(&next.out), 0);
        assert!(next.stage.memory().symbols[0].brackets[Side::Buy as usize].active);
        // A pause takes none of them away.
        assert_eq!(cancels(&next.operator(OperatorVerb::Pause)), 0);
    }
}

#[test]
fn a_reconnect_keeps_protection_and_starts_no_alarm() {
    let (mut b, stop, target) = Bench::held(guarded(GuardMode::On), "1");
    b.link(LinkState::Down);
    b.pass(60_000);
    assert!(!b.stage.symbol_snapshot(S).naked, "the link's own alarm tells that");
    b.out.clear();
    b.link(LinkState::Authenticated);
    b.event(Body::Snapshot(SnapshotMark { of: SnapshotOf::Positions, end: false, count: 0 }));
    b.event(Body::Position(PositionUpdate {
        source: Source::Snapshot,
        symbol: S,
        qty: qty("1"),
        base_px: px("100"),
        pnl: None,
    }));
    b.event(Body::Snapshot(SnapshotMark { of: SnapshotOf::Positions, end: true, count: 0 }));
    b.event(Body::Snapshot(SnapshotMark { of: SnapshotOf::Orders, end: false, count: 0 }));
    for new in [&stop, &target] {
        b.venue(new, Source::Snapshot, OrderStatus::Active, new.qty);
    }
    b.event(Body::Snapshot(SnapshotMark { of: SnapshotOf::Orders, end: true, count: 0 }));
    b.reconcile();
    assert!(b.out.is_empty(), "{:?}", b.out);
    assert_eq!(b.stage.covered(S), Some(qty("1")));
    // In doubt no more: a flatten takes them away before it closes.
    let out = b.operator(OperatorVerb::Flatten);
    assert_eq!((cancels(&out), out.len()), (2, 2), "{out:?}");
}

#[test]
fn a_protected_position_makes_up_for_nothing_on_the_other_side() {
    let limits = Limits { position_max: Quote::from_whole(150), ..Limits::default() };
    let (mut b, ..) = Bench::held(RiskConfig { limits, ..wide() }, "1");
    // Without its legs a long of 1 would leave room for sells of 2; its stop may fire first.
    assert_eq!(b.once("-1", "101").len(), 1);
    assert!(b.once("-1", "101").is_empty());
    assert_eq!(b.blocked(Guard::MaxPosition), 1);
    assert!(b.once("1", "99").is_empty(), "and the long side is full as before");
}

#[test]
fn nor_does_a_protected_short() {
    let limits = Limits { position_max: Quote::from_whole(150), ..Limits::default() };
    let mut b = Bench::with(RiskConfig { limits, ..wide() });
    let entry = b.bracketed(long("-1"));
    let out = b.fill_part(&entry, "-1", "0", "100");
    for leg in &out {
        b.works(leg);
    }
    assert_eq!(b.stage.covered(S), Some(qty("1")));
    assert_eq!(b.once("1", "99").len(), 1);
    assert!(b.once("1", "99").is_empty());
    assert_eq!(b.blocked(Guard::MaxPosition), 1);
    assert!(b.once("-1", "101").is_empty(), "and the short side is full as before");
}
