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
        assert!(trades >= 20, "symbol {symbol} had {trades} trades in ten minutes");
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

#[test]
fn an_order_at_the_touch_is_filled_in_parts() {
    let mut market = Synthetic::new(SyntheticConfig::default());
    let mut floor = PlainFloor::new(4);
    run(&mut market, &mut floor, 5);
    let px = floor.books[0].best(Side::Buy).unwrap();
    let id = floor.account_limit(0, Side::Buy, px, 500_000_000);
    run(&mut market, &mut floor, 600);
    let fills = floor.done.iter().filter(|done| done.hit.maker == id).count();
    assert!(fills >= 2, "{fills} fills");
}
