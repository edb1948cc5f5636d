//! Points in time and spans. The three clocks do not mix: monotonic, wall, time-stamp counter.

use serde::{Deserialize, Serialize};

/// Nanoseconds of a clock that never runs backwards; its zero is the start of the run.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct MonoNs(pub u64);

/// Nanoseconds since the Unix epoch, UTC. In runs on a recording this is the market's clock.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct WallNs(pub i64);

/// A signed span in nanoseconds.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct SpanNs(pub i64);

/// Raw time-stamp counter ticks: for latency only, never for a decision. 0 means "not stamped".
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Tsc(pub u64);

impl std::ops::Sub for MonoNs {
    type Output = SpanNs;
    #[inline(always)]
    fn sub(self, other: MonoNs) -> SpanNs {
        SpanNs(self.0.wrapping_sub(other.0) as i64)
    }
}
impl std::ops::Add<SpanNs> for MonoNs {
    type Output = MonoNs;
    #[inline(always)]
    fn add(self, span: SpanNs) -> MonoNs {
        MonoNs(self.0.saturating_add_signed(span.0))
    }
}
impl std::ops::Sub for WallNs {
    type Output = SpanNs;
    #[inline(always)]
    fn sub(self, other: WallNs) -> SpanNs {
        SpanNs(self.0.saturating_sub(other.0))
    }
}
impl std::ops::Add<SpanNs> for WallNs {
    type Output = WallNs;
    #[inline(always)]
    fn add(self, span: SpanNs) -> WallNs {
        WallNs(self.0.saturating_add(span.0))
    }
}

impl SpanNs {
    pub const ZERO: SpanNs = SpanNs(0);
    pub const fn from_us(us: i64) -> SpanNs {
        SpanNs(us * 1_000)
    }
    pub const fn from_ms(ms: i64) -> SpanNs {
        SpanNs(ms * 1_000_000)
    }
    pub const fn from_s(s: i64) -> SpanNs {
        SpanNs(s * 1_000_000_000)
    }
    pub const fn as_ms(self) -> i64 {
        self.0 / 1_000_000
    }
}

/// Nanoseconds in a UTC day.
pub const DAY_NS: i64 = 86_400_000_000_000;

impl WallNs {
    pub const fn from_ms(ms: i64) -> WallNs {
        WallNs(ms * 1_000_000)
    }
    pub const fn as_ms(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }
    /// Days since 1970-01-01, UTC.
    pub const fn utc_day(self) -> i64 {
        self.0.div_euclid(DAY_NS)
    }
    /// `(year, month 1–12, day 1–31)` in UTC.
    /// Source: Howard Hinnant, "chrono-compatible low-level date algorithms", civil_from_days.
    pub const fn utc_date(self) -> (i32, u8, u8) {
        let z = self.utc_day() + 719_468;
        let era = z.div_euclid(146_097);
        let day_of_era = z.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = (day_of_year - (153 * shifted_month + 2) / 5 + 1) as u8;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 } as u8;
        let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
        (year as i32, month, day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utc_dates_are_right_at_the_borders() {
        assert_eq!(WallNs(0).utc_date(), (1970, 1, 1));
        assert_eq!(WallNs::from_ms(1_542_045_968_922).utc_date(), (2018, 11, 12));
        assert_eq!(WallNs::from_ms(951_782_400_000).utc_date(), (2000, 2, 29));
        assert_eq!(WallNs(-1).utc_date(), (1969, 12, 31));
    }
}
