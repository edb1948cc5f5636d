//! Made-up machines from 1 to 16 cores, with siblings, sockets and isolation: the whole core map is
//! compared.

use super::*;

fn spec(layout: Layout) -> TopologySpec {
    TopologySpec { layout, ..TopologySpec::default() }
}
/// `thread=cpu` for each, then `wait`, then the cold CPUs.
fn map_of(topology: &Topology) -> String {
    let mut parts: Vec<String> = Vec::new();
    for thread in &topology.threads {
        let cpu = thread.cpu.map_or("float".to_owned(), |cpu| cpu.to_string());
        parts.push(format!("{}={cpu}", thread.name));
    }
    let wait = topology.threads[0].wait;
    assert!(topology.threads.iter().all(|thread| thread.wait == wait));
    format!(
        "{} {} | {} | cold {}",
        topology.layout,
        parts.join(" "),
        wait.name(),
        numbers(&topology.cold_cpus)
    )
}
fn check(spec: &TopologySpec, map: &CpuMap, expected: &str) {
    let topology = resolve(spec, map).unwrap_or_else(|problems| panic!("{problems:?}"));
    assert_eq!(map_of(&topology), expected);
    check_invariants(&topology, map);
}
/// What holds on every machine.
fn check_invariants(topology: &Topology, map: &CpuMap) {
    let stages: Vec<_> = topology.threads.iter().flat_map(|thread| thread.stages.clone()).collect();
    assert_eq!(stages, StageKind::ALL, "each stage once, in the order of the line");
    let mut cpus: Vec<_> = topology.threads.iter().filter_map(|thread| thread.cpu).collect();
    let usable = map.usable();
    assert!(cpus.iter().all(|cpu| usable.contains(cpu)));
    assert!(topology.cold_cpus.iter().all(|cpu| usable.contains(cpu)));
    assert!(!topology.cold_cpus.is_empty());
    if usable.len() > cpus.len() {
        assert!(topology.cold_cpus.iter().all(|cpu| !cpus.contains(cpu)));
    }
    for thread in &topology.threads {
        let spinning_sibling = topology.threads.iter().any(|other| {
            other.wait.is_spinning() && other.cpu.is_some_and(|cpu| thread.quiet.contains(&cpu))
        });
        assert!(!spinning_sibling || thread.class == ThreadClass::Normal);
    }
    let count = cpus.len();
    cpus.sort_unstable();
    cpus.dedup();
    assert_eq!(cpus.len(), count, "one hot thread a CPU");
    assert_ne!(topology.layout, Layout::Auto);
    assert_eq!(topology.links.len(), LinkKind::ALL.len());
    for plan in &topology.links {
        assert!(plan.depth >= BATCH_MAX + BURST_MAX);
    }
}

#[test]
fn auto_on_machines_of_one_to_sixteen_cores() {
    let expected = [
        "fused line=0 | backoff | cold 0",
        "fused line=1 | backoff | cold 0",
        "split feed=1 trade=2 | spin | cold 0",
        "split feed=1 trade=2 | spin | cold 0,3",
        "split feed=1 trade=2 | spin | cold 0,3,4",
        "pipeline read=1 parse=2 signal=3 risk=4 send=5 | spin | cold 0",
        "pipeline read=1 parse=2 signal=3 risk=4 send=5 | spin | cold 0,6",
        "pipeline read=1 parse=2 signal=3 risk=4 send=5 | spin | cold 0,6,7",
    ];
    for (index, expected) in expected.iter().enumerate() {
        check(&spec(Layout::Auto), &CpuMap::made_up(1, index + 1, 1), expected);
    }
    for cores in 9..=16 {
        let topology = resolve(&spec(Layout::Auto), &CpuMap::made_up(1, cores, 1)).unwrap();
        check_invariants(&topology, &CpuMap::made_up(1, cores, 1));
        assert_eq!((topology.layout, topology.cold_cpus.len()), (Layout::Pipeline, cores - 5));
    }
}

