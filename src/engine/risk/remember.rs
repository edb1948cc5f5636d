//! From events to the guards that remember, and from them to what the stage does about it.

use super::account::{Tripped, worth_of};
use super::config::OnLoss;
use super::memory::{RiskJournal, RiskMemory};
use super::stage::RiskStage;
use crate::base::bounded::Text;
use crate::base::ids::SymbolId;
use crate::base::units::{Px, UNIT_SCALE};
use crate::model::{AckOf, Body, Class, LinkState, OrderStatus, Source, WalletKind};

/// Counts of the ledger before an event, to see what it changed.
#[derive(Clone, Copy)]
pub(super) struct Before {
    pub(super) orders_traded: u64,
    pub(super) foreign: u64,
}

impl RiskStage {
    #[inline(always)]
    pub(super) fn counted(&self) -> Before {
        let counters = self.ledger.counters();
        let foreign = counters.updates_foreign + counters.fills_foreign;
        Before { orders_traded: counters.orders_traded, foreign }
    }
    /// Takes over what earlier runs of this account wrote; before the first input. A kill, a pause
    /// and a flatten that were at work go on.
    pub fn recall(&mut self, memory: &RiskMemory) {
        let account = &memory.account;
        self.account.recall(account, &memory.symbols);
        (self.killed, self.paused) = (account.killed, account.paused);
        // A kill that was done closes again what the venue may still hold.
        self.halted = account.halted && !account.killed;
        self.counters.kills += u64::from(account.killed);
        self.resuming = account.killed || self.account.symbols().iter().any(|row| row.flattening);
        self.recall_brackets();
    }
    /// The account is known: what an earlier run was about to close is closed now.
    pub(super) fn resume_closing(&mut self) {
        self.resuming = false;
        if self.killed {
            self.cancel_where(|_| true);
            self.flatten(None);
        }
        for row in 0..self.goals.len() {
            if self.account.symbols()[row].flattening {
                self.flatten(Some(SymbolId(row as u16)));
            }
        }
    }
    /// Where to write it down from now on.
    pub fn keep_in(&mut self, journal: Box<dyn RiskJournal>) {
        self.journal = Some(journal);
    }
    /// What would be written down now.
    pub fn memory(&self) -> RiskMemory {
        let symbols = self.account.symbols().to_vec(); // tidy-ok: asked by people, not per input
        RiskMemory { account: *self.account.memory(), symbols }
    }

    #[cold]
    pub(super) fn keep(&mut self) {
        let cid_last = self.ledger.cid_last();
        self.account.note(|memory| memory.cid_last = cid_last);
        let (account, symbols) = self.account.take_dirty(self.wall);
        let Some(journal) = &mut self.journal else { return };
        journal.keep_account(&account);
        if symbols {
            for (row, symbol) in self.account.symbols().iter().enumerate() {
                journal.keep_symbol(row, symbol);
            }
        }
    }
    pub(super) fn note_rank(&mut self) {
        let (killed, halted, paused) = (self.killed, self.halted, self.paused);
        self.account.note(|memory| {
            (memory.killed, memory.halted, memory.paused) = (killed, halted, paused);
        });
    }
    pub(super) fn note_reason(&mut self, reason: &Text<48>) {
        self.account.note(|memory| memory.reason = *reason);
        self.note_rank();
    }
    /// The kill switch: no entries, own orders cancelled, positions closed, halted when that is
    /// done.
    pub(super) fn kill(&mut self, reason: &Text<48>) {
        let again = self.killed && !self.halted;
        self.counters.kills += u64::from(!again);
        self.killed = true;
        self.halted = false;
        self.note_reason(reason);
        // One that is at work goes on: another word must not start its attempts anew.
        if !again {
            self.cancel_where(|_| true);
            self.flatten(None);
            // What the account holds is not known now: done again when it is.
            self.resuming |= !self.is_ready();
        }
    }
    fn on_trip(&mut self, tripped: Option<Tripped>) {
        let Some(Tripped(guard)) = tripped else { return };
        match self.config.account.on_loss {
            OnLoss::Kill => return self.kill(&Text::new(guard.name()).unwrap_or_default()),
            OnLoss::Flatten => self.flatten(None),
            OnLoss::Block => {}
        }
        self.cancel_where(|order| order.class == Class::Entry);
    }
    #[cold]
    pub(super) fn look_at(&mut self, index: usize) {
        let tripped = self.account.look(index, self.now, self.wall);
        self.on_trip(tripped);
    }

