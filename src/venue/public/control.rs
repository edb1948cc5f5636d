//! The session's calm half: opening, object messages, time-outs, what to send.

use super::channel::{Channel, ChannelState, FOREIGN_MAX, Found};
use super::session::{Fault, PublicSession};
use super::{FeedSink, ReconnectReason, Subscription};
use crate::base::time::{MonoNs, SpanNs};
use crate::model::{ChannelKind, ChannelQuiet, Instrument, LinkState, SyncState};
use crate::venue::event::{EventFields, code};
use crate::venue::out::Out;
use crate::venue::scan::int_of;

/// Between two looks at the deadlines.
const CHECK_EVERY: SpanNs = SpanNs::from_ms(10);
/// A look that comes later than this shows that this thread was not run: silence proves nothing.
const LATE: SpanNs = SpanNs::from_ms(250);
/// And then nobody is called hushed for so long, until what waited in the socket is read.
const AFTER_LATE: SpanNs = SpanNs::from_s(1);
/// The usual gap loses one part in 2^17 a look: half of it in a quarter of an hour.
const USUAL_FADES: u32 = 17;
/// Data frames before a channel's usual gap is known.
const KNOWN_AFTER: u64 = 200;
/// Before a request is repeated that came too early (code 11000).
const NOT_READY_WAIT: SpanNs = SpanNs::from_s(1);
/// Sub ids of one generation: above the number of channels.
const GENERATION: u32 = 100;
const _: () = assert!(super::channel::CHANNELS_MAX < GENERATION as usize);

impl PublicSession {
    /// The socket is open, its handshake done.
    pub fn on_open<S: FeedSink>(&mut self, now: MonoNs, sink: &mut S) {
        self.open = true;
        self.broken = false;
        self.maintenance = false;
        self.has_info = false;
        self.opened_at = now;
        self.conf_due = self.config.flags != 0;
        self.transmit_due = true;
        self.reconnect = None;
        self.malformed_count = 0;
        self.next_check_at = now;
        self.next_ping_at = now + ms(self.config.ping_interval_ms);
        self.sequence.reset();
        self.foreign.clear();
        for index in 0..self.channels.len() {
            self.clear_book(index);
            self.channels[index].restart();
            self.channels[index].hushed_at = MonoNs(0);
            self.channels[index].attempts = 0;
        }
        self.rebuild_map();
        sink.link(LinkState::Up, 0);
        for state in self.symbols.iter_mut() {
            if !state.synced && state.reason == SyncState::Disconnected && state.since.0 == 0 {
                state.since = now;
            }
        }
        for index in 0..self.channels.len() {
            self.refresh_symbol(index, SyncState::AwaitingSnapshot, now, sink);
        }
    }

    /// The socket is closed, whoever closed it.
    pub fn on_close<S: FeedSink>(&mut self, now: MonoNs, sink: &mut S) {
        if !self.open {
            return;
        }
        self.open = false;
        self.conf_due = false;
        self.transmit_due = false;
        for index in 0..self.channels.len() {
            self.clear_book(index);
            self.channels[index].restart();
        }
        self.rebuild_map();
        sink.link(LinkState::Down, 0);
        for index in 0..self.channels.len() {
            self.refresh_symbol(index, SyncState::Disconnected, now, sink);
        }
    }

    /// The rest of time: silence, requests without answer, quiet channels, crossed books. Cheap
    /// between its own looks, so it may be called every turn.
    #[inline]
    pub fn on_time<S: FeedSink>(&mut self, now: MonoNs, sink: &mut S) {
        if now >= self.next_check_at && self.open {
            self.check_deadlines(now, sink);
        }
    }

