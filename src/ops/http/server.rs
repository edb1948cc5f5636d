//! The thread of the control port: accepts, reads, answers, pushes events; never waits for a peer.

#![allow(
    clippy::disallowed_methods,
    reason = "deadlines of sockets are the host's; the map is walked where order never shows"
)]

use super::limit::Bucket;
use super::route::{self, Answer, CommandBody, Reply};
use super::token::{Scope, Tokens};
use super::{BACKLOG_MAX, BODY_MAX, HEAD_MAX, HttpConfig};
use crate::io::http1::{self, Head, HttpError};
use crate::ops::hub::{Ask, Hub, Outcome};
use crate::ops::rundir::write_atomic;
use crossbeam_channel::{Receiver, Sender, unbounded};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const LISTENER: Token = Token(0);
const WAKER: Token = Token(1);
const FIRST_PEER: usize = 2;
/// How often deadlines are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Bytes read of one peer in one turn, so that none starves the others.
const READ_MAX: usize = 64 * 1024;

/// How long a peer may take to close after the last reply.
const CLOSING_MAX: Duration = Duration::from_millis(500);

/// What the port saw.
#[derive(Debug, Default)]
pub struct ServerStats {
    pub requests: AtomicU64,
    /// Refused before they were answered: malformed, too large, wrong host, no token, too often.
    pub refused: AtomicU64,
    /// Connections closed at once because too many are open.
    pub turned_away: AtomicU64,
    /// Closed for a deadline.
    pub timed_out: AtomicU64,
    pub commands: AtomicU64,
}

/// What an audit line says.
pub(super) type Audit = Box<dyn Fn(&str) + Send>;

/// The control port, bound but not yet served.
pub struct Server {
    config: HttpConfig,
    listener: TcpListener,
    address: SocketAddr,
    poll: Poll,
    waker: Arc<Waker>,
    tokens: Tokens,
    hub: Arc<Hub>,
    audit: Audit,
}

/// A served control port; dropping it ends the thread.
pub struct ServerHandle {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    waker: Arc<Waker>,
    stats: Arc<ServerStats>,
    join: Option<JoinHandle<()>>,
}

impl ServerHandle {
    /// `http://127.0.0.1:PORT/`.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }
    pub fn address(&self) -> SocketAddr {
        self.address
    }
    pub fn stats(&self) -> &ServerStats {
        &self.stats
    }
}
impl Drop for ServerHandle {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let _ = self.waker.wake();
        if let Some(join) = self.join.take() {
            let _ = join.join();
        }
    }
}

impl Server {
    /// Binds the port on loopback, nowhere else. `audit` gets one line a command and one an effect.
    ///
    /// # Errors
    /// The port is in use.
    pub fn bind(
        config: HttpConfig,
        tokens: Tokens,
        hub: Arc<Hub>,
        audit: impl Fn(&str) + Send + 'static,
    ) -> io::Result<Server> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, config.port));
        let mut listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        Ok(Server { config, listener, address, poll, waker, tokens, hub, audit: Box::new(audit) })
    }

    /// Writes the address into a file of `dir`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn announce(&self, dir: &Path) -> io::Result<()> {
        write_atomic(&dir.join(super::ADDRESS_FILE), format!("http://{}/", self.address).as_bytes())
    }

    /// Starts the thread; `prepare` runs on it first (CPU mask).
    ///
    /// # Errors
    /// The kernel's word.
    pub fn start(self, prepare: impl FnOnce() + Send + 'static) -> io::Result<ServerHandle> {
        let stop = Arc::new(AtomicBool::new(false));
        let stats = Arc::new(ServerStats::default());
        let (address, waker) = (self.address, self.waker.clone());
        let wake = self.waker.clone();
        self.hub.listen(move || drop(wake.wake()));
        let (mine, counted) = (stop.clone(), stats.clone());
        let join = std::thread::Builder::new().name("control".to_owned()).spawn(move || {
            prepare();
            Work::new(self, mine, counted).run();
        })?;
        Ok(ServerHandle { address, stop, waker, stats, join: Some(join) })
    }
}

