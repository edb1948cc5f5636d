//! The commands that look at a running engine: `status`, `orders`, `fills`, `positions`,
//! `dashboard`, `alerts`. Each is one request to the control port of the newest run, with the token
//! of its directory. What acts on the engine is in `control`.

use super::options::WordArgs;
use super::{complain, places, say};
use crate::base::time::WallNs;
use crate::io::history::Ask;
use crate::ops::http::{ADDRESS_FILE, Scope, read_token};
use crate::ops::hub::Outcome;
use crate::ops::report::exit;
use crate::ops::rundir::RunDir;
use crate::ops::status::{RestStatus, Status};
use crate::ops::text::{elapsed, grouped, span_ns};
use clap::{Args, Subcommand};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

/// Longest wait for an answer: a command is answered within five seconds.
const ANSWER_MAX: Duration = Duration::from_secs(10);

#[derive(Args, Debug)]
pub(super) struct ShowArgs {
    /// A run's directory, or the directory of all runs (then the newest); as `genesis run --dir`.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// JSON instead of words.
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(super) struct ListArgs {
    #[command(flatten)]
    show: ShowArgs,
    /// Out of the history of the account, ended runs included; no engine is asked.
    #[arg(long)]
    history: bool,
    /// With --history: so many rows, the newest first.
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u32,
}

#[derive(Args, Debug)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    show: ShowArgs,
    /// The REST plane: latency and phases by endpoint, tokens, waits, retries, breakers, reasons.
    #[arg(long)]
    rest: bool,
}

#[derive(Args, Debug)]
pub(super) struct DashboardArgs {
    /// A run's directory, or the directory of all runs (then the newest).
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// With the token that may command, not only look.
    #[arg(long)]
    operate: bool,
}

#[derive(Args, Debug)]
pub(super) struct AlertsArgs {
    #[command(subcommand)]
    what: AlertsCommand,
}
#[derive(Subcommand, Debug)]
enum AlertsCommand {
    /// Send a test notice to every channel of the config, now.
    Test {
        /// Config file that names the channels.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// One key of the config, stronger than the file; may be repeated.
        #[arg(long = "set", value_name = "KEY=VALUE", value_parser = crate::config::Override::parse)]
        set: Vec<crate::config::Override>,
    },
    /// What stands now in the running engine.
    List(ShowArgs),
}

/// Commands to a running engine.
#[derive(Subcommand, Debug)]
pub(super) enum ClientCommand {
    /// How the running engine stands: state, money, orders, latency, alerts.
    Status(StatusArgs),
    /// Own orders at the venue, or of the past.
    Orders(ListArgs),
    /// The newest own trades.
    Fills(ListArgs),
    /// Positions by own fills, and what the venue says.
    Positions(ShowArgs),
    /// Print the dashboard's address with its token.
    Dashboard(DashboardArgs),
    /// What alerts stand, and a test of their channels.
    Alerts(AlertsArgs),
}

pub(super) fn run(command: &ClientCommand) -> u8 {
    match command {
        ClientCommand::Status(args) => {
            look(if args.rest { Look::Rest } else { Look::Status }, &args.show)
        }
        ClientCommand::Orders(args) => list(Look::Orders, Ask::Orders, args),
        ClientCommand::Fills(args) => list(Look::Fills, Ask::Fills, args),
        ClientCommand::Positions(args) => look(Look::Positions, args),
        ClientCommand::Dashboard(args) => dashboard(args),
        ClientCommand::Alerts(args) => alerts(args),
    }
}

/// What can be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Status,
    Rest,
    Orders,
    Fills,
    Positions,
    Alerts,
}
impl Look {
    const fn path(self) -> &'static str {
        match self {
            Look::Status => "/api/v1/status",
            Look::Rest => "/api/v1/rest",
            Look::Orders => "/api/v1/orders",
            Look::Fills => "/api/v1/fills",
            Look::Positions => "/api/v1/positions",
            Look::Alerts => "/api/v1/alerts",
        }
    }
}

/// Why there is no good answer; the exit code is the caller's to give back.
pub(super) struct Trouble {
    pub(super) code: u8,
    pub(super) words: String,
}
pub(super) fn trouble(code: u8, words: impl std::fmt::Display) -> Trouble {
    Trouble { code, words: words.to_string() }
}

/// A run and its control port.
pub(super) struct Engine {
    pub(super) dir: PathBuf,
    /// `127.0.0.1:40123`.
    pub(super) address: String,
}

