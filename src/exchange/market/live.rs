//! The venue's own stream as it comes, for paper trading: books and trades are another exchange's,
//! our orders are ghosts in them, as with a recording. Whoever holds the socket brings messages by
//! a [`LiveInbox`]; nothing here knows where they come from.

use super::capture::read_channel;
use super::{Floor, MarketSource, RecordedChannel, SourceState, symbols_of};
use crate::base::time::WallNs;
use crate::exchange::hub::FeedKey;
use crate::exchange::json::Json;
use crate::exchange::number::read_u64;
use crate::exchange::tape::Candle;
use std::collections::BTreeMap;

/// What a socket brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LiveMessage {
    /// Verbatim text of a websocket message.
    Text(Box<[u8]>),
    /// The stream broke off: the channel ids known so far mean nothing any more.
    Broke,
}

/// Where messages wait.
pub trait LiveInbox: Send {
    fn is_empty(&self) -> bool;
    fn next(&mut self) -> Option<LiveMessage>;
}

/// The reading end: a market that plays what the feed brings.
pub struct LiveSource {
    inbox: Box<dyn LiveInbox>,
    start: WallNs,
    channels: Vec<RecordedChannel>,
    /// The venue's channel id → index in `channels`.
    by_id: BTreeMap<u64, usize>,
    steps: u64,
}
impl LiveSource {
    /// Book (best `book_len` levels, full precision, at once) and trades of these symbols.
    pub fn new(
        symbols: &[String],
        book_len: u16,
        start: WallNs,
        inbox: Box<dyn LiveInbox>,
    ) -> LiveSource {
        let of = |symbol: &String| {
            let book = FeedKey::Book { symbol: 0, digits: 5, slow: false, len: book_len };
            [book, FeedKey::Trades { symbol: 0 }]
                .map(|key| RecordedChannel { symbol: symbol.clone(), key })
        };
        let channels = symbols.iter().flat_map(of).collect();
        LiveSource { inbox, start, channels, by_id: BTreeMap::new(), steps: 0 }
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
        symbols_of(&self.channels)
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
        (is_first || !self.inbox.is_empty()).then_some(self.start)
    }
    fn step(&mut self, floor: &mut dyn Floor) {
        self.steps += 1;
        let text = match self.inbox.next() {
            Some(LiveMessage::Text(text)) => text,
            Some(LiveMessage::Broke) => return self.by_id.clear(),
            None => return,
        };
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

    struct Waiting(std::collections::VecDeque<LiveMessage>);
    impl LiveInbox for Waiting {
        fn is_empty(&self) -> bool {
            self.0.is_empty()
        }
        fn next(&mut self) -> Option<LiveMessage> {
            self.0.pop_front()
        }
    }

    #[test]
    fn messages_go_to_their_channels_and_a_new_socket_numbers_anew() {
        let symbols = ["tBTCUSD".to_owned(), "tDOGE:USD".to_owned()];
        let told = r#"{"event":"subscribed","channel":"trades","chanId":9,"symbol":"tDOGE:USD","pair":"DOGE:USD"}"#;
        let book = r#"{"event":"subscribed","channel":"book","chanId":7,"symbol":"tBTCUSD","prec":"P0","freq":"F0","len":"25","pair":"BTCUSD"}"#;
        let text = |text: &str| LiveMessage::Text(text.as_bytes().into());
        let mut all: Vec<LiveMessage> =
            [told, book, "[9,\"hb\"]", "[7,[[1,1,1],[2,1,-1]]]", "[8,\"hb\"]", "nonsense"]
                .map(text)
                .into();
        // An old number behind a break is unknown.
        all.extend([LiveMessage::Broke, text("[9,\"hb\"]")]);
        let count = all.len();
        let mut source = LiveSource::new(&symbols, 25, WallNs(5), Box::new(Waiting(all.into())));
        assert_eq!(source.symbols(), symbols);
        assert_eq!(LiveSource::subscriptions(&symbols, 25).len(), source.channels().len());
        assert_eq!(source.next_at(), Some(WallNs(5)));
        let mut heard = Heard::default();
        for _ in 0..count {
            assert_eq!(source.next_at(), Some(WallNs(5)), "what waits is due");
            source.step(&mut heard);
        }
        assert_eq!(heard.0, [(3, "\"hb\"".to_owned()), (0, "[[1,1,1],[2,1,-1]]".to_owned())]);
        assert_eq!((heard.1, source.next_at(), source.is_finished()), (3, None, false));
    }
}
