//! From the venue's configuration bodies to a registry.

use super::names::canonical;
use super::{CurrencyRow, Listed, Pair, Registry};
use crate::base::limits::{CURRENCIES_MAX, PAIRS_MAX};
use crate::base::units::{Qty, parse_decimal};
use crate::model::{Currency, Instrument, SymbolName};
use crate::venue::scan::{Row, ScanError, Scanner, unquoted};
use std::collections::BTreeMap;
use std::fmt;

/// What the venue's `/conf` can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfKey {
    ListExchange,
    ListMargin,
    ListFutures,
    Info,
    InfoFutures,
    Symbols,
    Labels,
    Pools,
}
impl ConfKey {
    pub const ALL: [ConfKey; 8] = [
        ConfKey::ListExchange,
        ConfKey::ListMargin,
        ConfKey::ListFutures,
        ConfKey::Info,
        ConfKey::InfoFutures,
        ConfKey::Symbols,
        ConfKey::Labels,
        ConfKey::Pools,
    ];
    pub const fn name(self) -> &'static str {
        match self {
            ConfKey::ListExchange => "pub:list:pair:exchange",
            ConfKey::ListMargin => "pub:list:pair:margin",
            ConfKey::ListFutures => "pub:list:pair:futures",
            ConfKey::Info => "pub:info:pair",
            ConfKey::InfoFutures => "pub:info:pair:futures",
            ConfKey::Symbols => "pub:map:currency:sym",
            ConfKey::Labels => "pub:map:currency:label",
            ConfKey::Pools => "pub:map:currency:pool",
        }
    }
    /// One call that asks for all of `keys`; what comes back belongs together.
    pub fn path(keys: &[ConfKey]) -> String {
        let names: Vec<&str> = keys.iter().map(|key| key.name()).collect();
        format!("conf/{}", names.join(","))
    }
}

