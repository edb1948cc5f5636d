//! From what the taps told to the one status that everybody outside reads.

use super::rest::RestSide;
use super::watch::Watch;
use crate::base::time::WallNs;
use crate::base::units::UNIT_SCALE;
use crate::config::Config;
use crate::engine::orders::OrderState;
use crate::engine::risk::{Guard, GuardLevel, GuardMode, LevelUnit};
use crate::model::Rank;
use crate::ops::logger;
use crate::ops::metrics::Windowed;
use crate::ops::report::Build;
use crate::ops::status::{
    Counts, GuardStatus, LimitRow, LinkStatus, OrderStatus, Pnl, RingStatus, RoundTripStatus,
    RunFacts, Spread, StageStatus, State, Status, SymbolStatus, ThreadStatus,
};
use crate::ops::text::utc;
use crate::ops::waterfall::side_name;
use crate::runtime::cold::journal::JournalStats;
use crate::runtime::cold::rest::RestStats;
use crate::runtime::placement::ThreadHandle;
use crate::runtime::topology::{LinkKind, Topology};
use std::sync::atomic::Ordering;

/// Lines of the log in the status.
const LOG_LINES: usize = 40;
const NS_PER_MS: f64 = 1e6;

/// What does not come by the taps.
pub(super) struct Around<'a> {
    pub config: &'a Config,
    pub run: &'a str,
    pub wall: WallNs,
    pub latch_level: u8,
    pub topology: &'a Topology,
    pub threads: &'a [ThreadHandle],
    pub rest: &'a RestSide,
    pub rest_stats: &'a RestStats,
    pub journal: &'a JournalStats,
    /// What an operator or the watchdog last did, in words.
    pub doing: &'a str,
}

fn spread(histo: &Windowed, divisor: f64) -> Spread {
    let total = if divisor > 1.0 { histo.percentiles_ms() } else { histo.percentiles() };
    Spread { total, window: histo.window(divisor) }
}

/// 1e-8 of something as a decimal.
fn decimal(raw: i64) -> f64 {
    raw as f64 / UNIT_SCALE as f64
}

/// The key of the config that a guard's limit stands under; `None` where it has none of its own.
const fn limit_key(guard: Guard) -> Option<&'static str> {
    Some(match guard {
        Guard::DailyLoss => "risk.account.daily_loss_max",
        Guard::Drawdown => "risk.account.drawdown_max",
        Guard::LossStreak => "risk.account.loss_streak_max",
        Guard::RejectStreak => "risk.account.reject_streak_max",
        Guard::DailyTrades => "risk.account.trades_day_max",
        Guard::SymbolDailyTrades => "risk.account.symbol_trades_day_max",
        Guard::Cooldown => "risk.account.cooldown_s",
        Guard::ForeignActivity => "risk.account.foreign_pause_s",
        Guard::Volatility => "risk.account.volatility_max_bps",
        Guard::MaxPosition => "risk.position_notional_max",
        Guard::TotalExposure => "risk.exposure_max",
        Guard::OpenOrders => "risk.orders_open_max",
        Guard::OrderRate => "risk.order_rate_max",
        Guard::Stale => "risk.book_stale_ms",
        Guard::NakedPosition => "orders.naked_close_after_s",
        _ => return None,
    })
}

/// How far a guard is from its limit; `None`: it is off, has no limit, or is asked order by order.
fn limit_row(level: &GuardLevel) -> Option<LimitRow> {
    // Written by hand in no config: such a limit is none.
    const NO_LIMIT: i64 = i64::MAX / 2;
    let name = limit_key(level.guard).filter(|_| level.mode != GuardMode::Off)?;
    let is_pause = level.unit == LevelUnit::Seconds;
    if !is_pause && (level.limit <= 0 || level.limit >= NO_LIMIT) {
        return None;
    }
    let scale = |value: i64| match level.unit {
        LevelUnit::Money => decimal(value),
        _ => value as f64,
    };
    Some(LimitRow {
        name: name.to_owned(),
        symbol: String::new(),
        // A gain is no loss: nothing of the limit is used.
        used: level.used.map_or(0.0, scale).max(0.0),
        max: scale(level.limit),
        unit: level.unit.name().to_owned(),
        objects: level.objects,
    })
}

