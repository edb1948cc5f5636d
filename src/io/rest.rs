//! The HTTP transport of the REST plane: one blocking call at a time over kept-alive connections,
//! with a hard deadline for each phase and in total, and a record of where the time went. It never
//! repeats a call and never follows a redirect: both are decisions of the layers above.

#![allow(
    clippy::disallowed_methods,
    reason = "the edge: deadlines and clocks of real sockets and disks"
)]

use crate::base::retry::{RetryAfter, parse_retry_after};
use crate::base::time::SpanNs;
use crate::io::tls::{Trust, TrustError, ca_certificates};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    ConnectionDetails, Connector, NextTimeout, RustlsConnector, TcpConnector, Transport,
};
use ureq::{Agent, Timeout};

/// Longest answer head, bytes.
const HEAD_SIZE_MAX: usize = 32 * 1024;
/// Kept-alive connections a host: calls are made one at a time.
const IDLE_PER_HOST: usize = 2;

/// What one transport may do and how long.
#[derive(Clone, Debug)]
pub struct RestConfig {
    pub trust: Trust,
    /// Refuse every address that is not this machine's own.
    pub loopback_only: bool,
    pub user_agent: String,
    /// Name to address.
    pub resolve_max: Duration,
    /// TCP and TLS together.
    pub connect_max: Duration,
    /// Request head and body.
    pub send_max: Duration,
    /// From the sent request to the answer's head.
    pub answer_max: Duration,
    /// The whole call, body included; a call may ask for less or more.
    pub total_max: Duration,
    /// Longest answer body, bytes.
    pub body_size_max: usize,
    /// Idle connections older than this are not used again. Servers often close after 60 s.
    pub idle_max: Duration,
}
impl Default for RestConfig {
    /// 10 s in total, bodies up to 8 MiB, connections kept for 50 s.
    fn default() -> Self {
        Self {
            trust: Trust::WebRoots,
            loopback_only: false,
            user_agent: "genesis".to_owned(),
            resolve_max: Duration::from_secs(3),
            connect_max: Duration::from_secs(5),
            send_max: Duration::from_secs(5),
            answer_max: Duration::from_secs(8),
            total_max: Duration::from_secs(10),
            body_size_max: 8 << 20,
            idle_max: Duration::from_secs(50),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
}

/// One call. The body is sent with POST only.
#[derive(Clone, Copy, Debug)]
pub struct RestRequest<'a> {
    pub method: Method,
    /// `http://…` or `https://…`, whole.
    pub url: &'a str,
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a [u8],
    /// Instead of the config's `total_max`.
    pub total_max: Option<Duration>,
}

/// Where the time of a call went. Spans of phases that did not happen are zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestTimings {
    pub resolve: SpanNs,
    pub connect: SpanNs,
    pub tls: SpanNs,
    /// From the call to the answer's head.
    pub first_byte: SpanNs,
    pub total: SpanNs,
    /// No new connection was made.
    pub pooled: bool,
}

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub struct RestReply {
    pub status: u16,
    pub body: Vec<u8>,
    pub content_type: String,
    pub etag: String,
    pub retry_after: Option<RetryAfter>,
    pub timings: RestTimings,
}

/// Whether the server may have acted on a call that failed. What decides if an order's outcome is
/// unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Not one byte of the request has left.
    No,
    Maybe,
}
/// What went wrong. Texts of libraries are not kept: nothing may branch on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestFault {
    /// The URL or a header cannot be sent.
    BadRequest,
    NotLoopback,
    Resolve,
    Connect,
    Tls,
    DeadlineResolve,
    DeadlineConnect,
    DeadlineSend,
    DeadlineAnswer,
    DeadlineTotal,
    /// The connection broke, or was shut down by `Stopper`.
    Broken(io::ErrorKind),
    /// Not HTTP/1.1.
    Protocol,
    /// The answer's head or body is longer than allowed.
    TooLong,
    Other,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestError {
    pub fault: RestFault,
    pub sent: Sent,
    pub timings: RestTimings,
}
impl fmt::Display for RestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sent = if self.sent == Sent::No { "not sent" } else { "may have been sent" };
        write!(f, "{:?} ({sent}, after {} ms)", self.fault, self.timings.total.as_ms())
    }
}

/// Ends a call in flight from another thread, and all later ones.
#[derive(Clone)]
pub struct Stopper(Agent);
impl Stopper {
    pub fn stop(self) {
        self.0.shutdown();
    }
}

/// One lane of calls with its own connections. For calls at the same time make several.
pub struct RestTransport {
    agent: Agent,
    probe: Arc<Probe>,
    total_max: Duration,
    body_size_max: usize,
}

