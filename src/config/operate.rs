//! Sections about operating a run: dashboard, metrics, alerts, watchdog. What they fill are the
//! structs of `ops`.

use super::reader::{Scope, key};
use crate::ops::alerts::{ALERTS, AlertConfig, AlertKind};
use crate::ops::metrics::export::MetricGroups;
use crate::ops::watchdog::{OnHang, OnJournal, WatchdogConfig};
use std::time::Duration;

/// The control port. `ops::http` takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DashboardSection {
    pub enabled: bool,
    /// On loopback; 0 = any free one.
    pub port: u16,
    pub hosts: Vec<String>,
    pub push_ms: u64,
    pub connections_max: usize,
    pub followers_max: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricsSection {
    pub open: bool,
    pub groups: MetricGroups,
}

pub(super) fn read_dashboard(root: &mut Scope<'_, '_>) -> DashboardSection {
    let mut s = root.section(
        "dashboard",
        "The control port on loopback: dashboard, status, metrics, commands. Tokens are in files \
         of the run directory that only its owner can read.",
    );
    let section = DashboardSection {
        enabled: s.flag(
            key("enabled", "", "Serve it. The address is said at start; off: no port is open."),
            true,
        ),
        port: s.int(
            key(
                "port",
                "",
                "Loopback port, 0 = any free one. Write one for Prometheus or a fixed tunnel.",
            ),
            0,
            0..=65_535,
        ) as u16,
        hosts: s.list(
            key(
                "hosts",
                "",
                "Names beside localhost under which a proxy may ask. Others are refused: a page \
                 of somebody else could have its name point here.",
            ),
            &[],
            "host names without port",
        ),
        push_ms: s.int(
            key(
                "push_ms",
                "ms",
                "Between two pictures. Twice a second is current; each costs a cold thread some \
                 hundred µs.",
            ),
            500,
            250..=10_000,
        ) as u64,
        connections_max: s.int(
            key("connections_max", "connections", "Open at once; more are turned away."),
            64,
            4..=1_024,
        ) as usize,
        followers_max: s.int(
            key("followers_max", "connections", "Open dashboards at once."),
            8,
            1..=64,
        ) as usize,
    };
    s.finish();
    section
}

pub(super) fn read_metrics(root: &mut Scope<'_, '_>) -> MetricsSection {
    let mut s = root.section(
        "metrics",
        "What /metrics tells Prometheus. Groups can be left out to keep a small one small; the \
         status and the dashboard always have everything.",
    );
    let open = s.flag(
        key(
            "open",
            "",
            "Serve /metrics without a token, still on loopback only. Off: Prometheus needs the \
             file token.read of the run directory.",
        ),
        false,
    );
    let mut group = |name, about| s.flag(key(name, "", about), true);
    let groups = MetricGroups {
        latency: group("latency", "Order round trips, gaps, stages: the histograms."),
        symbols: group("books", "Book health and position of each symbol, up to 64 of them."),
        threads: group("threads", "Time, heartbeat and faults of threads; rings; sockets."),
        rest: group("rest", "REST calls by endpoint, retries, rate limits, breakers."),
        guards: group("guards", "What each guard blocked or would have blocked."),
        host: group("host", "Hiccups, memory, disk and clock of the machine."),
    };
    s.finish();
    MetricsSection { open, groups }
}

