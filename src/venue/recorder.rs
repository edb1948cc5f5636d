//! A flight recorder: the last messages that were not understood, cut to a fixed size, for a person
//! to read.

use crate::base::time::MonoNs;

/// Messages kept.
pub const RECORDS_MAX: usize = 64;
/// Bytes kept of each.
pub const RECORD_SIZE_MAX: usize = 256;

#[derive(Clone, Copy)]
struct Record {
    at: MonoNs,
    /// Length of the whole message.
    size: usize,
    bytes: [u8; RECORD_SIZE_MAX],
}

/// A ring of records; the newest replaces the oldest.
pub struct Recorder {
    records: Box<[Record]>,
    count: u64,
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}

impl Recorder {
    pub fn new() -> Self {
        let empty = Record { at: MonoNs(0), size: 0, bytes: [0; RECORD_SIZE_MAX] };
        Self { records: vec![empty; RECORDS_MAX].into_boxed_slice(), count: 0 }
    }
    #[cold]
    pub fn keep(&mut self, at: MonoNs, message: &[u8]) {
        let record = &mut self.records[(self.count % RECORDS_MAX as u64) as usize];
        let len = message.len().min(RECORD_SIZE_MAX);
        record.at = at;
        record.size = message.len();
        record.bytes[..len].copy_from_slice(&message[..len]);
        self.count += 1;
    }
    /// Messages ever kept.
    pub const fn count(&self) -> u64 {
        self.count
    }
    /// Oldest first: time, whole size in bytes, the first bytes.
    pub fn iter(&self) -> impl Iterator<Item = (MonoNs, usize, &[u8])> {
        let kept = self.count.min(RECORDS_MAX as u64);
        (self.count - kept..self.count).map(|number| {
            let record = &self.records[(number % RECORDS_MAX as u64) as usize];
            (record.at, record.size, &record.bytes[..record.size.min(RECORD_SIZE_MAX)])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_messages_are_kept_and_cut() {
        let mut recorder = Recorder::new();
        for number in 0..100u64 {
            recorder.keep(MonoNs(number), &vec![number as u8; 300]);
        }
        assert_eq!(recorder.count(), 100);
        let kept: Vec<_> = recorder.iter().collect();
        assert_eq!(kept.len(), RECORDS_MAX);
        assert_eq!(kept[0].0, MonoNs(36));
        assert_eq!((kept[63].1, kept[63].2), (300, &[99u8; RECORD_SIZE_MAX][..]));
    }
}
