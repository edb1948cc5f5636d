//! Orders of accounts: what was asked, what became of it, and both as the venue's texts and arrays.

use super::account::Wallet;
use super::date::read_datetime;
use super::json::{Json, push_text};
use super::number::{cut_to_digits, push_i64, push_number, push_plain, push_u64};
use crate::base::limits::CID_MAX;
use crate::base::units::Side;
use serde::{Deserialize, Serialize};

pub const FLAG_HIDDEN: u32 = 64;
pub const FLAG_CLOSE: u32 = 512;
pub const FLAG_REDUCE_ONLY: u32 = 1024;
pub const FLAG_POST_ONLY: u32 = 4096;
pub const FLAG_OCO: u32 = 16_384;
/// Longest affiliate code kept, bytes.
const AFFILIATE_SIZE_MAX: usize = 64;

/// Significant digits of a price.
pub const PRICE_DIGITS: u32 = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    Limit,
    Market,
    Stop,
    StopLimit,
    TrailingStop,
    Fok,
    Ioc,
}

impl Kind {
    const ALL: [(Kind, &'static str); 7] = [
        (Kind::Limit, "LIMIT"),
        (Kind::Market, "MARKET"),
        (Kind::Stop, "STOP"),
        (Kind::StopLimit, "STOP LIMIT"),
        (Kind::TrailingStop, "TRAILING STOP"),
        (Kind::Fok, "FOK"),
        (Kind::Ioc, "IOC"),
    ];
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }
    /// True for kinds that wait for a price before they enter the book.
    pub const fn is_stop(self) -> bool {
        matches!(self, Kind::Stop | Kind::StopLimit | Kind::TrailingStop)
    }
    /// Kind and wallet of an order type's text.
    pub fn parse(text: &str) -> Option<(Kind, Wallet)> {
        let (name, wallet) = match text.strip_prefix("EXCHANGE ") {
            Some(rest) => (rest, Wallet::Exchange),
            None => (text, Wallet::Margin),
        };
        Self::ALL.iter().find(|(_, n)| *n == name).map(|(kind, _)| (*kind, wallet))
    }
}

/// Text of an order type with its wallet prefix.
pub fn type_text(kind: Kind, wallet: Wallet) -> String {
    let prefix = if wallet == Wallet::Exchange { "EXCHANGE " } else { "" };
    [prefix, kind.name()].concat()
}

/// What a client attached to an order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    pub affiliate: String,
    /// A hidden order is shown once it was hit.
    pub make_visible: bool,
    /// It is cancelled rather than matched with an order of its own account.
    pub protect_selfmatch: bool,
}

impl Meta {
    fn read(body: &Json<'_>) -> Option<Meta> {
        let meta = body.given("meta")?;
        let is_set = |key: &str| match meta.given(key) {
            Some(Json::Bool(set)) => *set,
            Some(value) => value.integer() == Some(1),
            None => false,
        };
        let affiliate = meta.given("aff_code").and_then(Json::text).unwrap_or("");
        Some(Meta {
            affiliate: affiliate.chars().take(AFFILIATE_SIZE_MAX).collect(),
            make_visible: is_set("make_visible"),
            protect_selfmatch: is_set("protect_selfmatch"),
        })
    }
}

