//! The registry of a run: loaded from the venue or from the last good copy, refreshed when it is
//! old, one fetch at a time, with the ETag of the last answer. Never worse than before: an answer
//! that cannot be, or none, leaves the old one in place, with its age.

use super::read::{ConfKey, RegistryBuilder, RegistryError};
use super::saved::{self, SavedError};
use super::{ListingChange, Registry};
use crate::base::time::{SpanNs, WallNs};
use crate::line::Now;
use crate::line::rest::flight::{Ask, Flight, FlightConfig, FlightCounts};
use crate::venue::errors::classify;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeeperConfig {
    /// Fetched again when it is older.
    pub fresh_for: SpanNs,
    /// Between two fetches, whatever became of the first.
    pub apart: SpanNs,
}
impl Default for KeeperConfig {
    /// An hour, and at most one fetch in 10 s. Sizes change with prices: daily is the least.
    fn default() -> Self {
        Self { fresh_for: SpanNs::from_s(3_600), apart: SpanNs::from_s(10) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Venue,
    /// The last good copy: the venue was not asked yet, or did not answer.
    Saved,
}

/// What a fetch brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// The venue says that nothing changed.
    Same,
    /// A new registry, and what is different in it; empty at first.
    New { changes: Vec<ListingChange> },
}

/// Everything that is asked for, in one call.
const KEYS: [ConfKey; 6] = [
    ConfKey::ListExchange,
    ConfKey::ListMargin,
    ConfKey::ListFutures,
    ConfKey::Info,
    ConfKey::InfoFutures,
    ConfKey::Symbols,
];

pub struct RegistryKeeper {
    flight: Flight,
    registry: Option<Registry>,
    source: Source,
    fetched_at: WallNs,
    etag: String,
    not_modified: u64,
    failures: u64,
}

impl RegistryKeeper {
    pub fn new(config: KeeperConfig) -> Self {
        let flight = Flight::new(FlightConfig { fresh_for: config.fresh_for, apart: config.apart });
        Self {
            flight,
            registry: None,
            source: Source::Saved,
            fetched_at: WallNs(0),
            etag: String::new(),
            not_modified: 0,
            failures: 0,
        }
    }
    /// Takes over the last good copy; returns its age. The venue is still asked: a copy says what
    /// was, not what is.
    ///
    /// # Errors
    /// The copy is of no use; whatever was loaded before stays.
    pub fn load_saved(&mut self, bytes: &[u8], wall: WallNs) -> Result<SpanNs, SavedError> {
        let saved = saved::from_bytes(bytes)?;
        let age = saved.age(wall);
        self.registry = Some(saved.registry);
        self.source = Source::Saved;
        self.fetched_at = saved.fetched_at;
        self.etag = saved.etag;
        Ok(age)
    }
    /// The copy to keep; `None` before there is anything.
    pub fn to_saved(&self) -> Option<Vec<u8>> {
        let registry = self.registry.as_ref()?;
        Some(saved::to_bytes(registry, self.fetched_at, &self.etag))
    }

    /// Whether to fetch now.
    pub fn ask(&mut self, now: Now) -> Ask {
        self.flight.ask(now.mono)
    }
    /// The call of a fetch: path behind `/v2/`.
    pub fn path(&self) -> String {
        ConfKey::path(&KEYS)
    }
    /// For the header `If-None-Match`; `None` where nothing is known that could be unchanged.
    pub fn if_none_match(&self) -> Option<&str> {
        (self.registry.is_some() && !self.etag.is_empty()).then_some(self.etag.as_str())
    }
    /// The venue's reply to a fetch.
    ///
    /// # Errors
    /// It is no registry; the old one stays.
    pub fn on_reply(
        &mut self,
        status: u16,
        etag: &str,
        body: &[u8],
        now: Now,
    ) -> Result<Update, RegistryError> {
        match self.read(status, body) {
            Ok(None) => {
                self.flight.on_answer(now.mono);
                self.not_modified += 1;
                self.source = Source::Venue;
                self.fetched_at = now.wall;
                Ok(Update::Same)
            }
            Ok(Some(newer)) => {
                self.flight.on_answer(now.mono);
                let older = self.registry.as_ref();
                let changes = older.map(|older| older.changes_to(&newer)).unwrap_or_default();
                self.registry = Some(newer);
                self.source = Source::Venue;
                self.fetched_at = now.wall;
                self.etag = etag.to_owned();
                Ok(Update::New { changes })
            }
            Err(error) => {
                self.on_failure();
                Err(error)
            }
        }
    }
    fn read(&self, status: u16, body: &[u8]) -> Result<Option<Registry>, RegistryError> {
        if status == 304 && self.registry.is_some() {
            return Ok(None);
        }
        if status != 200 || classify(status, body).is_some() {
            return Err(RegistryError::Refused { status });
        }
        let mut builder = RegistryBuilder::default();
        builder.add(&KEYS, body)?;
        let newer = builder.build()?;
        let (from, to) = (self.registry.as_ref().map_or(0, |old| old.pairs().len()), newer.pairs());
        if to.len() * 2 < from {
            return Err(RegistryError::Shrunk { from, to: to.len() });
        }
        Ok(Some(newer))
    }
    /// The fetch was dropped or brought no answer.
    pub fn on_failure(&mut self) {
        self.failures += 1;
        self.flight.on_failure();
    }
    /// An order was refused for its size, say: what is known is not right any more.
    pub fn expire(&mut self) {
        self.flight.expire();
    }

    /// `None`: nothing may trade.
    pub fn registry(&self) -> Option<&Registry> {
        self.registry.as_ref()
    }
    pub fn source(&self) -> Source {
        self.source
    }
    /// Since the venue last said so; `None` before there is anything.
    pub fn age(&self, wall: WallNs) -> Option<SpanNs> {
        self.registry.is_some().then(|| wall - self.fetched_at)
    }
    pub fn counts(&self) -> FlightCounts {
        self.flight.counts()
    }
    /// Answers "not modified", and fetches that failed.
    pub fn not_modified_and_failed(&self) -> (u64, u64) {
        (self.not_modified, self.failures)
    }
}
