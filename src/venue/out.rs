//! Writes text into a caller's buffer: no heap, no `format!`. What does not fit is reported once,
//! at the end.

use crate::base::time::WallNs;
use crate::base::units::{DECIMAL_TEXT_MAX, UINT_TEXT_MAX, write_decimal, write_uint};

/// A cursor over a borrowed buffer.
pub struct Out<'a> {
    buffer: &'a mut [u8],
    len: usize,
    overflow: bool,
}

impl<'a> Out<'a> {
    pub fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, len: 0, overflow: false }
    }
    /// Bytes written; `None` where something did not fit.
    pub fn finish(self) -> Option<usize> {
        if self.overflow { None } else { Some(self.len) }
    }
    /// The next `N` places as one array, so that what is written there is a few stores and no call.
    #[inline(always)]
    fn room<const N: usize>(&mut self) -> Option<&mut [u8; N]> {
        self.buffer.get_mut(self.len..)?.first_chunk_mut()
    }
    #[inline(always)]
    pub fn bytes(&mut self, bytes: &[u8]) {
        match self.buffer.get_mut(self.len..self.len + bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            None => self.overflow = true,
        }
    }
    #[inline(always)]
    pub fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }
    /// The first `len` bytes of an array. Copied whole where there is room for it.
    #[inline(always)]
    pub fn padded<const N: usize>(&mut self, bytes: &[u8; N], len: usize) {
        match self.room::<N>() {
            Some(place) => {
                *place = *bytes;
                self.len += len.min(N);
            }
            None => self.bytes(&bytes[..len.min(N)]),
        }
    }
    #[inline(always)]
    pub fn uint(&mut self, value: u64) {
        match self.room::<UINT_TEXT_MAX>() {
            Some(place) => self.len += write_uint(value, place),
            None => {
                let mut digits = [0u8; UINT_TEXT_MAX];
                let len = write_uint(value, &mut digits);
                self.bytes(&digits[..len]);
            }
        }
    }
    pub fn int(&mut self, value: i64) {
        if value < 0 {
            self.bytes(b"-");
        }
        self.uint(value.unsigned_abs());
    }
    /// Units of 1e-8 as plain decimal text, never with an exponent: the form of order entry.
    #[inline(always)]
    pub fn decimal(&mut self, raw: i64) {
        match self.room::<DECIMAL_TEXT_MAX>() {
            Some(place) => self.len += write_decimal(raw, place),
            None => {
                let mut text = [0u8; DECIMAL_TEXT_MAX];
                let len = write_decimal(raw, &mut text);
                self.bytes(&text[..len]);
            }
        }
    }
    /// Units of 1e-8 as a JavaScript number's text: exponent form below 1e-6, the form of
    /// checksums.
    pub fn js_number(&mut self, raw: i64) {
        let magnitude = raw.unsigned_abs();
        if magnitude >= 100 || magnitude == 0 {
            return self.decimal(raw);
        }
        if raw < 0 {
            self.bytes(b"-");
        }
        // 1e-8 … 9.9e-7: one or two digits.
        let (high, low) = (b'0' + (magnitude / 10) as u8, b'0' + (magnitude % 10) as u8);
        if magnitude < 10 {
            self.bytes(&[low, b'e', b'-', b'8']);
        } else if low == b'0' {
            self.bytes(&[high, b'e', b'-', b'7']);
        } else {
            self.bytes(&[high, b'.', low, b'e', b'-', b'7']);
        }
    }
    /// `YYYY-MM-DD` of a point in time, UTC.
    pub fn date(&mut self, at: WallNs) {
        let (year, month, day) = at.utc_date();
        let mut text = *b"0000-00-00";
        let mut rest = year.clamp(0, 9_999) as u32;
        for place in (0..4).rev() {
            text[place] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        text[5] = b'0' + month / 10;
        text[6] = b'0' + month % 10;
        text[8] = b'0' + day / 10;
        text[9] = b'0' + day % 10;
        self.bytes(&text);
    }
    /// Text inside JSON quotes; quotes, backslashes and control bytes are escaped.
    pub fn quoted(&mut self, text: &[u8]) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        self.bytes(b"\"");
        for &byte in text {
            match byte {
                b'"' | b'\\' => self.bytes(&[b'\\', byte]),
                0..=0x1f => {
                    let (high, low) = (HEX[(byte >> 4) as usize], HEX[(byte & 15) as usize]);
                    self.bytes(&[b'\\', b'u', b'0', b'0', high, low]);
                }
                _ => self.bytes(&[byte]),
            }
        }
        self.bytes(b"\"");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::units::parse_decimal;

    fn written(write: impl FnOnce(&mut Out)) -> String {
        let mut buffer = [0u8; 64];
        let mut out = Out::new(&mut buffer);
        write(&mut out);
        let len = out.finish().unwrap();
        String::from_utf8(buffer[..len].to_vec()).unwrap()
    }

    #[test]
    fn numbers_below_a_millionth_are_in_exponent_form() {
        for text in [
            "7e-7",
            "6.6e-7",
            "1e-8",
            "5e-8",
            "9.9e-7",
            "-1e-7",
            "0.000001",
            "0.00000111",
            "0",
            "271510.49",
            "-4847.13",
            "21000",
            "-1e-8",
            "86717",
        ] {
            let (raw, _) = parse_decimal(text.as_bytes()).unwrap();
            assert_eq!(written(|o| o.js_number(raw)), text);
        }
    }

    #[test]
    fn order_entry_is_never_in_exponent_form() {
        assert_eq!(written(|o| o.decimal(70)), "0.0000007");
        assert_eq!(written(|o| o.decimal(-1)), "-0.00000001");
    }

    #[test]
    fn dates_integers_and_quotes_are_plain() {
        assert_eq!(written(|o| o.date(WallNs::from_ms(1_542_045_968_922))), "2018-11-12");
        assert_eq!(written(|o| o.int(-12)), "-12");
        assert_eq!(written(|o| o.uint(0)), "0");
        assert_eq!(written(|o| o.quoted(b"a\"b\\c\n")), "\"a\\\"b\\\\c\\u000a\"");
    }

    #[test]
    fn what_does_not_fit_is_reported() {
        let mut buffer = [0u8; 3];
        let mut out = Out::new(&mut buffer);
        out.text("ab");
        out.text("cd");
        assert_eq!(out.finish(), None);
    }
}
