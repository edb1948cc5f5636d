//! Sections about decisions: trading, strategies, signal, risk, orders.

use super::account::{AccountSection, read_account};
use super::market::timeframes;
use super::reader::{Key, Scope, key};
use crate::base::limits::ORDERS_OPEN_MAX;
use crate::engine::strategy::custom_names;
use crate::model::{Timeframe, WalletKind};
use toml::Table;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TradingMode {
    /// Market data only; strategies are not asked.
    Off,
    /// Orders to the exchange of this repository.
    Paper,
    /// Orders to the venue's own TEST pairs.
    Test,
    /// Real orders. Needs `--arm` with the account's name, too.
    Live,
}
impl TradingMode {
    pub fn name(self) -> &'static str {
        match self {
            TradingMode::Off => "off",
            TradingMode::Paper => "paper",
            TradingMode::Test => "test",
            TradingMode::Live => "live",
        }
    }
}

/// What happens to positions at a graceful stop. Own orders are always cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStop {
    Keep,
    Flatten,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trading {
    pub mode: TradingMode,
    /// Name that `--arm` must repeat; empty = live cannot start.
    pub account: String,
    pub wallet: WalletKind,
    pub leverage: u16,
    pub on_stop: OnStop,
    pub stop_timeout_ms: u64,
    pub dead_man_switch: bool,
}

/// One `[[strategy]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StrategySection {
    pub symbols: Vec<String>,
    /// Base units of one order, 1e-8.
    pub qty: i64,
    pub kind: StrategyKind,
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StrategyKind {
    Maker(Maker),
    Classic(Classic),
    Probe(Probe),
    /// One of `engine::strategy::custom_names`.
    Custom {
        name: String,
    },
}
impl StrategyKind {
    pub fn name(&self) -> &'static str {
        match self {
            StrategyKind::Maker(_) => "maker",
            StrategyKind::Classic(_) => "classic",
            StrategyKind::Probe(_) => "probe",
            StrategyKind::Custom { .. } => "custom",
        }
    }
}

/// Two-sided quotes around the middle. Every `_bps` here is in 1e-8 of a basis point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maker {
    pub half_spread_bps: i64,
    pub skew_bps: i64,
    /// Base units, 1e-8.
    pub inventory_max: i64,
    pub requote_bps: i64,
    pub requote_interval_ms: u64,
}

/// Weighted EMA, RSI, ATR with regimes. Ratios are in 1e-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classic {
    pub timeframe: Timeframe,
    pub confidence_min: i64,
    pub weight_ema: i64,
    pub weight_rsi: i64,
    pub weight_atr: i64,
    pub regime_enabled: bool,
    pub stop_atr: i64,
    pub target_atr: i64,
    pub trailing_stop: bool,
    pub bracket: bool,
    pub cooldown_bars: u32,
}

/// One order per trigger, to measure latency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    pub every_changes: u32,
    pub style: ProbeStyle,
    /// 1e-8 of a basis point.
    pub distance_bps: i64,
    /// The same; 0 = none.
    pub stop_bps: i64,
    pub target_bps: i64,
    pub hold_ms: u64,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeStyle {
    /// Post-only far from the touch, then cancelled.
    Rest,
    /// Takes, buying and selling in turn.
    Take,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignalSection {
    pub indicator_interval_ms: u64,
    pub timeframes: Vec<Timeframe>,
    pub tick_ms: u64,
    pub warmup_bars: u32,
}

/// How a guard acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardMode {
    Off,
    /// Counts what it would have refused.
    Shadow,
    On,
}

