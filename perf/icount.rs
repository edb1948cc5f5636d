//! Instructions of the hot functions that take less than a tenth of a microsecond, where a clock
//! says little: counted by valgrind's callgrind, exact to a few in a million, whatever else the
//! machine does. Each function runs N and 3 N times in a process of its own; the difference is its
//! count.

use crate::feed::instruments;
use crate::report::Report;
use crate::rig::{
    Line, MARKET, Rig, RigConfig, Venue, Wal, reconciled, risk_stage, send_line, signal_stage,
};
use crate::rings::Rings;
use genesis::base::ids::{Cid, StrategyId, SymbolId};
use genesis::base::rng::Rng;
use genesis::base::time::{MonoNs, WallNs};
use genesis::base::units::{Px, Qty};
use genesis::engine::indicator::{Atr, Bollinger, Ema, Rsi};
use genesis::engine::mouth::{Mouth, MouthConfig, MouthOut};
use genesis::engine::sequencer::{ClockPolicy, Sequencer};
use genesis::engine::stage::{Direct, Stage};
use genesis::io::clock::Clock;
use genesis::line::send::{Door, NoWal, ORDER_FRAME_MAX, WriteAhead, wal_record};
use genesis::model::*;
use genesis::ring::channel;
use genesis::venue::book::{Book, BookRow};
use genesis::venue::encode;
use genesis::venue::public::decode;
use genesis::venue::scan::Scanner;
use genesis::venue::symbols::SymbolTable;
use serde_json::{Map, Value, json};
use std::hint::black_box;
use std::process::{Command as Process, ExitCode};

/// Calls of the shorter of the two runs.
const CALLS: u64 = 2_000;
/// More instructions than the baseline: told from here, a failure from there.
const WARN: f64 = 1.01;
const FAIL: f64 = 1.03;
const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/perf/icount.json");

/// Functions of which only a part is counted, and how that part is told to valgrind.
const TOGGLED: &str = "frame_";
const TOGGLE: &str = "--toggle-collect=*give_counted*";

type Run = fn(u64);
const FUNCTIONS: [(&str, Run); 18] = [
    ("decode_book_row", decode_book_row),
    ("decode_trade_row", decode_trade_row),
    ("book_apply", book_apply),
    ("book_view", book_view),
    ("ema_update", ema_update),
    ("rsi_update", rsi_update),
    ("atr_update", atr_update),
    ("bollinger_update", bollinger_update),
    ("mouth_offer", mouth_offer),
    ("ring_push_take_event", ring_push_take_event),
    ("signal_book", signal_book),
    ("risk_mark", risk_mark),
    ("encode_new_order", encode_new_order),
    ("command_to_frame", command_to_frame),
    ("wal_append", wal_append),
    ("frame_without_order", frame_without_order),
    ("frame_to_order_direct", frame_to_order_direct),
    ("frame_to_order_rings", frame_to_order_rings),
];

