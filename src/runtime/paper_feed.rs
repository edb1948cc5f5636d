//! Brings the venue's public stream to the exchange of this process, for paper trading: a socket of
//! its own, so that the line's sockets are exactly those of a live run.

#![allow(
    clippy::disallowed_methods,
    reason = "the edge: deadlines and clocks of real sockets and disks"
)]

use super::ws_text::{WsText, WsTextError};
use crate::exchange::LiveFeed;
use crate::io::dial::{DialSpec, dial};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Wait after a failed attempt to connect, doubled up to the longest.
const RETRY_AFTER: Duration = Duration::from_millis(500);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(15);
/// Longest wait for a socket, so that a stop is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A socket that says nothing for so long is given up: two heartbeats and a margin.
const SILENCE_MAX: Duration = Duration::from_secs(35);
const PING_EVERY: Duration = Duration::from_secs(20);

/// What the feed did.
#[derive(Debug, Default)]
pub struct PaperFeedStats {
    pub messages: AtomicU64,
    pub connects: AtomicU64,
    pub lost: AtomicU64,
}

/// One socket, connected again for ever.
pub struct PaperFeed {
    pub target: DialSpec,
    /// Sent once a socket is open, in order.
    pub hello: Vec<String>,
    pub feed: LiveFeed,
    /// Tells the exchange that there is something.
    pub wake: Box<dyn Fn() + Send>,
    pub stop: Arc<AtomicBool>,
    pub stats: Arc<PaperFeedStats>,
}

impl PaperFeed {
    /// Runs until told to stop.
    pub fn run(self) {
        let mut retry_after = RETRY_AFTER;
        while !self.stop.load(Ordering::Acquire) {
            match dial(&self.target) {
                Ok(dialed) => {
                    self.stats.connects.fetch_add(1, Ordering::Relaxed);
                    retry_after = RETRY_AFTER;
                    if let Err(words) = self.serve(WsText::new(dialed.stream)) {
                        log::warn!(
                            "paper: the market's socket has ended ({words}); connecting again"
                        );
                    }
                    self.stats.lost.fetch_add(1, Ordering::Relaxed);
                    self.feed.broke();
                }
                Err(error) => log::warn!("paper: market data for its fills: {error}"),
            }
            let until = Instant::now() + retry_after;
            while Instant::now() < until && !self.stop.load(Ordering::Acquire) {
                std::thread::park_timeout(LOOK_EVERY);
            }
            retry_after = (retry_after * 2).min(RETRY_AFTER_MAX);
        }
    }

    fn serve(&self, mut socket: WsText) -> Result<(), WsTextError> {
        for text in &self.hello {
            socket.say(text);
        }
        let (mut heard_at, mut pinged_at) = (Instant::now(), Instant::now());
        let mut unread = false;
        while !self.stop.load(Ordering::Acquire) {
            socket.wait(LOOK_EVERY);
            let count = socket.read(|text| {
                self.stats.messages.fetch_add(1, Ordering::Relaxed);
                unread |= !self.feed.push(text);
            })?;
            if unread {
                return Err(WsTextError::Unread);
            }
            let now = Instant::now();
            if count > 0 {
                heard_at = now;
                (self.wake)();
            }
            if now - heard_at > SILENCE_MAX {
                return Err(WsTextError::Silent);
            }
            if now - pinged_at >= PING_EVERY {
                pinged_at = now;
                socket.say("{\"event\":\"ping\",\"cid\":1}");
            }
        }
        socket.close();
        Ok(())
    }
}
