//! Own trade ids seen, so that `te`, `tu` and REST count each trade once and its fee once.

use super::index::Index;
use crate::base::ids::{SymbolId, TradeId};
use crate::base::limits::TRADE_IDS_MAX;

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

/// The last `TRADE_IDS_MAX` trades.
pub struct TradeIds {
    index: Index,
    ring: Box<[(u64, SymbolId)]>,
    has_fee: Box<[bool]>,
    next: usize,
    /// Largest id forgotten, per symbol.
    floor: Box<[u64]>,
}

const _: () = assert!(TRADE_IDS_MAX <= u16::MAX as usize);

/// Ids of two symbols may coincide on an exchange that counts per symbol; 2^48 is far above any id.
fn key_of(trade: TradeId, symbol: SymbolId) -> u64 {
    trade.0 ^ ((u64::from(symbol.0) + 1) << 48)
}

impl TradeIds {
    pub fn new(symbols: usize) -> Self {
        Self {
            index: Index::new(TRADE_IDS_MAX),
            ring: vec![(0, SymbolId(0)); TRADE_IDS_MAX].into_boxed_slice(),
            has_fee: vec![false; TRADE_IDS_MAX].into_boxed_slice(),
            next: 0,
            floor: vec![0; symbols].into_boxed_slice(),
        }
    }
    /// Whether the trade is remembered.
    pub fn knows(&self, trade: TradeId, symbol: SymbolId) -> bool {
        self.index.get(key_of(trade, symbol)).is_some()
    }
    /// Remembers the trade and says what is new about it. The symbol is one of the run's table.
    pub fn note(&mut self, trade: TradeId, symbol: SymbolId, has_fee: bool) -> Seen {
        let key = key_of(trade, symbol);
        if let Some(place) = self.index.get(key) {
            let known = &mut self.has_fee[place as usize];
            let fee_only = has_fee && !*known;
            *known |= has_fee;
            return if fee_only { Seen::FeeOnly } else { Seen::Duplicate };
        }
        if self.floor.get(symbol.index()).is_some_and(|floor| trade.0 <= *floor) {
            return Seen::TooOld;
        }
        let (old, old_symbol) = self.ring[self.next];
        if old != 0 {
            self.index.remove(key_of(TradeId(old), old_symbol));
            if let Some(floor) = self.floor.get_mut(old_symbol.index()) {
                *floor = (*floor).max(old);
            }
        }
        self.ring[self.next] = (trade.0, symbol);
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

    #[test]
    fn a_trade_counts_once_and_its_fee_once() {
        let mut ids = TradeIds::new(2);
        let (t, s) = (TradeId(5), SymbolId(0));
        assert_eq!(ids.note(t, s, false), Seen::New);
        assert_eq!(ids.note(t, s, false), Seen::Duplicate);
        assert_eq!(ids.note(t, s, true), Seen::FeeOnly);
        assert_eq!(ids.note(t, s, true), Seen::Duplicate);
        assert_eq!(ids.note(t, SymbolId(1), true), Seen::New, "another symbol counts on its own");
        assert_eq!(ids.note(TradeId(6), s, true), Seen::New);
        assert_eq!(ids.note(TradeId(6), s, false), Seen::Duplicate);
    }

    #[test]
    fn what_was_forgotten_is_never_counted_again() {
        let mut ids = TradeIds::new(1);
        for id in 1..=TRADE_IDS_MAX as u64 + 10 {
            assert_eq!(ids.note(TradeId(id), SymbolId(0), true), Seen::New);
        }
        assert_eq!(ids.note(TradeId(3), SymbolId(0), true), Seen::TooOld);
        assert_eq!(ids.note(TradeId(11), SymbolId(0), true), Seen::Duplicate);
    }
}
