//! `probe`: one order per trigger, to measure latency. A trigger is every n-th change of a book.

use super::{MarketView, Needs, News, Refused, Rejection, Rows, Strategy, SymbolSet};
use crate::base::ids::SymbolId;
use crate::base::time::{MonoNs, SpanNs};
use crate::base::units::{Px, Qty};
use crate::engine::strategy::Intents;
use crate::model::{Body, Bracket, Event, Guarded, LinkEvent, OperatorVerb, Reason, Urgency};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeStyle {
    /// Post-only, away from the touch, cancelled after a while; one at a time.
    Rest,
    /// Takes, buying and selling in turn.
    Take,
}

#[derive(Clone, Debug)]
pub struct ProbeConfig {
    pub symbols: Vec<SymbolId>,
    /// Book changes per order, from 1 on; merged changes count as many.
    pub every_changes: u32,
    pub style: ProbeStyle,
    /// Base units of one order.
    pub qty: Qty,
    /// How far from the touch a resting probe stands, 1e-8 of a basis point.
    pub distance_bps_e8: i64,
    /// Distances of a stop and a target from what a taking probe holds, 1e-8 of a basis point; 0 =
    /// none.
    pub stop_bps_e8: i64,
    pub target_bps_e8: i64,
    /// How long a resting probe lives, ms.
    pub hold_ms: u32,
    /// Declared rate, orders a second.
    pub orders_per_s_max: u32,
}
impl Default for ProbeConfig {
    fn default() -> Self {
        Self {
            symbols: Vec::new(),
            every_changes: 100,
            style: ProbeStyle::Rest,
            qty: Qty::ZERO,
            distance_bps_e8: 50 * 100_000_000,
            stop_bps_e8: 0,
            target_bps_e8: 0,
            hold_ms: 500,
            orders_per_s_max: 100_000,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Row {
    changes: u32,
    buys: bool,
    /// The resting probe is to be cancelled then.
    cancel_at: Option<MonoNs>,
}

pub struct Probe {
    config: ProbeConfig,
    rows: Rows<Row>,
}

/// `px` moved by a distance in 1e-8 of a basis point.
#[inline]
pub(super) fn offset_bps_e8(px: Px, bps_e8: i64) -> i64 {
    let wide = i128::from(px.raw()) * i128::from(bps_e8) / 1_000_000_000_000;
    wide.clamp(i128::from(-i64::MAX), i128::from(i64::MAX)) as i64
}

impl Probe {
    pub fn new(config: ProbeConfig) -> Self {
        let row = Row { changes: 0, buys: true, cancel_at: None };
        Self { rows: Rows::new(&config.symbols, row), config }
    }
}

impl Strategy for Probe {
    fn name(&self) -> &'static str {
        "probe"
    }
    fn needs(&self) -> Needs {
        Needs {
            symbols: SymbolSet::of(&self.config.symbols),
            news: News::BOOK.with(News::TIMER),
            timeframe: None,
            warmup_bars: 0,
            orders_per_s_max: self.config.orders_per_s_max,
        }
    }

    #[inline]
    fn on_event(&mut self, event: &Event, view: &MarketView<'_>, out: &mut Intents) {
        let symbol = view.symbol();
        let Some(row) = self.rows.get_mut(symbol) else { return };
        if let Some(at) = row.cancel_at {
            if view.now() < at {
                if view.news().has(News::TIMER) {
                    out.wake_at(at); // woken for somebody else's time
                }
                return;
            }
            row.cancel_at = None;
            row.changes = 0;
            out.cancel(symbol, Reason::Probe);
            return;
        }
        let Body::Book(book) = &event.body else { return };
        row.changes = row.changes.saturating_add(u32::from(book.updates.max(1)));
        if row.changes < self.config.every_changes {
            return;
        }
        row.changes = 0;
        if let Err(reason) = view.entries() {
            out.refuse(reason);
            return;
        }
        let (Some(bid), Some(ask)) = (book.bid(), book.ask()) else {
            out.refuse(Refused::StaleMarket);
            return;
        };
        let qty = if row.buys { self.config.qty } else { -self.config.qty };
        let (price, urgency) = match self.config.style {
            ProbeStyle::Take => (Px::ZERO, Urgency::Take),
            ProbeStyle::Rest => {
                let touch = if row.buys { bid.px } else { ask.px };
                let away = offset_bps_e8(touch, self.config.distance_bps_e8);
                let away = if row.buys { -away } else { away };
                (Px::from_raw(touch.raw().saturating_add(away)), Urgency::Passive)
            }
        };
        if out.once(symbol, qty, (price, urgency), false, Reason::Probe) {
            let config = &self.config;
            if config.stop_bps_e8 > 0 || config.target_bps_e8 > 0 {
                let away = |bps_e8| match offset_bps_e8(bid.px, bps_e8) {
                    0 => Guarded::Off,
                    far => Guarded::Away(Px::from_raw(far)),
                };
                let (target, stop) = (away(config.target_bps_e8), away(config.stop_bps_e8));
                out.protected_by(Bracket { target, stop });
            }
            row.buys = !row.buys;
            if self.config.style == ProbeStyle::Rest {
                let at = view.now() + SpanNs::from_ms(i64::from(self.config.hold_ms));
                row.cancel_at = Some(at);
                out.wake_at(at);
            }
        }
    }
    /// A resting probe says nothing about the market: it is withdrawn.
    fn on_stale(&mut self, _: &Event, view: &MarketView<'_>, out: &mut Intents) {
        if let Some(row) = self.rows.get_mut(view.symbol())
            && row.cancel_at.take().is_some()
        {
            out.cancel(view.symbol(), Reason::StaleData);
        }
    }
    fn on_disconnect(&mut self, _: &LinkEvent, _: &mut Intents) {
        self.rows.iter_mut().for_each(|row| (row.changes, row.cancel_at) = (0, None));
    }
    /// The next trigger tries again.
    fn on_reject(&mut self, rejection: &Rejection, _: &MarketView<'_>, _: &mut Intents) {
        if let Some(row) = self.rows.get_mut(rejection.symbol) {
            (row.changes, row.cancel_at) = (0, None);
        }
    }
    fn on_kill(&mut self, _: OperatorVerb, _: &mut Intents) {
        self.rows.iter_mut().for_each(|row| (row.changes, row.cancel_at) = (0, None));
    }
}
