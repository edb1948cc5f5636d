//! The input log: every sequenced event of a run, taken behind the mouth, so that `replay` can
//! repeat the run. The hot side offers copies to a ring; this cold writer puts them into a file. A
//! log that cannot keep up is marked incomplete, trading goes on.
//!
//! File = header frame, event frames, end frame. A frame is `len u32 | crc32 u32 | payload`, little
//! endian, the payload in postcard. Without an end frame the run died; what is whole before that is
//! still good.

use crate::model::Event;
use crate::ring::{Rx, Tx};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const MAGIC: [u8; 8] = *b"GENINP02";
/// Longest payload of a frame, bytes: the header's context is the one that may be long.
const FRAME_SIZE_MAX: usize = 4 << 20;
/// Bytes an event may take in postcard: its memory size plus what variable-length numbers can add.
const EVENT_SIZE_MAX: usize = 2 * crate::base::limits::MESSAGE_BYTES_MAX;
/// Bytes gathered before they go to the kernel.
const BUFFER_SIZE: usize = 1 << 20;

/// What a replay must know before the first event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogHeader {
    /// The commit the program was built from.
    pub build: String,
    pub config_hash: u64,
    /// Whatever the caller needs to set the run up again (resolved config, instruments), its own
    /// encoding.
    pub context: Vec<u8>,
}

/// The last frame of a log whose run ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct LogEnd {
    events: u64,
    /// Events the ring had no room for.
    lost: u64,
    /// The decision hash of the run, for `replay --verify`; 0 = not told.
    decision_hash: u64,
}

#[derive(Serialize, Deserialize)]
// An event lives here for the length of one call; a box would be an allocation an event.
#[allow(clippy::large_enum_variant)]
enum Frame {
    Event(Event),
    End(LogEnd),
}

/// The hot side: copies events into the ring, never waits.
pub struct InputTap {
    tx: Tx<Event>,
    lost: Arc<AtomicU64>,
}
impl InputTap {
    /// A full ring loses the event and marks the log incomplete.
    #[inline(always)]
    pub fn offer(&mut self, event: &Event) {
        if self.tx.push(*event).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
    /// Events that find room now.
    pub fn free(&mut self) -> usize {
        self.tx.free()
    }
    /// Events lost so far.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// The cold side.
pub struct InputLogWriter {
    rx: Rx<Event>,
    lost: Arc<AtomicU64>,
    sink: Sink,
    events: u64,
    /// Beyond this the log takes no more.
    bytes_max: u64,
}

/// Length and checksum before each frame, bytes.
const FRAME_HEAD: u64 = 8;

struct Sink {
    file: BufWriter<File>,
    scratch: Vec<u8>,
    bytes: u64,
}
impl Sink {
    fn frame(&mut self, frame: &Frame) -> io::Result<()> {
        self.scratch.resize(EVENT_SIZE_MAX, 0);
        let used = postcard::to_slice(frame, &mut self.scratch)
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        self.bytes += used.len() as u64 + FRAME_HEAD;
        write_frame(&mut self.file, used)
    }
}

fn write_frame(file: &mut impl Write, payload: &[u8]) -> io::Result<()> {
    file.write_all(&(payload.len() as u32).to_le_bytes())?;
    file.write_all(&crc32fast::hash(payload).to_le_bytes())?;
    file.write_all(payload)
}

/// Makes the file with its header, and the two ends of a ring of `depth` events.
///
/// # Errors
/// What the file system says. An existing file is not touched.
pub fn create(
    path: &Path,
    header: &LogHeader,
    depth: usize,
) -> io::Result<(InputTap, InputLogWriter)> {
    let file = File::options().write(true).create_new(true).open(path)?;
    let mut file = BufWriter::with_capacity(BUFFER_SIZE, file);
    file.write_all(&MAGIC)?;
    let bytes =
        postcard::to_stdvec(header).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    if bytes.len() > FRAME_SIZE_MAX {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    write_frame(&mut file, &bytes)?;
    file.flush()?;
    let (tx, rx) = crate::ring::channel(depth);
    let lost = Arc::new(AtomicU64::new(0));
    let sink = Sink { file, scratch: Vec::with_capacity(EVENT_SIZE_MAX), bytes: 0 };
    let writer = InputLogWriter { rx, lost: lost.clone(), sink, events: 0, bytes_max: u64::MAX };
    Ok((InputTap { tx, lost }, writer))
}

impl InputLogWriter {
    /// Writes up to `count_max` waiting events; how many there were. When there are none, what is
    /// buffered goes to the kernel.
    ///
    /// # Errors
    /// The disk's; the log is then incomplete from here on.
    pub fn poll(&mut self, count_max: u32) -> io::Result<u32> {
        self.poll_with(count_max, |_| {})
    }
    /// The same; `take` sees each event, those beyond the largest size too.
    ///
    /// # Errors
    /// As with `poll`.
    pub fn poll_with(&mut self, count_max: u32, mut take: impl FnMut(&Event)) -> io::Result<u32> {
        let mut count = 0;
        while count < count_max
            && let Some(event) = self.rx.pop()
        {
            count += 1;
            take(&event);
            if self.sink.bytes >= self.bytes_max {
                // Taken all the same, so that nothing waits for it; the end says what is missing.
                self.lost.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            self.sink.frame(&Frame::Event(event))?;
            self.events += 1;
        }
        if count == 0 {
            self.sink.file.flush()?;
        }
        Ok(count)
    }
    /// A log of at most so many bytes, give or take one event: what comes later is counted as lost.
    pub fn at_most(mut self, bytes_max: u64) -> Self {
        self.bytes_max = bytes_max;
        self
    }
    /// True once the tap is gone and everything it offered is written.
    pub fn is_drained(&self) -> bool {
        self.rx.is_closed()
    }
    pub fn events(&self) -> u64 {
        self.events
    }
    /// Events the ring had no room for, so far. Above 0 the log cannot be replayed: raise an alarm.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
    /// Writes what is left, then the end frame, and syncs the file. Call when the tap's thread has
    /// stopped.
    ///
    /// # Errors
    /// The disk's; the log then reads as one whose run died.
    pub fn finish(mut self, decision_hash: u64) -> io::Result<()> {
        while self.poll(u32::MAX)? > 0 {}
        let end = LogEnd { events: self.events, lost: self.lost(), decision_hash };
        self.sink.frame(&Frame::End(end))?;
        self.sink.file.flush()?;
        self.sink.file.get_ref().sync_all()
    }
}

/// Why a log is not the whole run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incomplete {
    /// The run ended without saying so: killed, or still going on.
    NoEnd,
    /// The last frame is cut.
    Torn { at: u64 },
    /// The ring was full this many times.
    Lost { events: u64 },
    /// A sequence number does not follow the one before it.
    Hole { after: u64, found: u64 },
    /// The end frame counts other than what was read.
    Count { told: u64, found: u64 },
}
impl fmt::Display for Incomplete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Incomplete::NoEnd => write!(f, "the log has no end: the run was killed or goes on"),
            Incomplete::Torn { at } => write!(f, "the last record, at byte {at}, is cut"),
            Incomplete::Lost { events } => write!(f, "{events} events were lost while recording"),
            Incomplete::Hole { after, found } => write!(f, "event {found} follows event {after}"),
            Incomplete::Count { told, found } => {
                write!(f, "the log says it has {told} events, found {found}")
            }
        }
    }
}

