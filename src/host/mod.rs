//! The machine's own metrics: /proc, /sys, statvfs and cgroups, under node_exporter's names for the
//! machine and cAdvisor's names for this process' own cgroup.
//!
//! One file a collector. Each is told to `update` and emits samples; label sets are built when a series
//! is first seen and shared from then on, so that a repeated collection allocates next to nothing.
//! A collector that cannot read its file or does not understand it says so in
//! `node_scrape_collector_success`; the others go on.

mod collection;
mod config;
mod emitter;
mod filter;
mod read;

mod cgroup;
mod conntrack;
mod cpu;
mod cpu_info;
mod diskstats;
mod entropy;
mod filefd;
mod filesystem;
mod interrupts;
mod loadavg;
mod meminfo;
mod mounts;
mod netdev;
mod netstat;
mod pressure;
mod schedstat;
mod sockstat;
mod softirqs;
mod stat;
mod statvfs;
mod time;
mod udev;
mod uname;
mod vmstat;

pub use collection::{Host, HostError};
pub use config::{
    CollectorName, CpuConfig, DiskstatsConfig, FilesystemConfig, HostConfig, NetdevConfig, Pattern, Scope,
};
pub use emitter::Sink;
