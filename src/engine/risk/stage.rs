//! The stage: its state, and what each input does to it.

use super::account::Account;
use super::brackets::Brackets;
use super::config::{Limits, RiskConfig};
use super::guards::Guards;
use super::memory::RiskJournal;
use super::rate::{RateWindow, Repeats};
use crate::base::ids::SymbolId;
use crate::base::limits::ORDERS_OPEN_MAX;
use crate::base::time::{MonoNs, SpanNs, WallNs};
use crate::base::units::{Px, Qty};
use crate::engine::orders::{Ledger, OrdersConfig};
use crate::engine::positions::Positions;
use crate::engine::stage::{Outbox, Stage};
use crate::model::{
    Body, ChannelKind, Command, Event, Instrument, Intent, LinkEvent, LinkState, Mark,
    OperatorCommand, OperatorVerb, Rank, Signal, SnapshotOf, Stamp, SyncState, Trace, VenueFact,
    WalletUpdate,
};

/// What the stage did with intents and operator commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RiskCounters {
    pub intents: u64,
    /// Intents that wanted what is already so.
    pub unchanged: u64,
    /// Intents that found their order in the middle of a change.
    pub waiting: u64,
    /// Targets dropped because what they waited for did not end in time.
    pub targets_expired: u64,
    pub commands: u64,
    pub news: u64,
    pub amends: u64,
    pub replaces: u64,
    /// Cancel messages; one may name up to 16 orders.
    pub cancels: u64,
    /// Working quotes cancelled because a guard refused to move them.
    pub quotes_withdrawn: u64,
    /// Flattens that gave up with something left.
    pub flatten_stuck: u64,
    pub operator: u64,
    /// Protective orders sent, and changed in size or price.
    pub protects: u64,
    pub protects_changed: u64,
    /// Positions found unprotected for too long, and those closed for it.
    pub naked_alarms: u64,
    pub naked_closes: u64,
    /// Kills and resets, by whomever.
    pub kills: u64,
    pub resets: u64,
}

/// What is read at every order and written at every mark.
#[derive(Clone, Copy, Debug)]
pub(super) struct MarkRow {
    pub(super) bid: Px,
    pub(super) ask: Px,
    pub(super) at: MonoNs,
    pub(super) synced: bool,
    pub(super) quiet: bool,
}
impl MarkRow {
    /// Middle, rounded down; zero before the first complete book.
    #[inline]
    pub(super) fn mid(&self) -> Px {
        Px::from_raw(i64::midpoint(self.bid.raw(), self.ask.raw()))
    }
}

/// A flatten in progress.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Goal {
    pub(super) active: bool,
    /// Gave up; what is left stays until a person acts.
    pub(super) stuck: bool,
    pub(super) attempts: u8,
    pub(super) next_at: MonoNs,
}

/// Between two reconciles whose only reason is a position that differs: somebody else's trades
/// make it differ for good, and the venue counts calls.
const DIFFERS_EVERY: SpanNs = SpanNs::from_s(10);

/// Wallet rows kept for the view.
pub(super) const WALLETS_MAX: usize = 48;

/// The risk stage. See `mod.rs`.
pub struct RiskStage {
    pub(super) config: RiskConfig,
    pub(super) instruments: Box<[Instrument]>,
    pub(super) limits: Box<[Limits]>,
    pub(super) marks: Box<[MarkRow]>,
    pub(super) goals: Box<[Goal]>,
    pub(super) goals_active: usize,
    /// Targets that wait for the end of an order.
    pub(super) targets: Box<[Option<Intent>]>,
    pub(super) targets_waiting: usize,
    /// Symbols that have or had an order or a position, for the exposure sum.
    pub(super) active: Vec<SymbolId>,
    pub(super) is_active: Box<[bool]>,
    pub(super) ledger: Ledger,
    pub(super) positions: Positions,
    pub(super) guards: Guards,
    pub(super) account: Account,
    pub(super) brackets: Brackets,
    pub(super) journal: Option<Box<dyn RiskJournal>>,
    pub(super) rate: RateWindow,
    pub(super) burst: RateWindow,
    pub(super) repeats: Repeats,
    pub(super) wallets: [Option<WalletUpdate>; WALLETS_MAX],
    pub(super) link_up: bool,
    /// The trading link has been up in this run.
    pub(super) was_up: bool,
    /// The account was read whole by REST since the link fell.
    pub(super) read_by_rest: bool,
    listed: bool,
    reconciled: bool,
    /// A position that differs is a reason for the next reconcile from then on.
    differs_next: MonoNs,
    maintenance: bool,
    /// Orders and cancels by REST do not get through.
    order_entry_down: bool,
    /// No longer tradable at the venue, by symbol.
    pub(super) delisted: Box<[bool]>,
    pub(super) paused: bool,
    pub(super) killed: bool,
    pub(super) halted: bool,
    pub(super) stopping: bool,
    /// A kill or a flatten of an earlier run waits for the account to be known.
    pub(super) resuming: bool,
    pub(super) now: MonoNs,
    pub(super) wall: WallNs,
    pub(super) sweep_at: MonoNs,
    pub(super) counters: RiskCounters,
}

