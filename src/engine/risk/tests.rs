//! Claims about the stage, each a short story: what came in, what must have gone out.

#![allow(clippy::disallowed_methods, reason = "a test that compares sums; order does not matter")]

use super::*;
use crate::base::bounded::Text;
use crate::base::ids::{Cid, ConnId, OrderId, StrategyId, SymbolId, TradeId};
use crate::base::time::{MonoNs, SpanNs, WallNs};
use crate::base::units::{Px, Qty, Quote};
use crate::engine::orders::OrdersConfig;
use crate::engine::stage::Stage;
use crate::model::*;

mod claim_tests;
mod flatten_tests;

pub(super) const WALL: WallNs = WallNs::from_ms(1_700_000_000_000);
const S: SymbolId = SymbolId(0);

pub(super) fn instruments(count: u16) -> Vec<Instrument> {
    let one = |row| Instrument {
        id: SymbolId(row),
        name: Text::new("tBTCUSD").unwrap(),
        base: Text::new("BTC").unwrap(),
        quote: Text::new("USD").unwrap(),
        qty_min: Qty::parse("0.01").unwrap(),
        qty_max: Qty::from_whole(100),
    };
    (0..count).map(one).collect()
}
/// Room between 99 and 101 for orders that take.
pub(super) fn wide() -> RiskConfig {
    RiskConfig { collar_bps: 500, ..RiskConfig::default() }
}
pub(super) fn px(text: &str) -> Px {
    Px::parse(text).unwrap()
}
pub(super) fn qty(text: &str) -> Qty {
    Qty::parse(text).unwrap()
}

