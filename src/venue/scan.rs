//! A byte scanner for the venue's JSON: numbers become fixed point at 1e-8 without a copy, exactly.
//!
//! The venue's serializer writes no white space; where some is found all the same, a cold path
//! skips it. Nothing here recurses, allocates or panics, whatever the bytes are.

use crate::base::units::{UnitError, parse_decimal};

/// Why a scan stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanError {
    /// Not the JSON that was expected here, or the text ended too early.
    Malformed,
    /// A number that does not fit.
    OutOfRange,
}

impl From<UnitError> for ScanError {
    fn from(error: UnitError) -> Self {
        match error {
            UnitError::OutOfRange => ScanError::OutOfRange,
            UnitError::Malformed | UnitError::TooPrecise => ScanError::Malformed,
        }
    }
}

/// Factors that bring a mantissa with `index` decimals to units of 1e-8.
const SCALE_OF_DECIMALS: [u64; 9] =
    [100_000_000, 10_000_000, 1_000_000, 100_000, 10_000, 1_000, 100, 10, 1];
/// Digits of a mantissa that surely fits a `u64` while it is built.
const FAST_DIGITS_MAX: usize = 18;
/// Nesting accepted by `skip_value`, levels.
const DEPTH_MAX: u32 = 64;

/// A position in one message. Copy it to look ahead.
#[derive(Clone, Copy, Debug)]
pub struct Scanner<'a> {
    text: &'a [u8],
    pos: usize,
    rounded: u32,
}

impl<'a> Scanner<'a> {
    #[inline(always)]
    pub const fn new(text: &'a [u8]) -> Self {
        Self { text, pos: 0, rounded: 0 }
    }
    #[inline(always)]
    pub const fn pos(&self) -> usize {
        self.pos
    }
    /// Numbers read so far that had digits below 1e-8 and were rounded half away from zero.
    #[inline(always)]
    pub const fn rounded(&self) -> u32 {
        self.rounded
    }
    /// The byte here, 0 at the end.
    #[inline(always)]
    pub fn peek(&self) -> u8 {
        match self.text.get(self.pos) {
            Some(byte) => *byte,
            None => 0,
        }
    }
    /// The byte `offset` further on, 0 past the end.
    #[inline(always)]
    pub fn peek_at(&self, offset: usize) -> u8 {
        match self.text.get(self.pos + offset) {
            Some(byte) => *byte,
            None => 0,
        }
    }
    /// True where nothing but white space is left.
    pub fn is_done(&mut self) -> bool {
        self.skip_space();
        self.pos >= self.text.len()
    }
    #[inline(always)]
    fn bump(&mut self) {
        self.pos += 1;
    }
    #[cold]
    #[inline(never)]
    fn skip_space(&mut self) {
        while matches!(self.peek(), b' ' | b'\t' | b'\n' | b'\r') {
            self.pos += 1;
        }
    }

    /// Goes past `byte`.
    ///
    /// # Errors
    /// `Malformed` where another byte stands here.
    #[inline(always)]
    pub fn expect(&mut self, byte: u8) -> Result<(), ScanError> {
        if self.peek() != byte {
            self.skip_space();
            if self.peek() != byte {
                return Err(ScanError::Malformed);
            }
        }
        self.bump();
        Ok(())
    }
    /// Goes past `byte` if it stands here.
    #[inline(always)]
    pub fn accept(&mut self, byte: u8) -> bool {
        if self.peek() != byte {
            if self.peek() > b' ' {
                return false;
            }
            self.skip_space();
            if self.peek() != byte {
                return false;
            }
        }
        self.bump();
        true
    }
    /// The first byte of the value that stands here.
    #[inline(always)]
    pub fn value_start(&mut self) -> u8 {
        if self.peek() <= b' ' {
            self.skip_space();
        }
        self.peek()
    }

