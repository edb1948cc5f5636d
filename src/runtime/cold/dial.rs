//! Opens sockets: connect, TLS and websocket handshake block, so they happen here. Endless, with
//! the budget and backoff of `line::connect`; each socket's finished connection goes to its owner.

use crate::base::ids::ConnId;
use crate::base::time::MonoNs;
use crate::io::clock::Clock;
use crate::io::dial::{DialSpec, Dialed, dial};
use crate::line::connect::{ConnectConfig, ConnectPlanner};
use crate::runtime::plane::NonceSource;
use crate::runtime::socket::DialRequest;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Where a socket leads and who gets it.
pub struct DialRoute {
    pub conn: ConnId,
    pub target: DialSpec,
    pub owner: Sender<Dialed>,
    /// Of the account's socket; its host has a budget of its own.
    pub nonces: Option<NonceSource>,
}

impl DialRoute {
    fn is_trading(&self) -> bool {
        self.nonces.is_some()
    }
}

/// Counters of the dialler, read by the cold side.
#[derive(Debug, Default)]
pub struct DialStats {
    pub attempts: AtomicU64,
    pub failures: AtomicU64,
}

pub struct Dialler {
    pub routes: Vec<DialRoute>,
    pub requests: Receiver<DialRequest>,
    pub public: ConnectConfig,
    pub private: ConnectConfig,
    pub clock: Clock,
    pub stop: Arc<AtomicBool>,
    pub stats: Arc<DialStats>,
    pub seed: u64,
}

impl Dialler {
    /// Runs until told to stop.
    pub fn run(self) {
        let mut public = ConnectPlanner::new(self.public, self.seed);
        let mut private = ConnectPlanner::new(self.private, self.seed.wrapping_add(1));
        // At most one waiting request a socket, in order of their time.
        let mut waiting: Vec<(MonoNs, usize)> = Vec::with_capacity(self.routes.len());
        while !self.stop.load(Ordering::Acquire) {
            let now = self.clock.mono();
            let next = waiting.iter().map(|(at, _)| *at).min();
            let pause = match next {
                Some(at) if at <= now => Duration::ZERO,
                Some(at) => Duration::from_nanos((at - now).0.clamp(0, 50_000_000) as u64),
                None => Duration::from_millis(50),
            };
            match self.requests.recv_timeout(pause) {
                Ok(request) => {
                    let route = self.routes.iter().position(|r| r.conn == request.conn);
                    if let Some(index) = route {
                        let planner = if self.routes[index].is_trading() {
                            &mut private
                        } else {
                            &mut public
                        };
                        let at = planner.schedule(request.conn.index(), self.clock.mono());
                        waiting.push((at, index));
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let now = self.clock.mono();
            let due = waiting.iter().position(|(at, _)| *at <= now);
            let Some(place) = due else { continue };
            let (_, index) = waiting.swap_remove(place);
            let route = &self.routes[index];
            let planner = if route.is_trading() { &mut private } else { &mut public };
            self.stats.attempts.fetch_add(1, Ordering::Relaxed);
            if let Some(nonces) = &route.nonces {
                // So that the thread that signs in meets no disk.
                nonces.prepare((self.clock.wall().0 / 1_000).max(0) as u64);
            }
            match dial(&route.target) {
                Ok(dialed) => {
                    planner.opened(route.conn.index(), self.clock.mono());
                    log::info!("socket {} open to {}", route.conn.0, route.target.url.host);
                    if route.owner.send(dialed).is_err() {
                        return; // the owner is gone: the run ends
                    }
                }
                Err(error) => {
                    self.stats.failures.fetch_add(1, Ordering::Relaxed);
                    let at = planner.schedule(route.conn.index(), self.clock.mono());
                    let wait_ms = (at - self.clock.mono()).as_ms().max(0);
                    log::warn!(
                        "socket {} to {}: {error}; next try in {wait_ms} ms",
                        route.conn.0,
                        route.target.url.host
                    );
                    waiting.push((at, index));
                }
            }
        }
    }
}
