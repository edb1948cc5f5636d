//! What a lane does: ask what may start, make the call, tell how it ended.

use super::keys::Gates;
use super::{Lane, PlaneCall, PlaneError, PlaneReply, RestPlane, State, Ticket};
use crate::base::limits::REST_RECORDS_MAX;
use crate::base::retry::RetryAfter;
use crate::base::time::{MonoNs, SpanNs};
use crate::io::http::{Method, RestError, RestFault, RestReply, RestRequest, Sent, Transport};
use crate::io::nonce::CallGate;
use crate::line::Now;
use crate::line::rest::record::safe_text;
use crate::line::rest::{
    Action, CallRecord, Done, Ended, JobId, KeyRole, Outcome, Priority, Reason, Side, Start, probes,
};
use crate::venue::errors::{RestError as VenueError, classify};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Longest sleep of a lane: whoever rings the bell ends it.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// How long a call waits for another process to end one of the same key.
const GATE_PATIENCE: Duration = Duration::from_secs(5);
const GATE_PATIENCE_CANCEL: Duration = Duration::from_millis(250);

pub(super) struct Worker {
    pub plane: RestPlane,
    pub lane: Lane,
    pub transport: Box<dyn Transport>,
    pub gates: Gates,
}

/// How a try ended, for the scheduler and for the caller.
struct Try {
    outcome: Outcome,
    result: Result<PlaneReply, PlaneError>,
    record: CallRecord,
}

impl Worker {
    pub(super) fn run(mut self) {
        let mut used_at = self.plane.shared.clock.mono();
        while let Some((start, call)) = self.next_start(&mut used_at) {
            let mut tried = self.make(&start, &call);
            used_at = self.plane.shared.clock.mono();
            tried.record.again = self.tell(&start, tried.outcome, tried.result);
            self.keep(tried.record);
        }
    }

    /// Hands a record on. Who keeps them may write to a disk: no lane waits for another one's.
    fn keep(&self, record: CallRecord) {
        let shared = &self.plane.shared;
        {
            let mut fresh = shared.fresh_records.lock();
            match fresh.len() < REST_RECORDS_MAX {
                true => fresh.push(record),
                false => log::warn!("a REST call's record is lost: whoever keeps them hangs"),
            }
        }
        // Whoever holds the sink takes what came meanwhile; looked at once more when it is free.
        while !shared.fresh_records.lock().is_empty() {
            let Some(mut sink) = shared.records.try_lock() else { return };
            let some = std::mem::take(&mut *shared.fresh_records.lock());
            some.iter().for_each(|record| sink.record(record));
        }
    }

    /// Waits for something to do; `None` when the plane has ended.
    fn next_start(&self, used_at: &mut MonoNs) -> Option<(Start<Ticket>, Arc<PlaneCall>)> {
        let shared = &self.plane.shared;
        let mut state = shared.state.lock();
        loop {
            let now = self.plane.now();
            let mut sleep = SLEEP_MAX;
            if let Some(start) = self.take(&mut state, now, &mut sleep) {
                let call = self.call_of(&state, &start);
                return Some((start, call));
            }
            if state.stopping && state.scheduler.is_idle() {
                shared.bell.notify_all();
                return None;
            }
            if let Some(warm) = shared.keep_warm.filter(|_| self.lane == Lane::Kill)
                && !state.stopping
            {
                let idle = Duration::from_nanos((now.mono - *used_at).0.max(0) as u64);
                if idle >= warm {
                    // Counts as used even where it may not start now: the next try is one span on.
                    *used_at = now.mono;
                    if let Some(start) = self.keep_warm(&mut state, now) {
                        return Some((start, Arc::new(warm_call())));
                    }
                }
                sleep = sleep.min(warm.saturating_sub(idle).max(Duration::from_millis(1)));
            }
            shared.bell.wait_for(&mut state, sleep);
        }
    }

