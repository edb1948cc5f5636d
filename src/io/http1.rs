//! HTTP/1.1 as far as a server of ours needs it: request heads with limits, bodies, replies. Served
//! from here: the exchange, and the control port of `ops`.
//!
//! Strict on purpose. A request whose end two readers could see differently (two lengths, a length
//! beside chunks, folded lines, stray control bytes) is refused and the connection closed. Chunked
//! bodies are for the exchange alone: clients by others send them.

/// Bytes of a request line and its headers, at most.
pub const HEAD_SIZE_MAX: usize = 16 * 1024;
/// Header lines of one request, at most.
pub const HEADERS_MAX: usize = 64;
/// Bytes of a request body, at most. The longest the venue knows is an order multi-op of 75
/// entries.
pub const BODY_SIZE_MAX: usize = 1 << 20;

/// Where a head ends and what it says. The ranges index into the bytes it was parsed from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub method: Method,
    /// Path and query.
    pub target: Span,
    /// Bytes of the head, the empty line included.
    pub size: usize,
    pub body_size: usize,
    /// Whether the connection stays open behind the reply.
    pub keep_alive: bool,
    /// Asks for an upgrade to a websocket.
    pub upgrade: bool,
    /// The client waits for `100 Continue` before it sends the body.
    pub expect_continue: bool,
    /// The body comes in chunks, see [`read_chunks`]; `body_size` is 0 then.
    pub chunked: bool,
    pub headers: Vec<(Span, Span)>,
}

/// From, to.
pub type Span = (usize, usize);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
}

/// Which bodies a server takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bodies {
    /// With a Content-Length.
    Sized,
    /// Chunked ones too; and a POST that says nothing of a body has none.
    Any,
}

/// Why a request is refused. Each closes the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpError {
    Malformed,
    HeadTooLarge,
    BodyTooLarge,
    MethodUnknown,
    TransferEncoding,
    LengthRequired,
    VersionUnknown,
}

impl HttpError {
    /// Status, and a sentence for the body.
    pub const fn reply(self) -> (u16, &'static str) {
        match self {
            Self::Malformed => (400, "the request is not well-formed HTTP/1.1"),
            Self::HeadTooLarge => {
                (431, "request line and headers take 16 KiB and 64 lines at most")
            }
            Self::BodyTooLarge => (413, "a request body takes 1 MiB at most"),
            Self::MethodUnknown => (405, "GET and POST are served"),
            Self::TransferEncoding => {
                (501, "send a Content-Length, transfer encodings are not served")
            }
            Self::LengthRequired => (411, "a POST needs a Content-Length"),
            Self::VersionUnknown => (505, "HTTP/1.1 and HTTP/1.0 are served"),
        }
    }
}

/// Value of the header `name` (lower case), trimmed.
pub fn header<'a>(bytes: &'a [u8], head: &Head, name: &str) -> Option<&'a [u8]> {
    head.headers
        .iter()
        .find(|(key, _)| bytes[key.0..key.1].eq_ignore_ascii_case(name.as_bytes()))
        .map(|(_, value)| &bytes[value.0..value.1])
}

const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.')
        || matches!(byte, b'^' | b'_' | b'`' | b'|' | b'~')
}

/// Reads a request head off the front of `bytes`; `None` while it is not complete.
///
/// # Errors
/// [`HttpError`] as soon as it is certain that no good request can follow.
pub fn parse_head(bytes: &[u8]) -> Result<Option<Head>, HttpError> {
    parse_head_of(bytes, Bodies::Sized)
}

