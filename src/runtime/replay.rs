//! A run's sequenced input, fed again through the stages behind the front: the same duties over
//! the same rings on as many threads as a layout says. Every ring stalls, nothing is lost, and the
//! decisions must be those of the run.

use super::duties::risk::{RiskDuty, RiskLinks};
use super::duties::signal::{SignalDuty, new_age_board};
use super::duty::Duty;
use super::link::Halt;
use super::placement::{self, SpawnSpec, ThreadEnd, ThreadHandle};
use super::taps::TapTx;
use super::topology::{LinkKind, Topology};
use crate::base::limits::BATCH_MAX;
use crate::engine::risk::RiskStage;
use crate::engine::signal::SignalStage;
use crate::io::clock::Clock;
use crate::line::send::{Door, NoWal, ORDER_FRAME_MAX, SendLine};
use crate::model::{Command, Event, Signal};
use crate::ring::{Latch, Rx, Tx, channel};
use std::any::Any;
use std::time::Duration;

/// Longest replay: what is not through by then is a fault, not a long log.
const REPLAY_MAX: Duration = Duration::from_secs(3_600);

/// What a replay is made of; the stages as the run made them.
pub struct ReplayPlan {
    pub signal: SignalStage,
    pub risk: RiskStage,
    pub send: SendLine,
    /// Rows of the instrument table.
    pub symbols: usize,
    /// Threads and depths of rings.
    pub topology: Topology,
    pub clock: Clock,
}

/// Stands where the front stood: hands out the log as far as there is room.
struct Feed<I> {
    events: I,
    waiting: Option<Event>,
    output: Tx<Event>,
    is_over: bool,
}
impl<I: Iterator<Item = Event> + Send + 'static> Duty for Feed<I> {
    fn name(&self) -> &'static str {
        "parse"
    }
    fn turn(&mut self) -> u32 {
        let mut handled = 0;
        while (handled as usize) < BATCH_MAX && !self.is_over {
            let Some(event) = self.waiting.take().or_else(|| self.events.next()) else {
                self.is_over = true;
                break;
            };
            if let Err(back) = self.output.push(event) {
                self.waiting = Some(back);
                break;
            }
            handled += 1;
        }
        handled
    }
    fn is_blocked(&mut self) -> bool {
        self.waiting.is_some()
    }
    fn is_drained(&self) -> bool {
        self.is_over
    }
}

/// Stands where the socket stood: encodes and hashes, and lets nothing leave.
struct Hash {
    line: SendLine,
    input: Rx<Command>,
}
impl Duty for Hash {
    fn name(&self) -> &'static str {
        "send"
    }
    fn turn(&mut self) -> u32 {
        let mut handled = 0;
        let mut frame = [0; ORDER_FRAME_MAX];
        let door = Door { rank: 0, ready: true, age_ns: 0 };
        while (handled as usize) < BATCH_MAX
            && let Some(command) = self.input.pop()
        {
            // What leaves or not is the run's luck; what was decided is in the hash either way.
            let _ = self.line.on_command(&command, door, &mut NoWal, &mut frame);
            handled += 1;
        }
        handled
    }
    fn is_drained(&self) -> bool {
        self.input.is_empty()
    }
}

impl ReplayPlan {
    /// Feeds all events and hands back the end of the line.
    ///
    /// # Errors
    /// A thread that could not be placed, or broke.
    pub fn run(
        self,
        events: impl Iterator<Item = Event> + Send + 'static,
    ) -> Result<SendLine, String> {
        let depth = |link: LinkKind| self.topology.link(link).depth;
        let (event_tx, event_rx) = channel::<Event>(depth(LinkKind::ParseSignal));
        let (signal_tx, signal_rx) = channel::<Signal>(depth(LinkKind::SignalRisk));
        let (command_tx, command_rx) = channel::<Command>(depth(LinkKind::RiskSend));
        // Nobody answers: what was answered then is in the log.
        let (rest_tx, _rest_rx) = channel(2);
        let clock = &self.clock;
        let feed = Feed { events, waiting: None, output: event_tx, is_over: false };
        let signal = SignalDuty {
            stage: self.signal,
            input: event_rx,
            output: signal_tx,
            clock: clock.clone(),
            tap: TapTx::new(None, clock.clone()),
            data_age: new_age_board(),
            age_waiting: None,
            halt: Halt::default(),
        };
        let links = RiskLinks {
            input: signal_rx,
            output: command_tx,
            rest: rest_tx,
            tap: TapTx::new(None, clock.clone()),
            halt: Halt::default(),
        };
        let risk = RiskDuty::new(self.risk, links, Latch::default(), clock.clone(), self.symbols);
        let send = Hash { line: self.send, input: command_rx };
        let mut duties: Vec<Option<Box<dyn Duty>>> = vec![
            Some(Box::new(feed)),
            Some(Box::new(signal)),
            Some(Box::new(risk)),
            Some(Box::new(send)),
        ];
        let mut threads = Vec::new();
        for plan in &self.topology.threads {
            let mine = super::engine::duties_of(&mut duties, plan);
            if mine.is_empty() {
                continue;
            }
            let spec = SpawnSpec { drain_max: REPLAY_MAX, ..SpawnSpec::of(plan, &self.topology) };
            threads.push(placement::spawn(spec, clock, move || mine).map_err(|e| e.to_string())?);
        }
        // Told to stop, a thread first hands on all it has: in the order of the line.
        let ends: Vec<ThreadEnd> = threads.into_iter().map(ThreadHandle::join).collect();
        finish(ends)
    }
}

fn finish(ends: Vec<ThreadEnd>) -> Result<SendLine, String> {
    let mut line = None;
    for end in ends {
        if let Some(panic) = end.panic {
            return Err(format!("thread \"{}\": {panic}", end.name));
        }
        if !end.drained {
            return Err(format!("thread \"{}\" could not hand on what it had", end.name));
        }
        for duty in end.duties {
            let any: Box<dyn Any> = duty;
            if let Ok(hash) = any.downcast::<Hash>() {
                line = Some(hash.line);
            }
        }
    }
    line.ok_or_else(|| "the end of the line is missing".to_owned())
}
