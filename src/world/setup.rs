//! What a world is made of: the market, the venue, and an engine as a run would set it up.

use super::canary::Canary;
use crate::base::ids::{Cid, ConnId, SymbolId};
use crate::base::time::{DAY_NS, WallNs};
use crate::base::units::{Qty, Quote};
use crate::engine::bars::{BarBuilder, BarsConfig};
use crate::engine::indicator::IndicatorConfig;
use crate::engine::mouth::{Mouth, MouthConfig};
use crate::engine::orders::OrdersConfig;
use crate::engine::risk::{
    AccountLimits, BracketConfig, Guard, GuardMode, Limits, OnLoss, Requote, RestFallback,
    RiskConfig, RiskStage,
};
use crate::engine::send::{Gate, GateConfig};
use crate::engine::sequencer::{ClockPolicy, Sequencer};
use crate::engine::signal::{SignalConfig, SignalStage};
use crate::engine::strategy::{AnyStrategy, Maker, MakerConfig, Probe, ProbeConfig, ProbeStyle};
use crate::exchange::{
    AccountSpec, Exchange, ExchangeConfig, SymbolSpec, Synthetic, SyntheticConfig, WaitFor,
};
use crate::line::chain::Chain;
use crate::line::parse::ParseLine;
use crate::line::send::SendLine;
use crate::model::{Instrument, SymbolName, Timeframe, WalletKind};
use crate::venue::private::{PrivateConfig, PrivateSession};
use crate::venue::public::{Frequency, Precision, PublicConfig, PublicSession, Subscription, conf};
use crate::venue::sign::ApiKey;
use crate::venue::symbols::SymbolTable;

pub const KEY: &str = "world-key";
pub const SECRET: &str = "world-secret";
/// Group id of the engine's orders.
pub const GID: u64 = 7_301;
/// Instruments of the market; one public socket each.
pub const SYMBOLS: [&str; 2] = ["tBTCUSD", "tETHUSD"];
/// Socket of the account, behind the public ones.
pub const TRADING: ConnId = ConnId(SYMBOLS.len() as u8);
/// Sockets in all.
pub const SOCKETS: usize = SYMBOLS.len() + 1;
/// 2026-01-06, 00:00 UTC.
const MIDNIGHT: WallNs = WallNs(1_767_657_600_000_000_000);
const _: () = assert!(MIDNIGHT.0 % DAY_NS == 0);

/// Limits that the engine is set up with and the checkers hold it to.
/// Low enough that the strategies run into them.
pub const POSITION_MAX: Quote = Quote::from_whole(2_000);
pub const EXPOSURE_MAX: Quote = Quote::from_whole(3_500);
pub const ORDER_AGE_MAX_NS: u64 = 100_000_000;
pub const STALE_AFTER_MS: u32 = 10_000;
pub const ACK_TIMEOUT_MS: u32 = 5_000;
pub const ABSENT_AFTER_S: u32 = 180;
/// A position without its protection is closed after this long.
pub const NAKED_CLOSE_AFTER_S: u32 = 10;

/// What differs from seed to seed in how the engine is set up.
#[derive(Clone, Copy, Debug)]
pub struct How {
    pub requote: Requote,
    pub on_loss: OnLoss,
    /// Whole quote; 0 = far away.
    pub loss_limit: u32,
    /// Entries that take are protected.
    pub brackets: bool,
    /// What goes by REST while the account's socket is down: mostly what is the default of a run.
    pub rest_fallback: RestFallback,
    /// Times that orders and limits are larger than usual.
    pub scale: i64,
}
impl How {
    pub fn of(seed: u64, loss_limit: u32) -> How {
        let requotes = [Requote::Amend, Requote::Replace, Requote::CancelNew];
        let on_losses = [OnLoss::Block, OnLoss::Flatten, OnLoss::Kill];
        How {
            requote: requotes[(seed % 3) as usize],
            on_loss: on_losses[(seed / 3 % 3) as usize],
            loss_limit,
            brackets: seed % 7 == 5,
            rest_fallback: match seed % 11 {
                0 => RestFallback::Off,
                1 | 4 | 7 => RestFallback::On,
                _ => RestFallback::Cancels,
            },
            scale: 1,
        }
    }
}

