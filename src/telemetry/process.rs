//! `process_*`: what this process takes, under the names of Prometheus' client libraries.

use std::fs;
use std::io::Read as _;
use std::path::PathBuf;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

/// Reads `/proc/self` whenever the metrics are encoded.
#[derive(Debug)]
pub struct ProcessMetrics {
    proc_self: PathBuf,
    /// Seconds since the epoch; never changes, so it is read once.
    start_time: Option<f64>,
}

/// Ticks a second in /proc, whatever the kernel's own timer does: part of Linux' interface (USER_HZ).
const USER_HZ: f64 = 100.0;

impl ProcessMetrics {
    /// Registers the metrics of this process.
    pub fn register(registry: &mut Registry) {
        registry.register_collector(Box::new(Self::new(
            PathBuf::from("/proc/self"),
            &PathBuf::from("/proc/stat"),
        )));
    }

    fn new(proc_self: PathBuf, stat: &std::path::Path) -> Self {
        let booted = fs::read_to_string(stat)
            .ok()
            .and_then(|text| text.lines().find_map(|l| l.strip_prefix("btime ")?.trim().parse::<f64>().ok()));
        let mut this = Self { proc_self, start_time: None };
        this.start_time = booted.zip(this.stat()).map(|(b, s)| b + s.start_ticks / USER_HZ);
        this
    }

    fn stat(&self) -> Option<Stat> {
        let mut buffer = [0; 1024];
        let n = fs::File::open(self.proc_self.join("stat")).ok()?.read(&mut buffer).ok()?;
        Stat::parse(std::str::from_utf8(&buffer[..n]).ok()?)
    }

    /// In kB there, so that the size of a page need not be known.
    fn resident_bytes(&self) -> Option<f64> {
        let text = fs::read_to_string(self.proc_self.join("status")).ok()?;
        let rest = text.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
        Some(rest.split_ascii_whitespace().next()?.parse::<f64>().ok()? * 1024.0)
    }

    /// Soft limits of open files and of address space in bytes; `None` when unlimited.
    fn limits(&self) -> (Option<f64>, Option<f64>) {
        let text = fs::read_to_string(self.proc_self.join("limits")).unwrap_or_default();
        let soft = |name: &str| {
            let rest = text.lines().find_map(|l| l.strip_prefix(name))?;
            rest.split_ascii_whitespace().next()?.parse().ok()
        };
        (soft("Max open files"), soft("Max address space"))
    }
}

#[derive(Debug, PartialEq)]
struct Stat {
    cpu_ticks: f64,
    start_ticks: f64,
    virtual_bytes: f64,
}

impl Stat {
    /// The command stands in parentheses and may itself hold any of them: the fields follow the last one.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        // Numbered as in proc(5), where the state is field 3.
        let field = |n: usize| fields.get(n.checked_sub(3)?)?.parse::<f64>().ok();
        Some(Self { cpu_ticks: field(14)? + field(15)?, start_ticks: field(22)?, virtual_bytes: field(23)? })
    }
}

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut gauge = |name: &str, help: &str, value: Option<f64>| {
            let Some(value) = value else { return Ok(()) };
            let metric = ConstGauge::new(value);
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        let stat = self.stat();
        let (max_fds, max_virtual) = self.limits();
        // The directory that is being read is itself one of the descriptors.
        let fds = fs::read_dir(self.proc_self.join("fd")).ok().map(|d| d.count().saturating_sub(1) as f64);
        gauge("process_open_fds", "Number of open file descriptors.", fds)?;
        gauge("process_max_fds", "Maximum number of open file descriptors.", max_fds)?;
        gauge(
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
            self.start_time,
        )?;
        gauge(
            "process_virtual_memory_max_bytes",
            "Maximum amount of virtual memory available in bytes.",
            max_virtual,
        )?;
        let Some(stat) = stat else { return Ok(()) };
        gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.", Some(stat.virtual_bytes))?;
        gauge("process_resident_memory_bytes", "Resident memory size in bytes.", self.resident_bytes())?;
        let cpu = ConstCounter::new(stat.cpu_ticks / USER_HZ);
        cpu.encode(encoder.encode_descriptor(
            "process_cpu_seconds",
            "Total user and system CPU time spent in seconds.",
            None,
            cpu.metric_type(),
        )?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_parentheses_does_not_shift_the_fields() {
        let tail = "S 1 1 1 0 -1 0 0 0 0 0 250 50 0 0 20 0 7 0 4242 8192 3 18446744073709551615 0";
        let expected = Some(Stat { cpu_ticks: 300.0, start_ticks: 4242.0, virtual_bytes: 8192.0 });
        assert_eq!(Stat::parse(&format!("77 (side) band) {tail}")), expected);
        for broken in ["", "77 (x", "77 (x) S 1", "77 (x) S a b c"] {
            assert_eq!(Stat::parse(broken), None, "{broken}");
        }
    }

    #[test]
    fn this_process_has_all_of_them() {
        let mut registry = Registry::default();
        ProcessMetrics::register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for name in [
            "process_cpu_seconds_total ",
            "process_resident_memory_bytes ",
            "process_virtual_memory_bytes ",
            "process_open_fds ",
            "process_max_fds ",
            "process_start_time_seconds ",
        ] {
            assert!(text.lines().any(|l| l.starts_with(name)), "{name} in {text}");
        }
    }
}
