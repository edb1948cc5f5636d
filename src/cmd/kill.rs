//! The kill switch from outside the line: the file and the signal that pull it, a second way to the
//! venue for the day the engine hangs or is dead, and the record of how it ended.
//!
//! The direct way needs nothing of the engine: own connection, own client ids, REST only. What it
//! asks and does is `line::desk`.

use super::assemble::ENGINE_GID;
use super::entry::{self, OrderEntry};
use super::ids::CidMark;
use super::rest::{self, PlaneSetup, Records, start_plane};
use crate::base::time::MonoNs;
use crate::base::units::Quote;
use crate::config::{Config, TradingMode};
use crate::engine::risk::RiskSnapshot;
use crate::io::clock::Clock;
use crate::line::desk::{self, Account, DeskConfig, DeskRecord, Failed, KillStep, Leftover, Next};
use crate::line::kill_rules::{Ended, ended};
use crate::line::rest::Reason;
use crate::model::{Instrument, Rank, WalletKind};
use crate::ops::logger::LogFile;
use crate::ops::report::exit;
use crate::ops::rundir::write_atomic;
use crate::ops::text::utc;
use crate::ring::Latch;
use crate::runtime::cold::{self, ColdThread};
use crate::runtime::plane::{PlaneCall, RestPlane};
use crate::venue::rest::{RestCall, parse_reply};
use crate::venue::symbols::SymbolTable;
use parking_lot::Mutex;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

/// Between two looks for the file, ns.
const LOOK_EVERY_NS: i64 = 50_000_000;
/// What is left of the run's directory for another process to find the venue.
pub(super) const VENUE_FILE: &str = "venue.json";
/// How a kill ended.
pub(super) const KILL_RECORD: &str = "kill.json";
/// The calls of a kill without the engine, one line each, as `rest.jsonl` has those of the run.
const KILL_CALLS: &str = "kill-rest.jsonl";
const CALLS_LOG_SIZE_MAX: u64 = 16 << 20;
/// A call of a kill starts within this time or never; the next round asks anew.
const CALL_FRESH_FOR: Duration = Duration::from_secs(5);
/// How long calls in flight may take once a kill by itself has ended.
const GRACE: Duration = Duration::from_secs(1);

/// The file that pulls the switch of an account's runs; its words are the reason. It stays, and so
/// does the kill, until a person resets.
pub(super) fn kill_file(root: &Path, account: &str) -> PathBuf {
    root.join(format!("kill-{account}"))
}

/// How a kill ended, by the venue's own word.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct KillRecord {
    /// `line`: the engine did it. `direct`: by REST, beside or without the engine.
    pub by: &'static str,
    pub reason: String,
    pub at: String,
    pub flat: bool,
    /// From the pull to the venue's word.
    pub took_ms: u64,
    /// From the pull to the first cancel's bytes; absent where nothing was to be cancelled, or the
    /// pull was a signal, whose moment is not known.
    pub first_cancel_us: Option<u64>,
    pub cancels: u32,
    pub closes: u32,
    /// Paid for it. `direct`: against the middles when it began; `line`: P&L before less P&L after,
    /// fees included. Negative = gained.
    pub slippage: String,
    pub leftovers: Vec<Leftover>,
    /// Orders of others on the account, not touched.
    pub foreign_orders: u64,
    /// What went wrong on the way.
    pub troubles: Vec<String>,
}

/// A way to the venue that needs no engine.
pub(super) struct Desk {
    pub plane: RestPlane,
    pub instruments: Vec<Instrument>,
    pub wallet: WalletKind,
    pub leverage: u16,
    pub clock: Clock,
    /// Last client id that a kill of this desk has used; 0 = none yet.
    pub cid_last: u64,
}

