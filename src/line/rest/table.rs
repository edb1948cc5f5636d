//! How many calls the venue allows, by endpoint. This file is the one place with those numbers;
//! a config may change them by pattern.
//!
//! Source: protocol notes, 4.4 (calls a minute, per address and per endpoint; a breach blocks the
//! address for 60 s). What no source names is marked so.

use crate::base::limits::REST_ENDPOINTS_MAX;

/// Length of the venue's window.
pub const WINDOW_S: u32 = 60;

/// Host of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    Public,
    Private,
}
impl Side {
    pub const ALL: [Side; 2] = [Side::Public, Side::Private];
    pub const fn index(self) -> usize {
        self as usize
    }
    pub const fn name(self) -> &'static str {
        match self {
            Side::Public => "public",
            Side::Private => "private",
        }
    }
}

/// What one endpoint takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointLimit {
    /// Path behind `/v2/`; `*` stands for one part of it.
    pub name: &'static str,
    /// Calls in one window.
    pub window_calls: u32,
    /// Prices, books, trades: these come by websocket. REST may read them for a named reason only.
    pub is_market: bool,
}

impl EndpointLimit {
    /// Whose host it is. Rows for anything else count as public.
    pub fn side(&self) -> Side {
        if self.name.starts_with("auth") { Side::Private } else { Side::Public }
    }
}

const fn plain(name: &'static str, window_calls: u32) -> EndpointLimit {
    EndpointLimit { name, window_calls, is_market: false }
}
const fn market(name: &'static str, window_calls: u32) -> EndpointLimit {
    EndpointLimit { name, window_calls, is_market: true }
}

/// The venue's table. A name that begins like another stands behind it: the longest match wins.
pub const VENUE_TABLE: [EndpointLimit; 36] = [
    plain("platform/status", 30),
    plain("conf", 90), // one bucket for every key
    market("ticker", 90),
    market("tickers", 30),
    market("tickers/hist", 15), // no source: as trades
    market("trades/*/hist", 15),
    market("book", 240),
    market("candles", 30),
    market("stats1", 15),
    market("status/deriv", 90),
    market("status/deriv/*/hist", 90),
    market("liquidations/hist", 3),
    plain("auth/r/wallets", 90),
    plain("auth/r/orders", 90),
    plain("auth/r/orders/hist", 90),
    plain("auth/r/orders/*/hist", 90),
    plain("auth/r/order/*/trades", 90),
    plain("auth/r/trades/hist", 90),
    plain("auth/r/trades/*/hist", 90),
    plain("auth/r/positions", 90),
    plain("auth/r/positions/hist", 90),
    plain("auth/r/ledgers", 90),
    plain("auth/r/info/user", 90),
    plain("auth/r/info/margin", 90),
    plain("auth/r/permissions", 90),
    plain("auth/r/summary", 90),
    plain("auth/calc/order/avail", 90),
    plain("auth/w/order/submit", 90),
    plain("auth/w/order/update", 90),
    plain("auth/w/order/cancel", 90),
    plain("auth/w/order/cancel/multi", 90),
    plain("auth/w/order/multi", 90),
    plain("auth/w/token", 10), // no source: as deposit/address
    plain("auth/w/deposit/address", 10),
    plain("auth", 30), // no source: anything else that is signed
    plain("", 15),     // no source: anything else
];

/// Row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint(pub u8);

impl Endpoint {
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A change of the table by config, e.g. `auth/w/order/*` → 45.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitOverride {
    /// Name of a row; `*` stands for anything, slashes included.
    pub pattern: String,
    /// Calls in one window, above zero.
    pub window_calls: u32,
}

/// Why a change of the table is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OverrideError {
    /// No row has such a name.
    NoSuchEndpoint { pattern: String },
    /// No call at all would be allowed.
    Zero { pattern: String },
}
impl std::fmt::Display for OverrideError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            OverrideError::NoSuchEndpoint { pattern } => write!(
                f,
                "rest limit `{pattern}`: no endpoint of the venue has such a name; write e.g. \
                 auth/w/order/* or candles"
            ),
            OverrideError::Zero { pattern } => {
                write!(f, "rest limit `{pattern}`: 0 calls a minute; write 1 or more")
            }
        }
    }
}

/// The table of a run.
#[derive(Clone, Debug)]
pub struct LimitTable {
    rows: Vec<EndpointLimit>,
}

impl Default for LimitTable {
    fn default() -> Self {
        Self { rows: VENUE_TABLE.to_vec() }
    }
}

