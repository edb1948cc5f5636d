//! Joins what the taps tell into one waterfall an order, and into the latency board of the report.
//! Runs on a cold thread; a tap that was full has lost a line here, never an order.

#![allow(
    clippy::disallowed_methods,
    reason = "drained and sorted at once; order of the map never shows"
)]

use super::metrics::Windowed;
use super::waterfall::{OrderWaterfall, WaterfallWriter, side_name};
use crate::base::time::{MonoNs, Tsc};
use crate::base::units::{Qty, Side};
use crate::io::clock::Clock;
use crate::model::{Action, OrderSent, PrivateSeen, Seen};
use std::collections::HashMap;

/// Orders whose end was never seen are forgotten beyond this many, oldest first.
const TRACKED_MAX: usize = 65_536;
/// Orders whose whole way is shown while the run goes on.
const NEWEST_MAX: usize = 50;

/// Where the time of orders went.
#[derive(Clone, Debug, Default)]
pub struct LatencyBoard {
    /// Frame complete in memory → order encoded and written ahead.
    pub t1: Windowed,
    /// Before the read of the first byte → write returned.
    pub t2: Windowed,
    /// recv → framed.
    pub read: Windowed,
    /// framed → decoded: deframe, decode, book, and the ring behind.
    pub decode: Windowed,
    /// decoded → signalled.
    pub signal: Windowed,
    /// signalled → approved.
    pub risk: Windowed,
    /// approved → encoded, with the write-ahead.
    pub encode: Windowed,
    /// encoded → write returned.
    pub write: Windowed,
    /// written → first answer.
    pub ack: Windowed,
    /// written → first own trade.
    pub first_fill: Windowed,
    /// written → last own trade of a wholly filled order.
    pub last_fill: Windowed,
}

impl LatencyBoard {
    /// Lets time pass for the windows.
    pub fn tick(&mut self, now: MonoNs) {
        for histo in [
            &mut self.t1,
            &mut self.t2,
            &mut self.read,
            &mut self.decode,
            &mut self.signal,
            &mut self.risk,
            &mut self.encode,
            &mut self.write,
            &mut self.ack,
            &mut self.first_fill,
            &mut self.last_fill,
        ] {
            histo.tick(now);
        }
    }
    /// Stages by name, in the order of the line.
    pub fn stages(&self) -> [(&'static str, &Windowed); 6] {
        [
            ("read", &self.read),
            ("parse", &self.decode),
            ("signal", &self.signal),
            ("risk", &self.risk),
            ("encode", &self.encode),
            ("write", &self.write),
        ]
    }
}

/// What became of orders, as the private stream told it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OrderTally {
    pub written: u64,
    pub acked: u64,
    /// Orders that rested in the book at any time.
    pub rested: u64,
    pub refused: u64,
    pub filled_whole: u64,
    /// Orders that were filled in part at any time.
    pub partly: u64,
    pub ended_unfilled: u64,
    /// Fills of orders that this run did not send.
    pub foreign: u64,
}

struct Tracked {
    waterfall: OrderWaterfall,
    origin: Tsc,
    written: Tsc,
    asked: Qty,
    filled: Qty,
    acked: bool,
    rested: bool,
    last_fill: Tsc,
    executed: bool,
    partly: bool,
}

pub struct OrderTracker {
    clock: Clock,
    symbols: Vec<String>,
    live: HashMap<u64, Tracked>,
    order_of: std::collections::VecDeque<u64>,
    writer: Option<WaterfallWriter>,
    write_failed: u64,
    /// Orders that have ended, newest last.
    ended: std::collections::VecDeque<OrderWaterfall>,
    pub board: LatencyBoard,
    pub tally: OrderTally,
}

