//! A script of faults: what goes wrong, when, and how often. Read from TOML; `config/faults.toml`
//! is its manual.

use crate::base::time::{SpanNs, WallNs};
use serde::Deserialize;
use std::fmt;
use std::time::Duration;

/// Faults of one script, at most.
pub const FAULTS_MAX: usize = 256;
/// Longest time in a script, s: a day.
const SECONDS_MAX: f64 = 86_400.0;

/// Which messages to clients a fault looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frames {
    Any,
    Book,
    Trades,
    Ticker,
    Candles,
    Status,
    /// Channel 0 without notifications: orders, fills, wallets, positions.
    Account,
    /// Notifications: the answers to requests among them.
    Answers,
    /// Objects: info, subscribed, auth, errors.
    Events,
}

impl Frames {
    const WORDS: [(&str, Frames); 9] = [
        ("any", Frames::Any),
        ("book", Frames::Book),
        ("trades", Frames::Trades),
        ("ticker", Frames::Ticker),
        ("candles", Frames::Candles),
        ("status", Frames::Status),
        ("account", Frames::Account),
        ("answers", Frames::Answers),
        ("events", Frames::Events),
    ];
    /// Whether a message of kind `of` is looked at.
    pub fn covers(self, of: Frames) -> bool {
        self == Frames::Any || self == of
    }
    pub fn named(word: &str) -> Option<Frames> {
        Frames::WORDS.into_iter().find(|(name, _)| *name == word).map(|(_, frames)| frames)
    }
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// A message is not sent.
    Drop,
    /// A message waits, and everything behind it on its socket with it.
    Delay { by: SpanNs },
    /// A message is sent twice.
    Duplicate,
    /// The number of a checksum message is another one.
    BadChecksum,
    /// That many messages in a row are not sent.
    Gap { count: u32 },
    /// Nothing is sent, and nothing heard where `is_deaf`, as on a half-open socket.
    Silence { is_deaf: bool },
    /// A REST call gets this status; where `is_applied`, it is done all the same.
    RestError { status: u16, retry_after_s: Option<u32>, path: String, is_applied: bool },
    /// The body of a REST reply comes slowly.
    SlowBody { wait: Duration, bytes_per_s: u32, path: String },
    /// The body of a REST reply ends in its middle: status 200, and JSON that is none.
    BrokenBody { path: String },
    /// Signed calls and authentications are refused with 10114.
    NonceRefused,
    /// Nothing but cancels is taken.
    CancelOnly,
    /// Info 20060; books stand still, orders are refused; then info 20061.
    Maintenance,
    /// An order's message is answered by info 20051 and the end of every socket. The order itself
    /// is taken where `is_applied`, else lost.
    Restart { is_applied: bool },
    /// Every websocket is closed.
    HangUp,
    /// New websockets are refused with this status.
    RefuseConnect { status: u16 },
    /// Signed-in websockets are closed, and so is every one that signs in; market data and REST go
    /// on.
    AccountGone,
}

/// One entry of a script.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    pub kind: Kind,
    /// From the start of the exchange, in its market's time.
    pub from: SpanNs,
    /// `None`: to the end.
    pub until: Option<SpanNs>,
    /// Every how many matches it happens.
    pub every: u64,
    /// How often it happens at most.
    pub times: u64,
    pub frames: Frames,
}

impl Fault {
    pub fn is_on(&self, start: WallNs, now: WallNs) -> bool {
        now >= start + self.from && self.until.is_none_or(|until| now < start + until)
    }
}

/// Faults in the order of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FaultScript {
    pub faults: Vec<Fault>,
}

/// What is wrong with a script, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultScriptError(String);

impl fmt::Display for FaultScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::error::Error for FaultScriptError {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    fault: Vec<Entry>,
}

/// An entry as typed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    kind: String,
    from_s: Option<f64>,
    for_s: Option<f64>,
    every: Option<u64>,
    times: Option<u64>,
    frames: Option<String>,
    delay_ms: Option<u64>,
    count: Option<u32>,
    deaf: Option<bool>,
    status: Option<u16>,
    retry_after_s: Option<u32>,
    path: Option<String>,
    applied: Option<bool>,
    wait_ms: Option<u64>,
    bytes_per_s: Option<u32>,
}

