//! `genesis record`: what a venue sends, and what it is sent, into files that are markets.

use super::{complain, say, venue::stop_signals};
use crate::base::time::WallNs;
use crate::io::clock::Clock;
use crate::io::dial::{DialSpec, WsUrl};
use crate::io::socket::SocketOptions;
use crate::io::tls::client_config;
use crate::model::Instrument;
use crate::ops::logger;
use crate::ops::report::exit;
use crate::runtime::recorder::{Recorder, RecorderConfig, RecorderError, RecorderReport};
use crate::venue::sign::ApiKey;
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Channels on one socket; the safe of the numbers that sources give.
const CHANNELS_PER_SOCKET: usize = 25;
/// Pause between opening sockets: the venue allows 20 a minute.
const BETWEEN_SOCKETS: Duration = Duration::from_millis(3_100);
/// TIMESTAMP, SEQ_ALL and OB_CHECKSUM.
const FLAGS: u32 = 32_768 + 65_536 + 131_072;
/// Several changes in one frame: such a recording could not be played one frame a frame.
const FLAG_BULK: u32 = 1 << 29;

pub(super) const MANUAL: &str = "\
  genesis record ws://127.0.0.1:40123/ws/2 --symbols tBTCUSD --for 60s --out recordings
      Books, trades and ticker of one symbol from an exchange of this machine.
  genesis run --market capture:recordings/record-0-20210405T172646.805714Z.ndjson.gz
      What was recorded is a market.

