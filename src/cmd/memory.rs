//! Where the risk state of an account lives between runs: a file on tmpfs, written by the risk
//! stage before its commands leave, and a copy of it beside the runs, for the day the machine
//! restarts.

use crate::engine::risk::{
    AccountMemory, MEMORY_RECORD_MAX, MEMORY_VERSION, MEMORY_VERSION_1, RiskJournal, RiskMemory,
    SymbolMemory, SymbolMemory1,
};
use crate::io::clock::Clock;
use crate::io::files::default_wal_dir;
use crate::io::slots::{SLOT_PAYLOAD_MAX, SlotFile, read_slots};
use crate::io::wal::{self, WalRecord};
use crate::io::wal_copy::{WAL_COPY_FILE, WalCopy, read_copy};
use crate::model::Instrument;
use crate::ops::rundir::write_atomic;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

const _: () = assert!(MEMORY_RECORD_MAX <= SLOT_PAYLOAD_MAX);

/// The two places of an account's memory, held by one process at a time.
pub(super) struct MemoryHome {
    hot: PathBuf,
    cold: PathBuf,
    copied: Vec<u8>,
    /// Held while the run lasts.
    _lock: File,
}

impl MemoryHome {
    /// Of `account`, whose runs are under `root`.
    ///
    /// # Errors
    /// Another run of the account is at work, or the place is not writable.
    pub(super) fn open(root: &Path, account: &str) -> Result<MemoryHome, String> {
        let lock_path = root.join(format!("risk-{account}.lock"));
        let said = |error: io::Error| format!("`{}`: {error}", lock_path.display());
        let mut options = File::options();
        let options = options.create(true).truncate(false).read(true).write(true);
        let mut lock = options.open(&lock_path).map_err(said)?;
        lock.try_lock().map_err(|_| {
            format!(
                "account `{account}` is traded by another run under `{}`: stop that one, or choose \
                 another --dir",
                root.display()
            )
        })?;
        // The place on tmpfs belongs to this very directory: one of the same name that is made anew
        // must not find the state of its predecessor.
        let mut token = String::new();
        lock.read_to_string(&mut token).map_err(said)?;
        if token.is_empty() {
            token = format!("{:x}-{}", Clock::start_unchecked().wall().0, std::process::id());
            lock.write_all(token.as_bytes()).map_err(said)?;
        }
        let plain = |c: char| c.is_ascii_hexdigit() || c == '-';
        if token.len() > 40 || !token.chars().all(plain) {
            return Err(format!(
                "`{}` does not hold what it should; remove it",
                lock_path.display()
            ));
        }
        let hot = default_wal_dir(&format!("risk-{account}-{token}")).join("state");
        let cold = root.join(format!("risk-{account}.state"));
        Ok(MemoryHome { hot, cold, copied: Vec::new(), _lock: lock })
    }
    /// What earlier runs left: of both places the one that is newer. `None` = nothing.
    ///
    /// # Errors
    /// Files that are there and cannot be read: guessing would loosen limits.
    pub(super) fn recall(&self) -> Result<Option<RiskMemory>, String> {
        let mut newest: Option<RiskMemory> = None;
        let mut broken = None;
        for path in [&self.hot, &self.cold] {
            match read(path) {
                Ok(Some(memory)) => {
                    let newer = newest
                        .as_ref()
                        .is_none_or(|known| memory.account.wall > known.account.wall);
                    newest = if newer { Some(memory) } else { newest };
                }
                Ok(None) => {}
                Err(words) => broken = Some(format!("`{}`: {words}", path.display())),
            }
        }
        match (newest, broken) {
            (Some(memory), None) => Ok(Some(memory)),
            (Some(memory), Some(words)) => {
                log::error!("risk state: {words}; its other copy is used");
                Ok(Some(memory))
            }
            (None, None) => Ok(None),
            (None, Some(words)) => Err(format!(
                "risk state {words}: the day's loss, pauses and trips of the account are lost; \
                 look at the account, then remove the file"
            )),
        }
    }
    /// Opens the file for this run. Rows of symbols that this run does not know are kept.
    ///
    /// # Errors
    /// The place is not writable.
    pub(super) fn keep(
        &self,
        instruments: &[Instrument],
        memory: Option<&RiskMemory>,
    ) -> io::Result<Keeper> {
        keeper(&self.hot, instruments, memory)
    }
    /// Copies the file to disk where it has changed.
    pub(super) fn copy(&mut self) {
        let Ok(bytes) = std::fs::read(&self.hot) else { return };
        if bytes != self.copied {
            match write_atomic(&self.cold, &bytes) {
                Ok(()) => self.copied = bytes,
                Err(error) => log::error!("risk state `{}`: {error}", self.cold.display()),
            }
        }
    }
}