/// Kinds with the keys they take beside `from_s`, `for_s`.
pub(super) const KINDS: [(&str, &[&str]); 16] = [
    ("drop", &["frames", "every", "times"]),
    ("delay", &["frames", "every", "times", "delay_ms"]),
    ("duplicate", &["frames", "every", "times"]),
    ("bad_checksum", &["every", "times"]),
    ("gap", &["frames", "every", "times", "count"]),
    ("silence", &["frames", "deaf"]),
    ("rest_error", &["every", "times", "status", "retry_after_s", "path", "applied"]),
    ("slow_body", &["every", "times", "path", "wait_ms", "bytes_per_s"]),
    ("broken_body", &["every", "times", "path"]),
    ("nonce_refused", &["every", "times"]),
    ("cancel_only", &[]),
    ("maintenance", &[]),
    ("restart", &["times", "every", "applied"]),
    ("hang_up", &[]),
    ("refuse_connect", &["every", "times", "status"]),
    ("account_gone", &[]),
];

impl Entry {
    /// Keys that were written, beside `kind` and the two times.
    fn given(&self) -> Vec<&'static str> {
        let given = [
            ("frames", self.frames.is_some()),
            ("every", self.every.is_some()),
            ("times", self.times.is_some()),
            ("delay_ms", self.delay_ms.is_some()),
            ("count", self.count.is_some()),
            ("deaf", self.deaf.is_some()),
            ("status", self.status.is_some()),
            ("retry_after_s", self.retry_after_s.is_some()),
            ("path", self.path.is_some()),
            ("applied", self.applied.is_some()),
            ("wait_ms", self.wait_ms.is_some()),
            ("bytes_per_s", self.bytes_per_s.is_some()),
        ];
        given.into_iter().filter(|(_, is_given)| *is_given).map(|(key, _)| key).collect()
    }
    fn kind(&self, of: &str) -> Result<Kind, String> {
        let status = |default: u16| {
            let status = self.status.unwrap_or(default);
            let is_known = status == 408 || status == 429 || (500..=599).contains(&status);
            is_known.then_some(status).ok_or("`status`: write 408, 429 or 500 to 599".to_owned())
        };
        let path = || self.path.clone().unwrap_or_default();
        let within = |key: &str, value: u64, most: u64| match value {
            1.. if value <= most => Ok(value),
            _ => Err(format!("`{key}` is {value}; write 1 to {most}")),
        };
        Ok(match of {
            "drop" => Kind::Drop,
            "delay" => {
                let ms = within("delay_ms", self.delay_ms.unwrap_or(500), 600_000)?;
                Kind::Delay { by: SpanNs::from_ms(ms as i64) }
            }
            "duplicate" => Kind::Duplicate,
            "bad_checksum" => Kind::BadChecksum,
            "gap" => {
                let count = within("count", self.count.unwrap_or(5).into(), 1_000_000)?;
                Kind::Gap { count: count as u32 }
            }
            "silence" => Kind::Silence { is_deaf: self.deaf.unwrap_or(false) },
            "rest_error" => Kind::RestError {
                status: status(503)?,
                retry_after_s: self.retry_after_s,
                path: path(),
                is_applied: self.applied.unwrap_or(false),
            },
            "slow_body" => Kind::SlowBody {
                wait: Duration::from_millis(self.wait_ms.unwrap_or(1_000).min(600_000)),
                bytes_per_s: self.bytes_per_s.unwrap_or(100).max(1),
                path: path(),
            },
            "broken_body" => Kind::BrokenBody { path: path() },
            "nonce_refused" => Kind::NonceRefused,
            "cancel_only" => Kind::CancelOnly,
            "maintenance" => Kind::Maintenance,
            "restart" => Kind::Restart { is_applied: self.applied.unwrap_or(false) },
            "hang_up" => Kind::HangUp,
            "account_gone" => Kind::AccountGone,
            _ => Kind::RefuseConnect { status: status(429)? },
        })
    }
    fn fault(&self) -> Result<Fault, String> {
        let Some((of, takes)) = KINDS.iter().find(|(name, _)| *name == self.kind) else {
            let names: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
            return Err(format!("kind `{}` is not known; write {}", self.kind, names.join(", ")));
        };
        if let Some(key) = self.given().into_iter().find(|key| !takes.contains(key)) {
            let takes = if takes.is_empty() { "no more keys".into() } else { takes.join(", ") };
            return Err(format!("`{of}` takes no `{key}`; it takes from_s, for_s, {takes}"));
        }
        let seconds = |key: &str, value: f64| match (0.0..=SECONDS_MAX).contains(&value) {
            true => Ok(SpanNs((value * 1e9) as i64)),
            false => Err(format!("`{key}` is {value}; write 0 to {SECONDS_MAX} seconds")),
        };
        let from = seconds("from_s", self.from_s.unwrap_or(0.0))?;
        let until = match self.for_s {
            Some(run_for) => Some(SpanNs(from.0 + seconds("for_s", run_for)?.0)),
            None => None,
        };
        let frames = match &self.frames {
            None => Frames::Any,
            Some(word) => Frames::named(word).ok_or_else(|| {
                let words: Vec<&str> = Frames::WORDS.iter().map(|(name, _)| *name).collect();
                format!("frames `{word}` are not known; write {}", words.join(", "))
            })?,
        };
        let every = self.every.unwrap_or(1);
        let times = self.times.unwrap_or(if *of == "restart" { 1 } else { u64::MAX });
        if every == 0 || times == 0 {
            return Err("`every` and `times` begin at 1".to_owned());
        }
        Ok(Fault { kind: self.kind(of)?, from, until, every, times, frames })
    }
}

