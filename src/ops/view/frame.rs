//! One picture of a run as plain text, made of the status alone: what the dashboard shows, for a
//! terminal. Pure, so that a test reads what an operator reads.

use crate::ops::metrics::Percentiles;
use crate::ops::status::{LimitRow, Spread, Status};
use crate::ops::text::{elapsed, grouped, span_ns};
use std::fmt::Write as _;

/// Rows of lists that may be long.
const LIST_MAX: usize = 8;

/// The picture, at most `columns` wide; a section that has nothing to say is left out. The most
/// urgent stands first, so that a small window cuts off what matters least.
pub fn frame(status: &Status, columns: usize) -> String {
    let mut out = String::new();
    head(status, &mut out);
    alerts(status, &mut out);
    money(status, &mut out);
    symbols(status, &mut out);
    orders(status, &mut out);
    latency(status, &mut out);
    machine(status, &mut out);
    rest(status, &mut out);
    links(status, &mut out);
    guards(status, &mut out);
    incidents(status, &mut out);
    fills(status, &mut out);
    log(status, &mut out);
    let mut cut = String::with_capacity(out.len());
    for line in out.lines() {
        cut.extend(line.chars().take(columns));
        cut.truncate(cut.trim_end().len());
        cut.push('\n');
    }
    cut
}

/// Rows under a head, the columns as wide as they must be; the first `left` of them stand left.
fn table(out: &mut String, head: &[&str], left: usize, rows: &[Vec<String>]) {
    if rows.is_empty() {
        return;
    }
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        for (column, (cell, width)) in cells.zip(&widths).enumerate() {
            let _ = match column < left {
                true => write!(out, "{cell:<width$}  "),
                false => write!(out, "{cell:>width$}  "),
            };
        }
        out.push('\n');
    };
    line(&mut head.iter().copied());
    for row in rows {
        line(&mut row.iter().map(String::as_str));
    }
}

fn number(value: Option<f64>) -> String {
    value.map_or("–".to_owned(), |value| format!("{value}"))
}
fn ms(value: Option<f64>) -> String {
    span_ns(value.map(|ms| ms * 1e6))
}
fn age(age_ms: u64) -> String {
    match age_ms {
        0..10_000 => format!("{:.1} s", age_ms as f64 / 1e3),
        _ => format!("{} s", age_ms / 1_000),
    }
}
/// The part of an instant that changes within a day.
fn clock(at: &str) -> &str {
    at.get(11..19).unwrap_or(at)
}
fn title(out: &mut String, words: &str) {
    let _ = writeln!(out, "\n{words}");
}

fn head(status: &Status, out: &mut String) {
    let (state, run) = (&status.state, &status.run);
    let stopping = if state.is_stopping { "stopping, " } else { "" };
    let why = match (state.reason.is_empty(), state.rank_level) {
        (true, 0) => "entries are free",
        (true, _) => "no reason was given",
        _ => &state.reason,
    };
    let _ = writeln!(out, "[{stopping}{}] {why}", state.rank.to_uppercase());
    let _ = writeln!(
        out,
        "{} {} {} {}  up {}  {}  {}",
        run.environment,
        run.mode,
        run.market,
        run.speed,
        elapsed(status.elapsed_s),
        clock(&status.at),
        run.build
    );
}

fn alerts(status: &Status, out: &mut String) {
    let rows: Vec<Vec<String>> = status
        .alerts
        .active
        .iter()
        .map(|row| {
            let about = if row.subject.is_empty() { "–" } else { &row.subject };
            [&row.severity, &row.name, about, clock(&row.since), &row.text, &row.runbook]
                .map(str::to_owned)
                .to_vec()
        })
        .collect();
    if !rows.is_empty() {
        title(out, "ALERTS");
        table(out, &["severity", "alert", "about", "since", "text", "what to do"], 6, &rows);
    }
}

/// A pause has no limit: all of it counts until it is over.
fn share_of(row: &LimitRow) -> f64 {
    match row.max > 0.0 {
        true => row.used / row.max,
        false => f64::from(u8::from(row.used > 0.0)),
    }
}

