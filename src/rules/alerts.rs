//! Active alerts of a rule: their life from pending to resolved, and when they are sent.

use std::collections::HashMap;

use serde::Serialize;

use crate::model::{Alert, Labels, Order as _, Timestamp};

/// How long a resolved alert is remembered and sent again, ms (Prometheus).
pub const RESOLVED_RETENTION_MS: i64 = 15 * 60_000;

/// Where an alert stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    #[default]
    Inactive,
    Pending,
    Firing,
}

impl AlertState {
    /// The word of the API and of the label `alertstate`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Pending => "pending",
            Self::Firing => "firing",
        }
    }
}

/// One alert of a rule. Times are ms.
#[derive(Debug, Clone)]
pub struct ActiveAlert {
    pub labels: Labels,
    pub annotations: Labels,
    pub state: AlertState,
    pub value: f64,
    /// When its condition first held.
    pub active_at: Timestamp,
    pub fired_at: Option<Timestamp>,
    pub resolved_at: Option<Timestamp>,
    /// When `keep_firing_for` began to count.
    pub keep_firing_since: Option<Timestamp>,
    last_sent_at: Option<Timestamp>,
    /// It fired before a restart, and nobody has seen yet whether it still does: until then it is neither said again nor over.
    returning_until: Option<Timestamp>,
}

impl ActiveAlert {
    /// One that fired before a restart, and may do so until somebody has looked.
    pub fn returning(labels: Labels, active_at: Timestamp, fired_at: Timestamp, until: Timestamp) -> Self {
        Self {
            state: AlertState::Firing,
            fired_at: Some(fired_at),
            last_sent_at: Some(fired_at),
            returning_until: Some(until),
            ..Self::pending(labels, Labels::empty(), f64::NAN, active_at)
        }
    }

    /// Its condition holds.
    pub fn holds(&mut self, value: f64, annotations: Labels) {
        self.value = value;
        self.annotations = annotations;
        if self.returning_until.take().is_some() {
            self.last_sent_at = None;
        }
    }

    /// Is it too early to say that it is over?
    pub fn is_returning(&self, ts: Timestamp) -> bool {
        self.returning_until.is_some_and(|until| ts < until)
    }

    /// A new one, pending.
    pub fn pending(labels: Labels, annotations: Labels, value: f64, active_at: Timestamp) -> Self {
        Self {
            labels,
            annotations,
            state: AlertState::Pending,
            value,
            active_at,
            fired_at: None,
            resolved_at: None,
            keep_firing_since: None,
            last_sent_at: None,
            returning_until: None,
        }
    }

    /// It fires from `ts` on.
    pub fn fire(&mut self, ts: Timestamp) {
        self.state = AlertState::Firing;
        self.fired_at = Some(ts);
    }

    /// Its condition holds no more: a firing one is resolved, a pending one must be forgotten.
    fn end(&mut self, ts: Timestamp) {
        if self.state != AlertState::Inactive {
            self.state = AlertState::Inactive;
            self.resolved_at = Some(ts);
            self.returning_until = None;
        }
    }

    fn needs_sending(&self, ts: Timestamp, resend_delay_ms: i64) -> bool {
        match (self.state, self.last_sent_at) {
            (AlertState::Pending, _) => false,
            _ if self.returning_until.is_some() => false,
            (_, None) => true,
            (_, Some(sent)) => {
                self.resolved_at.is_some_and(|r| r > sent) || ts.saturating_sub(sent) >= resend_delay_ms
            }
        }
    }
}

/// The alerts of a rule by their labels.
#[derive(Debug, Clone, Default)]
pub struct AlertBook {
    alerts: HashMap<Labels, ActiveAlert>,
}

impl AlertBook {
    /// All of them, resolved ones too, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &ActiveAlert> {
        self.alerts.values()
    }

    /// Those that are pending or firing, sorted by labels.
    pub fn active(&self) -> Vec<&ActiveAlert> {
        let mut active: Vec<&ActiveAlert> =
            self.alerts.values().filter(|a| a.state != AlertState::Inactive).collect();
        active.order_by(|a, b| a.labels.cmp(&b.labels));
        active
    }

    /// The alert with these labels, if it is pending or firing.
    pub fn get_active(&mut self, labels: &Labels) -> Option<&mut ActiveAlert> {
        self.alerts.get_mut(labels).filter(|a| a.state != AlertState::Inactive)
    }

    /// Takes a new alert, in the place of a resolved one with the same labels.
    pub fn insert(&mut self, alert: ActiveAlert) {
        self.alerts.insert(alert.labels.clone(), alert);
    }

    /// Calls `f` for every alert.
    pub fn for_each(&mut self, mut f: impl FnMut(&mut ActiveAlert)) {
        self.alerts.values_mut().for_each(&mut f);
    }

    /// Ends the alerts for which `holds` is false, and forgets pending ones and those resolved long ago.
    pub fn settle(&mut self, ts: Timestamp, mut holds: impl FnMut(&mut ActiveAlert) -> bool) {
        self.alerts.retain(|_, alert| {
            if alert.state != AlertState::Inactive && holds(alert) {
                return true;
            }
            let forget = alert.state == AlertState::Pending
                || alert.resolved_at.is_some_and(|r| ts.saturating_sub(r) > RESOLVED_RETENTION_MS);
            alert.end(ts);
            !forget
        });
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.alerts.clear();
    }

    /// The highest state of any alert.
    pub fn state(&self) -> AlertState {
        self.alerts.values().map(|a| a.state).max().unwrap_or(AlertState::Inactive)
    }

    /// The series `ALERTS` and `ALERTS_FOR_STATE` (seconds) of the active alerts.
    pub fn series(&self, out: &mut Vec<(Labels, f64)>) {
        for alert in self.alerts.values().filter(|a| a.state != AlertState::Inactive) {
            let mut labels = alert.labels.to_builder();
            labels.set(crate::model::METRIC_NAME, "ALERTS_FOR_STATE");
            // Whole seconds, as in Prometheus.
            out.push((labels.build(), alert.active_at.div_euclid(1000) as f64));
            labels.set(crate::model::METRIC_NAME, "ALERTS").set("alertstate", alert.state.as_str());
            out.push((labels.build(), 1.0));
        }
    }

    /// What is to be sent now: what fires or was resolved, at once and then every `resend_delay_ms`.
    pub fn due(&mut self, ts: Timestamp, resend_delay_ms: i64, interval_ms: i64) -> Vec<Alert> {
        let mut due = Vec::new();
        for alert in self.alerts.values_mut().filter(|a| a.needs_sending(ts, resend_delay_ms)) {
            alert.last_sent_at = Some(ts);
            // Two failures to evaluate or to send are survived.
            let valid_until = ts.saturating_add(4 * resend_delay_ms.max(interval_ms));
            due.push(Alert {
                labels: alert.labels.clone(),
                annotations: alert.annotations.clone(),
                starts_at: alert.fired_at.unwrap_or(alert.active_at),
                ends_at: alert.resolved_at.unwrap_or(valid_until),
                updated_at: ts,
                // The group knows the link.
                generator_url: String::new(),
            });
        }
        due.order_by(|a, b| a.labels.cmp(&b.labels));
        due
    }
}
