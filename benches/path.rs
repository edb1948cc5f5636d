//! Times of the way out and of the whole way: ring hops, write-ahead append, command to frame,
//! frame to order frame. What each does is checked before it is timed, and a hash of what came out
//! is printed. The whole way under a schedule is `perf`'s matter: here it runs back to back.

#![expect(clippy::disallowed_methods, reason = "a measuring program is all clock")]

#[allow(dead_code, reason = "a part of what the perf program uses")]
#[path = "../perf/feed.rs"]
mod feed;
#[allow(dead_code, reason = "a part of what the perf program uses")]
#[path = "../perf/rig.rs"]
mod rig;

use criterion::{Criterion, criterion_group, criterion_main};
use genesis::base::ids::{Cid, OrderId, StrategyId, SymbolId};
use genesis::base::time::{MonoNs, WallNs};
use genesis::base::units::{Px, Qty};
use genesis::engine::send::DecisionHash;
use genesis::io::clock::{Clock, TurnClock};
use genesis::line::send::{Door, NoWal, ORDER_FRAME_MAX, WriteAhead, wal_record};
use genesis::model::*;
use genesis::ring::channel;
use rig::{Line, MARKET, Rig, RigConfig, Wal, send_line};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn event(seq: u64) -> Event {
    let level = Level { px: Px::from_whole(86_717), qty: Qty::from_whole(1) };
    let book = BookView {
        venue_at: WallNs(1),
        bids: [level; 5],
        asks: [level; 5],
        symbol: SymbolId(0),
        bid_count: 5,
        ask_count: 5,
        updates: 1,
        imbalance_e4: 0,
        synced: true,
    };
    let stamp = Stamp { seq, recv: MonoNs(seq), wall: WallNs(1) };
    Event { stamp, trace: Trace::default(), body: Body::Book(book) }
}
fn command(cid: u64) -> Command {
    Command {
        stamp: Stamp::default(),
        trace: Trace::default(),
        strategy: StrategyId(0),
        symbol: SymbolId(0),
        class: Class::Entry,
        reason: Reason::Probe,
        action: Action::New(NewOrder {
            cid: Cid(cid),
            cid_day: WallNs::from_ms(1_575_244_800_000),
            kind: OrderKind::Ioc,
            wallet: WalletKind::Margin,
            qty: Qty::parse("-0.00265425").expect("a quantity"),
            px: Px::parse("86543.1").expect("a price"),
            px_aux: Px::ZERO,
            flags: OrderFlags::NONE,
            leverage: 0,
        }),
    }
}

fn rings(c: &mut Criterion) {
    let mut group = c.benchmark_group("ring");
    for depth in [256, 4_096] {
        let (mut tx, mut rx) = channel::<Event>(depth);
        for seq in 0..10_000 {
            assert!(tx.push(event(seq)).is_ok());
            assert_eq!(rx.pop().map(|event| event.stamp.seq), Some(seq));
        }
        let item = event(1);
        group.bench_function(format!("push_pop_event_depth_{depth}"), |b| {
            b.iter(|| {
                let _ = tx.push(black_box(item));
                rx.pop()
            })
        });
    }
    let (mut tx, mut rx) = channel::<Event>(256);
    let item = event(1);
    group.bench_function("push_take_event", |b| {
        b.iter(|| {
            let _ = tx.push(black_box(item));
            rx.take_with(|event| event.stamp.seq)
        })
    });
    let mut seq = 0;
    group.bench_function("push_take_event_made_in_place", |b| {
        b.iter(|| {
            seq += 1;
            let _ = tx.push(event(seq));
            rx.take_with(|event| event.stamp.seq)
        })
    });
    let (mut tx, mut rx) = channel::<u64>(256);
    group.bench_function("push_pop_word", |b| {
        b.iter(|| {
            let _ = tx.push(black_box(1));
            rx.pop()
        })
    });
    // From core to core and back, half of which is a hop. On a machine that gives both threads one
    // core this says how long a time slice is.
    let cpus = genesis::io::syscall::allowed_cpus().unwrap_or_default();
    if let [first, .., last] = cpus[..] {
        let (mut there_tx, mut there_rx) = channel::<Event>(256);
        let (mut back_tx, mut back_rx) = channel::<Event>(256);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _ = genesis::io::syscall::pin(first);
                while !stop.load(Ordering::Relaxed) {
                    if let Some(event) = there_rx.pop() {
                        let _ = back_tx.push(event);
                    }
                    std::hint::spin_loop();
                }
            });
            let _ = genesis::io::syscall::pin(last);
            let mut seq = 0;
            group.bench_function("there_and_back_between_cores", |b| {
                b.iter(|| {
                    seq += 1;
                    let _ = there_tx.push(event(seq));
                    loop {
                        if let Some(event) = back_rx.pop() {
                            assert_eq!(event.stamp.seq, seq);
                            break;
                        }
                        std::hint::spin_loop();
                    }
                })
            });
            stop.store(true, Ordering::Relaxed);
        });
    } else {
        eprintln!("SKIPPED: there_and_back_between_cores needs two CPUs, this process has one");
    }
    group.finish();
}

