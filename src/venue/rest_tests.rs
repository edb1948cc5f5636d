//! Calls as the venue wants them, replies as it gives them.

use super::*;
use crate::base::units::Px;
use crate::model::{OrderFlags, OrderKind, WalletKind};
use crate::venue::shared_data;
use crate::venue::symbols::tests::table_of;

#[derive(Default)]
struct Log {
    bodies: Vec<Body>,
    bars: Vec<Bar>,
    tickers: Vec<Ticker>,
    pairs: Vec<String>,
    infos: Vec<(String, PairInfo)>,
    scopes: Vec<(String, bool, bool)>,
    platform: Option<bool>,
    user: u64,
    fees: FeeRates,
}
fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
impl RestSink for Log {
    fn body(&mut self, body: Body) {
        self.bodies.push(body);
    }
    fn bar(&mut self, bar: Bar) {
        self.bars.push(bar);
    }
    fn ticker(&mut self, ticker: Ticker) {
        self.tickers.push(ticker);
    }
    fn pair(&mut self, name: &[u8]) {
        self.pairs.push(text(name));
    }
    fn pair_info(&mut self, name: &[u8], info: PairInfo) {
        self.infos.push((text(name), info));
    }
    fn platform(&mut self, operative: bool) {
        self.platform = Some(operative);
    }
    fn permission(&mut self, scope: &[u8], read: bool, write: bool) {
        self.scopes.push((text(scope), read, write));
    }
    fn user(&mut self, id: u64) {
        self.user = id;
    }
    fn fees(&mut self, rates: FeeRates) {
        self.fees = rates;
    }
}

const BTC: SymbolId = SymbolId(0);
const CANDLES: RestCall =
    RestCall::CandlesHist { symbol: BTC, timeframe: Timeframe::M1, limit: 300, end: None };

fn reply(call: RestCall, body: &[u8]) -> Result<(ReplyStats, Log), RestError> {
    let mut log = Log::default();
    let stats = parse_reply(&call, 200, body, &table_of(&["tBTCUSD"]), &mut log)?;
    Ok((stats, log))
}
fn check_call(call: RestCall, path: &str, body: &str) {
    let table = table_of(&["tBTCUSD"]);
    let mut out = [0u8; 1_024];
    let len = call.write_path(&table, &mut out).unwrap();
    assert_eq!(text(&out[..len]), path);
    let len = call.write_body(&table, &mut out).unwrap();
    assert_eq!(text(&out[..len]), body);
    assert_eq!(call.method() == Method::Post, call.is_private());
    assert!(path.starts_with(call.endpoint()));
}

