//! `genesis latency`: where the time of a run went, or of one of its orders.

use super::{complain, places, say};
use crate::ops::report::exit;
use crate::ops::rundir::{ORDERS_FILE, RunDir};
use crate::ops::text::span_ns;
use crate::ops::waterfall::{self, OrderWaterfall};
use clap::Args;
use std::fmt::Write as _;
use std::path::PathBuf;

#[derive(Args, Debug)]
pub(super) struct LatencyArgs {
    /// Client id of one order: print its waterfall.
    #[arg(long, value_name = "CID")]
    order: Option<u64>,
    /// A run's directory, or the directory of all runs (then the newest); as `genesis run --dir`.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// JSON instead of words.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &LatencyArgs) -> u8 {
    let root = places(args.dir.clone()).root();
    let found = RunDir::open(&root).and_then(|run| {
        let path = run.file(ORDERS_FILE);
        waterfall::read(&path).map_err(|error| {
            let words =
                format!("orders of the run cannot be read from `{}`: {error}", path.display());
            std::io::Error::new(error.kind(), words)
        })
    });
    let orders = match found {
        Ok(found) => {
            if found.unreadable > 0 {
                complain(format!("{} lines of {ORDERS_FILE} are unreadable", found.unreadable));
            }
            found.orders
        }
        Err(error) => {
            complain(format!("{error}; run `genesis` first, or name a run with --dir"));
            return exit::BAD_INPUT;
        }
    };
    match args.order {
        Some(cid) => match orders.get(&cid) {
            Some(order) => {
                let json = || sonic_rs::to_string_pretty(order).unwrap_or_default();
                say(&if args.json { json() } else { order.pretty() });
                exit::OK
            }
            None => {
                complain(format!("no order {cid} in that run; {}", known(orders.keys().copied())));
                exit::BAD_INPUT
            }
        },
        None => {
            let all: Vec<&OrderWaterfall> = orders.values().collect();
            let json = || sonic_rs::to_string_pretty(&all).unwrap_or_default();
            say(&if args.json { json() } else { table(&all) });
            exit::OK
        }
    }
}

fn known(mut cids: impl DoubleEndedIterator<Item = u64>) -> String {
    match (cids.next(), cids.next_back()) {
        (None, _) => "it sent none".to_owned(),
        (Some(only), None) => format!("it sent {only}"),
        (Some(first), Some(last)) => format!("it sent {first} to {last}"),
    }
}

/// One line an order, newest last.
fn table(orders: &[&OrderWaterfall]) -> String {
    let names = ["approved", "encoded", "written", "acked", "first fill"];
    let mut out = format!("{:<16} {:<10} {:<5}", "cid", "symbol", "side");
    for name in names {
        let _ = write!(out, " {name:>11}");
    }
    out.push_str("  state\n");
    for order in orders {
        let _ = write!(out, "{:<16} {:<10} {:<5}", order.cid, order.symbol, order.side);
        for at in [order.approved, order.encoded, order.written, order.acked, order.first_fill] {
            let _ = write!(out, " {:>11}", span_ns(at.map(|ns| ns as f64)));
        }
        let _ = writeln!(out, "  {}", order.state);
    }
    let _ =
        writeln!(out, "{} orders; times since the first byte of the causing frame", orders.len());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_line_an_order_and_the_miss_names_what_there_is() {
        let order = OrderWaterfall { cid: 5, written: Some(1_500), ..OrderWaterfall::default() };
        let text = table(&[&order]);
        assert_eq!(text.lines().count(), 3);
        assert!(text.contains("1.50 µs"));
        assert_eq!(known([].into_iter()), "it sent none");
        assert_eq!(known([3, 4, 9].into_iter()), "it sent 3 to 9");
    }
}
