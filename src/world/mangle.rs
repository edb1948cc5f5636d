//! What happens to single messages on their way from the exchange. The venue's sequence numbers are
//! written anew here, so that a message can be lost with its number (a gap) or before it got one (a
//! message that was never sent).

use super::faults::{Coverage, Faults, Kind};
use crate::base::rng::Rng;
use std::collections::BTreeMap;
use std::io::Write as _;

/// Longest lag of a wallet message, ns.
const WALLET_LATE_NS: u64 = 30_000_000_000;

/// What becomes of one message.
#[derive(Debug)]
pub enum Fate {
    /// Text to send now.
    Now(Vec<u8>),
    /// Content to be told so many ns later.
    Later(Held, u64),
}

/// A message that is held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    text: Vec<u8>,
    /// Its public number is given when it is told; an answer has none, and is told as it was.
    numbered: bool,
}

/// Message faults of one socket.
#[derive(Debug, Default)]
pub struct Mangler {
    seq: u64,
    is_private: bool,
    has_seq: bool,
    /// Channel number to its subscription.
    channels: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The last snapshot told on a subscription, whatever the connection.
    snapshots: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Start of the `count`-th comma from the end.
fn comma_from_end(text: &[u8], count: usize) -> Option<usize> {
    text.iter().enumerate().rev().filter(|(_, byte)| **byte == b',').nth(count - 1).map(|x| x.0)
}
/// Numbers behind the payload of an account's message, whose payload is an array.
fn numbers_behind(text: &[u8]) -> usize {
    let Some((_, inside)) = text.split_last() else { return 0 };
    inside.iter().rev().take_while(|byte| **byte != b']').filter(|byte| **byte == b',').count()
}
/// Counts a fault that happens now.
fn hit(coverage: &mut Coverage, ppm: u32, kind: Kind, rng: &mut Rng) -> bool {
    let hit = ppm > 0 && rng.chance(u64::from(ppm), 1_000_000);
    if hit {
        coverage.hit(kind);
    }
    hit
}
/// What keeps a message of the account back.
enum Wait {
    Lost,
    /// ns.
    For(u64),
}
fn held_for(faults: &Faults, rng: &mut Rng, coverage: &mut Coverage) -> Option<Wait> {
    if hit(coverage, faults.private_lost_ppm, Kind::PrivateLost, rng) {
        return Some(Wait::Lost);
    }
    if hit(coverage, faults.private_late_ppm, Kind::PrivateLate, rng) {
        let most = u64::from(faults.private_late_max_ms.max(1)) * 1_000_000;
        return Some(Wait::For(rng.below(most)));
    }
    if hit(coverage, faults.private_swap_ppm, Kind::PrivateSwapped, rng) {
        return Some(Wait::For(rng.below(300_000_000)));
    }
    None
}
/// Value of a member of a flat JSON object, as text.
fn member<'a>(text: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let at = text.windows(key.len()).position(|window| window == key)? + key.len();
    let rest = &text[at..];
    let end = rest.iter().position(|byte| matches!(byte, b',' | b'}'))?;
    Some(&rest[..end])
}

impl Mangler {
    pub fn new(is_private: bool, has_seq: bool) -> Mangler {
        Mangler { is_private, has_seq, ..Mangler::default() }
    }
    /// A new connection.
    pub fn restart(&mut self) {
        self.seq = 0;
        self.channels.clear();
    }

    /// One message; what becomes of it goes to `out`.
    pub fn pass(
        &mut self,
        text: &[u8],
        faults: &Faults,
        rng: &mut Rng,
        coverage: &mut Coverage,
        out: &mut Vec<Fate>,
    ) {
        if text.first() != Some(&b'[') {
            self.learn(text);
            out.push(Fate::Now(text.to_vec()));
            return;
        }
        if !self.has_seq {
            out.push(Fate::Now(text.to_vec()));
            return;
        }
        let is_beat = text.windows(4).take(24).any(|window| window == b"\"hb\"");
        let tail = if self.is_private && !is_beat { 3 } else { 2 };
        // Answers to requests carry no public number.
        if self.is_private && !is_beat && numbers_behind(text) < tail {
            self.answer(text, faults, rng, coverage, out);
            return;
        }
        let Some(end) = comma_from_end(text, tail) else {
            out.push(Fate::Now(text.to_vec()));
            return;
        };
        let (content, rest) = text.split_at(end);
        // What stands behind the sequence number: the account's own, and the time.
        let behind = rest[1..]
            .iter()
            .position(|byte| *byte == b',')
            .map_or(&rest[..0], |at| &rest[1 + at..]);
        if self.is_private {
            self.private(content, behind, is_beat, faults, rng, coverage, out);
        } else {
            self.public(content, behind, is_beat, faults, rng, coverage, out);
        }
    }

