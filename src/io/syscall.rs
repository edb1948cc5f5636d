//! Every system call that std does not offer, in one file: where a thread runs, what faults it
//! took, where it may run, and a few switches of the process. Linux only.
#![allow(unsafe_code)]

use std::fmt;
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

/// Highest CPU number + 1 that an affinity mask of libc can name.
pub const CPU_NUMBER_MAX: usize = libc::CPU_SETSIZE as usize;

/// The CPU this thread runs on now; `None` where the kernel does not say.
pub fn current_cpu() -> Option<usize> {
    // SAFETY: sched_getcpu takes no arguments and touches no memory of ours.
    let cpu = unsafe { libc::sched_getcpu() };
    usize::try_from(cpu).ok()
}

/// CPUs this thread may run on by its mask, ascending.
///
/// # Errors
/// What sched_getaffinity says.
pub fn allowed_cpus() -> io::Result<Vec<usize>> {
    // SAFETY: cpu_set_t is plain bits, for which all zeros is a valid value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live cpu_set_t of exactly the size we state; 0 means this thread.
    let result = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: CPU_ISSET reads one bit of the set, and the number is below CPU_SETSIZE.
    Ok((0..CPU_NUMBER_MAX).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }).collect())
}

/// Lets this thread run on any of `cpus` and nowhere else. For cold threads; hot ones use `pin`.
///
/// # Errors
/// `InvalidInput` for an empty list or a number out of range; else what sched_setaffinity says.
pub fn allow_cpus(cpus: &[usize]) -> io::Result<()> {
    if cpus.is_empty() || cpus.iter().any(|&cpu| cpu >= CPU_NUMBER_MAX) {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    // SAFETY: cpu_set_t is plain bits, for which all zeros is a valid value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &cpu in cpus {
        // SAFETY: CPU_SET writes one bit of the set, and the number was checked above.
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
    // SAFETY: the pointer is to a live cpu_set_t of exactly the size we state; 0 means this thread.
    let result = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Why a thread is not where it was asked to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinError {
    /// The number is beyond what an affinity mask can name.
    OutOfRange { cpu: usize },
    /// The kernel refused: offline, outside the cpuset, or no permission.
    Refused { cpu: usize },
    /// The kernel took the mask, yet the thread runs elsewhere.
    Elsewhere { cpu: usize, found: usize },
}
impl fmt::Display for PinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PinError::OutOfRange { cpu } => {
                write!(f, "cpu {cpu} is out of range (0..{CPU_NUMBER_MAX})")
            }
            PinError::Refused { cpu } => {
                write!(f, "the kernel refused cpu {cpu}: offline or outside the cpuset")
            }
            PinError::Elsewhere { cpu, found } => {
                write!(f, "pinned to cpu {cpu} but found running on cpu {found}")
            }
        }
    }
}

/// Binds this thread to one CPU by its number and proves it. The number goes straight into a
/// `CoreId`: the crate's own list shows only the mask a thread inherited, and never isolated CPUs.
///
/// # Errors
/// `PinError`; the thread's mask is then unchanged or as the kernel left it.
pub fn pin(cpu: usize) -> Result<(), PinError> {
    if cpu >= CPU_NUMBER_MAX {
        return Err(PinError::OutOfRange { cpu });
    }
    if !core_affinity::set_for_current(core_affinity::CoreId { id: cpu }) {
        return Err(PinError::Refused { cpu });
    }
    match current_cpu() {
        Some(found) if found != cpu => Err(PinError::Elsewhere { cpu, found }),
        _ => Ok(()),
    }
}

/// Page faults of one thread since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Served without disk.
    pub minor: u64,
    /// Waited for disk.
    pub major: u64,
}

/// Page faults of this thread so far; zeros where the kernel does not say.
pub fn thread_faults() -> Faults {
    // SAFETY: rusage is plain numbers, for which all zeros is a valid value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live rusage that the kernel fills.
    let result = unsafe { libc::getrusage(libc::RUSAGE_THREAD, &mut usage) };
    if result != 0 {
        return Faults::default();
    }
    Faults { minor: usage.ru_minflt as u64, major: usage.ru_majflt as u64 }
}

/// CPU time this thread has used, ns; 0 where the kernel does not say.
pub fn thread_cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live timespec that the kernel fills.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    if result != 0 { 0 } else { time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64 }
}

