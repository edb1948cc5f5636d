//! `parse`: the front of the line. Takes bytes from both socket owners, reports from `send`,
//! answers from REST and words of the operator, gives stamped events to the one ring behind it.

use crate::base::bounded::Text;
use crate::base::ids::ConnId;
use crate::base::limits::BATCH_MAX;
use crate::base::time::{MonoNs, SpanNs};
use crate::engine::mouth::MouthOut;
use crate::io::clock::{Clock, TurnClock};
use crate::io::input_log::InputTap;
use crate::line::Now;
use crate::line::parse::{ParseLine, ParseTap};
use crate::model::{Body, Event, OperatorCommand, OperatorVerb, Rank, Trace};
use crate::ring::{Latch, Rx, Tx};
use crate::runtime::duty::Duty;
use crate::runtime::link::{Chunk, FromSocket, ToSocket};

/// A buffer being read, message by message.
struct Current {
    conn: ConnId,
    chunk: Box<Chunk>,
    pos: usize,
}

/// One side that owns sockets: its ring in, its ring out, and what is being read from it.
pub struct SocketSide {
    pub input: Rx<FromSocket>,
    pub output: Tx<ToSocket>,
    /// Buffers kept for writing: subscriptions, pongs, sign-in.
    pub spare: Vec<Box<Chunk>>,
    current: Option<Current>,
}

/// Buffers kept for writing on each side.
pub const SPARE_CHUNKS: usize = 2;

impl SocketSide {
    pub fn new(input: Rx<FromSocket>, output: Tx<ToSocket>) -> Self {
        Self {
            input,
            output,
            spare: (0..SPARE_CHUNKS).map(|_| Chunk::new()).collect(),
            current: None,
        }
    }
    fn is_drained(&self) -> bool {
        self.current.is_none() && self.input.is_empty()
    }
    fn release(&mut self, chunk: Box<Chunk>) {
        if self.spare.len() < SPARE_CHUNKS {
            self.spare.push(chunk);
        } else if let Err(ToSocket::Free(chunk)) = self.output.push(ToSocket::Free(chunk)) {
            self.spare.push(chunk); // the owner is behind; it gets it back with the next one
        }
    }
}

/// The ring behind the front, with the tap that logs what was delivered.
pub struct Delivery {
    pub ring: Tx<Event>,
    /// The input log; `None` = off. A log that cannot keep up is incomplete, trading goes on.
    pub log: Option<InputTap>,
    /// A full log counts as a full ring.
    pub log_stalls: bool,
}

impl Delivery {
    /// Events that the input log had no room for.
    pub fn log_missed(&self) -> u64 {
        self.log.as_ref().map_or(0, InputTap::lost)
    }
}

impl MouthOut for Delivery {
    #[inline(always)]
    fn free(&mut self) -> usize {
        let free = self.ring.free();
        match &mut self.log {
            Some(log) if self.log_stalls => free.min(log.free()),
            _ => free,
        }
    }
    #[inline(always)]
    fn deliver(&mut self, event: Event) {
        if let Some(log) = &mut self.log {
            log.offer(&event);
        }
        let pushed = self.ring.push(event);
        assert!(pushed.is_ok(), "the mouth delivers only into free places");
    }
}

pub struct ParseDuty<T> {
    pub line: ParseLine,
    pub market: SocketSide,
    pub trading: SocketSide,
    pub out: Delivery,
    pub rest: Rx<Body>,
    pub operator: Rx<OperatorCommand>,
    pub tap: T,
    pub clock: Clock,
    /// Read once a turn.
    pub turns: TurnClock,
    pub time_at: MonoNs,
    /// Next nonce for signing in; the allocator of the key lives with the caller.
    pub nonce: Box<dyn FnMut() -> u64 + Send>,
    /// Which socket carries the account; its readiness is told to `send`.
    pub trading_conn: Option<ConnId>,
    pub told_ready: bool,
    /// Raised when an event that may not be lost could not be kept.
    pub latch: Latch,
}

/// How often time is told to the line when nothing else happens, nanoseconds.
const TIME_EVERY: SpanNs = SpanNs::from_ms(1);

impl<T: ParseTap + TapTurn> ParseDuty<T> {
    #[inline(always)]
    fn now(&mut self) -> Now {
        let (mono, wall) = self.turns.now();
        Now { mono, wall }
    }

