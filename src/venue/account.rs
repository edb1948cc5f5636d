//! Rows of the account, the same on channel 0 and in REST replies (protocol notes, 3.5 and 3.6).

use super::public::decode::wall_ms;
use super::scan::{Row, ScanError, Scanner};
use super::status::{ack_of, order_kind, order_status, refusal, wallet_kind};
use super::symbols::SymbolTable;
use crate::base::ids::{Cid, OrderId, SymbolId, TradeId};
use crate::base::units::{Px, Qty};
use crate::model::{
    Ack, Currency, Fill, OrderFlags, OrderKind, OrderUpdate, PositionUpdate, Refusal,
    SYMBOL_FOREIGN, Source, WalletKind, WalletUpdate,
};

/// An order row, 32 elements today.
///
/// # Errors
/// `Malformed` or `OutOfRange`; an order without id, symbol, size or state is malformed.
#[inline]
pub fn order_row(
    scan: &mut Scanner,
    table: &SymbolTable,
    source: Source,
) -> Result<OrderUpdate, ScanError> {
    let mut row = Row::enter(scan)?;
    let id = row.uint()?.ok_or(ScanError::Malformed)?;
    let gid = row.uint()?.unwrap_or(0);
    let cid = row.uint()?.unwrap_or(0);
    let symbol = row.text()?.ok_or(ScanError::Malformed)?;
    let created_at = row.uint()?.unwrap_or(0);
    let updated_at = row.uint()?.unwrap_or(0);
    let remaining = row.fixed()?.ok_or(ScanError::Malformed)?;
    let original = row.fixed()?.unwrap_or(remaining);
    let kind_text = row.text()?.unwrap_or(b"");
    row.skip(3)?;
    let flags = row.uint()?.unwrap_or(0);
    let status = row.text()?.ok_or(ScanError::Malformed)?;
    row.skip(2)?;
    let px = row.fixed()?.unwrap_or(0);
    let px_avg = row.fixed()?.unwrap_or(0);
    row.finish()?;
    // A type that is newer than this program: its order is followed all the same, as a resting one.
    let unknown = (OrderKind::Limit, kind_text.starts_with(b"EXCHANGE "));
    let (kind, is_exchange) = order_kind(kind_text).unwrap_or(unknown);
    Ok(OrderUpdate {
        source,
        kind,
        status: order_status(status),
        wallet: wallet_kind(is_exchange, symbol),
        symbol: table.find_or_foreign(symbol),
        id: OrderId(id),
        gid,
        cid: Cid(cid),
        created_at: wall_ms(created_at),
        updated_at: wall_ms(updated_at),
        remaining: Qty::from_raw(remaining),
        original: Qty::from_raw(original),
        px: Px::from_raw(px),
        px_avg: Px::from_raw(px_avg),
        flags: OrderFlags((flags & u32::MAX as u64) as u32),
    })
}

/// An own trade: `te` has no fee yet, `tu` and REST do.
///
/// # Errors
/// `Malformed` or `OutOfRange`; a trade without id, order, size or price is malformed.
#[inline]
pub fn fill_row(scan: &mut Scanner, table: &SymbolTable) -> Result<Fill, ScanError> {
    let mut row = Row::enter(scan)?;
    let trade = row.uint()?.ok_or(ScanError::Malformed)?;
    let symbol = row.text()?.ok_or(ScanError::Malformed)?;
    let at = row.uint()?.ok_or(ScanError::Malformed)?;
    let order = row.uint()?.ok_or(ScanError::Malformed)?;
    let qty = row.fixed()?.ok_or(ScanError::Malformed)?;
    let px = row.fixed()?.ok_or(ScanError::Malformed)?;
    row.skip(2)?;
    let maker = row.int()?;
    let fee = row.fixed()?;
    let fee_currency = row.text()?.unwrap_or(b"");
    let cid = row.uint()?.unwrap_or(0);
    row.finish()?;
    if trade == 0 || qty == 0 || px <= 0 {
        return Err(ScanError::Malformed);
    }
    Ok(Fill {
        trade: TradeId(trade),
        symbol: table.find_or_foreign(symbol),
        order: OrderId(order),
        cid: Cid(cid),
        at: wall_ms(at),
        qty: Qty::from_raw(qty),
        px: Px::from_raw(px),
        maker: match maker {
            Some(1) => Some(true),
            Some(-1) => Some(false),
            _ => None,
        },
        fee,
        fee_currency: Currency::from_bytes(fee_currency).unwrap_or_default(),
    })
}

