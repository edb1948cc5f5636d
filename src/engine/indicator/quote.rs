//! What a book alone tells: spread and imbalance. No state, so never debounced and never late.

use crate::model::BookView;

/// Best ask − best bid over the middle, in basis points; `None` when a side is empty.
pub fn spread_bps(book: &BookView) -> Option<f64> {
    let (bid, ask) = (book.bid()?.px.raw(), book.ask()?.px.raw());
    let middle = (bid as f64 + ask as f64) * 0.5;
    (middle > 0.0).then(|| (ask as f64 - bid as f64) / middle * 1e4)
}

/// (bid − ask) / (bid + ask) of the quantities shown, −1 … 1; 0 for an empty book.
pub fn imbalance(book: &BookView) -> f64 {
    let sum = |levels: &[crate::model::Level]| -> f64 {
        levels.iter().map(|level| level.qty.raw() as f64).sum()
    };
    let bid = sum(&book.bids[..usize::from(book.bid_count).min(book.bids.len())]);
    let ask = sum(&book.asks[..usize::from(book.ask_count).min(book.asks.len())]);
    let both = bid + ask;
    if both > 0.0 { (bid - ask) / both } else { 0.0 }
}
