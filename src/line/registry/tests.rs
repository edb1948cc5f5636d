//! The registry on the venue's recorded bodies, and on what could come instead.

use super::*;
use crate::base::time::{MonoNs, SpanNs, WallNs};
use crate::line::Now;
use crate::line::rest::flight::Ask;

fn now(seconds: u64) -> Now {
    let mono = MonoNs(seconds * 1_000_000_000);
    Now { mono, wall: WallNs::from_ms(1_754_820_860_000) + SpanNs::from_s(seconds as i64) }
}
/// The answer to the keeper's question: lists, sizes, symbols.
fn body(pairs: &[&str], futures: &[&str], minimum: &str) -> String {
    let list = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
        format!("[{}]", names.join(","))
    };
    let info = |names: &[&str]| {
        let rows: Vec<String> = names
            .iter()
            .map(|name| {
                let facts =
                    format!("[null,null,null,\"{minimum}\",\"2000.0\",null,null,null,0.3,0.15]");
                format!("[{name:?},{facts}]")
            })
            .collect();
        format!("[{}]", rows.join(","))
    };
    format!(
        "[{},{},{},{},{},{}]",
        list(pairs),
        list(&pairs[..1]),
        list(futures),
        info(pairs),
        info(futures),
        r#"[["UST","USDt"],["DSH","DASH"],["LUNA","LUNC"],["LUNA2","LUNA"]]"#
    )
}
const PAIRS: [&str; 9] = [
    "BTCUSD",
    "BTCUST",
    "ETHUSD",
    "DSHUSD",
    "DUSK:USD",
    "LUNA:USD",
    "LUNA2:USD",
    "TESTBTC:TESTUSD",
    "TESTETH:TESTUSD",
];
const FUTURES: [&str; 2] = ["BTCF0:USTF0", "TESTBTCF0:TESTUSDTF0"];

fn keeper() -> RegistryKeeper {
    let mut keeper = RegistryKeeper::new(KeeperConfig::default());
    assert_eq!(keeper.ask(now(0)), Ask::Fetch);
    keeper.on_reply(200, "\"e1\"", body(&PAIRS, &FUTURES, "0.0002").as_bytes(), now(1)).unwrap();
    keeper
}
fn small() -> Registry {
    keeper().registry().unwrap().clone()
}

#[test]
fn every_spelling_leads_to_its_pair() {
    let registry = small();
    for (asked, name) in [
        ("tBTCUSD", "tBTCUSD"),
        ("BTCUSD", "tBTCUSD"),
        ("btcusd", "tBTCUSD"),
        ("tbtcusd", "tBTCUSD"),
        ("BTC/USD", "tBTCUSD"),
        ("btc-usd", "tBTCUSD"),
        ("BTC_USD", "tBTCUSD"),
        ("BTC:USD", "tBTCUSD"),
        (" BTC/USDT ", "tBTCUST"),
        ("BTC/UST", "tBTCUST"),
        ("DASH/USD", "tDSHUSD"),
        ("DUSKUSD", "tDUSK:USD"),
        ("dusk:usd", "tDUSK:USD"),
        ("BTC-PERP/USDT", "tBTCF0:USTF0"),
        ("BTCF0:USTF0", "tBTCF0:USTF0"),
        ("TESTBTC/TESTUSD", "tTESTBTC:TESTUSD"),
        ("testbtc:testusd", "tTESTBTC:TESTUSD"),
        ("TESTBTC-PERP/TESTUSDT", "tTESTBTCF0:TESTUSDTF0"),
        ("tLUNA:USD", "tLUNA:USD"),
        ("LUNC/USD", "tLUNA:USD"),
    ] {
        match registry.resolve(asked) {
            Ok(pair) => assert_eq!(pair.name.as_str(), name, "{asked}"),
            // Without a separator a long name cannot be taken apart; it is suggested instead.
            Err(NameError::Unknown { near, .. }) => {
                assert_eq!((asked, near[0].as_str()), ("DUSKUSD", name));
            }
            Err(error) => panic!("{asked}: {error}"),
        }
    }
}

