//! The other way out in virtual time: what `send` hands over while the account's socket is down
//! becomes calls of the plane, and what became of them goes back through the front. Which calls,
//! and what their end says, is the line's own word (`line::rest::orders`); how the calls fare is
//! the world's.

use super::canary::Canary;
use super::checks;
use super::faults::Kind;
use super::plane::{Load, Reply, RestAsk};
use super::rest_faults::Refused;
use super::run::{Ev, World};
use super::setup::{self, GID};
use super::wire::{self, Asked};
use crate::line::rest::orders::{self, Failure, PENDING_MAX};
use crate::line::send::Door;
use crate::model::{Command, SendOutcome};
use crate::venue::errors::{RestErrorKind, classify};
use crate::venue::rest::RestCall;
use std::collections::VecDeque;

/// Between two looks of the REST thread at what was handed over, ns.
const LOOK_NS: u64 = 2_000_000;

#[derive(Debug)]
struct Pending {
    number: u64,
    command: Command,
    call: RestCall,
}

/// Orders on their way by REST.
#[derive(Debug, Default)]
pub struct Orders {
    /// Handed over and not yet asked for.
    waiting: VecDeque<Command>,
    pending: Vec<Pending>,
    number: u64,
}
impl Orders {
    /// The call of an order, while its answer is waited for.
    pub fn call_of(&self, number: u64) -> Option<RestCall> {
        self.pending.iter().find(|one| one.number == number).map(|one| one.call)
    }
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.pending.is_empty()
    }
}

impl World {
    /// The gate is asked and the record made as for bytes; then the REST thread has it. `None` =
    /// the engine has crashed instead.
    pub fn leave_by_rest(&mut self, command: &Command, door: Door) -> Option<SendOutcome> {
        let engine = self.engine.as_mut()?;
        let sent = engine.chain.send.on_command_by_rest(command, door, &mut self.disk);
        if let Err(outcome) = sent {
            self.checks.limits.gone(command);
            return Some(outcome);
        }
        if self.crashes_once_written(command) {
            return None;
        }
        self.checks.fate.leaves_by_rest(command, self.now().mono.0);
        self.plane.orders.waiting.push_back(*command);
        self.after(LOOK_NS, Ev::RestOrders);
        Some(SendOutcome::Written)
    }
    /// The REST thread asks for what it has been given.
    pub fn ask_orders(&mut self) {
        while self.plane.orders.pending.len() < PENDING_MAX
            && let Some(command) = self.plane.orders.waiting.pop_front()
        {
            let Some(call) = orders::call_of(&command, Some(GID)) else {
                let gone = orders::failed(&command, &Failure::NotMade);
                self.tell(gone);
                continue;
            };
            let rows = &mut self.plane.orders;
            rows.number += 1;
            let number = rows.number;
            rows.pending.push(Pending { number, command, call });
            let is_close = matches!(call, RestCall::Submit { .. });
            if self.ask_plane(&call, orders::reason_of(&call), Load::Order { number }) {
                let kind = if is_close { Kind::CloseByRest } else { Kind::CancelByRest };
                self.coverage.hit(kind);
                self.poll_rest();
            } else {
                self.order_done(number, Err(Failure::NotMade));
            }
        }
    }
    /// The call of an order has ended.
    pub fn order_done(&mut self, number: u64, result: Result<(u16, &[u8]), Failure>) {
        let rows = &mut self.plane.orders.pending;
        let Some(place) = rows.iter().position(|one| one.number == number) else { return };
        let Pending { command, call, .. } = rows.swap_remove(place);
        let is_in_doubt = result.is_err_and(|failure| !failure.proves_nothing_happened());
        if is_in_doubt {
            self.coverage.hit(Kind::RestOrderLost);
            self.checks.fate.ends_in_doubt(&command);
        }
        // The canary: a lost answer is taken for a call that never left.
        let forgets = self.plan.canary == Canary::RestLossForgotten && is_in_doubt;
        let result = if forgets { Err(Failure::NotMade) } else { result };
        let told = orders::told(&command, &call, result, self.plane.table());
        for body in told.bodies {
            self.tell(body);
        }
        self.ask_orders();
    }
    /// The engine may die right behind the bytes of a call, too; calls are few, so more often.
    pub fn crash_behind_a_call(&mut self) {
        let ppm = self.plan.faults.crash_at_send_ppm.saturating_mul(20);
        if self.chance(ppm) {
            self.crash();
        }
    }
    /// The engine is gone while orders of it are on their way by REST.
    pub fn crash_with_rest_orders(&mut self) {
        if !self.plane.orders.is_idle() {
            self.coverage.hit(Kind::CrashWithRestOrder);
        }
    }