struct Peer {
    stream: TcpStream,
    address: SocketAddr,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    sent: usize,
    /// When the request that is being read began, or the connection, or its last answer.
    since: Instant,
    /// When the outbox last moved.
    moved_at: Instant,
    is_follower: bool,
    seen: u64,
    /// A command is under way since then.
    asked: Option<Instant>,
    /// Number of that command.
    ask_id: u64,
    /// The connection stays open behind its answer.
    keeps: bool,
    close_after: bool,
    /// All is said; it may close first.
    closing_at: Option<Instant>,
    is_gone: bool,
}

/// Peer, number of its request, and what became of it.
type Answered = (usize, u64, Outcome);

struct Work {
    config: HttpConfig,
    listener: TcpListener,
    poll: Poll,
    waker: Arc<Waker>,
    tokens: Tokens,
    hub: Arc<Hub>,
    audit: Audit,
    stop: Arc<AtomicBool>,
    stats: Arc<ServerStats>,
    peers: BTreeMap<usize, Peer>,
    next: usize,
    requests: Bucket,
    failures: Bucket,
    commands: Bucket,
    outcomes: (Sender<Answered>, Receiver<Answered>),
    asks: u64,
    page_headers: String,
}

/// Headers of every reply.
const HEADERS: &str = "cache-control: no-store\r\nx-content-type-options: nosniff\r\n\
                       referrer-policy: no-referrer\r\nx-frame-options: DENY\r\n\
                       cross-origin-resource-policy: same-origin\r\n";

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, byte| (word << 8) | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * place)) as usize & 63];
            out.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

/// What the page may load: its own script and style, by their hashes, and data of this server.
pub(super) fn content_policy(page: &str) -> String {
    let hash = |open: &str, close: &str| {
        let inside = page.split_once(open).and_then(|(_, rest)| rest.split_once(close));
        format!("'sha256-{}'", base64(&Sha256::digest(inside.map_or("", |(text, _)| text))))
    };
    format!(
        "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash("<script>", "</script>"),
        hash("<style>", "</style>")
    )
}

impl Work {
    fn new(server: Server, stop: Arc<AtomicBool>, stats: Arc<ServerStats>) -> Work {
        let now = Instant::now();
        let Server { config, listener, poll, waker, tokens, hub, audit, .. } = server;
        Work {
            config,
            listener,
            poll,
            waker,
            tokens,
            hub,
            audit,
            stop,
            stats,
            peers: BTreeMap::new(),
            next: FIRST_PEER,
            requests: Bucket::new(200, Duration::from_millis(10), now),
            failures: Bucket::new(20, Duration::from_secs(3), now),
            commands: Bucket::new(10, Duration::from_millis(200), now),
            outcomes: unbounded(),
            asks: 0,
            page_headers: format!(
                "{HEADERS}content-security-policy: {}\r\n",
                content_policy(route::PAGE)
            ),
        }
    }

    fn run(mut self) {
        let mut events = Events::with_capacity(256);
        let mut looked_at = Instant::now();
        while !self.stop.load(Ordering::Acquire) {
            if let Err(error) = self.poll.poll(&mut events, Some(LOOK_EVERY))
                && error.kind() != io::ErrorKind::Interrupted
            {
                log::error!("control port: {error}; dashboard and commands end here");
                return;
            }
            let now = Instant::now();
            for event in &events {
                match event.token() {
                    LISTENER => self.accept(now),
                    WAKER => {}
                    Token(id) => self.on_ready(id, now),
                }
            }
            while let Ok((id, ask_id, outcome)) = self.outcomes.1.try_recv() {
                self.on_outcome(id, ask_id, &outcome, now);
            }
            self.push_events(now);
            if now.duration_since(looked_at) >= LOOK_EVERY {
                looked_at = now;
                self.look(now);
            }
            self.peers.retain(|_, peer| !peer.is_gone);
        }
    }

