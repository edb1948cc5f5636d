//! The account's session: authentication, order, trade, wallet and position events of channel 0.
//!
//! Unlike public data, a private event is used even after a sequence gap: a fill is a fill. The gap
//! asks for a new socket, and its snapshots and the REST reads after it tell what was missed.

use super::account::{ack_row, fill_row, order_row, position_row, wallet_row};
use super::event::{EventFields, code};
use super::out::Out;
use super::public::ReconnectReason;
use super::public::decode::{trail, wall_ms};
use super::recorder::Recorder;
use super::scan::{Row, ScanError, Scanner};
use super::seq::{SeqCheck, Sequence, Trail};
use super::sign::ApiKey;
use super::symbols::SymbolTable;
use crate::base::ids::ConnId;
use crate::base::limits::NONCE_MAX;
use crate::base::time::{MonoNs, SpanNs, WallNs};
use crate::model::{Body, LinkEvent, LinkState, SnapshotMark, SnapshotOf, Source};

/// `code` of `AuthFailed` where the venue said yes but the key may not write orders.
pub const CODE_NO_ORDER_RIGHT: i32 = -1;
/// `code` of `AuthFailed` where the key may withdraw: a trading bot's key must not.
pub const CODE_WITHDRAW_RIGHT: i32 = -2;

/// How the account's session behaves.
#[derive(Clone, Debug)]
pub struct PrivateConfig {
    pub conn: ConnId,
    /// Sum of `public::conf::*`; 0 sends no `conf` message.
    pub flags: u32,
    /// Dead-man switch: the venue cancels ALL orders of the account when the socket closes,
    /// protective stops included, and within no stated time.
    pub dms: bool,
    /// Which events the venue shall send; empty = all. Without `notify` no acknowledgements come.
    pub filters: Vec<String>,
    /// Refuse a key that may withdraw.
    pub refuse_withdraw_right: bool,
    /// From sending `auth` to its answer.
    pub auth_timeout_ms: u64,
    /// Without heartbeat or data for this long the socket is dead.
    pub hb_silence_ms: u64,
    /// Between pings of ours; 0 = none.
    pub ping_interval_ms: u64,
    /// Between two reconnects that unreadable messages may cause.
    pub malformed_reconnect_ms: u64,
}
impl Default for PrivateConfig {
    fn default() -> Self {
        Self {
            conn: ConnId(0),
            flags: super::public::conf::TIMESTAMP | super::public::conf::SEQ_ALL,
            dms: false,
            filters: Vec::new(),
            refuse_withdraw_right: true,
            auth_timeout_ms: 10_000,
            hb_silence_ms: 35_000,
            ping_interval_ms: 20_000,
            malformed_reconnect_ms: 60_000,
        }
    }
}

/// What a session tells, in the order of the wire. `market_time` of a frame comes before what the
/// frame says.
pub trait BodySink {
    fn body(&mut self, body: Body);
    fn market_time(&mut self, at: WallNs);
}

/// Everything a session counted since its construction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrivateCounters {
    pub frames: u64,
    pub bytes: u64,
    pub events: u64,
    /// `on`, `ou`, `oc` and the rows of `os`.
    pub orders: u64,
    /// `te` and `tu`.
    pub fills: u64,
    pub wallets: u64,
    pub positions: u64,
    pub notifications: u64,
    pub heartbeats: u64,
    /// Known types that a trading engine does not need: funding, balances, alerts.
    pub ignored: u64,
    pub unknown: u64,
    pub malformed: u64,
    pub rounded: u64,
    pub seq_checked: u64,
    pub seq_gaps: u64,
    /// Jumps of the account's own counter: telemetry only, false alarms are common.
    pub auth_seq_jumps: u64,
    pub errors: u64,
    pub pongs: u64,
    /// Last round trip of our ping, ns.
    pub ping_rtt_ns: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AuthState {
    Closed,
    /// The socket is open, `auth` not sent yet.
    Due,
    Sent,
    Ok,
    Failed,
}

enum Fault {
    Malformed,
    Unknown,
}
impl From<ScanError> for Fault {
    fn from(_: ScanError) -> Self {
        Fault::Malformed
    }
}