/// Why a log cannot be read.
#[derive(Debug)]
pub enum LogError {
    Io(io::Error),
    /// Another kind of file, or another version's.
    NotALog,
    /// A frame in the middle does not match its checksum.
    Corrupt {
        at: u64,
    },
    /// Whole, but not what this build can read: another build wrote it.
    Foreign {
        at: u64,
    },
}
impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogError::Io(error) => write!(f, "{error}"),
            LogError::NotALog => write!(f, "not an input log of this version"),
            LogError::Corrupt { at } => write!(f, "the record at byte {at} is damaged"),
            LogError::Foreign { at } => {
                write!(f, "the record at byte {at} was written by another build: replay it there")
            }
        }
    }
}
impl From<io::Error> for LogError {
    fn from(error: io::Error) -> Self {
        LogError::Io(error)
    }
}

/// Reads a log from its begin to its end, or to where it breaks off.
pub struct InputLogReader {
    file: BufReader<File>,
    header: LogHeader,
    at: u64,
    events: u64,
    seq_last: u64,
    done: bool,
    incomplete: Option<Incomplete>,
    decision_hash: u64,
    payload: Vec<u8>,
}

enum Read1 {
    Whole,
    End,
    Torn,
}

impl InputLogReader {
    /// # Errors
    /// `LogError` where the file cannot be opened or does not begin like a log.
    pub fn open(path: &Path) -> Result<InputLogReader, LogError> {
        let mut file = BufReader::with_capacity(BUFFER_SIZE, File::open(path)?);
        let mut magic = [0; 8];
        match file.read_exact(&mut magic) {
            Ok(()) if magic == MAGIC => {}
            Ok(()) => return Err(LogError::NotALog),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(LogError::NotALog);
            }
            Err(error) => return Err(LogError::Io(error)),
        }
        let mut reader = InputLogReader {
            file,
            header: LogHeader { build: String::new(), config_hash: 0, context: Vec::new() },
            at: MAGIC.len() as u64,
            events: 0,
            seq_last: 0,
            done: false,
            incomplete: None,
            decision_hash: 0,
            payload: Vec::new(),
        };
        match reader.read_frame()? {
            Read1::Whole => {}
            Read1::End | Read1::Torn => return Err(LogError::NotALog),
        }
        reader.header = postcard::from_bytes(&reader.payload).map_err(|_| LogError::NotALog)?;
        Ok(reader)
    }
    pub fn header(&self) -> &LogHeader {
        &self.header
    }
    /// The next event; `None` at the end, after which `incomplete` says whether that was the run's
    /// end too.
    ///
    /// # Errors
    /// `LogError` for damage before the end.
    pub fn next_event(&mut self) -> Result<Option<Event>, LogError> {
        if self.done {
            return Ok(None);
        }
        let at = self.at;
        match self.read_frame()? {
            Read1::Whole => {}
            Read1::End => return Ok(self.stop(Some(Incomplete::NoEnd))),
            Read1::Torn => return Ok(self.stop(Some(Incomplete::Torn { at }))),
        }
        match postcard::from_bytes(&self.payload) {
            Ok(Frame::Event(event)) => {
                let seq = event.stamp.seq;
                if self.events > 0 && seq != self.seq_last + 1 && self.incomplete.is_none() {
                    self.incomplete = Some(Incomplete::Hole { after: self.seq_last, found: seq });
                }
                self.seq_last = seq;
                self.events += 1;
                Ok(Some(event))
            }
            Ok(Frame::End(end)) => {
                self.decision_hash = end.decision_hash;
                let found = self.events;
                Ok(self.stop(if end.lost > 0 {
                    Some(Incomplete::Lost { events: end.lost })
                } else if end.events != found {
                    Some(Incomplete::Count { told: end.events, found })
                } else {
                    None
                }))
            }
            Err(_) => Err(LogError::Foreign { at }),
        }
    }
    fn stop(&mut self, why: Option<Incomplete>) -> Option<Event> {
        self.done = true;
        self.incomplete = self.incomplete.or(why);
        None
    }
    /// Why the log is not the whole run; meaningful after `next_event` gave `None`.
    pub fn incomplete(&self) -> Option<Incomplete> {
        self.incomplete
    }
    /// Events read so far.
    pub fn events(&self) -> u64 {
        self.events
    }
    /// What the run said its decision hash was; `None` where it did not say.
    pub fn decision_hash(&self) -> Option<u64> {
        (self.decision_hash != 0).then_some(self.decision_hash)
    }

    fn read_frame(&mut self) -> Result<Read1, LogError> {
        let mut head = [0u8; 8];
        match read_full(&mut self.file, &mut head)? {
            0 => return Ok(Read1::End),
            8 => {}
            _ => return Ok(Read1::Torn),
        }
        let len = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let crc = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        if len > FRAME_SIZE_MAX {
            return Err(LogError::Corrupt { at: self.at });
        }
        self.payload.resize(len, 0);
        if read_full(&mut self.file, &mut self.payload)? < len {
            return Ok(Read1::Torn);
        }
        if crc32fast::hash(&self.payload) != crc {
            return Err(LogError::Corrupt { at: self.at });
        }
        self.at += 8 + len as u64;
        Ok(Read1::Whole)
    }
}

