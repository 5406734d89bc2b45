//! This process' own cgroup (v1 or v2) under cAdvisor's names. Every series has `scope="self"`: it is about
//! the container that sideband runs in, not about the app's beside it.

use std::path::{Path, PathBuf};

use super::collection::{Collect, Round};
use super::config::HostConfig;
use super::emitter::{Emitter, Metric, counter, gauge};
use super::pressure::stall_total;
use super::read::{CollectError, KernelFile, number, read_trimmed};

mod metrics {
    use super::{Metric, counter, gauge};

    pub const CPU: Metric =
        counter("container_cpu_usage_seconds_total", "Cumulative cpu time consumed in seconds.");
    pub const CPU_USER: Metric =
        counter("container_cpu_user_seconds_total", "Cumulative user cpu time consumed in seconds.");
    pub const CPU_SYSTEM: Metric =
        counter("container_cpu_system_seconds_total", "Cumulative system cpu time consumed in seconds.");
    pub const PERIODS: Metric =
        counter("container_cpu_cfs_periods_total", "Number of elapsed enforcement period intervals.");
    pub const THROTTLED_PERIODS: Metric =
        counter("container_cpu_cfs_throttled_periods_total", "Number of throttled period intervals.");
    pub const THROTTLED: Metric = counter(
        "container_cpu_cfs_throttled_seconds_total",
        "Total time duration the container has been throttled.",
    );
    pub const QUOTA: Metric = gauge("container_spec_cpu_quota", "CPU quota of the container.");
    pub const PERIOD: Metric = gauge("container_spec_cpu_period", "CPU period of the container.");
    pub const SHARES: Metric = gauge("container_spec_cpu_shares", "CPU share of the container.");
    pub const USAGE: Metric = gauge(
        "container_memory_usage_bytes",
        "Current memory usage in bytes, including all memory regardless of when it was accessed",
    );
    pub const WORKING_SET: Metric =
        gauge("container_memory_working_set_bytes", "Current working set in bytes.");
    pub const MAX_USAGE: Metric =
        gauge("container_memory_max_usage_bytes", "Maximum memory usage recorded in bytes");
    pub const RSS: Metric = gauge("container_memory_rss", "Size of RSS in bytes.");
    pub const CACHE: Metric = gauge("container_memory_cache", "Number of bytes of page cache memory.");
    pub const MAPPED: Metric = gauge("container_memory_mapped_file", "Size of memory mapped files in bytes.");
    pub const SWAP: Metric = gauge("container_memory_swap", "Container swap usage in bytes.");
    pub const FAILCNT: Metric = counter("container_memory_failcnt", "Number of memory usage hits limits");
    pub const OOM: Metric =
        counter("container_oom_events_total", "Count of out of memory events observed for the container");
    pub const LIMIT: Metric = gauge("container_spec_memory_limit_bytes", "Memory limit for the container.");
    pub const THREADS: Metric = gauge("container_threads", "Number of threads running inside the container.");
    pub const THREADS_MAX: Metric = gauge(
        "container_threads_max",
        "Maximum number of threads allowed inside the container, infinity if value is zero",
    );
}

/// File, first word of the line, metric: the same words as in /proc/pressure.
const PRESSURE: [(&str, &str, Metric); 6] = [
    (
        "cpu.pressure",
        "some",
        counter(
            "container_pressure_cpu_waiting_seconds_total",
            "Total time duration tasks in the container have waited due to CPU congestion.",
        ),
    ),
    (
        "cpu.pressure",
        "full",
        counter(
            "container_pressure_cpu_stalled_seconds_total",
            "Total time duration no tasks in the container could make progress due to CPU congestion.",
        ),
    ),
    (
        "memory.pressure",
        "some",
        counter(
            "container_pressure_memory_waiting_seconds_total",
            "Total time duration tasks in the container have waited due to memory congestion.",
        ),
    ),
    (
        "memory.pressure",
        "full",
        counter(
            "container_pressure_memory_stalled_seconds_total",
            "Total time duration no tasks in the container could make progress due to memory congestion.",
        ),
    ),
    (
        "io.pressure",
        "some",
        counter(
            "container_pressure_io_waiting_seconds_total",
            "Total time duration tasks in the container have waited due to IO congestion.",
        ),
    ),
    (
        "io.pressure",
        "full",
        counter(
            "container_pressure_io_stalled_seconds_total",
            "Total time duration no tasks in the container could make progress due to IO congestion.",
        ),
    ),
];

