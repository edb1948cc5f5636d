//! A restart loosens nothing that was in force: a kill, a pause, a guard that had tripped, an end
//! of a pause, the counts of the day. Compared with what the stage itself knew when it died.

use crate::engine::risk::{Guard, RiskMemory};

pub const NAME: &str = "latch survives a restart";

#[derive(Debug, Default)]
pub struct Latch {
    before: Option<RiskMemory>,
}

impl Latch {
    /// The engine is gone; this is what it must not have forgotten.
    pub fn crashed(&mut self, memory: RiskMemory) {
        self.before = Some(memory);
    }
    /// A new run has read what there is, and has heard nothing yet.
    pub fn started(&mut self, now: &RiskMemory) -> Result<(), String> {
        let Some(before) = self.before.take() else { return Ok(()) };
        let (old, new) = (&before.account, &now.account);
        if old.killed && !new.killed {
            return Err("a kill was forgotten".to_owned());
        }
        if old.paused && !new.paused {
            return Err("a pause was forgotten".to_owned());
        }
        // Hours are worked out anew each minute.
        let lost = old.tripped & !new.tripped & !Guard::TradingWindow.bit();
        if lost != 0 {
            return Err(format!("tripped guards were forgotten, bits {lost:b}"));
        }
        if old.until.iter().zip(new.until).any(|(old, new)| new < *old) {
            return Err(format!("pauses until {:?} became {:?}", old.until, new.until));
        }
        if (old.day, old.day_start) != (new.day, new.day_start) && old.day <= new.day {
            let (old, new) = (old.day_start, new.day_start);
            return Err(format!("the day began at {old}, now it is said to have at {new}"));
        }
        if old.trades_day > new.trades_day || old.loss_streak > new.loss_streak {
            return Err(format!(
                "{} trades and {} losses in a row became {} and {}",
                old.trades_day, old.loss_streak, new.trades_day, new.loss_streak
            ));
        }
        for row in &before.symbols {
            let Some(kept) = now.symbols.iter().find(|kept| kept.name == row.name) else {
                return Err(format!("{:?} was forgotten", row.name));
            };
            let looser = row.cooldown_until > kept.cooldown_until
                || row.volatile_until > kept.volatile_until
                || row.repeated && !kept.repeated
                || row.flattening && !kept.flattening && !new.killed;
            if looser {
                return Err(format!("{row:?} became {kept:?}"));
            }
        }
        Ok(())
    }
}
