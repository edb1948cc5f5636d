//! `genesis venue` as a process of its own, for tests that meet it as somebody else's client would.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;
use tungstenite::WebSocket;

pub struct Venue {
    child: Child,
    out: BufReader<ChildStdout>,
    /// Its first line.
    pub hello: serde_json::Value,
}

impl Venue {
    pub fn start(args: &[&str]) -> Venue {
        let mut child = Command::new(env!("CARGO_BIN_EXE_genesis"))
            .arg("venue")
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let hello = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        Venue { child, out, hello }
    }
    /// The same with a script of faults, kept in `dir`.
    pub fn with_faults(dir: &Path, faults: &str, args: &[&str]) -> Venue {
        let script = dir.join("faults.toml");
        std::fs::write(&script, faults).unwrap();
        Venue::start(&[args, &["--faults", script.to_str().unwrap()]].concat())
    }
    pub fn address(&self) -> &str {
        self.hello["rest"].as_str().unwrap().rsplit('/').next().unwrap()
    }
    /// Resident memory of the process, KiB.
    pub fn memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
    pub fn get(&self, path: &str) -> String {
        let mut socket = TcpStream::connect(self.address()).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).unwrap();
        let mut reply = String::new();
        socket.read_to_string(&mut reply).unwrap();
        reply
    }
    pub fn socket(&self) -> WebSocket<TcpStream> {
        let stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        tungstenite::client(self.hello["ws"].as_str().unwrap(), stream).unwrap().0
    }
    /// Asks it to stop; returns its exit code and its last line.
    pub fn stop(mut self) -> (Option<i32>, serde_json::Value) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        let code = self.child.wait().unwrap().code();
        (code, serde_json::from_str(rest.lines().last().unwrap()).unwrap())
    }
}

/// Whoever fails leaves no process behind.
impl Drop for Venue {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
