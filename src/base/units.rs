//! Fixed-point prices, quantities and money. One scale everywhere: 1e-8, the venue's finest step.
//!
//! An `i64` at 1e-8 reaches ± 92,233,720,368.54775807, more than any price or order size of the
//! venue; what does not fit is an error at the border, never a silent wrap.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Units in one whole: 10^8.
pub const UNIT_SCALE: i64 = 100_000_000;
/// Decimals carried by every fixed-point value.
pub const UNIT_DECIMALS: u32 = 8;

/// Why a number could not become a fixed-point value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitError {
    /// The text is not a JSON number.
    Malformed,
    /// The magnitude does not fit an `i64` at 1e-8.
    OutOfRange,
    /// The number has digits below 1e-8; carries what would be lost otherwise.
    TooPrecise,
}

macro_rules! fixed_point {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd)]
        #[derive(Ord, Hash, Serialize, Deserialize)]
        #[repr(transparent)]
        pub struct $name(i64);

        impl $name {
            pub const ZERO: Self = Self(0);
            pub const MAX: Self = Self(i64::MAX);

            /// From units of 1e-8.
            #[inline(always)]
            pub const fn from_raw(raw: i64) -> Self { Self(raw) }
            /// Units of 1e-8.
            #[inline(always)]
            pub const fn raw(self) -> i64 { self.0 }
            /// Whole units, for literals in tests and defaults. Range: ± 92,233,720,368.
            pub const fn from_whole(whole: i64) -> Self { Self(whole * UNIT_SCALE) }
            #[inline(always)]
            pub const fn is_zero(self) -> bool { self.0 == 0 }
            #[inline(always)]
            pub const fn abs(self) -> Self { Self(self.0.saturating_abs()) }
            #[inline(always)]
            pub const fn saturating_add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }
            #[inline(always)]
            pub const fn saturating_sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }
            #[inline(always)]
            pub const fn checked_add(self, other: Self) -> Option<Self> {
                match self.0.checked_add(other.0) { Some(raw) => Some(Self(raw)), None => None }
            }
            /// For indicators and for people; never on the way from wire to wire.
            #[inline(always)]
            pub fn to_f64(self) -> f64 { self.0 as f64 / UNIT_SCALE as f64 }
            /// Nearest fixed-point value. `None` for NaN, infinities and what does not fit.
            pub fn from_f64(value: f64) -> Option<Self> {
                let scaled = value * UNIT_SCALE as f64;
                if !scaled.is_finite() || scaled.abs() >= i64::MAX as f64 { return None; }
                Some(Self(scaled.round() as i64))
            }
            /// Parses a JSON number exactly; digits below 1e-8 are refused.
            ///
            /// # Errors
            /// `Malformed`, `OutOfRange` or `TooPrecise`.
            pub fn parse(text: &str) -> Result<Self, UnitError> {
                let (raw, exact) = parse_decimal(text.as_bytes())?;
                if exact { Ok(Self(raw)) } else { Err(UnitError::TooPrecise) }
            }
        }

        impl std::ops::Neg for $name {
            type Output = Self;
            #[inline(always)]
            fn neg(self) -> Self { Self(self.0.wrapping_neg()) }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self)
            }
        }
        impl fmt::Display for $name {
            /// Plain decimal notation without trailing zeros, never an exponent.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0u8; DECIMAL_TEXT_MAX];
                let len = write_decimal(self.0, &mut text);
                f.pad(std::str::from_utf8(&text[..len]).unwrap_or("?"))
            }
        }
    };
}

fixed_point!(
    /// Price: quote currency for one unit of base currency, in 1e-8.
    Px
);
fixed_point!(
    /// Quantity in base currency, in 1e-8. Signed where a direction is meant: + buy or bid, − sell
    /// or ask.
    Qty
);
fixed_point!(
    /// An amount of money in quote currency (or of any one currency where named so), in 1e-8.
    Quote
);

