//! Host metrics: what is collected from files of /proc and /sys, and what becomes of files that are broken.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use sideband::host::{Host, HostConfig, HostError, Sink};
use sideband::model::{Labels, MetricMetadata, MetricType, yaml};

#[derive(Default)]
struct Seen {
    families: BTreeMap<String, MetricMetadata>,
    samples: BTreeMap<String, f64>,
    gone: Vec<String>,
}

impl Sink for Seen {
    fn family(&mut self, name: &str, metadata: MetricMetadata) {
        assert!(self.families.insert(name.to_owned(), metadata).is_none(), "{name} told twice");
    }

    fn sample(&mut self, labels: &Labels, value: f64) {
        assert!(self.families.contains_key(labels.metric_name()), "{labels} before its family");
        assert!(self.samples.insert(labels.to_string(), value).is_none(), "{labels} twice");
    }

    fn gone(&mut self, labels: &Labels) {
        self.gone.push(labels.to_string());
    }
}

/// A small machine.
const FILES: &[(&str, &str)] = &[
    ("proc/loadavg", "0.21 0.37 0.39 1/719 19737\n"),
    ("proc/meminfo", "MemTotal:        3742148 kB\nActive(anon):    2020004 kB\nHugePages_Total:       2\n"),
    (
        "proc/stat",
        "cpu  10 0 0 0 0 0 0 0 0 0\ncpu0 100 20 300 4000 50 6 7 8 9 1\nintr 77 1 2\nctxt 5\nbtime 1418183276\n\
         processes 9\nprocs_running 2\nprocs_blocked 0\nsoftirq 10 1 2 3 4 5 6 7 8 9 10\n",
    ),
    (
        "proc/diskstats",
        "   8       0 sda 1 2 3 4 5 6 7 8 9 10 11\n   8       1 sda1 1 2 3 4 5 6 7 8 9 10 11\n",
    ),
    (
        "proc/net/dev",
        "Inter-|   Receive                  |  Transmit\n face |bytes    packets errs|bytes    packets errs\n\
         \x20   lo: 1 2 3 4 5 6\n  eth0:10 20 30 40 50 60\n",
    ),
    ("proc/pressure/cpu", "some avg10=0.00 avg60=0.00 avg300=0.00 total=14000000\n"),
    ("proc/pressure/io", "some avg10=0.18 total=2000000\nfull avg10=0.18 total=1000000\n"),
    ("proc/pressure/memory", "some avg10=0.00 total=0\nfull avg10=0.00 total=0\n"),
    ("proc/vmstat", "nr_free_pages 977769\npgfault 5\noom_kill 1\n"),
    ("proc/net/netstat", "TcpExt: SyncookiesSent ListenDrops\nTcpExt: 1 2\n"),
    ("proc/net/snmp", "Tcp: RtoMin MaxConn InSegs\nTcp: 200 -1 57252008\n"),
    ("proc/net/snmp6", "Icmp6InMsgs                     \t3\n"),
    ("proc/net/sockstat", "sockets: used 229\nTCP: inuse 4 mem 1\n"),
    ("proc/net/sockstat6", "TCP6: inuse 17\n"),
    ("proc/sys/fs/file-nr", "1024\t0\t1631329\n"),
    ("proc/sys/kernel/random/entropy_avail", "256\n"),
    ("proc/sys/kernel/random/poolsize", "256\n"),
    ("proc/sys/net/netfilter/nf_conntrack_count", "123\n"),
    ("proc/sys/net/netfilter/nf_conntrack_max", "65536\n"),
    ("proc/net/stat/nf_conntrack", "entries found insert drop\n21 3 0 a\n21 1 1 10\n"),
    ("proc/schedstat", "version 15\ncpu0 1 0 2 3 4 5 2000000000 1000000000 7\ndomain0 1 2\n"),
    ("proc/softirqs", "                    CPU0       CPU1\n          HI:          7          1\n"),
    (
        "proc/interrupts",
        "           CPU0       CPU1\n  0:  18  1  IR-IO-APIC-edge  timer\nNMI: 4 5  Non-maskable\nERR: 0\n",
    ),
    (
        "proc/1/mountinfo",
        "29 1 259:2 / / rw,relatime shared:1 - ext4 /dev/dm-2 rw\n25 29 0:23 / /proc rw - proc proc rw\n",
    ),
    ("proc/self/cgroup", "0::/app\n"),
    ("sys/fs/cgroup/cgroup.controllers", "cpu memory pids\n"),
    (
        "sys/fs/cgroup/app/cpu.stat",
        "usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\nnr_periods 10\nnr_throttled 4\nthrottled_usec 250000\n",
    ),
    ("sys/fs/cgroup/app/cpu.max", "20000 100000\n"),
    ("sys/fs/cgroup/app/cpu.weight", "100\n"),
    ("sys/fs/cgroup/app/memory.current", "9000000\n"),
    ("sys/fs/cgroup/app/memory.max", "33554432\n"),
    ("sys/fs/cgroup/app/memory.stat", "anon 5000000\nfile 3000000\ninactive_file 2000000\nfile_mapped 100\n"),
    ("sys/fs/cgroup/app/memory.events", "low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\n"),
    ("sys/fs/cgroup/app/pids.current", "5\n"),
    ("sys/fs/cgroup/app/pids.max", "max\n"),
    ("sys/fs/cgroup/app/memory.pressure", "some avg10=0.00 total=3000000\nfull avg10=0.00 total=1000000\n"),
];

