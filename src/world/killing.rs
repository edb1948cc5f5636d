//! The kill switch under every condition, in virtual time: pulled at a random moment, watched as a
//! run watches it, taken past the line by REST where the line does not end it, and judged by what
//! the exchange holds. Virtual time counts networks, timers and hangs, not the processor's work.

use super::canary::Canary;
use super::chaos::FOREIGN_CID_MAX;
use super::checks::Violation;
use super::faults::Faults;
use super::plane::Load;
use super::rest_faults::{Form, Refused};
use super::run::{Ev, Plan, SECOND, World};
use super::setup::{self, GID, KEY, SYMBOLS};
use crate::base::rng::Rng;
use crate::base::time::MonoNs;
use crate::line::desk::{self, Account, Desk, DeskConfig, DeskRecord, Failed, KillStep, Next};
use crate::line::rest::Reason;
use crate::model::{OperatorVerb, Rank, WalletKind};
use crate::venue::rest::{RestCall, parse_reply};

/// A kill that has not ended after so long is judged by what it has said.
const PATIENCE_NS: u64 = 240 * SECOND;

/// Under what the switch is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    Normal,
    /// Every REST call is refused with 429.
    Storm,
    /// Orders larger than the best levels: closes are filled piece by piece.
    Partial,
    /// The venue takes cancels only for a while.
    CancelOnly,
    /// The venue hangs up and cannot be reached for a while.
    Gone,
    /// The account's socket is gone for a while; market data and REST go on.
    AccountGone,
    /// A strategy never returns; nothing behind it hears anything.
    Stuck,
    /// The same on the one thread that does everything: nothing in it goes on at all.
    StuckFused,
}
impl Condition {
    pub const ALL: [Condition; 8] = [
        Condition::Normal,
        Condition::Storm,
        Condition::Partial,
        Condition::CancelOnly,
        Condition::Gone,
        Condition::AccountGone,
        Condition::Stuck,
        Condition::StuckFused,
    ];
    pub const fn name(self) -> &'static str {
        match self {
            Condition::Normal => "normal",
            Condition::Storm => "429 storm",
            Condition::Partial => "partial fills",
            Condition::CancelOnly => "cancel-only",
            Condition::Gone => "exchange gone",
            Condition::AccountGone => "account's socket gone",
            Condition::Stuck => "strategy stuck",
            Condition::StuckFused => "strategy stuck, fused",
        }
    }
}

/// One pull and what came of it.
#[derive(Clone, Debug)]
pub struct KillOutcome {
    pub condition: Condition,
    pub seed: u64,
    /// Own orders and open positions at the pull.
    pub held: (usize, usize),
    /// The last word was flat, and it was true.
    pub is_flat: bool,
    /// Something left, or that nobody could be asked, was written down on the way or at the end.
    pub was_written: bool,
    /// The line ended it; else the second way did.
    pub by_line: bool,
    /// From the pull to the first cancel's bytes.
    pub first_cancel_ns: Option<u64>,
    /// From the pull until the exchange held nothing of ours.
    pub flat_ns: Option<u64>,
    /// What was not as it must be.
    pub violation: Option<Violation>,
    pub lines: Vec<String>,
}

/// A kill under way.
pub struct Killing {
    pulled_at: u64,
    /// Its end was seen: not watched any more.
    is_over: bool,
    helped_at: Option<MonoNs>,
    desk: Option<Desk>,
    call: Option<RestCall>,
    by_line: bool,
    record: Option<DeskRecord>,
    was_written: bool,
    cid_last: u64,
    first_cancel: Option<u64>,
    flat_at: Option<u64>,
}

/// Pulls the switch once, at a moment that the seed draws.
pub fn pull_once(condition: Condition, seed: u64, trace: bool) -> KillOutcome {
    let faults = Faults::none();
    let plan = Plan { seed, for_s: 0, faults, canary: Canary::None, trace };
    let mut world = World::new(plan);
    let mut rng = Rng::new(seed ^ 0x0050_0111);
    if condition == Condition::Partial {
        world.scale_orders(300);
    }
    world.begin_quietly();
    let moment = 45 * SECOND + rng.below(255 * SECOND);
    world.run_until(moment);
    let lead = world.begin_condition(condition, &mut rng);
    world.run_until(moment + lead);
    let held = world.held();
    world.pull();
    world.run_until_killed();
    world.judge(condition, held)
}

