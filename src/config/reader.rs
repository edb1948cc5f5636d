//! Reads a TOML table key by key. Each call names the key, its unit, default, range and reason, so
//! the code that reads a key is also its only description: the manual, `config schema`, `config
//! show` and the config hash are all made from the rows collected here.

use super::problem::{HIDDEN, Problem, may_hold_secret, nearest};
use crate::base::units::{UNIT_SCALE, parse_decimal, write_decimal};
use std::ops::RangeInclusive;
use toml::{Table, Value};

/// One line of the manual.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// `[risk]` or `[[strategy]]`, with the words that stand above it.
    Section {
        header: String,
        intro: &'static str,
        example: bool,
    },
    Key(KeyRow),
}

/// A key with its description and the value it resolved to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    /// Where it stands, e.g. `strategy[0].qty`.
    pub path: String,
    /// Name within its section.
    pub name: &'static str,
    /// Path without list positions, e.g. `strategy.maker.qty`: one description each.
    pub schema: String,
    /// `integer`, `decimal`, `flag`, `text`, `choice` or `list`.
    pub kind: &'static str,
    pub unit: &'static str,
    pub range: String,
    /// What it is, and why the default is what it is.
    pub about: &'static str,
    /// TOML text.
    pub default: String,
    /// TOML text.
    pub value: String,
    /// True where the file or the command line says so, false where it is the default.
    pub given: bool,
    /// True for rows that only the manual shows, commented out.
    pub example: bool,
}

/// What reading a config collects.
#[derive(Default)]
pub struct Reader {
    pub rows: Vec<Row>,
    pub problems: Vec<Problem>,
    /// Read sections that are absent, too, to describe them.
    pub describe: bool,
    example: bool,
    /// The table being read stands in for one that nobody wrote.
    stand_in: bool,
}

/// A table of the config while it is being read.
pub struct Scope<'r, 't> {
    reader: &'r mut Reader,
    table: Option<&'t Table>,
    path: String,
    schema: String,
    known: Vec<&'static str>,
}

/// Words of the manual for one key.
#[derive(Clone, Copy)]
pub struct Key {
    pub name: &'static str,
    pub unit: &'static str,
    pub about: &'static str,
}

/// Shorthand for [`Key`].
pub const fn key(name: &'static str, unit: &'static str, about: &'static str) -> Key {
    Key { name, unit, about }
}

impl Reader {
    pub fn root<'t>(&mut self, table: &'t Table) -> Scope<'_, 't> {
        Scope {
            reader: self,
            table: Some(table),
            path: String::new(),
            schema: String::new(),
            known: Vec::new(),
        }
    }
    /// True where the operator wrote the key instead of leaving the default.
    pub fn is_given(&self, path: &str) -> bool {
        self.keys().any(|key| key.path == path && key.given)
    }
    pub fn keys(&self) -> impl Iterator<Item = &KeyRow> {
        self.rows.iter().filter_map(|row| match row {
            Row::Key(key) => Some(key),
            Row::Section { .. } => None,
        })
    }
    pub fn refuse(
        &mut self,
        key: impl Into<String>,
        got: impl Into<String>,
        expected: impl Into<String>,
        advice: impl Into<String>,
    ) {
        let (key, got) = (key.into(), got.into());
        let got = if may_hold_secret(&key) { HIDDEN.to_owned() } else { got };
        self.problems.push(Problem { key, got, expected: expected.into(), advice: advice.into() });
    }
}

