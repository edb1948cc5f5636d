//! Goal: what the plane promises holds under storms, outages and any order of events. Method: the
//! scheduler against a made-up venue on virtual time, which counts what it would refuse.

use super::*;
use crate::base::time::WallNs;
use crate::line::rest::table::Endpoint;
use std::collections::{BTreeMap, BinaryHeap};

const MS: u64 = 1_000_000;

fn now_at(at: MonoNs) -> Now {
    Now { mono: at, wall: WallNs(1_700_000_000_000_000_000 + at.0 as i64) }
}
fn table() -> LimitTable {
    LimitTable::default()
}
fn request(path: &str, priority: Priority, deadline: MonoNs) -> Request<u32> {
    let role = match priority {
        _ if !path.starts_with("auth") => None,
        Priority::Entry => Some(KeyRole::Trade),
        _ => Some(KeyRole::Rest),
    };
    let repeat = match priority {
        Priority::Cancel => Repeat::IfNothingHappened,
        Priority::Entry => Repeat::Never,
        _ => Repeat::Freely,
    };
    let reason = match priority {
        Priority::Cancel => Reason::Cancel,
        Priority::LookUp => Reason::UnknownOrder,
        Priority::Entry => Reason::Entry,
        Priority::Account => Reason::Confirm,
        Priority::Metadata => Reason::Operator,
    };
    let endpoint = table().find(path);
    Request { endpoint, priority, role, repeat, reason, deadline, payload: 0 }
}
fn config(seed: u64) -> SchedulerConfig<u32> {
    let mut config = SchedulerConfig::new(table(), KeyPlan::APART, seed);
    let probe = |path, priority| Some(request(path, priority, MonoNs(0)));
    config.probes = [
        probe("platform/status", Priority::Metadata),
        probe("auth/r/wallets", Priority::Account),
        probe("auth/r/orders", Priority::LookUp),
    ];
    config
}

/// How the venue behaves at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Good,
    /// Answers 503.
    Down,
    /// No answer; the caller's deadline of 2 s ends it.
    Silent,
    /// Answers after 8 s.
    Slow,
}
/// The mood at a time, by upstream.
type Weather = fn(u64, Upstream) -> Mood;
struct Venue {
    /// Of the table's limits, percent.
    limit_percent: u32,
    /// Windows that begin at whole minutes plus this, or a sliding one.
    window_phase: Option<u64>,
    arrivals: BTreeMap<u8, Vec<u64>>,
    /// Refusals for the rate, with their time.
    hits: Vec<u64>,
    mood: Weather,
    rng: Rng,
}
impl Venue {
    fn new(seed: u64, limit_percent: u32, mood: Weather) -> Self {
        let mut rng = Rng::new(seed);
        let window_phase = rng.chance(1, 2).then(|| rng.below(60_000 * MS));
        let (arrivals, hits) = (BTreeMap::new(), Vec::new());
        Self { limit_percent, window_phase, arrivals, hits, mood, rng }
    }
    /// The outcome of a call that starts now, and how long it takes.
    fn call(&mut self, request: &Request<u32>, now: MonoNs) -> (Outcome, u64) {
        let latency = 20 * MS + self.rng.below(80 * MS);
        match (self.mood)(now.0, request.upstream()) {
            Mood::Down => return (Outcome::Unavailable { retry_after: None }, latency),
            Mood::Silent => return (Outcome::NoAnswer { sent: true }, 2_000 * MS),
            Mood::Slow => return (Outcome::Answered, 8_000 * MS),
            Mood::Good => {}
        }
        // On its way there it is delayed a little; that is when the venue counts it.
        let arrival = now.0 + self.rng.below(10 * MS);
        let limit = (table().row(request.endpoint).window_calls * self.limit_percent / 100).max(1);
        let window = 60_000 * MS;
        let seen = self.arrivals.entry(request.endpoint.0).or_default();
        let count = match self.window_phase {
            Some(phase) => {
                let number = (arrival + phase) / window;
                seen.iter().filter(|at| (**at + phase) / window == number).count()
            }
            None => seen.iter().filter(|at| **at + window > arrival).count(),
        };
        seen.push(arrival);
        if count >= limit as usize {
            self.hits.push(now.0);
            return (Outcome::RateLimited { retry_after: None }, latency);
        }
        (Outcome::Answered, latency)
    }
}

#[derive(Default)]
struct Log {
    waits: BTreeMap<Priority, Vec<u64>>,
    done: usize,
    dropped: usize,
    refused: usize,
    breaker: Vec<BreakerEvent>,
    starts: Vec<(u64, Priority, Upstream, Outcome)>,
    jobs_max: usize,
}
impl Log {
    fn wait_ms(&self, priority: Priority, percent: usize) -> u64 {
        let mut waits = self.waits.get(&priority).cloned().unwrap_or_default();
        waits.sort_unstable();
        waits.get((waits.len() * percent / 100).min(waits.len().max(1) - 1)).map_or(0, |ns| ns / MS)
    }
}