    /// A JSON number as units of 1e-8. Digits below 1e-8 are rounded and counted in `rounded`.
    ///
    /// # Errors
    /// `Malformed` or `OutOfRange`.
    #[inline(always)]
    pub fn fixed(&mut self) -> Result<i64, ScanError> {
        let start = self.pos;
        let text = self.text;
        let mut at = start;
        let negative = matches!(text.get(at), Some(b'-'));
        at += usize::from(negative);
        let first = at;
        let mut mantissa: u64 = 0;
        let mut byte = 0u8;
        while let Some(next) = text.get(at) {
            byte = *next;
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            mantissa = mantissa.wrapping_mul(10).wrapping_add(digit as u64);
            at += 1;
        }
        let mut digits = at - first;
        let mut decimals = 0;
        if byte == b'.' && digits != 0 {
            at += 1;
            let point = at;
            byte = 0;
            while let Some(next) = text.get(at) {
                byte = *next;
                let digit = byte.wrapping_sub(b'0');
                if digit > 9 {
                    break;
                }
                mantissa = mantissa.wrapping_mul(10).wrapping_add(digit as u64);
                at += 1;
            }
            decimals = at - point;
            digits += decimals;
            if decimals == 0 {
                return Err(ScanError::Malformed);
            }
        }
        // Only a comma or a closing bracket lets the fast path end; anything else is looked at
        // slowly.
        if digits == 0
            || digits > FAST_DIGITS_MAX
            || decimals >= SCALE_OF_DECIMALS.len()
            || !matches!(byte, b',' | b']')
        {
            return self.fixed_slow();
        }
        let Some(magnitude) = mantissa.checked_mul(SCALE_OF_DECIMALS[decimals]) else {
            return Err(ScanError::OutOfRange);
        };
        if magnitude > i64::MAX as u64 {
            return Err(ScanError::OutOfRange);
        }
        self.pos = at;
        Ok(if negative { -(magnitude as i64) } else { magnitude as i64 })
    }
    #[cold]
    #[inline(never)]
    fn fixed_slow(&mut self) -> Result<i64, ScanError> {
        let token = self.number_token()?;
        let (raw, exact) = parse_decimal(token)?;
        self.rounded += u32::from(!exact);
        Ok(raw)
    }
    /// The bytes of the number here; goes past them.
    fn number_token(&mut self) -> Result<&'a [u8], ScanError> {
        self.skip_space();
        let start = self.pos;
        while matches!(self.peek(), b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E') {
            self.pos += 1;
        }
        if self.pos == start {
            return Err(ScanError::Malformed);
        }
        Ok(&self.text[start..self.pos])
    }

    /// An integer without sign. A fraction is cut and counted as rounded.
    ///
    /// # Errors
    /// `Malformed` or `OutOfRange`.
    #[inline(always)]
    pub fn uint(&mut self) -> Result<u64, ScanError> {
        let text = self.text;
        let start = self.pos;
        let mut at = start;
        let mut value: u64 = 0;
        let mut byte = 0u8;
        while let Some(next) = text.get(at) {
            byte = *next;
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            value = value.wrapping_mul(10).wrapping_add(digit as u64);
            at += 1;
        }
        let digits = at - start;
        if digits == 0 || digits > FAST_DIGITS_MAX || !matches!(byte, b',' | b']') {
            let value = self.int_slow()?;
            return u64::try_from(value).map_err(|_| ScanError::OutOfRange);
        }
        self.pos = at;
        Ok(value)
    }
    /// An integer with sign. A fraction is cut and counted as rounded.
    ///
    /// # Errors
    /// `Malformed` or `OutOfRange`.
    #[inline(always)]
    pub fn int(&mut self) -> Result<i64, ScanError> {
        if self.peek() == b'-' {
            return self.int_slow();
        }
        let value = self.uint()?;
        i64::try_from(value).map_err(|_| ScanError::OutOfRange)
    }
    #[cold]
    #[inline(never)]
    fn int_slow(&mut self) -> Result<i64, ScanError> {
        let token = self.number_token()?;
        let (negative, body) = match token {
            [b'-', body @ ..] => (true, body),
            body => (false, body),
        };
        let mut value: i64 = 0;
        let mut digits = 0;
        let mut whole = true;
        for &byte in body {
            if !byte.is_ascii_digit() {
                whole = false;
                break;
            }
            digits += 1;
            value = value
                .checked_mul(10)
                .and_then(|v| v.checked_add((byte - b'0') as i64))
                .ok_or(ScanError::OutOfRange)?;
        }
        if digits == 0 {
            return Err(ScanError::Malformed);
        }
        if !whole {
            // A fraction or an exponent: rare, and never beyond 2^53 in what the venue sends.
            let text = std::str::from_utf8(token).map_err(|_| ScanError::Malformed)?;
            // tidy-ok: a count or a time with a fraction, never money
            let float: f64 = text.parse().map_err(|_| ScanError::Malformed)?;
            if float.is_nan() || float.abs() >= 9.2e18 {
                return Err(ScanError::OutOfRange);
            }
            self.rounded += u32::from(float.fract() != 0.0);
            return Ok(float.trunc() as i64);
        }
        Ok(if negative { -value } else { value })
    }

    /// True, and goes past it, where `null` stands here.
    #[inline(always)]
    pub fn null(&mut self) -> bool {
        if self.value_start() == b'n' && self.text[self.pos..].starts_with(b"null") {
            self.pos += 4;
            return true;
        }
        false
    }
    /// The raw bytes between the quotes of the string here; escapes are left as they are.
    ///
    /// # Errors
    /// `Malformed` where no string stands here or it has no end.
    #[inline]
    pub fn string(&mut self) -> Result<&'a [u8], ScanError> {
        self.expect(b'"')?;
        let start = self.pos;
        loop {
            match self.text.get(self.pos) {
                Some(b'"') => break,
                Some(b'\\') => self.pos += 2,
                Some(_) => self.pos += 1,
                None => {
                    self.pos = self.text.len();
                    return Err(ScanError::Malformed);
                }
            }
        }
        let end = self.pos;
        self.bump();
        Ok(&self.text[start..end])
    }
    /// Goes past one value of any kind and returns its bytes.
    ///
    /// # Errors
    /// `Malformed` where no whole value stands here, or it is nested deeper than 64 levels.
    pub fn skip_value(&mut self) -> Result<&'a [u8], ScanError> {
        let first = self.value_start();
        let start = self.pos;
        match first {
            b'"' => {
                self.string()?;
            }
            b'[' | b'{' => {
                // One bit a level tells which bracket closes it.
                let (mut depth, mut kinds) = (0u32, 0u64);
                loop {
                    match self.peek() {
                        open @ (b'[' | b'{') => {
                            if depth == DEPTH_MAX {
                                return Err(ScanError::Malformed);
                            }
                            kinds = kinds << 1 | u64::from(open == b'{');
                            depth += 1;
                            self.bump();
                        }
                        close @ (b']' | b'}') => {
                            if (kinds & 1 == 1) != (close == b'}') {
                                return Err(ScanError::Malformed);
                            }
                            kinds >>= 1;
                            depth -= 1;
                            self.bump();
                            if depth == 0 {
                                break;
                            }
                        }
                        b'"' => {
                            self.string()?;
                        }
                        0 if self.pos >= self.text.len() => return Err(ScanError::Malformed),
                        _ => self.bump(),
                    }
                }
            }
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                while matches!(self.peek(), b'0'..=b'9' | b'a'..=b'z' | b'+' | b'-' | b'.' | b'E') {
                    self.bump();
                }
            }
            _ => return Err(ScanError::Malformed),
        }
        Ok(&self.text[start..self.pos])
    }
}