impl RestTransport {
    /// # Errors
    /// Where the CA file cannot be used.
    pub fn new(config: &RestConfig) -> Result<RestTransport, TrustError> {
        let roots = match &config.trust {
            Trust::WebRoots => RootCerts::WebPki,
            Trust::CaFile(path) => {
                let list = ca_certificates(path)?;
                let list: Vec<_> =
                    list.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
                RootCerts::new_with_certs(&list)
            }
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = TlsConfig::builder()
            .root_certs(roots)
            .unversioned_rustls_crypto_provider(provider)
            .build();
        let agent_config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .tls_config(tls)
            .user_agent(config.user_agent.as_str())
            .accept_encoding("")
            .no_delay(true)
            .max_response_header_size(HEAD_SIZE_MAX)
            .max_idle_connections(2 * IDLE_PER_HOST)
            .max_idle_connections_per_host(IDLE_PER_HOST)
            .max_idle_age(config.idle_max)
            .timeout_resolve(Some(config.resolve_max))
            .timeout_connect(Some(config.connect_max))
            .timeout_send_request(Some(config.send_max))
            .timeout_send_body(Some(config.send_max))
            .timeout_recv_response(Some(config.answer_max))
            .timeout_recv_body(Some(config.total_max))
            .timeout_global(Some(config.total_max))
            .build();
        let probe = Arc::new(Probe::new());
        let connector = Mark { probe: probe.clone(), at: At::Connecting }
            .chain(TcpConnector::default())
            .chain(Mark { probe: probe.clone(), at: At::Connected })
            .chain(RustlsConnector::default())
            .chain(Mark { probe: probe.clone(), at: At::Secured });
        let resolver = TimedResolver {
            inner: DefaultResolver::default(),
            probe: probe.clone(),
            loopback_only: config.loopback_only,
        };
        Ok(RestTransport {
            agent: Agent::with_parts(agent_config, connector, resolver),
            probe,
            total_max: config.total_max,
            body_size_max: config.body_size_max,
        })
    }
    /// To interrupt a call from another thread.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.agent.clone())
    }
    /// Makes the call and waits for the whole answer; every status is an answer. Blocks up to the
    /// deadline.
    ///
    /// # Errors
    /// `RestError`, which says whether the server may have acted.
    pub fn call(&mut self, request: &RestRequest<'_>) -> Result<RestReply, RestError> {
        self.probe.begin();
        let started = Instant::now();
        let result = self.call_inner(request, started);
        let mut timings = self.probe.timings();
        timings.total = span_of(started);
        match result {
            Ok(mut reply) => {
                timings.first_byte = reply.timings.first_byte;
                reply.timings = timings;
                Ok(reply)
            }
            Err(fault) => {
                let sent = if self.probe.is_connected() { Sent::Maybe } else { Sent::No };
                let sent = match fault {
                    RestFault::BadRequest
                    | RestFault::NotLoopback
                    | RestFault::Resolve
                    | RestFault::Connect
                    | RestFault::Tls
                    | RestFault::DeadlineResolve
                    | RestFault::DeadlineConnect => Sent::No,
                    _ => sent,
                };
                Err(RestError { fault, sent, timings })
            }
        }
    }

    fn call_inner(
        &self,
        request: &RestRequest<'_>,
        started: Instant,
    ) -> Result<RestReply, RestFault> {
        let mut builder =
            ureq::http::Request::builder().uri(request.url).method(match request.method {
                Method::Get => ureq::http::Method::GET,
                Method::Post => ureq::http::Method::POST,
            });
        for (name, value) in request.headers {
            builder = builder.header(*name, *value);
        }
        // A config at the level of the request would make rustls build its roots anew for each cold
        // connection, so the agent's own is used wherever it says the same.
        let total = request.total_max.filter(|&total| total != self.total_max);
        let response = match request.method {
            Method::Get => {
                let request = builder.body(()).map_err(|_| RestFault::BadRequest)?;
                match total {
                    None => self.agent.run(request),
                    Some(total) => self.agent.run(
                        self.agent
                            .configure_request(request)
                            .timeout_global(Some(total))
                            .timeout_recv_body(Some(total))
                            .build(),
                    ),
                }
            }
            Method::Post => {
                let request = builder.body(request.body).map_err(|_| RestFault::BadRequest)?;
                match total {
                    None => self.agent.run(request),
                    Some(total) => self.agent.run(
                        self.agent
                            .configure_request(request)
                            .timeout_global(Some(total))
                            .timeout_recv_body(Some(total))
                            .build(),
                    ),
                }
            }
        };
        let mut response = response.map_err(|error| self.classify(&error))?;
        let first_byte = span_of(started);
        let header = |name: &str| {
            let value = response.headers().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or("").to_owned()
        };
        let status = response.status().as_u16();
        let (content_type, etag) = (header("content-type"), header("etag"));
        let retry_after = parse_retry_after(&header("retry-after"));
        let body = response
            .body_mut()
            .with_config()
            .limit(self.body_size_max as u64)
            .read_to_vec()
            .map_err(|error| self.classify(&error))?;
        let timings = RestTimings { first_byte, ..RestTimings::default() };
        Ok(RestReply { status, body, content_type, etag, retry_after, timings })
    }

