//! The journal thread: copies the input log and the write-ahead records from memory to disk, all
//! the time, so that neither ring runs full while the terminal is drawn. What it copies it tells
//! the history, too.

use super::history::HistoryTap;
use crate::io::input_log::InputLogWriter;
use crate::io::wal::WalTail;
use crate::io::wal_copy::WalCopy;
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
    /// Rounds so far; stands still where a disk hangs.
    pub rounds: AtomicU64,
    /// A drill: the thread hangs until this is false again.
    pub is_wedged: AtomicBool,
}

pub struct JournalThread {
    pub input_log: Option<InputLogWriter>,
    pub wal: WalTail,
    /// Where the write-ahead records stay; `None` after the disk has refused.
    pub wal_copy: Option<WalCopy>,
    pub history: Option<HistoryTap>,
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
            while self.stats.is_wedged.load(Ordering::Relaxed) {
                std::thread::park_timeout(LOOK_EVERY);
            }
            if is_last {
                return self;
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
    }

    /// One batch of each; true where there may be more.
    fn copy(&mut self) -> bool {
        self.stats.rounds.fetch_add(1, Ordering::Relaxed);
        let mut more = false;
        if let Some(writer) = &mut self.input_log {
            let history = &self.history;
            let tell = |event: &crate::model::Event| {
                if let Some(history) = history {
                    history.on_event(event);
                }
            };
            match writer.poll_with(BATCH, tell) {
                Ok(count) => more |= count == BATCH,
                Err(error) => {
                    self.fail(&error);
                    self.input_log = None;
                }
            }
        }
        let (copy, history) = (&mut self.wal_copy, &self.history);
        let mut refused = None;
        let polled = self.wal.poll(BATCH, |record| {
            if let Some(history) = history {
                history.on_record(record);
            }
            if refused.is_none()
                && let Some(file) = copy
            {
                refused = file.append(record).err();
            }
        });
        match polled {
            // Asked for at once: a machine that dies now has lost nothing that left before.
            Ok(count) => {
                more |= count == BATCH;
                if count > 0
                    && let Some(file) = &mut self.wal_copy
                {
                    refused = refused.or(file.flush().err());
                }
            }
            Err(error) => self.fail(&error),
        }
        if let Some(error) = refused {
            self.fail(&error);
            self.wal_copy = None;
        }
        // In any case: a full disk must not stop trading.
        self.wal.release();
        more
    }

    fn fail(&self, error: &std::io::Error) {
        if self.stats.failures.fetch_add(1, Ordering::Relaxed) == 0 {
            log::error!("journal: {error}; the log of this run ends here");
        }
    }
}
