//! HTTP/2 and HTTP/1.1 by libcurl. One thread drives all calls of a hub; a lane hands its call in
//! and waits for it, so that calls of several lanes travel side by side on one connection where the
//! server speaks HTTP/2.
//!
//! libcurl makes a call again by itself when a kept connection turns out dead. For an order that
//! would be one order too many: bodies are therefore read by a callback that cannot begin anew, so
//! that a POST of which anything may have been read is never repeated.

#![allow(
    clippy::disallowed_methods,
    reason = "the edge: deadlines and clocks of real sockets and disks"
)]

use super::http::{
    HEAD_SIZE_MAX, HttpVersion, Method, RestConfig, RestError, RestFault, RestReply, RestRequest,
    RestTimings, Sent, Spoken, Stopper, Transport, TransportError,
};
use crate::base::limits::REST_IN_FLIGHT_MAX;
use crate::base::retry::retry_after_of;
use crate::base::time::SpanNs;
use crate::io::tls::{Trust, ca_certificates};
use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use curl::easy::{Easy2, Handler, List, ReadError, WriteError};
use curl::multi::{Easy2Handle, Multi, MultiWaker};
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// Longest sleep of the hub's thread when nothing happens.
const IDLE_MAX: Duration = Duration::from_secs(1);
/// How often deadlines are looked at that libcurl does not know.
const WATCH_EVERY: Duration = Duration::from_millis(20);
/// Kept connections a host, for HTTP/1.1.
const CONNECTIONS_PER_HOST: usize = 4;

struct Job {
    method: Method,
    url: String,
    /// Whole lines; signatures and key ids among them are wiped.
    headers: Vec<Zeroizing<String>>,
    body: Zeroizing<Vec<u8>>,
    total_max: Duration,
    stopped: Arc<AtomicBool>,
    answer: Sender<Result<RestReply, RestError>>,
}

struct Settings {
    config: RestConfig,
    /// Trusted roots as one PEM text.
    roots: Vec<u8>,
}

/// The thread and its connections; ends when the hub and its lanes are gone.
pub struct CurlHub {
    jobs: Sender<Job>,
    waker: Arc<MultiWaker>,
    total_max: Duration,
}

impl CurlHub {
    /// # Errors
    /// The CA file cannot be used, or libcurl or its thread cannot start.
    pub fn start(config: &RestConfig) -> Result<CurlHub, TransportError> {
        let roots = match &config.trust {
            Trust::WebRoots => {
                pem(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().map(AsRef::as_ref))
            }
            Trust::CaFile(path) => pem(ca_certificates(path)?.iter().map(AsRef::as_ref)),
        };
        curl::init();
        let settings = Settings { config: config.clone(), roots };
        let (jobs, inbox) = bounded(REST_IN_FLIGHT_MAX);
        let (ready, started) = bounded(1);
        let body = move || {
            let mut multi = Multi::new();
            // Failing to set these would cost speed, not correctness.
            let _ = multi.pipelining(false, true);
            let _ = multi.set_max_host_connections(CONNECTIONS_PER_HOST);
            let _ = ready.send(multi.waker());
            Hub { settings, multi, calls: Vec::new() }.run(&inbox);
        };
        std::thread::Builder::new()
            .name("rest-http2".to_owned())
            .spawn(body)
            .map_err(TransportError::Start)?;
        let waker = started.recv().map_err(|_| {
            TransportError::Start(io::Error::other("the thread of libcurl ended at once"))
        })?;
        Ok(CurlHub { jobs, waker: Arc::new(waker), total_max: config.total_max })
    }
    pub fn lane(&self) -> CurlTransport {
        CurlTransport {
            jobs: self.jobs.clone(),
            waker: self.waker.clone(),
            total_max: self.total_max,
            stopped: Arc::new(AtomicBool::new(false)),
        }
    }
}

/// A lane of a hub.
pub struct CurlTransport {
    jobs: Sender<Job>,
    waker: Arc<MultiWaker>,
    total_max: Duration,
    stopped: Arc<AtomicBool>,
}

