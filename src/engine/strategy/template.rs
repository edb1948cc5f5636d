//! A template for your own strategy; STRATEGY.md walks through it. It buys when the price stands
//! far under the middle Bollinger band, sells when it is back there, and keeps nothing between two
//! calls.

use super::{Intents, MarketView, Needs, News, Rejection, Strategy, SymbolSet};
use crate::base::ids::SymbolId;
use crate::base::units::{Px, Qty};
use crate::model::{Event, LinkEvent, OperatorVerb, Reason, Timeframe, Urgency};

pub struct MeanReversion {
    pub symbol: SymbolId,
    /// Base units.
    pub qty: Qty,
    /// Deviations under the middle at which it buys.
    pub entry_width: f64,
}

impl Strategy for MeanReversion {
    fn name(&self) -> &'static str {
        "mean-reversion"
    }
    fn needs(&self) -> Needs {
        Needs {
            symbols: SymbolSet::of(&[self.symbol]),
            news: News::BAR,
            timeframe: Some(Timeframe::M1),
            warmup_bars: 20,
            orders_per_s_max: 2,
        }
    }
    fn on_event(&mut self, _: &Event, view: &MarketView<'_>, out: &mut Intents) {
        let indicators = view.indicators();
        let Some(bands) = indicators.bollinger else { return };
        let (price, take) = (indicators.price, (Px::ZERO, Urgency::Take));
        if view.position().is_zero() && price < bands.at(-self.entry_width) {
            match view.entries() {
                Ok(()) => _ = out.target(self.symbol, self.qty, take, Reason::Custom),
                Err(reason) => out.refuse(reason),
            }
        } else if view.position() > Qty::ZERO && price >= bands.middle {
            out.target(self.symbol, Qty::ZERO, take, Reason::Custom);
        }
    }
    fn on_stale(&mut self, _: &Event, _: &MarketView<'_>, _: &mut Intents) {}
    fn on_disconnect(&mut self, _: &LinkEvent, _: &mut Intents) {}
    fn on_reject(&mut self, _: &Rejection, _: &MarketView<'_>, _: &mut Intents) {}
    fn on_kill(&mut self, _: OperatorVerb, _: &mut Intents) {}
}