/// Why a body gives no registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistryError {
    /// Not the JSON that these keys are answered with.
    Unreadable,
    /// The venue answered with an error.
    Refused { status: u16 },
    /// Not one pair.
    Empty,
    /// More pairs or currencies than fit.
    TooMany,
    /// Fewer than half of the pairs known before: an accident, not a delisting.
    Shrunk { from: usize, to: usize },
}
impl fmt::Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RegistryError::Unreadable => f.write_str("the venue's list of pairs is not readable"),
            RegistryError::Refused { status } => {
                write!(f, "the venue answered HTTP {status} to the question for its pairs")
            }
            RegistryError::Empty => f.write_str("the venue lists no pairs"),
            RegistryError::TooMany => write!(f, "the venue lists more than {PAIRS_MAX} pairs"),
            RegistryError::Shrunk { from, to } => write!(
                f,
                "the venue lists {to} pairs and had {from}: the old list stays until it agrees"
            ),
        }
    }
}
impl From<ScanError> for RegistryError {
    fn from(_: ScanError) -> Self {
        RegistryError::Unreadable
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Draft {
    listed: Listed,
    in_info: bool,
    futures_info: bool,
    qty_min: Qty,
    qty_max: Qty,
    margin_initial: Option<i64>,
    margin_min: Option<i64>,
}

/// Collects bodies; each may answer one key or several.
#[derive(Clone, Debug, Default)]
pub struct RegistryBuilder {
    drafts: BTreeMap<String, Draft>,
    currencies: BTreeMap<String, CurrencyRow>,
    has_lists: bool,
    /// Rows that could not be read.
    skipped: u32,
}

impl RegistryBuilder {
    pub fn skipped(&self) -> u32 {
        self.skipped
    }
    /// Reads the answer to `keys`: one element for each.
    ///
    /// # Errors
    /// `Unreadable` or `TooMany`; nothing is taken over then.
    pub fn add(&mut self, keys: &[ConfKey], body: &[u8]) -> Result<(), RegistryError> {
        // A cut body must not pass for a short list: it is read to its end before anything counts.
        let whole = std::str::from_utf8(body).map_err(|_| RegistryError::Unreadable)?;
        if sonic_rs::from_str::<sonic_rs::LazyValue>(whole).is_err() {
            return Err(RegistryError::Unreadable);
        }
        let mut next = self.clone();
        let mut scan = Scanner::new(body);
        let mut outer = Row::enter(&mut scan)?;
        for key in keys {
            if !outer.has_more() {
                return Err(RegistryError::Unreadable);
            }
            next.add_one(*key, outer.nested())?;
            outer.nested_done()?;
        }
        if next.drafts.len() > PAIRS_MAX || next.currencies.len() > CURRENCIES_MAX {
            return Err(RegistryError::TooMany);
        }
        *self = next;
        Ok(())
    }
    fn add_one(&mut self, key: ConfKey, scan: &mut Scanner<'_>) -> Result<(), RegistryError> {
        let mut list = Row::enter(scan)?;
        self.has_lists |= key == ConfKey::ListExchange;
        while let Some(raw) = list.raw()? {
            let taken = match key {
                ConfKey::ListExchange => self.list(raw, |listed| listed.exchange = true),
                ConfKey::ListMargin => self.list(raw, |listed| listed.margin = true),
                ConfKey::ListFutures => self.list(raw, |listed| listed.futures = true),
                ConfKey::Info => self.info(raw, false),
                ConfKey::InfoFutures => self.info(raw, true),
                ConfKey::Symbols => self.map(raw, |row, value| row.symbol = Currency::new(value)),
                ConfKey::Labels => self.map(raw, |row, value| row.label = Some(value.to_owned())),
                ConfKey::Pools => self.map(raw, |row, value| row.pool = Some(value.to_owned())),
            };
            self.skipped += u32::from(taken.is_none());
        }
        Ok(())
    }
    fn draft(&mut self, name: &[u8]) -> Option<&mut Draft> {
        let name = std::str::from_utf8(name).ok()?;
        // A name that is no pair would be refused later, without a word about where it came from.
        Instrument::split_name(&format!("t{name}"))?;
        Some(self.drafts.entry(name.to_owned()).or_default())
    }
    fn list(&mut self, raw: &[u8], mark: impl FnOnce(&mut Listed)) -> Option<()> {
        mark(&mut self.draft(unquoted(raw))?.listed);
        Some(())
    }
    /// `[PAIR, [_, _, _, MIN, MAX, _, _, _, INITIAL_MARGIN, MIN_MARGIN, …]]`; sizes are text.
    fn info(&mut self, raw: &[u8], is_futures: bool) -> Option<()> {
        let mut scan = Scanner::new(raw);
        let mut row = Row::enter(&mut scan).ok()?;
        let name = row.text().ok()??;
        if !row.has_more() {
            return None;
        }
        let mut facts = Row::enter(row.nested()).ok()?;
        facts.skip(3).ok()?;
        let mut size = || -> Option<Qty> {
            let (raw, _) = parse_decimal(unquoted(facts.raw().ok()??)).ok()?;
            (raw > 0).then(|| Qty::from_raw(raw))
        };
        let (qty_min, qty_max) = (size()?, size()?);
        facts.skip(3).ok()?;
        let margin_initial = facts.fixed().ok()?;
        let margin_min = facts.fixed().ok()?;
        let draft = self.draft(name)?;
        let listed = draft.listed;
        *draft = Draft {
            listed,
            in_info: true,
            futures_info: is_futures,
            qty_min,
            qty_max,
            margin_initial,
            margin_min,
        };
        Some(())
    }
    /// `[CODE, VALUE]`.
    fn map(&mut self, raw: &[u8], set: impl FnOnce(&mut CurrencyRow, &str)) -> Option<()> {
        let mut scan = Scanner::new(raw);
        let mut row = Row::enter(&mut scan).ok()?;
        let code = std::str::from_utf8(unquoted(row.raw().ok()??)).ok()?;
        let value: String = sonic_rs::from_slice(row.raw().ok()??).ok()?;
        let currency = Currency::new(code).filter(|code| !code.is_empty())?;
        let entry = self.currencies.entry(code.to_owned()).or_insert_with(|| CurrencyRow {
            code: currency,
            symbol: None,
            label: None,
            pool: None,
        });
        set(entry, &value);
        Some(())
    }

    /// The registry. A pair is in it where a list names it; without any list (recordings), where
    /// its sizes are known.
    ///
    /// # Errors
    /// `Empty`.
    pub fn build(self) -> Result<Registry, RegistryError> {
        let currencies = self.currencies;
        let symbol_of = |code: &str| currencies.get(code).and_then(|row| row.symbol);
        let mut pairs = Vec::with_capacity(self.drafts.len());
        for (name, draft) in &self.drafts {
            let mut listed = draft.listed;
            if !self.has_lists && draft.in_info {
                listed.futures |= draft.futures_info;
                listed.exchange |= !draft.futures_info;
                listed.margin |= !draft.futures_info && draft.margin_initial.is_some();
            }
            let name = format!("t{name}");
            let parts = Instrument::split_name(&name).zip(SymbolName::new(&name));
            let Some(((base, quote), name)) = parts.filter(|_| listed.anywhere()) else { continue };
            let Some(canonical) = canonical(base.as_str(), quote.as_str(), symbol_of) else {
                continue;
            };
            pairs.push(Pair {
                name,
                canonical,
                base,
                quote,
                listed,
                qty_min: draft.qty_min,
                qty_max: draft.qty_max,
                margin_initial: draft.margin_initial,
                margin_min: draft.margin_min,
                is_test: is_test(base.as_str()) || is_test(quote.as_str()),
            });
        }
        if pairs.is_empty() {
            return Err(RegistryError::Empty);
        }
        Ok(Registry::new(pairs, currencies.into_values().collect()))
    }
}

/// Paper currencies: `TEST…`, and the two that paper accounts hold beside them.
fn is_test(code: &str) -> bool {
    code.starts_with("TEST") || matches!(code, "AAA" | "BBB")
}
