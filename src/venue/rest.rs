//! REST calls and replies (protocol notes, 4.5): method, path, body; reply → plain facts. No
//! transport here.

use super::account::{ack_row, fill_row, order_row, position_row, wallet_row};
use super::encode::{EncodeError, cancel, cancel_ids, new_order};
use super::errors::{RestError, RestErrorKind, classify};
use super::out::Out;
use super::public::decode::{candle_row, ticker_row};
use super::scan::{Row, ScanError, Scanner, unquoted};
use super::symbols::SymbolTable;
use crate::base::bounded::Text;
use crate::base::ids::{Cid, OrderId, SymbolId};
use crate::base::time::WallNs;
use crate::base::units::{Qty, parse_decimal};
use crate::model::{
    Bar, BarSource, Body, NewOrder, SnapshotMark, SnapshotOf, Source, Ticker, Timeframe,
};

/// Rows that the venue gives in one reply to an account read.
pub const HIST_LIMIT_MAX: u16 = 2_500;
/// Candles in one reply.
pub const CANDLES_LIMIT_MAX: u16 = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
}

/// Which pairs a list is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairList {
    Exchange,
    Margin,
    Futures,
}

/// One call. Times are venue time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestCall {
    /// Which pairs are tradable.
    ConfPairs(PairList),
    /// Smallest and largest orders; futures have their own list.
    ConfInfo {
        futures: bool,
    },
    PlatformStatus,
    Ticker(SymbolId),
    /// The newest candles, told oldest first; `end` = not after.
    CandlesHist {
        symbol: SymbolId,
        timeframe: Timeframe,
        limit: u16,
        end: Option<WallNs>,
    },
    Orders,
    /// Closed orders made at or after `start`, which may be zero for "as far as there are any".
    OrdersHist {
        start: WallNs,
        limit: u16,
    },
    /// Own trades at or after `start`.
    TradesHist {
        start: WallNs,
        limit: u16,
    },
    Wallets,
    Positions,
    Permissions,
    UserInfo,
    /// Fee rates.
    Summary,
    Submit {
        symbol: SymbolId,
        order: NewOrder,
        /// Group of this engine's orders.
        gid: Option<u64>,
    },
    Cancel {
        id: OrderId,
        cid: Cid,
        cid_day: WallNs,
    },
    /// Up to 16 orders by id; zero ids are empty places.
    CancelMulti {
        ids: [OrderId; 16],
    },
    /// Every order of the account, whoever made it.
    CancelAll,
}

