//! The in-repo exchange behind the server's port, and recordings from disk as its market. The
//! exchange knows neither sockets nor files; they meet here.

use super::http::Method;
use super::port::{Control, Delivery, ExchangePort, RestReply, RestRequest};
use crate::base::time::WallNs;
use crate::exchange::{CaptureSource, Exchange, HttpRequest, Outgoing, RecordedMessage};
use crate::io::capture::read_capture;
use std::fmt;
use std::path::{Path, PathBuf};

/// Why a recording cannot be the market.
#[derive(Debug)]
pub enum MarketError {
    /// The file cannot be read, or is cut off.
    File(crate::io::capture::CaptureError),
    /// It can be read, but holds nothing to play.
    Content { path: PathBuf, problem: crate::exchange::CaptureError },
}

impl fmt::Display for MarketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => error.fmt(f),
            Self::Content { path, problem } => write!(f, "recording {}: {problem}", path.display()),
        }
    }
}
impl std::error::Error for MarketError {}

/// Reads a recording, plain or gzip, in either of its two formats.
///
/// # Errors
/// What is wrong with the file, with its path.
pub fn open_recording(path: &Path) -> Result<CaptureSource, MarketError> {
    let capture = read_capture(path).map_err(MarketError::File)?;
    let messages = capture.messages.into_iter();
    let messages =
        messages.map(|message| RecordedMessage { at: message.at, text: message.text }).collect();
    CaptureSource::new(messages)
        .map_err(|problem| MarketError::Content { path: path.to_owned(), problem })
}

/// Carries the exchange's messages to the server's sockets.
struct Courier<'a, D: Delivery>(&'a mut D);

impl<D: Delivery> Outgoing for Courier<'_, D> {
    fn text(&mut self, conn: u64, payload: &[u8]) {
        self.0.text(conn, payload);
    }
    fn close(&mut self, conn: u64) {
        self.0.close(conn);
    }
}

impl ExchangePort for Exchange {
    fn connect(&mut self, conn: u64, now: WallNs) {
        Exchange::connect(self, conn, now);
    }
    fn disconnect(&mut self, conn: u64, now: WallNs) {
        Exchange::disconnect(self, conn, now);
    }
    fn on_text(&mut self, conn: u64, text: &[u8], now: WallNs) {
        Exchange::on_text(self, conn, text, now);
    }
    fn rest(&mut self, request: &RestRequest<'_>, now: WallNs) -> RestReply {
        let request = HttpRequest {
            method: match request.method {
                Method::Get => "GET",
                Method::Post => "POST",
            },
            path_and_query: request.path_and_query,
            api_key: request.api_key,
            nonce: request.nonce,
            signature: request.signature,
            token: request.token,
            if_none_match: request.if_none_match,
            body: request.body,
        };
        let reply = Exchange::rest(self, &request, now);
        let headers = reply.headers;
        RestReply { headers, ..RestReply::new(reply.status, reply.content_type, reply.body) }
    }
    fn control(&mut self, control: Control, now: WallNs) {
        match control {
            Control::CancelOnly(is_on) => self.set_cancel_only(is_on),
            Control::Announce(code) => self.announce(code, now),
        }
    }
    fn next_at(&self) -> Option<WallNs> {
        Exchange::next_at(self)
    }
    fn advance(&mut self, now: WallNs, steps_max: u32) -> u32 {
        Exchange::advance(self, now, steps_max)
    }
    fn drain(&mut self, delivery: &mut impl Delivery) {
        Exchange::drain(self, &mut Courier(delivery));
    }
    fn market_start(&self) -> Option<WallNs> {
        Exchange::market_start(self)
    }
    fn ready_to_start(&self) -> bool {
        Exchange::ready_to_start(self)
    }
    fn is_finished(&self) -> bool {
        Exchange::is_finished(self)
    }
    fn state_dirty(&self) -> bool {
        Exchange::state_dirty(self)
    }
    fn snapshot_state(&mut self) -> Vec<u8> {
        Exchange::snapshot_state(self)
    }
    fn restore_state(&mut self, bytes: &[u8]) -> Result<(), String> {
        Exchange::restore_state(self, bytes).map_err(|error| error.to_string())
    }
}