/// A value as one line of TOML.
pub fn literal(value: &Value) -> String {
    match value {
        Value::Table(_) => "a table".to_owned(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(literal).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Float(number) if number.is_nan() => "nan".to_owned(),
        other => other.to_string(),
    }
}

/// Units of 1e-8 as plain decimal text.
pub fn decimal_text(raw: i64) -> String {
    let mut text = [0u8; crate::base::units::DECIMAL_TEXT_MAX];
    let len = write_decimal(raw, &mut text);
    String::from_utf8_lossy(&text[..len]).into_owned()
}

/// Largest whole number that fits at 1e-8.
const WHOLE_MAX: u64 = (i64::MAX / UNIT_SCALE) as u64;

impl<'t> Scope<'_, 't> {
    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
    fn schema_of(&self, name: &str) -> String {
        if self.schema.is_empty() { name.to_owned() } else { format!("{}.{name}", self.schema) }
    }
    fn take(&mut self, name: &'static str) -> Option<&'t Value> {
        self.known.push(name);
        self.table.and_then(|table| table.get(name))
    }
    fn row(&mut self, key: Key, kind: &'static str, range: String, default: String) -> usize {
        let given =
            !self.reader.stand_in && self.table.is_some_and(|table| table.contains_key(key.name));
        let row = KeyRow {
            path: self.path_of(key.name),
            name: key.name,
            schema: self.schema_of(key.name),
            kind,
            unit: key.unit,
            range,
            about: key.about,
            value: default.clone(),
            default,
            given,
            example: self.reader.example,
        };
        self.reader.rows.push(Row::Key(row));
        self.reader.rows.len() - 1
    }
    fn settle(&mut self, row: usize, value: String) {
        if let Some(Row::Key(key)) = self.reader.rows.get_mut(row) {
            key.value = value;
        }
    }
    /// Records a problem with `name` of this table.
    pub fn refuse(&mut self, name: &str, got: &str, expected: &str, advice: &str) {
        let path = self.path_of(name);
        self.reader.refuse(path, got, expected, advice);
    }
    /// The value of `name` as the operator wrote it, if any.
    pub fn written(&self, name: &str) -> Option<String> {
        self.table.and_then(|table| table.get(name)).map(literal)
    }
    /// From here on, rows describe their keys as `strategy.maker.…`.
    pub fn describe_as(&mut self, schema: &str) {
        schema.clone_into(&mut self.schema);
    }

    /// A whole number.
    pub fn int(&mut self, key: Key, default: i64, range: RangeInclusive<i64>) -> i64 {
        debug_assert!(range.contains(&default), "{}: default out of range", key.name);
        let (low, high) = range.into_inner();
        let words = format!("{low} … {high}");
        let row = self.row(key, "integer", words.clone(), default.to_string());
        let value = match self.take(key.name) {
            None => default,
            Some(Value::Integer(number)) if (low..=high).contains(number) => *number,
            Some(other) => {
                let expected = format!("a whole number of {}, {words}", key.unit);
                self.refuse(key.name, &literal(other), &expected, "write it without quotes");
                default
            }
        };
        self.settle(row, value.to_string());
        value
    }

    /// A decimal number, exact to 1e-8, in units of 1e-8. Accepts `5`, `0.5`, `"0.5"`.
    pub fn decimal(&mut self, key: Key, default: &str, low: &str, high: &str) -> i64 {
        let exact = |text: &str| match parse_decimal(text.as_bytes()) {
            Ok((raw, true)) => Some(raw),
            _ => None,
        };
        let fixed = |text: &str| exact(text).expect("a default or border in code is exact");
        let (low_raw, high_raw, default_raw) = (fixed(low), fixed(high), fixed(default));
        debug_assert!((low_raw..=high_raw).contains(&default_raw), "{}", key.name);
        let words = format!("{low} … {high}");
        let row = self.row(key, "decimal", words.clone(), decimal_text(default_raw));
        let value = match self.take(key.name) {
            None => default_raw,
            Some(found) => {
                let parsed = match found {
                    Value::Integer(number) if number.unsigned_abs() <= WHOLE_MAX => {
                        Some(number * UNIT_SCALE)
                    }
                    Value::Float(number) if number.is_finite() => exact(&number.to_string()),
                    Value::String(text) => exact(text),
                    _ => None,
                };
                match parsed {
                    Some(raw) if (low_raw..=high_raw).contains(&raw) => raw,
                    _ => {
                        let expected = format!(
                            "a finite number in {}, {words}, with at most 8 decimals",
                            key.unit
                        );
                        self.refuse(key.name, &literal(found), &expected, "");
                        default_raw
                    }
                }
            }
        };
        self.settle(row, decimal_text(value));
        value
    }

    pub fn flag(&mut self, key: Key, default: bool) -> bool {
        let row = self.row(key, "flag", "true, false".to_owned(), default.to_string());
        let value = match self.take(key.name) {
            None => default,
            Some(Value::Boolean(flag)) => *flag,
            Some(other) => {
                self.refuse(key.name, &literal(other), "true or false", "write it without quotes");
                default
            }
        };
        self.settle(row, value.to_string());
        value
    }

    /// Text that `check` accepts; `range` says in words what that is.
    pub fn text(
        &mut self,
        key: Key,
        default: &str,
        range: &str,
        check: impl Fn(&str) -> Result<(), String>,
    ) -> String {
        let quoted = literal(&Value::String(default.to_owned()));
        let row = self.row(key, "text", range.to_owned(), quoted);
        let value = match self.take(key.name) {
            None => default.to_owned(),
            Some(Value::String(text)) => match check(text) {
                Ok(()) => text.clone(),
                Err(advice) => {
                    self.refuse(key.name, &format!("{text:?}"), range, &advice);
                    default.to_owned()
                }
            },
            Some(other) => {
                self.refuse(key.name, &literal(other), &format!("text: {range}"), "");
                default.to_owned()
            }
        };
        self.settle(row, literal(&Value::String(value.clone())));
        value
    }

    /// A number or a word; numbers come as text.
    pub fn number_or_word(
        &mut self,
        key: Key,
        default: &str,
        range: &str,
        check: impl Fn(&str) -> bool,
    ) -> String {
        let shown = |text: &str| {
            if text.parse::<f64>().is_ok() { text.to_owned() } else { format!("{text:?}") }
        };
        let row = self.row(key, "number or word", range.to_owned(), shown(default));
        let value = match self.take(key.name) {
            None => default.to_owned(),
            Some(found) => {
                let text = match found {
                    Value::String(text) => text.clone(),
                    other => literal(other),
                };
                if check(&text) {
                    text
                } else {
                    self.refuse(key.name, &literal(found), range, "");
                    default.to_owned()
                }
            }
        };
        self.settle(row, shown(&value));
        value
    }

    /// One of a few words.
    pub fn choice<T: Copy + PartialEq>(&mut self, key: Key, default: T, all: &[(&str, T)]) -> T {
        let words: Vec<&str> = all.iter().map(|(word, _)| *word).collect();
        let word_of = |value: T| {
            let found = all.iter().find(|(_, each)| *each == value);
            format!("{:?}", found.expect("every value has a word").0)
        };
        let row = self.row(key, "choice", words.join(", "), word_of(default));
        let value = match self.take(key.name) {
            None => default,
            Some(found) => {
                let hit = match found {
                    Value::String(text) => all.iter().find(|(word, _)| word == text),
                    _ => None,
                };
                match hit {
                    Some((_, value)) => *value,
                    None => {
                        let near =
                            found.as_str().and_then(|text| nearest(text, words.iter().copied()));
                        let advice = near.map(|word| format!("did you mean {word:?}?"));
                        let expected = format!("one of {}", words.join(", "));
                        let got = literal(found);
                        self.refuse(key.name, &got, &expected, &advice.unwrap_or_default());
                        default
                    }
                }
            }
        };
        self.settle(row, word_of(value));
        value
    }

    /// A list of words.
    pub fn list(&mut self, key: Key, default: &[&str], range: &str) -> Vec<String> {
        let as_literal = |items: &[String]| {
            let quoted: Vec<String> = items.iter().map(|item| format!("{item:?}")).collect();
            format!("[{}]", quoted.join(", "))
        };
        let default: Vec<String> = default.iter().map(|item| (*item).to_owned()).collect();
        let row = self.row(key, "list", range.to_owned(), as_literal(&default));
        let value = match self.take(key.name) {
            None => default,
            Some(Value::Array(items)) if items.iter().all(Value::is_str) => {
                items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
            }
            Some(other) => {
                let expected = format!("a list of texts: {range}");
                self.refuse(key.name, &literal(other), &expected, "e.g. [\"a\", \"b\"]");
                default
            }
        };
        self.settle(row, as_literal(&value));
        value
    }

    /// The sub-table `[name]`, absent ones reading as empty.
    pub fn section(&mut self, name: &'static str, intro: &'static str) -> Scope<'_, 't> {
        let found = self.take(name);
        let table = match found {
            None => None,
            Some(Value::Table(table)) => Some(table),
            Some(other) => {
                let advice = format!("write [{}]", self.path_of(name));
                self.refuse(name, &literal(other), "a table", &advice);
                None
            }
        };
        let (path, schema) = (self.path_of(name), self.schema_of(name));
        let header = format!("[{path}]");
        let example = self.reader.example;
        self.reader.rows.push(Row::Section { header, intro, example });
        Scope { reader: self.reader, table, path, schema, known: Vec::new() }
    }

    /// Reads each `[[name]]`, or those of `default` where none is written. In a manual also reads
    /// `examples`, whose rows are shown commented out and whose values are dropped.
    pub fn tables<T>(
        &mut self,
        name: &'static str,
        intro: &'static str,
        default: &'t [Table],
        examples: &'t [Table],
        mut read: impl FnMut(&mut Scope<'_, 't>) -> T,
    ) -> Vec<T> {
        let mut tables: Vec<&'t Table> = Vec::new();
        let found = self.take(name);
        self.reader.stand_in = found.is_none();
        match found {
            None => tables.extend(default),
            Some(Value::Array(items)) if items.iter().all(Value::is_table) => {
                tables.extend(items.iter().filter_map(Value::as_table));
            }
            Some(other) => {
                let advice = format!("write [[{}]] above each", self.path_of(name));
                self.refuse(name, &literal(other), "a list of tables", &advice);
            }
        }
        let count = tables.len();
        if self.reader.describe {
            tables.extend(examples);
        }
        let (path, schema) = (self.path_of(name), self.schema_of(name));
        let mut values = Vec::new();
        for (index, table) in tables.into_iter().enumerate() {
            let example = index >= count;
            self.reader.example = example;
            self.reader.rows.push(Row::Section {
                header: format!("[[{path}]]"),
                intro: if index == 0 { intro } else { "" },
                example,
            });
            let mut scope = Scope {
                reader: &mut *self.reader,
                table: Some(table),
                path: format!("{path}[{index}]"),
                schema: schema.clone(),
                known: Vec::new(),
            };
            let value = read(&mut scope);
            scope.finish();
            if !example {
                values.push(value);
            }
        }
        self.reader.example = false;
        self.reader.stand_in = false;
        values
    }

    /// Refuses every key of the table that nobody read.
    pub fn finish(self) {
        let Some(table) = self.table else { return };
        for (name, value) in table {
            if self.known.contains(&name.as_str()) {
                continue;
            }
            let advice = match nearest(name, self.known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "remove it; there is no key like it here".to_owned(),
            };
            let place = match self.path.as_str() {
                "" => "a known key at the top level".to_owned(),
                path => format!("a known key of {path}"),
            };
            let path = self.path_of(name);
            // Beside the names of files with secrets a secret itself may have been written.
            let is_near_secrets = matches!(self.path.as_str(), "venue" | "alerts");
            let got = if is_near_secrets { HIDDEN.to_owned() } else { literal(value) };
            self.reader.refuse(path, got, place, advice);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let table: Table = text.parse().unwrap();
        let mut reader = Reader::default();
        let mut root = reader.root(&table);
        root.int(key("count", "things", "."), 5, 1..=9);
        root.decimal(key("share", "bps", "."), "0.5", "0", "10");
        root.choice(key("mode", "", "."), 1, &[("off", 0), ("shadow", 1)]);
        root.flag(key("loud", "", "."), false);
        root.list(key("names", "", "."), &[], "names");
        let mut inner = root.section("inner", "");
        inner.text(key("word", "", "."), "a", "one letter", |text| {
            if text.len() == 1 { Ok(()) } else { Err("write one letter".to_owned()) }
        });
        inner.finish();
        root.finish();
        let got: Vec<String> = reader.problems.iter().map(ToString::to_string).collect();
        assert_eq!(got.len(), expected.len(), "{got:#?}");
        for (got, expected) in got.iter().zip(expected) {
            assert!(got.contains(expected), "{got:?} lacks {expected:?}");
        }
    }

    #[test]
    fn good_values_in_every_notation_pass() {
        check(
            "count = 9\nshare = 10\nmode = \"off\"\nloud = true\nnames = [\"x\"]\n\
             [inner]\nword = \"b\"",
            &[],
        );
        check("share = 1e-8", &[]);
        check("share = \"0.25\"", &[]);
        check("", &[]);
    }

    #[test]
    fn every_bad_number_is_refused_with_what_was_expected() {
        check("count = 0", &["count: got 0, expected a whole number of things, 1 … 9"]);
        check("count = -1", &["count: got -1"]);
        check("count = 1.5", &["got 1.5"]);
        check("count = \"5\"", &["write it without quotes"]);
        check("share = nan", &["share: got nan, expected a finite number"]);
        check("share = inf", &["share: got inf"]);
        check("share = -0.1", &["0 … 10"]);
        check("share = 9223372036854775807", &["0 … 10"]);
        check("share = 0.000000001", &["at most 8 decimals"]);
        check("share = \"NaN\"", &["got \"NaN\""]);
        check("share = 1e300", &["0 … 10"]);
    }

    #[test]
    fn wrong_words_and_unknown_keys_get_their_near_match() {
        check("mode = \"shadwo\"", &["did you mean \"shadow\"?"]);
        check("cuont = 3", &["cuont: got 3, expected a known key at the top level"]);
        check("[inner]\nwrod = \"b\"", &["inner.wrod: got \"b\", expected a known key of inner"]);
        check("inner = 3", &["expected a table; write [inner]"]);
        check("names = \"x\"", &["a list of texts"]);
        check("loud = 1", &["true or false"]);
    }

    #[test]
    fn all_problems_are_listed_at_once() {
        check("count = 0\nshare = nan\nloud = 3\nx = 1", &["count", "share", "loud", "x:"]);
    }
}
