//! The journal thread: copies the input log and the write-ahead records from memory to disk, all
//! the time, so that neither ring runs full while the terminal is drawn.

use crate::io::input_log::InputLogWriter;
use crate::io::wal::WalTail;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Events and records taken at once, so that both get their turn.
const BATCH: u32 = 4_096;
/// Pause when there was nothing to copy.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// What the journal thread did, for the view.
#[derive(Debug, Default)]
pub struct JournalStats {
    /// Tries to write that the disk refused; the log is incomplete from then on, trading goes on.
    pub failures: AtomicU64,
}

pub struct JournalThread {
    pub input_log: Option<InputLogWriter>,
    pub wal: WalTail,
    pub stop: Arc<AtomicBool>,
    pub stats: Arc<JournalStats>,
}

impl JournalThread {
    /// Runs until told to stop, then takes what is left.
    pub fn run(mut self) -> JournalThread {
        loop {
            // Asked before: what came until then is still taken.
            let is_last = self.stop.load(Ordering::Acquire);
            while self.copy() {}
            if is_last {
                return self;
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
    }

    /// One batch of each; true where there may be more.
    fn copy(&mut self) -> bool {
        let mut more = false;
        if let Some(writer) = &mut self.input_log {
            match writer.poll(BATCH) {
                Ok(count) => more |= count == BATCH,
                Err(error) => {
                    self.fail(&error);
                    self.input_log = None;
                }
            }
        }
        match self.wal.poll(BATCH, |_| {}) {
            Ok(count) => more |= count == BATCH,
            Err(error) => self.fail(&error),
        }
        self.wal.release();
        more
    }

    fn fail(&self, error: &std::io::Error) {
        if self.stats.failures.fetch_add(1, Ordering::Relaxed) == 0 {
            log::error!("journal: {error}; the log of this run ends here");
        }
    }
}
