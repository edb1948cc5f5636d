//! Channels of one socket: their states, how they are found by the server's number, which trades
//! they told.

use super::Subscription;
use crate::base::ids::SymbolId;
use crate::base::time::MonoNs;
use crate::model::SyncState;

/// Where a channel stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelState {
    /// To be asked for.
    Wanted,
    /// Asked for.
    Subscribing,
    /// Acknowledged.
    Live,
    /// To be left, then asked for again.
    UnsubscribeDue,
    /// Leaving was asked for.
    Unsubscribing,
    /// The venue said no.
    Refused,
    /// Out of budget: not trusted until a time-out passes.
    Parked,
}

/// Resyncs whose times are remembered.
pub const RESYNCS_MAX: usize = 8;

/// One channel.
#[derive(Clone, Copy, Debug)]
pub struct Channel {
    pub subscription: Subscription,
    pub state: ChannelState,
    /// The server's number; 0 = none.
    pub chan_id: u32,
    /// What we called the last request.
    pub sub_id: u32,
    /// Index of the book or of the trade ids.
    pub(super) slot: u16,
    /// Index of the symbol's state.
    pub(super) symbol_at: u16,
    /// The symbol's first book channel.
    pub primary: bool,
    /// The first data frame is here.
    pub has_snapshot: bool,
    pub crossed: bool,
    pub quiet: bool,
    /// When it was asked for again because its data stayed away, and no snapshot came since; 0 =
    /// not.
    pub(super) hushed_at: MonoNs,
    /// Checksum of its book at that time.
    pub(super) hushed_sum: i32,
    pub(super) attempts: u8,
    pub(super) exhausted: bool,
    pub(super) resync_count: u8,
    pub(super) resyncs: [MonoNs; RESYNCS_MAX],
    /// When the present state has lasted too long, or may be left.
    pub(super) deadline: MonoNs,
    pub(super) crossed_at: MonoNs,
    /// Last heartbeat or data.
    pub alive_at: MonoNs,
    /// Last data; 0 = none on this socket.
    pub data_at: MonoNs,
    /// Longest gap since the last look at deadlines.
    pub gap_max_ns: u64,
    /// Longest gap that is usual; fades in about a quarter of an hour.
    pub(super) usual_ns: u64,
    pub data_frames: u64,
}

impl Channel {
    pub(super) fn new(subscription: Subscription) -> Self {
        Self {
            subscription,
            state: ChannelState::Wanted,
            chan_id: 0,
            sub_id: 0,
            slot: 0,
            symbol_at: 0,
            primary: false,
            has_snapshot: false,
            crossed: false,
            quiet: false,
            hushed_at: MonoNs(0),
            hushed_sum: 0,
            attempts: 0,
            exhausted: false,
            resync_count: 0,
            resyncs: [MonoNs(0); RESYNCS_MAX],
            deadline: MonoNs(0),
            crossed_at: MonoNs(0),
            alive_at: MonoNs(0),
            data_at: MonoNs(0),
            gap_max_ns: 0,
            usual_ns: 0,
            data_frames: 0,
        }
    }
    /// Back to the start, for a new socket or a new subscription; budgets stay.
    pub(super) fn restart(&mut self) {
        self.state = ChannelState::Wanted;
        self.chan_id = 0;
        self.has_snapshot = false;
        self.crossed = false;
        self.deadline = MonoNs(0);
        self.data_at = MonoNs(0);
    }
    /// True where one more resync within the window is still in the budget; it is noted then.
    pub(super) fn spend_resync(&mut self, now: MonoNs, window_ns: u64, budget: u8) -> bool {
        let count = self.resync_count as usize;
        let mut kept = 0;
        for at in 0..count {
            if (now - self.resyncs[at]).0 < window_ns as i64 {
                self.resyncs[kept] = self.resyncs[at];
                kept += 1;
            }
        }
        let allowed = kept < budget as usize && kept < RESYNCS_MAX;
        if allowed {
            self.resyncs[kept] = now;
            kept += 1;
            // The first one for a while: an earlier exhaustion is history.
            self.exhausted &= kept > 1;
        }
        self.resync_count = kept as u8;
        allowed
    }
}

/// Sync of one symbol on this socket.
#[derive(Clone, Copy, Debug)]
pub struct SymbolState {
    pub symbol: SymbolId,
    pub synced: bool,
    pub reason: SyncState,
    /// Since when it is out of sync.
    pub since: MonoNs,
    /// Total time out of sync, ns, without a present spell.
    pub out_of_sync_ns: u64,
}

/// What a channel number stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Index of the channel.
    Own(usize),
    /// Subscribed on this socket, but not by us.
    Foreign,
    Unknown,
}

const SLOTS: usize = 256;
const FOREIGN: u8 = 255;
/// Foreign channels remembered; more are unknown.
pub const FOREIGN_MAX: usize = 64;
/// Channels of one session, at most: more than the venue ever accepted on one socket.
pub const CHANNELS_MAX: usize = 64;
const _: () = assert!((FOREIGN_MAX + CHANNELS_MAX) * 2 <= SLOTS);
const _: () = assert!(CHANNELS_MAX < FOREIGN as usize);

