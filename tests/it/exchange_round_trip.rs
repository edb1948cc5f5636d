//! Our client against our exchange by direct call: each was written from the venue's protocol
//! without the other's code, so what agrees here agrees with the protocol, or both are wrong in
//! the same way.

use super::exchange_support::*;
use genesis::base::ids::{Cid, OrderId, SymbolId};
use genesis::base::time::WallNs;
use genesis::base::units::{Px, Qty};
use genesis::exchange::{ExchangeConfig, WaitFor};
use genesis::model::{
    Action, Bar, Body, Class, Command, LinkState, NewOrder, OrderFlags, OrderKind, OrderStatus,
    Reason, SnapshotOf, Source, Stamp, Timeframe, Trace, WalletKind,
};
use genesis::venue::encode::command;
use genesis::venue::public::{Frequency, Precision, Subscription, conf};
use genesis::venue::rest::{FeeRates, PairInfo, PairList, RestCall, RestSink, parse_reply};

const BTC: SymbolId = SymbolId(0);
const ETH: SymbolId = SymbolId(1);
const NAMES: [&str; 2] = ["tBTCUSD", "tETHUSD"];
const NONCE: u64 = 1_735_689_600_000_000;

/// Every channel that a session may hold of two symbols.
fn every_channel() -> Vec<Subscription> {
    let mut all = Vec::new();
    for symbol in [BTC, ETH] {
        all.push(Subscription::book(symbol, Precision::P0, Frequency::F0, 25));
        all.push(Subscription::book(symbol, Precision::P2, Frequency::F0, 25));
        all.push(Subscription::book(symbol, Precision::P0, Frequency::F1, 100));
        all.push(Subscription::book(symbol, Precision::R0, Frequency::F0, 25));
        all.push(Subscription::trades(symbol));
        all.push(Subscription::ticker(symbol));
        all.push(Subscription::candles(symbol, Timeframe::M1));
    }
    all
}

/// Two minutes of a busy market, heard with these flags.
fn heard_with(flags: u32) -> Public {
    let mut exchange = exchange(ExchangeConfig::default(), Ladder::new(&NAMES, 7));
    let mut now = START;
    run_to(&mut exchange, now);
    let mut client = Public::open(&mut exchange, 1, now, flags, &NAMES, &every_channel());
    for _ in 0..1_200 {
        for texts in drain(&mut exchange).values() {
            client.hear(texts, now);
        }
        client.speak(&mut exchange, now);
        now = after(now, 100);
        run_to(&mut exchange, now);
    }
    client
}

#[test]
fn every_public_channel_is_understood_and_every_checksum_met() {
    let stamped = conf::TIMESTAMP | conf::SEQ_ALL | conf::OB_CHECKSUM;
    for flags in [stamped, stamped | conf::BULK, conf::SEQ_ALL | conf::OB_CHECKSUM] {
        let mut client = heard_with(flags);
        assert_eq!(client.session.wants_reconnect(), None, "flags {flags}");
        let counters = client.session.counters();
        assert_eq!((counters.malformed, counters.unknown, counters.foreign), (0, 0, 0));
        assert_eq!((counters.crc_failed, counters.seq_gaps, counters.resyncs), (0, 0, 0));
        assert_eq!((counters.book_crossed, counters.book_delete_absent), (0, 0));
        assert_eq!((counters.refused, counters.errors, counters.rounded), (0, 0, 0));
        // Eight books in about 48 ticks of 2.5 s.
        assert!(counters.crc_checked > 200, "{counters:?}");
        assert!(counters.seq_checked > 1_500, "{counters:?}");
        assert!(counters.trade_te > 100 && counters.trade_te == counters.trade_tu);
        assert_eq!(counters.heartbeats, 14 * 7, "one each 15 s and channel");
        assert!(counters.tickers >= 2 * 20 && counters.candles > 480 && counters.pongs >= 5);
        assert_eq!(counters.book_snapshots, 8);
        assert!(client.heard.books == client.heard.synced && client.heard.books > 1_000);
    }
}

