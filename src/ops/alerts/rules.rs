//! From statuses to alerts that are raised and cleared. Pure: the time is the status's.

use super::{AlertConfig, AlertKind};
use crate::ops::status::{AlertRow, Status};
use std::collections::{BTreeMap, VecDeque};

/// Span in which reconnects are counted, ms.
const RECONNECT_SPAN_MS: i64 = 300_000;
/// How long an alert of a moment (a counter that moved) stands, ms.
const MOMENT_MS: i64 = 30_000;
/// How long nothing counts after the start, ms: books and account are still being fetched.
const START_MS: i64 = 10_000;
/// Orders that must have been answered before a percentile is believed.
const ROUNDTRIPS_MIN: u64 = 20;
/// Of fewer orders the p99 is the slowest one; a single one is no trend, so the p95 is asked then.
const ROUNDTRIPS_OF_P99: u64 = 100;
const DAY_MS: i64 = 86_400_000;

/// Raised or cleared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub kind: AlertKind,
    /// What it is about; empty where there is only one.
    pub subject: String,
    pub text: String,
    /// False: it is over.
    pub is_raised: bool,
    pub at_ms: i64,
}

struct Standing {
    text: String,
    since: String,
    since_ms: i64,
    /// Not seen since.
    last_ms: i64,
    /// For alerts of a moment: stands until then.
    until_ms: i64,
    is_told: bool,
}

/// Remembers what stands.
pub struct Rules {
    config: AlertConfig,
    standing: BTreeMap<(AlertKind, String), Standing>,
    /// When an alert last cleared.
    cleared: BTreeMap<(AlertKind, String), i64>,
    before: Option<Before>,
    /// Since when something that takes its time has been so.
    since: BTreeMap<(AlertKind, String), i64>,
    reconnects: VecDeque<(i64, u64)>,
    first_ms: Option<i64>,
    fill_ms: i64,
    day: i64,
    raised: u64,
}

/// Counters of the status before.
struct Before {
    rank_level: u8,
    rate_limit_hits: u64,
    nonce_recoveries: u64,
    log_missed: u64,
    journal_failures: u64,
    fills: u64,
    incidents_at: String,
    clock_step_ms: f64,
    failed: u64,
    /// Blocked, and trips.
    guards: BTreeMap<String, (u64, u32)>,
}

impl Rules {
    pub fn new(config: AlertConfig) -> Rules {
        Rules {
            config,
            standing: BTreeMap::new(),
            cleared: BTreeMap::new(),
            before: None,
            since: BTreeMap::new(),
            reconnects: VecDeque::new(),
            first_ms: None,
            fill_ms: 0,
            day: 0,
            raised: 0,
        }
    }

    /// What stands now.
    pub fn active(&self) -> Vec<AlertRow> {
        let told = self.standing.iter().filter(|(_, standing)| standing.is_told);
        let mut rows: Vec<AlertRow> = told
            .map(|((kind, subject), standing)| AlertRow {
                name: kind.name().to_owned(),
                severity: kind.severity().name().to_owned(),
                subject: subject.clone(),
                text: standing.text.clone(),
                since: standing.since.clone(),
                runbook: kind.runbook(),
            })
            .collect();
        // What is worst stands first.
        rows.sort_by(|a, b| a.severity.cmp(&b.severity));
        rows
    }
    pub fn raised(&self) -> u64 {
        self.raised
    }

    /// Looks at one status; what has changed is told.
    pub fn look(&mut self, status: &Status) -> Vec<Finding> {
        let now = status.at_ms;
        let first = *self.first_ms.get_or_insert(now);
        if self.before.is_none() {
            self.fill_ms = now;
            self.day = now.div_euclid(DAY_MS);
        }
        let mut found: Vec<(AlertKind, String, String, bool)> = Vec::new();
        self.states(status, now - first < START_MS, &mut found);
        self.moments(status, &mut found);
        let mut told = Vec::new();
        for (kind, subject, text, is_moment) in found {
            self.stands(kind, subject, text, is_moment, status, &mut told);
        }
        self.clear(now, &mut told);
        self.summary(status, &mut told);
        self.before = Some(before(status));
        told
    }

