//! What is traded: one row of the instrument table of a run.

use crate::base::bounded::Text;
use crate::base::ids::SymbolId;
use crate::base::units::Qty;
use serde::{Deserialize, Serialize};

/// Currency code of the venue, e.g. `BTC`, `UST`, `TESTUSDTF0`; the longest listed is
/// `AUSTRALIA200IXF0`.
pub type Currency = Text<16>;
/// Venue symbol with its leading `t`, e.g. `tBTCUSD`, `tTESTBTCF0:TESTUSDTF0`.
pub type SymbolName = Text<24>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instrument {
    pub id: SymbolId,
    pub name: SymbolName,
    pub base: Currency,
    pub quote: Currency,
    /// Smallest order, base units. Zero = unknown: no order is sent then.
    pub qty_min: Qty,
    /// Largest order, base units.
    pub qty_max: Qty,
}

impl Instrument {
    /// Splits a venue symbol into base and quote: colon if present, else 3 + 3 (protocol notes,
    /// 5.4).
    /// `None` where the text is not a trading symbol.
    pub fn split_name(name: &str) -> Option<(Currency, Currency)> {
        let pair = name.strip_prefix('t')?;
        let (base, quote) = match pair.split_once(':') {
            Some(parts) => parts,
            None if pair.len() == 6 && pair.is_ascii() => pair.split_at(3),
            None => return None,
        };
        if base.is_empty() || quote.is_empty() {
            return None;
        }
        let upper = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit();
        if !base.chars().all(upper) || !quote.chars().all(upper) {
            return None;
        }
        Some((Currency::new(base)?, Currency::new(quote)?))
    }
}

/// Which wallet orders act on; decides the order type's prefix and how positions are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WalletKind {
    /// Spot: types with the `EXCHANGE ` prefix, position = balance change net of fees, no shorts.
    Exchange,
    /// Margin: plain types, positions, close = reduce-only.
    Margin,
    /// Derivatives: plain types with `lev` always stated, close = reduce-only.
    Derivatives,
}

/// Length of a bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Timeframe {
    #[serde(rename = "1m")]
    M1,
    #[serde(rename = "5m")]
    M5,
    #[serde(rename = "15m")]
    M15,
    #[serde(rename = "1h")]
    H1,
    #[serde(rename = "3h")]
    H3,
}

impl Timeframe {
    pub const ALL: [Timeframe; 5] =
        [Timeframe::M1, Timeframe::M5, Timeframe::M15, Timeframe::H1, Timeframe::H3];
    pub const fn span_ms(self) -> i64 {
        match self {
            Timeframe::M1 => 60_000,
            Timeframe::M5 => 300_000,
            Timeframe::M15 => 900_000,
            Timeframe::H1 => 3_600_000,
            Timeframe::H3 => 10_800_000,
        }
    }
    /// By the venue's name.
    pub fn from_name(name: &str) -> Option<Timeframe> {
        Timeframe::ALL.into_iter().find(|timeframe| timeframe.name() == name)
    }
    /// The venue's name, as in `trade:1m:tBTCUSD`.
    pub const fn name(self) -> &'static str {
        match self {
            Timeframe::M1 => "1m",
            Timeframe::M5 => "5m",
            Timeframe::M15 => "15m",
            Timeframe::H1 => "1h",
            Timeframe::H3 => "3h",
        }
    }
}
