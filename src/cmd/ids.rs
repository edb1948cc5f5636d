//! Client ids never come twice, across runs too: each run takes a block of numbers, and the file
//! that says so is on disk before the first order.

use crate::base::limits::CID_MAX;
use crate::engine::orders;
use crate::ops::rundir::write_atomic;
use std::io;
use std::path::{Path, PathBuf};

/// The block that this run draws from.
pub(super) struct CidBlock {
    path: PathBuf,
    block: orders::CidBlock,
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
        let (block, mark) = orders::CidBlock::take(used);
        let block = CidBlock { path, block };
        block.store(mark)?;
        Ok(block)
    }
    /// Highest id of any earlier run.
    pub(super) fn used(&self) -> u64 {
        self.block.used()
    }
    /// Takes more once `opened` orders have used half of what is left.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn keep_ahead(&mut self, opened: u64) -> Result<(), String> {
        self.block.keep_ahead(opened).map_or(Ok(()), |mark| self.store(mark))
    }
    fn store(&self, mark: u64) -> Result<(), String> {
        write_atomic(&self.path, format!("{mark}\n").as_bytes())
            .map_err(|error| format!("`{}`: {error}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::orders::BLOCK_IDS;

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
