//! A run from start to report: starts the exchange where it is embedded, asks the venue what it
//! lists, starts the threads, watches, stops, reports.

use super::assemble::{self, Context};
use super::control::ControlDesk;
use super::entry::{self, OrderEntry, Ways};
use super::history::{self, HistoryKeeper, history_path};
use super::ids::CidMark;
use super::kill::{self, Desk, KILL_RECORD, KillWatch, VENUE_FILE, VenuePlace};
use super::memory::{self, MemoryHome};
use super::operate::{Beside, Operate, RunFacts};
use super::outside;
use super::request::{Ending, RunError, RunRequest, bad_input, failed};
use super::rest::{self, PlaneSetup, Records, RestSide, start_plane};
use super::watch::Watch;
use crate::base::bounded::Text;
use crate::base::time::{MonoNs, SpanNs, WallNs};
use crate::config::{Config, Environment, MarketSource, OnStop, Speed, TradingMode, values_text};
use crate::exchange::{Exchange, ExchangeConfig, LiveSource, Synthetic, WaitFor};
use crate::io::clock::Clock;
use crate::io::input_log::{self, InputLogWriter, LogHeader};
use crate::io::tls_server::ServerTls;
use crate::io::wal_copy::{WAL_COPY_FILE, WalCopy};
use crate::io::{syscall, wal};
use crate::line::rest::Reason;
use crate::model::{Bar, Body, Instrument, OperatorCommand, OperatorVerb, Rank};
use crate::ops::journal::OrderTracker;
use crate::ops::logger::{self, LogFile};
use crate::ops::report::{Build, Report};
use crate::ops::rundir::{CONFIG_FILE, INPUT_FILE, LOG_FILE, ORDERS_FILE, REST_FILE, RunDir};
use crate::ops::view::View;
use crate::ops::waterfall::WaterfallWriter;
use crate::ring::Latch;
use crate::runtime::cold::journal::{JournalStats, JournalThread};
use crate::runtime::cold::listing::Listing;
use crate::runtime::cold::rest::RestPlan;
use crate::runtime::cold::{self, ColdThread};
use crate::runtime::duty::ThreadFault;
use crate::runtime::engine::{EnginePlan, Running, TradingPlan};
use crate::runtime::paper_feed::{Inbox, PaperFeed};
use crate::runtime::plane::{PlaneCall, RestPlane};
use crate::runtime::server::{
    FaultScript, Faulty, Server, ServerConfig, ServerHandle, ServerTlsConfig, open_recording,
};
use crate::runtime::topology::{LinkKind, Topology};
use crate::venue::rest::{RestCall, RestSink, parse_reply};
use crate::venue::symbols::SymbolTable;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long a finished recording's last frames may take to be read.
const DRAIN_FOR: SpanNs = SpanNs::from_s(10);
/// Silence after which a finished recording has been read to its end.
const QUIET_FOR: SpanNs = SpanNs::from_ms(500);
/// From a hot thread's panic or hang to the end of the run: time for the watchdog's look, and for
/// its alert to be delivered.
const FAILURE_TOLD_FOR: SpanNs = SpanNs::from_ms(1_500);
/// Between the first full readiness and the seal: by then every path has been walked once.
const WARM_FOR: SpanNs = SpanNs::from_s(5);
/// A read of history waits at most so long for its turn.
const WARM_UP_FRESH_FOR: Duration = Duration::from_secs(10);
/// How long REST calls in flight may take at the end.
const LANES_GRACE: Duration = Duration::from_secs(1);

/// The exchange inside this process.
type Embedded = ServerHandle<Faulty<Exchange>>;

/// Where the venue is, for this run.
struct Venue {
    ways: Ways,
    embedded: Option<Embedded>,
    /// Brings the venue's stream to the embedded exchange: paper on live data.
    feed: Option<(ColdThread, Arc<AtomicBool>)>,
}
impl Venue {
    fn of(ways: Ways, embedded: Option<Embedded>) -> Venue {
        Venue { ways, embedded, feed: None }
    }
    fn stop_feed(&mut self) {
        if let Some((thread, stop)) = self.feed.take() {
            stop.store(true, Ordering::Release);
            let _ = thread.join();
        }
    }
}