    /// A start for this lane; those for others are left where they look.
    fn take(&self, state: &mut State, now: Now, sleep: &mut Duration) -> Option<Start<Ticket>> {
        loop {
            let mine = match self.lane {
                Lane::General => state.for_general.pop_front(),
                Lane::Kill => state.for_kill.pop_front(),
            };
            if mine.is_some() {
                return mine;
            }
            let action = state.scheduler.poll(now);
            self.plane
                .shared
                .entry_allowed
                .store(state.scheduler.is_entry_allowed(), Ordering::Release);
            match action {
                Action::Start(start) => {
                    let is_kill = start.request.role == Some(KeyRole::Kill);
                    let place = if is_kill { &mut state.for_kill } else { &mut state.for_general };
                    place.push_back(start);
                    if is_kill != (self.lane == Lane::Kill) {
                        self.plane.shared.bell.notify_all();
                    }
                }
                Action::Drop(dropped) => {
                    let (why, last) = (dropped.why, dropped.last);
                    let error = PlaneError::Dropped { why, last };
                    answer(state, dropped.id, dropped.request.payload, Err(error));
                }
                Action::Wait(at) => {
                    if let Some(at) = at {
                        let span = (at - now.mono).0.max(0) as u64;
                        // A little later, so that it is not asked too early again.
                        *sleep = (*sleep).min(Duration::from_nanos(span + 50_000));
                    }
                    return None;
                }
            }
        }
    }
    fn call_of(&self, state: &State, start: &Start<Ticket>) -> Arc<PlaneCall> {
        let waiting = state.waiting.get(start.request.payload.0 as usize);
        match waiting.and_then(Option::as_ref).filter(|waiting| waiting.job == start.id) {
            Some(waiting) => waiting.call.clone(),
            // A breaker's probe: harmless calls of the plane's own.
            None => Arc::new(probe_call(start)),
        }
    }
    /// Asks the scheduler for a call that keeps this lane's connection.
    fn keep_warm(&self, state: &mut State, now: Now) -> Option<Start<Ticket>> {
        let request = probes::keep_warm(state.scheduler.table(), now.mono, Ticket::NOBODY);
        let id = state.scheduler.handle_request(request, now).ok()?;
        match state.scheduler.poll(now) {
            Action::Start(start) if start.id == id => Some(start),
            Action::Start(other) => {
                let is_kill = other.request.role == Some(KeyRole::Kill);
                let place = if is_kill { &mut state.for_kill } else { &mut state.for_general };
                place.push_back(other);
                self.plane.shared.bell.notify_all();
                state.scheduler.handle_abandon(id);
                None
            }
            Action::Drop(dropped) => {
                let (why, last) = (dropped.why, dropped.last);
                let error = PlaneError::Dropped { why, last };
                answer(state, dropped.id, dropped.request.payload, Err(error));
                state.scheduler.handle_abandon(id);
                None
            }
            Action::Wait(_) => {
                state.scheduler.handle_abandon(id);
                None
            }
        }
    }

    fn make(&mut self, start: &Start<Ticket>, call: &PlaneCall) -> Try {
        let role = start.request.role;
        let mut gate = role.and_then(|role| self.gates[role.index()].take());
        let tried = self.make_through(gate.as_mut(), start, call);
        if let Some(role) = role {
            self.gates[role.index()] = gate;
        }
        tried
    }
    fn make_through(
        &mut self,
        gate: Option<&mut CallGate>,
        start: &Start<Ticket>,
        call: &PlaneCall,
    ) -> Try {
        let shared = self.plane.shared.clone();
        let request = &start.request;
        // The kill lane warms its own host; everything else public goes to the public one.
        let on_private = request.role.is_some() || request.reason == Reason::KeepWarm;
        let base = if on_private { &shared.private_url } else { &shared.public_url };
        let url = format!("{base}/v2/{}", call.path);
        let key = request.role.and_then(|role| shared.keys[role.index()].as_ref());
        let is_cancel = request.priority == Priority::Cancel;
        let patience = if is_cancel { GATE_PATIENCE_CANCEL } else { GATE_PATIENCE };
        // A cancel goes all the same; others may not have two calls of a key in flight.
        let pass = gate.map(|gate| gate.enter(patience));
        if !is_cancel && matches!(pass, Some(None)) {
            return self.unsent(start, RestFault::Other, None);
        }
        let mut headers: Vec<(&str, &str)> = Vec::with_capacity(6);
        if call.method == Method::Post {
            headers.push(("content-type", "application/json"));
        }
        if let Some(etag) = &call.if_none_match {
            headers.push(("if-none-match", etag));
        }
        let (nonce_text, signature);
        if let Some(key) = key {
            let now_us = (shared.clock.wall().0 / 1_000).max(0) as u64;
            let nonce = match key.nonces.next(now_us) {
                Ok(nonce) => nonce,
                Err(error) => {
                    log::error!("{error}");
                    drop(pass);
                    return self.unsent(start, RestFault::Other, Some(PlaneError::NoNonce));
                }
            };
            let path = call.path.split('?').next().unwrap_or_default();
            nonce_text = nonce.to_string();
            signature = key.key.sign_rest(path, nonce, &call.body);
            headers.push(("bfx-nonce", &nonce_text));
            headers.push(("bfx-apikey", key.key.id()));
            headers.push(("bfx-signature", signature.as_str()));
        }
        let http = RestRequest {
            method: call.method,
            url: &url,
            headers: &headers,
            body: &call.body,
            total_max: call.total_max,
        };
        let result = self.transport.call(&http);
        drop(pass);
        match result {
            Ok(reply) => self.answered(start, reply),
            Err(error) => self.failed(start, &error),
        }
    }

