//! The engine's REST side in virtual time: the line's own scheduler says which call may start when
//! and what follows from its end; the world carries calls there and answers back, each of which may
//! be lost, late or a refusal.

use super::canary::Canary;
use super::checks;
use super::faults::Kind;
use super::orders::Orders;
use super::run::{Ev, SECOND, World};
use super::setup;
use crate::base::retry::retry_after_of;
use crate::base::time::{MonoNs, SpanNs, WallNs};
use crate::line::Now;
use crate::line::reconcile::NO_ANSWER;
use crate::line::rest::flight::{Flight, FlightConfig};
use crate::line::rest::job::rules_of;
use crate::line::rest::orders::{self, Failure};
use crate::line::rest::{
    Action, BreakerState, Done, Ended, JobId, KeyPlan, KeyRole, LimitTable, Outcome, Priority,
    Reason, Request, Scheduler, SchedulerConfig, Side, Start, Upstream, probes,
};
use crate::model::{Body, VenueFact};
use crate::venue::errors::classify;
use crate::venue::rest::{Method, PairList, RestCall};
use crate::venue::symbols::SymbolTable;

/// Calls in flight besides kills, as a run has them by default.
const LANES: usize = 3;
/// Longest path and body of a call, bytes.
const CALL_TEXT_MAX: usize = 1_024;
/// A call without an answer is given up after this long, one of a cancel sooner.
const CALL_NS_MAX: u64 = 10 * SECOND;
const CANCEL_NS_MAX: u64 = 3 * SECOND;
/// A read of the account that could not start within this time is not made.
const FRESH_FOR: SpanNs = SpanNs::from_s(10);
/// And one of a kill: its next round asks anew.
const KILL_FRESH_FOR: SpanNs = SpanNs::from_s(5);
/// The kill lane calls after so long without a call.
const KEEP_WARM_NS: u64 = 25 * SECOND;
/// Between two looks at the list of pairs.
const LISTING_EVERY_NS: u64 = 90 * SECOND;
/// Longest time that an open breaker takes to close once its upstream is well again, ns.
const BREAKER_NS: u64 = 40 * SECOND;

/// Whose a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// The read that is due of this round.
    Account {
        round: u64,
    },
    Listing,
    /// An order or a cancel, because the account's socket is down.
    Order {
        number: u64,
    },
    /// The call that a direct kill waits for.
    Desk,
    /// The plane's own: probes, and the call that keeps a connection open.
    Own,
}

/// A call on its way.
#[derive(Debug)]
pub struct RestAsk {
    pub call: u64,
    pub method: &'static str,
    pub path: String,
    /// `None` = not signed.
    pub nonce: Option<String>,
    pub signature: String,
    pub body: Vec<u8>,
    /// An order or a cancel of the line.
    pub is_order: bool,
}
/// What the venue answered.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    /// Headers; empty = absent.
    pub retry_after: String,
    pub date: String,
    pub body: Vec<u8>,
}
/// How a call ended, as the transport sees it.
#[derive(Debug)]
pub enum End {
    Reply(Reply),
    /// `sent` = the venue may have acted.
    NoAnswer {
        sent: bool,
    },
}

/// A call in flight.
#[derive(Debug)]
struct Flying {
    number: u64,
    id: JobId,
    request: Request<Load>,
    left_ns: u64,
}

/// The engine's REST threads.
pub struct Plane {
    scheduler: Scheduler<Load>,
    table: SymbolTable,
    flying: Vec<Flying>,
    /// How the last try of a call that is to be made again has ended.
    again: Vec<(JobId, Outcome)>,
    /// Number of the last call; goes on over restarts, so that answers to an older run find nobody.
    number: u64,
    /// When the scheduler is asked again; `u64::MAX` = not by itself.
    wake_at: u64,
    warm_at: u64,
    listing_at: u64,
    /// What the line was told last.
    is_entry_allowed: bool,
    pub reads: super::reads::Reads,
    pub orders: Orders,
}

