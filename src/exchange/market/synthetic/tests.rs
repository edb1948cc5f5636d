//! The synthetic market on a plain floor: goal, that it is alive, repeats, and leaves room for
//! others.

use super::super::MarketSource;
use super::plain_floor::PlainFloor;
use super::{Synthetic, SyntheticConfig};
use crate::base::units::Side;

fn run(market: &mut Synthetic, floor: &mut PlainFloor, seconds: i64) {
    let end = market.next_at().unwrap().0 + seconds * 1_000_000_000;
    while market.next_at().unwrap().0 < end {
        market.step(floor);
    }
}

#[test]
fn books_are_deep_and_never_crossed_and_every_symbol_trades() {
    let mut market = Synthetic::new(SyntheticConfig::default());
    let mut floor = PlainFloor::new(4);
    for _ in 0..60 {
        run(&mut market, &mut floor, 10);
        for book in &floor.books {
            assert!(book.best(Side::Buy) < book.best(Side::Sell));
            for side in [Side::Buy, Side::Sell] {
                assert!(book.levels(side).count() >= 100, "{}", book.levels(side).count());
            }
        }
    }
    for symbol in 0..4 {
        let trades = floor.done.iter().filter(|done| done.symbol == symbol).count();
        assert!(trades >= 10, "symbol {symbol} had {trades} trades in ten minutes");
    }
}

#[test]
fn one_seed_is_one_market_and_another_seed_another() {
    let trace = |seed: u64| {
        let mut market = Synthetic::new(SyntheticConfig { seed, ..Default::default() });
        let mut floor = PlainFloor::new(4);
        run(&mut market, &mut floor, 120);
        (market.state(), floor.done)
    };
    assert_eq!(trace(7), trace(7));
    assert_ne!(trace(7), trace(8));
}

/// Quotes as the maker of the default configuration does: 2 bps from the middle, looked at again
/// every 1.5 s, moved where it is 1 bps off. Returns fills, and orders that were filled in part
/// first.
fn quote(seed: u64, seconds: i64) -> (usize, usize) {
    let mut market = Synthetic::new(SyntheticConfig { seed, ..Default::default() });
    let mut floor = PlainFloor::new(4);
    run(&mut market, &mut floor, 1);
    let mut mine: [Option<(u64, i64)>; 2] = [None, None];
    let (mut fills, mut parts) = (0, 0);
    for _ in 0..seconds * 2 / 3 {
        let best = |side| floor.books[0].best(side).unwrap();
        let middle = (best(Side::Buy) + best(Side::Sell)) / 2;
        for (at, side) in [Side::Buy, Side::Sell].into_iter().enumerate() {
            let px = middle - side.sign() * middle / 5_000;
            if let Some((id, old)) = mine[at]
                && (old - px).abs() > middle / 10_000
            {
                floor.books[0].remove(id);
                mine[at] = None;
            }
            if mine[at].is_none() {
                let px = px - px % 100_000_000;
                mine[at] = Some((floor.account_limit(0, side, px, 1_000_000), px));
            }
        }
        let before = floor.done.len();
        let end = market.next_at().unwrap().0 + 1_500_000_000;
        while market.next_at().unwrap().0 < end {
            market.step(&mut floor);
        }
        for done in floor.done[before..].iter().filter(|done| done.hit.owner == 1) {
            fills += 1;
            parts += usize::from(done.hit.qty < 1_000_000);
            for own in mine.iter_mut() {
                if own.is_some_and(|(id, _)| id == done.hit.maker) {
                    if let Some(left) = floor.books[0].remove(done.hit.maker) {
                        floor.books[0].rest(left);
                    }
                }
            }
        }
    }
    (fills, parts)
}

#[test]
fn a_maker_near_the_touch_is_filled_now_and_then_and_in_parts() {
    let results: Vec<(usize, usize)> = (1..=40).map(|seed| quote(seed, 30)).collect();
    let filled = results.iter().filter(|(fills, _)| *fills > 0).count();
    let in_parts = results.iter().filter(|(_, parts)| *parts > 0).count();
    println!("{results:?} filled {filled} in parts {in_parts}");
    assert!(filled >= 20, "{filled} of 40 seeds filled a maker in half a minute");
}