impl Watch {
    pub(super) fn status(&mut self, around: &Around<'_>) -> Status {
        self.on_threads(around.topology, around.threads);
        let now = self.clock.mono();
        self.tracker.board.tick(now);
        let (ws_gap_ms, gaps) = self.gaps.spreads(self.instruments.len());
        let board = &self.tracker.board;
        let stages = board.stages().map(|(name, histo)| StageStatus {
            name: name.to_owned(),
            latency_ns: spread(histo, 1.0),
            busy: self.busy_of(name),
        });
        let symbols: Vec<SymbolStatus> =
            gaps.into_iter().enumerate().map(|(row, gaps)| self.symbol_status(row, gaps)).collect();
        Status {
            at: utc(around.wall),
            at_ms: around.wall.as_ms(),
            elapsed_s: now.0 / 1_000_000_000,
            run: self.facts(around),
            state: self.state(around),
            pnl: self.pnl(),
            limits: self.limits(around.config, &symbols),
            symbols,
            orders: self.orders.iter().map(|order| self.order_status(order)).collect(),
            fills: self.fills.iter().cloned().collect(),
            order_roundtrip_ms: RoundTripStatus {
                ack: spread(&board.ack, NS_PER_MS),
                first_fill: spread(&board.first_fill, NS_PER_MS),
            },
            ws_gap_ms,
            t1_ns: spread(&board.t1, 1.0),
            t2_ns: spread(&board.t2, 1.0),
            stages: stages.to_vec(),
            threads: self.threads(around),
            rings: self.rings(around.topology),
            links: self.link_status(),
            reconnects: self.reconnect_rows.iter().cloned().collect(),
            counts: self.counts(around),
            rest: around.rest.status(around.rest_stats, around.wall, self.nonces_refused),
            guards: self.guards(),
            log: logger::current().map_or_else(Vec::new, |logger| logger.recent(LOG_LINES)),
            ..Status::default()
        }
    }

    fn facts(&self, around: &Around<'_>) -> RunFacts {
        let build = Build::current();
        RunFacts {
            id: around.run.to_owned(),
            build: format!("{} {} {}", build.version, build.commit, build.profile),
            config_hash: around.config.hash(),
            environment: around.config.environment.name().to_owned(),
            market: around.config.market.source.to_string(),
            speed: around.config.market.speed.to_string(),
            mode: around.config.trading.mode.name().to_owned(),
            currency: super::watch::currency_of(&self.instruments),
        }
    }

    fn state(&self, around: &Around<'_>) -> State {
        let rank = self.account.as_ref().map_or(Rank::EntriesBlocked, |account| account.rank);
        let level = (rank as u8).max(around.latch_level);
        State {
            rank: Rank::from_u8(level).name().to_owned(),
            rank_level: level,
            latch_level: around.latch_level,
            reason: self.reason(level, around.doing),
            ready: self.account.as_ref().is_some_and(|account| account.ready),
            is_stopping: self.model.is_stopping,
            is_halted: self.is_halted(),
            quiet_ms: self.quiet_for().as_ms().max(0).unsigned_abs(),
        }
    }

    /// Why it is not running, or what it does; the strongest of what is known.
    fn reason(&self, level: u8, doing: &str) -> String {
        if self.is_halted() {
            return "events could not be delivered in time".to_owned();
        }
        if self.model.is_stopping {
            return self.model.notice.clone();
        }
        if level == 0 {
            return String::new();
        }
        let Some(account) = &self.account else {
            return "starting: nothing was heard of the account yet".to_owned();
        };
        if self.links.iter().any(|(is_open, _)| !is_open) {
            return "a socket is down and is being dialled".to_owned();
        }
        if !account.ready {
            return "the account is being read and matched".to_owned();
        }
        if account.order_entry_down && account.rank < Rank::Halted {
            return "orders and cancels by REST do not get through: cancel-only".to_owned();
        }
        if account.orders_unknown > 0 {
            return format!("{} orders of unknown fate are looked up", account.orders_unknown);
        }
        doing.to_owned()
    }

    fn pnl(&self) -> Pnl {
        let Some(account) = &self.account else { return Pnl::default() };
        Pnl {
            total: account.realised.saturating_add(account.unrealised).to_f64(),
            realised: account.realised.to_f64(),
            unrealised: account.unrealised.to_f64(),
            fees: -account.fees.to_f64(),
            exposure: account.exposure.to_f64(),
        }
    }

    /// Every guard that has a limit and is not off, and the position of each symbol.
    fn limits(&self, config: &Config, symbols: &[SymbolStatus]) -> Vec<LimitRow> {
        let mut rows: Vec<LimitRow> = self.levels().iter().filter_map(limit_row).collect();
        let max = decimal(config.risk.position_notional_max);
        for (symbol, risk) in symbols.iter().zip(&self.symbols) {
            let used = risk.map_or(0.0, |risk| risk.mark.to_f64() * risk.position.to_f64().abs());
            rows.push(LimitRow {
                name: "risk.position_notional_max".to_owned(),
                symbol: symbol.name.clone(),
                used,
                max,
                unit: "quote".to_owned(),
                objects: used >= max,
            });
        }
        rows
    }

