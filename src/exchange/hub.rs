//! Sockets as the exchange sees them: flags, sequence numbers, channels, and one buffer of frames
//! to send.

use super::config::Permissions;
use super::levels::{RowTexts, Window};
use super::login::Pass;
use super::number::{push_i64, push_u64};
use crate::base::time::WallNs;
use std::collections::BTreeMap;

pub const FLAG_TIMESTAMP: u32 = 32_768;
pub const FLAG_SEQ: u32 = 65_536;
pub const FLAG_CHECKSUM: u32 = 131_072;
pub const FLAG_BULK: u32 = 536_870_912;

/// Takes frames away; frames of one connection come in the order they were made.
pub trait Outgoing {
    /// Text of one websocket message for a connection.
    fn text(&mut self, conn: u64, payload: &[u8]);
    /// The exchange ends the connection, after everything given before.
    fn close(&mut self, conn: u64);
}

/// Frames made and not yet taken: one buffer, so that a frame costs no allocation.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    frames: Vec<Frame>,
}
#[derive(Clone, Copy, Debug)]
struct Frame {
    conn: u64,
    end: usize,
    close: bool,
}

impl Outbox {
    pub fn drain(&mut self, out: &mut impl Outgoing) {
        let mut start = 0;
        for frame in &self.frames {
            if frame.close {
                out.close(frame.conn);
            } else {
                out.text(frame.conn, &self.bytes[start..frame.end]);
            }
            start = frame.end;
        }
        self.bytes.clear();
        self.frames.clear();
    }
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }
    /// One whole frame.
    pub fn text(&mut self, conn: u64, payload: &[u8]) {
        self.bytes.extend_from_slice(payload);
        self.end(conn);
    }
    fn end(&mut self, conn: u64) {
        self.frames.push(Frame { conn, end: self.bytes.len(), close: false });
    }
    fn close(&mut self, conn: u64) {
        self.frames.push(Frame { conn, end: self.bytes.len(), close: true });
    }
}

/// What a channel carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FeedKey {
    /// `digits` significant digits (P0 = 5 … P4 = 1); `slow` = every 2 s (F1).
    Book {
        symbol: u16,
        digits: u32,
        slow: bool,
        len: u16,
    },
    Raw {
        symbol: u16,
        slow: bool,
        len: u16,
    },
    Trades {
        symbol: u16,
    },
    Ticker {
        symbol: u16,
    },
    Candles {
        symbol: u16,
        frame: u16,
    },
    Status {
        symbol: u16,
    },
    /// Positions that the venue ends, of all symbols.
    Liquidations,
}

