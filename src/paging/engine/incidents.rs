//! Incidents: how they begin, change, flap and are spoken of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::groups::owned;
use super::records::Key;
use super::{Engine, Now};
use crate::model::{Alert, Timestamp};
use crate::paging::config::ReopenOn;
use crate::paging::incident::{AlertRecord, DRILL_LABEL, Incident, MAX_ALERTS, State};
use crate::paging::notification::{IncidentPart, Notification, NotifiedAlert, Reason};

/// Alerts that a page lists; the rest is counted.
const MAX_LISTED: usize = 500;

impl Engine {
    pub(super) fn flush_incident(
        &mut self,
        now: Now,
        group_id: &str,
        all: &[Arc<Alert>],
        active: &[Arc<Alert>],
    ) {
        let over = all.iter().all(|a| a.resolved_at(now.wall));
        let firing: Vec<Arc<Alert>> = active.iter().filter(|a| !a.resolved_at(now.wall)).cloned().collect();
        let known = self.groups.get(group_id).and_then(|g| g.incident);
        match known.filter(|id| self.incidents.contains_key(id)) {
            None if firing.is_empty() => {}
            None => match self.flapping(now, group_id) {
                Some(id) => self.fires_again(now, id, all, &firing),
                None => self.trigger(now, group_id, all, &firing),
            },
            Some(id) if over => match self.hold(now, id, all) {
                Some(ms) => {
                    if let Some(group) = self.groups.get_mut(group_id) {
                        group.next_flush = group.next_flush.min(now.boot + ms);
                    }
                }
                None => self.resolve_incident(now, id, "all alerts are resolved"),
            },
            Some(_) if firing.is_empty() => {}
            Some(id) => {
                let (severity, name) = self.severity(&firing);
                let Some(incident) = self.incidents.get_mut(&id) else { return };
                if incident.is_open() {
                    self.update(now, id, all, &firing);
                } else if severity > incident.severity {
                    // Closed by hand, and now it is worse: that is another incident.
                    incident.note(now.wall, format!("a new incident began at severity {name:?}"));
                    self.dirty.insert(Key::Incident(id));
                    self.trigger(now, group_id, all, &firing);
                }
            }
        }
    }

    /// The incident of this group that was resolved so recently that its alert flaps.
    fn flapping(&self, now: Now, group_id: &str) -> Option<u64> {
        let last = self.incidents.of_group(group_id).filter(|i| !i.is_open())?;
        let since = now.wall.saturating_sub(last.resolved_at?).max(0);
        (since < last.policy.flap_window_ms).then_some(last.id)
    }

    /// One that flaps is over when it has been quiet for a while: how much longer, ms.
    pub(super) fn hold(&self, now: Now, id: u64, all: &[Arc<Alert>]) -> Option<i64> {
        let incident = self.incidents.get(&id).filter(|i| i.is_open() && i.flaps > 0)?;
        let ended = all.iter().map(|a| a.ends_at).max()?.min(now.wall);
        let left = ended.saturating_add(incident.policy.flap_window_ms) - now.wall;
        (left > 0).then_some(left)
    }

    fn fires_again(&mut self, now: Now, id: u64, all: &[Arc<Alert>], firing: &[Arc<Alert>]) {
        let (severity, severity_name) = self.severity(firing);
        let Some(incident) = self.incidents.get_mut(&id) else { return };
        incident.flaps += 1;
        incident.resolved_at = None;
        incident.closed_by_hand = false;
        incident.severity = severity;
        incident.severity_name = severity_name;
        remember(incident, all);
        let group = incident.group.clone();
        reopened(incident, now, "it fires again soon after it was resolved");
        self.tallies.incidents_reopened += 1;
        if let Some(group) = self.groups.get_mut(&group) {
            group.incident = Some(id);
        }
        self.dirty.insert(Key::Incident(id));
        self.dirty.insert(Key::Group(group));
    }

