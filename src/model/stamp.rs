//! When something entered the line, and how long each stage took to let it through.

use crate::base::time::{MonoNs, Tsc, WallNs};
use serde::{Deserialize, Serialize};

/// Given by the sequencer at delivery. Behind it, this is the only time there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Position in the sequenced input, from 1, without holes.
    pub seq: u64,
    /// Monotonic time of receipt. In runs on a recording or at a speed other than 1 it follows the
    /// market's clock.
    pub recv: MonoNs,
    /// Wall clock (or market clock) of receipt.
    pub wall: WallNs,
}

/// TSC at the stages an order passes. For latency only: no decision may read it, no hash covers it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// Just before the read call that returned the frame's first byte.
    pub recv: Tsc,
    /// The frame is complete in memory (decrypted); start of T1.
    pub framed: Tsc,
    /// The event is decoded and its book applied.
    pub decoded: Tsc,
    /// The strategy's intent left `signal`.
    pub signalled: Tsc,
    /// The command left `risk`.
    pub approved: Tsc,
}
