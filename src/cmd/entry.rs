//! Which order entry a run may reach, and by which keys: the one place that hands out the real
//! venue's addresses for an account. Whatever is not named here stays inside this machine.

use super::keys::verdicts;
use super::outside;
use super::rest::{embedded_keys, nonces, role_keys, shared_roles, shared_words};
use super::secrets::KeyPlaces;
use crate::config::{Config, Environment, TradingMode};
use crate::line::rest::KeyRole;
use crate::model::Instrument;
use crate::runtime::plane::{NonceSource, PlaneKey, RestPlane};
use crate::venue::sign::ApiKey;
use std::path::{Path, PathBuf};

/// Where the orders of a run end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OrderEntry {
    /// The exchange in this process.
    Inside,
    /// An exchange of ours in another process of this machine.
    Attached,
    /// The venue's own TEST pairs: its order entry, with pretended money.
    TestPairs,
    /// Real orders.
    Live,
}
impl OrderEntry {
    /// The venue's order entry is reached, with keys of its user.
    pub(super) const fn is_venue(self) -> bool {
        matches!(self, OrderEntry::TestPairs | OrderEntry::Live)
    }
}

/// Decides it. Live needs the mode, and the account's name said a second time.
///
/// # Errors
/// What does not go together, in words.
pub(super) fn order_entry(
    config: &Config,
    armed: Option<&str>,
    attach: bool,
) -> Result<OrderEntry, String> {
    let (environment, mode) = (config.environment, config.trading.mode);
    let refuse = |words: &str| Err(words.to_owned());
    match (environment, mode, attach) {
        (Environment::World, ..) => refuse(
            "environment \"world\" runs by `genesis simulate`; a run has \"embedded\" or \
             \"bitfinex\"",
        ),
        (Environment::Bitfinex, _, true) => refuse(
            "--attach names an exchange of this machine and environment = \"bitfinex\" the venue: \
             leave one of them out",
        ),
        (Environment::Embedded, TradingMode::Off | TradingMode::Paper, true) => {
            Ok(OrderEntry::Attached)
        }
        (Environment::Embedded, TradingMode::Off | TradingMode::Paper, false)
        | (Environment::Bitfinex, TradingMode::Off | TradingMode::Paper, false) => {
            Ok(OrderEntry::Inside)
        }
        (Environment::Embedded, TradingMode::Test | TradingMode::Live, _) => {
            refuse("test and live orders exist with environment = \"bitfinex\" only")
        }
        (Environment::Bitfinex, TradingMode::Test, false) => Ok(OrderEntry::TestPairs),
        (Environment::Bitfinex, TradingMode::Live, false) => {
            let account = &config.trading.account;
            match armed {
                Some(name) if !account.is_empty() && name == account => Ok(OrderEntry::Live),
                _ => refuse("real orders need --arm with the name of trading.account"),
            }
        }
    }
}

/// Pairs and entry must go together for every symbol that orders can name: a TEST pair is never
/// traded live, nor the reverse.
///
/// # Errors
/// The symbol.
pub(super) fn check_pairs(entry: OrderEntry, instruments: &[Instrument]) -> Result<(), String> {
    let is_test = |row: &&Instrument| {
        row.base.as_str().starts_with("TEST") || row.quote.as_str().starts_with("TEST")
    };
    let wrong = match entry {
        OrderEntry::Inside | OrderEntry::Attached => None,
        OrderEntry::TestPairs => instruments.iter().find(|row| !is_test(row)),
        OrderEntry::Live => instruments.iter().find(is_test),
    };
    match wrong {
        None => Ok(()),
        Some(row) => Err(format!(
            "{} does not belong to {entry:?}: a TEST pair is never traded live, nor the reverse",
            row.name.as_str()
        )),
    }
}

/// Addresses of a run.
#[derive(Clone, Debug)]
pub(super) struct Ways {
    pub market_ws: String,
    pub account_ws: String,
    pub public_rest: String,
    pub account_rest: String,
    pub market_ca: Option<PathBuf>,
    pub account_ca: Option<PathBuf>,
}

/// The CA file of the config, where it names one.
pub(super) fn venue_ca(config: &Config) -> Option<PathBuf> {
    Some(PathBuf::from(&config.venue.ca_file)).filter(|ca| !ca.as_os_str().is_empty())
}

/// Addresses of the venue itself: all of them where its order entry may be reached; `inside` is
/// where the account lives otherwise.
pub(super) fn venue_ways(config: &Config, entry: OrderEntry, inside: Option<(&str, &str)>) -> Ways {
    let venue = &config.venue;
    let ca = venue_ca(config);
    let (account_ws, account_rest, account_ca) = match (entry.is_venue(), inside) {
        (true, _) => (venue.private_ws_url.clone(), venue.private_rest_url.clone(), ca.clone()),
        // Without an exchange inside there is no account at all.
        (false, Some((ws, rest))) => (ws.to_owned(), rest.to_owned(), None),
        (false, None) => (String::new(), String::new(), None),
    };
    Ways {
        market_ws: venue.public_ws_url.clone(),
        account_ws,
        public_rest: venue.public_rest_url.clone(),
        account_rest,
        market_ca: ca,
        account_ca,
    }
}

/// Keys of a run by role.
pub(super) struct RunKeys {
    /// Of the private socket.
    pub trade: ApiKey,
    /// Of the private socket's sign-ins.
    pub nonces: NonceSource,
    pub plane: [Option<PlaneKey>; KeyRole::ALL.len()],
}

