//! Times of the venue's hot functions: rows, sessions with their books, frames, order entry. What
//! each does is checked before it is timed; the recording of 2018 is used where it lies beside the
//! project. Figures to reach (design, section 11): book update ≤ 60 ns, trade ≤ 150 ns, order event
//! ≤ 400 ns.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use genesis::base::ids::{Cid, OrderId, StrategyId, SymbolId};
use genesis::base::time::{MonoNs, WallNs};
use genesis::base::units::{Px, Qty};
use genesis::model::*;
use genesis::venue::account::{fill_row, order_row};
use genesis::venue::book::{Book, BookRow};
use genesis::venue::encode;
use genesis::venue::private::{BodySink, PrivateConfig, PrivateSession};
use genesis::venue::public::*;
use genesis::venue::scan::Scanner;
use genesis::venue::sign::ApiKey;
use genesis::venue::symbols::SymbolTable;
use genesis::venue::ws::{Opcode, WsDecoder, WsMessage, seal_frame};
use std::hint::black_box;
use std::io::Read;

/// Takes what the line would take: the view of a changed book, and the sum of what it saw for the
/// check.
#[derive(Default)]
struct Taker {
    views: u64,
    trades: u64,
    bodies: u64,
    last: Option<BookView>,
}
impl FeedSink for Taker {
    fn book(&mut self, symbol: SymbolId, book: BookRef<'_>, venue_at: WallNs, updates: u16) {
        self.views += 1;
        self.last = Some(black_box(book.view(symbol, venue_at, updates)));
    }
    fn trade(&mut self, _: SymbolId, trade: PublicTrade, _: bool) {
        self.trades += 1;
        black_box(trade);
    }
    fn ticker(&mut self, ticker: Ticker) {
        black_box(ticker);
    }
    fn status(&mut self, status: DerivStatus) {
        black_box(status);
    }
    fn candle(&mut self, bar: Bar, _: bool) {
        black_box(bar);
    }
    fn sync(&mut self, _: SymbolSync) {}
    fn quiet(&mut self, _: ChannelQuiet) {}
    fn link(&mut self, _: LinkState, _: i32) {}
    fn market_time(&mut self, at: WallNs) {
        black_box(at);
    }
    fn ws_gap(&mut self, _: SymbolId, _: ChannelKind, gap_ns: u64) {
        black_box(gap_ns);
    }
}
impl BodySink for Taker {
    fn body(&mut self, body: Body) {
        self.bodies += 1;
        black_box(body);
    }
    fn market_time(&mut self, at: WallNs) {
        black_box(at);
    }
}

fn table() -> SymbolTable {
    let rows: Vec<Instrument> = ["tBTCUSD", "tETHUSD", "tADAUSD", "tDOTUSD"]
        .iter()
        .enumerate()
        .map(|(index, name)| {
            let (base, quote) = Instrument::split_name(name).expect("a trading symbol");
            Instrument {
                id: SymbolId(index as u16),
                name: SymbolName::new(name).expect("a short name"),
                base,
                quote,
                qty_min: Qty::ZERO,
                qty_max: Qty::MAX,
            }
        })
        .collect();
    SymbolTable::new(&rows)
}

/// Messages of the recording, without the objects; a made-up stream of the same shape where it is
/// absent.
fn messages() -> Vec<Vec<u8>> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../shared/data/ws-capture-bitfinex-btcusd-p0-len100-20181112.ndjson.gz"
    );
    if let Ok(bytes) = std::fs::read(path) {
        let mut text = Vec::new();
        flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut text).expect("a gzip file");
        return text.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(<[u8]>::to_vec).collect();
    }
    eprintln!("the recording is absent: a made-up stream is used");
    let mut rng = genesis::base::rng::Rng::new(1);
    let subscribed = r#"{"event":"subscribed","channel":"book","chanId":81568,"symbol":"tBTCUSD","prec":"P0","freq":"F0","len":"100"}"#;
    let mut all =
        vec![subscribed.as_bytes().to_vec(), b"[81568,[[6443,1,1],[6443.1,1,-1]]]".to_vec()];
    for _ in 0..200_000 {
        let depth = (rng.exponential(60.0) as i64).min(700) + 1;
        let buy = rng.chance(1, 2);
        let px = if buy { 64_430 - depth } else { 64_431 + depth };
        let sign = if buy { "" } else { "-" };
        let row = if rng.chance(1, 3) {
            format!("[81568,[{}.{},0,{sign}1]]", px / 10, px % 10)
        } else {
            format!(
                "[81568,[{}.{},2,{sign}{}.{:08}]]",
                px / 10,
                px % 10,
                rng.below(9),
                1 + rng.below(99_999_999)
            )
        };
        all.push(row.into_bytes());
    }
    all
}

