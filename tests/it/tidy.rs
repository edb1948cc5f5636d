//! The rules of this repository as tests. Goal: what a reviewer would have to look for, found here
//! instead. Method: the sources as text, comments and strings blanked where a rule is about code.
//!
//! A rule that gets in the way of something right is answered on the line (or the one above) by
//! `// tidy-ok: why`. The rules on layers and on unsafe code take no such answer.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Rooms from low to high. A room uses rooms of lower layers only.
const LAYERS: [&[&str]; 8] = [
    &["base", "ring"],
    &["model"],
    &["venue", "engine"],
    &["line", "exchange", "io"],
    &["world", "research"],
    &["runtime", "ops"],
    &["config"],
    &["cmd"],
];

/// What a layer would allow and the design does not: the exchange writes its own numbers and
/// checksums, so that a shared mistake cannot hide; `line` alone joins venue and engine below L4.
const NEVER: [(&str, &[&str]); 2] =
    [("exchange", &["venue", "engine"]), ("io", &["venue", "engine"])];

/// The only files with unsafe code.
const UNSAFE_FILES: [&str; 3] = ["src/io/syscall.rs", "src/io/map.rs", "src/io/alloc.rs"];

/// Rooms without clock, thread, lock, log, socket or file.
const PURE: [&str; 7] = ["base", "ring", "model", "venue", "engine", "line", "exchange"];

/// Files whose code runs for every message or order: no text is made there.
const HOT: [&str; 12] = [
    "src/venue/ws.rs",
    "src/venue/scan.rs",
    "src/venue/book.rs",
    "src/venue/encode.rs",
    "src/engine/sequencer.rs",
    "src/engine/mouth.rs",
    "src/engine/bars.rs",
    "src/engine/signal.rs",
    "src/engine/send.rs",
    "src/engine/indicator/",
    "src/engine/orders/",
    "src/engine/risk/",
];

/// Files on the way from wire to wire outside indicators: money is an integer there.
const NO_FLOATS: [&str; 7] = [
    "src/venue/",
    "src/model/order.rs",
    "src/model/command.rs",
    "src/engine/orders/",
    "src/engine/risk/",
    "src/engine/positions.rs",
    "src/engine/send.rs",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A source file, and what the rules want to know of it.
struct Source {
    /// From the top of the repository, with `/`.
    path: String,
    text: String,
    /// The text with comments and strings blanked, line by line.
    code: Vec<String>,
    /// Lines inside `#[cfg(test)]`.
    is_test: Vec<bool>,
}

impl Source {
    fn new(path: &str, text: &str) -> Source {
        let code: Vec<String> = blank(text).lines().map(str::to_owned).collect();
        let is_test = test_lines(path, &code);
        Source { path: path.to_owned(), text: text.to_owned(), code, is_test }
    }
    /// The room of a file below `src`; empty for lib.rs, main.rs and everything outside.
    fn room(&self) -> &str {
        match self.path.strip_prefix("src/").and_then(|rest| rest.split_once('/')) {
            Some((room, _)) => room,
            None => "",
        }
    }
    /// Code lines with their numbers, from 1.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.iter().enumerate().map(|(index, line)| (index + 1, line.as_str()))
    }
    /// The same without tests and without lines that are answered for.
    fn ruled_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let answered: Vec<bool> = self.text.lines().map(is_answered).collect();
        self.lines().filter(move |(number, _)| {
            let index = number - 1;
            let before = index.checked_sub(1).is_some_and(|before| answered[before]);
            !self.is_test[index] && !answered[index] && !before
        })
    }
}

fn is_answered(line: &str) -> bool {
    line.split_once("// tidy-ok:").is_some_and(|(_, why)| why.trim().len() > 3)
}