/// Reads the elements of one array in order; past its end every element is absent, and so is
/// `null`. That is how arrays that grew, shrank or hold placeholders are all read alike.
pub struct Row<'s, 'a> {
    scan: &'s mut Scanner<'a>,
    more: bool,
}

impl<'s, 'a> Row<'s, 'a> {
    /// # Errors
    /// `Malformed` where no array stands here.
    #[inline]
    pub fn enter(scan: &'s mut Scanner<'a>) -> Result<Self, ScanError> {
        scan.expect(b'[')?;
        let more = !scan.accept(b']');
        Ok(Self { scan, more })
    }
    /// False past the last element.
    #[inline]
    pub const fn has_more(&self) -> bool {
        self.more
    }
    #[inline(always)]
    fn advance(&mut self) -> Result<(), ScanError> {
        if self.scan.peek() == b',' {
            self.scan.bump();
            return Ok(());
        }
        if self.scan.accept(b',') {
            return Ok(());
        }
        self.scan.expect(b']')?;
        self.more = false;
        Ok(())
    }
    /// # Errors
    /// `Malformed` or `OutOfRange`.
    #[inline]
    pub fn uint(&mut self) -> Result<Option<u64>, ScanError> {
        if !self.more {
            return Ok(None);
        }
        let value = if self.scan.null() { None } else { Some(self.scan.uint()?) };
        self.advance()?;
        Ok(value)
    }
    /// # Errors
    /// `Malformed` or `OutOfRange`.
    #[inline]
    pub fn int(&mut self) -> Result<Option<i64>, ScanError> {
        if !self.more {
            return Ok(None);
        }
        let value = if self.scan.null() { None } else { Some(self.scan.int()?) };
        self.advance()?;
        Ok(value)
    }
    /// # Errors
    /// `Malformed` or `OutOfRange`.
    #[inline]
    pub fn fixed(&mut self) -> Result<Option<i64>, ScanError> {
        if !self.more {
            return Ok(None);
        }
        let value = if self.scan.null() { None } else { Some(self.scan.fixed()?) };
        self.advance()?;
        Ok(value)
    }
    /// # Errors
    /// `Malformed` where the element is neither text nor `null`.
    #[inline]
    pub fn text(&mut self) -> Result<Option<&'a [u8]>, ScanError> {
        if !self.more {
            return Ok(None);
        }
        let value = if self.scan.null() { None } else { Some(self.scan.string()?) };
        self.advance()?;
        Ok(value)
    }
    /// The bytes of the next element, whatever it is.
    ///
    /// # Errors
    /// `Malformed`.
    pub fn raw(&mut self) -> Result<Option<&'a [u8]>, ScanError> {
        if !self.more {
            return Ok(None);
        }
        let value = self.scan.skip_value()?;
        self.advance()?;
        Ok(Some(value))
    }
    /// Goes past `count` elements, as far as there are any.
    ///
    /// # Errors
    /// `Malformed`.
    #[inline]
    pub fn skip(&mut self, count: usize) -> Result<(), ScanError> {
        for _ in 0..count {
            if !self.more {
                return Ok(());
            }
            if !self.scan.null() {
                self.scan.skip_value()?;
            }
            self.advance()?;
        }
        Ok(())
    }
    /// Goes past what is left of the array.
    ///
    /// # Errors
    /// `Malformed`.
    #[inline]
    pub fn finish(mut self) -> Result<(), ScanError> {
        while self.more {
            self.skip(1)?;
        }
        Ok(())
    }
    /// The scanner, standing at the next element, for a nested row. Call `nested_done` after it.
    #[inline]
    pub fn nested(&mut self) -> &mut Scanner<'a> {
        self.scan
    }
    /// Goes on to the next element after a nested one was read through `nested`.
    ///
    /// # Errors
    /// `Malformed`.
    #[inline]
    pub fn nested_done(&mut self) -> Result<(), ScanError> {
        self.advance()
    }
}

