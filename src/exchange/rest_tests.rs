//! REST endpoints: what they answer, what they refuse, and that they tell the same story as the
//! account stream.

use super::json::Json;
use super::script_tests::*;
use super::session_tests::{call, get, text};
use super::*;

struct Desk {
    script: Script,
    nonce: u64,
}

impl Desk {
    fn new(mut config: ExchangeConfig) -> Desk {
        config.limits.rest_per_minute = false;
        config.accounts[0].permissions.wallets_write = true;
        Desk { script: Script::new(config), nonce: 1_000 }
    }
    /// A signed call of account `a`.
    fn ask(&mut self, path: &str, body: &str) -> HttpReply {
        self.nonce += 1;
        let at = (self.nonce, self.script.now);
        call(&mut self.script.exchange, ("a", "secret-a"), path, body, at)
    }
    fn say(&mut self, path: &str, body: &str) -> String {
        text(&self.ask(path, body))
    }
    fn see(&mut self, path: &str) -> String {
        text(&get(&mut self.script.exchange, path, self.script.now))
    }
    /// Status, and the texts at `at` of each row of a list.
    fn column(&mut self, path: &str, body: &str, at: usize) -> Vec<String> {
        let reply = self.say(path, body);
        let list = Json::parse(reply.as_bytes()).unwrap_or_else(|| panic!("{path}: {reply}"));
        let cell = |row: &Json<'_>| {
            let mut out = Vec::new();
            row.items()[at].write(&mut out);
            String::from_utf8(out).unwrap().replace('"', "")
        };
        list.items().iter().map(cell).collect()
    }
    fn refused(&mut self, path: &str, body: &str) -> String {
        let reply = self.ask(path, body);
        assert_eq!(reply.status, 500, "{path} {body}: {}", text(&reply));
        text(&reply)
    }
}