/// The stage on a bench: a clock, a hand to feed it, a list of what came out.
pub(super) struct Bench {
    pub(super) stage: RiskStage,
    pub(super) out: Vec<Command>,
    pub(super) now: MonoNs,
    next_id: u64,
}
impl Bench {
    pub(super) fn cold(config: RiskConfig) -> Self {
        let stage = RiskStage::new(config, OrdersConfig::default(), &instruments(2));
        Self { stage, out: Vec::new(), now: MonoNs(1_000_000_000), next_id: 1 }
    }
    /// Another ledger configuration, from scratch.
    pub(super) fn restart(&mut self, orders: OrdersConfig) {
        self.stage = RiskStage::new(self.stage.config.clone(), orders, &instruments(2));
    }
    pub(super) fn with(config: RiskConfig) -> Self {
        let mut bench = Self::cold(config);
        bench.login();
        bench.mark("99", "101");
        bench
    }
    pub(super) fn new() -> Self {
        Self::with(wide())
    }
    pub(super) fn stamp(&mut self) -> Stamp {
        Stamp { seq: 0, recv: self.now, wall: WallNs(WALL.0 + self.now.0 as i64) }
    }
    pub(super) fn event(&mut self, body: Body) {
        let stamp = self.stamp();
        let event = Event { stamp, trace: Trace::default(), body };
        self.stage.on_input(&Signal::Event(event), &mut self.out);
    }
    pub(super) fn link(&mut self, state: LinkState) {
        let conn = ConnId(0);
        self.event(Body::Link(LinkEvent { conn, trading: true, state, code: 0 }));
    }
    pub(super) fn snapshot(&mut self, of: SnapshotOf) {
        for end in [false, true] {
            self.event(Body::Snapshot(SnapshotMark { of, end, count: 0 }));
        }
    }
    pub(super) fn login(&mut self) {
        self.link(LinkState::Authenticated);
        self.snapshot(SnapshotOf::Positions);
        self.snapshot(SnapshotOf::Orders);
        self.reconcile();
    }
    pub(super) fn reconcile(&mut self) {
        self.snapshot(SnapshotOf::RestOrders);
        self.snapshot(SnapshotOf::RestHistory);
        self.snapshot(SnapshotOf::RestTrades);
        self.link(LinkState::Reconciled);
    }
    pub(super) fn mark_of(&mut self, symbol: SymbolId, bid: &str, ask: &str) {
        let level = |text| Level { px: px(text), qty: Qty::from_whole(1) };
        let (bid, ask) = (level(bid), level(ask));
        let stamp = self.stamp();
        let mark = Mark { stamp, symbol, synced: true, bid, ask };
        self.stage.on_input(&Signal::Mark(mark), &mut self.out);
    }
    pub(super) fn mark(&mut self, bid: &str, ask: &str) {
        self.mark_of(S, bid, ask);
    }
    pub(super) fn want(&mut self, want: Want) -> Vec<Command> {
        self.want_of(S, want)
    }
    pub(super) fn want_of(&mut self, symbol: SymbolId, want: Want) -> Vec<Command> {
        self.want_protected(symbol, want, None)
    }
    pub(super) fn want_protected(
        &mut self,
        symbol: SymbolId,
        want: Want,
        bracket: Option<Bracket>,
    ) -> Vec<Command> {
        let cause = self.stamp();
        let intent = Intent {
            cause,
            trace: Trace::default(),
            strategy: StrategyId(0),
            symbol,
            reason: Reason::Signal,
            want,
            edge: None,
            bracket,
        };
        self.out.clear();
        self.stage.on_input(&Signal::Intent(intent), &mut self.out);
        self.out.clone()
    }
    pub(super) fn once(&mut self, size: &str, price: &str) -> Vec<Command> {
        self.want(Want::Once {
            qty: qty(size),
            px: px(price),
            urgency: Urgency::Limit,
            reduce: false,
        })
    }
    pub(super) fn take(&mut self, size: &str, reduce: bool) -> Vec<Command> {
        let (qty, urgency) = (qty(size), Urgency::Take);
        self.want(Want::Once { qty, px: Px::ZERO, urgency, reduce })
    }
    pub(super) fn target(&mut self, size: &str) -> Vec<Command> {
        self.want(Want::Target { qty: qty(size), px: Px::ZERO, urgency: Urgency::Take })
    }
    fn quote(&mut self, bid: (&str, &str), ask: (&str, &str)) -> Vec<Command> {
        let level = |(p, q): (&str, &str)| Level { px: px(p), qty: qty(q) };
        self.want(Want::Quote { bid: level(bid), ask: level(ask) })
    }
    pub(super) fn operator(&mut self, verb: OperatorVerb) -> Vec<Command> {
        self.out.clear();
        let reason = Text::new("test").unwrap();
        self.event(Body::Operator(OperatorCommand { verb, symbol: None, reason }));
        self.out.clone()
    }
    pub(super) fn pass(&mut self, ms: i64) -> Vec<Command> {
        self.out.clear();
        self.now = self.now + SpanNs::from_ms(ms);
        self.event(Body::Tick);
        self.out.clone()
    }
    /// The venue's array about an order of ours.
    pub(super) fn venue(
        &mut self,
        new: &NewOrder,
        source: Source,
        status: OrderStatus,
        left: Qty,
    ) -> OrderId {
        let known = self.stage.ledger().find(new.cid).map(|o| o.id).filter(|id| !id.is_none());
        let id = known.unwrap_or_else(|| {
            self.next_id += 1;
            OrderId(self.next_id)
        });
        let updated_at = WallNs(WALL.0 + self.now.0 as i64);
        let order = self.stage.ledger().find(new.cid).copied();
        let at = order.and_then(|o| o.amend.map(|a| a.px)).unwrap_or(new.px);
        self.event(Body::Order(OrderUpdate {
            source,
            kind: new.kind,
            status,
            wallet: new.wallet,
            symbol: S,
            id,
            gid: 0,
            cid: new.cid,
            created_at: WALL,
            updated_at,
            remaining: left,
            original: new.qty,
            px: at,
            px_avg: Px::ZERO,
            flags: new.flags,
        }));
        id
    }
    pub(super) fn works(&mut self, command: &Command) -> NewOrder {
        let new = new_of(command);
        self.venue(&new, Source::New, OrderStatus::Active, new.qty);
        new
    }
    pub(super) fn ends(&mut self, new: &NewOrder, status: OrderStatus) {
        self.now = self.now + SpanNs::from_ms(1);
        self.venue(
            new,
            Source::Closed,
            status,
            if status == OrderStatus::Executed { Qty::ZERO } else { new.qty },
        );
    }
    pub(super) fn trades(&mut self, new: &NewOrder, size: Qty, price: &str) {
        self.next_id += 1;
        let order = self.stage.ledger().find(new.cid).map(|o| o.id).unwrap_or_default();
        self.event(Body::Fill(Fill {
            trade: TradeId(self.next_id),
            symbol: S,
            order,
            cid: new.cid,
            at: WALL,
            qty: size,
            px: px(price),
            maker: None,
            fee: None,
            fee_currency: Currency::EMPTY,
        }));
    }
    /// Sent, executed, its trade told.
    pub(super) fn fills(&mut self, command: &Command, price: &str) {
        let new = self.works(command);
        self.trades(&new, new.qty, price);
        self.ends(&new, OrderStatus::Executed);
    }
    pub(super) fn blocked(&self, guard: Guard) -> u64 {
        self.stage.snapshot().guards[guard as usize].blocked
    }
}
pub(super) fn new_of(command: &Command) -> NewOrder {
    match command.action {
        Action::New(new) | Action::Replace { new, .. } => new,
        _ => panic!("no new order: {command:?}"),
    }
}
pub(super) fn only(commands: &[Command]) -> Command {
    assert_eq!(commands.len(), 1, "{commands:?}");
    commands[0]
}