/// The write-ahead log of a run that was killed lies on tmpfs still: its records go to that run's
/// directory, for whoever wants to know, and its memory is given back. Then notes where this run's
/// is. Decides nothing: what the venue says about orders does.
pub(super) fn salvage(root: &Path, account: &str, run: &str, wal_dir: &Path) -> io::Result<()> {
    let note = root.join(format!("wal-{account}"));
    if let Ok(text) = std::fs::read_to_string(&note)
        && let Some((dead, dir)) = text.trim().split_once(' ')
        && dead != run
        && Path::new(dir).is_dir()
    {
        let found =
            wal::scan(Path::new(dir)).map_err(|error| io::Error::other(error.to_string()))?;
        let home = root.join(dead);
        let mut saved = 0;
        if home.is_dir() {
            saved = complete_copy(&home.join(WAL_COPY_FILE), &found.records)?;
        }
        std::fs::remove_dir_all(dir)?;
        log::warn!("run {dead} did not end by itself: {saved} more write-ahead records kept");
    }
    write_atomic(&note, format!("{run} {}\n", wal_dir.display()).as_bytes())
}

/// The copy on disk is what the journal thread had written by then: the rest comes from memory.
/// Returns how many records that were.
fn complete_copy(path: &Path, found: &[WalRecord]) -> io::Result<usize> {
    // None yet, or damaged: then what memory holds is all there is.
    let known = read_copy(path).map(|copied| copied.records).unwrap_or_default();
    let last = known.last().map_or(0, |record| record.seq);
    let mut copy = WalCopy::create(path)?;
    let mut more = 0;
    for record in known.iter().chain(found.iter().filter(|record| record.seq > last)) {
        more += usize::from(record.seq > last);
        copy.append(record)?;
    }
    copy.flush()?;
    Ok(more)
}

