//! /proc/pressure: how long work waited for what (PSI).

use super::collection::{Collect, Round};
use super::config::HostConfig;
use super::emitter::{Metric, counter};
use super::read::{CollectError, KernelFile, number};

/// File, first word of the line, metric.
const TOTALS: [(&str, &str, Metric); 6] = [
    (
        "cpu",
        "some",
        counter(
            "node_pressure_cpu_waiting_seconds_total",
            "Total time in seconds that processes have waited for CPU time",
        ),
    ),
    (
        "io",
        "some",
        counter(
            "node_pressure_io_waiting_seconds_total",
            "Total time in seconds that processes have waited due to IO congestion",
        ),
    ),
    (
        "io",
        "full",
        counter(
            "node_pressure_io_stalled_seconds_total",
            "Total time in seconds no process could make progress due to IO congestion",
        ),
    ),
    (
        "memory",
        "some",
        counter(
            "node_pressure_memory_waiting_seconds_total",
            "Total time in seconds that processes have waited for memory",
        ),
    ),
    (
        "memory",
        "full",
        counter(
            "node_pressure_memory_stalled_seconds_total",
            "Total time in seconds no process could make progress due to memory congestion",
        ),
    ),
    (
        "irq",
        "full",
        counter(
            "node_pressure_irq_stalled_seconds_total",
            "Total time in seconds no process could make progress due to IRQ congestion",
        ),
    ),
];

pub(super) struct Pressure(Vec<(&'static str, KernelFile)>);

impl Pressure {
    pub fn new(config: &HostConfig) -> Self {
        let folder = config.procfs.join("pressure");
        Self(["cpu", "io", "memory", "irq"].map(|n| (n, KernelFile::new(folder.join(n)))).into())
    }
}

impl Collect for Pressure {
    fn update(&mut self, round: &mut Round<'_>) -> Result<(), CollectError> {
        for (resource, file) in &mut self.0 {
            let text = match file.read(round.buffer) {
                // Kernels without accounting of interrupts lack this one file.
                Err(_) if *resource == "irq" => continue,
                other => other?,
            };
            for (_, word, metric) in TOTALS.iter().filter(|(of, _, _)| of == resource) {
                let total = stall_total(text, word).ok_or_else(|| file.malformed(text))?;
                round.out.emit(metric, &[], total);
            }
        }
        Ok(())
    }
}

/// The seconds of `total=` in the line that starts with `word`; the file has microseconds.
pub(super) fn stall_total(text: &str, word: &str) -> Option<f64> {
    let line = text.lines().find(|l| l.split_ascii_whitespace().next() == Some(word))?;
    let total = line.split_ascii_whitespace().find_map(|w| w.strip_prefix("total="))?;
    Some(number(total)? / 1000.0 / 1000.0)
}
