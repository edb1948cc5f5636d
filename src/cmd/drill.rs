//! `genesis drill`: an incident on purpose, in real processes on loopback: this program as exchange
//! and as engine. Each step is a claim of RUNBOOK.md, waited for and timed. Nothing it starts
//! outlives it, and no run of anybody else is touched.

use super::client::{Engine, Trouble, ended, trouble};
use super::say;
use crate::ops::http::Scope;
use crate::ops::report::exit;
use crate::ops::status::Status;
use clap::{Args, ValueEnum};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(super) const MANUAL: &str = "\
Drills (each takes half a minute to two; names of RUNBOOK.md's sections stand beside each step):
  kill          the kill switch, what it leaves, and the reset
  disconnect    the exchange dies and comes back with its state
  maintenance   the exchange announces maintenance (20060) and its end (20061)
  disk-full     the disk refuses every write of the run
  clock-step    the wall clock is set back by five seconds
  all           one after the other

Exit code 0: every step passed; 1: one did not; its line says what was seen instead.";

/// Steps that have no bound of the runbook: a shared machine may be slow, never that slow.
const PATIENCE: Duration = Duration::from_secs(90);
/// What an operator is promised: an alert stands within this.
const ALERT_MAX: Duration = Duration::from_secs(5);
/// Alerts of states are not told while a run starts.
const SETTLED_S: u64 = 12;
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Largest file of the disk-full drill: above the write-ahead segments made at start.
const FILE_KIB_MAX: u64 = 8_192;

#[derive(Args, Debug)]
pub(super) struct DrillArgs {
    #[arg(value_enum)]
    what: Drill,
    /// Keep the files of the drill here; otherwise they are gone afterwards.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The steps as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Drill {
    Kill,
    Disconnect,
    Maintenance,
    DiskFull,
    ClockStep,
    All,
}

impl Drill {
    const EACH: [Drill; 5] =
        [Drill::Kill, Drill::Disconnect, Drill::Maintenance, Drill::DiskFull, Drill::ClockStep];
    const fn name(self) -> &'static str {
        match self {
            Drill::Kill => "kill",
            Drill::Disconnect => "disconnect",
            Drill::Maintenance => "maintenance",
            Drill::DiskFull => "disk-full",
            Drill::ClockStep => "clock-step",
            Drill::All => "all",
        }
    }
}

/// One claim, and what became of it.
#[derive(Debug, serde::Serialize)]
struct Step {
    drill: &'static str,
    /// Section of RUNBOOK.md.
    runbook: &'static str,
    claim: String,
    passed: bool,
    after_s: f64,
    /// Most it may take; absent: no bound is promised.
    bound_s: Option<f64>,
    /// What was seen where it did not pass.
    seen: String,
}

pub(super) fn run(args: &DrillArgs) -> u8 {
    ended(drilled(args))
}

fn drilled(args: &DrillArgs) -> Result<u8, Trouble> {
    let place = match &args.dir {
        Some(dir) => dir.clone(),
        None => std::env::temp_dir().join(format!("genesis-drill-{}", std::process::id())),
    };
    let which = if args.what == Drill::All { &Drill::EACH[..] } else { &[args.what][..] };
    let mut steps = Vec::new();
    for drill in which {
        let mut stage = Stage::new(*drill, place.join(drill.name()), args.json)
            .map_err(|error| trouble(exit::FAILURE, error))?;
        // `None`: a step that the others stand on has failed, and is the last line.
        let _ = match drill {
            Drill::Kill => kill(&mut stage),
            Drill::Disconnect => disconnect(&mut stage),
            Drill::Maintenance => maintenance(&mut stage),
            Drill::DiskFull => disk_full(&mut stage),
            Drill::ClockStep | Drill::All => clock_step(&mut stage),
        };
        stage.close();
        steps.append(&mut stage.steps);
    }
    if args.dir.is_none() {
        let _ = std::fs::remove_dir_all(&place);
    }
    let failed = steps.iter().filter(|step| !step.passed).count();
    if args.json {
        say(&sonic_rs::to_string_pretty(&steps).unwrap_or_default());
    } else {
        say(&format!("{} steps passed, {failed} failed", steps.len() - failed));
    }
    Ok(if failed == 0 { exit::OK } else { exit::FAILURE })
}

