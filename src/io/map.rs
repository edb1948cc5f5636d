//! A file of fixed size as writable memory, every page present before first use.
#![allow(unsafe_code)]

use memmap2::MmapMut;
use std::fs::File;
use std::io::{self, Write};

/// Size of the pages that are touched ahead, bytes. Larger pages are touched more than once, which
/// is harmless.
const PAGE_SIZE: usize = 4096;

/// Size of a cache line, bytes.
const LINE_SIZE: usize = 64;

#[inline(always)]
fn prefetch_line(line: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
        // SAFETY: a prefetch is a hint: it reads no value and never faults, whatever the address
        // is. Here it is the address of a live slice.
        unsafe { _mm_prefetch::<_MM_HINT_ET0>(line.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}

/// Shared, writable memory over a file. What is stored here outlives the process (not the machine,
/// on tmpfs).
#[derive(Debug)]
pub struct FileMap {
    map: MmapMut,
}

impl FileMap {
    /// Fills the new file with `size` zero bytes and maps it, with every page written once. Writing
    /// the zeros by `write` first makes a full disk an error here instead of a SIGBUS later.
    ///
    /// The caller promises that nobody else truncates the file while the map lives; the write-ahead
    /// log keeps that promise with a lock file in a directory of its own.
    ///
    /// # Errors
    /// Whatever the file system says, `StorageFull` among it.
    pub fn create(mut file: &File, size: usize) -> io::Result<FileMap> {
        let zeros = [0u8; 64 * 1024];
        let mut left = size;
        while left > 0 {
            let part = left.min(zeros.len());
            file.write_all(&zeros[..part])?;
            left -= part;
        }
        file.flush()?;
        // SAFETY: the file was just made by us at full size in a directory held by our lock file,
        // so no other process of ours writes or truncates it; others read it by pread only.
        let mut map = unsafe { MmapMut::map_mut(file)? };
        for page in map.chunks_mut(PAGE_SIZE) {
            // A store of what is there already: it makes the page present and writable.
            std::hint::black_box(&mut *page)[0] = std::hint::black_box(0);
        }
        Ok(FileMap { map })
    }
    #[inline(always)]
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }
    #[inline(always)]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.map
    }
    /// Asks the CPU to bring `size` bytes from `at` on near, for writing, without waiting for them.
    /// Whatever lies outside of the map is left out.
    #[inline(always)]
    pub fn prefetch(&self, at: usize, size: usize) {
        let Some(bytes) = self.map.get(at..self.map.len().min(at.saturating_add(size))) else {
            return;
        };
        for line in bytes.chunks(LINE_SIZE) {
            prefetch_line(line.as_ptr());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::files::TestDir;
    use crate::io::syscall::thread_faults;

    #[test]
    fn a_prefetch_changes_nothing() {
        let bytes: Vec<u8> = (0..200).collect();
        bytes.chunks(LINE_SIZE).for_each(|line| prefetch_line(line.as_ptr()));
        // One past the end is an address like any other.
        prefetch_line(bytes.as_ptr_range().end);
        assert!(bytes.iter().enumerate().all(|(index, byte)| index == usize::from(*byte)));
    }

    #[test]
    fn what_is_stored_is_in_the_file_and_first_use_takes_no_fault() {
        let dir = TestDir::new("map");
        let path = dir.path().join("map");
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        let mut map = FileMap::create(&file, 1 << 20).unwrap();
        assert_eq!(map.bytes().len(), 1 << 20);
        std::hint::black_box(thread_faults());
        let before = thread_faults();
        for page in map.bytes_mut().chunks_mut(PAGE_SIZE) {
            page[7] = 42;
        }
        let after = thread_faults();
        // On tmpfs none; a disk file system may take one a page for its write-back accounting.
        if dir.path().starts_with("/dev/shm") {
            assert!(after.minor - before.minor <= 1, "{before:?} {after:?}");
        }
        let read = std::fs::read(&path).unwrap();
        assert_eq!((read.len(), read[7], read[PAGE_SIZE + 7]), (1 << 20, 42, 42));
    }
}
