//! One client socket: plain or TLS, HTTP until it asks for a websocket, and what waits to be
//! written to it. Nothing here blocks; nothing here grows without a bound that the caller checks.

use super::super::ws_bytes::Wire;
use super::http::{self, Bodies, Head, HttpError};
use super::port::Pace;
use mio::net::TcpStream;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};
use tungstenite::error::Error as WsError;
use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::{Request, create_response, write_response};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext};

/// Longest websocket message of a client, bytes; longer ones close the socket with 1009.
pub const CLIENT_MESSAGE_MAX: usize = 1 << 20;
/// Bytes tungstenite reads ahead. It clears that many for each read, and commands are short.
const WS_READ_AHEAD: usize = 4 * 1024;
/// How long a closed socket is still read, so that our last words reach the client before a reset
/// does.
const LINGER_FOR: Duration = Duration::from_secs(5);
/// Written bytes are cut off the front of the outbox once there are that many.
const OUTBOX_COMPACT: usize = 256 * 1024;
/// Plain bytes handed to TLS at once: four full records.
const TLS_CHUNK: usize = 64 * 1024;

/// What a socket is at the moment.
#[derive(Debug)]
pub enum Phase {
    Http,
    Ws(Box<WebSocketContext>),
    /// The last bytes are being written; what still comes is thrown away.
    Linger {
        until: Instant,
        shut: bool,
    },
}

/// Result of reading.
#[derive(Debug, PartialEq, Eq)]
pub enum Fill {
    /// That many bytes of plain text.
    Bytes(usize),
    /// Nothing more at the moment.
    Later,
    /// The client is gone, or broke TLS.
    Gone,
}

/// Why a websocket ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WsEnd {
    /// The client said goodbye.
    ByClient,
    /// A message beyond `CLIENT_MESSAGE_MAX`.
    TooLong,
    /// Text that is not UTF-8.
    NotUtf8,
    /// Anything else RFC 6455 forbids.
    Protocol,
}

#[derive(Debug)]
pub struct Conn {
    pub id: u64,
    pub phase: Phase,
    /// More may be read. Set by the poller, cleared when a read finds nothing.
    pub readable: bool,
    /// The client closed its half, or the socket broke: a short read is no sign of its end then.
    pub read_closed: bool,
    /// More may be written. Cleared when a write finds no room.
    pub writable: bool,
    /// In the list of sockets to serve in the next turn.
    pub queued: bool,
    /// In the list of sockets to flush in this turn.
    pub touched: bool,
    /// The exchange knows this socket and must hear of its end.
    pub announced: bool,
    /// HTTP bytes not used up yet.
    pub inbox: Vec<u8>,
    /// Since when the client owes us the rest of a request.
    pub waiting_since: Instant,
    /// A whole request was answered on this socket.
    pub served: bool,
    /// When a byte was last written, or could have been.
    pub progress_at: Instant,
    continued: bool,
    /// A reply that goes out bit by bit.
    held: Option<Held>,
    stream: TcpStream,
    tls: Option<Box<rustls::ServerConnection>>,
    outbox: Vec<u8>,
    out_at: usize,
}

/// A reply whose bytes are let go as its pace allows.
#[derive(Debug)]
struct Held {
    bytes: Vec<u8>,
    at: usize,
    from: Instant,
    bytes_per_s: u32,
    keep_alive: bool,
}

