//! Numbers as the venue prints and reads them. Own code on purpose: the client formats its
//! checksums with other code, so that a mistake cannot hide by being made twice.

/// Units in one whole.
const SCALE: u64 = 100_000_000;

/// Writes an unsigned integer.
pub fn push_u64(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0u8; 20];
    let mut at = 20;
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Writes a signed integer.
pub fn push_i64(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    push_u64(out, value.unsigned_abs());
}

/// Writes units of 1e-8 as JavaScript prints the number: no trailing zeros, no `.0`, exponent form
/// below 1e-6.
pub fn push_number(out: &mut Vec<u8>, raw: i64) {
    if raw < 0 {
        out.push(b'-');
    }
    let magnitude = raw.unsigned_abs();
    if magnitude != 0 && magnitude < 100 {
        push_tiny(out, magnitude);
        return;
    }
    push_u64(out, magnitude / SCALE);
    push_fraction(out, magnitude % SCALE);
}

/// Writes units of 1e-8 as the status text does: plain notation, at least one decimal (`113940.0`).
pub fn push_plain(out: &mut Vec<u8>, raw: i64) {
    if raw < 0 {
        out.push(b'-');
    }
    let magnitude = raw.unsigned_abs();
    push_u64(out, magnitude / SCALE);
    if magnitude.is_multiple_of(SCALE) {
        out.extend_from_slice(b".0");
    } else {
        push_fraction(out, magnitude % SCALE);
    }
}

/// 1 … 99 units of 1e-8: `1e-8` … `9.9e-7`.
fn push_tiny(out: &mut Vec<u8>, magnitude: u64) {
    let (tens, ones) = ((magnitude / 10) as u8, (magnitude % 10) as u8);
    if tens == 0 {
        out.extend_from_slice(&[b'0' + ones, b'e', b'-', b'8']);
        return;
    }
    out.push(b'0' + tens);
    if ones != 0 {
        out.extend_from_slice(&[b'.', b'0' + ones]);
    }
    out.extend_from_slice(b"e-7");
}

fn push_fraction(out: &mut Vec<u8>, mut fraction: u64) {
    if fraction == 0 {
        return;
    }
    let mut digits = [b'0'; 9];
    digits[0] = b'.';
    for digit in digits[1..].iter_mut().rev() {
        *digit = b'0' + (fraction % 10) as u8;
        fraction /= 10;
    }
    let len = digits.iter().rposition(|d| *d != b'0').map_or(0, |last| last + 1);
    out.extend_from_slice(&digits[..len]);
}

/// Writes a float as JavaScript would, for the few derived figures (relative change, leverage). NaN
/// becomes `null`.
pub fn push_float(out: &mut Vec<u8>, value: f64) {
    let scaled = value * SCALE as f64;
    if !scaled.is_finite() || scaled.abs() >= i64::MAX as f64 {
        out.extend_from_slice(b"null");
    } else {
        push_number(out, scaled.round() as i64);
    }
}

/// Reads a JSON number into units of 1e-8: `(raw, exact)`. Digits below 1e-8 are rounded half away
/// from zero. `None` where it is no number or does not fit.
pub fn read_number(text: &[u8]) -> Option<(i64, bool)> {
    let (negative, body) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let mut value: u128 = 0;
    let mut decimals: Option<i32> = None;
    let mut seen = 0u32;
    let mut at = 0;
    let mut exponent = 0i32;
    while at < body.len() {
        match body[at] {
            digit @ b'0'..=b'9' => {
                seen += 1;
                if seen > 36 {
                    return None;
                }
                value = value * 10 + (digit - b'0') as u128;
                if let Some(count) = decimals.as_mut() {
                    *count += 1;
                }
            }
            b'.' if decimals.is_none() && seen > 0 => decimals = Some(0),
            b'e' | b'E' if seen > 0 => {
                exponent = std::str::from_utf8(&body[at + 1..]).ok()?.parse().ok()?;
                break;
            }
            _ => return None,
        }
        at += 1;
    }
    if seen == 0 || body.last() == Some(&b'.') {
        return None;
    }
    let shift = exponent.checked_sub(decimals.unwrap_or(0))?.checked_add(8)?;
    let (value, exact) = match shift {
        _ if value == 0 => (0, true),
        0..=19 => (value.checked_mul(10u128.pow(shift as u32))?, true),
        20.. => return None,
        -36..=-1 => {
            let divisor = 10u128.pow(shift.unsigned_abs());
            let rest = value % divisor;
            (value / divisor + u128::from(rest * 2 >= divisor), rest == 0)
        }
        _ => (0, false),
    };
    let raw = i64::try_from(value).ok()?;
    Some((if negative { -raw } else { raw }, exact))
}

