//! Nonces of one API key across threads, processes and restarts.
//!
//! A file holds the highest nonce ever given out. Giving out one is: lock the file, read the mark,
//! step past it, write it back, unlock; the mark is in the file before the nonce is used. Giving
//! out a block at a time would be faster and wrong: of two processes the one with the older block
//! would then send smaller nonces later.
//!
//! After `kill -9` the file is right, because the kernel has the write. After a loss of power the
//! last writes may be missing, so a second mark, ahead of the first, is synced to disk each time it
//! is reached; a file from an earlier boot continues above that one.
//!
//! A second lock, held while a call is made, keeps two processes from having calls of one key in
//! flight: the network may swap them.

use crate::base::limits::NONCE_MAX;
use crate::base::nonce::{nonce_after, nonce_past, step_span_us};
use parking_lot::Mutex;
use sha2::{Digest, Sha384};
use std::cell::Cell;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

const RECORD_SIZE: usize = 48;
const MAGIC: &[u8; 8] = b"gnonce01";
/// How far the synced mark is ahead, microseconds: nonces follow the clock, so that it is synced
/// about once in so long.
const AHEAD_US: u64 = 5_000_000;

/// Why a nonce cannot be given out.
#[derive(Debug)]
pub enum NonceError {
    Io {
        path: PathBuf,
        error: io::Error,
    },
    /// The file was changed by somebody else while it was in use.
    Damaged {
        path: PathBuf,
    },
    /// The key has reached 2^53.
    UsedUp {
        path: PathBuf,
    },
}
impl fmt::Display for NonceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NonceError::Io { path, error } => {
                write!(f, "the nonce file {}: {error}; no call was made", path.display())
            }
            NonceError::Damaged { path } => write!(
                f,
                "the nonce file {} was damaged while in use; no call was made. Restart to begin \
                 from the clock",
                path.display()
            ),
            NonceError::UsedUp { path } => write!(
                f,
                "the nonces of {} are used up: this key can never sign again, make a new one",
                path.display()
            ),
        }
    }
}

/// What was found when a file was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// There was none.
    New,
    /// Continues where it ended.
    Continued,
    /// From an earlier boot: continues above the synced mark.
    AfterReboot,
    /// It could not be read; begins from the clock. Worth a warning: should the clock have been set
    /// back, the venue will call nonces small.
    Damaged,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    boot: u64,
    last: u64,
    ahead: u64,
}
impl Mark {
    fn encode(&self) -> [u8; RECORD_SIZE] {
        let mut bytes = [0; RECORD_SIZE];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..16].copy_from_slice(&self.boot.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.last.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.ahead.to_le_bytes());
        let sum = crc32fast::hash(&bytes[..32]);
        bytes[32..36].copy_from_slice(&sum.to_le_bytes());
        bytes
    }
    /// `None` where the bytes are not a mark of ours, or one that leaves no nonces.
    fn decode(bytes: &[u8; RECORD_SIZE]) -> Option<Mark> {
        let number = |at: usize| {
            let mut eight = [0; 8];
            eight.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(eight)
        };
        let sum = crc32fast::hash(&bytes[..32]).to_le_bytes();
        let mark = Mark { boot: number(8), last: number(16), ahead: number(24) };
        let is_ours = &bytes[..8] == MAGIC && bytes[32..36] == sum;
        (is_ours && mark.last <= NONCE_MAX && mark.ahead <= NONCE_MAX).then_some(mark)
    }
}

/// The mark of one key. Shared by reference; each process opens its own.
#[derive(Debug)]
pub struct NonceStore {
    path: PathBuf,
    file: Mutex<File>,
    boot: u64,
    /// Where this process's last step past somebody else's nonces led, and how long it was,
    /// microseconds.
    stepped: Mutex<(u64, u64)>,
}

/// The file of a key below `dir`: named by a hash, because the id itself is nobody's business.
pub fn nonce_path(dir: &Path, key_id: &str) -> PathBuf {
    let digest = Sha384::digest(key_id.as_bytes());
    let name: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    dir.join(format!("nonce-{name}"))
}

