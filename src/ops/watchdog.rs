//! Looks whether the others live: hot threads by their heartbeat, market data by its flow, the
//! journal, the clock. What it may do is little and always towards safety: raise the latch, ask for
//! the end of the run. Repairs that need the line (resubscribe, reconnect, reconcile) are the
//! line's own; here stands what happens when they do not help.

use super::status::Incident;
use crate::base::time::{MonoNs, SpanNs};
use std::time::Duration;

/// What is done about a thread that hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnHang {
    /// Latch, then end the run with an exit code of its own.
    Halt,
    BlockEntries,
    Tell,
}

/// What is done where the journal cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnJournal {
    /// Latch: no entry and no close leaves, cancels do.
    CancelOnly,
    Tell,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchdogConfig {
    pub enabled: bool,
    /// An incident.
    pub hang_after: Duration,
    /// And acted on.
    pub act_after: Duration,
    pub data_after: Duration,
    pub on_hang: OnHang,
    pub on_journal: OnJournal,
    pub watch_threads: bool,
    pub watch_data: bool,
    pub watch_journal: bool,
    pub watch_clock: bool,
    pub clock_step_max: Duration,
}
impl Default for WatchdogConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            // With the time until it is seen a second, and three.
            hang_after: Duration::from_millis(900),
            act_after: Duration::from_millis(2_800),
            data_after: Duration::from_secs(30),
            on_hang: OnHang::Halt,
            on_journal: OnJournal::CancelOnly,
            watch_threads: true,
            watch_data: true,
            watch_journal: true,
            watch_clock: true,
            clock_step_max: Duration::from_millis(250),
        }
    }
}

/// What is seen of one thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadSeen {
    pub name: String,
    pub heartbeat: u64,
    pub has_ended: bool,
    /// The line depends on it; of others a hang is only told.
    pub is_hot: bool,
    /// What its panic said.
    pub panic: Option<String>,
    /// It wants to run and the machine does not let it: no fault of its own.
    pub is_starved: bool,
}

/// One look.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub now: MonoNs,
    /// For people.
    pub at: String,
    pub threads: Vec<ThreadSeen>,
    /// Frames of market data so far; `None` while none is expected (before the first, at the end).
    pub frames: Option<u64>,
    pub journal_failures: u64,
    /// Wall clock against monotonic clock since the last look, ms.
    pub clock_step_ms: f64,
}

/// What is to be done, beside what stands in the incidents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    BlockEntries,
    CancelOnly,
    /// Latch to the strictest rank that still lets cancels pass, and end the run.
    Halt {
        why: String,
    },
}

#[derive(Clone, Debug)]
struct Pulse {
    name: String,
    heartbeat: u64,
    moved_at: MonoNs,
    is_told: bool,
    is_acted: bool,
}

/// Remembers what moved when.
pub struct Watchdog {
    config: WatchdogConfig,
    pulses: Vec<Pulse>,
    frames: (u64, MonoNs),
    data_told: bool,
    /// As last told, and when.
    journal: (u64, Option<MonoNs>),
    looked_at: Option<MonoNs>,
    is_paused: bool,
}

/// Between two looks; after more than that this thread itself was not run (a stopped process, a
/// suspended machine), and the others' silence proves nothing.
const LOOK_GAP_MAX: SpanNs = SpanNs::from_ms(500);
/// A full disk refuses every write of the next hours: it is told once a minute.
const JOURNAL_AGAIN: SpanNs = SpanNs::from_s(60);

fn span(span: Duration) -> SpanNs {
    SpanNs(i64::try_from(span.as_nanos()).unwrap_or(i64::MAX))
}

impl Watchdog {
    pub fn new(config: WatchdogConfig) -> Watchdog {
        Watchdog {
            config,
            pulses: Vec::new(),
            frames: (0, MonoNs(0)),
            data_told: false,
            journal: (0, None),
            looked_at: None,
            is_paused: false,
        }
    }

    /// Since a thread's heartbeat was last seen to move; `None`: not seen yet.
    pub fn age_of(&self, name: &str, now: MonoNs) -> Option<SpanNs> {
        let pulse = self.pulses.iter().find(|pulse| pulse.name == name)?;
        Some(now - pulse.moved_at)
    }

    /// Nobody is watched for a moment: what stands still meanwhile is not counted.
    pub fn pause(&mut self) {
        self.is_paused = true;
    }

