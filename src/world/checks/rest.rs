//! The REST plane keeps its own rules, seen from the wire: no call to an endpoint before the
//! venue's `Retry-After` is over, none to a host that refused for the rate until it has served a
//! later call (only cancels may try); writes made again only where
//! nothing happened; one signed call at a time but for cancels; repeats within their budget; the
//! exchange's own limits never met.

use crate::base::retry::RetryAfter;
use crate::line::rest::{Outcome, Priority, Repeat, Request, Side};
use std::collections::BTreeMap;

pub const NAME: &str = "REST waits as long as it is told to";

/// Repeats in a row, and for each hundred requests, as `SchedulerConfig::new` has them.
const REPEATS_MIN: u64 = 10;
const REPEATS_PERCENT: u64 = 10;

/// What one run of the engine was told; a new run knows nothing of it.
#[derive(Debug, Default)]
pub struct Rest {
    /// By endpoint, and by host: not before, ns.
    endpoints: BTreeMap<u8, u64>,
    hosts: [u64; Side::ALL.len()],
    /// When the host last refused for the rate, ns.
    refused_at: [u64; Side::ALL.len()],
    /// First tries, and repeats that cost budget.
    asked: u64,
    repeats: u64,
    signed_in_flight: u32,
}

impl Rest {
    pub fn started(&mut self) {
        *self = Rest::default();
    }
    /// A request was taken; repeats are paid for by requests, made or not.
    pub fn taken(&mut self) {
        self.asked += 1;
    }
    /// A call leaves; `last` = how its last try ended, where this is not the first.
    pub fn leaves<T>(
        &mut self,
        request: &Request<T>,
        last: Option<Outcome>,
        now_ns: u64,
    ) -> Result<(), String> {
        let is_cancel = request.priority == Priority::Cancel;
        let is_signed = request.role.is_some();
        let floor = self.endpoints.get(&request.endpoint.0).copied().unwrap_or(0);
        let floor = floor.max(self.hosts[request.side().index()]);
        let others = self.signed_in_flight;
        self.signed_in_flight += u32::from(is_signed);
        if now_ns < floor && !is_cancel {
            let early_ms = (floor - now_ns) / 1_000_000;
            return Err(format!("{:?} leaves {early_ms} ms too early", request.reason));
        }
        if is_signed && !is_cancel && others > 0 {
            return Err(format!("{:?} leaves beside another call of its key", request.reason));
        }
        let Some(last) = last else { return Ok(()) };
        let may = match request.repeat {
            Repeat::Freely => true,
            Repeat::IfNothingHappened => last.nothing_happened(),
            Repeat::Never => last == Outcome::NonceSmall,
        };
        if !may {
            return Err(format!("{:?} is made again after {last:?}", request.reason));
        }
        self.repeats += u64::from(!is_cancel && last != Outcome::NonceSmall);
        let budget = REPEATS_MIN + self.asked * REPEATS_PERCENT / 100 + 1;
        match self.repeats > budget {
            true => Err(format!("{} repeats of {} requests", self.repeats, self.asked)),
            false => Ok(()),
        }
    }
    /// A call that left at `left_ns` has ended. `after` = what the venue asked for, where the
    /// engine can know when that is; `status` = 0 where no answer came.
    pub fn ended<T>(
        &mut self,
        request: &Request<T>,
        (status, outcome): (u16, Outcome),
        after: Option<RetryAfter>,
        (left_ns, now_ns): (u64, u64),
    ) {
        self.signed_in_flight -= u32::from(request.role.is_some());
        let side = request.side().index();
        let is_served = matches!(outcome, Outcome::Answered | Outcome::NonceSmall);
        if is_served && left_ns >= self.refused_at[side] {
            // Asked behind the refusal, and served: the host takes calls again.
            if self.hosts[side] > left_ns {
                self.endpoints.remove(&request.endpoint.0);
            }
            self.hosts[side] = 0;
        }
        if status == 429 {
            self.refused_at[side] = now_ns;
        }
        let Some(RetryAfter::Seconds(seconds)) = after else { return };
        let until = now_ns + seconds * 1_000_000_000;
        let floor = match status {
            429 => &mut self.hosts[side],
            500..=599 => self.endpoints.entry(request.endpoint.0).or_default(),
            _ => return,
        };
        *floor = until.max(*floor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::MonoNs;
    use crate::line::rest::{Endpoint, KeyRole, Reason};

    fn request(endpoint: u8, priority: Priority, repeat: Repeat) -> Request<()> {
        Request {
            endpoint: Endpoint(endpoint),
            priority,
            role: Some(KeyRole::Rest),
            repeat,
            reason: Reason::Reconcile,
            deadline: MonoNs(0),
            payload: (),
        }
    }

    #[test]
    fn a_call_before_its_time_is_told_and_a_cancel_may_go() {
        let good = (200, Outcome::Answered);
        let silent = (0, Outcome::NoAnswer { sent: true });
        let busy = (503, Outcome::Unavailable { retry_after: None });
        let often = (429, Outcome::RateLimited { retry_after: None });
        let mut rest = Rest::default();
        let read = request(1, Priority::LookUp, Repeat::Freely);
        let cancel = request(1, Priority::Cancel, Repeat::IfNothingHappened);
        assert_eq!(rest.leaves(&read, None, 0), Ok(()));
        rest.ended(&read, busy, Some(RetryAfter::Seconds(2)), (0, 0));
        assert!(rest.leaves(&read, None, 1_999_999_999).is_err());
        rest.ended(&read, good, None, (0, 0));
        assert_eq!(rest.leaves(&cancel, None, 1), Ok(()));
        rest.ended(&cancel, silent, None, (1, 1));
        let other = request(2, Priority::LookUp, Repeat::Freely);
        assert_eq!(rest.leaves(&other, None, 1), Ok(()), "another endpoint");
        rest.ended(&other, often, Some(RetryAfter::Seconds(5)), (1, 1));
        assert!(rest.leaves(&read, None, 5_000_000_000).is_err(), "the whole host");
        rest.ended(&read, silent, None, (5_000_000_000, 5_000_000_000));
        assert_eq!(rest.leaves(&read, None, 5_000_000_001), Ok(()));
        assert!(rest.leaves(&other, None, 5_000_000_001).is_err(), "two at a time");
    }

    #[test]
    fn a_cancel_that_is_served_behind_a_refusal_frees_the_host() {
        let often = (429, Outcome::RateLimited { retry_after: None });
        let read = request(1, Priority::LookUp, Repeat::Freely);
        let cancel = request(2, Priority::Cancel, Repeat::IfNothingHappened);
        for (left_ns, frees) in [(4, false), (5, true)] {
            let mut rest = Rest::default();
            assert_eq!(rest.leaves(&read, None, 4), Ok(()));
            assert_eq!(rest.leaves(&cancel, None, left_ns), Ok(()), "beside a read");
            rest.ended(&read, often, Some(RetryAfter::Seconds(9)), (4, 5));
            rest.ended(&cancel, (200, Outcome::Answered), None, (left_ns, 6));
            assert_eq!(rest.leaves(&read, None, 7).is_ok(), frees, "{left_ns}");
        }
    }

    #[test]
    fn writes_are_not_made_again_and_repeats_have_a_budget() {
        let mut rest = Rest::default();
        let mut again = |repeat, last| {
            let read = request(1, Priority::LookUp, repeat);
            let verdict = rest.leaves(&read, Some(last), 0);
            rest.ended(&read, (0, last), None, (0, 0));
            verdict.is_ok()
        };
        let lost = Outcome::NoAnswer { sent: true };
        assert!(!again(Repeat::Never, lost) && !again(Repeat::IfNothingHappened, lost));
        assert!(again(Repeat::Never, Outcome::NonceSmall));
        assert!(again(Repeat::IfNothingHappened, Outcome::NoAnswer { sent: false }));
        let repeats = (0..20).filter(|_| again(Repeat::Freely, lost)).count();
        assert_eq!(repeats, 10);
    }
}
