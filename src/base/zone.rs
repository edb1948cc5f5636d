//! Local time as a rule: an offset from UTC, and where it has one, summer time. Rules instead of a
//! host's table, so that a replay on another machine finds the same days and windows.
//!
//! Sources: Directive 2000/84/EC (last Sundays of March and October, 01:00 UTC, all of the Union at
//! once); Energy Policy Act of 2005 (second Sunday of March to the first of November, 02:00 local).

use super::time::{DAY_NS, WallNs};

/// Nanoseconds of a minute.
pub const MINUTE_NS: i64 = 60_000_000_000;
/// Minutes of a day.
pub const DAY_MINUTES: u16 = 1_440;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Summer {
    #[default]
    None,
    Europe,
    America,
}

/// A time zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Zone {
    /// East of Greenwich in winter.
    minutes: i32,
    summer: Summer,
}

const NAMED: [(&str, i32, Summer); 13] = [
    ("UTC", 0, Summer::None),
    ("Europe/London", 0, Summer::Europe),
    ("Europe/Dublin", 0, Summer::Europe),
    ("Europe/Stockholm", 60, Summer::Europe),
    ("Europe/Berlin", 60, Summer::Europe),
    ("Europe/Paris", 60, Summer::Europe),
    ("Europe/Zurich", 60, Summer::Europe),
    ("Europe/Helsinki", 120, Summer::Europe),
    ("America/New_York", -300, Summer::America),
    ("America/Chicago", -360, Summer::America),
    ("Asia/Hong_Kong", 480, Summer::None),
    ("Asia/Singapore", 480, Summer::None),
    ("Asia/Tokyo", 540, Summer::None),
];

/// What [`Zone::parse`] reads, in words.
pub const ZONE_WORDS: &str = "UTC, an offset like +02:00, Europe/London, Europe/Dublin, \
    Europe/Stockholm, Europe/Berlin, Europe/Paris, Europe/Zurich, Europe/Helsinki, \
    America/New_York, America/Chicago, Asia/Hong_Kong, Asia/Singapore or Asia/Tokyo";

impl Zone {
    pub const UTC: Zone = Zone { minutes: 0, summer: Summer::None };

    /// `UTC`, `+02:00`, `-03:30`, or one of the names of [`ZONE_WORDS`].
    pub fn parse(text: &str) -> Option<Zone> {
        if let Some((_, minutes, summer)) = NAMED.iter().find(|(name, ..)| *name == text) {
            return Some(Zone { minutes: *minutes, summer: *summer });
        }
        let (sign, rest) = match text.as_bytes().first()? {
            b'+' => (1, &text[1..]),
            b'-' => (-1, &text[1..]),
            _ => return None,
        };
        let two = |part: &str| {
            let digits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
            if digits { part.parse::<i32>().ok() } else { None }
        };
        let (hours, minutes) = rest.split_once(':')?;
        let (hours, minutes) = (two(hours)?, two(minutes)?);
        let good = hours <= 14 && minutes < 60;
        good.then_some(Zone { minutes: sign * (hours * 60 + minutes), summer: Summer::None })
    }
    fn offset_ns(self, at: WallNs) -> i64 {
        let (year, ..) = at.utc_date();
        let base = i64::from(self.minutes) * MINUTE_NS;
        let hour = 60 * MINUTE_NS;
        let (from, to) = match self.summer {
            Summer::None => return base,
            Summer::Europe => {
                (sunday(year, 4, 0) * DAY_NS + hour, sunday(year, 11, 0) * DAY_NS + hour)
            }
            // At two o'clock of the clock on the wall before the change.
            Summer::America => (
                sunday(year, 3, 2) * DAY_NS + 2 * hour - base,
                sunday(year, 11, 1) * DAY_NS + hour - base,
            ),
        };
        if (from..to).contains(&at.0) { base + hour } else { base }
    }
    /// The moment as a local clock shows it, as if that were UTC.
    pub fn local(self, at: WallNs) -> WallNs {
        WallNs(at.0.saturating_add(self.offset_ns(at)))
    }
    /// Days since 1970-01-01 by the local calendar.
    pub fn day(self, at: WallNs) -> i64 {
        self.local(at).utc_day()
    }
    /// First moment after `at` whose local day is another, in UTC.
    pub fn next_day(self, at: WallNs) -> WallNs {
        let day = self.day(at) + 1;
        // The offset of the new day's start; the change of an hour never falls on midnight here.
        let guess = WallNs(day * DAY_NS - self.offset_ns(at));
        let exact = WallNs(day * DAY_NS - self.offset_ns(guess));
        if self.day(exact) == day && exact > at { exact } else { guess }
    }
    /// `(weekday from Monday = 0, minute of the day)`.
    pub fn week_minute(self, at: WallNs) -> (u8, u16) {
        let local = self.local(at);
        // 1970-01-01 was a Thursday.
        let weekday = (local.utc_day() + 3).rem_euclid(7) as u8;
        (weekday, (local.0.rem_euclid(DAY_NS) / MINUTE_NS) as u16)
    }
}

/// Days since 1970 of a month's first day. Hinnant, "chrono-compatible low-level date algorithms".
fn first_of(year: i32, month: i64) -> i64 {
    let year = i64::from(year) - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}
/// The `nth` Sunday of a month from 1; 0 = the last one before the month begins.
fn sunday(year: i32, month: i64, nth: i64) -> i64 {
    let first = first_of(year, month);
    let to_sunday = (6 - (first + 3).rem_euclid(7)).rem_euclid(7);
    first + to_sunday + 7 * (nth - 1)
}

