//! The symbol registry: which pairs the venue lists, how small and how large their orders may be,
//! and by what names people know them. Read once at start, refreshed now and then, used by
//! websocket, REST, orders and backtest alike. Nothing trades before it is loaded.

pub mod keeper;
mod names;
pub mod read;
pub mod saved;

pub use keeper::{KeeperConfig, RegistryKeeper, Source, Update};
pub use read::{ConfKey, RegistryBuilder, RegistryError};
pub use saved::SavedError;

use crate::base::bounded::Text;
use crate::base::ids::SymbolId;
use crate::base::units::Qty;
use crate::base::words::edits;
use crate::model::{Currency, Instrument, SymbolName};
use names::parts_of;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Significant digits of a price; more are cut by the venue.
pub const PX_DIGITS: u32 = 5;
/// Decimals of a size.
pub const QTY_DECIMALS: u32 = 8;
/// Suggestions for a name that is not listed.
const NEAR_MAX: usize = 3;

/// Where a pair is listed. Being in a list is being tradable: the venue has no other word for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    pub exchange: bool,
    pub margin: bool,
    pub futures: bool,
}
impl Listed {
    pub const fn anywhere(self) -> bool {
        self.exchange || self.margin || self.futures
    }
}

/// A pair of the venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// The venue's, e.g. `tBTCUSD`, `tBTCF0:USTF0`.
    pub name: SymbolName,
    /// Ours, e.g. `BTC/USD`, `BTC-PERP/USDT`: house codes are spelled out.
    pub canonical: Text<32>,
    /// The venue's codes.
    pub base: Currency,
    pub quote: Currency,
    pub listed: Listed,
    /// Smallest order; zero where the venue did not say: no order is sent then.
    pub qty_min: Qty,
    pub qty_max: Qty,
    /// Share of a position's value, 1e-8; absent where it has no margin.
    pub margin_initial: Option<i64>,
    pub margin_min: Option<i64>,
    /// Paper money. Never mistaken for a real pair, nor the reverse.
    pub is_test: bool,
}

/// A currency by the venue's code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CurrencyRow {
    pub code: Currency,
    /// As the rest of the world writes it, where that differs.
    pub symbol: Option<Currency>,
    pub label: Option<String>,
    /// The chain it lives on.
    pub pool: Option<String>,
}

/// Why a name stands for no pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameError {
    Unknown {
        asked: String,
        near: Vec<SymbolName>,
    },
    /// It is one pair by the venue's codes and another by the world's.
    Ambiguous {
        asked: String,
        by_code: SymbolName,
        by_symbol: SymbolName,
    },
}
impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameError::Unknown { asked, near } if near.is_empty() => {
                write!(f, "`{asked}` is not listed; `genesis symbols list` shows what is")
            }
            NameError::Unknown { asked, near } => {
                let near: Vec<&str> = near.iter().map(SymbolName::as_str).collect();
                write!(f, "`{asked}` is not listed; near: {}", near.join(", "))
            }
            NameError::Ambiguous { asked, by_code, by_symbol } => write!(
                f,
                "`{asked}` is {by_code} by the venue's codes and {by_symbol} by the usual ones; \
                 write the one you mean"
            ),
        }
    }
}

/// What changed between two states of the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListingChange {
    Listed(SymbolName),
    /// No longer tradable: no entries from now on.
    Delisted(SymbolName),
    Sizes {
        name: SymbolName,
        qty_min: Qty,
        qty_max: Qty,
    },
    /// Listed elsewhere than before, or with other margins.
    Terms(SymbolName),
}
impl fmt::Display for ListingChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListingChange::Listed(name) => write!(f, "{name} is listed now"),
            ListingChange::Delisted(name) => {
                write!(f, "{name} is not listed any more: no new positions in it")
            }
            ListingChange::Sizes { name, qty_min, qty_max } => {
                write!(f, "{name}: orders from {qty_min} to {qty_max} now")
            }
            ListingChange::Terms(name) => write!(f, "{name}: its margin terms changed"),
        }
    }
}

/// The instruments of a run, and what was asked for and is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// In the order asked for, numbered from 0.
    pub instruments: Vec<Instrument>,
    pub problems: Vec<NameError>,
}

/// See the head. Never changed: a refresh makes a new one.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    /// By name.
    pairs: Vec<Pair>,
    /// By code.
    currencies: Vec<CurrencyRow>,
    /// `BASE/QUOTE` in the venue's codes, and canonical names; each → index.
    by_code: BTreeMap<String, usize>,
    by_symbol: BTreeMap<String, usize>,
}
impl PartialEq for Registry {
    fn eq(&self, other: &Self) -> bool {
        self.pairs == other.pairs && self.currencies == other.currencies
    }
}

impl Registry {
    /// Rows in any order; of several with one name the first stays.
    fn new(mut pairs: Vec<Pair>, mut currencies: Vec<CurrencyRow>) -> Self {
        pairs.sort_by_key(|pair| pair.name.as_str().to_owned());
        pairs.dedup_by_key(|pair| pair.name);
        currencies.sort_by_key(|row| row.code.as_str().to_owned());
        currencies.dedup_by_key(|row| row.code);
        let mut registry = Self { pairs, currencies, ..Self::default() };
        for (index, pair) in registry.pairs.iter().enumerate() {
            let code = format!("{}/{}", pair.base, pair.quote);
            registry.by_code.entry(code).or_insert(index);
            registry.by_symbol.entry(pair.canonical.as_str().to_owned()).or_insert(index);
        }
        registry
    }

