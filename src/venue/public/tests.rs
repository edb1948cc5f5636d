//! The session against recordings and against made-up trouble.

use super::channel::ChannelState;
use super::*;
use crate::base::time::MonoNs;
use crate::model::SyncState;
use crate::venue::shared_data;
use crate::venue::symbols::tests::table_of;

/// Keeps everything a session tells.
#[derive(Default)]
pub(crate) struct Log {
    pub views: Vec<BookView>,
    pub depths: u64,
    pub trades: Vec<(SymbolId, PublicTrade, bool)>,
    pub tickers: Vec<Ticker>,
    pub statuses: Vec<DerivStatus>,
    pub candles: Vec<(Bar, bool)>,
    pub syncs: Vec<(SymbolId, SyncState)>,
    pub sync_ns: u64,
    pub quiets: Vec<ChannelQuiet>,
    pub links: Vec<(LinkState, i32)>,
    pub times: Vec<WallNs>,
    pub gaps: Vec<u64>,
    pub refusals: Vec<i32>,
    /// Keep the newest view only.
    pub brief: bool,
}
impl FeedSink for Log {
    fn book(&mut self, symbol: SymbolId, book: BookRef<'_>, venue_at: WallNs, updates: u16) {
        if self.brief {
            self.views.clear();
        }
        self.views.push(book.view(symbol, venue_at, updates));
    }
    fn depth(&mut self, _: &Subscription, _: BookRef<'_>, _: WallNs) {
        self.depths += 1;
    }
    fn trade(&mut self, symbol: SymbolId, trade: PublicTrade, snapshot: bool) {
        self.trades.push((symbol, trade, snapshot));
    }
    fn ticker(&mut self, ticker: Ticker) {
        self.tickers.push(ticker);
    }
    fn status(&mut self, status: DerivStatus) {
        self.statuses.push(status);
    }
    fn candle(&mut self, bar: Bar, snapshot: bool) {
        self.candles.push((bar, snapshot));
    }
    fn sync(&mut self, sync: SymbolSync) {
        self.syncs.push((sync.symbol, sync.state));
        self.sync_ns += sync.out_of_sync_ns;
    }
    fn quiet(&mut self, quiet: ChannelQuiet) {
        self.quiets.push(quiet);
    }
    fn link(&mut self, state: LinkState, code: i32) {
        self.links.push((state, code));
    }
    fn market_time(&mut self, at: WallNs) {
        self.times.push(at);
    }
    fn ws_gap(&mut self, _: SymbolId, _: ChannelKind, gap_ns: u64) {
        if !self.brief {
            self.gaps.push(gap_ns);
        }
    }
    fn refused(&mut self, _: &Subscription, code: i32) {
        self.refusals.push(code);
    }
}

const BTC: SymbolId = SymbolId(0);
const SECOND: u64 = 1_000_000_000;