/// The keys: those of the exchange in this repository, or the operator's.
///
/// # Errors
/// No key for a role, or one that cannot be used; in words.
pub(super) fn keys(config: &Config, entry: OrderEntry, dir: &Path) -> Result<RunKeys, String> {
    if !entry.is_venue() {
        let nonces = nonces(dir, outside::EMBEDDED_KEY)?;
        let trade = ApiKey::new(outside::EMBEDDED_KEY, outside::EMBEDDED_SECRET.as_bytes())
            .map_err(|error| format!("the embedded exchange's own key: {error:?}"))?;
        return Ok(RunKeys { trade, plane: embedded_keys(&nonces)?, nonces });
    }
    let places = KeyPlaces::new(config, None, true);
    let (plane, _) = role_keys(&places, dir, &KeyRole::ALL)?;
    if let Some(role) = KeyRole::ALL.into_iter().find(|role| plane[role.index()].is_none()) {
        return Err(no_key(config, role));
    }
    let shared = shared_roles(&plane);
    if !shared.is_empty() {
        log::warn!("{}", shared_words(&shared));
    }
    let Some(trade) = plane[KeyRole::Trade.index()].clone() else {
        return Err("no API key for the private socket".to_owned());
    };
    Ok(RunKeys { trade: trade.key, nonces: trade.nonces, plane })
}

fn no_key(config: &Config, role: KeyRole) -> String {
    format!(
        "no API key for the role \"{}\": set venue.key_file, or ${} and ${}",
        role.name(),
        config.venue.key_env,
        config.venue.secret_env
    )
}

/// The key of a kill without the engine. It needs no other one: those may be what went wrong.
///
/// # Errors
/// There is none, or it cannot be used; in words.
pub(super) fn kill_key(
    config: &Config,
    entry: OrderEntry,
    dir: &Path,
) -> Result<[Option<PlaneKey>; KeyRole::ALL.len()], String> {
    if !entry.is_venue() {
        return embedded_keys(&nonces(dir, outside::EMBEDDED_KEY)?);
    }
    let places = KeyPlaces::new(config, None, true);
    let (plane, _) = role_keys(&places, dir, &[KeyRole::Kill])?;
    match plane[KeyRole::Kill.index()] {
        Some(_) => Ok(plane),
        None => Err(no_key(config, KeyRole::Kill)),
    }
}

/// Asks the venue what the keys may do, before real orders: a key that may withdraw, or may not do
/// what its role needs, refuses the start.
///
/// # Errors
/// The key and its rights, in words.
pub(super) fn check_rights(entry: OrderEntry, plane: &RestPlane) -> Result<(), String> {
    if entry != OrderEntry::Live {
        return Ok(());
    }
    for (role, verdict) in verdicts(plane)? {
        if let Some(row) = verdict.rows.iter().find(|row| !row.advice.is_empty()) {
            return Err(format!("the {} key: {}", role.name(), row.advice));
        }
        if !verdict.may_trade_live {
            return Err(format!("the {} key may not trade live", role.name()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: nothing but live with the account's name said twice reaches the live entry. Method:
    /// every combination.
    #[test]
    fn only_live_and_armed_reaches_the_live_entry() {
        let modes = [TradingMode::Off, TradingMode::Paper, TradingMode::Test, TradingMode::Live];
        let places = [Environment::Embedded, Environment::Bitfinex, Environment::World];
        let mut live = 0;
        for environment in places {
            for mode in modes {
                for armed in [None, Some("desk"), Some("dsek"), Some("")] {
                    for account in ["", "desk"] {
                        for attach in [false, true] {
                            let mut config = Config::defaults();
                            config.environment = environment;
                            config.trading.mode = mode;
                            config.trading.account = account.to_owned();
                            let entry = order_entry(&config, armed, attach);
                            let is_live = entry == Ok(OrderEntry::Live);
                            let may = environment == Environment::Bitfinex
                                && mode == TradingMode::Live
                                && (armed, account, attach) == (Some("desk"), "desk", false);
                            assert_eq!(is_live, may, "{environment:?} {mode:?} {armed:?}");
                            live += u32::from(is_live);
                            // And nothing but the venue's modes gets one of its addresses.
                            if let Ok(entry) = entry {
                                let ways = venue_ways(&config, entry, Some(("ws://i", "http://i")));
                                let out = ways.account_ws == config.venue.private_ws_url
                                    || ways.account_rest == config.venue.private_rest_url;
                                assert_eq!(out, entry.is_venue());
                            }
                        }
                    }
                }
            }
        }
        assert_eq!(live, 1);
    }

    #[test]
    fn a_test_pair_never_becomes_a_live_one_nor_the_reverse() {
        let row = |name: &str| {
            let (base, quote) = Instrument::split_name(name).unwrap();
            Instrument {
                id: crate::base::ids::SymbolId(0),
                name: crate::model::SymbolName::new(name).unwrap(),
                base,
                quote,
                qty_min: crate::base::units::Qty::from_raw(1),
                qty_max: crate::base::units::Qty::MAX,
            }
        };
        let (real, test) = (row("tBTCUSD"), row("tTESTBTC:TESTUSD"));
        for (entry, rows, ok) in [
            (OrderEntry::Live, vec![real], true),
            (OrderEntry::Live, vec![real, test], false),
            (OrderEntry::TestPairs, vec![test], true),
            (OrderEntry::TestPairs, vec![test, real], false),
            (OrderEntry::Inside, vec![real, test], true),
        ] {
            assert_eq!(check_pairs(entry, &rows).is_ok(), ok, "{entry:?}");
        }
    }
}