/// Cgroup v1 writes "no limit" as a number near 2^63.
const UNLIMITED: f64 = (1u64 << 62) as f64;
const USER_HZ: f64 = 100.0;

pub(super) struct Cgroup {
    membership: PathBuf,
    mount: PathBuf,
    found: Option<Found>,
}

/// Where our cgroup's files are.
struct Found {
    id: String,
    v2: bool,
    cpu: Folder,
    cpuacct: Folder,
    memory: Folder,
    pids: Folder,
}

impl Cgroup {
    pub fn new(config: &HostConfig) -> Self {
        Self {
            membership: config.procfs.join("self/cgroup"),
            mount: config.sysfs.join("fs/cgroup"),
            found: None,
        }
    }

    /// Lines of the membership are `number:controllers:path`; v2 is the line `0::path`.
    fn find(&self) -> Result<Found, CollectError> {
        let text = read_trimmed(&self.membership)?;
        let lines: Vec<(&str, &str)> =
            text.lines().filter_map(|l| l.split_once(':')?.1.split_once(':')).collect();
        let unified = lines.iter().find(|(controllers, _)| controllers.is_empty()).map(|(_, path)| *path);
        if let (Some(path), true) = (unified, self.mount.join("cgroup.controllers").exists()) {
            let folder = Folder::new(below(&self.mount, path));
            return Ok(Found {
                id: path.to_owned(),
                v2: true,
                cpu: folder.again(),
                cpuacct: folder.again(),
                memory: folder.again(),
                pids: folder,
            });
        }
        let v1 = |controller: &str| {
            let (names, path) = lines.iter().find(|(names, _)| names.split(',').any(|n| n == controller))?;
            let mount = [controller, names].map(|n| self.mount.join(n)).into_iter().find(|m| m.is_dir())?;
            Some((Folder::new(below(&mount, path)), (*path).to_owned()))
        };
        let memory = v1("memory").ok_or_else(|| CollectError::NoData(self.mount.join("memory")))?;
        let nowhere = || Folder::new(PathBuf::from("/nonexistent"));
        Ok(Found {
            id: memory.1,
            v2: false,
            memory: memory.0,
            cpu: v1("cpu").map_or_else(nowhere, |f| f.0),
            cpuacct: v1("cpuacct").map_or_else(nowhere, |f| f.0),
            pids: v1("pids").map_or_else(nowhere, |f| f.0),
        })
    }
}

/// In a container the path may be that of the machine, which is not to be seen there: our cgroup is then the root
/// of what is mounted.
fn below(mount: &Path, path: &str) -> PathBuf {
    let own = mount.join(path.trim_start_matches('/'));
    if !path.contains("..") && own.is_dir() { own } else { mount.to_owned() }
}

impl Collect for Cgroup {
    fn update(&mut self, round: &mut Round<'_>) -> Result<(), CollectError> {
        let mut found = match self.found.take() {
            Some(found) => found,
            None => self.find()?,
        };
        let id = found.id.clone();
        let labels = [("id", id.as_str()), ("scope", "self")];
        let mut to = To { out: &mut round.out, buffer: &mut *round.buffer, labels: &labels, any: false };
        let result = if found.v2 { found.emit_v2(&mut to) } else { found.emit_v1(&mut to) };
        let any = to.any;
        result?;
        if !any {
            return Err(CollectError::NoData(found.memory.path));
        }
        self.found = Some(found);
        Ok(())
    }
}

/// Where samples go.
struct To<'a, 'b> {
    out: &'a mut Emitter<'b>,
    buffer: &'a mut Vec<u8>,
    labels: &'a [(&'a str, &'a str)],
    any: bool,
}

impl To<'_, '_> {
    fn emit(&mut self, metric: &Metric, value: Option<f64>) {
        if let Some(value) = value {
            self.any = true;
            self.out.emit(metric, self.labels, value);
        }
    }
}

