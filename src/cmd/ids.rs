//! Client ids never come twice, across runs too. The ledger gives out `max(last + 1, milliseconds
//! now)`; a file says how far it may go, and is on disk before it gets there.

use crate::base::limits::CID_MAX;
use crate::ops::rundir::write_atomic;
use std::io;
use std::path::{Path, PathBuf};

/// How far ahead of the last id the file is kept: an hour of milliseconds. Ids follow the clock of
/// the stamps; in a run at high speed that is killed, they may have gone further.
const AHEAD_IDS: u64 = 3_600_000;

/// What this run may use.
pub(super) struct CidMark {
    path: PathBuf,
    /// Highest id that any earlier run may have used.
    used: u64,
    /// Highest id that the file allows this run.
    until: u64,
}

impl CidMark {
    /// Opens the mark of `account` under `root` and moves it ahead of `now_ms`.
    ///
    /// # Errors
    /// The file cannot be read or written, or does not hold a number: guessing would risk an id
    /// twice.
    pub(super) fn open(root: &Path, account: &str, now_ms: i64) -> Result<CidMark, String> {
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
        let mut mark = CidMark { path, used, until: used };
        mark.write(used.max(u64::try_from(now_ms).unwrap_or(0)) + AHEAD_IDS)?;
        Ok(mark)
    }
    /// Highest id that any earlier run may have used.
    pub(super) fn used(&self) -> u64 {
        self.used
    }
    /// Moves the mark once `last` has come half-way to it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn keep_ahead(&mut self, last: u64) -> Result<(), String> {
        if last + AHEAD_IDS / 2 > self.until { self.write(last + AHEAD_IDS) } else { Ok(()) }
    }
    /// The run ended by itself: ids above `last` were not used.
    ///
    /// # Errors
    /// The file cannot be written; the next run then begins higher than it must.
    pub(super) fn close(mut self, last: u64) -> Result<(), String> {
        self.write(last.max(self.used))
    }
    fn write(&mut self, until: u64) -> Result<(), String> {
        let until = until.min(CID_MAX);
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
        let open = |now_ms| CidMark::open(&dir, "a", now_ms);
        let mut first = open(1_000).unwrap();
        assert_eq!(first.used(), 0);
        first.keep_ahead(50_000_000).unwrap();
        drop(first); // killed
        let second = open(2_000).unwrap();
        assert!(second.used() > 50_000_000, "{}", second.used());
        let used = second.used();
        second.close(used + 7).unwrap();
        assert_eq!(open(0).unwrap().used(), used + 7, "a run that ends well wastes none");
        std::fs::write(dir.join("cid-a"), "seven").unwrap();
        assert!(open(0).err().unwrap().contains("does not hold a number"));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