    fn accept(&mut self, now: Instant) {
        loop {
            let (mut stream, address) = match self.listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // One that is gone again, or no descriptor left: the next may do.
                Err(_) => return,
            };
            let open = self.peers.values().filter(|peer| !peer.is_gone).count();
            if open >= self.config.connections_max {
                self.stats.turned_away.fetch_add(1, Ordering::Relaxed);
                // What fits into the empty buffer of a new socket is all there is to say.
                let reply = route::error(503, "too many connections are open");
                let mut out = Vec::new();
                http1::write_reply(&mut out, 503, reply.kind, HEADERS, &reply.body, false);
                let _ = stream.write(&out);
                continue;
            }
            let id = self.next;
            self.next += 1;
            let interest = Interest::READABLE | Interest::WRITABLE;
            if self.poll.registry().register(&mut stream, Token(id), interest).is_err() {
                continue;
            }
            let _ = stream.set_nodelay(true);
            let peer = Peer {
                stream,
                address,
                inbox: Vec::new(),
                outbox: Vec::new(),
                sent: 0,
                since: now,
                moved_at: now,
                is_follower: false,
                seen: 0,
                asked: None,
                ask_id: 0,
                keeps: false,
                close_after: false,
                closing_at: None,
                is_gone: false,
            };
            self.peers.insert(id, peer);
            // Bytes may have come before it was registered.
            self.on_ready(id, now);
        }
    }

    fn on_ready(&mut self, id: usize, now: Instant) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.receive(now);
        self.requests_of(id, now);
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.send(now);
        }
    }

    /// Answers every whole request in the inbox; one command at a time.
    fn requests_of(&mut self, id: usize, now: Instant) {
        while let Some(peer) = self.peers.get_mut(&id) {
            if peer.is_gone || peer.close_after || peer.asked.is_some() || peer.is_follower {
                return;
            }
            if peer.outbox.len() > BACKLOG_MAX {
                return; // it asks without reading; the write deadline will see to it
            }
            match whole_request(&peer.inbox) {
                Ok(None) => return,
                Ok(Some(head)) => self.on_request(id, &head, now),
                Err(error) => {
                    let (status, words) = error.reply();
                    self.stats.refused.fetch_add(1, Ordering::Relaxed);
                    self.reply(id, route::error(status, words), false);
                    return;
                }
            }
        }
    }

    fn on_request(&mut self, id: usize, head: &Head, now: Instant) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let bytes: Vec<u8> = peer.inbox.drain(..head.size + head.body_size).collect();
        peer.since = now;
        self.stats.requests.fetch_add(1, Ordering::Relaxed);
        let refuse = |work: &mut Work, reply: Reply| {
            work.stats.refused.fetch_add(1, Ordering::Relaxed);
            work.reply(id, reply, false);
        };
        if let Err(reply) = route::gate(&self.config, &bytes, head) {
            return refuse(self, reply);
        }
        let path = route::target(&bytes, head);
        let scope = route::scope(&self.tokens, &bytes, head);
        if scope.is_none() && !route::is_open(&self.config, path) {
            // Who guesses is slowed down; a good token passes whatever others do.
            let reply = if self.failures.take(now) {
                route::error(401, "a token is needed: `authorization: Bearer …`")
            } else {
                route::error(429, "too many requests without a good token")
            };
            return refuse(self, reply);
        }
        if !self.requests.take(now) {
            return refuse(self, route::error(429, "too many requests"));
        }
        let kind = http1::header(&bytes, head, "content-type").unwrap_or_default();
        let body = &bytes[head.size..];
        match route::answer(&self.config, &self.hub, scope, head.method, path, kind, body) {
            Answer::Reply(reply) => self.reply(id, reply, head.keep_alive),
            Answer::Follow => self.follow(id, now),
            Answer::Command(command) => {
                if !self.commands.take(now) {
                    return refuse(self, route::error(429, "too many commands"));
                }
                let who = self.who(id, &bytes, head, scope);
                self.command(id, command, who, head.keep_alive, now);
            }
        }
    }

    /// For the audit: what of the asker is known. His name is his own word.
    fn who(&self, id: usize, bytes: &[u8], head: &Head, scope: Option<Scope>) -> String {
        let address = self.peers.get(&id).map(|peer| peer.address.to_string()).unwrap_or_default();
        let said = |name: &str| {
            let value = http1::header(bytes, head, name).unwrap_or_default();
            let text = String::from_utf8_lossy(value);
            text.chars().filter(|c| !c.is_control()).take(40).collect::<String>()
        };
        let scope = if scope == Some(Scope::Operate) { "operate" } else { "read" };
        format!("{scope} token, {address}, \"{}\", {}", said("x-operator"), said("user-agent"))
    }

    fn command(&mut self, id: usize, command: CommandBody, who: String, keeps: bool, now: Instant) {
        self.asks += 1;
        self.stats.commands.fetch_add(1, Ordering::Relaxed);
        let (ask_id, sender, waker) = (self.asks, self.outcomes.0.clone(), self.waker.clone());
        (self.audit)(&format!(
            "command {ask_id}: {} {} reason \"{}\" by {who}",
            command.word,
            command.symbol.as_deref().unwrap_or("everything"),
            command.reason
        ));
        let ask = Ask {
            verb: command.verb,
            symbol: command.symbol,
            reason: command.reason,
            who,
            reply: Box::new(move |outcome| {
                // The receiver lives as long as the thread; after it nobody waits.
                let _ = sender.send((id, ask_id, outcome));
                let _ = waker.wake();
            }),
        };
        match self.hub.ask(ask) {
            Ok(()) => {
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.asked = Some(now);
                    peer.ask_id = ask_id;
                    peer.keeps = keeps;
                }
            }
            Err(words) => {
                (self.audit)(&format!("command {ask_id}: not taken, {words}"));
                self.reply(id, route::error(503, words), false);
            }
        }
    }

    fn on_outcome(&mut self, id: usize, ask_id: u64, outcome: &Outcome, now: Instant) {
        (self.audit)(&format!(
            "command {ask_id}: {}; {}; rank {} to {}, own orders {} to {}, after {} ms",
            if outcome.accepted { "done" } else { "refused" },
            outcome.effect,
            outcome.rank_before,
            outcome.rank_after,
            outcome.orders_before,
            outcome.orders_after,
            outcome.took_ms
        ));
        let waits =
            self.peers.get(&id).is_some_and(|peer| peer.asked.is_some() && peer.ask_id == ask_id);
        if !waits {
            return; // he has gone, or was told that it takes longer
        }
        let mut keeps = false;
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.asked = None;
            keeps = peer.keeps;
        }
        let body = sonic_rs::to_vec(outcome).unwrap_or_default();
        let status = if outcome.accepted { 200 } else { 409 };
        let reply = Reply { status, kind: "application/json", body, is_page: false };
        self.reply(id, reply, keeps);
        self.requests_of(id, now);
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.send(now);
        }
    }

    fn reply(&mut self, id: usize, reply: Reply, keep: bool) {
        let headers = if reply.is_page { self.page_headers.as_str() } else { HEADERS };
        let Some(peer) = self.peers.get_mut(&id) else { return };
        http1::write_reply(&mut peer.outbox, reply.status, reply.kind, headers, &reply.body, keep);
        peer.close_after |= !keep;
        peer.send(Instant::now());
    }

    fn follow(&mut self, id: usize, now: Instant) {
        let followers = self.peers.values().filter(|peer| peer.is_follower).count();
        if followers >= self.config.followers_max {
            return self.reply(id, route::error(503, "too many dashboards are open"), false);
        }
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.is_follower = true;
        peer.seen = u64::MAX;
        peer.outbox.extend_from_slice(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n");
        peer.outbox.extend_from_slice(HEADERS.as_bytes());
        peer.outbox.extend_from_slice(b"connection: close\r\n\r\nretry: 1000\n\n");
        self.push_events(now);
    }

    fn push_events(&mut self, now: Instant) {
        let version = self.hub.version();
        let mut json = None;
        for peer in self.peers.values_mut() {
            if !peer.is_follower || peer.is_gone || peer.seen == version {
                continue;
            }
            peer.seen = version;
            // Who reads slowly misses pictures, not the newest one.
            if peer.outbox.len() - peer.sent > BACKLOG_MAX {
                continue;
            }
            let text = json.get_or_insert_with(|| self.hub.status_json());
            peer.outbox.extend_from_slice(b"event: status\ndata: ");
            peer.outbox.extend_from_slice(text.as_bytes());
            peer.outbox.extend_from_slice(b"\n\n");
            peer.send(now);
        }
    }

    /// Deadlines.
    fn look(&mut self, now: Instant) {
        let mut late = Vec::new();
        for (id, peer) in &mut self.peers {
            let config = &self.config;
            let stuck = peer.sent < peer.outbox.len()
                && now.duration_since(peer.moved_at) > config.write_max;
            let waited = now.duration_since(peer.since);
            let idle = peer.inbox.is_empty() && waited > config.idle_max;
            let slow = !peer.inbox.is_empty() && waited > config.request_max;
            if stuck {
                peer.is_gone = true;
            } else if let Some(at) = peer.closing_at {
                peer.is_gone |= now.duration_since(at) > CLOSING_MAX;
                continue;
            } else if let Some(at) = peer.asked {
                if now.duration_since(at) > config.command_max {
                    late.push((*id, 504, "the engine has not told the effect in time"));
                }
            } else if peer.is_follower || peer.close_after {
                continue;
            } else if slow {
                late.push((*id, 408, "a request takes seconds, not minutes"));
            } else if idle {
                peer.is_gone = true;
            } else {
                continue;
            }
            self.stats.timed_out.fetch_add(1, Ordering::Relaxed);
        }
        for (id, status, words) in late {
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.asked = None;
            }
            self.reply(id, route::error(status, words), false);
        }
    }
}

