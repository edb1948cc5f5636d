//! `Retry-After`: how long a server asks to be left alone, in both forms of the header.

use super::time::{SpanNs, WallNs};

/// What a server said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    Seconds(u64),
    At(WallNs),
}

/// Longest wait believed: a day. A server that asks for more has a broken clock or a broken header.
pub const RETRY_AFTER_MAX: SpanNs = SpanNs::from_s(86_400);

impl RetryAfter {
    /// The wait from `wall` on: never negative, at most `RETRY_AFTER_MAX`.
    pub fn wait_from(self, wall: WallNs) -> SpanNs {
        let span = match self {
            RetryAfter::Seconds(seconds) => {
                let longest = (RETRY_AFTER_MAX.0 / 1_000_000_000) as u64;
                SpanNs::from_s(seconds.min(longest) as i64)
            }
            RetryAfter::At(at) => at - wall,
        };
        SpanNs(span.0.clamp(0, RETRY_AFTER_MAX.0))
    }
}

/// What a server said, by the `Date` of the same answer where it gave one: a date is then a span by
/// the server's own clock, and a host whose clock is wrong neither comes back early nor stays away
/// for longer than asked.
pub fn retry_after_of(retry_after: &str, date: &str) -> Option<RetryAfter> {
    match (parse_retry_after(retry_after)?, parse_retry_after(date)) {
        (RetryAfter::At(at), Some(RetryAfter::At(date))) => {
            // Up to the second: the date may have been written late in its own.
            let span_s = (at - date).0.max(0) as u64 / 1_000_000_000;
            Some(RetryAfter::Seconds(span_s))
        }
        (said, _) => Some(said),
    }
}

/// Seconds, or a date like `Sun, 06 Nov 1994 08:49:37 GMT`. `None` for anything else.
pub fn parse_retry_after(text: &str) -> Option<RetryAfter> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(RetryAfter::Seconds(seconds));
    }
    let mut words = text.split_once(", ")?.1.split(' ');
    let day: i64 = words.next()?.parse().ok().filter(|day| (1..=31).contains(day))?;
    let month = words.next()?;
    let months =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months.iter().position(|name| *name == month)? as i64 + 1;
    let year: i64 = words.next()?.parse().ok().filter(|year| (1970..=9999).contains(year))?;
    let mut time = words.next()?.split(':');
    let mut part = |max: i64| time.next()?.parse().ok().filter(|value| (0..=max).contains(value));
    let (hour, minute, second): (i64, i64, i64) = (part(23)?, part(59)?, part(60)?);
    if words.next()? != "GMT" {
        return None;
    }
    // Howard Hinnant, "chrono-compatible low-level date algorithms", days_from_civil.
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let era = shifted_year.div_euclid(400);
    let year_of_era = shifted_year - era * 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second;
    // Years above 2262 do not fit nanoseconds; they are cut to the last moment that does.
    Some(RetryAfter::At(WallNs(seconds.saturating_mul(1_000_000_000))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let at = |ms| Some(RetryAfter::At(WallNs::from_ms(ms)));
        assert_eq!(parse_retry_after(" 120 "), Some(RetryAfter::Seconds(120)));
        assert_eq!(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT"), at(784_111_777_000));
        assert_eq!(parse_retry_after("Thu, 01 Jan 1970 00:00:00 GMT"), at(0));
        assert_eq!(parse_retry_after("Tue, 29 Feb 2028 23:59:60 GMT"), at(1_835_481_600_000));
        for bad in
            ["", "soon", "-1", "1.5", "Sun, 06 Nov 1994 08:49:37", "Sun, 41 Nov 1994 08:49:37 GMT"]
        {
            assert_eq!(parse_retry_after(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_date_counts_by_the_date_of_its_answer() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let at = "Sun, 06 Nov 1994 08:50:07 GMT";
        assert_eq!(retry_after_of(at, date), Some(RetryAfter::Seconds(30)));
        assert_eq!(retry_after_of(date, at), Some(RetryAfter::Seconds(0)));
        assert_eq!(retry_after_of("7", date), Some(RetryAfter::Seconds(7)));
        assert_eq!(retry_after_of(at, ""), parse_retry_after(at));
        assert_eq!(retry_after_of(at, "7"), parse_retry_after(at), "no date");
        assert_eq!(retry_after_of("soon", date), None);
    }

    #[test]
    fn a_wait_is_never_negative_and_never_endless() {
        let now = WallNs::from_ms(784_111_777_000);
        assert_eq!(RetryAfter::Seconds(7).wait_from(now), SpanNs::from_s(7));
        assert_eq!(RetryAfter::Seconds(u64::MAX).wait_from(now), RETRY_AFTER_MAX);
        let at = |text| parse_retry_after(text).unwrap().wait_from(now);
        assert_eq!(at("Sun, 06 Nov 1994 08:49:40 GMT"), SpanNs::from_s(3));
        assert_eq!(at("Sun, 06 Nov 1994 08:49:30 GMT"), SpanNs::ZERO);
        assert_eq!(at("Fri, 31 Dec 9999 23:59:59 GMT"), RETRY_AFTER_MAX);
    }
}
