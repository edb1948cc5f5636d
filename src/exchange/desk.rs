//! What becomes of orders: entry, cancel, amend, expiry, stops. Executions themselves are in
//! `settle`.

use super::account::Wallet;
use super::core::Core;
use super::date::read_day;
use super::matching::Resting;
use super::number::{push_number, value_of};
use super::order::{FLAG_CLOSE, Kind, Order, Request, Status};
use super::settle::Taker;
use crate::base::limits::CID_MAX;
use crate::base::time::WallNs;
use crate::base::units::Side;

/// Why a request was refused, in the venue's words.
pub type Refusal = String;

/// Days for which client ids are remembered.
const CID_DAYS: i64 = 2;
/// Span of the order rate, ms.
const ORDER_RATE_MS: i64 = 300_000;

/// Where a trailing stop stands when the price is `px`.
fn trailed(px: i64, order: &Order) -> i64 {
    px.saturating_add(order.side.sign() * order.px_trailing).max(1)
}

impl Core {
    /// Checks a new order and makes it, not yet executed: the acknowledgement comes before its
    /// effects.
    pub(super) fn accept_order(
        &mut self,
        account: u32,
        request: &Request,
    ) -> Result<Order, Refusal> {
        let now_ms = self.now_ms();
        if request.cid_bad {
            return Err("cid: invalid".into());
        }
        if let Some(bad) = request.bad {
            return Err(bad.into());
        }
        if !self.config.accounts[account as usize - 1].permissions.orders_write {
            return Err("api_key: permission invalid".into());
        }
        if self.in_maintenance {
            return Err("maintenance".into());
        }
        let symbol = self.find_symbol(&request.symbol).ok_or("symbol: invalid")?;
        let (kind, wallet) = Kind::parse(&request.kind).ok_or("type: invalid")?;
        let spec = &self.listing(symbol).spec;
        if wallet == Wallet::Margin && spec.margin_initial_e4 == 0 {
            return Err("Invalid order: not a margin pair".into());
        }
        let mut amount = request.amount.unwrap_or(0);
        if request.flags & FLAG_CLOSE != 0 && wallet == Wallet::Margin {
            let position = self.bank.account(account).positions.get(&symbol);
            amount = position.map_or(amount, |position| -position.qty);
        }
        if amount == 0 || amount == i64::MIN {
            return Err("amount: invalid".into());
        }
        let qty = amount.abs();
        let side = if amount > 0 { Side::Buy } else { Side::Sell };
        let closes = request.flags & FLAG_CLOSE != 0;
        if qty < spec.qty_min && !closes {
            return Err(self.size_refusal(symbol, "minimum", self.listing(symbol).spec.qty_min));
        }
        if qty > spec.qty_max {
            return Err(self.size_refusal(symbol, "maximum", self.listing(symbol).spec.qty_max));
        }
        let px = request.px.unwrap_or(0);
        let px_aux = request.px_aux.unwrap_or(0);
        let px_trailing = request.px_trailing.unwrap_or(0);
        match kind {
            Kind::Market => {}
            Kind::TrailingStop if px_trailing > 0 => {}
            Kind::TrailingStop => return Err("price_trailing: invalid".into()),
            Kind::StopLimit if px_aux <= 0 => return Err("price_aux_limit: invalid".into()),
            _ if px <= 0 => return Err("Invalid price.".into()),
            _ => {}
        }
        self.check_cid(account, request.cid)?;
        self.check_order_rate(account)?;
        if self.bank.account(account).open.len() >= self.config.limits.open_orders {
            return Err("Invalid order: too many open orders".into());
        }
        let px_funds = match kind {
            Kind::Limit | Kind::Fok | Kind::Ioc | Kind::Stop => Some(px),
            Kind::StopLimit => Some(px_aux),
            Kind::Market | Kind::TrailingStop => None,
        };
        let order = Order {
            id: 0,
            account,
            gid: request.gid,
            cid: Some(request.cid.unwrap_or(now_ms.unsigned_abs())),
            symbol,
            created_ms: now_ms,
            updated_ms: now_ms,
            side,
            qty,
            left: qty,
            kind,
            kind_before: None,
            wallet,
            flags: request.flags,
            px: if kind == Kind::Market { px.max(0) } else { px },
            px_aux,
            px_trailing,
            leverage: request.leverage,
            until_ms: request.until_ms.unwrap_or(0),
            status: Status::Active,
            fills: Vec::new(),
        };
        if !order.is_reduce_only() {
            self.check_funds(&order, px_funds, qty)?;
        }
        let order = Order { id: self.next_order_id(), ..order };
        self.remember_cid(account, request.cid);
        let recent = &mut self.bank.account_mut(account).recent_orders;
        if self.config.limits.orders_per_5_min > 0 {
            recent.push_back(now_ms);
        }
        self.stats.orders += 1;
        self.is_dirty = true;
        Ok(order)
    }
    fn size_refusal(&self, symbol: u16, which: &str, qty: i64) -> Refusal {
        let listing = self.listing(symbol);
        let mut text = Vec::new();
        push_number(&mut text, qty);
        let qty = String::from_utf8_lossy(&text);
        format!("Invalid order: {which} size for {}/{} is {qty}", listing.base, listing.quote)
    }
    fn check_cid(&self, account: u32, cid: Option<u64>) -> Result<(), Refusal> {
        let Some(cid) = cid else { return Ok(()) };
        let today = self.now.utc_day();
        let used =
            self.bank.account(account).cids.get(&today).is_some_and(|day| day.contains(&cid));
        if cid == 0 || cid > CID_MAX {
            return Err("cid: invalid".into());
        }
        if used && self.config.cid_unique_per_day {
            return Err("cid: dup".into());
        }
        Ok(())
    }
    fn remember_cid(&mut self, account: u32, cid: Option<u64>) {
        let today = self.now.utc_day();
        let cids = &mut self.bank.account_mut(account).cids;
        if let Some(cid) = cid {
            cids.entry(today).or_default().insert(cid);
        }
        cids.retain(|day, _| *day > today - CID_DAYS);
    }
    fn check_order_rate(&mut self, account: u32) -> Result<(), Refusal> {
        let limit = self.config.limits.orders_per_5_min as usize;
        let from = self.now_ms() - ORDER_RATE_MS;
        let recent = &mut self.bank.account_mut(account).recent_orders;
        while recent.front().is_some_and(|at| *at < from) {
            recent.pop_front();
        }
        if limit > 0 && recent.len() >= limit {
            return Err("ratelimit: error".into());
        }
        Ok(())
    }
    /// Sends an accepted order on its way. Tells the account what happens.
    pub(super) fn place_order(&mut self, order: Order) {
        let symbol = order.symbol;
        if order.until_ms > 0 {
            self.expiries.insert((order.until_ms, order.id));
        }
        if let Some(status) = self.reduce_only_problem(&order) {
            self.end_order(Order { status, ..order });
            return;
        }
        if order.kind.is_stop() {
            let mut order = order;
            if order.kind == Kind::TrailingStop && order.px == 0 {
                let mark = self.listing(symbol).mark();
                order.px = trailed(mark, &order);
            }
            self.tell_order("on", &order);
            let listing = &mut self.listings[symbol as usize];
            listing.stops.push(order.id);
            listing.stops_due = true;
            self.keep_order(order);
        } else {
            self.execute(order, true);
            self.book_changed(symbol);
        }
        self.run_stops(symbol);
        self.check_reduce_only(symbol);
    }
    pub(super) fn keep_order(&mut self, order: Order) {
        self.bank.account_mut(order.account).open.insert(order.id);
        self.orders.insert(order.id, order);
        self.is_dirty = true;
    }
    fn drop_order(&mut self, id: u64) -> Option<Order> {
        let order = self.orders.remove(&id)?;
        self.bank.account_mut(order.account).open.remove(&id);
        self.is_dirty = true;
        Some(order)
    }
    /// An order that is over: told as `oc` and kept in the history.
    pub(super) fn end_order(&mut self, mut order: Order) {
        order.updated_ms = self.now_ms();
        self.drop_order(order.id);
        if order.until_ms > 0 {
            self.expiries.remove(&(order.until_ms, order.id));
        }
        self.tell_order("oc", &order);
        self.bank.account_mut(order.account).remember_order(order);
        self.is_dirty = true;
    }
    fn reduce_only_problem(&self, order: &Order) -> Option<Status> {
        if !order.is_reduce_only() {
            return None;
        }
        let Some(position) = self.bank.account(order.account).positions.get(&order.symbol) else {
            return Some(Status::PositionNotFound);
        };
        if (position.qty > 0) == (order.side == Side::Buy) {
            return Some(Status::ReduceWouldIncrease);
        }
        (order.left > position.qty.abs()).then_some(Status::ReduceWouldFlip)
    }
    /// Cancels resting reduce-only orders that their position no longer covers.
    pub(super) fn check_reduce_only(&mut self, symbol: u16) {
        let broken: Vec<(u64, Status)> = self
            .orders
            .values()
            .filter(|order| order.symbol == symbol && order.is_reduce_only())
            .filter_map(|order| self.reduce_only_problem(order).map(|status| (order.id, status)))
            .collect();
        let any = !broken.is_empty();
        for (id, status) in broken {
            if let Some(order) = self.take_out(id) {
                self.end_order(Order { status, ..order });
            }
        }
        if any {
            self.book_changed(symbol);
        }
    }
    /// Executes what can be executed and lets the rest stand or go, by the order's kind. `is_new` =
    /// the account has not been told of it by `on` yet.
    pub(super) fn execute(&mut self, order: Order, is_new: bool) {
        let symbol = order.symbol;
        let limit = match order.kind {
            Kind::Market => None,
            _ => Some(order.px),
        };
        let depth = &self.listing(symbol).depth;
        let crosses = depth
            .best(order.side.opposite())
            .is_some_and(|best| super::levels::accepts(order.side, limit, best));
        if order.is_post_only() && crosses {
            self.end_order(Order { status: Status::PostOnlyCanceled, ..order });
            return;
        }
        if order.kind == Kind::Fok && depth.fillable(order.side, limit, order.left).0 < order.left {
            self.end_order(Order { status: Status::FokCanceled, ..order });
            return;
        }
        let is_spot_buy = order.wallet == Wallet::Exchange && order.side == Side::Buy;
        let budget = match limit {
            None if is_spot_buy => Some(self.available_units(&order)),
            _ => None,
        };
        let mut matches = std::mem::take(&mut self.scratch.matches);
        matches.clear();
        if crosses {
            let depth = &mut self.listings[symbol as usize].depth;
            depth.take(order.side, limit, order.left, budget, &mut matches);
        }
        let mut taker = Taker::new(order);
        for hit in &matches {
            self.settle_match(symbol, &mut taker, *hit);
        }
        // Something is left to take, so it was the money that ran out.
        let starved = budget.is_some()
            && self.listing(symbol).depth.best(taker.order.side.opposite()).is_some();
        self.scratch.matches = matches;
        let order = &mut taker.order;
        if order.left > 0 {
            match order.kind {
                Kind::Market if starved => {
                    order.status = Status::InsufficientBalance;
                }
                Kind::Market => order.status = Status::BookSlip,
                Kind::Ioc => order.status = Status::IocCanceled,
                Kind::Fok => order.status = Status::FokCanceled,
                _ => {}
            }
        }
        let rests = order.left > 0 && order.kind == Kind::Limit;
        if rests {
            let resting = Resting {
                id: order.id,
                owner: order.account,
                side: order.side,
                px: order.px,
                qty: order.left,
                hidden: order.is_hidden(),
            };
            self.listings[symbol as usize].depth.rest(resting);
        }
        self.tell_taker(taker, is_new, rests);
    }
    /// Takes an order out of the book or the stops, still alive in nobody's hands.
    fn take_out(&mut self, id: u64) -> Option<Order> {
        let order = self.drop_order(id)?;
        let listing = &mut self.listings[order.symbol as usize];
        if listing.depth.remove(id).is_none() {
            listing.stops.retain(|stop| *stop != id);
        }
        Some(order)
    }
    /// Cancels an order that is alive; false where there is none.
    pub(super) fn cancel_order(&mut self, id: u64) -> bool {
        let Some(order) = self.take_out(id) else { return false };
        let symbol = order.symbol;
        self.stats.canceled += 1;
        self.end_order(Order { status: Status::Canceled, ..order });
        self.book_changed(symbol);
        true
    }
    /// The account's live order that a request names, by id or by client id and its date.
    pub(super) fn find_order(&self, account: u32, request: &Request) -> Result<u64, Refusal> {
        if let Some(bad) = request.bad {
            return Err(bad.into());
        }
        let open = &self.bank.account(account).open;
        if let Some(id) = request.id {
            return open.get(&id).copied().ok_or_else(|| "Order not found.".into());
        }
        let Some(cid) = request.cid else { return Err("id: invalid".into()) };
        let day = match &request.cid_date {
            Some(date) => read_day(date).ok_or("cid_date: invalid")?,
            None => self.now.utc_day(),
        };
        let is_it = |id: &&u64| {
            self.orders.get(id).is_some_and(|order| {
                let created = WallNs::from_ms(order.created_ms).utc_day();
                order.cid == Some(cid) && created == day
            })
        };
        open.iter().find(is_it).copied().ok_or_else(|| "Order not found.".into())
    }
    /// Orders of an account that a multiple cancel names.
    pub(super) fn find_orders(&self, account: u32, body: &super::json::Json<'_>) -> Vec<u64> {
        use super::json::Json;
        let open = &self.bank.account(account).open;
        if body.given("all").is_some() {
            return open.iter().copied().collect();
        }
        let mut found = Vec::new();
        for id in body.get("id").map_or(&[][..], Json::items) {
            found.extend(id.unsigned().filter(|id| open.contains(id)));
        }
        for gid in body.get("gid").map_or(&[][..], Json::items) {
            let gid = gid.unsigned();
            let of_group = |id: &&u64| {
                gid.is_some() && self.orders.get(id).is_some_and(|order| order.gid == gid)
            };
            found.extend(open.iter().filter(of_group));
        }
        for pair in body.get("cid").map_or(&[][..], Json::items) {
            let request = Request {
                cid: pair.items().first().and_then(Json::unsigned),
                cid_date: pair.items().get(1).and_then(Json::text).map(str::to_owned),
                ..Request::default()
            };
            found.extend(self.find_order(account, &request));
        }
        found.sort_unstable();
        found.dedup();
        found
    }
    /// Checks an amendment and returns the order as it will be; nothing is changed yet.
    pub(super) fn accept_amend(&self, account: u32, request: &Request) -> Result<Order, Refusal> {
        let id = self.find_order(account, request)?;
        let mut order = self.orders.get(&id).cloned().ok_or("Order not found.")?;
        let signed_left = order.side.sign() * order.left;
        let new_left = match (request.amount, request.delta) {
            (Some(amount), _) => amount,
            (None, Some(delta)) => signed_left.saturating_add(delta),
            (None, None) => signed_left,
        };
        if new_left == 0 || (new_left > 0) != (order.side == Side::Buy) {
            return Err("amount: invalid".into());
        }
        let left = new_left.saturating_abs();
        let spec = &self.listing(order.symbol).spec;
        if left < spec.qty_min {
            return Err(self.size_refusal(order.symbol, "minimum", spec.qty_min));
        }
        if left > spec.qty_max {
            return Err(self.size_refusal(order.symbol, "maximum", spec.qty_max));
        }
        order.qty += left - order.left;
        order.left = left;
        for (field, value) in [
            (&mut order.px, request.px),
            (&mut order.px_aux, request.px_aux),
            (&mut order.px_trailing, request.px_trailing),
        ] {
            match value {
                Some(value) if value <= 0 => return Err("price: invalid".into()),
                Some(value) => *field = value,
                None => {}
            }
        }
        if request.flags != 0 {
            order.flags = request.flags;
        }
        order.leverage = request.leverage.or(order.leverage);
        order.until_ms = request.until_ms.unwrap_or(order.until_ms);
        if !order.is_reduce_only() {
            let px = if order.kind == Kind::StopLimit { order.px_aux } else { order.px };
            self.check_funds(&order, Some(px), order.left)?;
        }
        Ok(order)
    }
    /// Brings an amended order into effect: smaller at the same price keeps its place, anything
    /// else does not.
    pub(super) fn amend_order(&mut self, amended: Order) {
        let id = amended.id;
        let symbol = amended.symbol;
        let Some(before) = self.orders.get(&id).cloned() else { return };
        let mut amended = amended;
        amended.updated_ms = self.now_ms();
        if before.until_ms != amended.until_ms {
            self.expiries.remove(&(before.until_ms, id));
            if amended.until_ms > 0 {
                self.expiries.insert((amended.until_ms, id));
            }
        }
        if amended.kind.is_stop() {
            self.tell_order("ou", &amended);
            self.keep_order(amended);
            self.listings[symbol as usize].stops_due = true;
            self.run_stops(symbol);
            return;
        }
        let stays = amended.px == before.px && amended.flags == before.flags;
        let depth = &mut self.listings[symbol as usize].depth;
        if stays && (amended.left == before.left || depth.reduce(id, amended.left)) {
            self.tell_order("ou", &amended);
            self.keep_order(amended);
        } else {
            self.take_out(id);
            self.execute(amended, false);
        }
        self.book_changed(symbol);
        self.run_stops(symbol);
        self.check_reduce_only(symbol);
    }
    /// Fires the stops of a symbol that the last price has reached. Each fires once, so this ends.
    pub(super) fn run_stops(&mut self, symbol: u16) {
        while std::mem::take(&mut self.listings[symbol as usize].stops_due) {
            let listing = self.listing(symbol);
            let Some(last) = listing.tape.last() else { return };
            let mut due = None;
            for id in listing.stops.clone() {
                let Some(order) = self.orders.get_mut(&id) else { continue };
                if order.kind == Kind::TrailingStop {
                    let trailed = trailed(last, order);
                    order.px = match order.side {
                        Side::Buy => order.px.min(trailed),
                        Side::Sell => order.px.max(trailed),
                    };
                }
                let reached = match order.side {
                    Side::Buy => last >= order.px,
                    Side::Sell => last <= order.px,
                };
                if reached && due.is_none() {
                    due = Some(id);
                }
            }
            let Some(id) = due else { return };
            let Some(mut order) = self.take_out(id) else { return };
            order.kind_before = Some(order.kind);
            if order.kind == Kind::StopLimit {
                order.kind = Kind::Limit;
                order.px = order.px_aux;
            } else {
                order.kind = Kind::Market;
            }
            order.updated_ms = self.now_ms();
            self.tell_order("ou", &order);
            match self.reduce_only_problem(&order) {
                Some(status) => self.end_order(Order { status, ..order }),
                None => self.execute(order, false),
            }
            self.book_changed(symbol);
            // One fired stop may have moved the price for the next.
            self.listings[symbol as usize].stops_due = true;
        }
    }
    /// Balance of an exchange wallet that no open order holds, for the currency `order` pays with.
    fn available_units(&self, order: &Order) -> i64 {
        let listing = self.listing(order.symbol);
        let currency = if order.side == Side::Buy { listing.quote } else { listing.base };
        let units = self.available(order.account, Wallet::Exchange, currency, order.id);
        units.clamp(0, i64::MAX as i128) as i64
    }
    /// Balance that is free; `except` = an order whose own hold does not count.
    pub(super) fn available(
        &self,
        account: u32,
        wallet: Wallet,
        currency: crate::model::Currency,
        except: u64,
    ) -> i128 {
        let account = self.bank.account(account);
        let mut free = account.balance(wallet, currency);
        if wallet != Wallet::Exchange {
            return free;
        }
        for id in &account.open {
            let Some(order) = self.orders.get(id).filter(|order| order.id != except) else {
                continue;
            };
            if order.wallet != Wallet::Exchange {
                continue;
            }
            let listing = self.listing(order.symbol);
            free -= match order.side {
                Side::Buy if listing.quote == currency => {
                    let px = if order.kind == Kind::StopLimit { order.px_aux } else { order.px };
                    value_of(px, order.left) as i128
                }
                Side::Sell if listing.base == currency => order.left as i128,
                _ => 0,
            };
        }
        free
    }
    /// Refuses what the account cannot pay. `px` `None` = a market order.
    fn check_funds(&self, order: &Order, px: Option<i64>, qty: i64) -> Result<(), Refusal> {
        let listing = self.listing(order.symbol);
        let enough = match order.wallet {
            Wallet::Exchange => {
                let free = self.available_units(order);
                match (order.side, px) {
                    (Side::Sell, _) => free >= qty,
                    (Side::Buy, Some(px)) => free >= value_of(px, qty),
                    // A market buy is filled as far as the money goes.
                    (Side::Buy, None) => free > 0,
                }
            }
            _ => {
                let px = px.filter(|px| *px > 0).unwrap_or_else(|| listing.mark());
                self.margin_suffices(order, px, qty)
            }
        };
        if enough {
            return Ok(());
        }
        let what = match order.wallet {
            Wallet::Exchange => "exchange",
            _ => "tradable",
        };
        let mut text = format!("Invalid order: not enough {what} balance for ").into_bytes();
        push_number(&mut text, order.side.sign() * qty);
        text.push(b' ');
        text.extend_from_slice(listing.pair().as_bytes());
        text.extend_from_slice(b" at ");
        push_number(&mut text, px.unwrap_or_else(|| listing.mark()));
        Err(String::from_utf8_lossy(&text).into_owned())
    }
    /// True where equity covers the initial margin of all positions and open margin orders with
    /// this one. An order against a position is counted for what it opens beyond it.
    fn margin_suffices(&self, order: &Order, px: i64, qty: i64) -> bool {
        let account = self.bank.account(order.account);
        let quote = self.listing(order.symbol).quote;
        let mut equity: i128 = 0;
        for ((wallet, currency), units) in &account.wallets {
            if *wallet == Wallet::Margin {
                equity += self.convert(*currency, quote, *units);
            }
        }
        let mut needed: i128 = 0;
        let mut count = |symbol: u16, value: i128| {
            let listing = self.listing(symbol);
            let units = self.convert(listing.quote, quote, value);
            needed += units * listing.spec.margin_initial_e4 as i128 / 10_000;
        };
        for (symbol, position) in &account.positions {
            let listing = self.listing(*symbol);
            equity += self.convert(listing.quote, quote, position.profit(listing.mark()));
            count(*symbol, value_of(listing.mark(), position.qty).abs() as i128);
        }
        for other in account.open.iter().filter_map(|id| self.orders.get(id)) {
            if other.wallet == Wallet::Margin && other.id != order.id && !other.is_reduce_only() {
                count(other.symbol, value_of(other.px, other.left) as i128);
            }
        }
        let held = account.positions.get(&order.symbol).map_or(0, |position| position.qty);
        let opposed = (held > 0) != (order.side == Side::Buy);
        let opening = if opposed { (qty - held.abs()).max(0) } else { qty };
        count(order.symbol, value_of(px, opening) as i128);
        equity >= needed || opening == 0
    }
    /// Units of one currency in another, by the last prices of the pairs listed; 0 where no pair
    /// joins them.
    fn convert(
        &self,
        from: crate::model::Currency,
        to: crate::model::Currency,
        units: i128,
    ) -> i128 {
        let dollar = |currency: &str| matches!(currency, "USD" | "UST");
        if from == to || (dollar(from.as_str()) && dollar(to.as_str())) {
            return units;
        }
        let pair = self.listings.iter().find(|listing| {
            listing.base == from
                && (listing.quote == to || (dollar(listing.quote.as_str()) && dollar(to.as_str())))
        });
        pair.map_or(0, |listing| units * listing.mark() as i128 / 100_000_000)
    }
}
