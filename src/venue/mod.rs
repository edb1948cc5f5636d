//! Purpose:   speaks the venue's protocol, client side: frames, sessions, books, signing, order entry, REST.
//! Knows:     base, model.           Must not know: engine, line, exchange, io, runtime.
//! Time:      told by the caller with every call; asks no clock.
//! Memory:    books, carry buffers and tables are made at construction; the message paths touch no heap.
//! Errors:    typed enums; nonsense from outside is counted, kept in a recorder and answered by a resync.
//! Tests:     beside each file; recordings decoded whole in public/tests.rs and private_tests.rs; benches/decode.rs.

pub mod book;
pub mod out;
pub mod raw_book;
pub mod scan;
pub mod symbols;
pub mod ws;
