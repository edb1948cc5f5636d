//! One non-blocking connection, plain or TLS, owned by one hot thread for reading and writing.

use crate::io::out_buffer::OutBuffer;
use crate::io::syscall::SocketSet;
use crate::io::tls::{TlsError, TlsSession};
use socket2::{SockRef, TcpKeepalive};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

/// Bytes that may wait for the kernel to take them: four of the longest commands. More is a sign
/// that the other side no longer reads.
pub const WRITE_QUEUE_SIZE: usize = 4 * crate::base::limits::COMMAND_TEXT_MAX + 4096;

/// What is asked of the kernel for one socket. Spans of 0 and sizes of 0 leave the kernel's
/// default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// Send at once instead of gathering small writes.
    pub nodelay: bool,
    /// Acknowledge at once; Linux clears this by itself, `HotStream::rearm_quickack` sets it again.
    pub quickack: bool,
    /// Unacknowledged data older than this ends the connection, ms.
    pub user_timeout_ms: u32,
    /// Receive buffer, bytes; the kernel doubles it.
    pub recv_buffer_size: usize,
    /// Send buffer, bytes. Small on an order socket, so that a stuck link shows early.
    pub send_buffer_size: usize,
    /// First keep-alive probe after this many idle seconds; then three, a second apart.
    pub keepalive_after_s: u32,
    /// Spin in the driver for this long on an empty read, µs; needs a privilege, no effect on
    /// loopback.
    pub busy_poll_us: u32,
    /// 0 … 6, SO_PRIORITY.
    pub priority: u32,
}
impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            nodelay: true,
            quickack: true,
            user_timeout_ms: 3_000,
            recv_buffer_size: 0,
            send_buffer_size: 0,
            keepalive_after_s: 5,
            busy_poll_us: 0,
            priority: 0,
        }
    }
}

/// Sets what is asked and reads it back; the names of what the kernel refused.
pub fn apply_options(socket: &TcpStream, options: &SocketOptions) -> Vec<&'static str> {
    let socket = SockRef::from(socket);
    let mut refused = Vec::new();
    let mut note = |name, taken: io::Result<bool>| {
        if !matches!(taken, Ok(true)) {
            refused.push(name);
        }
    };
    let nodelay = options.nodelay;
    note(
        "nodelay",
        socket
            .set_tcp_nodelay(nodelay)
            .and_then(|()| socket.tcp_nodelay())
            .map(|found| found == nodelay),
    );
    note("quickack", socket.set_tcp_quickack(options.quickack).map(|()| true));
    if options.user_timeout_ms > 0 {
        let span = Duration::from_millis(options.user_timeout_ms.into());
        note(
            "user_timeout_ms",
            socket
                .set_tcp_user_timeout(Some(span))
                .and_then(|()| socket.tcp_user_timeout())
                .map(|found| found == Some(span)),
        );
    }
    if options.recv_buffer_size > 0 {
        let size = options.recv_buffer_size;
        note(
            "recv_buffer_size",
            socket
                .set_recv_buffer_size(size)
                .and_then(|()| socket.recv_buffer_size())
                .map(|found| found >= size),
        );
    }
    if options.send_buffer_size > 0 {
        let size = options.send_buffer_size;
        note(
            "send_buffer_size",
            socket
                .set_send_buffer_size(size)
                .and_then(|()| socket.send_buffer_size())
                .map(|found| found >= size),
        );
    }
    if options.keepalive_after_s > 0 {
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(options.keepalive_after_s.into()))
            .with_interval(Duration::from_secs(1))
            .with_retries(3);
        note("keepalive_after_s", socket.set_tcp_keepalive(&keepalive).map(|()| true));
    }
    if options.busy_poll_us > 0 {
        note("busy_poll_us", socket.set_busy_poll(options.busy_poll_us).map(|()| true));
    }
    if options.priority > 0 {
        note("priority", socket.set_priority(options.priority).map(|()| true));
    }
    refused
}