/// In which message an order array stands; three fields differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The acknowledgement of a new order: flags as sent, HIDDEN null where it is not.
    Fresh,
    /// Everywhere else.
    Known,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    Active,
    PartiallyFilled,
    Executed,
    Canceled,
    PostOnlyCanceled,
    FokCanceled,
    IocCanceled,
    /// Slippage made it unaffordable.
    InsufficientBalance,
    /// No liquidity for a market order's rest.
    BookSlip,
    ReduceWouldIncrease,
    ReduceWouldFlip,
    PositionNotFound,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    pub id: u64,
    pub account: u32,
    pub gid: Option<u64>,
    pub cid: Option<u64>,
    pub symbol: u16,
    pub created_ms: i64,
    pub updated_ms: i64,
    pub side: Side,
    /// 1e-8, positive.
    pub qty: i64,
    /// What is left of it, 1e-8, positive.
    pub left: i64,
    pub kind: Kind,
    pub kind_before: Option<Kind>,
    pub wallet: Wallet,
    pub flags: u32,
    pub px: i64,
    pub px_aux: i64,
    pub px_trailing: i64,
    pub leverage: Option<u32>,
    /// Good till, ms; 0 = for ever.
    pub until_ms: i64,
    pub status: Status,
    /// `(price, quantity)` of its fills, quantity positive.
    pub fills: Vec<(i64, i64)>,
    /// The other leg of an OCO pair; 0 = none. It may be gone by now.
    pub sibling: u64,
    /// The venue made it to end a position that its collateral no longer carries.
    pub is_forced: bool,
    pub meta: Meta,
}

