//! The list of pairs of a run: asked for again when it is old, kept on disk as the last good copy,
//! and what changed of the run's own pairs is told to the line.

use crate::base::time::{MonoNs, SpanNs};
use crate::line::Now;
use crate::line::registry::{ListingChange, Registry, RegistryKeeper, Update};
use crate::line::rest::Reason;
use crate::line::rest::flight::Ask;
use crate::model::{Instrument, VenueFact, WalletKind};
use crate::runtime::listing::save;
use crate::runtime::plane::{PlaneCall, PlaneError, PlaneReply, RestPlane};
use crossbeam_channel::{Receiver, TryRecvError};
use std::path::PathBuf;
use std::time::Duration;

/// Between two looks at the age of the list.
const LOOK_EVERY: SpanNs = SpanNs::from_s(1);
const FRESH_FOR: Duration = Duration::from_secs(10);

/// What is known of the list, for the status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListingFacts {
    pub pairs: usize,
    /// Since the venue last said so.
    pub age_s: u64,
    /// Answers `not modified`, and fetches without an answer.
    pub not_modified: u64,
    pub failures: u64,
    /// Pairs of this run that are not tradable any more.
    pub delisted: Vec<String>,
}

pub struct Listing {
    keeper: RegistryKeeper,
    /// Where the last good copy is kept.
    saved: Option<PathBuf>,
    rows: Vec<Row>,
    wallet: WalletKind,
    look_at: MonoNs,
    flight: Option<Receiver<Result<PlaneReply, PlaneError>>>,
}

/// A pair of the run as the line knows it.
struct Row {
    instrument: Instrument,
    is_tradable: bool,
}

/// Listed where this wallet trades.
fn is_tradable(registry: &Registry, name: &str, wallet: WalletKind) -> bool {
    registry.find(name).is_some_and(|pair| match wallet {
        WalletKind::Exchange => pair.listed.exchange,
        WalletKind::Margin => pair.listed.margin,
        WalletKind::Derivatives => pair.listed.futures,
    })
}

impl Listing {
    /// `instruments` are the run's, as the keeper's list had them. A pair that this wallet could
    /// not trade from the start is watched all the same: only what changes is told.
    pub fn new(
        keeper: RegistryKeeper,
        saved: Option<PathBuf>,
        instruments: &[Instrument],
        wallet: WalletKind,
    ) -> Listing {
        let rows = instruments.iter().map(|instrument| Row {
            instrument: *instrument,
            is_tradable: keeper
                .registry()
                .is_none_or(|registry| is_tradable(registry, instrument.name.as_str(), wallet)),
        });
        let rows = rows.collect();
        Listing { keeper, saved, rows, wallet, look_at: MonoNs(0), flight: None }
    }

    /// One look; never blocks. What the line must hear comes back; `None`: it was not time to look.
    pub fn round(&mut self, plane: &RestPlane, now: Now) -> Option<Vec<VenueFact>> {
        if let Some(flight) = &self.flight {
            let answer = match flight.try_recv() {
                Err(TryRecvError::Empty) => return None,
                Err(TryRecvError::Disconnected) => Err(PlaneError::Stopped),
                Ok(answer) => answer,
            };
            self.flight = None;
            return Some(self.landed(answer, now));
        }
        if now.mono < self.look_at {
            return None;
        }
        self.look_at = now.mono + LOOK_EVERY;
        if self.keeper.ask(now) == Ask::Fetch {
            let mut call = PlaneCall::public(&self.keeper.path(), Reason::Registry, FRESH_FOR);
            call.if_none_match = self.keeper.if_none_match().map(str::to_owned);
            match plane.ask(call) {
                Ok(flight) => self.flight = Some(flight),
                Err(error) => self.failed(&error),
            }
        }
        Some(Vec::new())
    }
    fn failed(&mut self, error: &dyn std::fmt::Display) {
        self.keeper.on_failure();
        log::warn!("the list of pairs could not be refreshed: {error}; the old one is used on");
    }
    fn landed(&mut self, answer: Result<PlaneReply, PlaneError>, now: Now) -> Vec<VenueFact> {
        let reply = match answer {
            Ok(reply) => reply,
            Err(error) => {
                self.failed(&error);
                return Vec::new();
            }
        };
        match self.keeper.on_reply(reply.status, &reply.etag, &reply.body, now) {
            Ok(Update::Same) => {}
            Ok(Update::New { changes }) => {
                for change in &changes {
                    if matches!(change, ListingChange::Listed(_)) {
                        log::info!("{change}");
                    }
                }
            }
            Err(error) => {
                log::warn!("the list of pairs: {error}; the old one is used on");
                return Vec::new();
            }
        }
        if let Some(path) = &self.saved
            && let Err(error) = save(&self.keeper, path)
        {
            log::warn!("the list of pairs could not be kept at {}: {error}", path.display());
        }
        self.compare()
    }
    /// What is different for the run's own pairs.
    fn compare(&mut self) -> Vec<VenueFact> {
        let mut facts = Vec::new();
        let Some(registry) = self.keeper.registry() else { return facts };
        for row in &mut self.rows {
            let (symbol, name) = (row.instrument.id, row.instrument.name);
            let now = is_tradable(registry, name.as_str(), self.wallet);
            if now != row.is_tradable {
                row.is_tradable = now;
                facts.push(match now {
                    true => {
                        log::warn!("{name} is tradable again");
                        VenueFact::Listed(symbol)
                    }
                    false => {
                        log::error!("{name} is not listed any more: no new positions in it");
                        VenueFact::Delisted(symbol)
                    }
                });
            }
            let Some(pair) = registry.find(name.as_str()) else { continue };
            let sizes = (pair.qty_min, pair.qty_max);
            if sizes != (row.instrument.qty_min, row.instrument.qty_max) {
                (row.instrument.qty_min, row.instrument.qty_max) = sizes;
                let (qty_min, qty_max) = sizes;
                log::warn!("{name}: orders from {qty_min} to {qty_max} now");
                facts.push(VenueFact::Sizes { symbol, qty_min, qty_max });
            }
        }
        facts
    }
    pub fn facts(&self, now: Now) -> ListingFacts {
        let (not_modified, failures) = self.keeper.not_modified_and_failed();
        let gone = self.rows.iter().filter(|row| !row.is_tradable);
        ListingFacts {
            pairs: self.keeper.registry().map_or(0, |registry| registry.pairs().len()),
            age_s: self.keeper.age(now.wall).map_or(0, |age| (age.as_ms() / 1_000).max(0) as u64),
            not_modified,
            failures,
            delisted: gone.map(|row| row.instrument.name.as_str().to_owned()).collect(),
        }
    }
}

#[cfg(test)]
#[path = "listing_tests.rs"]
mod tests;