    fn classify(&self, error: &ureq::Error) -> RestFault {
        use ureq::Error;
        if self.probe.was_far() {
            return RestFault::NotLoopback;
        }
        match error {
            Error::Http(_) | Error::BadUri(_) | Error::RequireHttpsOnly(_) => RestFault::BadRequest,
            Error::HostNotFound => RestFault::Resolve,
            Error::ConnectionFailed => RestFault::Connect,
            Error::Tls(_) | Error::Rustls(_) | Error::Pem(_) | Error::TlsRequired => RestFault::Tls,
            Error::Timeout(phase) => match phase {
                Timeout::Resolve => RestFault::DeadlineResolve,
                Timeout::Connect => RestFault::DeadlineConnect,
                Timeout::SendRequest | Timeout::SendBody => RestFault::DeadlineSend,
                Timeout::RecvResponse => RestFault::DeadlineAnswer,
                _ => RestFault::DeadlineTotal,
            },
            Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                // How rustls's refusals come through `complete_io`.
                if self.probe.is_connected() { RestFault::Protocol } else { RestFault::Tls }
            }
            Error::Io(error) => {
                if !self.probe.is_resolved() {
                    RestFault::Resolve
                } else if !self.probe.is_connected() {
                    RestFault::Connect
                } else {
                    RestFault::Broken(error.kind())
                }
            }
            Error::Protocol(_) => RestFault::Protocol,
            Error::BodyExceedsLimit(_) | Error::LargeResponseHeader(..) => RestFault::TooLong,
            _ => RestFault::Other,
        }
    }
}

fn span_of(started: Instant) -> SpanNs {
    SpanNs(started.elapsed().as_nanos() as i64)
}

/// Points of the call in flight, ns since `zero`; 0 = not reached. A pooled call reaches `resolved`
/// only.
#[derive(Debug)]
struct Probe {
    zero: Instant,
    resolve_from: AtomicU64,
    resolved: AtomicU64,
    connecting: AtomicU64,
    connected: AtomicU64,
    secured: AtomicU64,
    /// An address was refused by `loopback_only`.
    far: AtomicU64,
}
impl Probe {
    fn new() -> Probe {
        let none = || AtomicU64::new(0);
        Probe {
            zero: Instant::now(),
            resolve_from: none(),
            resolved: none(),
            connecting: none(),
            connected: none(),
            secured: none(),
            far: none(),
        }
    }
    fn begin(&self) {
        for point in [
            &self.resolve_from,
            &self.resolved,
            &self.connecting,
            &self.connected,
            &self.secured,
            &self.far,
        ] {
            point.store(0, Ordering::Relaxed);
        }
    }
    fn mark(&self, point: &AtomicU64) {
        point.store(self.zero.elapsed().as_nanos() as u64 | 1, Ordering::Relaxed);
    }
    fn is_resolved(&self) -> bool {
        self.resolved.load(Ordering::Relaxed) > 0
    }
    /// Pooled connections count: they were never opened in this call, and may have carried bytes.
    fn is_connected(&self) -> bool {
        let opening = self.connecting.load(Ordering::Relaxed) > 0;
        self.is_resolved() && (!opening || self.secured.load(Ordering::Relaxed) > 0)
    }
    fn was_far(&self) -> bool {
        self.far.load(Ordering::Relaxed) > 0
    }
    fn timings(&self) -> RestTimings {
        let at = |point: &AtomicU64| point.load(Ordering::Relaxed);
        let span =
            |from: u64, to: u64| SpanNs(if from > 0 { to.saturating_sub(from) } else { 0 } as i64);
        RestTimings {
            resolve: span(at(&self.resolve_from), at(&self.resolved)),
            connect: span(at(&self.resolved), at(&self.connected)),
            tls: span(at(&self.connected), at(&self.secured)),
            pooled: self.is_resolved() && at(&self.connecting) == 0,
            ..RestTimings::default()
        }
    }
}

