//! The status in Prometheus's text format. Written here rather than by a client library: the
//! numbers exist already, and a registry beside them would be a second truth.
//!
//! Conventions: prefix `genesis_`, base units, `_total` on counters, labels of few values only.
//! Percentiles are exported as summaries: of the last minute by `quantile`, `_count` of the run.

use super::Percentiles;
use crate::ops::status::{EndpointStatus, Spread, Status};
use std::fmt::Write as _;

/// Content type of the text format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Symbols that get series of their own; beyond it only the sums are exported.
pub const SYMBOLS_EXPORTED_MAX: usize = 64;

/// Groups that config may switch off, to keep a small Prometheus small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricGroups {
    pub latency: bool,
    pub symbols: bool,
    pub threads: bool,
    pub rest: bool,
    pub guards: bool,
    pub host: bool,
}
impl Default for MetricGroups {
    fn default() -> Self {
        Self { latency: true, symbols: true, threads: true, rest: true, guards: true, host: true }
    }
}

struct Writer {
    out: String,
}

impl Writer {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.out, "# HELP genesis_{name} {help}");
        let _ = writeln!(self.out, "# TYPE genesis_{name} {kind}");
    }
    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.out.push_str("genesis_");
        self.out.push_str(name);
        for (index, (key, text)) in labels.iter().enumerate() {
            let _ = write!(self.out, "{}{key}=\"", if index == 0 { '{' } else { ',' });
            for c in text.chars() {
                match c {
                    '\\' => self.out.push_str("\\\\"),
                    '"' => self.out.push_str("\\\""),
                    '\n' => self.out.push_str("\\n"),
                    c => self.out.push(c),
                }
            }
            self.out.push('"');
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {value}");
    }
    fn one(&mut self, name: &str, kind: &str, help: &str, value: f64) {
        self.head(name, kind, help);
        self.line(name, &[], value);
    }
    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.one(name, "counter", help, value as f64);
    }
    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.one(name, "gauge", help, value);
    }
    /// One family with one label.
    fn family<'a>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        label: &str,
        rows: impl Iterator<Item = (&'a str, f64)>,
    ) {
        self.head(name, kind, help);
        for (text, value) in rows {
            self.line(name, &[(label, text)], value);
        }
    }
    /// `scale`: base units a unit of the percentiles.
    fn summary(&mut self, name: &str, labels: &[(&str, &str)], spread: &Spread, scale: f64) {
        let Percentiles { p50, p95, p99, p999, max, .. } = spread.window;
        let quantiles = [("0.5", p50), ("0.95", p95), ("0.99", p99), ("0.999", p999), ("1", max)];
        for (quantile, value) in quantiles {
            let Some(value) = value else { continue };
            let mut all = labels.to_vec();
            all.push(("quantile", quantile));
            self.line(name, &all, value * scale);
        }
        self.line(&format!("{name}_count"), labels, spread.total.count as f64);
    }
}

/// The whole page.
pub fn prometheus(status: &Status, groups: MetricGroups) -> String {
    let mut w = Writer { out: String::with_capacity(16 * 1024) };
    account(&mut w, status);
    counters(&mut w, status);
    if groups.latency {
        latency(&mut w, status);
    }
    if groups.symbols {
        symbols(&mut w, status);
    }
    if groups.threads {
        threads(&mut w, status);
    }
    if groups.rest {
        rest(&mut w, status);
    }
    if groups.guards {
        let rows = |of: fn(&crate::ops::status::GuardStatus) -> u64| {
            status.guards.iter().map(move |guard| (guard.name.as_str(), of(guard) as f64))
        };
        let help = "Orders a guard has refused.";
        w.family("guard_blocked_total", "counter", help, "guard", rows(|guard| guard.blocked));
        let help = "Orders a guard in shadow would have refused.";
        w.family("guard_shadowed_total", "counter", help, "guard", rows(|guard| guard.shadowed));
    }
    if groups.host {
        host(&mut w, status);
    }
    w.out
}

