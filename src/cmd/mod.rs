//! Purpose:   the command line: one file a subcommand.
//! Knows:     every room.
//! Time:      the host's, to name a run.
//! Memory:    set-up only.
//! Errors:    one message on standard error and an exit code of `ops::report::exit`.
//! Tests:     beside each file, tests/it/config_errors.rs.

#[cfg(feature = "net")]
mod account;
// Without sockets only a replay asks for stages.
#[cfg_attr(not(feature = "net"), allow(dead_code))]
mod assemble;
#[cfg(feature = "net")]
mod client;
mod config;
#[cfg(feature = "net")]
mod control;
mod doctor;
#[cfg(feature = "net")]
mod drill;
mod engine;
#[cfg(feature = "net")]
mod entry;
#[cfg(feature = "net")]
mod gaps;
#[cfg(feature = "net")]
mod history;
#[cfg(feature = "net")]
mod ids;
#[cfg(feature = "net")]
mod journal;
#[cfg(feature = "net")]
mod keys;
#[cfg(feature = "net")]
mod kill;
mod latency;
#[cfg(feature = "net")]
mod memory;
mod moments;
#[cfg(feature = "net")]
mod operate;
mod options;
#[cfg(feature = "net")]
mod outside;
#[cfg(feature = "net")]
mod publish;
#[cfg(feature = "net")]
mod reach;
#[cfg(feature = "net")]
mod record;
mod replay;
mod request;
#[cfg(feature = "net")]
mod rest;
mod run;
#[cfg(feature = "net")]
mod secrets;
#[cfg(feature = "net")]
mod session;
mod simulate;
#[cfg(feature = "net")]
mod symbols;
#[cfg(feature = "net")]
mod top;
#[cfg(feature = "net")]
mod venue;
#[cfg(feature = "net")]
mod watch;

pub use request::{RunError, RunRequest};

use crate::ops::rundir::Places;
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// A low-latency trading engine for Bitfinex.
///
/// Without a command it runs the embedded environment until Ctrl-C: an exchange of its own on
/// loopback, a seeded market, four symbols, paper orders. Nothing real can happen: real orders need
/// both trading.mode = "live" in a config and --arm ACCOUNT.
#[derive(Parser, Debug)]
#[command(name = "genesis", version = VERSION, after_help = EXIT_CODES)]
#[command(args_conflicts_with_subcommands = true, verbatim_doc_comment)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Options of `genesis run`, which are accepted without the word `run`, too.
    #[command(flatten)]
    run: run::RunArgs,
}

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("GENESIS_COMMIT"), ")");
const EXIT_CODES: &str = "Exit codes:
  0  all went well
  1  something failed; the message says what
  2  bad input: arguments, config, a file missing or broken, a port in use
  3  the run ended with own orders at the venue, or with orders of unknown fate
  4  flat was asked for (trading.on_stop = \"flatten\") and positions are left
  5  the engine halted by itself
  6  a command was given and no run answers
  7  a thread hung and could not be ended; own orders may be at the venue";

// One value a process.
#[allow(clippy::large_enum_variant)]
#[derive(Subcommand, Debug)]
enum Command {
    /// Run the engine as a config says.
    #[command(after_help = EXIT_CODES)]
    Run(run::RunArgs),
    /// Latencies of a run, or the waterfall of one order.
    Latency(latency::LatencyArgs),
    /// Feed a run's input log through the line again; the same decisions must come out.
    Replay(replay::ReplayArgs),
    /// Check, show or explain a config.
    Config(config::ConfigArgs),
    /// Serve an exchange that speaks Bitfinex's protocol, for any client.
    #[cfg(feature = "net")]
    #[command(after_help = venue::MANUAL)]
    Venue(Box<venue::VenueArgs>),
    /// Record what a venue sends into files that are markets.
    #[cfg(feature = "net")]
    #[command(after_help = record::MANUAL)]
    Record(Box<record::RecordArgs>),
    /// No new entries; exits go on.
    #[cfg(feature = "net")]
    Pause(options::WordArgs),
    /// Take a pause back.
    #[cfg(feature = "net")]
    Resume(options::WordArgs),
    /// Cancel own orders.
    #[cfg(feature = "net")]
    Cancel(options::WordArgs),
    /// Close positions; entries are paused first.
    #[cfg(feature = "net")]
    Flatten(options::WordArgs),
    /// Kill switch: no entries, own orders cancelled, positions closed, halted until reset.
    #[cfg(feature = "net")]
    #[command(after_help = EXIT_CODES)]
    Kill(control::KillArgs),
    /// Clear what has tripped, with a reason.
    #[cfg(feature = "net")]
    Reset(options::WordArgs),
    /// Every guard with what it blocked and how far it is from its limit.
    #[cfg(feature = "net")]
    Guards(control::GuardsArgs),
    #[cfg(feature = "net")]
    #[command(flatten)]
    Client(client::ClientCommand),
    /// Check what a run has written down, or make a history (SQLite) of it.
    #[cfg(feature = "net")]
    Journal(journal::JournalArgs),
    /// Practise an incident against an exchange of ours; passed or failed, line by line.
    #[cfg(feature = "net")]
    #[command(after_help = drill::MANUAL)]
    Drill(drill::DrillArgs),
    /// A running engine on the terminal, as the dashboard shows it.
    #[cfg(feature = "net")]
    Top(top::TopArgs),
    /// What the venue lists, and which pair a name stands for.
    #[cfg(feature = "net")]
    Symbols(symbols::SymbolsArgs),
    /// What the API keys may do, and whether they may trade live.
    #[cfg(feature = "net")]
    #[command(after_help = keys::MANUAL)]
    Keys(keys::KeysArgs),
    /// Run engine and exchange under seeds and faults, on virtual time, and check what must hold.
    #[command(after_help = simulate::MANUAL)]
    Simulate(simulate::SimulateArgs),
    /// Check this machine: clocks, CPUs, memory, directories.
    Doctor(doctor::DoctorArgs),
}

/// Runs what the command line says.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let code = match cli.command {
        None => run::run(&cli.run),
        Some(Command::Run(args)) => run::run(&args),
        Some(Command::Latency(args)) => latency::run(&args),
        Some(Command::Replay(args)) => replay::run(&args),
        Some(Command::Config(args)) => config::run(&args),
        #[cfg(feature = "net")]
        Some(Command::Venue(args)) => venue::run(&args),
        #[cfg(feature = "net")]
        Some(Command::Record(args)) => record::run(&args),
        #[cfg(feature = "net")]
        Some(Command::Pause(args)) => control::word("pause", &args),
        #[cfg(feature = "net")]
        Some(Command::Resume(args)) => control::word("resume", &args),
        #[cfg(feature = "net")]
        Some(Command::Cancel(args)) => control::word("cancel", &args),
        #[cfg(feature = "net")]
        Some(Command::Flatten(args)) => control::word("flatten", &args),
        #[cfg(feature = "net")]
        Some(Command::Kill(args)) => control::kill(&args),
        #[cfg(feature = "net")]
        Some(Command::Reset(args)) => control::word("reset", &args),
        #[cfg(feature = "net")]
        Some(Command::Guards(args)) => control::guards(&args),
        #[cfg(feature = "net")]
        Some(Command::Journal(args)) => journal::run(&args),
        #[cfg(feature = "net")]
        Some(Command::Drill(args)) => drill::run(&args),
        #[cfg(feature = "net")]
        Some(Command::Top(args)) => top::run(&args),
        #[cfg(feature = "net")]
        Some(Command::Symbols(args)) => symbols::run(&args),
        #[cfg(feature = "net")]
        Some(Command::Keys(args)) => keys::run(&args),
        Some(Command::Simulate(args)) => simulate::run(&args),
        Some(Command::Doctor(args)) => doctor::run(&args),
        #[cfg(feature = "net")]
        Some(Command::Client(command)) => client::run(&command),
    };
    ExitCode::from(code)
}