/// Blanks comments, texts and characters, keeping every line break and position.
fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    let skip = |out: &mut String, from: usize, to: usize| {
        out.extend(chars[from..to].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
    };
    while at < chars.len() {
        let rest = &chars[at..];
        let end = match rest {
            ['/', '/', ..] => at + rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
            ['/', '*', ..] => {
                let mut end = at + 2;
                let mut depth = 1;
                while end < chars.len() && depth > 0 {
                    match chars[end..] {
                        ['*', '/', ..] => (depth, end) = (depth - 1, end + 2),
                        ['/', '*', ..] => (depth, end) = (depth + 1, end + 2),
                        _ => end += 1,
                    }
                }
                end
            }
            ['"', ..] => end_of_text(&chars, at),
            ['r', '"' | '#', ..] if !at.checked_sub(1).is_some_and(|i| is_word(chars[i])) => {
                end_of_raw(&chars, at).unwrap_or(at)
            }
            // A character, not a lifetime.
            ['\'', '\\', ..] => {
                let from = at + 3;
                let tail = chars.get(from..).unwrap_or_default();
                from + tail.iter().position(|c| *c == '\'').map_or(0, |p| p + 1)
            }
            ['\'', _, '\'', ..] => at + 3,
            _ => at,
        };
        if end > at {
            let end = end.min(chars.len());
            skip(&mut out, at, end);
            at = end;
        } else {
            out.push(chars[at]);
            at += 1;
        }
    }
    out
}
fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
fn end_of_text(chars: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    at
}
fn end_of_raw(chars: &[char], start: usize) -> Option<usize> {
    let hashes = chars[start + 1..].iter().take_while(|c| **c == '#').count();
    let open = start + 1 + hashes;
    if chars.get(open) != Some(&'"') {
        return None;
    }
    let mut at = open + 1;
    while at < chars.len() {
        let close = chars[at] == '"'
            && chars[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
        if close {
            return Some(at + 1 + hashes);
        }
        at += 1;
    }
    Some(at)
}

/// Which lines belong to an item marked `#[cfg(test)]`, or to a file of tests.
fn test_lines(path: &str, code: &[String]) -> Vec<bool> {
    let whole = !path.starts_with("src/")
        || path.ends_with("tests.rs")
        || path.ends_with("/testdata.rs")
        || path.ends_with("/drill.rs");
    let mut marks = vec![whole; code.len()];
    let mut index = 0;
    while index < code.len() {
        let line = code[index].trim();
        if !(line.starts_with("#[cfg(test)]") || line.starts_with("#[cfg(all(test")) {
            index += 1;
            continue;
        }
        let start = index;
        let mut depth = 0i32;
        let mut opened = false;
        while index < code.len() {
            for c in code[index].chars() {
                match c {
                    '{' => (depth, opened) = (depth + 1, true),
                    '}' => depth -= 1,
                    _ => {}
                }
            }
            let ended = if opened { depth <= 0 } else { code[index].contains(';') };
            index += 1;
            if ended {
                break;
            }
        }
        marks[start..index].fill(true);
    }
    marks
}

/// Every file below `dir` with one of these endings, sorted, without build output.
fn files(dir: &str, endings: &[&str]) -> Vec<String> {
    fn walk(top: &Path, at: &Path, endings: &[&str], found: &mut Vec<String>) {
        let Ok(entries) = std::fs::read_dir(at) else { return };
        for entry in entries.flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                if name != "target" && name != ".git" {
                    walk(top, &path, endings, found);
                }
            } else if kind.is_file()
                && (endings.is_empty() || endings.iter().any(|end| name.ends_with(end)))
            {
                let relative = path.strip_prefix(top).unwrap().to_string_lossy();
                found.push(relative.replace('\\', "/"));
            }
        }
    }
    let mut found = Vec::new();
    walk(&root(), &root().join(dir), endings, &mut found);
    found.sort();
    found
}

fn sources() -> Vec<Source> {
    let mut all = Vec::new();
    for dir in ["src", "tests", "benches", "perf"] {
        for path in files(dir, &[".rs"]) {
            let text = std::fs::read_to_string(root().join(&path)).unwrap();
            all.push(Source::new(&path, &text));
        }
    }
    assert!(all.len() > 20, "the sources are not where this test looks");
    all
}

