//! What a run's stages counted, put into the report.

use super::assemble::utc_text;
use super::request::{Ending, hash_text};
use super::watch::{Watch, currency_of};
use crate::base::ids::SymbolId;
use crate::base::time::WallNs;
use crate::base::units::Qty;
use crate::config::{Config, OnStop};
use crate::engine::orders::OrderState;
use crate::engine::risk::Guard;
use crate::model::{Instrument, SendOutcome};
use crate::ops::metrics::Percentiles;
use crate::ops::report::{
    BookCrc, Build, Ending as EndingReport, Latency, Money, OrderCounts, PositionReport, Report,
    RoundTrip, ThreadReport, TopologyReport,
};
use crate::ops::rundir::RunDir;
use crate::runtime::engine::Stopped;
use crate::runtime::topology::Topology;
use crate::venue::public::PublicCounters;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;

/// What is known at the end of a run.
pub(super) struct Facts<'a> {
    pub config: &'a Config,
    pub watch: &'a Watch,
    pub stopped: &'a Stopped,
    pub instruments: &'a [Instrument],
    pub topology: &'a Topology,
    pub run_dir: &'a RunDir,
    pub started_at: WallNs,
    pub elapsed_s: f64,
    pub ending: &'a Ending,
    /// By reason.
    pub rest_calls: &'a BTreeMap<String, u64>,
}

pub(super) fn report(facts: &Facts) -> Report {
    let Facts { config, stopped, instruments, .. } = *facts;
    let account = stopped.risk.stage.snapshot();
    let orders = order_counts(facts);
    let positions = positions(facts);
    let line = &stopped.parse.line;
    let public = sum(line.publics().map(|session| *session.counters()));
    let mouth = line.mouth().counters();
    let stats: Vec<_> = stopped.threads.iter().map(|thread| thread.stats).collect();
    Report {
        environment: config.environment.name().to_owned(),
        build: Build::current(),
        config_hash: config.hash(),
        run: facts.run_dir.id(),
        run_dir: facts.run_dir.path().display().to_string(),
        started_at: utc_text(facts.started_at),
        elapsed_s: facts.elapsed_s,
        market: config.market.source.to_string(),
        speed: config.market.speed.to_string(),
        symbols: instruments.iter().map(|row| row.name.as_str().to_owned()).collect(),
        topology: topology_report(facts),
        frames: line.counters().frame_rx,
        messages: messages(facts, &public),
        book_crc: BookCrc { checked: public.crc_checked, failed: public.crc_failed },
        book_updates: public.book_updates,
        crossed: public.book_crossed,
        bars: line.counters().bar_closed,
        seq_gaps: public.seq_gaps + line.private().map_or(0, |session| session.counters().seq_gaps),
        reconnects: facts.watch.reconnects(),
        conflated: mouth.book_conflated + mouth.trade_conflated,
        orders,
        rest_calls: facts.rest_calls.clone(),
        position: positions.iter().map(|(name, row)| (name.clone(), row.qty)).collect(),
        pnl: Money {
            total: account.realised.saturating_add(account.unrealised),
            realised: account.realised,
            unrealised: account.unrealised,
            currency: currency_of(instruments),
        },
        fees: -account.fees,
        refusals: refusals(facts),
        hot_allocations: stats.iter().map(|one| one.allocs_after_seal).sum(),
        hot_page_faults: stats
            .iter()
            .map(|one| one.minor_faults_after_seal + one.major_faults_after_seal)
            .sum(),
        decision_hash: hash_text(stopped.send.line.decision_hash()),
        latency: latency(facts),
        ring_used_max: rings(stopped),
        ending: ending(facts, &orders, &positions),
        positions,
    }
}

