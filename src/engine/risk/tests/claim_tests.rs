//! One claim a test about what an intent does and what it leaves alone: they stand here because a
//! line of the stage could be broken and no other test noticed.

use super::*;

impl Bench {
    fn want_as(&mut self, strategy: u8, symbol: SymbolId, want: Want) -> Vec<Command> {
        let cause = self.stamp();
        let (strategy, reason) = (StrategyId(strategy), Reason::Signal);
        let trace = Trace::default();
        let intent =
            Intent { cause, trace, strategy, symbol, reason, want, edge: None, bracket: None };
        self.out.clear();
        self.stage.on_input(&Signal::Intent(intent), &mut self.out);
        self.out.clone()
    }
    fn counters(&self) -> RiskCounters {
        *self.stage.counters()
    }
    /// Executed by word alone: its trade is missing.
    fn ends_without_its_trade(&mut self, new: &NewOrder) {
        self.ends(new, OrderStatus::Executed);
    }
}
fn limit_order(size: &str, price: &str) -> Want {
    Want::Once { qty: qty(size), px: px(price), urgency: Urgency::Limit, reduce: false }
}
fn resting_target(size: &str, price: &str, urgency: Urgency) -> Want {
    Want::Target { qty: qty(size), px: px(price), urgency }
}
fn cancelled(commands: &[Command]) -> usize {
    commands.iter().filter(|c| c.class == Class::Cancel).count()
}

#[test]
fn every_kind_of_work_is_counted() {
    let mut b = Bench::new();
    let bid = only(&b.quote(("99", "1"), ("101", "0")));
    b.works(&bid);
    let counters = b.counters();
    assert_eq!((counters.intents, counters.news, counters.commands), (1, 1, 1));
    b.quote(("99", "1"), ("101", "0"));
    assert_eq!((b.counters().intents, b.counters().unchanged), (2, 1));
    b.quote(("98", "1"), ("101", "0"));
    assert_eq!((b.counters().amends, b.counters().commands), (1, 2));
    b.quote(("97", "1"), ("101", "0"));
    assert_eq!(b.counters().waiting, 1, "one change at a time");
    b.quote(("97", "0"), ("101", "0"));
    assert_eq!((b.counters().cancels, b.counters().commands), (1, 3));
    let mut b = Bench::with(RiskConfig { requote: Requote::Replace, ..wide() });
    let bid = only(&b.quote(("99", "1"), ("101", "0")));
    b.works(&bid);
    b.quote(("98", "1"), ("101", "0"));
    assert_eq!((b.counters().replaces, b.counters().commands), (1, 2));
}

#[test]
fn a_cancel_takes_the_orders_of_its_strategy_and_symbol_and_no_others() {
    let mut b = Bench::new();
    b.mark_of(SymbolId(1), "99", "101");
    let order = |b: &mut Bench, strategy, symbol| {
        only(&b.want_as(strategy, symbol, limit_order("1", "99"))).cid()
    };
    let mine = order(&mut b, 0, S);
    let theirs = order(&mut b, 1, S);
    let elsewhere = order(&mut b, 0, SymbolId(1));
    assert_eq!(cancelled(&b.want_as(0, S, Want::Cancel)), 1);
    let wanted = |b: &Bench, cid| b.stage.ledger().find(cid).unwrap().cancel_wanted;
    assert!(wanted(&b, mine) && !wanted(&b, theirs) && !wanted(&b, elsewhere));
}

#[test]
fn an_order_that_takes_goes_by_the_type_of_the_config_and_the_price_asked() {
    let take = |price: &str| Want::Once {
        qty: qty("1"),
        px: px(price),
        urgency: Urgency::Take,
        reduce: false,
    };
    let mut b = Bench::new();
    let asked = new_of(&only(&b.want(take("100.5"))));
    assert_eq!((asked.kind, asked.px), (OrderKind::Ioc, px("100.5")));
    let open = new_of(&only(&b.want(take("0"))));
    assert_eq!(open.px, px("101.21"), "20 basis points past the ask");
    let mut b = Bench::with(RiskConfig { take_kind: OrderKind::Market, ..wide() });
    let market = new_of(&only(&b.want(take("100.5"))));
    assert_eq!((market.kind, market.px), (OrderKind::Market, Px::ZERO));
    // A market order has no price that could be missing or beyond the collar.
    let market = new_of(&only(&b.want(Want::Once {
        qty: qty("-1"),
        px: Px::ZERO,
        urgency: Urgency::Take,
        reduce: false,
    })));
    assert_eq!((market.kind, market.px, market.qty), (OrderKind::Market, Px::ZERO, qty("-1")));
}