#[test]
fn a_frame_that_is_lost_is_noticed() {
    let mut exchange = exchange(ExchangeConfig::default(), Ladder::new(&NAMES, 7));
    let (mut now, mut lost) = (START, 0);
    run_to(&mut exchange, now);
    let book = [Subscription::book(BTC, Precision::P0, Frequency::F0, 25)];
    // Without sequence numbers only the checksum can tell.
    for (flags, conn) in [(conf::SEQ_ALL, 1), (conf::OB_CHECKSUM, 2)] {
        let mut client = Public::open(&mut exchange, conn, now, flags, &NAMES, &book);
        for turn in 0..400 {
            let mut texts = drain(&mut exchange).remove(&conn).unwrap_or_default();
            let update = texts.iter().position(|text| turn > 50 && text.contains("],["));
            let update = update.or(texts.iter().position(|t| turn > 50 && t.contains(",[")));
            if let Some(at) = update.filter(|_| lost < conn) {
                texts.remove(at);
                lost += 1;
            }
            client.hear(&texts, now);
            client.speak(&mut exchange, now);
            now = after(now, 100);
            run_to(&mut exchange, now);
        }
        let counters = client.session.counters();
        let noticed = if conn == 1 { counters.seq_gaps } else { counters.crc_failed };
        assert!(noticed > 0, "connection {conn}: {counters:?}");
        exchange.disconnect(conn, now);
    }
    assert_eq!(lost, 2);
}

fn new_order(cid: u64, kind: OrderKind, qty: i64, px: i64, wallet: WalletKind) -> Command {
    order_command(Action::New(NewOrder {
        cid: Cid(cid),
        cid_day: START,
        kind,
        wallet,
        qty: Qty::from_raw(qty),
        px: Px::from_raw(px),
        px_aux: Px::from_raw(0),
        flags: OrderFlags::default(),
        leverage: 0,
    }))
}

fn order_command(action: Action) -> Command {
    Command {
        stamp: Stamp::default(),
        trace: Trace::default(),
        strategy: Default::default(),
        symbol: BTC,
        class: Class::Entry,
        reason: Reason::Probe,
        action,
    }
}

struct Desk {
    exchange: genesis::exchange::Exchange,
    client: Private,
    now: WallNs,
}

impl Desk {
    fn open(source: Ladder) -> Desk {
        let mut exchange = exchange(ExchangeConfig::default(), source);
        run_to(&mut exchange, START);
        let client = Private::open(&mut exchange, 9, START, NONCE);
        let mut desk = Desk { exchange, client, now: START };
        desk.turn(1);
        desk
    }
    /// Lets time pass and hears what there is.
    fn turn(&mut self, ms: i64) {
        self.now = after(self.now, ms);
        run_to(&mut self.exchange, self.now);
        let texts = drain(&mut self.exchange).remove(&9).unwrap_or_default();
        self.client.hear(&texts, self.now);
        self.client.speak(&mut self.exchange, self.now);
    }
    fn send(&mut self, action: &Command) -> Vec<Body> {
        let mut out = [0u8; 1024];
        let len = command(action, &table(&NAMES), None, &mut out).unwrap();
        self.exchange.on_text(9, &out[..len], self.now);
        self.turn(1);
        self.client.take()
    }
}

/// Short words for what was told, in its order.
fn words(bodies: &[Body]) -> Vec<String> {
    let word = |body: &Body| match body {
        Body::Ack(ack) => format!("n {:?} {}", ack.of, if ack.success { "yes" } else { "no" }),
        Body::Order(order) => format!("{:?} {:?}", order.source, order.status),
        Body::Fill(fill) if fill.fee.is_some() => "tu".to_owned(),
        Body::Fill(_) => "te".to_owned(),
        Body::Wallet(wallet) => format!("wu {}", wallet.currency.as_str()),
        Body::Position(_) => "position".to_owned(),
        other => format!("{other:?}"),
    };
    bodies.iter().map(word).collect()
}

