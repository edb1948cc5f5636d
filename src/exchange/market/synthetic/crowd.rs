//! One symbol: its fair price, the orders of the crowd around it, and the takers.

use super::super::Floor;
use super::draw::{Quantiles, WAIT_E3, count_of, hash_of, scale};
use super::profile::{BATCH_E3, PX_MIN, Profile, Traits, WOBBLE_E3, traits_of};
use super::weather::{Moves, Weather};
use crate::base::rng::Rng;
use crate::base::units::Side;
use crate::exchange::levels::{SIDES, side_index};
use crate::exchange::number::digit_step;

/// Significant digits of a price here.
const DIGITS: u32 = 5;
/// Basis points in 1e-2 in one whole.
const WHOLE_E2: i64 = 1_000_000;
/// Batches a forgotten order lives: for ever.
const FOR_EVER: i64 = i64::MAX / 4;
/// Orders of deep books nearer than this are smaller: basis points in 1e-2, and which part, 1e-3.
const NEAR_E2: i64 = 200;
const NEAR_PART_E3: i64 = 450;
/// Price points a side keeps, at least, where books are deep.
const LEVELS_MIN: usize = 115;
/// Fair prices stay below this, 1e-8.
const PX_MAX: i64 = i64::MAX / 1_000;
/// Mean times over which a market's own activity changes.
const WOBBLE_NS: [i64; 2] = [8_000_000_000, 90_000_000_000];
/// An order that is left on the wrong side of the fair price, an account's then, is taken: chance
/// in a batch, 1e-3.
const SNIPE_LEFT_E3: u64 = 500;
/// It is taken in bites: this part of a usual trade, 1e-2, and more the worse its price is.
const SNIPE_LEFT_E2: i64 = 25;
/// Prices worse than this by the fair one are not told apart, 1e-2 basis points.
const SNIPE_OFF_E2_MAX: i64 = 100_000;
/// Between two orders that take: as fast as they were seen to come.
const TAKE_GAP_NS_MIN: i64 = 21_000_000;
/// A follower takes from the same side as the one before, 1e-3.
const SAME_SIDE_E3: u64 = 880;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Near the fair price for a while.
    Ladder,
    /// At the best price, and nowhere else.
    Touch,
    /// Forgotten.
    Junk,
}

/// An order of the house as it was placed; it may be gone by now.
#[derive(Clone, Copy, Debug)]
struct Placed {
    id: u64,
    px: i64,
    /// Of the market's own clock.
    until_e3: i64,
    role: Role,
}

/// An order that is to be placed.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    side: Side,
    px: i64,
    /// Of a usual size, 1e-3.
    part_e3: i64,
    /// How long it stays.
    left_e3: i64,
    role: Role,
}

/// A price on the venue's grid: bids down, asks up.
pub fn on_grid(px: i64, side: Side) -> i64 {
    let step = digit_step(px, DIGITS);
    let below = px - px % step;
    match side {
        Side::Buy => below,
        Side::Sell if below == px => px,
        Side::Sell => below + step,
    }
}

pub fn moved(px: i64, by_e2: i64) -> i64 {
    px.saturating_add(scale(px, by_e2, WHOLE_E2)).clamp(PX_MIN, PX_MAX)
}

#[derive(Debug)]
pub struct Market {
    symbol: usize,
    traits: Traits,
    rng: Rng,
    /// Price that those who know agree on, 1e-8; it need not be on the grid.
    fair: i64,
    index_seen_e2: i64,
    moves: Moves,
    /// Counts batches, 1,000 for a usual one.
    clock_e3: i64,
    /// Activity over seconds and over a minute, 1e-3, and until when.
    wobbles: [(i64, i64); 2],
    orders: [Vec<Placed>; 2],
    /// Orders wanted at the touch.
    touch_wanted: [i64; 2],
    is_open: bool,
    batch_ns: i64,
    take_ns: i64,
    take_side: Side,
}