/// The trading socket's session.
pub struct PrivateSession {
    config: PrivateConfig,
    key: ApiKey,
    table: SymbolTable,
    state: AuthState,
    nonce: u64,
    conf_due: bool,
    has_seq: bool,
    has_time: bool,
    sequence: Sequence,
    auth_seq: u64,
    deadline: MonoNs,
    alive_at: MonoNs,
    next_ping_at: MonoNs,
    ping_sent_at: MonoNs,
    ping_number: u64,
    malformed_reconnect_at: MonoNs,
    maintenance: bool,
    reconnect: Option<ReconnectReason>,
    counters: PrivateCounters,
    recorder: Recorder,
}

impl PrivateSession {
    pub fn new(config: PrivateConfig, key: ApiKey, table: SymbolTable) -> Self {
        Self {
            has_seq: config.flags & super::public::conf::SEQ_ALL != 0,
            has_time: config.flags & super::public::conf::TIMESTAMP != 0,
            config,
            key,
            table,
            state: AuthState::Closed,
            nonce: 0,
            conf_due: false,
            sequence: Sequence::default(),
            auth_seq: 0,
            deadline: MonoNs(0),
            alive_at: MonoNs(0),
            next_ping_at: MonoNs(0),
            ping_sent_at: MonoNs(0),
            ping_number: 0,
            malformed_reconnect_at: MonoNs(0),
            maintenance: false,
            reconnect: None,
            counters: PrivateCounters::default(),
            recorder: Recorder::new(),
        }
    }
    pub const fn counters(&self) -> &PrivateCounters {
        &self.counters
    }
    pub const fn recorder(&self) -> &Recorder {
        &self.recorder
    }
    /// True where the account stream is open: the only state in which orders may be sent.
    pub fn is_authenticated(&self) -> bool {
        self.state == AuthState::Ok
    }
    /// Why this socket should be given up, once.
    pub fn wants_reconnect(&mut self) -> Option<ReconnectReason> {
        self.reconnect.take()
    }

    /// The socket is open. `nonce` is larger than any used with this key before, in microseconds by
    /// custom. Panics beyond `NONCE_MAX`: the allocator of nonces keeps below it.
    pub fn on_open<S: BodySink>(&mut self, now: MonoNs, nonce: u64, sink: &mut S) {
        assert!(nonce <= NONCE_MAX);
        self.state = AuthState::Due;
        self.nonce = nonce;
        self.conf_due = self.config.flags != 0;
        self.sequence.reset();
        self.auth_seq = 0;
        self.reconnect = None;
        self.maintenance = false;
        self.alive_at = now;
        self.deadline = now + ms(self.config.auth_timeout_ms);
        self.next_ping_at = now + ms(self.config.ping_interval_ms);
        self.tell_link(LinkState::Up, 0, sink);
    }
    /// The socket is closed, whoever closed it.
    pub fn on_close<S: BodySink>(&mut self, _now: MonoNs, sink: &mut S) {
        if self.state != AuthState::Closed {
            self.state = AuthState::Closed;
            self.conf_due = false;
            self.tell_link(LinkState::Down, 0, sink);
        }
    }
    /// The rest of time: no answer, silence.
    #[inline]
    pub fn on_time(&mut self, now: MonoNs) {
        match self.state {
            AuthState::Closed | AuthState::Failed => {}
            AuthState::Due | AuthState::Sent if now >= self.deadline => {
                self.reconnect.get_or_insert(ReconnectReason::AuthTimeout);
            }
            _ => {
                if now - self.alive_at > ms(self.config.hb_silence_ms) {
                    self.reconnect.get_or_insert(ReconnectReason::Silence);
                }
            }
        }
    }

    /// Text of the next message to send, written into `out`; `None`: nothing to send, or `out` is
    /// too short.
    pub fn poll_transmit(&mut self, now: MonoNs, out: &mut [u8]) -> Option<usize> {
        let mut out = Out::new(out);
        if self.conf_due {
            self.conf_due = false;
            out.text("{\"event\":\"conf\",\"flags\":");
            out.uint(self.config.flags as u64);
            out.text("}");
            return out.finish();
        }
        if self.state == AuthState::Due {
            self.state = AuthState::Sent;
            self.deadline = now + ms(self.config.auth_timeout_ms);
            self.write_auth(&mut out);
            return out.finish();
        }
        let pings = self.config.ping_interval_ms != 0 && self.state == AuthState::Ok;
        if pings && now >= self.next_ping_at {
            self.next_ping_at = now + ms(self.config.ping_interval_ms);
            self.ping_sent_at = now;
            self.ping_number += 1;
            out.text("{\"event\":\"ping\",\"cid\":");
            out.uint(self.ping_number);
            out.text("}");
            return out.finish();
        }
        None
    }
    fn write_auth(&self, out: &mut Out) {
        out.text("{\"event\":\"auth\",\"apiKey\":");
        out.quoted(self.key.id().as_bytes());
        out.text(",\"authSig\":\"");
        out.bytes(self.key.sign_ws(self.nonce).as_bytes());
        out.text("\",\"authPayload\":\"AUTH");
        out.uint(self.nonce);
        out.text("\",\"authNonce\":");
        out.uint(self.nonce);
        if self.config.dms {
            out.text(",\"dms\":4");
        }
        for (index, filter) in self.config.filters.iter().enumerate() {
            out.text(if index == 0 { ",\"filter\":[" } else { "," });
            out.quoted(filter.as_bytes());
        }
        out.text(if self.config.filters.is_empty() { "}" } else { "]}" });
    }

