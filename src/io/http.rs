//! What every HTTP transport of the REST plane takes and gives. Two stand behind it: `rest` (ureq,
//! HTTP/1.1) and, with the cargo feature `http2`, `rest_curl` (libcurl, HTTP/2 and 1.1).
//!
//! A transport makes one call and waits for it. It never repeats a call and never follows a
//! redirect: both are decisions of the layers above.

use crate::base::retry::RetryAfter;
use crate::base::time::SpanNs;
use crate::io::tls::{Trust, TrustError};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Longest answer head, bytes.
pub const HEAD_SIZE_MAX: usize = 32 * 1024;

/// Which HTTP to speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/2 where this build has it and the server offers it, else HTTP/1.1.
    #[default]
    Auto,
    V11,
    /// Offered first on https; spoken without asking on http. What was spoken stands in the reply.
    V2,
}

/// What one transport may do and how long.
#[derive(Clone, Debug)]
pub struct RestConfig {
    pub trust: Trust,
    /// Refuse every address that is not this machine's own.
    pub loopback_only: bool,
    pub user_agent: String,
    pub version: HttpVersion,
    /// Name to address.
    pub resolve_max: Duration,
    /// TCP and TLS together.
    pub connect_max: Duration,
    /// Request head and body.
    pub send_max: Duration,
    /// From the sent request to the answer's head.
    pub answer_max: Duration,
    /// From the answer's head to its end.
    pub read_max: Duration,
    /// The whole call, body included; a call may ask for less or more.
    pub total_max: Duration,
    /// Longest answer body, bytes.
    pub body_size_max: usize,
    /// Idle connections older than this are not used again. Servers often close after 60 s.
    pub idle_max: Duration,
}
impl Default for RestConfig {
    /// 10 s in total, bodies up to 8 MiB, connections kept for 50 s.
    fn default() -> Self {
        Self {
            trust: Trust::WebRoots,
            loopback_only: false,
            user_agent: "genesis".to_owned(),
            version: HttpVersion::Auto,
            resolve_max: Duration::from_secs(3),
            connect_max: Duration::from_secs(5),
            send_max: Duration::from_secs(5),
            answer_max: Duration::from_secs(8),
            read_max: Duration::from_secs(8),
            total_max: Duration::from_secs(10),
            body_size_max: 8 << 20,
            idle_max: Duration::from_secs(50),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
}

/// One call. The body is sent with POST only.
#[derive(Clone, Copy, Debug)]
pub struct RestRequest<'a> {
    pub method: Method,
    /// `http://…` or `https://…`, whole.
    pub url: &'a str,
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a [u8],
    /// Instead of the config's `total_max`.
    pub total_max: Option<Duration>,
}

/// What was spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spoken {
    /// No answer came.
    #[default]
    Unknown,
    Http11,
    Http2,
}
impl Spoken {
    pub const fn name(self) -> &'static str {
        match self {
            Spoken::Unknown => "",
            Spoken::Http11 => "1.1",
            Spoken::Http2 => "2",
        }
    }
}

/// Where the time of a call went, and its bytes. Spans of phases that did not happen are zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestTimings {
    /// Name to address.
    pub resolve: SpanNs,
    /// TCP.
    pub connect: SpanNs,
    pub tls: SpanNs,
    /// From the call to the request written.
    pub sent: SpanNs,
    /// From the call to the first byte of the answer.
    pub first_byte: SpanNs,
    pub total: SpanNs,
    /// No new connection was made.
    pub pooled: bool,
    /// Head and body, without what TLS and TCP add.
    pub bytes_out: u64,
    pub bytes_in: u64,
    pub spoken: Spoken,
}

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub struct RestReply {
    pub status: u16,
    pub body: Vec<u8>,
    pub content_type: String,
    pub etag: String,
    pub retry_after: Option<RetryAfter>,
    pub timings: RestTimings,
}

