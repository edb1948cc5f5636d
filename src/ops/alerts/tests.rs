//! Each alert with its fault, on made-up statuses; and delivery to a server that answers badly.

use super::*;
use crate::ops::hub::Hub;
use crate::ops::status::{GuardStatus, Incident, LinkStatus, Status, SymbolStatus};
use std::io::{Read, Write};
use std::net::TcpListener;

/// A run that is well, `s` seconds after its start.
fn well(s: i64) -> Status {
    let mut status =
        Status { at: format!("t{s}"), at_ms: 1_000_000_000_000 + s * 1_000, ..Status::default() };
    status.state.rank = "running".to_owned();
    status.state.ready = true;
    status.symbols = vec![SymbolStatus {
        name: "tBTCUSD".to_owned(),
        book: "synced".to_owned(),
        synced: true,
        matches_venue: true,
        ..SymbolStatus::default()
    }];
    status.links =
        vec![LinkStatus { name: "account".to_owned(), is_up: true, ..Default::default() }];
    status.guards = vec![GuardStatus { name: "order_rate".to_owned(), ..Default::default() }];
    status.host.disk_free_mib = Some(10_000);
    status
}

/// Looks at a well run for 20 s, then at what `fault` makes of it, once a second; the alerts raised
/// by then, with the seconds it took.
fn raised(config: AlertConfig, fault: impl Fn(&mut Status, i64)) -> Vec<(AlertKind, i64)> {
    let mut rules = Rules::new(config);
    for s in 0..20 {
        assert_eq!(rules.look(&well(s)), [], "a false alarm at {s}");
    }
    let mut all = Vec::new();
    for s in 20..40 {
        let mut status = well(s);
        fault(&mut status, s - 20);
        let told = rules.look(&status);
        all.extend(told.into_iter().filter(|one| one.is_raised).map(|one| (one.kind, s - 20)));
    }
    all
}

fn check(kind: AlertKind, after_s_max: i64, fault: impl Fn(&mut Status, i64)) {
    let got = raised(AlertConfig::default(), fault);
    let hits: Vec<&(AlertKind, i64)> = got.iter().filter(|(one, _)| *one == kind).collect();
    assert_eq!(hits.len(), 1, "{kind:?} once: {got:?}");
    assert!(hits[0].1 <= after_s_max, "{kind:?} after {} s", hits[0].1);
}

/// One slow order among few is no trend.
#[test]
fn a_single_slow_order_is_no_alert() {
    for count in [1, 19, 99] {
        let got = raised(AlertConfig::default(), |status, _| {
            let window = &mut status.order_roundtrip_ms.ack.window;
            (window.count, window.p95, window.p99) = (count, Some(1.5), Some(900.0));
        });
        assert_eq!(got, [], "{count} orders");
    }
}

