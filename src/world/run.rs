//! One seed from beginning to end: the scheduler, the sockets, the exchange and the engine on one
//! virtual clock.

use super::canary::Canary;
use super::chaos::Chaos;
use super::checks::{self, Checks, Violation};
use super::disk::Disk;
use super::engine::{Engine, VirtualTsc};
use super::eyes::{Eyes, Sight};
use super::faults::{Coverage, Faults, Kind};
use super::killing::Killing;
use super::log::Log;
use super::mangle::{Fate, Held};
use super::net::{Segment, Slot, State, push_server_frame, take_client_frame};
use super::plane::{End, Plane, RestAsk};
use super::setup::{self, KEY, SOCKETS, SYMBOLS, TRADING};
use crate::base::ids::ConnId;
use crate::base::rng::Rng;
use crate::base::time::{MonoNs, SpanNs, Tsc, WallNs};
use crate::base::units::{Side, UNIT_SCALE};
use crate::engine::risk::{Guard, RestFallback};
use crate::exchange::{Exchange, Outgoing};
use crate::line::Now;
use crate::line::connect::{ConnectConfig, ConnectPlanner};
use crate::line::parse::CONTROL_TEXT_MAX;
use crate::model::{Currency, Trace};
use crate::venue::public::BookRef;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    /// Virtual seconds.
    pub for_s: u64,
    pub faults: Faults,
    pub canary: Canary,
    /// Keep the last lines.
    pub trace: bool,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub seed: u64,
    pub hash: u64,
    pub events: u64,
    /// Book messages that the engine's sessions applied.
    pub book_messages: u64,
    /// Orders that the exchange accepted from us.
    pub orders: u64,
    pub fills: u64,
    pub cancels: u64,
    pub reconciles: u64,
    /// Runs of the engine, from 1.
    pub starts: u64,
    /// Comparisons of the checkers.
    pub compared: u64,
    pub simulated_s: f64,
    /// Longest time to settle after faults, ms.
    pub settle_ms_max: u64,
    /// Largest loss beyond the limit, in quote.
    pub over_limit_max: f64,
    /// What went by REST while the account's socket was down.
    pub rest_fallback: RestFallback,
    pub coverage: Coverage,
    pub violation: Option<Violation>,
    pub lines: Vec<String>,
}

pub(super) const SECOND: u64 = 1_000_000_000;
/// Between two tellings of time to the engine, ns.
const TIME_EVERY: u64 = 50_000_000;

/// Something that happens at its time.
#[derive(Debug)]
pub(super) enum Ev {
    /// The next segment of a socket arrives at the engine.
    Down {
        slot: usize,
        epoch: u32,
    },
    /// The next bytes of a socket arrive at the exchange.
    Up {
        slot: usize,
        epoch: u32,
    },
    Dial {
        slot: usize,
        epoch: u32,
    },
    Opened {
        slot: usize,
        epoch: u32,
    },
    /// The exchange notices that a connection is gone.
    ServerGone {
        conn: u64,
    },
    /// A private message that was held back.
    Late {
        slot: usize,
        epoch: u32,
        held: Held,
    },
    RestArrives(RestAsk),
    RestEnd {
        call: u64,
        end: End,
    },
    /// The REST scheduler is asked again.
    RestPoll,
    /// The REST thread looks at the orders it was given.
    RestOrders,
    /// A direct kill goes on.
    Desk,
    /// A timed fault is due.
    Fault(usize),
    /// The end of a fault that lasts.
    Undo(super::chaos::Undo),
    /// The engine's host starts it again.
    Restart,
    /// Between safety and calm phases.
    Phase(super::chaos::Phase),
}

struct Entry {
    at: u64,
    order: u64,
    ev: Ev,
}
impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Entry) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

