//! Client ids never come twice, across runs too: each run takes a block of numbers, and the file
//! that says so is on disk before the first order.

use crate::base::ids::Cid;
use crate::base::limits::CID_MAX;
use crate::base::time::WallNs;
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
    pub(super) fn take(root: &Path, account: &str, now: WallNs) -> Result<CidBlock, String> {
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
        let (block, mark) = orders::CidBlock::take(used, now);
        let block = CidBlock { path, block };
        block.store(mark)?;
        Ok(block)
    }
    /// Highest id of any earlier run.
    pub(super) fn used(&self) -> u64 {
        self.block.used()
    }
    /// Takes more once `last`, the highest id given out, has used half of what is left.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn keep_ahead(&mut self, last: Cid) -> Result<(), String> {
        self.block.keep_ahead(last).map_or(Ok(()), |mark| self.store(mark))
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
        let now = WallNs::from_ms(1_700_000_000_000);
        let mut first = CidBlock::take(&dir, "a", now).unwrap();
        assert_eq!(first.used(), 0);
        let last = Cid(1_700_000_000_000 + BLOCK_IDS);
        first.keep_ahead(last).unwrap();
        let second = CidBlock::take(&dir, "a", now).unwrap();
        assert!(second.used() > last.0, "{}", second.used());
        assert_eq!(CidBlock::take(&dir, "b", now).unwrap().used(), 0);
        std::fs::write(dir.join("cid-a"), "seven").unwrap();
        assert!(CidBlock::take(&dir, "a", now).err().unwrap().contains("does not hold a number"));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
