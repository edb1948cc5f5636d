//! Why a strategy, or the engine on its behalf, did not trade: words that people read, each
//! counted.

/// Reasons, in the order of the counters. Never renamed; new ones are added at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Refused {
    TradingPaused,
    OutsideTradingWindow,
    DailyTradeLimitReached,
    SymbolDailyTradeLimitReached,
    TradeCooldownActive,
    EdgeNegative,
    EdgeTooSmall,
    ConfidenceTooLow,
    HysteresisWait,
    StaleMarket,
    BookUnsynced,
    RiskCap,
    BelowMinimumSize,
    DailyLoss,
    Drawdown,
    KillSwitch,
    /// No authenticated, reconciled trading socket.
    TradingLinkDown,
    /// An indicator it needs has not enough bars.
    WarmingUp,
    /// More intents a second than the strategy declared.
    RateDeclared,
    /// The venue or the gate refused an order a moment ago.
    RejectPause,
}

impl Refused {
    pub const COUNT: usize = 20;
    pub const ALL: [Refused; Self::COUNT] = [
        Refused::TradingPaused,
        Refused::OutsideTradingWindow,
        Refused::DailyTradeLimitReached,
        Refused::SymbolDailyTradeLimitReached,
        Refused::TradeCooldownActive,
        Refused::EdgeNegative,
        Refused::EdgeTooSmall,
        Refused::ConfidenceTooLow,
        Refused::HysteresisWait,
        Refused::StaleMarket,
        Refused::BookUnsynced,
        Refused::RiskCap,
        Refused::BelowMinimumSize,
        Refused::DailyLoss,
        Refused::Drawdown,
        Refused::KillSwitch,
        Refused::TradingLinkDown,
        Refused::WarmingUp,
        Refused::RateDeclared,
        Refused::RejectPause,
    ];
    pub const fn name(self) -> &'static str {
        match self {
            Refused::TradingPaused => "trading_paused",
            Refused::OutsideTradingWindow => "outside_trading_window",
            Refused::DailyTradeLimitReached => "daily_trade_limit_reached",
            Refused::SymbolDailyTradeLimitReached => "symbol_daily_trade_limit_reached",
            Refused::TradeCooldownActive => "trade_cooldown_active",
            Refused::EdgeNegative => "edge_negative",
            Refused::EdgeTooSmall => "edge_too_small",
            Refused::ConfidenceTooLow => "confidence_too_low",
            Refused::HysteresisWait => "hysteresis_wait",
            Refused::StaleMarket => "stale_market",
            Refused::BookUnsynced => "book_unsynced",
            Refused::RiskCap => "risk_cap",
            Refused::BelowMinimumSize => "below_minimum_size",
            Refused::DailyLoss => "daily_loss",
            Refused::Drawdown => "drawdown",
            Refused::KillSwitch => "kill_switch",
            Refused::TradingLinkDown => "trading_link_down",
            Refused::WarmingUp => "warming_up",
            Refused::RateDeclared => "rate_declared",
            Refused::RejectPause => "reject_pause",
        }
    }
}

/// How often each reason was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefusedCounts([u64; Refused::COUNT]);
impl RefusedCounts {
    #[inline]
    pub fn add(&mut self, reason: Refused) {
        self.0[reason as usize] += 1;
    }
    pub fn get(&self, reason: Refused) -> u64 {
        self.0[reason as usize]
    }
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
    /// Reasons given at least once.
    pub fn iter(&self) -> impl Iterator<Item = (Refused, u64)> + '_ {
        Refused::ALL.into_iter().map(|reason| (reason, self.get(reason))).filter(|(_, n)| *n > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_counter_and_name() {
        let mut counts = RefusedCounts::default();
        for (place, reason) in Refused::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place);
            counts.add(reason);
        }
        assert!(Refused::ALL.into_iter().all(|reason| counts.get(reason) == 1));
        let mut names: Vec<_> = Refused::ALL.into_iter().map(Refused::name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Refused::COUNT);
    }
}
