//! From a request to a reply: pure but for the hub.

use super::HttpConfig;
use super::token::{Scope, Tokens};
use crate::io::http1::{Head, Method, header};
use crate::model::OperatorVerb;
use crate::ops::hub::Hub;
use crate::ops::metrics::export;
use serde::{Deserialize, Serialize};

/// The page. One file, no outside resource.
pub(super) const PAGE: &str = include_str!("dashboard.html");
/// Longest reason that the engine keeps.
pub(super) const REASON_MAX: usize = 48;

/// What is to be done with a request.
pub(super) enum Answer {
    Reply(Reply),
    /// Follow the events.
    Follow,
    Command(CommandBody),
}

pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) kind: &'static str,
    pub(super) body: Vec<u8>,
    pub(super) is_page: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CommandText {
    verb: String,
    #[serde(default)]
    symbol: Option<String>,
    #[serde(default)]
    reason: String,
}

pub(super) struct CommandBody {
    pub(super) verb: OperatorVerb,
    pub(super) word: &'static str,
    pub(super) symbol: Option<String>,
    pub(super) reason: String,
}

/// Verbs of the port, in the words operators type.
pub(super) const VERBS: [(&str, OperatorVerb); 6] = [
    ("pause", OperatorVerb::Pause),
    ("resume", OperatorVerb::Resume),
    ("cancel", OperatorVerb::CancelAll),
    ("flatten", OperatorVerb::Flatten),
    ("kill", OperatorVerb::Kill),
    ("reset", OperatorVerb::Reset),
];

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
}

const JSON: &str = "application/json";

pub(super) fn error(status: u16, words: &str) -> Reply {
    let body = sonic_rs::to_vec(&ErrorBody { error: words }).unwrap_or_default();
    Reply { status, kind: JSON, body, is_page: false }
}

fn json<T: Serialize>(value: &T) -> Answer {
    let body = sonic_rs::to_vec(value).unwrap_or_default();
    Answer::Reply(Reply { status: 200, kind: JSON, body, is_page: false })
}

/// The host of `text` without its port; `None` where it is no host at all.
fn host_name(text: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(text).ok()?;
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (inside, rest) = rest.split_once(']')?;
            (inside, rest.strip_prefix(':').or_else(|| rest.is_empty().then_some("0"))?)
        }
        None => match text.split_once(':') {
            Some((name, port)) => (name, port),
            None => (text, "0"),
        },
    };
    let number = !port.is_empty() && port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit());
    (number && !name.is_empty()).then_some(name)
}

fn is_known_host(config: &HttpConfig, host: &[u8]) -> bool {
    host_name(host).is_some_and(|name| {
        ["localhost", "127.0.0.1", "::1"].iter().any(|known| name.eq_ignore_ascii_case(known))
            || config.hosts.iter().any(|known| name.eq_ignore_ascii_case(known))
    })
}

/// Values of a header that may stand once; `Err` where it stands twice.
fn once<'a>(bytes: &'a [u8], head: &Head, name: &str) -> Result<Option<&'a [u8]>, ()> {
    let is_it = |(key, _): &&((usize, usize), (usize, usize))| {
        bytes[key.0..key.1].eq_ignore_ascii_case(name.as_bytes())
    };
    match head.headers.iter().filter(is_it).count() {
        0 => Ok(None),
        1 => Ok(header(bytes, head, name)),
        _ => Err(()),
    }
}

/// What stands between everybody and everything: host and origin.
pub(super) fn gate(config: &HttpConfig, bytes: &[u8], head: &Head) -> Result<(), Reply> {
    let host = header(bytes, head, "host").unwrap_or_default();
    if !is_known_host(config, host) {
        let words = "this host name is not served here; see dashboard.hosts of the config";
        return Err(error(421, words));
    }
    let twice = || error(400, "a header stands twice");
    if let Some(origin) = once(bytes, head, "origin").map_err(|()| twice())? {
        let ours = [b"http://".as_slice(), b"https://"]
            .iter()
            .any(|scheme| origin.strip_prefix(*scheme) == Some(host));
        if !ours {
            return Err(error(403, "another page may not ask here"));
        }
    }
    if let Some(site) = once(bytes, head, "sec-fetch-site").map_err(|()| twice())?
        && !matches!(site, b"same-origin" | b"none")
        // Following a link to the page itself is how people come here.
        && !(head.method == Method::Get && target(bytes, head) == "/")
    {
        return Err(error(403, "another page may not ask here"));
    }
    Ok(())
}

