//! `read`: owns the market-data sockets. Bytes go straight from the socket (or the TLS session)
//! into a buffer that `parse` then reads in place. Nothing is looked at here.

use crate::base::ids::ConnId;
use crate::base::limits::BATCH_MAX;
use crate::io::clock::Clock;
use crate::io::syscall::SocketSet;
use crate::ring::{Rx, Tx};
use crate::runtime::duty::Duty;
use crate::runtime::link::{Chunk, FromSocket, Halt, ToSocket};
use crate::runtime::socket::SocketSlot;

pub struct ReadDuty {
    pub sockets: Vec<(ConnId, SocketSlot)>,
    /// Buffers at home; the last one used is the next one taken, because it is warm.
    pub free: Vec<Box<Chunk>>,
    pub to_parse: Tx<FromSocket>,
    pub from_parse: Rx<ToSocket>,
    pub halt: Halt,
    /// Nothing more is read.
    pub is_stopping: bool,
    pub clock: Clock,
}

impl ReadDuty {
    /// Two places a socket: an opening or closing, and its bytes.
    fn has_room(&mut self) -> bool {
        self.to_parse.free() >= self.sockets.len() * 2
    }

    fn take_orders(&mut self) {
        for _ in 0..BATCH_MAX {
            match self.from_parse.pop() {
                None => break,
                Some(ToSocket::Free(chunk)) => self.free.push(chunk),
                Some(ToSocket::Write { conn, chunk }) => {
                    if let Some((_, slot)) = self.sockets.iter_mut().find(|(id, _)| *id == conn) {
                        slot.write(chunk.bytes());
                    }
                    self.free.push(chunk);
                }
                Some(ToSocket::Reset { conn }) => {
                    if let Some((_, slot)) = self.sockets.iter_mut().find(|(id, _)| *id == conn) {
                        slot.reset();
                    }
                }
                Some(ToSocket::Ready(_)) => {}
            }
        }
    }
}

impl Duty for ReadDuty {
    fn name(&self) -> &'static str {
        "read"
    }
    fn turn(&mut self) -> u32 {
        self.take_orders();
        let mut handled = 0;
        if self.is_stopping {
            return 0;
        }
        if !self.has_room() {
            self.halt.on_full();
            return 0;
        }
        let ReadDuty { sockets, free, to_parse, clock, .. } = self;
        for (conn, slot) in sockets.iter_mut() {
            let Some(chunk) = free.pop() else { break };
            let (message, rest) = slot.poll(*conn, chunk, clock);
            if let Some(chunk) = rest {
                free.push(chunk);
            }
            if let Some(message) = message {
                handled += 1;
                let pushed = to_parse.push(message);
                assert!(pushed.is_ok(), "room for every socket was checked");
            }
        }
        handled
    }
    fn is_blocked(&mut self) -> bool {
        !self.is_stopping && !self.has_room()
    }
    fn sockets(&self, set: &mut SocketSet) {
        self.sockets.iter().for_each(|(_, slot)| slot.add_to(set));
    }
    fn on_stop(&mut self) {
        self.is_stopping = true;
    }
}
