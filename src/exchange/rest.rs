//! The REST endpoints: public reads, signed reads, and order entry with the venue's bodies and
//! error codes.

use super::core::Core;
use super::json::Json;
use super::levels::{Window, push_snapshot};
use super::market::capture::digits_of;
use super::number::{push_plain, push_u64};
use super::sign::verify;
use super::talk::Via;
use super::tape::{frame_of, push_candle, push_list, push_trade};
use super::wire::{NoteTime, push_note, push_own_trade};

/// What the server knows of a request. Header values are as sent; absent ones are `None`.
#[derive(Clone, Copy, Debug, Default)]
pub struct HttpRequest<'a> {
    /// `GET` or `POST`.
    pub method: &'a str,
    /// E.g. `/v2/candles/trade:1m:tBTCUSD/hist?limit=10`.
    pub path_and_query: &'a str,
    /// `bfx-apikey`.
    pub api_key: Option<&'a str>,
    /// `bfx-nonce`.
    pub nonce: Option<&'a str>,
    /// `bfx-signature`.
    pub signature: Option<&'a str>,
    pub body: &'a [u8],
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpReply {
    pub status: u16,
    pub content_type: &'static str,
    pub body: Vec<u8>,
}

impl HttpReply {
    fn ok(body: Vec<u8>) -> HttpReply {
        HttpReply { status: 200, content_type: JSON, body }
    }
    fn error(status: u16, code: u32, text: &str) -> HttpReply {
        let mut body = b"[\"error\",".to_vec();
        push_u64(&mut body, code as u64);
        body.push(b',');
        super::json::push_text(&mut body, text);
        body.push(b']');
        HttpReply { status, content_type: JSON, body }
    }
    fn not_found(path: &str) -> HttpReply {
        let path: String =
            path.chars().filter(|c| !matches!(c, '<' | '>' | '&')).take(200).collect();
        let body = format!("Cannot GET /api{path}").into_bytes();
        HttpReply { status: 404, content_type: "text/html; charset=utf-8", body }
    }
}

const JSON: &str = "application/json; charset=utf-8";
const ERR_GENERIC: u32 = 10_001;
const ERR_PARAMS: u32 = 10_020;
const ERR_KEY: u32 = 10_100;
const ERR_NONCE: u32 = 10_114;
const ERR_RATE: u32 = 11_010;
const ERR_MAINTENANCE: u32 = 20_060;

type Reply = Result<Vec<u8>, HttpReply>;

fn bad(text: &str) -> HttpReply {
    HttpReply::error(500, ERR_PARAMS, text)
}

/// Calls a minute by endpoint (protocol notes, 4.4).
fn class_of(path: &str) -> (&'static str, u32) {
    let table: [(&str, u32); 13] = [
        ("platform/status", 30),
        ("tickers", 30),
        ("ticker", 90),
        ("trades", 15),
        ("book", 240),
        ("candles", 30),
        ("status", 90),
        ("conf", 90),
        ("auth/w/order/cancel", 90),
        ("auth/w/order", 90),
        ("auth/r/orders", 90),
        ("auth/r/trades", 90),
        ("auth/", 90),
    ];
    table.into_iter().find(|(prefix, _)| path.starts_with(prefix)).unwrap_or(("other", 90))
}

/// Parameters after the `?`, undecoded: the venue's values need no escaping but `%3A`.
fn parameter(query: &str, key: &str) -> Option<String> {
    let pair = query.split('&').find_map(|pair| pair.split_once('=').filter(|(k, _)| *k == key));
    pair.map(|(_, value)| value.replace("%3A", ":").replace("%3a", ":").replace("%2C", ","))
}

/// Limits of a list: newest first unless `sort=1`.
struct Range {
    limit: usize,
    start: i64,
    end: i64,
    ascending: bool,
}

impl Range {
    /// `default` and `max` rows; out of range = `limit: invalid`.
    fn read(
        get: impl Fn(&str) -> Option<i64>,
        default: usize,
        max: usize,
    ) -> Result<Range, HttpReply> {
        let limit = match get("limit") {
            None | Some(0) => default,
            Some(limit) if limit > 0 && limit as u64 <= max as u64 => limit as usize,
            Some(_) => return Err(bad("limit: invalid")),
        };
        let end = get("end").filter(|end| *end > 0).unwrap_or(i64::MAX);
        let start = get("start").unwrap_or(i64::MIN);
        Ok(Range { limit, start, end, ascending: get("sort") == Some(1) })
    }
    fn of_query(query: &str, default: usize, max: usize) -> Result<Range, HttpReply> {
        Range::read(|key| parameter(query, key)?.parse().ok(), default, max)
    }
    fn of_body(body: &Json<'_>, default: usize, max: usize) -> Result<Range, HttpReply> {
        Range::read(|key| body.given(key).and_then(Json::integer), default, max)
    }
    /// The rows wanted, from rows given newest first.
    fn pick<T>(&self, rows: impl Iterator<Item = T>, at: impl Fn(&T) -> i64) -> Vec<T> {
        let within = rows.filter(|row| (self.start..=self.end).contains(&at(row)));
        if !self.ascending {
            return within.take(self.limit).collect();
        }
        let mut all: Vec<T> = within.collect();
        all.reverse();
        all.truncate(self.limit);
        all
    }
}

