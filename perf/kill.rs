//! From the pull of the kill switch to the first byte of a cancel on the wire: an engine as `wire`
//! makes it, orders of its that rest, and the stub's clock on both ends. One pull an engine, as in
//! life.

use crate::feed::Feed;
use crate::noise::Noise;
use crate::report::{Report, Spans};
use crate::rig::RigConfig;
use crate::stub::{Inbox, Signed, Wire};
use crate::wire::{Cores, Seen, check, start};
use genesis::io::clock::Clock;
use genesis::io::syscall;
use genesis::model::Rank;
use genesis::ring::Latch;
use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

/// Promised to operators, nanoseconds, p50.
const FIRST_CANCEL_REACH_NS: f64 = 100_000.0;
/// Orders that rest when the switch is pulled.
const RESTING: usize = 4;
/// An engine that does not get so far within this has failed, nanoseconds.
const PATIENCE_NS: u64 = 10_000_000_000;
/// Between two market frames, nanoseconds.
const PACE_NS: u64 = 200_000;
/// From the last answer to the pull: the line has gone back to waiting, nanoseconds.
const CALM_NS: u64 = 20_000_000;

/// What one pull did: from the pull to the first cancel, and to the last order's cancel.
struct Pulled {
    first_ns: u64,
    all_ns: u64,
    is_clean: bool,
}

/// Lets orders rest, pulls the switch, and reads until each of them has its cancel.
fn pull(
    clock: &Clock,
    signed: &mut Signed,
    feed: &mut Feed,
    latch: &Latch,
) -> Result<Pulled, String> {
    let text = |error: std::io::Error| error.to_string();
    signed.trading.set_nonblocking(true).map_err(text)?;
    let deadline = clock.tsc().0 + clock.ticks_of_ns(PATIENCE_NS);
    let is_over = |what: &str| match clock.tsc().0 > deadline {
        true => Err(format!("{what} did not come within {} s", PATIENCE_NS / 1_000_000_000)),
        false => Ok(()),
    };
    let mut inbox = Inbox::default();
    let (mut frame, mut answer) = (Vec::with_capacity(256), Vec::with_capacity(2_048));
    let mut resting = BTreeSet::new();
    let mut due = 0;
    while resting.len() < RESTING {
        is_over("an order")?;
        if clock.tsc().0 >= due {
            due = clock.tsc().0 + clock.ticks_of_ns(PACE_NS);
            frame.clear();
            feed.book_frame(&mut frame);
            wrote(&mut signed.market, &frame).map_err(text)?;
        }
        if inbox.poll(&mut signed.trading).map_err(text)? {
            answer.clear();
            while let Some((order, _)) = inbox.take() {
                resting.extend(feed.resting_text(&order, &mut answer));
            }
            wrote(&mut signed.trading, &answer).map_err(text)?;
        }
    }
    // Orders on their way when the last one was counted rest as well.
    let calm = clock.tsc().0 + clock.ticks_of_ns(CALM_NS);
    while clock.tsc().0 < calm {
        if inbox.poll(&mut signed.trading).map_err(text)? {
            answer.clear();
            while let Some((order, _)) = inbox.take() {
                resting.extend(feed.resting_text(&order, &mut answer));
            }
            wrote(&mut signed.trading, &answer).map_err(text)?;
        }
    }
    let mut noise = Noise::new();
    noise.resume();
    let pulled = clock.tsc();
    latch.kill_at(Rank::ReduceOnly as u8, pulled.0);
    let mut first_ns = None;
    while !resting.is_empty() {
        is_over("a cancel of each order")?;
        noise.turn();
        if !inbox.poll(&mut signed.trading).map_err(text)? {
            continue;
        }
        let at = clock.span_ns(pulled, clock.tsc()).unwrap_or(0);
        while let Some((command, _)) = inbox.take() {
            if command.starts_with("[0,\"on\"") {
                return Err(format!("an order after the pull: {command}"));
            }
            if command.contains("\"oc") {
                first_ns.get_or_insert(at);
                // By the venue's id or by ours: both are numbers nobody else has.
                let numbers = numbers_of(&command);
                resting.retain(|(id, cid)| !numbers.contains(id) && !numbers.contains(cid));
            }
        }
    }
    let all_ns = clock.span_ns(pulled, clock.tsc()).unwrap_or(0);
    let first_ns = first_ns.ok_or("no cancel")?;
    Ok(Pulled { first_ns, all_ns, is_clean: noise.is_clean_so_far() })
}

fn wrote(wire: &mut Wire, bytes: &[u8]) -> std::io::Result<()> {
    wire.write_all(bytes)?;
    wire.flush()
}

fn numbers_of(text: &str) -> BTreeSet<u64> {
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

/// `rounds` engines, plain and TLS by turns, each killed once.
///
/// # Errors
/// What could not be set up, or an engine that ended by itself or did not cancel.
pub fn measure(
    clock: &Clock,
    cores: Cores,
    rounds: usize,
    report: &mut Report,
) -> Result<(), String> {
    let config = RigConfig::default();
    for tls in [false, true] {
        let name = if tls { "wss" } else { "ws" };
        let mut first = Spans::new(&format!("kill to first cancel, {name}"));
        let mut all = Spans::new(&format!("kill to last cancel, {name}"));
        let mut clean = 0;
        for _ in 0..rounds {
            let (mut engine, mut signed, mut feed) = start(clock, cores, &config, tls)?;
            let latch = engine.latch();
            let (done, mut seen) = (AtomicBool::new(false), Seen::default());
            let pulled = std::thread::scope(|scope| {
                let pulling = scope.spawn(|| {
                    let pinned = syscall::pin(cores.stub);
                    let result = pull(clock, &mut signed, &mut feed, &latch);
                    done.store(true, Ordering::Release);
                    pinned.map_err(|error| format!("{error:?}"))?;
                    result
                });
                engine.watch(&done, &mut seen);
                pulling.join().map_err(|_| "the stub panicked".to_owned())?
            })?;
            engine.stop().map(|stopped| check(&stopped, name))?;
            first.note(pulled.first_ns);
            all.note(pulled.all_ns);
            first.end_window(pulled.is_clean);
            all.end_window(pulled.is_clean);
            clean += usize::from(pulled.is_clean);
        }
        first.print();
        all.print();
        println!("  {rounds} pulls over {name}, {clean} of them in a clean moment");
        report.put(&format!("kill_first_cancel_{name}_ns"), first.json());
        report.put(&format!("kill_all_cancels_{name}_ns"), all.json());
        report.judge(
            &format!("kill_first_cancel_{name}_p50_ns"),
            first.best().p50 as f64,
            FIRST_CANCEL_REACH_NS,
            true,
            clean == 0,
        );
    }
    Ok(())
}
