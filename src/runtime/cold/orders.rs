//! Orders by REST while the private socket is down. Commands come from `send`, which has asked the
//! gate and made the write-ahead record; each becomes one call of the plane, under the client id it
//! has. Which call, and what its end says of the order, is `line::rest::orders`'s to say.

use crate::line::rest::orders::{self, FRESH_FOR, Failure, PENDING_MAX};
use crate::model::{Body, Command};
use crate::ring::Rx;
use crate::runtime::plane::{PlaneCall, PlaneError, PlaneReply, RestPlane};
use crate::venue::rest::RestCall;
use crate::venue::symbols::SymbolTable;
use crossbeam_channel::{Receiver, TryRecvError};
use std::time::Duration;

struct Pending {
    command: Command,
    call: RestCall,
    answer: Receiver<Result<PlaneReply, PlaneError>>,
}

/// The other way out, polled by the REST thread.
pub struct RestOrders {
    commands: Rx<Command>,
    gid: Option<u64>,
    pending: Vec<Pending>,
}

impl RestOrders {
    pub fn new(commands: Rx<Command>, gid: Option<u64>) -> Self {
        Self { commands, gid, pending: Vec::with_capacity(PENDING_MAX) }
    }
    /// Asks for what has come, and says what was answered.
    pub fn round(&mut self, plane: &RestPlane, table: &SymbolTable, mut tell: impl FnMut(Body)) {
        while self.pending.len() < PENDING_MAX
            && let Some(command) = self.commands.pop()
        {
            match self.ask(&command, plane, table) {
                Ok(pending) => self.pending.push(pending),
                Err(failure) => tell(orders::failed(&command, &failure)),
            }
        }
        let mut place = 0;
        while let Some(one) = self.pending.get(place) {
            let answer = match one.answer.try_recv() {
                Err(TryRecvError::Empty) => {
                    place += 1;
                    continue;
                }
                Err(TryRecvError::Disconnected) => Err(PlaneError::Stopped),
                Ok(answer) => answer,
            };
            let one = self.pending.swap_remove(place);
            told_by(&one, &answer, table).into_iter().for_each(&mut tell);
        }
    }
    fn ask(
        &self,
        command: &Command,
        plane: &RestPlane,
        table: &SymbolTable,
    ) -> Result<Pending, Failure> {
        let asked = orders::call_of(command, self.gid).and_then(|call| {
            let fresh_for = Duration::from_nanos(FRESH_FOR.0 as u64);
            let asked = PlaneCall::of(&call, orders::reason_of(&call), table, fresh_for).ok()?;
            let (priority, role, repeat) = orders::treated(&call);
            Some((call, PlaneCall { priority, role, repeat, ..asked }))
        });
        let (call, asked) = asked.ok_or(Failure::NotMade)?;
        match plane.ask(asked) {
            Ok(answer) => {
                log::warn!("by REST: {} {}", call.endpoint(), command.cid().0);
                Ok(Pending { command: *command, call, answer })
            }
            Err(error) => {
                log::warn!("by REST: {} {}: {error}", call.endpoint(), command.cid().0);
                Err(error.failure())
            }
        }
    }
}

/// The words of an answer.
fn told_by(
    one: &Pending,
    answer: &Result<PlaneReply, PlaneError>,
    table: &SymbolTable,
) -> Vec<Body> {
    let (command, call) = (&one.command, &one.call);
    let reply = match answer {
        Ok(reply) => Ok((reply.status, reply.body.as_slice())),
        Err(error) => {
            log::warn!("by REST: {} {}: {error}", call.endpoint(), command.cid().0);
            Err(error.failure())
        }
    };
    let told = orders::told(command, call, reply, table);
    if let Some(error) = told.unreadable {
        log::warn!("by REST: {}: HTTP {}, {:?}", call.endpoint(), error.status, error.kind);
    }
    told.bodies
}
