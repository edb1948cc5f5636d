//! The mouth between real threads: one that offers every kind of event as fast as it can, a ring,
//! and a reader that is now quick, now slow, now asleep.
//!
//! Method: what is offered is a pure function of a seed and each event carries its number. The
//! reader makes the same sequence by itself and holds what arrives against it: nothing that must
//! not be lost is missing or out of place, each view and each aggregate is what it must be made of,
//! and everything stands where the first thing it absorbed stood.

use super::mouth::{Mouth, MouthConfig, MouthCounters, MouthOut};
use super::sequencer::{ClockPolicy, Sequencer};
use crate::base::bounded::Text;
use crate::base::ids::{Cid, ConnId, OrderId, SymbolId, TradeId};
use crate::base::rng::Rng;
use crate::base::time::{MonoNs, Tsc, WallNs};
use crate::base::units::{Px, Qty};
use crate::model::*;
use crate::ring::{Rx, Tx, channel};
use std::collections::VecDeque;
use std::thread;
use std::time::Duration;

const SYMBOLS: u16 = 5;
const RING_DEPTH: usize = 256;
const WAITING_MAX: usize = 2_048;
/// Kinds that are neither a view, nor trades, nor a tick.
const CONTROL_KINDS: u64 = 15;

/// Number of an event, from 1, in every field that is wide enough.
type Number = u64;

/// The sequence that is offered.
struct Script {
    rng: Rng,
    number: Number,
}
impl Script {
    fn new(seed: u64) -> Script {
        Script { rng: Rng::new(seed), number: 0 }
    }
    fn next(&mut self) -> (Number, Body) {
        self.number += 1;
        let number = self.number;
        // Half of the traffic is one symbol's.
        let symbol = SymbolId(self.rng.below(2) as u16 * self.rng.below(SYMBOLS.into()) as u16);
        let body = match self.rng.below(1_000) {
            0..550 => book(symbol, number),
            550..920 => trade(symbol, number, &mut self.rng),
            920..960 => Body::Tick,
            _ => control(self.rng.below(CONTROL_KINDS), symbol, number),
        };
        (number, body)
    }
}

fn book(symbol: SymbolId, number: Number) -> Body {
    let level = Level { px: Px::from_raw(number as i64), qty: Qty::from_raw(1) };
    Body::Book(BookView {
        venue_at: WallNs(number as i64),
        bids: [level; 5],
        asks: [level; 5],
        symbol,
        bid_count: 5,
        ask_count: 5,
        updates: 1,
        imbalance_e4: (number % 10_000) as i16,
        synced: true,
    })
}
fn trade(symbol: SymbolId, number: Number, rng: &mut Rng) -> Body {
    let (id, at) = (TradeId(number), WallNs(number as i64));
    let px = Px::from_raw(rng.between(1, 1_000_000));
    let qty = rng.between(1, 1_000) * if rng.chance(1, 2) { 1 } else { -1 };
    Body::Trades(TradeAgg::one(symbol, id, at, px, Qty::from_raw(qty)))
}
/// Everything that may be neither lost nor merged, one kind after the other.
fn control(kind: u64, symbol: SymbolId, number: Number) -> Body {
    let (at, px, qty) = (WallNs(number as i64), Px::from_raw(7), Qty::from_raw(number as i64));
    let (id, cid) = (OrderId(number), Cid(number));
    let source = Source::Update;
    match kind {
        0 => Body::Bar(Bar {
            symbol,
            timeframe: Timeframe::M1,
            source: BarSource::Trades,
            open_at: at,
            open: px,
            high: px,
            low: px,
            close: px,
            volume: qty,
            trades: 1,
        }),
        1 => Body::Ticker(Ticker {
            symbol,
            bid: px,
            bid_qty: qty,
            ask: px,
            ask_qty: qty,
            last: px,
            volume_day: qty,
            high_day: px,
            low_day: px,
        }),
        2 => Body::Status(DerivStatus {
            symbol,
            at,
            deriv_px: px,
            spot_px: px,
            mark_px: px,
            funding_rate: 1,
            next_funding_at: at,
            open_interest: qty,
        }),
        3 => {
            Body::Sync(SymbolSync { symbol, state: SyncState::SequenceGap, out_of_sync_ns: number })
        }
        4 => Body::Quiet(ChannelQuiet {
            symbol,
            kind: ChannelKind::Book,
            quiet: true,
            gap_ms: number,
            missed: 0,
        }),
        5 => Body::Link(LinkEvent {
            conn: ConnId(0),
            trading: true,
            state: LinkState::Up,
            code: (number % 1_000_000) as i32,
        }),
        6 => Body::Order(OrderUpdate {
            source,
            kind: OrderKind::Limit,
            status: OrderStatus::Active,
            wallet: WalletKind::Margin,
            symbol,
            id,
            gid: 1,
            cid,
            created_at: at,
            updated_at: at,
            remaining: qty,
            original: qty,
            px,
            px_avg: px,
            flags: OrderFlags::NONE,
        }),
        7 => {
            let (of, refusal) = (AckOf::New, Refusal::None);
            Body::Ack(Ack { of, success: true, refusal, symbol, id, cid })
        }
        8 => Body::Fill(Fill {
            trade: TradeId(number),
            symbol,
            order: id,
            cid,
            at,
            qty,
            px,
            maker: None,
            fee: None,
            fee_currency: Text::EMPTY,
        }),
        9 => Body::Position(PositionUpdate { source, symbol, qty, base_px: px, pnl: None }),
        10 => Body::Wallet(WalletUpdate {
            source,
            kind: None,
            currency: Text::EMPTY,
            balance: number as i64,
            available: None,
        }),
        11 => {
            let count = (number % 1_000_000) as u32;
            Body::Snapshot(SnapshotMark { of: SnapshotOf::Orders, end: true, count })
        }
        12 => {
            let (outcome, of) = (SendOutcome::Written, AckOf::New);
            Body::Report(SendReport { outcome, of, symbol, cid })
        }
        13 => Body::Operator(OperatorCommand {
            verb: OperatorVerb::Pause,
            symbol: None,
            reason: Text::EMPTY,
        }),
        _ => Body::Venue(VenueFact::Sizes { symbol, qty_min: qty, qty_max: qty }),
    }
}

