//! A token bucket in integers: so many calls in a window, whatever way the venue counts windows.
//!
//! The bucket holds a burst and refills at a rate such that burst + what refills in one window is
//! at most the limit. So no stretch of one window, wherever it begins, sees more starts than the
//! limit. It is kept as the time at which it will be full again (GCRA): no drift, no fractions.

use crate::base::time::{MonoNs, SpanNs};

/// Parts of a window in which starts are counted, beside the tokens.
const PARTS: usize = 8;

/// How a bucket behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketConfig {
    /// Calls in one window, as published.
    pub window_calls: u32,
    pub window: SpanNs,
    /// Of the published limit what is used, percent; the rest is for jitter on the way.
    pub safe_percent: u32,
    /// Of what is used what may go at once, percent.
    pub burst_percent: u32,
    /// After a refusal the limit grows back by a tenth for each such span without another; each
    /// lesson doubles the span, up to sixteen times.
    pub recover: SpanNs,
}

#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    config: BucketConfig,
    /// Calls in one window that are believed to be allowed.
    learned: u32,
    burst: u32,
    /// Between two calls when the burst is used up.
    interval: SpanNs,
    /// When the bucket will be full.
    full_at: MonoNs,
    blocked_until: MonoNs,
    taught_at: Option<MonoNs>,
    lessons: u32,
    /// Since when the limit grows back.
    grows_from: MonoNs,
    /// Starts by part of a window; the newest part is `part`, and has the index `part % len`.
    recent: [u16; PARTS + 1],
    part: u64,
}

/// What people see of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketView {
    /// Calls that may start now.
    pub tokens: u32,
    pub burst: u32,
    /// Believed to be allowed in one window.
    pub window_calls: u32,
    /// Zero where it is not blocked.
    pub blocked_for: SpanNs,
}

impl Bucket {
    /// Full from the start. Panics on a limit or a window of zero.
    pub fn new(config: BucketConfig) -> Self {
        assert!(config.window_calls > 0);
        assert!(config.window.0 > 0);
        let mut bucket = Self {
            config,
            learned: 0,
            burst: 0,
            interval: SpanNs::ZERO,
            full_at: MonoNs(0),
            blocked_until: MonoNs(0),
            taught_at: None,
            lessons: 0,
            grows_from: MonoNs(0),
            recent: [0; PARTS + 1],
            part: 0,
        };
        bucket.set_limit(Self::safe_limit(&config));
        bucket
    }

    fn safe_limit(config: &BucketConfig) -> u32 {
        (config.window_calls as u64 * config.safe_percent.clamp(1, 100) as u64 / 100).max(1) as u32
    }
    fn set_limit(&mut self, window_calls: u32) {
        self.learned = window_calls.max(1);
        let burst = self.learned as u64 * self.config.burst_percent.min(100) as u64 / 100;
        self.burst = (burst as u32).clamp(1, self.learned);
        let window = self.config.window.0;
        self.interval = SpanNs(match self.learned - self.burst {
            // One call a window: a little more than a window apart.
            0 => window + window / 10,
            refill => (window + refill as i64 - 1) / refill as i64,
        });
    }