impl FeedKey {
    pub const fn symbol(self) -> u16 {
        match self {
            FeedKey::Book { symbol, .. }
            | FeedKey::Raw { symbol, .. }
            | FeedKey::Trades { symbol }
            | FeedKey::Ticker { symbol }
            | FeedKey::Candles { symbol, .. }
            | FeedKey::Status { symbol } => symbol,
            FeedKey::Liquidations => 0,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Subscriber {
    slot: usize,
    chan: u64,
}

/// One stream of public data and who listens to it.
#[derive(Debug)]
pub struct Feed {
    pub key: FeedKey,
    subscribers: Vec<Subscriber>,
    /// What subscribers of a book have been shown; empty while nobody listens.
    pub window: Window,
    /// The book changed since its last checksum.
    pub unsummed: bool,
    /// The book changed since its last publication (F1).
    pub unsent: bool,
    /// Frames come from a recording one by one; nothing is made here.
    pub is_recorded: bool,
}

impl Feed {
    pub fn has_subscribers(&self) -> bool {
        !self.subscribers.is_empty()
    }
}

/// Which private events a socket wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters(pub Vec<String>);

/// Class of a private event for the filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class<'a> {
    /// Orders, trades, positions of a symbol.
    Trading(&'a str),
    /// Wallet name and currency.
    Wallet(&'a str, &'a str),
    Balance,
    /// A notification that answers nothing.
    Notify,
    /// A notification that answers a request (`…-req`) with success, or with an error.
    Granted,
    Refused,
    Funding,
}

impl Filters {
    pub fn wants(&self, class: Class<'_>) -> bool {
        if self.0.is_empty() {
            return true;
        }
        self.0.iter().any(|filter| match class {
            // A snapshot names no symbol and goes to everybody who wants any.
            Class::Trading("") => filter.starts_with("trading"),
            Class::Wallet("", _) => filter.starts_with("wallet"),
            Class::Trading(symbol) => {
                filter == "trading" || filter.strip_prefix("trading-") == Some(symbol)
            }
            Class::Wallet(wallet, currency) => {
                let rest = filter.strip_prefix("wallet-").and_then(|rest| rest.split_once('-'));
                filter == "wallet" || rest == Some((wallet, currency))
            }
            Class::Balance => filter == "balance",
            Class::Notify | Class::Granted | Class::Refused => filter == "notify",
            Class::Funding => filter.starts_with("funding"),
        })
    }
}

#[derive(Clone, Debug)]
pub struct Auth {
    pub account: u32,
    pub permissions: Permissions,
    /// Account events told on this socket since its snapshots.
    pub seq: u64,
    pub filters: Filters,
    /// Cancel the account's orders when the socket closes.
    pub cancels_on_close: bool,
}

impl Auth {
    pub fn pass(&self) -> Pass {
        Pass { account: self.account, permissions: self.permissions }
    }
    /// What the key may read and the client asked for.
    fn hears(&self, class: Class<'_>) -> bool {
        let may = self.permissions;
        let allowed = match class {
            Class::Trading(_) => may.orders_read || may.positions_read,
            Class::Wallet(..) | Class::Balance => may.wallets_read,
            Class::Funding => may.funding_read,
            Class::Notify | Class::Granted | Class::Refused => true,
        };
        allowed && self.filters.wants(class)
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Channel {
    pub id: u64,
    pub feed: usize,
}

#[derive(Debug)]
pub struct Session {
    pub conn: u64,
    pub flags: u32,
    pub auth: Option<Auth>,
    pub channels: Vec<Channel>,
    /// Public sequence number of the last array frame.
    seq: u64,
    beat_at: WallNs,
    /// Start of the second in which `calc` messages are counted, and their number.
    pub calc: (i64, u32),
}

/// All sockets and feeds.
#[derive(Debug)]
pub struct Hub {
    sessions: Vec<Option<Session>>,
    slots: BTreeMap<u64, usize>,
    feeds: Vec<Feed>,
    by_key: BTreeMap<FeedKey, usize>,
    pub outbox: Outbox,
    next_chan: u64,
    heartbeat_ns: i64,
    next_beat: Option<WallNs>,
    /// Public channels carry heartbeats only, as in maintenance: what happens meanwhile is not
    /// told, so books must be subscribed again after it.
    pub is_muted: bool,
}

/// Array frames end with what the socket's flags ask for.
fn push_tail(out: &mut Vec<u8>, session: &mut Session, now: WallNs) {
    session.seq += 1;
    if session.flags & FLAG_SEQ != 0 {
        out.push(b',');
        push_u64(out, session.seq);
    }
    push_tail_time(out, session.flags, now);
}

fn push_tail_time(out: &mut Vec<u8>, flags: u32, now: WallNs) {
    if flags & FLAG_TIMESTAMP != 0 {
        out.push(b',');
        push_i64(out, now.as_ms());
    }
    out.push(b']');
}

impl Hub {
    pub fn new(first_chan: u64, heartbeat_ms: i64) -> Hub {
        Hub {
            sessions: Vec::new(),
            slots: BTreeMap::new(),
            feeds: Vec::new(),
            by_key: BTreeMap::new(),
            outbox: Outbox::default(),
            next_chan: first_chan,
            heartbeat_ns: heartbeat_ms * 1_000_000,
            next_beat: None,
            is_muted: false,
        }
    }
    pub fn open(&mut self, conn: u64, now: WallNs) {
        let session = Session {
            conn,
            flags: 0,
            auth: None,
            channels: Vec::new(),
            seq: 0,
            beat_at: WallNs(now.0 + self.heartbeat_ns),
            calc: (0, 0),
        };
        self.close(conn);
        let slot = match self.sessions.iter().position(Option::is_none) {
            Some(slot) => slot,
            None => {
                self.sessions.push(None);
                self.sessions.len() - 1
            }
        };
        self.sessions[slot] = Some(session);
        self.slots.insert(conn, slot);
        self.plan_beat();
    }
    /// Forgets a connection; returns what it was.
    pub fn close(&mut self, conn: u64) -> Option<Session> {
        let slot = self.slots.remove(&conn)?;
        let session = self.sessions[slot].take()?;
        for channel in &session.channels {
            self.leave(channel.feed, slot);
        }
        self.plan_beat();
        Some(session)
    }
    /// Ends a connection from this side.
    pub fn hang_up(&mut self, conn: u64) -> Option<Session> {
        let session = self.close(conn)?;
        self.outbox.close(conn);
        Some(session)
    }
    fn leave(&mut self, feed: usize, slot: usize) {
        let feed = &mut self.feeds[feed];
        feed.subscribers.retain(|subscriber| subscriber.slot != slot);
        if feed.subscribers.is_empty() {
            feed.window = Window::default();
            feed.unsummed = false;
            feed.unsent = false;
        }
    }
    pub fn session(&mut self, conn: u64) -> Option<&mut Session> {
        let slot = *self.slots.get(&conn)?;
        self.sessions[slot].as_mut()
    }
    /// Open connections, in order of their number.
    pub fn conns(&self) -> Vec<u64> {
        self.slots.keys().copied().collect()
    }
    /// Connections authenticated for an account, in order of their number.
    pub fn has_listener(&self, account: u32) -> bool {
        self.sessions
            .iter()
            .flatten()
            .any(|session| session.auth.as_ref().is_some_and(|auth| auth.account == account))
    }
    pub fn feeds(&self) -> &[Feed] {
        &self.feeds
    }
    pub fn feed_mut(&mut self, feed: usize) -> &mut Feed {
        &mut self.feeds[feed]
    }
    pub fn find_feed(&self, key: FeedKey) -> Option<usize> {
        self.by_key.get(&key).copied()
    }
    /// The feed of a key, made if need be.
    pub fn feed(&mut self, key: FeedKey) -> usize {
        if let Some(feed) = self.by_key.get(&key) {
            return *feed;
        }
        self.feeds.push(Feed {
            key,
            subscribers: Vec::new(),
            window: Window::default(),
            unsummed: false,
            unsent: false,
            is_recorded: false,
        });
        self.by_key.insert(key, self.feeds.len() - 1);
        self.feeds.len() - 1
    }
    /// Opens a channel and returns its id: it has heartbeats from now on, and nothing else before
    /// [`Self::join`].
    pub fn subscribe(&mut self, conn: u64, feed: usize) -> Option<u64> {
        let slot = *self.slots.get(&conn)?;
        let id = self.next_chan;
        self.next_chan += 1;
        self.sessions[slot].as_mut()?.channels.push(Channel { id, feed });
        Some(id)
    }
    /// Lets a channel have its feed; the caller acknowledges it and sends the snapshot. False where
    /// it is gone by now.
    pub fn join(&mut self, conn: u64, chan: u64) -> bool {
        let Some(slot) = self.slots.get(&conn).copied() else { return false };
        let Some(session) = self.sessions[slot].as_ref() else { return false };
        let Some(channel) = session.channels.iter().find(|channel| channel.id == chan) else {
            return false;
        };
        self.feeds[channel.feed].subscribers.push(Subscriber { slot, chan });
        true
    }
    /// False where the connection has no such channel.
    pub fn unsubscribe(&mut self, conn: u64, chan: u64) -> bool {
        let Some(slot) = self.slots.get(&conn).copied() else { return false };
        let Some(session) = self.sessions[slot].as_mut() else { return false };
        let Some(at) = session.channels.iter().position(|channel| channel.id == chan) else {
            return false;
        };
        let channel = session.channels.remove(at);
        self.leave(channel.feed, slot);
        true
    }
    /// An event (object) message: not counted by sequence numbers.
    pub fn event(&mut self, conn: u64, text: &[u8]) {
        if self.slots.contains_key(&conn) {
            self.outbox.text(conn, text);
        }
    }
    pub fn event_to_all(&mut self, text: &[u8]) {
        for conn in self.slots.keys() {
            self.outbox.text(*conn, text);
        }
    }
    /// One frame on every subscriber's channel: `[CHAN,BODY…]`.
    pub fn publish(&mut self, feed: usize, body: &[u8], now: WallNs) {
        self.publish_where(feed, body, 0, now);
    }
    /// The same for the subscribers whose flags include `flag`.
    pub fn publish_where(&mut self, feed: usize, body: &[u8], flag: u32, now: WallNs) {
        if self.is_muted {
            return;
        }
        for subscriber in &self.feeds[feed].subscribers {
            let Some(session) = self.sessions[subscriber.slot].as_mut() else { continue };
            if session.flags & flag != flag {
                continue;
            }
            let out = &mut self.outbox.bytes;
            out.push(b'[');
            push_u64(out, subscriber.chan);
            out.push(b',');
            out.extend_from_slice(body);
            push_tail(out, session, now);
            self.outbox.end(session.conn);
        }
    }
    /// Book rows: a frame each, or one frame for all of them where BULK is on.
    pub fn publish_rows(&mut self, feed: usize, rows: &RowTexts, now: WallNs) {
        if self.is_muted {
            return;
        }
        for subscriber in &self.feeds[feed].subscribers {
            let Some(session) = self.sessions[subscriber.slot].as_mut() else { continue };
            let out = &mut self.outbox.bytes;
            if session.flags & FLAG_BULK == 0 {
                for row in rows.iter() {
                    let out = &mut self.outbox.bytes;
                    out.push(b'[');
                    push_u64(out, subscriber.chan);
                    out.push(b',');
                    out.extend_from_slice(row);
                    push_tail(out, session, now);
                    self.outbox.end(session.conn);
                }
                continue;
            }
            out.push(b'[');
            push_u64(out, subscriber.chan);
            out.extend_from_slice(b",[");
            for (index, row) in rows.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(row);
            }
            out.push(b']');
            push_tail(out, session, now);
            self.outbox.end(session.conn);
        }
    }
    /// One frame for one channel of one connection (snapshots).
    pub fn send_on(&mut self, conn: u64, chan: u64, body: &[u8], now: WallNs) {
        let Some(slot) = self.slots.get(&conn) else { return };
        let Some(session) = self.sessions[*slot].as_mut() else { return };
        let out = &mut self.outbox.bytes;
        out.push(b'[');
        push_u64(out, chan);
        out.push(b',');
        out.extend_from_slice(body);
        push_tail(out, session, now);
        self.outbox.end(conn);
    }
    /// A private event of an account, `"type",payload`, to every socket of it that wants the class.
    /// Notifications do not advance the account's sequence number, and it stays 0 until the
    /// snapshots are told (`counted`).
    pub fn send_private(&mut self, account: u32, class: Class<'_>, body: &[u8], now: WallNs) {
        for session in self.sessions.iter_mut().flatten() {
            Self::push_private(&mut self.outbox, session, account, class, body, true, now);
        }
    }
    /// A private frame for one connection; `counted` = false while its snapshots are being told.
    pub fn send_private_to(
        &mut self,
        conn: u64,
        class: Class<'_>,
        body: &[u8],
        counted: bool,
        now: WallNs,
    ) {
        let Some(slot) = self.slots.get(&conn) else { return };
        let Some(session) = self.sessions[*slot].as_mut() else { return };
        let Some(account) = session.auth.as_ref().map(|auth| auth.account) else { return };
        Self::push_private(&mut self.outbox, session, account, class, body, counted, now);
    }
    fn push_private(
        outbox: &mut Outbox,
        session: &mut Session,
        account: u32,
        class: Class<'_>,
        body: &[u8],
        counted: bool,
        now: WallNs,
    ) {
        let Some(auth) = session.auth.as_mut() else { return };
        if auth.account != account || !auth.hears(class) {
            return;
        }
        let is_note = matches!(class, Class::Notify | Class::Granted | Class::Refused);
        if counted && !is_note {
            auth.seq += 1;
        }
        let auth_seq = auth.seq;
        let out = &mut outbox.bytes;
        out.extend_from_slice(b"[0,");
        out.extend_from_slice(body);
        // The one form that the audits of both official clients take (WSv2 of bitfinex-api-node
        // counts no public number for any answer, bfx-api-node-plugin-seq-audit none for errors):
        // answers do not advance the public number, and carry the account's only where they
        // grant.
        let numbers: &[u64] = match class {
            Class::Granted => &[auth_seq],
            Class::Refused => &[],
            _ => {
                session.seq += 1;
                &[session.seq, auth_seq]
            }
        };
        if session.flags & FLAG_SEQ != 0 {
            for number in numbers {
                out.push(b',');
                push_u64(out, *number);
            }
        }
        push_tail_time(out, session.flags, now);
        outbox.end(session.conn);
    }
    /// When the next heartbeat is due.
    pub fn next_beat(&self) -> Option<WallNs> {
        self.next_beat
    }
    fn plan_beat(&mut self) {
        self.next_beat = self.sessions.iter().flatten().map(|session| session.beat_at).min();
    }
    /// Heartbeats that are due: every channel of a socket at the same instant. Recorded channels
    /// bring their own as long as their recording runs (`recording`).
    pub fn beat(&mut self, now: WallNs, recording: bool) {
        for session in self.sessions.iter_mut().flatten() {
            if session.beat_at > now {
                continue;
            }
            // After a jump of the clock one beat is enough.
            let behind = (now.0 - session.beat_at.0) / self.heartbeat_ns;
            session.beat_at = WallNs(session.beat_at.0 + (behind + 1) * self.heartbeat_ns);
            let private = session.auth.as_ref().map(|_| 0);
            let public = session
                .channels
                .iter()
                .filter(|channel| !(recording && self.feeds[channel.feed].is_recorded));
            let chans: Vec<u64> = private.into_iter().chain(public.map(|c| c.id)).collect();
            for chan in chans {
                let out = &mut self.outbox.bytes;
                out.push(b'[');
                push_u64(out, chan);
                out.extend_from_slice(b",\"hb\"");
                push_tail(out, session, now);
                self.outbox.end(session.conn);
            }
        }
        self.plan_beat();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Taken(Vec<(u64, String)>);
    impl Outgoing for Taken {
        fn text(&mut self, conn: u64, payload: &[u8]) {
            self.0.push((conn, String::from_utf8(payload.to_vec()).unwrap()));
        }
        fn close(&mut self, conn: u64) {
            self.0.push((conn, "(close)".to_owned()));
        }
    }
    fn drain(hub: &mut Hub) -> Vec<(u64, String)> {
        let mut taken = Taken::default();
        hub.outbox.drain(&mut taken);
        taken.0
    }
    const NOW: WallNs = WallNs::from_ms(1_000);

    #[test]
    fn one_sequence_per_socket_over_all_channels() {
        let mut hub = Hub::new(17, 15_000);
        hub.open(1, NOW);
        hub.open(2, NOW);
        hub.session(1).unwrap().flags = FLAG_SEQ | FLAG_TIMESTAMP;
        let feed = hub.feed(FeedKey::Trades { symbol: 0 });
        let other = hub.feed(FeedKey::Ticker { symbol: 0 });
        for (conn, feed, chan) in [(1, feed, 17), (1, other, 18), (2, feed, 19)] {
            assert_eq!(hub.subscribe(conn, feed), Some(chan));
            assert!(hub.join(conn, chan));
        }
        assert!(!hub.join(1, 19) && !hub.join(3, 17));
        hub.publish(feed, b"\"te\",[1]", NOW);
        hub.event(1, b"{}");
        hub.publish(other, b"[2]", NOW);
        let expected = [
            (1, "[17,\"te\",[1],1,1000]"),
            (2, "[19,\"te\",[1]]"),
            (1, "{}"),
            (1, "[18,[2],2,1000]"),
        ];
        assert_eq!(drain(&mut hub), expected.map(|(conn, text)| (conn, text.to_owned())));
    }

    #[test]
    fn private_frames_carry_two_numbers_and_notes_do_not_advance_the_second() {
        let mut hub = Hub::new(1, 15_000);
        hub.open(1, NOW);
        let session = hub.session(1).unwrap();
        session.flags = FLAG_SEQ | FLAG_TIMESTAMP;
        session.auth = Some(Auth {
            account: 1,
            permissions: Permissions::TRADE,
            seq: 0,
            filters: Filters(vec!["trading".into(), "notify".into()]),
            cancels_on_close: false,
        });
        hub.send_private_to(1, Class::Trading("tBTCUSD"), b"\"os\",[]", false, NOW);
        hub.send_private(1, Class::Trading("tBTCUSD"), b"\"on\",[]", NOW);
        hub.send_private(1, Class::Granted, b"\"n\",[1]", NOW);
        hub.send_private(1, Class::Refused, b"\"n\",[2]", NOW);
        hub.send_private(1, Class::Wallet("exchange", "BTC"), b"\"wu\",[]", NOW);
        hub.send_private(2, Class::Granted, b"\"n\",[]", NOW);
        hub.beat(WallNs::from_ms(16_000), false);
        let texts: Vec<String> = drain(&mut hub).into_iter().map(|(_, text)| text).collect();
        let expected = [
            "[0,\"os\",[],1,0,1000]",
            "[0,\"on\",[],2,1,1000]",
            "[0,\"n\",[1],1,1000]",
            "[0,\"n\",[2],1000]",
            "[0,\"hb\",3,16000]",
        ];
        assert_eq!(texts, expected);
    }

    #[test]
    fn heartbeats_come_for_every_channel_at_one_instant_and_leave_with_it() {
        let mut hub = Hub::new(5, 15_000);
        hub.open(1, NOW);
        let feed = hub.feed(FeedKey::Trades { symbol: 0 });
        let chan = hub.subscribe(1, feed).unwrap();
        assert_eq!(hub.next_beat(), Some(WallNs::from_ms(16_000)));
        hub.beat(WallNs::from_ms(15_999), false);
        assert!(hub.outbox.is_empty());
        hub.beat(WallNs::from_ms(46_000), false);
        assert_eq!(drain(&mut hub).len(), 1);
        assert_eq!(hub.next_beat(), Some(WallNs::from_ms(61_000)));
        assert!(hub.unsubscribe(1, chan));
        assert!(!hub.unsubscribe(1, chan));
        assert!(!hub.feeds()[feed].has_subscribers());
        hub.hang_up(1);
        assert_eq!(hub.next_beat(), None);
        assert_eq!(drain(&mut hub), [(1, "(close)".to_owned())]);
    }

    #[test]
    fn rows_are_single_frames_or_one_bulk_frame() {
        let mut hub = Hub::new(1, 15_000);
        hub.open(1, NOW);
        hub.open(2, NOW);
        hub.session(2).unwrap().flags = FLAG_BULK | FLAG_SEQ;
        let feed = hub.feed(FeedKey::Book { symbol: 0, digits: 5, slow: false, len: 25 });
        for conn in [1, 2] {
            let chan = hub.subscribe(conn, feed).unwrap();
            hub.join(conn, chan);
        }
        let mut rows = RowTexts::default();
        for text in [b"[1,0,1]", b"[2,0,1]"] {
            rows.bytes.extend_from_slice(text);
            rows.ends.push(rows.bytes.len());
        }
        hub.publish_rows(feed, &rows, NOW);
        let texts: Vec<String> = drain(&mut hub).into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, ["[1,[1,0,1]]", "[1,[2,0,1]]", "[2,[[1,0,1],[2,0,1]],1]"]);
    }
}