impl Order {
    pub fn is_post_only(&self) -> bool {
        self.flags & FLAG_POST_ONLY != 0
    }
    pub fn is_reduce_only(&self) -> bool {
        self.flags & (FLAG_REDUCE_ONLY | FLAG_CLOSE) != 0 && self.wallet == Wallet::Margin
    }
    pub fn is_hidden(&self) -> bool {
        self.flags & FLAG_HIDDEN != 0
    }
    pub fn type_text(&self) -> String {
        type_text(self.kind, self.wallet)
    }
    /// Average price of the fills, 1e-8.
    pub fn px_avg(&self) -> i64 {
        let (value, qty) = self.fills.iter().fold((0i128, 0i128), |(value, sum), (px, qty)| {
            (value + *px as i128 * *qty as i128, sum + *qty as i128)
        });
        if qty == 0 { 0 } else { (value / qty) as i64 }
    }
    /// Books a fill; the caller sees to the status.
    pub fn fill(&mut self, px: i64, qty: i64, now_ms: i64) {
        assert!(qty > 0 && qty <= self.left, "a fill is never larger than what is left");
        self.left -= qty;
        self.fills.push((px, qty));
        self.updated_ms = now_ms;
        if self.kind == Kind::Market {
            self.px = px; // a market order shows the price it got
        }
        self.status = if self.left == 0 { Status::Executed } else { Status::PartiallyFilled };
    }
    fn push_fills(&self, out: &mut Vec<u8>, word: &str, fills: &[(i64, i64)]) {
        for (index, (px, qty)) in fills.iter().enumerate() {
            if index > 0 {
                out.extend_from_slice(b", ");
            }
            out.extend_from_slice(word.as_bytes());
            out.extend_from_slice(b" @ ");
            push_plain(out, *px);
            out.push(b'(');
            push_plain(out, self.side.sign() * qty);
            out.push(b')');
        }
    }
    /// Writes the status text.
    pub fn push_status(&self, out: &mut Vec<u8>) {
        let ended = match self.status {
            Status::Active => "ACTIVE",
            Status::PartiallyFilled => {
                return self.push_fills(out, "PARTIALLY FILLED", &self.fills);
            }
            Status::Executed => {
                let Some((last, before)) = self.fills.split_last() else { return };
                let word = if self.is_forced { "FORCED EXECUTED" } else { "EXECUTED" };
                self.push_fills(out, word, &[*last]);
                let closes = self.flags & FLAG_CLOSE != 0;
                if !before.is_empty() {
                    out.extend_from_slice(b": was ");
                    self.push_fills(out, "PARTIALLY FILLED", before);
                } else if closes {
                    out.extend_from_slice(b" was ACTIVE");
                }
                if closes {
                    out.extend_from_slice(b" (note:POSCLOSE)");
                }
                return;
            }
            Status::Canceled => "CANCELED",
            Status::PostOnlyCanceled => "POSTONLY CANCELED",
            Status::FokCanceled => "FILLORKILL CANCELED",
            Status::IocCanceled => "IOC CANCELED",
            Status::InsufficientBalance => "INSUFFICIENT BALANCE (G1)",
            Status::BookSlip => "RSN_BOOK_SLIP",
            Status::ReduceWouldIncrease => "RSN_POS_REDUCE_INCR",
            Status::ReduceWouldFlip => "RSN_POS_REDUCE_FLIP",
            Status::PositionNotFound => "RSN_POS_NOTFOUND",
        };
        out.extend_from_slice(ended.as_bytes());
        if self.status != Status::Active && !self.fills.is_empty() {
            out.extend_from_slice(b" was: ");
            self.push_fills(out, "PARTIALLY FILLED", &self.fills);
        }
    }
    /// FLAGS as the venue shows them: post-only stands in the acknowledgement and in the refusal
    /// for it; an order that came to rest tells it by META alone.
    fn shown_flags(&self, form: Form) -> u32 {
        match (form, self.status) {
            (Form::Fresh, _) | (_, Status::PostOnlyCanceled) => self.flags,
            _ => self.flags & !FLAG_POST_ONLY,
        }
    }
    /// Writes the 32-element array.
    pub fn push_array(&self, out: &mut Vec<u8>, symbol: &str, form: Form) {
        let optional = |out: &mut Vec<u8>, value: Option<u64>| match value {
            Some(value) => push_u64(out, value),
            None => out.extend_from_slice(b"null"),
        };
        out.push(b'[');
        push_u64(out, self.id);
        out.push(b',');
        optional(out, self.gid);
        out.push(b',');
        optional(out, self.cid);
        out.push(b',');
        push_text(out, symbol);
        for ms in [self.created_ms, self.updated_ms] {
            out.push(b',');
            push_i64(out, ms);
        }
        for qty in [self.left, self.qty] {
            out.push(b',');
            push_number(out, self.side.sign() * qty);
        }
        out.push(b',');
        push_text(out, &self.type_text());
        out.push(b',');
        match self.kind_before {
            Some(kind) => push_text(out, &type_text(kind, self.wallet)),
            None => out.extend_from_slice(b"null"),
        }
        out.push(b',');
        optional(out, u64::try_from(self.until_ms).ok().filter(|ms| *ms > 0));
        out.extend_from_slice(b",null,");
        push_u64(out, self.shown_flags(form) as u64);
        out.extend_from_slice(b",\"");
        self.push_status(out);
        out.extend_from_slice(b"\",null,null");
        for px in [self.px, self.px_avg(), self.px_trailing, self.px_aux] {
            out.push(b',');
            push_number(out, px);
        }
        out.extend_from_slice(b",null,null,null,0,");
        match (form, self.is_hidden()) {
            (Form::Fresh, false) => out.extend_from_slice(b"null"),
            (_, hidden) => push_u64(out, u64::from(hidden)),
        }
        out.push(b',');
        optional(out, Some(self.sibling).filter(|id| *id > 0));
        out.extend_from_slice(b",null,null,\"API>BFX\",null,null,{\"source\":\"api\"");
        if self.is_post_only() {
            out.extend_from_slice(b",\"$F7\":1");
        }
        if let Some(leverage) = self.leverage {
            out.extend_from_slice(b",\"$F33\":");
            push_u64(out, leverage as u64);
        }
        if !self.meta.affiliate.is_empty() {
            out.extend_from_slice(b",\"aff_code\":");
            push_text(out, &self.meta.affiliate);
        }
        if self.meta.make_visible {
            out.extend_from_slice(b",\"make_visible\":1");
        }
        if self.meta.protect_selfmatch {
            out.extend_from_slice(b",\"protect_selfmatch\":1");
        }
        out.extend_from_slice(b"}]");
    }
}

/// What a client asked for, as far as it could be read; kept for the echo of a refusal too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    pub id: Option<u64>,
    pub gid: Option<u64>,
    pub cid: Option<u64>,
    pub cid_bad: bool,
    pub cid_date: Option<String>,
    pub symbol: String,
    pub kind: String,
    /// Signed, 1e-8.
    pub amount: Option<i64>,
    pub delta: Option<i64>,
    pub px: Option<i64>,
    pub px_aux: Option<i64>,
    pub px_trailing: Option<i64>,
    /// Stop price of an OCO pair's second leg.
    pub px_oco: Option<i64>,
    /// Client id of that leg.
    pub cid_oco: Option<u64>,
    /// `None` = not given: an amendment keeps what the order has.
    pub flags: Option<u32>,
    pub leverage: Option<u32>,
    pub until_ms: Option<i64>,
    pub meta: Option<Meta>,
    /// Field that could not be read; refuses the request.
    pub bad: Option<&'static str>,
}

