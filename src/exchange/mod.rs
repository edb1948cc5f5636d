//! Purpose:   the other side: matching, accounts, wire grammar, markets; not joined yet.
//! Knows:     base, model.           Must not know: venue, engine, line, io, runtime.
//! Time:      the market's clock, told by the caller.
//! Memory:    may allocate.
//! Errors:    the venue's own codes.
//! Tests:     none yet.
