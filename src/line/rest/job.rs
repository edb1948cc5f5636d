//! What is asked of the scheduler, and what it says.

use super::breaker::BreakerState;
use super::table::{Endpoint, Side};
use crate::base::retry::RetryAfter;
use crate::base::time::{MonoNs, SpanNs};
use crate::model::Refusal;
use crate::venue::errors::RestErrorKind;
use crate::venue::rest::RestCall;

/// Who goes first. The order is the rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Priority {
    /// Cancels, and everything that a kill sends.
    Cancel,
    /// What became of an order of unknown fate.
    LookUp,
    Entry,
    /// Wallets, positions, permissions, fees.
    Account,
    /// Pairs, sizes, maps, status, history for warm-up.
    Metadata,
}
impl Priority {
    pub const ALL: [Priority; 5] = [
        Priority::Cancel,
        Priority::LookUp,
        Priority::Entry,
        Priority::Account,
        Priority::Metadata,
    ];
    pub const COUNT: usize = Self::ALL.len();
    pub const fn index(self) -> usize {
        self as usize
    }
    pub const fn name(self) -> &'static str {
        match self {
            Priority::Cancel => "cancel",
            Priority::LookUp => "look-up",
            Priority::Entry => "entry",
            Priority::Account => "account",
            Priority::Metadata => "metadata",
        }
    }
}

/// Which key signs a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyRole {
    /// The private socket's; by REST, what writes orders while that socket is away.
    Trade,
    /// Reads alone.
    Rest,
    /// Kill, with a lane of its own.
    Kill,
}
impl KeyRole {
    pub const ALL: [KeyRole; 3] = [KeyRole::Trade, KeyRole::Rest, KeyRole::Kill];
    pub const fn index(self) -> usize {
        self as usize
    }
    pub const fn name(self) -> &'static str {
        match self {
            KeyRole::Trade => "trade",
            KeyRole::Rest => "rest",
            KeyRole::Kill => "kill",
        }
    }
}

/// What fails together: one breaker each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Upstream {
    Public,
    /// Private reads.
    Account,
    /// Order entry and cancels.
    Orders,
}
impl Upstream {
    pub const ALL: [Upstream; 3] = [Upstream::Public, Upstream::Account, Upstream::Orders];
    pub const fn index(self) -> usize {
        self as usize
    }
    pub const fn name(self) -> &'static str {
        match self {
            Upstream::Public => "public",
            Upstream::Account => "account",
            Upstream::Orders => "orders",
        }
    }
}

/// Whether a call may be made again when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Order entry: never, but once where the nonce was refused; nothing happened then.
    Never,
    /// Cancels: where it is certain that nothing happened.
    IfNothingHappened,
    /// Reads.
    Freely,
}

/// Why REST is used at all. Every use is counted by its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Pairs, sizes, maps.
    Registry,
    /// Candles for indicators, once at start.
    WarmUp,
    /// The account before the first order.
    Start,
    /// The account after a reconnect.
    Reconcile,
    /// An order of unknown fate.
    UnknownOrder,
    /// Account facts that the socket told, confirmed.
    Confirm,
    Permissions,
    Entry,
    Cancel,
    Kill,
    /// Is the venue up?
    PlatformStatus,
    /// A call that keeps a connection open.
    KeepWarm,
    /// A breaker asks whether its upstream is back.
    Probe,
    /// A person asked.
    Operator,
}
impl Reason {
    pub const ALL: [Reason; 14] = [
        Reason::Registry,
        Reason::WarmUp,
        Reason::Start,
        Reason::Reconcile,
        Reason::UnknownOrder,
        Reason::Confirm,
        Reason::Permissions,
        Reason::Entry,
        Reason::Cancel,
        Reason::Kill,
        Reason::PlatformStatus,
        Reason::KeepWarm,
        Reason::Probe,
        Reason::Operator,
    ];
    pub const COUNT: usize = Self::ALL.len();
    pub const fn index(self) -> usize {
        self as usize
    }
    pub const fn name(self) -> &'static str {
        match self {
            Reason::Registry => "registry",
            Reason::WarmUp => "warm-up",
            Reason::Start => "start",
            Reason::Reconcile => "reconcile",
            Reason::UnknownOrder => "unknown-order",
            Reason::Confirm => "confirm",
            Reason::Permissions => "permissions",
            Reason::Entry => "entry",
            Reason::Cancel => "cancel",
            Reason::Kill => "kill",
            Reason::PlatformStatus => "platform-status",
            Reason::KeepWarm => "keep-warm",
            Reason::Probe => "probe",
            Reason::Operator => "operator",
        }
    }
    /// Prices, books and trades come by websocket; these may read them by REST all the same. A kill
    /// must price its closes with the engine dead.
    pub const fn may_read_market(self) -> bool {
        matches!(self, Reason::WarmUp | Reason::Kill | Reason::Operator)
    }
}

