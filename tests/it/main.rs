//! One integration binary; modules by phenomenon.

#[cfg(feature = "net")]
mod alerts_in_time;
#[cfg(feature = "net")]
mod bitfinex;
#[cfg(feature = "net")]
mod brackets;
mod config_errors;
#[cfg(feature = "net")]
mod exchange_recordings;
mod exchange_round_trip;
mod exchange_support;
#[cfg(feature = "net")]
mod fault_table;
#[cfg(feature = "net")]
mod guards_by_faults;
#[cfg(feature = "http2")]
mod http2_front;
#[cfg(feature = "net")]
mod journal_and_history;
#[cfg(feature = "net")]
mod kill_and_restart;
#[cfg(feature = "net")]
mod kill_loop;
#[cfg(feature = "net")]
mod kill_matrix;
#[cfg(feature = "net")]
mod loss_limit;
mod nonces_of_many;
#[cfg(feature = "net")]
mod record_round_trip;
#[cfg(feature = "net")]
mod rest_fallback;
#[cfg(feature = "net")]
mod run_attached;
#[cfg(feature = "net")]
mod run_bad_input;
#[cfg(feature = "net")]
mod run_embedded;
#[cfg(feature = "net")]
mod run_operated;
#[cfg(feature = "net")]
mod run_rest;
#[cfg(feature = "net")]
mod run_support;
#[cfg(feature = "net")]
mod symbols_and_keys;
mod tidy;
#[cfg(feature = "net")]
mod venue_command;
#[cfg(feature = "net")]
mod venue_crowd;
#[cfg(feature = "net")]
mod venue_process;
#[cfg(feature = "net")]
mod watchdog_in_time;
#[cfg(feature = "net")]
mod webhook;