/// What the token of a request allows.
pub(super) fn scope(tokens: &Tokens, bytes: &[u8], head: &Head) -> Option<Scope> {
    let value = once(bytes, head, "authorization").ok()??;
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| tokens.scope_of(token.trim_ascii()))?
}

pub(super) fn target<'a>(bytes: &'a [u8], head: &Head) -> &'a str {
    let target = &bytes[head.target.0..head.target.1];
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    std::str::from_utf8(path).unwrap_or_default()
}

/// Whether a path is open to everybody on this host.
pub(super) fn is_open(config: &HttpConfig, path: &str) -> bool {
    path == "/" || path == "/healthz" || (path == "/metrics" && config.metrics_open)
}

pub(super) fn answer(
    config: &HttpConfig,
    hub: &Hub,
    scope: Option<Scope>,
    method: Method,
    path: &str,
    content_type: &[u8],
    body: &[u8],
) -> Answer {
    let status = || hub.status();
    match (method, path) {
        (Method::Get, "/") => Answer::Reply(Reply {
            status: 200,
            kind: "text/html; charset=utf-8",
            body: PAGE.as_bytes().to_vec(),
            is_page: true,
        }),
        (Method::Get, "/healthz") => Answer::Reply(Reply {
            status: 200,
            kind: "text/plain; charset=utf-8",
            body: b"ok\n".to_vec(),
            is_page: false,
        }),
        (Method::Get, "/metrics") => Answer::Reply(Reply {
            status: 200,
            kind: export::CONTENT_TYPE,
            body: export::prometheus(&status(), config.metrics).into_bytes(),
            is_page: false,
        }),
        (Method::Get, "/api/v1/status") => {
            let body = hub.status_json().as_bytes().to_vec();
            Answer::Reply(Reply { status: 200, kind: JSON, body, is_page: false })
        }
        (Method::Get, "/api/v1/rest") => json(&status().rest),
        (Method::Get, "/api/v1/orders") => json(&status().orders),
        (Method::Get, "/api/v1/fills") => json(&status().fills),
        (Method::Get, "/api/v1/positions") => json(&status().symbols),
        (Method::Get, "/api/v1/guards") => json(&status().guards),
        (Method::Get, "/api/v1/alerts") => json(&status().alerts),
        (Method::Get, "/api/v1/incidents") => json(&status().incidents),
        (Method::Get, "/api/v1/latency") => json(&hub.orders()),
        (Method::Get, "/api/v1/history") => json(&hub.history()),
        (Method::Get, "/api/v1/events") => Answer::Follow,
        (Method::Post, "/api/v1/command") => command(scope, content_type, body),
        (Method::Post, "/" | "/metrics" | "/api/v1/status") | (Method::Get, "/api/v1/command") => {
            Answer::Reply(error(405, "another method is meant here"))
        }
        _ => Answer::Reply(error(404, "there is nothing at this path")),
    }
}

