//! Draws from measured distributions. Whole numbers only, so that every machine draws the same.

use crate::base::rng::Rng;

/// A distribution by its quantiles: `(share below, value)` with shares in 1e-3 from 0 to 1,000;
/// straight lines in between.
#[derive(Clone, Copy, Debug)]
pub struct Quantiles(pub &'static [(i64, i64)]);

/// Parts of a share that are told apart.
const FINE: i64 = 1_000;

impl Quantiles {
    /// One value.
    pub fn draw(self, rng: &mut Rng) -> i64 {
        let at = rng.below((1_000 * FINE) as u64) as i64;
        let mut before = (0, self.0[0].1);
        for (share, value) in self.0.iter().copied() {
            if at < share * FINE {
                let (from, to) = (before.0 * FINE, share * FINE);
                return before.1 + (value - before.1) * (at - from) / (to - from);
            }
            before = (share, value);
        }
        before.1
    }
    /// One value where each counts `weight` times: what is found at a moment of things that last
    /// `weight` long.
    pub fn draw_weighted(self, rng: &mut Rng, weight: impl Fn(i64) -> i64) -> i64 {
        let pieces = || self.0.windows(2).map(|pair| (pair[0], pair[1]));
        let mass = |((from, low), (to, high)): ((i64, i64), (i64, i64))| {
            ((to - from) * weight((low + high) / 2)).max(0) as u64
        };
        let mut left = rng.below(pieces().map(mass).sum());
        for piece in pieces() {
            let here = mass(piece);
            if left < here {
                let (low, high) = (piece.0.1, piece.1.1);
                return rng.between(low.min(high), low.max(high));
            }
            left -= here;
        }
        self.0[0].1
    }
}

/// Waiting time with mean 1,000: the exponential law in nine points.
pub const WAIT_E3: Quantiles = Quantiles(&[
    (0, 0),
    (100, 104),
    (250, 280),
    (400, 497),
    (550, 777),
    (700, 1_170),
    (850, 1_844),
    (950, 2_900),
    (990, 4_450),
    (1_000, 6_730),
]);

/// FNV-1a of a text.
pub fn hash_of(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// `value × part / whole` without overflow in between.
pub fn scale(value: i64, part: i64, whole: i64) -> i64 {
    (i128::from(value) * i128::from(part) / i128::from(whole.max(1)))
        .clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

/// A whole number with mean `mean_e3` / 1,000: the part below one by chance.
pub fn count_of(mean_e3: i64, rng: &mut Rng) -> i64 {
    mean_e3 / 1_000 + i64::from(rng.chance((mean_e3 % 1_000).max(0) as u64, 1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_their_quantiles() {
        let table = Quantiles(&[(0, 0), (500, 100), (900, 1_000), (1_000, 5_000)]);
        let mut rng = Rng::new(4);
        let mut drawn: Vec<i64> = (0..20_000).map(|_| table.draw(&mut rng)).collect();
        drawn.sort_unstable();
        for (share, value) in [(250, 50), (500, 100), (700, 550), (900, 1_000)] {
            let found = drawn[20 * share];
            assert!((found - value).abs() <= 20 + value / 10, "{share}: {found}, not {value}");
        }
        assert!(drawn[0] >= 0);
        assert!(drawn[19_999] <= 5_000);
    }

    #[test]
    fn waiting_times_have_their_mean() {
        let mut rng = Rng::new(9);
        let sum: i64 = (0..100_000).map(|_| WAIT_E3.draw(&mut rng)).sum();
        assert!((97_000_000..=103_000_000).contains(&sum), "{sum}");
    }

    #[test]
    fn what_lasts_longer_is_found_more_often() {
        let table = Quantiles(&[(0, 1), (900, 1), (1_000, 1)]);
        let mut rng = Rng::new(2);
        assert_eq!(table.draw_weighted(&mut rng, |life| life), 1);
        let lives = Quantiles(&[(0, 1), (500, 1), (501, 100), (1_000, 100)]);
        let long = (0..10_000).filter(|_| lives.draw_weighted(&mut rng, |life| life) > 50).count();
        assert!((9_800..=9_950).contains(&long), "{long} of 10000, 99 % expected");
    }

    #[test]
    fn small_means_come_true_by_chance() {
        let mut rng = Rng::new(3);
        let sum: i64 = (0..100_000).map(|_| count_of(2_300, &mut rng)).sum();
        assert!((229_000..=231_000).contains(&sum), "{sum}");
    }
}
