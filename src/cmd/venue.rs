//! `genesis venue`: the exchange of this repository on its own, for any Bitfinex client.

use super::{complain, say};
use crate::base::time::WallNs;
use crate::config::MarketSource;
use crate::exchange::{
    AccountSpec, Exchange, ExchangeConfig, ExchangeStats, Fees, KeySpec, MarketSource as _,
    Permissions, SymbolSpec, Synthetic, SyntheticConfig, VenueLimits, WaitFor,
};
use crate::io::tls_server::ServerTls;
use crate::ops::logger;
use crate::ops::report::exit;
use crate::runtime::server::{
    FaultCounters, FaultScript, Faulty, Server, ServerConfig, ServerHandle, ServerLimits,
    ServerReport, ServerTlsConfig, Speed, open_recording,
};
use clap::Args;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use serde::Serialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How often the server is looked after, and the longest a stop waits for it.
const LOOK_EVERY: Duration = Duration::from_millis(200);

pub(super) const MANUAL: &str = "\
Point a client at it:
  genesis venue
      Plain sockets on a free port of 127.0.0.1. The first line of standard output is JSON:
      {\"ws\":\"ws://127.0.0.1:40123/ws/2\",\"rest\":\"http://127.0.0.1:40123\",\"accounts\":[...],...}
      Give `ws` to your client as its websocket address (public and authenticated), `rest` as its
      REST host (paths begin with /v2/), and one of the accounts' key and secret.
  genesis venue --listen 127.0.0.1:8899 --tls --ca-out ca.pem
      wss and https on a fixed port; let the client trust ca.pem (NODE_EXTRA_CA_CERTS=ca.pem for
      Node; SSL_CERT_FILE=ca.pem, and REQUESTS_CA_BUNDLE=ca.pem for `requests`, for Python). With
      --ca-key FILE the authority stays the same.

Markets:
  --market synthetic:SEED   a market made in code, the same for the same seed (default: seed 1)
  --market capture:FILE     a recording of Bitfinex messages, plain or .gz: its frames are the
                            public stream, in their order; your orders fill against it by their
                            place in the queue and are never shown in it
  --speed real|N|max        pace of the market's clock; `max` is as fast as the slowest client reads

Faults:
  --faults config/faults.toml
                            messages lost, late, twice or spoilt, REST errors and slow bodies,
                            refused nonces, cancel-only, maintenance, restarts: by a script whose
                            manual is that file

Accounts and orders live as long as the process; with --state FILE they survive it.

It ends on SIGINT (Ctrl-C) or SIGTERM, or after --for, and prints what it counted as a second line
of JSON. Exit code 0: as asked; 1: it failed while running; 2: bad arguments, a file that cannot be
read, a port in use.";

#[derive(Args, Debug, Clone)]
pub(super) struct VenueArgs {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Allow an address that other machines can reach.
    #[arg(long)]
    allow_remote: bool,
    /// What is played: synthetic:SEED or capture:FILE.
    #[arg(long, value_name = "MARKET", default_value = "synthetic:1", value_parser = MarketSource::parse)]
    market: MarketSource,
    /// Pace of the market's clock: real, a factor such as 10 or 0.5, or max.
    #[arg(long, value_name = "real|N|max", default_value = "real")]
    speed: Speed,
    /// Symbols of a synthetic market, e.g. tBTCUSD,tETHUSD; @FILE: one a line.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    symbols: Vec<String>,
    /// Activity of a synthetic market; 1 is usual.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = factor)]
    activity: f64,
    /// Decides server, channel and order ids; the market has its own seed.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// A recording starts at once; otherwise it waits until somebody listens to each of its book
    /// and trade channels.
    #[arg(long)]
    start_at_once: bool,
    /// Serve wss and https with a certificate made at start.
    #[arg(long)]
    tls: bool,
    /// Write the certificate authority here, for clients to trust.
    #[arg(long, value_name = "FILE", requires = "tls")]
    ca_out: Option<PathBuf>,
    /// Keep the authority's key here (made where absent), so that clients trust the next run, too.
    #[arg(long, value_name = "FILE", requires = "tls")]
    ca_key: Option<PathBuf>,
    /// An account by its API key; may be repeated. Default: embedded-key:embedded-secret.
    #[arg(long = "account", value_name = "KEY:SECRET", value_parser = account)]
    accounts: Vec<AccountSpec>,
    /// A further key of the first account, which reads only where `:read` follows; may be repeated.
    #[arg(long = "key", value_name = "KEY:SECRET[:read]", value_parser = further_key)]
    keys: Vec<KeySpec>,
    /// Start balance of every account in its exchange and its margin wallet, e.g. USD=50000; may be
    /// repeated. Default: plenty of USD, UST, BTC, ETH, ADA and DOT, and of what derivatives listed
    /// are paid in.
    #[arg(long = "balance", value_name = "CURRENCY=AMOUNT", value_parser = balance)]
    balances: Vec<(String, i64)>,
    /// Fee of resting orders, basis points.
    #[arg(long, value_name = "BPS", default_value_t = 10.0, value_parser = fee)]
    maker_fee: f64,
    /// Fee of taking orders, basis points.
    #[arg(long, value_name = "BPS", default_value_t = 20.0, value_parser = fee)]
    taker_fee: f64,
    /// New orders of one account in 5 minutes; 0 = no limit.
    #[arg(long, value_name = "N", default_value_t = 0)]
    orders_per_5_min: u32,
    /// Do not limit REST calls; otherwise the venue's table holds, calls a minute and endpoint.
    #[arg(long)]
    no_rest_limits: bool,
    /// Tickers on sockets have the eleventh element, null, that the venue sends since 2026; clients
    /// that expect ten break on it, there as here.
    #[arg(long)]
    ticker_of_2026: bool,
    /// Sockets open at once.
    #[arg(long, value_name = "N", default_value_t = 1_024)]
    sockets_max: u32,
    /// A socket that takes nothing of what waits for it for so long is cut.
    #[arg(long, value_name = "SPAN", default_value = "30s", value_parser = super::options::span)]
    cut_after: Duration,
    /// Keep accounts, orders and ids in FILE.a and FILE.b across runs.
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Let go wrong what a script says; config/faults.toml is its manual.
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
    /// Stop by itself after this long, e.g. 60s, 5m.
    #[arg(long = "for", value_name = "SPAN", value_parser = super::options::span)]
    run_for: Option<Duration>,
}

/// What every account has of a derivative's currency, 1e-8.
const DERIVATIVE_BALANCE: i64 = 1_000_000 * 100_000_000;
/// Free balances follow an account's snapshots so long after, ms: the venue computes them apart,
/// and a client that cannot wait for them shall be found out here.
const FIGURES_AFTER_MS: i64 = 50;

fn factor(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| format!("`{text}` is not a number"))?;
    // Written so that NaN fails.
    if (0.001..=1_000.0).contains(&value) {
        Ok(value)
    } else {
        Err(format!("`{text}` is not from 0.001 to 1000"))
    }
}