#[test]
fn nothing_leaves_before_the_account_is_reconciled() {
    let mut b = Bench::cold(wide());
    b.mark("99", "101");
    assert!(b.once("1", "99").is_empty());
    b.link(LinkState::Authenticated);
    b.snapshot(SnapshotOf::Orders);
    assert!(b.once("1", "99").is_empty());
    assert_eq!(b.stage.rank(), Rank::EntriesBlocked);
    assert!(b.stage.wants_reconcile());
    b.link(LinkState::Reconciled);
    assert_eq!(b.stage.rank(), Rank::EntriesBlocked, "a round without its lists is none");
    b.reconcile();
    assert_eq!(b.stage.rank(), Rank::Running);
    assert_eq!(b.once("1", "99").len(), 1);
    b.link(LinkState::Down);
    assert!(b.once("1", "99").is_empty());
    b.link(LinkState::Authenticated);
    assert!(b.once("1", "99").is_empty());
    assert_eq!(b.blocked(Guard::NotReady), 4);
}

#[test]
fn prices_are_rounded_on_the_cautious_side() {
    let mut b = Bench::new();
    let buy = new_of(&only(&b.once("1", "99.1234")));
    assert_eq!(buy.px, px("99.123"));
    let sell = new_of(&only(&b.once("-1", "99.1234")));
    assert_eq!(sell.px, px("99.124"));
    assert_eq!((buy.cid_day.utc_date(), buy.leverage), ((2023, 11, 14), 0));
    assert!(sell.cid > buy.cid);
}

#[test]
fn below_the_smallest_size_is_no_trade() {
    let mut b = Bench::new();
    assert!(b.once("0.009", "99").is_empty());
    assert_eq!(b.blocked(Guard::MinSize), 1);
    assert!(b.once("100.01", "99").is_empty());
    assert_eq!(b.blocked(Guard::MaxSize), 1);
    assert_eq!(b.once("0.01", "99").len(), 1);
}

#[test]
fn a_price_beyond_the_collar_or_missing_is_refused() {
    let mut b = Bench::with(RiskConfig::default());
    assert!(b.once("1", "101.1").is_empty(), "the collar is 1 % of 100");
    assert!(b.once("-1", "98.9").is_empty());
    assert!(b.once("1", "0").is_empty());
    assert_eq!(b.blocked(Guard::PriceCollar), 3);
    assert_eq!(b.once("1", "101").len(), 1);
    assert_eq!(b.once("1", "50").len(), 1, "far on the safe side");
    assert_eq!(new_of(&only(&b.take("1", false))).px, px("101"), "inside the collar");
}

#[test]
fn no_order_on_a_stale_silent_or_unsynced_book() {
    let mut b = Bench::new();
    b.now = b.now + SpanNs::from_ms(5_001);
    assert!(b.once("1", "99").is_empty());
    assert_eq!(b.blocked(Guard::Stale), 1);
    b.mark("99", "101");
    let quiet =
        |quiet| ChannelQuiet { symbol: S, kind: ChannelKind::Book, quiet, gap_ms: 0, missed: 0 };
    b.event(Body::Quiet(quiet(true)));
    assert!(b.once("1", "99").is_empty());
    b.event(Body::Quiet(quiet(false)));
    assert_eq!(b.once("1", "99").len(), 1);
    let sync = SymbolSync { symbol: S, state: SyncState::ChecksumFailed, out_of_sync_ns: 0 };
    b.event(Body::Sync(sync));
    assert!(b.once("1", "99").is_empty());
    b.event(Body::Sync(SymbolSync { state: SyncState::Synced, ..sync }));
    assert!(b.once("1", "99").is_empty(), "not before the next view");
    assert_eq!(b.blocked(Guard::Unsynced), 2);
    b.mark("99", "101");
    assert_eq!(b.once("1", "99").len(), 1);
    b.mark("101", "99");
    assert!(b.once("1", "99").is_empty(), "crossed");
}

#[test]
fn limits_count_an_order_the_moment_it_is_sent() {
    let limits = Limits { position_max: Quote::from_whole(250), ..Limits::default() };
    let mut b = Bench::with(RiskConfig { limits, ..wide() });
    let first = only(&b.once("1", "99"));
    let second = only(&b.once("1", "99"));
    assert!(b.once("1", "99").is_empty());
    assert_eq!(b.blocked(Guard::MaxPosition), 1);
    assert_eq!(b.once("-1", "101").len(), 1, "the other way there is room");
    let new = b.works(&first);
    b.ends(&new, OrderStatus::Canceled);
    assert_eq!(b.once("1", "99").len(), 1, "the end of one makes room");
    b.fills(&second, "99");
    assert!(b.once("1", "99").is_empty(), "a fill does not");
}

