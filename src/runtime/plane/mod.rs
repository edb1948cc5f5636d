//! The REST plane on real threads: a few lanes that make calls, one scheduler that says which may
//! start, and a handle that any cold thread may ask and wait on. Waiting holds no lock.
//!
//! Lanes are threads with connections of their own; the kill lane serves nobody but kills, and
//! keeps its connection warm.

mod call;
mod keys;
#[cfg(test)]
mod outage_tests;
#[cfg(test)]
mod storm_tests;
#[cfg(test)]
mod tests;
mod work;

pub use call::{PlaneCall, PlaneError, PlaneReply};
pub use keys::{NonceSource, PlaneKey};

use crate::base::time::SpanNs;
use crate::io::clock::Clock;
use crate::io::http::{Lanes, RestConfig, Stopper, TransportError};
use crate::io::nonce::NonceError;
use crate::line::Now;
use crate::line::rest::bucket::BucketView;
use crate::line::rest::{
    BreakerState, CallRecord, Counters, JobId, KeyRole, Priority, RecordSink, Request, RestEvent,
    Scheduler, SchedulerConfig, Side, Start, Upstream, probes,
};
use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What a plane is set up with.
pub struct PlaneConfig {
    /// `https://…`, without a path.
    pub public_url: String,
    pub private_url: String,
    /// By role; a role without a key makes no private calls. One key in several roles is one key.
    pub keys: [Option<PlaneKey>; KeyRole::ALL.len()],
    pub http: RestConfig,
    /// The payload is the plane's own; `KeyPlan` is made from `keys`.
    pub scheduler: SchedulerConfig<Ticket>,
    /// Lanes besides the kill lane, at least one.
    pub lanes: usize,
    /// The kill lane calls `platform/status` after so long without a call, to keep its connection.
    pub keep_warm: Option<Duration>,
}

/// Which waiting caller a job of the scheduler belongs to; `NOBODY` for the plane's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u32);
impl Ticket {
    pub const NOBODY: Ticket = Ticket(u32::MAX);
}

/// Why a plane did not start.
#[derive(Debug)]
pub enum PlaneStartError {
    Transport(TransportError),
    Nonce(NonceError),
    Thread(String),
}
impl fmt::Display for PlaneStartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PlaneStartError::Transport(error) => write!(f, "REST: {error}"),
            PlaneStartError::Nonce(error) => write!(f, "REST: {error}"),
            PlaneStartError::Thread(error) => write!(f, "REST: {error}"),
        }
    }
}

/// A caller that waits.
struct Waiting {
    job: JobId,
    call: Arc<PlaneCall>,
    answer: Sender<Result<PlaneReply, PlaneError>>,
}

/// Which lane a thread is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    General,
    Kill,
}

/// Under the lock: decisions only, no call and no file.
struct State {
    scheduler: Scheduler<Ticket>,
    waiting: Vec<Option<Waiting>>,
    /// Starts that one lane was told and another has to make.
    for_general: VecDeque<Start<Ticket>>,
    for_kill: VecDeque<Start<Ticket>>,
    stopping: bool,
}

struct Shared {
    state: Mutex<State>,
    bell: Condvar,
    clock: Clock,
    public_url: String,
    private_url: String,
    keys: [Option<PlaneKey>; KeyRole::ALL.len()],
    records: Mutex<Box<dyn RecordSink>>,
    /// Records that wait for their keeper.
    fresh_records: Mutex<Vec<CallRecord>>,
    /// Mirrors the breaker of order entry, to be read without the lock.
    entry_allowed: AtomicBool,
    keep_warm: Option<Duration>,
}

/// The plane; clones share it.
#[derive(Clone)]
pub struct RestPlane {
    shared: Arc<Shared>,
}

/// Ends the plane and waits for its threads.
pub struct PlaneThreads {
    plane: RestPlane,
    threads: Vec<std::thread::JoinHandle<()>>,
    stoppers: Vec<Stopper>,
}

