//! The REST thread: reads the account when the line asks for a reconcile, and pushes what it learned back
//! through the front, item by item. Orders and prices never come from here.

use crate::base::time::WallNs;
use crate::io::clock::Clock;
use crate::io::rest::{RestRequest, RestTransport};
use crate::line::nonce::NonceAllocator;
use crate::model::{Body, LinkEvent, LinkState, SnapshotMark, SnapshotOf};
use crate::ring::{Rx, Tx};
use crate::venue::private::BodySink;
use crate::venue::rest::{RestCall, parse_reply};
use crate::venue::sign::ApiKey;
use crate::venue::symbols::SymbolTable;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// What the line asks of REST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestWant {
    /// Orders, history and trades since this time, then `Reconciled`.
    Reconcile { since: WallNs },
}

/// Calls by reason, for the report.
#[derive(Debug, Default)]
pub struct RestStats {
    pub calls: AtomicU64,
    pub failures: AtomicU64,
    pub reconciles: AtomicU64,
}

pub struct RestThread {
    pub transport: RestTransport,
    pub base_url: String,
    pub key: ApiKey,
    pub nonces: NonceAllocator,
    pub table: SymbolTable,
    pub wants: Rx<RestWant>,
    pub answers: Tx<Body>,
    pub clock: Clock,
    pub stop: Arc<AtomicBool>,
    pub stats: Arc<RestStats>,
    /// Tries of one read before the reconcile is reported as failed.
    pub retries_max: u32,
}

/// Items of one reply, in order.
#[derive(Default)]
struct Collected(Vec<Body>);
impl BodySink for Collected {
    fn body(&mut self, body: Body) {
        self.0.push(body);
    }
    fn market_time(&mut self, _: WallNs) {}
}

impl RestThread {
    /// Runs until told to stop.
    pub fn run(mut self) {
        while !self.stop.load(Ordering::Acquire) {
            let mut wanted = None;
            while let Some(want) = self.wants.pop() {
                wanted = Some(want); // several wishes, one answer
            }
            match wanted {
                Some(RestWant::Reconcile { since }) => self.reconcile(since),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    fn reconcile(&mut self, since: WallNs) {
        self.stats.reconciles.fetch_add(1, Ordering::Relaxed);
        let parts = [
            (SnapshotOf::RestTrades, RestCall::TradesHist { start: since }),
            (SnapshotOf::RestHistory, RestCall::OrdersHist { start: since }),
            (SnapshotOf::RestOrders, RestCall::Orders),
            (SnapshotOf::Positions, RestCall::Positions),
        ];
        let mut state = LinkState::Reconciled;
        let mut failure = 0;
        for (of, call) in parts {
            match self.read(&call) {
                Ok(items) => {
                    let count = items.len() as u32;
                    self.answer(Body::Snapshot(SnapshotMark { of, end: false, count }));
                    for item in items {
                        self.answer(item);
                    }
                    self.answer(Body::Snapshot(SnapshotMark { of, end: true, count }));
                }
                Err(code) => {
                    state = LinkState::ReconcileFailed;
                    failure = code;
                    break;
                }
            }
        }
        let conn = crate::base::ids::ConnId(u8::MAX);
        self.answer(Body::Link(LinkEvent { conn, trading: true, state, code: failure }));
    }

    /// Pushes one fact; waits for room, because none of them may be lost.
    fn answer(&mut self, mut body: Body) {
        while !self.stop.load(Ordering::Acquire) {
            match self.answers.push(body) {
                Ok(()) => return,
                Err(back) => {
                    body = back;
                    std::thread::sleep(Duration::from_micros(200));
                }
            }
        }
    }

    /// One private read, tried again where that is harmless. The error is the venue's or HTTP's code.
    fn read(&mut self, call: &RestCall) -> Result<Vec<Body>, i32> {
        let mut code = 0;
        for attempt in 0..self.retries_max.max(1) {
            if self.stop.load(Ordering::Acquire) {
                break;
            }
            if attempt > 0 {
                std::thread::sleep(Duration::from_millis(100 << attempt.min(5)));
            }
            self.stats.calls.fetch_add(1, Ordering::Relaxed);
            let (path, body) = (call.path(&self.table), call.body(&self.table));
            let nonce = self.nonces.next((self.clock.wall().0 / 1_000) as u64);
            let signature = self.key.sign_rest(&path, nonce, body.as_bytes());
            let nonce_text = nonce.to_string();
            let url = format!("{}/v2/{path}", self.base_url);
            let request = RestRequest::post(&url, body.as_bytes())
                .header("bfx-nonce", &nonce_text)
                .header("bfx-apikey", self.key.id())
                .header("bfx-signature", &signature);
            match self.transport.call(&request) {
                Ok(reply) if reply.status == 200 => {
                    let mut items = Collected::default();
                    match parse_reply(call, &reply.body, &self.table, &mut items) {
                        Ok(_) => return Ok(items.0),
                        Err(error) => {
                            log::warn!("rest {path}: reply not understood: {error:?}");
                            code = -2;
                        }
                    }
                }
                Ok(reply) => {
                    code = reply.status as i32;
                    log::warn!("rest {path}: HTTP {}", reply.status);
                }
                Err(error) => {
                    code = -1;
                    log::warn!("rest {path}: {error}");
                }
            }
            self.stats.failures.fetch_add(1, Ordering::Relaxed);
        }
        Err(code)
    }
}
