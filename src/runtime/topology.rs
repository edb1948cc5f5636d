//! Which thread runs which stages, on which CPU, and how deep the rings between them are. Pure: a
//! spec and a machine in, a whole table or every problem out.

use super::cpu::{Core, CpuMap};
use super::wait::WaitKind;
use crate::base::limits::{BATCH_MAX, BURST_MAX, RING_DEPTH_MAX, RING_DEPTH_MIN};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Longest thread name the kernel shows, bytes.
pub const THREAD_NAME_MAX: usize = 15;
/// Cores at which `auto` leaves `fused`: two hot threads and one core for everything else.
pub const SPLIT_CORES_MIN: usize = 3;
/// Cores at which `auto` gives each stage a thread, and one core is left.
pub const PIPELINE_CORES_MIN: usize = 6;

const _: () = assert!(RING_DEPTH_MIN >= BATCH_MAX + BURST_MAX);

macro_rules! named {
    ($name:ident: $($variant:ident = $text:literal),+ $(,)?) => {
        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$variant),+];
            /// As in config, reports and logs.
            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => $text),+ }
            }
            pub fn from_name(name: &str) -> Option<$name> {
                $name::ALL.iter().copied().find(|item| item.name() == name)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }
    };
}

/// How the stages are spread over threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// By the number of usable cores.
    #[default]
    Auto,
    /// All stages on one thread.
    Fused,
    /// {read, parse} and {signal, risk, send}.
    Split,
    /// Each stage its own thread.
    Pipeline,
    /// As the spec's threads say.
    Explicit,
}
named!(Layout: Auto = "auto", Fused = "fused", Split = "split", Pipeline = "pipeline", Explicit = "explicit");

/// The stages in the order of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageKind {
    Read,
    Parse,
    Signal,
    Risk,
    Send,
}
named!(StageKind: Read = "read", Parse = "parse", Signal = "signal", Risk = "risk", Send = "send");

/// What may be busy on the sibling of a thread's CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThreadClass {
    /// No spinning thread of ours on a sibling of its core.
    Critical,
    Normal,
}
named!(ThreadClass: Critical = "critical", Normal = "normal");

/// Every ring, named `from_to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkKind {
    /// Chunks of bytes from the public sockets.
    ReadParse,
    /// Empty chunks on their way back.
    ParseRead,
    /// Sequenced events; the one link that conflates.
    ParseSignal,
    SignalRisk,
    RiskSend,
    /// Send reports, and chunks of bytes from the private socket.
    SendParse,
    /// Empty chunks on their way back.
    ParseSend,
    /// Facts from REST replies.
    RestParse,
    /// Operator commands.
    OpsParse,
    /// Copies of sequenced events for the input log.
    ParseJournal,
}
named!(LinkKind:
    ReadParse = "read_parse", ParseRead = "parse_read", ParseSignal = "parse_signal",
    SignalRisk = "signal_risk", RiskSend = "risk_send", SendParse = "send_parse",
    ParseSend = "parse_send", RestParse = "rest_parse", OpsParse = "ops_parse",
    ParseJournal = "parse_journal",
);
impl LinkKind {
    /// The stages at its ends; `None` = a cold thread.
    pub const fn ends(self) -> (Option<StageKind>, Option<StageKind>) {
        use StageKind::{Parse, Read, Risk, Send, Signal};
        match self {
            LinkKind::ReadParse => (Some(Read), Some(Parse)),
            LinkKind::ParseRead => (Some(Parse), Some(Read)),
            LinkKind::ParseSignal => (Some(Parse), Some(Signal)),
            LinkKind::SignalRisk => (Some(Signal), Some(Risk)),
            LinkKind::RiskSend => (Some(Risk), Some(Send)),
            LinkKind::SendParse => (Some(Send), Some(Parse)),
            LinkKind::ParseSend => (Some(Parse), Some(Send)),
            LinkKind::RestParse | LinkKind::OpsParse => (None, Some(Parse)),
            LinkKind::ParseJournal => (Some(Parse), None),
        }
    }
    /// Depth where the spec says nothing. Chunk links hold 32 KiB a slot, the input log's tap must
    /// bridge a slow disk, the mouth's queue is short so that what is in it is young.
    pub const fn depth_default(self) -> usize {
        match self {
            LinkKind::ReadParse | LinkKind::ParseRead => 256,
            LinkKind::SendParse | LinkKind::ParseSend => 256,
            LinkKind::ParseSignal | LinkKind::SignalRisk => 1_024,
            LinkKind::RiskSend | LinkKind::OpsParse => 256,
            LinkKind::RestParse => 4_096,
            LinkKind::ParseJournal => 65_536,
        }
    }
    pub const fn on_full_default(self) -> OnFull {
        match self {
            LinkKind::ParseSignal => OnFull::Conflate,
            LinkKind::ParseJournal => OnFull::Lose,
            _ => OnFull::Stall,
        }
    }
    /// Whether this link may treat being full that way.
    pub const fn may(self, on_full: OnFull) -> bool {
        match on_full {
            OnFull::Stall | OnFull::Halt => true,
            OnFull::Conflate => matches!(self, LinkKind::ParseSignal),
            OnFull::Lose => matches!(self, LinkKind::ParseJournal),
        }
    }
}

