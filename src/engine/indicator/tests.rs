//! Every indicator against a slow batch twin that shares no code with it: plain arrays, sums made
//! anew for each value, true range and DI written out. Tolerance: 1e-10 of the price scale, that is
//! of the price for what is in price units, of 100 for RSI and ADX, of the return's scale 1 for
//! volatility.

use super::testdata::{CANDLE_FILES, candles, made_up};
use super::*;
use crate::base::time::WallNs;
use crate::base::units::{Px, Qty};
use crate::model::{Bar, BookView, Level};

struct Series {
    bars: Vec<Bar>,
    high: Vec<f64>,
    low: Vec<f64>,
    close: Vec<f64>,
}
impl Series {
    fn new(bars: Vec<Bar>) -> Self {
        let column = |f: fn(&Bar) -> Px| bars.iter().map(|bar| f(bar).to_f64()).collect();
        Self {
            high: column(|bar| bar.high),
            low: column(|bar| bar.low),
            close: column(|bar| bar.close),
            bars,
        }
    }
}

fn twin_ema(x: &[f64], n: usize) -> Vec<f64> {
    let alpha = 2.0 / (n as f64 + 1.0);
    let mut out = vec![x[0]];
    for i in 1..x.len() {
        out.push(alpha * x[i] + (1.0 - alpha) * out[i - 1]);
    }
    out
}
/// First value at index `n − 1`.
fn twin_wilder(x: &[f64], n: usize) -> Vec<Option<f64>> {
    let mut out = vec![None; x.len()];
    for i in n - 1..x.len() {
        out[i] = Some(match i.checked_sub(n) {
            Some(_) => (out[i - 1].unwrap() * (n as f64 - 1.0) + x[i]) / n as f64,
            None => x[..n].iter().sum::<f64>() / n as f64,
        });
    }
    out
}
fn twin_rsi(close: &[f64], n: usize) -> Vec<Option<f64>> {
    let change: Vec<f64> = close.windows(2).map(|w| w[1] - w[0]).collect();
    let up: Vec<f64> = change.iter().map(|c| if *c > 0.0 { *c } else { 0.0 }).collect();
    let down: Vec<f64> = change.iter().map(|c| if *c < 0.0 { -*c } else { 0.0 }).collect();
    let (up, down) = (twin_wilder(&up, n), twin_wilder(&down, n));
    let mut out = vec![None];
    for (up, down) in up.iter().zip(&down) {
        out.push(up.zip(*down).map(|(up, down)| match (up == 0.0, down == 0.0) {
            (true, true) => 50.0,
            (false, true) => 100.0,
            _ => 100.0 - 100.0 / (1.0 + up / down),
        }));
    }
    out
}
fn true_range(s: &Series) -> Vec<f64> {
    (0..s.close.len())
        .map(|i| {
            let range = s.high[i] - s.low[i];
            if i == 0 {
                return range;
            }
            let last = s.close[i - 1];
            range.max((s.high[i] - last).abs()).max((s.low[i] - last).abs())
        })
        .collect()
}
fn twin_adx(s: &Series, n: usize) -> Vec<Option<f64>> {
    let range = true_range(s);
    let (mut plus, mut minus) = (Vec::new(), Vec::new());
    for i in 1..s.close.len() {
        let (up, down) = (s.high[i] - s.high[i - 1], s.low[i - 1] - s.low[i]);
        plus.push(if up > down && up > 0.0 { up } else { 0.0 });
        minus.push(if down > up && down > 0.0 { down } else { 0.0 });
    }
    let range = twin_wilder(&range[1..], n);
    let (plus, minus) = (twin_wilder(&plus, n), twin_wilder(&minus, n));
    let dx: Vec<f64> = (n - 1..plus.len())
        .map(|i| {
            let range = range[i].unwrap();
            if range == 0.0 {
                return 0.0;
            }
            let plus = 100.0 * plus[i].unwrap() / range;
            let minus = 100.0 * minus[i].unwrap() / range;
            if plus + minus == 0.0 { 0.0 } else { 100.0 * (plus - minus).abs() / (plus + minus) }
        })
        .collect();
    let mut out = vec![None; n];
    out.extend(twin_wilder(&dx, n));
    out
}
fn mean_and_deviation(x: &[f64]) -> (f64, f64) {
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    (mean, (x.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / x.len() as f64).sqrt())
}

#[track_caller]
fn near(name: &str, i: usize, value: Option<f64>, twin: Option<f64>, scale: f64) {
    match (value, twin) {
        (None, None) => {}
        (Some(value), Some(twin)) if (value - twin).abs() <= 1e-10 * scale => {}
        _ => panic!("{name} at bar {i}: {value:?}, twin {twin:?}, scale {scale}"),
    }
}

