//! `genesis venue` as its own process: what a client by somebody else would meet.

use crate::venue_process::Venue;
use std::net::TcpStream;
use std::process::Command;
use tungstenite::{Message, WebSocket};

/// The next message that contains `part`.
fn wait_for(socket: &mut WebSocket<TcpStream>, part: &str) -> String {
    loop {
        if let Message::Text(text) = socket.read().unwrap()
            && text.contains(part)
        {
            return text.to_string();
        }
    }
}

#[test]
fn a_client_is_served_and_the_end_is_counted() {
    let venue = Venue::start(&["--symbols", "tBTCUSD,tETHUSD", "--activity", "20"]);
    assert_eq!(venue.hello["accounts"][0]["key"], "embedded-key");
    assert_eq!(venue.hello["symbols"], serde_json::json!(["tBTCUSD", "tETHUSD"]));
    let status = venue.get("/v2/platform/status");
    assert!(status.starts_with("HTTP/1.1 200") && status.ends_with("[1]"), "{status}");
    let candles = venue.get("/v2/candles/trade:1m:tBTCUSD/hist?limit=3");
    let candles = candles.rsplit("\r\n\r\n").next().unwrap().to_owned();
    let candles: Vec<[f64; 6]> = serde_json::from_str(&candles).unwrap();
    assert_eq!(candles.len(), 3);
    let mut socket = venue.socket();
    let info = wait_for(&mut socket, "\"info\"");
    assert!(info.contains("\"version\":2") && info.contains("\"status\":1"), "{info}");
    for text in [
        r#"{"event":"conf","flags":196608}"#,
        r#"{"event":"subscribe","channel":"book","symbol":"tETHUSD","len":"25"}"#,
    ] {
        socket.send(Message::text(text)).unwrap();
    }
    assert!(wait_for(&mut socket, "\"conf\"").contains("\"OK\""));
    let ack = wait_for(&mut socket, "\"subscribed\"");
    assert!(ack.contains("\"symbol\":\"tETHUSD\",\"prec\":\"P0\",\"freq\":\"F0\",\"len\":\"25\""));
    let snapshot = wait_for(&mut socket, "[[");
    assert!(snapshot.ends_with(",1]"), "the first sequence number: {snapshot}");
    wait_for(&mut socket, "\"cs\"");
    let (code, goodbye) = venue.stop();
    assert_eq!(code, Some(0));
    assert_eq!(goodbye["server"]["counters"]["websocket_opened"], 1);
    assert!(goodbye["exchange"]["steps"].as_u64().unwrap() > 100, "{goodbye}");
    loop {
        match socket.read() {
            Ok(Message::Close(Some(frame))) => {
                assert_eq!(u16::from(frame.code), 1001);
                break;
            }
            Ok(_) => {}
            Err(error) => panic!("closed without a word: {error}"),
        }
    }
}

#[test]
fn it_serves_tls_and_writes_its_authority() {
    let dir = std::env::temp_dir().join(format!("genesis-venue-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let ca = dir.join("ca.pem");
    let venue = Venue::start(&["--tls", "--ca-out", ca.to_str().unwrap()]);
    assert!(venue.hello["ws"].as_str().unwrap().starts_with("wss://127.0.0.1:"));
    let pem = std::fs::read_to_string(&ca).unwrap();
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----"));
    assert_eq!(venue.stop().0, Some(0));
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn bad_arguments_and_a_port_in_use_are_said_in_one_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (args, words) in [
        (&["--listen", &taken][..], "is in use"),
        (&["--market", "capture:no/such/file"], "no/such/file"),
        (&["--listen", "0.0.0.0:0"], "can be reached from other machines"),
        (&["--symbols", "BTCUSD"], "of the form tBTCUSD"),
    ] {
        let out = Command::new(env!("CARGO_BIN_EXE_genesis")).arg("venue").args(args).output();
        let out = out.unwrap();
        let told = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(2), "{told}");
        assert!(told.contains(words) && told.lines().count() == 1, "{told}");
        assert!(out.stdout.is_empty());
    }
}