/// A call that somebody wants made. `T` is the caller's: the scheduler only carries it.
#[derive(Clone, Copy, Debug)]
pub struct Request<T> {
    pub endpoint: Endpoint,
    pub priority: Priority,
    /// Key of a private call; `None` = public.
    pub role: Option<KeyRole>,
    pub repeat: Repeat,
    pub reason: Reason,
    /// It starts before this time or never.
    pub deadline: MonoNs,
    pub payload: T,
}

impl<T> Request<T> {
    pub const fn side(&self) -> Side {
        if self.role.is_some() { Side::Private } else { Side::Public }
    }
    pub const fn upstream(&self) -> Upstream {
        match (self.role, self.priority) {
            // It is kept for orders: where it fails, they would.
            (None, _) if matches!(self.reason, Reason::KeepWarm) => Upstream::Orders,
            (None, _) => Upstream::Public,
            (Some(_), Priority::Cancel | Priority::Entry) => Upstream::Orders,
            (Some(_), _) => Upstream::Account,
        }
    }
}

/// How a call of the venue is treated, given why it is made.
pub const fn rules_of(call: &RestCall, reason: Reason) -> (Priority, Option<KeyRole>, Repeat) {
    // The key that reads needs no right to write.
    let (key, writes) = match reason {
        Reason::Kill => (KeyRole::Kill, KeyRole::Kill),
        _ => (KeyRole::Rest, KeyRole::Trade),
    };
    match call {
        RestCall::Cancel { .. } | RestCall::CancelMulti { .. } | RestCall::CancelAll => {
            (Priority::Cancel, Some(writes), Repeat::IfNothingHappened)
        }
        // A kill closes positions with orders: they rank as cancels, and are never sent twice.
        RestCall::Submit { .. } => {
            let is_kill = matches!(reason, Reason::Kill);
            let priority = if is_kill { Priority::Cancel } else { Priority::Entry };
            (priority, Some(writes), Repeat::Never)
        }
        _ if matches!(reason, Reason::Kill) => {
            let key = if call.is_private() { Some(key) } else { None };
            (Priority::Cancel, key, Repeat::Freely)
        }
        _ if !call.is_private() => (Priority::Metadata, None, Repeat::Freely),
        RestCall::Orders | RestCall::OrdersHist { .. } | RestCall::TradesHist { .. } => {
            let is_look_up =
                matches!(reason, Reason::UnknownOrder | Reason::Reconcile | Reason::Start);
            let priority = if is_look_up { Priority::LookUp } else { Priority::Account };
            (priority, Some(key), Repeat::Freely)
        }
        _ => (Priority::Account, Some(key), Repeat::Freely),
    }
}

/// A job of the scheduler, until it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct JobId {
    pub(super) slot: u16,
    pub(super) generation: u32,
}

/// Why a request was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Too many of its priority wait.
    QueueFull,
    /// Order entry is blocked while its breaker is not closed.
    EntryBlocked,
    /// Market data, and the reason is none that may read it by REST.
    MarketData,
    /// Its deadline has passed already.
    Stale,
    /// The plane is stopping; cancels are taken all the same.
    Stopping,
}

