//! `risk`: one ring in, one ring out, and the latch that it alone may lower.

use crate::base::limits::BATCH_MAX;
use crate::engine::risk::RiskStage;
use crate::engine::stage::{Direct, Stage};
use crate::io::clock::Clock;
use crate::model::{Command, Signal};
use crate::ring::{Rx, Tx};
use crate::runtime::duty::Duty;
use crate::runtime::taps::{RiskTap, TapTx};

pub struct RiskDuty {
    pub stage: RiskStage,
    pub input: Rx<Signal>,
    pub output: Tx<Command>,
    pub clock: Clock,
    pub tap: TapTx<RiskTap>,
}

impl Duty for RiskDuty {
    fn name(&self) -> &'static str {
        "risk"
    }
    fn turn(&mut self) -> u32 {
        let mut handled = 0;
        let mut room = self.output.free();
        while (handled as usize) < BATCH_MAX && room >= RiskStage::BURST_MAX {
            let Some(signal) = self.input.pop() else { break };
            let (output, clock) = (&mut self.output, &self.clock);
            let mut emitted = 0;
            self.stage.on_input(
                &signal,
                &mut Direct(|mut command: Command| {
                    command.trace.approved = clock.tsc();
                    emitted += 1;
                    let pushed = output.push(command);
                    assert!(pushed.is_ok(), "room for the worst burst was checked");
                }),
            );
            room -= emitted;
            handled += 1;
            if room < RiskStage::BURST_MAX {
                room = self.output.free();
            }
        }
        if self.tap.is_due(handled) {
            self.tap.publish(|push| self.stage.publish(push));
        }
        handled
    }
}