pub(super) struct World {
    pub plan: Plan,
    pub now_ns: u64,
    pub start: WallNs,
    /// The engine's wall clock minus the truth, ns.
    pub clock_off_ns: i64,
    agenda: BinaryHeap<Reverse<Entry>>,
    orders_made: u64,
    pub rng: Rng,
    pub exchange: Exchange,
    pub engine: Option<Engine>,
    pub slots: Vec<Slot>,
    conn_next: u64,
    planners: [ConnectPlanner; 2],
    pub disk: Disk,
    pub plane: Plane,
    pub chaos: Chaos,
    pub checks: Checks,
    pub coverage: Coverage,
    pub log: Log,
    next_time: u64,
    next_look: u64,
    trade_seen: u64,
    fills_seen: u64,
    /// Position of each symbol that foreign orders made, 1e-8.
    pub foreign: [i64; SYMBOLS.len()],
    /// The same since this run of the engine began.
    foreign_run: [i64; SYMBOLS.len()],
    /// Foreign fills since this run of the engine began.
    pub foreign_now: bool,
    own_fills: u64,
    pub sights: BTreeMap<u64, Sight>,
    totals: Totals,
    /// Late messages not yet told, by slot of the account.
    pub late_under_way: u32,
    /// When a message of the account was last lost without the engine's knowledge, or told late.
    pub lost_at: u64,
    /// That was in this session.
    pub lossy: bool,
    /// When the first read of the last good reconcile left.
    pub reconciled_from: u64,
    day: i64,
    /// A loss limit has tripped and was not reset.
    has_breach: bool,
    compare_at: u64,
    pub resent: Vec<(u64, u64, Vec<u8>)>,
    pub count_new: u64,
    pub killing: Option<Killing>,
    /// Times that orders and limits are larger than usual.
    scale: i64,
}

/// Sums over all runs of the engine.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub book_messages: u64,
    pub starts: u64,
    pub settle_ns_max: u64,
    pub reconciles: u64,
}

/// Takes frames from the exchange and lays them before the sockets.
struct Pump<'a> {
    slots: &'a mut [Slot],
    faults: &'a Faults,
    mangles: bool,
    rng: &'a mut Rng,
    coverage: &'a mut Coverage,
    fates: Vec<Fate>,
    late: Vec<(usize, Held, u64)>,
}
impl Outgoing for Pump<'_> {
    fn text(&mut self, conn: u64, payload: &[u8]) {
        let Some(index) = self.slots.iter().position(|slot| slot.conn == conn) else { return };
        let slot = &mut self.slots[index];
        if !self.mangles {
            push_server_frame(&mut slot.building, payload);
            return;
        }
        slot.mangler.pass(payload, self.faults, self.rng, self.coverage, &mut self.fates);
        for fate in self.fates.drain(..) {
            match fate {
                Fate::Now(text) => push_server_frame(&mut slot.building, &text),
                Fate::Later(held, wait) => self.late.push((index, held, wait)),
            }
        }
    }
    fn close(&mut self, conn: u64) {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.conn == conn) {
            slot.closing = true;
        }
    }
}

/// Runs a plan.
pub fn run(plan: Plan) -> Outcome {
    let end = plan.for_s * SECOND;
    let mut world = World::new(plan);
    world.begin();
    while world.now_ns < end && world.checks.violation.is_none() && !world.chaos.is_over() {
        world.step(end);
    }
    world.finish()
}

impl World {
    pub fn new(plan: Plan) -> World {
        let start = setup::start(plan.faults.midnight_in_s);
        let has_seq = true;
        let slots = (0..SOCKETS).map(|i| Slot::new(i == TRADING.index(), has_seq)).collect();
        World {
            now_ns: 0,
            start,
            clock_off_ns: 0,
            agenda: BinaryHeap::new(),
            orders_made: 0,
            rng: Rng::new(plan.seed.wrapping_mul(0x9E37_79B9).wrapping_add(1)),
            exchange: setup::exchange(plan.seed, start),
            engine: None,
            slots,
            conn_next: 1,
            planners: planners(plan.seed),
            disk: Disk::new(plan.canary == Canary::RecordSkipped),
            plane: Plane::new(plan.seed, 0),
            chaos: Chaos::new(&plan),
            checks: Checks::default(),
            coverage: Coverage::default(),
            log: Log::new(plan.trace),
            next_time: 0,
            next_look: 0,
            trade_seen: 0,
            fills_seen: 0,
            foreign: [0; SYMBOLS.len()],
            foreign_run: [0; SYMBOLS.len()],
            foreign_now: false,
            own_fills: 0,
            sights: BTreeMap::new(),
            totals: Totals::default(),
            late_under_way: 0,
            lost_at: 0,
            lossy: false,
            reconciled_from: 0,
            day: start.utc_day(),
            has_breach: false,
            compare_at: 0,
            resent: Vec::new(),
            count_new: 0,
            killing: None,
            scale: 1,
            plan,
        }
    }
    fn begin(&mut self) {
        self.start_engine();
        self.begin_chaos();
    }
    /// A run of the engine without faults by the clock and without phases.
    pub fn begin_quietly(&mut self) {
        self.start_engine();
    }
    pub fn scale_orders(&mut self, scale: i64) {
        self.scale = scale;
        self.checks.limits.scale = scale;
    }
    /// Goes on until this time, or a claim does not hold.
    pub fn run_until(&mut self, end: u64) {
        while self.now_ns < end && self.checks.violation.is_none() {
            self.step(end);
        }
    }
    pub fn at(&mut self, at: u64, ev: Ev) {
        self.orders_made += 1;
        let order = self.orders_made;
        self.agenda.push(Reverse(Entry { at: at.max(self.now_ns), order, ev }));
    }
    pub fn after(&mut self, wait: u64, ev: Ev) {
        self.at(self.now_ns + wait, ev);
    }
    /// True time of day.
    pub fn true_wall(&self) -> WallNs {
        self.start + SpanNs(self.now_ns as i64)
    }
    pub fn engine_wall(&self) -> WallNs {
        self.true_wall() + SpanNs(self.clock_off_ns)
    }
    pub fn now(&self) -> Now {
        match &self.engine {
            Some(engine) => engine.now(self.now_ns, self.engine_wall()),
            None => Now { mono: MonoNs(0), wall: self.engine_wall() },
        }
    }
    /// One way through the network.
    pub fn delay(&mut self) -> u64 {
        let faults = &self.plan.faults;
        let jitter = self.rng.below(u64::from(faults.jitter_us.max(1)));
        (u64::from(faults.delay_us.max(1)) + jitter) * 1_000 + self.chaos.spike_ns(self.now_ns)
    }
    pub fn chance(&mut self, ppm: u32) -> bool {
        ppm > 0 && !self.chaos.is_calm() && self.rng.chance(u64::from(ppm), 1_000_000)
    }

