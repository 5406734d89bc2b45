//! /proc/interrupts: interrupts of each CPU and device. Many series, so it is off until asked for.

use super::collection::{Collect, Round};
use super::config::HostConfig;
use super::emitter::{Metric, counter};
use super::read::{CollectError, KernelFile, number};

const INTERRUPTS: Metric = counter("node_interrupts_total", "Interrupt details.");

pub(super) struct Interrupts(KernelFile);

impl Interrupts {
    pub fn new(config: &HostConfig) -> Self {
        Self(KernelFile::new(config.procfs.join("interrupts")))
    }
}

impl Collect for Interrupts {
    fn update(&mut self, round: &mut Round<'_>) -> Result<(), CollectError> {
        let text = self.0.read(round.buffer)?;
        let mut lines = text.lines();
        let heading = lines.next().unwrap_or_default();
        let cpus = heading.split_ascii_whitespace().count();
        for line in lines.filter(|l| !l.trim().is_empty()) {
            let bad = || self.0.malformed(line);
            let (kind, rest) = line.split_once(':').ok_or_else(bad)?;
            let kind = kind.trim();
            if rest.split_ascii_whitespace().count() < cpus {
                // Lines such as `ERR:` have one number for the whole machine.
                continue;
            }
            let mut words = rest.split_ascii_whitespace().skip(cpus);
            let numbered = kind.bytes().all(|b| b.is_ascii_digit());
            // A numbered line ends with the controller and the devices, the others with a description.
            let (info, devices) = if numbered {
                (words.next().unwrap_or_default().to_owned(), words.collect::<Vec<_>>().join(" "))
            } else {
                (words.collect::<Vec<_>>().join(" "), String::new())
            };
            for (cpu, count) in heading.split_ascii_whitespace().zip(rest.split_ascii_whitespace()) {
                let cpu = cpu.strip_prefix("CPU").ok_or_else(|| self.0.malformed(heading))?;
                let labels = [("cpu", cpu), ("type", kind), ("info", &info), ("devices", &devices)];
                round.out.emit(&INTERRUPTS, &labels, number(count).ok_or_else(bad)?);
            }
        }
        Ok(())
    }
}