impl Transport for CurlTransport {
    fn call(&mut self, request: &RestRequest<'_>) -> Result<RestReply, RestError> {
        let failed =
            |fault| Err(RestError { fault, sent: Sent::No, timings: RestTimings::default() });
        let is_line = |text: &str| text.bytes().all(|byte| (b' '..0x7f).contains(&byte));
        let mut headers = Vec::with_capacity(request.headers.len());
        for (name, value) in request.headers {
            if !is_line(name) || !is_line(value) || name.is_empty() || name.contains(':') {
                return failed(RestFault::BadRequest);
            }
            headers.push(Zeroizing::new(format!("{name}: {value}")));
        }
        let (answer, wait) = bounded(1);
        let job = Job {
            method: request.method,
            url: request.url.to_owned(),
            headers,
            body: Zeroizing::new(request.body.to_vec()),
            total_max: request.total_max.unwrap_or(self.total_max),
            stopped: self.stopped.clone(),
            answer,
        };
        if self.jobs.send(job).is_err() {
            return failed(RestFault::Stopped);
        }
        let _ = self.waker.wakeup();
        // The hub answers every job: it ends at its deadline at the latest.
        wait.recv().unwrap_or_else(|_| {
            let timings = RestTimings::default();
            Err(RestError { fault: RestFault::Stopped, sent: Sent::Maybe, timings })
        })
    }
    fn stopper(&self) -> Stopper {
        let (stopped, waker) = (self.stopped.clone(), self.waker.clone());
        Stopper::new(move || {
            stopped.store(true, Ordering::Release);
            let _ = waker.wakeup();
        })
    }
    fn name(&self) -> &'static str {
        "libcurl"
    }
}

/// What libcurl tells while a call is on its way.
#[derive(Default)]
struct Collect {
    request: Zeroizing<Vec<u8>>,
    request_read: usize,
    spoken: Spoken,
    head_size: usize,
    content_type: String,
    etag: String,
    retry_after: String,
    date: String,
    body: Vec<u8>,
    body_size_max: usize,
    too_long: bool,
    is_tls: bool,
}
impl Collect {
    fn is_answered(&self) -> bool {
        self.head_size > 0 || !self.body.is_empty()
    }
}
impl Handler for Collect {
    fn read(&mut self, data: &mut [u8]) -> Result<usize, ReadError> {
        let rest = &self.request[self.request_read..];
        let count = rest.len().min(data.len());
        data[..count].copy_from_slice(&rest[..count]);
        self.request_read += count;
        Ok(count)
    }
    fn header(&mut self, line: &[u8]) -> bool {
        self.head_size += line.len();
        if self.head_size > HEAD_SIZE_MAX {
            self.too_long = true;
            return false;
        }
        if line.starts_with(b"HTTP/") {
            self.spoken = if line.starts_with(b"HTTP/2") { Spoken::Http2 } else { Spoken::Http11 };
        } else if let Some(colon) = line.iter().position(|byte| *byte == b':') {
            let value = String::from_utf8_lossy(&line[colon + 1..]).trim().to_owned();
            match line[..colon].to_ascii_lowercase().as_slice() {
                b"content-type" => self.content_type = value,
                b"etag" => self.etag = value,
                b"retry-after" => self.retry_after = value,
                b"date" => self.date = value,
                _ => {}
            }
        }
        true
    }
    fn write(&mut self, data: &[u8]) -> Result<usize, WriteError> {
        if self.body.len() + data.len() > self.body_size_max {
            self.too_long = true;
            return Ok(0);
        }
        self.body.extend_from_slice(data);
        Ok(data.len())
    }
}

struct Call {
    handle: Easy2Handle<Collect>,
    started: Instant,
    stopped: Arc<AtomicBool>,
    answer: Sender<Result<RestReply, RestError>>,
}

struct Hub {
    settings: Settings,
    multi: Multi,
    calls: Vec<Call>,
}