/// True time at which a world begins.
pub fn start(midnight_in_s: u32) -> WallNs {
    match midnight_in_s {
        0 => WallNs(MIDNIGHT.0 + 9 * 3_600_000_000_000),
        before => WallNs(MIDNIGHT.0 - i64::from(before) * 1_000_000_000),
    }
}

/// The venue with its market.
pub fn exchange(seed: u64, start: WallNs) -> Exchange {
    let symbols: Vec<String> = SYMBOLS.map(str::to_owned).to_vec();
    let market = SyntheticConfig { symbols, seed, start, ..SyntheticConfig::default() };
    let config = ExchangeConfig {
        seed,
        symbols: SYMBOLS.map(SymbolSpec::named).to_vec(),
        accounts: vec![AccountSpec::funded(KEY, SECRET)],
        wait_for: WaitFor::Nothing,
        start_at: start,
        ..ExchangeConfig::default()
    };
    Exchange::new(config, Box::new(Synthetic::new(market))).expect("a set-up of our own")
}

pub fn key() -> ApiKey {
    ApiKey::new(KEY, SECRET.as_bytes()).expect("a key of our own")
}

/// The run's table, as the venue's `conf` reads would give it.
pub fn instruments() -> Vec<Instrument> {
    let row = |(index, name): (usize, &&str)| {
        let spec = SymbolSpec::named(name);
        let (base, quote) = Instrument::split_name(name).expect("a symbol of our own");
        Instrument {
            id: SymbolId(index as u16),
            name: SymbolName::new(name).expect("a symbol of our own"),
            base,
            quote,
            qty_min: Qty::from_raw(spec.qty_min),
            qty_max: Qty::from_raw(spec.qty_max),
        }
    };
    SYMBOLS.iter().enumerate().map(row).collect()
}

fn strategies(scale: i64, brackets: bool) -> Vec<AnyStrategy> {
    // Near enough to be hit now and then.
    let (stop_bps_e8, target_bps_e8) =
        if brackets { (15 * 100_000_000, 20 * 100_000_000) } else { (0, 0) };
    let (btc, eth) = (SymbolId(0), SymbolId(1));
    let maker = |symbol, qty: i64, inventory: i64| {
        AnyStrategy::Maker(Maker::new(MakerConfig {
            symbols: vec![symbol],
            qty: Qty::from_raw(qty * scale),
            inventory_max: Qty::from_raw(inventory * scale),
            ..MakerConfig::default()
        }))
    };
    let probe = |symbol, style, every_changes, qty: i64| {
        AnyStrategy::Probe(Probe::new(ProbeConfig {
            symbols: vec![symbol],
            every_changes,
            style,
            qty: Qty::from_raw(qty * scale),
            stop_bps_e8,
            target_bps_e8,
            ..ProbeConfig::default()
        }))
    };
    vec![
        maker(btc, 1_000_000, 10_000_000),
        maker(eth, 20_000_000, 200_000_000),
        probe(btc, ProbeStyle::Take, 400, 500_000),
        probe(eth, ProbeStyle::Rest, 300, 2_000_000),
    ]
}

/// The front with its sockets.
pub fn line(seed: u64, canary: Canary) -> ParseLine {
    let table = SymbolTable::new(&instruments());
    let symbols = SYMBOLS.len();
    let timeframes = vec![Timeframe::M1];
    let bars = BarsConfig { symbols, timeframes, ..BarsConfig::default() };
    let sequencer = Sequencer::new(ClockPolicy::Host, 50);
    let mouth = Mouth::new(sequencer, MouthConfig { symbols, ..MouthConfig::default() });
    let mut line = ParseLine::new(BarBuilder::new(bars), mouth, seed);
    let mut flags = conf::TIMESTAMP | conf::SEQ_ALL | conf::OB_CHECKSUM;
    if canary == Canary::ChecksumIgnored {
        flags &= !conf::OB_CHECKSUM;
    }
    for index in 0..symbols {
        let symbol = SymbolId(index as u16);
        let subscriptions = [
            Subscription::book(symbol, Precision::P0, Frequency::F0, 25).quiet_after_ms(60_000),
            Subscription::trades(symbol),
        ];
        let config = PublicConfig { flags, ..PublicConfig::default() };
        line.add_public(PublicSession::new(config, &subscriptions, table.clone()));
    }
    let config = PrivateConfig { conn: TRADING, ..PrivateConfig::default() };
    let conn = line.add_private(PrivateSession::new(config, key(), table));
    assert_eq!(conn, TRADING, "the account's socket comes last");
    line
}

