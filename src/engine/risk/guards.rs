//! The fixed list of guards, in the order they are asked; what each saw and blocked.

/// One reason to refuse an order. The first that objects has the say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Guard {
    /// Not in the instrument table, or its sizes are not known.
    Instrument,
    /// The trading link is down, or the account is not reconciled since it came up.
    NotReady,
    /// Killed or halted; only a reset by a person helps.
    KillSwitch,
    /// A person has paused entries.
    Paused,
    /// The risk state's rank forbids the order's class for another reason.
    Rank,
    /// An order of the symbol is in doubt.
    UnknownOutcome,
    /// The symbol is being flattened.
    Flattening,
    /// The venue's position differs from ours.
    PositionMismatch,
    /// The wallet is not known, or something held has no price: never taken for zero.
    UnknownEquity,
    /// Realised and open P&L and fees of the day. Over with the day, or by a reset.
    DailyLoss,
    /// From the highest P&L ever. Only a person clears it.
    Drawdown,
    /// Round trips that lost, in a row.
    LossStreak,
    /// Orders refused by the venue, in a row.
    RejectStreak,
    /// After a loss: of the symbol, or of the account.
    Cooldown,
    /// Somebody else acts on the account.
    ForeignActivity,
    /// Outside the hours of the config.
    TradingWindow,
    /// The price moved too far in too short a time.
    Volatility,
    /// Orders filled today, of the account.
    DailyTrades,
    /// And of the symbol.
    SymbolDailyTrades,
    /// The book is not in step with the venue's, or one side is empty.
    Unsynced,
    /// The book has not changed for too long, or its channel is silent.
    Stale,
    /// Price missing, or it would take further from the middle than the collar allows.
    PriceCollar,
    /// Below the venue's smallest size. Never rounded up.
    MinSize,
    /// Above the venue's largest size.
    MaxSize,
    /// Nothing held that could be closed or, in a spot wallet, sold.
    NothingHeld,
    Repeat,
    OrderNotional,
    MaxPosition,
    TotalExposure,
    OpenOrders,
    OrderRate,
    /// The ledger has no place or no client id left.
    LedgerFull,
    /// A position that should be protected has not been for too long.
    NakedPosition,
}

impl Guard {
    pub const COUNT: usize = 33;
    /// In the order they are asked.
    pub const ALL: [Guard; Guard::COUNT] = [
        Guard::Instrument,
        Guard::NotReady,
        Guard::KillSwitch,
        Guard::Paused,
        Guard::Rank,
        Guard::UnknownOutcome,
        Guard::Flattening,
        Guard::PositionMismatch,
        Guard::UnknownEquity,
        Guard::DailyLoss,
        Guard::Drawdown,
        Guard::LossStreak,
        Guard::RejectStreak,
        Guard::Cooldown,
        Guard::ForeignActivity,
        Guard::TradingWindow,
        Guard::Volatility,
        Guard::DailyTrades,
        Guard::SymbolDailyTrades,
        Guard::Unsynced,
        Guard::Stale,
        Guard::PriceCollar,
        Guard::MinSize,
        Guard::MaxSize,
        Guard::NothingHeld,
        Guard::Repeat,
        Guard::OrderNotional,
        Guard::MaxPosition,
        Guard::TotalExposure,
        Guard::OpenOrders,
        Guard::OrderRate,
        Guard::LedgerFull,
        Guard::NakedPosition,
    ];
    /// The word in config, report and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Guard::Instrument => "instrument",
            Guard::Rank => "rank",
            Guard::KillSwitch => "kill_switch",
            Guard::Paused => "trading_paused",
            Guard::UnknownEquity => "unknown_equity",
            Guard::DailyLoss => "daily_loss",
            Guard::Drawdown => "drawdown",
            Guard::LossStreak => "loss_streak",
            Guard::RejectStreak => "reject_streak",
            Guard::Cooldown => "trade_cooldown_active",
            Guard::ForeignActivity => "foreign_activity",
            Guard::TradingWindow => "outside_trading_window",
            Guard::Volatility => "volatility_pause",
            Guard::DailyTrades => "daily_trade_limit_reached",
            Guard::SymbolDailyTrades => "symbol_daily_trade_limit_reached",
            Guard::NotReady => "not_ready",
            Guard::UnknownOutcome => "unknown_outcome",
            Guard::Flattening => "flattening",
            Guard::PositionMismatch => "position_mismatch",
            Guard::Unsynced => "book_unsynced",
            Guard::Stale => "stale_market",
            Guard::PriceCollar => "price_collar",
            Guard::MinSize => "below_minimum_size",
            Guard::MaxSize => "above_maximum_size",
            Guard::NothingHeld => "nothing_held",
            Guard::Repeat => "repeat",
            Guard::OrderNotional => "order_notional",
            Guard::MaxPosition => "max_position",
            Guard::TotalExposure => "total_exposure",
            Guard::OpenOrders => "open_orders",
            Guard::OrderRate => "order_rate",
            Guard::LedgerFull => "ledger_full",
            Guard::NakedPosition => "naked_position",
        }
    }
    /// Limits may be shadowed or switched off; what keeps orders from being doubled, or what the
    /// venue demands, may not.
    pub const fn is_switchable(self) -> bool {
        matches!(
            self,
            Guard::PositionMismatch
                | Guard::UnknownEquity
                | Guard::DailyLoss
                | Guard::Drawdown
                | Guard::LossStreak
                | Guard::RejectStreak
                | Guard::Cooldown
                | Guard::ForeignActivity
                | Guard::TradingWindow
                | Guard::Volatility
                | Guard::DailyTrades
                | Guard::SymbolDailyTrades
                | Guard::Stale
                | Guard::PriceCollar
                | Guard::Repeat
                | Guard::OrderNotional
                | Guard::MaxPosition
                | Guard::TotalExposure
                | Guard::OpenOrders
                | Guard::OrderRate
                | Guard::NakedPosition
        )
    }
}

