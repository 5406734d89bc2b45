//! What the web room counts about itself.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Labels of a counted request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// The route, not the path: there are few.
    pub handler: &'static str,
    pub code: u16,
}

/// Labels of `promhttp_metric_handler_requests_total`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CodeLabel {
    pub code: u16,
}

/// The web room's metrics. Clones share them.
#[derive(Clone, Default)]
pub struct WebMetrics {
    pub requests: Family<RequestLabels, Counter>,
    pub scrapes: Family<CodeLabel, Counter>,
    pub scrapes_in_flight: Gauge,
}

impl WebMetrics {
    /// Makes and registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let m = Self::default();
        registry.register("sideband_http_requests", "HTTP requests answered", m.requests.clone());
        registry.register(
            "promhttp_metric_handler_requests",
            "Total number of scrapes by HTTP status code",
            m.scrapes.clone(),
        );
        registry.register(
            "promhttp_metric_handler_requests_in_flight",
            "Current number of scrapes being served",
            m.scrapes_in_flight.clone(),
        );
        // They are there before the first request, as dashboards expect.
        for code in [200, 500, 503] {
            let _ = m.scrapes.get_or_create(&CodeLabel { code });
        }
        m
    }
}
