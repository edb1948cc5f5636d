//! Writer of recordings: messages of both directions with their times, gzip, without secrets. What
//! it writes, `io::capture` reads.
//!
//! A line is `{"ts":seconds,"tsc":ticks,"dir":"recv"|"send"|"open"|"odd","msg":message}`; the
//! message stands as it came. The file grows by whole gzip members, one a second or a quarter of a
//! megabyte, so that a `kill -9` costs at most the last of them, and parts of one recording can be
//! joined by `cat`.

use crate::base::time::WallNs;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Text gathered for one member, bytes.
const MEMBER_SIZE: usize = 256 * 1024;
/// Members whose secrets would let somebody else act; what stands instead of them.
const SECRETS: [&str; 6] = ["apiKey", "authSig", "authPayload", "authNonce", "token", "apiSecret"];
const REDACTED: &[u8] = b"\"(redacted)\"";

/// Which way a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A connection was opened; the message names the address.
    Open,
    Sent,
    Received,
}

/// One file of a recording.
pub struct CaptureWriter {
    path: PathBuf,
    file: File,
    /// Lines of the member to come.
    pending: Vec<u8>,
    /// When its first line was written.
    pending_since: Option<WallNs>,
    line_count: u64,
    /// Bytes of the file.
    size: u64,
}

impl CaptureWriter {
    /// Makes the file; one that is there already is not touched.
    ///
    /// # Errors
    /// What the system says.
    pub fn create(path: &Path) -> io::Result<CaptureWriter> {
        let file = File::options().write(true).create_new(true).open(path)?;
        Ok(CaptureWriter {
            path: path.to_owned(),
            file,
            pending: Vec::with_capacity(MEMBER_SIZE + 64 * 1024),
            pending_since: None,
            line_count: 0,
            size: 0,
        })
    }
    pub fn path(&self) -> &Path {
        &self.path
    }
    pub fn line_count(&self) -> u64 {
        self.line_count
    }
    /// Bytes written to the file so far.
    pub fn size(&self) -> u64 {
        self.size
    }
    /// Adds a message.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn line(&mut self, at: WallNs, ticks: u64, way: Way, text: &[u8]) -> io::Result<()> {
        let (seconds, rest) = (at.0.div_euclid(1_000_000_000), at.0.rem_euclid(1_000_000_000));
        let text = without_secrets(text);
        // What is not JSON cannot stand in a line of JSON.
        let is_json = text.first().is_some_and(|byte| matches!(byte, b'[' | b'{'))
            && sonic_rs::from_slice::<sonic_rs::LazyValue<'_>>(&text).is_ok();
        let dir = match way {
            _ if !is_json => "odd",
            Way::Open => "open",
            Way::Sent => "send",
            Way::Received => "recv",
        };
        // Ten nanoseconds are what the reader's fixed point holds.
        write!(
            self.pending,
            "{{\"ts\":{seconds}.{:08},\"tsc\":{ticks},\"dir\":\"{dir}\",\"msg\":",
            rest / 10
        )?;
        if is_json {
            // A line break between the elements of a message would end the line.
            let clean = text.iter().map(|&byte| if byte < b' ' { b' ' } else { byte });
            self.pending.extend(clean);
        } else {
            let words = String::from_utf8_lossy(&text);
            self.pending.extend(sonic_rs::to_vec(&words).unwrap_or_default());
        }
        self.pending.extend_from_slice(b"}\n");
        self.line_count += 1;
        self.pending_since.get_or_insert(at);
        if self.pending.len() >= MEMBER_SIZE { self.seal() } else { Ok(()) }
    }
    /// Seals a member that is a second old.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn on_time(&mut self, now: WallNs) -> io::Result<()> {
        match self.pending_since {
            Some(since) if (now - since).as_ms() >= 1_000 => self.seal(),
            _ => Ok(()),
        }
    }
    /// Writes what waits as one member.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn seal(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let mut encoder = GzEncoder::new(Vec::with_capacity(64 * 1024), Compression::fast());
        encoder.write_all(&self.pending)?;
        let member = encoder.finish()?;
        self.file.write_all(&member)?;
        self.size += member.len() as u64;
        self.pending.clear();
        self.pending_since = None;
        Ok(())
    }
}

/// The message with what would let somebody else act taken out, and every other byte as it was.
/// Only objects hold such members; array frames, the mass of them, are passed on as they are.
pub fn without_secrets(text: &[u8]) -> Cow<'_, [u8]> {
    let text = text.trim_ascii();
    if text.first() != Some(&b'{') {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::new();
    let (mut kept, mut at) = (0, 0);
    while at < text.len() {
        if text[at] != b'"' {
            at += 1;
            continue;
        }
        let end = end_of_string(text, at);
        let name = text.get(at + 1..end - 1).unwrap_or_default();
        let colon = skip_spaces(text, end);
        let is_key = text.get(colon) == Some(&b':');
        at = end;
        if is_key && SECRETS.iter().any(|secret| name.eq_ignore_ascii_case(secret.as_bytes())) {
            let from = skip_spaces(text, colon + 1);
            at = end_of_value(text, from);
            out.extend_from_slice(&text[kept..from.min(text.len())]);
            out.extend_from_slice(REDACTED);
            kept = at;
        }
    }
    if kept == 0 {
        return Cow::Borrowed(text);
    }
    out.extend_from_slice(&text[kept..]);
    Cow::Owned(out)
}

