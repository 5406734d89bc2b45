//! /proc/sys/kernel/random: the kernel's entropy.

use super::collection::{Collect, Round};
use super::config::HostConfig;
use super::emitter::{Metric, gauge};
use super::read::{CollectError, KernelFile, number};

const METRICS: [(&str, Metric); 2] = [
    ("entropy_avail", gauge("node_entropy_available_bits", "Bits of available entropy.")),
    ("poolsize", gauge("node_entropy_pool_size_bits", "Bits of entropy pool.")),
];

pub(super) struct Entropy(Vec<(KernelFile, &'static Metric)>);

impl Entropy {
    pub fn new(config: &HostConfig) -> Self {
        let folder = config.procfs.join("sys/kernel/random");
        Self(METRICS.iter().map(|(name, m)| (KernelFile::new(folder.join(name)), m)).collect())
    }
}

impl Collect for Entropy {
    fn update(&mut self, round: &mut Round<'_>) -> Result<(), CollectError> {
        for (file, metric) in &mut self.0 {
            let text = file.read(round.buffer)?;
            let value = number(text.trim()).ok_or_else(|| file.malformed(text))?;
            round.out.emit(metric, &[], value);
        }
        Ok(())
    }
}