impl Request {
    /// Reads the body of `on`, `ou` and `oc`.
    pub fn read(body: &Json<'_>) -> Request {
        let mut request = Request::default();
        let mut bad = None;
        let mut units = |key: &'static str, name: &'static str| {
            let value = body.given(key)?;
            let units = value.units();
            if units.is_none() {
                bad = Some(name);
            }
            units
        };
        request.amount = units("amount", "amount: invalid");
        request.delta = units("delta", "delta: invalid");
        let cut = |px: i64| cut_to_digits(px, PRICE_DIGITS);
        request.px = units("price", "price: invalid").map(cut);
        request.px_aux = units("price_aux_limit", "price_aux_limit: invalid").map(cut);
        request.px_trailing = units("price_trailing", "price_trailing: invalid").map(cut);
        request.px_oco = units("price_oco_stop", "price_oco_stop: invalid").map(cut);
        let mut whole = |key: &'static str, name: &'static str| {
            let value = body.given(key)?;
            let number = value.unsigned();
            if number.is_none() {
                bad = Some(name);
            }
            number
        };
        request.id = whole("id", "id: invalid");
        request.gid = whole("gid", "gid: invalid");
        request.flags = whole("flags", "flags: invalid").map(|flags| flags as u32);
        request.cid_oco = whole("cid_oco", "cid_oco: invalid");
        request.leverage = whole("lev", "lev: invalid").map(|lev| lev.min(u32::MAX as u64) as u32);
        request.bad = bad;
        request.meta = Meta::read(body);
        if let Some(cid) = body.given("cid") {
            request.cid = cid.unsigned();
            request.cid_bad = request.cid.is_none_or(|cid| cid > CID_MAX);
        }
        let text = |key: &str| body.given(key).and_then(Json::text).map(str::to_owned);
        request.cid_date = text("cid_date");
        request.symbol = text("symbol").unwrap_or_default();
        request.kind = text("type").unwrap_or_default();
        if let Some(until) = text("tif") {
            request.until_ms = read_datetime(&until);
            if request.until_ms.is_none() {
                request.bad = Some("tif: invalid");
            }
        }
        request
    }
    /// Writes the order array of a refusal: what the client sent, null elsewhere.
    pub fn push_echo(&self, out: &mut Vec<u8>) {
        let optional = |out: &mut Vec<u8>, value: Option<u64>| match value {
            Some(value) => push_u64(out, value),
            None => out.extend_from_slice(b"null"),
        };
        let number = |out: &mut Vec<u8>, value: Option<i64>| match value {
            Some(value) => push_number(out, value),
            None => out.extend_from_slice(b"null"),
        };
        let text = |out: &mut Vec<u8>, value: &str| match value {
            "" => out.extend_from_slice(b"null"),
            value => push_text(out, value),
        };
        out.push(b'[');
        optional(out, self.id);
        out.push(b',');
        optional(out, self.gid);
        out.push(b',');
        optional(out, self.cid);
        out.push(b',');
        text(out, &self.symbol);
        out.extend_from_slice(b",null,null,");
        number(out, self.amount);
        out.push(b',');
        number(out, self.amount);
        out.push(b',');
        text(out, &self.kind);
        out.extend_from_slice(b",null,null,null,");
        optional(out, self.flags.map(u64::from).filter(|flags| *flags > 0));
        out.extend_from_slice(b",null,null,null,");
        number(out, self.px);
        out.extend_from_slice(b",null,");
        number(out, self.px_trailing);
        out.push(b',');
        number(out, self.px_aux);
        out.extend_from_slice(b",null,null,null,0,null,null,null,null,null,null,null,null]");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> Order {
        Order {
            id: 111_179_140_333,
            account: 1,
            gid: None,
            cid: Some(1_755_757_983_693),
            symbol: 0,
            created_ms: 1_755_757_983_693,
            updated_ms: 1_755_757_983_693,
            side: Side::Sell,
            qty: 8_865,
            left: 8_865,
            kind: Kind::Limit,
            kind_before: None,
            wallet: Wallet::Exchange,
            flags: 0,
            px: 11_281_000_000_000,
            px_aux: 0,
            px_trailing: 0,
            leverage: None,
            until_ms: 0,
            status: Status::Active,
            fills: Vec::new(),
            sibling: 0,
            is_forced: false,
            meta: Meta::default(),
        }
    }

    /// Goal: our array of a real order equals the recorded one (../shared/data, ws-auth fixture),
    /// byte for byte.
    #[test]
    fn an_executed_order_is_written_as_the_venue_wrote_it() {
        let mut order = order();
        order.fill(11_394_000_000_000, 8_865, 1_755_757_983_694);
        let mut out = Vec::new();
        order.push_array(&mut out, "tBTCUSD", Form::Known);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "[111179140333,null,1755757983693,\"tBTCUSD\",1755757983693,1755757983694,0,-0.00008865,\"EXCHANGE \
             LIMIT\",null,null,null,0,\"EXECUTED @ \
             113940.0(-0.00008865)\",null,null,112810,113940,0,0,null,null,null,0,0,null,null,null,\"API>BFX\",null,null,{\"source\":\"api\"}]"
        );
    }

