//! The plane on real threads against the exchange of this repository, and against servers that
//! misbehave.

use super::*;
use crate::exchange::{
    AccountSpec, Exchange, ExchangeConfig, Permissions, Synthetic, SyntheticConfig, VenueLimits,
};
use crate::io::files::TestDir;
use crate::io::http::RestFault;
use crate::io::nonce::{NonceStore, nonce_path};
use crate::line::nonce::NonceAllocator;
use crate::line::rest::{CallRecord, DropReason, KeyPlan, LimitTable, Outcome, Reason, Repeat};
use crate::runtime::server::{Server, ServerConfig, ServerHandle};
use crate::venue::errors::RestErrorKind;
use crate::venue::rest::RestCall;
use crate::venue::sign::ApiKey;
use crate::venue::symbols::SymbolTable;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;

pub(super) const SHORT: Duration = Duration::from_secs(5);

fn venue() -> ServerHandle<Exchange> {
    venue_with(VenueLimits::default())
}
pub(super) fn venue_with(limits: VenueLimits) -> ServerHandle<Exchange> {
    let mut account =
        AccountSpec::funded("key-a", "secret-a").with_key("key-t", "t", Permissions::TRADE);
    // It only reads.
    (account.permissions.orders_write, account.permissions.positions_write) = (false, false);
    let config = ExchangeConfig {
        limits,
        accounts: vec![account, AccountSpec::funded("key-b", "b")],
        ..ExchangeConfig::default()
    };
    // Nearly no market: the processor is for the calls.
    let symbols = vec!["tBTCUSD".to_owned()];
    let source =
        Synthetic::new(SyntheticConfig { symbols, rate_e3: 1, ..SyntheticConfig::default() });
    let exchange = Exchange::new(config, Box::new(source)).unwrap();
    Server::start(ServerConfig::default(), exchange).unwrap()
}
fn key(id: &str, secret: &str) -> Option<PlaneKey> {
    let key = ApiKey::new(id, secret.as_bytes()).unwrap();
    Some(PlaneKey { key, nonces: NonceSource::Memory(NonceAllocator::new(0)) })
}
pub(super) fn config(url: &str) -> PlaneConfig {
    PlaneConfig {
        public_url: url.to_owned(),
        private_url: url.to_owned(),
        keys: [key("key-t", "t"), key("key-a", "secret-a"), key("key-b", "b")],
        http: RestConfig { loopback_only: true, ..RestConfig::default() },
        scheduler: SchedulerConfig::new(LimitTable::default(), KeyPlan::APART, 1),
        lanes: 3,
        keep_warm: None,
    }
}

/// Records in a list that the test can look at.
#[derive(Clone, Default)]
pub(super) struct Kept(pub(super) Arc<Mutex<Vec<CallRecord>>>);
impl RecordSink for Kept {
    fn record(&mut self, record: &CallRecord) {
        self.0.lock().push(record.clone());
    }
}
pub(super) fn start(config: PlaneConfig) -> (RestPlane, PlaneThreads, Kept) {
    let kept = Kept::default();
    let (plane, threads) =
        RestPlane::start(config, Box::new(kept.clone()), Clock::start_unchecked(), &[]).unwrap();
    (plane, threads, kept)
}
pub(super) fn of(call: RestCall, reason: Reason) -> PlaneCall {
    PlaneCall::of(&call, reason, &SymbolTable::new(&[]), SHORT).unwrap()
}

#[test]
fn calls_reach_the_exchange_and_leave_their_records() {
    let venue = venue();
    let (plane, threads, kept) = start(config(venue.rest_url()));
    let status = plane.call(PlaneCall::public("platform/status", Reason::PlatformStatus, SHORT));
    assert_eq!(status.unwrap().body, b"[1]");
    for call in [RestCall::Wallets, RestCall::Permissions, RestCall::Orders] {
        let reply = plane.call(of(call, Reason::Start)).unwrap();
        assert!(reply.body.starts_with(b"["), "{call:?}");
    }
    for reason in [Reason::Kill, Reason::Cancel] {
        let cancelled = plane.call(of(RestCall::CancelAll, reason)).unwrap();
        assert!(String::from_utf8_lossy(&cancelled.body).contains("oc_multi-req"));
    }
    threads.stop(SHORT);
    let records = kept.0.lock();
    assert_eq!(records.len(), 6);
    assert!(records.iter().all(|record| record.is_good() && record.http == "1.1"));
    let kill = records.iter().find(|record| record.reason == Reason::Kill).unwrap();
    assert_eq!((kill.role, kill.endpoint), (Some(KeyRole::Kill), "auth/w/order/cancel/multi"));
    // A key that only reads suffices for everything but this.
    let writes = records.iter().find(|record| record.reason == Reason::Cancel).unwrap();
    assert_eq!(writes.role, Some(KeyRole::Trade));
    let reads = records.iter().filter(|record| record.endpoint.starts_with("auth/r/"));
    assert!(reads.clone().count() == 3 && reads.clone().all(|r| r.role == Some(KeyRole::Rest)));
    let pooled = records.iter().filter(|record| record.pooled).count();
    assert!(pooled >= 1, "no connection was used twice");
    assert_eq!(plane.counters().of(Reason::Kill), 1);
}