impl RiskStage {
    /// All memory is taken here. `instruments` is the run's table, row index = `SymbolId`.
    ///
    /// # Panics
    /// Where the table's ids are not its row numbers: a programmer's error.
    pub fn new(config: RiskConfig, orders: OrdersConfig, instruments: &[Instrument]) -> Self {
        let symbols = instruments.len();
        for (row, instrument) in instruments.iter().enumerate() {
            assert_eq!(instrument.id.index(), row, "instrument table out of order");
        }
        let mut limits = vec![config.limits; symbols].into_boxed_slice();
        for (symbol, own) in &config.symbol_limits {
            if let Some(row) = limits.get_mut(symbol.index()) {
                *row = *own;
            }
        }
        let mark =
            MarkRow { bid: Px::ZERO, ask: Px::ZERO, at: MonoNs(0), synced: false, quiet: false };
        let window = SpanNs::from_ms(i64::from(config.rate_window_ms));
        Self {
            instruments: instruments.into(),
            limits,
            marks: vec![mark; symbols].into_boxed_slice(),
            goals: vec![Goal::default(); symbols].into_boxed_slice(),
            goals_active: 0,
            targets: vec![None; symbols].into_boxed_slice(),
            targets_waiting: 0,
            active: Vec::with_capacity(symbols),
            is_active: vec![false; symbols].into_boxed_slice(),
            ledger: Ledger::new(orders, symbols),
            positions: Positions::new(config.wallet, instruments),
            account: Account::new(
                config.account.clone(),
                config.guards,
                config.wallet,
                instruments,
            ),
            brackets: Brackets::new(symbols),
            journal: None,
            guards: Guards::new(config.guards),
            rate: RateWindow::new(usize::from(config.rate_max), window),
            burst: RateWindow::new(usize::from(config.rate_burst_max), SpanNs::from_s(1)),
            repeats: Repeats::new(
                SpanNs::from_ms(i64::from(config.repeat_window_ms)),
                usize::from(config.repeat_max),
            ),
            wallets: [None; WALLETS_MAX],
            link_up: false,
            was_up: false,
            read_by_rest: false,
            listed: false,
            reconciled: false,
            differs_next: MonoNs(0),
            maintenance: false,
            order_entry_down: false,
            delisted: vec![false; symbols].into_boxed_slice(),
            paused: false,
            killed: false,
            halted: false,
            stopping: false,
            resuming: false,
            now: MonoNs(0),
            wall: WallNs(0),
            sweep_at: MonoNs(0),
            counters: RiskCounters::default(),
            config: RiskConfig {
                open_orders_max: config.open_orders_max.min(ORDERS_OPEN_MAX as u16),
                ..config
            },
        }
    }

