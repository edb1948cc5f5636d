//! Gaps between data frames while the run goes on: boards that come from the front are added to the
//! total and to the last minutes, emptied, and sent back.

use crate::base::time::{MonoNs, SpanNs};
use crate::ops::metrics::Percentiles;
use crate::ops::status::Spread;
use crate::runtime::observe::{GapBoard, GapTap};
use hdrhistogram::Histogram;

/// The window is the minute that is being filled and the one before.
const WINDOW: SpanNs = SpanNs::from_s(60);
/// Symbols whose own gaps are shown.
const SYMBOLS_SHOWN_MAX: usize = 64;

#[derive(Default)]
pub(super) struct Gaps {
    boards: Option<Boards>,
}

struct Boards {
    total: GapBoard,
    now: GapBoard,
    before: GapBoard,
    turned_at: MonoNs,
}

impl Gaps {
    pub(super) fn drain(&mut self, tap: &mut GapTap, at: MonoNs) {
        while let Some(mut board) = tap.full.pop() {
            let boards = self.boards.get_or_insert_with(|| {
                let mut empty = board.clone();
                empty.clear();
                Boards { total: empty.clone(), now: empty.clone(), before: empty, turned_at: at }
            });
            if at - boards.turned_at >= WINDOW {
                std::mem::swap(&mut boards.now, &mut boards.before);
                boards.now.clear();
                boards.turned_at = at;
            }
            boards.total.add(&board);
            boards.now.add(&board);
            board.clear();
            // Two boards and two places: there is always room.
            let _ = tap.empty.push(board);
        }
    }

    /// Everything so far, with what the front still holds.
    pub(super) fn total(&self, rest: &GapBoard) -> GapBoard {
        let mut all = rest.clone();
        if let Some(boards) = &self.boards {
            all.add(&boards.total);
        }
        all
    }

    /// Of all channels, and by symbol where there are not too many.
    pub(super) fn spreads(&self, symbols: usize) -> (Spread, Vec<Spread>) {
        let mut by_symbol = vec![Spread::default(); symbols];
        let Some(boards) = &self.boards else { return (Spread::default(), by_symbol) };
        let sum = |boards: &[&GapBoard], wanted: Option<usize>| {
            let mut sum: Option<Histogram<u64>> = None;
            let rows = boards.iter().flat_map(|board| board.rows());
            for (symbol, _, row) in rows {
                if wanted.is_some_and(|wanted| wanted != symbol.index()) || row.is_empty() {
                    continue;
                }
                match &mut sum {
                    None => sum = Some(row.clone()),
                    // Same bounds, so it cannot fail.
                    Some(sum) => sum.add(row).unwrap_or_default(),
                }
            }
            sum.as_ref().map(Percentiles::ms_of_us).unwrap_or_default()
        };
        let spread = |wanted| Spread {
            total: sum(&[&boards.total], wanted),
            window: sum(&[&boards.now, &boards.before], wanted),
        };
        if symbols <= SYMBOLS_SHOWN_MAX {
            by_symbol = (0..symbols).map(|symbol| spread(Some(symbol))).collect();
        }
        (spread(None), by_symbol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::SymbolId;
    use crate::model::ChannelKind;
    use crate::runtime::observe::GapSwap;

    #[test]
    fn boards_travel_and_nothing_is_counted_twice_or_lost() {
        let channels = [(SymbolId(0), ChannelKind::Book), (SymbolId(1), ChannelKind::Trades)];
        let board = || GapBoard::new(2, channels.into_iter());
        let mut in_use = board();
        let (mut swap, mut tap) = GapSwap::new(board());
        let mut gaps = Gaps::default();
        let at = |s: i64| MonoNs(0) + SpanNs::from_s(s);
        for second in 0..100 {
            in_use.record(SymbolId(0), ChannelKind::Book, 2_000_000);
            if second % 10 == 0 {
                in_use.record(SymbolId(1), ChannelKind::Trades, 500_000_000);
            }
            swap.turn(&mut in_use);
            // The cold side comes by at times only.
            if second % 3 == 0 {
                gaps.drain(&mut tap, at(second));
            }
        }
        let all = gaps.total(&in_use);
        let counts: Vec<u64> = all.rows().map(|(.., row)| row.len()).collect();
        let waiting: u64 = tap.full.pop().map_or(0, |board| board.rows().map(|r| r.2.len()).sum());
        assert_eq!(counts.iter().sum::<u64>() + waiting, 110);
        let (whole, by_symbol) = gaps.spreads(2);
        assert!((whole.total.p50.unwrap() - 2.0).abs() < 0.1, "{whole:?}");
        assert!((by_symbol[1].total.max.unwrap() - 500.0).abs() < 5.0);
        assert!(by_symbol[0].window.count <= by_symbol[0].total.count);
        assert_eq!(gaps.spreads(65).1.len(), 65);
    }
}
