//! What watches a run and takes an operator's commands: publishes the status, serves the control
//! port, tells alerts, looks after the threads. All on cold threads; the run hands over copies.

use super::control::{control, reset_words};
use super::kill::KillWatch;
use super::publish::Around;
use super::request::{RunError, Service, bad_input, failed};
use super::rest::RestSide;
use super::watch::Watch;
use crate::base::time::{MonoNs, SpanNs};
use crate::config::Config;
use crate::io::clock::Clock;
use crate::io::syscall;
use crate::model::{Instrument, OperatorVerb, Rank};
use crate::ops::alerts::{Channels, Notifier};
use crate::ops::host::{Host, Supervisor};
use crate::ops::http::{HttpConfig, Server, ServerHandle, Tokens};
use crate::ops::hub::{Ask, Hub, Outcome};
use crate::ops::report::exit;
use crate::ops::rundir::{AUDIT_FILE, RunDir};
use crate::ops::text::utc;
use crate::ops::watchdog::{Action, Seen, ThreadSeen, Watchdog};
use crate::ring::Latch;
use crate::runtime::cold::journal::JournalStats;
use crate::runtime::cold::{self, ColdThread};
use crate::runtime::duty::{ThreadControl, ThreadState};
use crate::runtime::engine::Running;
use crate::runtime::topology::Topology;
use crossbeam_channel::Receiver;
use parking_lot::Mutex;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How long the engine may take to handle a command before it counts as not taken.
const TAKEN_MAX: SpanNs = SpanNs::from_s(2);
/// How long its effect is watched: cancels and closes need the venue's answers.
const EFFECT_MAX: SpanNs = SpanNs::from_ms(2_000);
/// Shortest wait for an effect: rows come four times a second.
const EFFECT_MIN: SpanNs = SpanNs::from_ms(300);
/// The watchdog's sleep: the hiccups it measures, and the time it needs to see one that hangs.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// After it has asked for the end of the run: how long that may take before it ends the process.
const END_MAX: SpanNs = SpanNs::from_s(15);

/// A command that the engine has got.
struct Pending {
    ask: Ask,
    sent_at: MonoNs,
    /// Commands it had handled before.
    handled_before: u64,
    taken_at: Option<MonoNs>,
    rank_before: Rank,
    orders_before: u64,
    /// What a reset clears.
    clears: Option<String>,
}

/// Shared with the watchdog's thread.
#[derive(Default)]
struct Pulse {
    /// Rounds of the run's own loop.
    main: AtomicU64,
    frames: AtomicU64,
    /// The run is being watched: neither starting nor ending.
    is_on: AtomicBool,
    stop: AtomicBool,
    halt: Mutex<Option<String>>,
    /// Why the watchdog has raised the latch; empty: it has not.
    latched: Mutex<&'static str>,
}

pub(super) struct Operate {
    hub: Arc<Hub>,
    asked: Receiver<Ask>,
    pending: Option<Pending>,
    pulse: Arc<Pulse>,
    published_at: Option<MonoNs>,
    push_every: SpanNs,
    pub(super) journal: Arc<JournalStats>,
    /// What was last done from outside the line.
    doing: String,
    supervisor: Arc<Supervisor>,
    server: Option<ServerHandle>,
    notifier: Option<Notifier>,
    watchdog: Option<ColdThread>,
}

/// What it is started with.
pub(super) struct Beside<'a> {
    pub config: &'a Config,
    pub run_dir: &'a RunDir,
    pub topology: &'a Topology,
    pub running: &'a Running,
    pub journal: Arc<JournalStats>,
    pub clock: &'a Clock,
    pub service: &'a Service,
}

/// What does not change in a run.
#[derive(Clone, Copy)]
pub(super) struct RunFacts<'a> {
    pub config: &'a Config,
    pub run_dir: &'a RunDir,
    pub topology: &'a Topology,
    pub instruments: &'a [Instrument],
    pub rest: &'a RestSide,
}

