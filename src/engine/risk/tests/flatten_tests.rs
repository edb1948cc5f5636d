//! Claims about what goes on by itself: whom a flatten closes, what it waits for, and how much one
//! input may cause.

use super::*;

const ALL_FAR: Quote = Quote::MAX;

/// A stage of so many symbols, each of which holds one by the venue's word, and has a book.
fn many(symbols: u16, held: &str) -> Bench {
    let limits =
        Limits { position_max: ALL_FAR, order_notional_max: ALL_FAR, open_orders_max: 200 };
    let config = RiskConfig {
        limits,
        exposure_max: ALL_FAR,
        open_orders_max: 200,
        rate_burst_max: 900,
        target_wait_ms: 10_000_000,
        ..wide()
    };
    let mut b = Bench::cold(config.clone());
    b.stage = RiskStage::new(config, OrdersConfig::default(), &instruments(symbols));
    b.link(LinkState::Authenticated);
    b.event(Body::Snapshot(SnapshotMark { of: SnapshotOf::Positions, end: false, count: 0 }));
    for symbol in (0..symbols).map(SymbolId) {
        let (source, qty, base_px) = (Source::Snapshot, qty(held), px("100"));
        b.event(Body::Position(PositionUpdate { source, symbol, qty, base_px, pnl: None }));
    }
    b.event(Body::Snapshot(SnapshotMark { of: SnapshotOf::Positions, end: true, count: 0 }));
    b.snapshot(SnapshotOf::Orders);
    b.reconcile();
    marks(&mut b, symbols);
    b
}
fn marks(b: &mut Bench, symbols: u16) {
    (0..symbols).for_each(|row| b.mark_of(SymbolId(row), "99", "101"));
}
fn news(commands: &[Command]) -> usize {
    commands.iter().filter(|command| matches!(command.action, Action::New(_))).count()
}

#[test]
fn a_flatten_closes_a_short_by_buying() {
    for (wallet, flags) in [
        (WalletKind::Margin, OrderFlags::REDUCE_ONLY),
        (WalletKind::Derivatives, OrderFlags::REDUCE_ONLY),
    ] {
        let mut b = Bench::with(RiskConfig { wallet, ..wide() });
        let open = only(&b.take("-2", false));
        b.fills(&open, "99");
        let close = only(&b.operator(OperatorVerb::Flatten));
        let new = new_of(&close);
        assert_eq!((close.class, new.qty, new.flags), (Class::Close, qty("2"), flags));
        b.fills(&close, "101");
        assert_eq!(b.stage.positions().qty(S), Qty::ZERO);
        assert!(!b.stage.symbol_snapshot(S).flattening);
    }
}

#[test]
fn in_a_spot_wallet_a_flatten_sells_what_is_held_and_buys_nothing() {
    let spot = RiskConfig { wallet: WalletKind::Exchange, ..wide() };
    let mut b = Bench::with(spot.clone());
    let open = only(&b.once("1", "99"));
    b.fills(&open, "99");
    let close = only(&b.operator(OperatorVerb::Flatten));
    assert_eq!((new_of(&close).qty, new_of(&close).flags), (qty("-1"), OrderFlags::NONE));
    // Sold more than was bought here: what was there before is nobody's to buy back.
    let mut b = Bench::with(spot);
    let open = only(&b.once("1", "99"));
    b.fills(&open, "99");
    let sell = only(&b.once("-1", "101"));
    let sell = b.works(&sell);
    b.trades(&sell, qty("-1.5"), "101");
    b.ends(&sell, OrderStatus::Executed);
    assert_eq!(b.stage.positions().qty(S), qty("-0.5"));
    assert!(b.operator(OperatorVerb::Flatten).is_empty());
    let left = b.stage.symbol_snapshot(S);
    assert!(!left.flattening && !left.flatten_stuck);
}

#[test]
fn a_flatten_waits_for_trades_that_are_missing() {
    let mut b = Bench::new();
    let open = only(&b.take("1", false));
    let new = b.works(&open);
    b.ends(&new, OrderStatus::Executed);
    assert!(b.operator(OperatorVerb::Flatten).is_empty(), "what is held is not known yet");
    b.out.clear();
    b.trades(&new, new.qty, "101");
    assert_eq!(new_of(&only(&b.out.clone())).qty, qty("-1"));
}

