//! Side windows of the hot threads: a few fixed rows, four times a second, into a ring that is
//! simply skipped when full. Nothing here can hold a stage up or change what it does.

use crate::base::time::Tsc;
use crate::engine::orders::Order;
use crate::engine::risk::{RiskSnapshot, SymbolRisk};
use crate::engine::signal::SymbolSignals;
use crate::io::clock::Clock;
use crate::ring::Tx;

/// How often rows are published, nanoseconds.
const PUBLISH_EVERY_NS: u64 = 250_000_000;

pub struct TapTx<T> {
    ring: Option<Tx<T>>,
    clock: Clock,
    period: u64,
    next: Tsc,
    /// Rows that found no place.
    dropped: u64,
}

impl<T> TapTx<T> {
    /// `None`: nobody looks, nothing is published.
    pub fn new(ring: Option<Tx<T>>, clock: Clock) -> Self {
        let period = clock.ticks_of_ns(PUBLISH_EVERY_NS);
        Self { ring, next: Tsc(0), period, clock, dropped: 0 }
    }
    /// True once a period.
    #[inline(always)]
    pub fn is_due(&mut self) -> bool {
        if self.ring.is_none() {
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
#[allow(clippy::large_enum_variant)] // as below
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
    /// Most slots of `risk_send` ever in use.
    Ring {
        used_max: u64,
    },
    /// An own order alive.
    Order(Order),
    /// All orders of this round are told.
    OrdersEnd,
}
