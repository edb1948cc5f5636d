//! What becomes of orders: entry, cancel, amend, expiry, stops. Executions themselves are in
//! `settle`.

use super::account::Wallet;
use super::core::Core;
use super::date::read_day;
use super::json::Json;
use super::number::push_number;
use super::order::{FLAG_CLOSE, FLAG_OCO, Kind, Order, Request, Status};
use crate::base::limits::CID_MAX;
use crate::base::time::WallNs;
use crate::base::units::Side;

/// Why a request was refused, in the venue's words.
pub type Refusal = String;

/// Days for which client ids are remembered.
const CID_DAYS: i64 = 2;
/// Leverage of a derivative order that names none, and the most one may name.
const LEVERAGE_USUAL: u32 = 10;
const LEVERAGE_MAX: u32 = 100;
/// Span of the order rate, ms.
const ORDER_RATE_MS: i64 = 300_000;

/// An order that was checked, not yet on its way.
pub(super) struct NewOrder {
    pub order: Order,
    /// The stop of an OCO pair; its id comes with the first leg's.
    pub second: Option<Order>,
}

impl Core {
    /// Checks a new order and makes it, not yet executed: the acknowledgement comes before its
    /// effects.
    pub(super) fn accept_order(
        &mut self,
        account: u32,
        request: &Request,
    ) -> Result<NewOrder, Refusal> {
        let now_ms = self.now_ms();
        if request.cid_bad {
            return Err("cid: invalid".into());
        }
        if let Some(bad) = request.bad {
            return Err(bad.into());
        }
        let symbol = self.find_symbol(&request.symbol).ok_or("symbol: invalid")?;
        let (kind, wallet) = Kind::parse(&request.kind).ok_or("type: invalid")?;
        let listing = self.listing(symbol);
        let is_derivative = listing.is_derivative();
        let spec = &listing.spec;
        if wallet == Wallet::Exchange && is_derivative {
            return Err("type: invalid".into());
        }
        if wallet == Wallet::Margin && spec.margin_initial_e4 == 0 {
            return Err("Invalid order: not a margin pair".into());
        }
        let flags = request.flags.unwrap_or(0);
        let closes = flags & FLAG_CLOSE != 0;
        let mut amount = request.amount.unwrap_or(0);
        if closes && wallet == Wallet::Margin {
            let position = self.bank.account(account).positions.get(&symbol);
            amount = position.map_or(amount, |position| -position.qty);
        }
        if amount == 0 || amount == i64::MIN {
            return Err("amount: invalid".into());
        }
        let qty = amount.abs();
        let side = if amount > 0 { Side::Buy } else { Side::Sell };
        if qty < spec.qty_min && !closes {
            return Err(self.size_refusal(symbol, "minimum", spec.qty_min));
        }
        if qty > spec.qty_max && !closes {
            return Err(self.size_refusal(symbol, "maximum", spec.qty_max));
        }
        let px = request.px.unwrap_or(0);
        let px_aux = request.px_aux.unwrap_or(0);
        // A client that names a trailing stop's distance as its price is understood.
        let px_trailing = request.px_trailing.unwrap_or(px);
        match kind {
            Kind::Market => {}
            Kind::TrailingStop if px_trailing > 0 => {}
            Kind::TrailingStop => return Err("price_trailing: invalid".into()),
            Kind::StopLimit if px_aux <= 0 => return Err("price_aux_limit: invalid".into()),
            _ if px <= 0 => return Err("Invalid price.".into()),
            _ => {}
        }
        let is_pair = flags & FLAG_OCO != 0;
        let px_oco = request.px_oco.unwrap_or(0);
        if is_pair && kind != Kind::Limit {
            return Err("type: invalid".into());
        }
        if is_pair && px_oco <= 0 {
            return Err("price_oco_stop: invalid".into());
        }
        if request.until_ms.is_some_and(|until| until <= now_ms) {
            return Err("tif: invalid".into());
        }
        let leverage = match request.leverage {
            _ if !is_derivative => None,
            None => Some(LEVERAGE_USUAL),
            Some(leverage @ 1..=LEVERAGE_MAX) => Some(leverage),
            Some(_) => return Err("lev: invalid".into()),
        };
        let second_cid = if is_pair { request.cid_oco } else { None };
        self.check_cid(account, request.cid)?;
        self.check_cid(account, second_cid)?;
        if second_cid.is_some() && second_cid == request.cid {
            return Err("cid: dup".into());
        }
        self.check_order_rate(account)?;
        let open = self.bank.account(account).open.len();
        if open + usize::from(is_pair) >= self.config.limits.open_orders {
            return Err("Invalid order: too many open orders".into());
        }
        let px_funds = match kind {
            Kind::Limit if is_pair => Some(px.max(px_oco)),
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
            flags,
            px: match kind {
                Kind::Market => px.max(0),
                Kind::TrailingStop => 0,
                _ => px,
            },
            px_aux: if kind == Kind::StopLimit { px_aux } else { 0 },
            px_trailing: if kind == Kind::TrailingStop { px_trailing } else { 0 },
            leverage,
            until_ms: request.until_ms.unwrap_or(0),
            status: Status::Active,
            fills: Vec::new(),
            sibling: 0,
            is_forced: false,
            meta: request.meta.clone().unwrap_or_default(),
        };
        if !order.is_reduce_only() {
            self.check_funds(&order, px_funds, qty)?;
        }
        let mut order = Order { id: self.next_order_id(), ..order };
        let second = is_pair.then(|| {
            let id = self.next_order_id();
            order.sibling = id;
            let cid = Some(second_cid.unwrap_or(now_ms.unsigned_abs()));
            let sibling = order.id;
            Order { id, cid, kind: Kind::Stop, px: px_oco, sibling, ..order.clone() }
        });
        self.remember_cid(account, request.cid);
        self.remember_cid(account, second_cid);
        let recent = &mut self.bank.account_mut(account).recent_orders;
        if self.config.limits.orders_per_5_min > 0 {
            recent.push_back(now_ms);
        }
        self.stats.orders += 1 + u64::from(is_pair);
        self.is_dirty = true;
        Ok(NewOrder { order, second })
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
        let used = self.bank.account(account).cids.get(&today).is_some_and(|day| day.contains(cid));
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
    pub(super) fn place_order(&mut self, new: NewOrder) {
        let NewOrder { order, second } = new;
        let symbol = order.symbol;
        if let Some(status) = self.reduce_only_problem(&order) {
            self.end_order(Order { status, ..order });
            return;
        }
        if order.until_ms > 0 {
            self.expiries.insert((order.until_ms, order.id));
            self.expiries.extend(second.iter().map(|second| (second.until_ms, second.id)));
        }
        // The stop is told first, as the venue does.
        if let Some(second) = second {
            self.arm(second);
        }
        if order.kind.is_stop() {
            self.arm(order);
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
    /// Takes an order out of the book or the stops, still alive in nobody's hands.
    pub(super) fn take_out(&mut self, id: u64) -> Option<Order> {
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
    pub(super) fn find_orders(&self, account: u32, body: &Json<'_>) -> Result<Vec<u64>, Refusal> {
        let open = &self.bank.account(account).open;
        let all = match body.given("all") {
            Some(Json::Bool(all)) => *all,
            Some(value) => value.integer() == Some(1),
            None => false,
        };
        if all {
            return Ok(open.iter().copied().collect());
        }
        if !["id", "gid", "cid"].iter().any(|key| body.given(key).is_some()) {
            return Err("id: invalid".into());
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
        Ok(found)
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
        if let Some(flags) = request.flags {
            // A pair stays one, whatever is said of its flags.
            let pair = order.flags & FLAG_OCO;
            order.flags = (flags & !FLAG_OCO) | pair;
        }
        if order.kind == Kind::TrailingStop && request.px_trailing.is_some() {
            order.px = 0; // found anew from the last price
        }
        if order.leverage.is_some() {
            order.leverage = match request.leverage {
                None => order.leverage,
                Some(leverage @ 1..=LEVERAGE_MAX) => Some(leverage),
                Some(_) => return Err("lev: invalid".into()),
            };
        }
        if request.until_ms.is_some_and(|until| until <= self.now_ms()) {
            return Err("tif: invalid".into());
        }
        order.until_ms = request.until_ms.unwrap_or(order.until_ms);
        order.gid = request.gid.or(order.gid);
        if let Some(meta) = &request.meta {
            order.meta = meta.clone();
        }
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
        amended.kind_before = Some(amended.kind);
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
}
