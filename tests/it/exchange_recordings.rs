//! Recordings through the exchange to our client: nothing lost, nothing added, checksums as an
//! independent routine computed them.

use super::exchange_support::*;
use genesis::base::ids::SymbolId;
use genesis::base::time::WallNs;
use genesis::exchange::{Exchange, ExchangeConfig};
use genesis::runtime::server::open_recording;
use genesis::venue::public::{Frequency, Precision, Subscription, conf};
use std::io::Read;
use std::path::PathBuf;

const FLAGS: u32 = conf::TIMESTAMP | conf::SEQ_ALL | conf::OB_CHECKSUM;

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(name)
}

/// Plays a recording whole to one client that has subscribed; returns it and every `cs` it was
/// sent.
fn play(
    name: &str,
    names: &[&str],
    subscriptions: &[Subscription],
) -> (Public, Exchange, Vec<i64>) {
    let source = open_recording(&data(name)).unwrap();
    let mut exchange = Exchange::new(ExchangeConfig::default(), Box::new(source)).unwrap();
    let start = exchange.market_start().unwrap();
    assert!(!exchange.ready_to_start(), "nobody listens yet");
    let mut client = Public::open(&mut exchange, 1, start, FLAGS, names, subscriptions);
    let mut sums = Vec::new();
    let mut now = start;
    loop {
        for text in drain(&mut exchange).remove(&1).unwrap_or_default() {
            if let Some((_, rest)) = text.split_once(",\"cs\",") {
                sums.push(rest.split(',').next().unwrap().parse().unwrap());
            }
            client.session.on_message(text.as_bytes(), mono(now), &mut client.heard);
        }
        // Asking stops with the recording, so that what came is the recording.
        if exchange.is_finished() {
            return (client, exchange, sums);
        }
        if client.session.counters().crc_checked == 0 {
            client.speak(&mut exchange, now);
        }
        if exchange.ready_to_start() {
            now = exchange.next_at().unwrap();
            exchange.advance(now, 256);
        }
    }
}

fn book(symbol: u16, len: u16) -> Subscription {
    Subscription::book(SymbolId(symbol), Precision::P0, Frequency::F0, len)
}

#[test]
#[cfg_attr(not(shared_data), ignore = "needs ../shared/data")]
fn the_long_recording_arrives_whole_with_every_derived_checksum() {
    let wanted = [book(0, 100), Subscription::trades(SymbolId(0))];
    let name = "ws-capture-bitfinex-btcusd-p0-len100-20181112";
    let (client, exchange, sums) = play(&format!("{name}.ndjson.gz"), &["tBTCUSD"], &wanted);
    let counters = *client.session.counters();
    assert_eq!((counters.book_snapshots, counters.book_updates), (1, 904_852));
    let trades = (counters.trade_snapshots, counters.trade_te, counters.trade_tu);
    assert_eq!(trades, (1, 3_807, 3_801));
    assert_eq!(counters.heartbeats, 4_898);
    assert_eq!((counters.unknown, counters.malformed, counters.foreign), (0, 0, 0));
    assert_eq!((counters.seq_gaps, counters.resyncs, counters.book_crossed), (0, 0, 0));
    assert_eq!((counters.crc_checked, counters.crc_failed), (1_810, 0));
    let stats = exchange.stats();
    assert_eq!((stats.recorded, stats.recorded_unknown), (917_360, 0));
    assert_eq!(stats.recorded_crossed, 0);
    let file = std::fs::File::open(data(&format!("{name}.derived-crc.csv.gz"))).unwrap();
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
    let derived: Vec<i64> = text
        .lines()
        .skip(1)
        .map(|line| line.rsplit(',').next().unwrap().parse().unwrap())
        .collect();
    assert_eq!(derived.len(), 1_810);
    assert_eq!(sums, derived);
    // The market's clock is the recording's.
    let last = WallNs::from_ms(1_542_064_229_401);
    assert!(client.heard.last_time >= last && client.heard.last_time < after(last, 60_000));
}

#[test]
#[cfg_attr(not(shared_data), ignore = "needs ../shared/data")]
fn eight_pairs_arrive_with_an_unbroken_sequence() {
    let names =
        ["tETH2X:ETH", "tREQUSD", "tGTXUST", "tCHZUST", "tKNCBTC", "tETHJPY", "tZRXETH", "tLRCBTC"];
    let mut wanted = Vec::new();
    for symbol in 0..8 {
        wanted.push(book(symbol, 100));
        wanted.push(Subscription::trades(SymbolId(symbol)));
        wanted.push(Subscription::ticker(SymbolId(symbol)));
    }
    let name = "ws-capture-bitfinex-8pairs-seq-20210405.ndjson.gz";
    let (client, exchange, _) = play(name, &names, &wanted);
    let counters = *client.session.counters();
    assert_eq!((counters.book_snapshots, counters.book_updates), (8, 22_466));
    assert_eq!((counters.trade_snapshots, counters.trade_te, counters.trade_tu), (8, 8, 8));
    assert_eq!((counters.tickers, counters.heartbeats), (58, 93));
    assert_eq!((counters.seq_gaps, counters.unknown, counters.malformed), (0, 0, 0));
    assert_eq!((counters.crc_failed, counters.book_crossed), (0, 0));
    assert_eq!((exchange.stats().recorded, exchange.stats().recorded_unknown), (22_649, 0));
    assert_eq!(counters.seq_checked, 22_649 + counters.crc_checked);
}

#[test]
#[cfg_attr(not(shared_data), ignore = "needs ../shared/data")]
fn a_recording_with_funding_channels_plays_what_is_traded() {
    let wanted =
        [book(0, 25), Subscription::trades(SymbolId(0)), Subscription::ticker(SymbolId(0))];
    let name = "ws-capture-bitfinex-btcusd-p0-len25-20250815.ndjson.gz";
    let (client, exchange, _) = play(name, &["tBTCUSD"], &wanted);
    let counters = *client.session.counters();
    assert_eq!(counters.book_updates, 3_437);
    assert_eq!((counters.trade_te, counters.trade_tu), (8, 8));
    assert_eq!((counters.crc_failed, counters.unknown, counters.malformed), (0, 0, 0));
    assert!(counters.crc_checked >= 6);
    assert!(exchange.stats().recorded_unknown > 100, "funding rows have no channel here");
}