impl Engine {
    /// The newest run, or the one that `dir` names.
    pub(super) fn find(dir: Option<PathBuf>) -> Result<Engine, Trouble> {
        let root = places(dir).root();
        let is_run = root.join(ADDRESS_FILE).exists();
        let run = if is_run {
            Ok(root.clone())
        } else {
            RunDir::open(&root).map(|run| run.path().to_owned())
        };
        let dir = run.map_err(|error| {
            trouble(exit::BAD_INPUT, format!("{error}; start `genesis`, or name a run with --dir"))
        })?;
        let url = std::fs::read_to_string(dir.join(ADDRESS_FILE)).map_err(|_| {
            let words = format!(
                "the run in `{}` has no control port; was it started with dashboard.enabled = \
                 false?",
                dir.display()
            );
            trouble(exit::NOT_RUNNING, words)
        })?;
        let address = url.trim().trim_start_matches("http://").trim_end_matches('/').to_owned();
        Ok(Engine { dir, address })
    }

    pub(super) fn token(&self, scope: Scope) -> Result<String, Trouble> {
        read_token(&self.dir, scope).map_err(|error| {
            let words = format!("the token in `{}` cannot be read: {error}", self.dir.display());
            trouble(exit::BAD_INPUT, words)
        })
    }

    /// One request; status and body of the answer.
    pub(super) fn ask(
        &self,
        scope: Scope,
        method: &str,
        path: &str,
        body: &str,
    ) -> Result<(u16, String), Trouble> {
        let token = self.token(scope)?;
        let gone = |error: std::io::Error| {
            let words = format!(
                "no run answers at {} ({error}); the newest one, in `{}`, has ended",
                self.address,
                self.dir.display()
            );
            trouble(exit::NOT_RUNNING, words)
        };
        let mut stream = TcpStream::connect(&self.address).map_err(gone)?;
        stream.set_read_timeout(Some(ANSWER_MAX)).map_err(gone)?;
        let who: String = std::env::var("USER").unwrap_or_default();
        let who: String = who.chars().filter(char::is_ascii_graphic).take(40).collect();
        let text = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\n\
             connection: close\r\nuser-agent: genesis\r\nx-operator: {who}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        stream.write_all(text.as_bytes()).map_err(gone)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).map_err(gone)?;
        let answer = String::from_utf8_lossy(&answer);
        let status = answer.get(9..12).and_then(|code| code.parse().ok());
        match (status, answer.split_once("\r\n\r\n")) {
            (Some(status), Some((_, body))) => Ok((status, body.to_owned())),
            _ => Err(trouble(exit::NOT_RUNNING, format!("{} answers no HTTP", self.address))),
        }
    }
}

pub(super) fn ended(result: Result<u8, Trouble>) -> u8 {
    result.unwrap_or_else(|trouble| {
        complain(trouble.words);
        trouble.code
    })
}

/// What an error reply says.
pub(super) fn error_words(body: &str) -> String {
    #[derive(serde::Deserialize)]
    struct Body {
        error: String,
    }
    sonic_rs::from_str::<Body>(body).map_or_else(|_| body.to_owned(), |body| body.error)
}

fn look(what: Look, args: &ShowArgs) -> u8 {
    ended(looked(what, args))
}

fn list(what: Look, ask: Ask, args: &ListArgs) -> u8 {
    let show = &args.show;
    match args.history {
        true => super::history::show(ask, show.dir.clone(), args.limit, show.json),
        false => look(what, show),
    }
}

fn looked(what: Look, args: &ShowArgs) -> Result<u8, Trouble> {
    let engine = Engine::find(args.dir.clone())?;
    let path = if args.json { what.path() } else { Look::Status.path() };
    let (code, body) = engine.ask(Scope::Read, "GET", path, "")?;
    if code != 200 {
        return Err(trouble(exit::FAILURE, error_words(&body)));
    }
    if args.json {
        say(&body);
    } else {
        let status: Status = sonic_rs::from_str(&body).map_err(|error| {
            trouble(exit::FAILURE, format!("the status is unreadable: {error}"))
        })?;
        say(&words(what, &status));
    }
    Ok(exit::OK)
}

#[derive(serde::Serialize)]
struct CommandBody<'a> {
    verb: &'a str,
    symbol: Option<&'a str>,
    reason: &'a str,
}

/// An operator's word by the control port, where it is answered with its effect and audited.
/// `None`: the run has no control port, or nobody answers there.
pub(super) fn command(verb: &str, args: &WordArgs) -> Option<u8> {
    match commanded(verb, args) {
        Err(trouble) if trouble.code == exit::NOT_RUNNING => None,
        result => Some(ended(result)),
    }
}

