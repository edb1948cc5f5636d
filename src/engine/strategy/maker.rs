//! `maker`: one quote a side around the middle, leaning against the inventory. Whole numbers
//! throughout.
//!
//! A book view that moves the middle by less than the threshold costs two compares. What it wants
//! is a state, not an order: the same quote is said again from time to time and after every end of
//! an order, because an order may have been busy, refused or withdrawn when it was said last.

use super::probe::offset_bps_e8;
use super::{MarketView, Needs, News, Refused, Rejection, Rows, Strategy, SymbolSet};
use crate::base::ids::SymbolId;
use crate::base::time::{MonoNs, SpanNs};
use crate::base::units::{Px, Qty};
use crate::engine::strategy::Intents;
use crate::model::{Body, BookView, Event, Level, LinkEvent, OperatorVerb, Reason, Source};

#[derive(Clone, Debug)]
pub struct MakerConfig {
    pub symbols: Vec<SymbolId>,
    /// Base units of one quote.
    pub qty: Qty,
    /// Distance of each quote from the middle, 1e-8 of a basis point.
    pub half_spread_bps_e8: i64,
    /// How far both quotes lean against a full inventory, 1e-8 of a basis point.
    pub skew_bps_e8: i64,
    /// Position at which the side that would add to it is no longer quoted, base units.
    pub inventory_max: Qty,
    /// A quote stays until the wanted price is this far away, 1e-8 of a basis point.
    pub requote_bps_e8: i64,
    /// Shortest time between two requotes of a symbol, ms.
    pub requote_interval_ms: u32,
    /// Longest time before the same quote is said again, ms.
    pub reassert_ms: u32,
    /// Silence after a refused order, ms.
    pub reject_pause_ms: u32,
    /// False for spot: what is not held is not offered.
    pub allow_short: bool,
}
impl Default for MakerConfig {
    fn default() -> Self {
        Self {
            symbols: Vec::new(),
            qty: Qty::ZERO,
            half_spread_bps_e8: 200_000_000,
            skew_bps_e8: 200_000_000,
            inventory_max: Qty::ZERO,
            requote_bps_e8: 100_000_000,
            requote_interval_ms: 1_500,
            reassert_ms: 3_000,
            reject_pause_ms: 2_000,
            allow_short: true,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Row {
    bid: Level,
    ask: Level,
    /// Where the middle may be without a thought, exclusive; empty = look again.
    calm: (i64, i64),
    /// No intent before this.
    next_at: MonoNs,
    /// The quote is said again then.
    reassert_at: MonoNs,
    /// Quotes are said to the engine.
    is_live: bool,
}
const IDLE: Row = Row {
    bid: Level { px: Px::ZERO, qty: Qty::ZERO },
    ask: Level { px: Px::ZERO, qty: Qty::ZERO },
    calm: (0, 0),
    next_at: MonoNs(0),
    reassert_at: MonoNs(0),
    is_live: false,
};

pub struct Maker {
    config: MakerConfig,
    rows: Rows<Row>,
}

impl Maker {
    pub fn new(config: MakerConfig) -> Self {
        Self { rows: Rows::new(&config.symbols, IDLE), config }
    }

    /// Both quotes for a book and an inventory. Post-only: a side never reaches the other side's
    /// touch.
    fn wanted(&self, mid: Px, book: &BookView, held: Qty) -> (Level, Level) {
        let config = &self.config;
        let half = offset_bps_e8(mid, config.half_spread_bps_e8);
        let limit = config.inventory_max.raw().max(1);
        let filled = held.raw().clamp(-limit, limit);
        let lean = i128::from(offset_bps_e8(mid, config.skew_bps_e8)) * i128::from(filled);
        let centre = mid.raw().saturating_sub((lean / i128::from(limit)) as i64);
        let (touch_bid, touch_ask) = (book.bids[0].px, book.asks[0].px);
        let bid_max = touch_ask.raw() - touch_ask.tick().raw();
        let ask_min = touch_bid.raw() + touch_bid.tick().raw();
        let bid = Px::from_raw(centre.saturating_sub(half).min(bid_max)).floor_to_tick();
        let ask = Px::from_raw(centre.saturating_add(half).max(ask_min)).ceil_to_tick();
        let room = config.inventory_max.saturating_sub(held);
        let offer =
            if config.allow_short { config.inventory_max.saturating_add(held) } else { held };
        let sized = |room: Qty, px: Px| {
            if px > Px::ZERO { config.qty.min(room).max(Qty::ZERO) } else { Qty::ZERO }
        };
        (Level { px: bid, qty: sized(room, bid) }, Level { px: ask, qty: sized(offer, ask) })
    }

    /// Not on the way of a calm book view.
    #[cold]
    fn consider(&mut self, view: &MarketView<'_>, out: &mut Intents) {
        let symbol = view.symbol();
        let book = view.book();
        let (now, interval) = (view.now(), i64::from(self.config.requote_interval_ms));
        let Some(row) = self.rows.get_mut(symbol) else { return };
        if now < row.next_at {
            out.wake_at(row.next_at);
            return;
        }
        let next_at = now + SpanNs::from_ms(interval.max(1));
        let refusal = view.entries().err();
        let (Some(mid), None) = (view.mid(), refusal) else {
            out.refuse(refusal.unwrap_or(Refused::StaleMarket));
            // Looked at again with the next book view, but refused and counted once an interval.
            (row.is_live, row.calm, row.next_at) = (false, (0, 0), next_at);
            return;
        };
        let held = view.position();
        let (bid, ask) = self.wanted(mid, book, held);
        let threshold = offset_bps_e8(mid, self.config.requote_bps_e8).max(1);
        let Some(row) = self.rows.get_mut(symbol) else { return };
        // How far the wanted price is from the quoted one; a side that is not quoted is never far.
        let off = |old: Level, new: Level| match (old.qty.is_zero(), new.qty.is_zero()) {
            (true, true) => 0,
            (false, false) => new.px.raw() - old.px.raw(),
            _ => i64::MAX,
        };
        let (bid_off, ask_off) = (off(row.bid, bid), off(row.ask, ask));
        let (low, high) = (bid_off.min(ask_off), bid_off.max(ask_off));
        // A side that would take now must move, however near it is.
        let crosses = row.bid.px >= book.asks[0].px || row.ask.px <= book.bids[0].px;
        let moved = !row.is_live || crosses || low <= -threshold || high >= threshold;
        if !moved {
            // The wanted prices move with the middle: what is left of the threshold on each way.
            row.calm = (mid.raw() - threshold - low, mid.raw() + threshold - high);
            if now < row.reassert_at {
                out.wake_at(row.reassert_at);
                return;
            }
        }
        let (bid, ask) = if moved {
            (bid, ask)
        } else {
            // The same prices again, with the size that the inventory allows now.
            (Level { px: row.bid.px, ..bid }, Level { px: row.ask.px, ..ask })
        };
        let reason = match (row.is_live, held.is_zero()) {
            (false, _) => Reason::Quote,
            (true, true) => Reason::Requote,
            (true, false) => Reason::InventorySkew,
        };
        row.next_at = next_at;
        if out.quote(symbol, bid, ask, reason) {
            if moved {
                row.calm = (mid.raw() - threshold, mid.raw() + threshold);
            }
            (row.bid, row.ask, row.is_live) = (bid, ask, true);
            let reassert = i64::from(self.config.reassert_ms).max(interval);
            row.reassert_at = now + SpanNs::from_ms(reassert);
            out.wake_at(row.reassert_at);
        } else {
            out.wake_at(row.next_at);
        }
    }
    fn forget_all(&mut self) {
        self.rows.iter_mut().for_each(|row| *row = IDLE);
    }
}

impl Strategy for Maker {
    fn name(&self) -> &'static str {
        "maker"
    }
    fn needs(&self) -> Needs {
        Needs {
            symbols: SymbolSet::of(&self.config.symbols),
            news: News::BOOK.with(News::TIMER).with(News::PRIVATE),
            timeframe: None,
            warmup_bars: 0,
            orders_per_s_max: 1_000,
        }
    }
    #[inline]
    fn on_event(&mut self, event: &Event, view: &MarketView<'_>, out: &mut Intents) {
        let Some(row) = self.rows.get_mut(view.symbol()) else { return };
        match &event.body {
            Body::Book(book) => {
                // A middle in halves of 1e-8 is exact enough: the band is thousands wide.
                let mid = (book.bids[0].px.raw() >> 1) + (book.asks[0].px.raw() >> 1);
                if mid > row.calm.0 && mid < row.calm.1 && view.now() < row.reassert_at {
                    return;
                }
            }
            Body::Fill(_) => row.calm = (0, 0),
            // An end: filled, refused, withdrawn or replaced. Say what is wanted again.
            Body::Order(order) if order.source == Source::Closed => row.reassert_at = MonoNs(0),
            Body::Order(_) | Body::Ack(_) | Body::Report(_) | Body::Position(_) => return,
            _ => {}
        }
        self.consider(view, out);
    }
    /// Quotes on a book that is not known are gifts: both are withdrawn at once.
    fn on_stale(&mut self, _: &Event, view: &MarketView<'_>, out: &mut Intents) {
        if let Some(row) = self.rows.get_mut(view.symbol()) {
            let reason = if view.book().synced { Reason::StaleData } else { Reason::Unsynced };
            out.cancel(view.symbol(), reason);
            *row = IDLE;
        }
    }
    fn on_disconnect(&mut self, _: &LinkEvent, _: &mut Intents) {
        self.forget_all();
    }
    fn on_reject(&mut self, rejection: &Rejection, view: &MarketView<'_>, out: &mut Intents) {
        if let Some(row) = self.rows.get_mut(rejection.symbol) {
            out.refuse(Refused::RejectPause);
            row.calm = (0, 0);
            row.is_live = false;
            row.next_at = view.now() + SpanNs::from_ms(i64::from(self.config.reject_pause_ms));
            out.wake_at(row.next_at);
        }
    }
    fn on_kill(&mut self, _: OperatorVerb, _: &mut Intents) {
        self.forget_all();
    }
}
