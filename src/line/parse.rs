//! The front of the line: websocket bytes in, stamped events out. Sessions, decoding, books, bars,
//! the sequencer and the mouth meet here; behind it there is one ring and one order of things.

use super::{Now, Probe};
use crate::base::ids::{ConnId, SymbolId};
use crate::base::limits::SOCKETS_MAX;
use crate::base::time::{MonoNs, Tsc, WallNs};
use crate::engine::bars::BarBuilder;
use crate::engine::mouth::{Mouth, MouthOut};
use crate::engine::sequencer::{ClockPolicy, MARKET_RESTART};
use crate::model::{
    Bar, Body, BookView, ChannelKind, ChannelQuiet, DerivStatus, LinkEvent, LinkState,
    OperatorCommand, SendReport, SymbolSync, Ticker, Trace, TradeAgg,
};
use crate::venue::private::{BodySink, PrivateSession};
use crate::venue::public::{BookRef, FeedSink, PublicSession, PublicTrade};
use crate::venue::ws::{Opcode, WsDecoder, WsMessage, encode_frame};

/// Longest text the line itself sends on a socket, bytes: conf, subscribe, auth, pong.
pub const CONTROL_TEXT_MAX: usize = 2048;

/// What a socket carries.
enum Protocol {
    Public(Box<PublicSession>),
    Private(Box<PrivateSession>),
}

struct Socket {
    ws: WsDecoder,
    protocol: Protocol,
    open: bool,
    /// A pong or close owed to the other side.
    owed: Option<(Opcode, [u8; 125], usize)>,
    /// The socket must be closed and opened again; why.
    reset: Option<ResetReason>,
}

/// Why the line wants a socket replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetReason {
    /// The session asked: stop code, gap, silence.
    Session,
    /// The other side closed the websocket; its close code.
    Closed(u16),
    /// Bytes that are not websocket frames.
    Garbage,
}

/// Counters of the front, beside those of the sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ParseCounters {
    pub frame_rx: u64,
    pub byte_rx: u64,
    pub frame_garbage: u64,
    pub book_update: u64,
    pub trade: u64,
    pub bar_closed: u64,
    pub private_rx: u64,
}

/// Tells the cold side what passed; never feeds back. Every call is a few instructions or nothing.
pub trait ParseTap {
    /// Nanoseconds between two data frames of one channel.
    fn ws_gap(&mut self, symbol: SymbolId, kind: ChannelKind, gap_ns: u64);
    /// A private event, with the time its frame was read.
    fn private(&mut self, body: &Body, recv: Tsc);
    /// A closed bar, a sync change, a link change.
    fn control(&mut self, body: &Body);
    /// A book changed.
    fn book(&mut self, view: &BookView, now: MonoNs);
}

/// No tap.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTap;
impl ParseTap for NoTap {
    fn ws_gap(&mut self, _: SymbolId, _: ChannelKind, _: u64) {}
    fn private(&mut self, _: &Body, _: Tsc) {}
    fn control(&mut self, _: &Body) {}
    fn book(&mut self, _: &BookView, _: MonoNs) {}
}

pub struct ParseLine {
    sockets: Vec<Socket>,
    front: Front,
    mask: crate::base::rng::Rng,
    /// What a session says next, unmasked. Kept, because zeros for it would cost each frame more
    /// than the question whether there is anything to say.
    text: Box<[u8; CONTROL_TEXT_MAX]>,
}

/// What is shared by all sockets, apart so that a session and the front can be borrowed together.
struct Front {
    bars: BarBuilder,
    mouth: Mouth,
    counters: ParseCounters,
    market: MarketClock,
}

