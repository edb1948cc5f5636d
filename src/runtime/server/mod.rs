//! Purpose:   serves the in-repo exchange on loopback: websocket and REST on one port, plain or
//!            TLS.
//! Knows:     base, io (TLS, state), exchange through `port`.  Must not know: venue, engine, line.
//! Time:      host clock for deadlines; `clock` maps it to the market's, which the exchange is
//!            told.
//! Memory:    allocates freely; bounded per socket by `ServerLimits` and the limits in `http` and
//!            `conn`.
//! Errors:    `ServerError` at start, one sentence each; clients' errors are counters and close one
//!            socket.
//! Tests:     runtime/server/tests.rs over real sockets, and beside the pure files.

#![allow(
    clippy::disallowed_methods,
    reason = "the edge: deadlines and clocks of real sockets and disks"
)]

mod clock;
mod conn;
mod embedded;
mod faults;
mod port;
mod serve;
mod state_file;
#[cfg(test)]
mod tests;

pub use clock::{Speed, SpeedError};
pub use embedded::{MarketError, open_recording};
pub use faults::{FaultCounters, FaultScript, FaultScriptError, Faulty};
pub use http::Method;
pub use port::{Control, Delivery, ExchangePort, Pace, RestReply, RestRequest};
pub use state_file::StateFileError;

use crate::base::time::WallNs;
use crate::io::http1 as http;
use crate::io::tls_server::ServerTls;
use crossbeam_channel::Sender;
use parking_lot::Mutex;
use serde::Serialize;
use serve::{Command, Serve};
use state_file::StateFile;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

/// Commands waiting for the server thread, at most.
const COMMANDS_MAX: usize = 64;

/// Bounds of what clients may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Sockets open at once; further ones are closed on arrival.
    pub sockets_max: u32,
    /// A websocket that lets more wait is cut (real and scaled speeds), bytes.
    pub backlog_cut_size: usize,
    /// The market waits while any websocket lets more wait (speed `max`), bytes.
    pub backlog_wait_size: usize,
    /// A socket that takes nothing of what waits for it for so long is cut, at every speed.
    pub stall_for: Duration,
    /// Time for TLS and the first or a begun request.
    pub request_for: Duration,
    /// Time a kept-alive HTTP connection may be idle.
    pub idle_for: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            sockets_max: 1024,
            backlog_cut_size: 8 << 20,
            backlog_wait_size: 256 << 10,
            stall_for: Duration::from_secs(30),
            request_for: Duration::from_secs(10),
            idle_for: Duration::from_secs(120),
        }
    }
}

/// TLS of the server.
#[derive(Clone, Debug)]
pub struct ServerTlsConfig {
    /// Clone it to serve with the same authority again.
    pub identity: ServerTls,
    /// Where the authority's certificate is written for clients; `None`: not at all.
    pub ca_pem_path: Option<PathBuf>,
}

/// How the exchange is served.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Allows an address that is not loopback.
    pub allow_remote: bool,
    /// `None`: plain `ws` and `http`.
    pub tls: Option<ServerTlsConfig>,
    pub speed: Speed,
    /// Where accounts survive a restart of the process: `PATH.a` and `PATH.b`.
    pub state_file: Option<PathBuf>,
    /// Core the server thread is pinned to; `None`: the scheduler's choice.
    pub core: Option<usize>,
    /// Polls without sleeping for so long after something happened. Zero: parks at once, which
    /// leaves the core to others and costs a wake-up (some 10 µs) on the next order.
    pub spin_for: Duration,
    pub limits: ServerLimits,
}

impl Default for ServerConfig {
    /// Plain, real speed, a free port of 127.0.0.1, nothing kept.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            allow_remote: false,
            tls: None,
            speed: Speed::Real,
            state_file: None,
            core: None,
            spin_for: Duration::ZERO,
            limits: ServerLimits::default(),
        }
    }
}

/// Why the server did not start, or how it ended.
#[derive(Debug)]
pub enum ServerError {
    NotLoopback(SocketAddr),
    PortInUse(SocketAddr),
    Bind { listen: SocketAddr, cause: io::Error },
    CaFile { path: PathBuf, cause: io::Error },
    State(StateFileError),
    Restore { path: PathBuf, problem: String },
    Start(io::Error),
    Panicked,
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLoopback(listen) => write!(
                f,
                "listen address {listen} can be reached from other machines; expected a loopback \
                 address such as 127.0.0.1:0: use one, or allow remote clients explicitly"
            ),
            Self::PortInUse(listen) => write!(
                f,
                "port {} of {} is in use by another program; expected a free port: choose another, \
                 or port 0 for any free one",
                listen.port(),
                listen.ip()
            ),
            Self::Bind { listen, cause } => write!(
                f,
                "cannot listen on {listen}: {cause}; expected an address of this machine: use \
                 127.0.0.1:0"
            ),
            Self::CaFile { path, cause } => write!(
                f,
                "certificate file {}: {cause}; expected a place this user can write: name another",
                path.display()
            ),
            Self::State(error) => error.fmt(f),
            Self::Restore { path, problem } => write!(
                f,
                "state file {}: {problem}; expected the state of this exchange and version: move \
                 it away to start with fresh accounts",
                path.display()
            ),
            Self::Start(cause) => write!(f, "the exchange's server cannot start: {cause}"),
            Self::Panicked => {
                f.write_str("the exchange's server thread panicked; see the log above")
            }
        }
    }
}
impl std::error::Error for ServerError {}