#[test]
fn the_other_limits_hold() {
    let limits = Limits {
        order_notional_max: Quote::from_whole(150),
        position_max: Quote::from_whole(10_000),
        open_orders_max: 3,
    };
    let config =
        RiskConfig { limits, exposure_max: Quote::from_whole(350), open_orders_max: 4, ..wide() };
    let mut b = Bench::with(config);
    b.mark_of(SymbolId(1), "99", "101");
    assert!(b.once("1.51", "99").is_empty());
    assert_eq!(b.blocked(Guard::OrderNotional), 1);
    for _ in 0..3 {
        assert_eq!(b.once("1", "99").len(), 1);
    }
    assert!(b.once("1", "99").is_empty());
    assert_eq!(b.blocked(Guard::TotalExposure), 1);
    assert!(b.once("-1", "101").is_empty());
    assert_eq!(b.blocked(Guard::OpenOrders), 1);
    let other =
        |size| Want::Once { qty: qty(size), px: px("99"), urgency: Urgency::Limit, reduce: false };
    assert!(b.want_of(SymbolId(1), other("1")).is_empty(), "all symbols count together");
    assert_eq!(b.want_of(SymbolId(1), other("0.4")).len(), 1);
    assert!(b.want_of(SymbolId(1), other("0.01")).is_empty());
    assert_eq!(b.blocked(Guard::OpenOrders), 2);
}

#[test]
fn the_order_rate_is_bounded_and_a_close_does_not_wait_for_it() {
    let config = RiskConfig { rate_burst_max: 2, ..wide() };
    let mut b = Bench::with(config);
    let first = only(&b.once("1", "99"));
    b.fills(&first, "99");
    assert_eq!(b.once("1", "99").len(), 1);
    assert!(b.once("1", "99").is_empty());
    assert_eq!(b.blocked(Guard::OrderRate), 1);
    assert_eq!(only(&b.take("-1", true)).class, Class::Close);
    b.pass(1_000);
    assert_eq!(b.once("1", "99").len(), 1);
}

#[test]
fn shadow_counts_without_blocking() {
    let mut config = wide();
    config.guards[Guard::Stale as usize] = GuardMode::Shadow;
    let mut b = Bench::with(config);
    b.now = b.now + SpanNs::from_s(60);
    assert_eq!(b.once("1", "99").len(), 1);
    let count = b.stage.snapshot().guards[Guard::Stale as usize];
    assert_eq!(count, GuardCount { blocked: 0, shadowed: 1 });
}

#[test]
fn a_reduce_order_never_exceeds_what_is_held_and_not_yet_closing() {
    let mut b = Bench::new();
    assert!(b.take("-1", true).is_empty());
    assert_eq!(b.blocked(Guard::NothingHeld), 1);
    let open = only(&b.take("2", false));
    assert_eq!((open.class, new_of(&open).kind), (Class::Entry, OrderKind::Ioc));
    assert_eq!(new_of(&open).px, px("101.21"), "20 bps past 101, rounded up");
    b.fills(&open, "101");
    let close = only(&b.take("-5", true));
    assert_eq!(new_of(&close).qty, qty("-2"));
    assert!(new_of(&close).flags.has(OrderFlags::REDUCE_ONLY));
    assert!(b.take("-1", true).is_empty(), "it is all being closed");
}

#[test]
fn a_spot_wallet_sells_what_is_held_and_no_more() {
    let mut b = Bench::with(RiskConfig { wallet: WalletKind::Exchange, ..wide() });
    assert!(b.once("-1", "101").is_empty(), "no shorts");
    let open = only(&b.once("1", "99"));
    b.fills(&open, "99");
    let close = only(&b.once("-3", "101"));
    assert_eq!((new_of(&close).qty, close.class), (qty("-1"), Class::Close));
    assert_eq!(new_of(&close).flags, OrderFlags::NONE);
}

#[test]
fn derivatives_always_state_their_leverage() {
    let config = RiskConfig { wallet: WalletKind::Derivatives, leverage: 3, ..wide() };
    let mut b = Bench::with(config);
    assert_eq!(new_of(&only(&b.once("1", "99"))).leverage, 3);
}

#[test]
fn a_target_sends_the_difference_once() {
    let mut b = Bench::new();
    let first = only(&b.target("2"));
    assert_eq!(new_of(&first).qty, qty("2"));
    assert!(b.target("2").is_empty(), "already on its way");
    b.fills(&first, "101");
    assert!(b.target("2").is_empty(), "already there");
    let less = only(&b.target("0.5"));
    assert_eq!((new_of(&less).qty, less.class), (qty("-1.5"), Class::Close));
}

