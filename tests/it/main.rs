//! One integration binary; modules by phenomenon.

mod config_errors;
mod exchange_recordings;
mod exchange_round_trip;
mod exchange_support;
mod nonces_of_many;
mod record_round_trip;
mod run_attached;
mod run_bad_input;
mod run_embedded;
mod run_support;
mod tidy;
mod venue_command;
mod venue_process;
