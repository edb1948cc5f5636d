//! All indicators of one symbol in one timeframe.

use super::{
    Adx, Atr, Bands, Bollinger, Ema, EmaZ, RealisedVol, Regime, RegimeLimits, RegimeTracker, Rsi,
    Vwap,
};
use crate::base::time::WallNs;
use crate::base::units::{Px, Qty};
use crate::model::Bar;

/// One preset per regime.
pub const PRESET_COUNT: usize = Regime::ALL.len();

/// Periods, in bars. The defaults are those operators know.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IndicatorConfig {
    pub ema: u16,
    pub rsi: u16,
    pub atr: u16,
    pub adx: u16,
    pub z_fast: u16,
    pub z_slow: u16,
    pub z_window: u16, // tidy-ok: counted in bars
    pub bollinger: u16,
    pub vol_window: u16, // tidy-ok: counted in bars
    /// Fast and slow EMA of each regime's preset, by `Regime::index`.
    pub preset_ema: [[u16; 2]; PRESET_COUNT],
    pub regime: RegimeLimits,
}
impl Default for IndicatorConfig {
    fn default() -> Self {
        Self {
            ema: 14,
            rsi: 14,
            atr: 14,
            adx: 14,
            z_fast: 3,
            z_slow: 7,
            z_window: 200,
            bollinger: 20,
            vol_window: 60,
            preset_ema: [[12, 55], [9, 21], [12, 34]],
            regime: RegimeLimits::default(),
        }
    }
}
impl IndicatorConfig {
    /// Bars until every value is there.
    pub fn warmup_bars(&self) -> u32 {
        let longest = self.preset_ema.iter().flatten().copied().max().unwrap_or(0);
        [
            self.ema,
            self.rsi + 1,
            self.atr,
            2 * self.adx,
            self.z_window,
            self.bollinger,
            self.vol_window + 1,
            longest,
        ]
        .into_iter()
        .max()
        .map_or(0, u32::from)
    }
}

/// The bar that forms, as far as indicators need it. Its first price is not known where the mouth
/// merged trades, and no indicator asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forming {
    /// A time inside the bar.
    pub at: WallNs,
    pub high: Px,
    pub low: Px,
    pub last: Px,
    pub volume: Qty,
    pub trades: u32,
}

/// Values at one moment: of the committed bars, or with the forming bar on top. `None` = not warm.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Indicators {
    /// Bars committed.
    pub bars: u32,
    /// Whether a forming bar is in these values.
    pub is_provisional: bool,
    /// Close of the newest bar in these values; 0 before the first.
    pub price: f64,
    pub ema: Option<f64>,
    /// Fast and slow, by `Regime::index`.
    pub preset_ema: [Option<[f64; 2]>; PRESET_COUNT],
    /// 0 … 100.
    pub rsi: Option<f64>,
    /// Price units.
    pub atr: Option<f64>,
    /// 0 … 100.
    pub adx: Option<f64>,
    pub ema_z: Option<f64>,
    pub bollinger: Option<Bands>,
    pub vwap: Option<f64>,
    /// Ratio per bar.
    pub realised_vol: Option<f64>,
    /// Of the committed bars only: it changes when bars close.
    pub regime: Regime,
}

/// See the file's head.
#[derive(Clone, Debug)]
pub struct IndicatorSet {
    ema: Ema,
    preset_ema: [[Ema; 2]; PRESET_COUNT],
    rsi: Rsi,
    atr: Atr,
    adx: Adx,
    ema_z: EmaZ,
    bollinger: Bollinger,
    vwap: Vwap,
    vol: RealisedVol,
    regime: RegimeTracker,
    limits: RegimeLimits,
    price: f64,
    bars: u32,
}

