//! The engine under test: the front, the stages, the latch and the rings between them, turned by
//! hand. It has no idea that time is not real.

use super::canary::Canary;
use super::disk::Disk;
use super::setup::{self, How, TRADING};
use crate::base::ids::{Cid, SymbolId, TradeId};
use crate::base::limits::{BATCH_MAX, BURST_MAX, RING_DEPTH_MIN};
use crate::base::time::{MonoNs, Tsc, WallNs};
use crate::engine::mouth::MouthOut;
use crate::engine::orders::CidBlock;
use crate::engine::risk::{AccountMemory, RestFallback, RiskMemory};
use crate::line::chain::Chain;
use crate::line::nonce::NonceAllocator;
use crate::line::parse::{ParseLine, ParseTap};
use crate::line::reconcile::ReconcileTimer;
use crate::line::{Now, Probe};
use crate::model::{Body, BookView, ChannelKind, Command, Event, Fill, LinkState, Rank, Signal};
use crate::ring::Latch;
use crate::venue::event::code;
use std::collections::VecDeque;

/// Events between the front and the stages.
const RING_DEPTH: usize = RING_DEPTH_MIN;
/// Commands between `risk` and `send`.
pub const COMMANDS_DEPTH: usize = 256;
/// Between two reconciles, and until one without an answer is asked for again, ns.
const RECONCILE_EVERY_NS: u64 = 1_000_000_000;
const RECONCILE_PATIENCE_NS: u64 = 30_000_000_000;

/// The ring behind the mouth.
#[derive(Debug)]
pub struct Ring {
    pub events: VecDeque<Event>,
    /// Loses every so many-th private event (a canary); 0 = none.
    pub loses_every: u32,
    /// Delivers every fill again under another id (a canary).
    pub doubles_fills: bool,
    count: u32,
}
impl MouthOut for Ring {
    fn free(&mut self) -> usize {
        RING_DEPTH - self.events.len()
    }
    fn deliver(&mut self, event: Event) {
        if self.loses_every > 0 && is_private(&event.body) {
            self.count += 1;
            if self.count.is_multiple_of(self.loses_every) {
                return;
            }
        }
        self.events.push_back(event);
        if let (true, Body::Fill(fill)) = (self.doubles_fills, event.body) {
            let trade = TradeId(fill.trade.0 + (1 << 40));
            self.events.push_back(Event { body: Body::Fill(Fill { trade, ..fill }), ..event });
        }
    }
}

/// Facts of the account that must not be lost.
pub fn is_private(body: &Body) -> bool {
    matches!(
        body,
        Body::Order(_)
            | Body::Ack(_)
            | Body::Fill(_)
            | Body::Position(_)
            | Body::Wallet(_)
            | Body::Snapshot(_)
    )
}

/// The time-stamp counter: nanoseconds of the world, never 0.
#[derive(Clone, Copy, Debug)]
pub struct VirtualTsc(pub u64);
impl Probe for VirtualTsc {
    fn tsc(&self) -> Tsc {
        Tsc(self.0 + 1)
    }
}

/// Counts what the front decoded, so that it can be compared with what arrived behind it.
#[derive(Clone, Copy, Debug, Default)]
pub struct FrontTap {
    pub private: u64,
    pub control: u64,
}
impl ParseTap for FrontTap {
    fn ws_gap(&mut self, _: SymbolId, _: ChannelKind, _: u64) {}
    fn private(&mut self, body: &Body, _: Tsc) {
        self.private += u64::from(is_private(body));
    }
    fn control(&mut self, body: &Body) {
        self.control += u64::from(matches!(body, Body::Bar(_) | Body::Sync(_)));
    }
    fn book(&mut self, _: &BookView, _: MonoNs) {}
}

/// Looks on while the stages work.
pub trait Watch {
    fn before(&mut self, event: &Event);
    fn decided(&mut self, command: &Command, event: &Event, chain: &Chain);
    fn after(&mut self, event: &Event, chain: &Chain);
}

/// An engine from start to crash.
pub struct Engine {
    pub line: ParseLine,
    pub chain: Chain,
    pub latch: Latch,
    pub ring: Ring,
    pub commands: VecDeque<Command>,
    pub reconcile: ReconcileTimer,
    pub nonces: NonceAllocator,
    pub cids: CidBlock,
    pub rest_fallback: RestFallback,
    pub tap: FrontTap,
    /// World time at which its monotonic clock was zero.
    started_ns: u64,
    /// Not before this does the stage go on, world time.
    pub signal_stuck_until: u64,
    pub send_stuck_until: u64,
    /// Its one thread never comes back: it hears and says nothing.
    pub hangs: bool,
}

