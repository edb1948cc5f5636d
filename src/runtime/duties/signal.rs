//! `signal`: one ring in, one ring out.

use crate::base::limits::BATCH_MAX;
use crate::engine::signal::SignalStage;
use crate::engine::stage::{Direct, Stage};
use crate::io::clock::Clock;
use crate::model::{Event, Signal};
use crate::ring::{Rx, Tx};
use crate::runtime::duty::Duty;
use crate::runtime::taps::{SignalTap, TapTx};

pub struct SignalDuty {
    pub stage: SignalStage,
    pub input: Rx<Event>,
    pub output: Tx<Signal>,
    pub clock: Clock,
    pub tap: TapTx<SignalTap>,
}

impl Duty for SignalDuty {
    fn name(&self) -> &'static str {
        "signal"
    }
    fn turn(&mut self) -> u32 {
        let mut handled = 0;
        let mut room = self.output.free();
        while (handled as usize) < BATCH_MAX && room >= SignalStage::BURST_MAX {
            let Some(event) = self.input.pop() else { break };
            let (output, clock) = (&mut self.output, &self.clock);
            let mut emitted = 0;
            self.stage.on_input(
                &event,
                &mut Direct(|mut signal: Signal| {
                    if let Signal::Intent(intent) = &mut signal {
                        intent.trace.signalled = clock.tsc();
                    }
                    emitted += 1;
                    let pushed = output.push(signal);
                    assert!(pushed.is_ok(), "room for the worst burst was checked");
                }),
            );
            room -= emitted;
            handled += 1;
            if room < SignalStage::BURST_MAX {
                room = self.output.free();
            }
        }
        if self.tap.is_due(handled) {
            self.tap.publish(|push| self.stage.publish(push));
        }
        handled
    }
}
