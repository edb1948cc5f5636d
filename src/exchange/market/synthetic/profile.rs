//! What kinds of markets there are, and which kind an instrument is.
//!
//! The figures are measured: `MAJOR` on the recording of tBTCUSD of 2018-11-12, `MIDDLE`, `MINOR`
//! and `THIN` on tETHJPY, tCHZUST and tKNCBTC in the recording of eight pairs of 2021-04-05 (book
//! P0, 100 levels, and trades). `calibration_tests.rs` holds what comes out against what was
//! recorded. Prices move more than on the calm evening of the 2018 recording: as in the median hour
//! of the one-minute candles of that year.

use super::draw::{Quantiles, hash_of, scale};

/// A kind of market. Distances are in 1e-2 basis points, money in US cents, lives in batches of
/// changes ("what happened since the venue last published the book").
#[derive(Debug)]
pub struct Profile {
    /// Time between two batches, ms. The venue publishes a book's changes every 100 ms at most.
    pub batch_gap_ms: Quantiles,
    /// New orders in a batch, both sides, 1e-3.
    pub births_e3: i64,
    /// How long orders near the touch stay; those farther away stay longer.
    pub life: Quantiles,
    /// Distance at which orders stay twice as long.
    pub patience_e2: i64,
    /// From the nearest price allowed.
    pub distance_e2: Quantiles,
    pub size_cents: Quantiles,
    /// Every how many orders one stands on a round price, 1e-3.
    pub round_e3: u64,
    /// Orders rest a side at the start, apart from those at the touch and those of `junk`.
    pub crowd: usize,
    /// Nearest price to the fair one; 0 = one tick between bid and ask.
    pub half_spread_e2: i64,
    /// Orders that crowd at the best price: how many, and how long they stay.
    pub touch: Option<(Quantiles, Quantiles)>,
    /// Forgotten orders a side that never move, and where they are.
    pub junk: (usize, Quantiles),
    /// Mean time between first trades, ms.
    pub take_gap_ms: i64,
    /// Chance that a trade is followed by another one of its side soon, 1e-3.
    pub follow_e3: u64,
    pub follow_gap_ms: Quantiles,
    /// Chance in a batch that an order of the crowd is taken, not pulled in time, when the fair
    /// price moves past it, 1e-3.
    pub snipe_e3: u64,
    pub take_cents: Quantiles,
    /// Moves of its own, an hour, beside those of all markets together.
    pub moves_per_hour: i64,
    /// Share of all markets' moves, 1e-3.
    pub beta_e3: i64,
    /// Minutes of history without a trade, 1e-3.
    pub silent_minutes_e3: u64,
    /// Traded in a minute of history with trades.
    pub minute_cents: Quantiles,
}

/// Size of a move of a fair price.
pub const MOVE_E2: Quantiles =
    Quantiles(&[(0, 5), (300, 25), (500, 60), (750, 140), (900, 320), (990, 900), (1_000, 2_000)]);
/// How much more or less than usual happens in one batch, 1e-3: bots move whole ladders at once.
pub const BATCH_E3: Quantiles =
    Quantiles(&[(0, 200), (250, 550), (500, 900), (750, 1_300), (900, 1_800), (1_000, 2_600)]);
/// Activity of one market over some seconds and over about a minute, 1e-3.
pub const WOBBLE_E3: Quantiles =
    Quantiles(&[(0, 480), (100, 660), (500, 970), (900, 1_370), (1_000, 1_800)]);

const NO_JUNK: (usize, Quantiles) = (0, Quantiles(&[(0, 0), (1_000, 0)]));

pub static MAJOR: Profile = Profile {
    batch_gap_ms: Quantiles(&[
        (0, 200),
        (250, 200),
        (251, 300),
        (550, 300),
        (551, 400),
        (750, 400),
        (751, 500),
        (850, 500),
        (851, 600),
        (920, 600),
        (921, 700),
        (1_000, 1_000),
    ]),
    births_e3: 8_400,
    life: Quantiles(&[(0, 1), (600, 1), (690, 2), (820, 5), (925, 18), (985, 130), (1_000, 650)]),
    patience_e2: 1_050,
    distance_e2: Quantiles(&[
        (0, 8),
        (80, 140),
        (210, 380),
        (560, 940),
        (820, 2_000),
        (920, 3_000),
        (950, 3_900),
        (1_000, 8_000),
    ]),
    size_cents: Quantiles(&[
        (0, 1_000),
        (100, 10_000),
        (250, 90_000),
        (500, 300_000),
        (750, 1_100_000),
        (900, 3_000_000),
        (990, 8_000_000),
        (1_000, 20_000_000),
    ]),
    round_e3: 200,
    crowd: 210,
    half_spread_e2: 0,
    touch: Some((
        Quantiles(&[(0, 3), (500, 10), (900, 26), (1_000, 55)]),
        Quantiles(&[(0, 2), (100, 30), (500, 200), (900, 600), (1_000, 1_500)]),
    )),
    junk: NO_JUNK,
    take_gap_ms: 27_000,
    follow_e3: 780,
    follow_gap_ms: Quantiles(&[
        (0, 25),
        (150, 160),
        (350, 600),
        (600, 2_600),
        (850, 10_000),
        (1_000, 24_000),
    ]),
    snipe_e3: 250,
    take_cents: Quantiles(&[
        (0, 500),
        (100, 4_000),
        (250, 13_000),
        (500, 41_500),
        (750, 140_000),
        (900, 600_000),
        (970, 2_500_000),
        (990, 7_000_000),
        (1_000, 30_000_000),
    ]),
    moves_per_hour: 200,
    beta_e3: 1_000,
    silent_minutes_e3: 10,
    minute_cents: Quantiles(&[
        (0, 10_000),
        (100, 235_000),
        (500, 5_200_000),
        (900, 47_900_000),
        (1_000, 300_000_000),
    ]),
};

