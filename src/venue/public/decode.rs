//! Rows of the public channels (protocol notes, 1.6): array → plain values.

use super::PublicTrade;
use crate::base::ids::{SymbolId, TradeId};
use crate::base::time::WallNs;
use crate::base::units::{Px, Qty};
use crate::model::{Bar, BarSource, DerivStatus, Ticker, Timeframe};
use crate::venue::book::BookRow;
use crate::venue::raw_book::RawRow;
use crate::venue::scan::{Row, ScanError, Scanner};
use crate::venue::seq::Trail;

/// Milliseconds of the wire as a point in time; saturates on nonsense.
#[inline(always)]
pub fn wall_ms(ms: u64) -> WallNs {
    WallNs(i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000_000))
}

/// Goes past what may follow the elements we know, and past the closing bracket.
#[inline(always)]
fn close_row(scan: &mut Scanner) -> Result<(), ScanError> {
    if scan.accept(b']') {
        return Ok(());
    }
    close_longer_row(scan)
}
#[cold]
#[inline(never)]
fn close_longer_row(scan: &mut Scanner) -> Result<(), ScanError> {
    while scan.accept(b',') {
        scan.skip_value()?;
    }
    scan.expect(b']')
}

/// `[PRICE, COUNT, AMOUNT, …]`
///
/// # Errors
/// `Malformed` or `OutOfRange`.
#[inline(always)]
pub fn book_row(scan: &mut Scanner) -> Result<BookRow, ScanError> {
    scan.expect(b'[')?;
    let px = scan.fixed()?;
    scan.expect(b',')?;
    let count = scan.uint()?;
    scan.expect(b',')?;
    let qty = scan.fixed()?;
    close_row(scan)?;
    Ok(BookRow { px, count: count.min(u32::MAX as u64) as u32, qty })
}

/// `[ORDER_ID, PRICE, AMOUNT, …]`
///
/// # Errors
/// `Malformed` or `OutOfRange`.
#[inline]
pub fn raw_row(scan: &mut Scanner) -> Result<RawRow, ScanError> {
    scan.expect(b'[')?;
    let id = scan.uint()?;
    scan.expect(b',')?;
    let px = scan.fixed()?;
    scan.expect(b',')?;
    let qty = scan.fixed()?;
    close_row(scan)?;
    Ok(RawRow { id, px, qty })
}

/// `[ID, MTS, AMOUNT, PRICE, …]`
///
/// # Errors
/// `Malformed` or `OutOfRange`; a trade without id, quantity or price is malformed.
#[inline]
pub fn trade_row(scan: &mut Scanner) -> Result<PublicTrade, ScanError> {
    scan.expect(b'[')?;
    let id = scan.uint()?;
    scan.expect(b',')?;
    let at = scan.uint()?;
    scan.expect(b',')?;
    let qty = scan.fixed()?;
    scan.expect(b',')?;
    let px = scan.fixed()?;
    close_row(scan)?;
    if id == 0 || qty == 0 || px <= 0 {
        return Err(ScanError::Malformed);
    }
    let (qty, px) = (Qty::from_raw(qty), Px::from_raw(px));
    Ok(PublicTrade { id: TradeId(id), at: wall_ms(at), qty, px })
}

/// Rows `[[…],[…]]` into `rows`; returns how many.
///
/// # Errors
/// `Malformed`, also where there are more rows than places.
#[inline(always)]
pub fn rows<'a, T>(
    scan: &mut Scanner<'a>,
    rows: &mut [T],
    decode: impl Fn(&mut Scanner<'a>) -> Result<T, ScanError>,
) -> Result<usize, ScanError> {
    scan.expect(b'[')?;
    if scan.accept(b']') {
        return Ok(0);
    }
    let mut count = 0;
    loop {
        let row = decode(scan)?;
        let Some(place) = rows.get_mut(count) else { return Err(ScanError::Malformed) };
        *place = row;
        count += 1;
        if !scan.accept(b',') {
            break;
        }
    }
    scan.expect(b']')?;
    Ok(count)
}

/// What follows the payload up to the message's end: `,SEQ,TS]`.
///
/// # Errors
/// `Malformed`, also where something follows the end.
#[inline(always)]
pub fn trail(scan: &mut Scanner, size: usize) -> Result<Trail, ScanError> {
    let mut trail = Trail::default();
    while scan.accept(b',') {
        if scan.value_start().is_ascii_digit() {
            trail.push(scan.uint()?);
        } else {
            scan.skip_value()?;
        }
    }
    scan.expect(b']')?;
    if scan.pos() == size || scan.is_done() { Ok(trail) } else { Err(ScanError::Malformed) }
}

