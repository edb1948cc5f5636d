//! What an order is, in the venue's terms but without its text.

use serde::{Deserialize, Serialize};

/// Order type without the wallet prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum OrderKind {
    Limit,
    Market,
    Stop,
    StopLimit,
    TrailingStop,
    Fok,
    Ioc,
}

/// Flags of an order; `bits` are the venue's (protocol notes, section 3.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderFlags(pub u32);
impl OrderFlags {
    pub const NONE: OrderFlags = OrderFlags(0);
    pub const HIDDEN: OrderFlags = OrderFlags(64);
    pub const CLOSE: OrderFlags = OrderFlags(512);
    pub const REDUCE_ONLY: OrderFlags = OrderFlags(1024);
    pub const POST_ONLY: OrderFlags = OrderFlags(4096);
    pub const OCO: OrderFlags = OrderFlags(16384);
    pub const NO_VAR_RATES: OrderFlags = OrderFlags(524_288);
    pub const fn has(self, other: OrderFlags) -> bool {
        self.0 & other.0 == other.0
    }
    pub const fn with(self, other: OrderFlags) -> OrderFlags {
        OrderFlags(self.0 | other.0)
    }
}

/// Leading words of the venue's status text, classified; the text itself is never branched on
/// elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum OrderStatus {
    Active,
    PartiallyFilled,
    Executed,
    Canceled,
    PostOnlyCanceled,
    FillOrKillCanceled,
    IocCanceled,
    /// `INSUFFICIENT MARGIN`, `INSUFFICIENT BALANCE (…)`.
    Insufficient,
    /// `FORCED EXECUTED`: liquidation.
    Forced,
    /// `RSN_DUST`, `RSN_PAUSE`, `RSN_POS_*`, `RSN_BOOK_SLIP`.
    Refused,
    /// Text we do not know. In `oc` it counts as ended, elsewhere as alive.
    Other,
}
impl OrderStatus {
    /// True where the venue holds the order no longer.
    pub const fn is_end(self) -> bool {
        !matches!(self, OrderStatus::Active | OrderStatus::PartiallyFilled | OrderStatus::Other)
    }
}
