//! Numbers as people read them.

use crate::base::time::WallNs;

/// `1234567` → `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A span in ns with the unit that fits: `840 ns`, `1.23 µs`, `4.56 ms`, `7.89 s`; `–` for none.
pub fn span_ns(ns: Option<f64>) -> String {
    match ns {
        None => "–".to_owned(),
        Some(ns) if ns < 1e3 => format!("{ns:.0} ns"),
        Some(ns) if ns < 1e6 => format!("{:.2} µs", ns / 1e3),
        Some(ns) if ns < 1e9 => format!("{:.2} ms", ns / 1e6),
        Some(ns) => format!("{:.2} s", ns / 1e9),
    }
}

/// `3725` → `1:02:05`, `65` → `1:05`.
pub fn elapsed(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

/// `20181112T180608Z`.
pub fn compact_utc(at: WallNs) -> String {
    let (year, month, day) = at.utc_date();
    let seconds = at.as_ms().div_euclid(1000).rem_euclid(86_400);
    format!(
        "{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// `2018-11-12T18:06:08.922Z`.
pub fn utc(at: WallNs) -> String {
    let (year, month, day) = at.utc_date();
    let ms = at.as_ms().rem_euclid(86_400_000);
    let seconds = ms / 1000;
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        ms % 1000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(span_ns(Some(840.0)), "840 ns");
        assert_eq!(span_ns(Some(1_230.0)), "1.23 µs");
        assert_eq!(span_ns(Some(2.5e9)), "2.50 s");
        assert_eq!(span_ns(None), "–");
        assert_eq!(elapsed(65), "1:05");
        assert_eq!(elapsed(3_725), "1:02:05");
        let at = WallNs::from_ms(1_542_045_968_922);
        assert_eq!(compact_utc(at), "20181112T180608Z");
        assert_eq!(utc(at), "2018-11-12T18:06:08.922Z");
    }
}
