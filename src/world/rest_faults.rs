//! What the venue's REST side answers: the exchange's word, or a refusal, with `Retry-After` in
//! seconds, as a date, or not at all; one call at a time, or all of them for a while.

use super::checks;
use super::faults::Kind;
use super::orders::signed_anew;
use super::plane::{End, Reply, RestAsk};
use super::run::{Ev, SECOND, World};
use super::setup::KEY;
use crate::base::time::WallNs;
use crate::exchange::HttpRequest;

/// Longest wait asked for with one refusal, s.
const RETRY_AFTER_S_MAX: u64 = 20;

/// How a call is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    pub status: u16,
    pub form: Form,
}
/// How it is told when to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    None,
    Seconds,
    Date,
}
impl Refused {
    fn kind(self) -> Kind {
        match (self.status, self.form) {
            (429, Form::None) => Kind::Rest429,
            (429, Form::Seconds) => Kind::Rest429Seconds,
            (429, Form::Date) => Kind::Rest429Date,
            (503, Form::None) => Kind::Rest503,
            (503, Form::Seconds) => Kind::Rest503Seconds,
            (503, Form::Date) => Kind::Rest503Date,
            (_, Form::None) => Kind::Rest500,
            (_, Form::Seconds) => Kind::Rest500Seconds,
            (_, Form::Date) => Kind::Rest500Date,
        }
    }
}

/// As a server writes it: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub fn http_date(wall: WallNs) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (year, month, day) = wall.utc_date();
    let second = wall.0.div_euclid(1_000_000_000).rem_euclid(86_400);
    let name = DAYS[wall.utc_day().rem_euclid(7) as usize];
    let month = MONTHS[usize::from(month) - 1];
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{name}, {day:02} {month} {year} {hour:02}:{minute:02}:{second:02} GMT")
}

impl World {
    /// A refusal at random: its status, and whether and how it says when to come back.
    pub fn draw_refused(&mut self, statuses: &[u16]) -> Refused {
        let status = statuses[self.rng.below(statuses.len() as u64) as usize];
        let form = match self.rng.below(3) {
            0 => Form::None,
            1 => Form::Seconds,
            _ => Form::Date,
        };
        Refused { status, form }
    }
    /// For a while every call is refused.
    pub fn rest_storm(&mut self) {
        self.coverage.hit(Kind::RestStorm);
        let refused = self.draw_refused(&[429, 500, 503]);
        let span = 2 * SECOND + self.rng.below(40 * SECOND);
        self.chaos.begin_rest_storm(refused, self.now_ns + span);
    }
    /// A call reaches the venue.
    pub fn rest_arrives(&mut self, ask: &RestAsk) {
        let reply = self.answer(ask);
        if self.chance(self.plan.faults.rest_lost_ppm) {
            self.coverage.hit(Kind::RestLost);
            return;
        }
        let mut wait = self.delay();
        if self.chance(self.plan.faults.rest_slow_ppm) {
            self.coverage.hit(Kind::RestSlow);
            wait += self.rng.below(12 * SECOND);
        }
        self.log.add(self.now_ns, 400 + u64::from(reply.status), &reply.body);
        self.after(wait, Ev::RestEnd { call: ask.call, end: End::Reply(reply) });
    }
    fn answer(&mut self, ask: &RestAsk) -> Reply {
        if let Some((refused, until)) = self.chaos.rest_storm(self.now_ns) {
            // An honest server: come back when it is over.
            let left_s = (until - self.now_ns).div_ceil(SECOND);
            return self.refuse(refused, left_s);
        }
        if self.chance(self.plan.faults.rest_error_ppm) {
            let refused = self.draw_refused(&[500, 503]);
            let wait_s = 1 + self.rng.below(RETRY_AFTER_S_MAX);
            return match ask.is_order {
                true => self.acts_and_breaks(ask, refused, wait_s),
                false => self.refuse(refused, wait_s),
            };
        }
        if self.chance(self.plan.faults.rest_rate_limit_ppm) {
            let refused = self.draw_refused(&[429]);
            let wait_s = 1 + self.rng.below(RETRY_AFTER_S_MAX);
            return self.refuse(refused, wait_s);
        }
        match ask.is_order {
            true => self.write_arrives(ask),
            false => self.exchange_answers(ask, &ask.body),
        }
    }
    /// The exchange's own word; `body` may not be the one that left.
    pub fn exchange_answers(&mut self, ask: &RestAsk, body: &[u8]) -> Reply {
        let is_signed = ask.nonce.is_some();
        let changed = if body == ask.body { None } else { signed_anew(ask, body) };
        let signature = changed.as_ref().unwrap_or(&ask.signature);
        let request = HttpRequest {
            method: ask.method,
            path_and_query: &ask.path,
            api_key: is_signed.then_some(KEY),
            nonce: ask.nonce.as_deref(),
            signature: is_signed.then_some(signature.as_str()),
            token: None,
            if_none_match: None,
            body,
        };
        let reply = self.exchange.rest(&request, self.true_wall());
        self.pump();
        let header = |name: &str| {
            let found = reply.headers.iter().find(|(header, _)| *header == name);
            found.map(|(_, value)| value.clone()).unwrap_or_default()
        };
        let (retry_after, date) = (header("retry-after"), http_date(self.true_wall()));
        if reply.status == 429 {
            let words = "the exchange's own limit was met".to_owned();
            self.checks.say(self.now_ns, checks::rest::NAME, Err(words));
        }
        Reply { status: reply.status, retry_after, date, body: reply.body }
    }
    pub fn refuse(&mut self, refused: Refused, wait_s: u64) -> Reply {
        self.coverage.hit(refused.kind());
        let body: &[u8] = match (refused.status, self.rng.below(2)) {
            (429, _) => b"[\"error\",11010,\"ratelimit: error\"]",
            (500, 0) => b"[\"error\",10001,\"internal error\"]",
            (_, 0) => b"",
            _ => b"<html>Service Unavailable</html>",
        };
        let wall = self.true_wall();
        let retry_after = match refused.form {
            Form::None => String::new(),
            Form::Seconds => wait_s.to_string(),
            Form::Date => http_date(WallNs(wall.0 + wait_s as i64 * 1_000_000_000)),
        };
        // Most servers say what time it is; where one does not, our own clock has to do.
        let date = if self.rng.chance(1, 5) { String::new() } else { http_date(wall) };
        Reply { status: refused.status, retry_after, date, body: body.to_vec() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::retry::{RetryAfter, parse_retry_after};

    #[test]
    fn dates_are_what_the_other_side_reads() {
        for (ms, text) in [
            (784_111_777_000, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (1_835_481_599_000, "Tue, 29 Feb 2028 23:59:59 GMT"),
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        ] {
            assert_eq!(http_date(WallNs::from_ms(ms)), text);
            assert_eq!(parse_retry_after(text), Some(RetryAfter::At(WallNs::from_ms(ms))));
        }
    }
}