pub(super) fn read_alerts(root: &mut Scope<'_, '_>) -> AlertConfig {
    let plain = AlertConfig::default();
    let mut s = root.section(
        "alerts",
        "What is told to people, and where. Every alert goes to the log; RUNBOOK.md has a section \
         for each. Addresses with secrets stand in files, never here.",
    );
    let any = |_: &str| Ok(());
    let enabled = s.flag(key("enabled", "", "Watch for the alerts below."), true);
    let webhook_url_file = s.text(
        key(
            "webhook_url_file",
            "",
            "File whose first line is the address that gets each alert as JSON by POST. Empty: \
             none. A file, because such addresses are secrets.",
        ),
        "",
        "a file or empty",
        any,
    );
    let telegram_url_file = s.text(
        key(
            "telegram_url_file",
            "",
            "File whose first line is the sendMessage address of a Telegram bot, with its token. \
             Empty: none.",
        ),
        "",
        "a file or empty",
        any,
    );
    let telegram_chat = s.text(
        key("telegram_chat", "", "The chat that bot writes to."),
        "",
        "a chat id or empty",
        any,
    );
    if !telegram_url_file.is_empty() && telegram_chat.is_empty() {
        s.refuse("telegram_chat", "\"\"", "a chat id", "the bot has to know whom to tell");
    }
    let mut ms = |name, about, default: Duration, range| {
        let default = default.as_millis() as i64;
        Duration::from_millis(s.int(key(name, "ms", about), default, range) as u64)
    };
    let hold_off = ms(
        "hold_off_ms",
        "An alert that cleared is not told again before this has passed: a flapping socket is one \
         story.",
        plain.hold_off,
        0..=86_400_000,
    );
    let roundtrip = ms(
        "order_roundtrip_p99_ms",
        "Bound of the p99 of order round trips in the last minute; with fewer than 100 orders, of the \
         p95.",
        plain.order_roundtrip_p99_max,
        1..=600_000,
    );
    let no_trades = ms(
        "no_trades_ms",
        "No own fill for this long while running counts as an alert, with the top refusal reason. \
         0 = never: many strategies trade rarely.",
        plain.no_trades_after,
        0..=604_800_000,
    );
    let unsynced = ms(
        "unsynced_ms",
        "A book that is not tradable is told after this long.",
        plain.unsynced_after,
        0..=3_600_000,
    );
    let clock_step = ms(
        "clock_step_ms",
        "A step of the wall clock above this is told.",
        plain.clock_step_max,
        1..=3_600_000,
    );
    let reconnects_max = s.int(
        key("reconnects_max", "reconnects", "So many within five minutes are a loop."),
        plain.reconnects_max as i64,
        2..=1_000,
    ) as u64;
    let disk_free_mib_min = s.int(
        key("disk_free_mib_min", "MiB", "Less free space than this is told."),
        plain.disk_free_mib_min as i64,
        1..=1_048_576,
    ) as u64;
    let rss_mib_per_h_max = s.int(
        key("memory_slope_mib", "MiB", "Growth an hour above this is told; it needs half an hour."),
        plain.rss_mib_per_h_max as i64,
        1..=1_048_576,
    ) as u64;
    let mut switches = s.section("on", "Each alert can be switched off.");
    let mut off: Vec<AlertKind> = Vec::new();
    for kind in ALERTS {
        if !switches.flag(key(kind.name(), "", kind.about()), true) {
            off.push(kind);
        }
    }
    switches.finish();
    s.finish();
    AlertConfig {
        enabled,
        webhook_url_file,
        telegram_url_file,
        telegram_chat,
        hold_off,
        order_roundtrip_p99_max: roundtrip,
        no_trades_after: no_trades,
        unsynced_after: unsynced,
        clock_step_max: clock_step,
        reconnects_max,
        disk_free_mib_min,
        rss_mib_per_h_max,
        off,
    }
}

pub(super) fn read_watchdog(root: &mut Scope<'_, '_>) -> WatchdogConfig {
    let plain = WatchdogConfig::default();
    let mut s = root.section(
        "watchdog",
        "A cold thread that looks whether the others live. It can only forbid: it raises the \
         latch, and ends the run for the supervisor to start it again.",
    );
    let enabled = s.flag(key("enabled", "", "Watch at all."), true);
    let mut ms = |name, about, default: Duration| {
        let default = default.as_millis() as i64;
        Duration::from_millis(s.int(key(name, "ms", about), default, 50..=600_000) as u64)
    };
    let hang_after = ms(
        "hang_ms",
        "A hot thread whose rounds stand still this long is an incident. Rounds last microseconds; \
         a second is a wedge or a starved machine.",
        plain.hang_after,
    );
    let act_after = ms("act_ms", "And after this long what on_hang says is done.", plain.act_after);
    let data_after = ms(
        "data_ms",
        "No frame of any market socket for this long blocks entries until frames come again. The \
         sockets themselves are renewed sooner, see channels.silence_ms.",
        plain.data_after,
    );
    let on_hang = s.choice(
        key(
            "on_hang",
            "",
            "halt: latch, then end with exit code 5, so that the supervisor starts it again. \
             block_entries: latch only. tell: an incident and an alert.",
        ),
        plain.on_hang,
        &[("halt", OnHang::Halt), ("block_entries", OnHang::BlockEntries), ("tell", OnHang::Tell)],
    );
    let on_journal = s.choice(
        key(
            "on_journal",
            "",
            "A full or broken disk. cancel_only: latch, so that only cancels leave until a person \
             resets; what is counted goes on. tell: an incident and an alert; orders are still \
             recorded ahead in memory.",
        ),
        plain.on_journal,
        &[("cancel_only", OnJournal::CancelOnly), ("tell", OnJournal::Tell)],
    );
    let mut flag = |name, about| s.flag(key(name, "", about), true);
    let watch_threads = flag("threads", "Watch the heartbeats of hot threads and of the main one.");
    let watch_data = flag("data", "Watch the flow of market data.");
    let watch_journal = flag("journal", "Watch that the journal's writes succeed.");
    let watch_clock = flag("clock", "Watch for steps of the wall clock.");
    s.finish();
    WatchdogConfig {
        enabled,
        hang_after,
        act_after,
        data_after,
        on_hang,
        on_journal,
        watch_threads,
        watch_data,
        watch_journal,
        watch_clock,
        clock_step_max: plain.clock_step_max,
    }
}