/// Whose views and trades stop merging at this event; `None` for nobody's.
enum Barrier {
    One(SymbolId),
    All,
    None,
}
fn barrier_of(body: &Body) -> Barrier {
    match body {
        Body::Bar(Bar { symbol, .. })
        | Body::Ticker(Ticker { symbol, .. })
        | Body::Status(DerivStatus { symbol, .. })
        | Body::Sync(SymbolSync { symbol, .. })
        | Body::Quiet(ChannelQuiet { symbol, .. })
        | Body::Order(OrderUpdate { symbol, .. })
        | Body::Ack(Ack { symbol, .. })
        | Body::Fill(Fill { symbol, .. })
        | Body::Position(PositionUpdate { symbol, .. })
        | Body::Report(SendReport { symbol, .. }) => Barrier::One(*symbol),
        Body::Link(_) => Barrier::All,
        _ => Barrier::None,
    }
}

/// How much of what was offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Offered {
    controls: u64,
    books: u64,
    trades: u64,
    ticks: u64,
}
impl Offered {
    fn add(&mut self, body: &Body) {
        match body {
            Body::Book(_) => self.books += 1,
            Body::Trades(_) => self.trades += 1,
            Body::Tick => self.ticks += 1,
            _ => self.controls += 1,
        }
    }
}

/// The ring's end of the mouth. A view that leaves is the newest of its symbol: an older one that
/// waited has been replaced or dropped.
struct Outlet {
    tx: Tx<Event>,
    newest: [Number; SYMBOLS as usize],
    /// The event that is just being offered.
    offering: Number,
}
impl MouthOut for Outlet {
    fn free(&mut self) -> usize {
        self.tx.free()
    }
    fn deliver(&mut self, event: Event) {
        if let Body::Book(view) = &event.body {
            let number = view.venue_at.0 as Number;
            let newest = self.newest[view.symbol.index()];
            assert!(number == newest || number == self.offering, "{number}, not {newest}");
        }
        assert!(self.tx.push(event).is_ok(), "delivered without room");
    }
}

