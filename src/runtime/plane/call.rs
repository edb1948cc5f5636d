//! What is asked of the plane, and what it answers.

use crate::io::http::{Method, RestFault};
use crate::line::rest::job::rules_of;
use crate::line::rest::orders::Failure;
use crate::line::rest::record::safe_text;
use crate::line::rest::{DropReason, KeyRole, Outcome, Priority, Reason, Refused, Repeat};
use crate::venue::encode::EncodeError;
use crate::venue::errors::RestError as VenueError;
use crate::venue::rest::{Method as VenueMethod, RestCall};
use crate::venue::symbols::SymbolTable;
use std::fmt;
use std::time::Duration;

/// Longest path, and longest body, of a call of the venue's grammar, bytes.
const CALL_TEXT_MAX: usize = 1_024;

/// Deadline of a try of a cancel: cancels of one key go one after the other, and the next may be
/// for another order.
const CANCEL_TOTAL_MAX: Duration = Duration::from_secs(3);

/// A call that somebody wants made.
#[derive(Clone, Debug)]
pub struct PlaneCall {
    pub method: Method,
    /// Behind `/v2/`, with its query.
    pub path: String,
    pub body: Vec<u8>,
    pub priority: Priority,
    /// Key; `None` = public.
    pub role: Option<KeyRole>,
    pub repeat: Repeat,
    pub reason: Reason,
    /// It starts within this time or never.
    pub fresh_for: Duration,
    /// Deadline of one try; `None` = the transport's own.
    pub total_max: Option<Duration>,
    /// ETag of what is known already.
    pub if_none_match: Option<String>,
}

impl PlaneCall {
    /// A call of the venue's grammar, with the priority and the key that its reason gives it.
    ///
    /// # Errors
    /// It has no text: an unknown symbol, or no id.
    pub fn of(
        call: &RestCall,
        reason: Reason,
        table: &SymbolTable,
        fresh_for: Duration,
    ) -> Result<PlaneCall, EncodeError> {
        let mut text = [0; CALL_TEXT_MAX];
        let len = call.write_path(table, &mut text)?;
        let path = String::from_utf8_lossy(&text[..len]).into_owned();
        let len = call.write_body(table, &mut text)?;
        let (priority, role, repeat) = rules_of(call, reason);
        let method = match call.method() {
            VenueMethod::Get => Method::Get,
            VenueMethod::Post => Method::Post,
        };
        Ok(PlaneCall {
            method,
            path,
            body: text[..len].to_vec(),
            priority,
            role,
            repeat,
            reason,
            fresh_for,
            total_max: (priority == Priority::Cancel).then_some(CANCEL_TOTAL_MAX),
            if_none_match: None,
        })
    }
    /// A public read.
    pub fn public(path: &str, reason: Reason, fresh_for: Duration) -> PlaneCall {
        PlaneCall {
            method: Method::Get,
            path: path.to_owned(),
            body: Vec::new(),
            priority: Priority::Metadata,
            role: None,
            repeat: Repeat::Freely,
            reason,
            fresh_for,
            total_max: None,
            if_none_match: None,
        }
    }
}

/// An answer without error. `status` is 200, or 304 where `if_none_match` was given.
#[derive(Clone, Debug)]
pub struct PlaneReply {
    pub status: u16,
    pub body: Vec<u8>,
    pub etag: String,
    /// Tries made.
    pub attempts: u32,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlaneError {
    /// Not taken.
    Refused(Refused),
    /// No key for the role.
    NoKey,
    /// Taken and not made, or not made again; how the last try ended, if there was one.
    Dropped { why: DropReason, last: Option<Outcome> },
    /// The venue's error.
    Venue(VenueError),
    /// No whole answer. `maybe_sent`: the venue may have acted.
    NoAnswer { fault: RestFault, maybe_sent: bool },
    /// No nonce could be had; nothing was sent.
    NoNonce,
    /// The plane ended. A call in flight may have acted.
    Stopped,
}
impl PlaneError {
    /// What it means for an order.
    pub fn failure(&self) -> Failure {
        match self {
            PlaneError::Refused(_) | PlaneError::NoKey | PlaneError::NoNonce => Failure::NotMade,
            PlaneError::Dropped { last, .. } => Failure::Dropped { last: *last },
            PlaneError::Venue(error) => Failure::Venue(*error),
            PlaneError::NoAnswer { maybe_sent, .. } => {
                Failure::NoAnswer { maybe_sent: *maybe_sent }
            }
            PlaneError::Stopped => Failure::Stopped,
        }
    }
}
impl fmt::Display for PlaneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PlaneError::Refused(Refused::QueueFull) => f.write_str("too many calls wait already"),
            PlaneError::Refused(Refused::EntryBlocked) => {
                f.write_str("order entry is blocked: the venue does not answer")
            }
            PlaneError::Refused(Refused::MarketData) => {
                f.write_str("market data comes by websocket, not by REST")
            }
            PlaneError::Refused(Refused::Stale) => f.write_str("too old to be sent"),
            PlaneError::Refused(Refused::Stopping) => f.write_str("REST is stopping"),
            PlaneError::NoKey => f.write_str("no API key is loaded for this call"),
            PlaneError::Dropped { why: DropReason::Stale, last } => {
                write!(f, "it could not be sent in time")?;
                match last {
                    Some(last) => write!(f, " again (last try: {last:?})"),
                    None => Ok(()),
                }
            }
            PlaneError::Dropped { why, .. } => write!(f, "dropped: {why:?}"),
            PlaneError::Venue(error) => {
                let (code, text) = (error.code, safe_text(error.text.as_str()));
                write!(f, "the venue answered HTTP {} {:?}", error.status, error.kind)?;
                if code != 0 || !text.is_empty() {
                    write!(f, " ({code} {text})")?;
                }
                Ok(())
            }
            PlaneError::NoAnswer { fault, maybe_sent } => {
                let sent = if *maybe_sent { "it may have been sent" } else { "nothing was sent" };
                write!(f, "no answer: {} ({sent})", fault.name())
            }
            PlaneError::NoNonce => f.write_str("no nonce could be had; nothing was sent"),
            PlaneError::Stopped => f.write_str("REST has stopped"),
        }
    }
}
