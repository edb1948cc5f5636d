//! Gathers what the taps tell, for the live view while it runs and for the report at its end.

use super::gaps::Gaps;
use crate::base::ids::SymbolId;
use crate::base::time::{MonoNs, SpanNs, Tsc};
use crate::base::units::{Qty, Quote, Side};
use crate::config::Config;
use crate::engine::orders::{Order, OrderState};
use crate::engine::risk::{GuardLevel, RiskSnapshot, SymbolRisk};
use crate::engine::signal::SymbolSignals;
use crate::io::clock::Clock;
use crate::line::parse::ParseCounters;
use crate::model::{
    Body, ChannelKind, Class, Instrument, LinkState, PrivateSeen, Rank, Seen, SyncState,
};
use crate::ops::journal::OrderTracker;
use crate::ops::logger;
use crate::ops::status::{FillStatus, Incident, ReconnectRow};
use crate::ops::text::utc;
use crate::ops::view::{BookHealth, Counts, LinkRow, OrderRow, StageRow, SymbolRow, ViewModel};
use crate::ops::waterfall::side_name;
use crate::runtime::engine::Taps;
use crate::runtime::observe::ParseRow;
use crate::runtime::placement::ThreadHandle;
use crate::runtime::taps::{RiskRow, SignalRow};
use crate::runtime::topology::Topology;
use crate::venue::event::code;
use std::collections::VecDeque;

/// Lines of the log that the view shows.
const LOG_LINES: usize = 6;
/// Rows that the status shows.
const FILLS_SHOWN: usize = 100;
const RECONNECTS_SHOWN: usize = 50;
/// Cancels whose moment is remembered: a kill cancels at most what may be open.
const CANCELS_KEPT: usize = 4_096;
/// A snapshot that was asked for is here before this, or the channel does not answer.
const UNANSWERED: SpanNs = SpanNs::from_s(1);

fn keep_newest<T>(rows: &mut VecDeque<T>, row: T, count_max: usize) {
    rows.truncate(count_max - 1);
    rows.push_front(row);
}

#[derive(Clone, Copy, Default)]
pub(super) struct BookSeen {
    bid: Option<crate::model::Level>,
    ask: Option<crate::model::Level>,
    pub(super) synced: bool,
    age: Option<SpanNs>,
}

pub(super) struct Watch {
    pub(super) tracker: OrderTracker,
    pub(super) model: ViewModel,
    pub(super) instruments: Vec<Instrument>,
    strategies: Vec<String>,
    pub(super) books: Vec<BookSeen>,
    signals: Vec<Option<SymbolSignals>>,
    pub(super) symbols: Vec<Option<SymbolRisk>>,
    pub(super) account: Option<RiskSnapshot>,
    levels: Vec<GuardLevel>,
    pub(super) orders: Vec<Order>,
    orders_next: Vec<Order>,
    pub(super) links: Vec<(bool, bool)>,
    stale_after: SpanNs,
    frames_before: (u64, MonoNs),
    /// When the count of frames last changed.
    moved_at: MonoNs,
    /// By thread: busy and all time so far, ns; share since the last look.
    busy: Vec<(u64, u64, f64)>,
    /// Thread of each stage.
    thread_of: Vec<(&'static str, usize)>,
    pub(super) clock: Clock,
    /// When the newest cancels were written, newest first.
    cancels: VecDeque<Tsc>,
    // For the status.
    pub(super) gaps: Gaps,
    pub(super) parse: ParseCounters,
    pub(super) log_missed: u64,
    pub(super) unknown_messages: u64,
    /// Sign-ins refused for their nonce.
    pub(super) nonces_refused: u64,
    pub(super) tap_dropped: u64,
    /// Most slots in use: `parse_signal`, `signal_risk`, `risk_send`.
    pub(super) ring_used: [u64; 3],
    /// Newest first.
    pub(super) fills: VecDeque<FillStatus>,
    /// Newest first.
    pub(super) reconnect_rows: VecDeque<ReconnectRow>,
    /// By socket.
    pub(super) link_downs: Vec<u64>,
    /// By symbol: times its book was lost.
    pub(super) unsynced: Vec<u64>,
    /// What the line found and repaired by itself, until the hub takes it.
    pub(super) incidents: Vec<Incident>,
    /// Books that were asked for again because their data stayed away, since when.
    hushed: Vec<(SymbolId, MonoNs)>,
    /// By thread: its heartbeat, and when that moved.
    pub(super) beats: Vec<(u64, MonoNs)>,
}

impl Watch {
    pub(super) fn new(
        config: &Config,
        instruments: &[Instrument],
        tracker: OrderTracker,
        clock: Clock,
    ) -> Self {
        let strategy_of = |name: &str| {
            let found = config
                .strategies
                .iter()
                .find(|each| each.symbols.iter().any(|symbol| symbol == name));
            found.map_or(String::new(), |each| each.kind.name().to_owned())
        };
        let count = instruments.len();
        Self {
            tracker,
            model: ViewModel {
                environment: config.environment.name().to_owned(),
                market: config.market.source.to_string(),
                speed: config.market.speed.to_string(),
                mode: config.trading.mode.name().to_owned(),
                currency: currency_of(instruments),
                ..ViewModel::default()
            },
            strategies: instruments.iter().map(|row| strategy_of(row.name.as_str())).collect(),
            instruments: instruments.to_vec(),
            books: vec![BookSeen::default(); count],
            signals: vec![None; count],
            symbols: vec![None; count],
            account: None,
            levels: Vec::new(),
            orders: Vec::new(),
            orders_next: Vec::new(),
            links: Vec::new(),
            stale_after: SpanNs::from_ms(config.risk.book_stale_ms as i64),
            frames_before: (0, MonoNs(0)),
            moved_at: MonoNs(0),
            busy: Vec::new(),
            thread_of: Vec::new(),
            clock,
            cancels: VecDeque::new(),
            gaps: Gaps::default(),
            parse: ParseCounters::default(),
            log_missed: 0,
            unknown_messages: 0,
            nonces_refused: 0,
            tap_dropped: 0,
            ring_used: [0; 3],
            fills: VecDeque::new(),
            reconnect_rows: VecDeque::new(),
            link_downs: Vec::new(),
            unsynced: vec![0; count],
            incidents: Vec::new(),
            hushed: Vec::new(),
            beats: Vec::new(),
        }
    }