#[test]
fn a_short_is_closed_by_no_more_than_what_is_held_and_not_yet_closing() {
    let mut b = Bench::new();
    assert!(b.take("1", true).is_empty());
    assert_eq!(b.blocked(Guard::NothingHeld), 1);
    let open = only(&b.take("-2", false));
    b.fills(&open, "99");
    let close = only(&b.take("0.5", true));
    assert_eq!((new_of(&close).qty, close.class), (qty("0.5"), Class::Close));
    let close = only(&b.take("5", true));
    assert_eq!(new_of(&close).qty, qty("1.5"));
    assert!(b.take("1", true).is_empty(), "it is all being closed");
}

#[test]
fn a_target_whose_order_rests_as_wanted_is_left_alone() {
    let mut b = Bench::new();
    let want = resting_target("1", "99", Urgency::Passive);
    let first = only(&b.want(want));
    b.works(&first);
    assert!(b.want(want).is_empty());
    assert_eq!((b.counters().unchanged, b.counters().waiting), (1, 0));
    // Another price, another size, another manner: each is another order, and waits for the end.
    for other in [
        resting_target("1", "98", Urgency::Passive),
        resting_target("2", "99", Urgency::Passive),
        resting_target("1", "99", Urgency::Limit),
        resting_target("-1", "99", Urgency::Passive),
    ] {
        let mut b = Bench::new();
        let first = only(&b.want(want));
        b.works(&first);
        assert_eq!(cancelled(&b.want(other)), 1, "{other:?}");
        assert_eq!((b.counters().unchanged, b.counters().waiting), (0, 1));
    }
}

#[test]
fn a_target_waits_for_trades_that_are_missing() {
    let mut b = Bench::new();
    let first = only(&b.target("1"));
    let new = b.works(&first);
    b.ends_without_its_trade(&new);
    assert!(b.target("1").is_empty(), "it may hold one already");
    assert_eq!(b.counters().waiting, 1);
    b.trades(&new, new.qty, "101");
    assert!(b.target("1").is_empty());
    assert_eq!(b.counters().unchanged, 2, "the one that waited, and this one");
}

#[test]
fn a_target_reached_in_one_step_does_not_wait() {
    let mut b = Bench::new();
    let first = only(&b.target("1"));
    assert_eq!(b.counters().waiting, 0);
    b.fills(&first, "101");
    // To nothing: a close, and no flip.
    let close = only(&b.target("0"));
    assert_eq!((close.class, new_of(&close).qty), (Class::Close, qty("-1")));
    assert_eq!(b.counters().waiting, 0);
    b.fills(&close, "99");
    // A flip waits for its first half; one that a guard refuses waits for nothing.
    let first = only(&b.target("1"));
    b.fills(&first, "101");
    let close = only(&b.target("-2"));
    assert_eq!((new_of(&close).qty, b.counters().waiting), (qty("-1"), 1));
    let mut b = Bench::new();
    let first = only(&b.target("1"));
    b.fills(&first, "101");
    b.link(LinkState::Down);
    assert!(b.target("-2").is_empty());
    assert_eq!(b.counters().waiting, 0);
}

#[test]
fn a_target_that_waits_is_forgotten_with_a_cancel_and_goes_on_with_the_end() {
    for forget in [false, true] {
        let mut b = Bench::new();
        let first = only(&b.want(resting_target("1", "99", Urgency::Passive)));
        let new = b.works(&first);
        b.want(resting_target("1", "98", Urgency::Passive));
        if forget {
            b.want_as(0, S, Want::Cancel);
        }
        b.out.clear();
        b.ends(&new, OrderStatus::Canceled);
        b.pass(1);
        let news = b.out.iter().filter(|c| matches!(c.action, Action::New(_))).count();
        let stands = b.stage.ledger().alive();
        assert_eq!(stands, usize::from(!forget), "{news} sent last");
        assert_eq!(b.counters().targets_expired, 0);
    }
}

#[test]
fn a_target_that_waited_too_long_expires_at_its_time() {
    for (ms, expired) in [(5_000, 0), (5_001, 1)] {
        let mut b = Bench::new();
        let first = only(&b.want(resting_target("1", "99", Urgency::Passive)));
        b.works(&first);
        b.want(resting_target("1", "98", Urgency::Passive));
        b.pass(ms);
        assert_eq!(b.counters().targets_expired, expired, "{ms}");
    }
}

#[test]
fn targets_of_two_symbols_wait_each_for_its_own() {
    let mut b = Bench::new();
    let other = SymbolId(1);
    b.mark_of(other, "99", "101");
    for symbol in [S, other] {
        assert_eq!(b.want_as(0, symbol, resting_target("1", "99", Urgency::Passive)).len(), 1);
        // Not known to work yet: it waits.
        b.want_as(0, symbol, resting_target("1", "98", Urgency::Passive));
    }
    assert_eq!(b.counters().waiting, 2);
    b.want_as(0, S, Want::Cancel);
    b.pass(5_001);
    assert_eq!(b.counters().targets_expired, 1, "the other one's");
}

