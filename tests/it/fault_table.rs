//! Every scripted fault of the exchange, each shown once to an engine: two real processes a fault,
//! and a table of what the exchange did, what the engine did, and how it went on.
//!
//! `cargo test --release --test it -- --ignored --nocapture every_scripted_fault` (two minutes).

#![allow(clippy::disallowed_methods, reason = "deadlines of real processes")]

use crate::run_support::{Dir, count, genesis, sent_of, signal};
use crate::venue_process::Venue;
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// When a fault begins, since the exchange's start: the engine trades by then.
const FROM: Duration = Duration::from_secs(20);
/// How long the engine may take to trade again behind a fault: lost orders freeze their symbol for
/// a minute here, and the machine may be busy.
const AGAIN_MAX: Duration = Duration::from_secs(150);
/// How long an engine is watched that shall not trade again.
const STILL_FOR: Duration = Duration::from_secs(15);
/// Orders sent behind a fault that count as trading again.
const AGAIN: u64 = 4;
/// Faults shown at once.
const SHOWN_AT_ONCE: usize = 4;

struct Case {
    name: &'static str,
    /// Lines of the script; `{}` is the moment it begins.
    script: &'static str,
    /// How long it lasts, s.
    for_s: u64,
    /// How long the engine runs on at least, s: until it knows what became of lost orders.
    settle_s: u64,
    /// What the exchange counts of it.
    counted: &'static str,
    /// What must be true of the engine, in its words.
    check: fn(&Seen) -> Result<(), &'static str>,
}

/// What was seen of an engine.
struct Seen {
    report: Value,
    exit: Option<i32>,
    /// What it said since the fault began, without times.
    said: Vec<String>,
    sent_before: u64,
    sent_after: u64,
    /// From the end of the fault to trading again; `None` = not within [`AGAIN_MAX`].
    again_after: Option<Duration>,
}

impl Seen {
    fn count(&self, pointer: &str) -> u64 {
        count(&self.report, pointer)
    }
    fn says(&self, words: &str) -> bool {
        self.said.iter().any(|said| said.contains(words))
    }
    fn ack_ms_max(&self) -> f64 {
        self.report["latency"]["order_roundtrip_ms"]["ack"]["max"].as_f64().unwrap_or(0.0)
    }
    /// Numbers that differ from those of an undisturbed run.
    fn figures(&self) -> String {
        let mut out = String::new();
        for (name, pointer) in [
            ("gaps", "/seq_gaps"),
            ("checksums failed", "/book_crc/failed"),
            ("books asked anew", "/messages/resync"),
            ("reconnects", "/reconnects"),
            ("orders rejected", "/orders/rejected"),
        ] {
            match self.count(pointer) {
                0 => {}
                number => write!(out, "{number} {name}, ").unwrap(),
            }
        }
        if self.ack_ms_max() > 100.0 {
            write!(out, "acknowledged after {:.0} ms at most, ", self.ack_ms_max()).unwrap();
        }
        if out.is_empty() {
            out.push_str("nothing to count, ");
        }
        out.truncate(out.len() - 2);
        out
    }
}

const fn ok(holds: bool, words: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(words) }
}

/// The fault behind which the engine does not trade by itself.
const STOPS: &str = "cancel_only";
const HANG_UP: &str = "[[fault]]\nkind='hang_up'\nfrom_s={}\nfor_s=1\n";

