//! Orders, fills, equity, trips and commands of an account in one SQLite file, for people and
//! their SQL. A view made from what the journal holds; nothing decides by it. Amounts are whole
//! numbers of 1e-8, so that sums are exact; the views `order_row`, `fill_row` and `equity_row` show
//! decimals.

use crate::model::{Fill, OrderUpdate};
use rusqlite::{Connection, OpenFlags, params};
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// Layout of the tables below; another one is another number.
const LAYOUT: i64 = 1;
/// How long a writer waits for somebody's long read.
const BUSY_MAX: Duration = Duration::from_secs(5);

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS run (
  run TEXT PRIMARY KEY, account TEXT NOT NULL, environment TEXT NOT NULL, mode TEXT NOT NULL,
  started_ms INTEGER NOT NULL, build TEXT NOT NULL, config_hash TEXT NOT NULL
);
-- What was sent: one row a message that made or changed orders, from the write-ahead log.
CREATE TABLE IF NOT EXISTS command (
  id INTEGER PRIMARY KEY, run TEXT NOT NULL, at_ms INTEGER NOT NULL, what TEXT NOT NULL,
  class TEXT NOT NULL, reason TEXT NOT NULL, strategy INTEGER NOT NULL, symbol TEXT NOT NULL,
  cid INTEGER, order_id INTEGER, qty_e8 INTEGER, px_e8 INTEGER, seq INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS command_cid ON command (cid);
-- Own orders as the venue tells them; the newest word about each.
CREATE TABLE IF NOT EXISTS orders (
  order_id INTEGER NOT NULL, run TEXT NOT NULL, cid INTEGER NOT NULL, gid INTEGER NOT NULL,
  symbol TEXT NOT NULL, kind TEXT NOT NULL, status TEXT NOT NULL, created_ms INTEGER NOT NULL,
  updated_ms INTEGER NOT NULL, original_e8 INTEGER NOT NULL, remaining_e8 INTEGER NOT NULL,
  px_e8 INTEGER NOT NULL, px_avg_e8 INTEGER NOT NULL, PRIMARY KEY (order_id, created_ms)
);
CREATE INDEX IF NOT EXISTS orders_cid ON orders (cid);
-- One row a trade, however often and by whichever way it was told.
CREATE TABLE IF NOT EXISTS fill (
  trade_id INTEGER NOT NULL, run TEXT NOT NULL, order_id INTEGER NOT NULL,
  cid INTEGER NOT NULL, symbol TEXT NOT NULL, at_ms INTEGER NOT NULL, qty_e8 INTEGER NOT NULL,
  px_e8 INTEGER NOT NULL, fee_e8 INTEGER, fee_currency TEXT NOT NULL, maker INTEGER,
  PRIMARY KEY (trade_id, at_ms)
);
CREATE TABLE IF NOT EXISTS equity (
  run TEXT NOT NULL, at_ms INTEGER NOT NULL, rank TEXT NOT NULL, realised_e8 INTEGER NOT NULL,
  unrealised_e8 INTEGER NOT NULL, fees_e8 INTEGER NOT NULL, exposure_e8 INTEGER NOT NULL,
  orders_alive INTEGER NOT NULL, PRIMARY KEY (run, at_ms)
);
CREATE TABLE IF NOT EXISTS trip (
  id INTEGER PRIMARY KEY, run TEXT NOT NULL, at_ms INTEGER NOT NULL, guard TEXT NOT NULL,
  trips INTEGER NOT NULL, used TEXT, most TEXT NOT NULL, unit TEXT NOT NULL
);
-- Words of people.
CREATE TABLE IF NOT EXISTS word (
  id INTEGER PRIMARY KEY, run TEXT NOT NULL, at_ms INTEGER NOT NULL, verb TEXT NOT NULL,
  symbol TEXT NOT NULL, reason TEXT NOT NULL
);
CREATE VIEW IF NOT EXISTS order_row AS SELECT run, order_id, cid, symbol, kind, status,
  strftime('%Y-%m-%dT%H:%M:%fZ', updated_ms / 1000.0, 'unixepoch') AS updated,
  original_e8 / 1e8 AS original, remaining_e8 / 1e8 AS remaining, px_e8 / 1e8 AS px,
  px_avg_e8 / 1e8 AS px_avg FROM orders;
CREATE VIEW IF NOT EXISTS fill_row AS SELECT run, trade_id, order_id, cid, symbol,
  strftime('%Y-%m-%dT%H:%M:%fZ', at_ms / 1000.0, 'unixepoch') AS at, qty_e8 / 1e8 AS qty,
  px_e8 / 1e8 AS px, fee_e8 / 1e8 AS fee, fee_currency, maker FROM fill;
CREATE VIEW IF NOT EXISTS equity_row AS SELECT run,
  strftime('%Y-%m-%dT%H:%M:%fZ', at_ms / 1000.0, 'unixepoch') AS at, rank,
  realised_e8 / 1e8 AS realised, unrealised_e8 / 1e8 AS unrealised, fees_e8 / 1e8 AS fees,
  exposure_e8 / 1e8 AS exposure, orders_alive FROM equity;
";

/// Why a history cannot be opened, written or read.
#[derive(Debug)]
pub enum HistoryError {
    Sql(rusqlite::Error),
    /// Of another build.
    Layout(i64),
}
impl fmt::Display for HistoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HistoryError::Sql(error) => write!(f, "{error}"),
            HistoryError::Layout(found) => write!(
                f,
                "its layout is {found}, this build knows {LAYOUT}; move the file away, \
                 `genesis journal export` makes a new one from the runs"
            ),
        }
    }
}
impl std::error::Error for HistoryError {}
impl From<rusqlite::Error> for HistoryError {
    fn from(error: rusqlite::Error) -> Self {
        HistoryError::Sql(error)
    }
}