fn decode_book_row(calls: u64) {
    let rows: [&[u8]; 4] = [
        b"[86717,3,1.17073057],1,1542045968922]",
        b"[86720,1,-0.5],2,1542045968922]",
        b"[2304.5,0,1],3,1542045968922]",
        b"[0.84123,12,-2500.75],4,1542045968922]",
    ];
    for call in 0..calls {
        let mut scan = Scanner::new(black_box(rows[call as usize % 4]));
        let _ = black_box(decode::book_row(&mut scan));
    }
}
fn decode_trade_row(calls: u64) {
    let row: &[u8] = b"[310628121,1542045947738,-0.00265425,6443.1],9,1542045968922]";
    for _ in 0..calls {
        let _ = black_box(decode::trade_row(&mut Scanner::new(black_box(row))));
    }
}
/// A book of 25 a side, and changes near its touch.
fn book() -> (Book, Vec<BookRow>) {
    const UNIT: i64 = 100_000_000;
    let mut book = Book::new();
    for level in 0..25 {
        for (px, qty) in [(86_717 - level, UNIT), (86_718 + level, -UNIT)] {
            let row = BookRow { px: px * UNIT, count: 1, qty };
            assert!(book.apply(row).is_ok());
        }
    }
    let mut rng = Rng::new(3);
    let rows = (0..256)
        .map(|_| {
            let level = rng.exponential(5.0) as i64 % 25;
            let bid = rng.chance(1, 2);
            let px = if bid { 86_717 - level } else { 86_718 + level };
            let sign = if bid { 1 } else { -1 };
            let count = u32::from(!rng.chance(1, 6));
            BookRow { px: px * UNIT, count, qty: sign * rng.between(1, 9 * UNIT) }
        })
        .collect();
    (book, rows)
}
fn book_apply(calls: u64) {
    let (mut book, rows) = book();
    for call in 0..calls {
        let _ = black_box(book.apply(black_box(rows[call as usize % rows.len()])));
    }
}
fn book_view(calls: u64) {
    let (book, _) = book();
    for _ in 0..calls {
        black_box(black_box(&book).view(SymbolId(0), WallNs(1), 1));
    }
}
fn ema_update(calls: u64) {
    let mut one = Ema::new(14);
    for call in 0..calls {
        one.update(black_box(100.0 + (call % 7) as f64));
        black_box(one.value());
    }
}
fn rsi_update(calls: u64) {
    let mut one = Rsi::new(14);
    for call in 0..calls {
        one.update(black_box(100.0 + (call % 7) as f64));
        black_box(one.value());
    }
}
fn atr_update(calls: u64) {
    let mut one = Atr::new(14);
    for call in 0..calls {
        let close = black_box(100.0 + (call % 7) as f64);
        one.update(close + 1.0, close - 1.0, close);
        black_box(one.value());
    }
}
fn bollinger_update(calls: u64) {
    let mut one = Bollinger::new(20);
    for call in 0..calls {
        one.update(black_box(Px::from_whole(100 + (call % 7) as i64)));
        black_box(one.value());
    }
}
fn event(number: u64) -> Event {
    let (book, _) = book();
    let stamp = Stamp {
        seq: number,
        recv: MonoNs(number * 1_000),
        wall: WallNs(1_754_820_240_000_000_000 + number as i64 * 1_000),
    };
    let body = Body::Book(book.view(SymbolId(0), WallNs(1), 1));
    Event { stamp, trace: Trace::default(), body }
}
struct Dropped;
impl MouthOut for Dropped {
    fn free(&mut self) -> usize {
        64
    }
    fn deliver(&mut self, event: Event) {
        black_box(&event);
    }
}
fn mouth_offer(calls: u64) {
    let sequencer = Sequencer::new(ClockPolicy::Host, 50);
    let mut mouth = Mouth::new(sequencer, MouthConfig { symbols: 1, ..MouthConfig::default() });
    let body = event(1).body;
    for _ in 0..calls {
        mouth.offer(black_box(body), Trace::default(), &mut Dropped);
    }
}
fn ring_push_take_event(calls: u64) {
    let (mut tx, mut rx) = channel::<Event>(256);
    let item = event(1);
    for _ in 0..calls {
        let _ = tx.push(black_box(item));
        black_box(rx.take_with(|event| event.stamp.seq));
    }
}
fn signal_book(calls: u64) {
    let config = RigConfig { every_changes: u32::MAX, ..RigConfig::default() };
    let mut stage = signal_stage(&config);
    let mut event = event(1);
    for body in reconciled() {
        stage.on_input(&Event { body, ..event }, &mut Vec::new());
    }
    for call in 0..calls {
        event.stamp.seq = call;
        stage.on_input(
            black_box(&event),
            &mut Direct(|signal: Signal| {
                black_box(&signal);
            }),
        );
    }
}
fn risk_mark(calls: u64) {
    let mut stage = risk_stage(&RigConfig::default());
    let level = |px| Level { px: Px::from_whole(px), qty: Qty::from_whole(1) };
    let mark = Mark {
        stamp: event(1).stamp,
        symbol: SymbolId(0),
        synced: true,
        bid: level(86_717),
        ask: level(86_718),
    };
    let mut out: Vec<Command> = Vec::new();
    for _ in 0..calls {
        stage.on_input(black_box(&Signal::Mark(mark)), &mut out);
    }
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
            cid: Cid(1_575_287_436_979 + cid),
            cid_day: WallNs(0),
            kind: OrderKind::Ioc,
            wallet: WalletKind::Margin,
            qty: Qty::from_raw(-265_425),
            px: Px::from_raw(8_654_310_000_000),
            px_aux: Px::ZERO,
            flags: OrderFlags::NONE,
            leverage: 0,
        }),
    }
}
fn encode_new_order(calls: u64) {
    let table = SymbolTable::new(&instruments(1));
    let (made, mut out) = (command(0), [0; ORDER_FRAME_MAX]);
    for _ in 0..calls {
        let _ = black_box(encode::command(black_box(&made), &table, Some(1), &mut out));
    }
}
fn command_to_frame(calls: u64) {
    let mut line = send_line(&RigConfig::default());
    let door = Door { rank: 0, ready: true, age_ns: 0 };
    let mut frame = [0; ORDER_FRAME_MAX];
    for call in 0..calls {
        let made = black_box(command(call));
        let _ = black_box(line.on_command(&made, door, &mut NoWal, &mut frame));
    }
}
fn wal_append(calls: u64) {
    let mut wal = Wal::open();
    let record = wal_record(&command(1));
    for _ in 0..calls {
        assert!(wal.keep(black_box(&record)));
    }
}
/// A book update that nobody acts on.
fn frame_without_order(calls: u64) {
    let config = RigConfig { symbols: 1, every_changes: u32::MAX, ..RigConfig::default() };
    let (mut rig, mut venue) = Rig::new(config, Clock::start_unchecked());
    let mut frame = Vec::with_capacity(256);
    for _ in 0..calls {
        frame.clear();
        venue.feed.book_frame(&mut frame);
        give_counted(&mut rig, &frame);
    }
}