    /// The rank that the latch should carry: entries need a reconciled account and nobody's
    /// objection.
    #[inline]
    pub fn rank(&self) -> Rank {
        let not_ready = if self.is_ready() { Rank::Running } else { Rank::EntriesBlocked };
        self.rank_set().max(not_ready)
    }
    /// The rank without readiness, which is a guard of its own.
    pub(super) fn rank_set(&self) -> Rank {
        if self.halted {
            Rank::Halted
        } else if self.killed {
            Rank::ReduceOnly
        } else if self.stopping || self.order_entry_down {
            // A flatten under way is still let through, and at a stop what protects what stays.
            let closes = self.goals_active > 0 || (self.stopping && self.brackets.busy() > 0);
            if closes { Rank::ReduceOnly } else { Rank::CancelOnly }
        } else if self.paused || self.maintenance || self.account.is_tripped() {
            Rank::EntriesBlocked
        } else {
            Rank::Running
        }
    }
    /// The trading link is up, the account known, and time has begun.
    pub fn is_ready(&self) -> bool {
        let known = self.listed && (self.reconciled || !self.config.require_reconcile);
        self.link_up && known && self.wall.0 > 0
    }
    /// Somebody should read orders, history and trades by REST: at start, after each log-in, while
    /// an order is in doubt, and while the venue's position differs.
    pub fn wants_reconcile(&self) -> bool {
        let grace = SpanNs::from_ms(i64::from(self.config.mismatch_grace_ms));
        let differs =
            || self.now >= self.differs_next && self.positions.any_differs(self.now, grace);
        if !self.link_up {
            return self.needs_reading();
        }
        !self.reconciled || self.ledger.wants_reconcile() || differs()
    }
    /// Orders by REST do not get through: nothing new is opened meanwhile.
    pub fn is_order_entry_down(&self) -> bool {
        self.order_entry_down
    }
    /// After a stop or kill: no own order is alive or in doubt, and no flatten is still at work.
    /// After a stop that keeps positions, what protects them stays.
    pub fn is_quiesced(&self) -> bool {
        let rests = || self.stopping && !self.killed && self.only_protection_rests();
        (self.stopping || self.killed && !self.resuming)
            && self.goals_active == 0
            && (self.ledger.listed_len() == 0 || rests())
    }
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }
    pub fn positions(&self) -> &Positions {
        &self.positions
    }
    pub fn counters(&self) -> &RiskCounters {
        &self.counters
    }

    #[inline]
    fn on_mark(&mut self, mark: &Mark) {
        let index = mark.symbol.index();
        if let Some(row) = self.marks.get_mut(index) {
            *row = MarkRow {
                bid: mark.bid.px,
                ask: mark.ask.px,
                at: mark.stamp.recv,
                synced: mark.synced && !mark.bid.qty.is_zero() && !mark.ask.qty.is_zero(),
                quiet: row.quiet,
            };
            // Only a whole book in step has a middle to value by.
            if row.synced && self.account.on_mid(index, row.mid(), self.now) {
                self.look_at(index);
            }
        }
    }
    fn on_event(&mut self, event: &Event) {
        let now = self.now;
        let before = self.counted();
        match &event.body {
            Body::Order(update) => {
                self.ledger.on_order(update, now, &mut self.positions);
                self.activate(update.symbol);
            }
            Body::Ack(ack) => self.ledger.on_ack(ack, now, &mut self.positions),
            Body::Fill(fill) => {
                self.ledger.on_fill(fill, now, &mut self.positions);
                self.activate(fill.symbol);
            }
            Body::Position(update) => {
                self.positions.on_update(update, now);
                self.activate(update.symbol);
            }
            Body::Snapshot(mark) => {
                self.ledger.on_snapshot(mark, now);
                self.positions.on_snapshot(mark, now);
                self.listed |= mark.of == SnapshotOf::Orders && mark.end && self.link_up;
            }
            Body::Report(report) => self.ledger.on_report(report, now),
            Body::Wallet(update) => self.on_wallet(update),
            Body::Link(link) => self.on_link(link),
            Body::Sync(sync) => {
                if let Some(row) = self.marks.get_mut(sync.symbol.index()) {
                    // In step again is told by the next mark, which carries prices.
                    row.synced &= sync.state == SyncState::Synced;
                }
            }
            Body::Quiet(quiet) if quiet.kind == ChannelKind::Book => {
                if let Some(row) = self.marks.get_mut(quiet.symbol.index()) {
                    row.quiet = quiet.quiet;
                }
            }
            Body::Operator(command) => self.on_operator(command),
            Body::Venue(fact) => self.on_venue(fact),
            Body::Quiet(_)
            | Body::Book(_)
            | Body::Trades(_)
            | Body::Bar(_)
            | Body::Ticker(_)
            | Body::Status(_)
            | Body::Tick => {}
        }
        self.remember(&event.body, before);
        if self.brackets.any() {
            self.note_for_brackets(&event.body);
        }
    }
    fn on_link(&mut self, link: &LinkEvent) {
        let full_round = self.ledger.is_round_full();
        self.ledger.on_link(link, self.now);
        match link.state {
            LinkState::Down | LinkState::AuthFailed if link.trading => {
                (self.link_up, self.listed, self.reconciled) = (false, false, false);
                self.read_by_rest = false;
            }
            LinkState::Authenticated if link.trading => {
                (self.link_up, self.listed, self.reconciled) = (true, false, false);
                (self.was_up, self.read_by_rest) = (true, false);
                self.maintenance = false;
            }
            // An answer to a question asked before this log-in is none.
            LinkState::Reconciled => {
                self.reconciled |= self.link_up && full_round;
                self.read_by_rest |= !self.link_up && full_round;
                self.differs_next = self.now + DIFFERS_EVERY;
            }
            LinkState::MaintenanceStarted => self.maintenance = true,
            LinkState::MaintenanceEnded => self.maintenance = false,
            _ => {}
        }
    }
    fn on_venue(&mut self, fact: &VenueFact) {
        match *fact {
            VenueFact::OrderEntryDown => self.order_entry_down = true,
            VenueFact::OrderEntryUp => self.order_entry_down = false,
            VenueFact::Delisted(symbol) => self.list(symbol, false),
            VenueFact::Listed(symbol) => self.list(symbol, true),
            VenueFact::Sizes { symbol, qty_min, qty_max } => {
                if let Some(row) = self.instruments.get_mut(symbol.index()) {
                    (row.qty_min, row.qty_max) = (qty_min, qty_max);
                }
            }
        }
    }
    /// A pair that is not tradable any more: entries that rest are taken out of its book.
    fn list(&mut self, symbol: SymbolId, listed: bool) {
        if let Some(row) = self.delisted.get_mut(symbol.index()) {
            *row = !listed;
        }
        if !listed {
            let entry = |class| class == crate::model::Class::Entry;
            self.cancel_where(|order| order.symbol == symbol && entry(order.class));
        }
    }
    fn on_operator(&mut self, command: &OperatorCommand) {
        self.counters.operator += 1;
        match command.verb {
            OperatorVerb::Pause => {
                self.paused = true;
                self.note_reason(&command.reason);
                if self.config.cancel_entries_on_pause {
                    self.cancel_where(|order| order.class == crate::model::Class::Entry);
                }
            }
            // What a kill or a stop has set, `Resume` does not lift.
            OperatorVerb::Resume => {
                self.paused = false;
                // Remembered like the pause: else the next life begins paused again.
                self.note_rank();
            }
            OperatorVerb::CancelAll => {
                let symbol = command.symbol;
                self.cancel_sparing(|order| symbol.is_none_or(|s| s == order.symbol));
            }
            OperatorVerb::Flatten => {
                self.paused = true;
                self.note_reason(&command.reason);
                self.flatten(command.symbol);
            }
            OperatorVerb::Kill => self.kill(&command.reason),
            OperatorVerb::Stop => {
                self.stopping = true;
                self.cancel_sparing(|_| true);
            }
            OperatorVerb::StopFlatten => {
                self.stopping = true;
                self.cancel_where(|_| true);
                self.flatten(None);
            }
            OperatorVerb::Reset => {
                if command.is_reset() {
                    self.counters.resets += 1;
                    (self.killed, self.halted, self.paused) = (false, false, false);
                    for goal in &mut self.goals {
                        goal.stuck = false;
                    }
                    self.account.reset(self.wall);
                    self.note_reason(&command.reason);
                }
            }
        }
    }
    fn on_wallet(&mut self, update: &WalletUpdate) {
        let same = |w: &WalletUpdate| w.kind == update.kind && w.currency == update.currency;
        let place = self
            .wallets
            .iter()
            .position(|row| row.as_ref().is_some_and(same))
            .or_else(|| self.wallets.iter().position(Option::is_none));
        if let Some(place) = place {
            self.wallets[place] = Some(*update);
        }
        self.value_wallets();
    }
    pub(super) fn activate(&mut self, symbol: SymbolId) {
        if let Some(known) = self.is_active.get_mut(symbol.index())
            && !*known
        {
            *known = true;
            self.active.push(symbol);
        }
    }
    /// The position that can come about at worst, either way: `(long, short)`, short unsigned.
    pub(super) fn worst(&self, symbol: SymbolId) -> (Qty, Qty) {
        let sums = self.ledger.symbol(symbol);
        let qty = self.positions.qty(symbol);
        // What protects may close the position first: then it makes up for nothing any more.
        let long = qty.saturating_add(sums.protect_buy.min((-qty).max(Qty::ZERO)));
        let short = (-qty).saturating_add(sums.protect_sell.min(qty.max(Qty::ZERO)));
        (long.saturating_add(sums.buy_reserve), short.saturating_add(sums.sell_reserve))
    }
}

