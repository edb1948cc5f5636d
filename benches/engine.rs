//! Times of the decisions' hot functions: indicators, bars, sequencer, mouth, the signal and the
//! risk stage. What each does is checked before it is timed, and a hash of what came out is
//! printed: equal hashes, equal work. Figures to reach: EMA, RSI, ATR and Bollinger <= 10 ns an
//! update.

#![expect(clippy::disallowed_methods, reason = "a measuring program is all clock")]

#[allow(dead_code, reason = "a part of what the perf program uses")]
#[path = "../perf/feed.rs"]
mod feed;
#[allow(dead_code, reason = "a part of what the perf program uses")]
#[path = "../perf/rig.rs"]
mod rig;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use genesis::base::ids::{Cid, OrderId, StrategyId, SymbolId, TradeId};
use genesis::base::rng::Rng;
use genesis::base::time::{MonoNs, SpanNs, WallNs};
use genesis::base::units::{Px, Qty};
use genesis::engine::bars::{BarBuilder, BarsConfig};
use genesis::engine::indicator::*;
use genesis::engine::mouth::{Mouth, MouthConfig, MouthOut};
use genesis::engine::risk::RiskStage;
use genesis::engine::sequencer::{ClockPolicy, Sequencer};
use genesis::engine::signal::SignalStage;
use genesis::engine::stage::{Direct, Stage};
use genesis::model::*;
use rig::{RigConfig, risk_stage, signal_stage};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// A running hash of 64-bit words.
#[derive(Default)]
struct Hash(u64);
impl Hash {
    fn word(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    }
    fn print(&self, what: &str) {
        println!("{what}: hash {:016x}", self.0);
    }
}

/// A random walk of bars, a minute each.
fn bars() -> Vec<Bar> {
    let mut rng = Rng::new(5);
    let mut px = 650_000_000_000i64;
    (0..4_096)
        .map(|minute| {
            let open = px;
            px += rng.between(-300_000_000, 300_000_000);
            let (high, low) = (open.max(px) + 100_000_000, open.min(px) - 100_000_000);
            Bar {
                symbol: SymbolId(0),
                timeframe: Timeframe::M1,
                source: BarSource::Trades,
                open_at: WallNs::from_ms(1_542_000_000_000 + minute * 60_000),
                open: Px::from_raw(open),
                high: Px::from_raw(high),
                low: Px::from_raw(low),
                close: Px::from_raw(px),
                volume: Qty::from_raw(1 + rng.below(1_000_000_000) as i64),
                trades: 3,
            }
        })
        .collect()
}

fn indicators(c: &mut Criterion) {
    let bars = bars();
    let rows: Vec<[f64; 3]> =
        bars.iter().map(|b| [b.high.to_f64(), b.low.to_f64(), b.close.to_f64()]).collect();
    let mut group = c.benchmark_group("indicator");
    group.throughput(Throughput::Elements(bars.len() as u64));
    // Behaviour first: each against the plain rule over the whole series.
    let config = IndicatorConfig::default();
    let mut set = IndicatorSet::new(&config);
    let (mut ema, mut plain, mut hash) = (Ema::new(14), 0.0f64, Hash::default());
    for (bar, [_, _, close]) in bars.iter().zip(&rows) {
        set.commit(bar);
        ema.update(*close);
        plain = if plain == 0.0 { *close } else { plain + (*close - plain) * 2.0 / 15.0 };
    }
    assert!((ema.value().expect("warm") - plain).abs() < 1e-9 * plain);
    let last = &rows[rows.len() - 20..];
    let mean = last.iter().map(|row| row[2]).sum::<f64>() / 20.0;
    let values = set.committed();
    assert!((values.bollinger.expect("warm").middle - mean).abs() < 1e-9 * mean);
    assert!(values.rsi.is_some_and(|rsi| (0.0..=100.0).contains(&rsi)));
    let atr = values.atr.expect("warm");
    assert!(atr > 2.0 && atr < 10.0, "the bars span 2 to 5: {atr}");
    for value in [values.ema, values.rsi, values.atr, values.adx, values.ema_z, values.vwap] {
        hash.word(value.expect("warm").to_bits());
    }
    hash.print("indicators");

    macro_rules! update {
        ($name:literal, $made:expr, |$one:ident, $bar:ident, $row:ident| $step:expr) => {
            group.bench_function(concat!($name, "_update"), |b| {
                let mut $one = $made;
                b.iter(|| {
                    for ($bar, $row) in bars.iter().zip(&rows) {
                        let _ = ($bar, $row);
                        black_box($step);
                    }
                    $one.value()
                })
            });
        };
    }
    update!("ema", Ema::new(14), |one, bar, row| {
        one.update(row[2]);
        one.value()
    });
    update!("rsi", Rsi::new(14), |one, bar, row| {
        one.update(row[2]);
        one.value()
    });
    update!("atr", Atr::new(14), |one, bar, row| {
        one.update(row[0], row[1], row[2]);
        one.value()
    });
    update!("bollinger", Bollinger::new(20), |one, bar, row| {
        one.update(bar.close);
        one.value()
    });
    update!("adx", Adx::new(14), |one, bar, row| {
        one.update(row[0], row[1]);
        one.value()
    });
    update!("ema_z", EmaZ::new(3, 7, 200), |one, bar, row| {
        one.update(row[2]);
        one.value()
    });
    update!("realised_vol", RealisedVol::new(60), |one, bar, row| {
        one.update(row[2]);
        one.value()
    });
    update!("vwap", Vwap::default(), |one, bar, row| {
        one.update(bar.open_at, bar.high, bar.low, bar.close, bar.volume);
        one.value()
    });
    group.bench_function("set_commit", |b| {
        b.iter(|| bars.iter().for_each(|bar| set.commit(black_box(bar))))
    });
    group.throughput(Throughput::Elements(1));
    let forming = Forming {
        at: bars[9].open_at,
        high: bars[9].high,
        low: bars[9].low,
        last: bars[9].close,
        volume: bars[9].volume,
        trades: 3,
    };
    group.bench_function("set_provisional", |b| {
        b.iter(|| black_box(&set).provisional(black_box(&forming)))
    });
    group.finish();
}