#[test]
fn a_name_that_means_two_pairs_is_refused() {
    let registry = small();
    let error = registry.resolve("LUNA/USD").unwrap_err();
    let words = error.to_string();
    assert!(words.contains("tLUNA:USD") && words.contains("tLUNA2:USD"), "{words}");
}

#[test]
fn an_unknown_name_gets_near_ones_and_test_pairs_are_never_offered_for_real_ones() {
    let registry = small();
    for (asked, near) in [
        ("tBTCUDS", &["tBTCUSD"][..]),
        ("BTX/USD", &["tBTCUSD"]),
        ("TESTBTC:TESTUDS", &["tTESTBTC:TESTUSD"]),
        ("TESTBTCUSD", &["tTESTBTC:TESTUSD"]),
        ("NOSUCHTHING", &[]),
        ("", &[]),
    ] {
        let Err(NameError::Unknown { near: found, .. }) = registry.resolve(asked) else {
            panic!("{asked} is not listed")
        };
        let is_test = asked.starts_with("TEST");
        assert!(found.iter().all(|name| name.as_str().contains("TEST") == is_test), "{found:?}");
        let first: Vec<&str> = found.iter().map(|name| name.as_str()).take(near.len()).collect();
        assert_eq!(first, near, "{asked}: {found:?}");
    }
}

#[test]
fn a_selection_skips_what_is_not_there_and_says_so() {
    let selection = small().select(["BTC/USD", "tBTCUSD", "tETHUDS", "tETHUSD"]);
    let names: Vec<&str> = selection.instruments.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["tBTCUSD", "tETHUSD"]);
    assert_eq!(selection.instruments[1].id, SymbolId(1));
    assert_eq!(selection.instruments[0].qty_min, Qty::parse("0.0002").unwrap());
    assert_eq!(selection.problems.len(), 1);
    assert!(selection.problems[0].to_string().contains("near: tETHUSD"));
}

#[test]
fn a_delisting_and_a_new_minimum_are_told() {
    let mut keeper = keeper();
    assert_eq!(keeper.if_none_match(), Some("\"e1\""));
    assert!(matches!(keeper.ask(now(60)), Ask::Fresh { .. }));
    assert_eq!(keeper.ask(now(3_700)), Ask::Fetch);
    let newer = body(&[&PAIRS[..4], &["XRPUSD"]].concat(), &FUTURES, "0.0003");
    let update = keeper.on_reply(200, "\"e2\"", newer.as_bytes(), now(3_701)).unwrap();
    let Update::New { changes } = update else { panic!("it is new") };
    let name = |text| SymbolName::new(text).unwrap();
    assert!(changes.contains(&ListingChange::Delisted(name("tDUSK:USD"))));
    assert!(changes.contains(&ListingChange::Listed(name("tXRPUSD"))));
    let (qty_min, qty_max) = (Qty::parse("0.0003").unwrap(), Qty::parse("2000").unwrap());
    let sizes = ListingChange::Sizes { name: name("tBTCUSD"), qty_min, qty_max };
    assert!(changes.contains(&sizes));
    let told: Vec<String> = changes.iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|words| words.contains("no new positions")), "{told:?}");
    assert!(keeper.registry().unwrap().find("tDUSK:USD").is_none());
}

#[test]
fn not_modified_keeps_everything_and_renews_the_age() {
    let mut keeper = keeper();
    keeper.ask(now(3_700));
    assert_eq!(keeper.on_reply(304, "", b"", now(3_701)), Ok(Update::Same));
    assert_eq!(keeper.age(now(3_711).wall), Some(SpanNs::from_s(10)));
    assert_eq!(keeper.not_modified_and_failed(), (1, 0));
    assert_eq!(keeper.registry().unwrap().pairs().len(), 11);
    // Without anything loaded a 304 is nonsense.
    let mut fresh = RegistryKeeper::new(KeeperConfig::default());
    fresh.ask(now(0));
    let refused = fresh.on_reply(304, "", b"", now(1));
    assert_eq!(refused, Err(RegistryError::Refused { status: 304 }));
}

