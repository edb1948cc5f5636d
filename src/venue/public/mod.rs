//! The public market-data session: what is asked for, what is told, and what is counted.

pub mod channel;
mod control;
pub mod decode;
mod session;
#[cfg(test)]
mod tests;

pub use session::PublicSession;

use super::book::Book;
use super::raw_book::RawBook;
use crate::base::ids::{SymbolId, TradeId};
use crate::base::time::WallNs;
use crate::base::units::{Px, Qty};
use crate::model::{
    Bar, BookView, ChannelKind, ChannelQuiet, DerivStatus, LinkState, SymbolSync, Ticker, Timeframe,
};

/// Flags of the `conf` message (protocol notes, 1.3); summed.
pub mod conf {
    /// Appends the server's time to every array frame, as its last element.
    pub const TIMESTAMP: u32 = 32_768;
    /// Appends sequence numbers.
    pub const SEQ_ALL: u32 = 65_536;
    /// Adds checksum frames to books.
    pub const OB_CHECKSUM: u32 = 131_072;
    /// Several book changes a frame.
    pub const BULK: u32 = 536_870_912;
}

/// Precision of a book channel: significant digits of its prices, or single orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    P0,
    P1,
    P2,
    P3,
    P4,
    R0,
}
impl Precision {
    pub const fn name(self) -> &'static str {
        match self {
            Precision::P0 => "P0",
            Precision::P1 => "P1",
            Precision::P2 => "P2",
            Precision::P3 => "P3",
            Precision::P4 => "P4",
            Precision::R0 => "R0",
        }
    }
}
/// How often a book channel speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frequency {
    /// With every change.
    F0,
    /// Every two seconds.
    F1,
}
impl Frequency {
    pub const fn name(self) -> &'static str {
        match self {
            Frequency::F0 => "F0",
            Frequency::F1 => "F1",
        }
    }
}

/// One channel that a session shall hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription {
    pub kind: ChannelKind,
    pub symbol: SymbolId,
    /// Books only.
    pub prec: Precision,
    /// Books only.
    pub freq: Frequency,
    /// Levels or orders a side: 1, 25, 100 or 250. Books only.
    pub len: u16,
    /// Candles only.
    pub timeframe: Option<Timeframe>,
    /// Data missing for longer is reported as quiet, ms; 0 = never.
    pub quiet_after_ms: u32,
}

impl Subscription {
    const fn plain(kind: ChannelKind, symbol: SymbolId) -> Self {
        Self {
            kind,
            symbol,
            prec: Precision::P0,
            freq: Frequency::F0,
            len: 0,
            timeframe: None,
            quiet_after_ms: 0,
        }
    }
    pub const fn book(symbol: SymbolId, prec: Precision, freq: Frequency, len: u16) -> Self {
        let kind =
            if matches!(prec, Precision::R0) { ChannelKind::RawBook } else { ChannelKind::Book };
        Self { prec, freq, len, ..Self::plain(kind, symbol) }
    }
    pub const fn trades(symbol: SymbolId) -> Self {
        Self::plain(ChannelKind::Trades, symbol)
    }
    pub const fn ticker(symbol: SymbolId) -> Self {
        Self::plain(ChannelKind::Ticker, symbol)
    }
    pub const fn candles(symbol: SymbolId, timeframe: Timeframe) -> Self {
        Self { timeframe: Some(timeframe), ..Self::plain(ChannelKind::Candles, symbol) }
    }
    pub const fn status(symbol: SymbolId) -> Self {
        Self::plain(ChannelKind::Status, symbol)
    }
    pub const fn quiet_after_ms(self, quiet_after_ms: u32) -> Self {
        Self { quiet_after_ms, ..self }
    }
    pub const fn is_book(&self) -> bool {
        matches!(self.kind, ChannelKind::Book | ChannelKind::RawBook)
    }
}

/// How a session behaves.
#[derive(Clone, Copy, Debug)]
pub struct PublicConfig {
    /// Sum of `conf::*`; 0 sends no `conf` message.
    pub flags: u32,
    /// A channel without heartbeat or data for this long means a dead socket. The venue's tick is
    /// 15,000 ms.
    pub hb_silence_ms: u64,
    /// From asking for a channel to its acknowledgement, and from there to a book's snapshot. 11 s
    /// were seen.
    pub subscribe_timeout_ms: u64,
    /// A channel whose data stay away this many times longer than its longest usual gap is asked
    /// for again, and its book not trusted meanwhile; 0 = never.
    pub hush_factor: u32,
    /// And at least this long.
    pub hush_ms: u64,
    /// Askings for one channel before the socket is given up.
    pub subscribe_attempts_max: u8,
    /// From the open socket to the first info frame.
    pub info_timeout_ms: u64,
    /// Between pings of ours; 0 = none. Pongs do not count as life of a channel.
    pub ping_interval_ms: u64,
    /// Resyncs of one channel within the window before the socket is given up; 1 … 8.
    pub resync_budget: u8,
    pub resync_window_ms: u64,
    /// Messages that are no JSON within the window before the socket is given up.
    pub malformed_budget: u32,
    pub malformed_window_ms: u64,
    /// A book that stays crossed for longer is resynced.
    pub crossed_after_ms: u64,
    /// From 20060 until 20061 must have come (the venue promises 120,000 ms).
    pub maintenance_timeout_ms: u64,
}
impl Default for PublicConfig {
    fn default() -> Self {
        Self {
            flags: conf::TIMESTAMP | conf::SEQ_ALL | conf::OB_CHECKSUM,
            hb_silence_ms: 35_000,
            subscribe_timeout_ms: 20_000,
            hush_factor: 0,
            hush_ms: 800,
            subscribe_attempts_max: 3,
            info_timeout_ms: 10_000,
            ping_interval_ms: 20_000,
            resync_budget: 3,
            resync_window_ms: 60_000,
            malformed_budget: 16,
            malformed_window_ms: 10_000,
            crossed_after_ms: 1_000,
            maintenance_timeout_ms: 180_000,
        }
    }
}

