//! When a socket may be opened again: a budget of connections shared by all sockets, and capped
//! exponential backoff with full jitter for each. Endless: it never gives up, it only slows down.

use crate::base::limits::{CONNECTS_PER_MINUTE, SOCKETS_MAX};
use crate::base::rng::Rng;
use crate::base::time::{MonoNs, SpanNs};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectConfig {
    /// First wait after a failure, milliseconds.
    pub backoff_ms_min: u64,
    /// Longest wait, milliseconds.
    pub backoff_ms_max: u64,
    /// A connection that lived this long resets the backoff, milliseconds.
    pub healthy_after_ms: u64,
    /// Connections within one window over all sockets of the host; at most `CONNECTS_PER_MINUTE`.
    pub connects_per_window: u32,
    /// Length of the window, seconds. The venue: 20 in 60 s on the public host, 5 in 15 s on the
    /// private one.
    pub window_s: u64,
}
impl Default for ConnectConfig {
    fn default() -> Self {
        Self {
            backoff_ms_min: 200,
            backoff_ms_max: 30_000,
            healthy_after_ms: 60_000,
            connects_per_window: CONNECTS_PER_MINUTE as u32,
            window_s: 60,
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Socket {
    failures: u32,
    opened_at: Option<MonoNs>,
}

/// Pure: the caller sleeps.
#[derive(Debug)]
pub struct ConnectPlanner {
    config: ConnectConfig,
    rng: Rng,
    sockets: [Socket; SOCKETS_MAX],
    /// Times of the latest attempts, oldest overwritten: the sliding window.
    attempts: [MonoNs; CONNECTS_PER_MINUTE],
    attempt_count: usize,
}

impl ConnectPlanner {
    pub fn new(config: ConnectConfig, seed: u64) -> Self {
        let config = ConnectConfig {
            connects_per_window: config.connects_per_window.clamp(1, CONNECTS_PER_MINUTE as u32),
            backoff_ms_max: config.backoff_ms_max.max(config.backoff_ms_min),
            ..config
        };
        Self {
            config,
            rng: Rng::new(seed),
            sockets: [Socket::default(); SOCKETS_MAX],
            attempts: [MonoNs(0); CONNECTS_PER_MINUTE],
            attempt_count: 0,
        }
    }

    /// When socket `index` may be opened, asked once per attempt; counts the attempt at that time.
    pub fn schedule(&mut self, index: usize, now: MonoNs) -> MonoNs {
        let socket = &mut self.sockets[index];
        if let Some(opened_at) = socket.opened_at.take()
            && (now - opened_at).0 >= SpanNs::from_ms(self.config.healthy_after_ms as i64).0
        {
            socket.failures = 0;
        }
        let mut at = now;
        if socket.failures > 0 {
            let ceiling = self
                .config
                .backoff_ms_min
                .saturating_mul(1u64 << (socket.failures - 1).min(20))
                .min(self.config.backoff_ms_max);
            // Full jitter, but never sooner than a quarter: everybody reconnects at once after a
            // restart.
            let wait_ms = ceiling / 4 + self.rng.below(ceiling - ceiling / 4 + 1);
            at = at + SpanNs::from_ms(wait_ms as i64);
        }
        socket.failures = socket.failures.saturating_add(1);
        let window = self.config.connects_per_window as usize;
        if self.attempt_count >= window {
            let oldest = self.attempts[(self.attempt_count - window) % CONNECTS_PER_MINUTE];
            let free_at = oldest + SpanNs::from_s(self.config.window_s as i64);
            at = at.max(free_at);
        }
        self.attempts[self.attempt_count % CONNECTS_PER_MINUTE] = at;
        self.attempt_count += 1;
        at
    }

    /// Socket `index` is open; living long enough will forgive its failures.
    pub fn opened(&mut self, index: usize, now: MonoNs) {
        self.sockets[index].opened_at = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_drops_never_exceed_the_minute_budget() {
        let mut planner = ConnectPlanner::new(ConnectConfig::default(), 1);
        let mut now = MonoNs(0);
        let mut times = Vec::new();
        for _ in 0..100 {
            let at = planner.schedule(0, now);
            assert!(at >= now);
            times.push(at);
            now = at;
        }
        for pair in times.windows(CONNECTS_PER_MINUTE + 1) {
            assert!((pair[CONNECTS_PER_MINUTE] - pair[0]).0 >= SpanNs::from_s(60).0);
        }
    }

    #[test]
    fn first_try_is_at_once_and_waits_grow_to_the_cap() {
        let mut planner = ConnectPlanner::new(ConnectConfig::default(), 2);
        let mut now = MonoNs(0);
        assert_eq!(planner.schedule(3, now), now);
        for attempt in 1..40u32 {
            let at = planner.schedule(3, now);
            let ceiling = (200u64 << (attempt - 1).min(20)).min(30_000) as i64;
            assert!((at - now).as_ms() <= ceiling.max(60_000));
            now = at + SpanNs::from_s(10);
        }
    }

    #[test]
    fn a_healthy_connection_forgives() {
        let mut planner = ConnectPlanner::new(ConnectConfig::default(), 3);
        for _ in 0..5 {
            planner.schedule(0, MonoNs(0));
        }
        planner.opened(0, MonoNs(0));
        let later = MonoNs(0) + SpanNs::from_s(120);
        assert_eq!(planner.schedule(0, later), later);
    }
}