/// The whole set against its twins, and each provisional value against what is then committed.
fn check(bars: Vec<Bar>) {
    let s = Series::new(bars);
    let ema = twin_ema(&s.close, 14);
    let presets = [[12, 55], [9, 21], [12, 34]].map(|pair| pair.map(|n| twin_ema(&s.close, n)));
    let (rsi, adx) = (twin_rsi(&s.close, 14), twin_adx(&s, 14));
    let atr = twin_wilder(&true_range(&s), 14);
    let (fast, slow) = (twin_ema(&s.close, 3), twin_ema(&s.close, 7));
    let spread: Vec<f64> = fast.iter().zip(&slow).map(|(fast, slow)| fast - slow).collect();
    let logs: Vec<f64> = s.close.windows(2).map(|w| (w[1] / w[0]).ln()).collect();
    let mut day_start = 0;

    let mut set = IndicatorSet::new(&IndicatorConfig::default());
    for (i, bar) in s.bars.iter().enumerate() {
        let px = s.close[i];
        let forming = Forming {
            at: bar.open_at,
            high: bar.high,
            low: bar.low,
            last: bar.close,
            volume: bar.volume,
            trades: bar.trades,
        };
        let before = set.provisional(&forming);
        set.commit(bar);
        let v = set.committed();
        assert_eq!(before.bars + 1, v.bars);
        // An EMA's first warm value is one bar later in the provisional view: warmth is committed.
        let warm = |before: Option<f64>, after: Option<f64>| before.is_none() || before == after;
        assert!(warm(before.ema, v.ema));
        for (before, after) in before.preset_ema.iter().zip(&v.preset_ema) {
            assert!(before.is_none() || before == after);
        }
        assert_eq!(
            (before.price, before.rsi, before.atr, before.adx, before.ema_z),
            (v.price, v.rsi, v.atr, v.adx, v.ema_z),
            "bar {i}"
        );
        assert_eq!(
            (before.bollinger, before.vwap, before.realised_vol),
            (v.bollinger, v.vwap, v.realised_vol),
            "bar {i}"
        );

        near("ema", i, v.ema, (i >= 13).then(|| ema[i]), px);
        for (pair, twins) in v.preset_ema.iter().zip(&presets) {
            if let Some([fast, slow]) = pair {
                near("preset fast", i, Some(*fast), Some(twins[0][i]), px);
                near("preset slow", i, Some(*slow), Some(twins[1][i]), px);
            }
        }
        near("rsi", i, v.rsi, rsi[i], 100.0);
        near("atr", i, v.atr, atr[i], px);
        near("adx", i, v.adx, adx[i], 100.0);
        let z = (i >= 199).then(|| mean_and_deviation(&spread[i - 199..=i]));
        match (v.ema_z, z) {
            (None, None) => {}
            (Some(value), Some((mean, deviation))) if deviation > px * 1e-9 => {
                // In price units: the deviation's share of the error is not the indicator's.
                near("ema z", i, Some(value * deviation), Some(spread[i] - mean), px);
            }
            (Some(value), Some(_)) => assert_eq!(value, 0.0, "no deviation, no direction"),
            other => panic!("ema z at bar {i}: {other:?}"),
        }
        let bands = (i >= 19).then(|| mean_and_deviation(&s.close[i - 19..=i]));
        near("bollinger middle", i, v.bollinger.map(|b| b.middle), bands.map(|b| b.0), px);
        near(
            "bollinger upper",
            i,
            v.bollinger.map(|b| b.at(2.0)),
            bands.map(|b| b.0 + 2.0 * b.1),
            px,
        );
        near(
            "bollinger lower",
            i,
            v.bollinger.map(|b| b.at(-2.0)),
            bands.map(|b| b.0 - 2.0 * b.1),
            px,
        );
        let vol =
            (i >= 60).then(|| (logs[i - 60..i].iter().map(|r| r * r).sum::<f64>() / 60.0).sqrt());
        near("realised vol", i, v.realised_vol, vol, 1.0);
        if bar.open_at.utc_day() != s.bars[day_start].open_at.utc_day() {
            day_start = i;
        }
        if i % 97 == 0 || i == day_start {
            let (mut value, mut volume) = (0.0, 0.0);
            for j in day_start..=i {
                let qty = s.bars[j].volume.to_f64();
                value += (s.high[j] + s.low[j] + s.close[j]) / 3.0 * qty;
                volume += qty;
            }
            near("vwap", i, v.vwap, Some(value / volume), px);
        }
    }
}

#[test]
fn every_indicator_equals_its_slow_twin_on_a_made_up_series() {
    check(made_up(1, 8_000));
}

#[test]
#[cfg_attr(not(shared_data), ignore = "needs ../shared/data")]
fn every_indicator_equals_its_slow_twin_on_all_recorded_candles() {
    let rows = [293_230, 505_209, 520_499, 414_314, 508_048];
    for (file, rows) in CANDLE_FILES.iter().zip(rows) {
        let bars = candles(file);
        assert_eq!(bars.len(), rows, "{file}");
        check(bars);
    }
}