/// Keeps all present pages in memory, and future ones too where `future` is set. Often refused
/// without a raised RLIMIT_MEMLOCK; the engine then runs on, unlocked, and says so.
///
/// # Errors
/// What mlockall says.
pub fn lock_memory(future: bool) -> io::Result<()> {
    let flags = if future { libc::MCL_CURRENT | libc::MCL_FUTURE } else { libc::MCL_CURRENT };
    // SAFETY: mlockall changes residency of pages only, not their content.
    let result = unsafe { libc::mlockall(flags) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sockets that one thread waits for together. Filled anew before each wait, without allocation up
/// to its capacity.
#[derive(Debug, Default)]
pub struct SocketSet {
    rows: Vec<libc::pollfd>,
}
impl SocketSet {
    /// Room for `count` sockets; what is added beyond is left out, and found at the next turn.
    pub fn with_capacity(count: usize) -> SocketSet {
        SocketSet { rows: Vec::with_capacity(count) }
    }
    pub fn clear(&mut self) {
        self.rows.clear();
    }
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
    /// Wait until `socket` has something to read and, where `writes`, or takes bytes again.
    pub fn add(&mut self, socket: &impl AsRawFd, writes: bool) {
        if self.rows.len() < self.rows.capacity() {
            let events = if writes { libc::POLLIN | libc::POLLOUT } else { libc::POLLIN };
            self.rows.push(libc::pollfd { fd: socket.as_raw_fd(), events, revents: 0 });
        }
    }
    /// Sleeps until one of them is ready, a signal comes or `max` has passed. In nanoseconds: a
    /// poller that counts in milliseconds would let what comes through rings wait five times
    /// longer.
    pub fn wait(&mut self, max: Duration) {
        let limit = libc::timespec {
            tv_sec: max.as_secs() as libc::time_t,
            tv_nsec: libc::c_long::from(max.subsec_nanos() as i32),
        };
        // SAFETY: the pointer and the count are those of a live vector of plain numbers that the
        // kernel writes within; the time is on the stack; no signal mask is given.
        unsafe {
            libc::ppoll(
                self.rows.as_mut_ptr(),
                self.rows.len() as libc::nfds_t,
                &limit,
                std::ptr::null(),
            );
        }
    }
}

/// Makes every page of private writable memory that is mapped now present, so that a hot thread
/// does not fault on its first touch of a large table; bytes so treated. Best effort: kernels
/// before 5.14 do not know how, and ranges that go away meanwhile are passed over.
pub fn populate_memory() -> u64 {
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else { return 0 };
    let mut populated = 0;
    for line in maps.lines() {
        let Some((start, size)) = private_writable(line) else { continue };
        // SAFETY: MADV_POPULATE_WRITE changes no content, only the presence of pages; for a range
        // that is no longer mapped the kernel answers with an error.
        let result = unsafe { libc::madvise(start as *mut _, size, libc::MADV_POPULATE_WRITE) };
        populated += if result == 0 { size as u64 } else { 0 };
    }
    populated
}

/// Bytes that may still be written below `dir`; `None` where there is no such place.
pub fn disk_free(dir: &std::path::Path) -> Option<u64> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(dir.as_os_str().as_bytes()).ok()?;
    let mut facts = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: `path` ends in a zero byte, and the kernel fills `facts` where it answers 0.
    let result = unsafe { libc::statvfs(path.as_ptr(), facts.as_mut_ptr()) };
    if result != 0 {
        return None;
    }
    // SAFETY: filled, for the answer was 0.
    let facts = unsafe { facts.assume_init() };
    Some(facts.f_bavail.saturating_mul(facts.f_frsize))
}

/// What the kernel knows of the wall clock's truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockSync {
    /// A time service keeps it.
    pub is_synced: bool,
    /// Offset that is being slewed away, ns.
    pub offset_ns: i64,
    /// The worst it may be off, µs.
    pub error_us_max: i64,
}

/// Asks without changing anything; `None` where the kernel does not say.
pub fn clock_sync() -> Option<ClockSync> {
    // SAFETY: all-zero bytes are a valid `timex`, and its `modes` of 0 makes the call a pure read.
    let mut facts: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: `facts` is ours and lives through the call, which fills it.
    let result = unsafe { libc::adjtimex(&mut facts) };
    let scale = if facts.status & libc::STA_NANO != 0 { 1 } else { 1_000 };
    (result >= 0).then_some(ClockSync {
        is_synced: facts.status & libc::STA_UNSYNC == 0,
        offset_ns: facts.offset.saturating_mul(scale),
        error_us_max: facts.maxerror,
    })
}