impl Conn {
    pub fn new(
        id: u64,
        stream: TcpStream,
        tls: Option<rustls::ServerConnection>,
        now: Instant,
    ) -> Self {
        Self {
            id,
            phase: Phase::Http,
            readable: true,
            read_closed: false,
            writable: true,
            queued: false,
            touched: false,
            announced: false,
            inbox: Vec::new(),
            waiting_since: now,
            served: false,
            progress_at: now,
            continued: false,
            held: None,
            stream,
            tls: tls.map(Box::new),
            outbox: Vec::new(),
            out_at: 0,
        }
    }
    pub fn stream_mut(&mut self) -> &mut TcpStream {
        &mut self.stream
    }
    /// Bytes that wait to be written.
    pub fn backlog(&self) -> usize {
        self.outbox.len() - self.out_at
    }
    pub fn is_ws(&self) -> bool {
        matches!(self.phase, Phase::Ws(_))
    }
    /// Bytes wait, plain or encrypted already.
    pub fn is_waiting(&self) -> bool {
        self.backlog() > 0 || self.tls_wants_write()
    }
    pub fn is_tls_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }
    fn tls_wants_write(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Reads plain text into `scratch`.
    pub fn fill(&mut self, scratch: &mut [u8]) -> Fill {
        let lingering = matches!(self.phase, Phase::Linger { .. });
        loop {
            let read = match &mut self.tls {
                // What comes behind our goodbye is not even decrypted.
                Some(tls) if !lingering => match tls.reader().read(scratch) {
                    Ok(0) => return Fill::Gone,
                    Ok(size) => return Fill::Bytes(size),
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Fill::Gone,
                    Err(_) => match tls.read_tls(&mut self.stream) {
                        Ok(0) => return Fill::Gone,
                        Ok(_) if tls.process_new_packets().is_err() => {
                            // The alert that says why, if there is room for it.
                            let _ = tls.write_tls(&mut self.stream);
                            return Fill::Gone;
                        }
                        Ok(_) => continue,
                        Err(error) => Err(error),
                    },
                },
                _ => self.stream.read(scratch),
            };
            match read {
                Ok(0) => return Fill::Gone,
                Ok(size) => {
                    // Edge-triggered: what comes behind a short read is a new event. Saves the read
                    // that would find nothing, on the way of every order.
                    if size < scratch.len() && !self.read_closed {
                        self.readable = false;
                    }
                    return Fill::Bytes(size);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.readable = false;
                    return Fill::Later;
                }
                Err(_) => return Fill::Gone,
            }
        }
    }

    /// Writes what waits, as far as the socket takes it; returns the bytes taken off the outbox.
    ///
    /// # Errors
    /// The socket is broken.
    pub fn flush(&mut self, now: Instant) -> io::Result<usize> {
        let mut taken = 0;
        while self.writable && self.is_waiting() {
            let mut taken_nothing = true;
            let result = match &mut self.tls {
                None => self.stream.write(&self.outbox[self.out_at..]),
                Some(tls) if tls.wants_write() => {
                    let written = tls.write_tls(&mut self.stream);
                    taken_nothing = matches!(written, Ok(0));
                    written.map(|_| 0)
                }
                Some(tls) => {
                    let end = self.outbox.len().min(self.out_at + TLS_CHUNK);
                    tls.writer().write(&self.outbox[self.out_at..end])
                }
            };
            match result {
                // Neither a socket nor TLS past its handshake takes nothing and says so.
                Ok(0) if taken_nothing => return Err(io::ErrorKind::WriteZero.into()),
                Ok(size) => {
                    self.out_at += size;
                    taken += size;
                    self.progress_at = now;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) => return Err(error),
            }
        }
        if self.backlog() == 0 {
            self.outbox.clear();
            self.out_at = 0;
            if !self.tls_wants_write() {
                self.progress_at = now;
            }
        } else if self.out_at >= OUTBOX_COMPACT {
            self.outbox.drain(..self.out_at);
            self.out_at = 0;
        }
        self.finish_linger()?;
        Ok(taken)
    }

    /// Says goodbye on the socket once everything is written.
    fn finish_linger(&mut self) -> io::Result<()> {
        if self.is_waiting() {
            return Ok(());
        }
        if let Phase::Linger { shut, .. } = &mut self.phase
            && !*shut
        {
            *shut = true;
            if let Some(tls) = &mut self.tls {
                tls.send_close_notify();
                let _ = tls.write_tls(&mut self.stream);
            }
            self.stream.shutdown(Shutdown::Write)?;
        }
        Ok(())
    }

    /// From here on: write what waits, then close; read and forget until the client closes too.
    pub fn linger(&mut self, now: Instant) {
        if !matches!(self.phase, Phase::Linger { .. }) {
            self.phase = Phase::Linger { until: now + LINGER_FOR, shut: false };
            self.inbox = Vec::new();
            // The poller may have said "readable" for bytes that HTTP or a full outbox left lying.
            self.readable = true;
        }
    }

    /// Appends one text frame. Only on a websocket.
    pub fn push_text(&mut self, payload: &[u8]) {
        const FIN_TEXT: u8 = 0x81;
        let size = payload.len();
        match size {
            0..=125 => self.outbox.extend_from_slice(&[FIN_TEXT, size as u8]),
            126..=0xffff => {
                let [high, low] = (size as u16).to_be_bytes();
                self.outbox.extend_from_slice(&[FIN_TEXT, 126, high, low]);
            }
            _ => {
                self.outbox.extend_from_slice(&[FIN_TEXT, 127]);
                self.outbox.extend_from_slice(&(size as u64).to_be_bytes());
            }
        }
        self.outbox.extend_from_slice(payload);
    }

    /// Appends a close frame and lingers.
    pub fn close_ws(&mut self, code: CloseCode, reason: &'static str, now: Instant) {
        if let Phase::Ws(ws) = &mut self.phase {
            let mut wire = Wire { input: &[], output: &mut self.outbox };
            // Fails where the closing handshake is over already, which is as well.
            let _ = ws.close(&mut wire, Some(CloseFrame { code, reason: reason.into() }));
        }
        self.linger(now);
    }

    /// Feeds websocket bytes; every text message goes to `on_text`. `Some` where the websocket ends
    /// here; it lingers then.
    pub fn on_ws_bytes(
        &mut self,
        bytes: &[u8],
        now: Instant,
        mut on_text: impl FnMut(&[u8]),
    ) -> Option<WsEnd> {
        let Phase::Ws(ws) = &mut self.phase else { return None };
        let mut wire = Wire { input: bytes, output: &mut self.outbox };
        let end = loop {
            match ws.read(&mut wire) {
                Ok(tungstenite::Message::Text(text)) => on_text(text.as_bytes()),
                // Binary messages: the venue ignores what is not JSON text. Pings: answered by the
                // next read.
                Ok(_) => {}
                Err(WsError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    return None;
                }
                Err(WsError::ConnectionClosed | WsError::AlreadyClosed) => break WsEnd::ByClient,
                Err(WsError::Capacity(_)) => break WsEnd::TooLong,
                Err(WsError::Utf8(_)) => break WsEnd::NotUtf8,
                Err(_) => break WsEnd::Protocol,
            }
        };
        match end {
            WsEnd::ByClient => self.linger(now),
            WsEnd::TooLong => self.close_ws(CloseCode::Size, "message too long", now),
            WsEnd::NotUtf8 => self.close_ws(CloseCode::Invalid, "text is not UTF-8", now),
            WsEnd::Protocol => self.close_ws(CloseCode::Protocol, "protocol error", now),
        }
        Some(end)
    }

    /// The next whole request in the inbox. `None` while there is none.
    ///
    /// # Errors
    /// The request is refused; the caller answers and lingers.
    pub fn next_request(&mut self) -> Result<Option<Head>, HttpError> {
        let Some(mut head) = http::parse_head_of(&self.inbox, Bodies::Any)? else {
            return Ok(None);
        };
        let mut is_whole = self.inbox.len() >= head.size + head.body_size;
        if head.chunked {
            match http::read_chunks(&self.inbox[head.size..])? {
                // From here on the body is as if it had come in one piece.
                Some((body, size)) => {
                    head.body_size = body.len();
                    self.inbox.splice(head.size..head.size + size, body);
                }
                // Chunks of one byte each must not become a store of what was thrown away.
                None if self.inbox.len() > head.size + 2 * http::BODY_SIZE_MAX => {
                    return Err(HttpError::BodyTooLarge);
                }
                None => is_whole = false,
            }
        }
        if !is_whole {
            if head.expect_continue && !self.continued {
                self.continued = true;
                self.outbox.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            }
            return Ok(None);
        }
        self.continued = false;
        Ok(Some(head))
    }
    /// Cuts an answered request off the inbox.
    pub fn finish_request(&mut self, head: &Head, now: Instant) {
        self.inbox.drain(..head.size + head.body_size);
        self.served = true;
        self.waiting_since = now;
    }
    /// Appends an HTTP reply.
    pub fn reply(
        &mut self,
        status: u16,
        content_type: &str,
        extra: &str,
        body: &[u8],
        keep_alive: bool,
    ) {
        http::write_reply(&mut self.outbox, status, content_type, extra, body, keep_alive);
    }

    pub fn is_paced(&self) -> bool {
        self.held.is_some()
    }
    /// Takes what was just replied back, to let it go bit by bit.
    pub fn hold_reply(&mut self, pace: Pace, keep_alive: bool, now: Instant) {
        let bytes = self.outbox.split_off(self.out_at);
        let (from, bytes_per_s) = (now + pace.wait, pace.bytes_per_s.max(1));
        self.held = Some(Held { bytes, at: 0, from, bytes_per_s, keep_alive });
    }
    /// Lets go of what is due of a held reply. True while there was one.
    pub fn release_reply(&mut self, now: Instant) -> bool {
        let Some(held) = &mut self.held else { return false };
        // The client waits for us, not we for it.
        self.waiting_since = now;
        self.progress_at = now;
        let Some(run_for) = now.checked_duration_since(held.from) else { return true };
        let due = (run_for.as_secs_f64() * f64::from(held.bytes_per_s)) as usize + 1;
        let until = due.min(held.bytes.len());
        self.outbox.extend_from_slice(&held.bytes[held.at..until]);
        held.at = until;
        if until == held.bytes.len() {
            let keep_alive = held.keep_alive;
            self.held = None;
            if !keep_alive {
                self.linger(now);
            }
        }
        true
    }

    /// Answers the websocket handshake at the front of the inbox. False where it is not a good one.
    pub fn upgrade(&mut self) -> bool {
        let Ok(Some((size, request))) = Request::try_parse(&self.inbox) else { return false };
        let Ok(response) = create_response(&request) else { return false };
        if write_response(&mut self.outbox, &response).is_err() {
            return false;
        }
        let rest = self.inbox.split_off(size);
        self.inbox = Vec::new();
        let config = WebSocketConfig::default()
            .read_buffer_size(WS_READ_AHEAD)
            .write_buffer_size(0)
            .max_message_size(Some(CLIENT_MESSAGE_MAX))
            .max_frame_size(Some(CLIENT_MESSAGE_MAX));
        let ws = WebSocketContext::from_partially_read(rest, Role::Server, Some(config));
        self.phase = Phase::Ws(Box::new(ws));
        true
    }
}