/// Bytes read, fewer than asked only at the end of the file.
fn read_full(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::{SymbolId, TradeId};
    use crate::base::time::{MonoNs, WallNs};
    use crate::base::units::{Px, Qty};
    use crate::io::alloc::count_allocs;
    use crate::io::files::TestDir;
    use crate::model::{Body, Stamp, Trace, TradeAgg};

    fn event(seq: u64) -> Event {
        let body = if seq.is_multiple_of(3) {
            Body::Tick
        } else {
            Body::Trades(TradeAgg {
                symbol: SymbolId(seq as u16 % 7),
                count: 1,
                first_id: TradeId(seq * 11),
                last_id: TradeId(u64::MAX),
                last_at: WallNs(-1),
                last: Px::from_raw(i64::MIN),
                high: Px::from_raw(i64::MAX),
                low: Px::from_raw(seq as i64),
                buy_qty: Qty::from_raw(-5),
                sell_qty: Qty::from_raw(5),
            })
        };
        let stamp = Stamp { seq, recv: MonoNs(seq * 1_000), wall: WallNs(seq as i64) };
        Event { stamp, trace: Trace::default(), body }
    }
    fn header() -> LogHeader {
        LogHeader { build: "0123456789ab".into(), config_hash: 77, context: vec![9; 3_000] }
    }
    fn record(dir: &TestDir, events: u64) -> std::path::PathBuf {
        let path = dir.path().join("input.log");
        let (mut tap, mut writer) = create(&path, &header(), 256).unwrap();
        for seq in 1..=events {
            tap.offer(&event(seq));
            if seq.is_multiple_of(100) {
                writer.poll(u32::MAX).unwrap();
            }
        }
        assert!(!writer.is_drained());
        drop(tap);
        writer.finish(0xfeed).unwrap();
        path
    }
    fn read_all(reader: &mut InputLogReader) -> Result<Vec<Event>, LogError> {
        let mut events = Vec::new();
        while let Some(event) = reader.next_event()? {
            events.push(event);
        }
        Ok(events)
    }

    #[test]
    fn what_was_offered_is_read_back_with_header_and_hash() {
        let dir = TestDir::new("input");
        let path = record(&dir, 1_000);
        let mut reader = InputLogReader::open(&path).unwrap();
        assert_eq!(reader.header(), &header());
        let events = read_all(&mut reader).unwrap();
        assert_eq!(events, (1..=1_000).map(event).collect::<Vec<_>>());
        assert_eq!(reader.incomplete(), None);
        assert_eq!(reader.decision_hash(), Some(0xfeed));
        assert!(create(&path, &header(), 8).is_err(), "an old log is never overwritten");
    }

    #[test]
    fn a_log_that_is_full_keeps_its_begin_and_counts_what_came_later() {
        let dir = TestDir::new("inputfull");
        let path = dir.path().join("input.log");
        let (mut tap, writer) = create(&path, &header(), 256).unwrap();
        let mut writer = writer.at_most(4_000);
        for seq in 1..=1_000 {
            tap.offer(&event(seq));
            if seq.is_multiple_of(100) {
                writer.poll(u32::MAX).unwrap();
                assert_eq!(tap.free(), 256, "nothing waits for a full log");
            }
        }
        let lost = tap.lost();
        assert!(lost > 0 && lost < 1_000, "{lost}");
        drop(tap);
        writer.finish(0xfeed).unwrap();
        let size = std::fs::metadata(&path).unwrap().len();
        assert!((4_000..8_000).contains(&size), "{size}, the header of 3,000 included");
        let mut reader = InputLogReader::open(&path).unwrap();
        let events = read_all(&mut reader).unwrap();
        assert_eq!(events, (1..=1_000 - lost).map(event).collect::<Vec<_>>());
        assert_eq!(reader.incomplete(), Some(Incomplete::Lost { events: lost }));
    }

    #[test]
    fn a_log_cut_anywhere_gives_its_whole_events_and_says_it_is_incomplete() {
        let dir = TestDir::new("inputcut");
        let path = record(&dir, 60);
        let image = std::fs::read(&path).unwrap();
        let start = {
            let mut reader = InputLogReader::open(&path).unwrap();
            let start = reader.at as usize;
            read_all(&mut reader).unwrap();
            start
        };
        let mut last = 0;
        for size in start..image.len() {
            std::fs::write(&path, &image[..size]).unwrap();
            let mut reader = InputLogReader::open(&path).unwrap();
            let events = read_all(&mut reader).unwrap();
            assert!(events.len() >= last);
            last = events.len();
            assert_eq!(events, (1..=events.len() as u64).map(event).collect::<Vec<_>>());
            assert!(matches!(
                reader.incomplete(),
                Some(Incomplete::NoEnd | Incomplete::Torn { .. })
            ));
        }
        assert_eq!(last, 60);
        for size in 0..start {
            std::fs::write(&path, &image[..size]).unwrap();
            assert!(matches!(InputLogReader::open(&path), Err(LogError::NotALog)));
        }
    }

    #[test]
    fn a_flipped_byte_is_an_error_and_never_another_event() {
        let dir = TestDir::new("inputflip");
        let path = record(&dir, 30);
        let image = std::fs::read(&path).unwrap();
        for byte in 0..image.len() {
            let mut damaged = image.clone();
            damaged[byte] ^= 0x10;
            std::fs::write(&path, &damaged).unwrap();
            let Ok(mut reader) = InputLogReader::open(&path) else { continue };
            match read_all(&mut reader) {
                Err(_) => {}
                Ok(_) => assert!(reader.incomplete().is_some(), "byte {byte}"),
            }
        }
    }

    #[test]
    fn a_full_ring_loses_events_counts_them_and_marks_the_log() {
        let dir = TestDir::new("inputfull");
        let path = dir.path().join("input.log");
        let (mut tap, mut writer) = create(&path, &header(), 8).unwrap();
        let (allocs, ()) = count_allocs(|| (1..=10).for_each(|seq| tap.offer(&event(seq))));
        assert_eq!((allocs, tap.lost(), writer.lost()), (0, 2, 2));
        writer.poll(u32::MAX).unwrap();
        tap.offer(&event(11));
        drop(tap);
        writer.finish(0).unwrap();
        let mut reader = InputLogReader::open(&path).unwrap();
        assert_eq!(read_all(&mut reader).unwrap().len(), 9);
        assert_eq!(reader.incomplete(), Some(Incomplete::Hole { after: 8, found: 11 }));
        assert_eq!(reader.decision_hash(), None);
    }
}
