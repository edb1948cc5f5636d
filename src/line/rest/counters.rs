//! What the scheduler counts.

use super::job::{Priority, Reason};
use crate::base::time::SpanNs;

/// Waits of one priority, from the request (or the end of its last try) to the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct WaitStats {
    pub count: u64,
    pub total_ns: u64,
    pub max_ns: u64,
}
impl WaitStats {
    pub(super) fn add(&mut self, wait: SpanNs) {
        let wait_ns = wait.0.max(0) as u64;
        self.count += 1;
        self.total_ns = self.total_ns.saturating_add(wait_ns);
        self.max_ns = self.max_ns.max(wait_ns);
    }
}

/// Names that operators know; never renamed, only added to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests handed in.
    pub asked: u64,
    /// Requests not taken.
    pub refused: u64,
    /// Calls started, repeats counted.
    pub started: u64,
    pub done: u64,
    /// Requests dropped because they could not start in time.
    pub dropped_stale: u64,
    /// Requests dropped for another reason.
    pub dropped_other: u64,
    /// Calls that were made again.
    pub retry_count: u64,
    /// Repeats that the budget forbade.
    pub retry_refused: u64,
    /// Refusals of the venue for the rate.
    pub rate_limit_hits: u64,
    /// Times a breaker opened.
    pub circuit_open_count: u64,
    pub nonce_refused: u64,
    /// Hosts left alone for a refusal that turned out to be of one endpoint.
    pub blocks_lifted: u64,
    /// Cancels that went past a breaker or a block.
    pub cancel_probes: u64,
    /// Events lost because nobody fetched them.
    pub events_lost: u64,
    /// Calls started, by reason.
    pub by_reason: [u64; Reason::COUNT],
    pub waits: [WaitStats; Priority::COUNT],
}

impl Counters {
    /// Calls started for a reason.
    pub const fn of(&self, reason: Reason) -> u64 {
        self.by_reason[reason.index()]
    }
    pub const fn wait(&self, priority: Priority) -> WaitStats {
        self.waits[priority.index()]
    }
}
