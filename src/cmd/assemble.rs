//! From the checked config to the plans of the stages: the one place that knows both. What needs
//! sockets is in `outside`.

use crate::base::ids::{Cid, SymbolId};
use crate::base::time::{DAY_NS, WallNs};
use crate::base::units::{Qty, Quote, UNIT_SCALE};
use crate::config::{
    Classic as ClassicSection, Config, Environment, GuardMode as Mode, Maker as MakerSection,
    MarketSource, OnFull as FullSection, OnLoss as OnLossSection, Probe as ProbeSection,
    ProbeStyle as StyleSection, RestFallback as FallbackSection, Speed, StrategyKind,
    StrategySection, TradingMode, WaitKind as WaitSection,
};
use crate::engine::indicator::IndicatorConfig;
use crate::engine::orders::OrdersConfig;
use crate::engine::risk::{
    AccountLimits, BracketConfig, Guard, GuardMode, Limits, OnLoss, RestFallback, RiskConfig,
    RiskMemory, RiskStage,
};
use crate::engine::send::{Gate, GateConfig};
use crate::engine::sequencer::ClockPolicy;
use crate::engine::signal::{SignalConfig, SignalError, SignalStage};
use crate::engine::strategy::{
    AnyStrategy, Classic, ClassicConfig, Maker, MakerConfig, Probe, ProbeConfig, ProbeStyle,
    Weights, custom,
};
use crate::model::{Currency, Instrument, WalletKind};
use crate::runtime::topology::{
    CorePick, Layout, LinkKind, LinkSpec, OnFull, StageKind, ThreadClass, ThreadSpec, TopologySpec,
};
use crate::runtime::wait::WaitKind;
use serde::{Deserialize, Serialize};

/// Group id of the engine's orders, so that foreign ones are told apart.
pub(super) const ENGINE_GID: u64 = 7_301;

/// What a replay must know beside the config: kept in the input log's header.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Context {
    pub instruments: Vec<Instrument>,
    /// Highest client id that an earlier run may have used.
    pub cid_used: u64,
    /// What earlier runs of the account left behind; `None` = nothing.
    pub memory: Option<RiskMemory>,
}
impl Context {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        postcard::to_stdvec(self).unwrap_or_default()
    }
    /// `None` where the bytes are of another build.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Context> {
        postcard::from_bytes(bytes).ok()
    }
}

/// The stages behind the sequencer, as a run and its replay make them.
pub(super) struct Stages {
    pub signal: SignalStage,
    pub risk: RiskStage,
}

/// # Errors
/// What in the strategies cannot be.
pub(super) fn stages(config: &Config, context: &Context) -> Result<Stages, SignalError> {
    let Context { instruments, cid_used, memory } = context;
    let signal = SignalStage::new(signal(config, instruments))?;
    let mut risk =
        RiskStage::new(risk(config, instruments), orders(config, *cid_used), instruments);
    if let Some(memory) = memory {
        risk.recall(memory);
    }
    Ok(Stages { signal, risk })
}

/// The door. In a replay ages mean nothing, so there is no bound.
pub(super) fn gate(config: &Config, is_replay: bool) -> Gate {
    // At a speed other than 1 the market runs away from any age measured on the host's clock.
    let unbounded = is_replay || (is_local(config) && config.market.speed == Speed::Max);
    let order_age_max_ns = if unbounded { 0 } else { config.orders.age_max_ms * 1_000_000 };
    Gate::new(GateConfig { order_age_max_ns })
}

/// Whose time stamps are: the host's where the market runs by it, else the market's own.
pub(super) fn clock_policy(config: &Config) -> ClockPolicy {
    match (&config.market.source, config.market.speed) {
        _ if config.environment == Environment::Bitfinex => ClockPolicy::Host,
        (MarketSource::Synthetic { .. }, Speed::Times(1.0)) => ClockPolicy::Host,
        _ => ClockPolicy::Market,
    }
}