#[test]
fn each_fault_raises_its_alert_in_time_and_once() {
    check(AlertKind::Killed, 0, |status, _| status.state.rank_level = 4);
    check(AlertKind::Halted, 0, |status, _| status.state.is_halted = true);
    check(AlertKind::GuardTrip, 0, |status, _| status.state.rank_level = 2);
    check(AlertKind::GuardTrip, 0, |status, _| status.guards[0].blocked = 3);
    check(AlertKind::ReconnectLoop, 5, |status, s| status.counts.reconnects = s as u64);
    check(AlertKind::SlowOrders, 0, |status, _| {
        status.order_roundtrip_ms.ack.window.p99 = Some(900.0);
        status.order_roundtrip_ms.ack.window.count = 100;
    });
    check(AlertKind::SlowOrders, 0, |status, _| {
        status.order_roundtrip_ms.ack.window.p95 = Some(900.0);
        status.order_roundtrip_ms.ack.window.count = 50;
    });
    check(AlertKind::BookNotTradable, 3, |status, _| status.symbols[0].book = "stale".to_owned());
    check(AlertKind::LinkDown, 3, |status, _| status.links[0].is_up = false);
    check(AlertKind::UnknownOrder, 0, |status, _| status.counts.orders_unknown = 1);
    check(AlertKind::PositionMismatch, 0, |status, _| status.symbols[0].matches_venue = false);
    check(AlertKind::FlattenStuck, 0, |status, _| status.symbols[0].flatten_stuck = true);
    check(AlertKind::NakedPosition, 0, |status, _| status.symbols[0].is_naked = true);
    check(AlertKind::RateLimited, 0, |status, _| status.rest.rate_limit_hits = 1);
    check(AlertKind::BreakerOpen, 0, |status, _| status.rest.circuit_open = true);
    check(AlertKind::NonceRecovery, 0, |status, _| status.rest.nonce_recoveries = 1);
    check(AlertKind::ClockStep, 0, |status, _| status.host.clock_step_ms = -400.0);
    check(AlertKind::RingDrops, 0, |status, _| status.counts.log_missed = 7);
    check(AlertKind::JournalFailed, 0, |status, _| status.counts.journal_failures = 1);
    check(AlertKind::DiskLow, 0, |status, _| status.host.disk_free_mib = Some(100));
    check(AlertKind::MemorySlope, 0, |status, _| status.host.rss_mib_per_h = Some(99.0));
    check(AlertKind::AlertChannelDown, 0, |status, _| status.alerts.failed = 1);
    check(AlertKind::Watchdog, 0, |status, _| {
        status.incidents = vec![Incident { at: "x".to_owned(), ..Incident::default() }];
    });
}

#[test]
fn no_trades_says_what_stood_in_the_way() {
    let config = AlertConfig { no_trades_after: Duration::from_secs(25), ..Default::default() };
    let mut rules = Rules::new(config);
    let mut told = Vec::new();
    for s in 0..40 {
        let mut status = well(s);
        status.counts.intents = 9;
        status.guards[0].blocked = 4;
        if s == 0 {
            status.guards[0].blocked = 0;
        }
        told.extend(rules.look(&status));
    }
    let told: Vec<&Finding> = told.iter().filter(|one| one.kind == AlertKind::NoTrades).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].text.contains("most refused by order_rate, 4 times"), "{}", told[0].text);
    assert!(raised(AlertConfig::default(), |_, _| {}).is_empty(), "off by default");
}

#[test]
fn a_day_of_a_well_run_raises_nothing_but_its_summary() {
    let mut rules = Rules::new(AlertConfig::default());
    let mut told = Vec::new();
    for s in 0..86_400 {
        told.extend(rules.look(&well(s)));
    }
    let kinds: Vec<AlertKind> = told.iter().map(|one| one.kind).collect();
    assert_eq!(kinds, [AlertKind::DailySummary]);
    assert!(rules.active().is_empty());
}

#[test]
fn an_alert_that_flaps_is_told_once_and_clears() {
    let config = AlertConfig { hold_off: Duration::from_secs(60), ..AlertConfig::default() };
    let mut rules = Rules::new(config);
    let mut told = Vec::new();
    for s in 0..120 {
        let mut status = well(s);
        // On for three seconds, off for three, for one and a half minutes.
        if s > 12 && s < 100 && s % 6 < 3 {
            status.rest.circuit_open = true;
        }
        told.extend(rules.look(&status).into_iter().map(|one| (s, one.is_raised)));
    }
    let raised = told.iter().filter(|(_, is_raised)| *is_raised).count();
    assert_eq!(raised, 2, "at first, and once again after the hold-off: {told:?}");
    assert!(rules.active().is_empty());
    // One that comes back within the hold-off and stays is told when the hold-off has passed.
    let mut told = Vec::new();
    for s in 200..300 {
        let mut status = well(s);
        status.rest.circuit_open = s == 200 || s > 205;
        told.extend(rules.look(&status).into_iter().map(|one| (s, one.is_raised)));
    }
    assert_eq!(told, [(200, true), (201, false), (266, true)]);
    assert_eq!(rules.active().len(), 1);
    assert_eq!(rules.active()[0].runbook, "RUNBOOK.md#breaker_open");
}

