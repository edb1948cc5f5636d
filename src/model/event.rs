//! Everything that can change a decision. One type, so that there is one ring and one order.

use super::{Currency, OrderFlags, OrderKind, OrderStatus, Stamp, Timeframe, Trace, WalletKind};
use crate::base::bounded::Text;
use crate::base::ids::{Cid, ConnId, OrderId, SymbolId, TradeId};
use crate::base::limits::{MESSAGE_BYTES_MAX, VIEW_LEVELS};
use crate::base::time::WallNs;
use crate::base::units::{Px, Qty};
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub stamp: Stamp,
    pub trace: Trace,
    pub body: Body,
}
const _: () = assert!(std::mem::size_of::<Event>() <= MESSAGE_BYTES_MAX);
impl Event {
    /// Time passed; caused by no frame.
    pub fn tick(stamp: Stamp) -> Self {
        Self { stamp, trace: Trace::default(), body: Body::Tick }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Body {
    // Market. `Book` and `Trades` may be conflated at the mouth; the rest never.
    Book(BookView),
    Trades(TradeAgg),
    Bar(Bar),
    Ticker(Ticker),
    Status(DerivStatus),
    /// The symbol's tradability changed.
    Sync(SymbolSync),
    /// A channel delivered nothing for longer than its threshold, or delivers again.
    Quiet(ChannelQuiet),
    // Links and time.
    Link(LinkEvent),
    Tick,
    // Private.
    Order(OrderUpdate),
    Ack(Ack),
    Fill(Fill),
    Position(PositionUpdate),
    Wallet(WalletUpdate),
    Snapshot(SnapshotMark),
    Report(SendReport),
    Operator(OperatorCommand),
    /// Something about the venue that decides what may be sent, learned beside the sockets.
    Venue(VenueFact),
}

impl Body {
    /// True for what the mouth may replace by something newer when the ring is full.
    pub const fn is_conflatable(&self) -> bool {
        matches!(self, Body::Book(_) | Body::Trades(_))
    }
}

/// One price level: `qty` is unsigned here, the side is told by the list it stands in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    pub px: Px,
    pub qty: Qty,
}

/// The best levels of a book after one or more changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookView {
    /// The venue's time of the newest change, if it sends one (conf flag TIMESTAMP); else 0.
    pub venue_at: WallNs,
    pub bids: [Level; VIEW_LEVELS],
    pub asks: [Level; VIEW_LEVELS],
    pub symbol: SymbolId,
    pub bid_count: u8,
    pub ask_count: u8,
    /// Book changes merged into this view, saturating.
    pub updates: u16,
    /// Book imbalance over the levels shown, (bid − ask) / (bid + ask), in 1e-4; −10,000 … 10,000.
    pub imbalance_e4: i16,
    /// False between a gap or a failed checksum and the next snapshot: not tradable.
    pub synced: bool,
}
impl BookView {
    pub const fn bid(&self) -> Option<Level> {
        if self.bid_count > 0 { Some(self.bids[0]) } else { None }
    }
    pub const fn ask(&self) -> Option<Level> {
        if self.ask_count > 0 { Some(self.asks[0]) } else { None }
    }
    /// Middle of best bid and ask, rounded down; `None` when a side is empty.
    pub fn mid(&self) -> Option<Px> {
        match (self.bid(), self.ask()) {
            (Some(b), Some(a)) => Some(Px::from_raw(
                (b.px.raw() >> 1) + (a.px.raw() >> 1) + (b.px.raw() & a.px.raw() & 1),
            )),
            _ => None,
        }
    }
}

/// One or more public trades of one symbol, merged; never across a bar's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TradeAgg {
    pub symbol: SymbolId,
    /// Trades merged into this one, from 1.
    pub count: u32,
    pub first_id: TradeId,
    pub last_id: TradeId,
    /// Venue time of the last trade.
    pub last_at: WallNs,
    pub last: Px,
    pub high: Px,
    pub low: Px,
    /// Taker bought.
    pub buy_qty: Qty,
    /// Taker sold, positive.
    pub sell_qty: Qty,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BarSource {
    /// Built here from `te`.
    Trades,
    /// Built here from `te`, but a part of its span was not heard: the first bar of a run, one with
    /// a gap.
    TradesPartial,
    /// Read once at start (REST history).
    History,
    /// The venue's candle channel.
    Candles,
}

