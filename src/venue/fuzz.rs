//! Entries for a fuzzer: arbitrary bytes through every decoder, with what must hold whatever they
//! are. Compiled always, so that they cannot rot; called by tests with seeded mutations and by a
//! fuzz harness.

use super::account::{ack_row, fill_row, order_row, position_row, wallet_row};
use super::book::SIDE_CAPACITY;
use super::private::{BodySink, PrivateConfig, PrivateSession};
use super::public::{
    BookRef, FeedSink, Frequency, Precision, PublicConfig, PublicSession, PublicTrade,
    Subscription, conf,
};
use super::rest::{RestCall, RestSink, parse_reply};
use super::scan::Scanner;
use super::sign::ApiKey;
use super::symbols::SymbolTable;
use super::ws::{WsDecoder, WsMessage};
use crate::base::ids::SymbolId;
use crate::base::time::{MonoNs, WallNs};
use crate::base::units::{Qty, Side};
use crate::model::*;

/// Looks at what it is told instead of keeping it.
struct Checker;
impl FeedSink for Checker {
    fn book(&mut self, symbol: SymbolId, book: BookRef<'_>, venue_at: WallNs, updates: u16) {
        let view = book.view(symbol, venue_at, updates);
        assert!(view.imbalance_e4.abs() <= 10_000);
        assert!(view.bids.windows(2).all(|w| w[1].qty.is_zero() || w[0].px > w[1].px));
        assert!(view.asks.windows(2).all(|w| w[1].qty.is_zero() || w[0].px < w[1].px));
        if let (Some(bid), Some(ask)) = (view.bid(), view.ask()) {
            assert!(bid.qty > Qty::ZERO && ask.qty > Qty::ZERO);
            assert!(!view.synced || bid.px < ask.px, "a crossed book is not tradable");
        }
    }
    fn trade(&mut self, _: SymbolId, trade: PublicTrade, _: bool) {
        assert!(!trade.id.is_none() && !trade.qty.is_zero() && trade.px.raw() > 0);
    }
    fn ticker(&mut self, _: Ticker) {}
    fn status(&mut self, _: DerivStatus) {}
    fn candle(&mut self, _: Bar, _: bool) {}
    fn sync(&mut self, _: SymbolSync) {}
    fn quiet(&mut self, _: ChannelQuiet) {}
    fn link(&mut self, _: LinkState, _: i32) {}
    fn market_time(&mut self, _: WallNs) {}
    fn ws_gap(&mut self, _: SymbolId, _: ChannelKind, _: u64) {}
}
impl BodySink for Checker {
    fn body(&mut self, _: Body) {}
    fn market_time(&mut self, _: WallNs) {}
}
impl RestSink for Checker {}

fn table() -> SymbolTable {
    let name = SymbolName::new("tBTCUSD").expect("a short name");
    let (base, quote) = Instrument::split_name(name.as_str()).expect("a trading symbol");
    SymbolTable::new(&[Instrument {
        id: SymbolId(0),
        name,
        base,
        quote,
        qty_min: Qty::ZERO,
        qty_max: Qty::MAX,
    }])
}

