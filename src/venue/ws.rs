//! The websocket protocol (RFC 6455), client side, without a socket.
//!
//! Reads frames in place: a message that lies whole in one chunk is handed out as a slice of it.
//! Only what is cut by a chunk's end or fragmented by the server is copied, into one buffer made at
//! construction.

use crate::base::limits::MESSAGE_SIZE_MAX;
use std::ops::Range;

/// Longest header of a client frame: two bytes, eight of length, four of mask.
pub const CLIENT_HEADER_MAX: usize = 14;
/// Longest payload of a control frame.
const CONTROL_MAX: usize = 125;
/// Bytes of the carry buffer touched at construction, so that no page fault comes with the first
/// messages.
const CARRY_TOUCHED: usize = 128 * 1024;
/// Close code where the server gave none.
pub const CLOSE_WITHOUT_CODE: u16 = 1005;

/// Frame types that we write or understand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    Text = 1,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

/// One whole message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WsMessage<'a> {
    Text(&'a [u8]),
    /// To be answered with a `Pong` of the same payload.
    Ping(&'a [u8]),
    Pong(&'a [u8]),
    /// The close code, 1005 where none was given.
    Close(u16),
}

/// What breaks the protocol. The stream cannot be read on after it: close, `reset`, reconnect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WsError {
    /// Longer than `MESSAGE_SIZE_MAX`.
    TooLong,
    /// A server must not mask.
    Masked,
    /// Reserved bits: an extension that we did not ask for.
    Reserved,
    /// Binary or an unknown type; the venue speaks text only.
    Opcode(u8),
    /// A control frame that is fragmented or longer than 125 bytes.
    Control,
    /// A continuation without a start, or a start inside a fragmented message.
    Fragment,
}

/// Where the frame in work puts its payload.
#[derive(Clone, Copy)]
struct Frame {
    opcode: u8,
    fin: bool,
    /// Payload bytes still to come.
    left: usize,
}

/// Decoder of one connection.
pub struct WsDecoder {
    /// Payload of a fragmented or cut message, from 0.
    carry: Box<[u8]>,
    carry_len: usize,
    /// The carry was handed out and is free at the next call.
    carry_done: bool,
    /// A fragmented message is open.
    fragmented: bool,
    control: [u8; CONTROL_MAX],
    control_len: usize,
    /// A header that was cut by a chunk's end.
    head: [u8; 10],
    head_len: usize,
    /// A frame whose payload was cut by a chunk's end.
    frame: Option<Frame>,
    error: Option<WsError>,
}

impl Default for WsDecoder {
    fn default() -> Self {
        Self::new()
    }
}

/// Opcode and flags of a server frame, with its payload length and the header's length.
struct Head {
    opcode: u8,
    fin: bool,
    len: usize,
    size: usize,
}

/// `None` where more bytes are needed.
#[inline(always)]
fn parse_head(bytes: &[u8]) -> Result<Option<Head>, WsError> {
    let [first, second, ..] = *bytes else { return Ok(None) };
    if first & 0x70 != 0 {
        return Err(WsError::Reserved);
    }
    if second & 0x80 != 0 {
        return Err(WsError::Masked);
    }
    let (len, size) = match second {
        126 => match bytes.get(2..4) {
            Some(wide) => (u16::from_be_bytes([wide[0], wide[1]]) as u64, 4),
            None => return Ok(None),
        },
        127 => match bytes.get(2..10).and_then(|wide| <[u8; 8]>::try_from(wide).ok()) {
            Some(wide) => (u64::from_be_bytes(wide), 10),
            None => return Ok(None),
        },
        short => (short as u64, 2),
    };
    let (opcode, fin) = (first & 0x0f, first & 0x80 != 0);
    match opcode {
        0 | 1 => {}
        8..=10 if !fin || len > CONTROL_MAX as u64 => return Err(WsError::Control),
        8..=10 => {}
        other => return Err(WsError::Opcode(other)),
    }
    if len > MESSAGE_SIZE_MAX as u64 {
        return Err(WsError::TooLong);
    }
    Ok(Some(Head { opcode, fin, len: len as usize, size }))
}

fn control_message(opcode: u8, payload: &[u8]) -> WsMessage<'_> {
    match opcode {
        9 => WsMessage::Ping(payload),
        10 => WsMessage::Pong(payload),
        _ => WsMessage::Close(match payload {
            [high, low, ..] => u16::from_be_bytes([*high, *low]),
            _ => CLOSE_WITHOUT_CODE,
        }),
    }
}