#[test]
fn an_order_that_does_not_make_the_position_larger_passes_an_exposure_that_is_above() {
    let limit = Quote::from_whole(150);
    let mut b = Bench::with(RiskConfig { exposure_max: limit, ..wide() });
    let first = only(&b.take("1", false));
    b.fills(&first, "101");
    b.mark("199", "201");
    assert!(b.once("0.5", "199").is_empty());
    assert_eq!(b.blocked(Guard::TotalExposure), 1);
    // Sold, though not as a close: the worst that can come about is what is held.
    assert_eq!(b.once("-0.5", "201").len(), 1);
    assert_eq!(b.once("-0.5", "201").len(), 1);
    assert_eq!(b.blocked(Guard::TotalExposure), 1);
}

#[test]
fn a_quote_keeps_its_place_between_half_and_whole_of_what_is_wanted() {
    // What rests, what is wanted, and whether it moves.
    for (rest, wanted, moves) in [
        ("1", "1", false),
        ("1", "2", false),
        ("1", "2.01", true),
        ("1", "0.99", true),
        ("1", "0.5", true),
    ] {
        let mut b = Bench::new();
        let bid = only(&b.quote(("99", rest), ("101", "0")));
        b.works(&bid);
        let out = b.quote(("99", wanted), ("101", "0"));
        assert_eq!(!out.is_empty(), moves, "{rest} {wanted}");
    }
}

#[test]
fn quotes_are_pulled_on_their_side_symbol_and_strategy_alone() {
    let mut b = Bench::new();
    let level = |price, size| Level { px: px(price), qty: qty(size) };
    let both = |size| Want::Quote { bid: level("99", size), ask: level("101", size) };
    b.mark_of(SymbolId(1), "99", "101");
    assert_eq!(b.want_as(0, S, both("1")).len(), 2);
    assert_eq!(b.want_as(1, S, both("1")).len(), 2);
    assert_eq!(b.want_as(0, SymbolId(1), both("1")).len(), 2);
    assert_eq!(b.want_as(0, S, limit_order("1", "98")).len(), 1);
    let no_bid = Want::Quote { bid: level("99", "0"), ask: level("101", "1") };
    assert_eq!(cancelled(&b.want_as(0, S, no_bid)), 1);
    let wanted: Vec<_> = b
        .stage
        .ledger()
        .listed()
        .filter(|(_, order)| order.cancel_wanted)
        .map(|(_, o)| (o.symbol, o.strategy, o.side, o.lane))
        .collect();
    use crate::base::units::Side;
    use crate::engine::orders::Lane;
    assert_eq!(wanted, [(S, StrategyId(0), Side::Buy, Lane::Quote)]);
}

#[test]
fn a_quote_replaced_as_a_close_stays_one() {
    // In a spot wallet an ask can only close; its place is counted as its own.
    let mut b = Bench::with(RiskConfig { wallet: WalletKind::Exchange, ..wide() });
    let open = only(&b.once("1", "99"));
    b.fills(&open, "99");
    let ask = only(&b.quote(("99", "0"), ("101", "1")));
    assert_eq!((ask.class, new_of(&ask).qty), (Class::Close, qty("-1")));
    b.works(&ask);
    let moved = only(&b.quote(("99", "0"), ("102", "1")));
    let Action::Amend { px: to, qty: size, .. } = moved.action else { panic!("{moved:?}") };
    assert_eq!((moved.class, to, size), (Class::Close, px("102"), qty("-1")));
}

// ---- what goes on by itself ----

#[test]
fn cancels_are_bundled_from_four_on_and_each_message_counts() {
    for (count, messages) in [(3, 3), (4, 1), (16, 1), (17, 2), (33, 3)] {
        let limits = Limits {
            position_max: Quote::from_whole(100_000),
            open_orders_max: 64,
            ..Limits::default()
        };
        let mut b = Bench::with(RiskConfig { limits, rate_burst_max: 900, ..wide() });
        for _ in 0..count {
            let order = only(&b.once("1", "90"));
            b.works(&order);
        }
        let out = b.operator(OperatorVerb::CancelAll);
        assert_eq!(cancelled(&out), messages, "{count}");
        assert_eq!(b.counters().cancels, messages as u64);
        let named: usize = out
            .iter()
            .map(|command| match command.action {
                Action::CancelMulti { ids } => ids.iter().filter(|id| !id.is_none()).count(),
                Action::Cancel { .. } => 1,
                _ => 0,
            })
            .sum();
        assert_eq!(named, count, "each once");
        assert!(b.pass(1).is_empty(), "and not again at once");
    }
}

