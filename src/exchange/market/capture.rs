//! A recording of the venue's public stream, message by message.
//!
//! Time of a message: its own receive time where the recorder kept it; else interpolated by message
//! number between the execution times of trades (`te`), which never run backwards. Before the first
//! trade and after the last one the average pace of the recording is assumed.

use super::{Floor, MarketSource, RecordedChannel, SourceState, symbols_of};
use crate::base::time::WallNs;
use crate::exchange::hub::{FLAG_SEQ, FLAG_TIMESTAMP, FeedKey};
use crate::exchange::json::Json;
use crate::exchange::number::read_u64;
use crate::exchange::tape::{Candle, frame_of};
use crate::model::Instrument;
use std::collections::BTreeMap;
use std::fmt;

/// One message of a recording, as it came from the venue (sent messages are not part of it).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedMessage {
    /// Receive time where the recorder kept it.
    pub at: Option<WallNs>,
    /// Verbatim text of the websocket message.
    pub text: Box<[u8]>,
}

/// Why messages are no recording that can be played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaptureError {
    /// No `subscribed` event of a trading symbol among the messages.
    NoChannels,
    /// No array message on a known channel.
    NoFrames,
    /// Neither receive times nor trades: the clock would be unknown.
    NoClock,
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CaptureError::NoChannels => {
                "the recording has no 'subscribed' event of a trading symbol (expected raw \
                 Bitfinex v2 messages)"
            }
            CaptureError::NoFrames => "the recording has no array message on a subscribed channel",
            CaptureError::NoClock => {
                "the recording has neither receive times nor trades, so its clock is unknown"
            }
        })
    }
}
impl std::error::Error for CaptureError {}

/// Plays messages back.
pub struct CaptureSource {
    messages: Vec<RecordedMessage>,
    /// Time of each message, ns since the epoch, never falling.
    times: Vec<i64>,
    channels: Vec<RecordedChannel>,
    /// Recorded channel id → index in `channels`.
    by_id: BTreeMap<u64, usize>,
    /// Elements after the payload (sequence number, timestamp) that the recording's flags brought.
    trailing: usize,
    has_checksums: bool,
    next: usize,
}

/// Nanoseconds between messages where a recording tells nothing better.
const PACE_NS: i64 = 1_000_000;