impl LimitTable {
    /// The venue's table with the changes of a config; a later change wins.
    ///
    /// # Errors
    /// Every change that cannot be made.
    pub fn with_overrides(changes: &[LimitOverride]) -> Result<Self, Vec<OverrideError>> {
        let mut table = Self::default();
        let mut problems = Vec::new();
        for change in changes {
            let pattern = change.pattern.clone();
            if change.window_calls == 0 {
                problems.push(OverrideError::Zero { pattern });
                continue;
            }
            let mut found = false;
            for row in table.rows.iter_mut().filter(|row| glob(&change.pattern, row.name)) {
                row.window_calls = change.window_calls;
                found = true;
            }
            if !found {
                problems.push(OverrideError::NoSuchEndpoint { pattern });
            }
        }
        if problems.is_empty() { Ok(table) } else { Err(problems) }
    }
    pub fn rows(&self) -> &[EndpointLimit] {
        &self.rows
    }
    pub fn row(&self, endpoint: Endpoint) -> &EndpointLimit {
        &self.rows[endpoint.index()]
    }
    /// The row of a path such as `auth/r/orders/tBTCUSD/hist?limit=5`: the longest that fits.
    pub fn find(&self, path: &str) -> Endpoint {
        let path = path.split('?').next().unwrap_or_default();
        let best = (0..self.rows.len())
            .filter_map(|index| Some((fit(self.rows[index].name, path)?, index)))
            .max();
        // The last row fits every path.
        Endpoint(best.map_or(self.rows.len() - 1, |(_, index)| index) as u8)
    }
}

/// How well a row's name fits a path: parts of the path that it names, whole ones before `*`.
/// `None` where it does not.
fn fit(name: &str, path: &str) -> Option<(usize, usize)> {
    if name.is_empty() {
        return Some((0, 0));
    }
    let mut parts = path.split('/');
    let (mut count, mut whole) = (0, 0);
    for wanted in name.split('/') {
        let part = parts.next()?;
        if wanted == part {
            whole += 1;
        } else if wanted != "*" {
            return None;
        }
        count += 1;
    }
    Some((count, whole))
}

/// Whether `text` is what `pattern` describes; `*` stands for any run of characters.
fn glob(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, tail)) => text.strip_prefix(head).is_some_and(|rest| {
            (0..=rest.len()).any(|at| rest.is_char_boundary(at) && glob(tail, &rest[at..]))
        }),
    }
}

const _: () = assert!(VENUE_TABLE.len() <= REST_ENDPOINTS_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    fn name_of(path: &str) -> &'static str {
        let table = LimitTable::default();
        table.row(table.find(path)).name
    }

    #[test]
    fn every_path_has_one_row_and_the_longest_wins() {
        for (path, name) in [
            ("platform/status", "platform/status"),
            ("conf/pub:list:pair:exchange,pub:info:pair", "conf"),
            ("ticker/tBTCUSD", "ticker"),
            ("tickers?symbols=ALL", "tickers"),
            ("trades/tBTCUSD/hist?limit=10", "trades/*/hist"),
            ("candles/trade:1m:tBTCUSD/hist?limit=10", "candles"),
            ("status/deriv?keys=ALL", "status/deriv"),
            ("auth/r/orders", "auth/r/orders"),
            ("auth/r/orders/hist", "auth/r/orders/hist"),
            ("auth/r/orders/tBTCUSD", "auth/r/orders"),
            ("auth/r/orders/tBTCUSD/hist", "auth/r/orders/*/hist"),
            ("auth/r/order/tBTCUSD:1/trades", "auth/r/order/*/trades"),
            ("auth/r/info/margin/base", "auth/r/info/margin"),
            ("auth/w/order/cancel", "auth/w/order/cancel"),
            ("auth/w/order/cancel/multi", "auth/w/order/cancel/multi"),
            ("auth/w/withdraw", "auth"),
            ("nope", ""),
            ("", ""),
        ] {
            assert_eq!(name_of(path), name, "{path}");
        }
    }

    #[test]
    fn every_row_finds_itself_and_allows_something() {
        let table = LimitTable::default();
        for (index, row) in table.rows().iter().enumerate() {
            assert_eq!(table.find(&row.name.replace('*', "x")).index(), index, "{}", row.name);
            assert!(row.window_calls > 0);
        }
    }

    #[test]
    fn every_call_we_know_has_a_row_of_its_own() {
        use crate::venue::rest::RestCall;
        for call in [RestCall::Orders, RestCall::Wallets, RestCall::Summary, RestCall::CancelAll] {
            assert_eq!(name_of(call.endpoint()), call.endpoint());
        }
    }

    #[test]
    fn patterns_change_the_rows_they_describe() {
        let change = |pattern: &str, window_calls| LimitOverride {
            pattern: pattern.to_owned(),
            window_calls,
        };
        let table =
            LimitTable::with_overrides(&[change("auth/w/order/*", 45), change("*/submit", 7)])
                .unwrap();
        let limit = |path: &str| table.row(table.find(path)).window_calls;
        assert_eq!(limit("auth/w/order/cancel/multi"), 45);
        assert_eq!(limit("auth/w/order/submit"), 7);
        assert_eq!(limit("auth/r/orders"), 90);
        assert_eq!(
            LimitTable::with_overrides(&[change("auth/x", 1), change("conf", 0)]).unwrap_err(),
            [
                OverrideError::NoSuchEndpoint { pattern: "auth/x".to_owned() },
                OverrideError::Zero { pattern: "conf".to_owned() }
            ]
        );
    }

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, text, expected) in [
            ("conf", "conf", true),
            ("conf", "conf2", false),
            ("*", "", true),
            ("*", "a/b", true),
            ("a*c", "abc", true),
            ("a*c", "abcd", false),
            ("a*c", "abcc", true),
            ("*b*", "abc", true),
            ("*x*", "abc", false),
            ("ab*b", "ab", false),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }
}
