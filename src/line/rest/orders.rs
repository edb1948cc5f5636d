//! Orders by REST while the private socket is down, without threads or transport: which call a
//! command becomes, how that call is treated, and what its end says of the order. The runtime makes
//! the calls on the REST thread, the world makes them in virtual time.
//!
//! What the end of a call says goes back through the front as what a socket would have said: an
//! acknowledgement, or a report that nothing left, or that its outcome is unknown.

use super::job::{KeyRole, Outcome, Priority, Reason, Repeat, rules_of};
use crate::base::time::SpanNs;
use crate::model::{
    Ack, AckOf, Action, Body, Command, Refusal, SYMBOL_FOREIGN, SendOutcome, SendReport,
};
use crate::venue::errors::{RestError, RestErrorKind};
use crate::venue::rest::{RestCall, RestSink, parse_reply};
use crate::venue::symbols::SymbolTable;

/// What could not start within this time is not made: by then the socket may be back, and whoever
/// wants it still will say so again.
pub const FRESH_FOR: SpanNs = SpanNs::from_s(3);
/// Calls asked for and not answered, at most; more wait in the ring.
pub const PENDING_MAX: usize = 16;

/// Why a call has no good answer, as far as an order cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Not taken, not writable, or nothing to sign it with.
    NotMade,
    /// Taken and given up; how its last try ended, if there was one.
    Dropped { last: Option<Outcome> },
    /// The venue's error.
    Venue(RestError),
    /// No whole answer. `maybe_sent`: the venue may have acted.
    NoAnswer { maybe_sent: bool },
    /// Whoever made it has ended. A call in flight may have acted.
    Stopped,
}
impl Failure {
    /// True where it is certain that the venue did nothing for this call.
    pub fn proves_nothing_happened(&self) -> bool {
        match self {
            Failure::NotMade => true,
            Failure::Dropped { last: None } => true,
            Failure::Dropped { last: Some(last) } => last.nothing_happened(),
            Failure::Venue(error) => error.proves_nothing_happened(),
            Failure::NoAnswer { maybe_sent } => !*maybe_sent,
            Failure::Stopped => false,
        }
    }
    /// The venue's code, or HTTP's, or `without` where nothing was answered.
    pub const fn code(&self, without: i32) -> i32 {
        match self {
            Failure::Venue(error) if error.code != 0 => error.code,
            Failure::Venue(error) => error.status as i32,
            _ => without,
        }
    }
}

/// The call of a command; `None` for what has no form by REST here.
pub fn call_of(command: &Command, gid: Option<u64>) -> Option<RestCall> {
    match command.action {
        Action::New(order) => Some(RestCall::Submit { symbol: command.symbol, order, gid }),
        Action::Cancel { id, cid, cid_day } => Some(RestCall::Cancel { id, cid, cid_day }),
        Action::CancelMulti { ids } => Some(RestCall::CancelMulti { ids }),
        Action::Amend { .. } | Action::Replace { .. } => None,
    }
}

/// Why the call is made.
pub const fn reason_of(call: &RestCall) -> Reason {
    match call {
        RestCall::Submit { .. } => Reason::Entry,
        _ => Reason::Cancel,
    }
}
/// How it is treated: what closes a position goes before reads, like a cancel, and is never made
/// twice.
pub const fn treated(call: &RestCall) -> (Priority, Option<KeyRole>, Repeat) {
    let (_, role, repeat) = rules_of(call, reason_of(call));
    (Priority::Cancel, role, repeat)
}

/// What is said of a command that left, or did not.
pub const fn report(command: &Command, outcome: SendOutcome) -> Body {
    let (of, symbol, cid) = (command.ack_of(), command.symbol, command.cid());
    Body::Report(SendReport { outcome, of, symbol, cid })
}

