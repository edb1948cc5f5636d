//! Purpose:   the edge of the program: sockets, TLS, REST transport, files, logs, clock, syscalls,
//!            allocator.
//! Knows:     base, ring, model.     Must not know: venue, engine, line, exchange, runtime.
//! Time:      `clock.rs` is the one place that asks a clock.
//! Memory:    hot reads and writes use buffers made at start; rustls allocates, counted apart by
//!            `alloc`.
//! Errors:    one enum a file; `std::io::Error` where the kernel speaks. No panic on outside input.
//! Tests:     beside each file, against local listeners only; kill simulations in wal.rs and
//!            input_log.rs.

pub mod alloc;
pub mod capture;
pub mod capture_writer;
pub mod clock;
pub mod files;
pub mod history;
pub mod http1;
pub mod input_log;
pub mod map;
pub mod nonce;
pub mod secret;
pub mod slots;
pub mod syscall;
pub mod wal;
pub mod wal_copy;

#[cfg(feature = "net")]
pub mod dial;
#[cfg(feature = "net")]
pub mod http;
#[cfg(feature = "net")]
mod out_buffer;
#[cfg(feature = "net")]
pub mod rest;
#[cfg(feature = "http2")]
pub mod rest_curl;
#[cfg(feature = "net")]
pub mod socket;
#[cfg(feature = "net")]
pub mod tls;
#[cfg(feature = "net")]
pub mod tls_server;
