//! /proc/net/dev: what went through each network device of this network namespace.

use crate::model::MetricType;

use super::collection::{Collect, Round};
use super::config::HostConfig;
use super::filter::Filter;
use super::read::{CollectError, KernelFile, number};

pub(super) struct Netdev {
    file: KernelFile,
    filter: Filter,
}

impl Netdev {
    pub fn new(config: &HostConfig) -> Self {
        let netdev = &config.netdev;
        Self {
            file: KernelFile::new(config.procfs.join("net/dev")),
            filter: Filter::new(netdev.device_include.clone(), netdev.device_exclude.clone()),
        }
    }
}

impl Collect for Netdev {
    fn update(&mut self, round: &mut Round<'_>) -> Result<(), CollectError> {
        let text = self.file.read(round.buffer)?;
        let mut lines = text.lines();
        // Two lines of headings; the second names the columns of both halves.
        let _ = lines.next();
        let heading = lines.next().unwrap_or_default();
        let mut parts = heading.split('|').skip(1);
        let (Some(receive), Some(transmit)) = (parts.next(), parts.next()) else {
            return Err(self.file.malformed(heading));
        };
        for line in lines.filter(|l| !l.trim().is_empty()) {
            let bad = || self.file.malformed(line);
            // The name of an alias holds a colon itself.
            let (device, values) = line.rsplit_once(':').ok_or_else(bad)?;
            let device = device.trim();
            if device.is_empty() {
                return Err(bad());
            }
            if !self.filter.passes(device) {
                continue;
            }
            let mut values = values.split_ascii_whitespace();
            for (direction, fields) in [("receive", receive), ("transmit", transmit)] {
                for field in fields.split_ascii_whitespace() {
                    let value = values.next().and_then(number).ok_or_else(bad)?;
                    round.out.emit_named(
                        &["node_network_", direction, "_", field, "_total"],
                        MetricType::Counter,
                        format_args!("Network device statistic {direction}_{field}."),
                        &[("device", device)],
                        value,
                    );
                }
            }
        }
        self.filter.rest();
        Ok(())
    }
}
