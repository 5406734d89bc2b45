//! /proc/stat without its CPU lines.

use super::collection::{Collect, Round};
use super::config::HostConfig;
use super::emitter::{Metric, counter, gauge};
use super::read::{CollectError, KernelFile, number};

const FIELDS: [(&str, Metric); 6] = [
    ("intr", counter("node_intr_total", "Total number of interrupts serviced.")),
    ("ctxt", counter("node_context_switches_total", "Total number of context switches.")),
    ("processes", counter("node_forks_total", "Total number of forks.")),
    ("btime", gauge("node_boot_time_seconds", "Node boot time, in unixtime.")),
    ("procs_running", gauge("node_procs_running", "Number of processes in runnable state.")),
    (
        "procs_blocked",
        gauge("node_procs_blocked", "Number of processes blocked waiting for I/O to complete."),
    ),
];
const SOFTIRQS: Metric = counter("node_softirqs_total", "Number of softirq calls.");
/// In the order of the file.
const VECTORS: [&str; 10] =
    ["hi", "timer", "net_tx", "net_rx", "block", "block_iopoll", "tasklet", "sched", "hrtimer", "rcu"];

pub(super) struct Stat {
    file: KernelFile,
    softirq: bool,
}

impl Stat {
    pub fn new(config: &HostConfig) -> Self {
        Self { file: KernelFile::new(config.procfs.join("stat")), softirq: config.stat.softirq }
    }
}

impl Collect for Stat {
    fn update(&mut self, round: &mut Round<'_>) -> Result<(), CollectError> {
        let text = self.file.read(round.buffer)?;
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            let Some(key) = words.next() else { continue };
            let bad = || self.file.malformed(line);
            if let Some((_, metric)) = FIELDS.iter().find(|(name, _)| *name == key) {
                round.out.emit(metric, &[], words.next().and_then(number).ok_or_else(bad)?);
            } else if key == "softirq" && self.softirq {
                // The first number is the sum of the others.
                for (vector, word) in VECTORS.iter().zip(words.skip(1)) {
                    round.out.emit(&SOFTIRQS, &[("vector", vector)], number(word).ok_or_else(bad)?);
                }
            }
        }
        Ok(())
    }
}
