//! What sockets say and hear: events (conf, subscribe, ping), and where the others go.

use super::core::Core;
use super::hub::FeedKey;
use super::json::{Json, push_text};
use super::market::capture::digits_of;
use super::number::{push_i64, push_u64};
use super::tape::frame_of;
use crate::base::time::WallNs;

const ERR_UNKNOWN: u32 = 10_000;
const ERR_CONF: u32 = 10_050;
const ERR_SUBSCRIBE: u32 = 10_300;
const ERR_SUBSCRIBE_TWICE: u32 = 10_301;
const ERR_SUBSCRIBE_LIMIT: u32 = 10_305;
const ERR_UNSUBSCRIBE: u32 = 10_400;

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

/// An acknowledgement.
#[derive(Debug)]
pub(super) struct Ack {
    conn: u64,
    chan: u64,
    feed: usize,
    text: Vec<u8>,
}

/// Something a socket is told later.
#[derive(Debug)]
pub(super) enum Due {
    Ack(Ack),
    /// The computed fields behind the snapshots of an account.
    Figures {
        conn: u64,
        account: u32,
    },
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
    pub(super) fn send_error(
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
                if key == "liq:global" {
                    return Some(Ok(FeedKey::Liquidations));
                }
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
        let ack = Ack { conn, chan, feed, text: out };
        let after_ms = self.config.ack_after_ms;
        if after_ms > 0 && self.has_started {
            let wait_ms = self.ack_rng.between(0, after_ms);
            self.plan(wait_ms, Due::Ack(ack));
        } else {
            self.acknowledge(&ack);
        }
    }
    /// Acknowledges a subscription, unless it was taken back meanwhile.
    fn acknowledge(&mut self, ack: &Ack) {
        if self.hub.join(ack.conn, ack.chan) {
            self.hub.event(ack.conn, &ack.text);
            self.send_snapshot(ack.conn, ack.chan, ack.feed);
        }
    }
    /// Puts off what a socket is told. Not before the market runs: its clock stands still then, and
    /// nothing would ever be due.
    pub(super) fn plan(&mut self, wait_ms: i64, due: Due) {
        self.dues_planned += 1;
        let at = WallNs(self.now.0 + wait_ms * 1_000_000);
        self.dues.insert((at, self.dues_planned), due);
    }
    pub(super) fn tell_due(&mut self) {
        while let Some(entry) = self.dues.first_entry()
            && entry.key().0 <= self.now
        {
            match entry.remove() {
                Due::Ack(ack) => self.acknowledge(&ack),
                Due::Figures { conn, account } => {
                    let is_there = self.hub.session(conn).and_then(|s| s.auth.as_ref());
                    if is_there.is_some_and(|auth| auth.account == account) {
                        self.tell_figures(conn, account);
                    }
                }
            }
        }
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
            FeedKey::Candles { .. } | FeedKey::Status { .. } | FeedKey::Liquidations => {
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
        let has_key =
            matches!(key, FeedKey::Candles { .. } | FeedKey::Status { .. } | FeedKey::Liquidations);
        if !has_key {
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
