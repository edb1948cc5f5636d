//! The operator's words to a running engine: `pause`, `resume`, `cancel`, `flatten`, `kill`,
//! `reset`, `guards`, over a socket file in the run's directory that only its owner may open. One
//! line of JSON each way. Whoever else takes such words uses [`control`], too.

use super::kill::{self, KillWatch, VENUE_FILE, VenuePlace, json_text};
use super::options::WordArgs;
use super::{complain, places, say};
use crate::base::bounded::Text;
use crate::base::ids::SymbolId;
use crate::base::units::Qty;
use crate::config::{Override, Sources};
use crate::engine::risk::{GuardLevel, GuardMode, LevelUnit};
use crate::io::clock::Clock;
use crate::io::history::Ask;
use crate::model::{Instrument, OperatorCommand, OperatorVerb, Rank};
use crate::ops::report::exit;
use crate::ops::rundir::{CONFIG_FILE, RunDir};
use crate::ring::Latch;
use crate::runtime::cold::{self, ColdThread};
use crate::runtime::engine::Running;
use clap::Args;
use crossbeam_channel::{Receiver, Sender, bounded};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The socket file of a run.
pub(super) const SOCKET_FILE: &str = "control.sock";
/// Longest request, bytes.
const REQUEST_MAX: u64 = 4_096;
/// Words that may wait for the run's loop.
const WAITING_MAX: usize = 16;
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Request {
    verb: String,
    symbol: Option<String>,
    reason: String,
}
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Answer {
    ok: bool,
    words: String,
    guards: Vec<GuardLine>,
}
/// One guard as people see it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct GuardLine {
    guard: String,
    mode: String,
    objects: bool,
    blocked: u64,
    shadowed: u64,
    trips: u32,
    used: Option<String>,
    limit: String,
    left: Option<String>,
    unit: String,
}
impl GuardLine {
    fn of(level: &GuardLevel) -> GuardLine {
        let text = |value: i64| match level.unit {
            LevelUnit::Money => Qty::from_raw(value).to_string(),
            _ => value.to_string(),
        };
        let mode = match level.mode {
            GuardMode::Off => "off",
            GuardMode::Shadow => "shadow",
            GuardMode::On => "on",
        };
        GuardLine {
            guard: level.guard.name().to_owned(),
            mode: mode.to_owned(),
            objects: level.objects,
            blocked: level.count.blocked,
            shadowed: level.count.shadowed,
            trips: level.trips,
            used: level.used.map(text),
            limit: text(level.limit),
            left: level.left().map(text),
            unit: level.unit.name().to_owned(),
        }
    }
}

/// A word on its way from the socket to the run's loop.
struct Asked {
    request: Request,
    reply: Sender<Answer>,
}

/// What an operator's verb is called.
fn verb_of(name: &str) -> Option<OperatorVerb> {
    Some(match name {
        "pause" => OperatorVerb::Pause,
        "resume" => OperatorVerb::Resume,
        "cancel" => OperatorVerb::CancelAll,
        "flatten" => OperatorVerb::Flatten,
        "kill" => OperatorVerb::Kill,
        "reset" => OperatorVerb::Reset,
        _ => return None,
    })
}

/// An operator's word to the engine, through its front. A kill forbids entries before it is on its
/// way.
///
/// # Errors
/// What is wrong with it, and what to write instead.
pub(super) fn control(
    verb: OperatorVerb,
    symbol: Option<&str>,
    reason: &str,
    running: &mut Running,
    kill: &mut KillWatch,
    instruments: &[Instrument],
) -> Result<(), String> {
    let symbol = match symbol {
        None => None,
        Some(name) => {
            let at = instruments.iter().position(|row| row.name.as_str() == name);
            let names: Vec<&str> = instruments.iter().map(|row| row.name.as_str()).collect();
            let words =
                || format!("`{name}` is not traded here; write one of {}", names.join(", "));
            Some(SymbolId(at.ok_or_else(words)? as u16))
        }
    };
    let reason = reason.trim();
    if verb == OperatorVerb::Reset && reason.is_empty() {
        return Err("a reset needs a reason: what was found, and why it is safe".to_owned());
    }
    let text = Text::new(reason).ok_or("the reason is longer than 48 bytes")?;
    if verb == OperatorVerb::Kill {
        kill.pull(&running.latch);
    }
    let command = OperatorCommand { verb, symbol, reason: text };
    log::warn!(
        "operator: {verb:?} {} {reason}",
        symbol.map_or("", |s| instruments[s.index()].name.as_str())
    );
    running.command(command).map_err(|_| "the engine does not take commands now".to_owned())
}

/// What a reset clears; `rank` is the one before it.
pub(super) fn reset_words(levels: &[GuardLevel], rank: &str) -> String {
    let tripped: Vec<&str> = levels
        .iter()
        .filter(|level| level.trips > 0 && level.objects)
        .map(|level| level.guard.name())
        .collect();
    let tripped = if tripped.is_empty() { "none".to_owned() } else { tripped.join(", ") };
    format!(
        "reset: kill, pause, loss guards, streaks, pauses and loops are cleared; day and peak begin \
         anew (was {rank}; tripped: {tripped})"
    )
}

