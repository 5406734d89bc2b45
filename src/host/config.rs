//! The `host:` section. Its keys are node_exporter's flags, without `--collector.` and one level a dot.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use crate::model::{Duration, nearest};

use super::collection::COLLECTORS;

/// What the host section of the configuration says.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HostConfig {
    /// Off: nothing is collected.
    pub enabled: bool,
    /// How often; `global.scrape_interval` when it is not set.
    pub scrape_interval: Option<Duration>,
    /// The whole machine, or this container alone.
    pub scope: Scope,
    /// The label `job` of every series; empty for none.
    pub job: String,
    /// The label `instance` of every series; the machine's node name when it is not set, empty for none.
    pub instance: Option<String>,
    /// Further labels of every series.
    pub labels: BTreeMap<String, String>,
    /// Where procfs is mounted.
    pub procfs: PathBuf,
    /// Where sysfs is mounted.
    pub sysfs: PathBuf,
    /// Where the machine's root is seen; taken off the mount points that are shown.
    pub rootfs: PathBuf,
    /// Where udev keeps what it knows of block devices.
    pub udev_data: PathBuf,
    /// Turns single collectors on or off, whatever the scope says.
    pub collectors: BTreeMap<CollectorName, bool>,
    pub cpu: CpuConfig,
    pub diskstats: DiskstatsConfig,
    pub filesystem: FilesystemConfig,
    pub netdev: NetdevConfig,
    pub netstat: FieldsConfig<NetstatDefault>,
    pub vmstat: FieldsConfig<VmstatDefault>,
    pub stat: StatConfig,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            scrape_interval: None,
            scope: Scope::Node,
            job: "node".into(),
            instance: None,
            labels: BTreeMap::new(),
            procfs: "/proc".into(),
            sysfs: "/sys".into(),
            rootfs: "/".into(),
            udev_data: "/run/udev/data".into(),
            collectors: BTreeMap::new(),
            cpu: CpuConfig::default(),
            diskstats: DiskstatsConfig::default(),
            filesystem: FilesystemConfig::default(),
            netdev: NetdevConfig::default(),
            netstat: FieldsConfig::default(),
            vmstat: FieldsConfig::default(),
            stat: StatConfig::default(),
        }
    }
}

/// Which collectors are on to begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// The whole machine and this process' own cgroup.
    #[default]
    Node,
    /// This process' own cgroup alone: in a pod, what the whole node does is no matter of each replica's.
    Container,
}

/// The name of a collector that exists.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct CollectorName(String);

impl CollectorName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for CollectorName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        if COLLECTORS.iter().any(|c| c.name == name) {
            return Ok(Self(name));
        }
        let known: Vec<&str> = COLLECTORS.iter().map(|c| c.name).collect();
        Err(match nearest(&name, known.iter().copied()) {
            Some(meant) => format!("unknown collector {name:?}, did you mean {meant:?}?"),
            None => format!("unknown collector {name:?}, expected one of {}", known.join(", ")),
        })
    }
}

/// A regular expression, not anchored, as in node_exporter's flags; empty says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "String")]
pub struct Pattern(String);

impl Pattern {
    /// The expression's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Is there no expression?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// An expression that stands in this program.
    pub(super) fn built_in(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match regex::Regex::new(&text) {
            Ok(_) => Ok(Self(text)),
            Err(e) => Err(format!("bad regular expression {text:?}: {e}")),
        }
    }
}

/// Keys of the collector `cpu`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CpuConfig {
    /// `node_cpu_guest_seconds_total`.
    pub guest: bool,
    /// `node_cpu_info`.
    pub info: bool,
    /// Flags to show as `node_cpu_flag_info`; turns `info` on.
    pub info_flags_include: Pattern,
    /// Bugs to show as `node_cpu_bug_info`; turns `info` on.
    pub info_bugs_include: Pattern,
}

impl Default for CpuConfig {
    fn default() -> Self {
        Self {
            guest: true,
            info: false,
            info_flags_include: Pattern::default(),
            info_bugs_include: Pattern::default(),
        }
    }
}