fn book_view(symbol: u16, number: i64) -> BookView {
    let level = |px: i64| Level { px: Px::from_whole(px), qty: Qty::from_whole(1 + number % 7) };
    let side = |from: i64, step: i64| std::array::from_fn(|rank| level(from + step * rank as i64));
    BookView {
        venue_at: WallNs(number),
        bids: side(86_717 - number % 3, -1),
        asks: side(86_719 + number % 2, 1),
        symbol: SymbolId(symbol),
        bid_count: 5,
        ask_count: 5,
        updates: 1,
        imbalance_e4: 0,
        synced: true,
    }
}
fn stamped(number: u64, body: Body) -> Event {
    let recv = MonoNs(number * 1_000);
    let wall = WallNs(1_754_820_240_000_000_000) + SpanNs(number as i64 * 1_000);
    Event { stamp: Stamp { seq: number, recv, wall }, trace: Trace::default(), body }
}

/// Counts, and keeps the optimizer from knowing.
#[derive(Default)]
struct Counted(u64);
impl MouthOut for Counted {
    fn free(&mut self) -> usize {
        64
    }
    fn deliver(&mut self, event: Event) {
        self.0 += black_box(&event).stamp.seq & 1;
    }
}

fn front(c: &mut Criterion) {
    let mut group = c.benchmark_group("front");
    let mut sequencer = Sequencer::new(ClockPolicy::Host, 50);
    assert!(!sequencer.on_host_time(MonoNs(1), WallNs(1)));
    let first = sequencer.stamp(MonoNs(1), WallNs(1), Trace::default(), Body::Tick);
    assert_eq!(first.stamp.seq, 1);
    let body = Body::Book(book_view(0, 1));
    group.bench_function("sequencer_stamp", |b| {
        b.iter(|| {
            let (recv, wall) = sequencer.now();
            sequencer.stamp(recv, wall, Trace::default(), black_box(body))
        })
    });
    let config = MouthConfig { symbols: 4, ..MouthConfig::default() };
    let mut mouth = Mouth::new(sequencer, config);
    let mut out = Counted::default();
    mouth.offer(body, Trace::default(), &mut out);
    assert_eq!((mouth.counters().delivered, mouth.waiting()), (1, 0));
    group.bench_function("mouth_offer", |b| {
        b.iter(|| mouth.offer(black_box(body), Trace::default(), &mut out))
    });
    let mut bars = BarBuilder::new(BarsConfig { symbols: 4, ..BarsConfig::default() });
    let (mut at, mut closed) = (WallNs::from_ms(1_754_820_240_000), 0u64);
    let (px, qty) = (Px::from_whole(100), Qty::from_whole(1));
    for minute in 0..3 {
        let at = at + SpanNs::from_s(minute * 60);
        bars.on_trade(SymbolId(1), at, px, qty, &mut |bar| {
            closed += u64::from(bar.timeframe == Timeframe::M1);
        });
    }
    assert_eq!(closed, 2, "a trade of the next minute ends a bar");
    group.bench_function("bars_on_trade", |b| {
        b.iter(|| {
            at = at + SpanNs(1_000_000);
            bars.on_trade(SymbolId(0), at, black_box(px), qty, &mut |_| closed += 1);
        })
    });
    group.finish();
}

