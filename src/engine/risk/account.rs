//! The guards that remember: P&L of the day and its peak, streaks, pauses, trades of the day,
//! hours, volatility. Everything is worked out when it changes, so that an order only reads a set
//! of bits. Money is in 1e-16 of the quote currency: products are exact and nothing is divided on
//! the way of a mark. All quote currencies count as one, as in `exposure_max`.

use super::config::AccountLimits;
use super::guards::{Guard, GuardMode};
use super::memory::{AccountMemory, BracketMemory, MEMORY_VERSION, SymbolMemory};
use crate::base::time::{MonoNs, SpanNs, WallNs};
use crate::base::units::{Px, Qty, Quote, Side, UNIT_SCALE};
use crate::base::zone::MINUTE_NS;
use crate::engine::positions::Position;
use crate::model::{Instrument, WalletKind};

/// Pauses of the account that end by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    Cooldown,
    LossStreak,
    RejectStreak,
    Foreign,
}
impl Pause {
    const ALL: [Pause; 4] =
        [Pause::Cooldown, Pause::LossStreak, Pause::RejectStreak, Pause::Foreign];
    const fn guard(self) -> Guard {
        match self {
            Pause::Cooldown => Guard::Cooldown,
            Pause::LossStreak => Guard::LossStreak,
            Pause::RejectStreak => Guard::RejectStreak,
            Pause::Foreign => Guard::ForeignActivity,
        }
    }
}

/// Guards that trip on a loss, by bit.
const LOSSES: u64 = Guard::DailyLoss.bit() | Guard::Drawdown.bit();
/// Stretches of the volatility window.
const STRETCHES: usize = 8;

/// What is held, as the last mark sees it.
#[derive(Clone, Copy, Debug, Default)]
struct Worth {
    qty: i64,
    /// 0 = no mark yet.
    mid: i64,
    cost: i128,
    open: i128,
    realised: i128,
    /// Realised when the symbol was flat last.
    flat_at: i128,
    /// A round trip has ended and waits for its fee.
    ended: bool,
}

/// Highest and lowest middle of the window, by stretch.
#[derive(Clone, Copy, Debug)]
struct Range {
    high: i64,
    low: i64,
    turn_at: MonoNs,
    next: usize,
    highs: [i64; STRETCHES],
    lows: [i64; STRETCHES],
}
impl Range {
    /// Nothing seen. `turn_at` = never: not asked for.
    const fn new(turn_at: MonoNs) -> Range {
        let (high, low) = if turn_at.0 == 0 { (0, i64::MAX) } else { (i64::MAX, 0) };
        let (highs, lows) = ([0; STRETCHES], [i64::MAX; STRETCHES]);
        Range { high, low, turn_at, next: 0, highs, lows }
    }
    fn note(&mut self, mid: i64, now: MonoNs, stretch: SpanNs) {
        let gap = (now - self.turn_at).0;
        if gap >= 0 {
            let turns = (gap / stretch.0.max(1) + 1).min(STRETCHES as i64);
            for _ in 0..turns {
                self.next = (self.next + 1) % STRETCHES;
                (self.highs[self.next], self.lows[self.next]) = (0, i64::MAX);
            }
            self.turn_at = now + stretch;
        }
        self.highs[self.next] = self.highs[self.next].max(mid);
        self.lows[self.next] = self.lows[self.next].min(mid);
        self.high = self.highs.iter().copied().max().unwrap_or(mid);
        self.low = self.lows.iter().copied().min().unwrap_or(mid);
    }
}

/// What a trip asks of the stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tripped(pub(super) Guard);

