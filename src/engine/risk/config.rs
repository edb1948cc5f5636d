//! What the risk stage is told at start. Plain data; `config` fills it.

use super::guards::{Guard, GuardMode};
use crate::base::ids::SymbolId;
use crate::base::units::Quote;
use crate::base::zone::{Window, Zone};
use crate::model::{Currency, OrderKind, WalletKind};

/// How a working quote is moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Requote {
    /// `ou`: keeps the venue's id; at most one on its way an order.
    #[default]
    Amend,
    /// Cancel and new in one message (`ox_multi`).
    Replace,
    /// Cancel, wait for its end, then a new order at the next quote.
    CancelNew,
}

/// Limits of one symbol. Money is in the symbol's quote currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest `px × qty` of one entry.
    pub order_notional_max: Quote,
    /// Largest position either way that can come about if everything open fills. While a change is
    /// on its way old and new size both count, so leave room for two quote sizes.
    pub position_max: Quote,
    /// Orders alive at once.
    pub open_orders_max: u16,
}
impl Default for Limits {
    fn default() -> Self {
        Self {
            order_notional_max: Quote::from_whole(1_000),
            position_max: Quote::from_whole(5_000),
            open_orders_max: 16,
        }
    }
}

/// What happens to positions when a loss guard trips. Entries are closed and own entry orders are
/// cancelled in each case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLoss {
    /// They stay.
    Block,
    /// They are closed.
    #[default]
    Flatten,
    /// The kill switch is pulled: closed, and halted until a person resets.
    Kill,
}

/// Limits of the guards that remember. Shares are in 1e-8 of a per cent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountLimits {
    /// Currency that equity is counted in.
    pub equity_currency: Currency,
    /// Day of the daily limits, and clock of the windows.
    pub zone: Zone,
    pub daily_loss_max: Quote,
    /// Of the equity at the day's start.
    pub daily_loss_max_pct: i64,
    pub drawdown_max: Quote,
    /// Of the equity at the peak.
    pub drawdown_max_pct: i64,
    pub on_loss: OnLoss,
    pub loss_streak_max: u32,
    pub reject_streak_max: u32,
    /// Pause of the account after a loss guard or a streak, s.
    pub cooldown_s: u32,
    /// Pause of a symbol after a round trip that lost, s; 0 = none.
    pub cooldown_symbol_s: u32,
    pub foreign_pause_s: u32,
    pub trades_day_max: u32,
    pub symbol_trades_day_max: u32,
    pub windows: Vec<Window>,
    /// Largest move of the middle within the window, 1e-8 of a basis point.
    pub volatility_max_bps: i64,
    pub volatility_window_ms: u32,
    pub volatility_pause_s: u32,
}
impl Default for AccountLimits {
    /// Far away: a bench sets what it asks about.
    fn default() -> Self {
        Self {
            equity_currency: Currency::new("USD").unwrap_or_default(),
            zone: Zone::UTC,
            daily_loss_max: Quote::MAX,
            daily_loss_max_pct: 100 * 100_000_000,
            drawdown_max: Quote::MAX,
            drawdown_max_pct: 100 * 100_000_000,
            on_loss: OnLoss::Flatten,
            loss_streak_max: u32::MAX,
            reject_streak_max: u32::MAX,
            cooldown_s: 900,
            cooldown_symbol_s: 0,
            foreign_pause_s: 60,
            trades_day_max: u32::MAX,
            symbol_trades_day_max: u32::MAX,
            windows: vec![Window { days: 127, from: 0, to: 1_440 }],
            volatility_max_bps: 10_000 * 100_000_000,
            volatility_window_ms: 60_000,
            volatility_pause_s: 60,
        }
    }
}

/// How positions are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BracketConfig {
    /// A position that should be protected and is not for this long raises the alarm, s.
    pub naked_alarm_after_s: u32,
    /// And after this long it is closed, s. Not before the alarm.
    pub naked_close_after_s: u32,
    /// Between two attempts at the same protective order, ms.
    pub retry_ms: u32,
}
impl Default for BracketConfig {
    fn default() -> Self {
        Self { naked_alarm_after_s: 5, naked_close_after_s: 30, retry_ms: 1_000 }
    }
}