/// A position row; a closed one has no quantity.
///
/// # Errors
/// `Malformed` or `OutOfRange`.
pub fn position_row(
    scan: &mut Scanner,
    table: &SymbolTable,
    source: Source,
) -> Result<PositionUpdate, ScanError> {
    let mut row = Row::enter(scan)?;
    let symbol = row.text()?.ok_or(ScanError::Malformed)?;
    let status = row.text()?.unwrap_or(b"");
    let qty = row.fixed()?.unwrap_or(0);
    let base_px = row.fixed()?.unwrap_or(0);
    row.skip(2)?;
    let pnl = row.fixed()?;
    row.finish()?;
    let is_closed = source == Source::Closed || status == b"CLOSED";
    Ok(PositionUpdate {
        source: if is_closed { Source::Closed } else { source },
        symbol: table.find_or_foreign(symbol),
        qty: Qty::from_raw(if is_closed { 0 } else { qty }),
        base_px: Px::from_raw(base_px),
        pnl,
    })
}

/// A wallet row; a balance that was not computed is absent, not zero.
///
/// # Errors
/// `Malformed` or `OutOfRange`.
pub fn wallet_row(scan: &mut Scanner, source: Source) -> Result<WalletUpdate, ScanError> {
    let mut row = Row::enter(scan)?;
    let kind = row.text()?.ok_or(ScanError::Malformed)?;
    let currency = row.text()?.ok_or(ScanError::Malformed)?;
    let balance = row.fixed()?.unwrap_or(0);
    row.skip(1)?;
    let available = row.fixed()?;
    row.finish()?;
    Ok(WalletUpdate {
        source,
        kind: match kind {
            b"exchange" => Some(WalletKind::Exchange),
            b"margin" => Some(WalletKind::Margin),
            _ => None,
        },
        currency: Currency::from_bytes(currency).ok_or(ScanError::OutOfRange)?,
        balance,
        available,
    })
}

/// The facts of an order that a notification echoes: `(id, cid, symbol)`, as far as they are there.
fn echoed_order(
    scan: &mut Scanner,
    table: &SymbolTable,
) -> Result<(OrderId, Cid, SymbolId), ScanError> {
    let mut row = Row::enter(scan)?;
    let id = row.uint()?.unwrap_or(0);
    row.skip(1)?;
    // A cid beyond what we ever use is an order of somebody else's.
    let cid = row.uint()?.unwrap_or(0);
    let symbol = row.text()?.map_or(SYMBOL_FOREIGN, |name| table.find_or_foreign(name));
    row.finish()?;
    Ok((OrderId(id), Cid(cid), symbol))
}

