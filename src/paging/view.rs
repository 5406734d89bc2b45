//! An incident as the API and the pages show it.

use std::collections::BTreeMap;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::engine::Now;
use super::incident::{Incident, Notified, State};
use crate::model::{GoTime, Timestamp};

/// An incident. Steps and loops are counted from 1; times are ms.
#[derive(Debug, Clone, Default)]
pub struct IncidentView {
    pub id: String,
    pub state: State,
    /// One line for a person.
    pub title: String,
    /// Empty when the alerts say nothing of it.
    pub severity: String,
    /// The labels that its alerts are grouped by.
    pub group_labels: BTreeMap<String, String>,
    pub policy: String,
    /// The loop and the step that come next.
    pub round: u32,
    pub step: usize,
    /// When they come.
    pub next_step_at: Option<Timestamp>,
    pub started_at: Timestamp,
    pub acknowledged: Option<AckView>,
    pub resolved_at: Option<Timestamp>,
    /// Empty when it ended by itself.
    pub resolved_by: String,
    /// What they said to it; may be empty.
    pub resolved_comment: String,
    pub judged: Option<JudgedView>,
    pub alerts: Vec<IncidentAlertView>,
    /// Also of those that are not in `alerts`.
    pub alert_count: usize,
    /// Who was paged, and what became of it, in order.
    pub pages: Vec<PageView>,
    /// What happened, in order.
    pub history: Vec<HistoryView>,
    pub drill: bool,
    /// Every step of the policy was carried out, and taken by everything that it was sent to.
    pub delivered: bool,
}

/// Who has it in hand.
#[derive(Debug, Clone, Default)]
pub struct AckView {
    pub by: String,
    /// `api`, `link`, `pagerduty`, …
    pub via: String,
    /// The address that it came from; may be empty.
    pub from: String,
    pub at: Timestamp,
    /// What was said to it; may be empty.
    pub comment: String,
}

impl AckView {
    /// By what way and from which address: `link from 192.0.2.1`.
    fn way(&self) -> String {
        match self.from.as_str() {
            "" => self.via.clone(),
            from => format!("{} from {from}", self.via),
        }
    }
}

/// What a person said of it.
#[derive(Debug, Clone, Serialize)]
pub struct JudgedView {
    /// `useful` or `useless`.
    pub verdict: &'static str,
    pub by: String,
    #[serde(serialize_with = "GoTime::write")]
    pub at: Timestamp,
    pub comment: String,
}

/// An alert of an incident.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IncidentAlertView {
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub firing: bool,
    #[serde(serialize_with = "GoTime::write")]
    pub starts_at: Timestamp,
    pub generator_url: String,
}

/// Somebody, or something, that was notified.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PageView {
    pub step: usize,
    #[serde(rename = "loop")]
    pub round: u32,
    /// As the policy names it.
    pub target: String,
    /// Empty when the target is no person.
    pub user: String,
    pub receiver: String,
    pub automation: bool,
    #[serde(serialize_with = "GoTime::write")]
    pub at: Timestamp,
    /// By integration.
    pub arrivals: Vec<ArrivalView>,
}

