//! The other side as text, made in memory: answers to a sign-in, book changes of several symbols
//! with sequence numbers and times, and what the venue says about an order. Seeded; the same seed
//! gives the same bytes.

use genesis::base::ids::SymbolId;
use genesis::base::rng::Rng;
use genesis::base::units::Qty;
use genesis::model::{Action, Command, Instrument, SymbolName};
use std::fmt::Write as _;

/// Symbols that a feed can speak about, with their price at the middle in ticks and the decimals of
/// a tick: five significant digits, as the venue quotes.
const SYMBOLS: [(&str, i64, usize); 4] = [
    ("tBTCUSD", 86_717, 0),
    ("tETHUSD", 23_045, 1),
    ("tADAUSD", 84_123, 5),
    ("tDOTUSD", 41_234, 4),
];
pub const SYMBOLS_MAX: usize = SYMBOLS.len();
/// Levels of a side; the feed never shows more.
pub const LEVELS: usize = 25;
/// Channel number of the first symbol's book, and how much further its trades and ticker are.
const CHAN_FIRST: u32 = 81_568;
const TRADES_FROM: u32 = 100;
const TICKERS_FROM: u32 = 200;

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

/// A client frame of `size` bytes in all (from 100 on) that holds an order, its mask zero.
pub fn client_order(size: usize) -> Vec<u8> {
    let text =
        r#"[0,"on",null,{"cid":1,"symbol":"tBTCUSD","amount":"0.01","price":"86717","pad":""#;
    let mut frame = match size - 6 {
        len @ 0..=125 => vec![0x81, 0x80 | len as u8, 0, 0, 0, 0],
        _ => vec![0x81, 0x80 | 126, ((size - 8) >> 8) as u8, (size - 8) as u8, 0, 0, 0, 0],
    };
    frame.extend_from_slice(text.as_bytes());
    frame.resize(size - 3, b'x');
    frame.extend_from_slice(b"\"}]");
    frame
}

/// The value of a key in flat JSON text, without its quotes.
pub fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let at = text.find(&format!("\"{key}\":"))? + key.len() + 3;
    let rest = &text[at..];
    let end = rest.find([',', '}'])?;
    Some(rest[..end].trim_matches('"'))
}

/// Instruments of a run that follows the first `count` symbols.
pub fn instruments(count: usize) -> Vec<Instrument> {
    SYMBOLS[..count]
        .iter()
        .enumerate()
        .map(|(index, (name, ..))| {
            let (base, quote) = Instrument::split_name(name).expect("a trading symbol");
            Instrument {
                id: SymbolId(index as u16),
                name: SymbolName::new(name).expect("a short name"),
                base,
                quote,
                qty_min: Qty::from_raw(1),
                qty_max: Qty::MAX,
            }
        })
        .collect()
}

/// Which levels a side shows, nearest first.
type Shown = [bool; LEVELS];

/// See the file's head.
pub struct Feed {
    rng: Rng,
    symbols: usize,
    /// Bids and asks of each symbol.
    shown: [[Shown; 2]; SYMBOLS_MAX],
    seq: u64,
    private_seq: u64,
    /// Milliseconds of the venue's clock.
    at_ms: u64,
    order_id: u64,
    trade_id: u64,
    text: String,
}

impl Feed {
    pub fn new(symbols: usize, seed: u64) -> Feed {
        assert!((1..=SYMBOLS_MAX).contains(&symbols));
        Feed {
            rng: Rng::new(seed),
            symbols,
            shown: [[[true; LEVELS]; 2]; SYMBOLS_MAX],
            seq: 0,
            private_seq: 0,
            at_ms: 1_754_820_240_000,
            order_id: 200_000_000_000,
            trade_id: 1_800_000_000,
            text: String::with_capacity(4_096),
        }
    }

