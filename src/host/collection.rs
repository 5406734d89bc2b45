//! The set of collectors that are on, and one round through them.

use std::time::Instant;

use crate::model::{LabelsBuilder, Timestamp};

use super::config::{HostConfig, Scope};
use super::emitter::{Emitter, Metric, SeriesCache, Sink, gauge};
use super::read::CollectError;
use super::{
    cgroup, conntrack, cpu, diskstats, entropy, filefd, filesystem, interrupts, loadavg, meminfo, netdev,
    netstat, pressure, schedstat, sockstat, softirqs, stat, time, uname, vmstat,
};

/// Reads one thing and emits its samples.
pub(super) trait Collect: Send {
    /// `buffer` is scratch space that the collectors share.
    fn update(&mut self, round: &mut Round<'_>) -> Result<(), CollectError>;
}

/// What a collector is given.
pub(super) struct Round<'a> {
    /// ms since the epoch.
    pub now: Timestamp,
    pub buffer: &'a mut Vec<u8>,
    pub out: Emitter<'a>,
}

/// A collector that can be turned on.
pub(super) struct Known {
    pub name: &'static str,
    node: bool,
    container: bool,
    make: fn(&HostConfig) -> Box<dyn Collect>,
}

/// All the collectors. In a container only what is the container's own is on without being asked for.
pub(super) const COLLECTORS: &[Known] = &[
    known("cgroup", true, true, |c| Box::new(cgroup::Cgroup::new(c))),
    known("conntrack", true, false, |c| Box::new(conntrack::Conntrack::new(c))),
    known("cpu", true, false, |c| Box::new(cpu::Cpu::new(c))),
    known("diskstats", true, false, |c| Box::new(diskstats::Diskstats::new(c))),
    known("entropy", true, false, |c| Box::new(entropy::Entropy::new(c))),
    known("filefd", true, false, |c| Box::new(filefd::Filefd::new(c))),
    known("filesystem", true, false, |c| Box::new(filesystem::Filesystem::new(c))),
    known("interrupts", false, false, |c| Box::new(interrupts::Interrupts::new(c))),
    known("loadavg", true, false, |c| Box::new(loadavg::Loadavg::new(c))),
    known("meminfo", true, false, |c| Box::new(meminfo::Meminfo::new(c))),
    known("netdev", true, false, |c| Box::new(netdev::Netdev::new(c))),
    known("netstat", true, false, |c| Box::new(netstat::Netstat::new(c))),
    known("pressure", true, false, |c| Box::new(pressure::Pressure::new(c))),
    known("schedstat", true, false, |c| Box::new(schedstat::Schedstat::new(c))),
    known("sockstat", true, false, |c| Box::new(sockstat::Sockstat::new(c))),
    known("softirqs", false, false, |c| Box::new(softirqs::Softirqs::new(c))),
    known("stat", true, false, |c| Box::new(stat::Stat::new(c))),
    known("time", true, false, |c| Box::new(time::Time::new(c))),
    known("uname", true, false, |_| Box::new(uname::Uname)),
    known("vmstat", true, false, |c| Box::new(vmstat::Vmstat::new(c))),
];

const fn known(
    name: &'static str,
    node: bool,
    container: bool,
    make: fn(&HostConfig) -> Box<dyn Collect>,
) -> Known {
    Known { name, node, container, make }
}

const DURATION: Metric =
    gauge("node_scrape_collector_duration_seconds", "node_exporter: Duration of a collector scrape.");
const SUCCESS: Metric =
    gauge("node_scrape_collector_success", "node_exporter: Whether a collector succeeded.");

/// The buffer is given back when a large file has made it larger than this.
const BUFFER_KEPT: usize = 64 * 1024;

/// What is wrong with the `host:` section beyond its syntax.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    #[error("host: {0}_include and {0}_exclude are mutually exclusive")]
    IncludeAndExclude(&'static str),
    #[error("host: labels: {0:?} is no label name")]
    LabelName(String),
}

/// The collectors that are on.
pub struct Host {
    slots: Vec<Slot>,
    cache: SeriesCache,
    buffer: Vec<u8>,
}

struct Slot {
    name: &'static str,
    collector: Box<dyn Collect>,
    /// What was last said about it, so that a fault is one line in the log and not one a round.
    fault: Option<String>,
}

