//! The scheduler: which request may start now. See the head of the room for how it is driven.

use super::backoff::{BackoffConfig, RetryBudget, full_jitter};
use super::breaker::{Admit, Breaker, BreakerConfig, BreakerState, Change, Epoch};
use super::bucket::{Bucket, BucketConfig, BucketView};
use super::counters::Counters;
use super::job::{
    Action, BreakerEvent, Done, DropReason, Dropped, Ended, JobId, KeyRole, Outcome, Priority,
    Reason, Refused, Repeat, Request, RestEvent, Start, Upstream,
};
use super::table::{LimitTable, Side, WINDOW_S};
use crate::base::limits::{REST_IN_FLIGHT_MAX, REST_QUEUE_MAX};
use crate::base::retry::RetryAfter;
use crate::base::rng::Rng;
use crate::base::time::{MonoNs, SpanNs};
use crate::line::Now;
use std::collections::VecDeque;

/// Which physical key serves a role: equal numbers are one key. At most `KeyRole::ALL.len()` keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPlan(pub [u8; KeyRole::ALL.len()]);
impl KeyPlan {
    /// A key for each role.
    pub const APART: KeyPlan = KeyPlan([0, 1, 2]);
    /// One key for all; worth a warning.
    pub const ONE: KeyPlan = KeyPlan([0, 0, 0]);

    pub const fn key_of(&self, role: KeyRole) -> usize {
        self.0[role.index()] as usize
    }
}

/// Everything that can be chosen. `T` as in `Request`.
#[derive(Clone, Debug)]
pub struct SchedulerConfig<T> {
    pub table: LimitTable,
    /// Calls in one window to one host. No source gives a figure: about half of what the rows of
    /// the table allow together.
    pub host_window_calls: u32,
    /// See `BucketConfig`.
    pub safe_percent: u32,
    pub burst_percent: u32,
    pub recover: SpanNs,
    pub in_flight_max: usize,
    /// Of those, kept free for cancels. Kills do not count: they have a lane of their own.
    pub in_flight_reserved: usize,
    pub public_in_flight_max: usize,
    pub queue_max: usize,
    pub keys: KeyPlan,
    /// So long a cancel waits for another call of its key to end; then it goes beside it. Should
    /// the venue see their nonces in the wrong order, the one it refuses is made again.
    pub cancel_patience: SpanNs,
    /// Repeats of one read.
    pub retries_max: u32,
    /// Repeats that may be made in a row, all calls together.
    pub retry_burst: u32,
    /// Repeats for each hundred calls.
    pub retry_percent: u32,
    pub backoff: BackoffConfig,
    /// A refusal for the rate without `Retry-After`: the host is left alone for so long.
    pub block: SpanNs,
    /// Cancels past an open breaker, at most one in so long.
    pub probe_interval: SpanNs,
    /// Cancels to a host or an endpoint that is known to refuse for the rate, at most one in so
    /// long. A kill past an empty bucket, too.
    pub probe_blocked_interval: SpanNs,
    /// By `Upstream`.
    pub breakers: [BreakerConfig; Upstream::ALL.len()],
    /// Harmless calls that ask a half-open upstream whether it is back, when nothing else waits for
    /// it.
    pub probes: [Option<Request<T>>; Upstream::ALL.len()],
    pub seed: u64,
}

impl<T: Copy> SchedulerConfig<T> {
    /// What a run uses unless told otherwise.
    pub fn new(table: LimitTable, keys: KeyPlan, seed: u64) -> Self {
        let breaker = BreakerConfig {
            failures_in_row: 3,
            failure_percent: 50,
            results_min: 10,
            results_max_age_ms: 120_000,
            slow_after_ms: 5_000,
            open_ms_min: 1_000,
            open_ms_max: 30_000,
            probes_to_close: 3,
        };
        Self {
            table,
            host_window_calls: 600,
            safe_percent: 90,
            burst_percent: 33,
            recover: SpanNs::from_s(600),
            in_flight_max: 6,
            in_flight_reserved: 2,
            public_in_flight_max: 2,
            queue_max: REST_QUEUE_MAX,
            keys,
            cancel_patience: SpanNs::from_ms(250),
            retries_max: 3,
            retry_burst: 10,
            retry_percent: 10,
            backoff: BackoffConfig { base_ms: 200, max_ms: 10_000 },
            block: SpanNs::from_s(60),
            probe_interval: SpanNs::from_s(1),
            probe_blocked_interval: SpanNs::from_s(5),
            breakers: [breaker; Upstream::ALL.len()],
            probes: [None; Upstream::ALL.len()],
            seed,
        }
    }
}

