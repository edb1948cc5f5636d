//! Purpose:   line and exchange under one seeded scheduler, in bytes; not built yet.
//! Knows:     every room below L4.   Must not know: runtime, ops, config, cmd.
//! Time:      virtual.
//! Memory:    free to allocate.
//! Errors:    a failing seed is printed with the command that repeats it.
//! Tests:     none yet.
