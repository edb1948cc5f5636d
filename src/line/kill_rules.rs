//! What a kill decides, apart from whom it asks: when a line is passed by, what a close looks like,
//! what was paid for it, and how it ended. Plain functions, so that each can be tested at its edge.

use crate::base::units::{Px, Qty, Side};
use crate::model::{Fill, Instrument, Rank, Ticker};
use std::ops::Range;

/// How much a close gives way with each round, and at most, basis points.
const STEP_BPS: i64 = 20;
const GIVE_BPS_MAX: i64 = 1_000;
/// An engine that does not follow the switch for so long counts as hanging, ns.
const HANGS_AFTER_NS: i64 = 2_000_000_000;
/// A line that has not ended a kill after so long is helped, ns: the venue may hear another voice.
const HELPED_AFTER_NS: i64 = 15_000_000_000;

/// Whether the switch is taken to the venue directly. `rank`: what the line last told of itself, if
/// anything; `since_ns`: since the pull, or since the last time that it was helped.
pub(super) fn is_help_due(rank: Option<Rank>, since_ns: i64, was_helped: bool) -> bool {
    // A line that has told nothing yet hears nothing either.
    let is_deaf = rank.is_none_or(|rank| rank < Rank::ReduceOnly);
    let hangs = !was_helped && is_deaf && since_ns > HANGS_AFTER_NS;
    hangs || since_ns > HELPED_AFTER_NS
}

/// Whether an order can close a position of this size.
pub(super) fn is_closable(qty: Qty, instrument: &Instrument) -> bool {
    qty.abs() >= instrument.qty_min
}

/// Middle of the best prices.
pub(super) fn middle(ticker: &Ticker) -> Px {
    Px::from_raw(i64::midpoint(ticker.bid.raw(), ticker.ask.raw()))
}

/// Signed size and limit price that close a position, or as much of it as one order may; further
/// beyond the best price with each round.
pub(super) fn close_of(
    position: Qty,
    ticker: &Ticker,
    instrument: &Instrument,
    round: u32,
) -> (Qty, Px) {
    let give = (STEP_BPS * (i64::from(round) + 1)).min(GIVE_BPS_MAX);
    let qty = position.abs().min(instrument.qty_max);
    match Side::of(position).opposite() {
        Side::Buy => (qty, ticker.ask.offset_bps(give).ceil_to_tick()),
        Side::Sell => (-qty, ticker.bid.offset_bps(-give).floor_to_tick()),
    }
}

/// Paid against the middles, 1e-8 of quote, by own trades of these client ids; negative = gained.
pub(super) fn paid(fills: &[Fill], cids: &Range<u64>, middles: &[Option<Px>]) -> i64 {
    let of_fill = |fill: &Fill| {
        let mid = middles.get(fill.symbol.index()).copied().flatten()?;
        let worse = i128::from(fill.px.raw()) - i128::from(mid.raw());
        Some(worse * i128::from(fill.qty.raw()))
    };
    let own = fills.iter().filter(|fill| cids.contains(&fill.cid.0));
    let sum: i128 = own.filter_map(of_fill).sum();
    i64::try_from(sum / 100_000_000).unwrap_or(if sum > 0 { i64::MAX } else { i64::MIN })
}