#[test]
fn the_venues_refusals_are_told_with_their_meaning() {
    let venue = venue();
    let mut config = config(venue.rest_url());
    config.keys[KeyRole::Rest.index()] = key("key-a", "wrong");
    let (plane, threads, kept) = start(config);
    let error = plane.call(of(RestCall::Wallets, Reason::Start)).unwrap_err();
    assert!(matches!(error, PlaneError::Venue(e) if e.kind == RestErrorKind::Auth), "{error:?}");
    let error = plane.call(PlaneCall::public("nope", Reason::Operator, SHORT)).unwrap_err();
    let kind = |error: &PlaneError| match error {
        PlaneError::Venue(error) => error.kind,
        _ => panic!("{error:?}"),
    };
    assert_eq!(kind(&error), RestErrorKind::NotFound);
    let market = PlaneCall::public("ticker/tBTCUSD", Reason::Confirm, SHORT);
    let error = plane.call(market).unwrap_err();
    assert!(error.failure().proves_nothing_happened() && error.to_string().contains("websocket"));
    threads.stop(SHORT);
    assert_eq!(kept.0.lock()[0].venue_code, 10_100);
}

#[test]
fn a_key_that_two_programs_use_steps_past_the_other_one() {
    let venue = venue();
    let dir = TestDir::new("plane-nonce");
    let path = nonce_path(dir.path(), "key-a");
    let (store, _) = NonceStore::open(&path).unwrap();
    let mut config = config(venue.rest_url());
    let mut ahead = key("key-a", "secret-a").unwrap();
    config.keys[KeyRole::Rest.index()] = Some(PlaneKey {
        nonces: NonceSource::Store(Arc::new(store), path),
        ..key("key-a", "secret-a").unwrap()
    });
    // Somebody else was seven seconds ahead of the clock.
    let now_us = (Clock::start_unchecked().wall().0 / 1_000) as u64;
    ahead.nonces = NonceSource::Memory(NonceAllocator::new(now_us + 7_000_000));
    let (first, threads, _) =
        start(PlaneConfig { keys: [None, Some(ahead), None], ..self::config(venue.rest_url()) });
    first.call(of(RestCall::Wallets, Reason::Start)).unwrap();
    threads.stop(SHORT);
    let (second, threads, kept) = start(config);
    let reply = second.call(of(RestCall::Wallets, Reason::Start)).unwrap();
    assert_eq!(reply.attempts, 2);
    threads.stop(SHORT);
    assert_eq!(second.counters().nonce_refused, 1);
    let records = kept.0.lock();
    assert!(records[0].again && records[0].venue_code == 10_114);
}