/// A session with one socket open, and its log.
struct Bench {
    session: PublicSession,
    log: Log,
    now: MonoNs,
}
impl Bench {
    fn new(flags: u32, names: &[&str], subscriptions: &[Subscription]) -> Self {
        let config = PublicConfig { flags, ..PublicConfig::default() };
        let mut session = PublicSession::new(config, subscriptions, table_of(names));
        let mut log = Log::default();
        session.on_open(MonoNs(SECOND), &mut log);
        Self { session, log, now: MonoNs(SECOND) }
    }
    fn book() -> Self {
        let book = Subscription::book(BTC, Precision::P0, Frequency::F0, 25);
        let mut bench = Self::new(0, &["tBTCUSD"], &[book]);
        bench.say(INFO);
        bench.say(r#"{"event":"subscribed","channel":"book","chanId":7,"symbol":"tBTCUSD","prec":"P0","freq":"F0","len":"25","pair":"BTCUSD"}"#);
        bench
    }
    fn say(&mut self, text: &str) {
        self.session.on_message(text.as_bytes(), self.now, &mut self.log);
    }
    fn pass(&mut self, ns: u64) {
        self.now.0 += ns;
        self.session.on_time(self.now, &mut self.log);
    }
    fn sent(&mut self) -> Vec<String> {
        let mut out = [0u8; 512];
        let mut all = Vec::new();
        while let Some(len) = self.session.poll_transmit(self.now, &mut out) {
            all.push(String::from_utf8(out[..len].to_vec()).unwrap());
        }
        all
    }
    fn last_sync(&self) -> SyncState {
        self.log.syncs.last().unwrap().1
    }
}
const INFO: &str = r#"{"event":"info","version":2,"serverId":"x","platform":{"status":1}}"#;

/// Vector A of the protocol notes, section 2.4, as it stands there.
const VECTOR_A: [&str; 3] = [
    "[81757,[[0.0000011,13,271510.49],[0.00000109,4,500793.10790141],[0.00000108,5,776367.43],[0.00000107,1,23329.54842056],[0.00000106,3,116868.87735849],[0.00000105,3,205000],[0.00000103,3,227308.25386407],[0.00000102,2,105000],[0.00000101,1,2970],[0.000001,2,21000],[7e-7,1,10000],[6.6e-7,1,10000],[6e-7,1,100000],[4.9e-7,1,10000],[2.5e-7,1,2000],[6e-8,1,100000],[5e-8,1,200000],[1e-8,4,640000],[0.00000111,1,-4847.13],[0.00000112,7,-528102.69042633],[0.00000113,5,-302397.07],[0.00000114,3,-339088.93],[0.00000126,4,-245944.06],[0.00000127,1,-5000],[0.0000013,1,-5000],[0.00000134,1,-8249.18938656],[0.00000136,1,-13161.25184766],[0.00000145,1,-2914],[0.0000015,3,-54448.5],[0.00000152,2,-5538.54849594],[0.00000153,1,-62691.75475079],[0.00000159,1,-2914],[0.0000016,1,-52631.10296831],[0.00000164,1,-4000],[0.00000166,1,-3831.46784605],[0.00000171,1,-14575.17730379],[0.00000174,1,-3124.81815395],[0.0000018,1,-18000],[0.00000182,1,-16000],[0.00000186,1,-4000],[0.00000189,1,-10000.686624],[0.00000191,1,-14500],[0.00000193,1,-2422]]]",
    "[81757,[0.0000011,12,266122.94]]",
    r#"[81757,"cs",-1175357890]"#,
];

#[test]
fn the_real_checksum_vector_is_met() {
    let book = Subscription::book(BTC, Precision::P0, Frequency::F0, 25);
    let mut bench = Bench::new(conf::OB_CHECKSUM, &["tXRPBTC"], &[book]);
    bench.say(r#"{"event":"subscribed","channel":"book","chanId":81757,"symbol":"tXRPBTC","prec":"P0","freq":"F0","len":"25","pair":"XRPBTC"}"#);
    for line in VECTOR_A {
        bench.say(line);
    }
    let counters = bench.session.counters();
    assert_eq!((counters.crc_checked, counters.crc_failed), (1, 0));
    assert_eq!(bench.session.books[0].checksum(), -1_175_357_890);
    assert_eq!(bench.last_sync(), SyncState::Synced);
    // The negative control: another state must not match.
    bench.say("[81757,[0.0000011,12,266122.95]]");
    bench.say(VECTOR_A[2]);
    assert_eq!(bench.session.counters().crc_failed, 1);
    assert_eq!(bench.last_sync(), SyncState::ChecksumFailed);
}

#[test]
#[cfg_attr(not(shared_data), ignore = "needs ../shared/data")]
fn the_recorded_checksum_vector_is_met() {
    let text = shared_data::text("ws-checksum-vector-bitfinex-xrpbtc.ndjson");
    let book = Subscription::book(BTC, Precision::P0, Frequency::F0, 25);
    let mut bench = Bench::new(conf::OB_CHECKSUM, &["tXRPBTC"], &[book]);
    for line in shared_data::lines(&text) {
        bench.session.on_message(line, MonoNs(1), &mut bench.log);
    }
    let counters = bench.session.counters();
    assert_eq!((counters.crc_checked, counters.crc_failed), (1, 0));
    assert_eq!((counters.unknown, counters.malformed), (0, 0));
}

/// The 2018 recording whole: every message understood, every derived checksum equal, never crossed.
#[test]
#[cfg_attr(not(shared_data), ignore = "needs ../shared/data")]
fn the_recording_of_2018_decodes_whole() {
    let text = shared_data::text("ws-capture-bitfinex-btcusd-p0-len100-20181112.ndjson.gz");
    let crcs =
        shared_data::text("ws-capture-bitfinex-btcusd-p0-len100-20181112.derived-crc.csv.gz");
    let crcs = String::from_utf8(crcs).unwrap();
    let mut crcs = crcs.lines().skip(1).map(|line| {
        let mut fields = line.split(',');
        let at: usize = fields.next().unwrap().parse().unwrap();
        (at, fields.nth(1).unwrap().parse::<i32>().unwrap())
    });
    let subscriptions =
        [Subscription::book(BTC, Precision::P0, Frequency::F0, 100), Subscription::trades(BTC)];
    let mut bench = Bench::new(0, &["tBTCUSD"], &subscriptions);
    bench.log.brief = true;
    let mut next = crcs.next();
    let (mut equal, mut arrays, mut longest) = (0, 0, 0);
    for (at, line) in shared_data::lines(&text).enumerate() {
        arrays += u64::from(line[0] == b'[');
        bench.session.on_message(line, MonoNs(at as u64), &mut bench.log);
        if let Some((index, crc)) = next
            && index == at
        {
            assert_eq!(bench.session.books[0].checksum(), crc, "line {at}");
            equal += 1;
            next = crcs.next();
        }
        for side in [crate::base::units::Side::Buy, crate::base::units::Side::Sell] {
            longest = longest.max(bench.session.books[0].len(side));
        }
    }
    let counters = *bench.session.counters();
    assert_eq!((equal, next), (1_810, None));
    assert_eq!((arrays, counters.frames), (917_360, 917_363));
    assert_eq!((counters.unknown, counters.malformed, counters.stale), (0, 0, 0));
    assert_eq!((counters.foreign, counters.rounded), (0, 0));
    assert_eq!((counters.book_snapshots, counters.book_updates), (1, 904_852));
    assert_eq!((counters.book_crossed, counters.book_delete_absent), (0, 0));
    assert_eq!((counters.trade_te, counters.trade_tu), (3_807, 3_801));
    assert_eq!((counters.trades, counters.trade_dups), (30 + 3_807, 3_801));
    assert_eq!(counters.heartbeats + counters.heartbeats_early, 4_898);
    assert_eq!(longest, 100);
    assert_eq!(bench.last_sync(), SyncState::Synced);
    let live: Vec<_> = bench.log.trades.iter().filter(|t| !t.2).collect();
    assert_eq!(live.first().unwrap().1.at, WallNs::from_ms(1_542_045_968_922));
    let total = bench.log.trades.len();
    assert_eq!(total, 3_837);
}

#[test]
#[cfg_attr(not(shared_data), ignore = "needs ../shared/data")]
fn the_recording_of_2021_has_no_break_in_its_sequence() {
    let text = shared_data::text("ws-capture-bitfinex-8pairs-seq-20210405.ndjson.gz");
    let names =
        ["tETH2X:ETH", "tREQUSD", "tGTXUST", "tCHZUST", "tKNCBTC", "tETHJPY", "tZRXETH", "tLRCBTC"];
    let mut subscriptions = Vec::new();
    for id in 0..8 {
        let symbol = SymbolId(id);
        subscriptions.push(Subscription::book(symbol, Precision::P0, Frequency::F0, 100));
        subscriptions.push(Subscription::ticker(symbol));
        subscriptions.push(Subscription::trades(symbol));
    }
    let mut bench = Bench::new(conf::SEQ_ALL, &names, &subscriptions);
    for line in shared_data::lines(&text) {
        let line = std::str::from_utf8(line).unwrap();
        if let Some((head, message)) = line.split_once("\"msg\":")
            && head.contains("\"recv\"")
        {
            bench.say(message.strip_suffix('}').unwrap());
        }
    }
    let counters = bench.session.counters();
    assert_eq!((counters.seq_checked, counters.seq_gaps), (22_649, 0));
    assert_eq!(bench.session.sequence.last(), 22_649);
    assert_eq!((counters.unknown, counters.malformed, counters.foreign), (0, 0, 0));
    assert_eq!((counters.book_snapshots, counters.book_updates), (8, 22_466));
    assert_eq!((counters.book_crossed, counters.book_delete_absent), (0, 0));
    assert_eq!((counters.trade_snapshots, counters.trade_te, counters.trade_tu), (8, 8, 8));
    assert_eq!((counters.tickers, counters.stale), (58, 0));
    assert_eq!(counters.heartbeats + counters.heartbeats_early, 93);
    assert!(bench.session.symbols().iter().all(|s| s.synced));
}

#[test]
#[cfg_attr(not(shared_data), ignore = "needs ../shared/data")]
fn the_recording_of_2025_decodes_whole() {
    let text = shared_data::text("ws-capture-bitfinex-btcusd-p0-len25-20250815.ndjson.gz");
    let subscriptions = [
        Subscription::book(BTC, Precision::P0, Frequency::F0, 25),
        Subscription::ticker(BTC),
        Subscription::trades(BTC),
    ];
    let mut bench = Bench::new(0, &["tBTCUSD"], &subscriptions);
    for line in shared_data::lines(&text) {
        bench.session.on_message(line, MonoNs(1), &mut bench.log);
    }
    let counters = bench.session.counters();
    assert_eq!(counters.frames, 3_631);
    assert_eq!((counters.unknown, counters.malformed, counters.stale), (0, 0, 0));
    // What others subscribed: the funding book and the funding ticker.
    assert!(counters.foreign > 104, "{}", counters.foreign);
    assert_eq!((counters.book_snapshots, counters.book_updates), (1, 3_437));
    assert_eq!((counters.book_crossed, counters.book_delete_absent), (0, 0));
    assert_eq!((counters.trade_te, counters.trade_tu), (8, 8));
    assert_eq!(counters.heartbeats + counters.heartbeats_early, 60);
}

#[test]
fn conf_goes_first_then_one_request_a_channel_with_its_own_number() {
    let mut bench = Bench::new(
        229_376,
        &["tBTCUSD", "tBTCF0:USTF0"],
        &[
            Subscription::book(BTC, Precision::P0, Frequency::F0, 25),
            Subscription::book(BTC, Precision::R0, Frequency::F0, 100),
            Subscription::trades(BTC),
            Subscription::candles(BTC, Timeframe::M15),
            Subscription::status(SymbolId(1)),
        ],
    );
    let sent = bench.sent();
    assert_eq!(sent[0], r#"{"event":"conf","flags":229376}"#);
    assert_eq!(
        sent[1],
        r#"{"event":"subscribe","channel":"book","symbol":"tBTCUSD","prec":"P0","freq":"F0","len":"25","subId":100}"#
    );
    assert_eq!(
        sent[2],
        r#"{"event":"subscribe","channel":"book","symbol":"tBTCUSD","prec":"R0","freq":"F0","len":"100","subId":201}"#
    );
    assert_eq!(
        sent[3],
        r#"{"event":"subscribe","channel":"trades","symbol":"tBTCUSD","subId":302}"#
    );
    assert_eq!(
        sent[4],
        r#"{"event":"subscribe","channel":"candles","key":"trade:15m:tBTCUSD","subId":403}"#
    );
    assert_eq!(
        sent[5],
        r#"{"event":"subscribe","channel":"status","key":"deriv:tBTCF0:USTF0","subId":504}"#
    );
    assert_eq!(sent.len(), 6);
}

const SNAPSHOT: &str = "[7,[[100,1,2],[99,1,1],[101,2,-3],[102,1,-1]]]";

#[test]
fn a_failed_checksum_resyncs_that_channel_alone_and_measures_the_time() {
    let mut bench = Bench::book();
    bench.say(SNAPSHOT);
    assert_eq!(bench.last_sync(), SyncState::Synced);
    bench.sent();
    bench.say(r#"[7,"cs",1]"#);
    assert_eq!(bench.last_sync(), SyncState::ChecksumFailed);
    assert_eq!(bench.sent(), [r#"{"event":"unsubscribe","chanId":7}"#]);
    // Frames under way are not used.
    bench.say("[7,[100,1,5]]");
    assert_eq!(bench.session.counters().stale, 1);
    bench.now.0 += 5_000;
    bench.say(r#"{"event":"unsubscribed","status":"OK","chanId":7}"#);
    let sent = bench.sent();
    let sub_id = sent[0].split("\"subId\":").nth(1).unwrap().trim_end_matches('}');
    bench.say(&format!(
        r#"{{"event":"subscribed","channel":"book","chanId":8,"subId":{sub_id},"symbol":"tBTCUSD"}}"#
    ));
    let before = bench.log.sync_ns;
    bench.say(&SNAPSHOT.replace("[7,", "[8,"));
    assert_eq!(bench.last_sync(), SyncState::Synced);
    assert_eq!(bench.log.sync_ns - before, 5_000);
    assert_eq!(bench.session.wants_reconnect(), None);
    let ours = bench.session.books[0].checksum();
    bench.say(&format!("[8,\"cs\",{ours}]"));
    assert_eq!(bench.session.counters().crc_failed, 1);
    assert_eq!(bench.session.counters().crc_checked, 2);
}

#[test]
fn a_book_that_stays_wrong_costs_the_socket_once_then_waits() {
    let mut bench = Bench::book();
    for number in 7..12 {
        if bench.session.channels[0].state != ChannelState::Live {
            break;
        }
        bench.say(&SNAPSHOT.replace("[7,", &format!("[{number},")));
        bench.say(&format!("[{number},\"cs\",1]"));
        bench.sent();
        bench.say(&format!(r#"{{"event":"unsubscribed","status":"OK","chanId":{number}}}"#));
        bench.sent();
        let sub_id = bench.session.channels[0].sub_id;
        bench.say(&format!(
            r#"{{"event":"subscribed","channel":"book","chanId":{},"subId":{sub_id}}}"#,
            number + 1
        ));
    }
    assert_eq!(bench.session.counters().resyncs, 4);
    assert_eq!(bench.session.wants_reconnect(), Some(ReconnectReason::ResyncBudget));
    assert_eq!(bench.session.wants_reconnect(), None);
    assert_eq!(bench.last_sync(), SyncState::ChecksumFailed);
    assert_eq!(bench.session.channels[0].state, ChannelState::Parked);
    bench.now.0 += 61 * SECOND;
    bench.session.on_time(bench.now, &mut bench.log);
    assert_eq!(bench.sent().iter().filter(|t| t.contains("\"subscribe\"")).count(), 1);
}

#[test]
fn a_missing_number_unsyncs_every_symbol_and_asks_for_a_new_socket() {
    let names = ["tBTCUSD", "tETHUSD"];
    let subscriptions = [
        Subscription::book(BTC, Precision::P0, Frequency::F0, 25),
        Subscription::book(SymbolId(1), Precision::P0, Frequency::F0, 25),
    ];
    let mut bench = Bench::new(conf::SEQ_ALL | conf::TIMESTAMP, &names, &subscriptions);
    bench.say(INFO);
    for (id, name) in [(7, "tBTCUSD"), (8, "tETHUSD")] {
        bench.say(&format!(r#"{{"event":"subscribed","channel":"book","chanId":{id},"symbol":"{name}","prec":"P0","freq":"F0","len":"25"}}"#));
    }
    bench.say("[7,[[100,1,2],[101,2,-3]],1,1542045968922]");
    bench.say("[8,[[10,1,2],[11,2,-3]],2,1542045968923]");
    assert_eq!(bench.log.times.last(), Some(&WallNs::from_ms(1_542_045_968_923)));
    assert_eq!(bench.log.views[0].venue_at, WallNs::from_ms(1_542_045_968_922));
    bench.say("[8,[10,1,3],4,1542045968924]");
    assert_eq!(bench.session.counters().seq_gaps, 1);
    assert_eq!(
        bench.log.syncs[bench.log.syncs.len() - 2..],
        [(BTC, SyncState::SequenceGap), (SymbolId(1), SyncState::SequenceGap)]
    );
    assert_eq!(bench.session.wants_reconnect(), Some(ReconnectReason::SequenceGap));
    bench.say("[7,[100,1,9],5,1542045968925]");
    assert_eq!(bench.log.views.len(), 2);
    bench.session.on_close(bench.now, &mut bench.log);
    assert_eq!(bench.log.links.last(), Some(&(LinkState::Down, 0)));
    assert_eq!(bench.last_sync(), SyncState::Disconnected);
    bench.session.on_open(bench.now, &mut bench.log);
    assert_eq!(bench.last_sync(), SyncState::AwaitingSnapshot);
    assert_eq!(bench.sent().len(), 3);
}

#[test]
fn nonsense_in_a_book_is_counted_and_resynced_never_guessed() {
    for nonsense in [
        "[7,[NaN,1,1]]",
        "[7,[1e400,1,1]]",
        "[7,[100,1,0]]",
        "[7,[-5,1,1]]",
        "[7,[100,1]]",
        "[7,[100,\"x\",1]]",
        "[7,[[100,1,1],[5]]]",
        "[7,[100,1,1]",
    ] {
        let mut bench = Bench::book();
        bench.say(SNAPSHOT);
        bench.say(nonsense);
        assert_eq!(bench.last_sync(), SyncState::Malformed, "{nonsense}");
        assert_eq!(bench.session.counters().resyncs, 1, "{nonsense}");
        assert!(!bench.session.books[0].is_synced());
    }
}

#[test]
fn an_unreadable_row_does_not_cost_the_whole_socket() {
    let book = Subscription::book(BTC, Precision::P0, Frequency::F0, 25);
    let mut bench = Bench::new(conf::SEQ_ALL, &["tBTCUSD"], &[book]);
    bench.say(r#"{"event":"subscribed","channel":"book","chanId":7,"symbol":"tBTCUSD","prec":"P0","len":"25"}"#);
    bench.say("[7,[[100,1,2],[101,2,-3]],1]");
    bench.say("[7,[1e400,1,1],2]");
    bench.say("[7,\"hb\",3]");
    assert_eq!((bench.session.counters().malformed, bench.session.counters().seq_gaps), (1, 0));
    assert_eq!(bench.session.wants_reconnect(), None);
}

#[test]
fn longer_rows_and_later_elements_are_read_as_far_as_known() {
    let mut bench = Bench::book();
    bench.say(SNAPSHOT);
    bench.say("[7,[100,1,7,null,{\"a\":1}],\"later\"]");
    assert_eq!(bench.log.views.last().unwrap().bids[0].qty, Qty::from_whole(7));
    bench.say(" [ 7 , [ 100 , 1 , 8 ] ] ");
    assert_eq!(bench.session.counters().malformed, 1, "white space first is not the venue's");
}

#[test]
fn bulk_frames_change_several_levels_at_once() {
    let mut bench = Bench::book();
    bench.say(SNAPSHOT);
    bench.say("[7,[[100,0,1],[99,3,5],[101,0,-1]]]");
    let view = bench.log.views.last().unwrap();
    assert_eq!((view.bids[0].px, view.asks[0].px), (Px::from_whole(99), Px::from_whole(102)));
    assert_eq!(view.updates, 3);
    assert_eq!(bench.session.counters().book_updates, 3);
    assert_eq!(bench.session.counters().book_snapshots, 1);
}

#[test]
fn an_empty_book_is_a_snapshot_too() {
    let mut bench = Bench::book();
    bench.say("[7,[]]");
    assert_eq!(bench.last_sync(), SyncState::Synced);
    bench.say("[7,[100,1,1]]");
    assert_eq!(bench.log.views.last().unwrap().bid_count, 1);
}

#[test]
fn a_change_before_the_snapshot_is_not_used() {
    let mut bench = Bench::book();
    bench.say("[7,[100,1,1]]");
    assert_eq!((bench.session.counters().stale, bench.log.views.len()), (1, 0));
}

#[test]
fn a_crossed_book_is_not_tradable_and_resynced_if_it_stays_so() {
    let mut bench = Bench::book();
    bench.say(SNAPSHOT);
    bench.say("[7,[101.5,1,1]]");
    assert_eq!(bench.last_sync(), SyncState::Crossed);
    assert!(!bench.log.views.last().unwrap().synced);
    bench.say("[7,[101,0,-1]]");
    assert_eq!(bench.last_sync(), SyncState::Synced);
    assert!(bench.log.views.last().unwrap().synced);
    bench.say("[7,[103,1,1]]");
    bench.pass(500_000_000);
    assert_eq!(bench.session.counters().resyncs, 0);
    bench.pass(600_000_000);
    assert_eq!(bench.session.counters().resyncs, 1);
}

#[test]
fn each_trade_is_told_once_whether_te_tu_or_snapshot() {
    let mut bench = Bench::new(0, &["tBTCUSD"], &[Subscription::trades(BTC)]);
    bench.say(r#"{"event":"subscribed","channel":"trades","chanId":9,"symbol":"tBTCUSD"}"#);
    bench.say("[9,[[12,1542045968922,1,100],[11,1542045968921,-1,99]]]");
    bench.say(r#"[9,"te",[13,1542045968923,-0.5,100.5]]"#);
    bench.say(r#"[9,"tu",[13,1542045968923,-0.5,100.5]]"#);
    bench.say(r#"[9,"tu",[14,1542045968924,0.5,100.5]]"#);
    bench.say(r#"[9,"te",[12,1542045968922,1,100]]"#);
    let told: Vec<_> = bench.log.trades.iter().map(|t| (t.1.id.0, t.2)).collect();
    assert_eq!(told, [(11, true), (12, true), (13, false), (14, false)]);
    assert_eq!(bench.log.trades[2].1.qty, Qty::parse("-0.5").unwrap());
    assert_eq!(bench.session.counters().trade_dups, 2);
    assert_eq!(bench.last_sync(), SyncState::Synced, "without a book the ack is enough");
}

#[test]
fn tickers_candles_and_status_are_told() {
    let mut bench = Bench::new(
        0,
        &["tBTCUSD"],
        &[
            Subscription::ticker(BTC),
            Subscription::candles(BTC, Timeframe::M1),
            Subscription::status(BTC),
        ],
    );
    bench.say(r#"{"event":"subscribed","channel":"ticker","chanId":1,"symbol":"tBTCUSD"}"#);
    bench.say(r#"{"event":"subscribed","channel":"candles","chanId":2,"key":"trade:1m:tBTCUSD"}"#);
    bench.say(r#"{"event":"subscribed","channel":"status","chanId":3,"key":"deriv:tBTCUSD"}"#);
    bench.say("[1,[86697,14.34954787,86723,14.75896594,1060,0.01237494,86717,544.3267938,86898,85156,null]]");
    bench.say("[2,[[120000,1,2,3,0.5,9],[60000,1,1,1,1,1]]]");
    bench.say("[2,[180000,2,2,2,2,0.015486090000000001]]");
    bench.say("[3,[1790133734000,null,86710.46123944,86670.5]]");
    assert_eq!(bench.log.tickers[0].last, Px::from_whole(86_717));
    let candles: Vec<_> = bench.log.candles.iter().map(|c| (c.0.open_at.as_ms(), c.1)).collect();
    assert_eq!(candles, [(60_000, true), (120_000, true), (180_000, false)]);
    assert_eq!(bench.log.candles[1].0.close, Px::from_whole(2));
    assert_eq!(bench.log.statuses[0].spot_px, Px::parse("86670.5").unwrap());
    assert_eq!(bench.session.counters().rounded, 1);
    assert_eq!((bench.session.counters().unknown, bench.session.counters().malformed), (0, 0));
}

#[test]
fn a_raw_book_is_kept_beside_the_primary_one() {
    let mut bench = Bench::new(
        0,
        &["tBTCUSD"],
        &[
            Subscription::book(BTC, Precision::P0, Frequency::F0, 25),
            Subscription::book(BTC, Precision::R0, Frequency::F0, 25),
        ],
    );
    bench.say(r#"{"event":"subscribed","channel":"book","chanId":1,"symbol":"tBTCUSD","prec":"P0","len":"25"}"#);
    bench.say(r#"{"event":"subscribed","channel":"book","chanId":2,"symbol":"tBTCUSD","prec":"R0","len":"25"}"#);
    bench.say("[1,[[6000,1,1],[6100,1,-3]]]");
    assert_ne!(bench.last_sync(), SyncState::Synced, "both books must be here");
    bench.say("[2,[[100,6000,1],[101,5900,2],[102,6100,-3],[103,6200,-4]]]");
    assert_eq!(bench.last_sync(), SyncState::Synced);
    bench.say(r#"[2,"cs",1841538801]"#);
    bench.say("[2,[101,0,1]]");
    assert_eq!((bench.session.counters().crc_checked, bench.session.counters().crc_failed), (1, 0));
    assert_eq!((bench.log.views.len(), bench.log.depths), (1, 2));
}

#[test]
fn heartbeats_count_as_life_and_pongs_do_not() {
    let mut bench = Bench::book();
    bench.say(SNAPSHOT);
    for _ in 0..5 {
        bench.pass(15 * SECOND);
        bench.say(r#"[7,"hb"]"#);
    }
    assert_eq!(bench.session.wants_reconnect(), None);
    assert!(bench.sent().iter().any(|text| text == r#"{"event":"ping","cid":1}"#));
    bench.now.0 += 5;
    bench.say(r#"{"event":"pong","ts":1511545528111,"cid":1}"#);
    assert_eq!(bench.session.counters().ping_rtt_ns, 5);
    bench.pass(36 * SECOND);
    assert_eq!(bench.session.wants_reconnect(), Some(ReconnectReason::Silence));
    assert_eq!(bench.last_sync(), SyncState::Silent);
}

#[test]
fn a_quiet_channel_is_told_and_so_is_its_return() {
    let book = Subscription::book(BTC, Precision::P0, Frequency::F0, 25).quiet_after_ms(1_000);
    let mut bench = Bench::new(0, &["tBTCUSD"], &[book]);
    bench.say(INFO);
    bench.say(r#"{"event":"subscribed","channel":"book","chanId":7,"symbol":"tBTCUSD","prec":"P0","len":"25"}"#);
    bench.say(SNAPSHOT);
    bench.pass(2 * SECOND);
    bench.pass(SECOND);
    bench.say("[7,[100,1,4]]");
    let told: Vec<_> = bench.log.quiets.iter().map(|q| (q.quiet, q.gap_ms)).collect();
    assert_eq!(told, [(true, 2_000), (false, 3_000)]);
    assert_eq!(bench.log.gaps, [3 * SECOND]);
}

#[test]
fn unknown_messages_are_counted_and_kept() {
    let mut bench = Bench::book();
    bench.say("[99,[1,2,3]]");
    bench.say(r#"[7,"zz",[1]]"#);
    bench.say(r#"{"event":"dance"}"#);
    bench.say("[99,\"hb\"]");
    bench.say("hello");
    let counters = bench.session.counters();
    assert_eq!((counters.unknown, counters.malformed), (3, 1));
    assert_eq!((counters.heartbeats_early, counters.foreign), (1, 0));
    let kept: Vec<_> = bench.session.recorder().iter().map(|r| r.2.to_vec()).collect();
    assert_eq!(kept[0], b"[99,[1,2,3]]");
    assert_eq!(kept.len(), 4);
}

#[test]
fn a_storm_of_garbage_costs_the_socket() {
    let mut bench = Bench::book();
    for _ in 0..17 {
        bench.say("garbage");
    }
    assert_eq!(bench.session.wants_reconnect(), Some(ReconnectReason::Malformed));
}

#[test]
fn info_codes_are_obeyed() {
    let mut bench = Bench::book();
    bench.say(SNAPSHOT);
    bench.say(r#"{"event":"info","code":20060,"msg":"maintenance"}"#);
    assert_eq!(bench.last_sync(), SyncState::Maintenance);
    assert_eq!(bench.log.links.last(), Some(&(LinkState::MaintenanceStarted, 20_060)));
    bench.say("[7,[100,1,4]]");
    assert!(!bench.log.views.last().unwrap().synced);
    bench.sent();
    bench.say(r#"{"event":"info","code":20061,"msg":"over"}"#);
    assert_eq!(bench.log.links.last(), Some(&(LinkState::MaintenanceEnded, 20_061)));
    assert_eq!(bench.sent(), [r#"{"event":"unsubscribe","chanId":7}"#]);
    bench.say(r#"{"event":"info","code":20051,"msg":"Stopping. Please try to reconnect"}"#);
    assert_eq!(bench.session.wants_reconnect(), Some(ReconnectReason::ServerStopping));
    let mut bench = Bench::book();
    bench.say(r#"{"event":"info","version":3,"platform":{"status":1}}"#);
    assert_eq!(bench.session.wants_reconnect(), Some(ReconnectReason::Version));
}

#[test]
fn refusals_retries_and_doubles_are_told_apart() {
    let subscriptions = [
        Subscription::book(BTC, Precision::P0, Frequency::F0, 25),
        Subscription::trades(BTC),
        Subscription::ticker(BTC),
    ];
    let mut bench = Bench::new(0, &["tBTCUSD"], &subscriptions);
    bench.sent();
    // The venue has no such channel.
    bench.say(r#"{"channel":"ticker","symbol":"tBTCUSD","event":"error","msg":"symbol: invalid","code":10300}"#);
    assert_eq!(bench.log.refusals, [10_300]);
    assert_eq!(bench.session.channels[2].state, ChannelState::Refused);
    // Already there: a book must be left and asked for again, trades are taken as they are.
    bench.say(r#"{"channel":"book","symbol":"tBTCUSD","prec":"P0","len":"25","event":"error","msg":"subscribe: dup","code":10301,"chanId":5}"#);
    assert_eq!(bench.sent(), [r#"{"event":"unsubscribe","chanId":5}"#]);
    bench.say(r#"{"channel":"trades","symbol":"tBTCUSD","event":"error","msg":"subscribe: dup","code":10301,"chanId":6}"#);
    assert_eq!(bench.session.channels[1].state, ChannelState::Live);
    // The server does not know the number: asked for again at once, and again when told to wait.
    bench.say(r#"{"event":"error","msg":"unsubscribe: invalid","code":10400,"chanId":5}"#);
    assert_eq!(bench.sent().len(), 1);
    let sub_id = bench.session.channels[0].sub_id;
    bench.say(&format!(r#"{{"event":"error","msg":"ready","code":11000,"subId":{sub_id}}}"#));
    assert_eq!(bench.sent().len(), 0);
    bench.pass(SECOND);
    assert_eq!(bench.sent().len(), 1);
}

#[test]
fn a_request_without_answer_is_repeated_then_costs_the_socket() {
    let book = Subscription::book(BTC, Precision::P0, Frequency::F0, 25);
    let mut bench = Bench::new(0, &["tBTCUSD"], &[book]);
    bench.say(INFO);
    for round in 1..=3 {
        let asked = bench.sent().iter().filter(|t| t.contains("subscribe")).count();
        assert_eq!(asked, 1);
        bench.pass(21 * SECOND);
        assert_eq!(bench.session.counters().subscribe_timeouts, round);
    }
    assert_eq!(bench.session.wants_reconnect(), Some(ReconnectReason::SubscribeTimeout));
}

#[test]
fn an_acknowledged_book_without_snapshot_is_asked_for_again() {
    let mut bench = Bench::book();
    bench.sent();
    for _ in 0..2 {
        bench.pass(11 * SECOND);
        bench.say(r#"[7,"hb"]"#);
    }
    assert_eq!(bench.session.counters().subscribe_timeouts, 1);
    assert!(bench.sent().contains(&r#"{"event":"unsubscribe","chanId":7}"#.to_owned()));
}

#[test]
fn a_socket_without_an_info_frame_is_given_up() {
    let book = Subscription::book(BTC, Precision::P0, Frequency::F0, 25);
    let mut bench = Bench::new(0, &["tBTCUSD"], &[book]);
    bench.pass(11 * SECOND);
    assert_eq!(bench.session.wants_reconnect(), Some(ReconnectReason::Silence));
}

/// Goal: a busy channel that falls silent while heartbeats go on is not trusted within a second,
/// and asked for again; one that is calm by nature is left alone. Method: 50 ms and 2 s between
/// changes.
#[test]
fn a_busy_book_that_falls_silent_is_asked_for_again_and_a_calm_one_is_not() {
    const MS: u64 = 1_000_000;
    for (gap_ms, silent_ms, is_hushed) in
        [(50, 700, false), (50, 850, true), (2_000, 7_000, false), (2_000, 8_100, true)]
    {
        let mut bench = Bench::book();
        bench.session.config.hush_factor = 4;
        bench.say("[7,[[100,1,1],[101,1,-1]]]");
        let pass = |bench: &mut Bench, ms: u64| {
            for _ in 0..ms / 10 {
                bench.pass(10 * MS);
                if (bench.now.0 / MS).is_multiple_of(15_000) {
                    bench.say(r#"[7,"hb"]"#);
                }
            }
        };
        for change in 0..300 {
            pass(&mut bench, gap_ms);
            bench.say(&format!("[7,[100,{},1]]", 1 + change % 5));
        }
        assert_eq!(bench.last_sync(), SyncState::Synced, "{gap_ms} ms apart");
        let _ = bench.sent();
        pass(&mut bench, silent_ms);
        let what = format!("{gap_ms} ms apart, silent for {silent_ms} ms");
        assert_eq!(bench.last_sync() == SyncState::Silent, is_hushed, "{what}");
        assert_eq!(bench.session.counters().hushes, u64::from(is_hushed), "{what}");
        let asked = bench.sent().iter().any(|text| text.contains("unsubscribe"));
        assert_eq!(asked, is_hushed, "{what}");
    }
}

/// A host that did not run for a while proves nothing: what waits in the socket is read first.
#[test]
fn after_a_pause_of_the_host_nobody_is_hushed() {
    const MS: u64 = 1_000_000;
    let mut bench = Bench::book();
    bench.session.config.hush_factor = 4;
    bench.say("[7,[[100,1,1],[101,1,-1]]]");
    for change in 0..300 {
        for _ in 0..5 {
            bench.pass(10 * MS);
        }
        bench.say(&format!("[7,[100,{},1]]", 1 + change % 5));
    }
    bench.pass(5_000 * MS);
    bench.pass(10 * MS);
    assert_eq!(bench.last_sync(), SyncState::Synced);
    bench.say("[7,[100,9,1]]");
    for _ in 0..110 {
        bench.pass(10 * MS);
    }
    // Its longest gap is 5 s by now: silence of a second is usual.
    assert_eq!((bench.last_sync(), bench.session.counters().hushes), (SyncState::Synced, 0));
}

/// Trades, tickers, candles: no book to distrust, so they are told and asked for again. What the
/// answer holds says whether the channel was at fault or the market calm.
#[test]
fn other_channels_that_fall_silent_are_told_and_asked_for_again() {
    const MS: u64 = 1_000_000;
    for (newest, missed) in [(299, 0), (302, 3)] {
        let mut bench = Bench::new(0, &["tBTCUSD"], &[Subscription::trades(BTC)]);
        bench.session.config.hush_factor = 4;
        bench.say(INFO);
        let subscribed = r#"{"event":"subscribed","channel":"trades","chanId":9,"symbol":"tBTCUSD","pair":"BTCUSD"}"#;
        bench.say(subscribed);
        for id in 1..300 {
            for _ in 0..10 {
                bench.pass(10 * MS);
            }
            bench.say(&format!(r#"[9,"te",[{id},1573485493000,0.1,100]]"#));
        }
        let _ = bench.sent();
        for _ in 0..100 {
            bench.pass(10 * MS);
        }
        assert_eq!(bench.log.quiets.len(), 1, "{:?}", bench.log.quiets);
        assert!(bench.log.quiets[0].quiet && bench.log.quiets[0].gap_ms <= 850);
        assert!(bench.sent().iter().any(|text| text.contains("unsubscribe")));
        bench.say(r#"{"event":"unsubscribed","status":"OK","chanId":9}"#);
        bench.say(subscribed);
        let rows: Vec<String> =
            (290..=newest).rev().map(|id| format!("[{id},1573485493000,0.1,100]")).collect();
        bench.say(&format!("[9,[{}]]", rows.join(",")));
        let found: u16 = bench.log.quiets.iter().map(|quiet| quiet.missed).sum();
        assert_eq!(found, missed, "{:?}", bench.log.quiets);
        // Once: what comes later is no proof of that silence.
        bench.say(r#"[9,[[400,1573485493000,0.1,100]]]"#);
        let found: u16 = bench.log.quiets.iter().map(|quiet| quiet.missed).sum();
        assert_eq!(found, missed, "{:?}", bench.log.quiets);
    }
}

/// The same for a book: an equal snapshot says that nothing was withheld.
#[test]
fn a_hushed_book_that_comes_back_as_it_was_was_calm() {
    const MS: u64 = 1_000_000;
    for (count, missed) in [(5, 0), (6, 1)] {
        let mut bench = Bench::book();
        bench.session.config.hush_factor = 4;
        bench.say("[7,[[100,1,1],[101,1,-1]]]");
        for change in 0..300 {
            for _ in 0..5 {
                bench.pass(10 * MS);
            }
            bench.say(&format!("[7,[100,1,{}]]", 1 + change % 5));
        }
        for _ in 0..100 {
            bench.pass(10 * MS);
        }
        assert_eq!(bench.last_sync(), SyncState::Silent);
        bench.say(r#"{"event":"unsubscribed","status":"OK","chanId":7}"#);
        let asked = bench.sent().into_iter().rfind(|text| text.contains("\"subscribe\""));
        let asked = asked.expect("asked for again");
        let sub = asked.split("\"subId\":").nth(1).expect("a subId").trim_end_matches('}');
        bench.say(&format!(
            r#"{{"event":"subscribed","channel":"book","chanId":8,"symbol":"tBTCUSD","prec":"P0","freq":"F0","len":"25","subId":{sub}}}"#
        ));
        bench.say(&format!("[8,[[100,1,{count}],[101,1,-1]]]"));
        assert_eq!(bench.last_sync(), SyncState::Synced);
        let found: u16 = bench.log.quiets.iter().map(|quiet| quiet.missed).sum();
        assert_eq!(found, missed, "{:?}", bench.log.quiets);
    }
}