#[test]
fn a_flip_closes_first_and_opens_when_that_is_done() {
    let mut b = Bench::new();
    let open = only(&b.target("1"));
    b.fills(&open, "101");
    let close = only(&b.target("-1"));
    assert_eq!((new_of(&close).qty, close.class), (qty("-1"), Class::Close));
    let new = b.works(&close);
    b.out.clear();
    b.ends(&new, OrderStatus::Executed);
    assert!(b.out.is_empty(), "its trade is not here yet");
    b.trades(&new, new.qty, "99");
    let open = only(&b.out.clone());
    assert_eq!((new_of(&open).qty, open.class), (qty("-1"), Class::Entry));
}

#[test]
fn a_target_that_changes_cancels_its_order_and_waits_for_the_end() {
    let mut b = Bench::new();
    let want = |size, at| Want::Target { qty: qty(size), px: px(at), urgency: Urgency::Passive };
    let first = only(&b.want(want("1", "98")));
    let new = b.works(&first);
    let cancel = only(&b.want(want("2", "98")));
    assert!(matches!(cancel.action, Action::Cancel { .. }));
    b.trades(&new, qty("0.25"), "98");
    b.out.clear();
    b.now = b.now + SpanNs::from_ms(1);
    b.venue(&new, Source::Closed, OrderStatus::Canceled, qty("0.75"));
    let second = new_of(&only(&b.out.clone()));
    assert_eq!(second.qty, qty("1.75"), "what was filled meanwhile is deducted");
}

#[test]
fn a_quote_is_placed_moved_by_one_change_at_a_time_and_pulled() {
    let mut b = Bench::new();
    let both = b.quote(("99", "1"), ("101", "1"));
    assert_eq!(both.len(), 2);
    assert!(new_of(&both[0]).flags.has(OrderFlags::POST_ONLY));
    assert!(b.quote(("98", "1"), ("102", "1")).is_empty(), "not before they are known to work");
    let bid = b.works(&both[0]);
    b.works(&both[1]);
    assert!(b.quote(("99", "1"), ("101", "1")).is_empty(), "nothing to do");
    let moved = b.quote(("98", "1"), ("101", "1"));
    let Action::Amend { cid, px: to, qty: size, .. } = only(&moved).action else { panic!() };
    assert_eq!((cid, to, size), (bid.cid, px("98"), qty("1")));
    assert!(b.quote(("97", "1"), ("101", "1")).is_empty(), "at most one change on its way");
    b.now = b.now + SpanNs::from_ms(1);
    b.venue(&bid, Source::Update, OrderStatus::Active, bid.qty);
    assert_eq!(b.quote(("97", "1"), ("101", "1")).len(), 1);
    let pulled = b.quote(("97", "0"), ("101", "1"));
    assert!(matches!(only(&pulled).action, Action::Cancel { .. }));
    assert!(b.quote(("97", "0"), ("101", "1")).is_empty(), "one cancel is enough");
}

#[test]
fn a_quote_that_may_not_move_is_withdrawn() {
    let limits = Limits { position_max: Quote::from_whole(150), ..Limits::default() };
    let mut b = Bench::with(RiskConfig { limits, ..wide() });
    let first = only(&b.quote(("99", "1"), ("101", "0")));
    b.works(&first);
    let command = only(&b.quote(("98", "1"), ("101", "0")));
    assert!(matches!(command.action, Action::Cancel { .. }), "old and new size both count");
    assert_eq!(b.stage.counters().quotes_withdrawn, 1);
}

#[test]
fn a_partly_filled_quote_keeps_its_place_until_half_is_gone() {
    let mut b = Bench::new();
    let first = only(&b.quote(("99", "1"), ("101", "0")));
    let bid = b.works(&first);
    b.trades(&bid, qty("0.4"), "99");
    assert!(b.quote(("99", "1"), ("101", "0")).is_empty());
    b.trades(&bid, qty("0.2"), "99");
    assert_eq!(b.quote(("99", "1"), ("101", "0")).len(), 1);
}

#[test]
fn replace_cancels_and_places_in_one_message_and_counts_both() {
    let config = RiskConfig { requote: Requote::Replace, ..wide() };
    let mut b = Bench::with(config);
    let first = only(&b.quote(("99", "1"), ("101", "0")));
    let old = b.works(&first);
    let command = only(&b.quote(("98", "1"), ("101", "0")));
    let Action::Replace { cid, new, .. } = command.action else { panic!() };
    assert_eq!((cid, new.px), (old.cid, px("98")));
    assert!(new.cid > old.cid);
    assert_eq!(b.stage.symbol_snapshot(S).buy_reserve, qty("2"));
    b.works(&command);
    b.ends(&old, OrderStatus::Canceled);
    assert_eq!(b.stage.symbol_snapshot(S).buy_reserve, qty("1"));
}