fn session(flags: u32) -> PublicSession {
    let symbol = SymbolId(0);
    let subscriptions = [
        Subscription::book(symbol, Precision::P0, Frequency::F0, 100),
        Subscription::trades(symbol),
    ];
    PublicSession::new(PublicConfig { flags, ..PublicConfig::default() }, &subscriptions, table())
}

/// The frames of a stream as the venue sends them to us: with sequence number and time, one after
/// another.
fn framed(messages: &[Vec<u8>]) -> (Vec<u8>, u64) {
    let (mut stream, mut seq) = (Vec::new(), 0u64);
    for message in messages {
        let mut text = message.clone();
        if text[0] == b'[' {
            seq += 1;
            text.pop();
            text.extend(format!(",{seq},{}]", 1_542_045_968_922 + seq).bytes());
        }
        stream.push(0x81);
        match text.len() {
            len @ 0..=125 => stream.push(len as u8),
            len => {
                stream.push(126);
                stream.extend((len as u16).to_be_bytes());
            }
        }
        stream.extend(text);
    }
    (stream, seq)
}

fn run_stream(
    session: &mut PublicSession,
    decoder: &mut WsDecoder,
    stream: &[u8],
    taker: &mut Taker,
) {
    let mut now = 0;
    for chunk in stream.chunks(16 * 1024) {
        let mut pos = 0;
        while let Ok(Some(message)) = decoder.next(chunk, &mut pos) {
            if let WsMessage::Text(text) = message {
                now += 1_000;
                session.on_message(text, MonoNs(now), taker);
            }
        }
    }
}

fn rows(c: &mut Criterion) {
    let mut group = c.benchmark_group("rows");
    let lines: Vec<Vec<u8>> = messages()
        .into_iter()
        .filter(|m| m.starts_with(b"[81568,[") && !m.starts_with(b"[81568,[["))
        .map(|m| m[7..].to_vec())
        .take(4_096)
        .collect();
    assert!(lines.len() == 4_096);
    for line in &lines {
        let ours = decode::book_row(&mut Scanner::new(line)).expect("a book row");
        let text = std::str::from_utf8(line).expect("text").trim_end_matches(']');
        let mut fields = text.trim_start_matches('[').split(',');
        let mut next = || fields.next().expect("three fields");
        assert_eq!(Px::parse(next()).expect("a price").raw(), ours.px);
        assert_eq!(next().parse(), Ok(ours.count));
        let qty: f64 = next().parse().expect("a quantity");
        assert_eq!(Qty::from_f64(qty).expect("in range").raw(), ours.qty);
    }
    group.throughput(Throughput::Elements(lines.len() as u64));
    group.bench_function("book_row", |b| {
        b.iter(|| {
            let mut sum = 0;
            for line in &lines {
                if let Ok(row) = decode::book_row(&mut Scanner::new(black_box(line))) {
                    sum ^= row.px ^ row.qty;
                }
            }
            sum
        })
    });
    let trade = b"[310628121,1542045947738,-0.00265425,6443.1]]";
    let decoded = decode::trade_row(&mut Scanner::new(trade)).expect("a trade");
    assert_eq!(decoded.qty, Qty::parse("-0.00265425").expect("a quantity"));
    group.throughput(Throughput::Elements(1));
    group.bench_function("trade_row", |b| {
        b.iter(|| decode::trade_row(&mut Scanner::new(black_box(trade))))
    });
    let table = table();
    let order = br#"[34938060782,7,1575287436979,"tETHUSD",1575287438515,1575287438516,-2.5,-3,"EXCHANGE LIMIT",null,null,null,4096,"PARTIALLY FILLED @ 230(-0.5)",null,null,230,229.5,0,0,null,null,null,0,0,null,null,null,"API>BFX",null,null,{"$F7":1}]"#;
    let decoded = order_row(&mut Scanner::new(order), &table, Source::Update).expect("an order");
    assert_eq!((decoded.symbol, decoded.status), (SymbolId(1), OrderStatus::PartiallyFilled));
    group.bench_function("order_row", |b| {
        b.iter(|| order_row(&mut Scanner::new(black_box(order)), &table, Source::Update))
    });
    let fill = br#"[402088407,"tETHUSD",1574963975602,34938060782,-0.2,153.57,"EXCHANGE LIMIT",153.5,-1,-0.0060604686,"USD",1755757983693]"#;
    assert!(fill_row(&mut Scanner::new(fill), &table).is_ok());
    group.bench_function("fill_row", |b| {
        b.iter(|| fill_row(&mut Scanner::new(black_box(fill)), &table))
    });
    group.finish();
}

