//! Threads that may block. They never touch the line but by its rings.

pub mod dial;
pub mod history;
pub mod journal;
pub mod listing;
pub mod orders;
pub mod rest;

use crate::io::syscall;
use std::thread::JoinHandle;

/// A running cold thread; it ends by the flag that it was given, and gives back a `T`.
pub struct ColdThread<T = ()> {
    name: &'static str,
    join: JoinHandle<T>,
}
impl<T> ColdThread<T> {
    pub fn is_finished(&self) -> bool {
        self.join.is_finished()
    }
    /// Wakes it, should it be parked, and waits for its end; a panic is told, nothing depends on it
    /// any more.
    pub fn join(self) -> Option<T> {
        self.join.thread().unpark();
        let ended = self.join.join().ok();
        if ended.is_none() {
            log::error!("cold thread {} ended in a panic", self.name);
        }
        ended
    }
}

/// Starts a cold thread on the CPUs that hot ones leave; empty = wherever its parent may run.
///
/// # Errors
/// The kernel's word.
pub fn spawn<T: Send + 'static>(
    name: &'static str,
    cpus: &[usize],
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<ColdThread<T>, String> {
    let cpus = cpus.to_vec();
    let body = move || {
        if !cpus.is_empty()
            && let Err(error) = syscall::allow_cpus(&cpus)
        {
            log::warn!("cold thread {name} runs anywhere: {error}");
        }
        work()
    };
    let join = std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map_err(|error| format!("thread \"{name}\": {error}"))?;
    Ok(ColdThread { name, join })
}