    /// Messages of one side, at most `budget`.
    fn drain(&mut self, trading: bool, budget: usize, now: Now) -> usize {
        let side = if trading { &mut self.trading } else { &mut self.market };
        let mut handled = 0;
        while handled < budget {
            if let Some(mut current) = side.current.take() {
                let trace = Trace {
                    recv: current.chunk.recv,
                    framed: current.chunk.framed,
                    ..Trace::default()
                };
                handled += self.line.on_bytes(
                    current.conn,
                    current.chunk.bytes(),
                    &mut current.pos,
                    budget - handled,
                    now,
                    trace,
                    &self.clock,
                    &mut self.out,
                    &mut self.tap,
                );
                if current.pos >= current.chunk.len {
                    let conn = current.conn;
                    side.release(current.chunk);
                    Self::transmit(&mut self.line, side, conn, now.mono);
                } else {
                    side.current = Some(current);
                }
                continue;
            }
            match side.input.pop() {
                None => break,
                Some(FromSocket::Data { conn, chunk }) => {
                    side.current = Some(Current { conn, chunk, pos: 0 });
                }
                Some(FromSocket::Opened { conn }) => {
                    let nonce = if trading { (self.nonce)() } else { 0 };
                    self.line.on_open(conn, now, nonce, &mut self.out, &mut self.tap);
                    Self::transmit(&mut self.line, side, conn, now.mono);
                    handled += 1;
                }
                Some(FromSocket::Closed { conn, .. }) => {
                    self.line.on_close(conn, now, &mut self.out, &mut self.tap);
                    handled += 1;
                }
                Some(FromSocket::Report(report)) => {
                    self.line.on_report(report, now, &mut self.out, &mut self.tap);
                    handled += 1;
                }
                Some(FromSocket::Returned(chunk)) => side.release(chunk),
            }
        }
        handled
    }

    /// What the sessions want to say, and sockets they want replaced.
    fn transmit(line: &mut ParseLine, side: &mut SocketSide, conn: ConnId, now: MonoNs) {
        if line.take_reset(conn).is_some() {
            // The ring to the owner always has room for control: buffers in it are bounded by the
            // pool.
            let _ = side.output.push(ToSocket::Reset { conn });
            return;
        }
        while let Some(mut chunk) = side.spare.pop() {
            match line.poll_transmit(conn, now, &mut chunk.data) {
                Some(len) => {
                    chunk.len = len;
                    let write = ToSocket::Write { conn, chunk };
                    if let Err(ToSocket::Write { chunk, .. }) = side.output.push(write) {
                        side.spare.push(chunk);
                        break;
                    }
                }
                None => {
                    side.spare.push(chunk);
                    break;
                }
            }
        }
    }

    fn on_time(&mut self, now: Now) {
        self.line.on_time(now, &mut self.out, &mut self.tap);
        for index in 0..self.line.socket_count() {
            let conn = ConnId(index as u8);
            let side =
                if Some(conn) == self.trading_conn { &mut self.trading } else { &mut self.market };
            Self::transmit(&mut self.line, side, conn, now.mono);
        }
    }

    fn tell_ready(&mut self) {
        let ready = self.line.private().is_some_and(|session| session.is_authenticated());
        if ready != self.told_ready && self.trading.output.push(ToSocket::Ready(ready)).is_ok() {
            self.told_ready = ready;
        }
    }
}

/// A tap that may publish at the end of a turn.
pub trait TapTurn {
    fn end_of_turn(&mut self, line: &ParseLine, out: &Delivery, now: Now);
}

impl<T: ParseTap + TapTurn + Send + 'static> Duty for ParseDuty<T> {
    fn name(&self) -> &'static str {
        "parse"
    }
    fn turn(&mut self) -> u32 {
        let now = self.now();
        let mut handled = 0;
        if self.latch.take_kill() {
            self.latch.raise(Rank::ReduceOnly as u8);
            let command = OperatorCommand {
                verb: OperatorVerb::Kill,
                symbol: None,
                reason: Text::new("kill switch").unwrap_or_default(),
            };
            self.line.on_operator(command, now, &mut self.out, &mut self.tap);
            handled += 1;
        }
        while let Some(command) = self.operator.pop() {
            if command.is_reset() {
                self.latch.order_reset();
            }
            self.line.on_operator(command, now, &mut self.out, &mut self.tap);
            handled += 1;
        }
        while handled < BATCH_MAX {
            let Some(body) = self.rest.pop() else { break };
            self.line.on_rest(body, now, &mut self.out, &mut self.tap);
            handled += 1;
        }
        // The account goes first: a fill must not stand behind market data.
        let private = self.drain(true, BATCH_MAX, now);
        if private > 0 {
            self.tell_ready();
        }
        handled += private;
        handled += self.drain(false, BATCH_MAX, now);
        if now.mono >= self.time_at {
            self.time_at = now.mono + TIME_EVERY;
            self.on_time(now);
            self.tell_ready();
        }
        self.line.flush(&mut self.out);
        if self.line.mouth().is_halted() {
            self.latch.raise(Rank::Halted as u8);
        }
        self.tap.end_of_turn(&self.line, &self.out, now);
        handled as u32
    }
    fn is_blocked(&mut self) -> bool {
        self.line.mouth().waiting() > 0
    }
    fn is_drained(&self) -> bool {
        self.market.is_drained() && self.trading.is_drained() && self.line.mouth().waiting() == 0
    }
}