/// What a failure means for the order.
pub fn failed(command: &Command, failure: &Failure) -> Body {
    if !failure.proves_nothing_happened() {
        return report(command, SendOutcome::Broken);
    }
    let refusal = match failure {
        Failure::Venue(error) => match error.kind {
            RestErrorKind::Order(refusal) => Some(refusal),
            RestErrorKind::Permission => Some(Refusal::Permission),
            RestErrorKind::Parameters => Some(Refusal::Other),
            _ => None,
        },
        _ => None,
    };
    match (refusal, command.action) {
        (Some(refusal), Action::New(new)) => {
            let (of, id, cid) = (AckOf::New, Default::default(), new.cid);
            let symbol = command.symbol;
            Body::Ack(Ack { of, success: false, refusal, symbol, id, cid })
        }
        (Some(refusal), Action::Cancel { id, cid, .. }) => {
            let (of, symbol) = (AckOf::Cancel, command.symbol);
            Body::Ack(Ack { of, success: false, refusal, symbol, id, cid })
        }
        _ => report(command, SendOutcome::LinkDown),
    }
}

/// The words of one answer.
#[derive(Debug, Default)]
pub struct Told {
    /// In order.
    pub bodies: Vec<Body>,
    /// The answer came and could not be read.
    pub unreadable: Option<RestError>,
}
impl RestSink for Told {
    fn body(&mut self, body: Body) {
        self.bodies.push(body);
    }
}

