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

/// The longest single step: ten minutes.
pub const STEP_PAST_US_MAX: u64 = 600_000_000;
/// So few nonces after a step, the next refusal means that it was too short: the clock is still
/// behind whoever else uses the key.
const STEP_IN_ROW_NONCES: u64 = 8;

/// How far to go when the venue calls a nonce small: twice as far as the step to `stepped_to`, which
/// was `span_us` long, where that was just now; else ten seconds. A clock that is minutes behind is
/// overtaken within a few refusals, before sign-ins have to wait long for each other.
pub const fn step_span_us(last: u64, stepped_to: u64, span_us: u64) -> u64 {
    if stepped_to == 0 || last.saturating_sub(stepped_to) > STEP_IN_ROW_NONCES {
        return STEP_PAST_US;
    }
    let doubled = span_us.saturating_mul(2);
    if doubled < STEP_PAST_US_MAX { doubled } else { STEP_PAST_US_MAX }
}

/// From where to go on after the venue called a nonce small: so much further, or a step where that
/// would leave what clocks can say.
pub const fn nonce_past(last: u64, span_us: u64) -> Option<u64> {
    let far = last.saturating_add(span_us);
    if far <= NONCE_CLOCK_MAX { Some(far) } else { nonce_after(last, 0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_nonce_is_stepped_past_within_the_range() {
        assert_eq!(nonce_past(7, STEP_PAST_US), Some(STEP_PAST_US + 7));
        assert_eq!(nonce_past(NONCE_CLOCK_MAX, STEP_PAST_US), Some(NONCE_CLOCK_MAX + 1));
        assert_eq!(nonce_past(NONCE_MAX, STEP_PAST_US), None);
    }

    #[test]
    fn steps_in_a_row_double_and_a_single_one_does_not() {
        assert_eq!(step_span_us(100, 0, 0), STEP_PAST_US);
        assert_eq!(step_span_us(101, 100, STEP_PAST_US), 2 * STEP_PAST_US);
        assert_eq!(step_span_us(108, 100, STEP_PAST_US), 2 * STEP_PAST_US);
        assert_eq!(step_span_us(109, 100, STEP_PAST_US), STEP_PAST_US);
        assert_eq!(step_span_us(100, 100, STEP_PAST_US_MAX), STEP_PAST_US_MAX);
        assert_eq!(step_span_us(100, 100, u64::MAX), STEP_PAST_US_MAX);
        // Two minutes behind: overtaken by the fourth refusal.
        let (mut last, mut to, mut span_us, mut refusals) = (1_000, 0, 0, 0);
        while last < 1_000 + 120_000_000 {
            span_us = step_span_us(last, to, span_us);
            to = nonce_past(last, span_us).unwrap();
            (last, refusals) = (to + 1, refusals + 1);
        }
        assert_eq!(refusals, 4);
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
