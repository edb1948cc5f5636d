//! The session's hot half: array frames to books, trades and the rest.

use super::channel::{Channel, ChannelMap, ChannelState, Found, SymbolState, TradeIds};
use super::decode::{self, wall_ms};
use super::{
    BookRef, FeedSink, PublicConfig, PublicCounters, PublicTrade, ReconnectReason, Subscription,
    conf,
};
use crate::base::ids::TradeId;
use crate::base::time::{MonoNs, SpanNs, WallNs};
use crate::base::units::{Px, Qty};
use crate::model::{
    Bar, BarSource, ChannelKind, ChannelQuiet, SymbolSync, SyncState, Ticker, Timeframe,
};
use crate::venue::book::{Applied, Book, BookRow};
use crate::venue::raw_book::{RawBook, RawRow};
use crate::venue::recorder::Recorder;
use crate::venue::scan::{ScanError, Scanner};
use crate::venue::seq::{SeqCheck, Sequence, Trail};
use crate::venue::symbols::SymbolTable;

/// Rows of one frame, at most: a snapshot of 250 a side, and a few.
const ROWS_MAX: usize = 520;
/// Trades of one snapshot kept, at most (30 are typical); the newest come first on the wire.
const TRADES_MAX: usize = 256;
/// Candles of one snapshot, at most.
const CANDLES_MAX: usize = 512;

/// What a frame may not have been applied for.
pub(super) enum Fault {
    /// No JSON, or not the venue's.
    Malformed,
    /// JSON, but nothing we know.
    Unknown,
}
impl From<ScanError> for Fault {
    fn from(_: ScanError) -> Self {
        Fault::Malformed
    }
}

/// Places for the rows of one frame, so that a frame is applied whole or not at all.
pub(super) struct Scratch {
    rows: Box<[BookRow]>,
    raws: Box<[RawRow]>,
    trades: Box<[PublicTrade]>,
    candles: Box<[Bar]>,
}

/// One public socket: its channels, their books, its sequence numbers. Told the time, never asks
/// it.
pub struct PublicSession {
    pub(super) config: PublicConfig,
    pub(super) table: SymbolTable,
    pub(super) channels: Box<[Channel]>,
    pub(super) map: ChannelMap,
    pub(super) foreign: Vec<u32>,
    pub(super) books: Box<[Book]>,
    pub(super) raws: Box<[RawBook]>,
    pub(super) trade_ids: Box<[TradeIds]>,
    pub(super) symbols: Box<[SymbolState]>,
    pub(super) sequence: Sequence,
    pub(super) has_seq: bool,
    pub(super) has_time: bool,
    /// A sequence number was missing: nothing of this socket is used any more.
    pub(super) broken: bool,
    pub(super) open: bool,
    pub(super) maintenance: bool,
    pub(super) maintenance_until: MonoNs,
    pub(super) has_info: bool,
    pub(super) opened_at: MonoNs,
    pub(super) conf_due: bool,
    pub(super) transmit_due: bool,
    pub(super) generation: u32,
    pub(super) next_check_at: MonoNs,
    /// Before this no channel is called hushed.
    pub(super) hush_from: MonoNs,
    pub(super) next_ping_at: MonoNs,
    pub(super) ping_sent_at: MonoNs,
    pub(super) ping_number: u64,
    pub(super) malformed_since: MonoNs,
    pub(super) malformed_count: u32,
    pub(super) reconnect: Option<ReconnectReason>,
    pub(super) counters: PublicCounters,
    pub(super) recorder: Recorder,
    scratch: Scratch,
}