fn account(w: &mut Writer, status: &Status) {
    let run = &status.run;
    w.head("build_info", "gauge", "What runs; always 1.");
    let labels = [
        ("build", run.build.as_str()),
        ("config", run.config_hash.as_str()),
        ("environment", run.environment.as_str()),
        ("mode", run.mode.as_str()),
    ];
    w.line("build_info", &labels, 1.0);
    w.gauge("uptime_seconds", "Since the start of the run.", status.elapsed_s as f64);
    let state = &status.state;
    w.gauge(
        "risk_rank",
        "0 running, 1 entries-blocked, 2 reduce-only, 3 cancel-only, 4 halted.",
        f64::from(state.rank_level),
    );
    w.gauge("latch_rank", "What may leave, by the same numbers.", f64::from(state.latch_level));
    w.gauge("ready", "1: signed in and reconciled.", f64::from(u8::from(state.ready)));
    w.gauge(
        "front_halted",
        "1: events could not be delivered in time.",
        f64::from(u8::from(state.is_halted)),
    );
    let quiet_s = state.quiet_ms as f64 / 1e3;
    w.gauge("market_quiet_seconds", "Since any frame was read.", quiet_s);
    let pnl = &status.pnl;
    w.head("pnl", "gauge", "Profit and loss in the quote currency.");
    for (kind, value) in
        [("total", pnl.total), ("realised", pnl.realised), ("unrealised", pnl.unrealised)]
    {
        w.line("pnl", &[("kind", kind)], value);
    }
    w.gauge("fees", "Fees charged so far, quote currency.", pnl.fees);
    w.gauge("exposure", "Value of all positions and of what open orders can add.", pnl.exposure);
    w.head("limit_used_ratio", "gauge", "Share of a limit that is used.");
    for row in status.limits.iter().filter(|row| row.symbol.is_empty() && row.max > 0.0) {
        w.line("limit_used_ratio", &[("limit", row.name.as_str())], row.used / row.max);
    }
    let active = |severity: &'static str| {
        let rows = &status.alerts.active;
        (severity, rows.iter().filter(|row| row.severity == severity).count() as f64)
    };
    w.family(
        "alerts_active",
        "gauge",
        "Alerts that stand.",
        "severity",
        ["critical", "warning", "info"].into_iter().map(active),
    );
    w.counter("alerts_raised_total", "Alerts raised.", status.alerts.raised);
    let given_up = "Alert notices that could not be delivered.";
    w.counter("alerts_failed_total", given_up, status.alerts.failed);
    let full = "Alert notices that found the queue full.";
    w.counter("alerts_dropped_total", full, status.alerts.dropped);
}

fn counters(w: &mut Writer, status: &Status) {
    let c = &status.counts;
    for (name, help, value) in [
        ("frames_total", "Websocket frames read.", c.frames),
        ("received_bytes_total", "Bytes read from websockets.", c.bytes),
        ("book_updates_total", "Changes applied to books.", c.book_updates),
        ("trades_total", "Public trades read.", c.trades),
        ("book_checksums_total", "Book checksums compared.", c.crc_checked),
        ("book_checksum_failures_total", "Book checksums that differed.", c.crc_failed),
        ("sequence_gaps_total", "Gaps in the venue's sequence numbers.", c.seq_gaps),
        ("reconnects_total", "Sockets that closed and were dialled again.", c.reconnects),
        ("conflated_total", "Views and trades merged at the mouth.", c.conflated),
        ("unknown_messages_total", "Messages that were not understood.", c.unknown_messages),
        ("input_log_missed_total", "Events the input log has missed.", c.log_missed),
        ("tap_dropped_total", "Rows for people that found no place.", c.tap_dropped),
        ("intents_total", "Wishes of the strategies.", c.intents),
        ("refused_total", "Wishes refused by the guards.", c.refused),
        ("ack_timeouts_total", "Orders without an answer in time.", c.ack_timeouts),
        ("fills_total", "Own trades.", c.fills),
        ("fills_foreign_total", "Trades of orders that are not ours.", c.fills_foreign),
        ("overfills_total", "Orders that filled more than they could.", c.overfills),
        ("journal_failures_total", "Writes of the journal the disk refused.", c.journal_failures),
        ("protective_orders_total", "Protective orders sent.", c.protects),
        ("protective_changes_total", "Protective orders resized or moved.", c.protects_changed),
        ("naked_alarms_total", "Positions found unprotected for too long.", c.naked_alarms),
        ("naked_closes_total", "Positions closed because unprotected.", c.naked_closes),
        ("log_lines_lost_total", "Log lines the disk refused.", c.log_lines_lost),
    ] {
        w.counter(name, help, value);
    }
    let rows = [
        ("sent", c.orders_sent),
        ("acked", c.orders_acked),
        ("partly_filled", c.orders_partly_filled),
        ("filled", c.orders_filled),
        ("cancelled", c.orders_cancelled),
        ("rejected", c.orders_rejected),
    ];
    let rows = rows.into_iter().map(|(event, count)| (event, count as f64));
    w.family("orders_total", "counter", "Orders by what happened to them.", "event", rows);
    w.gauge("orders_alive", "Own orders at the venue.", c.orders_alive as f64);
    w.gauge("orders_unknown", "Own orders of unknown fate.", c.orders_unknown as f64);
}