impl Hub {
    fn run(mut self, inbox: &Receiver<Job>) {
        loop {
            loop {
                match inbox.try_recv() {
                    Ok(job) => self.begin(job),
                    Err(TryRecvError::Empty) => break,
                    // Nobody can ask any more, and whoever asked is gone with its lane.
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            // What libcurl says of a call stands in its message; the rest is its own business.
            let _ = self.multi.perform();
            let mut ended = Vec::new();
            self.multi.messages(|message| {
                let of = |call: &Call| message.is_for2(&call.handle);
                if let Some(index) = self.calls.iter().position(of)
                    && let Some(result) = message.result_for2(&self.calls[index].handle)
                {
                    ended.push((index, result.err()));
                }
            });
            ended.sort_by_key(|(index, _)| std::cmp::Reverse(*index));
            let progress = !ended.is_empty();
            for (index, error) in ended {
                let call = self.calls.swap_remove(index);
                self.end(call, error, None);
            }
            self.watch();
            if !progress {
                let pause = if self.calls.is_empty() { IDLE_MAX } else { WATCH_EVERY };
                let _ = self.multi.poll(&mut [], pause);
            }
        }
    }

    fn begin(&mut self, job: Job) {
        let started = Instant::now();
        let answer = job.answer.clone();
        let stopped = job.stopped.clone();
        let fault = match self.set_up(job) {
            Ok(easy) => match self.multi.add2(easy) {
                Ok(handle) => {
                    self.calls.push(Call { handle, started, stopped, answer });
                    return;
                }
                Err(_) => RestFault::Other,
            },
            Err(fault) => fault,
        };
        let timings = RestTimings { total: span_of(started), ..RestTimings::default() };
        let _ = answer.send(Err(RestError { fault, sent: Sent::No, timings }));
    }

    fn set_up(&self, job: Job) -> Result<Easy2<Collect>, RestFault> {
        let config = &self.settings.config;
        let is_tls = job.url.starts_with("https://");
        let host = host_of(&job.url).ok_or(RestFault::BadRequest)?;
        if config.loopback_only && !is_loopback(host) {
            return Err(RestFault::NotLoopback);
        }
        let body_size = job.body.len() as u64;
        let collect = Collect {
            request: job.body,
            body_size_max: config.body_size_max,
            is_tls,
            ..Collect::default()
        };
        let mut easy = Easy2::new(collect);
        let set = |easy: &mut Easy2<Collect>| -> Result<(), curl::Error> {
            easy.url(&job.url)?;
            easy.signal(false)?;
            easy.follow_location(false)?;
            easy.proxy("")?;
            easy.tcp_nodelay(true)?;
            easy.useragent(&config.user_agent)?;
            easy.http_version(match (config.version, is_tls) {
                (HttpVersion::V11, _) => curl::easy::HttpVersion::V11,
                (HttpVersion::V2, false) => curl::easy::HttpVersion::V2PriorKnowledge,
                (HttpVersion::Auto | HttpVersion::V2, _) => curl::easy::HttpVersion::V2TLS,
            })?;
            // A second call waits for the first one's handshake to tell whether they may share.
            easy.pipewait(true)?;
            easy.ssl_cainfo_blob(&self.settings.roots)?;
            easy.maxage_conn(config.idle_max)?;
            easy.connect_timeout(config.connect_max + config.resolve_max)?;
            easy.timeout(job.total_max)?;
            let mut list = List::new();
            // Neither asked for nor understood here.
            list.append("Expect:")?;
            for line in &job.headers {
                list.append(line)?;
            }
            if job.method == Method::Post {
                easy.post(true)?;
                easy.post_field_size(body_size)?;
                if !job.headers.iter().any(|line| line.to_lowercase().starts_with("content-type")) {
                    list.append("Content-Type:")?;
                }
            }
            easy.http_headers(list)
        };
        set(&mut easy).map_err(|_| RestFault::BadRequest)?;
        Ok(easy)
    }

    /// Ends calls that were stopped or that met a deadline libcurl does not know.
    fn watch(&mut self) {
        let config = &self.settings.config;
        let mut index = 0;
        let mut ended = Vec::new();
        while index < self.calls.len() {
            let call = &self.calls[index];
            let elapsed = call.started.elapsed();
            let facts = timings_of(&call.handle, call.started);
            let is_answered = call.handle.get_ref().is_answered();
            let is_connected = is_connected(&call.handle, &facts);
            let since =
                |point: SpanNs| elapsed.saturating_sub(Duration::from_nanos(point.0.max(0) as u64));
            let fault = if call.stopped.load(Ordering::Acquire) {
                Some(RestFault::Stopped)
            } else if !is_answered && is_connected && since(facts.sent) > config.answer_max {
                Some(RestFault::DeadlineAnswer)
            } else if is_answered && since(facts.first_byte) > config.read_max {
                Some(RestFault::DeadlineTotal)
            } else {
                None
            };
            match fault {
                Some(fault) => ended.push((self.calls.swap_remove(index), fault)),
                None => index += 1,
            }
        }
        for (call, fault) in ended {
            self.end(call, None, Some(fault));
        }
    }

    fn end(&self, call: Call, error: Option<curl::Error>, fault: Option<RestFault>) {
        let Call { handle, started, answer, .. } = call;
        // Fails on a handle that is not in the multi only; ours is.
        let Ok(mut easy) = self.multi.remove2(handle) else { return };
        let timings = timings_of(&easy, started);
        let fault = fault.or_else(|| error.map(|error| classify(&error, &easy, &timings)));
        let result = match fault {
            None => {
                let status = easy.response_code().unwrap_or(0);
                let collect = easy.get_mut();
                Ok(RestReply {
                    status: u16::try_from(status).unwrap_or(0),
                    body: std::mem::take(&mut collect.body),
                    content_type: std::mem::take(&mut collect.content_type),
                    etag: std::mem::take(&mut collect.etag),
                    retry_after: retry_after_of(&collect.retry_after, &collect.date),
                    timings,
                })
            }
            Some(fault) => {
                let unsent = fault.is_before_sending() || !is_connected(&easy, &timings);
                let sent = if unsent { Sent::No } else { Sent::Maybe };
                Err(RestError { fault, sent, timings })
            }
        };
        let _ = answer.send(result);
    }
}

/// What a call tells, in libcurl's multi or out of it.
trait Facts {
    fn collect(&self) -> &Collect;
    /// Points from the start of the call, zero where not reached: name, TCP, TLS, ready to send,
    /// first byte.
    fn points(&self) -> [SpanNs; 5];
    fn connections(&self) -> u64;
    fn request_size(&self) -> u64;
}
macro_rules! facts {
    ($kind:ty) => {
        impl Facts for $kind {
            fn collect(&self) -> &Collect {
                self.get_ref()
            }
            fn points(&self) -> [SpanNs; 5] {
                [
                    self.namelookup_time(),
                    self.connect_time(),
                    self.appconnect_time(),
                    self.pretransfer_time(),
                    self.starttransfer_time(),
                ]
                .map(|time| SpanNs(time.unwrap_or_default().as_nanos() as i64))
            }
            fn connections(&self) -> u64 {
                self.num_connects().unwrap_or(0)
            }
            fn request_size(&self) -> u64 {
                <$kind>::request_size(self).unwrap_or(0)
            }
        }
    };
}
facts!(Easy2<Collect>);
facts!(Easy2Handle<Collect>);

fn timings_of(call: &impl Facts, started: Instant) -> RestTimings {
    let collect = call.collect();
    let [resolved, connected, secured, sent, first_byte] = call.points();
    let pooled = call.connections() == 0 && call.request_size() > 0;
    let span = |from: SpanNs, to: SpanNs| SpanNs(if pooled { 0 } else { (to.0 - from.0).max(0) });
    RestTimings {
        resolve: resolved,
        connect: span(resolved, connected),
        tls: span(connected, secured),
        sent,
        first_byte: if collect.is_answered() { first_byte } else { SpanNs::ZERO },
        total: span_of(started),
        pooled,
        bytes_out: call.request_size() + collect.request_read as u64,
        bytes_in: (collect.head_size + collect.body.len()) as u64,
        spoken: collect.spoken,
    }
}

/// Whether there was a connection that may have carried bytes.
fn is_connected(call: &impl Facts, timings: &RestTimings) -> bool {
    let [_, connected, secured, ..] = call.points();
    let ready = if call.collect().is_tls { secured } else { connected };
    timings.pooled || ready.0 > 0 || call.request_size() > 0
}

fn classify(error: &curl::Error, easy: &Easy2<Collect>, timings: &RestTimings) -> RestFault {
    let is_connected = is_connected(easy, timings);
    if easy.get_ref().too_long {
        return RestFault::TooLong;
    }
    // After a connection was made this code stands for an answer in HTTP/0.9.
    if error.is_unsupported_protocol() && is_connected {
        RestFault::Protocol
    } else if error.is_url_malformed() || error.is_unsupported_protocol() {
        RestFault::BadRequest
    } else if error.is_couldnt_resolve_host() {
        RestFault::Resolve
    } else if error.is_operation_timedout() {
        if easy.get_ref().is_answered() {
            RestFault::DeadlineTotal
        } else if is_connected {
            RestFault::DeadlineAnswer
        } else if timings.resolve.0 > 0 {
            RestFault::DeadlineConnect
        } else {
            RestFault::DeadlineResolve
        }
    } else if error.is_couldnt_connect() {
        RestFault::Connect
    } else if error.is_ssl_connect_error()
        || error.is_peer_failed_verification()
        || error.is_ssl_cacert()
        || error.is_ssl_cacert_badfile()
        || error.is_ssl_certproblem()
    {
        RestFault::Tls
    } else if error.is_got_nothing()
        || error.is_partial_file()
        || error.is_recv_error()
        || error.is_send_fail_rewind()
    {
        RestFault::Broken(io::ErrorKind::UnexpectedEof)
    } else if error.is_send_error() {
        RestFault::Broken(io::ErrorKind::BrokenPipe)
    } else if error.is_http2_stream_error() {
        RestFault::Broken(io::ErrorKind::ConnectionReset)
    } else if error.is_http2_error() || error.code() == WEIRD_SERVER_REPLY {
        RestFault::Protocol
    } else {
        RestFault::Other
    }
}
/// CURLE_WEIRD_SERVER_REPLY, which the crate has no question for.
const WEIRD_SERVER_REPLY: std::ffi::c_uint = 8;

fn span_of(started: Instant) -> SpanNs {
    SpanNs(started.elapsed().as_nanos() as i64)
}

/// The host of a URL, brackets taken off.
fn host_of(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"))?;
    let authority = rest.split(['/', '?', '#']).next()?;
    // Names and passwords in a URL hide the host from a reader; none are ours.
    if authority.contains('@') {
        return None;
    }
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next()?,
        None => authority.split(':').next()?,
    };
    (!host.is_empty()).then_some(host)
}
fn is_loopback(host: &str) -> bool {
    // Names are not looked up: only what cannot lead elsewhere counts.
    host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Certificates as PEM text, which is what libcurl takes.
fn pem<'a>(certificates: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for der in certificates {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in der.chunks(48) {
            for three in line.chunks(3) {
                let byte = |at: usize| u32::from(*three.get(at).unwrap_or(&0));
                let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
                for place in 0..4 {
                    let digit = DIGITS[(bits >> (18 - 6 * place)) as usize & 63] as char;
                    text.push(if place > three.len() { '=' } else { digit });
                }
            }
            text.push('\n');
        }
        let _ = text.write_str("-----END CERTIFICATE-----\n");
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls_pki_types::pem::PemObject;

