//! Who a client is: keys, tokens, nonces, and what an account is told when it comes.

use super::account::Wallet;
use super::config::Permissions;
use super::core::{Core, uuid_text};
use super::hub::{Auth, Class, Filters};
use super::json::{Json, push_text};
use super::number::push_u64;
use super::order::Form;
use super::sign::{NONCE_TOP, verify};
use super::talk::Due;
use super::tape::push_list;
use super::wire::{push_position, push_wallet, push_wide};
use crate::model::Currency;

const ERR_AUTH: u32 = 10_100;
const ERR_NONCE: u32 = 10_114;
const ERR_UNAUTH: u32 = 10_200;
/// Tokens kept; the oldest goes.
const TOKENS_MAX: usize = 256;

/// An account, and what may be done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pass {
    pub account: u32,
    pub permissions: Permissions,
}

/// What a token shall allow, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct TokenWish {
    pub permissions: Permissions,
    pub ttl_s: i64,
}

/// A key's stand-in for a while. Tokens do not survive a restart.
#[derive(Debug)]
pub(super) struct Token {
    text: String,
    pass: Pass,
    until_ms: i64,
}

impl Core {
    fn refuse_auth(&mut self, conn: u64, code: u32, text: &str) {
        let text = format!(
            "{{\"event\":\"auth\",\"status\":\"FAILED\",\"chanId\":0,\"code\":{code},\"msg\":\"{text}\"}}"
        );
        self.hub.event(conn, text.as_bytes());
    }
    pub(super) fn authenticate(&mut self, conn: u64, event: &Json<'_>) {
        let Some(session) = self.hub.session(conn) else { return };
        if session.auth.is_some() {
            self.refuse_auth(conn, ERR_AUTH, "auth: dup");
            return;
        }
        let text = |key: &str| event.given(key).and_then(Json::text).unwrap_or("");
        let pass = match event.given("token").and_then(Json::text) {
            Some(token) => self.pass_of_token(token).ok_or((ERR_AUTH, "token: invalid")),
            None => {
                let payload = text("authPayload");
                let nonce = event.given("authNonce").and_then(Json::unsigned);
                let parts = [payload.as_bytes()];
                match payload {
                    "" => Err((ERR_AUTH, "apikey: invalid")),
                    _ => self.pass_of_key(text("apiKey"), &parts, text("authSig"), nonce),
                }
            }
        };
        let pass = match pass {
            Ok(pass) => pass,
            Err((code, text)) => {
                self.refuse_auth(conn, code, text);
                return;
            }
        };
        let filters = event.get("filter").map_or(&[][..], Json::items);
        let filters = filters.iter().filter_map(Json::text).map(str::to_owned).collect();
        let auth = Auth {
            account: pass.account,
            permissions: pass.permissions,
            seq: 0,
            filters: Filters(filters),
            cancels_on_close: event.given("dms").and_then(Json::unsigned) == Some(4),
        };
        if let Some(session) = self.hub.session(conn) {
            session.auth = Some(auth);
        }
        let mut out = Vec::with_capacity(512);
        out.extend_from_slice(b"{\"event\":\"auth\",\"status\":\"OK\",\"chanId\":0,\"userId\":");
        push_u64(&mut out, u64::from(pass.account));
        out.extend_from_slice(b",\"auth_id\":");
        push_text(&mut out, &self.server_id);
        out.extend_from_slice(b",\"caps\":{");
        for (at, (scope, read, write)) in pass.permissions.scopes().into_iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let (read, write) = (u8::from(read), u8::from(write));
            let cap = format!("{comma}\"{scope}\":{{\"read\":{read},\"write\":{write}}}");
            out.extend_from_slice(cap.as_bytes());
        }
        out.extend_from_slice(b"}}");
        self.hub.event(conn, &out);
        self.tell_account(conn, pass.account);
    }
    /// Checks key, signature and nonce, in that order.
    pub(super) fn pass_of_key(
        &mut self,
        api_key: &str,
        signed: &[&[u8]],
        signature: &str,
        nonce: Option<u64>,
    ) -> Result<Pass, (u32, &'static str)> {
        let found = self.find_key(api_key);
        let Some((account, key)) = found else { return Err((ERR_AUTH, "apikey: invalid")) };
        let spec = self.config.accounts[account as usize - 1].keys().nth(key);
        let Some((_, _, permissions)) =
            spec.filter(|(_, secret, _)| verify(secret, signed, signature))
        else {
            return Err((ERR_AUTH, "apikey: invalid"));
        };
        if !self.take_nonce(account, key, nonce) {
            return Err((ERR_NONCE, "nonce: small"));
        }
        Ok(Pass { account, permissions })
    }
    /// Takes a nonce if it is above every earlier one of the key.
    fn take_nonce(&mut self, account: u32, key: usize, nonce: Option<u64>) -> bool {
        let Some(last) = self.bank.account_mut(account).nonces.get_mut(key) else { return false };
        match nonce {
            Some(nonce) if nonce > *last && nonce <= NONCE_TOP => {
                *last = nonce;
                self.is_dirty = true;
                true
            }
            _ => false,
        }
    }
    /// What a token still allows.
    pub(super) fn pass_of_token(&self, text: &str) -> Option<Pass> {
        let token = self.tokens.iter().find(|token| token.text == text)?;
        (token.until_ms > self.now_ms()).then_some(token.pass)
    }
    /// Makes a token of a key's rights, or of the part of them that is asked for.
    pub(super) fn mint_token(&mut self, pass: Pass, wish: TokenWish) -> String {
        let now_ms = self.now_ms();
        self.tokens.retain(|token| token.until_ms > now_ms);
        if self.tokens.len() == TOKENS_MAX {
            self.tokens.remove(0);
        }
        let text = format!("pub:api:{}-caps", uuid_text(&mut self.token_rng));
        let permissions = pass.permissions.and(wish.permissions);
        let pass = Pass { permissions, ..pass };
        let until_ms = now_ms + wish.ttl_s * 1_000;
        self.tokens.push(Token { text: text.clone(), pass, until_ms });
        text
    }
    /// Ends a token of the account. False where it has no such token.
    pub(super) fn forget_token(&mut self, account: u32, text: &str) -> bool {
        let before = self.tokens.len();
        self.tokens.retain(|token| token.text != text || token.pass.account != account);
        self.tokens.len() < before
    }
    /// The burst after authentication: positions, wallets, orders, funding, then the computed
    /// fields.
    fn tell_account(&mut self, conn: u64, account: u32) {
        let now = self.now;
        let mut body = b"\"ps\",".to_vec();
        self.push_positions(account, false, &mut body);
        self.hub.send_private_to(conn, Class::Trading(""), &body, false, now);
        body = b"\"ws\",".to_vec();
        self.push_wallets(account, false, &mut body);
        self.hub.send_private_to(conn, Class::Wallet("", ""), &body, false, now);
        body = b"\"os\",".to_vec();
        self.push_open_orders(account, &mut body);
        self.hub.send_private_to(conn, Class::Trading(""), &body, false, now);
        for kind in ["\"fos\",[]", "\"fcs\",[]", "\"fls\",[]"] {
            self.hub.send_private_to(conn, Class::Funding, kind.as_bytes(), false, now);
        }
        let wait_ms = self.config.figures_after_ms;
        if wait_ms > 0 && self.has_started {
            self.plan(wait_ms, Due::Figures { conn, account });
        } else {
            self.tell_figures(conn, account);
        }
    }
    /// What is computed apart from the snapshots, and follows them: free balances, the account's
    /// worth, profits.
    pub(super) fn tell_figures(&mut self, conn: u64, account: u32) {
        let wallets: Vec<_> = self.bank.account(account).wallets.keys().copied().collect();
        for (wallet, currency) in wallets {
            self.tell_wallet(conn, account, wallet, currency);
        }
        self.tell_balance(conn, account);
        let symbols: Vec<u16> = self.bank.account(account).positions.keys().copied().collect();
        for symbol in symbols {
            self.tell_position_to(conn, account, symbol);
        }
    }
    pub(super) fn tell_wallet(
        &mut self,
        conn: u64,
        account: u32,
        wallet: Wallet,
        currency: Currency,
    ) {
        let balance = self.bank.account(account).balance(wallet, currency);
        let free = self.available(account, wallet, currency, 0);
        let mut body = b"\"wu\",".to_vec();
        push_wallet(&mut body, wallet, currency.as_str(), balance, Some(free), None);
        let class = Class::Wallet(wallet.name(), currency.as_str());
        self.hub.send_private_to(conn, class, &body, true, self.now);
    }
    /// The same to every socket of the account.
    pub(super) fn tell_wallet_to_all(&mut self, account: u32, wallet: Wallet, currency: Currency) {
        let balance = self.bank.account(account).balance(wallet, currency);
        let free = self.available(account, wallet, currency, 0);
        let mut body = b"\"wu\",".to_vec();
        push_wallet(&mut body, wallet, currency.as_str(), balance, Some(free), None);
        let class = Class::Wallet(wallet.name(), currency.as_str());
        self.hub.send_private(account, class, &body, self.now);
    }
    pub(super) fn tell_balance(&mut self, conn: u64, account: u32) {
        let dollars: i128 = self
            .bank
            .account(account)
            .wallets
            .iter()
            .filter(|((_, currency), _)| matches!(currency.as_str(), "USD" | "UST"))
            .map(|(_, units)| *units)
            .sum();
        let mut body = b"\"bu\",[".to_vec();
        push_wide(&mut body, dollars);
        body.push(b',');
        push_wide(&mut body, dollars);
        body.push(b']');
        self.hub.send_private_to(conn, Class::Balance, &body, true, self.now);
    }
    pub(super) fn tell_position_to(&mut self, conn: u64, account: u32, symbol: u16) {
        let Some(position) = self.bank.account(account).positions.get(&symbol).copied() else {
            return;
        };
        let mut body = b"\"pu\",".to_vec();
        self.push_position_row(account, symbol, &position, true, None, &mut body);
        let class = Class::Trading(&self.listings[symbol as usize].spec.name);
        self.hub.send_private_to(conn, class, &body, true, self.now);
    }
    pub(super) fn push_positions(&self, account: u32, computed: bool, out: &mut Vec<u8>) {
        push_list(out, self.bank.account(account).positions.iter(), |out, (symbol, position)| {
            match computed {
                true => self.push_position_row(account, *symbol, position, true, None, out),
                false => {
                    let name = self.symbol_name(*symbol);
                    push_position(out, position, name, true, None, None);
                }
            }
        });
    }
    pub(super) fn push_wallets(&self, account: u32, computed: bool, out: &mut Vec<u8>) {
        push_list(
            out,
            self.bank.account(account).wallets.iter(),
            |out, ((wallet, currency), units)| {
                let free = computed.then(|| self.available(account, *wallet, *currency, 0));
                push_wallet(out, *wallet, currency.as_str(), *units, free, None);
            },
        );
    }
    fn push_open_orders(&self, account: u32, out: &mut Vec<u8>) {
        let open = self.bank.account(account).open.iter().filter_map(|id| self.orders.get(id));
        push_list(out, open, |out, order| {
            order.push_array(out, self.symbol_name(order.symbol), Form::Known);
        });
    }
    pub(super) fn leave_account(&mut self, conn: u64) {
        let left = self.hub.session(conn).and_then(|session| session.auth.take());
        if left.is_none() {
            self.send_error(conn, &Json::Null, "unauth: invalid", ERR_UNAUTH, None);
            return;
        }
        self.hub.event(conn, b"{\"event\":\"unauth\",\"status\":\"OK\",\"chanId\":0}");
    }
    /// A socket is gone; a dead-man switch cancels the account's orders.
    pub(super) fn bye(&mut self, conn: u64) {
        let Some(session) = self.hub.close(conn) else { return };
        let Some(auth) = session.auth.filter(|auth| auth.cancels_on_close) else { return };
        let open: Vec<u64> = self.bank.account(auth.account).open.iter().copied().collect();
        for id in open {
            self.cancel_order(id);
        }
    }
}