    fn step(&mut self, end: u64) {
        let market = self
            .exchange
            .next_at()
            .map_or(u64::MAX, |at| u64::try_from((at - self.start).0).unwrap_or(0));
        let agenda = self.agenda.peek().map_or(u64::MAX, |Reverse(entry)| entry.at);
        let next = market.min(agenda).min(self.next_time);
        if next >= end {
            self.now_ns = end;
            return;
        }
        self.now_ns = self.now_ns.max(next);
        if next == self.next_time {
            self.next_time += TIME_EVERY;
            self.tell_time();
        } else if next == agenda {
            if let Some(Reverse(entry)) = self.agenda.pop() {
                self.happen(entry.ev);
            }
        } else {
            self.exchange.advance(self.true_wall(), 1);
            self.pump();
        }
    }

    fn happen(&mut self, ev: Ev) {
        match ev {
            Ev::Down { slot, epoch } => self.down(slot, epoch),
            Ev::Up { slot, epoch } => self.up(slot, epoch),
            Ev::Dial { slot, epoch } => self.dial(slot, epoch),
            Ev::Opened { slot, epoch } => self.opened(slot, epoch),
            Ev::ServerGone { conn } => {
                self.exchange.disconnect(conn, self.true_wall());
                self.pump();
            }
            Ev::Late { slot, epoch, held } => {
                self.late_under_way -= 1;
                self.lost_at = self.now_ns;
                let now_ms = self.true_wall().as_ms();
                let it = &mut self.slots[slot];
                if it.epoch == epoch {
                    let text = it.mangler.late(&held, now_ms);
                    push_server_frame(&mut it.building, &text);
                    self.ship(slot);
                }
            }
            Ev::RestArrives(ask) => self.rest_arrives(&ask),
            Ev::RestEnd { call, end } => self.rest_end(call, &end),
            Ev::RestPoll => self.rest_poll(),
            Ev::RestOrders => self.ask_orders(),
            Ev::Desk => self.desk_step(),
            Ev::Fault(index) => self.timed_fault(index),
            Ev::Undo(undo) => self.undo(undo),
            Ev::Restart => self.start_engine(),
            Ev::Phase(phase) => self.phase(phase),
        }
    }

    // ---- the exchange's side ----

