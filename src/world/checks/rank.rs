//! Nothing leaves but what the rank allows. The rank is worked out here from what the stages were
//! told, not read from them; a close is what the bytes say is one.

use crate::model::{Action, Body, Class, Command, LinkState, OperatorVerb, OrderFlags, Rank};

pub const NAME: &str = "nothing leaves but what the rank allows";

#[derive(Debug, Default)]
pub struct Ranks {
    killed: bool,
    paused: bool,
    reconciled: bool,
    maintenance: bool,
}

impl Ranks {
    pub fn before(&mut self, body: &Body) {
        match body {
            Body::Operator(command) => match command.verb {
                OperatorVerb::Kill => self.killed = true,
                OperatorVerb::Pause | OperatorVerb::Flatten => self.paused = true,
                OperatorVerb::Resume => self.paused = false,
                OperatorVerb::Reset if !command.reason.is_empty() => {
                    (self.killed, self.paused) = (false, false);
                }
                _ => {}
            },
            Body::Link(link) => match link.state {
                LinkState::Down | LinkState::AuthFailed if link.trading => self.reconciled = false,
                LinkState::Authenticated if link.trading => {
                    (self.reconciled, self.maintenance) = (false, false);
                }
                LinkState::Reconciled => self.reconciled = true,
                LinkState::MaintenanceStarted => self.maintenance = true,
                LinkState::MaintenanceEnded => self.maintenance = false,
                _ => {}
            },
            _ => {}
        }
    }
    /// A new run: the account must be known again; what a person has set stays.
    pub fn started(&mut self) {
        (self.reconciled, self.maintenance) = (false, false);
    }
    pub fn is_killed(&self) -> bool {
        self.killed
    }
    fn rank(&self) -> Rank {
        if self.killed {
            Rank::ReduceOnly
        } else if self.paused || self.maintenance || !self.reconciled {
            Rank::EntriesBlocked
        } else {
            Rank::Running
        }
    }
    /// Bytes of a command have left.
    pub fn written(&self, command: &Command) -> Result<(), String> {
        let closes = |new: &crate::model::NewOrder| new.flags.has(OrderFlags::REDUCE_ONLY);
        let class = match &command.action {
            Action::New(new) if closes(new) => Class::Close,
            Action::New(_) | Action::Replace { .. } => Class::Entry,
            Action::Amend { .. } => command.class,
            Action::Cancel { .. } | Action::CancelMulti { .. } => Class::Cancel,
        };
        let rank = self.rank();
        if rank.allows(class) {
            return Ok(());
        }
        Err(format!("{class:?} left at rank {}: {:?}", rank.name(), command.action))
    }
}
