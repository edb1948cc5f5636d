//! What survives `kill -9`: write-ahead records, the mark of client ids, the mark of nonces.

use super::memory::MemoryFile;
use crate::base::ids::Cid;
use crate::base::rng::Rng;
use crate::line::send::{WAL_RECORD_SIZE, WriteAhead};

/// One slot: the record under its checksum.
#[derive(Clone, Copy, Debug)]
struct Slot {
    sum: u32,
    record: [u8; WAL_RECORD_SIZE],
}

/// The disk of one engine host.
#[derive(Debug, Default)]
pub struct Disk {
    slots: Vec<Slot>,
    pub is_full: bool,
    /// Skips the record but says it was kept (a canary).
    forgets: bool,
    /// Highest client id that may have been used, as the run keeps it ahead.
    pub cid_mark: u64,
    /// Highest nonce that was given out.
    pub nonce_mark: u64,
    /// What the risk stage must not forget.
    pub memory: MemoryFile,
}

/// Places of a record's order: version, kind, class, reason, strategy, symbol, seq, wall, cid.
const CID_AT: usize = 5 + 2 + 8 + 8;

impl WriteAhead for Disk {
    fn keep(&mut self, record: &[u8; WAL_RECORD_SIZE]) -> bool {
        if self.is_full {
            return false;
        }
        if !self.forgets {
            self.slots.push(Slot { sum: crc32fast::hash(record), record: *record });
        }
        true
    }
}

impl Disk {
    /// An empty disk; `forgets` = it loses what it says it keeps.
    pub fn new(forgets: bool) -> Disk {
        Disk { forgets, ..Disk::default() }
    }
    /// Whether a new order or a replacement with this client id has been recorded; looks at the
    /// newest `among` records.
    pub fn has_order(&self, cid: Cid, among: usize) -> bool {
        let newest = self.slots.iter().rev().take(among);
        newest.filter(|slot| matches!(slot.record[1], 1 | 4)).any(|slot| cid_of(slot) == cid.0)
    }
    /// The last record is torn: half of it never reached the disk.
    pub fn tear(&mut self) -> bool {
        let Some(slot) = self.slots.last_mut() else { return false };
        slot.record[WAL_RECORD_SIZE / 4..].fill(0);
        true
    }
    /// A bit of any record flips, and one in the older place of each record of the risk state.
    /// False where there was nothing to spoil.
    pub fn flip(&mut self, rng: &mut Rng) -> bool {
        let spoilt = self.memory.spoil(rng);
        if self.slots.is_empty() {
            return spoilt;
        }
        let slot = rng.below(self.slots.len() as u64) as usize;
        let byte = rng.below(WAL_RECORD_SIZE as u64) as usize;
        self.slots[slot].record[byte] ^= 1 << rng.below(8);
        true
    }
    /// What a new run reads: records up to the first that does not hold. Returns the highest client
    /// id among them.
    pub fn recover(&mut self) -> u64 {
        let good = self.slots.iter().take_while(|slot| crc32fast::hash(&slot.record) == slot.sum);
        let count = good.count();
        self.slots.truncate(count);
        let orders = self.slots.iter().filter(|slot| matches!(slot.record[1], 1 | 4));
        orders.map(cid_of).max().unwrap_or(0)
    }
}

fn cid_of(slot: &Slot) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&slot.record[CID_AT..CID_AT + 8]);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::{StrategyId, SymbolId};
    use crate::base::time::MonoNs;
    use crate::base::time::WallNs;
    use crate::base::units::{Px, Qty};
    use crate::line::send::wal_record;
    use crate::model::{
        Action, Class, Command, NewOrder, OrderFlags, OrderKind, Reason, Stamp, Trace, WalletKind,
    };

    fn order(cid: u64) -> Command {
        let new = NewOrder {
            cid: Cid(cid),
            cid_day: WallNs(0),
            kind: OrderKind::Limit,
            wallet: WalletKind::Margin,
            qty: Qty::from_whole(1),
            px: Px::from_whole(1),
            px_aux: Px::ZERO,
            flags: OrderFlags::NONE,
            leverage: 0,
        };
        Command {
            stamp: Stamp { seq: 1, recv: MonoNs(0), wall: WallNs(0) },
            trace: Trace::default(),
            strategy: StrategyId(0),
            symbol: SymbolId(0),
            class: Class::Entry,
            reason: Reason::Quote,
            action: Action::New(new),
        }
    }

    #[test]
    fn a_torn_record_ends_the_log_and_a_full_disk_keeps_nothing() {
        let mut disk = Disk::default();
        assert!(disk.keep(&wal_record(&order(41))));
        assert!(disk.keep(&wal_record(&order(42))));
        assert!(disk.has_order(Cid(41), 2) && !disk.has_order(Cid(41), 1));
        let mut flipped = Disk { slots: disk.slots.clone(), ..Disk::default() };
        assert!(flipped.flip(&mut Rng::new(3)));
        flipped.recover();
        assert!(flipped.slots.len() < 2, "a flipped record ends the log");
        assert!(disk.tear());
        assert_eq!(disk.recover(), 41);
        assert_eq!(disk.slots.len(), 1);
        disk.is_full = true;
        assert!(!disk.keep(&wal_record(&order(43))));
        assert_eq!(disk.slots.len(), 1);
    }
}