impl PublicSession {
    /// Panics on more channels than `CHANNELS_MAX`, on candles without a time frame and on symbols
    /// that are not in the table: the configuration is checked before.
    pub fn new(config: PublicConfig, subscriptions: &[Subscription], table: SymbolTable) -> Self {
        assert!(subscriptions.len() <= super::channel::CHANNELS_MAX);
        let mut channels: Vec<Channel> = Vec::new();
        let mut symbols: Vec<SymbolState> = Vec::new();
        let (mut books, mut raws, mut trade_ids) = (0, 0, 0);
        for subscription in subscriptions {
            assert!(table.try_get(subscription.symbol).is_some(), "a symbol of the table");
            let mut channel = Channel::new(*subscription);
            let counter = match subscription.kind {
                ChannelKind::Book => &mut books,
                ChannelKind::RawBook => &mut raws,
                ChannelKind::Trades => &mut trade_ids,
                ChannelKind::Candles => {
                    assert!(subscription.timeframe.is_some(), "candles have a time frame");
                    &mut 0
                }
                ChannelKind::Ticker | ChannelKind::Status => &mut 0,
            };
            channel.slot = *counter;
            *counter += 1;
            let of_symbol = |c: &&Channel| c.subscription.symbol == subscription.symbol;
            channel.primary = subscription.is_book()
                && !channels.iter().filter(of_symbol).any(|c| c.subscription.is_book());
            let known = symbols.iter().position(|s| s.symbol == subscription.symbol);
            channel.symbol_at = known.unwrap_or(symbols.len()) as u16;
            if known.is_none() {
                symbols.push(SymbolState {
                    symbol: subscription.symbol,
                    synced: false,
                    reason: SyncState::Disconnected,
                    since: MonoNs(0),
                    out_of_sync_ns: 0,
                });
            }
            channels.push(channel);
        }
        let no_trade =
            PublicTrade { id: TradeId::NONE, at: WallNs(0), qty: Qty::ZERO, px: Px::ZERO };
        let no_bar = Bar {
            symbol: Default::default(),
            timeframe: Timeframe::M1,
            source: BarSource::Candles,
            open_at: WallNs(0),
            open: Px::ZERO,
            high: Px::ZERO,
            low: Px::ZERO,
            close: Px::ZERO,
            volume: Qty::ZERO,
            trades: 0,
        };
        Self {
            config,
            table,
            channels: channels.into(),
            map: ChannelMap::new(),
            foreign: Vec::with_capacity(super::channel::FOREIGN_MAX),
            books: (0..books).map(|_| Book::new()).collect(),
            raws: (0..raws).map(|_| RawBook::new()).collect(),
            trade_ids: (0..trade_ids).map(|_| TradeIds::new()).collect(),
            symbols: symbols.into(),
            sequence: Sequence::default(),
            has_seq: config.flags & conf::SEQ_ALL != 0,
            has_time: config.flags & conf::TIMESTAMP != 0,
            broken: false,
            open: false,
            maintenance: false,
            maintenance_until: MonoNs(0),
            has_info: false,
            opened_at: MonoNs(0),
            conf_due: false,
            transmit_due: false,
            generation: 0,
            next_check_at: MonoNs(0),
            hush_from: MonoNs(0),
            next_ping_at: MonoNs(0),
            ping_sent_at: MonoNs(0),
            ping_number: 0,
            malformed_since: MonoNs(0),
            malformed_count: 0,
            reconnect: None,
            counters: PublicCounters::default(),
            recorder: Recorder::new(),
            scratch: Scratch {
                rows: vec![BookRow { px: 0, count: 0, qty: 0 }; ROWS_MAX].into(),
                raws: vec![RawRow { id: 0, px: 0, qty: 0 }; ROWS_MAX].into(),
                trades: vec![no_trade; TRADES_MAX].into(),
                candles: vec![no_bar; CANDLES_MAX].into(),
            },
        }
    }

