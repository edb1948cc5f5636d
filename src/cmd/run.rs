//! `genesis` and `genesis run`: from arguments to a checked request, and from a report to an exit
//! code.

use super::engine;
use super::options::{load, span};
use super::request::{RunError, RunRequest, Service};
use super::{complain, places, say};
use crate::config::{Config, Environment, MarketSource, Override, Sources, TradingMode, ViewKind};
use crate::ops::report::{Report, exit};
use crate::ops::rundir::{REPORT_FILE, write_atomic};
use crate::ops::{logger, view::ViewMode};
use clap::Args;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Args, Debug, Default, Clone)]
pub(super) struct RunArgs {
    /// Config file; without one the built-in defaults, which config/genesis.toml describes.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One key of the config, stronger than the file; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = Override::parse)]
    pub set: Vec<Override>,
    /// Stop by itself after this long, e.g. 60s, 5m, 2h, 500ms; with a recording also when it ends.
    #[arg(long = "for", value_name = "SPAN", value_parser = span)]
    pub run_for: Option<Duration>,
    /// Write the report here as JSON; `-` is standard output.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// What the embedded exchange plays: synthetic:SEED or capture:FILE.
    #[arg(long, value_name = "MARKET")]
    pub market: Option<String>,
    /// Speed of the market's clock: a number, or max.
    #[arg(long, value_name = "N|max")]
    pub speed: Option<String>,
    /// Second switch of live trading: the name of trading.account.
    #[arg(long, value_name = "ACCOUNT")]
    pub arm: Option<String>,
    /// Trade against a `genesis venue` in another process: HOST:PORT, or a ws:// or wss:// address
    /// (then venue.ca_file names its CA).
    #[arg(long, value_name = "ADDRESS")]
    pub attach: Option<String>,
    /// Plain lines instead of the live view.
    #[arg(long)]
    pub plain: bool,
    /// Neither view nor words; the report is printed as JSON at the end.
    #[arg(long)]
    pub json: bool,
    /// Directory that holds the run directories.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// For `genesis drill`: step the wall clock that this run sees, once.
    #[arg(long, value_name = "MS@SPAN", hide = true, allow_hyphen_values = true)]
    #[arg(value_parser = clock_step)]
    pub drill_clock_step: Option<(i64, Duration)>,
    /// For drills: let one thread do wrong, e.g. parse:wedge@15s; wedge, slow or panic.
    #[arg(long, value_name = "THREAD:FAULT@SPAN", hide = true, value_parser = thread_fault)]
    pub drill_thread: Option<(String, String, Duration)>,
}

/// Reads `-5000@10s`: five seconds back, ten seconds after the start.
fn clock_step(text: &str) -> Result<(i64, Duration), String> {
    let wrong = || format!("`{text}` is not of the form MS@SPAN, e.g. -5000@10s");
    let (step_ms, after) = text.split_once('@').ok_or_else(wrong)?;
    Ok((step_ms.parse().map_err(|_| wrong())?, span(after)?))
}

/// Reads `parse:wedge@15s`.
fn thread_fault(text: &str) -> Result<(String, String, Duration), String> {
    let wrong = || format!("`{text}` is not of the form THREAD:wedge|slow|panic@SPAN");
    let (what, after) = text.split_once('@').ok_or_else(wrong)?;
    let (thread, fault) = what.split_once(':').ok_or_else(wrong)?;
    match fault {
        "wedge" | "slow" | "panic" => Ok((thread.to_owned(), fault.to_owned(), span(after)?)),
        _ => Err(wrong()),
    }
}

impl RunArgs {
    fn sources(&self) -> Sources {
        let mut overrides = self.set.clone();
        let mut add = |key: &str, value: &str| {
            overrides.push(Override { key: key.to_owned(), value: value.to_owned() });
        };
        if let Some(market) = &self.market {
            add("market.source", &format!("{market:?}"));
        }
        if let Some(speed) = &self.speed {
            add("market.speed", speed);
        }
        Sources { file: self.config.clone(), overrides }
    }
}

/// What the config alone cannot tell: files that must be there, and the second switch.
fn check(config: &Config, args: &RunArgs) -> Vec<String> {
    let mut problems = Vec::new();
    if config.environment != Environment::Bitfinex
        && let MarketSource::Capture { path } = &config.market.source
    {
        match std::fs::metadata(path) {
            Err(error) => problems.push(format!(
                "recording `{path}` cannot be read: {error}; check the path behind capture:"
            )),
            Ok(facts) if !facts.is_file() => {
                problems
                    .push(format!("recording `{path}` is not a file; name one behind capture:"));
            }
            Ok(_) => {}
        }
    }
    if let Some(report) = &args.report
        && report != Path::new("-")
    {
        let parent = match report.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        if !parent.is_dir() {
            problems.push(format!(
                "--report {}: there is no directory `{}`; make it first",
                report.display(),
                parent.display()
            ));
        } else if report.is_dir() {
            problems.push(format!("--report {}: is a directory; name a file", report.display()));
        }
    }
    let live = config.trading.mode == TradingMode::Live;
    match (&args.arm, live) {
        (Some(name), true) if *name != config.trading.account => problems.push(format!(
            "--arm {name} is not the account of the config, `{}`; real orders need both to agree",
            config.trading.account
        )),
        (None, true) => problems.push(format!(
            "trading.mode is \"live\": add --arm {} to send real orders, or set another mode",
            config.trading.account
        )),
        (Some(name), false) => problems.push(format!(
            "--arm {name} is given but trading.mode is \"{}\": nothing is armed; remove --arm",
            config.trading.mode.name()
        )),
        _ => {}
    }
    let is_drill = config.environment == Environment::Embedded && !live;
    if (args.drill_clock_step.is_some() || args.drill_thread.is_some()) && !is_drill {
        problems.push(
            "--drill-*: drills are for the embedded environment, never for live orders".to_owned(),
        );
    }
    problems
}