/// What the producer does when the ring is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFull {
    /// Takes no further input until there is room.
    Stall,
    /// Stops trading and says so.
    Halt,
    /// Newer views replace waiting ones: at the mouth alone.
    Conflate,
    /// The copy is lost and counted, and the log marked incomplete: for the input log alone.
    Lose,
}
named!(OnFull: Stall = "stall", Halt = "halt", Conflate = "conflate", Lose = "lose");

/// Where a thread shall run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CorePick {
    /// This CPU, by the kernel's number.
    Cpu(usize),
    /// Wherever the kernel likes.
    Float,
}

/// One thread of the explicit layout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadSpec {
    pub name: String,
    /// Neighbours of the line.
    pub stages: Vec<StageKind>,
    pub core: CorePick,
    pub wait: WaitKind,
    pub class: ThreadClass,
}

/// What the config says about one ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkSpec {
    pub link: LinkKind,
    /// Slots, a power of two, `RING_DEPTH_MIN ..= RING_DEPTH_MAX`.
    pub depth: Option<usize>,
    pub on_full: Option<OnFull>,
}

/// What the config says about threads and rings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopologySpec {
    pub layout: Layout,
    /// For every hot thread of a layout other than `explicit`; `None` = by the machine.
    pub wait: Option<WaitKind>,
    /// With `explicit` only.
    pub threads: Vec<ThreadSpec>,
    pub links: Vec<LinkSpec>,
}

/// One hot thread, resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ThreadPlan {
    pub name: String,
    /// In the order of the line.
    pub stages: Vec<StageKind>,
    /// `None` = floats over `Topology::cold_cpus`, or over all usable CPUs where hot threads
    /// outnumber cores.
    pub cpu: Option<usize>,
    pub wait: WaitKind,
    pub class: ThreadClass,
    /// CPUs of the same core, which we leave empty.
    pub quiet: Vec<usize>,
}

/// One ring, resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LinkPlan {
    pub link: LinkKind,
    pub depth: usize,
    pub on_full: OnFull,
    /// Both ends on one thread: a hop costs nanoseconds.
    pub same_thread: bool,
}

/// The whole table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Topology {
    /// Never `Auto`.
    pub layout: Layout,
    /// In the order of the line.
    pub threads: Vec<ThreadPlan>,
    /// In the order of `LinkKind::ALL`.
    pub links: Vec<LinkPlan>,
    /// Where cold threads (rest, journal, ops, the embedded exchange) run.
    pub cold_cpus: Vec<usize>,
    /// Physical cores we may use.
    pub cores: usize,
}

impl Topology {
    pub fn link(&self, link: LinkKind) -> LinkPlan {
        let plain = LinkPlan {
            link,
            depth: link.depth_default(),
            on_full: link.on_full_default(),
            same_thread: false,
        };
        self.links.iter().copied().find(|plan| plan.link == link).unwrap_or(plain)
    }
    /// Index of the thread that runs this stage.
    pub fn thread_of(&self, stage: StageKind) -> Option<usize> {
        self.threads.iter().position(|thread| thread.stages.contains(&stage))
    }
}

