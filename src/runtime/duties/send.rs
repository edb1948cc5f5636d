//! `send`: the end of the line. Owns the trading socket for writing and reading: commands become a
//! write-ahead record and bytes, what comes back goes to `parse` like any other bytes.

use crate::base::ids::ConnId;
use crate::base::limits::BATCH_MAX;
use crate::engine::risk::RestFallback;
use crate::io::clock::Clock;
use crate::io::syscall::SocketSet;
use crate::line::send::{Door, ORDER_FRAME_MAX, SendLine, WriteAhead};
use crate::model::{Command, OrderSent, SendOutcome, SendReport};
use crate::ring::{Latch, Rx, Tx};
use crate::runtime::duty::Duty;
use crate::runtime::link::{Chunk, FromSocket, ToSocket};
use crate::runtime::socket::SocketSlot;

pub struct SendDuty<W> {
    pub line: SendLine,
    pub wal: W,
    pub latch: Latch,
    pub conn: ConnId,
    pub socket: SocketSlot,
    /// The account is signed in on this very socket.
    pub ready: bool,
    pub input: Rx<Command>,
    pub to_parse: Tx<FromSocket>,
    pub from_parse: Rx<ToSocket>,
    pub free: Vec<Box<Chunk>>,
    /// Orders written, for waterfalls; full = dropped and counted, never waited for.
    pub tap: Tx<OrderSent>,
    pub tap_dropped: u64,
    /// The other way out, while the socket is down.
    pub rest: Tx<Command>,
    pub rest_fallback: RestFallback,
    /// Nothing more is read; commands still leave.
    pub is_stopping: bool,
    pub clock: Clock,
}

impl<W: WriteAhead> SendDuty<W> {
    fn take_orders(&mut self) {
        for _ in 0..BATCH_MAX {
            match self.from_parse.pop() {
                None => break,
                Some(ToSocket::Free(chunk)) => self.free.push(chunk),
                Some(ToSocket::Write { chunk, .. }) => {
                    self.socket.write(chunk.bytes());
                    self.free.push(chunk);
                }
                Some(ToSocket::Reset { .. }) => {
                    self.ready = false;
                    self.socket.reset();
                }
                Some(ToSocket::Ready(ready)) => self.ready = ready && self.socket.is_open(),
            }
        }
    }

    #[inline]
    fn send(&mut self, command: &Command) {
        let mut frame = [0; ORDER_FRAME_MAX];
        // An order of a timer has no frame whose age could be asked.
        let age_ns = self.clock.span_ns(command.trace.recv, self.clock.tsc()).unwrap_or(0);
        let door =
            Door { rank: self.latch.rank(), ready: self.ready && self.socket.is_open(), age_ns };
        let sent = if !door.ready && self.goes_by_rest(command) {
            return self.send_by_rest(command, door);
        } else {
            self.line.on_command(command, door, &mut self.wal, &mut frame)
        };
        let outcome = match sent {
            Ok(len) => {
                let encoded = self.clock.tsc();
                let outcome = if self.socket.write(&frame[..len]) {
                    SendOutcome::Written
                } else {
                    SendOutcome::Broken
                };
                let written = self.clock.tsc();
                let sent = OrderSent { command: *command, trace: command.trace, encoded, written };
                if self.tap.push(sent).is_err() {
                    self.tap_dropped += 1;
                }
                outcome
            }
            Err(outcome) => outcome,
        };
        self.report(command, outcome);
    }
    /// Whether the command has another way while there is no socket, and there is room on it.
    #[cold]
    fn goes_by_rest(&mut self, command: &Command) -> bool {
        self.rest_fallback.carries(command) && self.rest.free() > 0
    }
    /// The gate is asked and the record made as for bytes; then the REST thread has it.
    #[cold]
    fn send_by_rest(&mut self, command: &Command, door: Door) {
        let outcome = match self.line.on_command_by_rest(command, door, &mut self.wal) {
            Ok(()) => {
                let encoded = self.clock.tsc();
                let pushed = self.rest.push(*command);
                assert!(pushed.is_ok(), "room was checked");
                let written = self.clock.tsc();
                let sent = OrderSent { command: *command, trace: command.trace, encoded, written };
                if self.tap.push(sent).is_err() {
                    self.tap_dropped += 1;
                }
                SendOutcome::Written
            }
            Err(outcome) => outcome,
        };
        self.report(command, outcome);
    }
    #[inline]
    fn report(&mut self, command: &Command, outcome: SendOutcome) {
        let report = SendReport {
            outcome,
            of: command.ack_of(),
            symbol: command.symbol,
            cid: command.cid(),
        };
        let pushed = self.to_parse.push(FromSocket::Report(report));
        assert!(pushed.is_ok(), "room for the report was checked");
    }
}

impl<W: WriteAhead + Send + 'static> Duty for SendDuty<W> {
    fn name(&self) -> &'static str {
        "send"
    }
    fn turn(&mut self) -> u32 {
        self.take_orders();
        let mut handled = 0;
        // A report for each command, and two messages of the socket.
        let room = self.to_parse.free().saturating_sub(2);
        while (handled as usize) < BATCH_MAX.min(room) {
            let Some(command) = self.input.pop() else { break };
            self.send(&command);
            handled += 1;
        }
        if !self.is_stopping
            && self.to_parse.free() >= 2
            && let Some(chunk) = self.free.pop()
        {
            let (message, rest) = self.socket.poll(self.conn, chunk, &self.clock);
            if let Some(chunk) = rest {
                self.free.push(chunk);
            }
            if let Some(message) = message {
                if matches!(message, FromSocket::Closed { .. }) {
                    self.ready = false;
                }
                handled += 1;
                let pushed = self.to_parse.push(message);
                assert!(pushed.is_ok(), "room for the socket was checked");
            }
        }
        handled
    }
    fn is_blocked(&mut self) -> bool {
        !self.input.is_empty() && self.to_parse.free() <= 2
    }
    fn sockets(&self, set: &mut SocketSet) {
        self.socket.add_to(set);
    }
    fn on_stop(&mut self) {
        self.is_stopping = true;
    }
    fn is_drained(&self) -> bool {
        self.input.is_empty()
    }
}