/// Runs the engine until it is told to stop.
pub(super) fn run(mut config: Config, request: RunRequest) -> Result<Report, RunError> {
    let entry = entry::order_entry(&config, request.armed.as_deref(), request.attach.is_some())
        .map_err(bad_input)?;
    if config.topology.lock_memory
        && let Err(error) = syscall::lock_memory(true)
    {
        return Err(bad_input(format!(
            "topology.lock_memory: the kernel refused ({error}); raise the limit of locked memory \
             (`ulimit -l`) or set it to false"
        )));
    }
    let clock = Clock::start();
    let started_at = clock.wall();
    let root = request.places.root();
    let run_dir = RunDir::create(&root, started_at)
        .map_err(|e| bad_input(format!("run directory under `{}`: {e}", root.display())))?;
    if let Some(logger) = logger::current()
        && let Ok(file) = LogFile::create(
            &run_dir.file(LOG_FILE),
            config.log.file_mib_max << 20,
            config.log.files_max,
        )
    {
        logger.copy_to(file);
    }
    let topology = super::request::resolve_topology(&config)?;
    let venue = start_venue(&mut config, &request, entry, &run_dir, &topology, started_at)?;
    // Keys of an exchange in this process live as long as it; others are shared with whoever
    // signs with them on this machine.
    let nonce_dir = match venue.embedded {
        Some(_) => run_dir.file("nonces"),
        None => root.join("nonces"),
    };
    let keys = entry::keys(&config, entry, &nonce_dir).map_err(bad_input)?;
    let nonces = keys.nonces;
    let records = Records::default();
    if config.rest.calls_log_mib_max > 0 {
        let size_max = config.rest.calls_log_mib_max << 20;
        let file = LogFile::create(&run_dir.file(REST_FILE), size_max, 2).map_err(failed)?;
        records.0.lock().log_to(Box::new(file));
    }
    let setup = PlaneSetup {
        config: &config,
        public_url: venue.ways.public_rest.clone(),
        private_url: venue.ways.account_rest.clone(),
        ca: venue.ways.market_ca.as_ref(),
        keys: keys.plane,
        lanes: config.rest.lanes,
        is_kept_warm: true,
        cpus: &topology.cold_cpus,
    };
    let (plane, lanes) =
        start_plane(setup, Box::new(records.clone()), &clock).map_err(bad_input)?;
    // The run's own exchange is always there, but a kill from another process must not need its
    // public side.
    let saved = rest::saved_list(&root, &config, request.attach.as_deref())
        .unwrap_or_else(|| run_dir.file("symbols"));
    let list = rest::listing(&config, &plane, &clock, Some(&saved)).map_err(failed)?;
    let registry = list.registry().ok_or_else(|| failed("there is no list of pairs"))?;
    let instruments = rest::instruments(&mut config, registry).map_err(bad_input)?;
    entry::check_pairs(entry, &instruments).map_err(bad_input)?;
    entry::check_rights(entry, &plane).map_err(bad_input)?;
    std::fs::write(run_dir.file(CONFIG_FILE), values_text(&config)).map_err(failed)?;
    let warm_up = warm_up(&config, &plane, &instruments);
    let account = account_name(&config).to_owned();
    // The account of an exchange in this process begins with it: there is nothing to remember.
    let home = match venue.embedded {
        None => Some(MemoryHome::open(&root, &account).map_err(bad_input)?),
        Some(_) => None,
    };
    let memory = home.as_ref().map_or(Ok(None), MemoryHome::recall).map_err(bad_input)?;
    // The kill's own ids first: the run's mark moves on at its end.
    let mark = || CidMark::open(&root, &account, started_at).map_err(bad_input);
    let (kill_cids, cids) = (mark()?, mark()?);
    let remembered = memory.as_ref().map_or(0, |memory| memory.account.cid_last.0);
    let cid_used = cids.used().max(remembered);
    let context = Context { instruments: instruments.clone(), cid_used, memory };
    let mut stages = assemble::stages(&config, &context)
        .map_err(|e| bad_input(format!("strategy: {e}; correct [[strategy]]")))?;
    let wal_config = wal_config(&config, &run_dir);
    let wal_dir = wal_config.dir.clone();
    let memory_dir = wal_dir.with_extension("risk");
    let keeper = match &home {
        Some(home) => home.keep(&instruments, context.memory.as_ref()),
        None => memory::keeper(&memory_dir.join("state"), &instruments, None),
    };
    stages.risk.keep_in(Box::new(keeper.map_err(|e| bad_input(format!("risk state: {e}")))?));
    let (input_log, log_writer) = open_input_log(&config, &context, &run_dir, &topology)?;
    if home.is_some()
        && let Err(error) = memory::salvage(&root, &account, &run_dir.id(), &wal_dir)
    {
        log::error!("write-ahead log of an earlier run: {error}");
    }
    let (wal, wal_tail, _) = wal::open(&wal_config).map_err(bad_input)?;
    let place = VenuePlace {
        rest_url: venue.ways.account_rest.clone(),
        ca: venue.ways.account_ca.clone(),
        account: account.clone(),
        is_venue: entry.is_venue(),
        public_url: entry.is_venue().then(|| venue.ways.public_rest.clone()),
        nonces: nonce_dir,
        saved_list: Some(saved.clone()),
    };
    std::fs::write(run_dir.file(VENUE_FILE), kill::json_text(&place)).map_err(failed)?;
    let desk = Desk {
        plane: plane.clone(),
        instruments: instruments.clone(),
        wallet: config.trading.wallet,
        leverage: config.trading.leverage,
        clock: clock.clone(),
        cid_last: 0,
    };
    let ways = &venue.ways;
    let on_host = assemble::is_local(&config);
    let market_target =
        outside::dial(&ways.market_ws, ways.market_ca.as_ref(), on_host).map_err(bad_input)?;
    let target = outside::dial(&ways.account_ws, ways.account_ca.as_ref(), !entry.is_venue())
        .map_err(bad_input)?;
    let trading = TradingPlan {
        target,
        session: outside::private(&config),
        key: keys.trade,
        nonces: nonces.clone(),
        rest: RestPlan {
            plane: plane.clone(),
            account_apart: SpanNs::from_s(config.rest.account_interval_s as i64),
            cancel_only_when_down: config.rest.cancel_only_when_down,
            listing: Some(Listing::new(list, Some(saved), &instruments, config.trading.wallet)),
        },
        rest_fallback: assemble::rest_fallback(&config),
        connect: outside::connect(&config, true),
    };
    let plan = EnginePlan {
        sockets: outside::sockets(&config),
        market_target,
        public: outside::public(&config),
        connect: outside::connect(&config, false),
        trading,
        policy: assemble::clock_policy(&config),
        tick_ms: config.signal.tick_ms as u32,
        timeframes: config.signal.timeframes.clone(),
        signal: stages.signal,
        risk: stages.risk,
        gate: assemble::gate(&config, false),
        gid: Some(assemble::ENGINE_GID),
        warm_up,
        latch: Latch::new(Rank::EntriesBlocked as u8),
        wal,
        topology: topology.clone(),
        input_log,
        log_stalls: config.market.speed == Speed::Max,
        is_watched: true,
        clock: clock.clone(),
        seed: started_at.0 as u64,
        instruments: instruments.clone(),
    };
    let writer = WaterfallWriter::create(&run_dir.file(ORDERS_FILE)).map_err(failed)?;
    let names = instruments.iter().map(|row| row.name.as_str().to_owned()).collect();
    let tracker = OrderTracker::new(clock.clone(), names, Some(writer));
    let watch = Watch::new(&config, &instruments, tracker, clock.clone());
    let history = match config.journal.history {
        false => None,
        true => {
            let path = history_path(&root, run_dir.path(), &account, venue.embedded.is_some());
            let facts = history::run_row(&config, &account, started_at);
            let cpus = &topology.cold_cpus;
            let run = run_dir.id();
            Some(HistoryKeeper::start(&path, &run, &facts, &instruments, cpus).map_err(bad_input)?)
        }
    };
    let journal_stats: Arc<JournalStats> = Arc::default();
    let journal_stop = Arc::new(AtomicBool::new(false));
    let journal = JournalThread {
        input_log: log_writer,
        wal: wal_tail,
        wal_copy: Some(WalCopy::create(&run_dir.file(WAL_COPY_FILE)).map_err(failed)?),
        history: history.as_ref().map(HistoryKeeper::tap),
        stop: Arc::clone(&journal_stop),
        stats: Arc::clone(&journal_stats),
    };
    let journal = cold::spawn("journal", &topology.cold_cpus, move || journal.run());
    let journal = journal.map_err(failed)?;
    let running = plan.start().map_err(failed)?;
    let (file, record) = (kill::kill_file(&root, &account), run_dir.file(KILL_RECORD));
    let kill = KillWatch::start(file, record, &running.latch, desk, kill_cids).map_err(failed)?;
    let control =
        ControlDesk::start(&run_dir, running.latch.clone(), clock.clone(), &topology.cold_cpus)
            .map_err(bad_input)?;
    let operate = Operate::start(&Beside {
        config: &config,
        run_dir: &run_dir,
        topology: &topology,
        running: &running,
        journal: journal_stats,
        clock: &clock,
        service: &request.service,
    })?;
    let mut session = Session {
        operate,
        config,
        request,
        clock,
        running,
        watch,
        venue,
        rest: RestSide::new(plane, lanes, records, nonces),
        journal,
        journal_stop,
        wal_dir,
        memory_dir,
        home,
        history,
        kill,
        control,
        run_dir,
        instruments,
        topology,
        started_at,
        cids,
        cids_told: false,
        warm: Warm::No,
        copied_at_s: 0,
    };
    let ending = session.watch_until_end()?;
    session.finish(&ending)
}

