//! What sockets say and hear: events (conf, subscribe, auth, ping) and the account's input
//! messages.

use super::account::Wallet;
use super::core::Core;
use super::hub::{Auth, Class, FeedKey, Filters};
use super::json::{Json, push_text};
use super::market::capture::digits_of;
use super::number::{push_i64, push_u64};
use super::order::{Request, type_text};
use super::sign::{NONCE_TOP, verify};
use super::tape::{frame_of, push_list};
use super::wire::{NoteTime, push_note, push_position, push_wallet, push_wide};
use crate::base::time::WallNs;
use crate::base::units::Side;

const ERR_UNKNOWN: u32 = 10_000;
const ERR_CONF: u32 = 10_050;
const ERR_AUTH: u32 = 10_100;
const ERR_NONCE: u32 = 10_114;
const ERR_UNAUTH: u32 = 10_200;
const ERR_SUBSCRIBE: u32 = 10_300;
const ERR_SUBSCRIBE_TWICE: u32 = 10_301;
const ERR_SUBSCRIBE_LIMIT: u32 = 10_305;
const ERR_UNSUBSCRIBE: u32 = 10_400;
/// `calc` messages a second.
const CALC_PER_SECOND: u32 = 8;
/// Items of one `calc` message.
const CALC_ITEMS: usize = 30;

/// Where a request came from; decides the form of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    Socket,
    Rest,
}

/// What is wrong with a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SubscribeError {
    Channel,
    Symbol,
    Length,
    Frequency,
    Precision,
    Key,
}

impl SubscribeError {
    /// In the venue's words.
    const fn text(self) -> &'static str {
        match self {
            SubscribeError::Channel => "channel: unknown",
            SubscribeError::Symbol => "symbol: invalid",
            SubscribeError::Length => "length: invalid",
            SubscribeError::Frequency => "freq: invalid",
            SubscribeError::Precision => "precision: invalid",
            SubscribeError::Key => "key: invalid",
        }
    }
}

