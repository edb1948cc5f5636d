//! Files of the cold side: a write that is whole or not at all, and lines of plain or gzip text.

use flate2::read::MultiGzDecoder;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

/// Longest line accepted by `Lines`, bytes: a recorded message is at most `MESSAGE_SIZE_MAX`, with
/// room for its frame.
pub const LINE_SIZE_MAX: usize = crate::base::limits::MESSAGE_SIZE_MAX * 2;

/// Replaces `path` by `bytes`: after a crash at any point the file holds the old or the new
/// content, whole.
///
/// # Errors
/// What the file system says; the old content is then untouched.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut temp_name = name.to_os_string();
    temp_name.push(format!(".tmp{}", std::process::id()));
    let temp = path.with_file_name(temp_name);
    let result = write_and_rename(&temp, path, bytes);
    if result.is_err() {
        let _ = fs::remove_file(&temp);
    }
    result
}

fn write_and_rename(temp: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(temp)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(temp, path)?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(parent)?.sync_all()
}

/// Why a text file could not be read to its end.
#[derive(Debug)]
pub enum LineError {
    Io(io::Error),
    /// The gzip stream ends before its trailer: the file was cut.
    Truncated {
        after_line: u64,
    },
    /// The gzip stream is damaged.
    Corrupt {
        after_line: u64,
    },
    TooLong {
        line: u64,
    },
    NotUtf8 {
        line: u64,
    },
}
impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LineError::Io(error) => write!(f, "{error}"),
            LineError::Truncated { after_line } => {
                write!(f, "the gzip file is cut short after line {after_line}: fetch it again")
            }
            LineError::Corrupt { after_line } => {
                write!(f, "the gzip file is damaged after line {after_line}: fetch it again")
            }
            LineError::TooLong { line } => {
                write!(f, "line {line} is longer than {LINE_SIZE_MAX} bytes")
            }
            LineError::NotUtf8 { line } => write!(f, "line {line} is not UTF-8 text"),
        }
    }
}

/// Lines of a text file, unzipped where it begins like gzip, whatever its name.
pub struct Lines {
    reader: Box<dyn BufRead + Send>,
    zipped: bool,
    line: u64,
    buffer: Vec<u8>,
}

impl Lines {
    /// # Errors
    /// What opening the file says.
    pub fn open(path: &Path) -> io::Result<Lines> {
        let mut file = BufReader::with_capacity(256 * 1024, File::open(path)?);
        let zipped = file.fill_buf()?.starts_with(&[0x1f, 0x8b]);
        let reader: Box<dyn BufRead + Send> = if zipped {
            Box::new(BufReader::with_capacity(256 * 1024, MultiGzDecoder::new(file)))
        } else {
            Box::new(file)
        };
        Ok(Lines { reader, zipped, line: 0, buffer: Vec::new() })
    }
    /// Lines given so far.
    pub fn count(&self) -> u64 {
        self.line
    }
    /// The next line without its end; `None` at the end of the file.
    ///
    /// # Errors
    /// `LineError`, after which nothing more should be asked.
    pub fn next_line(&mut self) -> Result<Option<&str>, LineError> {
        self.buffer.clear();
        let limit = LINE_SIZE_MAX as u64 + 1;
        let read = self.reader.by_ref().take(limit).read_until(b'\n', &mut self.buffer);
        match read {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(LineError::Truncated { after_line: self.line });
            }
            Err(error)
                if self.zipped
                    && matches!(
                        error.kind(),
                        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData
                    ) =>
            {
                return Err(LineError::Corrupt { after_line: self.line });
            }
            Err(error) => return Err(LineError::Io(error)),
            Ok(0) => return Ok(None),
            Ok(_) => {}
        }
        self.line += 1;
        if self.buffer.len() > LINE_SIZE_MAX {
            return Err(LineError::TooLong { line: self.line });
        }
        if self.buffer.last() == Some(&b'\n') {
            self.buffer.pop();
        }
        if self.buffer.last() == Some(&b'\r') {
            self.buffer.pop();
        }
        match std::str::from_utf8(&self.buffer) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(LineError::NotUtf8 { line: self.line }),
        }
    }
}

/// Where write-ahead segments go when the config does not say: tmpfs if there is one, else the
/// temporary directory. The user's number is in the name, so that users do not meet.
pub fn default_wal_dir(name: &str) -> PathBuf {
    let shm = Path::new("/dev/shm");
    let base = if shm.is_dir() { shm.to_path_buf() } else { std::env::temp_dir() };
    base.join(format!("genesis-{}-{name}", crate::io::syscall::effective_user()))
}

/// A directory of one test, gone afterwards.
#[cfg(test)]
pub(crate) struct TestDir(PathBuf);
#[cfg(test)]
impl TestDir {
    pub(crate) fn new(name: &str) -> TestDir {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = default_wal_dir(&format!("test-{}-{name}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        TestDir(dir)
    }
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}
#[cfg(test)]
impl Drop for TestDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    fn zip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }
    fn all(path: &Path) -> Result<Vec<String>, LineError> {
        let mut lines = Lines::open(path).unwrap();
        let mut found = Vec::new();
        while let Some(line) = lines.next_line()? {
            found.push(line.to_owned());
        }
        assert_eq!(lines.count(), found.len() as u64);
        Ok(found)
    }

    #[test]
    fn plain_gzip_and_joined_gzip_give_the_same_lines() {
        let dir = TestDir::new("lines");
        let path = dir.path().join("lines");
        let text = b"one\r\n\ntwo\nthree";
        for bytes in [text.to_vec(), zip(text), [zip(b"one\n\ntw"), zip(b"o\nthree\n")].concat()] {
            fs::write(&path, bytes).unwrap();
            assert_eq!(all(&path).unwrap(), ["one", "", "two", "three"]);
        }
    }

    #[test]
    fn a_cut_gzip_file_says_so_and_a_damaged_one_too() {
        let dir = TestDir::new("cut");
        let path = dir.path().join("cut.gz");
        let text: String = (0..5_000).map(|n| format!("line {} {n}\n", n * 7_919)).collect();
        let zipped = zip(text.as_bytes());
        fs::write(&path, &zipped[..zipped.len() / 2]).unwrap();
        assert!(matches!(all(&path), Err(LineError::Truncated { after_line }) if after_line > 0));
        let mut damaged = zipped.clone();
        let last = damaged.len() - 6;
        damaged[last] ^= 0xff;
        fs::write(&path, damaged).unwrap();
        assert!(matches!(all(&path), Err(LineError::Corrupt { .. })), "{:?}", all(&path));
    }

    #[test]
    fn bytes_that_are_not_text_and_endless_lines_are_refused_with_their_number() {
        let dir = TestDir::new("bad");
        let path = dir.path().join("bad");
        fs::write(&path, b"good\n\xff\xfe\n").unwrap();
        assert!(matches!(all(&path), Err(LineError::NotUtf8 { line: 2 })));
        fs::write(&path, vec![b'a'; LINE_SIZE_MAX + 2]).unwrap();
        assert!(matches!(all(&path), Err(LineError::TooLong { line: 1 })));
    }

    #[test]
    fn an_atomic_write_replaces_whole_and_leaves_nothing_behind() {
        let dir = TestDir::new("atomic");
        let path = dir.path().join("state");
        write_atomic(&path, b"old").unwrap();
        write_atomic(&path, b"new, longer").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new, longer");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(write_atomic(&dir.path().join("absent/state"), b"x").is_err());
    }
}