/// Whose client ids are counted: an account's name, or that of the embedded exchange's account.
fn account_name(config: &Config) -> &str {
    match (config.trading.account.as_str(), config.trading.mode) {
        ("", TradingMode::Test) => "test",
        ("", _) => "embedded",
        (name, _) => name,
    }
}

type InputLog = (Option<input_log::InputTap>, Option<InputLogWriter>);

fn open_input_log(
    config: &Config,
    context: &Context,
    run_dir: &RunDir,
    topology: &Topology,
) -> Result<InputLog, RunError> {
    if !config.journal.input_log {
        return Ok((None, None));
    }
    let header = LogHeader {
        build: Build::current().commit,
        config_hash: u64::from_str_radix(&config.hash(), 16).unwrap_or(0),
        context: context.to_bytes(),
    };
    let depth = topology.link(LinkKind::ParseJournal).depth;
    let (tap, writer) = input_log::create(&run_dir.file(INPUT_FILE), &header, depth)
        .map_err(|e| failed(format!("input log: {e}")))?;
    let writer = writer.at_most(config.journal.input_log_mib_max << 20);
    Ok((Some(tap), Some(writer)))
}

fn wal_config(config: &Config, run_dir: &RunDir) -> wal::WalConfig {
    let dir = match config.journal.write_ahead_dir.as_str() {
        "" => crate::io::files::default_wal_dir(&run_dir.id()),
        dir => Path::new(dir).join(run_dir.id()),
    };
    let plain = wal::WalConfig { dir, recycle: wal::Recycle::WhenReleased, ..Default::default() };
    let segment_size = u64::from(plain.segment_slots) * wal::SLOT_SIZE as u64;
    let segments = (config.journal.write_ahead_mib << 20).div_ceil(segment_size) as usize;
    wal::WalConfig { segments: segments.clamp(2, wal::SEGMENTS_MAX), ..plain }
}