fn commanded(verb: &str, args: &WordArgs) -> Result<u8, Trouble> {
    let engine = Engine::find(args.dir.clone())?;
    let body = CommandBody { verb, symbol: args.symbol.as_deref(), reason: &args.reason };
    let body = sonic_rs::to_string(&body).map_err(|e| trouble(exit::FAILURE, e))?;
    let (code, body) = engine.ask(Scope::Operate, "POST", "/api/v1/command", &body)?;
    if args.json {
        say(&body);
    }
    let exit_code = match code {
        200 => exit::OK,
        400 | 415 => exit::BAD_INPUT,
        _ => exit::FAILURE,
    };
    let outcome: Option<Outcome> =
        matches!(code, 200 | 409).then(|| sonic_rs::from_str(&body).ok()).flatten();
    match outcome {
        Some(outcome) if !args.json => say(&format!(
            "{verb}: {}\nrank {} → {}, own orders {} → {}, after {} ms",
            outcome.effect,
            outcome.rank_before,
            outcome.rank_after,
            outcome.orders_before,
            outcome.orders_after,
            outcome.took_ms
        )),
        Some(_) => {}
        None if !args.json => complain(error_words(&body)),
        None => {}
    }
    Ok(exit_code)
}

fn dashboard(args: &DashboardArgs) -> u8 {
    let scope = if args.operate { Scope::Operate } else { Scope::Read };
    ended(Engine::find(args.dir.clone()).and_then(|engine| {
        let token = engine.token(scope)?;
        // Behind `#`: a browser keeps that part to itself.
        say(&format!("http://{}/#{token}", engine.address));
        Ok(exit::OK)
    }))
}

fn alerts(args: &AlertsArgs) -> u8 {
    match &args.what {
        AlertsCommand::List(show) => look(Look::Alerts, show),
        AlertsCommand::Test { config, set } => {
            let sources = crate::config::Sources { file: config.clone(), overrides: set.clone() };
            let Some(config) = super::options::load(&sources) else { return exit::BAD_INPUT };
            test_alerts(&config)
        }
    }
}

fn test_alerts(config: &crate::config::Config) -> u8 {
    use crate::ops::alerts::{Channels, test_notice};
    let channels = match Channels::of(&config.alerts) {
        Ok(channels) => channels,
        Err(words) => {
            complain(words);
            return exit::BAD_INPUT;
        }
    };
    if channels.is_empty() {
        say("no channel beside the log: set alerts.webhook_url_file or alerts.telegram_url_file");
        return exit::OK;
    }
    let at: WallNs = crate::io::clock::Clock::start_unchecked().wall();
    match test_notice(&channels, at.as_ms()) {
        Ok(()) => {
            say("delivered to every channel");
            exit::OK
        }
        Err(failures) => {
            failures.iter().for_each(complain);
            exit::FAILURE
        }
    }
}

