//! A circuit breaker: calls to an upstream that fails stop for a while, then one probe at a time
//! asks whether it is back, and traffic returns step by step.
//!
//! ```text
//!            failures                     time is up
//!   closed ───────────► open ─────────────────────────► half-open
//!      ▲                 ▲                                 │  │
//!      │                 └───────── a probe failed ────────┘  │
//!      └──────────────── so many probes succeeded ────────────┘
//! ```

use crate::base::rng::Rng;
use crate::base::time::{MonoNs, SpanNs};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerConfig {
    /// So many failures in a row open it.
    pub failures_in_row: u32,
    /// Or this share of the latest results, percent, …
    pub failure_percent: u32,
    /// … once there are so many of them; at most 64.
    pub results_min: u32,
    /// Results older than this do not count, milliseconds.
    pub results_max_age_ms: u64,
    /// An answer that took longer counts as a failure, milliseconds.
    pub slow_after_ms: u64,
    /// First time open, milliseconds; doubles with each probe that fails.
    pub open_ms_min: u64,
    /// Longest time open, milliseconds.
    pub open_ms_max: u64,
    /// Probes that must succeed, one after the other.
    pub probes_to_close: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BreakerState {
    Closed,
    Open,
    HalfOpen,
}
impl BreakerState {
    pub const fn name(self) -> &'static str {
        match self {
            BreakerState::Closed => "closed",
            BreakerState::Open => "open",
            BreakerState::HalfOpen => "half-open",
        }
    }
}

/// A change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub from: BreakerState,
    pub to: BreakerState,
}

/// Which life of the breaker a call belongs to. Results of an earlier one are not news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch(u32);

/// Whether a call may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admit {
    Yes,
    /// Not before this time.
    At(MonoNs),
    /// Not before the result of a call in flight.
    AfterReply,
}

#[derive(Clone, Debug)]
pub struct Breaker {
    config: BreakerConfig,
    state: BreakerState,
    epoch: u32,
    open_until: MonoNs,
    /// Times it opened without closing in between.
    opened_in_row: u32,
    /// Latest results, newest in bit 0; 1 = failure.
    results: u64,
    result_count: u32,
    last_result_at: MonoNs,
    in_row: u32,
    probe_in_flight: bool,
    probes_good: u32,
    in_flight: u32,
    /// Calls in flight allowed after closing; grows with each success.
    ramp: u32,
    open_count: u64,
}

/// A ramp that no longer limits.
const RAMP_DONE: u32 = u32::MAX;
/// Calls in flight at which a ramp is over.
const RAMP_TOP: u32 = 16;

impl Breaker {
    pub fn new(config: BreakerConfig) -> Self {
        Self {
            config: BreakerConfig {
                results_min: config.results_min.clamp(1, 64),
                failures_in_row: config.failures_in_row.max(1),
                probes_to_close: config.probes_to_close.max(1),
                open_ms_max: config.open_ms_max.max(config.open_ms_min),
                ..config
            },
            state: BreakerState::Closed,
            epoch: 0,
            open_until: MonoNs(0),
            opened_in_row: 0,
            results: 0,
            result_count: 0,
            last_result_at: MonoNs(0),
            in_row: 0,
            probe_in_flight: false,
            probes_good: 0,
            in_flight: 0,
            ramp: RAMP_DONE,
            open_count: 0,
        }
    }
    pub fn state(&self) -> BreakerState {
        self.state
    }
    /// Times it opened.
    pub fn open_count(&self) -> u64 {
        self.open_count
    }
    /// When an open breaker will let a probe through.
    pub fn open_until(&self) -> Option<MonoNs> {
        (self.state == BreakerState::Open).then_some(self.open_until)
    }
    pub fn slow_after(&self) -> SpanNs {
        SpanNs::from_ms(self.config.slow_after_ms.min(i64::MAX as u64 / 1_000_000) as i64)
    }
    /// True where a probe is wanted and none is on its way.
    pub fn wants_probe(&self) -> bool {
        self.state == BreakerState::HalfOpen && !self.probe_in_flight
    }

