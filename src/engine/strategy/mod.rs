//! Purpose:   strategies: what they must answer, what they see, what they may want; the built-in
//!            ones.
//! Knows:     base, model, engine/indicator, engine/positions. Must not know: venue, line, io,
//!            runtime.
//! Time:      stamps only.
//! Memory:    a strategy allocates in its constructor; calls allocate nothing.
//! Errors:    `Refused`, counted per strategy and reason; a strategy has no other way to say no.
//! Tests:     beside each file; engine/signal/tests.rs drives them through the stage.
//!
//! A user's own strategy begins as a copy of `template.rs`; STRATEGY.md is its guide.

mod classic;
mod custom;
mod intents;
mod maker;
mod probe;
mod refused;
mod template;
mod view;

pub use classic::{Classic, ClassicConfig, Preset, Weights, score};
pub use custom::{HANGS, custom, custom_names};
pub use intents::{INTENTS_MAX, INTENTS_PER_CALL_MAX, Intents, StrategyCounters};
pub use maker::{Maker, MakerConfig};
pub use probe::{Probe, ProbeConfig, ProbeStyle};
pub use refused::{Refused, RefusedCounts};
pub use template::MeanReversion;
pub use view::MarketView;
pub(in crate::engine) use view::SymbolState;

use crate::base::ids::{Cid, SymbolId};
use crate::base::limits::SYMBOLS_MAX;
use crate::model::{Event, LinkEvent, OperatorVerb, OrderStatus, Refusal, SendOutcome, Timeframe};

/// What happened, as a set: in `Needs` what a strategy wants to be called for, in a view what is
/// new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct News(u8);
impl News {
    pub const NONE: News = News(0);
    /// A book view.
    pub const BOOK: News = News(1);
    /// Public trades.
    pub const TRADES: News = News(2);
    /// A bar closed and is committed.
    pub const BAR: News = News(4);
    /// Indicators are recomputed with the forming bar.
    pub const INDICATORS: News = News(8);
    /// A time asked for by `Intents::wake_at` is reached.
    pub const TIMER: News = News(16);
    /// Own order, fill, position, acknowledgement or send report of the symbol.
    pub const PRIVATE: News = News(32);
    /// Ticker or derivative status.
    pub const OTHER: News = News(64);
    pub(in crate::engine) const KINDS: usize = 7;

    pub const fn has(self, other: News) -> bool {
        self.0 & other.0 != 0
    }
    pub const fn with(self, other: News) -> News {
        News(self.0 | other.0)
    }
    #[inline(always)]
    pub(in crate::engine) const fn bits(self) -> u8 {
        self.0
    }
}

/// A set of the run's symbols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SymbolSet([u64; SYMBOLS_MAX / 64]);
const _: () = assert!(SYMBOLS_MAX.is_multiple_of(64));
impl SymbolSet {
    pub const EMPTY: SymbolSet = SymbolSet([0; SYMBOLS_MAX / 64]);
    /// Symbols out of the table's bound are left out.
    pub fn of(symbols: &[SymbolId]) -> Self {
        let mut set = Self::EMPTY;
        for symbol in symbols.iter().filter(|symbol| symbol.index() < SYMBOLS_MAX) {
            set.0[symbol.index() / 64] |= 1 << (symbol.index() % 64);
        }
        set
    }
    #[inline(always)]
    pub fn has(&self, symbol: SymbolId) -> bool {
        self.0.get(symbol.index() / 64).is_some_and(|word| word >> (symbol.index() % 64) & 1 == 1)
    }
    pub fn iter(&self) -> impl Iterator<Item = SymbolId> + '_ {
        (0..SYMBOLS_MAX as u16).map(SymbolId).filter(|symbol| self.has(*symbol))
    }
}

/// What a strategy declares before the run.
#[derive(Clone, Copy, Debug)]
pub struct Needs {
    /// It is called for these, and may want things of these only.
    pub symbols: SymbolSet,
    /// It is called when one of these happens.
    pub news: News,
    /// Bars that `MarketView::indicators` is about; must be built by the run. `None` = no matter
    /// which.
    pub timeframe: Option<Timeframe>,
    /// Bars of history it wants before it can decide.
    pub warmup_bars: u32,
    /// Intents a second that make or move orders, at most; what is more is refused and counted.
    pub orders_per_s_max: u32,
}

