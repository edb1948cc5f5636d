//! The REST thread: reads the account when the line asks for a reconcile, and pushes what it
//! learned back through the front, item by item. Orders and prices never come from here.

use crate::base::time::WallNs;
use crate::io::clock::Clock;
use crate::io::rest::{Method, RestRequest, RestTransport};
use crate::line::nonce::NonceAllocator;
use crate::line::reconcile::{NO_ANSWER, ReconcileReads, UNREADABLE};
use crate::model::Body;
use crate::ring::{Rx, Tx};
use crate::runtime::link::RestWant;
use crate::venue::rest::{RestCall, RestSink, parse_reply};
use crate::venue::sign::ApiKey;
use crate::venue::symbols::SymbolTable;
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Longest path and body of a call, bytes.
const CALL_TEXT_MAX: usize = 1_024;
/// Between two looks at the wishes, and between two tries to push an answer into a full ring.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// Calls by reason, for the report.
#[derive(Debug, Default)]
pub struct RestStats {
    pub calls: AtomicU64,
    pub failures: AtomicU64,
    pub reconciles: AtomicU64,
    pub retries: AtomicU64,
    /// Refusals for the rate.
    pub rate_limited: AtomicU64,
    /// By endpoint, in the order of their names.
    pub endpoints: Mutex<BTreeMap<&'static str, EndpointCount>>,
}

/// What one endpoint did.
#[derive(Clone, Debug)]
pub struct EndpointCount {
    pub calls: u64,
    pub failures: u64,
    pub rate_limited: u64,
    /// HTTP status or the venue's code of the newest answer; 0 = good, negative = none.
    pub last_code: i32,
    /// µs, failures included.
    pub latency_us: Histogram<u64>,
}
impl Default for EndpointCount {
    fn default() -> Self {
        let made = Histogram::new_with_bounds(1, 600_000_000, 2);
        let latency_us = made.expect("constant bounds that hdrhistogram accepts");
        Self { calls: 0, failures: 0, rate_limited: 0, last_code: 0, latency_us }
    }
}

/// HTTP's code, and the venue's own.
const RATE_LIMIT_CODES: [i32; 2] = [429, 11_010];

pub struct RestThread {
    pub transport: RestTransport,
    /// `http://…` or `https://…`, without a path.
    pub base_url: String,
    pub key: ApiKey,
    pub nonces: NonceAllocator,
    pub table: SymbolTable,
    pub wants: Rx<RestWant>,
    pub answers: Tx<Body>,
    /// History read before the start; told first.
    pub warm_up: Vec<Body>,
    pub clock: Clock,
    pub stop: Arc<AtomicBool>,
    pub stats: Arc<RestStats>,
    /// Tries of one read before the reconcile is reported as failed.
    pub retries_max: u32,
}

/// Items of one reply, in order.
#[derive(Default)]
struct Collected(Vec<Body>);
impl RestSink for Collected {
    fn body(&mut self, body: Body) {
        self.0.push(body);
    }
}

impl RestThread {
    /// Runs until told to stop.
    pub fn run(mut self) {
        for body in std::mem::take(&mut self.warm_up) {
            self.answer(body);
        }
        while !self.stop.load(Ordering::Acquire) {
            let mut wanted = None;
            while let Some(want) = self.wants.pop() {
                wanted = Some(want); // several wishes, one answer
            }
            match wanted {
                Some(RestWant::Reconcile { since }) => self.reconcile(since),
                None => std::thread::park_timeout(LOOK_EVERY),
            }
        }
    }

    fn reconcile(&mut self, since: WallNs) {
        self.stats.reconciles.fetch_add(1, Ordering::Relaxed);
        let mut reads = ReconcileReads::new(since);
        let mut done = Ok(());
        while let (Ok(()), Some(call)) = (done, reads.call()) {
            if let Some(mark) = reads.begin() {
                self.answer(mark);
            }
            done = self.read(&call).and_then(|items| {
                let next = reads.on_reply(&items);
                let told_before = ReconcileReads::is_begin;
                items.into_iter().filter(|i| !told_before(i)).for_each(|item| self.answer(item));
                next
            });
        }
        self.answer(ReconcileReads::verdict(done));
    }