    /// Time passes.
    pub fn tick(&mut self, now: MonoNs) -> Option<Change> {
        if self.state == BreakerState::Open && now >= self.open_until {
            self.probes_good = 0;
            self.probe_in_flight = false;
            return Some(self.go(BreakerState::HalfOpen));
        }
        None
    }
    pub fn admit(&self) -> Admit {
        match self.state {
            BreakerState::Closed if self.in_flight < self.ramp => Admit::Yes,
            BreakerState::Closed => Admit::AfterReply,
            BreakerState::Open => Admit::At(self.open_until),
            BreakerState::HalfOpen if self.probe_in_flight => Admit::AfterReply,
            BreakerState::HalfOpen => Admit::Yes,
        }
    }
    /// A call starts, admitted or by a budget of its own.
    pub fn on_start(&mut self) -> Epoch {
        self.in_flight += 1;
        if self.state == BreakerState::HalfOpen {
            self.probe_in_flight = true;
        }
        Epoch(self.epoch)
    }
    /// A call ended. `good` = the upstream answered, in time, whatever it said.
    pub fn on_result(
        &mut self,
        epoch: Epoch,
        good: bool,
        now: MonoNs,
        rng: &mut Rng,
    ) -> Option<Change> {
        self.in_flight = self.in_flight.saturating_sub(1);
        if epoch.0 != self.epoch {
            return None;
        }
        match self.state {
            BreakerState::Closed => self.on_closed_result(good, now, rng),
            // Only a call with a budget of its own can start while it is open. Its answer is proof
            // enough to begin asking.
            BreakerState::Open if good => {
                self.probes_good = 0;
                self.probe_in_flight = false;
                Some(self.go(BreakerState::HalfOpen))
            }
            BreakerState::Open => None,
            BreakerState::HalfOpen => {
                self.probe_in_flight = false;
                if !good {
                    return Some(self.open(now, rng));
                }
                self.probes_good += 1;
                if self.probes_good < self.config.probes_to_close {
                    return None;
                }
                self.opened_in_row = 0;
                self.forget();
                self.ramp = 1;
                Some(self.go(BreakerState::Closed))
            }
        }
    }

