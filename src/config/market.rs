//! Sections about the outside: which market, which venue, which channels, which REST manners.

use super::reader::{Scope, key};
use crate::base::limits::{CHANNELS_PER_SOCKET, CONNECTS_PER_MINUTE};
use crate::line::rest::{LimitOverride, LimitTable};
use crate::model::Timeframe;

/// Where the run happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// The exchange of this repository, over real loopback sockets.
    Embedded,
    /// Bitfinex itself.
    Bitfinex,
    /// Virtual time, by direct call.
    World,
}
impl Environment {
    pub(super) const WORDS: [(&str, Environment); 3] = [
        ("embedded", Environment::Embedded),
        ("bitfinex", Environment::Bitfinex),
        ("world", Environment::World),
    ];
    pub fn name(self) -> &'static str {
        match self {
            Environment::Embedded => "embedded",
            Environment::Bitfinex => "bitfinex",
            Environment::World => "world",
        }
    }
}

/// What the embedded exchange plays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MarketSource {
    /// A seeded market made in code.
    Synthetic { seed: u64 },
    /// A recording.
    Capture { path: String },
}
impl MarketSource {
    /// Reads `synthetic:SEED` or `capture:FILE`.
    ///
    /// # Errors
    /// What to write instead.
    pub fn parse(text: &str) -> Result<MarketSource, String> {
        match text.split_once(':') {
            Some(("synthetic", seed)) => match seed.parse() {
                Ok(seed) => Ok(MarketSource::Synthetic { seed }),
                Err(_) => {
                    Err(format!("the seed `{seed}` is not a whole number from 0 to {}", u64::MAX))
                }
            },
            Some(("capture", "")) => Err("name the file: capture:FILE".to_owned()),
            Some(("capture", path)) => Ok(MarketSource::Capture { path: path.to_owned() }),
            _ => Err("write synthetic:SEED or capture:FILE".to_owned()),
        }
    }
}

/// How fast the embedded market's clock runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// This many seconds of market time in one second.
    Times(f64),
    /// As fast as the slowest live client reads.
    Max,
}
impl Speed {
    /// Largest finite factor.
    pub const TIMES_MAX: f64 = 100_000.0;
    pub const RANGE: &str = "\"max\" or a number above 0, at most 100000";

    /// `max` or a number above 0, at most 100,000.
    pub fn parse(text: &str) -> Option<Speed> {
        if text == "max" {
            return Some(Speed::Max);
        }
        let times: f64 = text.parse().ok()?;
        // Written so that NaN fails.
        if times > 0.0 && times <= Self::TIMES_MAX { Some(Speed::Times(times)) } else { None }
    }
}
impl std::fmt::Display for Speed {
    /// `×2.5` or `max`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Speed::Times(times) => write!(f, "×{times}"),
            Speed::Max => f.write_str("max"),
        }
    }
}
impl std::fmt::Display for MarketSource {
    /// As it is written in a config.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            MarketSource::Synthetic { seed } => write!(f, "synthetic:{seed}"),
            MarketSource::Capture { path } => write!(f, "capture:{path}"),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Market {
    pub source: MarketSource,
    pub speed: Speed,
}

/// The exchange in this repository, as this run starts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeSection {
    /// Loopback port, 0 = any free one.
    pub port: u16,
    pub tls: bool,
    /// 1e-8 of a basis point.
    pub maker_fee_bps: i64,
    /// 1e-8 of a basis point.
    pub taker_fee_bps: i64,
    /// Starting balance of the account, 1e-8 of USD, in each wallet.
    pub balance_usd: i64,
    pub heartbeat_ms: u64,
    /// Keep accounts and orders across restarts of the exchange.
    pub keep_state: bool,
    /// Script of faults, empty = none.
    pub faults: String,
}

/// The real venue's addresses, and where its keys are kept (never the keys).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VenueSection {
    pub public_ws_url: String,
    pub private_ws_url: String,
    pub public_rest_url: String,
    pub private_rest_url: String,
    /// PEM file of roots to trust instead of the built-in ones; empty = built in.
    pub ca_file: String,
    pub key_env: String,
    pub secret_env: String,
    /// File with two lines, key and secret, readable by its owner only; empty = environment.
    pub key_file: String,
    /// The same for the key of REST, and for that of kills; empty = `key_file`.
    pub rest_key_file: String,
    pub kill_key_file: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    P0,
    P1,
    P2,
    P3,
    P4,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frequency {
    /// Every change as it happens.
    F0,
    /// Every two seconds.
    F1,
}

