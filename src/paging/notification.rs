//! What a receiver is told: the data of Alertmanager's templates and of its webhook body, version 4.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{Alert, GoTime, Labels, Order, Timestamp, tree};

/// The `why` of a notification that tells of several incidents.
pub const DIGEST: &str = "digest";

/// Why something is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// A plain route's group, firing or resolved.
    Group,
    /// A step of an escalation.
    Page,
    /// The incident is over.
    Resolved,
    /// The incident was acknowledged: only for those who keep a state of their own.
    Acknowledged,
}

/// An alert of a notification. Times are ms since the epoch; no end: Go's zero time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NotifiedAlert {
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub starts_at: Timestamp,
    pub ends_at: Option<Timestamp>,
    pub generator_url: String,
    pub fingerprint: String,
}

impl NotifiedAlert {
    /// The alert as it is at `now`: one that still fires has no end.
    pub fn new(alert: &Alert, now: Timestamp) -> Self {
        Self {
            labels: alert.labels.to_map(),
            annotations: alert.annotations.to_map(),
            starts_at: alert.starts_at,
            ends_at: alert.resolved_at(now).then_some(alert.ends_at),
            generator_url: alert.generator_url.clone(),
            fingerprint: alert.fingerprint().to_string(),
        }
    }

    /// `firing` or `resolved`.
    pub fn status(&self) -> &'static str {
        if self.ends_at.is_some() { "resolved" } else { "firing" }
    }
}

/// What an incident adds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IncidentPart {
    pub id: u64,
    pub policy: String,
    pub severity: String,
    /// From 1.
    #[serde(rename = "loop")]
    pub round: u32,
    /// From 1.
    pub step: usize,
    pub triggered_at: Timestamp,
    pub user: Option<String>,
    pub target: String,
    pub automation: bool,
    pub drill: bool,
    /// Who was notified before, in order.
    pub notified: Vec<String>,
    /// Who has it in hand, if anybody has.
    #[serde(default)]
    pub acknowledged_by: Option<String>,
    /// What they said to it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
}

/// Everything that is said, before a receiver gives it a form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notification {
    pub reason: Reason,
    /// The reason in Alertmanager's words.
    #[serde(default)]
    pub why: String,
    pub receiver: String,
    pub group_key: String,
    pub group_labels: BTreeMap<String, String>,
    pub alerts: Vec<NotifiedAlert>,
    /// Labels of the route, for templates.
    pub route_labels: BTreeMap<String, String>,
    pub incident: Option<IncidentPart>,
    /// When it was made, ms.
    pub at: Timestamp,
    /// How long it holds: it is repeated before that, ms.
    #[serde(default)]
    pub valid_ms: i64,
    /// Alerts beyond those that are listed.
    #[serde(default)]
    pub more: usize,
    /// What else its reader must know, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Notification {
    /// `firing` when any alert is, else `resolved`.
    pub fn status(&self) -> &'static str {
        if self.alerts.iter().any(|a| a.ends_at.is_none()) { "firing" } else { "resolved" }
    }

    /// Pairs that all alerts have.
    pub fn common_labels(&self) -> BTreeMap<&str, &str> {
        common(self.alerts.iter().map(|a| &a.labels))
    }

    /// Annotations that all alerts have.
    pub fn common_annotations(&self) -> BTreeMap<&str, &str> {
        common(self.alerts.iter().map(|a| &a.annotations))
    }
}

fn common<'a>(maps: impl Iterator<Item = &'a BTreeMap<String, String>>) -> BTreeMap<&'a str, &'a str> {
    let mut out: Option<BTreeMap<&str, &str>> = None;
    for map in maps {
        match &mut out {
            None => out = Some(tree(map.iter().map(|(k, v)| (k.as_str(), v.as_str())))),
            Some(common) => common.retain(|k, v| map.get(*k).is_some_and(|other| other == v)),
        }
    }
    out.unwrap_or_default()
}

/// The order in which Alertmanager lists alerts, given as positions: by job, by instance (those that have none come last), then by
/// the labels.
pub fn alert_order(alerts: &[&Labels]) -> Vec<usize> {
    let ranks = |name| -> Vec<(bool, Option<&str>)> {
        alerts.iter().map(|labels| labels.get(name)).map(|value| (value.is_none(), value)).collect()
    };
    let (jobs, instances) = (ranks("job"), ranks("instance"));
    let mut order: Vec<usize> = (0..alerts.len()).collect();
    order.order_by(|&a, &b| {
        let by_target = jobs[a].cmp(&jobs[b]).then_with(|| instances[a].cmp(&instances[b]));
        by_target.then_with(|| label_order(alerts[a], alerts[b]))
    });
    order
}