pub static MIDDLE: Profile = Profile {
    batch_gap_ms: Quantiles(&[
        (0, 100),
        (30, 100),
        (31, 200),
        (850, 200),
        (851, 300),
        (985, 300),
        (986, 400),
        (1_000, 500),
    ]),
    births_e3: 16_500,
    life: Quantiles(&[(0, 1), (250, 1), (450, 3), (650, 7), (850, 16), (970, 42), (1_000, 100)]),
    patience_e2: 2_800,
    distance_e2: Quantiles(&[
        (0, 0),
        (40, 60),
        (112, 300),
        (212, 600),
        (400, 1_400),
        (715, 2_900),
        (880, 4_600),
        (965, 6_600),
        (1_000, 11_000),
    ]),
    size_cents: Quantiles(&[
        (0, 5_000),
        (100, 50_000),
        (250, 250_000),
        (500, 900_000),
        (750, 2_600_000),
        (900, 6_500_000),
        (990, 18_000_000),
        (1_000, 40_000_000),
    ]),
    round_e3: 100,
    crowd: 260,
    half_spread_e2: 43,
    touch: None,
    junk: NO_JUNK,
    take_gap_ms: 30_000,
    follow_e3: 330,
    follow_gap_ms: Quantiles(&[(0, 20), (250, 120), (500, 600), (800, 2_500), (1_000, 8_000)]),
    snipe_e3: 60,
    take_cents: Quantiles(&[
        (0, 500),
        (100, 21_000),
        (500, 118_000),
        (900, 281_000),
        (990, 1_500_000),
        (1_000, 5_000_000),
    ]),
    moves_per_hour: 200,
    beta_e3: 1_200,
    silent_minutes_e3: 100,
    minute_cents: Quantiles(&[
        (0, 5_000),
        (100, 50_000),
        (500, 500_000),
        (900, 3_000_000),
        (1_000, 20_000_000),
    ]),
};

pub static MINOR: Profile = Profile {
    batch_gap_ms: Quantiles(&[
        (0, 100),
        (150, 100),
        (450, 200),
        (700, 300),
        (900, 500),
        (980, 1_500),
        (1_000, 3_000),
    ]),
    births_e3: 700,
    life: Quantiles(&[(0, 1), (250, 2), (500, 5), (750, 13), (900, 30), (1_000, 50)]),
    patience_e2: 20_000,
    distance_e2: Quantiles(&[(0, 0), (400, 150), (700, 700), (900, 1_800), (1_000, 4_000)]),
    size_cents: Quantiles(&[
        (0, 20_000),
        (400, 104_000),
        (700, 200_000),
        (900, 500_000),
        (1_000, 1_000_000),
    ]),
    round_e3: 0,
    crowd: 5,
    half_spread_e2: 850,
    touch: None,
    junk: (45, Quantiles(&[(0, 5_000), (150, 150_000), (450, 500_000), (1_000, 990_000)])),
    take_gap_ms: 400_000,
    follow_e3: 350,
    follow_gap_ms: Quantiles(&[(0, 20), (500, 400), (1_000, 60_000)]),
    snipe_e3: 2,
    take_cents: Quantiles(&[
        (0, 500),
        (100, 7_700),
        (500, 104_000),
        (900, 208_000),
        (1_000, 600_000),
    ]),
    moves_per_hour: 400,
    beta_e3: 1_400,
    silent_minutes_e3: 900,
    minute_cents: Quantiles(&[(0, 1_000), (500, 100_000), (1_000, 1_000_000)]),
};