    fn severity(&self, alerts: &[Arc<Alert>]) -> (u32, String) {
        alerts
            .iter()
            .map(|a| a.labels.get("severity").unwrap_or_default())
            .map(|name| (self.config.severities.rank(name), name.to_owned()))
            .max()
            .unwrap_or_default()
    }

    fn trigger(&mut self, now: Now, group_id: &str, all: &[Arc<Alert>], firing: &[Arc<Alert>]) {
        let config = Arc::clone(&self.config);
        let (severity, severity_name) = self.severity(firing);
        let Some(group) = self.groups.get(group_id) else { return };
        let policy = group.route.escalation_policy.as_ref().and_then(|p| config.policies.get(p));
        let Some(policy) = policy else { return };
        let (key, group_labels, receiver) =
            (group.key.clone(), owned(&group.labels), group.route.receiver.clone());
        let repeat_interval_ms = group.route.repeat_interval.ms();
        let id = self.id();
        let mut incident = Incident {
            id,
            key,
            group: group_id.to_owned(),
            group_labels,
            receiver,
            policy: policy.clone(),
            repeat_interval_ms,
            state: State::Triggered,
            severity,
            severity_name,
            triggered_at: now.wall,
            resolved_at: None,
            acknowledged: None,
            judged: None,
            first_acknowledged: None,
            round: 0,
            step: 0,
            due: Some(now.boot),
            due_limit_ms: 0,
            early: None,
            links_from: 0,
            notified_in_loop: Vec::new(),
            loop_began: now.wall,
            quiet: false,
            flaps: 0,
            notified: Vec::new(),
            deliveries: BTreeMap::new(),
            reached: BTreeSet::new(),
            perhaps_reached: BTreeSet::new(),
            closed_by_hand: false,
            closed_by: None,
            drill: all.iter().any(|a| a.labels.get(DRILL_LABEL).is_some()),
            alerts: Vec::new(),
            alert_count: 0,
            history: Vec::new(),
        };
        remember(&mut incident, all);
        let alerts = if firing.len() == 1 { "alert" } else { "alerts" };
        let what = format!("triggered by {} {alerts} under policy {:?}", firing.len(), policy.name);
        incident.note(now.wall, format!("{what}{}", reason(firing)));
        self.incidents.insert(incident);
        if let Some(group) = self.groups.get_mut(group_id) {
            group.incident = Some(id);
        }
        self.dirty.insert(Key::Incident(id));
        self.dirty.insert(Key::Group(group_id.to_owned()));
        self.tallies.incidents_triggered += 1;
    }

    /// New alerts, or worse ones, in an open incident.
    fn update(&mut self, now: Now, id: u64, all: &[Arc<Alert>], firing: &[Arc<Alert>]) {
        let (severity, severity_name) = self.severity(firing);
        let Some(incident) = self.incidents.get_mut(&id) else { return };
        remember(incident, all);
        let worse = severity > incident.severity;
        if worse {
            incident.note(
                now.wall,
                format!("severity went from {:?} to {severity_name:?}", incident.severity_name),
            );
            incident.severity = severity;
            incident.severity_name = severity_name;
        }
        let reopen = |why: ReopenOn| incident.policy.reopen_on.contains(&why);
        if let (State::Acknowledged, Some(ack)) = (incident.state, &incident.acknowledged) {
            let new = firing.iter().any(|a| !ack.alerts.contains(&a.fingerprint().0));
            let why = if severity > ack.severity && reopen(ReopenOn::SeverityIncrease) {
                Some("it became more severe")
            } else if new && reopen(ReopenOn::NewAlert) {
                Some("a new alert joined")
            } else {
                None
            };
            if let Some(why) = why {
                reopened(incident, now, why);
                self.tallies.incidents_reopened += 1;
            }
        } else if worse && incident.state == State::Triggered {
            // It waited for the end of the quiet hours, or, all loops done, to begin again. Once begun, each step has its time.
            let idle = incident.step == 0 && incident.is_exhausted();
            if incident.quiet || idle {
                incident.due = Some(now.boot);
            }
        }
        self.dirty.insert(Key::Incident(id));
    }