fn command(scope: Option<Scope>, content_type: &[u8], body: &[u8]) -> Answer {
    let refuse = |status, words: &str| Answer::Reply(error(status, words));
    if scope != Some(Scope::Operate) {
        return refuse(403, "this token may read; commands need the token of `token.operate`");
    }
    // A form of another page cannot send this type without asking first.
    let kind = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if !kind.eq_ignore_ascii_case(b"application/json") {
        return refuse(415, "commands are application/json");
    }
    let Ok(text) = sonic_rs::from_slice::<CommandText>(body) else {
        return refuse(400, "a command is {\"verb\":…,\"symbol\":…,\"reason\":…}");
    };
    let Some((word, verb)) = VERBS.into_iter().find(|(word, _)| *word == text.verb) else {
        return refuse(400, "verbs are pause, resume, cancel, flatten, kill, reset");
    };
    let plain = |c: char| !c.is_control();
    if text.reason.len() > REASON_MAX || !text.reason.chars().all(plain) {
        return refuse(400, "a reason has at most 48 bytes and no control characters");
    }
    if verb == OperatorVerb::Reset && text.reason.trim().is_empty() {
        return refuse(400, "a reset needs a reason");
    }
    if verb == OperatorVerb::Kill && text.symbol.is_some() {
        return refuse(400, "a kill takes no symbol: it is about everything");
    }
    Answer::Command(CommandBody { verb, word, symbol: text.symbol, reason: text.reason })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::http1::parse_head;

    fn gated(extra: &str) -> u16 {
        let config = HttpConfig { hosts: vec!["ops.example".to_owned()], ..Default::default() };
        let text = format!("GET /api/v1/status HTTP/1.1\r\n{extra}\r\n");
        let head = parse_head(text.as_bytes()).unwrap().unwrap();
        gate(&config, text.as_bytes(), &head).map_or_else(|reply| reply.status, |()| 200)
    }

    #[test]
    fn only_known_hosts_and_our_own_page_may_ask() {
        for host in ["127.0.0.1", "localhost:9", "LOCALHOST:1", "[::1]:80", "[::1]", "ops.example"]
        {
            assert_eq!(gated(&format!("Host: {host}\r\n")), 200, "{host}");
        }
        for host in [
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example:80",
            "evil.example:127.0.0.1",
            "localhost:",
            "localhost:x",
            "",
            "[::1",
            "[::1]x",
            "127.0.0.2",
        ] {
            assert_eq!(gated(&format!("Host: {host}\r\n")), 421, "{host}");
        }
        let with = |extra: &str| gated(&format!("Host: localhost:81\r\n{extra}\r\n"));
        assert_eq!(with("Origin: http://localhost:81"), 200);
        assert_eq!(with("Origin: http://localhost:82"), 403, "another port is another page");
        assert_eq!(with("Origin: http://192.0.2.7"), 403);
        assert_eq!(with("Origin: null"), 403);
        assert_eq!(with("Origin: http://localhost:81\r\nOrigin: http://localhost:81"), 400);
        assert_eq!(with("Sec-Fetch-Site: cross-site"), 403);
        assert_eq!(with("Sec-Fetch-Site: same-origin"), 200);
    }

    #[test]
    fn tokens_are_bearer_tokens_and_stand_once() {
        let tokens = Tokens::of("r", "o");
        let of = |lines: &str| {
            let text = format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
            let head = parse_head(text.as_bytes()).unwrap().unwrap();
            scope(&tokens, text.as_bytes(), &head)
        };
        assert_eq!(of("Authorization: Bearer r\r\n"), Some(Scope::Read));
        assert_eq!(of("authorization: bearer o\r\n"), Some(Scope::Operate));
        assert_eq!(of("Authorization: Basic r\r\n"), None);
        assert_eq!(of("Authorization: o\r\n"), None);
        assert_eq!(of("Authorization: Bearer r\r\nAuthorization: Bearer o\r\n"), None);
        assert_eq!(of("Cookie: token=o\r\n"), None);
        assert_eq!(of(""), None);
    }

    fn asked(scope: Option<Scope>, kind: &str, body: &str) -> u16 {
        match command(scope, kind.as_bytes(), body.as_bytes()) {
            Answer::Reply(reply) => reply.status,
            Answer::Command(_) => 202,
            Answer::Follow => 0,
        }
    }

    #[test]
    fn commands_are_checked_before_they_go_anywhere() {
        let ok = |body: &str| asked(Some(Scope::Operate), "application/json; charset=utf-8", body);
        assert_eq!(ok(r#"{"verb":"kill","reason":"x"}"#), 202);
        assert_eq!(ok(r#"{"verb":"flatten","symbol":"tBTCUSD"}"#), 202);
        assert_eq!(ok(r#"{"verb":"kill","symbol":"tBTCUSD"}"#), 400);
        assert_eq!(ok(r#"{"verb":"reset"}"#), 400, "a reset needs a reason");
        assert_eq!(ok(r#"{"verb":"stop"}"#), 400);
        assert_eq!(ok(r#"{"verb":"kill","x":1}"#), 400);
        assert_eq!(ok(&format!(r#"{{"verb":"kill","reason":"{}"}}"#, "x".repeat(49))), 400);
        assert_eq!(ok(r#"{"verb":"kill","reason":"a\nb"}"#), 400);
        assert_eq!(ok("{"), 400);
        let kill = r#"{"verb":"kill"}"#;
        assert_eq!(asked(Some(Scope::Read), JSON, kill), 403);
        assert_eq!(asked(None, JSON, kill), 403);
        assert_eq!(asked(Some(Scope::Operate), "text/plain", kill), 415);
    }
}
