//! Faults that come by the clock, those that last and end again, and the phases: faults, then calm,
//! in which the world must settle; at the end of each cycle a stop or a kill.

use super::checks::{kill, settle};
use super::engine::Engine;
use super::faults::Kind;
use super::net::State;
use super::rest_faults::Refused;
use super::run::{Ev, Plan, SECOND, World};
use super::setup::{self, ABSENT_AFTER_S, KEY, SOCKETS, SYMBOLS, TRADING};
use crate::base::bounded::Text;
use crate::exchange::HttpRequest;
use crate::model::{Class, OperatorCommand, OperatorVerb};

/// Client ids of foreign orders lie below this; ours are milliseconds.
pub const FOREIGN_CID_MAX: u64 = 1_000_000_000;
/// One cycle: faults, then calm.
const CYCLE_S: u64 = 1_200;
/// Calm at the end of a cycle, s: settling, a stop or kill, and its end.
const CALM_S: u64 = 120;
/// Calls asked before the calm may be answered until then, and be told to wait.
const LATE_ANSWERS_NS: u64 = 15 * SECOND;
/// The world must have settled after this long.
const SETTLE_NS: u64 = 30 * SECOND;
/// And a book out of step, whose window of resyncs is a minute, after this long.
const PARKED_NS: u64 = 100 * SECOND;
/// Longest time that a stop or kill may take in calm: closing gives up after 20 attempts, one a
/// second.
const KILL_NS: u64 = 60 * SECOND;

/// How far a host's clock may be off after a restart, ns.
const RESTART_CLOCK_NS: i64 = 120_000_000_000;

/// The end of something that lasts.
#[derive(Clone, Copy, Debug)]
pub enum Undo {
    Maintenance,
    DiskFull,
    HalfOpen(usize, u32),
    CancelOnly,
    /// Words at a bad moment: a position is to be closed and the book has gone silent.
    CloseSilent(usize, u32),
    Operator(OperatorVerb),
    /// Nobody heard it: said again.
    SayAgain(OperatorVerb),
}

#[derive(Clone, Copy, Debug)]
pub enum Phase {
    Calm,
    /// Looked at every second until all is well.
    Settling {
        since: u64,
    },
    Ending {
        since: u64,
        killed: bool,
    },
    Storm,
}

/// State of the faults.
#[derive(Debug)]
pub struct Chaos {
    calm: bool,
    over: bool,
    mangles: bool,
    cycle: u64,
    cycles: u64,
    spike_until: u64,
    spike: u64,
    down_until: u64,
    account_gone_until: u64,
    maintenance: bool,
    cancel_only: bool,
    foreign_orders: u64,
    /// How every REST call is refused, and until when.
    rest_storm: Option<(Refused, u64)>,
    /// Words that nobody has heard yet.
    words_waiting: u32,
    /// What the venue has asked of REST holds for so long into the calm.
    held_ns: u64,
    /// How long books were out of step during the ending of this cycle.
    parked_ns: u64,
}

impl Chaos {
    pub fn new(plan: &Plan) -> Chaos {
        let f = &plan.faults;
        let messages = [
            f.public_gap_ppm,
            f.public_twice_ppm,
            f.public_corrupt_ppm,
            f.bad_checksum_ppm,
            f.stale_snapshot_ppm,
            f.private_gap_ppm,
            f.private_lost_ppm,
            f.private_late_ppm,
            f.private_swap_ppm,
            f.private_twice_ppm,
            f.wallet_late_ppm,
        ];
        Chaos {
            calm: false,
            over: false,
            mangles: messages.iter().any(|ppm| *ppm > 0),
            cycle: 0,
            cycles: (plan.for_s / CYCLE_S).max(1),
            spike_until: 0,
            spike: 0,
            down_until: 0,
            account_gone_until: 0,
            maintenance: false,
            cancel_only: false,
            foreign_orders: 0,
            rest_storm: None,
            words_waiting: 0,
            held_ns: 0,
            parked_ns: 0,
        }
    }
    pub fn begin_rest_storm(&mut self, refused: Refused, until: u64) {
        self.rest_storm = Some((refused, until));
    }
    /// How every REST call is refused now, and until when.
    pub fn rest_storm(&self, now_ns: u64) -> Option<(Refused, u64)> {
        self.rest_storm.filter(|(_, until)| now_ns < *until)
    }
    pub fn is_calm(&self) -> bool {
        self.calm
    }
    pub fn is_over(&self) -> bool {
        self.over
    }
    /// Whether messages are written anew at all.
    pub fn mangles(&self) -> bool {
        self.mangles
    }
    pub fn spike_ns(&self, now_ns: u64) -> u64 {
        if now_ns < self.spike_until { self.spike } else { 0 }
    }
    pub fn is_maintenance(&self) -> bool {
        self.maintenance
    }
    pub fn is_cancel_only(&self) -> bool {
        self.cancel_only
    }
    pub fn venue_down(&self, now_ns: u64) -> bool {
        now_ns < self.down_until
    }
    /// Nobody answers at the other end of this socket.
    pub fn cannot_dial(&self, slot: usize, now_ns: u64) -> bool {
        let is_account = slot == TRADING.index();
        self.venue_down(now_ns) || is_account && now_ns < self.account_gone_until
    }
}