/// Limits in 1e-8 of the symbol's quote currency where they are money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RiskSection {
    pub order_notional_max: i64,
    pub position_notional_max: i64,
    pub exposure_max: i64,
    pub orders_open_max: usize,
    pub order_rate_max: u32,
    pub order_rate_window_ms: u64,
    /// 1e-8 of a basis point.
    pub collar_bps: i64,
    pub book_stale_ms: u64,
    pub account: AccountSection,
    pub guards: Guards,
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guards {
    pub order_notional: GuardMode,
    pub position: GuardMode,
    pub exposure: GuardMode,
    pub open_orders: GuardMode,
    pub order_rate: GuardMode,
    pub collar: GuardMode,
    pub stale_book: GuardMode,
    pub repeat: GuardMode,
    pub unknown_equity: GuardMode,
    pub daily_loss: GuardMode,
    pub drawdown: GuardMode,
    pub loss_streak: GuardMode,
    pub reject_streak: GuardMode,
    pub cooldown: GuardMode,
    pub foreign_activity: GuardMode,
    pub trading_window: GuardMode,
    pub volatility: GuardMode,
    pub trades_day: GuardMode,
    pub symbol_trades_day: GuardMode,
    pub naked_position: GuardMode,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrdersSection {
    pub ack_timeout_ms: u64,
    pub age_max_ms: u64,
    pub unknown_absent_after_s: u64,
    pub naked_alarm_after_s: u64,
    pub naked_close_after_s: u64,
    pub protect_retry_ms: u64,
    pub rest_fallback: RestFallback,
}

/// What goes by REST while the private socket is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestFallback {
    Off,
    Cancels,
    On,
}

/// Keys that must be written by the operator before real orders may leave: a default is not a
/// decision.
pub(super) const WRITTEN_FOR_LIVE: &[&str] = &[
    "risk.order_notional_max",
    "risk.position_notional_max",
    "risk.exposure_max",
    "risk.orders_open_max",
    "risk.order_rate_max",
    "risk.collar_bps",
    "risk.account.daily_loss_max",
    "risk.account.drawdown_max",
    "risk.account.trades_day_max",
    "trading.wallet",
    "trading.leverage",
];

pub(super) fn read_trading(root: &mut Scope<'_, '_>) -> Trading {
    let mut s = root.section("trading", "Where orders go, and how a run ends.");
    let section = Trading {
        mode: s.choice(
            key(
                "mode",
                "",
                "off: market data only. paper: the exchange of this repository. test: the venue's \
                 own TEST pairs. live: real orders, which also need `--arm ACCOUNT`. Paper, \
                 because nothing real may happen by default.",
            ),
            TradingMode::Paper,
            &[
                ("off", TradingMode::Off),
                ("paper", TradingMode::Paper),
                ("test", TradingMode::Test),
                ("live", TradingMode::Live),
            ],
        ),
        account: s.text(
            key("account", "", "The name that `--arm` must repeat. Empty: live cannot start."),
            "",
            "letters, digits, - and _, at most 32",
            |text| {
                let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
                if text.len() <= 32 && text.chars().all(good) {
                    Ok(())
                } else {
                    Err("choose a short plain name".to_owned())
                }
            },
        ),
        wallet: s.choice(
            key(
                "wallet",
                "",
                "exchange: spot, no shorts. margin: positions. derivatives: positions with \
                 leverage. Margin, because quotes on both sides need shorts.",
            ),
            WalletKind::Margin,
            &[
                ("exchange", WalletKind::Exchange),
                ("margin", WalletKind::Margin),
                ("derivatives", WalletKind::Derivatives),
            ],
        ),
        leverage: s.int(
            key(
                "leverage",
                "times",
                "Stated on every derivatives order, since the venue's own default is 10. 1 borrows \
                 nothing.",
            ),
            1,
            1..=100,
        ) as u16,
        on_stop: s.choice(
            key(
                "on_stop",
                "",
                "What a graceful stop does with positions. Own orders are cancelled either way. \
                 Keep: closing at any price is a decision of its own.",
            ),
            OnStop::Keep,
            &[("keep", OnStop::Keep), ("flatten", OnStop::Flatten)],
        ),
        stop_timeout_ms: s.int(
            key(
                "stop_timeout_ms",
                "ms",
                "Longest graceful stop. What is still open then is named in the report and in the \
                 exit code.",
            ),
            10_000,
            100..=600_000,
        ) as u64,
        dead_man_switch: s.flag(
            key(
                "dead_man_switch",
                "",
                "WARNING: when our socket drops, the venue cancels every order of the account, \
                 protective stops included, with no stated bound. Never the only safety. Off.",
            ),
            false,
        ),
    };
    s.finish();
    section
}