pub static THIN: Profile = Profile {
    batch_gap_ms: Quantiles(&[
        (0, 190),
        (250, 200),
        (500, 400),
        (750, 1_900),
        (900, 5_000),
        (1_000, 11_000),
    ]),
    births_e3: 900,
    life: Quantiles(&[(0, 1), (250, 1), (500, 3), (750, 6), (900, 12), (1_000, 25)]),
    patience_e2: 20_000,
    distance_e2: Quantiles(&[(0, 0), (450, 250), (750, 3_000), (1_000, 15_000)]),
    size_cents: Quantiles(&[(0, 5_000), (400, 20_000), (800, 45_000), (1_000, 200_000)]),
    round_e3: 0,
    crowd: 3,
    half_spread_e2: 3_000,
    touch: None,
    junk: (32, Quantiles(&[(0, 20_000), (200, 300_000), (500, 800_000), (1_000, 990_000)])),
    take_gap_ms: 2_500_000,
    follow_e3: 200,
    follow_gap_ms: Quantiles(&[(0, 20), (500, 400), (1_000, 60_000)]),
    snipe_e3: 2,
    take_cents: Quantiles(&[(0, 500), (100, 900), (500, 9_000), (900, 40_000), (1_000, 200_000)]),
    moves_per_hour: 400,
    beta_e3: 1_500,
    silent_minutes_e3: 980,
    minute_cents: Quantiles(&[(0, 500), (500, 10_000), (1_000, 200_000)]),
};

/// What is known of an instrument before its market opens.
#[derive(Debug)]
pub struct Traits {
    pub profile: &'static Profile,
    /// Fair price at the start, 1e-8.
    pub px: i64,
    /// Value of one unit of the quote currency, 1e-8 US dollars.
    pub quote_usd: i64,
    /// Changes in a batch, 1e-3 of the profile's.
    pub pace_e3: i64,
}

/// US dollars, 1e-8, on 2021-04-05, the day of one of the recordings. Currencies that are not
/// listed get a price from their name.
const CURRENCIES: [(&str, i64); 24] = [
    ("USD", 100_000_000),
    ("UST", 100_000_000),
    ("EUR", 118_000_000),
    ("GBP", 139_000_000),
    ("JPY", 906_600),
    ("TRY", 12_300_000),
    ("BTC", 5_880_000_000_000),
    ("ETH", 209_310_000_000),
    ("ADA", 119_400_000),
    ("DOT", 4_318_000_000),
    ("SOL", 2_360_000_000),
    ("XRP", 82_500_000),
    ("LTC", 22_120_000_000),
    ("DOGE", 5_900_000),
    ("LINK", 3_210_000_000),
    ("AVAX", 3_070_000_000),
    ("TRX", 12_900_000),
    ("XLM", 48_300_000),
    ("EOS", 628_000_000),
    ("IOT", 187_000_000),
    ("XMR", 26_800_000_000),
    ("KNC", 340_400_000),
    ("CHZ", 46_730_000),
    ("ZRX", 182_600_000),
];

/// Currencies that trade a lot against dollars.
const BUSY: [&str; 13] =
    ["ADA", "DOT", "SOL", "XRP", "LTC", "DOGE", "LINK", "AVAX", "TRX", "XLM", "EOS", "IOT", "XMR"];

/// Smallest start price: below it, 1e-8 as the smallest step would leave no room for a book.
pub const PX_MIN: i64 = 5_000;

/// Base and quote of a name as the venue writes it, without the marks of derivatives.
fn currencies(name: &str) -> (&str, &str) {
    let pair = name.strip_prefix('t').unwrap_or(name);
    let parts = match pair.split_once(':') {
        Some(parts) => parts,
        None if pair.len() == 6 && pair.is_ascii() => pair.split_at(3),
        None => (pair, "USD"),
    };
    let plain = |currency| str::strip_suffix(currency, "F0").unwrap_or(currency);
    (plain(parts.0), plain(parts.1))
}

fn usd_of(currency: &str) -> i64 {
    let known = CURRENCIES.iter().find(|(name, _)| *name == currency);
    known.map_or_else(
        || {
            // 0.01 to 100 dollars, as many in each decade.
            let hash = hash_of(currency);
            let decade = 10i64.pow(6 + (hash % 4) as u32);
            decade + decade * ((hash >> 32) % 900) as i64 / 100
        },
        |(_, usd)| *usd,
    )
}

/// What an instrument is like, by its name.
pub fn traits_of(name: &str) -> Traits {
    let (base, quote) = currencies(name);
    let quote_usd = usd_of(quote);
    let px = scale(usd_of(base), 100_000_000, quote_usd).clamp(PX_MIN, i64::MAX / 1_000);
    let hash = hash_of(name) >> 16;
    let dollars = matches!(quote, "USD" | "UST");
    let (profile, pace_e3) = match (base, quote) {
        ("BTC" | "ETH", _) if dollars => (&MAJOR, 1_000),
        ("ETH", "JPY") => (&MIDDLE, 1_000),
        ("ADA" | "DOT", _) if dollars => (&MIDDLE, 250),
        ("BTC", _) | ("ETH", "BTC") => (&MIDDLE, 400),
        _ if dollars && BUSY.contains(&base) => (&MIDDLE, 100 + (hash % 200) as i64),
        ("CHZ", "UST") => (&MINOR, 1_000),
        ("KNC", "BTC") => (&THIN, 1_000),
        _ if hash.is_multiple_of(3) => (&MINOR, 500 + (hash % 700) as i64),
        _ => (&THIN, 300 + (hash % 900) as i64),
    };
    Traits { profile, px, quote_usd, pace_e3 }
}
