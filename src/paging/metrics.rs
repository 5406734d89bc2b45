//! What paging says of itself.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::engine::{Engine, Tallies};
use super::incident::State;
use crate::telemetry::LabelValue;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Attempt {
    pub receiver: LabelValue,
    pub integration: LabelValue,
    /// `delivered`, `retry`, `failed`
    pub outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct InState {
    pub state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct WithReason {
    pub reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CalledBack {
    pub service: &'static str,
    /// `done`, `nothing`, or why it was refused
    pub outcome: &'static str,
}

/// The self-metrics of paging.
#[derive(Debug, Clone, Default)]
pub struct PagingMetrics {
    pub alerts_received: Counter,
    pub alerts_dropped: Family<WithReason, Counter>,
    pub incidents: Family<InState, Gauge>,
    pub incident_events: Family<InState, Counter>,
    pub notifications: Family<Attempt, Counter>,
    pub outbox_rows: Gauge,
    pub outbox_dropped: Family<WithReason, Counter>,
    pub escalations_exhausted: Counter,
    pub steps_without_target: Counter,
    pub pages_held: Counter,
    pub digests: Counter,
    pub steps_fired: Counter,
    /// s
    pub step_lateness: Counter<f64, AtomicU64>,
    pub ledger_up: Gauge,
    pub ledger_errors: Counter,
    pub ledger_bytes: Gauge,
    pub callbacks: Family<CalledBack, Counter>,
    pub heartbeats: Family<Attempt, Counter>,
    pub heartbeat_last_success: Gauge,
    /// s since the epoch
    pub last_good_drill: Gauge<f64, AtomicU64>,
}

impl PagingMetrics {
    /// Registers all of them.
    pub fn register(registry: &mut Registry) -> Self {
        let m = Self::default();
        let mut add =
            |name: &str, help: &str, metric: &dyn Fn(&mut Registry, &str, &str)| metric(registry, name, help);
        macro_rules! add {
            ($field:ident, $name:literal, $help:literal) => {
                add(concat!("sideband_paging_", $name), $help, &|r, name, help| {
                    r.register(name, help, m.$field.clone());
                });
            };
        }
        add!(alerts_received, "alerts_received", "Alerts that came in, repetitions included");
        add!(alerts_dropped, "alerts_dropped", "Alerts that were not taken, by reason");
        add!(incidents, "incidents", "Incidents by state");
        add!(incident_events, "incident_events", "Incidents that came into a state");
        add!(notifications, "notifications", "Attempts to notify, by outcome");
        add!(outbox_rows, "outbox_rows", "Notifications that wait or are under way");
        add!(outbox_dropped, "outbox_dropped", "Notifications that were given up, by reason");
        add!(
            escalations_exhausted,
            "escalations_exhausted",
            "Escalations that ran out of steps without an acknowledgement"
        );
        add!(steps_without_target, "steps_without_target", "Escalation steps that had nobody to notify");
        add!(pages_held, "pages_held_back", "Pages that the limit of a person's hour held back for a summary");
        add!(digests, "digests", "Digests of what waited for the end of quiet hours");
        add!(steps_fired, "steps_fired", "Escalation steps that were carried out");
        add!(
            step_lateness,
            "step_lateness_seconds",
            "Time between the due time of steps and their execution, added up"
        );
        add!(
            ledger_up,
            "ledger_up",
            "1 while the ledger takes what is written, 0 while pages go out from memory only"
        );
        add!(ledger_errors, "ledger_errors", "Transactions that the ledger did not take");
        add!(ledger_bytes, "ledger_size_bytes", "Size of the ledger's file");
        add!(callbacks, "callbacks", "Callbacks of outside services, by outcome");
        add!(heartbeats, "heartbeats", "Heartbeats sent, by outcome");
        add!(
            heartbeat_last_success,
            "heartbeat_last_success_timestamp_seconds",
            "When a heartbeat last arrived"
        );
        add!(
            last_good_drill,
            "last_good_drill_timestamp_seconds",
            "When every step of a drill was last delivered, 0 for never"
        );
        m.ledger_up.set(1);
        m
    }

    /// Adds what happened since the last time, and looks at how things stand.
    pub(super) fn observe(&self, engine: &mut Engine) {
        let t: Tallies = std::mem::take(&mut engine.tallies);
        self.alerts_received.inc_by(t.alerts_received);
        for (reason, n) in [("too_many", t.alerts_refused)] {
            if n > 0 {
                self.alerts_dropped.get_or_create(&WithReason { reason }).inc_by(n);
            }
        }
        for (state, n) in [
            ("triggered", t.incidents_triggered),
            ("acknowledged", t.incidents_acknowledged),
            ("resolved", t.incidents_resolved),
            ("reopened", t.incidents_reopened),
        ] {
            self.incident_events.get_or_create(&InState { state }).inc_by(n);
        }
        for (reason, n) in [("outbox_full", t.deliveries_dropped), ("expired", t.deliveries_expired)] {
            if n > 0 {
                self.outbox_dropped.get_or_create(&WithReason { reason }).inc_by(n);
            }
        }
        self.escalations_exhausted.inc_by(t.exhausted);
        self.steps_without_target.inc_by(t.steps_empty);
        self.pages_held.inc_by(t.pages_held);
        self.digests.inc_by(t.digests);
        self.steps_fired.inc_by(t.steps_fired);
        self.step_lateness.inc_by(t.lateness_ms.max(0) as f64 / 1000.0);
        let count = |state: State| {
            i64::try_from(engine.incidents().filter(|i| i.state == state).count()).unwrap_or(i64::MAX)
        };
        for (name, state) in [("triggered", State::Triggered), ("acknowledged", State::Acknowledged)] {
            self.incidents.get_or_create(&InState { state: name }).set(count(state));
        }
        self.last_good_drill.set(engine.last_good_drill().unwrap_or_default() as f64 / 1000.0);
        self.outbox_rows.set(i64::try_from(engine.outbox_len()).unwrap_or(i64::MAX));
    }
}
