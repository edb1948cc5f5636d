//! The mouth of `parse_signal`: what waits there, what is merged there, and in which order it
//! leaves.
//!
//! While the ring has room, everything passes straight through. When it is full, things wait here:
//! - a **book view** replaces the symbol's waiting one (its `updates` are summed), counted per
//! symbol;
//! - **trades** merge into the symbol's waiting aggregate, counted per symbol;
//! - a **tick** is dropped when one waits already (a tick carries time, and what follows carries it
//! too);
//! - everything else waits in arrival order, bounded by `waiting_max`; overflow sets `is_halted`.
//!
//! Order. Things leave in arrival order, except that a merged view or aggregate keeps the place of
//! the first one it absorbed. Merging never reaches across a *barrier*: any waiting event of the
//! same symbol that is not a book or a trade (so: a bar, a sync change, a fill …) and any waiting
//! link event. So between two such events of a symbol exactly what arrived between them is
//! delivered, and an aggregate never crosses a bar's end. A view that waits before a barrier is
//! dropped once a newer one arrives behind it. Books and trades of one symbol are not ordered
//! against each other: on the wire they are two channels.

use super::sequencer::Sequencer;
use crate::base::ids::SymbolId;
use crate::base::time::{MonoNs, WallNs};
use crate::model::{Body, BookView, Event, Trace, TradeAgg};
use std::collections::VecDeque;

/// Where delivered events go; the ring, or a test's vector.
pub trait MouthOut {
    /// Slots free now; the mouth delivers only while this is above zero.
    fn free(&mut self) -> usize;
    /// Takes one event; there is room for it.
    fn deliver(&mut self, event: Event);
}

/// Bounds of the mouth.
#[derive(Clone, Copy, Debug)]
pub struct MouthConfig {
    /// Rows of the run's instrument table.
    pub symbols: usize,
    /// Events that may wait and are never merged. More than that halts the engine. Default 8,192:
    /// more than a minute of private traffic at ten times the venue's order limit.
    pub waiting_max: usize,
}
impl Default for MouthConfig {
    fn default() -> Self {
        Self { symbols: 0, waiting_max: 8_192 }
    }
}

/// What the mouth did, in total; per symbol see `Mouth::conflated`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MouthCounters {
    pub delivered: u64,
    /// Views replaced by a newer one.
    pub book_conflated: u64,
    /// Trade messages merged into a waiting aggregate.
    pub trade_conflated: u64,
    pub tick_dropped: u64,
    /// Most events that ever waited.
    pub waiting_high: u64,
    /// Events that found no place. Not zero means halted.
    pub overflowed: u64,
}

/// Views replaced and trade messages merged of one symbol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conflated {
    pub books: u64,
    pub trades: u64,
}

#[derive(Clone, Copy)]
struct Waiting {
    recv: MonoNs,
    wall: WallNs,
    trace: Trace,
    body: Body,
    /// A view that a newer one behind a barrier has made pointless.
    dead: bool,
}

/// Places are absolute: the number of entries ever queued before. 0 = none, so they start at 1.
#[derive(Clone, Copy, Default)]
struct SymbolSlots {
    book_at: u64,
    trades_at: u64,
    barrier_at: u64,
    conflated: Conflated,
}

/// The conflating mouth; owns the sequencer because `seq` is given at delivery.
pub struct Mouth {
    sequencer: Sequencer,
    queue: VecDeque<Waiting>,
    queue_max: usize,
    /// Place of the queue's front.
    front_at: u64,
    symbols: Box<[SymbolSlots]>,
    link_barrier_at: u64,
    controls: usize,
    controls_max: usize,
    tick_waits: bool,
    halted: bool,
    counters: MouthCounters,
}

