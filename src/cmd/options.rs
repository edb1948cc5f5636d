//! Options and readers of options that several commands share.

use super::complain;
use crate::config::{Config, Sources};
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Args, Debug, Clone)]
pub(super) struct WordArgs {
    /// One symbol; without it all.
    #[arg(long, value_name = "SYMBOL")]
    pub symbol: Option<String>,
    /// Why; kept with the risk state. At most 48 bytes; `reset` needs one.
    #[arg(long, value_name = "WORDS", default_value = "")]
    pub reason: String,
    /// A run's directory, or the directory that holds the runs: then the newest.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// The answer as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Reads `90s`, `5m`, `2h`, `500ms`, or seconds without a unit.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a span of time; write e.g. 60s, 5m, 2h or 500ms");
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "ms" => number / 1e3,
        "" | "s" => number,
        "m" | "min" => number * 60.0,
        "h" => number * 3_600.0,
        "d" => number * 86_400.0,
        _ => return Err(wrong()),
    };
    if seconds > 0.0 && seconds <= 366.0 * 86_400.0 {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(format!("`{text}` is not above zero and at most a year"))
    }
}

/// Loads a config and tells its problems. `None`: told, exit code 2.
pub(super) fn load(sources: &Sources) -> Option<Config> {
    match sources.load() {
        Ok(config) => Some(config),
        Err(error) => {
            complain(error);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_carry_their_unit_and_nonsense_is_refused() {
        assert_eq!(span("60s"), Ok(Duration::from_secs(60)));
        assert_eq!(span("2"), Ok(Duration::from_secs(2)));
        assert_eq!(span("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(span("500ms"), Ok(Duration::from_millis(500)));
        for text in ["", "0", "0s", "-1s", "1x", "NaN", "1e9h", "..s", "400d"] {
            assert!(span(text).is_err(), "{text}");
        }
    }
}
