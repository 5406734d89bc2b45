//! Drills: an incident of our own that goes through the whole chain, so that a broken way is found by day.
//!
//! A drill takes the route's policy as it is, but for automations (nothing is to be restarted for a drill), stops
//! at the backup, and ends by itself: when everything has been delivered, or a while after the last step. It stands
//! in a group of its own, beside the routes, so that no waiting and no hours of the route hold it up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::records::Key;
use super::{AlertEntry, Engine, Group, Now};
use crate::model::{Alert, Duration, Fingerprint, Labels, Timestamp};
use crate::paging::config::{Policy, Step};
use crate::paging::incident::{Actor, DRILL_GROUP, DRILL_LABEL, Incident};
use crate::paging::matcher::Matchers;
use crate::paging::notification::Reason;
use crate::paging::route::Route;

/// The `alertname` of a drill.
const NAME: &str = "SidebandDrill";
/// The first person, and the backup.
const STEPS: usize = 2;
/// The shortest and the longest acknowledgement timeout of a drill, ms.
const TIMEOUTS_MS: std::ops::RangeInclusive<i64> = 1000..=3_600_000;
/// How often the group is looked at, and how long a drill goes on after its last step, ms.
const FLUSH_MS: i64 = 15_000;
const AFTER_MS: i64 = 60_000;

/// What kind of drill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrillRequest {
    /// The escalation policy; without one that of the route on which such an alert would go.
    pub policy: Option<String>,
    /// In place of the policy's own timeouts, ms: 1 s to 1 h.
    pub ack_timeout_ms: Option<i64>,
    /// The `severity` of its alert.
    pub severity: String,
    /// How many of the steps that notify people, from the first; without it two: the person on call and the backup.
    pub steps: Option<usize>,
    /// Who asked for it.
    pub actor: Actor,
}

/// Why there is no drill.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DrillError {
    #[error("no escalation policy {0:?}; there are: {1}")]
    UnknownPolicy(String, String),
    #[error("an alert of severity {0:?} goes to no escalation policy; name one of: {1}")]
    NoPolicy(String, String),
    #[error(
        "escalation policy {policy:?} notifies people in {has} of its steps, not in {asked}: nobody would be reached \
         after them"
    )]
    TooFewSteps { policy: String, has: usize, asked: usize },
    #[error("an acknowledgement timeout of a drill is from 1s to 1h")]
    Timeout,
    #[error("incident {0} is a drill that is not over yet")]
    Running(u64),
    #[error("the drill would be muted, by a silence or an inhibition: so would be a page with these labels")]
    Muted,
}

impl Engine {
    /// Begins a drill, and gives back its incident.
    ///
    /// # Errors
    /// See [`DrillError`].
    pub fn drill(&mut self, now: Now, request: &DrillRequest) -> Result<u64, DrillError> {
        let own = |i: &&Incident| i.is_own_drill() && i.is_open();
        if let Some(running) = self.incidents.values().find(own) {
            return Err(DrillError::Running(running.id));
        }
        if request.ack_timeout_ms.is_some_and(|ms| !TIMEOUTS_MS.contains(&ms)) {
            return Err(DrillError::Timeout);
        }
        let number = self.id();
        let labels = Labels::from_pairs([
            ("alertname", NAME),
            ("severity", request.severity.as_str()),
            (DRILL_LABEL, &number.to_string()),
        ]);
        let (policy, receiver) = self.drill_policy(request, &labels)?;
        let waits: i64 = policy.steps.iter().map(|s| s.timeout_ms).fold(0, i64::saturating_add);
        let alert = Alert {
            annotations: Labels::from_pairs([
                ("summary", "This is a drill: nothing is broken, and nothing is to be done".to_owned()),
                (
                    "description",
                    format!(
                        "Started by {}, to see whether pages arrive. Unacknowledged it goes on to the backup.",
                        request.actor.by
                    ),
                ),
            ]),
            starts_at: now.wall,
            ends_at: now.wall.saturating_add(waits).saturating_add(AFTER_MS + FLUSH_MS),
            updated_at: now.wall,
            generator_url: String::new(),
            labels,
        };
        let group = self.drill_group(now, number, alert, &policy.name, receiver);
        let inhibitor = self.inhibitor(now);
        self.flush(now, &inhibitor, &group);
        let Some(id) = self.groups.get(&group).and_then(|g| g.incident) else {
            for f in self.groups.remove(&group).into_iter().flat_map(|g| g.alerts) {
                self.alerts.remove(&f);
                self.dirty.insert(Key::Alert(f));
            }
            return Err(DrillError::Muted);
        };
        if let Some(incident) = self.incidents.get_mut(&id) {
            let Actor { by, via, .. } = &request.actor;
            incident.note(now.wall, format!("a drill, started by {by} ({via})"));
            incident.repeat_interval_ms = AFTER_MS.max(waits);
            incident.policy = policy;
        }
        self.tick(now);
        Ok(id)
    }

