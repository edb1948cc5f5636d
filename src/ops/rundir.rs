//! Where a run leaves its files: one directory a run, and `latest`, a file that names the newest.

use super::text::compact_utc;
use crate::base::time::WallNs;
use std::io;
use std::path::{Path, PathBuf};

/// What the environment says about places; read by `cmd`, so that nothing here reads it.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// `journal.dir` or `--dir`.
    pub chosen: Option<PathBuf>,
    /// `$XDG_STATE_HOME`.
    pub state_home: Option<PathBuf>,
    /// `$HOME`.
    pub home: Option<PathBuf>,
    pub temp: PathBuf,
}

impl Places {
    /// The directory that holds all run directories.
    pub fn root(&self) -> PathBuf {
        if let Some(chosen) = &self.chosen {
            return chosen.clone();
        }
        if let Some(state) = &self.state_home {
            return state.join("genesis");
        }
        match &self.home {
            Some(home) => home.join(".local/state/genesis"),
            None => self.temp.join("genesis"),
        }
    }
}

/// File that names the newest run directory.
const LATEST: &str = "latest";
/// Waterfalls of a run's orders, one JSON object a line.
pub const ORDERS_FILE: &str = "orders.jsonl";
/// REST calls of a run, one JSON object a line.
pub const REST_FILE: &str = "rest.jsonl";
/// The run's report.
pub const REPORT_FILE: &str = "report.json";
/// The resolved config of the run.
pub const CONFIG_FILE: &str = "config.toml";
/// What the logger wrote, one JSON object a line.
pub const LOG_FILE: &str = "log.jsonl";
/// Every command of an operator, who asked, and what was seen to follow.
pub const AUDIT_FILE: &str = "audit.log";
/// The sequenced input of the run.
pub const INPUT_FILE: &str = "input.log";

/// The directory of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// Makes the directory of a run and points `latest` at it.
    ///
    /// # Errors
    /// The place is not writable.
    pub fn create(root: &Path, started_at: WallNs) -> io::Result<RunDir> {
        let stem = format!("{}-{}", compact_utc(started_at), std::process::id());
        std::fs::create_dir_all(root)?;
        // Two runs of one process in one second: tests do that.
        for attempt in 0..1000 {
            let name = if attempt == 0 { stem.clone() } else { format!("{stem}-{attempt}") };
            let path = root.join(&name);
            match std::fs::create_dir(&path) {
                Ok(()) => {
                    let run = RunDir { path };
                    write_atomic(&root.join(LATEST), name.as_bytes())?;
                    return Ok(run);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("a thousand runs in one second"))
    }

    /// The newest run below `root`, or `root` itself where it is a run's directory.
    ///
    /// # Errors
    /// No run is there.
    pub fn open(root: &Path) -> io::Result<RunDir> {
        if root.join(ORDERS_FILE).exists() || root.join(REPORT_FILE).exists() {
            return Ok(RunDir { path: root.to_owned() });
        }
        let name = std::fs::read_to_string(root.join(LATEST)).map_err(|_| {
            let words = format!("no run found in `{}`", root.display());
            io::Error::new(io::ErrorKind::NotFound, words)
        })?;
        Ok(RunDir { path: root.join(name.trim()) })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
    /// The directory's own name, which identifies the run.
    pub fn id(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// Writes a file as a whole or not at all.
///
/// # Errors
/// The place is not writable.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    std::fs::write(&temporary, bytes)?;
    std::fs::rename(&temporary, path)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A directory of its own for a test.
    pub(crate) fn scratch() -> PathBuf {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("genesis-ops-test-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        path
    }

    #[test]
    fn latest_names_the_newest_run_and_a_run_can_be_named_itself() {
        let root = scratch();
        let first = RunDir::create(&root, WallNs::from_ms(0)).unwrap();
        let second = RunDir::create(&root, WallNs::from_ms(0)).unwrap();
        assert_ne!(first, second);
        assert_eq!(RunDir::open(&root).unwrap(), second);
        std::fs::write(first.file(ORDERS_FILE), "").unwrap();
        assert_eq!(RunDir::open(first.path()).unwrap(), first);
        std::fs::remove_dir_all(&root).unwrap();
        let error = RunDir::open(&root).unwrap_err().to_string();
        assert!(error.contains("no run found"), "{error}");
    }

    #[test]
    fn the_place_is_chosen_then_state_home_then_home_then_temp() {
        let mut places = Places { temp: "/t".into(), ..Places::default() };
        assert_eq!(places.root(), Path::new("/t/genesis"));
        places.home = Some("h".into());
        assert_eq!(places.root(), Path::new("h/.local/state/genesis"));
        places.state_home = Some("s".into());
        assert_eq!(places.root(), Path::new("s/genesis"));
        places.chosen = Some("c".into());
        assert_eq!(places.root(), Path::new("c"));
    }
}
