//! One claim a test about the numbers behind the guards that remember: they stand here because a
//! line of the account could be broken and no other test noticed.

use super::*;

fn level(b: &Bench, guard: Guard) -> GuardLevel {
    b.stage.levels()[guard as usize]
}
fn used(b: &Bench, guard: Guard) -> Option<i64> {
    level(b, guard).used
}
/// Whole units of quote in 1e-8.
const fn units(whole: i64) -> i64 {
    whole * 100_000_000
}
fn to_midnight(b: &mut Bench) {
    let left = DAY_NS - b.stage.wall.0.rem_euclid(DAY_NS);
    b.wait(SpanNs(left));
}
/// Holds one of the symbol at 100, valued at 100.
fn holding(b: &mut Bench) {
    b.own();
    b.done();
    b.trade(1, "1", "100", Some("0"));
}
fn other_mark(b: &mut Bench, bid: &str, ask: &str) {
    b.mark_of(SymbolId(1), bid, ask);
}

#[test]
fn the_day_counts_from_what_was_at_its_start_and_the_drawdown_from_the_peak() {
    let mut b = with(|c| {
        on(c, &[Guard::DailyLoss, Guard::Drawdown]);
        c.account.daily_loss_max = Quote::from_whole(1_000);
        c.account.daily_loss_max_pct = 5_000_000;
        c.account.drawdown_max = Quote::from_whole(1_000);
        c.account.drawdown_max_pct = 100_000_000;
    });
    holding(&mut b);
    assert_eq!(used(&b, Guard::DailyLoss), Some(0));
    b.mark_of(S, "109", "111");
    assert_eq!(
        (used(&b, Guard::DailyLoss), used(&b, Guard::Drawdown)),
        (Some(-units(10)), Some(0))
    );
    to_midnight(&mut b);
    assert_eq!(used(&b, Guard::DailyLoss), Some(0), "a new day begins with what is open");
    // Equity of the day's start: 10,000 in the wallet and 10 open. A 20th of a per cent of it.
    assert_eq!(level(&b, Guard::DailyLoss).limit, 500_500_000);
    b.mark_of(S, "106", "108");
    assert_eq!(
        (used(&b, Guard::DailyLoss), used(&b, Guard::Drawdown)),
        (Some(units(3)), Some(units(3)))
    );
    b.mark_of(S, "129", "131");
    b.mark_of(S, "126", "128");
    assert_eq!(used(&b, Guard::DailyLoss), Some(-units(17)));
    assert_eq!(used(&b, Guard::Drawdown), Some(units(3)));
    // One per cent of what it was at the peak: 10,010 at the day's start and 20 more.
    assert_eq!(level(&b, Guard::Drawdown).limit, 10_030_000_000);
}

#[test]
fn numbers_that_cannot_be_known_are_not_told() {
    let mut b = with(|c| {
        on(c, &[Guard::DailyLoss, Guard::Drawdown, Guard::UnknownEquity, Guard::Volatility]);
        (c.account.volatility_window_ms, c.account.volatility_pause_s) = (8_000, 30);
    });
    holding(&mut b);
    assert_eq!(used(&b, Guard::UnknownEquity), Some(0));
    // Held without a price.
    b.event(Body::Fill(Fill {
        trade: TradeId(9),
        symbol: SymbolId(1),
        order: OrderId(0),
        cid: b.stage.ledger().cid_last(),
        at: WallNs(0),
        qty: qty("1"),
        px: px("100"),
        maker: None,
        fee: Some(0),
        fee_currency: Currency::new("USD").unwrap(),
    }));
    assert_eq!((used(&b, Guard::DailyLoss), used(&b, Guard::Drawdown)), (None, None));
    assert_eq!(used(&b, Guard::UnknownEquity), Some(1));
    other_mark(&mut b, "99", "101");
    assert_eq!((used(&b, Guard::DailyLoss), used(&b, Guard::Drawdown)), (Some(0), Some(0)));
    assert_eq!(used(&b, Guard::UnknownEquity), Some(0));
    // The wallet of another session.
    b.link(LinkState::Down);
    b.login();
    assert_eq!(used(&b, Guard::UnknownEquity), Some(1));
    b.wallet("10000");
    // A restart: not before the venue has told the wallet and the book a price.
    let kept = Kept::default();
    b.stage.keep_in(Box::new(kept.clone()));
    b.trade(2, "0.5", "100", Some("0"));
    b.restart(OrdersConfig::default());
    let memory = kept.0.lock().unwrap().clone();
    b.stage.recall(&memory);
    assert_eq!((used(&b, Guard::DailyLoss), used(&b, Guard::Drawdown)), (None, None));
}

#[test]
fn the_range_of_a_window_is_told_in_basis_points_of_its_low() {
    let mut cold = Bench::cold(wide());
    assert_eq!(used(&cold, Guard::Volatility), None, "not watched");
    cold.mark_of(S, "99", "101");
    assert_eq!(used(&cold, Guard::Volatility), None);
    let mut config = wide();
    on(&mut config, &[Guard::Volatility]);
    let b = Bench::cold(config);
    assert_eq!(used(&b, Guard::Volatility), None, "nothing seen");
    let mut b = b;
    b.mark_of(S, "0", "0");
    assert_eq!(used(&b, Guard::Volatility), None, "no price to count from");
    let mut b = with(|c| {
        on(c, &[Guard::Volatility]);
        c.account.volatility_max_bps = 1_000 * 100_000_000;
        c.account.volatility_window_ms = 8_000;
    });
    assert_eq!(used(&b, Guard::Volatility), Some(0));
    b.mark_of(S, "100", "102");
    assert_eq!(used(&b, Guard::Volatility), Some(100));
    b.mark_of(S, "98", "100");
    assert_eq!(used(&b, Guard::Volatility), Some(202), "from 99 to 101");
    // The window passes, the range with it.
    for _ in 0..12 {
        b.wait(SpanNs::from_s(1));
    }
    assert_eq!(used(&b, Guard::Volatility), Some(0));
}

