//! Sliding windows over the times of past orders. Exact: no window of the given length ever holds
//! more than its limit.

use crate::base::time::{MonoNs, SpanNs};

/// At most `max` events in any half-open window of `window`.
#[derive(Clone, Debug)]
pub(super) struct RateWindow {
    times: Box<[MonoNs]>,
    next: usize,
    count: usize,
    window: SpanNs,
}
impl RateWindow {
    /// A limit of 0 allows nothing.
    pub(super) fn new(max: usize, window: SpanNs) -> Self {
        Self { times: vec![MonoNs(0); max].into_boxed_slice(), next: 0, count: 0, window }
    }
    #[inline]
    pub(super) fn allows(&self, now: MonoNs) -> bool {
        if self.count < self.times.len() {
            return true;
        }
        // Full: the slot to be overwritten holds the oldest of the last `max`.
        self.times.get(self.next).is_some_and(|oldest| now - *oldest >= self.window)
    }
    /// Events in the window that ends now.
    pub(super) fn used(&self, now: MonoNs) -> usize {
        let kept = self.times.iter().take(self.count);
        kept.filter(|at| now - **at < self.window).count()
    }
    #[inline]
    pub(super) fn note(&mut self, now: MonoNs) {
        if self.times.is_empty() {
            return;
        }
        self.times[self.next] = now;
        self.next = if self.next + 1 == self.times.len() { 0 } else { self.next + 1 };
        self.count = (self.count + 1).min(self.times.len());
    }
}

/// One remembered order.
#[derive(Clone, Copy, Debug)]
struct Sent {
    key: u64,
    at: MonoNs,
    /// Number of the order before it that had the same key; `NEVER` = none.
    before: u64,
    /// No more of its key than these, itself included, lay in the window when it was the newest;
    /// later even fewer do.
    within: u32,
}