#[test]
fn siblings_of_hot_cpus_are_left_empty() {
    // Cores, not CPUs, decide: two cores with SMT are a small machine.
    let auto = spec(Layout::Auto);
    check(&auto, &CpuMap::made_up(1, 1, 2), "fused line=0 | backoff | cold 1");
    check(&auto, &CpuMap::made_up(1, 2, 2), "fused line=1 | backoff | cold 0,2");
    check(&auto, &CpuMap::made_up(1, 4, 2), "split feed=1 trade=2 | spin | cold 0,3,4,7");
    check(
        &auto,
        &CpuMap::made_up(1, 8, 2),
        "pipeline read=1 parse=2 signal=3 risk=4 send=5 | spin | cold 0,6,7,8,14,15",
    );
    let topology = resolve(&auto, &CpuMap::made_up(1, 8, 2)).unwrap();
    assert_eq!(topology.threads[0].quiet, [9]);
}

#[test]
fn hot_threads_share_one_socket_where_one_has_room() {
    let auto = spec(Layout::Auto);
    // 2 x 4: neither socket has five free cores beside the housekeeping core but four on the
    // second.
    check(
        &auto,
        &CpuMap::made_up(2, 4, 1),
        "pipeline read=1 parse=2 signal=3 risk=4 send=5 | spin | cold 0,6,7",
    );
    // 2 x 5: the first has four free ones, the second all five.
    check(
        &auto,
        &CpuMap::made_up(2, 5, 1),
        "pipeline read=5 parse=6 signal=7 risk=8 send=9 | spin | cold 0,1,2,3,4",
    );
    check(
        &auto,
        &CpuMap::made_up(2, 8, 1),
        "pipeline read=1 parse=2 signal=3 risk=4 send=5 | spin | cold 0,6,7,8,9,10,11,12,13,14,15",
    );
    check(
        &spec(Layout::Split),
        &CpuMap::made_up(2, 2, 2),
        "split feed=2 trade=3 | spin | cold 0,1,4,5",
    );
}

#[test]
fn isolated_cores_come_first_and_never_serve_cold_threads() {
    check(
        &spec(Layout::Auto),
        &CpuMap::made_up(1, 8, 1).isolate(&[3, 4, 5, 6, 7]),
        "pipeline read=3 parse=4 signal=5 risk=6 send=7 | spin | cold 0,1,2",
    );
    check(
        &spec(Layout::Auto),
        &CpuMap::made_up(1, 8, 1).isolate(&[6, 7]),
        "pipeline read=6 parse=7 signal=1 risk=2 send=3 | spin | cold 0,4,5",
    );
    // The socket with the isolated cores wins over the first one.
    check(
        &spec(Layout::Fused),
        &CpuMap::made_up(2, 4, 1).isolate(&[6]),
        "fused line=6 | spin | cold 0,1,2,3,4,5,7",
    );
    // Everything isolated: the first core keeps house, on what is left.
    check(
        &spec(Layout::Fused),
        &CpuMap::made_up(1, 3, 1).isolate(&[0, 1, 2]),
        "fused line=1 | spin | cold 0,2",
    );
}

#[test]
fn a_mask_or_cpuset_makes_a_big_machine_small() {
    let map = CpuMap::made_up(1, 16, 1).allow_only(&[4, 9]);
    check(&spec(Layout::Auto), &map, "fused line=9 | backoff | cold 4");
    let map = CpuMap::made_up(1, 16, 1).allow_only(&[4, 9, 11]);
    check(&spec(Layout::Auto), &map, "split feed=9 trade=11 | spin | cold 4");
    let map = CpuMap::made_up(1, 2, 1).allow_only(&[]);
    assert_eq!(resolve(&spec(Layout::Auto), &map), Err(vec![Problem::NoCpu]));
}