fn out(c: &mut Criterion) {
    let mut group = c.benchmark_group("out");
    let config = RigConfig::default();
    let door = Door { rank: 0, ready: true, age_ns: 0 };
    let mut frame = [0; ORDER_FRAME_MAX];
    let mut line = send_line(&config);
    // Behaviour first: the frame says what was asked, and a client id leaves once.
    let made = command(1_575_287_436_979);
    let len = line.on_command(&made, door, &mut NoWal, &mut frame).expect("it leaves");
    let (text, used) = feed::client_text(&frame[..len]).expect("a whole frame");
    assert_eq!(used, len);
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&json[1], &json[3]["price"]), (&"on".into(), &"86543.1".into()));
    assert_eq!(line.on_command(&made, door, &mut NoWal, &mut frame), Err(SendOutcome::Repeated));
    println!("out: hash {:016x} {:08x}", line.decision_hash(), crc32fast::hash(text.as_bytes()));
    let mut cid = 1_575_287_436_979;
    let mut next = made;
    let mut step = || {
        cid += 1;
        if let Action::New(new) = &mut next.action {
            new.cid = Cid(cid);
        }
        black_box(next)
    };
    group.bench_function("on_command_without_log", |b| {
        b.iter(|| {
            let made = step();
            line.on_command(&made, door, &mut NoWal, &mut frame)
        })
    });
    let mut wal = Wal::open();
    assert!(line.on_command(&step(), door, &mut wal, &mut frame).is_ok());
    assert_eq!(wal.kept(), 1);
    // Its tail is emptied between the groups, as the journal thread does; that is not timed.
    group.bench_function("on_command", |b| {
        b.iter_custom(|rounds| {
            let mut total = Duration::ZERO;
            let mut left = rounds;
            while left > 0 {
                wal.drain();
                let count = left.min(8_192);
                left -= count;
                let started = Instant::now();
                for _ in 0..count {
                    let made = step();
                    let _ = black_box(line.on_command(&made, door, &mut wal, &mut frame));
                }
                total += started.elapsed();
            }
            total
        })
    });
    let record = wal_record(&made);
    assert_eq!((record[0], record[1]), (1, 1));
    group.bench_function("wal_record", |b| b.iter(|| wal_record(black_box(&made))));
    group.bench_function("wal_append", |b| {
        b.iter_custom(|rounds| {
            let mut total = Duration::ZERO;
            let mut left = rounds;
            while left > 0 {
                wal.drain();
                let count = left.min(8_192);
                left -= count;
                let started = Instant::now();
                for _ in 0..count {
                    assert!(wal.keep(black_box(&record)));
                }
                total += started.elapsed();
            }
            total
        })
    });
    let mut hash = DecisionHash::default();
    group.bench_function("decision_hash", |b| b.iter(|| hash.update(black_box(&made))));
    let cancel = Command {
        class: Class::Cancel,
        action: Action::Cancel { id: OrderId(34_938_060_782), cid: Cid(1), cid_day: WallNs(0) },
        ..made
    };
    group.bench_function("cancel_without_log", |b| {
        b.iter(|| line.on_command(black_box(&cancel), door, &mut NoWal, &mut frame))
    });
    let clock = Clock::start_unchecked();
    group.bench_function("clock_tsc", |b| b.iter(|| clock.tsc()));
    group.bench_function("clock_mono_and_wall", |b| b.iter(|| (clock.mono(), clock.wall())));
    let mut turns = TurnClock::new(&clock);
    group.bench_function("clock_of_turns", |b| b.iter(|| turns.now()));
    group.finish();
}

/// Market frames and their orders, back to back; the venue's answers are not timed.
fn whole(c: &mut Criterion) {
    let mut group = c.benchmark_group("line");
    let clock = Clock::start_unchecked();
    for (name, every_changes) in [("frame_to_order", 1), ("frame_without_order", u32::MAX)] {
        let config = RigConfig { every_changes, ..RigConfig::default() };
        let (mut rig, mut venue) = Rig::new(config, clock.clone());
        let mut frames: Vec<Vec<u8>> = (0..16).map(|_| Vec::with_capacity(256)).collect();
        // Behaviour first: an order a frame, or none at all.
        for frame in &mut frames {
            venue.feed.book_frame(frame);
            rig.give(MARKET, frame);
        }
        assert_eq!(rig.done().sent.len(), if every_changes == 1 { frames.len() } else { 0 });
        venue.settle(&mut rig);
        println!("{name}: hash {:016x}", venue.work);
        group.bench_function(name, |b| {
            b.iter_custom(|rounds| {
                let mut total = Duration::ZERO;
                let mut left = rounds;
                while left > 0 {
                    let count = left.min(frames.len() as u64);
                    left -= count;
                    for frame in &mut frames[..count as usize] {
                        frame.clear();
                        venue.feed.book_frame(frame);
                    }
                    let started = Instant::now();
                    for frame in &frames[..count as usize] {
                        rig.give(MARKET, frame);
                    }
                    total += started.elapsed();
                    venue.settle(&mut rig);
                }
                total
            })
        });
        venue.check(&rig);
    }
    group.finish();
}

criterion_group!(benches, rings, out, whole);
criterion_main!(benches);