impl Plane {
    pub fn new(seed: u64, now_ns: u64) -> Plane {
        let mut config = SchedulerConfig::new(LimitTable::default(), KeyPlan::ONE, seed);
        config.in_flight_max = LANES;
        config.in_flight_reserved = 1;
        config.probes = probes::probes(&config.table, |_| true, Load::Own);
        let apart = SpanNs::from_s(1);
        Plane {
            scheduler: Scheduler::new(config),
            table: SymbolTable::new(&setup::instruments()),
            flying: Vec::new(),
            again: Vec::new(),
            number: 0,
            wake_at: u64::MAX,
            warm_at: now_ns + KEEP_WARM_NS,
            listing_at: now_ns + LISTING_EVERY_NS,
            is_entry_allowed: true,
            reads: super::reads::Reads::new(Flight::new(FlightConfig {
                fresh_for: SpanNs::ZERO,
                apart,
            })),
            orders: Orders::default(),
        }
    }
    /// A new run: nothing is known of what the old one learned, and answers to it find nobody.
    pub fn restart(&mut self, seed: u64, now_ns: u64) {
        let (number, rounds) = (self.number, self.reads.rounds());
        *self = Plane::new(seed, now_ns);
        self.number = number;
        self.reads.continue_from(rounds);
    }
    pub fn is_idle(&self) -> bool {
        self.reads.is_idle()
    }
    pub fn table(&self) -> &SymbolTable {
        &self.table
    }
    /// How long the venue's own patience, as far as it is known, may hold a reconcile up: blocks
    /// that it asked for, limits that it taught, and a breaker that has to ask first.
    pub fn held_ns(&self, now: MonoNs) -> u64 {
        let reads =
            ["auth/r/trades/hist", "auth/r/orders/hist", "auth/r/orders", "auth/r/positions"];
        let rows = self.scheduler.tokens(now).filter(|(name, _)| reads.contains(name));
        let host = self.scheduler.host_tokens(Side::Private, now);
        let of_row = rows.map(|(_, view)| {
            let between = SpanNs::from_s(66).0 as u64 / u64::from(view.window_calls.max(1));
            view.blocked_for.0.max(0) as u64 + 3 * between
        });
        let blocked = of_row.max().unwrap_or(0).max(host.blocked_for.0.max(0) as u64);
        let is_closed = self.scheduler.breaker_state(Upstream::Account) == BreakerState::Closed;
        blocked + if is_closed { 0 } else { BREAKER_NS }
    }
}

impl World {
    fn rest_now(&self) -> Option<Now> {
        let engine = self.engine.as_ref()?;
        Some(engine.now(self.now_ns, self.engine_wall()))
    }
    /// Hands a request in; false where the scheduler does not take it.
    pub fn ask_plane(&mut self, call: &RestCall, reason: Reason, load: Load) -> bool {
        let Some(now) = self.rest_now() else { return false };
        let scheduler = &mut self.plane.scheduler;
        let (priority, role, repeat) = match load {
            Load::Order { .. } => orders::treated(call),
            _ => rules_of(call, reason),
        };
        let endpoint = scheduler.table().find(call.endpoint());
        let fresh_for = match (load, reason) {
            (Load::Order { .. }, _) => orders::FRESH_FOR,
            (_, Reason::Kill) => KILL_FRESH_FOR,
            _ => FRESH_FOR,
        };
        let deadline = now.mono + fresh_for;
        let request = Request { endpoint, priority, role, repeat, reason, deadline, payload: load };
        self.checks.rest.taken();
        scheduler.handle_request(request, now).is_ok()
    }
    /// Does what the scheduler says until it says wait.
    pub fn poll_rest(&mut self) {
        loop {
            let Some(now) = self.rest_now() else { return };
            match self.plane.scheduler.poll(now) {
                Action::Start(start) => self.leave_rest(&start),
                Action::Drop(dropped) => {
                    self.coverage.hit(Kind::RestDropped);
                    self.plane.again.retain(|(id, _)| *id != dropped.id);
                    let failure = Failure::Dropped { last: dropped.last };
                    self.rest_done(dropped.request.payload, Err(failure));
                }
                Action::Wait(at) => {
                    self.wake_rest(at);
                    break;
                }
            }
        }
        self.hear_breakers();
    }
    /// The scheduler is asked again at this time of the engine's clock.
    pub fn wake_rest(&mut self, at: Option<MonoNs>) {
        let (Some(at), Some(engine)) = (at, &self.engine) else { return };
        let at = engine.world_ns(at).max(self.now_ns + 1);
        if at < self.plane.wake_at {
            self.plane.wake_at = at;
            self.at(at, Ev::RestPoll);
        }
    }
    pub fn rest_poll(&mut self) {
        if self.now_ns >= self.plane.wake_at {
            self.plane.wake_at = u64::MAX;
            self.next_round();
            self.poll_rest();
        }
    }
    /// What a run does beside its reads: keeps a connection open, looks at the list of pairs.
    pub fn rest_beside(&mut self) {
        let Some(now) = self.rest_now() else { return };
        if self.now_ns >= self.plane.listing_at {
            self.plane.listing_at = self.now_ns + LISTING_EVERY_NS;
            let pairs = RestCall::ConfPairs(PairList::Margin);
            self.ask_plane(&pairs, Reason::Registry, Load::Listing);
            self.poll_rest();
        }
        if self.now_ns >= self.plane.warm_at {
            self.plane.warm_at = self.now_ns + KEEP_WARM_NS;
            let scheduler = &mut self.plane.scheduler;
            let request = probes::keep_warm(scheduler.table(), now.mono, Load::Own);
            self.checks.rest.taken();
            let id = scheduler.handle_request(request, now);
            self.poll_rest();
            if let Ok(id) = id {
                self.plane.scheduler.handle_abandon(id);
            }
        }
    }
    /// Order entry by REST does not get through, or does again: the line is told.
    fn hear_breakers(&mut self) {
        while let Some(event) = self.plane.scheduler.poll_event() {
            self.log.line(self.now_ns, || format!("rest: {event:?}"));
            match event {
                crate::line::rest::RestEvent::Breaker(event) if event.to == BreakerState::Open => {
                    self.coverage.hit(Kind::BreakerOpened);
                }
                crate::line::rest::RestEvent::Learned { .. } => {
                    self.coverage.hit(Kind::LimitLearned);
                }
                _ => {}
            }
        }
        let is_allowed = self.plane.scheduler.is_entry_allowed();
        if is_allowed != self.plane.is_entry_allowed {
            self.plane.is_entry_allowed = is_allowed;
            let fact = match is_allowed {
                true => VenueFact::OrderEntryUp,
                false => {
                    self.coverage.hit(Kind::EntryBreakerOpen);
                    VenueFact::OrderEntryDown
                }
            };
            self.tell(Body::Venue(fact));
        }
    }

