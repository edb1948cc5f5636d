//! `genesis` as its own process, with its files in a directory of the test.

#![allow(clippy::disallowed_methods, reason = "deadlines of real processes")]

use genesis::io::rest::{Method, RestConfig, RestRequest, RestTransport};
use genesis::io::tls::Trust;
use genesis::venue::sign::ApiKey;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A directory of one test, gone afterwards.
pub struct Dir(PathBuf);
impl Dir {
    pub fn new(name: &str) -> Dir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir =
            std::env::temp_dir().join(format!("genesis-it-{name}-{}-{next}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Dir(dir)
    }
    pub fn path(&self) -> &Path {
        &self.0
    }
    pub fn text(&self) -> &str {
        self.0.to_str().unwrap()
    }
}
impl Drop for Dir {
    fn drop(&mut self) {
        // The risk state of this directory's runs, on tmpfs.
        if let Ok(token) = std::fs::read_to_string(self.0.join("risk-embedded.lock")) {
            let state = genesis::io::files::default_wal_dir(&format!("risk-embedded-{token}"));
            let _ = std::fs::remove_dir_all(state);
        }
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A process that nothing leaves behind: it ends with whoever started it.
pub struct Process(pub Child);
impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The program under test: cargo's, or the one that `$GENESIS_BIN` names, for a build that must not
/// change under a long run.
pub fn genesis(args: &[&str]) -> Command {
    let chosen = std::env::var_os("GENESIS_BIN");
    let mut command = Command::new(chosen.unwrap_or(env!("CARGO_BIN_EXE_genesis").into()));
    command.args(args).stdin(Stdio::null());
    command
}

/// Runs to its end; its exit code, standard output and standard error.
pub fn output(args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = genesis(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

/// `genesis run … --json` to its end; its report.
pub fn report_of(args: &[&str]) -> serde_json::Value {
    let (code, out, err) = output(args);
    assert_eq!(code, 0, "{err}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}\n{err}"))
}

/// Sends a signal by name.
pub fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
}

pub fn count(report: &serde_json::Value, pointer: &str) -> u64 {
    report
        .pointer(pointer)
        .and_then(serde_json::Value::as_u64)
        .unwrap_or_else(|| panic!("{pointer} is not in the report, or no count"))
}

/// `genesis venue` as a process of its own.
pub struct VenueProcess {
    child: Child,
    hello: serde_json::Value,
}
impl VenueProcess {
    /// On a port of its choice, or on the one it had.
    pub fn start(listen: &str, state: &Path) -> VenueProcess {
        VenueProcess::start_with(listen, state, &[])
    }
    /// The same with more options.
    pub fn start_with(listen: &str, state: &Path, more: &[&str]) -> VenueProcess {
        let mut args = vec![
            "venue",
            "--listen",
            listen,
            "--market",
            "synthetic:5",
            "--state",
            state.to_str().unwrap(),
            "--symbols",
            "tBTCUSD,tETHUSD,tADAUSD,tDOTUSD",
        ];
        args.extend_from_slice(more);
        let mut child =
            genesis(&args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let hello = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        VenueProcess { child, hello }
    }
    pub fn address(&self) -> String {
        let rest = self.hello["rest"].as_str().unwrap();
        rest.strip_prefix("http://").unwrap().to_owned()
    }
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
    /// A private call as somebody, by key and secret.
    pub fn call_as(
        &self,
        (id, secret): (&str, &str),
        path: &str,
        body: &serde_json::Value,
    ) -> Result<serde_json::Value, String> {
        let key = ApiKey::new(id, secret.as_bytes()).unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let nonce = now.as_micros() as u64;
        let body = body.to_string();
        let signature = key.sign_rest(path, nonce, body.as_bytes());
        let nonce = nonce.to_string();
        let headers = [
            ("content-type", "application/json"),
            ("bfx-nonce", nonce.as_str()),
            ("bfx-apikey", key.id()),
            ("bfx-signature", signature.as_str()),
        ];
        let url = format!("{}/v2/{path}", self.hello["rest"].as_str().unwrap());
        self.ask(Method::Post, &url, &headers, body.as_bytes())
    }
    /// Last price of a pair, by the public ticker.
    pub fn last_px(&self, symbol: &str) -> f64 {
        let url = format!("{}/v2/ticker/{symbol}", self.hello["rest"].as_str().unwrap());
        self.ask(Method::Get, &url, &[], &[]).unwrap()[6].as_f64().unwrap()
    }
    fn ask(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<serde_json::Value, String> {
        let trust = match self.hello["ca"].as_str() {
            Some(ca) => Trust::CaFile(ca.into()),
            None => Trust::WebRoots,
        };
        let config = RestConfig { loopback_only: true, trust, ..RestConfig::default() };
        let mut rest = RestTransport::new(&config).unwrap();
        let request = RestRequest { method, url, headers, body, total_max: None };
        let reply = rest.call(&request).map_err(|error| error.to_string())?;
        let text = || format!("HTTP {}: {}", reply.status, String::from_utf8_lossy(&reply.body));
        serde_json::from_slice(&reply.body).ok().filter(|_| reply.status == 200).ok_or_else(text)
    }
    /// `ws://…/ws/2` or `wss://…`, the REST address, the CA's file.
    pub fn places(&self) -> (String, String, Option<String>) {
        let text = |name: &str| self.hello[name].as_str().map(str::to_owned);
        (text("ws").unwrap(), text("rest").unwrap(), text("ca"))
    }
    /// A private read of the account, as rows.
    pub fn read(&self, path: &str) -> Vec<serde_json::Value> {
        self.try_read(path).unwrap_or_else(|words| panic!("{words}"))
    }
    /// Cancels an order of the account, as its owner would by hand.
    pub fn cancel_as_owner(&self, body: &serde_json::Value) -> Result<serde_json::Value, String> {
        let account = &self.hello["accounts"][0];
        let login = (account["key"].as_str().unwrap(), account["secret"].as_str().unwrap());
        self.call_as(login, "auth/w/order/cancel", body)
    }
    /// The same, where the venue may refuse.
    pub fn try_read(&self, path: &str) -> Result<Vec<serde_json::Value>, String> {
        let account = &self.hello["accounts"][0];
        let login = (account["key"].as_str().unwrap(), account["secret"].as_str().unwrap());
        let reply = self.call_as(login, path, &serde_json::json!({"limit": 2500}))?;
        reply.as_array().cloned().ok_or_else(|| reply.to_string())
    }
}
impl Drop for VenueProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Orders sent so far, out of a plain line of the view.
pub fn sent_of(line: &str) -> Option<u64> {
    let words = line.split(" orders ").nth(1)?;
    words.split(' ').next()?.replace(',', "").parse().ok()
}

/// `genesis run --attach` as a process of its own.
pub struct Attached {
    pub child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    report: PathBuf,
}
impl Attached {
    pub fn start(address: &str, dir: &Path, more: &[&str]) -> Attached {
        let report = dir.join("r.json");
        let _ = std::fs::remove_file(&report);
        let (dir, report_text) = (dir.to_str().unwrap(), report.to_str().unwrap());
        let mut args =
            vec!["run", "--plain", "--attach", address, "--dir", dir, "--report", report_text];
        args.extend_from_slice(more);
        let mut child =
            genesis(&args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Attached { child, lines, report }
    }
    /// Reads the plain view until a line fits.
    pub fn wait_for(&mut self, what: &str, fits: impl Fn(u64, &str) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut last = String::new();
        loop {
            assert!(Instant::now() < deadline, "{what} did not come about: {last}");
            let line = self.lines.next();
            let line = line.unwrap_or_else(|| panic!("it ended before {what}: {last}")).unwrap();
            last.clone_from(&line);
            if sent_of(&line).is_some_and(|sent| fits(sent, &line)) {
                return;
            }
        }
    }
    /// True while the process lives.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
    /// A graceful stop; its report.
    pub fn stop(&mut self) -> serde_json::Value {
        signal(&self.child, "-INT");
        self.child.wait().unwrap();
        let text = std::fs::read_to_string(&self.report).unwrap();
        serde_json::from_str(&text).unwrap()
    }
}
impl Drop for Attached {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
