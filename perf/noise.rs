//! Is this window fit to be read? A shared machine takes the core away now and then; no code can
//! help it, and a figure from such a window says nothing about the code.

use std::time::Instant;

/// A window is clean where no gap of the measuring loop was longer, nanoseconds.
const GAP_MAX_NS: u64 = 50_000;
/// Length of a window, nanoseconds.
const WINDOW_NS: u64 = 100_000_000;

/// Steal ticks of the whole machine, from the kernel.
fn steal() -> u64 {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    line.split_whitespace().nth(8).and_then(|field| field.parse().ok()).unwrap_or(0)
}

/// Watches the gaps of the loop that measures.
pub struct Noise {
    start: Instant,
    last_ns: u64,
    window: u64,
    window_gap_ns: u64,
    steal: u64,
    pub windows: u64,
    pub clean: u64,
    pub gap_ns_max: u64,
}

impl Noise {
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
            last_ns: 0,
            window: 0,
            window_gap_ns: 0,
            steal: steal(),
            windows: 0,
            clean: 0,
            gap_ns_max: 0,
        }
    }
    /// Called at every turn of the measuring loop. `Some(clean)` at a window's end.
    #[inline]
    pub fn turn(&mut self) -> Option<bool> {
        let now = self.look();
        if now / WINDOW_NS == self.window {
            return None;
        }
        self.window = now / WINDOW_NS;
        let stolen = steal();
        let clean = self.window_gap_ns < GAP_MAX_NS && stolen == self.steal;
        self.steal = stolen;
        self.gap_ns_max = self.gap_ns_max.max(self.window_gap_ns);
        self.window_gap_ns = 0;
        // Our own look at the kernel is no noise.
        self.resume();
        self.windows += 1;
        self.clean += u64::from(clean);
        Some(clean)
    }
    /// Books the gap since the last call; the window goes on.
    #[inline]
    pub fn look(&mut self) -> u64 {
        let now = self.start.elapsed().as_nanos() as u64;
        self.window_gap_ns = self.window_gap_ns.max(now - self.last_ns);
        self.last_ns = now;
        now
    }
    /// What passed since the last call was work of ours that nobody times.
    #[inline]
    pub fn resume(&mut self) {
        self.last_ns = self.start.elapsed().as_nanos() as u64;
    }
    /// No gap since the start that a window would not be forgiven.
    pub fn is_clean_so_far(&self) -> bool {
        self.gap_ns_max.max(self.window_gap_ns) < GAP_MAX_NS
    }
    /// In words, for the line of the report.
    pub fn label(&self) -> String {
        format!(
            "{} of {} windows clean, longest gap {} us{}",
            self.clean,
            self.windows,
            self.gap_ns_max / 1_000,
            if self.is_noisy() { ", NOISY" } else { "" }
        )
    }
    /// Fewer than half of the windows clean: not measurable here.
    pub fn is_noisy(&self) -> bool {
        self.windows > 0 && self.clean * 2 < self.windows
    }
}
