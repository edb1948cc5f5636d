//! A fixed table from a non-zero number to a small slot: open addressing, linear probing, deletion
//! by shifting back. No iteration, no growth: what a hash map must not do here.

/// See the file's head. Key 0 is refused: it means "none" in every identity.
pub struct Index {
    keys: Box<[u64]>,
    slots: Box<[u16]>,
    mask: usize,
    shift: u32,
    len: usize,
    len_max: usize,
}

impl Index {
    /// Room for `len_max` keys; at most half of the places are ever used, so probes stay short.
    pub fn new(len_max: usize) -> Self {
        let places = (len_max.max(1) * 2).next_power_of_two();
        Self {
            keys: vec![0; places].into_boxed_slice(),
            slots: vec![0; places].into_boxed_slice(),
            mask: places - 1,
            shift: 64 - places.trailing_zeros(),
            len: 0,
            len_max,
        }
    }
    #[inline]
    fn home(&self, key: u64) -> usize {
        // Fibonacci hashing; sequential client ids spread evenly.
        (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> self.shift) as usize
    }
    #[inline]
    fn place(&self, key: u64) -> Option<usize> {
        if key == 0 {
            return None;
        }
        let mut at = self.home(key);
        loop {
            match self.keys[at] {
                0 => return None,
                found if found == key => return Some(at),
                _ => at = (at + 1) & self.mask,
            }
        }
    }
    #[inline]
    pub fn get(&self, key: u64) -> Option<u16> {
        self.place(key).map(|at| self.slots[at])
    }
    /// False where the key is 0, already there, or the table is full.
    #[must_use]
    pub fn insert(&mut self, key: u64, slot: u16) -> bool {
        if key == 0 || self.len >= self.len_max {
            return false;
        }
        let mut at = self.home(key);
        while self.keys[at] != 0 {
            if self.keys[at] == key {
                return false;
            }
            at = (at + 1) & self.mask;
        }
        self.keys[at] = key;
        self.slots[at] = slot;
        self.len += 1;
        true
    }
    /// Nothing happens where the key is absent.
    pub fn remove(&mut self, key: u64) {
        let Some(mut hole) = self.place(key) else { return };
        self.len -= 1;
        let mut at = hole;
        loop {
            at = (at + 1) & self.mask;
            if self.keys[at] == 0 {
                break;
            }
            // Move an entry back only if the hole lies between its home and its place.
            let home = self.home(self.keys[at]);
            if (at.wrapping_sub(home) & self.mask) >= (at.wrapping_sub(hole) & self.mask) {
                self.keys[hole] = self.keys[at];
                self.slots[hole] = self.slots[at];
                hole = at;
            }
        }
        self.keys[hole] = 0;
    }
    pub fn len(&self) -> usize {
        self.len
    }
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;
    use std::collections::BTreeMap;

    #[test]
    fn it_behaves_like_a_map_under_random_use() {
        let mut rng = Rng::new(11);
        for _ in 0..20 {
            let (mut index, mut twin) = (Index::new(64), BTreeMap::new());
            for _ in 0..5_000 {
                let key = rng.below(100);
                if rng.chance(1, 2) {
                    let fits = key != 0 && twin.len() < 64 && !twin.contains_key(&key);
                    assert_eq!(index.insert(key, key as u16 + 1), fits);
                    if fits {
                        twin.insert(key, key as u16 + 1);
                    }
                } else {
                    index.remove(key);
                    twin.remove(&key);
                }
                assert_eq!(index.len(), twin.len());
                let probe = rng.below(100);
                assert_eq!(index.get(probe), twin.get(&probe).copied());
            }
        }
    }
}