impl World {
    /// Own orders and open positions at the exchange.
    fn held(&self) -> (usize, usize) {
        let audit = self.exchange.audit(KEY).unwrap_or_default();
        let own = audit.orders.iter().filter(|order| order.gid == Some(GID)).count();
        (own, audit.positions.iter().filter(|row| row.1 != 0).count())
    }
    /// Brings about what the switch is pulled in; returns how long before the pull, ns.
    fn begin_condition(&mut self, condition: Condition, rng: &mut Rng) -> u64 {
        let lead = rng.below(3 * SECOND);
        match condition {
            Condition::Normal | Condition::Partial => {}
            Condition::Storm => {
                let forms = [Form::None, Form::Seconds, Form::Date];
                let form = forms[rng.below(3) as usize];
                let until = self.now_ns + lead + SECOND + rng.below(60 * SECOND);
                self.chaos.begin_rest_storm(Refused { status: 429, form }, until);
            }
            Condition::CancelOnly => self.begin_cancel_only(lead + SECOND + rng.below(40 * SECOND)),
            Condition::Gone => self.venue_gone(lead + SECOND + rng.below(90 * SECOND)),
            Condition::AccountGone => {
                self.begin_account_gone(lead + SECOND + rng.below(90 * SECOND));
            }
            Condition::Stuck => {
                if let Some(engine) = &mut self.engine {
                    engine.signal_stuck_until = u64::MAX;
                }
            }
            Condition::StuckFused => {
                if let Some(engine) = &mut self.engine {
                    engine.hangs = true;
                }
            }
        }
        lead
    }
    /// The switch: no entry leaves from here on, and the line is told.
    fn pull(&mut self) {
        self.log.line(self.now_ns, || "the kill switch is pulled".to_owned());
        if let Some(engine) = &self.engine {
            engine.latch.raise(Rank::ReduceOnly as u8);
        }
        self.killing = Some(Killing {
            pulled_at: self.now_ns,
            is_over: false,
            helped_at: None,
            desk: None,
            call: None,
            by_line: false,
            record: None,
            was_written: false,
            // Told apart from the engine's own: another process could use them.
            cid_last: FOREIGN_CID_MAX / 2,
            first_cancel: None,
            flat_at: None,
        });
        self.say(OperatorVerb::Kill);
    }
    /// Bytes of a cancel leave.
    pub fn saw_cancel(&mut self) {
        let now_ns = self.now_ns;
        if let Some(killing) = &mut self.killing {
            killing.first_cancel.get_or_insert(now_ns);
        }
    }
    pub fn is_pulled(&self) -> bool {
        self.killing.is_some()
    }

    /// As a run's loop watches its kill.
    pub fn watch_kill(&mut self) {
        if self.killing.is_none() {
            return;
        }
        let held = self.held();
        let (now, rank) = (self.now().mono, self.engine.as_ref().map(|e| e.chain.risk.rank()));
        let pulled_mono = now.0 - (self.now_ns - self.killing.as_ref().map_or(0, |k| k.pulled_at));
        let wall = self.true_wall();
        let Some(killing) = &mut self.killing else { return };
        match (held, killing.flat_at) {
            ((0, 0), None) => killing.flat_at = Some(self.now_ns),
            ((0, 0), _) => {}
            _ => killing.flat_at = None,
        }
        if killing.is_over || killing.desk.is_some() {
            return;
        }
        let step = desk::kill_step(MonoNs(pulled_mono), killing.helped_at, rank, now);
        let config = DeskConfig {
            instruments: setup::instruments(),
            wallet: WalletKind::Margin,
            leverage: 1,
            gid: GID,
            rounds_max: desk::ROUNDS_MAX,
            cid_last: killing.cid_last,
        };
        match step {
            KillStep::Wait => return,
            KillStep::Ended => {
                killing.by_line = true;
                let why = "the engine's attempts are used up";
                killing.desk = Some(Desk::leftovers(config, why, now, wall));
            }
            KillStep::Direct => {
                killing.helped_at = Some(now);
                killing.desk = Some(Desk::kill(config, now, wall));
                self.foreign_now = true;
            }
        }
        self.log.line(self.now_ns, || format!("kill: {step:?}"));
        self.desk_step();
    }
    /// Makes the desk's next call, or takes its record.
    pub fn desk_step(&mut self) {
        let now = self.now().mono;
        let Some(desk) = self.killing.as_mut().and_then(|killing| killing.desk.as_mut()) else {
            return;
        };
        match desk.next(now) {
            Next::Call(call) => {
                if let Some(killing) = &mut self.killing {
                    killing.call = Some(call);
                }
                if self.ask_plane(&call, Reason::Kill, Load::Desk) {
                    self.poll_rest();
                } else {
                    self.desk_answer(Err("not taken".to_owned()));
                }
            }
            Next::Until(at) => {
                let wait = (at - now).0.max(0) as u64;
                self.after(wait, Ev::Desk);
            }
            Next::Done => self.desk_done(),
        }
    }
    /// The call that the desk waits for.
    pub fn desk_call(&self) -> Option<RestCall> {
        self.killing.as_ref()?.call
    }
    /// A call of the desk has its answer, or the code of why there is none.
    pub fn desk_read(&mut self, result: Result<(u16, &[u8]), i32>) {
        let Some(call) = self.killing.as_mut().and_then(|killing| killing.call.take()) else {
            return;
        };
        let answer = match result {
            Err(code) => Err(format!("{}: {code}", call.endpoint())),
            Ok((status, body)) => {
                let mut account = Account::default();
                match parse_reply(&call, status, body, self.plane.table(), &mut account) {
                    Ok(_) => Ok(account),
                    Err(error) => Err(format!("{}: {:?}", call.endpoint(), error.kind)),
                }
            }
        };
        self.desk_answer(answer);
    }
    fn desk_answer(&mut self, answer: Result<Account, String>) {
        let (now, wall) = (self.now().mono, self.true_wall());
        if let Some(desk) = self.killing.as_mut().and_then(|killing| killing.desk.as_mut()) {
            desk.on_answer(answer.map_err(Failed), now, wall);
        }
        self.after(0, Ev::Desk);
    }
    fn desk_done(&mut self) {
        let now = self.now().mono;
        let Some(killing) = &mut self.killing else { return };
        let Some(desk) = killing.desk.take() else { return };
        killing.cid_last = desk.cid_last();
        let record = desk.into_record();
        self.log.line(self.now_ns, || format!("kill: {record:?}"));
        killing.was_written |= !record.flat && !record.leftovers.is_empty();
        // What is left is tried again later; flat is flat, and what the line ended stays ended.
        killing.is_over = record.flat || killing.by_line;
        killing.helped_at = killing.helped_at.map(|_| now);
        killing.record = Some(record);
    }

