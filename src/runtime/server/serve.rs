//! The server's thread: one loop over all sockets and the market.
//!
//! A turn: wait until a socket, a command or the market is due; read every socket that has
//! something and hand it to the exchange; send the answers; let the market go on; send what it
//! said. Answers go first, because somebody measures them.

#![allow(
    clippy::disallowed_methods,
    reason = "the edge: deadlines and clocks of real sockets and disks"
)]

use super::clock::MarketClock;
use super::conn::{Conn, Fill, Phase, WsEnd};
use super::http::{self, HttpError};
use super::port::{Delivery, ExchangePort, RestRequest};
use super::state_file::StateFile;
use super::{ServerConfig, ServerCounters, ServerError, ServerReport, Shared, host_wall};
use crate::base::time::WallNs;
use crossbeam_channel::{Receiver, TryRecvError};
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token, Waker};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tungstenite::protocol::frame::coding::CloseCode;

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);
/// Events taken from the poller at once.
const EVENTS_MAX: usize = 1024;
/// Bytes read at once.
const SCRATCH_SIZE: usize = 64 * 1024;
/// Reads of one socket in one turn, so that one flood does not hold up the others.
const READS_PER_TURN: usize = 4;
/// A socket with more waiting is not read: who does not listen is not heard.
const READ_PAUSE_SIZE: usize = 1 << 20;
/// Market steps in one turn at a paced speed, and between two looks at the backlog at full speed.
const STEPS_PER_TURN: u32 = 1024;
const STEPS_PER_LOOK: u32 = 256;
/// How often deadlines are checked and counters published.
const SWEEP_EVERY: Duration = Duration::from_millis(100);
/// Pause in accepting when the process has no file descriptor left, and between attempts to listen
/// again.
const RETRY_AFTER: Duration = Duration::from_millis(50);
/// A client machine that fell silent is noticed after about this time.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(15);
/// Connections the kernel may hold for us between two turns.
const LISTEN_BACKLOG: i32 = 1024;
/// The one websocket path.
const WS_PATH: &[u8] = b"/ws/2";
const HTML: &str = "text/html; charset=utf-8";

/// A closure run on the exchange between two turns.
pub(super) type Act<E> = Box<dyn FnOnce(&mut E, WallNs) + Send>;

/// What other threads ask of the server's.
pub(super) enum Command<E> {
    KillConnections,
    Outage(Duration),
    Freeze(bool),
    With(Act<E>),
    Stop,
}

/// Binds a listening socket.
pub(super) fn bind(listen: SocketAddr) -> Result<TcpListener, ServerError> {
    let failed = |cause: io::Error| match cause.kind() {
        io::ErrorKind::AddrInUse => ServerError::PortInUse(listen),
        _ => ServerError::Bind { listen, cause },
    };
    let socket =
        socket2::Socket::new(socket2::Domain::for_address(listen), socket2::Type::STREAM, None)
            .map_err(failed)?;
    // Lets a restarted server have the port at once; two servers at a time still collide.
    socket.set_reuse_address(true).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    socket.bind(&listen.into()).map_err(failed)?;
    socket.listen(LISTEN_BACKLOG).map_err(failed)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// Sockets by slot. A socket's id carries its slot, so that finding it is an index and a
/// comparison.
#[derive(Default)]
struct Conns {
    slots: Vec<Option<Conn>>,
    free: Vec<usize>,
    opened: u64,
    /// Sockets to serve in the next turn, and to flush in this one.
    ready: Vec<usize>,
    touched: Vec<usize>,
}

const SLOT_BITS: u32 = 20;

impl Conns {
    fn count(&self) -> usize {
        self.slots.len() - self.free.len()
    }
    fn slot_of(id: u64) -> usize {
        (id & ((1 << SLOT_BITS) - 1)) as usize
    }
    /// A slot, and an id never used before.
    fn reserve(&mut self) -> (usize, u64) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.opened += 1;
        (slot, self.opened << SLOT_BITS | slot as u64)
    }
    fn by_id(&mut self, id: u64) -> Option<(usize, &mut Conn)> {
        let slot = Self::slot_of(id);
        let conn = self.slots.get_mut(slot)?.as_mut()?;
        (conn.id == id).then_some((slot, conn))
    }
    fn queue(&mut self, slot: usize) {
        if let Some(Some(conn)) = self.slots.get_mut(slot)
            && !conn.queued
        {
            conn.queued = true;
            self.ready.push(slot);
        }
    }
    fn touch(&mut self, slot: usize) {
        if let Some(Some(conn)) = self.slots.get_mut(slot)
            && !conn.touched
        {
            conn.touched = true;
            self.touched.push(slot);
        }
    }
    fn iter(&self) -> impl Iterator<Item = &Conn> {
        self.slots.iter().flatten()
    }
}

