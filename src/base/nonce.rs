//! The next nonce of a key: strictly growing, in microseconds by the venue's custom, below 2^53.

use super::limits::NONCE_MAX;

/// Clocks that say more are not believed: 2200-01-01 in microseconds. A key that has once seen a
/// nonce near the end of the range can never be used again.
pub const NONCE_CLOCK_MAX: u64 = 7_258_118_400_000_000;
const _: () = assert!(NONCE_CLOCK_MAX < NONCE_MAX);

/// `max(last + 1, now in microseconds)`; a clock that steps back, or is absurd, does no harm.
/// `None` where the range is used up.
pub const fn nonce_after(last: u64, now_us: u64) -> Option<u64> {
    if last >= NONCE_MAX {
        return None;
    }
    let next = last + 1;
    if now_us > next && now_us <= NONCE_CLOCK_MAX { Some(now_us) } else { Some(next) }
}

/// How far to go when the venue calls a nonce small: another program may run ahead of this clock.
pub const STEP_PAST_US: u64 = 10_000_000;

/// From where to go on after the venue called a nonce small: ten seconds further, or a step where
/// that would leave what clocks can say.
pub const fn nonce_past(last: u64) -> Option<u64> {
    let far = last.saturating_add(STEP_PAST_US);
    if far <= NONCE_CLOCK_MAX { Some(far) } else { nonce_after(last, 0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_nonce_is_stepped_past_within_the_range() {
        assert_eq!(nonce_past(7), Some(STEP_PAST_US + 7));
        assert_eq!(nonce_past(NONCE_CLOCK_MAX), Some(NONCE_CLOCK_MAX + 1));
        assert_eq!(nonce_past(NONCE_MAX), None);
    }

    #[test]
    fn nonces_grow_whatever_the_clock_says() {
        for (last, now_us, expected) in [
            (0, 0, Some(1)),
            (10, 5, Some(11)),
            (10, 11, Some(11)),
            (10, 100, Some(100)),
            (100, 100, Some(101)),
            (10, NONCE_CLOCK_MAX, Some(NONCE_CLOCK_MAX)),
            (10, NONCE_CLOCK_MAX + 1, Some(11)),
            (10, u64::MAX, Some(11)),
            (NONCE_MAX - 1, 5, Some(NONCE_MAX)),
            (NONCE_MAX, 5, None),
            (u64::MAX, u64::MAX, None),
        ] {
            assert_eq!(nonce_after(last, now_us), expected, "{last} {now_us}");
        }
    }
}