/// What is told once a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunRow {
    pub account: String,
    pub environment: String,
    pub mode: String,
    pub started_ms: i64,
    pub build: String,
    pub config_hash: String,
}

/// A message that made, changed or cancelled orders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandRow {
    pub at_ms: i64,
    pub what: &'static str,
    pub class: String,
    pub reason: String,
    pub strategy: u8,
    pub cid: Option<u64>,
    pub order_id: Option<u64>,
    pub qty: Option<i64>,
    pub px: Option<i64>,
    pub seq: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EquityRow {
    pub at_ms: i64,
    pub rank: &'static str,
    pub realised: i64,
    pub unrealised: i64,
    pub fees: i64,
    pub exposure: i64,
    pub orders_alive: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TripRow {
    pub at_ms: i64,
    pub guard: &'static str,
    pub trips: u32,
    pub used: Option<i64>,
    pub most: i64,
    pub unit: &'static str,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WordRow {
    pub at_ms: i64,
    pub verb: String,
    pub reason: String,
}

/// One thing to be kept; `symbol` is the name, empty where there is none.
#[derive(Clone, Debug, PartialEq)]
pub enum HistoryRow {
    Command(String, CommandRow),
    Order(String, OrderUpdate),
    Fill(String, Fill),
    Equity(EquityRow),
    Trip(TripRow),
    Word(String, WordRow),
}

/// The file, open.
pub struct History {
    sql: Connection,
    run: String,
}

impl History {
    /// Opens or makes the file, for the rows of one run.
    ///
    /// # Errors
    /// The place, or a file of another layout.
    pub fn open(path: &Path, run: &str, facts: &RunRow) -> Result<History, HistoryError> {
        let sql = Connection::open(path)?;
        sql.busy_timeout(BUSY_MAX)?;
        // Readers never wait for the writer; a power cut may cost the newest rows, and the journal
        // has those.
        sql.pragma_update(None, "journal_mode", "WAL")?;
        sql.pragma_update(None, "synchronous", "NORMAL")?;
        check_layout(&sql)?;
        sql.execute_batch(TABLES)?;
        sql.pragma_update(None, "user_version", LAYOUT)?;
        sql.execute(
            "INSERT OR REPLACE INTO run VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                run,
                facts.account,
                facts.environment,
                facts.mode,
                facts.started_ms,
                facts.build,
                facts.config_hash
            ],
        )?;
        Ok(History { sql, run: run.to_owned() })
    }
    /// Keeps rows, all or none.
    ///
    /// # Errors
    /// The disk's, or a reader that holds the file for too long.
    pub fn keep(&mut self, rows: &[HistoryRow]) -> Result<(), HistoryError> {
        let all = self.sql.transaction()?;
        for row in rows {
            write_row(&all, &self.run, row)?;
        }
        all.commit()?;
        Ok(())
    }
    /// Rows of this run are made anew: what an export does.
    ///
    /// # Errors
    /// As with `keep`.
    pub fn forget_run(&mut self) -> Result<(), HistoryError> {
        for table in ["command", "orders", "fill", "equity", "trip", "word"] {
            self.sql.execute(&format!("DELETE FROM {table} WHERE run = ?1"), [&self.run])?;
        }
        Ok(())
    }
}

fn check_layout(sql: &Connection) -> Result<(), HistoryError> {
    let found: i64 = sql.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found == 0 || found == LAYOUT { Ok(()) } else { Err(HistoryError::Layout(found)) }
}

fn ms(at: crate::base::time::WallNs) -> i64 {
    at.0 / 1_000_000
}

