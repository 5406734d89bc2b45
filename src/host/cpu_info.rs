//! /proc/cpuinfo: what the CPUs are.

use super::collection::Round;
use super::config::{HostConfig, Pattern};
use super::emitter::{Metric, gauge};
use super::filter::Filter;
use super::read::{CollectError, KernelFile};

const INFO: Metric = gauge("node_cpu_info", "CPU information from /proc/cpuinfo.");
const FLAG: Metric = gauge(
    "node_cpu_flag_info",
    "The `flags` field of CPU information from /proc/cpuinfo taken from the first core.",
);
const BUG: Metric = gauge(
    "node_cpu_bug_info",
    "The `bugs` field of CPU information from /proc/cpuinfo taken from the first core.",
);

/// Label, and the keys it is read from (the second one is that of ARM).
const LABELS: [(&str, [&str; 2]); 10] = [
    ("package", ["physical id", ""]),
    ("core", ["core id", ""]),
    ("cpu", ["processor", ""]),
    ("vendor", ["vendor_id", "CPU implementer"]),
    ("family", ["cpu family", "CPU architecture"]),
    ("model", ["model", "CPU part"]),
    ("model_name", ["model name", ""]),
    ("microcode", ["microcode", ""]),
    ("stepping", ["stepping", "CPU revision"]),
    ("cachesize", ["cache size", ""]),
];

/// What was read; it only changes with the number of CPUs.
pub(super) struct CpuInfo {
    file: KernelFile,
    flags: Option<Filter>,
    bugs: Option<Filter>,
    cpus: Vec<[String; LABELS.len()]>,
    shown_flags: Vec<String>,
    shown_bugs: Vec<String>,
}

impl CpuInfo {
    /// `None` when the configuration does not ask for it.
    pub fn new(config: &HostConfig) -> Option<Self> {
        let cpu = &config.cpu;
        let filter = |p: &Pattern| (!p.is_empty()).then(|| Filter::new(p.clone(), Pattern::default()));
        let (flags, bugs) = (filter(&cpu.info_flags_include), filter(&cpu.info_bugs_include));
        (cpu.info || flags.is_some() || bugs.is_some()).then(|| Self {
            file: KernelFile::new(config.procfs.join("cpuinfo")),
            flags,
            bugs,
            cpus: Vec::new(),
            shown_flags: Vec::new(),
            shown_bugs: Vec::new(),
        })
    }

    /// Emits what is known, read anew when the CPUs have changed.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn update(&mut self, changed: bool, round: &mut Round<'_>) -> Result<(), CollectError> {
        if changed || self.cpus.is_empty() {
            let text = self.file.read(round.buffer)?;
            self.cpus.clear();
            for block in text.split("\n\n") {
                self.cpus.extend(cpu_of(block));
            }
            self.shown_flags = words(&mut self.flags, value_of(text, "flags").or(value_of(text, "Features")));
            self.shown_bugs = words(&mut self.bugs, value_of(text, "bugs"));
        }
        for cpu in &self.cpus {
            let labels: [(&str, &str); LABELS.len()] =
                std::array::from_fn(|i| (LABELS[i].0, cpu[i].as_str()));
            round.out.emit(&INFO, &labels, 1.0);
        }
        for flag in &self.shown_flags {
            round.out.emit(&FLAG, &[("flag", flag)], 1.0);
        }
        for bug in &self.shown_bugs {
            round.out.emit(&BUG, &[("bug", bug)], 1.0);
        }
        Ok(())
    }
}

fn cpu_of(block: &str) -> Option<[String; LABELS.len()]> {
    value_of(block, "processor")?.parse::<u32>().ok()?;
    Some(LABELS.map(|(_, keys)| keys.iter().find_map(|k| value_of(block, k)).unwrap_or_default().to_owned()))
}

/// The value of the first line with this key.
fn value_of<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (k, v) = line.split_once(':')?;
        (!key.is_empty() && k.trim() == key).then(|| v.trim())
    })
}

fn words(filter: &mut Option<Filter>, field: Option<&str>) -> Vec<String> {
    let Some(filter) = filter else { return Vec::new() };
    let field = field.unwrap_or_default();
    let shown = field.split_ascii_whitespace().filter(|w| filter.passes(w)).map(str::to_owned).collect();
    filter.rest();
    shown
}