fn latency(w: &mut Writer, status: &Status) {
    let name = "order_roundtrip_seconds";
    w.head(name, "summary", "From the write of an order to its first answer or fill.");
    w.summary(name, &[("until", "ack")], &status.order_roundtrip_ms.ack, 1e-3);
    w.summary(name, &[("until", "first_fill")], &status.order_roundtrip_ms.first_fill, 1e-3);
    let name = "ws_gap_seconds";
    w.head(name, "summary", "Between two data frames of one channel, all channels.");
    w.summary(name, &[], &status.ws_gap_ms, 1e-3);
    let name = "tick_to_order_seconds";
    w.head(name, "summary", "From the frame to order bytes ready (t1) and written (t2).");
    w.summary(name, &[("span", "t1")], &status.t1_ns, 1e-9);
    w.summary(name, &[("span", "t2")], &status.t2_ns, 1e-9);
    let name = "stage_seconds";
    w.head(name, "summary", "Time of orders in each stage.");
    for stage in &status.stages {
        w.summary(name, &[("stage", &stage.name)], &stage.latency_ns, 1e-9);
    }
}

fn symbols(w: &mut Writer, status: &Status) {
    if status.symbols.len() <= SYMBOLS_EXPORTED_MAX {
        let rows = || status.symbols.iter();
        let flag = |flag: bool| f64::from(u8::from(flag));
        let synced = rows().map(|row| (row.name.as_str(), flag(row.synced)));
        w.family("book_synced", "gauge", "1: the book is in step.", "symbol", synced);
        let age = rows().filter_map(|row| Some((row.name.as_str(), row.age_ms? as f64 / 1e3)));
        w.family("book_age_seconds", "gauge", "Since the book changed.", "symbol", age);
        let spread = rows().filter_map(|row| Some((row.name.as_str(), row.spread_bps? / 1e4)));
        w.family("book_spread_ratio", "gauge", "Spread by the middle.", "symbol", spread);
        let held = rows().map(|row| (row.name.as_str(), row.position));
        w.family("position", "gauge", "Position by own fills, base units.", "symbol", held);
        let fits = rows().map(|row| (row.name.as_str(), flag(row.matches_venue)));
        let help = "1: the venue says the same position.";
        w.family("position_matches_venue", "gauge", help, "symbol", fits);
        let frozen = rows().map(|row| (row.name.as_str(), flag(row.is_frozen)));
        let help = "1: an order of unknown fate stops the symbol.";
        w.family("symbol_frozen", "gauge", help, "symbol", frozen);
        let lost = rows().map(|row| (row.name.as_str(), row.unsynced_count as f64));
        let help = "Times the book was not tradable after it had been.";
        w.family("book_unsynced_total", "counter", help, "symbol", lost);
    }
    let unsynced = status.symbols.iter().filter(|row| row.book != "synced").count();
    w.gauge("symbols_not_tradable", "Symbols without a synced, fresh book.", unsynced as f64);
}

fn threads(w: &mut Writer, status: &Status) {
    w.head("thread_seconds_total", "counter", "Time of a hot thread by what it did.");
    for thread in &status.threads {
        for (state, value) in
            [("busy", thread.busy_s), ("idle", thread.idle_s), ("blocked", thread.blocked_s)]
        {
            let labels = [("thread", thread.name.as_str()), ("state", state)];
            w.line("thread_seconds_total", &labels, value);
        }
    }
    let rows = || status.threads.iter();
    let age = rows().map(|row| (row.name.as_str(), row.heartbeat_age_ms as f64 / 1e3));
    let help = "Since the thread last finished a round.";
    w.family("thread_heartbeat_age_seconds", "gauge", help, "thread", age);
    let allocs = rows().map(|row| (row.name.as_str(), row.allocs_after_seal as f64));
    let help = "Allocations on a hot thread after its seal.";
    w.family("thread_allocations_total", "counter", help, "thread", allocs);
    let faults = rows().map(|row| (row.name.as_str(), row.faults_after_seal as f64));
    let help = "Page faults of a hot thread after its seal.";
    w.family("thread_page_faults_total", "counter", help, "thread", faults);
    let used = status.rings.iter().map(|row| (row.name.as_str(), row.used_max as f64));
    w.family("ring_used_max", "gauge", "Most slots ever in use.", "ring", used);
    let depth = status.rings.iter().map(|row| (row.name.as_str(), row.depth as f64));
    w.family("ring_depth", "gauge", "Slots.", "ring", depth);
    let up = status.links.iter().map(|row| (row.name.as_str(), f64::from(u8::from(row.is_up))));
    w.family("link_up", "gauge", "1: the socket is open.", "link", up);
}