/// Times that a cancel may be tried: it goes on until its deadline, which comes first.
const CANCEL_TRIES_MAX: u32 = 100;
/// Events kept for somebody to fetch.
const EVENTS_MAX: usize = 64;
/// Longest life of a breaker's own probe before it starts.
const PROBE_FRESH_FOR: SpanNs = SpanNs::from_s(10);

/// A call in flight.
#[derive(Clone, Copy, Debug)]
struct Flying {
    started_at: MonoNs,
    epoch: Epoch,
    /// When it counts as a failure though it has not ended; `None` once it did.
    slow_at: Option<MonoNs>,
    /// It went past a block.
    past_block: bool,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Waiting,
    InFlight(Flying),
}

#[derive(Clone, Copy, Debug)]
struct Job<T> {
    request: Request<T>,
    /// Whose breaker it answers to: the request's own, but for a breaker's probe.
    upstream: Upstream,
    place: Place,
    /// Order of arrival.
    seq: u64,
    asked_at: MonoNs,
    /// When it began to wait for the try that comes next.
    waits_since: MonoNs,
    not_before: MonoNs,
    attempts: u32,
    /// The one repeat after a refused nonce is used up.
    nonce_repeated: bool,
    last: Option<Outcome>,
}

/// Past what a job starts by a budget of its own.
#[derive(Clone, Copy, Debug, Default)]
struct Past {
    breaker: bool,
    /// A block of its endpoint or its host.
    block: bool,
    /// A bucket that is empty.
    bucket: bool,
}

/// Whether a job may start.
enum Gate {
    Go(Past),
    At(MonoNs),
    /// A call in flight must end first.
    AfterReply,
}

pub struct Scheduler<T> {
    config: SchedulerConfig<T>,
    /// By endpoint, and by side.
    endpoints: Box<[Bucket]>,
    hosts: [Bucket; Side::ALL.len()],
    breakers: [Breaker; Upstream::ALL.len()],
    jobs: Box<[Option<Job<T>>]>,
    generations: Box<[u32]>,
    waiting: [usize; Priority::COUNT],
    in_flight: usize,
    in_flight_by_side: [usize; Side::ALL.len()],
    /// By key: all, and cancels among them.
    key_in_flight: [usize; KeyRole::ALL.len()],
    key_cancels: [usize; KeyRole::ALL.len()],
    kills_in_flight: usize,
    budget: RetryBudget,
    breaker_probe_at: MonoNs,
    /// When the next cancel may try a blocked endpoint, and a host that is left alone.
    endpoint_probe_at: Box<[MonoNs]>,
    host_probe_at: [MonoNs; Side::ALL.len()],
    /// When a host last refused for the rate. The refusal was of one endpoint: whether the host
    /// refuses all of them shows with the first call that is tried behind it.
    host_blocked_at: [MonoNs; Side::ALL.len()],
    bucket_probe_at: MonoNs,
    events: VecDeque<RestEvent>,
    counters: Counters,
    rng: Rng,
    next_seq: u64,
    stopping: bool,
}