    /// Looks once; new incidents, and what is to be done.
    pub fn look(&mut self, seen: &Seen) -> (Vec<Incident>, Vec<Action>) {
        let (mut incidents, mut actions) = (Vec::new(), Vec::new());
        if !self.config.enabled {
            return (incidents, actions);
        }
        let was_away = self.looked_at.is_some_and(|at| seen.now - at > LOOK_GAP_MAX);
        if std::mem::take(&mut self.is_paused) || was_away {
            for pulse in self.pulses.iter_mut().filter(|pulse| !pulse.is_told) {
                pulse.moved_at = seen.now;
            }
        }
        self.looked_at = Some(seen.now);
        let mut tell = |what: String, text: String, action: &str| {
            let (at, action) = (seen.at.clone(), action.to_owned());
            incidents.push(Incident { at, what, text, action });
        };
        if self.config.watch_threads {
            for thread in &seen.threads {
                let place = self.pulses.iter().position(|pulse| pulse.name == thread.name);
                let Some(place) = place else {
                    self.pulses.push(Pulse {
                        name: thread.name.clone(),
                        heartbeat: thread.heartbeat,
                        moved_at: seen.now,
                        is_told: false,
                        is_acted: false,
                    });
                    continue;
                };
                let pulse = &mut self.pulses[place];
                let what = format!("thread {}", thread.name);
                if thread.has_ended || thread.panic.is_some() {
                    if !pulse.is_acted {
                        pulse.is_acted = true;
                        let cause = thread.panic.as_deref().unwrap_or("ended by itself");
                        tell(what.clone(), format!("it is gone: {cause}"), "the run ends");
                        actions.push(Action::Halt { why: format!("{what}: {cause}") });
                    }
                    continue;
                }
                if thread.heartbeat != pulse.heartbeat {
                    if pulse.is_told || pulse.is_acted {
                        let ms = (seen.now - pulse.moved_at).as_ms();
                        tell(what, format!("moves again after {ms} ms"), "none needed");
                    }
                    *pulse = Pulse {
                        name: std::mem::take(&mut pulse.name),
                        heartbeat: thread.heartbeat,
                        moved_at: seen.now,
                        is_told: false,
                        is_acted: false,
                    };
                    continue;
                }
                let still = seen.now - pulse.moved_at;
                // Beside the line a second is no hang: disks and terminals take that long.
                let is_hung = still >= span(self.config.hang_after) && !thread.is_starved;
                if is_hung && !pulse.is_told && thread.is_hot {
                    pulse.is_told = true;
                    let text = format!("has not finished a round for {} ms", still.as_ms());
                    tell(what.clone(), text, "watched");
                }
                let is_due = still >= span(self.config.act_after) && !pulse.is_acted;
                // Ending it helps nobody: the next start finds the same machine. What is too old
                // when it runs again is refused at the gate.
                if is_due && thread.is_starved && !pulse.is_told {
                    pulse.is_told = true;
                    let text = format!("was not run by the machine for {} ms", still.as_ms());
                    tell(what.clone(), text, "none: the machine is too busy");
                }
                if is_due && !thread.is_starved {
                    pulse.is_acted = true;
                    let text = format!("hangs for {} ms", still.as_ms());
                    match self.config.on_hang {
                        _ if !thread.is_hot => tell(what, text, "none: the line goes on without"),
                        OnHang::Tell => tell(what, text, "none, as watchdog.on_hang says"),
                        OnHang::BlockEntries => {
                            tell(what, text, "entries are blocked");
                            actions.push(Action::BlockEntries);
                        }
                        OnHang::Halt => {
                            tell(what.clone(), text.clone(), "latch raised, the run ends");
                            actions.push(Action::Halt { why: format!("{what} {text}") });
                        }
                    }
                }
            }
        }
        match seen.frames {
            Some(frames) if self.config.watch_data => {
                let (before, moved_at) = self.frames;
                if frames != before || moved_at == MonoNs(0) {
                    if self.data_told {
                        let ms = (seen.now - moved_at).as_ms();
                        let text = format!("frames come again after {ms} ms");
                        tell("data".to_owned(), text, "none; a person resumes if the latch is up");
                    }
                    self.frames = (frames, seen.now);
                    self.data_told = false;
                } else if seen.now - moved_at >= span(self.config.data_after) && !self.data_told {
                    self.data_told = true;
                    let ms = (seen.now - moved_at).as_ms();
                    let text = format!("no frame of any market socket for {ms} ms");
                    tell("data".to_owned(), text, "entries are blocked");
                    actions.push(Action::BlockEntries);
                }
            }
            _ => self.frames = (0, MonoNs(0)),
        }
        let (failures, told_at) = self.journal;
        if self.config.watch_journal
            && seen.journal_failures > failures
            && told_at.is_none_or(|at| seen.now - at >= JOURNAL_AGAIN)
        {
            self.journal = (seen.journal_failures, Some(seen.now));
            let text = format!("{} writes failed", seen.journal_failures);
            match self.config.on_journal {
                OnJournal::CancelOnly => {
                    tell("journal".to_owned(), text, "cancels only until a person resets");
                    actions.push(Action::CancelOnly);
                }
                OnJournal::Tell => {
                    tell("journal".to_owned(), text, "trading goes on, the log is incomplete");
                }
            }
        }
        let bound = self.config.clock_step_max.as_millis() as f64;
        if self.config.watch_clock && seen.clock_step_ms.abs() > bound {
            let text = format!("the wall clock was stepped by {:.0} ms", seen.clock_step_ms);
            tell("clock".to_owned(), text, "none; stamps never run backwards");
        }
        (incidents, actions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> MonoNs {
        MonoNs(0) + SpanNs::from_ms(ms + 1)
    }
    fn seen(ms: i64, heartbeat: u64) -> Seen {
        let thread = ThreadSeen {
            name: "hot".to_owned(),
            heartbeat,
            has_ended: false,
            is_hot: true,
            panic: None,
            is_starved: false,
        };
        Seen { now: at(ms), threads: vec![thread], frames: Some(ms as u64), ..Seen::default() }
    }

    #[test]
    fn a_wedged_thread_is_told_within_a_second_and_acted_on_within_three() {
        let mut dog = Watchdog::new(WatchdogConfig::default());
        let mut told = Vec::new();
        for ms in (0..6_000).step_by(10) {
            let (incidents, actions) = dog.look(&seen(ms, (ms as u64).min(1_000)));
            told.extend(incidents.into_iter().map(|one| (ms, one.action)));
            told.extend(actions.into_iter().map(|one| (ms, format!("{one:?}"))));
        }
        assert_eq!(told.len(), 3, "{told:?}");
        assert_eq!(told[0], (1_900, "watched".to_owned()));
        assert_eq!(told[1], (3_800, "latch raised, the run ends".to_owned()));
        assert!(told[2].1.contains("Halt"), "{told:?}");
    }

    #[test]
    fn one_that_is_slow_but_moves_is_no_incident_and_a_pause_ends_it() {
        let config = WatchdogConfig { on_hang: OnHang::BlockEntries, ..Default::default() };
        let mut dog = Watchdog::new(config);
        for ms in (0..20_000).step_by(10) {
            let beats = (ms / 800) as u64;
            assert_eq!(dog.look(&seen(ms, beats)), (vec![], vec![]), "{ms}");
        }
        let mut all = Vec::new();
        for ms in (20_000..25_800).step_by(10) {
            let beats = if ms < 25_000 { 100 } else { 101 };
            let (incidents, actions) = dog.look(&seen(ms, beats));
            all.extend(incidents.into_iter().map(|one| one.text));
            all.extend(actions.into_iter().map(|one| format!("{one:?}")));
        }
        assert_eq!(all.len(), 4, "{all:?}");
        assert!(all[2].contains("BlockEntries") || all[1].contains("hangs"), "{all:?}");
        assert!(all[3].contains("moves again"), "{all:?}");
    }

    /// A machine that is too busy is no hang of ours: it is told late, and acted on only where the
    /// thread still hangs when it is let run.
    #[test]
    fn one_that_the_machine_does_not_run_is_told_late_and_not_ended_for_it() {
        let mut dog = Watchdog::new(WatchdogConfig::default());
        let mut told = Vec::new();
        for ms in (0..5_000).step_by(10) {
            let mut one = seen(ms, 1);
            one.threads[0].is_starved = ms < 4_000;
            let (incidents, actions) = dog.look(&one);
            told.extend(incidents.into_iter().map(|one| (ms, one.text)));
            assert!(actions.is_empty() || ms == 4_000, "{ms}");
        }
        let words = |text: &str| text.to_owned();
        let starved = (2_800, words("was not run by the machine for 2800 ms"));
        assert_eq!(told, [starved, (4_000, words("hangs for 4000 ms"))]);
    }

    /// A stopped process or a suspended machine: all stood still, and nobody is to blame.
    #[test]
    fn when_the_watchdog_itself_was_not_run_nobody_hangs() {
        let mut dog = Watchdog::new(WatchdogConfig::default());
        let _ = dog.look(&seen(0, 1));
        assert_eq!(dog.look(&seen(60_000, 1)), (vec![], vec![]));
        assert_eq!(dog.look(&seen(60_400, 1)), (vec![], vec![]));
        // Nor while it was told not to look.
        dog.pause();
        assert_eq!(dog.look(&seen(60_800, 1)), (vec![], vec![]));
        assert_eq!(dog.look(&seen(61_200, 1)), (vec![], vec![]));
        assert_eq!(dog.look(&seen(61_600, 1)), (vec![], vec![]));
        assert_eq!(dog.look(&seen(61_900, 1)).0.len(), 1, "a second after the pause");
    }

    #[test]
    fn a_side_thread_that_hangs_is_only_told() {
        let mut dog = Watchdog::new(WatchdogConfig::default());
        let mut actions = Vec::new();
        let mut told = 0;
        for ms in (0..6_000).step_by(100) {
            let mut one = seen(ms, 1);
            one.threads[0].is_hot = false;
            let (incidents, acts) = dog.look(&one);
            told += incidents.len();
            actions.extend(acts);
        }
        assert_eq!((told, actions), (1, vec![]));
    }

    #[test]
    fn a_thread_that_is_gone_ends_the_run_at_once() {
        let mut dog = Watchdog::new(WatchdogConfig::default());
        let _ = dog.look(&seen(0, 1));
        let mut gone = seen(10, 2);
        gone.threads[0].panic = Some("index out of bounds".to_owned());
        let (incidents, actions) = dog.look(&gone);
        assert!(incidents[0].text.contains("index out of bounds"));
        assert!(matches!(&actions[..], [Action::Halt { why }] if why.contains("hot")));
        gone.now = at(20);
        assert_eq!(dog.look(&gone), (vec![], vec![]), "once");
    }

    #[test]
    fn silence_of_all_market_data_blocks_entries_and_its_end_is_told() {
        let mut dog = Watchdog::new(WatchdogConfig::default());
        let look = |dog: &mut Watchdog, ms: i64, frames: Option<u64>| {
            let mut one = seen(ms, ms as u64);
            one.frames = frames;
            dog.look(&one)
        };
        let _ = look(&mut dog, 0, Some(5));
        assert_eq!(look(&mut dog, 29_000, Some(5)), (vec![], vec![]));
        let (incidents, actions) = look(&mut dog, 30_000, Some(5));
        assert_eq!((incidents.len(), actions), (1, vec![Action::BlockEntries]));
        assert_eq!(look(&mut dog, 40_000, Some(5)), (vec![], vec![]), "once");
        let (incidents, actions) = look(&mut dog, 41_000, Some(6));
        assert!(incidents[0].text.contains("again after 41000 ms"), "{incidents:?}");
        assert_eq!(actions, []);
        // None is expected: no incident however long it takes.
        let _ = look(&mut dog, 42_000, None);
        assert_eq!(look(&mut dog, 99_000, None), (vec![], vec![]));
    }

    #[test]
    fn journal_and_clock_are_told_and_everything_can_be_switched_off() {
        let mut faulty = seen(10, 2);
        faulty.journal_failures = 3;
        faulty.clock_step_ms = -900.0;
        let mut dog = Watchdog::new(WatchdogConfig::default());
        let (incidents, actions) = dog.look(&faulty);
        let what: Vec<&str> = incidents.iter().map(|one| one.what.as_str()).collect();
        assert_eq!((what, actions), (vec!["journal", "clock"], vec![Action::CancelOnly]));
        faulty.clock_step_ms = 0.0;
        faulty.journal_failures = 400;
        assert_eq!(dog.look(&faulty).0, [], "known already");
        (faulty.now, faulty.frames) = (at(60_011), Some(11));
        let (incidents, actions) = dog.look(&faulty);
        assert!(incidents.iter().any(|one| one.text.contains("400")), "{incidents:?}");
        assert_eq!(actions, [Action::CancelOnly]);
        let config = WatchdogConfig { on_journal: OnJournal::Tell, ..WatchdogConfig::default() };
        assert_eq!(Watchdog::new(config).look(&faulty).1, []);
        let off = WatchdogConfig { enabled: false, ..WatchdogConfig::default() };
        faulty.clock_step_ms = -900.0;
        assert_eq!(Watchdog::new(off).look(&faulty), (vec![], vec![]));
    }
}
