//! Identities as newtypes, so that they cannot be mixed up.

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[derive(PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[repr(transparent)]
        pub struct $name(pub $inner);
    };
}

id!(
    /// Index of an instrument in the run's instrument table, from 0, below `SYMBOLS_MAX`.
    SymbolId(u16)
);
impl SymbolId {
    #[inline(always)]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}
id!(
    /// Client order id: sequential, below `CID_MAX`, unique per UTC day. 0 means "none".
    Cid(u64)
);
id!(
    /// The venue's order id. 0 means "none".
    OrderId(u64)
);
id!(
    /// The venue's trade id. 0 means "none".
    TradeId(u64)
);
id!(
    /// A market-data or trading socket of this run, from 0, below `SOCKETS_MAX`.
    ConnId(u8)
);
impl ConnId {
    #[inline(always)]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}
id!(
    /// A strategy instance of this run, from 0.
    StrategyId(u8)
);

impl Cid {
    pub const NONE: Cid = Cid(0);
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
}
impl OrderId {
    pub const NONE: OrderId = OrderId(0);
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
}
impl TradeId {
    pub const NONE: TradeId = TradeId(0);
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
}
