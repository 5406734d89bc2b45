//! What udev knows of a block device: `/run/udev/data/bMAJOR:MINOR`.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::read::read_trimmed;

/// Devices that are remembered; beyond it they are read each time.
const MAX_DEVICES: usize = 4096;

/// The properties of one device, and of the file that they were read from.
#[derive(Default)]
pub(super) struct Device {
    stamp: (i64, i64, u64),
    properties: HashMap<String, String>,
    /// `1` for spinning disks, else `0`.
    pub rotational: String,
}

impl Device {
    /// A property, empty when it is not there.
    pub fn get(&self, name: &str) -> &str {
        self.properties.get(name).map_or("", String::as_str)
    }
}

/// Devices read so far; one is read anew when its file has changed.
pub(super) struct Devices {
    data: PathBuf,
    block: PathBuf,
    known: HashMap<String, Device>,
}

impl Devices {
    /// `data` is udev's folder, `block` is /sys/block.
    pub fn new(data: PathBuf, block: PathBuf) -> Self {
        Self { data, block, known: HashMap::new() }
    }

    /// What is known of a device.
    pub fn device(&mut self, name: &str, major: u32, minor: u32) -> &Device {
        let file = self.data.join(format!("b{major}:{minor}"));
        let stamp = std::fs::metadata(&file).map_or((0, 0, 0), |m| (m.mtime(), m.mtime_nsec(), m.ino()));
        if self.known.get(name).is_none_or(|d| d.stamp != stamp) {
            if self.known.len() >= MAX_DEVICES {
                self.known.clear();
            }
            let device = Device {
                stamp,
                properties: properties(&file),
                // Partitions have no queue of their own.
                rotational: read_trimmed(&self.block.join(name).join("queue/rotational"))
                    .unwrap_or_else(|_| "0".to_owned()),
            };
            self.known.insert(name.to_owned(), device);
        }
        self.known.entry(name.to_owned()).or_default()
    }
}

/// Lines `E:NAME=value`; a file that cannot be read has none (no udev runs in a container).
fn properties(file: &Path) -> HashMap<String, String> {
    let text = read_trimmed(file).unwrap_or_default();
    let pairs = text.lines().filter_map(|l| l.strip_prefix("E:")?.split_once('='));
    pairs
        .filter(|(name, value)| SHOWN.contains(name) && !value.is_empty())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// The properties that somebody asks for.
const SHOWN: [&str; 20] = [
    "DM_LV_LAYER",
    "DM_LV_NAME",
    "DM_NAME",
    "DM_UUID",
    "DM_VG_NAME",
    "ID_ATA",
    "ID_ATA_ROTATION_RATE_RPM",
    "ID_ATA_WRITE_CACHE",
    "ID_ATA_WRITE_CACHE_ENABLED",
    "ID_FS_TYPE",
    "ID_FS_USAGE",
    "ID_FS_UUID",
    "ID_FS_VERSION",
    "ID_MODEL",
    "ID_PATH",
    "ID_REVISION",
    "ID_SERIAL",
    "ID_SERIAL_SHORT",
    "ID_WWN",
    "SCSI_IDENT_SERIAL",
];