fn verdict(rule: &str, offences: &[String]) {
    if offences.is_empty() {
        return;
    }
    let mut words = format!("{rule}: {} offences\n", offences.len());
    for offence in offences {
        let _ = writeln!(words, "  {offence}");
    }
    panic!("{words}");
}

fn layer_of(room: &str) -> Option<usize> {
    LAYERS.iter().position(|rooms| rooms.contains(&room))
}

/// Rooms named behind `crate::`, also in braces, with their lines.
fn rooms_used(source: &Source) -> Vec<(usize, String)> {
    let text = source.code.join("\n");
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let number = text[..at].matches('\n').count() + 1;
        let rest = &text[at + "crate::".len()..];
        let word = |text: &str| -> String { text.chars().take_while(|c| is_word(*c)).collect() };
        let Some(list) = rest.trim_start().strip_prefix('{') else {
            found.push((number, word(rest)));
            continue;
        };
        let (mut depth, mut item) = (1, String::new());
        for c in list.chars() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => {
                    found.push((number, word(item.trim())));
                    item.clear();
                    continue;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
            item.push(c);
        }
        found.push((number, word(item.trim())));
    }
    found.retain(|(_, room)| !room.is_empty());
    found
}

fn layer_offences(source: &Source) -> Vec<String> {
    let room = source.room();
    let Some(layer) = layer_of(room) else { return Vec::new() };
    let never: &[&str] = NEVER.iter().find(|(who, _)| *who == room).map_or(&[], |(_, whom)| whom);
    let mut offences = Vec::new();
    for (number, other) in rooms_used(source) {
        let Some(other_layer) = layer_of(&other) else { continue };
        if other == room {
            continue;
        }
        if other_layer >= layer || never.contains(&other.as_str()) {
            offences.push(format!(
                "{}:{number}: {room} (L{layer}) uses {other} (L{other_layer})",
                source.path
            ));
        }
    }
    offences
}

#[test]
fn a_room_uses_rooms_of_lower_layers_only() {
    let offences: Vec<String> = sources().iter().flat_map(layer_offences).collect();
    verdict("layers", &offences);
}

#[test]
fn every_room_is_in_the_table_of_layers_and_in_lib() {
    let lib = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let named: Vec<&str> = lib
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod "))
        .filter_map(|rest| rest.split(';').next())
        .collect();
    let mut table: Vec<&str> = LAYERS.concat();
    let mut in_lib = named.clone();
    table.sort_unstable();
    in_lib.sort_unstable();
    assert_eq!(in_lib, table);
}

/// Whether `word` stands in `line` as a word of its own; words may end in `!`, `(` or `::`.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let starts = word.starts_with(is_word);
        let ends = word.ends_with(is_word);
        !(starts && before.is_some_and(is_word) || ends && after.is_some_and(is_word))
    })
}

#[test]
fn unsafe_stands_in_its_named_files_with_its_reason() {
    let mut offences = Vec::new();
    for source in sources() {
        let allowed = UNSAFE_FILES.contains(&source.path.as_str());
        let raw: Vec<&str> = source.text.lines().collect();
        for (number, line) in source.lines() {
            let place = format!("{}:{number}", source.path);
            if line.contains("allow(unsafe_code)") && !allowed && source.path != "src/io/mod.rs" {
                offences.push(format!("{place}: lifts deny(unsafe_code)"));
            }
            if !has_word(line, "unsafe") || line.contains("unsafe_") {
                continue;
            }
            if !allowed {
                offences.push(format!("{place}: unsafe outside {UNSAFE_FILES:?}"));
                continue;
            }
            let from = number.saturating_sub(13);
            let reasoned = raw[from..number]
                .iter()
                .any(|line| line.contains("SAFETY:") || line.contains("# Safety"));
            if !reasoned {
                offences.push(format!("{place}: unsafe without `// SAFETY:` above it"));
            }
        }
    }
    verdict("unsafe", &offences);
}