    /// Method, path behind `/v2/`, body. `None` where nobody waits for it any more.
    fn rest_text(&self, request: &Request<Load>) -> Option<(&'static str, String, Vec<u8>)> {
        let call = match request.payload {
            Load::Account { round } => self.plane.reads.call_of(round)?,
            Load::Listing => RestCall::ConfPairs(PairList::Margin),
            Load::Order { number } => self.plane.orders.call_of(number)?,
            Load::Desk => self.desk_call()?,
            Load::Own if request.side() == Side::Public => {
                return Some(("GET", probes::PUBLIC_PATH.to_owned(), Vec::new()));
            }
            Load::Own => return Some(("POST", probes::SIGNED_PATH.to_owned(), b"{}".to_vec())),
        };
        let (mut path, mut body) = ([0; CALL_TEXT_MAX], [0; CALL_TEXT_MAX]);
        let len = call.write_path(&self.plane.table, &mut path).ok()?;
        let path = String::from_utf8_lossy(&path[..len]).into_owned();
        let method = if call.method() == Method::Get { "GET" } else { "POST" };
        let len = match call.method() {
            Method::Get => 0,
            Method::Post => call.write_body(&self.plane.table, &mut body).ok()?,
        };
        Some((method, path, body[..len].to_vec()))
    }
    fn leave_rest(&mut self, start: &Start<Load>) {
        let request = start.request;
        let again = self.plane.again.iter().position(|(id, _)| *id == start.id);
        let last = again.map(|at| self.plane.again.swap_remove(at).1);
        if last.is_some() {
            self.coverage.hit(Kind::RestRepeated);
        }
        let verdict = self.checks.rest.leaves(&request, last, self.now_ns);
        self.checks.say(self.now_ns, checks::rest::NAME, verdict);
        self.plane.number += 1;
        let number = self.plane.number;
        let left_ns = self.now_ns;
        self.plane.flying.push(Flying { number, id: start.id, request, left_ns });
        let text = self.rest_text(&request);
        let wall = self.engine_wall();
        let (Some(engine), Some((method, path, body))) = (self.engine.as_mut(), text) else {
            let end = End::NoAnswer { sent: false };
            return self.after(0, Ev::RestEnd { call: number, end });
        };
        let is_kill = request.role == Some(KeyRole::Kill) || request.reason == Reason::KeepWarm;
        if is_kill {
            self.plane.warm_at = self.now_ns + KEEP_WARM_NS;
        }
        let (mut nonce, mut signature) = (None, String::new());
        if request.role.is_some() {
            let next = engine.nonces.next((wall.0 / 1_000) as u64);
            self.disk.nonce_mark = next;
            let verdict = self.checks.restart.nonce(next);
            self.checks.say(self.now_ns, checks::restart::NAME, verdict);
            signature = setup::key().sign_rest(&path, next, &body).as_str().to_owned();
            nonce = Some(next.to_string());
        }
        self.log.line(self.now_ns, || format!("rest {path} leaves: {:?}", request.reason));
        if path.starts_with("auth/w/order/cancel") {
            self.saw_cancel();
        }
        if self.chaos.venue_down(self.now_ns) {
            self.coverage.hit(Kind::RestUnreached);
            let wait = self.delay();
            let end = End::NoAnswer { sent: false };
            return self.after(wait, Ev::RestEnd { call: number, end });
        }
        // An order that closes ranks with them, and has the time of any call.
        let is_cancel = request.priority == Priority::Cancel && request.reason != Reason::Entry;
        let patience = if is_cancel { CANCEL_NS_MAX } else { CALL_NS_MAX };
        self.after(patience, Ev::RestEnd { call: number, end: End::NoAnswer { sent: true } });
        if self.chance(self.plan.faults.rest_lost_ppm) && self.rng.chance(1, 2) {
            self.coverage.hit(Kind::RestLost);
            return;
        }
        let wait = self.delay();
        let path = format!("/v2/{path}");
        let is_order = matches!(request.payload, Load::Order { .. });
        let ask = RestAsk { call: number, method, path, nonce, signature, body, is_order };
        self.after(wait, Ev::RestArrives(ask));
        if is_order {
            self.crash_behind_a_call();
        }
    }
    /// A call ends: by its answer, or by its deadline.
    pub fn rest_end(&mut self, call: u64, end: &End) {
        let place = self.plane.flying.iter().position(|flying| flying.number == call);
        let (Some(place), Some(now)) = (place, self.rest_now()) else { return };
        let Flying { id, request, left_ns, .. } = self.plane.flying.swap_remove(place);
        let (status, outcome, after, result) = match end {
            End::NoAnswer { sent } => {
                let failure = Failure::NoAnswer { maybe_sent: *sent };
                (0, Outcome::NoAnswer { sent: *sent }, None, Err(failure))
            }
            End::Reply(reply) => {
                let after = retry_after_of(&reply.retry_after, &reply.date);
                let heard = after.filter(|_| self.plan.canary != Canary::RetryAfterIgnored);
                let error = classify(reply.status, &reply.body);
                let outcome = error
                    .as_ref()
                    .map_or(Outcome::Answered, |error| Outcome::of_error(error.kind, heard));
                let result = match error {
                    None => Ok((reply.status, reply.body.as_slice())),
                    Some(error) => Err(Failure::Venue(error)),
                };
                (reply.status, outcome, after, result)
            }
        };
        self.log.line(self.now_ns, || {
            let body = result.map(|(_, body)| String::from_utf8_lossy(body));
            format!("rest {:?} ends: {outcome:?} {body:?}", request.payload)
        });
        let (how, times) = ((status, outcome), (left_ns, self.now_ns));
        self.checks.rest.ended(&request, how, after, times);
        if outcome == Outcome::NonceSmall
            && let Some(engine) = &self.engine
        {
            self.coverage.hit(Kind::NonceSteppedPast);
            engine.nonces.step_past();
        }
        match self.plane.scheduler.handle_end(id, outcome, now) {
            Ended::Again { .. } => self.plane.again.push((id, outcome)),
            Ended::Done(Done { request, .. }) => self.rest_done(request.payload, result),
            Ended::Unknown => {
                let words = format!("the scheduler does not know {:?}", request.payload);
                self.checks.say(self.now_ns, checks::rest::NAME, Err(words));
            }
        }
        self.poll_rest();
    }
    /// A request has its answer, or the code of why there is none.
    fn rest_done(&mut self, load: Load, result: Result<(u16, &[u8]), Failure>) {
        let or_code = result.map_err(|failure| failure.code(NO_ANSWER));
        match load {
            Load::Account { round } => self.account_read(round, or_code),
            Load::Listing => {
                if let Ok((_, body)) = result
                    && !body.starts_with(b"[[\"")
                {
                    let words = "the list of pairs is none".to_owned();
                    self.checks.say(self.now_ns, checks::rest::NAME, Err(words));
                }
            }
            Load::Order { number } => self.order_done(number, result),
            Load::Desk => self.desk_read(or_code),
            Load::Own => {}
        }
    }
    /// A fact learned by REST goes to the front.
    pub fn tell(&mut self, body: Body) {
        let wall: WallNs = self.engine_wall();
        let Some(engine) = self.engine.as_mut().filter(|engine| !engine.hangs) else { return };
        let now = engine.now(self.now_ns, wall);
        engine.line.on_rest(body, now, &mut engine.ring, &mut engine.tap);
        self.turn();
    }
}
