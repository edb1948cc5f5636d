//! The manual, the schema and the resolved values, all made from the rows that reading collected.

use super::load::{Config, read_table};
use super::reader::{KeyRow, Reader, Row};
use serde::Serialize;
use std::fmt::Write as _;
use toml::Table;

const WIDTH: usize = 100;

fn rows() -> Vec<Row> {
    let table = Table::new();
    let mut reader = Reader::default();
    reader.describe = true;
    read_table(&table, &mut reader);
    reader.rows
}

/// Words wrapped as comment lines.
fn comment(out: &mut String, prefix: &str, words: &str) {
    let mut line = prefix.to_owned();
    for word in words.split_whitespace() {
        if line.len() + 1 + word.len() > WIDTH && line != prefix {
            out.push_str(&line);
            out.push('\n');
            prefix.clone_into(&mut line);
        }
        line.push(' ');
        line.push_str(word);
    }
    out.push_str(&line);
    out.push('\n');
}

fn facts(key: &KeyRow) -> String {
    let mut text = String::new();
    if !key.unit.is_empty() {
        let _ = write!(text, "Unit: {}. ", key.unit);
    }
    let _ = write!(text, "Default: {}. Range: {}.", key.default, key.range);
    text
}

/// The text of `config/genesis.toml`: every key with reason, unit, default and range above it.
pub fn manual_text() -> String {
    let mut out = String::from(
        "# Genesis: every key of the config, with its default; used as it is, it changes nothing.\n\
         # Above each key: what it is and why the default is so; then unit, default and range.\n\
         # Unknown keys are refused. Secrets never stand here. Names carry their unit.\n\
         # Money and sizes have up to 8 decimals; text (\"0.01\") and numbers are both taken.\n\
         # Made by `genesis config manual`; a test compares the two.\n",
    );
    let mut described: Vec<String> = Vec::new();
    for row in rows() {
        match row {
            Row::Section { header, intro, example } => {
                out.push('\n');
                if !intro.is_empty() {
                    comment(&mut out, "#", intro);
                }
                let _ = writeln!(out, "{}{header}", if example { "# " } else { "" });
            }
            Row::Key(key) => {
                let lead = if key.example { "# " } else { "" };
                if !described.contains(&key.schema) {
                    if !key.example {
                        out.push('\n');
                    }
                    let prefix = if key.example { "#  #" } else { "#" };
                    comment(&mut out, prefix, key.about);
                    comment(&mut out, prefix, &facts(&key));
                    described.push(key.schema.clone());
                }
                let _ = writeln!(out, "{lead}{} = {}", key.name, key.value);
            }
        }
    }
    out
}

#[derive(Serialize)]
struct SchemaKey {
    key: String,
    kind: &'static str,
    unit: &'static str,
    range: String,
    default: String,
    about: &'static str,
}

/// Every key once, as a JSON list.
pub fn schema_json() -> String {
    let mut keys: Vec<SchemaKey> = Vec::new();
    for row in rows() {
        let Row::Key(key) = row else { continue };
        if keys.iter().any(|known| known.key == key.schema) {
            continue;
        }
        keys.push(SchemaKey {
            key: key.schema,
            kind: key.kind,
            unit: key.unit,
            range: key.range,
            default: key.default,
            about: key.about,
        });
    }
    sonic_rs::to_string_pretty(&keys).unwrap_or_default()
}

/// The resolved values as TOML, with a mark behind what is not the default.
pub fn values_text(config: &Config) -> String {
    let mut out = format!("# config_hash {}\n", config.hash());
    for row in &config.rows {
        match row {
            Row::Section { header, .. } => {
                let _ = write!(out, "\n{header}\n");
            }
            Row::Key(key) => {
                let mark = if key.given { "   # given" } else { "" };
                let _ = writeln!(out, "{} = {}{mark}", key.name, key.value);
            }
        }
    }
    out
}

#[derive(Serialize)]
struct ShownKey<'a> {
    key: &'a str,
    value: &'a str,
    given: bool,
}
#[derive(Serialize)]
struct Shown<'a> {
    config_hash: String,
    values: Vec<ShownKey<'a>>,
}

/// The resolved values as JSON; values are TOML text.
pub fn values_json(config: &Config) -> String {
    let values = config
        .keys()
        .map(|key| ShownKey { key: &key.path, value: &key.value, given: key.given })
        .collect();
    sonic_rs::to_string_pretty(&Shown { config_hash: config.hash(), values }).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::load_text;

    const MANUAL: &str = include_str!("../../config/genesis.toml");

    #[test]
    #[ignore = "writes the manual: run it after a change of keys, then read the change"]
    fn write_the_manual() {
        let root = env!("CARGO_MANIFEST_DIR");
        std::fs::write(format!("{root}/config/genesis.toml"), manual_text()).unwrap();
    }

    #[test]
    fn the_manual_file_is_what_the_program_says() {
        // Line by line: the first difference is what one wants to see.
        for (file, program) in MANUAL.lines().zip(manual_text().lines()) {
            assert_eq!(
                file, program,
                "run `cargo test --lib write_the_manual -- --ignored` and read the change"
            );
        }
        assert_eq!(MANUAL.len(), manual_text().len());
    }

    #[test]
    fn the_manual_used_as_it_is_changes_nothing() {
        let config = load_text("config/genesis.toml", MANUAL, &[]).unwrap();
        assert_eq!(config.hash(), Config::defaults().hash());
        let values = |config: &Config| -> Vec<(String, String)> {
            config.keys().map(|key| (key.path.clone(), key.value.clone())).collect()
        };
        assert_eq!(values(&config), values(&Config::defaults()));
    }

    #[test]
    fn what_show_prints_is_a_config_with_the_same_hash() {
        let config = load_text("t", "[market]\nspeed = 4\n[risk]\ncollar_bps = 12.5", &[]).unwrap();
        let again = load_text("t", &values_text(&config), &[]).unwrap();
        assert_eq!(again.hash(), config.hash());
        assert!(values_json(&config).contains(&config.hash()));
    }

    #[test]
    fn every_key_is_described_and_every_number_has_its_unit() {
        let rows = rows();
        for row in &rows {
            let Row::Key(key) = row else { continue };
            assert!(key.about.len() > 10, "{} needs a reason", key.schema);
            assert!(!key.range.is_empty(), "{} needs a range", key.schema);
            let number = key.kind == "integer" || key.kind == "decimal";
            assert!(!number || !key.unit.is_empty() || key.name == "port", "{}", key.schema);
            for (suffix, unit) in [("_ms", "ms"), ("_s", "s"), ("_bps", "bps"), ("_mib", "MiB")] {
                assert!(!key.name.ends_with(suffix) || key.unit == unit, "{}", key.schema);
            }
        }
        assert!(schema_json().contains("strategy.probe.every_changes"));
    }

    #[test]
    fn examples_of_the_manual_are_valid_once_uncommented() {
        let mut text = String::new();
        let mut inside = false;
        for line in manual_text().lines() {
            if line.starts_with("# [[") && line.ends_with("]]") {
                inside = true;
                if line.contains("topology") {
                    text.push_str("[topology]\nlayout = \"explicit\"\n");
                } else if text.is_empty() {
                    text.push_str("symbols = [\"tBTCUSD\", \"tETHUSD\"]\n");
                }
            } else if line.is_empty() {
                inside = false;
            }
            if let (true, Some(bare)) = (inside, line.strip_prefix("# ")) {
                text.push_str(bare);
                text.push('\n');
            }
        }
        load_text("examples", &text, &[]).unwrap_or_else(|error| panic!("{error}\n{text}"));
    }
}
