//! Own trade ids seen, so that `te`, `tu` and REST count each trade once and its fee once.

use super::index::Index;
use crate::base::ids::{SymbolId, TradeId};
use crate::base::limits::TRADE_IDS_MAX;
use crate::base::units::Side;
use crate::model::Fill;

/// What a trade message brings that was not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The trade, with or without its fee.
    New,
    /// The fee of a trade counted before.
    FeeOnly,
    /// Nothing.
    Duplicate,
    /// Older than everything remembered: cannot be told from one counted before, so it is not
    /// counted.
    TooOld,
}

/// One side of a trade: where two own orders meet, both sides are ours under one id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TradeLeg {
    pub trade: TradeId,
    pub symbol: SymbolId,
    pub side: Side,
}
impl TradeLeg {
    pub fn of(fill: &Fill) -> Self {
        Self { trade: fill.trade, symbol: fill.symbol, side: Side::of(fill.qty) }
    }
    /// Ids of two symbols may coincide on an exchange that counts per symbol; 2^47 is far above any
    /// id.
    fn key(self) -> u64 {
        let side = u64::from(self.side == Side::Sell) << 47;
        self.trade.0 ^ side ^ ((u64::from(self.symbol.0) + 1) << 48)
    }
}
const NO_LEG: TradeLeg = TradeLeg { trade: TradeId::NONE, symbol: SymbolId(0), side: Side::Buy };

/// The last `TRADE_IDS_MAX` trades.
pub struct TradeIds {
    index: Index,
    ring: Box<[TradeLeg]>,
    has_fee: Box<[bool]>,
    next: usize,
    /// Largest id forgotten, per symbol.
    floor: Box<[u64]>,
}

const _: () = assert!(TRADE_IDS_MAX <= u16::MAX as usize);

impl TradeIds {
    pub fn new(symbols: usize) -> Self {
        Self {
            index: Index::new(TRADE_IDS_MAX),
            ring: vec![NO_LEG; TRADE_IDS_MAX].into_boxed_slice(),
            has_fee: vec![false; TRADE_IDS_MAX].into_boxed_slice(),
            next: 0,
            floor: vec![0; symbols].into_boxed_slice(),
        }
    }
    /// Whether the trade is remembered.
    pub fn knows(&self, leg: TradeLeg) -> bool {
        self.index.get(leg.key()).is_some()
    }
    /// Remembers the trade and says what is new about it. The symbol is one of the run's table.
    pub fn note(&mut self, leg: TradeLeg, has_fee: bool) -> Seen {
        let key = leg.key();
        if let Some(place) = self.index.get(key) {
            let known = &mut self.has_fee[place as usize];
            let fee_only = has_fee && !*known;
            *known |= has_fee;
            return if fee_only { Seen::FeeOnly } else { Seen::Duplicate };
        }
        if self.floor.get(leg.symbol.index()).is_some_and(|floor| leg.trade.0 <= *floor) {
            return Seen::TooOld;
        }
        let old = self.ring[self.next];
        if old != NO_LEG {
            self.index.remove(old.key());
            if let Some(floor) = self.floor.get_mut(old.symbol.index()) {
                *floor = (*floor).max(old.trade.0);
            }
        }
        self.ring[self.next] = leg;
        self.has_fee[self.next] = has_fee;
        let kept = self.index.insert(key, self.next as u16);
        assert!(kept, "an id that was absent finds a place freed just now");
        self.next = (self.next + 1) % TRADE_IDS_MAX;
        Seen::New
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leg(trade: u64, symbol: u16, side: Side) -> TradeLeg {
        TradeLeg { trade: TradeId(trade), symbol: SymbolId(symbol), side }
    }
    fn bought(trade: u64) -> TradeLeg {
        leg(trade, 0, Side::Buy)
    }

    #[test]
    fn a_trade_counts_once_and_its_fee_once() {
        let mut ids = TradeIds::new(2);
        assert_eq!(ids.note(bought(5), false), Seen::New);
        assert_eq!(ids.note(bought(5), false), Seen::Duplicate);
        assert_eq!(ids.note(bought(5), true), Seen::FeeOnly);
        assert_eq!(ids.note(bought(5), true), Seen::Duplicate);
        let other = leg(5, 1, Side::Buy);
        assert_eq!(ids.note(other, true), Seen::New, "another symbol counts on its own");
        assert_eq!(ids.note(bought(6), true), Seen::New);
        assert_eq!(ids.note(bought(6), false), Seen::Duplicate);
    }

    /// Goal: a trade between two own orders counts for both of them (found by the world: a probe
    /// that took the maker's quote).
    #[test]
    fn both_sides_of_a_trade_with_ourselves_count() {
        let mut ids = TradeIds::new(1);
        assert_eq!(ids.note(bought(5), true), Seen::New);
        assert_eq!(ids.note(leg(5, 0, Side::Sell), true), Seen::New);
        assert_eq!(ids.note(leg(5, 0, Side::Sell), true), Seen::Duplicate);
        assert!(ids.knows(bought(5)));
    }

    #[test]
    fn what_was_forgotten_is_never_counted_again() {
        let mut ids = TradeIds::new(1);
        for id in 1..=TRADE_IDS_MAX as u64 + 10 {
            assert_eq!(ids.note(bought(id), true), Seen::New);
        }
        assert_eq!(ids.note(bought(3), true), Seen::TooOld);
        assert_eq!(ids.note(bought(11), true), Seen::Duplicate);
    }
}