fn rest(w: &mut Writer, status: &Status) {
    let rest = &status.rest;
    w.counter("rest_retries_total", "REST calls made again.", rest.retry_count);
    let help = "Refusals of the venue for the rate.";
    w.counter("rest_rate_limit_hits_total", help, rest.rate_limit_hits);
    w.counter("rest_circuit_opened_total", "Times a breaker opened.", rest.circuit_open_count);
    let open = f64::from(u8::from(rest.circuit_open));
    w.gauge("rest_circuit_open", "1: a breaker is open.", open);
    let help = "Nonces the venue refused and that were stepped past.";
    w.counter("nonce_recoveries_total", help, rest.nonce_recoveries);
    w.counter("reconciles_total", "Reads of the whole account.", rest.reconciles);
    let rows = || rest.endpoints.iter();
    let calls = rows().map(|row| (row.name.as_str(), row.calls as f64));
    w.family("rest_calls_total", "counter", "REST calls.", "endpoint", calls);
    let failures = rows().map(|row| (row.name.as_str(), row.failures as f64));
    let help = "REST calls without a good answer.";
    w.family("rest_failures_total", "counter", help, "endpoint", failures);
    for (name, help, of) in [
        (
            "rest_call_seconds",
            "REST calls from first to last byte, of the whole run.",
            (|row| row.latency_ms) as fn(&EndpointStatus) -> Percentiles,
        ),
        ("rest_wait_seconds", "REST calls in the queue.", |row| row.wait_ms),
        ("rest_first_byte_seconds", "REST calls to the answer's first byte.", |row| {
            row.first_byte_ms
        }),
        ("rest_connect_seconds", "Name and TCP of REST calls that opened a connection.", |row| {
            row.connect_ms
        }),
        ("rest_tls_seconds", "TLS of REST calls that opened a connection.", |row| row.tls_ms),
    ] {
        w.head(name, "summary", help);
        for row in rows() {
            let spread = Spread { total: of(row), window: of(row) };
            w.summary(name, &[("endpoint", &row.name)], &spread, 1e-3);
        }
    }
    let tokens = rows().map(|row| (row.name.as_str(), row.limit.tokens as f64));
    let help = "REST calls that may start now.";
    w.family("rest_tokens", "gauge", help, "endpoint", tokens);
    let limits = rows().map(|row| (row.name.as_str(), row.limit.window_calls as f64));
    let help = "REST calls believed to be allowed in a minute.";
    w.family("rest_limit_per_minute", "gauge", help, "endpoint", limits);
    let reasons = rest.reasons.iter().map(|row| (row.name.as_str(), row.calls as f64));
    w.family("rest_calls_by_reason_total", "counter", "REST calls by reason.", "reason", reasons);
    let states = rest.breakers.iter().map(|row| {
        let state = match row.state.as_str() {
            "closed" => 0.0,
            "half-open" => 1.0,
            _ => 2.0,
        };
        (row.name.as_str(), state)
    });
    let help = "0: closed, 1: half-open, 2: open.";
    w.family("rest_breaker_state", "gauge", help, "upstream", states);
    let down = f64::from(u8::from(rest.order_entry_down));
    w.gauge("rest_order_entry_down", "1: orders and cancels by REST do not get through.", down);
    let help = "REST calls dropped because they could not start in time.";
    w.counter("rest_dropped_stale_total", help, rest.dropped_stale);
    w.counter("rest_refused_total", "REST calls not taken.", rest.refused);
    w.gauge("rest_in_flight", "REST calls in flight.", rest.in_flight as f64);
    let help = "Since the venue last told its list of pairs.";
    w.gauge("registry_age_seconds", help, rest.registry.age_s as f64);
}

