//! When the account is read by REST, and what is read: the decisions of a reconcile without threads
//! or transport. `runtime` makes the calls on the REST thread, the world makes them in virtual
//! time.

use crate::base::ids::ConnId;
use crate::base::time::{SpanNs, WallNs};
use crate::model::{Body, Event, LinkEvent, LinkState, SnapshotMark, SnapshotOf};
use crate::venue::rest::{HIST_LIMIT_MAX, RestCall};

/// Pages of one history read in one reconcile; more is a failed reconcile, not a silent hole.
const PAGES_MAX: u32 = 20;
/// How far before the last good reconcile the histories are read.
const RECONCILE_BACK: SpanNs = SpanNs::from_s(600);
/// Codes of `LinkState::ReconcileFailed` that are not an HTTP status.
pub const NO_ANSWER: i32 = -1;
pub const UNREADABLE: i32 = -2;
pub const TOO_MANY_PAGES: i32 = -3;

/// When a reconcile is asked for. Times are ticks of the caller's own counter, which only rises.
#[derive(Clone, Copy, Debug)]
pub struct ReconcileTimer {
    /// Not before this; 0 = at once.
    at: u64,
    /// Between two reconciles that are asked for, ticks.
    every: u64,
    /// A reconcile without an answer is asked for again after this long, ticks.
    patience: u64,
    since: Option<WallNs>,
}