#[test]
fn asking_provisionally_commits_nothing() {
    let bars = made_up(2, 400);
    let mut asked = IndicatorSet::new(&IndicatorConfig::default());
    let mut silent = asked.clone();
    for (i, bar) in bars.iter().enumerate() {
        for shift in 0..(i as i64 % 4) {
            let last = Px::from_raw(bar.close.raw() + shift * 1_000_000_000);
            asked.provisional(&Forming {
                at: bar.open_at,
                high: bar.high.max(last),
                low: bar.low,
                last,
                volume: bar.volume,
                trades: 1,
            });
        }
        asked.commit(bar);
        silent.commit(bar);
        assert_eq!(asked.committed(), silent.committed());
    }
    assert_eq!(asked.committed().bars, 400);
}

#[test]
fn known_values_by_hand() {
    let mut ema = Ema::new(3);
    [1.0, 2.0, 3.0].iter().for_each(|x| ema.update(*x));
    assert_eq!(ema.value(), Some(2.25));
    let mut rsi = Rsi::new(2);
    [10.0, 11.0, 10.0].iter().for_each(|x| rsi.update(*x));
    assert_eq!(rsi.value(), Some(50.0));
    rsi.update(12.0); // gains 0.5 → 1.25, losses 0.5 → 0.25
    assert!((rsi.value().unwrap() - 100.0 * 1.25 / 1.5).abs() < 1e-12);
    let mut atr = Atr::new(2);
    atr.update(11.0, 9.0, 10.0);
    atr.update(14.0, 12.0, 13.0); // the gap counts: 14 − 10
    assert_eq!(atr.value(), Some(3.0));
    let mut bollinger = Bollinger::new(2);
    bollinger.update(Px::from_whole(1));
    bollinger.update(Px::from_whole(3));
    let bands = bollinger.value().unwrap();
    assert_eq!((bands.middle, bands.deviation, bands.at(2.0)), (2.0, 1.0, 4.0));
    let mut vwap = Vwap::default();
    let px = Px::from_whole;
    vwap.update(WallNs(0), px(3), px(3), px(3), Qty::from_whole(1));
    vwap.update(WallNs(1), px(6), px(6), px(6), Qty::from_whole(2));
    assert_eq!(vwap.value(), Some(5.0));
    vwap.update(WallNs(crate::base::time::DAY_NS), px(9), px(9), px(9), Qty::from_whole(1));
    assert_eq!(vwap.value(), Some(9.0), "a new UTC day begins anew");
}

#[test]
fn extreme_prices_neither_overflow_nor_make_nonsense() {
    let mut set = IndicatorSet::new(&IndicatorConfig::default());
    let mut bars = made_up(3, 600);
    for (i, bar) in bars.iter_mut().enumerate() {
        let px = [Px::from_raw(1), Px::MAX, Px::from_whole(6_000)][i % 3];
        (bar.open, bar.high, bar.low, bar.close, bar.volume) = (px, px, px, px, Qty::MAX);
        set.commit(bar);
    }
    let v = set.committed();
    for value in [v.ema, v.rsi, v.atr, v.adx, v.ema_z, v.vwap, v.realised_vol] {
        assert!(value.is_some_and(f64::is_finite), "{v:?}");
    }
    assert!(v.bollinger.is_some_and(|b| b.middle.is_finite() && b.deviation.is_finite()));
}

#[test]
fn spread_and_imbalance_are_those_of_the_levels() {
    let level = |px: i64, qty: i64| Level { px: Px::from_whole(px), qty: Qty::from_whole(qty) };
    let mut book = BookView {
        venue_at: WallNs(0),
        bids: Default::default(),
        asks: Default::default(),
        symbol: crate::base::ids::SymbolId(0),
        bid_count: 0,
        ask_count: 0,
        updates: 1,
        imbalance_e4: 0,
        synced: true,
    };
    assert_eq!((spread_bps(&book), imbalance(&book)), (None, 0.0));
    book.bids[..2].copy_from_slice(&[level(9_999, 2), level(9_998, 4)]);
    book.asks[0] = level(10_001, 2);
    (book.bid_count, book.ask_count) = (2, 1);
    assert_eq!(spread_bps(&book), Some(2.0));
    assert_eq!(imbalance(&book), 0.5);
    // Against whole-number arithmetic on random books.
    let mut rng = crate::base::rng::Rng::new(4);
    for _ in 0..1_000 {
        let (mut bid_sum, mut ask_sum) = (0i128, 0i128);
        let bid = rng.between(1, 1_000_000);
        let ask = bid + rng.between(1, 100);
        for k in 0..5 {
            let (b, a) = (rng.between(1, 1_000), rng.between(1, 1_000));
            book.bids[k] = level(bid - k as i64, b);
            book.asks[k] = level(ask + k as i64, a);
            bid_sum += i128::from(b);
            ask_sum += i128::from(a);
        }
        (book.bid_count, book.ask_count) = (5, 5);
        let slow = (bid_sum - ask_sum) as f64 / (bid_sum + ask_sum) as f64;
        assert!((imbalance(&book) - slow).abs() < 1e-12);
        let slow = (ask - bid) as f64 * 20_000.0 / (ask + bid) as f64;
        assert!((spread_bps(&book).unwrap() - slow).abs() < 1e-9);
    }
}
