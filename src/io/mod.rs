//! Purpose: (being written)
pub mod capture;
#[cfg(feature = "net")]
pub mod tls_server;