impl RestCall {
    pub const fn method(&self) -> Method {
        if self.is_private() { Method::Post } else { Method::Get }
    }
    /// True where the call must be signed.
    pub const fn is_private(&self) -> bool {
        !matches!(
            self,
            RestCall::ConfPairs(_)
                | RestCall::ConfInfo { .. }
                | RestCall::PlatformStatus
                | RestCall::Ticker(_)
                | RestCall::CandlesHist { .. }
        )
    }
    /// True where the call changes something: never repeated blindly.
    pub const fn is_write(&self) -> bool {
        matches!(
            self,
            RestCall::Submit { .. }
                | RestCall::Cancel { .. }
                | RestCall::CancelMulti { .. }
                | RestCall::CancelAll
        )
    }
    /// The endpoint without its parameters: for limits, records and counters.
    pub const fn endpoint(&self) -> &'static str {
        match self {
            RestCall::ConfPairs(_) | RestCall::ConfInfo { .. } => "conf",
            RestCall::PlatformStatus => "platform/status",
            RestCall::Ticker(_) => "ticker",
            RestCall::CandlesHist { .. } => "candles",
            RestCall::Orders => "auth/r/orders",
            RestCall::OrdersHist { .. } => "auth/r/orders/hist",
            RestCall::TradesHist { .. } => "auth/r/trades/hist",
            RestCall::Wallets => "auth/r/wallets",
            RestCall::Positions => "auth/r/positions",
            RestCall::Permissions => "auth/r/permissions",
            RestCall::UserInfo => "auth/r/info/user",
            RestCall::Summary => "auth/r/summary",
            RestCall::Submit { .. } => "auth/w/order/submit",
            RestCall::Cancel { .. } => "auth/w/order/cancel",
            RestCall::CancelMulti { .. } | RestCall::CancelAll => "auth/w/order/cancel/multi",
        }
    }

    /// Path behind `/v2/` with its query; for private calls it is also the path that is signed.
    ///
    /// # Errors
    /// `UnknownSymbol` or `TooLong`.
    pub fn write_path(&self, table: &SymbolTable, out: &mut [u8]) -> Result<usize, EncodeError> {
        let name = |symbol: SymbolId| table.try_get(symbol).ok_or(EncodeError::UnknownSymbol);
        let mut out = Out::new(out);
        match self {
            RestCall::ConfPairs(PairList::Exchange) => out.text("conf/pub:list:pair:exchange"),
            RestCall::ConfPairs(PairList::Margin) => out.text("conf/pub:list:pair:margin"),
            RestCall::ConfPairs(PairList::Futures) => out.text("conf/pub:list:pair:futures"),
            RestCall::ConfInfo { futures: false } => out.text("conf/pub:info:pair"),
            RestCall::ConfInfo { futures: true } => out.text("conf/pub:info:pair:futures"),
            RestCall::Ticker(symbol) => {
                out.text("ticker/");
                out.bytes(name(*symbol)?.name.as_bytes());
            }
            RestCall::CandlesHist { symbol, timeframe, limit, end } => {
                out.text("candles/trade:");
                out.text(timeframe.name());
                out.text(":");
                out.bytes(name(*symbol)?.name.as_bytes());
                out.text("/hist?limit=");
                out.uint((*limit).min(CANDLES_LIMIT_MAX) as u64);
                if let Some(end) = end {
                    out.text("&end=");
                    out.int(end.as_ms());
                }
            }
            _ => out.text(self.endpoint()),
        }
        out.finish().ok_or(EncodeError::TooLong)
    }

    /// The body, to be signed and sent byte by byte as it is here; empty for public calls.
    ///
    /// # Errors
    /// See `EncodeError`.
    pub fn write_body(&self, table: &SymbolTable, out: &mut [u8]) -> Result<usize, EncodeError> {
        let mut out = Out::new(out);
        match self {
            RestCall::OrdersHist { start, limit } => write_hist(&mut out, *start, *limit, false),
            RestCall::TradesHist { start, limit } => write_hist(&mut out, *start, *limit, true),
            RestCall::Submit { symbol, order, gid } => {
                new_order(&mut out, order, *symbol, table, *gid)?;
            }
            RestCall::Cancel { id, cid, cid_day } => cancel(&mut out, *id, *cid, *cid_day)?,
            RestCall::CancelMulti { ids } => cancel_ids(&mut out, ids)?,
            RestCall::CancelAll => out.text("{\"all\":1}"),
            _ if self.is_private() => out.text("{}"),
            _ => {}
        }
        out.finish().ok_or(EncodeError::TooLong)
    }
}

fn write_hist(out: &mut Out, start: WallNs, limit: u16, sorted: bool) {
    out.text("{");
    if start.0 > 0 {
        out.text("\"start\":");
        out.int(start.as_ms());
        out.text(",");
    }
    out.text("\"limit\":");
    out.uint(limit.min(HIST_LIMIT_MAX) as u64);
    // Trades oldest first, so that a full page can be followed by the next from its last time on.
    out.text(if sorted && start.0 > 0 { ",\"sort\":1}" } else { "}" });
}

/// Sizes of a pair, as the venue lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairInfo {
    pub qty_min: Qty,
    pub qty_max: Qty,
}
/// Fee rates in 1e-8 of the notional; negative = paid to us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeeRates {
    pub maker: i64,
    /// Crypto to fiat, the highest of the taker rates by custom.
    pub taker: i64,
    pub deriv_maker: i64,
    pub deriv_taker: i64,
}

/// What a reply tells. Account facts come as the line's events between their marks.
pub trait RestSink {
    fn body(&mut self, _body: Body) {}
    fn bar(&mut self, _bar: Bar) {}
    fn ticker(&mut self, _ticker: Ticker) {}
    /// A tradable pair, without the leading `t`.
    fn pair(&mut self, _name: &[u8]) {}
    /// Sizes of a pair, without the leading `t`.
    fn pair_info(&mut self, _name: &[u8], _info: PairInfo) {}
    fn platform(&mut self, _operative: bool) {}
    fn permission(&mut self, _scope: &[u8], _read: bool, _write: bool) {}
    fn user(&mut self, _id: u64) {}
    fn fees(&mut self, _rates: FeeRates) {}
}

/// What was in a reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplyStats {
    /// Rows told.
    pub rows: u32,
    /// Rows that could not be read; of account reads this is an error instead.
    pub skipped: u32,
    /// Numbers with digits below 1e-8.
    pub rounded: u32,
}