impl ReconcileTimer {
    pub fn new(every: u64, patience: u64) -> Self {
        Self { at: 0, every, patience, since: None }
    }
    /// Follows what the risk stage was just told.
    pub fn look_at(&mut self, event: &Event, now: u64) {
        let from = |wall: WallNs| Some(wall + SpanNs(-RECONCILE_BACK.0));
        if self.since.is_none() && event.stamp.wall.0 > 0 {
            self.since = from(event.stamp.wall);
        }
        let Body::Link(link) = event.body else { return };
        match link.state {
            // A new session begins: what it is told at log-in must be confirmed at once.
            LinkState::Authenticated => self.at = 0,
            LinkState::Reconciled | LinkState::ReconcileFailed => {
                // Each round reads from before the last good one on: together they have no hole.
                if link.state == LinkState::Reconciled {
                    self.since = from(event.stamp.wall);
                }
                self.at = now + self.every;
            }
            _ => {}
        }
    }
    /// True until the first event with a time.
    pub fn is_fresh(&self) -> bool {
        self.since.is_none()
    }
    /// Since when histories should be read, where one should be asked for now. `oldest` = when the
    /// oldest own order that is not done was made: the venue lists closed orders by that time, so
    /// an order that rested for long would not be among those since the last reconcile.
    pub fn due(&self, now: u64, oldest: Option<WallNs>) -> Option<WallNs> {
        let since = self.since.filter(|_| now >= self.at)?;
        Some(oldest.map_or(since, |at| since.min(at + SpanNs(-RECONCILE_BACK.0))))
    }
    /// The question is on its way.
    pub fn asked(&mut self, now: u64) {
        self.at = now + self.patience;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Own trades from this time on, page by page.
    Trades(WallNs),
    History,
    Orders,
    Positions,
    Done,
}

/// The reads of one reconcile, one after the other.
#[derive(Clone, Copy, Debug)]
pub struct ReconcileReads {
    since: WallNs,
    step: Step,
    pages: u32,
}

impl ReconcileReads {
    pub fn new(since: WallNs) -> Self {
        Self { since, step: Step::Trades(since), pages: 0 }
    }
    /// The read that is due; `None` when all are answered.
    pub fn call(&self) -> Option<RestCall> {
        let limit = HIST_LIMIT_MAX;
        match self.step {
            Step::Trades(start) => Some(RestCall::TradesHist { start, limit }),
            Step::History => Some(RestCall::OrdersHist { start: self.since, limit }),
            Step::Orders => Some(RestCall::Orders),
            Step::Positions => Some(RestCall::Positions),
            Step::Done => None,
        }
    }
    /// To be told when the read that is due leaves: a list speaks of nothing that happened after
    /// its question, and its begin mark is how the ledger knows. The mark in its reply is then
    /// dropped (`is_begin`), for by the time of the reply it would say the wrong thing.
    pub fn begin(&self) -> Option<Body> {
        let of = match self.step {
            Step::Trades(_) => SnapshotOf::RestTrades,
            Step::History => SnapshotOf::RestHistory,
            Step::Orders => SnapshotOf::RestOrders,
            Step::Positions | Step::Done => return None,
        };
        Some(Body::Snapshot(SnapshotMark { of, end: false, count: 0 }))
    }
    /// A mark that `begin` has told already.
    pub fn is_begin(item: &Body) -> bool {
        use SnapshotOf::{RestHistory, RestOrders, RestTrades};
        let Body::Snapshot(mark) = item else { return false };
        !mark.end && matches!(mark.of, RestTrades | RestHistory | RestOrders)
    }
    /// What the read that was due has answered. A full page of trades is followed by the next from
    /// its last time on; trades told twice are counted once, by their id.
    ///
    /// # Errors
    /// `TOO_MANY_PAGES`.
    pub fn on_reply(&mut self, items: &[Body]) -> Result<(), i32> {
        self.step = match self.step {
            Step::Trades(start) => {
                self.pages += 1;
                let mut times = items.iter().filter_map(|item| match item {
                    Body::Fill(fill) => Some(fill.at),
                    _ => None,
                });
                let is_full = times.clone().count() >= usize::from(HIST_LIMIT_MAX);
                match times.next_back() {
                    Some(_) if is_full && self.pages >= PAGES_MAX => return Err(TOO_MANY_PAGES),
                    Some(at) if is_full && at > start => Step::Trades(at),
                    _ => Step::History,
                }
            }
            Step::History => Step::Orders,
            Step::Orders => Step::Positions,
            Step::Positions | Step::Done => Step::Done,
        };
        Ok(())
    }
    /// The word that closes the round; an error's code says why it is none.
    pub fn verdict(done: Result<(), i32>) -> Body {
        let (state, code) = match done {
            Ok(()) => (LinkState::Reconciled, 0),
            Err(code) => (LinkState::ReconcileFailed, code),
        };
        Body::Link(LinkEvent { conn: ConnId(u8::MAX), trading: true, state, code })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::MonoNs;
    use crate::model::{Stamp, Trace};

    #[test]
    fn histories_are_read_from_before_the_oldest_order_that_is_not_done() {
        let mut timer = ReconcileTimer::new(1, 30);
        let wall = WallNs(10_000_000_000_000);
        let stamp = Stamp { seq: 1, recv: MonoNs(0), wall };
        assert_eq!(timer.due(5, None), None);
        timer.look_at(&Event { stamp, trace: Trace::default(), body: Body::Tick }, 5);
        let back = |at: WallNs| Some(at + SpanNs(-RECONCILE_BACK.0));
        assert_eq!(timer.due(5, None), back(wall));
        assert_eq!(timer.due(5, Some(wall)), back(wall));
        let older = WallNs(wall.0 - 3_600_000_000_000);
        assert_eq!(timer.due(5, Some(older)), back(older));
        timer.asked(5);
        assert_eq!(timer.due(34, Some(older)), None);
    }

    #[test]
    fn every_read_of_orders_and_trades_begins_with_its_mark_when_it_leaves() {
        let mut reads = ReconcileReads::new(WallNs(1));
        let mut begun = Vec::new();
        while reads.call().is_some() {
            if let Some(mark) = reads.begin() {
                assert!(ReconcileReads::is_begin(&mark));
                let Body::Snapshot(mark) = mark else { unreachable!("a mark") };
                begun.push(mark.of);
            }
            assert_eq!(reads.on_reply(&[]), Ok(()));
        }
        let all = [SnapshotOf::RestTrades, SnapshotOf::RestHistory, SnapshotOf::RestOrders];
        assert_eq!(begun, all);
        let of = SnapshotOf::Positions;
        assert!(!ReconcileReads::is_begin(&Body::Snapshot(SnapshotMark {
            of,
            end: false,
            count: 0
        })));
    }
}
