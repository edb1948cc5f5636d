//! What may go wrong, and how often. Every seed draws its own mixture (swarm): half of the faults
//! are off, the others have rates over three orders of magnitude, so that rare pairs happen too.

use crate::base::rng::Rng;
use serde::{Deserialize, Serialize};

/// Faults of one kind, for counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    Spike,
    Split,
    Disconnect,
    HalfOpen,
    DialRefused,
    PublicGap,
    PublicTwice,
    PublicCorrupt,
    BadChecksum,
    StaleSnapshot,
    PrivateGap,
    PrivateLost,
    PrivateLate,
    PrivateSwapped,
    PrivateTwice,
    Reject,
    BrokenWrite,
    Rest500,
    Rest500Seconds,
    Rest500Date,
    Rest503,
    Rest503Seconds,
    Rest503Date,
    Rest429,
    Rest429Seconds,
    Rest429Date,
    RestStorm,
    RestUnreached,
    RestLost,
    RestSlow,
    NonceRefused,
    Maintenance,
    VenueRestart,
    Foreign,
    Crash,
    CrashAtSend,
    TornRecord,
    DiskFull,
    ClockBack,
    ClockForward,
    Midnight,
    StuckSignal,
    StuckSend,
    Operator,
    AnswerLost,
    AnswerLate,
    WalletLate,
    FlippedByte,
    CancelOnly,
    // Rare pairs and consequences.
    FillBeforeAck,
    FillAfterCancelAck,
    EndBeforeAck,
    PartialFill,
    OrderUnknown,
    OrderAbsent,
    ReconnectDuringKill,
    CrashDuringKill,
    CrashWithOrders,
    MidnightWithOrders,
    Conflated,
    TooOld,
    LatchForbade,
    Adopted,
    OperatorAtTheDoor,
    CloseOnStaleBook,
    KillInCancelOnly,
    KillInDoubt,
    LossLimitPassed,
    MidnightWithBreach,
    CrashWithBreach,
    CrashWhilePaused,
    ReduceOnlyRefused,
    RestartClockBack,
    RestartClockForward,
    RestRepeated,
    RestDropped,
    BreakerOpened,
    EntryBreakerOpen,
    LimitLearned,
    NonceSteppedPast,
    CrashUnanswered,
    CrashInReconcile,
    CrashInDoubt,
    Protected,
    // Orders by REST.
    AccountGone,
    CancelByRest,
    CloseByRest,
    RestOrderLost,
    RestOrderBroken,
    RestOrderSettled,
    CrashWithRestOrder,
}

/// Names in the order of `Kind`.
pub const NAMES: [&str; 91] = [
    "delay spike",
    "split segment",
    "disconnect",
    "half-open socket",
    "connection refused",
    "public sequence gap",
    "public message twice",
    "book message corrupted",
    "bad checksum",
    "stale snapshot",
    "private sequence gap",
    "private message lost",
    "private message late",
    "private messages swapped",
    "private message twice",
    "order rejected",
    "write broken half-way",
    "REST 500",
    "REST 500, Retry-After in seconds",
    "REST 500, Retry-After as a date",
    "REST 503",
    "REST 503, Retry-After in seconds",
    "REST 503, Retry-After as a date",
    "REST 429",
    "REST 429, Retry-After in seconds",
    "REST 429, Retry-After as a date",
    "REST refuses everything for a while",
    "REST cannot be reached",
    "REST answer lost",
    "REST answer slow",
    "nonce refused",
    "maintenance",
    "venue restart",
    "foreign order",
    "crash",
    "crash between write-ahead and send",
    "torn record",
    "disk full",
    "clock step back",
    "clock step forward",
    "UTC midnight",
    "stuck signal stage, ring full",
    "stuck send stage",
    "operator command",
    "answer to a request lost",
    "answer to a request late",
    "wallet message late",
    "flipped journal byte",
    "cancel-only",
    "fill before acknowledgement",
    "fill after cancel acknowledgement",
    "end before acknowledgement",
    "partial fill",
    "order in doubt",
    "order given up as absent",
    "reconnect during kill",
    "crash during kill",
    "crash with orders open",
    "midnight with orders open",
    "views conflated",
    "entry too old at the door",
    "latch forbade at the door",
    "order of an earlier run adopted",
    "operator between decision and door",
    "close wanted on a stale book",
    "kill in cancel-only",
    "kill with an order in doubt",
    "loss limit passed",
    "midnight with a breached limit",
    "crash with a breached limit",
    "crash while killed or paused",
    "close refused as too large",
    "clock back at a restart",
    "clock forward at a restart",
    "REST call made again",
    "REST call dropped, too old to start",
    "REST breaker opened",
    "cancel-only: the breaker of order entry open",
    "lower REST limit learned",
    "nonce stepped past another program's",
    "crash with an order unanswered",
    "crash in a reconcile",
    "crash with an order in doubt",
    "position asked for its stop",
    "account's socket gone, REST and market data there",
    "cancel asked for by REST",
    "close asked for by REST",
    "order or cancel by REST without a proof of its fate",
    "order by REST done, and answered with 5xx",
    "order in doubt by REST settled by a read",
    "crash with an order under way by REST",
];

