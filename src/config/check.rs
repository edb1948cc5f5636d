//! What no single key can tell: symbols, pairs of limits, and the two switches of live trading.

use super::load::Config;
use super::market::Environment;
use super::problem::nearest;
use super::reader::{Reader, decimal_text};
use super::trading::{TradingMode, WRITTEN_FOR_LIVE};
use crate::base::limits::{STRATEGIES_MAX, SYMBOLS_MAX};
use crate::model::{Instrument, SymbolName, WalletKind};

pub(super) fn check(config: &Config, reader: &mut Reader) {
    symbols(config, reader);
    strategies(config, reader);
    limits(config, reader);
    live(config, reader);
}

/// Why a text is not a symbol of the venue, and what it should have been.
fn symbol_advice(name: &str) -> Option<String> {
    let likely = || {
        let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        let upper = plain.to_ascii_uppercase();
        let stem = if name.starts_with('t') && plain.len() > 6 { &upper[1..] } else { &upper[..] };
        match stem.len() {
            6 => Some(format!("t{stem}")),
            7..=12 => {
                let (base, quote) = stem.split_at(stem.len() - 3);
                Some(format!("t{base}:{quote}"))
            }
            _ => None,
        }
    };
    let advise = |reason: &str| {
        Some(match likely() {
            Some(near) if near != name => format!("{reason}; did you mean \"{near}\"?"),
            _ => reason.to_owned(),
        })
    };
    if !name.starts_with('t') {
        return advise("trading symbols begin with a small t");
    }
    if SymbolName::new(name).is_none() {
        return advise("at most 24 letters");
    }
    match Instrument::split_name(name) {
        None => advise("three letters a side without a colon, else tBASE:QUOTE, in capitals"),
        Some((base, quote)) => {
            let short = base.as_str().len() == 3 && quote.as_str().len() == 3;
            if name.contains(':') && short {
                return advise("the venue writes three letters a side without a colon");
            }
            None
        }
    }
}

/// A pair of the venue's paper accounts.
fn is_test_pair(name: &str) -> bool {
    Instrument::split_name(name).is_some_and(|(base, quote)| {
        base.as_str().starts_with("TEST") || quote.as_str().starts_with("TEST")
    })
}

fn symbols(config: &Config, reader: &mut Reader) {
    let list = &config.symbols;
    if list.is_empty() {
        reader.refuse("symbols", "[]", "at least one symbol", "write [\"tBTCUSD\"]");
    }
    if list.len() > SYMBOLS_MAX {
        let expected = format!("at most {SYMBOLS_MAX}");
        reader.refuse("symbols", format!("{} symbols", list.len()), expected, "follow fewer");
    }
    for (index, name) in list.iter().enumerate() {
        let key = format!("symbols[{index}]");
        if let Some(advice) = symbol_advice(name) {
            reader.refuse(key, format!("{name:?}"), "a venue symbol", advice);
            continue;
        }
        if list[..index].contains(name) {
            reader.refuse(key, format!("{name:?} again"), "each symbol once", "remove it");
            continue;
        }
        if config.environment != Environment::Bitfinex {
            continue;
        }
        match (config.trading.mode, is_test_pair(name)) {
            (TradingMode::Test, false) => reader.refuse(
                key,
                format!("{name:?} with trading.mode = \"test\""),
                "TEST pairs only",
                "write e.g. \"tTESTBTC:TESTUSD\": a live pair never gets test orders",
            ),
            (TradingMode::Live, true) => reader.refuse(
                key,
                format!("{name:?} with trading.mode = \"live\""),
                "live pairs only",
                "use trading.mode = \"test\": a TEST pair never gets live orders",
            ),
            _ => {}
        }
    }
}