/// Takes the exchange's messages to the sockets' outboxes.
struct Courier<'a> {
    conns: &'a mut Conns,
    counters: &'a mut ServerCounters,
    now: Instant,
}
impl Delivery for Courier<'_> {
    fn text(&mut self, id: u64, payload: &[u8]) {
        let Some((slot, conn)) = self.conns.by_id(id) else { return };
        if conn.is_ws() {
            conn.push_text(payload);
            self.counters.frame_tx += 1;
            if !conn.touched {
                conn.touched = true;
                self.conns.touched.push(slot);
            }
        }
    }
    fn close(&mut self, id: u64) {
        let Some((slot, conn)) = self.conns.by_id(id) else { return };
        conn.announced = false;
        conn.close_ws(CloseCode::Normal, "", self.now);
        self.conns.touch(slot);
        self.conns.queue(slot);
    }
}

pub(super) struct Serve<E: ExchangePort> {
    config: ServerConfig,
    poll: Poll,
    waker: Arc<Waker>,
    listener: Option<TcpListener>,
    acceptable: bool,
    /// Listening, or accepting, is tried again then.
    retry_at: Option<Instant>,
    conns: Conns,
    exchange: E,
    clock: MarketClock,
    market_from: WallNs,
    state: Option<StateFile>,
    commands: Receiver<Command<E>>,
    shared: Arc<Shared>,
    counters: ServerCounters,
    scratch: Vec<u8>,
    frozen: bool,
    finished: bool,
    swept_at: Instant,
    busy_at: Instant,
}

