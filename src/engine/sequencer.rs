//! Gives every input its place in the one sequence, and its time.
//!
//! Two clock policies. `Host`: the machine's clocks, for live trading. `Market`: the time the venue
//! writes on its frames, for runs on a recording or at a speed other than 1, so that a decision
//! does not depend on how fast the run was. Whatever the policy, stamps never go backwards.

use crate::base::time::{MonoNs, SpanNs, WallNs};
use crate::model::{Body, Event, Stamp, Trace};

/// A market clock that steps back further than this has been restarted: its monotonic part goes on
/// from where it was. Less than this is two sockets interleaved, and is held still.
pub const MARKET_RESTART: SpanNs = SpanNs::from_s(10);

/// Where stamps take their time from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClockPolicy {
    /// `recv` and `wall` are the host's, as given to `on_host_time`.
    #[default]
    Host,
    /// `wall` is the newest market time, `recv` the market time since the first one.
    Market,
}

/// The sequencer. It holds the current time; `stamp` gives out sequence numbers at delivery.
#[derive(Clone, Debug)]
pub struct Sequencer {
    policy: ClockPolicy,
    tick: SpanNs,
    seq: u64,
    now: MonoNs,
    wall: WallNs,
    /// Newest time given out, so that a late delivery cannot step back.
    given_recv: MonoNs,
    given_wall: WallNs,
    /// Raw market time at which `now` was `market_base`.
    market_first: Option<WallNs>,
    market_base: MonoNs,
    market_last: WallNs,
    tick_at: i64,
    backward_steps: u64,
}

