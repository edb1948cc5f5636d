//! Where the command line ends and the engine begins: starts the exchange where it is embedded, asks the
//! venue what it lists, starts the threads, watches, stops, reports.

use super::assemble;
use super::watch::Watch;
use crate::base::bounded::Text;
use crate::base::time::WallNs;
use crate::base::units::Qty;
use crate::config::{Config, Environment, MarketSource, OnStop, Speed, values_text};
use crate::engine::risk::RiskStage;
use crate::engine::send::{Gate, GateConfig};
use crate::engine::sequencer::ClockPolicy;
use crate::exchange::{CaptureSource, Exchange, Synthetic};
use crate::io::clock::Clock;
use crate::io::input_log::{self, InputLogWriter, LogHeader};
use crate::io::rest::{Method, RestRequest, RestTransport};
use crate::io::{capture, wal};
use crate::line::nonce::NonceAllocator;
use crate::model::{Bar, Body, Instrument, OperatorCommand, OperatorVerb, Rank};
use crate::ops::journal::OrderTracker;
use crate::ops::logger;
use crate::ops::report::Report;
use crate::ops::rundir::{CONFIG_FILE, INPUT_FILE, LOG_FILE, ORDERS_FILE, Places, RunDir};
use crate::ops::view::{View, ViewMode};
use crate::ops::waterfall::WaterfallWriter;
use crate::ring::Latch;
use crate::runtime::cpu::CpuMap;
use crate::runtime::engine::{EnginePlan, Running, TradingPlan};
use crate::runtime::server::{Server, ServerConfig, ServerHandle, ServerTlsConfig};
use crate::runtime::topology;
use crate::venue::rest as venue_rest;
use crate::venue::sign::ApiKey;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What the command line adds to a config.
#[derive(Clone, Debug)]
pub struct RunRequest {
    /// Stop by itself after this long.
    pub run_for: Option<Duration>,
    pub view: ViewMode,
    /// `--arm` named the account of the config.
    pub is_armed: bool,
    /// Where run directories go.
    pub places: Places,
    /// An exchange of ours in another process, instead of an embedded one.
    pub attach: Option<String>,
}

/// Why a run did not come to a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunError {
    /// A file that is broken, a port in use: exit code 2.
    BadInput(String),
    /// Exit code 1.
    Failed(String),
}

fn failed(error: impl std::fmt::Display) -> RunError {
    RunError::Failed(error.to_string())
}
fn bad_input(error: impl std::fmt::Display) -> RunError {
    RunError::BadInput(error.to_string())
}

/// Events the input log may be behind before it is incomplete.
const LOG_DEPTH: usize = 1 << 16;
/// How long a finished recording's last frames may take to be read.
const DRAIN_FOR: Duration = Duration::from_secs(10);

/// The exchange inside this process.
type Embedded = ServerHandle<Exchange>;

/// Where the venue is, for this run.
struct Venue {
    ws_url: String,
    rest_url: String,
    ca: Option<PathBuf>,
    embedded: Option<Embedded>,
}