impl Engine {
    /// A new run on what the disk still has.
    /// Returns the mark of client ids that must be on disk before the first order.
    pub fn start(
        seed: u64,
        (now_ns, wall): (u64, WallNs),
        disk: &Disk,
        (canary, how): (Canary, How),
    ) -> (Engine, u64) {
        let (cids, mark) = CidBlock::take(disk.cid_mark, wall);
        let nonce = if canary == Canary::NonceForgotten { 0 } else { disk.nonce_mark };
        let doubles_fills = canary == Canary::FillTwice;
        let loses_every = if canary == Canary::ControlLost { 50 } else { 0 };
        let mut engine = Engine {
            line: setup::line(seed, canary),
            chain: setup::chain(seed, Cid(cids.used()), canary, how),
            cids,
            rest_fallback: how.rest_fallback,
            latch: Latch::new(Rank::EntriesBlocked as u8),
            ring: Ring { events: VecDeque::new(), loses_every, doubles_fills, count: 0 },
            commands: VecDeque::new(),
            reconcile: ReconcileTimer::new(RECONCILE_EVERY_NS, RECONCILE_PATIENCE_NS),
            nonces: NonceAllocator::new(nonce),
            tap: FrontTap::default(),
            started_ns: now_ns,
            signal_stuck_until: 0,
            send_stuck_until: 0,
            hangs: false,
        };
        disk.memory.renew();
        engine.chain.risk.keep_in(Box::new(disk.memory.clone()));
        if let Some(memory) = disk.memory.read() {
            match canary {
                Canary::LatchNotPersisted => {}
                // The day's loss is forgotten, and what has tripped with it.
                Canary::TripForgotten => {
                    let account = AccountMemory {
                        killed: memory.account.killed,
                        paused: memory.account.paused,
                        ..AccountMemory::default()
                    };
                    engine.chain.risk.recall(&RiskMemory { account, ..memory });
                }
                _ => engine.chain.risk.recall(&memory),
            }
        }
        engine.latch.set(engine.chain.risk.rank() as u8);
        (engine, mark)
    }
    /// The engine's clocks.
    pub fn now(&self, now_ns: u64, wall: WallNs) -> Now {
        Now { mono: MonoNs(now_ns - self.started_ns), wall }
    }
    /// World time of a moment of its monotonic clock.
    pub fn world_ns(&self, at: MonoNs) -> u64 {
        self.started_ns.saturating_add(at.0)
    }
    /// One batch of the stages, as a thread takes it: inputs first, then the latch. True if there
    /// was one.
    pub fn decide(&mut self, now_ns: u64, watch: &mut impl Watch) -> bool {
        if now_ns < self.signal_stuck_until {
            return false;
        }
        let mut handled = 0;
        while handled < BATCH_MAX && self.commands.len() + BURST_MAX <= COMMANDS_DEPTH {
            let Some(event) = self.ring.events.pop_front() else { break };
            handled += 1;
            watch.before(&event);
            let Engine { chain, reconcile, latch, commands, nonces, .. } = self;
            let decided_from = commands.len();
            chain.decide(
                &event,
                |signal, risk| {
                    let Signal::Event(event) = signal else { return };
                    reconcile.look_at(event, now_ns);
                    if let Body::Link(link) = event.body
                        && link.state == LinkState::AuthFailed
                        && i64::from(link.code) == code::AUTH_NONCE
                    {
                        // As the run's loop does it, once for each refused sign-in.
                        nonces.step_past();
                    }
                    if let Body::Operator(command) = event.body
                        && command.is_reset()
                    {
                        latch.reset(risk.rank() as u8);
                    }
                },
                |command| commands.push_back(command),
            );
            for command in self.commands.range(decided_from..) {
                watch.decided(command, &event, &self.chain);
            }
            watch.after(&event, &self.chain);
        }
        if handled > 0 {
            self.latch.set(self.chain.risk.rank() as u8);
        }
        if self.line.mouth().is_halted() {
            self.latch.raise(Rank::Halted as u8);
        }
        handled > 0
    }
    /// The account's stream is open: orders may be written.
    pub fn is_ready(&self) -> bool {
        self.line.is_open(TRADING)
            && self.line.private().is_some_and(|session| session.is_authenticated())
    }
    /// Nothing waits inside.
    pub fn is_idle(&self) -> bool {
        self.ring.events.is_empty() && self.commands.is_empty() && self.line.mouth().waiting() == 0
    }
}
