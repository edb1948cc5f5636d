//! What a socket has taken and the kernel has not: plain bytes, or records that TLS made of them.

/// Bytes on their way out. Fixed size, made at start.
pub(super) struct OutBuffer {
    bytes: Box<[u8]>,
    head: usize,
    tail: usize,
}
impl OutBuffer {
    pub(super) fn new(size: usize) -> OutBuffer {
        OutBuffer { bytes: vec![0; size].into_boxed_slice(), head: 0, tail: 0 }
    }
    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.head == self.tail
    }
    #[inline]
    pub(super) fn pending(&self) -> &[u8] {
        &self.bytes[self.head..self.tail]
    }
    #[inline]
    pub(super) fn consume(&mut self, count: usize) {
        self.head += count;
        if self.head == self.tail {
            (self.head, self.tail) = (0, 0);
        }
    }
    #[inline]
    pub(super) fn free(&self) -> usize {
        self.bytes.len() - (self.tail - self.head)
    }
    /// Room at the end; what was gathered moves to the front if that makes more of it.
    pub(super) fn spare(&mut self) -> &mut [u8] {
        if self.head > 0 {
            self.bytes.copy_within(self.head..self.tail, 0);
            self.tail -= self.head;
            self.head = 0;
        }
        &mut self.bytes[self.tail..]
    }
    pub(super) fn advance(&mut self, count: usize) {
        self.tail += count;
    }
}