    /// Takes what the exchange has to say and puts it on the wires.
    pub fn pump(&mut self) {
        let calm = Faults::default();
        let mut pump = Pump {
            slots: &mut self.slots,
            faults: if self.chaos.is_calm() { &calm } else { &self.plan.faults },
            mangles: self.chaos.mangles(),
            rng: &mut self.rng,
            coverage: &mut self.coverage,
            fates: Vec::new(),
            late: Vec::new(),
        };
        let lost = |coverage: &Coverage| {
            coverage.0[Kind::PrivateLost as usize] + coverage.0[Kind::PrivateGap as usize]
        };
        let before = lost(pump.coverage);
        self.exchange.drain(&mut pump);
        if lost(pump.coverage) != before || !pump.late.is_empty() {
            (self.lossy, self.lost_at) = (true, self.now_ns);
        }
        let late = std::mem::take(&mut pump.late);
        for (slot, held, wait) in late {
            self.late_under_way += 1;
            let epoch = self.slots[slot].epoch;
            self.after(wait, Ev::Late { slot, epoch, held });
        }
        for slot in 0..SOCKETS {
            if !self.slots[slot].building.is_empty() || self.slots[slot].closing {
                self.ship(slot);
            }
        }
        for symbol in 0..SYMBOLS.len() {
            if let (Some(bid), Some(ask)) = self.exchange.touch(symbol as u16) {
                self.checks.book.touch(symbol, self.now_ns, bid, ask);
            }
        }
        let stats = self.exchange.stats();
        if stats.fills != self.fills_seen {
            self.fills_seen = stats.fills;
            let (foreign, own) = (&mut self.foreign, &mut self.own_fills);
            let (of_run, loss) = (&mut self.foreign_run, &mut self.checks.loss);
            let (mut newest, mut any) = (self.trade_seen, false);
            self.exchange.audit_trades(KEY, self.trade_seen, |trade| {
                newest = trade.id;
                if trade.cid.is_some_and(|cid| cid < super::chaos::FOREIGN_CID_MAX) {
                    foreign[usize::from(trade.symbol)] += trade.qty;
                    of_run[usize::from(trade.symbol)] += trade.qty;
                    loss.foreign_trade();
                    any = true;
                } else {
                    *own += 1;
                }
            });
            (self.trade_seen, self.foreign_now) = (newest, self.foreign_now || any);
        }
    }
    /// What has been built becomes a segment, or two.
    fn ship(&mut self, slot: usize) {
        let splits = self.chance(self.plan.faults.split_ppm);
        let it = &mut self.slots[slot];
        let (bytes, closing) = (std::mem::take(&mut it.building), it.closing);
        it.closing = false;
        if it.half_open && !closing {
            return;
        }
        if splits && bytes.len() > 1 {
            self.coverage.hit(Kind::Split);
            let cut = 1 + self.rng.below(bytes.len() as u64 - 1) as usize;
            self.segment(slot, bytes[..cut].to_vec(), false);
            self.segment(slot, bytes[cut..].to_vec(), closing);
        } else {
            self.segment(slot, bytes, closing);
        }
    }
    fn segment(&mut self, slot: usize, bytes: Vec<u8>, is_last: bool) {
        let at = self.now_ns + self.delay();
        let it = &mut self.slots[slot];
        it.down_at = it.down_at.max(at);
        it.down.push_back(Segment { bytes, is_last });
        let (at, epoch) = (it.down_at, it.epoch);
        self.at(at, Ev::Down { slot, epoch });
    }
    fn up(&mut self, slot: usize, epoch: u32) {
        let it = &mut self.slots[slot];
        if it.epoch != epoch {
            return;
        }
        let Some(bytes) = it.up.pop_front() else { return };
        it.received.extend_from_slice(&bytes);
        self.hear(slot);
    }
    /// Whole frames of a socket reach the exchange.
    fn hear(&mut self, slot: usize) {
        let conn = self.slots[slot].conn;
        while let Some((opcode, payload)) = take_client_frame(&mut self.slots[slot].received) {
            if opcode != 1 {
                continue;
            }
            self.log.add(self.now_ns, 100 + slot as u64, &payload);
            let mut text = String::from_utf8(payload).unwrap_or_default();
            self.log.line(self.now_ns, || format!("exchange hears {slot}: {text}"));
            if slot == TRADING.index() {
                text = self.order_arrives(text);
            }
            self.exchange.on_text(conn, text.as_bytes(), self.true_wall());
        }
        self.pump();
    }

    // ---- the engine's side ----

