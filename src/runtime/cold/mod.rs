//! Threads that may block: dialling, REST, disk. They never touch the line but by its rings.

pub mod dial;
pub mod journal;
pub mod rest;
