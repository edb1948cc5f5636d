//! `risk`: one ring in, one ring out, and the latch that it alone may lower. Asks the REST thread
//! for a reconcile when the stage wants one.

use crate::base::ids::SymbolId;
use crate::base::limits::BATCH_MAX;
use crate::engine::risk::RiskStage;
use crate::engine::stage::{Direct, Stage};
use crate::io::clock::Clock;
use crate::line::reconcile::ReconcileTimer;
use crate::model::{Body, Command, Event, Signal};
use crate::ring::{Latch, Rx, Tx};
use crate::runtime::duty::Duty;
use crate::runtime::link::{Halt, RestWant};
use crate::runtime::taps::{RiskRow, TapTx};

/// Between two reconciles that are asked for, nanoseconds.
const RECONCILE_EVERY_NS: u64 = 1_000_000_000;
/// A reconcile without an answer is asked for again after this long, nanoseconds.
const RECONCILE_TIMEOUT_NS: u64 = 30_000_000_000;

/// The rings of this stage.
pub struct RiskLinks {
    pub input: Rx<Signal>,
    pub output: Tx<Command>,
    pub rest: Tx<RestWant>,
    pub tap: TapTx<RiskRow>,
    pub halt: Halt,
}

pub struct RiskDuty {
    pub stage: RiskStage,
    pub links: RiskLinks,
    latch: Latch,
    clock: Clock,
    /// Rows of the instrument table.
    symbols: usize,
    reconcile: ReconcileTimer,
}

/// What this duty itself listens to.
#[inline(always)]
fn is_word(body: &Body) -> bool {
    matches!(body, Body::Link(_) | Body::Operator(_))
}

impl RiskDuty {
    /// `symbols` = rows of the instrument table.
    pub fn new(
        stage: RiskStage,
        links: RiskLinks,
        latch: Latch,
        clock: Clock,
        symbols: usize,
    ) -> Self {
        let reconcile = ReconcileTimer::new(
            clock.ticks_of_ns(RECONCILE_EVERY_NS),
            clock.ticks_of_ns(RECONCILE_TIMEOUT_NS),
        );
        latch.set(stage.rank() as u8);
        Self { stage, links, latch, clock, symbols, reconcile }
    }

    #[cold]
    fn look_at(&mut self, event: &Event) {
        self.reconcile.look_at(event, self.clock.tsc().0);
        if let Body::Operator(command) = event.body
            && command.is_reset()
        {
            // What was raised since it was ordered stays, for a person to see.
            self.latch.reset(self.stage.rank() as u8);
        }
    }

    #[cold]
    fn ask_reconcile(&mut self) {
        let now = self.clock.tsc().0;
        let oldest = self.stage.ledger().oldest_made_at();
        let Some(since) = self.reconcile.due(now, oldest) else { return };
        if self.links.rest.push(RestWant::Reconcile { since }).is_ok() {
            self.reconcile.asked(now);
        }
    }

    #[cold]
    fn publish(&mut self) {
        let tap = &mut self.links.tap;
        tap.push(RiskRow::Account(self.stage.snapshot()));
        tap.push(RiskRow::Ring { used_max: self.links.output.used_max() as u64 });
        for row in 0..self.symbols {
            let one = self.stage.symbol_snapshot(SymbolId(row as u16));
            tap.push(RiskRow::Symbol(one));
        }
        for level in self.stage.levels() {
            tap.push(RiskRow::Guard(level));
        }
        for (_, order) in self.stage.ledger().listed() {
            tap.push(RiskRow::Order(*order));
        }
        tap.push(RiskRow::OrdersEnd);
    }
}

impl Duty for RiskDuty {
    fn name(&self) -> &'static str {
        "risk"
    }
    fn turn(&mut self) -> u32 {
        let mut handled = 0;
        let mut room = self.links.output.free();
        while handled < BATCH_MAX && room >= RiskStage::BURST_MAX {
            let RiskLinks { input, output, .. } = &mut self.links;
            let (stage, clock, is_first) =
                (&mut self.stage, &self.clock, self.reconcile.is_fresh());
            let mut emitted = 0;
            // Copied only where it is meant for this duty, once in a thousand times.
            let mut word: Option<Event> = None;
            let taken = input.take_with(|signal| {
                stage.on_input(
                    signal,
                    &mut Direct(|mut command: Command| {
                        command.trace.approved = clock.tsc();
                        emitted += 1;
                        let pushed = output.push(command);
                        assert!(pushed.is_ok(), "room for the worst burst was checked");
                    }),
                );
                if let Signal::Event(event) = signal
                    && (is_first || is_word(&event.body))
                {
                    word = Some(*event);
                }
            });
            if taken.is_none() {
                break;
            }
            if let Some(event) = word {
                self.look_at(&event);
            }
            room -= emitted;
            handled += 1;
            if room < RiskStage::BURST_MAX {
                room = self.links.output.free();
            }
        }
        if handled > 0 {
            self.latch.set(self.stage.rank() as u8);
            if self.stage.wants_reconcile() {
                self.ask_reconcile();
            }
        }
        if self.is_blocked() {
            self.links.halt.on_full();
        }
        if self.links.tap.is_due() {
            self.publish();
        }
        handled as u32
    }
    fn is_blocked(&mut self) -> bool {
        !self.links.input.is_empty() && self.links.output.free() < RiskStage::BURST_MAX
    }
    fn is_drained(&self) -> bool {
        self.links.input.is_empty()
    }
}