    /// The message about an incident as it is now; without `active`, of the alerts that it remembers.
    pub(super) fn notification(
        &self,
        now: Now,
        id: u64,
        active: Option<&[Arc<Alert>]>,
        reason: Reason,
    ) -> Option<Notification> {
        let incident = self.incidents.get(&id)?;
        let alerts: Vec<NotifiedAlert> = match active {
            Some(active) => active.iter().take(MAX_LISTED).map(|a| NotifiedAlert::new(a, now.wall)).collect(),
            None => incident.alerts.iter().map(|r| remembered(r, reason, now.wall)).collect(),
        };
        let all = active.map_or(incident.alert_count, <[_]>::len);
        let route_labels =
            self.groups.get(&incident.group).map(|g| g.route.labels.clone()).unwrap_or_default();
        let why = match reason {
            Reason::Page | Reason::Group => "escalation",
            Reason::Resolved => "all alerts resolved",
            Reason::Acknowledged => "acknowledged",
        };
        Some(Notification {
            reason,
            why: why.to_owned(),
            receiver: incident.receiver.clone(),
            group_key: incident.key.clone(),
            group_labels: incident.group_labels.clone(),
            more: all.saturating_sub(alerts.len()),
            alerts,
            route_labels,
            incident: Some(IncidentPart {
                id,
                policy: incident.policy.name.clone(),
                severity: incident.severity_name.clone(),
                round: incident.round + 1,
                step: incident.step + 1,
                triggered_at: incident.triggered_at,
                user: None,
                target: String::new(),
                automation: false,
                drill: incident.drill,
                notified: incident
                    .notified
                    .iter()
                    .map(|n| n.user.clone().unwrap_or(n.target.clone()))
                    .collect(),
                acknowledged_by: incident.acknowledged.as_ref().map(|a| a.actor.by.clone()),
                comment: incident.acknowledged.as_ref().map(|a| a.actor.comment.clone()).unwrap_or_default(),
            }),
            at: now.wall,
            valid_ms: 2 * incident.repeat_interval_ms,
            notes: Vec::new(),
        })
    }
}

/// An acknowledged incident needs somebody again: a new loop from the first step.
pub(super) fn reopened(incident: &mut Incident, now: Now, why: &str) {
    incident.note(now.wall, format!("reopened: {why}"));
    incident.state = State::Triggered;
    incident.acknowledged = None;
    // `round` is the next loop unless one was broken off in its middle.
    if incident.step > 0 {
        incident.round += 1;
    }
    incident.step = 0;
    incident.links_from = incident.round;
    incident.deliveries.clear();
    incident.early = None;
    incident.quiet = false;
    incident.due = Some(now.boot);
    incident.due_limit_ms = 0;
}

/// Keeps the alerts as they are now.
pub(super) fn remember(incident: &mut Incident, all: &[Arc<Alert>]) {
    incident.alert_count = all.len();
    incident.alerts = all.iter().take(MAX_ALERTS).map(|a| AlertRecord::from(a.as_ref())).collect();
}

fn remembered(record: &AlertRecord, reason: Reason, now: Timestamp) -> NotifiedAlert {
    let mut alert = Alert::from(record.clone());
    alert.ends_at = match reason {
        // Whatever the alerts say, this is over.
        Reason::Resolved => alert.ends_at.min(now),
        Reason::Acknowledged => alert.ends_at,
        Reason::Page | Reason::Group => Timestamp::MAX,
    };
    NotifiedAlert::new(&alert, now)
}

/// What the first alert said when it all began, since its texts change with every evaluation.
fn reason(firing: &[Arc<Alert>]) -> String {
    /// Characters of it that a history keeps.
    const MOST: usize = 400;
    let said = |name: &str| firing.iter().find_map(|a| a.annotations.get(name)).filter(|t| !t.is_empty());
    match said("explanation").or_else(|| said("summary")) {
        Some(text) if text.chars().count() > MOST => {
            format!(": {}…", text.chars().take(MOST).collect::<String>())
        }
        Some(text) => format!(": {text}"),
        None => String::new(),
    }
}
