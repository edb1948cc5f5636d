//! Sessions, keys, tokens and limits: who may do what, how often, and what happens when a socket or
//! the venue goes.

use super::script_tests::*;
use super::*;

/// A signed call of a key named as its account in scripts.
pub fn call(
    exchange: &mut Exchange,
    (key, secret): (&str, &str),
    path: &str,
    body: &str,
    (nonce, now): (u64, WallNs),
) -> HttpReply {
    let nonce = nonce.to_string();
    let parts = [&b"/api/v2/"[..], path.as_bytes(), nonce.as_bytes(), body.as_bytes()];
    let signature = sign::sign(secret, &parts);
    let request = HttpRequest {
        method: "POST",
        path_and_query: &format!("/v2/{path}"),
        api_key: Some(key),
        nonce: Some(&nonce),
        signature: Some(&signature),
        body: body.as_bytes(),
        ..HttpRequest::default()
    };
    exchange.rest(&request, now)
}
pub fn get(exchange: &mut Exchange, path: &str, now: WallNs) -> HttpReply {
    let path = format!("/v2/{path}");
    let request = HttpRequest { method: "GET", path_and_query: &path, ..HttpRequest::default() };
    exchange.rest(&request, now)
}
pub fn text(reply: &HttpReply) -> String {
    String::from_utf8(reply.body.clone()).unwrap()
}
fn after(from: WallNs, ms: i64) -> WallNs {
    WallNs(from.0 + ms * 1_000_000)
}
/// What one connection is told, as text.
fn told(exchange: &mut Exchange, conn: u64) -> Vec<String> {
    let all = drain(exchange).into_iter();
    all.filter(|(to, _)| *to == conn).map(|(_, text)| text).collect()
}
fn run(exchange: &mut Exchange, until: WallNs) {
    while exchange.advance(until, 1_000) > 0 {}
}

const LIMIT: &str = r#"{"type":"EXCHANGE LIMIT","symbol":"tBTCUSD","amount":"0.1","price":"90"}"#;

