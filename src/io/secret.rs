//! Keys from files: read once, only where nobody else can read them, wiped when dropped.

use crate::io::syscall::effective_user;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Longest file of a key, bytes.
const SIZE_MAX: u64 = 4_096;

/// An API key as it was read: two lines, id and secret.
pub struct SecretPair {
    pub id: Zeroizing<String>,
    pub secret: Zeroizing<String>,
}
impl fmt::Debug for SecretPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretPair(…)")
    }
}

/// Why a file gives no key. Never tells what is in it.
#[derive(Debug)]
pub enum SecretError {
    Io {
        path: PathBuf,
        error: io::Error,
    },
    NotAFile {
        path: PathBuf,
    },
    /// Others may read or change it.
    Mode {
        path: PathBuf,
        mode: u32,
    },
    /// It belongs to another user.
    Owner {
        path: PathBuf,
        owner: u32,
    },
    /// Its directory lets others replace it.
    Directory {
        path: PathBuf,
        mode: u32,
    },
    /// Not two lines of text.
    Content {
        path: PathBuf,
    },
}
impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretError::Io { path, error } => write!(f, "key file {}: {error}", path.display()),
            SecretError::NotAFile { path } => {
                write!(f, "key file {}: is not a plain file", path.display())
            }
            SecretError::Mode { path, mode } => write!(
                f,
                "key file {0}: others can read or change it (mode {mode:04o}); chmod 0400 {0}",
                path.display()
            ),
            SecretError::Owner { path, owner } => write!(
                f,
                "key file {}: belongs to user {owner}, not to the one that runs this; chown it",
                path.display()
            ),
            SecretError::Directory { path, mode } => write!(
                f,
                "directory {} of the key file: anybody may replace files in it (mode {mode:04o}); \
                 keep the key elsewhere",
                path.display()
            ),
            SecretError::Content { path } => write!(
                f,
                "key file {}: must hold two lines, the API key and its secret",
                path.display()
            ),
        }
    }
}

/// Reads a key. The file must be the user's own (or root's, as systemd's credentials are), with no
/// rights for others.
///
/// # Errors
/// See `SecretError`.
pub fn read_key_file(path: &Path) -> Result<SecretPair, SecretError> {
    let wrap = |error| SecretError::Io { path: path.to_owned(), error };
    // A pipe or a device would hang here; what it is, is looked at before it is read.
    let mut options = File::options();
    options.read(true).custom_flags(O_NONBLOCK);
    let file = options.open(path).map_err(wrap)?;
    // Of the open file, not of the name: nobody can swap it in between.
    let facts = file.metadata().map_err(wrap)?;
    if !facts.is_file() {
        return Err(SecretError::NotAFile { path: path.to_owned() });
    }
    if facts.mode() & 0o077 != 0 {
        return Err(SecretError::Mode { path: path.to_owned(), mode: facts.mode() & 0o7777 });
    }
    if facts.uid() != effective_user() && facts.uid() != 0 {
        return Err(SecretError::Owner { path: path.to_owned(), owner: facts.uid() });
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let directory = parent.metadata().map_err(wrap)?;
    let sticky = directory.mode() & 0o1000 != 0;
    if directory.mode() & 0o002 != 0 && !sticky {
        let mode = directory.mode() & 0o7777;
        return Err(SecretError::Directory { path: parent.to_owned(), mode });
    }
    let content = || SecretError::Content { path: path.to_owned() };
    // One place of the right size: growing would leave copies behind.
    let mut text = Zeroizing::new(String::with_capacity(SIZE_MAX as usize + 1));
    match file.take(SIZE_MAX + 1).read_to_string(&mut text) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(content()),
        Err(error) => return Err(wrap(error)),
    }
    if text.len() as u64 > SIZE_MAX {
        return Err(content());
    }
    parse_pair(&text).ok_or_else(content)
}

/// Two lines, id and secret; spaces around them and empty lines do not count.
pub fn parse_pair(text: &str) -> Option<SecretPair> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let (id, secret) = (lines.next()?, lines.next()?);
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    if lines.next().is_some() || !plain(id) || !plain(secret) {
        return None;
    }
    Some(SecretPair {
        id: Zeroizing::new(id.to_owned()),
        secret: Zeroizing::new(secret.to_owned()),
    })
}

/// `O_NONBLOCK` of Linux.
const O_NONBLOCK: i32 = 0o4000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::files::TestDir;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    const CANARY: &str = "CANARY-0f3c-SECRET";

    #[test]
    fn six_modes_and_which_of_them_are_read() {
        let dir = TestDir::new("key-modes");
        let path = dir.path().join("key");
        fs::write(&path, format!("id\n{CANARY}\n")).unwrap();
        for (mode, fine) in [
            (0o400, true),
            (0o600, true),
            (0o640, false),
            (0o644, false),
            (0o604, false),
            (0o666, false),
        ] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            match read_key_file(&path) {
                Ok(pair) => {
                    assert!(fine, "{mode:o}");
                    assert_eq!((pair.id.as_str(), pair.secret.as_str()), ("id", CANARY));
                }
                Err(error) => {
                    assert!(!fine, "{mode:o}: {error}");
                    assert!(error.to_string().contains("chmod 0400"), "{error}");
                }
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said_and_what_is_in_it_is_not() {
        let dir = TestDir::new("key-content");
        let path = dir.path().join("key");
        let long = format!("id\n{}\n", "x".repeat(5_000));
        let one = format!("{CANARY}\n");
        let three = format!("id\n{CANARY}\nmore\n");
        let space = format!("id\n{CANARY} {CANARY}\n");
        for text in ["", "\n\n", &one, &three, &space, &long] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            let error = read_key_file(&path).unwrap_err();
            assert!(matches!(error, SecretError::Content { .. }), "{text:?}: {error}");
            assert!(!format!("{error} {error:?}").contains("CANARY"), "{error}");
        }
        fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(matches!(read_key_file(&path), Err(SecretError::Content { .. })));
        assert!(matches!(read_key_file(dir.path()), Err(SecretError::NotAFile { .. })));
        let absent = read_key_file(&dir.path().join("absent")).unwrap_err();
        assert!(matches!(absent, SecretError::Io { .. }));
        assert_eq!(format!("{:?}", parse_pair("a\nb").unwrap()), "SecretPair(…)");
    }

    #[test]
    fn a_directory_where_anybody_may_replace_files_is_refused() {
        let dir = TestDir::new("key-dir");
        let path = dir.path().join("key");
        fs::write(&path, "id\nsecret\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(read_key_file(&path), Err(SecretError::Directory { .. })));
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o1777)).unwrap();
        assert!(read_key_file(&path).is_ok());
    }
}