/// Runs requests `(at, request)` through the scheduler until everything has ended.
fn run(
    scheduler: &mut Scheduler<u32>,
    venue: &mut Venue,
    mut wishes: Vec<(u64, Request<u32>)>,
) -> Log {
    use std::cmp::Reverse;
    wishes.sort_by_key(|(at, _)| Reverse(*at));
    let total = wishes.len();
    let mut log = Log::default();
    let mut flight: BinaryHeap<Reverse<(u64, JobId)>> = BinaryHeap::new();
    let mut outcomes: BTreeMap<JobId, (Outcome, Request<u32>)> = BTreeMap::new();
    let mut now = 0u64;
    loop {
        let wake = loop {
            match scheduler.poll(now_at(MonoNs(now))) {
                Action::Start(start) => {
                    let request = start.request;
                    assert!(request.deadline.0 > now, "started late: {request:?}");
                    let waits = log.waits.entry(request.priority).or_default();
                    waits.push(start.waited.0 as u64);
                    let (outcome, span) = venue.call(&request, MonoNs(now));
                    log.starts.push((now, request.priority, request.upstream(), outcome));
                    flight.push(Reverse((now + span, start.id)));
                    outcomes.insert(start.id, (outcome, request));
                    // Never two of one key, but a cancel beside something else.
                    for role in KeyRole::ALL {
                        let of_key = outcomes.values().filter(|(_, r)| r.role == Some(role));
                        let cancels =
                            of_key.clone().filter(|(_, r)| r.priority == Priority::Cancel);
                        assert!(cancels.count() <= 1);
                        assert!(
                            of_key.filter(|(_, r)| r.priority != Priority::Cancel).count() <= 1
                        );
                    }
                    assert!(outcomes.len() <= 6);
                }
                Action::Drop(dropped) => {
                    log.dropped += usize::from(dropped.request.reason != Reason::Probe);
                }
                Action::Wait(at) => break at.map(|at| at.0),
            }
        };
        while let Some(event) = scheduler.poll_event() {
            if let RestEvent::Breaker(event) = event {
                log.breaker.push(event);
            }
        }
        log.jobs_max = log.jobs_max.max(scheduler.jobs.iter().flatten().count());
        let next_end = flight.peek().map(|Reverse((at, _))| *at);
        let next_wish = wishes.last().map(|(at, _)| *at);
        let is_over = next_end.is_none() && next_wish.is_none() && scheduler.is_idle();
        let Some(next) = [next_end, next_wish, wake].into_iter().flatten().min() else {
            assert!(is_over, "nothing to wait for, yet something waits");
            break;
        };
        if is_over {
            break;
        }
        assert!(wake.is_none_or(|at| at > now), "told to wait for the past");
        now = next.max(now);
        while let Some(Reverse((at, id))) = flight.peek().copied().filter(|next| next.0.0 <= now) {
            flight.pop();
            let (outcome, request) = outcomes.remove(&id).unwrap();
            match scheduler.handle_end(id, outcome, now_at(MonoNs(at))) {
                Ended::Done(_) => {
                    log.done += usize::from(request.reason != Reason::Probe);
                }
                Ended::Again { at: again } => assert!(again.0 >= at),
                Ended::Unknown => panic!("a call in flight is known"),
            }
        }
        while let Some((_, request)) = wishes.pop_if(|(at, _)| *at <= now) {
            if scheduler.handle_request(request, now_at(MonoNs(now))).is_err() {
                log.refused += 1;
            }
        }
    }
    assert_eq!(log.done + log.dropped + log.refused, total, "every request ends once");
    assert!(scheduler.is_idle());
    log
}

/// What 50 callers ask in 60 s: 2,000 calls, mostly of little weight.
fn storm(seed: u64, from: u64) -> Vec<(u64, Request<u32>)> {
    let mut rng = Rng::new(seed);
    let mut wishes = Vec::new();
    for index in 0..2_000u64 {
        let at = from + rng.below(60_000 * MS);
        let (path, priority, fresh_ms) = match index % 40 {
            0 => ("auth/w/order/cancel", Priority::Cancel, 10_000),
            1 => ("auth/r/orders", Priority::LookUp, 30_000),
            2 => ("auth/r/orders/hist", Priority::LookUp, 30_000),
            3 => ("auth/r/trades/hist", Priority::LookUp, 30_000),
            4 => ("auth/w/order/submit", Priority::Entry, 1_000),
            5..14 => ("auth/r/wallets", Priority::Account, 15_000),
            14..20 => ("auth/r/positions", Priority::Account, 15_000),
            20..24 => ("auth/r/orders", Priority::Account, 15_000),
            24..28 => ("platform/status", Priority::Metadata, 20_000),
            28..34 => ("conf/pub:info:pair", Priority::Metadata, 20_000),
            _ => ("candles/trade:1m:tBTCUSD/hist", Priority::Metadata, 20_000),
        };
        wishes.push((at, request(path, priority, MonoNs(at + fresh_ms * MS))));
    }
    wishes
}