fn machine() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in FILES {
        write(dir.path(), path, text.as_bytes());
    }
    dir
}

fn write(root: &Path, path: &str, bytes: &[u8]) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn config(root: &Path, text: &str) -> HostConfig {
    let text = format!("job: ''\ninstance: ''\n{text}");
    let mut config: HostConfig = yaml::parse(Path::new("sideband.yml"), &text).unwrap();
    config.procfs = root.join("proc");
    config.sysfs = root.join("sys");
    config.udev_data = root.join("udev");
    config
}

fn collect(host: &mut Host) -> Seen {
    let mut seen = Seen::default();
    host.collect(1_700_000_000_500, &mut seen);
    seen
}

const ALL: &str = "collectors: {interrupts: true, softirqs: true}\n";

#[test]
fn values_are_in_base_units_under_known_names() {
    let dir = machine();
    let seen = collect(&mut Host::new(&config(dir.path(), ALL)).unwrap());
    for (series, value) in [
        ("node_load15", 0.39),
        ("node_memory_MemTotal_bytes", 3_742_148.0 * 1024.0),
        ("node_memory_Active_anon_bytes", 2_020_004.0 * 1024.0),
        ("node_memory_HugePages_Total", 2.0),
        ("node_cpu_seconds_total{cpu=\"0\", mode=\"idle\"}", 40.0),
        ("node_cpu_guest_seconds_total{cpu=\"0\", mode=\"nice\"}", 0.01),
        ("node_boot_time_seconds", 1_418_183_276.0),
        ("node_disk_read_bytes_total{device=\"sda\"}", 3.0 * 512.0),
        ("node_disk_io_time_seconds_total{device=\"sda\"}", 0.01),
        ("node_network_receive_bytes_total{device=\"eth0\"}", 10.0),
        ("node_network_transmit_errs_total{device=\"lo\"}", 6.0),
        ("node_pressure_cpu_waiting_seconds_total", 14.0),
        ("node_pressure_io_stalled_seconds_total", 1.0),
        ("node_vmstat_pgfault", 5.0),
        ("node_netstat_TcpExt_ListenDrops", 2.0),
        ("node_netstat_Icmp6_InMsgs", 3.0),
        ("node_sockstat_sockets_used", 229.0),
        ("node_sockstat_TCP_mem", 1.0),
        ("node_filefd_maximum", 1_631_329.0),
        ("node_nf_conntrack_stat_drop", 26.0),
        ("node_schedstat_running_seconds_total{cpu=\"0\"}", 2.0),
        ("node_softirqs_functions_total{cpu=\"1\", type=\"HI\"}", 1.0),
        ("node_interrupts_total{cpu=\"0\", devices=\"timer\", info=\"IR-IO-APIC-edge\", type=\"0\"}", 18.0),
        ("node_interrupts_total{cpu=\"1\", info=\"Non-maskable\", type=\"NMI\"}", 5.0),
        ("node_time_seconds", 1_700_000_000.5),
        ("container_cpu_usage_seconds_total{cpu=\"total\", id=\"/app\", scope=\"self\"}", 1.5),
        ("container_cpu_cfs_throttled_seconds_total{id=\"/app\", scope=\"self\"}", 0.25),
        ("container_spec_cpu_quota{id=\"/app\", scope=\"self\"}", 20_000.0),
        ("container_memory_working_set_bytes{id=\"/app\", scope=\"self\"}", 7_000_000.0),
        ("container_memory_failcnt{id=\"/app\", scope=\"self\"}", 3.0),
        ("container_oom_events_total{id=\"/app\", scope=\"self\"}", 1.0),
        ("container_threads_max{id=\"/app\", scope=\"self\"}", 0.0),
        ("container_pressure_memory_stalled_seconds_total{id=\"/app\", scope=\"self\"}", 1.0),
    ] {
        assert_eq!(seen.samples.get(series), Some(&value), "{series}");
    }
    for absent in
        ["node_disk_io_now{device=\"sda1\"}", "node_vmstat_nr_free_pages", "node_netstat_Tcp_MaxConn"]
    {
        assert!(!seen.samples.contains_key(absent), "{absent}");
    }
    assert_eq!(seen.families["node_vmstat_pgfault"].kind, MetricType::Unknown);
    assert_eq!(seen.families["node_forks_total"].kind, MetricType::Counter);
    // The root of the machine that runs the test is there too.
    assert!(seen.samples.keys().any(|k| k.starts_with("node_filesystem_size_bytes{device=\"/dev/dm-2\"")));
    let failed: Vec<_> = successes(&seen).into_iter().filter(|(_, ok)| !ok).collect();
    assert_eq!(failed, []);
}