fn host(w: &mut Writer, status: &Status) {
    let host = &status.host;
    let name = "host_hiccup_seconds";
    w.head(name, "summary", "How much later than asked a 10 ms sleep ended.");
    w.summary(name, &[], &host.hiccup_ms, 1e-3);
    let step = host.clock_step_ms_max / 1e3;
    w.gauge("clock_step_max_seconds", "Largest step of the wall clock.", step);
    w.gauge("resident_memory_bytes", "Resident memory.", host.rss_mib * 1024.0 * 1024.0);
    w.gauge("open_fds", "Open file descriptors.", host.fds as f64);
    if let Some(free) = host.disk_free_mib {
        let help = "Free space where the run directory is.";
        w.gauge("disk_free_bytes", help, free as f64 * 1024.0 * 1024.0);
    }
    w.counter("incidents_total", "Findings of the watchdog that are listed.", {
        status.incidents.len() as u64
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::status::{
        AlertRow, GuardStatus, LimitRow, StageStatus, SymbolStatus, ThreadStatus,
    };
    use std::collections::BTreeMap;

    fn example(symbols: usize) -> Status {
        let spread = Spread {
            total: Percentiles { count: 7, ..Percentiles::default() },
            window: Percentiles { count: 3, p50: Some(1.5), p99: Some(4.0), ..Default::default() },
        };
        let mut status = Status::default();
        status.order_roundtrip_ms.ack = spread;
        status.run.build = "0.1 \"x\\y\"".to_owned();
        status.symbols = (0..symbols)
            .map(|index| SymbolStatus { name: format!("t{index}"), ..SymbolStatus::default() })
            .collect();
        status.guards = vec![GuardStatus { name: "stale_market".to_owned(), ..Default::default() }];
        status.stages =
            vec![StageStatus { name: "read".to_owned(), latency_ns: spread, busy: 0.5 }];
        status.threads = vec![ThreadStatus { name: "hot".to_owned(), ..Default::default() }];
        status.limits =
            vec![LimitRow { name: "l".to_owned(), used: 1.0, max: 4.0, ..LimitRow::default() }];
        status.alerts.active =
            vec![AlertRow { severity: "critical".to_owned(), ..AlertRow::default() }];
        status
    }

    /// Goal: what Prometheus reads. Method: every line is a comment or `name{labels} number`, each
    /// family is declared once and before its lines, and no series stands twice.
    #[test]
    fn the_page_is_well_formed() {
        let page = prometheus(&example(3), MetricGroups::default());
        let mut kinds: BTreeMap<&str, &str> = BTreeMap::new();
        let mut seen: Vec<&str> = Vec::new();
        for line in page.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(kinds.insert(name, kind).is_none(), "{name} twice");
                assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
                continue;
            }
            if line.starts_with("# HELP ") {
                continue;
            }
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().unwrap().is_finite(), "{line}");
            let name = series.split('{').next().unwrap();
            assert!(name.starts_with("genesis_"), "{line}");
            let family = name.strip_suffix("_count").unwrap_or(name);
            assert!(kinds.contains_key(name) || kinds.contains_key(family), "{line} undeclared");
            assert!(!seen.contains(&series), "{series} twice");
            seen.push(series);
        }
        for wanted in [
            "genesis_order_roundtrip_seconds{until=\"ack\",quantile=\"0.5\"} 0.0015",
            "genesis_order_roundtrip_seconds_count{until=\"ack\"} 7",
            "build=\"0.1 \\\"x\\\\y\\\"\"",
            "genesis_limit_used_ratio{limit=\"l\"} 0.25",
            "genesis_alerts_active{severity=\"critical\"} 1",
            "genesis_guard_blocked_total{guard=\"stale_market\"} 0",
            "genesis_book_synced{symbol=\"t2\"} 0",
            "genesis_thread_seconds_total{thread=\"hot\",state=\"busy\"} 0",
        ] {
            assert!(page.contains(wanted), "{wanted} is not in\n{page}");
        }
    }

    #[test]
    fn many_symbols_get_sums_only_and_groups_can_be_switched_off() {
        let page = prometheus(&example(65), MetricGroups::default());
        assert!(!page.contains("symbol="));
        assert!(page.contains("genesis_symbols_not_tradable 65"));
        let none = MetricGroups {
            latency: false,
            symbols: false,
            threads: false,
            rest: false,
            guards: false,
            host: false,
        };
        let page = prometheus(&example(3), none);
        for word in ["stage_seconds", "symbols_not", "thread", "rest_", "guard_", "host_"] {
            assert!(!page.contains(word), "{word}");
        }
        assert!(page.contains("genesis_risk_rank"));
    }
}
