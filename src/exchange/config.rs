//! What an exchange is set up with: instruments, accounts, fees, limits.

use super::number::read_number;
use crate::base::time::WallNs;
use crate::model::Instrument;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Longest API key or secret accepted, bytes.
pub const KEY_TEXT_MAX: usize = 128;

/// One instrument listed here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SymbolSpec {
    /// With its leading `t`, e.g. `tBTCUSD`.
    pub name: String,
    /// Smallest order, 1e-8 of base.
    pub qty_min: i64,
    /// Largest order, 1e-8 of base.
    pub qty_max: i64,
    /// Initial margin of a margin position, 1e-4 of its value; 0 = not a margin pair.
    pub margin_initial_e4: i64,
}

impl SymbolSpec {
    /// The sizes and margins the venue published for the usual pairs on 2025-08-10, else cautious
    /// ones.
    pub fn named(name: &str) -> SymbolSpec {
        let (qty_min, qty_max, margin) = match name {
            "tBTCUSD" => ("0.00004", "2000", 1_000),
            "tETHUSD" => ("0.0008", "5000", 2_000),
            "tADAUSD" => ("4", "250000", 3_000),
            "tDOTUSD" => ("0.2", "50000", 3_000),
            "tSOLUSD" => ("0.02", "50000", 3_000),
            // Derivatives: 1 % at the most leverage of 100.
            _ if name.contains("F0") => ("0.00004", "1000000", 100),
            _ => ("0.001", "1000000", 3_000),
        };
        let units = |text: &str| read_number(text.as_bytes()).map_or(0, |(raw, _)| raw);
        SymbolSpec {
            name: name.to_owned(),
            qty_min: units(qty_min),
            qty_max: units(qty_max),
            margin_initial_e4: margin,
        }
    }
    /// The pairs of the default market.
    pub fn usual() -> Vec<SymbolSpec> {
        ["tBTCUSD", "tETHUSD", "tADAUSD", "tDOTUSD"].map(SymbolSpec::named).to_vec()
    }
}

/// What an API key may read and write, by the venue's scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permissions {
    pub account_read: bool,
    pub history_read: bool,
    pub orders_read: bool,
    pub orders_write: bool,
    pub positions_read: bool,
    pub positions_write: bool,
    pub funding_read: bool,
    pub settings_read: bool,
    pub wallets_read: bool,
    pub wallets_write: bool,
    pub withdraw_write: bool,
}

impl Permissions {
    /// What a trading bot's key has.
    pub const TRADE: Permissions = Permissions {
        account_read: true,
        history_read: true,
        orders_read: true,
        orders_write: true,
        positions_read: true,
        positions_write: true,
        funding_read: true,
        settings_read: false,
        wallets_read: true,
        wallets_write: false,
        withdraw_write: false,
    };
    /// The same without the right to trade.
    pub const READ: Permissions =
        Permissions { orders_write: false, positions_write: false, ..Permissions::TRADE };

    /// What both sides allow.
    pub const fn and(self, other: Permissions) -> Permissions {
        Permissions {
            account_read: self.account_read && other.account_read,
            history_read: self.history_read && other.history_read,
            orders_read: self.orders_read && other.orders_read,
            orders_write: self.orders_write && other.orders_write,
            positions_read: self.positions_read && other.positions_read,
            positions_write: self.positions_write && other.positions_write,
            funding_read: self.funding_read && other.funding_read,
            settings_read: self.settings_read && other.settings_read,
            wallets_read: self.wallets_read && other.wallets_read,
            wallets_write: self.wallets_write && other.wallets_write,
            withdraw_write: self.withdraw_write && other.withdraw_write,
        }
    }
    /// Scopes as the venue lists them: name, read, write.
    pub const fn scopes(self) -> [(&'static str, bool, bool); 10] {
        [
            ("account", self.account_read, false),
            ("history", self.history_read, false),
            ("orders", self.orders_read, self.orders_write),
            ("positions", self.positions_read, self.positions_write),
            ("funding", self.funding_read, false),
            ("settings", self.settings_read, false),
            ("wallets", self.wallets_read, self.wallets_write),
            ("withdraw", false, self.withdraw_write),
            ("ui_withdraw", false, false),
            ("bfxpay", false, false),
        ]
    }
}

/// A further key of an account.
#[derive(Clone)]
pub struct KeySpec {
    pub api_key: String,
    pub api_secret: String,
    pub permissions: Permissions,
}

impl fmt::Debug for KeySpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySpec").field("api_key", &self.api_key).finish_non_exhaustive()
    }
}