#[test]
fn what_is_left_of_a_pause_is_told_in_seconds() {
    let mut b = with(|c| {
        on(c, &[Guard::Cooldown, Guard::ForeignActivity]);
        c.account.cooldown_symbol_s = 100;
        c.account.foreign_pause_s = 60;
    });
    assert_eq!((used(&b, Guard::Cooldown), used(&b, Guard::ForeignActivity)), (Some(0), Some(0)));
    assert!(!level(&b, Guard::Cooldown).objects);
    b.own();
    b.done();
    b.trade(1, "1", "100", Some("0"));
    b.trade(2, "-1", "99", Some("0"));
    let foreign =
        OrderUpdate { source: Source::New, symbol: S, id: OrderId(5), cid: Cid(5), ..accepted() };
    b.event(Body::Order(foreign));
    assert_eq!(used(&b, Guard::Cooldown), Some(100));
    assert_eq!(used(&b, Guard::ForeignActivity), Some(60));
    b.wait(SpanNs::from_s(40));
    assert_eq!(used(&b, Guard::Cooldown), Some(60));
    assert_eq!(used(&b, Guard::ForeignActivity), Some(20));
    assert!(level(&b, Guard::Cooldown).objects && level(&b, Guard::ForeignActivity).objects);
    assert_eq!(level(&b, Guard::Cooldown).trips, 1);
    b.wait(SpanNs::from_s(100));
    assert_eq!((used(&b, Guard::Cooldown), used(&b, Guard::ForeignActivity)), (Some(0), Some(0)));
}

#[test]
fn a_guard_that_paused_objects_though_its_count_has_begun_anew() {
    let mut b = with(|c| {
        on(c, &[Guard::LossStreak, Guard::RejectStreak]);
        c.account.loss_streak_max = 1;
        c.account.cooldown_s = 100;
    });
    b.own();
    b.done();
    b.trade(1, "1", "100", Some("0"));
    b.trade(2, "-1", "99", Some("0"));
    assert_eq!(used(&b, Guard::LossStreak), Some(0));
    assert!(level(&b, Guard::LossStreak).objects);
    assert!(!level(&b, Guard::RejectStreak).objects, "no other does");
    assert_eq!(level(&b, Guard::LossStreak).trips, 1);
}

#[test]
fn a_symbol_s_pause_is_seen_among_all_of_them() {
    // One of two, then both: what one says does not undo what the other says.
    for both in [false, true] {
        let mut b = with(|c| {
            on(c, &[Guard::Volatility]);
            c.account.volatility_max_bps = 50 * 100_000_000;
            (c.account.volatility_window_ms, c.account.volatility_pause_s) = (8_000, 60);
        });
        other_mark(&mut b, "99", "101");
        assert!(!level(&b, Guard::Volatility).objects);
        b.mark_of(S, "100", "102");
        if both {
            other_mark(&mut b, "100", "102");
        }
        let (bid, ask) = if both { ("100", "102") } else { ("99", "101") };
        for _ in 0..12 {
            b.wait(SpanNs::from_s(1));
            other_mark(&mut b, bid, ask);
        }
        assert_eq!(used(&b, Guard::Volatility), Some(0), "calm again");
        assert!(level(&b, Guard::Volatility).objects, "but paused");
        assert_eq!(level(&b, Guard::Volatility).trips, 1 + u32::from(both));
    }
}

#[test]
fn two_pauses_of_one_guard_do_not_undo_each_other() {
    let mut b = with(|c| {
        on(c, &[Guard::DailyLoss, Guard::Cooldown]);
        c.account.daily_loss_max = Quote::from_whole(2);
        (c.account.cooldown_s, c.account.cooldown_symbol_s) = (300_000, 300_000);
    });
    b.own();
    b.done();
    b.trade(1, "1", "100", Some("0"));
    b.trade(2, "-1", "97", Some("0"));
    assert_eq!(b.stage.rank(), Rank::EntriesBlocked);
    to_midnight(&mut b);
    assert_eq!(b.stage.rank(), Rank::Running, "the day's loss is over");
    assert!(b.entry().is_empty(), "the account's pause and the symbol's are not");
    assert_eq!(b.blocked(Guard::Cooldown), 1);
}

#[test]
fn only_a_loss_guard_that_is_on_closes_entries_by_rank() {
    let mut b = with(|c| {
        on(c, &[Guard::Drawdown]);
        c.guards[Guard::DailyLoss as usize] = GuardMode::Shadow;
        c.account.daily_loss_max = Quote::from_whole(2);
        c.account.drawdown_max = Quote::from_whole(1_000);
    });
    losing(&mut b, Quote::from_whole(3));
    assert_eq!(level(&b, Guard::DailyLoss).trips, 1);
    assert_eq!(b.stage.rank(), Rank::Running);
}