    fn run_until_killed(&mut self) {
        let begun = self.now_ns;
        loop {
            let is_over = self.killing.as_ref().is_none_or(|killing| killing.is_over);
            let is_late = self.now_ns - begun > PATIENCE_NS;
            if is_over || is_late || self.checks.violation.is_some() {
                break;
            }
            self.run_until(self.now_ns + SECOND / 10);
        }
        // Whatever was still under way to the venue arrives.
        self.run_until(self.now_ns + 5 * SECOND);
    }
    fn judge(mut self, condition: Condition, held: (usize, usize)) -> KillOutcome {
        let audit = self.exchange.audit(KEY).unwrap_or_default();
        let killing = self.killing.take();
        let record = killing.as_ref().and_then(|killing| killing.record.clone());
        let verdict = match &record {
            None => Err("nobody has said how it ended".to_owned()),
            Some(record) if record.flat && self.held() != (0, 0) => {
                Err(format!("said to be flat, and the venue holds {:?}", self.held()))
            }
            Some(record) => {
                let named = |kind: &str, symbol: u16| {
                    let name = SYMBOLS[usize::from(symbol)];
                    record
                        .leftovers
                        .iter()
                        .any(|row| row.kind == kind && row.symbol == name && !row.reason.is_empty())
                };
                let orders = audit.orders.iter().filter(|order| order.gid == Some(GID));
                let mut orders = orders.filter(|order| !named("order", order.symbol));
                let mut positions =
                    audit.positions.iter().filter(|row| row.1 != 0 && !named("position", row.0));
                match (orders.next(), positions.next()) {
                    (None, None) => Ok(()),
                    left => Err(format!("not written down: {left:?}")),
                }
            }
        };
        self.checks.say(self.now_ns, "kill ends flat or lists", verdict);
        let since = |at: Option<u64>| {
            at.zip(killing.as_ref()).map(|(at, killing)| at.saturating_sub(killing.pulled_at))
        };
        KillOutcome {
            condition,
            seed: self.plan.seed,
            held,
            is_flat: record.as_ref().is_some_and(|record| record.flat),
            was_written: killing.as_ref().is_some_and(|killing| killing.was_written),
            by_line: killing.as_ref().is_some_and(|killing| killing.by_line),
            first_cancel_ns: since(killing.as_ref().and_then(|killing| killing.first_cancel)),
            flat_ns: since(killing.as_ref().and_then(|killing| killing.flat_at)),
            violation: self.checks.violation,
            lines: self.log.into_lines(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_ends_flat_under_every_condition() {
        for condition in Condition::ALL {
            for seed in 1..=2 {
                let outcome = pull_once(condition, seed, false);
                assert!(outcome.violation.is_none(), "{condition:?} {seed}: {outcome:?}");
                assert!(outcome.is_flat || outcome.was_written, "{condition:?} {seed}");
            }
        }
    }
}