/// Number of this boot of the machine; 0 where the kernel does not say.
fn boot_number() -> u64 {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let hex: String = id.chars().filter(char::is_ascii_hexdigit).take(16).collect();
    u64::from_str_radix(&hex, 16).unwrap_or(0)
}

fn open_private(path: &Path) -> io::Result<File> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

impl NonceStore {
    /// Opens the file, makes it if need be.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(path: &Path) -> Result<(NonceStore, Opening), NonceError> {
        let wrap = |error| NonceError::Io { path: path.to_owned(), error };
        let file = open_private(path).map_err(wrap)?;
        let store = NonceStore {
            path: path.to_owned(),
            file: Mutex::new(file),
            boot: boot_number(),
            stepped: Mutex::new((0, 0)),
        };
        let opening = store.begin().map_err(wrap)?;
        Ok((store, opening))
    }
    fn begin(&self) -> io::Result<Opening> {
        let file = self.file.lock();
        file.lock()?;
        let result = self.begin_locked(&file);
        file.unlock()?;
        result
    }
    fn begin_locked(&self, file: &File) -> io::Result<Opening> {
        let size = file.metadata()?.len();
        let (mut mark, opening) = match read_mark(file)? {
            Some(mark) if mark.boot == self.boot => return Ok(self.continued(mark)),
            Some(mark) => (Mark { last: mark.last.max(mark.ahead), ..mark }, Opening::AfterReboot),
            None if size == 0 => (Mark { boot: 0, last: 0, ahead: 0 }, Opening::New),
            None => (Mark { boot: 0, last: 0, ahead: 0 }, Opening::Damaged),
        };
        mark.boot = self.boot;
        mark.ahead = mark.ahead.max(mark.last);
        file.set_len(RECORD_SIZE as u64)?;
        file.write_all_at(&mark.encode(), 0)?;
        file.sync_all()?;
        Ok(opening)
    }
    fn continued(&self, mark: Mark) -> Opening {
        if mark.last == 0 { Opening::New } else { Opening::Continued }
    }

    /// A nonce larger than any given out for this key, by whichever process. Blocks for as long as
    /// others take for the same, microseconds.
    ///
    /// # Errors
    /// The nonce must not be used then, and none is.
    pub fn next(&self, now_us: u64) -> Result<u64, NonceError> {
        self.update(|last| nonce_after(last, now_us))
    }
    /// The venue called a nonce small: the next one is ten seconds further, or twice as far as the
    /// step just before, or one further where that would leave what clocks can say.
    ///
    /// # Errors
    /// As `next`.
    pub fn step_past(&self) -> Result<(), NonceError> {
        let mut stepped = self.stepped.lock();
        let (to, span_us) = *stepped;
        let span = Cell::new(0);
        let to = self.update(|last| {
            span.set(step_span_us(last, to, span_us));
            nonce_past(last, span.get())
        })?;
        *stepped = (to, span.get());
        Ok(())
    }
    /// Syncs the mark ahead, so that nonces of the next `AHEAD_US` / 2 need no disk.
    ///
    /// # Errors
    /// As `next`.
    pub fn prepare(&self, now_us: u64) -> Result<(), NonceError> {
        let file = self.file.lock();
        file.lock().map_err(|error| self.wrap(error))?;
        let result = self.prepare_locked(&file, now_us);
        let unlocked = file.unlock().map_err(|error| self.wrap(error));
        result.and(unlocked)
    }
    fn prepare_locked(&self, file: &File, now_us: u64) -> Result<(), NonceError> {
        let mark = read_mark(file).map_err(|error| self.wrap(error))?;
        let mut mark = mark.ok_or_else(|| NonceError::Damaged { path: self.path.clone() })?;
        let wanted = now_us.max(mark.last).saturating_add(AHEAD_US / 2);
        if wanted <= mark.ahead || wanted > NONCE_MAX {
            return Ok(());
        }
        mark.ahead = wanted.saturating_add(AHEAD_US / 2).min(NONCE_MAX);
        file.write_all_at(&mark.encode(), 0).map_err(|error| self.wrap(error))?;
        file.sync_data().map_err(|error| self.wrap(error))
    }
    /// The highest nonce given out so far, 0 for none.
    ///
    /// # Errors
    /// As `next`.
    pub fn last(&self) -> Result<u64, NonceError> {
        let file = self.file.lock();
        let mark = read_mark(&file).map_err(|error| self.wrap(error))?;
        mark.map(|mark| mark.last).ok_or_else(|| NonceError::Damaged { path: self.path.clone() })
    }
    fn wrap(&self, error: io::Error) -> NonceError {
        NonceError::Io { path: self.path.clone(), error }
    }
    fn update(&self, step: impl Fn(u64) -> Option<u64>) -> Result<u64, NonceError> {
        let file = self.file.lock();
        file.lock().map_err(|error| self.wrap(error))?;
        let result = self.update_locked(&file, step);
        // An unlock cannot fail on a file that is locked; closing would unlock it anyway.
        let unlocked = file.unlock().map_err(|error| self.wrap(error));
        result.and_then(|nonce| unlocked.map(|()| nonce))
    }
    fn update_locked(
        &self,
        file: &File,
        step: impl Fn(u64) -> Option<u64>,
    ) -> Result<u64, NonceError> {
        let mark = read_mark(file).map_err(|error| self.wrap(error))?;
        let mut mark = mark.ok_or_else(|| NonceError::Damaged { path: self.path.clone() })?;
        let used_up = || NonceError::UsedUp { path: self.path.clone() };
        let next = step(mark.last).ok_or_else(used_up)?;
        mark.last = next;
        let must_sync = next > mark.ahead;
        if must_sync {
            mark.ahead = next.saturating_add(AHEAD_US).min(NONCE_MAX);
        }
        file.write_all_at(&mark.encode(), 0).map_err(|error| self.wrap(error))?;
        if must_sync {
            file.sync_data().map_err(|error| self.wrap(error))?;
        }
        Ok(next)
    }
}

