//! The exchange's memory on disk: two slots written in turn, each with a generation and a checksum.
//!
//! A write that a `kill -9` cuts in two damages one slot only; the other still holds the state
//! before. The bytes are not forced to the platter: this survives the process, not the machine.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const MAGIC: [u8; 8] = *b"GENVENU1";
/// Magic, generation, length, CRC-32 of everything else.
const HEADER_SIZE: usize = 8 + 8 + 8 + 4;
/// Longest state read back, bytes: an exchange with a million trades is about 100 MB.
const STATE_SIZE_MAX: u64 = 1 << 30;

/// Why a state file cannot be used.
#[derive(Debug)]
pub enum StateFileError {
    /// A slot cannot be opened, read or written.
    Io { path: PathBuf, cause: io::Error },
    /// Slots are there, but none holds a whole state.
    Damaged { path: PathBuf },
}

impl fmt::Display for StateFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, cause } => write!(
                f,
                "state file {}: {cause}; expected a place this user can read and write: name \
                 another",
                path.display()
            ),
            Self::Damaged { path } => write!(
                f,
                "state file {}: neither slot holds a whole state; expected files written by an \
                 earlier run: move them away to start with fresh accounts",
                path.display()
            ),
        }
    }
}
impl std::error::Error for StateFileError {}

/// Two files, `PATH.a` and `PATH.b`.
#[derive(Debug)]
pub struct StateFile {
    slots: [(PathBuf, File); 2],
    generation: u64,
    buffer: Vec<u8>,
}

impl StateFile {
    /// Opens or makes the slots; the newest whole state where there is one.
    ///
    /// # Errors
    /// [`StateFileError`].
    pub fn open(path: &Path) -> Result<(Self, Option<Vec<u8>>), StateFileError> {
        let mut newest: Option<(u64, Vec<u8>)> = None;
        let mut damaged = false;
        let mut open = |suffix: &str| {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            let path = PathBuf::from(name);
            let failed = |cause| StateFileError::Io { path: path.clone(), cause };
            let mut options = std::fs::OpenOptions::new();
            let file = options.read(true).write(true).create(true).truncate(false).open(&path);
            let mut file = file.map_err(failed)?;
            match read_slot(&mut file).map_err(failed)? {
                Slot::Empty => {}
                Slot::Damaged => damaged = true,
                Slot::Whole(generation, state) => {
                    if newest.as_ref().is_none_or(|(known, _)| *known < generation) {
                        newest = Some((generation, state));
                    }
                }
            }
            Ok((path, file))
        };
        let slots = [open(".a")?, open(".b")?];
        if newest.is_none() && damaged {
            return Err(StateFileError::Damaged { path: path.to_owned() });
        }
        let (generation, state) = match newest {
            Some((generation, state)) => (generation, Some(state)),
            None => (0, None),
        };
        Ok((Self { slots, generation, buffer: Vec::new() }, state))
    }

    /// Writes the next generation into the slot that does not hold the last one.
    ///
    /// # Errors
    /// `Io`; the last state is still whole then.
    pub fn write(&mut self, state: &[u8]) -> Result<(), StateFileError> {
        let generation = self.generation + 1;
        self.buffer.clear();
        self.buffer.extend_from_slice(&MAGIC);
        self.buffer.extend_from_slice(&generation.to_le_bytes());
        self.buffer.extend_from_slice(&(state.len() as u64).to_le_bytes());
        self.buffer.extend_from_slice(&checksum(&self.buffer, state).to_le_bytes());
        self.buffer.extend_from_slice(state);
        let (path, file) = &self.slots[(generation % 2) as usize];
        file.write_all_at(&self.buffer, 0)
            .map_err(|cause| StateFileError::Io { path: path.clone(), cause })?;
        self.generation = generation;
        Ok(())
    }
}

enum Slot {
    Empty,
    Damaged,
    Whole(u64, Vec<u8>),
}