    fn name(&self, symbol: SymbolId) -> &str {
        self.instruments.get(symbol.index()).map_or("?", |row| row.name.as_str())
    }

    /// Empties the taps.
    pub(super) fn drain(&mut self, taps: &mut Taps) {
        while let Some(sent) = taps.sent.pop() {
            if sent.command.class == Class::Cancel {
                keep_newest(&mut self.cancels, sent.written, CANCELS_KEPT);
            }
            self.tracker.on_sent(&sent);
        }
        while let Some(seen) = taps.seen.pop() {
            self.tracker.on_seen(&seen);
            if seen.what == Seen::Filled {
                self.on_fill(&seen);
            }
        }
        while let Some(row) = taps.parse.pop() {
            self.on_parse(row);
        }
        while let Some(row) = taps.signal.pop() {
            let row = match row {
                SignalRow::Symbol(row) => row,
                SignalRow::Ring { used_max } => {
                    self.ring_used[1] = used_max;
                    continue;
                }
            };
            if let Some(place) = self.signals.get_mut(row.symbol.index()) {
                *place = Some(row);
            }
        }
        while let Some(row) = taps.risk.pop() {
            match row {
                RiskRow::Account(account) => {
                    if self.account.is_some_and(|before| before.rank != account.rank) {
                        log::info!("risk: {}", account.rank.name());
                    }
                    self.account = Some(account);
                }
                RiskRow::Symbol(row) => {
                    if let Some(place) = self.symbols.get_mut(row.symbol.index()) {
                        *place = Some(row);
                    }
                }
                RiskRow::Guard(level) => {
                    let place = level.guard as usize;
                    let told = self.levels.len();
                    match self.levels.get_mut(place) {
                        Some(known) => {
                            if level.trips > known.trips {
                                log::warn!("guard {} has tripped", level.guard.name());
                            }
                            *known = level;
                        }
                        None if place == told => self.levels.push(level),
                        None => {}
                    }
                }
                RiskRow::Ring { used_max } => self.ring_used[2] = used_max,
                RiskRow::Order(order) => self.orders_next.push(order),
                RiskRow::OrdersEnd => {
                    std::mem::swap(&mut self.orders, &mut self.orders_next);
                    self.orders_next.clear();
                }
            }
        }
        if let Some(tap) = &mut taps.gaps {
            self.gaps.drain(tap, self.clock.mono());
        }
        if !self.hushed.is_empty() {
            self.find_unanswered();
        }
    }

