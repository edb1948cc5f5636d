//! The control port: dashboard, metrics, status, commands. HTTP/1.1 on loopback, one cold thread.
//!
//! Why not a library: the synchronous servers that are kept give a thread to each connection and
//! bound a read, not a request; a client that sends a byte now and then holds such a thread for
//! ever. Here one thread polls all sockets, every request has a deadline as a whole, and the strict
//! head parser is the one the exchange uses (`io::http1`).
//!
//! Order of the checks: head well-formed and small, host known (rebinding), origin ours, token,
//! scope, rate. No cookies: a page of somebody else has nothing to send along.

mod limit;
mod route;
mod server;
#[cfg(test)]
mod tests;
mod token;

pub use server::{Server, ServerHandle, ServerStats};
pub use token::{Scope, Tokens, read_token};

use super::metrics::export::MetricGroups;
use std::time::Duration;

/// File of the run directory that names the address.
pub const ADDRESS_FILE: &str = "dashboard.url";

/// What the control port allows. Times are the server's own, nothing of the engine waits for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// On loopback; 0 = any free one.
    pub port: u16,
    /// Names beside localhost under which a tunnel or proxy may ask.
    pub hosts: Vec<String>,
    /// `/metrics` needs no token (still loopback, still a known host).
    pub metrics_open: bool,
    pub metrics: MetricGroups,
    /// Connections at once; more are told so and closed.
    pub connections_max: usize,
    /// Of them, those that follow the events.
    pub followers_max: usize,
    /// From the first byte of a request to its last.
    pub request_max: Duration,
    /// An open connection without a request.
    pub idle_max: Duration,
    /// How long a reader may leave bytes standing.
    pub write_max: Duration,
    /// How long a command's effect is waited for.
    pub command_max: Duration,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            port: 0,
            hosts: Vec::new(),
            metrics_open: false,
            metrics: MetricGroups::default(),
            connections_max: 64,
            followers_max: 8,
            request_max: Duration::from_secs(5),
            idle_max: Duration::from_secs(30),
            write_max: Duration::from_secs(10),
            command_max: Duration::from_secs(5),
        }
    }
}

/// Bytes of a request head, at most.
pub const HEAD_MAX: usize = 8 * 1024;
/// Bytes of a request body, at most: a command with its reason.
pub const BODY_MAX: usize = 4 * 1024;
/// Bytes that may wait for a slow reader of events before it is dropped.
pub const BACKLOG_MAX: usize = 2 << 20;