/// How far each market-data socket has been read, in market time. The market's clock is the least
/// of them: at full speed sockets are read unevenly, and what is still to come on one must not find
/// its bars closed because another is ahead. Sockets of the account do not count for the same
/// reason, and because they say nothing about trades.
struct MarketClock {
    /// By `ConnId`; `None` = closed, or not heard yet.
    read_to: [Option<WallNs>; SOCKETS_MAX],
    told: WallNs,
}
impl MarketClock {
    /// Moves on with a frame's time; the clock's new time, if it moved.
    fn on_frame(&mut self, conn: ConnId, at: WallNs) -> Option<WallNs> {
        let place = self.read_to.get_mut(conn.index())?;
        if place.is_some_and(|before| before - at > MARKET_RESTART) {
            // Begun again: the sequencer knows what to do with it.
            *self = MarketClock { read_to: [None; SOCKETS_MAX], told: at };
            self.read_to[conn.index()] = Some(at);
            return Some(at);
        }
        *place = Some(place.map_or(at, |before| before.max(at)));
        let least = self.read_to.iter().flatten().min().copied()?;
        (least > self.told).then(|| {
            self.told = least;
            least
        })
    }
    fn on_close(&mut self, conn: ConnId) {
        if let Some(place) = self.read_to.get_mut(conn.index()) {
            *place = None;
        }
    }
}

impl Front {
    /// Everything leaves through here: the mouth conflates or passes, and stamps at delivery.
    #[inline(always)]
    fn offer(&mut self, body: Body, trace: Trace, out: &mut impl MouthOut) {
        self.mouth.offer(body, trace, out);
    }

    /// The host's clocks were read.
    #[inline(always)]
    fn observe(&mut self, now: Now, out: &mut impl MouthOut, tap: &mut impl ParseTap) {
        if self.mouth.sequencer_mut().on_host_time(now.mono, now.wall) {
            self.tick(out, tap);
        }
    }

    /// The clock of the stamps passed a tick: bar ends first, then the tick itself.
    #[cold]
    fn tick(&mut self, out: &mut impl MouthOut, tap: &mut impl ParseTap) {
        let Front { bars, mouth, counters, .. } = self;
        let (_, wall) = mouth.sequencer().now();
        bars.on_time(wall, &mut |bar: Bar| {
            counters.bar_closed += 1;
            let body = Body::Bar(bar);
            tap.control(&body);
            mouth.offer(body, Trace::default(), out);
        });
        mouth.offer(Body::Tick, Trace::default(), out);
    }
}

impl ParseLine {
    /// `sockets` in order of their `ConnId`.
    pub fn new(bars: BarBuilder, mouth: Mouth, mask_seed: u64) -> Self {
        Self {
            sockets: Vec::new(),
            front: Front {
                bars,
                mouth,
                counters: ParseCounters::default(),
                market: MarketClock { read_to: [None; SOCKETS_MAX], told: WallNs(0) },
            },
            mask: crate::base::rng::Rng::new(mask_seed),
            text: Box::new([0; CONTROL_TEXT_MAX]),
        }
    }

    /// Adds a market-data socket; its id is the count so far.
    pub fn add_public(&mut self, session: PublicSession) -> ConnId {
        self.add(Protocol::Public(Box::new(session)))
    }

    /// Adds the socket that carries the account.
    pub fn add_private(&mut self, session: PrivateSession) -> ConnId {
        self.add(Protocol::Private(Box::new(session)))
    }

    fn add(&mut self, protocol: Protocol) -> ConnId {
        let id = ConnId(u8::try_from(self.sockets.len()).expect("SOCKETS_MAX is below 256"));
        self.sockets.push(Socket {
            ws: WsDecoder::new(),
            protocol,
            open: false,
            owed: None,
            reset: None,
        });
        id
    }

    pub fn counters(&self) -> &ParseCounters {
        &self.front.counters
    }
    pub fn mouth(&self) -> &Mouth {
        &self.front.mouth
    }
    /// Sessions of the market-data sockets.
    pub fn publics(&self) -> impl Iterator<Item = &PublicSession> {
        self.sockets.iter().filter_map(|socket| match &socket.protocol {
            Protocol::Public(session) => Some(&**session),
            Protocol::Private(_) => None,
        })
    }
    pub fn private(&self) -> Option<&PrivateSession> {
        self.sockets.iter().find_map(|socket| match &socket.protocol {
            Protocol::Private(session) => Some(&**session),
            Protocol::Public(_) => None,
        })
    }