fn money(status: &Status, out: &mut String) {
    let (pnl, counts) = (&status.pnl, &status.counts);
    title(out, "MONEY, LIMITS, ORDERS");
    let _ = writeln!(
        out,
        "pnl {:+.2} {}  realised {:+.2}  unrealised {:+.2}  fees {:.2}  exposure {:.2}",
        pnl.total, status.run.currency, pnl.realised, pnl.unrealised, pnl.fees, pnl.exposure
    );
    let _ = writeln!(
        out,
        "orders {} alive  {} sent  {} acked  {} partly  {} filled  {} cancelled  {} rejected  {} \
         UNKNOWN  {} refused",
        counts.orders_alive,
        grouped(counts.orders_sent),
        grouped(counts.orders_acked),
        grouped(counts.orders_partly_filled),
        grouped(counts.orders_filled),
        grouped(counts.orders_cancelled),
        grouped(counts.orders_rejected),
        counts.orders_unknown,
        grouped(counts.refused)
    );
    let _ = writeln!(
        out,
        "frames {} ({}/s)  checksums {} failed of {}  sequence gaps {}  conflated {}  log missed {}  \
         taps dropped {}",
        grouped(counts.frames),
        grouped(counts.frames_per_s),
        counts.crc_failed,
        grouped(counts.crc_checked),
        counts.seq_gaps,
        grouped(counts.conflated),
        counts.log_missed,
        counts.tap_dropped
    );
    let mut limits: Vec<_> = status.limits.iter().collect();
    limits.sort_by(|a, b| share_of(b).total_cmp(&share_of(a)));
    let rows: Vec<Vec<String>> = limits
        .iter()
        .take(LIST_MAX)
        .map(|row| {
            let share = share_of(row);
            let filled = (share.clamp(0.0, 1.0) * 20.0).round() as usize;
            vec![
                row.name.clone(),
                if row.symbol.is_empty() { "all" } else { &row.symbol }.to_owned(),
                format!("{:.2}", row.used),
                format!("{:.2}", row.max),
                row.unit.clone(),
                format!("{:.0} %{}", share * 100.0, if row.objects { " !" } else { "" }),
                format!("{}{}", "#".repeat(filled), ".".repeat(20 - filled)),
            ]
        })
        .collect();
    table(out, &["limit", "of", "used", "most", "", "share", ""], 2, &rows);
}

fn symbols(status: &Status, out: &mut String) {
    let rows: Vec<Vec<String>> = status
        .symbols
        .iter()
        .take(4 * LIST_MAX)
        .map(|row| {
            let agree = match (row.is_frozen, row.matches_venue) {
                (true, _) => "FROZEN",
                (false, true) => "yes",
                (false, false) => "NO",
            };
            vec![
                row.name.clone(),
                row.book.clone(),
                row.regime.clone(),
                row.age_ms.map_or("–".to_owned(), age),
                number(row.bid),
                number(row.ask),
                row.spread_bps.map_or("–".to_owned(), |bps| format!("{bps:.2}")),
                ms(row.ws_gap_ms.window.p99),
                row.unsynced_count.to_string(),
                row.position.to_string(),
                number(row.venue_position),
                agree.to_owned(),
                format!("{:+.2}", row.realised + row.unrealised),
            ]
        })
        .collect();
    title(out, "SYMBOLS");
    let head = [
        "symbol", "book", "regime", "age", "bid", "ask", "bps", "gap p99", "lost", "engine",
        "venue", "agree", "pnl",
    ];
    table(out, &head, 3, &rows);
}

fn orders(status: &Status, out: &mut String) {
    let rows: Vec<Vec<String>> = status
        .orders
        .iter()
        .take(LIST_MAX)
        .map(|row| {
            vec![
                row.symbol.clone(),
                row.side.clone(),
                row.state.clone(),
                row.cid.to_string(),
                format!("{} of {}", row.remaining, row.original),
                row.px.to_string(),
                age(row.age_ms),
            ]
        })
        .collect();
    if !rows.is_empty() {
        title(out, &format!("OPEN ORDERS ({})", status.orders.len()));
        table(out, &["symbol", "side", "state", "cid", "left", "price", "age"], 3, &rows);
    }
}

