//! Goal: an upstream that is dead, flapping or slow walks its breaker's picture and no other arrow;
//! no entry starts meanwhile, cancels go on by their own budget, and everybody who waited comes
//! back step by step. Method: the plane's real threads and sockets, the exchange, and between the
//! two a relay that is told when to misbehave. The long form takes the times of a run and half a
//! minute of each; the suite's own is the same, faster.

use super::tests::{Kept, config, of, start, venue_with};
use super::*;
use crate::exchange::VenueLimits;
use crate::io::http::Method;
use crate::line::rest::{
    BreakerEvent, CallRecord, LimitOverride, LimitTable, Reason, Refused, Repeat,
};
use crate::venue::rest::RestCall;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, AtomicU64};

/// How the way to the exchange is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Good,
    /// Connections are refused, and those that were open end.
    Dead,
    /// Answers come late.
    Slow,
}

struct RelayState {
    target: SocketAddr,
    mood: AtomicU8,
    slow_ms: u64,
    over: AtomicBool,
    /// Connections taken.
    taken: AtomicU64,
}
impl RelayState {
    fn mood(&self) -> Mood {
        match self.mood.load(Ordering::Acquire) {
            0 => Mood::Good,
            1 => Mood::Dead,
            _ => Mood::Slow,
        }
    }
    fn set(&self, mood: Mood) {
        self.mood.store(mood as u8, Ordering::Release);
    }
    fn has_ended(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }
}

/// A TCP relay on a port of its own.
struct Relay {
    state: Arc<RelayState>,
    address: SocketAddr,
    thread: Option<std::thread::JoinHandle<()>>,
}
impl Relay {
    fn start(target: &str, slow_ms: u64) -> Relay {
        let target = target.trim_start_matches("http://").parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(RelayState {
            target,
            mood: AtomicU8::new(0),
            slow_ms,
            over: AtomicBool::new(false),
            taken: AtomicU64::new(0),
        });
        let shared = state.clone();
        let thread = std::thread::spawn(move || listen(&shared, address, Some(listener)));
        Relay { state, address, thread: Some(thread) }
    }
}
impl Drop for Relay {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::Release);
        let _ = self.thread.take().unwrap().join();
    }
}