/// Tells the operator what is wrong; the exit code is the caller's.
fn complain(words: impl std::fmt::Display) {
    eprintln!("genesis: {words}");
}

/// Prints to standard output; a reader that went away is no failure of ours.
fn say(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    if !text.ends_with('\n') {
        let _ = out.write_all(b"\n");
    }
}

/// Where runs are kept, as the environment and the options say. The environment is read here alone.
fn places(chosen: Option<PathBuf>) -> Places {
    let absolute =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    Places {
        chosen,
        state_home: absolute("XDG_STATE_HOME"),
        home: absolute("HOME"),
        temp: std::env::temp_dir(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::report::exit;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn run_options_work_with_and_without_the_word() {
        let bare = Cli::try_parse_from(["genesis", "--speed", "max"]).unwrap();
        assert!(bare.command.is_none());
        assert_eq!(bare.run.speed.as_deref(), Some("max"));
        let full = Cli::try_parse_from(["genesis", "run", "--for", "60s", "--report", "r.json"]);
        assert!(matches!(full.unwrap().command, Some(Command::Run(_))));
        assert!(Cli::try_parse_from(["genesis", "rnu"]).is_err());
        assert!(Cli::try_parse_from(["genesis", "run", "--for", "soon"]).is_err());
    }

    #[test]
    fn exit_codes_of_the_help_are_those_of_the_program() {
        for (code, word) in [
            (exit::OK, "all went well"),
            (exit::FAILURE, "something failed"),
            (exit::BAD_INPUT, "bad input"),
            (exit::ORDERS_LEFT, "own orders"),
            (exit::POSITIONS_LEFT, "positions are left"),
            (exit::HALTED, "halted"),
        ] {
            let line = EXIT_CODES.lines().find(|line| line.trim().starts_with(&code.to_string()));
            assert!(line.is_some_and(|line| line.contains(word)), "{code} {word}");
        }
    }
}