    /// From a pull of the kill switch (TSC, 0 = none) to the first cancel written after it.
    pub(super) fn first_cancel_us(&self, pulled_at: u64) -> Option<u64> {
        let pulled = Tsc(pulled_at);
        let first = self.cancels.iter().rev().find(|at| pulled_at > 0 && at.0 >= pulled_at)?;
        self.clock.span_ns(pulled, *first).map(|ns| ns / 1_000)
    }

    fn on_fill(&mut self, seen: &PrivateSeen) {
        let fill = FillStatus {
            at: utc(self.clock.wall()),
            symbol: self.name(seen.symbol).to_owned(),
            side: side_name(Side::of(seen.qty)).to_owned(),
            qty: seen.qty.abs().to_f64(),
            px: seen.px.to_f64(),
            cid: seen.cid.0,
        };
        keep_newest(&mut self.fills, fill, FILLS_SHOWN);
    }

    /// Symbols with a position.
    pub(super) fn position_count(&self) -> usize {
        self.symbols.iter().flatten().filter(|row| !row.position.is_zero()).count()
    }

    fn on_parse(&mut self, row: ParseRow) {
        let counts: &mut Counts = &mut self.model.counts;
        match row {
            ParseRow::Totals {
                counters,
                conflated,
                log_missed,
                crc_checked,
                crc_failed,
                seq_gaps,
                unknown,
                is_halted,
                parse_signal_used_max,
                tap_dropped,
                ..
            } => {
                self.parse = counters;
                self.log_missed = log_missed;
                self.unknown_messages = unknown;
                self.tap_dropped = tap_dropped;
                self.ring_used[0] = parse_signal_used_max;
                let now = self.clock.mono();
                let (before, at) = self.frames_before;
                let span_ms = (now - at).as_ms();
                if span_ms >= 1_000 {
                    counts.frames_per_s =
                        (counters.frame_rx - before) * 1_000 / span_ms.unsigned_abs();
                    self.frames_before = (counters.frame_rx, now);
                }
                if counts.frames != counters.frame_rx {
                    self.moved_at = now;
                }
                counts.frames = counters.frame_rx;
                counts.book_updates = counters.book_update;
                counts.crc_checked = crc_checked;
                counts.crc_failed = crc_failed;
                counts.seq_gaps = seq_gaps;
                counts.conflated = conflated;
                counts.dropped = unknown + log_missed;
                counts.halts = u64::from(is_halted);
            }
            ParseRow::Link { conn, is_open, is_authenticated } => {
                let index = conn.index();
                if self.links.len() <= index {
                    self.links.resize(index + 1, (false, false));
                    self.link_downs.resize(index + 1, 0);
                }
                self.links[index] = (is_open, is_authenticated);
            }
            ParseRow::Book { symbol, bid, ask, synced, changed_at, now } => {
                if let Some(place) = self.books.get_mut(symbol.index()) {
                    let age = (bid.is_some() || ask.is_some()).then(|| now - changed_at);
                    *place = BookSeen { bid, ask, synced, age };
                }
            }
            ParseRow::Control(body) => self.tell(&body),
        }
    }

    /// A channel that said nothing although there was something to say.
    fn silent(&mut self, name: &str, kind: ChannelKind, text: String, action: &str) {
        let what = format!("channel {name} {}", kind.name());
        log::warn!("{what}: {text}");
        let at = utc(self.clock.wall());
        self.incidents.push(Incident { at, what, text, action: action.to_owned() });
    }
    /// Books that were asked for again and have no snapshot since: no calm explains that.
    fn find_unanswered(&mut self) {
        let now = self.clock.mono();
        while let Some(at) = self.hushed.iter().position(|(_, since)| now - *since > UNANSWERED) {
            let (symbol, _) = self.hushed.swap_remove(at);
            let name = self.name(symbol).to_owned();
            let text = "its data stay away, and it does not answer".to_owned();
            self.silent(&name, ChannelKind::Book, text, "no entries of it; it is asked for again");
        }
    }

