//! T1: from a frame complete in user memory to its order frame encoded and written ahead, in one
//! thread. Hot: one frame every 2 µs. Paced: one every 200 µs, with the caches walked over in
//! between.

use crate::noise::Noise;
use crate::report::{Report, Spans};
use crate::rig::{Line, MARKET, Rig, RigConfig, Venue};
use crate::rings::Rings;
use genesis::base::time::Tsc;
use genesis::io::clock::Clock;
use serde_json::json;
use std::hint::black_box;

/// One way of driving the line.
#[derive(Clone, Copy)]
pub struct Pace {
    pub name: &'static str,
    pub every_ns: u64,
    pub evict: bool,
    /// Book changes of a symbol per order.
    pub every_changes: u32,
    /// p50 to reach, nanoseconds.
    pub reach_ns: u64,
    /// Through the rings and duties of a fused run, else by direct calls.
    pub rings: bool,
}

const HOT: Pace = Pace {
    name: "hot",
    every_ns: 2_000,
    evict: false,
    every_changes: 4,
    reach_ns: 500,
    rings: false,
};
const PACED: Pace = Pace {
    name: "paced",
    every_ns: 200_000,
    evict: true,
    every_changes: 1,
    reach_ns: 1_000,
    ..HOT
};
/// Back to back, for a profiler: the machine is never idle, so this is no T1 of anything.
const PROFILE: Pace = Pace { name: "profile", every_ns: 0, ..HOT };
pub const PACES: [Pace; 7] = [
    HOT,
    PACED,
    Pace { name: "paced_warm", evict: false, ..PACED },
    Pace { name: "hot_rings", rings: true, ..HOT },
    Pace { name: "paced_rings", rings: true, ..PACED },
    PROFILE,
    Pace { name: "profile_rings", rings: true, ..PROFILE },
];

/// Walks over twice the second-level cache, which holds what the first levels hold.
pub struct Evictor {
    bytes: Vec<u64>,
}
impl Evictor {
    pub fn new() -> Evictor {
        let path = "/sys/devices/system/cpu/cpu0/cache/index2/size";
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let kib = text.trim().strip_suffix('K').and_then(|text| text.parse().ok()).unwrap_or(1_024);
        Evictor { bytes: vec![1; 2 * kib * 1_024 / 8] }
    }
    pub fn walk(&mut self) {
        let mut sum = 0u64;
        for line in self.bytes.chunks_exact_mut(8) {
            line[0] = line[0].wrapping_add(1);
            sum = sum.wrapping_add(line[0]);
        }
        black_box(sum);
    }
}

/// Ticks of the clock at which each frame is due.
struct Schedule {
    next: u64,
    every: u64,
}
impl Schedule {
    fn new(clock: &Clock, every_ns: u64) -> Schedule {
        Schedule { next: clock.tsc().0, every: clock.ticks_of_ns(every_ns) }
    }
    /// Spins until the next frame is due.
    fn wait(&mut self, clock: &Clock, noise: &mut Noise) -> Option<bool> {
        self.next += self.every;
        let mut window = noise.turn();
        while clock.tsc().0 < self.next {
            std::hint::spin_loop();
            window = window.or(noise.turn());
        }
        // Far behind, the schedule begins anew: a backlog would be no pace.
        let now = clock.tsc().0;
        if now > self.next + 16 * self.every {
            self.next = now;
        }
        window
    }
}

/// Measures for `span_s` seconds, or for `frames_max` frames.
pub fn measure(clock: &Clock, pace: Pace, span_s: f64, frames_max: u64, report: &mut Report) {
    let config = RigConfig { every_changes: pace.every_changes, ..RigConfig::default() };
    if pace.rings {
        let made = Rings::new(config, clock.clone());
        drive(clock, pace, made, span_s, frames_max, report);
    } else {
        let made = Rig::new(config, clock.clone());
        drive(clock, pace, made, span_s, frames_max, report);
    }
}

fn drive(
    clock: &Clock,
    pace: Pace,
    (mut line, mut venue): (impl Line, Venue),
    span_s: f64,
    frames_max: u64,
    report: &mut Report,
) {
    let (mut evictor, mut noise) = (Evictor::new(), Noise::new());
    let mut t1 = Spans::new(&format!("T1 {}", pace.name));
    let stages = ["decoded", "signalled", "approved", "encoded"];
    let mut parts: Vec<Spans> = stages.iter().map(|part| Spans::new(part)).collect();
    let mut frame = Vec::with_capacity(256);
    let mut schedule = Schedule::new(clock, pace.every_ns);
    let started = clock.mono();
    let (mut frames, mut orders) = (0u64, 0u64);
    while frames < frames_max && (clock.mono() - started).0 < (span_s * 1e9) as i64 {
        frames += 1;
        if pace.evict {
            evictor.walk();
            noise.resume();
        }
        let window = schedule.wait(clock, &mut noise);
        // The kernel has just copied it: the frame itself is warm.
        frame.clear();
        venue.feed.book_frame(&mut frame);
        line.give(MARKET, &frame);
        for sent in &line.done().sent {
            let trace = sent.command.trace;
            t1.note(clock.span_ns(trace.framed, sent.encoded).unwrap_or(0));
            let mut from = trace.framed;
            let ends: [Tsc; 4] = [trace.decoded, trace.signalled, trace.approved, sent.encoded];
            for (part, end) in parts.iter_mut().zip(ends) {
                part.note(clock.span_ns(from, end).unwrap_or(0));
                from = end;
            }
            orders += 1;
        }
        let _ = noise.look();
        venue.settle(&mut line);
        noise.resume();
        if let Some(clean) = window {
            t1.end_window(clean);
            parts.iter_mut().for_each(|part| part.end_window(clean));
            noise.resume();
        }
    }
    t1.end_window(false);
    parts.iter_mut().for_each(|part| part.end_window(false));
    venue.check(&line);
    assert!(orders > 0 && orders == line.send_line().sent());
    println!(
        "T1 {}: {frames} frames, {orders} orders, work {:016x}; {}",
        pace.name,
        venue.work,
        noise.label()
    );
    t1.print();
    for part in &parts {
        part.print();
    }
    let name = format!("t1_{}", pace.name);
    let best = t1.best();
    report.put(&format!("{name}_ns"), t1.json());
    report.put(&format!("{name}_noise"), json!(noise.label()));
    for (part, stage) in parts.iter().zip(stages) {
        report.put(&format!("{name}_{stage}_ns"), part.json());
    }
    report.judge(
        &format!("{name}_p50_ns"),
        best.p50 as f64,
        pace.reach_ns as f64,
        true,
        noise.is_noisy(),
    );
}
