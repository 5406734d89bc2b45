//! /proc/softirqs: soft interrupts of each CPU.

use super::collection::{Collect, Round};
use super::config::HostConfig;
use super::emitter::{Metric, counter};
use super::read::{CollectError, KernelFile, number};

const CALLS: Metric = counter("node_softirqs_functions_total", "Softirq counts per CPU.");

pub(super) struct Softirqs(KernelFile);

impl Softirqs {
    pub fn new(config: &HostConfig) -> Self {
        Self(KernelFile::new(config.procfs.join("softirqs")))
    }
}

impl Collect for Softirqs {
    fn update(&mut self, round: &mut Round<'_>) -> Result<(), CollectError> {
        let text = self.0.read(round.buffer)?;
        let mut lines = text.lines();
        let heading = lines.next().unwrap_or_default();
        for line in lines.filter(|l| !l.trim().is_empty()) {
            let bad = || self.0.malformed(line);
            let (kind, counts) = line.split_once(':').ok_or_else(bad)?;
            // CPUs that are off have no column, so the number is taken from the heading.
            for (cpu, count) in heading.split_ascii_whitespace().zip(counts.split_ascii_whitespace()) {
                let cpu = cpu.strip_prefix("CPU").ok_or_else(|| self.0.malformed(heading))?;
                let count = number(count).ok_or_else(bad)?;
                round.out.emit(&CALLS, &[("cpu", cpu), ("type", kind.trim())], count);
            }
        }
        Ok(())
    }
}