    /// The policy as the drill goes through it, and the receiver that its messages name.
    fn drill_policy(&self, request: &DrillRequest, labels: &Labels) -> Result<(Policy, String), DrillError> {
        let names = || self.config.policies.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let routes = self.config.route.matching(labels);
        let found = match &request.policy {
            Some(name) => self
                .config
                .policies
                .get(name)
                .ok_or_else(|| DrillError::UnknownPolicy(name.clone(), names()))?,
            None => routes
                .iter()
                .filter_map(|r| r.escalation_policy.as_ref())
                .find_map(|name| self.config.policies.get(name))
                .ok_or_else(|| DrillError::NoPolicy(request.severity.clone(), names()))?,
        };
        let route = routes.iter().find(|r| r.escalation_policy.as_ref() == Some(&found.name));
        let receiver = route.or(routes.first()).map(|r| r.receiver.clone()).unwrap_or_default();
        let asked = request.steps.unwrap_or(STEPS).max(1);
        let mut steps: Vec<Step> = people(found).cloned().collect();
        if steps.len() < asked {
            return Err(DrillError::TooFewSteps { policy: found.name.clone(), has: steps.len(), asked });
        }
        steps.truncate(asked);
        if let Some(ms) = request.ack_timeout_ms {
            steps.iter_mut().for_each(|s| s.timeout_ms = ms);
        }
        let policy = Policy {
            name: found.name.clone(),
            steps,
            repeat: 0,
            reopen_on: Vec::new(),
            unack_after_ms: None,
            quiet_hours: None,
            flap_window_ms: 0,
        };
        Ok((policy, receiver))
    }

    /// Puts the alert into a group beside the routes; gives back the group's id.
    fn drill_group(&mut self, now: Now, number: u64, alert: Alert, policy: &str, receiver: String) -> String {
        let root = &self.config.route;
        let key = format!("{{}}/{{{DRILL_LABEL}=\"{number}\"}}:{{alertname=\"{NAME}\"}}");
        let route = Route {
            id: "drill".to_owned(),
            key: key.clone(),
            receiver,
            escalation_policy: Some(policy.to_owned()),
            group_by: BTreeSet::new(),
            group_by_all: true,
            group_wait: Duration::default(),
            group_interval: Duration::from_ms(FLUSH_MS),
            repeat_interval: root.repeat_interval,
            mute_time_intervals: Vec::new(),
            active_time_intervals: Vec::new(),
            labels: root.labels.clone(),
            matchers: Matchers::default(),
            continues: false,
            children: Vec::new(),
        };
        let id = format!("{DRILL_GROUP}{number}");
        let fingerprint = alert.fingerprint();
        let group = Group {
            id: id.clone(),
            key,
            route: Arc::new(route),
            labels: alert.labels.clone(),
            alerts: BTreeSet::from([fingerprint]),
            next_flush: now.boot + FLUSH_MS,
            flushed_at: None,
            log: BTreeMap::new(),
            incident: None,
        };
        self.alerts.insert(fingerprint, AlertEntry { alert: Arc::new(alert), refs: 1 });
        self.groups.insert(id.clone(), group);
        self.dirty.insert(Key::Alert(fingerprint));
        self.dirty.insert(Key::Group(id.clone()));
        id
    }