fn books(c: &mut Criterion) {
    let mut group = c.benchmark_group("book");
    let all = messages();
    let (mut book, mut changes): (Book, Vec<BookRow>) = (Book::new(), Vec::new());
    for message in all.iter().filter(|m| m.starts_with(b"[81568,[")).take(60_000) {
        let mut scan = Scanner::new(&message[7..]);
        if message[8] == b'[' {
            let mut rows = vec![BookRow { px: 0, count: 0, qty: 0 }; 500];
            let count = decode::rows(&mut scan, &mut rows, decode::book_row).expect("a snapshot");
            for row in &rows[..count] {
                book.apply(*row).expect("a level");
            }
        } else {
            changes.push(decode::book_row(&mut scan).expect("a row"));
        }
    }
    group.throughput(Throughput::Elements(changes.len() as u64));
    group.bench_function("apply", |b| {
        b.iter(|| {
            for row in &changes {
                let _ = black_box(book.apply(black_box(*row)));
            }
        })
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("view", |b| b.iter(|| black_box(&book).view(SymbolId(0), WallNs(1), 1)));
    group.bench_function("checksum", |b| b.iter(|| black_box(&book).checksum()));
    group.finish();
}

fn sessions(c: &mut Criterion) {
    let mut group = c.benchmark_group("session");
    group.sample_size(10);
    let all = messages();
    let arrays = all.iter().filter(|m| m[0] == b'[').count() as u64;
    let (stream, seq) = framed(&all);
    // Behaviour first: the whole stream, nothing lost, nothing unknown.
    let mut checked = session(conf::SEQ_ALL | conf::TIMESTAMP);
    let mut taker = Taker::default();
    checked.on_open(MonoNs(0), &mut taker);
    run_stream(&mut checked, &mut WsDecoder::new(), &stream, &mut taker);
    let counters = *checked.counters();
    assert_eq!((counters.seq_checked, counters.seq_gaps), (seq, 0));
    assert_eq!((counters.unknown, counters.malformed, counters.book_crossed), (0, 0, 0));
    assert_eq!(taker.views, counters.book_updates + counters.book_snapshots);
    println!(
        "stream: {} messages, {} views, {} trades",
        counters.frames, taker.views, taker.trades
    );
    group.throughput(Throughput::Elements(arrays));
    group.bench_function("deframe_decode_apply_view", |b| {
        let mut decoder = WsDecoder::new();
        b.iter_batched_ref(
            || {
                let mut fresh = session(conf::SEQ_ALL | conf::TIMESTAMP);
                fresh.on_open(MonoNs(0), &mut Taker::default());
                fresh
            },
            |session| run_stream(session, &mut decoder, &stream, &mut taker),
            BatchSize::PerIteration,
        )
    });
    group.bench_function("decode_apply_view", |b| {
        b.iter_batched_ref(
            || {
                let mut fresh = session(0);
                fresh.on_open(MonoNs(0), &mut Taker::default());
                fresh
            },
            |session| {
                for (index, text) in all.iter().enumerate() {
                    session.on_message(text, MonoNs(index as u64 * 1_000), &mut taker);
                }
            },
            BatchSize::PerIteration,
        )
    });
    group.finish();

    let mut group = c.benchmark_group("message");
    group.throughput(Throughput::Elements(1));
    // One frame at the touch, over and over: what an idle engine pays for the message that matters.
    let mut hot = session(conf::TIMESTAMP);
    hot.on_open(MonoNs(0), &mut taker);
    for message in all.iter().take(5) {
        hot.on_message(message, MonoNs(1), &mut taker);
    }
    let update = b"[81568,[6443,2,1.17073057],1542045968922]";
    hot.on_message(update, MonoNs(2), &mut taker);
    assert_eq!(taker.last.and_then(|v| v.bid()).map(|l| l.px), Some(Px::from_whole(6_443)));
    let mut now = 3;
    group.bench_function("book_update_at_touch", |b| {
        b.iter(|| {
            now += 1_000;
            hot.on_message(black_box(update), MonoNs(now), &mut taker);
        })
    });
    // Ids ascend, as they do on the wire: the last digits are written anew before each message.
    let mut te =
        b"[5262,\"te\",[900000000000,1542045968922,-0.00265425,6443.1],1542045968922]".to_vec();
    let mut id = 900_000_000_000u64;
    let before = taker.trades;
    hot.on_message(&te, MonoNs(3), &mut taker);
    assert_eq!(taker.trades, before + 1);
    group.bench_function("trade_te", |b| {
        b.iter(|| {
            now += 1_000;
            id += 1;
            let mut rest = id;
            for place in te[12..24].iter_mut().rev() {
                *place = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
            hot.on_message(black_box(&te), MonoNs(now), &mut taker);
        })
    });
    assert!(hot.counters().trade_dups == 0 && hot.counters().malformed == 0);
    let key = ApiKey::new("id", b"secret").expect("a key");
    let config = PrivateConfig { flags: conf::TIMESTAMP, ..PrivateConfig::default() };
    let mut account = PrivateSession::new(config, key, table());
    account.on_open(MonoNs(0), 1, &mut taker);
    let on = br#"[0,"ou",[34938060782,7,1575287436979,"tETHUSD",1575287438515,1575287438516,-2.5,-3,"EXCHANGE LIMIT",null,null,null,4096,"PARTIALLY FILLED @ 230(-0.5)",null,null,230,229.5,0,0,null,null,null,0,0,null,null,null,"API>BFX",null,null,{"$F7":1}],1575287438517]"#;
    let before = taker.bodies;
    account.on_message(on, MonoNs(1), &mut taker);
    assert_eq!(taker.bodies, before + 1);
    group.bench_function("order_update", |b| {
        b.iter(|| account.on_message(black_box(on), MonoNs(1), &mut taker))
    });
    let n = br#"[0,"n",[1575287438.515,"on-req",null,null,[1185815098,null,1575287436979,"tETHUSD",1575287438515,1575287438515,-2.5,-2.5,"LIMIT",null,null,null,0,"ACTIVE",null,null,230,0,0,0,null,null,null,0,null,null,null,null,"API>BFX",null,null,null],null,"SUCCESS","Submitting limit sell order for -2.5 ETH."],1575287438517]"#;
    group.bench_function("notification", |b| {
        b.iter(|| account.on_message(black_box(n), MonoNs(1), &mut taker))
    });
    group.finish();
}

fn orders(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode");
    let table = table();
    let order = NewOrder {
        cid: Cid(1_575_287_436_979),
        cid_day: WallNs::from_ms(1_575_287_436_979),
        kind: OrderKind::Limit,
        wallet: WalletKind::Exchange,
        qty: Qty::parse("-0.00265425").expect("a quantity"),
        px: Px::parse("6443.1").expect("a price"),
        px_aux: Px::ZERO,
        flags: OrderFlags::POST_ONLY,
        leverage: 0,
    };
    let mut command = Command {
        stamp: Stamp::default(),
        trace: Trace::default(),
        strategy: StrategyId(0),
        symbol: SymbolId(0),
        class: Class::Entry,
        reason: Reason::Quote,
        action: Action::New(order),
    };
    let mut out = [0u8; 512];
    let len = encode::command(&command, &table, Some(1), &mut out[14..]).expect("it fits");
    let json: serde_json::Value = serde_json::from_slice(&out[14..14 + len]).expect("JSON");
    assert_eq!(json[3]["price"], "6443.1");
    group.bench_function("new_order", |b| {
        b.iter(|| encode::command(black_box(&command), &table, Some(1), &mut out[14..]))
    });
    group.bench_function("new_order_framed", |b| {
        b.iter(|| {
            let len = encode::command(black_box(&command), &table, Some(1), &mut out[14..]);
            seal_frame(Opcode::Text, &mut out, len.unwrap_or(0), [1, 2, 3, 4])
        })
    });
    command.action =
        Action::Cancel { id: OrderId(34_938_060_782), cid: order.cid, cid_day: order.cid_day };
    group.bench_function("cancel", |b| {
        b.iter(|| encode::command(black_box(&command), &table, None, &mut out))
    });
    group.finish();
}

criterion_group!(benches, rows, books, sessions, orders);
criterion_main!(benches);
