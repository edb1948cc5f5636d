//! No loss beyond the limit but by what was in flight: once the account's true loss has been beyond
//! the limit for longer than a message travels, no entry is decided. The truth is the exchange's:
//! wallet and open P&L at its own prices.

use crate::base::units::UNIT_SCALE;
use crate::model::{Class, Command};

pub const NAME: &str = "loss beyond its limit only by what was in flight";

/// News of fills and prices may be this late without being lost.
const LATE_NS: u64 = 15_000_000_000;
/// The engine values at its own middle and does not count others' trades: 1e-8 quote, and as much
/// again for each trade of somebody else.
const SLACK: i128 = 3 * UNIT_SCALE as i128;

#[derive(Debug, Default)]
pub struct Loss {
    /// Equity that the day's loss counts from, 1e-8 quote.
    base: Option<i128>,
    /// Trades of others since.
    foreign: u32,
    beyond_since: Option<u64>,
    /// The engine's day, as it was last seen.
    day: Option<i64>,
    /// Largest loss beyond the limit, 1e-8 quote.
    pub over_max: i128,
    /// Times that the limit was passed.
    pub passed: u64,
}

impl Loss {
    /// The engine's day begins anew: a day, or a reset by a person.
    pub fn begin(&mut self) {
        (self.base, self.foreign, self.beyond_since) = (None, 0, None);
    }
    /// The engine's day, looked at before each of its decisions, too: its midnight need not be
    /// ours.
    pub fn day(&mut self, day: i64) {
        if self.day.replace(day) != Some(day) {
            self.begin();
        }
    }
    pub fn foreign_trade(&mut self) {
        self.foreign += 1;
    }
    /// Once a second: the true equity, and the limit. `is_blind` = messages were lost in silence,
    /// or the engine is not joined to the account: what it cannot know it cannot be held to.
    pub fn look(&mut self, now_ns: u64, equity: Option<i128>, limit: i128, is_blind: bool) {
        let Some(equity) = equity else { return };
        let base = *self.base.get_or_insert(equity);
        let over = base - equity - limit;
        if over > 0 {
            self.over_max = self.over_max.max(over);
        }
        let slack = SLACK * (1 + i128::from(self.foreign));
        if over <= slack || is_blind {
            self.beyond_since = None;
        } else if self.beyond_since.is_none() {
            self.beyond_since = Some(now_ns);
            self.passed += 1;
        }
    }
    pub fn decided(&self, command: &Command, now_ns: u64) -> Result<(), String> {
        let since = self.beyond_since.filter(|since| now_ns - since > LATE_NS);
        match (since, command.class) {
            (Some(since), Class::Entry) => Err(format!(
                "an entry was decided {} s after the loss had passed its limit: {:?}",
                (now_ns - since) / 1_000_000_000,
                command.action
            )),
            _ => Ok(()),
        }
    }
}
