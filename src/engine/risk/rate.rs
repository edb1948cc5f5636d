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
}
impl Repeats {
    const REMEMBERED: usize = 64;
    /// Tags compared at once.
    const BLOCK: usize = 8;
    /// No key's lower half: those are odd.
    const NO_TAG: u32 = 0;
    const NEVER: u64 = u64::MAX;
    pub(super) fn new() -> Self {
        let never = Sent { key: 0, at: MonoNs(0), before: Self::NEVER };
        Self { tags: [Self::NO_TAG; Self::REMEMBERED], last: [never; Self::REMEMBERED], count: 0 }
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
    /// How often this order was sent within `window`, as far as remembered; counted up to `most`.
    #[inline]
    pub(super) fn count(&self, key: u64, now: MonoNs, window: SpanNs, most: usize) -> usize {
        let mut sent = self.find(key).map(|place| &self.last[place]);
        let mut times = 0;
        while times < most
            && let Some(order) = sent.filter(|order| now - order.at < window)
        {
            times += 1;
            sent = self.numbered(order.before);
        }
        times
    }
    /// `key` is odd.
    pub(super) fn note(&mut self, key: u64, now: MonoNs) {
        let before = self.find(key).map_or(Self::NEVER, |place| {
            self.tags[place] = Self::NO_TAG;
            let turns = (self.count - 1 - place as u64) / Self::REMEMBERED as u64;
            place as u64 + turns * Self::REMEMBERED as u64
        });
        let place = self.count as usize % Self::REMEMBERED;
        self.tags[place] = key as u32;
        self.last[place] = Sent { key, at: now, before };
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
    fn repeats_are_counted_as_a_look_at_each_of_the_last_orders_would() {
        let mut rng = Rng::new(5);
        let (mut repeats, mut all) = (Repeats::new(), Vec::new());
        let (mut now, mut most) = (MonoNs(0), 0);
        for _ in 0..50_000 {
            now = now + SpanNs(rng.below(4) as i64);
            // Some keys differ above their tag only.
            let key = (rng.below(3) << 40) | (rng.below(12) << 1) | 1;
            let window = SpanNs(rng.below(200) as i64);
            let recent = all.iter().rev().take(Repeats::REMEMBERED);
            let plain = recent.filter(|(known, at)| *known == key && now - *at < window).count();
            assert_eq!(repeats.count(key, now, window, usize::MAX), plain);
            assert_eq!(repeats.count(key, now, window, 3), plain.min(3));
            most = most.max(plain);
            if rng.below(3) > 0 {
                repeats.note(key, now);
                all.push((key, now));
            }
        }
        assert!(most > 5, "{most}");
    }
}
