//! What leaves `risk`: approved, sized, rounded, with its client id.

use super::{AckOf, OrderFlags, OrderKind, Reason, Stamp, Trace, WalletKind};
use crate::base::ids::{Cid, OrderId, StrategyId, SymbolId};
use crate::base::limits::MESSAGE_BYTES_MAX;
use crate::base::time::WallNs;
use crate::base::units::{Px, Qty};
use serde::{Deserialize, Serialize};

/// What the latch compares with its rank. Falling strictness of need: an entry is forbidden first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
pub enum Class {
    Entry,
    Close,
    Cancel,
}

/// Risk state by rank, from free to strict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
pub enum Rank {
    #[default]
    Running,
    EntriesBlocked,
    ReduceOnly,
    CancelOnly,
    Halted,
}
impl Rank {
    /// Whether a command of this class may leave. A kill flattens at `ReduceOnly` and becomes
    /// `Halted` when it is done, so its own cancels and closes always pass.
    pub const fn allows(self, class: Class) -> bool {
        match class {
            Class::Entry => matches!(self, Rank::Running),
            Class::Close => matches!(self, Rank::Running | Rank::EntriesBlocked | Rank::ReduceOnly),
            Class::Cancel => true,
        }
    }
    pub const fn from_u8(value: u8) -> Rank {
        match value {
            0 => Rank::Running,
            1 => Rank::EntriesBlocked,
            2 => Rank::ReduceOnly,
            3 => Rank::CancelOnly,
            _ => Rank::Halted,
        }
    }
    /// The word shown to people.
    pub const fn name(self) -> &'static str {
        match self {
            Rank::Running => "running",
            Rank::EntriesBlocked => "entries-blocked",
            Rank::ReduceOnly => "reduce-only",
            Rank::CancelOnly => "cancel-only",
            Rank::Halted => "halted",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewOrder {
    pub cid: Cid,
    /// UTC day the cid belongs to, as its midnight.
    pub cid_day: WallNs,
    pub kind: OrderKind,
    pub wallet: WalletKind,
    /// Signed.
    pub qty: Qty,
    /// Zero for market orders.
    pub px: Px,
    /// Limit price of a stop-limit, distance of a trailing stop; zero otherwise.
    pub px_aux: Px,
    pub flags: OrderFlags,
    /// Stated for derivatives, 0 otherwise.
    pub leverage: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    New(NewOrder),
    /// Change price and remaining size of a working order in place (`ou`).
    Amend {
        id: OrderId,
        cid: Cid,
        px: Px,
        qty: Qty,
    },
    /// By id where known, else by cid and its day.
    Cancel {
        id: OrderId,
        cid: Cid,
        cid_day: WallNs,
    },
    /// Cancel one order and place another in one message (`ox_multi`).
    Replace {
        id: OrderId,
        cid: Cid,
        cid_day: WallNs,
        new: NewOrder,
    },
    /// Up to 16 orders by id in one message (`oc_multi`); zero ids are empty places.
    CancelMulti {
        ids: [OrderId; 16],
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    pub stamp: Stamp,
    pub trace: Trace,
    pub strategy: StrategyId,
    pub symbol: SymbolId,
    pub class: Class,
    pub reason: Reason,
    pub action: Action,
}
const _: () = assert!(std::mem::size_of::<Command>() <= MESSAGE_BYTES_MAX);

impl Command {
    /// Which acknowledgement answers it.
    pub const fn ack_of(&self) -> AckOf {
        match self.action {
            Action::New(_) | Action::Replace { .. } => AckOf::New,
            Action::Amend { .. } => AckOf::Update,
            Action::Cancel { .. } => AckOf::Cancel,
            Action::CancelMulti { .. } => AckOf::CancelMulti,
        }
    }
    /// The client id the command is about; of a replacement the new one.
    pub const fn cid(&self) -> Cid {
        match self.action {
            Action::New(new) | Action::Replace { new, .. } => new.cid,
            Action::Amend { cid, .. } | Action::Cancel { cid, .. } => cid,
            Action::CancelMulti { .. } => Cid::NONE,
        }
    }
}