    #[inline(never)]
    fn check_deadlines<S: FeedSink>(&mut self, now: MonoNs, sink: &mut S) {
        if self.next_check_at.0 != 0 && now - self.next_check_at > LATE {
            self.hush_from = now + AFTER_LATE;
        }
        self.next_check_at = now + CHECK_EVERY;
        if !self.has_info && now - self.opened_at > ms(self.config.info_timeout_ms) {
            self.reconnect.get_or_insert(ReconnectReason::Silence);
        }
        if self.maintenance && now >= self.maintenance_until {
            self.reconnect.get_or_insert(ReconnectReason::Maintenance);
        }
        let silence = ms(self.config.hb_silence_ms);
        for index in 0..self.channels.len() {
            let channel = self.channels[index];
            let is_overdue = channel.deadline.0 != 0 && now >= channel.deadline;
            match channel.state {
                ChannelState::Live => {
                    if now - channel.alive_at > silence {
                        self.reconnect.get_or_insert(ReconnectReason::Silence);
                        self.channels[index].has_snapshot = false;
                        self.clear_book(index);
                        self.refresh_symbol(index, SyncState::Silent, now, sink);
                        continue;
                    }
                    if is_overdue && channel.subscription.is_book() && !channel.has_snapshot {
                        self.counters.subscribe_timeouts += 1;
                        self.resync(index, SyncState::AwaitingSnapshot, now, sink);
                        continue;
                    }
                    if channel.crossed
                        && now - channel.crossed_at > ms(self.config.crossed_after_ms)
                    {
                        self.resync(index, SyncState::Crossed, now, sink);
                        continue;
                    }
                    if self.is_hushed(index, now) {
                        self.on_hush(index, now, sink);
                        continue;
                    }
                    self.check_quiet(index, now, sink);
                }
                ChannelState::Subscribing if is_overdue => {
                    self.counters.subscribe_timeouts += 1;
                    self.channels[index].state = ChannelState::Wanted;
                    self.channels[index].deadline = MonoNs(0);
                    self.transmit_due = true;
                    if channel.attempts >= self.config.subscribe_attempts_max {
                        self.reconnect.get_or_insert(ReconnectReason::SubscribeTimeout);
                    }
                }
                // No answer to our leaving: ask again anyway; a dup error will name the old number.
                ChannelState::Unsubscribing if is_overdue => self.want_again(index),
                ChannelState::Wanted if is_overdue => self.transmit_due = true,
                ChannelState::Parked if is_overdue => {
                    self.channels[index].exhausted = false;
                    if channel.chan_id == 0 {
                        self.want_again(index);
                    } else {
                        self.channels[index].state = ChannelState::UnsubscribeDue;
                        self.transmit_due = true;
                    }
                }
                _ => {}
            }
        }
    }
    /// True where data stay away far longer than they ever do. Heartbeats say that the socket
    /// lives, not that this channel does.
    fn is_hushed(&mut self, index: usize, now: MonoNs) -> bool {
        let (factor, floor_ms) = (self.config.hush_factor, self.config.hush_ms);
        let channel = &mut self.channels[index];
        let longest = std::mem::take(&mut channel.gap_max_ns);
        let faded = channel.usual_ns - (channel.usual_ns >> USUAL_FADES);
        channel.usual_ns = faded.max(longest);
        if factor == 0 || channel.data_at.0 == 0 || channel.data_frames < KNOWN_AFTER {
            return false;
        }
        let bound_ns = channel.usual_ns.saturating_mul(u64::from(factor));
        let gap = now - channel.data_at;
        gap > ms(floor_ms) && gap.0.unsigned_abs() > bound_ns && now >= self.hush_from
    }
    /// Asks for a hushed channel again; a book is not trusted until its snapshot is here. What was
    /// borne once is usual from then on: a market that calms down is asked about a few times only.
    #[cold]
    #[inline(never)]
    fn on_hush<S: FeedSink>(&mut self, index: usize, now: MonoNs, sink: &mut S) {
        let channel = &mut self.channels[index];
        let gap = now - channel.data_at;
        channel.usual_ns = channel.usual_ns.max(gap.0.unsigned_abs());
        channel.hushed_at = now;
        self.counters.hushes += 1;
        if channel.subscription.is_book() {
            self.channels[index].hushed_sum = self.book_sum(index);
            return self.resync(index, SyncState::Silent, now, sink);
        }
        let Subscription { symbol, kind, .. } = channel.subscription;
        channel.quiet = true;
        let gap_ms = gap.as_ms().max(0) as u64;
        let window_ns = self.config.resync_window_ms * 1_000_000;
        // Beyond the budget it is waited for: heartbeats and the socket's own silence still count.
        if channel.spend_resync(now, window_ns, self.config.resync_budget) {
            channel.state = ChannelState::UnsubscribeDue;
            self.transmit_due = true;
        }
        sink.quiet(ChannelQuiet { symbol, kind, quiet: true, gap_ms, missed: 0 });
    }
    fn check_quiet<S: FeedSink>(&mut self, index: usize, now: MonoNs, sink: &mut S) {
        let channel = &mut self.channels[index];
        let Subscription { symbol, kind, quiet_after_ms, .. } = channel.subscription;
        if quiet_after_ms == 0 || channel.quiet || channel.data_at.0 == 0 {
            return;
        }
        let gap = now - channel.data_at;
        if gap > ms(quiet_after_ms as u64) {
            channel.quiet = true;
            let gap_ms = gap.as_ms().max(0) as u64;
            sink.quiet(ChannelQuiet { symbol, kind, quiet: true, gap_ms, missed: 0 });
        }
    }

