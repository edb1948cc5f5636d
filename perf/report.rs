//! Figures: percentiles with counts, of all windows and of the clean ones, and one JSON line a run.

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};
use std::io::Write as _;

/// Longest span told apart, nanoseconds: ten seconds.
const SPAN_NS_MAX: u64 = 10_000_000_000;

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, SPAN_NS_MAX, 3)
        .expect("constant bounds that hdrhistogram accepts")
}

/// Spans of one kind. Those of a window are kept apart until it is known whether it was clean.
pub struct Spans {
    name: String,
    window: Vec<u64>,
    all: Histogram<u64>,
    clean: Histogram<u64>,
}

impl Spans {
    pub fn new(name: &str) -> Spans {
        Spans {
            name: name.to_owned(),
            window: Vec::with_capacity(1 << 17),
            all: histogram(),
            clean: histogram(),
        }
    }
    #[inline(always)]
    pub fn note(&mut self, span_ns: u64) {
        if self.window.len() < self.window.capacity() {
            self.window.push(span_ns);
        }
    }
    /// The window is over.
    pub fn end_window(&mut self, clean: bool) {
        for span_ns in self.window.drain(..) {
            self.all.saturating_record(span_ns.max(1));
            if clean {
                self.clean.saturating_record(span_ns.max(1));
            }
        }
    }
    pub fn all(&self) -> Percentiles {
        Percentiles::of(&self.all)
    }
    /// Of clean windows; of all where none was clean.
    pub fn best(&self) -> Percentiles {
        if self.clean.is_empty() { self.all() } else { Percentiles::of(&self.clean) }
    }
    pub fn print(&self) {
        println!("{:<34} {}", self.name, Percentiles::of(&self.clean).line("clean"));
        println!("{:<34} {}", "", self.all().line("all  "));
    }
    pub fn json(&self) -> Value {
        json!({ "clean": Percentiles::of(&self.clean).json(), "all": self.all().json() })
    }
}

/// What is said of a distribution, nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Percentiles {
    pub count: u64,
    pub min: u64,
    pub p50: u64,
    pub p95: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
}

impl Percentiles {
    fn of(histogram: &Histogram<u64>) -> Percentiles {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Percentiles {
            count: histogram.len(),
            min: if histogram.is_empty() { 0 } else { histogram.min() },
            p50: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max(),
        }
    }
    fn line(&self, which: &str) -> String {
        if self.count == 0 {
            return format!("{which} no sample");
        }
        format!(
            "{which} min {} p50 {} p95 {} p99 {} p99.9 {} max {} ns, {} samples",
            self.min, self.p50, self.p95, self.p99, self.p999, self.max, self.count
        )
    }
    fn json(&self) -> Value {
        json!({
            "count": self.count, "min": self.min, "p50": self.p50, "p95": self.p95,
            "p99": self.p99, "p999": self.p999, "max": self.max,
        })
    }
}

/// Everything one run of this program found.
#[derive(Default)]
pub struct Report {
    figures: Map<String, Value>,
    misses: Vec<String>,
    /// A short run: behaviour was checked, figures mean nothing.
    small: bool,
}

impl Report {
    pub fn new(small: bool) -> Report {
        Report { small, ..Report::default() }
    }
    pub fn put(&mut self, name: &str, value: Value) {
        self.figures.insert(name.to_owned(), value);
    }
    /// A figure and the one to reach. A miss in a noisy window is told, and is no verdict.
    pub fn judge(&mut self, name: &str, found: f64, reach: f64, below: bool, noisy: bool) {
        if self.small {
            return;
        }
        let good = if below { found <= reach } else { found >= reach };
        let sign = if below { "<=" } else { ">=" };
        let verdict = match (good, noisy) {
            (true, false) => "reached",
            (true, true) => "reached, in noise",
            (false, true) => "not measurable here: noise",
            (false, false) => "MISSED",
        };
        println!("  {name}: {found} (reach {sign} {reach}): {verdict}");
        if !good {
            self.misses.push(name.to_owned());
        }
        self.put(&format!("{name}_verdict"), json!(verdict));
    }
    /// Appends the run to `perf/history.jsonl`; where that cannot be, says so.
    pub fn append(mut self, what: &str) {
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let of = |key: &str| {
            let line = cpu.lines().find(|line| line.starts_with(key)).unwrap_or_default();
            line.split_once(':').map_or("unknown", |(_, value)| value.trim()).to_owned()
        };
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let host = json!({
            "cpu": format!("{} family {} model {}", of("model name"), of("cpu family"), of("model\t")),
            "cpus": std::thread::available_parallelism().map_or(0, usize::from),
            "kernel": kernel.trim(),
            "load": load.split_whitespace().take(3).collect::<Vec<_>>().join(" "),
        });
        self.put("what", json!(what));
        self.put("at", json!(jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()));
        self.put("commit", json!(env!("GENESIS_COMMIT")));
        self.put("host", host);
        self.put("missed", json!(self.misses));
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/perf/history.jsonl");
        let line = Value::Object(self.figures).to_string();
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        match file.and_then(|mut file| writeln!(file, "{line}")) {
            Ok(()) => println!("appended to perf/history.jsonl"),
            Err(error) => {
                eprintln!("perf/history.jsonl: {error}; the line would have been\n{line}")
            }
        }
    }
}