impl WsDecoder {
    pub fn new() -> Self {
        let mut carry = vec![0u8; MESSAGE_SIZE_MAX].into_boxed_slice();
        carry[..CARRY_TOUCHED].fill(0xff);
        Self {
            carry,
            carry_len: 0,
            carry_done: false,
            fragmented: false,
            control: [0; CONTROL_MAX],
            control_len: 0,
            head: [0; 10],
            head_len: 0,
            frame: None,
            error: None,
        }
    }
    /// Forgets everything; for the next connection.
    pub fn reset(&mut self) {
        self.carry_len = 0;
        self.carry_done = false;
        self.fragmented = false;
        self.control_len = 0;
        self.head_len = 0;
        self.frame = None;
        self.error = None;
    }

    /// The next whole message of `chunk` from `*pos` on. `None`: the chunk is used up, what is left
    /// of it is kept.
    ///
    /// # Errors
    /// What broke the protocol; the same again until `reset`.
    #[inline]
    pub fn next<'a>(
        &'a mut self,
        chunk: &'a [u8],
        pos: &mut usize,
    ) -> Result<Option<WsMessage<'a>>, WsError> {
        // The normal case: nothing kept from before, a whole unfragmented text frame in the chunk.
        if self.frame.is_none() && self.head_len == 0 && !self.fragmented && self.error.is_none() {
            self.carry_len = 0;
            self.carry_done = false;
            let rest = chunk.get(*pos..).unwrap_or(&[]);
            if let [0x81, len @ 0..=125, payload @ ..] = rest
                && let Some(payload) = payload.get(..*len as usize)
            {
                *pos += 2 + payload.len();
                return Ok(Some(WsMessage::Text(payload)));
            }
        }
        self.next_slow(chunk, pos)
    }

    fn next_slow<'a>(
        &'a mut self,
        chunk: &'a [u8],
        pos: &mut usize,
    ) -> Result<Option<WsMessage<'a>>, WsError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        if self.carry_done {
            self.carry_len = 0;
            self.carry_done = false;
        }
        loop {
            if let Some(mut frame) = self.frame {
                let available = chunk.len().saturating_sub(*pos);
                let take = frame.left.min(available);
                let payload = &chunk[*pos..*pos + take];
                if frame.opcode >= 8 {
                    self.control[self.control_len..self.control_len + take]
                        .copy_from_slice(payload);
                    self.control_len += take;
                } else {
                    self.carry[self.carry_len..self.carry_len + take].copy_from_slice(payload);
                    self.carry_len += take;
                }
                *pos += take;
                frame.left -= take;
                if frame.left > 0 {
                    self.frame = Some(frame);
                    return Ok(None);
                }
                self.frame = None;
                if frame.opcode >= 8 {
                    let len = self.control_len;
                    self.control_len = 0;
                    return Ok(Some(control_message(frame.opcode, &self.control[..len])));
                }
                self.fragmented = !frame.fin;
                if frame.fin {
                    self.carry_done = true;
                    return Ok(Some(WsMessage::Text(&self.carry[..self.carry_len])));
                }
                continue;
            }
            let rest = &chunk[(*pos).min(chunk.len())..];
            if rest.is_empty() {
                return Ok(None);
            }
            let head = if self.head_len == 0 {
                parse_head(rest)
            } else {
                // A header cut by the last chunk's end: fill it up byte by byte.
                let mut used = 0;
                loop {
                    match parse_head(&self.head[..self.head_len]) {
                        Ok(None) if used < rest.len() && self.head_len < self.head.len() => {
                            self.head[self.head_len] = rest[used];
                            self.head_len += 1;
                            used += 1;
                        }
                        Ok(None) => {
                            *pos += used;
                            return Ok(None);
                        }
                        Ok(Some(mut head)) => {
                            head.size = used;
                            break Ok(Some(head));
                        }
                        Err(error) => break Err(error),
                    }
                }
            };
            let head = match head {
                Ok(Some(head)) => head,
                Ok(None) => {
                    self.head[..rest.len()].copy_from_slice(rest);
                    self.head_len = rest.len();
                    *pos = chunk.len();
                    return Ok(None);
                }
                Err(error) => return Err(self.fail(error)),
            };
            self.head_len = 0;
            *pos += head.size;
            let is_control = head.opcode >= 8;
            if !is_control {
                if (head.opcode == 0) != self.fragmented {
                    return Err(self.fail(WsError::Fragment));
                }
                if self.carry_len + head.len > MESSAGE_SIZE_MAX {
                    return Err(self.fail(WsError::TooLong));
                }
            }
            let rest = &chunk[*pos..];
            if head.len <= rest.len() && (is_control || (head.fin && !self.fragmented)) {
                let payload = &rest[..head.len];
                *pos += head.len;
                return Ok(Some(if is_control {
                    control_message(head.opcode, payload)
                } else {
                    WsMessage::Text(payload)
                }));
            }
            self.frame = Some(Frame { opcode: head.opcode, fin: head.fin, left: head.len });
        }
    }
    fn fail(&mut self, error: WsError) -> WsError {
        self.error = Some(error);
        error
    }
}