/// True where the exchange is ours and on this machine.
pub(super) fn is_local(config: &Config) -> bool {
    config.environment != Environment::Bitfinex
}

fn signal(config: &Config, instruments: &[Instrument]) -> SignalConfig {
    let strategies = match config.trading.mode {
        TradingMode::Off => Vec::new(),
        _ => config.strategies.iter().flat_map(|each| strategies(config, each)).collect(),
    };
    SignalConfig {
        instruments: instruments.to_vec(),
        wallet: config.trading.wallet,
        indicator_interval_ms: clamp_u32(config.signal.indicator_interval_ms),
        stale_after_ms: clamp_u32(config.risk.book_stale_ms),
        timeframes: config.signal.timeframes.clone(),
        indicators: IndicatorConfig::default(),
        strategies,
    }
}

/// The instances of one section: one, but for custom strategies, which have one a symbol.
fn strategies(config: &Config, section: &StrategySection) -> Vec<AnyStrategy> {
    let known = |name: &String| config.symbols.iter().position(|symbol| symbol == name);
    let symbols: Vec<SymbolId> =
        section.symbols.iter().filter_map(known).map(|at| SymbolId(at as u16)).collect();
    let qty = Qty::from_raw(section.qty);
    let allow_short = config.trading.wallet != WalletKind::Exchange;
    vec![match &section.kind {
        StrategyKind::Maker(maker) => {
            AnyStrategy::Maker(Maker::new(maker_config(maker, symbols, qty, allow_short)))
        }
        StrategyKind::Classic(classic) => {
            AnyStrategy::Classic(Classic::new(classic_config(classic, symbols, qty, allow_short)))
        }
        StrategyKind::Probe(probe) => {
            AnyStrategy::Probe(Probe::new(probe_config(probe, symbols, qty)))
        }
        StrategyKind::Custom { name } => {
            let made = symbols.iter().filter_map(|symbol| custom(name, *symbol, qty));
            return made.map(AnyStrategy::Custom).collect();
        }
    }]
}

fn maker_config(
    section: &MakerSection,
    symbols: Vec<SymbolId>,
    qty: Qty,
    allow_short: bool,
) -> MakerConfig {
    MakerConfig {
        symbols,
        qty,
        half_spread_bps_e8: section.half_spread_bps,
        skew_bps_e8: section.skew_bps,
        inventory_max: Qty::from_raw(section.inventory_max),
        requote_bps_e8: section.requote_bps,
        requote_interval_ms: clamp_u32(section.requote_interval_ms),
        allow_short,
        ..MakerConfig::default()
    }
}

fn classic_config(
    section: &ClassicSection,
    symbols: Vec<SymbolId>,
    qty: Qty,
    allow_short: bool,
) -> ClassicConfig {
    ClassicConfig {
        symbols,
        qty,
        timeframe: section.timeframe,
        confidence_min: ratio(section.confidence_min),
        weights: Weights {
            ema: ratio(section.weight_ema),
            rsi: ratio(section.weight_rsi),
            atr: ratio(section.weight_atr),
        },
        stop_atr: ratio(section.stop_atr),
        target_atr: ratio(section.target_atr),
        trailing_stop: section.trailing_stop,
        bracket: section.bracket,
        regime_enabled: section.regime_enabled,
        cooldown_bars: section.cooldown_bars,
        allow_short,
        ..ClassicConfig::default()
    }
}

fn probe_config(section: &ProbeSection, symbols: Vec<SymbolId>, qty: Qty) -> ProbeConfig {
    ProbeConfig {
        symbols,
        qty,
        every_changes: section.every_changes,
        style: match section.style {
            StyleSection::Rest => ProbeStyle::Rest,
            StyleSection::Take => ProbeStyle::Take,
        },
        distance_bps_e8: section.distance_bps,
        stop_bps_e8: section.stop_bps,
        target_bps_e8: section.target_bps,
        hold_ms: clamp_u32(section.hold_ms),
        ..ProbeConfig::default()
    }
}

