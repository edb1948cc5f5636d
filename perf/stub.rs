//! The bare other side for wire-to-wire figures: no books, no matching, no JSON library. It signs
//! the engine in with canned answers, then sends one market frame at each scheduled time,
//! busy-polls the trading socket, and stamps both ends on its own core.

use crate::feed::{Feed, client_frame, client_text};
use genesis::io::tls_server::ServerTls;
use rustls::{ServerConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long an engine may take to sign in.
const SIGN_IN_MAX: Duration = Duration::from_secs(20);

/// One socket of the engine, plain or TLS.
pub enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}
impl Wire {
    fn socket(&self) -> &TcpStream {
        match self {
            Wire::Plain(socket) => socket,
            Wire::Tls(stream) => stream.get_ref(),
        }
    }
    pub fn set_nonblocking(&self, on: bool) -> io::Result<()> {
        self.socket().set_nonblocking(on)
    }
}
impl Read for Wire {
    #[inline(always)]
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(socket) => socket.read(bytes),
            Wire::Tls(stream) => stream.read(bytes),
        }
    }
}
impl Write for Wire {
    #[inline(always)]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(socket) => socket.write(bytes),
            Wire::Tls(stream) => stream.write(bytes),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Wire::Plain(socket) => socket.flush(),
            Wire::Tls(stream) => stream.flush(),
        }
    }
}

pub struct Stub {
    sockets: TcpListener,
    pub address: SocketAddr,
    pub rest_address: SocketAddr,
    tls: Option<ServerTls>,
    stop: Arc<AtomicBool>,
}
impl Drop for Stub {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

/// The two sockets of a signed-in engine.
pub struct Signed {
    pub market: Wire,
    pub trading: Wire,
}

impl Stub {
    /// Listens on loopback; REST is answered from now on, with empty lists.
    pub fn new(tls: Option<ServerTls>) -> io::Result<Stub> {
        let sockets = TcpListener::bind("127.0.0.1:0")?;
        let rest = TcpListener::bind("127.0.0.1:0")?;
        let (address, rest_address) = (sockets.local_addr()?, rest.local_addr()?);
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        rest.set_nonblocking(true)?;
        std::thread::spawn(move || {
            while !seen.load(Ordering::Acquire) {
                match rest.accept() {
                    Ok((stream, _)) => {
                        let seen = Arc::clone(&seen);
                        std::thread::spawn(move || serve_rest(stream, &seen));
                    }
                    Err(_) => std::thread::sleep(Duration::from_millis(5)),
                }
            }
        });
        Ok(Stub { sockets, address, rest_address, tls, stop })
    }

    /// Handshakes and sign-in, until both sockets of the engine have been told all they asked for:
    /// `channels` subscriptions on one, the account on the other.
    pub fn accept(&self, feed: &mut Feed, channels: usize) -> io::Result<Signed> {
        let (mut market, mut trading) = (None, None);
        let deadline = Instant::now() + SIGN_IN_MAX;
        while market.is_none() || trading.is_none() {
            if Instant::now() > deadline {
                return Err(io::Error::other("the engine did not sign in within 20 s"));
            }
            let (socket, _) = self.sockets.accept()?;
            socket.set_nodelay(true)?;
            socket.set_read_timeout(Some(SIGN_IN_MAX))?;
            let mut wire = match &self.tls {
                None => Wire::Plain(socket),
                Some(tls) => {
                    let session =
                        ServerConnection::new(Arc::clone(&tls.config)).map_err(io::Error::other)?;
                    Wire::Tls(Box::new(StreamOwned::new(session, socket)))
                }
            };
            upgrade(&mut wire)?;
            if sign_in(&mut wire, feed, channels)? {
                trading = Some(wire);
            } else {
                market = Some(wire);
            }
        }
        let (Some(market), Some(trading)) = (market, trading) else {
            return Err(io::Error::other("a socket is missing"));
        };
        Ok(Signed { market, trading })
    }
}

fn read_head(stream: &mut impl Read) -> io::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > 8_192 || stream.read(&mut byte)? == 0 {
            return Err(io::Error::other("no request head"));
        }
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn header<'a>(head: &'a str, wanted: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case(wanted).then(|| value.trim())
    })
}

fn upgrade(wire: &mut Wire) -> io::Result<()> {
    let head = read_head(wire)?;
    let key = header(&head, "sec-websocket-key");
    let key = key.ok_or_else(|| io::Error::other("no websocket key"))?;
    let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
    let reply = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    wire.write_all(reply.as_bytes())?;
    wire.flush()
}

/// Canned REST: every list is empty.
fn serve_rest(mut stream: TcpStream, stop: &AtomicBool) {
    let _ = stream.set_nonblocking(false);
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    while !stop.load(Ordering::Acquire) {
        let Ok(head) = read_head(&mut stream) else { return };
        let length = header(&head, "content-length").and_then(|text| text.parse().ok());
        let mut body = vec![0; length.unwrap_or(0usize)];
        let reply =
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n[]";
        if stream.read_exact(&mut body).is_err() || stream.write_all(reply.as_bytes()).is_err() {
            return;
        }
    }
}

/// True where the engine signed in on it; false for a market-data socket.
fn sign_in(wire: &mut Wire, feed: &mut Feed, channels: usize) -> io::Result<bool> {
    let (mut out, mut bytes, mut chunk) = (Vec::new(), Vec::new(), [0; 4_096]);
    let mut subscribed = 0;
    feed.hello(&mut out);
    loop {
        if !out.is_empty() {
            wire.write_all(&out)?;
            wire.flush()?;
            out.clear();
        }
        if subscribed == channels {
            return Ok(false);
        }
        while let Some((text, used)) = client_text(&bytes) {
            bytes.drain(..used);
            feed.answer(&text, &mut out);
            subscribed += usize::from(text.contains("\"subscribe\""));
            if text.contains("\"auth\"") {
                wire.write_all(&out)?;
                wire.flush()?;
                return Ok(true);
            }
        }
        if out.is_empty() {
            let count = wire.read(&mut chunk)?;
            if count == 0 {
                return Err(io::Error::other("the engine closed while signing in"));
            }
            bytes.extend_from_slice(&chunk[..count]);
        }
    }
}

/// Bytes of the other side up to a whole client frame.
#[derive(Default)]
pub struct Inbox {
    bytes: Vec<u8>,
}
impl Inbox {
    /// Reads once without waiting; the text of a whole frame if one is there.
    ///
    /// # Errors
    /// The socket's; nothing to read is none.
    #[inline]
    pub fn poll(&mut self, wire: &mut Wire) -> io::Result<bool> {
        let mut chunk = [0; 4_096];
        match wire.read(&mut chunk) {
            Ok(0) => Err(io::Error::other("the other side closed")),
            Ok(count) => {
                self.bytes.extend_from_slice(&chunk[..count]);
                Ok(client_frame(&self.bytes).is_some())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
    /// Takes the first whole frame out: its text, and its length on the wire.
    pub fn take(&mut self) -> Option<(String, usize)> {
        let (text, used) = client_text(&self.bytes)?;
        self.bytes.drain(..used);
        Some((text, used))
    }
}
