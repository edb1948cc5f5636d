//! Commands as the text of websocket messages (protocol notes, 3.4). Templates into the caller's
//! buffer.

use super::out::Out;
use super::status::order_type_padded;
use super::symbols::SymbolTable;
use crate::base::ids::{Cid, OrderId, SymbolId};
use crate::base::time::WallNs;
use crate::model::{Action, Command, NewOrder, OrderFlags, OrderKind, WalletKind};

/// Why a command has no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodeError {
    /// The buffer is too short.
    TooLong,
    /// The symbol is not of this run's table.
    UnknownSymbol,
    /// Neither the venue's id nor a cid is known, or an amendment lacks the venue's id.
    NoId,
}

/// Writes the whole text of a command; returns its length.
///
/// # Errors
/// See `EncodeError`; `out` holds nothing of use then.
#[inline]
pub fn command(
    command: &Command,
    table: &SymbolTable,
    gid: Option<u64>,
    out: &mut [u8],
) -> Result<usize, EncodeError> {
    let mut out = Out::new(out);
    match &command.action {
        Action::New(order) => {
            out.text("[0,\"on\",null,");
            new_order(&mut out, order, command.symbol, table, gid)?;
            out.text("]");
        }
        Action::Amend { id, px, qty, .. } => {
            if id.is_none() {
                return Err(EncodeError::NoId);
            }
            out.text("[0,\"ou\",null,{\"id\":");
            out.uint(id.0);
            out.text(",\"amount\":\"");
            out.decimal(qty.raw());
            out.text("\",\"price\":\"");
            out.decimal(px.raw());
            out.text("\"}]");
        }
        Action::Cancel { id, cid, cid_day } => {
            out.text("[0,\"oc\",null,");
            cancel(&mut out, *id, *cid, *cid_day)?;
            out.text("]");
        }
        Action::Replace { id, cid, cid_day, new } => {
            out.text("[0,\"ox_multi\",null,[[\"oc\",");
            cancel(&mut out, *id, *cid, *cid_day)?;
            out.text("],[\"on\",");
            new_order(&mut out, new, command.symbol, table, gid)?;
            out.text("]]]");
        }
        Action::CancelMulti { ids } => {
            out.text("[0,\"oc_multi\",null,");
            cancel_ids(&mut out, ids)?;
            out.text("]");
        }
    }
    out.finish().ok_or(EncodeError::TooLong)
}

/// The object `{"id":[…]}`; zero ids are left out.
pub(super) fn cancel_ids(out: &mut Out, ids: &[OrderId]) -> Result<(), EncodeError> {
    let mut first = true;
    for id in ids.iter().filter(|id| !id.is_none()) {
        out.text(if first { "{\"id\":[" } else { "," });
        out.uint(id.0);
        first = false;
    }
    if first {
        return Err(EncodeError::NoId);
    }
    out.text("]}");
    Ok(())
}

/// The object of a cancel: by id where known, else by cid and the UTC date it was made on.
pub(super) fn cancel(
    out: &mut Out,
    id: OrderId,
    cid: Cid,
    cid_day: WallNs,
) -> Result<(), EncodeError> {
    if !id.is_none() {
        out.text("{\"id\":");
        out.uint(id.0);
        out.text("}");
    } else if !cid.is_none() {
        out.text("{\"cid\":");
        out.uint(cid.0);
        out.text(",\"cid_date\":\"");
        out.date(cid_day);
        out.text("\"}");
    } else {
        return Err(EncodeError::NoId);
    }
    Ok(())
}

