//! The door: the last look at a command before its bytes leave, and the hash of all decisions.
//!
//! The gate trusts nobody: not that `risk` read the latch, not that the queue was short, not that
//! an order comes once. It can only forbid.

use crate::base::ids::{Cid, OrderId};
use crate::model::{Action, Class, Command, NewOrder, Rank, SendOutcome};

/// Bounds of the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateConfig {
    /// An entry older than this since its frame was received is refused, ns. Default 50 ms:
    /// overload must not turn into old orders. 0 = no bound (replay, where TSC means nothing).
    pub order_age_max_ns: u64,
}
impl Default for GateConfig {
    fn default() -> Self {
        Self { order_age_max_ns: 50_000_000 }
    }
}

/// Commands by what became of them at the door.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GateCounters {
    pub passed: u64,
    pub latch_forbids: u64,
    pub too_old: u64,
    /// A client id that was not above the last one: must stay 0.
    pub repeated: u64,
}

/// Decides whether a command may leave.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    config: GateConfig,
    cid_last: Cid,
    counters: GateCounters,
}

impl Gate {
    pub fn new(config: GateConfig) -> Self {
        Self { config, ..Self::default() }
    }
    /// `latch_rank` is read just before; `age_ns` is now minus `trace.recv`, 0 where unknown.
    /// After `Ok` the command's client id counts as used, whatever happens to its bytes.
    ///
    /// # Errors
    /// `LatchForbids`, `TooOld` or `Repeated`; no byte may leave then.
    #[inline]
    pub fn check(
        &mut self,
        command: &Command,
        latch_rank: u8,
        age_ns: u64,
    ) -> Result<(), SendOutcome> {
        if !Rank::from_u8(latch_rank).allows(command.class) {
            self.counters.latch_forbids += 1;
            return Err(SendOutcome::LatchForbids);
        }
        let age_max = self.config.order_age_max_ns;
        if command.class == Class::Entry && age_max != 0 && age_ns > age_max {
            self.counters.too_old += 1;
            return Err(SendOutcome::TooOld);
        }
        if let Action::New(new) | Action::Replace { new, .. } = &command.action {
            if new.cid <= self.cid_last {
                self.counters.repeated += 1;
                return Err(SendOutcome::Repeated);
            }
            self.cid_last = new.cid;
        }
        self.counters.passed += 1;
        Ok(())
    }
    /// The highest client id that passed.
    pub fn cid_last(&self) -> Cid {
        self.cid_last
    }
    pub fn counters(&self) -> &GateCounters {
        &self.counters
    }
}