#[test]
fn a_record_of_another_layout_is_written_anew_and_a_spot_wallet_keeps_what_was_open() {
    let mut config = wide();
    config.wallet = WalletKind::Exchange;
    on(&mut config, &[Guard::DailyLoss]);
    config.account.daily_loss_max = Quote::from_whole(1_000);
    let mut b = Bench::cold(config);
    let today = Zone::UTC.day(super::super::tests::WALL);
    let e16 = |whole: i128| whole * 10_000_000_000_000_000;
    let account = AccountMemory {
        version: 0,
        day: today,
        realised: e16(-5),
        open: e16(-3),
        ..AccountMemory::default()
    };
    b.stage.recall(&RiskMemory { account, symbols: Vec::new() });
    assert_eq!(b.stage.memory().account.version, MEMORY_VERSION);
    b.login();
    b.event(Body::Wallet(WalletUpdate {
        source: Source::Update,
        kind: Some(WalletKind::Exchange),
        currency: Currency::new("USD").unwrap(),
        balance: units(100),
        available: None,
    }));
    b.mark_of(S, "99", "101");
    assert_eq!(used(&b, Guard::DailyLoss), Some(units(8)));
}

#[test]
fn nothing_is_written_down_while_nothing_changes() {
    #[derive(Clone, Default)]
    struct Count(Arc<Mutex<(u32, u32)>>);
    impl RiskJournal for Count {
        fn keep_account(&mut self, _: &AccountMemory) {
            self.0.lock().unwrap().0 += 1;
        }
        fn keep_symbol(&mut self, _: usize, _: &SymbolMemory) {
            self.0.lock().unwrap().1 += 1;
        }
    }
    let mut b = with(|c| on(c, &[Guard::DailyLoss]));
    let count = Count::default();
    b.stage.keep_in(Box::new(count.clone()));
    // To a whole minute, at which hours are looked at.
    let left = 60_000_000_000 - b.stage.wall.0.rem_euclid(60_000_000_000);
    b.wait(SpanNs(left));
    b.wait(SpanNs::from_s(1));
    let before = *count.0.lock().unwrap();
    for _ in 0..50 {
        b.wait(SpanNs::from_s(1));
    }
    assert_eq!(*count.0.lock().unwrap(), before);
    b.say(OperatorVerb::Pause, "lunch");
    assert_eq!(count.0.lock().unwrap().0, before.0 + 1);
}

/// How often something was written down.
#[derive(Clone, Default)]
struct Count(Arc<Mutex<u32>>);
impl RiskJournal for Count {
    fn keep_account(&mut self, _: &AccountMemory) {
        *self.0.lock().unwrap() += 1;
    }
    fn keep_symbol(&mut self, _: usize, _: &SymbolMemory) {}
}
const fn e16(whole: i64) -> i128 {
    whole as i128 * 10_000_000_000_000_000
}
/// An own trade of the other symbol, settled at once.
fn other_trade(b: &mut Bench, id: u64, size: &str, price: &str) {
    b.event(Body::Fill(Fill {
        trade: TradeId(id),
        symbol: SymbolId(1),
        order: OrderId(0),
        cid: b.stage.ledger().cid_last(),
        at: WallNs(0),
        qty: qty(size),
        px: px(price),
        maker: None,
        fee: Some(0),
        fee_currency: Currency::new("USD").unwrap(),
    }));
}
fn streaks(count: u32) -> Bench {
    let mut b = with(|c| {
        on(c, &[Guard::LossStreak]);
        c.account.loss_streak_max = count;
        c.account.cooldown_s = 100;
    });
    b.own();
    b.done();
    b
}

#[test]
fn a_round_trip_ends_with_its_fee_though_that_is_nothing() {
    let mut b = streaks(5);
    b.trade(1, "1", "100", Some("0"));
    b.trade(2, "-1", "99", None);
    assert_eq!(used(&b, Guard::LossStreak), Some(0), "not settled");
    b.trade(2, "-1", "99", Some("0"));
    assert_eq!(used(&b, Guard::LossStreak), Some(1));
    b.trade(2, "-1", "99", Some("0"));
    assert_eq!(used(&b, Guard::LossStreak), Some(1), "once");
    // One that waits for its fee has waited long enough when the next trade comes.
    b.trade(3, "1", "100", None);
    b.trade(4, "-1", "99", None);
    b.trade(5, "1", "100", None);
    assert_eq!(used(&b, Guard::LossStreak), Some(2));
}

#[test]
fn a_round_trip_that_came_out_even_neither_adds_to_a_streak_nor_ends_it() {
    let mut b = streaks(5);
    let round_trip = |b: &mut Bench, id, out: &str| {
        b.trade(id, "1", "100", Some("0"));
        b.trade(id + 1, "-1", out, Some("0"));
        used(b, Guard::LossStreak)
    };
    assert_eq!(round_trip(&mut b, 1, "99"), Some(1));
    assert_eq!(round_trip(&mut b, 3, "100"), Some(1));
    assert_eq!(round_trip(&mut b, 5, "99.999"), Some(2));
    assert_eq!(round_trip(&mut b, 7, "100.001"), Some(0));
    // Over to the other side is an end as well, of what was held.
    b.trade(9, "1", "100", Some("0"));
    b.trade(10, "-2", "99", Some("0"));
    assert_eq!(used(&b, Guard::LossStreak), Some(1));
    b.trade(11, "2", "100", Some("0"));
    assert_eq!(used(&b, Guard::LossStreak), Some(2));
    // A part is none.
    b.trade(12, "-0.5", "90", Some("0"));
    assert_eq!(used(&b, Guard::LossStreak), Some(2));
}

