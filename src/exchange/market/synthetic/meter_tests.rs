//! Measures a market by what its public channels say: a P0 book of 100 levels and the trades. The
//! same meter reads recordings and the exchange, so that a mistake in it hits both alike.

use serde_json::Value;
use std::collections::BTreeMap;

/// One message of interest.
#[derive(Clone, Copy, Debug)]
pub enum Said {
    /// Price, count (0 = delete), amount (negative = ask).
    Row(f64, u64, f64),
    /// `te`: execution time in ms, amount, price.
    Trade(i64, f64, f64),
}

/// A stretch of a market as it was published: seconds and messages.
#[derive(Debug, Default)]
pub struct Stretch {
    pub snapshot: Vec<(f64, u64, f64)>,
    pub said: Vec<(f64, Said)>,
}

fn row_of(value: &Value) -> Option<(f64, u64, f64)> {
    Some((value.get(0)?.as_f64()?, value.get(1)?.as_u64()?, value.get(2)?.as_f64()?))
}

impl Stretch {
    /// Takes in an array message; `is_book` says which of the two channels it is of.
    pub fn hear(&mut self, at_s: f64, is_book: bool, message: &Value) {
        let body = &message[1];
        if !is_book {
            let trade = &message[2];
            if body == "te" {
                let figure = |at: usize| trade[at].as_f64().unwrap();
                let said = Said::Trade(trade[1].as_i64().unwrap(), figure(2), figure(3));
                self.said.push((at_s, said));
            }
        } else if body.get(0).is_some_and(Value::is_array) {
            self.snapshot = body.as_array().unwrap().iter().filter_map(row_of).collect();
        } else if let Some((px, count, amount)) = row_of(body) {
            self.said.push((at_s, Said::Row(px, count, amount)));
        }
    }
    /// Forgets when messages came and spreads them evenly between the execution times of trades;
    /// what is before the first or after the last trade is dropped. The recording of 2018 has no
    /// other times, so a market that is compared with it is looked at in the same way.
    pub fn retimed_by_trades(mut self) -> Stretch {
        let known: Vec<(usize, f64)> = self
            .said
            .iter()
            .enumerate()
            .filter_map(|(at, (_, said))| match said {
                Said::Trade(ms, ..) => Some((at, *ms as f64 / 1_000.0)),
                Said::Row(..) => None,
            })
            .collect();
        for pair in known.windows(2) {
            let ((from, start), (to, end)) = (pair[0], pair[1]);
            for at in from..to {
                let share = (at - from) as f64 / (to - from) as f64;
                self.said[at].0 = start + (end - start) * share;
            }
        }
        let (first, last) = (known[0].0, known[known.len() - 1].0);
        // The book must still be replayed from the snapshot: early rows get the first time.
        for at in 0..first {
            self.said[at].0 = known[0].1;
        }
        self.said.truncate(last);
        self
    }
}

/// Value below which a share of the (sorted) values lies.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    match sorted.len() {
        0 => f64::NAN,
        len => sorted[((len as f64 * share) as usize).min(len - 1)],
    }
}
pub fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

/// Index of dispersion (variance by mean) of counts in windows, and the counts.
fn dispersion(times: &[f64], start: f64, end: f64, window_s: f64) -> (f64, Vec<f64>) {
    let count = ((end - start) / window_s) as usize;
    let mut counts = vec![0.0; count];
    for at in times {
        if let Some(slot) = counts.get_mut(((at - start) / window_s) as usize) {
            *slot += 1.0;
        }
    }
    let mean = counts.iter().sum::<f64>() / count.max(1) as f64;
    let variance = counts.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / count.max(1) as f64;
    (variance / mean, counts)
}

/// Which part of a batch a row belongs to: deleted bids, deleted asks, bids, asks.
fn part(said: &(f64, u64, f64)) -> u8 {
    match (said.1 == 0, said.2 > 0.0) {
        (true, true) => 0,
        (true, false) => 1,
        (false, true) => 2,
        (false, false) => 3,
    }
}
/// The venue publishes a batch as deletions, then bids best first, then asks best first: a row out
/// of that order begins a new batch. (With receive times, 540 of 543 batches of tETHJPY are found
/// so.)
fn begins_batch(before: &(f64, u64, f64), row: &(f64, u64, f64)) -> bool {
    let (was, is) = (part(before), part(row));
    is < was
        || (is == was && is == 2 && row.0 >= before.0)
        || (is == was && is == 3 && row.0 <= before.0)
}