impl Core {
    pub(super) fn greet(&mut self, conn: u64) {
        let status = if self.in_maintenance { 0 } else { 1 };
        let text = format!(
            "{{\"event\":\"info\",\"version\":2,\"serverId\":\"{}\",\"platform\":{{\"status\":{status}}}}}",
            self.server_id
        );
        self.hub.event(conn, text.as_bytes());
    }
    pub(super) fn hear(&mut self, conn: u64, text: &[u8]) {
        if text.len() > self.config.limits.message_size {
            self.stats.garbage += 1;
            return;
        }
        match Json::parse(text) {
            Some(message @ Json::Object(_)) => self.hear_event(conn, &message),
            Some(message @ Json::Array(_)) => self.hear_input(conn, &message),
            _ => self.stats.garbage += 1, // the venue ignores it in silence
        }
    }
    fn hear_event(&mut self, conn: u64, event: &Json<'_>) {
        match event.get("event").and_then(Json::text) {
            Some("ping") => {
                let mut out = b"{\"event\":\"pong\",\"ts\":".to_vec();
                push_i64(&mut out, self.now_ms());
                if let Some(cid) = event.given("cid") {
                    out.extend_from_slice(b",\"cid\":");
                    cid.write(&mut out);
                }
                out.push(b'}');
                self.hub.event(conn, &out);
            }
            Some("conf") => self.configure(conn, event),
            Some("subscribe") => self.subscribe(conn, event),
            Some("unsubscribe") => self.unsubscribe(conn, event),
            Some("auth") => self.authenticate(conn, event),
            Some("unauth") => self.leave_account(conn),
            other => {
                let text = format!("event: invalid ({})", other.unwrap_or(""));
                self.send_error(conn, &Json::Null, &text, ERR_UNKNOWN, None);
            }
        }
    }
    /// `{…echo of the request…,"event":"error","msg":…,"code":…}`.
    fn send_error(
        &mut self,
        conn: u64,
        request: &Json<'_>,
        text: &str,
        code: u32,
        chan: Option<u64>,
    ) {
        let mut out = b"{".to_vec();
        if let Json::Object(members) = request {
            for (key, value) in members.iter().filter(|(key, _)| key != "event") {
                push_text(&mut out, key);
                out.push(b':');
                value.write(&mut out);
                out.push(b',');
            }
        }
        out.extend_from_slice(b"\"event\":\"error\",\"msg\":");
        push_text(&mut out, text);
        out.extend_from_slice(b",\"code\":");
        push_u64(&mut out, code as u64);
        if let Some(chan) = chan {
            out.extend_from_slice(b",\"chanId\":");
            push_u64(&mut out, chan);
        }
        if let Some(symbol) = request.get("symbol").and_then(Json::text) {
            out.extend_from_slice(b",\"pair\":");
            push_text(&mut out, symbol.strip_prefix('t').unwrap_or(symbol));
        }
        out.push(b'}');
        self.hub.event(conn, &out);
    }
    fn configure(&mut self, conn: u64, event: &Json<'_>) {
        let flags = match event.given("flags") {
            Some(flags) => flags.unsigned().and_then(|flags| u32::try_from(flags).ok()),
            None => Some(0),
        };
        let Some(flags) = flags else {
            self.send_error(conn, event, "conf: invalid", ERR_CONF, None);
            return;
        };
        if let Some(session) = self.hub.session(conn) {
            session.flags = flags;
        }
        let text = format!("{{\"event\":\"conf\",\"status\":\"OK\",\"flags\":{flags}}}");
        self.hub.event(conn, text.as_bytes());
    }
    /// What a subscription asks for, or the venue's words of refusal. `None` = no answer at all.
    fn read_subscription(&self, event: &Json<'_>) -> Option<Result<FeedKey, SubscribeError>> {
        let text = |key: &str| event.given(key).and_then(Json::text);
        let symbol = || {
            let name = text("symbol").or_else(|| text("pair"))?;
            self.find_symbol(name)
        };
        Some(match text("channel") {
            Some("ticker") => {
                symbol().map(|symbol| FeedKey::Ticker { symbol }).ok_or(SubscribeError::Symbol)
            }
            Some("trades") => {
                symbol().map(|symbol| FeedKey::Trades { symbol }).ok_or(SubscribeError::Symbol)
            }
            Some("book") => self.read_book(event, symbol()),
            Some("candles") => self.read_candles(text("key").unwrap_or("")),
            Some("status") => {
                let key = text("key").unwrap_or("");
                let symbol = key.strip_prefix("deriv:").and_then(|name| self.find_symbol(name));
                let symbol = symbol.filter(|symbol| self.listing(*symbol).is_derivative())?;
                Ok(FeedKey::Status { symbol })
            }
            _ => Err(SubscribeError::Channel),
        })
    }
    fn read_book(&self, event: &Json<'_>, symbol: Option<u16>) -> Result<FeedKey, SubscribeError> {
        let symbol = symbol.ok_or(SubscribeError::Symbol)?;
        let text = |key: &str| event.given(key).and_then(Json::text);
        let len = match event.given("len").or_else(|| event.given("length")) {
            None => 25,
            Some(len) => match len.unsigned() {
                Some(len @ (1 | 25 | 100 | 250)) => len as u16,
                _ => return Err(SubscribeError::Length),
            },
        };
        let slow = match text("freq").unwrap_or("F0") {
            "F0" => false,
            "F1" => true,
            _ => return Err(SubscribeError::Frequency),
        };
        let prec = text("prec").unwrap_or("P0");
        if prec == "R0" {
            // A recording of levels knows no orders.
            return match self.listing(symbol).depth.is_recorded() {
                true => Err(SubscribeError::Precision),
                false => Ok(FeedKey::Raw { symbol, slow, len }),
            };
        }
        let digits = digits_of(prec).ok_or(SubscribeError::Precision)?;
        Ok(FeedKey::Book { symbol, digits, slow, len })
    }
    fn read_candles(&self, key: &str) -> Result<FeedKey, SubscribeError> {
        let mut parts = key.splitn(3, ':');
        let kind = parts.next().filter(|kind| *kind == "trade");
        let frame = kind.and_then(|_| frame_of(parts.next()?));
        let symbol = frame.and_then(|_| self.find_symbol(parts.next()?));
        match (frame, symbol) {
            (Some(frame), Some(symbol)) => Ok(FeedKey::Candles { symbol, frame: frame as u16 }),
            _ => Err(SubscribeError::Key),
        }
    }
    fn subscribe(&mut self, conn: u64, event: &Json<'_>) {
        let key = match self.read_subscription(event) {
            None => return,
            Some(Err(error)) => {
                self.send_error(conn, event, error.text(), ERR_SUBSCRIBE, None);
                return;
            }
            Some(Ok(key)) => key,
        };
        let feed = self.open_feed(key);
        let limit = self.config.limits.channels_per_socket;
        let Some(session) = self.hub.session(conn) else { return };
        let existing = session.channels.iter().find(|channel| channel.feed == feed);
        if let Some(chan) = existing.map(|channel| channel.id) {
            let text = "subscribe: dup";
            self.send_error(conn, event, text, ERR_SUBSCRIBE_TWICE, Some(chan));
            return;
        }
        if session.channels.len() + usize::from(session.auth.is_some()) >= limit {
            self.send_error(conn, event, "subscribe: limit", ERR_SUBSCRIBE_LIMIT, None);
            return;
        }
        let Some(chan) = self.hub.subscribe(conn, feed) else { return };
        let mut out = b"{\"event\":\"subscribed\",\"channel\":".to_vec();
        push_text(&mut out, event.get("channel").and_then(Json::text).unwrap_or(""));
        out.extend_from_slice(b",\"chanId\":");
        push_u64(&mut out, chan);
        self.push_ack_fields(key, event, &mut out);
        out.push(b'}');
        self.hub.event(conn, &out);
        self.send_snapshot(conn, chan, feed);
    }
    fn push_ack_fields(&self, key: FeedKey, event: &Json<'_>, out: &mut Vec<u8>) {
        let mut field = |name: &str, value: &str| {
            out.push(b',');
            push_text(out, name);
            out.push(b':');
            push_text(out, value);
        };
        let listing = self.listing(key.symbol());
        match key {
            FeedKey::Candles { .. } | FeedKey::Status { .. } => {
                field("key", event.get("key").and_then(Json::text).unwrap_or(""));
            }
            _ => field("symbol", &listing.spec.name),
        }
        let book = match key {
            FeedKey::Book { digits, slow, len, .. } => {
                Some((["P4", "P3", "P2", "P1", "P0"][digits as usize - 1], slow, len))
            }
            FeedKey::Raw { slow, len, .. } => Some(("R0", slow, len)),
            _ => None,
        };
        if let Some((prec, slow, len)) = book {
            field("prec", prec);
            field("freq", if slow { "F1" } else { "F0" });
            field("len", &len.to_string());
        }
        if let Some(id) = event.given("subId") {
            out.extend_from_slice(b",\"subId\":");
            id.write(out);
        }
        if !matches!(key, FeedKey::Candles { .. } | FeedKey::Status { .. }) {
            out.extend_from_slice(b",\"pair\":");
            push_text(out, listing.pair());
        }
    }
    fn unsubscribe(&mut self, conn: u64, event: &Json<'_>) {
        let chan = event.get("chanId").and_then(Json::unsigned);
        match chan.filter(|chan| self.hub.unsubscribe(conn, *chan)) {
            Some(chan) => {
                let text =
                    format!("{{\"event\":\"unsubscribed\",\"status\":\"OK\",\"chanId\":{chan}}}");
                self.hub.event(conn, text.as_bytes());
            }
            None => self.send_error(conn, event, "unsubscribe: invalid", ERR_UNSUBSCRIBE, None),
        }
    }
    fn refuse_auth(&mut self, conn: u64, code: u32, text: &str) {
        let text = format!(
            "{{\"event\":\"auth\",\"status\":\"FAILED\",\"chanId\":0,\"code\":{code},\"msg\":\"{text}\"}}"
        );
        self.hub.event(conn, text.as_bytes());
    }
    fn authenticate(&mut self, conn: u64, event: &Json<'_>) {
        let Some(session) = self.hub.session(conn) else { return };
        if session.auth.is_some() {
            self.refuse_auth(conn, ERR_AUTH, "auth: dup");
            return;
        }
        let text = |key: &str| event.given(key).and_then(Json::text).unwrap_or("");
        let signature = text("authSig");
        let payload = text("authPayload");
        let nonce = event.given("authNonce").and_then(Json::unsigned);
        let account = self.find_account(text("apiKey")).filter(|account| {
            let secret = &self.config.accounts[*account as usize - 1].api_secret;
            !payload.is_empty() && verify(secret, &[payload.as_bytes()], signature)
        });
        let Some(account) = account else {
            self.refuse_auth(conn, ERR_AUTH, "apikey: invalid");
            return;
        };
        if !self.take_nonce(account, nonce) {
            self.refuse_auth(conn, ERR_NONCE, "nonce: small");
            return;
        }
        let filters = event.get("filter").map_or(&[][..], Json::items);
        let filters = filters.iter().filter_map(Json::text).map(str::to_owned).collect();
        let auth = Auth {
            account,
            seq: 0,
            filters: Filters(filters),
            cancels_on_close: event.given("dms").and_then(Json::unsigned) == Some(4),
        };
        if let Some(session) = self.hub.session(conn) {
            session.auth = Some(auth);
        }
        let permissions = self.config.accounts[account as usize - 1].permissions;
        let caps = |read: bool, write: bool| {
            format!("{{\"read\":{},\"write\":{}}}", u8::from(read), u8::from(write))
        };
        let orders = caps(true, permissions.orders_write);
        let text = format!(
            "{{\"event\":\"auth\",\"status\":\"OK\",\"chanId\":0,\"userId\":{account},\"auth_id\":\"{}\",\"caps\":{{\"orders\":{orders},\"account\":{},\"funding\":{},\"history\":{},\"wallets\":{},\"withdraw\":{},\"positions\":{orders},\"ui_withdraw\":{}}}}}",
            self.server_id,
            caps(true, false),
            caps(true, false),
            caps(true, false),
            caps(permissions.wallets_read, false),
            caps(false, permissions.withdraw_write),
            caps(false, false),
        );
        self.hub.event(conn, text.as_bytes());
        self.tell_account(conn, account);
    }
    /// Takes a nonce if it is above every earlier one of the account's key.
    pub(super) fn take_nonce(&mut self, account: u32, nonce: Option<u64>) -> bool {
        let last = self.bank.account(account).nonce;
        match nonce {
            Some(nonce) if nonce > last && nonce <= NONCE_TOP => {
                self.bank.account_mut(account).nonce = nonce;
                self.is_dirty = true;
                true
            }
            _ => false,
        }
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
        self.push_open_orders(account, None, &mut body);
        self.hub.send_private_to(conn, Class::Trading(""), &body, false, now);
        for kind in ["\"fos\",[]", "\"fcs\",[]", "\"fls\",[]"] {
            self.hub.send_private_to(conn, Class::Funding, kind.as_bytes(), false, now);
        }
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
    fn tell_wallet(
        &mut self,
        conn: u64,
        account: u32,
        wallet: Wallet,
        currency: crate::model::Currency,
    ) {
        let balance = self.bank.account(account).balance(wallet, currency);
        let free = self.available(account, wallet, currency, 0);
        let mut body = b"\"wu\",".to_vec();
        push_wallet(&mut body, wallet, currency.as_str(), balance, Some(free), None);
        let class = Class::Wallet(wallet.name(), currency.as_str());
        self.hub.send_private_to(conn, class, &body, true, self.now);
    }
    fn tell_balance(&mut self, conn: u64, account: u32) {
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
    fn tell_position_to(&mut self, conn: u64, account: u32, symbol: u16) {
        let Some(position) = self.bank.account(account).positions.get(&symbol).copied() else {
            return;
        };
        let listing = &self.listings[symbol as usize];
        let mut body = b"\"pu\",".to_vec();
        push_position(&mut body, &position, &listing.spec.name, true, Some(listing.mark()));
        let class = Class::Trading(&listing.spec.name);
        self.hub.send_private_to(conn, class, &body, true, self.now);
    }
    pub(super) fn push_positions(&self, account: u32, computed: bool, out: &mut Vec<u8>) {
        push_list(out, self.bank.account(account).positions.iter(), |out, (symbol, position)| {
            let listing = self.listing(*symbol);
            let mark = computed.then(|| listing.mark());
            push_position(out, position, &listing.spec.name, true, mark);
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
    pub(super) fn push_open_orders(&self, account: u32, symbol: Option<u16>, out: &mut Vec<u8>) {
        let open = self.bank.account(account).open.iter().filter_map(|id| self.orders.get(id));
        let open = open.filter(|order| symbol.is_none_or(|symbol| order.symbol == symbol));
        push_list(out, open, |out, order| order.push_array(out, self.symbol_name(order.symbol)));
    }
    fn leave_account(&mut self, conn: u64) {
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
    /// `[0,TYPE,ID,BODY]`.
    fn hear_input(&mut self, conn: u64, message: &Json<'_>) {
        let Some(session) = self.hub.session(conn) else { return };
        let Some(account) = session.auth.as_ref().map(|auth| auth.account) else {
            self.send_error(conn, &Json::Null, "auth: required", ERR_UNAUTH, None);
            return;
        };
        let items = message.items();
        let (Some(kind), Some(body)) = (items.get(1).and_then(Json::text), items.get(3)) else {
            self.stats.garbage += 1;
            return;
        };
        match kind {
            "ox_multi" => {
                for operation in body.items().iter().take(self.config.limits.operations) {
                    if let [Json::Text(kind), body] = operation.items() {
                        self.operate(account, kind, body, Via::Socket);
                    }
                }
            }
            "calc" => self.calculate(conn, account, body),
            "hb" | "n" => {}
            kind => {
                self.operate(account, kind, body, Via::Socket);
            }
        }
    }
    /// One operation of order entry. Returns the notification's fields and tells sockets about it.
    pub(super) fn operate(
        &mut self,
        account: u32,
        kind: &str,
        body: &Json<'_>,
        via: Via,
    ) -> Option<(Vec<u8>, bool)> {
        let request = Request::read(body);
        let ms = self.now_ms();
        let on_time = match via {
            Via::Socket => NoteTime::FractionalSeconds(ms),
            Via::Rest => NoteTime::Seconds(ms),
        };
        let wrap = |data: Vec<u8>| match via {
            Via::Socket => data,
            Via::Rest => [b"[", &data[..], b"]"].concat(),
        };
        let closed = self.closed_because();
        match kind {
            "on" | "ou" if closed.is_some() => {
                let answer = if kind == "on" { "on-req" } else { "ou-req" };
                Some(self.refuse(account, answer, &request, closed.unwrap_or_default()))
            }
            "on" => Some(match self.accept_order(account, &request) {
                Ok(order) => {
                    let mut data = Vec::new();
                    order.push_array(&mut data, self.symbol_name(order.symbol));
                    let text = self.order_text("Submitting", &order);
                    let note = self.note(account, on_time, "on-req", wrap(data), Ok(&text));
                    self.place_order(order);
                    note
                }
                Err(text) => self.refuse(account, "on-req", &request, &text),
            }),
            "ou" => Some(match self.accept_amend(account, &request) {
                Ok(order) => {
                    let mut data = Vec::new();
                    order.push_array(&mut data, self.symbol_name(order.symbol));
                    let text = self.order_text("Submitting update to", &order);
                    let note = self.note(account, NoteTime::Ms(ms), "ou-req", data, Ok(&text));
                    self.amend_order(order);
                    note
                }
                Err(text) => self.refuse(account, "ou-req", &request, &text),
            }),
            "oc" => Some(match self.find_order(account, &request) {
                Ok(id) => {
                    let mut data = Vec::new();
                    if let Some(order) = self.orders.get(&id) {
                        order.push_array(&mut data, self.symbol_name(order.symbol));
                    }
                    let text =
                        format!("Submitted for cancellation; waiting for confirmation (ID: {id}).");
                    let note = self.note(account, NoteTime::Ms(ms), "oc-req", data, Ok(&text));
                    self.cancel_order(id);
                    note
                }
                Err(text) => self.refuse(account, "oc-req", &request, &text),
            }),
            "oc_multi" => {
                let found = self.find_orders(account, body);
                let mut data = Vec::new();
                let orders = found.iter().filter_map(|id| self.orders.get(id));
                push_list(&mut data, orders, |out, order| {
                    order.push_array(out, self.symbol_name(order.symbol));
                });
                let text = format!("Submitting {} order cancellations.", found.len());
                let note = self.note(account, NoteTime::Ms(ms), "oc_multi-req", data, Ok(&text));
                for id in found {
                    self.cancel_order(id);
                }
                Some(note)
            }
            _ => {
                self.stats.garbage += 1;
                None
            }
        }
    }
    fn refuse(
        &mut self,
        account: u32,
        kind: &str,
        request: &Request,
        text: &str,
    ) -> (Vec<u8>, bool) {
        self.stats.refused += 1;
        let mut data = Vec::new();
        request.push_echo(&mut data);
        self.note(account, NoteTime::Ms(self.now_ms()), kind, data, Err(text))
    }
    /// Makes a notification, tells the account's sockets, returns its text and whether it is a
    /// success.
    fn note(
        &mut self,
        account: u32,
        at: NoteTime,
        kind: &str,
        data: Vec<u8>,
        text: Result<&str, &str>,
    ) -> (Vec<u8>, bool) {
        let is_success = text.is_ok();
        let (Ok(text) | Err(text)) = text;
        let mut note = Vec::with_capacity(data.len() + 128);
        push_note(&mut note, at, kind, &data, is_success, text);
        let body = [b"\"n\",", &note[..]].concat();
        let class = if is_success { Class::Granted } else { Class::Refused };
        self.hub.send_private(account, class, &body, self.now);
        (note, is_success)
    }
    /// `Submitting exchange limit buy order for 0.1 BTC.`
    fn order_text(&self, verb: &str, order: &super::order::Order) -> String {
        let side = if order.side == Side::Buy { "buy" } else { "sell" };
        let kind = type_text(order.kind, order.wallet).to_lowercase();
        let mut qty = Vec::new();
        super::number::push_number(&mut qty, order.side.sign() * order.left);
        let qty = String::from_utf8_lossy(&qty).into_owned();
        format!("{verb} {kind} {side} order for {qty} {}.", self.listing(order.symbol).base)
    }
    fn calculate(&mut self, conn: u64, account: u32, body: &Json<'_>) {
        let second = self.now_ms().div_euclid(1_000);
        let Some(session) = self.hub.session(conn) else { return };
        if session.calc.0 != second {
            session.calc = (second, 0);
        }
        session.calc.1 += 1;
        if session.calc.1 > CALC_PER_SECOND || body.items().len() > CALC_ITEMS {
            self.send_error(conn, &Json::Null, "calc: limit", 10_001, None);
            return;
        }
        for item in body.items() {
            let Some(key) = item.items().first().and_then(Json::text) else { continue };
            if key == "balance" {
                self.tell_balance(conn, account);
            } else if let Some(rest) = key.strip_prefix("wallet_") {
                let Some((wallet, currency)) = rest.split_once('_') else { continue };
                let wallet = Wallet::by_name(wallet);
                let currency = crate::model::Currency::new(currency);
                if let (Some(wallet), Some(currency)) = (wallet, currency) {
                    self.tell_wallet(conn, account, wallet, currency);
                }
            } else if let Some(name) = key.strip_prefix("position_")
                && let Some(symbol) = self.find_symbol(name)
            {
                self.tell_position_to(conn, account, symbol);
            }
        }
    }
    /// An info event with a code to everybody: 20051 stop, 20060 and 20061 begin and end of
    /// maintenance.
    pub(super) fn announce(&mut self, code: u32) {
        let text = match code {
            20_051 => "Stopping. Please try to reconnect",
            20_060 => "Entering maintenance. Please pause any activity",
            20_061 => "Maintenance ended. Please resubscribe",
            _ => "Info",
        };
        match code {
            20_060 => self.in_maintenance = true,
            20_061 => self.in_maintenance = false,
            _ => {}
        }
        self.hub.is_muted = self.in_maintenance;
        let text = format!("{{\"event\":\"info\",\"code\":{code},\"msg\":\"{text}\"}}");
        self.hub.event_to_all(text.as_bytes());
    }
    /// Ends every connection from this side, as a stopping server does.
    pub(super) fn hang_up_all(&mut self, now: WallNs) {
        self.set_now(now);
        for conn in self.hub.conns() {
            self.hub.hang_up(conn);
        }
    }
}
