//! One-minute candles from before the start, so that indicators can warm up.

use super::crowd::{moved, on_grid};
use super::draw::{WAIT_E3, hash_of, scale};
use super::profile::{MOVE_E2, traits_of};
use crate::base::rng::Rng;
use crate::base::time::WallNs;
use crate::base::units::Side;
use crate::exchange::tape::Candle;

/// Minutes of history. Thin markets do not trade in most of them: theirs goes farther back, until
/// there are enough candles for slow indicators or it is two weeks long.
const MINUTES: i64 = 1_000;
const CANDLES_MIN: usize = 250;
const MINUTES_MAX: i64 = 20_000;
/// Moves of a price in a minute of usual times.
const MOVES_PER_MINUTE: i64 = 8;

/// Candles up to `start`, oldest first; the newest closes at the start price. They are made
/// backwards, from what is known to what is not.
pub fn history_of(name: &str, seed: u64, start: WallNs) -> Vec<Candle> {
    let traits = traits_of(name);
    let mut rng = Rng::new(seed ^ hash_of(name).rotate_left(17));
    let first = start.as_ms().div_euclid(60_000);
    let mut candles = Vec::new();
    let (mut px, mut sign) = (traits.px, 1);
    for back in 1..=MINUTES_MAX {
        if back > MINUTES && candles.len() >= CANDLES_MIN {
            break;
        }
        let close = px;
        let (mut high, mut low) = (close, close);
        let count = MOVES_PER_MINUTE * WAIT_E3.draw(&mut rng) / 1_000;
        for _ in 0..count {
            if rng.chance(44, 100) {
                sign = -sign;
            }
            px = moved(px, sign * MOVE_E2.draw(&mut rng));
            (high, low) = (high.max(px), low.min(px));
        }
        if rng.chance(traits.profile.silent_minutes_e3, 1_000) {
            continue;
        }
        let usd = traits.profile.minute_cents.draw(&mut rng).saturating_mul(1_000_000);
        let quote = scale(usd, 100_000_000, traits.quote_usd);
        candles.push(Candle {
            mts: (first - back) * 60_000,
            open: on_grid(px, Side::Buy),
            close: on_grid(close, Side::Buy),
            high: on_grid(high, Side::Buy),
            low: on_grid(low, Side::Buy),
            volume: scale(quote, 100_000_000, px).max(100),
        });
    }
    candles.reverse();
    candles
}
