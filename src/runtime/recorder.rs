//! Records what a venue sends on one socket, and what is sent to it, into files that are markets of
//! their own: every file begins with its own connection and snapshots. A new file is begun on a
//! second socket, and the first one ends only when all channels of the second are there.

#![allow(
    clippy::disallowed_methods,
    reason = "the edge: deadlines and clocks of real sockets and disks"
)]

use super::ws_bytes::Wire;
use crate::base::time::WallNs;
use crate::io::capture_writer::{CaptureWriter, Way};
use crate::io::clock::Clock;
use crate::io::dial::{DialError, DialSpec, Dialed, dial};
use crate::io::socket::{HotStream, WriteError};
use crate::io::syscall::SocketSet;
use crossbeam_channel::{Receiver, TryRecvError};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tungstenite::error::Error as WsError;
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};

/// Longest wait for a socket, so that a stop is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Between two pings; the venue drops an idle socket after about 60 s.
const PING_EVERY: Duration = Duration::from_secs(20);
/// A socket that says nothing for so long is given up: two heartbeats and a margin.
const SILENCE_MAX: Duration = Duration::from_secs(35);
/// How long both parts are kept once the second is whole, so that they overlap.
const OVERLAP: Duration = Duration::from_secs(1);
/// A part that does not get all its channels in this time takes over with those it has.
const TAKE_OVER_AFTER: Duration = Duration::from_secs(15);
/// Wait after a failed attempt to connect, doubled up to the longest.
const RETRY_AFTER: Duration = Duration::from_millis(500);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);
/// Longest message, bytes: a snapshot of a long raw book is about 20 kB.
const MESSAGE_MAX: usize = 1 << 20;
/// Bytes read at once; over TLS a record must fit.
const SCRATCH_SIZE: usize = 64 * 1024;

/// What one socket records.
pub struct RecorderConfig {
    pub target: DialSpec,
    /// Sent once the socket is open, in order.
    pub hello: Vec<String>,
    /// Made for each connection, because of its nonce.
    pub auth: Option<Box<dyn Fn(WallNs) -> String + Send>>,
    /// Subscriptions among the hello's messages.
    pub channels: usize,
    pub dir: PathBuf,
    /// Files are called NAME-DATE.ndjson.gz.
    pub name: String,
    /// A new file is begun beyond this size, or after this time.
    pub part_size: u64,
    pub part_for: Duration,
}

/// What a recorder did.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct RecorderReport {
    pub files: Vec<PathBuf>,
    pub received: u64,
    pub sent: u64,
    pub bytes: u64,
    pub connects: u64,
    pub failed_connects: u64,
    /// Sockets that ended though nobody asked for it.
    pub lost: u64,
}

/// Why a recording ended early.
#[derive(Debug)]
pub enum RecorderError {
    /// The first connection failed: nothing is recorded.
    Connect(DialError),
    File(PathBuf, io::Error),
    Thread(io::Error),
}
impl fmt::Display for RecorderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "cannot connect: {error}"),
            Self::File(path, error) => write!(f, "recording {}: {error}", path.display()),
            Self::Thread(error) => write!(f, "no thread: {error}"),
        }
    }
}
impl std::error::Error for RecorderError {}

/// One connection and its file.
struct Part {
    stream: HotStream,
    ws: WebSocketContext,
    out: Vec<u8>,
    writer: CaptureWriter,
    subscribed: usize,
    opened_at: Instant,
    heard_at: Instant,
    pinged_at: Instant,
    received: u64,
    sent: u64,
    bytes: u64,
}

