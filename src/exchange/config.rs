//! What an exchange is set up with: instruments, accounts, fees, limits.

use super::number::read_number;
use crate::base::time::WallNs;
use crate::model::Instrument;
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

/// What an API key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permissions {
    pub orders_write: bool,
    pub wallets_read: bool,
    pub withdraw_write: bool,
}

/// An account and its one key.
#[derive(Clone)]
pub struct AccountSpec {
    pub api_key: String,
    pub api_secret: String,
    /// `(wallet, currency, 1e-8 units)`; wallet is `exchange`, `margin` or `funding`.
    pub balances: Vec<(String, String, i64)>,
    pub permissions: Permissions,
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
        let permissions =
            Permissions { orders_write: true, wallets_read: true, withdraw_write: false };
        AccountSpec {
            api_key: api_key.to_owned(),
            api_secret: api_secret.to_owned(),
            balances,
            permissions,
        }
    }
}

/// Fees in 1e-2 basis points (1e-6 of the value), so that 0.065 % is 650.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fees {
    pub maker_e6: i64,
    pub taker_e6: i64,
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
    pub fees: Fees,
    pub accounts: Vec<AccountSpec>,
    pub limits: VenueLimits,
    /// Tick of the heartbeats, ms.
    pub heartbeat_ms: i64,
    /// Tick of the checksums of a changing book, ms.
    pub checksum_ms: i64,
    /// Tick of the tickers, ms.
    pub ticker_ms: i64,
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
            accounts: vec![AccountSpec::embedded()],
            limits: VenueLimits::default(),
            heartbeat_ms: 15_000,
            checksum_ms: 2_500,
            ticker_ms: 5_000,
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
    /// Two accounts share an API key, or it is empty or too long.
    ApiKey(String),
    /// A balance names a wallet that does not exist, or is negative.
    Balance(String),
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
                write!(f, "API key {key:?} is empty, too long or used by two accounts")
            }
            ExchangeError::Balance(text) => write!(
                f,
                "balance {text:?}: expected exchange, margin or funding and an amount of 0 or more"
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
        for (at, account) in self.accounts.iter().enumerate() {
            let twice = self.accounts[..at].iter().any(|other| other.api_key == account.api_key);
            if twice || account.api_key.is_empty() || account.api_key.len() > KEY_TEXT_MAX {
                return Err(ExchangeError::ApiKey(account.api_key.clone()));
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
