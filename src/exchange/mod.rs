//! Purpose:   the other side: matching, accounts, fees, the venue's grammar on socket and REST,
//!            market sources.
//! Knows:     base, model.           Must not know: venue, engine, line, io, runtime.
//! Time:      the market's clock, told with every call; it never runs backwards here.
//! Memory:    allocates; bounded by the limits of `config`, `account` and `tape`.
//! Errors:    the venue's own codes and texts to clients; `ExchangeError` at set-up.
//! Tests:     exchange/tests.rs, beside each file, tests/it/exchange_*.rs with our own client.

mod account;
mod audit;
mod calc;
mod checksum;
mod cids;
mod conf;
mod config;
mod core;
mod date;
mod depth;
mod desk;
mod entry;
#[cfg(test)]
mod entry_tests;
mod execute;
mod floor;
mod funds;
pub mod fuzz;
mod ghost;
mod hub;
mod journal;
mod json;
mod ledger;
mod levels;
mod login;
mod margin;
mod market;
mod matching;
mod number;
mod order;
#[cfg(test)]
mod order_tests;
mod publish;
mod recorded;
mod rest;
mod rest_beside;
mod rest_private;
mod rest_public;
#[cfg(test)]
mod rest_tests;
#[cfg(test)]
mod script_tests;
#[cfg(test)]
mod session_tests;
mod settle;
#[cfg(test)]
mod shape_tests;
mod sign;
mod state;
#[cfg(test)]
mod state_tests;
mod stops;
mod talk;
mod tape;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod twin_drive_tests;
#[cfg(test)]
mod twin_tests;
mod wire;

pub use self::audit::{Audit, AuditOrder, AuditTrade};
pub use self::config::{
    AccountSpec, ExchangeConfig, ExchangeError, FeeTier, Fees, KeySpec, Permissions, SymbolSpec,
    VenueLimits, WaitFor,
};
pub use self::core::ExchangeStats;
pub use ghost::GhostStats;
pub use hub::{FeedKey, Outgoing};
pub use journal::Replayed;
pub use market::capture::{CaptureError, CaptureSource, RecordedMessage};
pub use market::live::{LiveInbox, LiveMessage, LiveSource};
pub use market::synthetic::{Synthetic, SyntheticConfig};
pub use market::{Floor, MarketSource, RecordedChannel, SourceState};
pub use rest::{HttpReply, HttpRequest};
pub use tape::{Candle, frame_name};

use self::core::Core;
use self::journal::{Call, Input, Journal};
use crate::base::time::WallNs;
use crate::model::Currency;
use std::collections::BTreeMap;

/// An exchange: one market, its accounts and everybody connected to it. It does nothing by itself;
/// whoever holds it brings it messages and time, and takes its answers away with [`Self::drain`].
pub struct Exchange {
    core: Core,
    source: Box<dyn MarketSource>,
    journal: Option<Journal>,
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange").field("stats", &self.core.stats).finish_non_exhaustive()
    }
}

impl Exchange {
    /// Sets up accounts and instruments; the market stands at the source's first moment.
    ///
    /// # Errors
    /// What is wrong with the config.
    pub fn new(
        config: ExchangeConfig,
        source: Box<dyn MarketSource>,
    ) -> Result<Exchange, ExchangeError> {
        let core = Core::new(config, source.as_ref())?;
        Ok(Exchange { core, source, journal: None })
    }

    /// A socket is open; it is greeted.
    pub fn connect(&mut self, conn: u64, now: WallNs) {
        self.note_input(now, &Input::Connect(conn));
        self.core.set_now(now);
        self.core.hub.open(conn, self.core.now);
        self.core.greet(conn);
    }
    /// A socket is gone.
    pub fn disconnect(&mut self, conn: u64, now: WallNs) {
        self.note_input(now, &Input::Disconnect(conn));
        self.core.set_now(now);
        self.core.bye(conn);
    }
    /// One text message of a client.
    pub fn on_text(&mut self, conn: u64, text: &[u8], now: WallNs) {
        self.note_input(now, &Input::Text(conn, text));
        self.core.set_now(now);
        self.core.hear(conn, text);
    }
    /// One REST call.
    pub fn rest(&mut self, request: &HttpRequest<'_>, now: WallNs) -> HttpReply {
        self.note_input(now, &Input::Rest(Call::of(request)));
        self.core.set_now(now);
        self.core.serve(request)
    }