/// An order of the symbol that was refused. Orders do not tell their strategy here: every strategy
/// of the symbol is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub symbol: SymbolId,
    pub cid: Cid,
    pub cause: RejectCause,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectCause {
    /// The venue refused the request.
    Venue(Refusal),
    /// The order ended by the venue's decision: insufficient funds, post-only would take, …
    Ended(OrderStatus),
    /// It never left, or broke on its way.
    Send(SendOutcome),
}

/// A strategy: pure decisions. No clock, no I/O, no heap after construction, no lock, no random
/// number: the same events must give the same intents. The four `on_…` without a default are the
/// questions it must have an answer to; doing nothing is one.
pub trait Strategy {
    /// Short and constant; shown to people.
    fn name(&self) -> &'static str;
    fn needs(&self) -> Needs;
    /// Something it declared in `Needs::news` happened to one of its symbols.
    fn on_event(&mut self, event: &Event, view: &MarketView<'_>, out: &mut Intents);
    /// The symbol's book became unsynced, silent or too old. Told once; when it is good again,
    /// `on_event` is called with the new book.
    fn on_stale(&mut self, event: &Event, view: &MarketView<'_>, out: &mut Intents);
    /// The trading socket is gone. Orders in flight are of unknown fate and the engine settles
    /// them; forget what you believed about your orders.
    fn on_disconnect(&mut self, link: &LinkEvent, out: &mut Intents);
    /// An order of the symbol was refused. Do not send it again at once: this is how storms begin.
    fn on_reject(&mut self, rejection: &Rejection, view: &MarketView<'_>, out: &mut Intents);
    /// Kill or stop: the engine cancels and closes on its own. Nothing is asked until it is reset.
    fn on_kill(&mut self, verb: OperatorVerb, out: &mut Intents);
}

/// A strategy of the run. The built-in ones are called directly, yours by one dynamic call.
pub enum AnyStrategy {
    Probe(Probe),
    Classic(Classic),
    Maker(Maker),
    Custom(Box<dyn Strategy + Send>),
}

macro_rules! each {
    ($any:expr, $strategy:ident => $call:expr) => {
        match $any {
            AnyStrategy::Probe($strategy) => $call,
            AnyStrategy::Classic($strategy) => $call,
            AnyStrategy::Maker($strategy) => $call,
            AnyStrategy::Custom($strategy) => $call,
        }
    };
}

impl Strategy for AnyStrategy {
    fn name(&self) -> &'static str {
        each!(self, s => s.name())
    }
    fn needs(&self) -> Needs {
        each!(self, s => s.needs())
    }
    #[inline]
    fn on_event(&mut self, event: &Event, view: &MarketView<'_>, out: &mut Intents) {
        each!(self, s => s.on_event(event, view, out));
    }
    fn on_stale(&mut self, event: &Event, view: &MarketView<'_>, out: &mut Intents) {
        each!(self, s => s.on_stale(event, view, out));
    }
    fn on_disconnect(&mut self, link: &LinkEvent, out: &mut Intents) {
        each!(self, s => s.on_disconnect(link, out));
    }
    fn on_reject(&mut self, rejection: &Rejection, view: &MarketView<'_>, out: &mut Intents) {
        each!(self, s => s.on_reject(rejection, view, out));
    }
    fn on_kill(&mut self, verb: OperatorVerb, out: &mut Intents) {
        each!(self, s => s.on_kill(verb, out));
    }
}

/// Row of each symbol in a strategy's own tables: symbols it does not trade have none.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Rows<T> {
    place: Box<[u16]>,
    rows: Box<[T]>,
}
impl<T: Clone> Rows<T> {
    pub fn new(symbols: &[SymbolId], row: T) -> Self {
        let mut place = vec![u16::MAX; SYMBOLS_MAX].into_boxed_slice();
        let mut count = 0u16;
        for symbol in symbols.iter().filter(|symbol| symbol.index() < SYMBOLS_MAX) {
            if place[symbol.index()] == u16::MAX {
                place[symbol.index()] = count;
                count += 1;
            }
        }
        Self { place, rows: vec![row; usize::from(count)].into_boxed_slice() }
    }
    #[inline(always)]
    pub fn get_mut(&mut self, symbol: SymbolId) -> Option<&mut T> {
        let place = *self.place.get(symbol.index())?;
        self.rows.get_mut(usize::from(place))
    }
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.rows.iter_mut()
    }
}