/// Runs the engine until it is told to stop.
///
/// # Errors
/// The run could not start or broke off.
pub fn runtime_entry(mut config: Config, request: RunRequest) -> Result<Report, RunError> {
    if config.environment == Environment::Bitfinex {
        return Err(bad_input(
            "environment \"bitfinex\" is not open yet: this build trades on its own exchange only; \
             set environment = \"embedded\"",
        ));
    }
    let clock = Clock::start();
    let started_at = clock.wall();
    let root = request.places.root();
    let run_dir = RunDir::create(&root, started_at)
        .map_err(|e| bad_input(format!("run directory under `{}`: {e}", root.display())))?;
    if let Some(logger) = logger::current()
        && let Ok(file) = std::fs::File::create(run_dir.file(LOG_FILE))
    {
        logger.copy_to(file);
    }
    let venue = start_venue(&mut config, &request, &run_dir)?;
    std::fs::write(run_dir.file(CONFIG_FILE), values_text(&config)).map_err(failed)?;

    let mut rest = RestTransport::new(&assemble::rest(&config, venue.ca.as_ref(), true))
        .map_err(|e| bad_input(format!("REST: {e}")))?;
    let listed = listed_pairs(&mut rest, &venue.rest_url)?;
    let instruments = assemble::instruments(&config, &listed).map_err(bad_input)?;
    let warm_up = warm_up(&config, &mut rest, &venue.rest_url, &instruments);
    let context = assemble::context(&config, &instruments, started_at);
    let header = LogHeader {
        build: crate::ops::report::Build::current().commit,
        config_hash: config.hash(),
        context: context.to_bytes(),
    };
    let (input_log, log_writer) = if config.journal.input_log {
        let (tap, writer) = input_log::create(&run_dir.file(INPUT_FILE), &header, LOG_DEPTH)
            .map_err(|e| failed(format!("input log: {e}")))?;
        (Some(tap), Some(writer))
    } else {
        (None, None)
    };
    let wal_config = wal::WalConfig {
        dir: assemble::wal_dir(&config, &run_dir.id()),
        recycle: wal::Recycle::WhenReleased,
        ..wal::WalConfig::default()
    };
    let wal_dir = wal_config.dir.clone();
    let (wal, wal_tail, _) = wal::open(&wal_config).map_err(|e| bad_input(e.to_string()))?;
    let topology = topology::resolve(&assemble::topology(&config), &CpuMap::of_host())
        .map_err(|problems| bad_input(topology::problems_text(&problems)))?;
    let policy = match (&config.market.source, config.market.speed) {
        (MarketSource::Synthetic { .. }, Speed::Times(1.0)) => ClockPolicy::Host,
        _ => ClockPolicy::Market,
    };
    let key = |what: &str| {
        ApiKey::new(assemble::EMBEDDED_KEY, assemble::EMBEDDED_SECRET.as_bytes())
            .map_err(|e| failed(format!("{what} key: {e:?}")))
    };
    let trading = TradingPlan {
        target: assemble::dial(&venue.ws_url, venue.ca.as_ref(), true).map_err(bad_input)?,
        session: assemble::private(&config),
        key: key("trade")?,
        rest_key: key("rest")?,
        nonces: NonceAllocator::new(0),
        rest,
        rest_url: venue.rest_url.clone(),
        rest_retries_max: config.rest.retries_max,
        connect: assemble::connect(&config, true),
    };
    let latch = Latch::new(Rank::EntriesBlocked as u8);
    let risk = RiskStage::new(context.risk.clone(), context.orders, &instruments);
    let plan = EnginePlan {
        sockets: assemble::sockets(&config),
        market_target: assemble::dial(&venue.ws_url, venue.ca.as_ref(), true)
            .map_err(bad_input)?,
        public: assemble::public(&config),
        connect: assemble::connect(&config, false),
        trading,
        policy,
        tick_ms: config.signal.tick_ms as u32,
        timeframes: config.signal.timeframes.clone(),
        signal: context.signal_stage(),
        risk,
        gate: Gate::new(GateConfig { order_age_max_ns: config.orders.age_max_ms * 1_000_000 }),
        gid: Some(assemble::ENGINE_GID),
        latch,
        wal,
        topology: topology.clone(),
        input_log,
        warm_up,
        is_watched: true,
        clock: clock.clone(),
        seed: started_at.0 as u64,
        instruments: instruments.clone(),
    };
    let writer = WaterfallWriter::create(&run_dir.file(ORDERS_FILE)).map_err(failed)?;
    let names = instruments.iter().map(|row| row.name.as_str().to_owned()).collect();
    let tracker = OrderTracker::new(clock.clone(), names, Some(writer));
    let watch = Watch::new(&config, &instruments, tracker, clock.clone());
    let running = plan.start().map_err(failed)?;
    let mut session = Session {
        config,
        request,
        clock,
        running,
        watch,
        venue,
        log_writer,
        wal_tail,
        wal_dir,
        run_dir,
        instruments,
        topology,
        started_at,
    };
    let ending = session.watch_until_end()?;
    session.finish(&ending)
}

/// Starts the embedded exchange, or takes the address of one that runs already.
fn start_venue(
    config: &mut Config,
    request: &RunRequest,
    run_dir: &RunDir,
) -> Result<Venue, RunError> {
    if let Some(address) = &request.attach {
        let (ws_url, rest_url) = assemble::attached(address).map_err(bad_input)?;
        return Ok(Venue { ws_url, rest_url, ca: None, embedded: None });
    }
    let mut setup = assemble::exchange(config);
    let exchange = match &config.market.source {
        MarketSource::Synthetic { seed } => {
            setup.start_at = Clock::start_unchecked().wall();
            let source = Synthetic::new(*seed, &setup);
            Exchange::new(setup, Box::new(source)).map_err(bad_input)?
        }
        MarketSource::Capture { path } => {
            let recording = capture::read(Path::new(path)).map_err(bad_input)?;
            let source = CaptureSource::new(recording).map_err(bad_input)?;
            config.follow_recording(assemble::recorded_channels(&source));
            setup = assemble::exchange(config);
            Exchange::new(setup, Box::new(source)).map_err(bad_input)?
        }
    };
    let tls = if config.exchange.tls {
        let identity = crate::io::tls_server::ServerTls::new().map_err(failed)?;
        Some(ServerTlsConfig { identity, ca_pem_path: Some(run_dir.file("ca.pem")) })
    } else {
        None
    };
    let server = ServerConfig {
        listen: ([127, 0, 0, 1], config.exchange.port).into(),
        tls,
        speed: assemble::server_speed(config.market.speed),
        state_file: config.exchange.keep_state.then(|| run_dir.file("exchange.state")),
        ..ServerConfig::default()
    };
    let handle = Server::start(server, exchange).map_err(bad_input)?;
    Ok(Venue {
        ws_url: handle.ws_url().to_owned(),
        rest_url: handle.rest_url().to_owned(),
        ca: handle.ca_pem_path().cloned(),
        embedded: Some(handle),
    })
}