/// Signed in, reconciled, and with a book of each symbol.
fn ready_signal(config: &RigConfig) -> SignalStage {
    let mut stage = signal_stage(config);
    let mut out: Vec<Signal> = Vec::new();
    for (number, body) in rig::reconciled().into_iter().enumerate() {
        stage.on_input(&stamped(number as u64, body), &mut out);
    }
    stage
}

fn signal(c: &mut Criterion) {
    let mut group = c.benchmark_group("signal");
    let quiet = RigConfig { every_changes: u32::MAX, ..RigConfig::default() };
    let mut stage = ready_signal(&quiet);
    let mut number = 100u64;
    let events: Vec<Event> =
        (0..64).map(|n| stamped(0, Body::Book(book_view((n % 4) as u16, n)))).collect();
    // Every view makes one mark, and every second change of a symbol one intent.
    let mut second = ready_signal(&RigConfig { every_changes: 2, ..RigConfig::default() });
    let (mut marks, mut intents, mut hash) = (0, 0, Hash::default());
    for (index, event) in events.iter().enumerate() {
        let event = Event { stamp: stamped(100 + index as u64, Body::Tick).stamp, ..*event };
        second.on_input(
            &event,
            &mut Direct(|signal: Signal| match signal {
                Signal::Mark(mark) => {
                    marks += 1;
                    hash.word(mark.bid.px.raw() as u64);
                }
                Signal::Intent(intent) => {
                    intents += 1;
                    hash.word(intent.cause.seq);
                }
                Signal::Event(_) => {}
            }),
        );
    }
    assert_eq!((marks, intents), (64, 32));
    hash.print("signal");
    let mut drive = |name: &str, stage: &mut SignalStage, bodies: &[Event]| {
        group.bench_function(name, |b| {
            let mut place = 0;
            b.iter(|| {
                number += 1;
                place = (place + 1) % bodies.len();
                let mut event = bodies[place];
                event.stamp = Stamp {
                    seq: number,
                    recv: MonoNs(number * 1_000),
                    wall: WallNs(1_754_820_240_000_000_000 + number as i64 * 1_000),
                };
                stage.on_input(
                    &event,
                    &mut Direct(|signal: Signal| {
                        black_box(&signal);
                    }),
                );
            })
        });
    };
    drive("book", &mut stage, &events);
    let every = RigConfig { every_changes: 1, ..RigConfig::default() };
    drive("book_to_intent", &mut ready_signal(&every), &events);
    let trades: Vec<Event> = (0..64)
        .map(|n| {
            let at = WallNs(1_754_820_240_000_000_000 + n as i64);
            let agg = TradeAgg::one(
                SymbolId(0),
                TradeId(n),
                at,
                Px::from_whole(86_717),
                Qty::from_raw(5),
            );
            stamped(0, Body::Trades(agg))
        })
        .collect();
    drive("trade", &mut stage, &trades);
    group.finish();
}

