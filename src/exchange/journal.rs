//! The journal: everything an exchange is told, in order. An exchange of the same set-up and market
//! that is told it again has the same state and says the same.
//!
//! Each entry has a length, its bytes and a CRC, so that a journal cut anywhere is read up to the
//! cut. Secrets are not in it: clients send signatures.

use super::checksum::crc32;
use super::rest::HttpRequest;
use super::{Exchange, WallNs};
use serde::{Deserialize, Serialize};

/// One call of the exchange.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Input<'a> {
    Connect(u64),
    Disconnect(u64),
    Text(u64, &'a [u8]),
    Rest(Call<'a>),
    /// Steps at most.
    Advance(u32),
    Announce(u32),
    CancelOnly(bool),
    HangUpAll,
}

/// A REST call as it was sent.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Call<'a> {
    method: &'a str,
    path_and_query: &'a str,
    api_key: Option<&'a str>,
    nonce: Option<&'a str>,
    signature: Option<&'a str>,
    token: Option<&'a str>,
    if_none_match: Option<&'a str>,
    body: &'a [u8],
}

impl<'a> Call<'a> {
    pub fn of(request: &HttpRequest<'a>) -> Call<'a> {
        let HttpRequest { method, path_and_query, api_key, nonce, .. } = *request;
        let HttpRequest { signature, token, if_none_match, body, .. } = *request;
        Call { method, path_and_query, api_key, nonce, signature, token, if_none_match, body }
    }
    fn request(&self) -> HttpRequest<'a> {
        let Call { method, path_and_query, api_key, nonce, .. } = *self;
        let Call { signature, token, if_none_match, body, .. } = *self;
        HttpRequest {
            method,
            path_and_query,
            api_key,
            nonce,
            signature,
            token,
            if_none_match,
            body,
        }
    }
}

/// Bytes before each entry: its length and its CRC-32, little-endian.
const HEAD_SIZE: usize = 8;

/// How a replay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// Entries played.
    pub entries: u64,
    /// Bytes of the journal that were whole.
    pub size: usize,
    /// Something behind them was not.
    pub is_cut: bool,
}

/// What was told and not taken away yet.
#[derive(Debug, Default)]
pub(super) struct Journal {
    pub bytes: Vec<u8>,
}

impl Journal {
    pub fn push(&mut self, now: WallNs, input: &Input<'_>) {
        // Plain data in memory always serializes.
        let entry = postcard::to_stdvec(&(now, input)).unwrap_or_default();
        self.bytes.extend_from_slice(&(entry.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(&crc32(&entry).to_le_bytes());
        self.bytes.extend_from_slice(&entry);
    }
}

/// The first whole entry, and the bytes it takes.
fn first_entry(bytes: &[u8]) -> Option<(WallNs, Input<'_>, usize)> {
    let head: [u8; HEAD_SIZE] = bytes.get(..HEAD_SIZE)?.try_into().ok()?;
    let [a, b, c, d, sum @ ..] = head;
    let size = u32::from_le_bytes([a, b, c, d]) as usize;
    let entry = bytes.get(HEAD_SIZE..HEAD_SIZE.checked_add(size)?)?;
    if crc32(entry) != u32::from_le_bytes(sum) {
        return None;
    }
    let (now, input) = postcard::from_bytes(entry).ok()?;
    Some((now, input, HEAD_SIZE + size))
}

impl Exchange {
    /// Writes down from now on what the exchange is told; [`Self::take_journal`] takes it away.
    pub fn keep_journal(&mut self) {
        self.journal.get_or_insert_default();
    }
    /// What was told since the last call.
    pub fn take_journal(&mut self) -> Vec<u8> {
        self.journal.as_mut().map_or_else(Vec::new, |journal| std::mem::take(&mut journal.bytes))
    }
    /// Tells a fresh exchange what another one was told.
    pub fn replay_journal(&mut self, bytes: &[u8]) -> Replayed {
        let mut replayed = Replayed { entries: 0, size: 0, is_cut: false };
        while let Some((now, input, size)) = first_entry(&bytes[replayed.size..]) {
            match input {
                Input::Connect(conn) => self.connect(conn, now),
                Input::Disconnect(conn) => self.disconnect(conn, now),
                Input::Text(conn, text) => self.on_text(conn, text, now),
                Input::Rest(call) => drop(self.rest(&call.request(), now)),
                Input::Advance(steps_max) => drop(self.advance(now, steps_max)),
                Input::Announce(code) => self.announce(code, now),
                Input::CancelOnly(is_on) => self.set_cancel_only(is_on),
                Input::HangUpAll => self.hang_up_all(now),
            }
            replayed.entries += 1;
            replayed.size += size;
        }
        replayed.is_cut = replayed.size < bytes.len();
        replayed
    }
    pub(super) fn note_input(&mut self, now: WallNs, input: &Input<'_>) {
        if let Some(journal) = &mut self.journal {
            journal.push(now, input);
        }
    }
}