impl RestPlane {
    /// Starts the lanes. `cpus`: where they may run, empty = anywhere.
    ///
    /// # Errors
    /// See `PlaneStartError`.
    pub fn start(
        config: PlaneConfig,
        records: Box<dyn RecordSink>,
        clock: Clock,
        cpus: &[usize],
    ) -> Result<(RestPlane, PlaneThreads), PlaneStartError> {
        let has_kill_lane = config.keys[KeyRole::Kill.index()].is_some();
        let lanes = config.lanes.max(1);
        let mut scheduler = config.scheduler;
        scheduler.keys = keys::plan(&config.keys);
        // A start needs a lane that is free: as many in flight as there are lanes, one of them kept
        // for everyday cancels. Kills have their own.
        scheduler.in_flight_max = lanes;
        scheduler.in_flight_reserved = usize::from(lanes > 1);
        let has_key = |role: KeyRole| config.keys[role.index()].is_some();
        scheduler.probes = probes::probes(&scheduler.table, has_key, Ticket::NOBODY);
        let state = State {
            scheduler: Scheduler::new(scheduler),
            waiting: Vec::new(),
            for_general: VecDeque::new(),
            for_kill: VecDeque::new(),
            stopping: false,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            bell: Condvar::new(),
            clock,
            public_url: config.public_url,
            private_url: config.private_url,
            keys: config.keys,
            records: Mutex::new(records),
            fresh_records: Mutex::default(),
            entry_allowed: AtomicBool::new(true),
            keep_warm: config.keep_warm,
        });
        let plane = RestPlane { shared };
        let mut threads =
            PlaneThreads { plane: plane.clone(), threads: Vec::new(), stoppers: Vec::new() };
        let general = Lanes::new(&config.http).map_err(PlaneStartError::Transport)?;
        for index in 0..lanes {
            threads.add(&general, Lane::General, &format!("rest-{index}"), cpus)?;
        }
        if has_kill_lane {
            // Connections of its own: a stuck read must not stand in its way.
            let kill = Lanes::new(&config.http).map_err(PlaneStartError::Transport)?;
            threads.add(&kill, Lane::Kill, "rest-kill", cpus)?;
        }
        Ok((plane, threads))
    }

    fn now(&self) -> Now {
        Now { mono: self.shared.clock.mono(), wall: self.shared.clock.wall() }
    }

    /// Asks for a call and waits for its end: the answer, or why there is none. Blocks at most
    /// until the call is too old to start, plus its own deadline.
    ///
    /// # Errors
    /// See `PlaneError`.
    pub fn call(&self, call: PlaneCall) -> Result<PlaneReply, PlaneError> {
        let answer = self.ask(call)?;
        answer.recv().unwrap_or(Err(PlaneError::Stopped))
    }
    /// Asks for a call; its end comes by the channel.
    ///
    /// # Errors
    /// It was not taken.
    pub fn ask(
        &self,
        call: PlaneCall,
    ) -> Result<Receiver<Result<PlaneReply, PlaneError>>, PlaneError> {
        let role = call.role;
        if role.is_some_and(|role| self.shared.keys[role.index()].is_none()) {
            return Err(PlaneError::NoKey);
        }
        let now = self.now();
        let (answer, receiver) = bounded(1);
        let mut state = self.shared.state.lock();
        let free = state.waiting.iter().position(Option::is_none);
        let index = free.unwrap_or(state.waiting.len());
        let request = Request {
            endpoint: state.scheduler.table().find(&call.path),
            priority: call.priority,
            role,
            repeat: call.repeat,
            reason: call.reason,
            deadline: now.mono + SpanNs(call.fresh_for.as_nanos().min(i64::MAX as u128) as i64),
            payload: Ticket(index as u32),
        };
        let job = state.scheduler.handle_request(request, now).map_err(PlaneError::Refused)?;
        let waiting = Some(Waiting { job, call: Arc::new(call), answer });
        match free {
            Some(index) => state.waiting[index] = waiting,
            None => state.waiting.push(waiting),
        }
        drop(state);
        self.shared.bell.notify_all();
        Ok(receiver)
    }

    /// False: order entry by REST is broken and the engine must be cancel-only.
    pub fn is_entry_allowed(&self) -> bool {
        self.shared.entry_allowed.load(Ordering::Acquire)
    }
    /// The next piece of news, oldest first.
    pub fn poll_event(&self) -> Option<RestEvent> {
        self.shared.state.lock().scheduler.poll_event()
    }
    pub fn counters(&self) -> Counters {
        *self.shared.state.lock().scheduler.counters()
    }
    pub fn breaker_state(&self, upstream: Upstream) -> BreakerState {
        self.shared.state.lock().scheduler.breaker_state(upstream)
    }
    /// Tokens by endpoint, in the order of the table.
    pub fn tokens(&self) -> Vec<(&'static str, BucketView)> {
        let now = self.shared.clock.mono();
        self.shared.state.lock().scheduler.tokens(now).collect()
    }
    pub fn host_tokens(&self, side: Side) -> BucketView {
        let now = self.shared.clock.mono();
        self.shared.state.lock().scheduler.host_tokens(side, now)
    }
    /// Requests that wait, by priority, and calls in flight.
    pub fn load(&self) -> ([usize; Priority::COUNT], usize) {
        let state = self.shared.state.lock();
        (
            Priority::ALL.map(|priority| state.scheduler.waiting(priority)),
            state.scheduler.in_flight(),
        )
    }
}

impl PlaneThreads {
    fn add(
        &mut self,
        lanes: &Lanes,
        lane: Lane,
        name: &str,
        cpus: &[usize],
    ) -> Result<(), PlaneStartError> {
        let transport = lanes.lane().map_err(PlaneStartError::Transport)?;
        let gates = keys::gates(&self.plane.shared.keys).map_err(PlaneStartError::Nonce)?;
        self.stoppers.push(transport.stopper());
        let worker = work::Worker { plane: self.plane.clone(), lane, transport, gates };
        let cpus = cpus.to_vec();
        let body = move || {
            if !cpus.is_empty()
                && let Err(error) = crate::io::syscall::allow_cpus(&cpus)
            {
                log::warn!("a REST lane runs anywhere: {error}");
            }
            worker.run();
        };
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(body)
            .map_err(|error| PlaneStartError::Thread(format!("thread \"{name}\": {error}")))?;
        self.threads.push(thread);
        Ok(())
    }
    /// Drops what waits but cancels, gives those and the calls in flight `grace`, then ends them.
    pub fn stop(mut self, grace: Duration) {
        let shared = &self.plane.shared;
        {
            let mut state = shared.state.lock();
            state.stopping = true;
            state.scheduler.handle_stop();
        }
        shared.bell.notify_all();
        let until = shared.clock.mono() + SpanNs(grace.as_nanos().min(i64::MAX as u128) as i64);
        while shared.clock.mono() < until && self.threads.iter().any(|thread| !thread.is_finished())
        {
            std::thread::park_timeout(Duration::from_millis(2));
        }
        self.end();
    }
    fn end(&mut self) {
        let shared = &self.plane.shared;
        {
            let mut state = shared.state.lock();
            state.stopping = true;
            state.scheduler.handle_stop();
            // Whoever still waits learns it now.
            state.waiting.iter_mut().for_each(|place| *place = None);
        }
        self.stoppers.drain(..).for_each(Stopper::stop);
        shared.bell.notify_all();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                log::error!("a REST lane ended in a panic");
            }
        }
    }
}
impl Drop for PlaneThreads {
    fn drop(&mut self) {
        self.end();
    }
}
