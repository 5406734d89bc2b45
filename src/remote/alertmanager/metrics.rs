//! What the sending of alerts says of itself, under the names that Prometheus has for it.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::telemetry::LabelValue;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Receiver {
    alertmanager: LabelValue,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Reason {
    alertmanager: LabelValue,
    reason: &'static str,
}

/// Counters of what was sent, by Alertmanager. Clones share them.
#[derive(Clone, Default)]
pub struct SenderMetrics {
    sent: Family<Receiver, Counter>,
    errors: Family<Receiver, Counter>,
    dropped: Family<Reason, Counter>,
    queue_length: Family<Receiver, Gauge>,
    last_success: Family<Receiver, Gauge>,
    pub(super) discovered: Gauge,
    pub(super) durable: Gauge,
}

fn receiver(url: &str) -> Receiver {
    Receiver { alertmanager: url.into() }
}

impl SenderMetrics {
    /// Makes the metrics and registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let m = Self::default();
        let capacity = Gauge::<i64>::default();
        capacity.set(i64::try_from(super::QUEUE).unwrap_or(i64::MAX));
        m.durable.set(1);
        registry.register(
            "sideband_notifications_sent",
            "Alerts that an Alertmanager has taken",
            m.sent.clone(),
        );
        registry.register(
            "sideband_notifications_errors",
            "Alerts in requests to an Alertmanager that failed",
            m.errors.clone(),
        );
        registry.register(
            "sideband_notifications_dropped",
            "Alerts that will not be sent to an Alertmanager, by reason",
            m.dropped.clone(),
        );
        registry.register(
            "sideband_notifications_queue_length",
            "Alerts that wait for an Alertmanager",
            m.queue_length.clone(),
        );
        registry.register(
            "sideband_notifications_queue_capacity",
            "Alerts that may wait for an Alertmanager",
            capacity,
        );
        registry.register(
            "sideband_notifications_alertmanagers_discovered",
            "Alertmanagers that alerts are sent to",
            m.discovered.clone(),
        );
        registry.register(
            "sideband_notifications_durable",
            "Whether what waits for an Alertmanager could be written to the ledger when it was last tried",
            m.durable.clone(),
        );
        registry.register(
            "sideband_notifications_last_success_timestamp_seconds",
            "When an Alertmanager last took alerts",
            m.last_success.clone(),
        );
        m
    }

    pub(super) fn sent(&self, url: &str, alerts: usize, now_ms: i64) {
        self.sent.get_or_create(&receiver(url)).inc_by(alerts as u64);
        self.last_success.get_or_create(&receiver(url)).set(now_ms.div_euclid(1000));
    }

    pub(super) fn failed(&self, url: &str, alerts: usize) {
        self.errors.get_or_create(&receiver(url)).inc_by(alerts as u64);
    }

    pub(super) fn dropped(&self, url: &str, reason: &'static str, alerts: usize) {
        if alerts > 0 {
            let label = Reason { alertmanager: url.into(), reason };
            self.dropped.get_or_create(&label).inc_by(alerts as u64);
        }
    }

    pub(super) fn queue_length(&self, url: &str, length: usize) {
        self.queue_length.get_or_create(&receiver(url)).set(i64::try_from(length).unwrap_or(i64::MAX));
    }

    /// The receiver's counters begin at zero, so that their first increase is seen.
    pub(super) fn added(&self, url: &str) {
        drop((self.sent.get_or_create(&receiver(url)), self.errors.get_or_create(&receiver(url))));
        for reason in ["queue_full", "refused", "expired"] {
            drop(self.dropped.get_or_create(&Reason { alertmanager: url.into(), reason }));
        }
    }

    pub(super) fn removed(&self, url: &str) {
        self.queue_length.remove(&receiver(url));
    }
}