#[test]
fn an_account_is_told_what_it_has_before_anything_else() {
    let mut desk = Desk::open(Ladder::still(&NAMES));
    assert!(desk.client.session.is_authenticated());
    let bodies = desk.client.take();
    let ends: Vec<SnapshotOf> = bodies
        .iter()
        .filter_map(|body| match body {
            Body::Snapshot(mark) if mark.end => Some(mark.of),
            _ => None,
        })
        .collect();
    assert_eq!(ends, [SnapshotOf::Positions, SnapshotOf::Wallets, SnapshotOf::Orders]);
    let available = bodies.iter().filter(|body| match body {
        Body::Wallet(wallet) => wallet.available.is_some(),
        _ => false,
    });
    assert_eq!(available.count(), 12, "one wu with the available balance for each wallet");
    let counters = *desk.client.session.counters();
    assert_eq!((counters.malformed, counters.unknown, counters.seq_gaps), (0, 0, 0));
}

#[test]
fn an_order_rests_is_amended_and_cancelled() {
    let mut desk = Desk::open(Ladder::still(&NAMES));
    desk.client.take();
    let limit = OrderKind::Limit;
    let told = desk.send(&new_order(1, limit, ONE / 2, 95 * ONE, WalletKind::Exchange));
    assert_eq!(words(&told), ["n New yes", "New Active"]);
    let Body::Order(order) = told[1] else { panic!("an order was told") };
    assert_eq!((order.cid, order.remaining), (Cid(1), Qty::from_raw(ONE / 2)));
    let amend = Action::Amend {
        id: order.id,
        cid: Cid(1),
        px: Px::from_raw(96 * ONE),
        qty: Qty::from_raw(ONE / 4),
    };
    let told = desk.send(&order_command(amend));
    assert_eq!(words(&told), ["n Update yes", "Update Active"]);
    let Body::Order(amended) = told[1] else { panic!("an order was told") };
    assert_eq!((amended.id, amended.px), (order.id, Px::from_raw(96 * ONE)));
    // By client id and its day, as an engine that never heard the venue's id would.
    let cancel = Action::Cancel { id: OrderId(0), cid: Cid(1), cid_day: START };
    let told = desk.send(&order_command(cancel));
    assert_eq!(words(&told), ["n Cancel yes", "Closed Canceled"]);
    let told = desk.send(&order_command(cancel));
    assert_eq!(words(&told), ["n Cancel no"]);
    let told = desk.send(&new_order(1, limit, ONE / 2, 95 * ONE, WalletKind::Exchange));
    assert_eq!(words(&told), ["n New no"], "a client id is used once a day");
    assert_eq!(desk.client.session.counters().seq_gaps, 0);
}

#[test]
fn an_order_that_crosses_is_filled_with_fees_in_what_is_received() {
    let mut desk = Desk::open(Ladder::still(&NAMES));
    desk.client.take();
    let before = desk.exchange.totals();
    let buy = new_order(5, OrderKind::Limit, 3 * ONE, 101 * ONE, WalletKind::Exchange);
    let told = desk.send(&buy);
    let expected =
        ["n New yes", "te", "te", "te", "Closed Executed", "tu", "tu", "tu", "wu BTC", "wu USD"];
    assert_eq!(words(&told), expected);
    for body in &told {
        if let Body::Fill(fill) = body
            && let Some(fee) = fill.fee
        {
            assert_eq!((fee, fill.fee_currency.as_str()), (-ONE / 500, "BTC"));
            assert_eq!(fill.cid, Cid(5));
        }
    }
    let Some(Body::Wallet(coins)) = told.get(8) else { panic!("a wallet was told") };
    assert_eq!(coins.balance, 53 * ONE - 3 * ONE / 500);
    let sell = new_order(6, OrderKind::Market, -ONE, 0, WalletKind::Margin);
    let told = desk.send(&sell);
    let expected = ["n New yes", "position", "Closed Executed", "te", "tu", "wu USD"];
    assert_eq!(words(&told), expected);
    assert_eq!(desk.exchange.totals(), before, "money is neither made nor lost");
}

