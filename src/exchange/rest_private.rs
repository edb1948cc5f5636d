//! Signed REST endpoints: order entry, what an account has, and what happened to it.

use super::account::Wallet;
use super::core::Core;
use super::entry::{NOT_PERMITTED, Via};
use super::json::{Json, push_text};
use super::ledger::PairNames;
use super::login::{Pass, TokenWish};
use super::number::push_number;
use super::order::{Form, Order};
use super::rest::{ERR_GENERIC, HttpReply, HttpRequest, Range, Reply, bad};
use super::tape::push_list;
use super::wire::{NoteTime, push_note, push_own_trade, push_wide};
use crate::exchange::config::Permissions;
use crate::model::Currency;

/// How far back the venue tells of closed orders, and of an order's trades, ms.
const CLOSED_ORDERS_MS: i64 = 14 * 86_400_000;
const ORDER_TRADES_MS: i64 = 10 * 86_400_000;
/// Seconds a token lives: usual, least, most.
const TOKEN_S: (i64, i64, i64) = (120, 5, 604_800);

pub(super) fn permitted(allowed: bool) -> Result<(), HttpReply> {
    match allowed {
        true => Ok(()),
        false => Err(HttpReply::error(500, ERR_GENERIC, NOT_PERMITTED)),
    }
}

/// One value or an array of them.
fn one_or_many<'a, 'b>(body: &'a Json<'b>, key: &str) -> &'a [Json<'b>] {
    match body.given(key) {
        Some(Json::Array(items)) => items,
        Some(value) => std::slice::from_ref(value),
        None => &[],
    }
}

