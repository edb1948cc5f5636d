//! The account's session against the recorded fixture and made-up trouble.

use super::*;
use crate::base::ids::{Cid, OrderId, TradeId};
use crate::base::units::{Px, Qty};
use crate::model::{AckOf, OrderStatus};
use crate::venue::shared_data;
use crate::venue::symbols::tests::table_of;

#[derive(Default)]
struct Log {
    bodies: Vec<Body>,
    times: Vec<WallNs>,
}
impl BodySink for Log {
    fn body(&mut self, body: Body) {
        self.bodies.push(body);
    }
    fn market_time(&mut self, at: WallNs) {
        self.times.push(at);
    }
}
impl Log {
    fn links(&self) -> Vec<(LinkState, i32)> {
        self.bodies
            .iter()
            .filter_map(|body| match body {
                Body::Link(link) => Some((link.state, link.code)),
                _ => None,
            })
            .collect()
    }
}

const NONCE: u64 = 1_700_000_000_000_000;
const AUTH_OK: &str = r#"{"event":"auth","status":"OK","chanId":0,"userId":1,"caps":{"orders":{"read":1,"write":1},"withdraw":{"read":0,"write":0}}}"#;

fn opened(config: PrivateConfig) -> (PrivateSession, Log, Vec<String>) {
    let key = ApiKey::new("apiKey1", b"test-secret").unwrap();
    let table = table_of(&["tBTCUSD", "tBTCUST"]);
    let mut session = PrivateSession::new(config, key, table);
    let mut log = Log::default();
    session.on_open(MonoNs(1), NONCE, &mut log);
    let mut out = [0u8; 1_024];
    let mut sent = Vec::new();
    while let Some(len) = session.poll_transmit(MonoNs(1), &mut out) {
        sent.push(String::from_utf8(out[..len].to_vec()).unwrap());
    }
    (session, log, sent)
}
fn authenticated(flags: u32) -> (PrivateSession, Log) {
    let (mut session, mut log, _) = opened(PrivateConfig { flags, ..PrivateConfig::default() });
    session.on_message(AUTH_OK.as_bytes(), MonoNs(1), &mut log);
    assert!(session.is_authenticated());
    (session, log)
}