#[test]
fn a_position_told_again_is_no_news() {
    let mut b = with(|c| on(c, &[Guard::DailyLoss]));
    holding(&mut b);
    let told = PositionUpdate {
        source: Source::Update,
        symbol: S,
        qty: qty("1"),
        base_px: px("100"),
        pnl: None,
    };
    b.event(Body::Position(told));
    b.wait(SpanNs::from_s(61));
    let count = Count::default();
    b.stage.keep_in(Box::new(count.clone()));
    b.event(Body::Position(told));
    b.event(Body::Position(told));
    b.wallet("10000");
    b.wait(SpanNs::from_s(1));
    assert_eq!(*count.0.lock().unwrap(), 0);
    b.trade(2, "0.5", "100", Some("0"));
    assert_eq!(*count.0.lock().unwrap(), 1);
}

#[test]
fn what_is_sold_before_it_had_a_price_leaves_nothing_unknown() {
    let mut b = with(|c| on(c, &[Guard::DailyLoss]));
    b.own();
    b.done();
    other_trade(&mut b, 1, "1", "100");
    assert_eq!(used(&b, Guard::DailyLoss), None);
    other_trade(&mut b, 2, "1", "100");
    assert_eq!(used(&b, Guard::DailyLoss), None);
    other_trade(&mut b, 3, "-2", "97");
    assert_eq!(used(&b, Guard::DailyLoss), Some(units(6)));
}

#[test]
fn a_pause_of_no_length_is_none() {
    let mut b = with(|c| {
        on(c, &[Guard::RejectStreak, Guard::ForeignActivity]);
        c.account.reject_streak_max = 1;
        (c.account.cooldown_s, c.account.foreign_pause_s) = (0, 0);
    });
    let out = b.entry();
    out.iter().for_each(|command| b.refuse(command));
    assert_eq!(level(&b, Guard::RejectStreak).trips, 0);
    assert_eq!(b.entry().len(), 1);
    // Nor is a symbol's, and one of a guard that is off is none either.
    for (length_s, mode) in [(0, GuardMode::On), (1, GuardMode::Off)] {
        let mut b = with(|c| {
            c.guards[Guard::Cooldown as usize] = mode;
            c.account.cooldown_symbol_s = length_s;
        });
        b.own();
        b.done();
        b.trade(1, "1", "100", Some("0"));
        b.trade(2, "-1", "99", Some("0"));
        assert_eq!(level(&b, Guard::Cooldown).trips, 0, "{mode:?}");
    }
}

#[test]
fn signs_in_a_burst_move_the_end_of_a_pause_once_a_second() {
    let mut b = with(|c| {
        on(c, &[Guard::ForeignActivity]);
        c.account.foreign_pause_s = 60;
    });
    let sign = |b: &mut Bench, id| {
        let (id, cid) = (OrderId(id), Cid(id));
        b.event(Body::Order(OrderUpdate { source: Source::New, symbol: S, id, cid, ..accepted() }));
    };
    sign(&mut b, 5);
    b.wait(SpanNs::from_ms(999));
    sign(&mut b, 6);
    b.wait(SpanNs::from_ms(59_001));
    assert_eq!(used(&b, Guard::ForeignActivity), Some(0), "from the first sign on");
    sign(&mut b, 7);
    b.wait(SpanNs::from_ms(1_000));
    sign(&mut b, 8);
    b.wait(SpanNs::from_ms(59_000));
    assert_eq!(used(&b, Guard::ForeignActivity), Some(1), "from the second on");
    // Two pauses, the second one made longer.
    assert_eq!(level(&b, Guard::ForeignActivity).trips, 2);
}

#[test]
fn a_sudden_move_at_the_end_of_a_pause_is_another_trip() {
    let mut b = with(|c| {
        on(c, &[Guard::Volatility]);
        c.account.volatility_max_bps = 50 * 100_000_000;
        (c.account.volatility_window_ms, c.account.volatility_pause_s) = (8_000, 30);
    });
    b.mark_of(S, "100", "102");
    assert_eq!(level(&b, Guard::Volatility).trips, 1);
    b.wait(SpanNs::from_s(15));
    b.wait(SpanNs::from_s(15));
    assert_eq!(level(&b, Guard::Volatility).trips, 1);
    b.mark_of(S, "102", "104");
    assert_eq!(level(&b, Guard::Volatility).trips, 2);
    // While it is paused, more of the same is no other trip.
    b.wait(SpanNs::from_s(2));
    b.mark_of(S, "104", "106");
    assert_eq!(level(&b, Guard::Volatility).trips, 2);
}

#[test]
fn a_reset_begins_everything_anew() {
    let mut b = with(|c| {
        on(c, &[Guard::DailyLoss, Guard::Drawdown, Guard::Cooldown, Guard::LossStreak]);
        on(c, &[Guard::Volatility, Guard::RejectStreak, Guard::Repeat]);
        c.account.daily_loss_max = Quote::from_whole(5);
        c.account.drawdown_max = Quote::from_whole(5);
        (c.account.cooldown_s, c.account.cooldown_symbol_s) = (1_000, 1_000);
        c.account.volatility_max_bps = 50 * 100_000_000;
        c.account.volatility_pause_s = 1_000;
        (c.repeat_max, c.repeat_window_ms) = (1, 1_000);
    });
    b.own();
    b.done();
    assert!(b.entry().is_empty(), "repeated");
    b.trade(1, "1", "100", Some("0"));
    b.trade(2, "-1", "92", Some("0"));
    b.mark_of(S, "109", "111");
    let objects = |b: &Bench, guard| level(b, guard).objects;
    for guard in [Guard::DailyLoss, Guard::Drawdown, Guard::Cooldown, Guard::Volatility] {
        assert!(objects(&b, guard), "{}", guard.name());
    }
    assert!(objects(&b, Guard::Repeat));
    assert_eq!(used(&b, Guard::LossStreak), Some(1));
    b.say(OperatorVerb::Reset, "seen");
    for guard in [Guard::DailyLoss, Guard::Drawdown, Guard::Cooldown, Guard::LossStreak] {
        assert_eq!(used(&b, guard), Some(0), "{}", guard.name());
    }
    assert!(!objects(&b, Guard::Repeat));
    assert_eq!(b.stage.rank(), Rank::Running);
    let memory = b.stage.memory();
    assert_eq!((memory.account.tripped, memory.account.until), (0, [WallNs(0); 4]));
    let symbol = memory.symbols[0];
    assert_eq!((symbol.cooldown_until, symbol.volatile_until), (WallNs(0), WallNs(0)));
    assert!(!symbol.repeated && !symbol.flattening);
    // The loss of before counts no more, the next one does.
    b.mark_of(S, "99", "101");
    b.trade(3, "1", "100", Some("0"));
    b.trade(4, "-1", "96", Some("0"));
    assert_eq!(used(&b, Guard::DailyLoss), Some(units(4)));
    assert_eq!(b.stage.rank(), Rank::Running);
}