/// Starts the embedded exchange, or takes the address of one that runs already, or the venue's.
fn start_venue(
    config: &mut Config,
    request: &RunRequest,
    entry: OrderEntry,
    run_dir: &RunDir,
    topology: &Topology,
    started_at: WallNs,
) -> Result<Venue, RunError> {
    if let Some(address) = &request.attach {
        let (ws, rest) = outside::attached(address).map_err(bad_input)?;
        let ca = entry::venue_ca(config);
        return Ok(Venue::of(same_ways(ws, rest, ca), None));
    }
    if entry.is_venue() {
        return Ok(Venue::of(entry::venue_ways(config, entry, None), None));
    }
    if config.environment == Environment::Bitfinex {
        return start_paper(config, entry, run_dir, topology, started_at);
    }
    let exchange = match config.market.source.clone() {
        MarketSource::Synthetic { seed } => {
            let setup = outside::exchange(config);
            let source = Synthetic::new(outside::synthetic(config, seed, started_at));
            Exchange::new(setup, Box::new(source)).map_err(bad_input)?
        }
        MarketSource::Capture { path } => {
            let source = open_recording(Path::new(&path)).map_err(bad_input)?;
            config.follow_recording(outside::recorded_channels(&source));
            Exchange::new(outside::exchange(config), Box::new(source)).map_err(bad_input)?
        }
    };
    let speed = outside::server_speed(config.market.speed);
    let handle = serve_inside(config, exchange, speed, run_dir, topology)?;
    let (ws, rest) = (handle.ws_url().to_owned(), handle.rest_url().to_owned());
    let ca = handle.ca_pem_path().cloned();
    Ok(Venue::of(same_ways(ws, rest, ca), Some(handle)))
}

