//! `signal`: one ring in, one ring out.

use crate::base::limits::BATCH_MAX;
use crate::base::time::Tsc;
use crate::engine::signal::SignalStage;
use crate::engine::stage::{Direct, Stage};
use crate::io::clock::Clock;
use crate::model::{Body, Event, Signal};
use crate::ring::{Rx, Tx};
use crate::runtime::duty::Duty;
use crate::runtime::link::Halt;
use crate::runtime::taps::{SignalRow, TapTx};
use hdrhistogram::Histogram;

/// Oldest data kept apart, microseconds: an hour.
const AGE_US_MAX: u64 = 3_600_000_000;

/// Ages of the data that decisions were made on, in microseconds.
pub fn new_age_board() -> Histogram<u64> {
    Histogram::new_with_bounds(1, AGE_US_MAX, 2).expect("constant bounds that hdrhistogram accepts")
}

pub struct SignalDuty {
    pub stage: SignalStage,
    pub input: Rx<Event>,
    pub output: Tx<Signal>,
    pub clock: Clock,
    pub tap: TapTx<SignalRow>,
    /// From the venue's time of the newest book change to the decision made on it.
    pub data_age: Histogram<u64>,
    pub halt: Halt,
}

/// How old the data is that a decision is made on.
fn note_age(data_age: &mut Histogram<u64>, clock: &Clock, event: &Event, signalled: Tsc) {
    let Body::Book(view) = &event.body else { return };
    if view.venue_at.0 > 0 {
        let on_the_way = (event.stamp.wall - view.venue_at).0.max(0) as u64;
        let here = clock.span_ns(event.trace.recv, signalled);
        let age_ns = on_the_way + here.unwrap_or(0);
        data_age.saturating_record((age_ns / 1_000).max(1));
    }
}

impl Duty for SignalDuty {
    fn name(&self) -> &'static str {
        "signal"
    }
    fn turn(&mut self) -> u32 {
        let mut handled = 0;
        let mut room = self.output.free();
        while handled < BATCH_MAX && room >= SignalStage::BURST_MAX {
            let SignalDuty { stage, input, output, clock, data_age, .. } = self;
            let mut emitted = 0;
            // Where it lies: an event copied out of the ring costs as much as the stage itself.
            let taken = input.take_with(|event| {
                stage.on_input(
                    event,
                    &mut Direct(|mut signal: Signal| {
                        if let Signal::Intent(intent) = &mut signal {
                            intent.trace.signalled = clock.tsc();
                            note_age(data_age, clock, event, intent.trace.signalled);
                        }
                        emitted += 1;
                        let pushed = output.push(signal);
                        assert!(pushed.is_ok(), "room for the worst burst was checked");
                    }),
                );
            });
            if taken.is_none() {
                break;
            }
            room -= emitted;
            handled += 1;
            if room < SignalStage::BURST_MAX {
                room = self.output.free();
            }
        }
        if self.is_blocked() {
            self.halt.on_full();
        }
        if self.tap.is_due() {
            let SignalDuty { stage, tap, output, .. } = self;
            tap.push(SignalRow::Ring { used_max: output.used_max() as u64 });
            stage.publish(|signals| tap.push(SignalRow::Symbol(signals)));
        }
        handled as u32
    }
    fn is_blocked(&mut self) -> bool {
        !self.input.is_empty() && self.output.free() < SignalStage::BURST_MAX
    }
    fn is_drained(&self) -> bool {
        self.input.is_empty()
    }
}
