//! The CPU lines of /proc/stat, and what /sys says of throttling and isolation.

use std::collections::HashMap;
use std::path::PathBuf;

use super::collection::{Collect, Round};
use super::config::HostConfig;
use super::cpu_info::CpuInfo;
use super::emitter::{Emitter, Metric, counter, gauge};
use super::read::{CollectError, KernelFile, number, read_number, read_trimmed};

const SECONDS: Metric = counter("node_cpu_seconds_total", "Seconds the CPUs spent in each mode.");
const GUEST: Metric =
    counter("node_cpu_guest_seconds_total", "Seconds the CPUs spent in guests (VMs) for each mode.");
const CORE_THROTTLES: Metric =
    counter("node_cpu_core_throttles_total", "Number of times this CPU core has been throttled.");
const PACKAGE_THROTTLES: Metric =
    counter("node_cpu_package_throttles_total", "Number of times this CPU package has been throttled.");
const ISOLATED: Metric = gauge(
    "node_cpu_isolated",
    "Whether each core is isolated, information from /sys/devices/system/cpu/isolated.",
);

/// In the order of the file.
const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];
const IDLE: usize = 3;
const GUEST_MODES: [&str; 2] = ["user", "nice"];
const FIELDS: usize = MODES.len() + GUEST_MODES.len();
/// Part of Linux' interface, whatever the kernel's timer does.
const USER_HZ: f64 = 100.0;
/// An idle time that falls by more than this many seconds is a CPU that was taken away and came back.
const HOTPLUG_SECONDS: f64 = 3.0;
/// A list of CPUs such as `0-3` cannot name more than Linux can have.
const MAX_CPUS: u32 = 8192;

pub(super) struct Cpu {
    stat: KernelFile,
    folder: PathBuf,
    guest: bool,
    info: Option<CpuInfo>,
    last: HashMap<u32, [f64; FIELDS]>,
    /// How many CPU lines the places below were read for.
    known_cpus: usize,
    throttles: Vec<Throttle>,
    isolated: Vec<u32>,
}

/// Where the throttle counts of one CPU stand.
struct Throttle {
    package: String,
    core: String,
    package_count: PathBuf,
    core_count: PathBuf,
}

impl Cpu {
    pub fn new(config: &HostConfig) -> Self {
        Self {
            stat: KernelFile::new(config.procfs.join("stat")),
            folder: config.sysfs.join("devices/system/cpu"),
            guest: config.cpu.guest,
            info: CpuInfo::new(config),
            last: HashMap::new(),
            known_cpus: 0,
            throttles: Vec::new(),
            isolated: Vec::new(),
        }
    }

    /// Finds what does not change while no CPU comes or goes.
    fn look_around(&mut self) -> Result<(), CollectError> {
        self.throttles.clear();
        for entry in std::fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(cpu) = name.to_str().and_then(|n| n.strip_prefix("cpu")) else { continue };
            let folder = entry.path();
            let counts = folder.join("thermal_throttle");
            if cpu.parse::<u32>().is_err() || !counts.is_dir() {
                continue;
            }
            let topology = |file: &str| read_trimmed(&folder.join("topology").join(file));
            let (Ok(package), Ok(core)) = (topology("physical_package_id"), topology("core_id")) else {
                continue;
            };
            self.throttles.push(Throttle {
                package,
                core,
                package_count: counts.join("package_throttle_count"),
                core_count: counts.join("core_throttle_count"),
            });
        }
        let file = self.folder.join("isolated");
        self.isolated = match read_trimmed(&file) {
            Ok(text) => cpu_list(&text).ok_or_else(|| CollectError::malformed(&file, &text))?,
            Err(_) => Vec::new(),
        };
        Ok(())
    }

    fn update_sys(&self, out: &mut Emitter<'_>) {
        for t in &self.throttles {
            // Threads of a core, and cores of a package, share a count: the emitter takes the first.
            let package = [("package", t.package.as_str())];
            if let Ok(n) = read_number(&t.package_count) {
                out.emit(&PACKAGE_THROTTLES, &package, n);
            }
            if let Ok(n) = read_number(&t.core_count) {
                out.emit(&CORE_THROTTLES, &[package[0], ("core", &t.core)], n);
            }
        }
        for cpu in &self.isolated {
            out.emit(&ISOLATED, &[("cpu", &cpu.to_string())], 1.0);
        }
    }
}

