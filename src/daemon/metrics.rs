//! What the daemon says of its own configuration.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::model::Timestamp;

/// Gauges about the last reload.
#[derive(Clone, Default)]
pub struct ReloadMetrics {
    successful: Gauge,
    success_time: Gauge<f64, AtomicU64>,
}

impl ReloadMetrics {
    /// Makes and registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let m = Self::default();
        registry.register(
            "sideband_config_last_reload_successful",
            "Whether the last configuration reload attempt was successful",
            m.successful.clone(),
        );
        registry.register(
            "sideband_config_last_reload_success_timestamp_seconds",
            "Timestamp of the last successful configuration reload",
            m.success_time.clone(),
        );
        m
    }

    /// A configuration is in force since `now` (ms).
    pub fn succeeded(&self, now: Timestamp) {
        self.successful.set(1);
        self.success_time.set(now as f64 / 1000.0);
    }

    /// A configuration was refused.
    pub fn failed(&self) {
        self.successful.set(0);
    }
}
