//! Deliberate faults of the engine, to see that the checkers would notice. Only tests and
//! `simulate --canary` switch one on; the line's own code knows nothing of them, they are made at
//! its seams.

/// One fault at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Canary {
    #[default]
    None,
    /// Now and then an order leaves under the client id of the one before.
    CidReused,
    /// Checksums of books are not asked for.
    ChecksumIgnored,
    /// An order without an answer is sent again under a new client id.
    ResentOnTimeout,
    /// `send` does not read the latch.
    LatchIgnored,
    /// A kill is forgotten at a restart.
    LatchNotPersisted,
    /// Orders leave without their write-ahead record.
    RecordSkipped,
    /// Private events are lost on the way behind the front.
    ControlLost,
    /// Entries leave however old their cause is.
    AgeIgnored,
    /// Books may be as old as they like.
    StaleIgnored,
    /// The account counts as known before it was read.
    ReconcileSkipped,
    /// Fills are counted twice.
    FillTwice,
    /// A restart begins with nonces of its own clock.
    NonceForgotten,
    /// Limits are a hundred times what they should be.
    LimitIgnored,
    /// A kill does not cancel.
    KillWithoutCancel,
    /// The limit on the day's loss is only counted.
    LossIgnored,
    /// A restart forgets the day's loss and what has tripped.
    TripForgotten,
    /// Stops are never made or resized at the venue, and nobody looks whether a position has one.
    StopsLost,
    /// Nobody reads `Retry-After`.
    RetryAfterIgnored,
    /// The lost answer of an order by REST is taken for a call that never left.
    RestLossForgotten,
}

impl Canary {
    pub const ALL: [Canary; 19] = [
        Canary::CidReused,
        Canary::ChecksumIgnored,
        Canary::ResentOnTimeout,
        Canary::LatchIgnored,
        Canary::LatchNotPersisted,
        Canary::RecordSkipped,
        Canary::ControlLost,
        Canary::AgeIgnored,
        Canary::StaleIgnored,
        Canary::ReconcileSkipped,
        Canary::FillTwice,
        Canary::NonceForgotten,
        Canary::LimitIgnored,
        Canary::KillWithoutCancel,
        Canary::LossIgnored,
        Canary::TripForgotten,
        Canary::StopsLost,
        Canary::RetryAfterIgnored,
        Canary::RestLossForgotten,
    ];
    pub const fn name(self) -> &'static str {
        match self {
            Canary::None => "none",
            Canary::CidReused => "cid-reused",
            Canary::ChecksumIgnored => "checksum-ignored",
            Canary::ResentOnTimeout => "resent-on-timeout",
            Canary::LatchIgnored => "latch-ignored",
            Canary::LatchNotPersisted => "latch-not-persisted",
            Canary::RecordSkipped => "record-skipped",
            Canary::ControlLost => "control-lost",
            Canary::AgeIgnored => "age-ignored",
            Canary::StaleIgnored => "stale-ignored",
            Canary::ReconcileSkipped => "reconcile-skipped",
            Canary::FillTwice => "fill-twice",
            Canary::NonceForgotten => "nonce-forgotten",
            Canary::LimitIgnored => "limit-ignored",
            Canary::KillWithoutCancel => "kill-without-cancel",
            Canary::LossIgnored => "loss-ignored",
            Canary::TripForgotten => "trip-forgotten",
            Canary::StopsLost => "stops-lost",
            Canary::RetryAfterIgnored => "retry-after-ignored",
            Canary::RestLossForgotten => "rest-loss-forgotten",
        }
    }
    pub fn from_name(name: &str) -> Option<Canary> {
        Canary::ALL.into_iter().find(|canary| canary.name() == name)
    }
}
