//! Connection tracking of netfilter.

use super::collection::{Collect, Round};
use super::config::HostConfig;
use super::emitter::{Metric, gauge};
use super::read::{CollectError, KernelFile, number};

const ENTRIES: Metric =
    gauge("node_nf_conntrack_entries", "Number of currently allocated flow entries for connection tracking.");
const LIMIT: Metric = gauge("node_nf_conntrack_entries_limit", "Maximum size of connection tracking table.");

/// Columns of the statistics, whose lines are one a CPU.
const COLUMNS: [(&str, Metric); 8] = [
    ("found", gauge("node_nf_conntrack_stat_found", "Number of searched entries which were successful.")),
    ("invalid", gauge("node_nf_conntrack_stat_invalid", "Number of packets seen which can not be tracked.")),
    (
        "ignore",
        gauge(
            "node_nf_conntrack_stat_ignore",
            "Number of packets seen which are already connected to a conntrack entry.",
        ),
    ),
    ("insert", gauge("node_nf_conntrack_stat_insert", "Number of entries inserted into the list.")),
    (
        "insert_failed",
        gauge(
            "node_nf_conntrack_stat_insert_failed",
            "Number of entries for which list insertion was attempted but failed.",
        ),
    ),
    ("drop", gauge("node_nf_conntrack_stat_drop", "Number of packets dropped due to conntrack failure.")),
    (
        "early_drop",
        gauge(
            "node_nf_conntrack_stat_early_drop",
            "Number of dropped conntrack entries to make room for new ones, if maximum table size was reached.",
        ),
    ),
    (
        "search_restart",
        gauge(
            "node_nf_conntrack_stat_search_restart",
            "Number of conntrack table lookups which had to be restarted due to hashtable resizes.",
        ),
    ),
];

pub(super) struct Conntrack {
    count: KernelFile,
    max: KernelFile,
    stat: KernelFile,
}

impl Conntrack {
    pub fn new(config: &HostConfig) -> Self {
        let sys = config.procfs.join("sys/net/netfilter");
        Self {
            count: KernelFile::new(sys.join("nf_conntrack_count")),
            max: KernelFile::new(sys.join("nf_conntrack_max")),
            stat: KernelFile::new(config.procfs.join("net/stat/nf_conntrack")),
        }
    }
}

impl Collect for Conntrack {
    fn update(&mut self, round: &mut Round<'_>) -> Result<(), CollectError> {
        for (file, metric) in [(&mut self.count, &ENTRIES), (&mut self.max, &LIMIT)] {
            let text = file.read(round.buffer)?;
            let value = number(text.trim()).ok_or_else(|| file.malformed(text))?;
            round.out.emit(metric, &[], value);
        }
        let text = self.stat.read(round.buffer)?;
        let mut lines = text.lines();
        let heading = lines.next().unwrap_or_default();
        // The columns differ from kernel to kernel, so they are found by name.
        let place = |name: &str| heading.split_ascii_whitespace().position(|w| w == name);
        let places: [Option<usize>; 8] = COLUMNS.map(|(name, _)| place(name));
        let mut sums = [0u64; 8];
        for line in lines.filter(|l| !l.trim().is_empty()) {
            for (i, word) in line.split_ascii_whitespace().enumerate() {
                let value = u64::from_str_radix(word, 16).map_err(|_| self.stat.malformed(line))?;
                if let Some(column) = places.iter().position(|p| *p == Some(i)) {
                    sums[column] = sums[column].saturating_add(value);
                }
            }
        }
        for (((_, metric), place), sum) in COLUMNS.iter().zip(places).zip(sums) {
            if place.is_some() {
                round.out.emit(metric, &[], sum as f64);
            }
        }
        Ok(())
    }
}