    /// One whole text message.
    #[inline]
    pub fn on_message<S: BodySink>(&mut self, text: &[u8], now: MonoNs, sink: &mut S) {
        self.counters.frames += 1;
        self.counters.bytes += text.len() as u64;
        let fault = match text {
            [b'[', ..] => self.on_array(text, now, sink),
            _ => self.on_object(text, now, sink),
        };
        if let Err(fault) = fault {
            self.on_fault(fault, text, now);
        }
    }

    fn on_array<S: BodySink>(
        &mut self,
        text: &[u8],
        now: MonoNs,
        sink: &mut S,
    ) -> Result<(), Fault> {
        let size = text.len();
        let mut scan = Scanner::new(text);
        scan.expect(b'[')?;
        let chan_id = scan.uint()?;
        scan.expect(b',')?;
        self.alive_at = now;
        if chan_id != 0 {
            // Nothing public is asked for on this socket; its numbers count all the same.
            scan.skip_value()?;
            self.accept_trail(b"", trail(&mut scan, size)?, sink);
            return Err(Fault::Unknown);
        }
        let tag = scan.string()?;
        if tag == b"hb" {
            self.accept_trail(tag, trail(&mut scan, size)?, sink);
            self.counters.heartbeats += 1;
            return Ok(());
        }
        scan.expect(b',')?;
        match tag {
            b"on" | b"ou" | b"oc" => {
                let source = match tag {
                    b"on" => Source::New,
                    b"ou" => Source::Update,
                    _ => Source::Closed,
                };
                let order = order_row(&mut scan, &self.table, source)?;
                self.finish_frame(tag, &mut scan, size, sink)?;
                self.counters.orders += 1;
                sink.body(Body::Order(order));
            }
            b"te" | b"tu" => {
                let fill = fill_row(&mut scan, &self.table)?;
                self.finish_frame(tag, &mut scan, size, sink)?;
                self.counters.fills += 1;
                sink.body(Body::Fill(fill));
            }
            b"n" => {
                let ack = ack_row(&mut scan, &self.table)?;
                self.finish_frame(tag, &mut scan, size, sink)?;
                self.counters.notifications += 1;
                sink.body(Body::Ack(ack));
            }
            b"wu" => {
                let wallet = wallet_row(&mut scan, Source::Update)?;
                self.finish_frame(tag, &mut scan, size, sink)?;
                self.counters.wallets += 1;
                sink.body(Body::Wallet(wallet));
            }
            b"pn" | b"pu" | b"pc" => {
                let source = match tag {
                    b"pn" => Source::New,
                    b"pu" => Source::Update,
                    _ => Source::Closed,
                };
                let position = position_row(&mut scan, &self.table, source)?;
                self.finish_frame(tag, &mut scan, size, sink)?;
                self.counters.positions += 1;
                sink.body(Body::Position(position));
            }
            b"os" => self.on_snapshot(tag, SnapshotOf::Orders, scan, size, sink)?,
            b"ps" => self.on_snapshot(tag, SnapshotOf::Positions, scan, size, sink)?,
            b"ws" => self.on_snapshot(tag, SnapshotOf::Wallets, scan, size, sink)?,
            _ => {
                scan.skip_value()?;
                self.finish_frame(tag, &mut scan, size, sink)?;
                if !is_ignorable(tag) {
                    return Err(Fault::Unknown);
                }
                self.counters.ignored += 1;
            }
        }
        Ok(())
    }