impl CaptureSource {
    /// # Errors
    /// Where the messages hold nothing that can be played.
    pub fn new(messages: Vec<RecordedMessage>) -> Result<CaptureSource, CaptureError> {
        let mut source = CaptureSource {
            messages,
            times: Vec::new(),
            channels: Vec::new(),
            by_id: BTreeMap::new(),
            trailing: 0,
            has_checksums: false,
            next: 0,
        };
        for message in &source.messages {
            if message.text.first() != Some(&b'{') {
                continue;
            }
            let Some(event) = Json::parse(&message.text) else { continue };
            match event.get("event").and_then(Json::text) {
                Some("conf") if event.get("status").is_some() => {
                    let flags = event.get("flags").and_then(Json::unsigned).unwrap_or(0) as u32;
                    source.trailing = usize::from(flags & FLAG_SEQ != 0)
                        + usize::from(flags & FLAG_TIMESTAMP != 0);
                }
                Some("subscribed") => {
                    let id = event.get("chanId").and_then(Json::unsigned);
                    if let (Some(id), Some(channel)) = (id, read_channel(&event)) {
                        let known = source.channels.iter().position(|other| *other == channel);
                        let index = known.unwrap_or(source.channels.len());
                        if known.is_none() {
                            source.channels.push(channel);
                        }
                        source.by_id.insert(id, index);
                    }
                }
                _ => {}
            }
        }
        if source.channels.is_empty() {
            return Err(CaptureError::NoChannels);
        }
        source.times = source.find_times()?;
        Ok(source)
    }
    /// Messages, events among them.
    pub fn len(&self) -> usize {
        self.messages.len()
    }
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }
    /// Array frames on channels that are served: what a client that subscribes to all of them will
    /// get.
    pub fn frame_count(&self) -> usize {
        self.messages.iter().filter(|message| self.split(&message.text).is_some()).count()
    }
    fn find_times(&mut self) -> Result<Vec<i64>, CaptureError> {
        // Known points: (message index, ns).
        let mut points: Vec<(usize, i64)> = Vec::new();
        let mut frames = 0usize;
        let mut floor = i64::MIN;
        let mut snapshot_at: Option<i64> = None;
        for (index, message) in self.messages.iter().enumerate() {
            let Some((_, body)) = self.split(&message.text) else { continue };
            frames += 1;
            self.has_checksums |= body.starts_with(b"\"cs\"");
            let traded = body.strip_prefix(b"\"te\",[").and_then(second_number);
            if points.is_empty() && snapshot_at.is_none() && body.starts_with(b"[[") {
                // Newest row of a trade snapshot: the recording cannot have started before it.
                snapshot_at = second_number(&body[2..]).filter(|ms| *ms > 1_000_000_000_000);
            }
            let known = message.at.map(|at| at.0).or(traded.map(|ms| ms * 1_000_000));
            if let Some(at) = known {
                floor = floor.max(at);
                points.push((index, floor));
            }
        }
        if frames == 0 {
            return Err(CaptureError::NoFrames);
        }
        let (Some(first), Some(last)) = (points.first().copied(), points.last().copied()) else {
            return Err(CaptureError::NoClock);
        };
        let steps = (last.0 - first.0) as i64;
        let pace = if steps > 0 { ((last.1 - first.1) / steps).max(1) } else { PACE_NS };
        let mut times = vec![0i64; self.messages.len()];
        let start = first.1 - pace * first.0 as i64;
        let start = snapshot_at.map_or(start, |ms| start.max(ms * 1_000_000).min(first.1));
        let mut from = (0usize, start);
        for point in points.iter().chain([&(self.messages.len(), 0)]) {
            let is_end = point.0 == self.messages.len();
            let span = (point.0 - from.0) as i64;
            let step = match (is_end, span) {
                (true, _) => pace,
                (false, 0) => 0,
                (false, span) => (point.1 - from.1) / span,
            };
            for (offset, time) in times[from.0..point.0].iter_mut().enumerate() {
                *time = from.1 + step * offset as i64;
            }
            from = *point;
        }
        Ok(times)
    }
    /// Channel and payload of an array frame; `None` for events and unknown channels.
    fn split<'a>(&self, text: &'a [u8]) -> Option<(usize, &'a [u8])> {
        let inner = text.trim_ascii().strip_prefix(b"[")?.strip_suffix(b"]")?;
        let comma = inner.iter().position(|byte| *byte == b',')?;
        let channel = *self.by_id.get(&read_u64(inner[..comma].trim_ascii())?)?;
        let mut body = &inner[comma + 1..];
        for _ in 0..self.trailing {
            let cut = body.iter().rposition(|byte| *byte == b',')?;
            body = &body[..cut];
        }
        Some((channel, body))
    }
}

/// Second number of a row such as `310628134,1542045968922,…`, as milliseconds.
fn second_number(row: &[u8]) -> Option<i64> {
    let mut fields = row.split(|byte| matches!(byte, b',' | b']'));
    fields.next()?;
    read_u64(fields.next()?).map(|ms| ms as i64)
}

/// What a `subscribed` event says, for trading symbols and channels that can be played.
pub(super) fn read_channel(event: &Json<'_>) -> Option<RecordedChannel> {
    let text = |key: &str| event.get(key).and_then(Json::text);
    let symbol_of = |name: &str| Instrument::split_name(name).map(|_| name.to_owned());
    let (symbol, key) = match text("channel")? {
        "book" => {
            let digits = digits_of(text("prec")?)?;
            let len = event.get("len").and_then(Json::unsigned).unwrap_or(25) as u16;
            let slow = text("freq") == Some("F1");
            (symbol_of(text("symbol")?)?, FeedKey::Book { symbol: 0, digits, slow, len })
        }
        "trades" => (symbol_of(text("symbol")?)?, FeedKey::Trades { symbol: 0 }),
        "ticker" => (symbol_of(text("symbol")?)?, FeedKey::Ticker { symbol: 0 }),
        "candles" => {
            let mut parts = text("key")?.splitn(3, ':');
            parts.next().filter(|kind| *kind == "trade")?;
            let frame = frame_of(parts.next()?)? as u16;
            (symbol_of(parts.next()?)?, FeedKey::Candles { symbol: 0, frame })
        }
        _ => return None,
    };
    Some(RecordedChannel { symbol, key })
}

