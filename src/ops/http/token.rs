//! Who may read and who may command: two secrets made at start, kept in files that only the owner
//! can read.

use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use subtle::ConstantTimeEq;

/// Random bytes of a token: 256 bit, twice what is asked for.
const TOKEN_SIZE: usize = 32;
/// File of the run directory with the token that may only read.
pub const READ_TOKEN_FILE: &str = "token.read";
/// File with the token that may command, too.
pub const OPERATE_TOKEN_FILE: &str = "token.operate";

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    Read,
    Operate,
}

/// Digests of the tokens of a run; the tokens themselves stay in their files.
#[derive(Clone)]
pub struct Tokens {
    read: [u8; 32],
    operate: [u8; 32],
}

fn fresh() -> io::Result<String> {
    let mut bytes = [0u8; TOKEN_SIZE];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn digest(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

impl Tokens {
    /// Makes both and writes them into `dir`, readable by the owner alone.
    ///
    /// # Errors
    /// The files cannot be made; they must not exist before.
    pub fn create(dir: &Path) -> io::Result<Tokens> {
        let keep = |name: &str| -> io::Result<[u8; 32]> {
            let token = fresh()?;
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(dir.join(name))?;
            file.write_all(token.as_bytes())?;
            Ok(digest(token.as_bytes()))
        };
        Ok(Tokens { read: keep(READ_TOKEN_FILE)?, operate: keep(OPERATE_TOKEN_FILE)? })
    }
    /// Of tokens that are known already, for tests.
    pub fn of(read: &str, operate: &str) -> Tokens {
        Tokens { read: digest(read.as_bytes()), operate: digest(operate.as_bytes()) }
    }
    /// What `token` allows. Takes the same time whatever it is: digests are compared, both, in
    /// constant time.
    pub fn scope_of(&self, token: &[u8]) -> Option<Scope> {
        let given = digest(token);
        let reads = bool::from(given.ct_eq(&self.read));
        let operates = bool::from(given.ct_eq(&self.operate));
        match (operates, reads) {
            (true, _) => Some(Scope::Operate),
            (false, true) => Some(Scope::Read),
            (false, false) => None,
        }
    }
}

/// A token as its file says.
///
/// # Errors
/// The file cannot be read.
pub fn read_token(dir: &Path, scope: Scope) -> io::Result<String> {
    let name = match scope {
        Scope::Read => READ_TOKEN_FILE,
        Scope::Operate => OPERATE_TOKEN_FILE,
    };
    Ok(std::fs::read_to_string(dir.join(name))?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::rundir::tests::scratch;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn tokens_are_long_private_and_told_apart() {
        let dir = scratch();
        std::fs::create_dir_all(&dir).unwrap();
        let tokens = Tokens::create(&dir).unwrap();
        let (read, operate) =
            (read_token(&dir, Scope::Read).unwrap(), read_token(&dir, Scope::Operate).unwrap());
        assert_eq!((read.len(), operate.len()), (64, 64));
        assert_ne!(read, operate);
        for name in [READ_TOKEN_FILE, OPERATE_TOKEN_FILE] {
            let mode = std::fs::metadata(dir.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        assert_eq!(tokens.scope_of(read.as_bytes()), Some(Scope::Read));
        assert_eq!(tokens.scope_of(operate.as_bytes()), Some(Scope::Operate));
        for wrong in ["", &read[1..], &operate.to_uppercase(), "x"] {
            assert_eq!(tokens.scope_of(wrong.as_bytes()), None, "{wrong}");
        }
        assert!(Tokens::create(&dir).is_err(), "never over files that are there");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
