//! One integration binary; modules by phenomenon.

mod config_errors;
mod exchange_recordings;
mod exchange_round_trip;
mod exchange_support;
mod tidy;
mod venue_command;