    fn learn(&mut self, text: &[u8]) {
        let subscribed = text.starts_with(b"{\"event\":\"subscribed\"");
        if let (true, Some(chan), Some(symbol), Some(channel)) = (
            subscribed,
            member(text, b"\"chanId\":"),
            member(text, b"\"symbol\":"),
            member(text, b"\"channel\":"),
        ) {
            self.channels.insert(chan.to_vec(), [channel, symbol].concat());
        }
    }
    fn tailed(&mut self, content: &[u8], behind: &[u8]) -> Vec<u8> {
        self.seq += 1;
        let mut text = Vec::with_capacity(content.len() + 48);
        text.extend_from_slice(content);
        let _ = write!(text, ",{}", self.seq);
        text.extend_from_slice(behind);
        text
    }
    /// A message that was held back, told at last.
    pub fn late(&mut self, held: &Held, now_ms: i64) -> Vec<u8> {
        if !held.numbered {
            return held.text.clone();
        }
        let behind = format!(",0,{now_ms}]");
        self.tailed(&held.text, behind.as_bytes())
    }
    /// The answer to a request: lost, late or twice, but never a gap.
    fn answer(
        &mut self,
        text: &[u8],
        faults: &Faults,
        rng: &mut Rng,
        coverage: &mut Coverage,
        out: &mut Vec<Fate>,
    ) {
        match held_for(faults, rng, coverage) {
            Some(Wait::Lost) => coverage.hit(Kind::AnswerLost),
            Some(Wait::For(wait)) => {
                coverage.hit(Kind::AnswerLate);
                out.push(Fate::Later(Held { text: text.to_vec(), numbered: false }, wait));
            }
            None => {
                out.push(Fate::Now(text.to_vec()));
                if hit(coverage, faults.private_twice_ppm, Kind::PrivateTwice, rng) {
                    out.push(Fate::Now(text.to_vec()));
                }
            }
        }
    }

    #[allow(clippy::too_many_arguments)] // the message in its parts, and what decides on it
    fn public(
        &mut self,
        content: &[u8],
        behind: &[u8],
        is_beat: bool,
        faults: &Faults,
        rng: &mut Rng,
        coverage: &mut Coverage,
        out: &mut Vec<Fate>,
    ) {
        let mut hit = |ppm: u32, kind: Kind, rng: &mut Rng| hit(coverage, ppm, kind, rng);
        let comma = content.iter().position(|byte| *byte == b',').unwrap_or(0);
        let (chan, body) = (&content[1..comma.max(1)], &content[(comma + 1).min(content.len())..]);
        let mut changed: Option<Vec<u8>> = None;
        if body.starts_with(b"[[") {
            let key = self.channels.get(chan).cloned().unwrap_or_default();
            let old = self.snapshots.get(&key).cloned();
            if let Some(old) = old
                && key.starts_with(b"\"book\"")
                && hit(faults.stale_snapshot_ppm, Kind::StaleSnapshot, rng)
            {
                changed = Some([b"[", chan, b",", &old[..]].concat());
            }
            self.snapshots.insert(key, body.to_vec());
        } else if body.starts_with(b"\"cs\"") {
            if hit(faults.bad_checksum_ppm, Kind::BadChecksum, rng) {
                let mut text = content.to_vec();
                if let Some(last) = text.last_mut().filter(|last| last.is_ascii_digit()) {
                    *last = b'0' + (*last - b'0' + 1) % 10;
                }
                changed = Some(text);
            }
        } else if body.starts_with(b"[") && hit(faults.public_corrupt_ppm, Kind::PublicCorrupt, rng)
        {
            let mut text = content.to_vec();
            let from = comma + 1;
            let digits: Vec<usize> =
                (from..text.len()).filter(|at| text[*at].is_ascii_digit()).collect();
            if !digits.is_empty() {
                let at = digits[rng.below(digits.len() as u64) as usize];
                text[at] = b'0' + (text[at] - b'0' + 1 + rng.below(8) as u8) % 10;
                changed = Some(text);
            }
        }
        if !is_beat && hit(faults.public_gap_ppm, Kind::PublicGap, rng) {
            self.seq += 1;
            return;
        }
        let text = self.tailed(changed.as_deref().unwrap_or(content), behind);
        if !is_beat && hit(faults.public_twice_ppm, Kind::PublicTwice, rng) {
            out.push(Fate::Now(text.clone()));
        }
        out.push(Fate::Now(text));
    }

