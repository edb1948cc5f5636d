//! The bare other side for wire-to-wire figures: no books, no matching, no JSON library. It signs
//! the engine in with canned replies, then sends one market frame at each scheduled time,
//! busy-polls the trading socket, and stamps both ends on its own core.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub const SYMBOL: &str = "tBTCUSD";
const CHAN: u32 = 17;

/// One text frame from server to client, not masked.
pub fn server_frame(text: &[u8], out: &mut Vec<u8>) {
    out.push(0x81);
    match text.len() {
        len @ 0..=125 => out.push(len as u8),
        len @ 126..=65_535 => {
            out.push(126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(text);
}

/// Length of the first complete client frame in `bytes`: `(header and mask, payload)`.
pub fn client_frame(bytes: &[u8]) -> Option<(usize, usize)> {
    let second = *bytes.get(1)?;
    let (len, head) = match second & 0x7f {
        126 => (u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]) as usize, 8),
        127 => return None,
        short => (short as usize, 6),
    };
    (bytes.len() >= head + len).then_some((head, len))
}

/// Text of the first complete client frame, and the bytes it took.
pub fn client_text(bytes: &[u8]) -> Option<(String, usize)> {
    let (head, len) = client_frame(bytes)?;
    let mask: [u8; 4] = bytes[head - 4..head].try_into().ok()?;
    let text: Vec<u8> =
        bytes[head..head + len].iter().enumerate().map(|(i, b)| b ^ mask[i % 4]).collect();
    Some((String::from_utf8_lossy(&text).into_owned(), head + len))
}

pub struct Stub {
    listener: TcpListener,
    pub address: SocketAddr,
}

/// The two sockets of a signed-in engine.
pub struct Session {
    pub market: TcpStream,
    pub trading: TcpStream,
    stop: Arc<AtomicBool>,
}
impl Drop for Session {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let at = text.find(&format!("\"{key}\":"))? + key.len() + 3;
    let rest = &text[at..];
    let end = rest.find([',', '}'])?;
    Some(rest[..end].trim_matches('"'))
}

impl Stub {
    pub fn new() -> std::io::Result<Stub> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        Ok(Stub { listener, address })
    }

    /// Serves handshakes, sign-in and REST until both sockets of the engine are ready to be
    /// measured.
    pub fn accept(&self, snapshot: &str) -> std::io::Result<Session> {
        let (mut market, mut trading) = (None, None);
        let stop = Arc::new(AtomicBool::new(false));
        let deadline = Instant::now() + Duration::from_secs(20);
        while market.is_none() || trading.is_none() {
            if Instant::now() > deadline {
                return Err(std::io::Error::other("the engine did not sign in within 20 s"));
            }
            let (mut stream, _) = self.listener.accept()?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            let head = read_head(&mut stream)?;
            if !head.to_ascii_lowercase().contains("upgrade: websocket") {
                let stop = Arc::clone(&stop);
                std::thread::spawn(move || serve_rest(stream, head, &stop));
                continue;
            }
            upgrade(&mut stream, &head)?;
            if sign_in(&mut stream, snapshot)? {
                trading = Some(stream);
            } else {
                market = Some(stream);
            }
        }
        // REST reads of the reconcile come afterwards, on their own connections.
        let listener = self.listener.try_clone()?;
        let seen = Arc::clone(&stop);
        std::thread::spawn(move || {
            let _ = listener.set_nonblocking(true);
            while !seen.load(Ordering::Acquire) {
                if let Ok((mut stream, _)) = listener.accept() {
                    let _ = stream.set_nonblocking(false);
                    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
                    if let Ok(head) = read_head(&mut stream) {
                        let seen = Arc::clone(&seen);
                        std::thread::spawn(move || serve_rest(stream, head, &seen));
                    }
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        Ok(Session {
            market: market.expect("left the loop"),
            trading: trading.expect("left the loop"),
            stop,
        })
    }
}

fn read_head(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > 8192 || stream.read(&mut byte)? == 0 {
            return Err(std::io::Error::other("no request head"));
        }
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn upgrade(stream: &mut TcpStream, head: &str) -> std::io::Result<()> {
    let key = head
        .lines()
        .find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim().to_owned())
        })
        .ok_or_else(|| std::io::Error::other("no websocket key"))?;
    let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
    write!(
        stream,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

/// Canned REST: every list is empty.
fn serve_rest(mut stream: TcpStream, mut head: String, stop: &AtomicBool) {
    while !stop.load(Ordering::Acquire) {
        let length = head
            .lines()
            .find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
            })
            .unwrap_or(0usize);
        let mut body = vec![0; length];
        if stream.read_exact(&mut body).is_err() {
            return;
        }
        let reply = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n[]";
        if stream.write_all(reply.as_bytes()).is_err() {
            return;
        }
        match read_head(&mut stream) {
            Ok(next) => head = next,
            Err(_) => return,
        }
    }
}

/// True where the engine signed in on it; false for a market-data socket.
fn sign_in(stream: &mut TcpStream, snapshot: &str) -> std::io::Result<bool> {
    let mut out = Vec::new();
    server_frame(br#"{"event":"info","version":2,"serverId":"stub","platform":{"status":1}}"#, &mut out);
    stream.write_all(&out)?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        while let Some((text, used)) = client_text(&bytes) {
            bytes.drain(..used);
            out.clear();
            if text.contains("\"conf\"") {
                let flags = field(&text, "flags").unwrap_or("0");
                let reply = format!(r#"{{"event":"conf","status":"OK","flags":{flags}}}"#);
                server_frame(reply.as_bytes(), &mut out);
                stream.write_all(&out)?;
            } else if text.contains("\"subscribe\"") {
                let sub = field(&text, "subId").map(|id| format!(r#","subId":{id}"#));
                let reply = format!(
                    r#"{{"event":"subscribed","channel":"book","chanId":{CHAN},"symbol":"{SYMBOL}","prec":"P0","freq":"F0","len":"25"{},"pair":"BTCUSD"}}"#,
                    sub.unwrap_or_default()
                );
                server_frame(reply.as_bytes(), &mut out);
                server_frame(format!("[{CHAN},{snapshot},1]").as_bytes(), &mut out);
                stream.write_all(&out)?;
                return Ok(false);
            } else if text.contains("\"auth\"") {
                let ok = r#"{"event":"auth","status":"OK","chanId":0,"userId":1,"auth_id":"stub","caps":{"orders":{"read":1,"write":1},"withdraw":{"read":0,"write":0}}}"#;
                server_frame(ok.as_bytes(), &mut out);
                server_frame(br#"[0,"ps",[],1,0]"#, &mut out);
                server_frame(br#"[0,"ws",[["margin","USD",1000000,0,1000000,null,null]],2,0]"#, &mut out);
                server_frame(br#"[0,"os",[],3,0]"#, &mut out);
                stream.write_all(&out)?;
                return Ok(true);
            }
        }
        let count = stream.read(&mut chunk)?;
        if count == 0 {
            return Err(std::io::Error::other("the engine closed while signing in"));
        }
        bytes.extend_from_slice(&chunk[..count]);
    }
}

/// A book snapshot of `levels` a side around 6,400, and the frames of `count` updates that move the
/// touch.
pub fn market(levels: usize, count: usize) -> (String, Vec<Vec<u8>>) {
    let mut rows = Vec::new();
    for level in 0..levels {
        rows.push(format!("[{},1,{}]", 6400.0 - level as f64 * 0.1, 1.5 + level as f64));
    }
    for level in 0..levels {
        rows.push(format!("[{:.1},1,-{}]", 6400.1 + level as f64 * 0.1, 1.5 + level as f64));
    }
    let frames = (0..count)
        .map(|index| {
            let amount = 1.0 + (index % 89) as f64 / 100.0;
            let (px, sign) = if index % 2 == 0 { ("6400", "") } else { ("6400.1", "-") };
            let mut frame = Vec::new();
            let text = format!("[{CHAN},[{px},1,{sign}{amount}],{}]", index + 2);
            server_frame(text.as_bytes(), &mut frame);
            frame
        })
        .collect();
    (format!("[{}]", rows.join(",")), frames)
}
