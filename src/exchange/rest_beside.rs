//! Signed REST endpoints beside trading, which general clients ask all the same: funding, which is
//! not traded here, so that all of its lists are empty; movements, addresses, tokens, and the
//! limits of a derivative's collateral.

use super::account::Wallet;
use super::core::{Core, uuid_text};
use super::entry::NOT_PERMITTED;
use super::json::{Json, push_text};
use super::login::Pass;
use super::rest::{ERR_GENERIC, HttpReply, Reply, bad};
use super::rest_private::permitted;
use super::tape::push_list;
use super::wire::{NoteTime, push_note, push_wide};
use crate::base::rng::Rng;
use crate::model::Currency;

fn refused(text: &str) -> HttpReply {
    HttpReply::error(500, ERR_GENERIC, text)
}

impl Core {
    /// `auth/…`; `None` = no such path.
    pub(super) fn serve_beside(
        &mut self,
        pass: Pass,
        parts: &[&str],
        body: &Json<'_>,
    ) -> Result<Option<Vec<u8>>, HttpReply> {
        let Pass { account, permissions: may } = pass;
        let empty = || Ok(Some(b"[]".to_vec()));
        match *parts {
            ["r", "funding", "offers" | "loans" | "credits" | "trades", .., "hist"] => {
                permitted(may.funding_read && may.history_read)?;
                empty()
            }
            ["r", "funding", "offers" | "loans" | "credits"]
            | ["r", "funding", "offers" | "loans" | "credits", _] => {
                permitted(may.funding_read)?;
                empty()
            }
            ["r", "info", "funding", key] => {
                permitted(may.funding_read)?;
                let mut out = b"[\"sym\",".to_vec();
                push_text(&mut out, key);
                out.extend_from_slice(b",[0,0,0,0]]");
                Ok(Some(out))
            }
            ["w", "funding", ..] => Err(refused(NOT_PERMITTED)),
            // Money neither comes nor goes.
            ["r", "movements", "hist"] | ["r", "movements", _, "hist"] => {
                permitted(may.history_read && may.wallets_read)?;
                empty()
            }
            ["r", "movements", "info"] => Err(refused("movement: not found")),
            ["w", "deposit", "address"] => self.serve_address(pass, body).map(Some),
            ["w", "withdraw"] => {
                permitted(may.withdraw_write)?;
                Err(refused("Invalid withdrawal: nothing leaves this exchange"))
            }
            ["r", "wallets", "hist"] => {
                permitted(may.history_read && may.wallets_read)?;
                let mut out = Vec::new();
                self.push_wallets(account, true, &mut out);
                Ok(Some(out))
            }
            ["r", "positions", "snap"] => {
                permitted(may.positions_read && may.history_read)?;
                empty()
            }
            ["r", "logins" | "audit", "hist"] | ["r", "alerts"] => {
                permitted(may.account_read)?;
                empty()
            }
            ["r", "settings"] => {
                permitted(may.settings_read)?;
                empty()
            }
            ["w", "token", "del"] => {
                let text = body.given("token").and_then(Json::text).unwrap_or("");
                match self.forget_token(account, text) {
                    true => Ok(Some(b"[1]".to_vec())),
                    false => Err(bad("token: invalid")),
                }
            }
            // Documented in the plural, asked for in the singular by the venue's own client.
            ["calc", "deriv", "collateral", "limit" | "limits"]
            | ["w", "deriv", "collateral", "limits"] => {
                permitted(may.positions_read)?;
                self.collateral_limits(account, body).map(Some)
            }
            _ => Ok(None),
        }
    }
    /// `{wallet,method,op_renew}` → an address that nobody can pay to; the same one every time.
    fn serve_address(&mut self, pass: Pass, body: &Json<'_>) -> Reply {
        permitted(pass.permissions.wallets_write)?;
        let text = |key: &str| body.given(key).and_then(Json::text).unwrap_or("");
        if Wallet::by_name(text("wallet")).is_none() {
            return Err(bad("wallet: invalid"));
        }
        let method = text("method");
        let currency = super::conf::currency_of_method(method);
        let currency = currency.ok_or_else(|| bad("method: invalid"))?;
        let seed = method.bytes().fold(u64::from(pass.account), |seed, byte| {
            seed.wrapping_mul(31).wrapping_add(u64::from(byte.to_ascii_lowercase()))
        });
        let mut data = b"[null,".to_vec();
        push_text(&mut data, &method.to_uppercase());
        data.push(b',');
        push_text(&mut data, currency);
        data.extend_from_slice(b",null,");
        push_text(&mut data, &format!("nowhere-{}", uuid_text(&mut Rng::new(seed))));
        data.extend_from_slice(b",null]");
        let mut out = Vec::new();
        push_note(&mut out, NoteTime::Ms(self.now_ms()), "acc_dep", &data, true, "success");
        Ok(out)
    }
    /// `{symbol}` → `[LEAST,MOST]` that a position's collateral may be set to.
    fn collateral_limits(&self, account: u32, body: &Json<'_>) -> Reply {
        let name = body.given("symbol").and_then(Json::text).unwrap_or("");
        let symbol = self.find_symbol(name).ok_or_else(|| bad("symbol: invalid"))?;
        let position = self.bank.account(account).positions.get(&symbol);
        let Some(position) = position.filter(|position| position.leverage > 0) else {
            return Err(refused("position: invalid"));
        };
        let loss = position.profit(self.listing(symbol).mark()).min(0);
        let least = self.collateral_min(symbol, position) - loss;
        let free = self.collateral_free(account, self.listing(symbol).quote, 0).max(0);
        let mut out = Vec::new();
        let limits = [least, (position.collateral + free).max(least)];
        push_list(&mut out, limits.into_iter(), push_wide);
        Ok(out)
    }
    /// The DATA of a transfer's answer: `[MTS,FROM,TO,_,CURRENCY,CURRENCY_TO,_,AMOUNT]`.
    pub(super) fn transfer_data(
        &self,
        (from, to): (Wallet, Wallet),
        currency: Currency,
        amount: i64,
    ) -> Vec<u8> {
        let mut data = b"[".to_vec();
        super::number::push_i64(&mut data, self.now_ms());
        for name in [from.name(), to.name()] {
            data.push(b',');
            push_text(&mut data, name);
        }
        data.extend_from_slice(b",null,");
        push_text(&mut data, currency.as_str());
        data.push(b',');
        push_text(&mut data, currency.as_str());
        data.extend_from_slice(b",null,");
        super::number::push_number(&mut data, amount);
        data.push(b']');
        data
    }
}