    #[allow(clippy::too_many_arguments)] // as above
    fn private(
        &mut self,
        content: &[u8],
        behind: &[u8],
        is_beat: bool,
        faults: &Faults,
        rng: &mut Rng,
        coverage: &mut Coverage,
        out: &mut Vec<Fate>,
    ) {
        // The lists of a log-in are the session's foundation: they come whole or not at all.
        let is_list = [&b"[0,\"os\""[..], b"[0,\"ps\"", b"[0,\"ws\""]
            .iter()
            .any(|head| content.starts_with(head));
        if content.starts_with(b"[0,\"wu\"")
            && hit(coverage, faults.wallet_late_ppm, Kind::WalletLate, rng)
        {
            let wait = rng.below(WALLET_LATE_NS);
            out.push(Fate::Later(Held { text: content.to_vec(), numbered: true }, wait));
            return;
        }
        if !is_beat && !is_list {
            match held_for(faults, rng, coverage) {
                Some(Wait::Lost) => return,
                Some(Wait::For(wait)) => {
                    out.push(Fate::Later(Held { text: content.to_vec(), numbered: true }, wait));
                    return;
                }
                None => {}
            }
        }
        if !is_beat && hit(coverage, faults.private_gap_ppm, Kind::PrivateGap, rng) {
            self.seq += 1;
            return;
        }
        let text = self.tailed(content, behind);
        out.push(Fate::Now(text));
        let twice = faults.private_twice_ppm;
        if !is_beat && !is_list && hit(coverage, twice, Kind::PrivateTwice, rng) {
            let again = self.tailed(content, behind);
            out.push(Fate::Now(again));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(mangler: &mut Mangler, text: &str, faults: &Faults) -> Vec<String> {
        let mut out = Vec::new();
        let (mut rng, mut coverage) = (Rng::new(1), Coverage::default());
        mangler.pass(text.as_bytes(), faults, &mut rng, &mut coverage, &mut out);
        out.iter()
            .map(|fate| match fate {
                Fate::Now(text) => String::from_utf8(text.clone()).unwrap(),
                Fate::Later(held, _) => format!("later {}", String::from_utf8_lossy(&held.text)),
            })
            .collect()
    }

    #[test]
    fn without_faults_every_message_passes_as_it_was() {
        let none = Faults::none();
        let mut public = Mangler::new(false, true);
        for text in ["{\"event\":\"info\"}", "[17,[1,2,-3],1,1000]", "[17,\"hb\",2,1000]"] {
            assert_eq!(pass(&mut public, text, &none), [text]);
        }
        let mut private = Mangler::new(true, true);
        for text in ["[0,\"os\",[],1,0,1000]", "[0,\"hb\",2,1000]", "[0,\"on\",[1,2],3,1,1000]"] {
            assert_eq!(pass(&mut private, text, &none), [text]);
        }
    }

    #[test]
    fn a_gap_takes_its_number_along_and_a_loss_does_not() {
        let gap = Faults { public_gap_ppm: 1_000_000, ..Faults::none() };
        let mut public = Mangler::new(false, true);
        assert!(pass(&mut public, "[17,[1,2,-3],1,1000]", &gap).is_empty());
        let next = pass(&mut public, "[17,[1,2,-3],2,1000]", &Faults::none());
        assert_eq!(next, ["[17,[1,2,-3],2,1000]"]);
        let lost = Faults { private_lost_ppm: 1_000_000, ..Faults::none() };
        let mut private = Mangler::new(true, true);
        assert!(pass(&mut private, "[0,\"on\",[1],1,1,1000]", &lost).is_empty());
        let next = pass(&mut private, "[0,\"on\",[1],2,2,1000]", &Faults::none());
        assert_eq!(next, ["[0,\"on\",[1],1,2,1000]"]);
        let late = Faults { private_late_ppm: 1_000_000, ..Faults::none() };
        assert_eq!(pass(&mut private, "[0,\"on\",[1],3,3,1000]", &late), ["later [0,\"on\",[1]"]);
        let held = Held { text: b"[0,\"on\",[1]".to_vec(), numbered: true };
        assert_eq!(private.late(&held, 5), b"[0,\"on\",[1],2,0,5]");
        // Answers have one number or none before the time, and keep what they have.
        for answer in ["[0,\"n\",[5,[7,null],\"OK\"],4,1000]", "[0,\"n\",[5,\"no.\"],1000]"] {
            assert_eq!(pass(&mut private, answer, &Faults::none()), [answer]);
            assert_eq!(pass(&mut private, answer, &late), [format!("later {answer}")]);
            let held = Held { text: answer.into(), numbered: false };
            assert_eq!(private.late(&held, 5), answer.as_bytes());
        }
        assert_eq!(
            pass(&mut private, "[0,\"on\",[1],2,2,9]", &Faults::none()),
            ["[0,\"on\",[1],3,2,9]"]
        );
    }
}
