//! From the checked config to the plans of the rooms that run: the one place that knows both.

use crate::base::ids::SymbolId;
use crate::base::time::WallNs;
use crate::base::units::{Px, Qty, Quote, UNIT_SCALE};
use crate::config::{
    Config, Environment, Frequency, GuardMode as Mode, MarketSource, Precision, Speed,
};
use crate::engine::orders::OrdersConfig;
use crate::engine::risk::{Guard, GuardMode, Limits, RiskConfig};
use crate::exchange::{AccountSpec, ExchangeConfig, Fees, SymbolSpec, WaitFor};
use crate::io::dial::{DialSpec, WsUrl};
use crate::io::rest::RestConfig;
use crate::io::socket::SocketOptions;
use crate::io::tls::{Trust, client_config};
use crate::line::connect::ConnectConfig;
use crate::model::{ChannelKind, Instrument, SymbolName};
use crate::runtime::server;
use crate::venue::private::PrivateConfig;
use crate::venue::public::{self, PublicConfig, Subscription, conf};
use std::path::PathBuf;
use std::time::Duration;

/// Group id of the engine's orders, so that foreign ones are told apart.
pub(super) const ENGINE_GID: u64 = 7_301;
/// Key of the embedded exchange's one account; no secret, it opens nothing but this process's own market.
pub(super) const EMBEDDED_KEY: &str = "embedded-key";
pub(super) const EMBEDDED_SECRET: &str = "embedded-secret";

/// Whole basis points out of 1e-8 of one, rounded up so that a limit is never wider by rounding to zero.
fn whole_bps(value: i64) -> u16 {
    let whole = value.div_euclid(UNIT_SCALE) + i64::from(value.rem_euclid(UNIT_SCALE) != 0);
    u16::try_from(whole).unwrap_or(u16::MAX)
}

fn clamp_u32(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

pub(super) fn risk(config: &Config) -> RiskConfig {
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
        ..risk
    }
}

/// `speed` scales what is measured in market time but answered in host time.
pub(super) fn orders(config: &Config, cid_used: u64) -> OrdersConfig {
    // On a market's own clock at full speed hours pass between an order and its answer; a time-out there
    // would say nothing. Links that break are still noticed, and make orders unknown as always.
    let ack_timeout_ms = match config.market.speed {
        _ if config.environment == Environment::Bitfinex => config.orders.ack_timeout_ms,
        Speed::Max => u64::from(u32::MAX),
        Speed::Times(times) => (config.orders.ack_timeout_ms as f64 * times.max(1.0)) as u64,
    };
    OrdersConfig {
        ack_timeout_ms: clamp_u32(ack_timeout_ms),
        unknown_absent_after_s: clamp_u32(config.orders.unknown_absent_after_s),
        gid: ENGINE_GID,
        cid_used: crate::base::ids::Cid(cid_used),
        ..OrdersConfig::default()
    }
}

pub(super) fn public(config: &Config) -> PublicConfig {
    let channels = &config.channels;
    let mut flags = conf::TIMESTAMP | conf::SEQ_ALL;
    if channels.checksum {
        flags |= conf::OB_CHECKSUM;
    }
    if channels.bulk {
        flags |= conf::BULK;
    }
    PublicConfig {
        flags,
        hb_silence_ms: channels.silence_ms,
        subscribe_timeout_ms: channels.subscribe_timeout_ms,
        ping_interval_ms: channels.ping_interval_ms,
        resync_budget: u8::try_from(channels.resync_max).unwrap_or(8).clamp(1, 8),
        resync_window_ms: channels.resync_window_ms,
        ..PublicConfig::default()
    }
}

pub(super) fn private(config: &Config) -> PrivateConfig {
    PrivateConfig {
        flags: conf::TIMESTAMP | conf::SEQ_ALL,
        dms: config.trading.dead_man_switch,
        hb_silence_ms: config.channels.silence_ms,
        ping_interval_ms: config.channels.ping_interval_ms,
        ..PrivateConfig::default()
    }
}

/// Sockets and their channels.
pub(super) fn sockets(config: &Config) -> Vec<Vec<Subscription>> {
    let channels = &config.channels;
    let one = |plan: &crate::config::ChannelPlan| {
        let symbol = SymbolId(plan.symbol as u16);
        let prec = match plan.precision {
            Precision::P0 => public::Precision::P0,
            Precision::P1 => public::Precision::P1,
            Precision::P2 => public::Precision::P2,
            Precision::P3 => public::Precision::P3,
            Precision::P4 => public::Precision::P4,
        };
        let freq = match plan.frequency {
            Frequency::F0 => public::Frequency::F0,
            Frequency::F1 => public::Frequency::F1,
        };
        match plan.kind {
            ChannelKind::Book => Subscription::book(symbol, prec, freq, plan.length)
                .quiet_after_ms(clamp_u32(channels.quiet_book_ms)),
            ChannelKind::RawBook => {
                Subscription::book(symbol, public::Precision::R0, freq, plan.length)
                    .quiet_after_ms(clamp_u32(channels.quiet_book_ms))
            }
            ChannelKind::Trades => Subscription::trades(symbol)
                .quiet_after_ms(clamp_u32(channels.quiet_trades_ms)),
            ChannelKind::Ticker => Subscription::ticker(symbol),
            ChannelKind::Candles => {
                Subscription::candles(symbol, plan.timeframe.unwrap_or(crate::model::Timeframe::M1))
            }
            ChannelKind::Status => Subscription::status(symbol),
        }
    };
    config.socket_plan().iter().map(|socket| socket.iter().map(one).collect()).collect()
}