/// Faults by the clock, in the order of `World::means`.
const TIMED: usize = 15;

impl World {
    fn means(&self) -> [u32; TIMED] {
        let f = &self.plan.faults;
        [
            f.spike_s,
            f.disconnect_s,
            f.half_open_s,
            f.maintenance_s,
            f.venue_restart_s,
            f.foreign_s,
            f.crash_s,
            f.disk_full_s,
            f.clock_step_s,
            f.stuck_signal_s,
            f.stuck_send_s,
            f.operator_s,
            f.cancel_only_s,
            f.rest_storm_s,
            f.account_gone_s,
        ]
    }
    pub fn begin_chaos(&mut self) {
        for index in 0..TIMED {
            self.plan_fault(index);
        }
        if self.plan.faults.nonce_refused_ppm > 0 {
            self.after(20 * SECOND, Ev::Fault(TIMED));
        }
        let cycle_s = if self.chaos.cycles == 1 { self.plan.for_s } else { CYCLE_S };
        let storm = cycle_s.saturating_sub(CALM_S).max(1) * SECOND;
        self.after(storm, Ev::Phase(Phase::Calm));
    }
    fn plan_fault(&mut self, index: usize) {
        let mean = self.means()[index];
        if mean > 0 {
            let wait = self.rng.exponential(f64::from(mean) * 1e9) as u64;
            self.after(wait.max(1_000_000), Ev::Fault(index));
        }
    }
    pub fn timed_fault(&mut self, index: usize) {
        if index == TIMED {
            // Another program uses the key: its nonces are ahead of ours for a while.
            let wait = 10 * SECOND + self.rng.below(30 * SECOND);
            self.after(wait, Ev::Fault(TIMED));
            if self.chance(self.plan.faults.nonce_refused_ppm) {
                self.use_up_nonces();
            }
            return;
        }
        self.plan_fault(index);
        if self.chaos.is_calm() {
            return;
        }
        self.log.line(self.now_ns, || format!("timed fault {index}"));
        match index {
            0 => {
                self.coverage.hit(Kind::Spike);
                self.chaos.spike = 20_000_000 + self.rng.below(3 * SECOND);
                self.chaos.spike_until = self.now_ns + self.rng.below(10 * SECOND);
            }
            1 => self.disconnect(),
            2 => self.half_open(),
            3 => self.maintenance(),
            4 => self.venue_restart(),
            5 => self.foreign_order(),
            6 => self.crash(),
            7 => {
                self.coverage.hit(Kind::DiskFull);
                self.disk.is_full = true;
                let wait = SECOND + self.rng.below(20 * SECOND);
                self.after(wait, Ev::Undo(Undo::DiskFull));
            }
            8 => self.step_clock(),
            9 => {
                self.coverage.hit(Kind::StuckSignal);
                let until = self.now_ns + 50_000_000 + self.rng.below(8 * SECOND);
                if let Some(engine) = &mut self.engine {
                    engine.signal_stuck_until = until;
                }
            }
            10 => {
                self.coverage.hit(Kind::StuckSend);
                let until = self.now_ns + 50_000_000 + self.rng.below(8 * SECOND);
                if let Some(engine) = &mut self.engine {
                    engine.send_stuck_until = until;
                }
            }
            11 => self.operator_at_random(),
            12 => self.cancel_only(),
            13 => self.rest_storm(),
            _ => self.account_gone(),
        }
    }
    /// The venue takes nothing but cancels for a while; sometimes a kill comes just then.
    fn cancel_only(&mut self) {
        if self.chaos.cancel_only {
            return;
        }
        self.coverage.hit(Kind::CancelOnly);
        let wait = 2 * SECOND + self.rng.below(60 * SECOND);
        self.begin_cancel_only(wait);
        if self.plan.faults.operator_s > 0 && self.rng.chance(1, 4) {
            self.say(OperatorVerb::Kill);
            let reset = wait + self.rng.below(30 * SECOND);
            self.after(reset, Ev::Undo(Undo::Operator(OperatorVerb::Reset)));
        }
    }
    /// A word of the operator comes between a decision and the door.
    pub fn overtake(&mut self) {
        let has_entry = |engine: &Engine| engine.commands.iter().any(|c| c.class == Class::Entry);
        if self.plan.faults.operator_at_door_ppm == 0
            || !self.engine.as_ref().is_some_and(has_entry)
            || !self.chance(self.plan.faults.operator_at_door_ppm)
        {
            return;
        }
        self.coverage.hit(Kind::OperatorAtTheDoor);
        let killed = self.rng.chance(1, 3);
        let (verb, back) = match killed {
            true => (OperatorVerb::Kill, OperatorVerb::Reset),
            false => (OperatorVerb::Pause, OperatorVerb::Resume),
        };
        let wait = SECOND + self.rng.below(20 * SECOND);
        self.after(wait, Ev::Undo(Undo::Operator(back)));
        self.say(verb);
    }
    /// The host's wall clock steps, by at most 10 s.
    pub fn step_clock(&mut self) {
        let step = self.rng.between(-10_000_000_000, 10_000_000_000);
        // It drifts no further from the truth than 20 s, or than a restart has left it.
        let bound = self.clock_off_ns.abs().max(20_000_000_000);
        self.clock_off_ns = (self.clock_off_ns + step).clamp(-bound, bound);
        self.coverage.hit(if step < 0 { Kind::ClockBack } else { Kind::ClockForward });
    }
    /// A host starts again with a clock that nobody has set yet.
    pub fn restart_clock(&mut self) {
        let before = self.clock_off_ns;
        self.clock_off_ns = self.rng.between(-RESTART_CLOCK_NS, RESTART_CLOCK_NS);
        let is_back = self.clock_off_ns < before;
        self.coverage.hit(if is_back { Kind::RestartClockBack } else { Kind::RestartClockForward });
    }
    fn disconnect(&mut self) {
        let slot = self.rng.below(SOCKETS as u64) as usize;
        if self.slots[slot].state != State::Open {
            return;
        }
        self.coverage.hit(Kind::Disconnect);
        let arrives = self.rng.chance(1, 2);
        self.link_lost(slot, arrives);
    }
    /// The account's socket is gone for a while and cannot be had again, while market data and REST
    /// go on; mostly somebody wants something done just then.
    fn account_gone(&mut self) {
        let slot = TRADING.index();
        if self.slots[slot].state != State::Open || self.engine.is_none() {
            return;
        }
        self.coverage.hit(Kind::AccountGone);
        let span = 5 * SECOND + self.rng.below(70 * SECOND);
        self.begin_account_gone(span);
        let (verb, back) = match self.rng.below(6) {
            0 => return,
            1 => (OperatorVerb::CancelAll, OperatorVerb::Resume),
            2 => (OperatorVerb::Pause, OperatorVerb::Resume),
            3 => (OperatorVerb::Flatten, OperatorVerb::Resume),
            _ => (OperatorVerb::Kill, OperatorVerb::Reset),
        };
        let wait = self.rng.below(span);
        let later = wait + SECOND + self.rng.below(60 * SECOND);
        self.after(wait, Ev::Undo(Undo::Operator(verb)));
        self.after(later, Ev::Undo(Undo::Operator(back)));
    }
    pub fn begin_account_gone(&mut self, span: u64) {
        self.chaos.account_gone_until = self.now_ns + span;
        let arrives = self.rng.chance(1, 2);
        self.link_lost(TRADING.index(), arrives);
    }
    fn half_open(&mut self) {
        let slot = self.rng.below(SOCKETS as u64) as usize;
        if self.slots[slot].state != State::Open {
            return;
        }
        self.coverage.hit(Kind::HalfOpen);
        self.slots[slot].half_open = true;
        let epoch = self.slots[slot].epoch;
        let wait = SECOND + self.rng.below(120 * SECOND);
        self.after(wait, Ev::Undo(Undo::HalfOpen(slot, epoch)));
        if slot != TRADING.index() && self.plan.faults.operator_s > 0 && self.rng.chance(1, 2) {
            let at = 11 * SECOND + self.rng.below(12 * SECOND);
            self.after(at, Ev::Undo(Undo::CloseSilent(slot, epoch)));
        }
    }
    fn maintenance(&mut self) {
        if self.chaos.maintenance {
            return;
        }
        self.coverage.hit(Kind::Maintenance);
        self.chaos.maintenance = true;
        self.exchange.announce(20_060, self.true_wall());
        self.pump();
        let wait = 5 * SECOND + self.rng.below(100 * SECOND);
        self.after(wait, Ev::Undo(Undo::Maintenance));
    }
    fn venue_restart(&mut self) {
        self.coverage.hit(Kind::VenueRestart);
        self.exchange.announce(20_051, self.true_wall());
        self.pump();
        let wait = self.rng.below(20 * SECOND);
        self.venue_gone(wait);
    }
    /// Every connection ends, and the venue cannot be reached for a while.
    pub fn venue_gone(&mut self, wait: u64) {
        self.exchange.hang_up_all(self.true_wall());
        self.pump();
        self.chaos.down_until = self.now_ns + wait;
    }
    /// The venue takes nothing but cancels for a while.
    pub fn begin_cancel_only(&mut self, wait: u64) {
        self.chaos.cancel_only = true;
        self.exchange.set_cancel_only(true);
        self.after(wait, Ev::Undo(Undo::CancelOnly));
    }
    /// Another program trades on the account.
    fn foreign_order(&mut self) {
        self.coverage.hit(Kind::Foreign);
        self.chaos.foreign_orders += 1;
        let symbol = self.rng.below(SYMBOLS.len() as u64) as usize;
        let cid = self.chaos.foreign_orders;
        let qty = if symbol == 0 { "0.001" } else { "0.02" };
        let sign = if self.rng.chance(1, 2) { "" } else { "-" };
        let kind = if self.rng.chance(1, 2) { "MARKET" } else { "LIMIT" };
        let (bid, ask) = self.exchange.touch(symbol as u16);
        let px = if sign.is_empty() { bid } else { ask }.unwrap_or(100_000_000) / 100_000_000;
        let body = format!(
            "{{\"cid\":{cid},\"type\":\"{kind}\",\"symbol\":\"{}\",\"amount\":\"{sign}{qty}\",\
             \"price\":\"{px}\"}}",
            SYMBOLS[symbol]
        );
        self.call_as_another("auth/w/order/submit", &body, 0);
    }
    fn use_up_nonces(&mut self) {
        self.coverage.hit(Kind::NonceRefused);
        let ahead_us = self.rng.below(8_000_000);
        self.call_as_another("auth/r/wallets", "{}", ahead_us);
    }
    fn call_as_another(&mut self, path: &str, body: &str, ahead_us: u64) {
        let nonce = (self.true_wall().0 / 1_000) as u64 + ahead_us;
        let signature = setup::key().sign_rest(path, nonce, body.as_bytes()).as_str().to_owned();
        let (path, nonce) = (format!("/v2/{path}"), nonce.to_string());
        let request = HttpRequest {
            method: "POST",
            path_and_query: &path,
            api_key: Some(KEY),
            nonce: Some(&nonce),
            signature: Some(&signature),
            token: None,
            if_none_match: None,
            body: body.as_bytes(),
        };
        let _ = self.exchange.rest(&request, self.true_wall());
        self.pump();
    }
    fn operator_at_random(&mut self) {
        self.coverage.hit(Kind::Operator);
        let verb = match self.rng.below(8) {
            0 | 1 => OperatorVerb::Pause,
            2 => OperatorVerb::Resume,
            3 | 4 => OperatorVerb::CancelAll,
            5 => OperatorVerb::Flatten,
            _ => OperatorVerb::Kill,
        };
        self.say(verb);
        let back = match verb {
            OperatorVerb::Pause | OperatorVerb::Flatten => OperatorVerb::Resume,
            OperatorVerb::Kill => OperatorVerb::Reset,
            _ => return,
        };
        let wait = SECOND + self.rng.below(60 * SECOND);
        self.after(wait, Ev::Undo(Undo::Operator(back)));
    }
    /// A word of the operator.
    pub fn say(&mut self, verb: OperatorVerb) {
        let wall = self.engine_wall();
        let Some(engine) = self.engine.as_mut() else {
            // Nobody hears it: said again when the engine is back.
            if matches!(verb, OperatorVerb::Reset | OperatorVerb::Resume) {
                self.chaos.words_waiting += 1;
                self.after(SECOND, Ev::Undo(Undo::SayAgain(verb)));
            }
            return;
        };
        if engine.hangs {
            return;
        }
        let now = engine.now(self.now_ns, wall);
        let reason = Text::new("world").unwrap_or_default();
        let command = OperatorCommand { verb, symbol: None, reason };
        self.log.add(self.now_ns, 500 + verb as u64, &[]);
        self.log.line(self.now_ns, || format!("operator: {verb:?}"));
        if command.is_reset() {
            engine.latch.order_reset();
        }
        engine.line.on_operator(command, now, &mut engine.ring, &mut engine.tap);
        self.turn();
    }
    pub fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::Maintenance => {
                if std::mem::take(&mut self.chaos.maintenance) {
                    self.exchange.announce(20_061, self.true_wall());
                    self.pump();
                }
            }
            Undo::DiskFull => self.disk.is_full = false,
            Undo::HalfOpen(slot, epoch) => {
                let it = &self.slots[slot];
                if it.epoch == epoch && it.half_open {
                    self.link_lost(slot, false);
                }
            }
            Undo::CancelOnly => {
                self.chaos.cancel_only = false;
                self.exchange.set_cancel_only(false);
            }
            Undo::CloseSilent(slot, epoch) => {
                let it = &self.slots[slot];
                if it.epoch == epoch && it.half_open && !self.chaos.is_calm() {
                    self.coverage.hit(Kind::CloseOnStaleBook);
                    self.say(OperatorVerb::Flatten);
                    let wait = SECOND + self.rng.below(20 * SECOND);
                    self.after(wait, Ev::Undo(Undo::Operator(OperatorVerb::Resume)));
                }
            }
            // In the calm the only words are its own: a reset of before would undo its kill.
            Undo::Operator(_) if self.chaos.is_calm() => {}
            Undo::Operator(verb) => self.say(verb),
            Undo::SayAgain(verb) => {
                self.chaos.words_waiting -= 1;
                self.say(verb);
            }
        }
    }

    // ---- phases ----

    pub fn phase(&mut self, phase: Phase) {
        match phase {
            Phase::Calm => self.calm_down(),
            Phase::Settling { since } => self.look_whether_settled(since),
            Phase::Ending { since, killed } => self.look_whether_ended(since, killed),
            Phase::Storm => {
                self.chaos.calm = false;
                let storm = (CYCLE_S - CALM_S) * SECOND;
                self.after(storm, Ev::Phase(Phase::Calm));
            }
        }
    }
    /// The faults end.
    fn calm_down(&mut self) {
        self.log.line(self.now_ns, || "calm".to_owned());
        self.chaos.calm = true;
        self.chaos.spike_until = 0;
        self.chaos.down_until = 0;
        self.chaos.account_gone_until = 0;
        self.chaos.rest_storm = None;
        let mono = self.now().mono;
        self.chaos.held_ns = self.plane.held_ns(mono);
        self.undo(Undo::DiskFull);
        self.undo(Undo::Maintenance);
        self.undo(Undo::CancelOnly);
        for slot in 0..SOCKETS {
            if self.slots[slot].half_open {
                self.link_lost(slot, false);
            }
        }
        if let Some(engine) = &mut self.engine {
            engine.signal_stuck_until = 0;
            engine.send_stuck_until = 0;
        }
        self.say(OperatorVerb::Reset);
        let since = self.now_ns;
        self.after(SECOND, Ev::Phase(Phase::Settling { since }));
    }
    fn look_whether_settled(&mut self, since: u64) {
        let span = self.now_ns - since;
        if span <= LATE_ANSWERS_NS {
            let held_ns = span + self.plane.held_ns(self.now().mono);
            self.chaos.held_ns = self.chaos.held_ns.max(held_ns);
        }
        let unsettled = match &self.engine {
            None => Some("the engine is not up".to_owned()),
            // It would undo what is said next.
            Some(_) if self.chaos.words_waiting > 0 => Some("a word is not heard yet".to_owned()),
            Some(engine) => settle::unsettled(engine, self.foreign_now),
        };
        let Some(words) = unsettled else {
            self.settled_after(span);
            self.checks.compared += 1;
            let killed = (self.plan.seed + self.chaos.cycle).is_multiple_of(2);
            self.say(if killed { OperatorVerb::Kill } else { OperatorVerb::CancelAll });
            self.say(OperatorVerb::Pause);
            let since = self.now_ns;
            self.chaos.parked_ns = 0;
            self.after(SECOND, Ev::Phase(Phase::Ending { since, killed }));
            return;
        };
        // A book that failed its checksums too often waits its window out, untradable.
        let parked = words.starts_with("book");
        let limit = self.doubt_ns().unwrap_or(if parked { PARKED_NS } else { SETTLE_NS });
        // The venue's own word is no fault of the calm: who was told to wait waits.
        if span > limit + self.chaos.held_ns {
            let words = format!("after {} s: {words}", span / SECOND);
            return self.checks.say(self.now_ns, settle::NAME, Err(words));
        }
        self.after(SECOND / 2, Ev::Phase(Phase::Settling { since }));
    }
    /// An order that never arrived is in doubt until it may be given up; and late answers may still
    /// be under way. Both are no faults of the calm, and lengthen its limits to this: while an
    /// order is in doubt its symbol is frozen, for a kill's closing orders, too.
    fn doubt_ns(&self) -> Option<u64> {
        let doubts = self.engine.as_ref().map_or(0, |engine| engine.chain.risk.ledger().frozen());
        let longer = doubts > 0 || self.late_under_way > 0;
        longer.then_some((u64::from(ABSENT_AFTER_S) + 60) * SECOND)
    }
    fn look_whether_ended(&mut self, since: u64, killed: bool) {
        let span = self.now_ns - since;
        let Some(engine) = &self.engine else { return };
        let risk = &engine.chain.risk;
        // What went wrong before the calm a checksum tells only now; without a book nothing closes.
        let is_parked =
            engine.line.publics().any(|session| session.symbols().iter().any(|book| !book.synced));
        if is_parked {
            self.chaos.parked_ns = (self.chaos.parked_ns + SECOND / 2).min(PARKED_NS);
        }
        let audit = self.exchange.audit(KEY).unwrap_or_default();
        let verdict = match killed {
            true => kill::ended(risk, &audit, self.foreign_now),
            false => kill::cancelled(risk, &audit),
        };
        if let Err(words) = verdict {
            let limit = self.doubt_ns().unwrap_or(KILL_NS) + self.chaos.held_ns;
            if span > limit + self.chaos.parked_ns {
                return self.checks.say(self.now_ns, kill::NAME, Err(words));
            }
            return self.after(SECOND / 2, Ev::Phase(Phase::Ending { since, killed }));
        }
        self.checks.compared += 1;
        self.chaos.cycle += 1;
        if self.chaos.cycle >= self.chaos.cycles {
            self.chaos.over = true;
            return;
        }
        self.say(OperatorVerb::Reset);
        self.phase(Phase::Storm);
    }
}

const _: () = assert!(TRADING.0 as usize + 1 == SOCKETS);
