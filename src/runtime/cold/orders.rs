//! Orders by REST while the private socket is down. Commands come from `send`, which has asked the
//! gate and made the write-ahead record; each becomes one call of the plane, under the client id it
//! has. What the call says goes back through the front as what a socket would have said: an
//! acknowledgement, or a report that nothing left, or that its outcome is unknown.

use crate::line::rest::{Priority, Reason};
use crate::model::{
    Ack, AckOf, Action, Body, Command, Refusal, SYMBOL_FOREIGN, SendOutcome, SendReport,
};
use crate::ring::Rx;
use crate::runtime::plane::{PlaneCall, PlaneError, PlaneReply, RestPlane};
use crate::venue::errors::RestErrorKind;
use crate::venue::rest::{RestCall, RestSink, parse_reply};
use crate::venue::symbols::SymbolTable;
use crossbeam_channel::{Receiver, TryRecvError};
use std::time::Duration;

/// What could not start within this time is not made: by then the socket may be back, and whoever
/// wants it still will say so again.
const FRESH_FOR: Duration = Duration::from_secs(3);
/// Calls asked for and not answered, at most; more wait in the ring.
const PENDING_MAX: usize = 16;

struct Pending {
    command: Command,
    call: RestCall,
    answer: Receiver<Result<PlaneReply, PlaneError>>,
}

/// The other way out, polled by the REST thread.
pub struct RestOrders {
    commands: Rx<Command>,
    gid: Option<u64>,
    pending: Vec<Pending>,
}

#[derive(Default)]
struct Told(Vec<Body>);
impl RestSink for Told {
    fn body(&mut self, body: Body) {
        self.0.push(body);
    }
}

/// The call of a command; `None` for what has no form by REST here.
fn call_of(command: &Command, gid: Option<u64>) -> Option<RestCall> {
    match command.action {
        Action::New(order) => Some(RestCall::Submit { symbol: command.symbol, order, gid }),
        Action::Cancel { id, cid, cid_day } => Some(RestCall::Cancel { id, cid, cid_day }),
        Action::CancelMulti { ids } => Some(RestCall::CancelMulti { ids }),
        Action::Amend { .. } | Action::Replace { .. } => None,
    }
}

fn report(command: &Command, outcome: SendOutcome) -> Body {
    let (of, symbol, cid) = (command.ack_of(), command.symbol, command.cid());
    Body::Report(SendReport { outcome, of, symbol, cid })
}