fn latency(status: &Status, out: &mut String) {
    let row = |name: &str, spread: &Spread, to_ns: f64, busy: Option<f64>| {
        let scaled = |value: Option<f64>| span_ns(value.map(|value| value * to_ns));
        let Percentiles { p50, p95, p99, max, .. } = spread.window;
        vec![
            name.to_owned(),
            grouped(spread.total.count),
            scaled(p50),
            scaled(p95),
            scaled(p99),
            scaled(max),
            busy.map_or(String::new(), |share| format!("{:.0} %", share * 100.0)),
        ]
    };
    let stages = status.stages.iter();
    let mut rows: Vec<Vec<String>> =
        stages.map(|stage| row(&stage.name, &stage.latency_ns, 1.0, Some(stage.busy))).collect();
    let trip = &status.order_roundtrip_ms;
    rows.push(row("frame to bytes (t1)", &status.t1_ns, 1.0, None));
    rows.push(row("frame to write (t2)", &status.t2_ns, 1.0, None));
    rows.push(row("write to answer", &trip.ack, 1e6, None));
    rows.push(row("write to first fill", &trip.first_fill, 1e6, None));
    rows.push(row("between frames", &status.ws_gap_ms, 1e6, None));
    title(out, "LATENCY, LAST MINUTE");
    table(out, &["stage", "orders", "p50", "p95", "p99", "max", "busy"], 1, &rows);
}

fn machine(status: &Status, out: &mut String) {
    title(out, "THREADS, RINGS, MACHINE");
    let rows: Vec<Vec<String>> = status
        .threads
        .iter()
        .map(|row| {
            let all = row.busy_s + row.idle_s + row.blocked_s;
            let busy = if all > 0.0 { 100.0 * row.busy_s / all } else { 0.0 };
            vec![
                row.name.clone(),
                row.state.clone(),
                row.core.map_or("float".to_owned(), |core| core.to_string()),
                age(row.heartbeat_age_ms),
                format!("{busy:.0} %"),
                row.allocs_after_seal.to_string(),
                row.faults_after_seal.to_string(),
            ]
        })
        .collect();
    table(out, &["thread", "state", "core", "beat", "busy", "allocs", "faults"], 2, &rows);
    let rings: Vec<String> = status
        .rings
        .iter()
        .map(|row| format!("{} {}/{}", row.name, row.used_max, row.depth))
        .collect();
    let _ = writeln!(out, "rings used at most: {}", rings.join("  "));
    let host = &status.host;
    let slope =
        host.rss_mib_per_h.map_or(String::new(), |slope| format!(" ({slope:+.1} MiB an hour)"));
    let _ = writeln!(
        out,
        "late wake-ups p99 {} max {}  clock stepped at most {:.0} ms  memory {:.0} MiB{slope}  {} \
         descriptors  {} threads  disk free {} MiB",
        ms(host.hiccup_ms.window.p99),
        ms(host.hiccup_ms.window.max),
        host.clock_step_ms_max,
        host.rss_mib,
        host.fds,
        host.threads,
        host.disk_free_mib.map_or("–".to_owned(), grouped)
    );
}

fn rest(status: &Status, out: &mut String) {
    let rest = &status.rest;
    title(out, "REST");
    let _ = writeln!(
        out,
        "{} calls  {} failed  {} retries  {} rate limit hits  breaker opened {}{}  nonce recoveries \
         {}  reconciles {}",
        grouped(rest.calls),
        rest.failures,
        rest.retry_count,
        rest.rate_limit_hits,
        rest.circuit_open_count,
        if rest.circuit_open { " OPEN NOW" } else { "" },
        rest.nonce_recoveries,
        rest.reconciles
    );
    let rows: Vec<Vec<String>> = rest
        .endpoints
        .iter()
        .take(LIST_MAX)
        .map(|row| {
            vec![
                row.name.clone(),
                grouped(row.calls),
                row.failures.to_string(),
                ms(row.latency_ms.p50),
                ms(row.latency_ms.max),
                row.last_status.to_string(),
                row.retry_after_s.map_or("–".to_owned(), |s| format!("{s} s")),
            ]
        })
        .collect();
    table(out, &["endpoint", "calls", "failed", "p50", "max", "last", "retry after"], 1, &rows);
}

fn links(status: &Status, out: &mut String) {
    title(out, "SOCKETS");
    let rows: Vec<String> = status
        .links
        .iter()
        .map(|row| format!("{} {} ({} reconnects)", row.name, row.state, row.reconnects))
        .collect();
    let _ = writeln!(out, "{}", rows.join("  "));
    for row in status.reconnects.iter().take(4) {
        let _ = writeln!(out, "{} {} {}", clock(&row.at), row.link, row.what);
    }
}