/// An account, its first key and further ones.
#[derive(Clone)]
pub struct AccountSpec {
    pub api_key: String,
    pub api_secret: String,
    /// `(wallet, currency, 1e-8 units)`; wallet is `exchange`, `margin` or `funding`.
    pub balances: Vec<(String, String, i64)>,
    pub permissions: Permissions,
    pub more_keys: Vec<KeySpec>,
}

impl AccountSpec {
    /// Key, secret and permissions of every key, the first one first.
    pub fn keys(&self) -> impl Iterator<Item = (&str, &str, Permissions)> {
        let first = (self.api_key.as_str(), self.api_secret.as_str(), self.permissions);
        let more = self.more_keys.iter();
        std::iter::once(first)
            .chain(more.map(|key| (key.api_key.as_str(), key.api_secret.as_str(), key.permissions)))
    }
}

impl fmt::Debug for AccountSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountSpec")
            .field("api_key", &self.api_key)
            .field("api_secret", &"(hidden)")
            .field("balances", &self.balances)
            .finish_non_exhaustive()
    }
}

impl AccountSpec {
    /// The account of the embedded environment: both wallets funded, key `embedded-key`.
    pub fn embedded() -> AccountSpec {
        AccountSpec::funded("embedded-key", "embedded-secret")
    }
    /// An account with this key and plenty of the usual currencies.
    pub fn funded(api_key: &str, api_secret: &str) -> AccountSpec {
        let mut balances = Vec::new();
        for wallet in ["exchange", "margin"] {
            for (currency, whole) in [
                ("USD", 1_000_000),
                ("UST", 1_000_000),
                ("BTC", 50),
                ("ETH", 500),
                ("ADA", 500_000),
                ("DOT", 50_000),
            ] {
                balances.push((wallet.to_owned(), currency.to_owned(), whole * 100_000_000));
            }
        }
        AccountSpec {
            api_key: api_key.to_owned(),
            api_secret: api_secret.to_owned(),
            balances,
            permissions: Permissions::TRADE,
            more_keys: Vec::new(),
        }
    }
    /// The same account with a further key.
    pub fn with_key(mut self, api_key: &str, api_secret: &str, permissions: Permissions) -> Self {
        let (api_key, api_secret) = (api_key.to_owned(), api_secret.to_owned());
        self.more_keys.push(KeySpec { api_key, api_secret, permissions });
        self
    }
}

/// Fees in 1e-2 basis points (1e-6 of the value), so that 0.065 % is 650.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fees {
    pub maker_e6: i64,
    pub taker_e6: i64,
}

/// One row of the fee table: what is paid by an account that traded at least `volume_usd` dollars
/// in 30 days. 1e-2 basis points, as in [`Fees`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeeTier {
    pub volume_usd: u64,
    /// Spot and margin.
    pub maker_e6: i64,
    /// By the quote currency: a coin, a stable coin, or a national currency.
    pub taker_crypto_e6: i64,
    pub taker_stable_e6: i64,
    pub taker_fiat_e6: i64,
    /// Derivatives; below zero is a rebate, which the venue pays nowhere else.
    pub deriv_maker_e6: i64,
    pub deriv_taker_e6: i64,
}