pub(super) struct Account {
    limits: AccountLimits,
    modes: [GuardMode; Guard::COUNT],
    wallet_kind: WalletKind,
    worth: Box<[Worth]>,
    ranges: Box<[Range]>,
    symbols: Box<[SymbolMemory]>,
    symbol_gates: Box<[u64]>,
    /// Guards that object to every entry now; those that are off are never among them.
    gates: u64,
    enabled: u64,
    memory: AccountMemory,
    /// P&L: of earlier runs, of this one realised, and of what is open.
    total: i128,
    carried: i128,
    /// At or below it something trips.
    floor: i128,
    /// Symbols held without a mark.
    unvalued: usize,
    /// The venue has told the wallet since the account stream began.
    wallet_told: bool,
    /// What earlier runs wrote waits to be compared with the venue.
    joining: bool,
    /// Open P&L as remembered, until it is known again.
    open_before: i128,
    /// Next moment of the wall clock at which something ends or begins.
    next_at: WallNs,
    trips: [u32; Guard::COUNT],
    /// To be written down: 0 nothing, 1 at the next beat, 2 before the next command.
    dirty: u8,
    dirty_symbols: bool,
}

impl Account {
    pub(super) fn new(
        limits: AccountLimits,
        modes: [GuardMode; Guard::COUNT],
        wallet_kind: WalletKind,
        instruments: &[Instrument],
    ) -> Self {
        let watched = modes[Guard::Volatility as usize] != GuardMode::Off;
        let turn_at = if watched { MonoNs(0) } else { MonoNs(u64::MAX) };
        let count = instruments.len();
        let symbols =
            instruments.iter().map(|row| SymbolMemory { name: row.name, ..Default::default() });
        let mut account = Self {
            limits,
            modes,
            wallet_kind,
            worth: vec![Worth::default(); count].into_boxed_slice(),
            ranges: vec![Range::new(turn_at); count].into_boxed_slice(),
            symbols: symbols.collect(),
            symbol_gates: vec![0; count].into_boxed_slice(),
            gates: 0,
            enabled: Guard::ALL
                .into_iter()
                .filter(|guard| modes[*guard as usize] != GuardMode::Off)
                .fold(0, |all, guard| all | guard.bit()),
            memory: AccountMemory { version: MEMORY_VERSION, day: i64::MIN, ..Default::default() },
            total: 0,
            carried: 0,
            floor: i128::MIN,
            unvalued: 0,
            wallet_told: false,
            joining: false,
            open_before: 0,
            next_at: WallNs(i64::MIN),
            trips: [0; Guard::COUNT],
            dirty: 0,
            dirty_symbols: false,
        };
        account.regate();
        account
    }
    /// Takes over what earlier runs wrote. Symbols are found by name.
    pub(super) fn recall(&mut self, account: &AccountMemory, symbols: &[SymbolMemory]) {
        self.memory = AccountMemory { version: MEMORY_VERSION, ..*account };
        // In a spot wallet the position of an earlier run is a balance now: its open P&L stays as
        // it was.
        let spot = self.wallet_kind == WalletKind::Exchange;
        self.carried = account.realised + if spot { account.open } else { 0 };
        self.open_before = if spot { 0 } else { account.open };
        self.total = self.carried;
        self.joining = true;
        for row in &mut self.symbols {
            if let Some(known) = symbols.iter().find(|known| known.name == row.name) {
                *row = *known;
            }
        }
        self.next_at = WallNs(i64::MIN);
        self.regate();
    }

    // ---- what the stage reads ----