    #[test]
    fn certificates_survive_the_way_through_pem() {
        let certificates: Vec<Vec<u8>> =
            (1..200usize).map(|size| (0..size).map(|at| (at * 7 + size) as u8).collect()).collect();
        let text = pem(certificates.iter().map(Vec::as_slice));
        let read = rustls_pki_types::CertificateDer::pem_slice_iter(&text);
        let read: Vec<Vec<u8>> = read.map(|der| der.unwrap().to_vec()).collect();
        assert_eq!(read, certificates);
    }

    #[test]
    fn hosts_of_urls_are_found_and_nothing_hides() {
        for (url, host) in [
            ("http://127.0.0.1:80/x", Some("127.0.0.1")),
            ("https://[::1]:443", Some("::1")),
            ("https://host?c", Some("host")),
            ("https://127.0.0.1@192.0.2.1/", None),
            ("ftp://127.0.0.1/", None),
            ("https:///x", None),
            ("127.0.0.1", None),
        ] {
            assert_eq!(host_of(url), host, "{url}");
        }
        assert!(is_loopback("127.0.0.1") && is_loopback("::1"));
        assert!(!is_loopback("192.0.2.1") && !is_loopback("localhost.example"));
    }

    #[test]
    fn this_libcurl_has_what_is_needed() {
        let version = curl::Version::get();
        assert!(version.feature_http2());
        assert!(version.ssl_version().is_some_and(|text| text.contains("rustls")), "{version:?}");
    }
}
