//! What a strategy wants. Never an order: ids, rounding, sizes and replacing are the engine's.

use super::{Level, Stamp, Trace};
use crate::base::ids::{StrategyId, SymbolId};
use crate::base::limits::MESSAGE_BYTES_MAX;
use crate::base::units::{Px, Qty};
use serde::{Deserialize, Serialize};

/// Why a strategy wants it; shown to people, counted, kept with the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Reason {
    Probe,
    Signal,
    SignalFlip,
    Quote,
    Requote,
    InventorySkew,
    StopLoss,
    TakeProfit,
    TrailingStop,
    StaleData,
    Unsynced,
    Disconnected,
    Rejected,
    Killed,
    Operator,
    Shutdown,
    /// A user's own strategy.
    Custom,
}

/// An edge for the engine's sizing: probability of `win`, both in 1e-4, moves in basis points,
/// horizon in bars.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Edge {
    pub p_e4: u16,
    pub win_bps: u16,
    pub loss_bps: u16,
    pub horizon_bars: u16,
}

/// Where one protective order of a bracket stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Guarded {
    /// There is none.
    #[default]
    Off,
    /// At this price.
    At(Px),
    /// So far from the position's average price, on the side where it belongs.
    Away(Px),
}

/// Protective orders for what an entry fills: a limit order that takes the profit and a stop that
/// bounds the loss, both reduce-only. The engine keeps each exactly as large as the position, and
/// takes both away with it. Ids, rounding, sizes and when they leave are the engine's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bracket {
    pub target: Guarded,
    pub stop: Guarded,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Urgency {
    /// Rest at the given price, never take (post-only).
    Passive,
    /// Limit at the given price; may take.
    Limit,
    /// Take now, inside the collar.
    Take,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Want {
    /// Hold this position (signed). The engine works out the difference to what it holds and has
    /// open.
    Target { qty: Qty, px: Px, urgency: Urgency },
    /// One order of this signed size, now: for probes and stops. `reduce` = may only shrink the
    /// position.
    Once { qty: Qty, px: Px, urgency: Urgency, reduce: bool },
    /// Keep at most one resting order a side at these prices; a zero quantity means no order on
    /// that side.
    Quote { bid: Level, ask: Level },
    /// Cancel own orders of the symbol.
    Cancel,
    /// Close the position of the symbol; cancels own orders first.
    Flatten,
    /// No order of its own: the intent's bracket takes the place of the one that protects the
    /// symbol's position now, as when a stop follows the price.
    Protect,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    /// Stamp of the event that caused it.
    pub cause: Stamp,
    pub trace: Trace,
    pub strategy: StrategyId,
    pub symbol: SymbolId,
    pub reason: Reason,
    pub want: Want,
    pub edge: Option<Edge>,
    /// Protects what the orders of this intent open. `None`: what stands already, stays.
    pub bracket: Option<Bracket>,
}
const _: () = assert!(std::mem::size_of::<Intent>() <= MESSAGE_BYTES_MAX);

/// Top of a book, for `risk`: the collar and the mark, without the depth it does not need.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    pub stamp: Stamp,
    pub symbol: SymbolId,
    pub synced: bool,
    pub bid: Level,
    pub ask: Level,
}

/// What `signal` hands to `risk`: the one input of that stage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Signal {
    /// Everything but book views passes through unchanged.
    Event(super::Event),
    Mark(Mark),
    Intent(Intent),
}
const _: () = assert!(std::mem::size_of::<Signal>() <= MESSAGE_BYTES_MAX + 8);
