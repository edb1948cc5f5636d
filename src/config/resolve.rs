//! Conversion points: from the operator's config to the small structs of the rooms that use it. The
//! one place where both are known.

use super::load::Config;
use super::market::{Frequency, Precision};
use super::reader::{KeyRow, Row};
use crate::model::{ChannelKind, Timeframe};

/// A channel that a recording holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedChannel {
    pub symbol: String,
    pub kind: ChannelKind,
    /// Books only.
    pub precision: Precision,
    /// Books only.
    pub frequency: Frequency,
    /// Levels a side, books only.
    pub length: u16,
    /// Candles only.
    pub timeframe: Option<Timeframe>,
}

/// One subscription of the run. `symbol` is an index into `Config::symbols`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelPlan {
    pub symbol: usize,
    pub kind: ChannelKind,
    pub precision: Precision,
    pub frequency: Frequency,
    pub length: u16,
    pub timeframe: Option<Timeframe>,
}

impl Config {
    /// Follows a recording: its symbols where the operator wrote none, and exactly its channels.
    /// Strategies nobody wrote are kept for the symbols that are left.
    pub fn follow_recording(&mut self, channels: Vec<RecordedChannel>) {
        if !self.is_given("symbols") {
            let mut symbols: Vec<String> = Vec::new();
            for channel in &channels {
                if !symbols.contains(&channel.symbol) {
                    symbols.push(channel.symbol.clone());
                }
            }
            self.symbols = symbols;
        }
        let symbols = &self.symbols;
        for strategy in &mut self.strategies {
            strategy.symbols.retain(|name| symbols.contains(name));
        }
        self.rewrite_rows();
        self.strategies.retain(|strategy| !strategy.symbols.is_empty());
        self.recorded = Some(channels);
    }

    /// Leaves out the symbols that `is_kept` does not keep, and the strategies of no other.
    pub fn keep_symbols(&mut self, is_kept: impl Fn(&str) -> bool) {
        self.symbols.retain(|name| is_kept(name));
        for strategy in &mut self.strategies {
            strategy.symbols.retain(|name| is_kept(name));
        }
        self.rewrite_rows();
        self.strategies.retain(|strategy| !strategy.symbols.is_empty());
    }

    /// Makes the rows say what `symbols` and `strategies` say, so that what `config show` prints,
    /// and a run keeps as its `config.toml`, gives the same run again. Before strategies are
    /// removed.
    fn rewrite_rows(&mut self) {
        let list = |names: &[String]| {
            let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
            format!("[{}]", quoted.join(", "))
        };
        let gone = |index: usize| self.strategies[index].symbols.is_empty();
        let mut kept = Vec::with_capacity(self.rows.len());
        let mut strategy = None;
        let mut next = 0;
        for mut row in self.rows.drain(..) {
            match &mut row {
                Row::Section { header, .. } => {
                    strategy = (header == "[[strategy]]").then_some(next);
                    next += usize::from(strategy.is_some());
                }
                Row::Key(key) => match (key.name, strategy) {
                    ("symbols", None) if key.path == "symbols" => key.value = list(&self.symbols),
                    ("symbols", Some(index)) => key.value = list(&self.strategies[index].symbols),
                    _ => {}
                },
            }
            if !strategy.is_some_and(gone) {
                kept.push(row);
            }
        }
        if self.strategies.iter().all(|strategy| strategy.symbols.is_empty()) {
            // Else the default strategies would come back when this is read again.
            let none = KeyRow {
                path: "strategy".to_owned(),
                name: "strategy",
                schema: "strategy".to_owned(),
                kind: "list",
                unit: "",
                range: String::new(),
                about: "",
                default: String::new(),
                value: "[]".to_owned(),
                given: false,
                example: false,
            };
            let at = kept.iter().position(|row| matches!(row, Row::Section { .. }));
            kept.insert(at.unwrap_or(kept.len()), Row::Key(none));
        }
        self.rows = kept;
    }

    /// Symbols of `symbols` that no strategy trades: they are only watched.
    pub fn watched_only(&self) -> Vec<&str> {
        let traded = |name: &str| {
            self.strategies.iter().any(|each| each.symbols.iter().any(|other| other == name))
        };
        self.symbols.iter().map(String::as_str).filter(|name| !traded(name)).collect()
    }

