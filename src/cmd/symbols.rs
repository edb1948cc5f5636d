//! `genesis symbols`: what the venue lists, and whether names stand for something there.

use super::reach::{Reach, ReachArgs};
use super::rest::{FRESH_FOR, age_text};
use super::{complain, say};
use crate::base::units::Qty;
use crate::line::registry::{
    KeeperConfig, ListingChange, NameError, Pair, Registry, RegistryKeeper, Source, Update,
};
use crate::ops::report::exit;
use crate::runtime::listing::{SavedCopy, load_saved, refresh, save};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::fmt::Write as _;

#[derive(Args, Debug)]
pub(super) struct SymbolsArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// List pairs with their order sizes.
    List(ListArgs),
    /// Say which pair each name stands for; without names, those of the config. Exit code 2 where
    /// one stands for none.
    Check(CheckArgs),
}

#[derive(Args, Debug)]
struct ListArgs {
    #[command(flatten)]
    reach: ReachArgs,
    /// Only names that contain this, e.g. BTC or PERP.
    filter: Option<String>,
    /// JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Do not ask the venue: show the saved list.
    #[arg(long)]
    offline: bool,
}

#[derive(Args, Debug)]
struct CheckArgs {
    #[command(flatten)]
    reach: ReachArgs,
    /// Names in any spelling: tBTCUSD, BTC/USD, BTC-PERP/USDT.
    names: Vec<String>,
    /// JSON instead of words.
    #[arg(long)]
    json: bool,
    /// Do not ask the venue: use the saved list.
    #[arg(long)]
    offline: bool,
}

pub(super) fn run(args: &SymbolsArgs) -> u8 {
    match &args.what {
        What::List(args) => list(args),
        What::Check(args) => check(args),
    }
}

/// A registry, or the exit code where there is none; then it has been told why.
struct Loaded {
    keeper: RegistryKeeper,
    from: String,
    symbols: Vec<String>,
}

fn load(args: &ReachArgs, offline: bool) -> Result<Loaded, u8> {
    let config = args.load().map_err(|words| {
        complain(words);
        exit::BAD_INPUT
    })?;
    let mut keeper = RegistryKeeper::new(KeeperConfig::default());
    let saved = args.saved_list(&config);
    let wall = crate::io::clock::Clock::start_unchecked().wall();
    if let Some(path) = &saved {
        match load_saved(&mut keeper, path, wall) {
            SavedCopy::Absent | SavedCopy::Loaded { .. } => {}
            trouble => complain(trouble),
        }
    }
    if offline {
        if keeper.registry().is_none() {
            complain("there is no saved list of pairs: ask once without --offline");
            return Err(exit::FAILURE);
        }
    } else {
        let reach = args.open(&config, None).map_err(|words| {
            complain(words);
            exit::BAD_INPUT
        })?;
        let code = ask(&mut keeper, &reach);
        let name = reach.name.clone();
        reach.close();
        code?;
        if keeper.source() == Source::Venue
            && let Some(path) = &saved
            && let Err(error) = save(&keeper, path)
        {
            complain(format!("the list could not be kept at {}: {error}", path.display()));
        }
        if keeper.source() == Source::Venue {
            return Ok(Loaded { keeper, from: name, symbols: config.symbols.clone() });
        }
    }
    let age = keeper.age(wall).map_or_else(String::new, age_text);
    Ok(Loaded { keeper, from: format!("saved list, {age} old"), symbols: config.symbols.clone() })
}

/// Asks the venue; where it does not answer, the saved list is used and that is said.
fn ask(keeper: &mut RegistryKeeper, reach: &Reach) -> Result<(), u8> {
    match refresh(keeper, &reach.plane, FRESH_FOR, || reach.now()) {
        Ok(Update::New { changes }) => {
            let gone = |change: &&ListingChange| matches!(change, ListingChange::Delisted(_));
            changes.iter().filter(gone).for_each(complain);
            Ok(())
        }
        Ok(Update::Same) => Ok(()),
        Err(error) => {
            complain(format!("{}: {error}", reach.name));
            match keeper.age(reach.now().wall) {
                Some(age) => {
                    complain(format!("using the saved list, which is {} old", age_text(age)));
                    Ok(())
                }
                None => Err(exit::FAILURE),
            }
        }
    }
}