fn fee(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| format!("`{text}` is not a number"))?;
    if (0.0..=1_000.0).contains(&value) {
        Ok(value)
    } else {
        Err(format!("`{text}` is not from 0 to 1000 basis points"))
    }
}

fn account(text: &str) -> Result<AccountSpec, String> {
    match text.split_once(':') {
        Some((key, secret)) if !key.is_empty() && !secret.is_empty() => {
            let mut account = AccountSpec::funded(key, secret);
            // Clients by others move money between their wallets.
            account.permissions.wallets_write = true;
            Ok(account)
        }
        _ => Err("write KEY:SECRET, both not empty".to_owned()),
    }
}

fn further_key(text: &str) -> Result<KeySpec, String> {
    let (text, permissions) = match text.strip_suffix(":read") {
        Some(text) => (text, Permissions::READ),
        None => (text, Permissions::TRADE),
    };
    let account = account(text)?;
    Ok(KeySpec { api_key: account.api_key, api_secret: account.api_secret, permissions })
}

fn balance(text: &str) -> Result<(String, i64), String> {
    let wrong = || format!("`{text}` is not of the form USD=50000, at most 90 thousand million");
    let (currency, amount) = text.split_once('=').ok_or_else(wrong)?;
    let (units, _) = crate::base::units::parse_decimal(amount.as_bytes()).map_err(|_| wrong())?;
    match units >= 0 && !currency.is_empty() {
        true => Ok((currency.to_owned(), units)),
        false => Err(wrong()),
    }
}