impl Operate {
    pub(super) fn start(beside: &Beside<'_>) -> Result<Operate, RunError> {
        let Beside { config, run_dir, topology, running, clock, .. } = beside;
        let (hub, asked) = Hub::new();
        let pulse = Arc::new(Pulse::default());
        let service = beside.service;
        let supervisor = Arc::new(Supervisor::new(
            service.notify_socket.as_deref(),
            service.watchdog_usec.as_deref(),
        ));
        let cpus = topology.cold_cpus.clone();
        let prepare = move || {
            if !cpus.is_empty() {
                // Refused: it runs wherever its parent may, which is slower for others, not wrong.
                let _ = syscall::allow_cpus(&cpus);
            }
        };
        let server = if config.dashboard.enabled {
            let handle = serve(config, run_dir, &hub, (*clock).clone(), prepare.clone())?;
            log::info!("dashboard {} ; `genesis dashboard` prints it with its token", handle.url());
            Some(handle)
        } else {
            None
        };
        let notifier = if config.alerts.enabled {
            let channels = Channels::of(&config.alerts).map_err(bad_input)?;
            let run = run_dir.id();
            let made = Notifier::start(config.alerts.clone(), channels, hub.clone(), run, prepare);
            Some(made.map_err(failed)?)
        } else {
            None
        };
        let watchdog = WatchThread {
            dog: Watchdog::new(config.watchdog.clone()),
            host: Host::new(run_dir.path()),
            threads: running
                .threads()
                .iter()
                .map(|thread| (thread.name().to_owned(), thread.control()))
                .collect(),
            latch: running.latch.clone(),
            journal: beside.journal.clone(),
            hub: hub.clone(),
            pulse: pulse.clone(),
            supervisor: supervisor.clone(),
            clock: (*clock).clone(),
        };
        let watchdog = cold::spawn("watchdog", &topology.cold_cpus, move || watchdog.run());
        Ok(Operate {
            hub,
            asked,
            pending: None,
            pulse,
            published_at: None,
            push_every: SpanNs::from_ms(config.dashboard.push_ms as i64),
            journal: beside.journal.clone(),
            doing: String::new(),
            supervisor,
            server,
            notifier,
            watchdog: Some(watchdog.map_err(failed)?),
        })
    }

    /// From here on the run's own loop is watched, and the supervisor knows that it is ready.
    pub(super) fn begin(&self) {
        self.pulse.is_on.store(true, Ordering::Release);
        self.supervisor.tell("READY=1\nSTATUS=running");
    }

    /// From here on it ends by its own time-outs.
    pub(super) fn end(&self) {
        self.pulse.is_on.store(false, Ordering::Release);
        self.supervisor.tell("STOPPING=1\nSTATUS=stopping");
    }

    /// Does something that may hold threads up for a moment and is known to.
    pub(super) fn unwatched<T>(&self, act: impl FnOnce() -> T) -> T {
        self.pulse.is_on.store(false, Ordering::Release);
        let done = act();
        self.pulse.is_on.store(true, Ordering::Release);
        done
    }

    /// Why the watchdog wants the run to end.
    pub(super) fn wants_halt(&self) -> Option<String> {
        self.pulse.halt.lock().clone()
    }

    /// One round of the run's loop: commands, and the status where it is due.
    pub(super) fn round(
        &mut self,
        watch: &mut Watch,
        running: &mut Running,
        kill: &mut KillWatch,
        facts: &RunFacts<'_>,
    ) {
        let RunFacts { config, run_dir, topology, instruments, rest } = *facts;
        let now = watch.clock.mono();
        self.pulse.main.fetch_add(1, Ordering::Relaxed);
        self.commands(watch, running, kill, instruments, now);
        if self.published_at.is_some_and(|at| now - at < self.push_every) {
            return;
        }
        self.published_at = Some(now);
        for incident in watch.incidents.drain(..) {
            self.hub.add_incident(incident);
        }
        self.hub.set_orders(watch.tracker.newest());
        let status = watch.status(&Around {
            config,
            run: &run_dir.id(),
            wall: watch.clock.wall(),
            latch_level: running.latch.rank(),
            topology,
            threads: running.threads(),
            rest,
            rest_stats: &running.rest_stats,
            journal: &self.journal,
            doing: match self.doing.as_str() {
                "" => *self.pulse.latched.lock(),
                doing => doing,
            },
        });
        self.pulse.frames.store(status.counts.frames, Ordering::Relaxed);
        self.hub.publish(status);
    }

