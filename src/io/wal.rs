//! The write-ahead log: what is about to leave is recorded before its bytes do. Fixed slots in
//! preallocated, prefaulted segments, by default on tmpfs: they survive `kill -9`, not a reboot
//! (then the venue's truth rules). The hot side stores into memory; a cold tail reads the same
//! files and copies them to disk.
//!
//! A directory belongs to one process at a time (`lock`). Each start makes a new generation of
//! segments and leaves older ones until `Recovered::discard`, so a second crash in the middle of a
//! recovery loses nothing. Segment = one header slot, then `slots` record slots. A slot is
//! `crc32 u32 | len u16 | kind u16 | seq u64 | payload`, little endian, the CRC over all that
//! follows it. Sequence numbers rise by one across slots, segments and generations, which tells a
//! stale slot of a recycled segment from a new one.

#![allow(
    clippy::disallowed_methods,
    reason = "the edge: deadlines and clocks of real sockets and disks"
)]

use crate::io::files::default_wal_dir;
use crate::io::map::FileMap;
use crate::ring::Marks;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of a slot: five cache lines.
pub const SLOT_SIZE: usize = 320;
/// Bytes before the payload in a slot.
const SLOT_HEAD: usize = 16;
/// Longest payload of a record, bytes. A `model::Command` in memory is at most 256.
pub const WAL_PAYLOAD_MAX: usize = SLOT_SIZE - SLOT_HEAD;
/// Segments of one generation, at most.
pub const SEGMENTS_MAX: usize = 64;
/// Record slots of one segment, at most: 320 MiB.
pub const SEGMENT_SLOTS_MAX: u32 = 1 << 20;
/// Generations a directory may hold before it counts as neglected.
const GENERATIONS_MAX: usize = 64;
const MAGIC: [u8; 8] = *b"GENWAL01";

const _: () = assert!(SLOT_SIZE.is_multiple_of(64));
const _: () = assert!(WAL_PAYLOAD_MAX >= crate::base::limits::MESSAGE_BYTES_MAX);
const _: () = assert!(WAL_PAYLOAD_MAX <= u16::MAX as usize);

/// When a full segment may be written over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recycle {
    /// Only after the tail has copied it and called `release`; until then `append` says `Full`.
    WhenReleased,
    /// At once, oldest first: for runs that keep no copy on disk.
    Oldest,
}

#[derive(Clone, Debug)]
pub struct WalConfig {
    /// Owned by the log alone; made with mode 0700 where absent.
    pub dir: PathBuf,
    /// Record slots of one segment, 1 ..= `SEGMENT_SLOTS_MAX`.
    pub segment_slots: u32,
    /// Segments preallocated, 2 ..= `SEGMENTS_MAX`.
    pub segments: usize,
    pub recycle: Recycle,
}
impl Default for WalConfig {
    /// 4 segments of 16,384 records, 21 MB in all, on tmpfs; overwritten only when copied.
    fn default() -> Self {
        Self {
            dir: default_wal_dir("wal"),
            segment_slots: 16_384,
            segments: 4,
            recycle: Recycle::WhenReleased,
        }
    }
}

/// Why the log could not be opened.
#[derive(Debug)]
pub enum WalOpenError {
    /// Segment count or size out of range.
    Config,
    /// Another process holds the directory.
    Locked {
        dir: PathBuf,
    },
    /// The directory belongs to another user or is a link.
    NotOurs {
        dir: PathBuf,
    },
    /// More generations than anyone should leave behind.
    TooManyGenerations {
        dir: PathBuf,
    },
    Io {
        at: PathBuf,
        error: io::Error,
    },
}
impl fmt::Display for WalOpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WalOpenError::Config => write!(
                f,
                "write-ahead log: segments must be 2..={SEGMENTS_MAX} of 1..={SEGMENT_SLOTS_MAX} \
                 slots"
            ),
            WalOpenError::Locked { dir } => write!(
                f,
                "write-ahead log {} is in use by another process: stop it or choose another \
                 directory",
                dir.display()
            ),
            WalOpenError::NotOurs { dir } => write!(
                f,
                "write-ahead log {} is a link or belongs to another user: choose another directory",
                dir.display()
            ),
            WalOpenError::TooManyGenerations { dir } => write!(
                f,
                "write-ahead log {} holds more than {GENERATIONS_MAX} unfinished runs: archive \
                 them",
                dir.display()
            ),
            WalOpenError::Io { at, error } => {
                write!(f, "write-ahead log {}: {error}", at.display())
            }
        }
    }
}

