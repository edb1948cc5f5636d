//! Text messages over a dialled websocket, for cold threads: tungstenite on a non-blocking stream.

use super::ws_bytes::Wire;
use crate::io::socket::{HotStream, WriteError};
use crate::io::syscall::SocketSet;
use std::fmt;
use std::io;
use std::time::Duration;
use tungstenite::error::Error as WsError;
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};

/// Longest message, bytes: a snapshot of a long raw book is about 20 kB.
const MESSAGE_MAX: usize = 1 << 20;
/// Bytes read at once; over TLS a record must fit.
const SCRATCH_SIZE: usize = 64 * 1024;

/// Why a socket was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WsTextError {
    /// The other side, or the network.
    Ended,
    /// Nothing was heard for too long.
    Silent,
    /// Nobody took what came.
    Unread,
}
impl fmt::Display for WsTextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WsTextError::Ended => "closed by the other side",
            WsTextError::Silent => "nothing was heard for too long",
            WsTextError::Unread => "messages were not taken in time",
        })
    }
}
impl std::error::Error for WsTextError {}

/// One open socket.
pub(super) struct WsText {
    stream: HotStream,
    ws: WebSocketContext,
    out: Vec<u8>,
    scratch: Vec<u8>,
    set: SocketSet,
}
impl WsText {
    pub(super) fn new(stream: HotStream) -> WsText {
        let limits = WebSocketConfig::default()
            .read_buffer_size(4 * 1024)
            .write_buffer_size(0)
            .max_message_size(Some(MESSAGE_MAX))
            .max_frame_size(Some(MESSAGE_MAX));
        WsText {
            stream,
            ws: WebSocketContext::new(Role::Client, Some(limits)),
            out: Vec::new(),
            scratch: vec![0; SCRATCH_SIZE],
            set: SocketSet::with_capacity(1),
        }
    }
    pub(super) fn say(&mut self, text: &str) {
        let mut wire = Wire { input: &[], output: &mut self.out };
        // It only fails where the socket is closing, and then the next read says so.
        let _ = self.ws.write(&mut wire, tungstenite::Message::text(text.to_owned()));
        let _ = self.ws.flush(&mut wire);
        self.flush();
    }
    /// Until there is something to read, at most so long.
    pub(super) fn wait(&mut self, longest: Duration) {
        if !self.stream.has_buffered() {
            self.set.clear();
            self.stream.add_to(&mut self.set);
            self.set.wait(longest);
        }
    }
    /// Every text that is there; how many.
    ///
    /// # Errors
    /// The socket has ended.
    pub(super) fn read(&mut self, mut take: impl FnMut(&[u8])) -> Result<usize, WsTextError> {
        let mut count = 0;
        loop {
            let size = match self.stream.read(&mut self.scratch) {
                Ok(0) => return Err(WsTextError::Ended),
                Ok(size) => size,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(count),
                Err(_) => return Err(WsTextError::Ended),
            };
            let mut wire = Wire { input: &self.scratch[..size], output: &mut self.out };
            loop {
                match self.ws.read(&mut wire) {
                    Ok(tungstenite::Message::Text(text)) => {
                        count += 1;
                        take(text.as_bytes());
                    }
                    Ok(_) => {}
                    Err(WsError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(_) => return Err(WsTextError::Ended),
                }
            }
            self.flush();
        }
    }
    pub(super) fn close(&mut self) {
        let mut wire = Wire { input: &[], output: &mut self.out };
        let _ = self.ws.close(&mut wire, None);
        self.flush();
    }
    fn flush(&mut self) {
        if !self.out.is_empty()
            && !matches!(self.stream.write_all_or_queue(&self.out), Err(WriteError::Full))
        {
            self.out.clear();
        }
        let _ = self.stream.flush();
    }
}
