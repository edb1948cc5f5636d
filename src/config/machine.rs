//! Sections about this machine: threads, files, report, log.

use super::reader::{Scope, key};
use crate::base::limits::{RING_DEPTH_MAX, RING_DEPTH_MIN};
use toml::{Table, Value};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// By the number of allowed CPUs: below 3 fused, below 6 split, else pipeline.
    Auto,
    /// One hot thread runs all stages, over the same rings.
    Fused,
    /// {read, parse} {signal, risk, send}.
    Split,
    /// One stage a thread.
    Pipeline,
    /// As `[[topology.thread]]` says.
    Explicit,
}
impl Layout {
    pub fn name(self) -> &'static str {
        match self {
            Layout::Auto => "auto",
            Layout::Fused => "fused",
            Layout::Split => "split",
            Layout::Pipeline => "pipeline",
            Layout::Explicit => "explicit",
        }
    }
}

/// What a hot thread does while it has nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitKind {
    /// By layout and CPUs: spin_yield where there are cores to spare, else backoff.
    Auto,
    Spin,
    SpinYield,
    Backoff,
    Park,
}
const WAITS: [(&str, WaitKind); 5] = [
    ("auto", WaitKind::Auto),
    ("spin", WaitKind::Spin),
    ("spin_yield", WaitKind::SpinYield),
    ("backoff", WaitKind::Backoff),
    ("park", WaitKind::Park),
];
impl WaitKind {
    pub fn name(self) -> &'static str {
        match self {
            WaitKind::Auto => "auto",
            WaitKind::Spin => "spin",
            WaitKind::SpinYield => "spin_yield",
            WaitKind::Backoff => "backoff",
            WaitKind::Park => "park",
        }
    }
}