/// Why a record was not taken. Nothing was written then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalError {
    TooLong,
    /// Every segment holds records that the tail has not released.
    Full,
}

/// One record as read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalRecord {
    /// From 1, rising by one, across restarts.
    pub seq: u64,
    /// Free for the writer's use: what the payload is.
    pub kind: u16,
    pub payload: Vec<u8>,
}

struct Segment {
    map: FileMap,
    /// Last sequence number stored here; 0 = never used.
    last_seq: u64,
}

/// The hot side. `append` neither allocates nor calls the kernel.
pub struct WalWriter {
    segments: Vec<Segment>,
    current: usize,
    slots: u32,
    slot_next: u32,
    seq_next: u64,
    generation: u64,
    recycle: Recycle,
    marks: Arc<Marks>,
    /// Held as long as the writer lives.
    _lock: File,
}

/// The cold side: reads what was appended, in order, without touching the writer.
pub struct WalTail {
    files: Vec<File>,
    slots: u32,
    seq_first: u64,
    seq_next: u64,
    lost: u64,
    marks: Arc<Marks>,
}

/// What earlier runs left behind.
#[derive(Debug, Default)]
pub struct Recovered {
    /// In order of `seq`.
    pub records: Vec<WalRecord>,
    /// Slots begun but not finished when the process died: at most one a run.
    pub torn: u32,
    /// Damaged slots with whole ones behind them: not a crash but a fault of memory or a stranger's
    /// hand.
    pub corrupt: u32,
    files: Vec<PathBuf>,
}
impl Recovered {
    /// The highest sequence number seen; 0 = none.
    pub fn last_seq(&self) -> u64 {
        self.records.last().map_or(0, |record| record.seq)
    }
    /// Removes the old segments: after their records are settled and copied.
    ///
    /// # Errors
    /// The first file that could not be removed; others are tried all the same.
    pub fn discard(self) -> io::Result<()> {
        let mut result = Ok(());
        for path in self.files {
            if let Err(error) = fs::remove_file(path)
                && result.is_ok()
            {
                result = Err(error);
            }
        }
        result
    }
}

/// Opens the directory for this process: locks it, reads what earlier runs left, and makes a new
/// generation.
///
/// # Errors
/// `WalOpenError`; nothing of earlier runs is changed then.
pub fn open(config: &WalConfig) -> Result<(WalWriter, WalTail, Recovered), WalOpenError> {
    let slots_fit = (1..=SEGMENT_SLOTS_MAX).contains(&config.segment_slots);
    if !slots_fit || !(2..=SEGMENTS_MAX).contains(&config.segments) {
        return Err(WalOpenError::Config);
    }
    let dir = &config.dir;
    let at = |error| WalOpenError::Io { at: dir.clone(), error };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(at)?;
    // In a directory that everybody may write to, someone else could have been first.
    let meta = fs::symlink_metadata(dir).map_err(at)?;
    if !meta.is_dir() || meta.uid() != crate::io::syscall::effective_user() {
        return Err(WalOpenError::NotOurs { dir: dir.clone() });
    }
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(dir.join("lock"))
        .map_err(at)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            return Err(WalOpenError::Locked { dir: dir.clone() });
        }
        Err(fs::TryLockError::Error(error)) => return Err(at(error)),
    }
    let recovered = scan(dir)?;
    let generation = generation_next(&recovered.files);
    let seq_first = recovered.last_seq() + 1;
    let bytes = (config.segment_slots as usize + 1) * SLOT_SIZE;
    let mut segments = Vec::with_capacity(config.segments);
    let mut files = Vec::with_capacity(config.segments);
    for index in 0..config.segments {
        let path = dir.join(format!("wal-{generation:08}-{index:04}.seg"));
        let made =
            File::options().read(true).write(true).create_new(true).open(&path).and_then(|file| {
                let map = FileMap::create(&file, bytes)?;
                Ok((file, map))
            });
        match made {
            Ok((file, map)) => {
                segments.push(Segment { map, last_seq: 0 });
                files.push(file);
            }
            Err(error) => {
                for made in 0..=index {
                    let _ = fs::remove_file(dir.join(format!("wal-{generation:08}-{made:04}.seg")));
                }
                return Err(WalOpenError::Io { at: path, error });
            }
        }
    }
    let marks = Arc::new(Marks::new(seq_first - 1));
    let mut writer = WalWriter {
        segments,
        current: 0,
        slots: config.segment_slots,
        slot_next: 0,
        seq_next: seq_first,
        generation,
        recycle: config.recycle,
        marks: marks.clone(),
        _lock: lock,
    };
    writer.write_header();
    let slots = config.segment_slots;
    let tail = WalTail { files, slots, seq_first, seq_next: seq_first, lost: 0, marks };
    Ok((writer, tail, recovered))
}

