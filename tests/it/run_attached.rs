//! The engine and the exchange as two processes: one dies and comes back, the other goes on.

#![allow(clippy::disallowed_methods, reason = "deadlines of real processes")]

use crate::run_support::{Dir, count, genesis, signal};
use genesis::io::rest::{Method, RestConfig, RestRequest, RestTransport};
use genesis::venue::sign::ApiKey;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

struct Venue {
    child: Child,
    hello: serde_json::Value,
}
impl Venue {
    /// On a port of its choice, or on the one it had.
    fn start(listen: &str, state: &str) -> Venue {
        let args = [
            "venue",
            "--listen",
            listen,
            "--market",
            "synthetic:5",
            "--state",
            state,
            "--symbols",
            "tBTCUSD,tETHUSD,tADAUSD,tDOTUSD",
        ];
        let mut child =
            genesis(&args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let hello = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        Venue { child, hello }
    }
    fn address(&self) -> String {
        let rest = self.hello["rest"].as_str().unwrap();
        rest.strip_prefix("http://").unwrap().to_owned()
    }
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
    /// A private read of the account, as rows.
    fn read(&self, path: &str, nonce: u64) -> Vec<serde_json::Value> {
        let account = &self.hello["accounts"][0];
        let (id, secret) = (account["key"].as_str().unwrap(), account["secret"].as_str().unwrap());
        let key = ApiKey::new(id, secret.as_bytes()).unwrap();
        let config = RestConfig { loopback_only: true, ..RestConfig::default() };
        let mut rest = RestTransport::new(&config).unwrap();
        let body = b"{\"limit\":2500}";
        let signature = key.sign_rest(path, nonce, body);
        let (url, nonce) = (format!("http://{}/v2/{path}", self.address()), nonce.to_string());
        let headers = [
            ("content-type", "application/json"),
            ("bfx-nonce", nonce.as_str()),
            ("bfx-apikey", key.id()),
            ("bfx-signature", signature.as_str()),
        ];
        let request = RestRequest {
            method: Method::Post,
            url: &url,
            headers: &headers,
            body,
            total_max: None,
        };
        let reply = rest.call(&request).unwrap();
        assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
        serde_json::from_slice(&reply.body).unwrap()
    }
}
impl Drop for Venue {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Orders sent so far, out of a plain line of the view.
fn sent_of(line: &str) -> Option<u64> {
    let words = line.split(" orders ").nth(1)?;
    words.split(' ').next()?.replace(',', "").parse().ok()
}

/// Goal: `kill -9` of the exchange in mid-run, and its return, lose and double nothing, and trading
/// goes on. Method: real processes; afterwards the exchange is asked what it saw.
#[test]
fn the_exchange_is_killed_and_comes_back_and_nothing_is_doubled() {
    let dir = Dir::new("attached");
    let state = dir.path().join("venue.state");
    let venue = Venue::start("127.0.0.1:0", state.to_str().unwrap());
    let address = venue.address();
    let report = dir.path().join("r.json");
    let args = [
        "run",
        "--plain",
        "--attach",
        &address,
        "--dir",
        dir.text(),
        "--report",
        report.to_str().unwrap(),
        "--set",
        "report.line_interval_s=1",
        "--set",
        "channels.reconnect_min_ms=100",
    ];
    let mut engine = genesis(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(engine.stdout.take().unwrap()).lines().map_while(Result::ok);
    let deadline = Instant::now() + Duration::from_secs(90);
    let mut wait_for = |what: &str, is_there: &dyn Fn(u64, &str) -> bool| -> u64 {
        loop {
            assert!(Instant::now() < deadline, "{what} did not come about");
            let line = lines.next().unwrap_or_else(|| panic!("the engine ended before {what}"));
            if let Some(sent) = sent_of(&line)
                && is_there(sent, &line)
            {
                return sent;
            }
        }
    };
    wait_for("trading", &|sent, _| sent >= 6);
    venue.kill();
    let before = wait_for("the loss of the link", &|_, line| !line.contains(" running |"));
    let venue = Venue::start(&address, state.to_str().unwrap());
    let running = |sent, line: &str| line.contains(" running |") && sent >= before + 4;
    wait_for("trading again", &running);
    signal(&engine, "-INT");
    let status = engine.wait().unwrap();
    let text = std::fs::read_to_string(&report).unwrap();
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(status.code(), Some(0), "{text}");
    assert!(count(&report, "/reconnects") >= 2, "market data and account");
    for pointer in ["/orders/unknown", "/orders/open", "/book_crc/failed"] {
        assert_eq!(count(&report, pointer), 0, "{pointer}");
    }
    for (symbol, position) in report["positions"].as_object().unwrap() {
        assert_eq!(position["matches_venue"], true, "{symbol}: {position}");
    }
    // What the exchange saw: no client id twice, and nothing left.
    let nonce = 8_000_000_000_000_000;
    assert!(venue.read("auth/r/orders", nonce).is_empty());
    let ended = venue.read("auth/r/orders/hist", nonce + 1);
    let cids: BTreeSet<u64> = ended.iter().map(|row| row[2].as_u64().unwrap()).collect();
    assert_eq!(cids.len(), ended.len(), "a client id came twice");
    assert!(cids.len() as u64 >= count(&report, "/orders/acked"));
}