fn write_row(sql: &Connection, run: &str, row: &HistoryRow) -> rusqlite::Result<()> {
    match row {
        HistoryRow::Command(symbol, row) => sql
            .prepare_cached(
                "INSERT INTO command (run, at_ms, what, class, reason, strategy, symbol, cid, \
                 order_id, qty_e8, px_e8, seq) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12)",
            )?
            .execute(params![
                run,
                row.at_ms,
                row.what,
                row.class,
                row.reason,
                row.strategy,
                symbol,
                row.cid.map(u64::cast_signed),
                row.order_id.map(u64::cast_signed),
                row.qty,
                row.px,
                row.seq.cast_signed()
            ])?,
        // Told out of order, the older word does not undo the newer one.
        HistoryRow::Order(symbol, order) => sql
            .prepare_cached(
                "INSERT INTO orders VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13) \
                 ON CONFLICT (order_id, created_ms) DO UPDATE SET status = excluded.status, \
                 updated_ms = excluded.updated_ms, remaining_e8 = excluded.remaining_e8, \
                 original_e8 = excluded.original_e8, px_e8 = excluded.px_e8, \
                 px_avg_e8 = excluded.px_avg_e8 WHERE excluded.updated_ms >= orders.updated_ms",
            )?
            .execute(params![
                order.id.0.cast_signed(),
                run,
                order.cid.0.cast_signed(),
                order.gid.cast_signed(),
                symbol,
                format!("{:?}", order.kind),
                format!("{:?}", order.status),
                ms(order.created_at),
                ms(order.updated_at),
                order.original.raw(),
                order.remaining.raw(),
                order.px.raw(),
                order.px_avg.raw()
            ])?,
        // `te` comes without the fee, `tu` with it; either may come alone, twice or first.
        HistoryRow::Fill(symbol, fill) => sql
            .prepare_cached(
                "INSERT INTO fill VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11) \
                 ON CONFLICT (trade_id, at_ms) DO UPDATE SET \
                 cid = CASE WHEN excluded.cid != 0 THEN excluded.cid ELSE fill.cid END, \
                 fee_e8 = COALESCE(excluded.fee_e8, fill.fee_e8), \
                 fee_currency = CASE WHEN excluded.fee_e8 IS NULL THEN fill.fee_currency \
                 ELSE excluded.fee_currency END, maker = COALESCE(excluded.maker, fill.maker)",
            )?
            .execute(params![
                fill.trade.0.cast_signed(),
                run,
                fill.order.0.cast_signed(),
                fill.cid.0.cast_signed(),
                symbol,
                ms(fill.at),
                fill.qty.raw(),
                fill.px.raw(),
                fill.fee,
                fill.fee_currency.as_str(),
                fill.maker
            ])?,
        HistoryRow::Equity(row) => sql
            .prepare_cached("INSERT OR REPLACE INTO equity VALUES (?1,?2,?3,?4,?5,?6,?7,?8)")?
            .execute(params![
                run,
                row.at_ms,
                row.rank,
                row.realised,
                row.unrealised,
                row.fees,
                row.exposure,
                row.orders_alive.cast_signed()
            ])?,
        HistoryRow::Trip(row) => sql
            .prepare_cached(
                "INSERT INTO trip (run, at_ms, guard, trips, used, most, unit) \
                 VALUES (?1,?2,?3,?4,?5,?6,?7)",
            )?
            .execute(params![
                run,
                row.at_ms,
                row.guard,
                row.trips,
                row.used.map(|used| used.to_string()),
                row.most.to_string(),
                row.unit
            ])?,
        HistoryRow::Word(symbol, row) => sql
            .prepare_cached(
                "INSERT INTO word (run, at_ms, verb, symbol, reason) VALUES (?1,?2,?3,?4,?5)",
            )?
            .execute(params![run, row.at_ms, row.verb, symbol, row.reason])?,
    };
    Ok(())
}

/// A question's answer: names of the columns, and rows as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

/// What can be asked without SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    Orders,
    Fills,
    Trips,
}