#[test]
fn what_is_written_down_is_what_was_earned_and_what_is_open() {
    let mut b = with(|c| on(c, &[Guard::DailyLoss]));
    let kept = Kept::default();
    b.stage.keep_in(Box::new(kept.clone()));
    b.own();
    b.done();
    b.trade(1, "2", "100", Some("-1"));
    b.trade(2, "-1", "103", Some("-1"));
    b.mark_of(S, "104", "106");
    b.wait(SpanNs::from_s(61));
    let account = kept.0.lock().unwrap().account;
    // Three by price less two of fees; five by the mark.
    assert_eq!((account.realised, account.open), (e16(1), e16(5)));
    assert_eq!((account.day_start, account.peak), (0, e16(6)));
    assert_eq!(account.wallet, Some(e16(10_000)));
    assert_eq!((account.wall, account.version), (b.stage.wall, MEMORY_VERSION));
    assert_eq!(account.cid_last, b.stage.ledger().cid_last());
    let symbols = &kept.0.lock().unwrap().symbols;
    // The sell is of no order that is known: an order of its own.
    assert_eq!((symbols[0].trades_day, symbols[1].trades_day), (2, 0));
    assert_eq!(symbols[0].day, account.day);
}

#[test]
fn equity_of_the_day_s_start_is_what_it_was_though_the_wallet_is_told_late() {
    let mut config = wide();
    on(&mut config, &[Guard::DailyLoss]);
    config.account.on_loss = OnLoss::Block;
    config.account.daily_loss_max = Quote::from_whole(1_000);
    config.account.daily_loss_max_pct = 5_000_000;
    let mut b = Bench::cold(config);
    b.login();
    b.mark_of(S, "99", "101");
    losing(&mut b, Quote::from_whole(3));
    assert_eq!(level(&b, Guard::DailyLoss).limit, units(1_000), "no share of the unknown");
    b.wallet("10000");
    // 10,000 and 3 lost now, so 10,000 at the start; a 20th of a per cent of it.
    assert_eq!(level(&b, Guard::DailyLoss).limit, units(5));
    b.wallet("20000");
    assert_eq!(level(&b, Guard::DailyLoss).limit, units(5), "money paid in is not of the start");
}

#[test]
fn of_two_limits_the_stricter_holds_and_less_than_nothing_is_nothing() {
    for (sum, share, limit) in [(4, 5_000_000, 400_000_000), (6, 5_000_000, 500_000_000)] {
        let mut b = with(|c| {
            on(c, &[Guard::DailyLoss]);
            c.account.daily_loss_max = Quote::from_whole(sum);
            c.account.daily_loss_max_pct = share;
        });
        to_midnight(&mut b);
        assert_eq!(level(&b, Guard::DailyLoss).limit, limit);
    }
    let mut b = with(|c| {
        on(c, &[Guard::DailyLoss]);
        c.account.daily_loss_max_pct = 5_000_000;
    });
    b.wallet("-100");
    to_midnight(&mut b);
    assert_eq!(level(&b, Guard::DailyLoss).limit, 0);
}

#[test]
fn sums_are_rounded_so_that_they_never_look_better() {
    use super::super::account::{quote, worth_of};
    assert_eq!(quote(0), Quote::ZERO);
    assert_eq!((quote(99_999_999), quote(100_000_000)), (Quote::ZERO, Quote::from_raw(1)));
    assert_eq!((quote(-1), quote(-100_000_000)), (Quote::from_raw(-1), Quote::from_raw(-1)));
    assert_eq!(quote(-100_000_001), Quote::from_raw(-2));
    assert_eq!(quote(i128::MAX), Quote::from_raw(i64::MAX));
    assert_eq!(quote(i128::MIN), Quote::from_raw(-i64::MAX));
    assert_eq!(worth_of(units(2), px("3")), e16(6));
}

#[test]
fn a_repeat_is_one_trip_and_only_where_the_guard_is_on() {
    for (mode, trips) in [(GuardMode::On, 1), (GuardMode::Shadow, 0)] {
        let mut b = with(|c| {
            c.guards[Guard::Repeat as usize] = mode;
            (c.repeat_max, c.repeat_window_ms) = (1, 1_000);
        });
        for _ in 0..4 {
            b.may_enter();
        }
        assert_eq!(level(&b, Guard::Repeat).trips, trips);
        assert_eq!(used(&b, Guard::Repeat), Some(i64::from(trips)));
    }
}