    /// A run of the engine begins.
    fn start_engine(&mut self) {
        let _ = self.disk.recover();
        let seed = self.plan.seed ^ self.now_ns;
        let how = setup::How::of(self.plan.seed, self.plan.faults.loss_limit);
        let how = setup::How { scale: self.scale, ..how };
        let (engine, mark) = Engine::start(
            seed,
            (self.now_ns, self.engine_wall()),
            &self.disk,
            (self.plan.canary, how),
        );
        let verdict = self.checks.latch.started(&engine.chain.risk.memory());
        self.checks.say(self.now_ns, checks::latch::NAME, verdict);
        self.disk.cid_mark = mark;
        self.engine = Some(engine);
        self.totals.starts += 1;
        self.planners = planners(seed);
        self.checks.started();
        self.sights.clear();
        self.foreign_now = false;
        self.foreign_run = [0; SYMBOLS.len()];
        self.plane.restart(seed, self.now_ns);
        self.log.add(self.now_ns, 1, &[]);
        self.log.line(self.now_ns, || "engine starts".to_owned());
        for slot in 0..SOCKETS {
            self.plan_dial(slot);
        }
    }
    /// The engine is gone between two instructions.
    pub fn crash(&mut self) {
        let Some(engine) = self.engine.take() else { return };
        self.coverage.hit(Kind::Crash);
        self.log.add(self.now_ns, 2, &[]);
        self.log.line(self.now_ns, || "engine crashes".to_owned());
        if engine.chain.risk.ledger().alive() > 0 {
            self.coverage.hit(Kind::CrashWithOrders);
        }
        let unanswered = |order: &crate::engine::orders::Order| {
            order.state() == crate::engine::orders::OrderState::Sending
        };
        if engine.chain.risk.ledger().listed().any(|(_, order)| unanswered(order)) {
            self.coverage.hit(Kind::CrashUnanswered);
        }
        if engine.chain.risk.ledger().frozen() > 0 {
            self.coverage.hit(Kind::CrashInDoubt);
        }
        if !self.plane.is_idle() {
            self.coverage.hit(Kind::CrashInReconcile);
        }
        self.crash_with_rest_orders();
        if self.checks.rank.is_killed() {
            self.coverage.hit(Kind::CrashDuringKill);
        }
        let memory = engine.chain.risk.memory();
        if memory.account.tripped & Guard::DailyLoss.bit() != 0 {
            self.coverage.hit(Kind::CrashWithBreach);
        }
        if memory.account.killed || memory.account.paused {
            self.coverage.hit(Kind::CrashWhilePaused);
        }
        self.checks.latch.crashed(memory);
        self.book_out(&engine);
        for slot in 0..SOCKETS {
            self.drop_link(slot);
        }
        self.checks.limits.all_lost();
        self.plane.restart(self.plan.seed, self.now_ns);
        if self.chance(self.plan.faults.torn_ppm) && self.disk.tear() {
            self.coverage.hit(Kind::TornRecord);
        }
        if self.chance(self.plan.faults.flip_ppm) && self.disk.flip(&mut self.rng) {
            self.coverage.hit(Kind::FlippedByte);
        }
        // A host that starts again may do so with another clock.
        if self.plan.faults.clock_step_s > 0 && self.rng.chance(1, 3) {
            self.restart_clock();
        }
        let wait = 100_000_000 + self.rng.below(5 * SECOND);
        self.after(wait, Ev::Restart);
    }
    fn book_out(&mut self, engine: &Engine) {
        self.totals.book_messages += engine.line.counters().book_update;
        let risk = engine.chain.risk.snapshot();
        let mouth = engine.line.mouth().counters();
        let gate = engine.chain.send.gate().counters();
        for (kind, count) in [
            (Kind::OrderUnknown, risk.orders.unknown),
            (Kind::OrderAbsent, risk.orders.absent),
            (Kind::Adopted, risk.orders.adopted),
            (Kind::Conflated, mouth.book_conflated),
            (Kind::TooOld, gate.too_old),
            (Kind::LatchForbade, gate.latch_forbids),
        ] {
            self.coverage.0[kind as usize] += count;
        }
    }
    fn plan_dial(&mut self, slot: usize) {
        let Some(engine) = &self.engine else { return };
        let mono = engine.now(self.now_ns, WallNs(0)).mono;
        let planner = &mut self.planners[usize::from(slot == TRADING.index())];
        let wait = (planner.schedule(slot, mono) - mono).0.max(0) as u64;
        let epoch = self.slots[slot].epoch;
        self.after(wait, Ev::Dial { slot, epoch });
    }
    fn dial(&mut self, slot: usize, epoch: u32) {
        if self.slots[slot].epoch != epoch || self.engine.is_none() {
            return;
        }
        let refused = self.chance(self.plan.faults.dial_refused_ppm);
        if refused || self.chaos.cannot_dial(slot, self.now_ns) {
            self.coverage.hit(Kind::DialRefused);
            return self.plan_dial(slot);
        }
        let conn = self.conn_next;
        self.conn_next += 1;
        self.slots[slot].restart(conn, State::Connecting);
        let at = self.now_ns + self.delay() + self.delay();
        self.slots[slot].down_at = at;
        self.slots[slot].up_at = at;
        let epoch = self.slots[slot].epoch;
        self.at(at, Ev::Opened { slot, epoch });
        self.exchange.connect(conn, self.true_wall());
        self.pump();
    }
    fn opened(&mut self, slot: usize, epoch: u32) {
        let now = self.now();
        let is_now = |engine: &&mut Engine| !engine.hangs && self.slots[slot].epoch == epoch;
        let Some(engine) = self.engine.as_mut().filter(is_now) else {
            return;
        };
        self.slots[slot].state = State::Open;
        self.planners[usize::from(slot == TRADING.index())].opened(slot, now.mono);
        let mut nonce = 0;
        if slot == TRADING.index() {
            self.lossy = false;
            self.lost_at = 0;
            nonce = engine.nonces.next((now.wall.0 / 1_000) as u64);
            self.disk.nonce_mark = nonce;
            let verdict = self.checks.restart.nonce(nonce);
            self.checks.say(self.now_ns, checks::restart::NAME, verdict);
            if self.checks.rank.is_killed() {
                self.coverage.hit(Kind::ReconnectDuringKill);
            }
        }
        let conn = ConnId(slot as u8);
        engine.line.on_open(conn, now, nonce, &mut engine.ring, &mut engine.tap);
        self.turn();
    }
    fn down(&mut self, slot: usize, epoch: u32) {
        if self.slots[slot].epoch != epoch {
            return;
        }
        let Some(Segment { bytes, is_last }) = self.slots[slot].down.pop_front() else { return };
        if self.engine.as_ref().is_none_or(|engine| engine.hangs) || self.slots[slot].half_open {
            return;
        }
        self.log.add(self.now_ns, 200 + slot as u64, &bytes);
        if slot == TRADING.index() {
            self.log.line(self.now_ns, || {
                let text = String::from_utf8_lossy(&bytes);
                format!("engine hears: {}", text.replace(|c: char| c.is_control(), " "))
            });
        }
        let recv = Tsc(self.now_ns + 1);
        let trace = Trace { recv, framed: recv, ..Trace::default() };
        let conn = ConnId(slot as u8);
        let mut pos = 0;
        // Between two batches of messages the stages have their turn, and may end the connection.
        loop {
            let now = self.now();
            let Some(engine) = self.engine.as_mut().filter(|_| self.slots[slot].epoch == epoch)
            else {
                return;
            };
            if pos < bytes.len() {
                let probe = VirtualTsc(self.now_ns);
                let (ring, tap) = (&mut engine.ring, &mut engine.tap);
                engine.line.on_bytes(conn, &bytes, &mut pos, 64, now, trace, &probe, ring, tap);
                self.turn();
            } else if is_last {
                return self.link_lost(slot, false);
            } else {
                return;
            }
        }
    }
    /// A socket is gone on the engine's side; it is told, and dials again.
    pub fn link_lost(&mut self, slot: usize, arrives: bool) {
        if arrives {
            self.deliver_up(slot);
        }
        self.drop_link(slot);
        let now = self.now();
        let Some(engine) = self.engine.as_mut() else { return };
        if slot == TRADING.index() {
            self.checks.limits.all_lost();
        }
        if engine.hangs {
            return;
        }
        let conn = ConnId(slot as u8);
        engine.line.on_close(conn, now, &mut engine.ring, &mut engine.tap);
        self.turn();
        self.plan_dial(slot);
    }
    /// Bytes on their way arrive at once, before the end of the connection.
    pub fn deliver_up(&mut self, slot: usize) {
        let bytes: Vec<u8> = self.slots[slot].up.drain(..).flatten().collect();
        if !bytes.is_empty() {
            self.slots[slot].received.extend_from_slice(&bytes);
            self.hear(slot);
        }
    }
    fn drop_link(&mut self, slot: usize) {
        let old = self.slots[slot].conn;
        self.slots[slot].restart(0, State::Closed);
        if old != 0 {
            let wait = self.delay();
            self.after(wait, Ev::ServerGone { conn: old });
        }
    }
    pub fn write(&mut self, slot: usize, frame: &[u8]) {
        let at = self.now_ns + self.delay();
        let it = &mut self.slots[slot];
        if it.state != State::Open || it.half_open {
            return;
        }
        it.up_at = it.up_at.max(at);
        it.up.push_back(frame.to_vec());
        let (at, epoch) = (it.up_at, it.epoch);
        self.at(at, Ev::Up { slot, epoch });
    }
    fn tell_time(&mut self) {
        let now = self.now();
        if let Some(engine) = self.engine.as_mut().filter(|engine| !engine.hangs) {
            engine.line.on_time(now, &mut engine.ring, &mut engine.tap);
        }
        self.turn();
        self.watch_kill();
        let day = self.true_wall().utc_day();
        if day != self.day {
            self.day = day;
            self.coverage.hit(Kind::Midnight);
            if self.engine.as_ref().is_some_and(|e| e.chain.risk.ledger().alive() > 0) {
                self.coverage.hit(Kind::MidnightWithOrders);
            }
            if self.has_breach {
                self.coverage.hit(Kind::MidnightWithBreach);
            }
        }
        if self.now_ns >= self.next_look {
            self.next_look = self.now_ns + SECOND;
            self.look_at_protection();
            self.look_at_books();
            self.look_at_loss();
            let verdict = self.checks.money.look(&self.exchange);
            self.checks.say(self.now_ns, checks::money::NAME, verdict);
            self.resend_canary();
            self.rest_beside();
        }
    }

