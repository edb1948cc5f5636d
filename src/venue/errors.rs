//! REST errors by HTTP status and body (protocol notes, 4.4). Codes and status words decide, free
//! text last.

use super::event::code;
use super::event::member;
use super::scan::{Row, Scanner, int_of, unquoted};
use super::status::refusal;
use crate::base::bounded::Text;
use crate::model::Refusal;

/// What an error means for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestErrorKind {
    /// Stop all calls for the block's time (60 s).
    RateLimit,
    /// The nonce was not larger than the last: nothing happened.
    Nonce,
    /// Key or signature.
    Auth,
    /// The key may not do this.
    Permission,
    /// Our parameters.
    Parameters,
    Maintenance,
    /// 5xx without the venue's own words: for a write, the outcome is unknown.
    Unavailable,
    /// The venue's rules refuse the order; carries why.
    Order(Refusal),
    /// No such path.
    NotFound,
    /// Not JSON, or of no known shape.
    Unreadable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestError {
    pub kind: RestErrorKind,
    /// HTTP status.
    pub status: u16,
    /// The venue's code, 0 if none.
    pub code: i32,
    /// The venue's text, cut.
    pub text: Text<96>,
}

impl RestError {
    /// True where the refusal proves that nothing happened, so that a write may be made again.
    ///
    /// The code of a refused order is also the venue's general one, for whatever broke: only words
    /// that say what is wrong with the order prove that it was looked at and refused.
    pub fn proves_nothing_happened(&self) -> bool {
        match self.kind {
            RestErrorKind::Order(Refusal::Other) => {
                let text = self.text.as_str().as_bytes();
                text.windows(7).any(|part| part.eq_ignore_ascii_case(b"invalid"))
            }
            RestErrorKind::RateLimit
            | RestErrorKind::Nonce
            | RestErrorKind::Auth
            | RestErrorKind::Permission
            | RestErrorKind::Parameters
            | RestErrorKind::Order(_) => true,
            RestErrorKind::Maintenance
            | RestErrorKind::Unavailable
            | RestErrorKind::NotFound
            | RestErrorKind::Unreadable => false,
        }
    }
}

/// The error in a reply; `None` where the reply is no error.
pub fn classify(status: u16, body: &[u8]) -> Option<RestError> {
    let (code, text) = error_of(body).unwrap_or((0, b""));
    let is_error = !text.is_empty() || code != 0;
    if (200..300).contains(&status) && !is_error {
        return None;
    }
    Some(RestError { kind: kind_of(status, code, text), status, code, text: cut(text) })
}

fn kind_of(status: u16, code: i32, text: &[u8]) -> RestErrorKind {
    let refusal = refusal(text);
    match (code as i64, refusal) {
        (code::RATE_LIMIT, _) | (_, Refusal::RateLimit) => return RestErrorKind::RateLimit,
        (code::AUTH_NONCE, _) | (_, Refusal::Nonce) => return RestErrorKind::Nonce,
        (10_100..=10_113, _) => return RestErrorKind::Auth,
        (20_060, _) | (_, Refusal::Maintenance) => return RestErrorKind::Maintenance,
        (10_020, _) => return RestErrorKind::Parameters,
        (10_001, Refusal::Permission) => return RestErrorKind::Permission,
        (10_001, refusal) => return RestErrorKind::Order(refusal),
        _ => {}
    }
    match status {
        429 => RestErrorKind::RateLimit,
        404 => RestErrorKind::NotFound,
        401 | 403 => RestErrorKind::Auth,
        408 | 500..=599 => RestErrorKind::Unavailable,
        _ => RestErrorKind::Unreadable,
    }
}

/// `["error", CODE, "text"]` or one of the object shapes.
fn error_of(body: &[u8]) -> Option<(i32, &[u8])> {
    let body = body.trim_ascii();
    if body.first() == Some(&b'[') {
        let mut scan = Scanner::new(body);
        let mut row = Row::enter(&mut scan).ok()?;
        if row.raw().ok()?? != b"\"error\"" {
            return None;
        }
        let code = row.int().ok()?.unwrap_or(0);
        let text = row.text().ok()?.unwrap_or(b"error");
        return Some((i32::try_from(code).unwrap_or(0), text));
    }
    let code = member(body, b"code").and_then(int_of).and_then(|c| i32::try_from(c).ok());
    let text = ["error_description", "error", "message", "msg"]
        .iter()
        .find_map(|key| member(body, key.as_bytes()))
        .map(unquoted);
    match (code, text) {
        (None, None) => None,
        (code, text) => Some((code.unwrap_or(0), text.unwrap_or(b"error"))),
    }
}

fn cut(text: &[u8]) -> Text<96> {
    let mut len = text.len().min(96);
    while len > 0 && std::str::from_utf8(&text[..len]).is_err() {
        len -= 1;
    }
    Text::from_bytes(&text[..len]).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_shape_is_classified() {
        use RestErrorKind::*;
        for (status, body, kind, code) in [
            (
                500,
                r#"["error",10001,"Invalid order: minimum size for BTC/USD is 0.002"]"#,
                Order(Refusal::MinimumSize),
                10_001,
            ),
            (500, r#"["error",10001,"Order not found."]"#, Order(Refusal::NotFound), 10_001),
            (500, r#"["error",10001,"api_key: permission invalid"]"#, Permission, 10_001),
            (500, r#"["error",10020,"symbol: invalid"]"#, Parameters, 10_020),
            (500, r#"["error",10100,"apikey: invalid"]"#, Auth, 10_100),
            (500, r#"["error",10114,"nonce: small"]"#, Nonce, 10_114),
            (429, r#"["error",11010,"ratelimit: error"]"#, RateLimit, 11_010),
            (429, r#"{"error":"ERR_RATE_LIMIT"}"#, RateLimit, 0),
            (200, r#"{"message":"Ratelimit"}"#, RateLimit, 0),
            (500, r#"["error",20060,"maintenance"]"#, Maintenance, 20_060),
            (
                503,
                r#"{"code":503,"error":"temporarily_unavailable","error_description":"x"}"#,
                Unavailable,
                503,
            ),
            (404, "<html>Cannot GET /api/v2/nope</html>", NotFound, 0),
            (502, "", Unavailable, 0),
            (302, "", Unreadable, 0),
        ] {
            let error = classify(status, body.as_bytes()).unwrap();
            assert_eq!((error.kind, error.code, error.status), (kind, code, status), "{body}");
        }
    }

    #[test]
    fn good_replies_are_no_errors() {
        for body in ["[]", "[1]", "[[\"error\"]]", "{}", r#"[1678987199,"on-req",null,null,[]]"#] {
            assert_eq!(classify(200, body.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn an_outage_proves_nothing() {
        assert!(!classify(502, b"").unwrap().proves_nothing_happened());
        assert!(
            classify(500, br#"["error",10114,"nonce: small"]"#).unwrap().proves_nothing_happened()
        );
    }

    #[test]
    fn the_general_error_proves_something_only_where_it_says_what_is_wrong() {
        for (text, proves) in [
            ("internal error", false),
            ("ERR_GENERIC", false),
            ("", false),
            ("Invalid order: something new", true),
            ("meta: invalid", true),
            ("Order not found.", true),
        ] {
            let body = format!(r#"["error",10001,"{text}"]"#);
            let error = classify(500, body.as_bytes()).unwrap();
            assert!(matches!(error.kind, RestErrorKind::Order(_)), "{text}");
            assert_eq!(error.proves_nothing_happened(), proves, "{text}");
        }
    }
}
