//! No economic duplicate: every order at the exchange is one that was decided, with the same terms,
//! and no entry is decided in a symbol while the fate of another is not known.

use crate::model::{Action, Body, Class, Command, LinkState, NewOrder, SendOutcome};
use crate::world::setup::{ABSENT_AFTER_S, ACK_TIMEOUT_MS};
use std::collections::BTreeMap;

pub const NAME: &str = "no economic duplicate";

/// What an order says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    pub symbol: u16,
    /// Signed, 1e-8.
    pub qty: i64,
    pub px: i64,
    pub flags: u32,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    symbol: u16,
    at_ns: u64,
    /// The link went down since.
    doubted: bool,
}

#[derive(Debug, Default)]
pub struct Duplicate {
    /// Written and not yet arrived.
    under_way: BTreeMap<u64, Terms>,
    /// Of this run, without any answer.
    unanswered: BTreeMap<u64, Sent>,
}

fn terms(command: &Command, new: &NewOrder) -> Terms {
    Terms { symbol: command.symbol.0, qty: new.qty.raw(), px: new.px.raw(), flags: new.flags.0 }
}
fn new_of(command: &Command) -> Option<&NewOrder> {
    match &command.action {
        Action::New(new) | Action::Replace { new, .. } => Some(new),
        _ => None,
    }
}

impl Duplicate {
    /// A run ends: its doubts are the next run's through the venue's lists, not through memory.
    pub fn started(&mut self) {
        self.unanswered.clear();
    }
    /// Time is the stamps': that of the inputs, in which the engine decides.
    pub fn before(&mut self, body: &Body, now_ns: u64) {
        match body {
            Body::Order(update) => drop(self.unanswered.remove(&update.cid.0)),
            Body::Ack(ack) => drop(self.unanswered.remove(&ack.cid.0)),
            Body::Fill(fill) => drop(self.unanswered.remove(&fill.cid.0)),
            Body::Report(report)
                if !matches!(report.outcome, SendOutcome::Written | SendOutcome::Broken) =>
            {
                self.unanswered.remove(&report.cid.0);
            }
            Body::Link(link) if link.trading && link.state == LinkState::Down => {
                self.unanswered.values_mut().for_each(|sent| sent.doubted = true);
            }
            _ => {}
        }
        let forgotten = u64::from(ABSENT_AFTER_S) * 1_000_000_000;
        if self.unanswered.len() > 64 {
            self.unanswered.retain(|_, sent| sent.at_ns + forgotten >= now_ns);
        }
    }
    pub fn decided(&mut self, command: &Command, now_ns: u64) -> Result<(), String> {
        let Some(new) = new_of(command) else { return Ok(()) };
        let (patience, absent) =
            (u64::from(ACK_TIMEOUT_MS) * 1_000_000, u64::from(ABSENT_AFTER_S) * 1_000_000_000);
        let in_doubt = self.unanswered.iter().find(|(_, sent)| {
            let age = now_ns.saturating_sub(sent.at_ns);
            // A tick and a batch may pass before a time-out is noticed.
            let late = age > patience + 1_000_000_000;
            sent.symbol == command.symbol.0 && (sent.doubted || late) && age < absent
        });
        if let (Some((cid, sent)), Class::Entry) = (in_doubt, command.class) {
            return Err(format!(
                "entry {} decided while the fate of {cid} (sent {} ms ago) is not known",
                new.cid.0,
                now_ns.saturating_sub(sent.at_ns) / 1_000_000
            ));
        }
        let sent = Sent { symbol: command.symbol.0, at_ns: now_ns, doubted: false };
        self.unanswered.insert(new.cid.0, sent);
        Ok(())
    }
    /// Its bytes are on their way.
    pub fn written(&mut self, command: &Command) {
        if let Some(new) = new_of(command) {
            self.under_way.insert(new.cid.0, terms(command, new));
        }
    }
    /// A new order arrives at the exchange.
    pub fn arrived(&mut self, cid: u64, terms: Terms) -> Result<(), String> {
        match self.under_way.remove(&cid) {
            Some(decided) if decided == terms => Ok(()),
            Some(decided) => Err(format!("order {cid}: decided {decided:?}, arrived {terms:?}")),
            None => Err(format!("order {cid} arrived, which nobody decided: {terms:?}")),
        }
    }
}