/// How far a write came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// All bytes are in the kernel.
    Whole,
    /// Taken, but some wait here: call `flush` until it says done.
    Queued,
}
/// Why a write was not taken.
#[derive(Debug)]
pub enum WriteError {
    /// No room: not one byte was taken, the connection is as before.
    Full,
    /// The connection is lost; how much of what was taken before has left is unknown.
    Broken(io::Error),
}

/// The connection. Dropping it closes the socket.
pub struct HotStream {
    tcp: TcpStream,
    tls: Option<Box<TlsSession>>,
    out: OutBuffer,
    /// Bytes that came with the handshake's answer: given out before anything else.
    unread: Vec<u8>,
    unread_at: usize,
    broken: bool,
}

impl HotStream {
    pub(crate) fn new(tcp: TcpStream, tls: Option<TlsSession>) -> HotStream {
        HotStream {
            tcp,
            tls: tls.map(Box::new),
            out: OutBuffer::new(WRITE_QUEUE_SIZE),
            unread: Vec::new(),
            unread_at: 0,
            broken: false,
        }
    }
    /// A plain connection that is already open, for tests and probes. It becomes non-blocking.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn plain(tcp: TcpStream) -> io::Result<HotStream> {
        tcp.set_nonblocking(true)?;
        Ok(HotStream::new(tcp, None))
    }
    /// Bytes into `buffer`, decrypted; at least one. Over TLS one call empties what one system call
    /// brought, as far as it fits: give at least 16 KiB, the size of a record. `Ok(0)` = the peer
    /// closed.
    ///
    /// Stamp the time just before this call: whatever it returns was read by it or before it.
    ///
    /// # Errors
    /// `WouldBlock` = nothing there now. Anything else: the connection is lost.
    #[inline]
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.unread_at < self.unread.len() {
            return Ok(self.read_unread(buffer));
        }
        let Some(tls) = &mut self.tls else {
            return read_once(&mut self.tcp, buffer);
        };
        loop {
            let count = tls.decrypt(buffer, &mut self.out)?;
            if !self.out.is_empty() {
                // Rustls had something to say by itself, a key update for example.
                send_pending(&mut self.tcp, &mut self.out)?;
            }
            if count > 0 {
                return Ok(count);
            }
            if tls.is_closed() || buffer.is_empty() {
                return Ok(0);
            }
            match tls.fill(&mut self.tcp) {
                Ok(0) => return Ok(0),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
    /// True where decrypted or decryptable bytes wait here that a poller of the socket would not
    /// announce.
    pub fn has_buffered(&self) -> bool {
        self.unread_at < self.unread.len()
            || self.tls.as_ref().is_some_and(|tls| tls.has_plaintext())
    }
    /// Takes all of `data` or nothing, and pushes as much as the kernel takes.
    ///
    /// # Errors
    /// `Full`: nothing was taken. `Broken`: the connection is lost, this call's bytes may have left
    /// in part.
    #[inline]
    pub fn write_all_or_queue(&mut self, data: &[u8]) -> Result<Written, WriteError> {
        if self.broken {
            return Err(WriteError::Broken(io::ErrorKind::BrokenPipe.into()));
        }
        let result = match &mut self.tls {
            None => write_plain(&mut self.tcp, &mut self.out, data),
            Some(tls) => match tls.encrypt(data, &mut self.out) {
                Ok(()) => send_pending(&mut self.tcp, &mut self.out).map_err(WriteError::Broken),
                Err(TlsError::TooLong) => Err(WriteError::Full),
                Err(error) => Err(WriteError::Broken(error.into())),
            },
        };
        match result {
            Ok(true) => Ok(Written::Whole),
            Ok(false) => Ok(Written::Queued),
            Err(error) => {
                self.broken |= matches!(error, WriteError::Broken(_));
                Err(error)
            }
        }
    }
    /// Pushes what waits; true when nothing waits any more.
    ///
    /// # Errors
    /// The connection is lost.
    pub fn flush(&mut self) -> io::Result<bool> {
        if self.out.is_empty() {
            return Ok(true);
        }
        let result = send_pending(&mut self.tcp, &mut self.out);
        self.broken |= result.is_err();
        result
    }
    #[inline(always)]
    pub fn has_pending(&self) -> bool {
        !self.out.is_empty()
    }
    /// Bytes that wait to leave; over TLS ciphertext.
    pub fn pending_size(&self) -> usize {
        self.out.pending().len()
    }
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }
    /// Adds the socket to those its thread waits for; also until it takes bytes, if some wait.
    pub fn add_to(&self, set: &mut SocketSet) {
        set.add(&self.tcp, self.has_pending());
    }
    /// Asks for immediate acknowledgements again; about 0.2 µs. After a burst of reads, not after
    /// each.
    pub fn rearm_quickack(&self) {
        let _ = SockRef::from(&self.tcp).set_tcp_quickack(true);
    }
    /// # Errors
    /// What the kernel says.
    pub fn peer(&self) -> io::Result<SocketAddr> {
        self.tcp.peer_addr()
    }
    /// Ends both directions now; bytes that wait are lost.
    pub fn shutdown(&mut self) {
        self.broken = true;
        let _ = self.tcp.shutdown(std::net::Shutdown::Both);
    }

    /// Bytes read beyond the handshake's answer: the first reads give them out.
    pub(crate) fn give_back(&mut self, bytes: &[u8]) {
        self.unread.drain(..self.unread_at);
        self.unread_at = 0;
        self.unread.extend_from_slice(bytes);
    }
    /// For the dialler, while the socket still blocks.
    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }
    /// One step of the TLS handshake on a blocking socket with time-outs; true when done.
    pub(crate) fn handshake_step(&mut self) -> io::Result<bool> {
        let Some(tls) = &mut self.tls else { return Ok(true) };
        let done = tls.handshake(&mut self.out)?;
        while !self.out.is_empty() {
            if !send_pending(&mut self.tcp, &mut self.out)? {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        if !done && tls.fill(&mut self.tcp)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(done)
    }
    #[cold]
    fn read_unread(&mut self, buffer: &mut [u8]) -> usize {
        let count = buffer.len().min(self.unread.len() - self.unread_at);
        buffer[..count].copy_from_slice(&self.unread[self.unread_at..self.unread_at + count]);
        // The block stays until the stream goes: freeing it here would be heap work on a hot
        // thread.
        self.unread_at += count;
        count
    }
}
impl AsFd for HotStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tcp.as_fd()
    }
}
impl AsRawFd for HotStream {
    fn as_raw_fd(&self) -> RawFd {
        self.tcp.as_raw_fd()
    }
}

#[inline(always)]
fn read_once(tcp: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match tcp.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// True when nothing is left.
fn send_pending(tcp: &mut TcpStream, out: &mut OutBuffer) -> io::Result<bool> {
    while !out.is_empty() {
        match tcp.write(out.pending()) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => out.consume(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Straight from the caller's bytes; only what the kernel does not take is copied.
fn write_plain(
    tcp: &mut TcpStream,
    out: &mut OutBuffer,
    mut data: &[u8],
) -> Result<bool, WriteError> {
    if data.len() > out.free() {
        return Err(WriteError::Full);
    }
    if out.is_empty() {
        while !data.is_empty() {
            match tcp.write(data) {
                Ok(0) => return Err(WriteError::Broken(io::ErrorKind::WriteZero.into())),
                Ok(count) => data = &data[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(WriteError::Broken(error)),
            }
        }
    }
    if data.is_empty() {
        return Ok(true);
    }
    out.spare()[..data.len()].copy_from_slice(data);
    out.advance(data.len());
    send_pending(tcp, out).map_err(WriteError::Broken)
}