impl Desk {
    /// A call of the kill: by its own key and lane, past whatever stands in the way of others. The
    /// plane makes it again only where the venue's refusal proves that nothing happened, or where
    /// it is a read.
    fn call(&mut self, table: &SymbolTable, call: &RestCall) -> Result<Account, String> {
        let asked = PlaneCall::of(call, Reason::Kill, table, CALL_FRESH_FOR)
            .map_err(|error| format!("{call:?}: {error:?}"))?;
        let path = asked.path.clone();
        let reply = self.plane.call(asked).map_err(|error| format!("{path}: {error}"))?;
        let mut account = Account::default();
        match parse_reply(call, reply.status, &reply.body, table, &mut account) {
            Ok(_) => Ok(account),
            Err(error) => Err(format!("{path}: HTTP {}: {:?}", error.status, error.kind)),
        }
    }

    /// Cancels and closes until the venue says flat, or the rounds are used up.
    pub(super) fn kill(&mut self, reason: &str, cids: &CidMark, rounds: u32) -> KillRecord {
        // Another kill of this process may have taken some already: never the same twice.
        let cid_last = cids.used().max(self.cid_last);
        let (begun, wall) = (self.clock.mono(), self.clock.wall());
        let config = DeskConfig { rounds_max: rounds, cid_last, ..self.config() };
        let record = KillRecord {
            by: "direct",
            reason: reason.to_owned(),
            at: utc(wall),
            ..KillRecord::default()
        };
        let work = self.work(desk::Desk::kill(config, begun, wall));
        self.cid_last = work.cid_last();
        record.with(work.into_record(), begun, self.clock.mono())
    }
    /// What is left, by the venue's word, after somebody else has killed.
    fn leftovers(&mut self, record: KillRecord, why: &str) -> KillRecord {
        let (begun, wall) = (self.clock.mono(), self.clock.wall());
        let work = self.work(desk::Desk::leftovers(self.config(), why, begun, wall));
        record.with(work.into_record(), begun, self.clock.mono())
    }
    fn config(&self) -> DeskConfig {
        DeskConfig {
            instruments: self.instruments.clone(),
            wallet: self.wallet,
            leverage: self.leverage,
            gid: ENGINE_GID,
            rounds_max: desk::ROUNDS_MAX,
            cid_last: self.cid_last,
        }
    }
    /// Makes the calls that a kill wants made, one after the other.
    fn work(&mut self, mut work: desk::Desk) -> desk::Desk {
        loop {
            let now = self.clock.mono();
            match work.next(now) {
                Next::Call(call) => {
                    let answer = self.call(work.table(), &call).map_err(Failed);
                    work.on_answer(answer, self.clock.mono(), self.clock.wall());
                }
                Next::Until(at) => {
                    let span_ns = (at - now).0.max(0).unsigned_abs();
                    // tidy-ok: cold; the venue needs time to answer
                    std::thread::sleep(Duration::from_nanos(span_ns));
                }
                Next::Done => return work,
            }
        }
    }
}

impl KillRecord {
    /// What the venue's desk has found, from `begun` to `now`.
    fn with(self, desk: DeskRecord, begun: MonoNs, now: MonoNs) -> KillRecord {
        let first_cancel = desk.first_cancel.map(|span| (span.0 / 1_000).max(0).unsigned_abs());
        KillRecord {
            flat: desk.flat,
            took_ms: (now - begun).as_ms().max(0).unsigned_abs(),
            first_cancel_us: self.first_cancel_us.or(first_cancel),
            cancels: self.cancels + desk.cancels,
            closes: self.closes + desk.closes,
            slippage: match desk.slippage {
                None => self.slippage,
                Some(Ok(paid)) => paid.to_string(),
                Some(Err(Failed(words))) => format!("not known: {words}"),
            },
            leftovers: desk.leftovers,
            foreign_orders: desk.foreign_orders,
            troubles: desk.troubles,
            ..self
        }
    }
}

/// What a kill works with, and what came of it. It lies here where no thread could be had for it.
type Work = Arc<Mutex<(Option<Desk>, Option<KillRecord>)>>;