/// Market and account at one place.
fn same_ways(ws: String, rest: String, ca: Option<PathBuf>) -> Ways {
    Ways {
        market_ws: ws.clone(),
        account_ws: ws,
        public_rest: rest.clone(),
        account_rest: rest,
        market_ca: ca.clone(),
        account_ca: ca,
    }
}

fn serve_inside(
    config: &Config,
    exchange: Exchange,
    speed: crate::runtime::server::Speed,
    run_dir: &RunDir,
    topology: &Topology,
) -> Result<Embedded, RunError> {
    // Where the account is inside and the market is not, one transport serves both: plain inside.
    let wants_tls = config.exchange.tls && config.environment == Environment::Embedded;
    let tls = if wants_tls {
        let identity = ServerTls::generate().map_err(failed)?;
        Some(ServerTlsConfig { identity, ca_pem_path: Some(run_dir.file("ca.pem")) })
    } else {
        None
    };
    let server = ServerConfig {
        listen: ([127, 0, 0, 1], config.exchange.port).into(),
        tls,
        speed,
        state_file: config.exchange.keep_state.then(|| run_dir.file("exchange.state")),
        // Beside the hot threads where there is room, never on top of one.
        core: topology.cold_cpus.last().copied(),
        ..ServerConfig::default()
    };
    let script = match config.exchange.faults.as_str() {
        "" => FaultScript::default(),
        path => super::venue::read_faults(Path::new(path)).map_err(bad_input)?,
    };
    Server::start(server, Faulty::new(exchange, script)).map_err(bad_input)
}

/// Paper on the venue's live data: the line listens to the venue as in a live run, the account is
/// an exchange of this process, and a socket of its own brings the venue's stream to that one.
fn start_paper(
    config: &Config,
    entry: OrderEntry,
    run_dir: &RunDir,
    topology: &Topology,
    started_at: WallNs,
) -> Result<Venue, RunError> {
    let book_len = config.channels.book_length;
    let inbox = Inbox::default();
    let boxed = Box::new(inbox.clone());
    let source = LiveSource::new(&config.symbols, book_len, started_at, boxed);
    let setup = ExchangeConfig { wait_for: WaitFor::Nothing, ..outside::exchange(config) };
    let exchange = Exchange::new(setup, Box::new(source)).map_err(bad_input)?;
    let real_time = crate::runtime::server::Speed::Real;
    let handle = serve_inside(config, exchange, real_time, run_dir, topology)?;
    let ways = entry::venue_ways(config, entry, Some((handle.ws_url(), handle.rest_url())));
    let stop = Arc::new(AtomicBool::new(false));
    let feed = PaperFeed {
        target: outside::dial(&ways.market_ws, ways.market_ca.as_ref(), false)
            .map_err(bad_input)?,
        hello: LiveSource::subscriptions(&config.symbols, book_len),
        inbox,
        wake: handle.waker(),
        stop: Arc::clone(&stop),
        stats: Arc::default(),
    };
    let thread = cold::spawn("paper", &topology.cold_cpus, move || feed.run()).map_err(failed)?;
    Ok(Venue { ways, embedded: Some(handle), feed: Some((thread, stop)) })
}

