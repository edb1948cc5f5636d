//! HTTP/1.1 by `ureq`: one blocking call at a time over kept-alive connections, with a hard
//! deadline for each phase and in total, and a record of where the time went.

#![allow(
    clippy::disallowed_methods,
    reason = "the edge: deadlines and clocks of real sockets and disks"
)]

pub use super::http::*;

use crate::base::retry::retry_after_of;
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
    Buffers, ConnectionDetails, Connector, NextTimeout, RustlsConnector, TcpConnector,
    Transport as Wire,
};
use ureq::{Agent, Timeout};

/// Kept-alive connections a host: calls are made one at a time.
const IDLE_PER_HOST: usize = 2;

/// One lane of calls with its own connections. For calls at the same time make several.
pub struct RestTransport {
    agent: Agent,
    probe: Arc<Probe>,
    total_max: Duration,
    read_max: Duration,
    body_size_max: usize,
    stopped: Arc<AtomicU64>,
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
            .timeout_recv_body(Some(config.read_max))
            .timeout_global(Some(config.total_max))
            .build();
        let probe = Arc::new(Probe::new());
        let connector = Mark { probe: probe.clone(), at: At::Connecting }
            .chain(TcpConnector::default())
            .chain(Mark { probe: probe.clone(), at: At::Connected })
            .chain(RustlsConnector::default())
            .chain(Mark { probe: probe.clone(), at: At::Secured })
            .chain(Count { probe: probe.clone() });
        let resolver = TimedResolver {
            inner: DefaultResolver::default(),
            probe: probe.clone(),
            loopback_only: config.loopback_only,
        };
        Ok(RestTransport {
            agent: Agent::with_parts(agent_config, connector, resolver),
            probe,
            total_max: config.total_max,
            read_max: config.read_max,
            body_size_max: config.body_size_max,
            stopped: Arc::new(AtomicU64::new(0)),
        })
    }
    /// See `Transport`.
    pub fn stopper(&self) -> Stopper {
        let (agent, stopped) = (self.agent.clone(), self.stopped.clone());
        Stopper::new(move || {
            stopped.store(1, Ordering::Release);
            agent.clone().shutdown();
        })
    }
    /// See `Transport`.
    ///
    /// # Errors
    /// `RestError`, which says whether the server may have acted.
    pub fn call(&mut self, request: &RestRequest<'_>) -> Result<RestReply, RestError> {
        self.probe.begin();
        let started = Instant::now();
        let result = self.call_inner(request);
        let mut timings = self.probe.timings();
        timings.total = span_of(started);
        match result {
            Ok(mut reply) => {
                timings.spoken = Spoken::Http11;
                reply.timings = timings;
                Ok(reply)
            }
            Err(fault) => {
                let is_unsent = fault.is_before_sending() || !self.probe.is_connected();
                let stopped = self.stopped.load(Ordering::Acquire) != 0;
                let fault = if stopped { RestFault::Stopped } else { fault };
                let sent = if is_unsent { Sent::No } else { Sent::Maybe };
                Err(RestError { fault, sent, timings })
            }
        }
    }

    fn call_inner(&self, request: &RestRequest<'_>) -> Result<RestReply, RestFault> {
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
                            .timeout_recv_body(Some(self.read_max.max(total)))
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
                            .timeout_recv_body(Some(self.read_max.max(total)))
                            .build(),
                    ),
                }
            }
        };
        let mut response = response.map_err(|error| self.classify(&error))?;
        let header = |name: &str| {
            let value = response.headers().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or("").to_owned()
        };
        let status = response.status().as_u16();
        let (content_type, etag) = (header("content-type"), header("etag"));
        let retry_after = retry_after_of(&header("retry-after"), &header("date"));
        let body = response
            .body_mut()
            .with_config()
            .limit(self.body_size_max as u64)
            .read_to_vec()
            .map_err(|error| self.classify(&error))?;
        let timings = RestTimings::default();
        Ok(RestReply { status, body, content_type, etag, retry_after, timings })
    }

    fn classify(&self, error: &ureq::Error) -> RestFault {
        use ureq::Error;
        if self.probe.has(At::Far) {
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
                if !self.probe.has(At::Resolved) {
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

/// Points of the call in flight, ns since `zero`; 0 = not reached. A pooled call skips those of the
/// connection.
#[derive(Debug)]
struct Probe {
    zero: Instant,
    points: [AtomicU64; At::COUNT],
    bytes_out: AtomicU64,
    bytes_in: AtomicU64,
}
impl Probe {
    fn new() -> Probe {
        Probe {
            zero: Instant::now(),
            points: [const { AtomicU64::new(0) }; At::COUNT],
            bytes_out: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
        }
    }
    fn begin(&self) {
        self.points.iter().for_each(|point| point.store(0, Ordering::Relaxed));
        self.bytes_out.store(0, Ordering::Relaxed);
        self.bytes_in.store(0, Ordering::Relaxed);
        self.mark(At::Begun);
    }
    fn mark(&self, at: At) {
        let now = self.zero.elapsed().as_nanos() as u64 | 1;
        self.points[at as usize].store(now, Ordering::Relaxed);
    }
    fn at(&self, at: At) -> u64 {
        self.points[at as usize].load(Ordering::Relaxed)
    }
    fn has(&self, at: At) -> bool {
        self.at(at) > 0
    }
    /// Pooled connections count: they were never opened in this call, and may have carried bytes.
    fn is_connected(&self) -> bool {
        self.has(At::Resolved) && (!self.has(At::Connecting) || self.has(At::Secured))
    }
    fn timings(&self) -> RestTimings {
        let span = |from: At, to: At| {
            let (from, to) = (self.at(from), self.at(to));
            SpanNs(if from > 0 { to.saturating_sub(from) } else { 0 } as i64)
        };
        RestTimings {
            resolve: span(At::Resolving, At::Resolved),
            connect: span(At::Connecting, At::Connected),
            // Plain connections are "secured" at once.
            tls: span(At::Connected, At::Secured),
            sent: span(At::Begun, At::Sent),
            first_byte: span(At::Begun, At::FirstByte),
            total: SpanNs::ZERO,
            pooled: self.has(At::Resolved) && !self.has(At::Connecting),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            spoken: Spoken::Unknown,
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
        self.probe.mark(At::Resolving);
        let found = self.inner.resolve(uri, config, timeout)?;
        if self.loopback_only && found.iter().any(|address| !address.ip().is_loopback()) {
            self.probe.mark(At::Far);
            return Err(ureq::Error::HostNotFound);
        }
        self.probe.mark(At::Resolved);
        Ok(found)
    }
}

#[derive(Clone, Copy, Debug)]
enum At {
    Begun,
    Resolving,
    Resolved,
    /// An address was refused by `loopback_only`.
    Far,
    Connecting,
    Connected,
    Secured,
    Sent,
    FirstByte,
}
impl At {
    const COUNT: usize = At::FirstByte as usize + 1;
}
/// A link of the connector chain that notes when it was reached.
#[derive(Debug)]
struct Mark {
    probe: Arc<Probe>,
    at: At,
}
impl<In: Wire> Connector<In> for Mark {
    type Out = In;
    fn connect(
        &self,
        _: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<In>, ureq::Error> {
        if matches!(self.at, At::Connecting) || chained.is_some() {
            self.probe.mark(self.at);
        }
        Ok(chained)
    }
}

/// The last link: counts the bytes of requests and answers, and notes when they pass. It stays with
/// its connection in the pool.
#[derive(Debug)]
struct Count {
    probe: Arc<Probe>,
}
impl<In: Wire> Connector<In> for Count {
    type Out = Counted<In>;
    fn connect(
        &self,
        _: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Counted<In>>, ureq::Error> {
        Ok(chained.map(|inner| Counted { inner, probe: self.probe.clone() }))
    }
}
#[derive(Debug)]
struct Counted<In> {
    inner: In,
    probe: Arc<Probe>,
}
impl<In: Wire> Wire for Counted<In> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }
    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.inner.transmit_output(amount, timeout)?;
        self.probe.bytes_out.fetch_add(amount as u64, Ordering::Relaxed);
        self.probe.mark(At::Sent);
        Ok(())
    }
    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        let before = self.inner.buffers().input().len();
        let progress = self.inner.await_input(timeout)?;
        let added = self.inner.buffers().input().len().saturating_sub(before);
        if added > 0 && !self.probe.has(At::FirstByte) {
            self.probe.mark(At::FirstByte);
        }
        self.probe.bytes_in.fetch_add(added as u64, Ordering::Relaxed);
        Ok(progress)
    }
    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }
    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

impl Transport for RestTransport {
    fn call(&mut self, request: &RestRequest<'_>) -> Result<RestReply, RestError> {
        RestTransport::call(self, request)
    }
    fn stopper(&self) -> Stopper {
        RestTransport::stopper(self)
    }
    fn name(&self) -> &'static str {
        "ureq"
    }
}

#[cfg(test)]
#[path = "rest_tests.rs"]
mod tests;