#[test]
fn a_resting_order_is_filled_by_the_market_in_parts() {
    let mut desk = Desk::open(Ladder::new(&NAMES, 3));
    desk.client.take();
    // At the touch or in front of it, so that takers reach it soon.
    let told = desk.send(&new_order(1, OrderKind::Limit, 2 * ONE, 100 * ONE, WalletKind::Exchange));
    assert_eq!(words(&told)[0], "n New yes");
    let mut bodies = told;
    for _ in 0..600 {
        desk.turn(100);
        bodies.extend(desk.client.take());
    }
    let words = words(&bodies);
    let filled: i64 = bodies
        .iter()
        .filter_map(|body| match body {
            Body::Fill(fill) if fill.fee.is_none() => Some(fill.qty.raw()),
            _ => None,
        })
        .sum();
    assert_eq!(filled, 2 * ONE, "{words:?}");
    assert!(words.contains(&"Update PartiallyFilled".to_owned()), "{words:?}");
    assert_eq!(words.iter().filter(|word| *word == "Closed Executed").count(), 1);
}

#[test]
fn a_bad_signature_an_old_nonce_and_a_second_auth_are_refused() {
    let mut exchange = exchange(ExchangeConfig::default(), Ladder::still(&NAMES));
    let code_of = |exchange: &mut genesis::exchange::Exchange, conn, nonce, secret| {
        let key = ("embedded-key", secret);
        let mut client = Private::open_as(exchange, conn, START, nonce, key, false);
        let texts = drain(exchange).remove(&conn).unwrap_or_default();
        client.hear(&texts, START);
        match client.take().last() {
            Some(Body::Link(link)) => (link.state, link.code),
            _ => (LinkState::Up, 0),
        }
    };
    let wrong = code_of(&mut exchange, 1, NONCE, "wrong");
    assert_eq!(wrong, (LinkState::AuthFailed, 10_100));
    let right = Private::open(&mut exchange, 2, START, NONCE);
    drain(&mut exchange);
    let old = code_of(&mut exchange, 3, NONCE, "embedded-secret");
    assert_eq!(old, (LinkState::AuthFailed, 10_114));
    let again = format!(r#"{{"event":"auth","apiKey":"embedded-key","authNonce":{}}}"#, NONCE + 9);
    exchange.on_text(right.conn, again.as_bytes(), START);
    let said = drain(&mut exchange).remove(&2).unwrap();
    assert!(said[0].contains("\"code\":10100,\"msg\":\"auth: dup\""), "{said:?}");
}

/// What REST replies tell.
#[derive(Default)]
struct Told {
    bodies: Vec<Body>,
    bars: Vec<Bar>,
    pairs: Vec<String>,
    infos: Vec<(String, PairInfo)>,
    operative: Option<bool>,
    permissions: Vec<(String, bool, bool)>,
    user: Option<u64>,
    fees: Option<FeeRates>,
    tickers: u32,
}

impl RestSink for Told {
    fn body(&mut self, body: Body) {
        self.bodies.push(body);
    }
    fn bar(&mut self, bar: Bar) {
        self.bars.push(bar);
    }
    fn ticker(&mut self, _: genesis::model::Ticker) {
        self.tickers += 1;
    }
    fn pair(&mut self, name: &[u8]) {
        self.pairs.push(String::from_utf8(name.to_vec()).unwrap());
    }
    fn pair_info(&mut self, name: &[u8], info: PairInfo) {
        self.infos.push((String::from_utf8(name.to_vec()).unwrap(), info));
    }
    fn platform(&mut self, operative: bool) {
        self.operative = Some(operative);
    }
    fn permission(&mut self, scope: &[u8], read: bool, write: bool) {
        self.permissions.push((String::from_utf8(scope.to_vec()).unwrap(), read, write));
    }
    fn user(&mut self, id: u64) {
        self.user = Some(id);
    }
    fn fees(&mut self, rates: FeeRates) {
        self.fees = Some(rates);
    }
}

#[test]
fn every_rest_call_of_the_engine_is_answered() {
    let config = ExchangeConfig { wait_for: WaitFor::Nothing, ..ExchangeConfig::default() };
    let mut exchange = exchange(config, Ladder::still(&NAMES));
    run_to(&mut exchange, START);
    let table = table(&NAMES);
    let mut nonce = NONCE;
    let mut told = Told::default();
    let mut ask = |exchange: &mut genesis::exchange::Exchange, call: RestCall, told: &mut Told| {
        nonce += 1;
        let reply = rest(exchange, &call, &table, nonce, START);
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        parse_reply(&call, reply.status, &reply.body, &table, told)
            .unwrap_or_else(|error| panic!("{call:?}: {error:?} {text}"))
    };
    for list in [PairList::Exchange, PairList::Margin, PairList::Futures] {
        ask(&mut exchange, RestCall::ConfPairs(list), &mut told);
    }
    assert_eq!(told.pairs.iter().filter(|pair| *pair == "BTCUSD").count(), 2);
    for futures in [false, true] {
        ask(&mut exchange, RestCall::ConfInfo { futures }, &mut told);
    }
    assert_eq!(told.infos[0].0, "BTCUSD");
    assert_eq!(told.infos[0].1.qty_min, Qty::from_raw(4_000));
    ask(&mut exchange, RestCall::PlatformStatus, &mut told);
    assert_eq!(told.operative, Some(true));
    ask(&mut exchange, RestCall::Ticker(BTC), &mut told);
    assert_eq!(told.tickers, 1);
    for end in [None, Some(START)] {
        let timeframe = Timeframe::M1;
        let call = RestCall::CandlesHist { symbol: BTC, timeframe, limit: 200, end };
        assert_eq!(ask(&mut exchange, call, &mut told).rows, 200);
    }
    assert!(told.bars[..200].is_sorted_by_key(|bar| bar.open_at));
    for call in [RestCall::Permissions, RestCall::UserInfo, RestCall::Summary] {
        ask(&mut exchange, call, &mut told);
    }
    assert!(told.permissions.contains(&("orders".to_owned(), true, true)));
    assert!(told.permissions.contains(&("withdraw".to_owned(), false, false)));
    let fees = told.fees.unwrap();
    assert_eq!((told.user, fees.maker, fees.taker), (Some(1), 100_000, 200_000));
    // Order entry over REST: one rests, one is filled, one is cancelled.
    for (cid, qty, px) in [(1, ONE, 90), (2, ONE, 101), (3, ONE, 91)] {
        let command = new_order(cid, OrderKind::Limit, qty, px * ONE, WalletKind::Exchange);
        let Action::New(order) = command.action else { unreachable!() };
        ask(&mut exchange, RestCall::Submit { symbol: BTC, order, gid: None }, &mut told);
    }
    let id = OrderId(0);
    ask(&mut exchange, RestCall::Cancel { id, cid: Cid(3), cid_day: START }, &mut told);
    told.bodies.clear();
    for call in [
        RestCall::Orders,
        RestCall::OrdersHist { start: WallNs(0), limit: 100 },
        RestCall::TradesHist { start: START, limit: 100 },
        RestCall::Wallets,
        RestCall::Positions,
    ] {
        ask(&mut exchange, call, &mut told);
    }
    let orders: Vec<(Source, Cid, OrderStatus)> = told
        .bodies
        .iter()
        .filter_map(|body| match body {
            Body::Order(order) => Some((order.source, order.cid, order.status)),
            _ => None,
        })
        .collect();
    assert!(orders.contains(&(Source::RestOpen, Cid(1), OrderStatus::Active)), "{orders:?}");
    assert!(orders.contains(&(Source::RestHistory, Cid(2), OrderStatus::Executed)), "{orders:?}");
    assert!(orders.contains(&(Source::RestHistory, Cid(3), OrderStatus::Canceled)));
    assert_eq!(told.bodies.iter().filter(|body| matches!(body, Body::Fill(_))).count(), 1);
    assert_eq!(told.bodies.iter().filter(|body| matches!(body, Body::Wallet(_))).count(), 12);
    ask(&mut exchange, RestCall::CancelAll, &mut told);
    told.bodies.clear();
    ask(&mut exchange, RestCall::Orders, &mut told);
    assert!(!told.bodies.iter().any(|body| matches!(body, Body::Order(_))));
}