impl Guard {
    /// Its place in a set of guards.
    #[inline(always)]
    pub const fn bit(self) -> u64 {
        1 << self as u8
    }
}
const _: () = assert!(Guard::COUNT <= 64);

/// What a guard does when it objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GuardMode {
    Off,
    /// Counts what it would have refused.
    Shadow,
    #[default]
    On,
}

/// What one guard did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuardCount {
    pub blocked: u64,
    /// Would have blocked; mode `Shadow`.
    pub shadowed: u64,
}

/// Modes and counts of all guards.
#[derive(Clone, Debug)]
pub(super) struct Guards {
    pub(super) modes: [GuardMode; Guard::COUNT],
    pub(super) counts: [GuardCount; Guard::COUNT],
}
impl Guards {
    pub(super) fn new(mut modes: [GuardMode; Guard::COUNT]) -> Self {
        for guard in Guard::ALL.into_iter().filter(|guard| !guard.is_switchable()) {
            modes[guard as usize] = GuardMode::On;
        }
        Self { modes, counts: [GuardCount::default(); Guard::COUNT] }
    }
    pub(super) fn mode(&self, guard: Guard) -> GuardMode {
        self.modes[guard as usize]
    }
    /// Asks those whose bit is set, in their order.
    #[cold]
    pub(super) fn ask_set(&mut self, objecting: u64) -> Result<(), Guard> {
        for guard in Guard::ALL {
            self.ask(guard, objecting & guard.bit() != 0)?;
        }
        Ok(())
    }
    /// Books an objection of `guard` if `bad`.
    #[inline]
    pub(super) fn ask(&mut self, guard: Guard, bad: bool) -> Result<(), Guard> {
        if !bad {
            return Ok(());
        }
        let count = &mut self.counts[guard as usize];
        match self.modes[guard as usize] {
            GuardMode::Off => Ok(()),
            GuardMode::Shadow => {
                count.shadowed += 1;
                Ok(())
            }
            GuardMode::On => {
                count.blocked += 1;
                Err(guard)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_complete_and_in_order() {
        for (index, guard) in Guard::ALL.into_iter().enumerate() {
            assert_eq!(guard as usize, index);
        }
    }

    #[test]
    fn shadow_counts_and_lets_pass_and_off_is_silent() {
        let mut modes = [GuardMode::On; Guard::COUNT];
        modes[Guard::Stale as usize] = GuardMode::Shadow;
        modes[Guard::OrderRate as usize] = GuardMode::Off;
        modes[Guard::UnknownOutcome as usize] = GuardMode::Off;
        let mut guards = Guards::new(modes);
        assert_eq!(guards.ask(Guard::Stale, true), Ok(()));
        assert_eq!(guards.ask(Guard::OrderRate, true), Ok(()));
        assert_eq!(guards.ask(Guard::MaxPosition, true), Err(Guard::MaxPosition));
        assert_eq!(guards.ask(Guard::MaxPosition, false), Ok(()));
        assert_eq!(
            guards.ask(Guard::UnknownOutcome, true),
            Err(Guard::UnknownOutcome),
            "cannot be switched off"
        );
        assert_eq!(guards.counts[Guard::Stale as usize], GuardCount { blocked: 0, shadowed: 1 });
        assert_eq!(guards.counts[Guard::OrderRate as usize], GuardCount::default());
    }
}
