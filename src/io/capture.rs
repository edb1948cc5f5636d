//! Reader of recordings: what a venue sent, message by message, from a file on disk.
//!
//! Two formats are known, told apart by the first line, each plain or gzip (told apart by the first
//! bytes):
//! - *verbatim*: one message a line, as it came over the websocket, without times;
//! - *stamped*: one `{"ts": seconds, "dir": "open|send|recv", "msg": message}` a line; only `recv`
//! is the venue's, the rest is left out.
//!
//! A recording is read whole at start, so that nothing touches the disk later, and every line is
//! checked to be JSON: a file that was cut off says so here, not as a strange market an hour later.

use crate::base::limits::MESSAGE_SIZE_MAX;
use crate::base::time::WallNs;
use crate::base::units::parse_decimal;
use flate2::bufread::MultiGzDecoder;
use serde::Deserialize;
use sonic_rs::LazyValue;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// Messages of one recording, at most: about 100 times the longest one at hand (917,363 lines).
pub const CAPTURE_MESSAGES_MAX: usize = 100_000_000;
/// Bytes read at once from the file.
const READ_SIZE: usize = 256 * 1024;
/// The two bytes that begin every gzip file.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// One message that the venue sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedMessage {
    /// When the recorder received it; `None` where the recording carries no times.
    pub at: Option<WallNs>,
    /// The message as it came, JSON text.
    pub text: Box<[u8]>,
}

/// How a recording is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaptureFormat {
    Verbatim,
    Stamped,
}

/// A recording in memory.
#[derive(Clone, Debug)]
pub struct Capture {
    pub format: CaptureFormat,
    /// What the venue sent, in order.
    pub messages: Vec<RecordedMessage>,
    /// Lines of the file, those included that are not messages of the venue.
    pub line_count: u64,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineProblem {
    /// Not JSON, and not the last line.
    NotJson,
    /// The last line of the file stops in the middle of a message.
    CutOff,
    /// Longer than `MESSAGE_SIZE_MAX` bytes.
    TooLong,
    /// JSON, but neither of the two formats.
    UnknownFormat,
    /// Another format than the lines before.
    OtherFormat,
}

/// Why a recording cannot be used.
#[derive(Debug)]
pub enum CaptureError {
    /// The file cannot be opened or read.
    Unreadable { path: PathBuf, cause: io::Error },
    /// The gzip stream is damaged or stops early, after that many whole lines.
    Gzip { path: PathBuf, line_count: u64, cause: io::Error },
    /// A line, counted from 1, cannot be used.
    Line { path: PathBuf, line: u64, problem: LineProblem },
    /// The file holds no message of the venue.
    Empty { path: PathBuf },
    /// The file holds more than `CAPTURE_MESSAGES_MAX` messages.
    TooMany { path: PathBuf },
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, cause } => write!(
                f,
                "recording {}: {cause}; expected a readable file with one message a line (plain or \
                 .gz): check the path after `capture:`",
                path.display()
            ),
            Self::Gzip { path, line_count, cause } => write!(
                f,
                "recording {}: the gzip data breaks off or is damaged after {line_count} whole \
                 lines ({cause}); expected a complete file: copy or download it again, `gzip -t` \
                 checks it",
                path.display()
            ),
            Self::Line { path, line, problem } => {
                write!(f, "recording {}, line {line}: ", path.display())?;
                f.write_str(match problem {
                    LineProblem::NotJson => {
                        "not a JSON message; expected one message a line: the file is damaged, or \
                         another kind of file"
                    }
                    LineProblem::CutOff => {
                        "the last message breaks off; expected a complete file: copy it again, or \
                         remove that line"
                    }
                    LineProblem::TooLong => {
                        "longer than 1 MiB; expected one message a line: the file is damaged, or \
                         another kind of file"
                    }
                    LineProblem::UnknownFormat => {
                        "unknown format; expected websocket messages as they came ([..] or \
                         {\"event\":..}) or {\"ts\":..,\"dir\":\"recv\",\"msg\":..}, one a line"
                    }
                    LineProblem::OtherFormat => {
                        "another format than the lines before; expected one format for the whole \
                         file: take the parts apart"
                    }
                })
            }
            Self::Empty { path } => write!(
                f,
                "recording {}: it holds no message; expected at least one line sent by the venue: \
                 check that this is the right file",
                path.display()
            ),
            Self::TooMany { path } => write!(
                f,
                "recording {}: more than {CAPTURE_MESSAGES_MAX} messages; expected fewer, it is \
                 held in memory: cut it into parts",
                path.display()
            ),
        }
    }
}

impl std::error::Error for CaptureError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { cause, .. } | Self::Gzip { cause, .. } => Some(cause),
            _ => None,
        }
    }
}

#[derive(Deserialize)]
struct StampedLine<'a> {
    #[serde(borrow)]
    ts: LazyValue<'a>,
    dir: &'a str,
    #[serde(borrow, default)]
    msg: Option<LazyValue<'a>>,
}