/// A closed bar. A minute without a trade makes no bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bar {
    pub symbol: SymbolId,
    pub timeframe: Timeframe,
    pub source: BarSource,
    /// Start of the bar.
    pub open_at: WallNs,
    pub open: Px,
    pub high: Px,
    pub low: Px,
    pub close: Px,
    pub volume: Qty,
    pub trades: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticker {
    pub symbol: SymbolId,
    pub bid: Px,
    /// Sum of the 25 best bids.
    pub bid_qty: Qty,
    pub ask: Px,
    pub ask_qty: Qty,
    pub last: Px,
    pub volume_day: Qty,
    pub high_day: Px,
    pub low_day: Px,
}

/// Status of a derivative. Prices are rounded to 1e-8; rates are in 1e-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DerivStatus {
    pub symbol: SymbolId,
    pub at: WallNs,
    pub deriv_px: Px,
    pub spot_px: Px,
    pub mark_px: Px,
    pub funding_rate: i64,
    pub next_funding_at: WallNs,
    pub open_interest: Qty,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum SyncState {
    Synced,
    /// Subscribed, snapshot not here yet.
    AwaitingSnapshot,
    ChecksumFailed,
    SequenceGap,
    Disconnected,
    Maintenance,
    /// An entry that cannot be: a number out of range, a level that overflows the book.
    Malformed,
    Crossed,
    /// The channel delivered not even heartbeats.
    Silent,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SymbolSync {
    pub symbol: SymbolId,
    pub state: SyncState,
    /// How long it was out of sync, ns; 0 unless `Synced`.
    pub out_of_sync_ns: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum ChannelKind {
    Book,
    RawBook,
    Trades,
    Ticker,
    Candles,
    Status,
}
impl ChannelKind {
    /// The word in reports and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            ChannelKind::Book => "book",
            ChannelKind::RawBook => "raw_book",
            ChannelKind::Trades => "trades",
            ChannelKind::Ticker => "ticker",
            ChannelKind::Candles => "candles",
            ChannelKind::Status => "status",
        }
    }
}
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelQuiet {
    pub symbol: SymbolId,
    pub kind: ChannelKind,
    /// True: data stopped; false: data is back.
    pub quiet: bool,
    pub gap_ms: u64,
    /// What the snapshot that ended the silence proves to have been withheld: trades, or 1 for a
    /// book that is another one by now. 0: nothing, the market may have been calm.
    pub missed: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum LinkState {
    /// The socket is open and the handshake done.
    Up,
    /// The account stream is authenticated.
    Authenticated,
    AuthFailed,
    Down,
    MaintenanceStarted,
    MaintenanceEnded,
    /// REST reads of the start or of a reconcile are all answered.
    Reconciled,
    /// They could not be answered; carries a venue or HTTP code.
    ReconcileFailed,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkEvent {
    pub conn: ConnId,
    /// True for the socket that carries orders.
    pub trading: bool,
    pub state: LinkState,
    /// Venue code or close reason number, 0 if none.
    pub code: i32,
}

/// What REST learned of the venue, for the risk stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VenueFact {
    /// Orders and cancels by REST do not get through: the second way out is gone, so no new order
    /// goes in by the first.
    OrderEntryDown,
    OrderEntryUp,
    /// No longer tradable: what is held may be closed, nothing new is opened.
    Delisted(SymbolId),
    /// Tradable again.
    Listed(SymbolId),
    /// Orders from so small to so large from now on.
    Sizes {
        symbol: SymbolId,
        qty_min: Qty,
        qty_max: Qty,
    },
}

/// Where a private fact was learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum Source {
    Snapshot,
    New,
    Update,
    Closed,
    RestOpen,
    RestHistory,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderUpdate {
    pub source: Source,
    pub kind: OrderKind,
    pub status: OrderStatus,
    pub wallet: WalletKind,
    /// `SymbolId(u16::MAX)` where the symbol is not in this run's table.
    pub symbol: SymbolId,
    pub id: OrderId,
    pub gid: u64,
    pub cid: Cid,
    pub created_at: WallNs,
    pub updated_at: WallNs,
    /// Signed, what is left.
    pub remaining: Qty,
    /// Signed, as first asked.
    pub original: Qty,
    pub px: Px,
    pub px_avg: Px,
    pub flags: OrderFlags,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum AckOf {
    New,
    Update,
    Cancel,
    CancelMulti,
    Other,
}
/// Why the venue said no, as far as its text tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum Refusal {
    None,
    InvalidPrice,
    InvalidAmount,
    MinimumSize,
    Balance,
    InvalidCid,
    DuplicateCid,
    NotFound,
    RateLimit,
    Permission,
    Maintenance,
    Nonce,
    ReduceOnly,
    Other,
}
/// A notification `n`: the venue took or refused a request. Not the order's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    pub of: AckOf,
    /// Only `SUCCESS` counts as success.
    pub success: bool,
    pub refusal: Refusal,
    pub symbol: SymbolId,
    pub id: OrderId,
    pub cid: Cid,
}

