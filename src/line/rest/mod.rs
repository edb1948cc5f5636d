//! The REST plane without sockets: which call may start when, what follows from its end, and what
//! is known of the venue's patience. Callers hand in requests, ask `poll` what to do, make the call
//! with whatever transport they have, and tell how it ended.
//!
//! Nothing here waits: "not yet" is a time that `poll` returns. Prices, books and own orders come
//! by websocket; a request for market data is refused unless its reason is one that may.

pub mod backoff;
pub mod breaker;
pub mod bucket;
pub mod counters;
pub mod flight;
pub mod job;
pub mod orders;
pub mod probes;
pub mod record;
pub mod scheduler;
pub mod table;

pub use breaker::{BreakerConfig, BreakerState};
pub use counters::{Counters, WaitStats};
pub use job::{
    Action, BreakerEvent, Done, DropReason, Dropped, Ended, JobId, KeyRole, Outcome, Priority,
    Reason, Refused, Repeat, Request, RestEvent, Start, Upstream,
};
pub use record::{CallRecord, NoRecords, RecordSink};
pub use scheduler::{KeyPlan, Scheduler, SchedulerConfig};
pub use table::{Endpoint, LimitOverride, LimitTable, Side};