fn listen(state: &Arc<RelayState>, address: SocketAddr, mut listener: Option<TcpListener>) {
    while !state.has_ended() {
        if state.mood() == Mood::Dead {
            // Nobody listens: the kernel refuses.
            listener = None;
        } else if listener.is_none() {
            listener = TcpListener::bind(address).ok();
        }
        let Some(listening) = &listener else {
            std::thread::sleep(Duration::from_millis(2));
            continue;
        };
        listening.set_nonblocking(true).unwrap();
        match listening.accept() {
            Ok((client, _)) => {
                state.taken.fetch_add(1, Ordering::Relaxed);
                let state = state.clone();
                std::thread::spawn(move || pass(&state, client));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// Carries bytes until one side ends or the way is dead.
fn pass(state: &Arc<RelayState>, client: TcpStream) {
    let Ok(server) = TcpStream::connect(state.target) else { return };
    client.set_nonblocking(false).unwrap();
    let pair = [(&client, &server), (&server, &client)];
    for tcp in [&client, &server] {
        tcp.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        tcp.set_nodelay(true).unwrap();
    }
    std::thread::scope(|scope| {
        for (index, (mut from, mut to)) in pair.into_iter().enumerate() {
            scope.spawn(move || {
                let mut bytes = vec![0; 64 * 1024];
                while !state.has_ended() && state.mood() != Mood::Dead {
                    let size = match from.read(&mut bytes) {
                        Ok(0) => break,
                        Ok(size) => size,
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
                        Err(_) => break,
                    };
                    if index == 1 && state.mood() == Mood::Slow {
                        std::thread::sleep(Duration::from_millis(state.slow_ms));
                    }
                    if to.write_all(&bytes[..size]).is_err() {
                        break;
                    }
                }
                let _ = from.shutdown(Shutdown::Both);
                let _ = to.shutdown(Shutdown::Both);
            });
        }
    });
}

/// The times of a run, ms.
#[derive(Clone, Copy)]
struct Times {
    /// How much faster than a run everything is.
    scale: u64,
    outage: u64,
    /// How long one flap takes.
    flap: u64,
}
impl Times {
    fn of(&self, ms: u64) -> u64 {
        ms / self.scale
    }
}

/// What an outage did; times in ms since its begin.
struct Outage {
    name: &'static str,
    changes: Vec<(i64, BreakerEvent)>,
    /// Start and record of each call.
    calls: Vec<(i64, CallRecord)>,
    outage_ms: i64,
    entries_refused: u64,
    cancels_failed: u64,
    counters: Counters,
    back_after_ms: i64,
}

const READERS: usize = 20;

fn entry() -> PlaneCall {
    PlaneCall {
        method: Method::Post,
        path: "auth/w/order/submit".to_owned(),
        // Refused by the exchange's rules, which is an answer.
        body: b"{}".to_vec(),
        priority: Priority::Entry,
        role: Some(KeyRole::Rest),
        repeat: Repeat::Never,
        reason: Reason::Entry,
        fresh_for: Duration::from_millis(500),
        total_max: None,
        if_none_match: None,
    }
}

fn outage(name: &'static str, times: Times, mood: Mood) -> Outage {
    let limits = VenueLimits { rest_per_minute: times.scale == 1, ..VenueLimits::default() };
    let venue = venue_with(limits);
    let relay = Relay::start(venue.rest_url(), times.of(6_000));
    let mut config = config(&format!("http://{}", relay.address));
    config.lanes = 6;
    let rows = LimitTable::default();
    let scaled = rows.rows().iter().filter(|row| !row.name.is_empty()).map(|row| LimitOverride {
        pattern: row.name.to_owned(),
        window_calls: row.window_calls * times.scale as u32,
    });
    let table = LimitTable::with_overrides(&scaled.collect::<Vec<_>>()).unwrap();
    config.scheduler.table = table;
    config.scheduler.host_window_calls *= times.scale as u32;
    config.scheduler.probe_interval = SpanNs::from_ms(times.of(1_000) as i64);
    for breaker in &mut config.scheduler.breakers {
        breaker.open_ms_min = times.of(breaker.open_ms_min);
        breaker.open_ms_max = times.of(breaker.open_ms_max);
        breaker.slow_after_ms = times.of(breaker.slow_after_ms);
    }
    let (plane, threads, kept): (_, _, Kept) = start(config);
    let clock = Clock::start_unchecked();
    let over = AtomicBool::new(false);
    let (entries_refused, cancels_failed) = (AtomicU64::new(0), AtomicU64::new(0));
    let changes: Mutex<Vec<BreakerEvent>> = Mutex::default();
    let pause = |ms: u64| std::thread::sleep(Duration::from_millis(times.of(ms).max(1)));
    let fresh = Duration::from_millis(times.of(5_000));
    let is_over = || over.load(Ordering::Acquire);
    let (begun_wall, begun, back_after_ms) = std::thread::scope(|scope| {
        for reader in 0..READERS {
            let plane = plane.clone();
            scope.spawn(move || {
                let call =
                    if reader % 2 == 0 { RestCall::Wallets } else { RestCall::PlatformStatus };
                while !is_over() {
                    let mut call = of(call, Reason::Confirm);
                    call.fresh_for = fresh;
                    let _ = plane.call(call);
                    pause(500);
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over() {
                    let mut cancel = of(RestCall::CancelAll, Reason::Cancel);
                    cancel.fresh_for = fresh;
                    cancel.total_max = cancel.total_max.map(|max| max / times.scale as u32);
                    let failed = plane.call(cancel).is_err();
                    cancels_failed.fetch_add(u64::from(failed), Ordering::Relaxed);
                    pause(2_000);
                }
            });
        }
        scope.spawn(|| {
            while !is_over() {
                let refused = Err(PlaneError::Refused(Refused::EntryBlocked));
                let is_refused = plane.call(entry()).map(drop) == refused;
                entries_refused.fetch_add(u64::from(is_refused), Ordering::Relaxed);
                pause(1_000);
            }
        });
        scope.spawn(|| {
            while !is_over() {
                while let Some(event) = plane.poll_event() {
                    if let RestEvent::Breaker(event) = event {
                        changes.lock().push(event);
                    }
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        pause(5_000);
        let (begun_wall, begun) = (clock.wall(), clock.mono());
        let since_ms = || (clock.mono() - begun).as_ms();
        match mood {
            // Good and dead in turns.
            Mood::Good => {
                while since_ms() < times.outage as i64 {
                    relay.state.set(Mood::Dead);
                    std::thread::sleep(Duration::from_millis(times.flap));
                    relay.state.set(Mood::Good);
                    std::thread::sleep(Duration::from_millis(times.flap));
                }
            }
            mood => {
                relay.state.set(mood);
                std::thread::sleep(Duration::from_millis(times.outage));
            }
        }
        relay.state.set(Mood::Good);
        let is_closed = |upstream| plane.breaker_state(upstream) == BreakerState::Closed;
        while !Upstream::ALL.into_iter().all(is_closed) && since_ms() < times.outage as i64 + 90_000
        {
            std::thread::sleep(Duration::from_millis(1));
        }
        let back_after_ms = since_ms() - times.outage as i64;
        pause(3_000);
        over.store(true, Ordering::Release);
        (begun_wall, begun, back_after_ms)
    });
    let (counters, is_allowed) = (plane.counters(), plane.is_entry_allowed());
    threads.stop(Duration::from_secs(5));
    assert!(is_allowed, "{name}: entries are free again");
    // The plane's clock and this one begin apart: events are placed by the wall of their clocks.
    let shift = (plane.shared.clock.mono() - clock.mono()).0;
    let changes = changes.into_inner();
    let records = kept.0.lock();
    Outage {
        name,
        changes: changes
            .into_iter()
            .map(|event| ((event.at - begun).as_ms() - shift / 1_000_000, event))
            .collect(),
        calls: records
            .iter()
            .map(|record| ((record.at - begun_wall).as_ms() - record.total.as_ms(), record.clone()))
            .collect(),
        outage_ms: times.outage as i64,
        entries_refused: entries_refused.into_inner(),
        cancels_failed: cancels_failed.into_inner(),
        counters,
        back_after_ms,
    }
}

impl Outage {
    fn of(&self, upstream: Upstream) -> Vec<(i64, BreakerEvent)> {
        self.changes.iter().filter(|(_, event)| event.upstream == upstream).copied().collect()
    }
    fn calls_of(&self, upstream: Upstream) -> Vec<i64> {
        let fits = |record: &CallRecord| match upstream {
            Upstream::Public => record.role.is_none(),
            Upstream::Orders => matches!(record.priority, Priority::Cancel | Priority::Entry),
            Upstream::Account => {
                record.role.is_some()
                    && !matches!(record.priority, Priority::Cancel | Priority::Entry)
            }
        };
        let mut starts: Vec<i64> =
            self.calls.iter().filter(|(_, record)| fits(record)).map(|(at, _)| *at).collect();
        starts.sort_unstable();
        starts
    }
    /// Calls that began in the second from the last time an upstream went to a state.
    fn first_second(&self, upstream: Upstream, to: BreakerState) -> usize {
        let of = self.of(upstream);
        let Some((from, _)) = of.iter().rev().find(|(_, event)| event.to == to) else { return 0 };
        let starts = self.calls_of(upstream);
        starts.iter().filter(|at| (*from..from + 1_000).contains(*at)).count()
    }
    /// Starts of cancels in the outage.
    fn cancels(&self) -> Vec<i64> {
        let of = self.calls.iter().filter(|(at, record)| {
            record.priority == Priority::Cancel && (0..self.outage_ms).contains(at)
        });
        let mut starts: Vec<i64> = of.map(|(at, _)| *at).collect();
        starts.sort_unstable();
        starts
    }
    fn print(&self) {
        println!(
            "{}: {} ms; back {} ms after its end; entries refused {}, cancels without success {}, \
             past the breaker {}; 429: {}",
            self.name,
            self.outage_ms,
            self.back_after_ms,
            self.entries_refused,
            self.cancels_failed,
            self.counters.cancel_probes,
            self.counters.rate_limit_hits
        );
        let cancels = self.cancels();
        println!(
            "  cancels tried in the outage {}, longest pause {} ms",
            cancels.len(),
            self.gap()
        );
        for upstream in Upstream::ALL {
            let walked: Vec<String> = self
                .of(upstream)
                .iter()
                .map(|(at, event)| format!("{} {}.{:03}", event.to.name(), at / 1_000, at % 1_000))
                .collect();
            println!(
                "  {:<8} {} | first second: half-open {}, closed {}",
                upstream.name(),
                walked.join(", "),
                self.first_second(upstream, BreakerState::HalfOpen),
                self.first_second(upstream, BreakerState::Closed),
            );
        }
    }
    /// Longest time of the outage in which no cancel was tried, ms.
    fn gap(&self) -> i64 {
        let mut points = self.cancels();
        points.insert(0, 0);
        points.push(self.outage_ms);
        points.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0)
    }

    fn judge(&self, times: Times) {
        use BreakerState::{Closed, HalfOpen, Open};
        for upstream in Upstream::ALL {
            let walked = self.of(upstream);
            let mut state = Closed;
            for (_, event) in &walked {
                assert_eq!(event.from, state, "{}: {upstream:?} {walked:?}", self.name);
                let is_drawn = matches!(
                    (event.from, event.to),
                    (Closed, Open) | (Open, HalfOpen) | (HalfOpen, Open | Closed)
                );
                assert!(is_drawn, "{}: {event:?}", self.name);
                state = event.to;
            }
            assert_eq!(state, Closed, "{}: {upstream:?} {walked:?}", self.name);
            // Everybody who waited: no more than what the tokens give at once, and a venue with
            // the table's limits refuses none of them.
            let soon = self.first_second(upstream, Closed);
            let most = READERS * times.scale as usize;
            assert!(soon <= most, "{}: {soon} {upstream:?} calls in a second", self.name);
        }
        assert_eq!(self.counters.rate_limit_hits, 0);
        let orders = self.of(Upstream::Orders);
        assert_eq!(orders.first().map(|(_, event)| event.to), Some(Open), "{}", self.name);
        assert!(self.entries_refused > 0);
        let mut blocked_from = None;
        for (at, event) in &orders {
            if event.to != Closed {
                blocked_from.get_or_insert(*at);
                continue;
            }
            // Two ms for the two clocks that this is read from.
            let from = blocked_from.take().unwrap() + 2;
            let entries = self.calls.iter().filter(|(start, record)| {
                record.priority == Priority::Entry && (from..*at - 2).contains(start)
            });
            assert_eq!(entries.count(), 0, "{}: an entry while not closed", self.name);
        }
        // A try takes up to its deadline, and the next comes one budget later.
        let longest = times.of(3_000 + 1_000 + 2_000) as i64 + 500;
        assert!(self.gap() <= longest, "{}: no cancel for {} ms", self.name, self.gap());
        assert!(self.back_after_ms < times.of(32_000) as i64 + 1_000, "{}", self.back_after_ms);
    }
}

fn outages(times: Times) {
    for (name, mood) in [("dead", Mood::Dead), ("flapping", Mood::Good), ("slow", Mood::Slow)] {
        let outage = outage(name, times, mood);
        outage.print();
        outage.judge(times);
    }
}

#[test]
fn an_upstream_that_fails_opens_its_breaker_and_leaves_cancels_a_way() {
    outages(Times { scale: 10, outage: 3_000, flap: 120 });
}

#[test]
#[ignore = "takes three minutes"]
fn half_a_minute_of_each_outage_over_sockets() {
    outages(Times { scale: 1, outage: 30_000, flap: 700 });
}