#[test]
fn a_storm_never_meets_a_limit_and_what_matters_does_not_wait() {
    for seed in 0..20 {
        let mut scheduler = Scheduler::new(config(seed));
        let mut venue = Venue::new(seed, 100, |_, _| Mood::Good);
        let log = run(&mut scheduler, &mut venue, storm(seed, 0));
        assert_eq!(venue.hits.len(), 0, "seed {seed}");
        for priority in [Priority::Cancel, Priority::LookUp] {
            let wait_ms = log.wait_ms(priority, 99);
            assert!(wait_ms < 1_000, "seed {seed}: {priority:?} waits {wait_ms} ms");
        }
        assert!(log.jobs_max <= scheduler.jobs.len());
        assert!(log.done > 500, "seed {seed}: {} done", log.done);
        let counters = scheduler.counters();
        assert_eq!((counters.rate_limit_hits, counters.retry_count), (0, 0));
    }
}

#[test]
fn at_half_the_limits_the_refusals_end_within_two_windows() {
    for seed in 0..20 {
        let mut scheduler = Scheduler::new(config(seed));
        let mut venue = Venue::new(seed, 50, |_, _| Mood::Good);
        let wishes: Vec<_> = (0..6).flat_map(|n| storm(seed + n, n * 60_000 * MS)).collect();
        run(&mut scheduler, &mut venue, wishes);
        assert!(!venue.hits.is_empty(), "seed {seed}: the storm is no storm");
        let late: Vec<_> = venue.hits.iter().filter(|at| **at > 120_000 * MS).collect();
        assert!(late.is_empty(), "seed {seed}: refused at {late:?}");
        assert!(venue.hits.len() < 20, "seed {seed}: {} refusals", venue.hits.len());
    }
}

/// A quiet day of cancels, look-ups and entries.
fn trickle(seconds: u64) -> Vec<(u64, Request<u32>)> {
    let mut wishes = Vec::new();
    for second in 0..seconds {
        let mut add = |every: u64, path: &str, priority, fresh_ms: u64| {
            if second % every == 0 {
                let at = second * 1_000 * MS + every * 37 * MS;
                wishes.push((at, request(path, priority, MonoNs(at + fresh_ms * MS))));
            }
        };
        add(2, "auth/w/order/submit", Priority::Entry, 1_000);
        add(3, "auth/w/order/cancel", Priority::Cancel, 10_000);
        add(4, "auth/r/orders", Priority::LookUp, 10_000);
        add(5, "platform/status", Priority::Metadata, 10_000);
    }
    wishes
}
fn walked(log: &Log, upstream: Upstream) -> Vec<(&'static str, u64)> {
    let of = log.breaker.iter().filter(|event| event.upstream == upstream);
    of.map(|event| (event.to.name(), event.at.0 / (1_000 * MS))).collect()
}