/// An own trade. `te` has no fee yet, `tu` and REST do; the ledger counts each id once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fill {
    pub trade: TradeId,
    pub symbol: SymbolId,
    pub order: OrderId,
    pub cid: Cid,
    pub at: WallNs,
    /// Signed.
    pub qty: Qty,
    pub px: Px,
    pub maker: Option<bool>,
    /// Negative = charged, in units of 1e-8 of the currency beside it.
    pub fee: Option<i64>,
    pub fee_currency: Currency,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PositionUpdate {
    pub source: Source,
    pub symbol: SymbolId,
    /// Signed; zero with `source = Closed`.
    pub qty: Qty,
    pub base_px: Px,
    /// The venue's own P&L, 1e-8 of quote; `None` = not computed.
    pub pnl: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalletUpdate {
    pub source: Source,
    /// `None` for the funding wallet.
    pub kind: Option<WalletKind>,
    pub currency: Currency,
    /// Units of 1e-8 of `currency`.
    pub balance: i64,
    /// `None` = not computed, which is not zero.
    pub available: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum SnapshotOf {
    Orders,
    Positions,
    Wallets,
    RestOrders,
    RestHistory,
    RestTrades,
    RestPositions,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotMark {
    pub of: SnapshotOf,
    /// True at its end.
    pub end: bool,
    pub count: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum SendOutcome {
    /// All bytes are in the kernel.
    Written,
    /// Refused at the door, nothing left: the latch forbids the command's class.
    LatchForbids,
    /// Older than `order_age_max`.
    TooOld,
    /// No authenticated socket.
    LinkDown,
    /// The write-ahead record could not be made.
    JournalFull,
    /// The write failed in the middle: the outcome is unknown.
    Broken,
    /// Refused at the door: its client id is not above every one that left before.
    Repeated,
}
impl SendOutcome {
    /// The word in reports and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            SendOutcome::Written => "written",
            SendOutcome::LatchForbids => "latch_forbids",
            SendOutcome::TooOld => "too_old",
            SendOutcome::LinkDown => "link_down",
            SendOutcome::JournalFull => "journal_full",
            SendOutcome::Broken => "broken",
            SendOutcome::Repeated => "repeated",
        }
    }
}
/// What `send` did with a command, told back through the front.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendReport {
    pub outcome: SendOutcome,
    pub of: AckOf,
    pub symbol: SymbolId,
    pub cid: Cid,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum OperatorVerb {
    /// No new entries; exits are managed on.
    Pause,
    Resume,
    /// Cancel all own orders.
    CancelAll,
    /// Close all own positions, entries blocked first.
    Flatten,
    /// Latch, cancel, close, stay halted.
    Kill,
    /// Graceful stop: no new orders, cancel own, keep positions.
    Stop,
    /// Graceful stop that also flattens.
    StopFlatten,
    Reset,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorCommand {
    pub verb: OperatorVerb,
    /// `None` = all symbols.
    pub symbol: Option<SymbolId>,
    pub reason: Text<48>,
}
impl OperatorCommand {
    /// A reset. One without a reason is none.
    pub fn is_reset(&self) -> bool {
        self.verb == OperatorVerb::Reset && !self.reason.is_empty()
    }
}

/// Marks a symbol that is not in this run's table.
pub const SYMBOL_FOREIGN: SymbolId = SymbolId(u16::MAX);

impl TradeAgg {
    /// One trade; the sign of `qty` is the taker's direction.
    pub const fn one(symbol: SymbolId, id: TradeId, at: WallNs, px: Px, qty: Qty) -> Self {
        let sold = qty.raw() < 0;
        Self {
            symbol,
            count: 1,
            first_id: id,
            last_id: id,
            last_at: at,
            last: px,
            high: px,
            low: px,
            buy_qty: if sold { Qty::ZERO } else { qty },
            sell_qty: if sold { qty.abs() } else { Qty::ZERO },
        }
    }
}