impl FaultScript {
    /// Reads a script.
    ///
    /// # Errors
    /// What is wrong with the first entry that is not good, and what to write instead.
    pub fn parse(text: &str) -> Result<FaultScript, FaultScriptError> {
        let file: File =
            toml::from_str(text).map_err(|error| FaultScriptError(error.to_string()))?;
        if file.fault.len() > FAULTS_MAX {
            let count = file.fault.len();
            return Err(FaultScriptError(format!("{count} faults; {FAULTS_MAX} are the most")));
        }
        let mut faults = Vec::with_capacity(file.fault.len());
        for (at, entry) in file.fault.iter().enumerate() {
            let fault = entry.fault();
            let told = fault.map_err(|why| FaultScriptError(format!("fault {}: {why}", at + 1)));
            faults.push(told?);
        }
        Ok(FaultScript { faults })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_read_with_its_defaults() {
        let script = FaultScript::parse(
            "[[fault]]\nkind = \"delay\"\nfrom_s = 2.5\nfor_s = 1\nframes = \"answers\"\n\
             [[fault]]\nkind = \"restart\"\napplied = true",
        );
        let faults = script.unwrap().faults;
        assert_eq!(
            faults[0],
            Fault {
                kind: Kind::Delay { by: SpanNs::from_ms(500) },
                from: SpanNs::from_ms(2_500),
                until: Some(SpanNs::from_ms(3_500)),
                every: 1,
                times: u64::MAX,
                frames: Frames::Answers,
            }
        );
        assert_eq!((faults[1].times, faults[1].until), (1, None));
        let start = WallNs::from_ms(1_000);
        for (at_ms, is_on) in [(3_499, false), (3_500, true), (4_499, true), (4_500, false)] {
            assert_eq!(faults[0].is_on(start, WallNs::from_ms(at_ms)), is_on, "{at_ms}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_what_to_write() {
        for (text, words) in [
            ("kind = \"flood\"", "fault 1: kind `flood` is not known; write drop, delay"),
            ("kind = \"drop\"\ndelay_ms = 1", "`drop` takes no `delay_ms`; it takes from_s"),
            ("kind = \"hang_up\"\nevery = 2", "takes no `every`"),
            (
                "kind = \"drop\"\nframes = \"books\"",
                "frames `books` are not known; write any, book",
            ),
            ("kind = \"drop\"\nfrom_s = -1", "`from_s` is -1; write 0 to 86400"),
            ("kind = \"drop\"\nfor_s = nan", "`for_s` is NaN"),
            ("kind = \"drop\"\nevery = 0", "begin at 1"),
            ("kind = \"rest_error\"\nstatus = 200", "write 408, 429 or 500 to 599"),
            ("kind = \"gap\"\ncount = 0", "`count` is 0; write 1 to"),
            ("kind = \"drop\"\ncolour = 1", "unknown field `colour`"),
            ("from_s = 1", "missing field `kind`"),
        ] {
            let error = FaultScript::parse(&format!("[[fault]]\n{text}")).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
