//! A plain fuzzer in the process: the same entries as the targets beside it, mutated samples
//! instead of coverage, nothing needed but Rust. `cargo bench --bench fuzz -- [target …] [--seconds
//! S] [--seed N]`. Without `--bench` each target runs briefly. An input that breaks something is
//! kept in `target/fuzz-findings` and the exit code is 1; `-- target FILE` runs one such input
//! again.

#![expect(clippy::disallowed_methods, reason = "seeds and spans of a tool")]

use genesis::base::rng::Rng;
use genesis::exchange::fuzz::{SAMPLES, fuzz_exchange};
use genesis::venue::fuzz::{PRIVATE, PUBLIC, fuzz_frames, fuzz_private, fuzz_public};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Longest input made, bytes.
const SIZE_MAX: usize = 8 * 1024;
/// Findings kept of one target before it is given up.
const FINDINGS_MAX: u32 = 10;

struct Target {
    name: &'static str,
    run: fn(&[u8]),
    /// Whole inputs or lines of inputs.
    samples: Vec<Vec<u8>>,
    /// What stands between two samples.
    joint: &'static [u8],
}

fn lines(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}
/// Frames as a server writes them.
fn frames() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = vec![
        vec![0x89, 2, b'h', b'i'],
        vec![0x8a, 0],
        vec![0x88, 2, 3, 232],
        vec![0x88, 0],
        vec![0x01, 2, b'[', b'1', 0x80, 1, b']'],
        vec![0x81, 126, 0, 3, b'a', b'b', b'c'],
        vec![0x81, 127, 0, 0, 0, 0, 0, 0, 0, 2, b'x', b'y'],
    ];
    for len in [0usize, 1, 125, 126, 200, 700] {
        let mut frame = vec![0x81];
        match len {
            0..=125 => frame.push(len as u8),
            _ => frame.extend([126, (len >> 8) as u8, len as u8]),
        }
        frame.extend((0..len).map(|n| n as u8));
        all.push(frame);
    }
    all
}

fn targets() -> Vec<Target> {
    let recorded = recorded();
    let mut public = lines(PUBLIC);
    public.extend(recorded);
    vec![
        Target { name: "public_frames", run: fuzz_public, samples: public, joint: b"\n" },
        Target { name: "private_frames", run: fuzz_private, samples: lines(PRIVATE), joint: b"\n" },
        Target { name: "websocket_bytes", run: fuzz_frames, samples: frames(), joint: b"" },
        Target { name: "exchange_text", run: fuzz_exchange, samples: lines(SAMPLES), joint: b"\n" },
    ]
}

/// The first messages of a recording beside the project, on the channels the entry has open;
/// nothing where it is absent.
fn recorded() -> Vec<Vec<u8>> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../shared/data/ws-capture-bitfinex-btcusd-p0-len25-20250815.ndjson.gz"
    );
    let Ok(bytes) = std::fs::read(path) else { return Vec::new() };
    let mut text = String::new();
    let mut reader = flate2::read::MultiGzDecoder::new(&bytes[..]);
    if std::io::Read::read_to_string(&mut reader, &mut text).is_err() {
        return Vec::new();
    }
    let array = |line: &str| line.find("[").map(|at| line[at..].trim_end_matches('}').to_owned());
    text.lines()
        .take(400)
        .filter_map(array)
        .filter(|l| l.len() < 2_000)
        .map(String::into_bytes)
        .collect()
}

const NUMBERS: [&str; 14] = [
    "0",
    "-1",
    "1",
    "0.00000001",
    "1e-8",
    "7e-7",
    "1e99",
    "-1e400",
    "92233720368.54775807",
    "9223372036854775807",
    "18446744073709551616",
    "null",
    "\"\"",
    "0.000000001",
];
const SPICE: &[u8] = b"[]{},:\"\\e.-+0123456789nul \n\xff\x00\x7f\x80\xfe";