impl<T: Copy> Scheduler<T> {
    /// Panics on a key plan with numbers out of range, and on no calls in flight at all.
    pub fn new(mut config: SchedulerConfig<T>) -> Self {
        assert!(config.keys.0.iter().all(|key| (*key as usize) < KeyRole::ALL.len()));
        assert!(config.in_flight_max > 0);
        config.in_flight_max = config.in_flight_max.min(REST_IN_FLIGHT_MAX);
        // One general place stays, or nothing but cancels would ever start.
        config.in_flight_reserved = config.in_flight_reserved.min(config.in_flight_max - 1);
        config.public_in_flight_max = config.public_in_flight_max.max(1);
        config.queue_max = config.queue_max.clamp(1, REST_QUEUE_MAX);
        let bucket = |window_calls| {
            Bucket::new(BucketConfig {
                window_calls,
                window: SpanNs::from_s(WINDOW_S as i64),
                safe_percent: config.safe_percent,
                burst_percent: config.burst_percent,
                recover: config.recover,
            })
        };
        let endpoints: Box<[Bucket]> =
            config.table.rows().iter().map(|row| bucket(row.window_calls)).collect();
        // Everything that waits, is in flight, or is a breaker's own probe.
        let slots =
            Priority::COUNT * config.queue_max + config.in_flight_max + 1 + 2 * Upstream::ALL.len();
        Self {
            endpoint_probe_at: vec![MonoNs(0); endpoints.len()].into_boxed_slice(),
            endpoints,
            hosts: [bucket(config.host_window_calls.max(1)); Side::ALL.len()],
            breakers: config.breakers.map(Breaker::new),
            jobs: vec![None; slots].into_boxed_slice(),
            generations: vec![0; slots].into_boxed_slice(),
            waiting: [0; Priority::COUNT],
            in_flight: 0,
            in_flight_by_side: [0; Side::ALL.len()],
            key_in_flight: [0; KeyRole::ALL.len()],
            key_cancels: [0; KeyRole::ALL.len()],
            kills_in_flight: 0,
            budget: RetryBudget::new(config.retry_burst, config.retry_percent),
            breaker_probe_at: MonoNs(0),
            host_probe_at: [MonoNs(0); Side::ALL.len()],
            host_blocked_at: [MonoNs(0); Side::ALL.len()],
            bucket_probe_at: MonoNs(0),
            events: VecDeque::with_capacity(EVENTS_MAX),
            counters: Counters::default(),
            rng: Rng::new(config.seed),
            next_seq: 0,
            stopping: false,
            config,
        }
    }

    /// Takes a request, or says why not; it is then the caller's again.
    ///
    /// # Errors
    /// See `Refused`.
    pub fn handle_request(&mut self, request: Request<T>, now: Now) -> Result<JobId, Refused> {
        self.counters.asked += 1;
        let upstream = request.upstream();
        let taken = match self.refusal(&request, now.mono) {
            Some(refused) => Err(refused),
            None => self.enter(request, upstream, now.mono).ok_or(Refused::QueueFull),
        };
        match taken {
            Ok(_) => self.budget.earn(),
            Err(_) => self.counters.refused += 1,
        }
        taken
    }
    fn refusal(&self, request: &Request<T>, now: MonoNs) -> Option<Refused> {
        let row = self.config.table.row(request.endpoint);
        if row.is_market && !request.reason.may_read_market() {
            return Some(Refused::MarketData);
        }
        if self.stopping && request.priority != Priority::Cancel {
            return Some(Refused::Stopping);
        }
        if request.priority == Priority::Entry && !self.is_entry_allowed() {
            return Some(Refused::EntryBlocked);
        }
        if request.deadline <= now {
            return Some(Refused::Stale);
        }
        let is_full = self.waiting[request.priority.index()] >= self.config.queue_max;
        is_full.then_some(Refused::QueueFull)
    }
    fn enter(&mut self, request: Request<T>, upstream: Upstream, now: MonoNs) -> Option<JobId> {
        let slot = self.jobs.iter().position(Option::is_none)?;
        self.jobs[slot] = Some(Job {
            request,
            upstream,
            place: Place::Waiting,
            seq: self.next_seq,
            asked_at: now,
            waits_since: now,
            not_before: now,
            attempts: 0,
            nonce_repeated: false,
            last: None,
        });
        self.next_seq += 1;
        self.waiting[request.priority.index()] += 1;
        Some(JobId { slot: slot as u16, generation: self.generations[slot] })
    }
    /// Frees the place of a job.
    fn leave(&mut self, slot: usize) -> Option<Job<T>> {
        let job = self.jobs[slot].take()?;
        self.generations[slot] = self.generations[slot].wrapping_add(1);
        if matches!(job.place, Place::Waiting) {
            self.waiting[job.request.priority.index()] -= 1;
        }
        Some(job)
    }
    fn id_of(&self, slot: usize) -> JobId {
        JobId { slot: slot as u16, generation: self.generations[slot] }
    }

