//! Short measurements of this machine for `genesis doctor`: pins, hand-offs between cores, disk
//! syncs, loopback. Each takes tens of milliseconds and leaves nothing behind.

#![allow(clippy::disallowed_methods, reason = "measures the host with the host's clock")]

use crate::io::syscall;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Rounds of each measurement.
const HANDOFFS: u64 = 4_000;
const SYNCS: usize = 20;
const TRIPS: usize = 200;
/// A pair of cores that others keep busy is given up after this long.
const PAIR_MAX: Duration = Duration::from_millis(60);

/// Median and largest of some spans, ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spans {
    pub p50_ns: u64,
    pub max_ns: u64,
    pub count: usize,
}
impl Spans {
    fn of(mut spans_ns: Vec<u64>) -> Spans {
        spans_ns.sort_unstable();
        Spans {
            p50_ns: spans_ns.get(spans_ns.len() / 2).copied().unwrap_or(0),
            max_ns: spans_ns.last().copied().unwrap_or(0),
            count: spans_ns.len(),
        }
    }
}

fn ns(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// CPUs that a thread cannot be pinned to, with the kernel's word.
pub fn pins_refused(cpus: &[usize]) -> Vec<(usize, String)> {
    // tidy-ok: a short-lived thread, joined here: the caller keeps its own mask.
    std::thread::scope(|scope| {
        let all = scope.spawn(|| {
            let refused = cpus.iter().filter_map(|cpu| match syscall::pin(*cpu) {
                Ok(()) => None,
                Err(error) => Some((*cpu, error.to_string())),
            });
            refused.collect()
        });
        all.join().unwrap_or_default()
    })
}

/// One-way hand-off of a cache line between two CPUs, ns; `None`: one of them was not to be had in
/// time. Half a round trip, so that no two clocks are compared.
pub fn handoff_ns(left: usize, right: usize) -> Option<u64> {
    let turn = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let until = Instant::now() + PAIR_MAX;
    let side = |cpu: usize, parity: u64| {
        let mut fastest = u64::MAX;
        if syscall::pin(cpu).is_err() {
            stop.store(true, Ordering::Release);
        }
        for batch in 0..HANDOFFS / 200 {
            let begun = Instant::now();
            for step in 0..200 {
                let mine = (batch * 200 + step) * 2 + parity;
                let mut spins = 0u32;
                while turn.load(Ordering::Acquire) != mine {
                    spins = spins.wrapping_add(1);
                    if spins.is_multiple_of(1_024) {
                        if stop.load(Ordering::Acquire) || Instant::now() > until {
                            stop.store(true, Ordering::Release);
                            return fastest;
                        }
                        std::thread::yield_now();
                    }
                    std::hint::spin_loop();
                }
                turn.store(mine + 1, Ordering::Release);
            }
            // The fastest batch: the others were disturbed by whoever else runs here.
            fastest = fastest.min(ns(begun.elapsed()) / 400);
        }
        fastest
    };
    // tidy-ok: two short-lived threads, joined here; a hand-off needs two cores at once.
    let fastest = std::thread::scope(|scope| {
        let other = scope.spawn(|| side(right, 1));
        let own = scope.spawn(|| side(left, 0));
        own.join().unwrap_or(u64::MAX).min(other.join().unwrap_or(u64::MAX))
    });
    (fastest < u64::MAX).then_some(fastest)
}

/// How long a small write takes until the disk has it.
///
/// # Errors
/// The place is not writable.
pub fn disk_syncs(dir: &Path) -> io::Result<Spans> {
    let path = dir.join(format!(".genesis-doctor-sync-{}", std::process::id()));
    let mut file = std::fs::File::create(&path)?;
    let measured: io::Result<Vec<u64>> = (0..SYNCS)
        .map(|_| {
            let begun = Instant::now();
            file.write_all(&[0; 4_096])?;
            file.sync_data()?;
            Ok(ns(begun.elapsed()))
        })
        .collect();
    let _ = std::fs::remove_file(&path);
    Ok(Spans::of(measured?))
}

/// Round trips of a byte over TCP on loopback: what the kernel's network costs at best.
///
/// # Errors
/// Loopback is not to be had.
pub fn loopback_trips() -> io::Result<Spans> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut near = TcpStream::connect(listener.local_addr()?)?;
    let (mut far, _) = listener.accept()?;
    for stream in [&near, &far] {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    }
    let mut byte = [0; 1];
    let mut spans_ns = Vec::with_capacity(TRIPS);
    for _ in 0..TRIPS {
        let begun = Instant::now();
        near.write_all(&[1])?;
        far.read_exact(&mut byte)?;
        far.write_all(&byte)?;
        near.read_exact(&mut byte)?;
        spans_ns.push(ns(begun.elapsed()));
    }
    Ok(Spans::of(spans_ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_largest_of_few_and_none() {
        assert_eq!(Spans::of(vec![]), Spans::default());
        let spans = Spans::of(vec![5, 1, 9]);
        assert_eq!((spans.p50_ns, spans.max_ns, spans.count), (5, 9, 3));
    }

    #[test]
    fn this_machine_can_be_measured() {
        let trips = loopback_trips().unwrap();
        assert_eq!(trips.count, TRIPS);
        assert!(trips.p50_ns > 100 && trips.p50_ns <= trips.max_ns, "{trips:?}");
        let dir = std::env::temp_dir();
        assert_eq!(disk_syncs(&dir).unwrap().count, SYNCS);
        assert!(disk_syncs(Path::new("no/such/dir")).is_err());
        let cpus = syscall::allowed_cpus().unwrap();
        assert_eq!(pins_refused(&cpus), []);
        let refused = pins_refused(&[100_000]);
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert_eq!(syscall::allowed_cpus().unwrap(), cpus, "the caller's own mask stays");
        if let [left, right, ..] = cpus[..]
            && let Some(one_way_ns) = handoff_ns(left, right)
        {
            assert!((5..1_000_000).contains(&one_way_ns), "{one_way_ns}");
        }
    }
}
