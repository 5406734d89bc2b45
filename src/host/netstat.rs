//! /proc/net/netstat, snmp and snmp6: the counters of the network protocols.

use crate::model::MetricType;

use super::collection::{Collect, Round};
use super::config::{HostConfig, Pattern};
use super::emitter::Emitter;
use super::filter::Filter;
use super::read::{CollectError, KernelFile, number};

pub(super) struct Netstat {
    /// Pairs of lines: the names, then the values.
    tables: [KernelFile; 2],
    /// One name and value a line.
    snmp6: KernelFile,
    fields: Filter,
    name: String,
}

impl Netstat {
    pub fn new(config: &HostConfig) -> Self {
        let net = config.procfs.join("net");
        Self {
            tables: ["netstat", "snmp"].map(|n| KernelFile::new(net.join(n))),
            snmp6: KernelFile::new(net.join("snmp6")),
            fields: Filter::new(config.netstat.fields.clone(), Pattern::default()),
            name: String::new(),
        }
    }
}

impl Collect for Netstat {
    fn update(&mut self, round: &mut Round<'_>) -> Result<(), CollectError> {
        let Self { tables, snmp6, fields, name } = self;
        let mut show = |out: &mut Emitter<'_>, protocol: &str, field: &str, value: f64| {
            name.clear();
            name.extend([protocol, "_", field]);
            if fields.passes(name) {
                out.emit_named(
                    &["node_netstat_", name],
                    MetricType::Unknown,
                    format_args!("Statistic {protocol}{field}."),
                    &[],
                    value,
                );
            }
        };
        for file in tables {
            let text = file.read(round.buffer)?;
            let mut lines = text.lines();
            while let Some(names) = lines.next() {
                let bad = || file.malformed(names);
                let (protocol, names) = names.split_once(':').ok_or_else(bad)?;
                let (same, values) = lines.next().and_then(|l| l.split_once(':')).ok_or_else(bad)?;
                let names = names.split_ascii_whitespace();
                let values = values.split_ascii_whitespace();
                if same != protocol || names.clone().count() != values.clone().count() {
                    return Err(bad());
                }
                for (field, value) in names.zip(values) {
                    show(&mut round.out, protocol, field, number(value).ok_or_else(bad)?);
                }
            }
        }
        match snmp6.read(round.buffer) {
            // No IPv6 in this kernel.
            Err(CollectError::NoData(_)) => {}
            Err(e) => return Err(e),
            Ok(text) => {
                for line in text.lines() {
                    let mut words = line.split_ascii_whitespace();
                    let (Some(full), Some(value)) = (words.next(), words.next()) else { continue };
                    // `Icmp6InMsgs` is the field InMsgs of the protocol Icmp6.
                    let Some(six) = full.find('6') else { continue };
                    let (protocol, field) = full.split_at(six + 1);
                    let value = number(value).ok_or_else(|| snmp6.malformed(line))?;
                    show(&mut round.out, protocol, field, value);
                }
            }
        }
        fields.rest();
        Ok(())
    }
}