/// Bars of a reply.
#[derive(Default)]
struct Bars(Vec<Bar>);
impl RestSink for Bars {
    fn bar(&mut self, bar: Bar) {
        self.0.push(bar);
    }
}

/// Closed bars of the past for the indicators; read once, and done without where they are missing.
fn warm_up(config: &Config, plane: &RestPlane, instruments: &[Instrument]) -> Vec<Body> {
    let limit = u16::try_from(config.signal.warmup_bars).unwrap_or(u16::MAX);
    if limit == 0 {
        return Vec::new();
    }
    let table = SymbolTable::new(instruments);
    let read = |call: &RestCall| -> Result<Vec<Bar>, String> {
        let asked = PlaneCall::of(call, Reason::WarmUp, &table, WARM_UP_FRESH_FOR)
            .map_err(|error| format!("{call:?}: {error:?}"))?;
        let path = asked.path.clone();
        let reply = plane.call(asked).map_err(|error| format!("{path}: {error}"))?;
        let mut bars = Bars::default();
        parse_reply(call, reply.status, &reply.body, &table, &mut bars)
            .map_err(|error| format!("{path}: {:?}", error.kind))?;
        Ok(bars.0)
    };
    let mut bodies = Vec::new();
    for instrument in instruments {
        for timeframe in &config.signal.timeframes {
            let (symbol, timeframe) = (instrument.id, *timeframe);
            match read(&RestCall::CandlesHist { symbol, timeframe, limit, end: None }) {
                Ok(bars) => bodies.extend(bars.into_iter().map(Body::Bar)),
                Err(words) => log::warn!("no history, indicators start cold: {words}"),
            }
        }
    }
    bodies
}

/// From the first readiness to the seal.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Warm {
    No,
    Since(MonoNs),
    Sealed,
}

/// A run under way.
pub(super) struct Session {
    operate: Operate,
    pub(super) config: Config,
    pub(super) request: RunRequest,
    pub(super) clock: Clock,
    pub(super) running: Running,
    pub(super) watch: Watch,
    venue: Venue,
    pub(super) rest: RestSide,
    journal: ColdThread<JournalThread>,
    journal_stop: Arc<AtomicBool>,
    wal_dir: PathBuf,
    memory_dir: PathBuf,
    home: Option<MemoryHome>,
    history: Option<HistoryKeeper>,
    kill: KillWatch,
    control: ControlDesk,
    pub(super) run_dir: RunDir,
    pub(super) instruments: Vec<Instrument>,
    pub(super) topology: Topology,
    pub(super) started_at: WallNs,
    cids: CidMark,
    /// That they cannot be kept ahead is told once: on a full disk the log is full, too.
    cids_told: bool,
    warm: Warm,
    /// Second of the last copy of the risk state.
    copied_at_s: u64,
}