#[test]
fn auth_is_signed_and_says_what_is_wanted() {
    let config = PrivateConfig {
        dms: true,
        filters: vec!["trading".into(), "wallet".into(), "notify".into()],
        ..PrivateConfig::default()
    };
    let (_, _, sent) = opened(config);
    assert_eq!(sent[0], r#"{"event":"conf","flags":98304}"#);
    assert_eq!(
        sent[1],
        r#"{"event":"auth","apiKey":"apiKey1","authSig":"e2d52d5c363e7bd45570eac8e3c1e661c1113216e2a0e2699cf42e1d3df0e77b5f06f5bc283b66bf7f1e4e8967b6bec9","authPayload":"AUTH1700000000000000","authNonce":1700000000000000,"dms":4,"filter":["trading","wallet","notify"]}"#
    );
    let (_, _, sent) = opened(PrivateConfig::default());
    assert!(sent[1].ends_with("\"authNonce\":1700000000000000}"));
}

#[test]
#[cfg_attr(not(shared_data), ignore = "needs ../shared/data")]
fn the_recorded_fixture_decodes_whole() {
    let text = shared_data::text("ws-auth-fixture-bitfinex-20250821.ndjson");
    let (mut session, mut log, _) = opened(PrivateConfig { flags: 0, ..Default::default() });
    for line in shared_data::lines(&text) {
        session.on_message(line, MonoNs(2), &mut log);
    }
    let counters = session.counters();
    assert_eq!(counters.frames, 14);
    assert_eq!((counters.unknown, counters.malformed), (0, 0));
    assert_eq!((counters.orders, counters.fills, counters.heartbeats), (4, 4, 1));
    assert_eq!((counters.ignored, counters.errors), (2, 1));
    assert_eq!(log.links(), [(LinkState::Up, 0), (LinkState::Authenticated, 0)]);
    let fills: Vec<_> = log
        .bodies
        .iter()
        .filter_map(|body| match body {
            Body::Fill(fill) => Some(*fill),
            _ => None,
        })
        .collect();
    assert_eq!(fills[0].trade, TradeId(111_144_952));
    assert_eq!((fills[0].fee, fills[0].maker), (None, Some(false)));
    assert_eq!(fills[1].fee, Some(-606_047));
    assert_eq!(fills[1].fee_currency.as_str(), "USD");
    assert_eq!((fills[3].fee, fills[3].fee_currency.as_str()), (Some(-5), "BTC"));
    assert_eq!(fills[3].cid, Cid(1_755_757_984_210));
    let marks: Vec<_> = log
        .bodies
        .iter()
        .filter_map(|body| match body {
            Body::Snapshot(mark) => Some((mark.of, mark.end, mark.count)),
            _ => None,
        })
        .collect();
    assert_eq!(marks, [(SnapshotOf::Orders, false, 0), (SnapshotOf::Orders, true, 1)]);
    let closed = log.bodies.iter().find_map(|body| match body {
        Body::Order(order) if order.source == Source::Closed => Some(*order),
        _ => None,
    });
    let closed = closed.unwrap();
    assert_eq!((closed.status, closed.remaining), (OrderStatus::Executed, Qty::ZERO));
    assert_eq!((closed.id, closed.px_avg), (OrderId(111_179_140_333), Px::from_whole(113_940)));
}

#[test]
fn refused_keys_are_told_with_their_code() {
    for (answer, code, reason) in [
        (
            r#"{"event":"auth","status":"FAILED","chanId":0,"code":10100,"msg":"apikey: invalid"}"#,
            10_100,
            ReconnectReason::AuthRefused,
        ),
        (
            r#"{"event":"auth","status":"FAIL","code":10114,"msg":"nonce: small"}"#,
            10_114,
            ReconnectReason::Nonce,
        ),
        (r#"{"event":"error","code":10111,"msg":"payload"}"#, 10_111, ReconnectReason::AuthRefused),
        (
            r#"{"event":"auth","status":"OK","caps":{"orders":{"read":1,"write":0}}}"#,
            CODE_NO_ORDER_RIGHT,
            ReconnectReason::AuthRefused,
        ),
        (
            r#"{"event":"auth","status":"OK","caps":{"withdraw":{"read":1,"write":1}}}"#,
            CODE_WITHDRAW_RIGHT,
            ReconnectReason::AuthRefused,
        ),
    ] {
        let (mut session, mut log, _) = opened(PrivateConfig::default());
        session.on_message(answer.as_bytes(), MonoNs(2), &mut log);
        assert_eq!(log.links().last(), Some(&(LinkState::AuthFailed, code)));
        assert_eq!(session.wants_reconnect(), Some(reason));
        assert!(!session.is_authenticated());
    }
}

#[test]
fn snapshots_stand_between_their_marks_or_are_not_told() {
    let (mut session, mut log) = authenticated(0);
    log.bodies.clear();
    for text in [
        r#"[0,"ps",[["tBTCUSD","ACTIVE",1,2,0,0,null]]]"#,
        r#"[0,"ws",[["exchange","BTC",1,0,null,null,null],["margin","USD",5,0,4,null,null]]]"#,
        r#"[0,"os",[]]"#,
    ] {
        session.on_message(text.as_bytes(), MonoNs(2), &mut log);
    }
    let marks: Vec<_> = log
        .bodies
        .iter()
        .filter_map(|body| match body {
            Body::Snapshot(mark) => Some((mark.of, mark.count)),
            _ => None,
        })
        .collect();
    assert_eq!(marks.len(), 6);
    assert_eq!(marks[3], (SnapshotOf::Wallets, 2));
    assert_eq!(marks[5], (SnapshotOf::Orders, 0));
    assert_eq!(log.bodies.len(), 9);
    log.bodies.clear();
    let broken = br#"[0,"ws",[["exchange","BTC",1,0,null],["margin"]]]"#;
    session.on_message(broken, MonoNs(2), &mut log);
    assert!(log.bodies.is_empty());
    assert_eq!(session.counters().malformed, 1);
    assert_eq!(session.wants_reconnect(), Some(ReconnectReason::Malformed));
    session.on_message(broken, MonoNs(3), &mut log);
    assert_eq!(session.wants_reconnect(), None, "once a minute at most");
}

#[test]
fn numbers_of_channel_zero_are_checked_without_false_alarms() {
    let (mut session, mut log) = authenticated(PrivateConfig::default().flags);
    let te = r#"[1,"tBTCUSD",1574963975602,3,-0.2,153.57,"MARKET",0,-1,null,null,0]"#;
    let n = r#"[1,"on-req",null,null,null,null,"SUCCESS","x"]"#;
    let mut say = |text: String| session.on_message(text.as_bytes(), MonoNs(2), &mut log);
    say("[0,\"ps\",[],1,0,1786327545418]".into());
    say("[0,\"ws\",[],2,0,1786327545419]".into());
    say(format!("[0,\"n\",{n},3,15214,1786327545420]"));
    say("[0,\"hb\",4,1786327545421]".into());
    say(format!("[0,\"te\",{te},5,15215,1786327545422]"));
    // One number or none on a notification: either counter, or not counted.
    say(format!("[0,\"n\",{n},6,1786327545423]"));
    say(format!("[0,\"n\",{n},15215,1786327545423]"));
    say(format!("[0,\"n\",{n},1786327545423]"));
    say(format!("[0,\"tu\",{te},7,15216,1786327545424]"));
    assert_eq!(session.counters().seq_gaps, 0);
    assert_eq!(session.counters().auth_seq_jumps, 0);
    assert_eq!(session.wants_reconnect(), None);
    assert_eq!(log.times.last(), Some(&WallNs::from_ms(1_786_327_545_424)));
    // A gap asks for a new socket, but the fill it came with is told.
    let told = log.bodies.len();
    let text = format!("[0,\"te\",{te},9,15217,1786327545425]");
    session.on_message(text.as_bytes(), MonoNs(2), &mut log);
    assert_eq!(session.counters().seq_gaps, 1);
    assert_eq!(session.wants_reconnect(), Some(ReconnectReason::SequenceGap));
    assert_eq!(log.bodies.len(), told + 1);
}

#[test]
fn acknowledgements_reach_the_line() {
    let (mut session, mut log) = authenticated(0);
    let text = br#"[0,"n",[1521231457686,"oc-req",null,null,[null,null,555,null,null],null,"ERROR","Order not found."]]"#;
    session.on_message(text, MonoNs(2), &mut log);
    let Some(Body::Ack(ack)) = log.bodies.last() else { panic!("an ack") };
    assert_eq!((ack.of, ack.success, ack.cid), (AckOf::Cancel, false, Cid(555)));
    assert_eq!(ack.refusal, crate::model::Refusal::NotFound);
}

#[test]
fn silence_maintenance_and_stops_ask_for_a_new_socket() {
    let (mut session, mut log) = authenticated(0);
    session.on_time(MonoNs(30_000_000_000));
    assert_eq!(session.wants_reconnect(), None);
    session.on_time(MonoNs(36_000_000_000));
    assert_eq!(session.wants_reconnect(), Some(ReconnectReason::Silence));
    let say = |session: &mut PrivateSession, log: &mut Log, code: u32| {
        let text = format!(r#"{{"event":"info","code":{code},"msg":"x"}}"#);
        session.on_message(text.as_bytes(), MonoNs(2), log);
        session.wants_reconnect()
    };
    assert_eq!(say(&mut session, &mut log, 20_060), None);
    assert_eq!(say(&mut session, &mut log, 20_061), Some(ReconnectReason::Maintenance));
    assert_eq!(say(&mut session, &mut log, 20_051), Some(ReconnectReason::ServerStopping));
    session.on_close(MonoNs(3), &mut log);
    assert_eq!(log.links().last(), Some(&(LinkState::Down, 0)));
    let (mut session, _, _) = opened(PrivateConfig::default());
    session.on_time(MonoNs(11_000_000_000));
    assert_eq!(session.wants_reconnect(), Some(ReconnectReason::AuthTimeout));
}

#[test]
fn unknown_types_are_counted_and_kept() {
    let (mut session, mut log) = authenticated(0);
    for text in [&br#"[0,"zz",[1]]"#[..], br#"[5,[1,2,3]]"#, br#"{"event":"dance"}"#, b"x"] {
        session.on_message(text, MonoNs(2), &mut log);
    }
    assert_eq!((session.counters().unknown, session.counters().malformed), (3, 1));
    assert_eq!(session.recorder().count(), 4);
}
