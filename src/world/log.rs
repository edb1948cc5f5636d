//! The record of one run: a hash over everything that happened, and the last lines in words for
//! whoever looks for a cause.

use std::collections::VecDeque;

/// Lines kept for `--trace`.
const LINES_MAX: usize = 4_000;

/// Hash and trace.
#[derive(Debug)]
pub struct Log {
    state: u64,
    events: u64,
    lines: Option<VecDeque<String>>,
}

impl Log {
    pub fn new(with_lines: bool) -> Log {
        Log { state: 0xCBF2_9CE4_8422_2325, events: 0, lines: with_lines.then(VecDeque::new) }
    }
    fn word(&mut self, word: u64) {
        self.state = (self.state ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    }
    /// Takes in one event: when, what, and its bytes.
    pub fn add(&mut self, at_ns: u64, what: u64, bytes: &[u8]) {
        self.events += 1;
        self.word(at_ns);
        self.word(what << 32 | bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.word(u64::from_le_bytes(last));
    }
    /// A line for people; made only where somebody reads it.
    pub fn line(&mut self, at_ns: u64, words: impl FnOnce() -> String) {
        let Some(lines) = &mut self.lines else { return };
        if lines.len() == LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(format!("{:>14.6} s  {}", at_ns as f64 / 1e9, words()));
    }
    pub fn hash(&self) -> u64 {
        self.state
    }
    pub fn events(&self) -> u64 {
        self.events
    }
    pub fn into_lines(self) -> Vec<String> {
        self.lines.map(Vec::from).unwrap_or_default()
    }
}