#[test]
fn an_unknown_order_freezes_its_symbol_and_no_other() {
    let mut b = Bench::new();
    b.mark_of(SymbolId(1), "99", "101");
    only(&b.once("1", "99"));
    let probe = only(&b.pass(5_000));
    assert!(matches!(probe.action, Action::Cancel { id: OrderId::NONE, .. }), "by client id");
    b.mark("99", "101");
    b.mark_of(SymbolId(1), "99", "101");
    assert!(b.once("1", "99").is_empty());
    assert_eq!(b.blocked(Guard::UnknownOutcome), 1);
    let other = Want::Once { qty: qty("1"), px: px("99"), urgency: Urgency::Limit, reduce: false };
    assert_eq!(b.want_of(SymbolId(1), other).len(), 1);
    assert!(b.stage.wants_reconcile());
}

#[test]
fn a_cancel_without_its_end_is_repeated_a_few_times_and_then_left_to_rest() {
    let mut b = Bench::new();
    let command = only(&b.once("1", "99"));
    b.works(&command);
    let mut cancels = b.want(Want::Cancel).len();
    for _ in 0..200 {
        cancels += b.pass(500).len();
    }
    assert_eq!(cancels, 4);
    assert_eq!(b.stage.symbol_snapshot(S).orders_alive, 1);
    assert!(b.stage.symbol_snapshot(S).frozen);
}

#[test]
fn pause_blocks_entries_and_takes_them_back_but_lets_exits_go_on() {
    let mut b = Bench::new();
    let open = only(&b.take("1", false));
    b.fills(&open, "101");
    let resting = only(&b.once("1", "99"));
    b.works(&resting);
    assert_eq!(b.operator(OperatorVerb::Pause).len(), 1);
    assert_eq!(b.stage.rank(), Rank::EntriesBlocked);
    assert!(b.once("1", "99").is_empty());
    assert_eq!(b.blocked(Guard::Paused), 1);
    assert_eq!(b.take("-1", true).len(), 1);
    b.operator(OperatorVerb::Resume);
    assert_eq!(b.once("1", "99").len(), 1);
}

#[test]
fn orders_by_rest_that_do_not_get_through_leave_cancels_alone() {
    let mut b = Bench::new();
    let open = only(&b.take("1", false));
    b.fills(&open, "101");
    let resting = only(&b.once("1", "99"));
    b.works(&resting);
    b.event(Body::Venue(VenueFact::OrderEntryDown));
    assert_eq!(b.stage.rank(), Rank::CancelOnly);
    assert!(b.stage.snapshot().order_entry_down);
    assert!(b.once("1", "99").is_empty() && b.take("-1", true).is_empty());
    assert_eq!(b.blocked(Guard::Rank), 2);
    assert_eq!(b.operator(OperatorVerb::CancelAll).len(), 1);
    // A flatten that a person asks for is let through all the same.
    b.operator(OperatorVerb::Flatten);
    assert_eq!(b.stage.rank(), Rank::ReduceOnly);
    b.operator(OperatorVerb::Resume);
    b.event(Body::Venue(VenueFact::OrderEntryUp));
    assert!(b.stage.rank() < Rank::ReduceOnly);
}

#[test]
fn a_pair_that_is_not_listed_any_more_is_closed_but_not_opened() {
    let mut b = Bench::new();
    let open = only(&b.take("1", false));
    b.fills(&open, "101");
    let resting = only(&b.once("1", "99"));
    b.works(&resting);
    b.out.clear();
    b.event(Body::Venue(VenueFact::Delisted(S)));
    assert_eq!(b.out.len(), 1, "the entry that rests is cancelled: {:?}", b.out);
    assert!(b.stage.symbol_snapshot(S).delisted);
    assert!(b.once("1", "99").is_empty());
    assert_eq!(b.blocked(Guard::Instrument), 1);
    assert_eq!(b.take("-1", true).len(), 1, "an exit goes on");
    b.event(Body::Venue(VenueFact::Listed(S)));
    b.event(Body::Venue(VenueFact::Sizes { symbol: S, qty_min: qty("2"), qty_max: qty("9") }));
    assert!(b.once("1", "99").is_empty());
    assert_eq!(b.blocked(Guard::MinSize), 1, "the new smallest size holds");
    assert_eq!(b.once("2", "99").len(), 1);
    // Symbols of others are nobody's business.
    b.event(Body::Venue(VenueFact::Delisted(SymbolId(999))));
}