/// As `genesis config explain` prints it.
impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "layout {} on {} usable cores", self.layout, self.cores)?;
        writeln!(f, "{:<16}{:<32}{:<8}{:<12}class", "thread", "stages", "cpu", "wait")?;
        for thread in &self.threads {
            let stages: Vec<_> = thread.stages.iter().map(|stage| stage.name()).collect();
            let cpu = thread.cpu.map_or("float".to_owned(), |cpu| cpu.to_string());
            let (name, stages, wait) = (&thread.name, stages.join(" "), thread.wait.name());
            write!(f, "{name:<16}{stages:<32}{cpu:<8}{wait:<12}{}", thread.class)?;
            if !thread.quiet.is_empty() && thread.class == ThreadClass::Critical {
                write!(f, " (left empty: {})", numbers(&thread.quiet))?;
            }
            writeln!(f)?;
        }
        writeln!(f, "{:<48}{}", "cold threads", numbers(&self.cold_cpus))?;
        writeln!(f, "{:<16}{:>8}  {:<10}hop", "link", "depth", "on full")?;
        for plan in &self.links {
            let hop = if plan.same_thread { "same thread" } else { "across threads" };
            writeln!(f, "{:<16}{:>8}  {:<10}{hop}", plan.link, plan.depth, plan.on_full)?;
        }
        Ok(())
    }
}

fn numbers(list: &[usize]) -> String {
    let list: Vec<_> = list.iter().map(usize::to_string).collect();
    list.join(",")
}

/// What is wrong with a spec on a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// No CPU is left to us.
    NoCpu,
    /// Threads are listed, but the layout is not `explicit`.
    ThreadsIgnored {
        layout: Layout,
    },
    StageMissing {
        stage: StageKind,
    },
    StageTwice {
        stage: StageKind,
        first: String,
        second: String,
    },
    NotNeighbours {
        thread: String,
        stages: Vec<StageKind>,
    },
    ThreadEmpty {
        thread: String,
    },
    NameBad {
        thread: String,
    },
    NameTwice {
        thread: String,
    },
    CpuOffline {
        thread: String,
        cpu: usize,
    },
    CpuNotUsable {
        thread: String,
        cpu: usize,
        usable: Vec<usize>,
    },
    CpuTwice {
        cpu: usize,
        first: String,
        second: String,
    },
    SiblingBusy {
        thread: String,
        cpu: usize,
        other: String,
        other_cpu: usize,
    },
    TooManySpinners {
        spinning: usize,
        cores: usize,
    },
    LinkTwice {
        link: LinkKind,
    },
    DepthBad {
        link: LinkKind,
        depth: usize,
    },
    OnFullBad {
        link: LinkKind,
        on_full: OnFull,
    },
}
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::NoCpu => {
                write!(f, "topology: no usable CPU; check the affinity mask and cpuset")
            }
            Problem::ThreadsIgnored { layout } => write!(
                f,
                "topology.thread is given but topology.layout is \"{layout}\"; \
                 set layout = \"explicit\" or remove the threads"
            ),
            Problem::StageMissing { stage } => {
                write!(f, "topology.thread: stage \"{stage}\" is on no thread; add it to one")
            }
            Problem::StageTwice { stage, first, second } => write!(
                f,
                "topology.thread: stage \"{stage}\" is on \"{first}\" and on \"{second}\"; keep one"
            ),
            Problem::NotNeighbours { thread, stages } => {
                let stages: Vec<_> = stages.iter().map(|stage| stage.name()).collect();
                write!(
                    f,
                    "topology.thread \"{thread}\": stages {} are not neighbours of the line \
                     read, parse, signal, risk, send",
                    stages.join(", ")
                )
            }
            Problem::ThreadEmpty { thread } => {
                write!(f, "topology.thread \"{thread}\": no stages; list some or remove it")
            }
            Problem::NameBad { thread } => write!(
                f,
                "topology.thread.name: got \"{thread}\", expected 1 to {THREAD_NAME_MAX} \
                 letters, digits, '-' or '_'"
            ),
            Problem::NameTwice { thread } => {
                write!(f, "topology.thread.name: \"{thread}\" is used twice; names are unique")
            }
            Problem::CpuOffline { thread, cpu } => {
                write!(f, "topology.thread \"{thread}\": core {cpu} does not exist or is offline")
            }
            Problem::CpuNotUsable { thread, cpu, usable } => write!(
                f,
                "topology.thread \"{thread}\": core {cpu} is outside our mask or cpuset; usable: \
                 {}",
                numbers(usable)
            ),
            Problem::CpuTwice { cpu, first, second } => write!(
                f,
                "topology.thread: core {cpu} is given to \"{first}\" and to \"{second}\"; \
                 one hot thread a core"
            ),
            Problem::SiblingBusy { thread, cpu, other, other_cpu } => write!(
                f,
                "topology.thread \"{thread}\" is critical on core {cpu}, but \"{other}\" spins on \
                 its sibling {other_cpu}; move one, or set class = \"normal\""
            ),
            Problem::TooManySpinners { spinning, cores } => write!(
                f,
                "topology: {spinning} threads spin on {cores} cores; use fewer threads or \
                 wait = \"backoff\" or \"park\""
            ),
            Problem::LinkTwice { link } => write!(f, "topology.link.{link}: given twice"),
            Problem::DepthBad { link, depth } => write!(
                f,
                "topology.link.{link}.depth: got {depth}, expected a power of two from \
                 {RING_DEPTH_MIN} to {RING_DEPTH_MAX}"
            ),
            Problem::OnFullBad { link, on_full } => {
                let allowed: Vec<_> = OnFull::ALL
                    .iter()
                    .filter(|item| link.may(**item))
                    .map(|item| item.name())
                    .collect();
                write!(
                    f,
                    "topology.link.{link}.on_full: got \"{on_full}\", expected {}",
                    allowed.join(" or ")
                )
            }
        }
    }
}

