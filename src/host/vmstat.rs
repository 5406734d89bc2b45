//! /proc/vmstat.

use crate::model::MetricType;

use super::collection::{Collect, Round};
use super::config::{HostConfig, Pattern};
use super::filter::Filter;
use super::read::{CollectError, KernelFile, number};

pub(super) struct Vmstat {
    file: KernelFile,
    fields: Filter,
}

impl Vmstat {
    pub fn new(config: &HostConfig) -> Self {
        Self {
            file: KernelFile::new(config.procfs.join("vmstat")),
            fields: Filter::new(config.vmstat.fields.clone(), Pattern::default()),
        }
    }
}

impl Collect for Vmstat {
    fn update(&mut self, round: &mut Round<'_>) -> Result<(), CollectError> {
        let text = self.file.read(round.buffer)?;
        for line in text.lines().filter(|l| !l.trim().is_empty()) {
            let bad = || self.file.malformed(line);
            let (field, value) = line.split_once(' ').ok_or_else(bad)?;
            let value = number(value.trim()).ok_or_else(bad)?;
            if self.fields.passes(field) {
                round.out.emit_named(
                    &["node_vmstat_", field],
                    MetricType::Unknown,
                    format_args!("/proc/vmstat information field {field}."),
                    &[],
                    value,
                );
            }
        }
        self.fields.rest();
        Ok(())
    }
}