#[test]
fn many_cancels_are_bundled_and_those_without_an_id_go_by_client_id() {
    let config = RiskConfig {
        limits: Limits { open_orders_max: 64, ..Limits::default() },
        rate_burst_max: 100,
        ..wide()
    };
    let mut b = Bench::with(config);
    for _ in 0..20 {
        let command = only(&b.once("0.1", "99"));
        b.works(&command);
    }
    only(&b.once("0.1", "99"));
    let commands = b.operator(OperatorVerb::CancelAll);
    let bundled: usize = commands
        .iter()
        .map(|c| match c.action {
            Action::CancelMulti { ids } => ids.iter().filter(|id| !id.is_none()).count(),
            _ => 0,
        })
        .sum();
    assert_eq!((commands.len(), bundled), (3, 20));
    assert!(commands.iter().all(|c| c.class == Class::Cancel));
    assert!(b.operator(OperatorVerb::CancelAll).is_empty(), "all on their way");
}

#[test]
fn kill_cancels_closes_and_stays_halted_until_a_reset_with_a_reason() {
    let mut b = Bench::new();
    let open = only(&b.take("2", false));
    b.fills(&open, "101");
    let resting = only(&b.once("1", "99"));
    let resting = b.works(&resting);
    let cancel = only(&b.operator(OperatorVerb::Kill));
    assert!(matches!(cancel.action, Action::Cancel { .. }));
    assert_eq!(b.stage.rank(), Rank::ReduceOnly);
    b.out.clear();
    b.ends(&resting, OrderStatus::Canceled);
    let close = only(&b.out.clone());
    assert_eq!((new_of(&close).qty, close.class), (qty("-2"), Class::Close));
    // The first attempt fills half and expires; the second costs a little more.
    let new = b.works(&close);
    b.trades(&new, qty("-1"), "99");
    b.now = b.now + SpanNs::from_ms(1);
    b.venue(&new, Source::Closed, OrderStatus::IocCanceled, qty("-1"));
    let again = only(&b.pass(1_000));
    assert_eq!(new_of(&again).qty, qty("-1"));
    assert!(new_of(&again).px < new.px);
    assert!(!b.stage.is_quiesced());
    b.fills(&again, "98");
    assert!(b.stage.is_quiesced());
    assert_eq!(b.stage.rank(), Rank::Halted);
    b.operator(OperatorVerb::Resume);
    assert_eq!(b.stage.rank(), Rank::Halted);
    assert!(b.once("1", "99").is_empty());
    b.operator(OperatorVerb::Reset);
    assert_eq!(b.stage.rank(), Rank::Running);
    assert_eq!(b.stage.snapshot().realised, Quote::parse("-5").unwrap());
}

/// Found by the world (seed 13): after somebody else's trade on the account the venue holds less
/// than our own fills add up to, and refuses a reduce-only order of our size, again and again.
#[test]
fn a_close_is_not_larger_than_what_the_venue_holds() {
    let mut b = Bench::new();
    let open = only(&b.take("2", false));
    b.fills(&open, "101");
    let update = PositionUpdate {
        source: Source::Update,
        symbol: S,
        qty: qty("1.5"),
        base_px: px("101"),
        pnl: None,
    };
    b.event(Body::Position(update));
    let close = only(&b.operator(OperatorVerb::Flatten));
    assert_eq!(new_of(&close).qty, qty("-1.5"));
    // More than ours is not ours to close; a side that does not fit may be old news.
    for (at_venue, closes) in [("3", "-2"), ("0", "-2"), ("-1", "-2")] {
        let mut b = Bench::new();
        let open = only(&b.take("2", false));
        b.fills(&open, "101");
        b.event(Body::Position(PositionUpdate { qty: qty(at_venue), ..update }));
        let close = only(&b.operator(OperatorVerb::Flatten));
        assert_eq!(new_of(&close).qty, qty(closes), "{at_venue} at the venue");
    }
}

#[test]
fn a_flatten_that_cannot_end_says_what_is_left() {
    let config = RiskConfig { flatten_attempts_max: 3, ..wide() };
    let mut b = Bench::with(config);
    let open = only(&b.take("1", false));
    b.fills(&open, "101");
    let mut closes = b.operator(OperatorVerb::Kill);
    for _ in 0..10 {
        if let Some(close) = closes.first().copied() {
            let new = b.works(&close);
            b.ends(&new, OrderStatus::IocCanceled);
        }
        b.mark("99", "101");
        closes = b.pass(1_000);
    }
    let left = b.stage.symbol_snapshot(S);
    assert!(left.flatten_stuck && !left.flattening);
    assert_eq!(left.position, qty("1"));
    assert_eq!((b.stage.counters().flatten_stuck, b.stage.rank()), (1, Rank::Halted));
}