/// One public read, tried a few times: the venue may just be starting.
fn get(rest: &mut RestTransport, url: &str) -> Result<Vec<u8>, RunError> {
    let request = RestRequest { method: Method::Get, url, headers: &[], body: &[], total_max: None };
    let mut last = String::new();
    for attempt in 0..5u32 {
        if attempt > 0 {
            std::thread::sleep(Duration::from_millis(100 << attempt)); // tidy-ok: start-up, cold
        }
        match rest.call(&request) {
            Ok(reply) if reply.status == 200 => return Ok(reply.body),
            Ok(reply) => last = format!("HTTP {}", reply.status),
            Err(error) => last = error.to_string(),
        }
    }
    Err(RunError::Failed(format!("{url}: {last}; is the venue there?")))
}

/// What the venue lists, with its order sizes.
fn listed_pairs(
    rest: &mut RestTransport,
    rest_url: &str,
) -> Result<Vec<(String, Qty, Qty)>, RunError> {
    let url = format!("{rest_url}/v2/{}", venue_rest::PATH_PAIR_INFO);
    let body = get(rest, &url)?;
    venue_rest::parse_pair_info(&body).map_err(|e| failed(format!("{url}: {e:?}")))
}

/// Closed bars of the past for the indicators; read once, counted, and done without where they are missing.
fn warm_up(
    config: &Config,
    rest: &mut RestTransport,
    rest_url: &str,
    instruments: &[Instrument],
) -> Vec<Body> {
    let mut bodies = Vec::new();
    if config.signal.warmup_bars == 0 {
        return bodies;
    }
    for instrument in instruments {
        for timeframe in &config.signal.timeframes {
            let path = venue_rest::path_candles(instrument, *timeframe, config.signal.warmup_bars);
            let url = format!("{rest_url}/v2/{path}");
            match get(rest, &url).map(|body| venue_rest::parse_candles(&body, instrument.id, *timeframe)) {
                Ok(Ok(bars)) => bodies.extend(bars.into_iter().map(|bar: Bar| Body::Bar(bar))),
                Ok(Err(error)) => log::warn!("{url}: {error:?}; indicators start cold"),
                Err(_) => log::warn!("{url}: no history; indicators start cold"),
            }
        }
    }
    bodies
}

/// Why the run ends.
pub(super) struct Ending {
    pub(super) reason: String,
    pub(super) halted: bool,
}

/// A run under way.
pub(super) struct Session {
    pub(super) config: Config,
    pub(super) request: RunRequest,
    pub(super) clock: Clock,
    pub(super) running: Running,
    pub(super) watch: Watch,
    venue: Venue,
    log_writer: Option<InputLogWriter>,
    wal_tail: wal::WalTail,
    wal_dir: PathBuf,
    pub(super) run_dir: RunDir,
    pub(super) instruments: Vec<Instrument>,
    pub(super) topology: topology::Topology,
    pub(super) started_at: WallNs,
}

impl Session {
    /// Cold work of one round: taps, input log, write-ahead tail.
    fn round(&mut self) {
        self.watch.drain(&mut self.running.taps);
        if let Some(writer) = &mut self.log_writer {
            // A disk that fails leaves an incomplete log; trading goes on.
            while matches!(writer.poll(4_096), Ok(count) if count > 0) {}
        }
        while matches!(self.wal_tail.poll(4_096, |_| {}), Ok(count) if count > 0) {}
        self.wal_tail.release();
        self.watch.tracker.flush();
    }