#[test]
fn a_layout_too_wide_for_the_machine_floats_and_does_not_spin() {
    let two = CpuMap::made_up(1, 2, 1);
    check(&spec(Layout::Split), &two, "split feed=float trade=float | backoff | cold 0,1");
    let floats = "pipeline read=float parse=float signal=float risk=float send=float";
    check(&spec(Layout::Pipeline), &two, &format!("{floats} | backoff | cold 0,1"));
    check(
        &spec(Layout::Pipeline),
        &CpuMap::made_up(1, 1, 1),
        &format!("{floats} | backoff | cold 0"),
    );
    let mut eager = spec(Layout::Pipeline);
    eager.wait = Some(WaitKind::Spin);
    let problems = resolve(&eager, &two).unwrap_err();
    assert_eq!(problems, [Problem::TooManySpinners { spinning: 5, cores: 2 }]);
    eager.layout = Layout::Fused;
    check(&eager, &two, "fused line=1 | spin | cold 0");
}

#[test]
fn the_wait_of_the_spec_wins_over_the_machine() {
    let mut park = spec(Layout::Auto);
    park.wait = Some(WaitKind::Park);
    check(&park, &CpuMap::made_up(1, 4, 1), "split feed=1 trade=2 | park | cold 0,3");
}

fn thread(name: &str, stages: &[StageKind], core: CorePick) -> ThreadSpec {
    ThreadSpec {
        name: name.to_owned(),
        stages: stages.to_vec(),
        core,
        wait: WaitKind::Spin,
        class: ThreadClass::Critical,
    }
}
fn explicit(threads: Vec<ThreadSpec>) -> TopologySpec {
    TopologySpec { layout: Layout::Explicit, threads, ..TopologySpec::default() }
}

#[test]
fn an_explicit_table_is_taken_as_it_is_in_the_order_of_the_line() {
    use StageKind::{Parse, Read, Risk, Send, Signal};
    let table = explicit(vec![
        thread("hot", &[Send, Signal, Risk], CorePick::Cpu(3)),
        thread("net", &[Read, Parse], CorePick::Cpu(1)),
    ]);
    let map = CpuMap::made_up(1, 4, 2);
    check(&table, &map, "explicit net=1 hot=3 | spin | cold 0,2,4,6");
    let topology = resolve(&table, &map).unwrap();
    assert_eq!(topology.threads[1].stages, [Signal, Risk, Send]);
    assert_eq!(topology.thread_of(Risk), Some(1));
    assert!(topology.link(LinkKind::RiskSend).same_thread);
    assert!(!topology.link(LinkKind::ParseSignal).same_thread);
    assert!(!topology.link(LinkKind::SendParse).same_thread);
}

