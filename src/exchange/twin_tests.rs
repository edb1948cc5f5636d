//! A plain twin of order entry, matching and money, and random commands to both.
//!
//! The twin is slow on purpose: one list of orders, searched from end to end for everything, fills
//! tried out on a copy of it all. It shares words with the exchange (kinds, sides, statuses), no
//! code. After every command books, orders, endings, wallets and positions must be the same.

use super::account::Wallet;
use super::market::Floor;
use super::order::{FLAG_CLOSE, FLAG_HIDDEN, FLAG_OCO, FLAG_POST_ONLY, FLAG_REDUCE_ONLY};
use super::order::{Kind, Status};
use super::script_tests::{START, Script, drain, plain};
use super::*;
use crate::base::rng::Rng;
use crate::base::units::Side;

type Units = i128;
const ONE: Units = 100_000_000;
const QTY_MIN: Units = 4_000;
const QTY_MAX: Units = 2_000 * ONE;
/// Initial margin of the pair, and what positions must keep.
const INITIAL_E4: Units = 1_000;
const MINIMUM_E4: Units = 500;
const MAKER_E6: Units = 1_000;
const TAKER_E6: Units = 2_000;
const OPEN_MAX: usize = 40;

/// Price times quantity, halves away from zero.
fn value(px: Units, qty: Units) -> Units {
    let product = px * qty;
    (product.abs() + ONE / 2) / ONE * product.signum()
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct TwinOrder {
    id: u64,
    /// 0 = the house.
    owner: usize,
    side: Side,
    kind: Kind,
    is_margin: bool,
    flags: u32,
    px: Units,
    aux: Units,
    trailing: Units,
    left: Units,
    until: i64,
    sibling: u64,
    shows_once_hit: bool,
    protects: bool,
    is_forced: bool,
    /// Place in the queue of its price; `None` = not in the book.
    rank: Option<u64>,
    fills: Vec<(Units, Units)>,
}

impl TwinOrder {
    fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }
    fn only_reduces(&self) -> bool {
        self.is_margin && (self.has(FLAG_REDUCE_ONLY) || self.has(FLAG_CLOSE))
    }
    /// The price at which it would be paid.
    fn pay_px(&self) -> Units {
        if self.kind == Kind::StopLimit { self.aux } else { self.px }
    }
    fn worth(&self) -> Units {
        value(self.pay_px(), self.left)
    }
    fn follow(&mut self, last: Units) {
        let sign = self.side.sign() as Units;
        let there = (last + sign * self.trailing).max(1);
        let worse = match self.side {
            Side::Buy => self.px > there,
            Side::Sell => self.px < there,
        };
        if self.px == 0 || worse {
            self.px = there;
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct TwinAccount {
    spot_usd: Units,
    spot_btc: Units,
    margin_usd: Units,
    margin_btc: Units,
    held: Units,
    cost: Units,
}

impl TwinAccount {
    /// One side of a trade; `bought` is signed.
    fn settle(&mut self, is_margin: bool, px: Units, bought: Units, fee_e6: Units) {
        let fee = |amount: Units| (amount * fee_e6 + 500_000).div_euclid(1_000_000);
        let paid = value(px, bought);
        if !is_margin {
            self.spot_btc += bought;
            self.spot_usd -= paid;
            if bought > 0 {
                self.spot_btc -= fee(bought);
            } else {
                self.spot_usd -= fee(-paid);
            }
            return;
        }
        self.margin_usd -= fee(paid.abs());
        if self.held == 0 || (self.held > 0) == (bought > 0) {
            self.held += bought;
            self.cost += paid;
            return;
        }
        let closing = bought.abs().min(self.held.abs());
        let cost_closed = match closing == self.held.abs() {
            true => self.cost,
            false => self.cost * closing / self.held.abs(),
        };
        let paid_closed = paid * closing / bought.abs();
        self.margin_usd -= paid_closed + cost_closed;
        self.held += closing * bought.signum();
        self.cost -= cost_closed;
        let rest = bought - closing * bought.signum();
        if rest != 0 {
            (self.held, self.cost) = (rest, paid - paid_closed);
        }
    }
}

#[derive(Clone, Debug)]
struct Twin {
    next_id: u64,
    next_rank: u64,
    now_ms: i64,
    accounts: Vec<TwinAccount>,
    orders: Vec<TwinOrder>,
    /// Armed stops, the first armed first.
    armed: Vec<u64>,
    is_due: bool,
    last: Option<Units>,
    fills: u64,
    /// Orders of accounts that ended since the last look.
    ended: Vec<(TwinOrder, Status)>,
}

impl Twin {
    fn at(&self, id: u64) -> Option<usize> {
        self.orders.iter().position(|order| order.id == id)
    }
    /// The order of a side that is met first.
    fn front(&self, side: Side) -> Option<usize> {
        let resting = self.orders.iter().enumerate().filter(|(_, o)| o.side == side);
        let resting = resting.filter_map(|(at, o)| Some((at, o.px, o.rank?)));
        let nearer = |px: Units| if side == Side::Buy { -px } else { px };
        resting.min_by_key(|(_, px, rank)| (nearer(*px), *rank)).map(|(at, ..)| at)
    }
    fn best(&self, side: Side) -> Option<Units> {
        self.front(side).map(|at| self.orders[at].px)
    }
    fn mark(&self) -> Units {
        self.last.unwrap_or_else(|| match (self.best(Side::Buy), self.best(Side::Sell)) {
            (Some(bid), Some(ask)) => bid / 2 + ask / 2,
            _ => 0,
        })
    }
    fn take_out(&mut self, id: u64) -> Option<TwinOrder> {
        let at = self.at(id)?;
        self.armed.retain(|armed| *armed != id);
        let mut order = self.orders.remove(at);
        order.rank = None;
        Some(order)
    }
    fn end(&mut self, order: TwinOrder, status: Status) {
        self.take_out(order.id);
        if order.owner > 0 {
            self.ended.push((order, status));
        }
    }
    fn cancel(&mut self, id: u64, status: Status) {
        if let Some(order) = self.take_out(id) {
            self.end(order, status);
        }
    }
    fn rest(&mut self, mut order: TwinOrder) {
        self.next_rank += 1;
        order.rank = Some(self.next_rank);
        self.orders.push(order);
    }
    /// Why reduce-only forbids an order now.
    fn forbidden(&self, order: &TwinOrder) -> Option<Status> {
        let held = self.accounts[order.owner].held;
        if !order.only_reduces() {
            None
        } else if held == 0 {
            Some(Status::PositionNotFound)
        } else if (held > 0) == (order.side == Side::Buy) {
            Some(Status::ReduceWouldIncrease)
        } else {
            (order.left > held.abs()).then_some(Status::ReduceWouldFlip)
        }
    }
    fn check_reducing(&mut self) {
        let mut bad: Vec<(u64, Status)> =
            self.orders.iter().filter_map(|o| Some((o.id, self.forbidden(o)?))).collect();
        bad.sort_by_key(|(id, _)| *id);
        bad.into_iter().for_each(|(id, status)| self.cancel(id, status));
    }

    // ---- money

    /// What a spot order keeps: dollars or coins.
    fn keeps(&self, order: &TwinOrder, dollars: bool) -> Units {
        match (order.is_margin, order.side, dollars) {
            (false, Side::Buy, true) => order.worth(),
            (false, Side::Sell, false) => order.left,
            _ => 0,
        }
    }
    /// Dollars or coins in the spot wallet that no order keeps, but this one and its other leg.
    fn free(&self, owner: usize, dollars: bool, but: u64) -> Units {
        let account = &self.accounts[owner];
        let mut free = if dollars { account.spot_usd } else { account.spot_btc };
        for order in self.orders.iter().filter(|o| o.owner == owner && !o.is_margin) {
            if but > 0 && (order.id == but || order.sibling == but) {
                continue;
            }
            let kept = self.keeps(order, dollars);
            let other = self.at(order.sibling).map(|at| &self.orders[at]);
            let yields = other.is_some_and(|other| {
                let theirs = self.keeps(other, dollars);
                theirs > kept || (theirs == kept && other.id > order.id)
            });
            if !yields {
                free -= kept;
            }
        }
        free
    }
    /// Equity, initial margin of everything, least margin of the position.
    fn margin(&self, owner: usize, but: u64) -> (Units, Units, Units) {
        let (account, mark) = (&self.accounts[owner], self.mark());
        let profit = account.held * mark / ONE - account.cost;
        let equity = account.margin_usd + account.margin_btc * mark / ONE + profit;
        let worth = value(mark, account.held).abs();
        let mut initial = worth * INITIAL_E4 / 10_000;
        for order in self.orders.iter().filter(|o| o.owner == owner && o.is_margin) {
            let excepted = but > 0 && (order.id == but || order.sibling == but);
            let other = self.at(order.sibling).map(|at| &self.orders[at]);
            let yields =
                other.is_some_and(|other| (other.worth(), other.id) > (order.worth(), order.id));
            if !excepted && !yields && !order.only_reduces() {
                initial += order.worth() * INITIAL_E4 / 10_000;
            }
        }
        (equity, initial, worth * MINIMUM_E4 / 10_000)
    }
    fn can_pay(&self, order: &TwinOrder, px: Option<Units>, qty: Units) -> bool {
        if !order.is_margin {
            let dollars = order.side == Side::Buy;
            let free = self.free(order.owner, dollars, order.id).max(0);
            let other = self.at(order.sibling).map(|at| &self.orders[at]);
            let least = other.map_or(0, |other| self.keeps(other, dollars));
            return match (order.side, px) {
                (Side::Sell, _) => free >= qty.max(least),
                (Side::Buy, Some(px)) => free >= value(px, qty).max(least),
                (Side::Buy, None) => free > 0,
            };
        }
        let px = px.filter(|px| *px > 0).unwrap_or(self.mark());
        let held = self.accounts[order.owner].held;
        let is_against = held != 0 && (held > 0) != (order.side == Side::Buy);
        let opening = if is_against { (qty - held.abs()).max(0) } else { qty };
        if opening == 0 {
            return true;
        }
        let (equity, initial, _) = self.margin(order.owner, order.id);
        equity >= initial + value(px, opening) * INITIAL_E4 / 10_000
    }

    // ---- the book

    fn is_met(order: &TwinOrder, px: Units) -> bool {
        match (order.kind, order.side) {
            (Kind::Market, _) => true,
            (_, Side::Buy) => px <= order.px,
            (_, Side::Sell) => px >= order.px,
        }
    }
    /// Takes what there is; why it stopped short of that.
    fn take(&mut self, order: &mut TwinOrder) -> Option<Status> {
        let is_budgeted = order.owner > 0
            && order.kind == Kind::Market
            && !order.is_margin
            && order.side == Side::Buy;
        let mut budget = self.free(order.owner, true, order.id).max(0);
        while order.left > 0 {
            let at = self.front(order.side.opposite())?;
            let maker = self.orders[at].clone();
            if !Twin::is_met(order, maker.px) {
                return None;
            }
            if order.owner > 0 && maker.owner == order.owner && order.protects {
                return Some(Status::Canceled);
            }
            if maker.owner > 0
                && let Some(status) = self.forbidden(&maker)
            {
                self.cancel(maker.id, status);
                continue;
            }
            let mut fill = order.left.min(maker.left);
            if is_budgeted {
                fill = fill.min(budget * ONE / maker.px);
                if fill == 0 {
                    return Some(Status::InsufficientBalance);
                }
                budget -= value(maker.px, fill).min(budget);
            }
            self.trade(order, at, fill);
        }
        None
    }
    fn trade(&mut self, order: &mut TwinOrder, at: usize, fill: Units) {
        let px = self.orders[at].px;
        let is_hidden = self.orders[at].has(FLAG_HIDDEN);
        self.last = Some(px);
        self.is_due |= !self.armed.is_empty();
        order.left -= fill;
        order.fills.push((px, fill));
        if order.kind == Kind::Market {
            order.px = px;
        }
        if order.owner > 0 {
            self.fills += 1;
            let fee = if is_hidden && order.kind != Kind::Market { MAKER_E6 } else { TAKER_E6 };
            let bought = fill * order.side.sign() as Units;
            self.accounts[order.owner].settle(order.is_margin, px, bought, fee);
        }
        let maker = &mut self.orders[at];
        maker.left -= fill;
        maker.fills.push((px, fill));
        if maker.owner > 0 {
            self.fills += 1;
            let fee = if is_hidden { TAKER_E6 } else { MAKER_E6 };
            let bought = fill * maker.side.sign() as Units;
            self.accounts[maker.owner].settle(maker.is_margin, px, bought, fee);
            if maker.left > 0 && maker.shows_once_hit {
                maker.flags &= !FLAG_HIDDEN;
            }
        }
        let maker = maker.clone();
        if maker.left == 0 {
            self.end(maker.clone(), Status::Executed);
        }
        self.cancel(maker.sibling, Status::Canceled);
    }
    fn execute(&mut self, mut order: TwinOrder) {
        let best = self.best(order.side.opposite());
        let crosses = best.is_some_and(|best| Twin::is_met(&order, best));
        if order.has(FLAG_POST_ONLY) && crosses {
            return self.end(order, Status::PostOnlyCanceled);
        }
        if order.kind == Kind::Fok {
            let (mut trial, mut copy) = (self.clone(), order.clone());
            trial.take(&mut copy);
            if copy.left > 0 {
                return self.end(order, Status::FokCanceled);
            }
        }
        let stopped = self.take(&mut order);
        let (sibling, was_filled) = (order.sibling, !order.fills.is_empty());
        let was_filled_now = was_filled && self.fills > 0;
        match (order.left, stopped, order.kind) {
            (0, ..) => self.end(order, Status::Executed),
            (_, Some(status), _) => self.end(order, status),
            (_, None, Kind::Market) => self.end(order, Status::BookSlip),
            (_, None, Kind::Ioc) => self.end(order, Status::IocCanceled),
            _ => self.rest(order),
        }
        if was_filled_now {
            self.cancel(sibling, Status::Canceled);
        }
    }

    // ---- stops and forced ends

    fn arm(&mut self, mut order: TwinOrder) {
        if order.kind == Kind::TrailingStop && self.mark() > 0 {
            order.follow(self.mark());
        }
        self.armed.push(order.id);
        self.orders.push(order);
        self.is_due = true;
    }
    fn fire_stops(&mut self) {
        while std::mem::take(&mut self.is_due) {
            let Some(last) = self.last else { return };
            let mut first = None;
            for id in self.armed.clone() {
                let at = self.at(id).unwrap();
                let order = &mut self.orders[at];
                if order.kind == Kind::TrailingStop {
                    order.follow(last);
                }
                let is_reached = match order.side {
                    Side::Buy => last >= order.px,
                    Side::Sell => last <= order.px,
                };
                first = first.or(is_reached.then_some(id));
            }
            let Some(mut order) = first.and_then(|id| self.take_out(id)) else { return };
            if order.kind == Kind::StopLimit {
                (order.kind, order.px) = (Kind::Limit, order.aux);
            } else {
                order.kind = Kind::Market;
            }
            self.cancel(order.sibling, Status::Canceled);
            match self.forbidden(&order) {
                Some(status) => self.end(order, status),
                None => self.execute(order),
            }
            self.is_due = true;
        }
    }
    fn end_thin(&mut self) -> bool {
        let fills = self.fills;
        for owner in 1..self.accounts.len() {
            let (equity, _, minimum) = self.margin(owner, 0);
            if self.accounts[owner].held == 0 || self.mark() <= 0 || equity >= minimum {
                continue;
            }
            let mut own: Vec<u64> = self
                .orders
                .iter()
                .filter(|o| o.owner == owner && o.is_margin)
                .map(|o| o.id)
                .collect();
            own.sort_unstable();
            own.into_iter().for_each(|id| self.cancel(id, Status::Canceled));
            let held = self.accounts[owner].held;
            let side = if held > 0 { Side::Sell } else { Side::Buy };
            if self.best(side.opposite()).is_none() {
                continue;
            }
            self.next_id += 1;
            let order = TwinOrder {
                id: self.next_id,
                owner,
                side,
                kind: Kind::Market,
                is_margin: true,
                flags: FLAG_CLOSE,
                left: held.abs(),
                is_forced: true,
                ..house_order(0, side, 0, 0)
            };
            self.execute(order);
        }
        self.fills > fills
    }
    fn settle_down(&mut self) {
        let fills = self.fills;
        self.fire_stops();
        while self.end_thin() {
            self.fire_stops();
        }
        if self.fills > fills {
            self.check_reducing();
        }
    }

    // ---- commands

    fn house(&mut self, side: Side, kind: Kind, px: Units, qty: Units) {
        let mut order = TwinOrder { kind, ..house_order(0, side, px, qty) };
        let fills = self.fills;
        // Whoever was met, even if only to be sent away.
        let met = self.ended.len();
        self.take(&mut order);
        if self.fills > fills || self.ended.len() > met {
            self.check_reducing();
        }
        if order.left > 0 && kind == Kind::Limit {
            self.next_id += 1;
            order.id = self.next_id;
            order.fills.clear();
            self.rest(order);
        }
        self.settle_down();
    }
    fn place(&mut self, wish: &Wish) -> bool {
        let account = &self.accounts[wish.owner];
        let closes = wish.flags & FLAG_CLOSE != 0;
        let mut amount = wish.amount;
        if closes && wish.is_margin && account.held != 0 {
            amount = -account.held;
        }
        let qty = amount.abs();
        let is_pair = wish.flags & FLAG_OCO != 0;
        let well_formed = amount != 0
            && (closes || (QTY_MIN..=QTY_MAX).contains(&qty))
            && match wish.kind {
                Kind::Market => true,
                Kind::TrailingStop => wish.trailing > 0,
                Kind::StopLimit => wish.aux > 0 && wish.px > 0,
                _ => wish.px > 0,
            }
            && (!is_pair || (wish.kind == Kind::Limit && wish.px_oco > 0))
            && (wish.until == 0 || wish.until > self.now_ms);
        let open = self.orders.iter().filter(|o| o.owner == wish.owner).count();
        if !well_formed || open + usize::from(is_pair) >= OPEN_MAX {
            return false;
        }
        let side = if amount > 0 { Side::Buy } else { Side::Sell };
        let mut order = TwinOrder {
            owner: wish.owner,
            kind: wish.kind,
            is_margin: wish.is_margin,
            flags: wish.flags,
            px: match wish.kind {
                Kind::TrailingStop => 0,
                _ => wish.px,
            },
            aux: if wish.kind == Kind::StopLimit { wish.aux } else { 0 },
            trailing: if wish.kind == Kind::TrailingStop { wish.trailing } else { 0 },
            until: wish.until,
            shows_once_hit: wish.shows_once_hit,
            protects: wish.protects,
            ..house_order(0, side, 0, qty)
        };
        let px = match wish.kind {
            Kind::Limit if is_pair => Some(wish.px.max(wish.px_oco)),
            Kind::StopLimit => Some(wish.aux),
            Kind::Market | Kind::TrailingStop => None,
            _ => Some(wish.px),
        };
        if !order.only_reduces() && !self.can_pay(&order, px, qty) {
            return false;
        }
        self.next_id += 1;
        order.id = self.next_id;
        let mut second = None;
        if is_pair {
            self.next_id += 1;
            let (kind, px, sibling) = (Kind::Stop, wish.px_oco, order.id);
            second = Some(TwinOrder { id: self.next_id, kind, px, sibling, ..order.clone() });
            order.sibling = self.next_id;
        }
        if let Some(status) = self.forbidden(&order) {
            self.end(order, status);
            return true;
        }
        if let Some(second) = second {
            self.arm(second);
        }
        match order.kind {
            Kind::Stop | Kind::StopLimit | Kind::TrailingStop => self.arm(order),
            _ => self.execute(order),
        }
        self.settle_down();
        self.check_reducing();
        true
    }
    fn amend(&mut self, id: u64, change: &Change) -> bool {
        let Some(at) = self.at(id) else { return false };
        let before = self.orders[at].clone();
        let mut after = before.clone();
        let sign = before.side.sign() as Units;
        let signed = change.amount.unwrap_or(sign * before.left + change.delta.unwrap_or(0));
        let is_sane = signed != 0
            && signed.signum() == sign
            && (QTY_MIN..=QTY_MAX).contains(&signed.abs())
            && change.px.is_none_or(|px| px > 0)
            && change.trailing.is_none_or(|px| px > 0);
        if !is_sane {
            return false;
        }
        after.left = signed.abs();
        after.px = change.px.unwrap_or(after.px);
        after.trailing = change.trailing.unwrap_or(after.trailing);
        if let Some(flags) = change.flags {
            after.flags = (flags & !FLAG_OCO) | (before.flags & FLAG_OCO);
        }
        if after.kind == Kind::TrailingStop && change.trailing.is_some() {
            after.px = 0;
        }
        if !after.only_reduces() && !self.can_pay(&after, Some(after.pay_px()), after.left) {
            return false;
        }
        if before.rank.is_none() {
            self.orders[at] = after;
            self.is_due = true;
            self.settle_down();
            return true;
        }
        let stays = after.px == before.px && after.flags == before.flags;
        if stays && after.left <= before.left {
            self.orders[at] = after;
        } else {
            self.take_out(id);
            // What was filled before does not count as news.
            let fills = std::mem::take(&mut after.fills);
            after.rank = None;
            self.execute_again(after, fills);
        }
        self.settle_down();
        self.check_reducing();
        true
    }
    /// An amended order's way through the book: its old fills stay its own.
    fn execute_again(&mut self, order: TwinOrder, old: Vec<(Units, Units)>) {
        let id = order.id;
        self.execute(order);
        let ended = self.ended.iter_mut().map(|(order, _)| order);
        for order in ended.chain(self.orders.iter_mut()).filter(|order| order.id == id) {
            order.fills.splice(0..0, old.iter().copied());
        }
    }
    fn pass_time(&mut self, now_ms: i64) {
        self.now_ms = now_ms;
        let mut due: Vec<(i64, u64)> =
            self.orders.iter().filter(|o| o.until > 0).map(|o| (o.until, o.id)).collect();
        due.retain(|(until, _)| *until <= now_ms);
        due.sort_unstable();
        due.into_iter().for_each(|(_, id)| self.cancel(id, Status::Canceled));
    }
}

fn house_order(id: u64, side: Side, px: Units, left: Units) -> TwinOrder {
    TwinOrder {
        id,
        owner: 0,
        side,
        kind: Kind::Limit,
        is_margin: false,
        flags: 0,
        px,
        aux: 0,
        trailing: 0,
        left,
        until: 0,
        sibling: 0,
        shows_once_hit: false,
        protects: false,
        is_forced: false,
        rank: None,
        fills: Vec::new(),
    }
}

/// An order that an account asks for.
#[derive(Clone, Debug)]
struct Wish {
    owner: usize,
    kind: Kind,
    is_margin: bool,
    amount: Units,
    px: Units,
    aux: Units,
    trailing: Units,
    px_oco: Units,
    flags: u32,
    until: i64,
    shows_once_hit: bool,
    protects: bool,
}

#[derive(Clone, Debug, Default)]
struct Change {
    amount: Option<Units>,
    delta: Option<Units>,
    px: Option<Units>,
    trailing: Option<Units>,
    flags: Option<u32>,
}

/// What the random client does; prices wander so that positions get thin now and then.
struct Player {
    rng: Rng,
    centre: i64,
    house_ids: Vec<u64>,
}

impl Player {
    fn px(&mut self, reach: i64) -> Units {
        let px = self.centre + self.rng.between(-reach, reach) * 50;
        px.max(100) as Units * (ONE / 100)
    }
    fn qty(&mut self) -> Units {
        match self.rng.below(40) {
            0 => self.rng.between(1, 8_000) as Units,
            1 => self.rng.between(300, 3_000) as Units * ONE,
            2..=5 => self.rng.between(1_000, 30_000) as Units * ONE / 100,
            _ => self.rng.between(1, 500) as Units * ONE / 100,
        }
    }
    fn side(&mut self) -> Side {
        if self.rng.chance(1, 2) { Side::Buy } else { Side::Sell }
    }
    fn wish(&mut self, now_ms: i64) -> Wish {
        let kinds = [
            Kind::Limit,
            Kind::Limit,
            Kind::Limit,
            Kind::Market,
            Kind::Stop,
            Kind::StopLimit,
            Kind::TrailingStop,
            Kind::Fok,
            Kind::Ioc,
        ];
        let kind = kinds[self.rng.below(9) as usize];
        let mut flags = 0;
        let odds = [
            (FLAG_HIDDEN, 6),
            (FLAG_POST_ONLY, 8),
            (FLAG_REDUCE_ONLY, 5),
            (FLAG_CLOSE, 25),
            (FLAG_OCO, if kind == Kind::Limit { 6 } else { 60 }),
        ];
        for (flag, odds) in odds {
            flags |= if self.rng.chance(1, odds) { flag } else { 0 };
        }
        let sign = self.side().sign() as Units;
        let until = if self.rng.chance(1, 10) { now_ms + self.rng.between(-50, 5_000) } else { 0 };
        Wish {
            owner: 1 + self.rng.below(2) as usize,
            kind,
            is_margin: self.rng.chance(1, 2),
            amount: sign * self.qty(),
            px: if self.rng.chance(1, 60) { 0 } else { self.px(12) },
            aux: if self.rng.chance(1, 60) { 0 } else { self.px(12) },
            trailing: self.rng.between(0, 800) as Units * (ONE / 100),
            px_oco: if self.rng.chance(1, 20) { 0 } else { self.px(20) },
            flags,
            until: until / 1_000 * 1_000,
            shows_once_hit: self.rng.chance(1, 3),
            protects: self.rng.chance(1, 6),
        }
    }
    fn change(&mut self, order: &TwinOrder) -> Change {
        let mut change = Change::default();
        let sign = order.side.sign() as Units;
        match self.rng.below(8) {
            0 => change.amount = Some(sign * order.left / 2),
            1 => change.amount = Some(sign * self.qty()),
            2 => change.amount = Some(-sign * self.qty()),
            3 => change.delta = Some(self.rng.between(-100, 100) as Units * ONE / 100),
            4 => change.flags = Some([0, FLAG_HIDDEN, FLAG_POST_ONLY][self.rng.below(3) as usize]),
            5 => change.trailing = Some(self.rng.between(-1, 500) as Units * (ONE / 100)),
            _ => change.px = Some(self.px(12)),
        }
        change
    }
}

fn text_of(units: Units) -> String {
    plain(i64::try_from(units).unwrap())
}

fn message_of(wish: &Wish) -> String {
    let prefix = if wish.is_margin { "" } else { "EXCHANGE " };
    let mut text = format!(
        r#"[0,"on",null,{{"type":"{prefix}{}","symbol":"tBTCUSD","amount":"{}","price":"{}","flags":{}"#,
        wish.kind.name(),
        text_of(wish.amount),
        text_of(wish.px),
        wish.flags
    );
    for (name, units, is_sent) in [
        ("price_aux_limit", wish.aux, wish.kind == Kind::StopLimit),
        ("price_trailing", wish.trailing, wish.kind == Kind::TrailingStop),
        ("price_oco_stop", wish.px_oco, wish.flags & FLAG_OCO != 0),
    ] {
        if is_sent {
            text.push_str(&format!(r#","{name}":"{}""#, text_of(units)));
        }
    }
    if wish.until > 0 {
        let (year, month, day) = WallNs::from_ms(wish.until).utc_date();
        let second = wish.until.rem_euclid(86_400_000) / 1_000;
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        text.push_str(&format!(
            r#","tif":"{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}""#
        ));
    }
    let (shows, protects) = (u8::from(wish.shows_once_hit), u8::from(wish.protects));
    text.push_str(&format!(
        r#","meta":{{"make_visible":{shows},"protect_selfmatch":{protects}}}}}]"#
    ));
    text
}

fn message_of_change(id: u64, change: &Change) -> String {
    let mut text = format!(r#"[0,"ou",null,{{"id":{id}"#);
    for (name, units) in [
        ("amount", change.amount),
        ("delta", change.delta),
        ("price", change.px),
        ("price_trailing", change.trailing),
    ] {
        if let Some(units) = units {
            text.push_str(&format!(r#","{name}":"{}""#, text_of(units)));
        }
    }
    if let Some(flags) = change.flags {
        text.push_str(&format!(r#","flags":{flags}"#));
    }
    text.push_str("}]");
    text
}

/// Everything of the exchange that the twin has, in the twin's words.
fn compare(exchange: &Exchange, twin: &mut Twin, said: &str) {
    let core = &exchange.core;
    let listing = &core.listings[0];
    assert_eq!(core.ids.order, twin.next_id, "{said}");
    assert_eq!(listing.tape.last().map(Units::from), twin.last, "{said}");
    for side in [Side::Buy, Side::Sell] {
        let mut twins: Vec<&TwinOrder> =
            twin.orders.iter().filter(|o| o.side == side && o.rank.is_some()).collect();
        let nearer = |px: Units| if side == Side::Buy { -px } else { px };
        twins.sort_by_key(|order| (nearer(order.px), order.rank));
        let twins = twins.iter().map(|o| (o.id, o.px, o.left, o.has(FLAG_HIDDEN)));
        let ours = listing.depth.fronts(side);
        let ours = ours.map(|f| (f.maker, f.px as Units, f.qty as Units, f.hidden));
        assert!(ours.eq(twins), "{side:?} after {said}");
    }
    assert_eq!(listing.stops, twin.armed, "{said}");
    let alive = twin.orders.iter().filter(|order| order.owner > 0);
    assert_eq!(core.orders.len(), alive.clone().count(), "{said}");
    for order in alive {
        let ours = &core.orders[&order.id];
        let same = (ours.left as Units, ours.px as Units, ours.kind, ours.flags)
            == (order.left, order.px, order.kind, order.flags)
            && ours.account as usize == order.owner;
        assert!(same, "{ours:?} {order:?} after {said}");
    }
    for (index, account) in twin.accounts.iter().enumerate().skip(1) {
        let ours = core.bank.account(index as u32);
        let wallet =
            |wallet, name: &str| ours.balance(wallet, crate::model::Currency::new(name).unwrap());
        let position = ours.positions.get(&0).map_or((0, 0), |p| (p.qty as Units, p.cost));
        let theirs = TwinAccount {
            spot_usd: wallet(Wallet::Exchange, "USD"),
            spot_btc: wallet(Wallet::Exchange, "BTC"),
            margin_usd: wallet(Wallet::Margin, "USD"),
            margin_btc: wallet(Wallet::Margin, "BTC"),
            held: position.0,
            cost: position.1,
        };
        assert_eq!(&theirs, account, "account {index} after {said}");
        let ended: Vec<&(TwinOrder, Status)> =
            twin.ended.iter().filter(|(order, _)| order.owner == index).collect();
        let closed = ours.closed.iter().rev().take(ended.len()).rev();
        for (ours, (order, status)) in closed.zip(&ended) {
            let fills: Vec<(Units, Units)> =
                ours.fills.iter().map(|(px, qty)| (*px as Units, *qty as Units)).collect();
            assert_eq!((ours.id, ours.status), (order.id, *status), "{ours:?} after {said}");
            assert_eq!((ours.left as Units, fills), (order.left, order.fills.clone()), "{said}");
            assert_eq!(ours.is_forced, order.is_forced);
        }
    }
    twin.ended.clear();
}

/// What was tried and what came of it.
#[derive(Debug, Default)]
struct Tally {
    taken: u64,
    refused: u64,
    endings: BTreeMap<String, u64>,
}

fn drive(seed: u64, commands: u32) -> Tally {
    let mut setup = super::script_tests::config();
    setup.symbols = vec![SymbolSpec::named("tBTCUSD")];
    setup.limits.open_orders = OPEN_MAX;
    for account in &mut setup.accounts {
        account.balances.retain(|(_, currency, _)| currency != "USTF0");
        for (wallet, currency, units) in &mut account.balances {
            let whole = match (wallet.as_str(), currency.as_str()) {
                ("exchange", "USD") => 20_000,
                ("exchange", _) => 200,
                (_, "USD") => 1_000,
                _ => 5,
            };
            *units = whole * 100_000_000;
        }
    }
    let mut script = Script::new(setup);
    let start = TwinAccount {
        spot_usd: 20_000 * ONE,
        spot_btc: 200 * ONE,
        margin_usd: 1_000 * ONE,
        margin_btc: 5 * ONE,
        ..TwinAccount::default()
    };
    let mut twin = Twin {
        next_id: script.exchange.core.ids.order,
        next_rank: 0,
        now_ms: START.as_ms(),
        accounts: vec![TwinAccount::default(), start.clone(), start],
        orders: Vec::new(),
        armed: Vec::new(),
        is_due: false,
        last: None,
        fills: 0,
        ended: Vec::new(),
    };
    let mut player = Player { rng: Rng::new(seed), centre: 10_000, house_ids: Vec::new() };
    let mut tally = Tally::default();
    let before = script.exchange.totals();
    let exchange = &mut script.exchange;
    let mut now = START;
    for command in 0..commands {
        now.0 += player.rng.between(0, 40) * 1_000_000;
        exchange.advance(now, u32::MAX);
        twin.pass_time(now.as_ms());
        exchange.core.set_now(now);
        player.centre = (player.centre + player.rng.between(-40, 40)).clamp(4_000, 20_000);
        let refused = exchange.stats().refused;
        let mut answer = None;
        let said = match player.rng.below(20) {
            0..=4 => {
                let (side, qty) = (player.side(), player.qty().min(40 * ONE));
                // In front of the middle, so that the house does not always cross.
                let sign = side.sign() as Units;
                let px = (player.px(6) - sign * 3 * ONE).max(ONE);
                let id = exchange.core.house_limit(0, side, px as i64, qty as i64);
                twin.house(side, Kind::Limit, px, qty);
                player.house_ids.extend(id);
                format!("house {side:?} {qty} at {px}")
            }
            5 | 6 => {
                let (side, qty) = (player.side(), player.qty().min(20 * ONE));
                exchange.core.house_take(0, side, qty as i64);
                twin.house(side, Kind::Market, 0, qty);
                format!("house takes {side:?} {qty}")
            }
            7 if player.house_ids.len() > 60 => {
                let at = player.rng.below(player.house_ids.len() as u64) as usize;
                let id = player.house_ids.swap_remove(at);
                exchange.core.house_cancel(0, id);
                twin.take_out(id);
                format!("house cancels {id}")
            }
            8..=10 if twin.orders.iter().any(|order| order.owner > 0) => {
                let own: Vec<TwinOrder> =
                    twin.orders.iter().filter(|order| order.owner > 0).cloned().collect();
                let order = &own[player.rng.below(own.len() as u64) as usize];
                if player.rng.chance(1, 3) {
                    let text = format!(r#"[0,"oc",null,{{"id":{}}}]"#, order.id);
                    exchange.on_text(order.owner as u64, text.as_bytes(), now);
                    twin.cancel(order.id, Status::Canceled);
                    text
                } else {
                    let change = player.change(order);
                    let text = message_of_change(order.id, &change);
                    exchange.on_text(order.owner as u64, text.as_bytes(), now);
                    answer = Some(twin.amend(order.id, &change));
                    text
                }
            }
            _ => {
                let wish = player.wish(now.as_ms());
                let text = message_of(&wish);
                exchange.on_text(wish.owner as u64, text.as_bytes(), now);
                answer = Some(twin.place(&wish));
                text
            }
        };
        let said = format!("seed {seed}, command {command}: {said}");
        let was_refused = exchange.stats().refused > refused;
        if let Some(taken) = answer {
            assert_eq!(was_refused, !taken, "{said}");
            *(if taken { &mut tally.taken } else { &mut tally.refused }) += 1;
        }
        for (_, status) in &twin.ended {
            *tally.endings.entry(format!("{status:?}")).or_default() += 1;
        }
        compare(exchange, &mut twin, &said);
        drain(exchange);
        if command % 64 == 0 {
            assert_eq!(exchange.totals(), before, "money is neither made nor lost: {said}");
        }
    }
    assert_eq!(exchange.totals(), before);
    *tally.endings.entry("forced".to_owned()).or_default() = exchange.stats().forced;
    tally
}

#[test]
fn the_exchange_does_what_its_plain_twin_does() {
    let mut sum = Tally::default();
    for seed in 1..=4 {
        let tally = drive(seed, 5_000);
        sum.taken += tally.taken;
        sum.refused += tally.refused;
        for (name, count) in tally.endings {
            *sum.endings.entry(name).or_default() += count;
        }
    }
    println!("{sum:?}");
    assert!(sum.taken > 5_000 && sum.refused > 500, "{sum:?}");
    assert!(sum.endings.len() >= 11, "every way to end was seen: {sum:?}");
    assert!(sum.endings["forced"] >= 10, "{sum:?}");
}

/// The long run of the acceptance: `cargo test --release --lib -- --ignored a_million`.
#[test]
#[ignore = "takes minutes; run it in release after a change of matching, margin or money"]
fn a_million_random_commands_agree_with_the_twin() {
    let (mut sum, mut forced) = (0, 0);
    // Many short lives: accounts that went broke have little left to try.
    for seed in 100..300 {
        let tally = drive(seed, 5_000);
        sum += 5_000;
        forced += tally.endings["forced"];
    }
    println!("{sum} commands, {forced} positions ended by the venue");
    assert_eq!(sum, 1_000_000);
}