impl Market {
    pub fn new(symbol: usize, name: &str, seed: u64) -> Market {
        let traits = traits_of(name);
        Market {
            symbol,
            rng: Rng::new(seed ^ hash_of(name)),
            fair: traits.px,
            traits,
            index_seen_e2: 0,
            moves: Moves::starting_at(0),
            clock_e3: 0,
            wobbles: [(1_000, 0); 2],
            orders: [Vec::new(), Vec::new()],
            touch_wanted: [4, 4],
            is_open: false,
            batch_ns: 0,
            take_ns: 0,
            take_side: Side::Buy,
        }
    }
    pub fn fair(&self) -> i64 {
        self.fair
    }
    /// Begins anew at a price: nothing of the house is at rest.
    pub fn reopen(&mut self, fair: i64, rng: Rng) {
        self.rng = rng;
        self.fair = fair.clamp(PX_MIN, PX_MAX);
        self.index_seen_e2 = 0;
        self.moves = Moves::starting_at(0);
        self.wobbles = [(1_000, 0); 2];
        self.orders = [Vec::new(), Vec::new()];
        self.is_open = false;
        (self.batch_ns, self.take_ns) = (0, 0);
    }
    /// Books of this kind show more price points than anybody listens to.
    fn is_deep(&self) -> bool {
        self.profile().junk.0 == 0
    }
    fn profile(&self) -> &'static Profile {
        self.traits.profile
    }
    /// When something happens here next, ns of the markets' clock.
    pub fn next_ns(&self) -> i64 {
        self.batch_ns.min(self.take_ns)
    }
    /// Does what is due.
    pub fn step(&mut self, weather: &Weather, floor: &mut dyn Floor) {
        if !self.is_open {
            self.open(weather, floor);
        } else if self.take_ns < self.batch_ns {
            self.take(weather, floor);
        } else {
            self.batch(weather, floor);
        }
    }

    fn open(&mut self, weather: &Weather, floor: &mut dyn Floor) {
        self.index_seen_e2 = weather.index_e2();
        for side in SIDES {
            self.fill(side, floor);
        }
        self.is_open = true;
        self.plan_batch();
        self.plan_take(weather);
    }
    /// Fills a side as if the market had been open for long.
    fn fill(&mut self, side: Side, floor: &mut dyn Floor) {
        let profile = self.profile();
        for _ in 0..profile.junk.0 {
            let distance_e2 = profile.junk.1.draw(&mut self.rng);
            self.place(side, distance_e2, FOR_EVER, Role::Junk, floor);
        }
        for _ in 0..profile.crowd {
            let patience = |distance_e2: i64| self.patience_e2(distance_e2);
            let mut rng = self.rng.clone();
            let distance_e2 = profile.distance_e2.draw_weighted(&mut rng, patience);
            let life = profile.life.draw_weighted(&mut rng, |life| life.max(1));
            self.rng = rng;
            let whole = scale(life * 1_000, self.patience_e2(distance_e2), 100);
            let left = self.rng.between(1, whole.max(1));
            self.place(side, distance_e2, left, Role::Ladder, floor);
        }
        self.crowd_touch(side, floor);
        if self.is_deep() {
            self.lengthen(side, floor);
        }
    }
    /// How many times as long an order at this distance stays, 1e-2.
    fn patience_e2(&self, distance_e2: i64) -> i64 {
        let patience = self.profile().patience_e2;
        100 + distance_e2 * distance_e2 / (patience * patience / 100).max(1)
    }

    /// Nearest price to the fair one for an order of a side.
    fn nearest(&self, side: Side) -> i64 {
        let half = scale(self.fair, self.profile().half_spread_e2, WHOLE_E2);
        let bid = on_grid(self.fair - half, Side::Buy);
        match side {
            Side::Buy => bid,
            Side::Sell if half == 0 => bid + digit_step(bid, DIGITS),
            Side::Sell => on_grid(self.fair + half, Side::Sell),
        }
    }
    /// Quantity of an order of so much money, 1e-8 of base.
    fn qty_of(&mut self, cents: Quantiles) -> i64 {
        let usd = cents.draw(&mut self.rng).saturating_mul(1_000_000);
        let quote = scale(usd, 100_000_000, self.traits.quote_usd);
        let qty = scale(quote, 100_000_000, self.fair).max(100);
        match self.rng.chance(4, 10) {
            true => (qty - qty % digit_step(qty, 2)).max(1),
            false => qty,
        }
    }
    fn place(
        &mut self,
        side: Side,
        distance_e2: i64,
        left_e3: i64,
        role: Role,
        floor: &mut dyn Floor,
    ) {
        let away = scale(self.fair, distance_e2, WHOLE_E2);
        let wanted = self.nearest(side) - side.sign() * away;
        let step = digit_step(wanted.max(1), DIGITS);
        let round = role == Role::Ladder && self.rng.chance(self.profile().round_e3, 1_000);
        let px = match round {
            true if side == Side::Buy => wanted - wanted % (5 * step),
            true => wanted - wanted % (5 * step) + 5 * step,
            false => wanted,
        };
        // Who stands in front risks more, and shows less.
        let is_near = role == Role::Ladder && distance_e2 < NEAR_E2 && self.is_deep();
        let part_e3 = if is_near { NEAR_PART_E3 } else { 1_000 };
        self.place_at(Wanted { side, px, part_e3, left_e3, role }, floor);
    }
    fn place_at(&mut self, wanted: Wanted, floor: &mut dyn Floor) {
        let Wanted { side, mut px, part_e3, left_e3, role } = wanted;
        // Makers do not take: they stay behind the other side's best, whoever holds it.
        if let Some(best) = floor.best(self.symbol, side.opposite()) {
            let step = digit_step(best, DIGITS);
            px = match side {
                Side::Buy => px.min(best - step),
                Side::Sell => px.max(best + step),
            };
        }
        if px < 1 {
            return;
        }
        let px = on_grid(px, side);
        let cents = self.profile().size_cents;
        let qty = scale(self.qty_of(cents), part_e3, 1_000).max(1);
        if px >= 1
            && let Some(id) = floor.house_limit(self.symbol, side, px, qty)
        {
            let until_e3 = self.clock_e3.saturating_add(left_e3);
            self.orders[side_index(side)].push(Placed { id, px, until_e3, role });
        }
    }

    /// What happened since the book was last published.
    fn batch(&mut self, weather: &Weather, floor: &mut dyn Floor) {
        let now_ns = self.batch_ns;
        self.plan_batch();
        let usual_e3 = self.activity_e3(weather, now_ns);
        let activity_e3 = scale(usual_e3, BATCH_E3.draw(&mut self.rng), 1_000);
        self.clock_e3 += activity_e3;
        self.move_fair(weather, now_ns);
        let mut pulled = [0, 0];
        for side in SIDES {
            self.snipe(side.opposite(), self.profile().snipe_e3, false, floor);
            pulled[side_index(side)] = self.pull(side, floor);
            self.snipe(side.opposite(), SNIPE_LEFT_E3, true, floor);
        }
        let births_e3 = scale(self.profile().births_e3, activity_e3, 1_000);
        for _ in 0..count_of(births_e3, &mut self.rng) {
            self.bear(floor);
        }
        let is_deep = self.is_deep();
        for side in SIDES {
            self.crowd_touch(side, floor);
            self.repair(side, floor);
            let is_shorter = pulled[side_index(side)] > LEVELS_MIN / 20;
            if is_deep && (is_shorter || self.rng.chance(1, 8)) {
                self.lengthen(side, floor);
            }
        }
    }
    fn activity_e3(&mut self, weather: &Weather, now_ns: i64) -> i64 {
        let mut activity_e3 = scale(weather.phase().activity_e3(), self.traits.pace_e3, 1_000);
        for (wobble, mean_ns) in self.wobbles.iter_mut().zip(WOBBLE_NS) {
            if wobble.1 <= now_ns {
                let for_ns = scale(mean_ns, WAIT_E3.draw(&mut self.rng), 1_000);
                *wobble = (WOBBLE_E3.draw(&mut self.rng), now_ns + for_ns);
                if let Some((wanted, _)) = self.traits.profile.touch {
                    let side = usize::from(self.rng.chance(1, 2));
                    self.touch_wanted[side] = wanted.draw(&mut self.rng);
                }
            }
            activity_e3 = scale(activity_e3, wobble.0, 1_000);
        }
        activity_e3
    }
    fn move_fair(&mut self, weather: &Weather, now_ns: i64) {
        let profile = self.profile();
        let own_e2 =
            self.moves.sum_until(now_ns, profile.moves_per_hour, weather.phase(), &mut self.rng);
        let all_e2 = weather.index_e2() - self.index_seen_e2;
        self.index_seen_e2 = weather.index_e2();
        self.fair = moved(self.fair, own_e2 + scale(all_e2, profile.beta_e3, 1_000));
    }
    /// Takes some of what stands on the wrong side of the fair price, and nothing else. What the
    /// crowd did not pull is taken in bites, the bigger the worse its price is.
    fn snipe(&mut self, taker: Side, chance_e3: u64, is_left: bool, floor: &mut dyn Floor) {
        let Some(best) = floor.best(self.symbol, taker.opposite()) else { return };
        let (off, px) = match taker {
            Side::Buy => (self.fair - best, on_grid(self.fair - 1, Side::Buy)),
            Side::Sell => (best - self.fair, on_grid(self.fair + 1, Side::Sell)),
        };
        if off <= 0 || !self.rng.chance(chance_e3, 1_000) {
            return;
        }
        let off_e2 = scale(off, WHOLE_E2, self.fair).min(SNIPE_OFF_E2_MAX);
        let bite_e2 = if is_left { SNIPE_LEFT_E2 + off_e2 * off_e2 / 10_000 } else { 100 };
        let cents = self.profile().take_cents;
        let qty = scale(self.qty_of(cents), bite_e2, 100).max(1);
        if let Some(id) = floor.house_limit(self.symbol, taker, px, qty) {
            floor.house_cancel(self.symbol, id);
        }
    }
    /// Cancels what has lived long enough, stands on the wrong side of the fair price, or crowds
    /// where the touch was. Returns how many.
    fn pull(&mut self, side: Side, floor: &mut dyn Floor) -> usize {
        let limit = self.nearest(side);
        let mut orders = std::mem::take(&mut self.orders[side_index(side)]);
        let before = orders.len();
        orders.retain(|order| {
            let is_stale = match side {
                Side::Buy => order.px > limit,
                Side::Sell => order.px < limit,
            };
            let is_left = order.role == Role::Touch && order.px != limit && self.rng.chance(1, 2);
            let goes = is_stale || is_left || order.until_e3 <= self.clock_e3;
            if goes {
                // False where it was filled meanwhile: gone all the same.
                floor.house_cancel(self.symbol, order.id);
            }
            !goes
        });
        let pulled = before - orders.len();
        self.orders[side_index(side)] = orders;
        pulled
    }
    /// A new order of the crowd. As often as not it joins the side with fewer.
    fn bear(&mut self, floor: &mut dyn Floor) {
        let [bids, asks] = [self.orders[0].len(), self.orders[1].len()];
        let side = match self.rng.chance(1, 2) {
            true if bids < asks => Side::Buy,
            true if asks < bids => Side::Sell,
            _ if self.rng.chance(1, 2) => Side::Buy,
            _ => Side::Sell,
        };
        self.bear_on(side, floor);
    }
    fn bear_on(&mut self, side: Side, floor: &mut dyn Floor) {
        let profile = self.profile();
        let distance_e2 = profile.distance_e2.draw(&mut self.rng);
        let life = profile.life.draw(&mut self.rng) * 1_000;
        let left_e3 = scale(life, self.patience_e2(distance_e2), 100);
        self.place(side, distance_e2, left_e3, Role::Ladder, floor);
    }
    /// Orders join the best price, at once where it is empty.
    fn crowd_touch(&mut self, side: Side, floor: &mut dyn Floor) {
        let Some((_, life)) = self.profile().touch else { return };
        let limit = self.nearest(side);
        let is_there = |order: &&Placed| order.role == Role::Touch && order.px == limit;
        let have = self.orders[side_index(side)].iter().filter(is_there).count() as i64;
        let missing = (self.touch_wanted[side_index(side)] - have).max(0);
        let is_empty = floor.best(self.symbol, side) != Some(limit);
        let joins = count_of(missing * 60, &mut self.rng).max(2 * i64::from(is_empty));
        for _ in 0..joins {
            let left_e3 = life.draw(&mut self.rng) * 1_000;
            self.place(side, 0, left_e3, Role::Touch, floor);
        }
    }
    /// Prices of the house's orders of a side, lowest first, each once.
    fn prices(&self, side: Side) -> Vec<i64> {
        let orders = &self.orders[side_index(side)];
        let mut prices: Vec<i64> = orders.iter().map(|order| order.px).collect();
        prices.sort_unstable();
        prices.dedup();
        prices
    }
    /// Adds price points at the far end of a side that has fewer than a listener of 100 levels can
    /// see. A coarse price grid needs it: orders meet on the same prices there.
    fn lengthen(&mut self, side: Side, floor: &mut dyn Floor) {
        let prices = self.prices(side);
        let farthest = match side {
            Side::Buy => prices.first(),
            Side::Sell => prices.last(),
        };
        let Some(mut px) = farthest.copied() else { return };
        for _ in prices.len()..LEVELS_MIN {
            px -= side.sign() * digit_step(px, DIGITS) * self.rng.between(1, 3);
            let left_e3 = self.rng.between(300_000, 3_000_000);
            let role = Role::Ladder;
            self.place_at(Wanted { side, px, part_e3: 1_000, left_e3, role }, floor);
        }
    }
    /// Keeps a side alive: somebody quotes, and a side that accounts took away is filled anew.
    fn repair(&mut self, side: Side, floor: &mut dyn Floor) {
        let orders = &self.orders[side_index(side)];
        let depth = floor.depth(self.symbol, side);
        // The first look is cheap, and enough where few orders share a price.
        let is_whole = depth >= orders.len() / 2 || depth >= self.prices(side).len() / 2;
        if !is_whole {
            for order in std::mem::take(&mut self.orders[side_index(side)]) {
                floor.house_cancel(self.symbol, order.id);
            }
            self.fill(side, floor);
        } else if orders.iter().all(|order| order.role == Role::Junk) {
            self.bear_on(side, floor);
        }
    }
    /// Somebody takes.
    fn take(&mut self, weather: &Weather, floor: &mut dyn Floor) {
        let cents = self.profile().take_cents;
        let qty = self.qty_of(cents);
        floor.house_take(self.symbol, self.take_side, qty);
        self.plan_take(weather);
    }

    fn plan_batch(&mut self) {
        let gap_ms = self.profile().batch_gap_ms.draw(&mut self.rng);
        // The venue's clock strikes every 100 ms, and its messages come some milliseconds later.
        let struck_ms = (gap_ms + 50) / 100 * 100;
        let late_us = self.rng.between(-4_000, 4_000);
        self.batch_ns += (struck_ms.max(100) * 1_000 + late_us) * 1_000;
    }
    fn plan_take(&mut self, weather: &Weather) {
        let profile = self.profile();
        let intensity_e3 =
            scale(weather.phase().moves_e3(), self.wobbles[1].0 * self.wobbles[1].0, 1_000_000);
        let gap_ms = match self.rng.chance(profile.follow_e3, 1_000) {
            true => {
                if !self.rng.chance(SAME_SIDE_E3, 1_000) {
                    self.take_side = self.take_side.opposite();
                }
                profile.follow_gap_ms.draw(&mut self.rng)
            }
            false => {
                self.take_side = if self.rng.chance(1, 2) { Side::Buy } else { Side::Sell };
                scale(profile.take_gap_ms, WAIT_E3.draw(&mut self.rng), 1_000)
            }
        };
        self.take_ns += scale(gap_ms * 1_000_000, 1_000, intensity_e3).max(TAKE_GAP_NS_MIN);
    }
}
