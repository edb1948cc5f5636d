//! No order is decided on a book that is not in step, older than the limit, or wrong for longer
//! than a checksum takes to tell. The truth is the exchange's own best prices.

use crate::base::time::{MonoNs, SpanNs};
use crate::model::{Action, Body, Class, Command, Event, OrderKind, Reason, SyncState};
use crate::world::setup::{STALE_AFTER_MS, SYMBOLS};
use std::collections::VecDeque;

pub const NAME: &str = "no order on an unsynced, stale or wrong book";

/// True prices remembered, ns: older ones cannot be what a fresh book shows.
const PAST_NS: u64 = 45_000_000_000;
/// How long a book may be wrong: a checksum comes every 2.5 s while it changes, and travels.
const WRONG_NS_MAX: u64 = 15_000_000_000;

#[derive(Debug, Default)]
struct Row {
    synced: bool,
    seen_at: MonoNs,
    bid: i64,
    ask: i64,
    /// Best bids and asks of the exchange: when, bid, ask.
    truth: VecDeque<(u64, i64, i64)>,
    wrong_since: Option<u64>,
    /// The whole book differs although nothing is under way: first and last time that was seen.
    /// While something always is, nobody can say.
    differs: Option<(u64, u64)>,
}

impl Row {
    /// Whether the exchange has shown these prices, or better and worse ones, lately.
    fn is_right(&self) -> bool {
        let lately = || self.truth.iter();
        let within = |low: Option<i64>, high: Option<i64>, px: i64| {
            low.is_none_or(|low| low <= px) && high.is_none_or(|high| px <= high)
        };
        let (bids, asks) = (|| lately().map(|row| row.1), || lately().map(|row| row.2));
        within(bids().min(), bids().max(), self.bid) && within(asks().min(), asks().max(), self.ask)
    }
    fn look(&mut self, now_ns: u64) {
        let is_wrong = self.synced && self.bid > 0 && !self.is_right();
        match (is_wrong, self.wrong_since) {
            (true, None) => self.wrong_since = Some(now_ns),
            (true, Some(_)) => {}
            (false, _) => self.wrong_since = None,
        }
    }
}

#[derive(Debug, Default)]
pub struct Books {
    rows: [Row; SYMBOLS.len()],
}

impl Books {
    /// The engine knows nothing any more.
    pub fn started(&mut self) {
        for row in &mut self.rows {
            let truth = std::mem::take(&mut row.truth);
            *row = Row { truth, ..Row::default() };
        }
    }
    /// The exchange's best prices, when they may have changed.
    pub fn touch(&mut self, symbol: usize, at_ns: u64, bid: i64, ask: i64) {
        let truth = &mut self.rows[symbol].truth;
        if truth.back().is_some_and(|last| last.1 == bid && last.2 == ask) {
            return;
        }
        truth.push_back((at_ns, bid, ask));
        // One older entry stays: it was true until the next one.
        while truth.len() > 2 && truth[1].0 + PAST_NS < at_ns {
            truth.pop_front();
        }
    }
    pub fn before(&mut self, event: &Event, _now_ns: u64) {
        match &event.body {
            Body::Book(view) => {
                let Some(row) = self.rows.get_mut(view.symbol.index()) else { return };
                row.seen_at = event.stamp.recv;
                row.synced |= view.bid().is_some() && view.ask().is_some();
                row.bid = view.bid().map_or(0, |level| level.px.raw());
                row.ask = view.ask().map_or(0, |level| level.px.raw());
            }
            Body::Sync(sync) => {
                let Some(row) = self.rows.get_mut(sync.symbol.index()) else { return };
                // Known to be out of step, or begun anew: whatever was wrong before is over.
                row.wrong_since = None;
                if sync.state != SyncState::Synced {
                    row.synced = false;
                    row.differs = None;
                }
            }
            _ => {}
        }
    }
    /// The session's book beside the exchange's, compared while nothing was under way.
    pub fn compared(&mut self, symbol: usize, now_ns: u64, same: bool) {
        let row = &mut self.rows[symbol];
        let since = row.differs.map_or(now_ns, |(since, _)| since);
        row.differs = (!same).then_some((since, now_ns));
    }
    /// Once a second: is what is believed still what is true?
    pub fn look(&mut self, now_ns: u64) {
        self.rows.iter_mut().for_each(|row| row.look(now_ns));
    }
    pub fn decided(&mut self, command: &Command, event: &Event, now_ns: u64) -> Result<(), String> {
        if matches!(command.action, Action::Cancel { .. } | Action::CancelMulti { .. }) {
            return Ok(());
        }
        // What protects waits for a price of its own; it is wanted most where no book is to be had.
        let rests = match command.action {
            Action::New(new) => new.kind != OrderKind::Ioc,
            _ => true,
        };
        let protects = matches!(command.reason, Reason::StopLoss | Reason::TakeProfit);
        if command.class == Class::Close && protects && rests {
            return Ok(());
        }
        let Some(row) = self.rows.get_mut(command.symbol.index()) else { return Ok(()) };
        let what = &command.action;
        if !row.synced {
            return Err(format!("decided on an unsynced book: {what:?}"));
        }
        let age = event.stamp.recv - row.seen_at;
        if age > SpanNs::from_ms(i64::from(STALE_AFTER_MS)) {
            return Err(format!("decided on a book {} ms old: {what:?}", age.as_ms()));
        }
        row.look(now_ns);
        let span = row.differs.map_or(0, |(since, seen)| seen - since);
        if span > WRONG_NS_MAX {
            let ms = span / 1_000_000;
            return Err(format!("decided on a book that has differed for {ms} ms: {what:?}"));
        }
        match row.wrong_since {
            Some(since) if now_ns - since > WRONG_NS_MAX => Err(format!(
                "decided on a book that has been wrong for {} ms (bid {} ask {}): {what:?}",
                (now_ns - since) / 1_000_000,
                row.bid,
                row.ask
            )),
            _ => Ok(()),
        }
    }
}