    /// What an event means to the guards that remember; `before` = the ledger's counts before it.
    pub(super) fn remember(&mut self, body: &Body, before: Before) {
        match body {
            Body::Order(update) => {
                let refused =
                    matches!(update.status, OrderStatus::Insufficient | OrderStatus::Refused);
                let live = matches!(update.source, Source::New | Source::Update | Source::Closed);
                // The venue ends what protects when the position is gone: no refusal of ours.
                let protects = refused
                    && self
                        .ledger
                        .find_by_id(update.id)
                        .is_some_and(crate::engine::orders::Order::is_protective);
                if refused && update.source == Source::Closed {
                    if !protects {
                        self.account.on_reject(self.wall);
                    }
                } else if live {
                    self.account.on_accept();
                }
                self.after_private(update.symbol, false, live, before);
            }
            Body::Fill(fill) => self.after_private(fill.symbol, fill.fee.is_some(), true, before),
            Body::Ack(ack) => {
                if ack.of == AckOf::New && !ack.success {
                    self.account.on_reject(self.wall);
                }
                self.after_private(ack.symbol, false, true, before);
            }
            Body::Position(update) => self.after_private(update.symbol, false, true, before),
            Body::Link(link) if link.trading => match link.state {
                LinkState::Down | LinkState::Authenticated => self.account.forget_wallets(),
                _ => {}
            },
            // Wallets are told with the orders, at log-in: a beat later they are all there.
            Body::Tick if self.account.is_joining() && self.is_ready() => {
                let tripped = self.account.end_joining(self.wall);
                self.on_trip(tripped);
            }
            _ => {}
        }
    }
    fn after_private(&mut self, symbol: SymbolId, settled: bool, live: bool, before: Before) {
        let (index, after) = (symbol.index(), self.counted());
        let known = index < self.instruments.len();
        let traded = after.orders_traded - before.orders_traded;
        if traded > 0 {
            self.account.on_trades(known.then_some(index), traded);
        }
        if after.foreign != before.foreign && live {
            self.account.on_foreign(self.wall);
        }
        if known {
            let position = self.positions.get(symbol);
            let tripped = self.account.on_position(index, &position, settled, self.wall);
            self.on_trip(tripped);
        }
    }
    /// The wallets in the equity currency; in a spot wallet also what is held of each base.
    pub(super) fn value_wallets(&mut self) {
        let kind = self.config.wallet;
        // Derivatives draw on the margin wallet's rows.
        let kind = if kind == WalletKind::Exchange { kind } else { WalletKind::Margin };
        let own = self.config.account.equity_currency;
        let mut worth = None;
        for row in self.wallets.iter().flatten().filter(|row| row.kind == Some(kind)) {
            if row.currency == own {
                let whole = Px::from_raw(UNIT_SCALE);
                worth = Some(worth.unwrap_or(0) + worth_of(row.balance, whole));
            }
        }
        if kind == WalletKind::Exchange && worth.is_some() {
            for row in self.wallets.iter().flatten().filter(|row| row.kind == Some(kind)) {
                let by = |i: &&crate::model::Instrument| i.base == row.currency && i.quote == own;
                if let Some(instrument) = self.instruments.iter().find(by) {
                    let mid = self.marks[instrument.id.index()].mid();
                    worth = worth.map(|sum: i128| sum + worth_of(row.balance, mid));
                }
            }
        }
        let tripped = self.account.on_wallets(worth, self.wall);
        self.on_trip(tripped);
    }
}