impl Part {
    /// Says a text, and writes it down.
    fn say(&mut self, clock: &Clock, text: &str) -> io::Result<()> {
        self.writer.line(clock.wall(), clock.tsc().0, Way::Sent, text.as_bytes())?;
        self.sent += 1;
        let mut wire = Wire { input: &[], output: &mut self.out };
        // It only fails where the socket is closing, and then the next read says so.
        let _ = self.ws.write(&mut wire, tungstenite::Message::text(text.to_owned()));
        let _ = self.ws.flush(&mut wire);
        self.flush();
        Ok(())
    }
    fn flush(&mut self) {
        if !self.out.is_empty()
            && !matches!(self.stream.write_all_or_queue(&self.out), Err(WriteError::Full))
        {
            self.out.clear();
        }
        let _ = self.stream.flush();
    }
    /// Reads what is there; false where the socket has ended.
    fn read(&mut self, clock: &Clock, scratch: &mut [u8]) -> io::Result<bool> {
        loop {
            let (at, tsc) = (clock.wall(), clock.tsc());
            let size = match self.stream.read(scratch) {
                Ok(0) => return Ok(false),
                Ok(size) => size,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(_) => return Ok(false),
            };
            self.heard_at = Instant::now();
            self.bytes += size as u64;
            let mut wire = Wire { input: &scratch[..size], output: &mut self.out };
            loop {
                match self.ws.read(&mut wire) {
                    Ok(tungstenite::Message::Text(text)) => {
                        self.received += 1;
                        let text = text.as_bytes();
                        let is_ack = text.starts_with(b"{\"event\":\"subscribed\"");
                        self.subscribed += usize::from(is_ack);
                        self.writer.line(at, tsc.0, Way::Received, text)?;
                    }
                    Ok(_) => {}
                    Err(WsError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(_) => return Ok(false),
                }
            }
            self.flush();
        }
    }
    fn close(&mut self) {
        let mut wire = Wire { input: &[], output: &mut self.out };
        let _ = self.ws.close(&mut wire, None);
        self.flush();
    }
}

/// Records until told to stop.
pub struct Recorder {
    config: RecorderConfig,
    clock: Clock,
    report: RecorderReport,
    /// Connections that a helper is making: connecting must not hold up the stamps of the other.
    dialling: Option<Receiver<Result<Dialed, DialError>>>,
    retry_at: Instant,
    retry_after: Duration,
}

impl Recorder {
    pub fn new(config: RecorderConfig, clock: Clock) -> Recorder {
        Recorder {
            config,
            clock,
            report: RecorderReport::default(),
            dialling: None,
            retry_at: Instant::now(),
            retry_after: RETRY_AFTER,
        }
    }
    /// Blocks until `stop`; connects again for ever once it was connected.
    ///
    /// # Errors
    /// Nothing could be connected to at first, or the files cannot be written.
    pub fn run(mut self, stop: &AtomicBool) -> Result<RecorderReport, RecorderError> {
        let mut scratch = vec![0; SCRATCH_SIZE];
        let mut set = SocketSet::with_capacity(2);
        let (mut now, mut next): (Option<Part>, Option<Part>) = (None, None);
        while !stop.load(Ordering::Acquire) {
            let wants_part = match &now {
                None => true,
                Some(part) => next.is_none() && self.is_full(part),
            };
            if wants_part && self.dialling.is_none() && Instant::now() >= self.retry_at {
                self.dial()?;
            }
            if let Some(part) = self.dialled()? {
                if now.is_none() { now = Some(part) } else { next = Some(part) }
            }
            set.clear();
            let mut waits = true;
            for part in now.iter().chain(&next) {
                part.stream.add_to(&mut set);
                waits &= !part.stream.has_buffered();
            }
            if waits {
                set.wait(if set.is_empty() { LOOK_EVERY / 10 } else { LOOK_EVERY });
            }
            for slot in [&mut now, &mut next] {
                self.serve(slot, &mut scratch)?;
            }
            let takes_over = next.as_ref().is_some_and(|part| {
                let age = part.opened_at.elapsed();
                let is_whole = part.subscribed >= self.config.channels;
                age > TAKE_OVER_AFTER || (is_whole && age > OVERLAP)
            });
            if takes_over || (now.is_none() && next.is_some()) {
                if let Some(part) = now.take() {
                    self.end(part)?;
                }
                now = next.take();
            }
        }
        for part in now.into_iter().chain(next) {
            self.end(part)?;
        }
        Ok(self.report)
    }