#[test]
fn an_outage_opens_the_breaker_and_leaves_cancels_a_way() {
    fn bad(at: u64, mood: Mood) -> Mood {
        if (30_000..60_000).contains(&(at / MS)) { mood } else { Mood::Good }
    }
    let moods: [(&str, Weather); 4] = [
        ("down (503)", |at, _| bad(at, Mood::Down)),
        ("silent", |at, _| bad(at, Mood::Silent)),
        ("slow (8 s)", |at, _| bad(at, Mood::Slow)),
        ("flapping", |at, _| match at / MS / 700 % 2 {
            0 => bad(at, Mood::Down),
            _ => Mood::Good,
        }),
    ];
    for (name, mood) in moods {
        let mut scheduler = Scheduler::new(config(3));
        let mut venue = Venue::new(3, 100, mood);
        let log = run(&mut scheduler, &mut venue, trickle(120));
        let walked = walked(&log, Upstream::Orders);
        // The table of a reader: `--nocapture`.
        let cancels = log.starts.iter().filter(|(at, priority, ..)| {
            *priority == Priority::Cancel && (30_000..60_000).contains(&(at / MS))
        });
        println!("{name:<12} cancels tried in the outage {:>3}  {walked:?}", cancels.count());
        assert_eq!(walked[0].0, "open", "{walked:?}");
        assert!((30..45).contains(&walked[0].1), "{walked:?}");
        assert_eq!(walked.last().unwrap().0, "closed", "{walked:?}");
        assert!(scheduler.is_entry_allowed());
        // No entry started while it was not closed.
        let mut blocked_from = None;
        for event in log.breaker.iter().filter(|event| event.upstream == Upstream::Orders) {
            if event.to == BreakerState::Closed {
                let from = blocked_from.take().unwrap();
                let entries = log.starts.iter().filter(|(at, priority, _, _)| {
                    *priority == Priority::Entry && *at > from && *at < event.at.0
                });
                assert_eq!(entries.count(), 0);
            } else {
                blocked_from.get_or_insert(event.at.0);
            }
        }
        // The cancel lane is alive: in no ten seconds of the outage was nothing tried.
        for from in (30_000..60_000u64).step_by(1_000) {
            let tried = log.starts.iter().filter(|(at, priority, _, _)| {
                *priority == Priority::Cancel && (from..from + 12_000).contains(&(at / MS))
            });
            assert!(tried.count() >= 1, "no cancel from {from} ms on; {walked:?}");
        }
        // And it is a lane, not a storm: at most one start a second while open, retries included.
        let in_outage = log.starts.iter().filter(|(at, _, upstream, _)| {
            *upstream == Upstream::Orders && (35_000..60_000).contains(&(at / MS))
        });
        assert!(in_outage.count() <= 50, "{walked:?}");
    }
}

#[test]
fn recovery_is_no_stampede() {
    let mut config = config(5);
    config.queue_max = 64;
    let mut scheduler = Scheduler::new(config);
    let dead = |at: u64, _: Upstream| if at / MS < 30_000 { Mood::Down } else { Mood::Good };
    let mut venue = Venue::new(5, 100, dead);
    // Everybody waits for the same upstream, and for long.
    let wishes: Vec<_> = (0..60u64)
        .map(|n| {
            let at = n * 500 * MS;
            (at, request("auth/r/wallets", Priority::Account, MonoNs(at + 120_000 * MS)))
        })
        .collect();
    let log = run(&mut scheduler, &mut venue, wishes);
    let closed = log
        .breaker
        .iter()
        .find(|event| event.upstream == Upstream::Account && event.to == BreakerState::Closed);
    let closed_at = closed.unwrap().at.0;
    let soon =
        log.starts.iter().filter(|(at, ..)| (closed_at..closed_at + 1_000 * MS).contains(at));
    assert!(soon.clone().count() <= 30, "{} starts in the first second", soon.count());
    assert_eq!(venue.hits.len(), 0);
    assert!(log.done >= 40, "{} done, {} dropped", log.done, log.dropped);
}

#[test]
fn only_reads_are_repeated_and_not_without_end() {
    let mut scheduler = Scheduler::new(config(7));
    let mut venue = Venue::new(7, 100, |_, _| Mood::Silent);
    let mut wishes = Vec::new();
    for n in 0..40u64 {
        let (path, priority) = [
            ("auth/w/order/submit", Priority::Entry),
            ("auth/w/order/cancel", Priority::Cancel),
            ("auth/r/wallets", Priority::Account),
        ][n as usize % 3];
        let at = n * 5_000 * MS;
        wishes.push((at, request(path, priority, MonoNs(at + 4_000 * MS))));
    }
    let log = run(&mut scheduler, &mut venue, wishes);
    let count = |priority| log.starts.iter().filter(|(_, p, ..)| *p == priority).count();
    // 13 cancels and at most 14 entries: none of them twice.
    assert!(count(Priority::Entry) <= 14);
    assert!(count(Priority::Cancel) <= 13);
    let counters = scheduler.counters();
    assert!(counters.retry_count > 0);
    assert!(counters.retry_count <= 10 + 40 / 10, "{}", counters.retry_count);
}

/// A scheduler with one request in flight.
fn started(request: Request<u32>) -> (Scheduler<u32>, JobId) {
    let mut scheduler = Scheduler::new(config(1));
    scheduler.handle_request(request, now_at(MonoNs(1))).unwrap();
    let Action::Start(start) = scheduler.poll(now_at(MonoNs(1))) else { panic!("it may start") };
    (scheduler, start.id)
}
const LATE: MonoNs = MonoNs(3_600_000 * MS);