#[derive(Debug)]
struct TimedResolver {
    inner: DefaultResolver,
    probe: Arc<Probe>,
    loopback_only: bool,
}
impl fmt::Debug for RestTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestTransport").finish_non_exhaustive()
    }
}
impl Resolver for TimedResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        self.probe.mark(&self.probe.resolve_from);
        let found = self.inner.resolve(uri, config, timeout)?;
        if self.loopback_only && found.iter().any(|address| !address.ip().is_loopback()) {
            self.probe.mark(&self.probe.far);
            return Err(ureq::Error::HostNotFound);
        }
        self.probe.mark(&self.probe.resolved);
        Ok(found)
    }
}

#[derive(Clone, Copy, Debug)]
enum At {
    Connecting,
    Connected,
    Secured,
}
/// A link of the connector chain that notes when it was reached.
#[derive(Debug)]
struct Mark {
    probe: Arc<Probe>,
    at: At,
}
impl<In: Transport> Connector<In> for Mark {
    type Out = In;
    fn connect(
        &self,
        _: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<In>, ureq::Error> {
        match self.at {
            At::Connecting => self.probe.mark(&self.probe.connecting),
            At::Connected if chained.is_some() => self.probe.mark(&self.probe.connected),
            At::Secured if chained.is_some() => self.probe.mark(&self.probe.secured),
            At::Connected | At::Secured => {}
        }
        Ok(chained)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::tls::test_server::{TestAuthority, accept, authority};
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;

    trait Conn: Read + Write {}
    impl<T: Read + Write> Conn for T {}

    /// Answers requests on one connection after another with `answer(request head + body)`; an
    /// empty answer closes, `None` is silence.
    fn serve(
        tls: Option<&TestAuthority>,
        mut answer: impl FnMut(&str) -> Option<Vec<u8>> + Send + 'static,
    ) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let config = tls.map(|authority| authority.server.clone());
        std::thread::spawn(move || {
            for tcp in listener.incoming() {
                let tcp = tcp.unwrap();
                let conn: Box<dyn Conn> = match &config {
                    Some(config) => Box::new(accept(config, tcp)),
                    None => Box::new(tcp),
                };
                let mut conn = BufReader::new(conn);
                'requests: loop {
                    let mut request = String::new();
                    while !request.ends_with("\r\n\r\n") {
                        if conn.read_line(&mut request).unwrap_or(0) == 0 {
                            break 'requests;
                        }
                    }
                    let length = request
                        .lines()
                        .find_map(|line| {
                            line.to_ascii_lowercase()
                                .strip_prefix("content-length: ")
                                .map(str::to_owned)
                        })
                        .and_then(|text| text.parse().ok())
                        .unwrap_or(0);
                    let mut body = vec![0; length];
                    conn.read_exact(&mut body).unwrap();
                    request.push_str(std::str::from_utf8(&body).unwrap());
                    match answer(&request) {
                        None => std::thread::sleep(Duration::from_secs(2)),
                        Some(bytes) if bytes.is_empty() => break,
                        Some(bytes) => {
                            conn.get_mut().write_all(&bytes).unwrap();
                            conn.get_mut().flush().unwrap();
                        }
                    }
                }
            }
        });
        port
    }
    fn reply(status: &str, headers: &str, body: &str) -> Option<Vec<u8>> {
        Some(
            format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
                .into_bytes(),
        )
    }
    fn config() -> RestConfig {
        RestConfig { loopback_only: true, ..RestConfig::default() }
    }
    fn get(url: &str) -> RestRequest<'_> {
        RestRequest { method: Method::Get, url, headers: &[], body: b"", total_max: None }
    }

    #[test]
    fn a_call_carries_headers_and_body_and_every_status_is_an_answer() {
        for tls in [false, true] {
            let authority = authority();
            let port = serve(tls.then_some(&authority), |request| {
                assert!(request.contains("bfx-nonce: 12\r\n"), "{request}");
                assert!(request.ends_with("{\"id\":1}"), "{request}");
                assert!(request.starts_with("POST /v2/auth/r/orders?x=1 HTTP/1.1\r\n"));
                let headers =
                    "content-type: application/json\r\nETag: \"abc\"\r\nRetry-After: 7\r\n";
                reply("500 Internal Server Error", headers, "[\"error\",10100,\"nonce: small\"]")
            });
            let mut config = config();
            config.trust = authority.trust.clone();
            let mut transport = RestTransport::new(&config).unwrap();
            let scheme = if tls { "https" } else { "http" };
            let url = format!("{scheme}://127.0.0.1:{port}/v2/auth/r/orders?x=1");
            let request = RestRequest {
                method: Method::Post,
                url: &url,
                headers: &[("bfx-nonce", "12"), ("content-type", "application/json")],
                body: b"{\"id\":1}",
                total_max: None,
            };
            for pooled in [false, true] {
                let found = transport.call(&request).unwrap();
                assert_eq!(found.status, 500);
                assert_eq!(found.body, b"[\"error\",10100,\"nonce: small\"]");
                assert_eq!(
                    (found.content_type.as_str(), found.etag.as_str()),
                    ("application/json", "\"abc\"")
                );
                assert_eq!(found.retry_after, Some(RetryAfter::Seconds(7)));
                let timings = found.timings;
                assert_eq!(timings.pooled, pooled);
                assert!(timings.first_byte.0 > 0 && timings.total >= timings.first_byte);
                assert_eq!(timings.connect.0 > 0, !pooled);
                assert!(timings.tls.0 > 100_000 || pooled || !tls, "{timings:?}");
            }
        }
    }

    #[test]
    fn redirects_are_answers_and_are_not_followed() {
        let port = serve(None, |_| reply("302 Found", "location: http://127.0.0.1:1/\r\n", ""));
        let mut transport = RestTransport::new(&config()).unwrap();
        let url = format!("http://127.0.0.1:{port}/");
        assert_eq!(transport.call(&get(&url)).unwrap().status, 302);
    }

    #[test]
    fn a_silent_server_meets_the_deadline_and_the_call_may_have_been_sent() {
        let port = serve(None, |_| None);
        let mut transport = RestTransport::new(&config()).unwrap();
        let url = format!("http://127.0.0.1:{port}/");
        let mut request = get(&url);
        request.total_max = Some(Duration::from_millis(80));
        let error = transport.call(&request).unwrap_err();
        assert!(
            matches!(error.fault, RestFault::DeadlineTotal | RestFault::DeadlineAnswer),
            "{error}"
        );
        assert_eq!(error.sent, Sent::Maybe);
        assert!(error.timings.total.as_ms() >= 80 && error.timings.total.as_ms() < 1_500);
    }

    #[test]
    fn failures_before_the_request_say_that_nothing_was_sent() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let ours = authority();
        let stranger = serve(Some(&authority()), |_| reply("200 OK", "", ""));
        let mut config = config();
        config.trust = ours.trust.clone();
        let mut transport = RestTransport::new(&config).unwrap();
        for (url, fault) in [
            (format!("http://127.0.0.1:{closed}/"), RestFault::Connect),
            (format!("https://127.0.0.1:{stranger}/"), RestFault::Tls),
            ("http://192.0.2.1/".to_owned(), RestFault::NotLoopback),
            ("not a url".to_owned(), RestFault::BadRequest),
        ] {
            let error = transport.call(&get(&url)).unwrap_err();
            assert_eq!((error.fault, error.sent), (fault, Sent::No), "{url}: {error}");
        }
    }

    #[test]
    fn a_connection_that_dies_in_the_answer_may_have_acted() {
        for answer in ["", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort", "rubbish\r\n\r\n"]
        {
            let mut first = true;
            let port = serve(None, move |_| {
                let bytes = if first { answer.as_bytes().to_vec() } else { Vec::new() };
                first = false;
                Some(bytes)
            });
            let mut transport = RestTransport::new(&config()).unwrap();
            let url = format!("http://127.0.0.1:{port}/");
            let mut request = get(&url);
            request.total_max = Some(Duration::from_millis(300));
            let error = transport.call(&request).unwrap_err();
            assert_eq!(error.sent, Sent::Maybe, "{answer:?}: {error}");
        }
    }

    #[test]
    fn an_answer_that_is_too_long_is_cut_off() {
        let port = serve(None, |_| reply("200 OK", "", &"x".repeat(20_000)));
        let mut config = config();
        config.body_size_max = 10_000;
        let mut transport = RestTransport::new(&config).unwrap();
        let url = format!("http://127.0.0.1:{port}/");
        assert_eq!(transport.call(&get(&url)).unwrap_err().fault, RestFault::TooLong);
    }

    #[test]
    fn a_stopper_ends_a_call_in_flight() {
        let port = serve(None, |_| None);
        let mut transport = RestTransport::new(&config()).unwrap();
        let stopper = transport.stopper();
        let url = format!("http://127.0.0.1:{port}/");
        let from = Instant::now();
        let thread = std::thread::spawn(move || transport.call(&get(&url)).unwrap_err());
        std::thread::sleep(Duration::from_millis(100));
        stopper.stop();
        let error = thread.join().unwrap();
        assert!(from.elapsed() < Duration::from_millis(1_500), "{error}");
        assert_eq!(error.sent, Sent::Maybe);
    }
}