#[test]
fn trades_and_refusals_are_counted_one_by_one() {
    let mut b = with(|c| {
        on(c, &[Guard::DailyTrades, Guard::SymbolDailyTrades, Guard::RejectStreak]);
        c.account.reject_streak_max = 10;
    });
    holding(&mut b);
    for count in 1..=3 {
        let out = b.entry();
        out.iter().for_each(|command| b.refuse(command));
        assert_eq!(used(&b, Guard::RejectStreak), Some(count));
    }
    b.event(Body::Order(accepted()));
    assert_eq!(used(&b, Guard::RejectStreak), Some(0));
    assert_eq!(used(&b, Guard::DailyTrades), Some(1));
    assert_eq!(used(&b, Guard::SymbolDailyTrades), Some(1));
    to_midnight(&mut b);
    assert_eq!(used(&b, Guard::DailyTrades), Some(0));
    assert_eq!(used(&b, Guard::SymbolDailyTrades), Some(0));
}

#[test]
fn only_refusals_of_new_orders_make_a_streak() {
    let streak = |b: &Bench| used(b, Guard::RejectStreak);
    let mut b = with(|c| {
        on(c, &[Guard::RejectStreak]);
        c.account.reject_streak_max = 10;
    });
    let array = |source, status| Body::Order(OrderUpdate { source, status, ..accepted() });
    b.event(array(Source::Closed, OrderStatus::Insufficient));
    b.event(array(Source::Closed, OrderStatus::Refused));
    assert_eq!(streak(&b), Some(2));
    // A list or a history tells of long ago: neither a refusal nor an acceptance.
    for source in [Source::RestHistory, Source::Snapshot, Source::RestOpen] {
        b.event(array(source, OrderStatus::Refused));
        b.event(array(source, OrderStatus::Active));
        assert_eq!(streak(&b), Some(2), "{source:?}");
    }
    let ack = |of, success| {
        let refusal = if success { Refusal::None } else { Refusal::Balance };
        Body::Ack(Ack { of, success, refusal, symbol: S, id: OrderId(0), cid: Cid(5) })
    };
    b.event(ack(AckOf::Cancel, false));
    b.event(ack(AckOf::New, true));
    assert_eq!(streak(&b), Some(2));
    b.event(ack(AckOf::New, false));
    assert_eq!(streak(&b), Some(3));
    b.event(array(Source::Closed, OrderStatus::Canceled));
    assert_eq!(streak(&b), Some(0), "it was taken, whatever became of it");
}

#[test]
fn equity_is_what_lies_in_the_wallets_of_its_kind_and_currency() {
    let wallet = |b: &mut Bench, kind, currency: &str, whole: i64| {
        b.event(Body::Wallet(WalletUpdate {
            source: Source::Update,
            kind,
            currency: Currency::new(currency).unwrap(),
            balance: units(whole),
            available: None,
        }));
    };
    let held = |b: &Bench| b.stage.memory().account.wallet;
    let (margin, exchange) = (Some(WalletKind::Margin), Some(WalletKind::Exchange));
    for kind in [WalletKind::Margin, WalletKind::Derivatives] {
        let mut b = Bench::cold(RiskConfig { wallet: kind, ..wide() });
        b.mark_of(S, "99", "101");
        wallet(&mut b, exchange, "USD", 7);
        wallet(&mut b, margin, "BTC", 7);
        wallet(&mut b, None, "USD", 7);
        assert_eq!(held(&b), None, "nothing of the kind");
        wallet(&mut b, margin, "USD", 5);
        assert_eq!(held(&b), Some(e16(5)));
        wallet(&mut b, margin, "USD", 6);
        assert_eq!(held(&b), Some(e16(6)), "the newest word on it");
    }
    // In a spot wallet what is held of a base is worth its price.
    let mut b = Bench::cold(RiskConfig { wallet: WalletKind::Exchange, ..wide() });
    b.mark_of(S, "99", "101");
    wallet(&mut b, exchange, "BTC", 2);
    assert_eq!(held(&b), None, "without money of its own nothing is known");
    wallet(&mut b, margin, "BTC", 9);
    wallet(&mut b, exchange, "ETH", 9);
    wallet(&mut b, exchange, "USD", 5);
    assert_eq!(held(&b), Some(e16(205)));
}

#[test]
fn signs_of_others_are_heard_live_and_not_in_lists() {
    let mut b = with(|c| {
        on(c, &[Guard::ForeignActivity]);
        c.account.foreign_pause_s = 60;
    });
    let sign = |source, id| {
        let (id, cid) = (OrderId(id), Cid(id));
        Body::Order(OrderUpdate { source, symbol: S, id, cid, ..accepted() })
    };
    b.event(sign(Source::RestHistory, 5));
    b.event(sign(Source::Snapshot, 6));
    assert_eq!(used(&b, Guard::ForeignActivity), Some(0));
    b.event(sign(Source::Update, 7));
    assert_eq!(used(&b, Guard::ForeignActivity), Some(60));
}

#[test]
fn the_wallet_of_a_session_ends_with_the_trading_link_alone() {
    let mut b = with(|c| on(c, &[Guard::UnknownEquity]));
    let other = LinkEvent {
        conn: crate::base::ids::ConnId(1),
        trading: false,
        state: LinkState::Down,
        code: 0,
    };
    b.event(Body::Link(other));
    b.link(LinkState::MaintenanceStarted);
    b.link(LinkState::MaintenanceEnded);
    assert_eq!(used(&b, Guard::UnknownEquity), Some(0));
    b.link(LinkState::Down);
    assert_eq!(used(&b, Guard::UnknownEquity), Some(1));
}