#[test]
fn retry_after_is_a_floor_in_both_forms() {
    let date = RetryAfter::At(now_at(MonoNs(90_000 * MS)).wall);
    for (after, floor_ms) in [(RetryAfter::Seconds(90), 90_000), (date, 90_000)] {
        for outcome in [
            Outcome::RateLimited { retry_after: Some(after) },
            Outcome::Unavailable { retry_after: Some(after) },
        ] {
            let (mut scheduler, id) = started(request("auth/r/wallets", Priority::Account, LATE));
            let now = now_at(MonoNs(10 * MS));
            let Ended::Again { at } = scheduler.handle_end(id, outcome, now) else {
                panic!("a read is repeated")
            };
            assert!(at.0 >= (floor_ms - 10) * MS, "{outcome:?}: {at:?}");
            let Action::Wait(Some(wake)) = scheduler.poll(now) else { panic!("not yet") };
            assert!(wake.0 >= (floor_ms - 10) * MS);
            // The floor holds for whoever wants the same endpoint.
            let other = request("auth/r/wallets", Priority::Account, LATE);
            scheduler.handle_request(other, now).unwrap();
            assert!(matches!(scheduler.poll(now), Action::Wait(_)));
        }
    }
}

/// A scheduler whose read of wallets was refused for the rate at 100 ms; three cancels wait.
fn refused_with_cancels_waiting() -> (Scheduler<u32>, Now) {
    let (mut scheduler, id) = started(request("auth/r/wallets", Priority::Account, LATE));
    let now = now_at(MonoNs(100 * MS));
    scheduler.handle_end(id, Outcome::RateLimited { retry_after: None }, now);
    assert_eq!(scheduler.counters().rate_limit_hits, 1);
    scheduler.handle_request(request("auth/r/positions", Priority::Account, LATE), now).unwrap();
    assert!(matches!(scheduler.poll(now), Action::Wait(Some(_))));
    scheduler.handle_request(request("platform/status", Priority::Metadata, LATE), now).unwrap();
    let Action::Start(start) = scheduler.poll(now) else { panic!("the other host is free") };
    assert_eq!(start.request.side(), Side::Public);
    scheduler.handle_end(start.id, Outcome::Answered, now);
    for _ in 0..3 {
        let cancel = request("auth/w/order/cancel", Priority::Cancel, LATE);
        scheduler.handle_request(cancel, now).unwrap();
    }
    (scheduler, now)
}

#[test]
fn a_refusal_of_one_endpoint_does_not_hold_a_cancel_and_its_answer_frees_the_host() {
    let (mut scheduler, now) = refused_with_cancels_waiting();
    let mut started = Vec::new();
    while let Action::Start(start) = scheduler.poll(now) {
        started.push((start.request.priority, start.by_probe_budget));
        scheduler.handle_end(start.id, Outcome::Answered, now);
    }
    // The first is the test; behind its answer everything goes but what the venue refused.
    let cancel = |by_probe| (Priority::Cancel, by_probe);
    let read = (Priority::Account, false);
    assert_eq!(started, [cancel(true), cancel(false), cancel(false), read]);
    assert_eq!(scheduler.counters().blocks_lifted, 1);
    scheduler.handle_request(request("auth/r/wallets", Priority::Account, LATE), now).unwrap();
    let Action::Wait(Some(at)) = scheduler.poll(now) else { panic!("that endpoint is blocked") };
    assert!((at - now.mono).as_ms() >= 60_000, "{at:?}");
}

#[test]
fn a_host_that_refuses_everything_is_tried_now_and_then_and_teaches_nothing_more() {
    let (mut scheduler, mut now) = refused_with_cancels_waiting();
    let calls = |scheduler: &Scheduler<u32>, path: &str, now: Now| {
        scheduler.tokens(now.mono).nth(table().find(path).index()).unwrap().1.window_calls
    };
    let learned = calls(&scheduler, "auth/w/order/cancel", now);
    let until = now.mono + SpanNs::from_s(60);
    let mut tried_at = Vec::new();
    while tried_at.len() < 4 {
        match scheduler.poll(now) {
            Action::Start(start) => {
                assert!(start.by_probe_budget);
                assert_eq!(start.request.priority, Priority::Cancel);
                tried_at.push(now.mono.0 / MS);
                let left = (until - now.mono).as_ms().unsigned_abs() / 1_000;
                let retry_after = Some(RetryAfter::Seconds(left));
                scheduler.handle_end(start.id, Outcome::RateLimited { retry_after }, now);
            }
            Action::Wait(at) => now = now_at(at.unwrap()),
            Action::Drop(_) => panic!("nothing is late"),
        }
    }
    assert_eq!(tried_at, [100, 5_100, 10_100, 15_100]);
    assert_eq!(calls(&scheduler, "auth/w/order/cancel", now), learned);
    assert_eq!(scheduler.counters().blocks_lifted, 0);
}

