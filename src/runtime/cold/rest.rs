//! The REST thread: reads the account when the line asks for a reconcile, keeps the list of pairs
//! fresh, and pushes what it learned back through the front, item by item. Every call goes through
//! the plane. Orders and prices never come from here.

use super::listing::{Listing, ListingFacts};
use super::orders::RestOrders;
use crate::base::time::{MonoNs, SpanNs, WallNs};
use crate::io::clock::Clock;
use crate::line::Now;
use crate::line::reconcile::{NO_ANSWER, ReconcileReads, UNREADABLE};
use crate::line::rest::flight::{Ask, Flight, FlightConfig};
use crate::line::rest::{Reason, RestEvent};
use crate::model::{Body, VenueFact};
use crate::ring::{Rx, Tx};
use crate::runtime::link::RestWant;
use crate::runtime::plane::{PlaneCall, PlaneError, RestPlane};
use crate::venue::rest::{RestCall, RestSink, parse_reply};
use crate::venue::symbols::SymbolTable;
use crossbeam_channel::RecvTimeoutError;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Between two looks at the wishes, and between two tries to push an answer into a full ring.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// A read of the account that could not start within this time is not made.
const FRESH_FOR: Duration = Duration::from_secs(10);

/// What the thread did, for the status and the report.
#[derive(Debug, Default)]
pub struct RestStats {
    pub reconciles: AtomicU64,
    pub reconciles_failed: AtomicU64,
    /// Wishes for a reconcile that another answered.
    pub reconciles_merged: AtomicU64,
    pub listing: Mutex<ListingFacts>,
}

/// What a REST thread is set up with.
pub struct RestPlan {
    pub plane: RestPlane,
    /// Reads of the account begin at least so far apart.
    pub account_apart: SpanNs,
    /// While orders by REST do not get through, the line opens nothing new.
    pub cancel_only_when_down: bool,
    /// `None`: the list of pairs is never asked for again.
    pub listing: Option<Listing>,
}

pub struct RestThread {
    pub plan: RestPlan,
    pub table: SymbolTable,
    pub wants: Rx<RestWant>,
    /// What goes by REST because the private socket is down.
    pub orders: RestOrders,
    pub answers: Tx<Body>,
    /// History read before the start; told first.
    pub warm_up: Vec<Body>,
    pub clock: Clock,
    pub stop: Arc<AtomicBool>,
    pub stats: Arc<RestStats>,
}

/// Items of one reply, in order.
#[derive(Default)]
struct Collected(Vec<Body>);
impl RestSink for Collected {
    fn body(&mut self, body: Body) {
        self.0.push(body);
    }
}

/// What changes while it runs.
struct State {
    account: Flight,
    /// Not asked again before.
    account_at: MonoNs,
    /// Since when histories are wanted; the earliest of all wishes.
    wanted: Option<WallNs>,
    is_first: bool,
    /// What the line was told last.
    is_entry_allowed: bool,
}

impl RestThread {
    /// Runs until told to stop.
    pub fn run(mut self) {
        for body in std::mem::take(&mut self.warm_up) {
            self.answer(body);
        }
        let apart = self.plan.account_apart;
        let mut state = State {
            account: Flight::new(FlightConfig { fresh_for: SpanNs::ZERO, apart }),
            account_at: MonoNs(0),
            wanted: None,
            is_first: true,
            is_entry_allowed: true,
        };
        while !self.stop.load(Ordering::Acquire) {
            self.beside(&mut state);
            while let Some(RestWant::Reconcile { since }) = self.wants.pop() {
                if let Some(other) = state.wanted {
                    self.stats.reconciles_merged.fetch_add(1, Ordering::Relaxed);
                    state.wanted = Some(other.min(since));
                } else {
                    state.wanted = Some(since);
                }
            }
            let now = self.now().mono;
            match state.wanted {
                Some(since) if now >= state.account_at => match state.account.ask(now) {
                    Ask::Later(at) => state.account_at = at,
                    Ask::Fetch | Ask::Join | Ask::Fresh { .. } => {
                        state.wanted = None;
                        self.reconcile(since, &mut state);
                    }
                },
                _ => std::thread::park_timeout(LOOK_EVERY),
            }
        }
    }

    fn now(&self) -> Now {
        Now { mono: self.clock.mono(), wall: self.clock.wall() }
    }