/// Why a session asks for a new socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReconnectReason {
    /// Info code 20051.
    ServerStopping,
    /// A frame is missing; which channel's cannot be known.
    SequenceGap,
    /// A channel without even heartbeats, or no info frame after the opening.
    Silence,
    /// Too much that is not the venue's language.
    Malformed,
    /// A channel was asked for in vain.
    SubscribeTimeout,
    /// A book that stays wrong.
    ResyncBudget,
    /// The server speaks another version.
    Version,
    /// The server refused our flags.
    ConfRefused,
    /// Maintenance without end.
    Maintenance,
    /// The venue refused the key; carries its code in the link event.
    AuthRefused,
    /// The nonce was too small: come again with a larger one.
    Nonce,
    /// No answer to `auth`.
    AuthTimeout,
}

/// One public trade. `qty` is signed: + the taker bought, − the taker sold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicTrade {
    pub id: TradeId,
    pub at: WallNs,
    pub qty: Qty,
    pub px: Px,
}

/// A book of either kind, lent to the sink.
#[derive(Clone, Copy)]
pub enum BookRef<'a> {
    Levels(&'a Book),
    Raw(&'a RawBook),
}
impl BookRef<'_> {
    #[inline(always)]
    pub fn view(&self, symbol: SymbolId, venue_at: WallNs, updates: u16) -> BookView {
        match self {
            BookRef::Levels(book) => book.view(symbol, venue_at, updates),
            BookRef::Raw(book) => book.view(symbol, venue_at, updates),
        }
    }
    #[inline(always)]
    pub fn is_synced(&self) -> bool {
        match self {
            BookRef::Levels(book) => book.is_synced(),
            BookRef::Raw(book) => book.is_synced(),
        }
    }
}

/// What a session tells, in the order of the wire. `market_time` of a frame comes before what the
/// frame says.
pub trait FeedSink {
    /// The symbol's first book channel of this session changed by `updates` rows, of which a
    /// snapshot is one.
    fn book(&mut self, symbol: SymbolId, book: BookRef<'_>, venue_at: WallNs, updates: u16);
    /// A further book channel of the same symbol changed.
    fn depth(&mut self, _subscription: &Subscription, _book: BookRef<'_>, _venue_at: WallNs) {}
    /// Each trade id once; `snapshot` = executed before the subscription, oldest first.
    fn trade(&mut self, symbol: SymbolId, trade: PublicTrade, snapshot: bool);
    fn ticker(&mut self, ticker: Ticker);
    fn status(&mut self, status: DerivStatus);
    /// A candle of the venue: forming or closed; `snapshot` = history, oldest first.
    fn candle(&mut self, bar: Bar, snapshot: bool);
    /// The symbol's tradability changed.
    fn sync(&mut self, sync: SymbolSync);
    fn quiet(&mut self, quiet: ChannelQuiet);
    fn link(&mut self, state: LinkState, code: i32);
    /// The TIMESTAMP of an array frame.
    fn market_time(&mut self, at: WallNs);
    /// Time between two data frames of one channel.
    fn ws_gap(&mut self, symbol: SymbolId, kind: ChannelKind, gap_ns: u64);
    /// The venue refused a channel for good, with its code.
    fn refused(&mut self, _subscription: &Subscription, _code: i32) {}
}

/// Everything a session counted since its construction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublicCounters {
    /// Messages of any kind.
    pub frames: u64,
    pub bytes: u64,
    pub events: u64,
    pub book_frames: u64,
    /// Rows of book frames after the snapshot.
    pub book_updates: u64,
    pub book_snapshots: u64,
    /// Deletes of levels or orders that were not there.
    pub book_delete_absent: u64,
    /// Frames after which a book was crossed.
    pub book_crossed: u64,
    pub trade_te: u64,
    pub trade_tu: u64,
    pub trade_snapshots: u64,
    /// Trades told to the sink: each id once.
    pub trades: u64,
    /// Copies that were not told again.
    pub trade_dups: u64,
    pub tickers: u64,
    pub statuses: u64,
    pub candles: u64,
    pub heartbeats: u64,
    /// Heartbeats of channels not acknowledged yet: normal.
    pub heartbeats_early: u64,
    pub crc_checked: u64,
    pub crc_failed: u64,
    /// Sequence numbers compared.
    pub seq_checked: u64,
    pub seq_gaps: u64,
    /// Well-formed messages of a kind or channel we do not know; kept in the recorder.
    pub unknown: u64,
    /// Well-formed messages of channels that somebody subscribed but not we.
    pub foreign: u64,
    /// Data of channels that are being left or wait for their snapshot.
    pub stale: u64,
    /// Messages that are not the venue's language; kept in the recorder.
    pub malformed: u64,
    /// Numbers with digits below 1e-8.
    pub rounded: u64,
    pub resyncs: u64,
    /// Channels asked for again because their data stayed away far longer than usual.
    pub hushes: u64,
    pub errors: u64,
    pub refused: u64,
    pub subscribe_timeouts: u64,
    pub infos: u64,
    pub pongs: u64,
    /// Last round trip of our ping, ns.
    pub ping_rtt_ns: u64,
}
