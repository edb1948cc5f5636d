//! From the checked config and the keys to a running REST plane, and the list of pairs that every
//! start needs. Used by runs, by kills and by the commands that only ask.

use super::outside;
use super::secrets::KeyPlaces;
use crate::base::time::{SpanNs, WallNs};
use crate::config::{Config, Environment, Unlisted};
use crate::io::clock::Clock;
use crate::io::nonce::{NonceStore, Opening, nonce_path};
use crate::line::Now;
use crate::line::registry::{KeeperConfig, ListingChange, Registry, RegistryKeeper, Update};
use crate::line::rest::bucket::BucketView;
use crate::line::rest::{
    BreakerConfig, BreakerState, CallRecord, KeyPlan, KeyRole, Priority, Reason, RecordSink,
    SchedulerConfig, Side, Upstream,
};
use crate::model::Instrument;
use crate::ops::rest_stats::RestStats;
use crate::ops::status::{
    BreakerStatus, ReasonStatus, RegistryStatus, RestStatus, TokenStatus, WaitStatus,
};
use crate::runtime::cold::rest::RestStats as ThreadStats;
use crate::runtime::listing::{SavedCopy, load_saved, refresh, save};
use crate::runtime::plane::{NonceSource, PlaneConfig, PlaneKey, PlaneThreads, RestPlane};
use crate::venue::sign::ApiKey;
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How old a question may be before it is sent.
pub(super) const FRESH_FOR: Duration = Duration::from_secs(10);
/// Two fetches of the list of pairs begin at least so far apart.
const LISTING_APART: SpanNs = SpanNs::from_s(10);

/// An age for people.
pub(super) fn age_text(age: SpanNs) -> String {
    crate::ops::text::elapsed((age.as_ms() / 1_000).max(0) as u64)
}

/// Figures of a plane's calls; clones share them.
#[derive(Clone, Default)]
pub(super) struct Records(pub(super) Arc<Mutex<RestStats>>);
impl RecordSink for Records {
    fn record(&mut self, record: &CallRecord) {
        self.0.lock().record(record);
    }
}

/// Where a plane leads and who signs.
pub(super) struct PlaneSetup<'a> {
    pub config: &'a Config,
    pub public_url: String,
    pub private_url: String,
    pub ca: Option<&'a PathBuf>,
    pub keys: [Option<PlaneKey>; KeyRole::ALL.len()],
    pub lanes: usize,
    /// The kill lane keeps its connection; for planes that live long.
    pub is_kept_warm: bool,
    pub cpus: &'a [usize],
}

/// Starts a plane.
///
/// # Errors
/// In words.
pub(super) fn start_plane(
    setup: PlaneSetup<'_>,
    records: Box<dyn RecordSink>,
    clock: &Clock,
) -> Result<(RestPlane, PlaneThreads), String> {
    let rest = &setup.config.rest;
    let table = rest.limit_table().map_err(|problems| problems.join("; "))?;
    let scheduler = SchedulerConfig::new(table, KeyPlan::APART, clock.wall().0 as u64);
    let breakers = scheduler.breakers.map(|breaker| BreakerConfig {
        failures_in_row: rest.breaker_failures,
        slow_after_ms: rest.breaker_slow_ms,
        open_ms_max: rest.breaker_open_max_ms,
        ..breaker
    });
    let scheduler = SchedulerConfig {
        retries_max: rest.retries_max,
        host_window_calls: rest.host_calls_max,
        breakers,
        ..scheduler
    };
    let warm = Duration::from_secs(rest.keep_warm_s);
    let plane = PlaneConfig {
        public_url: setup.public_url,
        private_url: setup.private_url,
        keys: setup.keys,
        http: outside::rest(setup.config, outside::trust(setup.ca)),
        scheduler,
        lanes: setup.lanes,
        keep_warm: Some(warm).filter(|warm| setup.is_kept_warm && !warm.is_zero()),
    };
    RestPlane::start(plane, records, clock.clone(), setup.cpus).map_err(|error| error.to_string())
}

/// The nonces of a key, kept in a file below `dir` and shared with every process that uses the key.
///
/// # Errors
/// In words.
pub(super) fn nonces(dir: &Path, key_id: &str) -> Result<NonceSource, String> {
    let path = nonce_path(dir, key_id);
    let (store, opening) = NonceStore::open(&path).map_err(|error| error.to_string())?;
    if opening == Opening::Damaged {
        super::complain(format!(
            "the nonce file {} was damaged; it begins from the clock",
            path.display()
        ));
    }
    Ok(NonceSource::Store(Arc::new(store), path))
}

/// Keys by role, and where each was found.
pub(super) type KeysByRole =
    ([Option<PlaneKey>; KeyRole::ALL.len()], [Option<String>; KeyRole::ALL.len()]);

