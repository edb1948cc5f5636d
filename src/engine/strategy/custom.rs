//! Strategies of your own, by name: one line each. The config says `kind = "custom"` and the name.

use super::{
    Intents, MarketView, MeanReversion, Needs, News, Refused, Rejection, Strategy, SymbolSet,
};
use crate::base::ids::SymbolId;
use crate::base::units::Qty;
use crate::model::{Event, LinkEvent, OperatorVerb};

/// Makes one instance for one symbol; `qty` is the config's size of an order, base units.
type Make = fn(SymbolId, Qty) -> Box<dyn Strategy + Send>;

/// Every custom strategy. Yours goes here.
const CUSTOM: [(&str, Make); 2] = [
    ("mean-reversion", |symbol, qty| Box::new(MeanReversion { symbol, qty, entry_width: 2.0 })),
    (HANGS, |symbol, _| Box::new(Hangs { symbol })),
];

/// Name of the strategy that hangs once trading is paused: for drills, never at a real venue.
pub const HANGS: &str = "drill-hangs";

/// Does nothing until trading is paused: then it never comes back from the next change of its book.
/// So a kill can be practised with the line stuck in somebody's loop.
struct Hangs {
    symbol: SymbolId,
}
impl Strategy for Hangs {
    fn name(&self) -> &'static str {
        HANGS
    }
    fn needs(&self) -> Needs {
        Needs {
            symbols: SymbolSet::of(&[self.symbol]),
            news: News::BOOK,
            timeframe: None,
            warmup_bars: 0,
            orders_per_s_max: 1,
        }
    }
    fn on_event(&mut self, _: &Event, view: &MarketView<'_>, _: &mut Intents) {
        while view.entries() == Err(Refused::TradingPaused) {
            std::hint::spin_loop();
        }
    }
    fn on_stale(&mut self, _: &Event, _: &MarketView<'_>, _: &mut Intents) {}
    fn on_disconnect(&mut self, _: &LinkEvent, _: &mut Intents) {}
    fn on_reject(&mut self, _: &Rejection, _: &MarketView<'_>, _: &mut Intents) {}
    fn on_kill(&mut self, _: OperatorVerb, _: &mut Intents) {}
}

/// Names of all custom strategies, as in the config.
pub fn custom_names() -> impl Iterator<Item = &'static str> {
    CUSTOM.iter().map(|(name, _)| *name)
}

/// `None` where no strategy has this name.
pub fn custom(name: &str, symbol: SymbolId, qty: Qty) -> Option<Box<dyn Strategy + Send>> {
    CUSTOM.iter().find(|(known, _)| *known == name).map(|(_, make)| make(symbol, qty))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_makes_its_strategy_and_says_it() {
        for name in custom_names() {
            let strategy = custom(name, SymbolId(3), Qty::from_whole(1)).unwrap();
            assert_eq!(strategy.name(), name);
            assert!(strategy.needs().symbols.has(SymbolId(3)));
        }
        assert!(custom("no-such", SymbolId(0), Qty::from_whole(1)).is_none());
    }
}
