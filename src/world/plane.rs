//! The REST plane in virtual time: the reads of a reconcile one after the other, each signed, each
//! with its way there and back, each of which may fail.

use super::canary::Canary;
use super::checks;
use super::faults::Kind;
use super::run::{Ev, SECOND, World};
use super::setup::{self, KEY};
use crate::base::time::WallNs;
use crate::exchange::HttpRequest;
use crate::line::reconcile::{NO_ANSWER, ReconcileReads};
use crate::model::{Body, SnapshotMark, SnapshotOf};
use crate::venue::rest::{RestSink, parse_reply};
use crate::venue::symbols::SymbolTable;

/// Tries of one read before the reconcile has failed.
const TRIES_MAX: u32 = 3;
/// Longest path and body of a call, bytes.
const CALL_TEXT_MAX: usize = 1_024;
/// A call without an answer is given up after this long.
const CALL_NS_MAX: u64 = 10 * SECOND;

/// A signed call on its way.
#[derive(Debug)]
pub struct RestAsk {
    call: u64,
    path: String,
    nonce: String,
    signature: String,
    body: Vec<u8>,
}

/// One reconcile.
#[derive(Clone, Copy, Debug)]
struct Round {
    number: u64,
    reads: ReconcileReads,
    tries: u32,
    began_at: u64,
}

/// The engine's REST thread.
#[derive(Debug, Default)]
pub struct Plane {
    round: Option<Round>,
    /// Asked for while another round runs.
    wanted: Option<WallNs>,
    /// The call under way.
    call: u64,
    is_waiting: bool,
    rounds: u64,
}