/// The keys of some roles. A key that serves several has one source of nonces.
///
/// # Errors
/// A key or its nonces cannot be used, in words; no key is not an error.
pub(super) fn role_keys(
    places: &KeyPlaces,
    dir: &Path,
    roles: &[KeyRole],
) -> Result<KeysByRole, String> {
    let (mut keys, mut from): KeysByRole = Default::default();
    for role in roles {
        let Some(found) = places.load(*role)? else { continue };
        let known = keys.iter().flatten().find(|known| known.key.id() == found.key.id());
        let nonces = match known {
            Some(known) => known.nonces.clone(),
            None => nonces(dir, found.key.id())?,
        };
        keys[role.index()] = Some(PlaneKey { key: found.key, nonces });
        from[role.index()] = Some(found.from);
    }
    Ok((keys, from))
}

/// Roles whose key serves another one, too.
pub(super) fn shared_roles(keys: &[Option<PlaneKey>; KeyRole::ALL.len()]) -> Vec<KeyRole> {
    let id = |role: &KeyRole| keys[role.index()].as_ref().map(|known| known.key.id());
    let serves_more = |role: &KeyRole| {
        id(role).is_some() && KeyRole::ALL.iter().filter(|other| id(other) == id(role)).count() > 1
    };
    KeyRole::ALL.into_iter().filter(serves_more).collect()
}

/// What a key of several roles costs.
pub(super) fn shared_words(roles: &[KeyRole]) -> String {
    let names: Vec<&str> = roles.iter().map(|role| role.name()).collect();
    format!(
        "one API key serves several roles ({}): a kill may then wait for other calls of the key, \
         and shares its nonces with them; make a key of its own for each",
        names.join(", ")
    )
}

/// One key for every role: that of the exchange of this repository.
pub(super) fn embedded_keys(
    nonces: &NonceSource,
) -> Result<[Option<PlaneKey>; KeyRole::ALL.len()], String> {
    let key = ApiKey::new(outside::EMBEDDED_KEY, outside::EMBEDDED_SECRET.as_bytes())
        .map_err(|error| format!("the embedded exchange's own key: {error:?}"))?;
    let one = || Some(PlaneKey { key: key.clone(), nonces: nonces.clone() });
    Ok([one(), one(), one()])
}

/// Where the last good list of a venue is kept; the embedded one is always there and needs none.
pub(super) fn saved_list(root: &Path, config: &Config, attach: Option<&str>) -> Option<PathBuf> {
    let name = match (attach, config.environment) {
        (Some(address), _) => {
            let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
            format!("symbols-{}", address.chars().map(plain).collect::<String>())
        }
        (None, Environment::Embedded) => return None,
        (None, _) => format!("symbols-{}", config.environment.name()),
    };
    Some(root.join("registry").join(name))
}

/// The list of pairs at a start: the venue's, or, where it does not answer, the last good copy.
///
/// # Errors
/// Neither is there, in words.
pub(super) fn listing(
    config: &Config,
    plane: &RestPlane,
    clock: &Clock,
    saved: Option<&Path>,
) -> Result<RegistryKeeper, String> {
    let fresh_for = SpanNs::from_s(config.rest.registry_ttl_s as i64);
    let mut keeper = RegistryKeeper::new(KeeperConfig { fresh_for, apart: LISTING_APART });
    let now = || Now { mono: clock.mono(), wall: clock.wall() };
    if let Some(path) = saved {
        match load_saved(&mut keeper, path, now().wall) {
            copy @ (SavedCopy::Unusable(_) | SavedCopy::Unreadable(_)) => log::warn!("{copy}"),
            SavedCopy::Absent | SavedCopy::Loaded { .. } => {}
        }
    }
    match refresh(&mut keeper, plane, FRESH_FOR, now) {
        Ok(Update::New { changes }) => {
            let gone = |change: &&ListingChange| matches!(change, ListingChange::Delisted(_));
            changes.iter().filter(gone).for_each(|change| log::warn!("{change}"));
        }
        Ok(Update::Same) => {}
        Err(error) => match keeper.age(now().wall) {
            Some(age) => log::warn!("{error}; using the saved list, {} old", age_text(age)),
            None => return Err(format!("{error}; is the venue there?")),
        },
    }
    if let Some(path) = saved
        && let Err(error) = save(&keeper, path)
    {
        log::warn!("the list of pairs could not be kept at {}: {error}", path.display());
    }
    Ok(keeper)
}

/// The run's instruments. What the venue does not list refuses the start, or is left out of the
/// config, as `rest.unlisted` says.
///
/// # Errors
/// What is not listed, with what is near.
pub(super) fn instruments(
    config: &mut Config,
    registry: &Registry,
) -> Result<Vec<Instrument>, String> {
    let selection = registry.select(config.symbols.iter().map(String::as_str));
    if selection.problems.is_empty() {
        return Ok(selection.instruments);
    }
    let words: Vec<String> = selection.problems.iter().map(ToString::to_string).collect();
    let words = words.join("; ");
    if config.rest.unlisted == Unlisted::Refuse || selection.instruments.is_empty() {
        return Err(format!(
            "the venue does not list every symbol: {words}; correct `symbols`, or set \
             rest.unlisted = \"skip\""
        ));
    }
    log::warn!("skipped: {words}");
    let is_listed = |name: &str| selection.instruments.iter().any(|row| row.name.as_str() == name);
    config.keep_symbols(is_listed);
    Ok(selection.instruments)
}