/// The stages behind the front. `cid_used` = highest client id of any earlier run.
/// `loss_limit` = whole quote, 0 = far away.
pub fn chain(seed: u64, cid_used: Cid, canary: Canary, how: How) -> Chain {
    let How { requote, on_loss, loss_limit, scale, brackets, rest_fallback } = how;
    let times = |limit: Quote| Quote::from_raw(limit.raw() * scale);
    let instruments = instruments();
    let stale_after_ms = match canary {
        Canary::StaleIgnored => u32::MAX / 2,
        _ => STALE_AFTER_MS,
    };
    let signal = SignalStage::new(SignalConfig {
        instruments: instruments.clone(),
        wallet: WalletKind::Margin,
        indicator_interval_ms: 250,
        stale_after_ms,
        timeframes: vec![Timeframe::M1],
        indicators: IndicatorConfig::default(),
        strategies: strategies(scale, brackets),
    });
    let mut guards = RiskConfig::default().guards;
    let mut limits = Limits {
        order_notional_max: times(Quote::from_whole(1_000)),
        position_max: times(POSITION_MAX),
        open_orders_max: 16,
    };
    let mut exposure_max = times(EXPOSURE_MAX);
    if canary == Canary::LimitIgnored {
        limits.position_max = Quote::from_whole(10_000_000);
        limits.order_notional_max = limits.position_max;
        exposure_max = limits.position_max;
        guards[Guard::MaxPosition as usize] = GuardMode::Shadow;
    }
    for guard in [Guard::UnknownEquity, Guard::LossStreak, Guard::RejectStreak, Guard::Cooldown] {
        guards[guard as usize] = GuardMode::On;
    }
    let mut account = AccountLimits {
        on_loss,
        loss_streak_max: 12,
        reject_streak_max: 6,
        cooldown_s: 60,
        foreign_pause_s: 10,
        ..AccountLimits::default()
    };
    if loss_limit > 0 {
        guards[Guard::DailyLoss as usize] = GuardMode::On;
        guards[Guard::ForeignActivity as usize] = GuardMode::On;
        account.daily_loss_max = Quote::from_whole(i64::from(loss_limit));
    }
    if canary == Canary::StopsLost {
        guards[Guard::NakedPosition as usize] = GuardMode::Off;
    }
    if canary == Canary::LossIgnored {
        guards[Guard::DailyLoss as usize] = GuardMode::Shadow;
    }
    let risk = RiskConfig {
        brackets: BracketConfig {
            naked_alarm_after_s: 3,
            naked_close_after_s: NAKED_CLOSE_AFTER_S,
            ..BracketConfig::default()
        },
        account,
        wallet: WalletKind::Margin,
        requote,
        rest_fallback,
        limits,
        exposure_max,
        open_orders_max: 64,
        stale_after_ms,
        guards,
        ..RiskConfig::default()
    };
    let orders = OrdersConfig {
        ack_timeout_ms: ACK_TIMEOUT_MS,
        unknown_absent_after_s: ABSENT_AFTER_S,
        gid: GID,
        cid_used,
        ..OrdersConfig::default()
    };
    let order_age_max_ns = if canary == Canary::AgeIgnored { 0 } else { ORDER_AGE_MAX_NS };
    let table = SymbolTable::new(&instruments);
    Chain {
        signal: signal.expect("strategies of our own"),
        risk: RiskStage::new(risk, orders, &instruments),
        send: SendLine::new(
            Gate::new(GateConfig { order_age_max_ns }),
            table,
            Some(GID),
            seed.wrapping_add(1),
        ),
    }
}
