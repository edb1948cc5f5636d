//! Positions from own fills, and the venue's opinion beside them.
//!
//! Cash and quantity are plain sums, so any order of fills gives the same result; only the open
//! part's cost needs the average-price rule. Realised P&L is `cash + cost`: what came in, plus what
//! the open part has cost. All sums are 128 bits wide at 1e-16, so no product is rounded.

use crate::base::ids::SymbolId;
use crate::base::time::{MonoNs, SpanNs};
use crate::base::units::{Px, Qty, Quote, UNIT_SCALE};
use crate::model::{
    Currency, Fill, Instrument, PositionUpdate, SnapshotMark, SnapshotOf, Source, WalletKind,
};

/// The position of one symbol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Signed, net of fees that were taken in the base currency.
    pub qty: Qty,
    /// Cost of the open part, signed as `qty`, 1e-16 quote.
    cost: i128,
    /// Σ −qty × px, 1e-16 quote.
    cash: i128,
    /// Fees taken in quote currency, negative = paid.
    pub fees_quote: Quote,
    /// All fees in quote currency, those in base converted at their trade's price; negative = paid.
    pub fees: Quote,
    /// Fees in a third currency, which are not converted: how many trades.
    pub fees_unconverted: u32,
    /// What the venue says, where it says it.
    pub venue_qty: Option<Qty>,
    /// Since when the two differ.
    differs_since: Option<MonoNs>,
    /// Seen in the venue's snapshot that is running now.
    in_snapshot: bool,
    /// Quantity adopted from the venue at start, before any fill of this run.
    pub start_qty: Qty,
}

impl Position {
    /// Average price of the open part, rounded towards zero; zero when flat.
    pub fn px_avg(&self) -> Px {
        match self.qty.raw() {
            0 => Px::ZERO,
            qty => Px::from_raw(to_i64(self.cost / i128::from(qty)).abs()),
        }
    }
    /// Realised P&L in quote currency after fees.
    pub fn realised(&self) -> Quote {
        quote(self.cash.saturating_add(self.cost)).saturating_add(self.fees_quote)
    }
    /// P&L of the open part at `mark`.
    pub fn unrealised(&self, mark: Px) -> Quote {
        quote((i128::from(self.qty.raw()) * i128::from(mark.raw())).saturating_sub(self.cost))
    }
    /// Cost of the open part, 1e-16 quote, signed as `qty`.
    #[inline]
    pub fn cost_e16(&self) -> i128 {
        self.cost
    }
    /// Realised P&L after fees, 1e-16 quote. Fees taken in base count at their trade's price, but
    /// in a spot wallet, where they have made the position smaller.
    #[inline]
    pub fn realised_e16(&self, wallet: WalletKind) -> i128 {
        let fees = if wallet == WalletKind::Exchange { self.fees_quote } else { self.fees };
        let fees = i128::from(fees.raw()) * i128::from(UNIT_SCALE);
        self.cash.saturating_add(self.cost).saturating_add(fees)
    }
    fn add(&mut self, qty: Qty, px: Px) {
        let (old, add) = (i128::from(self.qty.raw()), i128::from(qty.raw()));
        let value = add * i128::from(px.raw());
        self.cash = self.cash.saturating_sub(value);
        self.qty = self.qty.saturating_add(qty);
        if old == 0 || (old > 0) == (add > 0) {
            self.cost = self.cost.saturating_add(value);
        } else if add.abs() < old.abs() {
            // Closes a part: that part's share of the cost leaves. Split so that no product
            // overflows.
            let part = (self.cost / old) * add + (self.cost % old) * add / old;
            self.cost = self.cost.saturating_add(part);
        } else {
            self.cost = (old + add) * i128::from(px.raw());
        }
    }
}

fn to_i64(wide: i128) -> i64 {
    wide.clamp(i128::from(-i64::MAX), i128::from(i64::MAX)) as i64
}
/// 1e-16 to 1e-8, towards zero, saturating.
fn quote(wide: i128) -> Quote {
    Quote::from_raw(to_i64(wide / i128::from(UNIT_SCALE)))
}

/// All positions of the run.
pub struct Positions {
    wallet: WalletKind,
    rows: Box<[Position]>,
    currencies: Box<[(Currency, Currency)]>,
    /// The first position snapshot has been taken over as the start.
    based: bool,
    in_snapshot: bool,
    /// Rows in which the venue says something else.
    differing: usize,
}