impl Plane {
    /// A new run; numbers go on, so that answers to the old one find nobody.
    pub fn continue_from(old: &Plane) -> Plane {
        Plane { call: old.call + 1, rounds: old.rounds, ..Plane::default() }
    }
    pub fn forget(&mut self) {
        *self = Plane::continue_from(self);
    }
    pub fn is_idle(&self) -> bool {
        self.round.is_none() && self.wanted.is_none()
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
        self.plane.wanted = Some(since);
        self.next_round();
    }
    fn next_round(&mut self) {
        if self.plane.round.is_some() {
            return;
        }
        let Some(since) = self.plane.wanted.take() else { return };
        self.plane.rounds += 1;
        let (number, reads) = (self.plane.rounds, ReconcileReads::new(since));
        self.plane.round = Some(Round { number, reads, tries: 0, began_at: self.now_ns });
        self.make_call();
    }
    /// The read that is due leaves.
    fn make_call(&mut self) {
        let wall = self.engine_wall();
        let Some(engine) = self.engine.as_mut() else { return };
        let Some(reads) = self.plane.round.map(|round| round.reads) else { return };
        let Some(call) = reads.call() else { return };
        if let Some(mark) = reads.begin() {
            let now = engine.now(self.now_ns, wall);
            engine.line.on_rest(mark, now, &mut engine.ring, &mut engine.tap);
        }
        let table = SymbolTable::new(&setup::instruments());
        let (mut path, mut body) = ([0; CALL_TEXT_MAX], [0; CALL_TEXT_MAX]);
        let len = call.write_path(&table, &mut path).unwrap_or(0);
        let path = String::from_utf8_lossy(&path[..len]).into_owned();
        let len = call.write_body(&table, &mut body).unwrap_or(0);
        let body = body[..len].to_vec();
        let nonce = engine.nonces.next((wall.0 / 1_000) as u64);
        self.disk.nonce_mark = nonce;
        let verdict = self.checks.restart.nonce(nonce);
        self.checks.say(self.now_ns, checks::restart::NAME, verdict);
        let signature = setup::key().sign_rest(&path, nonce, &body).as_str().to_owned();
        self.plane.call += 1;
        self.plane.is_waiting = true;
        let number = self.plane.call;
        self.log.line(self.now_ns, || format!("rest {path} leaves"));
        self.after(CALL_NS_MAX, Ev::RestTimeout { call: number });
        if self.chance(self.plan.faults.rest_lost_ppm) && self.rng.chance(1, 2) {
            self.coverage.hit(Kind::RestLost);
            return;
        }
        let wait = self.delay();
        let (path, nonce) = (format!("/v2/{path}"), nonce.to_string());
        let ask = RestAsk { call: number, path, nonce, signature, body };
        self.after(wait, Ev::RestArrives(ask));
    }
    pub fn rest_arrives(&mut self, ask: RestAsk) {
        let faults = self.plan.faults.clone();
        let (status, body) = if self.chance(faults.rest_error_ppm) {
            self.coverage.hit(Kind::RestError);
            match self.rng.below(3) {
                0 => (500, b"[\"error\",10001,\"internal error\"]".to_vec()),
                1 => (503, b"<html>Service Unavailable</html>".to_vec()),
                _ => (502, Vec::new()),
            }
        } else if self.chance(faults.rest_rate_limit_ppm) {
            self.coverage.hit(Kind::RestRateLimit);
            (429, b"[\"error\",11010,\"ratelimit: error\"]".to_vec())
        } else {
            let request = HttpRequest {
                method: "POST",
                path_and_query: &ask.path,
                api_key: Some(KEY),
                nonce: Some(&ask.nonce),
                signature: Some(&ask.signature),
                token: None,
                if_none_match: None,
                body: &ask.body,
            };
            let reply = self.exchange.rest(&request, self.true_wall());
            self.pump();
            (reply.status, reply.body)
        };
        if self.chance(faults.rest_lost_ppm) {
            self.coverage.hit(Kind::RestLost);
            return;
        }
        let mut wait = self.delay();
        if self.chance(faults.rest_slow_ppm) {
            self.coverage.hit(Kind::RestSlow);
            wait += self.rng.below(12 * SECOND);
        }
        self.log.add(self.now_ns, 400 + u64::from(status), &body);
        self.after(wait, Ev::RestReply { call: ask.call, status, body });
    }
    pub fn rest_reply(&mut self, call: u64, status: u16, body: &[u8]) {
        if call != self.plane.call || !self.plane.is_waiting {
            return;
        }
        self.plane.is_waiting = false;
        let Some(due) = self.plane.round.and_then(|round| round.reads.call()) else { return };
        let table = SymbolTable::new(&setup::instruments());
        let mut items = Collected::default();
        self.log.line(self.now_ns, || {
            format!("rest {} answers {status}: {}", due.endpoint(), String::from_utf8_lossy(body))
        });
        match parse_reply(&due, status, body, &table, &mut items) {
            Ok(_) => self.rest_items(&items.0),
            Err(error) => {
                let code = if error.code != 0 { error.code } else { i32::from(error.status) };
                self.rest_failed(code);
            }
        }
    }
    pub fn rest_timeout(&mut self, call: u64) {
        if call == self.plane.call && self.plane.is_waiting {
            self.plane.is_waiting = false;
            self.rest_failed(NO_ANSWER);
        }
    }
    fn rest_failed(&mut self, code: i32) {
        let Some(round) = &mut self.plane.round else { return };
        round.tries += 1;
        let (number, tries) = (round.number, round.tries);
        if tries >= TRIES_MAX {
            return self.end_round(Err(code));
        }
        self.after(100_000_000 << tries, Ev::RestRetry { round: number });
    }
    pub fn rest_retry(&mut self, round: u64) {
        if self.plane.round.is_some_and(|now| now.number == round) && !self.plane.is_waiting {
            self.make_call();
        }
    }
    fn rest_items(&mut self, items: &[Body]) {
        let Some(round) = &mut self.plane.round else { return };
        let next = round.reads.on_reply(items);
        round.tries = 0;
        let has_more = round.reads.call().is_some();
        for item in items.iter().filter(|item| !ReconcileReads::is_begin(item)) {
            self.tell(*item);
        }
        match next {
            Ok(()) if has_more => self.make_call(),
            done => self.end_round(done),
        }
    }
    fn end_round(&mut self, done: Result<(), i32>) {
        let from = self.plane.round.take().map_or(0, |round| round.began_at);
        if done.is_ok() {
            self.reconciled_from = from;
        }
        self.tell(ReconcileReads::verdict(done));
        self.next_round();
    }
    /// A fact learned by REST goes to the front.
    fn tell(&mut self, body: Body) {
        let wall = self.engine_wall();
        let Some(engine) = self.engine.as_mut() else { return };
        let now = engine.now(self.now_ns, wall);
        engine.line.on_rest(body, now, &mut engine.ring, &mut engine.tap);
        self.turn();
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
