//! The report of a run: `--report F.json`, `report.json` of the run directory, and the words at the
//! end. Names are stable: never renamed, only added. Latencies are in ns, except where a name ends
//! in `_ms`.

use super::metrics::Percentiles;
use super::text::{elapsed, grouped, span_ns};
use crate::base::units::{Px, Qty, Quote};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt::Write as _;

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Build {
    pub version: String,
    pub commit: String,
    /// `release` or `debug`.
    pub profile: String,
}
impl Build {
    /// Of this program.
    pub fn current() -> Build {
        Build {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: env!("GENESIS_COMMIT").to_owned(),
            profile: if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned(),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TopologyReport {
    pub layout: String,
    pub threads: Vec<ThreadReport>,
}
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ThreadReport {
    pub name: String,
    pub stages: Vec<String>,
    /// Absent: not pinned.
    pub core: Option<u32>,
    pub wait: String,
    /// Shares of the thread's time, 0 … 1.
    pub busy: f64,
    pub idle: f64,
    pub back_pressured: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BookCrc {
    pub checked: u64,
    pub failed: u64,
}

/// Orders of the run by what became of them. `filled` counts whole fills; one order may have been
/// both `acked` and `filled`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OrderCounts {
    pub sent: u64,
    pub acked: u64,
    pub filled: u64,
    pub cancelled: u64,
    pub rejected: u64,
    /// Fate not known at the end.
    pub unknown: u64,
    /// Orders that were filled in part at any time.
    pub partly_filled: u64,
    /// Orders that rested in the book at any time.
    pub resting: u64,
    /// Own orders still at the venue at the end, without those below.
    pub open: u64,
    /// Those left there on purpose: they protect the positions that were kept.
    pub protecting: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Money {
    /// In `currency`.
    #[serde(serialize_with = "quote_number")]
    pub total: Quote,
    #[serde(serialize_with = "quote_number")]
    pub realised: Quote,
    #[serde(serialize_with = "quote_number")]
    pub unrealised: Quote,
    /// Quote currency, or `mixed` where the symbols have several.
    pub currency: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PositionReport {
    /// Signed base units.
    #[serde(serialize_with = "qty_number")]
    pub qty: Qty,
    #[serde(serialize_with = "px_number")]
    pub px_avg: Px,
    #[serde(serialize_with = "quote_number")]
    pub realised: Quote,
    #[serde(serialize_with = "quote_number")]
    pub unrealised: Quote,
    #[serde(serialize_with = "quote_number")]
    pub fees: Quote,
    pub currency: String,
    /// What the venue says it is; absent: it said nothing.
    pub matches_venue: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RoundTrip {
    pub ack: Percentiles,
    pub first_fill: Percentiles,
    pub last_fill: Percentiles,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// Frame complete in memory → order bytes and write-ahead done, ns.
    pub t1: Percentiles,
    /// Before the read of the first byte → write returned, ns.
    pub t2: Percentiles,
    /// From the exchange's write to its read of the order, ns; where both ends are ours.
    pub wire_to_wire: Percentiles,
    /// By stage, ns.
    pub stages: BTreeMap<String, Percentiles>,
    pub order_roundtrip_ms: RoundTrip,
    /// Between two data messages of one channel, all channels.
    pub ws_gap_ms: Percentiles,
    /// The same by `symbol channel`.
    pub ws_gap_ms_by_channel: BTreeMap<String, Percentiles>,
    /// Age of the book's newest change when an order was decided.
    pub decision_data_age_ms: Percentiles,
}

/// How the run ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ending {
    /// In words: `stopped by the operator`, `time is up`, `the recording ended`, `halted: …`.
    pub reason: String,
    pub halted: bool,
    /// What is left at the venue, in words; empty where nothing that should not be.
    pub left: Vec<String>,
    /// The operator asked for flat and the run did not end flat.
    pub not_flat: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    pub environment: String,
    pub build: Build,
    pub config_hash: String,
    pub run: String,
    /// Where the run's files are.
    pub run_dir: String,
    pub started_at: String,
    pub elapsed_s: f64,
    pub market: String,
    pub speed: String,
    pub symbols: Vec<String>,
    pub topology: TopologyReport,
    pub frames: u64,
    /// By kind.
    pub messages: BTreeMap<String, u64>,
    pub book_crc: BookCrc,
    pub book_updates: u64,
    /// Books seen crossed.
    pub crossed: u64,
    pub bars: u64,
    pub seq_gaps: u64,
    pub reconnects: u64,
    /// Views and trades replaced at the mouth.
    pub conflated: u64,
    pub orders: OrderCounts,
    /// REST calls by reason; prices, books and own orders are no reason.
    pub rest_calls: BTreeMap<String, u64>,
    /// By symbol, signed base units.
    #[serde(serialize_with = "qty_numbers")]
    pub position: BTreeMap<String, Qty>,
    pub positions: BTreeMap<String, PositionReport>,
    pub pnl: Money,
    /// In the currency of `pnl`; positive = paid.
    #[serde(serialize_with = "quote_number")]
    pub fees: Quote,
    /// Intents and commands refused, by guard or reason.
    pub refusals: BTreeMap<String, u64>,
    pub hot_allocations: u64,
    pub hot_page_faults: u64,
    pub decision_hash: String,
    pub latency: Latency,
    /// Largest fill of each ring, slots.
    pub ring_used_max: BTreeMap<String, u64>,
    pub ending: Ending,
}

fn number<S: Serializer>(raw: i64, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_f64(raw as f64 / crate::base::units::UNIT_SCALE as f64)
}
fn quote_number<S: Serializer>(value: &Quote, s: S) -> Result<S::Ok, S::Error> {
    number(value.raw(), s)
}
fn qty_number<S: Serializer>(value: &Qty, s: S) -> Result<S::Ok, S::Error> {
    number(value.raw(), s)
}
fn px_number<S: Serializer>(value: &Px, s: S) -> Result<S::Ok, S::Error> {
    number(value.raw(), s)
}
fn qty_numbers<S: Serializer>(map: &BTreeMap<String, Qty>, s: S) -> Result<S::Ok, S::Error> {
    s.collect_map(map.iter().map(|(symbol, qty)| (symbol, qty.to_f64())))
}

/// Exit codes of the program, as `--help` lists them.
pub mod exit {
    /// All went well.
    pub const OK: u8 = 0;
    /// Something failed; the message says what.
    pub const FAILURE: u8 = 1;
    /// Bad input: arguments, config, a file that is missing or broken, a port in use.
    pub const BAD_INPUT: u8 = 2;
    /// The run ended with own orders at the venue, or with orders of unknown fate.
    pub const ORDERS_LEFT: u8 = 3;
    /// Flat was asked for (`on_stop = "flatten"`) and positions are left.
    pub const POSITIONS_LEFT: u8 = 4;
    /// The engine halted by itself.
    pub const HALTED: u8 = 5;
    /// A command was given and no run answers.
    pub const NOT_RUNNING: u8 = 6;
    /// A thread hung and could not be ended; own orders may be at the venue.
    pub const WEDGED: u8 = 7;
}

impl Report {
    /// What the process says to its caller. Own orders left behind outrank everything.
    pub fn exit_code(&self) -> u8 {
        if self.orders.open > 0 || self.orders.unknown > 0 {
            exit::ORDERS_LEFT
        } else if self.ending.not_flat {
            exit::POSITIONS_LEFT
        } else if self.ending.halted {
            exit::HALTED
        } else {
            exit::OK
        }
    }

    pub fn to_json(&self) -> String {
        sonic_rs::to_string_pretty(self).unwrap_or_default()
    }

    /// The words at the end of a run.
    pub fn summary(&self) -> String {
        let mut out = String::new();
        let o = &self.orders;
        let _ = writeln!(
            out,
            "genesis: {} after {}",
            if self.ending.reason.is_empty() { "ended" } else { &self.ending.reason },
            elapsed(self.elapsed_s as u64),
        );
        let mut row = |name: &str, text: String| {
            let _ = writeln!(out, "  {name:<10} {text}");
        };
        row(
            "market",
            format!(
                "{} {} at speed {}, {}",
                self.environment,
                self.market,
                self.speed,
                self.symbols.join(" ")
            ),
        );
        row(
            "data",
            format!(
                "{} frames, {} book updates, {} bars, CRC {} checked {} failed, {} gaps, {} \
                 reconnects, {} conflated",
                grouped(self.frames),
                grouped(self.book_updates),
                grouped(self.bars),
                grouped(self.book_crc.checked),
                grouped(self.book_crc.failed),
                self.seq_gaps,
                self.reconnects,
                grouped(self.conflated)
            ),
        );
        row(
            "orders",
            format!(
                "{} sent, {} acked, {} rested, {} partly filled, {} filled, {} cancelled, {} \
                 rejected, {} unknown, {} open{}",
                o.sent,
                o.acked,
                o.resting,
                o.partly_filled,
                o.filled,
                o.cancelled,
                o.rejected,
                o.unknown,
                o.open,
                match o.protecting {
                    0 => String::new(),
                    count => format!(", {count} left to protect what is held"),
                }
            ),
        );
        let refused: u64 = self.refusals.values().sum();
        if refused > 0 {
            let mut parts: Vec<_> = self.refusals.iter().filter(|(_, count)| **count > 0).collect();
            parts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
            let parts: Vec<String> =
                parts.iter().take(4).map(|(name, count)| format!("{name} {count}")).collect();
            row("refused", format!("{refused} by risk: {}", parts.join(", ")));
        }
        for (symbol, position) in &self.positions {
            if position.qty.is_zero() && position.realised.is_zero() && position.fees.is_zero() {
                continue;
            }
            let venue = match position.matches_venue {
                Some(true) => ", as the venue says",
                Some(false) => ", THE VENUE SAYS OTHERWISE",
                None => "",
            };
            row(
                "position",
                format!(
                    "{symbol} {} at {}, realised {:.2}, open {:.2}, fees {:.2} {}{venue}",
                    position.qty,
                    position.px_avg,
                    position.realised.to_f64(),
                    position.unrealised.to_f64(),
                    position.fees.to_f64(),
                    position.currency
                ),
            );
        }
        row(
            "P&L",
            format!(
                "{:.2} {} ({:.2} realised, {:.2} open), fees {:.2}",
                self.pnl.total.to_f64(),
                self.pnl.currency,
                self.pnl.realised.to_f64(),
                self.pnl.unrealised.to_f64(),
                self.fees.to_f64()
            ),
        );
        let mut latency = |name: &str, p: &Percentiles| {
            row(
                name,
                format!(
                    "p50 {}  p95 {}  p99 {}  p99.9 {}  max {}  ({} samples)",
                    span_ns(p.p50),
                    span_ns(p.p95),
                    span_ns(p.p99),
                    span_ns(p.p999),
                    span_ns(p.max),
                    grouped(p.count)
                ),
            );
        };
        latency("T1", &self.latency.t1);
        latency("T2", &self.latency.t2);
        for (stage, percentiles) in &self.latency.stages {
            latency(stage, percentiles);
        }
        let ack = &self.latency.order_roundtrip_ms.ack;
        if let (Some(p50), Some(p99)) = (ack.p50, ack.p99) {
            row("ack", format!("p50 {p50:.3} ms  p99 {p99:.3} ms  ({} samples)", ack.count));
        }
        row(
            "hot",
            format!(
                "{} allocations, {} page faults after warm-up",
                self.hot_allocations, self.hot_page_faults
            ),
        );
        row("decisions", format!("hash {}, config {}", self.decision_hash, self.config_hash));
        for left in &self.ending.left {
            row("LEFT", left.clone());
        }
        if !self.run_dir.is_empty() {
            row("files", self.run_dir.clone());
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_has_every_field_that_was_promised() {
        let mut report = Report { decision_hash: "00".to_owned(), ..Report::default() };
        report.position.insert("tBTCUSD".to_owned(), Qty::parse("-0.015").unwrap());
        report.fees = Quote::parse("1.25").unwrap();
        let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
        for path in [
            "environment",
            "build",
            "config_hash",
            "topology",
            "frames",
            "messages",
            "book_crc/checked",
            "book_crc/failed",
            "seq_gaps",
            "reconnects",
            "conflated",
            "orders/sent",
            "orders/acked",
            "orders/filled",
            "orders/cancelled",
            "orders/rejected",
            "orders/unknown",
            "position",
            "pnl",
            "fees",
            "hot_allocations",
            "hot_page_faults",
            "decision_hash",
            "latency/stages",
        ] {
            assert!(json.pointer(&format!("/{path}")).is_some(), "{path}");
        }
        for path in [
            "t1",
            "t2",
            "wire_to_wire",
            "order_roundtrip_ms/ack",
            "order_roundtrip_ms/first_fill",
            "order_roundtrip_ms/last_fill",
            "ws_gap_ms",
        ] {
            for part in ["count", "p50", "p95", "p99", "p999", "max"] {
                let pointer = format!("/latency/{path}/{part}");
                assert!(json.pointer(&pointer).is_some(), "{pointer}");
            }
        }
        assert_eq!(json["position"]["tBTCUSD"], -0.015);
        assert_eq!(json["fees"], 1.25);
    }

    #[test]
    fn the_exit_code_says_what_was_left() {
        let mut report = Report::default();
        assert_eq!(report.exit_code(), exit::OK);
        report.ending.halted = true;
        assert_eq!(report.exit_code(), exit::HALTED);
        report.ending.not_flat = true;
        assert_eq!(report.exit_code(), exit::POSITIONS_LEFT);
        report.orders.unknown = 1;
        assert_eq!(report.exit_code(), exit::ORDERS_LEFT);
    }

    #[test]
    fn the_summary_names_what_is_left_and_hides_what_is_nothing() {
        let mut report = Report::default();
        assert!(!report.summary().contains("LEFT"));
        report.ending.left.push("2 own orders of tBTCUSD".to_owned());
        report.refusals.insert("collar".to_owned(), 3);
        let text = report.summary();
        assert!(text.contains("LEFT       2 own orders of tBTCUSD"), "{text}");
        assert!(text.contains("3 by risk: collar 3"), "{text}");
    }
}