/// The last orders, to notice one that repeats itself. Those of one key are a chain, newest first,
/// so that an order costs a look at the tags and as many steps as it was repeated.
#[derive(Clone, Debug)]
pub(super) struct Repeats {
    /// Lower half of the key of each order that is the newest of its key; `NO_TAG` for the others.
    tags: [u32; Repeats::REMEMBERED],
    last: [Sent; Repeats::REMEMBERED],
    /// Orders so far; order n lies in place n % `REMEMBERED`.
    count: u64,
    window: SpanNs,
    most: usize,
}
impl Repeats {
    const REMEMBERED: usize = 64;
    /// Tags compared at once.
    const BLOCK: usize = 8;
    /// No key's lower half: those are odd.
    const NO_TAG: u32 = 0;
    const NEVER: u64 = u64::MAX;
    /// Orders of one key are too many when `most` of them lie within `window`.
    pub(super) fn new(window: SpanNs, most: usize) -> Self {
        let never = Sent { key: 0, at: MonoNs(0), before: Self::NEVER, within: 0 };
        let (tags, last) = ([Self::NO_TAG; Self::REMEMBERED], [never; Self::REMEMBERED]);
        Self { tags, last, count: 0, window, most }
    }
    /// Place of the newest order with this key.
    #[inline]
    fn find(&self, key: u64) -> Option<usize> {
        let tag = key as u32;
        for (block, tags) in self.tags.chunks_exact(Self::BLOCK).enumerate() {
            if tags.iter().fold(false, |found, known| found | (*known == tag)) {
                let from = block * Self::BLOCK;
                let places = from..from + Self::BLOCK;
                let mut same =
                    places.filter(|at| self.tags[*at] == tag && self.last[*at].key == key);
                if let Some(place) = same.next() {
                    return Some(place);
                }
            }
        }
        None
    }
    /// The order of this number, unless it is forgotten.
    #[inline]
    fn numbered(&self, number: u64) -> Option<&Sent> {
        let remembered = number < self.count && self.count - number <= Self::REMEMBERED as u64;
        remembered.then(|| &self.last[number as usize % Self::REMEMBERED])
    }
    /// Whether one more order of this key would follow `most` others within the window, as far as
    /// remembered. They are counted only where there may be so many.
    #[inline]
    pub(super) fn are_too_many(&mut self, key: u64, now: MonoNs) -> bool {
        let Some(place) = self.find(key) else { return self.most == 0 };
        if (self.last[place].within as usize) < self.most {
            return false;
        }
        let times = self.count_from(place, now);
        if times < self.most {
            self.last[place].within = times as u32;
        }
        times >= self.most
    }
    /// Orders of the window in the chain from here, counted up to `most`.
    fn count_from(&self, place: usize, now: MonoNs) -> usize {
        let mut sent = Some(&self.last[place]);
        let mut times = 0;
        while times < self.most
            && let Some(order) = sent.filter(|order| now - order.at < self.window)
        {
            times += 1;
            sent = self.numbered(order.before);
        }
        times
    }
    /// `key` is odd.
    pub(super) fn note(&mut self, key: u64, now: MonoNs) {
        let (before, within) = self.find(key).map_or((Self::NEVER, 1), |place| {
            self.tags[place] = Self::NO_TAG;
            let turns = (self.count - 1 - place as u64) / Self::REMEMBERED as u64;
            let number = place as u64 + turns * Self::REMEMBERED as u64;
            (number, self.last[place].within.saturating_add(1))
        });
        let place = self.count as usize % Self::REMEMBERED;
        self.tags[place] = key as u32;
        self.last[place] = Sent { key, at: now, before, within };
        self.count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    #[test]
    fn no_window_ever_holds_more_than_the_limit() {
        let mut rng = Rng::new(3);
        let mut rate = RateWindow::new(5, SpanNs(100));
        let (mut now, mut sent) = (MonoNs(0), Vec::new());
        for _ in 0..10_000 {
            now = now + SpanNs(rng.below(40) as i64);
            let used = sent.iter().rev().take_while(|at| now - **at < SpanNs(100)).count();
            assert_eq!(rate.used(now), used);
            if rate.allows(now) {
                rate.note(now);
                sent.push(now);
            }
        }
        for six in sent.windows(6) {
            assert!(six[5] - six[0] >= SpanNs(100));
        }
        assert!(sent.len() > 5_000, "and it is not stricter than it says");
        assert!(!RateWindow::new(0, SpanNs(1)).allows(now));
    }

    /// Against the plain way: look at the last 64 orders one by one.
    #[test]
    fn repeats_are_too_many_where_a_look_at_each_of_the_last_orders_says_so() {
        let mut rng = Rng::new(5);
        for most in [0, 1, 2, 3, 5, 9, 20] {
            let window = SpanNs(20 + rng.below(180) as i64);
            let (mut repeats, mut all) = (Repeats::new(window, most), Vec::new());
            let (mut now, mut said) = (MonoNs(0), [0u32; 2]);
            for _ in 0..20_000 {
                // Now and then nothing happens for a while.
                let pause = if rng.below(200) == 0 { 150 } else { 4 };
                now = now + SpanNs(rng.below(pause) as i64);
                // Some keys differ above their tag only; the first is the usual one.
                let key = if rng.below(2) == 0 {
                    1
                } else {
                    (rng.below(3) << 40) | (rng.below(12) << 1) | 1
                };
                let recent = all.iter().rev().take(Repeats::REMEMBERED);
                let plain =
                    recent.filter(|(known, at)| *known == key && now - *at < window).count();
                let found = repeats.are_too_many(key, now);
                assert_eq!(found, plain >= most, "{most}: {plain}");
                said[usize::from(found)] += 1;
                if rng.below(3) > 0 {
                    repeats.note(key, now);
                    all.push((key, now));
                }
            }
            assert!(said[1] > 100 && (most == 0 || said[0] > 100), "{most}: {said:?}");
        }
    }
}
