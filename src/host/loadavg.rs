//! /proc/loadavg.

use super::collection::{Collect, Round};
use super::config::HostConfig;
use super::emitter::{Metric, gauge};
use super::read::{CollectError, KernelFile, number};

const LOADS: [Metric; 3] = [
    gauge("node_load1", "1m load average."),
    gauge("node_load5", "5m load average."),
    gauge("node_load15", "15m load average."),
];

pub(super) struct Loadavg(KernelFile);

impl Loadavg {
    pub fn new(config: &HostConfig) -> Self {
        Self(KernelFile::new(config.procfs.join("loadavg")))
    }
}

impl Collect for Loadavg {
    fn update(&mut self, round: &mut Round<'_>) -> Result<(), CollectError> {
        let text = self.0.read(round.buffer)?;
        let mut words = text.split_ascii_whitespace();
        for metric in &LOADS {
            let value = words.next().and_then(number).ok_or_else(|| self.0.malformed(text))?;
            round.out.emit(metric, &[], value);
        }
        Ok(())
    }
}
