//! The marks of the write-ahead log: nothing is read before it is written, and nothing is written
//! over before it was read.

use genesis_loom::Marks;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use loom::thread;

const SLOTS: u64 = 2;

/// Slots of a log that comes round. Their bytes are ordered by the marks alone: a reader that comes
/// too early finds an old number, one that comes too late a newer one.
struct Slots([AtomicU64; SLOTS as usize]);

impl Slots {
    fn new() -> Slots {
        Slots([AtomicU64::new(0), AtomicU64::new(0)])
    }
    fn write(&self, seq: u64) {
        self.0[(seq % SLOTS) as usize].store(seq, Ordering::Relaxed);
    }
    fn read(&self, seq: u64) -> u64 {
        self.0[(seq % SLOTS) as usize].load(Ordering::Relaxed)
    }
}

/// As `WalWriter::append` does it: full where the slot's record is not released.
fn append(slots: &Slots, marks: &Marks, seq: u64) -> bool {
    if seq > SLOTS && marks.released() < seq - SLOTS {
        return false;
    }
    slots.write(seq);
    marks.publish(seq);
    true
}

/// As `WalTail::poll` does it.
fn poll(slots: &Slots, marks: &Marks, next: &mut u64) {
    let published = marks.published();
    while *next <= published {
        assert_eq!(slots.read(*next), *next);
        *next += 1;
    }
    marks.release(*next - 1);
}

/// Goal: a log of two slots with four records, the reader anywhere.
#[test]
fn a_record_is_read_whole_and_not_written_over_before() {
    loom::model(|| {
        let marks = Arc::new(Marks::new(0));
        let slots = Arc::new(Slots::new());
        let writer = thread::spawn({
            let (marks, slots) = (Arc::clone(&marks), Arc::clone(&slots));
            move || (1..=4).take_while(|seq| append(&slots, &marks, *seq)).count() as u64
        });
        let mut next = 1;
        poll(&slots, &marks, &mut next);
        poll(&slots, &marks, &mut next);
        let written = writer.join().unwrap();
        assert!(written >= SLOTS, "there was room for two");
        poll(&slots, &marks, &mut next);
        assert_eq!(next - 1, written, "nothing lost");
    });
}

/// Goal: the journal's last round takes everything that came before it was told to stop. Method:
/// the word to stop follows the last record; the reader asks for it first, then reads.
#[test]
fn what_came_before_the_stop_is_still_taken() {
    loom::model(|| {
        let marks = Arc::new(Marks::new(0));
        let slots = Arc::new(Slots::new());
        let stop = Arc::new(AtomicBool::new(false));
        let writer = thread::spawn({
            let (marks, slots, stop) = (Arc::clone(&marks), Arc::clone(&slots), Arc::clone(&stop));
            move || {
                assert!(append(&slots, &marks, 1));
                assert!(append(&slots, &marks, 2));
                stop.store(true, Ordering::Release);
            }
        });
        let mut next = 1;
        for _ in 0..2 {
            let is_last = stop.load(Ordering::Acquire);
            poll(&slots, &marks, &mut next);
            if is_last {
                assert_eq!(next, 3);
            }
        }
        writer.join().unwrap();
    });
}