/// First line of standard output.
#[derive(Serialize)]
struct Hello<'a> {
    ws: &'a str,
    rest: &'a str,
    ca: Option<String>,
    accounts: Vec<Login<'a>>,
    symbols: Vec<String>,
    market: String,
    speed: String,
    pid: u32,
}
#[derive(Serialize)]
struct Login<'a> {
    key: &'a str,
    secret: &'a str,
}

/// Last line of standard output.
#[derive(Serialize)]
struct Goodbye {
    server: ServerReport,
    exchange: ExchangeStats,
    faults: FaultCounters,
}

impl VenueArgs {
    /// Files of symbols replaced by what they list.
    fn with_symbols(&self) -> Result<VenueArgs, String> {
        let mut symbols = Vec::with_capacity(self.symbols.len());
        for name in &self.symbols {
            let Some(path) = name.strip_prefix('@') else {
                symbols.push(name.clone());
                continue;
            };
            let text = std::fs::read_to_string(path)
                .map_err(|error| format!("--symbols: {path}: {error}; name a file of symbols"))?;
            let lines = text.lines().map(str::trim);
            symbols.extend(
                lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned),
            );
        }
        Ok(VenueArgs { symbols, ..self.clone() })
    }
    fn exchange_config(&self) -> ExchangeConfig {
        let named: Vec<SymbolSpec> = self.symbols.iter().map(|n| SymbolSpec::named(n)).collect();
        let mut accounts = self.accounts.clone();
        if accounts.is_empty() {
            accounts.push(AccountSpec::embedded());
        }
        accounts[0].more_keys.extend(self.keys.iter().cloned());
        if !self.balances.is_empty() {
            let wallets = ["exchange", "margin"].into_iter().flat_map(|wallet| {
                let of = move |(currency, units): &(String, i64)| {
                    (wallet.to_owned(), currency.clone(), *units)
                };
                self.balances.iter().map(of)
            });
            let balances: Vec<_> = wallets.collect();
            accounts.iter_mut().for_each(|account| account.balances.clone_from(&balances));
        } else {
            for name in &self.symbols {
                let settled = name.split_once(':').map(|(_, quote)| quote);
                let Some(quote) = settled.filter(|quote| quote.ends_with("F0")) else { continue };
                for account in &mut accounts {
                    let wallet = ("margin".to_owned(), quote.to_owned(), DERIVATIVE_BALANCE);
                    if !account.balances.contains(&wallet) {
                        account.balances.push(wallet);
                    }
                }
            }
        }
        // Basis points to 1e-6 of the value.
        let e6 = |bps: f64| (bps * 100.0).round() as i64;
        ExchangeConfig {
            seed: self.seed,
            symbols: if named.is_empty() { SymbolSpec::usual() } else { named },
            fees: Fees { maker_e6: e6(self.maker_fee), taker_e6: e6(self.taker_fee) },
            accounts,
            limits: VenueLimits {
                orders_per_5_min: self.orders_per_5_min,
                rest_per_minute: !self.no_rest_limits,
                ..VenueLimits::default()
            },
            ticker_of_2026: self.ticker_of_2026,
            figures_after_ms: FIGURES_AFTER_MS,
            wait_for: if self.start_at_once { WaitFor::Nothing } else { WaitFor::EveryChannel },
            ..ExchangeConfig::default()
        }
    }
    /// The exchange, or what is wrong with the arguments.
    fn exchange(&self, config: ExchangeConfig) -> Result<Exchange, String> {
        match &self.market {
            MarketSource::Synthetic { seed } => {
                config.check().map_err(|error| error.to_string())?;
                let source = Synthetic::new(SyntheticConfig {
                    symbols: config.symbols.iter().map(|spec| spec.name.clone()).collect(),
                    seed: *seed,
                    start: wall_now(),
                    rate_e3: (self.activity * 1_000.0) as u32,
                });
                Exchange::new(config, Box::new(source)).map_err(|error| error.to_string())
            }
            MarketSource::Capture { path } => {
                if !self.symbols.is_empty() {
                    return Err("--symbols: a recording brings its own; leave it out".to_owned());
                }
                let source = open_recording(path.as_ref()).map_err(|error| error.to_string())?;
                if source.symbols().is_empty() {
                    return Err(format!("recording {path}: it holds no trading symbol"));
                }
                Exchange::new(config, Box::new(source)).map_err(|error| error.to_string())
            }
        }
    }
    fn server_config(&self) -> Result<ServerConfig, String> {
        let tls = match self.tls {
            false => None,
            true => {
                let identity = match &self.ca_key {
                    Some(path) => ServerTls::generate_with_key_file(path),
                    None => ServerTls::generate(),
                };
                let identity = identity.map_err(|error| error.to_string())?;
                Some(ServerTlsConfig { identity, ca_pem_path: self.ca_out.clone() })
            }
        };
        Ok(ServerConfig {
            listen: self.listen,
            allow_remote: self.allow_remote,
            tls,
            speed: self.speed,
            state_file: self.state.clone(),
            limits: ServerLimits {
                sockets_max: self.sockets_max,
                stall_for: self.cut_after,
                ..ServerLimits::default()
            },
            ..ServerConfig::default()
        })
    }
}

