//! REST calls as people look at them: latencies and failures by endpoint, over the run and over the
//! latest minute, and one line of JSON for each call.

use super::metrics::Percentiles;
use super::status::{EndpointStatus, TokenStatus};
use crate::base::time::{SpanNs, WallNs};
use crate::line::rest::{CallRecord, RecordSink};
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::io::Write;

/// Length of the window, ms. Between one and two of them are looked at.
const WINDOW_MS: i64 = 60_000;
/// No handshake is so fast.
const TLS_MIN: SpanNs = SpanNs::from_us(20);
/// Largest latency kept apart, µs: two minutes.
const US_MAX: u64 = 120_000_000;

/// Two significant digits are enough beside the network; 40 kB instead of half a megabyte.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, US_MAX, 2).expect("constant bounds that hdrhistogram accepts")
}

struct Endpoint {
    row: EndpointStatus,
    /// Call to last byte, answers only.
    total: Histogram<u64>,
    /// Call to first byte, answers only.
    first_byte: Histogram<u64>,
    wait: Histogram<u64>,
    /// Of calls that opened a connection.
    connect: Histogram<u64>,
    tls: Histogram<u64>,
    /// The window that runs, and the one before it.
    now: Histogram<u64>,
    before: Histogram<u64>,
    /// Number of the running window.
    window_number: i64,
}
impl Endpoint {
    fn new(name: &str) -> Self {
        Self {
            row: EndpointStatus { name: name.to_owned(), ..EndpointStatus::default() },
            total: histogram(),
            first_byte: histogram(),
            wait: histogram(),
            connect: histogram(),
            tls: histogram(),
            now: histogram(),
            before: histogram(),
            window_number: i64::MIN,
        }
    }
    fn turn(&mut self, at: WallNs) {
        let number = at.as_ms().div_euclid(WINDOW_MS);
        if number <= self.window_number {
            return;
        }
        std::mem::swap(&mut self.now, &mut self.before);
        self.now.reset();
        if number > self.window_number.saturating_add(1) {
            self.before.reset();
        }
        self.window_number = number;
    }
}

/// Keeps the figures, and writes each record as a line where it is given a file.
#[derive(Default)]
pub struct RestStats {
    endpoints: BTreeMap<&'static str, Endpoint>,
    by_reason: BTreeMap<&'static str, u64>,
    log: Option<Box<dyn Write + Send>>,
    log_failed: bool,
}

impl RestStats {
    /// Writes every record to `log`, one JSON object a line.
    pub fn log_to(&mut self, log: Box<dyn Write + Send>) {
        self.log = Some(log);
    }
    /// By endpoint, sorted; limits are not known here.
    pub fn rows(&mut self, now: WallNs) -> Vec<EndpointStatus> {
        let row = |endpoint: &mut Endpoint| {
            endpoint.turn(now);
            let mut window = endpoint.now.clone();
            // Same bounds, so nothing can be lost.
            window.add(&endpoint.before).unwrap_or_default();
            EndpointStatus {
                latency_ms: Percentiles::ms_of_us(&endpoint.total),
                window_ms: Percentiles::ms_of_us(&window),
                wait_ms: Percentiles::ms_of_us(&endpoint.wait),
                connect_ms: Percentiles::ms_of_us(&endpoint.connect),
                tls_ms: Percentiles::ms_of_us(&endpoint.tls),
                first_byte_ms: Percentiles::ms_of_us(&endpoint.first_byte),
                limit: TokenStatus::default(),
                ..endpoint.row.clone()
            }
        };
        self.endpoints.values_mut().map(row).collect()
    }
    /// Calls by reason.
    pub fn by_reason(&self) -> &BTreeMap<&'static str, u64> {
        &self.by_reason
    }
    /// True where a record could not be written; figures go on.
    pub fn log_failed(&self) -> bool {
        self.log_failed
    }
}

/// A record as one line of JSON, without its end.
pub fn json_line(record: &CallRecord) -> String {
    sonic_rs::to_string(record).unwrap_or_default()
}