/// Where a drill happens: its directory and its processes.
struct Stage {
    drill: Drill,
    dir: PathBuf,
    is_quiet: bool,
    venue: Option<Child>,
    engine: Option<Child>,
    steps: Vec<Step>,
    /// When what the next step is about was done.
    begun: Instant,
}

impl Drop for Stage {
    fn drop(&mut self) {
        for child in [self.engine.take(), self.venue.take()].into_iter().flatten() {
            end(child);
        }
    }
}

/// Asks it to end, and sees to it.
fn end(mut child: Child) {
    if matches!(child.try_wait(), Ok(None)) {
        let _ = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    }
    let begun = now();
    while matches!(child.try_wait(), Ok(None)) {
        if begun.elapsed() > Duration::from_secs(20) {
            let _ = child.kill();
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
}

#[expect(clippy::disallowed_methods, reason = "a drill times processes, as a person with a watch")]
fn now() -> Instant {
    Instant::now()
}

impl Stage {
    fn new(drill: Drill, dir: PathBuf, is_quiet: bool) -> std::io::Result<Stage> {
        std::fs::create_dir_all(&dir)?;
        let stage = Stage {
            drill,
            dir,
            is_quiet,
            venue: None,
            engine: None,
            steps: Vec::new(),
            begun: now(),
        };
        if !is_quiet {
            say(&format!("drill {}", drill.name()));
        }
        Ok(stage)
    }

    /// This program; where files may not grow beyond a limit, by a shell that sets it.
    fn command(&self, name: &str, file_kib_max: Option<u64>) -> std::io::Result<Command> {
        let program = std::env::current_exe()?;
        let mut command = match file_kib_max {
            None => Command::new(program),
            Some(kib) => {
                // Without the signal a write beyond the limit fails, as on a full disk. The unit of
                // ulimit -f is 512 bytes by POSIX, and 1,024 in bash under its own name.
                let blocks = kib * 2;
                let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
                let mut shell = Command::new("sh");
                shell.arg("-c").arg(script).arg(program);
                shell
            }
        };
        let err = File::create(self.dir.join(format!("{name}.err")))?;
        command.stdin(Stdio::null()).stderr(err).stdout(Stdio::piped());
        Ok(command)
    }

    /// Starts `genesis venue`; its address.
    fn start_venue(&mut self, listen: &str, more: &[&str]) -> Option<String> {
        let state = self.dir.join("venue.state");
        let child = self.command("venue", None).and_then(|mut command| {
            command.args(["venue", "--market", "synthetic:7", "--speed", "5", "--listen", listen]);
            command.arg("--state").arg(state).args(more).spawn()
        });
        let mut child = self.started("an exchange of its own starts", child)?;
        let mut line = String::new();
        let out = child.stdout.take().map(|out| BufReader::new(out).read_line(&mut line));
        self.venue = Some(child);
        #[derive(serde::Deserialize)]
        struct Hello {
            rest: String,
        }
        let hello: Option<Hello> = out.and_then(|_| sonic_rs::from_str(&line).ok());
        let address = hello.and_then(|hello| hello.rest.strip_prefix("http://").map(str::to_owned));
        self.step("start-stop-restart", "an exchange of its own starts", None, |_| {
            address.is_some().then_some(()).ok_or_else(|| format!("it said {line:?}"))
        })?;
        address
    }

    fn started(&mut self, claim: &str, child: std::io::Result<Child>) -> Option<Child> {
        match child {
            Ok(child) => Some(child),
            Err(error) => {
                self.note("start-stop-restart", claim, None, Err(error.to_string()));
                None
            }
        }
    }

    /// Starts `genesis run`, by a shell with a limit where one is wanted, and waits until it
    /// trades.
    fn start_engine(&mut self, more: &[&str], file_kib_max: Option<u64>) -> Option<()> {
        let runs = self.dir.join("runs");
        let out = File::create(self.dir.join("engine.out"));
        let child = out.and_then(|out| {
            let mut command = self.command("engine", file_kib_max)?;
            command.args(["run", "--plain", "--dir"]).arg(&runs).args(more).stdout(out).spawn()
        });
        let child = self.started("the engine starts", child)?;
        self.engine = Some(child);
        self.step("start-stop-restart", "the engine is running", None, |stage| {
            let status = stage.status()?;
            match status.state.rank.as_str() {
                "running" => Ok(()),
                rank => Err(format!("{rank}: {}", status.state.reason)),
            }
        })?;
        self.step("start-stop-restart", "it sends orders and its start is over", None, |stage| {
            let status = stage.status()?;
            match status.counts.orders_sent > 0 && status.elapsed_s > SETTLED_S {
                true => Ok(()),
                false => Err(format!("{} orders sent", status.counts.orders_sent)),
            }
        })
    }

    fn status(&mut self) -> Result<Status, String> {
        if let Some(Ok(Some(code))) = self.engine.as_mut().map(Child::try_wait) {
            return Err(format!("the engine has ended: {code}"));
        }
        let engine = Engine::find(Some(self.dir.join("runs"))).map_err(|one| one.words)?;
        let (code, body) =
            engine.ask(Scope::Read, "GET", "/api/v1/status", "").map_err(|one| one.words)?;
        if code != 200 {
            return Err(format!("the control port says {code}"));
        }
        sonic_rs::from_str(&body).map_err(|error| error.to_string())
    }

    /// A word as an operator types it: `genesis WORD … --dir`, by the command line.
    fn word(&mut self, words: &[&str]) -> Result<String, String> {
        let dir = self.dir.join("runs");
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let done = Command::new(program).args(words).arg("--dir").arg(dir).output();
        let done = done.map_err(|error| error.to_string())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        match done.status.success() {
            true => Ok(text(&done.stdout)),
            false => Err(format!("{}: {}", done.status, text(&done.stderr))),
        }
    }

    /// From here on the next bound counts.
    fn begin(&mut self) {
        self.begun = now();
    }

    /// Waits until `holds`; past its bound it has failed, and is waited for a while longer, so that
    /// the line can say how late it was. `None`: it never held.
    fn step(
        &mut self,
        runbook: &'static str,
        claim: &str,
        bound: Option<Duration>,
        mut holds: impl FnMut(&mut Stage) -> Result<(), String>,
    ) -> Option<()> {
        let waited_from = now();
        loop {
            let seen = match holds(self) {
                Ok(()) => return self.note(runbook, claim, bound, Ok(())),
                Err(seen) => seen,
            };
            if waited_from.elapsed() > PATIENCE {
                return self.note(runbook, claim, bound, Err(seen));
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
    }

    fn note(
        &mut self,
        runbook: &'static str,
        claim: &str,
        bound: Option<Duration>,
        outcome: Result<(), String>,
    ) -> Option<()> {
        let after = self.begun.elapsed();
        let in_time = bound.is_none_or(|bound| after <= bound);
        let held = outcome.is_ok();
        let step = Step {
            drill: self.drill.name(),
            runbook,
            claim: claim.to_owned(),
            passed: held && in_time,
            after_s: (after.as_secs_f64() * 100.0).round() / 100.0,
            bound_s: bound.map(|bound| bound.as_secs_f64()),
            seen: outcome.err().unwrap_or_default(),
        };
        if !self.is_quiet {
            say(&line(&step));
        }
        self.steps.push(step);
        held.then_some(())
    }

    fn alert(&mut self, name: &'static str) -> Option<()> {
        self.step(name, &format!("alert {name} stands"), Some(ALERT_MAX), |stage| {
            let active = stage.status()?.alerts.active;
            match active.iter().any(|alert| alert.name == name) {
                true => Ok(()),
                false => Err(format!("{} other alerts", active.len())),
            }
        })
    }

    fn rank(&mut self, runbook: &'static str, wanted: &str, bound: Option<Duration>) -> Option<()> {
        self.step(runbook, &format!("the rank is {wanted}"), bound, |stage| {
            let state = stage.status()?.state;
            match state.rank == wanted {
                true => Ok(()),
                false => Err(format!("{}: {}", state.rank, state.reason)),
            }
        })
    }

    fn trades_on(&mut self, runbook: &'static str) -> Option<()> {
        let before = self.status().map_or(0, |status| status.counts.orders_sent);
        self.step(runbook, "it trades on, every book synced, no order in doubt", None, |stage| {
            let status = stage.status()?;
            let synced = status.symbols.iter().all(|row| row.synced && !row.is_frozen);
            let counts = status.counts;
            match synced && counts.orders_unknown == 0 && counts.orders_sent > before {
                true => Ok(()),
                false => Err(format!(
                    "synced: {synced}, {} unknown, {} sent since",
                    counts.orders_unknown,
                    counts.orders_sent - before
                )),
            }
        })
    }

    /// Ends the engine as an operator does, and looks at its exit code.
    fn stop_engine(&mut self) -> Option<()> {
        let mut child = self.engine.take()?;
        let _ = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
        self.begin();
        let claim = "it stops by itself, nothing left";
        let done = self.step("start-stop-restart", claim, None, |_| {
            match child.try_wait() {
                Ok(Some(code)) if code.success() => Ok(()),
                // Said once more by the next look, until patience ends.
                Ok(Some(code)) => Err(format!("{code}")),
                Ok(None) => Err("it runs still".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        });
        end(child);
        done
    }

    fn close(&mut self) {
        for child in [self.engine.take(), self.venue.take()].into_iter().flatten() {
            end(child);
        }
    }
}

fn line(step: &Step) -> String {
    let mark = if step.passed { "ok    " } else { "FAILED" };
    let mut out = format!("{mark} {:>6.2} s", step.after_s);
    let _ = match step.bound_s {
        Some(bound) => write!(out, " of {bound:>3.0} s"),
        None => write!(out, "         "),
    };
    let _ = write!(out, "  {}  (RUNBOOK.md#{})", step.claim, step.runbook);
    if !step.seen.is_empty() {
        let _ = write!(out, "\n       seen: {}", step.seen);
    }
    out
}

fn flat(status: &Status) -> Result<(), String> {
    let open = status.symbols.iter().filter(|row| row.position != 0.0).count();
    match (status.counts.orders_alive, open) {
        (0, 0) => Ok(()),
        (orders, open) => Err(format!("{orders} own orders, {open} positions")),
    }
}

fn kill(stage: &mut Stage) -> Option<()> {
    const SECTION: &str = "kill-and-reset";
    stage.start_engine(&["--speed", "5"], None)?;
    stage.begin();
    let said = stage.word(&["kill", "--reason", "drill"]);
    stage.note(SECTION, "genesis kill is answered with its effect", None, said.map(drop))?;
    stage.rank("killed", "halted", Some(ALERT_MAX))?;
    stage.alert("killed")?;
    stage.step(SECTION, "no own order and no position is left", None, |stage| {
        flat(&stage.status()?)
    })?;
    let sent = stage.status().ok()?.counts.orders_sent;
    stage.begin();
    stage.step(SECTION, "nothing opens for five seconds", None, |stage| {
        if stage.begun.elapsed() < Duration::from_secs(5) {
            return Err("not yet over".to_owned());
        }
        flat(&stage.status()?)
    })?;
    let later = stage.status().ok()?.counts.orders_sent;
    let same = if later == sent { Ok(()) } else { Err(format!("{} more", later - sent)) };
    stage.note(SECTION, "no order was sent meanwhile", None, same)?;
    stage.begin();
    let refused = match stage.word(&["reset"]) {
        Err(_) => Ok(()),
        Ok(said) => Err(said),
    };
    stage.note(SECTION, "a reset without a reason is refused", None, refused)?;
    let said = stage.word(&["reset", "--reason", "drill is over"]);
    stage.note(SECTION, "a reset with a reason is taken", None, said.map(drop))?;
    stage.rank(SECTION, "running", None)?;
    stage.trades_on(SECTION)?;
    stage.stop_engine()
}

fn disconnect(stage: &mut Stage) -> Option<()> {
    let address = stage.start_venue("127.0.0.1:0", &[])?;
    stage.start_engine(&["--attach", &address], None)?;
    if let Some(mut venue) = stage.venue.take() {
        let _ = venue.kill();
        let _ = venue.wait();
    }
    stage.begin();
    // Stricter where its orders are asked to be cancelled by REST first, and that fails as well.
    let claim = "the rank is entries-blocked, or cancel-only";
    stage.step("link_down", claim, Some(ALERT_MAX), |stage| {
        let state = stage.status()?.state;
        match &*state.rank {
            "entries-blocked" | "cancel-only" => Ok(()),
            rank => Err(format!("{rank}: {}", state.reason)),
        }
    })?;
    stage.alert("link_down")?;
    stage.alert("book_not_tradable")?;
    // On the same port, with the state it had: it takes a moment until the port is free.
    stage.begin();
    stage.start_venue(&address, &[])?;
    stage.rank("link_down", "running", None)?;
    stage.trades_on("unknown_order")?;
    stage.step("link_down", "its alerts are over", None, |stage| {
        let active = stage.status()?.alerts.active;
        match active.iter().find(|a| matches!(&*a.name, "link_down" | "book_not_tradable")) {
            None => Ok(()),
            Some(alert) => Err(format!("{} {}", alert.name, alert.text)),
        }
    })?;
    stage.stop_engine()
}

fn maintenance(stage: &mut Stage) -> Option<()> {
    const SECTION: &str = "maintenance-of-the-venue";
    // In the market's time, which runs five times as fast: 40 s from the start, for ten.
    let script = "[[fault]]\nkind = \"maintenance\"\nfrom_s = 200\nfor_s = 50\n";
    let path = stage.dir.join("faults.toml");
    std::fs::write(&path, script).ok()?;
    let address = stage.start_venue("127.0.0.1:0", &["--faults", path.to_str()?])?;
    stage.start_engine(&["--attach", &address], None)?;
    stage.step(SECTION, "the exchange announces maintenance (20060)", None, |stage| {
        let status = stage.status()?;
        match status.reconnects.iter().any(|row| row.what.contains("MaintenanceStarted")) {
            true => Ok(()),
            false => Err("not announced".to_owned()),
        }
    })?;
    stage.begin();
    stage.step(SECTION, "no book is tradable, entries wait", Some(ALERT_MAX), |stage| {
        let status = stage.status()?;
        match status.symbols.iter().any(|row| row.synced) {
            false => Ok(()),
            true => Err("a book is called synced".to_owned()),
        }
    })?;
    stage.alert("book_not_tradable")?;
    stage.begin();
    stage.step(SECTION, "its end (20061) is heard, nobody does anything", None, |stage| {
        let status = stage.status()?;
        match status.reconnects.iter().any(|row| row.what.contains("MaintenanceEnded")) {
            true => Ok(()),
            false => Err("not yet".to_owned()),
        }
    })?;
    stage.rank(SECTION, "running", None)?;
    stage.trades_on(SECTION)?;
    stage.stop_engine()
}

fn disk_full(stage: &mut Stage) -> Option<()> {
    const SECTION: &str = "journal_failed";
    // A file can grow no further than this: every write beyond fails, as it does on a full disk.
    let wal = stage.dir.join("wal");
    let wal = format!("journal.write_ahead_dir={:?}", wal.to_str()?);
    let more = ["--speed", "20", "--set", "journal.write_ahead_mib=1", "--set", &wal];
    stage.start_engine(&more, Some(FILE_KIB_MAX))?;
    stage.step(SECTION, "the disk refuses a write of the journal", None, |stage| {
        match stage.status()?.counts.journal_failures {
            0 => Err("none yet".to_owned()),
            _ => Ok(()),
        }
    })?;
    stage.begin();
    stage.rank(SECTION, "cancel-only", Some(ALERT_MAX))?;
    stage.alert("journal_failed")?;
    stage.step(
        SECTION,
        "it is counted and shown: cancels only, the reason in words",
        None,
        |stage| {
            let state = stage.status()?.state;
            match state.reason.contains("journal") {
                true => Ok(()),
                false => Err(state.reason),
            }
        },
    )?;
    let sent = stage.status().ok()?.counts.orders_sent;
    stage.begin();
    stage.step(SECTION, "it lives and sends no order for five seconds", None, |stage| {
        let counts = stage.status()?.counts;
        if counts.orders_sent > sent {
            return Err(format!("{} orders were sent", counts.orders_sent - sent));
        }
        match stage.begun.elapsed() >= Duration::from_secs(5) {
            true => Ok(()),
            false => Err("not yet over".to_owned()),
        }
    })?;
    let said = stage.word(&["cancel", "--reason", "drill"]);
    stage.note(SECTION, "cancels leave", None, said.map(drop))?;
    stage.step(SECTION, "no own order is left", None, |stage| {
        match stage.status()?.counts.orders_alive {
            0 => Ok(()),
            left => Err(format!("{left} left")),
        }
    })?;
    let mut child = stage.engine.take()?;
    let _ = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    stage.begin();
    let done =
        stage.step(SECTION, "it stops by itself, no crash", None, |_| match child.try_wait() {
            // Its report finds no room either: that is a failure told in words, never a signal.
            Ok(Some(code)) if code.code().is_some() => Ok(()),
            Ok(Some(code)) => Err(code.to_string()),
            _ => Err("it runs still".to_owned()),
        });
    end(child);
    done
}

fn clock_step(stage: &mut Stage) -> Option<()> {
    const SECTION: &str = "clock_step";
    stage.start_engine(&["--speed", "5", "--drill-clock-step", "-5000@20s"], None)?;
    stage.step(SECTION, "the wall clock is set back by five seconds", None, |stage| {
        let host = stage.status()?.host;
        match host.clock_step_ms < -4_000.0 {
            true => Ok(()),
            false => Err(format!("largest step seen: {} ms", host.clock_step_ms_max)),
        }
    })?;
    stage.begin();
    stage.alert(SECTION)?;
    stage.step("watchdog", "the watchdog lists it", Some(ALERT_MAX), |stage| {
        match stage.status()?.incidents.iter().any(|incident| incident.what == "clock") {
            true => Ok(()),
            false => Err("not listed".to_owned()),
        }
    })?;
    stage.rank(SECTION, "running", None)?;
    stage.trades_on(SECTION)?;
    stage.stop_engine()
}

/// Sections of RUNBOOK.md as links name them.
#[cfg(test)]
fn anchors(text: &str) -> Vec<String> {
    let heads = text.lines().filter_map(|line| line.trim_start_matches('#').strip_prefix(' '));
    let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | ' ' | '-');
    heads
        .map(|head| head.to_lowercase().chars().filter(plain).collect::<String>().replace(' ', "-"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn every_step_names_a_section_of_the_runbook() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let known = anchors(&std::fs::read_to_string(root.join("RUNBOOK.md")).unwrap());
        let code = std::fs::read_to_string(root.join("src/cmd/drill.rs")).unwrap();
        let mut found = 0;
        for opening in ["const SECTION: &str = \"", ".step(\"", ".alert(\"", ".rank(\"", "on(\""] {
            for (at, _) in code.match_indices(opening) {
                let name = code[at + opening.len()..].split('"').next().unwrap();
                if name.contains('\\') || name.is_empty() {
                    continue; // this test's own list
                }
                assert!(known.iter().any(|anchor| anchor == name), "{name} is no section");
                found += 1;
            }
        }
        assert!(found > 15, "{found}");
    }

    #[test]
    fn a_line_says_how_long_and_what_was_seen_instead() {
        let step = Step {
            drill: "kill",
            runbook: "killed",
            claim: "the rank is halted".to_owned(),
            passed: false,
            after_s: 6.5,
            bound_s: Some(5.0),
            seen: "running: ".to_owned(),
        };
        let text = line(&step);
        assert!(text.starts_with("FAILED   6.50 s of   5 s  the rank is halted"), "{text}");
        assert!(text.contains("RUNBOOK.md#killed") && text.ends_with("seen: running: "), "{text}");
    }
}
