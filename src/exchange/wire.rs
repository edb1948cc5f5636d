//! Arrays of the account stream and of REST: trades, positions, wallets, notifications.

use super::account::{OwnTrade, Position, Wallet};
use super::json::push_text;
use super::number::{push_float, push_i64, push_number, push_plain, push_u64};
use super::order::type_text;

/// Writes `null` or a signed number of 1e-8 units that may be wider than an `i64`.
pub fn push_wide(out: &mut Vec<u8>, units: i128) {
    push_number(out, units.clamp(-(i64::MAX as i128), i64::MAX as i128) as i64);
}

/// Writes an own trade; `complete` = with fee (`tu`, REST), else without (`te`).
pub fn push_own_trade(out: &mut Vec<u8>, trade: &OwnTrade, symbol: &str, complete: bool) {
    out.push(b'[');
    push_u64(out, trade.id);
    out.push(b',');
    push_text(out, symbol);
    out.push(b',');
    push_i64(out, trade.mts);
    out.push(b',');
    push_u64(out, trade.order);
    for number in [trade.qty, trade.px] {
        out.push(b',');
        push_number(out, number);
    }
    out.push(b',');
    push_text(out, &type_text(trade.kind, trade.wallet));
    out.push(b',');
    // The venue shows the execution price here, not the order's own (recorded 2025-08-21).
    push_number(out, trade.px);
    out.extend_from_slice(if trade.is_maker { b",1," } else { b",-1," });
    if complete {
        push_number(out, -trade.fee);
        out.push(b',');
        push_text(out, trade.fee_currency.as_str());
    } else {
        out.extend_from_slice(b"null,null");
    }
    out.push(b',');
    match trade.cid {
        Some(cid) => push_u64(out, cid),
        None => out.extend_from_slice(b"null"),
    }
    out.push(b']');
}

/// Figures of a position that are computed on request; null without them, as in `ps`.
#[derive(Clone, Copy, Debug)]
pub struct PositionFigures {
    /// Last price, 1e-8.
    pub mark: i64,
    pub liquidation_px: Option<i64>,
    /// Leverage, 1e-8.
    pub leverage: i128,
    /// Least collateral, 1e-8 of quote; 0 for margin.
    pub collateral_min: i128,
}

/// The trade behind a position's change, for META.
#[derive(Clone, Copy, Debug)]
pub struct PositionCause {
    pub order: u64,
    pub px: i64,
    /// Signed.
    pub qty: i64,
}

/// Writes the 20 elements of a position.
pub fn push_position(
    out: &mut Vec<u8>,
    position: &Position,
    symbol: &str,
    is_open: bool,
    figures: Option<PositionFigures>,
    cause: Option<PositionCause>,
) {
    out.push(b'[');
    push_text(out, symbol);
    out.extend_from_slice(if is_open { b",\"ACTIVE\"," } else { b",\"CLOSED\"," });
    push_number(out, if is_open { position.qty } else { 0 });
    out.push(b',');
    push_number(out, position.base_px());
    out.extend_from_slice(b",0,0,");
    match figures.filter(|_| is_open) {
        Some(figures) => {
            let profit = position.profit(figures.mark);
            push_wide(out, profit);
            out.push(b',');
            let cost = position.cost.unsigned_abs() as f64;
            push_float(out, if cost > 0.0 { 100.0 * profit as f64 / cost } else { 0.0 });
            out.push(b',');
            match figures.liquidation_px {
                Some(px) => push_number(out, px),
                None => out.extend_from_slice(b"null"),
            }
            out.push(b',');
            push_wide(out, figures.leverage);
        }
        None => out.extend_from_slice(b"null,null,null,null"),
    }
    out.extend_from_slice(b",null,");
    push_u64(out, position.id);
    for ms in [position.created_ms, position.updated_ms] {
        out.push(b',');
        push_i64(out, ms);
    }
    let is_derivative = position.leverage > 0;
    out.extend_from_slice(if is_derivative { b",null,1,null," } else { b",null,0,null," });
    push_wide(out, if is_open { position.collateral } else { 0 });
    out.push(b',');
    push_wide(out, figures.map_or(0, |figures| figures.collateral_min));
    match cause {
        Some(cause) => {
            out.extend_from_slice(b",{\"reason\":\"TRADE\",\"order_id\":");
            push_u64(out, cause.order);
            out.extend_from_slice(b",\"order_id_oppo\":null,\"liq_stage\":null,\"trade_price\":\"");
            push_plain(out, cause.px);
            out.extend_from_slice(b"\",\"trade_amount\":\"");
            push_plain(out, cause.qty);
            out.extend_from_slice(b"\"}]");
        }
        None => out.extend_from_slice(b",null]"),
    }
}

/// What changed a wallet, for the last two fields of a wallet array.
#[derive(Clone, Copy, Debug)]
pub struct WalletCause<'a> {
    pub text: &'a str,
    pub order: u64,
    pub px: i64,
    pub qty: i64,
}