/// A notification: eight fields. The unit of its time differs by type, so the time is not read.
///
/// # Errors
/// `Malformed` or `OutOfRange`.
pub fn ack_row(scan: &mut Scanner, table: &SymbolTable) -> Result<Ack, ScanError> {
    let mut row = Row::enter(scan)?;
    row.skip(1)?;
    let of = ack_of(row.text()?.unwrap_or(b""));
    row.skip(2)?;
    let mut echoed = (OrderId::NONE, Cid::NONE, SYMBOL_FOREIGN);
    if row.has_more() {
        let scan = row.nested();
        if scan.value_start() != b'[' {
            scan.skip_value()?;
        } else if matches!(scan.peek_at(1), b'[' | b']') {
            // A list of orders; one order alone is the answer of REST to one order.
            let mut list = Row::enter(scan)?;
            let mut count = 0;
            while list.has_more() {
                let order = echoed_order(list.nested(), table)?;
                list.nested_done()?;
                count += 1;
                echoed =
                    if count == 1 { order } else { (OrderId::NONE, Cid::NONE, SYMBOL_FOREIGN) };
            }
        } else {
            let mut ahead = *scan;
            match echoed_order(&mut ahead, table) {
                Ok(order) => {
                    echoed = order;
                    *scan = ahead;
                }
                // Not an order: other notifications carry other things.
                Err(_) => {
                    scan.skip_value()?;
                }
            }
        }
        row.nested_done()?;
    }
    row.skip(1)?;
    let success = row.text()?.is_some_and(|status| status == b"SUCCESS");
    let text = row.text()?.unwrap_or(b"");
    row.finish()?;
    let (id, cid, symbol) = echoed;
    let refusal = if success { Refusal::None } else { refusal(text) };
    Ok(Ack { of, success, refusal, symbol, id, cid })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AckOf, OrderStatus};
    use crate::venue::symbols::tests::table_of;

    fn order(text: &str) -> Result<OrderUpdate, ScanError> {
        order_row(&mut Scanner::new(text.as_bytes()), &table_of(&["tETHUSD"]), Source::New)
    }

    #[test]
    fn orders_are_read_by_position_long_or_short() {
        let text = r#"[34938060782,7,1575287436979,"tETHUSD",1575287438515,1575287438516,-2.5,-3,"EXCHANGE LIMIT",null,null,null,4096,"PARTIALLY FILLED @ 230(-0.5)",null,null,230,229.5,0,0,null,null,null,0,0,null,null,null,"API>BFX",null,null,{"$F7":1}]"#;
        let full = order(text).unwrap();
        assert_eq!(
            (full.id, full.gid, full.cid),
            (OrderId(34_938_060_782), 7, Cid(1_575_287_436_979))
        );
        assert_eq!((full.kind, full.wallet), (OrderKind::Limit, WalletKind::Exchange));
        assert_eq!(full.status, OrderStatus::PartiallyFilled);
        assert_eq!(
            (full.remaining, full.original),
            (Qty::parse("-2.5").unwrap(), Qty::from_whole(-3))
        );
        assert_eq!((full.px, full.px_avg), (Px::from_whole(230), Px::parse("229.5").unwrap()));
        assert_eq!(full.flags, OrderFlags::POST_ONLY);
        let short = r#"[1,null,null,"tETHF0:USTF0",1,2,1,1,"LIMIT",null,null,null,null,"ACTIVE"]"#;
        let short = order(short).unwrap();
        assert_eq!((short.symbol, short.wallet), (SYMBOL_FOREIGN, WalletKind::Derivatives));
        for broken in ["[]", "[1]", "[null,null,5]", "[1,2,3,4]", "7", ""] {
            assert!(order(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn notifications_of_every_kind_are_read() {
        let table = table_of(&["tETHUSD", "tBTCUSD"]);
        let ack = |text: &str| ack_row(&mut Scanner::new(text.as_bytes()), &table).unwrap();
        let taken = ack(
            r#"[1575287438.515,"on-req",null,null,[1185815098,null,1575287436979,"tETHUSD",1575287438515,1575287438515,-2.5,-2.5,"LIMIT",null,null,null,0,"ACTIVE",null,null,230,0,0,0,null,null,null,0,null,null,null,null,"API>BFX",null,null,null],null,"SUCCESS","Submitting limit sell order for -2.5 ETH."]"#,
        );
        assert_eq!(taken.of, AckOf::New);
        assert!(taken.success);
        assert_eq!((taken.id, taken.cid), (OrderId(1_185_815_098), Cid(1_575_287_436_979)));
        assert_eq!(taken.symbol, SymbolId(0));
        let refused = ack(
            r#"[1521237838790,"on-req",null,null,[null,null,555,"tBTCUSD",null,null,-1,null,"EXCHANGE LIMIT",null,null,null,null,null,null,null,-12483,null],null,"ERROR","Invalid price."]"#,
        );
        assert_eq!((refused.success, refused.refusal), (false, Refusal::InvalidPrice));
        assert_eq!((refused.id, refused.cid), (OrderId::NONE, Cid(555)));
        let rest = ack(
            r#"[1678987199,"on-req",null,null,[[1747566428,null,1678987199446,"tBTCUSD"]],null,"SUCCESS","x"]"#,
        );
        assert_eq!((rest.id, rest.symbol), (OrderId(1_747_566_428), SymbolId(1)));
        let multi = ack(
            r#"[1,"oc_multi-req",null,null,[[1,null,2,"tBTCUSD"],[3,null,4,"tBTCUSD"]],null,"SUCCESS","x"]"#,
        );
        assert_eq!((multi.of, multi.id), (AckOf::CancelMulti, OrderId::NONE));
        let other =
            ack(r#"[1786327545417,"wallet_transfer",null,null,null,null,"SUCCESS","moved"]"#);
        assert_eq!((other.of, other.success), (AckOf::Other, true));
        let odd = ack(r#"[1,"uca",null,null,["text",{"a":[1]}],null,"INFO","x"]"#);
        assert_eq!((odd.of, odd.success), (AckOf::Other, false));
    }

    #[test]
    fn positions_and_wallets_keep_what_was_not_computed_apart_from_zero() {
        let table = table_of(&["tTESTBTC:TESTUSD"]);
        let text = r#"["tTESTBTC:TESTUSD","ACTIVE",3.8e-7,38930,0,0,-0.0057883462,-39.00590804007192,0,3.9898064715911756e-8,null,152677056,null,null,null,0,null,0,0,null]"#;
        let row = position_row(&mut Scanner::new(text.as_bytes()), &table, Source::Update).unwrap();
        assert_eq!((row.symbol, row.qty.raw(), row.pnl), (SymbolId(0), 38, Some(-578_835)));
        let text = r#"["tTESTBTC:TESTUSD","ACTIVE",1,2,0,0,null]"#;
        let row = position_row(&mut Scanner::new(text.as_bytes()), &table, Source::Closed).unwrap();
        assert_eq!((row.qty, row.pnl), (Qty::ZERO, None));
        let text = r#"["exchange","BTC",1.61169184,0,null,"Exchange 0.01 BTC for USD @ 7804.6",{"reason":"TRADE","a":"]"}]"#;
        let row = wallet_row(&mut Scanner::new(text.as_bytes()), Source::Update).unwrap();
        assert_eq!(
            (row.kind, row.balance, row.available),
            (Some(WalletKind::Exchange), 161_169_184, None)
        );
        let text = r#"["funding","UST",1,0,0]"#;
        let row = wallet_row(&mut Scanner::new(text.as_bytes()), Source::Update).unwrap();
        assert_eq!((row.kind, row.available), (None, Some(0)));
    }
}