/// The object of a new order; the same for the websocket and for REST.
pub(super) fn new_order(
    out: &mut Out,
    order: &NewOrder,
    symbol: SymbolId,
    table: &SymbolTable,
    gid: Option<u64>,
) -> Result<(), EncodeError> {
    let instrument = table.try_get(symbol).ok_or(EncodeError::UnknownSymbol)?;
    out.text("{");
    if let Some(gid) = gid {
        out.text("\"gid\":");
        out.uint(gid);
        out.text(",");
    }
    out.text("\"cid\":");
    out.uint(order.cid.0);
    out.text(",\"type\":\"");
    let (name, len) = order_type_padded(order.kind, order.wallet);
    out.padded(name, len);
    out.text("\",\"symbol\":\"");
    let (name, len) = instrument.name.padded();
    out.padded(name, len);
    out.text("\",\"amount\":\"");
    out.decimal(order.qty.raw());
    out.text("\"");
    // A market order has no price, a trailing stop has its distance instead.
    if !matches!(order.kind, OrderKind::Market | OrderKind::TrailingStop) {
        out.text(",\"price\":\"");
        out.decimal(order.px.raw());
        out.text("\"");
    }
    match order.kind {
        OrderKind::StopLimit => {
            out.text(",\"price_aux_limit\":\"");
            out.decimal(order.px_aux.raw());
            out.text("\"");
        }
        OrderKind::TrailingStop => {
            out.text(",\"price_trailing\":\"");
            out.decimal(order.px_aux.raw());
            out.text("\"");
        }
        _ => {}
    }
    if order.flags != OrderFlags::NONE {
        out.text(",\"flags\":");
        out.uint(order.flags.0 as u64);
    }
    // Derivatives only; the venue's default is 10, so it is stated even where it is 1.
    if order.wallet == WalletKind::Derivatives {
        out.text(",\"lev\":");
        out.uint(order.leverage.max(1) as u64);
    }
    out.text("}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::StrategyId;
    use crate::base::units::{Px, Qty};
    use crate::model::{Class, Reason, Stamp, Trace};
    use crate::venue::symbols::tests::table_of;

    const DAY: WallNs = WallNs::from_ms(1_520_985_600_000);

    fn order() -> NewOrder {
        NewOrder {
            cid: Cid(555),
            cid_day: DAY,
            kind: OrderKind::Limit,
            wallet: WalletKind::Exchange,
            qty: Qty::from_whole(1),
            px: Px::from_whole(12_000),
            px_aux: Px::ZERO,
            flags: OrderFlags::POST_ONLY,
            leverage: 0,
        }
    }
    fn text_of(action: Action, gid: Option<u64>) -> Result<String, EncodeError> {
        let mut buffer = [0u8; 1_024];
        let made = Command {
            stamp: Stamp::default(),
            trace: Trace::default(),
            strategy: StrategyId(0),
            symbol: SymbolId(0),
            class: Class::Entry,
            reason: Reason::Probe,
            action,
        };
        let len = command(&made, &table_of(&["tBTCUSD"]), gid, &mut buffer)?;
        let text = String::from_utf8(buffer[..len].to_vec()).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).expect("valid JSON");
        Ok(text)
    }
    fn check(action: Action, expected: &str) {
        assert_eq!(text_of(action, None).unwrap(), expected);
    }

    #[test]
    fn new_orders_are_written_as_the_venue_wants_them() {
        assert_eq!(
            text_of(Action::New(order()), Some(0)).unwrap(),
            r#"[0,"on",null,{"gid":0,"cid":555,"type":"EXCHANGE LIMIT","symbol":"tBTCUSD","amount":"1","price":"12000","flags":4096}]"#
        );
        check(
            Action::New(NewOrder {
                kind: OrderKind::Market,
                wallet: WalletKind::Margin,
                qty: Qty::parse("-0.00000012").unwrap(),
                flags: OrderFlags::NONE,
                ..order()
            }),
            r#"[0,"on",null,{"cid":555,"type":"MARKET","symbol":"tBTCUSD","amount":"-0.00000012"}]"#,
        );
        check(
            Action::New(NewOrder {
                kind: OrderKind::StopLimit,
                wallet: WalletKind::Derivatives,
                px_aux: Px::from_whole(11_999),
                flags: OrderFlags::REDUCE_ONLY,
                leverage: 3,
                ..order()
            }),
            r#"[0,"on",null,{"cid":555,"type":"STOP LIMIT","symbol":"tBTCUSD","amount":"1","price":"12000","price_aux_limit":"11999","flags":1024,"lev":3}]"#,
        );
        check(
            Action::New(NewOrder {
                kind: OrderKind::TrailingStop,
                px_aux: Px::from_whole(50),
                flags: OrderFlags::NONE,
                ..order()
            }),
            r#"[0,"on",null,{"cid":555,"type":"EXCHANGE TRAILING STOP","symbol":"tBTCUSD","amount":"1","price_trailing":"50"}]"#,
        );
    }

    #[test]
    fn changes_and_cancels_are_written_by_the_best_id_known() {
        let (id, cid) = (OrderId(1_149_698_545), Cid(555));
        check(
            Action::Amend { id, cid, px: Px::from_whole(500), qty: Qty::parse("0.1").unwrap() },
            r#"[0,"ou",null,{"id":1149698545,"amount":"0.1","price":"500"}]"#,
        );
        check(Action::Cancel { id, cid, cid_day: DAY }, r#"[0,"oc",null,{"id":1149698545}]"#);
        check(
            Action::Cancel { id: OrderId::NONE, cid, cid_day: DAY },
            r#"[0,"oc",null,{"cid":555,"cid_date":"2018-03-14"}]"#,
        );
        check(
            Action::Replace { id, cid, cid_day: DAY, new: order() },
            r#"[0,"ox_multi",null,[["oc",{"id":1149698545}],["on",{"cid":555,"type":"EXCHANGE LIMIT","symbol":"tBTCUSD","amount":"1","price":"12000","flags":4096}]]]"#,
        );
        let mut ids = [OrderId::NONE; 16];
        ids[0] = OrderId(123_456_789);
        ids[3] = OrderId(987_654_321);
        check(Action::CancelMulti { ids }, r#"[0,"oc_multi",null,{"id":[123456789,987654321]}]"#);
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        let none = Action::Cancel { id: OrderId::NONE, cid: Cid::NONE, cid_day: DAY };
        assert_eq!(text_of(none, None), Err(EncodeError::NoId));
        let none = Action::CancelMulti { ids: [OrderId::NONE; 16] };
        assert_eq!(text_of(none, None), Err(EncodeError::NoId));
        let mut short = [0u8; 20];
        let made = Command {
            stamp: Stamp::default(),
            trace: Trace::default(),
            strategy: StrategyId(0),
            symbol: SymbolId(9),
            class: Class::Entry,
            reason: Reason::Probe,
            action: Action::New(order()),
        };
        let table = table_of(&["tBTCUSD"]);
        assert_eq!(command(&made, &table, None, &mut short), Err(EncodeError::UnknownSymbol));
        let made = Command { symbol: SymbolId(0), ..made };
        assert_eq!(command(&made, &table, None, &mut short), Err(EncodeError::TooLong));
    }
}