#[test]
fn calls_are_written_as_the_venue_wants_them() {
    check_call(RestCall::ConfPairs(PairList::Exchange), "conf/pub:list:pair:exchange", "");
    check_call(RestCall::ConfInfo { futures: true }, "conf/pub:info:pair:futures", "");
    check_call(RestCall::PlatformStatus, "platform/status", "");
    check_call(RestCall::Ticker(BTC), "ticker/tBTCUSD", "");
    check_call(CANDLES, "candles/trade:1m:tBTCUSD/hist?limit=300", "");
    check_call(RestCall::Wallets, "auth/r/wallets", "{}");
    check_call(
        RestCall::OrdersHist { start: WallNs::from_ms(5), limit: 9_999 },
        "auth/r/orders/hist",
        r#"{"start":5,"limit":2500}"#,
    );
    check_call(
        RestCall::TradesHist { start: WallNs::from_ms(5), limit: 10 },
        "auth/r/trades/hist",
        r#"{"start":5,"limit":10,"sort":1}"#,
    );
    check_call(RestCall::CancelAll, "auth/w/order/cancel/multi", r#"{"all":1}"#);
    let cid_day = WallNs::from_ms(1_520_985_600_000);
    check_call(
        RestCall::Cancel { id: OrderId::NONE, cid: Cid(5), cid_day },
        "auth/w/order/cancel",
        r#"{"cid":5,"cid_date":"2018-03-14"}"#,
    );
    let order = NewOrder {
        cid: Cid(12_345),
        cid_day,
        kind: OrderKind::Limit,
        wallet: WalletKind::Exchange,
        qty: Qty::parse("0.1").unwrap(),
        px: Px::from_whole(10_000),
        px_aux: Px::ZERO,
        flags: OrderFlags::NONE,
        leverage: 0,
    };
    check_call(
        RestCall::Submit { symbol: BTC, order, gid: Some(7) },
        "auth/w/order/submit",
        r#"{"gid":7,"cid":12345,"type":"EXCHANGE LIMIT","symbol":"tBTCUSD","amount":"0.1","price":"10000"}"#,
    );
    check_call(
        RestCall::Submit { symbol: BTC, order, gid: None },
        "auth/w/order/submit",
        r#"{"cid":12345,"type":"EXCHANGE LIMIT","symbol":"tBTCUSD","amount":"0.1","price":"10000"}"#,
    );
    assert!(RestCall::CancelAll.is_write());
    assert!(!RestCall::Orders.is_write());
}

#[test]
fn lists_and_facts_are_read() {
    let (_, log) =
        reply(RestCall::ConfPairs(PairList::Exchange), br#"[["1INCH:USD","BTCUSD"],["ignored"]]"#)
            .unwrap();
    assert_eq!(log.pairs, ["1INCH:USD", "BTCUSD"]);
    let (_, log) = reply(RestCall::PlatformStatus, b"[0]").unwrap();
    assert_eq!(log.platform, Some(false));
    let body = br#"[["account",1,1],["orders",1,0],["withdraw",0,1]]"#;
    let (stats, log) = reply(RestCall::Permissions, body).unwrap();
    assert_eq!(stats.rows, 3);
    assert_eq!(log.scopes[2], ("withdraw".into(), false, true));
    let (_, log) = reply(RestCall::UserInfo, br#"[123,"a@b","name",1]"#).unwrap();
    assert_eq!(log.user, 123);
    let body = br#"[null,null,null,null,[[0.001,0.001,0.001,null,null,0.0002],[0.002,0.002,0.002,null,null,0.00065]],[[{"curr":"x"}],{},0],null]"#;
    let (_, log) = reply(RestCall::Summary, body).unwrap();
    let fees =
        FeeRates { maker: 100_000, taker: 200_000, deriv_maker: 20_000, deriv_taker: 65_000 };
    assert_eq!(log.fees, fees);
}

#[test]
fn candles_come_oldest_first_whatever_the_wire_order() {
    for body in [
        &b"[[120000,1,2,3,0.5,9],[60000,1,1,1,1,1]]"[..],
        b"[[60000,1,1,1,1,1],[120000,1,2,3,0.5,9]]",
    ] {
        let (stats, log) = reply(CANDLES, body).unwrap();
        assert_eq!(stats.rows, 2);
        assert_eq!(log.bars[0].open_at, WallNs::from_ms(60_000));
        assert_eq!(
            (log.bars[1].close, log.bars[1].source),
            (Px::from_whole(2), BarSource::History)
        );
    }
}

#[test]
fn account_lists_stand_between_their_marks_and_half_a_list_is_an_error() {
    let order =
        r#"[1,null,5,"tBTCUSD",1,2,1,1,"EXCHANGE LIMIT",null,null,null,0,"ACTIVE",null,null,10,0]"#;
    let (stats, log) = reply(RestCall::Orders, format!("[{order},{order}]").as_bytes()).unwrap();
    assert_eq!((stats.rows, log.bodies.len()), (2, 4));
    let mark = SnapshotMark { of: SnapshotOf::RestOrders, end: true, count: 2 };
    assert_eq!(log.bodies[3], Body::Snapshot(mark));
    let trade = r#"[1,"tBTCUSD",1514909325593,1234567,0.21679716,12000,"EXCHANGE LIMIT",12000,1,-0.39712904,"USD",9]"#;
    let call = RestCall::TradesHist { start: WallNs(0), limit: 5 };
    let (_, log) = reply(call, format!("[{trade}]").as_bytes()).unwrap();
    assert!(
        matches!(log.bodies[1], Body::Fill(fill) if fill.cid == Cid(9) && fill.maker == Some(true))
    );
    let (_, log) = reply(RestCall::Wallets, br#"[["exchange","USD",5,0,4]]"#).unwrap();
    assert_eq!(log.bodies.len(), 3);
    for broken in
        [format!("[{order},[1,2]]"), format!("[{order},{order}"), "{}x".into(), "7".into()]
    {
        let error = reply(RestCall::Orders, broken.as_bytes()).err().unwrap();
        assert_eq!(error.kind, RestErrorKind::Unreadable, "{broken}");
    }
}

#[test]
fn answers_to_writes_are_acknowledgements() {
    let body = br#"[1678987199,"on-req",null,null,[[1747566428,null,1678987199446,"tBTCUSD",1678987199446,1678987199448,0.1,0.1,"EXCHANGE LIMIT"]],null,"SUCCESS","x"]"#;
    let cid_day = WallNs(0);
    let call = RestCall::Cancel { id: OrderId(1), cid: Cid(1), cid_day };
    let (_, log) = reply(call, body).unwrap();
    assert!(
        matches!(log.bodies[0], Body::Ack(ack) if ack.success && ack.cid == Cid(1_678_987_199_446))
    );
    let error = br#"["error",10001,"Order not found."]"#;
    let mut log = Log::default();
    let error = parse_reply(&call, 500, error, &table_of(&["tBTCUSD"]), &mut log).unwrap_err();
    assert_eq!(error.kind, RestErrorKind::Order(crate::model::Refusal::NotFound));
}

#[test]
#[cfg_attr(not(shared_data), ignore = "needs ../shared/data")]
fn recorded_replies_are_read_whole() {
    let recorded = shared_data::text("rest-responses-bitfinex-20250810.ndjson.gz");
    let mut seen = 0;
    for line in shared_data::lines(&recorded) {
        let json: serde_json::Value = serde_json::from_slice(line).unwrap();
        let path = json["path"].as_str().unwrap();
        let line = std::str::from_utf8(line).unwrap();
        let body = line.split_once("\"body\":").unwrap().1.strip_suffix('}').unwrap().as_bytes();
        if path.starts_with("/v2/candles") {
            let (stats, log) = reply(CANDLES, body).unwrap();
            assert_eq!(stats.rows, 120);
            assert!(log.bars.is_sorted_by_key(|bar| bar.open_at));
            seen += 1;
        } else if path.contains("pub:info:pair") {
            let (stats, log) = reply(RestCall::ConfInfo { futures: false }, body).unwrap();
            assert_eq!((stats.rows, stats.skipped), (294, 0));
            let ada = log.infos.iter().find(|i| i.0 == "ADAUSD").unwrap().1;
            assert_eq!((ada.qty_min, ada.qty_max), (Qty::from_whole(4), Qty::from_whole(250_000)));
            seen += 1;
        } else if path.starts_with("/v2/ticker/") {
            let (_, log) = reply(RestCall::Ticker(BTC), body).unwrap();
            assert_eq!(log.tickers[0].last, Px::from_whole(118_270));
            seen += 1;
        }
    }
    assert_eq!(seen, 3);
    let futures = shared_data::text("rest-conf-bitfinex-futures-and-maps.ndjson.gz");
    let line = shared_data::lines(&futures).next().unwrap();
    let line = std::str::from_utf8(line).unwrap();
    let body = line.split_once("\"body\":").unwrap().1.trim().strip_suffix('}').unwrap();
    let (stats, _) = reply(RestCall::ConfInfo { futures: true }, body.trim().as_bytes()).unwrap();
    assert_eq!((stats.rows, stats.skipped), (89, 0));
}