/// Lines of `bytes` as messages of one public socket that has every kind of channel open, numbered
/// 1 … 6. The first byte chooses the flags.
pub fn fuzz_public(bytes: &[u8]) {
    let symbol = SymbolId(0);
    let subscriptions = [
        Subscription::book(symbol, Precision::P0, Frequency::F0, 25),
        Subscription::book(symbol, Precision::R0, Frequency::F0, 25),
        Subscription::trades(symbol),
        Subscription::ticker(symbol),
        Subscription::candles(symbol, Timeframe::M1),
        Subscription::status(symbol),
    ];
    let choice = bytes.first().copied().unwrap_or(0);
    let flags =
        u32::from(choice & 1 != 0) * conf::SEQ_ALL + u32::from(choice & 2 != 0) * conf::TIMESTAMP;
    let config = PublicConfig { flags, ..PublicConfig::default() };
    let mut session = PublicSession::new(config, &subscriptions, table());
    let sink = &mut Checker;
    session.on_open(MonoNs(1), sink);
    for acknowledged in [
        &br#"{"event":"subscribed","channel":"book","chanId":1,"symbol":"tBTCUSD","prec":"P0"}"#[..],
        br#"{"event":"subscribed","channel":"book","chanId":2,"symbol":"tBTCUSD","prec":"R0"}"#,
        br#"{"event":"subscribed","channel":"trades","chanId":3,"symbol":"tBTCUSD"}"#,
        br#"{"event":"subscribed","channel":"ticker","chanId":4,"symbol":"tBTCUSD"}"#,
        br#"{"event":"subscribed","channel":"candles","chanId":5,"key":"trade:1m:tBTCUSD"}"#,
        br#"{"event":"subscribed","channel":"status","chanId":6,"key":"deriv:tBTCUSD"}"#,
    ] {
        session.on_message(acknowledged, MonoNs(2), sink);
    }
    let mut out = [0u8; 512];
    for (step, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let now = MonoNs(step as u64 * 3_000_000_000);
        session.on_message(line, now, sink);
        session.on_time(now, sink);
        while session.poll_transmit(now, &mut out).is_some() {}
        let _ = session.wants_reconnect();
        for channel in 0..2 {
            match session.book_of(channel) {
                Some(BookRef::Levels(book)) => {
                    assert!(book.len(Side::Buy) <= SIDE_CAPACITY);
                    let _ = book.checksum();
                }
                Some(BookRef::Raw(book)) => {
                    assert!(book.len(Side::Sell) <= SIDE_CAPACITY);
                    let _ = book.checksum();
                }
                None => unreachable!("the first two channels are books"),
            }
        }
    }
    session.on_close(MonoNs(u64::MAX / 2), sink);
}

/// Lines of `bytes` as messages of the trading socket, and as rows and REST replies.
pub fn fuzz_private(bytes: &[u8]) {
    let table = table();
    let key = ApiKey::new("id", b"secret").expect("a plain key");
    let mut session = PrivateSession::new(PrivateConfig::default(), key, table.clone());
    let sink = &mut Checker;
    session.on_open(MonoNs(1), 1, sink);
    let mut out = [0u8; 1_024];
    while session.poll_transmit(MonoNs(1), &mut out).is_some() {}
    session.on_message(br#"{"event":"auth","status":"OK"}"#, MonoNs(2), sink);
    for line in bytes.split(|byte| *byte == b'\n') {
        session.on_message(line, MonoNs(3), sink);
        let _ = order_row(&mut Scanner::new(line), &table, Source::New);
        let _ = fill_row(&mut Scanner::new(line), &table);
        let _ = position_row(&mut Scanner::new(line), &table, Source::New);
        let _ = wallet_row(&mut Scanner::new(line), Source::New);
        let _ = ack_row(&mut Scanner::new(line), &table);
        for call in [
            RestCall::ConfInfo { futures: false },
            RestCall::Orders,
            RestCall::Summary,
            RestCall::CancelAll,
            RestCall::Permissions,
        ] {
            let _ = parse_reply(&call, 200, line, &table, sink);
        }
    }
}

/// `bytes` as a stream of frames, whole and cut into pieces whose length the first byte gives: the
/// same messages must come out of both.
pub fn fuzz_frames(bytes: &[u8]) {
    let Some((first, stream)) = bytes.split_first() else { return };
    let messages = |piece: usize| {
        let mut decoder = WsDecoder::new();
        let (mut count, mut hash, mut error) = (0u64, 0u64, None);
        'stream: for chunk in stream.chunks(piece.max(1)) {
            let mut pos = 0;
            loop {
                match decoder.next(chunk, &mut pos) {
                    Ok(Some(message)) => {
                        let payload = match message {
                            WsMessage::Text(p) | WsMessage::Ping(p) | WsMessage::Pong(p) => p,
                            WsMessage::Close(_) => &[],
                        };
                        count += 1;
                        hash = hash.rotate_left(5) ^ crc32fast::hash(payload) as u64;
                    }
                    Ok(None) => break,
                    Err(found) => {
                        error = Some(found);
                        break 'stream;
                    }
                }
            }
        }
        (count, hash, error)
    };
    assert_eq!(messages(stream.len()), messages(*first as usize));
}