const KINDS: [(&str, &str); 4] =
    [("maker", "maker"), ("classic", "classic"), ("probe", "probe"), ("custom", "custom")];

/// The strategies of a run whose file names none, and one of each kind for the manual.
pub(super) struct Defaults {
    pub strategies: Vec<Table>,
    pub examples: Vec<Table>,
}
impl Defaults {
    /// Default strategies on those of `symbols` they know a size for; the others are only watched.
    pub fn for_symbols(symbols: &[String]) -> Defaults {
        const SIZES: [(&str, &str, &str, &str); 4] = [
            ("maker", "tBTCUSD", "0.01", "0.1"),
            ("maker", "tETHUSD", "0.2", "2"),
            ("probe", "tADAUSD", "40", ""),
            ("classic", "tDOTUSD", "40", ""),
        ];
        let table = |kind: &str, symbol: &str, qty: &str, inventory: &str| {
            let mut table = Table::new();
            table.insert("kind".to_owned(), kind.into());
            table.insert("symbols".to_owned(), vec![symbol].into());
            table.insert("qty".to_owned(), qty.into());
            if !inventory.is_empty() {
                table.insert("inventory_max".to_owned(), inventory.into());
            }
            if kind == "probe" {
                // An order or two a second on the default market: every stage has samples.
                table.insert("every_changes".to_owned(), 5.into());
                table.insert("hold_ms".to_owned(), 300.into());
            }
            table
        };
        let strategies = SIZES
            .iter()
            .filter(|row| symbols.iter().any(|symbol| symbol == row.1))
            .map(|row| table(row.0, row.1, row.2, row.3))
            .collect();
        let mut probe = table("probe", "tBTCUSD", "0.001", "");
        probe.insert("style".to_owned(), "rest".into());
        let custom = table("custom", "tETHUSD", "0.01", "");
        Defaults { strategies, examples: vec![probe, custom] }
    }
}

pub(super) fn read_strategies<'t>(
    root: &mut Scope<'_, 't>,
    defaults: &'t Defaults,
) -> Vec<StrategySection> {
    root.tables(
        "strategy",
        "Who trades what. Without any [[strategy]] the ones below run on those of their symbols \
         that are followed. A symbol is traded by one strategy at most; a symbol without one is \
         only watched. The first line says the kind: maker (two-sided quotes), classic (weighted \
         EMA, RSI and ATR), probe (one order per trigger, to measure latency) or custom (your \
         own, see STRATEGY.md).",
        &defaults.strategies,
        &defaults.examples,
        read_strategy,
    )
}

fn read_strategy(s: &mut Scope<'_, '_>) -> StrategySection {
    if s.written("kind").is_none() {
        s.refuse("kind", "nothing", "maker, classic, probe or custom", "write kind = \"maker\"");
    }
    let kind =
        s.choice(key("kind", "", "Which strategy. Has no default once written."), "maker", &KINDS);
    let symbols = s.list(
        key("symbols", "", "Symbols it trades, each with its own position and quotes."),
        &[],
        "symbols of the list above, at least one",
    );
    if symbols.is_empty() {
        s.refuse("symbols", "none", "at least one symbol", "name them or remove the strategy");
    }
    let qty = s.decimal(
        key(
            "qty",
            "base units",
            "Size of one order. Below the venue's minimum there is no trade; it is never rounded \
             up.",
        ),
        "0.01",
        "0.00000001",
        "1000000000",
    );
    let kind = match kind {
        "classic" => {
            s.describe_as("strategy.classic");
            StrategyKind::Classic(read_classic(s))
        }
        "probe" => {
            s.describe_as("strategy.probe");
            StrategyKind::Probe(read_probe(s))
        }
        "custom" => {
            s.describe_as("strategy.custom");
            StrategyKind::Custom { name: read_custom(s) }
        }
        _ => {
            s.describe_as("strategy.maker");
            StrategyKind::Maker(read_maker(s))
        }
    };
    StrategySection { symbols, qty, kind }
}