impl Session {
    /// Cold work of one round: taps, client ids, the seal.
    fn round(&mut self) {
        self.watch.drain(&mut self.running.taps);
        self.watch.tracker.flush();
        self.rest.recover(self.watch.nonces_refused);
        let first_cancel_us = self.watch.first_cancel_us(self.running.latch.killed_at());
        self.kill.round(&self.running.latch, self.watch.account(), first_cancel_us);
        self.control.round(
            &mut self.running,
            &mut self.kill,
            &self.instruments,
            self.watch.levels(),
            self.watch.account().map(|account| account.rank),
        );
        if let Some(history) = &mut self.history {
            history.round(self.clock.wall(), self.watch.account(), self.watch.levels());
        }
        if let Some((step_ms, after)) = self.request.clock_step
            && u128::from(self.clock.mono().0) >= after.as_nanos()
        {
            log::warn!("drill: the wall clock is stepped by {step_ms} ms");
            self.clock.step_wall(SpanNs::from_ms(step_ms));
            self.request.clock_step = None;
        }
        self.misbehave();
        let second = self.clock.mono().0 / 1_000_000_000;
        if let Some(home) = &mut self.home
            && second != self.copied_at_s
        {
            self.copied_at_s = second;
            home.copy();
        }
        let facts = RunFacts {
            config: &self.config,
            run_dir: &self.run_dir,
            topology: &self.topology,
            instruments: &self.instruments,
            rest: &self.rest,
        };
        self.operate.round(&mut self.watch, &mut self.running, &mut self.kill, &facts);
        if let Some(account) = self.watch.account()
            && let Err(words) = self.cids.keep_ahead(account.cid_last)
        {
            if !std::mem::replace(&mut self.cids_told, true) {
                log::error!("client ids cannot be kept ahead, no more entries: {words}");
            }
            self.running.latch.raise(Rank::EntriesBlocked as u8);
        }
        let now = self.clock.mono();
        match self.warm {
            Warm::No if self.watch.account().is_some_and(|account| account.ready) => {
                self.warm = Warm::Since(now);
            }
            Warm::Since(at) if now - at >= WARM_FOR => {
                // Rings and tables were made at start, yet their pages come with their first use.
                // Whoever touches a new page meanwhile waits for it: that is no hang.
                let populated = self.operate.unwatched(syscall::populate_memory);
                log::debug!("{} MiB made present", populated >> 20);
                self.running.seal();
                self.warm = Warm::Sealed;
                log::info!("warm: from here on an allocation on a hot thread is a fault");
            }
            _ => {}
        }
    }

    /// What a drill asked for, once its time has come.
    fn misbehave(&mut self) {
        let at = u128::from(self.clock.mono().0);
        let is_due = self.request.thread_fault.as_ref().is_some_and(|f| at >= f.2.as_nanos());
        if !is_due {
            return;
        }
        let Some((thread, fault, _)) = self.request.thread_fault.take() else { return };
        log::warn!("drill: thread {thread} {fault}");
        let kind = match fault.as_str() {
            "wedge" => ThreadFault::Wedge,
            "slow" => ThreadFault::Slow,
            _ => ThreadFault::Panic,
        };
        match thread.as_str() {
            "journal" => self.operate.journal.is_wedged.store(true, Ordering::Relaxed),
            "main" => std::thread::park_timeout(Duration::from_secs(10)),
            name => match self.running.threads().iter().find(|each| each.name() == name) {
                Some(found) => found.control().drill(kind),
                None => log::error!("drill: there is no thread {name}"),
            },
        }
    }