fn skip_spaces(text: &[u8], from: usize) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    from + rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}
/// Behind the closing quote of the string that begins at `from`, or the end of the text.
fn end_of_string(text: &[u8], from: usize) -> usize {
    let mut at = from + 1;
    while at < text.len() && text[at] != b'"' {
        at += 1 + usize::from(text[at] == b'\\');
    }
    (at + 1).min(text.len())
}
/// Behind the value that begins at `from`.
fn end_of_value(text: &[u8], from: usize) -> usize {
    let (mut at, mut depth) = (from, 0u32);
    while at < text.len() {
        match text[at] {
            b'"' => at = end_of_string(text, at) - 1,
            b'[' | b'{' => depth += 1,
            b',' | b']' | b'}' if depth == 0 => return at,
            b']' | b'}' => depth -= 1,
            _ => {}
        }
        at += 1;
        // A string, list or object ends with its own last byte; a number with what follows it.
        if depth == 0 && matches!(text[at - 1], b'"' | b']' | b'}') {
            return at;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::capture::read_capture;

    struct Temp(PathBuf);
    impl Temp {
        fn new(name: &str) -> Temp {
            let name = format!("genesis-writer-{}-{name}.gz", std::process::id());
            let path = std::env::temp_dir().join(name);
            let _ = std::fs::remove_file(&path);
            Temp(path)
        }
    }
    impl Drop for Temp {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }
    const AT: WallNs = WallNs(1_617_643_606_805_714_120);

    #[test]
    fn what_is_written_is_read_back_with_its_times() {
        let temp = Temp::new("back");
        let mut writer = CaptureWriter::create(&temp.0).unwrap();
        let messages = ["{\"event\":\"info\"}", "[5,[1, 7e-7,-0.50],9]", "[5,\"hb\",10]"];
        writer.line(AT, 7, Way::Sent, b"{\"event\":\"conf\"}").unwrap();
        for (index, message) in messages.into_iter().enumerate() {
            let at = WallNs(AT.0 + index as i64 * 1_000_000_000);
            writer.line(at, 8, Way::Received, message.as_bytes()).unwrap();
            writer.on_time(at).unwrap();
        }
        writer.line(AT, 9, Way::Received, b"no json").unwrap();
        writer.seal().unwrap();
        let capture = read_capture(&temp.0).unwrap();
        let texts = capture.messages.iter().map(|message| &*message.text);
        assert!(texts.eq(messages.map(str::as_bytes)), "{capture:?}");
        assert_eq!(capture.messages[0].at, Some(AT));
        assert_eq!((capture.line_count, writer.line_count()), (5, 5));
        assert_eq!(writer.size(), std::fs::metadata(&temp.0).unwrap().len());
    }

    #[test]
    fn a_file_cut_behind_a_member_is_whole() {
        let temp = Temp::new("cut");
        let mut writer = CaptureWriter::create(&temp.0).unwrap();
        writer.line(AT, 1, Way::Received, b"[1,\"hb\"]").unwrap();
        writer.seal().unwrap();
        // As after a `kill -9`: what was not sealed is not there, and nothing is torn.
        writer.line(AT, 1, Way::Received, b"[2,\"hb\"]").unwrap();
        assert_eq!(read_capture(&temp.0).unwrap().messages.len(), 1);
        assert!(CaptureWriter::create(&temp.0).is_err(), "an old recording is never overwritten");
    }

    #[test]
    fn secrets_are_taken_out_and_nothing_else_is_changed() {
        for (text, expected) in [
            ("[0,\"on\",null,{\"token\":1}]", "[0,\"on\",null,{\"token\":1}]"),
            (
                "{\"event\":\"subscribe\",\"len\":\"25\"}",
                "{\"event\":\"subscribe\",\"len\":\"25\"}",
            ),
            ("  {\"a\":1}\n", "{\"a\":1}"),
            (
                "{\"event\":\"auth\",\"apiKey\":\"k\",\"authSig\":\"s\",\"authNonce\":5,\"calc\":1}",
                "{\"event\":\"auth\",\"apiKey\":\"(redacted)\",\"authSig\":\"(redacted)\",\
                 \"authNonce\":\"(redacted)\",\"calc\":1}",
            ),
            ("{\"a\":[{\"TOKEN\":\"x\"}]}", "{\"a\":[{\"TOKEN\":\"(redacted)\"}]}"),
            (
                "{\"token\" : {\"x\":[\"}\",1]} , \"b\":\"token\",\"authNonce\":-12.5}",
                "{\"token\" : \"(redacted)\" , \"b\":\"token\",\"authNonce\":\"(redacted)\"}",
            ),
            ("{\"authSig\":\"a\\\"b\"}", "{\"authSig\":\"(redacted)\"}"),
            // Cut off: nothing of the secret is left either.
            ("{\"apiKey\":\"se", "{\"apiKey\":\"(redacted)\""),
            ("{\"apiKey\":", "{\"apiKey\":\"(redacted)\""),
            ("{\"apiKey", "{\"apiKey"),
        ] {
            let got = without_secrets(text.as_bytes());
            assert_eq!(String::from_utf8_lossy(&got), expected);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic() {
        let mut rng = crate::base::rng::Rng::new(5);
        let seed = b"{\"a\":1,\"apiKey\":\"k\",\"token\":{\"x\":[1,2]},\"b\":\"c\"}";
        for _ in 0..20_000 {
            let mut bytes = seed.to_vec();
            for _ in 0..rng.below(6) {
                let at = rng.below(bytes.len() as u64) as usize;
                match rng.below(3) {
                    _ if bytes.len() == 1 => break,
                    0 => bytes[at] = b"\"{}[]:,\\ a"[rng.below(10) as usize],
                    1 => drop(bytes.remove(at)),
                    _ => bytes.truncate(at + 1),
                }
            }
            let _ = without_secrets(&bytes);
        }
    }
}