fn read_custom(s: &mut Scope<'_, '_>) -> String {
    let known: Vec<&str> = custom_names().collect();
    let known = known.join(", ");
    s.text(
        key("name", "", "Which of your own strategies; STRATEGY.md says how one is added."),
        "mean-reversion",
        "a name of engine/strategy/custom.rs",
        |name| {
            if custom_names().any(|one| one == name) {
                Ok(())
            } else {
                Err(format!("known are: {known}"))
            }
        },
    )
}

fn read_maker(s: &mut Scope<'_, '_>) -> Maker {
    Maker {
        half_spread_bps: s.decimal(
            key(
                "half_spread_bps",
                "bps",
                "Distance of each quote from the middle. Near enough to the touch of the synthetic \
                 market to be filled now and then; it does not earn the fees back and is not meant \
                 to.",
            ),
            "2",
            "0",
            "1000",
        ),
        skew_bps: s.decimal(
            key(
                "skew_bps",
                "bps",
                "How far both quotes lean against a full inventory. About the half spread: a full \
                 side stops improving, the other comes to the middle.",
            ),
            "2",
            "0",
            "1000",
        ),
        inventory_max: s.decimal(
            key(
                "inventory_max",
                "base units",
                "Position at which the side that would add to it is no longer quoted. Ten orders.",
            ),
            "0.1",
            "0.00000001",
            "1000000000",
        ),
        requote_bps: s.decimal(
            key(
                "requote_bps",
                "bps",
                "A quote stays where it is, and keeps its place in the queue, until the wanted \
                 price is this far away. Half the half spread.",
            ),
            "1",
            "0",
            "1000",
        ),
        requote_interval_ms: s.int(
            key(
                "requote_interval_ms",
                "ms",
                "Shortest time between two requotes of a symbol. Two symbols stay inside \
                 risk.order_rate_max.",
            ),
            1_500,
            0..=60_000,
        ) as u64,
    }
}

fn read_classic(s: &mut Scope<'_, '_>) -> Classic {
    let timeframe_words: Vec<(&str, Timeframe)> =
        Timeframe::ALL.iter().map(|tf| (tf.name(), *tf)).collect();
    let weight = |name, about| key(name, "ratio", about);
    Classic {
        timeframe: s.choice(
            key("timeframe", "", "Bars it decides on. The shortest, as earlier operators ran it."),
            Timeframe::M1,
            &timeframe_words,
        ),
        confidence_min: s.decimal(
            key(
                "confidence_min",
                "ratio",
                "Smallest |score| it acts on. More than one indicator \
             alone.",
            ),
            "0.45",
            "0",
            "1",
        ),
        weight_ema: s.decimal(
            weight(
                "weight_ema",
                "Weight of the trend. Weights are normalised and each kept in 0.1 \
             … 0.7.",
            ),
            "0.4",
            "0",
            "1",
        ),
        weight_rsi: s.decimal(weight("weight_rsi", "Weight of RSI."), "0.4", "0", "1"),
        weight_atr: s.decimal(
            weight("weight_atr", "Weight of ATR; it gives no direction and so lowers every score."),
            "0.2",
            "0",
            "1",
        ),
        regime_enabled: s.flag(
            key(
                "regime_enabled",
                "",
                "Let the regime's preset replace the weights, periods and stop. Off: regimes are \
                 computed and shown, but no test has earned them the right to act yet.",
            ),
            false,
        ),
        stop_atr: s.decimal(
            key("stop_atr", "ATR", "Distance of the stop from the entry."),
            "1.5",
            "0.1",
            "100",
        ),
        target_atr: s.decimal(
            key("target_atr", "ATR", "Distance of the target from the entry. Twice the stop."),
            "3",
            "0.1",
            "100",
        ),
        trailing_stop: s.flag(
            key(
                "trailing_stop",
                "",
                "The stop follows the best price since the entry. Off, as \
             before.",
            ),
            false,
        ),
        bracket: s.flag(
            key(
                "bracket",
                "",
                "Stop and target rest at the venue as reduce-only orders, as large as what is \
                 held, and go on protecting while the engine is down. Needs trading.wallet margin \
                 or derivatives. Off: the strategy watches the book itself and closes by taking.",
            ),
            false,
        ),
        cooldown_bars: s.int(
            key("cooldown_bars", "bars", "Bars without an entry after an exit."),
            1,
            0..=10_000,
        ) as u32,
    }
}