/// What is subscribed for each symbol, and how life of a socket is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channels {
    pub book: bool,
    pub book_precision: Precision,
    pub book_frequency: Frequency,
    pub book_length: u16,
    pub raw_book: bool,
    pub trades: bool,
    pub ticker: bool,
    pub candles: Vec<Timeframe>,
    pub status: bool,
    pub checksum: bool,
    pub bulk: bool,
    pub per_socket: usize,
    pub connects_per_minute: usize,
    pub silence_ms: u64,
    pub hush_factor: u32,
    pub hush_ms: u64,
    pub subscribe_timeout_ms: u64,
    pub ping_interval_ms: u64,
    pub quiet_book_ms: u64,
    pub quiet_trades_ms: u64,
    pub resync_max: u32,
    pub resync_window_ms: u64,
    pub reconnect_min_ms: u64,
    pub reconnect_max_ms: u64,
}

/// Deadlines of REST calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rest {
    pub http_version: HttpVersion,
    pub connect_timeout_ms: u64,
    pub total_timeout_ms: u64,
    pub retries_max: u32,
    /// `PATTERN=CALLS`, checked.
    pub limits: Vec<String>,
    /// In a minute.
    pub host_calls_max: u32,
    pub breaker_failures: u32,
    pub breaker_slow_ms: u64,
    pub breaker_open_max_ms: u64,
    pub lanes: usize,
    /// 0 = off.
    pub keep_warm_s: u64,
    pub account_interval_s: u64,
    pub registry_ttl_s: u64,
    pub unlisted: Unlisted,
    pub cancel_only_when_down: bool,
    /// 0 = no log.
    pub calls_log_mib_max: u64,
}

impl Rest {
    /// The venue's limits with the changes of `limits`.
    ///
    /// # Errors
    /// Every change that cannot be made, in words.
    pub fn limit_table(&self) -> Result<LimitTable, Vec<String>> {
        let mut problems = Vec::new();
        let mut changes = Vec::new();
        for text in &self.limits {
            let parts = text.split_once('=');
            let calls = parts.and_then(|(_, calls)| calls.trim().parse::<u32>().ok());
            match (parts, calls) {
                (Some((pattern, _)), Some(window_calls)) => {
                    let pattern = pattern.trim().to_owned();
                    changes.push(LimitOverride { pattern, window_calls });
                }
                _ => problems.push(format!("`{text}` is not PATTERN=CALLS")),
            }
        }
        match LimitTable::with_overrides(&changes) {
            Ok(table) if problems.is_empty() => Ok(table),
            Ok(_) => Err(problems),
            Err(others) => {
                problems.extend(others.iter().map(ToString::to_string));
                Err(problems)
            }
        }
    }
}

/// Which HTTP REST speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpVersion {
    Auto,
    V11,
    V2,
}

/// What becomes of a symbol that the venue does not list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unlisted {
    /// The run does not start.
    Refuse,
    /// It is left out, and that is said.
    Skip,
}

pub(super) fn read_market(root: &mut Scope<'_, '_>) -> Market {
    let mut s = root.section(
        "market",
        "What the embedded exchange plays. Not used with environment = \"bitfinex\".",
    );
    let source = s.text(
        key(
            "source",
            "",
            "A seeded market made in code, or a recording (plain or .gz). The default needs no \
             file and repeats exactly.",
        ),
        "synthetic:1",
        "synthetic:SEED or capture:FILE",
        |text| MarketSource::parse(text).map(|_| ()),
    );
    let speed = s.number_or_word(
        key(
            "speed",
            "market seconds a second",
            "How fast the market's clock runs. 1 is real time, so that what you see is what a day \
             looks like; \"max\" is for recordings: as fast as the slowest client reads.",
        ),
        "1",
        Speed::RANGE,
        |text| Speed::parse(text).is_some(),
    );
    s.finish();
    Market {
        source: MarketSource::parse(&source).unwrap_or(MarketSource::Synthetic { seed: 1 }),
        speed: Speed::parse(&speed).unwrap_or(Speed::Times(1.0)),
    }
}