impl Core {
    pub(super) fn serve_signed(
        &mut self,
        rest: &str,
        path: &str,
        request: &HttpRequest<'_>,
    ) -> Reply {
        let unknown = || HttpReply::not_found(request.method, &["/v2/", path].concat());
        if request.method != "POST" {
            return Err(unknown());
        }
        let pass = self.authorize(path, request)?;
        let body = match request.body {
            b"" => Json::Object(Vec::new()),
            text => Json::parse(text).ok_or_else(|| bad("body: invalid"))?,
        };
        let parts: Vec<&str> = rest.split('/').collect();
        match parts[..] {
            ["w", "order", "multi"] => self.serve_multi(pass, &body),
            ["w", "order", "submit"] => self.serve_order(pass, "on", &body),
            ["w", "order", "update"] => self.serve_order(pass, "ou", &body),
            ["w", "order", "cancel"] => self.serve_order(pass, "oc", &body),
            ["w", "order", "cancel", "multi"] => self.serve_order(pass, "oc_multi", &body),
            ["w", "token"] => self.serve_token(pass, &body),
            ["w", "transfer"] => self.serve_transfer(pass, &body),
            ["w", "deriv", "collateral", "set"] => self.serve_collateral(pass, &body),
            ["calc", "order", "avail"] => self.serve_available(pass, &body),
            ["r", ..] => match self.serve_account(pass, &parts[1..], &body)? {
                Some(reply) => Ok(reply),
                None => self.serve_beside(pass, &parts, &body)?.ok_or_else(unknown),
            },
            _ => self.serve_beside(pass, &parts, &body)?.ok_or_else(unknown),
        }
    }
    fn serve_order(&mut self, pass: Pass, verb: &str, body: &Json<'_>) -> Reply {
        match self.operate(pass, verb, body, Via::Rest) {
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
    fn serve_multi(&mut self, pass: Pass, body: &Json<'_>) -> Reply {
        let operations = body.get("ops").map_or(&[][..], Json::items);
        if operations.is_empty() || operations.len() > self.config.limits.operations {
            return Err(bad("ops: invalid"));
        }
        let mut notes = Vec::new();
        for operation in operations {
            if let [Json::Text(kind), body] = operation.items() {
                notes.extend(self.operate(pass, kind, body, Via::Rest));
            }
        }
        let mut data = Vec::new();
        push_list(&mut data, notes.iter(), |out, (note, _)| out.extend_from_slice(note));
        let mut out = Vec::new();
        let at = NoteTime::Ms(self.now_ms());
        push_note(&mut out, at, "ox_multi-req", &data, true, "Submitting multiple orders.");
        Ok(out)
    }
    fn serve_token(&mut self, pass: Pass, body: &Json<'_>) -> Reply {
        if body.given("scope").and_then(Json::text) != Some("api") {
            return Err(bad("scope: invalid"));
        }
        let (usual, least, most) = TOKEN_S;
        let ttl_s = body.given("ttl").map_or(Some(usual), Json::integer);
        let ttl_s = ttl_s.filter(|ttl| (least..=most).contains(ttl));
        let ttl_s = ttl_s.ok_or_else(|| bad("ttl: invalid"))?;
        let writes = match body.given("writePermission") {
            Some(Json::Bool(writes)) => *writes,
            Some(value) => value.integer() == Some(1),
            None => false,
        };
        let caps = body.given("caps").map(Json::items);
        let has =
            |cap: &str| caps.is_none_or(|caps| caps.iter().any(|one| one.text() == Some(cap)));
        let permissions = Permissions {
            account_read: has("a"),
            history_read: has("a"),
            orders_read: has("o"),
            orders_write: has("o") && writes,
            positions_read: has("o"),
            positions_write: has("o") && writes,
            funding_read: has("f"),
            settings_read: has("s"),
            wallets_read: has("w"),
            wallets_write: has("w") && writes,
            withdraw_write: has("wd") && writes,
        };
        let text = self.mint_token(pass, TokenWish { permissions, ttl_s });
        let mut out = b"[".to_vec();
        push_text(&mut out, &text);
        out.push(b']');
        Ok(out)
    }
    /// Between wallets of the account: `{from,to,currency,amount}`.
    fn serve_transfer(&mut self, pass: Pass, body: &Json<'_>) -> Reply {
        permitted(pass.permissions.wallets_write)?;
        let text = |key: &str| body.given(key).and_then(Json::text).unwrap_or("");
        let wallet = |key: &str| Wallet::by_name(text(key)).ok_or_else(|| bad("wallet: invalid"));
        let (from, to) = (wallet("from")?, wallet("to")?);
        let currency = Currency::new(text("currency")).ok_or_else(|| bad("currency: invalid"))?;
        // The venue changes UST into USTF0 on the way; here every currency stays what it is.
        if body.given("currency_to").and_then(Json::text).is_some_and(|to| to != text("currency")) {
            return Err(bad("currency_to: invalid"));
        }
        let amount = body.given("amount").and_then(Json::units).unwrap_or(0);
        let free = self.available(pass.account, from, currency, 0);
        let now_ms = self.now_ms();
        let moved = i128::from(amount) <= free
            && self.bank.transfer(pass.account, (from, to), currency, amount, now_ms);
        if !moved {
            return Err(HttpReply::error(500, ERR_GENERIC, "Invalid transfer: not enough balance"));
        }
        self.is_dirty = true;
        let mut figure = Vec::new();
        super::number::push_plain(&mut figure, amount);
        let figure = String::from_utf8_lossy(&figure).into_owned();
        let text =
            format!("{figure} {currency} transferred from {} to {}", from.title(), to.title());
        self.tell_note(pass.account, "wallet_transfer", &text);
        for wallet in [from, to] {
            self.tell_wallet_to_all(pass.account, wallet, currency);
        }
        let mut out = Vec::new();
        let data = self.transfer_data((from, to), currency, amount);
        push_note(&mut out, NoteTime::Ms(now_ms), "acc_tf", &data, true, &text);
        Ok(out)
    }
    /// `{symbol,collateral}` → `[[1]]`.
    fn serve_collateral(&mut self, pass: Pass, body: &Json<'_>) -> Reply {
        permitted(pass.permissions.positions_write)?;
        let name = body.given("symbol").and_then(Json::text).unwrap_or("");
        let symbol = self.find_symbol(name).ok_or_else(|| bad("symbol: invalid"))?;
        let wanted = body.given("collateral").and_then(Json::units).unwrap_or(0);
        let position = self.bank.account(pass.account).positions.get(&symbol).copied();
        let Some(position) = position.filter(|position| position.leverage > 0) else {
            return Err(HttpReply::error(500, ERR_GENERIC, "position: invalid"));
        };
        let wanted = i128::from(wanted);
        let loss = position.profit(self.listing(symbol).mark()).min(0);
        let fits = wanted + loss >= self.collateral_min(symbol, &position);
        let quote = self.listing(symbol).quote;
        let more = wanted - position.collateral;
        if !fits || more > self.collateral_free(pass.account, quote, 0) {
            return Err(HttpReply::error(500, ERR_GENERIC, "collateral: invalid"));
        }
        self.bank.set_collateral(pass.account, symbol, quote, wanted, self.now.as_ms());
        self.is_dirty = true;
        self.tell_wallet_to_all(pass.account, Wallet::Margin, quote);
        Ok(b"[[1]]".to_vec())
    }
    /// What an order could have at a price: `[AMOUNT]` in base.
    fn serve_available(&mut self, pass: Pass, body: &Json<'_>) -> Reply {
        permitted(pass.permissions.orders_read)?;
        let account = pass.account;
        let name = body.get("symbol").and_then(Json::text).unwrap_or("");
        let symbol = self.find_symbol(name).ok_or_else(|| bad("symbol: invalid"))?;
        let listing = self.listing(symbol);
        let sells = match body.given("dir").and_then(Json::integer) {
            Some(1) | None => false,
            Some(-1) => true,
            Some(_) => return Err(bad("dir: invalid")),
        };
        let rate = body.given("rate").and_then(Json::units).unwrap_or(0);
        let px = i128::from(if rate > 0 { rate } else { listing.mark() });
        let worth = |units: i128| if px == 0 { 0 } else { units * 100_000_000 / px };
        let amount = match body.given("type").and_then(Json::text) {
            Some("EXCHANGE") if sells => self.available(account, Wallet::Exchange, listing.base, 0),
            Some("EXCHANGE") => worth(self.available(account, Wallet::Exchange, listing.quote, 0)),
            Some("MARGIN") => {
                let figures = self.margin_figures(account, listing.quote, 0);
                let rate_e4 = i128::from(listing.spec.margin_initial_e4.max(1));
                worth((figures.net() - figures.initial).max(0) * 10_000 / rate_e4)
            }
            Some("DERIV") => {
                let leverage = body.given("lev").and_then(Json::integer).unwrap_or(10);
                let free = self.collateral_free(account, listing.quote, 0).max(0);
                worth(free * i128::from(leverage.clamp(1, 100)))
            }
            Some("FUNDING") => 0,
            _ => return Err(bad("type: invalid")),
        };
        let mut out = b"[".to_vec();
        push_wide(&mut out, amount);
        out.push(b']');
        Ok(out)
    }
    /// `auth/r/…`; `None` = no such path.
    fn serve_account(
        &mut self,
        pass: Pass,
        parts: &[&str],
        body: &Json<'_>,
    ) -> Result<Option<Vec<u8>>, HttpReply> {
        let Pass { account, permissions: may } = pass;
        let mut out = Vec::new();
        let symbol = |name: &str| self.find_symbol(name).ok_or_else(|| bad("symbol: invalid"));
        match *parts {
            ["orders"] => {
                permitted(may.orders_read)?;
                self.push_orders_asked(account, None, body, &mut out)?;
            }
            ["orders", "hist"] => {
                permitted(may.orders_read && may.history_read)?;
                self.push_closed_orders(account, None, body, &mut out)?;
            }
            ["orders", name] => {
                permitted(may.orders_read)?;
                self.push_orders_asked(account, Some(symbol(name)?), body, &mut out)?;
            }
            ["orders", name, "hist"] => {
                permitted(may.orders_read && may.history_read)?;
                self.push_closed_orders(account, Some(symbol(name)?), body, &mut out)?;
            }
            ["trades", "hist"] => {
                permitted(may.history_read)?;
                self.push_own_trades(account, None, None, body, &mut out)?;
            }
            ["trades", name, "hist"] => {
                permitted(may.history_read)?;
                self.push_own_trades(account, Some(symbol(name)?), None, body, &mut out)?;
            }
            ["order", key, "trades"] => {
                permitted(may.orders_read)?;
                let (name, id) = key.rsplit_once(':').ok_or_else(|| bad("symbol: invalid"))?;
                let id = id.parse().map_err(|_| bad("id: invalid"))?;
                self.push_own_trades(account, Some(symbol(name)?), Some(id), body, &mut out)?;
            }
            ["ledgers", "hist"] => {
                permitted(may.history_read && may.wallets_read)?;
                self.push_ledger(account, None, body, &mut out)?;
            }
            ["ledgers", name, "hist"] => {
                permitted(may.history_read && may.wallets_read)?;
                let currency = Currency::new(name).ok_or_else(|| bad("currency: invalid"))?;
                self.push_ledger(account, Some(currency), body, &mut out)?;
            }
            ["wallets"] => {
                permitted(may.wallets_read)?;
                self.push_wallets(account, true, &mut out);
            }
            ["positions"] => {
                permitted(may.positions_read)?;
                self.push_positions(account, true, &mut out);
            }
            ["positions", "hist" | "audit"] => {
                permitted(may.positions_read && may.history_read)?;
                self.push_ended_positions(account, body, &mut out)?;
            }
            ["permissions"] => push_list(&mut out, may.scopes().into_iter(), |out, scope| {
                let (name, read, write) = scope;
                let text = format!("[\"{name}\",{},{}]", u8::from(read), u8::from(write));
                out.extend_from_slice(text.as_bytes());
            }),
            ["info", "user"] => {
                permitted(may.account_read)?;
                let text = format!(
                    "[{account},\"user{account}@example.com\",\"user{account}\",1500000000000,1,4,null,\"UTC\",\"en\",\"bitfinex\",1,null,null,null,null,null,null,null,null,null,null,0,null,0,0,0,[]"
                );
                out.extend_from_slice(text.as_bytes());
                // Documented up to 54; bitfinex-api-py wants all of it.
                (27..55).for_each(|_| out.extend_from_slice(b",null"));
                out.push(b']');
            }
            ["summary"] => {
                permitted(may.account_read)?;
                self.push_summary(account, &mut out);
            }
            ["info", "margin", "base"] => {
                permitted(may.account_read)?;
                self.push_margin_base(account, &mut out);
            }
            ["info", "margin", "sym_all"] => {
                permitted(may.account_read)?;
                let is_margin = |symbol: &u16| {
                    let listing = self.listing(*symbol);
                    listing.spec.margin_initial_e4 > 0 && !listing.is_derivative()
                };
                let symbols = (0..self.listings.len() as u16).filter(is_margin);
                push_list(&mut out, symbols, |out, symbol| {
                    self.push_margin_symbol(account, symbol, out);
                });
            }
            ["info", "margin", name] => {
                permitted(may.account_read)?;
                self.push_margin_symbol(account, symbol(name)?, &mut out);
            }
            _ => return Ok(None),
        }
        Ok(Some(out))
    }
    /// Open orders, all or those asked for by id, group or client id and its date.
    fn push_orders_asked(
        &self,
        account: u32,
        symbol: Option<u16>,
        body: &Json<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), HttpReply> {
        let ids: Vec<u64> = one_or_many(body, "id").iter().filter_map(Json::unsigned).collect();
        let gid = body.given("gid").and_then(Json::unsigned);
        let cid = body.given("cid").and_then(Json::unsigned);
        let day = match body.given("cid_date").and_then(Json::text) {
            Some(text) => {
                Some(super::date::read_day(text).ok_or_else(|| bad("cid_date: invalid"))?)
            }
            None => None,
        };
        let wanted = |order: &&Order| {
            let created = crate::base::time::WallNs::from_ms(order.created_ms).utc_day();
            symbol.is_none_or(|symbol| order.symbol == symbol)
                && (ids.is_empty() || ids.contains(&order.id))
                && gid.is_none_or(|gid| order.gid == Some(gid))
                && cid.is_none_or(|cid| order.cid == Some(cid))
                && (cid.is_none() || day.is_none_or(|day| created == day))
        };
        let open = self.bank.account(account).open.iter().filter_map(|id| self.orders.get(id));
        push_list(out, open.filter(wanted), |out, order| {
            order.push_array(out, self.symbol_name(order.symbol), Form::Known);
        });
        Ok(())
    }
    /// Positions that ended, as they were.
    fn push_ended_positions(
        &self,
        account: u32,
        body: &Json<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), HttpReply> {
        let range = Range::of_body(body, 50, 250)?;
        let ids: Vec<u64> = one_or_many(body, "id").iter().filter_map(Json::unsigned).collect();
        let ended = self.bank.account(account).ended.iter().rev();
        let wanted = ended.filter(|(_, position)| ids.is_empty() || ids.contains(&position.id));
        let rows = range.pick(wanted, |(_, position)| position.updated_ms);
        push_list(out, rows.into_iter(), |out, (symbol, position)| {
            self.push_position_row(account, *symbol, position, false, None, out);
        });
        Ok(())
    }
    fn push_ledger(
        &self,
        account: u32,
        currency: Option<Currency>,
        body: &Json<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), HttpReply> {
        let range = Range::of_body(body, 25, 2_500)?;
        let category = body.given("category").and_then(Json::integer);
        let wallet = body.given("wallet").and_then(Json::text);
        let rows = self.bank.account(account).ledger.iter().rev().filter(|entry| {
            currency.is_none_or(|currency| entry.currency == currency)
                && category.is_none_or(|category| entry.cause.category() == category)
                && wallet.is_none_or(|wallet| entry.wallet.name() == wallet)
        });
        let rows = range.pick(rows, |entry| entry.note.mts);
        push_list(out, rows.into_iter(), |out, entry| {
            let listing = self.listing(entry.note.symbol);
            let names = PairNames {
                pair: listing.pair(),
                base: listing.base.as_str(),
                quote: listing.quote.as_str(),
            };
            entry.push_array(out, names);
        });
        Ok(())
    }
    fn push_summary(&self, account: u32, out: &mut Vec<u8>) {
        let tier = self.fee_tier(account);
        let rows = [
            ([tier.maker_e6; 3], tier.deriv_maker_e6),
            ([tier.taker_crypto_e6, tier.taker_stable_e6, tier.taker_fiat_e6], tier.deriv_taker_e6),
        ];
        out.extend_from_slice(b"[null,null,null,null,");
        push_list(out, rows.into_iter(), |out, (spot, derivative)| {
            out.push(b'[');
            for rate in spot {
                push_number(out, rate * 100);
                out.push(b',');
            }
            out.extend_from_slice(b"null,null,");
            push_number(out, derivative * 100);
            out.push(b']');
        });
        let volume = self.bank.account(account).volume(self.now.utc_day());
        out.extend_from_slice(b",[[{\"curr\":\"Total (USD)\"");
        for name in ["vol", "vol_safe", "vol_maker", "vol_BFX", "vol_BFX_safe", "vol_BFX_maker"] {
            out.extend_from_slice(format!(",\"{name}\":").as_bytes());
            let is_maker = name.ends_with("maker");
            push_wide(out, if is_maker { 0 } else { volume });
        }
        out.extend_from_slice(b"}],{},");
        push_wide(out, volume);
        out.extend_from_slice(b"],[null,{},0],null,null,{\"leo_lev\":0,\"leo_amount_avg\":0}]");
    }
    fn push_closed_orders(
        &self,
        account: u32,
        symbol: Option<u16>,
        body: &Json<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), HttpReply> {
        let range = Range::of_body(body, 25, 2_500)?;
        let ids: Vec<u64> = one_or_many(body, "id").iter().filter_map(Json::unsigned).collect();
        let oldest = self.now_ms() - CLOSED_ORDERS_MS;
        let closed = self.bank.account(account).closed.iter().rev();
        let wanted = closed.filter(|order| {
            order.created_ms >= oldest
                && symbol.is_none_or(|symbol| order.symbol == symbol)
                && (ids.is_empty() || ids.contains(&order.id))
        });
        let rows = range.pick(wanted, |order| order.created_ms);
        push_list(out, rows.into_iter(), |out, order| {
            order.push_array(out, self.symbol_name(order.symbol), Form::Known);
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
        let oldest = self.now_ms() - ORDER_TRADES_MS;
        let trades = self.bank.account(account).trades.iter().rev().filter(|trade| {
            symbol.is_none_or(|symbol| trade.symbol == symbol)
                && order.is_none_or(|order| trade.order == order && trade.mts >= oldest)
        });
        let rows = range.pick(trades, |trade| trade.mts);
        push_list(out, rows.into_iter(), |out, trade| {
            push_own_trade(out, trade, self.symbol_name(trade.symbol), true);
        });
        Ok(())
    }
}
