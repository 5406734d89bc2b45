//! Escalation: from the first step to an acknowledgement, and to the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::groups::{integration_id, owned};
use super::outbox::{Delivery, Outcome};
use super::records::Key;
use super::{Engine, Now};
use crate::model::{Alert, Timestamp};
use crate::paging::config::{ReopenOn, Target};
use crate::paging::incident::{AlertRecord, Arrival, DRILL_LABEL, Fate, Incident, MAX_ALERTS, Notified, State};
use crate::paging::notification::{IncidentPart, Notification, NotifiedAlert, Reason};

/// A step that could not be delivered yet makes way for the next one after this, ms.
const EARLY_MS: i64 = 30_000;
/// How often a muted incident looks whether it still is, ms.
const MUTED_MS: i64 = 30_000;
/// The shortest wait after the last loop, ms.
const MIN_REPEAT_MS: i64 = 60_000;
/// Notified persons that an incident remembers by name.
const MAX_NOTIFIED: usize = 1000;

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
            None => self.trigger(now, group_id, all, &firing),
            Some(id) if over => self.resolve_incident(now, id, "all alerts are resolved"),
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
            notified: Vec::new(),
            deliveries: BTreeMap::new(),
            reached: BTreeSet::new(),
            closed_by_hand: false,
            closed_by: None,
            drill: all.iter().any(|a| a.labels.get(DRILL_LABEL).is_some()),
            alerts: Vec::new(),
            alert_count: 0,
            history: Vec::new(),
        };
        remember(&mut incident, all);
        incident
            .note(now.wall, format!("triggered by {} alerts under policy {:?}", firing.len(), policy.name));
        self.incidents.insert(id, incident);
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
        } else if worse && incident.round > incident.policy.repeat {
            // All loops are done and it was waiting to begin again.
            incident.due = Some(now.boot);
        }
        self.dirty.insert(Key::Incident(id));
    }

    /// Fires every step that is due.
    pub(super) fn run_incidents(&mut self, now: Now) {
        let due = |i: &&Incident| i.is_open() && i.next_at().is_some_and(|at| at <= now.boot);
        let ids: Vec<u64> = self.incidents.values().filter(due).map(|i| i.id).collect();
        for id in ids {
            // A step with nobody to notify makes way at once; a whole loop of them waits.
            let steps = self.incidents.get(&id).map_or(0, |i| i.policy.steps.len());
            for _ in 0..=steps {
                let due = self.incidents.get(&id).filter(due).is_some();
                if !due {
                    break;
                }
                self.run_incident(now, id);
            }
        }
    }

    fn run_incident(&mut self, now: Now, id: u64) {
        let Some(incident) = self.incidents.get_mut(&id) else { return };
        self.dirty.insert(Key::Incident(id));
        if incident.state == State::Acknowledged {
            reopened(incident, now, "the acknowledgement has run out");
            self.tallies.incidents_reopened += 1;
            return;
        }
        if incident.is_own_drill() && incident.round > incident.policy.repeat {
            self.resolve_incident(now, id, "the drill is over");
            return;
        }
        let group_id = incident.group.clone();
        let Some(group) = self.groups.get(&group_id) else {
            // Its alerts are not known any more (they were lost with the ledger): what it remembers is paged.
            self.fire(now, id, None);
            return;
        };
        let route = Arc::clone(&group.route);
        let all = self.group_alerts(&group_id);
        if all.iter().all(|a| a.resolved_at(now.wall)) {
            self.resolve_incident(now, id, "all alerts are resolved");
            return;
        }
        let active = self.unmuted(&route, &all, now);
        if active.iter().all(|a| a.resolved_at(now.wall)) {
            if let Some(incident) = self.incidents.get_mut(&id) {
                incident.due = Some(now.boot + MUTED_MS);
                incident.due_limit_ms = MUTED_MS;
                incident.early = None;
            }
            return;
        }
        self.fire(now, id, Some(&active));
    }

    fn fire(&mut self, now: Now, id: u64, active: Option<&[Arc<Alert>]>) {
        let config = Arc::clone(&self.config);
        let Some(incident) = self.incidents.get_mut(&id) else { return };
        if let Some(at) = incident.next_at() {
            self.tallies.lateness_ms += now.boot - at;
            self.tallies.steps_fired += 1;
        }
        if incident.step == 0 {
            incident.notified_in_loop.clear();
        }
        let (round, number) = (incident.round, incident.step);
        let Some(step) = incident.policy.steps.get(number).cloned() else {
            // Not in a policy that was checked.
            incident.due = None;
            return;
        };
        let mut targets: Vec<(&Target, Option<String>, String)> = Vec::new();
        for target in &step.notify {
            let user = match target {
                Target::Receiver(receiver) => {
                    targets.push((target, None, receiver.clone()));
                    continue;
                }
                Target::User(name) => Some(name.clone()),
                Target::Schedule(name) => {
                    config.schedules.get(name).and_then(|s| s.on_call(now.wall)).map(str::to_owned)
                }
                Target::Next(name) => config.schedules.get(name).and_then(|s| {
                    let before = &incident.notified_in_loop;
                    s.next(now.wall, |u| before.iter().any(|b| b == u)).map(str::to_owned)
                }),
            };
            match user.as_ref().and_then(|u| config.users.get(u)) {
                Some(u) => {
                    if !incident.notified_in_loop.contains(&u.name) {
                        incident.notified_in_loop.push(u.name.clone());
                    }
                    targets.push((target, Some(u.name.clone()), u.receiver.clone()));
                }
                None => incident.note(now.wall, format!("step {}: nobody for {target}", number + 1)),
            }
        }
        // The same receiver twice in a step is one page.
        let mut seen = BTreeSet::new();
        targets.retain(|(_, _, receiver)| seen.insert(receiver.clone()));
        let before: Vec<String> =
            incident.notified.iter().map(|n| n.user.clone().unwrap_or(n.target.clone())).collect();
        for (target, user, receiver) in &targets {
            if incident.notified.len() < MAX_NOTIFIED {
                incident.notified.push(Notified {
                    round,
                    step: number,
                    target: target.to_string(),
                    user: user.clone(),
                    receiver: receiver.clone(),
                    automation: step.automation,
                    at: now.wall,
                    arrivals: Vec::new(),
                });
            }
            incident.note(
                now.wall,
                match user {
                    Some(user) => format!(
                        "loop {}, step {}: {user} ({target}) notified by {receiver}",
                        round + 1,
                        number + 1
                    ),
                    None => format!("loop {}, step {}: {target} notified", round + 1, number + 1),
                },
            );
        }
        let base = self.notification(now, id, active, Reason::Page);
        let Some(base) = base else { return };
        let mut rows = BTreeMap::new();
        for (nth, (target, user, receiver)) in targets.iter().enumerate() {
            let Some(r) = config.receivers.get(receiver) else { continue };
            for integration in &r.integrations {
                let mut notification = base.clone();
                if let Some(part) = &mut notification.incident {
                    part.round = round + 1;
                    part.step = number + 1;
                    part.user.clone_from(user);
                    part.target = target.to_string();
                    part.automation = step.automation;
                    part.notified.clone_from(&before);
                }
                let key = format!(
                    "{}-i{id}-{round}-{number}-{nth}-{}{}",
                    self.instance, integration.kind, integration.index
                );
                let row =
                    self.row(now, id, key, receiver, integration_id(receiver, integration), notification);
                let row = Delivery {
                    kind: integration.kind.to_owned(),
                    index: integration.index,
                    round,
                    step: number,
                    ..row
                };
                rows.insert(row.id, Fate::Pending);
                self.push(row);
            }
        }
        let Some(incident) = self.incidents.get_mut(&id) else { return };
        let nobody = rows.is_empty();
        if nobody {
            incident.note(now.wall, format!("step {} had nobody to notify", number + 1));
            self.tallies.steps_empty += 1;
        }
        incident.deliveries = rows;
        incident.early = None;
        incident.due_limit_ms = if nobody { 0 } else { step.timeout_ms };
        incident.step += 1;
        if incident.step >= incident.policy.steps.len() {
            incident.step = 0;
            if incident.round >= incident.policy.repeat {
                let wait = incident.repeat_interval_ms.max(MIN_REPEAT_MS).max(step.timeout_ms);
                incident.due_limit_ms = wait;
                incident
                    .note(now.wall, "that was the last step: if nobody acknowledges, it begins again later");
                self.tallies.exhausted += 1;
            }
            incident.round += 1;
        }
        incident.due = Some(now.boot + incident.due_limit_ms);
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
        let alerts = match active {
            Some(active) => active.iter().map(|a| NotifiedAlert::new(a, now.wall)).collect(),
            None => incident.alerts.iter().map(|r| remembered(r, reason, now.wall)).collect(),
        };
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
            }),
            at: now.wall,
            valid_ms: 2 * incident.repeat_interval_ms,
        })
    }

    pub(super) fn row(
        &mut self,
        now: Now,
        incident: u64,
        key: String,
        receiver: &str,
        integration: String,
        n: Notification,
    ) -> Delivery {
        let id = self.id();
        let group = self.incidents.get(&incident).map(|i| i.group.clone()).unwrap_or_default();
        Delivery {
            id,
            key,
            receiver: receiver.to_owned(),
            kind: String::new(),
            index: 0,
            lane: format!("i{incident}\u{0}{integration}"),
            group,
            incident: Some(incident),
            round: 0,
            step: 0,
            notification: Arc::new(n),
            firing: BTreeSet::new(),
            resolved: BTreeSet::new(),
            created_at: now.wall,
            attempts: 0,
            next_at: now.boot,
            in_flight: false,
            abandoned: false,
            last_error: String::new(),
        }
    }

    /// What became of a delivery of an incident.
    pub(super) fn incident_outcome(&mut self, now: Now, id: u64, row: &Delivery, outcome: &Outcome) {
        let Some(incident) = self.incidents.get_mut(&id) else { return };
        let integration = format!("{}/{}/{}", row.receiver, row.kind, row.index);
        let first = row.attempts == 1;
        arrival(incident, row, &integration, now.wall, outcome);
        match outcome {
            Outcome::Delivered => {
                incident.reached.insert(integration.clone());
                let word = if row.notification.reason == Reason::Page { "page" } else { "message" };
                incident
                    .note(now.wall, format!("{word} delivered to {integration} (attempt {})", row.attempts));
            }
            Outcome::Retry { reason, .. } if first => {
                incident.note(now.wall, format!("{integration} did not take it ({reason}): trying again"));
            }
            // The ledger need not know of every attempt.
            Outcome::Retry { .. } => return,
            Outcome::Final { reason } => {
                incident.note(now.wall, format!("{integration} will not take it: {reason}"));
            }
        }
        self.dirty.insert(Key::Incident(id));
        if incident.state != State::Triggered || row.notification.reason != Reason::Page {
            return;
        }
        let Some(fate) = incident.deliveries.get_mut(&row.id) else { return };
        *fate = match outcome {
            Outcome::Delivered => Fate::Delivered,
            Outcome::Retry { .. } => Fate::Pending,
            Outcome::Final { .. } => Fate::Failed,
        };
        let any = |f: Fate| incident.deliveries.values().any(|d| *d == f);
        if incident.round > incident.policy.repeat {
            // The loops are done: a failure is no reason to hurry through them again.
            incident.early = None;
        } else if any(Fate::Delivered) {
            incident.early = None;
        } else if !any(Fate::Pending) {
            incident.early = Some(now.boot);
        } else if incident.early.is_none() {
            incident.early = Some(now.boot + EARLY_MS);
        }
    }
}

/// Writes down what became of a page at an integration, beside the notification that it belongs to.
fn arrival(incident: &mut Incident, row: &Delivery, integration: &str, at: Timestamp, outcome: &Outcome) {
    if row.notification.reason != Reason::Page {
        return;
    }
    let of = |n: &&mut Notified| n.round == row.round && n.step == row.step && n.receiver == row.receiver;
    let Some(notified) = incident.notified.iter_mut().rev().find(of) else { return };
    let known = notified.arrivals.iter().position(|a| a.integration == integration);
    let known = known.unwrap_or_else(|| {
        let integration = integration.to_owned();
        notified.arrivals.push(Arrival { integration, at: None, attempts: 0, error: String::new() });
        notified.arrivals.len() - 1
    });
    let Some(arrival) = notified.arrivals.get_mut(known) else { return };
    arrival.attempts = row.attempts;
    match outcome {
        Outcome::Delivered => {
            arrival.at.get_or_insert(at);
            arrival.error.clear();
        }
        Outcome::Retry { reason, .. } | Outcome::Final { reason } => arrival.error.clone_from(reason),
    }
}

/// An acknowledged incident needs somebody again: a new loop from the first step.
fn reopened(incident: &mut Incident, now: Now, why: &str) {
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