/// The same for a server that says which bodies it takes.
///
/// # Errors
/// As [`parse_head`].
pub fn parse_head_of(bytes: &[u8], bodies: Bodies) -> Result<Option<Head>, HttpError> {
    let window = &bytes[..bytes.len().min(HEAD_SIZE_MAX)];
    // What cannot be the start of a request is refused at once, not after 16 KiB or a time-out.
    if window.iter().take(8).any(|byte| !(*byte == b' ' || byte.is_ascii_graphic())) {
        return Err(HttpError::Malformed);
    }
    let Some(end) = window.windows(4).position(|four| four == b"\r\n\r\n") else {
        return if bytes.len() >= HEAD_SIZE_MAX { Err(HttpError::HeadTooLarge) } else { Ok(None) };
    };
    let line_end = line_end_from(bytes, 0);
    let mut parts = bytes[..line_end].split(|&byte| byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(HttpError::Malformed);
    };
    if method.is_empty() || !method.iter().all(|&byte| is_token(byte)) {
        return Err(HttpError::Malformed);
    }
    if target.first() != Some(&b'/') || !target.iter().all(|byte| byte.is_ascii_graphic()) {
        return Err(HttpError::Malformed);
    }
    let newer = match version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        _ if version.starts_with(b"HTTP/") => return Err(HttpError::VersionUnknown),
        _ => return Err(HttpError::Malformed),
    };
    let method_kind = match method {
        b"GET" => Method::Get,
        b"POST" => Method::Post,
        _ => return Err(HttpError::MethodUnknown),
    };
    let mut head = Head {
        method: method_kind,
        target: (method.len() + 1, method.len() + 1 + target.len()),
        size: end + 4,
        body_size: 0,
        keep_alive: newer,
        upgrade: false,
        expect_continue: false,
        chunked: false,
        headers: Vec::with_capacity(16),
    };
    let mut length: Option<usize> = None;
    let mut hosts = 0;
    let mut at = line_end + 2;
    while at < end + 2 {
        let line_end = line_end_from(bytes, at);
        let line = &bytes[at..line_end];
        let colon = line.iter().position(|&byte| byte == b':').ok_or(HttpError::Malformed)?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        // A space before the colon and a folded line both fail here: neither is a token.
        if name.is_empty() || !name.iter().all(|&byte| is_token(byte)) {
            return Err(HttpError::Malformed);
        }
        if value.iter().any(|&byte| (byte < b' ' && byte != b'\t') || byte == 0x7f) {
            return Err(HttpError::Malformed);
        }
        if head.headers.len() == HEADERS_MAX {
            return Err(HttpError::HeadTooLarge);
        }
        let lead = value.len() - value.trim_ascii_start().len();
        let value = value.trim_ascii();
        let start = at + colon + 1 + lead;
        head.headers.push(((at, at + colon), (start, start + value.len())));
        if name.eq_ignore_ascii_case(b"content-length") {
            let size = parse_length(value)?;
            if length.is_some_and(|known| known != size) {
                return Err(HttpError::Malformed);
            }
            length = Some(size);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if bodies == Bodies::Sized || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(HttpError::TransferEncoding);
            }
            head.chunked = true;
        } else if name.eq_ignore_ascii_case(b"host") {
            hosts += 1;
        } else if name.eq_ignore_ascii_case(b"connection") {
            for word in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                if word.eq_ignore_ascii_case(b"close") {
                    head.keep_alive = false;
                } else if word.eq_ignore_ascii_case(b"keep-alive") && !newer {
                    head.keep_alive = true;
                }
            }
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            head.upgrade |= value.eq_ignore_ascii_case(b"websocket");
        } else if name.eq_ignore_ascii_case(b"expect") {
            head.expect_continue = value.eq_ignore_ascii_case(b"100-continue");
        }
        at = line_end + 2;
    }
    if hosts > 1 || (newer && hosts == 0) {
        return Err(HttpError::Malformed);
    }
    if head.chunked && (length.is_some() || !newer) {
        return Err(HttpError::Malformed);
    }
    head.body_size = match (method_kind, length) {
        (_, Some(size)) if size > BODY_SIZE_MAX => return Err(HttpError::BodyTooLarge),
        (_, Some(size)) => size,
        (Method::Get, None) => 0,
        (Method::Post, None) if bodies == Bodies::Any => 0,
        (Method::Post, None) => return Err(HttpError::LengthRequired),
    };
    Ok(Some(head))
}