/// Watches for pulls from outside, and for the end of a kill. Questions to the venue are asked on a
/// thread of their own: the run's loop never waits for them, and nothing of it stands before them.
pub(super) struct KillWatch {
    file: PathBuf,
    record: PathBuf,
    clock: Clock,
    seen: Option<SystemTime>,
    looked_at: MonoNs,
    /// Stored by the signal handler, too.
    signalled: Arc<AtomicBool>,
    pulled_at: Option<MonoNs>,
    /// When the switch was last taken to the venue directly.
    helped_at: Option<MonoNs>,
    /// P&L when it was pulled.
    pnl: Quote,
    kills: u64,
    resets: u64,
    cids: Arc<CidMark>,
    work: Work,
    thread: Option<ColdThread>,
}

impl KillWatch {
    /// Pulls the switch at once where the file is there already.
    ///
    /// # Errors
    /// The signal cannot be heard.
    pub(super) fn start(
        file: PathBuf,
        record: PathBuf,
        latch: &Latch,
        desk: Desk,
        cids: CidMark,
    ) -> std::io::Result<KillWatch> {
        let signalled = Arc::new(AtomicBool::new(false));
        for flag in [latch.kill_flag(), Arc::clone(&signalled)] {
            signal_hook::flag::register(signal_hook::consts::SIGUSR1, flag)?;
        }
        let mut watch = KillWatch {
            file,
            record,
            clock: desk.clock.clone(),
            seen: None,
            looked_at: MonoNs(0),
            signalled,
            pulled_at: None,
            helped_at: None,
            pnl: Quote::ZERO,
            kills: 0,
            resets: 0,
            cids: Arc::new(cids),
            work: Arc::new(Mutex::new((Some(desk), None))),
            thread: None,
        };
        watch.look(latch);
        Ok(watch)
    }
    fn look(&mut self, latch: &Latch) {
        let Ok(at) = std::fs::metadata(&self.file).and_then(|facts| facts.modified()) else {
            return;
        };
        if self.seen != Some(at) {
            self.seen = Some(at);
            log::error!("kill switch: the file `{}` is there", self.file.display());
            self.pull(latch);
        }
    }
    /// No entry leaves from here on; the line cancels and closes.
    pub(super) fn pull(&mut self, latch: &Latch) {
        latch.kill_at(Rank::ReduceOnly as u8, self.clock.tsc().0);
        self.pulled_at = Some(self.clock.mono());
        self.helped_at = None;
    }
    /// One round of the run's loop.
    ///
    /// `first_cancel_us`: from the pull to the first cancel that the line has sent since.
    pub(super) fn round(
        &mut self,
        latch: &Latch,
        account: Option<&RiskSnapshot>,
        first_cancel_us: Option<u64>,
    ) {
        let now = self.clock.mono();
        if (now - self.looked_at).0 >= LOOK_EVERY_NS {
            self.looked_at = now;
            self.look(latch);
        }
        if self.signalled.swap(false, Ordering::AcqRel) {
            log::error!("kill switch: SIGUSR1");
            self.pull(latch);
        }
        self.collect();
        let rank = account.map(|account| account.rank);
        if let Some(account) = account {
            if self.pulled_at.is_none() {
                self.pnl = account.realised.saturating_add(account.unrealised);
            }
            if account.counters.kills > self.kills {
                // From inside: a limit, or an operator's word.
                self.kills = account.counters.kills;
                self.pulled_at.get_or_insert(now);
            }
            if account.counters.resets > self.resets {
                self.resets = account.counters.resets;
                self.pulled_at = None;
                self.was_reset();
            }
        }
        let Some(at) = self.pulled_at.filter(|_| self.thread.is_none()) else { return };
        match (desk::kill_step(at, self.helped_at, rank, now), account) {
            (KillStep::Ended, Some(account)) => {
                self.pulled_at = None;
                let pnl = account.realised.saturating_add(account.unrealised);
                let record = KillRecord {
                    by: "line",
                    first_cancel_us,
                    reason: self.reason(account),
                    slippage: self.pnl.saturating_sub(pnl).to_string(),
                    at: utc(self.clock.wall()),
                    cancels: account.counters.cancels.try_into().unwrap_or(u32::MAX),
                    ..KillRecord::default()
                };
                self.begin(move |desk, _| {
                    let why = "the engine's attempts are used up";
                    let mut record = desk.leftovers(record, why);
                    record.took_ms = (desk.clock.mono() - at).as_ms().max(0).unsigned_abs();
                    record
                });
            }
            (KillStep::Direct, _) => {
                log::error!("kill switch: the line does not end it; going to the venue directly");
                self.helped_at = Some(now);
                self.begin(move |desk, cids| {
                    let why = "the line hangs or is not heard";
                    let mut record = desk.kill(why, cids, desk::ROUNDS_MAX);
                    record.took_ms = (desk.clock.mono() - at).as_ms().max(0).unsigned_abs();
                    record
                });
            }
            _ => {}
        }
    }
    /// Starts work with the venue; its record comes with a later round.
    fn begin(&mut self, work: impl FnOnce(&mut Desk, &CidMark) -> KillRecord + Send + 'static) {
        let (place, cids) = (Arc::clone(&self.work), Arc::clone(&self.cids));
        let job = move || {
            // Held all the time: nobody else needs what lies there.
            let mut held = place.lock();
            if let Some(desk) = &mut held.0 {
                let record = work(desk, &cids);
                held.1 = Some(record);
            }
        };
        match cold::spawn("kill", &[], job) {
            Ok(thread) => self.thread = Some(thread),
            Err(words) => log::error!("kill switch: {words}; use `genesis kill --direct`"),
        }
    }
    /// What the thread has found, once it has.
    fn collect(&mut self) {
        if self.thread.as_ref().is_none_or(|thread| !thread.is_finished()) {
            return;
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let record = self.work.lock().1.take();
        if let Some(record) = record {
            // What is left is tried again later; flat is flat, whoever did it.
            if record.flat && record.by == "direct" {
                self.pulled_at = None;
            }
            self.helped_at = self.helped_at.map(|_| self.clock.mono());
            self.write(&record);
        }
    }
    /// Waits for work that is under way: a run does not end in the middle of its kill.
    pub(super) fn close(&mut self) {
        while self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            std::thread::park_timeout(Duration::from_millis(20));
        }
        self.collect();
    }
    fn was_reset(&self) {
        // A person has looked: the file has done its work.
        match std::fs::remove_file(&self.file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                log::error!("`{}`: {error}; remove it by hand", self.file.display());
            }
            _ => {}
        }
    }
    fn reason(&self, account: &RiskSnapshot) -> String {
        match std::fs::read_to_string(&self.file) {
            Ok(words) if !words.trim().is_empty() => words.trim().chars().take(200).collect(),
            _ => account.reason.as_str().to_owned(),
        }
    }
    fn write(&self, record: &KillRecord) {
        if record.flat {
            log::warn!("killed by {}: flat after {} ms", record.by, record.took_ms);
        }
        for left in &record.leftovers {
            log::error!("left: {} {} {}: {}", left.kind, left.symbol, left.qty, left.reason);
        }
        let text = json_text(record);
        if let Err(error) = write_atomic(&self.record, text.as_bytes()) {
            log::error!("`{}`: {error}", self.record.display());
        }
    }
}

