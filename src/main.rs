//! The program. What it does is in `cmd`, one file a subcommand.

use std::process::ExitCode;

fn main() -> ExitCode {
    genesis::cmd::main()
}