    /// The socket is open and its websocket handshake done. `nonce` signs in, where it carries the
    /// account.
    pub fn on_open(
        &mut self,
        conn: ConnId,
        now: Now,
        nonce: u64,
        out: &mut impl MouthOut,
        tap: &mut impl ParseTap,
    ) {
        self.front.observe(now, out, tap);
        let Some(socket) = self.sockets.get_mut(conn.index()) else { return };
        socket.ws.reset();
        socket.open = true;
        socket.owed = None;
        socket.reset = None;
        let trading = matches!(socket.protocol, Protocol::Private(_));
        let front = &mut self.front;
        let (probe, trace) = (&NO_PROBE, Trace::default());
        let mut sink = Sink { front, out, tap, conn, trading, probe, trace };
        match &mut socket.protocol {
            Protocol::Public(session) => session.on_open(now.mono, &mut sink),
            Protocol::Private(session) => session.on_open(now.mono, nonce, &mut sink),
        }
    }

    /// The socket is gone.
    pub fn on_close(
        &mut self,
        conn: ConnId,
        now: Now,
        out: &mut impl MouthOut,
        tap: &mut impl ParseTap,
    ) {
        self.front.observe(now, out, tap);
        let Some(socket) = self.sockets.get_mut(conn.index()) else { return };
        if !socket.open {
            return;
        }
        socket.open = false;
        self.front.market.on_close(conn);
        let trading = matches!(socket.protocol, Protocol::Private(_));
        let front = &mut self.front;
        let (probe, trace) = (&NO_PROBE, Trace::default());
        let mut sink = Sink { front, out, tap, conn, trading, probe, trace };
        match &mut socket.protocol {
            Protocol::Public(session) => {
                // What is traded from here on until the next subscription is not heard.
                for channel in session.channels() {
                    if channel.subscription.kind == ChannelKind::Trades {
                        sink.front.bars.interrupted(channel.subscription.symbol);
                    }
                }
                session.on_close(now.mono, &mut sink);
            }
            Protocol::Private(session) => session.on_close(now.mono, &mut sink),
        }
    }

    /// Handles up to `budget` messages of `chunk` from `*pos` on; returns how many. The chunk is
    /// used up when `*pos == chunk.len()`. `trace` carries the stamps of the read.
    #[allow(clippy::too_many_arguments)] // the hot call: everything it needs, nothing stored
    #[inline]
    pub fn on_bytes<P: Probe>(
        &mut self,
        conn: ConnId,
        chunk: &[u8],
        pos: &mut usize,
        budget: usize,
        now: Now,
        trace: Trace,
        probe: &P,
        out: &mut impl MouthOut,
        tap: &mut impl ParseTap,
    ) -> usize {
        let front = &mut self.front;
        front.observe(now, out, tap);
        let Some(socket) = self.sockets.get_mut(conn.index()) else {
            *pos = chunk.len();
            return 0;
        };
        if !socket.open || socket.reset.is_some() {
            *pos = chunk.len(); // bytes behind a reset belong to a dead session
            return 0;
        }
        let start = *pos;
        let mut handled = 0;
        while handled < budget {
            let message = match socket.ws.next(chunk, pos) {
                Ok(Some(message)) => message,
                Ok(None) => break,
                Err(_) => {
                    front.counters.frame_garbage += 1;
                    socket.reset = Some(ResetReason::Garbage);
                    *pos = chunk.len();
                    break;
                }
            };
            handled += 1;
            match message {
                WsMessage::Text(text) => match &mut socket.protocol {
                    Protocol::Public(session) => {
                        let mut sink = Sink { front, out, tap, conn, trading: false, probe, trace };
                        session.on_message(text, now.mono, &mut sink);
                        if session.wants_reconnect().is_some() {
                            socket.reset = Some(ResetReason::Session);
                        }
                    }
                    Protocol::Private(session) => {
                        let mut sink = Sink { front, out, tap, conn, trading: true, probe, trace };
                        session.on_message(text, now.mono, &mut sink);
                        if session.wants_reconnect().is_some() {
                            socket.reset = Some(ResetReason::Session);
                        }
                    }
                },
                WsMessage::Ping(payload) => {
                    let mut body = [0; 125];
                    let len = payload.len().min(125);
                    body[..len].copy_from_slice(&payload[..len]);
                    socket.owed = Some((Opcode::Pong, body, len));
                }
                WsMessage::Pong(_) => {}
                WsMessage::Close(code) => {
                    socket.reset = Some(ResetReason::Closed(code));
                    *pos = chunk.len();
                }
            }
            if socket.reset.is_some() {
                *pos = chunk.len();
                break;
            }
        }
        front.counters.frame_rx += handled as u64;
        front.counters.byte_rx += (*pos - start) as u64;
        handled
    }