    pub const fn counters(&self) -> &PublicCounters {
        &self.counters
    }
    pub fn channels(&self) -> &[Channel] {
        &self.channels
    }
    pub fn symbols(&self) -> &[SymbolState] {
        &self.symbols
    }
    pub const fn recorder(&self) -> &Recorder {
        &self.recorder
    }
    /// The book of a channel of this session, by the channel's index; `None` for other kinds.
    pub fn book_of(&self, channel: usize) -> Option<BookRef<'_>> {
        let channel = self.channels.get(channel)?;
        match channel.subscription.kind {
            ChannelKind::Book => Some(BookRef::Levels(&self.books[channel.slot as usize])),
            ChannelKind::RawBook => Some(BookRef::Raw(&self.raws[channel.slot as usize])),
            _ => None,
        }
    }
    /// Why this socket should be given up, once.
    pub fn wants_reconnect(&mut self) -> Option<ReconnectReason> {
        self.reconnect.take()
    }

    /// One whole text message.
    #[inline]
    pub fn on_message<S: FeedSink>(&mut self, text: &[u8], now: MonoNs, sink: &mut S) {
        self.counters.frames += 1;
        self.counters.bytes += text.len() as u64;
        let fault = match text {
            [b'[', ..] => self.on_array(text, now, sink),
            _ => self.on_object(text, now, sink),
        };
        if let Err(fault) = fault {
            self.on_fault(fault, text, now, sink);
        }
    }

    #[inline(always)]
    fn on_array<S: FeedSink>(
        &mut self,
        text: &[u8],
        now: MonoNs,
        sink: &mut S,
    ) -> Result<(), Fault> {
        let mut scan = Scanner::new(text);
        scan.expect(b'[')?;
        let chan_id = scan.uint()?;
        scan.expect(b',')?;
        // The commonest frame by far: one change of a book by price.
        if let Found::Own(index) = self.map.find(chan_id)
            && let Some(channel) = self.channels.get(index)
            && channel.has_snapshot
            && channel.subscription.kind == ChannelKind::Book
            && scan.peek() == b'['
            && scan.peek_at(1) != b'['
            && !self.broken
        {
            let row = decode::book_row(&mut scan)?;
            let trail = decode::trail(&mut scan, text.len())?;
            self.counters.rounded += scan.rounded() as u64;
            let Some(venue_at) = self.accept_trail(trail, now, sink) else { return Ok(()) };
            self.counters.book_frames += 1;
            self.counters.book_updates += 1;
            self.on_data(index, now, sink);
            let book = &mut self.books[self.channels[index].slot as usize];
            match book.apply(row) {
                Ok(Applied::Set | Applied::Deleted) => {}
                Ok(Applied::Absent) => self.counters.book_delete_absent += 1,
                Err(_) => {
                    self.resync(index, SyncState::Malformed, now, sink);
                    return Ok(());
                }
            }
            self.tell_book(index, venue_at, 1, now, sink);
            return Ok(());
        }
        self.on_other_array(chan_id, scan, text, now, sink)
    }

    /// Sequence number and time of a frame. `None`: the frame must not be used.
    #[inline(always)]
    fn accept_trail<S: FeedSink>(
        &mut self,
        trail: Trail,
        now: MonoNs,
        sink: &mut S,
    ) -> Option<WallNs> {
        let mut venue_at = WallNs(0);
        if self.has_seq {
            self.counters.seq_checked += 1;
            let number = trail.from_end(usize::from(self.has_time)).unwrap_or(0);
            if self.sequence.check(number) == SeqCheck::Broken {
                self.on_sequence_break(now, sink);
                return None;
            }
        }
        if self.has_time {
            venue_at = wall_ms(trail.from_end(0).unwrap_or(0));
            if venue_at.0 != 0 {
                sink.market_time(venue_at);
            }
        }
        Some(venue_at)
    }

    /// Books the data frame of a channel: gaps and quiet spells.
    #[inline(always)]
    fn on_data<S: FeedSink>(&mut self, index: usize, now: MonoNs, sink: &mut S) {
        let channel = &mut self.channels[index];
        channel.data_frames += 1;
        channel.alive_at = now;
        let before = std::mem::replace(&mut channel.data_at, now);
        if before.0 != 0 {
            let gap_ns = (now - before).0.max(0) as u64;
            channel.gap_max_ns = channel.gap_max_ns.max(gap_ns);
            let Subscription { symbol, kind, .. } = channel.subscription;
            if channel.quiet {
                channel.quiet = false;
                let gap_ms = gap_ns / 1_000_000;
                sink.quiet(ChannelQuiet { symbol, kind, quiet: false, gap_ms, missed: 0 });
            }
            sink.ws_gap(symbol, kind, gap_ns);
        }
    }

    /// Tells a changed book, after a look at its touch.
    #[inline(always)]
    fn tell_book<S: FeedSink>(
        &mut self,
        index: usize,
        venue_at: WallNs,
        updates: u16,
        now: MonoNs,
        sink: &mut S,
    ) {
        let channel = &self.channels[index];
        let slot = channel.slot as usize;
        let (is_crossed, book) = match channel.subscription.kind {
            ChannelKind::Book => {
                let book = &self.books[slot];
                (book.is_crossed(), BookRef::Levels(book))
            }
            _ => {
                let book = &self.raws[slot];
                (book.is_crossed(), BookRef::Raw(book))
            }
        };
        if is_crossed | channel.crossed {
            self.on_crossed(index, is_crossed, now, sink);
            let channel = &self.channels[index];
            let Some(book) = self.book_of(index) else { return };
            Self::hand_over(channel, book, venue_at, updates, sink);
            return;
        }
        Self::hand_over(channel, book, venue_at, updates, sink);
    }
    #[inline(always)]
    fn hand_over<S: FeedSink>(
        channel: &Channel,
        book: BookRef<'_>,
        venue_at: WallNs,
        updates: u16,
        sink: &mut S,
    ) {
        if channel.primary {
            sink.book(channel.subscription.symbol, book, venue_at, updates);
        } else {
            sink.depth(&channel.subscription, book, venue_at);
        }
    }

    /// Every array frame but the single change of a book by price.
    #[inline(never)]
    fn on_other_array<S: FeedSink>(
        &mut self,
        chan_id: u64,
        mut scan: Scanner,
        text: &[u8],
        now: MonoNs,
        sink: &mut S,
    ) -> Result<(), Fault> {
        let found = self.map.find(chan_id);
        let size = text.len();
        if self.broken {
            self.counters.stale += 1;
            return Ok(());
        }
        if scan.value_start() == b'"' {
            let tag = scan.string()?;
            return self.on_tagged(tag, found, scan, size, now, sink);
        }
        let own = match found {
            Found::Own(index) if self.channels[index].state == ChannelState::Live => Some(index),
            _ => None,
        };
        let Some(index) = own else {
            scan.skip_value()?;
            let trail = decode::trail(&mut scan, size)?;
            if self.accept_trail(trail, now, sink).is_none() {
                return Ok(());
            }
            match found {
                Found::Own(_) => self.counters.stale += 1,
                Found::Foreign => self.counters.foreign += 1,
                Found::Unknown => return Err(Fault::Unknown),
            }
            return Ok(());
        };
        let subscription = self.channels[index].subscription;
        match subscription.kind {
            ChannelKind::Book => self.on_book_rows(index, scan, size, now, sink),
            ChannelKind::RawBook => self.on_raw_rows(index, scan, size, now, sink),
            ChannelKind::Trades => self.on_trade_rows(index, scan, size, now, sink),
            ChannelKind::Candles => self.on_candle_rows(index, scan, size, now, sink),
            ChannelKind::Ticker => {
                let ticker: Ticker = decode::ticker_row(&mut scan, subscription.symbol)?;
                if self.finish_frame(index, &mut scan, size, now, sink)?.is_some() {
                    self.counters.tickers += 1;
                    sink.ticker(ticker);
                }
                Ok(())
            }
            ChannelKind::Status => {
                let status = decode::status_row(&mut scan, subscription.symbol)?;
                if self.finish_frame(index, &mut scan, size, now, sink)?.is_some() {
                    self.counters.statuses += 1;
                    sink.status(status);
                }
                Ok(())
            }
        }
    }

    /// Trail, rounding and booking of a data frame whose payload was read. `None`: not to be used.
    #[inline(always)]
    fn finish_frame<S: FeedSink>(
        &mut self,
        index: usize,
        scan: &mut Scanner,
        size: usize,
        now: MonoNs,
        sink: &mut S,
    ) -> Result<Option<WallNs>, Fault> {
        let trail = decode::trail(scan, size)?;
        self.counters.rounded += scan.rounded() as u64;
        let venue_at = self.accept_trail(trail, now, sink);
        if venue_at.is_some() {
            self.on_data(index, now, sink);
        }
        Ok(venue_at)
    }

    fn on_tagged<S: FeedSink>(
        &mut self,
        tag: &[u8],
        found: Found,
        mut scan: Scanner,
        size: usize,
        now: MonoNs,
        sink: &mut S,
    ) -> Result<(), Fault> {
        if tag == b"hb" {
            let trail = decode::trail(&mut scan, size)?;
            if self.accept_trail(trail, now, sink).is_none() {
                return Ok(());
            }
            self.counters.heartbeats += 1;
            match found {
                Found::Own(index) => self.channels[index].alive_at = now,
                Found::Foreign => {}
                Found::Unknown => self.counters.heartbeats_early += 1,
            }
            return Ok(());
        }
        scan.expect(b',')?;
        let own = match found {
            Found::Own(index) if self.channels[index].state == ChannelState::Live => Some(index),
            _ => None,
        };
        let kind = own.map(|index| self.channels[index].subscription.kind);
        match (tag, own, kind) {
            (b"te" | b"tu", Some(index), Some(ChannelKind::Trades)) => {
                let trade = decode::trade_row(&mut scan)?;
                if self.finish_frame(index, &mut scan, size, now, sink)?.is_none() {
                    return Ok(());
                }
                if tag == b"te" {
                    self.counters.trade_te += 1;
                } else {
                    self.counters.trade_tu += 1;
                }
                self.tell_trade(index, trade, false, sink);
                Ok(())
            }
            (b"cs", Some(index), Some(ChannelKind::Book | ChannelKind::RawBook)) => {
                let crc = scan.int()?;
                let trail = decode::trail(&mut scan, size)?;
                if self.accept_trail(trail, now, sink).is_some() {
                    self.channels[index].alive_at = now;
                    self.on_checksum(index, crc, now, sink);
                }
                Ok(())
            }
            _ => {
                scan.skip_value()?;
                let trail = decode::trail(&mut scan, size)?;
                if self.accept_trail(trail, now, sink).is_none() {
                    return Ok(());
                }
                match (found, own) {
                    (Found::Foreign, _) => self.counters.foreign += 1,
                    (Found::Own(_), None) => self.counters.stale += 1,
                    _ => return Err(Fault::Unknown),
                }
                Ok(())
            }
        }
    }

    #[inline]
    fn tell_trade<S: FeedSink>(
        &mut self,
        index: usize,
        trade: PublicTrade,
        snapshot: bool,
        sink: &mut S,
    ) {
        let channel = &self.channels[index];
        if self.trade_ids[channel.slot as usize].is_new(trade.id.0) {
            self.counters.trades += 1;
            sink.trade(channel.subscription.symbol, trade, snapshot);
        } else {
            self.counters.trade_dups += 1;
        }
    }

    /// Snapshot, or with BULK several changes in one frame: only "the first data frame" tells them
    /// apart.
    fn on_book_rows<S: FeedSink>(
        &mut self,
        index: usize,
        mut scan: Scanner,
        size: usize,
        now: MonoNs,
        sink: &mut S,
    ) -> Result<(), Fault> {
        let is_nested = is_nested(&mut scan);
        let count = if is_nested {
            decode::rows(&mut scan, &mut self.scratch.rows, decode::book_row)?
        } else {
            self.scratch.rows[0] = decode::book_row(&mut scan)?;
            1
        };
        let Some(venue_at) = self.finish_frame(index, &mut scan, size, now, sink)? else {
            return Ok(());
        };
        self.counters.book_frames += 1;
        let Some(is_snapshot) = self.begin_rows(index, is_nested, count) else { return Ok(()) };
        let book = &mut self.books[self.channels[index].slot as usize];
        let mut failed = false;
        for row in &self.scratch.rows[..count] {
            match book.apply(*row) {
                Ok(Applied::Absent) if !is_snapshot => self.counters.book_delete_absent += 1,
                Ok(_) => {}
                Err(_) => failed = true,
            }
        }
        self.end_rows(index, failed, is_snapshot, (venue_at, count), now, sink);
        Ok(())
    }
    fn on_raw_rows<S: FeedSink>(
        &mut self,
        index: usize,
        mut scan: Scanner,
        size: usize,
        now: MonoNs,
        sink: &mut S,
    ) -> Result<(), Fault> {
        let is_nested = is_nested(&mut scan);
        let count = if is_nested {
            decode::rows(&mut scan, &mut self.scratch.raws, decode::raw_row)?
        } else {
            self.scratch.raws[0] = decode::raw_row(&mut scan)?;
            1
        };
        let Some(venue_at) = self.finish_frame(index, &mut scan, size, now, sink)? else {
            return Ok(());
        };
        self.counters.book_frames += 1;
        let Some(is_snapshot) = self.begin_rows(index, is_nested, count) else { return Ok(()) };
        let book = &mut self.raws[self.channels[index].slot as usize];
        let mut failed = false;
        for row in &self.scratch.raws[..count] {
            match book.apply(*row) {
                Ok(Applied::Absent) if !is_snapshot => self.counters.book_delete_absent += 1,
                Ok(_) => {}
                Err(_) => failed = true,
            }
        }
        self.end_rows(index, failed, is_snapshot, (venue_at, count), now, sink);
        Ok(())
    }
    /// Whether the rows are a snapshot; `None`: a change before the snapshot, not to be used.
    fn begin_rows(&mut self, index: usize, is_nested: bool, count: usize) -> Option<bool> {
        let is_snapshot = !self.channels[index].has_snapshot;
        if is_snapshot && !is_nested {
            self.counters.stale += 1;
            return None;
        }
        if is_snapshot {
            self.counters.book_snapshots += 1;
            self.clear_book(index);
        } else {
            self.counters.book_updates += count as u64;
        }
        Some(is_snapshot)
    }
    fn end_rows<S: FeedSink>(
        &mut self,
        index: usize,
        failed: bool,
        is_snapshot: bool,
        (venue_at, count): (WallNs, usize),
        now: MonoNs,
        sink: &mut S,
    ) {
        if failed {
            self.resync(index, SyncState::Malformed, now, sink);
            return;
        }
        if is_snapshot {
            self.channels[index].has_snapshot = true;
            self.set_book_synced(index, !self.maintenance);
            self.refresh_symbol(index, SyncState::AwaitingSnapshot, now, sink);
            if self.channels[index].hushed_at.0 != 0 {
                let is_other = self.book_sum(index) != self.channels[index].hushed_sum;
                self.end_hush(index, u16::from(is_other), now, sink);
            }
        }
        let updates = if is_snapshot { 1 } else { count.min(u16::MAX as usize) as u16 };
        self.tell_book(index, venue_at, updates, now, sink);
    }

    fn on_trade_rows<S: FeedSink>(
        &mut self,
        index: usize,
        mut scan: Scanner,
        size: usize,
        now: MonoNs,
        sink: &mut S,
    ) -> Result<(), Fault> {
        let count = decode::rows(&mut scan, &mut self.scratch.trades, decode::trade_row)?;
        if self.finish_frame(index, &mut scan, size, now, sink)?.is_none() {
            return Ok(());
        }
        self.counters.trade_snapshots += 1;
        self.channels[index].has_snapshot = true;
        let known = self.counters.trades;
        // Newest first on the wire, oldest first to the sink.
        for at in (0..count).rev() {
            let trade = self.scratch.trades[at];
            self.tell_trade(index, trade, true, sink);
        }
        if self.channels[index].hushed_at.0 != 0 {
            let missed = u16::try_from(self.counters.trades - known).unwrap_or(u16::MAX);
            self.end_hush(index, missed, now, sink);
        }
        Ok(())
    }
    fn on_candle_rows<S: FeedSink>(
        &mut self,
        index: usize,
        mut scan: Scanner,
        size: usize,
        now: MonoNs,
        sink: &mut S,
    ) -> Result<(), Fault> {
        let Subscription { symbol, timeframe: Some(timeframe), .. } =
            self.channels[index].subscription
        else {
            return Err(Fault::Unknown);
        };
        let row =
            |scan: &mut Scanner| decode::candle_row(scan, symbol, timeframe, BarSource::Candles);
        let is_nested = is_nested(&mut scan);
        let count = if is_nested {
            decode::rows(&mut scan, &mut self.scratch.candles, row)?
        } else {
            self.scratch.candles[0] = row(&mut scan)?;
            1
        };
        if self.finish_frame(index, &mut scan, size, now, sink)?.is_none() {
            return Ok(());
        }
        self.channels[index].has_snapshot = true;
        self.counters.candles += count as u64;
        for at in (0..count).rev() {
            sink.candle(self.scratch.candles[at], is_nested);
        }
        Ok(())
    }

    /// The snapshot that a hush asked for is here, and says what the silence was.
    #[cold]
    fn end_hush<S: FeedSink>(&mut self, index: usize, missed: u16, now: MonoNs, sink: &mut S) {
        let channel = &mut self.channels[index];
        let hushed_at = std::mem::take(&mut channel.hushed_at);
        let Subscription { symbol, kind, .. } = channel.subscription;
        if missed > 0 {
            let gap_ms = (now - hushed_at).as_ms().max(0).unsigned_abs();
            sink.quiet(ChannelQuiet { symbol, kind, quiet: false, gap_ms, missed });
        }
    }
    /// The venue's checksum of a book channel's book as it stands here.
    pub(super) fn book_sum(&self, index: usize) -> i32 {
        let channel = &self.channels[index];
        match channel.subscription.kind {
            ChannelKind::Book => self.books[channel.slot as usize].checksum(),
            _ => self.raws[channel.slot as usize].checksum(),
        }
    }
    fn on_checksum<S: FeedSink>(&mut self, index: usize, crc: i64, now: MonoNs, sink: &mut S) {
        let channel = &self.channels[index];
        if !channel.has_snapshot {
            self.counters.stale += 1;
            return;
        }
        let ours = self.book_sum(index);
        self.counters.crc_checked += 1;
        // Signed on the wire; the same bits without a sign are taken too.
        if crc != ours as i64 && crc != ours as u32 as i64 {
            self.counters.crc_failed += 1;
            self.resync(index, SyncState::ChecksumFailed, now, sink);
        }
    }

    #[cold]
    fn on_crossed<S: FeedSink>(
        &mut self,
        index: usize,
        is_crossed: bool,
        now: MonoNs,
        sink: &mut S,
    ) {
        if is_crossed {
            self.counters.book_crossed += 1;
        }
        let channel = &mut self.channels[index];
        if channel.crossed != is_crossed {
            channel.crossed = is_crossed;
            channel.crossed_at = now;
            self.set_book_synced(index, !is_crossed && !self.maintenance);
            self.refresh_symbol(index, SyncState::Crossed, now, sink);
        }
    }

    pub(super) fn set_book_synced(&mut self, index: usize, synced: bool) {
        let channel = &self.channels[index];
        match channel.subscription.kind {
            ChannelKind::Book => self.books[channel.slot as usize].set_synced(synced),
            ChannelKind::RawBook => self.raws[channel.slot as usize].set_synced(synced),
            _ => {}
        }
    }
    pub(super) fn clear_book(&mut self, index: usize) {
        let channel = &self.channels[index];
        match channel.subscription.kind {
            ChannelKind::Book => self.books[channel.slot as usize].clear(),
            ChannelKind::RawBook => self.raws[channel.slot as usize].clear(),
            _ => {}
        }
    }

    /// Works out anew whether the symbol of a channel is in sync, and tells a change. A symbol with
    /// a book here is in sync when all its books are; one without, when all its channels are
    /// acknowledged.
    pub(super) fn refresh_symbol<S: FeedSink>(
        &mut self,
        index: usize,
        reason: SyncState,
        now: MonoNs,
        sink: &mut S,
    ) {
        let symbol_at = self.channels[index].symbol_at;
        let of_symbol = |c: &&Channel| c.symbol_at == symbol_at;
        let has_book = self.channels.iter().filter(of_symbol).any(|c| c.subscription.is_book());
        let is_ready = |c: &Channel| {
            let is_live = c.state == ChannelState::Live;
            if has_book {
                !c.subscription.is_book() || (is_live && c.has_snapshot && !c.crossed)
            } else {
                is_live
            }
        };
        let ready = self.open
            && !self.broken
            && !self.maintenance
            && self.channels.iter().filter(of_symbol).all(is_ready);
        let state = &mut self.symbols[symbol_at as usize];
        let mut out_of_sync_ns = 0;
        if ready {
            if state.synced {
                return;
            }
            out_of_sync_ns = (now - state.since).0.max(0) as u64;
            state.out_of_sync_ns += out_of_sync_ns;
            state.reason = SyncState::Synced;
        } else {
            if state.synced {
                state.since = now;
            } else if state.reason == reason {
                return;
            }
            state.reason = reason;
        }
        state.synced = ready;
        sink.sync(SymbolSync { symbol: state.symbol, state: state.reason, out_of_sync_ns });
    }

    /// A channel's book cannot be trusted: forget it, leave the channel and ask for it again,
    /// within a budget.
    #[cold]
    #[inline(never)]
    pub(super) fn resync<S: FeedSink>(
        &mut self,
        index: usize,
        reason: SyncState,
        now: MonoNs,
        sink: &mut S,
    ) {
        self.counters.resyncs += 1;
        self.clear_book(index);
        let window_ns = self.config.resync_window_ms * 1_000_000;
        let budget = self.config.resync_budget;
        let channel = &mut self.channels[index];
        channel.has_snapshot = false;
        channel.crossed = false;
        if channel.spend_resync(now, window_ns, budget) {
            channel.state = ChannelState::UnsubscribeDue;
            self.transmit_due = true;
        } else if !channel.exhausted {
            // Once a new socket; if that does not help, the channel waits the window out,
            // untradable.
            channel.exhausted = true;
            channel.state = ChannelState::Parked;
            channel.deadline = now + SpanNs(window_ns as i64);
            self.reconnect.get_or_insert(ReconnectReason::ResyncBudget);
        } else {
            channel.state = ChannelState::Parked;
            channel.deadline = now + SpanNs(window_ns as i64);
        }
        self.refresh_symbol(index, reason, now, sink);
    }

    #[cold]
    #[inline(never)]
    fn on_sequence_break<S: FeedSink>(&mut self, now: MonoNs, sink: &mut S) {
        self.counters.seq_gaps += 1;
        self.broken = true;
        self.reconnect.get_or_insert(ReconnectReason::SequenceGap);
        for index in 0..self.channels.len() {
            self.clear_book(index);
            self.channels[index].has_snapshot = false;
            self.channels[index].crossed = false;
        }
        for index in 0..self.channels.len() {
            self.refresh_symbol(index, SyncState::SequenceGap, now, sink);
        }
    }

    #[cold]
    #[inline(never)]
    fn on_fault<S: FeedSink>(&mut self, fault: Fault, text: &[u8], now: MonoNs, sink: &mut S) {
        self.recorder.keep(now, text);
        match fault {
            Fault::Unknown => self.counters.unknown += 1,
            Fault::Malformed => {
                self.counters.malformed += 1;
                let window_ns = (self.config.malformed_window_ms * 1_000_000) as i64;
                if (now - self.malformed_since).0 >= window_ns {
                    self.malformed_since = now;
                    self.malformed_count = 0;
                }
                self.malformed_count += 1;
                if self.malformed_count > self.config.malformed_budget {
                    self.reconnect.get_or_insert(ReconnectReason::Malformed);
                }
                self.on_unreadable_array(text, now, sink);
            }
        }
    }
}

impl PublicSession {
    /// A frame that was not understood has a sequence number all the same, and belongs to a channel
    /// whose book is not to be trusted any more. Where even the number cannot be read, the next
    /// frame shows the gap.
    #[cold]
    fn on_unreadable_array<S: FeedSink>(&mut self, text: &[u8], now: MonoNs, sink: &mut S) {
        if self.broken {
            return;
        }
        let mut scan = Scanner::new(text);
        let Ok(chan_id) = scan.expect(b'[').and_then(|()| scan.uint()) else { return };
        if let Ok(trail) = decode::trail(&mut scan, text.len())
            && self.accept_trail(trail, now, sink).is_none()
        {
            return;
        }
        if let Found::Own(index) = self.map.find(chan_id)
            && self.channels[index].subscription.is_book()
            && self.channels[index].state == ChannelState::Live
        {
            self.resync(index, SyncState::Malformed, now, sink);
        }
    }
}

/// True where an array of arrays, or an empty one, stands here.
fn is_nested(scan: &mut Scanner) -> bool {
    let mut ahead = *scan;
    ahead.expect(b'[').is_ok() && matches!(ahead.value_start(), b'[' | b']')
}