    /// True once `is_so` has held for `after_ms`.
    fn lasts(
        &mut self,
        kind: AlertKind,
        subject: &str,
        is_so: bool,
        after_ms: i64,
        now: i64,
    ) -> bool {
        let key = (kind, subject.to_owned());
        if !is_so {
            self.since.remove(&key);
            return false;
        }
        now - *self.since.entry(key).or_insert(now) >= after_ms
    }

    /// What is so now.
    fn states(
        &mut self,
        status: &Status,
        is_starting: bool,
        found: &mut Vec<(AlertKind, String, String, bool)>,
    ) {
        let now = status.at_ms;
        let ms = |span: std::time::Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        let mut say = |kind, subject: &str, text: String| {
            found.push((kind, subject.to_owned(), text, false));
        };
        let state = &status.state;
        if state.rank_level >= 4 {
            let text = format!("killed or halted: {}", words(&state.reason));
            say(AlertKind::Killed, "", text);
        }
        if state.is_halted {
            let text = "the front could not deliver events in time and has stopped".to_owned();
            say(AlertKind::Halted, "", text);
        }
        let orders = status.counts.orders_unknown;
        if orders > 0 {
            let frozen: Vec<&str> =
                status.symbols.iter().filter(|row| row.is_frozen).map(|row| &*row.name).collect();
            let text = format!("{orders} orders of unknown fate; frozen: {}", frozen.join(", "));
            say(AlertKind::UnknownOrder, "", text);
        }
        let roundtrip = &status.order_roundtrip_ms.ack.window;
        let bound = ms(self.config.order_roundtrip_p99_max) as f64;
        let (name, slow) = match roundtrip.count {
            0..ROUNDTRIPS_MIN => ("", None),
            ROUNDTRIPS_MIN..ROUNDTRIPS_OF_P99 => ("p95", roundtrip.p95),
            _ => ("p99", roundtrip.p99),
        };
        if let Some(slow) = slow.filter(|slow| *slow > bound) {
            say(AlertKind::SlowOrders, "", format!("{name} {slow:.0} ms, bound {bound:.0} ms"));
        }
        if status.rest.circuit_open {
            let text = "REST is not asked until it answers again".to_owned();
            say(AlertKind::BreakerOpen, "", text);
        }
        if let Some(free) = status.host.disk_free_mib
            && free < self.config.disk_free_mib_min
        {
            say(AlertKind::DiskLow, "", format!("{free} MiB are free"));
        }
        if let Some(slope) = status.host.rss_mib_per_h
            && slope > self.config.rss_mib_per_h_max as f64
        {
            say(AlertKind::MemorySlope, "", format!("{slope:.0} MiB an hour"));
        }
        for row in &status.symbols {
            if row.flatten_stuck {
                let text = format!("{} left", row.position);
                say(AlertKind::FlattenStuck, &row.name, text);
            }
            if row.is_naked {
                let covered = row.protected.unwrap_or(0.0);
                let text = format!("{} held, {covered} of it protected", row.position);
                say(AlertKind::NakedPosition, &row.name, text);
            }
            if !row.matches_venue {
                let venue = row.venue_position.map_or("nothing".to_owned(), |qty| qty.to_string());
                let text = format!("our fills say {}, the venue says {venue}", row.position);
                say(AlertKind::PositionMismatch, &row.name, text);
            }
        }
        if is_starting || state.is_stopping {
            return;
        }
        let after = ms(self.config.unsynced_after);
        let mut lasting = Vec::new();
        for row in &status.symbols {
            if self.lasts(AlertKind::BookNotTradable, &row.name, row.book != "synced", after, now) {
                let text = format!("its book is {}", row.book);
                lasting.push((AlertKind::BookNotTradable, row.name.clone(), text, false));
            }
        }
        for row in &status.links {
            if self.lasts(AlertKind::LinkDown, &row.name, !row.is_up, after, now) {
                lasting.push((AlertKind::LinkDown, row.name.clone(), row.state.clone(), false));
            }
        }
        if self.before.as_ref().is_some_and(|before| status.counts.fills > before.fills) {
            self.fill_ms = now;
        }
        let no_trades = ms(self.config.no_trades_after);
        if no_trades > 0 && state.rank_level == 0 && now - self.fill_ms >= no_trades {
            let top = status.guards.iter().max_by_key(|guard| guard.blocked);
            let why = match top {
                Some(guard) if guard.blocked > 0 => {
                    format!("most refused by {}, {} times", guard.name, guard.blocked)
                }
                _ if status.counts.intents == 0 => "the strategies want nothing".to_owned(),
                _ => "nothing was refused".to_owned(),
            };
            let text = format!("no fill for {} s; {why}", (now - self.fill_ms) / 1_000);
            lasting.push((AlertKind::NoTrades, String::new(), text, false));
        }
        self.reconnects.push_back((now, status.counts.reconnects));
        while self.reconnects.front().is_some_and(|(at, _)| now - at > RECONNECT_SPAN_MS) {
            self.reconnects.pop_front();
        }
        let oldest = self.reconnects.front().map_or(0, |(_, count)| *count);
        let recent = status.counts.reconnects.saturating_sub(oldest);
        if recent >= self.config.reconnects_max {
            let text = format!("{recent} reconnects within five minutes");
            lasting.push((AlertKind::ReconnectLoop, String::new(), text, false));
        }
        found.append(&mut lasting);
    }