/// Hash over all commands in order: order parameters and client ids. Stamps, traces and whatever
/// depends on scheduling stay out. Equal inputs give equal hashes on every layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecisionHash {
    state: u64,
    commands: u64,
}
impl Default for DecisionHash {
    fn default() -> Self {
        Self { state: 0xCBF2_9CE4_8422_2325, commands: 0 }
    }
}
impl DecisionHash {
    #[inline]
    fn word(&mut self, word: u64) {
        // FNV-1a over 64-bit words; the rotation lets high bits reach low ones.
        self.state = (self.state ^ word).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(23);
    }
    #[inline]
    fn order(&mut self, new: &NewOrder) {
        self.word(new.cid.0);
        self.word(new.cid_day.0 as u64);
        self.word(new.kind as u64 | (new.wallet as u64) << 8 | u64::from(new.leverage) << 16);
        self.word(new.qty.raw() as u64);
        self.word(new.px.raw() as u64);
        self.word(new.px_aux.raw() as u64);
        self.word(u64::from(new.flags.0));
    }
    /// Takes in one command.
    #[inline]
    pub fn update(&mut self, command: &Command) {
        self.commands += 1;
        self.word(u64::from(command.symbol.0) | (command.class as u64) << 16);
        match &command.action {
            Action::New(new) => {
                self.word(1);
                self.order(new);
            }
            Action::Amend { id, cid, px, qty } => {
                self.word(2);
                self.id(*id, *cid);
                self.word(px.raw() as u64);
                self.word(qty.raw() as u64);
            }
            Action::Cancel { id, cid, cid_day } => {
                self.word(3);
                self.id(*id, *cid);
                self.word(cid_day.0 as u64);
            }
            Action::Replace { id, cid, cid_day, new } => {
                self.word(4);
                self.id(*id, *cid);
                self.word(cid_day.0 as u64);
                self.order(new);
            }
            Action::CancelMulti { ids } => {
                self.word(5);
                for id in ids {
                    self.word(id.0);
                }
            }
        }
    }
    fn id(&mut self, id: OrderId, cid: Cid) {
        self.word(id.0);
        self.word(cid.0);
    }
    /// The hash so far.
    pub fn value(&self) -> u64 {
        self.state ^ self.commands.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
    /// Commands taken in.
    pub fn commands(&self) -> u64 {
        self.commands
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::{StrategyId, SymbolId};
    use crate::base::time::{MonoNs, Tsc, WallNs};
    use crate::base::units::{Px, Qty};
    use crate::model::{OrderFlags, OrderKind, Reason, Stamp, Trace, WalletKind};

    fn command(class: Class, action: Action) -> Command {
        Command {
            stamp: Stamp::default(),
            trace: Trace::default(),
            strategy: StrategyId(0),
            symbol: SymbolId(1),
            class,
            reason: Reason::Probe,
            action,
        }
    }
    fn new(cid: u64) -> Action {
        Action::New(NewOrder {
            cid: Cid(cid),
            cid_day: WallNs(0),
            kind: OrderKind::Limit,
            wallet: WalletKind::Margin,
            qty: Qty::from_whole(1),
            px: Px::from_whole(100),
            px_aux: Px::ZERO,
            flags: OrderFlags::NONE,
            leverage: 0,
        })
    }
    fn cancel(cid: u64) -> Action {
        Action::Cancel { id: OrderId(1), cid: Cid(cid), cid_day: WallNs(0) }
    }

    #[test]
    fn the_latch_forbids_by_class_and_never_a_cancel() {
        let mut gate = Gate::default();
        let passes = |gate: &mut Gate, class, rank: Rank, cid| {
            gate.check(&command(class, new(cid)), rank as u8, 0).is_ok()
        };
        assert!(passes(&mut gate, Class::Entry, Rank::Running, 1));
        assert!(!passes(&mut gate, Class::Entry, Rank::EntriesBlocked, 2));
        assert!(passes(&mut gate, Class::Close, Rank::ReduceOnly, 3));
        assert!(!passes(&mut gate, Class::Close, Rank::CancelOnly, 4));
        for rank in 0..=5 {
            assert!(gate.check(&command(Class::Cancel, cancel(1)), rank, u64::MAX).is_ok());
        }
        assert_eq!(gate.counters().latch_forbids, 2);
    }

    #[test]
    fn an_old_entry_stays_and_an_old_close_leaves() {
        let mut gate = Gate::new(GateConfig { order_age_max_ns: 100 });
        let entry = command(Class::Entry, new(1));
        assert_eq!(gate.check(&entry, 0, 101), Err(SendOutcome::TooOld));
        assert_eq!(gate.check(&entry, 0, 100), Ok(()));
        assert_eq!(gate.check(&command(Class::Close, new(2)), 0, 101), Ok(()));
    }

    #[test]
    fn no_client_id_passes_twice() {
        let mut gate = Gate::default();
        assert!(gate.check(&command(Class::Entry, new(5)), 0, 0).is_ok());
        for cid in [5, 4] {
            let again = command(Class::Entry, new(cid));
            assert_eq!(gate.check(&again, 0, 0), Err(SendOutcome::Repeated));
        }
        assert_eq!((gate.counters().passed, gate.counters().repeated), (1, 2));
        assert_eq!(gate.cid_last(), Cid(5));
    }

    #[test]
    fn the_hash_sees_parameters_and_order_but_no_stamp() {
        let hash = |commands: &[Command]| {
            let mut hash = DecisionHash::default();
            commands.iter().for_each(|c| hash.update(c));
            hash.value()
        };
        let (a, b) = (command(Class::Entry, new(1)), command(Class::Entry, new(2)));
        let mut later = a;
        later.stamp.recv = MonoNs(9);
        later.trace.recv = Tsc(9);
        assert_eq!(hash(&[a, b]), hash(&[later, b]));
        assert_ne!(hash(&[a, b]), hash(&[b, a]));
        assert_ne!(hash(&[a]), hash(&[command(Class::Close, new(1))]));
        assert_ne!(hash(&[a]), hash(&[a, a]));
        assert_ne!(hash(&[command(Class::Cancel, cancel(1))]), hash(&[a]));
    }
}
