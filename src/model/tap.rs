//! What the taps tell the cold side: for waterfalls, histograms and the view. Nothing of it feeds
//! back.

use super::{Command, Trace};
use crate::base::ids::{Cid, OrderId, SymbolId};
use crate::base::time::Tsc;
use crate::base::units::{Px, Qty};

/// An order's way through the line, told to the cold side once it is written.
#[derive(Clone, Copy, Debug)]
pub struct OrderSent {
    pub command: Command,
    pub trace: Trace,
    pub encoded: Tsc,
    pub written: Tsc,
}

/// A private event as seen by `parse`, for waterfalls.
#[derive(Clone, Copy, Debug)]
pub struct PrivateSeen {
    pub what: Seen,
    pub cid: Cid,
    pub order: OrderId,
    pub symbol: SymbolId,
    pub qty: Qty,
    /// Of a fill; zero otherwise.
    pub px: Px,
    pub at: Tsc,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// An answer that tells no state: `n`.
    Acked,
    /// It is in the book: `on`, `ou` or a row of `os`. A first answer, too.
    Resting,
    Refused,
    Filled,
    /// The order ended; true where wholly filled.
    Ended {
        executed: bool,
    },
}