/// Reads a recording whole.
///
/// # Errors
/// [`CaptureError`]: what was wrong, what was expected, what to do.
pub fn read_capture(path: &Path) -> Result<Capture, CaptureError> {
    let unreadable = |cause| CaptureError::Unreadable { path: path.to_owned(), cause };
    let file = File::open(path).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.is_dir() {
        return Err(unreadable(io::Error::from(io::ErrorKind::IsADirectory)));
    }
    let mut file = BufReader::with_capacity(READ_SIZE, file);
    let gzip = file.fill_buf().map_err(unreadable)?.starts_with(&GZIP_MAGIC);
    if gzip {
        read_lines(path, BufReader::with_capacity(READ_SIZE, MultiGzDecoder::new(file)), true)
    } else {
        read_lines(path, file, false)
    }
}

fn read_lines(path: &Path, mut lines: impl BufRead, gzip: bool) -> Result<Capture, CaptureError> {
    let mut messages = Vec::new();
    let mut format = None;
    let mut line_count = 0u64;
    let mut line = Vec::with_capacity(4096);
    loop {
        line.clear();
        // One byte more than allowed, so that a line that is too long shows.
        let limit = MESSAGE_SIZE_MAX as u64 + 2;
        let size = match (&mut lines).take(limit).read_until(b'\n', &mut line) {
            Ok(size) => size,
            Err(cause) if gzip => {
                return Err(CaptureError::Gzip { path: path.to_owned(), line_count, cause });
            }
            Err(cause) => return Err(CaptureError::Unreadable { path: path.to_owned(), cause }),
        };
        if size == 0 {
            break;
        }
        line_count += 1;
        let whole = line.last() == Some(&b'\n');
        let text = line.trim_ascii();
        let wrong =
            |problem| CaptureError::Line { path: path.to_owned(), line: line_count, problem };
        if text.len() > MESSAGE_SIZE_MAX {
            return Err(wrong(LineProblem::TooLong));
        }
        if text.is_empty() {
            continue;
        }
        match read_line(text, &mut format) {
            Ok(None) => {}
            Ok(Some(message)) if messages.len() < CAPTURE_MESSAGES_MAX => messages.push(message),
            Ok(Some(_)) => return Err(CaptureError::TooMany { path: path.to_owned() }),
            Err(LineProblem::NotJson) if !whole && line_count > 1 => {
                return Err(wrong(LineProblem::CutOff));
            }
            // What does not even begin like a message is not a damaged recording but something
            // else.
            Err(LineProblem::NotJson) if line_count == 1 && !matches!(text[0], b'[' | b'{') => {
                return Err(wrong(LineProblem::UnknownFormat));
            }
            Err(problem) => return Err(wrong(problem)),
        }
    }
    messages.shrink_to_fit();
    match format {
        Some(format) if !messages.is_empty() => Ok(Capture { format, messages, line_count }),
        _ => Err(CaptureError::Empty { path: path.to_owned() }),
    }
}

