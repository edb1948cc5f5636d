//! What the public is shown: books in every precision, trades, tickers, candles, status, checksums.

use super::checksum::checksum;
use super::core::{Core, Liquidation};
use super::hub::{FLAG_CHECKSUM, FeedKey};
use super::levels::{diff_windows, push_snapshot};
use super::number::{push_i64, push_number};
use super::tape::{
    CANDLE_SNAPSHOT, PublicTrade, TRADE_SNAPSHOT, push_candle, push_list, push_trade,
};
use super::wire::push_wide;
use crate::base::units::Side;

impl Core {
    /// Tells every listener of a symbol's books what is different now.
    pub(super) fn book_changed(&mut self, symbol: u16) {
        for at in 0..self.listings[symbol as usize].book_feeds.len() {
            let feed = self.listings[symbol as usize].book_feeds[at];
            let state = self.hub.feed_mut(feed);
            if state.is_recorded || !state.has_subscribers() {
                continue;
            }
            match state.key {
                FeedKey::Book { slow: true, .. } | FeedKey::Raw { slow: true, .. } => {
                    state.unsent = true;
                }
                _ => self.publish_book(feed),
            }
        }
    }
    /// The house changed a book: published once, at the end of the market's step. The venue, too,
    /// publishes what is different after a tick of its own, not every order that came and went.
    pub(super) fn book_will_change(&mut self, symbol: u16) {
        if !self.unsent_books.contains(&symbol) {
            self.unsent_books.push(symbol);
        }
    }
    pub(super) fn publish_changed_books(&mut self) {
        while let Some(symbol) = self.unsent_books.pop() {
            self.book_changed(symbol);
        }
    }
    /// Publishes the difference between what a book feed shows and what it should show.
    fn publish_book(&mut self, feed: usize) {
        let key = self.hub.feeds()[feed].key;
        let mut scratch = std::mem::take(&mut self.scratch);
        self.fill_feed_window(key, &mut scratch.window);
        scratch.rows.clear();
        let state = self.hub.feed_mut(feed);
        diff_windows(&state.window, &scratch.window, is_raw(key), &mut scratch.rows);
        if !scratch.rows.is_empty() {
            std::mem::swap(&mut state.window, &mut scratch.window);
            state.unsummed = true;
            self.hub.publish_rows(feed, &scratch.rows, self.now);
        }
        self.scratch = scratch;
    }
    fn fill_feed_window(&self, key: FeedKey, window: &mut super::levels::Window) {
        let depth = &self.listing(key.symbol()).depth;
        match key {
            FeedKey::Book { digits, len, .. } => depth.fill_window(digits, len as usize, window),
            FeedKey::Raw { len, .. } => {
                depth.fill_raw_window(len as usize, window);
            }
            _ => {}
        }
    }
    pub(super) fn publish_slow_books(&mut self) {
        for feed in 0..self.hub.feeds().len() {
            if self.hub.feeds()[feed].unsent {
                self.hub.feed_mut(feed).unsent = false;
                self.publish_book(feed);
            }
        }
    }
    /// Checksums of the books that changed since their last one. Recorded feeds have theirs by
    /// count.
    pub(super) fn publish_checksums(&mut self) {
        for feed in 0..self.hub.feeds().len() {
            let state = self.hub.feed_mut(feed);
            if !state.unsummed || state.is_recorded {
                continue;
            }
            state.unsummed = false;
            let mut scratch = std::mem::take(&mut self.scratch);
            let sum = checksum(
                &mut scratch.body,
                &state.window.sides[0],
                &state.window.sides[1],
                is_raw(state.key),
            );
            self.send_checksum(feed, sum, &mut scratch.body);
            self.scratch = scratch;
        }
    }
    pub(super) fn send_checksum(&mut self, feed: usize, sum: i32, body: &mut Vec<u8>) {
        self.stats.checksums += 1;
        body.clear();
        body.extend_from_slice(b"\"cs\",");
        push_i64(body, sum as i64);
        self.hub.publish_where(feed, body, FLAG_CHECKSUM, self.now);
    }
    /// Books a trade that happened here and tells the public.
    pub(super) fn public_trade(&mut self, symbol: u16, trade: PublicTrade) {
        self.stats.trades += 1;
        self.take_trade(symbol, trade);
        let Some(feed) = self.hub.find_feed(FeedKey::Trades { symbol }) else { return };
        if !self.hub.feeds()[feed].has_subscribers() {
            return;
        }
        let mut body = std::mem::take(&mut self.scratch.body);
        for kind in [&b"\"te\","[..], b"\"tu\","] {
            body.clear();
            body.extend_from_slice(kind);
            push_trade(&mut body, &trade);
            self.hub.publish(feed, &body, self.now);
        }
        self.scratch.body = body;
    }
    /// Tape, candles and stops follow a trade, wherever it was made.
    pub(super) fn take_trade(&mut self, symbol: u16, trade: PublicTrade) {
        let listing = &mut self.listings[symbol as usize];
        listing.tape.push(trade);
        listing.stops_due |= !listing.stops.is_empty();
        for at in 0..self.listings[symbol as usize].candle_feeds.len() {
            let feed = self.listings[symbol as usize].candle_feeds[at];
            let state = &self.hub.feeds()[feed];
            if state.is_recorded || !state.has_subscribers() {
                continue;
            }
            let FeedKey::Candles { frame, .. } = state.key else { continue };
            let newest = self.listing(symbol).tape.candles(frame as usize).next().copied();
            let Some(candle) = newest else { continue };
            let mut body = std::mem::take(&mut self.scratch.body);
            body.clear();
            push_candle(&mut body, &candle);
            self.hub.publish(feed, &body, self.now);
            self.scratch.body = body;
        }
    }
    pub(super) fn publish_tickers(&mut self) {
        for symbol in 0..self.listings.len() as u16 {
            self.publish_if_wanted(FeedKey::Ticker { symbol });
        }
    }
    pub(super) fn publish_statuses(&mut self) {
        for symbol in 0..self.listings.len() as u16 {
            self.publish_if_wanted(FeedKey::Status { symbol });
        }
    }
    fn publish_if_wanted(&mut self, key: FeedKey) {
        let Some(feed) = self.hub.find_feed(key) else { return };
        let state = &self.hub.feeds()[feed];
        if state.is_recorded || !state.has_subscribers() {
            return;
        }
        let mut body = std::mem::take(&mut self.scratch.body);
        body.clear();
        self.push_row_of(key, &mut body);
        self.hub.publish(feed, &body, self.now);
        self.scratch.body = body;
    }
    fn push_row_of(&self, key: FeedKey, out: &mut Vec<u8>) {
        match key {
            FeedKey::Ticker { symbol } => {
                out.push(b'[');
                self.push_ticker_fields(symbol, out);
                out.extend_from_slice(if self.config.ticker_of_2026 { b",null]" } else { b"]" });
            }
            FeedKey::Status { symbol } => self.push_status_row(symbol, out),
            _ => {}
        }
    }
    /// Tells the public of a position that the venue ends.
    pub(super) fn publish_liquidation(&mut self, row: &Liquidation, is_match: bool) {
        let Some(feed) = self.hub.find_feed(FeedKey::Liquidations) else { return };
        let mut body = b"[".to_vec();
        row.push_array(&mut body, self.symbol_name(row.symbol), is_match);
        body.push(b']');
        self.hub.publish(feed, &body, self.now);
    }
    /// The ten figures of a ticker, without brackets.
    pub(super) fn push_ticker_fields(&self, symbol: u16, out: &mut Vec<u8>) {
        let listing = self.listing(symbol);
        let day = listing.tape.day(self.now_ms());
        let change = day.last - day.open;
        // Relative change in 1e-8; 0 where no trade is known.
        let relative = match day.open {
            0 => 0,
            open => (change as i128 * 100_000_000 / open as i128) as i64,
        };
        let figures = [
            listing.depth.public_best(Side::Buy).unwrap_or(0),
            listing.depth.sum_of_25(Side::Buy),
            listing.depth.public_best(Side::Sell).unwrap_or(0),
            listing.depth.sum_of_25(Side::Sell),
            change,
            relative,
            day.last,
            day.volume,
            day.high,
            day.low,
        ];
        for (index, figure) in figures.into_iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            push_number(out, figure);
        }
    }
    /// The row of `deriv:` status; funding is flat here.
    pub(super) fn push_status_row(&self, symbol: u16, out: &mut Vec<u8>) {
        self.push_status_at(symbol, self.now_ms(), self.listing(symbol).mark(), out);
    }
    /// The same for a moment of the past. Open interest is today's.
    pub(super) fn push_status_at(&self, symbol: u16, mts: i64, mark: i64, out: &mut Vec<u8>) {
        let next_funding = (mts / 28_800_000 + 1) * 28_800_000;
        out.push(b'[');
        push_i64(out, mts);
        out.extend_from_slice(b",null,");
        push_number(out, mark);
        out.push(b',');
        push_number(out, mark);
        out.extend_from_slice(b",null,0,null,");
        push_i64(out, next_funding);
        out.extend_from_slice(b",0,0,null,0,null,null,");
        push_number(out, mark);
        out.extend_from_slice(b",null,null,");
        push_wide(out, self.open_interest(symbol));
        out.extend_from_slice(b",null,null,null,0.0005,0.0025]");
    }
    fn open_interest(&self, symbol: u16) -> i128 {
        self.bank
            .accounts
            .iter()
            .filter_map(|account| account.positions.get(&symbol))
            .map(|position| position.qty.unsigned_abs() as i128)
            .sum()
    }
    /// What a new subscriber is shown first.
    pub(super) fn send_snapshot(&mut self, conn: u64, chan: u64, feed: usize) {
        let key = self.hub.feeds()[feed].key;
        let mut body = Vec::new();
        match key {
            FeedKey::Book { .. } | FeedKey::Raw { .. } => {
                if self.hub.feeds()[feed].is_recorded {
                    // Before the recorded snapshot there is nothing to show: it will come as a
                    // frame.
                    let Some(window) = self.replay.window(feed, &self.listings) else { return };
                    push_snapshot(&mut body, &window, false);
                } else {
                    // What earlier subscribers of a slow book were shown last is what all of them
                    // share.
                    if !self.hub.feeds()[feed].unsent {
                        let mut window = std::mem::take(&mut self.hub.feed_mut(feed).window);
                        self.fill_feed_window(key, &mut window);
                        self.hub.feed_mut(feed).window = window;
                    }
                    push_snapshot(&mut body, &self.hub.feeds()[feed].window, is_raw(key));
                }
            }
            FeedKey::Trades { symbol } => {
                if self.hub.feeds()[feed].is_recorded && !self.replay.has_trades(symbol) {
                    return;
                }
                let trades = self.listing(symbol).tape.trades().take(TRADE_SNAPSHOT);
                push_list(&mut body, trades, push_trade);
            }
            FeedKey::Candles { symbol, frame } => {
                let candles = self.listing(symbol).tape.candles(frame as usize);
                push_list(&mut body, candles.take(CANDLE_SNAPSHOT), push_candle);
            }
            FeedKey::Ticker { .. } if self.hub.feeds()[feed].is_recorded => {
                let Some(row) = self.replay.last_row(feed) else { return };
                body.extend_from_slice(row);
            }
            FeedKey::Ticker { .. } | FeedKey::Status { .. } => self.push_row_of(key, &mut body),
            // What was is not told again.
            FeedKey::Liquidations => return,
        }
        self.hub.send_on(conn, chan, &body, self.now);
    }
}

pub(super) const fn is_raw(key: FeedKey) -> bool {
    matches!(key, FeedKey::Raw { .. })
}
