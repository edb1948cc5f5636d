//! Purpose:   what people see of a run: histograms, report, waterfalls, live view, log.
//! Knows:     base, ring, model.     Must not know: runtime, config, cmd.
//! Time:      its own, for redraws and log lines; never for a decision.
//! Memory:    free to allocate, except `Histo::record`, which never does.
//! Errors:    `std::io::Error`; a view that cannot draw falls back to lines.
//! Tests:     beside each file; the view is drawn into a buffer.

pub mod alerts;
pub mod host;
#[cfg(feature = "net")]
pub mod http;
pub mod hub;
pub mod journal;
pub mod logger;
pub mod metrics;
pub mod report;
pub mod rest_stats;
pub mod rundir;
pub mod status;
pub mod text;
pub mod view;
pub mod watchdog;
pub mod waterfall;