pub(super) fn run(args: &RunArgs) -> u8 {
    let Some(config) = load(&args.sources()) else { return exit::BAD_INPUT };
    let problems = check(&config, args);
    if !problems.is_empty() {
        problems.iter().for_each(complain);
        return exit::BAD_INPUT;
    }
    let report_to_stdout = args.json || args.report.as_deref() == Some(Path::new("-"));
    let view = if report_to_stdout {
        ViewMode::Off
    } else {
        match (config.report.view, args.plain) {
            (ViewKind::Off, _) => ViewMode::Off,
            (ViewKind::Plain, _) | (ViewKind::Auto, true) => ViewMode::Lines,
            (ViewKind::Auto, false) => ViewMode::Auto,
        }
    };
    logger::install(config.log.level, config.log.json);
    let dir = args
        .dir
        .clone()
        .or_else(|| Some(&config.journal.dir).filter(|dir| !dir.is_empty()).map(PathBuf::from));
    let request = RunRequest {
        run_for: args.run_for,
        view,
        armed: args.arm.clone(),
        places: places(dir),
        attach: args.attach.clone(),
        service: Service {
            notify_socket: std::env::var("NOTIFY_SOCKET").ok(),
            watchdog_usec: std::env::var("WATCHDOG_USEC").ok(),
        },
        clock_step: args.drill_clock_step,
        thread_fault: args.drill_thread.clone(),
    };
    match engine::runtime_entry(config, request) {
        Ok(report) => finish(&report, args, report_to_stdout),
        Err(RunError::BadInput(words)) => {
            complain(words);
            exit::BAD_INPUT
        }
        Err(RunError::Failed(words)) => {
            complain(words);
            exit::FAILURE
        }
    }
}

fn finish(report: &Report, args: &RunArgs, to_stdout: bool) -> u8 {
    let json = report.to_json();
    let mut code = report.exit_code();
    let mut write = |path: &Path| {
        if let Err(error) = write_atomic(path, json.as_bytes()) {
            complain(format!("the report cannot be written to `{}`: {error}", path.display()));
            code = code.max(exit::FAILURE);
        }
    };
    if !report.run_dir.is_empty() {
        write(&Path::new(&report.run_dir).join(REPORT_FILE));
    }
    if let Some(path) = args.report.as_deref().filter(|path| *path != Path::new("-")) {
        write(path);
    }
    if to_stdout {
        say(&json)
    } else {
        say(&report.summary())
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Speed;

    #[test]
    fn the_short_options_are_keys_of_the_config() {
        let args = RunArgs {
            market: Some("capture:a \"b\".gz".to_owned()),
            speed: Some("max".to_owned()),
            ..RunArgs::default()
        };
        let config = args.sources().load().unwrap();
        assert_eq!(config.market.source, MarketSource::Capture { path: "a \"b\".gz".to_owned() });
        assert_eq!(config.market.speed, Speed::Max);
        let args = RunArgs { speed: Some("nan".to_owned()), ..RunArgs::default() };
        assert!(args.sources().load().is_err());
    }

    #[test]
    fn live_needs_both_switches_and_nothing_else_may_be_armed() {
        let armed = |name: &str| RunArgs { arm: Some(name.to_owned()), ..RunArgs::default() };
        let paper = Config::defaults();
        assert!(check(&paper, &RunArgs::default()).is_empty());
        assert!(check(&paper, &armed("desk"))[0].contains("nothing is armed"));
        let mut live = paper;
        live.trading.mode = TradingMode::Live;
        live.trading.account = "desk".to_owned();
        assert!(check(&live, &RunArgs::default())[0].contains("--arm desk"));
        assert!(check(&live, &armed("dsek"))[0].contains("not the account"));
        assert!(check(&live, &armed("desk")).is_empty());
    }

    #[test]
    fn a_missing_recording_and_a_missing_directory_are_told() {
        let args = RunArgs {
            market: Some("capture:no/such/file.gz".to_owned()),
            report: Some("no/such/dir/r.json".into()),
            ..RunArgs::default()
        };
        let problems = check(&args.sources().load().unwrap(), &args);
        assert_eq!(problems.len(), 2);
        assert!(problems[0].contains("no/such/file.gz"));
        assert!(problems[1].contains("no directory"));
    }
}
