//! From file and command line to one `Config`.

use super::problem::{ConfigError, without_secrets};
use super::reader::{Reader, Row, key};
use super::resolve::RecordedChannel;
use super::{check, machine, market, operate, trading};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// One run's config: immutable, every value resolved. Sections are plain data; money, sizes and
/// basis points are integers of 1e-8.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub environment: market::Environment,
    /// Venue symbols, in table order.
    pub symbols: Vec<String>,
    pub market: market::Market,
    pub exchange: market::ExchangeSection,
    pub venue: market::VenueSection,
    pub channels: market::Channels,
    pub rest: market::Rest,
    pub trading: trading::Trading,
    pub strategies: Vec<trading::StrategySection>,
    pub signal: trading::SignalSection,
    pub risk: trading::RiskSection,
    pub orders: trading::OrdersSection,
    pub topology: machine::TopologySection,
    pub journal: machine::Journal,
    pub report: machine::ReportSection,
    pub log: machine::LogSection,
    pub dashboard: operate::DashboardSection,
    pub metrics: operate::MetricsSection,
    pub alerts: crate::ops::alerts::AlertConfig,
    pub watchdog: crate::ops::watchdog::WatchdogConfig,
    /// What a recording holds, where the run follows one instead of `symbols` × `channels`.
    pub(super) recorded: Option<Vec<RecordedChannel>>,
    /// Every key with its value, as `config show` prints them.
    pub(super) rows: Vec<Row>,
}

/// A value from the command line: stronger than the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// Path of the key, e.g. `market.speed`.
    pub key: String,
    /// As typed: TOML where it is TOML, else text.
    pub value: String,
}
impl Override {
    /// Reads `key=value`.
    ///
    /// # Errors
    /// What to write instead.
    pub fn parse(text: &str) -> Result<Override, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                Ok(Override { key: key.trim().to_owned(), value: value.trim().to_owned() })
            }
            _ => Err(format!("`{text}` is not KEY=VALUE; write e.g. risk.collar_bps=100")),
        }
    }
}

/// Where a config comes from. Nothing given = the built-in defaults.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    pub file: Option<PathBuf>,
    pub overrides: Vec<Override>,
}

/// A default run's symbols.
pub const DEFAULT_SYMBOLS: [&str; 4] = ["tBTCUSD", "tETHUSD", "tADAUSD", "tDOTUSD"];

impl Sources {
    /// Reads and checks everything.
    ///
    /// # Errors
    /// The file cannot be read, is not TOML, or says something that is not allowed.
    pub fn load(&self) -> Result<Config, ConfigError> {
        let (name, text) = match &self.file {
            None => ("built-in defaults".to_owned(), String::new()),
            Some(path) => (path.display().to_string(), read(path)?),
        };
        load_text(&name, &text, &self.overrides)
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    /// A config is some kilobytes; a recording given by mistake is not read whole.
    const SIZE_MAX: u64 = 1 << 20;
    let shown = path.display().to_string();
    let unreadable = |cause: String| ConfigError::Unreadable { path: shown.clone(), cause };
    let facts = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?;
    if facts.is_dir() {
        return Err(unreadable("it is a directory".to_owned()));
    }
    if facts.len() > SIZE_MAX {
        return Err(unreadable(format!("it has {} bytes, more than any config", facts.len())));
    }
    std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))
}

/// Reads a config from text; `name` stands for it in messages.
pub(super) fn load_text(
    name: &str,
    text: &str,
    overrides: &[Override],
) -> Result<Config, ConfigError> {
    let mut table: Table = text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax {
        path: name.to_owned(),
        cause: without_secrets(&error.to_string()),
    })?;
    let mut reader = Reader::default();
    for each in overrides {
        apply(&mut table, each, &mut reader);
    }
    let config = read_table(&table, &mut reader);
    if reader.problems.is_empty() {
        Ok(Config { rows: reader.rows, ..config })
    } else {
        Err(ConfigError::Invalid { path: name.to_owned(), problems: reader.problems })
    }
}

/// Reads every section, collecting rows and problems in `reader`.
pub(super) fn read_table(table: &Table, reader: &mut Reader) -> Config {
    // What outlives the scopes below: tables that stand in for those not written.
    let given = table
        .get("symbols")
        .and_then(Value::as_array)
        .map(|items| items.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>());
    let followed = given.unwrap_or_else(|| DEFAULT_SYMBOLS.map(str::to_owned).to_vec());
    let strategies = trading::Defaults::for_symbols(&followed);
    let threads = machine::example_threads();

    let mut root = reader.root(table);
    let environment = root.choice(
        key(
            "environment",
            "",
            "embedded: the exchange of this repository, over real loopback sockets. bitfinex: the \
             venue. world: virtual time. Embedded, so that a first run needs no network, no \
             account and no key.",
        ),
        market::Environment::Embedded,
        &market::Environment::WORDS,
    );
    let symbols = root.list(
        key(
            "symbols",
            "",
            "What is followed, by the venue's names. With a recording and none written here: what \
             the recording holds.",
        ),
        &DEFAULT_SYMBOLS,
        "venue symbols, e.g. tBTCUSD, tDUSK:USD, tTESTBTC:TESTUSD; 1 … 512, none twice",
    );
    let config = Config {
        environment,
        symbols,
        market: market::read_market(&mut root),
        exchange: market::read_exchange(&mut root),
        venue: market::read_venue(&mut root),
        channels: market::read_channels(&mut root),
        trading: trading::read_trading(&mut root),
        strategies: trading::read_strategies(&mut root, &strategies),
        signal: trading::read_signal(&mut root),
        risk: trading::read_risk(&mut root),
        orders: trading::read_orders(&mut root),
        topology: machine::read_topology(&mut root, &threads),
        journal: machine::read_journal(&mut root),
        rest: market::read_rest(&mut root),
        report: machine::read_report(&mut root),
        log: machine::read_log(&mut root),
        dashboard: operate::read_dashboard(&mut root),
        metrics: operate::read_metrics(&mut root),
        alerts: operate::read_alerts(&mut root),
        watchdog: operate::read_watchdog(&mut root),
        recorded: None,
        rows: Vec::new(),
    };
    root.finish();
    check::check(&config, reader);
    config
}

