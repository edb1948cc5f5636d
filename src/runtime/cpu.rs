//! The machine's CPUs as the topology sees them: cores, siblings, sockets, isolation, and what we
//! may use. Read from sysfs once in `main`, before any thread is pinned: a child inherits its
//! parent's mask.

use crate::io::syscall::CPU_NUMBER_MAX;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// One logical CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// The kernel's number.
    pub number: usize,
    /// CPUs with the same socket and core are siblings (SMT).
    pub socket: usize,
    pub core: usize,
    /// NUMA node.
    pub node: usize,
    /// Kept free of other work by the kernel (`isolcpus`).
    pub isolated: bool,
    /// We may run there: in our mask, or isolated (which no mask shows), and within the cpuset.
    pub usable: bool,
}

/// All online CPUs by ascending number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuMap {
    cpus: Vec<Cpu>,
}

/// A physical core and those of its CPUs that we may use, ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Core {
    pub socket: usize,
    pub core: usize,
    pub isolated: bool,
    pub cpus: Vec<usize>,
}

impl CpuMap {
    /// From a list, for tests and for machines that are described elsewhere.
    pub fn new(mut cpus: Vec<Cpu>) -> CpuMap {
        cpus.sort_by_key(|cpu| cpu.number);
        cpus.dedup_by_key(|cpu| cpu.number);
        CpuMap { cpus }
    }
    /// A made-up machine numbered as Linux does on common hardware: first one CPU of each core,
    /// socket after socket, then the siblings in the same order. All usable, none isolated, one
    /// node a socket.
    pub fn made_up(sockets: usize, cores_per_socket: usize, threads_per_core: usize) -> CpuMap {
        let mut cpus = Vec::new();
        for thread in 0..threads_per_core {
            for socket in 0..sockets {
                for core in 0..cores_per_socket {
                    let number = (thread * sockets + socket) * cores_per_socket + core;
                    let (isolated, usable) = (false, true);
                    cpus.push(Cpu { number, socket, core, node: socket, isolated, usable });
                }
            }
        }
        CpuMap::new(cpus)
    }
    /// The same machine with these CPUs isolated (and so usable).
    pub fn isolate(mut self, numbers: &[usize]) -> CpuMap {
        for cpu in &mut self.cpus {
            cpu.isolated |= numbers.contains(&cpu.number);
        }
        self
    }
    /// The same machine where we may use these CPUs only.
    pub fn allow_only(mut self, numbers: &[usize]) -> CpuMap {
        for cpu in &mut self.cpus {
            cpu.usable &= numbers.contains(&cpu.number);
        }
        self
    }
    /// This machine. Whatever cannot be read is replaced by the plainest guess: one socket, no
    /// siblings, none isolated; an empty answer becomes CPU 0 alone.
    pub fn of_this_machine() -> CpuMap {
        CpuMap::read(Path::new("/sys"), Path::new("/proc"))
    }
    /// From a copy of `/sys` and `/proc`.
    pub fn read(sys: &Path, proc: &Path) -> CpuMap {
        let cpu_dir = sys.join("devices/system/cpu");
        let text = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        let online = parse_cpu_list(&text(&cpu_dir.join("online"))).unwrap_or_default();
        let isolated = parse_cpu_list(&text(&cpu_dir.join("isolated"))).unwrap_or_default();
        let status = text(&proc.join("self/status"));
        let allowed = status
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
            .and_then(parse_cpu_list);
        let cpuset = cpuset_of(sys, proc);
        let online = if online.is_empty() {
            allowed.clone().filter(|list| !list.is_empty()).unwrap_or_else(|| [0].into())
        } else {
            online
        };
        let nodes = nodes_of(sys);
        let mut cpus = Vec::with_capacity(online.len());
        for &number in &online {
            let topology = cpu_dir.join(format!("cpu{number}/topology"));
            let value = |name: &str| text(&topology.join(name)).trim().parse::<usize>().ok();
            let is_isolated = isolated.contains(&number);
            let in_mask = allowed.as_ref().is_none_or(|list| list.contains(&number));
            let in_cpuset = cpuset.as_ref().is_none_or(|list| list.contains(&number));
            let node = nodes.iter().find(|(_, list)| list.contains(&number));
            cpus.push(Cpu {
                number,
                socket: value("physical_package_id").unwrap_or(0),
                core: value("core_id").unwrap_or(number),
                node: node.map_or(0, |(node, _)| *node),
                isolated: is_isolated,
                usable: (in_mask || is_isolated) && in_cpuset,
            });
        }
        CpuMap::new(cpus)
    }
    pub fn cpus(&self) -> &[Cpu] {
        &self.cpus
    }
    pub fn get(&self, number: usize) -> Option<&Cpu> {
        self.cpus.iter().find(|cpu| cpu.number == number)
    }
    /// CPUs we may use, ascending.
    pub fn usable(&self) -> Vec<usize> {
        self.cpus.iter().filter(|cpu| cpu.usable).map(|cpu| cpu.number).collect()
    }
    /// The other CPUs of the same core, usable or not.
    pub fn siblings(&self, number: usize) -> Vec<usize> {
        let Some(own) = self.get(number) else { return Vec::new() };
        self.cpus
            .iter()
            .filter(|cpu| (cpu.socket, cpu.core) == (own.socket, own.core) && cpu.number != number)
            .map(|cpu| cpu.number)
            .collect()
    }
    /// Physical cores with at least one usable CPU, by their lowest usable number.
    pub fn cores(&self) -> Vec<Core> {
        let mut cores: Vec<Core> = Vec::new();
        for cpu in self.cpus.iter().filter(|cpu| cpu.usable) {
            match cores.iter_mut().find(|core| (core.socket, core.core) == (cpu.socket, cpu.core)) {
                Some(core) => {
                    core.isolated &= cpu.isolated;
                    core.cpus.push(cpu.number);
                }
                None => cores.push(Core {
                    socket: cpu.socket,
                    core: cpu.core,
                    isolated: cpu.isolated,
                    cpus: vec![cpu.number],
                }),
            }
        }
        cores
    }
}

