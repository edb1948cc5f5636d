//! Goal: whoever asks for a nonce after somebody else has got one gets a larger one, across
//! threads, processes, clocks that are set back, and a process that is killed and started again.
//! Method: this binary starts itself as three children; every allocation is written down with the
//! time-stamp counter before and after, and the lists are compared.

use genesis::io::nonce::NonceStore;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Allocations of the test, all children together.
const TOTAL: usize = 1_000_000;
const PROCESSES: usize = 3;
const THREADS: usize = 8;
const RECORD: usize = 24;

const FILE: &str = "GENESIS_TEST_NONCE_FILE";
const OUT: &str = "GENESIS_TEST_NONCE_OUT";
const COUNT: &str = "GENESIS_TEST_NONCE_COUNT";

struct Dir(PathBuf);
impl Dir {
    fn new(name: &str) -> Dir {
        let dir = std::env::temp_dir().join(format!("genesis-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        Dir(dir)
    }
}
impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn start(dir: &Path, number: usize, count: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "nonces_of_many::child", "--ignored", "--quiet"])
        .env(FILE, dir.join("nonces/n"))
        .env(OUT, dir.join(format!("out-{number}")))
        .env(COUNT, count.to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Not a test of its own: what a child of the test below runs.
#[test]
#[ignore = "run by every_nonce_is_larger_than_the_ones_before"]
fn child() {
    let Some(file) = std::env::var_os(FILE) else { return };
    let out = PathBuf::from(std::env::var_os(OUT).unwrap());
    let count: usize = std::env::var(COUNT).unwrap().parse().unwrap();
    let (store, _) = NonceStore::open(Path::new(&file)).unwrap();
    let tsc = quanta::Clock::new();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (store, tsc) = (&store, &tsc);
            let mut list = std::fs::File::create(out.with_extension(thread.to_string())).unwrap();
            scope.spawn(move || {
                let mut buffer = Vec::with_capacity(RECORD * 1_024);
                for index in 0..count / THREADS {
                    // Clocks of their own: steady, standing still, running backwards, jumping.
                    let start_us = 1_700_000_000_000_000u64;
                    let now_us = match thread % 4 {
                        0 => start_us + index as u64 * 3,
                        1 => start_us,
                        2 => start_us - index as u64 * 1_000,
                        _ => start_us + index as u64 % 7 * 50_000,
                    };
                    let before = tsc.raw();
                    let nonce = store.next(now_us).unwrap();
                    let after = tsc.raw();
                    for value in [before, after, nonce] {
                        buffer.extend_from_slice(&value.to_le_bytes());
                    }
                    if buffer.len() >= RECORD * 1_000 || index + 1 == count / THREADS {
                        list.write_all(&buffer).unwrap();
                        buffer.clear();
                    }
                }
            });
        }
    });
}

fn records(dir: &Path) -> Vec<[u64; 3]> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        if !entry.file_name().to_string_lossy().starts_with("out-") {
            continue;
        }
        let bytes = std::fs::read(entry.path()).unwrap();
        let mut last = 0;
        for record in bytes.chunks_exact(RECORD) {
            let value = |at: usize| u64::from_le_bytes(record[at..at + 8].try_into().unwrap());
            let record = [value(0), value(8), value(16)];
            assert!(record[2] > last, "a thread's own nonces must grow");
            last = record[2];
            all.push(record);
        }
    }
    all
}

#[test]
fn every_nonce_is_larger_than_the_ones_before() {
    let dir = Dir::new("nonces");
    let each = TOTAL / PROCESSES + THREADS;
    let mut children: Vec<Child> = (0..PROCESSES).map(|n| start(&dir.0, n, each)).collect();
    // A fourth is killed in the middle of its work, and started again under another name.
    let mut victim = start(&dir.0, 90, each);
    std::thread::sleep(std::time::Duration::from_millis(400));
    victim.kill().unwrap();
    victim.wait().unwrap();
    children.push(start(&dir.0, 91, 8_000));
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let mut all = records(&dir.0);
    assert!(all.len() >= TOTAL, "{} allocations", all.len());
    // Given out twice?
    all.sort_unstable_by_key(|record| record[2]);
    assert!(all.windows(2).all(|pair| pair[0][2] < pair[1][2]), "a nonce was given out twice");
    assert!(all[all.len() - 1][2] < 1 << 53);
    // In the order of the nonces, nobody may have begun to ask after a later one was handed over.
    let mut earliest_end_later = u64::MAX;
    for [before, after, nonce] in all.iter().rev() {
        assert!(
            *before <= earliest_end_later,
            "nonce {nonce} was asked for after a larger one had been given out"
        );
        earliest_end_later = earliest_end_later.min(*after);
    }
}
