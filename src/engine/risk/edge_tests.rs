//! Every limit at its very edge, and nonsense in every number. Goal: one unit below the limit and
//! at it an order passes, one unit above it is refused, for any limit; and whatever is asked, what
//! leaves keeps to every limit. Short forms run always, the long ones are ignored.

use super::tests::{Bench, WALL, instruments, wide};
use super::*;
use crate::base::ids::{Cid, OrderId, SymbolId, TradeId};
use crate::base::rng::Rng;
use crate::base::time::{SpanNs, WallNs};
use crate::base::units::{Px, Qty, Quote, Side};
use crate::engine::stage::Stage;
use crate::model::*;

const S: SymbolId = SymbolId(0);
const UNIT: i64 = 100_000_000;
/// Middle of every book here: 100.
const MID: i64 = 100 * UNIT;

/// A book around `mid`, `half` either way.
fn mark_at(b: &mut Bench, mid: i64, half: i64) {
    let level = |raw: i64| Level { px: Px::from_raw(raw), qty: Qty::from_whole(1) };
    let stamp = b.stamp();
    let (bid, ask) = (level(mid - half), level(mid + half));
    b.stage.on_input(&Signal::Mark(Mark { stamp, symbol: S, synced: true, bid, ask }), &mut b.out);
}
/// The same around the middle.
fn mark(b: &mut Bench, half: i64) {
    mark_at(b, MID, half);
}
/// A margin wallet, so that equity is known.
fn fund(b: &mut Bench) {
    b.event(Body::Wallet(WalletUpdate {
        source: Source::Update,
        kind: Some(WalletKind::Margin),
        currency: Currency::new("USD").unwrap(),
        balance: 100_000 * UNIT,
        available: None,
    }));
}
/// An own order to buy whole units at the middle; its client id.
fn buy(b: &mut Bench, units: i64) -> Cid {
    let (qty, px) = (Qty::from_whole(units), Px::from_raw(MID));
    b.want_of(S, Want::Once { qty, px, urgency: Urgency::Limit, reduce: false })[0].cid()
}
/// A fill of an own order without a fee; `size` and `price` in 1e-8.
fn fill(b: &mut Bench, cid: Cid, trade: u64, size: i64, price: i64) {
    b.event(Body::Fill(Fill {
        trade: TradeId(trade),
        symbol: S,
        order: OrderId(77),
        cid,
        at: WallNs(WALL.0),
        qty: Qty::from_raw(size),
        px: Px::from_raw(price),
        maker: None,
        fee: Some(0),
        fee_currency: Currency::new("USD").unwrap(),
    }));
}
fn bench(change: impl FnOnce(&mut RiskConfig)) -> Bench {
    let mut config = wide();
    // Far away, but for the limit that is asked about.
    config.limits =
        Limits { order_notional_max: Quote::MAX, position_max: Quote::MAX, open_orders_max: 1_000 };
    config.exposure_max = Quote::MAX;
    config.repeat_max = 64;
    config.rate_burst_max = 1_000;
    config.rate_max = 1_000;
    change(&mut config);
    let mut b = Bench::cold(config);
    b.login();
    mark(&mut b, UNIT);
    b
}
/// Asks for one order; the guard that refused it.
fn ask(b: &mut Bench, size: i64, price: i64) -> Option<Guard> {
    ask_of(
        b,
        Want::Once {
            qty: Qty::from_raw(size),
            px: Px::from_raw(price),
            urgency: Urgency::Limit,
            reduce: false,
        },
    )
}
fn ask_of(b: &mut Bench, want: Want) -> Option<Guard> {
    let before = b.stage.guards.counts;
    let sent = b.want_of(S, want);
    let refused = Guard::ALL.into_iter().find(|guard| {
        b.stage.guards.counts[*guard as usize].blocked > before[*guard as usize].blocked
    });
    assert_eq!(sent.is_empty(), refused.is_some(), "{want:?}: {sent:?}, {refused:?}");
    refused
}
/// A whole number of ticks near the middle: rounding is another test's.
fn price(rng: &mut Rng) -> i64 {
    MID + (rng.below(401) as i64 - 200) * 1_000_000
}

