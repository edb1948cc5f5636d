//! Opens a websocket connection: name, TCP, TLS, upgrade, in one deadline. Blocks, so it runs on a
//! cold thread; the result is a non-blocking stream for a hot one.

#![allow(
    clippy::disallowed_methods,
    reason = "the edge: deadlines and clocks of real sockets and disks"
)]

use crate::base::time::SpanNs;
use crate::io::socket::{HotStream, SocketOptions, WriteError, Written, apply_options};
use crate::io::tls::TlsSession;
use rustls::ClientConfig;
use socket2::{Domain, Protocol, Socket, Type};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tungstenite::handshake::client::generate_key;
use tungstenite::handshake::derive_accept_key;

/// Longest answer head accepted, bytes.
const HEAD_SIZE_MAX: usize = 16 * 1024;
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;
/// Shortest time-out handed to the kernel: zero would mean "for ever".
const TIMEOUT_MIN: Duration = Duration::from_millis(1);

/// `ws://host[:port]/path` or `wss://…`, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WsUrl {
    pub tls: bool,
    /// Without the brackets of an IPv6 address.
    pub host: String,
    pub port: u16,
    /// Path and query, from its slash on.
    pub path: String,
}
impl WsUrl {
    /// `None` where the text is not such an address.
    pub fn parse(text: &str) -> Option<WsUrl> {
        let (tls, rest) = match text.split_once("://")? {
            (scheme, rest) if scheme.eq_ignore_ascii_case("ws") => (false, rest),
            (scheme, rest) if scheme.eq_ignore_ascii_case("wss") => (true, rest),
            _ => return None,
        };
        let cut = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(cut);
        let (host, port) = match authority.strip_prefix('[') {
            Some(bracketed) => {
                let (host, after) = bracketed.split_once(']')?;
                (host, after.strip_prefix(':').or(after.is_empty().then_some(""))?)
            }
            None => authority.split_once(':').unwrap_or((authority, "")),
        };
        let port = match port {
            "" => 80 + 363 * u16::from(tls),
            text => text.parse().ok().filter(|&port| port > 0)?,
        };
        let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
        if host.is_empty() || host.contains('@') || !printable {
            return None;
        }
        let path = match path {
            "" => "/".to_owned(),
            query if query.starts_with('?') => format!("/{query}"),
            path => path.split('#').next().unwrap_or("/").to_owned(),
        };
        Some(WsUrl { tls, host: host.to_owned(), port, path })
    }
    /// As the `Host` header has it: the port only where it is not the scheme's own.
    fn host_header(&self) -> String {
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let own = if self.tls { 443 } else { 80 };
        if self.port == own { host } else { format!("{host}:{}", self.port) }
    }
}

#[derive(Clone)]
pub struct DialSpec {
    pub url: WsUrl,
    /// Needed for `wss`.
    pub tls: Option<Arc<ClientConfig>>,
    pub options: SocketOptions,
    /// From the call to the finished upgrade.
    pub deadline: Duration,
    /// Refuse every address that is not this machine's own.
    pub loopback_only: bool,
    /// `User-Agent` header; empty = none.
    pub user_agent: String,
}

/// The part of the work in which it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialPhase {
    Resolve,
    Connect,
    Tls,
    Upgrade,
}

#[derive(Debug)]
pub enum DialError {
    /// `wss` without a TLS config.
    NoTlsConfig,
    /// The deadline passed in this phase.
    Deadline(DialPhase),
    /// The name has no address.
    NoAddress,
    /// `loopback_only` is set and this address is elsewhere.
    NotLoopback(IpAddr),
    /// The kernel's or the TLS library's word; of several addresses the last one's.
    Io(DialPhase, io::Error),
    /// The server answered, but not with 101.
    Refused { status: u16, retry_after_s: Option<u32> },
    /// The answer is not a correct upgrade.
    BadUpgrade(UpgradeFault),
}
/// What was wrong with the server's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpgradeFault {
    /// Not HTTP/1.1, or longer than 16 KiB.
    NotHttp,
    NoUpgradeHeader,
    NoConnectionHeader,
    /// `Sec-WebSocket-Accept` is absent or belongs to another key.
    WrongAcceptKey,
    /// An extension or a subprotocol that was not asked for.
    Uninvited,
    /// The connection ended inside the answer.
    Cut,
}
impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DialError::NoTlsConfig => write!(f, "a wss address needs a TLS config"),
            DialError::Deadline(phase) => write!(f, "deadline passed in phase {phase:?}"),
            DialError::NoAddress => write!(f, "the host name has no address"),
            DialError::NotLoopback(address) => {
                write!(f, "{address} is not a loopback address, and only such are allowed here")
            }
            DialError::Io(phase, error) => write!(f, "{phase:?}: {error}"),
            DialError::Refused { status, retry_after_s: Some(s) } => {
                write!(f, "refused with HTTP status {status}, retry after {s} s")
            }
            DialError::Refused { status, .. } => write!(f, "refused with HTTP status {status}"),
            DialError::BadUpgrade(fault) => write!(f, "bad websocket upgrade: {fault:?}"),
        }
    }
}