    /// When something happens by itself next: the market's next step or the clockwork's next tick.
    pub fn next_at(&self) -> Option<WallNs> {
        let tick = self.core.next_tick();
        Some(self.source.next_at().map_or(tick, |market| market.min(tick)))
    }
    /// Does what is due up to `now`, in the order of time, at most `steps_max` steps of it; returns
    /// the steps done.
    pub fn advance(&mut self, now: WallNs, steps_max: u32) -> u32 {
        let is_first = !self.core.has_started;
        self.core.has_started = true;
        let mut steps = 0;
        while steps < steps_max {
            let tick = self.core.next_tick();
            let market = self.source.next_at().filter(|market| *market <= tick);
            let at = market.unwrap_or(tick);
            if at > now {
                break;
            }
            let is_live = market.is_some() && self.source.is_live();
            self.core.set_now(if is_live { now } else { at });
            if market.is_some() {
                self.source.step(&mut self.core);
                self.core.publish_changed_books();
                self.core.stats.steps += 1;
            } else {
                let recording_runs = self.source.is_recording() && !self.source.is_finished();
                self.core.tick(recording_runs);
            }
            steps += 1;
        }
        if steps > 0 || is_first {
            self.note_input(now, &Input::Advance(steps_max));
        }
        steps
    }
    /// Hands over everything that waits to be sent.
    pub fn drain(&mut self, out: &mut impl Outgoing) {
        self.core.hub.outbox.drain(out);
    }

    /// Time of the first recorded message; `None` for a market that follows the host's clock.
    pub fn market_start(&self) -> Option<WallNs> {
        self.source.is_recording().then_some(self.core.now)
    }
    /// False while a recording waits for its subscribers; the market's clock stands still then.
    pub fn ready_to_start(&self) -> bool {
        let waits =
            self.source.is_recording() && self.core.config.wait_for == WaitFor::EveryChannel;
        !waits || self.core.replay.all_wanted(&self.core.hub)
    }
    /// A recording was played to its end.
    pub fn is_finished(&self) -> bool {
        self.source.is_finished()
    }

    /// Something that must survive a restart changed since the last [`Self::snapshot_state`].
    pub fn state_dirty(&self) -> bool {
        self.core.is_dirty
    }
    /// What must survive a restart: accounts, orders, positions, ids, the market's place.
    pub fn snapshot_state(&mut self) -> Vec<u8> {
        self.core.is_dirty = false;
        self.core.save(self.source.state())
    }
    /// Takes over what an earlier run wrote, before anything else happens. A recording is run
    /// forward to where it was; orders at rest join the back of their queues.
    ///
    /// # Errors
    /// What is wrong with the bytes; nothing has been changed then.
    pub fn restore_state(&mut self, bytes: &[u8]) -> Result<(), ExchangeError> {
        let saved = self.core.read_saved(bytes)?;
        if self.source.is_recording() {
            while self.source.state().position < saved.source.position {
                let Some(at) = self.source.next_at() else { break };
                self.core.set_now(at);
                self.source.step(&mut self.core);
            }
        } else {
            // Not from where it was: a market that stood still for a day is not caught up with.
            let now = self.core.now.max(saved.now());
            self.source.resume(&saved.source, now);
        }
        self.core.load(saved);
        Ok(())
    }

    /// Tells everybody an info code: 20051 stopping, 20060 and 20061 begin and end of maintenance.
    pub fn announce(&mut self, code: u32, now: WallNs) {
        self.note_input(now, &Input::Announce(code));
        self.core.set_now(now);
        self.core.announce(code);
    }
    /// Takes nothing but cancels while `is_on`.
    pub fn set_cancel_only(&mut self, is_on: bool) {
        self.note_input(self.core.now, &Input::CancelOnly(is_on));
        self.core.is_cancel_only = is_on;
    }
    /// Ends every connection from this side, as a stopping server does.
    pub fn hang_up_all(&mut self, now: WallNs) {
        self.note_input(now, &Input::HangUpAll);
        self.core.hang_up_all(now);
    }
    /// Times that it left an address out for breaking REST limits.
    pub fn rest_blocks(&self) -> u64 {
        self.core.rest_blocks
    }
    /// What happened so far.
    pub fn stats(&self) -> ExchangeStats {
        self.core.stats
    }
    /// How orders were filled against a recording, summed over its symbols.
    pub fn ghost_stats(&self) -> GhostStats {
        self.core.ghost_stats()
    }
    /// Sum of all money by currency, 1e-8, the house and the fees included: constant for ever.
    pub fn totals(&self) -> BTreeMap<Currency, i128> {
        self.core.totals()
    }
    /// Symbols listed, in their order.
    pub fn symbols(&self) -> Vec<String> {
        self.core.listings.iter().map(|listing| listing.spec.name.clone()).collect()
    }
}