#[test]
fn all_problems_of_a_table_are_told_together_and_in_words() {
    use StageKind::{Parse, Read, Risk, Signal};
    let map = CpuMap::made_up(1, 2, 2).allow_only(&[0, 1, 2]);
    let mut table = explicit(vec![
        thread("a", &[Read, Signal], CorePick::Cpu(0)),
        thread("a", &[Signal], CorePick::Cpu(0)),
        thread("", &[], CorePick::Cpu(9)),
        thread("a name too long for it", &[Parse], CorePick::Cpu(3)),
        thread("b", &[Risk], CorePick::Cpu(2)),
    ]);
    table.links = vec![
        LinkSpec { link: LinkKind::RiskSend, depth: Some(100), on_full: None },
        LinkSpec { link: LinkKind::RiskSend, depth: None, on_full: None },
        LinkSpec { link: LinkKind::ReadParse, depth: Some(128), on_full: Some(OnFull::Conflate) },
        LinkSpec { link: LinkKind::ParseSignal, depth: Some(2 << 20), on_full: Some(OnFull::Lose) },
    ];
    let problems = resolve(&table, &map).unwrap_err();
    let text: Vec<String> = problems.iter().map(Problem::to_string).collect();
    let expected = [
        "topology.thread: stage \"signal\" is on \"a\" and on \"a\"; keep one",
        "topology.thread: stage \"send\" is on no thread; add it to one",
        "topology.thread \"a\": stages read, signal are not neighbours of the line \
         read, parse, signal, risk, send",
        "topology.thread.name: \"a\" is used twice; names are unique",
        "topology.thread: core 0 is given to \"a\" and to \"a\"; one hot thread a core",
        "topology.thread.name: got \"\", expected 1 to 15 letters, digits, '-' or '_'",
        "topology.thread \"\": no stages; list some or remove it",
        "topology.thread \"\": core 9 does not exist or is offline",
        "topology.thread.name: got \"a name too long for it\", expected 1 to 15 letters, digits, \
         '-' or '_'",
        "topology.thread \"a name too long for it\": core 3 is outside our mask or cpuset; \
         usable: 0,1,2",
        "topology.thread \"a\" is critical on core 0, but \"b\" spins on its sibling 2; move one, \
         or set class = \"normal\"",
        "topology.thread \"a\" is critical on core 0, but \"b\" spins on its sibling 2; move one, \
         or set class = \"normal\"",
        "topology.thread \"b\" is critical on core 2, but \"a\" spins on its sibling 0; move one, \
         or set class = \"normal\"",
        "topology.thread \"b\" is critical on core 2, but \"a\" spins on its sibling 0; move one, \
         or set class = \"normal\"",
        "topology: 5 threads spin on 2 cores; use fewer threads or wait = \"backoff\" or \"park\"",
        "topology.link.read_parse.depth: got 128, expected a power of two from 256 to 1048576",
        "topology.link.read_parse.on_full: got \"conflate\", expected stall or halt",
        "topology.link.parse_signal.depth: got 2097152, expected a power of two from 256 to \
         1048576",
        "topology.link.parse_signal.on_full: got \"lose\", expected stall or halt or conflate",
        "topology.link.risk_send: given twice",
        "topology.link.risk_send.depth: got 100, expected a power of two from 256 to 1048576",
    ];
    // The sibling of CPU 3 is CPU 1, where nobody is.
    assert_eq!(text, expected);
}

#[test]
fn threads_beside_another_layout_are_not_silently_ignored() {
    let mut spec = explicit(vec![thread("x", StageKind::ALL, CorePick::Float)]);
    spec.layout = Layout::Auto;
    let problems = resolve(&spec, &CpuMap::made_up(1, 4, 1)).unwrap_err();
    assert_eq!(problems, [Problem::ThreadsIgnored { layout: Layout::Auto }]);
}

#[test]
fn links_take_their_depth_from_the_spec_and_replay_may_stall_the_mouth() {
    let mut stalling = spec(Layout::Auto);
    let on_full = Some(OnFull::Stall);
    stalling.links = vec![LinkSpec { link: LinkKind::ParseSignal, depth: Some(512), on_full }];
    let topology = resolve(&stalling, &CpuMap::made_up(1, 1, 1)).unwrap();
    let plan = topology.link(LinkKind::ParseSignal);
    assert_eq!((plan.depth, plan.on_full, plan.same_thread), (512, OnFull::Stall, true));
    assert_eq!(topology.link(LinkKind::ParseJournal).on_full, OnFull::Lose);
}

#[test]
fn the_table_prints_every_thread_and_link() {
    let topology = resolve(&spec(Layout::Auto), &CpuMap::made_up(1, 8, 2)).unwrap();
    let text = topology.to_string();
    for thread in &topology.threads {
        assert!(text.contains(&thread.name));
    }
    for link in LinkKind::ALL {
        assert!(text.contains(link.name()));
    }
    assert!(text.starts_with("layout pipeline on 8 usable cores\n"), "{text}");
    for (name, kind) in [("fused", Layout::Fused), ("explicit", Layout::Explicit)] {
        assert_eq!(Layout::from_name(name), Some(kind));
    }
}
