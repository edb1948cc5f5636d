//! The last good copy as bytes, for a start without the venue. Files are the caller's.
//!
//! One line of head (`genesis-registry`, version, checksum, time, ETag), then JSON.

use super::{CurrencyRow, Pair, Registry};
use crate::base::time::{SpanNs, WallNs};
use serde::{Deserialize, Serialize};
use std::fmt;

const MAGIC: &str = "genesis-registry";
const VERSION: &str = "1";

/// Why a copy is not used. The registry is then fetched anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SavedError {
    /// Not a copy of a registry.
    NotOurs,
    /// Of another version of this program.
    Version,
    /// Its checksum does not fit, or it is cut short.
    Damaged,
}
impl fmt::Display for SavedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SavedError::NotOurs => "it is not a saved list of pairs; it is fetched anew",
            SavedError::Version => "it is of another version of genesis; it is fetched anew",
            SavedError::Damaged => "it is damaged (its checksum does not fit); it is fetched anew",
        })
    }
}

/// A copy that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Saved {
    pub registry: Registry,
    pub fetched_at: WallNs,
    pub etag: String,
}
impl Saved {
    /// How old the copy is; negative where the clock was set back since.
    pub fn age(&self, wall: WallNs) -> SpanNs {
        wall - self.fetched_at
    }
}

#[derive(Serialize)]
struct RowsOut<'a> {
    pairs: &'a [Pair],
    currencies: &'a [CurrencyRow],
}
#[derive(Deserialize)]
struct RowsIn {
    pairs: Vec<Pair>,
    currencies: Vec<CurrencyRow>,
}

/// The bytes of a copy.
pub fn to_bytes(registry: &Registry, fetched_at: WallNs, etag: &str) -> Vec<u8> {
    let rows = RowsOut { pairs: registry.pairs(), currencies: registry.currencies() };
    // Plain rows of numbers and text: there is nothing in them that JSON cannot hold.
    let rows = sonic_rs::to_string(&rows).unwrap_or_default();
    let etag: String = etag.chars().filter(char::is_ascii_graphic).take(200).collect();
    let facts = format!("{} {etag}", fetched_at.as_ms());
    let sum = crc32fast::hash(format!("{facts}\n{rows}").as_bytes());
    format!("{MAGIC} {VERSION} {sum:08x} {facts}\n{rows}").into_bytes()
}

/// Reads a copy.
///
/// # Errors
/// See `SavedError`.
pub fn from_bytes(bytes: &[u8]) -> Result<Saved, SavedError> {
    let text = std::str::from_utf8(bytes).map_err(|_| SavedError::NotOurs)?;
    let rest = text.strip_prefix(MAGIC).and_then(|rest| rest.strip_prefix(' '));
    let (version, rest) = rest.and_then(|r| r.split_once(' ')).ok_or(SavedError::NotOurs)?;
    if version != VERSION {
        return Err(SavedError::Version);
    }
    let (sum, rest) = rest.split_once(' ').ok_or(SavedError::Damaged)?;
    if u32::from_str_radix(sum, 16) != Ok(crc32fast::hash(rest.as_bytes())) {
        return Err(SavedError::Damaged);
    }
    let (facts, rows) = rest.split_once('\n').ok_or(SavedError::Damaged)?;
    let (ms, etag) = facts.split_once(' ').ok_or(SavedError::Damaged)?;
    let ms: i64 = ms.parse().map_err(|_| SavedError::Damaged)?;
    let rows: RowsIn = sonic_rs::from_str(rows).map_err(|_| SavedError::Damaged)?;
    if rows.pairs.is_empty() {
        return Err(SavedError::Damaged);
    }
    let registry = Registry::new(rows.pairs, rows.currencies);
    Ok(Saved { registry, fetched_at: WallNs::from_ms(ms), etag: etag.to_owned() })
}