impl Mouth {
    pub fn new(sequencer: Sequencer, config: MouthConfig) -> Self {
        // Every waiting control may split a symbol's aggregate and leave a dead view before it.
        let queue_max = 3 * config.waiting_max + 4 * config.symbols + 4;
        Self {
            sequencer,
            queue: VecDeque::with_capacity(queue_max),
            queue_max,
            front_at: 1,
            symbols: vec![SymbolSlots::default(); config.symbols].into_boxed_slice(),
            link_barrier_at: 0,
            controls: 0,
            controls_max: config.waiting_max,
            tick_waits: false,
            halted: false,
            counters: MouthCounters::default(),
        }
    }
    pub fn sequencer(&self) -> &Sequencer {
        &self.sequencer
    }
    /// To tell it the time, before offering what was received at that time.
    pub fn sequencer_mut(&mut self) -> &mut Sequencer {
        &mut self.sequencer
    }
    /// True once something that must not be lost found no place. Never goes back.
    pub fn is_halted(&self) -> bool {
        self.halted
    }
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }
    pub fn counters(&self) -> &MouthCounters {
        &self.counters
    }
    /// Zeros for a symbol out of the table.
    pub fn conflated(&self, symbol: SymbolId) -> Conflated {
        self.symbols.get(symbol.index()).map(|s| s.conflated).unwrap_or_default()
    }

    /// Delivers `body` if there is room and nothing waits; else it waits or merges.
    #[inline]
    pub fn offer(&mut self, body: Body, trace: Trace, out: &mut impl MouthOut) {
        if !self.queue.is_empty() {
            self.flush(out);
        }
        if self.queue.is_empty() && out.free() > 0 {
            let (recv, wall) = self.sequencer.now();
            self.counters.delivered += 1;
            out.deliver(self.sequencer.stamp(recv, wall, trace, body));
        } else {
            self.wait(body, trace);
        }
    }
    /// Delivers what waits, as far as there is room. Call it at every turn of the duty.
    #[inline]
    pub fn flush(&mut self, out: &mut impl MouthOut) {
        while let Some(front) = self.queue.front() {
            if !front.dead && out.free() == 0 {
                break;
            }
            let Some(entry) = self.queue.pop_front() else { break };
            self.leave(&entry);
            if !entry.dead {
                self.counters.delivered += 1;
                let Waiting { recv, wall, trace, body, .. } = entry;
                out.deliver(self.sequencer.stamp(recv, wall, trace, body));
            }
        }
    }

    /// Books the entry at the front out. Slots that name its place are cleared by being below the
    /// front.
    fn leave(&mut self, entry: &Waiting) {
        self.front_at += 1;
        match entry.body {
            Body::Tick => self.tick_waits = false,
            Body::Book(_) | Body::Trades(_) => {}
            _ => self.controls -= 1,
        }
    }

    #[cold]
    fn wait(&mut self, body: Body, trace: Trace) {
        match body {
            Body::Book(view) => self.wait_book(view, trace),
            Body::Trades(agg) => self.wait_trades(agg, trace),
            Body::Tick if self.tick_waits => self.counters.tick_dropped += 1,
            Body::Tick => self.tick_waits = self.push(body, trace).is_some(),
            _ => {
                if self.controls >= self.controls_max {
                    self.overflow();
                    return;
                }
                let Some(place) = self.push(body, trace) else { return };
                self.controls += 1;
                match scope_of(&body) {
                    Scope::Symbol(symbol) => {
                        if let Some(slots) = self.symbols.get_mut(symbol.index()) {
                            slots.barrier_at = place;
                        }
                    }
                    Scope::All => self.link_barrier_at = place,
                    Scope::None => {}
                }
            }
        }
    }
    fn wait_book(&mut self, mut view: BookView, trace: Trace) {
        let index = view.symbol.index();
        let Some(slots) = self.symbols.get(index).copied() else { return self.overflow() };
        if slots.book_at >= self.front_at {
            let (recv, wall) = self.sequencer.now();
            let in_place = slots.book_at > slots.barrier_at.max(self.link_barrier_at);
            let Some(old) = self.entry(slots.book_at) else { return self.overflow() };
            if let Body::Book(before) = old.body {
                view.updates = view.updates.saturating_add(before.updates);
            }
            if in_place {
                *old = Waiting { recv, wall, trace, body: Body::Book(view), dead: false };
            } else {
                old.dead = true;
            }
            self.counters.book_conflated += 1;
            self.symbols[index].conflated.books += 1;
            if in_place {
                return;
            }
        }
        if let Some(place) = self.push(Body::Book(view), trace) {
            self.symbols[index].book_at = place;
        }
    }
    fn wait_trades(&mut self, agg: TradeAgg, trace: Trace) {
        let index = agg.symbol.index();
        let Some(slots) = self.symbols.get(index).copied() else { return self.overflow() };
        let barrier = slots.barrier_at.max(self.link_barrier_at);
        if slots.trades_at >= self.front_at && slots.trades_at > barrier {
            let (recv, wall) = self.sequencer.now();
            let Some(old) = self.entry(slots.trades_at) else { return self.overflow() };
            if let Body::Trades(before) = &mut old.body {
                merge(before, &agg);
                (old.recv, old.wall, old.trace) = (recv, wall, trace);
            }
            self.counters.trade_conflated += 1;
            self.symbols[index].conflated.trades += 1;
            return;
        }
        if let Some(place) = self.push(Body::Trades(agg), trace) {
            self.symbols[index].trades_at = place;
        }
    }
    fn entry(&mut self, place: u64) -> Option<&mut Waiting> {
        self.queue.get_mut(place.checked_sub(self.front_at)? as usize)
    }
    fn push(&mut self, body: Body, trace: Trace) -> Option<u64> {
        if self.queue.len() >= self.queue_max {
            self.overflow();
            return None;
        }
        let (recv, wall) = self.sequencer.now();
        let place = self.front_at + self.queue.len() as u64;
        self.queue.push_back(Waiting { recv, wall, trace, body, dead: false });
        self.counters.waiting_high = self.counters.waiting_high.max(self.queue.len() as u64);
        Some(place)
    }
    fn overflow(&mut self) {
        self.halted = true;
        self.counters.overflowed += 1;
    }
}

