//! The stages behind the sequencer joined by direct call: replay, tests, the world. The same
//! stages, the same inputs, no rings and no threads; the decision hash must be the one that the
//! threads got.

use super::send::{Door, NoWal, ORDER_FRAME_MAX, SendLine};
use crate::engine::risk::RiskStage;
use crate::engine::signal::SignalStage;
use crate::engine::stage::{Direct, Stage};
use crate::model::{Command, Event, SendOutcome, Signal};

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

    /// One sequenced input through signal and risk alone: what was decided waits for the caller to
    /// send it. `seen` sees what `risk` was told, after it has acted.
    pub fn decide(
        &mut self,
        event: &Event,
        mut seen: impl FnMut(&Signal, &RiskStage),
        mut decided: impl FnMut(Command),
    ) {
        let Chain { signal, risk, .. } = self;
        signal.on_input(
            event,
            &mut Direct(|signal| {
                risk.on_input(&signal, &mut Direct(&mut decided));
                seen(&signal, risk);
            }),
        );
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
