//! The log of the cold side: plain lines or JSON on standard error; while the live view has the
//! screen, into a short memory that the view shows, and into the run's log file.

use super::text::utc;
use crate::base::time::WallNs;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::sync::OnceLock;

/// Lines the view can show.
const RECENT_MAX: usize = 64;

struct State {
    json: bool,
    /// True: the screen belongs to the view.
    hidden: bool,
    recent: VecDeque<String>,
    file: Option<File>,
}

/// The process's logger.
pub struct Logger {
    state: Mutex<State>,
}

static LOGGER: OnceLock<Logger> = OnceLock::new();

/// Starts logging. A second call changes level and format.
pub fn install(level: log::LevelFilter, json: bool) -> &'static Logger {
    let logger = LOGGER.get_or_init(|| Logger {
        state: Mutex::new(State { json, hidden: false, recent: VecDeque::new(), file: None }),
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
    /// Also writes every line to this file.
    pub fn copy_to(&self, file: File) {
        self.state.lock().file = Some(file);
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
        if let Some(file) = &mut state.file {
            // A full disk must not stop the run; the line is on the screen or in memory, too.
            let _ = writeln!(file, "{line}");
        }
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