impl FeeTier {
    /// The table that was published until 2025-12-17, when all fees were dropped. Lowest tier: the
    /// protocol notes, 5.3; the others as client libraries carry them.
    pub fn until_2025() -> Vec<FeeTier> {
        let rows: [(u64, i64, i64); 11] = [
            (0, 1_000, 2_000),
            (500_000, 800, 2_000),
            (1_000_000, 600, 2_000),
            (2_500_000, 400, 2_000),
            (5_000_000, 200, 2_000),
            (7_500_000, 0, 2_000),
            (10_000_000, 0, 1_800),
            (15_000_000, 0, 1_600),
            (20_000_000, 0, 1_400),
            (25_000_000, 0, 1_200),
            (30_000_000, 0, 1_000),
        ];
        let tier = |(volume_usd, maker_e6, taker_e6)| FeeTier {
            volume_usd,
            maker_e6,
            taker_crypto_e6: taker_e6,
            taker_stable_e6: taker_e6,
            taker_fiat_e6: taker_e6,
            deriv_maker_e6: 200,
            deriv_taker_e6: 650,
        };
        rows.map(tier).to_vec()
    }
    /// The one tier of flat fees.
    pub const fn flat(fees: Fees) -> FeeTier {
        FeeTier {
            volume_usd: 0,
            maker_e6: fees.maker_e6,
            taker_crypto_e6: fees.taker_e6,
            taker_stable_e6: fees.taker_e6,
            taker_fiat_e6: fees.taker_e6,
            deriv_maker_e6: fees.maker_e6,
            deriv_taker_e6: fees.taker_e6,
        }
    }
    /// What an execution is charged.
    pub fn rate_e6(&self, quote: &str, is_derivative: bool, as_maker: bool) -> i64 {
        match (is_derivative, as_maker) {
            (true, true) => self.deriv_maker_e6,
            (true, false) => self.deriv_taker_e6,
            (false, true) => self.maker_e6,
            (false, false) => match quote {
                "USD" | "EUR" | "GBP" | "JPY" | "TRY" | "CNH" | "MXN" => self.taker_fiat_e6,
                "UST" | "UDC" | "DAI" | "TSD" | "EUT" => self.taker_stable_e6,
                _ => self.taker_crypto_e6,
            },
        }
    }
}

/// Bounds the venue sets to its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VenueLimits {
    /// Channels a socket, channel 0 included (sources say 25, 30 or 36).
    pub channels_per_socket: usize,
    /// Orders of one account that rest at once.
    pub open_orders: usize,
    /// New orders of one account in 5 minutes of market time; 0 = no limit.
    pub orders_per_5_min: u32,
    /// REST calls a minute per endpoint by the venue's table. Nobody is limited before the market
    /// starts.
    pub rest_per_minute: bool,
    /// Who breaks a REST limit gets nothing for so long, ms; 0 = only that endpoint refuses, until
    /// the minute is over.
    pub rest_block_ms: i64,
    /// So many refusals in one minute bring that block; up to then the endpoint alone refuses.
    pub rest_block_after: u32,
    /// Operations in one `ox_multi` or `order/multi`.
    pub operations: usize,
    /// Bytes of one client message; longer ones are ignored.
    pub message_size: usize,
}

impl Default for VenueLimits {
    fn default() -> Self {
        VenueLimits {
            channels_per_socket: 30,
            open_orders: 2_500,
            orders_per_5_min: 0,
            rest_per_minute: true,
            rest_block_ms: 60_000,
            rest_block_after: 1,
            operations: 75,
            message_size: 1 << 20,
        }
    }
}

/// When a recording starts to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitFor {
    /// At once.
    Nothing,
    /// A subscriber on every recorded book and trade channel.
    EveryChannel,
}

#[derive(Clone, Debug)]
pub struct ExchangeConfig {
    /// Decides server ids, channel ids and the like; the market has its own seed.
    pub seed: u64,
    /// Instruments; those a recording brings along are added with `SymbolSpec::named`.
    pub symbols: Vec<SymbolSpec>,
    /// Fees of everybody, where no tiers are given.
    pub fees: Fees,
    /// Fees by the volume of 30 days, lowest volume first; empty = `fees`.
    pub fee_tiers: Vec<FeeTier>,
    pub accounts: Vec<AccountSpec>,
    pub limits: VenueLimits,
    /// Tick of the heartbeats, ms.
    pub heartbeat_ms: i64,
    /// Tick of the checksums of a changing book, ms.
    pub checksum_ms: i64,
    /// Tick of the tickers, ms.
    pub ticker_ms: i64,
    /// Tickers on sockets have the eleventh element, null, that was seen in 2026 (protocol notes,
    /// 1.6). No recording has it, and clients that expect ten break on it.
    pub ticker_of_2026: bool,
    /// A subscription is acknowledged up to so long after the channel is open, ms, by the seed: its
    /// heartbeats may come before. 0 = at once.
    pub ack_after_ms: i64,
    /// Free balances and profits, which are null in the snapshots of an account, follow them so
    /// long after, ms. 0 = at once.
    pub figures_after_ms: i64,
    /// A client id used twice on one UTC day is refused (what the venue does is not known for
    /// sure).
    pub cid_unique_per_day: bool,
    pub wait_for: WaitFor,
    /// First moment of the market's clock, for a market that has no time of its own.
    pub start_at: WallNs,
}