/// A few samples, joined, and a few changes.
fn make(rng: &mut Rng, target: &Target, out: &mut Vec<u8>) {
    out.clear();
    out.push(rng.below(256) as u8);
    out.extend(target.joint);
    for _ in 0..1 + rng.below(12) {
        let sample = &target.samples[rng.below(target.samples.len() as u64) as usize];
        out.extend(sample);
        out.extend(target.joint);
    }
    for _ in 0..rng.below(10) {
        if out.is_empty() {
            break;
        }
        let at = rng.below(out.len() as u64) as usize;
        match rng.below(8) {
            0 => out[at] = SPICE[rng.below(SPICE.len() as u64) as usize],
            1 => out[at] ^= 1 << rng.below(8),
            2 => drop(out.remove(at)),
            3 => out.insert(at, SPICE[rng.below(SPICE.len() as u64) as usize]),
            4 => out.truncate(at),
            5 => {
                let to = rng.below(out.len() as u64) as usize;
                let piece = out[at.min(to)..at.max(to)].to_vec();
                out.extend(piece);
            }
            6 => {
                let to = (at + rng.below(40) as usize).min(out.len());
                out.drain(at..to);
            }
            // A number becomes one at a border.
            _ => {
                let is_part = |byte: &u8| byte.is_ascii_digit() || b".-+eE".contains(byte);
                let from = out[at..].iter().position(u8::is_ascii_digit).map_or(at, |n| at + n);
                let to =
                    out[from..].iter().position(|b| !is_part(b)).map_or(out.len(), |n| from + n);
                let number = NUMBERS[rng.below(NUMBERS.len() as u64) as usize];
                out.splice(from..to, number.bytes());
            }
        }
    }
    out.truncate(SIZE_MAX);
}

/// Runs one input; its panic's text where it broke something.
fn try_input(target: &Target, bytes: &[u8]) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| (target.run)(bytes))).map_err(|cause| {
        let text = cause.downcast_ref::<String>().cloned();
        text.or_else(|| cause.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_else(|| "a panic without words".to_owned())
    })
}

fn fuzz(target: &Target, seed: u64, span: Duration) -> u32 {
    let (mut rng, mut bytes) = (Rng::new(seed), Vec::new());
    let (mut runs, mut findings) = (0u64, 0);
    let started = Instant::now();
    while started.elapsed() < span && findings < FINDINGS_MAX {
        make(&mut rng, target, &mut bytes);
        runs += 1;
        if let Err(words) = try_input(target, &bytes) {
            findings += 1;
            let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/fuzz-findings");
            let file = format!("{}-{seed}-{runs}", target.name);
            let kept = std::fs::create_dir_all(&dir)
                .and_then(|()| std::fs::write(dir.join(&file), &bytes));
            eprintln!("{}: {words}", target.name);
            match kept {
                Ok(()) => eprintln!("  kept: target/fuzz-findings/{file}"),
                Err(error) => {
                    eprintln!("  not kept: {error}; {:?}", String::from_utf8_lossy(&bytes))
                }
            }
        }
    }
    println!(
        "{}: {runs} inputs in {:.0} s, {findings} findings, seed {seed}",
        target.name,
        started.elapsed().as_secs_f64()
    );
    findings
}

fn main() -> ExitCode {
    let (mut names, mut seconds, mut seed, mut files) = (Vec::new(), None, 1, Vec::new());
    let mut is_small = true;
    let mut words = std::env::args().skip(1);
    let known = targets();
    while let Some(word) = words.next() {
        let mut number = || words.next().and_then(|text| text.parse::<u64>().ok());
        match word.as_str() {
            "--bench" => is_small = false,
            "--seconds" => seconds = number(),
            "--seed" => seed = number().unwrap_or(1),
            name if known.iter().any(|target| target.name == name) => names.push(word),
            file if Path::new(file).is_file() => files.push(word),
            "--test" | "--quiet" | "-q" | "--nocapture" => {}
            other if other.starts_with("--test-threads") => {}
            other => {
                let all: Vec<&str> = known.iter().map(|target| target.name).collect();
                eprintln!(
                    "fuzz: `{other}`: expected a target ({}), a file, --seconds S or --seed N",
                    all.join(", ")
                );
                return ExitCode::from(2);
            }
        }
    }
    let chosen = |target: &&Target| names.is_empty() || names.iter().any(|n| n == target.name);
    let mut findings = 0;
    if !files.is_empty() {
        for file in &files {
            let bytes = std::fs::read(file).expect("it was a file just now");
            for target in known.iter().filter(chosen) {
                let result = try_input(target, &bytes);
                println!("{file} as {}: {result:?}", target.name);
                findings += u32::from(result.is_err());
            }
        }
        return ExitCode::from(u8::from(findings > 0));
    }
    // A panic is told once, by us.
    std::panic::set_hook(Box::new(|_| {}));
    let millis = seconds.map_or(if is_small { 300 } else { 60_000 }, |seconds| seconds * 1_000);
    for target in known.iter().filter(chosen) {
        findings += fuzz(target, seed, Duration::from_millis(millis));
    }
    ExitCode::from(u8::from(findings > 0))
}