    /// Whoever asked does not want it any more. True where it had not started; a call in flight
    /// ends as it ends, and `handle_end` is still due.
    pub fn handle_abandon(&mut self, id: JobId) -> bool {
        let slot = id.slot as usize;
        let is_waiting = self.generations.get(slot) == Some(&id.generation)
            && matches!(self.jobs[slot], Some(Job { place: Place::Waiting, .. }));
        is_waiting && self.leave(slot).is_some()
    }
    /// From now on only cancels are taken and started; everything else that waits is dropped.
    pub fn handle_stop(&mut self) {
        self.stopping = true;
    }

    /// What to do now. Asked again until it says `Wait`.
    pub fn poll(&mut self, now: Now) -> Action<T> {
        let now = now.mono;
        self.tick_breakers(now);
        self.tick_slow(now);
        if let Some(dropped) = self.drop_one(now) {
            return Action::Drop(dropped);
        }
        loop {
            let mut best: Option<((Priority, bool, u64), usize, Past)> = None;
            let mut next: Option<MonoNs> = None;
            let mut earlier = |at: MonoNs| next = Some(next.map_or(at, |next| next.min(at)));
            for (slot, job) in self.jobs.iter().enumerate() {
                let Some(job) = job else { continue };
                if let Place::InFlight(flying) = job.place {
                    flying.slow_at.into_iter().for_each(&mut earlier);
                    continue;
                }
                match self.gate(job, now) {
                    Gate::Go(past) => {
                        // A kill before everyday cancels.
                        let is_other = job.request.role != Some(KeyRole::Kill);
                        let rank = (job.request.priority, is_other, job.seq);
                        if best.is_none_or(|best| rank < best.0) {
                            best = Some((rank, slot, past));
                        }
                    }
                    Gate::At(at) => earlier(at),
                    Gate::AfterReply => {}
                }
                earlier(job.request.deadline);
            }
            if let Some((_, slot, past)) = best
                && let Some(start) = self.start(slot, now, past)
            {
                return Action::Start(start);
            }
            if self.add_probe(now) {
                continue;
            }
            for breaker in &self.breakers {
                if let Some(at) = breaker.open_until() {
                    next = Some(next.map_or(at, |next| next.min(at)));
                }
            }
            return Action::Wait(next);
        }
    }

    fn tick_breakers(&mut self, now: MonoNs) {
        for upstream in Upstream::ALL {
            let change = self.breakers[upstream.index()].tick(now);
            self.tell_change(upstream, change, now);
        }
    }
    /// Calls that have taken too long are news now, not when they end.
    fn tick_slow(&mut self, now: MonoNs) {
        for slot in 0..self.jobs.len() {
            let Some(job) = self.jobs[slot].as_mut() else { continue };
            let Place::InFlight(flying) = &mut job.place else { continue };
            if flying.slow_at.is_some_and(|at| at <= now) {
                flying.slow_at = None;
                let (upstream, epoch) = (job.upstream, flying.epoch);
                let breaker = &mut self.breakers[upstream.index()];
                let change = breaker.on_slow(epoch, now, &mut self.rng);
                self.tell_change(upstream, change, now);
            }
        }
    }
    fn tell_change(&mut self, upstream: Upstream, change: Option<Change>, now: MonoNs) {
        let Some(Change { from, to }) = change else { return };
        if to == BreakerState::Open {
            self.counters.circuit_open_count += 1;
        }
        self.tell(RestEvent::Breaker(BreakerEvent { upstream, from, to, at: now }));
    }
    fn tell(&mut self, event: RestEvent) {
        if self.events.len() == EVENTS_MAX {
            self.events.pop_front();
            self.counters.events_lost += 1;
        }
        self.events.push_back(event);
    }
    /// News for the cold side, oldest first. Should some be lost, `is_entry_allowed` is still true
    /// to the last.
    pub fn poll_event(&mut self) -> Option<RestEvent> {
        self.events.pop_front()
    }