impl OrderTracker {
    /// `symbols` by index of their id. Without a writer only the board is kept.
    pub fn new(clock: Clock, symbols: Vec<String>, writer: Option<WaterfallWriter>) -> Self {
        Self {
            clock,
            symbols,
            live: HashMap::new(),
            order_of: std::collections::VecDeque::new(),
            writer,
            write_failed: 0,
            ended: std::collections::VecDeque::new(),
            board: LatencyBoard::default(),
            tally: OrderTally::default(),
        }
    }

    /// An order or cancel left; only orders have a waterfall.
    pub fn on_sent(&mut self, sent: &OrderSent) {
        let new = match sent.command.action {
            Action::New(new) | Action::Replace { new, .. } => new,
            Action::Amend { .. } | Action::Cancel { .. } | Action::CancelMulti { .. } => return,
        };
        self.tally.written += 1;
        let trace = sent.trace;
        // An order of a timer has no frame behind it; its way begins where the strategy spoke.
        let caused_by_frame = trace.recv.0 != 0;
        let origin = if caused_by_frame { trace.recv } else { trace.signalled };
        let clock = &self.clock;
        let book = |histo: &mut Windowed, from: Tsc, to: Tsc| {
            if let Some(ns) = clock.span_ns(from, to) {
                histo.record(ns);
            }
        };
        let board = &mut self.board;
        if caused_by_frame {
            book(&mut board.t1, trace.framed, sent.encoded);
            book(&mut board.t2, trace.recv, sent.written);
            book(&mut board.read, trace.recv, trace.framed);
            book(&mut board.decode, trace.framed, trace.decoded);
            book(&mut board.signal, trace.decoded, trace.signalled);
        }
        book(&mut board.risk, trace.signalled, trace.approved);
        book(&mut board.encode, trace.approved, sent.encoded);
        book(&mut board.write, sent.encoded, sent.written);
        let since = |at: Tsc| clock.span_ns(origin, at);
        let name = self.symbols.get(sent.command.symbol.index()).cloned();
        let waterfall = OrderWaterfall {
            cid: new.cid.0,
            symbol: name.unwrap_or_else(|| "?".to_owned()),
            side: side_name(Side::of(new.qty)).to_owned(),
            seq: sent.command.stamp.seq,
            state: "sent".to_owned(),
            decoded: since(trace.decoded),
            signalled: since(trace.signalled),
            approved: since(trace.approved),
            encoded: since(sent.encoded),
            written: since(sent.written),
            ..OrderWaterfall::default()
        };
        let tracked = Tracked {
            waterfall,
            origin,
            written: sent.written,
            asked: new.qty.abs(),
            filled: Qty::ZERO,
            acked: false,
            rested: false,
            last_fill: Tsc(0),
            executed: false,
            partly: false,
        };
        self.live.insert(new.cid.0, tracked);
        self.order_of.push_back(new.cid.0);
        while self.order_of.len() > TRACKED_MAX {
            if let Some(oldest) = self.order_of.pop_front() {
                self.live.remove(&oldest);
            }
        }
    }

