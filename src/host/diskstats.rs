//! /proc/diskstats, and what udev knows of the devices.

use super::collection::{Collect, Round};
use super::config::HostConfig;
use super::emitter::{Emitter, Metric, counter, gauge};
use super::filter::Filter;
use super::read::{CollectError, KernelFile, number};
use super::udev::{Device, Devices};

/// The file counts in sectors of 512 bytes, whatever the device says of itself.
const SECTOR: f64 = 512.0;
const MS: f64 = 0.001;

/// In the order of the file, with the factor to the base unit.
const COLUMNS: [(Metric, f64); 17] = [
    (counter("node_disk_reads_completed_total", "The total number of reads completed successfully."), 1.0),
    (counter("node_disk_reads_merged_total", "The total number of reads merged."), 1.0),
    (counter("node_disk_read_bytes_total", "The total number of bytes read successfully."), SECTOR),
    (counter("node_disk_read_time_seconds_total", "The total number of seconds spent by all reads."), MS),
    (counter("node_disk_writes_completed_total", "The total number of writes completed successfully."), 1.0),
    (counter("node_disk_writes_merged_total", "The number of writes merged."), 1.0),
    (counter("node_disk_written_bytes_total", "The total number of bytes written successfully."), SECTOR),
    (
        counter(
            "node_disk_write_time_seconds_total",
            "This is the total number of seconds spent by all writes.",
        ),
        MS,
    ),
    (gauge("node_disk_io_now", "The number of I/Os currently in progress."), 1.0),
    (counter("node_disk_io_time_seconds_total", "Total seconds spent doing I/Os."), MS),
    (counter("node_disk_io_time_weighted_seconds_total", "The weighted # of seconds spent doing I/Os."), MS),
    (
        counter("node_disk_discards_completed_total", "The total number of discards completed successfully."),
        1.0,
    ),
    (counter("node_disk_discards_merged_total", "The total number of discards merged."), 1.0),
    (
        counter("node_disk_discarded_sectors_total", "The total number of sectors discarded successfully."),
        1.0,
    ),
    (
        counter(
            "node_disk_discard_time_seconds_total",
            "This is the total number of seconds spent by all discards.",
        ),
        MS,
    ),
    (
        counter(
            "node_disk_flush_requests_total",
            "The total number of flush requests completed successfully",
        ),
        1.0,
    ),
    (
        counter(
            "node_disk_flush_requests_time_seconds_total",
            "This is the total number of seconds spent by all flush requests.",
        ),
        MS,
    ),
];
/// Since Linux 2.6; 4.18 added discards and 5.5 flushes.
const MIN_COLUMNS: usize = 11;

const INFO: Metric = gauge("node_disk_info", "Info of /sys/block/<block_device>.");
const FILESYSTEM: Metric = gauge("node_disk_filesystem_info", "Info about disk filesystem.");
const MAPPER: Metric = gauge("node_disk_device_mapper_info", "Info about disk device mapper.");
const ATA: [(&str, Metric); 3] = [
    ("ID_ATA_WRITE_CACHE", gauge("node_disk_ata_write_cache", "ATA disk has a write cache.")),
    (
        "ID_ATA_WRITE_CACHE_ENABLED",
        gauge("node_disk_ata_write_cache_enabled", "ATA disk has its write cache enabled."),
    ),
    (
        "ID_ATA_ROTATION_RATE_RPM",
        gauge("node_disk_ata_rotation_rate_rpm", "ATA disk rotation rate in RPMs (0 for SSDs)."),
    ),
];

pub(super) struct Diskstats {
    file: KernelFile,
    filter: Filter,
    devices: Devices,
}

impl Diskstats {
    pub fn new(config: &HostConfig) -> Self {
        Self {
            file: KernelFile::new(config.procfs.join("diskstats")),
            filter: Filter::new(config.diskstats.device_include.clone(), config.diskstats.exclude()),
            devices: Devices::new(config.udev_data.clone(), config.sysfs.join("block")),
        }
    }
}

impl Collect for Diskstats {
    fn update(&mut self, round: &mut Round<'_>) -> Result<(), CollectError> {
        let text = self.file.read(round.buffer)?;
        for line in text.lines().filter(|l| !l.trim().is_empty()) {
            let bad = || self.file.malformed(line);
            let mut words = line.split_ascii_whitespace();
            let mut id = || words.next().and_then(|w| w.parse::<u32>().ok());
            let (Some(major), Some(minor)) = (id(), id()) else { return Err(bad()) };
            let name = words.next().ok_or_else(bad)?;
            if !self.filter.passes(name) {
                continue;
            }
            let mut columns = 0;
            for ((metric, factor), word) in COLUMNS.iter().zip(words) {
                columns += 1;
                let value = number(word).ok_or_else(bad)?;
                round.out.emit(metric, &[("device", name)], value * factor);
            }
            if columns < MIN_COLUMNS {
                return Err(bad());
            }
            describe(&mut round.out, name, (major, minor), self.devices.device(name, major, minor));
        }
        self.filter.rest();
        Ok(())
    }
}

fn describe(out: &mut Emitter<'_>, name: &str, id: (u32, u32), device: &Device) {
    let (major, minor) = (id.0.to_string(), id.1.to_string());
    // The number printed on the disk, or else what comes nearest to it.
    let serials = ["SCSI_IDENT_SERIAL", "ID_SERIAL_SHORT", "ID_SERIAL"].map(|p| device.get(p));
    let serial = serials.into_iter().find(|s| !s.is_empty()).unwrap_or_default();
    out.emit(
        &INFO,
        &[
            ("device", name),
            ("major", &major),
            ("minor", &minor),
            ("path", device.get("ID_PATH")),
            ("wwn", device.get("ID_WWN")),
            ("model", device.get("ID_MODEL")),
            ("serial", serial),
            ("revision", device.get("ID_REVISION")),
            ("rotational", &device.rotational),
        ],
        1.0,
    );
    if !device.get("ID_FS_TYPE").is_empty() {
        out.emit(
            &FILESYSTEM,
            &[
                ("device", name),
                ("type", device.get("ID_FS_TYPE")),
                ("usage", device.get("ID_FS_USAGE")),
                ("uuid", device.get("ID_FS_UUID")),
                ("version", device.get("ID_FS_VERSION")),
            ],
            1.0,
        );
    }
    if !device.get("DM_NAME").is_empty() {
        out.emit(
            &MAPPER,
            &[
                ("device", name),
                ("name", device.get("DM_NAME")),
                ("uuid", device.get("DM_UUID")),
                ("vg_name", device.get("DM_VG_NAME")),
                ("lv_name", device.get("DM_LV_NAME")),
                ("lv_layer", device.get("DM_LV_LAYER")),
            ],
            1.0,
        );
    }
    if !device.get("ID_ATA").is_empty() {
        for (property, metric) in &ATA {
            if let Some(value) = number(device.get(property)) {
                out.emit(metric, &[("device", name)], value);
            }
        }
    }
}