/// Whether the server may have acted on a call that failed. What decides if an order's outcome is
/// unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Not one byte of the request has left.
    No,
    Maybe,
}
/// What went wrong. Texts of libraries are not kept: nothing may branch on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestFault {
    /// The URL or a header cannot be sent.
    BadRequest,
    NotLoopback,
    Resolve,
    Connect,
    Tls,
    DeadlineResolve,
    DeadlineConnect,
    DeadlineSend,
    DeadlineAnswer,
    DeadlineTotal,
    /// The connection broke, or was shut down by `Stopper`.
    Broken(io::ErrorKind),
    /// Not HTTP.
    Protocol,
    /// The answer's head or body is longer than allowed.
    TooLong,
    /// Ended by a `Stopper`.
    Stopped,
    Other,
}
impl RestFault {
    /// Faults that come before the first byte of a request.
    pub const fn is_before_sending(self) -> bool {
        matches!(
            self,
            RestFault::BadRequest
                | RestFault::NotLoopback
                | RestFault::Resolve
                | RestFault::Connect
                | RestFault::Tls
                | RestFault::DeadlineResolve
                | RestFault::DeadlineConnect
        )
    }
    /// A word for records.
    pub const fn name(self) -> &'static str {
        match self {
            RestFault::BadRequest => "bad-request",
            RestFault::NotLoopback => "not-loopback",
            RestFault::Resolve => "resolve",
            RestFault::Connect => "connect",
            RestFault::Tls => "tls",
            RestFault::DeadlineResolve => "deadline-resolve",
            RestFault::DeadlineConnect => "deadline-connect",
            RestFault::DeadlineSend => "deadline-send",
            RestFault::DeadlineAnswer => "deadline-answer",
            RestFault::DeadlineTotal => "deadline-total",
            RestFault::Broken(_) => "broken",
            RestFault::Protocol => "protocol",
            RestFault::TooLong => "too-long",
            RestFault::Stopped => "stopped",
            RestFault::Other => "other",
        }
    }
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestError {
    pub fault: RestFault,
    pub sent: Sent,
    pub timings: RestTimings,
}
impl fmt::Display for RestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sent = if self.sent == Sent::No { "not sent" } else { "may have been sent" };
        write!(f, "{:?} ({sent}, after {} ms)", self.fault, self.timings.total.as_ms())
    }
}

/// Ends a call in flight from another thread, and all later ones of its transport.
#[derive(Clone)]
pub struct Stopper(Arc<dyn Fn() + Send + Sync>);
impl Stopper {
    pub(super) fn new(stop: impl Fn() + Send + Sync + 'static) -> Stopper {
        Stopper(Arc::new(stop))
    }
    pub fn stop(self) {
        (self.0)();
    }
}

/// One lane of calls. For calls at the same time make several.
pub trait Transport: Send {
    /// Makes the call and waits for the whole answer; every status is an answer. Blocks up to the
    /// deadline.
    ///
    /// # Errors
    /// `RestError`, which says whether the server may have acted.
    fn call(&mut self, request: &RestRequest<'_>) -> Result<RestReply, RestError>;
    /// To interrupt a call from another thread.
    fn stopper(&self) -> Stopper;
    /// For records.
    fn name(&self) -> &'static str;
}

/// Why there is no transport.
#[derive(Debug)]
pub enum TransportError {
    Trust(TrustError),
    /// HTTP/2 is asked for and this build has none.
    NoHttp2,
    /// The library or its thread could not be started.
    Start(io::Error),
}
impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TransportError::Trust(error) => write!(f, "{error}"),
            TransportError::NoHttp2 => f.write_str(
                "rest.http_version is 2, but this build has no HTTP/2: build with --features \
                 http2, or set rest.http_version = \"auto\"",
            ),
            TransportError::Start(error) => write!(f, "the HTTP transport cannot start: {error}"),
        }
    }
}
impl From<TrustError> for TransportError {
    fn from(error: TrustError) -> Self {
        TransportError::Trust(error)
    }
}

/// Makes lanes for one host or several.
pub enum Lanes {
    /// Each lane has connections of its own.
    Ureq(RestConfig),
    /// Lanes share connections; over HTTP/2 their calls travel side by side on one.
    #[cfg(feature = "http2")]
    Curl(super::rest_curl::CurlHub),
}
impl Lanes {
    /// # Errors
    /// See `TransportError`.
    pub fn new(config: &RestConfig) -> Result<Lanes, TransportError> {
        #[cfg(feature = "http2")]
        if config.version != HttpVersion::V11 {
            return Ok(Lanes::Curl(super::rest_curl::CurlHub::start(config)?));
        }
        if config.version == HttpVersion::V2 {
            return Err(TransportError::NoHttp2);
        }
        Ok(Lanes::Ureq(config.clone()))
    }
    /// # Errors
    /// See `TransportError`.
    pub fn lane(&self) -> Result<Box<dyn Transport>, TransportError> {
        Ok(match self {
            Lanes::Ureq(config) => Box::new(super::rest::RestTransport::new(config)?),
            #[cfg(feature = "http2")]
            Lanes::Curl(hub) => Box::new(hub.lane()),
        })
    }
}