/// Messages of a public socket, for whoever mutates them; the numbers are those of `fuzz_public`.
pub const PUBLIC: &[&str] = &[
    r#"[1,[[100,1,2],[99,1,1],[101,2,-3]],1,1542045968922]"#,
    r#"[1,[100,0,1],2,1542045968923]"#,
    r#"[2,[[7,100,2],[8,101,-2]],3,1542045968924]"#,
    r#"[2,[7,0,1],4,1542045968925]"#,
    r#"[1,"cs",-5,5,1542045968926]"#,
    r#"[3,[[5,1542045968926,1,100]],6,1542045968926]"#,
    r#"[3,"te",[6,1542045968926,-1,100],7,1542045968927]"#,
    r#"[4,[1,2,3,4,5,6,7,8,9,10],8,1542045968928]"#,
    r#"[5,[[60000,1,1,1,1,1]],9,1542045968929]"#,
    r#"[1,"hb",10,1542045968930]"#,
    r#"[6,[1790133734000,null,86710.46,86670.5,null,6.2],11,1542045968931]"#,
    r#"{"event":"info","code":20060}"#,
    r#"{"event":"error","code":10300,"subId":101}"#,
    r#"{"event":"unsubscribed","chanId":1}"#,
    r#"[1,[1e-8,3,7e-7],12,9]"#,
];
/// Messages of the trading socket and REST replies.
pub const PRIVATE: &[&str] = &[
    r#"[0,"os",[[1,null,5,"tBTCUSD",1,2,1,1,"LIMIT",null,null,null,0,"ACTIVE",null,null,10,0]],1,0,9]"#,
    r#"[0,"n",[1,"on-req",null,null,[1,null,2,"tBTCUSD"],null,"ERROR","price: invalid"],2,1,9]"#,
    r#"[0,"tu",[1,"tBTCUSD",1514909325593,1234567,0.2,12000,"EXCHANGE LIMIT",12000,1,-0.39,"USD",9],3,2,9]"#,
    r#"[0,"wu",["exchange","BTC",1.6,0,null,"x",{"a":"b"}],4,3,9]"#,
    r#"[0,"ps",[["tBTCUSD","ACTIVE",1,2,0,0,null]],5,4,9]"#,
    r#"[null,null,null,null,[[0.001,0.001,0.001,null,null,0.0002],[0.002,0.002,0.002,null,null,0.00065]]]"#,
    r#"[[["ADAUSD",[null,null,null,"4.0","250000.0"]]]]"#,
    r#"["error",10001,"x"]"#,
    r#"{"event":"auth","status":"OK"}"#,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    /// A few random changes: bytes replaced, dropped, doubled, pieces moved.
    fn mutated(rng: &mut Rng, source: &[u8]) -> Vec<u8> {
        const SPICE: &[u8] = b"[]{},:\"\\e.-+0123456789nul \n\xff";
        let mut bytes = source.to_vec();
        for _ in 0..1 + rng.below(6) {
            if bytes.is_empty() {
                break;
            }
            let at = rng.below(bytes.len() as u64) as usize;
            match rng.below(5) {
                0 => bytes[at] = SPICE[rng.below(SPICE.len() as u64) as usize],
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, SPICE[rng.below(SPICE.len() as u64) as usize]),
                3 => bytes.truncate(at.max(1)),
                _ => {
                    let to = rng.below(bytes.len() as u64) as usize;
                    let piece = bytes[at.min(to)..at.max(to)].to_vec();
                    bytes.extend(piece);
                }
            }
        }
        bytes
    }

    #[test]
    fn mutated_public_streams_break_nothing() {
        let mut rng = Rng::new(31);
        for round in 0..1_500 {
            let mut bytes = vec![b"0123"[round % 4]];
            bytes.push(b'\n');
            bytes.extend(mutated(&mut rng, PUBLIC.join("\n").as_bytes()));
            fuzz_public(&bytes);
        }
    }

    #[test]
    fn mutated_private_streams_break_nothing() {
        let mut rng = Rng::new(37);
        for _ in 0..3_000 {
            fuzz_private(&mutated(&mut rng, PRIVATE.join("\n").as_bytes()));
        }
    }

    #[test]
    fn mutated_frame_streams_give_the_same_however_they_are_cut() {
        let mut rng = Rng::new(41);
        let mut source = vec![0x81, 5];
        source.extend(b"hello");
        source.extend([0x89, 2, b'p', b'i', 0x01, 3, b'a', b'b', b'c', 0x80, 1, b'd']);
        source.extend([0x81, 126, 0, 200]);
        source.extend([b'x'; 200]);
        source.extend([0x88, 2, 3, 232]);
        for _ in 0..150 {
            let mut bytes = vec![1 + rng.below(40) as u8];
            bytes.extend(mutated(&mut rng, &source));
            fuzz_frames(&bytes);
        }
    }
}