fn strategies(config: &Config, reader: &mut Reader) {
    if config.strategies.len() > STRATEGIES_MAX {
        let got = format!("{} strategies", config.strategies.len());
        reader.refuse("strategy", got, format!("at most {STRATEGIES_MAX}"), "use fewer");
    }
    let mut owners: Vec<&str> = Vec::new();
    for (index, strategy) in config.strategies.iter().enumerate() {
        for name in &strategy.symbols {
            let key = format!("strategy[{index}].symbols");
            if !config.symbols.contains(name) {
                let near = nearest(name, config.symbols.iter().map(String::as_str));
                let advice = match near {
                    Some(near) => format!("did you mean {near:?}? else add it to `symbols`"),
                    None => "add it to `symbols`".to_owned(),
                };
                reader.refuse(key, format!("{name:?}"), "a symbol of `symbols`", advice);
            } else if owners.contains(&name.as_str()) {
                reader.refuse(
                    key,
                    format!("{name:?} again"),
                    "one strategy a symbol",
                    "two strategies on one position would undo each other; remove one",
                );
            } else {
                owners.push(name);
            }
        }
        let timeframe = match &strategy.kind {
            super::StrategyKind::Classic(classic) => Some(classic.timeframe),
            _ => None,
        };
        if let Some(timeframe) = timeframe
            && !config.signal.timeframes.contains(&timeframe)
        {
            reader.refuse(
                format!("strategy[{index}].timeframe"),
                format!("{:?}", timeframe.name()),
                "one of signal.timeframes",
                "add it there: no such bars would be built",
            );
        }
        let brackets = match &strategy.kind {
            super::StrategyKind::Classic(classic) if classic.bracket => Some("bracket"),
            super::StrategyKind::Probe(probe) if probe.stop_bps > 0 => Some("stop_bps"),
            super::StrategyKind::Probe(probe) if probe.target_bps > 0 => Some("target_bps"),
            _ => None,
        };
        if let Some(key) = brackets
            && config.trading.wallet == WalletKind::Exchange
        {
            reader.refuse(
                format!("strategy[{index}].{key}"),
                "on with trading.wallet = \"exchange\"",
                "a margin or derivatives wallet",
                "protective orders are reduce-only, and a spot wallet has no such thing",
            );
        }
        if let super::StrategyKind::Custom { name } = &strategy.kind
            && name == crate::engine::strategy::HANGS
            && config.environment == Environment::Bitfinex
        {
            let advice = "it hangs on purpose: practise with the embedded exchange";
            reader.refuse(
                format!("strategy[{index}].name"),
                format!("{name:?}"),
                "a strategy for trading",
                advice,
            );
        }
        if let super::StrategyKind::Maker(maker) = &strategy.kind
            && maker.inventory_max < strategy.qty
        {
            reader.refuse(
                format!("strategy[{index}].inventory_max"),
                decimal_text(maker.inventory_max),
                format!("at least qty, {}", decimal_text(strategy.qty)),
                "one fill must fit",
            );
        }
    }
    if !owners.is_empty() && !config.channels.book && config.trading.mode != TradingMode::Off {
        let advice = "strategies decide on books: switch it on, or trading.mode = \"off\"";
        reader.refuse("channels.book", "false", "true while strategies trade", advice);
    }
}

fn limits(config: &Config, reader: &mut Reader) {
    let risk = &config.risk;
    let ordered = [
        (
            "risk.order_notional_max",
            risk.order_notional_max,
            "risk.position_notional_max",
            risk.position_notional_max,
        ),
        (
            "risk.position_notional_max",
            risk.position_notional_max,
            "risk.exposure_max",
            risk.exposure_max,
        ),
    ];
    for (low_key, low, high_key, high) in ordered {
        if low > high {
            reader.refuse(
                low_key,
                decimal_text(low),
                format!("at most {high_key}, {}", decimal_text(high)),
                "lower it or raise the other",
            );
        }
    }
    let channels = &config.channels;
    if channels.reconnect_min_ms > channels.reconnect_max_ms {
        reader.refuse(
            "channels.reconnect_min_ms",
            channels.reconnect_min_ms.to_string(),
            format!("at most channels.reconnect_max_ms, {}", channels.reconnect_max_ms),
            "lower it or raise the other",
        );
    }
    let heartbeat_ms = match config.environment {
        Environment::Bitfinex => 15_000,
        Environment::Embedded | Environment::World => config.exchange.heartbeat_ms,
    };
    if channels.silence_ms <= heartbeat_ms {
        reader.refuse(
            "channels.silence_ms",
            channels.silence_ms.to_string(),
            format!("more than the heartbeat of {heartbeat_ms} ms"),
            "else every quiet channel counts as dead",
        );
    }
    if let Err(problems) = config.rest.limit_table() {
        for problem in problems {
            reader.refuse(
                "rest.limits",
                format!("{:?}", config.rest.limits),
                "a list of PATTERN=CALLS",
                problem,
            );
        }
    }
    if config.rest.connect_timeout_ms > config.rest.total_timeout_ms {
        reader.refuse(
            "rest.connect_timeout_ms",
            config.rest.connect_timeout_ms.to_string(),
            format!("at most rest.total_timeout_ms, {}", config.rest.total_timeout_ms),
            "lower it or raise the other",
        );
    }
}