/// Bytes of a chunk's size line and of a trailer line, at most.
const CHUNK_LINE_MAX: usize = 256;
/// Lines behind the last chunk, at most.
const TRAILERS_MAX: usize = 16;

/// Reads a chunked body off the front of `bytes`: its content, and how many bytes it took. `None`
/// while it is not complete. Trailers are read and forgotten.
///
/// # Errors
/// [`HttpError::Malformed`] and [`HttpError::BodyTooLarge`].
pub fn read_chunks(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, HttpError> {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let Some(line) = chunk_line(bytes, at)? else { return Ok(None) };
        at += line.len() + 2;
        let digits = line.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(HttpError::Malformed);
        }
        if digits.len() > 8 {
            return Err(HttpError::BodyTooLarge);
        }
        let size = digits.iter().fold(0, |size, &digit| {
            size * 16 + char::from(digit).to_digit(16).unwrap_or_default() as usize
        });
        if size == 0 {
            break;
        }
        if body.len() + size > BODY_SIZE_MAX {
            return Err(HttpError::BodyTooLarge);
        }
        if bytes.len() < at + size + 2 {
            return Ok(None);
        }
        if &bytes[at + size..at + size + 2] != b"\r\n" {
            return Err(HttpError::Malformed);
        }
        body.extend_from_slice(&bytes[at..at + size]);
        at += size + 2;
    }
    for _ in 0..TRAILERS_MAX {
        let Some(line) = chunk_line(bytes, at)? else { return Ok(None) };
        at += line.len() + 2;
        if line.is_empty() {
            return Ok(Some((body, at)));
        }
    }
    Err(HttpError::Malformed)
}

/// The line that begins at `from`, without its end; `None` while it has none.
fn chunk_line(bytes: &[u8], from: usize) -> Result<Option<&[u8]>, HttpError> {
    let rest = &bytes[from..bytes.len().min(from + CHUNK_LINE_MAX)];
    match rest.windows(2).position(|two| two == b"\r\n") {
        Some(end) => Ok(Some(&rest[..end])),
        None if rest.len() == CHUNK_LINE_MAX => Err(HttpError::Malformed),
        None => Ok(None),
    }
}

fn line_end_from(bytes: &[u8], from: usize) -> usize {
    let rest = &bytes[from..];
    from + rest.windows(2).position(|two| two == b"\r\n").unwrap_or(rest.len())
}

fn parse_length(value: &[u8]) -> Result<usize, HttpError> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(HttpError::Malformed);
    }
    if value.len() > 12 {
        return Err(HttpError::BodyTooLarge);
    }
    Ok(value.iter().fold(0, |size, &digit| size * 10 + (digit - b'0') as usize))
}

/// Reason phrase of the statuses the exchange uses.
const fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        421 => "Misdirected Request",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Status",
    }
}

/// Appends a whole reply. `extra` holds further header lines, each with its line end.
pub fn write_reply(
    out: &mut Vec<u8>,
    status: u16,
    content_type: &str,
    extra: &str,
    body: &[u8],
    keep_alive: bool,
) {
    use std::io::Write as _;
    let connection = if keep_alive { "keep-alive" } else { "close" };
    // Writing to a vector cannot fail.
    let _ = write!(
        out,
        "HTTP/1.1 {status} {}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\
         connection: {connection}\r\n{extra}\r\n",
        reason(status),
        body.len()
    );
    out.extend_from_slice(body);
}

