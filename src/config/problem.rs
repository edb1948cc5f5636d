//! What is wrong with a config: every problem names its key, what was got, what was expected and
//! what to do. All problems of a file are listed at once.

use crate::base::words::edits;
use std::fmt;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Full path as written, e.g. `strategy[1].qty`.
    pub key: String,
    /// The value found, as TOML text.
    pub got: String,
    /// What would have been accepted.
    pub expected: String,
    /// What the operator can do about it.
    pub advice: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: got {}, expected {}", self.key, self.got, self.expected)?;
        if self.advice.is_empty() { Ok(()) } else { write!(f, "; {}", self.advice) }
    }
}

/// Why no config came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// The file could not be read.
    Unreadable { path: String, cause: String },
    /// The file is not TOML; `cause` carries line and column.
    Syntax { path: String, cause: String },
    /// The file is TOML but not a config of this program.
    Invalid { path: String, problems: Vec<Problem> },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Unreadable { path, cause } => write!(
                f,
                "config file `{path}` cannot be read: {cause}; expected a readable TOML file; \
                 check the path given to --config (config/genesis.toml is the manual)"
            ),
            ConfigError::Syntax { path, cause } => write!(
                f,
                "config `{path}` is not valid TOML; mend it and run `genesis config check`:\n{}",
                cause.trim_end()
            ),
            ConfigError::Invalid { path, problems } => {
                let count = problems.len();
                let noun = if count == 1 { "problem" } else { "problems" };
                write!(f, "config `{path}` has {count} {noun}:")?;
                for problem in problems {
                    write!(f, "\n  - {problem}")?;
                }
                write!(
                    f,
                    "\nevery key is described in config/genesis.toml and by `genesis config schema`"
                )
            }
        }
    }
}
impl std::error::Error for ConfigError {}

/// What stands for a value that is not shown.
pub(super) const HIDDEN: &str = "(hidden)";

/// Whether a secret may have been written for this key, by its name. None belongs in a config, and
/// whoever writes one there all the same shall not find it in a log.
pub(super) fn may_hold_secret(key: &str) -> bool {
    const PARTS: [&str; 7] =
        ["secret", "token", "passw", "passphrase", "api_key", "apikey", "key_env"];
    let name = key.rsplit('.').next().unwrap_or_default().to_lowercase();
    PARTS.iter().any(|part| name.contains(part))
}

/// Words of the TOML reader, which quote the line that is wrong: without what a secret may be.
pub(super) fn without_secrets(words: &str) -> String {
    let plain = |line: &str| match line.split_once('=') {
        Some((key, _)) if may_hold_secret(key) => format!("{key}= {HIDDEN}"),
        _ => line.to_owned(),
    };
    words.lines().map(plain).collect::<Vec<_>>().join("\n")
}

/// The candidate nearest to `word`, if it is near enough to be a slip of the pen.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near_enough = 1 + word.chars().count() / 3;
    candidates
        .into_iter()
        .map(|candidate| (edits(&word.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| {
            *distance <= near_enough
                || (word.len() >= 4 && (candidate.contains(word) || word.contains(*candidate)))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_finds_its_word_and_nonsense_finds_none() {
        let words = ["orders_open_max", "order_rate_max", "collar_bps"];
        assert_eq!(nearest("orders_opne_max", words), Some("orders_open_max"));
        assert_eq!(nearest("colar_bps", words), Some("collar_bps"));
        assert_eq!(nearest("zzz", words), None);
    }
}