    /// Where nothing of a book is under way, the session's book is the exchange's, whole.
    fn look_at_books(&mut self) {
        self.checks.book.look(self.now_ns);
        let Some(engine) = &self.engine else { return };
        for (symbol, session) in engine.line.publics().enumerate() {
            let slot = &self.slots[symbol];
            let is_idle = slot.state == State::Open
                && !slot.half_open
                && slot.down.is_empty()
                && slot.building.is_empty();
            let Some(BookRef::Levels(book)) = session.book_of(0) else { continue };
            if !is_idle || !book.is_synced() || self.chaos.is_maintenance() {
                continue;
            }
            let depth = |side: Side| -> i64 {
                let levels = (0..25).filter_map(|rank| book.level(side, rank));
                levels.map(|level| level.qty.abs().raw()).sum()
            };
            let same = [Side::Buy, Side::Sell]
                .iter()
                .all(|side| depth(*side) == self.exchange.depth_of_25(symbol as u16, *side));
            self.checks.book.compared(symbol, self.now_ns, same);
        }
    }
    /// The account's true equity beside its limit.
    fn look_at_loss(&mut self) {
        let Some(engine) = &self.engine else { return };
        let account = engine.chain.risk.memory().account;
        self.has_breach = account.tripped & Guard::DailyLoss.bit() != 0;
        self.checks.loss.day(account.day);
        let limit = self.plan.faults.loss_limit;
        if limit == 0 {
            return;
        }
        let dollar = Currency::new("USD").unwrap_or_default();
        let equity = self.exchange.audit_equity(KEY, dollar);
        let is_blind = self.lossy || self.late_under_way > 0 || !engine.chain.risk.is_ready();
        let passed = self.checks.loss.passed;
        let limit = i128::from(limit) * i128::from(UNIT_SCALE);
        self.checks.loss.look(self.now_ns, equity, limit, is_blind);
        if self.checks.loss.passed > passed {
            self.coverage.hit(Kind::LossLimitPassed);
        }
    }