    /// Sorted by name.
    pub fn pairs(&self) -> &[Pair] {
        &self.pairs
    }
    /// Sorted by code.
    pub fn currencies(&self) -> &[CurrencyRow] {
        &self.currencies
    }
    /// A pair by the venue's own name, `t` included.
    pub fn find(&self, name: &str) -> Option<&Pair> {
        let index = self.pairs.binary_search_by(|pair| pair.name.as_str().cmp(name)).ok()?;
        self.pairs.get(index)
    }
    pub fn currency(&self, code: &str) -> Option<&CurrencyRow> {
        let index = self.currencies.binary_search_by(|row| row.code.as_str().cmp(code)).ok()?;
        self.currencies.get(index)
    }

    /// The pair that a person means: `tBTCUSD`, `BTCUSD`, `btc/usd`, `BTC-USD`, `BTC_USD`,
    /// `BTC:USD`, `BTC/USDT` (which the venue calls UST), `BTC-PERP/USDT`.
    ///
    /// # Errors
    /// It is none, or could be two.
    pub fn resolve(&self, asked: &str) -> Result<&Pair, NameError> {
        let asked = asked.trim();
        if let Some(pair) = self.find(asked) {
            return Ok(pair);
        }
        let upper = asked.to_ascii_uppercase();
        let bare = if asked.starts_with('t') { &upper[1..] } else { upper.as_str() };
        for name in [format!("t{upper}"), format!("t{bare}")] {
            if let Some(pair) = self.find(&name) {
                return Ok(pair);
            }
        }
        let joined = |(base, quote): (&str, &str)| format!("{base}/{quote}");
        for text in [upper.as_str(), bare] {
            let Some(parts) = parts_of(text) else { continue };
            let key = joined(parts);
            let by_code = self.by_code.get(&key).map(|index| &self.pairs[*index]);
            let by_symbol = self.by_symbol.get(&key).map(|index| &self.pairs[*index]);
            match (by_code, by_symbol) {
                (Some(code), Some(symbol)) if code.name != symbol.name => {
                    return Err(NameError::Ambiguous {
                        asked: asked.to_owned(),
                        by_code: code.name,
                        by_symbol: symbol.name,
                    });
                }
                (Some(pair), _) | (None, Some(pair)) => return Ok(pair),
                (None, None) => {}
            }
        }
        Err(NameError::Unknown { asked: asked.to_owned(), near: self.near(bare) })
    }

    /// Listed names that look like `word`; test pairs for test names only, and the reverse.
    fn near(&self, word: &str) -> Vec<SymbolName> {
        let plain = |text: &str| -> String {
            let text = text.replace("-PERP", "F0");
            text.chars().filter(char::is_ascii_alphanumeric).collect()
        };
        let wanted = plain(word);
        let is_test = wanted.starts_with("TEST");
        let close = 1 + wanted.len() / 3;
        let mut found: Vec<(usize, SymbolName)> = Vec::new();
        for pair in self.pairs.iter().filter(|pair| pair.is_test == is_test) {
            let names = [plain(&pair.name.as_str()[1..]), plain(pair.canonical.as_str())];
            let best = names.iter().map(|name| edits(&wanted, name)).min();
            if let Some(best) = best.filter(|best| *best <= close) {
                found.push((best, pair.name));
            }
        }
        found.sort_by_key(|(distance, name)| (*distance, name.as_str().to_owned()));
        found.truncate(NEAR_MAX);
        found.into_iter().map(|(_, name)| name).collect()
    }

    /// The instruments of a run. What is not listed, ambiguous, or named twice is told; whether
    /// that refuses the start or skips the name is the caller's flag.
    pub fn select<'a>(&self, wanted: impl IntoIterator<Item = &'a str>) -> Selection {
        let mut selection = Selection::default();
        for asked in wanted {
            match self.resolve(asked) {
                Ok(pair) if selection.instruments.iter().all(|row| row.name != pair.name) => {
                    selection.instruments.push(Instrument {
                        id: SymbolId(selection.instruments.len() as u16),
                        name: pair.name,
                        base: pair.base,
                        quote: pair.quote,
                        qty_min: pair.qty_min,
                        qty_max: pair.qty_max,
                    });
                }
                Ok(_) => {}
                Err(problem) => selection.problems.push(problem),
            }
        }
        selection
    }

    /// What is different in `newer`, by name.
    pub fn changes_to(&self, newer: &Registry) -> Vec<ListingChange> {
        let mut changes = Vec::new();
        for pair in &self.pairs {
            let name = pair.name;
            match newer.find(name.as_str()) {
                None => changes.push(ListingChange::Delisted(name)),
                Some(now) => {
                    if (now.qty_min, now.qty_max) != (pair.qty_min, pair.qty_max) {
                        let (qty_min, qty_max) = (now.qty_min, now.qty_max);
                        changes.push(ListingChange::Sizes { name, qty_min, qty_max });
                    }
                    let terms = |pair: &Pair| (pair.listed, pair.margin_initial, pair.margin_min);
                    if terms(now) != terms(pair) {
                        changes.push(ListingChange::Terms(name));
                    }
                }
            }
        }
        let added = newer.pairs.iter().filter(|pair| self.find(pair.name.as_str()).is_none());
        changes.extend(added.map(|pair| ListingChange::Listed(pair.name)));
        changes
    }
}

#[cfg(test)]
mod tests;
