//! Purpose:   backtests, costs, calibration, the regime gate; not built yet.
//! Knows:     every room below L4.   Must not know: world, runtime, ops, config, cmd.
//! Time:      that of the data.
//! Memory:    free to allocate.
//! Errors:    none of its own yet.
//! Tests:     none yet.