/// `left × right` at 1e-16 brought back to 1e-8, rounded towards zero, saturating. Without 128
/// bits, whose division is a library call: a product above 922 whole units, thus most orders'
/// value, would need them. With `left = a·10^8 + b` and `right = c·10^8 + d` the result is
/// `a·c·10^8 + a·d + b·c + ⌊b·d / 10^8⌋`, and only the last term is cut.
#[inline(always)]
fn mul_units(left: i64, right: i64) -> i64 {
    const UNIT: u64 = UNIT_SCALE as u64;
    let (x, y) = (left.unsigned_abs(), right.unsigned_abs());
    let (a, b, c, d) = (x / UNIT, x % UNIT, y / UNIT, y % UNIT);
    // a and c are below 10^11, b and d below 10^8: every product but the first fits.
    let whole = a.saturating_mul(c).saturating_mul(UNIT);
    let sum = whole.saturating_add(a * d).saturating_add(b * c).saturating_add(b * d / UNIT);
    let magnitude = sum.min(i64::MAX as u64) as i64;
    if (left < 0) == (right < 0) { magnitude } else { -magnitude }
}

/// Ticks of prices with 5, 6, … digits at 1e-8; an `i64` has at most 19.
const POWERS_OF_TEN: [i64; 15] = {
    let mut powers = [1; 15];
    let mut at = 1;
    while at < powers.len() {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

impl Px {
    /// `|price × quantity|` in quote currency, rounded towards zero, saturating at `Quote::MAX`.
    #[inline(always)]
    pub fn notional(self, qty: Qty) -> Quote {
        Quote(mul_units(self.0, qty.0).saturating_abs())
    }
    /// Signed `price × quantity` in quote currency, rounded towards zero, saturating.
    #[inline(always)]
    pub fn value(self, qty: Qty) -> Quote {
        Quote(mul_units(self.0, qty.0))
    }
    /// The price moved by `bps` hundredths of a per cent, rounded towards zero, saturating.
    #[inline(always)]
    pub fn offset_bps(self, bps: i64) -> Px {
        match self.0.checked_mul(bps) {
            Some(product) => Px(self.0.saturating_add(product / 10_000)),
            None => self.offset_bps_wide(bps),
        }
    }
    #[cold]
    #[inline(never)]
    fn offset_bps_wide(self, bps: i64) -> Px {
        let wide = i128::from(self.0) + i128::from(self.0) * i128::from(bps) / 10_000;
        Px(wide.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64)
    }
    /// The venue's price step at this price: five significant digits, not below 1e-8.
    /// 86,717 → 1; 9,999.9 → 0.1; 0.076989 → 0.000001 (protocol notes, section 5.1).
    pub fn tick(self) -> Px {
        let magnitude = self.0.unsigned_abs();
        if magnitude == 0 {
            return Px(1);
        }
        let digits = magnitude.ilog10(); // 0 for 1e-8
        Px(POWERS_OF_TEN[digits.saturating_sub(4) as usize])
    }
    /// Rounds down to the venue's price step, saturating.
    pub fn floor_to_tick(self) -> Px {
        let tick = self.tick().0;
        Px(self.0.div_euclid(tick).saturating_mul(tick))
    }
    /// Rounds up to the venue's price step, saturating.
    pub fn ceil_to_tick(self) -> Px {
        let tick = self.tick().0;
        let floor = self.0.div_euclid(tick).saturating_mul(tick);
        Px(if floor == self.0 { floor } else { floor.saturating_add(tick) })
    }
}

/// Direction of an order or of a trade's taker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Side {
    Buy = 0,
    Sell = 1,
}

impl Side {
    #[inline(always)]
    pub const fn of(qty: Qty) -> Side {
        if qty.0 < 0 { Side::Sell } else { Side::Buy }
    }
    #[inline(always)]
    pub const fn sign(self) -> i64 {
        match self {
            Side::Buy => 1,
            Side::Sell => -1,
        }
    }
    #[inline(always)]
    pub const fn opposite(self) -> Side {
        match self {
            Side::Buy => Side::Sell,
            Side::Sell => Side::Buy,
        }
    }
}

/// Longest text `write_decimal` makes: sign, 11 digits, point, 8 decimals.
pub const DECIMAL_TEXT_MAX: usize = 24;

/// Room for the digits of the longest `u64`, and for the eight bytes that are written at once.
pub const UINT_TEXT_MAX: usize = 24;
/// The text "00000000" as a number.
const ZEROS: u64 = 0x3030_3030_3030_3030;

/// The eight digits of a number below 10^8, the first in the lowest byte, each 0 … 9. All at once:
/// halves of four digits, of two, of one, each by a multiplication that stands for the division.
#[inline(always)]
const fn digits_8(value: u64) -> u64 {
    let fours = (value / 10_000) | ((value % 10_000) << 32);
    let hundreds = (fours * 10_486) >> 20 & 0x0000_007f_0000_007f;
    let twos = hundreds | (fours - hundreds * 100) << 16;
    let tens = (twos * 103) >> 10 & 0x000f_000f_000f_000f;
    tens | (twos - tens * 10) << 8
}
/// Puts eight bytes at `at`, of which the caller keeps as many as mean something.
#[inline(always)]
fn put_8<const N: usize>(out: &mut [u8; N], at: usize, digits: u64) {
    out[at..at + 8].copy_from_slice(&digits.to_le_bytes());
}
/// Writes a number from `at` on, without leading zeros; returns where it ends.
#[inline(always)]
fn put_uint<const N: usize>(out: &mut [u8; N], mut at: usize, value: u64) -> usize {
    const CHUNK: u64 = 100_000_000;
    let mut rest = value;
    let first = if value < CHUNK {
        value
    } else if value < CHUNK * CHUNK {
        rest = value % CHUNK;
        value / CHUNK
    } else {
        rest = value % (CHUNK * CHUNK);
        value / (CHUNK * CHUNK)
    };
    let digits = digits_8(first);
    // Zeros of the text's begin are the lowest bytes; the last digit stays whatever it is.
    let zeros = (digits.trailing_zeros() / 8).min(7);
    put_8(out, at, (digits | ZEROS) >> (8 * zeros));
    at += 8 - zeros as usize;
    if value >= CHUNK {
        if value >= CHUNK * CHUNK {
            put_8(out, at, digits_8(rest / CHUNK) | ZEROS);
            at += 8;
            rest %= CHUNK;
        }
        put_8(out, at, digits_8(rest) | ZEROS);
        at += 8;
    }
    at
}

/// Writes a number's digits; returns how many. What stands behind them has no meaning.
#[inline]
pub fn write_uint(value: u64, out: &mut [u8; UINT_TEXT_MAX]) -> usize {
    put_uint(out, 0, value)
}

/// Writes units of 1e-8 as plain decimal text without trailing zeros; returns the length. What
/// stands behind it has no meaning.
#[inline]
pub fn write_decimal(raw: i64, out: &mut [u8; DECIMAL_TEXT_MAX]) -> usize {
    let magnitude = raw.unsigned_abs();
    let (whole, frac) = (magnitude / UNIT_SCALE as u64, magnitude % UNIT_SCALE as u64);
    out[0] = b'-';
    let at = put_uint(out, usize::from(raw < 0), whole);
    if frac == 0 {
        return at;
    }
    // All eight decimals, then the zeros at their end, the highest bytes, are left out.
    out[at] = b'.';
    let digits = digits_8(frac);
    put_8(out, at + 1, digits | ZEROS);
    at + 9 - digits.leading_zeros() as usize / 8
}

/// Parses any JSON number into units of 1e-8: `(raw, exact)`. Digits below 1e-8 are rounded half
/// away from zero and reported by `exact = false`. The slow, plain twin of the hot decoder.
///
/// # Errors
/// `Malformed` or `OutOfRange`.
pub fn parse_decimal(text: &[u8]) -> Result<(i64, bool), UnitError> {
    let (negative, body) = match text.first() {
        Some(b'-') => (true, &text[1..]),
        Some(_) => (false, text),
        None => return Err(UnitError::Malformed),
    };
    let mut digits: i128 = 0; // all significant digits read so far
    let mut point: Option<i32> = None; // digits after the point
    let mut exponent: i32 = 0;
    let mut seen = 0usize;
    let mut dropped_nonzero = false;
    let mut dropped = 0i32;
    let mut index = 0;
    while index < body.len() {
        match body[index] {
            digit @ b'0'..=b'9' => {
                seen += 1;
                if seen > 64 {
                    return Err(UnitError::OutOfRange);
                }
                if digits < i128::MAX / 100 {
                    digits = digits * 10 + (digit - b'0') as i128;
                    if let Some(places) = point.as_mut() {
                        *places += 1;
                    }
                } else {
                    dropped_nonzero |= digit != b'0';
                    if point.is_none() {
                        dropped += 1;
                    }
                }
            }
            b'.' if point.is_none() && seen > 0 => point = Some(0),
            b'e' | b'E' if seen > 0 && body[index - 1] != b'.' => {
                let rest =
                    std::str::from_utf8(&body[index + 1..]).map_err(|_| UnitError::Malformed)?;
                if rest.is_empty() {
                    return Err(UnitError::Malformed);
                }
                exponent = rest.parse::<i32>().map_err(|_| UnitError::Malformed)?;
                break;
            }
            _ => return Err(UnitError::Malformed),
        }
        index += 1;
    }
    if seen == 0 {
        return Err(UnitError::Malformed);
    }
    if body.last() == Some(&b'.') {
        return Err(UnitError::Malformed);
    }
    let shift = exponent
        .saturating_add(dropped)
        .saturating_sub(point.unwrap_or(0))
        .saturating_add(UNIT_DECIMALS as i32);
    let (mut value, mut exact) = (digits, !dropped_nonzero);
    if value != 0 {
        if shift >= 0 {
            if shift > 38 {
                return Err(UnitError::OutOfRange);
            }
            value = value.checked_mul(10i128.pow(shift as u32)).ok_or(UnitError::OutOfRange)?;
        } else if shift < -38 {
            value = 0;
            exact = false;
        } else {
            let divisor = 10i128.pow((-shift) as u32);
            let remainder = value % divisor;
            value /= divisor;
            exact &= remainder == 0;
            if remainder * 2 >= divisor {
                value += 1;
            }
        }
    }
    let value = if negative { -value } else { value };
    match i64::try_from(value) {
        Ok(raw) if raw != i64::MIN => Ok((raw, exact)),
        _ => Err(UnitError::OutOfRange),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<(i64, bool), UnitError>) {
        assert_eq!(parse_decimal(text.as_bytes()), expected, "{text}");
    }

    #[test]
    fn every_json_number_form_is_read() {
        check("1", Ok((100_000_000, true)));
        check("-0.5", Ok((-50_000_000, true)));
        check("7e-7", Ok((70, true)));
        check("6.6e-7", Ok((66, true)));
        check("1E+3", Ok((100_000_000_000, true)));
        check("0.000000015", Ok((2, false)));
        check("123456789012", Err(UnitError::OutOfRange));
        check("1e400", Err(UnitError::OutOfRange));
        check("0e400", Ok((0, true)));
        check("", Err(UnitError::Malformed));
        check("-", Err(UnitError::Malformed));
        check("1.", Err(UnitError::Malformed));
        check("NaN", Err(UnitError::Malformed));
        check("1e", Err(UnitError::Malformed));
        check("0.e0", Err(UnitError::Malformed));
        check("1.5e-2147483648", Ok((0, false)));
        check("0.00028313972602739723", Ok((28314, false)));
    }

    #[test]
    fn text_and_value_agree_both_ways() {
        let mut rng = crate::base::rng::Rng::new(7);
        for _ in 0..20_000 {
            let raw = (rng.next_u64() >> (rng.next_u64() % 63)) as i64
                * if rng.chance(1, 2) { 1 } else { -1 };
            if raw == i64::MIN {
                continue;
            }
            assert_eq!(Px::parse(&Px::from_raw(raw).to_string()), Ok(Px::from_raw(raw)));
        }
    }

    #[test]
    fn ticks_follow_five_significant_digits() {
        for (px, tick) in [
            ("86717", "1"),
            ("9999.9", "0.1"),
            ("0.076989", "0.000001"),
            ("0.0000011", "0.00000001"),
            ("100000", "10"),
        ] {
            assert_eq!(Px::parse(px).unwrap().tick(), Px::parse(tick).unwrap(), "{px}");
        }
        assert_eq!(Px::parse("9999.95").unwrap().ceil_to_tick(), Px::from_whole(10_000));
        assert_eq!(Px::parse("86717.4").unwrap().floor_to_tick(), Px::from_whole(86_717));
    }

    /// Against the plain 128-bit rule, over all magnitudes and the borders.
    #[test]
    fn products_equal_their_wide_twins() {
        let mut rng = crate::base::rng::Rng::new(3);
        let clamp = |wide: i128| wide.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
        let mut next = |edge: u64| match edge {
            0 => i64::MAX,
            1 => i64::MIN + 1,
            2 => 0,
            _ => (rng.next_u64() >> rng.below(64)) as i64 * if rng.chance(1, 2) { 1 } else { -1 },
        };
        for round in 0..60_000u64 {
            let (a, b) = (next(round % 40), next(round % 37));
            let scale = i128::from(UNIT_SCALE);
            let value = i128::from(a) * i128::from(b) / scale;
            // What does not fit is cut to the same magnitude on both sides of zero.
            assert_eq!(Px(a).value(Qty(b)).0, clamp(value).max(-i64::MAX), "{a} {b}");
            assert_eq!(Px(a).notional(Qty(b)).0, clamp(value.abs()), "{a} {b}");
            let moved = i128::from(a) + i128::from(a) * i128::from(b) / 10_000;
            assert_eq!(Px(a).offset_bps(b).0, clamp(moved), "{a} {b}");
        }
    }

    /// Every pair of four digits, in both halves.
    #[test]
    fn eight_digits_are_right_for_every_half() {
        for half in 0..10_000u64 {
            let value = half * 10_000 + (9_999 - half);
            let text = (digits_8(value) | ZEROS).to_le_bytes();
            assert_eq!(std::str::from_utf8(&text), Ok(format!("{value:08}").as_str()));
        }
    }

    /// Against `format!`: every length, every border of a power of ten, and numbers of few digits.
    #[test]
    fn digits_eight_at_a_time_are_the_usual_digits() {
        let mut rng = crate::base::rng::Rng::new(4);
        let power = |round: u64| 10u64.pow((round % 20) as u32);
        for round in 0..40_000u64 {
            let value = match round {
                0 => 0,
                1 => u64::MAX,
                2 => i64::MIN as u64,
                3..=22 => power(round),
                23..=42 => power(round) - 1,
                43..=99 => rng.below(20).wrapping_mul(power(round)) / 16,
                _ => rng.next_u64() >> rng.below(64),
            };
            let mut out = [0; UINT_TEXT_MAX];
            let len = write_uint(value, &mut out);
            assert_eq!(std::str::from_utf8(&out[..len]), Ok(format!("{value}").as_str()));
            let raw = value as i64;
            let mut text = [0; DECIMAL_TEXT_MAX];
            let len = write_decimal(raw, &mut text);
            let (whole, part) =
                (raw.unsigned_abs() / 100_000_000, raw.unsigned_abs() % 100_000_000);
            let plain = format!("{}{whole}.{part:08}", if raw < 0 { "-" } else { "" });
            let plain = plain.trim_end_matches('0').trim_end_matches('.');
            assert_eq!(std::str::from_utf8(&text[..len]), Ok(plain));
        }
    }

    #[test]
    fn notional_rounds_towards_zero_and_saturates() {
        assert_eq!(
            Px::from_whole(6_000).notional(Qty::parse("-0.5").unwrap()),
            Quote::from_whole(3_000)
        );
        assert_eq!(Px::MAX.notional(Qty::MAX), Quote::MAX);
    }
}