    /// A whole list, told between two marks. It is read once through first: half a list is never
    /// told.
    fn on_snapshot<S: BodySink>(
        &mut self,
        tag: &[u8],
        of: SnapshotOf,
        scan: Scanner,
        size: usize,
        sink: &mut S,
    ) -> Result<(), Fault> {
        let mut ahead = scan;
        self.each_row(of, &mut ahead, |_| {})?;
        self.finish_frame(tag, &mut ahead, size, sink)?;
        sink.body(Body::Snapshot(SnapshotMark { of, end: false, count: 0 }));
        let count = self.each_row(of, &mut scan.clone(), |body| sink.body(body))?;
        sink.body(Body::Snapshot(SnapshotMark { of, end: true, count }));
        match of {
            SnapshotOf::Orders => self.counters.orders += count as u64,
            SnapshotOf::Positions => self.counters.positions += count as u64,
            _ => self.counters.wallets += count as u64,
        }
        Ok(())
    }
    fn each_row(
        &self,
        of: SnapshotOf,
        scan: &mut Scanner,
        mut tell: impl FnMut(Body),
    ) -> Result<u32, ScanError> {
        if scan.null() {
            return Ok(0);
        }
        let mut list = Row::enter(scan)?;
        let mut count = 0;
        while list.has_more() {
            let scan = list.nested();
            let body = match of {
                SnapshotOf::Orders => Body::Order(order_row(scan, &self.table, Source::Snapshot)?),
                SnapshotOf::Positions => {
                    Body::Position(position_row(scan, &self.table, Source::Snapshot)?)
                }
                _ => Body::Wallet(wallet_row(scan, Source::Snapshot)?),
            };
            tell(body);
            list.nested_done()?;
            count += 1;
        }
        Ok(count)
    }

    #[inline]
    fn finish_frame<S: BodySink>(
        &mut self,
        tag: &[u8],
        scan: &mut Scanner,
        size: usize,
        sink: &mut S,
    ) -> Result<(), Fault> {
        let found = trail(scan, size)?;
        self.counters.rounded += scan.rounded() as u64;
        self.accept_trail(tag, found, sink);
        Ok(())
    }

    /// Numbers and time of a frame: `PUB_SEQ, AUTH_SEQ, TS`; heartbeats without the second,
    /// notifications with one or none of the first two (sources disagree), so those are never held
    /// against the server.
    #[inline]
    fn accept_trail<S: BodySink>(&mut self, tag: &[u8], trail: Trail, sink: &mut S) {
        let behind = usize::from(self.has_time);
        if self.has_time
            && let Some(at) = trail.from_end(0)
        {
            sink.market_time(wall_ms(at));
        }
        if !self.has_seq {
            return;
        }
        let (public, account) = match trail.count as usize - behind.min(trail.count as usize) {
            0 => (None, None),
            1 => (trail.from_end(behind), None),
            _ => (trail.from_end(behind + 1), trail.from_end(behind)),
        };
        if let Some(account) = account
            && account != 0
        {
            let is_jump = self.auth_seq != 0
                && account != self.auth_seq
                && account != self.auth_seq.wrapping_add(1);
            self.counters.auth_seq_jumps += u64::from(is_jump);
            self.auth_seq = account;
        }
        self.counters.seq_checked += 1;
        let is_whole = match (tag, public) {
            (b"n", None) => true,
            // One number on a notification may be either counter.
            (b"n", Some(number)) if account.is_none() => {
                self.sequence.accept(number);
                true
            }
            (_, number) => self.sequence.check(number.unwrap_or(0)) == SeqCheck::InOrder,
        };
        if !is_whole {
            self.counters.seq_gaps += 1;
            self.reconnect.get_or_insert(ReconnectReason::SequenceGap);
        }
    }