/// A daily stretch of minutes on some weekdays; one that ends before it begins runs past midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Bit 0 = Monday.
    pub days: u8,
    pub from: u16,
    /// Exclusive.
    pub to: u16,
}

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

impl Window {
    /// `Mon-Fri 08:00-22:00`, `Sat 10:00-14:00`, `Mon-Sun 00:00-24:00`, `Fri 22:00-04:00`.
    pub fn parse(text: &str) -> Option<Window> {
        let (days, hours) = text.split_once(' ')?;
        let day = |name: &str| DAYS.iter().position(|each| *each == name);
        let days = match days.split_once('-') {
            None => 1 << day(days)?,
            Some((from, to)) => {
                let (from, to) = (day(from)?, day(to)?);
                let span = (to + 7 - from) % 7;
                (0..=span).fold(0, |bits, step| bits | 1 << ((from + step) % 7))
            }
        };
        let minute = |text: &str| {
            let (hour, minute) = text.split_once(':')?;
            let two = |part: &str| {
                let digits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
                if digits { part.parse::<u16>().ok() } else { None }
            };
            let all = two(hour)? * 60 + two(minute).filter(|minute| *minute < 60)?;
            (all <= DAY_MINUTES).then_some(all)
        };
        let (from, to) = hours.split_once('-')?;
        let (from, to) = (minute(from)?, minute(to)?);
        (from != to && from < DAY_MINUTES).then_some(Window { days, from, to })
    }
    pub const fn contains(self, weekday: u8, minute: u16) -> bool {
        let before = (weekday + 6) % 7;
        if self.from < self.to {
            self.days >> weekday & 1 == 1 && minute >= self.from && minute < self.to
        } else {
            (self.days >> weekday & 1 == 1 && minute >= self.from)
                || (self.days >> before & 1 == 1 && minute < self.to)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2025-01-01T00:00Z.
    const Y2025: i64 = 1_735_689_600_000;
    fn utc(day_of_year: i64, hour: i64, minute: i64) -> WallNs {
        WallNs::from_ms(Y2025 + ((day_of_year * 24 + hour) * 60 + minute) * 60_000)
    }

    #[test]
    fn summer_time_begins_and_ends_at_its_hour() {
        let zone = Zone::parse("Europe/Stockholm").unwrap();
        let minutes = |at: WallNs| zone.week_minute(at);
        // 2025-03-30, a Sunday: day 88.
        assert_eq!(minutes(utc(88, 0, 59)), (6, 119));
        assert_eq!(minutes(utc(88, 1, 0)), (6, 180));
        // 2025-10-26: day 298.
        assert_eq!(minutes(utc(298, 0, 59)), (6, 179));
        assert_eq!(minutes(utc(298, 1, 0)), (6, 120));
        let zone = Zone::parse("America/New_York").unwrap();
        // 2025-03-09: day 67, 07:00 UTC. 2025-11-02: day 305, 06:00 UTC.
        assert_eq!(zone.week_minute(utc(67, 6, 59)), (6, 119));
        assert_eq!(zone.week_minute(utc(67, 7, 0)), (6, 180));
        assert_eq!(zone.week_minute(utc(305, 5, 59)), (6, 119));
        assert_eq!(zone.week_minute(utc(305, 6, 0)), (6, 60));
    }

    #[test]
    fn a_day_ends_at_local_midnight_also_where_it_has_23_or_25_hours() {
        for name in ["UTC", "Europe/Stockholm", "America/New_York", "-03:30", "+14:00"] {
            let zone = Zone::parse(name).unwrap();
            let mut at = utc(0, 0, 0);
            for _ in 0..800 {
                let next = zone.next_day(at);
                assert_eq!(zone.day(next), zone.day(at) + 1, "{name} {at:?}");
                assert_eq!(zone.day(WallNs(next.0 - 1)), zone.day(at), "{name} {at:?}");
                at = next;
            }
        }
    }

    #[test]
    fn zones_and_windows_are_read_exactly_and_nonsense_is_refused() {
        for text in ["", "utc", "+2", "+25:00", "02:00", "+02:60", "Mars/Base", "+é0:00"] {
            assert_eq!(Zone::parse(text), None, "{text}");
        }
        let window = |text: &str| Window::parse(text).unwrap();
        assert_eq!(window("Mon-Fri 08:00-22:00"), Window { days: 31, from: 480, to: 1_320 });
        assert_eq!(window("Sat-Mon 00:00-24:00").days, 0b110_0001);
        for text in [
            "",
            "Mon",
            "Mon 8:00-9:00",
            "Mon 08:00-08:00",
            "Xyz 08:00-09:00",
            "Mon 08:00-24:01",
            "Mon 24:00-01:00",
            "Mon-Tue-Wed 08:00-09:00",
            "Mon 08:60-09:00",
        ] {
            assert_eq!(Window::parse(text), None, "{text}");
        }
        let night = window("Fri 22:00-04:00");
        assert!(night.contains(4, 1_320) && night.contains(5, 239));
        assert!(!night.contains(5, 240) && !night.contains(4, 1_319) && !night.contains(5, 1_320));
        let day = window("Mon-Fri 08:00-22:00");
        assert!(day.contains(0, 480) && !day.contains(0, 479) && !day.contains(0, 1_320));
        assert!(!day.contains(5, 600));
    }
}
