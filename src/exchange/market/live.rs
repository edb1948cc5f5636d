//! The venue's own stream as it comes, for paper trading: books and trades are another exchange's,
//! our orders are ghosts in them, as with a recording. Whoever holds the socket pushes messages
//! into a [`LiveFeed`]; nothing here knows where they come from.

use super::capture::read_channel;
use super::{Floor, MarketSource, RecordedChannel, SourceState};
use crate::base::time::WallNs;
use crate::exchange::hub::FeedKey;
use crate::exchange::json::Json;
use crate::exchange::number::read_u64;
use crate::exchange::tape::Candle;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// Messages that may wait for the exchange. A feed that is not read is cut off and told so: an
/// exchange on half of a stream would fill orders at prices that never were.
const WAITING_MAX: usize = 65_536;

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Box<[u8]>>,
    /// The stream broke off: the channel ids known so far mean nothing any more.
    broken: bool,
}

/// The pushing end.
#[derive(Clone, Debug, Default)]
pub struct LiveFeed(Arc<Mutex<Waiting>>);
impl LiveFeed {
    /// A message as it came; false where nobody reads, and the stream must begin anew.
    pub fn push(&self, text: &[u8]) -> bool {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.messages.len() >= WAITING_MAX {
            return false;
        }
        waiting.messages.push_back(text.into());
        true
    }
    /// The socket is gone: what waits is dropped, and channels are numbered anew after this.
    pub fn broke(&self) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.messages.clear();
        waiting.broken = true;
    }
    pub fn waiting(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).messages.len()
    }
}

/// The reading end: a market that plays what the feed brings.
#[derive(Debug)]
pub struct LiveSource {
    feed: LiveFeed,
    start: WallNs,
    channels: Vec<RecordedChannel>,
    /// The venue's channel id → index in `channels`.
    by_id: BTreeMap<u64, usize>,
    steps: u64,
}
impl LiveSource {
    /// Book (best `book_len` levels, full precision, at once) and trades of these symbols.
    pub fn new(symbols: &[String], book_len: u16, start: WallNs) -> (LiveSource, LiveFeed) {
        let feed = LiveFeed::default();
        let of = |symbol: &String| {
            let book = FeedKey::Book { symbol: 0, digits: 5, slow: false, len: book_len };
            [book, FeedKey::Trades { symbol: 0 }]
                .map(|key| RecordedChannel { symbol: symbol.clone(), key })
        };
        let channels = symbols.iter().flat_map(of).collect();
        let source =
            LiveSource { feed: feed.clone(), start, channels, by_id: BTreeMap::new(), steps: 0 };
        (source, feed)
    }
    /// The messages that ask a venue for these channels.
    pub fn subscriptions(symbols: &[String], book_len: u16) -> Vec<String> {
        let of = |symbol: &String| {
            [
                format!(
                    "{{\"event\":\"subscribe\",\"channel\":\"book\",\"symbol\":\"{symbol}\",\
                     \"prec\":\"P0\",\"freq\":\"F0\",\"len\":\"{book_len}\"}}"
                ),
                format!(
                    "{{\"event\":\"subscribe\",\"channel\":\"trades\",\"symbol\":\"{symbol}\"}}"
                ),
            ]
        };
        symbols.iter().flat_map(of).collect()
    }
    fn learn(&mut self, text: &[u8]) {
        let Some(event) = Json::parse(text) else { return };
        if event.get("event").and_then(Json::text) != Some("subscribed") {
            return;
        }
        let id = event.get("chanId").and_then(Json::unsigned);
        let at = read_channel(&event)
            .and_then(|told| self.channels.iter().position(|channel| *channel == told));
        if let (Some(id), Some(at)) = (id, at) {
            self.by_id.insert(id, at);
        }
    }
}

/// Channel id and payload of `[ID,…]`.
fn split(text: &[u8]) -> Option<(u64, &[u8])> {
    let inner = text.trim_ascii().strip_prefix(b"[")?.strip_suffix(b"]")?;
    let comma = inner.iter().position(|byte| *byte == b',')?;
    Some((read_u64(inner[..comma].trim_ascii())?, &inner[comma + 1..]))
}

