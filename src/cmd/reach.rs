//! A way to the venue for commands that only ask: the exchange of another process, the venue of the
//! config, or an exchange of this process.

use super::outside;
use super::rest::{PlaneSetup, embedded_keys, nonces, role_keys, shared_roles, start_plane};
use super::secrets::KeyPlaces;
use crate::base::time::WallNs;
use crate::config::{Config, Environment, MarketSource, Override, Sources};
use crate::exchange::{Exchange, Synthetic};
use crate::io::clock::Clock;
use crate::line::Now;
use crate::line::rest::{KeyRole, NoRecords};
use crate::runtime::plane::{PlaneThreads, RestPlane};
use crate::runtime::server::{Server, ServerConfig, ServerHandle, open_recording};
use clap::Args;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a stop waits.
const GRACE: Duration = Duration::from_secs(1);

/// Which venue is asked.
#[derive(Args, Debug, Clone, Default)]
pub(super) struct ReachArgs {
    /// Config file; without one the built-in defaults.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One key of the config, stronger than the file; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = Override::parse)]
    pub set: Vec<Override>,
    /// Ask an exchange that runs already (`genesis venue`), e.g. 127.0.0.1:8899.
    #[arg(long, value_name = "ADDRESS")]
    pub attach: Option<String>,
    /// Directory that holds runs, saved lists and nonces.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// A venue that can be asked.
pub(super) struct Reach {
    pub plane: RestPlane,
    threads: PlaneThreads,
    /// Kept until the end: the exchange of this process.
    embedded: Option<ServerHandle<Exchange>>,
    clock: Clock,
    /// In words: which venue this is.
    pub name: String,
    /// Where the keys came from, by role.
    pub keys_from: [Option<String>; KeyRole::ALL.len()],
    /// Roles whose key serves another one, too.
    pub shared: Vec<KeyRole>,
}

impl ReachArgs {
    /// # Errors
    /// All problems of the config, in words.
    pub(super) fn load(&self) -> Result<Config, String> {
        let sources = Sources { file: self.config.clone(), overrides: self.set.clone() };
        sources.load().map_err(|error| error.to_string())
    }
    pub(super) fn root(&self, config: &Config) -> PathBuf {
        let chosen = Some(&config.journal.dir).filter(|dir| !dir.is_empty()).map(PathBuf::from);
        super::places(self.dir.clone().or(chosen)).root()
    }
    /// Where the last good list of this venue is kept; the embedded one is always there and needs
    /// none.
    pub(super) fn saved_list(&self, config: &Config) -> Option<PathBuf> {
        super::rest::saved_list(&self.root(config), config, self.attach.as_deref())
    }

    /// Opens the way; `places`: where keys are, `None` = public questions only.
    ///
    /// # Errors
    /// In words.
    pub(super) fn open(
        &self,
        config: &Config,
        places: Option<&KeyPlaces>,
    ) -> Result<Reach, String> {
        let clock = Clock::start();
        let ca = Some(PathBuf::from(&config.venue.ca_file)).filter(|ca| !ca.as_os_str().is_empty());
        let embedded = match (&self.attach, config.environment) {
            (None, Environment::Embedded | Environment::World) => Some(embedded(config, &clock)?),
            _ => None,
        };
        let (public_url, private_url, name) = match (&self.attach, &embedded) {
            (Some(address), _) => {
                let (_, rest_url) = outside::attached(address)?;
                (rest_url.clone(), rest_url, format!("the exchange at {address}"))
            }
            (None, Some(venue)) => {
                let url = venue.rest_url().to_owned();
                (url.clone(), url, "the embedded exchange".to_owned())
            }
            (None, None) => {
                let venue = &config.venue;
                let (public, private) = (&venue.public_rest_url, &venue.private_rest_url);
                (public.clone(), private.clone(), private.clone())
            }
        };
        let nonce_dir = self.root(config).join("nonces");
        let (keys, keys_from) = match (places, &embedded) {
            (Some(_), Some(_)) => {
                let keys = embedded_keys(&nonces(&nonce_dir, outside::EMBEDDED_KEY)?)?;
                (keys, KeyRole::ALL.map(|_| Some("the embedded exchange itself".to_owned())))
            }
            (Some(places), None) => role_keys(places, &nonce_dir, &KeyRole::ALL)?,
            (None, _) => Default::default(),
        };
        let shared = shared_roles(&keys);
        let setup = PlaneSetup {
            config,
            public_url,
            private_url,
            ca: ca.as_ref(),
            keys,
            lanes: 1,
            is_kept_warm: false,
            cpus: &[],
        };
        let (plane, threads) = start_plane(setup, Box::new(NoRecords), &clock)?;
        Ok(Reach { plane, threads, embedded, clock, name, keys_from, shared })
    }
}

impl Reach {
    pub(super) fn now(&self) -> Now {
        Now { mono: self.clock.mono(), wall: self.clock.wall() }
    }
    pub(super) fn close(self) {
        self.threads.stop(GRACE);
        if let Some(venue) = self.embedded
            && let Err(error) = venue.stop()
        {
            super::complain(format!("the embedded exchange: {error}"));
        }
    }
}

fn embedded(config: &Config, clock: &Clock) -> Result<ServerHandle<Exchange>, String> {
    let exchange = match &config.market.source {
        MarketSource::Synthetic { seed } => {
            let start: WallNs = clock.wall();
            let source = Synthetic::new(outside::synthetic(config, *seed, start));
            Exchange::new(outside::exchange(config), Box::new(source))
        }
        MarketSource::Capture { path } => {
            let source = open_recording(Path::new(path)).map_err(|error| error.to_string())?;
            Exchange::new(outside::exchange(config), Box::new(source))
        }
    };
    let exchange = exchange.map_err(|error| error.to_string())?;
    Server::start(ServerConfig::default(), exchange).map_err(|error| error.to_string())
}