#[test]
fn a_kill_goes_past_an_empty_bucket_and_before_everyday_cancels() {
    let mut scheduler = Scheduler::new(config(1));
    let now = now_at(MonoNs(1));
    let kill = |scheduler: &mut Scheduler<u32>, now| {
        let mut kill = request("auth/w/order/cancel/multi", Priority::Cancel, LATE);
        kill.role = Some(KeyRole::Kill);
        scheduler.handle_request(kill, now).unwrap();
    };
    // Kills until there is no token left, then one more by its own budget, then none.
    let (mut sent, mut by_budget) = (0, 0);
    loop {
        kill(&mut scheduler, now);
        let Action::Start(start) = scheduler.poll(now) else { break };
        scheduler.handle_end(start.id, Outcome::Answered, now);
        sent += 1;
        by_budget += usize::from(start.by_probe_budget);
    }
    assert!(sent > 20);
    assert_eq!(by_budget, 1);
    let cancel = request("auth/w/order/cancel", Priority::Cancel, LATE);
    let mut scheduler = Scheduler::new(config(1));
    scheduler.handle_request(cancel, now).unwrap();
    kill(&mut scheduler, now);
    let Action::Start(start) = scheduler.poll(now) else { panic!("it may start") };
    assert_eq!(start.request.role, Some(KeyRole::Kill));
}

#[test]
fn a_refused_nonce_is_made_again_once_even_for_an_order() {
    let (mut scheduler, id) = started(request("auth/w/order/submit", Priority::Entry, LATE));
    let now = now_at(MonoNs(5 * MS));
    assert!(matches!(scheduler.handle_end(id, Outcome::NonceSmall, now), Ended::Again { .. }));
    let Action::Start(again) = scheduler.poll(now) else { panic!("at once") };
    assert_eq!((again.id, again.attempt), (id, 2));
    let Ended::Done(done) = scheduler.handle_end(id, Outcome::NonceSmall, now) else {
        panic!("once is enough")
    };
    assert_eq!((done.attempts, scheduler.counters().nonce_refused), (2, 2));
}

#[test]
fn an_order_without_an_answer_is_not_sent_again() {
    for outcome in [
        Outcome::NoAnswer { sent: true },
        Outcome::NoAnswer { sent: false },
        Outcome::Unavailable { retry_after: None },
        Outcome::RateLimited { retry_after: Some(RetryAfter::Seconds(1)) },
    ] {
        let (mut scheduler, id) = started(request("auth/w/order/submit", Priority::Entry, LATE));
        let ended = scheduler.handle_end(id, outcome, now_at(MonoNs(5 * MS)));
        assert!(matches!(ended, Ended::Done(done) if done.outcome == outcome), "{outcome:?}");
    }
}

#[test]
fn a_cancel_is_made_again_only_where_nothing_happened() {
    for (outcome, again) in [
        (Outcome::NoAnswer { sent: true }, false),
        (Outcome::NoAnswer { sent: false }, true),
        (Outcome::Unavailable { retry_after: None }, false),
        (Outcome::RateLimited { retry_after: None }, true),
    ] {
        let (mut scheduler, id) = started(request("auth/w/order/cancel", Priority::Cancel, LATE));
        let ended = scheduler.handle_end(id, outcome, now_at(MonoNs(5 * MS)));
        assert_eq!(matches!(ended, Ended::Again { .. }), again, "{outcome:?}");
    }
}

#[test]
fn what_is_late_is_dropped_and_never_sent() {
    let mut scheduler = Scheduler::new(config(1));
    let first = request("auth/r/wallets", Priority::Account, MonoNs(50 * MS));
    scheduler.handle_request(first, now_at(MonoNs(1))).unwrap();
    let Action::Drop(dropped) = scheduler.poll(now_at(MonoNs(50 * MS))) else { panic!("late") };
    assert_eq!(dropped.why, DropReason::Stale);
    assert!(matches!(scheduler.poll(now_at(MonoNs(50 * MS))), Action::Wait(None)));
    let late = request("auth/r/wallets", Priority::Account, MonoNs(50 * MS));
    let refused = scheduler.handle_request(late, now_at(MonoNs(60 * MS)));
    assert_eq!(refused, Err(Refused::Stale));
}

