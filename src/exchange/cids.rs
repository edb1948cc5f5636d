//! Client ids used on one day, as ranges: ids counted up one by one take one entry a day, so that
//! they are cheap to save with every change.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CidSet {
    /// First id of a range → its last.
    ranges: BTreeMap<u64, u64>,
}

impl CidSet {
    pub fn contains(&self, cid: u64) -> bool {
        let before = self.ranges.range(..=cid).next_back();
        before.is_some_and(|(_, last)| *last >= cid)
    }
    pub fn insert(&mut self, cid: u64) {
        if self.contains(cid) {
            return;
        }
        let (mut first, mut last) = (cid, cid);
        if let Some((start, end)) = self.ranges.range(..cid).next_back()
            && *end + 1 == cid
        {
            first = *start;
        }
        if let Some(end) = self.ranges.remove(&(cid + 1)) {
            last = end;
        }
        self.ranges.insert(first, last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;
    use std::collections::BTreeSet;

    #[test]
    fn ranges_hold_what_a_plain_set_holds() {
        let mut rng = Rng::new(8);
        let (mut set, mut plain) = (CidSet::default(), BTreeSet::new());
        for _ in 0..5_000 {
            let cid = rng.below(3_000);
            assert_eq!(set.contains(cid), plain.contains(&cid));
            set.insert(cid);
            plain.insert(cid);
        }
        (0..3_001).for_each(|cid| assert_eq!(set.contains(cid), plain.contains(&cid), "{cid}"));
        let mut counted = CidSet::default();
        (1..=10_000).for_each(|cid| counted.insert(cid));
        assert_eq!(counted.ranges.len(), 1);
    }
}