/// One rule on words: where it holds, which words, and what to use instead.
struct Ban {
    holds: fn(&Source) -> bool,
    words: &'static [&'static str],
    instead: &'static str,
}

fn is_pure(source: &Source) -> bool {
    PURE.contains(&source.room())
}
fn is_below_l4(source: &Source) -> bool {
    layer_of(source.room()).is_some_and(|layer| layer < 4)
}
fn is_src(source: &Source) -> bool {
    source.path.starts_with("src/")
}

const BANS: [Ban; 14] = [
    Ban {
        holds: is_src,
        words: &["thread::spawn"],
        instead: "runtime::placement, or thread::Builder with a name for a cold thread",
    },
    Ban {
        holds: is_src,
        words: &["thread::sleep"],
        instead: "runtime::wait on hot threads; a time-out that a stop can cut short on cold ones",
    },
    Ban {
        holds: is_pure,
        words: &["Instant", "SystemTime", "Instant::now", "SystemTime::now"],
        instead: "the stamp's time, handed in by the caller",
    },
    Ban {
        holds: is_pure,
        words: &["std::thread", "thread::spawn", "thread::sleep", "Mutex", "RwLock", "parking_lot"],
        instead: "nothing: threads and locks are runtime's",
    },
    Ban {
        holds: is_pure,
        words: &["log::", "println!", "eprintln!", "print!", "eprint!"],
        instead: "a counter or the flight recorder",
    },
    Ban {
        holds: is_pure,
        words: &["std::net", "std::fs", "std::env", "mio::", "TcpStream", "UdpSocket"],
        instead: "bytes handed in and out: sockets and files are io's",
    },
    Ban {
        holds: is_below_l4,
        words: &[".unwrap()", "Box<dyn Error", "Box<dyn std::error::Error", "anyhow"],
        instead: "a typed error, or expect(\"why this cannot be\") in a constructor",
    },
    Ban {
        holds: |source| is_pure(source) && source.room() != "ring",
        words: &["HashMap", "HashSet"],
        instead: "a table by index, BTreeMap, or base::bounded: their order is the same every run",
    },
    Ban {
        holds: |source| HOT.iter().any(|file| source.path.starts_with(file)),
        words: &[
            "format!",
            ".to_string()",
            ".to_owned()",
            "String::new",
            "String::from",
            ".to_vec()",
        ],
        instead: "fixed-size values and buffers made by the constructor",
    },
    Ban {
        holds: |source| NO_FLOATS.iter().any(|file| source.path.starts_with(file)),
        words: &["f64", "f32"],
        instead: "Px, Qty, Quote or an integer of 1e-8",
    },
    Ban {
        holds: |source| is_src(source) && source.room() != "cmd",
        words: &["env::var", "env::var_os", "env::vars", "env::args"],
        instead: "an argument: environment and arguments are read in cmd",
    },
    Ban {
        holds: is_src,
        words: &["process::exit", "todo!", "unimplemented!", "dbg!"],
        instead: "an ExitCode; finished code",
    },
    Ban {
        holds: |source| matches!(source.room(), "io" | "runtime" | "config" | "world" | "research"),
        words: &["println!", "eprintln!", "print!", "eprint!"],
        instead: "log, or a value for cmd to print",
    },
    Ban {
        holds: is_src,
        words: &["tokio", "async fn", "async move", ".await", "static mut", "transmute"],
        instead: "threads, rings, and plain values",
    },
];

fn word_offences(source: &Source) -> Vec<String> {
    let mut offences = Vec::new();
    for ban in BANS.iter().filter(|ban| (ban.holds)(source)) {
        for (number, line) in source.ruled_lines() {
            for word in ban.words {
                if has_word(line, word) {
                    let place = format!("{}:{number}", source.path);
                    offences.push(format!("{place}: `{word}`; use {}", ban.instead));
                }
            }
        }
    }
    offences
}

#[test]
fn banned_words_stay_out_of_the_rooms_they_are_banned_from() {
    let offences: Vec<String> = sources().iter().flat_map(word_offences).collect();
    verdict("words", &offences);
}