/// A script of faults from its file.
///
/// # Errors
/// What is wrong with it, with its name.
pub(super) fn read_faults(path: &Path) -> Result<FaultScript, String> {
    let named = |why: String| format!("faults {}: {why}", path.display());
    let text = std::fs::read_to_string(path)
        .map_err(|error| named(format!("{error}; name a script such as config/faults.toml")))?;
    FaultScript::parse(&text).map_err(|error| named(error.to_string()))
}

#[expect(clippy::disallowed_methods, reason = "a market made here follows the host's clock")]
fn wall_now() -> WallNs {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    WallNs(since.as_nanos() as i64)
}

/// A channel that speaks once for each SIGINT, SIGTERM or SIGHUP.
pub(super) fn stop_signals() -> std::io::Result<Receiver<()>> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let (told, stop) = crossbeam_channel::bounded(1);
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for _ in signals.forever() {
            let _ = told.try_send(());
        }
    })?;
    Ok(stop)
}

pub(super) fn run(args: &VenueArgs) -> u8 {
    logger::install(log::LevelFilter::Info, false);
    let args = &match args.with_symbols() {
        Ok(args) => args,
        Err(words) => {
            complain(words);
            return exit::BAD_INPUT;
        }
    };
    let config = args.exchange_config();
    let logins: Vec<(String, String)> = config
        .accounts
        .iter()
        .map(|account| (account.api_key.clone(), account.api_secret.clone()))
        .collect();
    let started = args.exchange(config).and_then(|exchange| {
        let symbols = exchange.symbols();
        // Signals first, so that none is lost between the first line and the wait.
        let stop = stop_signals().map_err(|error| format!("signals cannot be caught: {error}"))?;
        let server = args.server_config()?;
        let script = args.faults.as_deref().map_or(Ok(FaultScript::default()), read_faults)?;
        let exchange = Faulty::new(exchange, script);
        let handle = Server::start(server, exchange).map_err(|error| error.to_string())?;
        Ok((handle, symbols, stop))
    });
    let (handle, symbols, stop) = match started {
        Ok(started) => started,
        Err(words) => {
            complain(words);
            return exit::BAD_INPUT;
        }
    };
    let hello = Hello {
        ws: handle.ws_url(),
        rest: handle.rest_url(),
        ca: handle.ca_pem_path().map(|path| path.display().to_string()),
        accounts: logins.iter().map(|(key, secret)| Login { key, secret }).collect(),
        symbols,
        market: args.market.to_string(),
        speed: args.speed.to_string(),
        pid: std::process::id(),
    };
    say(&sonic_rs::to_string(&hello).unwrap_or_default());
    wait(&handle, &stop, args.run_for);
    match handle.stop() {
        Ok((server, exchange)) => {
            let faults = exchange.fault_counters();
            let goodbye = Goodbye { server, exchange: exchange.inner().stats(), faults };
            say(&sonic_rs::to_string(&goodbye).unwrap_or_default());
            exit::OK
        }
        Err(error) => {
            complain(error);
            exit::FAILURE
        }
    }
}