    #[inline(always)]
    pub(super) fn gates(&self, index: usize) -> u64 {
        self.gates | self.symbol_gates[index]
    }
    /// Whether the guard objects for the account or for any symbol.
    pub(super) fn gates_any(&self, guard: Guard) -> bool {
        let all = self.symbol_gates.iter().fold(self.gates, |all, each| all | each);
        all & guard.bit() != 0
    }
    #[inline(always)]
    pub(super) fn is_due(&self, wall: WallNs) -> bool {
        wall >= self.next_at
    }
    #[inline(always)]
    pub(super) fn dirty(&self) -> u8 {
        self.dirty
    }
    #[inline(always)]
    pub(super) fn trades_day(&self) -> u32 {
        self.memory.trades_day
    }
    #[inline(always)]
    pub(super) fn symbol_trades_day(&self, index: usize) -> u32 {
        self.symbols[index].trades_day
    }
    pub(super) fn limits(&self) -> &AccountLimits {
        &self.limits
    }
    pub(super) fn memory(&self) -> &AccountMemory {
        &self.memory
    }
    pub(super) fn symbols(&self) -> &[SymbolMemory] {
        &self.symbols
    }
    pub(super) fn trips(&self) -> [u32; Guard::COUNT] {
        self.trips
    }
    /// True where a loss guard that is on has tripped: entries are closed by rank, too.
    #[inline(always)]
    pub(super) fn is_tripped(&self) -> bool {
        self.memory.tripped & LOSSES != 0 && self.tripped_on()
    }
    #[cold]
    fn tripped_on(&self) -> bool {
        let on = |guard: Guard| {
            self.memory.tripped & guard.bit() != 0 && self.modes[guard as usize] == GuardMode::On
        };
        on(Guard::DailyLoss) || on(Guard::Drawdown)
    }
    /// Money in the wallets and in what is open; `None` = not known, which is not zero.
    pub(super) fn equity(&self) -> Option<i128> {
        let open = self.worth.iter().map(|row| row.open).sum::<i128>();
        let spot = self.wallet_kind == WalletKind::Exchange;
        let wallet = self.memory.wallet.filter(|_| self.unvalued == 0 && self.wallet_told)?;
        Some(wallet + if spot { 0 } else { open })
    }
    /// P&L of the day, if all that is held has a price.
    pub(super) fn day_pnl(&self) -> Option<i128> {
        (self.unvalued == 0 && !self.joining).then(|| self.total - self.memory.day_start)
    }
    pub(super) fn drawdown(&self) -> Option<i128> {
        (self.unvalued == 0 && !self.joining).then(|| self.memory.peak - self.total)
    }
    /// Loss of the day at which it trips.
    pub(super) fn day_limit(&self) -> i128 {
        limit(self.limits.daily_loss_max, self.limits.daily_loss_max_pct, self.memory.day_equity)
    }
    pub(super) fn drawdown_limit(&self) -> i128 {
        let at_peak =
            self.memory.day_equity.map(|day| day + self.memory.peak - self.memory.day_start);
        limit(self.limits.drawdown_max, self.limits.drawdown_max_pct, at_peak)
    }
    /// Middle range of the volatility window, 1e-4 of the price.
    pub(super) fn range_bps(&self, index: usize) -> Option<i64> {
        let range = &self.ranges[index];
        let seen = range.low > 0 && range.high >= range.low && range.high != i64::MAX;
        seen.then(|| {
            ((i128::from(range.high) - i128::from(range.low)) * 10_000 / i128::from(range.low))
                as i64
        })
    }
    pub(super) fn is_open_now(&self, wall: WallNs) -> bool {
        let (weekday, minute) = self.limits.zone.week_minute(wall);
        self.limits.windows.iter().any(|window| window.contains(weekday, minute))
    }
    pub(super) fn pause_left_s(&self, guard: Guard, index: Option<usize>, wall: WallNs) -> i64 {
        let until = match (guard, index) {
            (Guard::Cooldown, Some(index)) => self.symbols[index].cooldown_until,
            _ => {
                let pause = Pause::ALL.into_iter().find(|pause| pause.guard() == guard);
                pause.map_or(WallNs(0), |pause| self.memory.until[pause as usize])
            }
        };
        ((until - wall).0 / 1_000_000_000).max(0)
    }

    // ---- what happens ----

