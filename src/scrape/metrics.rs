//! What the scraping says of itself.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Counters of the room. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct ScrapeMetrics {
    pub samples_dropped: Family<Reason, Counter>,
    pub limits_exceeded: Family<Limit, Counter>,
    pub targets_failed: Counter,
    pub file_sd_read_errors: Counter,
}

/// Why a sample was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Reason {
    pub reason: &'static str,
}

/// Which limit made a scrape fail.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Limit {
    pub limit: &'static str,
}

impl ScrapeMetrics {
    /// Registers them under their full names.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        for reason in ["out_of_bounds", "out_of_order", "duplicate", "series_limit"] {
            drop(metrics.samples_dropped.get_or_create(&Reason { reason }));
        }
        for limit in ["body_size", "samples", "labels", "targets"] {
            drop(metrics.limits_exceeded.get_or_create(&Limit { limit }));
        }
        registry.register(
            "sideband_scrape_samples_dropped",
            "Scraped samples that were not stored, by reason",
            metrics.samples_dropped.clone(),
        );
        registry.register(
            "sideband_scrape_limits_exceeded",
            "Scrapes that failed because a limit of their job was exceeded",
            metrics.limits_exceeded.clone(),
        );
        registry.register(
            "sideband_scrape_targets_failed",
            "Discovered addresses that could not be made into targets",
            metrics.targets_failed.clone(),
        );
        registry.register(
            "sideband_file_sd_read_errors",
            "Failed readings of file_sd files",
            metrics.file_sd_read_errors.clone(),
        );
        metrics
    }
}
