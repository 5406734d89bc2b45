//! /proc/net/sockstat and sockstat6: sockets in use.

use crate::model::MetricType;

use super::collection::{Collect, Round};
use super::config::HostConfig;
use super::emitter::{Emitter, Metric, gauge};
use super::read::{CollectError, KernelFile, number};

const USED: Metric = gauge("node_sockstat_sockets_used", "Number of IPv4 sockets in use.");

pub(super) struct Sockstat {
    files: [KernelFile; 2],
    page_bytes: f64,
}

impl Sockstat {
    pub fn new(config: &HostConfig) -> Self {
        let net = config.procfs.join("net");
        Self {
            files: ["sockstat", "sockstat6"].map(|n| KernelFile::new(net.join(n))),
            page_bytes: page_bytes(),
        }
    }
}

impl Collect for Sockstat {
    fn update(&mut self, round: &mut Round<'_>) -> Result<(), CollectError> {
        let mut found = false;
        for file in &mut self.files {
            let text = match file.read(round.buffer) {
                // Either of the two protocols may be missing.
                Err(CollectError::NoData(_)) => continue,
                other => other?,
            };
            found = true;
            for line in text.lines().filter(|l| !l.trim().is_empty()) {
                let bad = || file.malformed(line);
                let (protocol, rest) = line.split_once(':').ok_or_else(bad)?;
                let mut words = rest.split_ascii_whitespace();
                while let Some(field) = words.next() {
                    let value = words.next().and_then(number).ok_or_else(bad)?;
                    if protocol == "sockets" {
                        if field == "used" {
                            round.out.emit(&USED, &[], value);
                        }
                        continue;
                    }
                    show(&mut round.out, protocol, field, value);
                    // Pages; people want bytes.
                    if field == "mem" {
                        show(&mut round.out, protocol, "mem_bytes", value * self.page_bytes);
                    }
                }
            }
        }
        if found { Ok(()) } else { Err(CollectError::NoData(self.files[0].path().to_owned())) }
    }
}

fn show(out: &mut Emitter<'_>, protocol: &str, field: &str, value: f64) {
    out.emit_named(
        &["node_sockstat_", protocol, "_", field],
        MetricType::Gauge,
        format_args!("Number of {protocol} sockets in state {field}."),
        &[],
        value,
    );
}

/// From what the kernel told this process at its start (AT_PAGESZ); 4096 when that cannot be read.
fn page_bytes() -> f64 {
    const AT_PAGESZ: usize = 6;
    const WORD: usize = size_of::<usize>();
    let auxv = std::fs::read("/proc/self/auxv").unwrap_or_default();
    let word = |bytes: &[u8]| bytes.try_into().map(usize::from_ne_bytes).unwrap_or_default();
    auxv.chunks_exact(2 * WORD)
        .map(|pair| (word(&pair[..WORD]), word(&pair[WORD..])))
        .find(|(key, _)| *key == AT_PAGESZ)
        .map_or(4096.0, |(_, size)| size as f64)
}