    fn reconcile(&mut self, since: WallNs, state: &mut State) {
        self.stats.reconciles.fetch_add(1, Ordering::Relaxed);
        let reason = if state.is_first { Reason::Start } else { Reason::Reconcile };
        let mut reads = ReconcileReads::new(since);
        let mut done = Ok(());
        while let (Ok(()), Some(call)) = (done, reads.call()) {
            if let Some(mark) = reads.begin() {
                self.answer(mark);
            }
            done = self.read(&call, reason, state).and_then(|items| {
                let next = reads.on_reply(&items);
                let told_before = ReconcileReads::is_begin;
                items.into_iter().filter(|i| !told_before(i)).for_each(|item| self.answer(item));
                next
            });
        }
        let now = self.now().mono;
        if done.is_ok() {
            state.account.on_answer(now);
            state.is_first = false;
        } else {
            state.account.on_failure();
            self.stats.reconciles_failed.fetch_add(1, Ordering::Relaxed);
        }
        self.answer(ReconcileReads::verdict(done));
    }

    /// Pushes one fact; waits for room, because none of them may be lost.
    fn answer(&mut self, mut body: Body) {
        while !self.stop.load(Ordering::Acquire) {
            match self.answers.push(body) {
                Ok(()) => return,
                Err(back) => {
                    body = back;
                    std::thread::park_timeout(LOOK_EVERY);
                }
            }
        }
    }

    /// One private read; the plane repeats it where that is harmless. The error is the venue's or
    /// HTTP's code.
    fn read(
        &mut self,
        call: &RestCall,
        reason: Reason,
        state: &mut State,
    ) -> Result<Vec<Body>, i32> {
        let failed = |words: &dyn std::fmt::Display, code: i32| {
            log::warn!("rest {}: {words}", call.endpoint());
            code
        };
        let asked = PlaneCall::of(call, reason, &self.table, FRESH_FOR)
            .map_err(|error| failed(&format!("it cannot be written: {error:?}"), UNREADABLE))?;
        let waits = self.plan.plane.ask(asked).map_err(|error| failed(&error, NO_ANSWER))?;
        let answer = loop {
            match waits.recv_timeout(LOOK_EVERY) {
                Ok(answer) => break answer,
                Err(RecvTimeoutError::Disconnected) => break Err(PlaneError::Stopped),
                Err(RecvTimeoutError::Timeout) => {
                    if self.stop.load(Ordering::Acquire) {
                        break Err(PlaneError::Stopped);
                    }
                    self.beside(state);
                }
            }
        };
        let reply = answer.map_err(|error| failed(&error, error.failure().code(NO_ANSWER)))?;
        let mut items = Collected::default();
        match parse_reply(call, reply.status, &reply.body, &self.table, &mut items) {
            Ok(_) => Ok(items.0),
            Err(error) => {
                let code = if error.code != 0 { error.code } else { i32::from(error.status) };
                Err(failed(&format!("HTTP {}, {:?}", error.status, error.kind), code))
            }
        }
    }

    /// What goes on beside a reconcile, too: the plane's news, and the list of pairs.
    fn beside(&mut self, state: &mut State) {
        let mut told = Vec::new();
        self.orders.round(&self.plan.plane, &self.table, |body| told.push(body));
        told.into_iter().for_each(|body| self.answer(body));
        while let Some(event) = self.plan.plane.poll_event() {
            tell(&event);
        }
        let allowed = self.plan.plane.is_entry_allowed() || !self.plan.cancel_only_when_down;
        if allowed != state.is_entry_allowed {
            state.is_entry_allowed = allowed;
            let fact = if allowed { VenueFact::OrderEntryUp } else { VenueFact::OrderEntryDown };
            match allowed {
                true => log::warn!("REST order entry is back: entries are free again"),
                false => log::error!("REST order entry does not get through: cancel-only"),
            }
            self.answer(Body::Venue(fact));
        }
        let now = self.now();
        let Some(listing) = &mut self.plan.listing else { return };
        let Some(facts) = listing.round(&self.plan.plane, now) else { return };
        *self.stats.listing.lock() = listing.facts(now);
        facts.into_iter().for_each(|fact| self.answer(Body::Venue(fact)));
    }
}

/// The lines an operator reads.
fn tell(event: &RestEvent) {
    match event {
        RestEvent::Breaker(event) => log::warn!(
            "REST {}: breaker {} → {}",
            event.upstream.name(),
            event.from.name(),
            event.to.name()
        ),
        RestEvent::Learned { window_calls, .. } => {
            log::warn!("REST: the venue allows less than believed: {window_calls} calls a minute");
        }
        RestEvent::Blocked { side, .. } => {
            log::warn!(
                "REST: the {} host refused a call for the rate; it is left alone until a cancel \
                 gets through or its time is over",
                side.name()
            );
        }
    }
}