/// One line; `None` where it is not a message of the venue.
fn read_line(
    text: &[u8],
    format: &mut Option<CaptureFormat>,
) -> Result<Option<RecordedMessage>, LineProblem> {
    let value: LazyValue<'_> = sonic_rs::from_slice(text).map_err(|_| LineProblem::NotJson)?;
    let stamped =
        if text[0] == b'{' { sonic_rs::from_slice::<StampedLine<'_>>(text).ok() } else { None };
    let found = match (&stamped, text[0]) {
        (Some(_), _) => CaptureFormat::Stamped,
        (None, b'[') => CaptureFormat::Verbatim,
        (None, b'{') if sonic_rs::JsonValueTrait::get(&value, "event").is_some() => {
            CaptureFormat::Verbatim
        }
        _ => return Err(LineProblem::UnknownFormat),
    };
    if *format.get_or_insert(found) != found {
        return Err(LineProblem::OtherFormat);
    }
    let Some(stamped) = stamped else {
        return Ok(Some(RecordedMessage { at: None, text: text.into() }));
    };
    // Seconds with up to seven decimals: exact in fixed point, not in a float.
    let (seconds, _) = parse_decimal(stamped.ts.as_raw_str().as_bytes())
        .map_err(|_| LineProblem::UnknownFormat)?;
    if stamped.dir != "recv" {
        return Ok(None);
    }
    let message = stamped.msg.as_ref().ok_or(LineProblem::UnknownFormat)?.as_raw_str();
    if !message.starts_with(['[', '{']) {
        return Err(LineProblem::UnknownFormat);
    }
    let at = WallNs(seconds.checked_mul(10).ok_or(LineProblem::UnknownFormat)?);
    Ok(Some(RecordedMessage { at: Some(at), text: message.as_bytes().into() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    struct TempFile(PathBuf);
    impl TempFile {
        fn new(name: &str, bytes: &[u8]) -> Self {
            let path =
                std::env::temp_dir().join(format!("genesis-capture-{}-{name}", std::process::id()));
            std::fs::write(&path, bytes).unwrap();
            Self(path)
        }
    }
    impl Drop for TempFile {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// What became of a file: `format: at text | …`, or the error without the path.
    fn check(name: &str, bytes: &[u8], expected: &str) {
        let file = TempFile::new(name, bytes);
        let text = match read_capture(&file.0) {
            Ok(capture) => {
                let messages: Vec<String> = capture
                    .messages
                    .iter()
                    .map(|message| {
                        let at = message.at.map_or("-".to_owned(), |at| at.0.to_string());
                        format!("{at} {}", String::from_utf8_lossy(&message.text))
                    })
                    .collect();
                format!("{:?}: {}", capture.format, messages.join(" | "))
            }
            Err(error) => error.to_string().replace(&file.0.display().to_string(), "F"),
        };
        assert!(text.starts_with(expected), "{name}: got {text:?}, expected {expected:?}");
    }

    const PLAIN: &[u8] = b"{\"event\":\"info\",\"version\":2}\n[5,[1,2,0.5]]\n\n[5,\"hb\"]\n";

    #[test]
    fn both_formats_are_read_plain_and_gzip() {
        let expected =
            "Verbatim: - {\"event\":\"info\",\"version\":2} | - [5,[1,2,0.5]] | - [5,\"hb\"]";
        check("plain", PLAIN, expected);
        check("gz", &gzip(PLAIN), expected);
        check(
            "no-newline-at-end",
            b"[5,\"hb\"]\r\n[6,\"hb\"]",
            "Verbatim: - [5,\"hb\"] | - [6,\"hb\"]",
        );
        check(
            "stamped",
            b"{\"ts\":1617643606.805714,\"dir\":\"open\"}\n\
              {\"ts\":1617643607.3342731,\"dir\":\"send\",\"msg\":{\"event\":\"conf\"}}\n\
              {\"ts\":1617643607.3342731,\"dir\":\"recv\",\"msg\":[1,\"hb\", 2]}\n",
            "Stamped: 1617643607334273100 [1,\"hb\", 2]",
        );
    }

    #[test]
    fn each_bad_file_has_one_clear_message() {
        check("cut", b"[1,2]\n[5,[643", "recording F, line 2: the last message breaks off");
        check("middle", b"[1,2]\n[5,[643\n[1,2]\n", "recording F, line 2: not a JSON message");
        check("csv", b"mts,open\n1,2\n", "recording F, line 1: unknown format");
        check("object", b"{\"a\":1}\n", "recording F, line 1: unknown format");
        check("binary", &[0xff, 0, 1, 2, 3], "recording F, line 1: unknown format");
        check("empty", b"", "recording F: it holds no message");
        check("empty-gz", &gzip(b""), "recording F: it holds no message");
        check(
            "sent",
            b"{\"ts\":1.5,\"dir\":\"send\",\"msg\":{}}\n",
            "recording F: it holds no message",
        );
        check(
            "stamp",
            b"{\"ts\":\"x\",\"dir\":\"recv\",\"msg\":[]}\n",
            "recording F, line 1: unknown",
        );
        check(
            "mixed",
            b"[1,2]\n{\"ts\":1.5,\"dir\":\"recv\",\"msg\":[1]}\n",
            "recording F, line 2: another format",
        );
        let mut long = vec![b'1'; MESSAGE_SIZE_MAX + 100];
        long[0] = b'[';
        check("long", &long, "recording F, line 1: longer than 1 MiB");
        let whole = gzip(&PLAIN.repeat(5_000));
        check("gz-cut", &whole[..whole.len() - 9], "recording F: the gzip data breaks off");
        check("gz-header-only", &whole[..12], "recording F: the gzip data breaks off");
        let mut damaged = whole.clone();
        let last = damaged.len() - 6;
        damaged[last] ^= 0x55;
        check("gz-crc", &damaged, "recording F: the gzip data breaks off or is damaged");
        let error = read_capture(Path::new("/nonexistent/x.gz")).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/x.gz: No such file"), "{error}");
        let error = read_capture(&std::env::temp_dir()).unwrap_err().to_string();
        assert!(error.contains("is a directory"), "{error}");
    }

    #[test]
    #[cfg_attr(not(shared_data), ignore = "needs ../shared/data")]
    fn the_recordings_at_hand_are_read_whole() {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
        for (name, format, messages, lines) in [
            (
                "ws-capture-bitfinex-btcusd-p0-len100-20181112.ndjson.gz",
                CaptureFormat::Verbatim,
                917_363,
                917_363,
            ),
            (
                "ws-capture-bitfinex-8pairs-seq-20210405.ndjson.gz",
                CaptureFormat::Stamped,
                22_675,
                22_701,
            ),
            (
                "ws-capture-bitfinex-btcusd-p0-len25-20250815.ndjson.gz",
                CaptureFormat::Verbatim,
                3_631,
                3_631,
            ),
            ("ws-checksum-vector-bitfinex-xrpbtc.ndjson", CaptureFormat::Verbatim, 5, 5),
        ] {
            let capture = read_capture(&data.join(name)).unwrap();
            assert_eq!(capture.format, format, "{name}");
            assert_eq!(capture.line_count, lines, "{name}");
            assert_eq!(capture.messages.len(), messages, "{name}");
            if format == CaptureFormat::Stamped {
                assert!(capture.messages.is_sorted_by_key(|message| message.at));
            }
        }
    }
}