#[test]
fn one_input_makes_sixteen_closes_at_most_and_the_next_one_goes_on() {
    let mut b = many(20, "1");
    assert_eq!(news(&b.operator(OperatorVerb::Flatten)), 16);
    assert_eq!(news(&b.pass(0)), 4);
    assert_eq!(news(&b.pass(0)), 0);
}

#[test]
fn one_input_sends_so_many_cancels_and_the_last_bundle() {
    let mut b = many(1, "0");
    for _ in 0..17 {
        let order = only(&b.once("0.1", "90"));
        b.works(&order);
    }
    for _ in 0..40 {
        only(&b.once("0.1", "90"));
    }
    // A bundle of sixteen, 35 by client id, and the bundle with what is left.
    assert_eq!(b.operator(OperatorVerb::CancelAll).len(), 37);
    assert_eq!(b.pass(0).len(), 5);
    assert!(b.pass(0).is_empty());
}

#[test]
fn one_input_takes_up_four_targets_that_waited_and_the_next_one_goes_on() {
    let target = |size| Want::Target { qty: qty(size), px: px("98"), urgency: Urgency::Passive };
    let mut b = many(6, "0");
    for symbol in (0..6).map(SymbolId) {
        assert_eq!(b.want_of(symbol, target("1")).len(), 1);
        assert!(b.want_of(symbol, target("2")).is_empty(), "it waits for that order's end");
    }
    // None is ever answered: given up together, after a cancel and two readings.
    b.pass(5_000);
    b.pass(200_000);
    b.reconcile();
    b.pass(1);
    marks(&mut b, 6);
    b.out.clear();
    b.reconcile();
    assert_eq!(b.stage.ledger().counters().absent, 6);
    assert_eq!(news(&b.out), 4, "{:?}", b.out);
    assert_eq!(news(&b.pass(0)), 2);
    assert_eq!(news(&b.pass(0)), 0);
}

#[test]
fn a_target_waits_for_its_own_order_and_no_other() {
    let target = |size| Want::Target { qty: qty(size), px: px("98"), urgency: Urgency::Passive };
    let mut b = many(2, "0");
    assert_eq!(b.want_of(SymbolId(1), target("1")).len(), 1);
    only(&b.once("1", "97"));
    let first = only(&b.want(target("1")));
    let new = b.works(&first);
    b.want(target("2"));
    b.out.clear();
    b.ends(&new, OrderStatus::Canceled);
    assert_eq!(new_of(&only(&b.out.clone())).qty, qty("2"));
}

/// An order that had to wait is traced back to what asked for it, not to what let it go.
#[test]
fn a_target_that_waited_keeps_its_trace() {
    let want = Want::Target { qty: qty("2"), px: px("98"), urgency: Urgency::Passive };
    let mut b = Bench::new();
    let first = only(&b.target("1"));
    let new = b.works(&first);
    let trace = Trace { framed: crate::base::time::Tsc(7), ..Trace::default() };
    let cause = b.stamp();
    let (strategy, reason) = (StrategyId(0), Reason::Signal);
    let intent =
        Intent { cause, trace, strategy, symbol: S, reason, want, edge: None, bracket: None };
    b.stage.on_input(&Signal::Intent(intent), &mut b.out);
    b.out.clear();
    b.ends(&new, OrderStatus::Canceled);
    assert_eq!(only(&b.out.clone()).trace.framed, trace.framed);
}

#[test]
fn symbols_beyond_the_table_are_nobody_s() {
    for symbol in [SymbolId(2), SymbolId(999), SYMBOL_FOREIGN] {
        let mut b = Bench::new();
        let (of, refusal, cid) = (AckOf::Cancel, Refusal::NotFound, Cid(5));
        let id = OrderId(5);
        b.event(Body::Ack(Ack { of, success: false, refusal, symbol, id, cid }));
        let (source, held, base_px) = (Source::Update, qty("1"), px("100"));
        b.event(Body::Position(PositionUpdate { source, symbol, qty: held, base_px, pnl: None }));
        b.event(Body::Fill(Fill {
            trade: TradeId(9),
            symbol,
            order: id,
            cid,
            at: WALL,
            qty: held,
            px: base_px,
            maker: None,
            fee: None,
            fee_currency: Currency::EMPTY,
        }));
        assert_eq!(b.stage.ledger().counters().fills, 0);
        assert_eq!(b.once("1", "99").len(), 1, "{symbol:?}");
    }
}