#[test]
fn what_is_switched_off_is_not_told() {
    let config = AlertConfig { off: vec![AlertKind::Killed], ..AlertConfig::default() };
    assert!(
        !raised(config, |status, _| status.state.rank_level = 4)
            .iter()
            .any(|(kind, _)| *kind == AlertKind::Killed)
    );
}

/// RUNBOOK.md has a section for each alert: what it means, what was done, what to do.
#[test]
fn the_runbook_has_a_place_for_each_alert() {
    let runbook = include_str!("../../../RUNBOOK.md");
    for kind in ALERTS {
        let heading = format!("\n### {}\n", kind.name());
        let section = runbook.split_once(&heading).map(|(_, rest)| rest);
        let section = section.unwrap_or_else(|| panic!("no `{}`", heading.trim()));
        let section = section.split("\n### ").next().unwrap();
        for word in ["Means", "Done already", "Check", "Do"] {
            assert!(section.contains(word), "{} lacks {word}", kind.name());
        }
    }
}

/// A server that answers each connection with the next code, and hands back the bodies.
fn receiver(codes: Vec<u16>) -> (String, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let join = std::thread::spawn(move || {
        let mut bodies = Vec::new();
        for code in codes {
            let (mut stream, _) = listener.accept().unwrap();
            let mut text = Vec::new();
            let mut buffer = [0; 4096];
            loop {
                let count = stream.read(&mut buffer).unwrap();
                text.extend_from_slice(&buffer[..count]);
                let all = String::from_utf8_lossy(&text).into_owned();
                if count == 0 || (all.contains("\r\n\r\n") && all.trim_end().ends_with('}')) {
                    break;
                }
            }
            let reply =
                format!("HTTP/1.1 {code} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(reply.as_bytes()).unwrap();
            let text = String::from_utf8(text).unwrap();
            bodies.push(text.split_once("\r\n\r\n").unwrap().1.to_owned());
        }
        bodies
    });
    (url, join)
}

#[test]
fn notices_are_tried_again_and_what_fails_is_said_without_the_address() {
    let (webhook, first) = receiver(vec![500, 200]);
    let (telegram, second) = receiver(vec![200]);
    let channels =
        Channels { webhook: Some(webhook.clone()), telegram: Some((telegram, "42".to_owned())) };
    assert_eq!(test_notice(&channels, 0), Ok(()));
    let bodies = first.join().unwrap();
    assert_eq!(bodies.len(), 2);
    assert!(bodies[1].contains(r#""alert":"daily_summary""#), "{}", bodies[1]);
    assert!(bodies[1].contains(r#""runbook":"RUNBOOK.md#daily_summary""#));
    let bodies = second.join().unwrap();
    assert!(bodies[0].contains(r#""chat_id":"42""#) && bodies[0].contains("genesis"), "{bodies:?}");
    // Nobody listens there any more.
    let gone = Channels { webhook: Some(webhook.clone()), telegram: None };
    let failures = test_notice(&gone, 0).unwrap_err();
    assert_eq!(failures.len(), 1);
    assert!(!failures[0].contains(&webhook), "{failures:?}");
}

/// A webhook that hangs costs nothing but its own notices: the alerts stand at once, the queue is
/// bounded, and what does not fit is counted.
#[test]
fn a_dead_webhook_holds_up_nothing() {
    let (hub, _asked) = Hub::new();
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let channels = Channels { webhook: Some(url), telegram: None };
    let notifier =
        Notifier::start(AlertConfig::default(), channels, hub.clone(), "run".to_owned(), || {});
    let notifier = notifier.unwrap();
    let mut status = well(0);
    hub.publish(status.clone());
    std::thread::sleep(Duration::from_millis(400));
    status.at_ms += 1_000;
    status.state.rank_level = 4;
    hub.publish(status.clone());
    let mut told = Vec::new();
    for _ in 0..100 {
        std::thread::sleep(Duration::from_millis(50));
        hub.publish(status.clone());
        told = hub.status().alerts.active.clone();
        if hub.status().alerts.failed > 0 {
            break;
        }
    }
    assert!(told.iter().any(|row| row.name == "killed"), "{told:?}");
    assert!(hub.status().alerts.failed > 0, "the failure itself is a number");
    drop(notifier);
}