#[test]
fn a_dead_man_switch_cancels_everything_of_its_account_when_its_socket_goes() {
    let mut script = Script::new(config());
    script.connect(3, "a", 2, r#","dms":4"#);
    script.connect(4, "a", 3, r#","dms":4"#);
    script.play(
        "a on EXCHANGE LIMIT 1 @90\na on EXCHANGE STOP 1 @120\na on LIMIT 1 @80\nb on LIMIT 1 @70",
    );
    // A socket without the switch, and one that left its account before it went.
    let now = script.now;
    script.exchange.on_text(4, br#"{"event":"unauth"}"#, now);
    script.exchange.disconnect(4, now);
    script.exchange.connect(5, now);
    script.exchange.disconnect(5, now);
    drain(&mut script.exchange);
    assert_eq!(script.play("a state").lines().last(), Some("  a: open #1, open #2, open #3"));
    script.exchange.disconnect(3, now);
    assert_eq!(
        script.play("a state\nb state"),
        "> a state\n  a: \n  a: oc #1 EXCHANGE LIMIT 1 @90 CANCELED\n  a: oc #2 EXCHANGE STOP 1 \
         @120 CANCELED\n  a: oc #3 LIMIT 1 @80 CANCELED\n> b state\n  b: open #4"
    );
}

#[test]
fn maintenance_is_announced_refuses_orders_and_ends() {
    let mut script = Script::new(config());
    let now = script.now;
    script.play("a on EXCHANGE LIMIT 1 @90");
    script.exchange.announce(20_060, now);
    let said = drain(&mut script.exchange);
    assert_eq!(said.len(), 2, "everybody is told");
    assert!(said.iter().all(|(_, text)| text.starts_with(r#"{"event":"info","code":20060,"#)));
    assert_eq!(text(&get(&mut script.exchange, "platform/status", now)), "[0]");
    script.exchange.connect(7, now);
    assert!(told(&mut script.exchange, 7)[0].ends_with(r#""platform":{"status":0}}"#));
    let refused = script.play("a on EXCHANGE LIMIT 1 @90\na ou #1 price=\"91\"");
    assert_eq!(refused.matches("ERROR maintenance").count(), 2, "{refused}");
    let book = get(&mut script.exchange, "book/tBTCUSD/P0", now);
    assert_eq!((book.status, text(&book)), (500, r#"["error",20060,"maintenance"]"#.to_owned()));
    assert!(script.play("a oc #1").contains("CANCELED"), "a cancel is always taken");
    script.exchange.announce(20_061, now);
    assert!(told(&mut script.exchange, 1)[0].contains("\"code\":20061"));
    assert!(script.play("a on EXCHANGE LIMIT 1 @90").contains("ACTIVE"));
    // A stopping server says so and hangs up; orders stay, dead-man switch or not.
    script.connect(3, "a", 2, r#","dms":4"#);
    drain(&mut script.exchange);
    script.exchange.announce(20_051, now);
    script.exchange.hang_up_all(now);
    let said = told(&mut script.exchange, 3);
    assert!(said[0].starts_with(r#"{"event":"info","code":20051,"msg":"Stopping."#), "{said:?}");
    assert_eq!(said[1], "(close)");
    assert_eq!(script.exchange.core.orders.len(), 1);
}

#[test]
fn new_orders_are_limited_by_their_rate_and_number() {
    let mut config = config();
    config.limits.orders_per_5_min = 3;
    config.limits.open_orders = 4;
    let mut script = Script::new(config);
    let one = "a on EXCHANGE LIMIT 0.1 @90";
    let said = script.play(&[one, one, one, one, "b on LIMIT 0.1 @90"].join("\n"));
    assert_eq!(said.matches("ACTIVE").count(), 4, "{said}");
    assert!(said.contains("n on-req ERROR ratelimit: error"), "{said}");
    assert!(script.play(&["wait 299999", one].join("\n")).contains("ratelimit"));
    assert!(script.play(&["wait 2", one].join("\n")).contains("ACTIVE"));
    assert!(script.play(one).contains("ERROR Invalid order: too many open orders"));
}

#[test]
fn a_rest_limit_once_broken_blocks_everything_for_a_minute() {
    let mut script = Script::new(config());
    let exchange = &mut script.exchange;
    let start = START;
    for _ in 0..200 {
        assert_eq!(get(exchange, "platform/status", start).status, 200, "before the market runs");
    }
    run(exchange, start);
    for _ in 0..30 {
        assert_eq!(get(exchange, "platform/status", start).status, 200);
    }
    let refused = get(exchange, "platform/status", start);
    assert_eq!(text(&refused), r#"["error",11010,"ratelimit: error"]"#);
    assert_eq!(refused.status, 429);
    assert_eq!(refused.headers, [("retry-after", "60".to_owned())]);
    let other = get(exchange, "ticker/tBTCUSD", after(start, 20_500));
    assert_eq!((other.status, &other.headers[0].1[..]), (429, "40"));
    let signed =
        call(exchange, ("a", "secret-a"), "auth/r/wallets", "{}", (9, after(start, 59_999)));
    assert_eq!(signed.status, 429, "every path, every key: one address");
    assert_eq!(get(exchange, "platform/status", after(start, 60_000)).status, 200);
    let mut free = config();
    free.limits.rest_per_minute = false;
    let mut script = Script::new(free);
    run(&mut script.exchange, start);
    let exchange = &mut script.exchange;
    assert!((0..200).all(|_| get(exchange, "platform/status", start).status == 200));
}

fn many_keys() -> ExchangeConfig {
    let reader = Permissions::READ;
    let blind = Permissions { wallets_read: false, history_read: false, ..Permissions::TRADE };
    let account = account("a").with_key("reader", "rs", reader).with_key("blind", "bs", blind);
    ExchangeConfig { accounts: vec![account, super::script_tests::account("b")], ..config() }
}

#[test]
fn each_key_has_its_own_rights_and_nonces() {
    let mut script = Script::new(many_keys());
    let exchange = &mut script.exchange;
    let now = START;
    let orders = |exchange: &mut Exchange, who, nonce| {
        let path = "auth/w/order/submit";
        let reply = call(exchange, who, path, LIMIT, (nonce, now));
        (reply.status, text(&reply))
    };
    let (status, said) = orders(exchange, ("reader", "rs"), 1);
    assert_eq!((status, &said[..]), (500, r#"["error",10001,"api_key: permission invalid"]"#));
    assert_eq!(orders(exchange, ("blind", "bs"), 1).0, 200);
    assert_eq!(orders(exchange, ("blind", "bs"), 1).1, r#"["error",10114,"nonce: small"]"#);
    assert_eq!(orders(exchange, ("reader", "bs"), 2).1, r#"["error",10100,"apikey: invalid"]"#);
    for (path, reader, blind) in [
        ("auth/r/wallets", 200, 500),
        ("auth/r/orders", 200, 200),
        ("auth/r/orders/hist", 200, 500),
        ("auth/r/trades/hist", 200, 500),
        ("auth/r/ledgers/hist", 200, 500),
        ("auth/r/positions", 200, 200),
        ("auth/r/positions/hist", 200, 500),
        ("auth/r/info/user", 200, 200),
        ("auth/r/permissions", 200, 200),
    ] {
        for (key, secret, expected) in [("reader", "rs", reader), ("blind", "bs", blind)] {
            let nonce = exchange.core.bank.account(1).nonces.iter().max().unwrap() + 1;
            let reply = call(exchange, (key, secret), path, "{}", (nonce, now));
            assert_eq!(reply.status, expected, "{key} {path} {}", text(&reply));
        }
    }
    let permissions = call(exchange, ("reader", "rs"), "auth/r/permissions", "", (99, now));
    assert!(text(&permissions).contains(r#"["orders",1,0],["positions",1,0]"#));
    assert!(text(&permissions).ends_with(r#"["ui_withdraw",0,0],["bfxpay",0,0]]"#));
    // On the socket, too: what may not be read is not told.
    for (conn, key, secret) in [(11, "reader", "rs"), (12, "blind", "bs")] {
        exchange.connect(conn, now);
        exchange.on_text(conn, login_text(key, secret, 100, "").as_bytes(), now);
        let said = told(exchange, conn);
        let has_wallets = said.iter().any(|text| text.starts_with("[0,\"ws\""));
        assert_eq!(has_wallets, key == "reader", "{said:?}");
        assert!(said.iter().any(|text| text.starts_with("[0,\"os\",[[")), "{said:?}");
        let order = format!("[0,\"on\",null,{LIMIT}]");
        exchange.on_text(conn, order.as_bytes(), now);
        let said = told(exchange, conn);
        let refused = said[0].contains("api_key: permission invalid");
        assert_eq!(refused, key == "reader", "{said:?}");
    }
}

#[test]
fn a_token_stands_in_for_its_key_for_a_while_and_within_its_rights() {
    let mut script = Script::new(many_keys());
    let exchange = &mut script.exchange;
    let now = START;
    let mint = |exchange: &mut Exchange, who, body: &str, nonce| {
        text(&call(exchange, who, "auth/w/token", body, (nonce, now)))
    };
    let body = r#"{"scope":"api","ttl":60,"caps":["o","w"],"writePermission":true}"#;
    let reply = mint(exchange, ("a", "secret-a"), body, 5);
    let token = reply.strip_prefix("[\"").and_then(|rest| rest.strip_suffix("\"]")).unwrap();
    assert!(token.starts_with("pub:api:"), "{token}");
    let with = |exchange: &mut Exchange, token: &str, path: &str, now| {
        let request = HttpRequest {
            method: "POST",
            path_and_query: &format!("/v2/{path}"),
            token: Some(token),
            body: LIMIT.as_bytes(),
            ..HttpRequest::default()
        };
        exchange.rest(&request, now).status
    };
    assert_eq!(with(exchange, token, "auth/w/order/submit", now), 200);
    assert_eq!(with(exchange, token, "auth/r/wallets", now), 200);
    assert_eq!(with(exchange, token, "auth/r/summary", now), 500, "no right to the account");
    assert_eq!(with(exchange, "pub:api:nobody", "auth/r/wallets", now), 500);
    exchange.connect(21, now);
    exchange.on_text(21, format!(r#"{{"event":"auth","token":"{token}"}}"#).as_bytes(), now);
    assert!(told(exchange, 21)[1].contains(r#""orders":{"read":1,"write":1}"#));
    // A reader's token cannot write, whatever it asks for; one made to read cannot either.
    let reader = mint(exchange, ("reader", "rs"), body, 1).replace(['[', ']', '"'], "");
    assert_eq!(with(exchange, &reader, "auth/w/order/submit", now), 500);
    let plain =
        mint(exchange, ("a", "secret-a"), r#"{"scope":"api"}"#, 6).replace(['[', ']', '"'], "");
    assert_eq!(with(exchange, &plain, "auth/w/order/submit", now), 500);
    assert_eq!(with(exchange, &plain, "auth/r/summary", now), 200);
    for bad in [r#"{"scope":"x"}"#, r#"{"scope":"api","ttl":1}"#, r#"{"scope":"api","ttl":"x"}"#] {
        let nonce = exchange.core.bank.account(1).nonces[0] + 1;
        assert!(mint(exchange, ("a", "secret-a"), bad, nonce).contains("10020"), "{bad}");
    }
    assert_eq!(with(exchange, token, "auth/r/wallets", after(now, 60_000)), 500, "it has ended");
}

#[test]
fn fees_follow_the_volume_of_thirty_days() {
    let mut tiered = config();
    tiered.fee_tiers = FeeTier::until_2025();
    tiered.accounts[0].balances[0].2 = 2_000_000 * 100_000_000;
    tiered.limits.rest_per_minute = false;
    let mut script = Script::new(tiered);
    let fee_of = |said: &str| {
        let line = said.lines().find(|line| line.contains(" tu ")).unwrap();
        line.rsplit_once(" fee ").unwrap().1.to_owned()
    };
    let deal = "market bid 99 3000\na on EXCHANGE LIMIT 1 @100\nmarket sell 1";
    assert_eq!(fee_of(&script.play(deal)), "-0.001 BTC");
    // 500,000 dollars later.
    script.play("market ask 1000 2000\na on EXCHANGE LIMIT 500 @1000");
    assert_eq!(fee_of(&script.play(deal)), "-0.0008 BTC");
    let now = script.now;
    let exchange = &mut script.exchange;
    let summary = text(&call(exchange, ("a", "secret-a"), "auth/r/summary", "{}", (9, now)));
    assert!(
        summary.starts_with(
            "[null,null,null,null,[[0.0008,0.0008,0.0008,null,null,0.0002],\
             [0.002,0.002,0.002,null,null,0.00065]],[[{\"curr\":\"Total (USD)\",\"vol\":500200,"
        ),
        "{summary}"
    );
    script.play("wait 2592000000"); // 30 days
    assert_eq!(fee_of(&script.play(deal)), "-0.001 BTC");
    let bad = |change: fn(&mut FeeTier)| {
        let mut tiers = FeeTier::until_2025();
        change(&mut tiers[1]);
        ExchangeConfig { fee_tiers: tiers, ..config() }.check()
    };
    assert_eq!(bad(|tier| tier.deriv_maker_e6 = -100), Ok(()), "a rebate where the venue has one");
    assert!(bad(|tier| tier.maker_e6 = -100).is_err());
    assert!(bad(|tier| tier.volume_usd = 0).is_err());
}

#[test]
fn heartbeats_may_come_before_the_acknowledgement_and_data_may_not() {
    let setup = ExchangeConfig { ack_after_ms: 12_000, heartbeat_ms: 3_000, ..config() };
    let mut script = Script::new(setup);
    let exchange = &mut script.exchange;
    run(exchange, START);
    exchange.connect(9, START);
    let frames = ["1m", "5m", "15m", "30m", "1h", "3h", "6h", "12h", "1D", "7D"];
    for frame in frames {
        let text =
            format!(r#"{{"event":"subscribe","channel":"candles","key":"trade:{frame}:tBTCUSD"}}"#);
        exchange.on_text(9, text.as_bytes(), START);
    }
    let again = br#"{"event":"subscribe","channel":"candles","key":"trade:1m:tBTCUSD"}"#;
    exchange.on_text(9, again, START);
    let said = told(exchange, 9);
    assert_eq!(said.len(), 2, "a greeting, and the error overtakes the acknowledgement");
    assert!(said[1].contains("subscribe: dup"), "{said:?}");
    let mut heard: Vec<String> = Vec::new();
    for second in 1..=20 {
        run(exchange, after(START, second * 1_000));
        heard.extend(told(exchange, 9));
    }
    let mut early = 0;
    let channels = exchange.core.hub.session(9).unwrap().channels.clone();
    for channel in channels {
        let chan = channel.id;
        let of = |text: &&String| {
            text.contains(&format!("\"chanId\":{chan},")) || text.starts_with(&format!("[{chan},"))
        };
        let own: Vec<&String> = heard.iter().filter(of).collect();
        let ack = own.iter().position(|text| text.contains("subscribed")).unwrap();
        assert!(own[..ack].iter().all(|text| text.contains("\"hb\"")), "{own:?}");
        assert_eq!(own[ack + 1], &format!("[{chan},[]]"), "then the snapshot");
        early += ack;
    }
    assert!(early > 5, "{early} heartbeats came early");
}

/// Goal: free balances are null in the snapshots and follow them later, unless the socket has left.
#[test]
fn computed_fields_follow_the_snapshots_of_an_account() {
    let setup = ExchangeConfig { figures_after_ms: 200, ..config() };
    let mut script = Script::new(setup);
    run(&mut script.exchange, START);
    script.connect(7, "a", 2, "");
    script.connect(8, "a", 3, "");
    let said = told(&mut script.exchange, 7);
    assert!(said.iter().any(|text| text.starts_with("[0,\"ws\",")), "{said:?}");
    assert!(!said.iter().any(|text| text.starts_with("[0,\"wu\",")), "{said:?}");
    script.exchange.on_text(8, br#"{"event":"unauth"}"#, START);
    drain(&mut script.exchange);
    run(&mut script.exchange, after(START, 199));
    assert!(told(&mut script.exchange, 7).is_empty());
    run(&mut script.exchange, after(START, 200));
    let said = drain(&mut script.exchange);
    assert!(said.iter().all(|(conn, _)| *conn == 7), "{said:?}");
    assert!(said[0].1.starts_with("[0,\"wu\",") && said.last().unwrap().1.contains("\"bu\""));
}

#[test]
fn a_ticker_has_ten_elements_or_the_eleven_of_2026() {
    for (ticker_of_2026, length) in [(false, 10), (true, 11)] {
        let mut script = Script::new(ExchangeConfig { ticker_of_2026, ..config() });
        let exchange = &mut script.exchange;
        exchange.connect(9, START);
        let text = br#"{"event":"subscribe","channel":"ticker","symbol":"tBTCUSD"}"#;
        exchange.on_text(9, text, START);
        let said = told(exchange, 9);
        let frame: serde_json::Value = serde_json::from_str(said.last().unwrap()).unwrap();
        assert_eq!(frame[1].as_array().unwrap().len(), length);
    }
}

#[test]
fn the_public_is_told_of_positions_that_the_venue_ends() {
    let mut script = Script::new(derivatives());
    let now = script.now;
    script.exchange.connect(9, now);
    let subscribe = br#"{"event":"subscribe","channel":"status","key":"liq:global"}"#;
    script.exchange.on_text(9, subscribe, now);
    let said = told(&mut script.exchange, 9);
    assert!(said[1].ends_with(r#","key":"liq:global"}"#), "{said:?}");
    let story = "market bid 99 50\nmarket ask 100 50\na on MARKET 40 symbol=tBTCF0:USTF0 lev=50";
    let quiet = script.play(story);
    assert!(!quiet.contains("other:"), "{quiet}");
    let said = script.play("market bid 98 200\nmarket sell 50\nmarket sell 1");
    let public: Vec<&str> = said.lines().filter(|line| line.contains("\"pos\"")).collect();
    assert_eq!(public.len(), 2, "{said}");
    assert!(public[0].ends_with(r#",null,"tBTCF0:USTF0",40,100,null,0,0,null,null]]]"#), "{said}");
    assert!(public[1].ends_with(r#",null,"tBTCF0:USTF0",40,100,null,1,1,null,98]]]"#), "{said}");
}

#[test]
fn conf_carries_an_entity_tag_and_answers_that_nothing_changed() {
    let mut script = Script::new(config());
    let exchange = &mut script.exchange;
    let ask = |exchange: &mut Exchange, path: &str, known: Option<&str>| {
        let request = HttpRequest {
            method: "GET",
            path_and_query: path,
            if_none_match: known,
            ..HttpRequest::default()
        };
        exchange.rest(&request, START)
    };
    let first = ask(exchange, "/v2/conf/pub:info:pair", None);
    let (name, tag) = first.headers[0].clone();
    assert_eq!((first.status, name), (200, "etag"));
    for known in [&tag[..], tag.trim_start_matches("W/"), &format!("\"x\", {tag}")] {
        let second = ask(exchange, "/v2/conf/pub:info:pair", Some(known));
        assert_eq!((second.status, second.body.len()), (304, 0), "{known}");
        assert_eq!(second.headers, first.headers);
    }
    assert_eq!(ask(exchange, "/v2/conf/pub:list:currency", Some(&tag)).status, 200);
    assert!(ask(exchange, "/v2/platform/status", Some(&tag)).headers.is_empty());
}