impl WalWriter {
    /// Records `payload`; when it returns, a dying process can no longer lose it. The number is the
    /// record's.
    ///
    /// # Errors
    /// `WalError`; nothing was written then.
    #[inline]
    pub fn append(&mut self, kind: u16, payload: &[u8]) -> Result<u64, WalError> {
        if payload.len() > WAL_PAYLOAD_MAX {
            return Err(WalError::TooLong);
        }
        if self.slot_next == self.slots {
            self.rotate()?;
        }
        let seq = self.seq_next;
        let start = (self.slot_next as usize + 1) * SLOT_SIZE;
        let segment = &mut self.segments[self.current];
        let slot = &mut segment.map.bytes_mut()[start..start + SLOT_SIZE];
        write_slot(slot, kind, seq, payload);
        segment.last_seq = seq;
        self.slot_next += 1;
        self.seq_next = seq + 1;
        self.marks.publish(seq);
        // Slots are used one after another and none comes back soon: the next one is asked for now,
        // so that the next order does not wait for memory.
        let next = start + SLOT_SIZE;
        segment.map.prefetch(next, SLOT_HEAD + payload.len());
        Ok(seq)
    }
    /// The number the next record will get.
    pub fn seq_next(&self) -> u64 {
        self.seq_next
    }
    /// Records that fit before `append` says `Full`, if the tail releases nothing more.
    pub fn free(&self) -> u64 {
        if self.recycle == Recycle::Oldest {
            return u64::MAX;
        }
        let released = self.marks.released();
        let usable = (1..self.segments.len())
            .map(|step| &self.segments[(self.current + step) % self.segments.len()])
            .take_while(|segment| segment.last_seq <= released)
            .count() as u64;
        usable * u64::from(self.slots) + u64::from(self.slots - self.slot_next)
    }
    /// Directory-wide number of this run, from 1.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    #[cold]
    fn rotate(&mut self) -> Result<(), WalError> {
        let next = (self.current + 1) % self.segments.len();
        if self.recycle == Recycle::WhenReleased
            && self.segments[next].last_seq > self.marks.released()
        {
            return Err(WalError::Full);
        }
        self.current = next;
        self.slot_next = 0;
        self.write_header();
        Ok(())
    }
    /// Begins the current segment anew. Its old slots become stale by their numbers.
    fn write_header(&mut self) {
        let mut payload = [0u8; 32];
        payload[0..8].copy_from_slice(&MAGIC);
        payload[8..16].copy_from_slice(&self.generation.to_le_bytes());
        payload[16..20].copy_from_slice(&self.slots.to_le_bytes());
        payload[20..24].copy_from_slice(&(SLOT_SIZE as u32).to_le_bytes());
        let base_seq = self.seq_next;
        let slot = &mut self.segments[self.current].map.bytes_mut()[..SLOT_SIZE];
        write_slot(slot, 0, base_seq, &payload);
    }
}