#[test]
fn a_flatten_waits_between_attempts_and_gives_way_with_each() {
    let mut b = Bench::new();
    let open = only(&b.take("1", false));
    b.fills(&open, "101");
    let first = only(&b.operator(OperatorVerb::Flatten));
    assert_eq!((first.class, first.reason), (Class::Close, Reason::Operator));
    let mut last = new_of(&first);
    assert_eq!((last.qty, last.px), (qty("-1"), px("98.802")), "20 basis points below the bid");
    assert!(last.flags.has(OrderFlags::REDUCE_ONLY));
    for attempt in 2..=5 {
        b.ends(&last, OrderStatus::Canceled);
        b.mark("99", "101");
        assert!(b.pass(900).is_empty(), "not before its time");
        b.mark("99", "101");
        let next = only(&b.pass(100));
        let new = new_of(&next);
        assert!(new.px < last.px, "attempt {attempt}: {} after {}", new.px, last.px);
        last = new;
    }
}

#[test]
fn a_flatten_of_one_symbol_leaves_the_others() {
    let mut b = Bench::new();
    let other = SymbolId(1);
    b.mark_of(other, "99", "101");
    let resting = only(&b.want_as(0, other, limit_order("1", "99"))).cid();
    let mine = only(&b.once("1", "99"));
    b.works(&mine);
    b.want_as(0, S, Want::Flatten);
    let wanted = |b: &Bench, cid| b.stage.ledger().find(cid).unwrap().cancel_wanted;
    assert!(wanted(&b, mine.cid()) && !wanted(&b, resting));
}

// ---- what is told, and readiness ----

#[test]
fn the_flags_of_the_guards_say_what_is_so() {
    let used = |b: &Bench, guard: Guard| b.stage.levels()[guard as usize].used;
    let mut cold = Bench::cold(wide());
    assert_eq!(used(&cold, Guard::NotReady), Some(1));
    cold.login();
    assert_eq!(used(&cold, Guard::NotReady), Some(0));
    let mut b = Bench::new();
    for guard in [Guard::KillSwitch, Guard::Paused, Guard::Rank, Guard::PositionMismatch] {
        assert_eq!(used(&b, guard), Some(0), "{}", guard.name());
        assert!(!b.stage.levels()[guard as usize].objects);
    }
    b.operator(OperatorVerb::Pause);
    assert_eq!((used(&b, Guard::Paused), used(&b, Guard::Rank)), (Some(1), Some(1)));
    b.operator(OperatorVerb::Resume);
    assert_eq!((used(&b, Guard::Paused), used(&b, Guard::Rank)), (Some(0), Some(0)));
    // Pulled and not done yet; then done.
    let order = only(&b.once("1", "99"));
    let new = b.works(&order);
    b.operator(OperatorVerb::Kill);
    assert_eq!((used(&b, Guard::KillSwitch), b.stage.rank()), (Some(1), Rank::ReduceOnly));
    b.ends(&new, OrderStatus::Canceled);
    assert_eq!((used(&b, Guard::KillSwitch), b.stage.rank()), (Some(1), Rank::Halted));
    let mut b = Bench::new();
    b.event(Body::Position(PositionUpdate {
        source: Source::Update,
        symbol: S,
        qty: qty("5"),
        base_px: px("100"),
        pnl: None,
    }));
    b.pass(5_001);
    assert_eq!(used(&b, Guard::PositionMismatch), Some(1));
}

#[test]
fn the_limits_of_the_guards_are_told_in_their_units() {
    let mut config = wide();
    config.account.volatility_max_bps = 70 * 100_000_000;
    let mut b = Bench::with(config);
    let levels = b.stage.levels();
    let of = |guard: Guard| levels[guard as usize];
    assert_eq!(of(Guard::Volatility).limit, 70);
    assert_eq!(of(Guard::Volatility).unit.name(), "bps");
    assert_eq!(of(Guard::DailyLoss).unit, LevelUnit::Money);
    let mut names: Vec<&str> = Guard::ALL.iter().map(|guard| guard.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Guard::COUNT, "each its own");
    assert!(names.iter().all(|name| name.len() > 3 && *name != "xyzzy"));
    // A guard that is shown in shadow is one.
    assert_eq!(of(Guard::Stale).mode, GuardMode::On);
    assert_eq!(of(Guard::DailyLoss).mode, GuardMode::Off);
    b.stage.config.stale_after_ms = 1;
    assert_eq!(b.stage.levels()[Guard::Stale as usize].limit, 1);
}