fn read_probe(s: &mut Scope<'_, '_>) -> Probe {
    Probe {
        every_changes: s.int(
            key("every_changes", "book changes", "One order per this many changes of the book."),
            100,
            1..=1_000_000,
        ) as u32,
        style: s.choice(
            key(
                "style",
                "",
                "rest: post-only far away, then cancelled, costs nothing. take: really trades.",
            ),
            ProbeStyle::Rest,
            &[("rest", ProbeStyle::Rest), ("take", ProbeStyle::Take)],
        ),
        distance_bps: s.decimal(
            key(
                "distance_bps",
                "bps",
                "How far from the touch a resting probe stands; inside the collar.",
            ),
            "50",
            "0",
            "5000",
        ),
        stop_bps: s.decimal(
            key(
                "stop_bps",
                "bps",
                "A stop this far from what the probe holds rests at the venue, as large as the \
                 position. 0: none. To practise protection; with style take.",
            ),
            "0",
            "0",
            "5000",
        ),
        target_bps: s.decimal(
            key("target_bps", "bps", "And a target this far, of which one cancels the other."),
            "0",
            "0",
            "5000",
        ),
        hold_ms: s.int(key("hold_ms", "ms", "How long a resting probe lives."), 500, 0..=600_000)
            as u64,
    }
}

pub(super) fn read_signal(root: &mut Scope<'_, '_>) -> SignalSection {
    let mut s = root.section("signal", "Indicators, bars and the beat of the line.");
    let section = SignalSection {
        indicator_interval_ms: s.int(
            key(
                "indicator_interval_ms",
                "ms",
                "Heavy indicators of a symbol are recomputed at most this often, with a last \
                 update guaranteed. Quotes, stops and private events are never held back. 0 = at \
                 every tick.",
            ),
            250,
            0..=60_000,
        ) as u64,
        timeframes: timeframes(
            &mut s,
            key("timeframes", "", "Bars built from trades. What the built-in strategies read."),
            &["1m", "5m"],
        ),
        tick_ms: s.int(
            key(
                "tick_ms",
                "ms",
                "Beat that closes bars and runs time-outs when the market is silent. A bar closes \
                 at most this late.",
            ),
            50,
            1..=1_000,
        ) as u64,
        warmup_bars: s.int(
            key(
                "warmup_bars",
                "bars",
                "History read once at start. 300 covers the longest window, the 200 bars of the \
                 EMA z-score.",
            ),
            300,
            0..=10_000,
        ) as u32,
    };
    if section.timeframes.is_empty() {
        s.refuse("timeframes", "[]", "at least one timeframe", "write [\"1m\"]");
    }
    s.finish();
    section
}