    /// Text of the next message to send, written into `out`; `None`: nothing to send, or `out` is
    /// too short.
    #[inline]
    pub fn poll_transmit(&mut self, now: MonoNs, out: &mut [u8]) -> Option<usize> {
        if !self.open || !(self.conf_due || self.transmit_due || self.is_ping_due(now)) {
            return None;
        }
        self.transmit(now, out)
    }
    fn is_ping_due(&self, now: MonoNs) -> bool {
        self.config.ping_interval_ms != 0 && now >= self.next_ping_at
    }
    #[inline(never)]
    fn transmit(&mut self, now: MonoNs, out: &mut [u8]) -> Option<usize> {
        let mut out = Out::new(out);
        if self.conf_due {
            self.conf_due = false;
            out.text("{\"event\":\"conf\",\"flags\":");
            out.uint(self.config.flags as u64);
            out.text("}");
            return out.finish();
        }
        if self.transmit_due {
            for index in 0..self.channels.len() {
                let channel = &mut self.channels[index];
                let deadline = now + ms(self.config.subscribe_timeout_ms);
                match channel.state {
                    ChannelState::UnsubscribeDue => {
                        channel.state = ChannelState::Unsubscribing;
                        channel.deadline = deadline;
                        out.text("{\"event\":\"unsubscribe\",\"chanId\":");
                        out.uint(channel.chan_id as u64);
                        out.text("}");
                        return out.finish();
                    }
                    ChannelState::Wanted if now >= channel.deadline => {
                        self.generation = (self.generation + 1) % (u32::MAX / GENERATION);
                        channel.sub_id = self.generation * GENERATION + index as u32;
                        channel.state = ChannelState::Subscribing;
                        channel.deadline = deadline;
                        channel.attempts = channel.attempts.saturating_add(1);
                        let instrument = self.table.get(channel.subscription.symbol);
                        write_subscribe(&mut out, &channel.subscription, instrument);
                        out.text(",\"subId\":");
                        out.uint(channel.sub_id as u64);
                        out.text("}");
                        return out.finish();
                    }
                    _ => {}
                }
            }
            self.transmit_due = false;
        }
        if self.is_ping_due(now) {
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

    #[inline(never)]
    pub(super) fn on_object<S: FeedSink>(
        &mut self,
        text: &[u8],
        now: MonoNs,
        sink: &mut S,
    ) -> Result<(), Fault> {
        let fields = EventFields::parse(text)?;
        self.counters.events += 1;
        match fields.event {
            b"info" => self.on_info(&fields, now, sink),
            b"subscribed" => self.on_subscribed(&fields, now, sink),
            b"unsubscribed" => {
                if let Some(chan_id) = fields.chan_id {
                    self.on_unsubscribed(chan_id, now, sink);
                }
            }
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
            b"error" => self.on_error(&fields, now, sink),
            _ => return Err(Fault::Unknown),
        }
        Ok(())
    }

    fn on_info<S: FeedSink>(&mut self, fields: &EventFields, now: MonoNs, sink: &mut S) {
        self.counters.infos += 1;
        if let Some(version) = fields.version {
            self.has_info = true;
            if version != 2 {
                self.reconnect.get_or_insert(ReconnectReason::Version);
            }
            match fields.platform_status() {
                Some(0) => self.start_maintenance(0, now, sink),
                _ => self.end_maintenance(0, now, sink),
            }
        }
        match fields.code {
            Some(code::STOPPING) => {
                self.reconnect.get_or_insert(ReconnectReason::ServerStopping);
            }
            Some(code::MAINTENANCE_START) => {
                self.start_maintenance(fields.code_i32(), now, sink);
            }
            Some(code::MAINTENANCE_END) => {
                self.end_maintenance(fields.code_i32(), now, sink);
                // Every book must be built anew; asking again does that without a new socket.
                for index in 0..self.channels.len() {
                    if self.channels[index].state == ChannelState::Live {
                        self.clear_book(index);
                        let channel = &mut self.channels[index];
                        channel.has_snapshot = false;
                        channel.crossed = false;
                        channel.state = ChannelState::UnsubscribeDue;
                        self.transmit_due = true;
                    }
                }
                for index in 0..self.channels.len() {
                    self.refresh_symbol(index, SyncState::AwaitingSnapshot, now, sink);
                }
            }
            _ => {}
        }
    }
    fn start_maintenance<S: FeedSink>(&mut self, code: i32, now: MonoNs, sink: &mut S) {
        if !self.maintenance {
            self.maintenance = true;
            self.maintenance_until = now + ms(self.config.maintenance_timeout_ms);
            sink.link(LinkState::MaintenanceStarted, code);
            for index in 0..self.channels.len() {
                self.set_book_synced(index, false);
                self.refresh_symbol(index, SyncState::Maintenance, now, sink);
            }
        }
    }
    fn end_maintenance<S: FeedSink>(&mut self, code: i32, now: MonoNs, sink: &mut S) {
        if self.maintenance {
            self.maintenance = false;
            sink.link(LinkState::MaintenanceEnded, code);
            for index in 0..self.channels.len() {
                let channel = &self.channels[index];
                let is_good = channel.has_snapshot && !channel.crossed;
                self.set_book_synced(index, is_good);
                self.refresh_symbol(index, SyncState::AwaitingSnapshot, now, sink);
            }
        }
    }

    fn on_subscribed<S: FeedSink>(&mut self, fields: &EventFields, now: MonoNs, sink: &mut S) {
        let Some(chan_id) = chan_id_of(fields.chan_id) else { return };
        match self.asked_for(fields) {
            Some(index) => {
                let deadline = now + ms(self.config.subscribe_timeout_ms);
                let channel = &mut self.channels[index];
                channel.chan_id = chan_id;
                channel.state = ChannelState::Live;
                channel.attempts = 0;
                channel.alive_at = now;
                channel.deadline = deadline;
                self.rebuild_map();
                self.refresh_symbol(index, SyncState::AwaitingSnapshot, now, sink);
            }
            None => {
                if self.foreign.len() < FOREIGN_MAX && !self.foreign.contains(&chan_id) {
                    self.foreign.push(chan_id);
                    self.rebuild_map();
                }
            }
        }
    }

    fn on_unsubscribed<S: FeedSink>(&mut self, chan_id: i64, now: MonoNs, sink: &mut S) {
        let Some(chan_id) = chan_id_of(Some(chan_id)) else { return };
        match self.map.find(chan_id as u64) {
            Found::Own(index) => {
                self.clear_book(index);
                if self.channels[index].state == ChannelState::Parked {
                    self.channels[index].chan_id = 0;
                    self.rebuild_map();
                    return;
                }
                self.want_again(index);
                self.refresh_symbol(index, SyncState::AwaitingSnapshot, now, sink);
            }
            Found::Foreign => {
                self.foreign.retain(|known| *known != chan_id);
                self.rebuild_map();
            }
            Found::Unknown => {}
        }
    }

    fn on_error<S: FeedSink>(&mut self, fields: &EventFields, now: MonoNs, sink: &mut S) {
        self.counters.errors += 1;
        match fields.code {
            Some(code::CONF_FAILED) => {
                self.reconnect.get_or_insert(ReconnectReason::ConfRefused);
            }
            Some(code::UNSUBSCRIBE_FAILED | code::UNSUBSCRIBE_NOT) => match fields.chan_id {
                // The server does not know the channel: as good as left.
                Some(chan_id) => self.on_unsubscribed(chan_id, now, sink),
                None => {
                    for index in 0..self.channels.len() {
                        if self.channels[index].state == ChannelState::Unsubscribing {
                            self.want_again(index);
                        }
                    }
                }
            },
            Some(code::SUBSCRIBE_DUP) => {
                let (Some(index), Some(chan_id)) =
                    (self.asked_for(fields), chan_id_of(fields.chan_id))
                else {
                    return;
                };
                let channel = &mut self.channels[index];
                channel.chan_id = chan_id;
                channel.alive_at = now;
                // A snapshot comes only with a new subscription, so a book must be left first.
                let is_book = channel.subscription.is_book();
                channel.state =
                    if is_book { ChannelState::UnsubscribeDue } else { ChannelState::Live };
                self.transmit_due |= is_book;
                self.rebuild_map();
                self.refresh_symbol(index, SyncState::AwaitingSnapshot, now, sink);
            }
            Some(code::NOT_READY) => {
                if let Some(index) = self.asked_for(fields) {
                    self.channels[index].state = ChannelState::Wanted;
                    self.channels[index].deadline = now + NOT_READY_WAIT;
                }
            }
            _ => {
                if let Some(index) = self.asked_for(fields) {
                    self.counters.refused += 1;
                    self.channels[index].state = ChannelState::Refused;
                    sink.refused(&self.channels[index].subscription, fields.code_i32());
                    self.refresh_symbol(index, SyncState::AwaitingSnapshot, now, sink);
                }
            }
        }
    }

    /// Which of our requests an answer is to: by our sub id where it is echoed, else by what was
    /// asked for.
    fn asked_for(&self, fields: &EventFields) -> Option<usize> {
        let is_open =
            |c: &Channel| matches!(c.state, ChannelState::Wanted | ChannelState::Subscribing);
        if let Some(sub_id) = fields.sub_id {
            return self
                .channels
                .iter()
                .position(|c| c.sub_id != 0 && c.sub_id as i64 == sub_id && is_open(c));
        }
        self.channels.iter().position(|c| {
            let name = self.table.get(c.subscription.symbol).name;
            is_open(c) && is_answer_to(fields, &c.subscription, name.as_bytes())
        })
    }

    fn want_again(&mut self, index: usize) {
        let alive_at = self.channels[index].alive_at;
        self.channels[index].restart();
        self.channels[index].alive_at = alive_at;
        self.transmit_due = true;
        self.rebuild_map();
    }
    fn rebuild_map(&mut self) {
        self.map.rebuild(&self.channels, &self.foreign);
    }
}

const fn ms(ms: u64) -> SpanNs {
    SpanNs::from_ms(ms as i64)
}

fn chan_id_of(value: Option<i64>) -> Option<u32> {
    value.and_then(|id| u32::try_from(id).ok()).filter(|id| *id != 0)
}

const fn channel_name(kind: ChannelKind) -> &'static str {
    match kind {
        ChannelKind::Book | ChannelKind::RawBook => "book",
        ChannelKind::Trades => "trades",
        ChannelKind::Ticker => "ticker",
        ChannelKind::Candles => "candles",
        ChannelKind::Status => "status",
    }
}

fn is_answer_to(fields: &EventFields, subscription: &Subscription, name: &[u8]) -> bool {
    if fields.channel != channel_name(subscription.kind).as_bytes() {
        return false;
    }
    match subscription.kind {
        ChannelKind::Trades | ChannelKind::Ticker => fields.symbol == name,
        ChannelKind::Book | ChannelKind::RawBook => {
            let same_len = int_of(fields.len).is_none_or(|len| len == subscription.len as i64);
            fields.symbol == name && fields.prec == subscription.prec.name().as_bytes() && same_len
        }
        ChannelKind::Candles => {
            let frame = subscription.timeframe.map_or("", |t| t.name()).as_bytes();
            let rest = fields.key.strip_prefix(b"trade:").and_then(|k| k.strip_prefix(frame));
            rest.and_then(|k| k.strip_prefix(b":")) == Some(name)
        }
        ChannelKind::Status => fields.key.strip_prefix(b"deriv:") == Some(name),
    }
}

/// The request without its end, so that a sub id may follow.
fn write_subscribe(out: &mut Out, subscription: &Subscription, instrument: &Instrument) {
    out.text("{\"event\":\"subscribe\",\"channel\":\"");
    out.text(channel_name(subscription.kind));
    let name = instrument.name.as_bytes();
    match subscription.kind {
        ChannelKind::Trades | ChannelKind::Ticker => {
            out.text("\",\"symbol\":\"");
            out.bytes(name);
        }
        ChannelKind::Book | ChannelKind::RawBook => {
            out.text("\",\"symbol\":\"");
            out.bytes(name);
            out.text("\",\"prec\":\"");
            out.text(subscription.prec.name());
            out.text("\",\"freq\":\"");
            out.text(subscription.freq.name());
            out.text("\",\"len\":\"");
            out.uint(subscription.len as u64);
        }
        ChannelKind::Candles => {
            out.text("\",\"key\":\"trade:");
            out.text(subscription.timeframe.map_or("1m", |t| t.name()));
            out.text(":");
            out.bytes(name);
        }
        ChannelKind::Status => {
            out.text("\",\"key\":\"deriv:");
            out.bytes(name);
        }
    }
    out.text("\"");
}