/// A book as a listener keeps it, in whole units of 1e-10 to make prices keys.
#[derive(Default)]
struct Shadow {
    sides: [BTreeMap<i64, (u64, f64)>; 2],
}
const KEY: f64 = 1e10;
impl Shadow {
    /// Applies a row; returns whether it was there, and its rank from the touch.
    fn apply(&mut self, (px, count, amount): (f64, u64, f64)) -> (bool, usize) {
        let key = (px * KEY).round() as i64;
        let (side, key) = if amount > 0.0 { (0, -key) } else { (1, key) };
        let rank = self.sides[side].range(..key).count();
        let was = match count {
            0 => self.sides[side].remove(&key),
            _ => self.sides[side].insert(key, (count, amount.abs())),
        };
        (was.is_some(), rank)
    }
    fn touch(&self) -> Option<(f64, f64)> {
        let best = |side: usize| Some(self.sides[side].first_key_value()?.0.abs() as f64 / KEY);
        Some((best(0)?, best(1)?))
    }
}

/// Ranks at which the depth profile is read, from 1.
pub const RANKS: [usize; 5] = [1, 2, 10, 50, 95];

/// What was measured.
#[derive(Debug, Default)]
pub struct Figures {
    pub seconds: f64,
    /// Book messages.
    pub rows: usize,
    pub rows_per_s: f64,
    pub batches_per_s: f64,
    /// Rows of a batch: p10, p50, p90, p99.
    pub batch_rows: [f64; 4],
    /// Between messages, ms: p50, p90, p99.
    pub gap_ms: [f64; 3],
    /// Between batches, ms (a pause of 5 ms ends one): p50, p90, p99.
    pub batch_gap_ms: [f64; 3],
    /// In windows of 1 s, 10 s, 60 s.
    pub row_dispersion: [f64; 3],
    /// Windows of 60 s: rate at p10, p90 and p99 by the median.
    pub rate_spread: [f64; 3],
    /// Share of windows of 60 s below 0.7 and above 1.5 of the median rate.
    pub phase_share: [f64; 2],
    pub share_deleted: f64,
    pub share_new: f64,
    pub share_changed: f64,
    /// Share of rows at ranks 1, 2–5, 6–25, 26–75, 76 and beyond.
    pub share_by_rank: [f64; 5],
    /// bps: p10, p50, p90.
    pub spread_bps: [f64; 3],
    /// Median distance from the middle by `RANKS`, bps.
    pub distance_bps: [f64; 5],
    /// Median sum of quantities by `RANKS`, quote currency.
    pub depth_quote: [f64; 5],
    /// Levels a side, median.
    pub levels: f64,
    pub touch_orders: f64,
    /// Share of batches after which the middle is another.
    pub middle_moves: f64,
    /// Batches a level lives: p50, p75, p90.
    pub level_life: [f64; 3],
    pub trades_per_s: f64,
    /// Orders that took (trades of one side within 20 ms).
    pub takes_per_s: f64,
    pub take_gap_s: [f64; 3],
    pub take_dispersion_60s: f64,
    /// Quote currency: p10, p50, p90, p99.
    pub take_quote: [f64; 4],
    pub same_side: f64,
    pub rows_per_trade: f64,
    pub deletes_per_trade: f64,
    /// Root mean square of 1-minute returns of the middle, bps.
    pub minute_rms_bps: f64,
    pub was_crossed: usize,
}

fn three(values: &[f64], shares: [f64; 3]) -> [f64; 3] {
    shares.map(|share| quantile(values, share))
}

