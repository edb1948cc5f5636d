//! Threads that may block. They never touch the line but by its rings.

pub mod dial;