/// What became of a page at an integration.
#[derive(Debug, Clone, Serialize)]
pub struct ArrivalView {
    pub integration: String,
    /// When it was taken.
    #[serde(serialize_with = "GoTime::write_some", skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    pub attempts: u32,
    /// Why the last attempt failed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// A line of the history.
#[derive(Debug, Clone, Serialize)]
pub struct HistoryView {
    #[serde(serialize_with = "GoTime::write")]
    pub at: Timestamp,
    pub what: String,
}

impl IncidentView {
    /// The view of an incident. `now` turns its timers into times of day.
    pub fn new(i: &Incident, now: Now) -> Self {
        let summary = i.alerts.iter().find_map(|a| a.annotations.get("summary"));
        let title = summary.or_else(|| i.group_labels.get("alertname")).unwrap_or(&i.key);
        Self {
            id: i.id.to_string(),
            state: i.state,
            title: title.clone(),
            severity: i.severity_name.clone(),
            group_labels: i.group_labels.clone(),
            policy: i.policy.name.clone(),
            round: i.round + 1,
            step: i.step + 1,
            next_step_at: i.next_at().map(|t| t - now.boot + now.wall),
            started_at: i.triggered_at,
            acknowledged: i.acknowledged.as_ref().map(|a| AckView {
                by: a.actor.by.clone(),
                via: a.actor.via.clone(),
                from: a.actor.from.clone(),
                at: a.at,
                comment: a.actor.comment.clone(),
            }),
            resolved_at: i.resolved_at,
            resolved_by: i.closed_by.as_ref().map(|a| a.by.clone()).unwrap_or_default(),
            resolved_comment: i.closed_by.as_ref().map(|a| a.comment.clone()).unwrap_or_default(),
            judged: i.judged.as_ref().map(|j| JudgedView {
                verdict: j.verdict.as_str(),
                by: j.actor.by.clone(),
                at: j.at,
                comment: j.comment.clone(),
            }),
            alerts: i
                .alerts
                .iter()
                .map(|a| IncidentAlertView {
                    labels: a.labels.clone(),
                    annotations: a.annotations.clone(),
                    firing: true,
                    starts_at: a.starts_at,
                    generator_url: a.generator_url.clone(),
                })
                .collect(),
            alert_count: i.alert_count,
            pages: i.notified.iter().map(PageView::new).collect(),
            history: i.history.iter().map(|e| HistoryView { at: e.at, what: e.what.clone() }).collect(),
            drill: i.drill,
            delivered: i.is_delivered(),
        }
    }

    /// Who was notified, in order, for people: the person, or else the receiver.
    pub fn notified(&self) -> Vec<&str> {
        self.pages.iter().map(|p| if p.user.is_empty() { p.receiver.as_str() } else { &p.user }).collect()
    }
}

impl Serialize for IncidentView {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut s = serializer.serialize_struct("Incident", 24)?;
        s.serialize_field("id", &self.id)?;
        s.serialize_field("state", &self.state)?;
        s.serialize_field("title", &self.title)?;
        s.serialize_field("severity", &self.severity)?;
        s.serialize_field("groupLabels", &self.group_labels)?;
        s.serialize_field("escalationPolicy", &self.policy)?;
        s.serialize_field("step", &self.step)?;
        s.serialize_field("loop", &self.round)?;
        s.serialize_field("notified", &self.notified())?;
        if self.next_step_at.is_some() {
            s.serialize_field("nextStepAt", &GoTime(self.next_step_at))?;
        }
        s.serialize_field("startedAt", &GoTime::nonzero(self.started_at))?;
        if let Some(ack) = &self.acknowledged {
            s.serialize_field("acknowledgedAt", &GoTime(Some(ack.at)))?;
            s.serialize_field("acknowledgedBy", &ack.by)?;
            s.serialize_field("acknowledgedVia", &ack.way())?;
            if !ack.comment.is_empty() {
                s.serialize_field("acknowledgedComment", &ack.comment)?;
            }
        }
        if self.resolved_at.is_some() {
            s.serialize_field("resolvedAt", &GoTime(self.resolved_at))?;
        }
        if !self.resolved_by.is_empty() {
            s.serialize_field("resolvedBy", &self.resolved_by)?;
        }
        if !self.resolved_comment.is_empty() {
            s.serialize_field("resolvedComment", &self.resolved_comment)?;
        }
        if let Some(judged) = &self.judged {
            s.serialize_field("judged", judged)?;
        }
        s.serialize_field("alerts", &self.alerts)?;
        s.serialize_field("pages", &self.pages)?;
        s.serialize_field("history", &self.history)?;
        s.serialize_field("drill", &self.drill)?;
        s.serialize_field("delivered", &self.delivered)?;
        s.end()
    }
}

impl PageView {
    fn new(n: &Notified) -> Self {
        Self {
            step: n.step + 1,
            round: n.round + 1,
            target: n.target.clone(),
            user: n.user.clone().unwrap_or_default(),
            receiver: n.receiver.clone(),
            automation: n.automation,
            at: n.at,
            arrivals: n
                .arrivals
                .iter()
                .map(|a| ArrivalView {
                    integration: a.integration.clone(),
                    at: a.at,
                    attempts: a.attempts,
                    error: a.error.clone(),
                })
                .collect(),
        }
    }
}