/// `[BID, BID_SIZE, ASK, ASK_SIZE, CHANGE, CHANGE_REL, LAST, VOLUME, HIGH, LOW, …]`
///
/// # Errors
/// `Malformed` or `OutOfRange`.
pub fn ticker_row(scan: &mut Scanner, symbol: SymbolId) -> Result<Ticker, ScanError> {
    let mut row = Row::enter(scan)?;
    let mut next = || row.fixed().map(|value| value.unwrap_or(0));
    let (bid, bid_qty, ask, ask_qty) = (next()?, next()?, next()?, next()?);
    row.skip(2)?;
    let mut next = || row.fixed().map(|value| value.unwrap_or(0));
    let (last, volume, high, low) = (next()?, next()?, next()?, next()?);
    row.finish()?;
    Ok(Ticker {
        symbol,
        bid: Px::from_raw(bid),
        bid_qty: Qty::from_raw(bid_qty),
        ask: Px::from_raw(ask),
        ask_qty: Qty::from_raw(ask_qty),
        last: Px::from_raw(last),
        volume_day: Qty::from_raw(volume),
        high_day: Px::from_raw(high),
        low_day: Px::from_raw(low),
    })
}

/// `[MTS, OPEN, CLOSE, HIGH, LOW, VOLUME, …]`: close before high and low.
///
/// # Errors
/// `Malformed` or `OutOfRange`.
pub fn candle_row(
    scan: &mut Scanner,
    symbol: SymbolId,
    timeframe: Timeframe,
    source: BarSource,
) -> Result<Bar, ScanError> {
    let mut row = Row::enter(scan)?;
    let at = row.uint()?.ok_or(ScanError::Malformed)?;
    let mut next = || row.fixed()?.ok_or(ScanError::Malformed);
    let (open, close, high, low) = (next()?, next()?, next()?, next()?);
    let volume = next()?;
    row.finish()?;
    Ok(Bar {
        symbol,
        timeframe,
        source,
        open_at: wall_ms(at),
        open: Px::from_raw(open),
        high: Px::from_raw(high),
        low: Px::from_raw(low),
        close: Px::from_raw(close),
        volume: Qty::from_raw(volume),
        trades: 0,
    })
}

/// Derivative status; the row has no key on the websocket, so every index is the REST index minus
/// one.
///
/// # Errors
/// `Malformed` or `OutOfRange`.
pub fn status_row(scan: &mut Scanner, symbol: SymbolId) -> Result<DerivStatus, ScanError> {
    let mut row = Row::enter(scan)?;
    let at = row.uint()?.ok_or(ScanError::Malformed)?;
    row.skip(1)?;
    let deriv = row.fixed()?.unwrap_or(0);
    let spot = row.fixed()?.unwrap_or(0);
    row.skip(3)?;
    let next_funding = row.uint()?.unwrap_or(0);
    row.skip(3)?;
    let funding = row.fixed()?.unwrap_or(0);
    row.skip(2)?;
    let mark = row.fixed()?.unwrap_or(0);
    row.skip(2)?;
    let open_interest = row.fixed()?.unwrap_or(0);
    row.finish()?;
    Ok(DerivStatus {
        symbol,
        at: wall_ms(at),
        deriv_px: Px::from_raw(deriv),
        spot_px: Px::from_raw(spot),
        mark_px: Px::from_raw(mark),
        funding_rate: funding,
        next_funding_at: wall_ms(next_funding),
        open_interest: Qty::from_raw(open_interest),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_row_is_read_by_position() {
        let text = b"[1790133734000,null,86710.46123944,86670.5,null,62210384.95685668,null,\
            1790150400000,0.00015317,3873,null,0.0001,null,null,86676.3172,null,null,8851.89352831,\
            null,null,null,0.0005,0.0025]";
        let status = status_row(&mut Scanner::new(text), SymbolId(1)).unwrap();
        assert_eq!(status.deriv_px, Px::parse("86710.46123944").unwrap());
        assert_eq!(status.spot_px, Px::parse("86670.5").unwrap());
        assert_eq!(status.mark_px, Px::parse("86676.3172").unwrap());
        assert_eq!(status.funding_rate, 10_000);
        assert_eq!(status.next_funding_at, WallNs::from_ms(1_790_150_400_000));
        assert_eq!(status.open_interest, Qty::parse("8851.89352831").unwrap());
    }

    #[test]
    fn candles_have_the_close_before_high_and_low() {
        let text = b"[1754820240000,118320,118340,118350,118310,0.015486090000000001,9]";
        let mut scan = Scanner::new(text);
        let bar = candle_row(&mut scan, SymbolId(0), Timeframe::M1, BarSource::Candles).unwrap();
        assert_eq!(bar.close, Px::from_whole(118_340));
        assert_eq!(bar.low, Px::from_whole(118_310));
        assert_eq!(bar.volume, Qty::parse("0.01548609").unwrap());
        assert_eq!(scan.rounded(), 1);
    }

    #[test]
    fn trailing_elements_may_be_anything() {
        for (text, numbers, last) in [
            (&b"]"[..], 0, None),
            (b",3]", 1, Some(3)),
            (b",2,1790134414850]", 2, Some(1_790_134_414_850)),
            (b",null,\"x\",[1],4]", 1, Some(4)),
            (b" , 5 ]", 1, Some(5)),
        ] {
            let trail = trail(&mut Scanner::new(text), text.len()).unwrap();
            assert_eq!((trail.count, trail.from_end(0)), (numbers, last));
        }
        for text in [&b""[..], b",", b",1", b",1]]", b",1] x", b"1]"] {
            assert!(trail(&mut Scanner::new(text), text.len()).is_err());
        }
    }
}
