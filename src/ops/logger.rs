//! The log of the cold side: plain lines or JSON on standard error; while the live view has the
//! screen, into a short memory that the view shows, and into the run's log file.

use super::text::utc;
use crate::base::time::WallNs;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Lines the view can show.
const RECENT_MAX: usize = 64;

struct State {
    json: bool,
    /// True: the screen belongs to the view.
    hidden: bool,
    recent: VecDeque<String>,
    file: Option<LogFile>,
    /// Lines the disk has refused.
    lost: u64,
}

/// A file of lines that never grows beyond its share: when it is full it becomes `NAME.1`, that one
/// `NAME.2`, and the oldest goes.
pub struct LogFile {
    path: PathBuf,
    file: Option<File>,
    size: u64,
    size_max: u64,
    files_max: u32,
}

impl LogFile {
    /// `files_max` files of at most `size_max` bytes, this one included.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create(path: &Path, size_max: u64, files_max: u32) -> io::Result<LogFile> {
        let file = Some(File::create(path)?);
        Ok(LogFile { path: path.to_owned(), file, size: 0, size_max, files_max })
    }

    /// False: the line is not in the file.
    fn write(&mut self, line: &str) -> bool {
        let size = line.len() as u64 + 1;
        if self.size > 0 && self.size + size > self.size_max {
            self.turn();
        }
        let Some(file) = &mut self.file else { return false };
        // One write a line: a line is whole or cut, never mixed.
        let is_written = file.write_all(format!("{line}\n").as_bytes()).is_ok();
        self.size += size;
        is_written
    }

    fn turn(&mut self) {
        let name = |number: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        // What cannot be moved is written over: the bound matters more than the oldest lines.
        for number in (1..self.files_max.saturating_sub(1)).rev() {
            let _ = std::fs::rename(name(number), name(number + 1));
        }
        if self.files_max > 1 {
            let _ = std::fs::rename(&self.path, name(1));
        }
        self.file = File::create(&self.path).ok();
        self.size = 0;
    }
}

/// One write is one line, its end included.
impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        if LogFile::write(self, text.trim_end_matches('\n')) {
            Ok(bytes.len())
        } else {
            Err(io::Error::other("the file does not take the line"))
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The process's logger.
pub struct Logger {
    state: Mutex<State>,
}

static LOGGER: OnceLock<Logger> = OnceLock::new();

/// Starts logging. A second call changes level and format.
pub fn install(level: log::LevelFilter, json: bool) -> &'static Logger {
    let logger = LOGGER.get_or_init(|| Logger {
        state: Mutex::new(State {
            json,
            hidden: false,
            recent: VecDeque::new(),
            file: None,
            lost: 0,
        }),
    });
    logger.state.lock().json = json;
    // Err: installed before, by us.
    let _ = log::set_logger(logger);
    log::set_max_level(level);
    logger
}

/// The logger, where one is installed.
pub fn current() -> Option<&'static Logger> {
    LOGGER.get()
}

impl Logger {
    /// Keeps lines off the screen while a view draws on it.
    pub fn hide(&self, hidden: bool) {
        self.state.lock().hidden = hidden;
    }
    /// Also writes every line to this file, as JSON.
    pub fn copy_to(&self, file: LogFile) {
        self.state.lock().file = Some(file);
    }
    /// Lines that the disk has refused: a full disk never stops a run.
    pub fn lost(&self) -> u64 {
        self.state.lock().lost
    }
    /// The newest lines, oldest first.
    pub fn recent(&self, count: usize) -> Vec<String> {
        let state = self.state.lock();
        let skip = state.recent.len().saturating_sub(count);
        state.recent.iter().skip(skip).cloned().collect()
    }
}

#[derive(serde::Serialize)]
struct JsonLine<'a> {
    at: &'a str,
    level: &'a str,
    target: &'a str,
    message: &'a str,
}

fn line_of(json: bool, at: &str, record: &log::Record<'_>) -> String {
    let message = record.args().to_string();
    if json {
        let line = JsonLine {
            at,
            level: record.level().as_str(),
            target: record.target(),
            message: &message,
        };
        sonic_rs::to_string(&line).unwrap_or(message)
    } else {
        format!("{at} {:<5} {message}", record.level())
    }
}

#[expect(clippy::disallowed_methods, reason = "a log line says when; nothing decides on it")]
fn now() -> WallNs {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    WallNs(since.map_or(0, |span| i64::try_from(span.as_nanos()).unwrap_or(0)))
}

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        // What libraries tell below "warn" is theirs to debug.
        metadata.target().starts_with("genesis") || metadata.level() <= log::Level::Warn
    }
    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let at = utc(now());
        let mut state = self.state.lock();
        let line = line_of(state.json, &at, record);
        let kept = match &mut state.file {
            // A full disk must not stop the run; the line is on the screen or in memory, too.
            Some(file) => file.write(&line_of(true, &at, record)),
            None => true,
        };
        state.lost += u64::from(!kept);
        if state.recent.len() == RECENT_MAX {
            state.recent.pop_front();
        }
        state.recent.push_back(format!("{} {}", &at[11..19], record.args()));
        if !state.hidden {
            let _ = writeln!(std::io::stderr().lock(), "{line}");
        }
    }
    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_file_never_outgrows_its_share_and_a_refusing_disk_is_counted() {
        let dir = crate::ops::rundir::tests::scratch();
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("log.jsonl");
        let mut log = LogFile::create(&path, 100, 3).unwrap();
        for number in 0..1_000 {
            assert!(log.write(&format!("line {number:>4}")));
        }
        let mut names: Vec<_> =
            std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["log.jsonl", "log.jsonl.1", "log.jsonl.2"]);
        let mut lines = String::new();
        for name in ["log.jsonl.2", "log.jsonl.1", "log.jsonl"] {
            let text = std::fs::read_to_string(dir.join(name)).unwrap();
            assert!(text.len() <= 100, "{name}");
            lines.push_str(&text);
        }
        let last: Vec<&str> = lines.lines().collect();
        let expected: Vec<String> =
            (1_000 - last.len()..1_000).map(|number| format!("line {number:>4}")).collect();
        assert_eq!(last, expected, "the newest, whole and in order");
        std::fs::remove_dir_all(&dir).unwrap();
        // A device that is always full.
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut log = LogFile { path, file: Some(full), size: 0, size_max: 100, files_max: 2 };
        assert!(!log.write("x"));
    }

    #[test]
    fn lines_are_plain_or_json() {
        let record = |args| {
            log::Record::builder().level(log::Level::Warn).target("genesis::io").args(args).build()
        };
        assert_eq!(line_of(false, "T", &record(format_args!("a \"b\""))), "T WARN  a \"b\"");
        assert_eq!(
            line_of(true, "T", &record(format_args!("a \"b\""))),
            r#"{"at":"T","level":"WARN","target":"genesis::io","message":"a \"b\""}"#
        );
    }
}