/// Reads a reply. Account lists are read whole before anything of them is told: half a list is an
/// error.
///
/// # Errors
/// The venue's error, or `Unreadable` where the body is not what the call answers with.
pub fn parse_reply(
    call: &RestCall,
    status: u16,
    body: &[u8],
    table: &SymbolTable,
    sink: &mut impl RestSink,
) -> Result<ReplyStats, RestError> {
    if let Some(error) = classify(status, body) {
        return Err(error);
    }
    let unreadable = |_| RestError {
        kind: RestErrorKind::Unreadable,
        status,
        code: 0,
        text: Text::new("the reply is not what the call answers with").unwrap_or_default(),
    };
    // The whole body must be JSON: a cut reply is no reply. sonic-rs checks that fastest on large
    // bodies; its lazy values trust their bytes to be UTF-8 (seen in 0.5.10), so that is made sure
    // of first.
    let is_json = std::str::from_utf8(body)
        .is_ok_and(|text| sonic_rs::from_str::<sonic_rs::LazyValue>(text).is_ok());
    if !is_json {
        return Err(unreadable(ScanError::Malformed));
    }
    parse_rows(call, body, table, sink).map_err(unreadable)
}

fn parse_rows(
    call: &RestCall,
    body: &[u8],
    table: &SymbolTable,
    sink: &mut impl RestSink,
) -> Result<ReplyStats, ScanError> {
    let mut stats = ReplyStats::default();
    match call {
        RestCall::ConfPairs(_) => each_of_first(body, |raw| {
            sink.pair(unquoted(raw));
            stats.rows += 1;
        })?,
        RestCall::ConfInfo { .. } => each_of_first(body, |raw| match pair_info(raw) {
            Ok((name, info)) => {
                sink.pair_info(name, info);
                stats.rows += 1;
            }
            Err(_) => stats.skipped += 1,
        })?,
        RestCall::PlatformStatus => {
            let mut scan = Scanner::new(body);
            let status = Row::enter(&mut scan)?.int()?.ok_or(ScanError::Malformed)?;
            sink.platform(status == 1);
            stats.rows = 1;
        }
        RestCall::Ticker(symbol) => {
            let mut scan = Scanner::new(body);
            let ticker = ticker_row(&mut scan, *symbol)?;
            sink.ticker(ticker);
            stats = ReplyStats { rows: 1, skipped: 0, rounded: scan.rounded() };
        }
        RestCall::CandlesHist { symbol, timeframe, .. } => {
            // Newest first on the wire, oldest first to the sink: warm-up is cold, it may collect.
            let mut bars = Vec::new();
            let mut scan = Scanner::new(body);
            each_row(&mut scan, |scan| {
                bars.push(candle_row(scan, *symbol, *timeframe, BarSource::History)?);
                Ok(())
            })?;
            if bars.windows(2).any(|pair| pair[0].open_at > pair[1].open_at) {
                bars.reverse();
            }
            stats.rows = bars.len() as u32;
            stats.rounded = scan.rounded();
            bars.into_iter().for_each(|bar| sink.bar(bar));
        }
        RestCall::Orders => {
            stats = account_list(body, SnapshotOf::RestOrders, sink, |scan| {
                order_row(scan, table, Source::RestOpen).map(Body::Order)
            })?;
        }
        RestCall::OrdersHist { .. } => {
            stats = account_list(body, SnapshotOf::RestHistory, sink, |scan| {
                order_row(scan, table, Source::RestHistory).map(Body::Order)
            })?;
        }
        RestCall::TradesHist { .. } => {
            stats = account_list(body, SnapshotOf::RestTrades, sink, |scan| {
                fill_row(scan, table).map(Body::Fill)
            })?;
        }
        RestCall::Wallets => {
            stats = account_list(body, SnapshotOf::Wallets, sink, |scan| {
                wallet_row(scan, Source::RestOpen).map(Body::Wallet)
            })?;
        }
        RestCall::Positions => {
            stats = account_list(body, SnapshotOf::RestPositions, sink, |scan| {
                position_row(scan, table, Source::RestOpen).map(Body::Position)
            })?;
        }
        RestCall::Permissions => {
            each_row(&mut Scanner::new(body), |scan| {
                let mut row = Row::enter(scan)?;
                let scope = row.text()?.ok_or(ScanError::Malformed)?;
                let read = row.int()?.unwrap_or(0) != 0;
                let write = row.int()?.unwrap_or(0) != 0;
                row.finish()?;
                sink.permission(scope, read, write);
                stats.rows += 1;
                Ok(())
            })?;
        }
        RestCall::UserInfo => {
            let mut scan = Scanner::new(body);
            let id = Row::enter(&mut scan)?.uint()?.ok_or(ScanError::Malformed)?;
            sink.user(id);
            stats.rows = 1;
        }
        RestCall::Summary => {
            sink.fees(fee_rates(body)?);
            stats.rows = 1;
        }
        RestCall::Submit { .. }
        | RestCall::Cancel { .. }
        | RestCall::CancelMulti { .. }
        | RestCall::CancelAll => {
            let ack = ack_row(&mut Scanner::new(body), table)?;
            sink.body(Body::Ack(ack));
            stats.rows = 1;
        }
    }
    Ok(stats)
}

