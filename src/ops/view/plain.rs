//! The run as log lines, for pipes, files and CI.

use super::model::{BookHealth, ViewModel};
use crate::ops::text::{elapsed, grouped, span_ns};
use std::fmt::Write as _;

/// The state of the run in one line.
pub fn status_line(model: &ViewModel) -> String {
    let c = &model.counts;
    let mut line = format!("{:>7} ", elapsed(model.elapsed_s));
    line.push_str(&model.banner().unwrap_or_else(|| "running".to_owned()));
    let _ = write!(
        line,
        " | frames {} ({}/s) | books {}/{} synced, CRC {}/{} failed, gaps {}, reconnects {}, \
         conflated {}",
        grouped(c.frames),
        grouped(c.frames_per_s),
        model.books_synced(),
        model.symbols.len(),
        grouped(c.crc_failed),
        grouped(c.crc_checked),
        c.seq_gaps,
        c.reconnects,
        grouped(c.conflated),
    );
    let _ = write!(
        line,
        " | orders {} sent, {} open, {} part, {} filled, {} cancelled, {} rejected",
        c.sent,
        model.orders.len(),
        c.partly_filled,
        c.filled,
        c.cancelled,
        c.rejected,
    );
    for (count, word) in
        [(c.unknown, "UNKNOWN"), (c.refused, "refused"), (c.dropped, "DROPPED"), (c.halts, "HALTS")]
    {
        if count > 0 {
            let _ = write!(line, ", {count} {word}");
        }
    }
    let _ = write!(
        line,
        " | P&L {:+.2} fees {:.2} {} | T1 p50 {} p99 {}, T2 p50 {} p99 {}",
        model.pnl.to_f64(),
        model.fees.to_f64(),
        model.currency,
        span_ns(model.t1.p50),
        span_ns(model.t1.p99),
        span_ns(model.t2.p50),
        span_ns(model.t2.p99),
    );
    line
}

/// The status line, and one more for each symbol that has a position or a book that is not well.
pub fn lines(model: &ViewModel) -> Vec<String> {
    let mut out = vec![status_line(model)];
    for row in &model.symbols {
        if row.position.is_zero() && row.book == BookHealth::Synced && !row.is_frozen {
            continue;
        }
        let mut line = format!("        {} book {}", row.name, row.book.name());
        if let (Some(bid), Some(ask)) = (row.bid, row.ask) {
            let _ = write!(line, " {bid} / {ask}");
        }
        if !row.position.is_zero() {
            let (qty, px, pnl) = (row.position, row.px_avg, row.pnl.to_f64());
            let _ = write!(line, ", position {qty} at {px}, P&L {pnl:+.2}");
        }
        if row.is_frozen {
            line.push_str(", FROZEN by an order of unknown fate");
        }
        out.push(line);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::model::*;
    use super::*;
    use crate::base::units::Qty;
    use crate::model::Rank;

    #[test]
    fn a_line_tells_the_state_and_trouble_only_where_there_is_some() {
        let mut model = ViewModel { elapsed_s: 65, ..ViewModel::default() };
        let line = status_line(&model);
        assert!(line.starts_with("   1:05 running | frames 0"), "{line}");
        assert!(!line.contains("UNKNOWN"));
        model.rank = Rank::Halted;
        model.notice = "control queue full".to_owned();
        model.counts.unknown = 2;
        let line = status_line(&model);
        assert!(
            line.contains("halted: control queue full") && line.contains("2 UNKNOWN"),
            "{line}"
        );
    }

    #[test]
    fn symbols_get_a_line_when_they_hold_something_or_are_unwell() {
        let row =
            |name: &str, book| SymbolRow { name: name.to_owned(), book, ..SymbolRow::default() };
        let symbols =
            vec![row("tBTCUSD", BookHealth::Synced), row("tETHUSD", BookHealth::Unsynced)];
        let mut model = ViewModel { symbols, ..ViewModel::default() };
        assert_eq!(lines(&model).len(), 2);
        assert!(lines(&model)[1].contains("tETHUSD book UNSYNCED"));
        model.symbols[0].position = Qty::parse("-0.5").unwrap();
        assert!(lines(&model)[1].contains("tBTCUSD book synced, position -0.5"));
    }
}