#[test]
fn text_is_no_error_below_l4() {
    let mut offences = Vec::new();
    for source in sources().iter().filter(|source| is_below_l4(source)) {
        for (number, line) in source.ruled_lines() {
            let Some((_, rest)) = line.split_once("Result<") else { continue };
            let flat: String = rest.chars().filter(|c| !c.is_whitespace()).collect();
            if flat.contains(",String>") || flat.contains(",&'staticstr>") {
                offences.push(format!("{}:{number}: text as an error; use an enum", source.path));
            }
        }
    }
    verdict("errors", &offences);
}

#[test]
fn every_room_begins_with_its_six_lines() {
    const HEAD: [&str; 6] = ["Purpose:", "Knows:", "Time:", "Memory:", "Errors:", "Tests:"];
    let mut offences = Vec::new();
    for room in LAYERS.concat() {
        let path = format!("src/{room}/mod.rs");
        let text = std::fs::read_to_string(root().join(&path)).unwrap_or_default();
        // A line may go on in an indented one.
        let mut lines = text
            .lines()
            .map_while(|line| line.strip_prefix("//! "))
            .filter(|line| !line.starts_with(' '));
        for word in HEAD {
            let line = lines.next().unwrap_or_default();
            if line.strip_prefix(word).is_none_or(|said| said.trim().len() <= 3) {
                offences.push(format!("{path}: the head lacks `//! {word} …`"));
                break;
            }
        }
    }
    verdict("heads", &offences);
}

#[test]
fn files_and_lines_stay_readable() {
    let mut offences = Vec::new();
    for source in sources() {
        let count = source.text.lines().count();
        if count > 1000 {
            offences.push(format!("{}: {count} lines; 1000 are enough", source.path));
        }
        for (index, line) in source.text.lines().enumerate() {
            let width = line.chars().count();
            let place = format!("{}:{}", source.path, index + 1);
            // A wire frame quoted whole is easier to compare than one cut in pieces.
            let quotes = line.contains('"') || line.contains('`');
            if width > 100 && !quotes && !is_answered(line) {
                offences.push(format!("{place}: {width} characters; 100 are enough"));
            }
            if line.ends_with(' ') || line.contains('\t') {
                offences.push(format!("{place}: tab or trailing space"));
            }
        }
    }
    for (path, limit) in [("src/main.rs", 150), ("ARCHITECTURE.md", 200)] {
        let text = std::fs::read_to_string(root().join(path)).unwrap_or_default();
        let count = text.lines().count();
        if count == 0 || count > limit {
            offences.push(format!("{path}: {count} lines; 1 to {limit} are right"));
        }
    }
    verdict("size", &offences);
}

#[test]
fn no_source_file_is_dead() {
    let all: Vec<String> = files("src", &[".rs"]);
    let mut offences = Vec::new();
    for path in &all {
        let mut parts: Vec<&str> = path.trim_end_matches(".rs").split('/').collect();
        let mut name = parts.pop().unwrap_or_default();
        if name == "mod" {
            name = parts.pop().unwrap_or_default();
        }
        if parts.is_empty() || (parts == ["src"] && (name == "lib" || name == "main")) {
            continue;
        }
        let dir = parts.join("/");
        let mut parents = vec![format!("{dir}/mod.rs"), format!("{dir}.rs")];
        if dir == "src" {
            parents = vec!["src/lib.rs".to_owned(), "src/main.rs".to_owned()];
        }
        let known = parents.iter().any(|parent| {
            let text = std::fs::read_to_string(root().join(parent)).unwrap_or_default();
            text.lines().any(|line| {
                line.split(';').next().is_some_and(|line| line.ends_with(&format!("mod {name}")))
                    && line.contains(';')
            })
        });
        let named = format!("#[path = \"{name}.rs\"]");
        let known = known
            || all.iter().filter(|other| other.starts_with(&dir)).any(|other| {
                std::fs::read_to_string(root().join(other)).unwrap_or_default().contains(&named)
            });
        if !known {
            offences.push(format!("{path}: no `mod {name};` in {}", parents.join(" or ")));
        }
    }
    verdict("dead files", &offences);
}