pub(super) fn read_risk(root: &mut Scope<'_, '_>) -> RiskSection {
    let mut s = root.section(
        "risk",
        "Limits. An order counts from the moment it is sent. With trading.mode = \"live\" each of \
         these must be written here: a default is not a decision. Money is in the symbol's quote \
         currency.",
    );
    const MONEY: &str = "quote currency";
    let order_notional_max = s.decimal(
        key(
            "order_notional_max",
            MONEY,
            "Largest value of one order. A little above the defaults' sizes.",
        ),
        "2500",
        "0.01",
        "1000000000",
    );
    let position_notional_max = s.decimal(
        key(
            "position_notional_max",
            MONEY,
            "Largest value of one symbol's position, own open orders on that side included.",
        ),
        "20000",
        "0.01",
        "1000000000",
    );
    let exposure_max = s.decimal(
        key(
            "exposure_max",
            MONEY,
            "Largest sum of all positions' values, long and short both counting.",
        ),
        "50000",
        "0.01",
        "10000000000",
    );
    let orders_open_max = s.int(
        key(
            "orders_open_max",
            "orders",
            "Own orders alive at once. Two a symbol, and room to replace them.",
        ),
        40,
        1..=ORDERS_OPEN_MAX as i64,
    ) as usize;
    let order_rate_max = s.int(
        key(
            "order_rate_max",
            "orders",
            "New orders and changes in one window. Nine tenths of the venue's base of 1,000 in 5 \
             minutes a user.",
        ),
        900,
        1..=100_000,
    ) as u32;
    let order_rate_window_ms = s.int(
        key("order_rate_window_ms", "ms", "The window of order_rate_max."),
        300_000,
        100..=3_600_000,
    ) as u64;
    let collar_bps = s.decimal(
        key(
            "collar_bps",
            "bps",
            "Farthest an order's price may stand from the middle of its book.",
        ),
        "200",
        "1",
        "5000",
    );
    let book_stale_ms = s.int(
        key(
            "book_stale_ms",
            "ms",
            "A book that has not changed for this long allows no entry. Quiet symbols change about \
             once a second.",
        ),
        10_000,
        50..=3_600_000,
    ) as u64;
    let account = read_account(&mut s);
    let guards = read_guards(&mut s);
    s.finish();
    RiskSection {
        order_notional_max,
        position_notional_max,
        exposure_max,
        orders_open_max,
        order_rate_max,
        order_rate_window_ms,
        collar_bps,
        book_stale_ms,
        account,
        guards,
    }
}

fn read_guards(s: &mut Scope<'_, '_>) -> Guards {
    let mut s = s.section(
        "guards",
        "How each guard acts: on refuses, shadow only counts what it would have refused, off does \
         neither. The halt latch, an unsynced book and the venue's minimum size have no switch. \
         All but one on: a guard that is not trusted yet is better seen than silent.",
    );
    let mut read = |name, about, default| {
        let key: Key = key(name, "", about);
        let words = [("off", GuardMode::Off), ("shadow", GuardMode::Shadow), ("on", GuardMode::On)];
        s.choice(key, default, &words)
    };
    let mut mode = |name, about| read(name, about, GuardMode::On);
    let guards = Guards {
        order_notional: mode("order_notional", "Guard of risk.order_notional_max."),
        position: mode("position", "Guard of risk.position_notional_max."),
        exposure: mode("exposure", "Guard of risk.exposure_max."),
        open_orders: mode("open_orders", "Guard of risk.orders_open_max."),
        order_rate: mode("order_rate", "Guard of risk.order_rate_max."),
        collar: mode("collar", "Guard of risk.collar_bps."),
        stale_book: mode("stale_book", "Guard of risk.book_stale_ms."),
        repeat: mode("repeat", "Guard of risk.account.repeat_max."),
        unknown_equity: mode(
            "unknown_equity",
            "No entry while the wallet is not known or something held has no price.",
        ),
        daily_loss: mode("daily_loss", "Guard of risk.account.daily_loss_max and _pct."),
        drawdown: mode("drawdown", "Guard of risk.account.drawdown_max and _pct."),
        reject_streak: mode("reject_streak", "Guard of risk.account.reject_streak_max."),
        cooldown: mode("cooldown", "Guard of risk.account.cooldown_s and cooldown_symbol_s."),
        foreign_activity: mode("foreign_activity", "Guard of risk.account.foreign_pause_s."),
        trading_window: mode("trading_window", "Guard of risk.account.trading_windows."),
        volatility: mode("volatility", "Guard of risk.account.volatility_max_bps."),
        trades_day: mode("trades_day", "Guard of risk.account.trades_day_max."),
        symbol_trades_day: mode(
            "symbol_trades_day",
            "Guard of risk.account.symbol_trades_day_max.",
        ),
        naked_position: mode(
            "naked_position",
            "Guard of orders.naked_alarm_after_s and naked_close_after_s: shadow raises the alarm \
             and counts what it would have closed, off does neither. Protective orders are kept \
             either way.",
        ),
        loss_streak: read(
            "loss_streak",
            "Guard of risk.account.loss_streak_max. Shadow: the built-in maker pays fees on nearly \
             every round trip and would stand still.",
            GuardMode::Shadow,
        ),
    };
    s.finish();
    guards
}