/// Limit, and what one order uses of it: (limit in 1e-8, the guard, the change that sets it).
fn at_the_edge(rng: &mut Rng) {
    let px = price(rng);
    let size = 1_000_000 + rng.below(99 * UNIT as u64) as i64;
    let signed = if rng.chance(1, 2) { size } else { -size };
    let worth = |px: i64| Px::from_raw(px).notional(Qty::from_raw(size)).raw();
    // An order is worth its price or the middle, whichever is more; a position the middle.
    let of_order = worth(px.max(MID));
    let of_position = worth(MID);
    for off in [-1, 0, 1] {
        let fits = off >= 0;
        let expect = |guard: Guard| if fits { None } else { Some(guard) };
        let mut b = bench(|c| c.limits.order_notional_max = Quote::from_raw(of_order + off));
        assert_eq!(ask(&mut b, signed, px), expect(Guard::OrderNotional), "{size} at {px}, {off}");
        let mut b = bench(|c| c.limits.position_max = Quote::from_raw(of_position + off));
        assert_eq!(ask(&mut b, signed, px), expect(Guard::MaxPosition), "{size} at {px}, {off}");
        let mut b = bench(|c| c.exposure_max = Quote::from_raw(of_position + off));
        assert_eq!(ask(&mut b, signed, px), expect(Guard::TotalExposure), "{size} at {px}, {off}");
    }
    // The collar, to the tick: 1e-8 here, since prices are rounded on the cautious side.
    let bps = 1 + rng.below(500) as i64;
    let side = Side::of(Qty::from_raw(signed));
    let edge = match side {
        Side::Buy => Px::from_raw(MID).offset_bps(bps).floor_to_tick(),
        Side::Sell => Px::from_raw(MID).offset_bps(-bps).ceil_to_tick(),
    };
    let tick = 1_000_000;
    for (ticks, beyond) in [(-1, false), (0, false), (1, true)] {
        let mut b = bench(|c| c.collar_bps = bps as u16);
        let away = if side == Side::Buy { ticks * tick } else { -ticks * tick };
        let refused = ask(&mut b, signed, edge.raw() + away);
        assert_eq!(refused, beyond.then_some(Guard::PriceCollar), "{bps} bps, {side:?}, {ticks}");
    }
    // Sizes of the venue.
    for (size, guard) in [
        (999_999, Some(Guard::MinSize)),
        (1_000_000, None),
        (1_000_001, None),
        (100 * UNIT - 1, None),
        (100 * UNIT, None),
        (100 * UNIT + 1, Some(Guard::MaxSize)),
    ] {
        let mut b = bench(|_| {});
        assert_eq!(ask(&mut b, size * signed.signum(), MID), guard, "{size}");
    }
}

/// Limits that are counts: exactly so many pass, and the next one does not.
fn counts_at_the_edge(rng: &mut Rng) {
    let most = 1 + rng.below(20) as u16;
    let each = |b: &mut Bench, nth: u16| ask(b, 1_000_000, MID - i64::from(nth) * 1_000_000);
    let try_all = |b: &mut Bench, guard: Guard| {
        for nth in 0..most {
            assert_eq!(each(b, nth), None, "{guard:?}: {nth} of {most}");
        }
        assert_eq!(each(b, most), Some(guard), "{guard:?}: beyond {most}");
    };
    try_all(&mut bench(|c| c.limits.open_orders_max = most), Guard::OpenOrders);
    try_all(&mut bench(|c| c.open_orders_max = most), Guard::OpenOrders);
    // Rates: beyond it, and again when the window's first moment is just out of it.
    for burst in [true, false] {
        let mut b = bench(|c| {
            if burst {
                c.rate_burst_max = most
            } else {
                c.rate_max = most
            }
            c.rate_window_ms = 5_000;
            c.stale_after_ms = 1_000_000;
        });
        let window = SpanNs::from_ms(if burst { 1_000 } else { 5_000 });
        let begun = b.now;
        try_all(&mut b, Guard::OrderRate);
        b.now = begun + SpanNs(window.0 - 1);
        assert_eq!(each(&mut b, most), Some(Guard::OrderRate), "a nanosecond too early");
        b.now = begun + window;
        assert_eq!(each(&mut b, most), None, "the window is over");
    }
    // The same order again and again.
    let mut b = bench(|c| {
        c.repeat_max = most;
        c.guards[Guard::Repeat as usize] = GuardMode::On;
    });
    for _ in 0..most {
        assert_eq!(ask(&mut b, 1_000_000, MID), None);
    }
    assert_eq!(ask(&mut b, 1_000_000, MID), Some(Guard::Repeat));
    // Trades of the day: what is alive counts as if it were one.
    for of_symbol in [true, false] {
        let mut b = bench(|c| {
            let guard = if of_symbol { Guard::SymbolDailyTrades } else { Guard::DailyTrades };
            c.guards[guard as usize] = GuardMode::On;
            let limit = u32::from(most);
            match of_symbol {
                true => c.account.symbol_trades_day_max = limit,
                false => c.account.trades_day_max = limit,
            }
        });
        let guard = if of_symbol { Guard::SymbolDailyTrades } else { Guard::DailyTrades };
        try_all(&mut b, guard);
    }
    // Age of the book, to the nanosecond.
    let stale_ms = 1 + rng.below(10_000) as i64;
    for (off, refused) in [(-1, None), (0, None), (1, Some(Guard::Stale))] {
        let mut b = bench(|c| c.stale_after_ms = stale_ms as u32);
        b.now = b.now + SpanNs(stale_ms * 1_000_000 + off);
        assert_eq!(ask(&mut b, 1_000_000, MID), refused, "{stale_ms} ms and {off} ns");
    }
}

