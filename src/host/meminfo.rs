//! /proc/meminfo.

use crate::model::MetricType;

use super::collection::{Collect, Round};
use super::config::HostConfig;
use super::read::{CollectError, KernelFile, number};

pub(super) struct Meminfo(KernelFile);

impl Meminfo {
    pub fn new(config: &HostConfig) -> Self {
        Self(KernelFile::new(config.procfs.join("meminfo")))
    }
}

impl Collect for Meminfo {
    fn update(&mut self, round: &mut Round<'_>) -> Result<(), CollectError> {
        let text = self.0.read(round.buffer)?;
        for line in text.lines().filter(|l| !l.trim().is_empty()) {
            let bad = || self.0.malformed(line);
            let (field, rest) = line.split_once(':').ok_or_else(bad)?;
            let mut words = rest.split_ascii_whitespace();
            let value = words.next().and_then(number).ok_or_else(bad)?;
            // `Active(anon)` is called `Active_anon`.
            let (field, open, inner) = match field.split_once('(') {
                Some((head, tail)) => (head, "_", tail.strip_suffix(')').ok_or_else(bad)?),
                None => (field, "", ""),
            };
            let (value, unit) = match words.next() {
                Some("kB") => (value * 1024.0, "_bytes"),
                None => (value, ""),
                Some(_) => return Err(bad()),
            };
            round.out.emit_named(
                &["node_memory_", field, open, inner, unit],
                MetricType::Gauge,
                format_args!("Memory information field {field}{open}{inner}{unit}."),
                &[],
                value,
            );
        }
        Ok(())
    }
}