fn read(path: &Path) -> Result<Option<RiskMemory>, String> {
    let records = match read_slots(path) {
        Ok(records) => records,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let mut records = records.into_iter();
    let account = records.next().flatten().ok_or("its first record is damaged")?;
    let account: AccountMemory =
        postcard::from_bytes(&account).map_err(|_| "its first record is of another build")?;
    if ![MEMORY_VERSION, MEMORY_VERSION_1].contains(&account.version) {
        return Err(format!("version {} is not known here", account.version));
    }
    let symbol = |record: Option<Vec<u8>>| {
        let record = record.ok_or("a symbol's record is damaged")?;
        let read = if account.version == MEMORY_VERSION_1 {
            postcard::from_bytes::<SymbolMemory1>(&record).map(SymbolMemory::from)
        } else {
            postcard::from_bytes::<SymbolMemory>(&record)
        };
        read.map_err(|_| "a symbol's record is of another build".to_owned())
    };
    let symbols: Result<Vec<SymbolMemory>, String> = records.map(symbol).collect();
    let account = AccountMemory { version: MEMORY_VERSION, ..account };
    Ok(Some(RiskMemory { account, symbols: symbols? }))
}

/// A file for this run, at `path`.
pub(super) fn keeper(
    path: &Path,
    instruments: &[Instrument],
    memory: Option<&RiskMemory>,
) -> io::Result<Keeper> {
    let known: &[SymbolMemory] = memory.map_or(&[], |memory| &memory.symbols);
    let row = |instrument: &Instrument| {
        let found = known.iter().find(|row| row.name == instrument.name).copied();
        found.unwrap_or(SymbolMemory { name: instrument.name, ..SymbolMemory::default() })
    };
    let others =
        known.iter().filter(|row| instruments.iter().all(|each| each.name != row.name)).copied();
    let fresh =
        AccountMemory { version: MEMORY_VERSION, day: i64::MIN, ..AccountMemory::default() };
    let account = memory.map_or(fresh, |memory| memory.account);
    let bytes = |error: postcard::Error| io::Error::other(error.to_string());
    let mut records = vec![postcard::to_stdvec(&account).map_err(bytes)?];
    for symbol in instruments.iter().map(row).chain(others) {
        records.push(postcard::to_stdvec(&symbol).map_err(bytes)?);
    }
    Ok(Keeper(SlotFile::create(path, &records)?))
}

/// Writes for the risk stage; first the account, then the symbols in the order of the table.
pub(super) struct Keeper(SlotFile);
impl RiskJournal for Keeper {
    fn keep_account(&mut self, account: &AccountMemory) {
        let mut text = [0; SLOT_PAYLOAD_MAX];
        let written = postcard::to_slice(account, &mut text).expect("the place is large enough");
        self.0.write(0, written);
    }
    fn keep_symbol(&mut self, row: usize, symbol: &SymbolMemory) {
        let mut text = [0; SLOT_PAYLOAD_MAX];
        let written = postcard::to_slice(symbol, &mut text).expect("the place is large enough");
        self.0.write(1 + row, written);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::bounded::Text;
    use crate::base::ids::{Cid, SymbolId};
    use crate::base::time::WallNs;
    use crate::base::units::Qty;
    use crate::model::SymbolName;

    fn instrument(name: &str) -> Instrument {
        let (base, quote) = Instrument::split_name(name).unwrap();
        let name = SymbolName::new(name).unwrap();
        let (qty_min, qty_max) = (Qty::from_raw(1), Qty::MAX);
        Instrument { id: SymbolId(0), name, base, quote, qty_min, qty_max }
    }

    #[test]
    fn the_longest_record_fits_and_everything_comes_back() {
        let root = std::env::temp_dir().join(format!("genesis-memory-{}", std::process::id()));
        std::fs::create_dir_all(&root).unwrap();
        let mut home = MemoryHome::open(&root, "a").unwrap();
        assert!(MemoryHome::open(&root, "a").err().unwrap().contains("another run"));
        assert!(MemoryHome::open(&root, "b").is_ok());
        assert_eq!(home.recall(), Ok(None));
        let most = AccountMemory {
            version: MEMORY_VERSION,
            day: i64::MIN,
            wall: WallNs(i64::MIN),
            realised: i128::MIN,
            open: i128::MIN,
            day_start: i128::MIN,
            peak: i128::MIN,
            day_equity: Some(i128::MIN),
            wallet: Some(i128::MIN),
            trades_day: u32::MAX,
            loss_streak: u32::MAX,
            reject_streak: u32::MAX,
            tripped: u64::MAX,
            until: [WallNs(i64::MIN); 4],
            killed: true,
            halted: true,
            paused: true,
            reason: Text::new(&"x".repeat(48)).unwrap(),
            cid_last: Cid(u64::MAX),
        };
        assert!(postcard::to_stdvec(&most).unwrap().len() <= MEMORY_RECORD_MAX);
        let mut keeper = home.keep(&[instrument("tBTCUSD")], None).unwrap();
        keeper.keep_account(&most);
        let row = SymbolMemory {
            name: SymbolName::new("tBTCUSD").unwrap(),
            repeated: true,
            trades_day: 7,
            ..SymbolMemory::default()
        };
        keeper.keep_symbol(0, &row);
        let memory = home.recall().unwrap().unwrap();
        assert_eq!(memory, RiskMemory { account: most, symbols: vec![row] });
        // Another run trades another symbol: what was known of the first stays.
        let _keeper = home.keep(&[instrument("tETHUSD")], Some(&memory)).unwrap();
        let symbols = home.recall().unwrap().unwrap().symbols;
        assert_eq!((symbols[0].name.as_str(), symbols[1]), ("tETHUSD", row));
        // After a restart of the machine the copy is there.
        home.copy();
        std::fs::remove_file(&home.hot).unwrap();
        assert_eq!(home.recall().unwrap().unwrap().symbols, symbols);
        std::fs::write(&home.cold, "nonsense").unwrap();
        assert!(home.recall().unwrap_err().contains("look at the account"));
        let _ = std::fs::remove_dir_all(home.hot.parent().unwrap());
        std::fs::remove_dir_all(&root).unwrap();
    }
}