    /// A call is still in flight after `slow_after`: a failure already. Its end is then told by
    /// `on_neutral`.
    pub fn on_slow(&mut self, epoch: Epoch, now: MonoNs, rng: &mut Rng) -> Option<Change> {
        self.in_flight += 1;
        self.on_result(epoch, false, now, rng)
    }
    /// A call ended in a way that tells nothing of the upstream's health: refused for its rate,
    /// given up by its caller.
    pub fn on_neutral(&mut self, epoch: Epoch) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if epoch.0 == self.epoch {
            self.probe_in_flight = false;
        }
    }

    fn on_closed_result(&mut self, good: bool, now: MonoNs, rng: &mut Rng) -> Option<Change> {
        let age_max = SpanNs::from_ms(self.config.results_max_age_ms.min(1 << 40) as i64);
        if now - self.last_result_at > age_max {
            self.forget();
        }
        self.last_result_at = now;
        self.results = self.results << 1 | u64::from(!good);
        self.result_count = (self.result_count + 1).min(64);
        if good {
            self.in_row = 0;
            if self.ramp != RAMP_DONE {
                self.ramp = if self.ramp >= RAMP_TOP { RAMP_DONE } else { self.ramp + 1 };
            }
            return None;
        }
        self.in_row += 1;
        let seen = match self.result_count {
            64 => u64::MAX,
            count => (1 << count) - 1,
        };
        let failures = (self.results & seen).count_ones();
        let is_share = self.result_count >= self.config.results_min
            && failures * 100 >= self.config.failure_percent * self.result_count;
        let is_row = self.in_row >= self.config.failures_in_row;
        (is_share || is_row).then(|| self.open(now, rng))
    }
    fn open(&mut self, now: MonoNs, rng: &mut Rng) -> Change {
        let doubled = self.config.open_ms_min.saturating_mul(1u64 << self.opened_in_row.min(30));
        let longest = doubled.min(self.config.open_ms_max).min(1 << 40) as i64 * 1_000_000;
        // Half fixed, half jitter: it must stay open for a while, and not in step with others.
        let span = longest / 2 + rng.below(longest as u64 / 2 + 1) as i64;
        self.open_until = now + SpanNs(span);
        self.opened_in_row = self.opened_in_row.saturating_add(1);
        self.open_count += 1;
        self.probe_in_flight = false;
        self.forget();
        self.go(BreakerState::Open)
    }
    fn forget(&mut self) {
        self.results = 0;
        self.result_count = 0;
        self.in_row = 0;
    }
    fn go(&mut self, to: BreakerState) -> Change {
        let from = self.state;
        self.state = to;
        self.epoch = self.epoch.wrapping_add(1);
        Change { from, to }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;
    use BreakerState::{Closed, HalfOpen, Open};
    use proptest::prelude::*;

    pub(crate) const CONFIG: BreakerConfig = BreakerConfig {
        failures_in_row: 5,
        failure_percent: 50,
        results_min: 10,
        results_max_age_ms: 60_000,
        slow_after_ms: 3_000,
        open_ms_min: 1_000,
        open_ms_max: 30_000,
        probes_to_close: 3,
    };
    struct Bench {
        breaker: Breaker,
        rng: Rng,
        now: MonoNs,
    }
    impl Bench {
        fn new() -> Self {
            Self { breaker: Breaker::new(CONFIG), rng: Rng::new(1), now: MonoNs(1) }
        }
        /// One call with its result; `None` where it was not let through.
        fn call(&mut self, good: bool) -> Option<Option<Change>> {
            self.now = self.now + SpanNs::from_ms(10);
            self.breaker.tick(self.now);
            if self.breaker.admit() != Admit::Yes {
                return None;
            }
            let epoch = self.breaker.on_start();
            Some(self.breaker.on_result(epoch, good, self.now, &mut self.rng))
        }
        fn calls(&mut self, count: std::ops::Range<u32>, good: bool) {
            count.for_each(|_| {
                self.call(good);
            });
        }
        fn wait_open(&mut self) -> SpanNs {
            let until = self.breaker.open_until().unwrap();
            let span = until - self.now;
            self.now = until;
            span
        }
    }

    #[test]
    fn failures_in_a_row_open_it_and_probes_close_it() {
        let mut bench = Bench::new();
        for _ in 0..4 {
            assert_eq!(bench.call(false), Some(None));
        }
        assert_eq!(bench.call(false), Some(Some(Change { from: Closed, to: Open })));
        assert_eq!(bench.call(true), None);
        let span = bench.wait_open();
        assert!(span.as_ms() >= 490 && span.as_ms() <= 1_000, "{span:?}");
        assert_eq!(bench.call(true), Some(None));
        assert_eq!(bench.breaker.state(), HalfOpen);
        assert_eq!(bench.call(true), Some(None));
        assert_eq!(bench.call(true), Some(Some(Change { from: HalfOpen, to: Closed })));
        assert_eq!(bench.breaker.open_count(), 1);
    }

    #[test]
    fn a_flapping_upstream_opens_it_by_share() {
        let mut bench = Bench::new();
        let mut calls = 0;
        while bench.breaker.state() == Closed {
            bench.call(calls % 2 == 0);
            calls += 1;
            assert!(calls <= 10);
        }
        assert_eq!(calls, 10);
    }

    #[test]
    fn a_probe_that_fails_doubles_the_wait_up_to_the_cap() {
        let mut bench = Bench::new();
        bench.calls(0..5, false);
        let mut ceiling_ms = 1_000i64;
        for _ in 0..8 {
            let span = bench.wait_open().as_ms();
            assert!(span >= ceiling_ms / 2 - 20 && span <= ceiling_ms, "{span} of {ceiling_ms}");
            assert_eq!(bench.call(false), Some(Some(Change { from: HalfOpen, to: Open })));
            ceiling_ms = (ceiling_ms * 2).min(30_000);
        }
    }

    #[test]
    fn one_probe_at_a_time_and_traffic_returns_step_by_step() {
        let mut bench = Bench::new();
        bench.calls(0..5, false);
        bench.wait_open();
        bench.breaker.tick(bench.now);
        let epoch = bench.breaker.on_start();
        assert_eq!(bench.breaker.admit(), Admit::AfterReply);
        bench.breaker.on_result(epoch, true, bench.now, &mut bench.rng);
        bench.calls(0..2, true);
        assert_eq!(bench.breaker.state(), Closed);
        // One in flight, then two, then three.
        for allowed in 1..4u32 {
            let mut open = Vec::new();
            while bench.breaker.admit() == Admit::Yes {
                open.push(bench.breaker.on_start());
            }
            assert_eq!(open.len() as u32, allowed);
            let mut results = open.into_iter();
            bench.breaker.on_result(results.next().unwrap(), true, bench.now, &mut bench.rng);
            // The others belong to an earlier life as far as this test goes.
            results.for_each(|_| {
                bench.breaker.on_result(Epoch(u32::MAX), true, bench.now, &mut bench.rng);
            });
        }
    }

    #[test]
    fn results_of_an_earlier_life_change_nothing() {
        let mut bench = Bench::new();
        let late = bench.breaker.on_start();
        bench.calls(0..5, false);
        assert_eq!(bench.breaker.on_result(late, true, bench.now, &mut bench.rng), None);
        assert_eq!(bench.breaker.state(), Open);
    }

    #[test]
    fn old_failures_are_forgotten() {
        let mut bench = Bench::new();
        for _ in 0..40 {
            bench.call(false);
            bench.now = bench.now + SpanNs::from_s(61);
        }
        assert_eq!(bench.breaker.state(), Closed);
    }

    proptest! {
        /// Whatever happens, only the four arrows of the picture are walked, and only when they may
        /// be; a budget's call starts at any time.
        #[test]
        fn only_the_drawn_changes_happen(steps in proptest::collection::vec(
            (any::<bool>(), 0u64..2_000, any::<bool>()), 1..300)) {
            let mut bench = Bench::new();
            let mut flight: Vec<Epoch> = Vec::new();
            for (good, pause_ms, start) in steps {
                bench.now = bench.now + SpanNs::from_ms(pause_ms as i64);
                let before = bench.breaker.state();
                let until = bench.breaker.open_until();
                if let Some(change) = bench.breaker.tick(bench.now) {
                    prop_assert_eq!(change, Change { from: Open, to: HalfOpen });
                    prop_assert!(bench.now >= until.unwrap());
                } else {
                    prop_assert_eq!(before, bench.breaker.state());
                }
                if start && bench.breaker.admit() == Admit::Yes {
                    flight.push(bench.breaker.on_start());
                } else if !flight.is_empty() {
                    let epoch = flight.remove(0);
                    let before = bench.breaker.state();
                    let change = bench.breaker.on_result(epoch, good, bench.now, &mut bench.rng);
                    if let Some(change) = change {
                        prop_assert_eq!(change.from, before);
                        let allowed = match change.from {
                            Closed => change.to == Open && !good,
                            HalfOpen => change.to == if good { Closed } else { Open },
                            Open => change.to == HalfOpen && good,
                        };
                        prop_assert!(allowed, "{:?} {}", change, good);
                    }
                }
            }
        }
    }
}