/// Writes a masked client frame; returns its length, `None` where `out` is too short.
pub fn encode_frame(
    opcode: Opcode,
    payload: &[u8],
    mask: [u8; 4],
    out: &mut [u8],
) -> Option<usize> {
    let (head, size) = client_head(opcode, payload.len(), mask);
    let total = size + payload.len();
    let place = out.get_mut(..total)?;
    place[..size].copy_from_slice(&head[..size]);
    place[size..].copy_from_slice(payload);
    apply_mask(&mut place[size..], mask);
    Some(total)
}

/// Makes a masked client frame of the `len` payload bytes that stand in `buffer` from
/// `CLIENT_HEADER_MAX` on: the header is put right before them. Returns the frame's place in
/// `buffer`. Panics where the payload is not in the buffer.
#[inline]
pub fn seal_frame(opcode: Opcode, buffer: &mut [u8], len: usize, mask: [u8; 4]) -> Range<usize> {
    let end = CLIENT_HEADER_MAX + len;
    assert!(end <= buffer.len());
    let (head, size) = client_head(opcode, len, mask);
    let start = CLIENT_HEADER_MAX - size;
    buffer[start..CLIENT_HEADER_MAX].copy_from_slice(&head[..size]);
    apply_mask(&mut buffer[CLIENT_HEADER_MAX..end], mask);
    start..end
}

/// Where the payload of `frame_in_place` begins: behind the header of a payload of 126 to 65,535
/// bytes.
pub const PAYLOAD_AT: usize = 8;

/// Makes a masked client frame of the `len` payload bytes that stand in `buffer` from `PAYLOAD_AT`
/// on; the frame begins at 0. Only short payloads are moved. Returns the frame's length, `None`
/// where the payload is not in the buffer or longer than 65,535 bytes.
#[inline]
pub fn frame_in_place(
    opcode: Opcode,
    buffer: &mut [u8],
    len: usize,
    mask: [u8; 4],
) -> Option<usize> {
    let (head, size) = client_head(opcode, len, mask);
    if size > PAYLOAD_AT || buffer.len() < PAYLOAD_AT + len {
        return None;
    }
    if size < PAYLOAD_AT {
        buffer.copy_within(PAYLOAD_AT..PAYLOAD_AT + len, size);
    }
    buffer[..size].copy_from_slice(&head[..size]);
    apply_mask(&mut buffer[size..size + len], mask);
    Some(size + len)
}

#[inline]
fn client_head(opcode: Opcode, len: usize, mask: [u8; 4]) -> ([u8; CLIENT_HEADER_MAX], usize) {
    let mut head = [0u8; CLIENT_HEADER_MAX];
    head[0] = 0x80 | opcode as u8;
    let at = if len <= 125 {
        head[1] = 0x80 | len as u8;
        2
    } else if len <= u16::MAX as usize {
        head[1] = 0x80 | 126;
        head[2..4].copy_from_slice(&(len as u16).to_be_bytes());
        4
    } else {
        head[1] = 0x80 | 127;
        head[2..10].copy_from_slice(&(len as u64).to_be_bytes());
        10
    };
    head[at..at + 4].copy_from_slice(&mask);
    (head, at + 4)
}

