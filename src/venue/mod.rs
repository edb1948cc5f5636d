//! Purpose:   speaks the venue's protocol, client side: frames, sessions, books, signing, order
//!            entry, REST.
//! Knows:     base, model.           Must not know: engine, line, exchange, io, runtime.
//! Time:      told by the caller with every call; asks no clock.
//! Memory:    books, carry buffers and tables are made at construction; the message paths touch no
//!            heap.
//! Errors:    typed enums; nonsense from outside is counted, kept in a recorder and answered by a
//!            resync.
//! Tests:     beside each file; recordings decoded whole in public/tests.rs and private_tests.rs;
//!            benches/decode.rs.

pub mod account;
pub mod book;
pub mod encode;
pub mod errors;
pub mod event;
pub mod fuzz;
pub mod out;
pub mod private;
pub mod public;
pub mod raw_book;
pub mod recorder;
pub mod rest;
pub mod scan;
pub mod seq;
pub mod sign;
pub mod status;
pub mod symbols;
pub mod ws;

#[cfg(test)]
pub(crate) mod shared_data {
    //! The recordings of `../shared/data`, for the tests of this room.

    use std::io::Read;

    /// Whole text of a recording, unpacked where it is a gzip file.
    pub(crate) fn text(name: &str) -> Vec<u8> {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
        let bytes = std::fs::read(path.join(name)).expect("the test is ignored where it is absent");
        if !name.ends_with(".gz") {
            return bytes;
        }
        let mut text = Vec::new();
        flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut text).unwrap();
        text
    }
    /// The lines of a recording's text.
    pub(crate) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
        text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
    }
}