    /// What `send` did with a command.
    pub fn on_report(
        &mut self,
        report: SendReport,
        now: Now,
        out: &mut impl MouthOut,
        tap: &mut impl ParseTap,
    ) {
        self.front.observe(now, out, tap);
        self.front.offer(Body::Report(report), Trace::default(), out);
    }

    /// A fact learned by REST, or that a reconcile is done.
    pub fn on_rest(
        &mut self,
        body: Body,
        now: Now,
        out: &mut impl MouthOut,
        tap: &mut impl ParseTap,
    ) {
        self.front.observe(now, out, tap);
        if let Body::Bar(bar) = &body {
            self.front.bars.seed(bar);
        }
        tap.private(&body, Tsc(0));
        self.front.offer(body, Trace::default(), out);
    }

    pub fn on_operator(
        &mut self,
        command: OperatorCommand,
        now: Now,
        out: &mut impl MouthOut,
        tap: &mut impl ParseTap,
    ) {
        self.front.observe(now, out, tap);
        self.front.offer(Body::Operator(command), Trace::default(), out);
    }

    /// Time passes: heartbeats watched, ticks and bar ends given, waiting events pushed on.
    pub fn on_time(&mut self, now: Now, out: &mut impl MouthOut, tap: &mut impl ParseTap) {
        let front = &mut self.front;
        front.observe(now, out, tap);
        for (index, socket) in self.sockets.iter_mut().enumerate() {
            if !socket.open {
                continue;
            }
            let conn = ConnId(index as u8);
            match &mut socket.protocol {
                Protocol::Public(session) => {
                    let mut sink = Sink {
                        front,
                        out,
                        tap,
                        conn,
                        trading: false,
                        probe: &NO_PROBE,
                        trace: Trace::default(),
                    };
                    session.on_time(now.mono, &mut sink);
                    if session.wants_reconnect().is_some() {
                        socket.reset = Some(ResetReason::Session);
                    }
                }
                Protocol::Private(session) => {
                    session.on_time(now.mono);
                    if session.wants_reconnect().is_some() {
                        socket.reset = Some(ResetReason::Session);
                    }
                }
            }
        }
        front.mouth.flush(out);
    }

    /// Pushes waiting events on, as far as there is room.
    #[inline(always)]
    pub fn flush(&mut self, out: &mut impl MouthOut) {
        self.front.mouth.flush(out);
    }

    /// Next websocket frame to write on `conn`, complete and masked, into `frame`; its length.
    pub fn poll_transmit(&mut self, conn: ConnId, now: MonoNs, frame: &mut [u8]) -> Option<usize> {
        let socket = self.sockets.get_mut(conn.index()).filter(|socket| socket.open)?;
        let rng = &mut self.mask;
        let mut mask = || (rng.next_u64() as u32).to_le_bytes();
        if let Some((opcode, payload, len)) = socket.owed.take() {
            return encode_frame(opcode, &payload[..len], mask(), frame);
        }
        let text = &mut self.text[..];
        let len = match &mut socket.protocol {
            Protocol::Public(session) => session.poll_transmit(now, text)?,
            Protocol::Private(session) => session.poll_transmit(now, text)?,
        };
        encode_frame(Opcode::Text, &text[..len], mask(), frame)
    }

    /// Whether `conn` must be closed and opened again; told once.
    pub fn take_reset(&mut self, conn: ConnId) -> Option<ResetReason> {
        let socket = self.sockets.get_mut(conn.index())?;
        if socket.open { socket.reset.take() } else { None }
    }

    pub fn socket_count(&self) -> usize {
        self.sockets.len()
    }
    pub fn is_open(&self, conn: ConnId) -> bool {
        self.sockets.get(conn.index()).is_some_and(|socket| socket.open)
    }
}

static NO_PROBE: super::NoProbe = super::NoProbe;

/// Turns what the sessions decode into events.
struct Sink<'a, O, T, P> {
    front: &'a mut Front,
    out: &'a mut O,
    tap: &'a mut T,
    conn: ConnId,
    trading: bool,
    probe: &'a P,
    trace: Trace,
}

