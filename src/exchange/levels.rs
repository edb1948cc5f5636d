//! Price levels of a book as the public sees them: the recorded book, the window a channel shows,
//! and the difference between two windows as book rows.

use super::number::{digit_step, push_number, push_u64};
use crate::base::units::Side;

/// One line of a book channel. Quantities are unsigned; the list a row stands in tells the side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Price, 1e-8.
    pub px: i64,
    /// Order id in raw books, else 0.
    pub id: u64,
    /// Orders at the level; 1 in raw books.
    pub count: u32,
    /// Quantity, 1e-8, positive.
    pub qty: i64,
}

/// Index of a side in `[bids, asks]`.
pub const fn side_index(side: Side) -> usize {
    match side {
        Side::Buy => 0,
        Side::Sell => 1,
    }
}

/// Both sides in the order the venue lists them.
pub const SIDES: [Side; 2] = [Side::Buy, Side::Sell];

/// True where `a` is nearer to the touch than `b` on this side.
pub const fn is_better(side: Side, a: i64, b: i64) -> bool {
    match side {
        Side::Buy => a > b,
        Side::Sell => a < b,
    }
}

/// True where a taker on `side` with limit `limit` accepts the price `px` of the other side.
pub const fn accepts(side: Side, limit: Option<i64>, px: i64) -> bool {
    match limit {
        None => true,
        Some(limit) => !is_better(side, px, limit),
    }
}

/// Aggregated levels, worst first, so that changes at the touch move nothing.
#[derive(Clone, Debug, Default)]
pub struct LevelBook {
    sides: [Vec<Row>; 2],
}

impl LevelBook {
    pub fn clear(&mut self) {
        self.sides[0].clear();
        self.sides[1].clear();
    }
    /// Sets or, with a count of 0, deletes a level; returns the quantity it had before.
    pub fn set(&mut self, side: Side, px: i64, count: u32, qty: i64) -> i64 {
        let rows = &mut self.sides[side_index(side)];
        // Most changes are near the touch, which is the end of the list: look there first.
        let mut at = rows.len();
        let mut steps = 0;
        while at > 0 && is_better(side, rows[at - 1].px, px) {
            at -= 1;
            steps += 1;
            if steps == 12 {
                at = rows[..at].partition_point(|row| !is_better(side, row.px, px));
                break;
            }
        }
        // `at` counts the rows that are not better than `px`; an equal one is the last of them.
        let found = at > 0 && rows[at - 1].px == px;
        let before = if found { rows[at - 1].qty } else { 0 };
        match (found, count) {
            (true, 0) => drop(rows.remove(at - 1)),
            (true, _) => rows[at - 1] = Row { px, id: 0, count, qty },
            (false, 0) => {}
            (false, _) => rows.insert(at, Row { px, id: 0, count, qty }),
        }
        before
    }
    /// Rows of a side, best first.
    pub fn best_first(&self, side: Side) -> impl Iterator<Item = Row> + '_ {
        self.sides[side_index(side)].iter().rev().copied()
    }
    pub fn best(&self, side: Side) -> Option<Row> {
        self.sides[side_index(side)].last().copied()
    }
    pub fn qty_at(&self, side: Side, px: i64) -> i64 {
        let rows = &self.sides[side_index(side)];
        let at = rows.partition_point(|row| is_better(side, px, row.px));
        rows.get(at).filter(|row| row.px == px).map_or(0, |row| row.qty)
    }
    pub fn len(&self, side: Side) -> usize {
        self.sides[side_index(side)].len()
    }
    /// True where the best bid is not below the best ask.
    pub fn is_crossed(&self) -> bool {
        match (self.best(Side::Buy), self.best(Side::Sell)) {
            (Some(bid), Some(ask)) => bid.px >= ask.px,
            _ => false,
        }
    }
}

/// What `fold_levels` makes of levels.
#[derive(Clone, Copy, Debug)]
pub struct FoldInput {
    pub side: Side,
    /// Significant digits of a price step: 5 (P0) … 1 (P4).
    pub digits: u32,
    /// Rows kept.
    pub len: usize,
}

