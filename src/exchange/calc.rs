//! `calc`: figures that the account stream carries only when they are asked for.

use super::account::Wallet;
use super::core::Core;
use super::hub::Class;
use super::json::{Json, push_text};
use super::login::Pass;
use super::number::push_number;
use super::wire::push_wide;
use crate::base::units::Side;
use crate::model::Currency;

/// `calc` messages a second.
const CALC_PER_SECOND: u32 = 8;
/// Items of one `calc` message.
const CALC_ITEMS: usize = 30;
/// Generic error.
const ERR_GENERIC: u32 = 10_001;

impl Core {
    pub(super) fn calculate(&mut self, conn: u64, pass: Pass, body: &Json<'_>) {
        let second = self.now_ms().div_euclid(1_000);
        let Some(session) = self.hub.session(conn) else { return };
        if session.calc.0 != second {
            session.calc = (second, 0);
        }
        session.calc.1 += 1;
        if session.calc.1 > CALC_PER_SECOND || body.items().len() > CALC_ITEMS {
            self.stats.refused += 1;
            self.send_error(conn, &Json::Null, "calc: limit", ERR_GENERIC, None);
            return;
        }
        for item in body.items() {
            // Official clients wrap every key in an array of its own.
            let key = item.text().or_else(|| item.items().first().and_then(Json::text));
            if let Some(key) = key {
                self.calculate_one(conn, pass.account, key);
            }
        }
    }
    fn calculate_one(&mut self, conn: u64, account: u32, key: &str) {
        let mut body = Vec::new();
        if key == "balance" {
            self.tell_balance(conn, account);
        } else if key == "margin_base" {
            body.extend_from_slice(b"\"miu\",");
            self.push_margin_base(account, &mut body);
        } else if let Some(name) = key.strip_prefix("margin_sym_") {
            let Some(symbol) = self.find_symbol(name) else { return };
            body.extend_from_slice(b"\"miu\",");
            self.push_margin_symbol(account, symbol, &mut body);
        } else if let Some(name) = key.strip_prefix("funding_sym_") {
            body.extend_from_slice(b"\"fiu\",[\"sym\",");
            push_text(&mut body, name);
            body.extend_from_slice(b",[0,0,0,0]]");
        } else if let Some(rest) = key.strip_prefix("wallet_") {
            let Some((wallet, currency)) = rest.split_once('_') else { return };
            let wallet = Wallet::by_name(wallet);
            if let (Some(wallet), Some(currency)) = (wallet, Currency::new(currency)) {
                self.tell_wallet(conn, account, wallet, currency);
            }
        } else if let Some(name) = key.strip_prefix("position_")
            && let Some(symbol) = self.find_symbol(name)
        {
            self.tell_position_to(conn, account, symbol);
        }
        if !body.is_empty() {
            let class = match body.starts_with(b"\"fiu\"") {
                true => Class::Funding,
                false => Class::Balance,
            };
            self.hub.send_private_to(conn, class, &body, true, self.now);
        }
    }
    /// `["base",[PL,SWAPS,BALANCE,NET,MIN]]`, in dollars.
    pub(super) fn push_margin_base(&self, account: u32, out: &mut Vec<u8>) {
        let dollar = Currency::new("USD").unwrap_or_default();
        let figures = self.margin_figures(account, dollar, 0);
        out.extend_from_slice(b"[\"base\",[");
        push_wide(out, figures.profit);
        out.extend_from_slice(b",0");
        for figure in [figures.balance, figures.net(), figures.minimum] {
            out.push(b',');
            push_wide(out, figure);
        }
        out.extend_from_slice(b"]]");
    }
    /// `["sym",SYMBOL,[TRADABLE,GROSS,BUY,SELL,…]]`: the first two in quote, the others in base.
    pub(super) fn push_margin_symbol(&self, account: u32, symbol: u16, out: &mut Vec<u8>) {
        let listing = self.listing(symbol);
        let figures = self.margin_figures(account, listing.quote, 0);
        let rate_e4 = i128::from(listing.spec.margin_initial_e4);
        let power = |margin: i128| if rate_e4 == 0 { 0 } else { margin.max(0) * 10_000 / rate_e4 };
        let tradable = power(figures.net() - figures.initial);
        out.extend_from_slice(b"[\"sym\",");
        push_text(out, &listing.spec.name);
        out.extend_from_slice(b",[");
        push_wide(out, tradable);
        out.push(b',');
        push_wide(out, power(figures.net()));
        for side in [Side::Sell, Side::Buy] {
            out.push(b',');
            match listing.depth.public_best(side) {
                Some(px) if px > 0 => push_wide(out, tradable * 100_000_000 / i128::from(px)),
                _ => push_number(out, 0),
            }
        }
        out.extend_from_slice(b",null,null,null,null]]");
    }
}