/// A table with its columns as wide as they must be.
fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([head[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut out = String::new();
    let heads: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    for row in std::iter::once(&heads).chain(rows) {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        let _ = writeln!(out, "{}", cells.join("  ").trim_end());
    }
    out
}

fn words(what: Look, status: &Status) -> String {
    match what {
        Look::Status => status_words(status),
        Look::Rest => rest_words(&status.rest),
        Look::Orders => {
            let rows: Vec<Vec<String>> = status
                .orders
                .iter()
                .map(|row| {
                    vec![
                        row.cid.to_string(),
                        row.symbol.clone(),
                        row.side.clone(),
                        format!("{} of {}", row.remaining, row.original),
                        row.px.to_string(),
                        row.state.clone(),
                        format!("{:.1} s", row.age_ms as f64 / 1e3),
                    ]
                })
                .collect();
            table(&["cid", "symbol", "side", "left", "price", "state", "age"], &rows)
        }
        Look::Fills => {
            let rows: Vec<Vec<String>> = status
                .fills
                .iter()
                .map(|row| {
                    vec![
                        row.at.clone(),
                        row.symbol.clone(),
                        row.side.clone(),
                        row.qty.to_string(),
                        row.px.to_string(),
                        row.cid.to_string(),
                    ]
                })
                .collect();
            table(&["at", "symbol", "side", "size", "price", "cid"], &rows)
        }
        Look::Positions => {
            let rows: Vec<Vec<String>> = status
                .symbols
                .iter()
                .map(|row| {
                    let venue = row.venue_position.map_or("–".to_owned(), |qty| qty.to_string());
                    vec![
                        row.name.clone(),
                        row.position.to_string(),
                        venue,
                        if row.matches_venue { "yes" } else { "NO" }.to_owned(),
                        format!("{:.2}", row.px_avg),
                        format!("{:.2}", row.realised),
                        format!("{:.2}", row.unrealised),
                    ]
                })
                .collect();
            let head = ["symbol", "engine", "venue", "agree", "average", "realised", "unrealised"];
            table(&head, &rows)
        }
        Look::Alerts => {
            let rows: Vec<Vec<String>> = status
                .alerts
                .active
                .iter()
                .map(|row| {
                    vec![
                        row.severity.clone(),
                        row.name.clone(),
                        row.subject.clone(),
                        row.text.clone(),
                        row.runbook.clone(),
                    ]
                })
                .collect();
            if rows.is_empty() {
                return "no alert stands".to_owned();
            }
            table(&["severity", "alert", "about", "text", "what to do"], &rows)
        }
    }
}

/// A span for people, from ms.
fn ms_text(ms: Option<f64>) -> String {
    span_ns(ms.map(|ms| ms * 1e6))
}

fn rest_words(rest: &RestStatus) -> String {
    let name = |name: &str| if name.is_empty() { "(other)" } else { name }.to_owned();
    let mut out = String::new();
    let rows: Vec<Vec<String>> = rest
        .endpoints
        .iter()
        .map(|row| {
            let all = &row.latency_ms;
            vec![
                name(&row.name),
                grouped(row.calls),
                row.failures.to_string(),
                row.rate_limit_hits.to_string(),
                row.retries.to_string(),
                ms_text(all.p50),
                ms_text(all.p95),
                ms_text(all.p99),
                ms_text(all.max),
                ms_text(row.window_ms.p99),
                match row.last_status {
                    0 => "none".to_owned(),
                    status => status.to_string(),
                },
            ]
        })
        .collect();
    let head = [
        "endpoint", "calls", "failed", "429", "retries", "p50", "p95", "p99", "max", "p99 1m",
        "last",
    ];
    out.push_str(&table(&head, &rows));
    out.push('\n');
    let rows: Vec<Vec<String>> = rest
        .endpoints
        .iter()
        .map(|row| {
            vec![
                name(&row.name),
                ms_text(row.wait_ms.p50),
                ms_text(row.wait_ms.p99),
                ms_text(row.connect_ms.p50),
                ms_text(row.tls_ms.p50),
                ms_text(row.first_byte_ms.p50),
                ms_text(row.first_byte_ms.p99),
                format!("{} of {}", row.pooled, row.calls),
                format!("{} / {}", grouped(row.bytes_out), grouped(row.bytes_in)),
                format!("{} of {}", row.limit.tokens, row.limit.tokens_max),
                row.limit.window_calls.to_string(),
            ]
        })
        .collect();
    let head = [
        "phases",
        "wait p50",
        "wait p99",
        "dns+tcp",
        "tls",
        "1st byte",
        "p99",
        "kept open",
        "bytes out / in",
        "tokens",
        "per min",
    ];
    out.push_str(&table(&head, &rows));
    out.push('\n');
    let rows: Vec<Vec<String>> = rest
        .waits
        .iter()
        .map(|row| {
            vec![
                row.name.clone(),
                grouped(row.calls),
                ms_text(Some(row.mean_ms).filter(|_| row.calls > 0)),
                ms_text(Some(row.max_ms).filter(|_| row.calls > 0)),
                row.waiting.to_string(),
            ]
        })
        .collect();
    out.push_str(&table(&["queue", "calls", "mean wait", "longest", "wait now"], &rows));
    out.push('\n');
    let breakers: Vec<String> =
        rest.breakers.iter().map(|row| format!("{} {}", row.name, row.state)).collect();
    let entry = if rest.order_entry_down { "; order entry is down: cancel-only" } else { "" };
    let _ = writeln!(
        out,
        "breakers: {}, opened {} times{entry}",
        breakers.join(", "),
        rest.circuit_open_count
    );
    let _ = writeln!(
        out,
        "retries {} ({} refused by the budget), rate limit hits {}, nonces stepped past {}, too late \
         {}, not taken {}, cancels past a breaker or block {}, blocks lifted {}, in flight {}",
        rest.retry_count,
        rest.retry_refused,
        rest.rate_limit_hits,
        rest.nonce_recoveries,
        rest.dropped_stale,
        rest.refused,
        rest.cancel_probes,
        rest.blocks_lifted,
        rest.in_flight
    );
    for host in &rest.hosts {
        let blocked = match host.blocked_ms {
            0 => String::new(),
            ms => format!(", left alone for {ms} ms more"),
        };
        let _ = writeln!(
            out,
            "{} host: {} of {} tokens, {} calls a minute{blocked}",
            host.name, host.tokens, host.tokens_max, host.window_calls
        );
    }
    let reasons: Vec<String> =
        rest.reasons.iter().map(|row| format!("{} {}", row.name, row.calls)).collect();
    let _ = writeln!(out, "why: {}", reasons.join(", "));
    let _ = writeln!(
        out,
        "account read {} times, {} wishes merged; list of {} pairs, {} old, not modified {}, failed {}",
        rest.reconciles,
        rest.reconciles_merged,
        rest.registry.pairs,
        elapsed(rest.registry.age_s),
        rest.registry.not_modified,
        rest.registry.failures
    );
    if !rest.registry.delisted.is_empty() {
        let _ = writeln!(out, "not tradable any more: {}", rest.registry.delisted.join(", "));
    }
    out
}

fn status_words(status: &Status) -> String {
    let mut out = String::new();
    let state = &status.state;
    let why = if state.reason.is_empty() { String::new() } else { format!(": {}", state.reason) };
    let _ = writeln!(out, "{}{why}", state.rank);
    let run = &status.run;
    let _ = writeln!(
        out,
        "{} {} {} {}, up {}",
        run.environment,
        run.mode,
        run.market,
        run.speed,
        elapsed(status.elapsed_s)
    );
    let pnl = &status.pnl;
    let _ = writeln!(
        out,
        "pnl {:.2} {} (realised {:.2}, unrealised {:.2}, fees {:.2}), exposure {:.2}",
        pnl.total, run.currency, pnl.realised, pnl.unrealised, pnl.fees, pnl.exposure
    );
    let c = &status.counts;
    let _ = writeln!(
        out,
        "orders: {} alive, {} sent, {} filled, {} cancelled, {} rejected, {} unknown",
        c.orders_alive,
        c.orders_sent,
        c.orders_filled,
        c.orders_cancelled,
        c.orders_rejected,
        c.orders_unknown
    );
    let ms = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.2} ms"));
    let ack = &status.order_roundtrip_ms.ack.window;
    let gap = &status.ws_gap_ms.window;
    let _ = writeln!(
        out,
        "last minute: order round trip p50 {} p99 {}, gap between frames p99 {}",
        ms(ack.p50),
        ms(ack.p99),
        ms(gap.p99)
    );
    let synced = status.symbols.iter().filter(|row| row.book == "synced").count();
    let _ = writeln!(
        out,
        "books: {synced} of {} synced; {} frames/s; {} reconnects",
        status.symbols.len(),
        grouped(c.frames_per_s),
        c.reconnects
    );
    for alert in &status.alerts.active {
        let _ = writeln!(
            out,
            "{} {} {}: {} ({})",
            alert.severity, alert.name, alert.subject, alert.text, alert.runbook
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::status::{
        AlertRow, BreakerStatus, EndpointStatus, OrderStatus, ReasonStatus, RegistryStatus,
    };

    #[test]
    fn the_words_say_what_the_status_says() {
        let mut status = Status::default();
        status.state.rank = "halted".to_owned();
        status.state.reason = "killed by the operator: drill".to_owned();
        status.alerts.active = vec![AlertRow {
            name: "killed".to_owned(),
            runbook: "RUNBOOK.md#killed".to_owned(),
            ..AlertRow::default()
        }];
        status.orders = vec![OrderStatus { cid: 7, age_ms: 1_500, ..OrderStatus::default() }];
        let text = words(Look::Status, &status);
        assert!(text.starts_with("halted: killed by the operator: drill\n"), "{text}");
        assert!(text.contains("RUNBOOK.md#killed") && text.contains("p99 –"), "{text}");
        let text = words(Look::Orders, &status);
        assert!(text.lines().nth(1).unwrap().starts_with("7 ") && text.contains("1.5 s"), "{text}");
        status.rest.endpoints = vec![EndpointStatus {
            name: "auth/r/orders".to_owned(),
            calls: 3,
            last_status: 200,
            ..EndpointStatus::default()
        }];
        status.rest.breakers =
            vec![BreakerStatus { name: "orders".to_owned(), state: "open".to_owned() }];
        status.rest.reasons = vec![ReasonStatus { name: "reconcile".to_owned(), calls: 3 }];
        status.rest.order_entry_down = true;
        status.rest.registry =
            RegistryStatus { delisted: vec!["tXYZ".to_owned()], ..RegistryStatus::default() };
        let text = words(Look::Rest, &status);
        for part in ["auth/r/orders", "orders open", "cancel-only", "reconcile 3", "tXYZ", "tokens"]
        {
            assert!(text.contains(part), "{part} in {text}");
        }
        for what in [Look::Fills, Look::Positions] {
            assert_eq!(words(what, &status).lines().count(), 1, "the head alone");
        }
    }
}
