//! /proc/schedstat: how long tasks ran and waited on each CPU.

use super::collection::{Collect, Round};
use super::config::HostConfig;
use super::emitter::{Metric, counter};
use super::read::{CollectError, KernelFile, number};

const RUNNING: Metric =
    counter("node_schedstat_running_seconds_total", "Number of seconds CPU spent running a process.");
const WAITING: Metric = counter(
    "node_schedstat_waiting_seconds_total",
    "Number of seconds spent by processing waiting for this CPU.",
);
const TIMESLICES: Metric =
    counter("node_schedstat_timeslices_total", "Number of timeslices executed by CPU.");

pub(super) struct Schedstat(KernelFile);

impl Schedstat {
    pub fn new(config: &HostConfig) -> Self {
        Self(KernelFile::new(config.procfs.join("schedstat")))
    }
}

impl Collect for Schedstat {
    fn update(&mut self, round: &mut Round<'_>) -> Result<(), CollectError> {
        let text = self.0.read(round.buffer)?;
        for line in text.lines() {
            let Some((cpu, rest)) = line.strip_prefix("cpu").and_then(|l| l.split_once(' ')) else {
                continue;
            };
            if cpu.is_empty() || !cpu.bytes().all(|b| b.is_ascii_digit()) {
                continue;
            }
            let bad = || self.0.malformed(line);
            // The 7th to the 9th field: ns running, ns waiting, time slices.
            let mut words = rest.split_ascii_whitespace().skip(6).map(number);
            let mut next = || words.next().flatten().ok_or_else(bad);
            let (running, waiting, slices) = (next()?, next()?, next()?);
            let labels = [("cpu", cpu)];
            round.out.emit(&RUNNING, &labels, running / 1e9);
            round.out.emit(&WAITING, &labels, waiting / 1e9);
            round.out.emit(&TIMESLICES, &labels, slices);
        }
        Ok(())
    }
}
