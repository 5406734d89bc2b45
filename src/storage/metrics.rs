//! What the storage says of itself.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Self-metrics of the storage; clones share the numbers. The default counts, unregistered.
#[derive(Debug, Clone, Default)]
pub struct StorageMetrics {
    pub(super) series: Gauge,
    pub(super) series_created: Counter,
    pub(super) series_removed: Counter,
    pub(super) series_refused: Counter,
    pub(super) samples_appended: Counter,
    pub(super) samples_out_of_order: Counter,
    pub(super) samples_duplicate: Counter,
    pub(super) samples_out_of_bounds: Counter,
    pub(super) samples_dropped: Counter,
    pub(super) chunks: Gauge,
    pub(super) chunk_bytes: Gauge,
    pub(super) blocks: Gauge,
    pub(super) block_bytes: Gauge,
    pub(super) wal_bytes: Gauge,
    pub(super) wal_writable: Gauge,
    pub(super) disk_errors: Counter,
    pub(super) corruptions: Counter,
    pub(super) replayed_samples: Counter,
    pub(super) oldest_seconds: Gauge<f64, AtomicU64>,
    pub(super) newest_seconds: Gauge<f64, AtomicU64>,
}

impl StorageMetrics {
    /// Counts a failure of the disk that somebody else met.
    pub fn disk_failed(&self) {
        self.disk_errors.inc();
    }

    /// How often a file could not be written, since the storage was opened.
    pub fn disk_errors(&self) -> u64 {
        self.disk_errors.get()
    }

    /// Registers the metrics under their full names.
    pub fn register(registry: &mut Registry) -> Self {
        let m = Self::default();
        let mut gauge = |name: &str, help: &str, gauge: &Gauge| {
            registry.register(format!("sideband_storage_{name}"), help, gauge.clone());
        };
        gauge("series", "Series in the index.", &m.series);
        gauge("chunks", "Chunks of samples in memory.", &m.chunks);
        gauge("chunk_bytes", "Memory that the samples of those chunks take.", &m.chunk_bytes);
        gauge("blocks", "Files of sealed samples.", &m.blocks);
        gauge("block_bytes", "Size of the files of sealed samples.", &m.block_bytes);
        gauge("wal_bytes", "Size of the write-ahead log.", &m.wal_bytes);
        gauge("wal_writable", "Whether samples reach the disk (1) or memory only (0).", &m.wal_writable);
        for (name, help, g) in [
            ("oldest_sample_timestamp_seconds", "Time of the oldest sample.", &m.oldest_seconds),
            ("newest_sample_timestamp_seconds", "Time of the newest sample.", &m.newest_seconds),
        ] {
            registry.register(format!("sideband_storage_{name}"), help, g.clone());
        }
        for (name, help, c) in [
            ("series_created", "Series that came into the index.", &m.series_created),
            ("series_removed", "Series that left the index, their samples being gone.", &m.series_removed),
            ("series_refused", "Series refused because of the limit of series.", &m.series_refused),
            ("samples_appended", "Samples taken.", &m.samples_appended),
            (
                "samples_out_of_order",
                "Samples refused: older than their series' newest.",
                &m.samples_out_of_order,
            ),
            (
                "samples_duplicate",
                "Samples refused: other value for a time that has one.",
                &m.samples_duplicate,
            ),
            (
                "samples_out_of_bounds",
                "Samples refused: too old or too far in the future.",
                &m.samples_out_of_bounds,
            ),
            (
                "samples_dropped",
                "Samples lost to a full memory or disk before their time.",
                &m.samples_dropped,
            ),
            ("disk_errors", "Failed reads and writes of files.", &m.disk_errors),
            ("corruptions", "Damaged places found in files, and skipped.", &m.corruptions),
            ("wal_replayed_samples", "Samples read back from the write-ahead log.", &m.replayed_samples),
        ] {
            registry.register(format!("sideband_storage_{name}"), help, c.clone());
        }
        m
    }
}