/// What the end of the call of a command says of it.
pub fn told(
    command: &Command,
    call: &RestCall,
    answer: Result<(u16, &[u8]), Failure>,
    table: &SymbolTable,
) -> Told {
    let mut told = Told::default();
    let (status, body) = match answer {
        Ok(reply) => reply,
        Err(failure) => {
            told.bodies.push(failed(command, &failure));
            return told;
        }
    };
    match parse_reply(call, status, body, table, &mut told) {
        Ok(_) => {
            for body in &mut told.bodies {
                // The venue may leave out what the order was called.
                if let Body::Ack(ack) = body
                    && ack.cid.is_none()
                    && ack.id.is_none()
                {
                    ack.cid = command.cid();
                    if ack.symbol == SYMBOL_FOREIGN {
                        ack.symbol = command.symbol;
                    }
                }
            }
        }
        // An answer that cannot be read says nothing of what happened.
        Err(error) => {
            told.unreadable = Some(error);
            told.bodies = vec![report(command, SendOutcome::Broken)];
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::bounded::Text;
    use crate::base::ids::{Cid, OrderId, StrategyId, SymbolId};
    use crate::base::time::WallNs;
    use crate::base::units::{Px, Qty};
    use crate::model::{
        Class, NewOrder, OrderFlags, OrderKind, Reason as Why, Stamp, Trace, WalletKind,
    };

    fn command(action: Action) -> Command {
        Command {
            stamp: Stamp::default(),
            trace: Trace::default(),
            strategy: StrategyId(0),
            symbol: SymbolId(0),
            class: Class::Close,
            reason: Why::Killed,
            action,
        }
    }
    fn close() -> Command {
        command(Action::New(NewOrder {
            cid: Cid(8),
            cid_day: WallNs(0),
            kind: OrderKind::Ioc,
            wallet: WalletKind::Margin,
            qty: Qty::from_whole(-1),
            px: Px::from_whole(99),
            px_aux: Px::ZERO,
            flags: OrderFlags::REDUCE_ONLY,
            leverage: 0,
        }))
    }
    fn cancel() -> Command {
        command(Action::Cancel { id: OrderId(3), cid: Cid(7), cid_day: WallNs(0) })
    }
    fn venue(kind: RestErrorKind) -> Failure {
        Failure::Venue(RestError { kind, status: 500, code: 10_001, text: Text::EMPTY })
    }

    #[test]
    fn only_what_proves_that_nothing_happened_says_so() {
        let outcome = |body: Body| match body {
            Body::Report(report) => Some(report.outcome),
            _ => None,
        };
        let nothing = |last| Failure::Dropped { last };
        for (command, cid) in [(close(), 8), (cancel(), 7)] {
            for (failure, expected) in [
                (Failure::NoAnswer { maybe_sent: true }, SendOutcome::Broken),
                (Failure::Stopped, SendOutcome::Broken),
                (nothing(Some(Outcome::NoAnswer { sent: true })), SendOutcome::Broken),
                (nothing(Some(Outcome::Unavailable { retry_after: None })), SendOutcome::Broken),
                (venue(RestErrorKind::Unavailable), SendOutcome::Broken),
                (venue(RestErrorKind::Maintenance), SendOutcome::Broken),
                (venue(RestErrorKind::Unreadable), SendOutcome::Broken),
                (Failure::NoAnswer { maybe_sent: false }, SendOutcome::LinkDown),
                (Failure::NotMade, SendOutcome::LinkDown),
                (nothing(None), SendOutcome::LinkDown),
                (nothing(Some(Outcome::NonceSmall)), SendOutcome::LinkDown),
                (venue(RestErrorKind::RateLimit), SendOutcome::LinkDown),
                (venue(RestErrorKind::Nonce), SendOutcome::LinkDown),
            ] {
                let body = failed(&command, &failure);
                let Body::Report(report) = body else { panic!("{failure:?}") };
                assert_eq!((report.outcome, report.cid), (expected, Cid(cid)), "{failure:?}");
            }
            let body = failed(&command, &venue(RestErrorKind::Order(Refusal::NotFound)));
            assert_eq!(outcome(body), None);
            let Body::Ack(ack) = body else { panic!("{body:?}") };
            assert!(!ack.success && ack.cid == Cid(cid) && ack.refusal == Refusal::NotFound);
        }
    }

    #[test]
    fn a_call_carries_the_client_id_and_the_group_of_its_command() {
        let table = crate::venue::symbols::tests::table_of(&["tBTCUSD"]);
        let text = |command: &Command| {
            let call = call_of(command, Some(7_301)).unwrap();
            let mut out = [0; 512];
            let len = call.write_body(&table, &mut out).unwrap();
            (call, String::from_utf8(out[..len].to_vec()).unwrap())
        };
        let (call, body) = text(&close());
        assert_eq!(call.endpoint(), "auth/w/order/submit");
        assert!(
            body.contains(r#""gid":7301,"cid":8,"#) && body.contains(r#""flags":1024"#),
            "{body}"
        );
        assert_eq!(treated(&call), (Priority::Cancel, Some(KeyRole::Trade), Repeat::Never));
        let (call, body) = text(&cancel());
        assert_eq!((call.endpoint(), body.as_str()), ("auth/w/order/cancel", r#"{"id":3}"#));
        let again = Repeat::IfNothingHappened;
        assert_eq!(treated(&call), (Priority::Cancel, Some(KeyRole::Trade), again));
        let amend = Action::Amend { id: OrderId(1), cid: Cid(1), px: Px::ZERO, qty: Qty::ZERO };
        assert!(call_of(&command(amend), None).is_none());
    }

    #[test]
    fn an_answer_is_told_as_the_socket_would_tell_it() {
        let table = crate::venue::symbols::tests::table_of(&["tBTCUSD"]);
        let call = call_of(&close(), None).unwrap();
        let refused = br#"[1,"on-req",null,null,null,null,"ERROR","Invalid price."]"#;
        let words = told(&close(), &call, Ok((200, refused)), &table);
        let Body::Ack(ack) = words.bodies[0] else { panic!("{words:?}") };
        assert_eq!((ack.success, ack.cid, ack.of), (false, Cid(8), AckOf::New));
        let words = told(&close(), &call, Ok((200, b"[1,")), &table);
        let Body::Report(report) = words.bodies[0] else { panic!("{words:?}") };
        assert_eq!((report.outcome, report.cid), (SendOutcome::Broken, Cid(8)));
        assert!(words.unreadable.is_some() && words.bodies.len() == 1);
    }
}