/// Signed in, reconciled, with a mark of each symbol.
fn ready_risk(config: &RigConfig) -> RiskStage {
    let mut stage = risk_stage(config);
    let mut out: Vec<Command> = Vec::new();
    let link = |state| Body::Link(LinkEvent { conn: rig::TRADING, trading: true, state, code: 0 });
    let snapshot = |end| Body::Snapshot(SnapshotMark { of: SnapshotOf::Orders, end, count: 0 });
    let mut bodies = vec![link(LinkState::Up), link(LinkState::Authenticated)];
    bodies.extend([snapshot(false), snapshot(true)]);
    bodies.extend(rig::reconciled());
    for (number, body) in bodies.into_iter().enumerate() {
        stage.on_input(&Signal::Event(stamped(number as u64, body)), &mut out);
    }
    for symbol in 0..config.symbols as u16 {
        stage.on_input(&Signal::Mark(mark(symbol, 50)), &mut out);
    }
    assert!(stage.is_ready() && out.is_empty());
    stage
}
fn mark(symbol: u16, number: u64) -> Mark {
    let level = |px| Level { px: Px::from_whole(px), qty: Qty::from_whole(2) };
    Mark {
        stamp: stamped(number, Body::Tick).stamp,
        symbol: SymbolId(symbol),
        synced: true,
        bid: level(86_717 - (number % 3) as i64),
        ask: level(86_718),
    }
}
fn intent(number: u64) -> Intent {
    const CENT: Qty = Qty::from_raw(1_000_000);
    let qty = if (number / 4).is_multiple_of(2) { CENT } else { -CENT };
    Intent {
        cause: stamped(number, Body::Tick).stamp,
        trace: Trace::default(),
        strategy: StrategyId(0),
        symbol: SymbolId((number % 4) as u16),
        reason: Reason::Probe,
        want: Want::Once { qty, px: Px::ZERO, urgency: Urgency::Take, reduce: false },
        edge: None,
        bracket: None,
    }
}
/// The venue's words for an order that it fills at once, as the front tells them.
fn answers(command: &Command, number: u64) -> [Body; 5] {
    let Action::New(new) = command.action else { panic!("a new order") };
    let (id, at) = (OrderId(1_000_000 + number), WallNs(1_754_820_240_000_000_000 + number as i64));
    let ack = Ack {
        of: AckOf::New,
        success: true,
        refusal: Refusal::None,
        symbol: command.symbol,
        id,
        cid: new.cid,
    };
    let fill = |fee| Fill {
        trade: TradeId(5_000_000 + number),
        symbol: command.symbol,
        order: id,
        cid: new.cid,
        at,
        qty: new.qty,
        px: new.px,
        maker: Some(false),
        fee,
        fee_currency: Currency::new("USD").expect("a short name"),
    };
    let end = OrderUpdate {
        source: Source::Closed,
        kind: new.kind,
        status: OrderStatus::Executed,
        wallet: new.wallet,
        symbol: command.symbol,
        id,
        gid: 1,
        cid: new.cid,
        created_at: at,
        updated_at: at,
        remaining: Qty::ZERO,
        original: new.qty,
        px: new.px,
        px_avg: new.px,
        flags: new.flags,
    };
    let report = SendReport {
        outcome: SendOutcome::Written,
        of: AckOf::New,
        symbol: command.symbol,
        cid: new.cid,
    };
    [
        Body::Report(report),
        Body::Ack(ack),
        Body::Fill(fill(None)),
        Body::Fill(fill(Some(-5))),
        Body::Order(end),
    ]
}

fn risk(c: &mut Criterion) {
    let mut group = c.benchmark_group("risk");
    let config = RigConfig::default();
    let mut stage = ready_risk(&config);
    let mut commands: Vec<Command> = Vec::with_capacity(64);
    let mut number = 104u64;
    // Behaviour first: an intent makes one order, its answers end it and move the position there.
    stage.on_input(&Signal::Intent(intent(number)), &mut commands);
    assert_eq!((commands.len(), stage.ledger().alive()), (1, 1));
    let command = commands.pop().expect("one command");
    let Action::New(new) = command.action else { panic!("a new order") };
    assert!(new.cid > Cid::NONE && new.px >= Px::from_whole(86_718));
    let mut hash = Hash::default();
    hash.word(new.px.raw() as u64);
    hash.word(new.qty.raw() as u64);
    for body in answers(&command, number) {
        stage.on_input(&Signal::Event(stamped(number, body)), &mut commands);
    }
    assert_eq!((stage.ledger().alive(), stage.ledger().counters().fills), (0, 1));
    assert_eq!(stage.positions().qty(SymbolId(0)), new.qty);
    hash.print("risk");
    group.bench_function("mark", |b| {
        b.iter(|| {
            number += 1;
            stage.on_input(&Signal::Mark(black_box(mark(0, number))), &mut commands);
        })
    });
    // Orders in groups, so that reading the clock costs nothing; their answers are not timed here.
    const GROUP: u64 = 32;
    let mut orders = |stage: &mut RiskStage, rounds: u64, times_answers: bool| {
        let mut total = Duration::ZERO;
        let mut left = rounds;
        while left > 0 {
            let count = GROUP.min(left);
            left -= count;
            // Books must be fresh.
            for symbol in 0..4 {
                stage.on_input(&Signal::Mark(mark(symbol, number)), &mut Vec::new());
            }
            let started = Instant::now();
            for _ in 0..count {
                number += 1;
                stage.on_input(&Signal::Intent(black_box(intent(number))), &mut commands);
            }
            let made = started.elapsed();
            assert_eq!(commands.len() as u64, count);
            let started = Instant::now();
            for (place, command) in commands.iter().enumerate() {
                for body in answers(command, number * 64 + place as u64) {
                    let event = Signal::Event(stamped(number, body));
                    stage.on_input(&event, &mut Vec::new());
                }
            }
            total += if times_answers { started.elapsed() } else { made };
            commands.clear();
        }
        total
    };
    group.bench_function("intent_to_order", |b| {
        b.iter_custom(|rounds| orders(&mut stage, rounds, false))
    });
    group.bench_function("five_answers", |b| {
        b.iter_custom(|rounds| orders(&mut stage, rounds, true))
    });
    assert_eq!(stage.ledger().alive(), 0);
    group.finish();
}

criterion_group!(benches, indicators, front, signal, risk);
criterion_main!(benches);