    fn commands(
        &mut self,
        watch: &Watch,
        running: &mut Running,
        kill: &mut KillWatch,
        instruments: &[Instrument],
        now: MonoNs,
    ) {
        if let Some(pending) = &mut self.pending
            && let Some(outcome) = pending.look(watch, now)
            && let Some(pending) = self.pending.take()
        {
            (pending.ask.reply)(outcome);
        }
        if self.pending.is_some() {
            return; // one at a time, so that each effect is its own
        }
        let Ok(ask) = self.asked.try_recv() else { return };
        let refuse = |ask: Ask, words: &str| {
            (ask.reply)(Outcome { effect: words.to_owned(), ..Outcome::default() });
        };
        let Some(account) = watch.account() else {
            return refuse(ask, "the engine is starting still; try again in a second");
        };
        let pending = Pending {
            sent_at: now,
            handled_before: account.counters.operator,
            taken_at: None,
            rank_before: account.rank,
            orders_before: account.orders_alive as u64,
            clears: (ask.verb == OperatorVerb::Reset)
                .then(|| reset_words(watch.levels(), account.rank.name())),
            ask,
        };
        let ask = &pending.ask;
        let symbol = ask.symbol.as_deref();
        if let Err(words) = control(ask.verb, symbol, &ask.reason, running, kill, instruments) {
            return refuse(pending.ask, &words);
        }
        if ask.verb == OperatorVerb::Reset {
            *self.pulse.latched.lock() = "";
        }
        self.doing = match ask.verb {
            OperatorVerb::Resume | OperatorVerb::Reset | OperatorVerb::CancelAll => String::new(),
            verb => {
                let said = if ask.reason.is_empty() { "no reason given" } else { &ask.reason };
                format!("{} by the operator: {said}", verb_name(verb))
            }
        };
        self.pending = Some(pending);
    }

    /// The last status, so that followers see how it ended; then the threads end.
    pub(super) fn close(mut self) {
        self.pulse.stop.store(true, Ordering::Release);
        drop(self.server.take());
        drop(self.notifier.take());
        if let Some(thread) = self.watchdog.take() {
            let _ = thread.join();
        }
    }
}

fn verb_name(verb: OperatorVerb) -> &'static str {
    match verb {
        OperatorVerb::Pause => "paused",
        OperatorVerb::Flatten => "flattening",
        OperatorVerb::Kill => "killed",
        OperatorVerb::Stop | OperatorVerb::StopFlatten => "stopped",
        OperatorVerb::Resume => "resumed",
        OperatorVerb::CancelAll => "cancelled",
        OperatorVerb::Reset => "reset",
    }
}

impl Pending {
    /// What became of it, once there is something to say.
    fn look(&mut self, watch: &Watch, now: MonoNs) -> Option<Outcome> {
        let account = watch.account()?;
        let outcome = |accepted: bool, effect: &str| Outcome {
            accepted,
            effect: effect.to_owned(),
            rank_before: self.rank_before.name().to_owned(),
            rank_after: account.rank.name().to_owned(),
            orders_before: self.orders_before,
            orders_after: account.orders_alive as u64,
            took_ms: (now - self.sent_at).as_ms().max(0).unsigned_abs(),
        };
        let Some(taken_at) = self.taken_at else {
            if account.counters.operator > self.handled_before {
                self.taken_at = Some(now);
            } else if now - self.sent_at > TAKEN_MAX {
                return Some(outcome(false, "the engine has not handled it in time"));
            }
            return None;
        };
        let since = now - taken_at;
        let cancels = matches!(
            self.ask.verb,
            OperatorVerb::CancelAll | OperatorVerb::Kill | OperatorVerb::Flatten
        );
        let is_flat = watch.position_count() == 0;
        let is_done = match self.ask.verb {
            OperatorVerb::CancelAll => account.orders_alive == 0,
            OperatorVerb::Kill | OperatorVerb::Flatten => account.orders_alive == 0 && is_flat,
            _ => true,
        };
        if since < EFFECT_MIN || (!is_done && since < EFFECT_MAX) {
            return None;
        }
        let effect = match (cancels, is_done) {
            (_, true) => self.clears.as_deref().unwrap_or("seen to be done"),
            (true, false) if self.ask.verb == OperatorVerb::CancelAll => {
                "taken; orders are at the venue still, strategies may place new ones"
            }
            _ => "taken; still at work, see the status",
        };
        Some(outcome(true, effect))
    }
}