/// How long each part took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DialTimings {
    pub resolve: SpanNs,
    pub connect: SpanNs,
    /// Zero on a plain connection.
    pub tls: SpanNs,
    pub upgrade: SpanNs,
}

/// An open websocket connection, ready for a hot thread.
pub struct Dialed {
    /// Non-blocking. Its first reads give the bytes that came right behind the answer's head.
    pub stream: HotStream,
    /// How many such bytes wait in it.
    pub leftover_size: usize,
    pub peer: SocketAddr,
    pub timings: DialTimings,
    /// Socket options the kernel did not take.
    pub options_refused: Vec<&'static str>,
}

/// What is left of the deadline, cut into laps.
struct Watch {
    until: Instant,
    lap_from: Instant,
}
impl Watch {
    fn left(&self, phase: DialPhase) -> Result<Duration, DialError> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(DialError::Deadline(phase)) } else { Ok(left.max(TIMEOUT_MIN)) }
    }
    fn lap(&mut self) -> SpanNs {
        let now = Instant::now();
        let span = now - self.lap_from;
        self.lap_from = now;
        SpanNs(span.as_nanos() as i64)
    }
    /// A time-out of the kernel in this phase is our deadline; anything else is its own.
    fn fault(&self, phase: DialPhase, error: io::Error) -> DialError {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => DialError::Deadline(phase),
            _ => DialError::Io(phase, error),
        }
    }
}

/// Opens the connection; blocks up to the deadline.
///
/// # Errors
/// `DialError`; the socket is closed then.
pub fn dial(spec: &DialSpec) -> Result<Dialed, DialError> {
    let now = Instant::now();
    let mut watch = Watch { until: now + spec.deadline, lap_from: now };
    let mut timings = DialTimings::default();
    let session = if spec.url.tls {
        let config = spec.tls.clone().ok_or(DialError::NoTlsConfig)?;
        let session = TlsSession::new(config, &spec.url.host)
            .map_err(|error| DialError::Io(DialPhase::Tls, error.into()))?;
        Some(session)
    } else {
        None
    };
    let addresses = resolve(&spec.url, &watch)?;
    if spec.loopback_only
        && let Some(far) = addresses.iter().find(|address| !address.ip().is_loopback())
    {
        return Err(DialError::NotLoopback(far.ip()));
    }
    timings.resolve = watch.lap();
    let (tcp, peer) = connect(&addresses, &watch)?;
    let options_refused = apply_options(&tcp, &spec.options);
    timings.connect = watch.lap();
    let mut stream = HotStream::new(tcp, session);
    if stream.is_tls() {
        loop {
            set_timeouts(&stream, &watch, DialPhase::Tls)?;
            let step = stream.handshake_step();
            if step.map_err(|error| watch.fault(DialPhase::Tls, error))? {
                break;
            }
        }
        timings.tls = watch.lap();
    }
    let leftover_size = upgrade(&mut stream, spec, &watch)?;
    timings.upgrade = watch.lap();
    stream.tcp().set_nonblocking(true).map_err(|error| DialError::Io(DialPhase::Upgrade, error))?;
    Ok(Dialed { stream, leftover_size, peer, timings, options_refused })
}

fn resolve(url: &WsUrl, watch: &Watch) -> Result<Vec<SocketAddr>, DialError> {
    if let Ok(address) = url.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, url.port)]);
    }
    // The resolver of the C library knows no deadline, so it gets a thread that may outlive ours.
    let (tx, rx) = mpsc::sync_channel(1);
    let target = (url.host.clone(), url.port);
    // tidy-ok: cold, one a dial, ends when the resolver answers.
    let spawned = std::thread::Builder::new().name("resolve".into()).spawn(move || {
        let found = target.to_socket_addrs().map(|list| list.take(ADDRESSES_MAX).collect());
        let _ = tx.send(found);
    });
    spawned.map_err(|error| DialError::Io(DialPhase::Resolve, error))?;
    let found: io::Result<Vec<SocketAddr>> = rx
        .recv_timeout(watch.left(DialPhase::Resolve)?)
        .map_err(|_| DialError::Deadline(DialPhase::Resolve))?;
    let found = found.map_err(|error| DialError::Io(DialPhase::Resolve, error))?;
    if found.is_empty() { Err(DialError::NoAddress) } else { Ok(found) }
}