/// Reads the members of one object in order: `(key, raw value)`.
pub struct Members<'a> {
    scan: Scanner<'a>,
    state: MembersState,
}
#[derive(PartialEq, Eq)]
enum MembersState {
    First,
    Later,
    Over,
}

impl<'a> Members<'a> {
    /// # Errors
    /// `Malformed` where the text is not an object.
    pub fn new(text: &'a [u8]) -> Result<Self, ScanError> {
        let mut scan = Scanner::new(text);
        scan.expect(b'{')?;
        Ok(Self { scan, state: MembersState::First })
    }
    /// The next member, `None` after the last.
    ///
    /// # Errors
    /// `Malformed`.
    #[allow(clippy::should_implement_trait)] // fallible: an iterator of results would hide the end
    #[allow(clippy::type_complexity)]
    pub fn next(&mut self) -> Result<Option<(&'a [u8], &'a [u8])>, ScanError> {
        if self.state == MembersState::Over {
            return Ok(None);
        }
        if self.scan.accept(b'}') {
            self.state = MembersState::Over;
            return Ok(None);
        }
        if self.state == MembersState::Later {
            self.scan.expect(b',')?;
        }
        self.state = MembersState::Later;
        let key = self.scan.string()?;
        self.scan.expect(b':')?;
        let value = self.scan.skip_value()?;
        Ok(Some((key, value)))
    }
}