/// The listening side.
pub(super) struct ControlDesk {
    asked: Receiver<Asked>,
    stop: Arc<AtomicBool>,
    path: PathBuf,
    thread: Option<ColdThread>,
}

impl ControlDesk {
    /// # Errors
    /// The socket cannot be made, in words.
    pub(super) fn start(
        run_dir: &RunDir,
        latch: Latch,
        clock: Clock,
        cpus: &[usize],
    ) -> Result<Self, String> {
        let path = run_dir.file(SOCKET_FILE);
        let said = |error: std::io::Error| format!("`{}`: {error}", path.display());
        let (tell, asked) = bounded(WAITING_MAX);
        let stop = Arc::new(AtomicBool::new(false));
        let listener = match UnixListener::bind(&path).map_err(said) {
            Ok(listener) => listener,
            // A path that is too long for a socket must not keep anybody from trading: the kill
            // file, the signal and the direct way are there.
            Err(words) => {
                log::error!("no control socket, {words}; choose a shorter --dir");
                return Ok(ControlDesk { asked, stop, path, thread: None });
            }
        };
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(said)?;
        let stopped = Arc::clone(&stop);
        let thread = cold::spawn("control", cpus, move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Acquire) {
                    break;
                }
                if let Ok(stream) = stream
                    && let Err(error) = serve(stream, &tell, &latch, &clock)
                {
                    log::warn!("control socket: {error}");
                }
            }
        })?;
        Ok(ControlDesk { asked, stop, path, thread: Some(thread) })
    }
    /// Whatever was asked since the last round.
    pub(super) fn round(
        &mut self,
        running: &mut Running,
        kill: &mut KillWatch,
        instruments: &[Instrument],
        levels: &[GuardLevel],
        rank: Option<Rank>,
    ) {
        while let Ok(Asked { request, reply }) = self.asked.try_recv() {
            let Request { verb, symbol, reason } = request;
            let rank = rank.map_or("starting", Rank::name);
            let answer = match verb_of(&verb) {
                None if verb == "guards" => Answer {
                    ok: true,
                    words: rank.to_owned(),
                    guards: levels.iter().map(GuardLine::of).collect(),
                },
                None => Answer {
                    words: format!(
                        "`{verb}` is no command; write pause, resume, cancel, flatten, kill, reset \
                         or guards"
                    ),
                    ..Answer::default()
                },
                Some(each) => {
                    let symbol = symbol.as_deref();
                    match control(each, symbol, &reason, running, kill, instruments) {
                        Ok(()) => {
                            let words = match each {
                                OperatorVerb::Reset => reset_words(levels, rank),
                                _ => format!("{verb}: taken (was {rank})"),
                            };
                            Answer { ok: true, words, guards: Vec::new() }
                        }
                        Err(words) => Answer { words, ..Answer::default() },
                    }
                }
            };
            let _ = reply.send(answer);
        }
    }
    pub(super) fn close(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Wakes the listener.
        let _ = UnixStream::connect(&self.path);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

fn serve(
    mut stream: UnixStream,
    tell: &Sender<Asked>,
    latch: &Latch,
    clock: &Clock,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.set_write_timeout(Some(Duration::from_secs(1)))?;
    let mut line = String::new();
    BufReader::new((&stream).take(REQUEST_MAX)).read_line(&mut line)?;
    let answer = match sonic_rs::from_str::<Request>(&line) {
        Err(_) => Answer { words: "not a request".to_owned(), ..Answer::default() },
        Ok(request) => {
            if request.verb == "kill" {
                // Not even the run's own loop stands before it.
                latch.kill_at(Rank::ReduceOnly as u8, clock.tsc().0);
            }
            let (reply, told) = bounded(1);
            if tell.try_send(Asked { request, reply }).is_err() {
                Answer { words: "too many requests wait".to_owned(), ..Answer::default() }
            } else {
                told.recv_timeout(PATIENCE).unwrap_or_else(|_| Answer {
                    words: "the run's loop does not answer; for a kill use --direct".to_owned(),
                    ..Answer::default()
                })
            }
        }
    };
    let mut text = sonic_rs::to_string(&answer).unwrap_or_default();
    text.push('\n');
    stream.write_all(text.as_bytes())
}

// ---- the asking side ----

#[derive(Args, Debug, Clone)]
pub(super) struct GuardsArgs {
    #[command(flatten)]
    pub word: WordArgs,
    /// When guards have tripped, out of the history; no engine is asked.
    #[arg(long)]
    pub history: bool,
    /// With --history: so many rows, the newest first.
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: u32,
}

#[derive(Args, Debug, Clone)]
pub(super) struct KillArgs {
    #[command(flatten)]
    pub word: WordArgs,
    /// Go to the venue from this process, by REST: works with the engine hanging or dead. Leaves
    /// the kill file behind, so that a new run stays halted until a person resets it.
    #[arg(long)]
    pub direct: bool,
    /// With --direct: one key of the config, stronger than the run's own; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = Override::parse)]
    pub set: Vec<Override>,
}

fn run_dir_of(args: &WordArgs) -> Result<PathBuf, String> {
    let root = places(args.dir.clone()).root();
    if root.join(SOCKET_FILE).exists() || root.join(VENUE_FILE).exists() {
        return Ok(root);
    }
    let dir = RunDir::open(&root).map_err(|error| format!("{error}; name it with --dir"))?;
    Ok(dir.path().to_owned())
}

fn ask(dir: &Path, request: &Request) -> Result<Answer, String> {
    let path = dir.join(SOCKET_FILE);
    let said = |error: std::io::Error| {
        format!("no engine answers at `{}` ({error}); is it running?", path.display())
    };
    let mut stream = UnixStream::connect(&path).map_err(said)?;
    stream.set_read_timeout(Some(PATIENCE + PATIENCE)).map_err(said)?;
    let mut text = sonic_rs::to_string(request).unwrap_or_default();
    text.push('\n');
    stream.write_all(text.as_bytes()).map_err(said)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).map_err(said)?;
    sonic_rs::from_str(&line).map_err(|_| format!("`{}` gave no answer", path.display()))
}

