//! What the risk stage must not forget when the process dies: plain data, and the trait of whoever
//! writes it down. Money is in 1e-16 of the quote currency, as in `positions`.

use crate::base::bounded::Text;
use crate::base::ids::Cid;
use crate::base::time::WallNs;
use crate::model::{Bracket, SymbolName};
use serde::{Deserialize, Serialize};

/// Longest encoded record, bytes: eight wide sums of at most 19 bytes, ten numbers, the words.
pub const MEMORY_RECORD_MAX: usize = 400;
/// Of the two records below: another layout has another number.
pub const MEMORY_VERSION: u8 = 2;
/// The layout before brackets: an account's record is the same, a symbol's ends earlier.
pub const MEMORY_VERSION_1: u8 = 1;

/// The account as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountMemory {
    /// 0 = nothing was ever written.
    pub version: u8,
    /// Local day that `trades_day`, `day_start` and `day_equity` belong to.
    pub day: i64,
    /// When this was true.
    pub wall: WallNs,
    /// Realised P&L of all runs so far, fees deducted.
    pub realised: i128,
    /// P&L of what was open.
    pub open: i128,
    /// P&L (realised and open) at the day's start, and its highest.
    pub day_start: i128,
    pub peak: i128,
    /// Equity at the day's start, and what belongs to it; `None` = was not known yet.
    pub day_equity: Option<i128>,
    /// Equity of the wallets as last told, open P&L not in it.
    pub wallet: Option<i128>,
    pub trades_day: u32,
    pub loss_streak: u32,
    pub reject_streak: u32,
    /// Guards that have tripped, bit = `Guard as u8`.
    pub tripped: u64,
    /// Ends of the pauses, by `Pause as usize`.
    pub until: [WallNs; 4],
    pub killed: bool,
    pub halted: bool,
    pub paused: bool,
    /// Why, in the words of whoever killed or paused last.
    pub reason: Text<48>,
    /// Highest client id given out.
    pub cid_last: Cid,
}

/// What protects a position of one side, long or short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BracketMemory {
    pub bracket: Bracket,
    /// An order that it belongs to may still open something, or has.
    pub active: bool,
    /// A strategy has said it, at some time.
    pub known: bool,
}

/// One symbol, by name: the table of the next run may be another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SymbolMemory {
    pub name: SymbolName,
    pub day: i64,
    pub trades_day: u32,
    pub cooldown_until: WallNs,
    pub volatile_until: WallNs,
    /// Repeated itself too often; only a person clears it.
    pub repeated: bool,
    /// A flatten was at work, or gave up.
    pub flattening: bool,
    /// Of a long position, and of a short one.
    pub brackets: [BracketMemory; 2],
}

/// A symbol as version 1 wrote it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SymbolMemory1 {
    name: SymbolName,
    day: i64,
    trades_day: u32,
    cooldown_until: WallNs,
    volatile_until: WallNs,
    repeated: bool,
    flattening: bool,
}
impl From<SymbolMemory1> for SymbolMemory {
    fn from(old: SymbolMemory1) -> SymbolMemory {
        let SymbolMemory1 { name, day, trades_day, cooldown_until, volatile_until, .. } = old;
        let (repeated, flattening) = (old.repeated, old.flattening);
        let brackets = Default::default();
        SymbolMemory {
            name,
            day,
            trades_day,
            cooldown_until,
            volatile_until,
            repeated,
            flattening,
            brackets,
        }
    }
}

/// Everything together, as read at start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RiskMemory {
    pub account: AccountMemory,
    pub symbols: Vec<SymbolMemory>,
}

/// Writes records where they outlive the process. Called before the commands that follow from them
/// leave; must not block.
pub trait RiskJournal: Send {
    fn keep_account(&mut self, account: &AccountMemory);
    fn keep_symbol(&mut self, row: usize, symbol: &SymbolMemory);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbol_of_the_layout_before_brackets_keeps_all_that_it_had() {
        let old = SymbolMemory1 {
            name: SymbolName::new("tBTCUSD").unwrap(),
            day: 1,
            trades_day: 2,
            cooldown_until: WallNs(3),
            volatile_until: WallNs(4),
            repeated: true,
            flattening: true,
        };
        let new = SymbolMemory::from(old);
        assert_eq!((new.name, new.day, new.trades_day), (old.name, 1, 2));
        assert_eq!((new.cooldown_until, new.volatile_until), (WallNs(3), WallNs(4)));
        assert!(new.repeated && new.flattening);
        assert_eq!(new.brackets, [BracketMemory::default(); 2]);
    }
}