#[test]
fn a_wallet_that_is_never_told_is_waited_for_no_longer_than_the_log_in() {
    let mut b = with(|c| on(c, &[Guard::DailyLoss]));
    let memory = RiskMemory { account: b.stage.memory().account, symbols: Vec::new() };
    b.restart(OrdersConfig::default());
    b.stage.recall(&memory);
    b.wait(SpanNs::from_s(1));
    assert_eq!(used(&b, Guard::DailyLoss), None, "not logged in");
    b.login();
    assert_eq!(used(&b, Guard::DailyLoss), None);
    b.wait(SpanNs::from_s(1));
    assert_eq!(used(&b, Guard::DailyLoss), Some(0));
}

#[test]
fn what_an_earlier_run_was_about_to_do_goes_on() {
    let recalled = |change: &dyn Fn(&mut RiskMemory)| {
        let mut b = with(|_| {});
        let mut memory = b.stage.memory();
        change(&mut memory);
        b.restart(OrdersConfig::default());
        b.stage.recall(&memory);
        let kills = b.stage.counters().kills;
        b.login();
        b.wallet("10000");
        b.wait(SpanNs::from_s(1));
        (b.stage.rank(), kills)
    };
    assert_eq!(recalled(&|_| ()), (Rank::Running, 0));
    // Halted and not killed: it stays. Killed: it is closed again first, then halted.
    assert_eq!(recalled(&|m| m.account.halted = true), (Rank::Halted, 0));
    let killed = |m: &mut RiskMemory| (m.account.killed, m.account.halted) = (true, true);
    assert_eq!(recalled(&killed), (Rank::Halted, 1));
    let mut b = with(|_| {});
    let mut memory = b.stage.memory();
    killed(&mut memory);
    b.restart(OrdersConfig::default());
    b.stage.recall(&memory);
    assert_eq!(b.stage.rank(), Rank::ReduceOnly, "nobody knows yet whether it is flat");
    // A flatten alone, without a kill: what is held is closed once it is known.
    let mut b = with(|_| {});
    let kept = Kept::default();
    b.stage.keep_in(Box::new(kept.clone()));
    holding(&mut b);
    b.say(OperatorVerb::Flatten, "enough");
    let symbol = kept.0.lock().unwrap().symbols[0];
    assert!(symbol.flattening && b.stage.memory().symbols[0].flattening);
    reborn(&mut b, &kept, "1", "100", "10000");
    b.out.clear();
    b.mark_of(S, "99", "101");
    b.wait(SpanNs::from_s(1));
    let closes = b.out.iter().filter(|command| command.class == Class::Close).count();
    assert_eq!(closes, 1);
}

#[test]
fn a_flatten_that_ended_is_not_remembered_and_one_that_gave_up_is() {
    let mut b = with(|c| c.flatten_attempts_max = 1);
    holding(&mut b);
    b.out.clear();
    b.say(OperatorVerb::Flatten, "enough");
    assert!(b.stage.memory().symbols[0].flattening);
    // Its one attempt is refused: it gives up, and the next run tries again.
    let close = *b.out.iter().find(|command| command.class == Class::Close).unwrap();
    b.refuse(&close);
    b.wait(SpanNs::from_s(2));
    assert!(b.stage.memory().symbols[0].flattening);
    assert_eq!(b.stage.counters().flatten_stuck, 1);
    // Nothing held: done at once.
    let mut b = with(|_| {});
    b.say(OperatorVerb::Flatten, "enough");
    b.wait(SpanNs::from_s(1));
    assert!(!b.stage.memory().symbols[0].flattening);
}

#[test]
fn a_tripped_loss_takes_entries_back_and_leaves_exits() {
    let mut b = with(|c| {
        on(c, &[Guard::DailyLoss]);
        c.account.daily_loss_max = Quote::from_whole(2);
    });
    holding(&mut b);
    let entry = b.entry()[0].cid();
    let exit = b.want_of(
        S,
        Want::Once { qty: qty("-1"), px: px("102"), urgency: Urgency::Limit, reduce: true },
    )[0]
    .cid();
    b.mark_of(S, "96", "98");
    let wanted = |cid| b.stage.ledger().find(cid).unwrap().cancel_wanted;
    assert!(wanted(entry) && !wanted(exit));
}

#[test]
fn what_the_venue_says_of_a_position_counts_at_once() {
    // Told alone, or in a list: what it says of the symbol is worked out either way.
    let position = |source| {
        Body::Position(PositionUpdate {
            source,
            symbol: SymbolId(1),
            qty: qty("1"),
            base_px: px("100"),
            pnl: None,
        })
    };
    let mut b = Bench::cold(wide());
    b.wallet("10000");
    b.link(LinkState::Authenticated);
    let of = SnapshotOf::Positions;
    b.event(Body::Snapshot(SnapshotMark { of, end: false, count: 1 }));
    b.event(position(Source::Snapshot));
    b.event(Body::Snapshot(SnapshotMark { of, end: true, count: 1 }));
    assert_eq!(used(&b, Guard::DailyLoss), None, "held without a price");
    other_mark(&mut b, "99", "101");
    assert_eq!(used(&b, Guard::DailyLoss), Some(0));
    other_mark(&mut b, "96", "98");
    assert_eq!(used(&b, Guard::DailyLoss), Some(units(3)));
}

#[test]
fn the_peak_begins_with_the_first_day_and_not_with_every_day() {
    let mut b = with(|c| {
        on(c, &[Guard::Drawdown]);
        c.account.drawdown_max = Quote::from_whole(1_000);
    });
    holding(&mut b);
    b.mark_of(S, "109", "111");
    b.mark_of(S, "106", "108");
    assert_eq!(used(&b, Guard::Drawdown), Some(units(3)));
    to_midnight(&mut b);
    assert_eq!(used(&b, Guard::Drawdown), Some(units(3)), "a day is no new peak");
}

