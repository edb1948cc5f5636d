//! Sequence numbers of one socket: one counter over all its channels (protocol notes, 1.4).

/// What a frame's number said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeqCheck {
    InOrder,
    /// Frames are missing, doubled or unnumbered; cannot be attributed to one channel.
    Broken,
}

/// The first array frame of a connection has number 1, then one more each.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sequence {
    last: u64,
}

impl Sequence {
    /// For the next connection.
    pub fn reset(&mut self) {
        self.last = 0;
    }
    pub const fn last(&self) -> u64 {
        self.last
    }
    /// A break is reported once: counting goes on from the number that came.
    #[inline(always)]
    pub fn check(&mut self, number: u64) -> SeqCheck {
        let expected = self.last.wrapping_add(1);
        self.last = number;
        if number == expected { SeqCheck::InOrder } else { SeqCheck::Broken }
    }
    /// For frames that may come without a number: true, and counted, where `number` is the next
    /// one.
    pub fn accept(&mut self, number: u64) -> bool {
        let next = number == self.last.wrapping_add(1);
        if next {
            self.last = number;
        }
        next
    }
}

/// The trailing elements of an array frame: `…, SEQ, TS]`, read from the end by the flags in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trail {
    /// Integers found after the payload.
    pub count: u32,
    /// The last but two, the last but one and the last of them.
    pub last: [u64; 3],
}

impl Trail {
    #[inline(always)]
    pub fn push(&mut self, value: u64) {
        self.last = [self.last[1], self.last[2], value];
        self.count += 1;
    }
    /// The `back`th from the end, from 0.
    #[inline(always)]
    pub const fn from_end(&self, back: usize) -> Option<u64> {
        if back < 3 && back < self.count as usize { Some(self.last[2 - back]) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_break_is_reported_once() {
        let mut sequence = Sequence::default();
        assert_eq!(sequence.check(1), SeqCheck::InOrder);
        assert_eq!(sequence.check(3), SeqCheck::Broken);
        assert_eq!(sequence.check(4), SeqCheck::InOrder);
        assert_eq!(sequence.check(4), SeqCheck::Broken);
        assert!(!sequence.accept(9));
        assert!(sequence.accept(5));
    }

    #[test]
    fn trailing_numbers_are_read_from_the_end() {
        let mut trail = Trail::default();
        assert_eq!(trail.from_end(0), None);
        for value in [7, 8, 9, 10] {
            trail.push(value);
        }
        assert_eq!((trail.from_end(0), trail.from_end(2)), (Some(10), Some(8)));
        assert_eq!(trail.from_end(3), None);
    }
}