impl WalTail {
    /// Hands over up to `count_max` new records, oldest first; how many there were.
    ///
    /// # Errors
    /// Reading the segment file failed; the same records come again next time.
    pub fn poll(&mut self, count_max: u32, mut take: impl FnMut(&WalRecord)) -> io::Result<u32> {
        let published = self.marks.published();
        let mut count = 0;
        let mut slot = [0u8; SLOT_SIZE];
        while self.seq_next <= published && count < count_max {
            let place = self.seq_next - self.seq_first;
            let segment = (place / u64::from(self.slots)) as usize % self.files.len();
            let offset = (place % u64::from(self.slots) + 1) * SLOT_SIZE as u64;
            self.files[segment].read_exact_at(&mut slot, offset)?;
            match read_slot(&slot) {
                Slot::Whole { seq, kind, payload } if seq == self.seq_next => {
                    take(&WalRecord { seq, kind, payload: payload.to_vec() });
                    count += 1;
                }
                // Written over before we came: only with `Recycle::Oldest`.
                _ => self.lost += 1,
            }
            self.seq_next += 1;
        }
        Ok(count)
    }
    /// Everything handed over so far is safe elsewhere: its segments may be written over.
    pub fn release(&self) {
        self.marks.release(self.seq_next - 1);
    }
    /// Records that were written over before the tail read them.
    pub fn lost(&self) -> u64 {
        self.lost
    }
    /// Records appended and not handed over yet.
    pub fn behind(&self) -> u64 {
        (self.marks.published() + 1).saturating_sub(self.seq_next)
    }
}

#[inline(always)]
fn write_slot(slot: &mut [u8], kind: u16, seq: u64, payload: &[u8]) {
    let end = SLOT_HEAD + payload.len();
    slot[4..6].copy_from_slice(&(payload.len() as u16).to_le_bytes());
    slot[6..8].copy_from_slice(&kind.to_le_bytes());
    slot[8..16].copy_from_slice(&seq.to_le_bytes());
    slot[SLOT_HEAD..end].copy_from_slice(payload);
    let crc = crc32fast::hash(&slot[4..end]);
    slot[0..4].copy_from_slice(&crc.to_le_bytes());
}

enum Slot<'a> {
    /// All zeros: never used.
    Empty,
    Damaged,
    Whole {
        seq: u64,
        kind: u16,
        payload: &'a [u8],
    },
}

fn read_slot(slot: &[u8]) -> Slot<'_> {
    let u16_at = |at: usize| u16::from_le_bytes([slot[at], slot[at + 1]]);
    let len = u16_at(4) as usize;
    let mut seq = [0; 8];
    seq.copy_from_slice(&slot[8..16]);
    let seq = u64::from_le_bytes(seq);
    if seq == 0 && slot.iter().all(|&byte| byte == 0) {
        return Slot::Empty;
    }
    if len > WAL_PAYLOAD_MAX {
        return Slot::Damaged;
    }
    let crc = u32::from_le_bytes([slot[0], slot[1], slot[2], slot[3]]);
    if seq == 0 || crc32fast::hash(&slot[4..SLOT_HEAD + len]) != crc {
        return Slot::Damaged;
    }
    Slot::Whole { seq, kind: u16_at(6), payload: &slot[SLOT_HEAD..SLOT_HEAD + len] }
}