impl Collect for Cpu {
    fn update(&mut self, round: &mut Round<'_>) -> Result<(), CollectError> {
        let text = self.stat.read(round.buffer)?;
        let mut cpus = 0;
        for line in text.lines() {
            let Some((cpu, values)) = line.strip_prefix("cpu").and_then(|l| l.split_once(' ')) else {
                continue;
            };
            if cpu.is_empty() {
                // The sum of the others.
                continue;
            }
            cpus += 1;
            let bad = || self.stat.malformed(line);
            let id: u32 = cpu.parse().map_err(|_| bad())?;
            let mut times = [0.0; FIELDS];
            let mut words = values.split_ascii_whitespace();
            for (i, time) in times.iter_mut().enumerate() {
                match words.next() {
                    Some(word) => *time = number(word).ok_or_else(bad)? / USER_HZ,
                    // Old kernels have fewer columns, none fewer than four.
                    None if i > IDLE => break,
                    None => return Err(bad()),
                }
            }
            let times = self.last.entry(id).and_modify(|last| keep_rising(last, &times)).or_insert(times);
            for (mode, time) in MODES.iter().zip(times.iter()) {
                round.out.emit(&SECONDS, &[("cpu", cpu), ("mode", mode)], *time);
            }
            if self.guest {
                for (mode, time) in GUEST_MODES.iter().zip(&times[MODES.len()..]) {
                    round.out.emit(&GUEST, &[("cpu", cpu), ("mode", mode)], *time);
                }
            }
        }
        if cpus == 0 {
            return Err(self.stat.malformed(text));
        }
        let changed = cpus != self.known_cpus;
        if changed {
            self.look_around()?;
            self.known_cpus = cpus;
        }
        self.update_sys(&mut round.out);
        match &mut self.info {
            Some(info) => info.update(changed, round),
            None => Ok(()),
        }
    }
}

/// The kernel's per-CPU times, idle and iowait above all, step back by a little at times, which a rate
/// would take for a restart: a counter that fell keeps its value.
fn keep_rising(last: &mut [f64; FIELDS], new: &[f64; FIELDS]) {
    if new[IDLE] + HOTPLUG_SECONDS < last[IDLE] {
        *last = *new;
        return;
    }
    for (old, new) in last.iter_mut().zip(new) {
        *old = old.max(*new);
    }
}

/// A list such as `1,3-5,9`.
fn cpu_list(text: &str) -> Option<Vec<u32>> {
    let mut cpus = Vec::new();
    for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
        if last >= MAX_CPUS || cpus.len() > MAX_CPUS as usize {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus() {
        for (text, expected) in [
            ("", Some(vec![])),
            ("1,3-5,9", Some(vec![1, 3, 4, 5, 9])),
            ("0", Some(vec![0])),
            ("x", None),
            ("3-", None),
            ("0-4000000000", None),
        ] {
            assert_eq!(cpu_list(text), expected, "{text}");
        }
    }

    #[test]
    fn a_small_step_back_is_ignored_and_a_hotplug_is_not() {
        let mut last = [10.0; FIELDS];
        let mut new = [11.0; FIELDS];
        new[IDLE] = 9.5;
        keep_rising(&mut last, &new);
        assert_eq!((last[0], last[IDLE]), (11.0, 10.0));
        keep_rising(&mut last, &[1.0; FIELDS]);
        assert_eq!(last, [1.0; FIELDS]);
    }
}
