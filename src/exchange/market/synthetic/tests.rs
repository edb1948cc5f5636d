//! The synthetic market on a plain floor: goal, that it is alive, repeats, and leaves room for
//! others.

use super::super::MarketSource;
use super::plain_floor::PlainFloor;
use super::{Synthetic, SyntheticConfig};
use crate::base::time::WallNs;
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
        let orders = floor.placed[symbol];
        assert!((3_000..=60_000).contains(&orders), "symbol {symbol}: {orders} orders");
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

/// Sizes of quotes on tBTCUSD and tETHUSD, 1e-8.
const QUOTES: [i64; 2] = [1_000_000, 20_000_000];

/// Quotes two symbols as the makers of the default configuration do: 2 bps from the middle, looked
/// at again every 1.5 s, moved where it is 1 bps off. Returns executions, and those of a part of an
/// order.
fn quote(seed: u64, seconds: i64) -> (usize, usize) {
    let mut market = Synthetic::new(SyntheticConfig { seed, ..Default::default() });
    let mut floor = PlainFloor::new(4);
    run(&mut market, &mut floor, 1);
    // Order, price, and what is left of it; bids and asks.
    let mut mine: [[Option<(u64, i64, i64)>; 2]; 2] = [[None; 2]; 2];
    let (mut fills, mut parts) = (0, 0);
    for _ in 0..seconds * 2 / 3 {
        for (symbol, quotes) in mine.iter_mut().enumerate() {
            let best = |side| floor.books[symbol].best(side).unwrap();
            let middle = (best(Side::Buy) + best(Side::Sell)) / 2;
            for (own, side) in quotes.iter_mut().zip([Side::Buy, Side::Sell]) {
                let px = middle - side.sign() * middle / 5_000;
                let is_off = own.is_some_and(|(_, old, _)| (old - px).abs() > middle / 10_000);
                if let Some((id, ..)) = own.take_if(|_| is_off) {
                    assert!(floor.books[symbol].remove(id).is_some());
                }
                if own.is_none() {
                    let px = px - px % 10_000_000;
                    let id = floor.account_limit(symbol, side, px, QUOTES[symbol]);
                    *own = Some((id, px, QUOTES[symbol]));
                }
            }
        }
        let before = floor.done.len();
        let end = market.next_at().unwrap().0 + 1_500_000_000;
        while market.next_at().unwrap().0 < end {
            market.step(&mut floor);
        }
        for done in floor.done[before..].iter().filter(|done| done.hit.owner == 1) {
            fills += 1;
            parts += usize::from(done.hit.qty < QUOTES[done.symbol]);
            for own in &mut mine[done.symbol] {
                if let Some((id, _, left)) = own
                    && *id == done.hit.maker
                {
                    *left -= done.hit.qty;
                }
                own.take_if(|(_, _, left)| *left == 0);
            }
        }
    }
    (fills, parts)
}

#[test]
fn makers_near_the_touch_are_filled_in_the_first_half_minute_and_in_parts() {
    let results: Vec<(usize, usize)> = (1..=40).map(|seed| quote(seed, 30)).collect();
    let filled = results.iter().filter(|(fills, _)| *fills > 0).count();
    let in_parts = results.iter().filter(|(_, parts)| *parts > 0).count();
    assert_eq!(filled, 40, "seeds in which two makers were filled");
    assert!(in_parts >= 38, "in {in_parts} of 40 seeds in parts");
    assert!(results[0].1 > 0, "the default seed shows it");
}

/// A number that stands for everything that was executed.
fn digest(floor: &PlainFloor) -> u64 {
    floor.done.iter().fold(0xcbf2_9ce4_8422_2325, |hash, done| {
        let parts = [done.symbol as u64, done.hit.px as u64, done.hit.qty as u64, done.hit.maker];
        parts.iter().fold(hash, |hash, part| (hash ^ part).wrapping_mul(0x0000_0100_0000_01b3))
    })
}

/// Goal: the same market on every machine, not only twice on this one. A change of the market
/// changes the number on purpose.
#[test]
fn the_default_market_is_this_one() {
    let mut market = Synthetic::new(SyntheticConfig::default());
    let mut floor = PlainFloor::new(4);
    run(&mut market, &mut floor, 600);
    assert_eq!((floor.done.len(), digest(&floor)), (506, 10_198_971_097_567_039_696));
}