    /// The lines an operator reads.
    fn tell(&mut self, body: &Body) {
        match body {
            Body::Sync(sync) => {
                let is_lost =
                    !matches!(sync.state, SyncState::Synced | SyncState::AwaitingSnapshot);
                if let Some(count) = self.unsynced.get_mut(sync.symbol.index()) {
                    *count += u64::from(is_lost);
                }
                if sync.state == SyncState::Synced {
                    self.hushed.retain(|(symbol, _)| *symbol != sync.symbol);
                }
                let name = self.name(sync.symbol);
                match sync.state {
                    SyncState::Synced if sync.out_of_sync_ns > 0 => {
                        log::info!(
                            "{name}: book synced after {} ms",
                            sync.out_of_sync_ns / 1_000_000
                        );
                    }
                    SyncState::Synced => log::info!("{name}: book synced"),
                    SyncState::AwaitingSnapshot => log::debug!("{name}: awaiting its snapshot"),
                    SyncState::Silent => {
                        log::warn!("{name}: book not tradable: its channel is silent");
                        self.hushed.push((sync.symbol, self.clock.mono()));
                    }
                    state => log::warn!("{name}: book not tradable: {state:?}"),
                }
            }
            Body::Link(link) => {
                let is_refused = link.state == LinkState::AuthFailed;
                self.nonces_refused +=
                    u64::from(is_refused && i64::from(link.code) == code::AUTH_NONCE);
                let what = if link.trading { "account" } else { "market data" };
                if !matches!(link.state, LinkState::Reconciled | LinkState::Authenticated) {
                    let row = ReconnectRow {
                        at: utc(self.clock.wall()),
                        link: format!("{what} {}", link.conn.0),
                        what: format!("{:?} {}", link.state, link.code),
                    };
                    keep_newest(&mut self.reconnect_rows, row, RECONNECTS_SHOWN);
                }
                if link.state == LinkState::Down
                    && let Some(count) = self.link_downs.get_mut(link.conn.index())
                {
                    *count += 1;
                }
                match link.state {
                    LinkState::Up => log::info!("{what} socket {}: open", link.conn.0),
                    LinkState::Authenticated => log::info!("{what}: signed in"),
                    LinkState::Reconciled => log::info!("{what}: reconciled"),
                    LinkState::Down => {
                        self.model.counts.reconnects += 1;
                        log::warn!("{what} socket {}: closed ({})", link.conn.0, link.code);
                    }
                    state => log::warn!("{what}: {state:?} ({})", link.code),
                }
            }
            Body::Quiet(quiet) => {
                let name = self.name(quiet.symbol).to_owned();
                // Silence alone proves nothing: a market may be calm.
                if quiet.missed > 0 {
                    let text = match quiet.kind {
                        ChannelKind::Trades => format!("{} trades were withheld", quiet.missed),
                        _ => "changes of its book were withheld".to_owned(),
                    };
                    self.hushed.retain(|(symbol, _)| *symbol != quiet.symbol);
                    self.silent(&name, quiet.kind, text, "it was asked for again, and is whole");
                } else if quiet.quiet {
                    log::info!("{name}: no {:?} data for {} ms", quiet.kind, quiet.gap_ms);
                } else {
                    log::info!("{name}: {:?} data again after {} ms", quiet.kind, quiet.gap_ms);
                }
            }
            _ => {}
        }
    }

    /// The account, as last told.
    pub(super) fn account(&self) -> Option<&RiskSnapshot> {
        self.account.as_ref()
    }
    /// Every guard in its order, as last told.
    pub(super) fn levels(&self) -> &[GuardLevel] {
        &self.levels
    }
    /// Events could not be delivered in time: the front has stopped.
    pub(super) fn is_halted(&self) -> bool {
        self.model.counts.halts > 0
    }
    /// How long no frame has been read.
    pub(super) fn quiet_for(&self) -> SpanNs {
        self.clock.mono() - self.moved_at
    }
    pub(super) fn reconnects(&self) -> u64 {
        self.model.counts.reconnects
    }
    /// How busy each stage's thread was since the last call.
    pub(super) fn on_threads(&mut self, topology: &Topology, threads: &[ThreadHandle]) {
        self.busy.resize(threads.len(), (0, 0, 0.0));
        for (thread, place) in threads.iter().zip(&mut self.busy) {
            let stats = thread.stats();
            let total = stats.busy_ns + stats.idle_ns + stats.blocked_ns;
            let (busy_before, total_before, _) = *place;
            if total > total_before {
                let share = (stats.busy_ns - busy_before) as f64 / (total - total_before) as f64;
                *place = (stats.busy_ns, total, share);
            }
        }
        self.thread_of = topology
            .threads
            .iter()
            .enumerate()
            .flat_map(|(at, plan)| plan.stages.iter().map(move |stage| (stage.name(), at)))
            .collect();
    }
    /// Share of its thread's time; the two rows of `send` are one stage.
    pub(super) fn busy_of(&self, stage: &str) -> f64 {
        let stage = if matches!(stage, "encode" | "write") { "send" } else { stage };
        let thread = self.thread_of.iter().find(|(name, _)| *name == stage);
        thread.and_then(|(_, at)| self.busy.get(*at)).map_or(0.0, |(_, _, share)| *share)
    }
    pub(super) fn notice(&mut self, words: &str, is_stopping: bool) {
        words.clone_into(&mut self.model.notice);
        self.model.is_stopping = is_stopping;
    }

