//! Fixed-capacity containers that are `Copy` and never touch the heap.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Text of at most `N` bytes, ASCII in practice. Longer input is refused, never cut.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<const N: usize> {
    len: u8,
    bytes: [u8; N],
}

impl<const N: usize> Text<N> {
    pub const EMPTY: Self = Self { len: 0, bytes: [0; N] };

    /// `None` where the text is longer than `N` bytes.
    pub fn new(text: &str) -> Option<Self> {
        Self::from_bytes(text.as_bytes())
    }
    /// `None` where the bytes are longer than `N` or not UTF-8.
    pub fn from_bytes(source: &[u8]) -> Option<Self> {
        const { assert!(N <= 255) };
        if source.len() > N || std::str::from_utf8(source).is_err() {
            return None;
        }
        let mut bytes = [0; N];
        bytes[..source.len()].copy_from_slice(source);
        Some(Self { len: source.len() as u8, bytes })
    }
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len as usize]
    }
    /// All places, and how many of them are text: for writers that copy a fixed size.
    #[inline(always)]
    pub const fn padded(&self) -> (&[u8; N], usize) {
        (&self.bytes, self.len as usize)
    }
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or("")
    }
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}
impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self::EMPTY
    }
}
impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}
impl<const N: usize> Serialize for Text<N> {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}
impl<'de, const N: usize> Deserialize<'de> for Text<N> {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor<const N: usize>;
        impl<const N: usize> serde::de::Visitor<'_> for Visitor<N> {
            type Value = Text<N>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "text of at most {N} bytes")
            }
            fn visit_str<E: serde::de::Error>(self, v: &str) -> Result<Text<N>, E> {
                Text::new(v).ok_or_else(|| E::invalid_length(v.len(), &self))
            }
        }
        d.deserialize_str(Visitor)
    }
}

/// A list of at most `N` values, in insertion order.
#[derive(Clone, Copy, Debug)]
pub struct List<T: Copy, const N: usize> {
    len: usize,
    items: [Option<T>; N],
}

impl<T: Copy, const N: usize> Default for List<T, N> {
    fn default() -> Self {
        Self { len: 0, items: [None; N] }
    }
}
impl<T: Copy, const N: usize> List<T, N> {
    /// False where the list is full; the value is not kept then.
    #[must_use]
    pub fn push(&mut self, item: T) -> bool {
        if self.len == N {
            return false;
        }
        self.items[self.len] = Some(item);
        self.len += 1;
        true
    }
    pub fn len(&self) -> usize {
        self.len
    }
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
    pub fn clear(&mut self) {
        self.len = 0;
    }
    pub fn iter(&self) -> impl Iterator<Item = T> + '_ {
        self.items[..self.len].iter().flatten().copied()
    }
}