/// The page the venue answers on paths it does not know.
pub fn not_found_page(method: Method, target: &[u8]) -> Vec<u8> {
    let method = if method == Method::Get { "GET" } else { "POST" };
    let path = target.split(|&byte| byte == b'?').next().unwrap_or_default();
    let mut page = format!("Cannot {method} ").into_bytes();
    for &byte in path {
        match byte {
            b'<' => page.extend_from_slice(b"&lt;"),
            b'>' => page.extend_from_slice(b"&gt;"),
            b'&' => page.extend_from_slice(b"&amp;"),
            b'"' => page.extend_from_slice(b"&quot;"),
            b'\'' => page.extend_from_slice(b"&#39;"),
            _ => page.push(byte),
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    /// `method target body keep-alive|close [upgrade] [expect]`, or the error, or `more`.
    fn check(request: &str, expected: &str) {
        let bytes = request.as_bytes();
        let got = match parse_head(bytes) {
            Ok(None) => "more".to_owned(),
            Err(error) => format!("{error:?}"),
            Ok(Some(head)) => {
                assert_eq!(&bytes[head.size - 4..head.size], b"\r\n\r\n");
                let target = std::str::from_utf8(&bytes[head.target.0..head.target.1]).unwrap();
                format!(
                    "{:?} {target} {} {}{}{}",
                    head.method,
                    head.body_size,
                    if head.keep_alive { "keep-alive" } else { "close" },
                    if head.upgrade { " upgrade" } else { "" },
                    if head.expect_continue { " expect" } else { "" }
                )
            }
        };
        assert_eq!(got, expected, "{request:?}");
    }

    #[test]
    fn good_requests_are_read() {
        check("GET /v2/x?a=1 HTTP/1.1\r\nHost: h\r\n\r\n", "Get /v2/x?a=1 0 keep-alive");
        check("GET / HTTP/1.1\r\nHost: h\r\nConnection: Close\r\n\r\n", "Get / 0 close");
        check("GET / HTTP/1.0\r\n\r\n", "Get / 0 close");
        check("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n", "Get / 0 keep-alive");
        check(
            "POST /a HTTP/1.1\r\nhost:h\r\nCONTENT-LENGTH:  12 \r\n\r\n{",
            "Post /a 12 keep-alive",
        );
        check(
            "POST /a HTTP/1.1\r\nhost:h\r\ncontent-length: 2\r\nexpect: 100-Continue\r\n\r\n",
            "Post /a 2 keep-alive expect",
        );
        check(
            "GET /ws/2 HTTP/1.1\r\nHost: h\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\r\n",
            "Get /ws/2 0 keep-alive upgrade",
        );
    }

    #[test]
    fn unfinished_requests_wait() {
        for request in ["", "GET", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: h\r\n"] {
            check(request, "more");
        }
    }

    #[test]
    fn doubtful_requests_are_refused() {
        check("\x16\x03\x01\x02\x00\x01", "Malformed");
        check("GET /\r\n\r\n", "Malformed");
        check("GET  / HTTP/1.1\r\nHost: h\r\n\r\n", "Malformed");
        check("GET / HTTP/1.1\r\n\r\n", "Malformed");
        check("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "Malformed");
        check("GET http://x/ HTTP/1.1\r\nHost: a\r\n\r\n", "Malformed");
        check("GET / HTTP/1.1\r\nHost : a\r\n\r\n", "Malformed");
        check("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", "Malformed");
        check("GET / HTTP/1.1\r\nHost: a\nb: c\r\n\r\n", "Malformed");
        check("GET / HTTP/2.0\r\nHost: a\r\n\r\n", "VersionUnknown");
        check("DELETE / HTTP/1.1\r\nHost: a\r\n\r\n", "MethodUnknown");
        check("POST / HTTP/1.1\r\nHost: a\r\n\r\n", "LengthRequired");
        check("POST / HTTP/1.1\r\nHost: a\r\ncontent-length: -1\r\n\r\n", "Malformed");
        check("POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 1048577\r\n\r\n", "BodyTooLarge");
        check(
            "POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 99999999999999999\r\n\r\n",
            "BodyTooLarge",
        );
        check(
            "POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
            "Malformed",
        );
        check(
            "POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: chunked\r\n\r\n",
            "TransferEncoding",
        );
        check(&format!("GET /{} HTTP/1.1\r\n", "a".repeat(HEAD_SIZE_MAX)), "HeadTooLarge");
        let many = "a: b\r\n".repeat(HEADERS_MAX + 1);
        check(&format!("GET / HTTP/1.1\r\n{many}\r\n"), "HeadTooLarge");
    }

    #[test]
    fn a_server_may_take_chunks_and_posts_without_a_length() {
        let parse = |request: &str| parse_head_of(request.as_bytes(), Bodies::Any);
        let head = parse("POST / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap().unwrap();
        assert_eq!((head.body_size, head.chunked), (0, false));
        let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n";
        assert!(parse(&format!("{chunked}\r\n")).unwrap().unwrap().chunked);
        let both = format!("{chunked}Content-Length: 3\r\n\r\n");
        assert_eq!(parse(&both), Err(HttpError::Malformed), "two ends of one body");
        let other = chunked.replace("Chunked", "gzip, chunked");
        assert_eq!(parse(&format!("{other}\r\n")), Err(HttpError::TransferEncoding));
        let old = chunked.replace("1.1", "1.0");
        assert_eq!(parse(&format!("{old}\r\n")), Err(HttpError::Malformed));
    }

    #[test]
    fn chunks_are_put_together_and_bad_ones_refused() {
        let whole = b"5;x=y\r\nhello\r\nA\r\n, you all!\r\n0\r\nTrailer: 1\r\n\r\nGET";
        let (body, size) = read_chunks(whole).unwrap().unwrap();
        assert_eq!((body.as_slice(), size), (&b"hello, you all!"[..], whole.len() - 3));
        for cut in 0..whole.len() - 3 {
            assert_eq!(read_chunks(&whole[..cut]), Ok(None), "{cut}");
        }
        for bad in ["\r\n", "g\r\n", "-1\r\nx\r\n", "1\r\nxyz", "+1\r\n"] {
            assert_eq!(read_chunks(bad.as_bytes()), Err(HttpError::Malformed), "{bad:?}");
        }
        let endless = format!("0\r\n{}", "a: b\r\n".repeat(20));
        assert_eq!(read_chunks(endless.as_bytes()), Err(HttpError::Malformed));
        assert_eq!(read_chunks(&[b'0'; 300]), Err(HttpError::Malformed));
        assert_eq!(read_chunks(b"200000\r\n"), Err(HttpError::BodyTooLarge));
        assert_eq!(read_chunks(b"fffffffff\r\n"), Err(HttpError::BodyTooLarge));
    }

    #[test]
    fn arbitrary_bytes_never_panic() {
        let mut rng = Rng::new(11);
        let seed =
            b"POST /v2/auth/r/orders HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nA: b\r\n\r\n";
        for _ in 0..20_000 {
            let mut bytes = seed.to_vec();
            for _ in 0..rng.below(6) {
                let at = rng.below(bytes.len() as u64) as usize;
                match rng.below(3) {
                    0 => bytes[at] = rng.next_u64() as u8,
                    1 => drop(bytes.remove(at)),
                    _ => bytes.insert(at, b"\r\n :,\0"[rng.below(6) as usize]),
                }
            }
            bytes.truncate(rng.below(bytes.len() as u64 + 1) as usize);
            let _ = read_chunks(&bytes);
            if let Ok(Some(head)) = parse_head_of(&bytes, Bodies::Any) {
                assert!(head.size <= bytes.len());
                let _ = header(&bytes, &head, "content-length");
            }
        }
    }

    #[test]
    fn an_unknown_path_is_echoed_without_markup() {
        let page = not_found_page(Method::Get, b"/<script>?x");
        assert_eq!(page, b"Cannot GET /&lt;script&gt;");
    }
}