    fn watch_until_end(&mut self) -> Result<Ending, RunError> {
        let terminate = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&terminate)).map_err(failed)?;
        }
        let mut view = View::new(self.request.view);
        let mut ending = None;
        let mut finished_at = None;
        while ending.is_none() {
            self.round();
            if view.is_due() {
                view.show(self.watch.model());
            }
            let elapsed = Duration::from_nanos(self.clock.mono().0);
            if view.wait_for_stop(Duration::from_millis(20)) || terminate.load(Ordering::Acquire) {
                ending = Some(Ending { reason: "stopped by the operator".to_owned(), halted: false });
            } else if self.request.run_for.is_some_and(|limit| elapsed >= limit) {
                ending = Some(Ending { reason: "time is up".to_owned(), halted: false });
            } else if self.running.has_failed() {
                ending = Some(Ending { reason: "halted: a stage broke".to_owned(), halted: true });
            } else if self.watch.is_halted() {
                let reason = "halted: events could not be delivered in time".to_owned();
                ending = Some(Ending { reason, halted: true });
            } else if self.venue.embedded.as_ref().is_some_and(ServerHandle::is_finished) {
                // The last frames are still on their way through sockets and rings.
                let since = *finished_at.get_or_insert(elapsed);
                if self.watch.is_quiet_for(Duration::from_millis(500)) || elapsed - since > DRAIN_FOR {
                    ending = Some(Ending { reason: "the recording ended".to_owned(), halted: false });
                }
            }
        }
        let ending = ending.unwrap_or(Ending { reason: String::new(), halted: false });
        if !self.running.has_failed() {
            self.stop_orders(&mut view);
        }
        drop(view);
        Ok(ending)
    }

    /// No new orders; own orders cancelled and seen to be gone, or the time-out.
    fn stop_orders(&mut self, view: &mut View) {
        let verb = match self.config.trading.on_stop {
            OnStop::Keep => OperatorVerb::Stop,
            OnStop::Flatten => OperatorVerb::StopFlatten,
        };
        let reason = Text::new("stop").unwrap_or_default();
        let mut command = Some(OperatorCommand { verb, symbol: None, reason });
        let limit = Duration::from_millis(self.config.trading.stop_timeout_ms);
        let begun = self.clock.mono();
        loop {
            if let Some(order) = command.take() {
                command = self.running.command(order).err();
            }
            self.round();
            let account = self.watch.account();
            if account.is_some_and(|account| account.quiesced) || self.running.has_failed() {
                break;
            }
            let left = account.map_or(0, |account| account.orders_alive);
            self.watch.notice(&format!("stopping: {left} own orders left to cancel"), true);
            if view.is_due() {
                view.show(self.watch.model());
            }
            let waited = Duration::from_nanos((self.clock.mono() - begun).0.unsigned_abs());
            if waited > limit {
                log::warn!("own orders could not be cancelled within {} ms", limit.as_millis());
                break;
            }
            view.wait_for_stop(Duration::from_millis(10));
        }
        self.round();
    }

    /// Ends the threads and writes down what was.
    fn finish(mut self, ending: &Ending) -> Result<Report, RunError> {
        self.round();
        let dial_failures = self.running.dial_stats.failures.load(Ordering::Relaxed);
        let (stopped, mut taps) = self.running.stop().map_err(failed)?;
        self.watch.drain(&mut taps);
        self.watch.tracker.close();
        let hash = stopped.send.line.decision_hash();
        if let Some(writer) = self.log_writer.take()
            && let Err(error) = writer.finish(hash)
        {
            log::warn!("input log: {error}");
        }
        if let Some(server) = self.venue.embedded.take() {
            let _ = server.stop();
        }
        // The run ended by itself: its write-ahead log has done its work.
        drop(self.wal_tail);
        let report = super::account::report(super::account::Facts {
            config: &self.config,
            watch: &mut self.watch,
            stopped: &stopped,
            instruments: &self.instruments,
            topology: &self.topology,
            run_dir: &self.run_dir,
            started_at: self.started_at,
            elapsed_s: self.clock.mono().0 as f64 / 1e9,
            dial_failures,
            ending,
        });
        drop(stopped);
        let _ = std::fs::remove_dir_all(&self.wal_dir);
        Ok(report)
    }
}

/// The resolved core map of this machine, as text.
///
/// # Errors
/// The topology does not fit this machine.
pub fn explain_topology(config: &Config) -> Result<String, RunError> {
    let cpus = CpuMap::of_host();
    let topology = topology::resolve(&assemble::topology(config), &cpus)
        .map_err(|problems| bad_input(topology::problems_text(&problems)))?;
    Ok(topology.to_string())
}
