//! Which kind of market it is: trend, range, or neither.

/// The three regimes of `classic`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Regime {
    Trend = 0,
    Range = 1,
    /// Neither, or not known yet.
    #[default]
    Balanced = 2,
}
impl Regime {
    pub const ALL: [Regime; 3] = [Regime::Trend, Regime::Range, Regime::Balanced];
    pub const fn name(self) -> &'static str {
        match self {
            Regime::Trend => "trend",
            Regime::Range => "range",
            Regime::Balanced => "balanced",
        }
    }
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Borders between regimes. ADX is 0 … 100; z is used by its magnitude.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RegimeLimits {
    /// Trend at or above either.
    pub trend_adx_min: f64,
    pub trend_z_min: f64,
    /// Range at or below both.
    pub range_adx_max: f64,
    pub range_z_max: f64,
}
impl Default for RegimeLimits {
    fn default() -> Self {
        Self { trend_adx_min: 30.0, trend_z_min: 1.0, range_adx_max: 15.0, range_z_max: 0.5 }
    }
}
impl RegimeLimits {
    /// What one bar says; `None` while an indicator is not warm.
    pub fn classify(&self, adx: Option<f64>, z: Option<f64>) -> Option<Regime> {
        let (adx, z) = (adx?, z?.abs());
        Some(if adx >= self.trend_adx_min || z >= self.trend_z_min {
            Regime::Trend
        } else if adx <= self.range_adx_max && z <= self.range_z_max {
            Regime::Range
        } else {
            Regime::Balanced
        })
    }
}

/// Changes only when two bars in a row say the same new regime.
#[derive(Clone, Copy, Debug, Default)]
pub struct RegimeTracker {
    current: Regime,
    candidate: Option<Regime>,
    /// Changes so far.
    pub changes: u32,
}
impl RegimeTracker {
    pub fn current(&self) -> Regime {
        self.current
    }
    /// A bar closed; `None` keeps everything and breaks a row.
    pub fn on_bar(&mut self, said: Option<Regime>) -> Regime {
        if said.is_some_and(|said| said != self.current) && said == self.candidate {
            self.current = said.unwrap_or_default();
            self.candidate = None;
            self.changes += 1;
        } else {
            self.candidate = said.filter(|said| *said != self.current);
        }
        self.current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders_are_those_of_the_page() {
        let limits = RegimeLimits::default();
        let check = |adx, z, expected| {
            assert_eq!(limits.classify(Some(adx), Some(z)), Some(expected), "{adx} {z}");
        };
        check(30.0, 0.0, Regime::Trend);
        check(0.0, -1.0, Regime::Trend);
        check(15.0, 0.5, Regime::Range);
        check(15.0, -0.51, Regime::Balanced);
        check(15.1, 0.0, Regime::Balanced);
        check(29.9, 0.99, Regime::Balanced);
        assert_eq!(limits.classify(Some(50.0), None), None);
    }

    #[test]
    fn a_change_needs_two_bars_in_a_row() {
        use Regime::*;
        let mut tracker = RegimeTracker::default();
        let mut see = |said| tracker.on_bar(said);
        assert_eq!(see(Some(Trend)), Balanced);
        assert_eq!(see(Some(Range)), Balanced, "two different ones are no row");
        assert_eq!(see(Some(Balanced)), Balanced);
        assert_eq!(see(Some(Range)), Balanced);
        assert_eq!(see(None), Balanced);
        assert_eq!(see(Some(Range)), Balanced, "the row was broken");
        assert_eq!(see(Some(Range)), Range);
        assert_eq!(see(Some(Trend)), Range);
        assert_eq!(see(Some(Trend)), Trend);
        assert_eq!(tracker.changes, 2);
    }
}