    /// The stages work until nothing is left that they may do now.
    pub fn turn(&mut self) {
        if self.engine.as_ref().is_some_and(|engine| engine.hangs) {
            return;
        }
        loop {
            let Some(engine) = self.engine.as_mut() else { return };
            let mut eyes = Eyes {
                now_ns: self.now_ns,
                checks: &mut self.checks,
                exchange: &self.exchange,
                coverage: &mut self.coverage,
                foreign: [&self.foreign, &self.foreign_run],
                is_cancel_only: self.chaos.is_cancel_only(),
                sights: &mut self.sights,
                log: &mut self.log,
                reconciles: &mut self.totals.reconciles,
            };
            let mut busy = engine.decide(self.now_ns, &mut eyes);
            engine.line.flush(&mut engine.ring);
            self.overtake();
            busy |= self.send_all();
            if !busy {
                break;
            }
        }
        let Some(engine) = self.engine.as_mut() else { return };
        // Client ids are kept ahead of what is given out, as a run does it beside the line.
        let last = engine.chain.risk.ledger().cid_last();
        if let Some(mark) = engine.cids.keep_ahead(last) {
            self.disk.cid_mark = mark;
        }
        if engine.is_idle() {
            let verdict = self.checks.control.idle(&engine.tap);
            self.checks.say(self.now_ns, checks::control::NAME, verdict);
        }
        self.transmit();
        self.ask_rest();
        self.compare();
    }
    /// What the sessions want to say, and sockets they want replaced.
    fn transmit(&mut self) {
        for slot in 0..SOCKETS {
            let mono = self.now().mono;
            let conn = ConnId(slot as u8);
            let Some(engine) = self.engine.as_mut() else { return };
            if self.slots[slot].state != State::Open {
                continue;
            }
            if engine.line.take_reset(conn).is_some() {
                self.log.line(self.now_ns, || format!("engine resets socket {slot}"));
                let arrives = self.rng.chance(1, 2);
                self.link_lost(slot, arrives);
                continue;
            }
            let mut frame = [0; CONTROL_TEXT_MAX + 16];
            while let Some(engine) = self.engine.as_mut()
                && let Some(len) = engine.line.poll_transmit(conn, mono, &mut frame)
            {
                self.write(slot, &frame[..len]);
            }
        }
    }

