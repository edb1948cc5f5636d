//! The risk stage's memory between runs, kept as a run keeps it: each record in two places that are
//! written in turn, each under its checksum, so that one is whole whenever the process dies.

use crate::base::rng::Rng;
use crate::engine::risk::{AccountMemory, RiskJournal, RiskMemory, SymbolMemory};
use parking_lot::Mutex;
use std::sync::Arc;

#[derive(Clone, Debug, Default)]
struct Place {
    sum: u32,
    version: u64,
    bytes: Vec<u8>,
}
impl Place {
    fn is_whole(&self) -> bool {
        self.version > 0 && crc32fast::hash(&self.bytes) == self.sum
    }
}

/// One record: of two whole places the newer holds.
#[derive(Clone, Debug, Default)]
struct Record([Place; 2]);
impl Record {
    fn write(&mut self, bytes: Vec<u8>) {
        let version = self.0[0].version.max(self.0[1].version) + 1;
        let older = usize::from(self.0[0].version > self.0[1].version);
        self.0[older] = Place { sum: crc32fast::hash(&bytes), version, bytes };
    }
    /// A run begins with a file made anew from what it has read: one whole place a record.
    fn renew(&mut self) {
        let bytes = self.read().map(<[u8]>::to_vec);
        *self = Record::default();
        if let Some(bytes) = bytes {
            self.write(bytes);
        }
    }
    fn read(&self) -> Option<&[u8]> {
        let whole = self.0.iter().filter(|place| place.is_whole());
        whole.max_by_key(|place| place.version).map(|place| place.bytes.as_slice())
    }
    /// The place that is written next is spoiled: what a death in the middle of a write leaves, or
    /// a bit that flips.
    fn spoil(&mut self, rng: &mut Rng) -> bool {
        let older = usize::from(self.0[0].version > self.0[1].version);
        let place = &mut self.0[older];
        if place.bytes.is_empty() {
            return false;
        }
        let at = rng.below(place.bytes.len() as u64) as usize;
        place.bytes[at] ^= 1 << rng.below(8);
        place.version += 2; // nor can its version be trusted
        true
    }
}

#[derive(Debug, Default)]
struct Records {
    account: Record,
    symbols: Vec<Record>,
}

/// The file, shared by the run that writes it and by the world.
#[derive(Clone, Debug, Default)]
pub struct MemoryFile(Arc<Mutex<Records>>);

impl MemoryFile {
    /// What the next run finds; `None` = nothing was ever written.
    pub fn read(&self) -> Option<RiskMemory> {
        let records = self.0.lock();
        let account: AccountMemory = postcard::from_bytes(records.account.read()?).ok()?;
        let row = |record: &Record| postcard::from_bytes::<SymbolMemory>(record.read()?).ok();
        let symbols = records.symbols.iter().filter_map(row).collect();
        Some(RiskMemory { account, symbols })
    }
    /// The file of the next run, made from what it finds.
    pub fn renew(&self) {
        let mut records = self.0.lock();
        records.account.renew();
        records.symbols.iter_mut().for_each(Record::renew);
    }
    /// Spoils the older place of every record. False where there was nothing yet.
    pub fn spoil(&self, rng: &mut Rng) -> bool {
        let mut records = self.0.lock();
        let mut any = records.account.spoil(rng);
        for record in &mut records.symbols {
            any |= record.spoil(rng);
        }
        any
    }
}

impl RiskJournal for MemoryFile {
    fn keep_account(&mut self, account: &AccountMemory) {
        let bytes = postcard::to_stdvec(account).expect("plain data");
        self.0.lock().account.write(bytes);
    }
    fn keep_symbol(&mut self, row: usize, symbol: &SymbolMemory) {
        let bytes = postcard::to_stdvec(symbol).expect("plain data");
        let symbols = &mut self.0.lock().symbols;
        if symbols.len() <= row {
            symbols.resize(row + 1, Record::default());
        }
        symbols[row].write(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spoiled_older_place_changes_nothing() {
        let mut file = MemoryFile::default();
        let mut rng = Rng::new(5);
        assert!(file.read().is_none());
        for killed in [false, true, false, true] {
            file.keep_account(&AccountMemory { killed, trades_day: 7, ..Default::default() });
            file.keep_symbol(1, &SymbolMemory { trades_day: 3, ..Default::default() });
            file.spoil(&mut rng);
            let memory = file.read().expect("was written");
            assert_eq!((memory.account.killed, memory.account.trades_day), (killed, 7));
            assert_eq!(memory.symbols.last().map(|row| row.trades_day), Some(3));
        }
        // Two runs that die without having written anything lose nothing to it.
        for _ in 0..3 {
            file.renew();
            file.spoil(&mut rng);
            assert_eq!(file.read().map(|memory| memory.account.trades_day), Some(7));
        }
    }
}