/// Reads a plain unsigned integer. `None` where there is anything but digits, or too many.
pub fn read_u64(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 19 {
        return None;
    }
    text.iter().try_fold(0u64, |value, byte| {
        byte.is_ascii_digit().then(|| value * 10 + (byte - b'0') as u64)
    })
}

/// One unit of the last of `digits` significant digits at a price, units of 1e-8, at least 1.
pub fn digit_step(raw: i64, digits: u32) -> i64 {
    let magnitude = raw.unsigned_abs();
    if magnitude == 0 {
        return 1;
    }
    let places = magnitude.ilog10() + 1;
    if places <= digits { 1 } else { 10i64.pow(places - digits) }
}

/// Cuts a price to `digits` significant digits, towards zero, as the venue does with what it is
/// sent.
pub fn cut_to_digits(raw: i64, digits: u32) -> i64 {
    raw - raw % digit_step(raw, digits)
}

/// `px × qty` in units of 1e-8, rounded half away from zero, saturating.
pub fn value_of(px: i64, qty: i64) -> i64 {
    let product = px as i128 * qty as i128;
    let half = if product < 0 { -(SCALE as i128) / 2 } else { SCALE as i128 / 2 };
    let value = (product + half) / SCALE as i128;
    value.clamp(-(i64::MAX as i128), i64::MAX as i128) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;
    use crate::base::units::parse_decimal;

    fn written(raw: i64) -> String {
        let mut out = Vec::new();
        push_number(&mut out, raw);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_printed_as_javascript_does() {
        for (raw, text) in [
            (0, "0"),
            (1, "1e-8"),
            (70, "7e-7"),
            (66, "6.6e-7"),
            (-99, "-9.9e-7"),
            (100, "0.000001"),
            (111, "0.00000111"),
            (644_310_000_000, "6443.1"),
            (-1_367_099_184, "-13.67099184"),
            (300_000_000, "3"),
            (10_000_000, "0.1"),
            (600_000_000_000, "6000"),
        ] {
            assert_eq!(written(raw), text);
        }
        let mut out = Vec::new();
        push_plain(&mut out, 11_394_000_000_000);
        push_plain(&mut out, -8_865);
        assert_eq!(out, b"113940.0-0.00008865");
    }

    #[test]
    fn reading_agrees_with_the_plain_parser_and_undoes_writing() {
        let mut rng = Rng::new(3);
        for _ in 0..20_000 {
            let raw = (rng.next_u64() >> (1 + rng.below(62))) as i64
                * if rng.chance(1, 2) { 1 } else { -1 };
            assert_eq!(read_number(written(raw).as_bytes()), Some((raw, true)));
        }
        for text in ["1.5e3", "1E+2", "0.000000015", "-3.8e-7", "00.5", "12345678901.123456789"] {
            assert_eq!(read_number(text.as_bytes()), parse_decimal(text.as_bytes()).ok(), "{text}");
        }
        for text in ["", "-", ".", "1.", "abc", "1e", "--1", "1e99", "123456789012", "1.2.3", "NaN"]
        {
            assert_eq!(read_number(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn prices_are_cut_to_significant_digits() {
        let cut = |text: &str, digits| {
            written(cut_to_digits(read_number(text.as_bytes()).unwrap().0, digits))
        };
        assert_eq!(cut("6443.1699", 5), "6443.1");
        assert_eq!(cut("86717.9", 5), "86717");
        assert_eq!(cut("0.0769895", 5), "0.076989");
        assert_eq!(cut("86717", 1), "80000");
        assert_eq!(cut("0.0000011", 5), "0.0000011");
    }

    #[test]
    fn values_round_half_away_from_zero() {
        assert_eq!(value_of(600_000_000_000, -50_000_000), -300_000_000_000);
        assert_eq!(value_of(1, 50_000_000), 1);
        assert_eq!(value_of(1, 49_999_999), 0);
        assert_eq!(value_of(i64::MAX, i64::MAX), i64::MAX);
    }
}