impl MarketSource for LiveSource {
    fn symbols(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for channel in &self.channels {
            if !names.contains(&channel.symbol) {
                names.push(channel.symbol.clone());
            }
        }
        names
    }
    fn is_recording(&self) -> bool {
        true
    }
    fn channels(&self) -> &[RecordedChannel] {
        &self.channels
    }
    fn history(&self, _symbol: &str) -> Vec<Candle> {
        Vec::new()
    }
    fn is_live(&self) -> bool {
        true
    }
    /// What waits is due: the host's clock says when it came, and that is now.
    fn next_at(&self) -> Option<WallNs> {
        let is_first = self.steps == 0;
        (is_first || self.feed.waiting() > 0).then_some(self.start)
    }
    fn step(&mut self, floor: &mut dyn Floor) {
        self.steps += 1;
        let next = {
            let mut waiting = self.feed.0.lock().unwrap_or_else(PoisonError::into_inner);
            if std::mem::take(&mut waiting.broken) {
                self.by_id.clear();
            }
            waiting.messages.pop_front()
        };
        let Some(text) = next else { return };
        if text.first() == Some(&b'{') {
            return self.learn(&text);
        }
        match split(&text) {
            Some((id, body)) => match self.by_id.get(&id) {
                Some(at) => floor.recorded(*at, body),
                None => floor.recorded_unknown(),
            },
            None => floor.recorded_unknown(),
        }
    }
    fn state(&self) -> SourceState {
        SourceState::default()
    }
    fn resume(&mut self, _state: &SourceState, _now: WallNs) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::units::Side;

    #[derive(Default)]
    struct Heard(Vec<(usize, String)>, u64);
    impl Floor for Heard {
        fn best(&self, _: usize, _: Side) -> Option<i64> {
            None
        }
        fn depth(&self, _: usize, _: Side) -> usize {
            0
        }
        fn house_limit(&mut self, _: usize, _: Side, _: i64, _: i64) -> Option<u64> {
            None
        }
        fn house_take(&mut self, _: usize, _: Side, _: i64) -> i64 {
            0
        }
        fn house_cancel(&mut self, _: usize, _: u64) -> bool {
            false
        }
        fn recorded(&mut self, channel: usize, body: &[u8]) {
            self.0.push((channel, String::from_utf8_lossy(body).into_owned()));
        }
        fn recorded_unknown(&mut self) {
            self.1 += 1;
        }
    }

    #[test]
    fn messages_go_to_their_channels_and_a_new_socket_numbers_anew() {
        let symbols = ["tBTCUSD".to_owned(), "tDOGE:USD".to_owned()];
        let (mut source, feed) = LiveSource::new(&symbols, 25, WallNs(5));
        assert_eq!(source.symbols(), symbols);
        assert_eq!(LiveSource::subscriptions(&symbols, 25).len(), source.channels().len());
        assert_eq!(source.next_at(), Some(WallNs(5)));
        let mut heard = Heard::default();
        let told = r#"{"event":"subscribed","channel":"trades","chanId":9,"symbol":"tDOGE:USD","pair":"DOGE:USD"}"#;
        let book = r#"{"event":"subscribed","channel":"book","chanId":7,"symbol":"tBTCUSD","prec":"P0","freq":"F0","len":"25","pair":"BTCUSD"}"#;
        for text in [told, book, "[9,\"hb\"]", "[7,[[1,1,1],[2,1,-1]]]", "[8,\"hb\"]", "nonsense"] {
            assert!(feed.push(text.as_bytes()));
        }
        for _ in 0..6 {
            source.step(&mut heard);
        }
        assert_eq!(heard.0, [(3, "\"hb\"".to_owned()), (0, "[[1,1,1],[2,1,-1]]".to_owned())]);
        assert_eq!((heard.1, source.next_at(), source.is_finished()), (2, None, false));
        // What waits behind a break is dropped, and an old number is unknown.
        feed.push(b"[9,\"hb\"]");
        feed.broke();
        assert_eq!(feed.waiting(), 0);
        feed.push(b"[9,\"hb\"]");
        source.step(&mut heard);
        assert_eq!((heard.0.len(), heard.1), (2, 3));
    }

    #[test]
    fn a_feed_that_nobody_reads_is_cut_off() {
        let (_source, feed) = LiveSource::new(&["tBTCUSD".to_owned()], 25, WallNs(0));
        assert!((0..WAITING_MAX).all(|_| feed.push(b"[1,\"hb\"]")));
        assert!(!feed.push(b"[1,\"hb\"]"));
    }
}