/// Until a signal, the end of the time given, or the server's own end.
fn wait(handle: &ServerHandle<Faulty<Exchange>>, stop: &Receiver<()>, run_for: Option<Duration>) {
    let mut left = run_for;
    while !handle.has_ended() {
        let turn = left.map_or(LOOK_EVERY, |left| left.min(LOOK_EVERY));
        match stop.recv_timeout(turn) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
        if let Some(left) = left.as_mut() {
            *left = left.saturating_sub(turn);
            if left.is_zero() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        venue: VenueArgs,
    }
    fn args(words: &[&str]) -> Result<VenueArgs, String> {
        let words = ["venue"].iter().chain(words);
        Line::try_parse_from(words).map(|line| line.venue).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_a_plain_loopback_exchange_with_one_account() {
        let args = args(&[]).unwrap();
        let config = args.exchange_config();
        assert_eq!(config.accounts[0].api_key, "embedded-key");
        assert_eq!(config.fees, Fees { maker_e6: 1_000, taker_e6: 2_000 });
        let server = args.server_config().unwrap();
        assert!(server.tls.is_none() && server.listen.port() == 0);
        assert_eq!(args.exchange(config).unwrap().symbols()[0], "tBTCUSD");
    }

    #[test]
    fn options_reach_the_exchange() {
        let args = args(&[
            "--account",
            "a:b",
            "--account",
            "c:d",
            "--key",
            "e:f:read",
            "--balance",
            "USD=5.5",
            "--symbols",
            "tSOLUSD,tDOGE:USD",
            "--taker-fee",
            "6.5",
            "--market",
            "synthetic:9",
            "--tls",
        ])
        .unwrap();
        let config = args.exchange_config();
        assert_eq!(config.accounts.len(), 2);
        let keys: Vec<_> = config.accounts[0].keys().collect();
        assert_eq!((keys.len(), keys[1].0, keys[1].2), (2, "e", Permissions::READ));
        assert_eq!(config.accounts[1].balances.len(), 2);
        assert_eq!(config.accounts[1].balances[0].2, 550_000_000);
        assert_eq!(config.fees.taker_e6, 650);
        assert_eq!(args.exchange(config).unwrap().symbols(), ["tSOLUSD", "tDOGE:USD"]);
        assert!(args.server_config().unwrap().tls.is_some());
    }

    #[test]
    fn nonsense_is_told_in_words() {
        for (words, expected) in [
            (&["--market", "nope"][..], "synthetic:SEED or capture:FILE"),
            (&["--speed", "fast"], "expected `real`, `max`"),
            (&["--account", "nosecret"], "KEY:SECRET"),
            (&["--balance", "USD"], "USD=50000"),
            (&["--activity", "NaN"], "0.001 to 1000"),
            (&["--ca-out", "x"], "--tls"),
            (&["--listen", "here"], "invalid"),
        ] {
            let error = args(words).unwrap_err();
            assert!(error.contains(expected), "{words:?}: {error}");
        }
        for (words, expected) in [
            (&["--market", "capture:no/such/file"][..], "no/such/file"),
            (&["--symbols", "BTCUSD"], "of the form tBTCUSD"),
            (&["--symbols", "tBTCUSD,tBTCUSD"], "listed twice"),
            (&["--balance", "THIRTEENCHARS=1"], "balance"),
            (&["--account", "a:b", "--account", "a:c"], "API key"),
            (&["--symbols", "@no/such/list"], "no/such/list"),
        ] {
            let args = args(words).unwrap();
            let exchange = args.with_symbols().and_then(|args| {
                let config = args.exchange_config();
                args.exchange(config)
            });
            let error = exchange.unwrap_err();
            assert!(error.contains(expected), "{words:?}: {error}");
        }
    }
}