#[test]
fn what_cannot_be_leaves_the_old_registry_in_place() {
    let good = body(&PAIRS, &FUTURES, "0.0002");
    for (status, bytes, expected) in [
        (503, &b"[]"[..], RegistryError::Refused { status: 503 }),
        (200, br#"["error",20060,"maintenance"]"#, RegistryError::Refused { status: 200 }),
        (200, b"", RegistryError::Unreadable),
        (200, b"<html>", RegistryError::Unreadable),
        (200, &good.as_bytes()[..good.len() - 1], RegistryError::Unreadable),
        (200, b"[[],[],[],[],[],[]]", RegistryError::Empty),
        (200, br#"[["BTCUSD"],[],[],[],[],[]]"#, RegistryError::Shrunk { from: 11, to: 1 }),
        (200, br#"[["BTCUSD"]]"#, RegistryError::Unreadable),
    ] {
        let mut keeper = keeper();
        keeper.ask(now(3_700));
        assert_eq!(keeper.on_reply(status, "x", bytes, now(3_701)), Err(expected), "{bytes:?}");
        assert_eq!(*keeper.registry().unwrap(), small());
        assert_eq!(keeper.if_none_match(), Some("\"e1\""));
        assert_eq!(keeper.ask(now(3_702)), Ask::Later(now(3_710).mono));
        assert_eq!(keeper.ask(now(3_710)), Ask::Fetch);
    }
}

#[test]
fn many_who_ask_make_one_fetch() {
    let mut keeper = RegistryKeeper::new(KeeperConfig::default());
    assert_eq!(keeper.ask(now(0)), Ask::Fetch);
    (0..20).for_each(|_| assert_eq!(keeper.ask(now(0)), Ask::Join));
    keeper.on_failure();
    assert!(keeper.registry().is_none());
    assert_eq!(keeper.counts().fetched, 1);
}

#[test]
fn the_saved_copy_brings_everything_back_with_its_age() {
    let bytes = keeper().to_saved().unwrap();
    let mut other = RegistryKeeper::new(KeeperConfig::default());
    assert_eq!(other.load_saved(&bytes, now(101).wall), Ok(SpanNs::from_s(100)));
    assert_eq!(*other.registry().unwrap(), small());
    assert_eq!((other.source(), other.if_none_match()), (Source::Saved, Some("\"e1\"")));
    // It is used, but the venue is asked all the same.
    assert_eq!(other.ask(now(101)), Ask::Fetch);
    other.on_reply(304, "", b"", now(102)).unwrap();
    assert_eq!(other.source(), Source::Venue);
}

#[test]
fn a_damaged_copy_is_found_wherever_the_damage_is() {
    let good = keeper().to_saved().unwrap();
    let mut keeper = RegistryKeeper::new(KeeperConfig::default());
    let mut load = |bytes: &[u8]| keeper.load_saved(bytes, now(0).wall);
    assert_eq!(load(b""), Err(SavedError::NotOurs));
    assert_eq!(load(b"{\"pairs\":[]}"), Err(SavedError::NotOurs));
    assert_eq!(load(b"genesis-registry 9 00000000 0 \n{}"), Err(SavedError::Version));
    for cut in [good.len() - 1, good.len() / 2, 40] {
        assert_eq!(load(&good[..cut]), Err(SavedError::Damaged), "cut at {cut}");
    }
    for at in (0..good.len()).step_by(11) {
        let mut bad = good.clone();
        bad[at] ^= 0x04;
        assert!(load(&bad).is_err(), "byte {at}");
    }
    let error = load(&good[..40]).unwrap_err().to_string();
    assert!(error.contains("damaged") && error.contains("anew"), "{error}");
    assert!(load(&good).is_ok());
}

#[cfg_attr(not(shared_data), ignore = "needs ../shared/data")]
#[test]
fn every_recorded_pair_and_map_is_read() {
    use crate::venue::shared_data;
    let mut builder = RegistryBuilder::default();
    for (file, path, key) in [
        ("rest-responses-bitfinex-20250810.ndjson.gz", "pub:info:pair", ConfKey::Info),
        (
            "rest-conf-bitfinex-futures-and-maps.ndjson.gz",
            "pub:info:pair:futures",
            ConfKey::InfoFutures,
        ),
        ("rest-conf-bitfinex-futures-and-maps.ndjson.gz", "currency:label", ConfKey::Labels),
        ("rest-conf-bitfinex-futures-and-maps.ndjson.gz", "currency:pool", ConfKey::Pools),
    ] {
        let recorded = shared_data::text(file);
        let value = shared_data::lines(&recorded)
            .map(|line| serde_json::from_slice::<serde_json::Value>(line).unwrap())
            .find(|value| value["path"].as_str().unwrap().ends_with(path))
            .unwrap();
        builder.add(&[key], value["body"].to_string().as_bytes()).unwrap();
    }
    assert_eq!(builder.skipped(), 0);
    let registry = builder.build().unwrap();
    let count = |is: fn(&Pair) -> bool| registry.pairs().iter().filter(|pair| is(pair)).count();
    assert_eq!(count(|pair| pair.listed.exchange), 294);
    assert_eq!(count(|pair| pair.listed.futures), 89);
    assert_eq!(count(|pair| pair.is_test && pair.listed.exchange), 16);
    assert_eq!(count(|pair| pair.is_test && pair.listed.futures), 16);
    assert!(registry.pairs().iter().all(|pair| pair.qty_min > Qty::ZERO));
    assert!(registry.pairs().iter().all(|pair| pair.qty_max > pair.qty_min));
    let find = |name: &str| *registry.find(name).unwrap();
    let btc = find("tBTCUSD");
    assert_eq!((btc.qty_min, btc.margin_initial.is_some()), (Qty::parse("0.00004").unwrap(), true));
    assert_eq!(find("tAAVE:USD").base.as_str(), "AAVE");
    assert_eq!(find("tAAVE:USD").margin_initial, None);
    assert_eq!(find("tTESTBTCF0:TESTUSDTF0").canonical.as_str(), "TESTBTC-PERP/TESTUSDT");
    assert_eq!(registry.currency("BTC").unwrap().label.as_deref(), Some("Bitcoin"));
    // Every pair is found by each of its names, and no two share one.
    for pair in registry.pairs() {
        for name in [pair.name.as_str(), &pair.name.as_str()[1..], pair.canonical.as_str()] {
            assert_eq!(registry.resolve(name).unwrap().name, pair.name, "{name}");
        }
    }
    // And through the copy nothing is lost.
    let bytes = saved::to_bytes(&registry, WallNs::from_ms(1), "");
    assert_eq!(saved::from_bytes(&bytes).unwrap().registry, registry);
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Rubbish is never more than an error, and never a short list.
        #[test]
        fn rubbish_is_an_error(cut in 0usize..800, at in 0usize..800, flip in 1u8..=255) {
            let good = body(&PAIRS, &FUTURES, "0.0002").into_bytes();
            let mut bytes = good[..cut.min(good.len())].to_vec();
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= flip;
            }
            let mut keeper = keeper();
            keeper.ask(now(3_700));
            let result = keeper.on_reply(200, "", &bytes, now(3_701));
            prop_assert!(result.is_err() || bytes.len() == good.len());
            prop_assert!(keeper.registry().unwrap().pairs().len() > 5);
        }
        #[test]
        fn any_name_may_be_asked_for(asked in "\\PC{0,40}") {
            let _ = small().resolve(&asked);
        }
    }
}