#[test]
fn a_cancel_goes_first_and_beside_a_slow_read_of_its_key() {
    let mut scheduler = Scheduler::new(config(1));
    let now = now_at(MonoNs(1));
    for (path, priority) in [
        ("platform/status", Priority::Metadata),
        ("auth/r/wallets", Priority::Account),
        ("auth/r/orders", Priority::LookUp),
        ("auth/w/order/cancel", Priority::Cancel),
    ] {
        scheduler.handle_request(request(path, priority, LATE), now).unwrap();
    }
    let mut order = Vec::new();
    while let Action::Start(start) = scheduler.poll(now) {
        order.push((start.request.priority, start.id));
    }
    let names: Vec<_> = order.iter().map(|(priority, _)| *priority).collect();
    assert_eq!(names, [Priority::Cancel, Priority::Metadata]);
    scheduler.handle_end(order[0].1, Outcome::Answered, now);
    let Action::Start(look_up) = scheduler.poll(now) else { panic!("the key is free") };
    assert_eq!(look_up.request.priority, Priority::LookUp);
    // The look-up hangs. A cancel waits a quarter of a second for it, then goes beside it.
    let cancel = request("auth/w/order/cancel", Priority::Cancel, LATE);
    scheduler.handle_request(cancel, now).unwrap();
    let Action::Wait(Some(at)) = scheduler.poll(now) else { panic!("patience") };
    assert_eq!((at - now.mono).as_ms(), 250);
    let Action::Start(start) = scheduler.poll(now_at(at)) else { panic!("it goes") };
    assert_eq!(start.request.priority, Priority::Cancel);
}

#[test]
fn a_kill_finds_a_token_however_many_cancels_went_before() {
    let mut scheduler = Scheduler::new(config(1));
    let now = now_at(MonoNs(1));
    let mut sent = 0;
    loop {
        let cancel = request("auth/w/order/cancel/multi", Priority::Cancel, LATE);
        scheduler.handle_request(cancel, now).unwrap();
        let Action::Start(start) = scheduler.poll(now) else { break };
        scheduler.handle_end(start.id, Outcome::Answered, now);
        sent += 1;
    }
    assert!(sent > 20);
    let mut kill = request("auth/w/order/cancel/multi", Priority::Cancel, LATE);
    kill.role = Some(KeyRole::Kill);
    scheduler.handle_request(kill, now).unwrap();
    let Action::Start(start) = scheduler.poll(now) else { panic!("a kill does not wait") };
    assert_eq!(start.request.role, Some(KeyRole::Kill));
}

#[test]
fn a_kill_has_a_lane_of_its_own_and_does_not_wait_for_a_cancel_of_the_same_key() {
    let mut config = config(1);
    config.keys = KeyPlan::ONE;
    config.in_flight_max = 2;
    config.in_flight_reserved = 1;
    let mut scheduler = Scheduler::new(config);
    let now = now_at(MonoNs(1));
    for (path, priority) in
        [("auth/w/order/cancel", Priority::Cancel), ("platform/status", Priority::Metadata)]
    {
        scheduler.handle_request(request(path, priority, LATE), now).unwrap();
    }
    assert!(matches!(scheduler.poll(now), Action::Start(_)));
    let kill = |scheduler: &mut Scheduler<u32>, at| {
        let mut kill = request("auth/w/order/cancel/multi", Priority::Cancel, LATE);
        kill.role = Some(KeyRole::Kill);
        scheduler.handle_request(kill, at).unwrap();
    };
    kill(&mut scheduler, now);
    let Action::Wait(Some(at)) = scheduler.poll(now) else { panic!("patience") };
    assert_eq!((at - now.mono).as_ms(), 250);
    let Action::Start(start) = scheduler.poll(now_at(at)) else { panic!("it goes") };
    assert_eq!(start.request.role, Some(KeyRole::Kill));
    // But one kill at a time: there is one lane.
    kill(&mut scheduler, now_at(at));
    let later = now_at(at + SpanNs::from_ms(300));
    assert!(matches!(scheduler.poll(later), Action::Wait(_)));
    scheduler.handle_end(start.id, Outcome::Answered, later);
    assert!(matches!(scheduler.poll(later), Action::Start(_)));
}

#[test]
fn a_flood_of_one_priority_leaves_the_queue_to_the_others() {
    let mut scheduler = Scheduler::new(config(1));
    let now = now_at(MonoNs(1));
    let ask = |scheduler: &mut Scheduler<u32>, path, priority| {
        scheduler.handle_request(request(path, priority, LATE), now)
    };
    let mut taken = 0;
    while ask(&mut scheduler, "conf/x", Priority::Metadata).is_ok() {
        taken += 1;
    }
    assert_eq!(taken, REST_QUEUE_MAX);
    for priority in [Priority::Cancel, Priority::LookUp, Priority::Entry, Priority::Account] {
        assert!(ask(&mut scheduler, "auth/r/wallets", priority).is_ok());
    }
    assert_eq!(ask(&mut scheduler, "conf/x", Priority::Metadata), Err(Refused::QueueFull));
}

#[test]
fn prices_and_books_are_not_read_by_rest() {
    let mut scheduler = Scheduler::new(config(1));
    let now = now_at(MonoNs(1));
    for path in ["ticker/tBTCUSD", "tickers", "book/tBTCUSD/P0", "trades/tBTCUSD/hist", "candles/x"]
    {
        for reason in Reason::ALL {
            let mut wish = request(path, Priority::Metadata, LATE);
            wish.reason = reason;
            let taken = scheduler.handle_request(wish, now).map(drop);
            let allowed = matches!(reason, Reason::WarmUp | Reason::Kill | Reason::Operator);
            assert_eq!(taken.is_ok(), allowed, "{path} for {reason:?}");
        }
    }
}