/// The newest rows of a kind, newest first. The file is opened for reading only.
///
/// # Errors
/// No such file, or not a history.
pub fn newest(path: &Path, ask: Ask, limit: u32) -> Result<Table, HistoryError> {
    let sql = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    sql.busy_timeout(BUSY_MAX)?;
    check_layout(&sql)?;
    let question = match ask {
        Ask::Orders => "SELECT * FROM order_row ORDER BY updated DESC, order_id DESC LIMIT ?1",
        Ask::Fills => "SELECT * FROM fill_row ORDER BY at DESC, trade_id DESC LIMIT ?1",
        Ask::Trips => {
            "SELECT run, strftime('%Y-%m-%dT%H:%M:%fZ', at_ms / 1000.0, 'unixepoch') AS at, guard, \
             trips, used, most, unit FROM trip ORDER BY id DESC LIMIT ?1"
        }
    };
    let mut statement = sql.prepare(question)?;
    let columns: Vec<String> = statement.column_names().iter().map(|&n| n.to_owned()).collect();
    let mut table = Table { columns, rows: Vec::new() };
    let mut rows = statement.query([limit])?;
    while let Some(row) = rows.next()? {
        let cell = |at: usize| -> rusqlite::Result<String> {
            use rusqlite::types::ValueRef;
            Ok(match row.get_ref(at)? {
                ValueRef::Null => String::new(),
                ValueRef::Integer(value) => value.to_string(),
                ValueRef::Real(value) => value.to_string(),
                ValueRef::Text(text) | ValueRef::Blob(text) => {
                    String::from_utf8_lossy(text).into_owned()
                }
            })
        };
        table.rows.push((0..table.columns.len()).map(cell).collect::<Result<_, _>>()?);
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::{Cid, OrderId, SymbolId, TradeId};
    use crate::base::time::WallNs;
    use crate::base::units::{Px, Qty};
    use crate::model::{Currency, OrderFlags, OrderKind, OrderStatus, Source, WalletKind};

    fn fill(trade: u64, fee: Option<i64>) -> HistoryRow {
        let fill = Fill {
            trade: TradeId(trade),
            symbol: SymbolId(0),
            order: OrderId(7),
            cid: Cid(3),
            at: WallNs::from_ms(1_600_000_000_123),
            qty: Qty::parse("-0.5").unwrap(),
            px: Px::parse("10000.1").unwrap(),
            maker: fee.map(|_| true),
            fee,
            fee_currency: Currency::new(if fee.is_some() { "USD" } else { "" }).unwrap_or_default(),
        };
        HistoryRow::Fill("tBTCUSD".to_owned(), fill)
    }
    fn order(updated_ms: i64, remaining: &str, status: OrderStatus) -> HistoryRow {
        let order = OrderUpdate {
            source: Source::Update,
            kind: OrderKind::Limit,
            status,
            wallet: WalletKind::Margin,
            symbol: SymbolId(0),
            id: OrderId(7),
            gid: 1,
            cid: Cid(3),
            created_at: WallNs::from_ms(1),
            updated_at: WallNs::from_ms(updated_ms),
            remaining: Qty::parse(remaining).unwrap(),
            original: Qty::parse("1").unwrap(),
            px: Px::parse("5").unwrap(),
            px_avg: Px::ZERO,
            flags: OrderFlags::NONE,
        };
        HistoryRow::Order("tBTCUSD".to_owned(), order)
    }

    #[test]
    fn fills_are_counted_once_and_an_older_word_undoes_nothing() {
        let dir = std::env::temp_dir().join(format!("genesis-history-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("h.db");
        let facts = RunRow { account: "a".to_owned(), ..RunRow::default() };
        let mut history = History::open(&path, "run-1", &facts).unwrap();
        history
            .keep(&[fill(1, Some(-200)), fill(1, None), fill(2, None), fill(2, Some(-7))])
            .unwrap();
        history
            .keep(&[
                order(10, "0.5", OrderStatus::PartiallyFilled),
                order(20, "0", OrderStatus::Executed),
                order(15, "0.2", OrderStatus::PartiallyFilled),
            ])
            .unwrap();
        let trip = TripRow {
            at_ms: 5,
            guard: "daily_loss",
            trips: 1,
            unit: "quote",
            ..TripRow::default()
        };
        history.keep(&[HistoryRow::Trip(trip)]).unwrap();
        let fills = newest(&path, Ask::Fills, 10).unwrap();
        let at = |name: &str| fills.columns.iter().position(|column| column == name).unwrap();
        assert_eq!(fills.rows.len(), 2);
        assert_eq!(fills.rows[0][at("fee")], "-0.00000007");
        assert_eq!(fills.rows[1][at("fee")], "-0.000002");
        assert_eq!((&*fills.rows[1][at("qty")], &*fills.rows[1][at("px")]), ("-0.5", "10000.1"));
        let orders = newest(&path, Ask::Orders, 10).unwrap();
        let status = orders.columns.iter().position(|column| column == "status").unwrap();
        assert_eq!((orders.rows.len(), &*orders.rows[0][status]), (1, "Executed"));
        assert_eq!(newest(&path, Ask::Trips, 10).unwrap().rows[0][2], "daily_loss");
        // Another run adds to it; making one anew leaves the other.
        let mut second = History::open(&path, "run-2", &facts).unwrap();
        second.keep(&[fill(3, None)]).unwrap();
        second.forget_run().unwrap();
        assert_eq!(newest(&path, Ask::Fills, 10).unwrap().rows.len(), 2);
        // A file of a later build is not touched.
        second.sql.pragma_update(None, "user_version", LAYOUT + 1).unwrap();
        assert!(matches!(History::open(&path, "x", &facts), Err(HistoryError::Layout(2))));
        assert!(newest(&dir.join("absent"), Ask::Fills, 1).is_err());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