/// How often each kind happened.
#[derive(Clone, Debug)]
pub struct Coverage(pub [u64; NAMES.len()]);
impl Default for Coverage {
    fn default() -> Self {
        Coverage([0; NAMES.len()])
    }
}
impl Coverage {
    pub fn hit(&mut self, kind: Kind) {
        self.0[kind as usize] += 1;
    }
    pub fn set(&mut self, kind: Kind, count: u64) {
        self.0[kind as usize] = count;
    }
    pub fn add(&mut self, other: &Coverage) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, one)| *sum += one);
    }
    pub fn count(&self, kind: Kind) -> u64 {
        self.0[kind as usize]
    }
    /// Sends whose outcome was not known for a while: doubted by the engine, written half-way, or
    /// left behind by a crash.
    pub fn ambiguous_sends(&self) -> u64 {
        [Kind::OrderUnknown, Kind::CrashAtSend, Kind::CrashUnanswered]
            .iter()
            .map(|kind| self.count(*kind))
            .sum()
    }
    /// Crashes by where they hit, as far as that matters: names and counts.
    pub fn crash_points(&self) -> [(&'static str, u64); 9] {
        [
            Kind::Crash,
            Kind::CrashAtSend,
            Kind::CrashUnanswered,
            Kind::CrashInDoubt,
            Kind::CrashInReconcile,
            Kind::CrashWithOrders,
            Kind::CrashDuringKill,
            Kind::CrashWithBreach,
            Kind::CrashWhilePaused,
        ]
        .map(|kind| (NAMES[kind as usize], self.count(kind)))
    }
    /// UTC midnights, those with orders open, and those with a breached limit.
    pub fn midnights(&self) -> [u64; 3] {
        [Kind::Midnight, Kind::MidnightWithOrders, Kind::MidnightWithBreach]
            .map(|kind| self.count(kind))
    }
    /// Kinds that never happened.
    pub fn missing(&self) -> impl Iterator<Item = &'static str> + '_ {
        NAMES.iter().zip(self.0).filter(|(_, count)| *count == 0).map(|(name, _)| *name)
    }
}

/// Rates. `_s` = mean seconds between two, 0 = never; `_ppm` = chances in a million messages or
/// calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// One-way delay of the network, microseconds.
    pub delay_us: u32,
    /// Added to it at random, microseconds.
    pub jitter_us: u32,
    pub spike_s: u32,
    pub split_ppm: u32,
    pub disconnect_s: u32,
    pub half_open_s: u32,
    pub dial_refused_ppm: u32,
    pub public_gap_ppm: u32,
    pub public_twice_ppm: u32,
    pub public_corrupt_ppm: u32,
    pub bad_checksum_ppm: u32,
    pub stale_snapshot_ppm: u32,
    pub private_gap_ppm: u32,
    pub private_lost_ppm: u32,
    pub private_late_ppm: u32,
    /// Longest delay of a late private message, ms.
    pub private_late_max_ms: u32,
    pub private_swap_ppm: u32,
    pub private_twice_ppm: u32,
    pub reject_ppm: u32,
    pub broken_write_ppm: u32,
    pub rest_error_ppm: u32,
    pub rest_rate_limit_ppm: u32,
    /// Whiles in which every REST call is refused.
    pub rest_storm_s: u32,
    pub rest_lost_ppm: u32,
    pub rest_slow_ppm: u32,
    pub nonce_refused_ppm: u32,
    pub maintenance_s: u32,
    pub venue_restart_s: u32,
    pub foreign_s: u32,
    pub crash_s: u32,
    pub crash_at_send_ppm: u32,
    /// Of crashes, those that tear the last record.
    pub torn_ppm: u32,
    pub disk_full_s: u32,
    pub clock_step_s: u32,
    /// The run begins this long before UTC midnight, s; 0 = in the morning.
    pub midnight_in_s: u32,
    pub stuck_signal_s: u32,
    pub stuck_send_s: u32,
    pub operator_s: u32,
    /// Of commands about to leave, those that an operator's word overtakes.
    pub operator_at_door_ppm: u32,
    /// Wallet messages that lag, by up to 30 s.
    pub wallet_late_ppm: u32,
    /// Of crashes, those that flip bits on the disk.
    pub flip_ppm: u32,
    pub cancel_only_s: u32,
    /// The daily loss limit, whole quote; 0 = far away.
    pub loss_limit: u32,
    /// Whiles in which the account's socket cannot be had, and all else goes on.
    pub account_gone_s: u32,
}

