//! While the private socket is down: what may still be done by REST, and what must be known for it.
//!
//! Cancels may always go. A close needs to know what is held and what is open, and nobody tells:
//! the account is read by REST, round after round, for as long as there is something to do. Such a
//! round settles orders by the history (an order it shows as ended has ended); that an order is
//! still open it can only say of the moment of its reading, so those stay in doubt. Entries wait
//! for the socket.

use super::config::RestFallback;
use super::stage::RiskStage;
use crate::model::{Action, Class, Command, OrderKind};

impl RestFallback {
    pub const ALL: [RestFallback; 3] = [RestFallback::Off, RestFallback::Cancels, RestFallback::On];
    /// The word in the config.
    pub const fn name(self) -> &'static str {
        match self {
            RestFallback::Off => "off",
            RestFallback::Cancels => "cancels",
            RestFallback::On => "on",
        }
    }
    /// Whether the command may leave by REST while there is no socket. Each takes one way only:
    /// what goes there is never written to a socket afterwards. Of closes only those that end at
    /// once: what rests fills unheard, and a stop that was decided just before the stage heard of
    /// the fall waits for the socket like everything else.
    pub const fn carries(self, command: &Command) -> bool {
        match (command.class, command.action) {
            (Class::Cancel, _) => !matches!(self, RestFallback::Off),
            (Class::Close, Action::New(new)) => {
                let ends = matches!(new.kind, OrderKind::Ioc | OrderKind::Fok | OrderKind::Market);
                ends && matches!(self, RestFallback::On)
            }
            _ => false,
        }
    }
}

impl RiskStage {
    /// The socket was there and is gone, and cancels may go the other way.
    #[inline]
    pub(super) fn cancels_by_rest(&self) -> bool {
        !self.link_up && self.was_up && self.config.rest_fallback != RestFallback::Off
    }
    /// The same for closes: they also need a whole reading of the account since the socket fell.
    #[inline]
    pub(super) fn closes_by_rest(&self) -> bool {
        let is_on = self.config.rest_fallback == RestFallback::On;
        is_on && self.cancels_by_rest() && self.read_by_rest && self.positions.is_based()
    }
    /// Something is to be done without the socket: the account must be read.
    pub(super) fn needs_reading(&self) -> bool {
        let cancels =
            || self.ledger.listed().any(|(_, order)| order.is_alive() && order.cancel_wanted);
        let ends = self.killed && !self.halted || self.stopping || self.goals_active > 0;
        self.cancels_by_rest() && (ends || cancels())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Bench, new_of, qty, wide};
    use super::super::*;
    use super::RestFallback;
    use crate::base::ids::SymbolId;
    use crate::base::units::Qty;
    use crate::model::*;

    const S: SymbolId = SymbolId(0);

    fn bench(rest_fallback: RestFallback) -> Bench {
        Bench::with(RiskConfig { rest_fallback, ..wide() })
    }
    fn cancels(out: &[Command]) -> usize {
        out.iter().filter(|command| command.class == Class::Cancel).count()
    }
    /// A round by REST: which of these orders the history shows as ended.
    fn round(b: &mut Bench, ended: &[(NewOrder, OrderStatus, Qty)]) -> Vec<Command> {
        b.out.clear();
        let mark = |b: &mut Bench, of, end| {
            b.event(Body::Snapshot(SnapshotMark { of, end, count: 0 }));
        };
        for of in [SnapshotOf::RestTrades, SnapshotOf::RestHistory, SnapshotOf::RestOrders] {
            mark(b, of, false);
            if of == SnapshotOf::RestHistory {
                for (new, status, left) in ended {
                    b.venue(new, Source::RestHistory, *status, *left);
                }
            }
            mark(b, of, true);
        }
        b.link(LinkState::Reconciled);
        b.out.clone()
    }

    #[test]
    fn a_cancel_goes_without_the_socket_where_it_may() {
        for (fallback, sent) in
            [(RestFallback::Off, 0), (RestFallback::Cancels, 1), (RestFallback::On, 1)]
        {
            let mut b = bench(fallback);
            let out = b.once("1", "99");
            b.works(&out[0]);
            b.link(LinkState::Down);
            assert!(b.once("1", "99").is_empty(), "an entry never");
            assert!(!b.stage.wants_reconcile());
            let out = b.operator(OperatorVerb::CancelAll);
            assert_eq!(cancels(&out), sent, "{fallback:?}");
            assert_eq!(b.stage.wants_reconcile(), sent > 0, "what became of it is read");
        }
    }

    #[test]
    fn what_may_go_is_asked_by_its_class_and_its_form() {
        let mut b = bench(RestFallback::On);
        let out = b.once("1", "99");
        let entry = out[0];
        b.works(&entry);
        let cancel = b.operator(OperatorVerb::CancelAll)[0];
        let Action::New(new) = entry.action else { panic!("{entry:?}") };
        let close = |kind| {
            let action = Action::New(NewOrder { kind, ..new });
            Command { class: Class::Close, action, ..entry }
        };
        let id = crate::base::ids::OrderId(1);
        let (stop, close) = (close(OrderKind::Stop), close(OrderKind::Ioc));
        let amend = Action::Amend { id, cid: new.cid, px: new.px, qty: new.qty };
        let amend = Command { action: amend, ..close };
        for (fallback, may) in [
            (RestFallback::Off, [false; 5]),
            (RestFallback::Cancels, [true, false, false, false, false]),
            (RestFallback::On, [true, true, false, false, false]),
        ] {
            let got = [cancel, close, stop, amend, entry].map(|it| fallback.carries(&it));
            assert_eq!(got, may, "{fallback:?}");
        }
        assert_eq!(RestFallback::ALL.map(RestFallback::name), ["off", "cancels", "on"]);
    }

