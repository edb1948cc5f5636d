//! The run's instruments by the venue's names: found without hashing a string object or touching
//! the heap.

use crate::base::ids::SymbolId;
use crate::base::limits::SYMBOLS_MAX;
use crate::model::{Instrument, SYMBOL_FOREIGN};

/// Places of the table, a power of two; half of them stay empty, so that runs of collisions are
/// short.
const SLOTS: usize = 1_024;
const _: () = assert!(SLOTS >= SYMBOLS_MAX * 2);
const EMPTY: u16 = u16::MAX;

/// Built once at start, read-only afterwards.
#[derive(Clone)]
pub struct SymbolTable {
    slots: Box<[u16]>,
    instruments: Box<[Instrument]>,
}

impl SymbolTable {
    /// The instruments must stand in the order of their ids: the first has id 0.
    /// Panics on more than `SYMBOLS_MAX` instruments, on ids out of order and on a name given
    /// twice.
    pub fn new(instruments: &[Instrument]) -> Self {
        assert!(instruments.len() <= SYMBOLS_MAX);
        let mut slots = vec![EMPTY; SLOTS].into_boxed_slice();
        for (index, instrument) in instruments.iter().enumerate() {
            assert_eq!(instrument.id.index(), index, "instruments stand in the order of their ids");
            let mut at = slot_of(instrument.name.as_bytes());
            while slots[at] != EMPTY {
                let other = &instruments[slots[at] as usize];
                assert_ne!(other.name, instrument.name, "one row per symbol");
                at = (at + 1) & (SLOTS - 1);
            }
            slots[at] = index as u16;
        }
        Self { slots, instruments: instruments.into() }
    }
    /// The id of a venue name such as `tBTCUSD`; `None` where it is not in the table.
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<SymbolId> {
        let mut at = slot_of(name);
        loop {
            let index = self.slots[at];
            if index == EMPTY {
                return None;
            }
            if self.instruments[index as usize].name.as_bytes() == name {
                return Some(SymbolId(index));
            }
            at = (at + 1) & (SLOTS - 1);
        }
    }
    /// As `find`, with `SYMBOL_FOREIGN` for what is not in the table.
    #[inline]
    pub fn find_or_foreign(&self, name: &[u8]) -> SymbolId {
        self.find(name).unwrap_or(SYMBOL_FOREIGN)
    }
    /// Panics where the id is not of this table.
    #[inline]
    pub fn get(&self, id: SymbolId) -> &Instrument {
        &self.instruments[id.index()]
    }
    /// `None` where the id is not of this table.
    #[inline]
    pub fn try_get(&self, id: SymbolId) -> Option<&Instrument> {
        self.instruments.get(id.index())
    }
    pub fn instruments(&self) -> &[Instrument] {
        &self.instruments
    }
}

/// FNV-1a, folded: names are six to twenty bytes.
#[inline]
fn slot_of(name: &[u8]) -> usize {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for &byte in name {
        hash = (hash ^ byte as u64).wrapping_mul(0x0100_0000_01b3);
    }
    (hash >> 40) as usize & (SLOTS - 1)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::base::units::Qty;
    use crate::model::SymbolName;

    /// A table of these names, for the tests of the room.
    pub(crate) fn table_of(names: &[&str]) -> SymbolTable {
        let rows: Vec<_> = names
            .iter()
            .enumerate()
            .map(|(index, name)| {
                let (base, quote) = Instrument::split_name(name).unwrap();
                Instrument {
                    id: SymbolId(index as u16),
                    name: SymbolName::new(name).unwrap(),
                    base,
                    quote,
                    qty_min: Qty::ZERO,
                    qty_max: Qty::MAX,
                }
            })
            .collect();
        SymbolTable::new(&rows)
    }

    #[test]
    fn every_name_is_found_and_no_other() {
        let names: Vec<String> = (0..SYMBOLS_MAX).map(|n| format!("tA{n:03}:USD")).collect();
        let table = table_of(&names.iter().map(String::as_str).collect::<Vec<_>>());
        for (index, name) in names.iter().enumerate() {
            assert_eq!(table.find(name.as_bytes()), Some(SymbolId(index as u16)));
        }
        for other in ["", "tBTCUSD", "tA000:US", "tA000:USDD", "A000:USD"] {
            assert_eq!(table.find(other.as_bytes()), None);
            assert_eq!(table.find_or_foreign(other.as_bytes()), SYMBOL_FOREIGN);
        }
        assert_eq!(table.get(SymbolId(3)).name.as_str(), "tA003:USD");
        assert!(table.try_get(SYMBOL_FOREIGN).is_none());
    }
}