/// `0-3,8,10-11` and the like; empty text is an empty list. `None` for anything else, or numbers
/// out of range.
pub fn parse_cpu_list(text: &str) -> Option<BTreeSet<usize>> {
    let mut list = BTreeSet::new();
    for part in text.trim().split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last >= CPU_NUMBER_MAX {
            return None;
        }
        list.extend(first..=last);
    }
    Some(list)
}

/// The CPUs of the control group this process lives in; `None` where there is none or it does not
/// say.
fn cpuset_of(sys: &Path, proc: &Path) -> Option<BTreeSet<usize>> {
    let groups = fs::read_to_string(proc.join("self/cgroup")).ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mut dir = sys.join("fs/cgroup").join(group.trim_start_matches('/'));
    // A group without the cpuset controller takes its parent's.
    while dir.starts_with(sys.join("fs/cgroup")) {
        if let Ok(text) = fs::read_to_string(dir.join("cpuset.cpus.effective")) {
            return parse_cpu_list(&text).filter(|list| !list.is_empty());
        }
        dir.pop();
    }
    None
}

fn nodes_of(sys: &Path) -> Vec<(usize, BTreeSet<usize>)> {
    let Ok(entries) = fs::read_dir(sys.join("devices/system/node")) else { return Vec::new() };
    let mut nodes = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("node")?.parse().ok());
        if let Some(number) = number
            && let Ok(text) = fs::read_to_string(entry.path().join("cpulist"))
            && let Some(list) = parse_cpu_list(&text)
        {
            nodes.push((number, list));
        }
    }
    nodes.sort();
    nodes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::files::TestDir;

    fn put(dir: &TestDir, path: &str, text: &str) {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn cpu_lists_are_read_and_nonsense_is_not() {
        let check = |text: &str, expected: Option<&[usize]>| {
            let found = parse_cpu_list(text).map(|list| list.into_iter().collect::<Vec<_>>());
            assert_eq!(found.as_deref(), expected, "{text:?}");
        };
        check("0-3,8,10-11\n", Some(&[0, 1, 2, 3, 8, 10, 11]));
        check(" 5 ", Some(&[5]));
        check("\n", Some(&[]));
        check("3-1", None);
        check("0-99999999", None);
        check("a", None);
        check("-1", None);
    }

    #[test]
    fn a_made_up_machine_is_numbered_like_linux() {
        let map = CpuMap::made_up(2, 2, 2);
        assert_eq!(map.usable(), (0..8).collect::<Vec<_>>());
        assert_eq!((map.siblings(0), map.siblings(7)), (vec![4], vec![3]));
        assert_eq!((map.get(1).unwrap().socket, map.get(2).unwrap().socket), (0, 1));
        let cores: Vec<_> = map.cores().into_iter().map(|core| core.cpus).collect();
        assert_eq!(cores, [[0, 4], [1, 5], [2, 6], [3, 7]]);
        assert_eq!(map.allow_only(&[1, 3, 5]).cores().len(), 2);
    }

    #[test]
    fn a_machine_is_read_from_its_files_isolated_cpus_included() {
        let dir = TestDir::new("sysfs");
        put(&dir, "sys/devices/system/cpu/online", "0-5\n");
        put(&dir, "sys/devices/system/cpu/isolated", "2,5\n");
        for cpu in 0..6 {
            let base = format!("sys/devices/system/cpu/cpu{cpu}/topology");
            put(&dir, &format!("{base}/core_id"), &format!("{}\n", cpu % 3));
            put(&dir, &format!("{base}/physical_package_id"), "0\n");
        }
        put(&dir, "sys/devices/system/node/node0/cpulist", "0-2\n");
        put(&dir, "sys/devices/system/node/node1/cpulist", "3-5\n");
        // As with isolcpus=2,5 and taskset 0,1,3: the mask never shows the isolated ones.
        put(&dir, "proc/self/status", "Name:\tx\nCpus_allowed_list:\t0-1,3\n");
        put(&dir, "proc/self/cgroup", "0::/work.slice/app\n");
        put(&dir, "sys/fs/cgroup/cpuset.cpus.effective", "0-5\n");
        let map = CpuMap::read(&dir.path().join("sys"), &dir.path().join("proc"));
        assert_eq!(map.usable(), [0, 1, 2, 3, 5]);
        assert_eq!(map.siblings(2), [5]);
        assert_eq!(map.get(4).unwrap().node, 1);
        let isolated: Vec<_> = map.cores().iter().map(|core| core.isolated).collect();
        assert_eq!(isolated, [false, false, true]);
        // A narrower cpuset wins over isolation.
        put(&dir, "sys/fs/cgroup/work.slice/app/cpuset.cpus.effective", "0-1\n");
        let map = CpuMap::read(&dir.path().join("sys"), &dir.path().join("proc"));
        assert_eq!(map.usable(), [0, 1]);
    }

    #[test]
    fn a_machine_that_tells_nothing_has_one_cpu() {
        let dir = TestDir::new("nosysfs");
        let map = CpuMap::read(&dir.path().join("sys"), &dir.path().join("proc"));
        assert_eq!(map.usable(), [0]);
        assert_eq!(map.cores().len(), 1);
    }

    #[test]
    fn this_machine_has_the_cpus_the_kernel_lets_us_use() {
        let map = CpuMap::of_this_machine();
        let allowed = crate::io::syscall::allowed_cpus().unwrap();
        assert!(allowed.iter().all(|cpu| map.usable().contains(cpu)), "{allowed:?} {map:?}");
    }
}