    /// When a call may start that leaves `reserve` tokens to others; `now` where it may at once.
    pub fn ready_at(&self, reserve: u32, now: MonoNs) -> MonoNs {
        let usable = self.burst.saturating_sub(reserve).max(1);
        // Full minus what the call may leave missing.
        let slack = (usable as i64 - 1) * self.interval.0;
        let at = MonoNs(self.full_at.0.saturating_sub(slack as u64));
        at.max(now)
    }
    /// As `ready_at`, blocks counted.
    pub fn free_at(&self, reserve: u32, now: MonoNs) -> MonoNs {
        self.ready_at(reserve, now).max(self.blocked_until)
    }
    /// Takes a token. Asked only where `ready_at` said so, or for a probe that goes all the same:
    /// the debt is then paid back by waiting, a window at most: behind a window without a call the
    /// venue has forgotten them all.
    pub fn take(&mut self, now: MonoNs) {
        self.grow(now);
        let empty = self.interval.0 * i64::from(self.burst);
        let owed_max = SpanNs(empty.max(self.config.window.0));
        let full_at = (self.full_at.max(now) + self.interval).min(now + owed_max);
        self.full_at = self.full_at.max(full_at);
        self.turn(now);
        let newest = &mut self.recent[self.part as usize % (PARTS + 1)];
        *newest = newest.saturating_add(1);
    }
    /// Lets the parts go that are older than a window.
    fn turn(&mut self, now: MonoNs) {
        let part = now.0 / (self.config.window.0 as u64 / PARTS as u64).max(1);
        let gone = part.saturating_sub(self.part).min(PARTS as u64 + 1);
        for step in 1..=gone {
            self.recent[(self.part + step) as usize % (PARTS + 1)] = 0;
        }
        // Behind a long pause every part is empty, wherever the newest one lies.
        self.part = self.part.max(part);
    }
    /// Starts in the newest `parts` parts.
    fn used(&self, parts: usize) -> u32 {
        let index = |back: usize| (self.part as usize + 2 * (PARTS + 1) - back) % (PARTS + 1);
        (0..parts).map(|back| u32::from(self.recent[index(back)])).sum()
    }
    /// Behind a lesson: tokens that may go at once, or parts of a window to wait for the first one,
    /// such that no window from now on sees more starts than the limit, those before counted.
    fn left(&self) -> (u32, usize) {
        let refills = u64::from(self.learned - self.burst);
        // Of the limit, what is free at the end of part `k` from now, refills since `from` counted.
        let free = |from: usize, k: usize| {
            let refilled = (refills * (k as u64 + 1 - from as u64)).div_ceil(PARTS as u64);
            let taken = u64::from(self.used(PARTS + 1 - k)) + refilled.min(refills);
            i64::from(self.learned) - taken as i64
        };
        let least = |from: usize| (from..=PARTS).map(|k| free(from, k)).min().unwrap_or(0);
        let from = (0..=PARTS).find(|from| least(*from) >= 0).unwrap_or(PARTS + 1);
        let tokens = if from == 0 { least(0).min(i64::from(self.burst)) } else { 0 };
        (tokens as u32, from)
    }
    pub fn blocked_until(&self) -> MonoNs {
        self.blocked_until
    }
    /// It was seen that nothing stands in the way.
    pub fn unblock(&mut self) {
        self.blocked_until = MonoNs(0);
    }
    /// No call before `until`; a longer block stays.
    pub fn block(&mut self, until: MonoNs) {
        self.blocked_until = self.blocked_until.max(until);
    }
    /// The venue refused a call of ours that started at `started_at`: the limit is lower than
    /// believed. Refusals of calls that had started before the last lesson teach nothing new.
    /// True where the limit was changed.
    pub fn teach(&mut self, started_at: MonoNs, now: MonoNs) -> bool {
        self.grows_from = now;
        if self.taught_at.is_some_and(|at| started_at < at) {
            return false;
        }
        self.taught_at = Some(now);
        self.lessons += 1;
        self.lower(self.learned / 2, now);
        // Whatever is believed to be left, the venue has just said that nothing is.
        self.full_at = self.full_at.max(now + SpanNs(self.interval.0 * i64::from(self.burst)));
        true
    }
    /// Another bucket of the same host learned that `num` of `den` parts of the published limit are
    /// allowed; what holds for one endpoint is likely to hold for its neighbours.
    pub fn follow(&mut self, num: u32, den: u32, now: MonoNs) {
        let share = self.config.window_calls as u64 * num as u64 / den.max(1) as u64;
        if share < self.learned as u64 {
            self.taught_at = Some(now);
            self.grows_from = now;
            self.lower(share as u32, now);
        }
    }
    fn lower(&mut self, window_calls: u32, now: MonoNs) {
        self.set_limit(window_calls);
        // What was sent already counts at the venue, too; a bucket that was hardly used keeps its
        // tokens.
        self.turn(now);
        let (tokens, parts) = self.left();
        let wait = self.config.window.0 / PARTS as i64 * parts as i64;
        let missing = self.interval.0 * i64::from(self.burst - tokens);
        self.full_at = self.full_at.max(now + SpanNs(wait + missing));
    }
    fn grow(&mut self, now: MonoNs) {
        let target = Self::safe_limit(&self.config);
        let recover = self.config.recover.0 << self.lessons.saturating_sub(1).min(4);
        if self.learned >= target || recover <= 0 {
            return;
        }
        let spans = (now - self.grows_from).0.max(0) / recover;
        if spans > 0 {
            let step = (target / 10).max(1) as u64 * spans as u64;
            self.set_limit((self.learned as u64 + step).min(target as u64) as u32);
            self.grows_from = self.grows_from + SpanNs(spans * recover);
        }
    }
    /// As published, or as the config says.
    pub fn published(&self) -> u32 {
        self.config.window_calls
    }
    pub fn view(&self, now: MonoNs) -> BucketView {
        let missing = (self.full_at - now.min(self.full_at)).0;
        let missing = (missing + self.interval.0 - 1) / self.interval.0;
        BucketView {
            tokens: self.burst.saturating_sub(missing.min(u32::MAX as i64) as u32),
            burst: self.burst,
            window_calls: self.learned,
            blocked_for: self.blocked_until - now.min(self.blocked_until),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WINDOW: SpanNs = SpanNs::from_s(60);
    fn bucket(window_calls: u32, safe_percent: u32) -> Bucket {
        let recover = SpanNs::from_s(600);
        Bucket::new(BucketConfig {
            window_calls,
            window: WINDOW,
            safe_percent,
            burst_percent: 33,
            recover,
        })
    }
    /// Starts of a caller that wants to start at `wishes`.
    fn starts(bucket: &mut Bucket, wishes: &[u64]) -> Vec<MonoNs> {
        let mut now = MonoNs(0);
        let mut starts = Vec::new();
        for wish in wishes {
            now = bucket.free_at(0, now.max(MonoNs(*wish)));
            bucket.take(now);
            starts.push(now);
        }
        starts
    }
    fn most_in_a_window(starts: &[MonoNs]) -> usize {
        (0..starts.len())
            .map(|from| starts[from..].iter().take_while(|at| **at - starts[from] < WINDOW).count())
            .max()
            .unwrap_or(0)
    }

    /// Calls that go without a token, as probes do, are paid for; not for ever.
    #[test]
    fn a_debt_is_a_window_at_most() {
        let mut bucket = bucket(3, 100);
        let mut now = MonoNs(0);
        for _ in 0..20 {
            bucket.take(now);
            now = now + SpanNs::from_s(5);
        }
        let last = now + SpanNs::from_s(-5);
        assert!(bucket.free_at(0, now) > last + SpanNs::from_s(20), "it is paid for");
        assert!(bucket.free_at(0, now) <= last + WINDOW);
    }

    proptest! {
        /// A lesson counts what went before it: no window that ends behind it sees more starts than
        /// the new limit.
        #[test]
        fn a_lesson_counts_what_was_sent(
            window_calls in 4u32..300,
            pauses in proptest::collection::vec(0u64..3_000_000_000, 0..200),
            taught_after in 0usize..200,
        ) {
            let mut bucket = bucket(window_calls, 100);
            let (mut now, mut starts, mut taught_at) = (MonoNs(0), Vec::new(), None);
            for (index, pause) in pauses.iter().enumerate() {
                now = now + SpanNs(*pause as i64);
                if index == taught_after {
                    bucket.follow(1, 2, now);
                    taught_at = Some(now);
                }
                if bucket.free_at(0, now) == now {
                    bucket.take(now);
                    starts.push(now);
                }
            }
            let Some(taught_at) = taught_at else { return Ok(()) };
            let limit = bucket.view(now).window_calls as usize;
            for (index, last) in starts.iter().enumerate().filter(|(_, at)| **at >= taught_at) {
                let within = starts[..=index].iter().filter(|at| *last - **at < WINDOW);
                prop_assert!(within.count() <= limit, "at {last:?} of {limit}");
            }
        }
        /// The promise of the head, for a caller that always wants and for one that pauses.
        #[test]
        fn no_stretch_of_a_window_sees_more_than_the_limit(
            window_calls in 1u32..300,
            safe_percent in 50u32..=100,
            pauses in proptest::collection::vec(0u64..20_000_000_000, 1..400),
        ) {
            let mut at = 0;
            let wishes: Vec<u64> = pauses.iter().enumerate().map(|(index, pause)| {
                if index % 7 == 0 { at += pause; }
                at
            }).collect();
            let starts = starts(&mut bucket(window_calls, safe_percent), &wishes);
            prop_assert!(most_in_a_window(&starts) <= window_calls as usize);
        }
        /// It is not stricter than it must be: a caller that always wants gets the refill's share.
        #[test]
        fn a_steady_caller_gets_its_share(window_calls in 2u32..300) {
            let wishes = vec![0; window_calls as usize * 5];
            let starts = starts(&mut bucket(window_calls, 100), &wishes);
            let in_five = starts.iter().filter(|at| **at < MonoNs(300_000_000_000)).count() as u32;
            let share = window_calls * 10 / 3;
            prop_assert!(in_five + 2 >= share, "{in_five} of {window_calls} x 5");
        }
    }

    #[test]
    fn a_reserve_is_left_to_others() {
        let mut bucket = bucket(90, 100);
        let now = MonoNs(1_000);
        let mut taken = 0;
        while bucket.free_at(10, now) == now {
            bucket.take(now);
            taken += 1;
        }
        assert_eq!(taken, 29 - 10);
        assert_eq!(bucket.view(now).tokens, 10);
        while bucket.free_at(0, now) == now {
            bucket.take(now);
            taken += 1;
        }
        assert_eq!((taken, bucket.view(now).tokens), (29, 0));
        assert_eq!(bucket.free_at(0, now) - now, SpanNs(60_000_000_000i64 / 61 + 1));
    }

    #[test]
    fn a_refusal_halves_once_a_round_and_quiet_brings_it_back() {
        let mut bucket = bucket(90, 100);
        let now = MonoNs(5_000_000_000);
        assert!(bucket.teach(now, now));
        assert_eq!(bucket.view(now).window_calls, 45);
        // In flight when the lesson came.
        assert!(!bucket.teach(MonoNs(4_900_000_000), MonoNs(5_100_000_000)));
        assert!(bucket.teach(MonoNs(5_200_000_000), MonoNs(5_300_000_000)));
        assert_eq!(bucket.view(now).window_calls, 22);
        for _ in 0..10 {
            let at = bucket.free_at(0, now);
            assert!(bucket.teach(at, at));
        }
        assert_eq!(bucket.view(now).window_calls, 1);
        let later = bucket.grows_from + SpanNs::from_s(16 * 600);
        bucket.take(later);
        assert_eq!(bucket.view(later).window_calls, 10);
        let much_later = later + SpanNs::from_s(160 * 600);
        bucket.take(much_later);
        assert_eq!(bucket.view(much_later).window_calls, 90);
    }

    #[test]
    fn a_neighbours_lesson_is_taken_where_it_is_stricter() {
        let mut bucket = bucket(90, 100);
        bucket.follow(40, 80, MonoNs(1));
        // Nothing was sent yet: what the new limit allows at once is there.
        assert_eq!((bucket.view(MonoNs(1)).window_calls, bucket.view(MonoNs(1)).tokens), (45, 14));
        bucket.follow(60, 80, MonoNs(2));
        assert_eq!(bucket.view(MonoNs(2)).window_calls, 45);
    }

    #[test]
    fn a_block_holds_and_a_shorter_one_does_not_shorten_it() {
        let mut bucket = bucket(90, 100);
        bucket.block(MonoNs(7_000));
        bucket.block(MonoNs(5_000));
        assert_eq!(bucket.free_at(0, MonoNs(1_000)), MonoNs(7_000));
        assert_eq!(bucket.ready_at(0, MonoNs(1_000)), MonoNs(1_000));
        assert_eq!(bucket.view(MonoNs(1_000)).blocked_for, SpanNs(6_000));
    }
}