/// What an error means for the order.
fn failure(command: &Command, error: &PlaneError) -> Body {
    if !error.proves_nothing_happened() {
        return report(command, SendOutcome::Broken);
    }
    let refusal = match error {
        PlaneError::Venue(error) => match error.kind {
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

impl RestOrders {
    pub fn new(commands: Rx<Command>, gid: Option<u64>) -> Self {
        Self { commands, gid, pending: Vec::with_capacity(PENDING_MAX) }
    }
    /// Asks for what has come, and says what was answered.
    pub fn round(&mut self, plane: &RestPlane, table: &SymbolTable, mut tell: impl FnMut(Body)) {
        while self.pending.len() < PENDING_MAX
            && let Some(command) = self.commands.pop()
        {
            if let Some(pending) = self.ask(&command, plane, table, &mut tell) {
                self.pending.push(pending);
            }
        }
        let mut place = 0;
        while let Some(one) = self.pending.get(place) {
            let answer = match one.answer.try_recv() {
                Err(TryRecvError::Empty) => {
                    place += 1;
                    continue;
                }
                Err(TryRecvError::Disconnected) => Err(PlaneError::Stopped),
                Ok(answer) => answer,
            };
            let one = self.pending.swap_remove(place);
            told_by(&one, answer, table).into_iter().for_each(&mut tell);
        }
    }
    /// Asks for the call of a command; `None` where there is none, and why is told.
    fn ask(
        &self,
        command: &Command,
        plane: &RestPlane,
        table: &SymbolTable,
        tell: &mut impl FnMut(Body),
    ) -> Option<Pending> {
        let call = call_of(command, self.gid);
        let reason = match call {
            Some(RestCall::Submit { .. }) => Reason::Entry,
            _ => Reason::Cancel,
        };
        let asked = call.and_then(|call| PlaneCall::of(&call, reason, table, FRESH_FOR).ok());
        let (Some(call), Some(mut asked)) = (call, asked) else {
            tell(report(command, SendOutcome::LinkDown));
            return None;
        };
        // What closes a position goes before reads, like a cancel.
        asked.priority = Priority::Cancel;
        match plane.ask(asked) {
            Ok(answer) => {
                log::warn!("by REST: {} {}", call.endpoint(), command.cid().0);
                Some(Pending { command: *command, call, answer })
            }
            Err(error) => {
                log::warn!("by REST: {} {}: {error}", call.endpoint(), command.cid().0);
                tell(failure(command, &error));
                None
            }
        }
    }
}

/// The words of an answer.
fn told_by(
    one: &Pending,
    answer: Result<PlaneReply, PlaneError>,
    table: &SymbolTable,
) -> Vec<Body> {
    let (command, call) = (&one.command, &one.call);
    let reply = match answer {
        Ok(reply) => reply,
        Err(error) => {
            log::warn!("by REST: {} {}: {error}", call.endpoint(), command.cid().0);
            return vec![failure(command, &error)];
        }
    };
    let mut told = Told::default();
    match parse_reply(call, reply.status, &reply.body, table, &mut told) {
        Ok(_) => {
            for body in &mut told.0 {
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
            told.0
        }
        // An answer that cannot be read says nothing of what happened.
        Err(error) => {
            log::warn!("by REST: {}: HTTP {}, {:?}", call.endpoint(), error.status, error.kind);
            vec![report(command, SendOutcome::Broken)]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::bounded::Text;
    use crate::base::ids::{Cid, OrderId, StrategyId, SymbolId};
    use crate::base::time::WallNs;
    use crate::base::units::{Px, Qty};
    use crate::io::http::RestFault;
    use crate::line::rest::Refused;
    use crate::model::{
        Class, NewOrder, OrderFlags, OrderKind, Reason as Why, Stamp, Trace, WalletKind,
    };
    use crate::venue::errors::RestError;

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
    fn venue(kind: RestErrorKind) -> PlaneError {
        PlaneError::Venue(RestError { kind, status: 500, code: 10_001, text: Text::EMPTY })
    }

    #[test]
    fn only_what_proves_that_nothing_happened_says_so() {
        let outcome = |body: Body| match body {
            Body::Report(report) => Some(report.outcome),
            _ => None,
        };
        let lost = PlaneError::NoAnswer { fault: RestFault::DeadlineAnswer, maybe_sent: true };
        let early = PlaneError::NoAnswer { fault: RestFault::DeadlineAnswer, maybe_sent: false };
        for (command, cid) in [(close(), 8), (cancel(), 7)] {
            for (error, expected) in [
                (lost.clone(), SendOutcome::Broken),
                (PlaneError::Stopped, SendOutcome::Broken),
                (venue(RestErrorKind::Unavailable), SendOutcome::Broken),
                (venue(RestErrorKind::Unreadable), SendOutcome::Broken),
                (early.clone(), SendOutcome::LinkDown),
                (PlaneError::NoKey, SendOutcome::LinkDown),
                (PlaneError::Refused(Refused::EntryBlocked), SendOutcome::LinkDown),
                (venue(RestErrorKind::RateLimit), SendOutcome::LinkDown),
                (venue(RestErrorKind::Nonce), SendOutcome::LinkDown),
            ] {
                let body = failure(&command, &error);
                let Body::Report(report) = body else { panic!("{error:?}") };
                assert_eq!((report.outcome, report.cid), (expected, Cid(cid)), "{error:?}");
            }
            let body = failure(&command, &venue(RestErrorKind::Order(Refusal::NotFound)));
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
            let call = PlaneCall::of(&call, Reason::Entry, &table, FRESH_FOR).unwrap();
            (call.path, String::from_utf8(call.body).unwrap())
        };
        let (path, body) = text(&close());
        assert_eq!(path, "auth/w/order/submit");
        assert!(
            body.contains(r#""gid":7301,"cid":8,"#) && body.contains(r#""flags":1024"#),
            "{body}"
        );
        assert_eq!(text(&cancel()), ("auth/w/order/cancel".to_owned(), r#"{"id":3}"#.to_owned()));
        let amend = Action::Amend { id: OrderId(1), cid: Cid(1), px: Px::ZERO, qty: Qty::ZERO };
        assert!(call_of(&command(amend), None).is_none());
    }

    #[test]
    fn an_answer_is_told_as_the_socket_would_tell_it() {
        let table = crate::venue::symbols::tests::table_of(&["tBTCUSD"]);
        let call = call_of(&close(), None).unwrap();
        let (_, answer) = crossbeam_channel::bounded(1);
        let one = Pending { command: close(), call, answer };
        let reply = |body: &str| PlaneReply {
            status: 200,
            body: body.as_bytes().to_vec(),
            etag: String::new(),
            attempts: 1,
        };
        let refused = r#"[1,"on-req",null,null,null,null,"ERROR","Invalid price."]"#;
        let told = told_by(&one, Ok(reply(refused)), &table);
        let Body::Ack(ack) = told[0] else { panic!("{told:?}") };
        assert_eq!((ack.success, ack.cid, ack.of), (false, Cid(8), AckOf::New));
        let told = told_by(&one, Ok(reply("[1,")), &table);
        assert!(matches!(told[0], Body::Report(r) if r.outcome == SendOutcome::Broken), "{told:?}");
    }
}