impl Sequencer {
    /// `tick_ms` is the spacing of `Body::Tick`, at least 1 ms.
    pub fn new(policy: ClockPolicy, tick_ms: u32) -> Self {
        Self {
            policy,
            tick: SpanNs::from_ms(i64::from(tick_ms.max(1))),
            seq: 0,
            now: MonoNs(0),
            wall: WallNs(0),
            given_recv: MonoNs(0),
            given_wall: WallNs(0),
            market_first: None,
            market_base: MonoNs(0),
            market_last: WallNs(0),
            tick_at: i64::MIN,
            backward_steps: 0,
        }
    }
    /// Host clocks read once per batch. True when a `Tick` is due; ignored under `Market`.
    /// Several missed ticks make one: a tick carries time, not a count.
    #[inline]
    #[must_use]
    pub fn on_host_time(&mut self, mono: MonoNs, wall: WallNs) -> bool {
        if self.policy != ClockPolicy::Host {
            return false;
        }
        if mono < self.now || wall < self.wall {
            self.backward_steps += 1;
        }
        self.now = self.now.max(mono);
        self.wall = self.wall.max(wall);
        self.tick_due(self.now.0 as i64)
    }
    pub fn policy(&self) -> ClockPolicy {
        self.policy
    }
    /// A market time from a frame. True when a `Tick` is due; ignored under `Host`.
    #[inline]
    #[must_use]
    pub fn on_market_time(&mut self, at: WallNs) -> bool {
        if self.policy != ClockPolicy::Market || at.0 <= 0 {
            return false;
        }
        let first = match self.market_first {
            Some(first) => first,
            None => {
                self.market_first = Some(at);
                at
            }
        };
        if at < self.market_last {
            self.backward_steps += 1;
            if self.market_last - at > MARKET_RESTART {
                self.market_first = Some(at);
                self.market_base = self.now;
                self.market_last = at;
            }
        } else {
            self.market_last = at;
            self.now = self.now.max(self.market_base + (at - first));
            self.wall = self.wall.max(at);
        }
        self.tick_due(self.now.0 as i64)
    }
    #[inline]
    fn tick_due(&mut self, now: i64) -> bool {
        if now < self.tick_at {
            return false;
        }
        let due = self.tick_at != i64::MIN;
        self.tick_at = (now / self.tick.0 + 1) * self.tick.0;
        due
    }
    /// The current time, for whoever must know it before delivery (bars, time-outs of `parse`).
    #[inline]
    pub fn now(&self) -> (MonoNs, WallNs) {
        (self.now, self.wall)
    }
    /// The event with its stamp: next `seq`, and the time it was received at (never before the last
    /// one).
    #[inline]
    pub fn stamp(&mut self, recv: MonoNs, wall: WallNs, trace: Trace, body: Body) -> Event {
        self.seq += 1;
        self.given_recv = self.given_recv.max(recv);
        self.given_wall = self.given_wall.max(wall);
        let stamp = Stamp { seq: self.seq, recv: self.given_recv, wall: self.given_wall };
        Event { stamp, trace, body }
    }
    /// The last number given, 0 before the first.
    pub fn seq(&self) -> u64 {
        self.seq
    }
    /// Times the source clock stepped back; stamps did not.
    pub fn backward_steps(&self) -> u64 {
        self.backward_steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(value: i64) -> WallNs {
        WallNs::from_ms(value)
    }

    #[test]
    fn numbers_have_no_holes_and_stamps_never_go_back() {
        let mut s = Sequencer::new(ClockPolicy::Host, 100);
        assert!(!s.on_host_time(MonoNs(1_000), ms(5)));
        let (recv, wall) = s.now();
        assert_eq!(s.stamp(recv, wall, Trace::default(), Body::Tick).stamp.seq, 1);
        assert!(!s.on_host_time(MonoNs(900), ms(4)));
        let (recv, wall) = s.now();
        let stamp = s.stamp(recv, wall, Trace::default(), Body::Tick).stamp;
        assert_eq!((stamp.seq, stamp.recv, stamp.wall), (2, MonoNs(1_000), ms(5)));
        let late = s.stamp(MonoNs(10), ms(1), Trace::default(), Body::Tick).stamp;
        assert_eq!((late.seq, late.recv, late.wall), (3, MonoNs(1_000), ms(5)));
        assert_eq!(s.backward_steps(), 1);
    }

    #[test]
    fn host_ticks_come_once_per_span_and_missed_ones_make_one() {
        let mut s = Sequencer::new(ClockPolicy::Host, 10);
        let at = |v: u64| MonoNs(v * 1_000_000);
        let due: Vec<bool> =
            [0, 5, 10, 11, 19, 55, 59, 60].map(|v| s.on_host_time(at(v), ms(0))).to_vec();
        assert_eq!(due, [false, false, true, false, false, true, false, true]);
    }

    #[test]
    fn market_time_is_the_wall_and_starts_the_monotonic_clock_at_zero() {
        let mut s = Sequencer::new(ClockPolicy::Market, 100);
        assert!(!s.on_host_time(MonoNs(77), ms(77)), "the host's clock has no say");
        assert!(!s.on_market_time(ms(1_000_000)));
        assert_eq!(s.now(), (MonoNs(0), ms(1_000_000)));
        assert!(s.on_market_time(ms(1_000_250)));
        assert_eq!(s.now(), (MonoNs(250_000_000), ms(1_000_250)));
        assert!(!s.on_market_time(ms(1_000_200)), "another socket, a little behind");
        assert_eq!(s.now(), (MonoNs(250_000_000), ms(1_000_250)));
        assert!(s.on_market_time(ms(1_000_300)));
    }

    #[test]
    fn a_restarted_market_clock_does_not_stop_timers() {
        let mut s = Sequencer::new(ClockPolicy::Market, 100);
        let _ = s.on_market_time(ms(1_000_000));
        let _ = s.on_market_time(ms(1_060_000));
        let _ = s.on_market_time(ms(1_000_000));
        assert_eq!(s.now(), (MonoNs(60_000_000_000), ms(1_060_000)));
        let _ = s.on_market_time(ms(1_001_000));
        assert_eq!(s.now(), (MonoNs(61_000_000_000), ms(1_060_000)));
        assert_eq!(s.backward_steps(), 1);
    }
}