#[test]
fn durations_carry_their_unit_in_the_name() {
    const WORDS: [&str; 6] = ["timeout", "interval", "delay", "latency", "elapsed", "window"];
    const KINDS: [&str; 5] = ["u64", "u32", "i64", "u16", "f64"];
    let mut offences = Vec::new();
    for source in sources().iter().filter(|source| is_src(source)) {
        for (number, line) in source.ruled_lines() {
            let Some((name, kind)) = line.trim().split_once(": ") else { continue };
            let name = name.rsplit([' ', '(']).next().unwrap_or_default();
            let kind = kind.trim_end_matches([',', ')', '{', ' ']);
            if KINDS.contains(&kind)
                && !name.contains("_per_")
                && WORDS.iter().any(|word| name.ends_with(word))
            {
                let place = format!("{}:{number}", source.path);
                offences
                    .push(format!("{place}: `{name}: {kind}` has no unit; add _ns, _us, _ms, _s"));
            }
        }
    }
    verdict("units", &offences);
}

/// Files that people read: everything but build output, data and licences.
fn written_files() -> Vec<String> {
    let endings = [".rs", ".toml", ".md", ".sh", ".yml", ".json", ".txt"];
    let mut all = files("", &endings);
    all.extend(files("scripts", &[]));
    all.extend(files(".ci", &[]));
    all.retain(|path| !path.starts_with("fuzz/corpus"));
    all.sort();
    all.dedup();
    all
}

#[test]
fn no_path_of_a_machine_and_no_foreign_host_is_written_down() {
    // In two pieces, so that this file does not offend.
    let machine = [["/ho", "me/"], ["/Us", "ers/"], ["/wo", "rk/"], ["/ro", "ot/"], ["C:", "\\\\"]];
    let hosts = [
        "api.bitfinex.com",
        "api-pub.bitfinex.com",
        "docs.bitfinex.com",
        "127.0.0.1",
        "localhost",
        "github.com",
        "www.apache.org",
        "crates.io",
    ];
    let mut offences = Vec::new();
    for path in written_files() {
        let Ok(text) = std::fs::read_to_string(root().join(&path)) else { continue };
        for (index, line) in text.lines().enumerate() {
            let place = format!("{path}:{}", index + 1);
            for parts in &machine {
                if line.contains(&parts.concat()) && !is_answered(line) {
                    offences.push(format!("{place}: a path of one machine"));
                }
            }
            for (at, _) in line.match_indices("://") {
                let rest = &line[at + 3..];
                let plain = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
                let host: String = rest.chars().take_while(|c| plain(*c)).collect();
                let known = hosts.contains(&host.as_str()) || host.starts_with("192.0.2.");
                if host.contains('.') && !known && !is_answered(line) {
                    offences.push(format!("{place}: host `{host}`"));
                }
            }
        }
    }
    verdict("paths and hosts", &offences);
}

#[test]
fn every_dependency_says_why_it_is_there() {
    let text = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let mut offences = Vec::new();
    let mut section = "";
    for line in text.lines() {
        if line.starts_with('[') {
            section = line;
        }
        let wants = section == "[dependencies]" && line.contains(" = ") && !line.starts_with('#');
        if wants && !line.contains(" # ") {
            offences.push(format!("Cargo.toml: {line}"));
        }
    }
    verdict("dependencies", &offences);
}

#[test]
fn the_papers_are_there() {
    for path in [
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
        "config/genesis.toml",
        "clippy.toml",
        "scripts/check",
        ".ci/run",
    ] {
        let text = std::fs::read_to_string(root().join(path)).unwrap_or_default();
        assert!(text.lines().count() > 5, "{path} is missing or empty");
    }
    let changelog = std::fs::read_to_string(root().join("CHANGELOG.md")).unwrap();
    assert!(changelog.contains(env!("CARGO_PKG_VERSION")));
    let architecture = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    for room in LAYERS.concat() {
        assert!(architecture.contains(room), "ARCHITECTURE.md does not name {room}");
    }
}

