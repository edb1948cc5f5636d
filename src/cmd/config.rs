//! `genesis config check | show | explain | schema | manual`.

use super::engine;
use super::options::load;
use super::request::RunError;
use super::{complain, say};
use crate::config::{
    self, Config, Environment, MarketSource, Override, Sources, StrategyKind, TradingMode,
};
use crate::ops::report::exit;
use clap::{Args, Subcommand};
use std::fmt::Write as _;
use std::path::PathBuf;

#[derive(Args, Debug)]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Args, Debug)]
struct Which {
    /// Config file; without one the built-in defaults.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The same as FILE.
    #[arg(long = "config", value_name = "FILE", conflicts_with = "file")]
    config: Option<PathBuf>,
    /// One key, stronger than the file; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = Override::parse)]
    set: Vec<Override>,
    /// JSON instead of words.
    #[arg(long)]
    json: bool,
}
impl Which {
    fn load(&self) -> Option<Config> {
        let file = self.file.clone().or_else(|| self.config.clone());
        load(&Sources { file, overrides: self.set.clone() })
    }
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Say whether a config is good, or everything that is wrong with it.
    Check(Which),
    /// Print every key with the value it has.
    Show(Which),
    /// Say in words what a config makes the engine do on this machine.
    Explain(Which),
    /// Print every key with unit, range, default and reason, as JSON.
    Schema,
    /// Print the manual, which is config/genesis.toml.
    Manual,
}

pub(super) fn run(args: &ConfigArgs) -> u8 {
    let shown = match &args.verb {
        Verb::Schema => Ok(config::schema_json()),
        Verb::Manual => Ok(config::manual_text()),
        Verb::Check(which) | Verb::Show(which) | Verb::Explain(which) => match which.load() {
            None => return exit::BAD_INPUT,
            Some(loaded) => match &args.verb {
                Verb::Check(_) if which.json => {
                    Ok(format!("{{\"ok\":true,\"config_hash\":\"{}\"}}", loaded.hash()))
                }
                Verb::Check(_) => Ok(format!("the config is good; hash {}", loaded.hash())),
                Verb::Show(_) if which.json => Ok(config::values_json(&loaded)),
                Verb::Show(_) => Ok(config::values_text(&loaded)),
                _ => explain(&loaded, which.json),
            },
        },
    };
    match shown {
        Ok(text) => {
            say(&text);
            exit::OK
        }
        Err(RunError::BadInput(words)) => {
            complain(words);
            exit::BAD_INPUT
        }
        Err(RunError::Failed(words)) => {
            complain(words);
            exit::FAILURE
        }
    }
}

#[derive(serde::Serialize)]
struct Explained {
    config_hash: String,
    environment: &'static str,
    real_orders: bool,
    symbols: Vec<String>,
    watched_only: Vec<String>,
    sockets: Vec<usize>,
    topology: String,
}

fn explain(config: &Config, json: bool) -> Result<String, RunError> {
    let topology = engine::explain_topology(config)?;
    let sockets: Vec<usize> = config.socket_plan().iter().map(Vec::len).collect();
    let watched = config.watched_only();
    if json {
        let explained = Explained {
            config_hash: config.hash(),
            environment: config.environment.name(),
            real_orders: config.trading.mode == TradingMode::Live,
            symbols: config.symbols.clone(),
            watched_only: watched.iter().map(|name| (*name).to_owned()).collect(),
            sockets,
            topology,
        };
        return Ok(sonic_rs::to_string_pretty(&explained).unwrap_or_default());
    }
    let mut out = String::new();
    let market = match (config.environment, &config.market.source) {
        (Environment::Bitfinex, _) => "the live market of Bitfinex".to_owned(),
        (_, MarketSource::Synthetic { seed }) => format!("a synthetic market of seed {seed}"),
        (_, MarketSource::Capture { path }) => format!("the recording {path}"),
    };
    let orders = match config.trading.mode {
        TradingMode::Off => "no orders",
        TradingMode::Paper => "paper orders to the exchange of this repository",
        TradingMode::Test => "orders to the venue's TEST pairs",
        TradingMode::Live => "REAL ORDERS, once --arm names the account",
    };
    let _ = writeln!(out, "config      {}", config.hash());
    let _ = writeln!(out, "environment {}: {market}, {orders}", config.environment.name());
    for strategy in &config.strategies {
        let (name, symbols) = (strategy.kind.name(), strategy.symbols.join(" "));
        let regimes = match &strategy.kind {
            StrategyKind::Classic(classic) if classic.regime_enabled => ", regimes act",
            StrategyKind::Classic(_) => ", regimes only shown",
            _ => "",
        };
        let _ = writeln!(out, "strategy    {name} on {symbols}{regimes}");
    }
    if !watched.is_empty() {
        let _ = writeln!(out, "watched     {} (no strategy trades them)", watched.join(" "));
    }
    let _ = writeln!(
        out,
        "sockets     {} public, with {} channels; one private",
        sockets.len(),
        sockets.iter().map(usize::to_string).collect::<Vec<_>>().join(" + "),
    );
    let given: Vec<&str> = config.keys().filter(|key| key.given).map(|k| k.path.as_str()).collect();
    let _ = writeln!(
        out,
        "given       {}",
        if given.is_empty() { "nothing: all defaults".to_owned() } else { given.join(" ") }
    );
    out.push_str(&topology);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_explanation_names_what_will_happen() {
        let text = explain(&Config::defaults(), false).unwrap();
        for part in [
            "a synthetic market of seed 1, paper orders",
            "maker on tBTCUSD",
            "nothing: all defaults",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
        let json = explain(&Config::defaults(), true).unwrap();
        assert!(json.contains("\"real_orders\": false"), "{json}");
    }
}