    // ---- the exchange's side ----

    /// A message of the account's socket reaches the exchange; what it is by then.
    pub fn order_arrives(&mut self, text: String) -> String {
        match wire::asked(&text) {
            Asked::New { cid, terms } => {
                self.new_arrives(cid, terms);
                if let Some(bad) = self.spoilt(&text) {
                    return bad;
                }
            }
            Asked::Amend { id } => self.checks.limits.amend_arrived(id),
            Asked::Other => {}
        }
        text
    }
    /// A new order of ours reaches the exchange, by whichever way.
    fn new_arrives(&mut self, cid: u64, terms: checks::duplicate::Terms) {
        let verdict = self.checks.cids.arrived(cid);
        self.checks.say(self.now_ns, checks::cids::NAME, verdict);
        let verdict = checks::record::arrived(cid, &self.disk);
        self.checks.say(self.now_ns, checks::record::NAME, verdict);
        let verdict = self.checks.duplicate.arrived(cid, terms);
        self.checks.say(self.now_ns, checks::duplicate::NAME, verdict);
        let verdict = self.checks.fate.arrived(cid);
        self.checks.say(self.now_ns, checks::fate::NAME, verdict);
        self.checks.limits.order_arrived(cid);
    }
    /// The same order with a price that the venue refuses, now and then.
    fn spoilt(&mut self, text: &str) -> Option<String> {
        if !self.chance(self.plan.faults.reject_ppm) {
            return None;
        }
        let bad = wire::with_member(text, "price", "-1")?;
        self.coverage.hit(Kind::Reject);
        Some(bad)
    }
    /// A call of the line that writes reaches the exchange.
    pub fn write_arrives(&mut self, ask: &RestAsk) -> Reply {
        let text = String::from_utf8_lossy(&ask.body).into_owned();
        let asked = match ask.path.ends_with("/order/submit") {
            true => wire::order_of(&text),
            false => Asked::Other,
        };
        let Asked::New { cid, terms } = asked else { return self.exchange_answers(ask, &ask.body) };
        let body = self.spoilt(&text).map_or_else(|| ask.body.clone(), String::into_bytes);
        let reply = self.exchange_answers(ask, &body);
        // A nonce that was used up is refused at the gate: nothing has arrived.
        let error = classify(reply.status, &reply.body);
        if error.is_some_and(|error| error.kind == RestErrorKind::Nonce) {
            return reply;
        }
        self.new_arrives(cid, terms);
        if error.is_none() {
            self.checks.fate.taken(cid);
        }
        reply
    }
    /// Some servers break after they have acted.
    pub fn acts_and_breaks(&mut self, ask: &RestAsk, refused: Refused, wait_s: u64) -> Reply {
        if self.rng.chance(1, 2) {
            let done = self.write_arrives(ask);
            if done.status == 200 {
                self.coverage.hit(Kind::RestOrderBroken);
            }
        }
        self.refuse(refused, wait_s)
    }
}

/// What a body is signed with, once it was changed on its way.
pub fn signed_anew(ask: &RestAsk, body: &[u8]) -> Option<String> {
    let nonce: u64 = ask.nonce.as_ref()?.parse().ok()?;
    let path = ask.path.strip_prefix("/v2/")?;
    Some(setup::key().sign_rest(path, nonce, body).as_str().to_owned())
}