/// XORs the payload with the repeated mask, eight bytes at a time.
#[inline]
fn apply_mask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, tail) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    /// A server frame.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![first];
        match payload.len() {
            len @ 0..=125 => out.push(len as u8),
            len @ 126..=65_535 => {
                out.push(126);
                out.extend((len as u16).to_be_bytes());
            }
            len => {
                out.push(127);
                out.extend((len as u64).to_be_bytes());
            }
        }
        out.extend(payload);
        out
    }
    #[derive(Clone, Debug, PartialEq)]
    enum Owned {
        Text(Vec<u8>),
        Ping(Vec<u8>),
        Pong(Vec<u8>),
        Close(u16),
    }
    fn owned(message: WsMessage) -> Owned {
        match message {
            WsMessage::Text(t) => Owned::Text(t.to_vec()),
            WsMessage::Ping(t) => Owned::Ping(t.to_vec()),
            WsMessage::Pong(t) => Owned::Pong(t.to_vec()),
            WsMessage::Close(code) => Owned::Close(code),
        }
    }
    fn decode(decoder: &mut WsDecoder, chunk: &[u8]) -> Result<Vec<Owned>, WsError> {
        let mut pos = 0;
        let mut messages = Vec::new();
        while let Some(message) = decoder.next(chunk, &mut pos)? {
            messages.push(owned(message));
        }
        assert_eq!(pos, chunk.len());
        Ok(messages)
    }

    #[test]
    fn a_frame_made_in_place_is_the_frame_made_by_copying() {
        for len in [0, 1, 2, 125, 126, 300, 65_535, 65_536] {
            let payload: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let mask = [1, 200, 3, 77];
            let mut copied = vec![0; len + CLIENT_HEADER_MAX];
            let size = encode_frame(Opcode::Text, &payload, mask, &mut copied).unwrap();
            let mut buffer = vec![0; PAYLOAD_AT + len];
            buffer[PAYLOAD_AT..].copy_from_slice(&payload);
            let found = frame_in_place(Opcode::Text, &mut buffer, len, mask);
            assert_eq!(found, (len < 65_536).then_some(size));
            if found.is_some() {
                assert_eq!(buffer[..size], copied[..size]);
            }
            assert_eq!(frame_in_place(Opcode::Text, &mut buffer, len + 1, mask), None);
        }
    }

    /// A random stream, cut at random places, gives the same messages as uncut.
    #[test]
    fn cuts_do_not_matter() {
        let mut rng = Rng::new(17);
        let mut decoder = WsDecoder::new();
        for round in 0..300 {
            let (mut stream, mut expected) = (Vec::new(), Vec::new());
            for _ in 0..1 + rng.below(20) {
                let len = [rng.below(10), rng.below(200), rng.below(70_000)]
                    [(rng.below(40) as usize).min(2) % 3] as usize;
                let payload: Vec<u8> = (0..len).map(|n| (n as u64 ^ round) as u8).collect();
                match rng.below(8) {
                    0 => {
                        let short = &payload[..len.min(125)];
                        stream.extend(frame(0x89, short));
                        expected.push(Owned::Ping(short.to_vec()));
                    }
                    1 => {
                        stream.extend(frame(0x88, &1_001u16.to_be_bytes()));
                        expected.push(Owned::Close(1_001));
                    }
                    2 | 3 => {
                        let (a, b) = (len / 3, len * 2 / 3);
                        stream.extend(frame(0x01, &payload[..a]));
                        stream.extend(frame(0x8a, b"between"));
                        stream.extend(frame(0x00, &payload[a..b]));
                        stream.extend(frame(0x80, &payload[b..]));
                        expected.push(Owned::Pong(b"between".to_vec()));
                        expected.push(Owned::Text(payload));
                    }
                    _ => {
                        stream.extend(frame(0x81, &payload));
                        expected.push(Owned::Text(payload));
                    }
                }
            }
            decoder.reset();
            assert_eq!(decode(&mut decoder, &stream).unwrap(), expected);
            let mut got = Vec::new();
            let mut rest = &stream[..];
            while !rest.is_empty() {
                let most = if rng.chance(1, 2) { 3 } else { 4_000 };
                let take = (1 + rng.below(most) as usize).min(rest.len());
                got.extend(decode(&mut decoder, &rest[..take]).unwrap());
                rest = &rest[take..];
            }
            assert_eq!(got, expected);
        }
    }

    #[test]
    fn protocol_errors_are_named_and_stick_until_reset() {
        let long = {
            let mut bytes = vec![0x81, 127];
            bytes.extend(100_000_000u64.to_be_bytes());
            bytes
        };
        for (bytes, error) in [
            (vec![0x81, 0x80, 0, 0, 0, 0], WsError::Masked),
            (vec![0xc1, 0], WsError::Reserved),
            (vec![0x82, 0], WsError::Opcode(2)),
            (vec![0x09, 0], WsError::Control),
            (vec![0x89, 126, 0, 126], WsError::Control),
            (vec![0x80, 0], WsError::Fragment),
            (vec![0x01, 0, 0x81, 0], WsError::Fragment),
            (long, WsError::TooLong),
        ] {
            let mut decoder = WsDecoder::new();
            assert_eq!(decode(&mut decoder, &bytes), Err(error));
            let mut pos = 0;
            assert_eq!(decoder.next(&[0x81, 0], &mut pos), Err(error));
            decoder.reset();
            assert_eq!(decode(&mut decoder, &[0x81, 0]), Ok(vec![Owned::Text(vec![])]));
        }
    }

    #[test]
    fn a_fragmented_message_cannot_grow_without_bound() {
        let mut decoder = WsDecoder::new();
        let half = vec![b'x'; MESSAGE_SIZE_MAX / 2 + 1];
        assert_eq!(decode(&mut decoder, &frame(0x01, &half)), Ok(vec![]));
        let mut pos = 0;
        let second = frame(0x00, &half);
        assert_eq!(decoder.next(&second, &mut pos), Err(WsError::TooLong));
    }

    #[test]
    fn an_empty_close_has_code_1005() {
        let mut decoder = WsDecoder::new();
        assert_eq!(decode(&mut decoder, &[0x88, 0]), Ok(vec![Owned::Close(1_005)]));
    }

    #[test]
    fn client_frames_are_masked_and_both_ways_of_making_them_agree() {
        let mask = [0x12, 0x34, 0x56, 0x78];
        for len in [0usize, 1, 7, 8, 125, 126, 65_535, 65_536] {
            let payload: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let mut out = vec![0u8; len + CLIENT_HEADER_MAX];
            let size = encode_frame(Opcode::Text, &payload, mask, &mut out).unwrap();
            let mut buffer = vec![0u8; len + CLIENT_HEADER_MAX];
            buffer[CLIENT_HEADER_MAX..].copy_from_slice(&payload);
            let place = seal_frame(Opcode::Text, &mut buffer, len, mask);
            assert_eq!(&buffer[place], &out[..size]);
            // Unmasked again it is a server frame.
            let header = size - len;
            let mut server = out[..size].to_vec();
            apply_mask(&mut server[header..], mask);
            server[1] &= 0x7f;
            server.drain(header - 4..header);
            let mut decoder = WsDecoder::new();
            assert_eq!(decode(&mut decoder, &server), Ok(vec![Owned::Text(payload)]));
        }
        assert_eq!(encode_frame(Opcode::Text, b"abc", mask, &mut [0; 8]), None);
    }

    #[test]
    fn garbage_never_panics() {
        let mut rng = Rng::new(23);
        let mut decoder = WsDecoder::new();
        for _ in 0..20_000 {
            decoder.reset();
            for _ in 0..3 {
                let bytes: Vec<u8> = (0..rng.below(40)).map(|_| rng.next_u64() as u8).collect();
                let mut pos = 0;
                while let Ok(Some(_)) = decoder.next(&bytes, &mut pos) {}
            }
        }
    }
}