/// The head of the first request whose bytes are all there.
fn whole_request(inbox: &[u8]) -> Result<Option<Head>, HttpError> {
    let Some(head) = http1::parse_head(&inbox[..inbox.len().min(HEAD_MAX)])? else {
        let is_full = inbox.len() >= HEAD_MAX;
        return if is_full { Err(HttpError::HeadTooLarge) } else { Ok(None) };
    };
    if head.body_size > BODY_MAX {
        return Err(HttpError::BodyTooLarge);
    }
    Ok((inbox.len() >= head.size + head.body_size).then_some(head))
}

impl Peer {
    fn receive(&mut self, now: Instant) {
        let mut buffer = [0u8; 4096];
        let mut got = 0;
        while got < READ_MAX {
            match self.stream.read(&mut buffer) {
                Ok(0) => {
                    self.is_gone = true;
                    return;
                }
                Ok(count) => {
                    got += count;
                    if self.is_follower || self.close_after {
                        continue; // nothing more is expected of it
                    }
                    if self.inbox.is_empty() {
                        self.since = now;
                    }
                    self.inbox.extend_from_slice(&buffer[..count]);
                    // Whatever comes beyond one head, one body and a little more waits in the
                    // kernel or is refused by the parser.
                    if self.inbox.len() > 2 * (HEAD_MAX + BODY_MAX) {
                        self.is_gone = true;
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.is_gone = true;
                    return;
                }
            }
        }
        // More than one turn's worth in one breath is no client of ours.
        self.is_gone = true;
    }

    fn send(&mut self, now: Instant) {
        if self.sent == 0 && !self.outbox.is_empty() {
            self.moved_at = now;
        }
        while self.sent < self.outbox.len() && !self.is_gone {
            match self.stream.write(&self.outbox[self.sent..]) {
                Ok(0) => self.is_gone = true,
                Ok(count) => {
                    self.sent += count;
                    self.moved_at = now;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.is_gone = true,
            }
        }
        self.outbox.clear();
        self.sent = 0;
        if self.close_after {
            // Says "end" before it closes, so that the reply is not cut off by a reset.
            // A close with bytes unread would be one: they are read and dropped for a moment.
            if self.closing_at.is_none() {
                let _ = self.stream.shutdown(std::net::Shutdown::Write);
                self.closing_at = Some(now);
            }
        }
    }
}