    /// The model of the view, brought up to date.
    pub(super) fn model(&mut self) -> &ViewModel {
        let now = self.clock.mono();
        self.model.elapsed_s = now.0 / 1_000_000_000;
        if let Some(account) = &self.account {
            self.model.rank = account.rank;
            self.model.pnl = account.realised.saturating_add(account.unrealised);
            self.model.fees = -account.fees;
            let orders = &account.orders;
            let counts = &mut self.model.counts;
            counts.sent = orders.opened;
            counts.acked = orders.acked;
            counts.filled = orders.in_state(OrderState::Filled);
            counts.cancelled = orders.in_state(OrderState::Cancelled);
            counts.rejected = orders.in_state(OrderState::Rejected);
            counts.unknown = account.orders_unknown as u64;
            counts.partly_filled = self.tracker.tally.partly;
            counts.refused = account.guards.iter().map(|guard| guard.blocked).sum();
        } else {
            self.model.rank = Rank::EntriesBlocked;
        }
        let last = self.links.len().saturating_sub(1);
        self.model.links = self
            .links
            .iter()
            .enumerate()
            .map(|(index, (is_open, is_authenticated))| LinkRow {
                name: if index == last { "account".to_owned() } else { format!("market {index}") },
                is_up: *is_open,
                state: match (is_open, is_authenticated) {
                    (false, _) => "down",
                    (true, false) if index == last => "signing in",
                    (true, false) => "up",
                    (true, true) => "signed in",
                }
                .to_owned(),
            })
            .collect();
        self.model.symbols = (0..self.instruments.len()).map(|row| self.symbol_row(row)).collect();
        self.model.orders = self.orders.iter().map(|order| self.order_row(order)).collect();
        let board = &self.tracker.board;
        self.model.stages = board
            .stages()
            .map(|(name, histo)| StageRow {
                name: name.to_owned(),
                latency: histo.percentiles(),
                busy: self.busy_of(name),
            })
            .to_vec();
        self.model.t1 = board.t1.percentiles();
        self.model.t2 = board.t2.percentiles();
        self.model.ack_ms = board.ack.percentiles_ms();
        if let Some(logger) = logger::current() {
            self.model.messages = logger.recent(LOG_LINES);
        }
        &self.model
    }

    pub(super) fn symbol_row(&self, row: usize) -> SymbolRow {
        let (book, risk) = (self.books[row], self.symbols[row]);
        let health = match (book.synced, book.age) {
            (_, None) => BookHealth::Waiting,
            (false, _) => BookHealth::Unsynced,
            (true, Some(age)) if age > self.stale_after => BookHealth::Stale,
            (true, Some(_)) => BookHealth::Synced,
        };
        SymbolRow {
            name: self.instruments[row].name.as_str().to_owned(),
            strategy: self.strategies[row].clone(),
            book: health,
            age_ms: book.age.map(|age| age.as_ms().max(0).unsigned_abs()),
            bid: book.bid.map(|level| level.px),
            ask: book.ask.map(|level| level.px),
            regime: self.signals[row]
                .map_or(String::new(), |signals| signals.indicators.regime.name().to_owned()),
            position: risk.map_or(Qty::ZERO, |risk| risk.position),
            px_avg: risk.map_or_else(Default::default, |risk| risk.px_avg),
            pnl: risk.map_or(Quote::ZERO, |risk| risk.realised.saturating_add(risk.unrealised)),
            is_frozen: risk.is_some_and(|risk| risk.frozen),
        }
    }

    pub(super) fn order_row(&self, order: &Order) -> OrderRow {
        OrderRow {
            cid: order.cid.0,
            symbol: self.name(order.symbol).to_owned(),
            side: order.side,
            remaining: order.remaining().abs(),
            original: order.asked_qty.abs(),
            px: order.px(),
            state: order.state().name().to_owned(),
            age_ms: (self.clock.mono() - order.sent_at).as_ms().max(0).unsigned_abs(),
        }
    }
}

/// The one quote currency of the run, or `mixed`.
pub(super) fn currency_of(instruments: &[Instrument]) -> String {
    match instruments.split_first() {
        None => String::new(),
        Some((first, rest)) if rest.iter().all(|row| row.quote == first.quote) => {
            first.quote.as_str().to_owned()
        }
        Some(_) => "mixed".to_owned(),
    }
}