/// Channel number → channel, open addressing. Rebuilt on every change, which is rare.
pub struct ChannelMap {
    keys: [u32; SLOTS],
    values: [u8; SLOTS],
}

impl ChannelMap {
    #[allow(clippy::new_without_default)] // a table is asked for, not defaulted
    pub const fn new() -> Self {
        Self { keys: [0; SLOTS], values: [0; SLOTS] }
    }
    #[inline(always)]
    fn slot(key: u32) -> usize {
        (key.wrapping_mul(0x9E37_79B1) >> 24) as usize
    }
    #[inline(always)]
    pub fn find(&self, chan_id: u64) -> Found {
        let Ok(key) = u32::try_from(chan_id) else { return Found::Unknown };
        if key == 0 {
            return Found::Unknown;
        }
        let mut at = Self::slot(key);
        loop {
            let known = self.keys[at];
            if known == key {
                let value = self.values[at];
                return if value == FOREIGN { Found::Foreign } else { Found::Own(value as usize) };
            }
            if known == 0 {
                return Found::Unknown;
            }
            at = (at + 1) % SLOTS;
        }
    }
    pub(super) fn rebuild(&mut self, channels: &[Channel], foreign: &[u32]) {
        self.keys = [0; SLOTS];
        for (index, channel) in channels.iter().enumerate().take(CHANNELS_MAX) {
            self.insert(channel.chan_id, index as u8);
        }
        for &chan_id in foreign.iter().take(FOREIGN_MAX) {
            self.insert(chan_id, FOREIGN);
        }
    }
    fn insert(&mut self, key: u32, value: u8) {
        if key == 0 {
            return;
        }
        let mut at = Self::slot(key);
        while self.keys[at] != 0 && self.keys[at] != key {
            at = (at + 1) % SLOTS;
        }
        self.keys[at] = key;
        self.values[at] = value;
    }
}

/// Trades remembered to tell each once.
const TRADE_IDS: usize = 256;

/// The last trade ids of one channel.
pub struct TradeIds {
    ids: [u64; TRADE_IDS],
    next: usize,
    max: u64,
}

impl TradeIds {
    #[allow(clippy::new_without_default)] // as above
    pub const fn new() -> Self {
        Self { ids: [0; TRADE_IDS], next: 0, max: 0 }
    }
    /// True, and remembered, where the id is new. Ids mostly ascend, so the look back is rare for
    /// `te`; a
    /// `tu` is found among the newest.
    #[inline]
    pub fn is_new(&mut self, id: u64) -> bool {
        if id > self.max {
            self.max = id;
        } else {
            let (newer, older) = self.ids.split_at(self.next);
            if newer.iter().rev().chain(older.iter().rev()).any(|known| *known == id) {
                return false;
            }
        }
        self.ids[self.next] = id;
        self.next = (self.next + 1) % TRADE_IDS;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    #[test]
    fn numbers_find_their_channels() {
        let mut rng = Rng::new(1);
        let mut channels = vec![Channel::new(Subscription::trades(SymbolId(0))); CHANNELS_MAX];
        for channel in channels.iter_mut() {
            channel.chan_id = 1 + rng.below(1 << 20) as u32;
        }
        channels[7].chan_id = 0;
        let foreign: Vec<u32> = (0..FOREIGN_MAX as u32).map(|n| (1 << 21) + n * 256).collect();
        let mut map = ChannelMap::new();
        map.rebuild(&channels, &foreign);
        for channel in &channels {
            match map.find(channel.chan_id as u64) {
                Found::Own(index) => assert_eq!(channels[index].chan_id, channel.chan_id),
                other => assert_eq!((channel.chan_id, other), (0, Found::Unknown)),
            }
        }
        for chan_id in foreign {
            assert_eq!(map.find(chan_id as u64), Found::Foreign);
        }
        for unknown in [0, 1 << 22, u64::MAX, u32::MAX as u64 + 2] {
            assert_eq!(map.find(unknown), Found::Unknown);
        }
    }

    #[test]
    fn each_trade_is_new_once() {
        let mut ids = TradeIds::new();
        for id in [5, 7, 6, 9] {
            assert!(ids.is_new(id));
        }
        for id in [9, 6, 5, 7] {
            assert!(!ids.is_new(id));
        }
        for id in 100..400 {
            assert!(ids.is_new(id));
            assert!(!ids.is_new(id));
        }
    }

    #[test]
    fn the_resync_budget_is_per_window() {
        let mut channel = Channel::new(Subscription::trades(SymbolId(0)));
        for (at, expected) in [(10, true), (20, true), (30, false), (105, false), (110, true)] {
            assert_eq!(channel.spend_resync(MonoNs(at), 100, 2), expected, "{at}");
        }
    }
}