#[test]
fn a_moved_quote_waits_until_its_predecessor_has_ended() {
    let mut b = Bench::with(RiskConfig { requote: Requote::Replace, ..wide() });
    let first = only(&b.quote(("99", "1"), ("101", "0")));
    let old = b.works(&first);
    let moved = only(&b.quote(("98", "1"), ("101", "0")));
    b.works(&moved);
    assert!(b.quote(("97", "1"), ("101", "0")).is_empty(), "two of them are alive");
    assert_eq!(b.counters().waiting, 1);
    b.ends(&old, OrderStatus::Canceled);
    assert_eq!(b.quote(("97", "1"), ("101", "0")).len(), 1);
}

#[test]
fn a_reconcile_is_wanted_while_something_is_not_known() {
    let mut b = Bench::cold(wide());
    assert!(!b.stage.wants_reconcile(), "nobody could answer");
    b.login();
    assert!(!b.stage.wants_reconcile());
    // The venue sees another position, longer than messages take.
    let position = |size: &str| {
        Body::Position(PositionUpdate {
            source: Source::Update,
            symbol: S,
            qty: qty(size),
            base_px: px("100"),
            pnl: None,
        })
    };
    b.event(position("5"));
    assert!(!b.stage.wants_reconcile());
    // Not sooner than a while after the last one, either.
    b.pass(9_999);
    assert!(!b.stage.wants_reconcile());
    b.pass(1);
    assert!(b.stage.wants_reconcile());
    b.event(position("0"));
    assert!(!b.stage.wants_reconcile());
    b.link(LinkState::Down);
    assert!(!b.stage.wants_reconcile());
    b.link(LinkState::Authenticated);
    assert!(b.stage.wants_reconcile());
}

#[test]
fn before_time_has_begun_nothing_is_ready() {
    for (wall, ready) in [(0, false), (1, true)] {
        let mut b = Bench::cold(RiskConfig { require_reconcile: false, ..wide() });
        let stamp = Stamp { seq: 0, recv: MonoNs(1), wall: WallNs(wall) };
        let conn = ConnId(0);
        let up = LinkEvent { conn, trading: true, state: LinkState::Authenticated, code: 0 };
        let mark = |end| SnapshotMark { of: SnapshotOf::Orders, end, count: 0 };
        for body in [Body::Link(up), Body::Snapshot(mark(false)), Body::Snapshot(mark(true))] {
            let event = Event { stamp, trace: Trace::default(), body };
            b.stage.on_input(&Signal::Event(event), &mut b.out);
        }
        assert_eq!(b.stage.is_ready(), ready);
    }
}

#[test]
fn maintenance_blocks_entries_until_it_ends_or_the_next_log_in() {
    for end in [LinkState::MaintenanceEnded, LinkState::Authenticated] {
        let mut b = Bench::new();
        b.link(LinkState::MaintenanceStarted);
        assert_eq!(b.stage.rank(), Rank::EntriesBlocked);
        assert!(b.once("1", "99").is_empty());
        b.link(end);
        if end == LinkState::Authenticated {
            b.login();
        }
        assert_eq!(b.stage.rank(), Rank::Running, "{end:?}");
    }
}

#[test]
fn only_the_trading_link_makes_ready_and_unready() {
    let other = |state| Body::Link(LinkEvent { conn: ConnId(1), trading: false, state, code: 0 });
    let mut b = Bench::new();
    b.event(other(LinkState::Down));
    b.event(other(LinkState::AuthFailed));
    assert!(b.stage.is_ready());
    b.event(other(LinkState::Authenticated));
    assert!(b.stage.is_ready(), "nor is it a new session");
    b.link(LinkState::AuthFailed);
    assert!(!b.stage.is_ready());
    b.event(other(LinkState::Authenticated));
    b.snapshot(SnapshotOf::Orders);
    b.reconcile();
    assert!(!b.stage.is_ready());
    b.link(LinkState::Authenticated);
    // A round from before this log-in answers nothing that was asked in it.
    b.snapshot(SnapshotOf::Orders);
    b.link(LinkState::Reconciled);
    assert!(!b.stage.is_ready());
    b.reconcile();
    assert!(b.stage.is_ready());
}

#[test]
fn sizes_and_listings_that_the_venue_changes_hold_at_once() {
    let mut b = Bench::new();
    let (qty_min, qty_max) = (qty("2"), qty("3"));
    b.event(Body::Venue(VenueFact::Sizes { symbol: S, qty_min, qty_max }));
    assert!(b.once("1.99", "99").is_empty());
    assert!(b.once("3.01", "99").is_empty());
    assert_eq!((b.blocked(Guard::MinSize), b.blocked(Guard::MaxSize)), (1, 1));
    assert_eq!(b.once("2", "99").len(), 1);
    b.event(Body::Venue(VenueFact::Delisted(S)));
    assert!(b.once("2", "99").is_empty());
    b.event(Body::Venue(VenueFact::Listed(S)));
    assert_eq!(b.once("2", "99").len(), 1);
    // A symbol that is not of the table changes nothing.
    b.event(Body::Venue(VenueFact::Sizes { symbol: SymbolId(9), qty_min, qty_max }));
    b.event(Body::Venue(VenueFact::Delisted(SymbolId(9))));
    assert_eq!(b.once("2", "99").len(), 1);
}