pub(super) fn read_orders(root: &mut Scope<'_, '_>) -> OrdersSection {
    let mut s = root.section("orders", "The life of an order.");
    let section = OrdersSection {
        ack_timeout_ms: s.int(
            key(
                "ack_timeout_ms",
                "ms",
                "Without an answer for this long an order's fate is unknown: its symbol is frozen \
                 until the venue tells. It is never sent again. Above every honest answer seen.",
            ),
            5_000,
            100..=120_000,
        ) as u64,
        age_max_ms: s.int(
            key(
                "age_max_ms",
                "ms",
                "An entry older than this since its frame was received is refused just before it \
                 leaves: overload must not turn into old orders.",
            ),
            100,
            1..=60_000,
        ) as u64,
        unknown_absent_after_s: s.int(
            key(
                "unknown_absent_after_s",
                "s",
                "Earliest moment at which an unknown order that no source knows counts as never \
                 placed.",
            ),
            180,
            60..=86_400,
        ) as u64,
        naked_alarm_after_s: s.int(
            key(
                "naked_alarm_after_s",
                "s",
                "A position whose strategy asked for protection and that has none for this long \
                 raises the alarm, and nothing more is opened in its symbol. The time of an \
                 answer that was lost.",
            ),
            5,
            1..=3_600,
        ) as u64,
        naked_close_after_s: s.int(
            key(
                "naked_close_after_s",
                "s",
                "And after this long it is closed, reduce-only, as a flatten of the symbol would. \
                 Not before the alarm. Time for a person to look, not for the market to run.",
            ),
            30,
            1..=86_400,
        ) as u64,
        protect_retry_ms: s.int(
            key(
                "protect_retry_ms",
                "ms",
                "Between two attempts at the same protective order: a venue that says no is not \
                 asked in a loop. Another size or price is tried at once.",
            ),
            1_000,
            100..=60_000,
        ) as u64,
        rest_fallback: s.choice(
            key(
                "rest_fallback",
                "",
                "What goes by REST while the private socket is down, under the same client ids and \
                 records. cancels: those that are wanted (a pause, cancel, kill or stop); said \
                 twice they do no harm. on: and the closes of a flatten or a kill, once the \
                 account has been read by REST. off: everything waits for the socket. Entries \
                 never go by REST: their fills could not be heard.",
            ),
            RestFallback::Cancels,
            &[
                ("off", RestFallback::Off),
                ("cancels", RestFallback::Cancels),
                ("on", RestFallback::On),
            ],
        ),
    };
    if section.naked_close_after_s < section.naked_alarm_after_s {
        s.refuse(
            "naked_close_after_s",
            &section.naked_close_after_s.to_string(),
            "at least naked_alarm_after_s",
            "the alarm comes before the close",
        );
    }
    s.finish();
    section
}
