//! Client ids: sequential, below 2^45, made before the first send, never used twice.

use crate::base::ids::Cid;
use crate::base::limits::CID_MAX;
use crate::base::time::{DAY_NS, WallNs};

/// Gives out client ids: `max(last + 1, milliseconds now)`. Because they only ever rise, one is
/// unique on its UTC day and on every other.
#[derive(Clone, Copy, Debug)]
pub struct CidSource {
    first: u64,
    last: u64,
}

impl CidSource {
    /// `used` is the highest id that any earlier run may have sent, 0 if none.
    pub fn new(used: Cid) -> Self {
        Self { first: 0, last: used.0 }
    }
    /// The next id and the midnight of its UTC day. `None` when the space of 45 bits is used up.
    pub fn next(&mut self, wall: WallNs) -> Option<(Cid, WallNs)> {
        let now = u64::try_from(wall.as_ms()).unwrap_or(0);
        let cid = now.max(self.last.checked_add(1)?);
        if cid > CID_MAX {
            return None;
        }
        self.last = cid;
        if self.first == 0 {
            self.first = cid;
        }
        Some((Cid(cid), WallNs(wall.utc_day() * DAY_NS)))
    }
    /// The last id given out, or the one the run started from.
    pub fn last(&self) -> Cid {
        Cid(self.last)
    }
    /// Whether this run has given it out, or may have: it lies between the first and the last.
    pub fn is_ours(&self, cid: Cid) -> bool {
        self.first != 0 && cid.0 >= self.first && cid.0 <= self.last
    }
}

/// How far a run keeps its mark ahead of the ids it gives out. Ids follow the clock's milliseconds,
/// so this is a quarter of an hour; 2^45 ids last for 1,100 years of it.
pub const BLOCK_IDS: u64 = 1_000_000;

/// Keeps the ids of several runs apart: a mark that is above every id given out is stored before
/// they are. The file is the caller's. The clock alone would not do: it may have stepped back
/// between two runs, and then orders of the earlier run would pass for forgotten ones of this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CidBlock {
    used: u64,
    until: u64,
}

impl CidBlock {
    /// The block behind `stored`, the mark of the last run (0 = none), and the mark to store now.
    pub fn take(stored: u64, wall: WallNs) -> (Self, u64) {
        let now = u64::try_from(wall.as_ms()).unwrap_or(0);
        let until = (stored.max(now) + BLOCK_IDS).min(CID_MAX);
        (Self { used: stored, until }, until)
    }
    /// Highest id of any earlier run.
    pub const fn used(&self) -> u64 {
        self.used
    }
    /// The mark to store, once `last` has used half of what is left.
    pub fn keep_ahead(&mut self, last: Cid) -> Option<u64> {
        if last.0 + BLOCK_IDS / 2 <= self.until {
            return None;
        }
        self.until = (self.until.max(last.0) + BLOCK_IDS).min(CID_MAX);
        Some(self.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_rise_whatever_the_clock_does() {
        let mut cids = CidSource::new(Cid(0));
        let day = WallNs::from_ms(1_700_000_000_000);
        let (a, midnight) = cids.next(day).unwrap();
        assert_eq!(a, Cid(1_700_000_000_000));
        assert_eq!(midnight.as_ms(), 1_699_920_000_000);
        assert_eq!(cids.next(day).unwrap().0, Cid(a.0 + 1));
        assert_eq!(cids.next(WallNs::from_ms(5)).unwrap().0, Cid(a.0 + 2), "clock stepped back");
        assert!(cids.is_ours(a));
        assert!(!cids.is_ours(Cid(a.0 - 1)));
        assert!(!cids.is_ours(Cid(a.0 + 3)));
    }

    /// Goal: whatever the clock does between two runs, ids rise (found by the world: a clock that
    /// stepped back before a restart).
    #[test]
    fn a_run_begins_above_every_id_of_the_run_before_it() {
        let at = WallNs::from_ms(1_700_000_000_000);
        let (mut first, mark) = CidBlock::take(0, at);
        let mut cids = CidSource::new(Cid(first.used()));
        let last = cids.next(at).unwrap().0;
        assert!(last.0 < mark && first.keep_ahead(last).is_none());
        let later = Cid(last.0 + BLOCK_IDS);
        let mark = first.keep_ahead(later).unwrap();
        assert!(later.0 < mark);
        let back = WallNs::from_ms(at.as_ms() - 10_000);
        let (second, next_mark) = CidBlock::take(mark, back);
        assert!(next_mark > mark);
        assert!(CidSource::new(Cid(second.used())).next(back).unwrap().0 > later);
    }

    #[test]
    fn a_restart_goes_on_above_what_was_used() {
        let mut cids = CidSource::new(Cid(1_800_000_000_000));
        assert!(!cids.is_ours(Cid(1_800_000_000_000)));
        let (next, _) = cids.next(WallNs::from_ms(1_700_000_000_000)).unwrap();
        assert_eq!(next, Cid(1_800_000_000_001));
    }

    #[test]
    fn the_space_ends_with_a_refusal() {
        let mut cids = CidSource::new(Cid(CID_MAX - 1));
        assert!(cids.next(WallNs(0)).is_some());
        assert!(cids.next(WallNs(0)).is_none());
        assert_eq!(cids.last(), Cid(CID_MAX));
    }
}