fn serve(
    config: &Config,
    run_dir: &RunDir,
    hub: &Arc<Hub>,
    clock: Clock,
    prepare: impl FnOnce() + Send + 'static,
) -> Result<ServerHandle, RunError> {
    let section = &config.dashboard;
    let http = HttpConfig {
        port: section.port,
        hosts: section.hosts.clone(),
        metrics_open: config.metrics.open,
        metrics: config.metrics.groups,
        connections_max: section.connections_max,
        followers_max: section.followers_max,
        ..HttpConfig::default()
    };
    let tokens = Tokens::create(run_dir.path()).map_err(|e| failed(format!("tokens: {e}")))?;
    let path = run_dir.file(AUDIT_FILE);
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    let file = file.map_err(failed)?;
    let file = Mutex::new(file);
    let audit = move |line: &str| {
        log::warn!("{line}");
        // The log has the line where the disk refuses it.
        let _ = writeln!(file.lock(), "{} {line}", utc(clock.wall()));
    };
    let server = Server::bind(http, tokens, hub.clone(), audit).map_err(|error| {
        bad_input(format!(
            "dashboard.port {}: {error}; another run may have it; 0 takes any free one",
            section.port
        ))
    })?;
    server.announce(run_dir.path()).map_err(failed)?;
    server.start(prepare).map_err(failed)
}

/// The watchdog's thread.
struct WatchThread {
    dog: Watchdog,
    host: Host,
    threads: Vec<(String, Arc<ThreadControl>)>,
    latch: Latch,
    journal: Arc<JournalStats>,
    hub: Arc<Hub>,
    pulse: Arc<Pulse>,
    supervisor: Arc<Supervisor>,
    clock: Clock,
}

impl WatchThread {
    fn run(mut self) {
        let mut told_at = MonoNs(0);
        let mut asked_at: Option<MonoNs> = None;
        while !self.pulse.stop.load(Ordering::Acquire) {
            let before = self.clock.mono();
            std::thread::park_timeout(LOOK_EVERY);
            let now = self.clock.mono();
            self.host.on_sleep(SpanNs((now - before).0 - LOOK_EVERY.as_nanos() as i64));
            let step_ms = self.host.on_clocks(now, self.clock.wall());
            let is_on = self.pulse.is_on.load(Ordering::Acquire);
            if !is_on {
                self.dog.pause();
            }
            if is_on {
                let seen = self.seen(now, step_ms);
                let (incidents, actions) = self.dog.look(&seen);
                for incident in incidents {
                    log::warn!(
                        "watchdog: {}: {} ({})",
                        incident.what,
                        incident.text,
                        incident.action
                    );
                    self.hub.add_incident(incident);
                }
                for action in actions {
                    if let Action::Halt { .. } = &action {
                        asked_at = asked_at.or(Some(now));
                    }
                    self.act(action);
                }
            }
            self.hub.set_host(self.host.status(now));
            // A supervisor is told as long as the run itself moves or ends by its own time-outs.
            if let Some(every) = self.supervisor.watchdog
                && now - told_at >= every
                && asked_at.is_none()
            {
                told_at = now;
                self.supervisor.tell("WATCHDOG=1");
            }
            if asked_at.is_some_and(|at| now - at > END_MAX) {
                wedged();
            }
        }
    }

    fn seen(&mut self, now: MonoNs, clock_step_ms: f64) -> Seen {
        let mut threads: Vec<ThreadSeen> = self
            .threads
            .iter()
            .map(|(name, control)| ThreadSeen {
                name: name.clone(),
                heartbeat: control.heartbeat(),
                has_ended: matches!(control.state(), ThreadState::Ended),
                is_hot: true,
                panic: control.panic_text().map(str::to_owned),
                is_starved: self
                    .dog
                    .age_of(name, now)
                    .is_some_and(|age| self.host.is_starved(name, age)),
            })
            .collect();
        threads.push(ThreadSeen {
            name: "journal".to_owned(),
            heartbeat: self.journal.rounds.load(Ordering::Relaxed),
            has_ended: false,
            is_hot: false,
            panic: None,
            is_starved: false,
        });
        threads.push(ThreadSeen {
            name: "main".to_owned(),
            heartbeat: self.pulse.main.load(Ordering::Relaxed),
            has_ended: false,
            is_hot: false,
            panic: None,
            is_starved: false,
        });
        let frames = self.pulse.frames.load(Ordering::Relaxed);
        Seen {
            now,
            at: utc(self.clock.wall()),
            threads,
            frames: (frames > 0).then_some(frames),
            journal_failures: self.journal.failures.load(Ordering::Relaxed),
            clock_step_ms,
        }
    }