/// A pair as JSON tells it.
#[derive(Serialize)]
struct PairJson<'a> {
    name: &'a str,
    canonical: &'a str,
    base: &'a str,
    quote: &'a str,
    exchange: bool,
    margin: bool,
    futures: bool,
    test: bool,
    qty_min: String,
    qty_max: String,
}
fn pair_json(pair: &Pair) -> PairJson<'_> {
    PairJson {
        name: pair.name.as_str(),
        canonical: pair.canonical.as_str(),
        base: pair.base.as_str(),
        quote: pair.quote.as_str(),
        exchange: pair.listed.exchange,
        margin: pair.listed.margin,
        futures: pair.listed.futures,
        test: pair.is_test,
        qty_min: pair.qty_min.to_string(),
        qty_max: pair.qty_max.to_string(),
    }
}

fn list(args: &ListArgs) -> u8 {
    let loaded = match load(&args.reach, args.offline) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let none = Registry::default();
    let registry = loaded.keeper.registry().unwrap_or(&none);
    let filter = args.filter.as_deref().unwrap_or_default().to_ascii_uppercase();
    let is_wanted = |pair: &&Pair| {
        pair.name.as_str().to_ascii_uppercase().contains(&filter)
            || pair.canonical.as_str().contains(&filter)
    };
    let pairs: Vec<&Pair> = registry.pairs().iter().filter(is_wanted).collect();
    if args.json {
        let rows: Vec<PairJson> = pairs.iter().map(|pair| pair_json(pair)).collect();
        say(&sonic_rs::to_string_pretty(&rows).unwrap_or_default());
        return exit::OK;
    }
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{:<26} {:<26} {:<9} {:>14} {:>14}",
        "name", "also", "listed", "smallest", "largest"
    );
    for pair in &pairs {
        let listed = [
            (pair.listed.exchange, "e"),
            (pair.listed.margin, "m"),
            (pair.listed.futures, "f"),
            (pair.is_test, "test"),
        ];
        let listed: Vec<&str> =
            listed.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
        let size = |qty: Qty| if qty.is_zero() { "?".to_owned() } else { qty.to_string() };
        let _ = writeln!(
            out,
            "{:<26} {:<26} {:<9} {:>14} {:>14}",
            pair.name,
            pair.canonical,
            listed.join(" "),
            size(pair.qty_min),
            size(pair.qty_max)
        );
    }
    let (shown, all) = (pairs.len(), registry.pairs().len());
    let _ =
        writeln!(out, "{shown} of {all} pairs of {}; e exchange, m margin, f futures", loaded.from);
    say(&out);
    exit::OK
}

#[derive(Serialize)]
struct CheckJson<'a> {
    asked: &'a str,
    pair: Option<PairJson<'a>>,
    problem: Option<String>,
    near: Vec<&'a str>,
}

fn check(args: &CheckArgs) -> u8 {
    let loaded = match load(&args.reach, args.offline) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let none = Registry::default();
    let registry = loaded.keeper.registry().unwrap_or(&none);
    let names = if args.names.is_empty() { &loaded.symbols } else { &args.names };
    let results: Vec<(&str, Result<&Pair, NameError>)> =
        names.iter().map(|name| (name.as_str(), registry.resolve(name))).collect();
    if args.json {
        let rows: Vec<CheckJson> =
            results.iter().map(|(asked, found)| check_json(asked, found)).collect();
        say(&sonic_rs::to_string_pretty(&rows).unwrap_or_default());
    } else {
        let mut out = String::new();
        for (asked, found) in &results {
            let _ = match found {
                Ok(pair) => writeln!(
                    out,
                    "ok    {asked:<26} {} ({}), orders {} to {}{}",
                    pair.name,
                    pair.canonical,
                    pair.qty_min,
                    pair.qty_max,
                    if pair.is_test { ", paper money" } else { "" }
                ),
                Err(problem) => writeln!(out, "FAIL  {problem}"),
            };
        }
        say(&out);
    }
    if results.iter().all(|(_, found)| found.is_ok()) { exit::OK } else { exit::BAD_INPUT }
}
fn check_json<'a>(asked: &'a str, found: &'a Result<&Pair, NameError>) -> CheckJson<'a> {
    match found {
        Ok(pair) => {
            CheckJson { asked, pair: Some(pair_json(pair)), problem: None, near: Vec::new() }
        }
        Err(problem) => {
            let near = match problem {
                NameError::Unknown { near, .. } => near.iter().map(|name| name.as_str()).collect(),
                NameError::Ambiguous { by_code, by_symbol, .. } => {
                    vec![by_code.as_str(), by_symbol.as_str()]
                }
            };
            CheckJson { asked, pair: None, problem: Some(problem.to_string()), near }
        }
    }
}
