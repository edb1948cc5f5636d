//! The harmless calls that ask upstreams whether they are back, and the one that keeps a connection
//! open: what they are; who makes them is the caller's affair.

use super::job::{KeyRole, Priority, Reason, Repeat, Request, Upstream};
use super::table::LimitTable;
use crate::base::time::{MonoNs, SpanNs};

/// Life of a call that keeps a connection warm.
pub const WARM_FRESH_FOR: SpanNs = SpanNs::from_s(5);
/// Path of a probe without a key, and of a call that keeps a connection open.
pub const PUBLIC_PATH: &str = "platform/status";
/// Path of a signed probe: answered by what answers look-ups of orders. Its body is `{}`.
pub const SIGNED_PATH: &str = "auth/r/orders";

/// A probe for each upstream, by the keys that there are.
pub fn probes<T: Copy>(
    table: &LimitTable,
    has_key: impl Fn(KeyRole) -> bool,
    payload: T,
) -> [Option<Request<T>>; Upstream::ALL.len()] {
    let has = |role: KeyRole| has_key(role).then_some(role);
    let probe = |path: &str, role: Option<KeyRole>, priority: Priority| Request {
        endpoint: table.find(path),
        priority,
        role,
        repeat: Repeat::Never,
        reason: Reason::Probe,
        deadline: MonoNs(0),
        payload,
    };
    let signed = |role: Option<KeyRole>, priority: Priority| match role {
        Some(role) => probe(SIGNED_PATH, Some(role), priority),
        None => probe(PUBLIC_PATH, None, Priority::Metadata),
    };
    let rest = has(KeyRole::Rest);
    [
        Some(probe(PUBLIC_PATH, None, Priority::Metadata)),
        Some(signed(rest, Priority::Account)),
        Some(signed(has(KeyRole::Kill).or(rest), Priority::LookUp)),
    ]
}

/// The call that keeps the connection of the kill lane.
pub fn keep_warm<T>(table: &LimitTable, now: MonoNs, payload: T) -> Request<T> {
    Request {
        endpoint: table.find(PUBLIC_PATH),
        priority: Priority::Metadata,
        role: None,
        repeat: Repeat::Never,
        reason: Reason::KeepWarm,
        deadline: now + WARM_FRESH_FOR,
        payload,
    }
}