/// Reads one request; answers `answer`, or nothing at all.
fn odd_server(answer: Option<&'static str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for tcp in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut conn = BufReader::new(tcp);
                loop {
                    let (mut length, mut line) = (0, String::new());
                    while conn.read_line(&mut line).unwrap_or(0) > 2 {
                        let lower = line.to_ascii_lowercase();
                        if let Some(size) = lower.strip_prefix("content-length: ") {
                            length = size.trim().parse().unwrap();
                        }
                        line.clear();
                    }
                    let mut body = vec![0; length];
                    if line.is_empty() || conn.read_exact(&mut body).is_err() {
                        return;
                    }
                    let Some(answer) = answer else {
                        std::thread::sleep(Duration::from_secs(3));
                        return;
                    };
                    if conn.get_mut().write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

#[test]
fn a_dead_upstream_blocks_entries_and_still_lets_cancels_try() {
    let url = odd_server(Some("HTTP/1.1 503 Down\r\ncontent-length: 0\r\n\r\n"));
    let mut config = config(&url);
    config.scheduler.probe_interval = SpanNs::from_ms(50);
    let (plane, threads, _) = start(config);
    assert!(plane.is_entry_allowed());
    for _ in 0..3 {
        let error = plane.call(of(RestCall::CancelAll, Reason::Cancel)).unwrap_err();
        assert!(!error.failure().proves_nothing_happened(), "{error}");
    }
    assert_eq!(plane.breaker_state(Upstream::Orders), BreakerState::Open);
    assert!(!plane.is_entry_allowed());
    let mut entry = of(RestCall::CancelAll, Reason::Entry);
    entry.priority = Priority::Entry;
    entry.repeat = Repeat::Never;
    assert_eq!(
        plane.call(entry).unwrap_err(),
        PlaneError::Refused(crate::line::rest::Refused::EntryBlocked)
    );
    let error = plane.call(of(RestCall::CancelAll, Reason::Cancel)).unwrap_err();
    assert!(matches!(error, PlaneError::Venue(_)), "it was tried: {error:?}");
    assert!(plane.counters().cancel_probes >= 1);
    let events: Vec<_> = std::iter::from_fn(|| plane.poll_event()).collect();
    assert!(matches!(events[0], RestEvent::Breaker(event) if event.to == BreakerState::Open));
    threads.stop(SHORT);
}

#[test]
fn a_silent_upstream_costs_one_lane_and_a_kill_passes() {
    let silent = odd_server(None);
    let mut config = config(&silent);
    config.lanes = 1;
    let (plane, threads, kept) = start(config);
    let mut slow = of(RestCall::Wallets, Reason::Start);
    slow.total_max = Some(Duration::from_millis(900));
    slow.repeat = Repeat::Never;
    let slow = plane.ask(slow).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    let clock = Clock::start_unchecked();
    let from = clock.mono();
    let mut kill = of(RestCall::CancelAll, Reason::Kill);
    kill.total_max = Some(Duration::from_millis(200));
    let error = plane.call(kill).unwrap_err();
    let took_ms = (clock.mono() - from).as_ms();
    assert!(took_ms < 700, "the kill waited {took_ms} ms");
    assert!(!error.failure().proves_nothing_happened());
    assert!(slow.recv().unwrap().is_err());
    threads.stop(SHORT);
    let waited = kept.0.lock().iter().find(|r| r.reason == Reason::Kill).unwrap().wait;
    assert!(waited.as_ms() < 50, "{waited:?}");
}

#[test]
fn a_read_is_repeated_until_it_is_too_old() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (plane, threads, kept) = start(config(&format!("http://{closed}")));
    let mut call = PlaneCall::public("platform/status", Reason::PlatformStatus, SHORT);
    call.fresh_for = Duration::from_millis(400);
    let error = plane.call(call).unwrap_err();
    let expected = PlaneError::NoAnswer { fault: RestFault::Connect, maybe_sent: false };
    let dropped = matches!(
        error,
        PlaneError::Dropped {
            why: DropReason::Stale,
            last: Some(Outcome::NoAnswer { sent: false })
        }
    );
    assert!(error == expected || dropped, "{error:?}");
    assert!(error.failure().proves_nothing_happened());
    threads.stop(SHORT);
    let tries = kept.0.lock().len();
    assert!((2..=4).contains(&tries), "{tries} tries");
}

#[test]
fn the_kill_lane_keeps_its_connection() {
    let venue = venue();
    let mut config = config(venue.rest_url());
    config.keep_warm = Some(Duration::from_millis(60));
    let (plane, threads, kept) = start(config);
    std::thread::sleep(Duration::from_millis(400));
    plane.call(of(RestCall::CancelAll, Reason::Kill)).unwrap();
    threads.stop(SHORT);
    let records = kept.0.lock();
    let warm = records.iter().filter(|record| record.reason == Reason::KeepWarm).count();
    assert!((1..=7).contains(&warm), "{warm} warm calls");
    assert!(records.iter().find(|r| r.reason == Reason::Kill).unwrap().pooled);
}

#[test]
fn callers_that_wait_when_it_stops_are_told() {
    let silent = odd_server(None);
    let (plane, threads, _) = start(config(&silent));
    let waits: Vec<_> =
        (0..10).map(|_| plane.ask(of(RestCall::Wallets, Reason::Start)).unwrap()).collect();
    std::thread::sleep(Duration::from_millis(50));
    let clock = Clock::start_unchecked();
    let from = clock.mono();
    threads.stop(Duration::from_millis(100));
    let took_ms = (clock.mono() - from).as_ms();
    assert!(took_ms < 2_000, "it took {took_ms} ms");
    for wait in waits {
        assert!(!matches!(wait.recv(), Ok(Ok(_))));
    }
    let late = plane.call(of(RestCall::Wallets, Reason::Start)).unwrap_err();
    assert!(late.failure().proves_nothing_happened(), "{late:?}");
}

#[test]
fn fifty_callers_wait_without_harming_each_other() {
    let venue = venue();
    let mut config = config(venue.rest_url());
    config.lanes = 4;
    let (plane, threads, kept) = start(config);
    let table = SymbolTable::new(&[]);
    let (mut done, mut not) = (0, 0);
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..50)
            .map(|caller| {
                let (plane, table) = (plane.clone(), &table);
                scope.spawn(move || {
                    let call = match caller % 5 {
                        0 => RestCall::Wallets,
                        1 => RestCall::Positions,
                        2 => RestCall::Permissions,
                        3 => RestCall::Summary,
                        _ => RestCall::PlatformStatus,
                    };
                    let results = (0..6).map(|_| {
                        let fresh = Duration::from_millis(1_500);
                        plane.call(PlaneCall::of(&call, Reason::Operator, table, fresh).unwrap())
                    });
                    results.filter(Result::is_ok).count()
                })
            })
            .collect();
        for caller in callers {
            let good = caller.join().unwrap();
            done += good;
            not += 6 - good;
        }
    });
    threads.stop(SHORT);
    assert_eq!(done + not, 300);
    let mut spans: Vec<i64> = kept.0.lock().iter().map(|record| record.total.as_ms()).collect();
    spans.sort_unstable();
    let median_ms = spans[spans.len() / 2];
    // Half of a burst at least, of five endpoints.
    assert!(done >= 30, "{done} done, {not} not in time; a call takes {median_ms} ms");
    assert_eq!(kept.0.lock().iter().filter(|record| record.status == 429).count(), 0);
    assert_eq!(plane.counters().rate_limit_hits, 0);
}