/// Budget and backoff of connections; an exchange on this machine limits nobody, so waits are short there.
pub(super) fn connect(config: &Config, trading: bool) -> ConnectConfig {
    let local = config.environment != Environment::Bitfinex;
    let window = match (local, trading) {
        (true, _) => (20, 1),
        (false, true) => (5, 15),
        (false, false) => (config.channels.connects_per_minute as u32, 60),
    };
    ConnectConfig {
        backoff_ms_min: config.channels.reconnect_min_ms,
        backoff_ms_max: if local {
            config.channels.reconnect_max_ms.min(2_000)
        } else {
            config.channels.reconnect_max_ms
        },
        connects_per_window: window.0,
        window_s: window.1,
        ..ConnectConfig::default()
    }
}

/// Where sockets lead, and how they are secured.
///
/// # Errors
/// An address or a CA file that cannot be used, in words.
pub(super) fn dial(url: &str, ca: Option<&PathBuf>, local: bool) -> Result<DialSpec, String> {
    let parsed = WsUrl::parse(url)
        .ok_or_else(|| format!("`{url}` is not a websocket address; write ws://… or wss://…"))?;
    let tls = if parsed.tls { Some(client_config(&trust(ca)).map_err(|e| e.to_string())?) } else { None };
    Ok(DialSpec {
        url: parsed,
        tls,
        options: SocketOptions::default(),
        deadline: Duration::from_secs(10),
        loopback_only: local,
        user_agent: "genesis".to_owned(),
    })
}

pub(super) fn trust(ca: Option<&PathBuf>) -> Trust {
    ca.map_or(Trust::WebRoots, |path| Trust::CaFile(path.clone()))
}

pub(super) fn rest(config: &Config, ca: Option<&PathBuf>, local: bool) -> RestConfig {
    RestConfig {
        trust: trust(ca),
        loopback_only: local,
        connect_max: Duration::from_millis(config.rest.connect_timeout_ms),
        total_max: Duration::from_millis(config.rest.total_timeout_ms),
        ..RestConfig::default()
    }
}

/// The exchange of the embedded environment.
pub(super) fn exchange(config: &Config) -> ExchangeConfig {
    // 1e-8 of a basis point (1e-4) to 1e-6 of the value.
    let fee = |bps: i64| bps * 100 / UNIT_SCALE;
    let mut account = AccountSpec::funded(EMBEDDED_KEY, EMBEDDED_SECRET);
    for (_, currency, units) in &mut account.balances {
        if currency == "USD" {
            *units = config.exchange.balance_usd;
        }
    }
    let mut names: Vec<&str> = config.symbols.iter().map(String::as_str).collect();
    if let MarketSource::Synthetic { .. } = config.market.source {
        names.dedup();
    }
    ExchangeConfig {
        symbols: names.iter().map(|name| SymbolSpec::named(name)).collect(),
        fees: Fees {
            maker_e6: fee(config.exchange.maker_fee_bps),
            taker_e6: fee(config.exchange.taker_fee_bps),
        },
        accounts: vec![account],
        heartbeat_ms: config.exchange.heartbeat_ms as i64,
        wait_for: WaitFor::EveryChannel,
        ..ExchangeConfig::default()
    }
}

pub(super) fn server_speed(speed: Speed) -> server::Speed {
    match speed {
        Speed::Max => server::Speed::Max,
        Speed::Times(1.0) => server::Speed::Real,
        Speed::Times(times) => server::Speed::Times(times),
    }
}

/// The run's instruments out of what the venue says about its pairs: `(pair without t, min, max)`.
///
/// # Errors
/// Symbols that the venue does not list, in words.
pub(super) fn instruments(
    config: &Config,
    listed: &[(String, Qty, Qty)],
) -> Result<Vec<Instrument>, String> {
    let mut rows = Vec::new();
    let mut missing = Vec::new();
    for (index, name) in config.symbols.iter().enumerate() {
        let pair = name.strip_prefix('t').unwrap_or(name);
        let (Some(symbol), Some((base, quote))) =
            (SymbolName::new(name), Instrument::split_name(name))
        else {
            missing.push(name.clone());
            continue;
        };
        match listed.iter().find(|(listed, _, _)| listed == pair) {
            Some((_, qty_min, qty_max)) => rows.push(Instrument {
                id: SymbolId(index as u16),
                name: symbol,
                base,
                quote,
                qty_min: *qty_min,
                qty_max: *qty_max,
            }),
            None => missing.push(name.clone()),
        }
    }
    if missing.is_empty() {
        return Ok(rows);
    }
    let near: Vec<String> = listed.iter().take(8).map(|(pair, _, _)| format!("t{pair}")).collect();
    Err(format!(
        "the venue does not list {}; it lists {} pairs, e.g. {}; correct `symbols`",
        missing.join(", "),
        listed.len(),
        near.join(", ")
    ))
}

/// For messages: a price as the operator reads it.
pub(super) fn px(value: Px) -> String {
    value.to_string()
}

/// The wall clock as `2026-11-24T05:00:00Z`.
pub(super) fn utc_text(at: WallNs) -> String {
    let (year, month, day) = at.utc_date();
    let second = at.0.rem_euclid(crate::base::time::DAY_NS) / 1_000_000_000;
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}
