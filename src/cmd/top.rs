//! `genesis top`: the dashboard's twin on a terminal. Follows the events of a running engine's
//! control port and draws each picture; without a terminal it prints them one below the other.

use super::client::{Engine, Trouble, ended, error_words, trouble};
use super::say;
use crate::ops::http::Scope;
use crate::ops::report::exit;
use crate::ops::status::Status;
use crate::ops::view::frame;
use clap::Args;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

/// Longest silence of a running engine: it tells at least every `dashboard.push_ms`.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// Longest line of an event, bytes; a status has some tens of KiB.
const LINE_MAX: u64 = 8 << 20;
/// Without a terminal nobody's window is too narrow.
const COLUMNS_OF_A_PIPE: usize = 200;

#[derive(Args, Debug)]
pub(super) struct TopArgs {
    /// A run's directory, or the directory of all runs (then the newest); as `genesis run --dir`.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// One picture, then end.
    #[arg(long)]
    once: bool,
    /// End after so many pictures; 0 = never.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pictures: u64,
}

pub(super) fn run(args: &TopArgs) -> u8 {
    ended(match args.once {
        true => once(args),
        false => follow(args),
    })
}

fn once(args: &TopArgs) -> Result<u8, Trouble> {
    let engine = Engine::find(args.dir.clone())?;
    let (code, body) = engine.ask(Scope::Read, "GET", "/api/v1/status", "")?;
    if code != 200 {
        return Err(trouble(exit::FAILURE, error_words(&body)));
    }
    say(&frame(&read(&body)?, size().0));
    Ok(exit::OK)
}

fn read(text: &str) -> Result<Status, Trouble> {
    sonic_rs::from_str(text)
        .map_err(|error| trouble(exit::FAILURE, format!("the status is unreadable: {error}")))
}

/// Columns and rows of the terminal.
fn size() -> (usize, usize) {
    let is_screen = std::io::stdout().is_terminal();
    match ratatui::crossterm::terminal::size() {
        Ok((columns, rows)) if is_screen && columns > 0 => (columns.into(), rows.into()),
        _ => (COLUMNS_OF_A_PIPE, usize::MAX),
    }
}

fn follow(args: &TopArgs) -> Result<u8, Trouble> {
    let engine = Engine::find(args.dir.clone())?;
    let gone = |words: &dyn std::fmt::Display| {
        trouble(exit::NOT_RUNNING, format!("no run answers at {}: {words}", engine.address))
    };
    let token = engine.token(Scope::Read)?;
    let mut stream = TcpStream::connect(&engine.address).map_err(|error| gone(&error))?;
    stream.set_read_timeout(Some(SILENCE_MAX)).map_err(|error| gone(&error))?;
    let request = format!(
        "GET /api/v1/events HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\n\
         user-agent: genesis top\r\n\r\n",
        engine.address
    );
    stream.write_all(request.as_bytes()).map_err(|error| gone(&error))?;
    let mut lines = BufReader::new(stream);
    let mut line = String::new();
    let mut shown = 0;
    let mut status_code = None;
    loop {
        line.clear();
        match std::io::Read::take(&mut lines, LINE_MAX).read_line(&mut line) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => return Err(gone(&error)),
        }
        let code =
            *status_code.get_or_insert_with(|| line.get(9..12).unwrap_or("").to_owned()) == "200";
        if !code {
            return Err(trouble(exit::FAILURE, format!("the port says: {}", line.trim())));
        }
        let Some(data) = line.strip_prefix("data: ") else { continue };
        if !draw(&read(data)?) {
            return Ok(exit::OK); // nobody reads on
        }
        shown += 1;
        if args.pictures > 0 && shown >= args.pictures {
            return Ok(exit::OK);
        }
    }
    match shown {
        0 => Err(gone(&"it closed at once")),
        _ => {
            say("the run has ended");
            Ok(exit::OK)
        }
    }
}

/// False: standard output is gone.
fn draw(status: &Status) -> bool {
    let (columns, rows) = size();
    let text = frame(status, columns);
    let mut out = std::io::stdout().lock();
    let drawn = match rows {
        usize::MAX => writeln!(out, "{text}"),
        rows => out.write_all(screen(&text, rows).as_bytes()),
    };
    drawn.and_then(|()| out.flush()).is_ok()
}

/// A picture over the one before: no clearing first, so that nothing flickers.
fn screen(text: &str, rows: usize) -> String {
    let lines: Vec<&str> = text.lines().take(rows.saturating_sub(1)).collect();
    format!("\x1b[H{}\x1b[K\n\x1b[J", lines.join("\x1b[K\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_drawn_over_the_one_before_and_keeps_inside_the_window() {
        let text = screen("one\ntwo\nthree\n", 3);
        assert_eq!(text, "\x1b[Hone\x1b[K\ntwo\x1b[K\n\x1b[J");
    }
}