impl IndicatorSet {
    pub fn new(config: &IndicatorConfig) -> Self {
        Self {
            ema: Ema::new(config.ema),
            preset_ema: config.preset_ema.map(|pair| pair.map(Ema::new)),
            rsi: Rsi::new(config.rsi),
            atr: Atr::new(config.atr),
            adx: Adx::new(config.adx),
            ema_z: EmaZ::new(config.z_fast, config.z_slow, config.z_window),
            bollinger: Bollinger::new(config.bollinger),
            vwap: Vwap::default(),
            vol: RealisedVol::new(config.vol_window),
            regime: RegimeTracker::default(),
            limits: config.regime,
            price: 0.0,
            bars: 0,
        }
    }

    /// Forgets every bar, keeping the windows' memory. `config` is the one it was made with.
    pub fn reset(&mut self, config: &IndicatorConfig) {
        self.ema_z.reset();
        self.bollinger.reset();
        self.vol.reset();
        self.ema = Ema::new(config.ema);
        self.preset_ema = config.preset_ema.map(|pair| pair.map(Ema::new));
        self.rsi = Rsi::new(config.rsi);
        self.atr = Atr::new(config.atr);
        self.adx = Adx::new(config.adx);
        self.vwap = Vwap::default();
        self.regime = RegimeTracker::default();
        (self.price, self.bars) = (0.0, 0);
    }

    /// Counts a closed bar, once.
    pub fn commit(&mut self, bar: &Bar) {
        let (high, low, close) = (bar.high.to_f64(), bar.low.to_f64(), bar.close.to_f64());
        self.ema.update(close);
        for ema in self.preset_ema.iter_mut().flatten() {
            ema.update(close);
        }
        self.rsi.update(close);
        self.atr.update(high, low, close);
        self.adx.update(high, low);
        self.ema_z.update(close);
        self.bollinger.update(bar.close);
        self.vwap.update(bar.open_at, bar.high, bar.low, bar.close, bar.volume);
        self.vol.update(close);
        self.price = close;
        self.bars = self.bars.saturating_add(1);
        self.regime.on_bar(self.limits.classify(self.adx.value(), self.ema_z.value()));
    }

    /// Values of the committed bars.
    pub fn committed(&self) -> Indicators {
        Indicators {
            bars: self.bars,
            is_provisional: false,
            price: self.price,
            ema: self.ema.value().filter(|_| self.ema.is_warm()),
            preset_ema: self.preset_ema.map(|[fast, slow]| {
                if slow.is_warm() && fast.is_warm() {
                    Some([fast.value()?, slow.value()?])
                } else {
                    None
                }
            }),
            rsi: self.rsi.value(),
            atr: self.atr.value(),
            adx: self.adx.value(),
            ema_z: self.ema_z.value(),
            bollinger: self.bollinger.value(),
            vwap: self.vwap.value(),
            realised_vol: self.vol.value(),
            regime: self.regime.current(),
        }
    }

    /// Values as if the forming bar closed now. Commits nothing. Whether an EMA is warm is told by
    /// the committed bars alone.
    pub fn provisional(&self, forming: &Forming) -> Indicators {
        let close = forming.last.to_f64();
        let (high, low) = (forming.high.to_f64(), forming.low.to_f64());
        Indicators {
            bars: self.bars,
            is_provisional: true,
            price: close,
            ema: self.ema.is_warm().then(|| self.ema.provisional(close)),
            preset_ema: self.preset_ema.map(|[fast, slow]| {
                (fast.is_warm() && slow.is_warm())
                    .then(|| [fast.provisional(close), slow.provisional(close)])
            }),
            rsi: self.rsi.provisional(close),
            atr: self.atr.provisional(high, low, close),
            adx: self.adx.provisional(high, low),
            ema_z: self.ema_z.provisional(close),
            bollinger: self.bollinger.provisional(forming.last),
            vwap: self.vwap.provisional(
                forming.at,
                forming.high,
                forming.low,
                forming.last,
                forming.volume,
            ),
            realised_vol: self.vol.provisional(close),
            regime: self.regime.current(),
        }
    }
}