/// The text of a JSON string or of any other value, without its quotes.
pub fn unquoted(raw: &[u8]) -> &[u8] {
    match raw {
        [b'"', inner @ .., b'"'] => inner,
        other => other,
    }
}
/// An integer from a raw value, quoted or not; `None` for anything else.
pub fn int_of(raw: &[u8]) -> Option<i64> {
    std::str::from_utf8(unquoted(raw)).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;
    use proptest::prelude::*;

    fn fixed_of(text: &str) -> Result<(i64, bool), ScanError> {
        let framed = format!("{text},");
        let mut scan = Scanner::new(framed.as_bytes());
        let raw = scan.fixed()?;
        if scan.peek() != b',' {
            return Err(ScanError::Malformed);
        }
        Ok((raw, scan.rounded() == 0))
    }

    #[test]
    fn every_form_of_number_is_read() {
        for (text, expected) in [
            ("6443", Ok((644_300_000_000, true))),
            ("-0.00114761", Ok((-114_761, true))),
            ("7e-7", Ok((70, true))),
            ("-5.2128e-8", Ok((-5, false))),
            ("0.00028313972602739723", Ok((28_314, false))),
            ("123456789012", Err(ScanError::OutOfRange)),
            ("99999999999999999999999", Err(ScanError::OutOfRange)),
            ("1.", Err(ScanError::Malformed)),
            (".5", Err(ScanError::Malformed)),
            ("-", Err(ScanError::Malformed)),
            ("NaN", Err(ScanError::Malformed)),
            ("null", Err(ScanError::Malformed)),
            ("1.5e-2147483648", Ok((0, false))),
            ("1e2147483647", Err(ScanError::OutOfRange)),
        ] {
            assert_eq!(fixed_of(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn numbers_agree_with_the_slow_twin(
            text in r"-?[0-9]{1,20}(\.[0-9]{1,22})?([eE][+-]?[0-9]{1,3})?"
        ) {
            let slow = parse_decimal(text.as_bytes()).map_err(ScanError::from);
            prop_assert_eq!(fixed_of(&text), slow);
        }
        #[test]
        fn near_numbers_agree_with_the_slow_twin(text in r"[-+.eE0-9]{0,12}") {
            let slow = parse_decimal(text.as_bytes()).map_err(ScanError::from);
            prop_assert_eq!(fixed_of(&text).ok(), slow.ok());
        }
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut scan = Scanner::new(&bytes);
            let _ = scan.skip_value();
            let mut scan = Scanner::new(&bytes);
            if let Ok(mut row) = Row::enter(&mut scan) {
                let _ = row.uint();
                let _ = row.text();
                let _ = row.fixed();
                let _ = row.finish();
            }
            if let Ok(mut members) = Members::new(&bytes) {
                while let Ok(Some(_)) = members.next() {}
            }
        }
        #[test]
        fn integers_agree_with_the_standard_library(value in any::<i64>()) {
            let text = format!("{value}]");
            let mut scan = Scanner::new(text.as_bytes());
            let expected = (value != i64::MIN).then_some(value);
            prop_assert_eq!(scan.int().ok(), expected);
        }
    }

    /// Random JSON, valid and broken: what serde_json takes as one array must be skipped whole by
    /// us.
    #[test]
    fn whole_values_agree_with_serde_json() {
        const PIECES: [&str; 16] = [
            "[", "]", "{", "}", ",", ":", "\"a\"", "1", "-2.5e3", "null", "true", "\"\\\"\"", "[]",
            "{}", " ", "\"k\":1",
        ];
        let mut rng = Rng::new(11);
        let (mut valid, mut tried) = (0, 0);
        while valid < 2_000 && tried < 2_000_000 {
            tried += 1;
            let mut text = String::from("[");
            for _ in 0..rng.below(7) {
                text.push_str(PIECES[rng.below(16) as usize]);
            }
            text.push(']');
            let mut scan = Scanner::new(text.as_bytes());
            let ours = scan.skip_value().is_ok() && scan.is_done();
            if serde_json::from_str::<serde_json::Value>(&text).is_ok() {
                valid += 1;
                assert!(ours, "{text}");
            }
        }
        assert_eq!(valid, 2_000);
    }

    #[test]
    fn rows_are_read_by_position_whatever_their_length() {
        let mut scan = Scanner::new(b"[1,null,\"x\",{\"a\":[1,\"]\"]},2.5,[3]]tail");
        let mut row = Row::enter(&mut scan).unwrap();
        assert_eq!(row.uint(), Ok(Some(1)));
        assert_eq!(row.fixed(), Ok(None));
        assert_eq!(row.text(), Ok(Some(&b"x"[..])));
        assert_eq!(row.raw(), Ok(Some(&b"{\"a\":[1,\"]\"]}"[..])));
        assert_eq!(row.fixed(), Ok(Some(250_000_000)));
        row.skip(1).unwrap();
        assert_eq!(row.text(), Ok(None));
        row.finish().unwrap();
        assert_eq!(scan.peek(), b't');
        let mut scan = Scanner::new(b" [ 1 , 2 ] ");
        let mut row = Row::enter(&mut scan).unwrap();
        assert_eq!(row.uint(), Ok(Some(1)));
        assert_eq!(row.fixed(), Ok(Some(200_000_000)));
        row.finish().unwrap();
        assert!(scan.is_done());
    }

    #[test]
    fn fractions_of_integers_are_cut_and_counted() {
        let mut scan = Scanner::new(b"1574697680828.2002]");
        assert_eq!(scan.uint(), Ok(1_574_697_680_828));
        assert_eq!(scan.rounded(), 1);
    }

    #[test]
    fn members_of_objects_come_in_order() {
        let mut members = Members::new(b"{\"a\":1, \"b\" : {\"c\":[2]},\"d\":\"x\"}").unwrap();
        assert_eq!(members.next(), Ok(Some((&b"a"[..], &b"1"[..]))));
        assert_eq!(members.next(), Ok(Some((&b"b"[..], &b"{\"c\":[2]}"[..]))));
        assert_eq!(members.next(), Ok(Some((&b"d"[..], &b"\"x\""[..]))));
        assert_eq!(members.next(), Ok(None));
        assert_eq!(members.next(), Ok(None));
    }
}