    /// Every subscription of the run, symbol by symbol, each symbol's book first.
    pub fn channel_plan(&self) -> Vec<ChannelPlan> {
        let channels = &self.channels;
        let plain = |symbol, kind| ChannelPlan {
            symbol,
            kind,
            precision: channels.book_precision,
            frequency: channels.book_frequency,
            length: channels.book_length,
            timeframe: None,
        };
        if let Some(recorded) = &self.recorded {
            let index = |name: &str| self.symbols.iter().position(|symbol| symbol == name);
            let plan = recorded.iter().filter_map(|each| {
                Some(ChannelPlan {
                    symbol: index(&each.symbol)?,
                    kind: each.kind,
                    precision: each.precision,
                    frequency: each.frequency,
                    length: each.length,
                    timeframe: each.timeframe,
                })
            });
            return plan.collect();
        }
        let mut plan = Vec::new();
        for symbol in 0..self.symbols.len() {
            let wanted = [
                (channels.book, ChannelKind::Book),
                (channels.trades, ChannelKind::Trades),
                (channels.ticker, ChannelKind::Ticker),
                (channels.raw_book, ChannelKind::RawBook),
                (channels.status && self.symbols[symbol].contains("F0:"), ChannelKind::Status),
            ];
            plan.extend(wanted.iter().filter(|(on, _)| *on).map(|(_, kind)| plain(symbol, *kind)));
            plan.extend(channels.candles.iter().map(|timeframe| ChannelPlan {
                timeframe: Some(*timeframe),
                ..plain(symbol, ChannelKind::Candles)
            }));
        }
        plan
    }

    /// `channel_plan` cut into sockets, all channels of a symbol on one socket where they fit.
    pub fn socket_plan(&self) -> Vec<Vec<ChannelPlan>> {
        let room = self.channels.per_socket;
        let plan = self.channel_plan();
        let mut sockets: Vec<Vec<ChannelPlan>> = Vec::new();
        for symbol in plan.chunk_by(|left, right| left.symbol == right.symbol) {
            for part in symbol.chunks(room) {
                match sockets.last_mut() {
                    Some(socket) if socket.len() + part.len() <= room => socket.extend(part),
                    _ => sockets.push(part.to_vec()),
                }
            }
        }
        sockets
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::load_text;

    fn recorded(symbol: &str, kind: ChannelKind) -> RecordedChannel {
        RecordedChannel {
            symbol: symbol.to_owned(),
            kind,
            precision: Precision::P0,
            frequency: Frequency::F0,
            length: 100,
            timeframe: None,
        }
    }

    #[test]
    fn a_recording_decides_symbols_and_channels_unless_symbols_are_written() {
        let channels =
            vec![recorded("tETHUSD", ChannelKind::Book), recorded("tLTCUSD", ChannelKind::Trades)];
        let mut config = Config::defaults();
        let hash = config.hash();
        config.follow_recording(channels.clone());
        assert_eq!(config.symbols, ["tETHUSD", "tLTCUSD"]);
        assert_eq!(config.strategies.len(), 1);
        assert_eq!(config.watched_only(), ["tLTCUSD"]);
        assert_eq!(config.channel_plan().len(), 2);
        assert_eq!(config.channel_plan()[0].length, 100);
        assert_ne!(config.hash(), hash);
        let again = load_text("t", &crate::config::values_text(&config), &[]).unwrap();
        assert_eq!((again.symbols, again.strategies), (config.symbols, config.strategies));

        let mut config = load_text("t", "symbols = [\"tLTCUSD\"]", &[]).unwrap();
        config.follow_recording(channels);
        assert_eq!(config.symbols, ["tLTCUSD"]);
        assert_eq!(config.channel_plan().len(), 1);

        // A strategy whose symbol the recording lacks goes, and no default one takes its place.
        let text = "[[strategy]]\nkind = \"probe\"\nsymbols = [\"tDOTUSD\"]\n";
        let mut config = load_text("t", text, &[]).unwrap();
        config.follow_recording(vec![recorded("tBTCUSD", ChannelKind::Book)]);
        let again = load_text("t", &crate::config::values_text(&config), &[]).unwrap();
        assert_eq!(again.symbols, ["tBTCUSD"]);
        assert!(config.strategies.is_empty() && again.strategies.is_empty());
    }

    #[test]
    fn sockets_hold_at_most_their_channels_and_keep_symbols_together() {
        let names: Vec<String> =
            (b'A'..=b'T').map(|c| format!("\"t{0}{0}{0}USD\"", c as char)).collect();
        let text = format!("symbols = [{}]", names.join(","));
        let config = load_text("t", &text, &[]).unwrap();
        let sockets = config.socket_plan();
        assert_eq!(sockets.iter().map(Vec::len).sum::<usize>(), 60);
        assert!(sockets.iter().all(|socket| socket.len() <= 25));
        assert_eq!(sockets.len(), 3);
        for (index, socket) in sockets.iter().enumerate() {
            for other in &sockets[index + 1..] {
                assert!(socket.iter().all(|a| other.iter().all(|b| a.symbol != b.symbol)));
            }
        }
    }
}