impl Default for ExchangeConfig {
    /// The embedded environment: four pairs, one funded account, fees of the lowest tier before
    /// they were dropped.
    fn default() -> Self {
        ExchangeConfig {
            seed: 1,
            symbols: SymbolSpec::usual(),
            fees: Fees { maker_e6: 1_000, taker_e6: 2_000 },
            fee_tiers: Vec::new(),
            accounts: vec![AccountSpec::embedded()],
            limits: VenueLimits::default(),
            heartbeat_ms: 15_000,
            checksum_ms: 2_500,
            ticker_ms: 5_000,
            ticker_of_2026: false,
            ack_after_ms: 0,
            figures_after_ms: 0,
            cid_unique_per_day: true,
            wait_for: WaitFor::EveryChannel,
            start_at: WallNs::from_ms(1_735_689_600_000),
        }
    }
}

/// Why an exchange could not be set up or restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExchangeError {
    /// Not a trading symbol of the venue's form.
    SymbolName(String),
    /// Listed twice.
    SymbolTwice(String),
    /// An API key is given twice, or it is empty or too long.
    ApiKey(String),
    /// A balance names a wallet that does not exist, or is negative.
    Balance(String),
    /// Tiers not in rising order of volume, not starting at 0, or a rebate where the venue has
    /// none.
    FeeTiers(u64),
    /// No instrument at all.
    NoSymbols,
    /// Saved state that cannot be read, or is of another set-up; says what differs.
    State(&'static str),
}

impl fmt::Display for ExchangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExchangeError::SymbolName(name) => {
                write!(f, "symbol {name:?} is not of the form tBTCUSD or tDOGE:USD")
            }
            ExchangeError::SymbolTwice(name) => write!(f, "symbol {name:?} is listed twice"),
            ExchangeError::ApiKey(key) => {
                write!(f, "API key {key:?} is empty, too long or given twice")
            }
            ExchangeError::Balance(text) => write!(
                f,
                "balance {text:?}: expected exchange, margin or funding and an amount of 0 or more"
            ),
            ExchangeError::FeeTiers(volume) => write!(
                f,
                "fee tier of {volume} USD: expected rising volumes from 0 on, and fees below zero \
                 for makers of derivatives only"
            ),
            ExchangeError::NoSymbols => write!(f, "no symbols are listed"),
            ExchangeError::State(why) => write!(f, "saved state cannot be used: {why}"),
        }
    }
}
impl std::error::Error for ExchangeError {}

impl ExchangeConfig {
    /// Checks what can be checked before anything runs.
    ///
    /// # Errors
    /// The first problem found.
    pub fn check(&self) -> Result<(), ExchangeError> {
        if self.symbols.is_empty() {
            return Err(ExchangeError::NoSymbols);
        }
        for (at, spec) in self.symbols.iter().enumerate() {
            if Instrument::split_name(&spec.name).is_none() {
                return Err(ExchangeError::SymbolName(spec.name.clone()));
            }
            if self.symbols[..at].iter().any(|other| other.name == spec.name) {
                return Err(ExchangeError::SymbolTwice(spec.name.clone()));
            }
        }
        let mut volume_least = 0;
        for (at, tier) in self.fee_tiers.iter().enumerate() {
            let least = tier.maker_e6.min(tier.taker_crypto_e6).min(tier.taker_stable_e6);
            let least = least.min(tier.taker_fiat_e6).min(tier.deriv_taker_e6);
            let rises = if at == 0 { tier.volume_usd == 0 } else { tier.volume_usd > volume_least };
            if least < 0 || !rises {
                return Err(ExchangeError::FeeTiers(tier.volume_usd));
            }
            volume_least = tier.volume_usd;
        }
        let mut keys: Vec<&str> = Vec::new();
        for account in &self.accounts {
            for (key, ..) in account.keys() {
                if keys.contains(&key) || key.is_empty() || key.len() > KEY_TEXT_MAX {
                    return Err(ExchangeError::ApiKey(key.to_owned()));
                }
                keys.push(key);
            }
            for (wallet, currency, units) in &account.balances {
                let known = matches!(wallet.as_str(), "exchange" | "margin" | "funding");
                if !known || *units < 0 || currency.is_empty() || currency.len() > 12 {
                    return Err(ExchangeError::Balance(format!("{wallet} {currency} {units}")));
                }
            }
        }
        Ok(())
    }
}
