//! What `parse` shows to the cold side: gaps between frames, private events for waterfalls, control
//! events for the log, and rows for the view. Everything is allocated at start; full rings lose
//! rows, not events.

use super::duties::parse::{Delivery, TapTurn};
use super::taps::TapTx;
use crate::base::ids::{ConnId, SymbolId};
use crate::base::time::{MonoNs, Tsc, WallNs};
use crate::line::Now;
use crate::line::parse::{ParseCounters, ParseLine, ParseTap};
use crate::model::{
    AckOf, Body, ChannelKind, Level, OrderStatus, PrivateSeen, Seen, Source, SymbolSync,
};
use crate::ring::{Rx, Tx};
use hdrhistogram::Histogram;

/// Kinds of channels a gap is kept for.
pub const CHANNEL_KINDS: usize = 6;
/// Longest gap kept apart, microseconds: an hour.
const GAP_US_MAX: u64 = 3_600_000_000;

/// Gaps between data frames, in microseconds, by symbol and channel.
#[derive(Clone)]
pub struct GapBoard {
    rows: Vec<Option<Histogram<u64>>>,
}

impl GapBoard {
    /// For the channels that are subscribed.
    pub fn new(symbols: usize, channels: impl Iterator<Item = (SymbolId, ChannelKind)>) -> Self {
        let mut rows: Vec<Option<Histogram<u64>>> = Vec::new();
        rows.resize_with(symbols * CHANNEL_KINDS, || None);
        for (symbol, kind) in channels {
            let made = Histogram::new_with_bounds(1, GAP_US_MAX, 2);
            if let Some(row) = rows.get_mut(symbol.index() * CHANNEL_KINDS + kind as usize) {
                *row = made.ok();
            }
        }
        Self { rows }
    }
    #[inline]
    pub fn record(&mut self, symbol: SymbolId, kind: ChannelKind, gap_ns: u64) {
        let index = symbol.index() * CHANNEL_KINDS + kind as usize;
        if let Some(Some(row)) = self.rows.get_mut(index) {
            row.saturating_record((gap_ns / 1_000).max(1));
        }
    }
    /// Forgets what was recorded.
    pub fn clear(&mut self) {
        self.rows.iter_mut().flatten().for_each(Histogram::reset);
    }
    /// Adds what another board of the same channels recorded.
    pub fn add(&mut self, other: &GapBoard) {
        for (row, more) in self.rows.iter_mut().zip(&other.rows) {
            if let (Some(row), Some(more)) = (row, more)
                && !more.is_empty()
            {
                // Same bounds, so it cannot fail.
                let _ = row.add(more);
            }
        }
    }
    /// Symbol, channel and its gaps in microseconds.
    pub fn rows(&self) -> impl Iterator<Item = (SymbolId, ChannelKind, &Histogram<u64>)> {
        const KINDS: [ChannelKind; CHANNEL_KINDS] = [
            ChannelKind::Book,
            ChannelKind::RawBook,
            ChannelKind::Trades,
            ChannelKind::Ticker,
            ChannelKind::Candles,
            ChannelKind::Status,
        ];
        self.rows.iter().enumerate().filter_map(|(index, row)| {
            let row = row.as_ref()?;
            Some((SymbolId((index / CHANNEL_KINDS) as u16), KINDS[index % CHANNEL_KINDS], row))
        })
    }
}

/// Two boards that change hands: the hot side fills one while the cold side reads and empties the
/// other. A pointer moves; nothing is copied, merged or allocated on the hot side.
pub struct GapSwap {
    full: Tx<GapBoard>,
    empty: Rx<GapBoard>,
}

/// The cold ends of a [`GapSwap`].
pub struct GapTap {
    pub full: Rx<GapBoard>,
    pub empty: Tx<GapBoard>,
}

impl GapSwap {
    /// `spare` has the same rows as the board in use.
    pub fn new(spare: GapBoard) -> (GapSwap, GapTap) {
        let (full, full_rx) = crate::ring::channel(2);
        let (mut empty_tx, empty) = crate::ring::channel(2);
        // A ring of two that was just made has room for one.
        let _ = empty_tx.push(spare);
        (GapSwap { full, empty }, GapTap { full: full_rx, empty: empty_tx })
    }
    /// Gives the board away where an empty one has come back.
    pub fn turn(&mut self, in_use: &mut GapBoard) {
        if let Some(mut board) = self.empty.pop() {
            std::mem::swap(in_use, &mut board);
            // Two boards and two places: there is always room.
            let _ = self.full.push(board);
        }
    }
}

/// Rows for the view and the log.
#[derive(Clone, Copy, Debug)]
pub enum ParseRow {
    Totals {
        counters: ParseCounters,
        seq: u64,
        wall: WallNs,
        conflated: u64,
        waiting: u64,
        log_missed: u64,
        crc_checked: u64,
        crc_failed: u64,
        seq_gaps: u64,
        unknown: u64,
        is_halted: bool,
        /// Most slots of `parse_signal` ever in use.
        parse_signal_used_max: u64,
        /// Rows for waterfalls and the view that found no place.
        tap_dropped: u64,
    },
    Link {
        conn: ConnId,
        is_open: bool,
        is_authenticated: bool,
    },
    Book {
        symbol: SymbolId,
        bid: Option<Level>,
        ask: Option<Level>,
        synced: bool,
        changed_at: MonoNs,
        now: MonoNs,
    },
    /// A sync change, a link change, a quiet channel, a closed bar.
    Control(Body),
}