/// What the server counted since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ServerCounters {
    pub socket_accepted: u64,
    /// Beyond `sockets_max`.
    pub socket_refused: u64,
    pub socket_peak: u64,
    pub websocket_opened: u64,
    /// Requests or handshakes that were not good HTTP or TLS.
    pub handshake_failed: u64,
    /// Websockets that the exchange did not admit.
    pub handshake_refused: u64,
    /// Clients that did not finish a request in time.
    pub handshake_timed_out: u64,
    pub http_request: u64,
    pub http_refused: u64,
    pub frame_rx: u64,
    pub frame_tx: u64,
    pub bytes_rx: u64,
    pub bytes_tx: u64,
    /// Closed with 1009.
    pub message_too_long: u64,
    /// Closed with 1002 or 1007.
    pub message_malformed: u64,
    /// Cut: too slow at a paced speed.
    pub slow_cut: u64,
    /// Cut: took nothing for `stall_for`.
    pub stall_cut: u64,
    /// Times that accepting had to wait for free file descriptors.
    pub accept_failed: u64,
    pub state_written: u64,
    pub state_write_failed: u64,
    pub market_steps: u64,
    /// Turns at speed `max` in which the market waited for a client.
    pub market_waited: u64,
}

/// The end of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ServerReport {
    pub counters: ServerCounters,
    /// First and last market time, ns since 1970.
    pub market_from_ns: i64,
    pub market_until_ns: i64,
    /// A recording was played to its end and every client had it all.
    pub finished: bool,
}

/// What other threads may look at while the server runs.
#[derive(Debug, Default)]
struct Shared {
    finished: AtomicBool,
    market_ns: AtomicI64,
    sockets: AtomicU32,
    counters: Mutex<ServerCounters>,
}

/// Starts servers.
#[derive(Debug)]
pub struct Server;

impl Server {
    /// Binds, restores state, and serves `exchange` on a thread of its own.
    ///
    /// # Errors
    /// [`ServerError`]: what was wrong, what was expected, what to do.
    pub fn start<E: ExchangePort>(
        config: ServerConfig,
        mut exchange: E,
    ) -> Result<ServerHandle<E>, ServerError> {
        if !config.listen.ip().is_loopback() && !config.allow_remote {
            return Err(ServerError::NotLoopback(config.listen));
        }
        // The port first: a second server must not touch the first one's state file.
        let listener = serve::bind(config.listen)?;
        let addr = listener.local_addr().map_err(ServerError::Start)?;
        let state = match &config.state_file {
            None => None,
            Some(path) => {
                let (file, found) = StateFile::open(path).map_err(ServerError::State)?;
                if let Some(bytes) = found {
                    exchange
                        .restore_state(&bytes)
                        .map_err(|problem| ServerError::Restore { path: path.clone(), problem })?;
                }
                Some(file)
            }
        };
        let ca_pem_path = config.tls.as_ref().and_then(|tls| tls.ca_pem_path.clone());
        if let (Some(path), Some(tls)) = (&ca_pem_path, &config.tls) {
            std::fs::write(path, &tls.identity.ca_pem)
                .map_err(|cause| ServerError::CaFile { path: path.clone(), cause })?;
        }
        let (schema_ws, schema_http) =
            if config.tls.is_some() { ("wss", "https") } else { ("ws", "http") };
        let shared = Arc::new(Shared::default());
        let (commands, inbox) = crossbeam_channel::bounded(COMMANDS_MAX);
        let core = config.core;
        let config = ServerConfig { listen: addr, ..config };
        let serve = Serve::new(config, listener, exchange, state, inbox, Arc::clone(&shared))
            .map_err(ServerError::Start)?;
        let waker = serve.waker();
        let thread = std::thread::Builder::new()
            .name("exchange".to_owned())
            .spawn(move || {
                if let Some(id) = core
                    && !core_affinity::set_for_current(core_affinity::CoreId { id })
                {
                    log::warn!("the exchange's thread could not be pinned to core {id}");
                }
                serve.run()
            })
            .map_err(ServerError::Start)?;
        Ok(ServerHandle {
            addr,
            ws_url: format!("{schema_ws}://{addr}/ws/2"),
            rest_url: format!("{schema_http}://{addr}"),
            ca_pem_path,
            shared,
            commands,
            waker,
            thread: Some(thread),
        })
    }
}