    fn is_full(&self, part: &Part) -> bool {
        part.writer.size() >= self.config.part_size
            || part.opened_at.elapsed() >= self.config.part_for
    }
    fn dial(&mut self) -> Result<(), RecorderError> {
        let (done, result) = crossbeam_channel::bounded(1);
        let target = self.config.target.clone();
        // tidy-ok: cold, one a connection, ends with its deadline.
        let spawned = std::thread::Builder::new().name("dial".into()).spawn(move || {
            let _ = done.send(dial(&target));
        });
        spawned.map_err(RecorderError::Thread)?;
        self.dialling = Some(result);
        Ok(())
    }
    /// The part of a connection that has just been made.
    fn dialled(&mut self) -> Result<Option<Part>, RecorderError> {
        let Some(result) = self.dialling.as_ref().map(Receiver::try_recv) else { return Ok(None) };
        if matches!(result, Err(TryRecvError::Empty)) {
            return Ok(None);
        }
        self.dialling = None;
        let dialed = match result {
            Ok(Ok(dialed)) => dialed,
            Ok(Err(error)) if self.report.connects == 0 => {
                return Err(RecorderError::Connect(error));
            }
            failed => {
                if let Ok(Err(error)) = failed {
                    log::warn!("{}: {error}; trying again", self.config.name);
                }
                self.report.failed_connects += 1;
                self.retry_at = Instant::now() + self.retry_after;
                self.retry_after = (self.retry_after * 2).min(RETRY_AFTER_MAX);
                return Ok(None);
            }
        };
        self.retry_after = RETRY_AFTER;
        self.report.connects += 1;
        self.begin(dialed).map(Some)
    }
    fn begin(&mut self, dialed: Dialed) -> Result<Part, RecorderError> {
        let at = self.clock.wall();
        let path = self.config.dir.join(format!("{}-{}.ndjson.gz", self.config.name, stamp(at)));
        let failed = |error| RecorderError::File(path.clone(), error);
        let writer = CaptureWriter::create(&path).map_err(failed)?;
        self.report.files.push(path.clone());
        let limits = WebSocketConfig::default()
            .read_buffer_size(4 * 1024)
            .write_buffer_size(0)
            .max_message_size(Some(MESSAGE_MAX))
            .max_frame_size(Some(MESSAGE_MAX));
        let now = Instant::now();
        let mut part = Part {
            stream: dialed.stream,
            ws: WebSocketContext::new(Role::Client, Some(limits)),
            out: Vec::new(),
            writer,
            subscribed: 0,
            opened_at: now,
            heard_at: now,
            pinged_at: now,
            received: 0,
            sent: 0,
            bytes: 0,
        };
        let words = format!("{{\"peer\":\"{}\"}}", dialed.peer);
        let tsc = self.clock.tsc().0;
        part.writer.line(at, tsc, Way::Open, words.as_bytes()).map_err(failed)?;
        for text in &self.config.hello {
            part.say(&self.clock, text).map_err(failed)?;
        }
        if let Some(auth) = &self.config.auth {
            part.say(&self.clock, &auth(at)).map_err(failed)?;
        }
        Ok(part)
    }
    /// Reads, pings, seals; empties the slot where the socket has ended.
    fn serve(&mut self, slot: &mut Option<Part>, scratch: &mut [u8]) -> Result<(), RecorderError> {
        let Some(part) = slot else { return Ok(()) };
        let path = part.writer.path().to_owned();
        let failed = |error| RecorderError::File(path.clone(), error);
        let mut lives = part.read(&self.clock, scratch).map_err(failed)?;
        part.writer.on_time(self.clock.wall()).map_err(failed)?;
        if part.pinged_at.elapsed() >= PING_EVERY {
            part.pinged_at = Instant::now();
            part.say(&self.clock, "{\"event\":\"ping\",\"cid\":1}").map_err(failed)?;
        }
        lives &= part.heard_at.elapsed() < SILENCE_MAX;
        if !lives && let Some(part) = slot.take() {
            log::warn!("{}: the socket has ended; connecting again", self.config.name);
            self.report.lost += 1;
            self.end(part)?;
        }
        Ok(())
    }
    fn end(&mut self, mut part: Part) -> Result<(), RecorderError> {
        part.close();
        self.report.received += part.received;
        self.report.sent += part.sent;
        self.report.bytes += part.bytes;
        part.writer.seal().map_err(|error| RecorderError::File(part.writer.path().into(), error))
    }
}

/// `20210405T172646.805714Z`
fn stamp(at: WallNs) -> String {
    let (year, month, day) = at.utc_date();
    let of_day_us = at.0.rem_euclid(86_400_000_000_000) / 1_000;
    let (second, us) = (of_day_us / 1_000_000, of_day_us % 1_000_000);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}.{us:06}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_by_their_first_moment() {
        assert_eq!(stamp(WallNs(1_617_643_606_805_714_120)), "20210405T172646.805714Z");
    }
}