/// A number that somebody might send: sense, nonsense, and the ends of the range.
fn wild(rng: &mut Rng) -> i64 {
    match rng.below(10) {
        0 => 0,
        1 => i64::MAX,
        2 => -i64::MAX,
        3 => 1,
        4 => -1,
        5 => rng.next_u64() as i64 & i64::MAX,
        6 => -(rng.next_u64() as i64 & i64::MAX),
        7 => MID + rng.below(20 * UNIT as u64) as i64 - 10 * UNIT,
        _ => rng.below(200 * UNIT as u64) as i64 - 100 * UNIT,
    }
}

/// Any numbers in intents and books: nothing panics, and what leaves keeps to every limit.
fn nonsense(rng: &mut Rng) -> u64 {
    let limit = 1 + rng.below(20_000) as i64;
    let mut b = bench(|c| {
        c.limits.order_notional_max = Quote::from_whole(limit);
        c.limits.position_max = Quote::from_whole(2 * limit);
        c.exposure_max = Quote::from_whole(3 * limit);
        c.requote = [Requote::Amend, Requote::Replace, Requote::CancelNew][rng.below(3) as usize];
    });
    let mut left = 0;
    for _ in 0..8 {
        b.now = b.now + SpanNs::from_ms(rng.below(400) as i64);
        if rng.chance(1, 2) {
            let (bid, ask) = match rng.chance(2, 3) {
                true => (MID - UNIT, MID + UNIT),
                false => (wild(rng), wild(rng)),
            };
            let level = |raw: i64| Level { px: Px::from_raw(raw), qty: Qty::from_whole(1) };
            let stamp = b.stamp();
            let mark = Mark { stamp, symbol: S, synced: true, bid: level(bid), ask: level(ask) };
            b.stage.on_input(&Signal::Mark(mark), &mut b.out);
        }
        let (size, px) = (Qty::from_raw(wild(rng)), Px::from_raw(wild(rng)));
        let urgency = [Urgency::Passive, Urgency::Limit, Urgency::Take][rng.below(3) as usize];
        let level = |px, qty| Level { px, qty };
        let want = match rng.below(5) {
            0 => Want::Target { qty: size, px, urgency },
            1 => Want::Quote {
                bid: level(px, size),
                ask: level(Px::from_raw(wild(rng)), Qty::from_raw(wild(rng))),
            },
            2 => Want::Flatten,
            _ => Want::Once { qty: size, px, urgency, reduce: rng.chance(1, 4) },
        };
        let row = b.stage.marks[0];
        let sent = b.want_of(S, want);
        for command in &sent {
            let (Action::New(new) | Action::Replace { new, .. }) = command.action else {
                continue;
            };
            left += 1;
            let at = format!("{want:?} on {row:?}: {new:?}");
            assert!(row.bid > Px::ZERO && row.ask > row.bid, "a book that is none: {at}");
            let size = new.qty.abs();
            let known = &instruments(1)[0];
            assert!(size >= known.qty_min && size <= known.qty_max, "{at}");
            assert!(new.px > Px::ZERO, "{at}");
            if command.class == Class::Entry {
                let worth = new.px.max(row.mid()).notional(size);
                assert!(worth <= Quote::from_whole(limit), "{at}");
                let mid = row.mid();
                let (long, short) = b.stage.worst(S);
                let side = if new.qty > Qty::ZERO { long } else { short };
                assert!(mid.notional(side) <= Quote::from_whole(2 * limit), "{at}");
                assert!(mid.notional(long.max(short)) <= Quote::from_whole(3 * limit), "{at}");
            }
        }
    }
    left
}