/// `genesis pause | resume | cancel | flatten | kill | reset | guards`.
pub(super) fn word(verb: &str, args: &WordArgs) -> u8 {
    if verb != "guards"
        && let Some(code) = super::client::command(verb, args)
    {
        return code;
    }
    let request =
        Request { verb: verb.to_owned(), symbol: args.symbol.clone(), reason: args.reason.clone() };
    let answer = run_dir_of(args).and_then(|dir| ask(&dir, &request));
    match answer {
        Ok(answer) if answer.ok => {
            if args.json {
                say(&json_text(&answer));
            } else if verb == "guards" {
                say(&table(&answer));
            } else {
                say(&answer.words);
            }
            exit::OK
        }
        Ok(answer) => {
            complain(answer.words);
            exit::BAD_INPUT
        }
        Err(words) if verb == "kill" => {
            complain(format!("{words} `genesis kill --direct` needs no engine"));
            exit::FAILURE
        }
        Err(words) => {
            complain(words);
            exit::FAILURE
        }
    }
}

fn table(answer: &Answer) -> String {
    let mut text = format!("risk: {}\n", answer.words);
    let none = || "unknown".to_owned();
    text.push_str(&format!(
        "{:<34}{:<8}{:>10}{:>10}{:>7}{:>18}{:>18}{:>18} unit\n",
        "guard", "mode", "blocked", "shadowed", "trips", "used", "limit", "left"
    ));
    for row in &answer.guards {
        let mark = if row.objects { "!" } else { " " };
        text.push_str(&format!(
            "{mark}{:<33}{:<8}{:>10}{:>10}{:>7}{:>18}{:>18}{:>18} {}\n",
            row.guard,
            row.mode,
            row.blocked,
            row.shadowed,
            row.trips,
            row.used.clone().unwrap_or_else(none),
            row.limit,
            row.left.clone().unwrap_or_else(none),
            row.unit
        ));
    }
    text
}

/// `genesis guards`.
pub(super) fn guards(args: &GuardsArgs) -> u8 {
    if args.history {
        return super::history::show(Ask::Trips, args.word.dir.clone(), args.limit, args.word.json);
    }
    word("guards", &args.word)
}

/// `genesis kill`.
pub(super) fn kill(args: &KillArgs) -> u8 {
    if !args.direct {
        return word("kill", &args.word);
    }
    match kill_direct(args) {
        Ok(record) => {
            let text = json_text(&record);
            say(&text);
            kill::exit_code(&record)
        }
        Err(words) => {
            complain(words);
            exit::FAILURE
        }
    }
}

fn kill_direct(args: &KillArgs) -> Result<kill::KillRecord, String> {
    let dir = run_dir_of(&args.word)?;
    let path = dir.join(VENUE_FILE);
    let text = std::fs::read_to_string(&path).map_err(|e| format!("`{}`: {e}", path.display()))?;
    let place: VenuePlace =
        sonic_rs::from_str(&text).map_err(|error| format!("`{}`: {error}", path.display()))?;
    let sources = Sources { file: Some(dir.join(CONFIG_FILE)), overrides: args.set.clone() };
    let config = sources.load().map_err(|error| error.to_string())?;
    let root = dir.parent().unwrap_or(Path::new(".")).to_owned();
    kill::direct(&config, &root, &dir, &place, &args.word.reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_the_command_line_is_a_verb() {
        for name in ["pause", "resume", "cancel", "flatten", "kill", "reset"] {
            assert!(verb_of(name).is_some(), "{name}");
        }
        assert_eq!(verb_of("stop"), None);
    }
}
