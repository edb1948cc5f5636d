//! The checkers' eyes on the stages: what they were told, what they decided, and the rare pairs
//! that this makes.

use super::checks::Checks;
use super::engine::Watch;
use super::faults::{Coverage, Kind};
use super::log::Log;
use super::setup::{KEY, SYMBOLS};
use crate::base::units::Px;
use crate::exchange::Exchange;
use crate::line::chain::Chain;
use crate::model::{
    AckOf, Action, Body, Command, Event, LinkState, OperatorVerb, OrderFlags, OrderStatus, Source,
};
use std::collections::BTreeMap;

/// What a run has seen of its orders, for rare pairs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sight {
    acked: bool,
    cancel_acked: bool,
    ended: bool,
}

/// The checkers' eyes on one batch of the stages.
pub struct Eyes<'a> {
    pub now_ns: u64,
    pub checks: &'a mut Checks,
    pub exchange: &'a Exchange,
    pub coverage: &'a mut Coverage,
    /// Since the beginning, and since this run began.
    pub foreign: [&'a [i64; SYMBOLS.len()]; 2],
    pub is_cancel_only: bool,
    pub sights: &'a mut BTreeMap<u64, Sight>,
    pub log: &'a mut Log,
    pub reconciles: &'a mut u64,
}
impl Watch for Eyes<'_> {
    fn before(&mut self, event: &Event) {
        if self.checks.before(event, self.now_ns) {
            self.coverage.hit(Kind::RestOrderSettled);
        }
        match &event.body {
            Body::Book(_) | Body::Trades(_) | Body::Tick => return,
            Body::Ack(ack) => {
                let sight = self.sights.entry(ack.cid.0).or_default();
                sight.acked |= ack.of == AckOf::New;
                sight.cancel_acked |= ack.of == AckOf::Cancel && ack.success;
            }
            Body::Order(update) => {
                let sight = self.sights.entry(update.cid.0).or_default();
                let ends = update.status.is_end() || update.source == Source::Closed;
                if ends && !sight.acked && !sight.ended && update.source == Source::Closed {
                    self.coverage.hit(Kind::EndBeforeAck);
                }
                sight.acked |= !ends;
                sight.ended |= ends;
                // Histories tell it again and again.
                let refused = update.status == OrderStatus::Refused;
                let refused = refused && update.source == Source::Closed;
                if refused && update.flags.has(OrderFlags::REDUCE_ONLY) {
                    self.coverage.hit(Kind::ReduceOnlyRefused);
                }
                if update.remaining != update.original && !update.remaining.is_zero() {
                    self.coverage.hit(Kind::PartialFill);
                }
            }
            Body::Fill(fill) if fill.fee.is_none() => {
                let sight = self.sights.entry(fill.cid.0).or_default();
                if !sight.acked {
                    self.coverage.hit(Kind::FillBeforeAck);
                }
                if sight.cancel_acked {
                    self.coverage.hit(Kind::FillAfterCancelAck);
                }
            }
            Body::Link(link) => {
                *self.reconciles += u64::from(link.state == LinkState::Reconciled);
            }
            _ => {}
        }
        self.log.line(self.now_ns, || format!("  event {:?}", event.body));
    }
    fn decided(&mut self, command: &Command, event: &Event, chain: &Chain) {
        self.log.line(self.now_ns, || format!("  decided {:?}", command.action));
        let index = command.symbol.index();
        if matches!(command.action, Action::Cancel { .. } | Action::CancelMulti { .. }) {
            return;
        }
        self.checks.loss.day(chain.risk.memory().account.day);
        let audit = self.exchange.audit(KEY).unwrap_or_default();
        let mid = chain.risk.symbol_snapshot(command.symbol).mark;
        let foreign = self.foreign.map(|rows| rows.get(index).copied().unwrap_or(0));
        let truth = (&audit, foreign, if mid.is_zero() { Px::ZERO } else { mid });
        self.checks.decided(command, event, self.now_ns, truth);
    }
    fn after(&mut self, event: &Event, chain: &Chain) {
        self.checks.after(event);
        if let Body::Operator(command) = event.body {
            match command.verb {
                OperatorVerb::Kill if self.is_cancel_only => {
                    self.coverage.hit(Kind::KillInCancelOnly);
                }
                OperatorVerb::Reset if !command.reason.is_empty() => self.checks.loss.begin(),
                _ => {}
            }
            if command.verb == OperatorVerb::Kill && chain.risk.ledger().frozen() > 0 {
                self.coverage.hit(Kind::KillInDoubt);
            }
        }
    }
}