#[test]
fn a_trip_at_a_mark_is_written_down_with_that_mark() {
    let mut b = with(|c| {
        on(c, &[Guard::Volatility]);
        c.account.volatility_max_bps = 50 * 100_000_000;
        (c.account.volatility_window_ms, c.account.volatility_pause_s) = (8_000, 30);
    });
    b.wait(SpanNs::from_s(61));
    let count = Count::default();
    b.stage.keep_in(Box::new(count.clone()));
    b.mark_of(S, "99", "101");
    assert_eq!(*count.0.lock().unwrap(), 0);
    b.mark_of(S, "100", "102");
    assert_eq!(*count.0.lock().unwrap(), 1);
}

#[test]
fn a_loop_stays_cut_when_its_window_has_passed() {
    let mut b = with(|c| {
        on(c, &[Guard::Repeat]);
        (c.repeat_max, c.repeat_window_ms) = (1, 1_000);
    });
    // Away from a whole minute, at which all is worked out anew.
    let left = 60_000_000_000 - b.stage.wall.0.rem_euclid(60_000_000_000);
    b.wait(SpanNs(left + 5_000_000_000));
    assert!(b.may_enter());
    assert!(!b.may_enter());
    b.wait(SpanNs::from_ms(1_500));
    assert!(!b.may_enter());
}

#[test]
fn hours_are_told_and_trades_of_strangers_are_signs() {
    let mut b = with(|c| {
        on(c, &[Guard::TradingWindow, Guard::ForeignActivity]);
        c.account.foreign_pause_s = 60;
    });
    assert_eq!(used(&b, Guard::TradingWindow), Some(0));
    b.event(Body::Fill(Fill {
        trade: TradeId(900),
        symbol: SYMBOL_FOREIGN,
        order: OrderId(900),
        cid: Cid(5),
        at: WallNs(0),
        qty: qty("1"),
        px: px("100"),
        maker: None,
        fee: Some(0),
        fee_currency: Currency::new("USD").unwrap(),
    }));
    assert_eq!(used(&b, Guard::ForeignActivity), Some(60));
    let b = with(|c| {
        on(c, &[Guard::TradingWindow]);
        c.account.windows = Vec::new();
    });
    assert_eq!(used(&b, Guard::TradingWindow), Some(1), "never open");
}

#[test]
fn a_position_told_by_itself_is_worked_out_at_once() {
    let mut b = with(|c| on(c, &[Guard::DailyLoss]));
    b.event(Body::Snapshot(SnapshotMark { of: SnapshotOf::Positions, end: false, count: 1 }));
    b.event(Body::Position(PositionUpdate {
        source: Source::Snapshot,
        symbol: SymbolId(1),
        qty: qty("1"),
        base_px: px("100"),
        pnl: None,
    }));
    let held = b.stage.positions().qty(SymbolId(1));
    assert_eq!(used(&b, Guard::DailyLoss).is_none(), !held.is_zero());
}

#[test]
fn what_was_open_is_remembered_until_it_has_a_price_again() {
    let mut b = with(|c| {
        on(c, &[Guard::DailyLoss]);
        c.account.daily_loss_max = Quote::from_whole(1_000);
    });
    let kept = Kept::default();
    b.stage.keep_in(Box::new(kept.clone()));
    holding(&mut b);
    b.mark_of(S, "109", "111");
    b.wait(SpanNs::from_s(61));
    assert_eq!(kept.0.lock().unwrap().account.open, e16(10));
    // On another day: it begins with what was open, as it was seen last.
    b.now = b.now + SpanNs(DAY_NS);
    reborn(&mut b, &kept, "1", "100", "10000");
    b.say(OperatorVerb::Pause, "written down before there is a price");
    assert_eq!(kept.0.lock().unwrap().account.open, e16(10));
    b.mark_of(S, "109", "111");
    assert_eq!(used(&b, Guard::DailyLoss), Some(0));
    b.mark_of(S, "107", "109");
    assert_eq!(used(&b, Guard::DailyLoss), Some(units(2)));
}

#[test]
fn a_loss_is_judged_when_all_that_is_held_has_a_price() {
    let mut b = with(|c| {
        on(c, &[Guard::DailyLoss]);
        c.account.daily_loss_max = Quote::from_whole(2);
    });
    b.own();
    b.done();
    other_trade(&mut b, 50, "1", "100");
    b.trade(1, "1", "100", Some("0"));
    b.mark_of(S, "95", "97");
    assert_eq!((level(&b, Guard::DailyLoss).trips, b.stage.rank()), (0, Rank::Running));
    other_mark(&mut b, "99", "101");
    assert_eq!((level(&b, Guard::DailyLoss).trips, b.stage.rank()), (1, Rank::EntriesBlocked));
}

#[test]
fn a_loss_of_an_earlier_run_is_judged_once_the_venue_has_told_the_wallet() {
    let mut b = with(|c| {
        on(c, &[Guard::DailyLoss]);
        c.account.daily_loss_max = Quote::from_whole(2);
    });
    let mut memory = b.stage.memory();
    memory.account.realised = e16(-5);
    b.restart(OrdersConfig::default());
    b.stage.recall(&memory);
    b.link(LinkState::Authenticated);
    for (bid, ask) in [("99", "101"), ("98", "100"), ("100", "102")] {
        b.mark_of(S, bid, ask);
        b.stage.look_at(0);
    }
    assert_eq!(level(&b, Guard::DailyLoss).trips, 0, "not known yet");
    b.wallet("10000");
    assert_eq!(level(&b, Guard::DailyLoss).trips, 1);
}