fn read_mark(file: &File) -> io::Result<Option<Mark>> {
    let mut bytes = [0; RECORD_SIZE];
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => Ok(Mark::decode(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// One lane's door to the calls of a key: across processes one call at a time.
#[derive(Debug)]
pub struct CallGate {
    file: File,
}
/// Held while a call is made.
#[derive(Debug)]
pub struct CallPass<'a>(&'a File);

impl CallGate {
    /// The gate beside a nonce file.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(nonce_path: &Path) -> Result<CallGate, NonceError> {
        let path = nonce_path.with_extension("call");
        let file = open_private(&path).map_err(|error| NonceError::Io { path, error })?;
        Ok(CallGate { file })
    }
    /// Waits at most `patience` for calls of other processes to end. `None`: one is still in
    /// flight; what must go all the same may, the venue's refusal of the smaller nonce is harmless.
    pub fn enter(&mut self, patience: Duration) -> Option<CallPass<'_>> {
        const STEP: Duration = Duration::from_millis(1);
        let mut waited = Duration::ZERO;
        loop {
            if self.file.try_lock().is_ok() {
                return Some(CallPass(&self.file));
            }
            if waited >= patience {
                return None;
            }
            // Kernel locks have no time-out; a millisecond is nothing beside a call.
            std::thread::park_timeout(STEP);
            waited += STEP;
        }
    }
}
impl Drop for CallPass<'_> {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::nonce::STEP_PAST_US;
    use crate::io::files::TestDir;
    use std::os::unix::fs::PermissionsExt;

    const NOW_US: u64 = 1_700_000_000_000_000;

    #[test]
    fn a_restart_continues_even_with_the_clock_set_back() {
        let dir = TestDir::new("nonce");
        let path = nonce_path(dir.path(), "key");
        let (store, opening) = NonceStore::open(&path).unwrap();
        assert_eq!(opening, Opening::New);
        assert_eq!(store.next(NOW_US).unwrap(), NOW_US);
        assert_eq!(store.next(NOW_US).unwrap(), NOW_US + 1);
        drop(store);
        let (store, opening) = NonceStore::open(&path).unwrap();
        assert_eq!(opening, Opening::Continued);
        assert_eq!(store.next(5).unwrap(), NOW_US + 2);
        assert_eq!(store.last().unwrap(), NOW_US + 2);
    }

    #[test]
    fn after_a_reboot_it_continues_above_the_synced_mark() {
        let dir = TestDir::new("reboot");
        let path = dir.path().join("n");
        let (store, _) = NonceStore::open(&path).unwrap();
        store.next(NOW_US).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let mark = read_mark(&file).unwrap().unwrap();
        assert_eq!(mark.ahead, NOW_US + AHEAD_US);
        // Another boot, and the writes after the last sync are lost.
        let lost = Mark { boot: mark.boot ^ 1, last: NOW_US - 7, ..mark };
        file.write_all_at(&lost.encode(), 0).unwrap();
        let (store, opening) = NonceStore::open(&path).unwrap();
        assert_eq!(opening, Opening::AfterReboot);
        assert_eq!(store.next(NOW_US).unwrap(), NOW_US + AHEAD_US + 1);
    }

    #[test]
    fn a_damaged_file_is_told_and_begins_from_the_clock() {
        let dir = TestDir::new("damaged");
        let path = dir.path().join("n");
        for bytes in [&b"rubbish"[..], &[0; RECORD_SIZE], &[7; 100]] {
            fs::write(&path, bytes).unwrap();
            let (store, opening) = NonceStore::open(&path).unwrap();
            assert_eq!(opening, Opening::Damaged);
            assert_eq!(store.next(NOW_US).unwrap(), NOW_US);
        }
        // While it is in use, nothing is guessed.
        let (store, _) = NonceStore::open(&path).unwrap();
        fs::write(&path, b"").unwrap();
        let error = store.next(NOW_US).unwrap_err();
        assert!(error.to_string().contains("no call was made"), "{error}");
    }

    #[test]
    fn files_are_private_and_names_do_not_tell_the_key() {
        let dir = TestDir::new("private");
        let path = nonce_path(&dir.path().join("below"), "SECRET-ID");
        NonceStore::open(&path).unwrap();
        CallGate::open(&path).unwrap();
        assert!(!path.to_string_lossy().contains("SECRET"));
        for (path, mode) in [
            (path.clone(), 0o600),
            (path.with_extension("call"), 0o600),
            (path.parent().unwrap().to_owned(), 0o700),
        ] {
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
        }
        let error = NonceStore::open(Path::new("/proc/none/nonce")).unwrap_err();
        assert!(error.to_string().contains("/proc/none/nonce"), "{error}");
    }

    #[test]
    fn a_small_nonce_is_stepped_past() {
        let dir = TestDir::new("small");
        let (store, _) = NonceStore::open(&dir.path().join("n")).unwrap();
        let first = store.next(NOW_US).unwrap();
        store.step_past().unwrap();
        let second = store.next(NOW_US).unwrap();
        assert!(second > first + STEP_PAST_US);
        store.step_past().unwrap();
        assert!(store.next(NOW_US).unwrap() > second + 2 * STEP_PAST_US, "twice as far");
    }

    #[test]
    fn a_gate_lets_one_call_through_and_is_patient_only_so_long() {
        let dir = TestDir::new("gate");
        let path = dir.path().join("n");
        let (mut first, mut second) =
            (CallGate::open(&path).unwrap(), CallGate::open(&path).unwrap());
        let pass = first.enter(Duration::ZERO).unwrap();
        assert!(second.enter(Duration::from_millis(20)).is_none());
        drop(pass);
        assert!(second.enter(Duration::ZERO).is_some());
        assert!(first.enter(Duration::ZERO).is_some());
    }
}
