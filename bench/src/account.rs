//! What a server and everything that it has started cost: processor time and memory.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// USER_HZ, in which /proc counts on every machine that this runs on.
const TICKS: f64 = 100.0;

/// A family of processes: one that we started, and its descendants.
#[derive(Debug)]
pub(crate) struct Account {
    first: u32,
    group: Option<Group>,
}

/// A control group of a server's own; it also knows what processes have used that ended unseen.
#[derive(Debug)]
pub(crate) struct Group {
    folder: PathBuf,
}

/// One process as /proc/PID/stat has it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Process {
    parent: u32,
    /// With its children that have ended, in seconds.
    cpu: f64,
    /// When it started, in ticks: with the number it names a process for good.
    started: u64,
}

impl Group {
    /// A new one, where root's rights and a second hierarchy of control groups allow it.
    pub(crate) fn new() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
        let mounts = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
        let mount = mounts
            .iter()
            .find(|mount| Path::new(mount).join("cgroup.controllers").is_file())?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("pasarela-bench-{}-{number}", std::process::id());
        let folder = Path::new(mount).join(own).join(name);
        fs::create_dir(&folder).ok()?;
        let group = Self { folder };
        group.cpu().is_some().then_some(group)
    }

    /// The same command within the group.
    pub(crate) fn enclose(&self, command: &Command) -> Command {
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", r#"echo $$ > "$0" && exec "$@""#])
            .arg(self.folder.join("cgroup.procs"))
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell
    }

    fn cpu(&self) -> Option<f64> {
        let text = fs::read_to_string(self.folder.join("cpu.stat")).ok()?;
        let usage = text.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
        usage.parse::<f64>().ok().map(|micros| micros / 1e6)
    }

    fn processes(&self) -> Vec<u32> {
        let text = fs::read_to_string(self.folder.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A group lives as long as the last process that is ending in it.
        for _ in 0..100 {
            if fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

impl Account {
    pub(crate) fn new(first: u32, group: Option<Group>) -> Self {
        Self { first, group }
    }

    /// Processor seconds so far.
    pub(crate) fn cpu(&self) -> f64 {
        match self.group.as_ref().and_then(Group::cpu) {
            Some(seconds) => seconds,
            None => self.family().values().map(|process| process.cpu).sum(),
        }
    }

    /// How many processes there are.
    pub(crate) fn processes(&self) -> usize {
        self.members().len()
    }

    /// What they occupy, in KiB; what processes share counts once.
    pub(crate) fn memory(&self) -> u64 {
        self.each("smaps_rollup", "Pss:")
    }

    /// The most that they occupied since [`Self::forget_peak`], in KiB; what they share counts for each of them.
    pub(crate) fn peak(&self) -> u64 {
        self.each("status", "VmHWM:")
    }

    pub(crate) fn forget_peak(&self) {
        for process in self.members() {
            // What cannot be forgotten is counted, which does the server no favour.
            let _ = fs::write(format!("/proc/{process}/clear_refs"), "5");
        }
    }

    /// Every process of the family with when it started.
    pub(crate) fn roll(&self) -> Vec<(u32, u64)> {
        let members = self.members();
        let all = all();
        let started = |process| all.get(process).map(|found| found.started);
        members
            .iter()
            .filter_map(|process| Some((*process, started(process)?)))
            .collect()
    }

    fn each(&self, file: &str, key: &str) -> u64 {
        let of = |process: &u32| {
            let text = fs::read_to_string(format!("/proc/{process}/{file}")).ok()?;
            let value = text.lines().find_map(|line| line.strip_prefix(key))?;
            value.split_whitespace().next()?.parse::<u64>().ok()
        };
        self.members().iter().filter_map(of).sum()
    }

    fn members(&self) -> Vec<u32> {
        let grouped = self.group.as_ref().map(Group::processes);
        match grouped {
            Some(members) if !members.is_empty() => members,
            _ => self.family().into_keys().collect(),
        }
    }

    fn family(&self) -> BTreeMap<u32, Process> {
        descendants(self.first, &all())
    }
}

/// Whether that very process still runs.
pub(crate) fn runs((process, started): (u32, u64)) -> bool {
    stat(process).is_some_and(|found| found.started == started)
}

/// Processor seconds of this process so far, with its children that have ended.
pub(crate) fn own_cpu() -> f64 {
    stat(std::process::id()).map_or(f64::NAN, |own| own.cpu)
}

/// Processor seconds that the whole machine has worked.
pub(crate) fn machine_cpu() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks: Vec<f64> = text
        .split_whitespace()
        .skip(1)
        .take(8)
        .filter_map(|word| word.parse().ok())
        .collect();
    let idle: f64 = ticks.iter().skip(3).take(2).sum();
    (ticks.iter().sum::<f64>() - idle) / TICKS
}

fn all() -> BTreeMap<u32, Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return BTreeMap::new();
    };
    entries
        .filter_map(|entry| {
            let process = entry.ok()?.file_name().to_str()?.parse().ok()?;
            Some((process, stat(process)?))
        })
        .collect()
}

fn stat(process: u32) -> Option<Process> {
    parse_stat(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
}

/// The name may have spaces and parentheses in it; what follows the last one has none.
fn parse_stat(text: &str) -> Option<Process> {
    let (_, rest) = text.rsplit_once(") ")?;
    let words: Vec<&str> = rest.split_whitespace().collect();
    let ticks = words.get(11..15)?;
    let ticks: f64 = ticks.iter().filter_map(|word| word.parse::<f64>().ok()).sum();
    Some(Process {
        parent: words.get(1)?.parse().ok()?,
        cpu: ticks / TICKS,
        started: words.get(19)?.parse().ok()?,
    })
}

fn descendants(first: u32, all: &BTreeMap<u32, Process>) -> BTreeMap<u32, Process> {
    let mut family = BTreeMap::new();
    let mut next = vec![first];
    while let Some(process) = next.pop() {
        let Some(found) = all.get(&process) else {
            continue;
        };
        if family.insert(process, *found).is_none() {
            let children = all.iter().filter(|(_, other)| other.parent == process);
            next.extend(children.map(|(child, _)| *child));
        }
    }
    family
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_numbers() {
        let text = "7 (a) b) S 3 7 7 0 -1 4194304 0 0 0 0 100 50 25 25 20 0 1 0 4711 0 0";
        let process = parse_stat(text).unwrap();
        assert_eq!((process.parent, process.started), (3, 4711));
        assert!((process.cpu - 2.0).abs() < 1e-9);
        assert!(parse_stat("7 (a) S").is_none());
    }

    #[test]
    fn a_family_is_a_process_and_all_below_it() {
        let process = |parent| Process {
            parent,
            cpu: 1.0,
            started: 0,
        };
        let all = BTreeMap::from([
            (1, process(0)),
            (2, process(1)),
            (3, process(2)),
            (4, process(1)),
            (5, process(3)),
        ]);
        let family = descendants(2, &all);
        assert_eq!(family.into_keys().collect::<Vec<_>>(), [2, 3, 5]);
    }

    #[test]
    fn this_process_has_cost_something_and_runs() {
        let account = Account::new(std::process::id(), None);
        assert!(account.memory() > 0 && account.peak() > 0 && account.processes() >= 1);
        assert!(machine_cpu() > 0.0 && own_cpu() >= 0.0);
        let roll = account.roll();
        let own = roll.iter().find(|(process, _)| *process == std::process::id());
        assert!(runs(*own.unwrap()));
        assert!(!runs((own.unwrap().0, 0)));
    }
}
