//! What an API key may do, and whether a run may use it. A key that could move money away, or whose
//! rights are not understood, refuses live trading.

use super::rest::KeyRole;
use serde::Serialize;

/// One line of the venue's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Scope {
    pub name: String,
    pub read: bool,
    pub write: bool,
}

/// What is thought of a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScopeVerdict {
    /// Needed, and there.
    Needed,
    /// Needed, and not there.
    Missing,
    /// Neither needed nor harmful.
    Harmless,
    /// More than a trading key should have: refuses live trading.
    Forbidden,
    /// A scope this program does not know: refuses live trading.
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ScopeRow {
    pub scope: String,
    pub read: bool,
    pub write: bool,
    pub needs_read: bool,
    pub needs_write: bool,
    pub verdict: ScopeVerdict,
    /// What to do; empty where nothing is to be done.
    pub advice: String,
}

/// All scopes of a key, for a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyVerdict {
    pub role: KeyRole,
    pub may_trade_live: bool,
    pub rows: Vec<ScopeRow>,
}

/// Scopes of the venue, and whether a write right is harmless on a trading key.
const KNOWN: [(&str, bool); 10] = [
    ("account", true),
    ("history", true),
    ("orders", true),
    ("positions", true),
    ("wallets", true),
    ("funding", false),
    ("settings", false),
    ("withdraw", false),
    ("ui_withdraw", false),
    ("bfxpay", false),
];

/// `(scope, read, write)` that a role needs.
const fn needs(role: KeyRole) -> &'static [(&'static str, bool, bool)] {
    match role {
        KeyRole::Trade => {
            &[("orders", true, true), ("positions", true, false), ("wallets", true, false)]
        }
        KeyRole::Rest => &[
            ("account", true, false),
            ("history", true, false),
            ("orders", true, false),
            ("positions", true, false),
            ("wallets", true, false),
        ],
        KeyRole::Kill => &[("orders", true, true), ("positions", true, false)],
    }
}

/// Judges the venue's answer to `auth/r/permissions`. An empty answer gives nothing away, and a
/// scope told twice counts with all its rights.
pub fn judge(scopes: &[Scope], role: KeyRole) -> KeyVerdict {
    let mut merged: Vec<Scope> = Vec::new();
    for scope in scopes {
        match merged.iter_mut().find(|known| known.name == scope.name) {
            Some(known) => {
                known.read |= scope.read;
                known.write |= scope.write;
            }
            None => merged.push(scope.clone()),
        }
    }
    for (name, ..) in needs(role) {
        if merged.iter().all(|scope| scope.name != *name) {
            merged.push(Scope { name: (*name).to_owned(), read: false, write: false });
        }
    }
    let rows: Vec<ScopeRow> = merged.iter().map(|scope| judge_one(scope, role)).collect();
    let is_fine =
        |row: &ScopeRow| matches!(row.verdict, ScopeVerdict::Needed | ScopeVerdict::Harmless);
    KeyVerdict { role, may_trade_live: rows.iter().all(is_fine), rows }
}

fn judge_one(scope: &Scope, role: KeyRole) -> ScopeRow {
    let name = scope.name.as_str();
    let need = needs(role).iter().find(|(needed, ..)| *needed == name);
    let (needs_read, needs_write) = need.map_or((false, false), |(_, read, write)| (*read, *write));
    let known = KNOWN.iter().find(|(known, _)| *known == name);
    let (verdict, advice) = match known {
        None if scope.read || scope.write => (
            ScopeVerdict::Unknown,
            format!("this program does not know what `{name}` allows: take the right away"),
        ),
        None => (ScopeVerdict::Harmless, String::new()),
        Some((_, false)) if scope.write => (
            ScopeVerdict::Forbidden,
            format!("a trading key must not write `{name}`: make a key without that right"),
        ),
        Some(_) if needs_read && !scope.read || needs_write && !scope.write => {
            let right = if needs_write && !scope.write { "write" } else { "read" };
            (ScopeVerdict::Missing, format!("give the key the right to {right} `{name}`"))
        }
        Some(_) if need.is_some() => (ScopeVerdict::Needed, String::new()),
        Some(_) => (ScopeVerdict::Harmless, String::new()),
    };
    ScopeRow {
        scope: scope.name.clone(),
        read: scope.read,
        write: scope.write,
        needs_read,
        needs_write,
        verdict,
        advice,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `orders:rw history:r` and so on; everything a rest key needs stands in front.
    fn scopes(text: &str) -> Vec<Scope> {
        text.split_whitespace()
            .map(|word| {
                let (name, rights) = word.split_once(':').unwrap();
                Scope {
                    name: name.to_owned(),
                    read: rights.contains('r'),
                    write: rights.contains('w'),
                }
            })
            .collect()
    }
    const READS: &str = "account:r history:r orders:r positions:r wallets:r";

    #[test]
    fn twelve_keys_and_what_is_thought_of_them() {
        use KeyRole::{Kill, Rest, Trade};
        for (role, text, live, odd) in [
            (Rest, READS, true, None),
            (Rest, "account:r history:r orders:rw positions:rw wallets:r", true, None),
            (Rest, "history:r orders:r positions:r wallets:r", false, Some("account")),
            (Rest, "account:r history:r orders:r positions:r wallets:", false, Some("wallets")),
            (Rest, &format!("{READS} withdraw:w"), false, Some("withdraw")),
            (Rest, &format!("{READS} ui_withdraw:rw"), false, Some("ui_withdraw")),
            (Rest, &format!("{READS} withdraw:r"), true, None),
            (Rest, &format!("{READS} settings:w"), false, Some("settings")),
            (Rest, &format!("{READS} teleport:r"), false, Some("teleport")),
            (Rest, &format!("{READS} teleport:"), true, None),
            (Trade, READS, false, Some("orders")),
            (Trade, "orders:rw positions:r wallets:r funding:r", true, None),
            (Kill, "orders:rw positions:r", true, None),
            (Kill, "orders:rw", false, Some("positions")),
            (Kill, "", false, Some("orders")),
            (Rest, &format!("{READS} withdraw:r withdraw:w"), false, Some("withdraw")),
        ] {
            let verdict = judge(&scopes(text), role);
            assert_eq!(verdict.may_trade_live, live, "{role:?} {text}: {verdict:?}");
            let first = verdict.rows.iter().find(|row| !row.advice.is_empty());
            assert_eq!(first.map(|row| row.scope.as_str()), odd, "{role:?} {text}");
        }
    }
}