pub(super) fn json_text(value: &impl Serialize) -> String {
    sonic_rs::to_string_pretty(value).unwrap_or_default()
}

/// Where the venue of a run is, for a second process.
#[derive(Clone, Debug, Serialize, serde::Deserialize)]
pub(super) struct VenuePlace {
    pub rest_url: String,
    pub ca: Option<PathBuf>,
    pub account: String,
    /// The venue itself, with the operator's own keys.
    #[serde(default)]
    pub is_venue: bool,
    /// Where its list of pairs is, if not beside the account.
    #[serde(default)]
    pub public_url: Option<String>,
    /// Directory of the nonce marks: two processes, one key.
    pub nonces: PathBuf,
    /// The last good list of pairs, for a venue whose public side is down.
    pub saved_list: Option<PathBuf>,
}

/// `genesis kill --direct`: pulls the file, then goes to the venue itself.
pub(super) fn direct(
    config: &Config,
    root: &Path,
    run_dir: &Path,
    place: &VenuePlace,
    reason: &str,
) -> Result<KillRecord, String> {
    let file = kill_file(root, &place.account);
    write_atomic(&file, reason.as_bytes())
        .map_err(|error| format!("`{}`: {error}", file.display()))?;
    let clock = Clock::start_unchecked();
    // The keys' own file says what they open: orders of a mode end where that mode's orders do.
    let entry = match (place.is_venue, config.trading.mode) {
        (false, _) => OrderEntry::Attached,
        (true, TradingMode::Live) => OrderEntry::Live,
        (true, _) => OrderEntry::TestPairs,
    };
    let setup = PlaneSetup {
        config,
        public_url: place.public_url.clone().unwrap_or_else(|| place.rest_url.clone()),
        private_url: place.rest_url.clone(),
        ca: place.ca.as_ref(),
        keys: entry::kill_key(config, entry, &place.nonces)?,
        lanes: 2,
        is_kept_warm: false,
        cpus: &[],
    };
    // Of use to whoever looks at it afterwards, and no reason not to go on.
    let records = Records::default();
    match LogFile::create(&run_dir.join(KILL_CALLS), CALLS_LOG_SIZE_MAX, 2) {
        Ok(file) => records.0.lock().log_to(Box::new(file)),
        Err(error) => log::warn!("`{KILL_CALLS}`: {error}"),
    }
    let (plane, threads) = start_plane(setup, Box::new(records), &clock)?;
    let keeper = rest::listing(config, &plane, &clock, place.saved_list.as_deref())?;
    let registry = keeper.registry().ok_or("no list of pairs")?;
    let instruments = rest::instruments(&mut config.clone(), registry)?;
    entry::check_pairs(entry, &instruments)?;
    let cids = CidMark::open(root, &place.account, clock.wall())?;
    let mut desk = Desk {
        plane,
        instruments,
        wallet: config.trading.wallet,
        leverage: config.trading.leverage,
        clock,
        cid_last: 0,
    };
    let record = desk.kill(reason, &cids, desk::ROUNDS_MAX);
    threads.stop(GRACE);
    let path = run_dir.join(KILL_RECORD);
    write_atomic(&path, json_text(&record).as_bytes())
        .map_err(|error| format!("`{}`: {error}", path.display()))?;
    Ok(record)
}

