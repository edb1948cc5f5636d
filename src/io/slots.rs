//! A small file of fixed records that outlives the process: each record has two places, written in
//! turn, so that one is whole whenever the process dies. On tmpfs a write is a store into memory.
//!
//! A place is `crc32 u32 | size u32 | version u64 | payload`, little endian, the CRC over all that
//! follows it; of two whole ones the higher version holds.

use crate::io::map::FileMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Bytes of a place.
const PLACE_SIZE: usize = 512;
const PLACE_HEAD: usize = 16;
/// Longest record, bytes.
pub const SLOT_PAYLOAD_MAX: usize = PLACE_SIZE - PLACE_HEAD;
/// Records of a file, at most.
const RECORDS_MAX: usize = 4_096;

/// The writing side.
#[derive(Debug)]
pub struct SlotFile {
    map: FileMap,
    versions: Box<[u64]>,
}

impl SlotFile {
    /// Makes the file anew with these records, in the place of an older one: whoever reads finds
    /// the old or the new, never half of it. The directory is made with mode 0700.
    ///
    /// # Errors
    /// Whatever the file system says; `InvalidInput` for a record that is too long.
    pub fn create(path: &Path, records: &[Vec<u8>]) -> io::Result<SlotFile> {
        let too_long = records.iter().any(|record| record.len() > SLOT_PAYLOAD_MAX);
        if too_long || records.len() > RECORDS_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "too long a record"));
        }
        if let Some(dir) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        }
        let fresh = path.with_extension("new");
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = File::options();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(&fresh)?;
        let map = FileMap::create(&file, records.len().max(1) * 2 * PLACE_SIZE)?;
        let mut slots = SlotFile { map, versions: vec![0; records.len()].into_boxed_slice() };
        for (index, record) in records.iter().enumerate() {
            slots.write(index, record);
        }
        fs::rename(&fresh, path)?;
        Ok(slots)
    }

    /// Writes a record beside its last version. Neither blocks nor allocates.
    ///
    /// # Panics
    /// For a record that is not there or too long: a programmer's error.
    pub fn write(&mut self, index: usize, record: &[u8]) {
        assert!(record.len() <= SLOT_PAYLOAD_MAX, "a record of {} bytes", record.len());
        let version = self.versions[index] + 1;
        self.versions[index] = version;
        let at = (index * 2 + (version % 2) as usize) * PLACE_SIZE;
        let place = &mut self.map.bytes_mut()[at..at + PLACE_SIZE];
        let (head, body) = place.split_at_mut(PLACE_HEAD);
        body[..record.len()].copy_from_slice(record);
        head[4..8].copy_from_slice(&(record.len() as u32).to_le_bytes());
        head[8..16].copy_from_slice(&version.to_le_bytes());
        let mut crc = crc32fast::Hasher::new();
        crc.update(&head[4..]);
        crc.update(&body[..record.len()]);
        head[..4].copy_from_slice(&crc.finalize().to_le_bytes());
    }
    /// The file as it is now, to be copied elsewhere.
    pub fn bytes(&self) -> &[u8] {
        self.map.bytes()
    }
}

/// The newest whole version of each record; `None` where neither place is whole.
///
/// # Errors
/// Whatever the file system says; `InvalidData` for a file of another shape.
pub fn read_slots(path: &Path) -> io::Result<Vec<Option<Vec<u8>>>> {
    let bytes = fs::read(path)?;
    if bytes.is_empty()
        || !bytes.len().is_multiple_of(2 * PLACE_SIZE)
        || bytes.len() > RECORDS_MAX * 2 * PLACE_SIZE
    {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a file of records"));
    }
    let record = |pair: &[u8]| {
        let places = pair.chunks_exact(PLACE_SIZE).filter_map(place_of);
        places.max_by_key(|(version, _)| *version).map(|(_, record)| record.to_vec())
    };
    Ok(bytes.chunks_exact(2 * PLACE_SIZE).map(record).collect())
}

fn place_of(place: &[u8]) -> Option<(u64, &[u8])> {
    let four = |at: usize| place[at..at + 4].try_into().map(u32::from_le_bytes).ok();
    let (crc, size) = (four(0)?, four(4)? as usize);
    let version = place[8..16].try_into().map(u64::from_le_bytes).ok()?;
    let end = PLACE_HEAD.checked_add(size).filter(|end| *end <= PLACE_SIZE)?;
    let whole = version > 0 && crc32fast::hash(&place[4..end]) == crc;
    whole.then(|| (version, &place[PLACE_HEAD..end]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::files::TestDir;

    #[test]
    fn a_write_that_was_cut_off_anywhere_leaves_the_version_before_it() {
        let dir = TestDir::new("slots");
        let path = dir.path().join("a");
        let mut slots = SlotFile::create(&path, &[b"one".to_vec(), b"two".to_vec()]).unwrap();
        slots.write(1, b"two and a half");
        let before = slots.bytes().to_vec();
        slots.write(1, b"three, which is longer");
        let after = slots.bytes().to_vec();
        let (mut old, mut new) = (0, 0);
        for cut in 0..=before.len() {
            let torn: Vec<u8> = [&after[..cut], &before[cut..]].concat();
            fs::write(&path, torn).unwrap();
            let read = read_slots(&path).unwrap();
            assert_eq!(read[0].as_deref(), Some(&b"one"[..]));
            match read[1].as_deref().unwrap() {
                b"two and a half" => old += 1,
                b"three, which is longer" => new += 1,
                other => panic!("neither: {other:?}"),
            }
        }
        assert!(old > 100 && new > 100, "{old} {new}");
        // Made anew, it holds what it was given, whatever stood there.
        SlotFile::create(&path, &[b"x".to_vec()]).unwrap();
        assert_eq!(read_slots(&path).unwrap(), [Some(b"x".to_vec())]);
        for broken in [vec![], vec![0; 100], vec![7; 2 * PLACE_SIZE]] {
            fs::write(&path, &broken).unwrap();
            let read = read_slots(&path);
            assert!(read.is_err() || read.unwrap() == [None]);
        }
        assert!(SlotFile::create(&path, &[vec![0; SLOT_PAYLOAD_MAX + 1]]).is_err());
    }
}