/// Whose merging an event stops.
enum Scope {
    Symbol(SymbolId),
    All,
    None,
}

fn scope_of(body: &Body) -> Scope {
    match body {
        Body::Bar(b) => Scope::Symbol(b.symbol),
        Body::Ticker(t) => Scope::Symbol(t.symbol),
        Body::Status(s) => Scope::Symbol(s.symbol),
        Body::Sync(s) => Scope::Symbol(s.symbol),
        Body::Quiet(q) => Scope::Symbol(q.symbol),
        Body::Order(o) => Scope::Symbol(o.symbol),
        Body::Ack(a) => Scope::Symbol(a.symbol),
        Body::Fill(f) => Scope::Symbol(f.symbol),
        Body::Position(p) => Scope::Symbol(p.symbol),
        Body::Report(r) => Scope::Symbol(r.symbol),
        Body::Link(_) => Scope::All,
        Body::Book(_)
        | Body::Trades(_)
        | Body::Tick
        | Body::Wallet(_)
        | Body::Snapshot(_)
        | Body::Operator(_)
        | Body::Venue(_) => Scope::None,
    }
}

/// Adds newer trades to an older aggregate of the same symbol.
pub fn merge(into: &mut TradeAgg, newer: &TradeAgg) {
    assert_eq!(into.symbol, newer.symbol);
    into.count = into.count.saturating_add(newer.count);
    into.last_id = newer.last_id;
    into.last_at = newer.last_at;
    into.last = newer.last;
    into.high = into.high.max(newer.high);
    into.low = into.low.min(newer.low);
    into.buy_qty = into.buy_qty.saturating_add(newer.buy_qty);
    into.sell_qty = into.sell_qty.saturating_add(newer.sell_qty);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::{ConnId, TradeId};
    use crate::base::units::{Px, Qty};
    use crate::engine::sequencer::ClockPolicy;
    use crate::model::{
        Bar, BarSource, Level, LinkEvent, LinkState, SymbolSync, SyncState, Timeframe,
    };
    use proptest::prelude::*;

    #[derive(Default)]
    struct Sink {
        room: usize,
        got: Vec<Event>,
    }
    impl MouthOut for Sink {
        fn free(&mut self) -> usize {
            self.room
        }
        fn deliver(&mut self, event: Event) {
            assert!(self.room > 0, "delivered without room");
            self.room -= 1;
            self.got.push(event);
        }
    }

    fn book(symbol: u16, number: i64) -> Body {
        let level = Level { px: Px::from_raw(number), qty: Qty::from_raw(1) };
        Body::Book(BookView {
            venue_at: WallNs(number),
            bids: [level; 5],
            asks: [level; 5],
            symbol: SymbolId(symbol),
            bid_count: 5,
            ask_count: 5,
            updates: 1,
            imbalance_e4: 0,
            synced: true,
        })
    }
    fn trade(symbol: u16, number: u64) -> Body {
        let px = Px::from_raw(number as i64 % 17 + 1);
        Body::Trades(TradeAgg {
            symbol: SymbolId(symbol),
            count: 1,
            first_id: TradeId(number),
            last_id: TradeId(number),
            last_at: WallNs(number as i64),
            last: px,
            high: px,
            low: px,
            buy_qty: Qty::from_raw(1),
            sell_qty: Qty::ZERO,
        })
    }
    fn bar(symbol: u16, number: i64) -> Body {
        Body::Bar(Bar {
            symbol: SymbolId(symbol),
            timeframe: Timeframe::M1,
            source: BarSource::Trades,
            open_at: WallNs(number),
            open: Px::from_raw(1),
            high: Px::from_raw(1),
            low: Px::from_raw(1),
            close: Px::from_raw(1),
            volume: Qty::ZERO,
            trades: 0,
        })
    }
    fn link(number: i32) -> Body {
        let conn = ConnId(0);
        Body::Link(LinkEvent { conn, trading: true, state: LinkState::Up, code: number })
    }
    fn mouth(symbols: usize, waiting_max: usize) -> Mouth {
        Mouth::new(Sequencer::new(ClockPolicy::Host, 10), MouthConfig { symbols, waiting_max })
    }
    fn offer(mouth: &mut Mouth, sink: &mut Sink, bodies: &[Body]) {
        for body in bodies {
            mouth.offer(*body, Trace::default(), sink);
        }
    }

    #[test]
    fn with_room_everything_passes_in_order() {
        let (mut m, mut sink) = (mouth(2, 16), Sink { room: 100, ..Sink::default() });
        let all = [book(0, 1), book(0, 2), trade(0, 1), bar(0, 1), Body::Tick, Body::Tick];
        offer(&mut m, &mut sink, &all);
        assert_eq!(sink.got.iter().map(|e| e.body).collect::<Vec<_>>(), all);
        assert_eq!(sink.got.last().unwrap().stamp.seq, 6);
        assert_eq!(m.counters().book_conflated, 0);
    }

    #[test]
    fn the_newest_view_takes_the_waiting_place_and_sums_updates() {
        let (mut m, mut sink) = (mouth(2, 16), Sink::default());
        offer(&mut m, &mut sink, &[book(0, 1), book(1, 2), book(0, 3), book(0, 4)]);
        sink.room = 10;
        m.flush(&mut sink);
        assert_eq!(sink.got.len(), 2);
        let Body::Book(first) = sink.got[0].body else { panic!() };
        assert_eq!((first.symbol, first.venue_at, first.updates), (SymbolId(0), WallNs(4), 3));
        assert_eq!(m.conflated(SymbolId(0)), Conflated { books: 2, trades: 0 });
        assert_eq!(m.conflated(SymbolId(1)), Conflated::default());
    }

    #[test]
    fn trades_never_merge_across_a_bars_end() {
        let (mut m, mut sink) = (mouth(1, 16), Sink::default());
        let all = [trade(0, 1), trade(0, 2), bar(0, 1), trade(0, 3), trade(0, 4)];
        offer(&mut m, &mut sink, &all);
        sink.room = 10;
        m.flush(&mut sink);
        let counts: Vec<u32> = sink
            .got
            .iter()
            .map(|e| if let Body::Trades(t) = e.body { t.count } else { 0 })
            .collect();
        assert_eq!(counts, [2, 0, 2]);
    }

    #[test]
    fn a_view_does_not_overtake_the_sync_change_it_followed() {
        let (mut m, mut sink) = (mouth(1, 16), Sink::default());
        let sync = Body::Sync(SymbolSync {
            symbol: SymbolId(0),
            state: SyncState::ChecksumFailed,
            out_of_sync_ns: 0,
        });
        offer(&mut m, &mut sink, &[book(0, 1), sync, book(0, 2)]);
        sink.room = 10;
        m.flush(&mut sink);
        assert_eq!(sink.got.len(), 2);
        assert_eq!(sink.got[0].body, sync);
        let Body::Book(view) = sink.got[1].body else { panic!() };
        assert_eq!((view.venue_at, view.updates), (WallNs(2), 2));
    }

    #[test]
    fn overflow_of_what_must_not_be_lost_halts() {
        let (mut m, mut sink) = (mouth(1, 3), Sink::default());
        offer(&mut m, &mut sink, &[bar(0, 1), bar(0, 2), bar(0, 3)]);
        assert!(!m.is_halted());
        offer(&mut m, &mut sink, &[book(0, 1), Body::Tick, Body::Tick]);
        assert!(!m.is_halted(), "market data and ticks do not count");
        offer(&mut m, &mut sink, &[bar(0, 4)]);
        assert!(m.is_halted());
        assert_eq!((m.counters().overflowed, m.counters().tick_dropped), (1, 1));
    }

    #[test]
    fn memory_is_flat_under_a_stuck_consumer() {
        let (mut m, mut sink) = (mouth(4, 16), Sink::default());
        let capacity = m.queue.capacity();
        for number in 0..100_000 {
            offer(&mut m, &mut sink, &[book(number as u16 % 4, number), Body::Tick]);
            offer(&mut m, &mut sink, &[trade(number as u16 % 4, number as u64)]);
        }
        assert_eq!(m.queue.capacity(), capacity);
        assert_eq!(m.waiting(), 9);
        assert!(!m.is_halted());
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Book(u16),
        Trade(u16),
        Bar(u16),
        Link,
        Room(usize),
    }
    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..3u16).prop_map(Step::Book),
            6 => (0..3u16).prop_map(Step::Trade),
            1 => (0..3u16).prop_map(Step::Bar),
            1 => Just(Step::Link),
            3 => (0..4usize).prop_map(Step::Room),
        ]
    }

    proptest! {
        /// Goal: under any pressure no control event is lost or reordered, trades are conserved,
        /// the last view wins, and between two events of a symbol stands what arrived between them.
        #[test]
        fn nothing_that_matters_is_lost(steps in prop::collection::vec(step(), 1..200)) {
            let (mut m, mut sink) = (mouth(3, 400), Sink::default());
            let mut given = Vec::new();
            for (number, step) in steps.iter().enumerate() {
                let number = number as i64 + 1;
                let body = match *step {
                    Step::Book(s) => book(s, number),
                    Step::Trade(s) => trade(s, number as u64),
                    Step::Bar(s) => bar(s, number),
                    Step::Link => link(number as i32),
                    Step::Room(n) => {
                        sink.room = n;
                        m.flush(&mut sink);
                        continue;
                    }
                };
                given.push(body);
                m.offer(body, Trace::default(), &mut sink);
            }
            sink.room = usize::MAX / 2;
            m.flush(&mut sink);
            prop_assert!(!m.is_halted());
            prop_assert_eq!(m.waiting(), 0);
            let got: Vec<Body> = sink.got.iter().map(|e| e.body).collect();
            for (index, event) in sink.got.iter().enumerate() {
                prop_assert_eq!(event.stamp.seq, index as u64 + 1);
            }
            let controls = |all: &[Body]| -> Vec<Body> {
                all.iter().filter(|b| !b.is_conflatable()).copied().collect()
            };
            prop_assert_eq!(controls(&given), controls(&got));
            for symbol in (0..3).map(SymbolId) {
                prop_assert_eq!(intervals(&given, symbol), intervals(&got, symbol));
                let last = |all: &[Body]| all.iter().rev().find_map(|b| match b {
                    Body::Book(v) if v.symbol == symbol => Some(v.venue_at),
                    _ => None,
                });
                prop_assert_eq!(last(&given), last(&got));
                let updates = |all: &[Body]| all.iter().map(|b| match b {
                    Body::Book(v) if v.symbol == symbol => u64::from(v.updates),
                    _ => 0,
                }).sum::<u64>();
                prop_assert_eq!(updates(&given), updates(&got));
            }
        }
    }

    /// Trades summed up between two barriers of the symbol: count, bought, first, last, high, low.
    fn intervals(all: &[Body], symbol: SymbolId) -> Vec<(u32, Qty, u64, u64, Px, Px)> {
        let empty = (0, Qty::ZERO, 0, 0, Px::ZERO, Px::MAX);
        let mut out = vec![empty];
        for body in all {
            match body {
                Body::Trades(t) if t.symbol == symbol => {
                    let sum = out.last_mut().unwrap();
                    sum.0 += t.count;
                    sum.1 = sum.1.saturating_add(t.buy_qty);
                    sum.2 = if sum.2 == 0 { t.first_id.0 } else { sum.2 };
                    sum.3 = t.last_id.0;
                    sum.4 = sum.4.max(t.high);
                    sum.5 = sum.5.min(t.low);
                }
                Body::Bar(b) if b.symbol == symbol => out.push(empty),
                Body::Link(_) => out.push(empty),
                _ => {}
            }
        }
        out
    }
}
