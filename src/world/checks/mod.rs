//! What must hold after every step, whatever goes wrong. One file a claim. The first violation ends
//! the run: what comes after it proves nothing.

pub mod book;
pub mod cids;
pub mod control;
pub mod duplicate;
pub mod fate;
pub mod kill;
pub mod latch;
pub mod ledger;
pub mod limits;
pub mod loss;
pub mod money;
pub mod protected;
pub mod rank;
pub mod record;
pub mod rest;
pub mod restart;
pub mod settle;

use crate::base::units::Px;
use crate::exchange::Audit;
use crate::model::{Command, Event};

/// A claim that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// World time, ns.
    pub at_ns: u64,
    pub checker: &'static str,
    pub words: String,
}

/// Claims and, for those whose guard is not built yet, why they are not held to it.
pub const CLAIMS: [(&str, Option<&str>); 17] = [
    (cids::NAME, None),
    (duplicate::NAME, None),
    (ledger::NAME, None),
    (limits::NAME, None),
    (book::NAME, None),
    (rank::NAME, None),
    (control::NAME, None),
    (restart::NAME, None),
    (record::NAME, None),
    (kill::NAME, None),
    (money::NAME, None),
    (settle::NAME, None),
    (loss::NAME, None),
    (latch::NAME, None),
    (protected::NAME, None),
    (rest::NAME, None),
    (fate::NAME, None),
];

/// All checkers of one run.
#[derive(Debug, Default)]
pub struct Checks {
    pub violation: Option<Violation>,
    /// Comparisons made by the checkers that compare.
    pub compared: u64,
    pub cids: cids::Cids,
    pub duplicate: duplicate::Duplicate,
    pub fate: fate::Fates,
    pub ledger: ledger::Ledger,
    pub limits: limits::Limits,
    pub book: book::Books,
    pub rank: rank::Ranks,
    pub control: control::Control,
    pub rest: rest::Rest,
    pub restart: restart::Restart,
    pub money: money::Money,
    pub loss: loss::Loss,
    pub latch: latch::Latch,
    pub protected: protected::Protected,
}

impl Checks {
    /// Books an objection.
    pub fn say(&mut self, at_ns: u64, checker: &'static str, verdict: Result<(), String>) {
        if let (Err(words), None) = (verdict, &self.violation) {
            self.violation = Some(Violation { at_ns, checker, words });
        }
    }
    /// An event is about to reach the stages. True where a read has settled what a call by REST
    /// left in doubt.
    pub fn before(&mut self, event: &Event, now_ns: u64) -> bool {
        self.control.delivered(&event.body);
        self.rank.before(&event.body);
        self.book.before(event, now_ns);
        self.duplicate.before(&event.body, event.stamp.recv.0);
        let verdict = self.fate.before(&event.body);
        let is_settled = verdict == Ok(true);
        self.say(now_ns, fate::NAME, verdict.map(drop));
        is_settled
    }
    /// The stages have acted on it.
    pub fn after(&mut self, event: &Event) {
        self.ledger.after(&event.body);
    }
    /// A command was decided; `audit` is the account as the exchange has it, `foreign` what of its
    /// position is not of our making: since the beginning, and since this run began.
    pub fn decided(
        &mut self,
        command: &Command,
        event: &Event,
        now_ns: u64,
        (audit, foreign, mid): (&Audit, [i64; 2], Px),
    ) {
        let verdict = self.book.decided(command, event, now_ns);
        self.say(now_ns, book::NAME, verdict);
        let verdict = self.restart.decided(command);
        self.say(now_ns, restart::NAME, verdict);
        let verdict = self.duplicate.decided(command, event.stamp.recv.0);
        self.say(now_ns, duplicate::NAME, verdict);
        let verdict = self.fate.decided(command, event.stamp.recv.0);
        self.say(now_ns, fate::NAME, verdict);
        let verdict = self.limits.decided(command, audit, foreign, mid);
        self.say(now_ns, limits::NAME, verdict);
        let verdict = self.loss.decided(command, now_ns);
        self.say(now_ns, loss::NAME, verdict);
        self.compared += 6;
    }
    /// A new run begins on what the disk still had.
    pub fn started(&mut self) {
        self.control = control::Control::default();
        self.rank.started();
        self.book.started();
        self.duplicate.started();
        self.fate.started();
        self.ledger.started();
        self.limits.started();
        self.protected.started();
        self.rest.started();
    }
}
