//! Strategies of your own, by name: one line each. The config says `kind = "custom"` and the name.

use super::{MeanReversion, Strategy};
use crate::base::ids::SymbolId;
use crate::base::units::Qty;

/// Makes one instance for one symbol; `qty` is the config's size of an order, base units.
type Make = fn(SymbolId, Qty) -> Box<dyn Strategy + Send>;

/// Every custom strategy. Yours goes here.
const CUSTOM: [(&str, Make); 1] =
    [("mean-reversion", |symbol, qty| Box::new(MeanReversion { symbol, qty, entry_width: 2.0 }))];

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