    /// Pushes one fact; waits for room, because none of them may be lost.
    fn answer(&mut self, mut body: Body) {
        while !self.stop.load(Ordering::Acquire) {
            match self.answers.push(body) {
                Ok(()) => return,
                Err(back) => {
                    body = back;
                    std::thread::park_timeout(LOOK_EVERY);
                }
            }
        }
    }

    /// One private read, tried again where that is harmless. The error is the venue's or HTTP's
    /// code.
    fn read(&mut self, call: &RestCall) -> Result<Vec<Body>, i32> {
        let mut code = 0;
        for attempt in 0..self.retries_max.max(1) {
            if self.stop.load(Ordering::Acquire) {
                break;
            }
            if attempt > 0 {
                std::thread::park_timeout(Duration::from_millis(100 << attempt.min(5)));
            }
            self.stats.calls.fetch_add(1, Ordering::Relaxed);
            self.stats.retries.fetch_add(u64::from(attempt > 0), Ordering::Relaxed);
            let begun = self.clock.mono();
            let answer = self.read_once(call);
            self.book(call, (self.clock.mono() - begun).0, answer.as_ref().err().map(|e| e.0));
            match answer {
                Ok(items) => return Ok(items),
                Err((failure, words)) => {
                    log::warn!("rest {}: {words}", call.endpoint());
                    code = failure;
                }
            }
            self.stats.failures.fetch_add(1, Ordering::Relaxed);
        }
        Err(code)
    }

    fn book(&self, call: &RestCall, took_ns: i64, failure: Option<i32>) {
        let limited = failure.is_some_and(|code| RATE_LIMIT_CODES.contains(&code));
        self.stats.rate_limited.fetch_add(u64::from(limited), Ordering::Relaxed);
        let mut endpoints = self.stats.endpoints.lock();
        let row = endpoints.entry(call.endpoint()).or_default();
        row.calls += 1;
        row.failures += u64::from(failure.is_some());
        row.rate_limited += u64::from(limited);
        row.last_code = failure.unwrap_or(0);
        row.latency_us.saturating_record((took_ns.max(0).unsigned_abs() / 1_000).max(1));
    }

    fn read_once(&mut self, call: &RestCall) -> Result<Vec<Body>, (i32, String)> {
        let (mut path, mut body) = ([0; CALL_TEXT_MAX], [0; CALL_TEXT_MAX]);
        let unspeakable = |error| (UNREADABLE, format!("the call cannot be written: {error:?}"));
        let len = call.write_path(&self.table, &mut path).map_err(unspeakable)?;
        let path = std::str::from_utf8(&path[..len]).unwrap_or_default();
        let len = call.write_body(&self.table, &mut body).map_err(unspeakable)?;
        let body = &body[..len];
        let nonce = self.nonces.next((self.clock.wall().0 / 1_000) as u64);
        let signature = self.key.sign_rest(path, nonce, body);
        let (url, nonce) = (format!("{}/v2/{path}", self.base_url), nonce.to_string());
        let headers = [
            ("content-type", "application/json"),
            ("bfx-nonce", nonce.as_str()),
            ("bfx-apikey", self.key.id()),
            ("bfx-signature", signature.as_str()),
        ];
        let request = RestRequest {
            method: Method::Post,
            url: &url,
            headers: &headers,
            body,
            total_max: None,
        };
        let reply = self.transport.call(&request).map_err(|e| (NO_ANSWER, e.to_string()))?;
        let mut items = Collected::default();
        match parse_reply(call, reply.status, &reply.body, &self.table, &mut items) {
            Ok(_) => Ok(items.0),
            Err(error) => {
                let code = if error.code != 0 { error.code } else { i32::from(error.status) };
                Err((code, format!("HTTP {}, {:?}: {}", error.status, error.kind, error.text)))
            }
        }
    }
}