#[test]
fn stopping_lets_cancels_through_and_drops_the_rest() {
    let mut scheduler = Scheduler::new(config(1));
    let now = now_at(MonoNs(1));
    let ask = |scheduler: &mut Scheduler<u32>, path, priority| {
        scheduler.handle_request(request(path, priority, LATE), now).map(drop)
    };
    ask(&mut scheduler, "auth/r/wallets", Priority::Account).unwrap();
    scheduler.handle_stop();
    let stopping = ask(&mut scheduler, "auth/r/orders", Priority::LookUp);
    assert_eq!(stopping, Err(Refused::Stopping));
    ask(&mut scheduler, "auth/w/order/cancel", Priority::Cancel).unwrap();
    let Action::Drop(dropped) = scheduler.poll(now) else { panic!("the read is dropped") };
    assert_eq!(dropped.why, DropReason::Stopping);
    assert!(matches!(scheduler.poll(now), Action::Start(_)));
}

#[test]
fn an_abandoned_request_never_starts_and_old_ids_mean_nothing() {
    let mut scheduler = Scheduler::new(config(1));
    let now = now_at(MonoNs(1));
    let wish = request("auth/r/wallets", Priority::Account, LATE);
    let id = scheduler.handle_request(wish, now).unwrap();
    assert!(scheduler.handle_abandon(id));
    assert!(!scheduler.handle_abandon(id));
    assert!(matches!(scheduler.poll(now), Action::Wait(None)));
    let second = scheduler.handle_request(wish, now).unwrap();
    assert_ne!(id, second);
    assert!(matches!(scheduler.handle_end(id, Outcome::Answered, now), Ended::Unknown));
    assert!(matches!(scheduler.handle_end(second, Outcome::Answered, now), Ended::Unknown));
}

#[test]
fn endpoints_are_those_of_the_table() {
    let scheduler = Scheduler::new(config(1));
    let rows: Vec<_> = scheduler.tokens(MonoNs(1)).collect();
    assert_eq!(rows.len(), table().rows().len());
    let conf = rows[table().find("conf/x").index()];
    assert_eq!((conf.0, conf.1.window_calls, conf.1.tokens), ("conf", 81, 26));
    assert_eq!(Endpoint(1), table().find("conf"));
}

mod properties {
    use super::*;
    use crate::base::rng::Rng;
    use proptest::prelude::*;

    fn any_mood(at: u64, upstream: Upstream) -> Mood {
        // Spells of 7 s, drawn from the time and the upstream.
        let mut rng = Rng::new(at / (7_000 * MS) * 3 + upstream.index() as u64);
        match rng.below(8) {
            0 => Mood::Down,
            1 => Mood::Silent,
            2 => Mood::Slow,
            _ => Mood::Good,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Any load, any limits, any moods: everything ends once, nothing starts late, keys carry
        /// one call (checked by `run`), and a venue with the assumed limits never refuses.
        #[test]
        fn everything_ends_once_and_no_limit_is_met(
            seed in any::<u64>(),
            limit_percent in prop_oneof![Just(100u32), Just(50), Just(20)],
            wishes in proptest::collection::vec(
                (0u64..240_000, 0usize..8, 0usize..5, 100u64..60_000), 1..500),
        ) {
            const PATHS: [&str; 8] = [
                "auth/w/order/cancel", "auth/r/orders", "auth/w/order/submit", "auth/r/wallets",
                "platform/status", "conf/x", "candles/x", "liquidations/hist",
            ];
            let wishes = wishes.into_iter().map(|(at_ms, path, priority, fresh_ms)| {
                let deadline = MonoNs((at_ms + fresh_ms) * MS);
                let priority = Priority::ALL[priority];
                (at_ms * MS, request(PATHS[path], priority, deadline))
            }).filter(|(_, wish)| {
                wish.reason == Reason::Operator || !table().row(wish.endpoint).is_market
            }).collect();
            let mut scheduler = Scheduler::new(config(seed));
            let mut venue = Venue::new(seed, limit_percent, any_mood);
            let log = run(&mut scheduler, &mut venue, wishes);
            if limit_percent == 100 {
                prop_assert_eq!(venue.hits.len(), 0);
            }
            prop_assert_eq!(scheduler.counters().rate_limit_hits as usize, venue.hits.len());
            prop_assert!(log.jobs_max <= scheduler.jobs.len());
            prop_assert_eq!(scheduler.counters().events_lost, 0);
        }
    }
}