fn cases() -> Vec<Case> {
    let case = |name, script, for_s, counted, check| Case {
        name,
        script,
        for_s,
        settle_s: if name.starts_with("silence") || name.starts_with("restart") { 80 } else { 0 },
        counted,
        check,
    };
    vec![
        case(
            "drop",
            "[[fault]]\nkind='drop'\nfrom_s={}\nfor_s=5\nframes='book'\nevery=200\ntimes=1\n",
            5,
            "dropped",
            |seen| {
                let seen_it = seen.says("SequenceGap") || seen.count("/book_crc/failed") > 0;
                ok(seen_it && seen.count("/reconnects") >= 1, "a gap is seen, the socket left")
            },
        ),
        case(
            "delay",
            "[[fault]]\nkind='delay'\nfrom_s={}\nfor_s=5\nframes='answers'\ndelay_ms=800\n",
            5,
            "delayed",
            |seen| {
                let late = seen.ack_ms_max() > 700.0;
                ok(late && seen.count("/orders/unknown") == 0, "late answers are waited for")
            },
        ),
        case(
            "duplicate",
            "[[fault]]\nkind='duplicate'\nfrom_s={}\nfor_s=4\nframes='trades'\n",
            4,
            "duplicated",
            |seen| ok(seen.says("SequenceGap"), "the sequence number shows the second copy"),
        ),
        case(
            "bad_checksum",
            "[[fault]]\nkind='bad_checksum'\nfrom_s={}\nfor_s=10\ntimes=1\n",
            3,
            "checksum_spoilt",
            |seen| {
                let failed = seen.count("/book_crc/failed") == 1;
                ok(failed && seen.says("ChecksumFailed"), "one book fails and is asked anew")
            },
        ),
        case(
            "gap",
            "[[fault]]\nkind='gap'\nfrom_s={}\nfor_s=5\ncount=5\ntimes=1\n",
            5,
            "gap_lost",
            // Whichever socket it was, a book's or the account's.
            |seen| {
                let seen_it = seen.count("/seq_gaps") >= 1;
                ok(seen_it && seen.count("/reconnects") >= 1, "the sequence shows it")
            },
        ),
        case(
            "silence, deaf",
            "[[fault]]\nkind='silence'\nfrom_s={}\nfor_s=12\ndeaf=true\n",
            12,
            "silenced",
            |seen| ok(seen.says("unknown_order"), "orders without an answer freeze their symbol"),
        ),
        case("hang_up", HANG_UP, 1, "hung_up", |seen| {
            let back = seen.count("/reconnects") >= 2;
            ok(back && seen.says("account: reconciled"), "both sockets come back")
        }),
        case(
            "rest_error 429",
            "[[fault]]\nkind='hang_up'\nfrom_s={}\nfor_s=1\n[[fault]]\nkind='rest_error'\n\
             from_s={}\nfor_s=4\nstatus=429\nretry_after_s=2\n",
            4,
            "rest_error",
            |seen| ok(seen.count("/reconnects") >= 2, "it comes back once it is served"),
        ),
        case(
            "rest_error 502, applied",
            "[[fault]]\nkind='hang_up'\nfrom_s={}\nfor_s=1\n[[fault]]\nkind='rest_error'\n\
             from_s={}\nfor_s=4\nstatus=502\npath='/auth/'\napplied=true\n",
            4,
            "rest_error",
            |seen| ok(seen.count("/reconnects") >= 2, "it comes back once it is served"),
        ),
        case(
            "slow_body",
            "[[fault]]\nkind='hang_up'\nfrom_s={}\nfor_s=1\n[[fault]]\nkind='slow_body'\n\
             from_s={}\nfor_s=6\nwait_ms=1000\nbytes_per_s=200\n",
            6,
            "slow_body",
            |seen| ok(seen.count("/reconnects") >= 2, "it waits for its account's state"),
        ),
        case(
            "broken_body",
            "[[fault]]\nkind='hang_up'\nfrom_s={}\nfor_s=1\n[[fault]]\nkind='broken_body'\n\
             from_s={}\nfor_s=4\ntimes=2\n",
            4,
            "broken_body",
            |seen| ok(seen.count("/reconnects") >= 2, "what cannot be read is asked again"),
        ),
        case(
            "nonce_refused",
            "[[fault]]\nkind='hang_up'\nfrom_s={}\nfor_s=1\n[[fault]]\nkind='nonce_refused'\n\
             from_s={}\nfor_s=10\ntimes=3\n",
            4,
            "nonce_refused",
            |seen| ok(seen.says("account: signed in"), "it signs in again, past the nonce"),
        ),
        case(
            "cancel_only",
            "[[fault]]\nkind='cancel_only'\nfrom_s={}\nfor_s=5\n",
            5,
            "cancel_only_begun",
            |seen| {
                // What is refused again and again is not asked again: that is a person's decision.
                let tripped = seen.says("guard reject_streak has tripped");
                let held = seen.again_after.is_none() && seen.count("/orders/rejected") > 0;
                ok(tripped && held, "a streak of rejections ends entries until a person says so")
            },
        ),
        case(
            "maintenance",
            "[[fault]]\nkind='maintenance'\nfrom_s={}\nfor_s=8\n",
            8,
            "maintenance_begun",
            |seen| {
                let heard = seen.says("MaintenanceStarted") && seen.says("MaintenanceEnded");
                ok(heard && seen.says("entries-blocked"), "no entry until it is over")
            },
        ),
        case(
            "restart, order taken",
            "[[fault]]\nkind='restart'\nfrom_s={}\nfor_s=10\napplied=true\n",
            10,
            "restarted",
            |seen| ok(seen.count("/reconnects") >= 2, "both sockets come back"),
        ),
        case(
            "restart, order lost",
            "[[fault]]\nkind='restart'\nfrom_s={}\nfor_s=10\n",
            10,
            "restarted",
            |seen| ok(seen.count("/reconnects") >= 2, "both sockets come back"),
        ),
        case(
            "refuse_connect",
            "[[fault]]\nkind='hang_up'\nfrom_s={}\nfor_s=1\n[[fault]]\nkind='refuse_connect'\n\
             from_s={}\nfor_s=10\nstatus=429\ntimes=2\n",
            4,
            "connect_refused",
            |seen| ok(seen.count("/reconnects") >= 2, "it tries again until it is let in"),
        ),
    ]
}