    /// What the server says to a new connection before it is asked.
    pub fn hello(&self, out: &mut Vec<u8>) {
        server_frame(
            br#"{"event":"info","version":2,"serverId":"feed","platform":{"status":1}}"#,
            out,
        );
    }
    /// Answers to one message of the client: `conf`, `subscribe`, `auth`; nothing to others.
    pub fn answer(&mut self, text: &str, out: &mut Vec<u8>) {
        let mut say = |text: &str| server_frame(text.as_bytes(), out);
        match field(text, "event") {
            Some("conf") => {
                let flags = field(text, "flags").unwrap_or("0");
                say(&format!(r#"{{"event":"conf","status":"OK","flags":{flags}}}"#));
            }
            Some("subscribe") => {
                let name = field(text, "symbol").unwrap_or_default();
                let channel = field(text, "channel").unwrap_or_default();
                let sub =
                    field(text, "subId").map_or(String::new(), |id| format!(r#","subId":{id}"#));
                let Some(index) = SYMBOLS.iter().position(|(known, ..)| *known == name) else {
                    return;
                };
                let chan = CHAN_FIRST + index as u32;
                if channel == "book" {
                    say(&format!(
                        r#"{{"event":"subscribed","channel":"book","chanId":{chan},"symbol":"{name}","prec":"P0","freq":"F0","len":"25"{sub}}}"#
                    ));
                    let rows = self.snapshot(index);
                    let (seq, at) = self.stamp();
                    server_frame(format!("[{chan},{rows},{seq},{at}]").as_bytes(), out);
                } else {
                    let chan = chan + if channel == "trades" { TRADES_FROM } else { TICKERS_FROM };
                    say(&format!(
                        r#"{{"event":"subscribed","channel":"{channel}","chanId":{chan},"symbol":"{name}"{sub}}}"#
                    ));
                }
            }
            Some("auth") => {
                say(
                    r#"{"event":"auth","status":"OK","chanId":0,"userId":1,"auth_id":"feed","caps":{"orders":{"read":1,"write":1},"withdraw":{"read":0,"write":0}}}"#,
                );
                for list in [
                    r#""ps",[]"#,
                    r#""ws",[["margin","USD",1000000000,0,1000000000]]"#,
                    r#""os",[]"#,
                ] {
                    self.private_seq += 1;
                    let at = self.at_ms;
                    say(&format!("[0,{list},{0},{0},{at}]", self.private_seq));
                }
            }
            _ => {}
        }
    }
    fn stamp(&mut self) -> (u64, u64) {
        self.seq += 1;
        if self.seq.is_multiple_of(8) {
            self.at_ms += 1;
        }
        (self.seq, self.at_ms)
    }
    fn price(symbol: usize, side: usize, level: usize) -> String {
        let (_, mid, decimals) = SYMBOLS[symbol];
        let ticks = if side == 0 { mid - level as i64 } else { mid + 1 + level as i64 };
        let scale = 10i64.pow(decimals as u32);
        match ticks % scale {
            0 => format!("{}", ticks / scale),
            part => {
                let digits = format!("{part:0decimals$}");
                format!("{}.{}", ticks / scale, digits.trim_end_matches('0'))
            }
        }
    }
    /// The rows of a whole book, and the feed's own memory of it.
    fn snapshot(&mut self, symbol: usize) -> String {
        self.shown[symbol] = [[true; LEVELS]; 2];
        let mut rows = Vec::new();
        for side in 0..2 {
            for level in 0..LEVELS {
                let sign = if side == 0 { "" } else { "-" };
                let qty = 1 + level;
                rows.push(format!("[{},1,{sign}{qty}.5]", Self::price(symbol, side, level)));
            }
        }
        format!("[{}]", rows.join(","))
    }
    /// One book change as a whole websocket frame, appended to `out`.
    pub fn book_frame(&mut self, out: &mut Vec<u8>) {
        let symbol = self.rng.below(self.symbols as u64) as usize;
        let side = self.rng.below(2) as usize;
        let level = (self.rng.exponential(5.0) as usize).min(LEVELS - 1);
        let sign = if side == 0 { "" } else { "-" };
        let px = Self::price(symbol, side, level);
        let shown = &mut self.shown[symbol][side];
        let deletes = shown[level]
            && self.rng.chance(1, 5)
            && shown.iter().filter(|shown| **shown).count() > LEVELS / 2;
        shown[level] = !deletes;
        let (count, qty) = if deletes {
            (0, format!("{sign}1"))
        } else {
            let part = 1 + self.rng.below(99_999_999);
            (1 + self.rng.below(9), format!("{sign}{}.{part:08}", self.rng.below(20)))
        };
        let (seq, at) = self.stamp();
        let chan = CHAN_FIRST + symbol as u32;
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        let _ = write!(text, "[{chan},[{px},{count},{qty}],{seq},{at}]");
        server_frame(text.as_bytes(), out);
        self.text = text;
    }
    /// One public trade at the middle as a whole frame, appended to `out`.
    pub fn trade_frame(&mut self, out: &mut Vec<u8>) {
        let symbol = self.rng.below(self.symbols as u64) as usize;
        let side = self.rng.below(2) as usize;
        let (sign, px) = (if side == 0 { "-" } else { "" }, Self::price(symbol, side, 0));
        self.trade_id += 1;
        let part = 1 + self.rng.below(99_999_999);
        let (seq, at) = self.stamp();
        let (id, chan) = (self.trade_id, CHAN_FIRST + TRADES_FROM + symbol as u32);
        let text = format!("[{chan},\"te\",[{id},{at},{sign}0.{part:08},{px}],{seq},{at}]");
        server_frame(text.as_bytes(), out);
    }
    /// A heartbeat of every channel.
    pub fn heartbeats(&mut self, out: &mut Vec<u8>) {
        for from in [0, TRADES_FROM, TICKERS_FROM] {
            for symbol in 0..self.symbols as u32 {
                let (seq, at) = self.stamp();
                let text = format!("[{},\"hb\",{seq},{at}]", CHAN_FIRST + from + symbol);
                server_frame(text.as_bytes(), out);
            }
        }
    }
    /// What the venue says to a new order that it fills at once; nothing to other commands.
    pub fn filled(&mut self, command: &Command, out: &mut Vec<u8>) {
        if let Action::New(new) = command.action {
            let (name, ..) = SYMBOLS[command.symbol.index()];
            self.fill(name, new.cid.0, &new.qty.to_string(), &new.px.to_string(), out);
        }
    }
    /// The same for an order as it stands on the wire.
    pub fn filled_text(&mut self, text: &str, out: &mut Vec<u8>) {
        let of = |key| field(text, key).unwrap_or_default();
        let known = SYMBOLS.iter().find(|(name, ..)| *name == of("symbol"));
        if let (true, Some((name, ..)), Ok(cid)) =
            (text.starts_with("[0,\"on\""), known, of("cid").parse())
        {
            self.fill(name, cid, of("amount"), of("price"), out);
        }
    }
    /// What the venue says to a new order that rests, and its two names: the venue's and ours.
    pub fn resting_text(&mut self, text: &str, out: &mut Vec<u8>) -> Option<(u64, u64)> {
        let of = |key| field(text, key).unwrap_or_default();
        let known = SYMBOLS.iter().find(|(name, ..)| *name == of("symbol"));
        let (true, Some((name, ..)), Ok(cid)) =
            (text.starts_with("[0,\"on\""), known, of("cid").parse::<u64>())
        else {
            return None;
        };
        self.order_id += 1;
        let (id, at, qty, px) = (self.order_id, self.at_ms, of("amount"), of("price"));
        let order = format!(
            r#"[{id},1,{cid},"{name}",{at},{at},{qty},{qty},"LIMIT",null,null,null,0,"ACTIVE",null,null,{px},0,0,0,null,null,null,0,0,null,null,null,"API>BFX",null,null,null]"#
        );
        for text in [
            format!(r#""n",[{at},"on-req",null,null,{order},null,"SUCCESS","Submitting order."]"#),
            format!(r#""on",{order}"#),
        ] {
            self.private_seq += 1;
            let text = format!("[0,{text},{0},{0},{at}]", self.private_seq);
            server_frame(text.as_bytes(), out);
        }
        Some((id, cid))
    }
    /// Taken, traded, traded with its fee, ended.
    fn fill(&mut self, name: &str, cid: u64, qty: &str, px: &str, out: &mut Vec<u8>) {
        self.order_id += 1;
        self.trade_id += 1;
        let (id, trade, at) = (self.order_id, self.trade_id, self.at_ms);
        let order = |left: &str, status: &str| {
            format!(
                r#"[{id},1,{cid},"{name}",{at},{at},{left},{qty},"IOC",null,null,null,0,"{status}",null,null,{px},{px},0,0,null,null,null,0,0,null,null,null,"API>BFX",null,null,null]"#
            )
        };
        let ack = order(qty, "ACTIVE");
        let end = order("0", &format!("EXECUTED @ {px}({qty})"));
        let texts = [
            format!(r#""n",[{at},"on-req",null,null,{ack},null,"SUCCESS","Submitting order."]"#),
            format!(
                r#""te",[{trade},"{name}",{at},{id},{qty},{px},"IOC",{px},-1,null,null,{cid}]"#
            ),
            format!(r#""tu",[{trade},"{name}",{at},{id},{qty},{px},"IOC",{px},-1,0,"USD",{cid}]"#),
            format!(r#""oc",{end}"#),
        ];
        for text in texts {
            self.private_seq += 1;
            let text = format!("[0,{text},{0},{0},{at}]", self.private_seq);
            server_frame(text.as_bytes(), out);
        }
    }
}