fn successes(seen: &Seen) -> Vec<(String, bool)> {
    let start = "node_scrape_collector_success{collector=\"";
    let one = |(series, value): (&String, &f64)| {
        Some((series.strip_prefix(start)?.strip_suffix("\"}")?.to_owned(), *value == 1.0))
    };
    seen.samples.iter().filter_map(one).collect()
}

#[test]
fn a_broken_file_fails_its_collector_alone() {
    for (file, text, broken) in [
        ("proc/loadavg", "0.21 x 0.39\n", &["loadavg"][..]),
        ("proc/loadavg", "", &["loadavg"]),
        ("proc/meminfo", "MemTotal: many kB\n", &["meminfo"]),
        ("proc/meminfo", "Mem\"Total: 1 kB\n", &["meminfo"]),
        ("proc/meminfo", "MemTotal: 1 MB\n", &["meminfo"]),
        ("proc/stat", "cpu0 1 2 x 4\n", &["cpu"]),
        ("proc/stat", "cpu0 1 2\nctxt -\n", &["cpu", "stat"]),
        ("proc/diskstats", "8 0 sda 1 2 3\n", &["diskstats"]),
        ("proc/net/dev", "nonsense\n", &["netdev"]),
        ("proc/pressure/io", "some avg10=0.18\n", &["pressure"]),
        ("proc/vmstat", "pgfault\n", &["vmstat"]),
        ("proc/vmstat", "pgfault{ 1\n", &["vmstat"]),
        ("proc/net/netstat", "TcpExt: A B\nTcpExt: 1\n", &["netstat"]),
        ("proc/net/netstat", "TcpExt: A B\n", &["netstat"]),
        ("proc/net/sockstat", "TCP: inuse\n", &["sockstat"]),
        ("proc/sys/fs/file-nr", "1024\n", &["filefd"]),
        ("proc/sys/kernel/random/poolsize", "\n", &["entropy"]),
        ("proc/net/stat/nf_conntrack", "entries found\nzz 1\n", &["conntrack"]),
        ("proc/schedstat", "cpu0 1 2 3\n", &["schedstat"]),
        ("proc/softirqs", "CPU0\nHI: x\n", &["softirqs"]),
        ("proc/interrupts", "CPU0\n0: x edge timer\n", &["interrupts"]),
        ("proc/1/mountinfo", "29 1 259:2 / /\n", &["filesystem"]),
        ("sys/fs/cgroup/app/memory.current", "lots\n", &["cgroup"]),
        ("sys/devices/system/cpu/isolated", "1-x\n", &["cpu"]),
    ] {
        let dir = machine();
        write(dir.path(), file, text.as_bytes());
        let seen = collect(&mut Host::new(&config(dir.path(), ALL)).unwrap());
        let failed: Vec<_> =
            successes(&seen).into_iter().filter(|(_, ok)| !ok).map(|(name, _)| name).collect();
        assert_eq!(failed, broken, "{file}: {text:?}");
    }
}