fn read_slot(file: &mut File) -> io::Result<Slot> {
    let mut bytes = Vec::new();
    file.take(STATE_SIZE_MAX + HEADER_SIZE as u64).read_to_end(&mut bytes)?;
    if bytes.is_empty() {
        return Ok(Slot::Empty);
    }
    if bytes.len() < HEADER_SIZE || bytes[..8] != MAGIC {
        return Ok(Slot::Damaged);
    }
    let number = |at: usize| {
        let mut eight = [0; 8];
        eight.copy_from_slice(&bytes[at..at + 8]);
        u64::from_le_bytes(eight)
    };
    let (generation, size) = (number(8), number(16));
    // A state shorter than the one before leaves old bytes behind its end; they do not count.
    let Some(state) = bytes[HEADER_SIZE..].get(..usize::try_from(size).unwrap_or(usize::MAX))
    else {
        return Ok(Slot::Damaged);
    };
    if checksum(&bytes[..24], state).to_le_bytes() != bytes[24..HEADER_SIZE] {
        return Ok(Slot::Damaged);
    }
    Ok(Slot::Whole(generation, state.to_vec()))
}

fn checksum(header: &[u8], state: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    hasher.update(state);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct TempState(PathBuf);
    impl TempState {
        fn new(name: &str) -> Self {
            let name = format!("genesis-state-{}-{name}", std::process::id());
            let state = Self(std::env::temp_dir().join(name));
            state.remove();
            state
        }
        fn slot(&self, suffix: &str) -> PathBuf {
            PathBuf::from(format!("{}{suffix}", self.0.display()))
        }
        fn remove(&self) {
            let _ = std::fs::remove_file(self.slot(".a"));
            let _ = std::fs::remove_file(self.slot(".b"));
        }
    }
    impl Drop for TempState {
        fn drop(&mut self) {
            self.remove();
        }
    }

    #[test]
    fn the_newest_whole_state_comes_back() {
        let temp = TempState::new("newest");
        let (mut file, state) = StateFile::open(&temp.0).unwrap();
        assert_eq!(state, None);
        for state in [&b"one, the longest of them"[..], b"two", b"three"] {
            file.write(state).unwrap();
        }
        let (mut file, state) = StateFile::open(&temp.0).unwrap();
        assert_eq!(state.as_deref(), Some(&b"three"[..]));
        file.write(b"four").unwrap();
        assert_eq!(StateFile::open(&temp.0).unwrap().1.as_deref(), Some(&b"four"[..]));
    }

    #[test]
    fn a_write_cut_anywhere_leaves_the_state_before_or_the_new_one() {
        let temp = TempState::new("torn");
        let (mut file, _) = StateFile::open(&temp.0).unwrap();
        file.write(b"generation one").unwrap();
        file.write(b"generation two").unwrap();
        let slot = temp.slot(".a");
        let before = std::fs::read(&slot).unwrap();
        file.write(b"generation 3").unwrap();
        file.write(b"generation four").unwrap();
        let after = std::fs::read(&slot).unwrap();
        for cut in 0..=after.len() {
            let mut torn = before.clone();
            torn.resize(after.len().max(before.len()), 0);
            torn[..cut].copy_from_slice(&after[..cut]);
            std::fs::write(&slot, &torn).unwrap();
            let state = StateFile::open(&temp.0).unwrap().1.unwrap();
            // The slot is whole and newest, or damaged, or still the old one.
            let expected: &[u8] =
                if cut == after.len() { b"generation four" } else { b"generation 3" };
            assert_eq!(state, expected, "cut at {cut}");
        }
    }

    #[test]
    fn two_damaged_slots_are_refused_not_forgotten() {
        let temp = TempState::new("damaged");
        std::fs::write(temp.slot(".a"), b"nonsense").unwrap();
        let error = StateFile::open(&temp.0).unwrap_err().to_string();
        assert!(error.contains("neither slot holds a whole state"), "{error}");
    }
}