/// What alone is counted of a round: `TOGGLE` names it.
#[inline(never)]
fn give_counted<L: Line>(line: &mut L, frame: &[u8]) {
    line.give(MARKET, black_box(frame));
}
/// From the bytes of a frame to those of its order. The stub of the venue fills each order, so that
/// the next one finds the same state; that is not counted.
fn frames_to_orders<L: Line>((mut line, mut venue): (L, Venue), calls: u64) {
    let mut frame = Vec::with_capacity(256);
    for _ in 0..calls {
        frame.clear();
        venue.feed.book_frame(&mut frame);
        give_counted(&mut line, &frame);
        venue.settle(&mut line);
    }
    venue.check(&line);
    assert_eq!(line.send_line().sent(), calls, "each frame makes an order");
}
fn frame_to_order_direct(calls: u64) {
    let config = RigConfig { symbols: 1, every_changes: 1, ..RigConfig::default() };
    frames_to_orders(Rig::new(config, Clock::start_unchecked()), calls);
}
fn frame_to_order_rings(calls: u64) {
    let config = RigConfig { symbols: 1, every_changes: 1, ..RigConfig::default() };
    frames_to_orders(Rings::new(config, Clock::start_unchecked()), calls);
}

/// Runs one function in this process; for the counted children.
pub fn run(name: &str, calls: u64) -> bool {
    match FUNCTIONS.iter().find(|(known, _)| *known == name) {
        Some((_, run)) => {
            run(calls);
            true
        }
        None => false,
    }
}

/// Instructions of a child that makes so many calls.
fn count(name: &str, calls: u64) -> Result<u64, String> {
    let exe = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut valgrind = Process::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    if name.starts_with(TOGGLED) {
        valgrind.arg(TOGGLE);
    }
    let output = valgrind
        .arg(exe)
        .args(["count-one", name, &calls.to_string()])
        .output()
        .map_err(|error| error.to_string())?;
    let words = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{name}: the counted child failed: {words}"));
    }
    let line = words.lines().find(|line| line.contains("Collected :"));
    let digits: String = line
        .unwrap_or_default()
        .rsplit(':')
        .next()
        .unwrap_or_default()
        .chars()
        .filter(char::is_ascii_digit)
        .collect();
    digits.parse().map_err(|_| format!("{name}: valgrind said no count: {words}"))
}

/// Counts all, and compares with `perf/icount.json`; `update` writes that file anew.
pub fn measure(update: bool, report: &mut Report) -> ExitCode {
    let has_valgrind = Process::new("valgrind").arg("--version").output().is_ok();
    if !has_valgrind {
        eprintln!("SKIPPED: instruction counts: `valgrind` is not installed");
        return ExitCode::SUCCESS;
    }
    let toolchain = Process::new("rustc").arg("--version").output();
    let toolchain = toolchain.map_or_else(
        |_| "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    );
    let text = std::fs::read_to_string(BASELINE).unwrap_or_default();
    let baseline: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
    let same_toolchain = baseline["toolchain"] == json!(toolchain);
    if !same_toolchain && !update {
        println!(
            "the baseline is of {}, this is {toolchain}: told, not judged",
            baseline["toolchain"]
        );
    }
    let (mut counts, mut failed) = (Map::new(), false);
    for (name, _) in FUNCTIONS {
        let found = count(name, CALLS).and_then(|less| Ok((less, count(name, 3 * CALLS)?)));
        let (less, more) = match found {
            Ok(found) => found,
            Err(problem) => {
                eprintln!("{problem}");
                return ExitCode::FAILURE;
            }
        };
        let each = more.saturating_sub(less) as f64 / (2 * CALLS) as f64;
        let each = (each * 10.0).round() / 10.0;
        let before = baseline["counts"][name].as_f64();
        let ratio = before.map_or(1.0, |before| each / before.max(1.0));
        let verdict = match ratio {
            ratio if before.is_none() || !same_toolchain || ratio <= WARN => "",
            ratio if ratio <= FAIL => "  more than the baseline",
            _ => "  MUCH more than the baseline",
        };
        failed |= verdict.contains("MUCH");
        println!("  {name:<24} {each:8.1} instructions, baseline {before:?}{verdict}");
        counts.insert(name.to_owned(), json!(each));
    }
    report.put("icount", Value::Object(counts.clone()));
    if update {
        let made = json!({ "toolchain": toolchain, "counts": counts });
        let text = serde_json::to_string_pretty(&made).unwrap_or_default() + "\n";
        if let Err(error) = std::fs::write(BASELINE, text) {
            eprintln!("perf/icount.json: {error}");
            return ExitCode::FAILURE;
        }
        println!("wrote perf/icount.json");
        return ExitCode::SUCCESS;
    }
    ExitCode::from(u8::from(failed))
}