/// Keys of the collector `diskstats`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiskstatsConfig {
    /// Only these devices; the default for `device_exclude` then falls away.
    pub device_include: Pattern,
    /// Not these devices. Default: RAM, loop and floppy devices, partitions.
    pub device_exclude: Option<Pattern>,
}

impl DiskstatsConfig {
    const EXCLUDE: &str = r"^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$";

    pub(super) fn exclude(&self) -> Pattern {
        excluded(self.device_exclude.as_ref(), &self.device_include, Self::EXCLUDE)
    }
}

/// Keys of the collector `netdev`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetdevConfig {
    pub device_include: Pattern,
    pub device_exclude: Pattern,
}

/// Keys of the collector `filesystem`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FilesystemConfig {
    pub mount_points_include: Pattern,
    /// Default: below /dev, /proc, /sys and what container engines mount.
    pub mount_points_exclude: Option<Pattern>,
    pub fs_types_include: Pattern,
    /// Default: what the kernel makes up, and overlays.
    pub fs_types_exclude: Option<Pattern>,
    /// A mount that has not answered for so long is reported as an error.
    pub mount_timeout: Duration,
}

impl Default for FilesystemConfig {
    fn default() -> Self {
        Self {
            mount_points_include: Pattern::default(),
            mount_points_exclude: None,
            fs_types_include: Pattern::default(),
            fs_types_exclude: None,
            mount_timeout: Duration::from_ms(5_000),
        }
    }
}

impl FilesystemConfig {
    const MOUNT_POINTS: &str =
        "^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)";
    const FS_TYPES: &str = "^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|\
        iso9660|mqueue|nsfs|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|erofs|sysfs|tracefs)$";

    pub(super) fn exclude_mount_points(&self) -> Pattern {
        excluded(self.mount_points_exclude.as_ref(), &self.mount_points_include, Self::MOUNT_POINTS)
    }

    pub(super) fn exclude_fs_types(&self) -> Pattern {
        excluded(self.fs_types_exclude.as_ref(), &self.fs_types_include, Self::FS_TYPES)
    }
}

/// The default stands aside when things to include are named, or nothing could be included that it excludes.
fn excluded(exclude: Option<&Pattern>, include: &Pattern, default: &str) -> Pattern {
    match exclude {
        Some(pattern) => pattern.clone(),
        None if include.is_empty() => Pattern::built_in(default),
        None => Pattern::default(),
    }
}

/// Keys of the collectors `netstat` and `vmstat`: which fields of the file to show.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, bound = "D: DefaultFields")]
pub struct FieldsConfig<D: DefaultFields> {
    pub fields: Pattern,
    #[serde(skip)]
    default: std::marker::PhantomData<D>,
}

/// The fields that are shown when nothing is said.
pub trait DefaultFields {
    const FIELDS: &str;
}

impl<D: DefaultFields> Default for FieldsConfig<D> {
    fn default() -> Self {
        Self { fields: Pattern::built_in(D::FIELDS), default: std::marker::PhantomData }
    }
}

/// For `netstat`.
#[derive(Debug, Clone, PartialEq)]
pub struct NetstatDefault;

impl DefaultFields for NetstatDefault {
    const FIELDS: &str = "^(.*_(InErrors|InErrs)|Ip_Forwarding|Ip(6|Ext)_(InOctets|OutOctets)|\
        Icmp6?_(InMsgs|OutMsgs)|\
        TcpExt_(Listen.*|Syncookies.*|TCPSynRetrans|TCPTimeouts|TCPOFOQueue|TCPRcvQDrop)|\
        Tcp_(ActiveOpens|InSegs|OutSegs|OutRsts|PassiveOpens|RetransSegs|CurrEstab)|\
        Udp6?_(InDatagrams|OutDatagrams|NoPorts|RcvbufErrors|SndbufErrors))$";
}

/// For `vmstat`.
#[derive(Debug, Clone, PartialEq)]
pub struct VmstatDefault;

impl DefaultFields for VmstatDefault {
    const FIELDS: &str = "^(oom_kill|pgpg|pswp|pg.*fault).*";
}

/// Keys of the collector `stat`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StatConfig {
    /// `node_softirqs_total`.
    pub softirq: bool,
}