    fn drop_one(&mut self, now: MonoNs) -> Option<Dropped<T>> {
        let entry_blocked = !self.is_entry_allowed();
        let reason = |job: &Job<T>| {
            let priority = job.request.priority;
            if !matches!(job.place, Place::Waiting) {
                None
            } else if job.request.deadline <= now {
                Some(DropReason::Stale)
            } else if self.stopping && priority != Priority::Cancel {
                Some(DropReason::Stopping)
            } else if entry_blocked && priority == Priority::Entry {
                Some(DropReason::EntryBlocked)
            } else {
                None
            }
        };
        let (slot, why) = self
            .jobs
            .iter()
            .enumerate()
            .find_map(|(slot, job)| Some((slot, reason(job.as_ref()?)?)))?;
        let id = self.id_of(slot);
        let job = self.leave(slot)?;
        match why {
            DropReason::Stale => self.counters.dropped_stale += 1,
            _ => self.counters.dropped_other += 1,
        }
        let (request, attempts, last) = (job.request, job.attempts, job.last);
        Some(Dropped { id, request, why, attempts, last })
    }

    /// Tokens that a request must leave to others: of its endpoint, and of its host.
    fn reserves(&self, request: &Request<T>, now: MonoNs) -> (u32, u32) {
        let endpoint = self.endpoints[request.endpoint.index()].view(now).burst;
        let host = self.hosts[request.side().index()].view(now).burst;
        match (request.priority, request.role) {
            (Priority::Cancel, Some(KeyRole::Kill)) => (0, 0),
            // What a kill needs must be there however many cancels went before.
            (Priority::Cancel, _) => ((endpoint / 4).min(2), 0),
            (Priority::LookUp, _) => (0, host / 10),
            (Priority::Entry, _) => (0, host / 4),
            (Priority::Account | Priority::Metadata, Some(_)) => (endpoint / 2, host / 2),
            (Priority::Account | Priority::Metadata, None) => (0, 0),
        }
    }

    fn gate(&self, job: &Job<T>, now: MonoNs) -> Gate {
        let request = &job.request;
        let is_cancel = request.priority == Priority::Cancel;
        let is_kill = request.role == Some(KeyRole::Kill);
        if job.not_before > now {
            return Gate::At(job.not_before);
        }
        let reserved = if is_cancel { 0 } else { self.config.in_flight_reserved };
        let public_full = request.role.is_none()
            && self.in_flight_by_side[Side::Public.index()] >= self.config.public_in_flight_max;
        let full = self.in_flight + reserved >= self.config.in_flight_max && !is_kill;
        if full || public_full || is_kill && self.kills_in_flight > 0 {
            return Gate::AfterReply;
        }
        let key = request.role.map(|role| self.config.keys.key_of(role));
        if let Some(key) = key
            && self.key_in_flight[key] > 0
        {
            // One key for all roles: a kill does not wait for an everyday cancel to end.
            if !is_cancel || self.key_cancels[key] > 0 && !is_kill {
                return Gate::AfterReply;
            }
            let goes_at = job.waits_since.max(job.not_before) + self.config.cancel_patience;
            if goes_at > now {
                return Gate::At(goes_at);
            }
        }
        let side = request.side().index();
        let endpoint = &self.endpoints[request.endpoint.index()];
        let host = &self.hosts[side];
        let mut past = Past::default();
        // What stands in the way of others lets a cancel through now and then.
        let probe = |blocked_until: MonoNs, probe_at: MonoNs| {
            let is_let_through = is_cancel && blocked_until > now && probe_at < blocked_until;
            (if is_let_through { probe_at } else { blocked_until }, is_let_through)
        };
        let (at_endpoint, past_endpoint) =
            probe(endpoint.blocked_until(), self.endpoint_probe_at[request.endpoint.index()]);
        let (at_host, past_host) = probe(host.blocked_until(), self.host_probe_at[side]);
        past.block = past_endpoint || past_host;
        let mut at = at_endpoint.max(at_host);
        // A blocked endpoint's tokens say nothing: the probe budget is what spaces its cancels.
        if !past_endpoint {
            let (of_endpoint, of_host) = match past.block {
                true => (0, 0),
                false => self.reserves(request, now),
            };
            let ready_at = endpoint.ready_at(of_endpoint, now).max(host.ready_at(of_host, now));
            // Tokens are our own guess. An order left alive is dearer than a refusal.
            past.bucket = is_kill && ready_at > now && self.bucket_probe_at < ready_at;
            at = at.max(if past.bucket { self.bucket_probe_at } else { ready_at });
        }
        match self.breakers[job.upstream.index()].admit() {
            Admit::Yes => {}
            Admit::AfterReply if !is_cancel => return Gate::AfterReply,
            closed => {
                let until = if let Admit::At(until) = closed { until } else { MonoNs(u64::MAX) };
                let (at_breaker, past_breaker) = probe(until, self.breaker_probe_at);
                past.breaker = past_breaker;
                at = at.max(at_breaker);
            }
        }
        if at > now { Gate::At(at) } else { Gate::Go(past) }
    }