impl Host {
    /// Makes the collectors that the configuration turns on; none when it is not enabled. Reads nothing yet.
    ///
    /// # Errors
    /// Keys that exclude each other, a label that is none.
    pub fn new(config: &HostConfig) -> Result<Self, HostError> {
        check(config)?;
        let mut base = LabelsBuilder::default();
        base.set("job", &config.job);
        match &config.instance {
            Some(instance) => base.set("instance", instance),
            None => base.set("instance", &rustix::system::uname().nodename().to_string_lossy()),
        };
        for (name, value) in &config.labels {
            base.set(name, value);
        }
        let mut slots = Vec::new();
        for known in COLLECTORS.iter().filter(|_| config.enabled) {
            let said = config.collectors.iter().find(|(name, _)| name.as_str() == known.name);
            let on = match (said, config.scope) {
                (Some((_, on)), _) => *on,
                (None, Scope::Node) => known.node,
                (None, Scope::Container) => known.container,
            };
            if on {
                slots.push(Slot { name: known.name, collector: (known.make)(config), fault: None });
            }
        }
        Ok(Self { slots, cache: SeriesCache::new(base), buffer: Vec::new() })
    }

    /// The names of the collectors that are on.
    pub fn collectors(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.slots.iter().map(|s| s.name)
    }

    /// Runs all the collectors once, at `now` (ms since the epoch). Blocks for as long as /proc does; a file
    /// system that does not answer is waited for elsewhere.
    pub fn collect(&mut self, now: Timestamp, sink: &mut dyn Sink) {
        self.cache.start();
        for slot in &mut self.slots {
            let started = Instant::now();
            let out = Emitter { cache: &mut self.cache, sink };
            let result = slot.collector.update(&mut Round { now, buffer: &mut self.buffer, out });
            let result = result.and_then(|()| match self.cache.take_bad_name() {
                Some(name) => Err(CollectError::Name(name)),
                None => Ok(()),
            });
            let duration = started.elapsed().as_secs_f64();
            let labels = [("collector", slot.name)];
            let mut out = Emitter { cache: &mut self.cache, sink };
            out.emit(&DURATION, &labels, duration);
            out.emit(&SUCCESS, &labels, f64::from(u8::from(result.is_ok())));
            slot.tell(result.err());
        }
        if self.cache.finish(sink) {
            tracing::warn!("too many host series, the newest are left out");
        }
        if self.buffer.capacity() > BUFFER_KEPT {
            self.buffer = Vec::new();
        }
    }
}

impl Slot {
    fn tell(&mut self, error: Option<CollectError>) {
        let fault = error.as_ref().map(ToString::to_string);
        if fault == self.fault {
            return;
        }
        match &error {
            // As in node_exporter: what a kernel does not have is no reason to worry anybody.
            Some(e @ CollectError::NoData(_)) => {
                tracing::debug!(collector = self.name, err = %e, "collector has no data");
            }
            Some(e) => tracing::warn!(collector = self.name, err = %e, "collector failed"),
            None => tracing::info!(collector = self.name, "collector succeeds again"),
        }
        self.fault = fault;
    }
}

fn check(config: &HostConfig) -> Result<(), HostError> {
    let given = |p: &Option<super::Pattern>| p.as_ref().is_some_and(|p| !p.is_empty());
    let pairs = [
        ("diskstats: device", &config.diskstats.device_include, given(&config.diskstats.device_exclude)),
        ("netdev: device", &config.netdev.device_include, !config.netdev.device_exclude.is_empty()),
        (
            "filesystem: mount_points",
            &config.filesystem.mount_points_include,
            given(&config.filesystem.mount_points_exclude),
        ),
        (
            "filesystem: fs_types",
            &config.filesystem.fs_types_include,
            given(&config.filesystem.fs_types_exclude),
        ),
    ];
    for (what, include, exclude) in pairs {
        if !include.is_empty() && exclude {
            return Err(HostError::IncludeAndExclude(what));
        }
    }
    match config.labels.keys().find(|n| !crate::model::is_legacy_label_name(n)) {
        Some(name) => Err(HostError::LabelName(name.clone())),
        None => Ok(()),
    }
}