impl Core {
    pub(super) fn serve(&mut self, request: &HttpRequest<'_>) -> HttpReply {
        let (path, query) =
            request.path_and_query.split_once('?').unwrap_or((request.path_and_query, ""));
        let full = path.replace("%3A", ":").replace("%3a", ":");
        let path = full.strip_prefix("/api").unwrap_or(&full);
        let Some(path) = path.strip_prefix("/v2/") else {
            return HttpReply::not_found(&full);
        };
        let path = path.trim_end_matches('/');
        if !self.within_rate(path) {
            return HttpReply::error(429, ERR_RATE, "ratelimit: error");
        }
        let is_closed =
            ["book/", "auth/w/order/submit", "auth/w/order/update", "auth/w/order/multi"]
                .iter()
                .any(|prefix| path.starts_with(prefix));
        if self.in_maintenance && is_closed {
            return HttpReply::error(500, ERR_MAINTENANCE, "maintenance");
        }
        let reply = match path.strip_prefix("auth/") {
            Some(rest) => self.serve_signed(rest, path, request),
            None => self.serve_public(path, query),
        };
        match reply {
            Ok(body) => HttpReply::ok(body),
            Err(reply) => reply,
        }
    }
    fn within_rate(&mut self, path: &str) -> bool {
        if !self.config.limits.rest_per_minute || !self.has_started {
            return true;
        }
        let (class, limit) = class_of(path);
        let minute = self.now_ms().div_euclid(60_000);
        let calls = self.rest_calls.entry(class).or_default();
        if calls.0 != minute {
            *calls = (minute, 0);
        }
        calls.1 += 1;
        calls.1 <= limit
    }
    fn serve_public(&mut self, path: &str, query: &str) -> Reply {
        let parts: Vec<&str> = path.split('/').collect();
        let symbol = |name: &str| self.find_symbol(name).ok_or_else(|| bad("symbol: invalid"));
        let mut out = Vec::new();
        match parts[..] {
            ["platform", "status"] => {
                out.extend_from_slice(if self.in_maintenance { b"[0]" } else { b"[1]" });
            }
            ["conf", keys] => self.push_conf(keys, &mut out),
            ["tickers"] => {
                let wanted = parameter(query, "symbols").unwrap_or_default();
                let all = wanted == "ALL";
                let names: Vec<&str> = wanted.split(',').collect();
                let symbols = (0..self.listings.len() as u16)
                    .filter(|symbol| all || names.contains(&self.symbol_name(*symbol)));
                push_list(&mut out, symbols, |out, symbol| {
                    out.extend_from_slice(b"[\"");
                    out.extend_from_slice(self.symbol_name(symbol).as_bytes());
                    out.extend_from_slice(b"\",");
                    self.push_ticker_fields(symbol, out);
                    out.push(b']');
                });
            }
            ["ticker", name] => {
                let symbol = symbol(name)?;
                out.push(b'[');
                self.push_ticker_fields(symbol, &mut out);
                out.push(b']');
            }
            ["book", name, prec] => {
                let symbol = symbol(name)?;
                let len = match parameter(query, "len").as_deref() {
                    None => 25,
                    Some("1") => 1,
                    Some("25") => 25,
                    Some("100") => 100,
                    Some("250") => 250,
                    Some(_) => return Err(bad("len: invalid")),
                };
                let mut window = Window::default();
                let depth = &self.listing(symbol).depth;
                let is_raw = prec == "R0";
                if is_raw {
                    if !depth.fill_raw_window(len, &mut window) {
                        return Err(bad("prec: invalid"));
                    }
                } else {
                    let digits = digits_of(prec).ok_or_else(|| bad("prec: invalid"))?;
                    depth.fill_window(digits, len, &mut window);
                }
                push_snapshot(&mut out, &window, is_raw);
            }
            ["trades", name, "hist"] => {
                let symbol = symbol(name)?;
                let range = Range::of_query(query, 125, 10_000)?;
                let trades = range.pick(self.listing(symbol).tape.trades(), |trade| trade.mts);
                push_list(&mut out, trades.into_iter(), push_trade);
            }
            ["candles", key, section] => self.push_candles(key, section, query, &mut out)?,
            ["status", "deriv"] => {
                let wanted = parameter(query, "keys").unwrap_or_default();
                let names: Vec<&str> = wanted.split(',').collect();
                let symbols = (0..self.listings.len() as u16).filter(|symbol| {
                    let listing = self.listing(*symbol);
                    let named = wanted == "ALL" || names.contains(&listing.spec.name.as_str());
                    named && listing.is_derivative()
                });
                push_list(&mut out, symbols, |out, symbol| {
                    let mut row = Vec::new();
                    self.push_status_row(symbol, &mut row);
                    out.extend_from_slice(b"[\"");
                    out.extend_from_slice(self.symbol_name(symbol).as_bytes());
                    out.extend_from_slice(b"\",");
                    out.extend_from_slice(&row[1..]);
                });
            }
            _ => return Err(HttpReply::not_found(&["/v2/", path].concat())),
        }
        Ok(out)
    }
    fn push_candles(
        &self,
        key: &str,
        section: &str,
        query: &str,
        out: &mut Vec<u8>,
    ) -> Result<(), HttpReply> {
        let mut parts = key.splitn(3, ':');
        let kind = parts.next().filter(|kind| *kind == "trade");
        let frame = kind.and_then(|_| frame_of(parts.next()?));
        let frame = frame.ok_or_else(|| bad("time_interval: invalid"))?;
        let symbol = parts.next().and_then(|name| self.find_symbol(name));
        let tape = &self.listing(symbol.ok_or_else(|| bad("symbol: invalid"))?).tape;
        match section {
            "last" => match tape.candles(frame).next() {
                Some(candle) => push_candle(out, candle),
                None => out.extend_from_slice(b"[]"),
            },
            "hist" => {
                let range = Range::of_query(query, 100, 10_000)?;
                let rows = range.pick(tape.candles(frame), |candle| candle.mts);
                push_list(out, rows.into_iter(), push_candle);
            }
            _ => return Err(bad("section: invalid")),
        }
        Ok(())
    }
    /// One element per requested key; unknown keys give an empty list.
    fn push_conf(&self, keys: &str, out: &mut Vec<u8>) {
        let keys: Vec<&str> = keys.split(',').collect();
        push_list(out, keys.into_iter(), |out, key| {
            let wanted = |at: &usize| {
                let listing = &self.listings[*at];
                match key {
                    "pub:list:pair:exchange" | "pub:info:pair" => !listing.is_derivative(),
                    "pub:list:pair:margin" => {
                        listing.spec.margin_initial_e4 > 0 && !listing.is_derivative()
                    }
                    "pub:list:pair:futures" | "pub:info:pair:futures" => listing.is_derivative(),
                    _ => false,
                }
            };
            let listed = (0..self.listings.len()).filter(wanted).map(|at| &self.listings[at]);
            if key == "pub:list:currency" {
                let mut names: Vec<&str> = self
                    .listings
                    .iter()
                    .flat_map(|l| [l.base.as_str(), l.quote.as_str()])
                    .collect();
                names.sort_unstable();
                names.dedup();
                push_list(out, names.into_iter(), super::json::push_text);
            } else if key.starts_with("pub:info:pair") {
                push_list(out, listed, |out, listing| {
                    let pushed = |out: &mut Vec<u8>, margin: i64| match margin {
                        0 => out.extend_from_slice(b"null"),
                        margin => super::number::push_number(out, margin * 10_000),
                    };
                    out.extend_from_slice(b"[");
                    super::json::push_text(out, listing.pair());
                    out.extend_from_slice(b",[null,null,null,\"");
                    push_plain(out, listing.spec.qty_min);
                    out.extend_from_slice(b"\",\"");
                    push_plain(out, listing.spec.qty_max);
                    out.extend_from_slice(b"\",null,null,null,");
                    pushed(out, listing.spec.margin_initial_e4);
                    out.push(b',');
                    pushed(out, listing.spec.margin_initial_e4 / 2);
                    out.extend_from_slice(b",null,null]]");
                });
            } else {
                push_list(out, listed, |out, listing| super::json::push_text(out, listing.pair()));
            }
        });
    }
    /// Checks key, signature and nonce, in that order.
    fn authorize(&mut self, path: &str, request: &HttpRequest<'_>) -> Result<u32, HttpReply> {
        let refused = || HttpReply::error(500, ERR_KEY, "apikey: invalid");
        let (Some(key), Some(nonce), Some(signature)) =
            (request.api_key, request.nonce, request.signature)
        else {
            return Err(refused());
        };
        let account = self.find_account(key).ok_or_else(refused)?;
        let secret = &self.config.accounts[account as usize - 1].api_secret;
        let parts = [b"/api/v2/", path.as_bytes(), nonce.as_bytes(), request.body];
        if !verify(secret, &parts, signature) {
            return Err(refused());
        }
        if !self.take_nonce(account, nonce.parse().ok()) {
            return Err(HttpReply::error(500, ERR_NONCE, "nonce: small"));
        }
        Ok(account)
    }
    fn serve_signed(&mut self, rest: &str, path: &str, request: &HttpRequest<'_>) -> Reply {
        if request.method != "POST" {
            return Err(HttpReply::not_found(&["/v2/", path].concat()));
        }
        let account = self.authorize(path, request)?;
        let body = match request.body {
            b"" => Json::Object(Vec::new()),
            text => Json::parse(text).ok_or_else(|| bad("body: invalid"))?,
        };
        let parts: Vec<&str> = rest.split('/').collect();
        match parts[..] {
            ["w", "order", ..] => self.serve_order(account, &parts[2..], &body),
            ["r", ..] => self.serve_account(account, &parts[1..], &body),
            ["calc", "order", "avail"] => {
                let symbol = body.get("symbol").and_then(Json::text).unwrap_or("");
                let symbol = self.find_symbol(symbol).ok_or_else(|| bad("symbol: invalid"))?;
                let listing = self.listing(symbol);
                let sells = body.get("dir").and_then(Json::integer) == Some(-1);
                let currency = if sells { listing.base } else { listing.quote };
                let wallet = match body.get("type").and_then(Json::text) {
                    Some("EXCHANGE") => super::account::Wallet::Exchange,
                    _ => super::account::Wallet::Margin,
                };
                let mut out = b"[".to_vec();
                super::wire::push_wide(&mut out, self.available(account, wallet, currency, 0));
                out.push(b']');
                Ok(out)
            }
            _ => Err(HttpReply::not_found(&["/v2/", path].concat())),
        }
    }
    fn serve_order(&mut self, account: u32, parts: &[&str], body: &Json<'_>) -> Reply {
        let verb = match parts {
            ["submit"] => "on",
            ["update"] => "ou",
            ["cancel"] => "oc",
            ["cancel", "multi"] => "oc_multi",
            ["multi"] => return self.serve_multi(account, body),
            _ => return Err(HttpReply::not_found("/v2/auth/w/order")),
        };
        match self.operate(account, verb, body, Via::Rest) {
            Some((note, true)) => Ok(note),
            Some((note, false)) => {
                let text = Json::parse(&note)
                    .and_then(|note| note.items().get(7)?.text().map(str::to_owned))
                    .unwrap_or_default();
                Err(HttpReply::error(500, ERR_GENERIC, &text))
            }
            None => Err(bad("body: invalid")),
        }
    }
    fn serve_multi(&mut self, account: u32, body: &Json<'_>) -> Reply {
        let operations = body.get("ops").map_or(&[][..], Json::items);
        if operations.is_empty() || operations.len() > self.config.limits.operations {
            return Err(bad("ops: invalid"));
        }
        let mut notes = Vec::new();
        for operation in operations {
            if let [Json::Text(kind), body] = operation.items() {
                notes.extend(self.operate(account, kind, body, Via::Rest));
            }
        }
        let mut data = Vec::new();
        push_list(&mut data, notes.iter(), |out, (note, _)| out.extend_from_slice(note));
        let mut out = Vec::new();
        let at = NoteTime::Ms(self.now_ms());
        push_note(&mut out, at, "ox_multi-req", &data, true, "Submitting multiple orders.");
        Ok(out)
    }
    fn serve_account(&mut self, account: u32, parts: &[&str], body: &Json<'_>) -> Reply {
        let mut out = Vec::new();
        let symbol = |name: &str| self.find_symbol(name).ok_or_else(|| bad("symbol: invalid"));
        match *parts {
            ["orders"] => self.push_open_orders(account, None, &mut out),
            ["orders", "hist"] => self.push_closed_orders(account, None, body, &mut out)?,
            ["orders", name] => {
                let symbol = symbol(name)?;
                self.push_open_orders(account, Some(symbol), &mut out);
            }
            ["orders", name, "hist"] => {
                let symbol = symbol(name)?;
                self.push_closed_orders(account, Some(symbol), body, &mut out)?;
            }
            ["trades", "hist"] => self.push_own_trades(account, None, None, body, &mut out)?,
            ["trades", name, "hist"] => {
                let symbol = symbol(name)?;
                self.push_own_trades(account, Some(symbol), None, body, &mut out)?;
            }
            ["order", key, "trades"] => {
                let (name, id) = key.rsplit_once(':').ok_or_else(|| bad("symbol: invalid"))?;
                let symbol = symbol(name)?;
                let id = id.parse().map_err(|_| bad("id: invalid"))?;
                self.push_own_trades(account, Some(symbol), Some(id), body, &mut out)?;
            }
            ["wallets"] => self.push_wallets(account, true, &mut out),
            ["positions"] => self.push_positions(account, true, &mut out),
            ["permissions"] => {
                let may = self.config.accounts[account as usize - 1].permissions;
                let text = format!(
                    "[[\"account\",1,0],[\"history\",1,0],[\"orders\",1,{orders}],[\"positions\",1,{orders}],[\"funding\",1,0],[\"settings\",0,0],[\"wallets\",{wallets},0],[\"withdraw\",0,{withdraw}],[\"ui_withdraw\",0,0],[\"bfxpay\",0,0]]",
                    orders = u8::from(may.orders_write),
                    wallets = u8::from(may.wallets_read),
                    withdraw = u8::from(may.withdraw_write),
                );
                out.extend_from_slice(text.as_bytes());
            }
            ["info", "user"] => {
                let text = format!(
                    "[{account},\"user{account}@example.com\",\"user{account}\",1500000000000,1,4,null,\"UTC\",\"en\",\"bitfinex\",1,null,null,null,null,null,null,null,null,null,null,0,null,0,0,0,[]"
                );
                out.extend_from_slice(text.as_bytes());
                // Documented up to 54; bitfinex-api-py wants all of it.
                (27..55).for_each(|_| out.extend_from_slice(b",null"));
                out.push(b']');
            }
            ["summary"] => {
                let rate = |out: &mut Vec<u8>, e6: i64| super::number::push_number(out, e6 * 100);
                out.extend_from_slice(b"[null,null,null,null,[[");
                for fee in [self.config.fees.maker_e6, self.config.fees.taker_e6] {
                    for at in 0..3 {
                        if at > 0 {
                            out.push(b',');
                        }
                        rate(&mut out, fee);
                    }
                    out.extend_from_slice(b",null,null,");
                    rate(&mut out, fee);
                    out.extend_from_slice(b"],[");
                }
                out.truncate(out.len() - 2);
                out.extend_from_slice(
                    b"],[[],{},0],[null,{},0],null,null,{\"leo_lev\":0,\"leo_amount_avg\":0}]",
                );
            }
            ["info", "margin", _] => {
                out.extend_from_slice(b"[\"base\",[0,0,");
                let usd = crate::model::Currency::new("USD").unwrap_or_default();
                let wallet = super::account::Wallet::Margin;
                let balance = self.bank.account(account).balance(wallet, usd);
                super::wire::push_wide(&mut out, balance);
                out.push(b',');
                super::wire::push_wide(&mut out, balance);
                out.extend_from_slice(b",0]]");
            }
            _ => return Err(HttpReply::not_found("/v2/auth/r")),
        }
        Ok(out)
    }
    fn push_closed_orders(
        &self,
        account: u32,
        symbol: Option<u16>,
        body: &Json<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), HttpReply> {
        let range = Range::of_body(body, 25, 2_500)?;
        let ids: Vec<u64> =
            body.get("id").map_or(&[][..], Json::items).iter().filter_map(Json::unsigned).collect();
        let closed = self.bank.account(account).closed.iter().rev();
        let wanted = closed.filter(|order| {
            symbol.is_none_or(|symbol| order.symbol == symbol)
                && (ids.is_empty() || ids.contains(&order.id))
        });
        let rows = range.pick(wanted, |order| order.created_ms);
        push_list(out, rows.into_iter(), |out, order| {
            order.push_array(out, self.symbol_name(order.symbol));
        });
        Ok(())
    }
    fn push_own_trades(
        &self,
        account: u32,
        symbol: Option<u16>,
        order: Option<u64>,
        body: &Json<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), HttpReply> {
        let range = Range::of_body(body, 125, 2_500)?;
        let trades = self.bank.account(account).trades.iter().rev().filter(|trade| {
            symbol.is_none_or(|symbol| trade.symbol == symbol)
                && order.is_none_or(|order| trade.order == order)
        });
        let rows = range.pick(trades, |trade| trade.mts);
        push_list(out, rows.into_iter(), |out, trade| {
            push_own_trade(out, trade, self.symbol_name(trade.symbol), true);
        });
        Ok(())
    }
}