#[test]
fn a_delisting_takes_entries_out_of_its_book_and_no_others() {
    let mut b = Bench::new();
    let other = SymbolId(1);
    b.mark_of(other, "99", "101");
    let open = only(&b.take("1", false));
    b.fills(&open, "101");
    let entry = only(&b.once("1", "99"));
    b.works(&entry);
    let close = only(&b.want(Want::Once {
        qty: qty("-1"),
        px: px("102"),
        urgency: Urgency::Limit,
        reduce: true,
    }));
    b.works(&close);
    let elsewhere = only(&b.want_as(0, other, limit_order("1", "99")));
    b.event(Body::Venue(VenueFact::Delisted(S)));
    let wanted = |b: &Bench, cid| b.stage.ledger().find(cid).unwrap().cancel_wanted;
    assert!(wanted(&b, entry.cid()));
    assert!(!wanted(&b, close.cid()) && !wanted(&b, elsewhere.cid()));
}

#[test]
fn each_word_of_the_operator_does_what_it_says() {
    let mut b = Bench::new();
    b.operator(OperatorVerb::CancelAll);
    assert_eq!(b.counters().operator, 1);
    let order = only(&b.once("1", "99"));
    b.works(&order);
    // For one symbol alone.
    b.out.clear();
    let reason = Text::new("test").unwrap();
    let (verb, other) = (OperatorVerb::CancelAll, Some(SymbolId(1)));
    b.event(Body::Operator(OperatorCommand { verb, symbol: other, reason }));
    assert!(b.out.is_empty());
    b.event(Body::Operator(OperatorCommand { verb, symbol: Some(S), reason }));
    assert_eq!(cancelled(&b.out), 1);
    assert_eq!((b.counters().operator, b.stage.rank()), (3, Rank::Running));
    // A flatten pauses, and a resume lifts that.
    let mut b = Bench::new();
    b.operator(OperatorVerb::Flatten);
    assert_eq!(b.stage.rank(), Rank::EntriesBlocked);
    b.operator(OperatorVerb::Resume);
    assert_eq!(b.stage.rank(), Rank::Running);
    assert_eq!(b.counters().resets, 0);
    b.operator(OperatorVerb::Kill);
    b.operator(OperatorVerb::Resume);
    assert_eq!((b.stage.rank(), b.counters().kills), (Rank::Halted, 1));
    b.operator(OperatorVerb::Reset);
    assert_eq!((b.stage.rank(), b.counters().resets), (Rank::Running, 1));
    // A stop that flattens lets its closes through, then nothing but cancels.
    let open = only(&b.take("1", false));
    b.fills(&open, "101");
    let close = only(&b.operator(OperatorVerb::StopFlatten));
    assert_eq!((close.class, b.stage.rank()), (Class::Close, Rank::ReduceOnly));
    assert!(!b.stage.is_quiesced());
    b.fills(&close, "99");
    b.pass(1);
    assert_eq!(b.stage.rank(), Rank::CancelOnly);
    assert!(b.stage.is_quiesced());
}

#[test]
fn a_flatten_closes_what_one_order_may_carry_and_gives_up_at_its_limit() {
    let limits = Limits { position_max: Quote::from_whole(1_000_000), ..Limits::default() };
    let limits = Limits { order_notional_max: Quote::from_whole(1_000_000), ..limits };
    let exposure_max = Quote::from_whole(1_000_000);
    let config = RiskConfig { limits, exposure_max, flatten_attempts_max: 2, ..wide() };
    let mut b = Bench::with(config);
    for _ in 0..2 {
        let open = only(&b.take("60", false));
        b.fills(&open, "101");
    }
    let mut close = only(&b.operator(OperatorVerb::Flatten));
    assert_eq!(new_of(&close).qty, qty("-100"), "the most that one order may carry");
    let new = b.works(&close);
    b.ends(&new, OrderStatus::Canceled);
    b.mark("99", "101");
    close = only(&b.pass(1_000));
    let new = b.works(&close);
    assert_eq!(b.counters().flatten_stuck, 0);
    b.ends(&new, OrderStatus::Canceled);
    assert_eq!(b.counters().flatten_stuck, 1, "two attempts were allowed");
    b.mark("99", "101");
    assert!(b.pass(1_000).is_empty());
    // Less than the smallest order is hopeless from the start.
    let mut b = Bench::new();
    let open = only(&b.take("0.02", false));
    b.fills(&open, "101");
    let (qty_min, qty_max) = (qty("0.03"), qty("100"));
    b.event(Body::Venue(VenueFact::Sizes { symbol: S, qty_min, qty_max }));
    assert!(b.operator(OperatorVerb::Flatten).is_empty());
    assert_eq!(b.counters().flatten_stuck, 1);
    // Exactly the smallest is not.
    let mut b = Bench::new();
    let open = only(&b.take("0.01", false));
    b.fills(&open, "101");
    assert_eq!(b.operator(OperatorVerb::Flatten).len(), 1);
    assert_eq!(b.counters().flatten_stuck, 0);
}

