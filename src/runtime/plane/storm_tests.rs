//! Goal: a storm of calls meets no limit, and where the limits are lower than believed the refusals
//! end soon, without a block, while cancels go on. Method: fifty callers on the plane's real
//! threads against the exchange with the venue's limits; what is believed of them is what differs.

use super::tests::{config, start, venue_with};
use super::*;
use crate::base::rng::Rng;
use crate::exchange::VenueLimits;
use crate::line::rest::{CallRecord, DropReason, LimitOverride, LimitTable, Reason};
use crate::venue::rest::RestCall;
use crate::venue::symbols::SymbolTable;

const CALLERS: u64 = 50;
/// Of each caller in a minute: 2,000 in all.
const CALLS_A_MINUTE: u64 = 40;

/// Resident memory of this process, kB.
fn memory_kb() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// What became of the requests of one priority.
#[derive(Clone, Copy, Debug, Default)]
struct Fates {
    asked: usize,
    answered: usize,
    too_late: usize,
    otherwise: usize,
}

/// What a storm did.
#[derive(Debug)]
struct Storm {
    /// Time of each refusal for the rate, ms.
    hits: Vec<i64>,
    /// Times that the exchange left us out altogether.
    blocks: u64,
    records: Vec<CallRecord>,
    fates: [Fates; Priority::COUNT],
    /// At the end of the first ten seconds, the most, and at the end.
    memory_kb: [u64; 3],
    started_at: crate::base::time::WallNs,
}
impl Storm {
    fn at_ms(&self, record: &CallRecord) -> i64 {
        (record.at - self.started_at).as_ms()
    }
    /// Waits of a priority, ms, sorted.
    fn waits(&self, priority: Priority) -> Vec<i64> {
        let of = self.records.iter().filter(|record| record.priority == priority);
        let mut waits: Vec<i64> = of.map(|record| record.wait.as_ms()).collect();
        waits.sort_unstable();
        waits
    }
    fn wait_p99(&self, priority: Priority) -> i64 {
        let waits = self.waits(priority);
        waits[waits.len() * 99 / 100]
    }
    fn print(&self, name: &str) {
        let hits_s: Vec<i64> = self.hits.iter().map(|ms| ms / 1_000).collect();
        println!("{name}: 429 {} at {hits_s:?} s, blocks {}", self.hits.len(), self.blocks);
        for priority in [Priority::Cancel, Priority::LookUp, Priority::Account, Priority::Metadata]
        {
            let (fates, waits) = (self.fates[priority.index()], self.waits(priority));
            let at = |per_mille: usize| waits.get(waits.len() * per_mille / 1_000);
            println!(
                "  {:<9} asked {:>4}, answered {:>4}, too late {:>4}, else {:>3}; tries {:>4}, \
                 wait p50 {:?} p99 {:?} max {:?} ms",
                priority.name(),
                fates.asked,
                fates.answered,
                fates.too_late,
                fates.otherwise,
                waits.len(),
                at(500).unwrap_or(&0),
                at(990).unwrap_or(&0),
                waits.last().unwrap_or(&0)
            );
        }
        let [early, most, late] = self.memory_kb;
        println!("  memory: {early} kB after 10 s, {most} kB at most, {late} kB at the end");
    }
}

fn wish(rng: &mut Rng) -> (RestCall, Reason, u64) {
    match rng.below(40) {
        0 => (RestCall::CancelAll, Reason::Cancel, 10_000),
        1 => (RestCall::Orders, Reason::UnknownOrder, 20_000),
        2..22 => (RestCall::Wallets, Reason::Confirm, 1_000),
        22..28 => (RestCall::ConfInfo { futures: false }, Reason::Registry, 1_000),
        _ => (RestCall::PlatformStatus, Reason::PlatformStatus, 1_000),
    }
}