    #[test]
    fn status_texts_list_every_fill() {
        let text = |order: &Order| {
            let mut out = Vec::new();
            order.push_status(&mut out);
            String::from_utf8(out).unwrap()
        };
        let mut order = Order { side: Side::Buy, qty: 300_000_000, left: 300_000_000, ..order() };
        order.fill(578_81000000, 10_000_000, 1);
        assert_eq!(text(&order), "PARTIALLY FILLED @ 578.81(0.1)");
        order.fill(579_00000000, 90_000_000, 1);
        assert_eq!(text(&order), "PARTIALLY FILLED @ 578.81(0.1), PARTIALLY FILLED @ 579.0(0.9)");
        let canceled =
            Order { status: Status::Canceled, fills: order.fills[..1].to_vec(), ..order.clone() };
        assert_eq!(text(&canceled), "CANCELED was: PARTIALLY FILLED @ 578.81(0.1)");
        order.fill(579_00000000, 200_000_000, 1);
        assert_eq!(
            text(&order),
            "EXECUTED @ 579.0(2.0): was PARTIALLY FILLED @ 578.81(0.1), PARTIALLY FILLED @ \
             579.0(0.9)"
        );
        assert_eq!(order.px_avg(), 578_99366666);
    }

    #[test]
    fn a_request_is_read_with_strings_or_numbers_and_bad_fields_are_named() {
        let read = |text: &str| Request::read(&Json::parse(text.as_bytes()).unwrap());
        let request = read(
            r#"{"cid":12,"type":"EXCHANGE LIMIT","symbol":"tBTCUSD","amount":"-0.5","price":"6443.1699","flags":4096}"#,
        );
        assert_eq!(request.amount, Some(-50_000_000));
        assert_eq!(request.px, Some(644_310_000_000));
        assert_eq!(request.flags, Some(4096));
        assert_eq!(read(r#"{"amount":"x"}"#).bad, Some("amount: invalid"));
        assert!(read(r#"{"cid":35184372088832}"#).cid_bad);
        assert_eq!(read(r#"{"tif":"2018-11-12 18:06:08"}"#).until_ms, Some(1_542_045_968_000));
        assert_eq!(Kind::parse("EXCHANGE STOP LIMIT"), Some((Kind::StopLimit, Wallet::Exchange)));
        assert_eq!(Kind::parse("NOPE"), None);
    }
}
