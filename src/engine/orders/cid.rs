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

/// Ids of one block. 2^45 ids are 35 million blocks.
pub const BLOCK_IDS: u64 = 1_000_000;

/// Keeps the ids of several runs apart: each run takes a block of numbers and stores where it ends
/// before it uses the first. The file is the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CidBlock {
    used: u64,
    until: u64,
}

impl CidBlock {
    /// The block behind `stored`, the mark of the last run (0 = none), and the mark to store now.
    pub fn take(stored: u64) -> (Self, u64) {
        let until = (stored + BLOCK_IDS).min(CID_MAX);
        (Self { used: stored, until }, until)
    }
    /// Highest id of any earlier run.
    pub const fn used(&self) -> u64 {
        self.used
    }
    /// The mark to store once `opened` orders have used half of what is left.
    pub fn keep_ahead(&mut self, opened: u64) -> Option<u64> {
        if self.used + opened + BLOCK_IDS / 2 <= self.until {
            return None;
        }
        self.until = (self.until + BLOCK_IDS).min(CID_MAX);
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