/// Offers the script; what it offered, and what the mouth counted.
fn offer_all(seed: u64, count: u64, tx: Tx<Event>) -> (Offered, MouthCounters, [u64; 2]) {
    let config = MouthConfig { symbols: SYMBOLS.into(), waiting_max: WAITING_MAX };
    let mut mouth = Mouth::new(Sequencer::new(ClockPolicy::Host, 10), config);
    let mut outlet = Outlet { tx, newest: [0; SYMBOLS as usize], offering: 0 };
    let mut script = Script::new(seed);
    let mut mood = Rng::new(seed ^ 0xCA_1A);
    let mut offered = Offered::default();
    for _ in 0..count {
        let (number, body) = script.next();
        offered.add(&body);
        outlet.offering = number;
        let now = (MonoNs(number), WallNs(number as i64));
        let _ = mouth.sequencer_mut().on_host_time(now.0, now.1);
        let trace = Trace { recv: Tsc(number), ..Trace::default() };
        mouth.offer(body, trace, &mut outlet);
        if let Body::Book(view) = body {
            outlet.newest[view.symbol.index()] = number;
        }
        // More than the first the reader would never see: the engine would halt, and rightly. Now
        // and then the market is calm, and everything that waits gets through.
        let is_calm = mood.chance(1, 3_000);
        while mouth.waiting() > WAITING_MAX || is_calm && mouth.waiting() > 0 {
            thread::yield_now();
            mouth.flush(&mut outlet);
        }
    }
    while mouth.waiting() > 0 {
        thread::yield_now();
        mouth.flush(&mut outlet);
    }
    assert!(!mouth.is_halted());
    let of_symbols = (0..SYMBOLS).map(|symbol| mouth.conflated(SymbolId(symbol)));
    let sums = of_symbols.fold([0; 2], |sums, one| [sums[0] + one.books, sums[1] + one.trades]);
    (offered, *mouth.counters(), sums)
}

/// What the reader expects of a symbol.
#[derive(Default)]
struct Row {
    /// Offered and not yet seen, with their content.
    books: VecDeque<Number>,
    trades: VecDeque<(Number, TradeAgg)>,
    barrier_at: Number,
    last_book: Number,
    last_trade: Number,
}

/// Holds what arrives against the script.
struct Reader {
    script: Script,
    rows: Vec<Row>,
    controls: VecDeque<(Number, Body)>,
    /// Where the last thing that arrived stood among what was offered.
    place: Number,
    seq: u64,
    got: Offered,
    /// Views and trade messages inside what arrived.
    inside: [u64; 2],
    largest: [usize; 2],
}
impl Reader {
    fn new(seed: u64) -> Reader {
        Reader {
            script: Script::new(seed),
            rows: (0..SYMBOLS).map(|_| Row::default()).collect(),
            controls: VecDeque::new(),
            place: 0,
            seq: 0,
            got: Offered::default(),
            inside: [0; 2],
            largest: [0; 2],
        }
    }
    /// Knows everything that was offered up to here.
    fn know(&mut self, number: Number) {
        while self.script.number < number {
            let (number, body) = self.script.next();
            match body {
                Body::Book(view) => self.rows[view.symbol.index()].books.push_back(number),
                Body::Trades(agg) => {
                    self.rows[agg.symbol.index()].trades.push_back((number, agg));
                }
                Body::Tick => {}
                _ => self.controls.push_back((number, body)),
            }
        }
    }
    fn take(&mut self, event: &Event) {
        self.seq += 1;
        assert_eq!(event.stamp.seq, self.seq, "numbered at delivery, without a hole");
        self.got.add(&event.body);
        // Of a merged one the newest.
        let number = event.trace.recv.0;
        self.know(number);
        let place = match &event.body {
            Body::Book(view) => self.take_book(view, number),
            Body::Trades(agg) => self.take_trades(agg, number),
            Body::Tick => number,
            body => self.take_control(body, number),
        };
        assert!(place > self.place, "{place} after {}: out of order", self.place);
        self.place = place;
    }
    fn take_book(&mut self, view: &BookView, number: Number) -> Number {
        let row = &mut self.rows[view.symbol.index()];
        let count = row.books.iter().take_while(|one| **one <= number).count();
        let absorbed: Vec<Number> = row.books.drain(..count).collect();
        assert_eq!(absorbed.last(), Some(&number), "a view that was not offered, or one twice");
        assert_eq!(usize::from(view.updates), count.min(u16::MAX.into()));
        let Body::Book(mut alone) = book(view.symbol, number) else { unreachable!() };
        alone.updates = view.updates;
        assert_eq!(*view, alone, "the newest view and nothing of older ones");
        row.last_book = number;
        self.inside[0] += count as u64;
        self.largest[0] = self.largest[0].max(count);
        // It stands where the first one behind the last barrier stood.
        let first = absorbed.iter().find(|one| **one > row.barrier_at);
        *first.expect("a view does not stand behind a barrier that came after it")
    }
    fn take_trades(&mut self, agg: &TradeAgg, number: Number) -> Number {
        let row = &mut self.rows[agg.symbol.index()];
        let count = row.trades.iter().take_while(|(one, _)| *one <= number).count();
        let mut parts = row.trades.drain(..count);
        let (first, mut sum) = parts.next().expect("trades that were not offered, or twice");
        assert!(first > row.barrier_at, "merged across a barrier");
        for (_, one) in parts {
            sum.count += one.count;
            (sum.last_id, sum.last_at, sum.last) = (one.last_id, one.last_at, one.last);
            (sum.high, sum.low) = (sum.high.max(one.high), sum.low.min(one.low));
            sum.buy_qty = sum.buy_qty.saturating_add(one.buy_qty);
            sum.sell_qty = sum.sell_qty.saturating_add(one.sell_qty);
        }
        assert_eq!(*agg, sum);
        assert_eq!(agg.last_id.0, number);
        row.last_trade = number;
        self.inside[1] += count as u64;
        self.largest[1] = self.largest[1].max(count);
        first
    }
    fn take_control(&mut self, body: &Body, number: Number) -> Number {
        let expected = self.controls.pop_front();
        assert_eq!(expected, Some((number, *body)), "lost, changed or out of order");
        let stopped = match barrier_of(body) {
            Barrier::One(symbol) => &mut self.rows[symbol.index()..=symbol.index()],
            Barrier::All => &mut self.rows[..],
            Barrier::None => &mut [],
        };
        for row in stopped {
            assert!(row.last_book.max(row.last_trade) < number, "overtaken");
            let late = row.trades.front().filter(|(one, _)| *one < number);
            assert_eq!(late, None, "trades before a barrier that did not come");
            row.barrier_at = number;
        }
        number
    }
}

