//! A webhook as the person who is to hear of it: bodies that are posted, as they come.

#![allow(clippy::disallowed_methods, reason = "times of real processes")]

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::time::Instant;

/// Hands each body to `hear` for as long as the test lives; the address to post to.
pub fn webhook(mut hear: impl FnMut(Instant, Value) + Send + 'static) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut line, mut size) = (String::new(), 0);
            while reader.read_line(&mut line).unwrap_or(0) > 2 {
                if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    size = text.trim().parse().unwrap_or(0);
                }
                line.clear();
            }
            let mut body = vec![0; size];
            if reader.read_exact(&mut body).is_ok()
                && let Ok(body) = serde_json::from_slice(&body)
            {
                hear(Instant::now(), body);
            }
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    url
}
