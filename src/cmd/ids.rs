//! Client ids never come twice, across runs too: a file says how far a run may go, and is on disk
//! before it gets there. How far that is, `engine::orders` says.

use crate::base::ids::Cid;
use crate::base::limits::CID_MAX;
use crate::base::time::WallNs;
use crate::engine::orders::CidBlock;
use crate::ops::rundir::write_atomic;
use std::io;
use std::path::{Path, PathBuf};

/// What this run may use.
pub(super) struct CidMark {
    path: PathBuf,
    block: CidBlock,
    /// What the file says.
    told: u64,
}

impl CidMark {
    /// Opens the mark of `account` under `root` and moves it ahead of `now`.
    ///
    /// # Errors
    /// The file cannot be read or written, or does not hold a number: guessing would risk an id
    /// twice.
    pub(super) fn open(root: &Path, account: &str, now: WallNs) -> Result<CidMark, String> {
        let path = root.join(format!("cid-{account}"));
        let used = read_mark(&path)?.unwrap_or(0);
        let (block, until) = CidBlock::take(used, now);
        let mut mark = CidMark { path, block, told: used };
        mark.write(until)?;
        Ok(mark)
    }
    /// Highest id that any earlier run may have used.
    pub(super) fn used(&self) -> u64 {
        self.block.used()
    }
    /// Moves the mark once `last` has come near it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn keep_ahead(&mut self, last: Cid) -> Result<(), String> {
        let Some(until) = self.block.keep_ahead(last) else { return Ok(()) };
        // Never down: another process may have taken ids meanwhile, to kill.
        let told = read_mark(&self.path)?.unwrap_or(0);
        self.write(told.max(until))
    }
    /// The run ended by itself: ids above `last` were not used, unless somebody else took some.
    ///
    /// # Errors
    /// The file cannot be written; the next run then begins higher than it must.
    pub(super) fn close(mut self, last: Cid) -> Result<(), String> {
        let is_ours = read_mark(&self.path)? == Some(self.told);
        if is_ours { self.write(last.0.max(self.used())) } else { Ok(()) }
    }
    fn write(&mut self, until: u64) -> Result<(), String> {
        write_atomic(&self.path, format!("{until}\n").as_bytes())
            .map_err(|error| format!("`{}`: {error}", self.path.display()))?;
        self.told = until;
        Ok(())
    }
}

/// What the file says; `None` where there is none.
fn read_mark(path: &Path) -> Result<Option<u64>, String> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("`{}`: {error}", path.display())),
    };
    let used = text.trim().parse::<u64>().ok().filter(|used| *used <= CID_MAX);
    used.map(Some).ok_or_else(|| {
        format!(
            "`{}` does not hold a number from 0 to {CID_MAX}: write into it the highest client id \
             that may have been used, so that none comes twice",
            path.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_runs_share_an_id_and_a_broken_file_is_refused() {
        let dir = std::env::temp_dir().join(format!("genesis-cid-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let open = |now_ms| CidMark::open(&dir, "a", WallNs::from_ms(now_ms));
        let mut first = open(1_000).unwrap();
        assert_eq!(first.used(), 0);
        first.keep_ahead(Cid(50_000_000)).unwrap();
        drop(first); // killed
        let second = open(2_000).unwrap();
        assert!(second.used() > 50_000_000, "{}", second.used());
        let used = second.used();
        second.close(Cid(used + 7)).unwrap();
        assert_eq!(open(0).unwrap().used(), used + 7, "a run that ends well wastes none");
        let third = open(0).unwrap();
        let other = open(0).unwrap();
        third.close(Cid(1)).unwrap();
        assert!(open(0).unwrap().used() > other.used(), "what another took stays taken");
        std::fs::write(dir.join("cid-a"), "seven").unwrap();
        assert!(open(0).err().unwrap().contains("does not hold a number"));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