fn guards(status: &Status, out: &mut String) {
    let mut rows: Vec<_> =
        status.guards.iter().filter(|row| row.blocked + row.shadowed > 0).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.blocked + row.shadowed));
    if rows.is_empty() {
        return;
    }
    title(out, "GUARDS THAT REFUSED");
    let words: Vec<String> = rows
        .iter()
        .take(LIST_MAX)
        .map(|row| match row.shadowed {
            0 => format!("{} {}", row.name, grouped(row.blocked)),
            n => format!("{} {} (shadow {})", row.name, grouped(row.blocked), grouped(n)),
        })
        .collect();
    let _ = writeln!(out, "{}", words.join("  "));
}

fn incidents(status: &Status, out: &mut String) {
    if status.incidents.is_empty() {
        return;
    }
    title(out, "WATCHDOG");
    for row in status.incidents.iter().take(4) {
        let _ = writeln!(out, "{} {}: {} ({})", clock(&row.at), row.what, row.text, row.action);
    }
}

fn fills(status: &Status, out: &mut String) {
    if status.fills.is_empty() {
        return;
    }
    title(out, "NEWEST FILLS");
    for row in status.fills.iter().take(4) {
        let at = clock(&row.at);
        let _ = writeln!(out, "{at} {} {} {} at {}", row.symbol, row.side, row.qty, row.px);
    }
}

fn log(status: &Status, out: &mut String) {
    if status.log.is_empty() {
        return;
    }
    title(out, "LOG");
    let skip = status.log.len().saturating_sub(LIST_MAX);
    for line in &status.log[skip..] {
        let _ = writeln!(out, "{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::status::{AlertRow, LinkStatus, RingStatus, SymbolStatus};

    fn told() -> Status {
        let mut status = Status { at: "2026-01-02T03:04:05.678Z".to_owned(), ..Status::default() };
        status.state.rank = "halted".to_owned();
        status.state.rank_level = 4;
        status.state.reason = "killed by the operator: drill".to_owned();
        let symbol = |name: &str, is_frozen: bool| SymbolStatus {
            name: name.to_owned(),
            book: "synced".to_owned(),
            bid: Some(100.5),
            matches_venue: !is_frozen,
            is_frozen,
            ..SymbolStatus::default()
        };
        status.symbols = vec![symbol("tBTCUSD", false), symbol("tETHUSD", true)];
        let limit = |name: &str, used| LimitRow {
            name: name.to_owned(),
            used,
            max: 100.0,
            ..LimitRow::default()
        };
        status.limits = vec![limit("risk.small", 1.0), limit("risk.large", 90.0)];
        status.rings = vec![RingStatus { name: "parse_signal".into(), depth: 1024, used_max: 7 }];
        status.links =
            vec![LinkStatus { name: "account".into(), state: "down".into(), ..Default::default() }];
        status.alerts.active = vec![AlertRow {
            name: "killed".to_owned(),
            severity: "critical".to_owned(),
            runbook: "RUNBOOK.md#killed".to_owned(),
            ..AlertRow::default()
        }];
        status
    }

    #[test]
    fn the_worst_stands_first_and_every_panel_is_there() {
        let text = frame(&told(), 200);
        assert!(text.starts_with("[HALTED] killed by the operator: drill\n"), "{text}");
        let place = |words: &str| text.find(words).unwrap_or_else(|| panic!("{words} in\n{text}"));
        assert!(place("RUNBOOK.md#killed") < place("MONEY"));
        assert!(place("risk.large") < place("risk.small"), "the fullest limit first");
        assert!(text.contains("90 %  ##################.."), "{text}");
        assert!(text.contains("parse_signal 7/1024") && text.contains("account down"));
        let eth = text.lines().find(|line| line.starts_with("tETHUSD")).unwrap();
        assert!(eth.contains("FROZEN"), "{eth}");
        assert!(!text.contains("OPEN ORDERS") && !text.contains("WATCHDOG"), "nothing to say");
    }

    #[test]
    fn a_narrow_terminal_cuts_lines_and_never_wraps() {
        let text = frame(&told(), 40);
        assert!(text.lines().all(|line| line.chars().count() <= 40), "{text}");
        assert_eq!(text.lines().count(), frame(&told(), 200).lines().count());
    }

    #[test]
    fn ages_have_the_digits_that_matter() {
        assert_eq!((age(1_540), age(61_000)), ("1.5 s".to_owned(), "61 s".to_owned()));
    }
}
