//! The market's clock: the host's wall clock for a market made here, recorded time for a recording,
//! at a speed.

#![allow(
    clippy::disallowed_methods,
    reason = "the edge: deadlines and clocks of real sockets and disks"
)]

use crate::base::time::{SpanNs, WallNs};
use std::fmt;
use std::time::{Duration, Instant};

/// Fastest scaled speed. Beyond it a day takes under a tenth of a second: say `max`.
pub const SPEED_TIMES_MAX: f64 = 1e6;
/// Slowest scaled speed.
pub const SPEED_TIMES_MIN: f64 = 1e-3;

/// How fast the market's clock runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// One second a second.
    Real,
    /// That many seconds a second.
    Times(f64),
    /// As fast as the slowest client takes it.
    Max,
}

/// Why a speed was not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpeedError {
    pub got: String,
}

impl fmt::Display for SpeedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "speed `{}` is not known; expected `real`, `max` or a factor from {SPEED_TIMES_MIN} to \
             {SPEED_TIMES_MAX} such as `10` or `x10`",
            self.got
        )
    }
}
impl std::error::Error for SpeedError {}

impl std::str::FromStr for Speed {
    type Err = SpeedError;
    fn from_str(text: &str) -> Result<Self, SpeedError> {
        match text {
            "real" => return Ok(Self::Real),
            "max" => return Ok(Self::Max),
            _ => {}
        }
        let factor = text.trim_start_matches(['x', '×']).trim_end_matches(['x', '×']);
        match factor.parse::<f64>() {
            Ok(1.0) => Ok(Self::Real),
            Ok(times) if (SPEED_TIMES_MIN..=SPEED_TIMES_MAX).contains(&times) => {
                Ok(Self::Times(times))
            }
            _ => Err(SpeedError { got: text.to_owned() }),
        }
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Real => f.write_str("real"),
            Self::Times(times) => write!(f, "x{times}"),
            Self::Max => f.write_str("max"),
        }
    }
}

/// Maps the host's monotonic clock to the market's. Never runs backwards.
#[derive(Debug)]
pub struct MarketClock {
    /// `None` at [`Speed::Max`]: time is then what the market says.
    times: Option<f64>,
    anchor_host: Instant,
    anchor_market: WallNs,
    now: WallNs,
    running: bool,
}

impl MarketClock {
    /// Stands still at `start` until [`Self::start`].
    pub fn new(speed: Speed, start: WallNs, host: Instant) -> Self {
        let times = match speed {
            Speed::Real => Some(1.0),
            Speed::Times(times) => Some(times),
            Speed::Max => None,
        };
        Self { times, anchor_host: host, anchor_market: start, now: start, running: false }
    }
    /// Runs from here on. No effect where it runs already.
    pub fn start(&mut self, host: Instant) {
        if !self.running {
            self.running = true;
            self.anchor(host);
        }
    }
    pub fn is_running(&self) -> bool {
        self.running
    }
    /// The market jumps from step to step, as fast as it can.
    pub fn is_unpaced(&self) -> bool {
        self.times.is_none()
    }
    /// Real speed from here on, for instance behind the end of a recording.
    pub fn pace_real(&mut self, host: Instant) {
        self.read(host);
        self.times = Some(1.0);
        self.anchor(host);
    }
    /// The market's time now.
    pub fn read(&mut self, host: Instant) -> WallNs {
        if let (true, Some(times)) = (self.running, self.times) {
            let host_ns = host.saturating_duration_since(self.anchor_host).as_nanos();
            let market_ns =
                if times == 1.0 { host_ns as i64 } else { (host_ns as f64 * times) as i64 };
            self.now = self.now.max(self.anchor_market + SpanNs(market_ns));
        }
        self.now
    }
    /// Time of the last reading.
    pub fn last(&self) -> WallNs {
        self.now
    }
    /// At full speed: the market is at `at` now.
    pub fn jump(&mut self, at: WallNs) -> WallNs {
        self.now = self.now.max(at);
        self.now
    }
    /// How long the host waits until the market's clock shows `at`; `None` where it does not run
    /// there by itself.
    pub fn wait_for(&self, at: WallNs, host: Instant) -> Option<Duration> {
        let times = self.times.filter(|_| self.running)?;
        let market_ns = (at - self.anchor_market).0.max(0) as f64;
        let due = Duration::from_nanos((market_ns / times).ceil() as u64);
        Some(due.saturating_sub(host.saturating_duration_since(self.anchor_host)))
    }

    fn anchor(&mut self, host: Instant) {
        self.anchor_host = host;
        self.anchor_market = self.now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: WallNs = WallNs(1_000_000_000_000);

    #[test]
    fn speeds_are_read_as_people_write_them() {
        for (text, expected) in [
            ("real", Ok(Speed::Real)),
            ("1", Ok(Speed::Real)),
            ("max", Ok(Speed::Max)),
            ("x10", Ok(Speed::Times(10.0))),
            ("2.5x", Ok(Speed::Times(2.5))),
            ("×100", Ok(Speed::Times(100.0))),
        ] {
            assert_eq!(text.parse(), expected, "{text}");
        }
        for text in ["", "0", "-1", "fast", "NaN", "inf", "1e9", "x"] {
            let error = text.parse::<Speed>().unwrap_err().to_string();
            assert!(error.contains("expected `real`, `max` or a factor"), "{error}");
        }
    }

    #[test]
    fn scaled_time_follows_the_host_once_started() {
        let host = Instant::now();
        let second = Duration::from_secs(1);
        let mut clock = MarketClock::new(Speed::Times(10.0), START, host);
        assert_eq!(clock.read(host + second), START);
        assert_eq!(clock.wait_for(START + SpanNs(1), host), None);
        clock.start(host + second);
        assert_eq!(clock.read(host + 3 * second), START + SpanNs(20_000_000_000));
        let at = START + SpanNs(25_000_000_000);
        assert_eq!(clock.wait_for(at, host + 3 * second), Some(Duration::from_millis(500)));
        assert_eq!(clock.read(host), START + SpanNs(20_000_000_000), "never backwards");
    }

    #[test]
    fn unpaced_time_is_what_the_market_says_until_paced_again() {
        let host = Instant::now();
        let mut clock = MarketClock::new(Speed::Max, START, host);
        clock.start(host);
        assert_eq!(clock.read(host + Duration::from_secs(5)), START);
        assert_eq!(clock.jump(START + SpanNs(7)), START + SpanNs(7));
        assert_eq!(clock.jump(START), START + SpanNs(7), "never backwards");
        clock.pace_real(host + Duration::from_secs(5));
        assert_eq!(clock.read(host + Duration::from_secs(6)), START + SpanNs(1_000_000_007));
    }
}
