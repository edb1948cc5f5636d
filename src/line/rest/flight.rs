//! One flight for many who ask: metadata and account reads are fetched once, not more often than
//! every so often, and everybody who asked meanwhile shares the answer.

use crate::base::time::{MonoNs, SpanNs};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlightConfig {
    /// An answer younger than this is given again.
    pub fresh_for: SpanNs,
    /// Two fetches begin at least so far apart, whatever became of the first.
    pub apart: SpanNs,
}

/// What to do for somebody who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Fetch it; `on_answer` or `on_failure` must follow.
    Fetch,
    /// Somebody fetches it: wait for that answer.
    Join,
    /// The last answer is fresh enough.
    Fresh { age: SpanNs },
    /// Too soon after the last fetch: not before this time.
    Later(MonoNs),
}

/// State of one thing that is fetched.
#[derive(Clone, Copy, Debug)]
pub struct Flight {
    config: FlightConfig,
    in_flight: bool,
    started_at: Option<MonoNs>,
    answered_at: Option<MonoNs>,
    /// Asked, fetched, joined.
    counts: FlightCounts,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct FlightCounts {
    pub asked: u64,
    pub fetched: u64,
    pub joined: u64,
    pub fresh: u64,
    pub failed: u64,
}

impl Flight {
    pub fn new(config: FlightConfig) -> Self {
        let counts = FlightCounts::default();
        Self { config, in_flight: false, started_at: None, answered_at: None, counts }
    }
    pub fn ask(&mut self, now: MonoNs) -> Ask {
        self.counts.asked += 1;
        if self.in_flight {
            self.counts.joined += 1;
            return Ask::Join;
        }
        if let Some(at) = self.answered_at
            && now - at < self.config.fresh_for
        {
            self.counts.fresh += 1;
            return Ask::Fresh { age: now - at };
        }
        if let Some(at) = self.started_at
            && now - at < self.config.apart
        {
            return Ask::Later(at + self.config.apart);
        }
        self.in_flight = true;
        self.started_at = Some(now);
        self.counts.fetched += 1;
        Ask::Fetch
    }
    /// The fetch brought an answer, or word that nothing has changed.
    pub fn on_answer(&mut self, now: MonoNs) {
        self.in_flight = false;
        self.answered_at = Some(now);
    }
    /// The fetch failed or was dropped; the last answer stays what it was.
    pub fn on_failure(&mut self) {
        self.in_flight = false;
        self.counts.failed += 1;
    }
    /// Whoever asks next shall have a new answer; `apart` still holds.
    pub fn expire(&mut self) {
        self.answered_at = None;
    }
    /// `None` before the first answer.
    pub fn age(&self, now: MonoNs) -> Option<SpanNs> {
        self.answered_at.map(|at| now - at)
    }
    pub fn counts(&self) -> FlightCounts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flight() -> Flight {
        Flight::new(FlightConfig { fresh_for: SpanNs::from_s(5), apart: SpanNs::from_s(2) })
    }
    fn at(ms: u64) -> MonoNs {
        MonoNs(ms * 1_000_000)
    }

    #[test]
    fn everybody_who_asks_meanwhile_shares_one_fetch() {
        let mut flight = flight();
        assert_eq!(flight.ask(at(0)), Ask::Fetch);
        (0..50).for_each(|_| assert_eq!(flight.ask(at(1)), Ask::Join));
        flight.on_answer(at(10));
        assert_eq!(flight.ask(at(1_010)), Ask::Fresh { age: SpanNs::from_s(1) });
        assert_eq!(flight.ask(at(5_010)), Ask::Fetch);
        let counts = flight.counts();
        assert_eq!((counts.asked, counts.fetched, counts.joined, counts.fresh), (53, 2, 50, 1));
    }

    #[test]
    fn a_failure_is_not_repeated_at_once_and_the_old_answer_keeps_its_age() {
        let mut flight = flight();
        flight.ask(at(0));
        flight.on_answer(at(10));
        assert_eq!(flight.ask(at(6_000)), Ask::Fetch);
        flight.on_failure();
        assert_eq!(flight.ask(at(6_100)), Ask::Later(at(8_000)));
        assert_eq!(flight.age(at(6_100)), Some(SpanNs::from_ms(6_090)));
        assert_eq!(flight.ask(at(8_000)), Ask::Fetch);
    }

    #[test]
    fn an_expired_answer_is_fetched_anew_but_not_too_soon() {
        let mut flight = flight();
        flight.ask(at(0));
        flight.on_answer(at(10));
        flight.expire();
        assert_eq!(flight.ask(at(1_000)), Ask::Later(at(2_000)));
        assert_eq!(flight.ask(at(2_000)), Ask::Fetch);
    }
}