/// Folds levels (best first) into price steps of `digits` significant digits — bids down, asks up,
/// so that coarse books never cross — and keeps the best `len` of them.
pub fn fold_levels(levels: impl Iterator<Item = Row>, input: FoldInput, out: &mut Vec<Row>) {
    let FoldInput { side, digits, len } = input;
    out.clear();
    for level in levels {
        if level.count == 0 {
            continue; // hidden orders only
        }
        let step = digit_step(level.px, digits);
        let rest = level.px % step;
        let px = match side {
            _ if rest == 0 => level.px,
            Side::Buy => level.px - rest,
            Side::Sell => level.px - rest + step,
        };
        match out.last_mut() {
            Some(last) if last.px == px => {
                last.count += level.count;
                last.qty += level.qty;
            }
            _ => {
                if out.len() == len {
                    return;
                }
                out.push(Row { px, id: 0, count: level.count, qty: level.qty });
            }
        }
    }
}

/// What one book channel shows at the moment, best first.
#[derive(Clone, Debug, Default)]
pub struct Window {
    pub sides: [Vec<Row>; 2],
}

/// Text of book rows, one after another, with the place where each ends.
#[derive(Clone, Debug, Default)]
pub struct RowTexts {
    pub bytes: Vec<u8>,
    pub ends: Vec<usize>,
}

impl RowTexts {
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let text = &self.bytes[start..*end];
            start = *end;
            text
        })
    }
    pub fn push(&mut self, side: Side, row: &Row, raw: bool) {
        push_row(&mut self.bytes, side, row, raw);
        self.ends.push(self.bytes.len());
    }
}

/// Writes one row; a count of 0 is a deletion.
pub fn push_row(out: &mut Vec<u8>, side: Side, row: &Row, raw: bool) {
    out.push(b'[');
    let qty = if row.count == 0 { 100_000_000 } else { row.qty };
    if raw {
        push_u64(out, row.id);
        out.push(b',');
        push_number(out, if row.count == 0 { 0 } else { row.px });
    } else {
        push_number(out, row.px);
        out.push(b',');
        push_u64(out, row.count as u64);
    }
    out.push(b',');
    push_number(out, side.sign() * qty);
    out.push(b']');
}

/// Writes a whole window as a snapshot, bids best first, then asks best first.
pub fn push_snapshot(out: &mut Vec<u8>, window: &Window, raw: bool) {
    out.push(b'[');
    let mut first = true;
    for side in SIDES {
        for row in &window.sides[side_index(side)] {
            if !first {
                out.push(b',');
            }
            first = false;
            push_row(out, side, row, raw);
        }
    }
    out.push(b']');
}