    #[inline(never)]
    fn on_object<S: BodySink>(
        &mut self,
        text: &[u8],
        now: MonoNs,
        sink: &mut S,
    ) -> Result<(), Fault> {
        let fields = EventFields::parse(text)?;
        self.counters.events += 1;
        match fields.event {
            b"info" => {
                if fields.version.is_some_and(|version| version != 2) {
                    self.reconnect.get_or_insert(ReconnectReason::Version);
                }
                let starts = fields.code == Some(code::MAINTENANCE_START)
                    || fields.platform_status() == Some(0);
                let ends = fields.code == Some(code::MAINTENANCE_END);
                if fields.code == Some(code::STOPPING) {
                    self.reconnect.get_or_insert(ReconnectReason::ServerStopping);
                } else if starts && !self.maintenance {
                    self.maintenance = true;
                    self.tell_link(LinkState::MaintenanceStarted, fields.code_i32(), sink);
                } else if ends && self.maintenance {
                    // What happened meanwhile is learned from the snapshots of a new socket.
                    self.maintenance = false;
                    self.tell_link(LinkState::MaintenanceEnded, fields.code_i32(), sink);
                    self.reconnect.get_or_insert(ReconnectReason::Maintenance);
                }
            }
            b"auth" => self.on_auth(&fields, now, sink),
            b"conf" => {
                if fields.status != b"OK" {
                    self.reconnect.get_or_insert(ReconnectReason::ConfRefused);
                }
            }
            b"pong" => {
                self.counters.pongs += 1;
                if fields.cid == Some(self.ping_number as i64) {
                    self.counters.ping_rtt_ns = (now - self.ping_sent_at).0.max(0) as u64;
                }
            }
            b"error" => {
                self.counters.errors += 1;
                self.recorder.keep(now, text);
                if let Some(10_100..=10_114) = fields.code
                    && self.state == AuthState::Sent
                {
                    self.refuse_auth(fields.code_i32(), sink);
                }
            }
            b"subscribed" | b"unsubscribed" | b"unauth" => self.counters.ignored += 1,
            _ => return Err(Fault::Unknown),
        }
        Ok(())
    }
    fn on_auth<S: BodySink>(&mut self, fields: &EventFields, now: MonoNs, sink: &mut S) {
        if self.state != AuthState::Sent {
            // An answer to nothing, or `auth: dup` of a stream that is open already.
            self.counters.errors += 1;
            return;
        }
        if fields.status != b"OK" {
            self.refuse_auth(fields.code_i32(), sink);
        } else if fields.may_write(b"orders") == Some(false) {
            self.refuse_auth(CODE_NO_ORDER_RIGHT, sink);
        } else if fields.may_write(b"withdraw") == Some(true) && self.config.refuse_withdraw_right {
            self.refuse_auth(CODE_WITHDRAW_RIGHT, sink);
        } else {
            self.state = AuthState::Ok;
            self.alive_at = now;
            self.tell_link(LinkState::Authenticated, 0, sink);
        }
    }
    fn refuse_auth<S: BodySink>(&mut self, code: i32, sink: &mut S) {
        self.state = AuthState::Failed;
        self.tell_link(LinkState::AuthFailed, code, sink);
        let reason = if code as i64 == code::AUTH_NONCE {
            ReconnectReason::Nonce
        } else {
            ReconnectReason::AuthRefused
        };
        self.reconnect.get_or_insert(reason);
    }
    fn tell_link<S: BodySink>(&self, state: LinkState, code: i32, sink: &mut S) {
        let conn = self.config.conn;
        sink.body(Body::Link(LinkEvent { conn, trading: true, state, code }));
    }

    #[cold]
    #[inline(never)]
    fn on_fault(&mut self, fault: Fault, text: &[u8], now: MonoNs) {
        self.recorder.keep(now, text);
        match fault {
            Fault::Unknown => self.counters.unknown += 1,
            Fault::Malformed => {
                self.counters.malformed += 1;
                // It may have been a fill: only snapshots and REST can tell. Not more often than
                // allowed, or a message that is always unreadable would keep us from trading and
                // from leaving.
                if self.state == AuthState::Ok && now >= self.malformed_reconnect_at {
                    self.malformed_reconnect_at = now + ms(self.config.malformed_reconnect_ms);
                    self.reconnect.get_or_insert(ReconnectReason::Malformed);
                }
            }
        }
    }
}

/// Types of channel 0 that we know and do not need.
fn is_ignorable(tag: &[u8]) -> bool {
    const KNOWN: [&[u8]; 32] = [
        b"bu", b"miu", b"fiu", b"fte", b"ftu", b"fos", b"fon", b"fou", b"foc", b"fcs", b"fcn",
        b"fcu", b"fcc", b"fls", b"fln", b"flu", b"flc", b"uac", b"hos", b"hts", b"hfos", b"hfcs",
        b"hfls", b"hfts", b"mis", b"fis", b"bs", b"ats", b"fc", b"uca", b"hls", b"ucm",
    ];
    KNOWN.contains(&tag)
}

const fn ms(ms: u64) -> SpanNs {
    SpanNs::from_ms(ms as i64)
}

#[cfg(test)]
#[path = "private_tests.rs"]
mod tests;