impl RecordSink for RestStats {
    fn record(&mut self, record: &CallRecord) {
        let endpoint =
            self.endpoints.entry(record.endpoint).or_insert_with(|| Endpoint::new(record.endpoint));
        endpoint.turn(record.at);
        let row = &mut endpoint.row;
        row.calls += 1;
        row.failures += u64::from(!record.is_good());
        row.rate_limit_hits += u64::from(record.status == 429);
        row.retries += u64::from(record.attempt > 1);
        row.pooled += u64::from(record.pooled);
        row.bytes_out += record.bytes_out;
        row.bytes_in += record.bytes_in;
        row.last_status = record.status;
        if let Some(after) = record.retry_after {
            row.retry_after_s = Some((after.as_ms().max(0).unsigned_abs()).div_ceil(1_000));
        }
        let us = |span: SpanNs| (span.0 / 1_000).max(1) as u64;
        endpoint.wait.saturating_record(us(record.wait));
        if record.connect > SpanNs::ZERO {
            endpoint.connect.saturating_record(us(SpanNs(record.resolve.0 + record.connect.0)));
            // Plain connections are secured at once.
            if record.tls >= TLS_MIN {
                endpoint.tls.saturating_record(us(record.tls));
            }
        }
        if record.status != 0 {
            endpoint.total.saturating_record(us(record.total));
            endpoint.first_byte.saturating_record(us(record.first_byte));
            endpoint.now.saturating_record(us(record.total));
        }
        *self.by_reason.entry(record.reason.name()).or_default() += 1;
        if let Some(log) = &mut self.log
            && log.write_all(format!("{}\n", json_line(record)).as_bytes()).is_err()
        {
            self.log_failed = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::rest::{KeyRole, Priority, Reason, Side};

    fn record(at_ms: i64, total_ms: i64, status: u16) -> CallRecord {
        CallRecord {
            at: WallNs::from_ms(at_ms),
            side: Side::Private,
            endpoint: "auth/r/wallets",
            reason: Reason::Confirm,
            priority: Priority::Account,
            role: Some(KeyRole::Rest),
            attempt: 1 + u32::from(status == 429),
            again: false,
            probe: false,
            status,
            venue_code: if status == 429 { 11_010 } else { 0 },
            venue_text: String::new(),
            fault: if status == 0 { "connect" } else { "" },
            maybe_sent: false,
            retry_after: (status == 429).then_some(SpanNs::from_s(5)),
            wait: SpanNs::from_us(1_500),
            resolve: SpanNs::ZERO,
            connect: SpanNs::ZERO,
            tls: SpanNs::ZERO,
            sent: SpanNs::from_us(100),
            first_byte: SpanNs::from_ms(total_ms - 1),
            total: SpanNs::from_ms(total_ms),
            bytes_out: 300,
            bytes_in: 700,
            pooled: true,
            http: "1.1",
            transport: "ureq",
        }
    }

    #[test]
    fn percentiles_are_of_answers_and_the_window_forgets() {
        let mut stats = RestStats::default();
        for index in 1..=100 {
            stats.record(&record(1_000, index, 200));
        }
        stats.record(&record(1_000, 9_000, 0));
        stats.record(&record(1_000, 50, 429));
        let row = stats.rows(WallNs::from_ms(2_000)).remove(0);
        assert_eq!((row.calls, row.failures, row.rate_limit_hits, row.retries), (102, 2, 1, 1));
        assert_eq!(row.latency_ms.count, 101);
        for (got, expected) in
            [(row.latency_ms.p50, 50.0), (row.latency_ms.p95, 95.0), (row.latency_ms.p99, 99.0)]
        {
            let got: f64 = got.unwrap();
            assert!((got / expected - 1.0).abs() < 0.03, "{got} {expected}");
        }
        assert_eq!(row.window_ms.count, 101);
        // One window later it is still seen, two later not; the whole run stays.
        let count = |stats: &mut RestStats, ms| stats.rows(WallNs::from_ms(ms))[0].window_ms.count;
        assert_eq!(count(&mut stats, 61_000), 101);
        assert_eq!(count(&mut stats, 121_000), 0);
        assert_eq!(stats.rows(WallNs::from_ms(121_000))[0].latency_ms.count, 101);
        assert_eq!((row.last_status, row.retry_after_s), (429, Some(5)));
        assert_eq!((row.wait_ms.count, row.connect_ms.count), (102, 0), "pooled");
        assert_eq!(stats.by_reason()["confirm"], 102);
    }

    #[test]
    fn a_record_is_one_line_of_json_with_every_phase() {
        let line = json_line(&record(1_000, 42, 429));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert!(!line.contains('\n'));
        for (name, expected) in [
            ("at_ms", serde_json::json!(1_000)),
            ("endpoint", serde_json::json!("auth/r/wallets")),
            ("side", serde_json::json!("private")),
            ("role", serde_json::json!("rest")),
            ("reason", serde_json::json!("confirm")),
            ("priority", serde_json::json!("account")),
            ("status", serde_json::json!(429)),
            ("venue_code", serde_json::json!(11_010)),
            ("retry_after_ms", serde_json::json!(5_000.0)),
            ("wait_ms", serde_json::json!(1.5)),
            ("dns_ms", serde_json::json!(0.0)),
            ("tls_ms", serde_json::json!(0.0)),
            ("first_byte_ms", serde_json::json!(41.0)),
            ("total_ms", serde_json::json!(42.0)),
            ("pooled", serde_json::json!(true)),
            ("bytes_in", serde_json::json!(700)),
        ] {
            assert_eq!(value[name], expected, "{name} in {line}");
        }
    }
}