#[test]
fn orders_are_entered_read_changed_and_cancelled() {
    let mut desk = Desk::new(config());
    desk.script.play("market bid 99 5\nmarket ask 101 5");
    let submit = |fields: &str| {
        format!(
            r#"{{"type":"EXCHANGE LIMIT","symbol":"tBTCUSD","amount":"0.1","price":"90"{fields}}}"#
        )
    };
    let reply = desk.say("auth/w/order/submit", &submit(r#","cid":5,"gid":7"#));
    assert!(reply.starts_with("[1735689600,\"on-req\",null,null,[[400"), "{reply}");
    assert!(
        reply
            .ends_with("]],null,\"SUCCESS\",\"Submitting exchange limit buy order for 0.1 BTC.\"]")
    );
    // The socket is told of it in its own form.
    let told = drain(&mut desk.script.exchange);
    assert!(told[0].1.starts_with("[0,\"n\",[1735689600,\"on-req\",null,null,[400"), "{told:?}");
    desk.say("auth/w/order/submit", &submit(r#","cid":6,"gid":7"#));
    desk.say("auth/w/order/submit", &submit(r#","cid":7"#));
    let ids = desk.column("auth/r/orders", "{}", 0);
    assert_eq!(ids.len(), 3);
    for (body, expected) in [
        (format!(r#"{{"id":[{},{}]}}"#, ids[0], ids[2]), vec!["5", "7"]),
        (format!(r#"{{"id":{}}}"#, ids[1]), vec!["6"]),
        (r#"{"gid":7}"#.to_owned(), vec!["5", "6"]),
        (r#"{"cid":7,"cid_date":"2025-01-01"}"#.to_owned(), vec!["7"]),
        (r#"{"cid":7,"cid_date":"2024-12-31"}"#.to_owned(), vec![]),
        (r#"{"cid":99}"#.to_owned(), vec![]),
    ] {
        assert_eq!(desk.column("auth/r/orders", &body, 2), expected, "{body}");
    }
    assert_eq!(desk.column("auth/r/orders/tBTCUSD", "{}", 0), ids);
    assert!(desk.column("auth/r/orders/tETHUSD", "{}", 0).is_empty());
    assert!(desk.refused("auth/r/orders", r#"{"cid_date":"x"}"#).contains("cid_date: invalid"));
    assert!(desk.refused("auth/r/orders/tNOPE", "{}").contains("10020,\"symbol: invalid\""));
    let update = format!(r#"{{"id":{},"price":"91","amount":"0.2"}}"#, ids[0]);
    let reply = desk.say("auth/w/order/update", &update);
    assert!(reply.contains("\"Submitting update to exchange limit buy order for 0.2 BTC.\""));
    let reply = desk.say("auth/w/order/cancel", r#"{"cid":6,"cid_date":"2025-01-01"}"#);
    assert!(reply.contains("Submitted for cancellation; waiting for confirmation"), "{reply}");
    let reply = desk.refused("auth/w/order/cancel", r#"{"id":1}"#);
    assert_eq!(reply, r#"["error",10001,"Order not found."]"#);
    let too_much = submit("").replace("\"0.1\"", "\"500\"");
    let reply = desk.refused("auth/w/order/submit", &too_much);
    assert!(reply.starts_with(r#"["error",10001,"Invalid order: not enough exchange balance"#));
    let ops = r#"{"ops":[["on",{"type":"EXCHANGE LIMIT","symbol":"tBTCUSD","amount":"0.1","price":"88"}],["oc",{"id":1}],["oc_multi",{"gid":[7]}]]}"#;
    let reply = desk.say("auth/w/order/multi", ops);
    let notes = Json::parse(reply.as_bytes()).unwrap();
    let kinds: Vec<_> = notes.items()[4]
        .items()
        .iter()
        .map(|note| (note.items()[1].text().unwrap(), note.items()[6].text().unwrap()))
        .collect();
    assert_eq!(kinds, [("on-req", "SUCCESS"), ("oc-req", "ERROR"), ("oc_multi-req", "SUCCESS")]);
    assert!(desk.refused("auth/w/order/multi", r#"{"ops":[]}"#).contains("ops: invalid"));
    let many = format!(r#"{{"ops":[{}]}}"#, vec![r#"["oc",{"id":1}]"#; 76].join(","));
    assert!(desk.refused("auth/w/order/multi", &many).contains("ops: invalid"));
    let reply = desk.say("auth/w/order/cancel/multi", r#"{"all":1}"#);
    assert!(reply.contains("\"Submitting 2 order cancellations.\""), "{reply}");
    assert!(desk.column("auth/r/orders", "{}", 0).is_empty());
    assert_eq!(desk.column("auth/r/orders/hist", "{}", 2)[..2], ["1735689600000", "7"]);
    let closed = format!(r#"{{"id":[{}]}}"#, ids[0]);
    assert_eq!(desk.column("auth/r/orders/tBTCUSD/hist", &closed, 13), ["CANCELED"]);
    assert!(desk.column("auth/r/orders/tETHUSD/hist", "{}", 0).is_empty());
    // Two weeks later they are forgotten.
    desk.script.play("wait 1209600001");
    assert!(desk.column("auth/r/orders/hist", "{}", 0).is_empty());
}

#[test]
fn trades_and_ledgers_are_paged_and_add_up_to_the_wallets() {
    let mut desk = Desk::new(config());
    desk.script.play("market bid 99 50\nmarket ask 101 50");
    for _ in 0..6 {
        desk.script.play("wait 1000\na on EXCHANGE MARKET 1\na on MARKET -1");
    }
    desk.script.play("a on LIMIT 3 @101");
    let mts = |desk: &mut Desk, body: &str| desk.column("auth/r/trades/hist", body, 2);
    let all = mts(&mut desk, "{}");
    assert_eq!(all.len(), 13);
    assert!(all.is_sorted_by(|a, b| a >= b), "newest first: {all:?}");
    assert_eq!(mts(&mut desk, r#"{"limit":3}"#), all[..3]);
    let oldest: Vec<String> = all.iter().rev().take(3).cloned().collect();
    assert_eq!(mts(&mut desk, r#"{"limit":3,"sort":1}"#), oldest);
    assert_eq!(mts(&mut desk, r#"{"start":1735689602000,"end":1735689603000}"#).len(), 4);
    assert!(desk.refused("auth/r/trades/hist", r#"{"limit":2501}"#).contains("limit: invalid"));
    assert_eq!(desk.column("auth/r/trades/tBTCUSD/hist", "{}", 0).len(), 13);
    assert!(desk.column("auth/r/trades/tETHUSD/hist", "{}", 0).is_empty());
    let order = desk.column("auth/r/trades/hist", r#"{"limit":1}"#, 3).remove(0);
    let path = format!("auth/r/order/tBTCUSD:{order}/trades");
    assert_eq!(desk.column(&path, "{}", 4), ["3"]);
    // Every change of every wallet is in the ledger.
    let account = desk.script.exchange.core.bank.account(1).clone();
    for ((wallet, currency), balance) in &account.wallets {
        let start = if currency.as_str() == "BTC" { 10 } else { 1_000 } * 100_000_000;
        let own = account.ledger.iter().filter(|e| (e.wallet, e.currency) == (*wallet, *currency));
        let (sum, last) = own.fold((0, start), |(sum, _), e| (sum + e.amount, e.balance));
        assert_eq!((start + sum, last), (*balance, *balance), "{wallet:?} {currency}");
    }
    let fees = r#"{"category":201,"limit":100}"#;
    assert_eq!(desk.column("auth/r/ledgers/hist", fees, 8).len(), 13);
    assert_eq!(
        desk.column("auth/r/ledgers/BTC/hist", fees, 8)[0],
        "Trading fees for 1 BTC (BTCUSD) @ 101 on BFX (0.2%) on wallet exchange"
    );
    let margin = r#"{"wallet":"margin","category":22}"#;
    let settled = desk.column("auth/r/ledgers/USD/hist", margin, 8);
    assert_eq!(settled, ["Settlement @ 101 on wallet margin"], "3 of 6 sold were bought back");
    assert!(desk.column("auth/r/ledgers/ETH/hist", "{}", 0).is_empty());
    assert_eq!(desk.column("auth/r/ledgers/hist", r#"{"limit":4}"#, 0).len(), 4);
}

#[test]
fn positions_margin_and_available_amounts_are_told() {
    let mut desk = Desk::new(config());
    desk.script.play("market bid 99 50\nmarket ask 101 50\nmarket buy 1\na on MARKET 2");
    let reply = desk.say("auth/r/positions", "{}");
    let row = Json::parse(reply.as_bytes()).unwrap().items()[0].clone();
    assert_eq!(row.items().len(), 20, "{reply}");
    let number = |at: usize| row.items()[at].units().unwrap();
    assert_eq!((number(2), number(3), number(6)), (2 * 100_000_000, 101 * 100_000_000, 0));
    // 10 BTC and 999.596 dollars stand behind two coins.
    assert_eq!(number(9), 202 * 100_000_000 * 1_000 / 2_009_596, "leverage");
    assert_eq!(row.items()[8], Json::Null, "no price is low enough");
    let margin = desk.say("auth/r/info/margin/base", "{}");
    assert_eq!(margin, r#"["base",[0,0,2009.596,2009.596,10.1]]"#);
    assert!(desk.say("auth/r/info/margin/tBTCUSD", "{}").starts_with(r#"["sym","tBTCUSD",[198"#));
    assert_eq!(desk.column("auth/r/info/margin/sym_all", "{}", 1).len(), 4);
    let available = |desk: &mut Desk, fields: &str| {
        desk.say("auth/calc/order/avail", &format!(r#"{{"symbol":"tBTCUSD",{fields}}}"#))
    };
    assert_eq!(available(&mut desk, r#""dir":1,"rate":"50","type":"EXCHANGE""#), "[20]");
    assert_eq!(available(&mut desk, r#""dir":-1,"type":"EXCHANGE""#), "[10]");
    assert_eq!(available(&mut desk, r#""dir":1,"rate":"100","type":"MARGIN""#), "[198.9396]");
    assert!(available(&mut desk, r#""dir":3,"type":"EXCHANGE""#).contains("dir: invalid"));
    assert!(available(&mut desk, r#""dir":1,"type":"NOPE""#).contains("type: invalid"));
    desk.script.play("wait 5000\na on MARKET -2\nwait 5000\na on MARKET 1\na on MARKET -1");
    assert_eq!(desk.say("auth/r/positions", "{}"), "[]");
    assert_eq!(desk.column("auth/r/positions/hist", "{}", 1), ["CLOSED", "CLOSED"]);
    assert_eq!(desk.column("auth/r/positions/hist", r#"{"limit":1}"#, 3), ["101"]);
    let id = desk.column("auth/r/positions/hist", "{}", 11).remove(1);
    assert_eq!(desk.column("auth/r/positions/audit", &format!(r#"{{"id":[{id}]}}"#), 11), [id]);
}

#[test]
fn money_moves_between_wallets_and_collateral_to_positions() {
    let mut desk = Desk::new(derivatives());
    let transfer = |amount: &str| {
        format!(r#"{{"from":"exchange","to":"margin","currency":"USD","amount":"{amount}"}}"#)
    };
    drain(&mut desk.script.exchange);
    let reply = desk.say("auth/w/transfer", &transfer("100"));
    assert!(reply.contains("\"100.0 USD transferred from Exchange to Margin\""), "{reply}");
    let told = drain(&mut desk.script.exchange);
    assert!(told[0].1.contains("\"wallet_transfer\""), "{told:?}");
    assert!(told[2].1.starts_with("[0,\"wu\",[\"margin\",\"USD\",1100,0,"), "{told:?}");
    for bad in ["0", "-5", "901", "x"] {
        assert!(desk.refused("auth/w/transfer", &transfer(bad)).contains("not enough"), "{bad}");
    }
    assert_eq!(desk.column("auth/r/ledgers/hist", r#"{"category":51}"#, 5), ["100", "-100"]);
    desk.script.play("market ask 100 50\nmarket bid 99 50\na on MARKET 10 symbol=tBTCF0:USTF0");
    let set =
        |collateral: &str| format!(r#"{{"symbol":"tBTCF0:USTF0","collateral":"{collateral}"}}"#);
    assert_eq!(desk.say("auth/w/deriv/collateral/set", &set("250")), "[[1]]");
    assert_eq!(desk.column("auth/r/positions", "{}", 17), ["250"]);
    assert_eq!(desk.column("auth/r/positions", "{}", 18), ["5"], "half a percent of 1,000");
    assert_eq!(desk.column("auth/r/positions", "{}", 15), ["1"]);
    assert_eq!(desk.say("auth/w/deriv/collateral/set", &set("6")), "[[1]]");
    for bad in ["4", "2000"] {
        assert!(desk.refused("auth/w/deriv/collateral/set", &set(bad)).contains("collateral"));
    }
    // 6 of collateral under ten coins: at 99.899 a coin half a percent is no longer there.
    assert_eq!(desk.column("auth/r/positions", "{}", 8), ["99.89949748"]);
    let of_derivatives =
        r#"{"symbol":"tBTCF0:USTF0","dir":1,"rate":"100","type":"DERIV","lev":50}"#;
    let there = desk.say("auth/calc/order/avail", of_derivatives);
    assert_eq!(there, "[496]", "992 of free collateral");
    let totals = desk.script.exchange.totals();
    assert_eq!(totals, Script::new(derivatives()).exchange.totals());
}

#[test]
fn public_lists_and_maps_are_served() {
    let mut desk = Desk::new(ExchangeConfig {
        symbols: ["tBTCUSD", "tBTCUST", "tIOTUSD", "tBTCF0:USTF0"].map(SymbolSpec::named).to_vec(),
        ..config()
    });
    for (key, expected) in [
        ("pub:list:pair:exchange", r#"[["BTCUSD","BTCUST","IOTUSD"]]"#),
        ("pub:list:pair:futures", r#"[["BTCF0:USTF0"]]"#),
        ("pub:list:pair:securities,pub:list:pair:margin", r#"[[],["BTCUSD","BTCUST","IOTUSD"]]"#),
        ("pub:list:currency", r#"[["BTC","BTCF0","IOT","USD","UST","USTF0"]]"#),
        (
            "pub:info:pair:futures",
            r#"[[["BTCF0:USTF0",[null,null,null,"0.00004","1000000.0",null,null,null,0.01,0.005]]]]"#,
        ),
        (
            "pub:map:currency:sym",
            r#"[[["UST","USDt"],["IOT","IOTA"],["USTF0","USDt"],["BTCF0","BTC-PERP"]]]"#,
        ),
        ("pub:map:currency:unit", r#"[[["IOT","Mi|MegaIOTA"]]]"#),
        ("pub:map:currency:undl", r#"[[["BTCF0","BTC"],["USTF0","UST"]]]"#),
        ("pub:map:currency:pool", r#"[[["UST","ETH"]]]"#),
        ("pub:nonsense", "[[]]"),
    ] {
        assert_eq!(desk.see(&format!("conf/{key}")), expected, "{key}");
    }
    assert!(desk.see("conf/pub:map:currency:label").contains(r#"["BTC","Bitcoin"]"#));
    assert!(desk.see("conf/pub:map:currency:tx:fee").contains(r#"["BTC",[0,0.0004]]"#));
    assert!(desk.see("conf/pub:map:tx:method").contains(r#"["BITCOIN",["BTC"]]"#));
    assert!(desk.see("conf/pub:info:tx:status").contains(r#"["BITCOIN",1,1,null"#));
    let margin = desk.see("conf/pub:spec:margin");
    assert!(margin.contains(r#""initial":{"base":0.3,"base_cap":1,"BTCUSD":0.1,"#), "{margin}");
    assert!(margin.contains(r#""minimum":{"base":0.15,"base_cap":1,"BTCUSD":0.05,"#), "{margin}");
    assert!(desk.see("conf/pub:fees").contains("correction_clamp_min"));
    assert_eq!(desk.see("conf/pub%3Alist%3Apair%3Afutures"), r#"[["BTCF0:USTF0"]]"#);
}

#[test]
fn histories_of_the_market_are_served() {
    let mut desk = Desk::new(derivatives());
    desk.script.play("market bid 99 50\nmarket ask 101 50\nmarket buy 1\nwait 7200000");
    desk.script.play("market bid 100 1\nwait 3600000");
    let name = "tBTCF0:USTF0";
    let rows = desk.see("tickers/hist?symbols=ALL");
    let touch = |bid: i64, hour: i64| {
        let mts = 1_735_689_600_000 + hour * 3_600_000;
        format!("[\"{name}\",{bid},null,101,null,null,null,null,null,null,null,null,{mts}]")
    };
    assert_eq!(
        rows,
        format!("[{},{},{},{}]", touch(100, 3), touch(99, 2), touch(99, 1), touch(99, 0))
    );
    assert_eq!(
        desk.see(&format!("tickers/hist?symbols={name}&limit=1")),
        format!("[{}]", touch(100, 3))
    );
    assert_eq!(desk.see("tickers/hist?symbols=tNOPE"), "[]");
    assert!(desk.see("tickers/hist?symbols=ALL&limit=251").contains("limit: invalid"));
    let statuses = desk.see(&format!("status/deriv/{name}/hist?limit=2&sort=1"));
    let list = Json::parse(statuses.as_bytes()).unwrap();
    assert_eq!((list.items().len(), list.items()[0].items().len()), (2, 23));
    let now = desk.see("status/deriv?keys=ALL");
    let list = Json::parse(now.as_bytes()).unwrap();
    assert_eq!(list.items()[0].items().len(), 24, "with its key");
    assert_eq!(desk.see("status/deriv?keys=tNOPE"), "[]");
    // A position opened, counted, and ended by the venue.
    desk.script.play("a on MARKET 40 symbol=tBTCF0:USTF0 lev=50");
    assert!(desk.see(&format!("stats1/pos.size:1m:{name}:long/last")).ends_with(",40]"));
    assert!(desk.see(&format!("stats1/pos.size:1m:{name}:short/hist")).ends_with(",0]]"));
    assert!(desk.see("stats1/pos.size:1m:tNOPE:long/last").contains("symbol: invalid"));
    assert_eq!(desk.see("liquidations/hist"), "[]");
    desk.script.play("market bid 98 100\nmarket sell 51.5\nmarket sell 0.1");
    let ended = desk.see("liquidations/hist");
    assert!(ended.starts_with("[[[\"pos\",150"), "{ended}");
    assert!(ended.ends_with(",null,\"tBTCF0:USTF0\",40,101,null,1,1,null,98]]]"), "{ended}");
    let average = desk.see(&format!("calc/trade/avg?symbol={name}&amount=-10"));
    assert_eq!(average, "[98,-10]");
    assert!(desk.see(&format!("calc/trade/avg?symbol={name}&amount=x")).contains("amount"));
    assert_eq!(desk.see("candles/trade:1M:tBTCF0:USTF0/hist").matches('[').count(), 2);
}

#[test]
fn what_is_not_there_is_said_not_to_be() {
    let mut desk = Desk::new(config());
    let now = desk.script.now;
    for path in ["nope", "conf", "auth/r/nope", "auth/w/order/nope", "auth/calc/nope"] {
        let reply = match path.starts_with("auth") {
            true => desk.ask(path, "{}"),
            false => get(&mut desk.script.exchange, path, now),
        };
        assert_eq!((reply.status, reply.content_type), (404, "text/html; charset=utf-8"), "{path}");
        assert!(text(&reply).starts_with("Cannot "), "{}", text(&reply));
    }
    assert_eq!(get(&mut desk.script.exchange, "auth/r/wallets", now).status, 404, "by POST only");
    assert!(desk.refused("auth/r/wallets", "{").contains("body: invalid"));
    for (path, why) in [
        ("ticker/tNOPE", "symbol: invalid"),
        ("book/tBTCUSD/P9", "prec: invalid"),
        ("book/tBTCUSD/P0?len=7", "len: invalid"),
        ("trades/tBTCUSD/hist?limit=10001", "limit: invalid"),
        ("candles/trade:2m:tBTCUSD/hist", "time_interval: invalid"),
        ("candles/trade:1m:tBTCUSD/nope", "section: invalid"),
    ] {
        let reply = get(&mut desk.script.exchange, path, now);
        assert_eq!((reply.status, text(&reply)), (500, format!("[\"error\",10020,\"{why}\"]")));
    }
}

#[test]
fn what_general_clients_ask_beside_trading_is_answered() {
    let mut desk = Desk::new(derivatives());
    for path in [
        "funding/offers",
        "funding/offers/fUSD",
        "funding/loans/fUSD/hist",
        "funding/credits/hist",
        "funding/trades/hist",
        "movements/hist",
        "movements/BTC/hist",
        "positions/snap",
        "logins/hist",
        "audit/hist",
        "alerts",
    ] {
        assert_eq!(desk.say(&format!("auth/r/{path}"), "{}"), "[]", "{path}");
    }
    let funding = desk.say("auth/r/info/funding/fUSD", "{}");
    assert_eq!(funding, "[\"sym\",\"fUSD\",[0,0,0,0]]");
    assert!(!desk.column("auth/r/wallets/hist", "{}", 0).is_empty());
    for path in ["auth/r/settings", "auth/w/withdraw", "auth/w/funding/offer/submit"] {
        assert!(desk.refused(path, "{}").contains("api_key: permission invalid"), "{path}");
    }
    let address = r#"{"wallet":"exchange","method":"bitcoin","op_renew":0}"#;
    let reply = desk.say("auth/w/deposit/address", address);
    let data = r#","acc_dep",null,null,[null,"BITCOIN","BTC",null,"nowhere-"#;
    assert!(reply.contains(data) && reply.ends_with("null,\"SUCCESS\",\"success\"]"), "{reply}");
    assert_eq!(desk.say("auth/w/deposit/address", address), reply, "the same one again");
    let bad = r#"{"wallet":"exchange","method":"pigeon"}"#;
    assert!(desk.refused("auth/w/deposit/address", bad).contains("method: invalid"));
    for path in ["funding/stats/fUSD/hist", "rankings/vol:1w:tBTCUSD/hist", "pulse/hist"] {
        assert_eq!(desk.see(path), "[]", "{path}");
    }
    assert!(desk.see("stats1/funding.size:1m:fUSD/last").ends_with(",0]"));
    assert_eq!(desk.see("conf/pub:list:pair:securities,pub:list:competitions"), "[[],[]]");
    assert!(desk.see("conf/pub:list:currency:margin").starts_with("[["));
    let explorer = desk.see("conf/pub:map:currency:explorer");
    assert!(explorer.contains("\"/address/VAL\""), "{explorer}");
    // A token ends when it is told to, and then is none.
    let reply = desk.say("auth/w/token", r#"{"scope":"api","ttl":120}"#);
    let body = format!("{{\"token\":{}}}", &reply[1..reply.len() - 1]);
    assert_eq!(desk.say("auth/w/token/del", &body), "[1]");
    assert!(desk.refused("auth/w/token/del", &body).contains("token: invalid"));
}

#[test]
fn collateral_has_limits_and_calculations_take_a_body_or_a_query() {
    let mut desk = Desk::new(derivatives());
    let name = desk.script.exchange.core.symbol_name(0).to_owned();
    let body = format!("{{\"symbol\":\"{name}\"}}");
    assert!(desk.refused("auth/calc/deriv/collateral/limits", &body).contains("position: invalid"));
    desk.script.play("market ask 100 5\nmarket bid 99 5\na on MARKET 1 lev=10 symbol=tBTCF0:USTF0");
    for path in ["auth/calc/deriv/collateral/limit", "auth/w/deriv/collateral/limits"] {
        let reply = desk.say(path, &body);
        let limits = Json::parse(reply.as_bytes()).unwrap();
        let [least, most] = limits.items() else { panic!("{reply}") };
        let (least, most) = (least.units().unwrap(), most.units().unwrap());
        assert!(0 < least && least < most, "{reply}");
    }
    let now = desk.script.now;
    let mut post = |path: &str, body: &str| {
        let path = format!("/v2/{path}");
        let request = HttpRequest {
            method: "POST",
            path_and_query: &path,
            body: body.as_bytes(),
            ..HttpRequest::default()
        };
        text(&desk.script.exchange.rest(&request, now))
    };
    let by_query = post(&format!("calc/trade/avg?symbol={name}&amount=1"), "");
    let by_body = post("calc/trade/avg", &format!("{{\"symbol\":\"{name}\",\"amount\":\"1\"}}"));
    assert_eq!(by_query, by_body);
    assert_eq!(by_query, "[100,1]");
    let by_query = post("calc/fx?ccy1=BTC&ccy2=BTC", "");
    assert_eq!(by_query, post("calc/fx", r#"{"ccy1":"BTC","ccy2":"BTC"}"#));
}
