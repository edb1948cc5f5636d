//! REST calls: the form of requests and replies, rate limits, and who may call what. The endpoints
//! themselves are in `rest_public` and `rest_private`.

use super::core::Core;
use super::json::Json;
use super::login::Pass;
use super::number::push_u64;

/// What the server knows of a request. Header values are as sent; absent ones are `None`.
#[derive(Clone, Copy, Debug, Default)]
pub struct HttpRequest<'a> {
    /// `GET` or `POST`.
    pub method: &'a str,
    /// E.g. `/v2/candles/trade:1m:tBTCUSD/hist?limit=10`.
    pub path_and_query: &'a str,
    /// `bfx-apikey`.
    pub api_key: Option<&'a str>,
    /// `bfx-nonce`.
    pub nonce: Option<&'a str>,
    /// `bfx-signature`.
    pub signature: Option<&'a str>,
    /// `bfx-token`, instead of the three above.
    pub token: Option<&'a str>,
    /// `if-none-match`.
    pub if_none_match: Option<&'a str>,
    pub body: &'a [u8],
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpReply {
    pub status: u16,
    pub content_type: &'static str,
    /// Further headers, names in lower case.
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl HttpReply {
    fn ok(body: Vec<u8>) -> HttpReply {
        HttpReply { status: 200, content_type: JSON, headers: Vec::new(), body }
    }
    pub(super) fn error(status: u16, code: u32, text: &str) -> HttpReply {
        let mut body = b"[\"error\",".to_vec();
        push_u64(&mut body, code as u64);
        body.push(b',');
        super::json::push_text(&mut body, text);
        body.push(b']');
        HttpReply { status, ..HttpReply::ok(body) }
    }
    /// The venue's page for a path it does not serve.
    pub(super) fn not_found(method: &str, path: &str) -> HttpReply {
        let path: String =
            path.chars().filter(|c| !matches!(c, '<' | '>' | '&')).take(200).collect();
        let body = format!("Cannot {method} /api{path}").into_bytes();
        HttpReply { status: 404, content_type: "text/html; charset=utf-8", ..HttpReply::ok(body) }
    }
    fn with_header(mut self, name: &'static str, value: String) -> HttpReply {
        self.headers.push((name, value));
        self
    }
}

const JSON: &str = "application/json; charset=utf-8";
pub(super) const ERR_GENERIC: u32 = 10_001;
const ERR_PARAMS: u32 = 10_020;
const ERR_KEY: u32 = 10_100;
const ERR_RATE: u32 = 11_010;
const ERR_MAINTENANCE: u32 = 20_060;

/// The body of a reply, or the reply that says why not.
pub(super) type Reply = Result<Vec<u8>, HttpReply>;

pub(super) fn bad(text: &str) -> HttpReply {
    HttpReply::error(500, ERR_PARAMS, text)
}

/// Endpoints and their calls a minute (protocol notes, 4.4): `*` stands for one part of the path. Of
/// those that fit, the longest counts; `other` is everything else.
const LIMITS: [(&str, u32); 38] = [
    ("platform/status", 30),
    ("tickers/hist", 30),
    ("tickers", 30),
    ("ticker", 90),
    ("trades/*/hist", 15),
    ("book", 240),
    ("candles", 30),
    ("stats1", 15),
    ("status/deriv", 90),
    ("status/deriv/*/hist", 90),
    ("liquidations/hist", 3),
    ("conf", 90), // one count for every key
    ("auth/w/order/submit", 90),
    ("auth/w/order/update", 90),
    ("auth/w/order/cancel", 90),
    ("auth/w/order/cancel/multi", 90),
    ("auth/w/order/multi", 90),
    ("auth/w/token", 90),
    ("auth/w/deposit/address", 10),
    ("auth/r/orders", 90),
    ("auth/r/orders/hist", 90),
    ("auth/r/orders/*/hist", 90),
    ("auth/r/order/*/trades", 90),
    ("auth/r/trades/hist", 90),
    ("auth/r/trades/*/hist", 90),
    ("auth/r/wallets", 90),
    ("auth/r/positions", 90),
    ("auth/r/positions/hist", 90),
    ("auth/r/ledgers", 90),
    ("auth/r/ledgers/hist", 90),
    ("auth/r/ledgers/*/hist", 90),
    ("auth/r/info/user", 90),
    ("auth/r/info/margin", 90),
    ("auth/r/permissions", 90),
    ("auth/r/summary", 90),
    ("auth/calc/order/avail", 90),
    ("auth", 90),
    ("other", 90),
];

/// The row of `LIMITS` that a path falls under.
fn class_of(path: &str) -> (&'static str, u32) {
    let fits = |name: &str| {
        let mut parts = path.split('/');
        let is_so = name
            .split('/')
            .all(|wanted| parts.next().is_some_and(|part| wanted == "*" || wanted == part));
        is_so.then(|| name.split('/').count())
    };
    let best = LIMITS.iter().filter_map(|row| Some((fits(row.0)?, row)));
    best.max_by_key(|(parts, _)| *parts).map_or(LIMITS[LIMITS.len() - 1], |(_, row)| *row)
}

/// `%3A` → `:`; a `%` that begins no two hex digits stands for itself.
fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// A parameter after the `?`.
pub(super) fn parameter(query: &str, key: &str) -> Option<String> {
    let pair = query.split('&').find_map(|pair| pair.split_once('=').filter(|(k, _)| *k == key));
    pair.map(|(_, value)| unescape(value))
}

/// Limits of a list: newest first unless `sort=1`.
pub(super) struct Range {
    limit: usize,
    start: i64,
    end: i64,
    ascending: bool,
}

impl Range {
    /// `default` and `max` rows; out of range = `limit: invalid`.
    fn read(
        get: impl Fn(&str) -> Option<i64>,
        default: usize,
        max: usize,
    ) -> Result<Range, HttpReply> {
        let limit = match get("limit") {
            None | Some(0) => default,
            Some(limit) if limit > 0 && limit as u64 <= max as u64 => limit as usize,
            Some(_) => return Err(bad("limit: invalid")),
        };
        let end = get("end").filter(|end| *end > 0).unwrap_or(i64::MAX);
        let start = get("start").unwrap_or(i64::MIN);
        Ok(Range { limit, start, end, ascending: get("sort") == Some(1) })
    }
    pub fn of_query(query: &str, default: usize, max: usize) -> Result<Range, HttpReply> {
        Range::read(|key| parameter(query, key)?.parse().ok(), default, max)
    }
    pub fn of_body(body: &Json<'_>, default: usize, max: usize) -> Result<Range, HttpReply> {
        Range::read(|key| body.given(key).and_then(Json::integer), default, max)
    }
    /// The rows wanted, from rows given newest first.
    pub fn pick<T>(&self, rows: impl Iterator<Item = T>, at: impl Fn(&T) -> i64) -> Vec<T> {
        let within = rows.filter(|row| (self.start..=self.end).contains(&at(row)));
        if !self.ascending {
            return within.take(self.limit).collect();
        }
        let mut all: Vec<T> = within.collect();
        all.reverse();
        all.truncate(self.limit);
        all
    }
}

/// FNV-1a of a body, quoted as an entity tag.
fn entity_tag(body: &[u8]) -> String {
    let hash = body.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("W/\"{:x}-{hash:016x}\"", body.len())
}

impl Core {
    pub(super) fn serve(&mut self, request: &HttpRequest<'_>) -> HttpReply {
        let (path, query) =
            request.path_and_query.split_once('?').unwrap_or((request.path_and_query, ""));
        let full = unescape(path);
        let path = full.strip_prefix("/api").unwrap_or(&full);
        let Some(path) = path.strip_prefix("/v2/") else {
            return HttpReply::not_found(request.method, &full);
        };
        let path = path.trim_end_matches('/');
        if let Some(wait_ms) = self.rate_refusal(path) {
            self.stats.refused += 1;
            let wait_s = (wait_ms + 999) / 1_000;
            let reply = HttpReply::error(429, ERR_RATE, "ratelimit: error");
            return reply.with_header("retry-after", wait_s.to_string());
        }
        let is_closed =
            ["book/", "auth/w/order/submit", "auth/w/order/update", "auth/w/order/multi"]
                .iter()
                .any(|prefix| path.starts_with(prefix));
        if self.in_maintenance && is_closed {
            return HttpReply::error(500, ERR_MAINTENANCE, "maintenance");
        }
        let reply = match path.strip_prefix("auth/") {
            Some(rest) => self.serve_signed(rest, path, request),
            None => self.serve_public(request.method, path, query, request.body),
        };
        let body = match reply {
            Ok(body) => body,
            Err(reply) => return reply,
        };
        if !path.starts_with("conf/") {
            return HttpReply::ok(body);
        }
        let tag = entity_tag(&body);
        let strong = tag.trim_start_matches("W/");
        let known = request.if_none_match.is_some_and(|known| {
            known
                .split(',')
                .any(|one| matches!(one.trim().trim_start_matches("W/"), t if t == strong))
        });
        let reply = match known {
            true => HttpReply { status: 304, ..HttpReply::ok(Vec::new()) },
            false => HttpReply::ok(body),
        };
        reply.with_header("etag", tag)
    }
    /// How long a caller has to wait, ms, where it called too often. A breach, or the last one of
    /// several, blocks everything for a while, as the venue blocks an address: behind this one
    /// there is but one.
    fn rate_refusal(&mut self, path: &str) -> Option<i64> {
        if !self.config.limits.rest_per_minute || !self.has_started {
            return None;
        }
        let now_ms = self.now_ms();
        if now_ms < self.rest_blocked_until_ms {
            return Some(self.rest_blocked_until_ms - now_ms);
        }
        let (class, limit) = class_of(path);
        let minute = now_ms.div_euclid(60_000);
        let calls = self.rest_calls.entry(class).or_default();
        if calls.0 != minute {
            *calls = (minute, 0);
        }
        calls.1 += 1;
        if calls.1 <= limit {
            return None;
        }
        let refused = match self.rest_refusals {
            (at, count) if at == minute => count + 1,
            _ => 1,
        };
        self.rest_refusals = (minute, refused);
        let limits = &self.config.limits;
        if limits.rest_block_ms == 0 || refused < limits.rest_block_after {
            return Some((minute + 1) * 60_000 - now_ms);
        }
        self.rest_blocks += 1;
        self.rest_blocked_until_ms = now_ms + limits.rest_block_ms;
        // The block is the penalty; what was counted before it counts no more.
        self.rest_calls.clear();
        Some(limits.rest_block_ms)
    }
    /// Who signs a call: a token, or key, signature and nonce.
    pub(super) fn authorize(
        &mut self,
        path: &str,
        request: &HttpRequest<'_>,
    ) -> Result<Pass, HttpReply> {
        if let Some(token) = request.token {
            let pass = self.pass_of_token(token);
            return pass.ok_or_else(|| HttpReply::error(500, ERR_KEY, "token: invalid"));
        }
        let (Some(key), Some(nonce), Some(signature)) =
            (request.api_key, request.nonce, request.signature)
        else {
            return Err(HttpReply::error(500, ERR_KEY, "apikey: invalid"));
        };
        let signed = [b"/api/v2/", path.as_bytes(), nonce.as_bytes(), request.body];
        let pass = self.pass_of_key(key, &signed, signature, nonce.parse().ok());
        pass.map_err(|(code, text)| HttpReply::error(500, code, text))
    }
}