/// The addresses in turn, each with its share of the time that is left.
fn connect(addresses: &[SocketAddr], watch: &Watch) -> Result<(TcpStream, SocketAddr), DialError> {
    let mut last = DialError::NoAddress;
    for (index, &address) in addresses.iter().enumerate() {
        let share = watch.left(DialPhase::Connect)? / (addresses.len() - index) as u32;
        let made = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))
            .and_then(|socket| {
                socket.connect_timeout(&address.into(), share.max(TIMEOUT_MIN))?;
                Ok(socket)
            });
        match made {
            Ok(socket) => return Ok((socket.into(), address)),
            Err(error) => last = watch.fault(DialPhase::Connect, error),
        }
    }
    Err(last)
}

fn set_timeouts(stream: &HotStream, watch: &Watch, phase: DialPhase) -> Result<(), DialError> {
    let left = Some(watch.left(phase)?);
    let tcp = stream.tcp();
    tcp.set_read_timeout(left)
        .and_then(|()| tcp.set_write_timeout(left))
        .map_err(|error| DialError::Io(phase, error))
}

/// Sends the request and reads the answer; how many bytes came behind its head.
fn upgrade(stream: &mut HotStream, spec: &DialSpec, watch: &Watch) -> Result<usize, DialError> {
    let phase = DialPhase::Upgrade;
    let key = generate_key();
    let mut request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n",
        spec.url.path,
        spec.url.host_header(),
    );
    if !spec.user_agent.is_empty() {
        request.push_str(&format!("User-Agent: {}\r\n", spec.user_agent));
    }
    request.push_str("\r\n");
    set_timeouts(stream, watch, phase)?;
    let mut written = match stream.write_all_or_queue(request.as_bytes()) {
        Ok(written) => written,
        Err(WriteError::Full) => return Err(DialError::BadUpgrade(UpgradeFault::NotHttp)),
        Err(WriteError::Broken(error)) => return Err(watch.fault(phase, error)),
    };
    while written == Written::Queued {
        set_timeouts(stream, watch, phase)?;
        if stream.flush().map_err(|error| watch.fault(phase, error))? {
            written = Written::Whole;
        }
    }
    let mut head = vec![0u8; HEAD_SIZE_MAX];
    let mut filled = 0;
    let head_size = loop {
        if filled == head.len() {
            return Err(DialError::BadUpgrade(UpgradeFault::NotHttp));
        }
        set_timeouts(stream, watch, phase)?;
        match stream.read(&mut head[filled..]) {
            Ok(0) => return Err(DialError::BadUpgrade(UpgradeFault::Cut)),
            Ok(count) => {
                let from = filled.saturating_sub(3);
                filled += count;
                if let Some(at) = head[from..filled].windows(4).position(|end| end == b"\r\n\r\n") {
                    break from + at + 4;
                }
            }
            Err(error) => return Err(watch.fault(phase, error)),
        }
    };
    check_head(&head[..head_size], &derive_accept_key(key.as_bytes()))?;
    stream.give_back(&head[head_size..filled]);
    Ok(filled - head_size)
}

/// Judges an answer's head against the key that must be in it.
fn check_head(head: &[u8], accept_key: &str) -> Result<(), DialError> {
    let bad = |fault| Err(DialError::BadUpgrade(fault));
    let Ok(head) = std::str::from_utf8(head) else { return bad(UpgradeFault::NotHttp) };
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or("");
    let Some(status) = status.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)) else {
        return bad(UpgradeFault::NotHttp);
    };
    let Ok(status) = status.parse::<u16>() else { return bad(UpgradeFault::NotHttp) };
    let (mut upgrade, mut connection, mut accept, mut uninvited) = (false, false, false, false);
    let mut retry_after_s = None;
    for line in lines.take_while(|line| !line.is_empty()) {
        let Some((name, value)) = line.split_once(':') else {
            return bad(UpgradeFault::NotHttp);
        };
        let value = value.trim();
        let has_word =
            |word: &str| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word));
        match name.to_ascii_lowercase().as_str() {
            "upgrade" => upgrade |= has_word("websocket"),
            "connection" => connection |= has_word("upgrade"),
            "sec-websocket-accept" => accept = value == accept_key,
            "sec-websocket-extensions" | "sec-websocket-protocol" => uninvited = true,
            "retry-after" => retry_after_s = value.parse().ok(),
            _ => {}
        }
    }
    if status != 101 {
        return Err(DialError::Refused { status, retry_after_s });
    }
    match (upgrade, connection, accept, uninvited) {
        (false, ..) => bad(UpgradeFault::NoUpgradeHeader),
        (_, false, ..) => bad(UpgradeFault::NoConnectionHeader),
        (_, _, false, _) => bad(UpgradeFault::WrongAcceptKey),
        (_, _, _, true) => bad(UpgradeFault::Uninvited),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "dial_tests.rs"]
mod tests;
