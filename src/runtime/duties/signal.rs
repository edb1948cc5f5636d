//! `signal`: one ring in, one ring out.

use crate::base::limits::BATCH_MAX;
use crate::base::time::{Tsc, WallNs};
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
    /// The newest age, not noted yet: that is done when the order has gone on.
    pub age_waiting: Option<DecisionAge>,
    pub halt: Halt,
}

/// The times that tell how old the data was that a decision was made on.
#[derive(Clone, Copy, Debug)]
pub struct DecisionAge {
    venue_at: WallNs,
    wall: WallNs,
    recv: Tsc,
    signalled: Tsc,
}
impl DecisionAge {
    /// `None` where the decision was not made on a book of known time.
    #[inline(always)]
    fn of(event: &Event, signalled: Tsc) -> Option<DecisionAge> {
        let Body::Book(view) = &event.body else { return None };
        let (wall, recv) = (event.stamp.wall, event.trace.recv);
        (view.venue_at.0 > 0).then_some(DecisionAge {
            venue_at: view.venue_at,
            wall,
            recv,
            signalled,
        })
    }
    /// Microseconds, at least one.
    fn us(&self, clock: &Clock) -> u64 {
        let on_the_way = (self.wall - self.venue_at).0.max(0) as u64;
        let here = clock.span_ns(self.recv, self.signalled).unwrap_or(0);
        ((on_the_way + here) / 1_000).max(1)
    }
}

impl SignalDuty {
    /// Notes the age that waits, if any.
    #[cold]
    #[inline(never)]
    fn note_age(&mut self) {
        if let Some(age) = self.age_waiting.take() {
            self.data_age.saturating_record(age.us(&self.clock));
        }
    }
}

impl Duty for SignalDuty {
    fn name(&self) -> &'static str {
        "signal"
    }
    fn turn(&mut self) -> u32 {
        if self.age_waiting.is_some() {
            self.note_age();
        }
        let mut handled = 0;
        let mut room = self.output.free();
        while handled < BATCH_MAX && room >= SignalStage::BURST_MAX {
            let SignalDuty { stage, input, output, clock, data_age, age_waiting, .. } = self;
            let mut emitted = 0;
            // Where it lies: an event copied out of the ring costs as much as the stage itself.
            let taken = input.take_with(|event| {
                stage.on_input(
                    event,
                    &mut Direct(|mut signal: Signal| {
                        if let Signal::Intent(intent) = &mut signal {
                            intent.trace.signalled = clock.tsc();
                            let age = DecisionAge::of(event, intent.trace.signalled);
                            if let Some(older) = std::mem::replace(age_waiting, age) {
                                data_age.saturating_record(older.us(clock));
                            }
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