/// 0 where it is flat; else what is left decides.
pub(super) fn exit_code(record: &KillRecord) -> u8 {
    match ended(record.flat, record.leftovers.iter().map(|left| left.kind)) {
        Ended::Flat => exit::OK,
        Ended::OrdersLeft => exit::ORDERS_LEFT,
        Ended::PositionsLeft => exit::POSITIONS_LEFT,
    }
}

#[cfg(test)]
mod tests {
    use super::super::outside;
    use super::*;
    use crate::base::ids::{Cid, SymbolId};
    use crate::base::time::WallNs;
    use crate::base::units::{Px, Qty};
    use crate::config::Sources;
    use crate::engine::orders::OrdersConfig;
    use crate::engine::risk::{RiskConfig, RiskStage};
    use crate::exchange::{Exchange, ExchangeConfig, Synthetic, WaitFor};
    use crate::line::nonce::NonceAllocator;
    use crate::line::rest::NoRecords;
    use crate::model::{NewOrder, OrderFlags, OrderKind};
    use crate::runtime::plane::NonceSource;
    use crate::runtime::server::{Server, ServerConfig};

    /// Goal: a line that does not follow the switch is passed by, and what others have on the
    /// account stays. Method: a real exchange, a position, and a latch that nobody reads.
    #[test]
    fn a_line_that_hangs_is_passed_by_and_orders_of_others_stay() {
        let config = Sources::default().load().unwrap();
        let wall = Clock::start_unchecked().wall();
        let source = Synthetic::new(outside::synthetic(&config, 3, wall));
        let setup = ExchangeConfig { wait_for: WaitFor::Nothing, ..outside::exchange(&config) };
        let exchange = Exchange::new(setup, Box::new(source)).unwrap();
        let server = Server::start(ServerConfig::default(), exchange).unwrap();
        let url = server.rest_url().to_owned();
        let nonces = NonceSource::Memory(NonceAllocator::new(0));
        let clock = Clock::start_unchecked();
        let setup = PlaneSetup {
            config: &config,
            public_url: url.clone(),
            private_url: url.clone(),
            ca: None,
            keys: rest::embedded_keys(&nonces).unwrap(),
            lanes: 2,
            is_kept_warm: false,
            cpus: &[],
        };
        let (plane, _threads) = start_plane(setup, Box::new(NoRecords), &clock).unwrap();
        let keeper = rest::listing(&config, &plane, &clock, None).unwrap();
        let instruments =
            rest::instruments(&mut config.clone(), keeper.registry().unwrap()).unwrap();
        let table = SymbolTable::new(&instruments);
        let desk = || Desk {
            plane: plane.clone(),
            instruments: instruments.clone(),
            wallet: WalletKind::Margin,
            leverage: 1,
            clock: Clock::start_unchecked(),
            cid_last: 0,
        };
        let mut hand = desk();
        let held = |hand: &mut Desk| {
            let orders = hand.call(&table, &RestCall::Orders).unwrap().orders.len();
            let positions = hand.call(&table, &RestCall::Positions).unwrap().positions;
            (positions.iter().filter(|row| !row.qty.is_zero()).count(), orders)
        };
        let order = |cid, kind, qty: &str, px: &str| RestCall::Submit {
            symbol: SymbolId(0),
            gid: None,
            order: NewOrder {
                cid: Cid(cid),
                cid_day: wall,
                kind,
                wallet: WalletKind::Margin,
                qty: Qty::parse(qty).unwrap(),
                px: Px::parse(px).unwrap(),
                px_aux: Px::ZERO,
                flags: OrderFlags::NONE,
                leverage: 1,
            },
        };
        // The market needs a moment to have a book.
        for attempt in 0..100 {
            let call = order(10 + attempt, OrderKind::Market, "0.05", "0");
            let _ = hand.call(&table, &call);
            if held(&mut hand).0 > 0 {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        hand.call(&table, &order(5, OrderKind::Limit, "0.05", "1")).unwrap();
        assert_eq!(held(&mut hand), (1, 1));

        let dir = std::env::temp_dir().join(format!("genesis-kill-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (file, record) = (kill_file(&dir, "a"), dir.join(KILL_RECORD));
        let latch = Latch::new(Rank::Running as u8);
        let cids = CidMark::open(&dir, "a", WallNs::from_ms(0)).unwrap();
        let mut watch =
            KillWatch::start(file.clone(), record.clone(), &latch, desk(), cids).unwrap();
        let stage = RiskStage::new(RiskConfig::default(), OrdersConfig::default(), &instruments);
        let account = stage.snapshot();
        watch.round(&latch, Some(&account), None);
        assert_eq!(latch.rank(), Rank::Running as u8);
        std::fs::write(&file, "smoke").unwrap();
        let begun = watch.clock.mono();
        while !record.exists() {
            watch.round(&latch, Some(&account), None);
            assert!((watch.clock.mono() - begun).as_ms() < 20_000, "never went directly");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(latch.rank(), Rank::ReduceOnly as u8, "and no entry leaves meanwhile");
        let text = std::fs::read_to_string(&record).unwrap();
        assert!(text.contains("\"by\": \"direct\"") && text.contains("\"flat\": true"), "{text}");
        assert!(text.contains("\"foreign_orders\": 1"), "{text}");
        assert_eq!(held(&mut hand), (0, 1));
        // Nobody to ask is not flat.
        drop(server.stop());
        let gone = desk().kill("nobody there", &watch.cids, 2);
        assert!(!gone.flat && gone.leftovers[0].qty == "unknown", "{gone:?}");
        assert_ne!(exit_code(&gone), exit::OK);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
