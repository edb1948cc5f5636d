//! The counting allocator: the system's, with a tally for each thread. A hot thread calls `seal()`
//! after warm-up; whatever it allocates later is counted as a fault of ours (`after_seal`), what
//! rustls allocates meanwhile is counted apart (`tls`). Installed for every binary that links this
//! crate.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The system allocator plus about one nanosecond of counting.
pub struct CountingAllocator;

#[global_allocator]
static GLOBAL: CountingAllocator = CountingAllocator;

/// What one thread has asked of the allocator. Reallocations count as allocations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AllocCounts {
    /// Allocations of all kinds.
    pub allocs: u64,
    /// Blocks given back.
    pub frees: u64,
    /// Bytes asked for.
    pub bytes: u64,
    /// Allocations of this thread's own code while sealed.
    pub after_seal: u64,
    /// Allocations and frees inside `tls_scope` while sealed: rustls's, counted apart.
    pub tls_after_seal: u64,
    /// Frees of this thread's own code while sealed.
    pub frees_after_seal: u64,
}

struct Tally {
    allocs: Cell<u64>,
    frees: Cell<u64>,
    bytes: Cell<u64>,
    after_seal: Cell<u64>,
    tls_after_seal: Cell<u64>,
    frees_after_seal: Cell<u64>,
    sealed: Cell<bool>,
    /// Depth of nested `tls_scope`s.
    tls_depth: Cell<u32>,
}

thread_local! {
    // Const-initialised and without a destructor, so that reaching it never allocates, not even
    // while the thread ends.
    static TALLY: Tally = const {
        Tally {
            allocs: Cell::new(0),
            frees: Cell::new(0),
            bytes: Cell::new(0),
            after_seal: Cell::new(0),
            tls_after_seal: Cell::new(0),
            frees_after_seal: Cell::new(0),
            sealed: Cell::new(false),
            tls_depth: Cell::new(0),
        }
    };
}

/// Allocations of sealed threads, all together; rises only where something is wrong.
static SEALED_ALLOCS: AtomicU64 = AtomicU64::new(0);
/// Debugging aid: abort at the first one, so that the core dump shows who.
static TRAP: AtomicBool = AtomicBool::new(false);

fn add(cell: &Cell<u64>, amount: u64) {
    cell.set(cell.get().wrapping_add(amount));
}

fn note_alloc(size: usize) {
    TALLY.with(|tally| {
        add(&tally.allocs, 1);
        add(&tally.bytes, size as u64);
        if tally.sealed.get() {
            if tally.tls_depth.get() > 0 {
                add(&tally.tls_after_seal, 1);
            } else {
                add(&tally.after_seal, 1);
                SEALED_ALLOCS.fetch_add(1, Ordering::Relaxed);
                if TRAP.load(Ordering::Relaxed) {
                    std::process::abort();
                }
            }
        }
    });
}

fn note_free() {
    TALLY.with(|tally| {
        add(&tally.frees, 1);
        if tally.sealed.get() && tally.tls_depth.get() == 0 {
            add(&tally.frees_after_seal, 1);
        }
    });
}

// SAFETY: every method hands its arguments unchanged to `System`, which keeps the contract of
// GlobalAlloc; the counting before it touches only this thread's cells and atomics, allocates
// nothing and cannot unwind.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note_alloc(layout.size());
        // SAFETY: the caller keeps GlobalAlloc::alloc's contract, which is System's too.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        note_free();
        // SAFETY: the block came from `System` through this allocator, with this layout.
        unsafe { System.dealloc(block, layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note_alloc(layout.size());
        // SAFETY: the caller keeps GlobalAlloc::alloc_zeroed's contract, which is System's too.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        note_alloc(new_size);
        // SAFETY: the block came from `System` through this allocator, with this layout.
        unsafe { System.realloc(block, layout, new_size) }
    }
}

/// This thread's counts so far.
pub fn thread_counts() -> AllocCounts {
    TALLY.with(|tally| AllocCounts {
        allocs: tally.allocs.get(),
        frees: tally.frees.get(),
        bytes: tally.bytes.get(),
        after_seal: tally.after_seal.get(),
        tls_after_seal: tally.tls_after_seal.get(),
        frees_after_seal: tally.frees_after_seal.get(),
    })
}

/// From now on an allocation of this thread is a fault that is counted.
pub fn seal() {
    TALLY.with(|tally| tally.sealed.set(true));
}

/// Ends the seal: for reconnects, shutdown and tests. What was counted stays counted.
pub fn unseal() {
    TALLY.with(|tally| tally.sealed.set(false));
}

/// Whether this thread is sealed.
pub fn is_sealed() -> bool {
    TALLY.with(|tally| tally.sealed.get())
}

/// Runs `work`, counting what it allocates as rustls's. Nests; a panic inside leaves no trace.
#[inline]
pub fn tls_scope<R>(work: impl FnOnce() -> R) -> R {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            TALLY.with(|tally| tally.tls_depth.set(tally.tls_depth.get() - 1));
        }
    }
    TALLY.with(|tally| tally.tls_depth.set(tally.tls_depth.get() + 1));
    let _leave = Leave;
    work()
}

/// Allocations of all sealed threads since the start of the process.
pub fn sealed_allocs() -> u64 {
    SEALED_ALLOCS.load(Ordering::Relaxed)
}

/// With `true`, the first allocation of a sealed thread aborts the process. To find the culprit
/// with a debugger; never in production.
pub fn trap_on_sealed_alloc(on: bool) {
    TRAP.store(on, Ordering::Relaxed);
}

/// Allocations that `work` makes on this thread, with its result: the assertion of tests and
/// benches.
pub fn count_allocs<R>(work: impl FnOnce() -> R) -> (u64, R) {
    let before = thread_counts().allocs;
    let result = work();
    (thread_counts().allocs - before, result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocations_after_the_seal_are_counted_and_those_of_tls_apart() {
        std::thread::spawn(|| {
            let before = thread_counts();
            let kept = std::hint::black_box(vec![0u8; 100]);
            assert_eq!(thread_counts().after_seal, before.after_seal);
            let process_before = sealed_allocs();
            seal();
            assert!(is_sealed());
            drop(kept);
            drop(std::hint::black_box(vec![0u8; 100]));
            tls_scope(|| drop(std::hint::black_box(vec![0u8; 100])));
            unseal();
            drop(std::hint::black_box(vec![0u8; 100]));
            let after = thread_counts();
            assert_eq!(after.after_seal - before.after_seal, 1);
            assert_eq!(after.tls_after_seal - before.tls_after_seal, 1);
            assert_eq!(after.frees_after_seal - before.frees_after_seal, 2);
            assert!(sealed_allocs() > process_before);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn growing_in_place_counts_as_an_allocation() {
        let mut list: Vec<u64> = Vec::with_capacity(4);
        let (count, ()) = count_allocs(|| list.resize(std::hint::black_box(5), 0));
        assert_eq!(count, 1);
        let (count, ()) = count_allocs(|| list[0] = 1);
        assert_eq!(count, 0);
    }

    #[test]
    fn a_panic_inside_a_tls_scope_leaves_it() {
        std::thread::spawn(|| {
            let result =
                std::panic::catch_unwind(|| tls_scope(|| std::panic::resume_unwind(Box::new(1))));
            assert!(result.is_err());
            seal();
            drop(std::hint::black_box(vec![0u8; 64]));
            unseal();
            assert_eq!(thread_counts().after_seal, 1);
        })
        .join()
        .unwrap();
    }
}