pub(super) fn read_exchange(root: &mut Scope<'_, '_>) -> ExchangeSection {
    let mut s = root.section(
        "exchange",
        "The exchange in this repository, as `genesis` and `genesis run` start it on loopback.",
    );
    let section = ExchangeSection {
        port: s.int(
            key(
                "port",
                "",
                "TCP port on 127.0.0.1. 0 takes any free one, so two runs never \
             collide.",
            ),
            0,
            0..=65_535,
        ) as u16,
        tls: s.flag(
            key(
                "tls",
                "",
                "Serve wss and https with a certificate made at start. Off: the loopback figures \
                 of the line are then its own, not the cipher's.",
            ),
            false,
        ),
        maker_fee_bps: s.decimal(
            key(
                "maker_fee_bps",
                "bps",
                "Fee for resting orders. The venue's old public table, top \
             row.",
            ),
            "10",
            "-100",
            "1000",
        ),
        taker_fee_bps: s.decimal(
            key("taker_fee_bps", "bps", "Fee for orders that take. As above."),
            "20",
            "-100",
            "1000",
        ),
        balance_usd: s.decimal(
            key(
                "balance_usd",
                "USD",
                "What the account starts with in each wallet. Enough for every limit below at \
                 once.",
            ),
            "100000",
            "0",
            "1000000000",
        ),
        heartbeat_ms: s.int(
            key("heartbeat_ms", "ms", "Heartbeat of a silent channel; the venue's is 15 s."),
            15_000,
            100..=60_000,
        ) as u64,
        keep_state: s.flag(
            key(
                "keep_state",
                "",
                "Keep accounts and orders in the run directory, so that an exchange that is killed \
                 comes back as it was. Off: every run starts fresh and repeats.",
            ),
            false,
        ),
        faults: s.text(
            key(
                "faults",
                "",
                "File with a script of faults: what the exchange does wrong, and when. Its manual \
                 is config/faults.toml. Empty: none.",
            ),
            "",
            "a file name or empty",
            |_| Ok(()),
        ),
    };
    s.finish();
    section
}

fn url(schemes: &'static [&'static str]) -> impl Fn(&str) -> Result<(), String> {
    move |text| {
        let host = schemes.iter().find_map(|scheme| text.strip_prefix(scheme));
        match host {
            Some(host) if !host.is_empty() && !host.starts_with('/') && text.is_ascii() => Ok(()),
            _ => Err(format!("begin with {} and name a host", schemes.join(" or "))),
        }
    }
}
fn env_name(text: &str) -> Result<(), String> {
    let good = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    if !text.is_empty() && text.chars().all(good) {
        Ok(())
    } else {
        Err("write the variable's name, never the key itself".to_owned())
    }
}
const WS: &[&str] = &["wss://", "ws://127.0.0.1:", "ws://localhost:"];
const HTTP: &[&str] = &["https://", "http://127.0.0.1:", "http://localhost:"];
const WS_RANGE: &str = "a wss:// address; ws:// on loopback only";
const HTTP_RANGE: &str = "an https:// address; http:// on loopback only";

pub(super) fn read_venue(root: &mut Scope<'_, '_>) -> VenueSection {
    let mut s = root.section(
        "venue",
        "The real venue, used with environment = \"bitfinex\". Keys and secrets never stand in \
         this file: it names the environment variables or the file that hold them.",
    );
    let any = |_: &str| Ok(());
    let section = VenueSection {
        public_ws_url: s.text(
            key("public_ws_url", "", "Market data socket; the venue's public host."),
            "wss://api-pub.bitfinex.com/ws/2",
            WS_RANGE,
            url(WS),
        ),
        private_ws_url: s.text(
            key("private_ws_url", "", "Account and order socket; the venue's authenticated host."),
            "wss://api.bitfinex.com/ws/2",
            WS_RANGE,
            url(WS),
        ),
        public_rest_url: s.text(
            key("public_rest_url", "", "Public REST; read at start only."),
            "https://api-pub.bitfinex.com",
            HTTP_RANGE,
            url(HTTP),
        ),
        private_rest_url: s.text(
            key("private_rest_url", "", "Authenticated REST; start and reconcile only."),
            "https://api.bitfinex.com",
            HTTP_RANGE,
            url(HTTP),
        ),
        ca_file: s.text(
            key(
                "ca_file",
                "",
                "PEM file of roots to trust. Empty: the roots built into the program.",
            ),
            "",
            "a file name or empty",
            any,
        ),
        key_env: s.text(
            key(
                "key_env",
                "",
                "Environment variable that holds the API key. With _TRADE, _REST or _KILL behind \
                 both names a role has a key of its own.",
            ),
            "GENESIS_API_KEY",
            "capital letters, digits, _",
            env_name,
        ),
        secret_env: s.text(
            key("secret_env", "", "Environment variable that holds the API secret."),
            "GENESIS_API_SECRET",
            "capital letters, digits, _",
            env_name,
        ),
        key_file: s.text(
            key(
                "key_file",
                "",
                "File with two lines, key and secret, mode 0600. Empty: the variables above.",
            ),
            "",
            "a file name or empty",
            any,
        ),
        rest_key_file: s.text(
            key(
                "rest_key_file",
                "",
                "The same for reads by REST, which then have nonces and rights of their own; it \
                 needs no right to write. Empty: key_file.",
            ),
            "",
            "a file name or empty",
            any,
        ),
        kill_key_file: s.text(
            key(
                "kill_key_file",
                "",
                "The same for kills, whose calls then wait for nobody else's. It is all that \
                 `genesis kill --direct` needs. Empty: key_file.",
            ),
            "",
            "a file name or empty",
            any,
        ),
    };
    s.finish();
    section
}

