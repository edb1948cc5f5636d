//! What the engine is told not to have happened did not: an order that it takes for never sent, or
//! for refused, is not one that the venue was given, or took. And while the fate of a close by REST
//! is not known, no other order of its symbol is decided: the socket's own doubts are the
//! duplicate checker's, for entries; by REST a close, too, could come twice.

use crate::model::{Ack, AckOf, Action, Body, Command, LinkState, NewOrder, SendOutcome, Source};
use crate::world::setup::ABSENT_AFTER_S;
use std::collections::{BTreeMap, BTreeSet};

pub const NAME: &str = "what is told not to have happened did not";

#[derive(Clone, Copy, Debug)]
struct Unknown {
    symbol: u16,
    since_ns: u64,
    /// The stages have had cause to doubt it: decided without the socket, or the socket fell since.
    doubted: bool,
}

#[derive(Debug, Default)]
pub struct Fates {
    /// Orders that reached the exchange, and those that it took by REST.
    arrived: BTreeSet<u64>,
    taken: BTreeSet<u64>,
    /// Orders of which the engine was told that they never left.
    gone: BTreeSet<u64>,
    /// New orders of this run by REST of which nothing is known yet.
    unknown: BTreeMap<u64, Unknown>,
    /// The stages know that there is no socket.
    is_down: bool,
    /// Orders whose call by REST, or that of their cancel, ended in doubt.
    doubted: BTreeSet<u64>,
}

fn new_of(command: &Command) -> Option<&NewOrder> {
    match &command.action {
        Action::New(new) | Action::Replace { new, .. } => Some(new),
        _ => None,
    }
}

impl Fates {
    /// A new run finds what became of them in the venue's lists, not in memory.
    pub fn started(&mut self) {
        self.unknown.clear();
        self.is_down = false;
        self.doubted.clear();
    }
    /// A command is handed to the REST thread; time as the stamps have it.
    pub fn leaves_by_rest(&mut self, command: &Command, now_ns: u64) {
        if let Some(new) = new_of(command) {
            let row = Unknown { symbol: command.symbol.0, since_ns: now_ns, doubted: self.is_down };
            self.unknown.insert(new.cid.0, row);
        }
    }
    /// The end of its call proves nothing.
    pub fn ends_in_doubt(&mut self, command: &Command) {
        self.doubted.insert(command.cid().0);
    }
    /// A new order reaches the exchange.
    pub fn arrived(&mut self, cid: u64) -> Result<(), String> {
        self.arrived.insert(cid);
        match self.gone.contains(&cid) {
            true => Err(format!("order {cid} arrived after the engine was told it never left")),
            false => Ok(()),
        }
    }
    /// The exchange took an order that came by REST.
    pub fn taken(&mut self, cid: u64) {
        self.taken.insert(cid);
    }
    /// A fact is about to reach the stages. True where a read has settled what a call left in
    /// doubt.
    pub fn before(&mut self, body: &Body) -> Result<bool, String> {
        match body {
            Body::Report(report) if report.of == AckOf::New => {
                if matches!(report.outcome, SendOutcome::Written | SendOutcome::Broken) {
                    return Ok(false);
                }
                let cid = report.cid.0;
                self.unknown.remove(&cid);
                self.gone.insert(cid);
                if self.arrived.contains(&cid) {
                    let told = report.outcome.name();
                    return Err(format!("order {cid} has arrived, and the engine is told: {told}"));
                }
            }
            Body::Ack(Ack { of: AckOf::New, success, cid, refusal, .. }) => {
                self.unknown.remove(&cid.0);
                if !success && self.taken.contains(&cid.0) {
                    let cid = cid.0;
                    return Err(format!(
                        "order {cid} was taken, and the engine is told: {refusal:?}"
                    ));
                }
            }
            Body::Order(update) => {
                self.unknown.remove(&update.cid.0);
                let is_read = matches!(update.source, Source::RestHistory | Source::RestOpen);
                if self.doubted.remove(&update.cid.0) {
                    return Ok(is_read);
                }
            }
            Body::Link(link) if link.trading => match link.state {
                LinkState::Down => {
                    self.is_down = true;
                    self.unknown.values_mut().for_each(|row| row.doubted = true);
                }
                LinkState::Authenticated => self.is_down = false,
                _ => {}
            },
            Body::Fill(fill) => drop(self.unknown.remove(&fill.cid.0)),
            _ => {}
        }
        Ok(false)
    }
    pub fn decided(&self, command: &Command, now_ns: u64) -> Result<(), String> {
        let Some(new) = new_of(command) else { return Ok(()) };
        let absent = u64::from(ABSENT_AFTER_S) * 1_000_000_000;
        let in_doubt = self.unknown.iter().find(|(_, row)| {
            let is_young = now_ns.saturating_sub(row.since_ns) < absent;
            row.symbol == command.symbol.0 && row.doubted && is_young
        });
        match in_doubt {
            None => Ok(()),
            Some((cid, row)) => Err(format!(
                "order {} was decided while the fate of {cid} (by REST, {} ms ago) is not known",
                new.cid.0,
                now_ns.saturating_sub(row.since_ns) / 1_000_000
            )),
        }
    }
}
