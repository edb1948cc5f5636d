//! What all markets have in common: quiet, normal and busy times, and moves of all prices at once.

use super::draw::{WAIT_E3, scale};
use super::profile::MOVE_E2;
use crate::base::rng::Rng;

/// How much goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The first minute, so that there is something to see: busy, and with many moves.
    Opening,
    Quiet,
    Normal,
    Burst,
}

/// Moves of all prices at once, an hour of normal times.
const MOVES_PER_HOUR: i64 = 300;
const HOUR_NS: i64 = 3_600_000_000_000;

impl Phase {
    /// Changes, orders and trades, 1e-3 of normal.
    pub const fn activity_e3(self) -> i64 {
        match self {
            Phase::Quiet => 580,
            Phase::Normal => 1_000,
            Phase::Opening | Phase::Burst => 2_000,
        }
    }
    /// Number of price moves, 1e-3 of normal.
    pub const fn moves_e3(self) -> i64 {
        match self {
            Phase::Opening => 5_000,
            Phase::Quiet => 450,
            Phase::Normal => 1_000,
            Phase::Burst => 2_600,
        }
    }
    /// How long it lasts on average.
    const fn mean_ns(self) -> i64 {
        1_000_000_000
            * match self {
                Phase::Opening => 60,
                Phase::Quiet => 300,
                Phase::Normal => 500,
                Phase::Burst => 100,
            }
    }
    fn next(self, rng: &mut Rng) -> Phase {
        let first = rng.chance(1, 2);
        match self {
            Phase::Opening => Phase::Normal,
            Phase::Normal if first => Phase::Quiet,
            Phase::Normal => Phase::Burst,
            Phase::Quiet if first || rng.chance(7, 10) => Phase::Normal,
            Phase::Quiet => Phase::Burst,
            Phase::Burst if first || rng.chance(8, 10) => Phase::Normal,
            Phase::Burst => Phase::Quiet,
        }
    }
}

/// Prices move in runs: the chance that a move has the sign of the one before, 1e-3.
const RUN_E3: u64 = 560;

/// Moves of one price, or of all.
#[derive(Clone, Copy, Debug)]
pub struct Moves {
    next_ns: i64,
    sign: i64,
}

impl Moves {
    pub const fn starting_at(now_ns: i64) -> Moves {
        Moves { next_ns: now_ns, sign: 1 }
    }
    /// Sum of the moves up to `now_ns`, 1e-2 basis points.
    pub fn sum_until(&mut self, now_ns: i64, per_hour: i64, phase: Phase, rng: &mut Rng) -> i64 {
        let mut sum = 0;
        while self.next_ns <= now_ns {
            let mean_ns = HOUR_NS * 1_000 / (per_hour * phase.moves_e3()).max(1);
            self.next_ns += scale(mean_ns, WAIT_E3.draw(rng), 1_000).max(1_000_000);
            if !rng.chance(RUN_E3, 1_000) {
                self.sign = -self.sign;
            }
            sum += self.sign * MOVE_E2.draw(rng);
        }
        sum
    }
}

/// The weather over all markets; its clock is the markets' own.
#[derive(Debug)]
pub struct Weather {
    rng: Rng,
    phase: Phase,
    phase_until_ns: i64,
    moves: Moves,
    /// Sum of all common moves so far, 1e-2 basis points.
    index_e2: i64,
}

impl Weather {
    pub fn new(seed: u64) -> Weather {
        Weather {
            rng: Rng::new(seed ^ 0x5745_4154_4845_5221),
            phase: Phase::Opening,
            phase_until_ns: Phase::Opening.mean_ns(),
            moves: Moves::starting_at(0),
            index_e2: 0,
        }
    }
    pub fn phase(&self) -> Phase {
        self.phase
    }
    pub fn index_e2(&self) -> i64 {
        self.index_e2
    }
    pub fn advance(&mut self, now_ns: i64) {
        while self.phase_until_ns <= now_ns {
            self.phase = self.phase.next(&mut self.rng);
            let mean_ns = self.phase.mean_ns();
            let for_ns = scale(mean_ns, 200 + WAIT_E3.draw(&mut self.rng) * 8 / 10, 1_000);
            self.phase_until_ns += for_ns;
        }
        self.index_e2 += self.moves.sum_until(now_ns, MOVES_PER_HOUR, self.phase, &mut self.rng);
    }
}
