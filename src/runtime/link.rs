//! What travels between the hot threads besides the model's messages: byte buffers by ownership,
//! never by copy. A buffer is allocated at start and walks in a circle; nobody allocates
//! afterwards.

use crate::base::ids::ConnId;
use crate::base::limits::CHUNK_SIZE;
use crate::base::time::{Tsc, WallNs};
use crate::model::{Rank, SendReport};
use crate::ring::Latch;

/// One read's worth of decrypted bytes, with the stamps of the read.
pub struct Chunk {
    /// Just before the read call that returned the first byte.
    pub recv: Tsc,
    /// The bytes are in memory.
    pub framed: Tsc,
    pub len: usize,
    pub data: [u8; CHUNK_SIZE],
}

impl Chunk {
    pub fn new() -> Box<Chunk> {
        Box::new(Chunk { recv: Tsc(0), framed: Tsc(0), len: 0, data: [1; CHUNK_SIZE] })
    }
    pub fn bytes(&self) -> &[u8] {
        &self.data[..self.len]
    }
}

/// From the owner of a socket to `parse`.
pub enum FromSocket {
    /// Open, websocket handshake done.
    Opened {
        conn: ConnId,
    },
    Data {
        conn: ConnId,
        chunk: Box<Chunk>,
    },
    Closed {
        conn: ConnId,
        code: i32,
    },
    /// What `send` did with a command.
    Report(SendReport),
    /// Buffers that were written out come home.
    Returned(Box<Chunk>),
}

/// From `parse` to the owner of a socket.
pub enum ToSocket {
    /// A used buffer.
    Free(Box<Chunk>),
    /// A websocket frame to write, complete.
    Write { conn: ConnId, chunk: Box<Chunk> },
    /// Close it and dial again.
    Reset { conn: ConnId },
    /// The account is signed in: orders may leave. False: no longer.
    Ready(bool),
}

/// What the line asks of the REST thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestWant {
    /// Orders, history and trades since this time, then `LinkState::Reconciled`.
    Reconcile { since: WallNs },
}

/// What a producer does beside waiting when its ring is full: nothing (`stall`), or raise the latch
/// (`halt`), so that nothing more is sent until a person has looked.
#[derive(Clone, Debug, Default)]
pub struct Halt(Option<Latch>);
impl Halt {
    /// `None` = stall.
    pub fn new(latch: Option<Latch>) -> Self {
        Self(latch)
    }
    /// An input waits and the output has no room for it.
    #[cold]
    pub fn on_full(&self) {
        if let Some(latch) = &self.0 {
            latch.raise(Rank::Halted as u8);
        }
    }
}