    /// A middle of a book in step. True where the stage must look closer.
    #[inline(always)]
    pub(super) fn on_mid(&mut self, index: usize, mid: Px, now: MonoNs) -> bool {
        let mid = mid.raw();
        let row = &mut self.worth[index];
        let mut look = false;
        if row.mid != mid {
            if row.qty != 0 {
                if row.mid == 0 {
                    self.unvalued -= 1;
                    look = true;
                }
                let open = i128::from(row.qty) * i128::from(mid) - row.cost;
                self.total += open - row.open;
                row.open = open;
                look |= self.total <= self.floor || self.total > self.memory.peak;
            }
            row.mid = mid;
        }
        let range = &self.ranges[index];
        look || mid > range.high || mid < range.low || now >= range.turn_at
    }
    /// The closer look.
    #[cold]
    pub(super) fn look(&mut self, index: usize, now: MonoNs, wall: WallNs) -> Option<Tripped> {
        if self.gates & Guard::UnknownEquity.bit() != 0 {
            self.regate();
        }
        let mode = self.modes[Guard::Volatility as usize];
        if mode != GuardMode::Off {
            let stretch = SpanNs::from_ms(i64::from(self.limits.volatility_window_ms));
            let stretch = SpanNs(stretch.0 / STRETCHES as i64);
            let range = &mut self.ranges[index];
            range.note(self.worth[index].mid, now, stretch);
            // In 1e-12 of the price, since the limit is in 1e-8 of a basis point.
            let moved = i128::from(range.high - range.low) * 1_000_000_000_000;
            let most = i128::from(range.low) * i128::from(self.limits.volatility_max_bps);
            let symbol = &mut self.symbols[index];
            if moved > most {
                let until = wall + SpanNs::from_s(i64::from(self.limits.volatility_pause_s));
                self.trips[Guard::Volatility as usize] += u32::from(symbol.volatile_until <= wall);
                // Written once a second at most: it moves on with each mark.
                if (until - symbol.volatile_until).0 >= 1_000_000_000 {
                    symbol.volatile_until = until;
                    self.touch_symbol();
                    self.regate_symbol(index, wall);
                    self.next_at = self.next_at.min(until);
                }
            }
        }
        self.judge(wall)
    }
    /// Position or fees of a symbol changed. `settled`: the message says the fee of its trade.
    pub(super) fn on_position(
        &mut self,
        index: usize,
        position: &Position,
        settled: bool,
        wall: WallNs,
    ) -> Option<Tripped> {
        let row = &mut self.worth[index];
        let (qty, realised) = (position.qty.raw(), position.realised_e16(self.wallet_kind));
        let moved = qty != row.qty;
        if !moved && realised == row.realised && position.cost_e16() == row.cost && !settled {
            return None;
        }
        // A round trip that waited for its fee has waited long enough when the next trade comes.
        if row.ended && moved {
            self.end_round_trip(index, wall);
        }
        let row = &mut self.worth[index];
        let left = row.qty != 0 && (qty == 0 || (qty > 0) != (row.qty > 0));
        row.ended |= left;
        let missing = |qty: i64| usize::from(qty != 0 && row.mid == 0);
        self.unvalued = self.unvalued + missing(qty) - missing(row.qty);
        self.total += realised - row.realised;
        (row.qty, row.realised, row.cost) = (qty, realised, position.cost_e16());
        let open = if qty == 0 || row.mid == 0 {
            0
        } else {
            i128::from(qty) * i128::from(row.mid) - row.cost
        };
        self.total += open - row.open;
        row.open = open;
        if row.ended && settled {
            self.end_round_trip(index, wall);
        }
        self.regate();
        self.dirty = 2;
        self.judge(wall)
    }
    /// So many orders of a symbol got their first fill.
    pub(super) fn on_trades(&mut self, index: Option<usize>, count: u64) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.memory.trades_day = self.memory.trades_day.saturating_add(count);
        if let Some(row) = index.and_then(|index| self.symbols.get_mut(index)) {
            row.trades_day = row.trades_day.saturating_add(count);
            self.touch_symbol();
        }
        self.dirty = 2;
    }
    /// What the wallets are worth, 1e-16 of the equity currency; `None` = not known.
    pub(super) fn on_wallets(&mut self, worth: Option<i128>, wall: WallNs) -> Option<Tripped> {
        let now = worth?;
        if self.joining {
            // Money that went while nobody looked counts as lost; money that came does not count.
            let gone = self.memory.wallet.map_or(0, |before| (now - before).min(0));
            self.carried += gone;
            self.total += gone;
            self.joining = false;
        }
        if self.memory.wallet != worth {
            self.memory.wallet = worth;
            self.dirty = 2;
        }
        self.wallet_told = true;
        self.regate();
        self.judge(wall)
    }
    /// The account stream is gone or new: what it said does not hold any more.
    pub(super) fn forget_wallets(&mut self) {
        self.wallet_told = false;
        self.regate();
    }
    pub(super) fn is_joining(&self) -> bool {
        self.joining
    }
    /// The account is reconciled: what the wallets have not told until now they will not tell.
    pub(super) fn end_joining(&mut self, wall: WallNs) -> Option<Tripped> {
        if !self.joining {
            return None;
        }
        self.joining = false;
        self.regate();
        self.judge(wall)
    }
    pub(super) fn on_reject(&mut self, wall: WallNs) {
        self.memory.reject_streak = self.memory.reject_streak.saturating_add(1);
        if self.memory.reject_streak >= self.limits.reject_streak_max {
            self.memory.reject_streak = 0;
            self.pause(Pause::RejectStreak, self.limits.cooldown_s, wall);
        }
        self.dirty = 2;
    }
    pub(super) fn on_accept(&mut self) {
        if self.memory.reject_streak != 0 {
            self.memory.reject_streak = 0;
            self.dirty = self.dirty.max(1);
        }
    }
    pub(super) fn on_foreign(&mut self, wall: WallNs) {
        self.pause(Pause::Foreign, self.limits.foreign_pause_s, wall);
    }
    /// The same order too often: closed until a person opens it. Only where the guard is on.
    pub(super) fn on_repeat(&mut self, index: usize) {
        if self.modes[Guard::Repeat as usize] == GuardMode::On && !self.symbols[index].repeated {
            self.symbols[index].repeated = true;
            self.trips[Guard::Repeat as usize] += 1;
            self.symbol_gates[index] |= Guard::Repeat.bit();
            self.touch_symbol();
        }
    }
    pub(super) fn set_flattening(&mut self, index: usize, flattening: bool) {
        if self.symbols[index].flattening != flattening {
            self.symbols[index].flattening = flattening;
            self.touch_symbol();
        }
    }
    /// What protects positions of one side from now on. True where it is news.
    pub(super) fn set_bracket(&mut self, index: usize, side: Side, is: BracketMemory) -> bool {
        let row = &mut self.symbols[index].brackets[side as usize];
        if *row == is {
            return false;
        }
        *row = is;
        self.touch_symbol();
        true
    }
    /// The symbol's position stands unprotected, or does no longer. Closes its entries where the
    /// guard is on.
    pub(super) fn set_naked(&mut self, index: usize, is_naked: bool) {
        let bit = Guard::NakedPosition.bit() & self.enabled;
        let gates = &mut self.symbol_gates[index];
        if is_naked {
            self.trips[Guard::NakedPosition as usize] += u32::from(*gates & bit == 0);
            *gates |= bit;
        } else {
            *gates &= !bit;
        }
    }
    /// Rank and reason, which the stage holds.
    pub(super) fn note(&mut self, change: impl FnOnce(&mut AccountMemory)) {
        let before = self.memory;
        change(&mut self.memory);
        if self.memory != before {
            self.dirty = 2;
        }
    }
    /// A person clears everything that has tripped; the day and the peak begin anew from here.
    pub(super) fn reset(&mut self, wall: WallNs) {
        self.memory.tripped = 0;
        self.memory.until = [WallNs(0); 4];
        (self.memory.loss_streak, self.memory.reject_streak) = (0, 0);
        (self.memory.day_start, self.memory.peak) = (self.total, self.total);
        self.memory.day_equity = self.equity();
        for row in &mut self.symbols {
            (row.repeated, row.flattening) = (false, false);
            (row.cooldown_until, row.volatile_until) = (WallNs(0), WallNs(0));
        }
        self.touch_symbol();
        self.on_clock(wall);
    }
    /// Days, hours and pauses that end.
    #[cold]
    pub(super) fn on_clock(&mut self, wall: WallNs) {
        if wall.0 <= 0 {
            return;
        }
        let zone = self.limits.zone;
        let day = zone.day(wall);
        if self.memory.day < day {
            let first = self.memory.day == i64::MIN;
            self.memory.day = day;
            self.memory.trades_day = 0;
            self.memory.tripped &= !Guard::DailyLoss.bit();
            // What is open is not priced yet at a restart: then as it was when last seen.
            let open = if self.joining { self.open_before } else { 0 };
            self.memory.day_start = self.total + open;
            self.memory.day_equity = self.equity().filter(|_| !self.joining);
            if first {
                self.memory.peak = self.memory.day_start;
            }
            for row in &mut self.symbols {
                row.trades_day = 0;
            }
            self.touch_symbol();
        }
        let mut next = zone.next_day(wall);
        for row in &mut self.symbols {
            if row.day < day {
                (row.day, row.trades_day) = (day, 0);
                self.dirty_symbols = true;
            }
            for until in [row.cooldown_until, row.volatile_until] {
                next = if until > wall { next.min(until) } else { next };
            }
        }
        for pause in Pause::ALL {
            let until = self.memory.until[pause as usize];
            if until > wall {
                next = next.min(until);
            } else {
                self.memory.tripped &= !pause.guard().bit();
            }
        }
        let minute = WallNs((wall.0 / MINUTE_NS + 1) * MINUTE_NS);
        let mut tripped = self.memory.tripped;
        if self.is_open_now(wall) {
            tripped &= !Guard::TradingWindow.bit();
        } else {
            tripped |= Guard::TradingWindow.bit();
        }
        self.memory.tripped = tripped;
        self.next_at = next.min(minute);
        self.refloor();
        self.regate();
        for index in 0..self.symbols.len() {
            self.regate_symbol(index, wall);
        }
        self.dirty = self.dirty.max(1);
    }
    /// What is to be written down now.
    pub(super) fn take_dirty(&mut self, wall: WallNs) -> (AccountMemory, bool) {
        self.memory.wall = wall;
        let realised = self.worth.iter().map(|row| row.realised).sum::<i128>();
        self.memory.realised = self.carried + realised;
        if self.unvalued == 0 && !self.joining {
            self.memory.open = self.worth.iter().map(|row| row.open).sum();
        }
        self.dirty = 0;
        (self.memory, std::mem::take(&mut self.dirty_symbols))
    }

    // ---- inside ----

    fn touch_symbol(&mut self) {
        self.dirty = 2;
        self.dirty_symbols = true;
    }
    fn pause(&mut self, pause: Pause, for_s: u32, wall: WallNs) {
        let guard = pause.guard();
        if self.modes[guard as usize] == GuardMode::Off || for_s == 0 {
            return;
        }
        let until = wall + SpanNs::from_s(i64::from(for_s));
        let row = &mut self.memory.until[pause as usize];
        // Signs of foreign activity come in bursts: one write a second will do.
        if (until - *row).0 < 1_000_000_000 {
            return;
        }
        *row = until;
        self.trips[guard as usize] += u32::from(self.memory.tripped & guard.bit() == 0);
        self.memory.tripped |= guard.bit();
        self.next_at = self.next_at.min(until);
        self.dirty = 2;
        self.regate();
    }
    fn end_round_trip(&mut self, index: usize, wall: WallNs) {
        let row = &mut self.worth[index];
        row.ended = false;
        let result = row.realised - row.flat_at;
        row.flat_at = row.realised;
        self.dirty = 2;
        if result > 0 {
            self.memory.loss_streak = 0;
        }
        if result >= 0 {
            return;
        }
        self.memory.loss_streak = self.memory.loss_streak.saturating_add(1);
        let for_s = self.limits.cooldown_symbol_s;
        if for_s > 0 && self.modes[Guard::Cooldown as usize] != GuardMode::Off {
            let until = wall + SpanNs::from_s(i64::from(for_s));
            self.symbols[index].cooldown_until = until;
            self.trips[Guard::Cooldown as usize] += 1;
            self.next_at = self.next_at.min(until);
            self.touch_symbol();
            self.regate_symbol(index, wall);
        }
        if self.memory.loss_streak >= self.limits.loss_streak_max {
            self.memory.loss_streak = 0;
            self.pause(Pause::LossStreak, self.limits.cooldown_s, wall);
        }
    }
    /// Compares P&L with its limits.
    fn judge(&mut self, wall: WallNs) -> Option<Tripped> {
        if self.unvalued > 0 || self.joining || wall.0 <= 0 {
            return None;
        }
        if self.memory.day_equity.is_none() && self.wallet_told {
            let lost = self.memory.day_start - self.total;
            self.memory.day_equity = self.equity().map(|now| now + lost);
            self.dirty = self.dirty.max(2);
        }
        if self.total > self.memory.peak {
            self.memory.peak = self.total;
            self.dirty = self.dirty.max(1);
        }
        self.refloor();
        if self.total > self.floor {
            return None;
        }
        let mut first = None;
        for (guard, floor) in self.floors() {
            let open = self.memory.tripped & guard.bit() == 0;
            if open && self.modes[guard as usize] != GuardMode::Off && self.total <= floor {
                self.memory.tripped |= guard.bit();
                self.trips[guard as usize] += 1;
                if self.modes[guard as usize] == GuardMode::On {
                    first = first.or(Some(Tripped(guard)));
                    self.pause(Pause::Cooldown, self.limits.cooldown_s, wall);
                }
                self.dirty = 2;
            }
        }
        self.refloor();
        self.regate();
        first
    }
    fn floors(&self) -> [(Guard, i128); 2] {
        [
            (Guard::DailyLoss, self.memory.day_start - self.day_limit()),
            (Guard::Drawdown, self.memory.peak - self.drawdown_limit()),
        ]
    }
    fn refloor(&mut self) {
        self.floor = i128::MIN;
        for (guard, floor) in self.floors() {
            let open = self.memory.tripped & guard.bit() == 0;
            if open && self.modes[guard as usize] != GuardMode::Off {
                self.floor = self.floor.max(floor);
            }
        }
    }
    fn regate(&mut self) {
        self.gates = self.memory.tripped;
        if self.unvalued > 0 || self.joining || !self.wallet_told {
            self.gates |= Guard::UnknownEquity.bit();
        }
        self.gates &= self.enabled;
    }
    fn regate_symbol(&mut self, index: usize, wall: WallNs) {
        let row = &self.symbols[index];
        let set = |on: bool, guard: Guard| if on { guard.bit() } else { 0 };
        self.symbol_gates[index] = set(row.cooldown_until > wall, Guard::Cooldown)
            | set(row.volatile_until > wall, Guard::Volatility)
            | set(row.repeated, Guard::Repeat)
            | self.symbol_gates[index] & Guard::NakedPosition.bit();
        self.symbol_gates[index] &= self.enabled;
    }
}

/// The stricter of a sum and of a share of equity, 1e-16. The share is in 1e-8 of a per cent.
fn limit(sum: Quote, share: i64, equity: Option<i128>) -> i128 {
    let sum = i128::from(sum.raw()) * i128::from(UNIT_SCALE);
    match equity {
        Some(equity) => sum.min(equity.max(0) / 100 * i128::from(share) / i128::from(UNIT_SCALE)),
        None => sum,
    }
}
/// 1e-16 to 1e-8, away from zero where it is a loss: a report never looks better than it is.
pub(super) fn quote(wide: i128) -> Quote {
    let units = wide.div_euclid(i128::from(UNIT_SCALE));
    Quote::from_raw(units.clamp(i128::from(-i64::MAX), i128::from(i64::MAX)) as i64)
}
/// Balances as money, 1e-16.
pub(super) fn worth_of(balance: i64, px: Px) -> i128 {
    i128::from(Qty::from_raw(balance).raw()) * i128::from(px.raw())
}