    fn symbol_status(&self, index: usize, ws_gap_ms: Spread) -> SymbolStatus {
        let row = self.symbol_row(index);
        let risk = self.symbols[index];
        let (bid, ask) = (row.bid.map(|px| px.to_f64()), row.ask.map(|px| px.to_f64()));
        let spread_bps = bid
            .zip(ask)
            .filter(|(bid, ask)| bid + ask > 0.0)
            .map(|(bid, ask)| (ask - bid) / ((bid + ask) / 2.0) * 1e4);
        SymbolStatus {
            name: row.name,
            strategy: row.strategy,
            book: row.book.name().to_owned(),
            synced: self.books[index].synced,
            age_ms: row.age_ms,
            bid,
            ask,
            spread_bps,
            regime: row.regime,
            position: row.position.to_f64(),
            venue_position: risk.and_then(|risk| risk.venue_position).map(|qty| qty.to_f64()),
            matches_venue: risk.is_none_or(|risk| risk.matches_venue),
            px_avg: row.px_avg.to_f64(),
            realised: risk.map_or(0.0, |risk| risk.realised.to_f64()),
            unrealised: risk.map_or(0.0, |risk| risk.unrealised.to_f64()),
            fees: risk.map_or(0.0, |risk| -risk.fees.to_f64()),
            orders_alive: risk.map_or(0, |risk| u64::from(risk.orders_alive)),
            is_frozen: row.is_frozen,
            delisted: risk.is_some_and(|risk| risk.delisted),
            is_flattening: risk.is_some_and(|risk| risk.flattening),
            flatten_stuck: risk.is_some_and(|risk| risk.flatten_stuck),
            is_naked: risk.is_some_and(|risk| risk.naked),
            protected: risk.and_then(|risk| risk.protected).map(|qty| qty.to_f64()),
            unsynced_count: self.unsynced[index],
            ws_gap_ms,
        }
    }

    fn order_status(&self, order: &crate::engine::orders::Order) -> OrderStatus {
        let row = self.order_row(order);
        OrderStatus {
            cid: row.cid,
            symbol: row.symbol,
            side: side_name(row.side).to_owned(),
            px: row.px.to_f64(),
            remaining: row.remaining.to_f64(),
            original: row.original.to_f64(),
            state: row.state,
            age_ms: row.age_ms,
        }
    }

    fn threads(&mut self, around: &Around<'_>) -> Vec<ThreadStatus> {
        let now = self.clock.mono();
        self.beats.resize(around.threads.len(), (0, now));
        let rows = around.topology.threads.iter().zip(around.threads).zip(&mut self.beats);
        rows.map(|((plan, thread), beat)| {
            let stats = thread.stats();
            if stats.rounds != beat.0 {
                *beat = (stats.rounds, now);
            }
            let seconds = |ns: u64| ns as f64 / 1e9;
            ThreadStatus {
                name: plan.name.clone(),
                stages: plan.stages.iter().map(|stage| stage.name().to_owned()).collect(),
                core: thread.cpu().map(|cpu| cpu as u64),
                state: format!("{:?}", stats.state).to_lowercase(),
                heartbeat: stats.rounds,
                heartbeat_age_ms: (now - beat.1).as_ms().max(0).unsigned_abs(),
                inputs: stats.inputs,
                busy_s: seconds(stats.busy_ns),
                idle_s: seconds(stats.idle_ns),
                blocked_s: seconds(stats.blocked_ns),
                allocs_after_seal: stats.allocs_after_seal,
                faults_after_seal: stats.minor_faults_after_seal + stats.major_faults_after_seal,
            }
        })
        .collect()
    }

    fn rings(&self, topology: &Topology) -> Vec<RingStatus> {
        [
            (LinkKind::ParseSignal, self.ring_used[0]),
            (LinkKind::SignalRisk, self.ring_used[1]),
            (LinkKind::RiskSend, self.ring_used[2]),
        ]
        .map(|(link, used_max)| RingStatus {
            name: link.name().to_owned(),
            depth: topology.link(link).depth as u64,
            used_max,
        })
        .to_vec()
    }

    fn link_status(&mut self) -> Vec<LinkStatus> {
        let _ = self.model();
        let rows = self.model.links.iter().zip(&self.link_downs);
        rows.map(|(row, downs)| LinkStatus {
            name: row.name.clone(),
            is_up: row.is_up,
            state: row.state.clone(),
            reconnects: *downs,
        })
        .collect()
    }