    fn start(&mut self, slot: usize, now: MonoNs, past: Past) -> Option<Start<T>> {
        let id = self.id_of(slot);
        let job = self.jobs[slot].as_mut()?;
        let request = job.request;
        let waited = now - job.waits_since;
        job.attempts += 1;
        let attempt = job.attempts;
        let breaker = &mut self.breakers[job.upstream.index()];
        let slow_at = Some(now + breaker.slow_after());
        let (epoch, past_block) = (breaker.on_start(), past.block);
        job.place = Place::InFlight(Flying { started_at: now, epoch, slow_at, past_block });
        self.endpoints[request.endpoint.index()].take(now);
        self.hosts[request.side().index()].take(now);
        self.waiting[request.priority.index()] -= 1;
        self.in_flight += 1;
        self.kills_in_flight += usize::from(request.role == Some(KeyRole::Kill));
        self.in_flight_by_side[request.side().index()] += 1;
        if let Some(role) = request.role {
            let key = self.config.keys.key_of(role);
            self.key_in_flight[key] += 1;
            self.key_cancels[key] += usize::from(request.priority == Priority::Cancel);
        }
        if past.breaker {
            self.breaker_probe_at = now + self.config.probe_interval;
        }
        let next = now + self.config.probe_blocked_interval;
        if past.block {
            self.endpoint_probe_at[request.endpoint.index()] = next;
            self.host_probe_at[request.side().index()] = next;
        }
        if past.bucket {
            self.bucket_probe_at = next;
        }
        let by_probe_budget = past.breaker || past.block || past.bucket;
        self.counters.started += 1;
        self.counters.cancel_probes += u64::from(by_probe_budget);
        self.counters.retry_count += u64::from(attempt > 1);
        self.counters.by_reason[request.reason.index()] += 1;
        self.counters.waits[request.priority.index()].add(waited);
        Some(Start { id, request, attempt, waited, by_probe_budget })
    }

    /// A half-open upstream for which nothing waits is asked by a call of the config's choice. True
    /// where one was added.
    fn add_probe(&mut self, now: MonoNs) -> bool {
        for upstream in Upstream::ALL {
            if !self.breakers[upstream.index()].wants_probe() || self.stopping {
                continue;
            }
            let Some(mut request) = self.config.probes[upstream.index()] else { continue };
            let mut others = self.jobs.iter().flatten();
            if others.any(|job| job.upstream == upstream && matches!(job.place, Place::Waiting)) {
                continue;
            }
            request.deadline = now + PROBE_FRESH_FOR;
            request.repeat = Repeat::Never;
            request.reason = Reason::Probe;
            if self.enter(request, upstream, now).is_some() {
                return true;
            }
        }
        false
    }

