//! What survives a restart, and what a journal gives again.

use super::script_tests::*;
use super::session_tests::{call, text};
use super::tests::{crowded, message};
use super::*;
use crate::base::rng::Rng;

const READS: [&str; 9] = [
    "auth/r/orders",
    "auth/r/orders/hist",
    "auth/r/trades/hist",
    "auth/r/wallets",
    "auth/r/positions",
    "auth/r/positions/hist",
    "auth/r/ledgers/hist",
    "auth/r/summary",
    "auth/r/info/margin/base",
];

/// Everything an account can read of itself.
fn reads(script: &mut Script, first_nonce: u64) -> Vec<String> {
    let now = script.now;
    let nonces = first_nonce..;
    let one = |(path, nonce): (&&str, u64)| {
        let key = ("a", "secret-a");
        text(&call(&mut script.exchange, key, path, "{}", (nonce, now)))
    };
    READS.iter().zip(nonces).map(one).collect()
}

/// Goal: after a restart an account finds what it had, and its orders live on. Method: orders of
/// every kind that rests, a position, histories; saved, restored, read, and let go on.
#[test]
fn an_account_survives_a_restart() {
    let setup = || {
        let mut setup = config();
        setup.limits.rest_per_minute = false;
        setup
    };
    let mut script = Script::new(setup());
    script.play(
        "market bid 99 1\nmarket ask 101 50\nmarket buy 1\na on MARKET 3\na on MARKET -1\n\
         a on LIMIT -2 @120 flags=1024\na on EXCHANGE LIMIT 1 @98 cid=7 flags=64\n\
         a on EXCHANGE LIMIT -1 @102 flags=16384 price_oco_stop=\"95\"\n\
         a on EXCHANGE TRAILING STOP -1 price_trailing=\"3\"\n\
         a on EXCHANGE LIMIT 1 @97 tif=\"2025-01-01T00:01:00\"\na on EXCHANGE LIMIT 1 @96\na oc #9\n\
         b on EXCHANGE LIMIT 1 @98",
    );
    assert!(script.exchange.state_dirty());
    let before = reads(&mut script, 1_000);
    let bytes = script.exchange.snapshot_state();
    assert!(!script.exchange.state_dirty());

    let mut again = Script::new(setup());
    again.exchange.restore_state(&bytes).unwrap();
    again.ids.clone_from(&script.ids);
    assert_eq!(again.exchange.totals(), script.exchange.totals());
    let late = call(&mut again.exchange, ("a", "secret-a"), READS[0], "{}", (1_000, again.now));
    assert_eq!(text(&late), r#"["error",10114,"nonce: small"]"#);
    // The last price is the market's to know again.
    for who in [&mut script, &mut again] {
        who.play("market bid 99 50\nmarket ask 101 50\nmarket buy 1");
    }
    let (mine, theirs) = (reads(&mut script, 2_000), reads(&mut again, 2_000));
    assert_eq!(mine, theirs);
    assert_eq!(mine[1..4], before[1..4], "the trailing stop alone has moved");
    assert_eq!(before[0].matches("ACTIVE").count(), 6, "{}", before[0]);
    let said = again.play("a on EXCHANGE LIMIT 1 @90 cid=7");
    assert!(said.contains("cid: dup"), "{said}");
    // A stop, a pair, an order with an end and the two at one price, the older one first.
    let story = "wait 60000\nmarket bid 94 50\nmarket sell 52\nmarket sell 1\na state\nb state";
    let plain = |said: String| -> Vec<String> {
        let words = |line: &str| line.split_once(' ').map_or("", |(_, rest)| rest).to_owned();
        said.lines()
            .map(words)
            .filter(|line| line.contains(" wu ") || line.contains("ED"))
            .collect()
    };
    assert_eq!(plain(script.play(story)), plain(again.play(story)));
    assert!(again.exchange.core.expiries.is_empty());
}

#[test]
fn a_state_of_another_set_up_or_cut_short_is_refused() {
    let mut script = Script::new(config());
    script.play("market ask 101 50\na on MARKET 3\na on EXCHANGE LIMIT 1 @98");
    let bytes = script.exchange.snapshot_state();
    for size in 0..bytes.len() {
        let mut fresh = Exchange::new(config(), Box::new(Still(Vec::new()))).unwrap();
        assert!(fresh.restore_state(&bytes[..size]).is_err(), "cut at {size}");
        assert_eq!(fresh.core.orders.len(), 0);
    }
    let mut rng = Rng::new(4);
    for _ in 0..2_000 {
        let mut damaged = bytes.clone();
        let at = rng.below(bytes.len() as u64) as usize;
        damaged[at] ^= 1 << rng.below(8);
        let mut fresh = Exchange::new(config(), Box::new(Still(Vec::new()))).unwrap();
        // Refused, or something that can be lived with: nothing panics.
        if fresh.restore_state(&damaged).is_ok() {
            let now = fresh.core.now;
            for (path, nonce) in READS.iter().zip(1 << 40..) {
                call(&mut fresh, ("a", "secret-a"), path, "{}", (nonce, now));
            }
        }
    }
    type Change = fn(&mut ExchangeConfig);
    let others: [(Change, &str); 3] = [
        (|config| config.accounts.truncate(1), "another number of accounts"),
        (|config| config.accounts[1].api_key.push('x'), "other API keys"),
        (|config| config.symbols.truncate(2), "other symbols"),
    ];
    for (change, why) in others {
        let mut other = config();
        change(&mut other);
        let mut fresh = Exchange::new(other, Box::new(Still(Vec::new()))).unwrap();
        assert_eq!(fresh.restore_state(&bytes), Err(ExchangeError::State(why)));
    }
}

/// Goal: saving costs the same after a day of trading as after a minute. Method: the histories
/// full.
#[test]
fn what_is_saved_with_every_change_stays_small() {
    let mut script = Script::new(config());
    script.play("market ask 101 50000");
    for cid in 1..=12_000u64 {
        let body = format!(
            r#"[0,"on",null,{{"cid":{cid},"type":"EXCHANGE MARKET","symbol":"tBTCUSD","amount":"{}"}}]"#,
            if cid % 2 == 0 { "0.001" } else { "-0.001" }
        );
        if cid % 2 == 1 {
            script.play("market bid 100 0.001");
        }
        script.exchange.on_text(1, body.as_bytes(), script.now);
        drain(&mut script.exchange);
    }
    let account = script.exchange.core.bank.account(1);
    assert_eq!((account.trades.len(), account.closed.len()), (10_000, 10_000));
    let size = script.exchange.snapshot_state().len();
    assert!(size < 150_000, "{size} bytes");
}

/// Goal: a journal played again gives the same state and the same words. Method: random messages,
/// most meaningful, many absurd, on a market that trades.
#[test]
fn a_journal_played_again_gives_the_same_state() {
    let mut rng = Rng::new(77);
    let mut exchange = crowded(5);
    exchange.keep_journal();
    let mut now = START;
    let (mut said, mut ids) = (Vec::new(), Vec::new());
    for (conn, name) in [(1, "a"), (2, "b")] {
        exchange.connect(conn, now);
        let login = login_text(name, &["s", name].concat(), 1, r#","dms":4"#);
        exchange.on_text(conn, login.as_bytes(), now);
    }
    let book = br#"{"event":"subscribe","channel":"book","symbol":"tBTCUSD","len":"25"}"#;
    exchange.on_text(2, book, now);
    for turn in 0..3_000u32 {
        now.0 += rng.between(0, 200_000_000);
        exchange.advance(now, 1 + rng.below(100) as u32);
        exchange.on_text(1 + rng.below(2), message(&mut rng, &ids).as_bytes(), now);
        match turn {
            500 => drop(call(&mut exchange, ("a", "sa"), "auth/r/orders", "{}", (9, now))),
            900 => exchange.announce(20_060, now),
            950 => exchange.announce(20_061, now),
            1_200 => exchange.set_cancel_only(true),
            1_250 => exchange.set_cancel_only(false),
            2_500 => exchange.disconnect(1, now),
            _ => {}
        }
        for (conn, told) in drain(&mut exchange) {
            if let Some(rest) = told.strip_prefix("[0,\"on\",[") {
                ids.push(rest.split(',').next().unwrap().parse().unwrap());
            }
            said.push((conn, told));
        }
    }
    let journal = exchange.take_journal();
    assert!(exchange.take_journal().is_empty());
    let mut again = crowded(5);
    let replayed = again.replay_journal(&journal);
    assert_eq!((replayed.size, replayed.is_cut), (journal.len(), false));
    assert!(replayed.entries > 5_000, "{replayed:?}");
    assert_eq!(drain(&mut again), said);
    assert_eq!(again.snapshot_state(), exchange.snapshot_state());
    assert_eq!(again.stats(), exchange.stats());
    assert!(exchange.stats().fills > 300, "{:?}", exchange.stats());
    // Cut anywhere, it is played up to the last whole entry.
    let cut = crowded(5).replay_journal(&journal[..journal.len() - 1]);
    assert_eq!((cut.entries, cut.is_cut), (replayed.entries - 1, true));
    let mut damaged = journal.clone();
    damaged[journal.len() / 2] ^= 1;
    assert!(crowded(5).replay_journal(&damaged).entries < replayed.entries);
}