    /// What has happened since the status before.
    fn moments(&self, status: &Status, found: &mut Vec<(AlertKind, String, String, bool)>) {
        let Some(before) = &self.before else { return };
        let mut say = |kind, subject: &str, text: String| {
            found.push((kind, subject.to_owned(), text, true));
        };
        let state = &status.state;
        let by_person = state.reason.contains(" by the operator");
        if state.rank_level > before.rank_level && !state.is_stopping && state.ready && !by_person {
            let text = format!("now {}: {}", state.rank, words(&state.reason));
            say(AlertKind::GuardTrip, "", text);
        }
        for guard in &status.guards {
            let (old, trips) = before.guards.get(&guard.name).copied().unwrap_or((0, 0));
            // A shadow's trip is a number; one that closes entries is news each time.
            if guard.trips > trips && guard.mode == "on" {
                let text = format!("tripped, {} times so far", guard.trips);
                say(AlertKind::GuardTrip, &guard.name, text);
                continue;
            }
            // The first refusal of a guard is news; its daily work is a number on the dashboard.
            if guard.blocked > 0 && old == 0 && !is_routine(&guard.name) {
                let text = format!("refused {} so far", guard.blocked);
                say(AlertKind::GuardTrip, &guard.name, text);
            }
        }
        let rest = &status.rest;
        if rest.rate_limit_hits > before.rate_limit_hits {
            let text = format!("{} refusals so far", rest.rate_limit_hits);
            say(AlertKind::RateLimited, "", text);
        }
        if rest.nonce_recoveries > before.nonce_recoveries {
            let text = format!("{} so far", rest.nonce_recoveries);
            say(AlertKind::NonceRecovery, "", text);
        }
        if status.counts.log_missed > before.log_missed {
            let text = format!("{} events are missing", status.counts.log_missed);
            say(AlertKind::RingDrops, "", text);
        }
        if status.counts.journal_failures > before.journal_failures {
            let text = format!("{} failures", status.counts.journal_failures);
            say(AlertKind::JournalFailed, "", text);
        }
        let step = status.host.clock_step_ms;
        let bound = self.config.clock_step_max.as_millis() as f64;
        if step.abs() > bound && (step - before.clock_step_ms).abs() > f64::EPSILON {
            say(AlertKind::ClockStep, "", format!("by {step:.0} ms"));
        }
        if let Some(newest) = status.incidents.first()
            && newest.at != before.incidents_at
        {
            let text = format!("{}; {}", newest.text, newest.action);
            say(AlertKind::Watchdog, &newest.what, text);
        }
        if status.alerts.failed > before.failed {
            let text = format!("{} notices were given up", status.alerts.failed);
            say(AlertKind::AlertChannelDown, "", text);
        }
    }

