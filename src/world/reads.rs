//! The reads of a reconcile in virtual time, one after the other, as the run's REST thread asks for
//! them.

use super::canary::Canary;
use super::plane::Load;
use super::run::World;
use crate::base::time::WallNs;
use crate::line::reconcile::{NO_ANSWER, ReconcileReads};
use crate::line::rest::Reason;
use crate::line::rest::flight::{Ask, Flight};
use crate::model::{Body, SnapshotMark, SnapshotOf};
use crate::venue::rest::{RestCall, RestSink, parse_reply};

/// One reconcile.
#[derive(Clone, Copy, Debug)]
struct Round {
    number: u64,
    reads: ReconcileReads,
    began_at: u64,
}

/// What the REST thread is at.
#[derive(Debug)]
pub struct Reads {
    flight: Flight,
    round: Option<Round>,
    /// Asked for while another round runs, or too early: since when.
    wanted: Option<WallNs>,
    rounds: u64,
    is_first: bool,
}

impl Reads {
    pub fn new(flight: Flight) -> Reads {
        Reads { flight, round: None, wanted: None, rounds: 0, is_first: true }
    }
    pub fn rounds(&self) -> u64 {
        self.rounds
    }
    pub fn continue_from(&mut self, rounds: u64) {
        self.rounds = rounds;
    }
    pub fn is_idle(&self) -> bool {
        self.round.is_none() && self.wanted.is_none()
    }
    /// The read that is due, where this round is the one under way.
    pub fn call_of(&self, round: u64) -> Option<RestCall> {
        self.round.filter(|now| now.number == round)?.reads.call()
    }
}

#[derive(Default)]
struct Collected(Vec<Body>);
impl RestSink for Collected {
    fn body(&mut self, body: Body) {
        self.0.push(body);
    }
}

impl World {
    /// Whether the line wants the account read, and whether it may be asked for now.
    pub fn ask_rest(&mut self) {
        let now_ns = self.now_ns;
        let Some(engine) = self.engine.as_mut() else { return };
        if !engine.chain.risk.wants_reconcile() {
            return;
        }
        let oldest = engine.chain.risk.ledger().oldest_made_at();
        let Some(since) = engine.reconcile.due(now_ns, oldest) else { return };
        engine.reconcile.asked(now_ns);
        if self.plan.canary == Canary::ReconcileSkipped {
            return self.pretend_reconciled();
        }
        let reads = &mut self.plane.reads;
        reads.wanted = Some(reads.wanted.map_or(since, |other| other.min(since)));
        self.next_round();
    }
    pub fn next_round(&mut self) {
        let wall = self.engine_wall();
        let Some(engine) = &self.engine else { return };
        let now = engine.now(self.now_ns, wall);
        let reads = &mut self.plane.reads;
        if reads.round.is_some() {
            return;
        }
        let Some(since) = reads.wanted else { return };
        if let Ask::Later(at) = reads.flight.ask(now.mono) {
            return self.wake_rest(Some(at));
        }
        reads.wanted = None;
        reads.rounds += 1;
        let (number, began_at) = (reads.rounds, self.now_ns);
        reads.round = Some(Round { number, reads: ReconcileReads::new(since), began_at });
        self.next_read();
    }
    /// The read that is due is asked for.
    fn next_read(&mut self) {
        let Some(round) = self.plane.reads.round else { return };
        let Some(call) = round.reads.call() else { return };
        if let Some(mark) = round.reads.begin() {
            self.tell(mark);
        }
        let reason = if self.plane.reads.is_first { Reason::Start } else { Reason::Reconcile };
        if self.ask_plane(&call, reason, Load::Account { round: round.number }) {
            self.poll_rest();
        } else {
            self.end_round(Err(NO_ANSWER));
        }
    }
    /// A read has its answer.
    pub fn account_read(&mut self, number: u64, result: Result<(u16, &[u8]), i32>) {
        let Some(due) = self.plane.reads.call_of(number) else { return };
        let mut items = Collected::default();
        let read = result.and_then(|(status, body)| {
            let parsed = parse_reply(&due, status, body, self.plane.table(), &mut items);
            let code = |code: i32, status: u16| if code != 0 { code } else { i32::from(status) };
            parsed.map(drop).map_err(|error| code(error.code, error.status))
        });
        match read {
            Ok(()) => self.rest_items(&items.0),
            Err(code) => self.end_round(Err(code)),
        }
    }
    fn rest_items(&mut self, items: &[Body]) {
        let Some(round) = &mut self.plane.reads.round else { return };
        let next = round.reads.on_reply(items);
        let has_more = round.reads.call().is_some();
        for item in items.iter().filter(|item| !ReconcileReads::is_begin(item)) {
            self.tell(*item);
        }
        match next {
            Ok(()) if has_more => self.next_read(),
            done => self.end_round(done),
        }
    }
    fn end_round(&mut self, done: Result<(), i32>) {
        let wall = self.engine_wall();
        let from = self.plane.reads.round.take().map_or(0, |round| round.began_at);
        if let Some(engine) = &self.engine {
            let now = engine.now(self.now_ns, wall);
            let reads = &mut self.plane.reads;
            match done {
                Ok(()) => {
                    reads.flight.on_answer(now.mono);
                    reads.is_first = false;
                }
                Err(_) => reads.flight.on_failure(),
            }
        }
        if done.is_ok() {
            self.reconciled_from = from;
        }
        self.tell(ReconcileReads::verdict(done));
        self.next_round();
    }
    /// A canary: everything is said to have been read, and nothing was.
    fn pretend_reconciled(&mut self) {
        for of in [SnapshotOf::RestTrades, SnapshotOf::RestHistory, SnapshotOf::RestOrders] {
            for end in [false, true] {
                self.tell(Body::Snapshot(SnapshotMark { of, end, count: 0 }));
            }
        }
        self.tell(ReconcileReads::verdict(Ok(())));
    }
}