/// Puts one value of the command line into the table.
fn apply(table: &mut Table, each: &Override, reader: &mut Reader) {
    let parsed: Option<Table> = format!("value = {}", each.value).parse().ok();
    let value = parsed
        .filter(|table| table.len() == 1)
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(each.value.clone()));
    let mut parts: Vec<&str> = each.key.split('.').collect();
    let last = parts.pop().unwrap_or_default();
    let mut at = table;
    for part in parts {
        let next = at.entry(part).or_insert_with(|| Value::Table(Table::new()));
        match next {
            Value::Table(inner) => at = inner,
            _ => {
                let advice = "lists of tables are written in a file, not on the command line";
                reader.refuse(&each.key, &each.value, "the path of a single key", advice);
                return;
            }
        }
    }
    at.insert(last.to_owned(), value);
}

impl Config {
    /// The built-in defaults.
    pub fn defaults() -> Config {
        load_text("built-in defaults", "", &[]).expect("the defaults are valid: tested below")
    }

    /// SHA-256 over every resolved key and value, 16 hexadecimal digits. What a run writes where
    /// (`journal.dir`, `report.*`, `log.*`) decides nothing and is left out.
    pub fn hash(&self) -> String {
        let mut hasher = Sha256::new();
        for row in &self.rows {
            let Row::Key(key) = row else { continue };
            if ["report.", "log.", "journal.dir"].iter().any(|skip| key.path.starts_with(skip)) {
                continue;
            }
            hasher.update(key.path.as_bytes());
            hasher.update(b" = ");
            hasher.update(key.value.as_bytes());
            hasher.update(b"\n");
        }
        for channel in self.recorded.iter().flatten() {
            hasher.update(format!("recorded {channel:?}\n"));
        }
        hasher.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// True where the operator wrote the key.
    pub fn is_given(&self, path: &str) -> bool {
        self.keys().any(|key| key.path == path && key.given)
    }

    /// Every key with its value.
    pub fn keys(&self) -> impl Iterator<Item = &super::KeyRow> {
        self.rows.iter().filter_map(|row| match row {
            Row::Key(key) => Some(key),
            Row::Section { .. } => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Speed, StrategyKind};

    fn load(text: &str) -> Result<Config, ConfigError> {
        load_text("test.toml", text, &[])
    }
    fn with(overrides: &[&str]) -> Result<Config, ConfigError> {
        let overrides: Vec<Override> =
            overrides.iter().map(|text| Override::parse(text).unwrap()).collect();
        load_text("test.toml", "", &overrides)
    }

    #[test]
    fn an_empty_file_is_the_default_run() {
        let config = load("").unwrap();
        assert_eq!(config, Config::defaults());
        let kinds: Vec<_> = config
            .strategies
            .iter()
            .map(|each| format!("{} {}", each.kind.name(), each.symbols.join(" ")))
            .collect();
        assert_eq!(kinds, ["maker tBTCUSD", "maker tETHUSD", "probe tADAUSD", "classic tDOTUSD"]);
        let StrategyKind::Maker(eth) = &config.strategies[1].kind else { panic!() };
        assert_eq!(eth.inventory_max, 200_000_000);
    }

    #[test]
    fn the_hash_follows_what_decides_and_nothing_else() {
        let hash = Config::defaults().hash();
        assert_eq!(hash.len(), 16);
        assert_eq!(hash, load("# words\n").unwrap().hash());
        assert_eq!(hash, with(&["report.redraw_ms=500", "log.json=true"]).unwrap().hash());
        assert_eq!(hash, with(&["risk.collar_bps=200"]).unwrap().hash());
        assert_ne!(hash, with(&["risk.collar_bps=201"]).unwrap().hash());
    }

    #[test]
    fn the_command_line_is_stronger_than_the_file() {
        let overrides = [
            Override::parse("market.speed=max").unwrap(),
            Override::parse("market.source=capture:x.gz").unwrap(),
            Override::parse("symbols=[\"tBTCUSD\"]").unwrap(),
        ];
        let config = load_text("t", "[market]\nspeed = 2\n", &overrides).unwrap();
        assert_eq!(config.market.speed, Speed::Max);
        assert_eq!(config.symbols, ["tBTCUSD"]);
        assert_eq!(config.strategies.len(), 1);
        assert!(config.is_given("market.speed"));
        assert!(!config.is_given("risk.collar_bps"));
    }

    #[test]
    fn a_slip_on_the_command_line_is_told_like_one_in_the_file() {
        let text = with(&["risk.colar_bps=3"]).unwrap_err().to_string();
        assert!(text.contains("did you mean `collar_bps`?"), "{text}");
        let text = with(&["symbols.x=3"]);
        assert!(text.is_err());
        assert!(Override::parse("collar").is_err());
    }

    #[test]
    fn syntax_errors_carry_line_and_column() {
        let text = load("[risk\n").unwrap_err().to_string();
        assert!(text.contains("line 1"), "{text}");
        let text = load("x = 99999999999999999999").unwrap_err().to_string();
        assert!(text.contains("not valid TOML"), "{text}");
    }
}
