//! Series for tests: the recorded candles, and a made-up one that needs no file.

use crate::base::ids::SymbolId;
use crate::base::rng::Rng;
use crate::base::time::WallNs;
use crate::base::units::{Px, Qty};
use crate::model::{Bar, BarSource, Timeframe};
use std::io::BufRead;

/// The five candle files of the developer set.
pub const CANDLE_FILES: [&str; 5] = [
    "bitfinex-btcusd-1m-2016.csv.gz",
    "bitfinex-btcusd-1m-2017.csv.gz",
    "bitfinex-btcusd-1m-2018.csv.gz",
    "bitfinex-ethusd-1m-2017.csv.gz",
    "bitfinex-ethusd-1m-2018.csv.gz",
];

/// Lines of a gzip file beside the project.
pub fn lines(name: &str) -> impl Iterator<Item = String> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(name);
    let file = std::fs::File::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    std::io::BufReader::new(flate2::read::GzDecoder::new(file)).lines().map(|line| line.unwrap())
}

/// Rows of a candle file: `mts,open,close,high,low,volume`, close before high and low.
pub fn candles(name: &str) -> Vec<Bar> {
    lines(name)
        .skip(1)
        .map(|line| {
            let mut fields = line.split(',');
            let mut next = || fields.next().unwrap();
            let open_at = WallNs::from_ms(next().parse().unwrap());
            let mut px = || Px::parse(next()).unwrap();
            let (open, close, high, low) = (px(), px(), px(), px());
            Bar {
                symbol: SymbolId(0),
                timeframe: Timeframe::M1,
                source: BarSource::History,
                open_at,
                open,
                high,
                low,
                close,
                volume: Qty::parse(next()).unwrap(),
                trades: 0,
            }
        })
        .collect()
}

/// A random walk with calm, flat and wild stretches and missing minutes, over several days.
pub fn made_up(seed: u64, count: usize) -> Vec<Bar> {
    let mut rng = Rng::new(seed);
    let mut px = 6_500.0f64;
    let mut minute = 25_000_000i64;
    let mut bars = Vec::with_capacity(count);
    while bars.len() < count {
        minute += if rng.chance(1, 20) { rng.between(2, 90) } else { 1 };
        let stretch = bars.len() / 300 % 3;
        let step = [0.5, 0.0, 40.0][stretch];
        let open = px;
        px = (px + rng.normal() * step).max(10.0);
        let (high, low) =
            (open.max(px) + rng.unit_f64() * step, open.min(px) - rng.unit_f64() * step);
        let fixed = |value: f64| Px::from_f64((value * 10.0).round() / 10.0).unwrap();
        bars.push(Bar {
            symbol: SymbolId(0),
            timeframe: Timeframe::M1,
            source: BarSource::Trades,
            open_at: WallNs::from_ms(minute * 60_000),
            open: fixed(open),
            high: fixed(high),
            low: fixed(low),
            close: fixed(px),
            volume: Qty::from_raw(rng.between(1, 5_000_000_000)),
            trades: 1,
        });
    }
    bars
}
