//! The end of the line in the world: commands become bytes on the account's socket, or do not; the
//! crash between record and bytes; and the canaries at this seam.

use super::canary::Canary;
use super::checks;
use super::faults::Kind;
use super::net::{State, take_client_frame};
use super::run::{SECOND, World};
use super::setup::{ORDER_AGE_MAX_NS, TRADING};
use super::wire;
use crate::line::send::{Door, ORDER_FRAME_MAX};
use crate::model::{Action, Class, Command, OrderKind, SendOutcome, SendReport};

impl World {
    pub fn send_all(&mut self) -> bool {
        let mut any = false;
        loop {
            let now_ns = self.now_ns;
            let Some(engine) = self.engine.as_mut() else { return any };
            if now_ns < engine.send_stuck_until {
                return any;
            }
            let Some(command) = engine.commands.pop_front() else { return any };
            any = true;
            self.send(&command);
        }
    }
    fn send(&mut self, command: &Command) {
        let now_ns = self.now_ns;
        let Some(engine) = self.engine.as_mut() else { return };
        let recv = command.trace.recv.0;
        let age_ns = if recv == 0 { 0 } else { (now_ns + 1).saturating_sub(recv) };
        let is_open = self.slots[TRADING.index()].state == State::Open;
        let rank = if self.plan.canary == Canary::LatchIgnored { 0 } else { engine.latch.rank() };
        let door = Door { rank, ready: engine.is_ready() && is_open, age_ns };
        if !door.ready && engine.rest_fallback.carries(command) {
            if let Some(outcome) = self.leave_by_rest(command, door) {
                self.report(command, outcome);
            }
            return;
        }
        let mut frame = [0; ORDER_FRAME_MAX];
        let sent = engine.chain.send.on_command(command, door, &mut self.disk, &mut frame);
        let outcome = match sent {
            Ok(len) => match self.leave(command, &frame[..len], age_ns) {
                Some(outcome) => outcome,
                None => return,
            },
            Err(outcome) => {
                self.checks.limits.gone(command);
                outcome
            }
        };
        self.report(command, outcome);
        if outcome == SendOutcome::Broken {
            let arrives = self.rng.chance(1, 2);
            self.link_lost(TRADING.index(), arrives);
        }
    }
    fn report(&mut self, command: &Command, outcome: SendOutcome) {
        let (now_ns, now) = (self.now_ns, self.now());
        self.log.add(now_ns, 300 + outcome as u64, &command.cid().0.to_le_bytes());
        self.log.line(now_ns, || format!("  sent {:?}: {}", command.cid(), outcome.name()));
        let report = SendReport {
            outcome,
            of: command.ack_of(),
            symbol: command.symbol,
            cid: command.cid(),
        };
        let Some(engine) = self.engine.as_mut() else { return };
        engine.line.on_report(report, now, &mut engine.ring, &mut engine.tap);
    }
    /// The bytes of a command leave; `None` = the engine has crashed instead.
    fn leave(&mut self, command: &Command, frame: &[u8], age_ns: u64) -> Option<SendOutcome> {
        let slot = TRADING.index();
        if command.class == Class::Entry && age_ns > ORDER_AGE_MAX_NS {
            let words = format!("an entry left {} ms after its cause", age_ns / 1_000_000);
            self.checks.say(self.now_ns, checks::book::NAME, Err(words));
        }
        if command.class == Class::Entry && self.is_pulled() {
            let words = "an entry left after the kill switch was pulled".to_owned();
            self.checks.say(self.now_ns, checks::kill::NAME, Err(words));
        }
        if command.class == Class::Cancel {
            self.saw_cancel();
        }
        if self.crashes_once_written(command) {
            return None;
        }
        let changed = self.canary_frame(command, frame);
        let frame = changed.as_deref().unwrap_or(frame);
        if self.plan.canary == Canary::KillWithoutCancel
            && command.class == Class::Cancel
            && self.checks.rank.is_killed()
        {
            return Some(SendOutcome::Written);
        }
        if self.plan.canary == Canary::StopsLost && is_stop(command) {
            return Some(SendOutcome::Written);
        }
        self.write(slot, frame);
        if self.chance(self.plan.faults.broken_write_ppm) {
            self.coverage.hit(Kind::BrokenWrite);
            return Some(SendOutcome::Broken);
        }
        Some(SendOutcome::Written)
    }

    /// Tells the checkers of a command whose record is made; true where the engine crashes then.
    pub(super) fn crashes_once_written(&mut self, command: &Command) -> bool {
        let verdict = self.checks.rank.written(command);
        self.checks.say(self.now_ns, checks::rank::NAME, verdict);
        self.checks.duplicate.written(command);
        let crashes = self.chance(self.plan.faults.crash_at_send_ppm);
        if crashes {
            self.coverage.hit(Kind::CrashAtSend);
            self.crash();
        }
        crashes
    }

    // ---- canaries at this seam ----

    fn canary_frame(&mut self, command: &Command, frame: &[u8]) -> Option<Vec<u8>> {
        let is_new = matches!(command.action, Action::New(_));
        match self.plan.canary {
            Canary::CidReused if is_new => {
                self.count_new += 1;
                if !self.count_new.is_multiple_of(40) {
                    return None;
                }
                let before = (command.cid().0 - 1).to_string();
                let last = self.checks.cids.last().map_or(before, |cid| cid.to_string());
                rewritten(frame, &last)
            }
            Canary::ResentOnTimeout if is_new => {
                let again = (command.cid().0 + 500_000).to_string();
                let again = rewritten(frame, &again)?;
                self.resent.push((self.now_ns + 5 * SECOND, command.cid().0, again));
                None
            }
            _ => None,
        }
    }
    pub fn resend_canary(&mut self) {
        if self.resent.is_empty() {
            return;
        }
        for (at, cid, frame) in std::mem::take(&mut self.resent) {
            if at > self.now_ns {
                self.resent.push((at, cid, frame));
            } else if !self.sights.contains_key(&cid) {
                self.write(TRADING.index(), &frame);
            }
        }
    }
}

/// Makes a stop, or changes something that protects.
fn is_stop(command: &Command) -> bool {
    match command.action {
        Action::New(new) => new.kind == OrderKind::Stop,
        Action::Amend { .. } => command.class == Class::Close,
        _ => false,
    }
}
/// The same order frame with another client id.
fn rewritten(frame: &[u8], cid: &str) -> Option<Vec<u8>> {
    let (_, text) = take_client_frame(&mut frame.to_vec())?;
    let text = wire::with_member(std::str::from_utf8(&text).ok()?, "cid", cid)?;
    let mut out = vec![0; text.len() + 16];
    let opcode = crate::venue::ws::Opcode::Text;
    let len = crate::venue::ws::encode_frame(opcode, text.as_bytes(), [9, 9, 9, 9], &mut out)?;
    out.truncate(len);
    Some(out)
}