/// What may go by REST while the private socket is down. Entries never do: their fills could not be
/// heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum RestFallback {
    #[default]
    Off,
    /// Cancels that are wanted. Said twice they do no harm.
    Cancels,
    /// And the closes of a flatten or a kill, once the account has been read by REST.
    On,
}

/// Everything the risk stage is told.
#[derive(Clone, Debug)]
pub struct RiskConfig {
    pub wallet: WalletKind,
    /// Stated on every derivatives order, 1–100; the venue's own default is 10.
    pub leverage: u16,
    pub requote: Requote,
    /// Type of orders that take (`Urgency::Take`): `Ioc`, `Limit` or `Market`.
    pub take_kind: OrderKind,
    /// Limits of symbols without their own.
    pub limits: Limits,
    pub symbol_limits: Vec<(SymbolId, Limits)>,
    /// Largest sum over all symbols of the position that can come about. Counted as if all quote
    /// currencies were one; give symbols quoted in something else their own limits.
    pub exposure_max: Quote,
    /// Orders alive at once in all symbols, at most `ORDERS_OPEN_MAX`.
    pub open_orders_max: u16,
    /// At most so many new and changed orders in any `rate_window_ms`. Default 900 in 5 minutes:
    /// the venue's known base is 1,000.
    pub rate_max: u16,
    pub rate_window_ms: u32,
    /// And at most so many in any second.
    pub rate_burst_max: u16,
    /// A book not changed for this long is stale, ms of stamps.
    pub stale_after_ms: u32,
    /// No order may take further from the middle than this, basis points.
    pub collar_bps: u16,
    /// How far past the best price an order that takes is priced, basis points; below the collar.
    pub take_slippage_bps: u16,
    /// Same order (symbol, side, price, size) more often than this within `repeat_window_ms`:
    /// refused. At most 64, as many orders as are remembered.
    pub repeat_max: u16,
    pub repeat_window_ms: u32,
    /// The venue's position may differ from ours this long before entries are blocked, ms.
    pub mismatch_grace_ms: u32,
    /// Whether entries wait for a full reconcile round after each log-in: begin and end marks of
    /// `RestOrders`, `RestHistory` and `RestTrades`, then `LinkState::Reconciled`, all after
    /// `Authenticated`. Else the order snapshot of the log-in is enough.
    pub require_reconcile: bool,
    /// Whether orders that may open are cancelled when a person pauses.
    pub cancel_entries_on_pause: bool,
    /// A position target that had to wait for an order's end is dropped after this long, ms.
    pub target_wait_ms: u32,
    /// Closing orders sent by one flatten before it gives up and reports what is left.
    pub flatten_attempts_max: u8,
    /// Between two of them, ms.
    pub flatten_retry_ms: u32,
    pub brackets: BracketConfig,
    pub rest_fallback: RestFallback,
    /// Of the guards that remember.
    pub account: AccountLimits,
    /// By `Guard as usize`. Guards that are not `is_switchable` are on whatever stands here.
    pub guards: [GuardMode; Guard::COUNT],
}
impl Default for RiskConfig {
    fn default() -> Self {
        let mut guards = [GuardMode::On; Guard::COUNT];
        for guard in [
            Guard::Repeat,
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
        ] {
            guards[guard as usize] = GuardMode::Off;
        }
        Self {
            wallet: WalletKind::Margin,
            leverage: 1,
            requote: Requote::Amend,
            take_kind: OrderKind::Ioc,
            limits: Limits::default(),
            symbol_limits: Vec::new(),
            exposure_max: Quote::from_whole(20_000),
            open_orders_max: 64,
            rate_max: 900,
            rate_window_ms: 300_000,
            rate_burst_max: 30,
            stale_after_ms: 5_000,
            collar_bps: 100,
            take_slippage_bps: 20,
            repeat_max: 20,
            repeat_window_ms: 1_000,
            mismatch_grace_ms: 5_000,
            require_reconcile: true,
            cancel_entries_on_pause: true,
            target_wait_ms: 5_000,
            flatten_attempts_max: 20,
            flatten_retry_ms: 1_000,
            brackets: BracketConfig::default(),
            rest_fallback: RestFallback::default(),
            account: AccountLimits::default(),
            guards,
        }
    }
}