impl<O: MouthOut, T: ParseTap, P: Probe> Sink<'_, O, T, P> {
    #[inline(always)]
    fn offer(&mut self, body: Body) {
        let trace = Trace { decoded: self.probe.tsc(), ..self.trace };
        self.front.offer(body, trace, self.out);
    }
}

impl<O: MouthOut, T: ParseTap, P: Probe> FeedSink for Sink<'_, O, T, P> {
    #[inline(always)]
    fn book(&mut self, symbol: SymbolId, book: BookRef<'_>, venue_at: WallNs, updates: u16) {
        self.front.counters.book_update += updates as u64;
        let view: BookView = book.view(symbol, venue_at, updates);
        self.tap.book(&view, self.front.mouth.sequencer().now().0);
        self.offer(Body::Book(view));
    }
    #[inline(always)]
    fn trade(&mut self, symbol: SymbolId, trade: PublicTrade, snapshot: bool) {
        if snapshot {
            // Older than the subscription: bars are seeded from history instead. From now on the
            // symbol's trades are heard without a hole.
            let (_, wall) = self.front.mouth.sequencer().now();
            if wall.0 > 0 {
                self.front.bars.resumed(symbol, wall);
            }
            return;
        }
        let front = &mut *self.front;
        front.counters.trade += 1;
        let trace = Trace { decoded: self.probe.tsc(), ..self.trace };
        let Front { bars, mouth, counters, .. } = front;
        let (tap, out) = (&mut *self.tap, &mut *self.out);
        // A trade of the next minute ends the bar before it is counted itself.
        bars.on_trade(symbol, trade.at, trade.px, trade.qty, &mut |bar: Bar| {
            counters.bar_closed += 1;
            let body = Body::Bar(bar);
            tap.control(&body);
            mouth.offer(body, trace, out);
        });
        let agg = TradeAgg::one(symbol, trade.id, trade.at, trade.px, trade.qty);
        self.front.offer(Body::Trades(agg), trace, self.out);
    }
    fn ticker(&mut self, ticker: Ticker) {
        self.offer(Body::Ticker(ticker));
    }
    fn status(&mut self, status: DerivStatus) {
        self.offer(Body::Status(status));
    }
    fn candle(&mut self, bar: Bar, snapshot: bool) {
        // The venue's candles are a check, not a source: a forming candle is sent again and again.
        if snapshot {
            self.front.bars.seed(&bar);
        }
    }
    fn sync(&mut self, sync: SymbolSync) {
        let body = Body::Sync(sync);
        self.tap.control(&body);
        self.offer(body);
    }
    fn quiet(&mut self, quiet: ChannelQuiet) {
        let body = Body::Quiet(quiet);
        self.tap.control(&body);
        self.offer(body);
    }
    fn link(&mut self, state: LinkState, code: i32) {
        let body = Body::Link(LinkEvent { conn: self.conn, trading: self.trading, state, code });
        self.tap.control(&body);
        self.offer(body);
    }
    #[inline(always)]
    fn market_time(&mut self, at: WallNs) {
        let sequencer = self.front.mouth.sequencer();
        if self.trading || sequencer.policy() != ClockPolicy::Market {
            return;
        }
        if let Some(at) = self.front.market.on_frame(self.conn, at)
            && self.front.mouth.sequencer_mut().on_market_time(at)
        {
            self.front.tick(self.out, self.tap);
        }
    }
    #[inline(always)]
    fn ws_gap(&mut self, symbol: SymbolId, kind: ChannelKind, gap_ns: u64) {
        self.tap.ws_gap(symbol, kind, gap_ns);
    }
}

impl<O: MouthOut, T: ParseTap, P: Probe> BodySink for Sink<'_, O, T, P> {
    fn body(&mut self, body: Body) {
        self.front.counters.private_rx += 1;
        let body = match body {
            Body::Link(link) => Body::Link(LinkEvent { conn: self.conn, trading: true, ..link }),
            other => other,
        };
        self.tap.private(&body, self.trace.recv);
        self.offer(body);
    }
    fn market_time(&mut self, at: WallNs) {
        FeedSink::market_time(self, at);
    }
}
