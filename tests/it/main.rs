//! One integration binary; modules by phenomenon.

mod config_errors;
mod tidy;