#[test]
fn stop_cancels_and_is_quiet_when_the_last_order_has_ended() {
    let mut b = Bench::new();
    let command = only(&b.once("1", "99"));
    let new = b.works(&command);
    assert_eq!(b.operator(OperatorVerb::Stop).len(), 1);
    assert_eq!(b.stage.rank(), Rank::CancelOnly);
    assert!(!b.stage.is_quiesced());
    b.ends(&new, OrderStatus::Canceled);
    assert!(b.stage.is_quiesced());
}

#[test]
fn a_position_the_venue_sees_otherwise_blocks_entries() {
    let mut b = Bench::new();
    let update = PositionUpdate {
        source: Source::Update,
        symbol: S,
        qty: qty("1"),
        base_px: px("100"),
        pnl: None,
    };
    b.event(Body::Position(update));
    assert_eq!(b.once("1", "99").len(), 1, "within the grace");
    b.now = b.now + SpanNs::from_ms(5_001);
    b.mark("99", "101");
    b.event(Body::Position(PositionUpdate { qty: qty("2"), ..update }));
    let command = b.once("1", "99");
    assert!(command.is_empty());
    assert!(b.blocked(Guard::PositionMismatch) + b.blocked(Guard::UnknownOutcome) > 0);
    assert!(!b.stage.symbol_snapshot(S).matches_venue);
}

#[test]
fn link_loss_then_the_history_leads_back_to_trading() {
    let mut b = Bench::new();
    let sent = only(&b.once("1", "99"));
    b.link(LinkState::Down);
    b.out.clear();
    b.login();
    let probe = only(&b.out.clone());
    assert!(matches!(probe.action, Action::Cancel { .. }), "in doubt, so cancelled");
    assert!(b.once("1", "99").is_empty(), "frozen");
    let new = new_of(&sent);
    b.venue(&new, Source::RestHistory, OrderStatus::Canceled, new.qty);
    assert_eq!(b.once("1", "99").len(), 1);
    assert_eq!(b.stage.ledger().counters().opened, 2);
}

#[test]
fn client_ids_only_rise() {
    let mut b = Bench::with(RiskConfig { rate_burst_max: 100, ..wide() });
    let mut last = Cid::NONE;
    for _ in 0..10 {
        let cid = new_of(&only(&b.once("0.1", "99"))).cid;
        assert!(cid > last);
        last = cid;
        b.pass(1);
    }
    assert_eq!(b.stage.ledger().cid_last(), last);
}

/// Not a benchmark, a guard: a mark must stay a handful of loads and stores. Run by hand with
/// `cargo test --release -- --ignored --nocapture cost_of_a_mark`.
#[test]
#[ignore = "measures; run by hand in release"]
fn cost_of_a_mark() {
    let mut b = Bench::new();
    b.once("1", "99");
    let level = Level { px: px("99"), qty: qty("1") };
    let ask = Level { px: px("101"), qty: qty("1") };
    let mut stamp = b.stamp();
    let count = 20_000_000u32;
    let started = std::time::Instant::now(); // tidy-ok: a measurement, not a decision
    for step in 0..count {
        stamp.recv = MonoNs(stamp.recv.0 + 1);
        let symbol = SymbolId((step & 1) as u16);
        let mark = Signal::Mark(Mark { stamp, symbol, synced: true, bid: level, ask });
        b.stage.on_input(std::hint::black_box(&mark), &mut b.out);
    }
    println!("{:.1} ns a mark", started.elapsed().as_nanos() as f64 / f64::from(count));
    let quote = |p: &str, a: &str| Want::Quote {
        bid: Level { px: px(p), qty: qty("1") },
        ask: Level { px: px(a), qty: qty("1") },
    };
    let both = b.want(quote("98", "102"));
    for command in both {
        b.works(&command);
    }
    let intent = Intent {
        cause: stamp,
        trace: Trace::default(),
        strategy: StrategyId(0),
        symbol: S,
        reason: Reason::Quote,
        want: quote("98", "102"),
        edge: None,
        bracket: None,
    };
    let started = std::time::Instant::now(); // tidy-ok: a measurement, not a decision
    let count = 2_000_000u32;
    for _ in 0..count {
        b.stage.on_input(std::hint::black_box(&Signal::Intent(intent)), &mut b.out);
    }
    println!("{:.1} ns an unchanged quote", started.elapsed().as_nanos() as f64 / f64::from(count));
}