    #[test]
    fn before_the_first_login_nothing_goes() {
        let mut b = Bench::cold(RiskConfig { rest_fallback: RestFallback::On, ..wide() });
        b.mark("99", "101");
        assert!(b.operator(OperatorVerb::Kill).is_empty());
        assert!(!b.stage.wants_reconcile());
    }

    #[test]
    fn the_account_is_read_for_as_long_as_something_is_at_work() {
        for (verb, held) in [
            (OperatorVerb::Pause, true),
            (OperatorVerb::Flatten, true),
            (OperatorVerb::Stop, false),
            (OperatorVerb::Kill, false),
        ] {
            let mut b = bench(RestFallback::On);
            if held {
                let out = b.once("1", "100");
                b.fills(&out[0], "100");
            }
            b.link(LinkState::Down);
            assert!(!b.stage.wants_reconcile());
            b.operator(verb);
            assert_eq!(b.stage.wants_reconcile(), verb != OperatorVerb::Pause, "{verb:?}");
            if verb == OperatorVerb::Kill {
                round(&mut b, &[]);
                assert_eq!(b.stage.rank(), Rank::Halted);
                assert!(!b.stage.wants_reconcile(), "it is done");
            }
        }
    }

    #[test]
    fn a_reading_that_is_not_whole_lets_no_close_go() {
        let mut b = bench(RestFallback::On);
        let out = b.once("1", "100");
        b.fills(&out[0], "100");
        b.link(LinkState::Down);
        b.operator(OperatorVerb::Kill);
        b.mark("99", "101");
        b.out.clear();
        b.snapshot(SnapshotOf::RestOrders);
        b.snapshot(SnapshotOf::RestTrades);
        b.link(LinkState::Reconciled);
        assert!(b.out.is_empty() && b.pass(2_000).is_empty(), "without the history");
        b.mark("99", "101");
        assert_eq!(round(&mut b, &[]).len(), 1);
    }

    #[test]
    fn a_kill_cancels_and_closes_by_rest_once_the_account_is_read() {
        for fallback in [RestFallback::Cancels, RestFallback::On] {
            let mut b = bench(fallback);
            let out = b.once("1", "100");
            b.fills(&out[0], "100");
            let out = b.once("1", "99");
            let rests = b.works(&out[0]);
            b.link(LinkState::Down);
            let out = b.operator(OperatorVerb::Kill);
            assert_eq!((out.len(), cancels(&out)), (1, 1), "{fallback:?}: {out:?}");
            assert!(b.stage.wants_reconcile(), "{fallback:?}");
            b.mark("99", "101");
            let out = round(&mut b, &[(rests, OrderStatus::Canceled, qty("1"))]);
            let may = fallback == RestFallback::On;
            assert_eq!(out.len(), usize::from(may), "{fallback:?}: {out:?}");
            if !may {
                continue;
            }
            let close = new_of(&out[0]);
            assert_eq!((close.kind, close.qty), (OrderKind::Ioc, qty("-1")));
            assert!(close.flags.has(OrderFlags::REDUCE_ONLY));
            // Its answer by REST, then what became of it: its trade and the history.
            let (of, refusal, cid) = (AckOf::New, Refusal::None, close.cid);
            let id = crate::base::ids::OrderId(900);
            b.event(Body::Ack(Ack { of, success: true, refusal, symbol: S, id, cid }));
            assert!(b.stage.wants_reconcile());
            b.trades(&close, qty("-1"), "99");
            round(&mut b, &[(close, OrderStatus::Executed, Qty::ZERO)]);
            assert_eq!(b.stage.positions().qty(S), Qty::ZERO);
            assert_eq!(b.stage.rank(), Rank::Halted, "done without the socket");
            assert!(b.pass(60_000).is_empty());
        }
    }

    #[test]
    fn an_order_of_unknown_outcome_holds_up_the_close_and_is_not_sent_again() {
        let mut b = bench(RestFallback::On);
        let out = b.once("1", "100");
        b.fills(&out[0], "100");
        b.link(LinkState::Down);
        b.operator(OperatorVerb::Kill);
        b.mark("99", "101");
        let out = round(&mut b, &[]);
        let close = new_of(&out[0]);
        let (outcome, of, cid) = (SendOutcome::Broken, AckOf::New, close.cid);
        b.event(Body::Report(SendReport { outcome, of, symbol: S, cid }));
        for _ in 0..10 {
            let mut out = b.pass(1_000);
            b.mark("99", "101");
            out.extend(round(&mut b, &[]));
            let news = out.iter().filter(|c| matches!(c.action, Action::New(_))).count();
            assert_eq!(news, 0, "{out:?}");
        }
        // The history tells: it was executed.
        b.trades(&close, qty("-1"), "99");
        round(&mut b, &[(close, OrderStatus::Executed, Qty::ZERO)]);
        assert_eq!(b.stage.rank(), Rank::Halted);
    }
}
