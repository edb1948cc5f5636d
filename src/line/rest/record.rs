//! One record of a call, whatever became of it: what was asked, why, how long each part took, what
//! came back. No body, no header, no key.

use super::job::{KeyRole, Priority, Reason};
use super::table::Side;
use crate::base::time::{SpanNs, WallNs};
use serde::{Serialize, Serializer};

/// Longest word of the venue that a record keeps, characters: keys and signatures are longer.
const WORD_MAX: usize = 32;
/// Longest text of the venue that a record keeps, bytes.
const TEXT_MAX: usize = 160;

/// A try of a call. Names are stable: never renamed, only added to. Spans of phases that did not
/// happen are zero.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CallRecord {
    /// When it ended.
    #[serde(rename = "at_ms", serialize_with = "wall_ms")]
    pub at: WallNs,
    pub side: Side,
    /// Row of the table of limits.
    pub endpoint: &'static str,
    pub reason: Reason,
    pub priority: Priority,
    /// Absent: public.
    pub role: Option<KeyRole>,
    /// 1 for the first try.
    pub attempt: u32,
    /// It will be made again.
    pub again: bool,
    /// By the budget of cancels, past a breaker or a block.
    pub probe: bool,
    /// 0: no answer.
    pub status: u16,
    /// The venue's error code, 0 if none.
    pub venue_code: i32,
    pub venue_text: String,
    /// Of the transport; empty where an answer came.
    pub fault: &'static str,
    /// The venue may have acted, though no answer came.
    pub maybe_sent: bool,
    #[serde(rename = "retry_after_ms", serialize_with = "span_ms_or_null")]
    pub retry_after: Option<SpanNs>,
    /// In the queue, from the request or the end of its last try.
    #[serde(rename = "wait_ms", serialize_with = "span_ms")]
    pub wait: SpanNs,
    #[serde(rename = "dns_ms", serialize_with = "span_ms")]
    pub resolve: SpanNs,
    #[serde(rename = "connect_ms", serialize_with = "span_ms")]
    pub connect: SpanNs,
    #[serde(rename = "tls_ms", serialize_with = "span_ms")]
    pub tls: SpanNs,
    /// From the call to the request written.
    #[serde(rename = "sent_ms", serialize_with = "span_ms")]
    pub sent: SpanNs,
    /// From the call to the answer's first byte.
    #[serde(rename = "first_byte_ms", serialize_with = "span_ms")]
    pub first_byte: SpanNs,
    #[serde(rename = "total_ms", serialize_with = "span_ms")]
    pub total: SpanNs,
    pub bytes_out: u64,
    pub bytes_in: u64,
    pub pooled: bool,
    /// `1.1`, `2`, or empty without an answer.
    pub http: &'static str,
    pub transport: &'static str,
}

impl CallRecord {
    /// An answer that is no error.
    pub const fn is_good(&self) -> bool {
        self.status != 0 && self.venue_code == 0 && (self.status < 400)
    }
}

fn wall_ms<S: Serializer>(at: &WallNs, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_i64(at.as_ms())
}
fn span_ms<S: Serializer>(span: &SpanNs, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_f64(span.0 as f64 / 1e6)
}
fn span_ms_or_null<S: Serializer>(span: &Option<SpanNs>, s: S) -> Result<S::Ok, S::Error> {
    match span {
        Some(span) => span_ms(span, s),
        None => s.serialize_none(),
    }
}

/// Who keeps records.
pub trait RecordSink: Send {
    fn record(&mut self, record: &CallRecord);
}
/// Nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoRecords;
impl RecordSink for NoRecords {
    fn record(&mut self, _: &CallRecord) {}
}

/// What of a foreign text may be kept and shown: printable, of a bounded length, and without words
/// so long that they could be a key or a signature sent back to us.
pub fn safe_text(text: &str) -> String {
    let plain: String =
        text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect();
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '/' | '=');
    let mut out = String::new();
    let mut word = String::new();
    for c in plain.chars().chain([' ']) {
        if is_word(c) {
            word.push(c);
            continue;
        }
        out.push_str(if word.len() > WORD_MAX { "(hidden)" } else { &word });
        word.clear();
        out.push(c);
    }
    out.truncate(TEXT_MAX);
    out.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_made_harmless() {
        for (text, expected) in [
            ("nonce: small", "nonce: small"),
            ("a\u{1b}[31mb\r\nc", "a?[31mb??c"),
            ("key 0123456789abcdef0123456789abcdef0 is bad", "key (hidden) is bad"),
            ("", ""),
        ] {
            assert_eq!(safe_text(text), expected);
        }
        assert_eq!(safe_text(&"ab ".repeat(1_000)).len(), TEXT_MAX);
    }
}
