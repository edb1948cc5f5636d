//! How far each guard is from its limit: for people, when they ask.

use super::account::quote;
use super::guards::{Guard, GuardCount, GuardMode};
use super::stage::RiskStage;
use crate::base::ids::SymbolId;
use crate::base::units::Quote;

/// What the two numbers of a level are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LevelUnit {
    /// 1e-8 of the quote currency.
    Money,
    Count,
    /// Seconds left of a pause; the limit is 0: it ends by itself.
    Seconds,
    BasisPoints,
    Millis,
    /// 1 = objects now.
    Flag,
}
impl LevelUnit {
    /// The word in tables and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            LevelUnit::Money => "quote",
            LevelUnit::Count => "count",
            LevelUnit::Seconds => "s",
            LevelUnit::BasisPoints => "bps",
            LevelUnit::Millis => "ms",
            LevelUnit::Flag => "flag",
        }
    }
}

/// One guard, account-wide: what is used, and where it objects. Of guards asked by symbol the worst
/// symbol counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardLevel {
    pub guard: Guard,
    pub mode: GuardMode,
    pub count: GuardCount,
    /// How often it tripped; guards that do not trip: 0.
    pub trips: u32,
    /// True where it objects to every entry now.
    pub objects: bool,
    /// `None` = not known now.
    pub used: Option<i64>,
    pub limit: i64,
    pub unit: LevelUnit,
}
impl GuardLevel {
    /// What is left until it objects; `None` = not known.
    pub fn left(&self) -> Option<i64> {
        self.used.map(|used| self.limit.saturating_sub(used))
    }
}

impl RiskStage {
    /// All guards in their order. Cost grows with the symbols; when asked for, not per input.
    pub fn levels(&self) -> [GuardLevel; Guard::COUNT] {
        Guard::ALL.map(|guard| self.level(guard))
    }
    fn level(&self, guard: Guard) -> GuardLevel {
        let (config, account, limits) = (&self.config, &self.account, self.account.limits());
        let money = |wide: i128| quote(wide).raw();
        let rows = 0..self.instruments.len();
        let flag = |on: bool| (Some(i64::from(on)), 1, LevelUnit::Flag);
        let pause = |guard: Guard| {
            let all = rows.clone().map(|row| account.pause_left_s(guard, Some(row), self.wall));
            let of_account = account.pause_left_s(guard, None, self.wall);
            (Some(all.fold(of_account, i64::max)), 0, LevelUnit::Seconds)
        };
        let symbols = || rows.clone().map(|row| SymbolId(row as u16));
        let memory = account.memory();
        let streak = |count: u32, most: u32| (Some(i64::from(count)), i64::from(most));
        let counted = |(used, limit): (Option<i64>, i64)| (used, limit, LevelUnit::Count);
        let (used, limit, unit) = match guard {
            Guard::DailyLoss => {
                let lost = account.day_pnl().map(|pnl| -quote(pnl).raw());
                (lost, money(account.day_limit()), LevelUnit::Money)
            }
            Guard::Drawdown => {
                let down = account.drawdown().map(|down| -quote(-down).raw());
                (down, money(account.drawdown_limit()), LevelUnit::Money)
            }
            Guard::LossStreak => counted(streak(memory.loss_streak, limits.loss_streak_max)),
            Guard::RejectStreak => counted(streak(memory.reject_streak, limits.reject_streak_max)),
            Guard::DailyTrades => counted(streak(memory.trades_day, limits.trades_day_max)),
            Guard::SymbolDailyTrades => {
                let most = rows.clone().map(|row| account.symbol_trades_day(row)).max();
                counted(streak(most.unwrap_or(0), limits.symbol_trades_day_max))
            }
            Guard::Cooldown | Guard::ForeignActivity => pause(guard),
            Guard::Volatility => {
                let most = rows.clone().filter_map(|row| account.range_bps(row)).max();
                (most, limits.volatility_max_bps / 100_000_000, LevelUnit::BasisPoints)
            }
            Guard::MaxPosition => {
                let most = symbols().map(|symbol| self.exposure_of(symbol)).max();
                let most = most.unwrap_or(Quote::ZERO).raw();
                (Some(most), config.limits.position_max.raw(), LevelUnit::Money)
            }
            Guard::TotalExposure => {
                let sum = symbols()
                    .fold(Quote::ZERO, |sum, symbol| sum.saturating_add(self.exposure_of(symbol)));
                (Some(sum.raw()), config.exposure_max.raw(), LevelUnit::Money)
            }
            Guard::OpenOrders => {
                let alive = self.ledger.alive() as i64;
                (Some(alive), i64::from(config.open_orders_max), LevelUnit::Count)
            }
            Guard::OrderNotional => {
                (Some(0), config.limits.order_notional_max.raw(), LevelUnit::Money)
            }
            Guard::OrderRate => {
                let used = self.rate.used(self.now) as i64;
                (Some(used), i64::from(config.rate_max), LevelUnit::Count)
            }
            Guard::Repeat => {
                let repeated = account.symbols().iter().any(|row| row.repeated);
                flag(repeated)
            }
            Guard::Stale => {
                let worst = symbols()
                    .filter(|symbol| self.is_active[symbol.index()])
                    .map(|symbol| (self.now - self.marks[symbol.index()].at).as_ms())
                    .max();
                (worst, i64::from(config.stale_after_ms), LevelUnit::Millis)
            }
            Guard::UnknownEquity => flag(account.equity().is_none()),
            Guard::TradingWindow => flag(!account.is_open_now(self.wall)),
            Guard::KillSwitch => flag(self.killed || self.halted),
            Guard::Paused => flag(self.paused),
            Guard::NotReady => flag(!self.is_ready()),
            Guard::UnknownOutcome => (Some(self.ledger.frozen() as i64), 1, LevelUnit::Count),
            Guard::Flattening => (Some(self.goals_active as i64), 1, LevelUnit::Count),
            Guard::Rank => flag(self.rank_set() != crate::model::Rank::Running),
            Guard::PositionMismatch => {
                let differs = symbols().any(|symbol| !self.symbol_snapshot(symbol).matches_venue);
                flag(differs)
            }
            Guard::NakedPosition => {
                let longest = rows.clone().filter_map(|row| self.naked_for(row)).max();
                let most = i64::from(config.brackets.naked_close_after_s) * 1_000;
                (Some(longest.map_or(0, |span| span.as_ms())), most, LevelUnit::Millis)
            }
            Guard::Instrument
            | Guard::Unsynced
            | Guard::PriceCollar
            | Guard::MinSize
            | Guard::MaxSize
            | Guard::NothingHeld
            | Guard::LedgerFull => flag(false),
        };
        let objects = match unit {
            LevelUnit::Seconds => used.is_some_and(|used| used > 0),
            _ => used.is_none_or(|used| used >= limit) || account.gates_any(guard),
        };
        GuardLevel {
            guard,
            mode: self.guards.mode(guard),
            count: self.guards.counts[guard as usize],
            trips: account.trips()[guard as usize],
            objects,
            used,
            limit,
            unit,
        }
    }
}