/// Significant digits of a precision `P0` … `P4`.
pub(in crate::exchange) fn digits_of(prec: &str) -> Option<u32> {
    ["P4", "P3", "P2", "P1", "P0"].iter().position(|name| *name == prec).map(|at| at as u32 + 1)
}

impl MarketSource for CaptureSource {
    fn symbols(&self) -> Vec<String> {
        symbols_of(&self.channels)
    }
    fn is_recording(&self) -> bool {
        true
    }
    fn channels(&self) -> &[RecordedChannel] {
        &self.channels
    }
    fn has_checksums(&self) -> bool {
        self.has_checksums
    }
    fn history(&self, _symbol: &str) -> Vec<Candle> {
        Vec::new()
    }
    fn next_at(&self) -> Option<WallNs> {
        self.times.get(self.next).copied().map(WallNs)
    }
    fn step(&mut self, floor: &mut dyn Floor) {
        let Some(message) = self.messages.get(self.next) else { return };
        self.next += 1;
        match self.split(&message.text) {
            Some((channel, body)) => floor.recorded(channel, body),
            None if message.text.first() == Some(&b'{') => {}
            None => floor.recorded_unknown(),
        }
    }
    fn is_finished(&self) -> bool {
        self.next >= self.messages.len()
    }
    fn state(&self) -> SourceState {
        SourceState { position: self.next as u64, numbers: Vec::new() }
    }
    fn resume(&mut self, _state: &SourceState, _now: WallNs) {}
}

#[cfg(test)]
pub(in crate::exchange) fn messages_of(text: &str) -> Vec<RecordedMessage> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(|line| RecordedMessage { at: None, text: line.as_bytes().into() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBSCRIBED: &str = r#"{"event":"subscribed","channel":"trades","chanId":5,"symbol":"tBTCUSD","pair":"BTCUSD"}"#;

    #[test]
    fn times_are_interpolated_between_trades_and_never_fall() {
        let text = format!(
            "{SUBSCRIBED}\n[5,[[1,1600000000500,1,6443.1]]]\n[5,\"te\",[2,1600000001000,1,1]]\n[5,\"hb\"]\n[5,\"hb\"]\n[5,\"hb\"]\n[5,\"te\",[3,1600000002000,1,1]]\n[5,\"te\",[4,1600000001990,1,1]]\n[5,\"hb\"]"
        );
        let source = CaptureSource::new(messages_of(&text)).unwrap();
        let ms: Vec<i64> = source.times.iter().map(|ns| ns / 1_000_000).collect();
        assert_eq!(
            ms[2..8],
            [
                1_600_000_001_000,
                1_600_000_001_250,
                1_600_000_001_500,
                1_600_000_001_750,
                1_600_000_002_000,
                1_600_000_002_000
            ]
        );
        assert!(ms.is_sorted());
        assert!(ms[0] >= 1_600_000_000_500);
        assert_eq!(source.frame_count(), 8);
    }

    #[test]
    fn trailing_elements_are_cut_by_the_recordings_flags() {
        let text = format!(
            "{{\"event\":\"conf\",\"status\":\"OK\",\"flags\":98304}}\n{SUBSCRIBED}\n[5,\"te\",[2,1600000001000,1,1],17,1600000001001]\n[5,\"hb\",18,1600000001002]"
        );
        let source = CaptureSource::new(messages_of(&text)).unwrap();
        assert_eq!(source.trailing, 2);
        assert_eq!(
            source.split(&source.messages[2].text).unwrap().1,
            b"\"te\",[2,1600000001000,1,1]"
        );
        assert_eq!(source.split(&source.messages[3].text).unwrap().1, b"\"hb\"");
    }

    #[test]
    fn what_is_no_recording_is_said_to_be_none() {
        let new = |text: &str| CaptureSource::new(messages_of(text)).err();
        assert_eq!(new(""), Some(CaptureError::NoChannels));
        assert_eq!(new("garbage\n[1,2]"), Some(CaptureError::NoChannels));
        assert_eq!(new(SUBSCRIBED), Some(CaptureError::NoFrames));
        assert_eq!(new(&format!("{SUBSCRIBED}\n[5,\"hb\"]")), Some(CaptureError::NoClock));
        let funding = SUBSCRIBED.replace("tBTCUSD", "fUST");
        assert_eq!(new(&funding), Some(CaptureError::NoChannels));
    }
}