    fn watch_until_end(&mut self) -> Result<Ending, RunError> {
        let terminate = Arc::new(AtomicBool::new(false));
        use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&terminate)).map_err(failed)?;
        }
        let report = &self.config.report;
        let (redraw, line) =
            (Duration::from_millis(report.redraw_ms), Duration::from_secs(report.line_interval_s));
        let mut view = View::open(self.request.view, redraw, line);
        if let Some(logger) = logger::current() {
            logger.hide(view.is_live());
        }
        let mut failed_at = None;
        let mut finished_at = None;
        self.operate.begin();
        let ending = loop {
            self.round();
            if view.is_due() {
                self.watch.on_threads(&self.topology, self.running.threads());
                view.show(self.watch.model());
            }
            let elapsed = self.clock.mono() - MonoNs(0);
            let is_over = |limit: Duration| elapsed.0 >= 0 && elapsed.0 as u128 >= limit.as_nanos();
            if view.wait_for_stop(Duration::from_millis(20)) || terminate.load(Ordering::Acquire) {
                break Ending { reason: "stopped by the operator".to_owned(), halted: false };
            }
            if self.request.run_for.is_some_and(is_over) {
                break Ending { reason: "time is up".to_owned(), halted: false };
            }
            let by_watchdog = self.operate.wants_halt();
            let by_watchdog = by_watchdog.map(|words| format!("halted by the watchdog: {words}"));
            let broken = || self.running.failure().map(|words| format!("halted: {words}"));
            if let Some(reason) = by_watchdog.or_else(broken) {
                // No entry leaves any more; the watchdog has its look, and the alert its way out.
                let since = *failed_at.get_or_insert(elapsed);
                if elapsed.0 - since.0 >= FAILURE_TOLD_FOR.0 {
                    break Ending { reason, halted: true };
                }
            }
            if self.watch.is_halted() {
                let reason = "halted: events could not be delivered in time".to_owned();
                break Ending { reason, halted: true };
            }
            if self.venue.embedded.as_ref().is_some_and(ServerHandle::is_finished) {
                // The last frames are still on their way through sockets and rings.
                let since = *finished_at.get_or_insert(elapsed);
                if self.watch.quiet_for() >= QUIET_FOR || elapsed.0 - since.0 > DRAIN_FOR.0 {
                    break Ending { reason: "the recording ended".to_owned(), halted: false };
                }
            }
        };
        self.operate.end();
        if self.running.failure().is_none() {
            self.stop_orders(&mut view);
        }
        drop(view);
        if let Some(logger) = logger::current() {
            logger.hide(false);
        }
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
        let limit_ms = self.config.trading.stop_timeout_ms as i64;
        let begun = self.clock.mono();
        loop {
            if let Some(order) = command.take() {
                command = self.running.command(order).err();
            }
            self.round();
            let account = self.watch.account();
            if account.is_some_and(|account| account.quiesced) || self.running.failure().is_some() {
                break;
            }
            let left = account.map_or(0, |account| account.orders_alive);
            self.watch.notice(&format!("stopping: {left} own orders left to cancel"), true);
            if view.is_due() {
                self.watch.on_threads(&self.topology, self.running.threads());
                view.show(self.watch.model());
            }
            if (self.clock.mono() - begun).as_ms() > limit_ms {
                log::warn!("own orders could not be cancelled within {limit_ms} ms");
                break;
            }
            view.wait_for_stop(Duration::from_millis(10));
        }
        self.round();
    }

    /// Ends the threads and writes down what was.
    fn finish(mut self, ending: &Ending) -> Result<Report, RunError> {
        self.round();
        self.kill.close();
        let elapsed = self.clock.mono() - MonoNs(0);
        // A drill is over here: its thread must end.
        self.operate.journal.is_wedged.store(false, Ordering::Relaxed);
        self.operate.close();
        let (stopped, mut taps) = self.running.stop().map_err(failed)?;
        self.rest.stop(LANES_GRACE);
        self.watch.drain(&mut taps);
        self.watch.tracker.close();
        self.control.close();
        self.journal_stop.store(true, Ordering::Release);
        let journal = self.journal.join();
        if let Some(history) = &mut self.history {
            history.close();
        }
        if let Some(writer) = journal.and_then(|journal| journal.input_log)
            && let Err(error) = writer.finish(stopped.send.line.decision_hash())
        {
            log::warn!("input log: {error}");
        }
        self.venue.stop_feed();
        if let Some(server) = self.venue.embedded.take()
            && let Ok((_, exchange)) = server.stop()
            && !self.config.exchange.faults.is_empty()
        {
            log::info!("faults of the exchange: {:?}", exchange.fault_counters());
        }
        let rest_calls =
            self.rest.by_reason().into_iter().map(|row| (row.name, row.calls)).collect();
        let report = super::account::report(&super::account::Facts {
            rest_calls: &rest_calls,
            config: &self.config,
            watch: &self.watch,
            stopped: &stopped,
            instruments: &self.instruments,
            topology: &self.topology,
            run_dir: &self.run_dir,
            started_at: self.started_at,
            elapsed_s: elapsed.0 as f64 / 1e9,
            ending,
        });
        if let Err(words) = self.cids.close(stopped.risk.stage.snapshot().cid_last) {
            log::warn!("{words}");
        }
        drop(stopped);
        // The run ended by itself: its write-ahead log has done its work.
        let _ = std::fs::remove_dir_all(&self.wal_dir);
        match &mut self.home {
            Some(home) => home.copy(),
            None => drop(std::fs::remove_dir_all(&self.memory_dir)),
        }
        Ok(report)
    }
}