// The rules on themselves: each finds what it is for.

#[test]
fn comments_and_texts_are_no_code() {
    let text = "let a = \"Instant\"; // Instant\n/* Mutex /* x */ Mutex */ let b = 'x';\n\
                let c = r#\"log:: \"quoted\"\"#; let d = '\\''; fn f<'a>(x: &'a str) {}\n";
    let code = blank(text);
    for word in ["Instant", "Mutex", "log", "quoted"] {
        assert!(!code.contains(word), "{code}");
    }
    for part in ["let a =", "let b =", "let c =", "let d =", "fn f<'a>(x: &'a str) {}"] {
        assert!(code.contains(part), "{part} in {code}");
    }
    assert_eq!(code.matches('\n').count(), text.matches('\n').count());
}

#[test]
fn the_layer_rule_sees_every_form_of_use() {
    let offences = |path: &str, text: &str| layer_offences(&Source::new(path, text)).len();
    assert_eq!(offences("src/venue/a.rs", "use crate::base::units::Px;"), 0);
    assert_eq!(offences("src/venue/a.rs", "use crate::engine::Stage;"), 1);
    assert_eq!(offences("src/venue/a.rs", "fn f(x: crate::io::Clock) {}"), 1);
    assert_eq!(offences("src/venue/a.rs", "use crate::{base::ids, line::{a, b}, cmd};"), 2);
    assert_eq!(offences("src/venue/a.rs", "use crate::{\n  base,\n  ops,\n};"), 1);
    assert_eq!(offences("src/exchange/a.rs", "use crate::venue::book; // tidy-ok: no"), 1);
    assert_eq!(offences("src/line/a.rs", "use crate::venue; use crate::engine;"), 0);
    assert_eq!(offences("src/line/a.rs", "// crate::cmd"), 0);
}

#[test]
fn the_word_rules_spare_tests_and_answered_lines() {
    let offences = |path: &str, text: &str| word_offences(&Source::new(path, text)).len();
    assert_eq!(offences("src/engine/a.rs", "let x = y.unwrap();"), 1);
    assert_eq!(
        offences("src/engine/a.rs", "let x = y.unwrap(); // tidy-ok: shown by the match"),
        0
    );
    assert_eq!(offences("src/engine/a.rs", "// tidy-ok: shown above\nlet x = y.unwrap();"), 0);
    assert_eq!(offences("src/engine/a.rs", "let x = y.unwrap(); // tidy-ok:"), 1);
    assert_eq!(offences("src/engine/a.rs", "#[cfg(test)]\nmod tests {\n x.unwrap();\n}\n"), 0);
    assert_eq!(offences("src/engine/a.rs", "#[cfg(test)]\nuse a;\nx.unwrap();\n"), 1);
    assert_eq!(offences("src/engine/a.rs", "let now = MyInstant::default();"), 0);
    assert_eq!(offences("src/runtime/a.rs", "let x = y.unwrap();"), 0);
    assert_eq!(offences("src/venue/book.rs", "let x: f64 = 1.0; let y = format!(x);"), 2);
}

#[test]
fn rules_name_files_that_exist_once_their_rooms_are_written() {
    let mut rooms: BTreeMap<&str, usize> = BTreeMap::new();
    let all = files("src", &[".rs"]);
    for room in LAYERS.concat() {
        rooms.insert(room, all.iter().filter(|p| p.starts_with(&format!("src/{room}/"))).count());
    }
    let mut offences = Vec::new();
    for file in HOT.iter().chain(&NO_FLOATS).chain(&UNSAFE_FILES) {
        let room = file.trim_start_matches("src/").split('/').next().unwrap_or_default();
        let written = rooms.get(room).is_some_and(|count| *count > 3);
        if written && !all.iter().any(|path| path.starts_with(file)) {
            offences.push(format!("a rule names {file}, which is not there"));
        }
    }
    verdict("rules", &offences);
}