/// How a call ended, as far as the scheduler cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The upstream answered: what was asked, or a refusal by its rules.
    Answered,
    /// Too many calls; nothing happened.
    RateLimited { retry_after: Option<RetryAfter> },
    /// The nonce was not larger than the last one; nothing happened.
    NonceSmall,
    /// 5xx, maintenance, or an answer that is none. What happened is not known.
    Unavailable { retry_after: Option<RetryAfter> },
    /// No whole answer. `sent` = the venue may have acted.
    NoAnswer { sent: bool },
}
impl Outcome {
    /// What the venue's error means here.
    pub const fn of_error(kind: RestErrorKind, retry_after: Option<RetryAfter>) -> Outcome {
        match kind {
            RestErrorKind::RateLimit => Outcome::RateLimited { retry_after },
            RestErrorKind::Nonce => Outcome::NonceSmall,
            RestErrorKind::Maintenance | RestErrorKind::Unavailable | RestErrorKind::Unreadable => {
                Outcome::Unavailable { retry_after }
            }
            // The venue's word for "something broke" is no answer where it also says when to come
            // back.
            RestErrorKind::Order(Refusal::Other) if retry_after.is_some() => {
                Outcome::Unavailable { retry_after }
            }
            RestErrorKind::Auth
            | RestErrorKind::Permission
            | RestErrorKind::Parameters
            | RestErrorKind::Order(_)
            | RestErrorKind::NotFound => Outcome::Answered,
        }
    }
    /// True where it is certain that the venue did nothing.
    pub const fn nothing_happened(self) -> bool {
        matches!(
            self,
            Outcome::RateLimited { .. } | Outcome::NonceSmall | Outcome::NoAnswer { sent: false }
        )
    }
}

/// What to do now.
#[derive(Clone, Copy, Debug)]
pub enum Action<T> {
    /// Make this call, then tell by `handle_end`.
    Start(Start<T>),
    /// This request will not be made.
    Drop(Dropped<T>),
    /// Nothing before this time, or before something is handed in where `None`.
    Wait(Option<MonoNs>),
}

#[derive(Clone, Copy, Debug)]
pub struct Start<T> {
    pub id: JobId,
    pub request: Request<T>,
    /// 1 for the first try.
    pub attempt: u32,
    /// Since the request was handed in, or since its last try ended.
    pub waited: SpanNs,
    /// Goes past a breaker or a block by the budget of cancels.
    pub by_probe_budget: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DropReason {
    /// It could not start in time.
    Stale,
    /// Order entry is blocked: its breaker opened.
    EntryBlocked,
    /// The plane stops.
    Stopping,
}
#[derive(Clone, Copy, Debug)]
pub struct Dropped<T> {
    pub id: JobId,
    pub request: Request<T>,
    pub why: DropReason,
    /// Tries made before.
    pub attempts: u32,
    /// How the last of them ended.
    pub last: Option<Outcome>,
}

/// What follows from the end of a call.
#[derive(Clone, Copy, Debug)]
pub enum Ended<T> {
    Done(Done<T>),
    /// It will be made again, not before this time.
    Again {
        at: MonoNs,
    },
    /// No such job is in flight.
    Unknown,
}
#[derive(Clone, Copy, Debug)]
pub struct Done<T> {
    pub request: Request<T>,
    pub outcome: Outcome,
    /// Tries made.
    pub attempts: u32,
    /// From the request to its end.
    pub total: SpanNs,
}

/// The state of an upstream changed. `Orders` away from `Closed` means cancel-only, back to
/// `Closed` means free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerEvent {
    pub upstream: Upstream,
    pub from: BreakerState,
    pub to: BreakerState,
    pub at: MonoNs,
}

/// What the cold side should hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestEvent {
    Breaker(BreakerEvent),
    /// The venue refused for the rate; so much is believed to be allowed from now on.
    Learned {
        endpoint: Endpoint,
        window_calls: u32,
        at: MonoNs,
    },
    /// No calls to this host but cancels by their budget until then.
    Blocked {
        side: Side,
        until: MonoNs,
    },
}