    fn counts(&self, around: &Around<'_>) -> Counts {
        let (seen, parse) = (&self.model.counts, &self.parse);
        let mut counts = Counts {
            frames: seen.frames,
            frames_per_s: seen.frames_per_s,
            bytes: parse.byte_rx,
            book_updates: parse.book_update,
            trades: parse.trade,
            crc_checked: seen.crc_checked,
            crc_failed: seen.crc_failed,
            seq_gaps: seen.seq_gaps,
            reconnects: seen.reconnects,
            conflated: seen.conflated,
            unknown_messages: self.unknown_messages,
            log_missed: self.log_missed,
            tap_dropped: self.tap_dropped,
            orders_partly_filled: self.tracker.tally.partly,
            journal_failures: around.journal.failures.load(Ordering::Relaxed),
            log_lines_lost: logger::current().map_or(0, logger::Logger::lost),
            ..Counts::default()
        };
        if let Some(account) = &self.account {
            let orders = &account.orders;
            counts.orders_sent = orders.opened - orders.in_state(OrderState::NotSent);
            counts.orders_acked = orders.acked;
            counts.orders_filled = orders.in_state(OrderState::Filled);
            counts.orders_cancelled = orders.in_state(OrderState::Cancelled);
            counts.orders_rejected = orders.in_state(OrderState::Rejected);
            counts.orders_unknown = account.orders_unknown as u64;
            counts.orders_alive = account.orders_alive as u64;
            counts.ack_timeouts = orders.ack_timeouts;
            counts.fills = orders.fills;
            counts.fills_foreign = orders.fills_foreign;
            counts.overfills = orders.overfills;
            counts.refused = account.guards.iter().map(|guard| guard.blocked).sum();
            counts.intents = account.counters.intents;
            counts.protects = account.counters.protects;
            counts.protects_changed = account.counters.protects_changed;
            counts.naked_alarms = account.counters.naked_alarms;
            counts.naked_closes = account.counters.naked_closes;
        }
        counts
    }

    fn guards(&self) -> Vec<GuardStatus> {
        let Some(account) = &self.account else { return Vec::new() };
        let rows = Guard::ALL.iter().zip(account.guards).zip(account.guard_modes);
        let trips = |guard: Guard| self.levels().get(guard as usize).map_or(0, |row| row.trips);
        rows.map(|((guard, count), mode)| GuardStatus {
            name: guard.name().to_owned(),
            mode: match mode {
                GuardMode::Off => "off",
                GuardMode::Shadow => "shadow",
                GuardMode::On => "on",
            }
            .to_owned(),
            blocked: count.blocked,
            shadowed: count.shadowed,
            trips: trips(*guard),
        })
        .collect()
    }
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::risk::GuardCount;

    fn level(guard: Guard, unit: LevelUnit, used: Option<i64>, limit: i64) -> GuardLevel {
        GuardLevel {
            guard,
            mode: GuardMode::On,
            count: GuardCount::default(),
            trips: 0,
            objects: false,
            used,
            limit,
            unit,
        }
    }

    /// Every key is one that a config can be asked about.
    #[test]
    fn limits_carry_the_keys_that_stand_in_the_manual() {
        let manual = include_str!("../../config/genesis.toml");
        let mut count = 0;
        for guard in Guard::ALL {
            let Some(key) = limit_key(guard) else { continue };
            let (section, name) = key.rsplit_once('.').unwrap();
            let rest = manual.split_once(&format!("\n[{section}]")).unwrap().1;
            let section_text = rest.split("\n[").next().unwrap();
            assert!(section_text.contains(&format!("\n{name} = ")), "{key}");
            count += 1;
        }
        assert!(count >= 14, "{count}");
    }

    #[test]
    fn money_is_scaled_gains_use_nothing_and_what_has_no_limit_has_no_row() {
        let loss = level(Guard::DailyLoss, LevelUnit::Money, Some(-500_000_000), 250_000_000_000);
        let row = limit_row(&loss).unwrap();
        assert_eq!((row.used, row.max, &*row.unit), (0.0, 2_500.0, "quote"));
        let row = limit_row(&level(Guard::OrderRate, LevelUnit::Count, Some(12), 900)).unwrap();
        assert_eq!((row.name.as_str(), row.used, row.max), ("risk.order_rate_max", 12.0, 900.0));
        // A pause counts down to none.
        let row = limit_row(&level(Guard::Cooldown, LevelUnit::Seconds, Some(40), 0)).unwrap();
        assert_eq!((row.used, row.max), (40.0, 0.0));
        assert_eq!(limit_row(&level(Guard::Volatility, LevelUnit::BasisPoints, None, 0)), None);
        assert_eq!(limit_row(&level(Guard::LossStreak, LevelUnit::Count, None, i64::MAX)), None);
        let off = GuardLevel { mode: GuardMode::Off, ..loss };
        assert_eq!(limit_row(&off), None);
        assert_eq!(limit_row(&level(Guard::Paused, LevelUnit::Flag, Some(1), 1)), None);
    }
}