#[test]
fn only_a_whole_book_in_step_is_one_to_trade_on() {
    let entry = |b: &mut Bench| !b.once("1", "99").is_empty();
    for (bid, ask, synced, good) in
        [(1, 1, true, true), (0, 1, true, false), (1, 0, true, false), (1, 1, false, false)]
    {
        let mut b = Bench::new();
        let level = |price, whole| Level { px: px(price), qty: Qty::from_whole(whole) };
        let (bid, ask) = (level("99", bid), level("101", ask));
        let stamp = b.stamp();
        let mark = Mark { stamp, symbol: S, synced, bid, ask };
        b.stage.on_input(&Signal::Mark(mark), &mut b.out);
        assert_eq!(entry(&mut b), good, "{bid:?} {ask:?} {synced}");
    }
    // Another channel's silence is not the book's.
    let mut b = Bench::new();
    let quiet = |kind| ChannelQuiet { symbol: S, kind, quiet: true, gap_ms: 0, missed: 0 };
    b.event(Body::Quiet(quiet(ChannelKind::Trades)));
    assert!(entry(&mut b));
    b.event(Body::Quiet(quiet(ChannelKind::Book)));
    assert!(!entry(&mut b));
}

#[test]
fn the_account_is_known_by_the_end_of_its_order_list_while_the_link_is_up() {
    let mut b = Bench::cold(RiskConfig { require_reconcile: false, ..wide() });
    let mark = |of, end| Body::Snapshot(SnapshotMark { of, end, count: 0 });
    b.event(mark(SnapshotOf::Orders, true));
    assert!(!b.stage.is_ready(), "before the log-in");
    b.link(LinkState::Authenticated);
    for body in [mark(SnapshotOf::Positions, true), mark(SnapshotOf::Orders, false)] {
        b.event(body);
        assert!(!b.stage.is_ready(), "{body:?}");
    }
    b.event(mark(SnapshotOf::Orders, true));
    assert!(b.stage.is_ready());
    b.link(LinkState::Down);
    b.event(mark(SnapshotOf::Orders, true));
    b.link(LinkState::Authenticated);
    assert!(!b.stage.is_ready());
}

#[test]
fn orders_by_rest_that_do_not_get_through_are_told() {
    let mut b = Bench::new();
    assert!(!b.stage.is_order_entry_down() && !b.stage.snapshot().order_entry_down);
    b.event(Body::Venue(VenueFact::OrderEntryDown));
    assert!(b.stage.is_order_entry_down());
    assert_eq!(b.stage.rank(), Rank::CancelOnly);
    b.event(Body::Venue(VenueFact::OrderEntryUp));
    assert!(!b.stage.is_order_entry_down());
    assert_eq!(b.stage.rank(), Rank::Running);
}

#[test]
fn the_snapshot_sums_up_what_each_symbol_holds() {
    let mut b = Bench::new();
    let open = only(&b.take("1", false));
    b.fills(&open, "100");
    b.mark("104", "106");
    let all = b.stage.snapshot();
    assert_eq!((all.unrealised, all.exposure), (Quote::from_whole(5), Quote::from_whole(105)));
    assert_eq!((all.orders_alive, all.orders_unknown, all.quiesced), (0, 0, false));
    let one = b.stage.symbol_snapshot(S);
    assert_eq!((one.position, one.px_avg, one.mark), (qty("1"), px("100"), px("105")));
    assert!(!one.frozen && !one.flattening && !one.flatten_stuck && !one.delisted);
    let close = only(&b.take("-1", true));
    b.fills(&close, "104");
    let all = b.stage.snapshot();
    assert_eq!((all.realised, all.unrealised), (Quote::from_whole(4), Quote::ZERO));
    let order = only(&b.once("1", "99"));
    b.pass(5_000);
    let one = b.stage.symbol_snapshot(S);
    assert!(one.frozen, "{}", order.cid().0);
    assert_eq!((one.orders_alive, one.buy_reserve), (1, qty("1")));
    assert_eq!(b.stage.snapshot().orders_unknown, 1);
}