impl Positions {
    pub fn new(wallet: WalletKind, instruments: &[Instrument]) -> Self {
        Self {
            wallet,
            rows: vec![Position::default(); instruments.len()].into_boxed_slice(),
            currencies: instruments.iter().map(|i| (i.base, i.quote)).collect(),
            based: false,
            in_snapshot: false,
            differing: 0,
        }
    }
    /// Flat for a symbol out of the table.
    #[inline]
    pub fn get(&self, symbol: SymbolId) -> Position {
        self.rows.get(symbol.index()).copied().unwrap_or_default()
    }
    /// Signed quantity; zero for a symbol out of the table.
    #[inline]
    pub fn qty(&self, symbol: SymbolId) -> Qty {
        self.rows.get(symbol.index()).map_or(Qty::ZERO, |row| row.qty)
    }
    pub fn rows(&self) -> &[Position] {
        &self.rows
    }
    /// Whether the first snapshot of the venue has been taken over.
    pub fn is_based(&self) -> bool {
        self.based
    }
    /// Books a trade that was not counted before; its fee too, where the message has it.
    pub(super) fn on_fill(&mut self, fill: &Fill, now: MonoNs) {
        let Some(row) = self.rows.get_mut(fill.symbol.index()) else { return };
        row.add(fill.qty, fill.px);
        self.on_fee(fill, now);
    }
    /// Books the fee of a trade counted before.
    pub(super) fn on_fee(&mut self, fill: &Fill, now: MonoNs) {
        let index = fill.symbol.index();
        let Some(row) = self.rows.get_mut(index) else { return };
        if let Some(fee) = fill.fee.filter(|fee| *fee != 0) {
            let (base, quote_currency) = self.currencies[index];
            if fill.fee_currency == quote_currency {
                row.fees_quote = row.fees_quote.saturating_add(Quote::from_raw(fee));
                row.fees = row.fees.saturating_add(Quote::from_raw(fee));
            } else if fill.fee_currency == base {
                // Spot: what was received is less by the fee; the money spent is the same.
                if self.wallet == WalletKind::Exchange {
                    row.qty = row.qty.saturating_add(Qty::from_raw(fee));
                }
                row.fees = row.fees.saturating_add(fill.px.value(Qty::from_raw(fee)));
            } else {
                row.fees_unconverted += 1;
            }
        }
        self.compare(index, now);
    }
    /// The venue's view of a position.
    pub fn on_update(&mut self, update: &PositionUpdate, now: MonoNs) {
        if self.wallet == WalletKind::Exchange {
            return; // A margin position of the account; not what spot orders trade.
        }
        let index = update.symbol.index();
        let Some(row) = self.rows.get_mut(index) else { return };
        let qty = if update.source == Source::Closed { Qty::ZERO } else { update.qty };
        row.venue_qty = Some(qty);
        row.in_snapshot = true;
        if !self.based && self.in_snapshot && update.source == Source::Snapshot {
            // Fills of this run cannot have happened yet: no order leaves before the reconcile.
            row.qty = qty;
            row.start_qty = qty;
            row.cost = i128::from(qty.raw()) * i128::from(update.base_px.raw());
            row.cash = -row.cost;
        }
        self.compare(index, now);
    }
    /// Begin and end of the venue's list: what is not in it is flat there. The start is the list of
    /// the socket: a reading by REST before it, or without it, only compares.
    pub fn on_snapshot(&mut self, mark: &SnapshotMark, now: MonoNs) {
        if !matches!(mark.of, SnapshotOf::Positions | SnapshotOf::RestPositions) {
            return;
        }
        if !mark.end {
            self.in_snapshot = true;
            for row in &mut self.rows {
                row.in_snapshot = false;
            }
            return;
        }
        for index in 0..self.rows.len() {
            let missing = self.in_snapshot && !self.rows[index].in_snapshot;
            if missing && self.wallet != WalletKind::Exchange {
                self.rows[index].venue_qty = Some(Qty::ZERO);
                self.compare(index, now);
            }
        }
        self.in_snapshot = false;
        self.based |= mark.of == SnapshotOf::Positions;
    }
    fn compare(&mut self, index: usize, now: MonoNs) {
        let row = &mut self.rows[index];
        let before = row.differs_since.is_some();
        row.differs_since = match row.venue_qty {
            Some(qty) if qty != row.qty => row.differs_since.or(Some(now)),
            _ => None,
        };
        let after = row.differs_since.is_some();
        self.differing = self.differing + usize::from(after) - usize::from(before);
    }
    /// True when the venue's position of any symbol has differed for longer than `grace`.
    #[inline]
    pub fn any_differs(&self, now: MonoNs, grace: SpanNs) -> bool {
        self.differing > 0
            && self.rows.iter().any(|row| row.differs_since.is_some_and(|at| now - at > grace))
    }
    /// False when the venue's position has differed for longer than `grace`: fills and position
    /// messages of one trade come apart by milliseconds, so a short difference means nothing.
    #[inline]
    pub fn matches_venue(&self, symbol: SymbolId, now: MonoNs, grace: SpanNs) -> bool {
        match self.rows.get(symbol.index()).and_then(|row| row.differs_since) {
            Some(since) => now - since <= grace,
            None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::{Cid, OrderId, TradeId};
    use crate::base::time::WallNs;
    use crate::model::SymbolName;

    fn instrument() -> Instrument {
        let (base, quote) = Instrument::split_name("tBTCUSD").unwrap();
        Instrument {
            id: SymbolId(0),
            name: SymbolName::new("tBTCUSD").unwrap(),
            base,
            quote,
            qty_min: Qty::from_raw(1),
            qty_max: Qty::MAX,
        }
    }
    fn fill(qty: &str, px: &str, fee: Option<(&str, &str)>) -> Fill {
        Fill {
            trade: TradeId(1),
            symbol: SymbolId(0),
            order: OrderId(1),
            cid: Cid(1),
            at: WallNs(0),
            qty: Qty::parse(qty).unwrap(),
            px: Px::parse(px).unwrap(),
            maker: None,
            fee: fee.map(|(amount, _)| Quote::parse(amount).unwrap().raw()),
            fee_currency: fee.map_or(Currency::EMPTY, |(_, c)| Currency::new(c).unwrap()),
        }
    }
    fn check(wallet: WalletKind, fills: &[Fill], qty: &str, avg: &str, realised: &str) {
        let mut positions = Positions::new(wallet, &[instrument()]);
        for fill in fills {
            positions.on_fill(fill, MonoNs(0));
        }
        let row = positions.get(SymbolId(0));
        assert_eq!(row.qty, Qty::parse(qty).unwrap(), "quantity");
        assert_eq!(row.px_avg(), Px::parse(avg).unwrap(), "average price");
        assert_eq!(row.realised(), Quote::parse(realised).unwrap(), "realised");
    }

    #[test]
    fn closing_realises_against_the_average_price() {
        let m = WalletKind::Margin;
        check(m, &[fill("1", "100", None), fill("1", "110", None)], "2", "105", "0");
        let both = [fill("1", "100", None), fill("1", "110", None), fill("-1", "120", None)];
        check(m, &both, "1", "105", "15");
        let flip = [fill("1", "100", None), fill("-3", "90", None)];
        check(m, &flip, "-2", "90", "-10");
        let short = [fill("-2", "90", None), fill("2", "80", None)];
        check(m, &short, "0", "0", "20");
    }

    #[test]
    fn a_fee_in_base_makes_the_spot_position_smaller_and_one_in_quote_the_profit() {
        let fills = [fill("1", "100", Some(("-0.002", "BTC")))];
        check(WalletKind::Exchange, &fills, "0.998", "100.2004008", "0");
        let fills =
            [fill("1", "100", Some(("-0.2", "USD"))), fill("-1", "110", Some(("-0.22", "USD")))];
        check(WalletKind::Margin, &fills, "0", "0", "9.58");
    }

    #[test]
    fn a_reading_by_rest_before_the_first_list_of_the_socket_is_no_start() {
        let mut p = Positions::new(WalletKind::Margin, &[instrument()]);
        let mut list = |of, source, at| {
            let qty = Qty::from_whole(2);
            let (symbol, base_px) = (SymbolId(0), Px::from_whole(100));
            p.on_snapshot(&SnapshotMark { of, end: false, count: 1 }, MonoNs(at));
            p.on_update(&PositionUpdate { source, symbol, qty, base_px, pnl: None }, MonoNs(at));
            p.on_snapshot(&SnapshotMark { of, end: true, count: 1 }, MonoNs(at));
            (p.is_based(), p.qty(SymbolId(0)), p.matches_venue(SymbolId(0), MonoNs(at), SpanNs(0)))
        };
        // The socket fell after the log-in, before its list; the account was read without it.
        let read = list(SnapshotOf::RestPositions, Source::RestOpen, 1);
        assert_eq!((read.0, read.1), (false, Qty::ZERO));
        let told = list(SnapshotOf::Positions, Source::Snapshot, 2);
        assert_eq!(told, (true, Qty::from_whole(2), true));
    }

    #[test]
    fn the_first_snapshot_is_the_start_and_later_ones_only_compare() {
        let mut p = Positions::new(WalletKind::Margin, &[instrument()]);
        let mark = |end| SnapshotMark { of: SnapshotOf::Positions, end, count: 0 };
        let update = |qty: &str| PositionUpdate {
            source: Source::Snapshot,
            symbol: SymbolId(0),
            qty: Qty::parse(qty).unwrap(),
            base_px: Px::from_whole(100),
            pnl: None,
        };
        p.on_snapshot(&mark(false), MonoNs(0));
        p.on_update(&update("2"), MonoNs(0));
        p.on_snapshot(&mark(true), MonoNs(0));
        assert_eq!(p.get(SymbolId(0)).qty, Qty::from_whole(2));
        assert_eq!(p.get(SymbolId(0)).realised(), Quote::ZERO);
        assert_eq!(p.get(SymbolId(0)).unrealised(Px::from_whole(110)), Quote::from_whole(20));
        p.on_snapshot(&mark(false), MonoNs(10));
        p.on_snapshot(&mark(true), MonoNs(10));
        assert_eq!(p.get(SymbolId(0)).qty, Qty::from_whole(2), "fills are the truth here");
        let grace = SpanNs(100);
        assert!(p.matches_venue(SymbolId(0), MonoNs(50), grace));
        assert!(!p.matches_venue(SymbolId(0), MonoNs(111), grace));
        p.on_fill(&fill("-2", "100", None), MonoNs(120));
        assert!(p.matches_venue(SymbolId(0), MonoNs(999), grace));
    }
}
