//! The stages behind the sequencer joined by direct call: replay, tests, the world. The same
//! stages, the same inputs, no rings and no threads; the decision hash must be the one that the
//! threads got.

use super::send::{Door, NoWal, ORDER_FRAME_MAX, SendLine};
use crate::engine::risk::RiskStage;
use crate::engine::signal::SignalStage;
use crate::engine::stage::{Direct, Stage};
use crate::model::{Command, Event, SendOutcome};

pub struct Chain {
    pub signal: SignalStage,
    pub risk: RiskStage,
    pub send: SendLine,
}

impl Chain {
    /// One sequenced input through signal, risk and send; bytes and outcomes are dropped, the hash
    /// is kept.
    pub fn replay(&mut self, event: &Event) {
        self.on_event(event, |_, _, _| {});
    }

    /// One sequenced input; `sent` sees every command with the frame that would leave, or why not.
    pub fn on_event(
        &mut self,
        event: &Event,
        mut sent: impl FnMut(&Command, &[u8], Result<usize, SendOutcome>),
    ) {
        let Chain { signal, risk, send } = self;
        let mut frame = [0; ORDER_FRAME_MAX];
        let door = Door { rank: 0, ready: true, age_ns: 0 };
        signal.on_input(
            event,
            &mut Direct(|signal| {
                risk.on_input(
                    &signal,
                    &mut Direct(|command: Command| {
                        let outcome = send.on_command(&command, door, &mut NoWal, &mut frame);
                        sent(&command, &frame, outcome);
                    }),
                );
            }),
        );
    }
}