#[derive(Clone, Copy, Default)]
struct BookSeen {
    bid: Option<Level>,
    ask: Option<Level>,
    synced: bool,
    changed_at: MonoNs,
}

pub struct Observer {
    pub gaps: GapBoard,
    pub seen: Tx<PrivateSeen>,
    pub seen_dropped: u64,
    pub rows: TapTx<ParseRow>,
    books: Vec<BookSeen>,
    trading_conn: Option<ConnId>,
    /// Where the gaps go while the run goes on; without it they stay in `gaps` to the end.
    pub gap_swap: Option<GapSwap>,
}

impl Observer {
    pub fn new(
        gaps: GapBoard,
        seen: Tx<PrivateSeen>,
        rows: TapTx<ParseRow>,
        symbols: usize,
        trading_conn: Option<ConnId>,
    ) -> Self {
        let books = vec![BookSeen::default(); symbols];
        Self { gaps, seen, seen_dropped: 0, rows, books, trading_conn, gap_swap: None }
    }

    fn tell(&mut self, seen: PrivateSeen) {
        if self.seen.push(seen).is_err() {
            self.seen_dropped += 1;
        }
    }
}

impl ParseTap for Observer {
    #[inline(always)]
    fn ws_gap(&mut self, symbol: SymbolId, kind: ChannelKind, gap_ns: u64) {
        self.gaps.record(symbol, kind, gap_ns);
    }
    fn private(&mut self, body: &Body, recv: Tsc) {
        match body {
            Body::Order(order) => {
                let what = if order.status.is_end() && order.source != Source::New {
                    let executed =
                        matches!(order.status, OrderStatus::Executed | OrderStatus::Forced);
                    Seen::Ended { executed }
                } else {
                    Seen::Resting
                };
                self.tell(PrivateSeen {
                    what,
                    cid: order.cid,
                    order: order.id,
                    symbol: order.symbol,
                    qty: order.remaining,
                    px: crate::base::units::Px::ZERO,
                    at: recv,
                });
            }
            Body::Ack(ack) if ack.of == AckOf::New => self.tell(PrivateSeen {
                what: if ack.success { Seen::Acked } else { Seen::Refused },
                cid: ack.cid,
                order: ack.id,
                symbol: ack.symbol,
                qty: crate::base::units::Qty::ZERO,
                px: crate::base::units::Px::ZERO,
                at: recv,
            }),
            // A trade is told twice, `te` and `tu`; only the first has no fee.
            Body::Fill(fill) if fill.fee.is_none() => self.tell(PrivateSeen {
                what: Seen::Filled,
                cid: fill.cid,
                order: fill.order,
                symbol: fill.symbol,
                qty: fill.qty,
                px: fill.px,
                at: recv,
            }),
            Body::Link(_) => self.rows.push(ParseRow::Control(*body)),
            _ => {}
        }
    }
    fn control(&mut self, body: &Body) {
        if let Body::Sync(SymbolSync { symbol, state, .. }) = body
            && let Some(book) = self.books.get_mut(symbol.index())
        {
            book.synced = *state == crate::model::SyncState::Synced;
        }
        self.rows.push(ParseRow::Control(*body));
    }
    #[inline(always)]
    fn book(&mut self, view: &crate::model::BookView, now: MonoNs) {
        if let Some(book) = self.books.get_mut(view.symbol.index()) {
            *book =
                BookSeen { bid: view.bid(), ask: view.ask(), synced: view.synced, changed_at: now };
        }
    }
}

impl TapTurn for Observer {
    fn end_of_turn(&mut self, line: &ParseLine, out: &Delivery, now: Now) {
        if !self.rows.is_due() {
            return;
        }
        let mouth = line.mouth();
        let (mut crc_checked, mut crc_failed, mut seq_gaps, mut unknown) = (0, 0, 0, 0);
        for session in line.publics() {
            let counters = session.counters();
            crc_checked += counters.crc_checked;
            crc_failed += counters.crc_failed;
            seq_gaps += counters.seq_gaps;
            unknown += counters.unknown;
        }
        self.rows.push(ParseRow::Totals {
            counters: *line.counters(),
            seq: mouth.sequencer().seq(),
            wall: mouth.sequencer().now().1,
            conflated: mouth.counters().book_conflated + mouth.counters().trade_conflated,
            waiting: mouth.waiting() as u64,
            log_missed: out.log_missed(),
            crc_checked,
            crc_failed,
            seq_gaps,
            unknown,
            is_halted: mouth.is_halted(),
            parse_signal_used_max: out.ring.used_max() as u64,
            tap_dropped: self.seen_dropped + self.rows.dropped(),
        });
        if let Some(swap) = &mut self.gap_swap {
            swap.turn(&mut self.gaps);
        }
        for index in 0..line.socket_count() {
            let conn = ConnId(index as u8);
            let is_open = line.is_open(conn);
            let trading = Some(conn) == self.trading_conn;
            let is_authenticated =
                trading && line.private().is_some_and(|session| session.is_authenticated());
            self.rows.push(ParseRow::Link { conn, is_open, is_authenticated });
        }
        for (index, book) in self.books.iter().enumerate() {
            let BookSeen { bid, ask, synced, changed_at } = *book;
            let symbol = SymbolId(index as u16);
            self.rows.push(ParseRow::Book { symbol, bid, ask, synced, changed_at, now: now.mono });
        }
    }
}
