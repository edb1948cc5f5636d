//! Dates as the venue's order entry writes them, UTC.

use crate::base::time::{DAY_NS, WallNs};

/// Days since 1970-01-01 of `YYYY-MM-DD`; `None` where it is no such date.
/// Source: Howard Hinnant, "chrono-compatible low-level date algorithms", days_from_civil.
pub fn read_day(text: &str) -> Option<i64> {
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || year.len() != 4 || month.len() != 2 || day.len() != 2 {
        return None;
    }
    let (year, month, day): (i64, i64, i64) =
        (year.parse().ok()?, month.parse().ok()?, day.parse().ok()?);
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let era = shifted_year.div_euclid(400);
    let year_of_era = shifted_year.rem_euclid(400);
    let shifted_month = (month + 9) % 12;
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    // Only a date that comes back as itself was one (no 31 February).
    let same =
        WallNs(days.checked_mul(DAY_NS)?).utc_date() == (year as i32, month as u8, day as u8);
    same.then_some(days)
}

/// Milliseconds since the epoch of `YYYY-MM-DD HH:MM:SS`, or of a day's start.
pub fn read_datetime(text: &str) -> Option<i64> {
    let Some((date, time)) = text.split_once(' ').or_else(|| text.split_once('T')) else {
        return Some(read_day(text)? * 86_400_000);
    };
    // Clients print fractions and zones of their own; seconds and UTC are what counts.
    let time = time.split(['.', 'Z', '+']).next().unwrap_or(time);
    let mut parts = time.split(':');
    let mut next = |limit: i64| {
        let value: i64 = parts.next()?.parse().ok()?;
        (0..limit).contains(&value).then_some(value)
    };
    let (hours, minutes, seconds) = (next(24)?, next(60)?, next(60)?);
    Some((read_day(date)? * 86_400 + hours * 3_600 + minutes * 60 + seconds) * 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_and_nonsense_is_not() {
        assert_eq!(read_day("1970-01-01"), Some(0));
        assert_eq!(read_day("2018-11-12"), Some(WallNs::from_ms(1_542_045_968_922).utc_day()));
        assert_eq!(read_day("2000-02-29"), Some(11_016));
        for text in ["2018-02-31", "2018-13-01", "18-1-1", "", "2018-11-12-1", "abcd-ef-gh"] {
            assert_eq!(read_day(text), None, "{text}");
        }
        assert_eq!(read_datetime("2018-11-12 18:06:08"), Some(1_542_045_968_000));
        assert_eq!(read_datetime("2018-11-12T18:06:08.120Z"), Some(1_542_045_968_000));
        assert_eq!(read_datetime("2020-06-30"), Some(1_593_475_200_000));
        assert_eq!(read_datetime("2018-11-12 25:06:08"), None);
    }
}