/// Rounds of everything; how many orders the nonsense let out, so that it is known to be asked.
fn all(seed: u64, rounds: u64) {
    let mut rng = Rng::new(seed);
    let mut left = 0;
    for _ in 0..rounds {
        at_the_edge(&mut rng);
        counts_at_the_edge(&mut rng);
        for _ in 0..4 {
            left += nonsense(&mut rng);
        }
    }
    assert!(left > rounds / 2, "{left} orders left in {rounds} rounds");
}

#[test]
fn every_limit_holds_at_its_edge_and_nonsense_gets_nowhere() {
    all(1, 60);
}
#[test]
#[ignore = "a million asks at edges and of nonsense: minutes without optimisation"]
fn every_limit_holds_at_its_edge_a_million_times() {
    // About 260 asks a round.
    all(2, 4_000);
}

#[test]
fn numbers_that_are_none_become_no_price_and_no_size() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e300, 9.3e10] {
        assert_eq!((Px::from_f64(bad), Qty::from_f64(bad)), (None, None), "{bad}");
    }
    assert_eq!(Qty::from_f64(-0.0), Some(Qty::ZERO));
    for text in ["NaN", "inf", "-inf", "1e999", "", "-", "1.2.3", "0x10"] {
        assert!(Px::parse(text).is_err() && Qty::parse(text).is_err(), "{text}");
    }
}

/// What trips at a loss is asked one unit before, at and beyond it.
#[test]
fn loss_limits_trip_at_the_very_unit() {
    for on_day in [true, false] {
        for off in [-1, 0, 1] {
            let limit = 5 * UNIT;
            let mut b = bench(|c| {
                let guard = if on_day { Guard::DailyLoss } else { Guard::Drawdown };
                c.guards[guard as usize] = GuardMode::On;
                c.account.on_loss = OnLoss::Block;
                match on_day {
                    true => c.account.daily_loss_max = Quote::from_raw(limit),
                    false => c.account.drawdown_max = Quote::from_raw(limit),
                }
            });
            fund(&mut b);
            // Bought by an own order, at the middle.
            let bought = buy(&mut b, 1);
            fill(&mut b, bought, 1, UNIT, MID);
            assert_eq!(b.stage.positions.qty(S), Qty::from_whole(1));
            // One unit is held: a middle lower by so much is a loss of so much.
            let mid = MID - limit - off;
            mark_at(&mut b, mid, UNIT);
            assert_eq!(b.stage.account.is_tripped(), off >= 0, "day {on_day}, {off}");
        }
    }
}

/// Two orders are the same where symbol, side, price and size are, and in no other case.
#[test]
fn only_the_same_order_is_a_repeat() {
    use super::check::Draft;
    use crate::base::ids::StrategyId;
    use crate::engine::orders::Lane;
    let draft = |symbol: u16, side: Side, px: i64, qty: i64| Draft {
        symbol: SymbolId(symbol),
        strategy: StrategyId(0),
        lane: Lane::Once,
        reason: Reason::Signal,
        side,
        qty: Qty::from_raw(qty),
        px: Px::from_raw(px),
        kind: OrderKind::Limit,
        flags: OrderFlags::NONE,
        class: Class::Entry,
        amends: false,
        bracket: None,
    };
    let mut seen = std::collections::BTreeMap::new();
    for symbol in [0, 1, 2, 3, 64, 255] {
        for side in [Side::Buy, Side::Sell] {
            for px in [0, 1, 2, 3, MID, MID + 1, i64::MAX] {
                for qty in [1, 2, 3, 4, UNIT, UNIT + 1, UNIT + 2] {
                    let order = draft(symbol, side, px, qty);
                    assert_eq!(order.key(), draft(symbol, side, px, qty).key());
                    assert_eq!(order.key() % 2, 1, "the tag of no order is even");
                    // The lowest bit is that mark; all others tell orders apart.
                    let at = (symbol, side as u8, px, qty);
                    assert_eq!(seen.insert(order.key(), at), None, "{at:?}");
                }
            }
        }
    }
    // Through the stage: as many of one kind as may be, and one of another passes.
    let repeat_max = 3;
    let on = |c: &mut RiskConfig| {
        c.repeat_max = repeat_max;
        c.guards[Guard::Repeat as usize] = GuardMode::On;
    };
    for other in [(2_000_000, MID), (1_000_000, MID + 1_000_000), (-1_000_000, MID)] {
        let mut b = bench(on);
        for _ in 0..repeat_max {
            assert_eq!(ask(&mut b, 1_000_000, MID), None);
        }
        assert_eq!(ask(&mut b, other.0, other.1), None, "{other:?} is another order");
        assert_eq!(ask(&mut b, 1_000_000, MID), Some(Guard::Repeat));
    }
}