/// A running server. Dropping it stops the server.
pub struct ServerHandle<E: ExchangePort> {
    addr: SocketAddr,
    ws_url: String,
    rest_url: String,
    ca_pem_path: Option<PathBuf>,
    shared: Arc<Shared>,
    commands: Sender<Command<E>>,
    waker: Arc<mio::Waker>,
    thread: Option<JoinHandle<(ServerReport, E)>>,
}

impl<E: ExchangePort> fmt::Debug for ServerHandle<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHandle").field("addr", &self.addr).finish_non_exhaustive()
    }
}

impl<E: ExchangePort> ServerHandle<E> {
    /// Where it listens; the port is the one taken.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
    /// For instance `ws://127.0.0.1:40123/ws/2`.
    pub fn ws_url(&self) -> &str {
        &self.ws_url
    }
    /// For instance `http://127.0.0.1:40123`; REST paths begin with `/v2/`.
    pub fn rest_url(&self) -> &str {
        &self.rest_url
    }
    /// The authority to trust, where TLS is on and a path was given.
    pub fn ca_pem_path(&self) -> Option<&PathBuf> {
        self.ca_pem_path.as_ref()
    }
    /// A recording was played to its end, and every byte of it was handed to every client's socket.
    pub fn is_finished(&self) -> bool {
        self.shared.finished.load(Ordering::Acquire)
    }
    /// The server thread has ended, by a panic where nobody stopped it.
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
    /// The market's time, at most 100 ms old.
    pub fn market_now(&self) -> WallNs {
        WallNs(self.shared.market_ns.load(Ordering::Relaxed))
    }
    /// Sockets open now, at most 100 ms old.
    pub fn sockets(&self) -> u32 {
        self.shared.sockets.load(Ordering::Relaxed)
    }
    /// Counters, at most 100 ms old.
    pub fn counters(&self) -> ServerCounters {
        *self.shared.counters.lock()
    }
    /// Wakes the server, for whoever feeds its market.
    pub fn waker(&self) -> Box<dyn Fn() + Send> {
        let waker = Arc::clone(&self.waker);
        Box::new(move || drop(waker.wake()))
    }
    /// Drill: every connection breaks at once, without goodbye. The server goes on.
    pub fn kill_connections(&self) {
        self.send(Command::KillConnections);
    }
    /// Drill: the server is gone for so long (connections broken, port closed), then comes back.
    /// The market goes on.
    pub fn outage(&self, outage_for: Duration) {
        self.send(Command::Outage(outage_for));
    }
    /// Drill: the server hangs; nothing is read, written or accepted. The market's clock goes on.
    pub fn freeze(&self) {
        self.send(Command::Freeze(true));
    }
    /// Ends [`Self::freeze`].
    pub fn thaw(&self) {
        self.send(Command::Freeze(false));
    }
    /// Runs something on the exchange, between two turns of the server, with the market's time;
    /// what the exchange wants sent goes out behind it. `None` where the server has ended.
    pub fn with<R: Send + 'static>(
        &self,
        act: impl FnOnce(&mut E, WallNs) -> R + Send + 'static,
    ) -> Option<R> {
        let (reply, result) = crossbeam_channel::bounded(1);
        self.send(Command::With(Box::new(move |exchange, now| {
            let _ = reply.send(act(exchange, now));
        })));
        result.recv().ok()
    }
    /// Closes every socket with 1001 and ends. Hands the exchange back, so that it can be served
    /// again.
    ///
    /// # Errors
    /// `Panicked`.
    pub fn stop(mut self) -> Result<(ServerReport, E), ServerError> {
        self.send(Command::Stop);
        match self.thread.take() {
            Some(thread) => thread.join().map_err(|_| ServerError::Panicked),
            None => Err(ServerError::Panicked),
        }
    }

    fn send(&self, command: Command<E>) {
        // Fails where the thread has ended; the caller learns that from `has_ended` or `stop`.
        if self.commands.send(command).is_ok() {
            let _ = self.waker.wake();
        }
    }
}

impl<E: ExchangePort> Drop for ServerHandle<E> {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.send(Command::Stop);
            let _ = thread.join();
        }
    }
}

/// Wall clock of the host.
fn host_wall() -> WallNs {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    WallNs(since_epoch.as_nanos() as i64)
}
