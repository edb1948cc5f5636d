//! One socket in the hands of a hot thread: open, or being dialled by the cold thread that may
//! block.

use crate::base::ids::ConnId;
use crate::io::clock::Clock;
use crate::io::dial::Dialed;
use crate::io::socket::HotStream;
use crate::io::syscall::SocketSet;
use crate::runtime::link::{Chunk, FromSocket};
use crossbeam_channel::{Receiver, Sender};

/// A request to the dialler; it waits out the backoff and tries for ever.
#[derive(Clone, Copy, Debug)]
pub struct DialRequest {
    pub conn: ConnId,
}

enum State {
    Dialing,
    Open(HotStream),
    /// Told to stop: no more dialling.
    Stopped,
}

pub struct SocketSlot {
    state: State,
    requests: Sender<DialRequest>,
    dialed: Receiver<Dialed>,
    conn: ConnId,
    /// Why the socket must go, told to `parse` at the next poll.
    closing: Option<i32>,
    /// Turns since the dialler was last asked: asking a channel costs more than reading a socket.
    turns: u32,
    reconnects: u64,
}

/// Close reasons of our own, below those of the venue and of websocket (1000–4999).
pub const CLOSED_BY_PEER: i32 = 1;
pub const CLOSED_BY_ERROR: i32 = 2;
pub const CLOSED_BY_US: i32 = 3;

impl SocketSlot {
    /// Asks the dialler for the first connection.
    pub fn new(conn: ConnId, requests: Sender<DialRequest>, dialed: Receiver<Dialed>) -> Self {
        let mut slot = Self {
            state: State::Stopped,
            requests,
            dialed,
            conn,
            closing: None,
            turns: 0,
            reconnects: 0,
        };
        slot.dial();
        slot
    }

    fn dial(&mut self) {
        self.state = match self.requests.try_send(DialRequest { conn: self.conn }) {
            Ok(()) => State::Dialing,
            // The dialler holds one request a socket; it is gone only when the run ends.
            Err(_) => State::Stopped,
        };
    }

    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }
    pub fn reconnects(&self) -> u64 {
        self.reconnects
    }

    /// Writes or queues all bytes; false where the socket is not open or broke in the middle.
    pub fn write(&mut self, bytes: &[u8]) -> bool {
        match &mut self.state {
            State::Open(stream) => {
                if stream.write_all_or_queue(bytes).is_ok() {
                    return true;
                }
                self.closing = Some(CLOSED_BY_ERROR);
                false
            }
            State::Dialing | State::Stopped => false,
        }
    }

    /// Adds the socket to those its thread waits for; while it is dialled there is none.
    pub fn add_to(&self, set: &mut SocketSet) {
        if let State::Open(stream) = &self.state {
            stream.add_to(set);
        }
    }
    /// The socket is to be closed and dialled again.
    pub fn reset(&mut self) {
        if self.is_open() {
            self.closing = Some(CLOSED_BY_US);
        }
    }

    /// At most one message for `parse`; the buffer comes back where it was not needed.
    #[inline]
    pub fn poll(
        &mut self,
        conn: ConnId,
        mut chunk: Box<Chunk>,
        clock: &Clock,
    ) -> (Option<FromSocket>, Option<Box<Chunk>>) {
        if let Some(code) = self.closing.take() {
            self.reconnects += 1;
            self.dial();
            return (Some(FromSocket::Closed { conn, code }), Some(chunk));
        }
        match &mut self.state {
            State::Open(stream) => {
                if stream.has_pending() && stream.flush().is_err() {
                    self.closing = Some(CLOSED_BY_ERROR);
                    return (None, Some(chunk));
                }
                let recv = clock.tsc();
                match stream.read(&mut chunk.data) {
                    Ok(0) => {
                        self.closing = Some(CLOSED_BY_PEER);
                        (None, Some(chunk))
                    }
                    Ok(len) => {
                        chunk.recv = recv;
                        chunk.framed = clock.tsc();
                        chunk.len = len;
                        (Some(FromSocket::Data { conn, chunk }), None)
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                        (None, Some(chunk))
                    }
                    Err(_) => {
                        self.closing = Some(CLOSED_BY_ERROR);
                        (None, Some(chunk))
                    }
                }
            }
            State::Dialing => {
                self.turns = self.turns.wrapping_add(1);
                if !self.turns.is_multiple_of(64) {
                    return (None, Some(chunk));
                }
                match self.dialed.try_recv() {
                    Ok(dialed) => {
                        self.state = State::Open(dialed.stream);
                        (Some(FromSocket::Opened { conn }), Some(chunk))
                    }
                    Err(_) => (None, Some(chunk)),
                }
            }
            State::Stopped => (None, Some(chunk)),
        }
    }
}
