//! From the checked config to what stands around the line: sessions, sockets, REST, and the
//! exchange in this process or on this machine.

use super::assemble::{clamp_u32, is_local};
use crate::base::ids::SymbolId;
use crate::base::time::WallNs;
use crate::base::units::UNIT_SCALE;
use crate::config::{
    ChannelPlan, Config, Environment, Frequency, HttpVersion, MarketSource, Precision,
    RecordedChannel as RecordedPlan, Speed,
};
use crate::exchange::{
    AccountSpec, CaptureSource, ExchangeConfig, FeedKey, Fees, MarketSource as _, SymbolSpec,
    SyntheticConfig, WaitFor, frame_name,
};
use crate::io::dial::{DialSpec, WsUrl};
use crate::io::http::{self, RestConfig};
use crate::io::socket::SocketOptions;
use crate::io::tls::{Trust, client_config};
use crate::line::connect::ConnectConfig;
use crate::model::{ChannelKind, Timeframe};
use crate::runtime::server;
use crate::venue::private::PrivateConfig;
use crate::venue::public::{self, PublicConfig, Subscription, conf};
use std::path::PathBuf;
use std::time::Duration;

/// Key of the embedded exchange's one account; no secret, it opens nothing but this process's own
/// market.
pub(super) const EMBEDDED_KEY: &str = "embedded-key";
pub(super) const EMBEDDED_SECRET: &str = "embedded-secret";

/// Websocket and REST address of an exchange of ours in another process, from `HOST:PORT` or a
/// `ws://` or `wss://` address.
///
/// # Errors
/// What to write instead.
pub(super) fn attached(address: &str) -> Result<(String, String), String> {
    let ws_url = match address.contains("://") {
        true => address.to_owned(),
        false => format!("ws://{address}/ws/2"),
    };
    let rest = |from: &str, to: &str| {
        let host = ws_url.strip_prefix(from)?.split('/').next()?;
        Some(format!("{to}{host}"))
    };
    let rest_url = rest("ws://", "http://").or_else(|| rest("wss://", "https://"));
    match (WsUrl::parse(&ws_url), rest_url) {
        (Some(_), Some(rest_url)) => Ok((ws_url, rest_url)),
        _ => Err(format!("`{address}` is no address; write 127.0.0.1:PORT or ws://… or wss://…")),
    }
}

/// What a recording holds, for the config to follow.
pub(super) fn recorded_channels(source: &CaptureSource) -> Vec<RecordedPlan> {
    let precision_of = |digits: u32| match digits {
        5 => Precision::P0,
        4 => Precision::P1,
        3 => Precision::P2,
        2 => Precision::P3,
        _ => Precision::P4,
    };
    let frequency_of = |slow: bool| if slow { Frequency::F1 } else { Frequency::F0 };
    let plans = source.channels().iter().filter_map(|channel| {
        let plain = RecordedPlan {
            symbol: channel.symbol.clone(),
            kind: ChannelKind::Trades,
            precision: Precision::P0,
            frequency: Frequency::F0,
            length: 25,
            timeframe: None,
        };
        Some(match channel.key {
            FeedKey::Book { digits, slow, len, .. } => RecordedPlan {
                kind: ChannelKind::Book,
                precision: precision_of(digits),
                frequency: frequency_of(slow),
                length: len,
                ..plain
            },
            FeedKey::Raw { slow, len, .. } => RecordedPlan {
                kind: ChannelKind::RawBook,
                frequency: frequency_of(slow),
                length: len,
                ..plain
            },
            FeedKey::Trades { .. } => plain,
            FeedKey::Ticker { .. } => RecordedPlan { kind: ChannelKind::Ticker, ..plain },
            FeedKey::Status { .. } => RecordedPlan { kind: ChannelKind::Status, ..plain },
            FeedKey::Liquidations => return None,
            FeedKey::Candles { frame, .. } => RecordedPlan {
                kind: ChannelKind::Candles,
                timeframe: Some(Timeframe::from_name(frame_name(frame)?)?),
                ..plain
            },
        })
    });
    plans.collect()
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
    // A recording's gaps are its own, and at full speed nothing is usual.
    let is_paced = matches!(config.market.speed, Speed::Times(_));
    let is_live = config.environment == Environment::Bitfinex;
    let is_made_up = matches!(config.market.source, MarketSource::Synthetic { .. });
    let hushes = is_live || (is_paced && is_made_up);
    PublicConfig {
        flags,
        hb_silence_ms: channels.silence_ms,
        hush_factor: if hushes { channels.hush_factor } else { 0 },
        hush_ms: channels.hush_ms,
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
    let one = |plan: &ChannelPlan| {
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
            ChannelKind::Trades => {
                Subscription::trades(symbol).quiet_after_ms(clamp_u32(channels.quiet_trades_ms))
            }
            ChannelKind::Ticker => Subscription::ticker(symbol),
            ChannelKind::Candles => {
                Subscription::candles(symbol, plan.timeframe.unwrap_or(Timeframe::M1))
            }
            ChannelKind::Status => Subscription::status(symbol),
        }
    };
    config.socket_plan().iter().map(|socket| socket.iter().map(one).collect()).collect()
}

/// Budget and backoff of connections; an exchange on this machine limits nobody, so waits are
/// short there.
pub(super) fn connect(config: &Config, trading: bool) -> ConnectConfig {
    let local = is_local(config);
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
    let tls =
        if parsed.tls { Some(client_config(&trust(ca)).map_err(|e| e.to_string())?) } else { None };
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

pub(super) fn rest(config: &Config, trust: Trust) -> RestConfig {
    RestConfig {
        trust,
        loopback_only: is_local(config),
        connect_max: Duration::from_millis(config.rest.connect_timeout_ms),
        total_max: Duration::from_millis(config.rest.total_timeout_ms),
        version: match config.rest.http_version {
            HttpVersion::Auto => http::HttpVersion::Auto,
            HttpVersion::V11 => http::HttpVersion::V11,
            HttpVersion::V2 => http::HttpVersion::V2,
        },
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
    ExchangeConfig {
        symbols: config.symbols.iter().map(|name| SymbolSpec::named(name)).collect(),
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

/// The seeded market of the embedded environment.
pub(super) fn synthetic(config: &Config, seed: u64, start: WallNs) -> SyntheticConfig {
    SyntheticConfig { symbols: config.symbols.clone(), seed, start, ..SyntheticConfig::default() }
}

pub(super) fn server_speed(speed: Speed) -> server::Speed {
    match speed {
        Speed::Max => server::Speed::Max,
        Speed::Times(1.0) => server::Speed::Real,
        Speed::Times(times) => server::Speed::Times(times),
    }
}