/// Start and size of a line of `/proc/self/maps` about private writable memory without a file.
fn private_writable(line: &str) -> Option<(usize, usize)> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let is_private_writable = words.next()? == "rw-p";
    let has_file = words.nth(2)? != "0";
    if !is_private_writable || has_file {
        return None;
    }
    let hex = |text: &str| usize::from_str_radix(text, 16).ok();
    let (start, end) = (hex(start)?, hex(end)?);
    Some((start, end.checked_sub(start)?))
}

/// How late the kernel may end this thread's sleeps, ns. The default is 50,000.
///
/// # Errors
/// What prctl says.
pub fn set_timer_slack_ns(slack_ns: u64) -> io::Result<()> {
    // SAFETY: PR_SET_TIMERSLACK takes a number and touches no memory of ours.
    let result = unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, slack_ns as libc::c_ulong) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Forbids core dumps and tracing by other users, so that keys do not land in a file.
///
/// # Errors
/// What prctl says.
pub fn set_not_dumpable() -> io::Result<()> {
    // SAFETY: PR_SET_DUMPABLE takes a number and touches no memory of ours.
    let result = unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0 as libc::c_ulong) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether this process may leave a core dump.
pub fn is_dumpable() -> bool {
    // SAFETY: PR_GET_DUMPABLE takes nothing more and touches no memory of ours.
    let result = unsafe { libc::prctl(libc::PR_GET_DUMPABLE) };
    result != 0
}

/// The user this process acts as.
pub fn effective_user() -> u32 {
    // SAFETY: geteuid takes no arguments and cannot fail.
    unsafe { libc::geteuid() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_runs_where_it_was_put_and_nowhere_else() {
        let allowed = allowed_cpus().unwrap();
        assert!(!allowed.is_empty());
        for cpu in allowed {
            std::thread::spawn(move || {
                pin(cpu).unwrap();
                assert_eq!(current_cpu(), Some(cpu));
                assert_eq!(allowed_cpus().unwrap(), [cpu]);
            })
            .join()
            .unwrap();
        }
    }

    #[test]
    fn a_child_inherits_its_parents_mask_and_can_still_be_pinned_elsewhere_by_number() {
        let allowed = allowed_cpus().unwrap();
        let (first, last) = (allowed[0], *allowed.last().unwrap());
        std::thread::spawn(move || {
            pin(first).unwrap();
            std::thread::spawn(move || {
                assert_eq!(allowed_cpus().unwrap(), [first]);
                pin(last).unwrap();
                assert_eq!(current_cpu(), Some(last));
            })
            .join()
            .unwrap();
        })
        .join()
        .unwrap();
    }

    #[test]
    fn cpus_that_cannot_be_are_refused_with_their_number() {
        assert_eq!(pin(CPU_NUMBER_MAX), Err(PinError::OutOfRange { cpu: CPU_NUMBER_MAX }));
        let last = CPU_NUMBER_MAX - 1;
        if !allowed_cpus().unwrap().contains(&last) {
            let result = std::thread::spawn(move || pin(last)).join().unwrap();
            assert_eq!(result, Err(PinError::Refused { cpu: last }));
        }
        assert!(allow_cpus(&[]).is_err());
        assert!(allow_cpus(&[CPU_NUMBER_MAX]).is_err());
    }

    #[test]
    fn touching_new_pages_is_seen_as_faults_of_this_thread() {
        let before = thread_faults();
        // Above 32 MiB, the ceiling of reuse of the allocator, pages come fresh from the kernel;
        // 8 MiB could be memory that another test had given back, already mapped.
        let mut pages = vec![0u8; 48 << 20];
        for page in pages.chunks_mut(4096) {
            page[0] = 1;
        }
        std::hint::black_box(&pages);
        assert!(thread_faults().minor > before.minor);
    }

    #[test]
    fn the_switches_of_a_thread_and_its_cpu_time_answer() {
        set_timer_slack_ns(1).unwrap();
        let mut sum = 0u64;
        for value in 0..200_000u64 {
            sum = std::hint::black_box(sum.wrapping_add(value));
        }
        assert!(thread_cpu_ns() > 0);
    }
}