#[test]
fn what_is_not_there_fails_quietly() {
    let dir = tempfile::tempdir().unwrap();
    let seen = collect(&mut Host::new(&config(dir.path(), ALL)).unwrap());
    let succeeded: Vec<_> =
        successes(&seen).into_iter().filter(|(_, ok)| *ok).map(|(name, _)| name).collect();
    assert_eq!(succeeded, ["time", "uname"]);
}

#[test]
fn a_container_collects_its_own_cgroup_and_what_is_asked_for() {
    let dir = machine();
    let on = |text: &str| {
        let host = Host::new(&config(dir.path(), text)).unwrap();
        host.collectors().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(on("scope: container"), "cgroup");
    assert_eq!(on("scope: container\ncollectors: {netdev: true}"), "cgroup netdev");
    assert_eq!(on("enabled: false"), "");
    assert!(!on("collectors: {cpu: false}").contains("cpu"));
}

#[test]
fn a_cgroup_of_version_1_has_the_same_names() {
    let dir = machine();
    fs::remove_dir_all(dir.path().join("sys/fs/cgroup")).unwrap();
    for (path, text) in [
        ("proc/self/cgroup", "5:memory:/kube/pod\n4:cpu,cpuacct:/kube/pod\n3:pids:/kube/pod\n0::/\n"),
        // The path is the machine's; here the controller's mount is already our own cgroup.
        ("sys/fs/cgroup/memory/memory.usage_in_bytes", "9000000\n"),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ("sys/fs/cgroup/memory/memory.stat", "cache 1\ntotal_rss 5000000\ntotal_inactive_file 2000000\n"),
        ("sys/fs/cgroup/memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"),
        ("sys/fs/cgroup/cpu,cpuacct/cpuacct.usage", "1500000000\n"),
        ("sys/fs/cgroup/cpu,cpuacct/cpuacct.stat", "user 100\nsystem 50\n"),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.stat", "nr_periods 10\nnr_throttled 4\nthrottled_time 250000000\n"),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
        ("sys/fs/cgroup/pids/pids.current", "5\n"),
    ] {
        write(dir.path(), path, text.as_bytes());
    }
    let mut host = Host::new(&config(dir.path(), "scope: container")).unwrap();
    let seen = collect(&mut host);
    let value = |name: &str| {
        let found = seen.samples.iter().find(|(k, _)| k.split('{').next() == Some(name));
        found.map(|(k, v)| {
            assert!(k.contains("id=\"/kube/pod\"") && k.contains("scope=\"self\""), "{k}");
            *v
        })
    };
    assert_eq!(value("container_cpu_usage_seconds_total"), Some(1.5));
    assert_eq!(value("container_cpu_system_seconds_total"), Some(0.5));
    assert_eq!(value("container_cpu_cfs_throttled_seconds_total"), Some(0.25));
    assert_eq!(value("container_memory_working_set_bytes"), Some(7_000_000.0));
    assert_eq!(value("container_spec_memory_limit_bytes"), Some(0.0));
    assert_eq!(value("container_oom_events_total"), Some(2.0));
    assert_eq!(value("container_spec_cpu_quota"), None);
    assert_eq!(value("container_threads"), Some(5.0));
}

#[test]
fn a_repeated_collection_reads_anew_and_tells_what_has_gone() {
    let dir = machine();
    let mut host = Host::new(&config(dir.path(), "")).unwrap();
    let mut seen = Seen::default();
    host.collect(0, &mut seen);
    assert_eq!(seen.samples["node_load1"], 0.21);
    write(dir.path(), "proc/loadavg", b"7.5 0.37 0.39 1/719 19737\n");
    let two_lines = "Inter-| Receive | Transmit\n face |bytes|bytes\n";
    write(dir.path(), "proc/net/dev", format!("{two_lines}eth0: 11 41\n").as_bytes());
    seen.samples.clear();
    host.collect(15_000, &mut seen);
    assert_eq!(seen.samples["node_load1"], 7.5);
    assert_eq!(seen.samples["node_network_receive_bytes_total{device=\"eth0\"}"], 11.0);
    assert!(seen.gone.contains(&"node_network_receive_bytes_total{device=\"lo\"}".to_owned()));
    assert!(!seen.gone.iter().any(|s| s.contains("eth0\"}") && s.contains("bytes")), "{:?}", seen.gone);
}

#[test]
fn filters_choose_devices_and_fields() {
    let dir = machine();
    let text = "diskstats: {device_include: '^sda1$'}\nnetdev: {device_exclude: '^lo$'}\nvmstat: {fields: '^nr_'}\nstat: {softirq: true}";
    let seen = collect(&mut Host::new(&config(dir.path(), text)).unwrap());
    for (series, there) in [
        ("node_disk_io_now{device=\"sda1\"}", true),
        ("node_disk_io_now{device=\"sda\"}", false),
        ("node_network_receive_bytes_total{device=\"lo\"}", false),
        ("node_network_receive_bytes_total{device=\"eth0\"}", true),
        ("node_vmstat_nr_free_pages", true),
        ("node_vmstat_pgfault", false),
        ("node_softirqs_total{vector=\"rcu\"}", true),
    ] {
        assert_eq!(seen.samples.contains_key(series), there, "{series}");
    }
}

#[test]
fn job_instance_and_labels_are_on_every_series() {
    let dir = machine();
    let mut config = config(dir.path(), "labels: {rack: r1}");
    config.job = "node".into();
    config.instance = None;
    let seen = collect(&mut Host::new(&config).unwrap());
    assert!(!seen.samples.is_empty());
    for series in seen.samples.keys() {
        for part in ["job=\"node\"", "instance=\"", "rack=\"r1\""] {
            assert!(series.contains(part), "{series}");
        }
    }
}

#[test]
fn a_bad_section_names_the_place_and_the_reason() {
    for (text, line, part) in [
        ("enabled: true\ncolectors: {}\n", 2, "colectors"),
        ("collectors: {cpuu: true}\n", 1, "cpuu"),
        ("cpu:\n  info_flags_include: '('\n", 2, "regular expression"),
        ("scope: pod\n", 1, "pod"),
        ("filesystem: {mount_timeout: 5q}\n", 1, "5q"),
    ] {
        let e = yaml::parse::<HostConfig>(Path::new("sideband.yml"), text).unwrap_err();
        assert!(e.line == line && e.to_string().contains(part), "{text:?}: {e}");
    }
    let both = "diskstats: {device_include: a, device_exclude: b}";
    let config: HostConfig = yaml::parse(Path::new("sideband.yml"), both).unwrap();
    let e = Host::new(&config).err().unwrap();
    assert_eq!(e, HostError::IncludeAndExclude("diskstats: device"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever stands in a file, nothing panics and each collector says how it went.
    #[test]
    fn no_file_brings_the_collectors_down(
        which in 0..FILES.len(),
        at in any::<prop::sample::Index>(),
        insert in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            "[ \\n:|a-z0-9().%,-]{0,40}".prop_map(String::into_bytes),
            Just(b"99999999999999999999999999".to_vec()),
            Just("é\u{85}\\04".as_bytes().to_vec()),
        ],
        keep in any::<bool>(),
    ) {
        let dir = machine();
        let (path, text) = FILES[which];
        let at = at.index(text.len() + 1);
        let mut bytes = text.as_bytes()[..at].to_vec();
        bytes.extend(&insert);
        if keep {
            bytes.extend(&text.as_bytes()[at..]);
        }
        write(dir.path(), path, &bytes);
        // Mounts that were made up here are not to be asked for on this machine.
        let text = format!("{ALL}filesystem: {{fs_types_include: '^ext4$'}}\ncpu: {{info: true}}\n");
        let mut host = Host::new(&config(dir.path(), &text)).unwrap();
        let mut seen = Seen::default();
        for round in 0..2 {
            seen.samples.clear();
            host.collect(round, &mut seen);
            prop_assert_eq!(successes(&seen).len(), host.collectors().count());
        }
    }
}