/// A ratio of the config, 1e-8, as the indicators' side reads it.
fn ratio(value: i64) -> f64 {
    value as f64 / UNIT_SCALE as f64
}

/// Whole basis points out of 1e-8 of one, rounded up: a collar of a fraction is not none at all.
fn whole_bps(value: i64) -> u16 {
    let whole = value.div_euclid(UNIT_SCALE) + i64::from(value.rem_euclid(UNIT_SCALE) != 0);
    u16::try_from(whole).unwrap_or(u16::MAX)
}

pub(super) fn clamp_u32(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn account_limits(config: &Config, instruments: &[Instrument]) -> AccountLimits {
    let section = &config.risk.account;
    let of_first = instruments.first().map(|row| row.quote).unwrap_or_default();
    AccountLimits {
        equity_currency: Currency::new(&section.equity_currency)
            .filter(|currency| !currency.is_empty())
            .unwrap_or(of_first),
        zone: section.time_zone,
        daily_loss_max: Quote::from_raw(section.daily_loss_max),
        daily_loss_max_pct: section.daily_loss_max_pct,
        drawdown_max: Quote::from_raw(section.drawdown_max),
        drawdown_max_pct: section.drawdown_max_pct,
        on_loss: match section.on_loss {
            OnLossSection::Block => OnLoss::Block,
            OnLossSection::Flatten => OnLoss::Flatten,
            OnLossSection::Kill => OnLoss::Kill,
        },
        loss_streak_max: section.loss_streak_max,
        reject_streak_max: section.reject_streak_max,
        cooldown_s: section.cooldown_s,
        cooldown_symbol_s: section.cooldown_symbol_s,
        foreign_pause_s: section.foreign_pause_s,
        trades_day_max: section.trades_day_max,
        symbol_trades_day_max: section.symbol_trades_day_max,
        windows: section.trading_windows.clone(),
        volatility_max_bps: section.volatility_max_bps,
        volatility_window_ms: section.volatility_window_ms,
        volatility_pause_s: section.volatility_pause_s,
    }
}

fn risk(config: &Config, instruments: &[Instrument]) -> RiskConfig {
    let mode = |mode: Mode| match mode {
        Mode::Off => GuardMode::Off,
        Mode::Shadow => GuardMode::Shadow,
        Mode::On => GuardMode::On,
    };
    let mut risk = RiskConfig::default();
    let section = &config.risk;
    for (guard, value) in [
        (Guard::OrderNotional, section.guards.order_notional),
        (Guard::MaxPosition, section.guards.position),
        (Guard::TotalExposure, section.guards.exposure),
        (Guard::OpenOrders, section.guards.open_orders),
        (Guard::OrderRate, section.guards.order_rate),
        (Guard::PriceCollar, section.guards.collar),
        (Guard::Stale, section.guards.stale_book),
        (Guard::Repeat, section.guards.repeat),
        (Guard::UnknownEquity, section.guards.unknown_equity),
        (Guard::DailyLoss, section.guards.daily_loss),
        (Guard::Drawdown, section.guards.drawdown),
        (Guard::LossStreak, section.guards.loss_streak),
        (Guard::RejectStreak, section.guards.reject_streak),
        (Guard::Cooldown, section.guards.cooldown),
        (Guard::ForeignActivity, section.guards.foreign_activity),
        (Guard::TradingWindow, section.guards.trading_window),
        (Guard::Volatility, section.guards.volatility),
        (Guard::DailyTrades, section.guards.trades_day),
        (Guard::SymbolDailyTrades, section.guards.symbol_trades_day),
        (Guard::NakedPosition, section.guards.naked_position),
    ] {
        risk.guards[guard as usize] = mode(value);
    }
    let orders_open_max = u16::try_from(section.orders_open_max).unwrap_or(u16::MAX);
    RiskConfig {
        wallet: config.trading.wallet,
        leverage: config.trading.leverage,
        limits: Limits {
            order_notional_max: Quote::from_raw(section.order_notional_max),
            position_max: Quote::from_raw(section.position_notional_max),
            open_orders_max: orders_open_max,
        },
        exposure_max: Quote::from_raw(section.exposure_max),
        open_orders_max: orders_open_max,
        rate_max: u16::try_from(section.order_rate_max).unwrap_or(u16::MAX),
        rate_window_ms: clamp_u32(section.order_rate_window_ms),
        collar_bps: whole_bps(section.collar_bps),
        stale_after_ms: clamp_u32(section.book_stale_ms),
        repeat_max: section.account.repeat_max,
        repeat_window_ms: section.account.repeat_window_ms,
        brackets: BracketConfig {
            naked_alarm_after_s: clamp_u32(config.orders.naked_alarm_after_s),
            naked_close_after_s: clamp_u32(config.orders.naked_close_after_s),
            retry_ms: clamp_u32(config.orders.protect_retry_ms),
        },
        rest_fallback: rest_fallback(config),
        account: account_limits(config, instruments),
        ..risk
    }
}

/// What goes by REST while the private socket is down.
pub(super) fn rest_fallback(config: &Config) -> RestFallback {
    match config.orders.rest_fallback {
        FallbackSection::Off => RestFallback::Off,
        FallbackSection::Cancels => RestFallback::Cancels,
        FallbackSection::On => RestFallback::On,
    }
}

/// `speed` scales what is measured in market time but answered in host time.
fn orders(config: &Config, cid_used: u64) -> OrdersConfig {
    // On a market's own clock at full speed hours pass between an order and its answer; a time-out
    // there would say nothing. Links that break are noticed, and make orders unknown as always.
    let ack_timeout_ms = match config.market.speed {
        _ if !is_local(config) => config.orders.ack_timeout_ms,
        Speed::Max => u64::from(u32::MAX),
        Speed::Times(times) => (config.orders.ack_timeout_ms as f64 * times.max(1.0)) as u64,
    };
    OrdersConfig {
        ack_timeout_ms: clamp_u32(ack_timeout_ms),
        unknown_absent_after_s: clamp_u32(config.orders.unknown_absent_after_s),
        gid: ENGINE_GID,
        cid_used: Cid(cid_used),
        ..OrdersConfig::default()
    }
}

/// Threads and rings as the config wants them.
pub(super) fn topology(config: &Config) -> TopologySpec {
    let section = &config.topology;
    let wait = |wait: WaitSection| match wait {
        WaitSection::Auto => None,
        WaitSection::Spin => Some(WaitKind::Spin),
        WaitSection::SpinYield => Some(WaitKind::SpinYield),
        WaitSection::Backoff => Some(WaitKind::Backoff),
        WaitSection::Park => Some(WaitKind::Park),
    };
    let threads = section.threads.iter().map(|thread| ThreadSpec {
        name: thread.name.clone(),
        stages: thread.stages.iter().filter_map(|name| StageKind::from_name(name)).collect(),
        core: thread.core.map_or(CorePick::Float, |core| CorePick::Cpu(core as usize)),
        wait: wait(thread.wait).unwrap_or(WaitKind::Backoff),
        class: if thread.critical { ThreadClass::Critical } else { ThreadClass::Normal },
    });
    let links = section.links.iter().filter_map(|link| {
        let on_full = match link.on_full {
            FullSection::Conflate => OnFull::Conflate,
            FullSection::Stall => OnFull::Stall,
            FullSection::Halt => OnFull::Halt,
        };
        let kind = LinkKind::from_name(link.name)?;
        Some(LinkSpec { link: kind, depth: link.depth, on_full: Some(on_full) })
    });
    TopologySpec {
        layout: Layout::from_name(section.layout.name()).unwrap_or_default(),
        wait: wait(section.wait),
        threads: threads.collect(),
        links: links.collect(),
    }
}

/// The wall clock as `2026-11-24T05:00:00Z`.
pub(super) fn utc_text(at: WallNs) -> String {
    let (year, month, day) = at.utc_date();
    let second = at.0.rem_euclid(DAY_NS) / 1_000_000_000;
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}
