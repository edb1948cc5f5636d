//! A plain twin of order entry, matching and money, and random commands to both.
//!
//! The twin is slow on purpose: one list of orders, searched from end to end for everything, fills
//! tried out on a copy of it all. It shares words with the exchange (kinds, sides, statuses), no
//! code. After every command books, orders, endings, wallets and positions must be the same.

use super::order::{FLAG_CLOSE, FLAG_HIDDEN, FLAG_OCO, FLAG_POST_ONLY, FLAG_REDUCE_ONLY};
use super::order::{Kind, Status};
use crate::base::units::Side;

pub type Units = i128;
pub const ONE: Units = 100_000_000;
const QTY_MIN: Units = 4_000;
const QTY_MAX: Units = 2_000 * ONE;
/// Initial margin of the pair, and what positions must keep.
const INITIAL_E4: Units = 1_000;
const MINIMUM_E4: Units = 500;
const MAKER_E6: Units = 1_000;
const TAKER_E6: Units = 2_000;
pub const OPEN_MAX: usize = 40;

/// Price times quantity, halves away from zero.
pub fn value(px: Units, qty: Units) -> Units {
    let product = px * qty;
    (product.abs() + ONE / 2) / ONE * product.signum()
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TwinOrder {
    pub id: u64,
    /// 0 = the house.
    pub owner: usize,
    pub side: Side,
    pub kind: Kind,
    pub is_margin: bool,
    pub flags: u32,
    pub px: Units,
    pub aux: Units,
    pub trailing: Units,
    pub left: Units,
    pub until: i64,
    pub sibling: u64,
    pub shows_once_hit: bool,
    pub protects: bool,
    pub is_forced: bool,
    /// Place in the queue of its price; `None` = not in the book.
    pub rank: Option<u64>,
    pub fills: Vec<(Units, Units)>,
}

impl TwinOrder {
    pub fn has(&self, flag: u32) -> bool {
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
pub struct TwinAccount {
    pub spot_usd: Units,
    pub spot_btc: Units,
    pub margin_usd: Units,
    pub margin_btc: Units,
    pub held: Units,
    pub cost: Units,
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
pub struct Twin {
    pub next_id: u64,
    pub next_rank: u64,
    pub now_ms: i64,
    pub accounts: Vec<TwinAccount>,
    pub orders: Vec<TwinOrder>,
    /// Armed stops, the first armed first.
    pub armed: Vec<u64>,
    pub is_due: bool,
    pub last: Option<Units>,
    pub fills: u64,
    /// Orders of accounts that ended since the last look.
    pub ended: Vec<(TwinOrder, Status)>,
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
    pub fn take_out(&mut self, id: u64) -> Option<TwinOrder> {
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
    pub fn cancel(&mut self, id: u64, status: Status) {
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

    pub fn house(&mut self, side: Side, kind: Kind, px: Units, qty: Units) {
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
    pub fn place(&mut self, wish: &Wish) -> bool {
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
    pub fn amend(&mut self, id: u64, change: &Change) -> bool {
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
    pub fn pass_time(&mut self, now_ms: i64) {
        self.now_ms = now_ms;
        let mut due: Vec<(i64, u64)> =
            self.orders.iter().filter(|o| o.until > 0).map(|o| (o.until, o.id)).collect();
        due.retain(|(until, _)| *until <= now_ms);
        due.sort_unstable();
        due.into_iter().for_each(|(_, id)| self.cancel(id, Status::Canceled));
    }
}

pub fn house_order(id: u64, side: Side, px: Units, left: Units) -> TwinOrder {
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
pub struct Wish {
    pub owner: usize,
    pub kind: Kind,
    pub is_margin: bool,
    pub amount: Units,
    pub px: Units,
    pub aux: Units,
    pub trailing: Units,
    pub px_oco: Units,
    pub flags: u32,
    pub until: i64,
    pub shows_once_hit: bool,
    pub protects: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Change {
    pub amount: Option<Units>,
    pub delta: Option<Units>,
    pub px: Option<Units>,
    pub trailing: Option<Units>,
    pub flags: Option<u32>,
}