impl Found {
    fn emit_v2(&mut self, to: &mut To<'_, '_>) -> Result<(), CollectError> {
        use metrics as m;
        let [usage, user, system, periods, throttled_periods, throttled] = self.cpu.fields(
            "cpu.stat",
            ["usage_usec", "user_usec", "system_usec", "nr_periods", "nr_throttled", "throttled_usec"],
            to.buffer,
        )?;
        let seconds = |us: Option<f64>| us.map(|us| us / 1e6);
        emit_cpu(to, seconds(usage));
        to.emit(&m::CPU_USER, seconds(user));
        to.emit(&m::CPU_SYSTEM, seconds(system));
        to.emit(&m::PERIODS, periods);
        to.emit(&m::THROTTLED_PERIODS, throttled_periods);
        to.emit(&m::THROTTLED, seconds(throttled));
        if let Some(text) = self.cpu.text("cpu.max", to.buffer)? {
            // `max 100000`: no quota.
            let (quota, period) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
            let (quota, period) = (number(quota), number(period));
            to.emit(&m::QUOTA, quota);
            to.emit(&m::PERIOD, period);
        }
        let weight = self.cpu.number("cpu.weight", to.buffer)?;
        // The kubelet's own arithmetic between shares (2 to 262144) and weights (1 to 10000).
        to.emit(&m::SHARES, weight.map(|w| 2.0 + ((w - 1.0) * 262_142.0 / 9999.0).floor()));
        let usage = self.memory.number("memory.current", to.buffer)?;
        let [anon, file, inactive_file, mapped] =
            self.memory.fields("memory.stat", ["anon", "file", "inactive_file", "file_mapped"], to.buffer)?;
        emit_memory(to, usage, inactive_file);
        to.emit(&m::RSS, anon);
        to.emit(&m::CACHE, file);
        to.emit(&m::MAPPED, mapped);
        let peak = self.memory.number("memory.peak", to.buffer)?;
        to.emit(&m::MAX_USAGE, peak);
        let swap = self.memory.number("memory.swap.current", to.buffer)?;
        to.emit(&m::SWAP, swap);
        let [hits, kills] = self.memory.fields("memory.events", ["max", "oom_kill"], to.buffer)?;
        to.emit(&m::FAILCNT, hits);
        to.emit(&m::OOM, kills);
        let limit = self.memory.number("memory.max", to.buffer)?;
        to.emit(&m::LIMIT, limit);
        self.emit_pids(to)?;
        for (file, word, metric) in &PRESSURE {
            let total = self.cpu.text(file, to.buffer)?.and_then(|text| stall_total(text, word));
            to.emit(metric, total);
        }
        Ok(())
    }

    fn emit_v1(&mut self, to: &mut To<'_, '_>) -> Result<(), CollectError> {
        use metrics as m;
        let usage = self.cpuacct.number("cpuacct.usage", to.buffer)?;
        emit_cpu(to, usage.map(|ns| ns / 1e9));
        let [user, system] = self.cpuacct.fields("cpuacct.stat", ["user", "system"], to.buffer)?;
        to.emit(&m::CPU_USER, user.map(|t| t / USER_HZ));
        to.emit(&m::CPU_SYSTEM, system.map(|t| t / USER_HZ));
        let [periods, throttled_periods, throttled] =
            self.cpu.fields("cpu.stat", ["nr_periods", "nr_throttled", "throttled_time"], to.buffer)?;
        to.emit(&m::PERIODS, periods);
        to.emit(&m::THROTTLED_PERIODS, throttled_periods);
        to.emit(&m::THROTTLED, throttled.map(|ns| ns / 1e9));
        // A quota of -1 is none.
        let quota = self.cpu.number("cpu.cfs_quota_us", to.buffer)?.filter(|q| *q > 0.0);
        to.emit(&m::QUOTA, quota);
        let period = self.cpu.number("cpu.cfs_period_us", to.buffer)?;
        to.emit(&m::PERIOD, period);
        let shares = self.cpu.number("cpu.shares", to.buffer)?;
        to.emit(&m::SHARES, shares);
        let usage = self.memory.number("memory.usage_in_bytes", to.buffer)?;
        let [rss, cache, inactive_file, mapped, swap] = self.memory.fields(
            "memory.stat",
            ["total_rss", "total_cache", "total_inactive_file", "total_mapped_file", "total_swap"],
            to.buffer,
        )?;
        emit_memory(to, usage, inactive_file);
        to.emit(&m::RSS, rss);
        to.emit(&m::CACHE, cache);
        to.emit(&m::MAPPED, mapped);
        to.emit(&m::SWAP, swap);
        let peak = self.memory.number("memory.max_usage_in_bytes", to.buffer)?;
        to.emit(&m::MAX_USAGE, peak);
        let hits = self.memory.number("memory.failcnt", to.buffer)?;
        to.emit(&m::FAILCNT, hits);
        let [kills] = self.memory.fields("memory.oom_control", ["oom_kill"], to.buffer)?;
        to.emit(&m::OOM, kills);
        let limit = self.memory.number("memory.limit_in_bytes", to.buffer)?;
        to.emit(&m::LIMIT, limit.map(|l| if l > UNLIMITED { 0.0 } else { l }));
        self.emit_pids(to)
    }