impl Stage for RiskStage {
    type In = Signal;
    type Out = Command;
    const NAME: &'static str = "risk";
    const BURST_MAX: usize = crate::base::limits::BURST_MAX;

    #[inline]
    fn on_input(&mut self, input: &Signal, out: &mut impl Outbox<Command>) {
        let (stamp, trace) = match input {
            Signal::Event(event) => (event.stamp, event.trace),
            Signal::Mark(mark) => (mark.stamp, Trace::default()),
            Signal::Intent(intent) => (intent.cause, intent.trace),
        };
        self.now = self.now.max(stamp.recv);
        self.wall = self.wall.max(stamp.wall);
        if self.account.is_due(self.wall) {
            self.account.on_clock(self.wall);
        }
        match input {
            Signal::Mark(mark) => {
                self.on_mark(mark);
                // Nothing else to do, but for what waits for its time.
                if self.now < self.sweep_at && self.goals_active == 0 && self.account.dirty() < 2 {
                    self.ledger.on_time(self.now);
                    return;
                }
            }
            Signal::Event(event) => self.on_event(event),
            Signal::Intent(intent) => self.on_intent(intent, out),
        }
        // Before anything leaves that follows from it.
        let beat = matches!(input, Signal::Event(Event { body: Body::Tick, .. }));
        if self.account.dirty() > u8::from(!beat) {
            self.keep();
        }
        self.ledger.on_time(self.now);
        self.work(Stamp { recv: self.now, wall: self.wall, seq: stamp.seq }, trace, out);
    }
}