    /// A private event of an order of this run, or of a foreign one, which is only counted.
    pub fn on_seen(&mut self, seen: &PrivateSeen) {
        let Some(tracked) = self.live.get_mut(&seen.cid.0) else {
            if seen.what == Seen::Filled {
                self.tally.foreign += 1;
            }
            return;
        };
        let (clock, board) = (&self.clock, &mut self.board);
        let mut record = |histo: fn(&mut LatencyBoard) -> &mut Windowed, at: Tsc| {
            if let Some(ns) = clock.span_ns(tracked.written, at) {
                histo(board).record(ns);
            }
        };
        let since = clock.span_ns(tracked.origin, seen.at);
        match seen.what {
            Seen::Acked | Seen::Resting => {
                if seen.what == Seen::Resting && !tracked.rested {
                    tracked.rested = true;
                    self.tally.rested += 1;
                }
                if tracked.acked {
                    return;
                }
                tracked.acked = true;
                tracked.waterfall.acked = since;
                tracked.waterfall.state = "working".to_owned();
                self.tally.acked += 1;
                record(|board| &mut board.ack, seen.at);
            }
            Seen::Refused => {
                tracked.waterfall.state = "rejected".to_owned();
                self.tally.refused += 1;
                if !tracked.acked {
                    tracked.waterfall.acked = since;
                    record(|board| &mut board.ack, seen.at);
                }
                self.finish(seen.cid.0);
            }
            Seen::Filled => {
                tracked.filled = tracked.filled.saturating_add(seen.qty.abs());
                tracked.last_fill = seen.at;
                if tracked.waterfall.first_fill.is_none() {
                    tracked.waterfall.first_fill = since;
                    record(|board| &mut board.first_fill, seen.at);
                }
                tracked.waterfall.last_fill = since;
                if tracked.filled < tracked.asked && !tracked.partly {
                    tracked.partly = true;
                    self.tally.partly += 1;
                }
                tracked.waterfall.state = "partly filled".to_owned();
                if tracked.filled >= tracked.asked {
                    tracked.waterfall.state = "filled".to_owned();
                    record(|board| &mut board.last_fill, seen.at);
                    if tracked.executed {
                        self.finish(seen.cid.0);
                    }
                }
            }
            Seen::Ended { executed } => {
                if !tracked.acked {
                    // An order filled at once has no `on`: its end is its first answer.
                    tracked.acked = true;
                    tracked.waterfall.acked = since;
                    self.tally.acked += 1;
                    record(|board| &mut board.ack, seen.at);
                }
                if executed {
                    self.tally.filled_whole += 1;
                    tracked.executed = true;
                    if tracked.filled < tracked.asked {
                        return; // its trades are still on the way
                    }
                } else {
                    tracked.waterfall.state = if tracked.filled.is_zero() {
                        self.tally.ended_unfilled += 1;
                        "cancelled".to_owned()
                    } else {
                        "cancelled, partly filled".to_owned()
                    };
                }
                self.finish(seen.cid.0);
            }
        }
    }

    fn finish(&mut self, cid: u64) {
        if let Some(tracked) = self.live.remove(&cid) {
            self.write(&tracked.waterfall);
            if self.ended.len() == NEWEST_MAX {
                self.ended.pop_front();
            }
            self.ended.push_back(tracked.waterfall);
        }
    }

    fn write(&mut self, waterfall: &OrderWaterfall) {
        if let Some(writer) = &mut self.writer
            && writer.write(waterfall).is_err()
        {
            self.write_failed += 1;
        }
    }

    /// Ways of the newest orders, alive or ended, newest first.
    pub fn newest(&self) -> Vec<OrderWaterfall> {
        // Of a long run's orders the newest alone are looked up.
        let newest = self.order_of.iter().rev().take(4 * NEWEST_MAX);
        let alive = newest.filter_map(|cid| self.live.get(cid));
        let mut rows: Vec<OrderWaterfall> =
            alive.take(NEWEST_MAX).map(|tracked| tracked.waterfall.clone()).collect();
        rows.extend(self.ended.iter().cloned());
        rows.sort_by_key(|row| std::cmp::Reverse(row.cid));
        rows.truncate(NEWEST_MAX);
        rows
    }

    /// Writes what is still alive, and flushes.
    pub fn close(&mut self) {
        let mut rest: Vec<(u64, Tracked)> = self.live.drain().collect();
        rest.sort_by_key(|(cid, _)| *cid);
        for (_, tracked) in &rest {
            self.write(&tracked.waterfall);
        }
        self.flush();
    }

    /// Makes what was written visible to `genesis latency`.
    pub fn flush(&mut self) {
        if let Some(writer) = &mut self.writer
            && writer.flush().is_err()
        {
            self.write_failed += 1;
        }
    }

    /// Lines that could not be written: a full disk never stops trading.
    pub fn write_failed(&self) -> u64 {
        self.write_failed
    }
}