fn live(config: &Config, reader: &mut Reader) {
    let trading = &config.trading;
    let real = matches!(trading.mode, TradingMode::Live | TradingMode::Test);
    if real && config.environment != Environment::Bitfinex {
        reader.refuse(
            "trading.mode",
            format!("{:?} with environment = {:?}", trading.mode.name(), config.environment.name()),
            "paper or off there",
            "live and test orders exist with environment = \"bitfinex\" only",
        );
    }
    if trading.mode != TradingMode::Live {
        return;
    }
    if trading.account.is_empty() {
        let advice = "name the account, and repeat the name with --arm";
        reader.refuse("trading.account", "\"\"", "a name for live trading", advice);
    }
    for key in WRITTEN_FOR_LIVE {
        // Leverage is stated on derivatives only.
        if *key == "trading.leverage" && trading.wallet != WalletKind::Derivatives {
            continue;
        }
        if !reader.is_given(key) {
            let advice = "write the limit you want: a default is not a decision";
            reader.refuse(*key, "nothing", "a value written by you for live trading", advice);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::load::load_text;

    /// The problems of a config, each of which must contain its expected words.
    fn check(text: &str, expected: &[&str]) {
        let got = match load_text("test.toml", text, &[]) {
            Ok(_) => Vec::new(),
            Err(crate::config::ConfigError::Invalid { problems, .. }) => {
                problems.iter().map(ToString::to_string).collect()
            }
            Err(other) => panic!("{other}"),
        };
        assert_eq!(got.len(), expected.len(), "{got:#?}");
        for (got, expected) in got.iter().zip(expected) {
            assert!(got.contains(expected), "{got:?} lacks {expected:?}");
        }
    }
    fn symbols(list: &str, expected: &[&str]) {
        check(&format!("symbols = [{list}]"), expected);
    }

    #[test]
    fn colon_and_test_pairs_are_symbols() {
        symbols("\"tBTCUSD\", \"tDUSK:USD\", \"tTESTBTC:TESTUSD\"", &[]);
        symbols("\"tTESTBTC:TESTUSDT\", \"tBTCF0:USTF0\", \"tTESTBTCF0:TESTUSDTF0\"", &[]);
    }

    #[test]
    fn names_that_the_venue_does_not_use_get_the_right_one() {
        symbols("\"BTCUSD\"", &["did you mean \"tBTCUSD\"?"]);
        symbols("\"tbtcusd\"", &["did you mean \"tBTCUSD\"?"]);
        symbols("\"BTC/USD\"", &["did you mean \"tBTCUSD\"?"]);
        symbols("\"tDUSKUSD\"", &["did you mean \"tDUSK:USD\"?"]);
        symbols("\"tBTC:USD\"", &["did you mean \"tBTCUSD\"?"]);
        symbols("\"\"", &["begin with a small t"]);
        symbols("\"tBTC:\"", &["tBASE:QUOTE"]);
        symbols("\"tABCDEFGHIJKLMNOP:ABCDEFGHIJKLMNOP\"", &["at most 24"]);
        symbols("\"tBTCUSD\", \"tBTCUSD\"", &["symbols[1]: got \"tBTCUSD\" again"]);
        symbols("", &["at least one symbol"]);
    }

    #[test]
    fn a_symbol_has_one_strategy_and_every_strategy_a_followed_symbol() {
        let maker = |symbol: &str| {
            format!("[[strategy]]\nkind=\"maker\"\nsymbols=[\"{symbol}\"]\nqty=0.01\n")
        };
        check(&maker("tBTCUSD"), &[]);
        check(&maker("tBTCUDS"), &["did you mean \"tBTCUSD\"?"]);
        check(&(maker("tBTCUSD") + &maker("tBTCUSD")), &["strategy[1].symbols"]);
        check("[[strategy]]\nsymbols=[\"tBTCUSD\"]\nqty=1\ninventory_max=2", &["strategy[0].kind"]);
        check(
            "[[strategy]]\nkind=\"maker\"\nsymbols=[\"tBTCUSD\"]\nqty=0\n",
            &["strategy[0].qty: got 0"],
        );
        check(
            "[[strategy]]\nkind=\"probe\"\nsymbols=[\"tBTCUSD\"]\nhalf_spread_bps=1\n",
            &["strategy[0].half_spread_bps: got 1, expected a known key of strategy[0]"],
        );
        check(
            "[[strategy]]\nkind=\"maker\"\nsymbols=[\"tBTCUSD\"]\nqty=0.2\n",
            &["strategy[0].inventory_max: got 0.1, expected at least qty, 0.2"],
        );
        check(
            "[[strategy]]\nkind=\"classic\"\nsymbols=[\"tBTCUSD\"]\ntimeframe=\"15m\"\n",
            &["one of signal.timeframes"],
        );
    }

    #[test]
    fn limits_that_contradict_each_other_are_refused() {
        check("[risk]\norder_notional_max = 30000\n", &["risk.order_notional_max: got 30000"]);
        check("[channels]\nsilence_ms = 15000\n", &["more than the heartbeat"]);
        check("[channels]\nreconnect_min_ms = 60000\n", &["channels.reconnect_min_ms"]);
        check("[rest]\nconnect_timeout_ms = 20000\n", &["rest.connect_timeout_ms"]);
        check("[channels]\nbook = false\n", &["channels.book"]);
        check("[channels]\nbook_length = 30\n", &["one of 1, 25, 100, 250"]);
    }

    #[test]
    fn live_needs_its_account_and_its_limits_in_writing() {
        let live = "environment = \"bitfinex\"\n[trading]\nmode = \"live\"\n";
        check(
            live,
            &[
                "trading.account",
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
            ],
        );
        check(
            "[trading]\nmode = \"live\"\naccount = \"a\"\nwallet = \"margin\"\n[risk]\n\
               order_notional_max = 1\nposition_notional_max = 1\nexposure_max = 1\n\
               orders_open_max = 1\norder_rate_max = 1\ncollar_bps = 1\n[risk.account]\n\
               daily_loss_max = 1\ndrawdown_max = 1\ntrades_day_max = 1",
            &["live and test orders exist with environment = \"bitfinex\" only"],
        );
    }

    #[test]
    fn test_pairs_and_live_pairs_never_meet_on_the_order_path() {
        let text =
            "environment = \"bitfinex\"\nsymbols = [\"tBTCUSD\"]\n[trading]\nmode = \"test\"\n";
        check(text, &["TEST pairs only"]);
        let text = "environment = \"bitfinex\"\nsymbols = [\"tTESTBTC:TESTUSD\"]\n\
                    [trading]\nmode = \"test\"\n";
        check(text, &[]);
        let text = "environment = \"bitfinex\"\nsymbols = [\"tTESTBTC:TESTUSD\"]\n\
                    [trading]\nmode = \"live\"\n\
                    account = \"a\"\nwallet = \"margin\"\n[risk]\norder_notional_max = 1\n\
                    position_notional_max = 1\nexposure_max = 1\norders_open_max = 1\n\
                    order_rate_max = 1\ncollar_bps = 1\n[risk.account]\n\
                    daily_loss_max = 1\ndrawdown_max = 1\ntrades_day_max = 1\n";
        check(text, &["live pairs only"]);
    }

    #[test]
    fn limits_of_the_account_are_numbers_above_nothing() {
        let one = |key: &str, value: &str, expected: &str| {
            check(&format!("[risk.account]\n{key} = {value}\n"), &[expected]);
        };
        for key in [
            "daily_loss_max",
            "daily_loss_max_pct",
            "drawdown_max",
            "drawdown_max_pct",
            "volatility_max_bps",
        ] {
            for value in ["nan", "inf", "-inf", "0", "-1", "\"1e999\"", "true"] {
                one(key, value, &format!("risk.account.{key}"));
            }
        }
        for key in [
            "loss_streak_max",
            "reject_streak_max",
            "trades_day_max",
            "cooldown_s",
            "symbol_trades_day_max",
            "repeat_max",
            "repeat_window_ms",
            "foreign_pause_s",
            "volatility_window_ms",
            "volatility_pause_s",
        ] {
            for value in ["0", "-1", "nan", "1.5", "9223372036854775807"] {
                one(key, value, &format!("risk.account.{key}"));
            }
        }
        one("trading_windows", "[]", "at least one window");
        one("trading_windows", "[\"Mon 25:00-26:00\"]", "Mon-Fri 08:00-22:00");
        one("time_zone", "\"Mars/Base\"", "Europe/Stockholm");
        one("equity_currency", "\"usd\"", "e.g. USD");
        one("on_loss", "\"panic\"", "one of block, flatten, kill");
        check("[risk.guards]\ndaily_loss = \"maybe\"\n", &["one of off, shadow, on"]);
    }

    #[test]
    fn explicit_threads_run_every_stage_once() {
        let thread = |name: &str, stages: &str| {
            format!("[[topology.thread]]\nname = \"{name}\"\nstages = [{stages}]\ncore = 0\n")
        };
        let explicit = "[topology]\nlayout = \"explicit\"\n";
        check(explicit, &["without any [[topology.thread]]"]);
        let all = "\"read\", \"parse\", \"signal\", \"risk\", \"send\"";
        check(&(explicit.to_owned() + &thread("hot", all)), &[]);
        check(
            &(explicit.to_owned() + &thread("hot", "\"read\", \"parse\", \"signal\", \"risk\"")),
            &["stage \"send\" on 0 threads"],
        );
        check(&thread("hot", all), &["1 of them with layout = \"auto\""]);
        let misspelt = all.replace("signal", "singal");
        check(
            &(explicit.to_owned() + &thread("hot", &misspelt)),
            &["did you mean \"signal\"?", "stage \"signal\" on 0 threads"],
        );
        check("[topology.link.parse_signal]\ndepth = 1000\n", &["write 1024"]);
        check("[topology.link.risk_send]\non_full = \"conflate\"\n", &["one of stall, halt"]);
    }
}
