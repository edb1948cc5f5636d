//! Sockets between engine and exchange, in bytes: whole websocket frames in segments that arrive
//! later, in order within a socket, in any order between sockets.

use super::mangle::Mangler;
use std::collections::VecDeque;

/// What the engine's side of a socket is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Closed,
    Connecting,
    Open,
}

/// Bytes under way to the engine; `is_last` = the exchange closed behind them.
#[derive(Debug)]
pub struct Segment {
    pub bytes: Vec<u8>,
    pub is_last: bool,
}

/// One socket of the engine.
#[derive(Debug)]
pub struct Slot {
    pub state: State,
    /// Rises with every connection; what belongs to an older one is thrown away.
    pub epoch: u32,
    /// The exchange's number of this connection.
    pub conn: u64,
    /// Bytes to the engine vanish, and so do those from it; nobody is told.
    pub half_open: bool,
    pub down: VecDeque<Segment>,
    /// When the newest segment arrives: later ones may not overtake it.
    pub down_at: u64,
    pub up: VecDeque<Vec<u8>>,
    pub up_at: u64,
    /// Frames made now, not yet a segment.
    pub building: Vec<u8>,
    pub closing: bool,
    /// Bytes that have arrived at the exchange and are no whole frame yet.
    pub received: Vec<u8>,
    pub mangler: Mangler,
}

impl Slot {
    pub fn new(is_private: bool, has_seq: bool) -> Slot {
        Slot {
            state: State::Closed,
            epoch: 0,
            conn: 0,
            half_open: false,
            down: VecDeque::new(),
            down_at: 0,
            up: VecDeque::new(),
            up_at: 0,
            building: Vec::new(),
            closing: false,
            received: Vec::new(),
            mangler: Mangler::new(is_private, has_seq),
        }
    }
    /// A new connection begins.
    pub fn restart(&mut self, conn: u64, state: State) {
        self.epoch += 1;
        self.conn = conn;
        self.state = state;
        self.half_open = false;
        self.closing = false;
        self.down.clear();
        self.up.clear();
        self.building.clear();
        self.received.clear();
        self.mangler.restart();
    }
}

/// Writes an unmasked text frame, as a server does.
pub fn push_server_frame(out: &mut Vec<u8>, payload: &[u8]) {
    out.push(0x81);
    match payload.len() {
        short @ 0..=125 => out.push(short as u8),
        middle @ 126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            out.push(127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

/// Takes the first whole client frame out of `bytes`: its opcode and its payload, unmasked.
///
/// Panics on a frame without a mask or in fragments: the engine must not make one.
pub fn take_client_frame(bytes: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let [first, second, ..] = bytes[..] else { return None };
    assert!(first & 0x80 != 0, "a client frame in fragments");
    assert!(second & 0x80 != 0, "a client frame without a mask");
    let (len, head) = match second & 0x7f {
        126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize, 10),
        short => (usize::from(short), 2),
    };
    let mask: [u8; 4] = bytes.get(head..head + 4)?.try_into().ok()?;
    let mut payload = bytes.get(head + 4..head + 4 + len)?.to_vec();
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    bytes.drain(..head + 4 + len);
    Some((first & 0x0f, payload))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::venue::ws::{Opcode, WsDecoder, WsMessage, encode_frame};

    #[test]
    fn frames_of_both_sides_are_read_by_the_other() {
        for len in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![b'x'; len];
            let mut down = Vec::new();
            push_server_frame(&mut down, &payload);
            let (mut decoder, mut pos) = (WsDecoder::new(), 0);
            let message = decoder.next(&down, &mut pos).unwrap();
            assert_eq!(message, Some(WsMessage::Text(&payload)));
            let mut up = vec![0; len + 32];
            let size = encode_frame(Opcode::Text, &payload, [1, 2, 3, 4], &mut up).unwrap();
            let mut cut = up[..size - 1].to_vec();
            assert_eq!(take_client_frame(&mut cut), None);
            cut.push(up[size - 1]);
            assert_eq!(take_client_frame(&mut cut), Some((1, payload)));
            assert!(cut.is_empty());
        }
    }
}