/// Writes a wallet; `available` `None` = not computed.
pub fn push_wallet(
    out: &mut Vec<u8>,
    wallet: Wallet,
    currency: &str,
    balance: i128,
    available: Option<i128>,
    cause: Option<WalletCause<'_>>,
) {
    out.push(b'[');
    push_text(out, wallet.name());
    out.push(b',');
    push_text(out, currency);
    out.push(b',');
    push_wide(out, balance);
    out.extend_from_slice(b",0,");
    match available {
        Some(units) => push_wide(out, units),
        None => out.extend_from_slice(b"null"),
    }
    match cause {
        Some(cause) => {
            out.push(b',');
            push_text(out, cause.text);
            out.extend_from_slice(b",{\"reason\":\"TRADE\",\"order_id\":");
            push_u64(out, cause.order);
            out.extend_from_slice(b",\"trade_price\":\"");
            push_number(out, cause.px);
            out.extend_from_slice(b"\",\"trade_amount\":\"");
            push_number(out, cause.qty);
            out.extend_from_slice(b"\"}]");
        }
        None => out.extend_from_slice(b",null,null]"),
    }
}

/// Point in time of a notification; its unit differs by message (protocol notes, 3.6).
#[derive(Clone, Copy, Debug)]
pub enum NoteTime {
    Ms(i64),
    /// Seconds with a fraction: `on-req` on the socket.
    FractionalSeconds(i64),
    /// Whole seconds: `on-req` over REST.
    Seconds(i64),
}

/// Writes the 8 fields of a notification; `data` is JSON text.
pub fn push_note(
    out: &mut Vec<u8>,
    at: NoteTime,
    kind: &str,
    data: &[u8],
    is_success: bool,
    text: &str,
) {
    out.push(b'[');
    match at {
        NoteTime::Ms(ms) => push_i64(out, ms),
        NoteTime::FractionalSeconds(ms) => push_number(out, ms.saturating_mul(100_000)),
        NoteTime::Seconds(ms) => push_i64(out, ms.div_euclid(1_000)),
    }
    out.push(b',');
    push_text(out, kind);
    out.extend_from_slice(b",null,null,");
    out.extend_from_slice(if data.is_empty() { b"null" } else { data });
    out.extend_from_slice(if is_success { b",null,\"SUCCESS\"," } else { b",null,\"ERROR\"," });
    push_text(out, text);
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::order::Kind;
    use crate::model::Currency;

    fn written(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    /// Goal: our `te` and `tu` equal recorded ones (../shared/data, ws-auth fixture), byte for
    /// byte.
    #[test]
    fn own_trades_are_written_as_the_venue_wrote_them() {
        let trade = OwnTrade {
            id: 111_144_952,
            symbol: 0,
            mts: 1_755_757_983_694,
            order: 111_179_140_333,
            qty: -8_865,
            px: 11_394_000_000_000,
            kind: Kind::Limit,
            wallet: Wallet::Exchange,
            is_maker: false,
            fee: 606_047,
            fee_currency: Currency::new("USD").unwrap(),
            cid: Some(1_755_757_983_693),
        };
        assert_eq!(
            written(|out| push_own_trade(out, &trade, "tBTCUSD", false)),
            "[111144952,\"tBTCUSD\",1755757983694,111179140333,-0.00008865,113940,\
             \"EXCHANGE LIMIT\",113940,-1,null,null,1755757983693]"
        );
        assert!(
            written(|out| push_own_trade(out, &trade, "tBTCUSD", true))
                .ends_with(",-1,-0.00606047,\"USD\",1755757983693]")
        );
    }

    #[test]
    fn positions_have_twenty_elements_and_wallets_seven() {
        let position = Position {
            id: 7,
            qty: -200_000_000,
            cost: -20_000_000_000,
            collateral: 0,
            leverage: 0,
            created_ms: 1,
            updated_ms: 2,
        };
        let figures = PositionFigures {
            mark: 9_000_000_000,
            liquidation_px: None,
            leverage: 250_000_000,
            collateral_min: 0,
        };
        let row = |position: Position, figures, cause| {
            written(|out| push_position(out, &position, "tBTCUSD", true, figures, cause))
        };
        assert_eq!(
            row(position, Some(figures), None),
            "[\"tBTCUSD\",\"ACTIVE\",-2,100,0,0,20,10,null,2.5,null,7,1,2,null,0,null,0,0,null]"
        );
        let held = Position { collateral: 2_000_000_000, leverage: 10, ..position };
        let cause = PositionCause { order: 9, px: 10_000_000_000, qty: -200_000_000 };
        assert_eq!(
            row(held, None, Some(cause)),
            "[\"tBTCUSD\",\"ACTIVE\",-2,100,0,0,null,null,null,null,null,7,1,2,null,1,null,20,0,\
             {\"reason\":\"TRADE\",\"order_id\":9,\"order_id_oppo\":null,\"liq_stage\":null,\
             \"trade_price\":\"100.0\",\"trade_amount\":\"-2.0\"}]"
        );
        let wallet =
            written(|out| push_wallet(out, Wallet::Margin, "USD", 150_000_000, None, None));
        assert_eq!(wallet, "[\"margin\",\"USD\",1.5,0,null,null,null]");
    }

    #[test]
    fn notes_tell_time_in_the_unit_of_their_message() {
        let note = |at| written(|out| push_note(out, at, "on-req", b"", true, "x"));
        assert!(
            note(NoteTime::Ms(1_575_287_438_515)).starts_with("[1575287438515,\"on-req\",null")
        );
        assert!(
            note(NoteTime::FractionalSeconds(1_575_287_438_515)).starts_with("[1575287438.515,")
        );
        assert!(note(NoteTime::Seconds(1_575_287_438_515)).starts_with("[1575287438,"));
    }
}