impl Figures {
    pub fn of(stretch: &Stretch) -> Figures {
        let said = &stretch.said;
        let (start, end) = (said[0].0, said[said.len() - 1].0);
        let mut figures = Figures { seconds: end - start, ..Figures::default() };
        figures.read_book(stretch, start, end);
        figures.read_trades(stretch, start, end);
        figures.rows_per_trade = figures.rows as f64 / (figures.trades_per_s * figures.seconds);
        figures.deletes_per_trade = figures.rows_per_trade * figures.share_deleted;
        figures
    }
    fn read_book(&mut self, stretch: &Stretch, start: f64, end: f64) {
        let mut book = Shadow::default();
        for row in &stretch.snapshot {
            book.apply(*row);
        }
        let mut last: Option<(f64, u64, f64)> = None;
        let (mut times, mut sizes, mut size) = (Vec::new(), Vec::new(), 0usize);
        let (mut kinds, mut ranks) = ([0usize; 3], [0usize; 5]);
        let (mut spreads, mut levels, mut touch_orders) = (Vec::new(), Vec::new(), Vec::new());
        let (mut distances, mut depths) = ([const { Vec::new() }; 5], [const { Vec::new() }; 5]);
        let (mut moves, mut middle_before) = (0usize, None);
        let mut minutes: BTreeMap<i64, f64> = BTreeMap::new();
        let (mut born, mut lives) = (BTreeMap::new(), Vec::new());
        for (at, said) in &stretch.said {
            let Said::Row(px, count, amount) = *said else { continue };
            let row = (px, count, amount);
            if last.is_some_and(|before| begins_batch(&before, &row)) {
                sizes.push(size as f64);
                size = 0;
                if let Some((bid, ask)) = book.touch() {
                    self.was_crossed += usize::from(bid >= ask);
                    let middle = (bid + ask) / 2.0;
                    spreads.push((ask - bid) / middle * 1e4);
                    moves += usize::from(middle_before.is_some_and(|before| before != middle));
                    middle_before = Some(middle);
                    minutes.insert((at / 60.0) as i64, middle);
                    if sizes.len() % 20 == 0 {
                        for side in &book.sides {
                            levels.push(side.len() as f64);
                            read_depth(side, middle, &mut distances, &mut depths);
                            touch_orders.push(side.first_key_value().unwrap().1.0 as f64);
                        }
                    }
                }
            }
            size += 1;
            last = Some(row);
            times.push(*at);
            let (was_there, rank) = book.apply(row);
            let key = (amount > 0.0, (px * KEY).round() as i64);
            match (count, was_there) {
                (0, _) => {
                    kinds[0] += 1;
                    if let Some(since) = born.remove(&key) {
                        lives.push((sizes.len() - since) as f64);
                    }
                }
                (_, false) => {
                    kinds[1] += 1;
                    born.insert(key, sizes.len());
                }
                _ => kinds[2] += 1,
            }
            let bucket = [1, 5, 25, 75].iter().filter(|bound| rank >= **bound).count();
            ranks[bucket] += 1;
        }
        self.rows = times.len();
        let share = |count: usize| count as f64 / times.len() as f64;
        self.rows_per_s = self.rows as f64 / self.seconds;
        self.batches_per_s = sizes.len() as f64 / self.seconds;
        self.middle_moves = moves as f64 / sizes.len() as f64;
        let sizes = sorted(sizes);
        self.batch_rows = [0.1, 0.5, 0.9, 0.99].map(|part| quantile(&sizes, part));
        let gaps = sorted(times.windows(2).map(|pair| (pair[1] - pair[0]) * 1e3).collect());
        self.gap_ms = three(&gaps, [0.5, 0.9, 0.99]);
        let pauses = &gaps[gaps.partition_point(|gap| *gap < 5.0)..];
        self.batch_gap_ms = three(pauses, [0.5, 0.9, 0.99]);
        self.row_dispersion = [1.0, 10.0, 60.0].map(|w| dispersion(&times, start, end, w).0);
        let rates = sorted(dispersion(&times, start, end, 60.0).1);
        let median = quantile(&rates, 0.5);
        self.rate_spread = [0.1, 0.9, 0.99].map(|part| quantile(&rates, part) / median);
        let part_of = |test: &dyn Fn(f64) -> bool| {
            rates.iter().filter(|rate| test(**rate)).count() as f64 / rates.len() as f64
        };
        self.phase_share = [part_of(&|r| r < 0.7 * median), part_of(&|r| r > 1.5 * median)];
        [self.share_deleted, self.share_new, self.share_changed] = kinds.map(share);
        self.share_by_rank = ranks.map(share);
        self.spread_bps = three(&sorted(spreads), [0.1, 0.5, 0.9]);
        self.distance_bps = distances.map(|values| quantile(&sorted(values), 0.5));
        self.depth_quote = depths.map(|values| quantile(&sorted(values), 0.5));
        self.levels = quantile(&sorted(levels), 0.5);
        self.touch_orders = quantile(&sorted(touch_orders), 0.5);
        self.level_life = three(&sorted(lives), [0.5, 0.75, 0.9]);
        let middles: Vec<(i64, f64)> = minutes.into_iter().collect();
        let returns: Vec<f64> = middles
            .windows(2)
            .filter(|pair| pair[1].0 == pair[0].0 + 1)
            .map(|pair| (pair[1].1 / pair[0].1 - 1.0) * 1e4)
            .collect();
        let squares: f64 = returns.iter().map(|r| r * r).sum();
        self.minute_rms_bps = (squares / returns.len() as f64).sqrt();
    }
    fn read_trades(&mut self, stretch: &Stretch, start: f64, end: f64) {
        // (ms, side, money) of orders that took.
        let mut takes: Vec<(i64, bool, f64)> = Vec::new();
        let (mut trades, mut last_ms) = (0usize, 0);
        for (_, said) in &stretch.said {
            let Said::Trade(ms, amount, px) = *said else { continue };
            trades += 1;
            let side = amount > 0.0;
            match takes.last_mut() {
                Some(take) if ms - last_ms <= 20 && take.1 == side => take.2 += amount.abs() * px,
                _ => takes.push((ms, side, amount.abs() * px)),
            }
            last_ms = ms;
        }
        self.trades_per_s = trades as f64 / self.seconds;
        self.takes_per_s = takes.len() as f64 / self.seconds;
        let pairs = || takes.windows(2);
        let gaps = sorted(pairs().map(|pair| (pair[1].0 - pair[0].0) as f64 / 1e3).collect());
        self.take_gap_s = three(&gaps, [0.1, 0.5, 0.9]);
        let times: Vec<f64> = takes.iter().map(|take| take.0 as f64 / 1e3).collect();
        self.take_dispersion_60s = dispersion(&times, start, end, 60.0).0;
        let money = sorted(takes.iter().map(|take| take.2).collect());
        self.take_quote = [0.1, 0.5, 0.9, 0.99].map(|part| quantile(&money, part));
        let same = pairs().filter(|pair| pair[0].1 == pair[1].1).count();
        self.same_side = same as f64 / pairs().count().max(1) as f64;
    }
}

