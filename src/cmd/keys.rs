//! `genesis keys`: what the API keys may do, and whether live trading would be refused.

use super::reach::{Reach, ReachArgs};
use super::rest::{FRESH_FOR, shared_words};
use super::secrets::KeyPlaces;
use super::{complain, say};
use crate::line::permissions::{KeyVerdict, Scope, ScopeVerdict, judge};
use crate::line::rest::record::safe_text;
use crate::line::rest::{KeyRole, Priority, Reason};
use crate::ops::report::exit;
use crate::runtime::plane::{PlaneCall, RestPlane};
use crate::venue::rest::{RestCall, RestSink, parse_reply};
use crate::venue::symbols::SymbolTable;
use clap::{Args, Subcommand};
use serde::Serialize;
use std::fmt::Write as _;
use std::path::PathBuf;

pub(super) const MANUAL: &str = "\
Where keys are looked for, in this order; the first place that has one is used:
  1. $CREDENTIALS_DIRECTORY (set by systemd): genesis-trade, genesis-rest, genesis-kill by role,
     else genesis-key
  2. --key-file FILE for every role, else venue.rest_key_file and venue.kill_key_file of the
     config for their roles, else venue.key_file
  3. with --keys-from-env: the variables that venue.key_env and venue.secret_env name, with _TRADE,
     _REST or _KILL behind both names by role, else without
A key file has two lines, the API key and its secret; it must be yours, mode 0400 or 0600.

Exit code 0: the keys may trade live; 1: they may not, or the venue did not answer; 2: bad input.";

#[derive(Args, Debug)]
pub(super) struct KeysArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Ask the venue what each key may do. Rights to withdraw, or unknown ones, refuse live
    /// trading.
    #[command(after_help = MANUAL)]
    Check(CheckArgs),
}

#[derive(Args, Debug)]
struct CheckArgs {
    #[command(flatten)]
    reach: ReachArgs,
    /// File with two lines, key and secret; instead of those of the config, for every role.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Also look in the environment. Every child process can read what stands there.
    #[arg(long)]
    keys_from_env: bool,
    /// JSON instead of a table.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &KeysArgs) -> u8 {
    let What::Check(args) = &args.what;
    let config = match args.reach.load() {
        Ok(config) => config,
        Err(words) => {
            complain(words);
            return exit::BAD_INPUT;
        }
    };
    let places = KeyPlaces::new(&config, args.key_file.clone(), args.keys_from_env);
    let reach = match args.reach.open(&config, Some(&places)) {
        Ok(reach) => reach,
        Err(words) => {
            complain(words);
            return exit::BAD_INPUT;
        }
    };
    let code = check(&reach, args.json);
    reach.close();
    code
}

#[derive(Serialize)]
struct RoleJson {
    role: KeyRole,
    from: String,
    /// Roles that this very key serves, too.
    shared: bool,
    verdict: Option<KeyVerdict>,
    problem: Option<String>,
}

/// Collects the venue's answer.
#[derive(Default)]
struct Scopes(Vec<Scope>);
impl RestSink for Scopes {
    fn permission(&mut self, scope: &[u8], read: bool, write: bool) {
        let name = safe_text(&String::from_utf8_lossy(scope));
        self.0.push(Scope { name, read, write });
    }
}

/// What each key of a plane may do, by role.
///
/// # Errors
/// The venue does not say.
pub(super) fn verdicts(plane: &RestPlane) -> Result<Vec<(KeyRole, KeyVerdict)>, String> {
    let ask = |role: KeyRole| {
        let scopes = scopes_of(plane, role)
            .map_err(|words| format!("rights of the {} key: {words}", role.name()))?;
        Ok((role, judge(&scopes, role)))
    };
    KeyRole::ALL.into_iter().map(ask).collect()
}

fn scopes_of(plane: &RestPlane, role: KeyRole) -> Result<Vec<Scope>, String> {
    let (call, table) = (RestCall::Permissions, SymbolTable::new(&[]));
    let mut asked = PlaneCall::of(&call, Reason::Permissions, &table, FRESH_FOR)
        .map_err(|error| format!("{error:?}"))?;
    asked.role = Some(role);
    // A question, whoever signs it.
    asked.priority = Priority::Account;
    let reply = plane.call(asked).map_err(|error| error.to_string())?;
    let mut scopes = Scopes::default();
    parse_reply(&call, reply.status, &reply.body, &table, &mut scopes)
        .map_err(|_| "the venue's answer is not readable".to_owned())?;
    Ok(scopes.0)
}

fn check(reach: &Reach, json: bool) -> u8 {
    let mut rows = Vec::new();
    for role in KeyRole::ALL {
        let Some(from) = &reach.keys_from[role.index()] else { continue };
        let shared = reach.shared.contains(&role);
        let (verdict, problem) = match scopes_of(&reach.plane, role) {
            Ok(scopes) => (Some(judge(&scopes, role)), None),
            Err(problem) => (None, Some(problem)),
        };
        rows.push(RoleJson { role, from: from.clone(), shared, verdict, problem });
    }
    if rows.is_empty() {
        complain(
            "no API key was found: name a file by --key-file or venue.key_file, or allow the \
             environment by --keys-from-env; see genesis keys check --help",
        );
        return exit::BAD_INPUT;
    }
    let fine = |row: &RoleJson| row.verdict.as_ref().is_some_and(|verdict| verdict.may_trade_live);
    let all_fine = rows.iter().all(fine);
    if json {
        say(&sonic_rs::to_string_pretty(&rows).unwrap_or_default());
    } else {
        say(&table(reach, &rows));
    }
    if all_fine { exit::OK } else { exit::FAILURE }
}

fn table(reach: &Reach, rows: &[RoleJson]) -> String {
    let mut out = String::new();
    let right = |read: bool, write: bool| match (read, write) {
        (false, false) => "none",
        (true, false) => "read",
        (false, true) => "write",
        (true, true) => "read, write",
    };
    for row in rows {
        let _ = writeln!(out, "{} key, from {}, at {}", row.role.name(), row.from, reach.name);
        if let Some(problem) = &row.problem {
            let _ = writeln!(out, "  FAIL  {problem}");
        }
        let Some(verdict) = &row.verdict else { continue };
        let _ = writeln!(out, "        {:<12} {:<12} {:<12}", "scope", "has", "needs");
        for scope in &verdict.rows {
            let mark = match scope.verdict {
                ScopeVerdict::Needed => "ok",
                ScopeVerdict::Harmless => "",
                ScopeVerdict::Missing | ScopeVerdict::Forbidden | ScopeVerdict::Unknown => "FAIL",
            };
            let has = right(scope.read, scope.write);
            let needs = right(scope.needs_read, scope.needs_write);
            let _ = writeln!(
                out,
                "  {mark:<5} {:<12} {has:<12} {needs:<12} {}",
                scope.scope, scope.advice
            );
        }
        let words = match verdict.may_trade_live {
            true => "may trade live",
            false => "live trading is refused with this key",
        };
        let _ = writeln!(out, "  {words}\n");
    }
    if !reach.shared.is_empty() {
        let _ = writeln!(out, "warn: {}", shared_words(&reach.shared));
    }
    out
}
