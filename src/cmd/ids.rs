//! Client ids never come twice, across runs too: each run takes a block of numbers, and the file
//! that says so is on disk before the first order.

use crate::base::limits::CID_MAX;
use crate::ops::rundir::write_atomic;
use std::io;
use std::path::{Path, PathBuf};

/// Ids of one block. 2^45 ids are 35 million blocks.
const BLOCK_IDS: u64 = 1_000_000;

/// The block that this run draws from.
pub(super) struct CidBlock {
    path: PathBuf,
    /// Highest id of any earlier run.
    used: u64,
    /// Highest id that this run may use before it takes more.
    until: u64,
}

impl CidBlock {
    /// Takes the next block of `account` under `root`.
    ///
    /// # Errors
    /// The file cannot be read or written, or does not hold a number: guessing would risk an id
    /// twice.
    pub(super) fn take(root: &Path, account: &str) -> Result<CidBlock, String> {
        let path = root.join(format!("cid-{account}"));
        let used = match std::fs::read_to_string(&path) {
            Ok(text) => text.trim().parse::<u64>().ok().filter(|used| *used <= CID_MAX),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(0),
            Err(error) => return Err(format!("`{}`: {error}", path.display())),
        };
        let Some(used) = used else {
            return Err(format!(
                "`{}` does not hold a number from 0 to {CID_MAX}: write into it the highest client \
                 id that may have been used, so that none comes twice",
                path.display()
            ));
        };
        let mut block = CidBlock { path, used, until: used };
        block.extend()?;
        Ok(block)
    }
    /// Highest id of any earlier run.
    pub(super) fn used(&self) -> u64 {
        self.used
    }
    /// Takes more once `opened` orders have used half of what is left.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn keep_ahead(&mut self, opened: u64) -> Result<(), String> {
        if self.used + opened + BLOCK_IDS / 2 > self.until { self.extend() } else { Ok(()) }
    }
    fn extend(&mut self) -> Result<(), String> {
        let until = (self.until + BLOCK_IDS).min(CID_MAX);
        write_atomic(&self.path, format!("{until}\n").as_bytes())
            .map_err(|error| format!("`{}`: {error}", self.path.display()))?;
        self.until = until;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_runs_share_an_id_and_a_broken_file_is_refused() {
        let dir = std::env::temp_dir().join(format!("genesis-cid-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let mut first = CidBlock::take(&dir, "a").unwrap();
        assert_eq!(first.used(), 0);
        first.keep_ahead(BLOCK_IDS).unwrap();
        let second = CidBlock::take(&dir, "a").unwrap();
        assert!(second.used() >= 2 * BLOCK_IDS, "{}", second.used());
        assert_eq!(CidBlock::take(&dir, "b").unwrap().used(), 0);
        std::fs::write(dir.join("cid-a"), "seven").unwrap();
        assert!(CidBlock::take(&dir, "a").err().unwrap().contains("does not hold a number"));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