/// Reads the timeframes of a list, refusing unknown and repeated ones.
pub(super) fn timeframes(
    s: &mut Scope<'_, '_>,
    k: super::reader::Key,
    default: &[&str],
) -> Vec<Timeframe> {
    let words: Vec<&str> = Timeframe::ALL.iter().map(|tf| tf.name()).collect();
    let range = format!("of {}", words.join(", "));
    let mut found = Vec::new();
    for text in s.list(k, default, &range) {
        match Timeframe::ALL.iter().find(|tf| tf.name() == text) {
            Some(tf) if found.contains(tf) => {
                s.refuse(k.name, &format!("{text:?} twice"), "each timeframe once", "remove one");
            }
            Some(tf) => found.push(*tf),
            None => s.refuse(k.name, &format!("{text:?}"), &format!("one {range}"), ""),
        }
    }
    found
}

pub(super) fn read_channels(root: &mut Scope<'_, '_>) -> Channels {
    let mut s = root.section(
        "channels",
        "What is subscribed for every symbol, and when a socket or a channel counts as dead.",
    );
    let section = Channels {
        book: s.flag(key("book", "", "The aggregated book. Strategies need it."), true),
        book_precision: s.choice(
            key("book_precision", "", "Price grouping. P0 is the venue's finest."),
            Precision::P0,
            &[
                ("P0", Precision::P0),
                ("P1", Precision::P1),
                ("P2", Precision::P2),
                ("P3", Precision::P3),
                ("P4", Precision::P4),
            ],
        ),
        book_frequency: s.choice(
            key(
                "book_frequency",
                "",
                "F0: every change at once. F1: every two seconds, too old to \
             trade on.",
            ),
            Frequency::F0,
            &[("F0", Frequency::F0), ("F1", Frequency::F1)],
        ),
        book_length: read_length(&mut s),
        raw_book: s.flag(
            key(
                "raw_book",
                "",
                "The book order by order (R0), beside the other. Off: no built-in \
             strategy uses it.",
            ),
            false,
        ),
        trades: s.flag(key("trades", "", "Public trades. Bars are built from them."), true),
        ticker: s.flag(key("ticker", "", "The day's figures, for the view only."), true),
        candles: timeframes(
            &mut s,
            key(
                "candles",
                "",
                "The venue's own candles, for comparison. Empty: bars are built here from trades.",
            ),
            &[],
        ),
        status: s.flag(
            key("status", "", "Status of derivatives. Off: the default symbols are none."),
            false,
        ),
        checksum: s.flag(
            key(
                "checksum",
                "",
                "Ask for book checksums and verify each. Off only to measure its \
             cost.",
            ),
            true,
        ),
        bulk: s.flag(
            key(
                "bulk",
                "",
                "Let the venue put several updates in one frame. Off: one update a frame arrives \
                 soonest.",
            ),
            false,
        ),
        per_socket: s.int(
            key(
                "per_socket",
                "channels",
                "Channels on one socket. Sources disagree between 25 and \
             36; 25 is safe.",
            ),
            25,
            1..=CHANNELS_PER_SOCKET as i64,
        ) as usize,
        connects_per_minute: s.int(
            key(
                "connects_per_minute",
                "connects a minute",
                "New public sockets a minute. The venue blocks an address for 60 s above 20; this \
                 leaves room for another program on the same address.",
            ),
            15,
            1..=CONNECTS_PER_MINUTE as i64,
        ) as usize,
        silence_ms: s.int(
            key(
                "silence_ms",
                "ms",
                "A channel without data and without heartbeat for this long is dead. Two \
                 heartbeats of 15 s and a margin.",
            ),
            35_000,
            1_000..=300_000,
        ) as u64,
        hush_factor: s.int(
            key(
                "hush_factor",
                "times",
                "A channel whose data stay away this many times longer than its longest usual gap \
                 is asked for again, and its book takes no entries meanwhile. The usual gap is \
                 learned and fades within a quarter of an hour. Not on recordings, nor at speed \
                 \"max\". 0 = never.",
            ),
            4,
            0..=1_000,
        ) as u32,
        hush_ms: s.int(
            key("hush_ms", "ms", "Shorter silence is never a hush, however busy the channel was."),
            800,
            50..=60_000,
        ) as u64,
        subscribe_timeout_ms: s.int(
            key(
                "subscribe_timeout_ms",
                "ms",
                "Wait for an answer to a subscription before asking \
             again.",
            ),
            10_000,
            500..=60_000,
        ) as u64,
        ping_interval_ms: s.int(
            key(
                "ping_interval_ms",
                "ms",
                "Own pings. The venue drops an idle socket after about \
             60 s.",
            ),
            20_000,
            1_000..=55_000,
        ) as u64,
        quiet_book_ms: s.int(
            key(
                "quiet_book_ms",
                "ms",
                "A book without any change for this long raises an alarm although heartbeats come. \
                 0 = never.",
            ),
            60_000,
            0..=86_400_000,
        ) as u64,
        quiet_trades_ms: s.int(
            key("quiet_trades_ms", "ms", "The same for trades, which really may pause. 0 = never."),
            900_000,
            0..=86_400_000,
        ) as u64,
        resync_max: s.int(
            key(
                "resync_max",
                "resubscriptions",
                "After a failed checksum one channel is subscribed again; more than this many in \
                 one window reconnects the socket instead.",
            ),
            3,
            0..=100,
        ) as u32,
        resync_window_ms: s.int(
            key("resync_window_ms", "ms", "The window of resync_max."),
            60_000,
            1_000..=3_600_000,
        ) as u64,
        reconnect_min_ms: s.int(
            key("reconnect_min_ms", "ms", "First wait before a reconnect; doubles, with jitter."),
            250,
            10..=60_000,
        ) as u64,
        reconnect_max_ms: s.int(
            key("reconnect_max_ms", "ms", "Longest wait before a reconnect. Trying never ends."),
            30_000,
            100..=600_000,
        ) as u64,
    };
    s.finish();
    section
}