fn sum(all: impl Iterator<Item = PublicCounters>) -> PublicCounters {
    let mut sum = PublicCounters::default();
    for one in all {
        sum.book_updates += one.book_updates;
        sum.book_snapshots += one.book_snapshots;
        sum.book_frames += one.book_frames;
        sum.book_crossed += one.book_crossed;
        sum.trade_te += one.trade_te;
        sum.trade_tu += one.trade_tu;
        sum.trade_snapshots += one.trade_snapshots;
        sum.trades += one.trades;
        sum.tickers += one.tickers;
        sum.statuses += one.statuses;
        sum.candles += one.candles;
        sum.heartbeats += one.heartbeats;
        sum.crc_checked += one.crc_checked;
        sum.crc_failed += one.crc_failed;
        sum.seq_checked += one.seq_checked;
        sum.seq_gaps += one.seq_gaps;
        sum.unknown += one.unknown;
        sum.foreign += one.foreign;
        sum.stale += one.stale;
        sum.malformed += one.malformed;
        sum.rounded += one.rounded;
        sum.resyncs += one.resyncs;
        sum.hushes += one.hushes;
        sum.events += one.events;
        sum.errors += one.errors;
        sum.infos += one.infos;
    }
    sum
}

fn messages(facts: &Facts, public: &PublicCounters) -> BTreeMap<String, u64> {
    let mut kinds = BTreeMap::from([
        ("book", public.book_frames),
        ("book_snapshot", public.book_snapshots),
        ("trade_te", public.trade_te),
        ("trade_tu", public.trade_tu),
        ("trade_snapshot", public.trade_snapshots),
        ("ticker", public.tickers),
        ("status", public.statuses),
        ("candle", public.candles),
        ("checksum", public.crc_checked),
        ("heartbeat", public.heartbeats),
        ("event", public.events),
        ("error", public.errors),
        ("info", public.infos),
        ("seq_checked", public.seq_checked),
        ("unknown", public.unknown),
        ("foreign", public.foreign),
        ("stale", public.stale),
        ("malformed", public.malformed),
        ("rounded", public.rounded),
        ("resync", public.resyncs),
        ("hush", public.hushes),
    ]);
    if let Some(private) = facts.stopped.parse.line.private().map(|session| session.counters()) {
        kinds.extend([
            ("private_order", private.orders),
            ("private_fill", private.fills),
            ("private_wallet", private.wallets),
            ("private_position", private.positions),
            ("private_notification", private.notifications),
            ("private_heartbeat", private.heartbeats),
            ("private_unknown", private.unknown),
            ("private_malformed", private.malformed),
        ]);
    }
    kinds.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

fn order_counts(facts: &Facts) -> OrderCounts {
    let snapshot = facts.stopped.risk.stage.snapshot();
    let ledger = &snapshot.orders;
    let tally = &facts.watch.tracker.tally;
    let protecting = facts.stopped.risk.stage.protecting();
    let others = snapshot.orders_alive.saturating_sub(snapshot.orders_unknown + protecting);
    OrderCounts {
        sent: ledger.opened - ledger.in_state(OrderState::NotSent),
        acked: ledger.acked,
        filled: ledger.in_state(OrderState::Filled),
        cancelled: ledger.in_state(OrderState::Cancelled),
        rejected: ledger.in_state(OrderState::Rejected),
        unknown: snapshot.orders_unknown as u64,
        partly_filled: tally.partly,
        resting: tally.rested,
        open: others as u64,
        protecting: protecting as u64,
    }
}

fn positions(facts: &Facts) -> BTreeMap<String, PositionReport> {
    let rows = facts.instruments.iter().enumerate().map(|(row, instrument)| {
        let risk = facts.stopped.risk.stage.symbol_snapshot(SymbolId(row as u16));
        let position = PositionReport {
            qty: risk.position,
            px_avg: risk.px_avg,
            realised: risk.realised,
            unrealised: risk.unrealised,
            fees: -risk.fees,
            currency: instrument.quote.as_str().to_owned(),
            matches_venue: Some(risk.matches_venue),
        };
        (instrument.name.as_str().to_owned(), position)
    });
    rows.collect()
}

fn refusals(facts: &Facts) -> BTreeMap<String, u64> {
    let snapshot = facts.stopped.risk.stage.snapshot();
    let guards = Guard::ALL.iter().zip(snapshot.guards);
    let mut rows: BTreeMap<String, u64> = guards
        .filter(|(_, count)| count.blocked > 0)
        .map(|(guard, count)| (guard.name().to_owned(), count.blocked))
        .collect();
    let gate = facts.stopped.send.line.gate().counters();
    for (outcome, count) in [
        (SendOutcome::LatchForbids, gate.latch_forbids),
        (SendOutcome::TooOld, gate.too_old),
        (SendOutcome::Repeated, gate.repeated),
    ] {
        if count > 0 {
            rows.insert(format!("gate_{}", outcome.name()), count);
        }
    }
    rows
}

fn topology_report(facts: &Facts) -> TopologyReport {
    let rows = facts.topology.threads.iter().zip(&facts.stopped.threads).map(|(plan, end)| {
        let stats = &end.stats;
        let total = (stats.busy_ns + stats.idle_ns + stats.blocked_ns).max(1) as f64;
        ThreadReport {
            name: plan.name.clone(),
            stages: plan.stages.iter().map(|stage| stage.name().to_owned()).collect(),
            core: plan.cpu.and_then(|cpu| u32::try_from(cpu).ok()),
            wait: plan.wait.name().to_owned(),
            busy: stats.busy_ns as f64 / total,
            idle: stats.idle_ns as f64 / total,
            back_pressured: stats.blocked_ns as f64 / total,
        }
    });
    TopologyReport { layout: facts.topology.layout.name().to_owned(), threads: rows.collect() }
}

fn latency(facts: &Facts) -> Latency {
    let board = &facts.watch.tracker.board;
    let gaps = facts.watch.gaps.total(&facts.stopped.parse.tap.gaps);
    let mut all: Option<Histogram<u64>> = None;
    let mut by_channel = BTreeMap::new();
    for (symbol, kind, histogram) in gaps.rows().filter(|(.., histogram)| !histogram.is_empty()) {
        let name = facts.instruments.get(symbol.index()).map_or("?", |row| row.name.as_str());
        by_channel.insert(format!("{name} {}", kind.name()), Percentiles::ms_of_us(histogram));
        match &mut all {
            None => all = Some(histogram.clone()),
            // Same bounds, so nothing can be lost.
            Some(sum) => sum.add(histogram).unwrap_or_default(),
        }
    }
    let stages = board.stages().map(|(name, histo)| (name.to_owned(), histo.percentiles()));
    Latency {
        t1: board.t1.percentiles(),
        t2: board.t2.percentiles(),
        wire_to_wire: Percentiles::default(),
        stages: stages.into_iter().collect(),
        order_roundtrip_ms: RoundTrip {
            ack: board.ack.percentiles_ms(),
            first_fill: board.first_fill.percentiles_ms(),
            last_fill: board.last_fill.percentiles_ms(),
        },
        ws_gap_ms: all.as_ref().map(Percentiles::ms_of_us).unwrap_or_default(),
        ws_gap_ms_by_channel: by_channel,
        decision_data_age_ms: Percentiles::ms_of_us(&facts.stopped.signal.data_age),
    }
}

/// Most slots ever seen in use.
fn rings(stopped: &Stopped) -> BTreeMap<String, u64> {
    [
        ("read_parse", stopped.read.to_parse.used_max()),
        ("parse_signal", stopped.parse.out.ring.used_max()),
        ("signal_risk", stopped.signal.output.used_max()),
        ("risk_send", stopped.risk.links.output.used_max()),
        ("send_parse", stopped.send.to_parse.used_max()),
    ]
    .map(|(name, used)| (name.to_owned(), used as u64))
    .into()
}

fn ending(
    facts: &Facts,
    orders: &OrderCounts,
    positions: &BTreeMap<String, PositionReport>,
) -> EndingReport {
    let mut left = Vec::new();
    if orders.open > 0 {
        left.push(format!("{} own orders at the venue", orders.open));
    }
    if orders.unknown > 0 {
        left.push(format!("{} own orders of unknown fate", orders.unknown));
    }
    let held: Vec<(&String, Qty)> = positions
        .iter()
        .filter(|(_, row)| !row.qty.is_zero())
        .map(|(name, row)| (name, row.qty))
        .collect();
    let wants_flat = facts.config.trading.on_stop == OnStop::Flatten;
    if wants_flat {
        left.extend(held.iter().map(|(name, qty)| format!("position {name} {qty}")));
    }
    EndingReport {
        reason: facts.ending.reason.clone(),
        halted: facts.ending.halted,
        left,
        not_flat: wants_flat && !held.is_empty(),
    }
}
