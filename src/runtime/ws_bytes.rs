//! A websocket over bytes that somebody else reads and writes.

use std::io::{self, Read, Write};

/// Bytes in, bytes out, for tungstenite: it never sees the socket.
pub(super) struct Wire<'a> {
    pub(super) input: &'a [u8],
    pub(super) output: &'a mut Vec<u8>,
}
impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.input.read(buffer)
    }
}
impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