impl<E: ExchangePort> Serve<E> {
    pub(super) fn new(
        config: ServerConfig,
        mut listener: TcpListener,
        exchange: E,
        state: Option<StateFile>,
        commands: Receiver<Command<E>>,
        shared: Arc<Shared>,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let now = Instant::now();
        let market_from = exchange.market_start().unwrap_or_else(host_wall);
        let clock = MarketClock::new(config.speed, market_from, now);
        shared.market_ns.store(market_from.0, Ordering::Relaxed);
        Ok(Self {
            config,
            poll,
            waker,
            listener: Some(listener),
            acceptable: true,
            retry_at: None,
            conns: Conns::default(),
            exchange,
            clock,
            market_from,
            state,
            commands,
            shared,
            counters: ServerCounters::default(),
            scratch: vec![0; SCRATCH_SIZE],
            frozen: false,
            finished: false,
            swept_at: now,
            busy_at: now,
        })
    }
    pub(super) fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Serves until told to stop.
    pub(super) fn run(mut self) -> (ServerReport, E) {
        let mut events = Events::with_capacity(EVENTS_MAX);
        loop {
            let wait = self.wait(Instant::now());
            match self.poll.poll(&mut events, wait) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    log::error!("the exchange's server cannot wait for its sockets: {error}");
                    break;
                }
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.acceptable = true,
                    WAKER => {}
                    Token(slot) => {
                        if let Some(Some(conn)) = self.conns.slots.get_mut(slot) {
                            conn.readable |= event.is_readable() || event.is_read_closed();
                            conn.read_closed |= event.is_read_closed() || event.is_error();
                            conn.writable |= event.is_writable();
                            self.conns.queue(slot);
                            self.conns.touch(slot);
                        }
                    }
                }
            }
            let now = Instant::now();
            if !events.is_empty() {
                self.busy_at = now;
            }
            if self.take_commands(now) {
                break;
            }
            if !self.frozen {
                self.turn(now);
            }
            if now.duration_since(self.swept_at) >= SWEEP_EVERY {
                self.sweep(now);
            }
        }
        self.finish()
    }

    fn turn(&mut self, now: Instant) {
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            self.relisten();
        }
        if self.acceptable {
            self.accept(now);
        }
        let market = self.clock.read(now);
        // A socket that is not read to its end queues itself again.
        for slot in std::mem::take(&mut self.conns.ready) {
            self.serve(slot, market, now);
        }
        self.settle(now);
        self.advance(now);
    }

    /// How long the poller may sleep.
    fn wait(&self, now: Instant) -> Option<Duration> {
        let sweep = SWEEP_EVERY.saturating_sub(now.duration_since(self.swept_at));
        if self.frozen {
            return Some(sweep);
        }
        let spinning = now.duration_since(self.busy_at) < self.config.spin_for;
        if spinning || !self.conns.ready.is_empty() || (self.acceptable && self.retry_at.is_none())
        {
            return Some(Duration::ZERO);
        }
        let mut wait = sweep;
        if let Some(at) = self.retry_at {
            wait = wait.min(at.saturating_duration_since(now));
        }
        if !self.clock.is_running() {
            return Some(wait);
        }
        if self.clock.is_unpaced() {
            let steps = self.exchange.next_at().is_some() && self.may_step();
            return Some(if steps { Duration::ZERO } else { wait });
        }
        if let Some(until) = self.exchange.next_at().and_then(|next| self.clock.wait_for(next, now))
        {
            wait = wait.min(until);
        }
        Some(wait)
    }

    /// True where the server shall stop.
    fn take_commands(&mut self, now: Instant) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(Command::KillConnections) => self.kill_all(now),
                Ok(Command::Outage(outage_for)) => {
                    // The port first: whoever sees a connection break shall not reach it again.
                    if let Some(mut listener) = self.listener.take() {
                        let _ = self.poll.registry().deregister(&mut listener);
                    }
                    self.kill_all(now);
                    self.acceptable = false;
                    self.retry_at = Some(now + outage_for);
                }
                Ok(Command::Freeze(frozen)) => self.frozen = frozen,
                Ok(Command::With(act)) => {
                    let market = self.clock.read(now);
                    act(&mut self.exchange, market);
                }
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return true,
                Err(TryRecvError::Empty) => return false,
            }
        }
    }

    // ---- accepting

    fn relisten(&mut self) {
        if self.listener.is_some() {
            self.acceptable = true;
            return;
        }
        let listener = bind(self.config.listen).and_then(|mut listener| {
            self.poll
                .registry()
                .register(&mut listener, LISTENER, Interest::READABLE)
                .map_err(ServerError::Start)?;
            Ok(listener)
        });
        match listener {
            Ok(listener) => {
                self.listener = Some(listener);
                self.acceptable = true;
            }
            Err(error) => {
                log::warn!("{error}; trying again");
                self.retry_at = Some(Instant::now() + RETRY_AFTER);
            }
        }
    }

    fn accept(&mut self, now: Instant) {
        while let Some(listener) = &self.listener {
            let mut stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.acceptable = false;
                    return;
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
                    ) =>
                {
                    continue;
                }
                // No descriptor or memory left: the queue stays, so come back when a socket has
                // closed.
                Err(_) => {
                    self.counters.accept_failed += 1;
                    self.acceptable = false;
                    self.retry_at = Some(now + RETRY_AFTER);
                    return;
                }
            };
            if self.conns.count() >= self.config.limits.sockets_max as usize {
                self.counters.socket_refused += 1;
                continue;
            }
            let socket = socket2::SockRef::from(&stream);
            // All three only tune; a socket that refuses them still works.
            let _ = socket.set_tcp_nodelay(true);
            let keepalive = socket2::TcpKeepalive::new()
                .with_time(KEEPALIVE_AFTER)
                .with_interval(KEEPALIVE_AFTER / 3);
            let _ = socket.set_tcp_keepalive(&keepalive);
            let tls = match &self.config.tls {
                None => None,
                Some(tls) => match rustls::ServerConnection::new(tls.identity.config.clone()) {
                    Ok(tls) => Some(tls),
                    Err(_) => continue,
                },
            };
            let (slot, id) = self.conns.reserve();
            let interest = Interest::READABLE | Interest::WRITABLE;
            if self.poll.registry().register(&mut stream, Token(slot), interest).is_err() {
                self.conns.free.push(slot);
                continue;
            }
            self.conns.slots[slot] = Some(Conn::new(id, stream, tls, now));
            // Bytes may be there already; no event tells of those that came before the
            // registration.
            self.conns.queue(slot);
            self.counters.socket_accepted += 1;
            self.counters.socket_peak = self.counters.socket_peak.max(self.conns.count() as u64);
        }
    }

    // ---- sockets

    /// Reads one socket and handles what came.
    fn serve(&mut self, slot: usize, market: WallNs, now: Instant) {
        // Taken out while it is served, so that the exchange and the counters can be used beside
        // it.
        let Some(mut conn) = self.conns.slots.get_mut(slot).and_then(Option::take) else { return };
        conn.queued = false;
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut gone = false;
        let mut reads = 0;
        if matches!(conn.phase, Phase::Http) && !conn.inbox.is_empty() {
            self.on_http(&mut conn, market, now);
        }
        while conn.readable && conn.backlog() < READ_PAUSE_SIZE && reads < READS_PER_TURN {
            reads += 1;
            match conn.fill(&mut scratch) {
                Fill::Later => break,
                Fill::Gone => {
                    gone = true;
                    break;
                }
                Fill::Bytes(size) => {
                    self.counters.bytes_rx += size as u64;
                    match conn.phase {
                        Phase::Http => {
                            if conn.inbox.is_empty() {
                                conn.waiting_since = now;
                            }
                            conn.inbox.extend_from_slice(&scratch[..size]);
                            self.on_http(&mut conn, market, now);
                        }
                        Phase::Ws(_) => self.on_ws(&mut conn, &scratch[..size], market, now),
                        Phase::Linger { .. } => {}
                    }
                }
            }
        }
        self.scratch = scratch;
        if gone && !conn.is_ws() && conn.is_waiting() {
            // The client may have closed its half only, and still wait for the reply.
            conn.linger(now);
            conn.readable = false;
            gone = false;
        }
        // What is left waits for the next turn, or, behind a full outbox, for the flush that
        // empties it.
        let more = conn.readable && conn.backlog() < READ_PAUSE_SIZE && !gone;
        self.conns.slots[slot] = Some(conn);
        if gone {
            // What was asked before the client left still counts; what it is owed is not delivered.
            self.remove(slot, market);
            return;
        }
        if more {
            self.conns.queue(slot);
        }
        self.conns.touch(slot);
    }

    fn on_ws(&mut self, conn: &mut Conn, bytes: &[u8], market: WallNs, now: Instant) {
        let id = conn.id;
        let (exchange, counters) = (&mut self.exchange, &mut self.counters);
        let end = conn.on_ws_bytes(bytes, now, |text| {
            counters.frame_rx += 1;
            exchange.on_text(id, text, market);
        });
        match end {
            None => return,
            Some(WsEnd::ByClient) => {}
            Some(WsEnd::TooLong) => self.counters.message_too_long += 1,
            Some(WsEnd::NotUtf8 | WsEnd::Protocol) => self.counters.message_malformed += 1,
        }
        self.forget(conn, market);
    }

    /// Tells the exchange that a websocket is gone.
    fn forget(&mut self, conn: &mut Conn, market: WallNs) {
        if conn.announced {
            conn.announced = false;
            self.exchange.disconnect(conn.id, market);
        }
    }

    fn on_http(&mut self, conn: &mut Conn, market: WallNs, now: Instant) {
        // A client that does not read its replies gets no further ones.
        while matches!(conn.phase, Phase::Http)
            && conn.backlog() < READ_PAUSE_SIZE
            && !conn.is_paced()
        {
            let head = match conn.next_request() {
                Ok(Some(head)) => head,
                Ok(None) => return,
                Err(error) => return self.refuse(conn, error, now),
            };
            let target = &conn.inbox[head.target.0..head.target.1];
            let path = target.split(|&byte| byte == b'?').next().unwrap_or_default();
            let is_ws_path = path == WS_PATH || path.strip_suffix(b"/") == Some(WS_PATH);
            if head.upgrade && is_ws_path {
                if let Some(reply) = self.exchange.admit(market) {
                    self.counters.handshake_refused += 1;
                    conn.reply(reply.status, reply.content_type, "", &reply.body, false);
                    return conn.linger(now);
                }
                if head.body_size > 0 || !conn.upgrade() {
                    return self.refuse(conn, HttpError::Malformed, now);
                }
                self.counters.websocket_opened += 1;
                conn.announced = true;
                self.exchange.connect(conn.id, market);
                // Frames may have come right behind the handshake.
                return self.on_ws(conn, &[], market, now);
            }
            self.counters.http_request += 1;
            if is_ws_path {
                let extra = "upgrade: websocket\r\n";
                conn.reply(426, HTML, extra, b"this path speaks websocket", head.keep_alive);
            } else if !path.starts_with(b"/v2/") {
                let page = http::not_found_page(head.method, target);
                conn.reply(404, HTML, "", &page, head.keep_alive);
            } else {
                let text = |name| {
                    http::header(&conn.inbox, &head, name)
                        .and_then(|value| std::str::from_utf8(value).ok())
                };
                let request = RestRequest {
                    method: head.method,
                    path_and_query: std::str::from_utf8(target).unwrap_or_default(),
                    api_key: text("bfx-apikey"),
                    nonce: text("bfx-nonce"),
                    signature: text("bfx-signature"),
                    token: text("bfx-token"),
                    if_none_match: text("if-none-match"),
                    body: &conn.inbox[head.size..head.size + head.body_size],
                };
                let reply = self.exchange.rest(&request, market);
                let mut extra: String = reply
                    .headers
                    .iter()
                    .map(|(name, value)| format!("{name}: {value}\r\n"))
                    .collect();
                if let Some(retry_s) = reply.retry_after_s {
                    extra.push_str(&format!("retry-after: {retry_s}\r\n"));
                }
                conn.reply(reply.status, reply.content_type, &extra, &reply.body, head.keep_alive);
                if let Some(pace) = reply.pace {
                    conn.hold_reply(pace, head.keep_alive, now);
                    return conn.finish_request(&head, now);
                }
            }
            conn.finish_request(&head, now);
            if !head.keep_alive {
                return conn.linger(now);
            }
        }
    }

    fn refuse(&mut self, conn: &mut Conn, error: HttpError, now: Instant) {
        if conn.served {
            self.counters.http_refused += 1;
        } else {
            self.counters.handshake_failed += 1;
        }
        let (status, sentence) = error.reply();
        let extra = if error == HttpError::MethodUnknown { "allow: GET, POST\r\n" } else { "" };
        conn.reply(status, "text/plain; charset=utf-8", extra, sentence.as_bytes(), false);
        conn.linger(now);
    }

    fn remove(&mut self, slot: usize, market: WallNs) {
        let Some(mut conn) = self.conns.slots.get_mut(slot).and_then(Option::take) else { return };
        // Left in the middle of the first request, or of the TLS handshake.
        let begun = !conn.inbox.is_empty() || conn.is_tls_handshaking();
        if matches!(conn.phase, Phase::Http) && !conn.served && begun {
            self.counters.handshake_failed += 1;
        }
        self.forget(&mut conn, market);
        let _ = self.poll.registry().deregister(conn.stream_mut());
        self.conns.free.push(slot);
    }

    fn kill_all(&mut self, now: Instant) {
        let market = self.clock.read(now);
        for slot in 0..self.conns.slots.len() {
            if let Some(Some(conn)) = self.conns.slots.get_mut(slot) {
                // A reset, as from a process that died with unread data.
                let _ =
                    socket2::SockRef::from(&*conn.stream_mut()).set_linger(Some(Duration::ZERO));
                self.remove(slot, market);
            }
        }
        self.conns.ready.clear();
        self.conns.touched.clear();
    }

    // ---- what goes out

    /// Remembers, hands out and writes what the exchange has to say.
    fn settle(&mut self, now: Instant) {
        self.persist();
        let mut courier = Courier { conns: &mut self.conns, counters: &mut self.counters, now };
        self.exchange.drain(&mut courier);
        for slot in std::mem::take(&mut self.conns.touched) {
            let Some(Some(conn)) = self.conns.slots.get_mut(slot) else { continue };
            conn.touched = false;
            let was_full = conn.backlog() >= READ_PAUSE_SIZE;
            match conn.flush(now) {
                Ok(size) => {
                    self.counters.bytes_tx += size as u64;
                    if was_full && conn.backlog() < READ_PAUSE_SIZE {
                        self.conns.queue(slot);
                    }
                    self.cut_if_slow(slot, now);
                }
                Err(_) => {
                    let market = self.clock.read(now);
                    self.remove(slot, market);
                }
            }
        }
    }

    /// No acknowledgement leaves before what it says would survive a `kill -9`.
    fn persist(&mut self) {
        let Some(state) = &mut self.state else { return };
        if !self.exchange.state_dirty() {
            return;
        }
        match state.write(&self.exchange.snapshot_state()) {
            Ok(()) => self.counters.state_written += 1,
            Err(error) => {
                if self.counters.state_write_failed == 0 {
                    log::error!("{error}; accounts will not survive a restart");
                }
                self.counters.state_write_failed += 1;
            }
        }
    }

    fn cut_if_slow(&mut self, slot: usize, now: Instant) {
        let Some(Some(conn)) = self.conns.slots.get_mut(slot) else { return };
        if self.clock.is_unpaced() || conn.backlog() <= self.config.limits.backlog_cut_size {
            return;
        }
        self.counters.slow_cut += 1;
        let market = self.clock.read(now);
        self.remove(slot, market);
    }

    // ---- the market

    /// At full speed: somebody listens, and everybody keeps up.
    fn may_step(&self) -> bool {
        let mut listeners = 0;
        for conn in self.conns.iter().filter(|conn| conn.is_ws()) {
            if conn.backlog() > self.config.limits.backlog_wait_size {
                return false;
            }
            listeners += 1;
        }
        listeners > 0
    }

    fn advance(&mut self, now: Instant) {
        if !self.clock.is_running() {
            if !self.exchange.ready_to_start() {
                return;
            }
            self.clock.start(now);
        }
        if self.clock.is_unpaced() {
            self.advance_unpaced(now);
        } else {
            let market = self.clock.read(now);
            if self.exchange.next_at().is_some_and(|next| next <= market) {
                let steps = self.exchange.advance(market, STEPS_PER_TURN);
                self.counters.market_steps += u64::from(steps);
                self.settle(now);
            }
        }
        if !self.finished && self.exchange.is_finished() {
            if self.clock.is_unpaced() {
                self.clock.pace_real(now);
            }
            // Every websocket has the whole recording before anybody is told.
            if self.conns.iter().all(|conn| !conn.is_ws() || conn.backlog() == 0) {
                self.finished = true;
                self.shared.market_ns.store(self.clock.last().0, Ordering::Relaxed);
                self.shared.finished.store(true, Ordering::Release);
            }
        }
    }

    fn advance_unpaced(&mut self, now: Instant) {
        let mut steps = 0;
        while steps < STEPS_PER_TURN && !self.exchange.is_finished() {
            let Some(next) = self.exchange.next_at() else { return };
            if !self.may_step() {
                self.counters.market_waited += 1;
                return;
            }
            let mut at = self.clock.jump(next);
            let mut looked = 0;
            loop {
                let done = self.exchange.advance(at, STEPS_PER_LOOK - looked);
                looked += done;
                // A market that is due and does nothing would hold this loop for ever.
                if done == 0 || looked >= STEPS_PER_LOOK || self.exchange.is_finished() {
                    break;
                }
                let Some(next) = self.exchange.next_at() else { break };
                at = self.clock.jump(next);
            }
            self.counters.market_steps += u64::from(looked);
            steps += looked.max(1);
            self.settle(now);
        }
    }

    // ---- deadlines

    fn sweep(&mut self, now: Instant) {
        self.swept_at = now;
        let limits = self.config.limits;
        let market = self.clock.read(now);
        for slot in 0..self.conns.slots.len() {
            let Some(Some(conn)) = self.conns.slots.get_mut(slot) else { continue };
            if self.frozen {
                // Not the client's fault.
                conn.progress_at = now;
                conn.waiting_since = now;
                continue;
            }
            if conn.release_reply(now) {
                // What is left of the connection: more requests, or its end.
                self.conns.queue(slot);
                self.conns.touch(slot);
                continue;
            }
            let waited = now.duration_since(conn.waiting_since);
            let stalled = now.duration_since(conn.progress_at) > limits.stall_for;
            let mut drop = stalled;
            if drop {
                self.counters.stall_cut += 1;
            } else {
                match conn.phase {
                    Phase::Ws(_) => {}
                    Phase::Linger { until, .. } => drop = now >= until,
                    Phase::Http => {
                        let begun = !conn.served || !conn.inbox.is_empty();
                        let limit = if begun { limits.request_for } else { limits.idle_for };
                        drop = waited > limit;
                        self.counters.handshake_timed_out += u64::from(drop && begun);
                    }
                }
            }
            if drop {
                self.remove(slot, market);
            } else if !conn.is_waiting() {
                conn.progress_at = now;
            }
        }
        self.publish();
    }

    fn publish(&mut self) {
        self.shared.market_ns.store(self.clock.last().0, Ordering::Relaxed);
        self.shared.sockets.store(self.conns.count() as u32, Ordering::Relaxed);
        *self.shared.counters.lock() = self.counters;
    }

    fn finish(mut self) -> (ServerReport, E) {
        let now = Instant::now();
        self.listener = None;
        let market = self.clock.read(now);
        self.settle(now);
        for slot in 0..self.conns.slots.len() {
            let Some(Some(conn)) = self.conns.slots.get_mut(slot) else { continue };
            if conn.is_ws() {
                conn.close_ws(CloseCode::Away, "server is stopping", now);
            } else {
                conn.linger(now);
            }
            let _ = conn.flush(now);
            self.remove(slot, market);
        }
        self.persist();
        self.publish();
        let report = ServerReport {
            counters: self.counters,
            market_from_ns: self.market_from.0,
            market_until_ns: self.clock.last().0,
            finished: self.finished,
        };
        (report, self.exchange)
    }
}