    /// A drill is over as soon as every step was carried out and nothing is under way any more.
    pub(super) fn finish_drill(&mut self, now: Now, id: u64) {
        let Some(incident) = self.incidents.get(&id).filter(|i| i.is_own_drill() && i.is_open()) else {
            return;
        };
        let fired = incident.step == 0 && incident.round > incident.policy.repeat;
        if fired && !self.has_pages(id) {
            self.resolve_incident(now, id, "the drill is over");
        }
    }

    fn has_pages(&self, id: u64) -> bool {
        let page = |reason| reason == Reason::Page;
        self.outbox.of_incident(id).any(|d| page(d.notification.reason))
    }

    /// A drill ends, for whatever reason: its alert is over, and what became of it is noted.
    pub(super) fn end_drill(&mut self, now: Now, id: u64) {
        let under_way = self.has_pages(id);
        let Some(incident) = self.incidents.get_mut(&id).filter(|i| i.is_own_drill() && i.is_open()) else {
            return;
        };
        let acknowledged = incident.first_acknowledged.as_ref().map(|(_, by)| by.clone());
        let good = (!under_way || acknowledged.is_some()) && incident.is_delivered();
        let last = incident.notified.iter().map(|n| n.step + 1).max().unwrap_or(0);
        let note = match acknowledged {
            Some(by) if good => format!("the drill was good: {by} acknowledged it at step {last}"),
            None if good => "the drill was good: every step was delivered".to_owned(),
            _ => "the drill was not good".to_owned(),
        };
        incident.note(now.wall, note);
        // A drill that was cut short on purpose says nothing of the backup.
        let whole = self.config.policies.get(&incident.policy.name).map_or(STEPS, |p| people(p).count());
        if good && incident.policy.steps.len() >= STEPS.min(whole) {
            self.last_good_drill = Some(now.wall);
            self.dirty.insert(Key::Meta);
        }
        let group = incident.group.clone();
        let Some(group) = self.groups.get_mut(&group) else { return };
        group.flushed_at = Some(now.wall);
        for fingerprint in &group.alerts {
            if let Some(entry) = self.alerts.get_mut(fingerprint) {
                let mut alert = entry.alert.as_ref().clone();
                alert.ends_at = alert.ends_at.min(now.wall);
                entry.alert = Arc::new(alert);
                self.dirty.insert(Key::Alert(*fingerprint));
            }
        }
    }

    /// The alerts of drills: no route holds them.
    pub(super) fn drill_alerts(&self) -> BTreeSet<Fingerprint> {
        let drills = self.groups.values().filter(|g| g.id.starts_with(DRILL_GROUP));
        drills.flat_map(|g| g.alerts.iter().copied()).collect()
    }

    /// After a restart: the alerts of drills come back with their incidents, if those are open.
    pub(super) fn forget_drill_alerts(&mut self) {
        let drills: Vec<Fingerprint> = self
            .incidents
            .values()
            .filter(|i| i.is_own_drill())
            .flat_map(|i| i.alerts.iter().map(|a| Labels::from_pairs(&a.labels).fingerprint()))
            .collect();
        for fingerprint in drills {
            if self.alerts.remove(&fingerprint).is_some() {
                self.dirty.insert(Key::Alert(fingerprint));
            }
        }
    }

    /// When every step of a drill was last delivered, ms by the wall clock.
    pub fn last_good_drill(&self) -> Option<Timestamp> {
        self.last_good_drill
    }
}

/// The steps that wake somebody.
fn people(policy: &Policy) -> impl Iterator<Item = &Step> {
    policy.steps.iter().filter(|s| !s.automation)
}
