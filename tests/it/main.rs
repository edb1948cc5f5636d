//! One integration binary; modules by phenomenon.

mod config_errors;
mod nonces_of_many;
mod tidy;
