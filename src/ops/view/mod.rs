//! What a run shows while it runs: one calm picture on a terminal, plain lines elsewhere.

mod frame;
mod model;
mod plain;
#[cfg(feature = "net")]
mod terminal;

pub use frame::frame;
pub use model::*;
pub use plain::{lines, status_line};

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How a run is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViewMode {
    /// The live view where standard output is a terminal, else lines.
    Auto,
    Lines,
    Off,
}

/// A view that is open. Dropping it gives the terminal back.
pub struct View {
    face: Face,
    /// Between two redraws or two groups of lines.
    interval: Duration,
    shown_at: Option<Instant>,
}

enum Face {
    #[cfg(feature = "net")]
    Terminal(Box<terminal::Screen>),
    Lines,
    Off,
}

/// Shortest span between two redraws: four a second are calm.
#[cfg(feature = "net")]
const REDRAW_MIN: Duration = Duration::from_millis(250);

#[expect(clippy::disallowed_methods, reason = "redraws follow the reader's clock")]
fn now() -> Instant {
    Instant::now()
}

impl View {
    /// Opens the view. Falls back to lines where the terminal cannot be had.
    pub fn open(mode: ViewMode, redraw: Duration, line_interval: Duration) -> View {
        let lines = |face| View { face, interval: line_interval, shown_at: None };
        match mode {
            ViewMode::Off => lines(Face::Off),
            ViewMode::Lines => lines(Face::Lines),
            ViewMode::Auto => {
                if !std::io::stdout().is_terminal() {
                    return lines(Face::Lines);
                }
                #[cfg(feature = "net")]
                match terminal::Screen::open() {
                    Ok(screen) => {
                        return View {
                            face: Face::Terminal(Box::new(screen)),
                            interval: redraw.max(REDRAW_MIN),
                            shown_at: None,
                        };
                    }
                    Err(error) => log::warn!("no live view: {error}; plain lines instead"),
                }
                #[cfg(not(feature = "net"))]
                let _ = redraw;
                lines(Face::Lines)
            }
        }
    }

    /// True where the screen is ours, so that nobody else may write on it.
    pub fn is_live(&self) -> bool {
        match self.face {
            #[cfg(feature = "net")]
            Face::Terminal(_) => true,
            Face::Lines | Face::Off => false,
        }
    }

    /// True when it is time for the next picture; building a model costs more than asking.
    pub fn is_due(&self) -> bool {
        match (&self.face, self.shown_at) {
            (Face::Off, _) => false,
            (_, None) => true,
            (_, Some(at)) => now().duration_since(at) >= self.interval,
        }
    }

    /// Shows the model now.
    pub fn show(&mut self, model: &ViewModel) {
        self.shown_at = Some(now());
        let failed = match &mut self.face {
            #[cfg(feature = "net")]
            Face::Terminal(screen) => screen.draw(model).is_err(),
            Face::Lines => {
                let mut out = std::io::stdout().lock();
                // A closed pipe ends the lines, not the run.
                lines(model).iter().any(|line| writeln!(out, "{line}").is_err())
            }
            Face::Off => false,
        };
        if failed {
            self.face = Face::Off;
        }
    }

    /// Waits up to `wait` and tells whether the operator asked to stop on the keyboard. On a live
    /// view Ctrl-C arrives here as a key; elsewhere it is a signal as usual.
    pub fn wait_for_stop(&mut self, wait: Duration) -> bool {
        match &mut self.face {
            #[cfg(feature = "net")]
            Face::Terminal(screen) => screen.wait_for_stop(wait),
            Face::Lines | Face::Off => {
                std::thread::park_timeout(wait);
                false
            }
        }
    }

    /// Gives the terminal back, as dropping does.
    pub fn close(self) {}
}