/// 2,000 calls a minute. `assumed_percent`: what is believed of the venue's limits.
fn storm(assumed_percent: u32, limits: VenueLimits, minutes: u64) -> Storm {
    let venue = venue_with(limits);
    let mut config = config(venue.rest_url());
    config.lanes = 6;
    let rows = LimitTable::default();
    let changes: Vec<LimitOverride> = rows
        .rows()
        .iter()
        .filter(|row| !row.name.is_empty())
        .map(|row| LimitOverride {
            pattern: row.name.to_owned(),
            window_calls: row.window_calls * assumed_percent / 100,
        })
        .collect();
    config.scheduler.table = LimitTable::with_overrides(&changes).unwrap();
    let (plane, threads, kept) = start(config);
    let clock = Clock::start_unchecked();
    let (started_at, begun) = (clock.wall(), clock.mono());
    let since_ms = || (clock.mono() - begun).as_ms();
    let fates: Mutex<[Fates; Priority::COUNT]> = Mutex::default();
    let mut memory_kb_seen = Vec::new();
    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (plane, fates) = (plane.clone(), &fates);
            scope.spawn(move || {
                let table = SymbolTable::new(&[]);
                let mut rng = Rng::new(caller);
                let count = CALLS_A_MINUTE * minutes;
                let mut times: Vec<u64> = (0..count).map(|_| rng.below(minutes * 60_000)).collect();
                times.sort_unstable();
                let mut asked = Vec::new();
                for at_ms in times {
                    let wait_ms = at_ms as i64 - since_ms();
                    std::thread::sleep(Duration::from_millis(wait_ms.max(0).unsigned_abs()));
                    let (call, reason, fresh_ms) = wish(&mut rng);
                    let fresh = Duration::from_millis(fresh_ms);
                    let call = PlaneCall::of(&call, reason, &table, fresh).unwrap();
                    asked.push((call.priority, plane.ask(call)));
                }
                for (priority, answer) in asked {
                    let result = answer.and_then(|answer| answer.recv().unwrap());
                    let fates = &mut fates.lock()[priority.index()];
                    fates.asked += 1;
                    match result {
                        Ok(_) => fates.answered += 1,
                        Err(PlaneError::Dropped { why: DropReason::Stale, .. }) => {
                            fates.too_late += 1;
                        }
                        Err(_) => fates.otherwise += 1,
                    }
                }
            });
        }
        while since_ms() < minutes as i64 * 60_000 {
            std::thread::sleep(Duration::from_millis(500));
            if since_ms() > 10_000 {
                memory_kb_seen.push(memory_kb());
            }
        }
    });
    threads.stop(Duration::from_secs(5));
    let (_, exchange) = venue.stop().unwrap();
    let records = kept.0.lock().clone();
    let mut storm = Storm {
        hits: Vec::new(),
        blocks: exchange.rest_blocks(),
        records,
        fates: *fates.lock(),
        memory_kb: [
            memory_kb_seen[0],
            *memory_kb_seen.iter().max().unwrap(),
            *memory_kb_seen.last().unwrap(),
        ],
        started_at,
    };
    let refused = storm.records.iter().filter(|record| record.status == 429);
    storm.hits = refused.map(|record| storm.at_ms(record)).collect();
    let asked: usize = storm.fates.iter().map(|fates| fates.asked).sum();
    assert_eq!(asked as u64, CALLERS * CALLS_A_MINUTE * minutes, "every request ends once");
    storm
}

#[test]
#[ignore = "takes a minute"]
fn a_storm_over_sockets_meets_no_limit_and_cancels_do_not_wait() {
    let storm = storm(100, VenueLimits::default(), 1);
    storm.print("limits as believed");
    assert!(storm.hits.is_empty(), "{:?}", storm.hits);
    for priority in [Priority::Cancel, Priority::LookUp] {
        assert!(storm.wait_p99(priority) < 1_000, "{:?}", storm.waits(priority));
        let fates = storm.fates[priority.index()];
        assert_eq!(fates.answered, fates.asked, "{priority:?}: {fates:?}");
    }
    let [early, most, _] = storm.memory_kb;
    assert!(most < early + 8_192, "memory: {:?}", storm.memory_kb);
}

#[test]
#[ignore = "takes four minutes"]
fn a_storm_at_half_the_assumed_limits_calms_down_without_a_block_and_cancels_go_on() {
    // The endpoint alone refuses, until the tenth refusal in a minute.
    let limits = VenueLimits { rest_block_after: 10, ..VenueLimits::default() };
    let storm = storm(200, limits, 4);
    storm.print("half of what is believed");
    assert!(!storm.hits.is_empty(), "the storm is no storm");
    assert!(storm.hits.iter().all(|at_ms| *at_ms <= 120_000), "{:?}", storm.hits);
    assert_eq!(storm.blocks, 0);
    let fates = storm.fates[Priority::Cancel.index()];
    assert_eq!(fates.answered, fates.asked, "{fates:?}");
    assert!(storm.wait_p99(Priority::Cancel) < 1_000, "{:?}", storm.waits(Priority::Cancel));
}

#[test]
#[ignore = "takes four minutes"]
fn a_venue_that_blocks_the_address_at_the_first_refusal_is_met_once() {
    let storm = storm(200, VenueLimits::default(), 4);
    storm.print("half of what is believed, and a refusal blocks the address for 60 s");
    assert_eq!(storm.blocks, 1, "{:?}", storm.hits);
    let first = storm.hits[0];
    // While the block lasts there is nothing but tries of cancels, one in five seconds.
    let within = storm.hits.iter().filter(|at_ms| **at_ms > first + 1_000).count();
    assert!(within <= 12, "{:?}", storm.hits);
    assert!(storm.hits.iter().all(|at_ms| *at_ms <= first + 61_000), "{:?}", storm.hits);
    // Behind it cancels do not wait.
    let after = storm.records.iter().filter(|record| {
        record.priority == Priority::Cancel && storm.at_ms(record) > first + 75_000
    });
    let mut waits: Vec<i64> = after.map(|record| record.wait.as_ms()).collect();
    waits.sort_unstable();
    assert!(waits.len() > 30, "{waits:?}");
    assert!(waits[waits.len() * 99 / 100] < 1_000, "{waits:?}");
}