    /// The call of a `Start` ended.
    pub fn handle_end(&mut self, id: JobId, outcome: Outcome, now: Now) -> Ended<T> {
        let slot = id.slot as usize;
        if self.generations.get(slot) != Some(&id.generation) {
            return Ended::Unknown;
        }
        let Some(mut job) = self.jobs[slot] else { return Ended::Unknown };
        let Place::InFlight(flying) = job.place else { return Ended::Unknown };
        let request = job.request;
        self.in_flight -= 1;
        self.kills_in_flight -= usize::from(request.role == Some(KeyRole::Kill));
        self.in_flight_by_side[request.side().index()] -= 1;
        if let Some(role) = request.role {
            let key = self.config.keys.key_of(role);
            self.key_in_flight[key] -= 1;
            self.key_cancels[key] -= usize::from(request.priority == Priority::Cancel);
        }
        self.judge(&job, flying, outcome, now);
        job.last = Some(outcome);
        if let Some(at) = self.again_at(&mut job, outcome, now) {
            job.place = Place::Waiting;
            job.waits_since = now.mono;
            job.not_before = at;
            self.jobs[slot] = Some(job);
            self.waiting[request.priority.index()] += 1;
            return Ended::Again { at };
        }
        self.jobs[slot] = Some(job);
        self.leave(slot);
        self.counters.done += 1;
        let total = now.mono - job.asked_at;
        Ended::Done(Done { request, outcome, attempts: job.attempts, total })
    }

    /// What the end of a call says about the upstream and about the limits.
    fn judge(&mut self, job: &Job<T>, flying: Flying, outcome: Outcome, now: Now) {
        let (request, upstream) = (&job.request, job.upstream);
        let Flying { started_at, epoch, .. } = flying;
        let breaker = &mut self.breakers[upstream.index()];
        let in_time = now.mono - started_at <= breaker.slow_after();
        let good = match outcome {
            Outcome::RateLimited { .. } => None,
            // Told already, when it was still in flight.
            _ if flying.slow_at.is_none() => None,
            Outcome::Answered | Outcome::NonceSmall => Some(in_time),
            Outcome::Unavailable { .. } | Outcome::NoAnswer { .. } => Some(false),
        };
        let change = match good {
            Some(good) => breaker.on_result(epoch, good, now.mono, &mut self.rng),
            None => {
                breaker.on_neutral(epoch);
                None
            }
        };
        self.tell_change(upstream, change, now.mono);
        let side = request.side().index();
        let is_served = matches!(outcome, Outcome::Answered | Outcome::NonceSmall);
        if is_served && started_at >= self.host_blocked_at[side] {
            // It was asked behind the refusal and it answers: one endpoint refuses, not the host.
            self.counters.blocks_lifted += u64::from(self.hosts[side].blocked_until() > now.mono);
            self.hosts[side].unblock();
            if flying.past_block {
                self.endpoints[request.endpoint.index()].unblock();
            }
            self.host_probe_at[side] = now.mono;
        }
        match outcome {
            Outcome::RateLimited { retry_after } => {
                self.on_rate_limited(request, flying, retry_after, now);
            }
            Outcome::Unavailable { retry_after: Some(retry_after) } => {
                // Asked for by the server, so it holds for everybody who wants this endpoint.
                let until = now.mono + retry_after.wait_from(now.wall);
                self.endpoints[request.endpoint.index()].block(until);
            }
            Outcome::NonceSmall => self.counters.nonce_refused += 1,
            _ => {}
        }
    }
    fn on_rate_limited(
        &mut self,
        request: &Request<T>,
        flying: Flying,
        retry_after: Option<RetryAfter>,
        now: Now,
    ) {
        self.counters.rate_limit_hits += 1;
        let wait = retry_after.map_or(self.config.block, |after| after.wait_from(now.wall));
        let until = now.mono + wait;
        let side = request.side();
        let bucket = &mut self.endpoints[request.endpoint.index()];
        // One that went past a block was refused for the block: nothing is learned of the limit.
        let mut learned = false;
        if !flying.past_block {
            bucket.block(until);
            learned = bucket.teach(flying.started_at, now.mono);
        }
        let (window_calls, published) = (bucket.view(now.mono).window_calls, bucket.published());
        let next = now.mono + self.config.probe_blocked_interval;
        self.endpoint_probe_at[request.endpoint.index()] = next;
        let host = &mut self.hosts[side.index()];
        let is_new_block = host.blocked_until() <= now.mono;
        let is_longer = host.blocked_until() < until;
        host.block(until);
        // Of another endpoint the next cancel shows at once whether it is the whole host.
        self.host_probe_at[side.index()] = match (is_new_block, flying.past_block) {
            (true, _) => now.mono,
            (false, true) => next,
            (false, false) => self.host_probe_at[side.index()],
        };
        self.host_blocked_at[side.index()] = now.mono;
        if learned {
            let endpoint = request.endpoint;
            for (row, bucket) in self.config.table.rows().iter().zip(&mut self.endpoints) {
                if row.side() == side {
                    bucket.follow(window_calls, published, now.mono);
                }
            }
            self.tell(RestEvent::Learned { endpoint, window_calls, at: now.mono });
        }
        if is_longer {
            self.tell(RestEvent::Blocked { side, until });
        }
    }