/// A pair whose sizes the venue did not tell is not traded at all.
#[test]
fn a_pair_without_sizes_is_refused() {
    let mut rows = instruments(1);
    rows[0].qty_min = Qty::ZERO;
    let mut b = bench(|_| {});
    b.stage.instruments = rows.into();
    assert_eq!(ask(&mut b, 1_000_000, MID), Some(Guard::Instrument));
}

/// No book, no order: a side that is empty, missing, or met by the other.
#[test]
fn a_book_without_two_sides_apart_is_none() {
    for (bid, offer, refused) in [
        (0, MID + UNIT, Some(Guard::Unsynced)),
        (-1, MID + UNIT, Some(Guard::Unsynced)),
        (MID, MID, Some(Guard::Unsynced)),
        (MID + 1, MID, Some(Guard::Unsynced)),
        (MID - 1, MID, None),
        (1, 2, Some(Guard::PriceCollar)),
    ] {
        let mut b = bench(|_| {});
        let level = |raw: i64| Level { px: Px::from_raw(raw), qty: Qty::from_whole(1) };
        let stamp = b.stamp();
        let mark = Mark { stamp, symbol: S, synced: true, bid: level(bid), ask: level(offer) };
        b.stage.on_input(&Signal::Mark(mark), &mut b.out);
        assert_eq!(ask(&mut b, 1_000_000, MID), refused, "{bid} {offer}");
    }
}

/// What does not add to the worst position is not held back by an exposure that the market has
/// raised.
#[test]
fn an_exposure_above_its_limit_holds_back_only_what_adds_to_it() {
    let mut b = bench(|c| c.exposure_max = Quote::from_whole(250));
    let bought = buy(&mut b, 2);
    fill(&mut b, bought, 1, 2 * UNIT, MID);
    mark_at(&mut b, 150 * UNIT, UNIT);
    assert_eq!(ask(&mut b, 1_000_000, 150 * UNIT), Some(Guard::TotalExposure));
    assert_eq!(ask(&mut b, -UNIT, 150 * UNIT), None, "less is always allowed");
}

/// The reason that is told is the one that holds.
#[test]
fn a_drawdown_is_not_told_as_a_loss_of_the_day() {
    for (guard, other) in [(Guard::Drawdown, Guard::DailyLoss), (Guard::DailyLoss, Guard::Drawdown)]
    {
        let mut b = bench(|c| {
            c.guards[Guard::Drawdown as usize] = GuardMode::On;
            c.guards[Guard::DailyLoss as usize] = GuardMode::On;
            c.account.on_loss = OnLoss::Block;
            match guard {
                Guard::Drawdown => c.account.drawdown_max = Quote::from_whole(1),
                _ => c.account.daily_loss_max = Quote::from_whole(1),
            }
        });
        fund(&mut b);
        let bought = buy(&mut b, 1);
        fill(&mut b, bought, 1, UNIT, MID + 2 * UNIT);
        mark(&mut b, UNIT);
        assert_eq!(ask(&mut b, 1_000_000, MID), Some(guard));
        assert_eq!(b.stage.guards.counts[other as usize], GuardCount::default());
    }
}