/// Sends the lines of a process on, as they come.
fn read_lines(from: impl Read + Send + 'static, out: Sender<String>) {
    std::thread::spawn(move || {
        let lines = BufReader::new(from).lines().map_while(Result::ok);
        lines.map(|line| out.send(line)).take_while(Result::is_ok).for_each(drop);
    });
}

/// What a line of the log says: `2026-11-26T03:08:05.307Z INFO  risk: running`.
fn words_of(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("Z ")?;
    let (level, words) = rest.split_once(' ')?;
    matches!(level, "INFO" | "WARN" | "ERROR").then_some(words.trim())
}

/// One fault, one engine; what was seen, and how often the exchange counted it.
fn show(case: &Case) -> (Seen, u64) {
    let dir = Dir::new("fault");
    let script = dir.path().join("faults.toml");
    let text = case.script.replace("{}", &FROM.as_secs().to_string());
    std::fs::write(&script, text).unwrap();
    let started = Instant::now();
    let venue = Venue::start(&[
        "--market",
        "synthetic:5",
        "--symbols",
        "tBTCUSD,tETHUSD,tADAUSD,tDOTUSD",
        "--faults",
        script.to_str().unwrap(),
    ]);
    let report = dir.path().join("r.json");
    let args = [
        "run",
        "--plain",
        "--attach",
        venue.address(),
        "--dir",
        dir.text(),
        "--report",
        report.to_str().unwrap(),
        "--set",
        "report.line_interval_s=1",
        // The least that is allowed: what became of a lost order is known sooner.
        "--set",
        "orders.unknown_absent_after_s=60",
    ];
    let mut engine = genesis(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (out, lines) = channel();
    read_lines(engine.stderr.take().unwrap(), out.clone());
    read_lines(engine.stdout.take().unwrap(), out);
    let mut said: Vec<String> = Vec::new();
    let over = FROM + Duration::from_secs(case.for_s);
    let (mut sent_before, mut sent_over, mut sent) = (0, None, 0);
    let mut again_after = None;
    let again_max = if case.name == STOPS { STILL_FOR } else { AGAIN_MAX };
    loop {
        let now = started.elapsed();
        let is_settled = now >= over + Duration::from_secs(case.settle_s);
        if now >= over + again_max || again_after.is_some() && is_settled {
            break;
        }
        match lines.recv_timeout(Duration::from_millis(100)) {
            Ok(line) => {
                sent = sent_of(&line).unwrap_or(sent);
                said.extend(words_of(&line).filter(|_| now >= FROM).map(str::to_owned));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => panic!("{}: the engine ended", case.name),
        }
        if now < FROM {
            sent_before = sent;
        } else if now >= over {
            let base = *sent_over.get_or_insert(sent);
            if sent >= base + AGAIN && again_after.is_none() {
                again_after = Some(now - over);
            }
        }
    }
    signal(&engine, "-INT");
    let exit = engine.wait().unwrap().code();
    let text = std::fs::read_to_string(&report).unwrap();
    let report = serde_json::from_str(&text).unwrap();
    let (code, goodbye) = venue.stop();
    assert_eq!(code, Some(0), "{}: the exchange", case.name);
    let counted = goodbye["faults"][case.counted].as_u64().unwrap();
    let seen = Seen { report, exit, said, sent_before, sent_after: sent, again_after };
    (seen, counted)
}

/// What must be true behind every fault.
fn check(case: &Case, seen: &Seen, counted: u64) -> Result<(), String> {
    let need = |holds: bool, words: &str| if holds { Ok(()) } else { Err(words.to_owned()) };
    need(counted > 0, "the exchange did not do it")?;
    need(seen.sent_before > 0, "the engine did not trade before it; is the machine too slow?")?;
    need(seen.again_after.is_some() || case.name == STOPS, "it did not trade again")?;
    (case.check)(seen)?;
    need(seen.count("/hot_allocations") == 0, "a hot thread allocated")?;
    for pointer in ["/orders/open", "/orders/unknown", "/messages/malformed"] {
        need(seen.count(pointer) == 0, pointer)?;
    }
    let positions = seen.report["positions"].as_object().unwrap();
    let agree = positions.values().all(|position| position["matches_venue"] == true);
    need(agree, "a position is not the exchange's")?;
    need(seen.exit == Some(0), &format!("it ended with {:?}", seen.exit))
}

#[test]
#[ignore = "two processes a fault, two minutes and more; run by name"]
fn every_scripted_fault_is_met_and_trading_goes_on() {
    let cases = cases();
    // The manual and this table name the same faults.
    let manual = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config/faults.toml");
    for line in std::fs::read_to_string(manual).unwrap().lines() {
        if let Some(kind) = line.strip_prefix("kind = \"").and_then(|rest| rest.split('"').next()) {
            let shown = cases.iter().any(|case| case.script.contains(&format!("kind='{kind}'")));
            assert!(shown, "{kind} is in the manual and not shown");
        }
    }
    let next = Mutex::new(0..cases.len());
    let rows = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..SHOWN_AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(at) = next.lock().unwrap().next() else { return };
                    let (seen, counted) = show(&cases[at]);
                    let verdict = check(&cases[at], &seen, counted);
                    rows.lock().unwrap().push((at, seen, counted, verdict));
                }
            });
        }
    });
    let mut rows = rows.into_inner().unwrap();
    rows.sort_by_key(|(at, ..)| *at);
    let mut failed = Vec::new();
    println!("{:<24}{:>7}  engine", "fault", "times");
    for (at, seen, counted, verdict) in &rows {
        let name = cases[*at].name;
        println!(
            "{name:<24}{counted:>7}  {}; orders {} before, {} in all, {}",
            seen.figures(),
            seen.sent_before,
            seen.sent_after,
            match seen.again_after {
                Some(after) => format!("again within {:.1} s", after.as_secs_f64()),
                None => "none again".to_owned(),
            }
        );
        let mut told: Vec<&str> = Vec::new();
        for said in &seen.said {
            let is_usual = ["book synced", "socket ", "warm:", "signed in", "reconciled"];
            let is_news = !told.contains(&said.as_str());
            if is_news && !is_usual.iter().any(|usual| said.contains(usual)) {
                told.push(said);
            }
        }
        println!("{:<33}said: {}", "", told.join("; "));
        if let Err(words) = verdict {
            failed.push(format!("{name}: {words}"));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}