fn read_length(s: &mut Scope<'_, '_>) -> u16 {
    let k = key(
        "book_length",
        "levels a side",
        "Levels the venue sends. 25 are what its checksum covers.",
    );
    let length = s.int(k, 25, 1..=250);
    if ![1, 25, 100, 250].contains(&length) {
        s.refuse(
            k.name,
            &length.to_string(),
            "one of 1, 25, 100, 250",
            "the venue sells no others",
        );
    }
    length as u16
}

pub(super) fn read_rest(root: &mut Scope<'_, '_>) -> Rest {
    let mut s = root
        .section("rest", "REST calls: at start, and to reconcile after a reconnect. Never prices.");
    let section = Rest {
        http_version: s.choice(
            key(
                "http_version",
                "",
                "auto: HTTP/2 where this build has it (cargo feature http2) and the server offers \
                 it, else 1.1.",
            ),
            HttpVersion::Auto,
            &[("auto", HttpVersion::Auto), ("1.1", HttpVersion::V11), ("2", HttpVersion::V2)],
        ),
        connect_timeout_ms: s.int(
            key("connect_timeout_ms", "ms", "Longest wait for a connection, TLS included."),
            3_000,
            50..=60_000,
        ) as u64,
        total_timeout_ms: s.int(
            key(
                "total_timeout_ms",
                "ms",
                "Longest time of a whole call. Twice the slowest honest answer seen.",
            ),
            10_000,
            100..=120_000,
        ) as u64,
        retries_max: s.int(
            key(
                "retries_max",
                "retries",
                "Blind repeats of a read that failed. Writes are never repeated.",
            ),
            3,
            0..=20,
        ) as u32,
        limits: s.list(
            key(
                "limits",
                "calls a minute",
                "Changes of the venue's limits by endpoint; * stands for anything; a later one \
                 wins.",
            ),
            &[],
            "each PATTERN=CALLS, e.g. auth/w/order/*=45",
        ),
        host_calls_max: s.int(
            key(
                "host_calls_max",
                "calls a minute",
                "All calls to one host, whatever their endpoint. The venue names no such limit; \
                 about half of what the table of endpoints allows together.",
            ),
            600,
            1..=1_000_000,
        ) as u32,
        breaker_failures: s.int(
            key(
                "breaker_failures",
                "calls",
                "So many failures in a row open a breaker; half of the latest ten do, too.",
            ),
            3,
            1..=64,
        ) as u32,
        breaker_slow_ms: s.int(
            key(
                "breaker_slow_ms",
                "ms",
                "A call without its end after so long is a failure to the breaker. An answer in \
                 half of total_timeout_ms is still of use, but no sign of health.",
            ),
            5_000,
            50..=120_000,
        ) as u64,
        breaker_open_max_ms: s.int(
            key(
                "breaker_open_max_ms",
                "ms",
                "An open breaker asks again after 1 s, then later and later, at most after this.",
            ),
            30_000,
            1_000..=600_000,
        ) as u64,
        lanes: s.int(
            key(
                "lanes",
                "threads",
                "Calls in flight at once; one of them is kept for cancels. A kill has its own.",
            ),
            3,
            1..=8,
        ) as usize,
        keep_warm_s: s.int(
            key(
                "keep_warm_s",
                "s",
                "The kill lane calls platform/status after so long without a call: its connection \
                 stays open, and a way out that is gone is noticed. 0 = off.",
            ),
            25,
            0..=3_600,
        ) as u64,
        account_interval_s: s.int(
            key(
                "account_interval_s",
                "s",
                "Reads of the account begin at least so far apart. The socket's word is the truth; \
                 REST confirms it.",
            ),
            1,
            1..=3_600,
        ) as u64,
        registry_ttl_s: s.int(
            key(
                "registry_ttl_s",
                "s",
                "The list of pairs is asked for again when it is older; unchanged costs a 304.",
            ),
            3_600,
            10..=86_400,
        ) as u64,
        unlisted: s.choice(
            key(
                "unlisted",
                "",
                "A symbol of `symbols` that the venue does not list: refuse the start, or skip it.",
            ),
            Unlisted::Refuse,
            &[("refuse", Unlisted::Refuse), ("skip", Unlisted::Skip)],
        ),
        cancel_only_when_down: s.flag(
            key(
                "cancel_only_when_down",
                "",
                "While orders and cancels by REST do not get through, nothing new is opened by the \
                 socket either: the second way out is gone.",
            ),
            true,
        ),
        calls_log_mib_max: s.int(
            key(
                "calls_log_mib_max",
                "MiB",
                "Size of rest.jsonl, one line a call; the full file is kept once as rest.jsonl.1. \
                 0 = no file.",
            ),
            16,
            0..=4_096,
        ) as u64,
    };
    s.finish();
    section
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_that_are_no_speeds_are_refused() {
        assert_eq!(Speed::parse("max"), Some(Speed::Max));
        assert_eq!(Speed::parse("2.5"), Some(Speed::Times(2.5)));
        for text in ["0", "-1", "NaN", "inf", "1e9", "fast", ""] {
            assert_eq!(Speed::parse(text), None, "{text}");
        }
    }

    #[test]
    fn market_sources_name_their_seed_or_file() {
        assert_eq!(MarketSource::parse("synthetic:7"), Ok(MarketSource::Synthetic { seed: 7 }));
        let path = "a:b.gz".to_owned();
        assert_eq!(MarketSource::parse("capture:a:b.gz"), Ok(MarketSource::Capture { path }));
        for text in ["synthetic", "synthetic:-1", "synthetic:x", "capture:", "live", ""] {
            assert!(MarketSource::parse(text).is_err(), "{text}");
        }
        for text in ["synthetic:0", "capture:x y.gz"] {
            assert_eq!(MarketSource::parse(text).unwrap().to_string(), text);
        }
    }
}