    /// When a job is to be tried again; `None` where it has ended.
    fn again_at(&mut self, job: &mut Job<T>, outcome: Outcome, now: Now) -> Option<MonoNs> {
        let request = &job.request;
        if outcome == Outcome::Answered || self.stopping && request.priority != Priority::Cancel {
            return None;
        }
        // A refused nonce proves that nothing happened: step past it, sign anew, once.
        if outcome == Outcome::NonceSmall {
            let first = !job.nonce_repeated;
            job.nonce_repeated = true;
            return first.then_some(now.mono);
        }
        let (may, tries_max) = match request.repeat {
            Repeat::Never => (false, 1),
            Repeat::IfNothingHappened => (outcome.nothing_happened(), CANCEL_TRIES_MAX),
            Repeat::Freely => (true, 1 + self.config.retries_max),
        };
        if !may || job.attempts >= tries_max {
            return None;
        }
        if request.priority != Priority::Cancel && !self.budget.spend() {
            self.counters.retry_refused += 1;
            return None;
        }
        let floor = match outcome {
            Outcome::RateLimited { retry_after: Some(after) }
            | Outcome::Unavailable { retry_after: Some(after) } => after.wait_from(now.wall),
            Outcome::RateLimited { retry_after: None } => self.config.block,
            _ => SpanNs::ZERO,
        };
        // A cancel does not wait for a block to end: its probe budget spaces it.
        let floor = if request.priority == Priority::Cancel { SpanNs::ZERO } else { floor };
        let attempt =
            if request.priority == Priority::Cancel { job.attempts.min(3) } else { job.attempts };
        let jitter = full_jitter(&self.config.backoff, attempt, &mut self.rng);
        let at = now.mono + SpanNs(floor.0.saturating_add(jitter.0));
        // What cannot be fresh any more ends now, so that the caller learns the outcome.
        (at < request.deadline).then_some(at)
    }

    /// False: the engine must be cancel-only as far as REST order entry goes.
    pub fn is_entry_allowed(&self) -> bool {
        self.breakers[Upstream::Orders.index()].state() == BreakerState::Closed
    }
    pub fn breaker_state(&self, upstream: Upstream) -> BreakerState {
        self.breakers[upstream.index()].state()
    }
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
    pub fn table(&self) -> &LimitTable {
        &self.config.table
    }
    /// Tokens of each endpoint, in the order of the table.
    pub fn tokens(&self, now: MonoNs) -> impl Iterator<Item = (&'static str, BucketView)> + '_ {
        let rows = self.config.table.rows().iter().map(|row| row.name);
        rows.zip(self.endpoints.iter().map(move |bucket| bucket.view(now)))
    }
    pub fn host_tokens(&self, side: Side, now: MonoNs) -> BucketView {
        self.hosts[side.index()].view(now)
    }
    /// Requests that wait.
    pub fn waiting(&self, priority: Priority) -> usize {
        self.waiting[priority.index()]
    }
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }
    /// Repeats that may be made at once.
    pub fn retries_left(&self) -> u32 {
        self.budget.left()
    }
    /// True where nothing waits and nothing is in flight.
    pub fn is_idle(&self) -> bool {
        self.in_flight == 0 && self.waiting.iter().all(|count| *count == 0)
    }
}

#[cfg(test)]
#[path = "scheduler_tests.rs"]
mod tests;