/// The order of label sets in Alertmanager: the smaller set first; of two as large, the one that lacks the first name that
/// they do not share, and where the names are the same, by their values.
pub fn label_order(a: &Labels, b: &Labels) -> Ordering {
    let by_pairs = || {
        for ((a_name, a_value), (b_name, b_value)) in a.iter().zip(b.iter()) {
            match b_name.cmp(a_name).then_with(|| a_value.cmp(b_value)) {
                Ordering::Equal => {}
                different => return different,
            }
        }
        Ordering::Equal
    };
    a.len().cmp(&b.len()).then_with(by_pairs)
}

/// The webhook's JSON body, version 4, in Go's order of the fields; what is ours comes after.
#[derive(Debug, Serialize)]
pub struct WebhookBody<'a> {
    receiver: &'a str,
    status: &'static str,
    alerts: Vec<BodyAlert<'a>>,
    notification_reason: &'a str,
    #[serde(rename = "groupLabels")]
    group_labels: &'a BTreeMap<String, String>,
    #[serde(rename = "commonLabels")]
    common_labels: BTreeMap<&'a str, &'a str>,
    #[serde(rename = "commonAnnotations")]
    common_annotations: BTreeMap<&'a str, &'a str>,
    #[serde(rename = "externalURL")]
    external_url: &'a str,
    version: &'static str,
    #[serde(rename = "groupKey")]
    group_key: &'a str,
    #[serde(rename = "truncatedAlerts")]
    truncated_alerts: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    incident: Option<BodyIncident<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<BodyStep<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notified: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ack_url: Option<String>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    notes: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    feedback_url: Option<String>,
}

#[derive(Debug, Serialize)]
struct BodyAlert<'a> {
    status: &'static str,
    labels: &'a BTreeMap<String, String>,
    annotations: &'a BTreeMap<String, String>,
    #[serde(rename = "startsAt")]
    starts_at: GoTime,
    #[serde(rename = "endsAt")]
    ends_at: GoTime,
    #[serde(rename = "generatorURL")]
    generator_url: &'a str,
    fingerprint: &'a str,
}

#[derive(Debug, Serialize)]
struct BodyIncident<'a> {
    id: String,
    state: &'static str,
    policy: &'a str,
    severity: &'a str,
    #[serde(rename = "triggeredAt")]
    triggered_at: GoTime,
    drill: bool,
}

#[derive(Debug, Serialize)]
struct BodyStep<'a> {
    number: usize,
    #[serde(rename = "loop")]
    round: u32,
    target: &'a str,
    user: Option<&'a str>,
    automation: bool,
}

impl<'a> WebhookBody<'a> {
    /// The body of a notification; at most `max_alerts` alerts are in it unless that is 0.
    pub fn new(n: &'a Notification, external_url: &'a str, max_alerts: u64, ack_url: Option<String>) -> Self {
        let keep =
            usize::try_from(max_alerts).ok().filter(|n| *n > 0).unwrap_or(usize::MAX).min(n.alerts.len());
        Self {
            receiver: &n.receiver,
            status: n.status(),
            alerts: n.alerts[..keep]
                .iter()
                .map(|a| BodyAlert {
                    status: a.status(),
                    labels: &a.labels,
                    annotations: &a.annotations,
                    starts_at: GoTime(Some(a.starts_at)),
                    ends_at: GoTime(a.ends_at),
                    generator_url: &a.generator_url,
                    fingerprint: &a.fingerprint,
                })
                .collect(),
            notification_reason: &n.why,
            group_labels: &n.group_labels,
            common_labels: n.common_labels(),
            common_annotations: n.common_annotations(),
            external_url,
            version: "4",
            group_key: &n.group_key,
            truncated_alerts: (n.alerts.len() - keep + n.more) as u64,
            incident: n.incident.as_ref().map(|i| BodyIncident {
                id: i.id.to_string(),
                state: match n.reason {
                    Reason::Resolved => "resolved",
                    Reason::Acknowledged => "acknowledged",
                    Reason::Group | Reason::Page => "triggered",
                },
                policy: &i.policy,
                severity: &i.severity,
                triggered_at: GoTime(Some(i.triggered_at)),
                drill: i.drill,
            }),
            step: n.incident.as_ref().map(|i| BodyStep {
                number: i.step,
                round: i.round,
                target: &i.target,
                user: i.user.as_deref(),
                automation: i.automation,
            }),
            notified: n.incident.as_ref().map(|i| i.notified.as_slice()),
            ack_url,
            notes: &n.notes,
            feedback_url: None,
        }
    }

    /// With a link for saying whether it was useful.
    #[must_use]
    pub fn with_feedback(self, feedback_url: Option<String>) -> Self {
        Self { feedback_url, ..self }
    }
}