/// How a kill ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Flat,
    OrdersLeft,
    PositionsLeft,
}
/// By the kinds of what is left; orders are the worse news, since they may still trade.
pub fn ended<'a>(is_flat: bool, mut kinds: impl Iterator<Item = &'a str>) -> Ended {
    match is_flat {
        true => Ended::Flat,
        false if kinds.any(|kind| kind == "order") => Ended::OrdersLeft,
        false => Ended::PositionsLeft,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::bounded::Text;
    use crate::base::ids::{Cid, OrderId, SymbolId, TradeId};
    use crate::base::time::WallNs;

    fn instrument() -> Instrument {
        Instrument {
            id: SymbolId(0),
            name: Text::new("tBTCUSD").unwrap(),
            base: Text::new("BTC").unwrap(),
            quote: Text::new("USD").unwrap(),
            qty_min: Qty::from_raw(1_000_000),
            qty_max: Qty::from_whole(10),
        }
    }
    fn ticker(bid: i64, ask: i64) -> Ticker {
        let (bid, ask) = (Px::from_whole(bid), Px::from_whole(ask));
        Ticker {
            symbol: SymbolId(0),
            bid,
            bid_qty: Qty::ZERO,
            ask,
            ask_qty: Qty::ZERO,
            last: bid,
            volume_day: Qty::ZERO,
            high_day: ask,
            low_day: bid,
        }
    }
    fn fill(symbol: u16, cid: u64, qty: Qty, px: i64) -> Fill {
        Fill {
            trade: TradeId(cid),
            symbol: SymbolId(symbol),
            order: OrderId(1),
            cid: Cid(cid),
            at: WallNs(0),
            qty,
            px: Px::from_whole(px),
            maker: None,
            fee: None,
            fee_currency: Text::EMPTY,
        }
    }

    #[test]
    fn a_deaf_line_is_passed_by_soon_and_any_line_that_does_not_end_it_later() {
        let deaf = [None, Some(Rank::Running), Some(Rank::EntriesBlocked)];
        let hearing = [Some(Rank::ReduceOnly), Some(Rank::CancelOnly), Some(Rank::Halted)];
        for rank in deaf {
            assert!(!is_help_due(rank, HANGS_AFTER_NS, false), "{rank:?}");
            assert!(is_help_due(rank, HANGS_AFTER_NS + 1, false), "{rank:?}");
            // Once helped, it is helped again only after the longer while.
            assert!(!is_help_due(rank, HELPED_AFTER_NS, true), "{rank:?}");
            assert!(is_help_due(rank, HELPED_AFTER_NS + 1, true), "{rank:?}");
        }
        for rank in hearing {
            for was_helped in [false, true] {
                assert!(!is_help_due(rank, HELPED_AFTER_NS, was_helped), "{rank:?}");
                assert!(is_help_due(rank, HELPED_AFTER_NS + 1, was_helped), "{rank:?}");
            }
        }
    }

    #[test]
    fn a_close_takes_the_whole_position_at_a_price_that_gives_way() {
        let (row, ticker) = (instrument(), ticker(10_000, 10_010));
        assert_eq!(middle(&ticker), Px::from_whole(10_005));
        let two = Qty::from_whole(2);
        assert_eq!(close_of(two, &ticker, &row, 0), (-two, Px::from_whole(9_980)));
        assert_eq!(close_of(two, &ticker, &row, 1), (-two, Px::from_whole(9_960)));
        assert_eq!(close_of(-two, &ticker, &row, 0).0, two);
        // 10,030.02, on the far side of which the next price lies.
        assert_eq!(close_of(-two, &ticker, &row, 0).1, Px::from_whole(10_031));
        // Ten per cent at most, however long it takes.
        assert_eq!(close_of(two, &ticker, &row, 48).1, Px::from_whole(9_020));
        for round in [49, 50, u32::MAX] {
            assert_eq!(close_of(two, &ticker, &row, round).1, Px::from_whole(9_000));
        }
        // More than one order may carry: as much as it may.
        assert_eq!(close_of(Qty::from_whole(11), &ticker, &row, 0).0, Qty::from_whole(-10));
        assert_eq!(close_of(Qty::from_whole(-11), &ticker, &row, 0).0, Qty::from_whole(10));
    }

    #[test]
    fn what_an_order_can_close_begins_at_the_smallest_size() {
        let row = instrument();
        for (raw, closable) in [(999_999, false), (1_000_000, true), (1_000_001, true), (0, false)]
        {
            assert_eq!(is_closable(Qty::from_raw(raw), &row), closable, "{raw}");
            assert_eq!(is_closable(Qty::from_raw(-raw), &row), closable, "-{raw}");
        }
    }

    #[test]
    fn paid_is_the_difference_to_the_middle_of_own_closes_alone() {
        let middles = [Some(Px::from_whole(100)), None];
        let one = Qty::from_whole(1);
        let cids = 10..13;
        let sum = |fills: &[Fill]| paid(fills, &cids, &middles);
        // Sold two below the middle, bought three above it.
        assert_eq!(sum(&[fill(0, 10, -one, 98)]), 200_000_000);
        assert_eq!(sum(&[fill(0, 12, one, 103)]), 300_000_000);
        assert_eq!(sum(&[fill(0, 10, -one, 98), fill(0, 12, one, 103)]), 500_000_000);
        assert_eq!(sum(&[fill(0, 11, -one, 101)]), -100_000_000, "gained");
        // Others' ids, no middle, not of the table.
        assert_eq!(sum(&[fill(0, 9, one, 103), fill(0, 13, one, 103)]), 0);
        assert_eq!(sum(&[fill(1, 10, one, 103), fill(2, 10, one, 103)]), 0);
        let huge = Qty::MAX;
        assert_eq!(sum(&[fill(0, 10, huge, 90_000_000_000)]), i64::MAX);
        assert_eq!(sum(&[fill(0, 10, -huge, 90_000_000_000)]), i64::MIN);
    }

    #[test]
    fn how_it_ended_is_told_by_the_worst_that_is_left() {
        let of = |is_flat, kinds: &[&str]| ended(is_flat, kinds.iter().copied());
        assert_eq!(of(true, &[]), Ended::Flat);
        assert_eq!(of(false, &["position", "order"]), Ended::OrdersLeft);
        assert_eq!(of(false, &["position", "balance"]), Ended::PositionsLeft);
        assert_eq!(of(false, &[]), Ended::PositionsLeft, "nobody could be asked");
    }
}
