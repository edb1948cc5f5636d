//! Brings the venue's public stream to the exchange of this process, for paper trading: a socket of
//! its own, so that the line's sockets are exactly those of a live run.

#![allow(
    clippy::disallowed_methods,
    reason = "the edge: deadlines and clocks of real sockets and disks"
)]

use super::ws_text::{WsText, WsTextError};
use crate::exchange::{LiveInbox, LiveMessage};
use crate::io::dial::{DialSpec, dial};
use parking_lot::Mutex;
use std::collections::VecDeque;
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

/// Messages that may wait for the exchange. A feed that is not read is cut off and told so: an
/// exchange on half of a stream would fill orders at prices that never were.
const WAITING_MAX: usize = 65_536;

/// Messages between the socket's thread and the exchange's; clones share it.
#[derive(Clone, Default)]
pub struct Inbox(Arc<Mutex<VecDeque<LiveMessage>>>);
impl Inbox {
    /// False where nobody reads, and the stream must begin anew.
    fn push(&self, text: &[u8]) -> bool {
        let mut waiting = self.0.lock();
        let has_room = waiting.len() < WAITING_MAX;
        if has_room {
            waiting.push_back(LiveMessage::Text(text.into()));
        }
        has_room
    }
    /// What waits is of no use any more.
    fn broke(&self) {
        let mut waiting = self.0.lock();
        waiting.clear();
        waiting.push_back(LiveMessage::Broke);
    }
}
impl LiveInbox for Inbox {
    fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
    fn next(&mut self) -> Option<LiveMessage> {
        self.0.lock().pop_front()
    }
}

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
    pub inbox: Inbox,
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
                    self.inbox.broke();
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
                unread |= !self.inbox.push(text);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feed_that_nobody_reads_is_cut_off_and_a_break_drops_what_waits() {
        let mut inbox = Inbox::default();
        assert!((0..WAITING_MAX).all(|_| inbox.push(b"[1,\"hb\"]")));
        assert!(!inbox.push(b"[1,\"hb\"]"));
        inbox.broke();
        assert_eq!(inbox.next(), Some(LiveMessage::Broke));
        assert!(inbox.is_empty() && inbox.push(b"x"));
        assert_eq!(inbox.next(), Some(LiveMessage::Text(b"x".as_slice().into())));
    }
}
