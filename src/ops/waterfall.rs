//! One order's way through the line, kept for every order in `orders.jsonl` of the run directory.

use super::text::span_ns;
use crate::base::units::Side;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;

/// Stage stamps are ns since `recv`, the moment before the read that returned the first byte of the
/// frame that caused the order. Absent: the order never got there, or not yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderWaterfall {
    pub cid: u64,
    /// Venue symbol.
    pub symbol: String,
    /// `buy` or `sell`.
    pub side: String,
    /// Number of the event that caused it.
    #[serde(default)]
    pub seq: u64,
    /// Last known state, in words.
    #[serde(default)]
    pub state: String,
    pub decoded: Option<u64>,
    pub signalled: Option<u64>,
    pub approved: Option<u64>,
    pub encoded: Option<u64>,
    pub written: Option<u64>,
    pub acked: Option<u64>,
    pub first_fill: Option<u64>,
    pub last_fill: Option<u64>,
}

/// The word for a side.
pub fn side_name(side: Side) -> &'static str {
    match side {
        Side::Buy => "buy",
        Side::Sell => "sell",
    }
}

impl OrderWaterfall {
    /// Steps in the order they happen, with what happens in each.
    pub fn steps(&self) -> [(&'static str, &'static str, Option<u64>); 9] {
        [
            ("recv", "first byte of the causing frame read", Some(0)),
            ("decoded", "event decoded, book applied and checked", self.decoded),
            ("signalled", "strategy wanted it", self.signalled),
            ("approved", "risk approved, ledger says Sending", self.approved),
            ("encoded", "bytes ready, write-ahead done", self.encoded),
            ("written", "write returned", self.written),
            ("acked", "the venue took it", self.acked),
            ("first fill", "first own trade", self.first_fill),
            ("last fill", "last own trade", self.last_fill),
        ]
    }

    /// A table with a bar for each step; on a logarithmic scale, for the steps span nine decades.
    pub fn pretty(&self) -> String {
        let mut out = format!("order {}  {} {}", self.cid, self.side, self.symbol);
        if !self.state.is_empty() {
            let _ = write!(out, "  {}", self.state);
        }
        if self.seq > 0 {
            let _ = write!(out, "  caused by event {}", self.seq);
        }
        out.push('\n');
        let _ = writeln!(out, "{:<11} {:>11} {:>11}", "step", "since recv", "this step");
        let mut before = 0u64;
        for (name, about, at) in self.steps() {
            let Some(at) = at else {
                let _ = writeln!(out, "{name:<11} {:>11} {:>11}", "–", "–");
                continue;
            };
            let step = at.saturating_sub(before);
            before = before.max(at);
            let bar = "█".repeat(if step == 0 { 0 } else { 1 + step.ilog10() as usize * 2 });
            let _ = writeln!(
                out,
                "{name:<11} {:>11} {:>11}  {bar:<20} {about}",
                span_ns(Some(at as f64)),
                span_ns(Some(step as f64)),
            );
        }
        out
    }
}

/// Appends waterfalls to a file. One order may be written several times; the last line counts.
pub struct WaterfallWriter {
    out: BufWriter<std::fs::File>,
}

impl WaterfallWriter {
    /// # Errors
    /// The file cannot be made.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self { out: BufWriter::new(file) })
    }
    /// # Errors
    /// The file cannot be written.
    pub fn write(&mut self, order: &OrderWaterfall) -> io::Result<()> {
        let line = sonic_rs::to_string(order).map_err(io::Error::other)?;
        self.out.write_all(line.as_bytes())?;
        self.out.write_all(b"\n")
    }
    /// # Errors
    /// The file cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// What reading a run's orders found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    /// By client id, the last line of each.
    pub orders: std::collections::BTreeMap<u64, OrderWaterfall>,
    /// Lines that are no waterfalls, e.g. cut off by a crash.
    pub unreadable: usize,
}

/// Reads all orders of a run.
///
/// # Errors
/// The file cannot be read.
pub fn read(path: &Path) -> io::Result<Orders> {
    let mut found = Orders::default();
    for line in BufReader::new(std::fs::File::open(path)?).split(b'\n') {
        let line = line?;
        if line.is_empty() {
            continue;
        }
        match sonic_rs::from_slice::<OrderWaterfall>(&line) {
            Ok(order) => {
                found.orders.insert(order.cid, order);
            }
            Err(_) => found.unreadable += 1,
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::rundir::tests::scratch;

    fn order(cid: u64) -> OrderWaterfall {
        OrderWaterfall {
            cid,
            symbol: "tBTCUSD".to_owned(),
            side: "buy".to_owned(),
            seq: 42,
            state: "filled".to_owned(),
            decoded: Some(310),
            signalled: Some(460),
            approved: Some(590),
            encoded: Some(810),
            written: Some(9_300),
            acked: Some(450_000),
            first_fill: Some(1_200_000_000),
            last_fill: None,
        }
    }

    #[test]
    fn orders_survive_the_file_and_the_last_line_counts() {
        let dir = scratch();
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("orders.jsonl");
        let mut writer = WaterfallWriter::create(&path).unwrap();
        writer.write(&OrderWaterfall { acked: None, ..order(7) }).unwrap();
        writer.write(&order(7)).unwrap();
        writer.write(&order(8)).unwrap();
        writer.flush().unwrap();
        std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(b"{\"cid\":9,\"sy")
            .unwrap();
        let found = read(&path).unwrap();
        assert_eq!(found.unreadable, 1);
        assert_eq!(found.orders.len(), 2);
        assert_eq!(found.orders[&7], order(7));
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn the_waterfall_shows_each_step_and_what_is_missing() {
        let text = order(7).pretty();
        assert!(text.starts_with("order 7  buy tBTCUSD  filled  caused by event 42\n"), "{text}");
        let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(line("signalled").contains("460 ns") && line("signalled").contains("150 ns"));
        assert!(line("first fill").contains("1.20 s"));
        assert!(line("last fill").contains('–'));
        assert_eq!(text.lines().count(), 11);
    }
}
