//! The write-ahead records of a run on disk, copied from memory by a cold thread: what was about
//! to leave, for ever. A record is `len u16 | kind u16 | seq u64 | crc32 u32 | payload`, little
//! endian; a file that ends inside a record was cut there, and what stands before is good.

use super::wal::WalRecord;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

/// The file in a run's directory.
pub const WAL_COPY_FILE: &str = "write-ahead.bin";
const MAGIC: [u8; 8] = *b"GENWAL01";
const HEAD_SIZE: usize = 16;
const PAYLOAD_MAX: usize = 4_096;

fn head(record: &WalRecord) -> [u8; HEAD_SIZE] {
    let mut head = [0; HEAD_SIZE];
    head[0..2].copy_from_slice(&(record.payload.len() as u16).to_le_bytes());
    head[2..4].copy_from_slice(&record.kind.to_le_bytes());
    head[4..12].copy_from_slice(&record.seq.to_le_bytes());
    let mut crc = crc32fast::Hasher::new();
    crc.update(&head[..12]);
    crc.update(&record.payload);
    head[12..16].copy_from_slice(&crc.finalize().to_le_bytes());
    head
}

/// Appends records.
pub struct WalCopy(BufWriter<File>);
impl WalCopy {
    /// # Errors
    /// The place cannot be written.
    pub fn create(path: &Path) -> io::Result<WalCopy> {
        let mut file = BufWriter::new(File::create(path)?);
        file.write_all(&MAGIC)?;
        file.flush()?;
        Ok(WalCopy(file))
    }
    /// # Errors
    /// The disk's.
    pub fn append(&mut self, record: &WalRecord) -> io::Result<()> {
        self.0.write_all(&head(record))?;
        self.0.write_all(&record.payload)
    }
    /// Hands everything to the kernel.
    ///
    /// # Errors
    /// The disk's.
    pub fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// What a copy holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WalCopied {
    pub records: Vec<WalRecord>,
    /// Bytes behind the last whole record.
    pub torn: usize,
    /// A record whose checksum is wrong: nothing behind it is read.
    pub is_damaged: bool,
}

/// # Errors
/// The file cannot be read, or is no such copy.
pub fn read_copy(path: &Path) -> io::Result<WalCopied> {
    let mut bytes = Vec::new();
    File::open(path)?.read_to_end(&mut bytes)?;
    let Some(mut rest) = bytes.strip_prefix(&MAGIC) else {
        return Err(io::Error::other("not a copy of a write-ahead log"));
    };
    let mut copied = WalCopied::default();
    while let Some((found, after)) = rest.split_first_chunk::<HEAD_SIZE>() {
        let len = usize::from(u16::from_le_bytes([found[0], found[1]]));
        if len > PAYLOAD_MAX || after.len() < len {
            copied.is_damaged = len > PAYLOAD_MAX;
            break;
        }
        let mut seq = [0; 8];
        seq.copy_from_slice(&found[4..12]);
        let record = WalRecord {
            seq: u64::from_le_bytes(seq),
            kind: u16::from_le_bytes([found[2], found[3]]),
            payload: after[..len].to_vec(),
        };
        if head(&record) != *found {
            copied.is_damaged = true;
            break;
        }
        rest = &after[len..];
        copied.records.push(record);
    }
    copied.torn = rest.len();
    Ok(copied)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_whole_comes_back_wherever_the_file_is_cut_or_spoilt() {
        let path = std::env::temp_dir().join(format!("genesis-walcopy-{}", std::process::id()));
        let record = |seq: u64| WalRecord { seq, kind: 1, payload: vec![seq as u8; 128] };
        let mut copy = WalCopy::create(&path).unwrap();
        for seq in 1..=3 {
            copy.append(&record(seq)).unwrap();
        }
        copy.flush().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let whole = read_copy(&path).unwrap();
        assert_eq!((whole.records.len(), whole.torn, whole.is_damaged), (3, 0, false));
        assert_eq!(whole.records[1], record(2));
        for cut in MAGIC.len()..bytes.len() {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            let copied = read_copy(&path).unwrap();
            assert_eq!(copied.records.len(), (cut - MAGIC.len()) / (HEAD_SIZE + 128), "{cut}");
            assert!(!copied.is_damaged, "{cut}");
        }
        for spoilt in MAGIC.len()..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[spoilt] ^= 0x10;
            std::fs::write(&path, &bytes).unwrap();
            let copied = read_copy(&path).unwrap();
            let before = (spoilt - MAGIC.len()) / (HEAD_SIZE + 128);
            assert_eq!(copied.records.len(), before, "{spoilt}");
            assert!(copied.is_damaged || copied.torn > 0, "{spoilt}");
        }
        std::fs::write(&path, "nonsense").unwrap();
        assert!(read_copy(&path).is_err());
        std::fs::remove_file(&path).unwrap();
    }
}