impl Faults {
    /// A good network and nothing else.
    pub fn none() -> Faults {
        Faults { delay_us: 2_000, jitter_us: 500, ..Faults::default() }
    }
    /// A bad network alone.
    pub fn lite() -> Faults {
        Faults {
            delay_us: 10_000,
            jitter_us: 20_000,
            spike_s: 120,
            split_ppm: 20_000,
            disconnect_s: 300,
            half_open_s: 1_200,
            ..Faults::default()
        }
    }
    /// The mixture of one seed.
    pub fn swarm(seed: u64) -> Faults {
        let mut rng = Rng::new(seed ^ 0x5EED_FA17_0000_0001);
        // Log-uniform over [low, high], or off.
        let mut draw = |low: u32, high: u32| {
            if rng.chance(1, 2) {
                return 0;
            }
            let (low, high) = (f64::from(low).ln(), f64::from(high).ln());
            (low + (high - low) * rng.unit_f64()).exp() as u32
        };
        Faults {
            spike_s: draw(20, 600),
            split_ppm: draw(1_000, 300_000),
            disconnect_s: draw(30, 1_800),
            half_open_s: draw(200, 3_600),
            dial_refused_ppm: draw(20_000, 600_000),
            public_gap_ppm: draw(5, 1_000),
            public_twice_ppm: draw(5, 1_000),
            public_corrupt_ppm: draw(5, 2_000),
            bad_checksum_ppm: draw(100, 50_000),
            stale_snapshot_ppm: draw(10_000, 500_000),
            private_gap_ppm: draw(100, 20_000),
            private_lost_ppm: draw(100, 50_000),
            private_late_ppm: draw(500, 100_000),
            private_late_max_ms: 10 * draw(10, 12_000).max(10),
            private_swap_ppm: draw(1_000, 300_000),
            private_twice_ppm: draw(1_000, 100_000),
            reject_ppm: draw(1_000, 200_000),
            broken_write_ppm: draw(500, 50_000),
            rest_error_ppm: draw(5_000, 300_000),
            rest_rate_limit_ppm: draw(500, 30_000),
            rest_lost_ppm: draw(10_000, 300_000),
            rest_slow_ppm: draw(10_000, 500_000),
            nonce_refused_ppm: draw(10_000, 400_000),
            maintenance_s: draw(600, 7_200),
            venue_restart_s: draw(300, 7_200),
            foreign_s: draw(120, 3_600),
            crash_s: draw(120, 3_600),
            crash_at_send_ppm: draw(100, 10_000),
            torn_ppm: draw(100_000, 1_000_000),
            disk_full_s: draw(300, 7_200),
            clock_step_s: draw(120, 7_200),
            midnight_in_s: draw(60, 3_000),
            stuck_signal_s: draw(30, 1_800),
            stuck_send_s: draw(30, 1_800),
            operator_s: draw(60, 3_600),
            delay_us: draw(100, 60_000).max(500),
            jitter_us: draw(100, 200_000),
            operator_at_door_ppm: draw(500, 20_000),
            wallet_late_ppm: draw(5_000, 300_000),
            flip_ppm: draw(100_000, 1_000_000),
            cancel_only_s: draw(200, 3_600),
            loss_limit: draw(3, 60),
            rest_storm_s: draw(200, 3_600),
            account_gone_s: draw(60, 600),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_name_and_a_seed_always_draws_the_same() {
        assert_eq!(Kind::CrashWithRestOrder as usize + 1, NAMES.len());
        assert_eq!(Faults::swarm(7), Faults::swarm(7));
        assert_ne!(Faults::swarm(7), Faults::swarm(8));
        let mut coverage = Coverage::default();
        assert_eq!(coverage.missing().count(), NAMES.len());
        coverage.hit(Kind::Crash);
        assert!(!coverage.missing().any(|name| name == "crash"));
    }
}