/// Stages of the line in flow order: the names `[[topology.thread]]` uses.
pub const STAGES: [&str; 5] = ["read", "parse", "signal", "risk", "send"];
/// Links of the line in flow order.
pub const LINKS: [&str; 5] =
    ["read_parse", "parse_signal", "signal_risk", "risk_send", "send_parse"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadSection {
    pub name: String,
    /// Neighbours of the line, in flow order.
    pub stages: Vec<String>,
    /// `None` = float: not pinned.
    pub core: Option<u32>,
    pub wait: WaitKind,
    /// No busy sibling on its core.
    pub critical: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFull {
    /// Replace the oldest by the newest of the same symbol; `parse_signal` only.
    Conflate,
    /// The producer waits.
    Stall,
    /// The engine halts and says so.
    Halt,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkSection {
    pub name: &'static str,
    /// Slots; `None` = as suits the ring and where its ends run.
    pub depth: Option<usize>,
    pub on_full: OnFull,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopologySection {
    pub layout: Layout,
    pub wait: WaitKind,
    pub lock_memory: bool,
    pub threads: Vec<ThreadSection>,
    /// In the order of [`LINKS`].
    pub links: Vec<LinkSection>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    /// Run directories; empty = the user's state directory.
    pub dir: String,
    /// Write-ahead segments; empty = /dev/shm where it is writable.
    pub write_ahead_dir: String,
    pub write_ahead_mib: u64,
    pub input_log: bool,
    pub input_log_mib_max: u64,
    /// Keep a history in SQLite.
    pub history: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViewKind {
    /// Terminal view on a terminal, plain lines otherwise.
    Auto,
    Plain,
    Off,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportSection {
    pub view: ViewKind,
    pub redraw_ms: u64,
    pub line_interval_s: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSection {
    pub level: log::LevelFilter,
    pub json: bool,
    /// Of the log file in the run directory.
    pub file_mib_max: u64,
    pub files_max: u32,
}

/// One thread for the manual, where `layout = "auto"` has none.
pub(super) fn example_threads() -> Vec<Table> {
    let mut table = Table::new();
    table.insert("name".to_owned(), "hot".into());
    table.insert("stages".to_owned(), Value::Array(STAGES.map(Value::from).to_vec()));
    table.insert("core".to_owned(), Value::Integer(1));
    table.insert("wait".to_owned(), "spin".into());
    vec![table]
}

pub(super) fn read_topology<'t>(
    root: &mut Scope<'_, 't>,
    examples: &'t [Table],
) -> TopologySection {
    let mut s = root.section(
        "topology",
        "Which thread runs which stage. `genesis config explain` prints what comes of it on this \
         machine.",
    );
    let layout = s.choice(
        key(
            "layout",
            "",
            "auto: fewer than 3 allowed CPUs give fused, fewer than 6 split, else pipeline. fused: \
             one hot thread. split: {read, parse} {signal, risk, send}. pipeline: one stage a \
             thread. explicit: as [[topology.thread]] says. Auto is right until measured \
             otherwise.",
        ),
        Layout::Auto,
        &[
            ("auto", Layout::Auto),
            ("fused", Layout::Fused),
            ("split", Layout::Split),
            ("pipeline", Layout::Pipeline),
            ("explicit", Layout::Explicit),
        ],
    );
    let wait = s.choice(
        key(
            "wait",
            "",
            "What hot threads of every layout but explicit do when idle: spin (lowest latency, a \
             core each), spin_yield, backoff (sleeps a little, shares the core), park (sleeps \
             until woken). auto: spin_yield where cores are to spare, else backoff.",
        ),
        WaitKind::Auto,
        &WAITS,
    );
    let lock_memory = s.flag(
        key(
            "lock_memory",
            "",
            "Keep all pages in memory (mlockall). Off: it needs a raised limit (`genesis doctor` \
             tells); pages of the hot path are touched at start either way.",
        ),
        false,
    );
    let links = read_links(&mut s);
    let threads = s.tables(
        "thread",
        "With layout = \"explicit\" only: every stage exactly once, neighbours of the line \
         together.",
        &[],
        examples,
        read_thread,
    );
    match (layout, threads.is_empty()) {
        (Layout::Explicit, true) => s.refuse(
            "layout",
            "\"explicit\" without any [[topology.thread]]",
            "the threads",
            "write them, or layout = \"auto\"",
        ),
        (Layout::Auto | Layout::Fused | Layout::Split | Layout::Pipeline, false) => s.refuse(
            "thread",
            &format!("{} of them with layout = \"{}\"", threads.len(), layout.name()),
            "none, or layout = \"explicit\"",
            "write layout = \"explicit\" or remove them",
        ),
        _ => {}
    }
    check_threads(&mut s, layout, &threads);
    s.finish();
    TopologySection { layout, wait, lock_memory, threads, links }
}

fn read_links(s: &mut Scope<'_, '_>) -> Vec<LinkSection> {
    let mut s = s.section("link", "The rings between the stages. Depths are powers of two.");
    let links = LINKS
        .into_iter()
        .map(|name| {
            let intro = match name {
                "read_parse" => "Filled read buffers.",
                "parse_signal" => "Sequenced events; the one ring whose mouth may conflate.",
                "signal_risk" => "Events, marks and intents.",
                "risk_send" => "Commands.",
                _ => "What became of each command, told back through the front.",
            };
            let mut s = s.section(name, intro);
            let depth = s.int(
                key(
                    "depth",
                    "messages",
                    "Slots, a power of two from 256 up. Enough for a burst of some milliseconds, \
                     small enough to stay in cache. 0: 256 where both ends are on one thread, else \
                     what suits the ring (see genesis config explain).",
                ),
                0,
                0..=RING_DEPTH_MAX as i64,
            );
            let slots = depth.unsigned_abs() as usize;
            if slots != 0 && (!slots.is_power_of_two() || slots < RING_DEPTH_MIN) {
                let near = slots.next_power_of_two().max(RING_DEPTH_MIN);
                s.refuse("depth", &depth.to_string(), "a power of two", &format!("write {near}"));
            }
            let words: &[(&str, OnFull)] = match name {
                "parse_signal" => &[
                    ("conflate", OnFull::Conflate),
                    ("stall", OnFull::Stall),
                    ("halt", OnFull::Halt),
                ],
                _ => &[("stall", OnFull::Stall), ("halt", OnFull::Halt)],
            };
            let on_full = s.choice(
                key(
                    "on_full",
                    "",
                    "conflate: newest book view and merged trades replace what waits, counted; \
                     orders, fills and bars never. stall: the producer waits. halt: stop trading \
                     and say so.",
                ),
                words[0].1,
                words,
            );
            s.finish();
            LinkSection { name, depth: (slots != 0).then_some(slots), on_full }
        })
        .collect();
    s.finish();
    links
}

fn read_thread(s: &mut Scope<'_, '_>) -> ThreadSection {
    let name = s.text(
        key("name", "", "Shown by the system's tools."),
        "hot",
        "1 to 15 plain letters, digits, - or _",
        |text| {
            let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            if (1..=15).contains(&text.len()) && text.chars().all(good) {
                Ok(())
            } else {
                Err("the system keeps 15 bytes of a thread's name".to_owned())
            }
        },
    );
    let stages = s.list(
        key("stages", "", "Stages it runs, neighbours of the line in flow order."),
        &[],
        "of read, parse, signal, risk, send",
    );
    for stage in &stages {
        if !STAGES.contains(&stage.as_str()) {
            let near = super::problem::nearest(stage, STAGES);
            let advice = near.map(|near| format!("did you mean {near:?}?")).unwrap_or_default();
            let expected = format!("one of {}", STAGES.join(", "));
            s.refuse("stages", &format!("{stage:?}"), &expected, &advice);
        }
    }
    let core = s.number_or_word(
        key("core", "CPU number", "CPU it is pinned to, or \"float\" for none."),
        "float",
        "a CPU number from 0, or \"float\"",
        |text| text == "float" || text.parse::<u32>().is_ok(),
    );
    let wait =
        s.choice(key("wait", "", "As topology.wait, for this thread."), WaitKind::Auto, &WAITS);
    let critical = s.choice(
        key("class", "", "critical: nothing busy may run on its core's sibling."),
        false,
        &[("normal", false), ("critical", true)],
    );
    ThreadSection { name, stages, core: core.parse().ok(), wait, critical }
}

/// Every stage on exactly one thread. What depends on the machine is `runtime::topology`'s to
/// check.
fn check_threads(s: &mut Scope<'_, '_>, layout: Layout, threads: &[ThreadSection]) {
    if layout != Layout::Explicit || threads.is_empty() {
        return;
    }
    for stage in STAGES {
        let count =
            threads.iter().flat_map(|thread| &thread.stages).filter(|each| *each == stage).count();
        if count != 1 {
            let got = format!("stage \"{stage}\" on {count} threads");
            s.refuse("thread", &got, "every stage on exactly one", "add or remove it");
        }
    }
    for (index, thread) in threads.iter().enumerate() {
        if threads[..index].iter().any(|other| other.name == thread.name) {
            let got = format!("two threads named {:?}", thread.name);
            s.refuse("thread", &got, "a name of its own for each", "rename one");
        }
    }
}

pub(super) fn read_journal(root: &mut Scope<'_, '_>) -> Journal {
    let mut s = root.section("journal", "What a run keeps on disk and in memory files.");
    let any = |_: &str| Ok(());
    let section = Journal {
        dir: s.text(
            key(
                "dir",
                "",
                "One sub-directory a run, and the file `latest` that names the newest. Empty: \
                 $XDG_STATE_HOME/genesis, else .local/state/genesis of the home directory.",
            ),
            "",
            "a directory or empty",
            any,
        ),
        write_ahead_dir: s.text(
            key(
                "write_ahead_dir",
                "",
                "Where the intent of an order is recorded before its bytes leave. Survives a \
                 killed process. Empty: /dev/shm where writable, because a disk would stand in the \
                 order's way.",
            ),
            "",
            "a directory or empty",
            any,
        ),
        write_ahead_mib: s.int(
            key(
                "write_ahead_mib",
                "MiB",
                "Size of one segment, touched at start. About 60,000 \
             orders.",
            ),
            16,
            1..=4_096,
        ) as u64,
        input_log: s.flag(
            key(
                "input_log",
                "",
                "Keep the sequenced input, so that `genesis replay` repeats the \
             run.",
            ),
            true,
        ),
        input_log_mib_max: s.int(
            key(
                "input_log_mib_max",
                "MiB",
                "The log ends here, marked incomplete with an alarm; trading goes on. A busy day \
                 of four symbols.",
            ),
            2_048,
            1..=1_048_576,
        ) as u64,
        history: s.flag(
            key(
                "history",
                "",
                "Keep orders, fills, equity, trips and commands in SQLite, for `genesis orders \
                 --history` and for your own SQL: history-ACCOUNT.db beside the runs. Orders and \
                 fills come out of the input log.",
            ),
            true,
        ),
    };
    s.finish();
    section
}

pub(super) fn read_report(root: &mut Scope<'_, '_>) -> ReportSection {
    let mut s = root.section("report", "What is shown while it runs.");
    let section = ReportSection {
        view: s.choice(
            key(
                "view",
                "",
                "auto: the live view on a terminal, plain lines elsewhere. plain. off.",
            ),
            ViewKind::Auto,
            &[("auto", ViewKind::Auto), ("plain", ViewKind::Plain), ("off", ViewKind::Off)],
        ),
        redraw_ms: s.int(
            key("redraw_ms", "ms", "Between two redraws. Four a second are calm and current."),
            250,
            250..=10_000,
        ) as u64,
        line_interval_s: s.int(
            key("line_interval_s", "s", "Between two plain lines."),
            5,
            1..=3_600,
        ) as u64,
    };
    s.finish();
    section
}

pub(super) fn read_log(root: &mut Scope<'_, '_>) -> LogSection {
    let mut s = root.section("log", "Messages of the cold side, on standard error.");
    let section = LogSection {
        level: s.choice(
            key("level", "", "Least important message shown."),
            log::LevelFilter::Info,
            &[
                ("off", log::LevelFilter::Off),
                ("error", log::LevelFilter::Error),
                ("warn", log::LevelFilter::Warn),
                ("info", log::LevelFilter::Info),
                ("debug", log::LevelFilter::Debug),
                ("trace", log::LevelFilter::Trace),
            ],
        ),
        json: s.flag(key("json", "", "One JSON object a line, for machines."), false),
        file_mib_max: s.int(
            key(
                "file_mib_max",
                "MiB",
                "Size of log.jsonl in the run directory, at which the next one is begun.",
            ),
            16,
            1..=4_096,
        ) as u64,
        files_max: s.int(
            key("files_max", "files", "Log files kept, the current one included; older ones go."),
            4,
            1..=100,
        ) as u32,
    };
    s.finish();
    section
}