fn read_depth(
    side: &BTreeMap<i64, (u64, f64)>,
    middle: f64,
    distances: &mut [Vec<f64>; 5],
    depths: &mut [Vec<f64>; 5],
) {
    let (mut sum, mut rank) = (0.0, 0);
    for (key, (_, qty)) in side {
        let px = key.abs() as f64 / KEY;
        sum += qty * px;
        rank += 1;
        if let Some(at) = RANKS.iter().position(|wanted| *wanted == rank) {
            distances[at].push((px - middle).abs() / middle * 1e4);
            depths[at].push(sum);
        }
    }
}

#[test]
fn a_batch_ends_where_the_order_of_rows_breaks() {
    let row = |px: f64, count: u64, amount: f64| (px, count, amount);
    let first = [
        row(9.0, 0, 1.0),
        row(11.0, 0, -1.0),
        row(9.5, 1, 2.0),
        row(8.0, 2, 3.0),
        row(12.0, 1, -1.0),
        row(13.0, 1, -1.0),
    ];
    assert!(first.windows(2).all(|pair| !begins_batch(&pair[0], &pair[1])));
    // A deletion after a change, a better bid after a worse one, a better ask after a worse one.
    assert!(begins_batch(&first[5], &row(9.5, 0, 1.0)));
    assert!(begins_batch(&first[3], &row(9.4, 1, 1.0)));
    assert!(begins_batch(&first[5], &row(12.5, 1, -1.0)));
}

#[test]
fn even_counts_have_no_dispersion_and_bursts_have_their_size() {
    let even: Vec<f64> = (0..1_000).map(|at| at as f64 / 10.0 + 0.05).collect();
    assert!(dispersion(&even, 0.0, 100.0, 1.0).0 < 1e-9);
    // Twenty at once in every second second: mean 10, variance 100.
    let bursts: Vec<f64> = (0..1_000).map(|at| (at / 20 * 2) as f64 + 0.5).collect();
    assert!((dispersion(&bursts, 0.0, 100.0, 1.0).0 - 10.0).abs() < 1e-9);
}

#[test]
fn figures_of_a_small_stretch_are_what_one_counts_by_hand() {
    let mut stretch = Stretch {
        snapshot: vec![(100.0, 1, 1.0), (99.0, 2, 2.0), (101.0, 3, -1.0), (102.0, 1, -4.0)],
        said: Vec::new(),
    };
    let mut say = |at: f64, said: Said| stretch.said.push((at, said));
    say(0.0, Said::Row(99.0, 1, 1.0));
    say(0.0, Said::Row(101.0, 2, -0.5));
    say(0.5, Said::Trade(500, 0.25, 101.0));
    say(0.51, Said::Trade(510, 0.25, 101.0));
    say(1.0, Said::Row(101.0, 0, -1.0));
    say(1.0, Said::Row(101.5, 1, -1.0));
    say(2.0, Said::Row(99.5, 1, 1.0));
    let figures = Figures::of(&stretch);
    assert_eq!((figures.rows, figures.seconds), (5, 2.0));
    assert_eq!(figures.share_deleted, 0.2);
    assert_eq!(figures.share_new, 0.4);
    assert_eq!(figures.share_changed, 0.4);
    assert_eq!((figures.trades_per_s, figures.takes_per_s), (1.0, 0.5));
    assert_eq!(figures.take_quote[1], 50.5);
    assert_eq!(figures.rows_per_trade, 2.5);
    assert_eq!(figures.gap_ms[2], 1_000.0);
    assert_eq!(figures.was_crossed, 0);
}