/// Reads until the producer is gone and nothing is left; sleeps and hurries as the seed says.
fn read_all(seed: u64, mut rx: Rx<Event>) -> Reader {
    let mut reader = Reader::new(seed);
    let mut mood = Rng::new(seed ^ 0xD0_0D);
    loop {
        // A spell of so many events at one pace.
        let pace = mood.below(4);
        for _ in 0..mood.between(1, 6_000) {
            let Some(event) = rx.pop() else {
                if rx.is_closed() {
                    return reader;
                }
                thread::yield_now();
                continue;
            };
            reader.take(&event);
            match pace {
                // Slower than what comes, by a little or by much.
                0 => (0..mood.below(400)).for_each(|_| std::hint::spin_loop()),
                1 if mood.chance(1, 500) => thread::park_timeout(Duration::from_micros(300)),
                _ => {}
            }
        }
    }
}

fn stress(seed: u64, count: u64) {
    let (tx, rx) = channel(RING_DEPTH);
    let (mut reader, (offered, counters, conflated)) = thread::scope(|scope| {
        let reader = scope.spawn(move || read_all(seed, rx));
        let mouth = scope.spawn(move || offer_all(seed, count, tx));
        (reader.join().unwrap(), mouth.join().unwrap())
    });
    let got = reader.got;
    // Nothing is left that should have come; what it has not heard of can only be ticks.
    reader.know(count);
    assert!(reader.controls.is_empty());
    assert!(reader.rows.iter().all(|row| row.books.is_empty() && row.trades.is_empty()));
    // Received = delivered + conflated, for each kind; and each symbol's share adds up.
    assert_eq!(got.controls, offered.controls);
    assert_eq!(got.books + counters.book_conflated, offered.books);
    assert_eq!(got.trades + counters.trade_conflated, offered.trades);
    assert_eq!(got.ticks + counters.tick_dropped, offered.ticks);
    assert_eq!(reader.inside, [offered.books, offered.trades]);
    assert_eq!(conflated, [counters.book_conflated, counters.trade_conflated]);
    let delivered = got.controls + got.books + got.trades + got.ticks;
    assert_eq!((counters.delivered, counters.overflowed), (delivered, 0));
    // It was a stress: much was merged, and much passed straight through.
    let merged = counters.book_conflated + counters.trade_conflated;
    println!(
        "{count} offered, delivered {got:?}, conflated {counters:?}, at most {:?} in one",
        reader.largest,
    );
    assert!(merged > count / 50, "the reader was never slow");
    assert!(got.books > count / 1_000, "the reader was never quick");
}

#[test]
fn a_slow_reader_loses_nothing_that_matters() {
    stress(1, 2_000_000);
}

#[test]
#[ignore = "a hundred million events: minutes"]
fn a_slow_reader_loses_nothing_that_matters_for_long() {
    for seed in 2..22 {
        stress(seed, 5_000_000);
    }
}