    fn stands(
        &mut self,
        kind: AlertKind,
        subject: String,
        text: String,
        is_moment: bool,
        status: &Status,
        told: &mut Vec<Finding>,
    ) {
        if self.config.off.contains(&kind) {
            return;
        }
        let now = status.at_ms;
        let key = (kind, subject.clone());
        let until_ms = if is_moment { now + MOMENT_MS } else { now };
        if let Some(standing) = self.standing.get_mut(&key) {
            standing.text = text;
            standing.last_ms = now;
            standing.until_ms = until_ms;
            return;
        }
        let hold_off = i64::try_from(self.config.hold_off.as_millis()).unwrap_or(i64::MAX);
        let is_told = self.cleared.get(&key).is_none_or(|at| now - at >= hold_off);
        let since = status.at.clone();
        let standing =
            Standing { text: text.clone(), since, since_ms: now, last_ms: now, until_ms, is_told };
        self.standing.insert(key, standing);
        if is_told {
            self.raised += 1;
            told.push(Finding { kind, subject, text, is_raised: true, at_ms: now });
        }
    }

    /// Ends what is no longer so, and tells what came back within its hold-off and stays.
    fn clear(&mut self, now: i64, told: &mut Vec<Finding>) {
        let hold_off = i64::try_from(self.config.hold_off.as_millis()).unwrap_or(i64::MAX);
        let over: Vec<(AlertKind, String)> = self
            .standing
            .iter()
            .filter(|(_, standing)| standing.last_ms < now && standing.until_ms < now)
            .map(|(key, _)| key.clone())
            .collect();
        for key in over {
            let Some(standing) = self.standing.remove(&key) else { continue };
            if standing.is_told {
                let (kind, subject) = key.clone();
                let text = format!("over after {} s", (now - standing.since_ms) / 1_000);
                told.push(Finding { kind, subject, text, is_raised: false, at_ms: now });
                self.cleared.insert(key, now);
            }
        }
        for ((kind, subject), standing) in &mut self.standing {
            if !standing.is_told && now - standing.since_ms >= hold_off {
                standing.is_told = true;
                self.raised += 1;
                let (subject, text) = (subject.clone(), standing.text.clone());
                told.push(Finding { kind: *kind, subject, text, is_raised: true, at_ms: now });
            }
        }
    }

    fn summary(&mut self, status: &Status, told: &mut Vec<Finding>) {
        let day = status.at_ms.div_euclid(DAY_MS);
        if day == self.day {
            return;
        }
        self.day = day;
        if self.config.off.contains(&AlertKind::DailySummary) {
            return;
        }
        let c = &status.counts;
        let text = format!(
            "since the start: {} orders, {} fills, {} refused, pnl {:.2} {}, fees {:.2}, {} \
             reconnects",
            c.orders_sent,
            c.fills,
            c.refused,
            status.pnl.total,
            status.run.currency,
            status.pnl.fees,
            c.reconnects
        );
        let subject = String::new();
        let kind = AlertKind::DailySummary;
        told.push(Finding { kind, subject, text, is_raised: true, at_ms: status.at_ms });
    }
}

/// Guards that refuse in the course of every run: at start, in the middle of a change, for sizes.
fn is_routine(guard: &str) -> bool {
    matches!(guard, "not_ready" | "rank" | "below_minimum_size" | "nothing_held" | "book_unsynced")
}

fn words(reason: &str) -> &str {
    if reason.is_empty() { "no reason was given" } else { reason }
}

fn before(status: &Status) -> Before {
    Before {
        rank_level: status.state.rank_level,
        rate_limit_hits: status.rest.rate_limit_hits,
        nonce_recoveries: status.rest.nonce_recoveries,
        log_missed: status.counts.log_missed,
        journal_failures: status.counts.journal_failures,
        fills: status.counts.fills,
        incidents_at: status.incidents.first().map_or_else(String::new, |row| row.at.clone()),
        clock_step_ms: status.host.clock_step_ms,
        failed: status.alerts.failed,
        guards: status
            .guards
            .iter()
            .map(|row| (row.name.clone(), (row.blocked, row.trips)))
            .collect(),
    }
}