    fn act(&self, action: Action) {
        match action {
            Action::BlockEntries => {
                *self.pulse.latched.lock() = "no market data came; reset when it comes again";
                self.latch.raise(Rank::EntriesBlocked as u8);
            }
            Action::CancelOnly => {
                *self.pulse.latched.lock() = "the journal cannot be written; make room, then reset";
                self.latch.raise(Rank::CancelOnly as u8);
            }
            Action::Halt { why } => {
                self.latch.raise(Rank::CancelOnly as u8);
                self.pulse.halt.lock().get_or_insert(why);
            }
        }
    }
}

/// A thread hangs and the run cannot end: nothing more can be done from inside. The next start
/// matches what is at the venue before anything else.
#[expect(clippy::disallowed_methods, reason = "a wedged thread cannot be joined")]
fn wedged() {
    log::error!("a thread hangs and cannot be ended; the process ends with code {}", exit::WEDGED);
    std::process::exit(i32::from(exit::WEDGED)); // tidy-ok: a wedged thread cannot be joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::duty::Duty;
    use crate::runtime::placement::{SpawnSpec, ThreadHandle, spawn};
    use crate::runtime::wait::{WaitKind, Waker};

    /// What a stage may do wrong.
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Fault {
        None,
        /// Hangs until it is let go.
        Wedged,
        /// Every round takes 100 ms.
        Slow,
        Panics,
    }

    struct Faulty {
        fault: Arc<Mutex<Fault>>,
        clock: Clock,
        turned_at: MonoNs,
        /// Longest span from one turn to the next, ns: what the host itself added is in it.
        longest_ns: Arc<AtomicU64>,
    }
    impl Duty for Faulty {
        fn name(&self) -> &'static str {
            "faulty"
        }
        fn turn(&mut self) -> u32 {
            let now = self.clock.mono();
            let span_ns = (now - self.turned_at).0.unsigned_abs();
            self.longest_ns.fetch_max(span_ns, Ordering::Relaxed);
            self.turned_at = now;
            let fault = *self.fault.lock();
            match fault {
                Fault::None => {}
                Fault::Slow => std::thread::sleep(Duration::from_millis(100)),
                Fault::Panics => panic!("injected"),
                Fault::Wedged => {
                    while *self.fault.lock() == Fault::Wedged {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                }
            }
            0
        }
    }

    struct Bench {
        fault: Arc<Mutex<Fault>>,
        longest_ns: Arc<AtomicU64>,
        thread: Option<ThreadHandle>,
        latch: Latch,
        pulse: Arc<Pulse>,
        hub: Arc<Hub>,
        dog: Option<ColdThread>,
        clock: Clock,
    }

    impl Bench {
        fn new() -> Bench {
            let clock = Clock::start_unchecked();
            let latch = Latch::new(0);
            let fault = Arc::new(Mutex::new(Fault::None));
            let spec = SpawnSpec {
                name: "hot".to_owned(),
                cpu: None,
                allow: Vec::new(),
                wait: WaitKind::Backoff,
                waker: Waker::default(),
                drain_max: Duration::from_secs(1),
                latch: Some((latch.clone(), Rank::Halted as u8)),
            };
            let longest_ns: Arc<AtomicU64> = Arc::default();
            let duty = Faulty {
                fault: fault.clone(),
                clock: clock.clone(),
                turned_at: clock.mono(),
                longest_ns: longest_ns.clone(),
            };
            let thread =
                spawn(spec, &clock, move || vec![Box::new(duty) as Box<dyn Duty>]).unwrap();
            let (hub, _) = Hub::new();
            let pulse = Arc::new(Pulse::default());
            pulse.is_on.store(true, Ordering::Release);
            let watch = WatchThread {
                dog: Watchdog::new(crate::ops::watchdog::WatchdogConfig::default()),
                host: Host::new(&std::env::temp_dir()),
                threads: vec![("hot".to_owned(), thread.control())],
                latch: latch.clone(),
                journal: Arc::default(),
                hub: hub.clone(),
                pulse: pulse.clone(),
                supervisor: Arc::new(Supervisor::new(None, None)),
                clock: clock.clone(),
            };
            let dog = cold::spawn("watchdog", &[], move || watch.run()).unwrap();
            Bench {
                fault,
                longest_ns,
                thread: Some(thread),
                latch,
                pulse,
                hub,
                dog: Some(dog),
                clock,
            }
        }
        /// Seconds until `is_so`, at most `max`.
        fn until(&self, max: Duration, is_so: impl Fn(&Bench) -> bool) -> Option<f64> {
            let begun = self.clock.mono();
            loop {
                let passed = (self.clock.mono() - begun).0 as f64 / 1e9;
                if is_so(self) {
                    return Some(passed);
                }
                if passed > max.as_secs_f64() {
                    return None;
                }
                self.pulse.main.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        /// About the hot thread: the others are driven by this test's own, which a busy machine may
        /// keep from running.
        fn incidents(&self) -> usize {
            self.hub.publish(crate::ops::status::Status::default());
            let status = self.hub.status();
            status.incidents.iter().filter(|incident| incident.what == "thread hot").count()
        }
    }
    impl Drop for Bench {
        fn drop(&mut self) {
            *self.fault.lock() = Fault::None;
            self.pulse.stop.store(true, Ordering::Release);
            let _ = self.dog.take().and_then(ColdThread::join);
            if let Some(thread) = self.thread.take() {
                let _ = thread.join();
            }
        }
    }

    /// Goal: a real thread that hangs is told within a second and a bit, acted on within three.
    #[test]
    fn a_wedged_thread_raises_the_latch_and_ends_the_run() {
        let bench = Bench::new();
        assert_eq!(bench.until(Duration::from_millis(500), |b| b.incidents() > 0), None);
        *bench.fault.lock() = Fault::Wedged;
        let told = bench.until(Duration::from_secs(10), |b| b.incidents() > 0).unwrap();
        let acted = bench.until(Duration::from_secs(10), |b| b.pulse.halt.lock().is_some());
        let acted = told + acted.unwrap();
        eprintln!("wedged: told after {told:.2} s, acted on after {acted:.2} s");
        // A second and three are promised; the rest is what a shared machine may add.
        assert!((0.8..2.5).contains(&told), "{told}");
        assert!((2.7..5.0).contains(&acted), "{acted}");
        assert_eq!(bench.latch.rank(), Rank::CancelOnly as u8);
        assert!(bench.pulse.halt.lock().as_deref().unwrap().contains("thread hot"));
    }

    /// Goal: a slow thread is no incident, a panic is one at once. Method: a machine that keeps the
    /// thread from running for a second makes it hang indeed, and being told then is right: so the
    /// thread itself measures how long it stood still.
    #[test]
    fn a_slow_thread_is_no_incident_and_a_panic_is_one_at_once() {
        let bench = Bench::new();
        *bench.fault.lock() = Fault::Slow;
        let told = bench.until(Duration::from_secs(3), |b| b.incidents() > 0);
        let longest_ms = bench.longest_ns.load(Ordering::Relaxed) / 1_000_000;
        // The round under way when it was told is not in the longest yet: it needs a moment.
        let is_hung = || bench.longest_ns.load(Ordering::Relaxed) >= 900_000_000;
        let was_hung =
            told.is_some() && bench.until(Duration::from_secs(20), |_| is_hung()).is_some();
        assert!(told.is_none() || was_hung, "told after {told:?} s, longest round {longest_ms} ms");
        if told.is_none() {
            assert_eq!(bench.latch.rank(), 0);
        }
        let before = bench.incidents();
        *bench.fault.lock() = Fault::Panics;
        let told = bench.until(Duration::from_secs(10), |b| b.incidents() > before).unwrap();
        eprintln!("panic: told after {told:.2} s");
        assert!(told < 2.0, "{told}");
        assert!(bench.latch.rank() >= Rank::CancelOnly as u8);
        assert!(bench.pulse.halt.lock().as_deref().unwrap().contains("injected"));
    }
}