/// The REST side of a run.
pub(super) struct RestSide {
    plane: RestPlane,
    lanes: Option<PlaneThreads>,
    records: Records,
    nonces: NonceSource,
    /// Sign-ins that were refused for their nonce and stepped past.
    recovered: u64,
}

fn tokens(name: &str, view: BucketView) -> TokenStatus {
    TokenStatus {
        name: name.to_owned(),
        tokens: u64::from(view.tokens),
        tokens_max: u64::from(view.burst),
        window_calls: u64::from(view.window_calls),
        blocked_ms: view.blocked_for.as_ms().max(0).unsigned_abs(),
    }
}

impl RestSide {
    pub(super) fn new(
        plane: RestPlane,
        lanes: PlaneThreads,
        records: Records,
        nonces: NonceSource,
    ) -> RestSide {
        RestSide { plane, lanes: Some(lanes), records, nonces, recovered: 0 }
    }
    pub(super) fn stop(&mut self, grace: Duration) {
        if let Some(lanes) = self.lanes.take() {
            lanes.stop(grace);
        }
    }
    /// Steps past whoever else uses the key, once for each refused sign-in; `refused` so far.
    pub(super) fn recover(&mut self, refused: u64) {
        if refused > self.recovered {
            self.recovered = refused;
            self.nonces.step_past();
            log::warn!("the venue called a nonce small at sign-in: stepped past it");
        }
    }
    /// Calls started, by reason.
    pub(super) fn by_reason(&self) -> Vec<ReasonStatus> {
        let counters = self.plane.counters();
        let rows = Reason::ALL.map(|reason| ReasonStatus {
            name: reason.name().to_owned(),
            calls: counters.of(reason),
        });
        rows.into_iter().filter(|row| row.calls > 0).collect()
    }
    pub(super) fn status(
        &self,
        thread: &ThreadStats,
        wall: WallNs,
        nonces_refused: u64,
    ) -> RestStatus {
        let counters = self.plane.counters();
        let (waiting, in_flight) = self.plane.load();
        let mut endpoints = self.records.0.lock().rows(wall);
        let limits = self.plane.tokens();
        for row in &mut endpoints {
            if let Some((name, view)) = limits.iter().find(|(name, _)| *name == row.name) {
                row.limit = tokens(name, *view);
            }
        }
        let states = Upstream::ALL.map(|upstream| (upstream, self.plane.breaker_state(upstream)));
        let ms = |ns: u64| ns as f64 / 1e6;
        let waits = Priority::ALL.map(|priority| {
            let wait = counters.wait(priority);
            WaitStatus {
                name: priority.name().to_owned(),
                calls: wait.count,
                mean_ms: ms(wait.total_ns / wait.count.max(1)),
                max_ms: ms(wait.max_ns),
                waiting: waiting[priority.index()] as u64,
            }
        });
        let listing = thread.listing.lock().clone();
        RestStatus {
            calls: endpoints.iter().map(|row| row.calls).sum(),
            failures: endpoints.iter().map(|row| row.failures).sum(),
            retry_count: counters.retry_count,
            rate_limit_hits: counters.rate_limit_hits,
            circuit_open_count: counters.circuit_open_count,
            // Half-open is not back yet.
            circuit_open: states.iter().any(|(_, state)| *state != BreakerState::Closed),
            nonce_recoveries: counters.nonce_refused + nonces_refused,
            reconciles: thread.reconciles.load(Ordering::Relaxed),
            endpoints,
            order_entry_down: !self.plane.is_entry_allowed(),
            breakers: states
                .iter()
                .map(|(upstream, state)| BreakerStatus {
                    name: upstream.name().to_owned(),
                    state: state.name().to_owned(),
                })
                .collect(),
            waits: waits.to_vec(),
            reasons: self.by_reason(),
            hosts: Side::ALL.map(|side| tokens(side.name(), self.plane.host_tokens(side))).to_vec(),
            in_flight: in_flight as u64,
            refused: counters.refused,
            dropped_stale: counters.dropped_stale,
            retry_refused: counters.retry_refused,
            cancel_probes: counters.cancel_probes,
            blocks_lifted: counters.blocks_lifted,
            reconciles_merged: thread.reconciles_merged.load(Ordering::Relaxed),
            registry: RegistryStatus {
                pairs: listing.pairs as u64,
                age_s: listing.age_s,
                not_modified: listing.not_modified,
                failures: listing.failures,
                delisted: listing.delisted,
            },
        }
    }
}
