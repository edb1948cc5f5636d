//! Reads what clients send. Numbers stay text until somebody asks, depth is bounded, nothing
//! recurses without limit: a client's 1 MiB of brackets is a refused message, not a stack overflow.

use super::number::{push_u64, read_number};
use std::borrow::Cow;

/// Deepest nesting accepted; the deepest message of the protocol (`ox_multi`) needs 7.
const DEPTH_MAX: usize = 24;

/// A JSON value that borrows from the message where it can.
#[derive(Clone, Debug, PartialEq)]
pub enum Json<'a> {
    Null,
    Bool(bool),
    /// The number's own text.
    Number(&'a [u8]),
    Text(Cow<'a, str>),
    Array(Vec<Json<'a>>),
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

impl<'a> Json<'a> {
    /// The value of a whole message; `None` where it is not JSON or too deep.
    pub fn parse(text: &'a [u8]) -> Option<Json<'a>> {
        let mut reader = Reader { text, at: 0 };
        let value = reader.value(0)?;
        reader.skip_space();
        (reader.at == text.len()).then_some(value)
    }
    /// Member of an object; `None` for other values too.
    pub fn get(&self, key: &str) -> Option<&Json<'a>> {
        match self {
            Json::Object(members) => members.iter().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }
    /// Member of an object that is present and not null.
    pub fn given(&self, key: &str) -> Option<&Json<'a>> {
        self.get(key).filter(|value| **value != Json::Null)
    }
    pub fn items(&self) -> &[Json<'a>] {
        match self {
            Json::Array(items) => items,
            _ => &[],
        }
    }
    pub fn text(&self) -> Option<&str> {
        match self {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }
    /// A number, or a string that holds one, in units of 1e-8; further digits are rounded.
    pub fn units(&self) -> Option<i64> {
        match self {
            Json::Number(text) => read_number(text).map(|(raw, _)| raw),
            Json::Text(text) => read_number(text.trim().as_bytes()).map(|(raw, _)| raw),
            _ => None,
        }
    }
    /// A whole number, or a string that holds one.
    pub fn integer(&self) -> Option<i64> {
        let text = match self {
            Json::Number(text) => std::str::from_utf8(text).ok()?,
            Json::Text(text) => text.trim(),
            _ => return None,
        };
        text.parse().ok()
    }
    /// A whole number that is not negative, or a string that holds one.
    pub fn unsigned(&self) -> Option<u64> {
        self.integer().and_then(|value| u64::try_from(value).ok())
    }
    /// Writes the value back, compactly.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Json::Null => out.extend_from_slice(b"null"),
            Json::Bool(true) => out.extend_from_slice(b"true"),
            Json::Bool(false) => out.extend_from_slice(b"false"),
            Json::Number(text) => out.extend_from_slice(text),
            Json::Text(text) => push_text(out, text),
            Json::Array(items) => {
                out.push(b'[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    item.write(out);
                }
                out.push(b']');
            }
            Json::Object(members) => {
                out.push(b'{');
                for (index, (key, value)) in members.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    push_text(out, key);
                    out.push(b':');
                    value.write(out);
                }
                out.push(b'}');
            }
        }
    }
}

/// Writes a JSON string with its quotes.
pub fn push_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..=31 => {
                out.extend_from_slice(b"\\u00");
                out.push(if byte < 16 { b'0' } else { b'1' });
                let low = byte & 15;
                if low < 10 {
                    push_u64(out, low as u64);
                } else {
                    out.push(b'a' + low - 10);
                }
            }
            other => out.push(other),
        }
    }
    out.push(b'"');
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn skip_space(&mut self) {
        while matches!(self.text.get(self.at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }
    fn take(&mut self, byte: u8) -> bool {
        self.skip_space();
        let hit = self.text.get(self.at) == Some(&byte);
        self.at += usize::from(hit);
        hit
    }
    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.text[self.at..].starts_with(word).then(|| self.at += word.len())
    }
    fn value(&mut self, depth: usize) -> Option<Json<'a>> {
        if depth > DEPTH_MAX {
            return None;
        }
        self.skip_space();
        match self.text.get(self.at)? {
            b'n' => self.word(b"null").map(|()| Json::Null),
            b't' => self.word(b"true").map(|()| Json::Bool(true)),
            b'f' => self.word(b"false").map(|()| Json::Bool(false)),
            b'"' => self.string().map(Json::Text),
            b'[' => {
                self.at += 1;
                let mut items = Vec::new();
                if self.take(b']') {
                    return Some(Json::Array(items));
                }
                loop {
                    items.push(self.value(depth + 1)?);
                    if self.take(b']') {
                        return Some(Json::Array(items));
                    }
                    if !self.take(b',') {
                        return None;
                    }
                }
            }
            b'{' => {
                self.at += 1;
                let mut members = Vec::new();
                if self.take(b'}') {
                    return Some(Json::Object(members));
                }
                loop {
                    self.skip_space();
                    let key = self.string()?;
                    if !self.take(b':') {
                        return None;
                    }
                    members.push((key, self.value(depth + 1)?));
                    if self.take(b'}') {
                        return Some(Json::Object(members));
                    }
                    if !self.take(b',') {
                        return None;
                    }
                }
            }
            b'-' | b'0'..=b'9' => {
                let start = self.at;
                while matches!(
                    self.text.get(self.at),
                    Some(b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')
                ) {
                    self.at += 1;
                }
                Some(Json::Number(&self.text[start..self.at]))
            }
            _ => None,
        }
    }
    fn string(&mut self) -> Option<Cow<'a, str>> {
        if self.text.get(self.at) != Some(&b'"') {
            return None;
        }
        self.at += 1;
        let start = self.at;
        loop {
            match self.text.get(self.at)? {
                b'"' => {
                    let text = std::str::from_utf8(&self.text[start..self.at]).ok()?;
                    self.at += 1;
                    return Some(Cow::Borrowed(text));
                }
                b'\\' => return self.escaped(start).map(Cow::Owned),
                _ => self.at += 1,
            }
        }
    }
    fn escaped(&mut self, start: usize) -> Option<String> {
        let mut bytes = self.text[start..self.at].to_vec();
        loop {
            let byte = *self.text.get(self.at)?;
            self.at += 1;
            match byte {
                b'"' => return String::from_utf8(bytes).ok(),
                b'\\' => {
                    let code = *self.text.get(self.at)?;
                    self.at += 1;
                    match code {
                        b'n' => bytes.push(b'\n'),
                        b'r' => bytes.push(b'\r'),
                        b't' => bytes.push(b'\t'),
                        b'b' => bytes.push(8),
                        b'f' => bytes.push(12),
                        b'"' | b'\\' | b'/' => bytes.push(code),
                        b'u' => {
                            let hex = self.text.get(self.at..self.at + 4)?;
                            self.at += 4;
                            let unit =
                                u32::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?;
                            let character = char::from_u32(unit).unwrap_or('\u{fffd}');
                            bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                        }
                        _ => return None,
                    }
                }
                other => bytes.push(other),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, expected: &str) {
        let mut out = Vec::new();
        Json::parse(input.as_bytes()).expect(input).write(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn what_is_read_can_be_written_back() {
        check(
            r#" [0, "on", null, {"cid": 12, "amount":"-0.1"}] "#,
            r#"[0,"on",null,{"cid":12,"amount":"-0.1"}]"#,
        );
        check(
            r#"{"a":[],"b":{},"c":[true,false,1e-7]}"#,
            r#"{"a":[],"b":{},"c":[true,false,1e-7]}"#,
        );
        check(r#""a\"\\\n\u0001\u00e9""#, "\"a\\\"\\\\\\n\\u0001é\"");
    }

    #[test]
    fn garbage_is_refused_and_depth_is_bounded() {
        for text in
            ["", "[", "[1,]", "{\"a\"}", "nul", "[1]x", "\"abc", "{1:2}", "\"\\u12\"", "\"\\x\""]
        {
            assert_eq!(Json::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Json::parse(&vec![b'['; 1 << 20]), None);
        assert_eq!(Json::parse(b"\"\xff\""), None);
    }

    #[test]
    fn numbers_may_come_as_strings() {
        let value = Json::parse(br#"{"a":"0.5","b":-1.5e-3,"c":"17","d":-2,"e":null}"#).unwrap();
        assert_eq!(value.get("a").and_then(Json::units), Some(50_000_000));
        assert_eq!(value.get("b").and_then(Json::units), Some(-150_000));
        assert_eq!(value.get("c").and_then(Json::unsigned), Some(17));
        assert_eq!(value.get("d").and_then(Json::unsigned), None);
        assert_eq!(value.get("d").and_then(Json::integer), Some(-2));
        assert_eq!(value.given("e"), None);
    }
}