/// Rows that turn `old` into `new`: all deletions first, then changes and insertions. Between any
/// two rows the book is never crossed (it is a part of `old`, then a part of `new`) and never
/// longer than `len`.
pub fn diff_windows(old: &Window, new: &Window, raw: bool, out: &mut RowTexts) {
    let before =
        |side: Side, a: &Row, b: &Row| is_better(side, a.px, b.px) || (a.px == b.px && a.id < b.id);
    for side in SIDES {
        let (old, new) = (&old.sides[side_index(side)], &new.sides[side_index(side)]);
        let mut at = 0;
        for row in old {
            while at < new.len() && before(side, &new[at], row) {
                at += 1;
            }
            let kept = at < new.len() && new[at].px == row.px && new[at].id == row.id;
            if !kept {
                out.push(side, &Row { count: 0, ..*row }, raw);
            }
        }
    }
    for side in SIDES {
        let (old, new) = (&old.sides[side_index(side)], &new.sides[side_index(side)]);
        let mut at = 0;
        for row in new {
            while at < old.len() && before(side, &old[at], row) {
                at += 1;
            }
            if at >= old.len() || old[at] != *row {
                out.push(side, row, raw);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;
    use std::collections::BTreeMap;

    const ONE: i64 = 100_000_000;

    #[test]
    fn a_level_book_equals_a_map_after_any_changes() {
        let mut rng = Rng::new(11);
        let mut book = LevelBook::default();
        let mut twin: [BTreeMap<i64, i64>; 2] = Default::default();
        for _ in 0..30_000 {
            let side = if rng.chance(1, 2) { Side::Buy } else { Side::Sell };
            let px = rng.between(1, 60);
            let qty = rng.between(1, 9);
            let count = u32::from(rng.chance(2, 3));
            let map = &mut twin[side_index(side)];
            let had = map.get(&px).copied().unwrap_or(0);
            if count == 0 {
                map.remove(&px)
            } else {
                map.insert(px, qty)
            };
            assert_eq!(book.set(side, px, count, qty), had);
            assert_eq!(book.qty_at(side, px), map.get(&px).copied().unwrap_or(0));
        }
        let bids: Vec<i64> = book.best_first(Side::Buy).map(|row| row.px).collect();
        assert_eq!(bids, twin[0].keys().rev().copied().collect::<Vec<_>>());
        let asks: Vec<i64> = book.best_first(Side::Sell).map(|row| row.px).collect();
        assert_eq!(asks, twin[1].keys().copied().collect::<Vec<_>>());
    }

    fn random_window(rng: &mut Rng, len: usize) -> Window {
        let mut window = Window::default();
        for side in SIDES {
            let mut px = 1_000 - 3 * side_index(side) as i64 + rng.between(0, 6);
            for _ in 0..rng.below(len as u64 + 1) {
                px -= side.sign() * rng.between(1, 3);
                window.sides[side_index(side)].push(Row {
                    px: if side == Side::Buy { px } else { px + 60 },
                    id: 0,
                    count: 1,
                    qty: rng.between(1, 3) * ONE,
                });
            }
        }
        window
    }

    #[test]
    fn rows_of_a_difference_turn_one_window_into_the_other_without_ever_crossing() {
        let mut rng = Rng::new(5);
        for _ in 0..2_000 {
            let (old, new) = (random_window(&mut rng, 8), random_window(&mut rng, 8));
            let mut rows = RowTexts::default();
            diff_windows(&old, &new, false, &mut rows);
            let mut book = LevelBook::default();
            for side in SIDES {
                for row in &old.sides[side_index(side)] {
                    book.set(side, row.px, row.count, row.qty);
                }
            }
            for text in rows.iter() {
                let text = std::str::from_utf8(text).unwrap();
                let parts: Vec<&str> = text.trim_matches(['[', ']']).split(',').collect();
                let read =
                    |at: usize| super::super::number::read_number(parts[at].as_bytes()).unwrap().0;
                let (px, count, qty) = (read(0), read(1) / ONE, read(2));
                let side = if qty > 0 { Side::Buy } else { Side::Sell };
                let had = book.set(side, px, count as u32, qty.abs());
                assert!(count > 0 || had > 0, "deletes what is there only");
                assert!(!book.is_crossed());
                assert!(book.len(side) <= 8);
            }
            for side in SIDES {
                let left: Vec<Row> = book.best_first(side).collect();
                assert_eq!(left, new.sides[side_index(side)]);
            }
        }
    }

    #[test]
    fn coarse_books_round_bids_down_and_asks_up() {
        let row = |px: i64, qty: i64| Row { px: px * ONE, id: 0, count: 1, qty: qty * ONE };
        let mut out = Vec::new();
        let bids = [row(6443, 1), row(6441, 2), row(6439, 4)];
        fold_levels(bids.into_iter(), FoldInput { side: Side::Buy, digits: 3, len: 25 }, &mut out);
        assert_eq!(out[0], Row { count: 2, ..row(6440, 3) });
        assert_eq!(out[1], row(6430, 4));
        let asks = [row(6443, 1), row(6450, 2), row(6451, 4)];
        fold_levels(asks.into_iter(), FoldInput { side: Side::Sell, digits: 3, len: 1 }, &mut out);
        assert_eq!(out, [Row { count: 2, ..row(6450, 3) }]);
    }
}