/// The elements of the first list in `[[…]]`.
fn each_of_first(body: &[u8], mut tell: impl FnMut(&[u8])) -> Result<(), ScanError> {
    let mut scan = Scanner::new(body);
    let mut outer = Row::enter(&mut scan)?;
    if !outer.has_more() {
        return Err(ScanError::Malformed);
    }
    let mut list = Row::enter(outer.nested())?;
    while let Some(raw) = list.raw()? {
        tell(raw);
    }
    Ok(())
}

/// The rows of `[[…],[…]]`.
fn each_row<'a>(
    scan: &mut Scanner<'a>,
    mut tell: impl FnMut(&mut Scanner<'a>) -> Result<(), ScanError>,
) -> Result<(), ScanError> {
    let mut list = Row::enter(scan)?;
    while list.has_more() {
        tell(list.nested())?;
        list.nested_done()?;
    }
    Ok(())
}

/// A list of the account between its marks, read once through before anything is told.
fn account_list(
    body: &[u8],
    of: SnapshotOf,
    sink: &mut impl RestSink,
    decode: impl Fn(&mut Scanner) -> Result<Body, ScanError>,
) -> Result<ReplyStats, ScanError> {
    let mut ahead = Scanner::new(body);
    each_row(&mut ahead, |scan| decode(scan).map(|_| ()))?;
    sink.body(Body::Snapshot(SnapshotMark { of, end: false, count: 0 }));
    let mut count = 0;
    each_row(&mut Scanner::new(body), |scan| {
        sink.body(decode(scan)?);
        count += 1;
        Ok(())
    })?;
    sink.body(Body::Snapshot(SnapshotMark { of, end: true, count }));
    Ok(ReplyStats { rows: count, skipped: 0, rounded: ahead.rounded() })
}

/// `[PAIR, [_, _, _, MIN, MAX, …]]`; the sizes are strings.
fn pair_info(raw: &[u8]) -> Result<(&[u8], PairInfo), ScanError> {
    let mut scan = Scanner::new(raw);
    let mut row = Row::enter(&mut scan)?;
    let name = row.text()?.ok_or(ScanError::Malformed)?;
    let mut facts = Row::enter(row.nested())?;
    facts.skip(3)?;
    let mut size = || -> Result<Qty, ScanError> {
        let raw = facts.raw()?.ok_or(ScanError::Malformed)?;
        let (raw, _) = parse_decimal(unquoted(raw))?;
        Ok(Qty::from_raw(raw))
    };
    Ok((name, PairInfo { qty_min: size()?, qty_max: size()? }))
}

/// Element 4 of a summary: `[[MAKER, _, _, _, _, DERIV_REBATE], [TAKER, _, FIAT, _, _,
/// DERIV_TAKER]]`.
fn fee_rates(body: &[u8]) -> Result<FeeRates, ScanError> {
    let mut scan = Scanner::new(body);
    let mut row = Row::enter(&mut scan)?;
    row.skip(4)?;
    let mut pair = Row::enter(row.nested())?;
    let mut maker = Row::enter(pair.nested())?;
    let maker_rate = maker.fixed()?.unwrap_or(0);
    maker.skip(4)?;
    let deriv_maker = maker.fixed()?.unwrap_or(0);
    maker.finish()?;
    pair.nested_done()?;
    let mut taker = Row::enter(pair.nested())?;
    let mut taker_rate = taker.fixed()?.unwrap_or(0);
    for _ in 0..2 {
        taker_rate = taker_rate.max(taker.fixed()?.unwrap_or(0));
    }
    taker.skip(2)?;
    let deriv_taker = taker.fixed()?.unwrap_or(0);
    Ok(FeeRates { maker: maker_rate, taker: taker_rate, deriv_maker, deriv_taker })
}

#[cfg(test)]
#[path = "rest_tests.rs"]
mod tests;