fn segment_files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
        if name.starts_with("wal-") && name.ends_with(".seg") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn generation_of(path: &Path) -> u64 {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
    name.split('-').nth(1).and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn generation_next(files: &[PathBuf]) -> u64 {
    files.iter().map(|path| generation_of(path)).max().unwrap_or(0) + 1
}

/// Reads every whole record of a directory, of all generations, without changing anything.
///
/// # Errors
/// The file system's, or too many generations. Damage is counted, not an error.
pub fn scan(dir: &Path) -> Result<Recovered, WalOpenError> {
    let files =
        segment_files(dir).map_err(|error| WalOpenError::Io { at: dir.to_path_buf(), error })?;
    let mut generations: Vec<u64> = files.iter().map(|path| generation_of(path)).collect();
    generations.dedup();
    if generations.len() > GENERATIONS_MAX {
        return Err(WalOpenError::TooManyGenerations { dir: dir.to_path_buf() });
    }
    let mut found = Recovered { files, ..Recovered::default() };
    for index in 0..found.files.len() {
        let path = found.files[index].clone();
        let bytes =
            read_limited(&path).map_err(|error| WalOpenError::Io { at: path.clone(), error })?;
        scan_segment(&bytes, &mut found);
    }
    found.records.sort_by_key(|record| record.seq);
    found.records.dedup_by_key(|record| record.seq);
    Ok(found)
}

fn read_limited(path: &Path) -> io::Result<Vec<u8>> {
    let limit = (u64::from(SEGMENT_SLOTS_MAX) + 1) * SLOT_SIZE as u64;
    let mut bytes = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The run of slots that continue the header's number. What follows it is unused or of an earlier
/// lap; a damaged slot in its place is the torn tail, or corruption if the run goes on behind it.
fn scan_segment(bytes: &[u8], found: &mut Recovered) {
    let mut slots = bytes.chunks_exact(SLOT_SIZE);
    let Some(header) = slots.next() else { return };
    let base_seq = match read_slot(header) {
        Slot::Whole { seq, payload, .. } if payload.starts_with(&MAGIC) => seq,
        Slot::Empty => return,
        // The process died between two segments; nothing of the new one was used yet, and what an
        // earlier lap left here had been released.
        _ => {
            found.torn += 1;
            return;
        }
    };
    let mut damaged = 0;
    for (place, slot) in slots.enumerate() {
        let expected = base_seq + place as u64;
        match read_slot(slot) {
            Slot::Whole { seq, kind, payload } if seq == expected => {
                found.corrupt += damaged;
                damaged = 0;
                found.records.push(WalRecord { seq, kind, payload: payload.to_vec() });
            }
            // Of an earlier lap: the run has ended, yet a damaged slot before it was being
            // overwritten.
            Slot::Whole { .. } | Slot::Empty => break,
            Slot::Damaged => damaged += 1,
        }
    }
    // A crash tears one slot; more than that at the end were damaged otherwise.
    found.torn += damaged.min(1);
    found.corrupt += damaged.saturating_sub(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;
    use crate::io::alloc::count_allocs;
    use crate::io::files::TestDir;
    use crate::io::syscall::thread_faults;

    fn config(dir: &TestDir, segment_slots: u32, segments: usize, recycle: Recycle) -> WalConfig {
        WalConfig { dir: dir.path().join("wal"), segment_slots, segments, recycle }
    }
    fn payload_of(seq: u64) -> Vec<u8> {
        let mut rng = Rng::new(seq);
        (0..rng.below(WAL_PAYLOAD_MAX as u64 + 1)).map(|_| rng.next_u64() as u8).collect()
    }
    fn append_upto(writer: &mut WalWriter, last: u64) {
        while writer.seq_next() <= last {
            let seq = writer.seq_next();
            assert_eq!(writer.append(seq as u16, &payload_of(seq)), Ok(seq));
        }
    }
    fn check_records(records: &[WalRecord], first: u64, last: u64) {
        let seqs: Vec<u64> = records.iter().map(|record| record.seq).collect();
        assert_eq!(seqs, (first..=last).collect::<Vec<_>>());
        for record in records {
            assert_eq!(record.kind, record.seq as u16);
            assert_eq!(record.payload, payload_of(record.seq));
        }
    }
    /// What a `kill -9` leaves: the files as they are, no destructor needed.
    fn files_of(config: &WalConfig) -> Vec<PathBuf> {
        segment_files(&config.dir).unwrap()
    }

    #[test]
    fn records_survive_the_process_and_numbers_go_on() {
        let dir = TestDir::new("survive");
        let config = config(&dir, 8, 3, Recycle::WhenReleased);
        let (mut writer, _tail, recovered) = open(&config).unwrap();
        assert_eq!((recovered.records.len(), writer.seq_next(), writer.generation()), (0, 1, 1));
        append_upto(&mut writer, 11);
        drop(writer);
        let (mut writer, _tail, recovered) = open(&config).unwrap();
        check_records(&recovered.records, 1, 11);
        assert_eq!((recovered.torn, recovered.corrupt), (0, 0));
        assert_eq!((writer.seq_next(), writer.generation()), (12, 2));
        append_upto(&mut writer, 14);
        drop(writer);
        // A second crash before `discard`: nothing of the first run is lost.
        let (writer, _tail, recovered) = open(&config).unwrap();
        check_records(&recovered.records, 1, 14);
        recovered.discard().unwrap();
        drop(writer);
        let (writer, _tail, recovered) = open(&config).unwrap();
        assert_eq!(recovered.records.len(), 0);
        drop((writer, recovered));
    }

    #[test]
    fn a_second_process_is_refused_while_the_first_lives() {
        let dir = TestDir::new("locked");
        let config = config(&dir, 8, 2, Recycle::Oldest);
        let first = open(&config).unwrap();
        assert!(matches!(open(&config), Err(WalOpenError::Locked { .. })));
        drop(first);
        assert!(open(&config).is_ok());
    }

    #[test]
    fn unreleased_segments_are_never_written_over() {
        let dir = TestDir::new("full");
        let config = config(&dir, 4, 3, Recycle::WhenReleased);
        let (mut writer, mut tail, _) = open(&config).unwrap();
        assert_eq!(writer.free(), 12);
        append_upto(&mut writer, 12);
        assert_eq!(writer.free(), 0);
        assert_eq!(writer.append(0, b"x"), Err(WalError::Full));
        let mut seen = Vec::new();
        assert_eq!(tail.poll(3, |record| seen.push(record.clone())).unwrap(), 3);
        tail.release();
        assert_eq!(writer.append(0, b"x"), Err(WalError::Full), "three of four are not a segment");
        assert_eq!(tail.poll(u32::MAX, |record| seen.push(record.clone())).unwrap(), 9);
        tail.release();
        assert_eq!(writer.free(), 8);
        append_upto(&mut writer, 15);
        assert_eq!(tail.behind(), 3);
        tail.poll(u32::MAX, |record| seen.push(record.clone())).unwrap();
        check_records(&seen, 1, 15);
        assert_eq!((tail.lost(), tail.behind()), (0, 0));
        assert_eq!(writer.append(0, &[0; WAL_PAYLOAD_MAX + 1]), Err(WalError::TooLong));
        // After a kill here: segment 0 holds 13..15 over 1..4, the stale 4 does not come back to
        // life.
        drop(writer);
        check_records(&scan(&config.dir).unwrap().records, 5, 15);
    }

    #[test]
    fn oldest_first_keeps_the_last_laps_and_tells_the_tail_what_it_missed() {
        let dir = TestDir::new("oldest");
        let config = config(&dir, 4, 2, Recycle::Oldest);
        let (mut writer, mut tail, _) = open(&config).unwrap();
        append_upto(&mut writer, 23);
        let mut seen = Vec::new();
        tail.poll(u32::MAX, |record| seen.push(record.clone())).unwrap();
        // Slot 16 is stale but still there, and the tail asks for it by number; a scan ends before
        // it.
        check_records(&seen, 16, 23);
        assert_eq!(tail.lost(), 15);
        check_records(&scan(&config.dir).unwrap().records, 17, 23);
    }

    /// Kill at every byte of a store: whatever prefix of the last slot reached memory, all earlier
    /// records are read, the last one only if it is whole, and nothing else appears.
    #[test]
    fn a_record_torn_at_any_byte_is_left_out_and_all_before_it_are_kept() {
        let dir = TestDir::new("torn");
        // On a fresh segment, and on one that holds the records of an earlier lap.
        for (slots, last) in [(8, 6), (4, 10)] {
            let config = config(&dir, slots, 2, Recycle::Oldest);
            let _ = fs::remove_dir_all(&config.dir);
            let (mut writer, _tail, _) = open(&config).unwrap();
            append_upto(&mut writer, last);
            let place = (last - 1) as u32;
            let index = (place / slots) as usize % 2;
            let path = files_of(&config)[index].clone();
            let at = (place % slots + 1) as usize * SLOT_SIZE;
            let before = {
                let mut image = fs::read(&path).unwrap();
                // The slot before the last append: of the earlier lap, or zeros.
                let mut old = vec![0u8; SLOT_SIZE];
                if place >= 2 * slots {
                    let seq = last - u64::from(2 * slots);
                    write_slot(&mut old, seq as u16, seq, &payload_of(seq));
                }
                image[at..at + SLOT_SIZE].copy_from_slice(&old);
                image
            };
            let after = fs::read(&path).unwrap();
            let first = scan(&config.dir).unwrap().records[0].seq;
            for cut in 0..=SLOT_SIZE {
                let mut image = before.clone();
                image[at..at + cut].copy_from_slice(&after[at..at + cut]);
                fs::write(&path, &image).unwrap();
                let found = scan(&config.dir).unwrap();
                let whole = image[at..at + SLOT_SIZE] == after[at..at + SLOT_SIZE]
                    || found.last_seq() == last;
                check_records(&found.records, first, if whole { last } else { last - 1 });
                assert_eq!(found.corrupt, 0);
            }
        }
    }

    #[test]
    fn any_flipped_bit_costs_its_own_record_only_and_is_counted() {
        let dir = TestDir::new("flip");
        let config = config(&dir, 16, 2, Recycle::WhenReleased);
        let (mut writer, _tail, _) = open(&config).unwrap();
        append_upto(&mut writer, 10);
        let path = files_of(&config)[0].clone();
        let image = fs::read(&path).unwrap();
        let mut rng = Rng::new(7);
        for _ in 0..300 {
            let seq = 1 + rng.below(10);
            let used = SLOT_HEAD + payload_of(seq).len();
            let byte = seq as usize * SLOT_SIZE + rng.below(used as u64) as usize;
            let mut damaged = image.clone();
            damaged[byte] ^= 1 << rng.below(8);
            fs::write(&path, &damaged).unwrap();
            let found = scan(&config.dir).unwrap();
            let expected: Vec<u64> = (1..=10).filter(|&other| other != seq).collect();
            let seqs: Vec<u64> = found.records.iter().map(|record| record.seq).collect();
            assert_eq!(seqs, expected);
            let counts = (found.torn, found.corrupt);
            assert_eq!(counts, if seq == 10 { (1, 0) } else { (0, 1) });
        }
    }

    #[test]
    fn garbage_truncated_and_empty_segments_never_panic() {
        let dir = TestDir::new("garbage");
        let config = config(&dir, 8, 2, Recycle::Oldest);
        let (mut writer, _tail, _) = open(&config).unwrap();
        append_upto(&mut writer, 8);
        let path = files_of(&config)[0].clone();
        let image = fs::read(&path).unwrap();
        for size in (0..image.len()).step_by(77) {
            fs::write(&path, &image[..size]).unwrap();
            let found = scan(&config.dir).unwrap();
            let whole = (size / SLOT_SIZE).saturating_sub(1) as u64;
            check_records(&found.records, 1, whole);
        }
        let mut rng = Rng::new(3);
        for _ in 0..50 {
            let noise: Vec<u8> = (0..4_000).map(|_| rng.next_u64() as u8).collect();
            fs::write(&path, noise).unwrap();
            assert_eq!(scan(&config.dir).unwrap().records.len(), 0);
        }
    }

    #[test]
    fn appending_allocates_nothing_and_faults_nothing_across_rotations() {
        let dir = TestDir::new("quiet");
        let config = config(&dir, 1_000, 4, Recycle::Oldest);
        let (mut writer, _tail, _) = open(&config).unwrap();
        let payload = [7u8; 200];
        for _ in 0..10 {
            writer.append(1, &payload).unwrap();
        }
        let faults = thread_faults();
        let started = std::time::Instant::now();
        let count = 100_000u32;
        let (allocs, ()) = count_allocs(|| {
            for _ in 0..count {
                std::hint::black_box(writer.append(1, std::hint::black_box(&payload))).unwrap();
            }
        });
        let each_ns = started.elapsed().as_nanos() / u128::from(count);
        eprintln!("append of 200 bytes: {each_ns} ns");
        assert_eq!(allocs, 0);
        if dir.path().starts_with("/dev/shm") {
            assert!(thread_faults().minor - faults.minor <= 1);
        }
    }

    #[test]
    fn a_bad_size_a_link_and_a_full_disk_are_told_apart() {
        let dir = TestDir::new("refuse");
        for (slots, segments) in [(0, 2), (8, 1), (8, SEGMENTS_MAX + 1), (SEGMENT_SLOTS_MAX + 1, 2)]
        {
            let bad = config(&dir, slots, segments, Recycle::Oldest);
            assert!(matches!(open(&bad), Err(WalOpenError::Config)));
        }
        let linked = config(&dir, 8, 2, Recycle::Oldest);
        std::os::unix::fs::symlink(dir.path(), &linked.dir).unwrap();
        assert!(matches!(open(&linked), Err(WalOpenError::NotOurs { .. })));
        fs::remove_file(&linked.dir).unwrap();
        fs::write(&linked.dir, b"a file").unwrap();
        assert!(matches!(open(&linked), Err(WalOpenError::Io { .. })));
    }
}