/// Makes the table.
///
/// # Errors
/// Every problem of the spec on this machine, together.
pub fn resolve(spec: &TopologySpec, map: &CpuMap) -> Result<Topology, Vec<Problem>> {
    let mut problems = Vec::new();
    let cores = map.cores();
    if cores.is_empty() {
        problems.push(Problem::NoCpu);
    }
    let layout = match spec.layout {
        Layout::Auto if cores.len() < SPLIT_CORES_MIN => Layout::Fused,
        Layout::Auto if cores.len() < PIPELINE_CORES_MIN => Layout::Split,
        Layout::Auto => Layout::Pipeline,
        other => other,
    };
    let mut threads = if layout == Layout::Explicit {
        explicit_threads(&spec.threads, map, &mut problems)
    } else {
        if !spec.threads.is_empty() {
            problems.push(Problem::ThreadsIgnored { layout: spec.layout });
        }
        place(layout, spec.wait, map, &cores)
    };
    check_spinners(&threads, &cores, &mut problems);
    let links = resolve_links(&spec.links, &threads, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    threads.sort_by_key(|thread| thread.stages.first().copied());
    let cold_cpus = cold_cpus(&threads, map);
    Ok(Topology { layout, threads, links, cold_cpus, cores: cores.len() })
}

/// The threads of a layout, each with its stages.
fn groups(layout: Layout) -> Vec<(&'static str, Vec<StageKind>)> {
    let all = StageKind::ALL;
    match layout {
        Layout::Split => vec![("feed", all[..2].to_vec()), ("trade", all[2..].to_vec())],
        Layout::Pipeline => all.iter().map(|&stage| (stage.name(), vec![stage])).collect(),
        _ => vec![("line", all.to_vec())],
    }
}

/// One core a thread, the housekeeping core left out; all floating where there are not enough
/// cores. Spinning only where a core is left for everything else and the machine has three or more.
fn place(layout: Layout, wait: Option<WaitKind>, map: &CpuMap, cores: &[Core]) -> Vec<ThreadPlan> {
    let groups = groups(layout);
    let chosen = choose_cores(groups.len(), cores);
    let roomy = cores.len() >= SPLIT_CORES_MIN && cores.len() > groups.len();
    let wait = wait.unwrap_or(if roomy { WaitKind::Spin } else { WaitKind::Backoff });
    let plan = |(index, (name, stages)): (usize, (&str, Vec<StageKind>))| {
        let cpu = chosen.get(index).copied();
        ThreadPlan {
            name: name.to_owned(),
            stages,
            cpu,
            wait,
            class: if cpu.is_some() { ThreadClass::Critical } else { ThreadClass::Normal },
            quiet: cpu.map(|cpu| map.siblings(cpu)).unwrap_or_default(),
        }
    };
    groups.into_iter().enumerate().map(plan).collect()
}

/// CPUs for `count` hot threads: on one socket if one has room, isolated cores first, then by
/// number. Empty where there are not enough.
fn choose_cores(count: usize, cores: &[Core]) -> Vec<usize> {
    // Interrupts and everybody else live on the lowest core that is not isolated: it is not for us.
    let housekeeping = cores.iter().find(|core| !core.isolated).or(cores.first());
    let mut free: Vec<&Core> = cores.iter().filter(|core| Some(*core) != housekeeping).collect();
    if cores.len() == 1 {
        free = cores.iter().collect();
    }
    free.sort_by_key(|core| (!core.isolated, core.cpus[0]));
    let mut sockets: Vec<usize> = free.iter().map(|core| core.socket).collect();
    sockets.sort_unstable();
    sockets.dedup();
    let of = |socket: usize| free.iter().filter(move |core| core.socket == socket);
    let best = sockets
        .into_iter()
        .filter(|&socket| of(socket).count() >= count)
        // Most isolated cores that we can use; of equals the lowest socket.
        .max_by_key(|&socket| {
            let isolated = of(socket).filter(|core| core.isolated).count().min(count);
            (isolated, std::cmp::Reverse(socket))
        });
    let list: Vec<usize> = match best {
        Some(socket) => of(socket).map(|core| core.cpus[0]).take(count).collect(),
        None => free.iter().map(|core| core.cpus[0]).take(count).collect(),
    };
    if list.len() == count { list } else { Vec::new() }
}

fn explicit_threads(
    specs: &[ThreadSpec],
    map: &CpuMap,
    problems: &mut Vec<Problem>,
) -> Vec<ThreadPlan> {
    for &stage in StageKind::ALL {
        let owners: Vec<&str> = specs
            .iter()
            .flat_map(|spec| {
                let times = spec.stages.iter().filter(|&&own| own == stage).count();
                std::iter::repeat_n(spec.name.as_str(), times)
            })
            .collect();
        match owners[..] {
            [] => problems.push(Problem::StageMissing { stage }),
            [_] => {}
            [first, second, ..] => problems.push(Problem::StageTwice {
                stage,
                first: first.to_owned(),
                second: second.to_owned(),
            }),
        }
    }
    let mut plans: Vec<ThreadPlan> = Vec::new();
    for spec in specs {
        let thread = spec.name.clone();
        let good_name = (1..=THREAD_NAME_MAX).contains(&thread.len())
            && thread.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if !good_name {
            problems.push(Problem::NameBad { thread: thread.clone() });
        }
        if plans.iter().any(|plan| plan.name == thread) {
            problems.push(Problem::NameTwice { thread: thread.clone() });
        }
        let mut stages = spec.stages.clone();
        stages.sort_unstable();
        stages.dedup();
        match (stages.first(), stages.last()) {
            (Some(&first), Some(&last)) => {
                if last as usize - first as usize + 1 != stages.len() {
                    let (thread, stages) = (thread.clone(), stages.clone());
                    problems.push(Problem::NotNeighbours { thread, stages });
                }
            }
            _ => problems.push(Problem::ThreadEmpty { thread: thread.clone() }),
        }
        let cpu = match spec.core {
            CorePick::Float => None,
            CorePick::Cpu(cpu) => {
                match map.get(cpu) {
                    None => problems.push(Problem::CpuOffline { thread: thread.clone(), cpu }),
                    Some(found) if !found.usable => problems.push(Problem::CpuNotUsable {
                        thread: thread.clone(),
                        cpu,
                        usable: map.usable(),
                    }),
                    Some(_) => {}
                }
                if let Some(first) = plans.iter().find(|plan| plan.cpu == Some(cpu)) {
                    let (first, second) = (first.name.clone(), thread.clone());
                    problems.push(Problem::CpuTwice { cpu, first, second });
                }
                Some(cpu)
            }
        };
        let quiet = cpu.map(|cpu| map.siblings(cpu)).unwrap_or_default();
        let (wait, class) = (spec.wait, spec.class);
        plans.push(ThreadPlan { name: thread, stages, cpu, wait, class, quiet });
    }
    for plan in plans.iter().filter(|plan| plan.class == ThreadClass::Critical) {
        let Some(cpu) = plan.cpu else { continue };
        for other in plans.iter().filter(|other| other.wait.is_spinning()) {
            if let Some(other_cpu) = other.cpu.filter(|number| plan.quiet.contains(number)) {
                problems.push(Problem::SiblingBusy {
                    thread: plan.name.clone(),
                    cpu,
                    other: other.name.clone(),
                    other_cpu,
                });
            }
        }
    }
    plans
}

/// More spinners than physical cores means that two share one: each would wait a whole time slice
/// for the other.
fn check_spinners(threads: &[ThreadPlan], cores: &[Core], problems: &mut Vec<Problem>) {
    let spinning = threads.iter().filter(|thread| thread.wait.is_spinning()).count();
    if spinning > cores.len() && !cores.is_empty() {
        problems.push(Problem::TooManySpinners { spinning, cores: cores.len() });
    }
}

fn resolve_links(
    specs: &[LinkSpec],
    threads: &[ThreadPlan],
    problems: &mut Vec<Problem>,
) -> Vec<LinkPlan> {
    let thread_of = |stage: Option<StageKind>| {
        stage.and_then(|stage| threads.iter().position(|thread| thread.stages.contains(&stage)))
    };
    let mut plans = Vec::with_capacity(LinkKind::ALL.len());
    for &link in LinkKind::ALL {
        let mut given = specs.iter().filter(|spec| spec.link == link);
        let spec = given.next();
        if given.next().is_some() {
            problems.push(Problem::LinkTwice { link });
        }
        let (source, target) = link.ends();
        let same_thread = match (thread_of(source), thread_of(target)) {
            (Some(source), Some(target)) => source == target,
            _ => false,
        };
        // On one thread a ring never holds more than a batch, and its slots stay in the cache.
        let usual = if same_thread { RING_DEPTH_MIN } else { link.depth_default() };
        let depth = spec.and_then(|spec| spec.depth).unwrap_or(usual);
        let in_range = (RING_DEPTH_MIN..=RING_DEPTH_MAX).contains(&depth);
        if !in_range || !depth.is_power_of_two() {
            problems.push(Problem::DepthBad { link, depth });
        }
        let on_full = spec.and_then(|spec| spec.on_full).unwrap_or(link.on_full_default());
        if !link.may(on_full) {
            problems.push(Problem::OnFullBad { link, on_full });
        }
        plans.push(LinkPlan { link, depth, on_full, same_thread });
    }
    plans
}

/// What hot threads leave: without their CPUs, the siblings of critical ones and isolated CPUs,
/// which the kernel does not balance. On machines too small for that, whatever is usable.
fn cold_cpus(threads: &[ThreadPlan], map: &CpuMap) -> Vec<usize> {
    let is_hot = |cpu: usize| threads.iter().any(|thread| thread.cpu == Some(cpu));
    let is_quiet = |cpu: usize| {
        threads
            .iter()
            .any(|thread| thread.class == ThreadClass::Critical && thread.quiet.contains(&cpu))
    };
    let isolated = |cpu: usize| map.get(cpu).is_some_and(|cpu| cpu.isolated);
    let usable = map.usable();
    let wishes: [&dyn Fn(usize) -> bool; 3] = [
        &|cpu| !is_hot(cpu) && !is_quiet(cpu) && !isolated(cpu),
        &|cpu| !is_hot(cpu) && !is_quiet(cpu),
        &|cpu| !is_hot(cpu),
    ];
    for wish in wishes {
        let list: Vec<usize> = usable.iter().copied().filter(|&cpu| wish(cpu)).collect();
        if !list.is_empty() {
            return list;
        }
    }
    usable
}

#[cfg(test)]
#[path = "topology_tests.rs"]
mod tests;
