//! What the socket server asks of the exchange behind it. The exchange itself knows no socket, no
//! clock and no thread; everything it is told carries the market's time.

use super::http::Method;
use crate::base::time::WallNs;
use std::time::Duration;

/// A REST call, as far as the exchange looks at it. All bytes are the client's, unchecked.
#[derive(Clone, Copy, Debug)]
pub struct RestRequest<'a> {
    pub method: Method,
    /// For instance `/v2/auth/r/orders?limit=1`.
    pub path_and_query: &'a str,
    /// Header `bfx-apikey`.
    pub api_key: Option<&'a str>,
    /// Header `bfx-nonce`.
    pub nonce: Option<&'a str>,
    /// Header `bfx-signature`.
    pub signature: Option<&'a str>,
    /// Header `bfx-token`.
    pub token: Option<&'a str>,
    /// Header `if-none-match`.
    pub if_none_match: Option<&'a str>,
    pub body: &'a [u8],
}

/// The exchange's answer to a REST call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestReply {
    /// HTTP status.
    pub status: u16,
    pub content_type: &'static str,
    pub body: Vec<u8>,
    /// Header `Retry-After`.
    pub retry_after_s: Option<u32>,
    /// Further headers, names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// Sent bit by bit instead of at once.
    pub pace: Option<Pace>,
}

impl RestReply {
    /// A reply without more headers, sent at once.
    pub fn new(status: u16, content_type: &'static str, body: Vec<u8>) -> RestReply {
        let headers = Vec::new();
        RestReply { status, content_type, body, retry_after_s: None, headers, pace: None }
    }
}

/// How slowly a reply is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Silence before the first byte.
    pub wait: Duration,
    /// From then on.
    pub bytes_per_s: u32,
}

/// What a script of faults asks of the exchange itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Nothing but cancels is taken.
    CancelOnly(bool),
    /// An info event with this code to everybody: 20051, 20060, 20061.
    Announce(u32),
}

/// Where the exchange's websocket messages go. Order is kept per connection.
pub trait Delivery {
    /// One text message for one websocket.
    fn text(&mut self, conn: u64, payload: &[u8]);
    /// Closes one websocket, behind what was sent to it so far.
    fn close(&mut self, conn: u64);
}

/// The exchange, as the server sees it. `conn` is never used twice in one run.
pub trait ExchangePort: Send + 'static {
    /// A websocket is open.
    fn connect(&mut self, conn: u64, now: WallNs);
    /// A websocket is gone. Not called for those the exchange closed before.
    fn disconnect(&mut self, conn: u64, now: WallNs);
    /// One text message of a client.
    fn on_text(&mut self, conn: u64, text: &[u8], now: WallNs);
    /// Whether a socket may become a websocket now; the refusal where not.
    fn admit(&mut self, _now: WallNs) -> Option<RestReply> {
        None
    }
    /// A change of what the exchange does.
    fn control(&mut self, _control: Control, _now: WallNs) {}
    /// One REST call.
    fn rest(&mut self, request: &RestRequest<'_>, now: WallNs) -> RestReply;
    /// When something happens by itself next; `None` where nothing will.
    fn next_at(&self) -> Option<WallNs>;
    /// Does what is due up to `now`, at most `steps_max` steps of it; returns the steps done.
    fn advance(&mut self, now: WallNs, steps_max: u32) -> u32;
    /// Hands over everything that waits to be sent.
    fn drain(&mut self, delivery: &mut impl Delivery);

    /// Time of the first recorded message; `None` for a market that follows the host's clock.
    fn market_start(&self) -> Option<WallNs>;
    /// False while a recording waits for subscribers; the market's clock stands still meanwhile.
    fn ready_to_start(&self) -> bool;
    /// A recording was played to its end.
    fn is_finished(&self) -> bool;

    /// Something that must survive a restart changed since the last [`Self::snapshot_state`].
    fn state_dirty(&self) -> bool;
    /// What must survive a restart: accounts, orders, positions, ids.
    fn snapshot_state(&mut self) -> Vec<u8>;
    /// Takes over what an earlier run wrote, before anything else happens.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    fn restore_state(&mut self, bytes: &[u8]) -> Result<(), String>;
}