    fn record(&self, start: &Start<Ticket>) -> CallRecord {
        let shared = &self.plane.shared;
        let request = &start.request;
        let endpoint = shared.state.lock().scheduler.table().row(request.endpoint).name;
        CallRecord {
            at: shared.clock.wall(),
            side: request.side(),
            endpoint,
            reason: request.reason,
            priority: request.priority,
            role: request.role,
            attempt: start.attempt,
            again: false,
            probe: start.by_probe_budget,
            status: 0,
            venue_code: 0,
            venue_text: String::new(),
            fault: "",
            maybe_sent: false,
            retry_after: None,
            wait: start.waited,
            resolve: SpanNs::ZERO,
            connect: SpanNs::ZERO,
            tls: SpanNs::ZERO,
            sent: SpanNs::ZERO,
            first_byte: SpanNs::ZERO,
            total: SpanNs::ZERO,
            bytes_out: 0,
            bytes_in: 0,
            pooled: false,
            http: "",
            transport: self.transport.name(),
        }
    }
    fn with_timings(&self, start: &Start<Ticket>, t: &crate::io::http::RestTimings) -> CallRecord {
        CallRecord {
            resolve: t.resolve,
            connect: t.connect,
            tls: t.tls,
            sent: t.sent,
            first_byte: t.first_byte,
            total: t.total,
            bytes_out: t.bytes_out,
            bytes_in: t.bytes_in,
            pooled: t.pooled,
            http: t.spoken.name(),
            ..self.record(start)
        }
    }

    fn answered(&self, start: &Start<Ticket>, reply: RestReply) -> Try {
        let mut record = self.with_timings(start, &reply.timings);
        record.status = reply.status;
        record.retry_after = reply.retry_after.map(|after| after.wait_from(record.at));
        let error = if reply.status == 304 { None } else { classify(reply.status, &reply.body) };
        let outcome = outcome_of(error.as_ref(), reply.retry_after);
        let result = match error {
            Some(error) => {
                record.venue_code = error.code;
                record.venue_text = safe_text(error.text.as_str());
                Err(PlaneError::Venue(error))
            }
            None => Ok(PlaneReply {
                status: reply.status,
                body: reply.body,
                etag: reply.etag,
                attempts: start.attempt,
            }),
        };
        Try { outcome, result, record }
    }
    fn failed(&self, start: &Start<Ticket>, error: &RestError) -> Try {
        let mut record = self.with_timings(start, &error.timings);
        record.fault = error.fault.name();
        record.maybe_sent = error.sent == Sent::Maybe;
        let maybe_sent = record.maybe_sent;
        Try {
            outcome: Outcome::NoAnswer { sent: maybe_sent },
            result: Err(PlaneError::NoAnswer { fault: error.fault, maybe_sent }),
            record,
        }
    }
    /// Nothing left this process.
    fn unsent(&self, start: &Start<Ticket>, fault: RestFault, error: Option<PlaneError>) -> Try {
        let mut record = self.record(start);
        record.fault = fault.name();
        let error = error.unwrap_or(PlaneError::NoAnswer { fault, maybe_sent: false });
        Try { outcome: Outcome::NoAnswer { sent: false }, result: Err(error), record }
    }

    /// True where the call will be made again.
    fn tell(
        &self,
        start: &Start<Ticket>,
        outcome: Outcome,
        result: Result<PlaneReply, PlaneError>,
    ) -> bool {
        let shared = &self.plane.shared;
        if outcome == Outcome::NonceSmall
            && let Some(role) = start.request.role
            && let Some(key) = &shared.keys[role.index()]
        {
            key.nonces.step_past();
        }
        let mut state = shared.state.lock();
        let ended = state.scheduler.handle_end(start.id, outcome, self.plane.now());
        let again = match ended {
            Ended::Again { .. } => true,
            Ended::Done(Done { request, attempts, .. }) => {
                let result = result.map(|reply| PlaneReply { attempts, ..reply });
                answer(&mut state, start.id, request.payload, result);
                false
            }
            Ended::Unknown => false,
        };
        let allowed = state.scheduler.is_entry_allowed();
        drop(state);
        shared.entry_allowed.store(allowed, Ordering::Release);
        shared.bell.notify_all();
        again
    }
}

fn outcome_of(error: Option<&VenueError>, retry_after: Option<RetryAfter>) -> Outcome {
    error.map_or(Outcome::Answered, |error| Outcome::of_error(error.kind, retry_after))
}

/// Tells a caller; one that does not wait any more misses it.
fn answer(state: &mut State, job: JobId, ticket: Ticket, result: Result<PlaneReply, PlaneError>) {
    if let Some(place) = state.waiting.get_mut(ticket.0 as usize)
        && let Some(waiting) = place.take_if(|waiting| waiting.job == job)
    {
        let _ = waiting.answer.send(result);
    }
}

/// Its text alone: when it may start is the scheduler's affair.
fn warm_call() -> PlaneCall {
    PlaneCall::public(probes::PUBLIC_PATH, Reason::KeepWarm, Duration::ZERO)
}

/// The call of a breaker's probe, by the endpoint that the config named.
fn probe_call(start: &Start<Ticket>) -> PlaneCall {
    let mut call = PlaneCall::public(probes::PUBLIC_PATH, Reason::Probe, Duration::ZERO);
    if start.request.side() == Side::Private {
        // Signed, harmless, and answered by what answers order look-ups.
        call.method = Method::Post;
        call.path = probes::SIGNED_PATH.to_owned();
        call.body = b"{}".to_vec();
        call.role = start.request.role;
    }
    call
}
