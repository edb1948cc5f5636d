//! The REST thread and its list of pairs over real sockets, against a venue that changes its mind.

use super::*;
use crate::base::units::Qty;
use crate::io::clock::Clock;
use crate::io::files::TestDir;
use crate::io::http::RestConfig;
use crate::line::registry::KeeperConfig;
use crate::line::rest::{KeyPlan, LimitTable, NoRecords, SchedulerConfig};
use crate::model::Body;
use crate::ring::{Rx, channel};
use crate::runtime::cold::orders::RestOrders;
use crate::runtime::cold::rest::{RestPlan, RestStats, RestThread};
use crate::runtime::listing::{load_saved, refresh};
use crate::runtime::plane::PlaneConfig;
use crate::venue::symbols::SymbolTable;
use parking_lot::Mutex;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const BOTH: &str = r#"[["BTCUSD","ETHUSD"],["BTCUSD","ETHUSD"],[],
[["BTCUSD",[null,null,null,"0.0001","2000.0",null,null,null,0.2,0.1,null,null]],
["ETHUSD",[null,null,null,"0.001","5000.0",null,null,null,0.2,0.1,null,null]]],[],[]]"#;
/// ETH has left the margin list, and orders of BTC must be larger.
const LESS: &str = r#"[["BTCUSD","ETHUSD"],["BTCUSD"],[],
[["BTCUSD",[null,null,null,"0.0002","2000.0",null,null,null,0.2,0.1,null,null]],
["ETHUSD",[null,null,null,"0.001","5000.0",null,null,null,null,null,null,null]]],[],[]]"#;

/// What the venue answers: a status, an ETag, a body.
type Said = Arc<Mutex<(u16, &'static str, &'static str)>>;

fn venue(said: Said) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for tcp in listener.incoming().flatten() {
            let said = said.clone();
            std::thread::spawn(move || {
                let mut conn = BufReader::new(tcp);
                loop {
                    let (mut line, mut known) = (String::new(), String::new());
                    while conn.read_line(&mut line).unwrap_or(0) > 2 {
                        let lower = line.to_ascii_lowercase();
                        if let Some(tag) = lower.strip_prefix("if-none-match: ") {
                            known = tag.trim().to_owned();
                        }
                        line.clear();
                    }
                    if line.is_empty() {
                        return;
                    }
                    let (status, tag, body) = *said.lock();
                    let (status, body) = match status {
                        200 if known == tag => (304, ""),
                        status => (status, body),
                    };
                    let answer = format!(
                        "HTTP/1.1 {status} Said\r\netag: {tag}\r\ncontent-length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    if conn.get_mut().write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

fn next(answers: &mut Rx<Body>) -> VenueFact {
    for _ in 0..2_000 {
        match answers.pop() {
            Some(Body::Venue(fact)) => return fact,
            Some(other) => panic!("{other:?}"),
            None => std::thread::park_timeout(Duration::from_millis(5)),
        }
    }
    panic!("nothing came");
}

#[test]
fn what_the_venue_changes_at_run_time_reaches_the_line_once() {
    let said: Said = Arc::new(Mutex::new((200, "\"a\"", BOTH)));
    let url = venue(said.clone());
    let clock = Clock::start_unchecked();
    let config = PlaneConfig {
        public_url: url.clone(),
        private_url: url,
        keys: [None, None, None],
        http: RestConfig { loopback_only: true, ..RestConfig::default() },
        scheduler: SchedulerConfig::new(LimitTable::default(), KeyPlan::APART, 1),
        lanes: 1,
        keep_warm: None,
    };
    let (plane, threads) =
        RestPlane::start(config, Box::new(NoRecords), clock.clone(), &[]).unwrap();
    let now = || Now { mono: clock.mono(), wall: clock.wall() };
    let often = KeeperConfig { fresh_for: SpanNs::from_ms(50), apart: SpanNs::from_ms(10) };
    let mut keeper = RegistryKeeper::new(often);
    refresh(&mut keeper, &plane, FRESH_FOR, now).unwrap();
    let instruments = keeper.registry().unwrap().select(["tBTCUSD", "tETHUSD"]).instruments;
    let (btc, eth) = (instruments[0].id, instruments[1].id);

    let dir = TestDir::new("listing");
    let saved = dir.path().join("list");
    let (_wants, wants) = channel(16);
    let (answers, mut heard) = channel::<Body>(64);
    let (stop, stats) = (Arc::new(AtomicBool::new(false)), Arc::new(RestStats::default()));
    let thread = RestThread {
        plan: RestPlan {
            plane: plane.clone(),
            account_apart: SpanNs::from_s(1),
            cancel_only_when_down: true,
            listing: Some(Listing::new(
                keeper,
                Some(saved.clone()),
                &instruments,
                WalletKind::Margin,
            )),
        },
        table: SymbolTable::new(&instruments),
        wants,
        orders: RestOrders::new(channel(16).1, None),
        answers,
        warm_up: Vec::new(),
        clock: clock.clone(),
        stop: stop.clone(),
        stats: stats.clone(),
    };
    let running = std::thread::spawn(move || thread.run());
    let wait_for = |what: &str, is_so: &dyn Fn(&ListingFacts) -> bool| {
        for _ in 0..2_000 {
            if is_so(&stats.listing.lock()) {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
        panic!("{what}: {:?}", stats.listing.lock());
    };
    wait_for("not modified", &|facts| facts.not_modified >= 1);
    assert!(heard.pop().is_none(), "nothing has changed");

    *said.lock() = (200, "\"b\"", LESS);
    let sizes = |text| Qty::parse(text).unwrap();
    let (qty_min, qty_max) = (sizes("0.0002"), sizes("2000"));
    let told = [next(&mut heard), next(&mut heard)];
    assert!(told.contains(&VenueFact::Delisted(eth)), "{told:?}");
    assert!(told.contains(&VenueFact::Sizes { symbol: btc, qty_min, qty_max }), "{told:?}");
    wait_for("delisted", &|facts| facts.delisted == ["tETHUSD"]);

    // A venue that is down, and one that talks nonsense, change nothing.
    *said.lock() = (503, "", "");
    wait_for("failures", &|facts| facts.failures >= 1 && facts.delisted == ["tETHUSD"]);
    *said.lock() = (200, "\"c\"", BOTH);
    let (qty_min, qty_max) = (sizes("0.0001"), sizes("2000"));
    let told = [next(&mut heard), next(&mut heard)];
    assert!(told.contains(&VenueFact::Listed(eth)), "{told:?}");
    assert!(told.contains(&VenueFact::Sizes { symbol: btc, qty_min, qty_max }), "{told:?}");
    stop.store(true, Ordering::Release);
    running.join().unwrap();
    threads.stop(Duration::from_secs(1));
    assert!(heard.pop().is_none(), "once");
    // What is on disk is what a start without the venue would use.
    let mut again = RegistryKeeper::new(often);
    load_saved(&mut again, &saved, clock.wall());
    assert_eq!(again.registry().unwrap().pairs().len(), 2);
}