    // ---- comparing ----

    /// Nothing of the account is under way in either direction.
    fn is_quiet(&self) -> bool {
        let slot = &self.slots[TRADING.index()];
        slot.state == State::Open
            && !slot.half_open
            && slot.down.is_empty()
            && slot.up.is_empty()
            && self.late_under_way == 0
            && self.plane.is_idle()
            && self.engine.as_ref().is_some_and(Engine::is_idle)
    }
    fn compare(&mut self) {
        if self.now_ns < self.compare_at || !self.is_quiet() {
            return;
        }
        let Some(engine) = &self.engine else { return };
        let risk = &engine.chain.risk;
        let busy = |order: &crate::engine::orders::Order| {
            order.is_alive() && (order.amend.is_some() || order.cancel_at.is_some())
        };
        let settled = risk.is_ready()
            && risk.ledger().frozen() == 0
            && !risk.ledger().listed().any(|(_, order)| busy(order) || !order.is_alive());
        // What was lost in silence comes to light with the next reconcile, not before.
        if !settled || (self.lossy && self.lost_at >= self.reconciled_from) {
            return;
        }
        self.compare_at = self.now_ns + SECOND;
        let audit = self.exchange.audit(KEY).unwrap_or_default();
        let excuses = checks::ledger::Excuses { foreign: self.foreign_now, wallets: self.lossy };
        let verdict = self.checks.ledger.compare(risk, &audit, excuses);
        self.checks.compared += 1;
        self.checks.say(self.now_ns, checks::ledger::NAME, verdict);
    }

    fn finish(mut self) -> Outcome {
        if let Some(engine) = self.engine.take() {
            self.book_out(&engine);
            self.log.add(self.now_ns, 3, &engine.chain.send.decision_hash().to_le_bytes());
        }
        let stats = self.exchange.stats();
        Outcome {
            seed: self.plan.seed,
            hash: self.log.hash(),
            events: self.log.events(),
            book_messages: self.totals.book_messages,
            orders: stats.orders,
            fills: self.own_fills,
            cancels: stats.canceled,
            reconciles: self.totals.reconciles,
            starts: self.totals.starts,
            compared: self.checks.compared,
            simulated_s: self.now_ns as f64 / 1e9,
            settle_ms_max: self.totals.settle_ns_max / 1_000_000,
            rest_fallback: setup::How::of(self.plan.seed, 0).rest_fallback,
            over_limit_max: self.checks.loss.over_max as f64 / UNIT_SCALE as f64,
            coverage: self.coverage,
            violation: self.checks.violation,
            lines: self.log.into_lines(),
        }
    }
    pub fn settled_after(&mut self, span_ns: u64) {
        self.totals.settle_ns_max = self.totals.settle_ns_max.max(span_ns);
    }
}

/// When sockets are dialled: one plan for public ones, one for the account; new with each run.
fn planners(seed: u64) -> [ConnectPlanner; 2] {
    let connect = ConnectConfig {
        backoff_ms_min: 250,
        backoff_ms_max: 5_000,
        window_s: 15,
        ..ConnectConfig::default()
    };
    [2, 3].map(|n| ConnectPlanner::new(connect, seed.wrapping_add(n)))
}