#[test]
fn another_word_to_kill_is_no_other_kill_until_that_is_done() {
    let mut b = Bench::new();
    let order = only(&b.once("1", "99"));
    let new = b.works(&order);
    b.operator(OperatorVerb::Kill);
    b.operator(OperatorVerb::Kill);
    assert_eq!(b.counters().kills, 1);
    b.ends(&new, OrderStatus::Canceled);
    assert_eq!(b.stage.rank(), Rank::Halted);
    b.operator(OperatorVerb::Kill);
    assert_eq!(b.counters().kills, 2);
    // The attempts of the one at work are not begun anew by it.
    let mut b = Bench::with(RiskConfig { flatten_attempts_max: 2, ..wide() });
    let open = only(&b.take("1", false));
    b.fills(&open, "101");
    let close = only(&b.operator(OperatorVerb::Kill));
    let new = b.works(&close);
    b.ends(&new, OrderStatus::Canceled);
    b.operator(OperatorVerb::Kill);
    b.mark("99", "101");
    let close = only(&b.pass(1_000));
    assert_eq!(close.reason, Reason::Killed);
    let new = b.works(&close);
    b.ends(&new, OrderStatus::Canceled);
    assert_eq!(b.counters().flatten_stuck, 1);
}

#[test]
fn a_kill_when_nothing_is_known_closes_again_once_it_is() {
    let mut b = Bench::new();
    b.link(LinkState::Down);
    b.operator(OperatorVerb::Kill);
    assert_eq!(b.stage.rank(), Rank::ReduceOnly, "not flat by anybody's word");
    assert!(!b.stage.is_quiesced());
    b.login();
    b.pass(1);
    assert_eq!(b.stage.rank(), Rank::Halted);
}

// ---- marks alone ----

/// Most inputs are marks, and most marks need no more than to be noted; what is due must leave with
/// one all the same.
#[test]
fn what_is_due_leaves_with_a_mark_as_well_as_with_a_tick() {
    // An order without an answer, at the very nanosecond.
    let mut b = Bench::new();
    only(&b.once("1", "99"));
    b.out.clear();
    b.now = b.now + SpanNs::from_ms(4_999);
    b.mark("99", "101");
    assert!(b.out.is_empty());
    b.now = b.now + SpanNs::from_ms(1);
    b.mark("99", "101");
    assert_eq!(cancelled(&b.out), 1);
    // Or later, where that mark is the first one since.
    let mut b = Bench::new();
    only(&b.once("1", "99"));
    b.out.clear();
    b.now = b.now + SpanNs::from_ms(5_001);
    b.mark("99", "101");
    assert_eq!(cancelled(&b.out), 1);
    // The next attempt of a flatten.
    let mut b = Bench::new();
    let open = only(&b.take("1", false));
    b.fills(&open, "101");
    let close = only(&b.operator(OperatorVerb::Flatten));
    let new = b.works(&close);
    b.ends(&new, OrderStatus::Canceled);
    b.out.clear();
    b.now = b.now + SpanNs::from_ms(1_000);
    b.mark("99", "101");
    assert_eq!(only(&b.out.clone()).class, Class::Close);
}

#[test]
fn a_refused_cancel_is_said_again_at_its_time_and_not_before() {
    let mut b = Bench::new();
    let order = only(&b.once("1", "99"));
    let new = b.works(&order);
    assert_eq!(cancelled(&b.operator(OperatorVerb::CancelAll)), 1);
    let id = b.stage.ledger().find(new.cid).unwrap().id;
    let refusal = Refusal::RateLimit;
    let of = AckOf::Cancel;
    b.event(Body::Ack(Ack { of, success: false, refusal, symbol: S, id, cid: new.cid }));
    assert!(b.pass(999).is_empty());
    assert_eq!(cancelled(&b.pass(1)), 1);
}

#[test]
fn orders_without_an_id_do_not_make_a_bundle() {
    let mut b = Bench::new();
    for _ in 0..3 {
        let order = only(&b.once("0.1", "90"));
        b.works(&order);
    }
    only(&b.once("0.1", "90"));
    let out = b.operator(OperatorVerb::CancelAll);
    assert!(out.iter().all(|command| matches!(command.action, Action::Cancel { .. })));
    assert_eq!(out.len(), 4);
}

#[test]
fn more_cancels_than_one_input_may_cause_leave_with_the_next() {
    let limits = Limits { open_orders_max: 64, ..Limits::default() };
    let mut b = Bench::with(RiskConfig { limits, rate_burst_max: 900, ..wide() });
    for _ in 0..45 {
        only(&b.once("0.1", "90"));
    }
    // None has an id yet: each is a message of its own.
    let first = cancelled(&b.operator(OperatorVerb::CancelAll));
    assert!((30..45).contains(&first), "{first}");
    b.out.clear();
    b.mark("99", "101");
    assert_eq!(cancelled(&b.out), 45 - first);
    assert_eq!(b.counters().cancels, 45);
}