#[test]
fn history_ends_at_the_start_and_at_its_price() {
    let names = ["tBTCUSD", "tETHJPY", "tCHZUST", "tKNCBTC", "tNEW:COIN"];
    let symbols: Vec<String> = names.map(str::to_owned).to_vec();
    let mut market = Synthetic::new(SyntheticConfig { symbols, ..Default::default() });
    let start_ms = market.config.start.as_ms();
    let mut floor = PlainFloor::new(names.len());
    let histories = names.map(|name| market.history(name));
    run(&mut market, &mut floor, 1);
    for (symbol, history) in histories.iter().enumerate() {
        assert!(history.len() >= 250, "{}: {} candles", names[symbol], history.len());
        assert!(history.windows(2).all(|pair| pair[0].mts < pair[1].mts));
        for candle in history {
            assert!(candle.low <= candle.open.min(candle.close) && candle.low > 0);
            assert!(candle.high >= candle.open.max(candle.close) && candle.volume > 0);
            assert!(candle.mts % 60_000 == 0 && candle.mts < start_ms);
        }
    }
    for (symbol, history) in histories.iter().take(2).enumerate() {
        let close = history.last().unwrap().close as f64;
        let best = |side| floor.books[symbol].best(side).unwrap() as f64;
        let middle = (best(Side::Buy) + best(Side::Sell)) / 2.0;
        assert!((close / middle - 1.0).abs() < 0.005, "{close} and {middle}");
    }
    assert!(histories[0].len() > 950, "a busy market trades in nearly every minute");
    assert!(market.history("tOTHERS").is_empty());
}

#[test]
fn a_resumed_market_goes_on_at_its_prices() {
    let mut market = Synthetic::new(SyntheticConfig::default());
    let mut floor = PlainFloor::new(4);
    run(&mut market, &mut floor, 300);
    let state = market.state();
    let mut next = Synthetic::new(SyntheticConfig::default());
    let now = WallNs(market.next_at().unwrap().0 + 86_400_000_000_000);
    next.resume(&state, now);
    assert_eq!(next.next_at(), Some(now));
    assert_eq!(next.state(), state);
    let mut floor = PlainFloor::new(4);
    for _ in 0..4 {
        next.step(&mut floor);
    }
    for (symbol, fair) in state.numbers.iter().enumerate() {
        let bid = floor.books[symbol].best(Side::Buy).unwrap();
        assert!((bid - fair).abs() < fair / 500, "symbol {symbol}: {bid} beside {fair}");
    }
}

#[test]
fn an_account_that_takes_everything_meets_a_full_book_soon_after() {
    let mut market = Synthetic::new(SyntheticConfig::default());
    let mut floor = PlainFloor::new(4);
    run(&mut market, &mut floor, 5);
    for side in [Side::Buy, Side::Sell] {
        floor.account_take(0, side, i64::MAX);
        assert_eq!(floor.books[0].best(side.opposite()), None);
    }
    run(&mut market, &mut floor, 5);
    for side in [Side::Buy, Side::Sell] {
        assert!(floor.books[0].levels(side).count() >= 100);
    }
}

#[test]
fn an_absurd_order_of_an_account_is_met_and_the_price_comes_back() {
    let mut market = Synthetic::new(SyntheticConfig::default());
    let mut floor = PlainFloor::new(4);
    run(&mut market, &mut floor, 5);
    let fair = market.state().numbers[0];
    // Ten million dollars, at twice the price and at half of it.
    floor.account_limit(0, Side::Buy, fair * 2, 17_000_000_000);
    run(&mut market, &mut floor, 15);
    floor.account_limit(0, Side::Sell, fair / 2, 17_000_000_000);
    run(&mut market, &mut floor, 15);
    for side in [Side::Buy, Side::Sell] {
        let best = floor.books[0].best(side).unwrap();
        assert!((best - fair).abs() < fair / 100, "{best} beside {fair}");
        assert!(floor.books[0].levels(side).count() >= 100);
    }
}

#[test]
fn a_fast_market_is_the_same_market() {
    let trace = |rate_e3: u32, seconds: i64| {
        let mut market = Synthetic::new(SyntheticConfig { rate_e3, ..Default::default() });
        let mut floor = PlainFloor::new(4);
        run(&mut market, &mut floor, seconds);
        (market.state(), floor.done)
    };
    assert_eq!(trace(1_000, 60), trace(10_000, 6));
}
