//! What a strategy sees: the newest state of one symbol. References and a few copies, made anew per
//! call.

use super::News;
use super::refused::Refused;
use crate::base::ids::SymbolId;
use crate::base::time::{MonoNs, SpanNs, WallNs};
use crate::base::units::{Px, Qty};
use crate::engine::indicator::{Forming, Indicators};
use crate::engine::positions::{Position, Positions};
use crate::model::{BookView, Stamp, SyncState, Timeframe, TradeAgg};

/// Market state of one symbol inside the stage.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct SymbolState {
    pub book: BookView,
    pub book_at: MonoNs,
    pub trades: TradeAgg,
    /// Last word about the symbol's tradability; `Synced` where nobody said anything.
    pub sync: SyncState,
    /// The book's channel is silent, or its age passed the limit.
    pub stale: bool,
    /// An operator paused this symbol.
    pub paused: bool,
    /// No longer tradable at the venue.
    pub delisted: bool,
    /// A book was seen.
    pub seen: bool,
    /// A look at the book's age is due some time: see `SignalStage`.
    pub age_armed: bool,
}
impl SymbolState {
    pub fn new(symbol: SymbolId) -> Self {
        Self {
            book: BookView {
                venue_at: WallNs(0),
                bids: Default::default(),
                asks: Default::default(),
                symbol,
                bid_count: 0,
                ask_count: 0,
                updates: 0,
                imbalance_e4: 0,
                synced: false,
            },
            book_at: MonoNs(0),
            trades: TradeAgg::one(
                symbol,
                crate::base::ids::TradeId(0),
                WallNs(0),
                Px::ZERO,
                Qty::ZERO,
            ),
            sync: SyncState::Synced,
            stale: false,
            paused: false,
            delisted: false,
            seen: false,
            age_armed: false,
        }
    }
    #[inline(always)]
    pub fn is_synced(&self) -> bool {
        self.book.synced && self.sync == SyncState::Synced
    }
}

/// See the file's head. Time is the stamp's; there is no other.
pub struct MarketView<'a> {
    pub(in crate::engine) symbol: SymbolId,
    pub(in crate::engine) stamp: Stamp,
    pub(in crate::engine) news: News,
    pub(in crate::engine) state: &'a SymbolState,
    pub(in crate::engine) timeframes: &'a [Timeframe],
    /// By timeframe, of this symbol.
    pub(in crate::engine) indicators: &'a [Indicators],
    pub(in crate::engine) forming: &'a [Option<Forming>],
    /// The calling strategy's own timeframe.
    pub(in crate::engine) primary: usize,
    pub(in crate::engine) positions: &'a Positions,
    /// Why nobody may open positions now.
    pub(in crate::engine) closed: Option<Refused>,
}

impl<'a> MarketView<'a> {
    pub fn symbol(&self) -> SymbolId {
        self.symbol
    }
    /// What happened since the last call for this symbol.
    pub fn news(&self) -> News {
        self.news
    }
    pub fn now(&self) -> MonoNs {
        self.stamp.recv
    }
    pub fn wall(&self) -> WallNs {
        self.stamp.wall
    }
    /// The newest book view, also when it is not to be trusted: ask `entries` before acting on it.
    #[inline(always)]
    pub fn book(&self) -> &'a BookView {
        &self.state.book
    }
    /// Since the newest change of the book reached us.
    pub fn book_age(&self) -> SpanNs {
        self.stamp.recv - self.state.book_at
    }
    #[inline(always)]
    pub fn mid(&self) -> Option<Px> {
        self.state.book.mid()
    }
    /// The newest public trades; `None` before the first.
    pub fn trades(&self) -> Option<&'a TradeAgg> {
        (self.state.trades.last > Px::ZERO).then_some(&self.state.trades)
    }
    /// In the strategy's timeframe: at most the debounce interval old, committed bars always in.
    pub fn indicators(&self) -> &'a Indicators {
        &self.indicators[self.primary]
    }
    /// `None` for a timeframe that this run does not build.
    pub fn indicators_in(&self, timeframe: Timeframe) -> Option<&'a Indicators> {
        self.place(timeframe).map(|place| &self.indicators[place])
    }
    /// The bar that forms in the strategy's timeframe, up to the newest trade.
    pub fn forming(&self) -> Option<&'a Forming> {
        self.forming[self.primary].as_ref()
    }
    fn place(&self, timeframe: Timeframe) -> Option<usize> {
        self.timeframes.iter().position(|each| *each == timeframe)
    }
    /// Signed position from own fills; `risk` keeps the one that limits are checked against.
    #[inline(always)]
    pub fn position(&self) -> Qty {
        self.positions.qty(self.symbol)
    }
    /// The position with its average price and P&L.
    pub fn position_row(&self) -> Position {
        self.positions.get(self.symbol)
    }
    /// Book synced, not stale, both sides there: its prices may be acted on.
    #[inline(always)]
    pub fn is_market_good(&self) -> bool {
        let book = &self.state.book;
        self.state.is_synced() && !self.state.stale && book.bid_count > 0 && book.ask_count > 0
    }
    /// Whether new positions may be opened here and now.
    ///
    /// # Errors
    /// The first reason why not; hand it to `Intents::refuse`.
    #[inline]
    pub fn entries(&self) -> Result<(), Refused> {
        if let Some(reason) = self.closed {
            return Err(reason);
        }
        if self.state.paused || self.state.delisted {
            return Err(Refused::TradingPaused);
        }
        if !self.state.is_synced() {
            return Err(Refused::BookUnsynced);
        }
        if !self.is_market_good() {
            return Err(Refused::StaleMarket);
        }
        Ok(())
    }
}
