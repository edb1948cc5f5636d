//! Where a market's life comes from: a seeded generator, a recording, or another venue's stream.

pub mod capture;
pub mod live;
pub mod synthetic;

use super::hub::FeedKey;
use super::tape::Candle;
use crate::base::time::WallNs;
use crate::base::units::Side;

/// What a recorded channel carries; its symbol index is filled in by the exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedChannel {
    pub symbol: String,
    /// Key with symbol index 0.
    pub key: FeedKey,
}

/// The symbols of recorded channels, each once, in their order.
fn symbols_of(channels: &[RecordedChannel]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for channel in channels {
        if !names.contains(&channel.symbol) {
            names.push(channel.symbol.clone());
        }
    }
    names
}

/// How far a source is, so that a restart can go on; opaque to the exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SourceState {
    /// Steps taken: a recording is run forward to here.
    pub position: u64,
    /// Whatever else the source wants to find again.
    pub numbers: Vec<i64>,
}

/// A source of market activity. It acts only inside `step`, in the order of its own times.
pub trait MarketSource: Send {
    /// Symbols it needs listed.
    fn symbols(&self) -> Vec<String>;
    /// True where books and trades are played back and our orders are ghosts.
    fn is_recording(&self) -> bool {
        false
    }
    /// True where steps happen when they come: at the time of whoever asks for them.
    fn is_live(&self) -> bool {
        false
    }
    /// Channels of a recording.
    fn channels(&self) -> &[RecordedChannel] {
        &[]
    }
    /// True where the recording brings checksums of its own.
    fn has_checksums(&self) -> bool {
        false
    }
    /// One-minute candles from before the start, oldest first.
    fn history(&self, symbol: &str) -> Vec<Candle>;
    /// Time of the next step; `None` at the end.
    fn next_at(&self) -> Option<WallNs>;
    /// Takes the next step.
    fn step(&mut self, floor: &mut dyn Floor);
    /// True at the end of a recording.
    fn is_finished(&self) -> bool {
        false
    }
    fn state(&self) -> SourceState;
    /// Goes on from a saved state at `now`. A recording is instead run forward by steps.
    fn resume(&mut self, state: &SourceState, now: WallNs);
}

/// What a source can do to the exchange.
pub trait Floor {
    /// Best price of the book, everybody's orders counted.
    fn best(&self, symbol: usize, side: Side) -> Option<i64>;
    /// Price levels of a side of a symbol's book, everybody's orders counted.
    fn depth(&self, symbol: usize, side: Side) -> usize;
    /// A limit order of the house; the id if (a part of) it rests.
    fn house_limit(&mut self, symbol: usize, side: Side, px: i64, qty: i64) -> Option<u64>;
    /// A market order of the house; returns what was executed.
    fn house_take(&mut self, symbol: usize, side: Side, qty: i64) -> i64;
    /// False where the order is gone already.
    fn house_cancel(&mut self, symbol: usize, id: u64) -> bool;
    /// An array frame of a recording, without channel id and trailing elements.
    fn recorded(&mut self, channel: usize, body: &[u8]);
    /// A line of a recording that makes no sense or belongs to no channel served.
    fn recorded_unknown(&mut self);
}
