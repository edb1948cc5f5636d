//! Side windows of the hot threads: a few fixed rows, four times a second, into a ring that is
//! simply skipped when full. Nothing here can hold a stage up or change what it does.

use crate::base::time::Tsc;
use crate::engine::orders::Order;
use crate::engine::risk::{GuardLevel, RiskSnapshot, SymbolRisk};
use crate::engine::signal::SymbolSignals;
use crate::io::clock::Clock;
use crate::ring::Tx;

/// How often rows are published, nanoseconds.
const PUBLISH_EVERY_NS: u64 = 250_000_000;

/// Turns between two looks at the clock, which costs 9 ns and stands between an event and its
/// order.
const TURNS_PER_LOOK: u32 = 8;

pub struct TapTx<T> {
    ring: Option<Tx<T>>,
    clock: Clock,
    period: u64,
    next: Tsc,
    asked: u32,
    /// Rows that found no place.
    dropped: u64,
}

impl<T> TapTx<T> {
    /// `None`: nobody looks, nothing is published.
    pub fn new(ring: Option<Tx<T>>, clock: Clock) -> Self {
        let period = clock.ticks_of_ns(PUBLISH_EVERY_NS);
        Self { ring, next: Tsc(0), asked: 0, period, clock, dropped: 0 }
    }
    /// True once a period.
    #[inline(always)]
    pub fn is_due(&mut self) -> bool {
        self.asked = self.asked.wrapping_add(1);
        if self.ring.is_none() || !self.asked.is_multiple_of(TURNS_PER_LOOK) {
            return false;
        }
        let now = self.clock.tsc();
        if now < self.next {
            return false;
        }
        self.next = Tsc(now.0 + self.period);
        true
    }
    pub fn push(&mut self, row: T) {
        if let Some(ring) = &mut self.ring
            && ring.push(row).is_err()
        {
            self.dropped += 1;
        }
    }
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// Rows of `signal`.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::large_enum_variant)] // four a second; a box would be an allocation on a hot thread
pub enum SignalRow {
    Symbol(SymbolSignals),
    /// Most slots of `signal_risk` ever in use.
    Ring {
        used_max: u64,
    },
}

/// Rows of `risk`.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::large_enum_variant)] // four a second; a box would be an allocation on a hot thread
pub enum RiskRow {
    Account(RiskSnapshot),
    Symbol(SymbolRisk),
    Guard(GuardLevel),
    /// Most slots of `risk_send` ever in use.
    Ring {
        used_max: u64,
    },
    /// An own order alive.
    Order(Order),
    /// All orders of this round are told.
    OrdersEnd,
}