    fn emit_pids(&mut self, to: &mut To<'_, '_>) -> Result<(), CollectError> {
        let threads = self.pids.number("pids.current", to.buffer)?;
        to.emit(&metrics::THREADS, threads);
        let max = self.pids.number("pids.max", to.buffer)?;
        to.emit(&metrics::THREADS_MAX, max);
        Ok(())
    }
}

/// cAdvisor's series for all the CPUs together.
fn emit_cpu(to: &mut To<'_, '_>, seconds: Option<f64>) {
    if let Some(seconds) = seconds {
        to.any = true;
        let labels = [to.labels[0], to.labels[1], ("cpu", "total")];
        to.out.emit(&metrics::CPU, &labels, seconds);
    }
}

/// The working set, what the kubelet evicts by, leaves out file pages that can be dropped at once.
fn emit_memory(to: &mut To<'_, '_>, usage: Option<f64>, inactive_file: Option<f64>) {
    to.emit(&metrics::USAGE, usage);
    let working_set = usage.map(|usage| (usage - inactive_file.unwrap_or_default()).max(0.0));
    to.emit(&metrics::WORKING_SET, working_set);
}

/// A folder of the cgroup's files, each kept open once it was read.
struct Folder {
    path: PathBuf,
    files: Vec<(&'static str, Option<KernelFile>)>,
}

impl Folder {
    fn new(path: PathBuf) -> Self {
        Self { path, files: Vec::new() }
    }

    fn again(&self) -> Self {
        Self::new(self.path.clone())
    }

    /// The text of a file; `None` when it is not there (the root cgroup and old kernels lack some).
    fn text<'a>(
        &mut self,
        name: &'static str,
        buffer: &'a mut Vec<u8>,
    ) -> Result<Option<&'a str>, CollectError> {
        let at = match self.files.iter().position(|(n, _)| *n == name) {
            Some(at) => at,
            None => {
                self.files.push((name, Some(KernelFile::new(self.path.join(name)))));
                self.files.len() - 1
            }
        };
        let Some(file) = &mut self.files[at].1 else { return Ok(None) };
        match file.read(buffer) {
            Ok(text) => Ok(Some(text)),
            Err(CollectError::NoData(_)) => {
                // It does not appear later; do not look for it every time.
                self.files[at].1 = None;
                Ok(None)
            }
            // Pressure files of a kernel that has accounting turned off.
            Err(CollectError::Io { error, .. }) if error.raw_os_error() == Some(EOPNOTSUPP) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// A file that holds one number; `max` is cAdvisor's 0 for "no limit".
    fn number(&mut self, name: &'static str, buffer: &mut Vec<u8>) -> Result<Option<f64>, CollectError> {
        let path = self.path.join(name);
        let Some(text) = self.text(name, buffer)? else { return Ok(None) };
        let text = text.trim();
        if text == "max" {
            return Ok(Some(0.0));
        }
        number(text).map(Some).ok_or_else(|| CollectError::malformed(&path, text))
    }

    /// Fields of a file with `name value` lines.
    fn fields<const N: usize>(
        &mut self,
        name: &'static str,
        wanted: [&str; N],
        buffer: &mut Vec<u8>,
    ) -> Result<[Option<f64>; N], CollectError> {
        let path = self.path.join(name);
        let mut values = [None; N];
        let Some(text) = self.text(name, buffer)? else { return Ok(values) };
        for line in text.lines() {
            let Some((key, value)) = line.split_once(' ') else { continue };
            if let Some(i) = wanted.iter().position(|w| *w == key) {
                let value = number(value.trim()).ok_or_else(|| CollectError::malformed(&path, line))?;
                values[i] = Some(value);
            }
        }
        Ok(values)
    }
}

const EOPNOTSUPP: i32 = 95;
