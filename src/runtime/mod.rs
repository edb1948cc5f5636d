//! Purpose: (being written)

#[cfg(feature = "net")]
pub mod server;