/// A sudden move is noticed within one stretch of its window, either way, counted once a pause, and
/// forgotten when the window has passed.
#[test]
fn a_sudden_move_is_noticed_at_once_and_forgotten_in_time() {
    let half = 1_000_000;
    let at = |b: &mut Bench, mid: i64| mark_at(b, mid, half);
    let volatile = |b: &Bench| b.stage.account.gates(0) & Guard::Volatility.bit() != 0;
    let trips = |b: &Bench| b.stage.account.trips()[Guard::Volatility as usize];
    for up in [true, false] {
        let mut b = bench(|c| {
            c.guards[Guard::Volatility as usize] = GuardMode::On;
            c.account.volatility_max_bps = 50 * UNIT;
            (c.account.volatility_window_ms, c.account.volatility_pause_s) = (8_000, 5);
            c.stale_after_ms = 1_000_000;
        });
        let moved = if up { MID + MID / 100 } else { MID - MID / 100 };
        assert_eq!(b.stage.account.range_bps(0), Some(0), "one price seen");
        b.now = b.now + SpanNs::from_ms(10);
        at(&mut b, MID);
        assert!(!volatile(&b));
        // A hundredth in a hundredth of a second: within the stretch that the first mark began.
        b.now = b.now + SpanNs::from_ms(10);
        at(&mut b, moved);
        assert!(volatile(&b), "up {up}");
        assert_eq!(trips(&b), 1);
        assert!(b.stage.account.range_bps(0).unwrap() >= 99);
        // It goes on: still one pause.
        b.now = b.now + SpanNs::from_ms(1_500);
        at(&mut b, if up { moved + MID / 50 } else { moved - MID / 50 });
        assert_eq!(trips(&b), 1, "one pause, however long");
        // Quiet at the new price: the old one leaves the window, and the pause ends.
        let quiet = if up { moved + MID / 50 } else { moved - MID / 50 };
        for _ in 0..20 {
            b.now = b.now + SpanNs::from_ms(1_000);
            at(&mut b, quiet);
        }
        assert!(!volatile(&b), "up {up}: it is over");
        assert_eq!(b.stage.account.range_bps(0), Some(0), "the window has forgotten");
        // And another move begins another pause.
        at(&mut b, MID);
        assert!(volatile(&b));
        assert_eq!(trips(&b), 2);
    }
}

/// A flip ends a round trip as a close does, and adding to a position does not.
#[test]
fn a_flip_ends_a_round_trip_and_more_of_the_same_does_not() {
    let streak = |steps: &[(i64, i64)]| {
        let mut b = bench(|c| c.guards[Guard::LossStreak as usize] = GuardMode::On);
        fund(&mut b);
        let bought = buy(&mut b, 1);
        for (nth, (size, price)) in steps.iter().enumerate() {
            fill(&mut b, bought, 1 + nth as u64, *size, *price);
        }
        b.stage.account.memory().loss_streak
    };
    let (high, low) = (MID, MID - UNIT);
    assert_eq!(streak(&[(UNIT, high), (UNIT, low)]), 0, "more of the same");
    assert_eq!(streak(&[(UNIT, high), (-UNIT / 2, low)]), 0, "a part is no round trip");
    assert_eq!(streak(&[(UNIT, high), (-UNIT, low)]), 1, "closed with a loss");
    assert_eq!(streak(&[(UNIT, high), (-2 * UNIT, low)]), 1, "a flip from long to short");
    assert_eq!(streak(&[(-UNIT, low), (2 * UNIT, high)]), 1, "and from short to long");
    assert_eq!(streak(&[(UNIT, low), (-UNIT, high)]), 0, "closed with a gain");
}

/// A symbol's trades of another day do not count, whatever day the account has come to: another run
/// may have traded without that symbol.
#[test]
fn a_symbols_trades_count_on_their_own_day_alone() {
    let today = crate::base::zone::Zone::UTC.day(WALL);
    for (day, counted) in [(today, 7), (today - 1, 0)] {
        let mut b = Bench::cold(wide());
        let account = AccountMemory { version: MEMORY_VERSION, day: today, ..Default::default() };
        let name = instruments(1)[0].name;
        let row = SymbolMemory { name, day, trades_day: 7, ..Default::default() };
        b.stage.recall(&RiskMemory { account, symbols: vec![row] });
        b.event(Body::Tick);
        assert_eq!(b.stage.account.symbol_trades_day(0), counted, "{day} of {today}");
    }
}