Each socket has files of its own, NAME-SOCKET-DATE.ndjson.gz: gzip of one line a message,
  {\"ts\":seconds,\"tsc\":ticks,\"dir\":\"recv\"|\"send\"|\"open\",\"msg\":message}
with the message as it came. Keys, signatures, nonces and tokens are replaced by (redacted). A file
is ended and another begun by --rotate-mib and --rotate-after; each begins with its own connection
and snapshots, so that each can be played alone, and overlaps with the one before.

It ends on SIGINT (Ctrl-C) or SIGTERM, or after --for, and prints what it recorded as JSON. Exit
code 0: as asked; 1: it failed while recording; 2: bad arguments, or nothing answers.";

#[derive(Args, Debug, Clone)]
pub(super) struct RecordArgs {
    /// Websocket address of the venue; another machine's needs --allow-remote.
    #[arg(value_name = "URL")]
    url: String,
    /// Symbols, e.g. tBTCUSD,tETHUSD.
    #[arg(long, value_name = "LIST", value_delimiter = ',', required = true)]
    symbols: Vec<String>,
    /// Channels of each symbol: book, raw, trades, ticker, candles, status.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "book,trades,ticker")]
    channels: Vec<String>,
    /// Precision of the books: P0 to P4.
    #[arg(long, value_name = "P", default_value = "P0")]
    prec: String,
    /// Length of the books: 1, 25, 100 or 250.
    #[arg(long, value_name = "N", default_value_t = 25)]
    len: u16,
    /// Flags asked for with `conf`; default: timestamps, sequence numbers and checksums.
    #[arg(long, value_name = "SUM", default_value_t = FLAGS)]
    flags: u32,
    /// Directory for the files; made where absent.
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// First part of the files' names.
    #[arg(long, value_name = "NAME", default_value = "record")]
    name: String,
    /// Begin a new file beyond this size.
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    rotate_mib: u64,
    /// Begin a new file after this long, e.g. 1h.
    #[arg(long, value_name = "SPAN", default_value = "1d", value_parser = super::options::span)]
    rotate_after: Duration,
    /// Stop by itself after this long, e.g. 60s, 5m.
    #[arg(long = "for", value_name = "SPAN", value_parser = super::options::span)]
    run_for: Option<Duration>,
    /// Sign in, and record the account's messages, too: on the first socket, with the key and the
    /// secret in these two environment variables.
    #[arg(long, value_name = "KEY_VAR,SECRET_VAR", value_delimiter = ',', num_args = 1)]
    auth_env: Vec<String>,
    /// Certificate authority to trust instead of the built-in ones.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Allow an address of another machine.
    #[arg(long)]
    allow_remote: bool,
}

/// Last line of standard output.
#[derive(Serialize)]
struct Goodbye {
    sockets: Vec<RecorderReport>,
}

impl RecordArgs {
    /// Subscriptions of each socket; all channels of a symbol on one, so that a file is a market.
    fn sockets(&self) -> Result<Vec<Vec<String>>, String> {
        if let Some(bad) = self.symbols.iter().find(|name| Instrument::split_name(name).is_none()) {
            return Err(format!("--symbols: `{bad}` is not of the form tBTCUSD or tDOGE:USD"));
        }
        if !["P0", "P1", "P2", "P3", "P4"].contains(&self.prec.as_str()) {
            return Err(format!("--prec: `{}` is not known; write P0 to P4", self.prec));
        }
        if ![1, 25, 100, 250].contains(&self.len) {
            return Err(format!("--len: {} is not served; write 1, 25, 100 or 250", self.len));
        }
        if self.flags & FLAG_BULK != 0 {
            return Err(format!(
                "--flags: {FLAG_BULK} puts several changes into one frame, which cannot be \
                 played one by one; leave it out"
            ));
        }
        let subscribe = |channel: &str, symbol: &String| {
            let book = |prec: &str| {
                format!(
                    "\"channel\":\"book\",\"symbol\":\"{symbol}\",\"prec\":\"{prec}\",\
                     \"freq\":\"F0\",\"len\":\"{}\"",
                    self.len
                )
            };
            let fields = match channel {
                "book" => book(&self.prec),
                "raw" => book("R0"),
                "trades" | "ticker" => format!("\"channel\":\"{channel}\",\"symbol\":\"{symbol}\""),
                "candles" => format!("\"channel\":\"candles\",\"key\":\"trade:1m:{symbol}\""),
                "status" => format!("\"channel\":\"status\",\"key\":\"deriv:{symbol}\""),
                other => {
                    return Err(format!(
                        "--channels: `{other}` is not known; write book, raw, trades, ticker, \
                         candles or status"
                    ));
                }
            };
            Ok(format!("{{\"event\":\"subscribe\",{fields}}}"))
        };
        let per_symbol = self.channels.len().max(1);
        let mut sockets = Vec::new();
        for symbols in self.symbols.chunks((CHANNELS_PER_SOCKET / per_symbol).max(1)) {
            let all = symbols
                .iter()
                .flat_map(|symbol| self.channels.iter().map(|channel| subscribe(channel, symbol)));
            sockets.push(all.collect::<Result<Vec<_>, _>>()?);
        }
        Ok(sockets)
    }
    fn target(&self) -> Result<DialSpec, String> {
        let url = WsUrl::parse(&self.url)
            .ok_or_else(|| format!("`{}` is no address; write ws://… or wss://…", self.url))?;
        let tls = match url.tls {
            false => None,
            true => {
                let trust = super::outside::trust(self.ca.as_ref());
                Some(client_config(&trust).map_err(|error| error.to_string())?)
            }
        };
        Ok(DialSpec {
            url,
            tls,
            options: SocketOptions::default(),
            deadline: Duration::from_secs(10),
            loopback_only: !self.allow_remote,
            user_agent: "genesis".to_owned(),
        })
    }
    /// The key whose messages are recorded. The environment is read here alone.
    fn key(&self) -> Result<Option<ApiKey>, String> {
        let [key, secret] = self.auth_env.as_slice() else {
            return match self.auth_env.is_empty() {
                true => Ok(None),
                false => Err("--auth-env: name two variables, KEY_VAR,SECRET_VAR".to_owned()),
            };
        };
        let read = |name: &String| {
            std::env::var(name).map_err(|_| format!("--auth-env: {name} is not set"))
        };
        let (id, secret) = (read(key)?, zeroize::Zeroizing::new(read(secret)?));
        let key = ApiKey::new(&id, secret.as_bytes());
        key.map(Some).map_err(|error| format!("--auth-env: {error:?} is not usable"))
    }
    fn recorders(&self) -> Result<Vec<RecorderConfig>, String> {
        let target = self.target()?;
        let mut key = self.key()?;
        let conf = format!("{{\"event\":\"conf\",\"flags\":{}}}", self.flags);
        let sockets = self.sockets()?.into_iter().enumerate();
        Ok(sockets
            .map(|(index, subscriptions)| {
                let channels = subscriptions.len();
                let hello = std::iter::once(conf.clone()).chain(subscriptions).collect();
                RecorderConfig {
                    target: target.clone(),
                    hello,
                    auth: key.take().map(|key| {
                        Box::new(move |at| auth_message(&key, at))
                            as Box<dyn Fn(WallNs) -> String + Send>
                    }),
                    channels,
                    dir: self.out.clone(),
                    name: format!("{}-{index}", self.name),
                    part_size: self.rotate_mib << 20,
                    part_for: self.rotate_after,
                }
            })
            .collect())
    }
}

/// Nonces are the wall clock's microseconds, as the venue's own clients make them.
fn auth_message(key: &ApiKey, at: WallNs) -> String {
    let nonce = (at.0 / 1_000) as u64;
    format!(
        "{{\"event\":\"auth\",\"apiKey\":\"{}\",\"authSig\":\"{}\",\"authPayload\":\"AUTH{nonce}\",\
         \"authNonce\":{nonce}}}",
        key.id(),
        key.sign_ws(nonce).as_str()
    )
}

pub(super) fn run(args: &RecordArgs) -> u8 {
    logger::install(log::LevelFilter::Info, false);
    let ready = args.recorders().and_then(|recorders| {
        std::fs::create_dir_all(&args.out)
            .map_err(|error| format!("--out {}: {error}", args.out.display()))?;
        let stop = stop_signals().map_err(|error| format!("signals cannot be caught: {error}"))?;
        Ok((recorders, stop))
    });
    let (recorders, told) = match ready {
        Ok(ready) => ready,
        Err(words) => {
            complain(words);
            return exit::BAD_INPUT;
        }
    };
    let clock = Clock::start();
    let stop = Arc::new(AtomicBool::new(false));
    let (done, ended) = crossbeam_channel::unbounded();
    let mut threads = Vec::new();
    for (index, config) in recorders.into_iter().enumerate() {
        let (clock, stop, done) = (clock.clone(), Arc::clone(&stop), done.clone());
        let begin_at = BETWEEN_SOCKETS * u32::try_from(index).unwrap_or(u32::MAX);
        let begin_at = if args.allow_remote { begin_at } else { Duration::ZERO };
        // tidy-ok: cold, one a socket, joined below.
        let thread = std::thread::Builder::new().name(format!("record{index}")).spawn(move || {
            std::thread::park_timeout(begin_at);
            let result = Recorder::new(config, clock).run(&stop);
            let _ = done.send(());
            result
        });
        match thread {
            Ok(thread) => threads.push(thread),
            Err(error) => complain(format!("no thread for socket {index}: {error}")),
        }
    }
    // Until a signal, the end of the time, or the end of a recorder by itself.
    let after = args.run_for.map_or_else(crossbeam_channel::never, crossbeam_channel::after);
    crossbeam_channel::select! {
        recv(told) -> _ => {}
        recv(after) -> _ => {}
        recv(ended) -> _ => {}
    }
    stop.store(true, Ordering::Release);
    let mut code = exit::OK;
    let mut sockets = Vec::new();
    for thread in threads {
        thread.thread().unpark();
        match thread.join() {
            Ok(Ok(report)) => sockets.push(report),
            Ok(Err(error)) => {
                let is_input = matches!(error, RecorderError::Connect(_));
                code = code.max(if is_input { exit::BAD_INPUT } else { exit::FAILURE });
                complain(error);
            }
            Err(_) => {
                code = exit::FAILURE;
                complain("a recorder panicked; see the log above");
            }
        }
    }
    say(&sonic_rs::to_string(&Goodbye { sockets }).unwrap_or_default());
    code
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        record: RecordArgs,
    }
    fn args(words: &[&str]) -> Result<RecordArgs, String> {
        let words = ["record", "ws://127.0.0.1:1/ws/2"].iter().chain(words);
        Line::try_parse_from(words).map(|line| line.record).map_err(|error| error.to_string())
    }

    #[test]
    fn symbols_are_spread_over_sockets_with_all_their_channels() {
        let symbols: Vec<String> =
            (0..20).map(|at| format!("tAA{}USD", (b'A' + at) as char)).collect();
        let args = args(&["--symbols", &symbols.join(",")]).unwrap();
        let sockets = args.sockets().unwrap();
        assert_eq!(sockets.iter().map(Vec::len).collect::<Vec<_>>(), [24, 24, 12]);
        assert_eq!(
            sockets[1][0],
            "{\"event\":\"subscribe\",\"channel\":\"book\",\"symbol\":\"tAAIUSD\",\"prec\":\"P0\",\
             \"freq\":\"F0\",\"len\":\"25\"}"
        );
        let recorders = args.recorders().unwrap();
        assert_eq!(recorders[0].hello[0], "{\"event\":\"conf\",\"flags\":229376}");
        assert_eq!((recorders[2].channels, recorders[2].hello.len()), (12, 13));
        assert!(recorders[0].target.loopback_only && recorders[0].auth.is_none());
    }

    #[test]
    fn nonsense_is_told_in_words() {
        for (words, expected) in [
            (&["--symbols", "BTCUSD"][..], "not of the form tBTCUSD"),
            (&["--symbols", "tBTCUSD", "--channels", "books"], "`books` is not known; write book"),
            (&["--symbols", "tBTCUSD", "--prec", "P5"], "write P0 to P4"),
            (&["--symbols", "tBTCUSD", "--len", "10"], "write 1, 25, 100 or 250"),
            (&["--symbols", "tBTCUSD", "--flags", "536870912"], "leave it out"),
            (&["--symbols", "tBTCUSD", "--auth-env", "ONLY_ONE"], "name two variables"),
            (
                &["--symbols", "tBTCUSD", "--auth-env", "NOT_SET_1,NOT_SET_2"],
                "NOT_SET_1 is not set",
            ),
        ] {
            let error = args(words).unwrap().recorders().err().expect("refused");
            assert!(error.contains(expected), "{words:?}: {error}");
        }
        assert!(args(&[]).unwrap_err().contains("--symbols"));
    }

    #[test]
    fn the_venues_nonce_is_microseconds_and_the_message_is_signed() {
        let key = ApiKey::new("k", b"s").unwrap();
        let text = auth_message(&key, WallNs(1_700_000_000_000_000_000));
        assert!(text.contains("\"authPayload\":\"AUTH1700000000000000\""), "{text}");
        assert!(text.contains(key.sign_ws(1_700_000_000_000_000).as_str()));
    }
}
